//! The local API over HTTP, and the UI's files. Loopback only; every API call needs the token, and the Host and
//! Origin of this listener, so that no page of another origin can reach it through the user's browser.

use super::{Kind, OPERATIONS, handlers, types::ApiProblem};
use crate::{node::Node, node::local_address};
use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::stream;
use rust_embed::RustEmbed;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::HashMap,
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tender_base::{Code, Problem};
use tokio::sync::OnceCell;

/// Largest request: a job's input of 64 MiB in base64, with its description.
const MAX_BODY_BYTES: usize = 96 << 20;
/// Answers of commands are remembered for this long under their idempotency key.
const REMEMBER: Duration = Duration::from_secs(600);
/// Snapshots of a subscription leave at most so often: progress is coalesced.
const BETWEEN_SNAPSHOTS: Duration = Duration::from_millis(100);
/// A comment is sent this often when nothing changes, so that a dead connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// What a page may load: its own files only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "$OUT_DIR/ui"]
struct Ui;

/// A command's first answer: there once it has run, and when it was asked.
type Answered = (Instant, Arc<OnceCell<Result<Value, Problem>>>);

struct Api {
    node: Arc<Node>,
    token: String,
    host: String,
    answered: Mutex<HashMap<String, Answered>>,
}

/// Serves until the node ends.
pub(crate) async fn serve(node: Arc<Node>, listener: TcpListener, token: String) {
    let shutdown = node.shutdown.clone();
    let served = async {
        let host = local_address(&listener)?.to_string();
        let api = Arc::new(Api { node, token, host, answered: Mutex::default() });
        let calls = Router::new()
            .route("/{name}", post(call).get(subscribe))
            .layer(middleware::from_fn_with_state(api.clone(), authorise));
        let router = Router::new()
            .nest("/api", calls)
            .fallback(get(file))
            .layer(middleware::from_fn_with_state(api.clone(), same_host))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(api);
        let failed = |e: std::io::Error| Problem::new(Code::Internal, format!("the local API failed: {e}"), "");
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        axum::serve(listener, router)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await
            .map_err(failed)
    };
    if let Err(problem) = served.await {
        tracing::error!(code = %problem.code, %problem, "the local API ended");
    }
}

