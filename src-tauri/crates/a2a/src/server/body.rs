//! Reading requests: bounded in size and time before they are parsed, and checked for what the protocol requires.

use super::{INLINE_BYTES, Server};
use crate::{
    A2aError, Call, ErrorKind, Standing,
    limits::{Taken, too_many},
    server::decode,
};
use a2a::{ListTasksRequest, Role, SendMessageRequest};
use axum::{
    body::{Body, BodyDataStream, HttpBody},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// A sender that is silent for so long in the middle of a body has gone.
const BODY_IDLE: Duration = Duration::from_secs(10);
/// A body that is not there by then, and one second later for each [`LEAST_RATE`] of it that is, is not meant to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Slowest arrival, in bytes per second: a sender must not keep a place among the large bodies by dripping.
const LEAST_RATE: usize = 64 << 10;
/// Longest wait for a place among the large bodies.
const PLACE_WAIT: Duration = Duration::from_secs(30);
/// Largest request of who holds an API key, whichever way it proves that: it speaks plain A2A, in messages that are
/// remembered, and sends no inputs beside them.
const KEY_BODY_BYTES: usize = 2 << 20;
/// Large bodies of holders of API keys in memory at the same time, one of each: 16 MiB, for a minute at most. They take
/// none of the peers' places.
pub(super) const KEY_BODIES: usize = 8;
/// Most parts of one message: a document and its input are two.
const MAX_PARTS: usize = 64;
/// Longest id of a message, task or context: a hash has 64 characters, a UUID 36.
pub(super) const MAX_ID_CHARS: usize = 256;

/// A place among the large bodies. That of a document is given back as soon as the document is no longer in memory, that
/// of a plain message before the agent has it: never while what it became is waited for.
pub(super) type BodyPlace = Option<Taken>;

/// A request body, and its place.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) place: BodyPlace,
}

impl Server {
    /// Reads the body of a call, never more than it may send, and never more than `most` bytes. Who announces too much
    /// is refused unread.
    pub(super) async fn receive(
        &self,
        call: &Call,
        headers: &HeaderMap,
        body: Body,
        most: usize,
    ) -> Result<Received, A2aError> {
        let small = self.limits.anonymous_body_bytes.min(most);
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
            .or_else(|| usize::try_from(body.size_hint().exact()?).ok());
        let began = Instant::now();
        let mut arriving = Arriving { stream: body.into_data_stream(), bytes: BytesMut::new(), began };
        if announced.is_none_or(|length| length <= small) && arriving.read(small).await? {
            return Ok(Received { bytes: arriving.bytes.freeze(), place: None });
        }
        // A large one: who is it? An API key is a signing key, so the form of its proof says nothing.
        let Some(did) = call.did() else { return Err(too_large(small, false)) };
        let peers = self.limits.peer_body_bytes;
        let (limit, places) = match self.agent.standing(&did).await {
            Standing::Stranger => return Err(too_large(small, false)),
            Standing::KeyHolder => (peers.min(KEY_BODY_BYTES), self.key_bodies.of(did)),
            Standing::Peer => (peers, self.large_bodies.of(did)),
        };
        let limit = limit.min(most);
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large(limit, true));
        }
        let place = timeout(PLACE_WAIT, places.take()).await;
        let place = place.map_err(|_| too_many("too many large messages arrive at once", PLACE_WAIT))?;
        let place = place.ok_or_else(|| {
            A2aError::new(ErrorKind::Unavailable, "the agent is shutting down", "try again in a moment")
        })?;
        // The wait was not the sender's.
        arriving.began = Instant::now();
        if !arriving.read(limit).await? {
            return Err(too_large(limit, true));
        }
        Ok(Received { bytes: arriving.bytes.freeze(), place: Some(place) })
    }
}

/// A body, as far as it is there.
struct Arriving {
    stream: BodyDataStream,
    bytes: BytesMut,
    began: Instant,
}

impl Arriving {
    /// Reads on; false when there is more than `limit`, and nothing is lost then.
    async fn read(&mut self, limit: usize) -> Result<bool, A2aError> {
        while self.bytes.len() <= limit {
            let due = (self.began + time_for(self.bytes.len())).min(Instant::now() + BODY_IDLE);
            match timeout_at(due, self.stream.next()).await.map_err(|_| stalled())? {
                None => return Ok(true),
                Some(Ok(chunk)) => self.bytes.extend_from_slice(&chunk),
                Some(Err(_)) => {
                    return Err(A2aError::new(ErrorKind::InvalidRequest, "the body ended early", "send it again"));
                }
            }
        }
        Ok(false)
    }
}

