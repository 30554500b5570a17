//! What is remembered of tasks: versioned records, which only grow, and the task that they add up to.
//!
//! Every read is for one [`Owner`]; another's task is as none. A task as of any version can be told again, so that a
//! stream which was cut goes on where it was, and everyone who follows a task sees the same events in the same order.

mod cursor;
mod memory;

pub use cursor::Cursor;
pub use memory::MemoryLog;

use crate::{A2aError, agent::Call, contract::Used, limits::Origin, push::Hooks};
use a2a::{
    Artifact, Message, StreamResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus, TaskStatusUpdateEvent,
};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::HashMap, fmt, ops::Range, sync::Arc};
use tender_base::{BlobRef, Did, Sha256, Timestamp};
use tokio::sync::watch;

/// Whose a task is: a key, or an address for callers without one. Two strangers behind different addresses never see
/// each other's tasks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Owner(String);

impl Owner {
    pub(crate) fn of(call: &Call) -> Self {
        match call.did() {
            Some(did) => Self::key(&did),
            None => Self(format!("anonymous@{}", Origin::of(call.ip))),
        }
    }

    /// The holder of a key: a paired peer or an API key.
    #[must_use]
    pub fn key(did: &Did) -> Self {
        Self(did.to_string())
    }

    /// An owner as [`Self::as_str`] wrote it, read back from a store.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// As text, for a store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key; none for anonymous callers.
    #[must_use]
    pub fn did(&self) -> Option<Did> {
        self.0.parse().ok()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is remembered of tasks. [`MemoryLog`] forgets with the process; a node's survives it.
#[async_trait]
pub trait TaskLog: Hooks + Send + Sync + 'static {
    /// All records of a task, oldest first; none when it is not the owner's.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unauthenticated`] when the log keeps no tasks for anonymous callers.
    async fn records(&self, owner: &Owner, task: &str) -> Result<Option<Logged>, A2aError>;

    /// The owner's tasks that `query` asks for, newest status first.
    ///
    /// # Errors
    /// As [`Self::records`].
    async fn list(&self, owner: &Owner, query: &ListQuery) -> Result<Page, A2aError>;

    /// What an identified owner's message with this [`crate::Once::key`] did, when it was sent before.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn sent(&self, owner: &Owner, key: &str) -> Result<Option<Sent>, A2aError>;

    /// Rings whenever the task has a new record, or is further than before.
    fn watch(&self, task: &str) -> Bell;

    /// How far work on the task is, while there is work; not stored.
    fn live(&self, task: &str) -> Option<Live> {
        let _ = task;
        None
    }

    /// These of the bytes of an [`Output`], none of them to learn whether they are there; nothing when they are no
    /// longer kept. `range` lies within the blob. All of them at once are as they were stored; whoever reads them in
    /// pieces compares the hash.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn blob(&self, blob: &BlobRef, range: Range<u64>) -> Result<Option<Bytes>, A2aError>;
}

/// Rings for one task, once for all that happened since it was last heard.
///
/// It hangs on a counter of new records, which is also marked as changed, with the same value, when there is progress:
/// work may be further a hundred times per second, and only who tells progress wants to wake for that.
#[derive(Debug)]
pub struct Bell {
    records: watch::Receiver<u64>,
    heard: u64,
}

impl Bell {
    /// What rings with `records` from now on.
    #[must_use]
    pub fn of(mut records: watch::Receiver<u64>) -> Self {
        let heard = *records.borrow_and_update();
        Self { records, heard }
    }

    /// Waits for a new record.
    ///
    /// # Errors
    /// When the log has gone away.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        let heard = self.heard;
        self.heard = *self.records.wait_for(|count| *count != heard).await?;
        Ok(())
    }

    /// Waits for a new record or for progress; true for a record.
    ///
    /// # Errors
    /// When the log has gone away.
    pub async fn progressed(&mut self) -> Result<bool, watch::error::RecvError> {
        self.records.changed().await?;
        let count = *self.records.borrow_and_update();
        Ok(std::mem::replace(&mut self.heard, count) != count)
    }
}

/// A task and what happened to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// The task's id.
    pub id: String,
    /// Its context.
    pub context: String,
    /// At least one; versions 1, 2, 3 … without gaps.
    pub records: Vec<Record>,
}

/// One thing that happened to a task. Once told it never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The ordinal of the record within its task, from 1. It is the `id:` of the event in a stream.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub change: Change,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A message of the client, kept in the history. It is no event of a stream.
    Message(Message),
    /// The task's status.
    Status {
        /// The state from now on.
        state: TaskState,
        /// What the agent says about it. It moves into the history when the next status comes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<Message>,
        /// Of the event, and of the task for as long as this is its status.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<HashMap<String, Value>>,
    },
    /// An artifact, or more of one.
    Artifact {
        /// The artifact or what is appended to the one with the same id.
        artifact: Artifact,
        /// More of one that is there.
        append: bool,
        /// Nothing more comes.
        last: bool,
    },
    /// An artifact whose content is in the log's blobs.
    Output(Output),
}

