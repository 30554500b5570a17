//! The eleven operations, with every check that does not belong to a binding. In this order: is it offered, are the
//! fields in order, does the agent take such content, is there such a task, does the message fit it, may its webhook be
//! kept, was it sent before, has the task ended, is an extension missing; then the agent.

use super::{
    Server,
    body::{BodyPlace, check_history, check_id, check_list, check_message},
    files::MAX_INLINE_BYTES,
    follow::{self, Events, Opened, Start},
};
use crate::{
    A2aError, CONTRACT_EXTENSION, ErrorKind, Incoming, Once, Reply, Standing,
    agent::Call,
    contract,
    log::{Cursor, ListQuery, Logged, Owner},
    push::{MAX_HOOKS, OpenHook},
};
use a2a::{
    AgentCard, CancelTaskRequest, GetTaskPushNotificationConfigRequest, GetTaskRequest,
    ListTaskPushNotificationConfigsResponse, ListTasksRequest, ListTasksResponse, Message, SendMessageRequest,
    SendMessageResponse, SubscribeToTaskRequest, Task, TaskPushNotificationConfig, TaskState,
};
use std::sync::Arc;
use tender_base::{Sha256, Timestamp, signed::canonical};

/// Tasks on a page when the client does not say.
const PAGE: i32 = 50;
/// Largest output in a list, in bytes; larger ones are told as an address, for there may be a hundred.
const LISTED_BYTES: u64 = 4 << 10;

/// Terminal, or waiting for somebody: what a blocking send waits for.
pub(super) fn is_interrupted(state: &TaskState) -> bool {
    state.is_terminal() || matches!(state, TaskState::InputRequired | TaskState::AuthRequired)
}

impl Server {
    pub(super) async fn send(
        self: &Arc<Self>,
        call: &Call,
        mut request: SendMessageRequest,
        body: BodyPlace,
    ) -> Result<SendMessageResponse, A2aError> {
        check_message(&mut request)?;
        let configuration = request.configuration.as_ref();
        let history = messages(configuration.and_then(|configuration| configuration.history_length));
        let at_once = configuration.is_some_and(|configuration| configuration.return_immediately == Some(true));
        // Who waits takes a place among the streams, before the message does anything. A signed document is answered
        // at once, but for an award, which is the same when it comes again.
        let mut place = match at_once || contract::belongs(&request.message) {
            true => None,
            false => Some(self.stream_place(call)?),
        };
        match self.accept(call, request, body).await? {
            Reply::Message(message) => Ok(SendMessageResponse::Message(*message)),
            Reply::Task(id) => {
                let owner = call.owner();
                let mut bell = self.log.watch(&id);
                loop {
                    let logged = self.read(&owner, &id).await?;
                    if at_once || is_interrupted(&logged.state()) {
                        return self.whole(call, &logged, history).await.map(SendMessageResponse::Task);
                    }
                    if place.is_none() {
                        place = Some(self.stream_place(call)?);
                    }
                    bell.changed().await.map_err(|_| {
                        let down = "this agent is shutting down";
                        A2aError::new(ErrorKind::Unavailable, down, "read the task with GetTask later")
                    })?;
                }
            }
        }
    }

    pub(super) async fn send_streaming(
        self: &Arc<Self>,
        call: &Call,
        mut request: SendMessageRequest,
        body: BodyPlace,
    ) -> Result<Events, A2aError> {
        self.streams()?;
        check_message(&mut request)?;
        let history = request.configuration.as_ref().and_then(|configuration| configuration.history_length);
        let place = self.stream_place(call)?;
        match self.accept(call, request, body).await? {
            Reply::Message(message) => Ok(follow::message(*message)),
            Reply::Task(id) => {
                let start = Start { opened: Opened::BySending, from: None, history: messages(history), place };
                self.follow(call, &id, start).await
            }
        }
    }

    /// Takes a message whose fields are in order; the task in the answer is in the log. It goes on to its end when the
    /// connection breaks meanwhile. After that the message's body is no longer in memory, and its place is free.
    async fn accept(
        self: &Arc<Self>,
        call: &Call,
        request: SendMessageRequest,
        body: BodyPlace,
    ) -> Result<Reply, A2aError> {
        let (server, call) = (self.clone(), call.clone());
        to_the_end(async move { server.take(&call, request, body).await }).await
    }

