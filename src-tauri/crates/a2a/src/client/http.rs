//! Requests to one origin: bounded in size and time, never redirected.

use super::{EXTENSION_HEADER, events::SILENCE, sse::MAX_EVENT_BYTES};
use crate::{card::MAX_CARD_BYTES, error::A2aError, tls::Pin};
use bytes::{Bytes, BytesMut};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode, Url, header, redirect};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tender_base::{Code, Problem};

/// A peer on the other side of the world answers within a second.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// From the request's last byte to the response's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// What the slowest peer reads, hashes and stores of an award in a second.
const STORED_PER_SECOND: usize = 16 << 20;
/// An answer whose body stops for so long will not come.
const READ_TIME: Duration = Duration::from_secs(5);
/// Largest answer to a document: the largest documents have a few kB, errors less.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Bodies leave in pieces of this size, so that a slow upload is told from a stuck one.
const PIECE: usize = 64 << 10;

/// One origin and the connections to it.
pub(super) struct Http {
    client: Client,
    origin: Url,
}

/// A response body and its validator.
pub(super) struct Loaded {
    pub(super) bytes: Bytes,
    pub(super) etag: Option<String>,
}

impl Http {
    pub(super) fn new(address: &str, pin: &Arc<Pin>) -> Result<Self, Problem> {
        let origin = origin(address)?;
        let client = Client::builder()
            .tls_backend_preconfigured(pin.client_config()?)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIME)
            .tcp_nodelay(true)
            // One connection per award: HTTP/2 windows would throttle its input.
            .http1_only()
            .user_agent(concat!("tender/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                Problem::new(Code::Internal, format!("no HTTP client: {error}"), "report this as a bug")
            })?;
        Ok(Self { client, origin })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.origin.scheme() == "https"
    }

    /// The card; `None` when it still has this ETag.
    pub(super) async fn card(&self, etag: Option<&str>) -> Result<Option<Loaded>, Problem> {
        let mut request = self.request(Method::GET, "/.well-known/agent-card.json");
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let response = head(request.send(), HEAD_TIME).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED if etag.is_some() => Ok(None),
            StatusCode::OK => {
                let etag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
                Ok(Some(Loaded { bytes: read_all(response, MAX_CARD_BYTES).await?, etag }))
            }
            status => Err(unexpected(status)),
        }
    }

    /// A JSON-RPC call that is answered at once; its `result`.
    pub(super) async fn call(&self, path: &str, bearer: &str, body: Vec<u8>) -> Result<Value, Problem> {
        let response = self.post(path, bearer, body, "application/json", HEAD_TIME).await?;
        let status = response.status();
        // A task may carry an output.
        let limit = if status == StatusCode::OK { MAX_EVENT_BYTES } else { MAX_ANSWER_BYTES };
        let bytes = read_all(response, limit).await?;
        answer(status, &bytes)
    }

    /// A JSON-RPC call that is answered by events.
    pub(super) async fn stream(&self, path: &str, bearer: &str, body: Vec<u8>) -> Result<Response, Problem> {
        // Silent before the first event or after it is the same silence: a peer that is gone is given up as soon.
        // Only a large input, which the peer stores before it answers, takes longer.
        let storing = Duration::from_secs_f64(body.len() as f64 / STORED_PER_SECOND as f64);
        let limit = HEAD_TIME.min(SILENCE + storing);
        let response = self.post(path, bearer, body, "text/event-stream", limit).await?;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if response.status() == StatusCode::OK && kind.starts_with("text/event-stream") {
            return Ok(response);
        }
        let status = response.status();
        let bytes = read_all(response, MAX_ANSWER_BYTES).await?;
        Err(match answer(status, &bytes) {
            Err(problem) => problem,
            Ok(_) => not_a2a("the peer answered a streaming call without events"),
        })
    }

    /// A response's head, waited for as long as the body is being taken and then for `limit`.
    async fn post(
        &self,
        path: &str,
        bearer: &str,
        body: Vec<u8>,
        accept: &str,
        limit: Duration,
    ) -> Result<Response, Problem> {
        let length = body.len();
        let (body, sent) = watched(body);
        let request = self
            .request(Method::POST, path)
            .bearer_auth(bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, length)
            .header(header::ACCEPT, accept)
            .header(EXTENSION_HEADER.0, EXTENSION_HEADER.1)
            .body(body);
        let response = request.send();
        tokio::pin!(response);
        let mut before = sent.load(Ordering::Relaxed);
        loop {
            match tokio::time::timeout(limit, &mut response).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(no_answer(&error)),
                Err(_) => {
                    let now = sent.load(Ordering::Relaxed);
                    if now == before {
                        return Err(lost("the peer does not answer"));
                    }
                    before = now;
                }
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.origin.clone();
        url.set_path(path);
        self.client.request(method, url).header(a2a::SVC_PARAM_VERSION, a2a::VERSION)
    }
}

