//! Following the task of an award.

use super::{
    Client,
    files::{self, File},
    http::{lost, not_a2a, one_of, read},
    stream::Stream,
};
use crate::{
    contract::{self, Envelope, Piece, Progress},
    server::KEEP_ALIVE,
};
use a2a::{Artifact, PartContent, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus, TaskStatusUpdateEvent};
use futures::{StreamExt, stream, stream::BoxStream};
use serde_json::Value;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tender_base::{
    Code, Problem, Signed,
    documents::{Delivery, Handback, Message},
    ids::ContractId,
    job::MAX_BLOB_BYTES,
};

/// A server that misses three keep-alives is gone.
pub(super) const SILENCE: Duration = Duration::from_millis(3 * KEEP_ALIVE.as_millis() as u64);
/// Longest text that is shown while it is written.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// What happens to an awarded contract, in the contractor's words.
#[derive(Clone, Debug, PartialEq)]
// One delivery per award: boxing it would only be in the way of whoever matches.
#[allow(clippy::large_enum_variant)]
pub enum TaskEvent {
    /// The contractor has it. First, and once.
    Accepted {
        /// The task's id: the contract's.
        task_id: String,
    },
    /// So far.
    Progress {
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
        /// The text so far; empty for other work.
        text: Arc<str>,
    },
    /// The output is there. Last: signature, contract and hash of the output are checked, the work is not.
    Delivered {
        /// The contractor's statement.
        delivery: Signed<Delivery>,
        /// What was delivered.
        output: Vec<u8>,
    },
    /// The contractor's owner needs the machine: the award is given back. Last: signature and contract are checked.
    HandedBack(Signed<Handback>),
    /// There will be no (further) delivery. Last.
    Ended {
        /// How: completed, failed, canceled or rejected.
        state: TaskState,
        /// Why, when the contractor says so.
        problem: Option<Problem>,
    },
}

/// Events of one contract, until it is delivered, ended or lost ([`Code::Lost`]).
pub type TaskEvents = BoxStream<'static, Result<TaskEvent, Problem>>;

/// Follows the events of `stream`. `client` stays alive with it.
pub(super) fn follow(client: Client, contract: ContractId, stream: Stream) -> TaskEvents {
    let task = Following::new(client, contract);
    let watch = Watch { stream, ready: VecDeque::new(), task, over: false };
    stream::unfold(watch, |mut watch| async move { Some((watch.next().await?, watch)) }).boxed()
}

/// The events of a task that has ended.
pub(super) async fn ended(client: Client, contract: ContractId, task: Task) -> TaskEvents {
    let mut following = Following::new(client, contract);
    let events = following.take_task(task).await.unwrap_or_else(|problem| vec![Err(problem)]);
    stream::iter(events).boxed()
}

struct Watch {
    stream: Stream,
    ready: VecDeque<Result<TaskEvent, Problem>>,
    task: Following,
    over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<TaskEvent, Problem>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                // Nothing follows an end or an error.
                self.over = !matches!(event, Ok(TaskEvent::Accepted { .. } | TaskEvent::Progress { .. }));
                if self.over {
                    self.ready.clear();
                }
                return Some(event);
            }
            if self.over {
                return None;
            }
            if let Err(problem) = self.read().await {
                self.ready.push_back(Err(problem));
            }
        }
    }

    async fn read(&mut self) -> Result<(), Problem> {
        let Some(arrived) = self.stream.next(SILENCE).await? else {
            return Err(lost("the peer closed the connection before the work was done"));
        };
        self.ready.extend(self.task.take(arrived.response).await?);
        Ok(())
    }
}

/// What the events so far say about one contract.
struct Following {
    client: Client,
    contract: ContractId,
    accepted: bool,
    progress: Option<Progress>,
    text: String,
    output: Vec<u8>,
    /// Where the output is, when it did not come with the event.
    file: Option<File>,
}

type Found = Vec<Result<TaskEvent, Problem>>;

impl Following {
    fn new(client: Client, contract: ContractId) -> Self {
        let (text, output) = (String::new(), Vec::new());
        Self { client, contract, accepted: false, progress: None, text, output, file: None }
    }

    /// One stream response. What this version does not know is ignored, as the protocol asks.
    async fn take(&mut self, response: Value) -> Result<Found, Problem> {
        match one_of(response, &["statusUpdate", "artifactUpdate", "task", "message"]) {
            Some(("task", task)) => self.take_task(read(task)?).await,
            Some(("statusUpdate", update)) => {
                let update: TaskStatusUpdateEvent = read(update)?;
                self.is_ours(&update.task_id)?;
                self.take_status(update.status, contract::progress(update.metadata.as_ref())).await
            }
            Some(("artifactUpdate", update)) => {
                let update: TaskArtifactUpdateEvent = read(update)?;
                self.is_ours(&update.task_id)?;
                self.take_artifact(update.artifact, update.append == Some(true))?;
                Ok(Vec::new())
            }
            Some((_, message)) => {
                let problem = match contract::unwrap(read(message)?)? {
                    Some(Envelope { document: Message::Refusal(problem), .. }) => problem,
                    _ => return Err(not_a2a("the peer answered an award with a message that is no refusal")),
                };
                Ok(vec![Ok(TaskEvent::Ended { state: TaskState::Rejected, problem: Some(problem) })])
            }
            None => Ok(Vec::new()),
        }
    }

