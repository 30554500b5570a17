//! Requests to one origin: bounded in size and time, never redirected.

use super::{
    interface::{Interface, Request},
    who::Who,
};
use crate::{CONTRACT_EXTENSION, card::MAX_CARD_BYTES, tls::Pin};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode, Url, header, redirect};
use serde::de::DeserializeOwned;
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
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);
/// An answer whose body stops for so long will not come.
const READ_TIME: Duration = Duration::from_secs(5);
/// Largest answer to a document: the largest documents have a few kB, errors less.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Bodies leave in pieces of this size, so that a slow upload is told from a stuck one.
const PIECE: usize = 64 << 10;
/// Longest `Retry-After` that is waited for, and how often in a row.
const MAX_WAIT: Duration = Duration::from_secs(60);
const RETRIES: u32 = 3;
/// A card without `max-age` is asked for again so soon.
pub(super) const CARD_LIFE: Duration = Duration::from_secs(60);
/// However long a card says it lasts, prices change.
const MAX_CARD_LIFE: Duration = Duration::from_secs(24 * 3600);

/// One origin and the connections to it.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    origin: Url,
    /// Whether requests name the contract extension, so that the peer may answer in it.
    extension: bool,
}

/// A card as it came, its validator, and how long it lasts.
pub(super) struct Loaded {
    pub(super) bytes: Bytes,
    pub(super) etag: Option<String>,
    pub(super) life: Duration,
}

impl Http {
    /// To a peer, whose TLS key is pinned.
    pub(super) fn pinned(address: &str, pin: &Arc<Pin>) -> Result<Self, Problem> {
        let mut origin = self::address(address)?;
        origin.set_path("/");
        let builder = Client::builder()
            .tls_backend_preconfigured(pin.client_config()?)
            .no_proxy()
            .connect_timeout(CONNECT_TIME)
            .tcp_nodelay(true)
            // One connection per award: HTTP/2 windows would throttle its input.
            .http1_only();
        Ok(Self { client: build(builder)?, origin, extension: true })
    }

