//! One conversation with a foreign agent: a message, the task that it makes, and how that goes on, whatever the agent
//! can do and however often the connection breaks.

use super::{
    foreign::{Link, MAX_BYTES},
    http::{HEAD_TIME, lost, not_a2a, one_of, read},
    interface::Operation,
};
use crate::{CONTRACT_EXTENSION, log};
use a2a::{
    Artifact, CancelTaskRequest, GetTaskRequest, Message, Part, PartContent, Role, SendMessageConfiguration,
    SendMessageRequest, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent,
};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tender_base::{Code, MicroUsd, Problem};
use tokio::time::Instant;

/// How often a stream is subscribed to again before the task is asked for instead.
const RECONNECTS: u32 = 5;
/// Pause before the first new subscription, doubled each time.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
/// Pause between two questions for a task, doubled up to the longest.
const POLL: Duration = Duration::from_millis(500);
const POLL_AT_MOST: Duration = Duration::from_secs(10);
/// Questions in a row that may stay without an answer.
const UNANSWERED: u32 = 5;
/// An agent that keeps nothing alive may be silent for so long while it works.
const SILENCE: Duration = Duration::from_secs(60);
/// An agent that takes no notice of `returnImmediately` answers when it has finished.
const BLOCKING: Duration = Duration::from_secs(3600);
/// Tasks that are looked through for a lost message.
const SEARCHED: usize = 300;
/// Most artifacts of a task.
const MAX_ARTIFACTS: usize = 64;
/// What is asked for.
const OUTPUT_MODES: [&str; 2] = ["text/plain", "application/json"];

/// A conversation. Each message goes to the task that the one before made, while that waits for input.
pub struct Talk {
    link: Arc<Link>,
    answer: Answer,
    /// The last event that arrived.
    last: Option<String>,
}

/// What the agent has said so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The task; none when it answered by a message alone.
    pub task: Option<String>,
    context: Option<String>,
    /// How the task stands; none without a task.
    pub state: Option<TaskState>,
    /// The message of that state, or the whole answer.
    pub message: Option<Message>,
    /// What was made.
    pub artifacts: Vec<Artifact>,
    metadata: Option<HashMap<String, Value>>,
}

