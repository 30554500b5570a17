//! What each scenario does, by the prefix of the message's id, or of its text as the kit's successor has it.

use serde_json::json;
use std::time::Duration;
use tender_a2a::{
    log::Change,
    wire::{Artifact, Message, Part, Role, TaskState},
};

/// Between two steps, so that a stream that is opened by the message sees them as events.
const PAUSE: Duration = Duration::from_millis(10);
/// Twice the kit's time-out for streams.
const LONG: Duration = Duration::from_secs(5);

/// What a message is answered with.
pub enum Plan {
    /// A message and no task.
    Answer(&'static str),
    /// Changes of the task, each after a pause.
    Play(Vec<(Duration, Change)>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Complete,
    Answer,
    Ask,
    AskOnce,
    Reject,
    Fail,
    Authenticate,
    Work,
    WorkLong,
    Text(&'static str),
    File,
    FileUrl,
    Data,
    StreamText(&'static str),
    StreamFile,
    Chunks,
}

use Scenario as S;

const BY_ID: &[(&str, Scenario)] = &[
    ("tck-complete-task", S::Complete),
    ("tck-artifact-text", S::Text("Generated text content")),
    ("tck-artifact-file", S::File),
    ("tck-artifact-file-url", S::FileUrl),
    ("tck-artifact-data", S::Data),
    ("tck-message-response", S::Answer),
    ("tck-input-required", S::Ask),
    ("tck-reject-task", S::Reject),
    ("tck-stream-001", S::StreamText("Stream hello from TCK")),
    ("tck-stream-002", S::Complete),
    ("tck-stream-003", S::StreamText("Stream task lifecycle")),
    ("tck-stream-ordering-001", S::StreamText("Ordered output")),
    ("tck-stream-artifact-text", S::StreamText("Streamed text content")),
    ("tck-stream-artifact-file", S::StreamFile),
    ("tck-stream-artifact-chunked", S::Chunks),
    ("test-resubscribe-message-id", S::WorkLong),
];

const BY_TEXT: &[(&str, Scenario)] = &[
    ("tck-complete-task", S::Complete),
    ("tck-long-running", S::WorkLong),
    ("tck-multi-turn", S::AskOnce),
    ("tck-cancel", S::Work),
    ("tck-stream-basic", S::StreamText("Stream hello from TCK")),
    ("tck-stream-chunked", S::Chunks),
    ("tck-task-failure", S::Fail),
    ("tck-auth-required", S::Authenticate),
];

/// What `message` asks for; `again` when it goes to a task that is there.
pub fn plan(message: &Message, again: bool) -> Plan {
    let by_id = longest(BY_ID, &message.message_id);
    let scenario = by_id.or_else(|| longest(BY_TEXT, message.text().unwrap_or_default())).unwrap_or(S::Complete);
    let text = |text: &str| part("text", Part::text(text), false, true);
    let done = || status(TaskState::Completed, None);
    let working = || status(TaskState::Working, None);
    let changes = match scenario {
        S::Answer => return Plan::Answer("Direct message response"),
        // The message is in the history by now; the task goes on waiting.
        S::Ask if again => vec![],
        S::Complete => vec![status(TaskState::Completed, Some("Hello from TCK"))],
        S::AskOnce if again => vec![status(TaskState::Completed, Some("Thank you"))],
        S::Ask | S::AskOnce => vec![status(TaskState::InputRequired, Some("What else?"))],
        S::Reject => vec![status(TaskState::Rejected, Some("rejected"))],
        S::Fail => vec![working(), status(TaskState::Failed, Some("failed"))],
        S::Authenticate => vec![status(TaskState::AuthRequired, Some("Who are you?"))],
        S::Work => vec![working()],
        S::WorkLong => return Plan::Play(vec![(PAUSE, working()), (LONG, done())]),
        S::Text(content) => vec![text(content), done()],
        S::File => vec![part("file", file(), false, true), done()],
        S::FileUrl => vec![part("file", named(Part::url("https://example.com/output.txt")), false, true), done()],
        S::Data => vec![part("data", Part::data(json!({"key": "value", "count": 42})), false, true), done()],
        S::StreamText(content) => vec![working(), text(content), done()],
        S::StreamFile => vec![working(), part("file", file(), false, true), done()],
        S::Chunks => vec![
            working(),
            part("text", Part::text("chunk-1 "), false, false),
            part("text", Part::text("chunk-2"), true, true),
            done(),
        ],
    };
    Plan::Play(changes.into_iter().map(|change| (PAUSE, change)).collect())
}

fn longest(table: &[(&str, Scenario)], text: &str) -> Option<Scenario> {
    let matching = table.iter().filter(|(prefix, _)| text.starts_with(prefix));
    matching.max_by_key(|(prefix, _)| prefix.len()).map(|(_, scenario)| *scenario)
}

pub fn status(state: TaskState, text: Option<&str>) -> Change {
    let message = text.map(|text| Message::new(Role::Agent, vec![Part::text(text)]));
    Change::Status { state, message, metadata: None }
}

fn file() -> Part {
    named(Part::raw(b"tck".to_vec()))
}

fn named(part: Part) -> Part {
    part.with_filename("output.txt").with_media_type("text/plain")
}

fn part(id: &str, part: Part, append: bool, last: bool) -> Change {
    let artifact = Artifact {
        artifact_id: id.to_owned(),
        name: None,
        description: None,
        parts: vec![part],
        metadata: None,
        extensions: None,
    };
    Change::Artifact { artifact, append, last }
}
