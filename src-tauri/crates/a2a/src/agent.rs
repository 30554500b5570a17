//! What an agent does. The server speaks the protocol; the agent, implemented by `node`, has the use-cases.

use crate::{A2aError, ErrorKind};
use a2a::{
    AgentCard, CancelTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse, SendMessageRequest,
    SendMessageResponse, StreamResponse, SubscribeToTaskRequest, Task,
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::net::IpAddr;
use tender_base::Did;

/// Who asks, as far as the request proves it. It identifies and never authorises: whether an identified peer may
/// do what it asks is the agent's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No token.
    Anonymous,
    /// The holder of this key signed a fresh token for this agent.
    Peer(Did),
}

/// Who asks, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub identity: Identity,
    /// The connection's remote address; forwarding headers are not believed.
    pub ip: IpAddr,
}

impl Caller {
    /// The peer's key, when the caller proved one.
    #[must_use]
    pub fn did(&self) -> Option<Did> {
        match self.identity {
            Identity::Anonymous => None,
            Identity::Peer(did) => Some(did),
        }
    }
}

/// Events of one task, in order. The first is the task as it stands (or exactly one message and nothing after it).
pub type EventStream = BoxStream<'static, Result<StreamResponse, A2aError>>;

/// The operations of A2A 1.0 without push notifications, which the server refuses itself.
///
/// Requests arrive with their required fields present. Another caller's task is [`A2aError::task_not_found`].
#[async_trait]
pub trait Agent: Send + Sync + 'static {
    /// Whether this key belongs to a paired peer. Only such a caller may send large bodies; anyone can make a key.
    async fn is_peer(&self, did: &Did) -> bool;

    /// `SendMessage`: returns a message, or a task once it is terminal or waits for input
    /// (at once with `configuration.return_immediately`).
    async fn send_message(&self, caller: &Caller, request: SendMessageRequest)
    -> Result<SendMessageResponse, A2aError>;

    /// `SendStreamingMessage`. The task's life must not depend on the stream: dropping it means that the caller
    /// went away, nothing else.
    async fn send_streaming_message(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<EventStream, A2aError>;

    /// `GetTask`.
    async fn get_task(&self, caller: &Caller, request: GetTaskRequest) -> Result<Task, A2aError>;

    /// `ListTasks`: the caller's own, newest status first. `page_size` arrives within 1 to 100 when it is given.
    async fn list_tasks(&self, caller: &Caller, request: ListTasksRequest) -> Result<ListTasksResponse, A2aError>;

    /// `CancelTask`: the task as it then stands; a terminal one is [`ErrorKind::TaskNotCancelable`].
    async fn cancel_task(&self, caller: &Caller, request: CancelTaskRequest) -> Result<Task, A2aError>;

    /// `SubscribeToTask`: the task as it stands, then what happens; a terminal one is
    /// [`ErrorKind::UnsupportedOperation`].
    async fn subscribe_to_task(
        &self,
        caller: &Caller,
        request: SubscribeToTaskRequest,
    ) -> Result<EventStream, A2aError>;

    /// `GetExtendedAgentCard`; our card does not declare one.
    async fn extended_card(&self, caller: &Caller) -> Result<AgentCard, A2aError> {
        let _ = caller;
        Err(A2aError::new(
            ErrorKind::UnsupportedOperation,
            "this agent has no extended card",
            "the public card says everything there is",
        ))
    }
}
