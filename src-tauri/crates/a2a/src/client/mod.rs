//! The client of one peer: its address, its pinned key, its card; and, in [`ForeignClient`], of an agent that is none.
//!
//! Trust runs from the key that an invitation pinned: the card must be signed by it, and the TLS key must be the
//! one on the card. Requests go to the address that was dialled and nowhere else: the card chooses the path, never
//! the host. No redirects, no proxies, no cookies.

mod events;
mod files;
mod foreign;
mod http;
mod interface;
pub(crate) mod sse;
mod stream;
mod talk;
mod who;

pub use events::{TaskEvent, TaskEvents};
pub use foreign::ForeignClient;
pub use talk::{Answer, Talk};

use crate::{
    card::{self, Terms},
    contract::{self, Envelope},
    tls::Pin,
};
use a2a::{AgentCard, GetTaskRequest, Role, SendMessageRequest, Task};
use events::SILENCE;
use files::File;
use http::{HEAD_TIME, Http, Loaded};
use interface::{Interface, Operation};
use serde_json::Value;
use sse::MAX_EVENT_BYTES;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use stream::Stream;
use tender_base::{
    Clock, Code, Did, Problem, Signer,
    documents::{Award, Message},
    ids::ContractId,
    job::MAX_BLOB_BYTES,
    signed::Signed,
};
use who::{Tokens, Who};

/// Where every agent has its card.
const CARD_PATH: &str = "/.well-known/agent-card.json";
/// What the slowest peer reads, hashes and stores of an award in a second.
const STORED_PER_SECOND: usize = 16 << 20;

/// A peer to talk to. Clones share the connection.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: Http,
    peer: Did,
    who: Who,
    known: Mutex<Known>,
}

/// The card as last read, and which of its interfaces is used.
struct Known {
    card: Arc<AgentCard>,
    etag: Option<String>,
    interface: Interface,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("peer", &self.0.peer).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to the node of `pinned` at `address`: fetches its card and checks the card against the key, then
    /// the connection against the card.
    ///
    /// `address` is `https://host:port`, `http://` on loopback, or `host:port`, which means `https` unless it is a
    /// loopback address.
    ///
    /// # Errors
    /// [`Code::Invalid`] for an unusable address or card, [`Code::Forged`] when another node answers,
    /// [`Code::Unavailable`] when nobody does.
    pub async fn connect(
        address: &str,
        pinned: Did,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Problem> {
        let pin = Pin::new();
        let http = Http::pinned(address, &pin)?;
        let Loaded { bytes, etag, .. } = http
            .card(CARD_PATH, None)
            .await?
            .ok_or_else(|| Problem::new(Code::Invalid, "the agent sent no card", "check the address"))?;
        let known = read_card(&bytes, etag, &pinned)?;
        if http.is_tls() {
            let named = Terms::of(&known.card)?.and_then(|terms| terms.tls_key_sha256);
            if named.is_none() || pin.seen() != named {
                return Err(Problem::new(
                    Code::Forged,
                    "the connection's TLS key is not the one on the agent's card",
                    "somebody may be between you and the peer; if the peer changed its key, connect again",
                ));
            }
        }
        let who = Who::Peer(Tokens { receiver: pinned, signer, clock, last: Mutex::default() });
        Ok(Self(Arc::new(Inner { http, peer: pinned, who, known: Mutex::new(known) })))
    }

    /// Whose node this is.
    #[must_use]
    pub fn peer(&self) -> Did {
        self.0.peer
    }

    /// The card as last read.
    #[must_use]
    pub fn card(&self) -> Arc<AgentCard> {
        self.known().card.clone()
    }

    /// Asks for the card again; cheap when it has not changed.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn refresh_card(&self) -> Result<Arc<AgentCard>, Problem> {
        let etag = self.known().etag.clone();
        if let Some(Loaded { bytes, etag, .. }) = self.0.http.card(CARD_PATH, etag.as_deref()).await? {
            let known = read_card(&bytes, etag, &self.0.peer)?;
            *self.known() = known;
        }
        Ok(self.card())
    }

