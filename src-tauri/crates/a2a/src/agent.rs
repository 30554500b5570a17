//! What an agent does. The server speaks the protocol, the [`crate::TaskLog`] remembers, and the agent, implemented by
//! `node`, does the work: it makes something durable of a message and names the task; following that task, for one
//! caller or a thousand, is the server's part.

use crate::{A2aError, ErrorKind, auth::ApiKey, log::Owner};
use a2a::{AgentCard, Message, SendMessageRequest, Task};
use async_trait::async_trait;
use std::net::IpAddr;
use tender_base::{Did, Sha256};

/// Who asks, as far as the request proves it. It identifies and never authorises: whether an identified peer may
/// do what it asks is the agent's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No token.
    Anonymous,
    /// The holder of this key signed a fresh token for this agent.
    Peer(Did),
    /// The request carried this API key; whether the owner of this node issued it is the agent's to know.
    Key(ApiKey),
}

/// One request's circumstances, the same on every binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who.
    pub identity: Identity,
    /// The connection's remote address; forwarding headers are not believed.
    pub ip: IpAddr,
    /// `A2A-Extensions`: the extensions that the caller speaks.
    pub extensions: Vec<String>,
    /// `Idempotency-Key`, in place of the message's id.
    pub(crate) once: Option<String>,
    /// `Last-Event-ID`, as it was sent.
    pub(crate) last_event: Option<String>,
}

impl Call {
    /// A request of `identity` from `ip` that names no extension.
    #[must_use]
    pub fn new(identity: Identity, ip: IpAddr) -> Self {
        Self { identity, ip, extensions: Vec::new(), once: None, last_event: None }
    }

    /// The caller's key, when it proved one.
    #[must_use]
    pub fn did(&self) -> Option<Did> {
        match &self.identity {
            Identity::Anonymous => None,
            Identity::Peer(did) => Some(*did),
            Identity::Key(key) => Some(key.did()),
        }
    }

    /// Whose tasks the caller may see.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::of(self)
    }

    /// Whether the caller speaks the extension `uri`.
    #[must_use]
    pub fn speaks(&self, uri: &str) -> bool {
        self.extensions.iter().any(|extension| extension == uri)
    }
}

/// A message that the protocol has no objection to.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// Message, configuration and metadata, as they were sent.
    pub request: SendMessageRequest,
    /// The task that the message names, as it stands: the caller's, and not ended. Always none for a message of the
    /// contract extension, whose documents name their contract themselves and are answered also after its end.
    pub task: Option<Task>,
    /// What makes sending it again the same; to be stored together with what the message did, so that
    /// [`crate::TaskLog::sent`] finds it. None for callers that proved no identity.
    pub once: Option<Once>,
}

/// What tells a message that is sent again from a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Unique among the owner's.
    pub key: String,
    /// SHA-256 of the canonical request.
    pub sha256: Sha256,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// An answer, and no task.
    Message(Box<Message>),
    /// The id of a task, which is in the log by now.
    Task(String),
}

/// What a caller is to the owner of an agent; it decides how much it may send before anything is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Unknown, or no longer welcome: anyone can make a key.
    Stranger,
    /// The owner issued it an API key. Its messages are remembered, and are small.
    KeyHolder,
    /// Paired: its awards carry large inputs.
    Peer,
}

/// The work behind the protocol.
///
/// Requests arrive checked: required fields are present, media types are on the card, a task that is named is the
/// caller's.
#[async_trait]
pub trait Agent: Send + Sync + 'static {
    /// What the owner of this agent knows this caller as, however it proved its key.
    async fn standing(&self, did: &Did) -> Standing;

    /// The URI of an extension without which this message is not taken; most agents require none.
    fn requires(&self, request: &SendMessageRequest) -> Option<String> {
        let _ = request;
        None
    }

    /// Takes a message. What it did is durable and in the log when this returns; work goes on by itself, whether
    /// the caller stays or not. How many plain messages of one caller wait here is the agent's to bound.
    async fn receive(&self, call: &Call, incoming: Incoming) -> Result<Reply, A2aError>;

    /// Cancels `task`, which has not ended as it was read; the log says so when this returns. When it has ended
    /// meanwhile, or cannot be cancelled, [`ErrorKind::TaskNotCancelable`].
    async fn cancel(&self, call: &Call, task: &Task) -> Result<(), A2aError>;

    /// `GetExtendedAgentCard`, asked only when the public card declares one.
    async fn extended_card(&self, call: &Call) -> Result<AgentCard, A2aError> {
        let _ = call;
        Err(A2aError::new(
            ErrorKind::ExtendedCardNotConfigured,
            "this agent has no extended card",
            "the public card says everything there is",
        ))
    }
}
