//! An agent that is no peer: found by its address on the open web, believed as far as its certificate goes, and asked
//! in plain A2A.
//!
//! The card may name an interface elsewhere, as cards of the open web do, but only by TLS; what it says is the
//! agent's own word unless the owner pinned a key that signs it.

use super::{
    CARD_PATH,
    http::{self, Http, Loaded},
    interface::{Interface, Operation},
    stream::Stream,
    talk::Talk,
    who::Who,
};
use crate::{
    CONTRACT_EXTENSION,
    card::{self, SkillFacts, Terms},
};
use a2a::{AgentCard, ListTasksRequest, ListTasksResponse, Task};
use reqwest::Url;
use serde_json::Value;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tender_base::{Code, Did, JobKind, Problem};

/// Largest answer, and largest event: a long text with its history.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// Tasks on a page.
const PAGE: i32 = 100;

/// A foreign agent. Clones share its card and its connections.
#[derive(Clone)]
pub struct ForeignClient(Arc<Inner>);

struct Inner {
    home: Http,
    card_path: String,
    pinned: Option<Did>,
    key: Option<String>,
    known: Mutex<Known>,
}

struct Known {
    card: Arc<AgentCard>,
    etag: Option<String>,
    until: Instant,
    link: Arc<Link>,
}

/// The way to the interface that the card names.
pub(super) struct Link {
    http: Http,
    interface: Interface,
    who: Who,
    pub(super) streaming: bool,
}

impl fmt::Debug for ForeignClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignClient").field("home", &self.0.home.origin().as_str()).finish_non_exhaustive()
    }
}

impl ForeignClient {
    /// Fetches the card of the agent at `address`: `https://host/…`, `http://` on loopback. The card is at
    /// `/.well-known/agent-card.json` below it, or is the address itself when that ends in `.json`.
    ///
    /// With `pinned` the card must be signed by that key; without, its signatures count for nothing. `key` is sent
    /// to the agent's interface where the card wants it.
    ///
    /// # Errors
    /// [`Code::Invalid`] for an unusable address, card or key, [`Code::Forged`] when `pinned` did not sign the card,
    /// [`Code::Unavailable`] when nobody answers.
    pub async fn connect(address: &str, pinned: Option<Did>, key: Option<&str>) -> Result<Self, Problem> {
        let home = http::address(address)?;
        let card_path = if home.path().ends_with(".json") {
            home.path().to_owned()
        } else {
            format!("{}{CARD_PATH}", home.path().trim_end_matches('/'))
        };
        let home = Http::open(&home)?;
        let loaded = home.card(&card_path, None).await?;
        let loaded = loaded.ok_or_else(|| http::not_a2a("the agent sent no card"))?;
        let known = read(&home, loaded, pinned.as_ref(), key)?;
        let key = key.map(str::to_owned);
        Ok(Self(Arc::new(Inner { home, card_path, pinned, key, known: Mutex::new(known) })))
    }

    /// The card as last read.
    #[must_use]
    pub fn card(&self) -> Arc<AgentCard> {
        self.known().card.clone()
    }

