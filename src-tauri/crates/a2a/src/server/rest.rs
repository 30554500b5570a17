//! The HTTP+JSON binding: the routes of `specification/a2a.proto`.
//!
//! They are matched by hand: a path such as `/tasks/{id}:cancel` has its verb after the parameter, and every route may
//! have a tenant in front. There is one tenant here, so its name does not matter.

use super::{
    A2A_JSON, JSON, Server,
    body::{self, BodyPlace, request},
    check_content_type, check_version,
    decode::{LIST, PUSH, Query, SEND, TASK},
    events::respond,
    files, json, refuse, with_error_headers,
};
use crate::{A2aError, Call, ErrorKind};
use a2a::{
    CancelTaskRequest, GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTasksRequest, SendMessageRequest,
    StreamResponse, SubscribeToTaskRequest,
};
use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::Response,
};
use percent_encoding::percent_decode_str;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn failure(headers: &HeaderMap, error: &A2aError) -> Response {
    with_error_headers(json(error.kind.http().0, media_type(headers), &error.rest_body()), error)
}

/// `application/a2a+json`, unless the client names only what came before it.
fn media_type(headers: &HeaderMap) -> &'static str {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    if accept.contains(A2A_JSON) || accept.contains("*/*") || !accept.contains(JSON) { A2A_JSON } else { JSON }
}

/// An operation, and the task and the push notification config that it names.
pub(crate) enum Route {
    Send,
    Stream,
    List,
    Get(String),
    Cancel(String),
    Subscribe(String),
    CreateHook(String),
    ListHooks(String),
    GetHook(String, String),
    DeleteHook(String, String),
    ExtendedCard,
    Output(String, String),
}

/// What the first segment of a route may be.
const FIRST: [&str; 5] = ["message:send", "message:stream", "extendedAgentCard", "tasks", files::FIRST];
/// The front of the routes of 0.3, which is no tenant.
const OLD: &str = "v1";

pub(crate) fn route(method: &Method, path: &str) -> Result<Route, A2aError> {
    let path = path.trim_matches('/');
    let segments: Vec<String> =
        path.split('/').map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned()).collect();
    let mut segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let [tenant, first, ..] = segments[..]
        && !FIRST.contains(&tenant)
        && FIRST.contains(&first)
        && tenant != OLD
    {
        segments.remove(0);
    }
    let (get, post, delete) = (*method == Method::GET, *method == Method::POST, *method == Method::DELETE);
    let allowed = match segments[..] {
        ["message:send"] if post => return Ok(Route::Send),
        ["message:stream"] if post => return Ok(Route::Stream),
        ["extendedAgentCard"] if get => return Ok(Route::ExtendedCard),
        ["tasks"] if get => return Ok(Route::List),
        ["tasks", task] => match task.rsplit_once(':') {
            Some((id, "cancel")) if post => return Ok(Route::Cancel(id.to_owned())),
            // The proto says GET, the specification's table POST.
            Some((id, "subscribe")) if get || post => return Ok(Route::Subscribe(id.to_owned())),
            Some((_, "cancel")) => "POST",
            Some((_, "subscribe")) => "GET or POST",
            _ if get => return Ok(Route::Get(task.to_owned())),
            _ => "GET",
        },
        ["tasks", task, "pushNotificationConfigs"] if post => return Ok(Route::CreateHook(task.to_owned())),
        ["tasks", task, "pushNotificationConfigs"] if get => return Ok(Route::ListHooks(task.to_owned())),
        ["tasks", task, "pushNotificationConfigs", id] if get => {
            return Ok(Route::GetHook(task.to_owned(), id.to_owned()));
        }
        ["tasks", task, "pushNotificationConfigs", id] if delete => {
            return Ok(Route::DeleteHook(task.to_owned(), id.to_owned()));
        }
        [files::FIRST, task, artifact] if get || *method == Method::HEAD => {
            return Ok(Route::Output(task.to_owned(), artifact.to_owned()));
        }
        ["tasks", _, "pushNotificationConfigs"] => "GET or POST",
        ["tasks", _, "pushNotificationConfigs", _] => "GET or DELETE",
        ["message:send" | "message:stream"] => "POST",
        ["extendedAgentCard" | "tasks"] | [files::FIRST, _, _] => "GET",
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
    Extension(call): Extension<Call>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    request: Body,
) -> Response {
    match answer(&server, &call, &method, &uri, &headers, request).await {
        Ok(response) => response,
        Err(error) => refuse(&uri, &headers, &error),
    }
}

