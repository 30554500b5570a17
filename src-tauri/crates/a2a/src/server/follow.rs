//! A task as a stream: how it stands, then every record of the log that comes after, each once and in the log's order.
//!
//! Nothing is kept for a stream but the records of one reading, so that a slow reader costs no memory and holds up
//! nobody: it reads the log when it can. The version of a record is the event's id; a stream that was cut goes on after
//! the last one that arrived. Progress is not in the log: it costs no reading, and who misses a step gets the newest one.

use super::{Server, StreamPlace, files::MAX_INLINE_BYTES, operations::is_interrupted};
use crate::{
    A2aError, CONTRACT_EXTENSION, ErrorKind,
    agent::Call,
    contract::{self, OUTPUT, Piece, Progress},
    log::{self, Bell, Change, Live, Logged, Owner, Record},
};
use a2a::{
    Artifact, Message, Part, PartContent, StreamResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus,
    TaskStatusUpdateEvent,
};
use chrono::DateTime;
use futures::{StreamExt, stream, stream::BoxStream};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tender_base::Timestamp;
use tokio::time::{Instant, timeout_at};

/// Progress is told no more often: a text of a hundred tokens per second is ten events.
const PACE: Duration = Duration::from_millis(100);

/// One event, with its id when it can be resumed after.
pub(super) struct Event {
    pub(super) id: Option<u64>,
    pub(super) response: StreamResponse,
}

/// Events of one task, or exactly one message. An error is the last.
pub(super) type Events = BoxStream<'static, Result<Event, A2aError>>;

/// How a stream began decides when it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// By `SendStreamingMessage`: ends when the task waits for input or has ended.
    BySending,
    /// By `SubscribeToTask`: a task that waits for input when it is subscribed to is shown and followed.
    BySubscribing,
}

/// Where and how a stream begins.
pub(super) struct Start {
    pub(super) opened: Opened,
    /// The version that the client has; none for how the task stands now.
    pub(super) from: Option<u64>,
    /// Most messages of the history in the first event.
    pub(super) history: Option<usize>,
    /// Held until the stream ends.
    pub(super) place: StreamPlace,
}

/// A message instead of a task.
pub(super) fn message(message: Message) -> Events {
    stream::iter([Ok(Event { id: None, response: StreamResponse::Message(message) })]).boxed()
}

struct Follow {
    server: Arc<Server>,
    owner: Owner,
    /// The task without its records.
    task: Logged,
    bell: Bell,
    /// Read and not yet told.
    waiting: VecDeque<Record>,
    seen: u64,
    state: TaskState,
    /// When the state was entered.
    since: Timestamp,
    /// Whether the client speaks the contract extension, in which progress is told.
    extension: bool,
    told: Option<Live>,
    /// When progress is told again.
    due: Instant,
    over: bool,
    _place: StreamPlace,
}

impl Server {
    /// Follows a task of the caller.
    pub(super) async fn follow(self: &Arc<Self>, call: &Call, task: &str, start: Start) -> Result<Events, A2aError> {
        let owner = call.owner();
        // The bell first: what rings after the reading is not missed.
        let bell = self.log.watch(task);
        let logged = self.read(&owner, task).await?;
        let newest = logged.newest();
        let from = start.from.unwrap_or(newest);
        if from == 0 || from > newest {
            return Err(A2aError::invalid(format!("Last-Event-ID {from} is no event of this task; it has {newest}")));
        }
        let extension = call.speaks(CONTRACT_EXTENSION);
        // Before the snapshot, which may know more: what comes twice is recognised, what is left out is not.
        let live = self.log.live(task);
        let first = self.task(&logged, from, start.history, Some(MAX_INLINE_BYTES), extension).await?;
        let state = first.status.state.clone();
        let parked = start.opened == Opened::BySubscribing && state == TaskState::InputRequired;
        let told = live.filter(|_| extension && from == newest && state == TaskState::Working);
        let waiting: VecDeque<_> = logged.records.iter().filter(|record| record.version > from).cloned().collect();
        // Resumed before its end: the rest is still to be told.
        let over = ends(&state) && !parked && waiting.is_empty();
        let since = logged.records.iter().rev().find(|record| record.version <= from).map(|record| record.at);
        let follow = Follow {
            server: self.clone(),
            owner,
            task: Logged { records: Vec::new(), ..logged },
            bell,
            waiting,
            seen: from,
            state,
            since: since.unwrap_or(Timestamp::from_millis(0)),
            extension,
            told,
            due: Instant::now(),
            over,
            _place: start.place,
        };
        let first = Event { id: Some(from), response: StreamResponse::Task(first) };
        let rest = stream::unfold(follow, |mut follow| async move {
            let event = follow.next().await?;
            follow.over |= event.is_err();
            Some((event, follow))
        });
        Ok(stream::iter([Ok(first)]).chain(rest).boxed())
    }

    /// All records of a task of `owner`.
    pub(super) async fn read(&self, owner: &Owner, task: &str) -> Result<Logged, A2aError> {
        self.log.records(owner, task).await?.ok_or_else(|| A2aError::task_not_found(task))
    }