    async fn take_task(&mut self, task: Task) -> Result<Found, Problem> {
        self.is_ours(&task.id)?;
        for (index, artifact) in task.artifacts.into_iter().flatten().enumerate() {
            self.take_artifact(artifact, index > 0)?;
        }
        let mut found = Vec::new();
        if !self.accepted && task.status.state != TaskState::Rejected {
            self.accepted = true;
            found.push(Ok(TaskEvent::Accepted { task_id: task.id }));
        }
        found.extend(self.take_status(task.status, contract::progress(task.metadata.as_ref())).await?);
        Ok(found)
    }

    async fn take_status(&mut self, status: TaskStatus, progress: Option<Progress>) -> Result<Found, Problem> {
        let mut found = Vec::new();
        if let Some(progress) = progress
            && self.progress.as_ref() != Some(&progress)
        {
            if let Some(piece) = &progress.text {
                self.add(piece);
            }
            let (done, total, text) = (progress.done, progress.total, self.text.as_str().into());
            self.progress = Some(progress);
            found.push(Ok(TaskEvent::Progress { done, total, text }));
        }
        let document = status.message.map(contract::unwrap).transpose()?.flatten().map(|envelope| envelope.document);
        match status.state {
            TaskState::InputRequired => found.push(self.deliver(document).await),
            // Accepted by silence while this side was away: what was delivered is still to be had.
            TaskState::Completed if matches!(document, Some(Message::Delivery(_))) => {
                found.push(self.deliver(document).await)
            }
            TaskState::Failed if matches!(document, Some(Message::Handback(_))) => {
                found.push(self.hand_back(document));
            }
            state if state.is_terminal() => {
                let problem = match document {
                    Some(Message::Refusal(problem)) => Some(problem),
                    _ => None,
                };
                found.push(Ok(TaskEvent::Ended { state, problem }));
            }
            _ => {}
        }
        Ok(found)
    }

    /// A piece that does not continue what is here is left out: the output has the whole.
    fn add(&mut self, piece: &Piece) {
        let known = usize::try_from(piece.at).unwrap_or(usize::MAX);
        if self.text.is_char_boundary(known) && known + piece.more.len() <= MAX_TEXT_BYTES {
            self.text.truncate(known);
            self.text.push_str(&piece.more);
        }
    }

    async fn deliver(&mut self, document: Option<Message>) -> Result<TaskEvent, Problem> {
        let Some(Message::Delivery(delivery)) = document else {
            return Err(not_a2a("the peer asks for input without a delivery"));
        };
        let stated = delivery.verify(&self.client.peer())?;
        if stated.contract != self.contract {
            return Err(forged("the delivery belongs to another contract"));
        }
        let output = match self.file.take() {
            Some(file) => self.client.file(&file).await?,
            None => std::mem::take(&mut self.output),
        };
        if !stated.output.matches(&output) {
            return Err(forged("the output is not the one that the delivery states"));
        }
        Ok(TaskEvent::Delivered { delivery, output })
    }

    fn hand_back(&self, document: Option<Message>) -> Result<TaskEvent, Problem> {
        let Some(Message::Handback(handback)) = document else {
            return Err(not_a2a("the peer hands the award back without saying so"));
        };
        if handback.verify(&self.client.peer())?.contract != self.contract {
            return Err(forged("the handback belongs to another contract"));
        }
        Ok(TaskEvent::HandedBack(handback))
    }

    /// Outputs come whole, in chunks that are appended, or as an address.
    fn take_artifact(&mut self, artifact: Artifact, append: bool) -> Result<(), Problem> {
        if !append {
            self.output.clear();
            self.file = None;
        }
        for part in artifact.parts {
            if let Some(address) = files::address(&part) {
                self.file = Some(self.client.file_at(address, part.metadata.as_ref())?);
                continue;
            }
            let PartContent::Raw(bytes) = part.content else {
                return Err(not_a2a("the peer's output is neither raw bytes nor an address"));
            };
            if (self.output.len() + bytes.len()) as u64 > MAX_BLOB_BYTES {
                return Err(Problem::new(
                    Code::TooLarge,
                    format!("the peer's output is larger than {MAX_BLOB_BYTES} bytes"),
                    "do not trade with this peer; tell its owner",
                ));
            }
            if self.output.is_empty() {
                self.output = bytes;
            } else {
                self.output.extend_from_slice(&bytes);
            }
        }
        Ok(())
    }

    fn is_ours(&self, task: &str) -> Result<(), Problem> {
        if task == self.contract.to_string() {
            Ok(())
        } else {
            Err(not_a2a("the peer speaks of another task than the one awarded"))
        }
    }
}

fn forged(message: &str) -> Problem {
    Problem::new(Code::Forged, message, "do not pay for it; award the job to another peer")
}