    async fn take(
        self: &Arc<Self>,
        call: &Call,
        mut request: SendMessageRequest,
        body: BodyPlace,
    ) -> Result<Reply, A2aError> {
        self.card.facts().check_media_types(&request.message)?;
        let owner = call.owner();
        let hook = match &mut request.configuration {
            Some(configuration) => configuration.task_push_notification_config.take(),
            None => None,
        };
        let hook = hook.map(|hook| named(hook, || inline_id(&owner, &request.message.message_id)));
        if hook.is_some() {
            self.pushes()?;
        }
        let (task, once) = if contract::belongs(&request.message) {
            // A signed document names its contract itself, and is answered as the first time when it comes again.
            (None, None)
        } else {
            let task = match &request.message.task_id {
                Some(id) => Some(self.read(&owner, id).await?),
                None => None,
            };
            (task, self.once(call, &request.message))
        };
        if let Some(task) = &task {
            let context = request.message.context_id.get_or_insert_with(|| task.context.clone());
            if *context != task.context {
                return Err(A2aError::invalid("message.contextId is not the context of message.taskId"));
            }
        }
        if let Some(hook) = &hook {
            self.may_keep(call, hook, task.as_ref()).await?;
        }
        // What the message is about to do is to be delivered, what was before is not.
        let before = task.as_ref().map_or(0, Logged::newest);
        let sent = self.repeated(&owner, once.as_ref()).await?;
        let again = sent.is_some();
        let reply = match sent {
            Some(task) => Reply::Task(task),
            None => {
                if task.as_ref().is_some_and(|task| task.state().is_terminal()) {
                    return Err(A2aError::new(
                        ErrorKind::UnsupportedOperation,
                        "the task has ended and takes no more messages",
                        "send a new message without taskId; name the task in referenceTaskIds",
                    ));
                }
                if let Some(uri) = self.agent.requires(&request).filter(|uri| !call.speaks(uri)) {
                    return Err(A2aError::new(
                        ErrorKind::ExtensionSupportRequired,
                        format!("this message needs the extension {uri}"),
                        format!("send the header `A2A-Extensions: {uri}` if you support it"),
                    ));
                }
                let task = match &task {
                    Some(logged) => Some(self.task(logged, logged.newest(), None, None, false).await?),
                    None => None,
                };
                let document = contract::belongs(&request.message);
                // An agent may take its time over a plain message, and bounds itself how many it holds.
                let _until_taken = body.filter(|_| document);
                self.agent.receive(call, Incoming { request, task, once }).await.map_err(|error| match error.kind {
                    // A document names a contract, which is a task. Of other messages the task was found already.
                    ErrorKind::TaskNotFound if !document => A2aError { kind: ErrorKind::InvalidParams, ..error },
                    _ => error,
                })?
            }
        };
        if let (Reply::Task(id), Some(hook)) = (&reply, hook) {
            let hook = TaskPushNotificationConfig { task_id: id.clone(), ..hook };
            // One that is kept already is not disturbed.
            let kept = again && self.log.hooks(&owner, id).await.is_ok_and(|kept| kept.contains(&hook));
            // The message has been taken, and may have cost money: an error would say that it was not.
            if !kept && let Err(error) = self.keep_hook(&owner, hook, before).await {
                tracing::warn!(%error, task = id, "the webhook of a message was not kept");
            }
        }
        Ok(reply)
    }

    /// Whether the webhook that comes with a message may be kept. No name is resolved for a stranger.
    async fn may_keep(
        &self,
        call: &Call,
        hook: &TaskPushNotificationConfig,
        task: Option<&Logged>,
    ) -> Result<(), A2aError> {
        let known = match (task, call.did()) {
            (Some(_), _) => true,
            (None, Some(did)) => self.agent.standing(&did).await != Standing::Stranger,
            (None, None) => false,
        };
        let owner = call.owner();
        self.check_hook(&owner, hook, known).await?;
        let Some(task) = task else { return Ok(()) };
        let kept = self.log.hooks(&owner, &task.id).await?;
        if kept.len() >= MAX_HOOKS && !kept.iter().any(|kept| kept.id == hook.id) {
            let full = format!("the task has {MAX_HOOKS} push notification configs");
            return Err(A2aError::new(ErrorKind::TooMany, full, "delete one first"));
        }
        Ok(())
    }

    /// What makes a message the same again. Anonymous callers have no identity to key on.
    fn once(&self, call: &Call, message: &Message) -> Option<Once> {
        call.did()?;
        let key = match &call.once {
            Some(key) => format!("key:{key}"),
            None => format!("message:{}", message.message_id),
        };
        Some(Once { key, sha256: Sha256::of(&canonical(message)) })
    }