    /// The task as of a version, with its outputs, of which at most `artifacts` bytes each are in it and none without a
    /// number, and with the progress of now when the client understands it.
    pub(super) async fn task(
        &self,
        logged: &Logged,
        upto: u64,
        history: Option<usize>,
        artifacts: Option<u64>,
        extension: bool,
    ) -> Result<Task, A2aError> {
        let mut task = log::fold(logged, upto, history);
        if let Some(inline) = artifacts {
            // The newest of each artifact comes last.
            for output in logged.outputs(upto).collect::<Vec<_>>().into_iter().rev() {
                let artifact = task.artifacts.iter_mut().flatten().find(|it| it.artifact_id == output.artifact_id);
                if let Some(artifact) = artifact.filter(|artifact| artifact.parts.is_empty()) {
                    artifact.parts.extend(self.part(&logged.id, output, inline).await?);
                }
            }
            task.artifacts.iter_mut().for_each(|artifacts| artifacts.retain(|artifact| !artifact.parts.is_empty()));
            task.artifacts = task.artifacts.filter(|artifacts| !artifacts.is_empty());
        } else {
            task.artifacts = None;
        }
        if extension
            && task.status.state == TaskState::Working
            && let Some(live) = self.log.live(&logged.id)
        {
            task.metadata.get_or_insert_default().extend(contract::metadata(progress(&live, 0)));
        }
        Ok(task)
    }

    /// A record as an event; none for what is only history, and for an output whose bytes are gone.
    pub(crate) async fn event(&self, task: &Logged, record: &Record) -> Result<Option<StreamResponse>, A2aError> {
        let mut event = log::event(task, record);
        if let (Change::Output(output), Some(StreamResponse::ArtifactUpdate(update))) = (&record.change, &mut event) {
            match self.part(&task.id, output, MAX_INLINE_BYTES).await? {
                Some(part) => update.artifact.parts.push(part),
                None => return Ok(None),
            }
        }
        Ok(event)
    }
}

impl Follow {
    async fn next(&mut self) -> Option<Result<Event, A2aError>> {
        loop {
            if self.over {
                return None;
            }
            if let Some(record) = self.waiting.pop_front() {
                match self.tell(&record).await {
                    Ok(Some(response)) => return Some(Ok(Event { id: Some(record.version), response })),
                    Ok(None) => continue,
                    Err(error) => return Some(Err(error)),
                }
            }
            let rung = if Instant::now() < self.due {
                timeout_at(self.due, self.bell.changed()).await.map_or(Ok(false), |record| record.map(|()| true))
            } else {
                if let Some(response) = self.progress() {
                    self.due = Instant::now() + PACE;
                    return Some(Ok(Event { id: None, response }));
                }
                self.bell.progressed().await
            };
            match rung {
                Ok(true) => {}
                Ok(false) => continue,
                Err(_) => {
                    let down = "this agent is shutting down";
                    let down = A2aError::new(ErrorKind::Unavailable, down, "subscribe to the task again later");
                    return Some(Err(down));
                }
            }
            match self.server.read(&self.owner, &self.task.id).await {
                Ok(logged) => {
                    let seen = self.seen;
                    self.waiting.extend(logged.records.into_iter().filter(|record| record.version > seen));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    async fn tell(&mut self, record: &Record) -> Result<Option<StreamResponse>, A2aError> {
        self.seen = record.version;
        if let Change::Status { state, .. } = &record.change {
            // A parked task that goes on waiting is followed further.
            self.over = ends(state) && self.waiting.is_empty() && *state != self.state;
            self.state = state.clone();
            self.since = record.at;
        }
        self.server.event(&self.task, record).await
    }

    /// What is new about the work since it was last told.
    fn progress(&mut self) -> Option<StreamResponse> {
        if self.state != TaskState::Working {
            return None;
        }
        let live = self.server.log.live(&self.task.id)?;
        let known = self.told.as_ref().map_or(0, |told| told.text.len());
        if self.told.as_ref() == Some(&live) {
            return None;
        }
        let (task_id, context_id) = (self.task.id.clone(), self.task.context.clone());
        let response = if self.extension {
            let status = TaskStatus {
                state: TaskState::Working,
                message: None,
                timestamp: DateTime::from_timestamp_millis(self.since.millis()),
            };
            let metadata = Some(contract::metadata(progress(&live, known)));
            Some(StreamResponse::StatusUpdate(TaskStatusUpdateEvent { task_id, context_id, status, metadata }))
        } else {
            let more = live.text.get(known..).filter(|more| !more.is_empty());
            more.map(|more| {
                StreamResponse::ArtifactUpdate(TaskArtifactUpdateEvent {
                    task_id,
                    context_id,
                    artifact: Artifact {
                        artifact_id: OUTPUT.to_owned(),
                        name: None,
                        description: None,
                        parts: vec![Part::text(more)],
                        metadata: None,
                        extensions: None,
                    },
                    append: (known > 0).then_some(true),
                    last_chunk: None,
                    metadata: None,
                })
            })
        };
        self.told = Some(live);
        response
    }
}

/// Progress as it is told to a client that knows so many bytes of the text.
fn progress(live: &Live, known: usize) -> Progress {
    let more = live.text.get(known..).filter(|more| !more.is_empty());
    let text = more.map(|more| Piece { at: known as u64, more: more.to_owned() });
    Progress { done: live.done, total: live.total, text, meter: live.used }
}

/// Terminal, or waiting for what a new request brings. AUTH_REQUIRED goes on by itself (A2A §7.6.1).
fn ends(state: &TaskState) -> bool {
    is_interrupted(state) && *state != TaskState::AuthRequired
}

/// How much raw content an event carries, in bytes.
pub(super) fn raw_bytes(event: &StreamResponse) -> usize {
    let artifacts = match event {
        StreamResponse::ArtifactUpdate(update) => std::slice::from_ref(&update.artifact),
        StreamResponse::Task(task) => task.artifacts.as_deref().unwrap_or_default(),
        _ => return 0,
    };
    let size = |part: &Part| if let PartContent::Raw(bytes) = &part.content { bytes.len() } else { 0 };
    artifacts.iter().flat_map(|artifact| &artifact.parts).map(size).sum()
}