/// An artifact of one part, whose bytes are read when somebody is told about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The artifact's id.
    pub artifact_id: String,
    /// Where its bytes are.
    pub blob: BlobRef,
    /// What they are. `text/plain` in UTF-8 is told as text, everything else as raw bytes, and what is large as an
    /// address.
    pub media_type: String,
    /// How a file with them might be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// The extensions that the artifact belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
}

/// How far work on a task is, for whoever listens now. It only grows, so that who missed a step lost nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// Units done.
    pub done: u64,
    /// Units in all; zero until the work has started.
    pub total: u64,
    /// The text so far; empty for other work.
    pub text: Arc<str>,
    /// What was used so far, where it is known.
    pub used: Option<Used>,
}

/// What a message did that was sent before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The task that it made or went to.
    pub task: String,
    /// SHA-256 of the canonical request.
    pub sha256: Sha256,
}

/// Which tasks are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only of this context.
    pub context: Option<String>,
    /// Only in this state.
    pub state: Option<TaskState>,
    /// Only with a status of this time or later.
    pub since: Option<Timestamp>,
    /// Only what comes after this place.
    pub after: Option<Cursor>,
    /// At most so many, 1 to 100.
    pub limit: u32,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The tasks, by (time of the newest status, id), both descending.
    pub tasks: Vec<Logged>,
    /// Where the next page begins; none when this is the last.
    pub next: Option<Cursor>,
    /// How many tasks the query finds on all pages.
    pub total: u64,
}

impl Logged {
    /// The version of the newest record.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.records.last().map_or(0, |record| record.version)
    }

    /// The state as it stands.
    #[must_use]
    pub fn state(&self) -> TaskState {
        let state = self.records.iter().rev().find_map(|record| match &record.change {
            Change::Status { state, .. } => Some(state.clone()),
            _ => None,
        });
        state.unwrap_or(TaskState::Submitted)
    }

    /// The time of the newest status, by which lists are sorted.
    #[must_use]
    pub fn changed_at(&self) -> Timestamp {
        let status = self.records.iter().rev().find(|record| matches!(record.change, Change::Status { .. }));
        status.or(self.records.first()).map_or(Timestamp::from_millis(0), |record| record.at)
    }

    /// The outputs up to a version, newest of each artifact.
    pub(crate) fn outputs(&self, upto: u64) -> impl Iterator<Item = &Output> {
        self.records.iter().filter(move |record| record.version <= upto).filter_map(|record| match &record.change {
            Change::Output(output) => Some(output),
            _ => None,
        })
    }

    /// A message of this task, with its ids.
    fn message(&self, message: &Message) -> Message {
        let mut message = message.clone();
        message.task_id.get_or_insert_with(|| self.id.clone());
        message.context_id.get_or_insert_with(|| self.context.clone());
        message
    }

    fn status(&self, state: &TaskState, message: Option<&Message>, at: Timestamp) -> TaskStatus {
        TaskStatus {
            state: state.clone(),
            message: message.map(|message| self.message(message)),
            timestamp: DateTime::from_timestamp_millis(at.millis()),
        }
    }
}

/// The task as of version `upto`, with the last `history` messages (all when none is given); folding up to
/// [`Logged::newest`] gives the task as it stands. An [`Output`] is an artifact without parts: reading them is not
/// this function's.
#[must_use]
pub fn fold(logged: &Logged, upto: u64, history: Option<usize>) -> Task {
    let began = logged.records.first().map_or(Timestamp::from_millis(0), |record| record.at);
    let mut task = Task {
        id: logged.id.clone(),
        context_id: logged.context.clone(),
        status: logged.status(&TaskState::Submitted, None, began),
        artifacts: None,
        history: None,
        metadata: None,
    };
    let (mut artifacts, mut messages) = (Vec::new(), Vec::new());
    for record in logged.records.iter().take_while(|record| record.version <= upto) {
        match &record.change {
            Change::Message(message) => messages.push(logged.message(message)),
            Change::Status { state, message, metadata } => {
                messages.extend(task.status.message.take());
                task.status = logged.status(state, message.as_ref(), record.at);
                task.metadata = metadata.clone();
            }
            Change::Artifact { artifact, append, .. } => keep(&mut artifacts, artifact.clone(), *append),
            Change::Output(output) => keep(&mut artifacts, output.artifact(), false),
        }
    }
    if let Some(most) = history {
        messages.drain(..messages.len().saturating_sub(most));
    }
    task.artifacts = Some(artifacts).filter(|artifacts| !artifacts.is_empty());
    task.history = Some(messages).filter(|messages| !messages.is_empty());
    task
}

/// Adds an artifact, or more of one, to those that are there.
pub(crate) fn keep(artifacts: &mut Vec<Artifact>, artifact: Artifact, append: bool) {
    match artifacts.iter_mut().find(|known| known.artifact_id == artifact.artifact_id) {
        Some(known) if append => known.parts.extend(artifact.parts),
        Some(known) => *known = artifact,
        None => artifacts.push(artifact),
    }
}

