//! The store as the log that the A2A server follows.
//!
//! What is recorded of plain tasks is read as it was written. What happened to a sold contract is told from its states
//! and documents, in the order in which it entered them: the numbers that follow from this stay, because states are only
//! added, and nothing is told after the state that ended the task.

use super::agent::identify;
use crate::node::Node;
use async_trait::async_trait;
use axum::body::Bytes;
use serde_json::{Value, json};
use std::{collections::HashMap, ops::Range, sync::Arc};
use tender_a2a::{
    A2aError, ErrorKind, Owner, TaskLog, contract,
    log::{Bell, Change, Cursor, ListQuery, Live, Logged, Output, Page, Record, Sent},
    push::{Delivered, Hooks, MAX_HOOKS, OpenHook},
    wire::{self as a2a, Role as Wire, TaskPushNotificationConfig, TaskState as WireState},
};
use tender_base::{BlobRef, ContractState, Problem, Sha256, Timestamp, documents::Message, signed::canonical};
use tender_store::{ContractRecord, StoreError, TaskFilter, TaskRecord, TaskState, TaskStep};

/// Most webhooks of one client that are told anything yet.
const MAX_OPEN_HOOKS: u32 = 256;

/// What is told of the tasks of one page, in bytes of what is recorded of them and of the messages kept beside that:
/// below the 4 MiB that a gRPC client takes. One task alone may have more.
const PAGE_BYTES: u64 = 2 << 20;

/// The node's tasks.
pub(crate) struct NodeLog(pub(crate) Arc<Node>);

#[async_trait]
impl TaskLog for NodeLog {
    async fn records(&self, owner: &Owner, task: &str) -> Result<Option<Logged>, A2aError> {
        let Some(mut found) = self.0.store.task(owner.as_str(), task).await.map_err(failed)? else {
            return self.known(owner).await.map(|()| None);
        };
        if found.key_taken_back {
            return Err(taken_back());
        }
        self.0.restore_messages(&mut found).await?;
        logged(found).map(Some)
    }

    async fn list(&self, owner: &Owner, query: &ListQuery) -> Result<Page, A2aError> {
        self.known(owner).await?;
        let state = match &query.state {
            None => None,
            Some(state) => match from_wire(state) {
                Some(state) => Some(state),
                // No task of a node is ever in that state.
                None => return Ok(Page::default()),
            },
        };
        let filter = TaskFilter {
            context: query.context.clone(),
            state,
            since: query.since,
            after: query.after.clone().map(|cursor| (cursor.changed_at, cursor.id)),
            limit: query.limit,
        };
        let mut page = self.0.store.tasks(owner.as_str(), &filter).await.map_err(failed)?;
        let mut bytes = 0;
        let fits = |task: &&TaskRecord| {
            bytes += Node::recorded_bytes(task);
            bytes <= PAGE_BYTES
        };
        let fitting = page.tasks.iter().take_while(fits).count().max(1);
        page.more |= fitting < page.tasks.len();
        page.tasks.truncate(fitting);
        for task in &mut page.tasks {
            self.0.restore_messages(task).await?;
        }
        let last = page.tasks.last().filter(|_| page.more);
        let next = last.map(|task| Cursor { changed_at: task.changed_at, id: task.id.clone() });
        let tasks = page.tasks.into_iter().map(logged).collect::<Result<_, _>>()?;
        Ok(Page { tasks, next, total: page.total })
    }

    async fn sent(&self, owner: &Owner, key: &str) -> Result<Option<Sent>, A2aError> {
        let sent = self.0.store.task_message(owner.as_str(), key).await.map_err(failed)?;
        Ok(sent.map(|(task, sha256)| Sent { task, sha256 }))
    }

    fn watch(&self, task: &str) -> Bell {
        self.0.live.bells.listen(task)
    }

    fn live(&self, task: &str) -> Option<Live> {
        let (progress, used) = self.0.live.metered(task)?;
        Some(Live { done: progress.done.into(), total: progress.total.into(), text: progress.text, used })
    }

    async fn blob(&self, blob: &BlobRef, range: Range<u64>) -> Result<Option<Bytes>, A2aError> {
        let store = &self.0.store;
        let whole = range == (0..blob.bytes);
        let bytes = if whole { store.blob(blob).await } else { store.blob_range(blob, range).await };
        Ok(bytes.map_err(failed)?.map(Into::into))
    }
}