impl Talk {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, answer: Answer::default(), last: None }
    }

    pub(super) fn resume(link: Arc<Link>, task: String) -> Self {
        Self { link, answer: Answer { task: Some(task), ..Answer::default() }, last: None }
    }

    /// What the agent has said so far.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Says something and listens until the agent has finished, asks back, or `until`. `told` hears every step.
    ///
    /// # Errors
    /// The agent's own problem, [`Code::Expired`] at `until`, [`Code::Unavailable`] when it did not take the message,
    /// [`Code::Lost`] when it cannot be known, [`Code::TooLarge`], and [`Code::Forged`] for a file that is another one
    /// than stated.
    pub async fn say(
        &mut self,
        parts: Vec<Part>,
        until: Instant,
        mut told: impl FnMut(&Answer) + Send,
    ) -> Result<(), Problem> {
        let talked = async {
            self.exchange(parts, &mut told).await?;
            self.fetch_files().await
        };
        in_time(until, talked).await
    }

    /// Listens until the agent has finished, asks back, or `until`, without saying anything.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub async fn follow(&mut self, until: Instant, mut told: impl FnMut(&Answer) + Send) -> Result<(), Problem> {
        let heard = async {
            self.go_on(&mut told).await?;
            self.fetch_files().await
        };
        in_time(until, heard).await
    }

    /// Asks the agent to stop; best effort.
    pub async fn cancel(self) {
        let ended = self.answer.state.as_ref().is_some_and(TaskState::is_terminal);
        if let Some(id) = self.answer.task.filter(|_| !ended) {
            let request = CancelTaskRequest { id, metadata: None, tenant: None };
            if let Err(problem) = self.link.call(Operation::Cancel(request), HEAD_TIME).await {
                tracing::debug!(code = %problem.code, %problem, "the agent did not cancel the task");
            }
        }
    }

    async fn exchange(&mut self, parts: Vec<Part>, told: &mut (impl FnMut(&Answer) + Send)) -> Result<(), Problem> {
        let mut message = Message::new(Role::User, parts);
        message.context_id = self.answer.context.clone();
        message.task_id = self.answer.task.clone();
        let id = message.message_id.clone();
        self.last = None;
        self.answer =
            Answer { task: message.task_id.clone(), context: message.context_id.clone(), ..Answer::default() };
        let configuration = SendMessageConfiguration {
            accepted_output_modes: Some(OUTPUT_MODES.map(str::to_owned).to_vec()),
            task_push_notification_config: None,
            history_length: Some(0),
            return_immediately: Some(true),
        };
        let request = SendMessageRequest { message, configuration: Some(configuration), metadata: None, tenant: None };
        let sent = if self.link.streaming {
            self.listen(Operation::Stream(Box::new(request)), told).await
        } else {
            let answer = self.link.call(Operation::Send(Box::new(request)), BLOCKING).await;
            answer.and_then(|answer| self.answer.take(answer)).inspect(|()| told(&self.answer))
        };
        match sent {
            Ok(()) => {}
            Err(problem) if problem.code == Code::Lost => self.find(&id).await.map_err(|_| problem)?,
            Err(problem) => return Err(problem),
        }
        self.go_on(told).await
    }

    /// Follows the task until the agent has finished or asks back: by its stream, then by asking.
    async fn go_on(&mut self, told: &mut (impl FnMut(&Answer) + Send)) -> Result<(), Problem> {
        let mut pause = RECONNECT_PAUSE;
        for _ in 0..RECONNECTS {
            let Some(task) = self.answer.task.clone().filter(|_| self.link.streaming && !self.answer.is_settled())
            else {
                break;
            };
            tokio::time::sleep(pause).await;
            pause *= 2;
            let again = Operation::Subscribe { task, after: self.last.clone() };
            if let Err(problem) = self.listen(again, told).await
                && !matches!(problem.code, Code::Lost | Code::Unavailable | Code::TooMany)
            {
                // It has ended, or cannot be subscribed to: then it can be asked for.
                tracing::debug!(code = %problem.code, %problem, "the agent's task cannot be subscribed to");
                break;
            }
        }
        self.poll(told).await
    }

    /// Takes the events of an operation until the agent has finished or asks back, or the stream ends.
    async fn listen(&mut self, operation: Operation, told: &mut (impl FnMut(&Answer) + Send)) -> Result<(), Problem> {
        let mut stream = self.link.stream(operation, SILENCE).await?;
        while let Some(arrived) = stream.next(SILENCE).await? {
            self.answer.take(arrived.response)?;
            self.last = arrived.id.or(self.last.take());
            told(&self.answer);
            if self.answer.is_settled() {
                break;
            }
        }
        if self.answer.task.is_none() && !self.answer.is_settled() {
            return Err(lost("the agent closed the connection before it said anything"));
        }
        Ok(())
    }

    /// Asks for the task until it has ended or waits for input.
    async fn poll(&mut self, told: &mut (impl FnMut(&Answer) + Send)) -> Result<(), Problem> {
        let (mut pause, mut unanswered) = (POLL, 0);
        while !self.answer.is_settled() {
            let id = self.answer.task.clone().ok_or_else(|| not_a2a("the agent answered with nothing"))?;
            let request = GetTaskRequest { id, history_length: Some(0), tenant: None };
            match self.link.call(Operation::Get(request), HEAD_TIME).await {
                Ok(task) => {
                    unanswered = 0;
                    self.answer.take_task(read(task)?)?;
                    told(&self.answer);
                }
                Err(problem)
                    if unanswered < UNANSWERED
                        && matches!(problem.code, Code::Lost | Code::Unavailable | Code::TooMany) =>
                {
                    unanswered += 1;
                }
                Err(problem) => return Err(problem),
            }
            if !self.answer.is_settled() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(POLL_AT_MOST);
            }
        }
        Ok(())
    }

    /// Finds out whether a message arrived whose answer did not: by the histories of the caller's tasks.
    async fn find(&mut self, message: &str) -> Result<(), Problem> {
        if self.answer.task.is_some() {
            return Ok(());
        }
        let has = |task: &Task| task.history.iter().flatten().any(|said| said.message_id == message);
        let tasks = self.link.tasks(SEARCHED).await?;
        let task = tasks.into_iter().find(has).ok_or_else(|| lost("the agent does not have the message"))?;
        self.answer.take_task(task)
    }

    /// Puts the content of files into the place of their addresses.
    async fn fetch_files(&mut self) -> Result<(), Problem> {
        for artifact in &mut self.answer.artifacts {
            for part in &mut artifact.parts {
                if super::files::address(part).is_none() {
                    continue;
                }
                let bytes = self.link.file(part).await?;
                let text = part.media_type.as_deref().is_some_and(|kind| kind.starts_with("text/"));
                part.content = match String::from_utf8(bytes) {
                    Ok(bytes) if text => PartContent::Text(bytes),
                    Ok(bytes) => PartContent::Raw(bytes.into_bytes()),
                    Err(error) => PartContent::Raw(error.into_bytes()),
                };
            }
        }
        Ok(())
    }
}

