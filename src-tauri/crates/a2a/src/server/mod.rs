//! The server: JSON-RPC, HTTP+JSON and gRPC on one router, before an [`Agent`].
//!
//! What a request passes, in this order: requests per address and in total, headers that say one thing, the token, the
//! size of the body, the protocol version; then [`operations`], the same for every binding.

mod body;
pub(crate) mod decode;
mod events;
mod files;
mod follow;
pub(crate) mod grpc;
mod operations;
pub(crate) mod rest;
pub(crate) mod rpc;
mod serve;
mod unread;
mod wellknown;

pub(crate) use events::KEEP_ALIVE;
pub use serve::serve;
pub use wellknown::CardSource;

use crate::{
    A2aError, Agent, Authenticator, Call, ErrorKind, TaskLog, WebhookRules,
    limits::{Limits, Open, Origin, Place, Requests, Shares, too_many},
    push::queue::Queue,
};
use axum::{
    Extension, Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use serde::Serialize;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tender_base::Did;
use tokio::sync::Mutex;

/// Media type of JSON-RPC, and of REST for clients that do not know the other.
const JSON: &str = "application/json";
/// Media type of the REST binding since 1.0.1.
const A2A_JSON: &str = "application/a2a+json";
/// The one protocol version spoken.
const VERSION: &str = a2a::VERSION;
/// Largest body that is decoded on the runtime's own threads; larger ones would hold up everybody's keep-alives.
const INLINE_BYTES: usize = 256 << 10;

/// Until a stream may have ended.
const FULL_WAIT: Duration = Duration::from_secs(1);
/// Headers that are read as one value; a second one would leave open which of them counts.
const SINGLE: [&str; 6] =
    ["authorization", "x-api-key", "content-type", a2a::SVC_PARAM_VERSION, "idempotency-key", "last-event-id"];
/// Most extensions of a request that are looked at.
const MAX_EXTENSIONS: usize = 32;

pub(crate) struct Server {
    agent: Arc<dyn Agent>,
    pub(crate) log: Arc<dyn TaskLog>,
    card: CardSource,
    auth: Authenticator,
    limits: Limits,
    pub(crate) push: Queue,
    requests: Requests,
    streams: Arc<Open<Origin>>,
    callers_streams: Arc<Open<Did>>,
    large_bodies: Shares<Did>,
    key_bodies: Shares<Did>,
    /// One webhook is kept or forgotten at a time, so that what is served is what is kept.
    pub(crate) changing_hooks: Mutex<()>,
}

/// The A2A interface of `agent`, whose tasks are in `log`: JSON-RPC at `POST /`, the REST routes, gRPC, and the card,
/// which says what of the protocol is offered. Serve it with [`serve`], which tells it the callers' addresses. It goes on
/// with the push notifications that are open, on the runtime that it is called in.
pub fn router(
    agent: Arc<dyn Agent>,
    log: Arc<dyn TaskLog>,
    card: CardSource,
    limits: Limits,
    auth: Authenticator,
    webhooks: WebhookRules,
) -> Router {
    let server = Arc::new(Server {
        agent,
        log,
        push: Queue::new(webhooks),
        card,
        auth,
        limits,
        requests: Requests::new(&limits),
        streams: Open::new(limits.streams_per_address, limits.connections_in_total),
        callers_streams: Open::new(limits.streams_per_caller, limits.connections_in_total),
        large_bodies: Shares::new(limits.large_bodies as usize, limits.large_bodies as usize),
        key_bodies: Shares::new(1, body::KEY_BODIES),
        changing_hooks: Mutex::new(()),
    });
    tokio::spawn(server.clone().serve_open_hooks());
    let operations = Router::new()
        .route("/", post(rpc::handle).fallback(rpc::other_method))
        .route(grpc::ROUTE, any(grpc::handle))
        .fallback(rest::handle)
        .layer(middleware::from_fn_with_state(server.clone(), identify));
    Router::new()
        .route("/.well-known/agent-card.json", get(wellknown::card))
        .route("/.well-known/agent.json", get(wellknown::card))
        .merge(operations)
        .layer(middleware::from_fn_with_state(server.clone(), admit))
        .with_state(server)
}

/// Counts the request before anything is computed for it, and sees to it that its response does not stay for ever.
async fn admit(
    State(server): State<Arc<Server>>,
    address: Option<Extension<ConnectInfo<SocketAddr>>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(Extension(ConnectInfo(address))) = address else {
        return refuse(
            request.uri(),
            request.headers(),
            &A2aError::new(ErrorKind::Internal, "the caller's address is unknown", "report this as a bug"),
        );
    };
    if let Err(error) = server.requests.admit(Origin::of(address.ip()), Instant::now()) {
        return refuse(request.uri(), request.headers(), &error);
    }
    let http2 = request.version() == Version::HTTP_2;
    let response = next.run(request).await;
    if http2 { unread::watched(response, server.limits.write_time) } else { response }
}

/// Establishes who asks, and names the extensions in use on the way back.
async fn identify(
    State(server): State<Arc<Server>>,
    Extension(ConnectInfo(address)): Extension<ConnectInfo<SocketAddr>>,
    mut request: Request,
    next: Next,
) -> Response {
    let extensions = extensions(request.headers());
    let known = server.card.facts();
    let spoken: Vec<&str> =
        extensions.iter().map(String::as_str).filter(|uri| known.extensions.iter().any(|it| it == uri)).collect();
    let spoken = HeaderValue::from_str(&spoken.join(", ")).ok().filter(|value| !value.is_empty());
    let identity = single(request.headers()).and_then(|()| server.auth.identify(request.headers()));
    let call = identity.and_then(|identity| {
        let once = plain(request.headers(), "idempotency-key");
        if once.as_ref().is_some_and(|key| key.len() > body::MAX_ID_CHARS) {
            return Err(A2aError::invalid(format!("Idempotency-Key is longer than {} characters", body::MAX_ID_CHARS)));
        }
        let call = Call { identity, ip: address.ip(), extensions, once, last_event: None };
        if let Some(did) = call.did() {
            server.requests.admit_caller(did, Instant::now())?;
        }
        let by_query = || decode::Query::read(request.uri().query(), &decode::TASK).ok()?.text("lastEventId");
        let last_event = plain(request.headers(), "last-event-id").or_else(by_query);
        Ok(Call { last_event, ..call })
    });
    let mut response = match call {
        Ok(call) => {
            request.extensions_mut().insert(call);
            next.run(request).await
        }
        Err(error) => refuse(request.uri(), request.headers(), &error),
    };
    let headers = response.headers_mut();
    if let Some(spoken) = spoken {
        headers.insert(HeaderName::from_static("a2a-extensions"), spoken);
    }
    headers.insert(HeaderName::from_static("a2a-version"), HeaderValue::from_static(VERSION));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same value twice, as some clients send it, is one value.
fn single(headers: &HeaderMap) -> Result<(), A2aError> {
    let twice = |name: &&str| {
        let mut values = headers.get_all(*name).iter();
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    match SINGLE.into_iter().find(twice) {
        Some(name) => {
            let message = format!("the header {name} is there with two values");
            Err(A2aError::new(ErrorKind::InvalidRequest, message, "send it once"))
        }
        None => Ok(()),
    }
}

/// A header as text; an empty one is none.
fn plain(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// What the caller speaks, each once. Clients of 0.3 write `X-A2A-Extensions`.
fn extensions(headers: &HeaderMap) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let named = ["a2a-extensions", "x-a2a-extensions"]
        .into_iter()
        .flat_map(|name| headers.get_all(name))
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    for uri in named.filter(|uri| !uri.is_empty()).take(MAX_EXTENSIONS) {
        if !found.iter().any(|known| known == uri) {
            found.push(uri.to_owned());
        }
    }
    found
}

/// `A2A-Version`, as header or query parameter; none means 0.3, and patch numbers do not matter.
fn check_version(uri: &Uri, headers: &HeaderMap) -> Result<(), A2aError> {
    let query = uri.query().unwrap_or_default().split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.eq_ignore_ascii_case(a2a::SVC_PARAM_VERSION).then_some(value)
    });
    let asked = headers.get(a2a::SVC_PARAM_VERSION).and_then(|value| value.to_str().ok()).or(query).unwrap_or_default();
    let asked = asked.trim();
    if asked == VERSION || asked.strip_prefix(VERSION).is_some_and(|patch| patch.starts_with('.')) {
        return Ok(());
    }
    let named =
        if asked.is_empty() { "0.3 (no A2A-Version was sent)".to_owned() } else { crate::error::readable(asked) };
    Err(A2aError::new(
        ErrorKind::VersionNotSupported,
        format!("A2A {named} is not supported, only {VERSION}"),
        "send the header `A2A-Version: 1.0`",
    ))
}

/// Requests are JSON under either media type.
fn check_content_type(headers: &HeaderMap) -> Result<(), A2aError> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if [JSON, A2A_JSON].iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let named = if essence.is_empty() { "no Content-Type".to_owned() } else { crate::error::readable(essence) };
    Err(A2aError::new(
        ErrorKind::ContentTypeNotSupported,
        format!("the request has {named}"),
        "send `Content-Type: application/json`",
    ))
}

