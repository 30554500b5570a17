//! The JSON-RPC binding: `POST /`.

use super::{
    JSON, Server, body,
    body::{check_history, check_id, check_list, check_message, fields},
    check_content_type, check_version,
    events::Opened,
    json, with_error_headers,
};
use crate::{A2aError, Caller, ErrorKind};
use a2a::{
    CancelTaskRequest, GetTaskRequest, JsonRpcId, ListTasksRequest, SendMessageRequest, StreamResponse,
    SubscribeToTaskRequest, methods,
};
use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Serialize)]
struct Success<'a, T> {
    jsonrpc: &'static str,
    id: &'a JsonRpcId,
    result: &'a T,
}

#[derive(Serialize)]
struct Failure<'a> {
    jsonrpc: &'static str,
    id: &'a JsonRpcId,
    error: Value,
}

pub(super) fn failure(id: &JsonRpcId, error: &A2aError) -> Response {
    let body = Failure { jsonrpc: "2.0", id, error: error.rpc_body() };
    with_error_headers(json(error.kind.rpc_status(), JSON, &body), error)
}

/// `GET /` and the like: a person with a browser, most likely.
pub(super) async fn other_method() -> Response {
    let error = A2aError::new(
        ErrorKind::InvalidRequest,
        "this is an A2A agent: JSON-RPC takes POST",
        "see /.well-known/agent-card.json",
    );
    let body = Failure { jsonrpc: "2.0", id: &JsonRpcId::Null, error: error.rpc_body() };
    let mut response = json(StatusCode::METHOD_NOT_ALLOWED, JSON, &body);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

pub(super) async fn handle(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    request: Body,
) -> Response {
    let mut id = JsonRpcId::Null;
    match answer(&server, &caller, &uri, &headers, request, &mut id).await {
        Ok(response) => response,
        Err(error) => failure(&id, &error),
    }
}

/// A request whose envelope is in order.
struct Call {
    method: String,
    params: Value,
}

fn envelope(value: Value, id: &mut JsonRpcId) -> Result<Call, A2aError> {
    let bad = |message: &str| {
        A2aError::new(
            ErrorKind::InvalidRequest,
            message,
            r#"send {"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{…}}"#,
        )
    };
    let Value::Object(mut request) = value else {
        return Err(bad("the request is not a JSON object; batches are not supported"));
    };
    *id = match request.remove("id") {
        Some(Value::String(text)) => JsonRpcId::String(text),
        Some(Value::Number(number)) => {
            JsonRpcId::Number(number.as_i64().ok_or_else(|| bad("id must be text or a whole number"))?)
        }
        Some(Value::Null) | None => return Err(bad("id is missing; notifications are not supported")),
        Some(_) => return Err(bad("id must be text or a whole number")),
    };
    if request.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(bad(r#"jsonrpc must be "2.0""#));
    }
    let Some(Value::String(method)) = request.remove("method") else {
        return Err(bad("method is missing or not text"));
    };
    let params = match request.remove("params") {
        Some(params @ Value::Object(_)) => params,
        None | Some(Value::Null) => json!({}),
        Some(_) => return Err(A2aError::invalid("params must be an object")),
    };
    Ok(Call { method, params })
}

/// What a method of an older version is called in 1.0.
fn successor(method: &str) -> Option<&'static str> {
    Some(match method {
        "message/send" | "tasks/send" => methods::SEND_MESSAGE,
        "message/stream" | "tasks/sendSubscribe" => methods::SEND_STREAMING_MESSAGE,
        "tasks/get" => methods::GET_TASK,
        "tasks/list" => methods::LIST_TASKS,
        "tasks/cancel" => methods::CANCEL_TASK,
        "tasks/resubscribe" => methods::SUBSCRIBE_TO_TASK,
        "agent/getAuthenticatedExtendedCard" | "agent/authenticatedExtendedCard" => methods::GET_EXTENDED_AGENT_CARD,
        "tasks/pushNotificationConfig/set" | "tasks/pushNotification/set" => methods::CREATE_PUSH_CONFIG,
        "tasks/pushNotificationConfig/get" | "tasks/pushNotification/get" => methods::GET_PUSH_CONFIG,
        "tasks/pushNotificationConfig/list" => methods::LIST_PUSH_CONFIGS,
        "tasks/pushNotificationConfig/delete" => methods::DELETE_PUSH_CONFIG,
        _ => return None,
    })
}

async fn answer(
    server: &Server,
    caller: &Caller,
    uri: &Uri,
    headers: &HeaderMap,
    request: Body,
    id: &mut JsonRpcId,
) -> Result<Response, A2aError> {
    check_content_type(headers)?;
    let received = server.receive(caller, headers, request).await?;
    let large = body::is_large(received.bytes.len());
    let call = envelope(body::parse(received.bytes).await?, id)?;
    if let Some(now) = successor(&call.method) {
        return Err(A2aError::new(
            ErrorKind::MethodNotFound,
            format!("{} belongs to an older version of A2A", call.method),
            format!("call {now} and send the header `A2A-Version: 1.0`"),
        ));
    }
    check_version(uri, headers)?;

    let (agent, params, id) = (&server.agent, call.params, &*id);
    match call.method.as_str() {
        methods::SEND_MESSAGE => {
            let request: SendMessageRequest = fields(params, large).await?;
            check_message(&request)?;
            success(id, &agent.send_message(caller, request).await?)
        }
        methods::SEND_STREAMING_MESSAGE => {
            let request: SendMessageRequest = fields(params, large).await?;
            check_message(&request)?;
            let place = server.stream_place(caller)?;
            let events = agent.send_streaming_message(caller, request).await?;
            Ok(Server::stream(events, place, Opened::BySending, writer(id.clone())))
        }
        methods::GET_TASK => {
            let request: GetTaskRequest = fields(params, false).await?;
            check_id("id", &request.id)?;
            check_history(request.history_length)?;
            success(id, &agent.get_task(caller, request).await?)
        }
        methods::LIST_TASKS => {
            let request: ListTasksRequest = fields(params, false).await?;
            check_list(&request)?;
            success(id, &agent.list_tasks(caller, request).await?)
        }
        methods::CANCEL_TASK => {
            let request: CancelTaskRequest = fields(params, false).await?;
            check_id("id", &request.id)?;
            success(id, &agent.cancel_task(caller, request).await?)
        }
        methods::SUBSCRIBE_TO_TASK => {
            let request: SubscribeToTaskRequest = fields(params, false).await?;
            check_id("id", &request.id)?;
            let place = server.stream_place(caller)?;
            let events = agent.subscribe_to_task(caller, request).await?;
            Ok(Server::stream(events, place, Opened::BySubscribing, writer(id.clone())))
        }
        methods::CREATE_PUSH_CONFIG
        | methods::GET_PUSH_CONFIG
        | methods::LIST_PUSH_CONFIGS
        | methods::DELETE_PUSH_CONFIG => Err(A2aError::no_push()),
        methods::GET_EXTENDED_AGENT_CARD => success(id, &agent.extended_card(caller).await?),
        other => Err(A2aError::new(
            ErrorKind::MethodNotFound,
            format!("there is no method {}", crate::error::readable(other)),
            "call SendMessage, SendStreamingMessage, GetTask, ListTasks, CancelTask or SubscribeToTask",
        )),
    }
}

fn success<T: Serialize>(id: &JsonRpcId, result: &T) -> Result<Response, A2aError> {
    Ok(json(StatusCode::OK, JSON, &Success { jsonrpc: "2.0", id, result }))
}

fn writer(id: JsonRpcId) -> impl Fn(Result<&StreamResponse, &A2aError>) -> Option<String> {
    move |event| {
        let text = match event {
            Ok(result) => serde_json::to_string(&Success { jsonrpc: "2.0", id: &id, result }),
            Err(error) => serde_json::to_string(&Failure { jsonrpc: "2.0", id: &id, error: error.rpc_body() }),
        };
        text.inspect_err(|error| tracing::error!(%error, "an event is not writable as JSON")).ok()
    }
}