#[async_trait]
impl Hooks for NodeLog {
    async fn keep_hook(&self, owner: &Owner, config: TaskPushNotificationConfig, after: u64) -> Result<u64, A2aError> {
        let (task, id) = (config.task_id.clone(), config.id.clone().unwrap_or_default());
        let limits = [u32::try_from(MAX_HOOKS).unwrap_or(u32::MAX), MAX_OPEN_HOOKS];
        let config = serde_json::to_value(config).map_err(unreadable)?;
        self.0.store.keep_hook(owner.as_str(), &task, &id, config, (after, limits)).await.map_err(|error| match error {
            StoreError::NotFound { .. } => A2aError::task_not_found(&task),
            error => failed(error),
        })
    }

    async fn hooks(&self, owner: &Owner, task: &str) -> Result<Vec<TaskPushNotificationConfig>, A2aError> {
        let hooks = self.0.store.hooks(owner.as_str(), task).await.map_err(failed)?;
        hooks.into_iter().map(|hook| serde_json::from_value(hook.config).map_err(unreadable)).collect()
    }

    async fn forget_hook(&self, owner: &Owner, task: &str, id: &str) -> Result<(), A2aError> {
        self.0.store.forget_hook(owner.as_str(), task, id).await.map_err(failed)
    }

    async fn open_hooks(&self) -> Result<Vec<OpenHook>, A2aError> {
        let hooks = self.0.store.open_hooks().await.map_err(failed)?;
        let open = |hook: tender_store::HookRecord| {
            Ok(OpenHook {
                owner: Owner::stored(hook.owner),
                config: serde_json::from_value(hook.config).map_err(unreadable)?,
                delivered: hook.delivered,
            })
        };
        hooks.into_iter().map(open).collect()
    }

    async fn move_hook(&self, owner: &Owner, task: &str, id: &str, to: Delivered) -> Result<(), A2aError> {
        let to = match to {
            Delivered::Upto(version) => (Some(version), true),
            Delivered::All(version) => (Some(version), false),
            Delivered::GivenUp => (None, false),
        };
        self.0.store.move_hook(owner.as_str(), task, id, to).await.map_err(failed)
    }

    async fn home(&self, owner: &Owner) -> Option<String> {
        let peer = self.0.store.peer(&owner.did()?).await.ok()??;
        peer.address.filter(|_| !peer.removed)
    }
}

impl NodeLog {
    /// A node keeps no tasks for callers without a key, and shows none to whoever holds a key that was taken back: it may
    /// have got into other hands. A removed peer still gets what it paid for.
    async fn known(&self, owner: &Owner) -> Result<(), A2aError> {
        let did = owner.did().ok_or_else(identify)?;
        let peer = self.0.store.peer(&did).await.map_err(failed)?;
        if peer.is_some_and(|peer| peer.by_key && peer.removed) { Err(taken_back()) } else { Ok(()) }
    }
}

fn taken_back() -> A2aError {
    let back = "this API key was taken back";
    A2aError::new(ErrorKind::Unauthenticated, back, "ask the owner of this agent for another")
}

fn failed(error: StoreError) -> A2aError {
    error.problem().into()
}

fn unreadable(error: serde_json::Error) -> A2aError {
    A2aError::new(ErrorKind::Internal, format!("what is stored does not read back: {error}"), "report this as a bug")
}

/// A task with everything that happened to it.
pub(crate) fn logged(task: TaskRecord) -> Result<Logged, A2aError> {
    let mut changes = Vec::with_capacity(task.steps.len());
    let mut ended = false;
    for (at, step) in task.steps {
        match (step, &task.contract) {
            (TaskStep::Recorded(body), _) => changes.push((at, serde_json::from_value(body).map_err(unreadable)?)),
            (TaskStep::Entered(state), Some(contract)) if !ended => {
                ended = TaskState::of(state).is_some_and(TaskState::ended);
                changes.extend(told(contract, task.recorded > 0, state, at).into_iter().map(|change| (at, change)));
            }
            (TaskStep::Entered(_), _) => {}
        }
    }
    let numbered = (1..).zip(changes).map(|(version, (at, change))| Record { version, at, change });
    Ok(Logged { id: task.id, context: task.context, records: numbered.collect() })
}