    /// The task that the same message went to before.
    async fn repeated(&self, owner: &Owner, once: Option<&Once>) -> Result<Option<String>, A2aError> {
        let Some(once) = once else { return Ok(None) };
        match self.log.sent(owner, &once.key).await? {
            None => Ok(None),
            Some(sent) if sent.sha256 == once.sha256 => Ok(Some(sent.task)),
            Some(_) => Err(A2aError::invalid(
                "message.messageId (or Idempotency-Key) was already used for another message; use a new one",
            )),
        }
    }

    pub(super) async fn get(&self, call: &Call, request: GetTaskRequest) -> Result<Task, A2aError> {
        check_id("id", &request.id)?;
        check_history(request.history_length)?;
        let logged = self.read(&call.owner(), &request.id).await?;
        self.whole(call, &logged, messages(request.history_length)).await
    }

    /// The task as it stands, with everything.
    async fn whole(&self, call: &Call, logged: &Logged, history: Option<usize>) -> Result<Task, A2aError> {
        let extension = call.speaks(CONTRACT_EXTENSION);
        self.task(logged, logged.newest(), history, Some(MAX_INLINE_BYTES), extension).await
    }

    pub(super) async fn list(&self, call: &Call, request: ListTasksRequest) -> Result<ListTasksResponse, A2aError> {
        check_list(&request)?;
        let page_size = request.page_size.unwrap_or(PAGE);
        let query = ListQuery {
            context: request.context_id.filter(|context| !context.is_empty()),
            state: request.status.filter(|state| *state != TaskState::Unspecified),
            since: request.status_timestamp_after.map(|at| {
                // Statuses have whole milliseconds: one within a later part of this one comes after it.
                let later = i64::from(at.timestamp_subsec_nanos() % 1_000_000 > 0);
                Timestamp::from_millis(at.timestamp_millis() + later)
            }),
            after: Cursor::read(request.page_token.as_deref().unwrap_or_default())?,
            limit: page_size.unsigned_abs(),
        };
        let page = self.log.list(&call.owner(), &query).await?;
        let history = messages(request.history_length);
        let artifacts = (request.include_artifacts == Some(true)).then_some(LISTED_BYTES);
        let mut tasks = Vec::with_capacity(page.tasks.len());
        for logged in &page.tasks {
            let extension = call.speaks(CONTRACT_EXTENSION);
            tasks.push(self.task(logged, logged.newest(), history, artifacts, extension).await?);
        }
        Ok(ListTasksResponse {
            tasks,
            next_page_token: page.next.map(|cursor| cursor.token()).unwrap_or_default(),
            page_size,
            total_size: i32::try_from(page.total).unwrap_or(i32::MAX),
        })
    }

    pub(super) async fn cancel(self: &Arc<Self>, call: &Call, request: CancelTaskRequest) -> Result<Task, A2aError> {
        check_id("id", &request.id)?;
        let owner = call.owner();
        let logged = self.read(&owner, &request.id).await?;
        let task = self.task(&logged, logged.newest(), None, None, false).await?;
        if task.status.state.is_terminal() {
            return Err(A2aError::new(ErrorKind::TaskNotCancelable, "the task has ended", "nothing needs to be done"));
        }
        let (server, canceller) = (self.clone(), call.clone());
        to_the_end(async move { server.agent.cancel(&canceller, &task).await }).await?;
        let logged = self.read(&owner, &request.id).await?;
        self.whole(call, &logged, None).await
    }

    pub(super) async fn subscribe(
        self: &Arc<Self>,
        call: &Call,
        request: SubscribeToTaskRequest,
    ) -> Result<Events, A2aError> {
        self.streams()?;
        check_id("id", &request.id)?;
        let from = match call.last_event.as_deref() {
            None | Some("") => None,
            Some(text) => Some(text.parse().map_err(|_| {
                A2aError::invalid("Last-Event-ID is not a number; send the id of an event, or no such header")
            })?),
        };
        let logged = self.read(&call.owner(), &request.id).await?;
        // Who resumes before the end still gets it.
        if logged.state().is_terminal() && from.is_none_or(|from| from == logged.newest()) {
            return Err(A2aError::new(ErrorKind::UnsupportedOperation, "the task has ended", "read it with GetTask"));
        }
        let place = self.stream_place(call)?;
        self.follow(call, &request.id, Start { opened: Opened::BySubscribing, from, history: None, place }).await
    }