/// `scheme://host:port` of an address a person may have typed.
fn origin(address: &str) -> Result<Url, Problem> {
    let bad = |why: &str| {
        Problem::new(
            Code::Invalid,
            format!("the address {} {why}", crate::error::readable(address)),
            "write it as https://host:port; http:// is for 127.0.0.1 only",
        )
    };
    let text = address.trim();
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        let loopback = text.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
        format!("{}://{text}", if loopback || text.starts_with("localhost:") { "http" } else { "https" })
    };
    let mut url = Url::parse(&text).map_err(|_| bad("is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("has a user name or password in it"));
    }
    let host = url.host_str().ok_or_else(|| bad("has no host"))?;
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err(bad("is not encrypted")),
        _ => return Err(bad("is neither https nor http")),
    }
    url.set_path("/");
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// The path of an interface. Its host is not followed: the pin belongs to the address that was dialled.
pub(super) fn path_of(interface: &str) -> Result<String, Problem> {
    Url::parse(interface)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .map(|url| url.path().to_owned())
        .ok_or_else(|| not_a2a("the card's interface has no http address"))
}

/// A request body; large ones are written on a thread of their own, since base64 of 64 MiB takes a while.
pub(super) async fn body<T: Serialize + Send + 'static>(method: &'static str, params: T) -> Result<Vec<u8>, Problem> {
    #[derive(Serialize)]
    struct Request<T> {
        jsonrpc: &'static str,
        id: u8,
        method: &'static str,
        params: T,
    }
    let write = move || serde_json::to_vec(&Request { jsonrpc: "2.0", id: 1, method, params });
    match tokio::task::spawn_blocking(write).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(internal(&error.to_string())),
        Err(error) => Err(internal(&error.to_string())),
    }
}

fn internal(why: &str) -> Problem {
    Problem::new(Code::Internal, format!("the request is not writable: {why}"), "report this as a bug")
}

/// A body in pieces, and how many were taken.
fn watched(body: Vec<u8>) -> (Body, Arc<AtomicU64>) {
    if body.len() <= PIECE {
        return (Body::from(body), Arc::default());
    }
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let mut rest = Bytes::from(body);
    let pieces = std::iter::from_fn(move || {
        (!rest.is_empty()).then(|| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(rest.split_to(rest.len().min(PIECE)))
        })
    });
    (Body::wrap_stream(futures::stream::iter(pieces)), sent)
}

async fn head(
    response: impl Future<Output = Result<Response, reqwest::Error>>,
    limit: Duration,
) -> Result<Response, Problem> {
    match tokio::time::timeout(limit, response).await {
        Ok(response) => response.map_err(|error| no_answer(&error)),
        Err(_) => Err(lost("the peer does not answer")),
    }
}

async fn read_all(mut response: Response, limit: usize) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    loop {
        match tokio::time::timeout(READ_TIME, response.chunk()).await {
            Err(_) => return Err(lost("the peer stopped in the middle of its answer")),
            Ok(Err(error)) => return Err(no_answer(&error)),
            Ok(Ok(None)) => return Ok(bytes.freeze()),
            Ok(Ok(Some(chunk))) if bytes.len() + chunk.len() > limit => {
                return Err(Problem::new(
                    Code::TooLarge,
                    format!("the peer's answer is larger than {limit} bytes"),
                    "do not trade with this peer; tell its owner",
                ));
            }
            Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
        }
    }
}