async fn answer(
    server: &Arc<Server>,
    call: &Call,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    received: Body,
) -> Result<Response, A2aError> {
    let route = route(method, uri.path())?;
    // A file is for whoever follows the address in a part, and no operation of the protocol.
    if !matches!(route, Route::Output(..)) {
        check_version(uri, headers)?;
    }
    match route {
        Route::Send => {
            let (request, place) = message(server, call, headers, received).await?;
            success(headers, &server.send(call, request, place).await?)
        }
        Route::Stream => {
            server.streams()?;
            let (request, place) = message(server, call, headers, received).await?;
            Ok(respond(server.send_streaming(call, request, place).await?, write))
        }
        Route::List => success(headers, &server.list(call, list(uri)?).await?),
        Route::Get(id) => {
            let history_length = Query::read(uri.query(), &TASK)?.parse("historyLength", "a whole number")?;
            success(headers, &server.get(call, GetTaskRequest { id, history_length, tenant: None }).await?)
        }
        Route::Cancel(id) => {
            let received = server.receive(call, headers, received, usize::MAX).await?;
            let metadata = if received.bytes.is_empty() {
                None
            } else {
                check_content_type(headers)?;
                let body = body::parse(received.bytes).await?;
                member(body, "metadata")?
            };
            success(headers, &server.cancel(call, CancelTaskRequest { id, metadata, tenant: None }).await?)
        }
        Route::Subscribe(id) => {
            Ok(respond(server.subscribe(call, SubscribeToTaskRequest { id, tenant: None }).await?, write))
        }
        Route::CreateHook(task) => {
            server.pushes()?;
            check_content_type(headers)?;
            let received = server.receive(call, headers, received, usize::MAX).await?;
            let mut body = body::parse(received.bytes).await?;
            // The path names the task.
            if let Value::Object(members) = &mut body {
                members.remove("task_id");
                members.insert("taskId".to_owned(), Value::String(task));
            }
            success(headers, &server.create_hook(call, request(body, &PUSH, false).await?).await?)
        }
        Route::ListHooks(task) => {
            server.pushes()?;
            success(headers, &server.list_hooks(call, &task).await?)
        }
        Route::GetHook(task_id, id) => {
            let request = GetTaskPushNotificationConfigRequest { task_id, id, tenant: None };
            success(headers, &server.get_hook(call, request).await?)
        }
        Route::DeleteHook(task, id) => {
            server.delete_hook(call, &task, &id).await?;
            success(headers, &json!({}))
        }
        Route::ExtendedCard => success(headers, &server.extended_card(call).await?),
        Route::Output(task, artifact) => server.output(call, &task, &artifact, headers).await,
    }
}

/// One member of a body.
fn member<T: DeserializeOwned>(mut body: Value, name: &str) -> Result<Option<T>, A2aError> {
    if !body.is_object() {
        return Err(A2aError::invalid("the body must be an object"));
    }
    match body.get_mut(name).map(Value::take) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => super::decode::fields(value).map(Some),
    }
}

pub(crate) fn list(uri: &Uri) -> Result<ListTasksRequest, A2aError> {
    let query = Query::read(uri.query(), &LIST)?;
    Ok(ListTasksRequest {
        context_id: query.text("contextId"),
        status: query.word("status")?,
        page_size: query.parse("pageSize", "a whole number")?,
        page_token: query.text("pageToken"),
        history_length: query.parse("historyLength", "a whole number")?,
        status_timestamp_after: query.word("statusTimestampAfter")?,
        include_artifacts: query.parse("includeArtifacts", "true or false")?,
        tenant: None,
    })
}

async fn message(
    server: &Server,
    call: &Call,
    headers: &HeaderMap,
    received: Body,
) -> Result<(SendMessageRequest, BodyPlace), A2aError> {
    check_content_type(headers)?;
    let received = server.receive(call, headers, received, usize::MAX).await?;
    let large = body::is_large(received.bytes.len());
    Ok((request(body::parse(received.bytes).await?, &SEND, large).await?, received.place))
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