    pub(super) async fn extended_card(&self, call: &Call) -> Result<AgentCard, A2aError> {
        if !self.card.facts().extended_card {
            return Err(A2aError::new(
                ErrorKind::UnsupportedOperation,
                "this agent has no extended card",
                "the public card says everything there is",
            ));
        }
        self.agent.extended_card(call).await
    }

    pub(super) async fn create_hook(
        self: &Arc<Self>,
        call: &Call,
        hook: TaskPushNotificationConfig,
    ) -> Result<TaskPushNotificationConfig, A2aError> {
        self.pushes()?;
        check_id("taskId", &hook.task_id)?;
        let owner = call.owner();
        let logged = self.read(&owner, &hook.task_id).await?;
        self.check_hook(&owner, &hook, true).await?;
        self.keep_hook(&owner, named(hook, a2a::new_message_id), logged.newest()).await
    }

    async fn keep_hook(
        self: &Arc<Self>,
        owner: &Owner,
        hook: TaskPushNotificationConfig,
        after: u64,
    ) -> Result<TaskPushNotificationConfig, A2aError> {
        let _one = self.changing_hooks.lock().await;
        let delivered = self.log.keep_hook(owner, hook.clone(), after).await?;
        self.serve_hook(OpenHook { owner: owner.clone(), config: hook.clone(), delivered });
        Ok(hook)
    }

    pub(super) async fn get_hook(
        &self,
        call: &Call,
        request: GetTaskPushNotificationConfigRequest,
    ) -> Result<TaskPushNotificationConfig, A2aError> {
        let hooks = self.hooks(call, &request.task_id).await?;
        check_id("id", &request.id)?;
        hooks.into_iter().find(|hook| hook.id.as_ref() == Some(&request.id)).ok_or_else(|| {
            let missing = format!("the task has no push notification config {}", crate::error::readable(&request.id));
            A2aError::new(ErrorKind::TaskNotFound, missing, "list the task's configs to see their ids")
        })
    }

    /// All at once: a task has [`crate::push::MAX_HOOKS`] at most.
    pub(super) async fn list_hooks(
        &self,
        call: &Call,
        task: &str,
    ) -> Result<ListTaskPushNotificationConfigsResponse, A2aError> {
        let configs = self.hooks(call, task).await?;
        Ok(ListTaskPushNotificationConfigsResponse { configs, next_page_token: Some(String::new()) })
    }

    pub(super) async fn delete_hook(&self, call: &Call, task: &str, id: &str) -> Result<(), A2aError> {
        self.hooks(call, task).await?;
        check_id("id", id)?;
        let _one = self.changing_hooks.lock().await;
        self.push.stop(task, id);
        self.log.forget_hook(&call.owner(), task, id).await
    }

    async fn hooks(&self, call: &Call, task: &str) -> Result<Vec<TaskPushNotificationConfig>, A2aError> {
        self.pushes()?;
        check_id("taskId", task)?;
        let owner = call.owner();
        self.read(&owner, task).await?;
        self.log.hooks(&owner, task).await
    }

    /// Whether push notifications are offered: refused before the fields are looked at.
    pub(super) fn pushes(&self) -> Result<(), A2aError> {
        if self.card.facts().push { Ok(()) } else { Err(A2aError::no_push()) }
    }

    /// Whether streams are offered: refused before the fields are looked at.
    pub(super) fn streams(&self) -> Result<(), A2aError> {
        if self.card.facts().streaming {
            return Ok(());
        }
        Err(A2aError::new(
            ErrorKind::UnsupportedOperation,
            "this agent does not stream",
            "send the message with SendMessage and read the task with GetTask",
        ))
    }
}

/// Runs what must not stop halfway because the caller went away.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, A2aError>> + Send + 'static,
) -> Result<T, A2aError> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "an operation failed");
        Err(A2aError::new(ErrorKind::Internal, "the request could not be carried out", "report this as a bug"))
    })
}

/// A webhook with an id: its own, or this one.
fn named(mut hook: TaskPushNotificationConfig, id: impl FnOnce() -> String) -> TaskPushNotificationConfig {
    hook.id = hook.id.filter(|id| !id.is_empty()).or_else(|| Some(id()));
    hook.tenant = None;
    hook
}

/// The id of a webhook that came with a message and has none: the same when the message comes again.
fn inline_id(owner: &Owner, message: &str) -> String {
    Sha256::of(&canonical(&(owner, message))).to_string()
}

/// `historyLength`: all when it is not given.
fn messages(length: Option<i32>) -> Option<usize> {
    length.and_then(|length| usize::try_from(length).ok())
}