/// `result` or the problem in `error`.
fn answer(status: StatusCode, bytes: &[u8]) -> Result<Value, Problem> {
    match serde_json::from_slice(bytes) {
        Ok(value) => result_of(value),
        Err(_) if status == StatusCode::OK => Err(not_a2a("the peer's answer is not JSON")),
        Err(_) => Err(unexpected(status)),
    }
}

/// Takes a JSON-RPC response apart.
pub(super) fn result_of(mut value: Value) -> Result<Value, Problem> {
    if !value["error"].is_null() {
        return Err(A2aError::from_rpc_body(&value["error"]).problem);
    }
    match value.get_mut("result").map(Value::take) {
        Some(result) => Ok(result),
        None => Err(not_a2a("the peer's answer is no JSON-RPC response")),
    }
}

/// The first of `names` that `value` has, taken out: these may hold a whole output, which is not worth a copy.
pub(super) fn one_of(mut value: Value, names: &[&'static str]) -> Option<(&'static str, Value)> {
    names.iter().find_map(|name| Some((*name, value.get_mut(*name).filter(|it| !it.is_null())?.take())))
}

pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| not_a2a(&format!("the peer's answer is not readable: {error}")))
}

pub(super) fn not_a2a(message: &str) -> Problem {
    Problem::new(Code::Invalid, crate::error::readable(message), "an A2A 1.0 agent must answer at this address")
}

pub(super) fn lost(message: &str) -> Problem {
    Problem::new(Code::Lost, message, "the peer or the way to it is down; try again, or another peer")
}

fn unexpected(status: StatusCode) -> Problem {
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Problem::new(Code::TooMany, "the peer is asked too often", "try again in a few seconds");
    }
    if status.is_server_error() {
        return Problem::new(Code::Unavailable, format!("the peer answered {status}"), "try again later");
    }
    not_a2a(&format!("the peer answered {status}"))
}

fn no_answer(error: &reqwest::Error) -> Problem {
    // The innermost cause says what happened; the outer ones only where.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let why = crate::error::readable(&cause.to_string());
    if error.is_connect() {
        let pinned = why.contains("certificate");
        return if pinned {
            Problem::new(
                Code::Forged,
                format!("the peer presented another TLS key than before: {why}"),
                "somebody may be between you and the peer; if the peer changed its key, connect again",
            )
        } else {
            Problem::new(
                Code::Unavailable,
                format!("nobody answers at the peer's address: {why}"),
                "check that the peer is running and that its address is right",
            )
        };
    }
    lost(&format!("the connection to the peer broke: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn http_is_for_loopback_only() {
        for (typed, expected) in [
            ("127.0.0.1:7420", "http://127.0.0.1:7420/"),
            ("[::1]:7420", "http://[::1]:7420/"),
            ("localhost:7420", "http://localhost:7420/"),
            ("192.0.2.7:7420", "https://192.0.2.7:7420/"),
            ("node.example:7420", "https://node.example:7420/"),
            (" https://node.example/x?y#z ", "https://node.example/"),
        ] {
            assert_eq!(origin(typed).unwrap().as_str(), expected);
        }
        for typed in ["http://192.0.2.7:1", "http://localhost.example:1", "ftp://x", "", "https://a:b@c", "unix://x"] {
            assert_eq!(origin(typed).unwrap_err().code, Code::Invalid, "{typed}");
        }
    }

    #[test]
    fn the_card_chooses_the_path_and_not_the_host() {
        assert_eq!(path_of("https://elsewhere.example/a2a/").unwrap(), "/a2a/");
        assert!(path_of("file:///etc/passwd").is_err());
    }

    #[test]
    fn answers_are_taken_apart() {
        assert_eq!(result_of(json!({"result": 1})).unwrap(), json!(1));
        assert_eq!(result_of(json!({"error": {"code": -32001}})).unwrap_err().code, Code::NotFound);
        assert!(result_of(json!([])).is_err());
        assert!(one_of(json!([1]), &["task"]).is_none());
    }
}
