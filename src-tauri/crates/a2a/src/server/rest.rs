//! The HTTP+JSON binding: the routes of `specification/a2a.proto`.
//!
//! They are matched by hand: a path such as `/tasks/{id}:cancel` has its verb after the parameter.

use super::{
    A2A_JSON, JSON, Server, body,
    body::{check_history, check_id, check_list, check_message, fields},
    check_content_type, check_version,
    events::Opened,
    json, with_error_headers,
};
use crate::{A2aError, Caller, ErrorKind};
use a2a::{
    CancelTaskRequest, GetTaskRequest, ListTasksRequest, SendMessageRequest, StreamResponse, SubscribeToTaskRequest,
};
use axum::{
    Extension,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::Response,
};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::sync::Arc;

pub(super) fn failure(headers: &HeaderMap, error: &A2aError) -> Response {
    with_error_headers(json(error.kind.http().0, media_type(headers), &error.rest_body()), error)
}

/// `application/a2a+json`, unless the client names only what came before it.
fn media_type(headers: &HeaderMap) -> &'static str {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    if accept.contains(A2A_JSON) || accept.contains("*/*") || !accept.contains(JSON) { A2A_JSON } else { JSON }
}

/// An operation and the task it names.
enum Route {
    Send,
    Stream,
    List,
    Get(String),
    Cancel(String),
    Subscribe(String),
    Push,
    ExtendedCard,
}

fn route(method: &Method, path: &str) -> Result<Route, A2aError> {
    let path = path.trim_matches('/');
    let segments: Vec<&str> = path.split('/').collect();
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let first = decode(segments[0]);
    let (get, post) = (*method == Method::GET, *method == Method::POST);
    let allowed = match (first.as_str(), &segments[1..]) {
        ("message:send", []) if post => return Ok(Route::Send),
        ("message:stream", []) if post => return Ok(Route::Stream),
        ("extendedAgentCard", []) if get => return Ok(Route::ExtendedCard),
        ("tasks", []) if get => return Ok(Route::List),
        ("tasks", [task]) => {
            let task = decode(task);
            match task.rsplit_once(':') {
                Some((id, "cancel")) if post => return Ok(Route::Cancel(id.to_owned())),
                // The proto says GET, the specification's table POST.
                Some((id, "subscribe")) if get || post => return Ok(Route::Subscribe(id.to_owned())),
                Some((_, "cancel")) => "POST",
                Some((_, "subscribe")) => "GET or POST",
                _ if get => return Ok(Route::Get(task)),
                _ => "GET",
            }
        }
        ("tasks", [_, "pushNotificationConfigs"] | [_, "pushNotificationConfigs", _]) => return Ok(Route::Push),
        ("message:send" | "message:stream", []) => "POST",
        ("extendedAgentCard" | "tasks", []) => "GET",
        _ => {
            return Err(A2aError::new(
                ErrorKind::MethodNotFound,
                format!("there is nothing at /{}", crate::error::readable(path)),
                "see /.well-known/agent-card.json; routes of 1.0 have no /v1 in front",
            ));
        }
    };
    Err(A2aError::new(
        ErrorKind::MethodNotFound,
        format!("/{} does not take {method}", crate::error::readable(path)),
        format!("use {allowed}"),
    ))
}

pub(super) async fn handle(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Caller>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    request: Body,
) -> Response {
    match answer(&server, &caller, &method, &uri, &headers, request).await {
        Ok(response) => response,
        Err(error) => failure(&headers, &error),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetQuery {
    history_length: Option<i32>,
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, A2aError> {
    Query::try_from_uri(uri).map(|Query(value)| value).map_err(|error| {
        A2aError::invalid(crate::error::readable(&format!("the query is not readable: {}", error.body_text())))
    })
}

async fn answer(
    server: &Server,
    caller: &Caller,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    request: Body,
) -> Result<Response, A2aError> {
    let route = route(method, uri.path())?;
    check_version(uri, headers)?;
    let agent = &server.agent;
    match route {
        Route::Send => {
            let request = message(server, caller, headers, request).await?;
            success(headers, &agent.send_message(caller, request).await?)
        }
        Route::Stream => {
            let request = message(server, caller, headers, request).await?;
            let place = server.stream_place(caller)?;
            let events = agent.send_streaming_message(caller, request).await?;
            Ok(Server::stream(events, place, Opened::BySending, write))
        }
        Route::List => {
            let request: ListTasksRequest = query(uri)?;
            check_list(&request)?;
            success(headers, &agent.list_tasks(caller, request).await?)
        }
        Route::Get(id) => {
            check_id("id", &id)?;
            let GetQuery { history_length } = query(uri)?;
            check_history(history_length)?;
            success(headers, &agent.get_task(caller, GetTaskRequest { id, history_length, tenant: None }).await?)
        }
        Route::Cancel(id) => {
            check_id("id", &id)?;
            let received = server.receive(caller, headers, request).await?;
            let metadata = if received.bytes.is_empty() {
                None
            } else {
                check_content_type(headers)?;
                let mut body = body::parse(received.bytes).await?;
                match body.get_mut("metadata").map(serde_json::Value::take) {
                    Some(metadata) => fields(metadata, false).await?,
                    None => None,
                }
            };
            success(headers, &agent.cancel_task(caller, CancelTaskRequest { id, metadata, tenant: None }).await?)
        }
        Route::Subscribe(id) => {
            check_id("id", &id)?;
            let place = server.stream_place(caller)?;
            let events = agent.subscribe_to_task(caller, SubscribeToTaskRequest { id, tenant: None }).await?;
            Ok(Server::stream(events, place, Opened::BySubscribing, write))
        }
        Route::Push => Err(A2aError::no_push()),
        Route::ExtendedCard => success(headers, &agent.extended_card(caller).await?),
    }
}

async fn message(
    server: &Server,
    caller: &Caller,
    headers: &HeaderMap,
    request: Body,
) -> Result<SendMessageRequest, A2aError> {
    check_content_type(headers)?;
    let received = server.receive(caller, headers, request).await?;
    let large = body::is_large(received.bytes.len());
    let request: SendMessageRequest = fields(body::parse(received.bytes).await?, large).await?;
    check_message(&request)?;
    Ok(request)
}

fn success<T: Serialize>(headers: &HeaderMap, result: &T) -> Result<Response, A2aError> {
    Ok(json(StatusCode::OK, media_type(headers), result))
}

fn write(event: Result<&StreamResponse, &A2aError>) -> Option<String> {
    let text = match event {
        Ok(response) => serde_json::to_string(response),
        Err(error) => serde_json::to_string(&error.rest_body()),
    };
    text.inspect_err(|error| tracing::error!(%error, "an event is not writable as JSON")).ok()
}