/// The record as an event of a stream; none for what is only history. An [`Output`] has no parts yet.
#[must_use]
pub fn event(logged: &Logged, record: &Record) -> Option<StreamResponse> {
    let (task_id, context_id) = (logged.id.clone(), logged.context.clone());
    match &record.change {
        Change::Message(_) => None,
        Change::Status { state, message, metadata } => Some(StreamResponse::StatusUpdate(TaskStatusUpdateEvent {
            task_id,
            context_id,
            status: logged.status(state, message.as_ref(), record.at),
            metadata: metadata.clone(),
        })),
        Change::Artifact { artifact, append, last } => {
            let artifact = artifact.clone();
            Some(update(task_id, context_id, artifact, append.then_some(true), last.then_some(true)))
        }
        Change::Output(output) => Some(update(task_id, context_id, output.artifact(), None, Some(true))),
    }
}

fn update(
    task_id: String,
    context_id: String,
    artifact: Artifact,
    append: Option<bool>,
    last_chunk: Option<bool>,
) -> StreamResponse {
    StreamResponse::ArtifactUpdate(TaskArtifactUpdateEvent {
        task_id,
        context_id,
        artifact,
        append,
        last_chunk,
        metadata: None,
    })
}

impl Output {
    /// The artifact without its part.
    fn artifact(&self) -> Artifact {
        Artifact {
            artifact_id: self.artifact_id.clone(),
            name: None,
            description: None,
            parts: Vec::new(),
            metadata: None,
            extensions: Some(self.extensions.clone()).filter(|extensions| !extensions.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use a2a::{Part, Role};

    fn says(text: &str) -> Message {
        Message::new(Role::Agent, vec![Part::text(text)])
    }

    fn artifact(id: &str, text: &str, append: bool) -> Change {
        let artifact = Artifact {
            artifact_id: id.to_owned(),
            name: None,
            description: None,
            parts: vec![Part::text(text)],
            metadata: None,
            extensions: None,
        };
        Change::Artifact { artifact, append, last: true }
    }

    fn status(state: TaskState, text: Option<&str>) -> Change {
        let metadata = text.map(|text| HashMap::from([("m".to_owned(), text.into())]));
        Change::Status { state, message: text.map(says), metadata }
    }

    fn logged(changes: Vec<Change>) -> Logged {
        let of = |(version, change)| Record { version, at: Timestamp::from_millis(version as i64 * 1000), change };
        Logged { id: "t".into(), context: "c".into(), records: (1..).zip(changes).map(of).collect() }
    }

    fn words(messages: Option<&Vec<Message>>) -> Vec<&str> {
        messages.into_iter().flatten().filter_map(Message::text).collect()
    }

    #[test]
    fn a_task_is_the_sum_of_its_records_at_every_version() {
        let task = logged(vec![
            Change::Message(says("hello")),
            status(TaskState::Working, Some("working")),
            artifact("a", "1", false),
            artifact("a", "2", true),
            artifact("b", "x", true),
            status(TaskState::InputRequired, Some("what else")),
            artifact("a", "new", false),
            status(TaskState::Completed, None),
        ]);
        let parts = |task: &Task| -> Vec<String> {
            let artifacts = task.artifacts.iter().flatten();
            artifacts.map(|it| it.parts.iter().filter_map(Part::as_text).collect::<Vec<_>>().join("+")).collect()
        };
        let at = |version| fold(&task, version, None);
        assert_eq!((at(1).status.state, at(1).artifacts), (TaskState::Submitted, None));
        assert_eq!(words(at(1).history.as_ref()), ["hello"]);
        assert_eq!(at(2).status.message.unwrap().text(), Some("working"));
        assert_eq!(at(2).metadata.unwrap()["m"], "working");
        assert_eq!(parts(&at(5)), ["1+2", "x"]);
        // What the agent said becomes history when it says something else.
        assert_eq!(words(at(6).history.as_ref()), ["hello", "working"]);
        let end = at(task.newest());
        assert_eq!((&end.status.state, &end.metadata), (&TaskState::Completed, &None));
        assert_eq!(words(end.history.as_ref()), ["hello", "working", "what else"]);
        assert_eq!(parts(&end), ["new", "x"]);
        assert!(end.history.iter().flatten().all(|it| it.task_id.as_deref() == Some("t") && it.context_id.is_some()));
        assert_eq!(words(fold(&task, 8, Some(1)).history.as_ref()), ["what else"]);
        assert_eq!(fold(&task, 8, Some(0)).history, None);
        assert_eq!((task.state(), task.changed_at()), (TaskState::Completed, Timestamp::from_millis(8000)));
        let events = task.records.iter().filter_map(|record| event(&task, record)).count();
        assert_eq!(events, 7, "a client's message is no event");
    }
}