/// Refuses other hosts (DNS rebinding) and other origins (pages of other sites).
async fn same_host(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let port = api.host.rsplit(':').next().unwrap_or_default();
    let ours = |host: &str| host == api.host || host == format!("localhost:{port}");
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or_default());
    let host_ok = text(header::HOST).is_some_and(ours);
    let origin_ok = text(header::ORIGIN).is_none_or(|o| o.strip_prefix("http://").is_some_and(ours));
    if !host_ok || !origin_ok {
        let message = "this address serves only its own page";
        return refuse(Problem::new(Code::Forbidden, message, "open the address that `tender serve` printed"));
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn authorise(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let given = given.and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
    // Compared by digest, so that the time it takes says nothing about the token.
    if tender_base::Sha256::of(given.as_bytes()) != tender_base::Sha256::of(api.token.as_bytes()) {
        let hint = "open the whole address that `tender serve` printed, with its #token";
        return refuse(Problem::new(Code::Unauthenticated, "the token of the local API is missing or old", hint));
    }
    next.run(request).await
}

async fn call(State(api): State<Arc<Api>>, Path(name): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let Some(operation) = OPERATIONS.iter().find(|o| o.name == name && o.kind != Kind::Subscription) else {
        return refuse(Problem::new(Code::NotFound, format!("there is no operation {name}"), ""));
    };
    let bytes = match axum::body::to_bytes(body, MAX_BODY_BYTES).await {
        Ok(bytes) => bytes,
        Err(e) => {
            let message = format!("the request could not be read: {e}");
            return refuse(Problem::new(Code::TooLarge, message, format!("at most {MAX_BODY_BYTES} bytes")));
        }
    };
    let input: Value = match serde_json::from_slice(if bytes.is_empty() { b"{}" } else { &bytes }) {
        Ok(input) => input,
        Err(e) => {
            let hint = "send one JSON object with the operation's fields";
            return refuse(Problem::new(Code::Invalid, format!("the request is not JSON: {e}"), hint));
        }
    };
    // Serde would take a list as the fields in their order: `[0]` must not pass for `{"minutes": 0}`.
    if !input.is_object() {
        let hint = "send one JSON object with the operation's fields";
        return refuse(Problem::new(Code::Invalid, format!("{name}: the request is not a JSON object"), hint));
    }
    let key = headers.get("idempotency-key").and_then(|v| v.to_str().ok()).filter(|_| operation.kind == Kind::Command);
    let answer = match key {
        Some(key) => api.once(&format!("{name} {key}"), &name, input).await,
        None => handlers::dispatch(&api.node, &name, input).await,
    };
    match answer {
        Ok(value) => Json(value).into_response(),
        Err(problem) => refuse(problem),
    }
}

impl Api {
    /// Runs a command once per key; a repetition, also one that comes while it runs, hears the first answer.
    async fn once(&self, key: &str, name: &str, input: Value) -> Result<Value, Problem> {
        let answer = {
            let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            answered.retain(|_, (at, _)| at.elapsed() < REMEMBER);
            let (_, answer) = answered.entry(key.to_owned()).or_insert_with(|| (Instant::now(), Arc::default()));
            answer.clone()
        };
        let (node, name) = (self.node.clone(), name.to_owned());
        // On its own: a caller that hangs up does not undo the command, so its repetition must find the answer.
        let running = tokio::spawn(async move {
            answer.get_or_init(|| async { handlers::dispatch(&node, &name, input).await }).await.clone()
        });
        running.await.unwrap_or_else(|e| Err(Problem::new(Code::Internal, format!("the command failed: {e}"), "")))
    }
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

/// Snapshots as server-sent events: one at once (unless the client has it already), then one per change.
async fn subscribe(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Query(After { after }): Query<After>,
) -> Response {
    if !OPERATIONS.iter().any(|o| o.name == name && o.kind == Kind::Subscription) {
        return refuse(Problem::new(Code::NotFound, format!("there is no subscription {name}"), ""));
    }
    // What is sampled has a clock of its own: other screens need not look again with every sample.
    let ticks = if name == "watch_machine" { api.node.samples.watch() } else { api.node.live.watch() };
    let state = (api, name, ticks, after, None::<Value>);
    let events = stream::unfold(state, |(api, name, mut ticks, seen, mut last)| async move {
        loop {
            let tick = *ticks.borrow_and_update();
            if tick != seen || last.is_none() {
                let text = match handlers::dispatch(&api.node, &name, Value::Object(Default::default())).await {
                    Ok(snapshot) if last.as_ref() == Some(&snapshot) => None,
                    Ok(snapshot) => {
                        let text = format!("id: {tick}\ndata: {snapshot}\n\n");
                        last = Some(snapshot);
                        Some(text)
                    }
                    Err(problem) => {
                        let problem = serde_json::to_string(&ApiProblem::from(problem)).unwrap_or_default();
                        Some(format!("event: problem\ndata: {problem}\n\n"))
                    }
                };
                if let Some(text) = text {
                    tokio::time::sleep(BETWEEN_SNAPSHOTS).await;
                    return Some((Ok::<_, std::convert::Infallible>(text), (api, name, ticks, tick, last)));
                }
            }
            let shutdown = api.node.shutdown.clone();
            tokio::select! {
                () = shutdown.cancelled() => return None,
                changed = ticks.changed() => changed.ok()?,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    return Some((Ok(": still here\n\n".to_owned()), (api, name, ticks, tick, last)));
                }
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events)).into_response()
}

/// A file of the UI; the app finds its place by the fragment, so there is one page.
async fn file(uri: Uri) -> Response {
    let path = Some(uri.path().trim_start_matches('/')).filter(|p| !p.is_empty()).unwrap_or("index.html");
    let Some(file) = Ui::get(path) else {
        return (StatusCode::NOT_FOUND, "There is no such file.").into_response();
    };
    // Vite names assets after their content; only the page itself changes under its name.
    let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(header::CONTENT_TYPE, media_type(path)), (header::CACHE_CONTROL, cache)];
    (headers, file.data.into_owned()).into_response()
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript",
        "css" => "text/css",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

fn refuse(problem: Problem) -> Response {
    let status = match problem.code {
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::Forged | Code::OverLimit => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict | Code::Expired => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable | Code::Lost => StatusCode::SERVICE_UNAVAILABLE,
        Code::WorkFailed | Code::Storage | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, Json(ApiProblem::from(problem))).into_response()
}