/// What is told when a sold contract enters a state. Who did not ask in documents is not answered in them: `plain`
/// tasks have their output among what is recorded.
fn told(contract: &ContractRecord, plain: bool, state: ContractState, at: Timestamp) -> Vec<Change> {
    let Some(face) = TaskState::of(state) else { return Vec::new() };
    let status = |message| Change::Status { state: to_wire(face), message, metadata: None };
    match (plain, state) {
        // It is accepted in the same transaction.
        (true, ContractState::Delivered) => Vec::new(),
        (true, _) => {
            let reason = contract.reason.as_ref().filter(|_| face == TaskState::Failed);
            let message = reason.map(|reason| text(refusal_id(contract, reason), reason.to_string()));
            vec![Change::Status { state: to_wire(face), message, metadata: billed(contract, state) }]
        }
        (false, ContractState::Delivered) => {
            let output = contract.delivery().map(|delivery| Output {
                artifact_id: contract::OUTPUT.to_owned(),
                blob: delivery.document.output,
                media_type: contract::BYTES.to_owned(),
                filename: None,
                extensions: vec![contract::CONTRACT_EXTENSION.to_owned()],
            });
            output.map(Change::Output).into_iter().chain([status(said(contract, state, at))]).collect()
        }
        (false, _) => vec![status(said(contract, state, at))],
    }
}

/// What the work came to in the end, as the metadata of the status that says it is done: at most what was quoted.
fn billed(contract: &ContractRecord, state: ContractState) -> Option<HashMap<String, Value>> {
    let delivery = contract.delivery().filter(|_| state == ContractState::Accepted)?;
    let (units, amount) = (delivery.document.units, delivery.document.amount);
    let billed = json!({ "billed": { "units": units, "amount_micro_usd": amount } });
    Some([(contract::CONTRACT_EXTENSION.to_owned(), billed)].into())
}

/// A message of this agent in words.
pub(super) fn text(id: String, text: String) -> a2a::Message {
    let mut message = a2a::Message::new(Wire::Agent, vec![a2a::Part::text(text)]);
    message.message_id = id;
    message
}

/// What the contractor said when the contract entered a state. It must not depend on what came later.
fn said(contract: &ContractRecord, state: ContractState, at: Timestamp) -> Option<a2a::Message> {
    let delivery = || contract.delivery().cloned().map(Message::Delivery);
    let document = match state {
        ContractState::Delivered => delivery(),
        // Silence counted for a client that was away: it owes the amount, so it still gets what it owes it for.
        ContractState::Accepted if !came_by(contract, at) => delivery(),
        ContractState::Accepted => contract.countersignature().cloned().map(Message::Countersignature),
        ContractState::Failed => contract.reason.clone().map(Message::Refusal),
        ContractState::HandedBack => contract.handback().cloned().map(Message::Handback),
        _ => None,
    }?;
    let mut message = contract::wrap(&document, Wire::Agent);
    if let Message::Refusal(problem) = &document {
        message.message_id = refusal_id(contract, problem);
    }
    Some(message)
}

/// The same whenever it is told.
fn refusal_id(contract: &ContractRecord, problem: &Problem) -> String {
    Sha256::of(&canonical(&(contract.id, problem))).to_string()
}

/// Whether the client's acceptance came with the state and not after it.
fn came_by(contract: &ContractRecord, at: Timestamp) -> bool {
    let came = contract.documents.iter().zip(&contract.documented);
    came.into_iter().any(|(document, came)| matches!(document, Message::Acceptance(_)) && *came <= at)
}

pub(crate) fn to_wire(state: TaskState) -> WireState {
    match state {
        TaskState::Submitted => WireState::Submitted,
        TaskState::Working => WireState::Working,
        TaskState::InputRequired => WireState::InputRequired,
        TaskState::Completed => WireState::Completed,
        TaskState::Failed => WireState::Failed,
        TaskState::Canceled => WireState::Canceled,
        TaskState::Rejected => WireState::Rejected,
    }
}

pub(crate) fn from_wire(state: &WireState) -> Option<TaskState> {
    Some(match state {
        WireState::Submitted => TaskState::Submitted,
        WireState::Working => TaskState::Working,
        WireState::InputRequired => TaskState::InputRequired,
        WireState::Completed => TaskState::Completed,
        WireState::Failed => TaskState::Failed,
        WireState::Canceled => TaskState::Canceled,
        WireState::Rejected => TaskState::Rejected,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