    /// To an agent of the open web, whose certificate an authority vouches for.
    pub(super) fn open(address: &Url) -> Result<Self, Problem> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder().connect_timeout(HEAD_TIME);
        if address.scheme() == "http" {
            // Loopback, or it would not have been accepted: no proxy is asked for that.
            builder = builder.no_proxy();
        }
        Ok(Self { client: build(builder)?, origin: address.clone(), extension: false })
    }

    /// The same connections, for another origin.
    pub(super) fn at(&self, origin: &Url) -> Self {
        Self { origin: origin.clone(), ..self.clone() }
    }

    pub(super) fn origin(&self) -> &Url {
        &self.origin
    }

    pub(super) fn is_tls(&self) -> bool {
        self.origin.scheme() == "https"
    }

    /// The card at a path; `None` when it still has this ETag.
    pub(super) async fn card(&self, path: &str, etag: Option<&str>) -> Result<Option<Loaded>, Problem> {
        let attempt = || {
            let mut request = self.request(Method::GET, path, &[]);
            if let Some(etag) = etag {
                request = request.header(header::IF_NONE_MATCH, etag);
            }
            head(request.send(), HEAD_TIME)
        };
        let response = patiently(attempt).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED if etag.is_some() => Ok(None),
            StatusCode::OK => {
                let etag = text_of(&response, &header::ETAG).map(str::to_owned);
                let life = text_of(&response, &header::CACHE_CONTROL).map_or(CARD_LIFE, life);
                Ok(Some(Loaded { bytes: read_all(response, MAX_CARD_BYTES, READ_TIME).await?, etag, life }))
            }
            status => Err(unexpected(status)),
        }
    }

    /// An operation that is answered at once; what the answer holds. The body may be as large as `most` and stop for as
    /// long as `limit`, which is also how long its head may take.
    pub(super) async fn call(
        &self,
        interface: &Interface,
        request: &Request,
        who: &Who,
        limit: Duration,
        most: usize,
    ) -> Result<Value, Problem> {
        let response = self.send(request, who, "application/json, application/a2a+json;q=0.9", limit).await?;
        let status = response.status();
        let most = if interface.is_answer(status) { most } else { MAX_ANSWER_BYTES };
        let bytes = read_all(response, most, limit.max(READ_TIME)).await?;
        answer(interface, status, &bytes)
    }

    /// An operation that is answered by events.
    pub(super) async fn stream(
        &self,
        interface: &Interface,
        request: &Request,
        who: &Who,
        limit: Duration,
    ) -> Result<Response, Problem> {
        let response = self.send(request, who, "text/event-stream", limit).await?;
        let kind = text_of(&response, &header::CONTENT_TYPE).unwrap_or_default();
        if response.status() == StatusCode::OK && kind.starts_with("text/event-stream") {
            return Ok(response);
        }
        let status = response.status();
        let bytes = read_all(response, MAX_ANSWER_BYTES, READ_TIME).await?;
        Err(match answer(interface, status, &bytes) {
            Err(problem) => problem,
            Ok(_) => not_a2a("the peer answered a streaming call without events"),
        })
    }

    /// A file of this origin, by the path and query of `url`: its head, from a byte on if it is still the same file.
    pub(super) async fn file(
        &self,
        url: &Url,
        who: &Who,
        from: Option<(u64, &str)>,
        limit: Duration,
    ) -> Result<Response, Problem> {
        let mut place = self.origin.clone();
        place.set_path(url.path());
        place.set_query(url.query());
        let attempt = || {
            let request = self.client.get(place.clone()).header(a2a::SVC_PARAM_VERSION, a2a::VERSION);
            let mut request = self.identified(request, who);
            if let Some((from, etag)) = from {
                request = request.header(header::RANGE, format!("bytes={from}-")).header(header::IF_RANGE, etag);
            }
            head(request.send(), limit)
        };
        patiently(attempt).await
    }

    async fn send(&self, request: &Request, who: &Who, accept: &str, limit: Duration) -> Result<Response, Problem> {
        patiently(|| self.once(request, who, accept, limit)).await
    }

    /// A response's head, waited for as long as the body is being taken and then for `limit`.
    async fn once(&self, request: &Request, who: &Who, accept: &str, limit: Duration) -> Result<Response, Problem> {
        let builder = self.request(request.method.clone(), &request.path, &request.query);
        let mut builder = self.identified(builder, who);
        builder = builder.header(header::ACCEPT, accept);
        if let Some(after) = &request.after {
            builder = builder.header("Last-Event-ID", after);
        }
        let mut taken = Arc::default();
        if let Some(bytes) = &request.body {
            let (body, sent) = watched(bytes.clone());
            taken = sent;
            builder = builder
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::CONTENT_LENGTH, bytes.len())
                .body(body);
        }
        let response = builder.send();
        tokio::pin!(response);
        let mut before = taken.load(Ordering::Relaxed);
        loop {
            match tokio::time::timeout(limit, &mut response).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(no_answer(&error)),
                Err(_) => {
                    let now = taken.load(Ordering::Relaxed);
                    if now == before {
                        return Err(lost("the peer does not answer"));
                    }
                    before = now;
                }
            }
        }
    }

    fn request(&self, method: Method, path: &str, query: &[(&'static str, String)]) -> RequestBuilder {
        let mut url = self.origin.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.client.request(method, url).header(a2a::SVC_PARAM_VERSION, a2a::VERSION)
    }

    fn identified(&self, request: RequestBuilder, who: &Who) -> RequestBuilder {
        let request = match who.header() {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        if self.extension { request.header(a2a::SVC_PARAM_EXTENSIONS, CONTRACT_EXTENSION) } else { request }
    }
}

fn build(builder: reqwest::ClientBuilder) -> Result<Client, Problem> {
    builder
        .redirect(redirect::Policy::none())
        .user_agent(concat!("tender/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Problem::new(Code::Internal, format!("no HTTP client: {error}"), "report this as a bug"))
}

/// Sends until the answer is another one than "later", as often and as long as the agent may ask for.
async fn patiently<F: Future<Output = Result<Response, Problem>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<Response, Problem> {
    for _ in 0..RETRIES {
        let response = attempt().await?;
        match asked_to_wait(&response) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Ok(response),
        }
    }
    attempt().await
}

/// How long the agent asks to wait, in seconds or until a date; none when it does not, or for too long.
fn asked_to_wait(response: &Response) -> Option<Duration> {
    if !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    wait_of(text_of(response, &header::RETRY_AFTER)?, Utc::now()).filter(|wait| *wait <= MAX_WAIT)
}

fn wait_of(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let until = DateTime::parse_from_rfc2822(text).ok()?;
            Some((until.to_utc() - now).to_std().unwrap_or_default())
        }
    }
}

/// How long a card lasts by its `Cache-Control`.
fn life(control: &str) -> Duration {
    let mut words = control.split(',').map(str::trim);
    if words.clone().any(|word| word == "no-cache" || word == "no-store") {
        return Duration::ZERO;
    }
    let seconds = words.find_map(|word| word.strip_prefix("max-age=")?.parse().ok());
    seconds.map_or(CARD_LIFE, |seconds| Duration::from_secs(seconds).min(MAX_CARD_LIFE))
}

fn text_of<'a>(response: &'a Response, name: &header::HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// A URL of an address that a person may have typed.
pub(super) fn address(address: &str) -> Result<Url, Problem> {
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
    if host.is_empty() {
        return Err(bad("has no host"));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(bad("is not encrypted")),
        _ => return Err(bad("is neither https nor http")),
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Whether an address is this machine's own.
pub(super) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    })
}