impl Answer {
    /// Whether nothing more comes by itself: the task has ended or waits for somebody, or the answer was a message.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match &self.state {
            None => self.message.is_some(),
            Some(state) => state.is_terminal() || matches!(state, TaskState::InputRequired | TaskState::AuthRequired),
        }
    }

    /// The text: that of the artifacts, else of the message.
    #[must_use]
    pub fn text(&self) -> String {
        let made: Vec<String> = self.artifacts.iter().map(|it| texts(&it.parts)).filter(|it| !it.is_empty()).collect();
        if made.is_empty() { self.said() } else { made.join("\n\n") }
    }

    /// What the agent said beside what it made.
    #[must_use]
    pub fn said(&self) -> String {
        self.message.as_ref().map(|message| texts(&message.parts)).unwrap_or_default()
    }

    /// The price that the agent asks for going on, as quotes of the contract extension state it.
    #[must_use]
    pub fn quote(&self) -> Option<MicroUsd> {
        let parts = self.message.iter().flat_map(|message| &message.parts);
        let of_message = parts.filter_map(|part| match &part.content {
            PartContent::Data(value) => Some(value),
            _ => None,
        });
        self.of_extension().into_iter().chain(of_message).find_map(|value| amount(value.get("quote")?))
    }

    /// What the agent says it bills for the task that it completed: a text that ended early costs less than its quote.
    #[must_use]
    pub fn billed(&self) -> Option<MicroUsd> {
        amount(self.of_extension()?.get("billed")?)
    }

    fn of_extension(&self) -> Option<&Value> {
        self.metadata.as_ref()?.get(CONTRACT_EXTENSION)
    }

    /// One stream response, or what a message was answered with. What this version does not know is ignored.
    fn take(&mut self, response: Value) -> Result<(), Problem> {
        match one_of(response, &["task", "message", "statusUpdate", "artifactUpdate"]) {
            Some(("task", task)) => self.take_task(read(task)?)?,
            Some(("message", message)) => {
                let message: Message = read(message)?;
                self.context = message.context_id.clone().or(self.context.take());
                self.message = Some(message);
            }
            Some(("statusUpdate", update)) => {
                let update: TaskStatusUpdateEvent = read(update)?;
                self.is_same(&update.task_id)?;
                self.context = Some(update.context_id);
                self.state = Some(update.status.state);
                self.message = update.status.message;
                self.metadata = update.metadata;
            }
            Some((_, update)) => {
                let update: TaskArtifactUpdateEvent = read(update)?;
                self.is_same(&update.task_id)?;
                log::keep(&mut self.artifacts, update.artifact, update.append == Some(true));
            }
            None => {}
        }
        self.bounded()
    }

    fn take_task(&mut self, task: Task) -> Result<(), Problem> {
        self.is_same(&task.id)?;
        self.context = Some(task.context_id);
        self.state = Some(task.status.state);
        self.message = task.status.message;
        self.artifacts = task.artifacts.unwrap_or_default();
        self.metadata = task.metadata;
        self.bounded()
    }

    fn is_same(&mut self, task: &str) -> Result<(), Problem> {
        if self.task.get_or_insert_with(|| task.to_owned()) == task && !task.is_empty() {
            return Ok(());
        }
        Err(not_a2a("the agent speaks of another task than the one it was given"))
    }

    fn bounded(&self) -> Result<(), Problem> {
        let parts = self.artifacts.iter().flat_map(|artifact| &artifact.parts);
        let sizes = parts.map(|part| match &part.content {
            PartContent::Text(text) => text.len(),
            PartContent::Raw(bytes) => bytes.len(),
            // Decoded, from an event that was itself bounded.
            PartContent::Url(_) | PartContent::Data(_) => 1024,
        });
        if self.artifacts.len() > MAX_ARTIFACTS || sizes.sum::<usize>() > MAX_BYTES {
            let message = format!("the agent's result is larger than {MAX_BYTES} bytes or {MAX_ARTIFACTS} artifacts");
            return Err(Problem::new(Code::TooLarge, message, "ask for less in one job, or choose another agent"));
        }
        Ok(())
    }
}

async fn in_time(until: Instant, step: impl Future<Output = Result<(), Problem>>) -> Result<(), Problem> {
    tokio::time::timeout_at(until, step)
        .await
        .unwrap_or_else(|_| Err(Problem::new(Code::Expired, "the agent did not finish in time", "allow more time")))
}

fn amount(value: &Value) -> Option<MicroUsd> {
    let amount = value.get("amount_micro_usd")?;
    // Through protobuf an integer becomes a double.
    let whole = amount.as_i64().or_else(|| amount.as_f64().filter(|it| it.fract() == 0.0).map(|it| it as i64));
    whole.map(MicroUsd)
}

fn texts(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match &part.content {
        PartContent::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}
