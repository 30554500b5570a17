//! The client of one peer: its address, its pinned key, its card.
//!
//! Trust runs from the key that an invitation pinned: the card must be signed by it, and the TLS key must be the
//! one on the card. Requests go to the address that was dialled and nowhere else: the card chooses the path, never
//! the host. No redirects, no proxies, no cookies.

mod events;
mod http;
mod sse;

pub use events::{TaskEvent, TaskEvents};

use crate::{
    CONTRACT_EXTENSION, MAX_TOKEN_LIFE, bearer,
    card::{self, Terms},
    contract::{self, Envelope},
    tls::Pin,
};
use a2a::{
    AgentCard, GetTaskRequest, Role, SendMessageRequest, SubscribeToTaskRequest, TRANSPORT_PROTOCOL_JSONRPC, Task,
    methods,
};
use http::{Http, Loaded};
use serde::Serialize;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tender_base::{
    Clock, Code, Did, Problem, Signer, Timestamp,
    documents::{Award, Message},
    ids::ContractId,
    signed::Signed,
};

/// A token is replaced so long before it expires: a request under way must not outlive it, nor must clocks matter.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// A peer to talk to. Clones share the connection.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: Http,
    peer: Did,
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    token: Mutex<Option<(String, Timestamp)>>,
    known: Mutex<Known>,
}

/// The card as last read, and where it says JSON-RPC is.
struct Known {
    card: Arc<AgentCard>,
    etag: Option<String>,
    path: String,
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
        let http = Http::new(address, &pin)?;
        let Loaded { bytes, etag } = http
            .card(None)
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
        Ok(Self(Arc::new(Inner {
            http,
            peer: pinned,
            signer,
            clock,
            token: Mutex::default(),
            known: Mutex::new(known),
        })))
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
        if let Some(Loaded { bytes, etag }) = self.0.http.card(etag.as_deref()).await? {
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
        let answer = self.call(methods::SEND_MESSAGE, &request).await?;
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
        let body = http::body(methods::SEND_STREAMING_MESSAGE, request).await?;
        let response = self.0.http.stream(&self.path(), &self.bearer(), body).await?;
        Ok(events::follow(self.clone(), contract, response))
    }

    /// Follows the task of an awarded contract again, from how it stands now.
    ///
    /// # Errors
    /// [`Code::NotFound`] when the peer knows no such task; else as [`Self::award`].
    pub async fn resume(&self, contract: ContractId) -> Result<TaskEvents, Problem> {
        let request = SubscribeToTaskRequest { id: contract.to_string(), tenant: None };
        let body = http::body(methods::SUBSCRIBE_TO_TASK, request).await?;
        match self.0.http.stream(&self.path(), &self.bearer(), body).await {
            Ok(response) => Ok(events::follow(self.clone(), contract, response)),
            // A task that has ended cannot be subscribed to, but it can be read.
            Err(problem) if problem.code == Code::Conflict => {
                Ok(events::ended(&self.0.peer, contract, self.task(contract).await?))
            }
            Err(problem) => Err(problem),
        }
    }

    /// The task of a contract as it stands, with its artifact.
    async fn task(&self, contract: ContractId) -> Result<Task, Problem> {
        let request = GetTaskRequest { id: contract.to_string(), history_length: Some(0), tenant: None };
        http::read(self.call(methods::GET_TASK, &request).await?)
    }

    async fn call<T: Serialize + Clone + Send + 'static>(
        &self,
        method: &'static str,
        params: &T,
    ) -> Result<serde_json::Value, Problem> {
        let body = http::body(method, params.clone()).await?;
        self.0.http.call(&self.path(), &self.bearer(), body).await
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> String {
        self.known().path.clone()
    }

    /// The token in use, or a new one shortly before it expires.
    fn bearer(&self) -> String {
        let Inner { signer, clock, peer, token, .. } = &*self.0;
        let mut token = token.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.now();
        match &*token {
            Some((text, renew_at)) if now < *renew_at => text.clone(),
            _ => {
                let text = bearer(signer.as_ref(), peer, clock.as_ref());
                *token = Some((text.clone(), now.after(MAX_TOKEN_LIFE - RENEW_BEFORE)));
                text
            }
        }
    }
}

fn send(message: a2a::Message) -> SendMessageRequest {
    SendMessageRequest { message, configuration: None, metadata: None, tenant: None }
}

/// Checks a card and finds JSON-RPC 1.0 on it: the first interface that we speak.
fn read_card(bytes: &[u8], etag: Option<String>, pinned: &Did) -> Result<Known, Problem> {
    let card = card::verify(bytes, pinned)?;
    let interface = card
        .supported_interfaces
        .iter()
        .find(|it| it.protocol_binding == TRANSPORT_PROTOCOL_JSONRPC && it.protocol_version == a2a::VERSION)
        .ok_or_else(|| {
            Problem::new(
                Code::Invalid,
                "the agent offers no JSON-RPC interface of A2A 1.0",
                "the peer needs a newer version",
            )
        })?;
    let path = http::path_of(&interface.url)?;
    Ok(Known { card: Arc::new(card), etag, path })
}

/// Names the extension on every request, so that the peer may answer in it.
const EXTENSION_HEADER: (&str, &str) = (a2a::SVC_PARAM_EXTENSIONS, CONTRACT_EXTENSION);