/// A body in pieces, and how many were taken.
fn watched(body: Bytes) -> (Body, Arc<AtomicU64>) {
    if body.len() <= PIECE {
        return (Body::from(body), Arc::default());
    }
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let mut rest = body;
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

async fn read_all(mut response: Response, limit: usize, silence: Duration) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    loop {
        match tokio::time::timeout(silence, response.chunk()).await {
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

/// What an answer holds, or the problem that it states.
fn answer(interface: &Interface, status: StatusCode, bytes: &[u8]) -> Result<Value, Problem> {
    match serde_json::from_slice(bytes) {
        // A proxy's page in JSON is no answer of the agent.
        Ok(value) => match interface.content(value) {
            Ok(_) if !interface.is_answer(status) => Err(unexpected(status)),
            content => content,
        },
        Err(_) if interface.is_answer(status) => Err(not_a2a("the peer's answer is not JSON")),
        Err(_) => Err(unexpected(status)),
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

pub(super) fn unexpected(status: StatusCode) -> Problem {
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Problem::new(Code::TooMany, "the peer is asked too often", "try again in a few seconds");
    }
    if status.is_server_error() {
        return Problem::new(Code::Unavailable, format!("the peer answered {status}"), "try again later");
    }
    not_a2a(&format!("the peer answered {status}"))
}

pub(super) fn no_answer(error: &reqwest::Error) -> Problem {
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
            (" https://node.example/x?y#z ", "https://node.example/x"),
        ] {
            assert_eq!(address(typed).unwrap().as_str(), expected);
        }
        for typed in ["http://192.0.2.7:1", "http://localhost.example:1", "ftp://x", "", "https://a:b@c", "unix://x"] {
            assert_eq!(address(typed).unwrap_err().code, Code::Invalid, "{typed}");
        }
    }

    #[test]
    fn waiting_times_are_seconds_or_dates() {
        let now = DateTime::parse_from_rfc3339("2026-11-21T08:00:00Z").unwrap().to_utc();
        let after = |text| wait_of(text, now);
        assert_eq!(after("2"), Some(Duration::from_secs(2)));
        assert_eq!(after("Sat, 21 Nov 2026 08:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Sat, 21 Nov 2026 07:00:00 GMT"), Some(Duration::ZERO), "over already");
        assert_eq!((after("soon"), after("-1"), after("")), (None, None, None));
    }

    #[test]
    fn a_card_lasts_as_it_says_within_reason() {
        for (control, seconds) in [
            ("public, max-age=5", 5),
            ("max-age=x", 60),
            ("", 60),
            ("no-cache, max-age=5", 0),
            ("max-age=99999999", 24 * 3600),
        ] {
            assert_eq!(life(control), Duration::from_secs(seconds), "{control}");
        }
    }

    #[test]
    fn the_first_name_that_is_there_is_taken() {
        assert!(one_of(json!([1]), &["task"]).is_none());
        assert_eq!(one_of(json!({"task": null, "message": 1}), &["task", "message"]), Some(("message", json!(1))));
    }
}