/// A stream's place among those of its address, and among those of its caller.
pub(crate) struct StreamPlace {
    _address: Place<Origin>,
    _caller: Option<Place<Did>>,
}

impl Server {
    /// A place for one more event stream of this call.
    fn stream_place(&self, call: &Call) -> Result<StreamPlace, A2aError> {
        let full = |limit: u32, of: &str| too_many(format!("more than {limit} event streams {of}"), FULL_WAIT);
        let address = self.streams.enter(Origin::of(call.ip));
        let address = address.ok_or_else(|| full(self.limits.streams_per_address, "from this address"))?;
        let caller = match call.did() {
            Some(did) => {
                let place = self.callers_streams.enter(did);
                Some(place.ok_or_else(|| full(self.limits.streams_per_caller, "with this key"))?)
            }
            None => None,
        };
        Ok(StreamPlace { _address: address, _caller: caller })
    }
}

/// An error before it is known which request it answers.
fn refuse(uri: &Uri, headers: &HeaderMap, error: &A2aError) -> Response {
    if grpc::is_grpc(headers) {
        grpc::failure(error)
    } else if uri.path() == "/" {
        rpc::failure(&a2a::JsonRpcId::Null, error)
    } else {
        rest::failure(headers, error)
    }
}

/// A JSON body with its media type.
fn json<T: Serialize>(status: StatusCode, media_type: &'static str, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, media_type)], Body::from(bytes)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a response is not writable as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What HTTP says beside the body of an error.
fn with_error_headers(mut response: Response, error: &A2aError) -> Response {
    let headers = response.headers_mut();
    if let Some(wait) = error.retry_after {
        // Whole seconds, rounded up: never an invitation to come too early.
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000) as u64));
    }
    if error.kind == ErrorKind::Unauthenticated {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(r#"Bearer realm="tender", error="invalid_token""#),
        );
    }
    response
}
