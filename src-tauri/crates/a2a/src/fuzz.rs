//! What reads bytes of strangers, for fuzzing: `cargo xtask fuzz` searches, and a test replays what is in
//! `tests/fixtures/fuzz`. Not part of the crate's interface.
//!
//! Each target takes any bytes. It panics when the decoder does, or when what it read or said breaks a promise.

use crate::{
    A2aError, Authenticator, Identity, card,
    client::sse::{Decoder, Event},
    log::Cursor,
    server::{
        decode::{self, LIST, PUSH, Query, SEND, TASK},
        grpc, rest, rpc,
    },
};
use a2a::{
    CancelTaskRequest, GetTaskPushNotificationConfigRequest, GetTaskRequest, JsonRpcId, ListTasksRequest,
    SendMessageRequest, TaskPushNotificationConfig,
};
use a2a_pb::{pbconv::to_proto_send_message_request, proto};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use prost::Message;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use tender_base::{Clock, Did, Signer, Timestamp, signed::KeySigner};

/// A decoder and its name, which is that of its folder of inputs.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 7] =
    [("rpc", rpc), ("rest", rest), ("grpc", grpc), ("sse", sse), ("card", card), ("token", token), ("page", page)];

/// The key whose token and card are among the inputs.
#[must_use]
pub fn signer() -> KeySigner {
    KeySigner::from_seed(&[1; 32])
}

/// The agent that the token among the inputs is for.
#[must_use]
pub fn audience() -> Did {
    KeySigner::from_seed(&[2; 32]).did()
}

/// The time at which that token holds: 2026-11-21.
pub const NOW: i64 = 1_795_248_000_000;

/// What is said of a stranger's bytes must not steer the terminal of who reads it.
fn is_readable(error: &A2aError) {
    let said = format!("{}{}", error.problem.message, error.problem.hint);
    assert!(!said.chars().any(char::is_control), "{said:?}");
}

fn readable<T>(result: Result<T, A2aError>) -> Option<T> {
    result.inspect_err(is_readable).ok()
}

/// What was read can be written and read again, and is the same.
fn is_stable<T>(request: &T, shape: &decode::Shape)
where
    T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let written = serde_json::to_value(request).unwrap_or_default();
    let again = decode::request::<T>(written.clone(), shape);
    assert_eq!(again.as_ref(), Ok(request), "{written}");
}

/// A body of JSON-RPC.
fn rpc(bytes: &[u8]) {
    let Some(value) = readable(decode::json(bytes)) else { return };
    // What passes is JSON for everyone else, with the same meaning.
    assert_eq!(serde_json::from_slice::<Value>(bytes).ok().as_ref(), Some(&value));
    let mut id = JsonRpcId::Null;
    let Some(envelope) = readable(rpc::envelope(value, &mut id)) else { return };
    if let Some(request) = readable(decode::request::<SendMessageRequest>(envelope.params.clone(), &SEND)) {
        is_stable(&request, &SEND);
    }
    readable(decode::request::<GetTaskRequest>(envelope.params.clone(), &TASK));
    readable(decode::request::<CancelTaskRequest>(envelope.params.clone(), &TASK));
    readable(decode::request::<ListTasksRequest>(envelope.params.clone(), &LIST));
    readable(decode::request::<TaskPushNotificationConfig>(envelope.params.clone(), &PUSH));
    readable(decode::request::<GetTaskPushNotificationConfigRequest>(envelope.params, &PUSH));
}

/// A request of HTTP+JSON: `METHOD /path?query`, a line end, and the body.
fn rest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (head, body) = text.split_once('\n').unwrap_or((text, ""));
    let (method, uri) = head.split_once(' ').unwrap_or(("GET", head));
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), uri.trim().parse::<Uri>()) else { return };
    readable(rest::route(&method, uri.path()));
    readable(rest::list(&uri));
    if let Some(query) = readable(Query::read(uri.query(), &TASK)) {
        readable(query.parse::<i32>("historyLength", "a whole number"));
    }
    if let Some(request) = readable(decode::json(body.as_bytes()))
        .and_then(|value| readable(decode::request::<SendMessageRequest>(value, &SEND)))
    {
        is_stable(&request, &SEND);
    }
}

/// A message of gRPC: one that is sent, or a query for tasks.
fn grpc(bytes: &[u8]) {
    if let Ok(sent) = proto::SendMessageRequest::decode(bytes)
        && let Some(request) = readable(grpc::message(&sent))
    {
        let written = to_proto_send_message_request(&request);
        assert_eq!(grpc::message(&written), Ok(request), "{written:?}");
    }
    if let Ok(asked) = proto::ListTasksRequest::decode(bytes) {
        readable(grpc::list(&asked));
    }
}

/// A stream of events as a client reads it; the first byte says in pieces of how many bytes it arrives.
fn sse(bytes: &[u8]) {
    /// Far less than a real event may have, so that the limit is met.
    const MOST: usize = 4096;
    let Some((first, stream)) = bytes.split_first() else { return };
    let read = |size: usize| {
        let (mut decoder, mut events) = (Decoder::new(MOST), Vec::<Event>::new());
        for piece in stream.chunks(size) {
            if decoder.push(piece).is_err() {
                return None;
            }
            events.extend(std::iter::from_fn(|| decoder.next()));
        }
        Some(events)
    };
    // In smaller pieces more is read before the limit is met, and never anything else.
    if let Some(whole) = read(stream.len().max(1)) {
        assert_eq!(read(usize::from(*first) + 1), Some(whole));
    }
}

/// An agent card, and whether the key signed it.
fn card(bytes: &[u8]) {
    match card::verify(bytes, &signer().did()) {
        // The fuzzer cannot sign: whatever still holds says what was signed.
        Ok(card) => assert_eq!((card.name.as_str(), card.supported_interfaces.len()), ("Tender", 1)),
        Err(problem) => assert!(!problem.message.chars().any(char::is_control), "{problem:?}"),
    }
}

struct At;

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW)
    }
}

/// The value of `Authorization`, or of `X-API-Key` when it begins with a line end.
fn token(bytes: &[u8]) {
    let (name, value) = match bytes.strip_prefix(b"\n") {
        Some(key) => (HeaderName::from_static("x-api-key"), key),
        None => (header::AUTHORIZATION, bytes),
    };
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let headers = HeaderMap::from_iter([(name, value)]);
    match readable(Authenticator::new(audience(), Arc::new(At)).identify(&headers)) {
        Some(Identity::Peer(did)) => assert_eq!(did, signer().did(), "it forged a token"),
        Some(Identity::Anonymous) => panic!("a token that proves nothing passes as none"),
        Some(Identity::Key(_)) | None => {}
    }
}

/// A page token.
fn page(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(Some(cursor)) = readable(Cursor::read(text)) {
        assert_eq!(readable(Cursor::read(&cursor.token())), Some(Some(cursor)));
    }
}