    /// Sends a document that is answered by a document: a call by a proposal or refusal, an acceptance by a
    /// countersignature, and so on. The same document may be sent again: it is the same message.
    ///
    /// The answer is read, not judged: signatures and the chain of hashes are the caller's to check.
    ///
    /// # Errors
    /// The peer's own problem, [`Code::Invalid`] for an answer without a document, [`Code::Unavailable`] and
    /// [`Code::Lost`] when there is none.
    pub async fn exchange(&self, document: Message) -> Result<Message, Problem> {
        let request = send(contract::wrap(&document, Role::User));
        let answer = self.call(Operation::Send(Box::new(request))).await?;
        let message = match http::one_of(answer, &["message", "task"]) {
            Some(("message", value)) => Some(http::read(value)?),
            Some((_, value)) => http::read::<Task>(value)?.status.message,
            None => None,
        };
        match message.map(contract::unwrap).transpose()?.flatten() {
            Some(Envelope { document, .. }) => Ok(document),
            None => Err(Problem::new(
                Code::Invalid,
                "the peer's answer carries no contract document",
                "both sides need a version of Tender that speaks urn:tender:a2a:contract:v1",
            )),
        }
    }

    /// Awards a contract and follows its task. `input` travels beside the award.
    ///
    /// The events end with [`TaskEvent::Delivered`], [`TaskEvent::Ended`] or an error; after [`Code::Lost`] go on
    /// with [`Self::resume`], or award again: the same award is the same message.
    ///
    /// # Errors
    /// [`Code::Unavailable`], [`Code::Lost`], or the peer's own problem, before the first event.
    pub async fn award(&self, award: Signed<Award>, input: Vec<u8>) -> Result<TaskEvents, Problem> {
        let contract = award.document.contract;
        let request = send(contract::wrap_award(&Message::Award(award), input));
        let stream = self.stream(Operation::Stream(Box::new(request))).await?;
        Ok(events::follow(self.clone(), contract, stream))
    }

    /// Follows the task of an awarded contract again, from how it stands now.
    ///
    /// # Errors
    /// [`Code::NotFound`] when the peer knows no such task; else as [`Self::award`].
    pub async fn resume(&self, contract: ContractId) -> Result<TaskEvents, Problem> {
        // Not after an event: the first one of a new subscription says how the task stands, and that is enough.
        match self.stream(Operation::Subscribe { task: contract.to_string(), after: None }).await {
            Ok(stream) => Ok(events::follow(self.clone(), contract, stream)),
            // A task that has ended cannot be subscribed to, but it can be read.
            Err(problem) if problem.code == Code::Conflict => {
                let task = self.task(contract).await?;
                Ok(events::ended(self.clone(), contract, task).await)
            }
            Err(problem) => Err(problem),
        }
    }

    /// The task of a contract as it stands, with its artifact.
    async fn task(&self, contract: ContractId) -> Result<Task, Problem> {
        let request = GetTaskRequest { id: contract.to_string(), history_length: Some(0), tenant: None };
        http::read(self.call(Operation::Get(request)).await?)
    }

    async fn call(&self, operation: Operation) -> Result<Value, Problem> {
        let interface = self.interface();
        let request = interface.request(operation).await?;
        // A task may carry an output.
        self.0.http.call(&interface, &request, &self.0.who, HEAD_TIME, MAX_EVENT_BYTES).await
    }

    async fn stream(&self, operation: Operation) -> Result<Stream, Problem> {
        let interface = self.interface();
        let request = interface.request(operation).await?;
        // Silent before the first event or after it is the same silence: a peer that is gone is given up as soon.
        // Only a large input, which the peer stores before it answers, takes longer.
        let length = request.body.as_ref().map_or(0, bytes::Bytes::len);
        let storing = Duration::from_secs_f64(length as f64 / STORED_PER_SECOND as f64);
        let limit = HEAD_TIME.min(SILENCE + storing);
        let response = self.0.http.stream(&interface, &request, &self.0.who, limit).await?;
        Ok(Stream::new(response, interface, MAX_EVENT_BYTES))
    }

    /// A file that the peer names, if it is the peer's own.
    fn file_at(&self, address: &str, metadata: Option<&HashMap<String, Value>>) -> Result<File, Problem> {
        File::of(address, metadata, &self.interface(), &self.0.http, MAX_BLOB_BYTES)
    }

    async fn file(&self, file: &File) -> Result<Vec<u8>, Problem> {
        file.fetch(&self.0.http, &self.0.who, MAX_BLOB_BYTES, SILENCE).await
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interface(&self) -> Interface {
        self.known().interface.clone()
    }
}

fn send(message: a2a::Message) -> SendMessageRequest {
    SendMessageRequest { message, configuration: None, metadata: None, tenant: None }
}

/// Checks a card and finds the interface that is used. Its host is not followed: the pin belongs to the address that
/// was dialled.
fn read_card(bytes: &[u8], etag: Option<String>, pinned: &Did) -> Result<Known, Problem> {
    let card = card::verify(bytes, pinned)?;
    let interface = Interface::of(&card)?;
    Ok(Known { card: Arc::new(card), etag, interface })
}