/// How long a body may have taken of which so many bytes are there.
fn time_for(bytes: usize) -> Duration {
    BODY_TIME + Duration::from_secs((bytes / LEAST_RATE) as u64)
}

fn stalled() -> A2aError {
    A2aError::new(ErrorKind::InvalidRequest, "the body did not arrive in time", "send it again")
}

fn too_large(limit: usize, known: bool) -> A2aError {
    let hint =
        if known { "split the job" } else { "only paired peers may send more; pair first, and send your access token" };
    A2aError::new(ErrorKind::TooLarge, format!("the body is larger than {limit} bytes"), hint)
}

/// Parses JSON; large bodies on a thread of their own.
pub(super) async fn parse(bytes: Bytes) -> Result<Value, A2aError> {
    if is_large(bytes.len()) { elsewhere(move || decode::json(&bytes)).await } else { decode::json(&bytes) }
}

/// Reads `value` as a request; what is wrong names its path.
pub(super) async fn request<T: DeserializeOwned + Send + 'static>(
    value: Value,
    shape: &'static decode::Shape,
    large: bool,
) -> Result<T, A2aError> {
    if large { elsewhere(move || decode::request(value, shape)).await } else { decode::request(value, shape) }
}

async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, A2aError> + Send + 'static,
) -> Result<T, A2aError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "decoding failed");
        Err(A2aError::new(ErrorKind::Internal, "the request could not be decoded", "report this as a bug"))
    })
}

/// Whether decoding so many bytes belongs on a thread of its own.
pub(super) fn is_large(length: usize) -> bool {
    length > INLINE_BYTES
}

/// What the protocol requires of `SendMessage`, which types alone do not say.
pub(super) fn check_message(request: &mut SendMessageRequest) -> Result<(), A2aError> {
    let message = &mut request.message;
    // Empty text is the default value of the proto: not set.
    message.task_id = message.task_id.take().filter(|id| !id.is_empty());
    message.context_id = message.context_id.take().filter(|id| !id.is_empty());
    check_id("message.messageId", &message.message_id)?;
    for (name, id) in [("message.taskId", &message.task_id), ("message.contextId", &message.context_id)] {
        if let Some(id) = id {
            check_id(name, id)?;
        }
    }
    if message.role != Role::User {
        return Err(A2aError::invalid("message.role must be ROLE_USER"));
    }
    if message.parts.is_empty() {
        return Err(A2aError::invalid("message.parts must not be empty"));
    }
    if message.parts.len() > MAX_PARTS {
        return Err(A2aError::invalid(format!("message.parts has more than {MAX_PARTS} parts")));
    }
    if let Some(configuration) = &request.configuration {
        check_history(configuration.history_length)?;
    }
    Ok(())
}

pub(super) fn check_id(name: &str, id: &str) -> Result<(), A2aError> {
    if id.is_empty() {
        return Err(A2aError::invalid(format!("{name} must not be empty")));
    }
    if id.len() > MAX_ID_CHARS {
        return Err(A2aError::invalid(format!("{name} is longer than {MAX_ID_CHARS} characters")));
    }
    Ok(())
}

pub(super) fn check_history(length: Option<i32>) -> Result<(), A2aError> {
    match length {
        Some(length) if length < 0 => Err(A2aError::invalid("historyLength must not be negative")),
        _ => Ok(()),
    }
}

pub(super) fn check_list(request: &ListTasksRequest) -> Result<(), A2aError> {
    check_history(request.history_length)?;
    match request.page_size {
        Some(size) if !(1..=100).contains(&size) => Err(A2aError::invalid("pageSize must be between 1 and 100")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{TryStreamExt, stream};
    use std::convert::Infallible;

    fn arriving(began: Instant, chunks: &'static [&'static str]) -> Arriving {
        let chunks = stream::iter(chunks).map(Ok::<_, Infallible>).chain(stream::pending());
        Arriving {
            stream: Body::from_stream(chunks.map_ok(|text| *text)).into_data_stream(),
            bytes: BytesMut::new(),
            began,
        }
    }

    #[tokio::test]
    async fn who_drips_has_no_more_time_than_the_least_rate_gives() {
        assert_eq!(time_for(0), BODY_TIME);
        assert_eq!(time_for(96 << 20), BODY_TIME + Duration::from_secs(1536));
        // Almost over, and one byte does not move it.
        let began = Instant::now() - BODY_TIME + Duration::from_millis(100);
        let mut body = arriving(began, &["x"]);
        assert!(timeout(Duration::from_secs(2), body.read(10)).await.expect("one byte gained time").is_err());
        assert_eq!(&body.bytes[..], b"x");
        assert!(!arriving(began, &["0123456789", "x"]).read(10).await.unwrap());
    }
}