    /// Where the agent is asked, as its card says.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.known().link.interface.url.to_string()
    }

    /// What a text and its prompt cost by the contract extension of the card; none when it states no price.
    #[must_use]
    pub fn price_of_text(&self) -> Option<SkillFacts> {
        let terms = Terms::of(&self.card()).ok().flatten()?;
        terms.prices.into_iter().find(|price| price.kind == JobKind::Generate)
    }

    /// Reads the card again when the time is over that it said it would last.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn refresh(&self) -> Result<(), Problem> {
        let (etag, until) = {
            let known = self.known();
            (known.etag.clone(), known.until)
        };
        if Instant::now() < until {
            return Ok(());
        }
        let Inner { home, card_path, pinned, key, .. } = &*self.0;
        match home.card(card_path, etag.as_deref()).await? {
            Some(loaded) => {
                let read = read(home, loaded, pinned.as_ref(), key.as_deref())?;
                *self.known() = read;
            }
            None => self.known().until = Instant::now() + http::CARD_LIFE,
        }
        Ok(())
    }

    /// Begins a conversation.
    #[must_use]
    pub fn talk(&self) -> Talk {
        Talk::new(self.known().link.clone())
    }

    /// Takes up the conversation about a task of this caller, as after a restart.
    #[must_use]
    pub fn resume(&self, task: String) -> Talk {
        Talk::resume(self.known().link.clone(), task)
    }

    /// The tasks that this caller has there, newest first, at most `most`.
    ///
    /// # Errors
    /// The agent's own problem, [`Code::Invalid`] when its pages do not end.
    pub async fn tasks(&self, most: usize) -> Result<Vec<Task>, Problem> {
        let link = self.known().link.clone();
        link.tasks(most).await
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    pub(super) async fn call(&self, operation: Operation, limit: Duration) -> Result<Value, Problem> {
        let request = self.interface.request(operation).await?;
        self.http.call(&self.interface, &request, &self.who, limit, MAX_BYTES).await
    }

    pub(super) async fn stream(&self, operation: Operation, limit: Duration) -> Result<Stream, Problem> {
        let request = self.interface.request(operation).await?;
        let response = self.http.stream(&self.interface, &request, &self.who, limit).await?;
        Ok(Stream::new(response, self.interface.clone(), MAX_BYTES))
    }

    /// The content of a file that the agent names, if it is its own.
    pub(super) async fn file(&self, part: &a2a::Part) -> Result<Vec<u8>, Problem> {
        let address = super::files::address(part).unwrap_or_default();
        let limit = MAX_BYTES as u64;
        let file = super::File::of(address, part.metadata.as_ref(), &self.interface, &self.http, limit)?;
        file.fetch(&self.http, &self.who, limit, http::HEAD_TIME).await
    }

    /// All pages of the caller's tasks with their histories, up to `most` tasks.
    pub(super) async fn tasks(&self, most: usize) -> Result<Vec<Task>, Problem> {
        let mut tasks: Vec<Task> = Vec::new();
        let mut token: Option<String> = None;
        while tasks.len() < most {
            let request = ListTasksRequest {
                context_id: None,
                status: None,
                page_size: Some(PAGE),
                page_token: token.clone(),
                history_length: None,
                status_timestamp_after: None,
                include_artifacts: None,
                tenant: None,
            };
            let page: ListTasksResponse = http::read(self.call(Operation::List(request), http::HEAD_TIME).await?)?;
            let ends = page.next_page_token.is_empty();
            if !ends && (page.tasks.is_empty() || token.as_deref() == Some(&page.next_page_token)) {
                return Err(http::not_a2a("the agent's list of tasks does not end"));
            }
            tasks.extend(page.tasks);
            if ends {
                break;
            }
            token = Some(page.next_page_token);
        }
        tasks.truncate(most);
        Ok(tasks)
    }
}

fn read(home: &Http, loaded: Loaded, pinned: Option<&Did>, key: Option<&str>) -> Result<Known, Problem> {
    let Loaded { bytes, etag, life } = loaded;
    let card = match pinned {
        Some(did) => signed_for(&bytes, did)?,
        None => serde_json::from_slice(&bytes)
            .map_err(|error| http::not_a2a(&format!("the agent card is not readable: {error}")))?,
    };
    let extensions = card.capabilities.extensions.iter().flatten();
    let mut unknown = extensions.filter(|it| it.required == Some(true) && it.uri != CONTRACT_EXTENSION);
    if let Some(extension) = unknown.next() {
        return Err(Problem::new(
            Code::Invalid,
            format!("the agent requires the extension {}", crate::error::readable(&extension.uri)),
            "Tender does not speak it; choose another agent",
        ));
    }
    let interface = Interface::of(&card)?;
    reachable(&interface.url, home.origin())?;
    let who = key.map_or(Ok(Who::Nobody), |key| Who::with_key(key, &card))?;
    let link =
        Link { http: home.at(&interface.url), streaming: card.capabilities.streaming == Some(true), interface, who };
    Ok(Known { card: Arc::new(card), etag, until: Instant::now() + life, link: Arc::new(link) })
}

/// A card signed by the pinned key, or by one that took its place.
fn signed_for(bytes: &[u8], pinned: &Did) -> Result<AgentCard, Problem> {
    let problem = match card::verify(bytes, pinned) {
        Err(problem) if problem.code == Code::Forged => problem,
        read => return read,
    };
    match card::successor_on(bytes, pinned)? {
        Some(successor) => card::verify(bytes, &successor),
        None => {
            Err(Problem { hint: "ask its owner for the did:key of now, and add it again with that".into(), ..problem })
        }
    }
}

/// That a card leads nowhere without TLS, and not from the web to this machine.
fn reachable(interface: &Url, home: &Url) -> Result<(), Problem> {
    let interface = http::address(interface.as_str())?;
    if http::is_loopback(&interface) && !http::is_loopback(home) {
        let hint = "do not hire it; tell its owner";
        return Err(Problem::new(Code::Forbidden, "the agent's card leads to this machine", hint));
    }
    Ok(())
}
