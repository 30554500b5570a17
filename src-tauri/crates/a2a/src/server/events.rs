//! Event streams: server-sent events with a running `id:` and a comment every half second, so that a silent
//! server is told from a silent task.

use super::{Server, body::is_large};
use crate::{
    A2aError, ErrorKind,
    agent::EventStream,
    limits::{Origin, Place},
};
use a2a::{Part, PartContent, StreamResponse, TaskState};
use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::{StreamExt, stream};
use std::{convert::Infallible, sync::Arc, time::Duration};

/// A client may take three missed ones for a dead server.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// How a stream began decides when it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// By `SendStreamingMessage`: ends when the task waits for input or has ended.
    BySending,
    /// By `SubscribeToTask`: a task that waits for input when it is subscribed to is shown and followed.
    BySubscribing,
}

struct Open {
    events: EventStream,
    /// Held until the stream ends.
    _place: Place<Origin>,
    opened: Opened,
    sequence: u64,
    ended: bool,
}

impl Server {
    /// The response that carries `events`, each written by `write`.
    pub(super) fn stream(
        events: EventStream,
        place: Place<Origin>,
        opened: Opened,
        write: impl Fn(Result<&StreamResponse, &A2aError>) -> Option<String> + Send + Sync + 'static,
    ) -> Response {
        let state = Open { events, _place: place, opened, sequence: 0, ended: false };
        let body = stream::unfold((state, Arc::new(write)), |(mut open, write)| async move {
            let event = open.next().await?;
            let data = if is_large(raw_bytes(&event)) {
                // Elsewhere, so that keep-alives go on meanwhile.
                let write = write.clone();
                tokio::task::spawn_blocking(move || write(event.as_ref())).await.ok().flatten()?
            } else {
                write(event.as_ref())?
            };
            let event = Event::default().id(open.sequence.to_string()).data(data);
            Some((Ok::<_, Infallible>(event), (open, write)))
        });
        Sse::new(body).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
    }
}

/// How much raw content an event carries.
fn raw_bytes(event: &Result<StreamResponse, A2aError>) -> usize {
    let artifacts = match event {
        Ok(StreamResponse::ArtifactUpdate(update)) => std::slice::from_ref(&update.artifact),
        Ok(StreamResponse::Task(task)) => task.artifacts.as_deref().unwrap_or_default(),
        _ => return 0,
    };
    let size = |part: &Part| if let PartContent::Raw(bytes) = &part.content { bytes.len() } else { 0 };
    artifacts.iter().flat_map(|artifact| &artifact.parts).map(size).sum()
}

impl Open {
    async fn next(&mut self) -> Option<Result<StreamResponse, A2aError>> {
        if self.ended {
            return None;
        }
        let event = self.events.next().await?;
        let first = self.sequence == 0;
        self.sequence += 1;
        let event = match event {
            Ok(StreamResponse::StatusUpdate(_) | StreamResponse::ArtifactUpdate(_)) if first => {
                tracing::error!("an event stream did not begin with a task or a message");
                Err(A2aError::new(
                    ErrorKind::InvalidAgentResponse,
                    "the agent's events do not begin with a task",
                    "read the task with GetTask, and report this as a bug",
                ))
            }
            other => other,
        };
        self.ended = match &event {
            Err(_) | Ok(StreamResponse::Message(_)) => true,
            Ok(StreamResponse::Task(task)) => {
                self.ends(&task.status.state) && !(first && self.parked(&task.status.state))
            }
            Ok(StreamResponse::StatusUpdate(update)) => self.ends(&update.status.state),
            Ok(StreamResponse::ArtifactUpdate(_)) => false,
        };
        Some(event)
    }

    /// Terminal, or waiting for what a new request brings. AUTH_REQUIRED goes on by itself (A2A §7.6.1).
    fn ends(&self, state: &TaskState) -> bool {
        state.is_terminal() || *state == TaskState::InputRequired
    }

    fn parked(&self, state: &TaskState) -> bool {
        self.opened == Opened::BySubscribing && *state == TaskState::InputRequired
    }
}
