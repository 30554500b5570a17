//! The JSON-RPC binding: `POST /`.

use super::{
    JSON, Server,
    body::{self, request},
    check_content_type, check_version,
    decode::{LIST, PUSH, SEND, TASK},
    events::respond,
    json, with_error_headers,
};
use crate::{A2aError, Call, ErrorKind};
use a2a::{
    DeleteTaskPushNotificationConfigRequest, JsonRpcId, ListTaskPushNotificationConfigsRequest, StreamResponse, methods,
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
    Extension(call): Extension<Call>,
    uri: Uri,
    headers: HeaderMap,
    request: Body,
) -> Response {
    let mut id = JsonRpcId::Null;
    match answer(&server, &call, &uri, &headers, request, &mut id).await {
        Ok(response) => response,
        Err(error) => failure(&id, &error),
    }
}

/// A request whose envelope is in order.
pub(crate) struct Envelope {
    method: String,
    pub(crate) params: Value,
}

pub(crate) fn envelope(value: Value, id: &mut JsonRpcId) -> Result<Envelope, A2aError> {
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
    Ok(Envelope { method, params })
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
    server: &Arc<Server>,
    call: &Call,
    uri: &Uri,
    headers: &HeaderMap,
    received: Body,
    id: &mut JsonRpcId,
) -> Result<Response, A2aError> {
    check_content_type(headers)?;
    let received = server.receive(call, headers, received, usize::MAX).await?;
    let large = body::is_large(received.bytes.len());
    let (place, bytes) = (received.place, received.bytes);
    let Envelope { method, params } = envelope(body::parse(bytes).await?, id)?;
    if let Some(now) = successor(&method) {
        return Err(A2aError::new(
            ErrorKind::MethodNotFound,
            format!("{method} belongs to an older version of A2A"),
            format!("call {now} and send the header `A2A-Version: 1.0`"),
        ));
    }
    check_version(uri, headers)?;

    let id = &*id;
    match method.as_str() {
        methods::SEND_MESSAGE => success(id, &server.send(call, request(params, &SEND, large).await?, place).await?),
        methods::SEND_STREAMING_MESSAGE => {
            let events = server.send_streaming(call, request(params, &SEND, large).await?, place).await?;
            Ok(respond(events, writer(id.clone())))
        }
        methods::GET_TASK => success(id, &server.get(call, request(params, &TASK, false).await?).await?),
        methods::LIST_TASKS => success(id, &server.list(call, request(params, &LIST, false).await?).await?),
        methods::CANCEL_TASK => success(id, &server.cancel(call, request(params, &TASK, false).await?).await?),
        methods::SUBSCRIBE_TO_TASK => {
            let events = server.subscribe(call, request(params, &TASK, false).await?).await?;
            Ok(respond(events, writer(id.clone())))
        }
        methods::CREATE_PUSH_CONFIG => {
            server.pushes()?;
            success(id, &server.create_hook(call, request(params, &PUSH, false).await?).await?)
        }
        methods::GET_PUSH_CONFIG => {
            server.pushes()?;
            success(id, &server.get_hook(call, request(params, &PUSH, false).await?).await?)
        }
        methods::LIST_PUSH_CONFIGS => {
            server.pushes()?;
            let named: ListTaskPushNotificationConfigsRequest = request(params, &PUSH, false).await?;
            success(id, &server.list_hooks(call, &named.task_id).await?)
        }
        methods::DELETE_PUSH_CONFIG => {
            server.pushes()?;
            let named: DeleteTaskPushNotificationConfigRequest = request(params, &PUSH, false).await?;
            server.delete_hook(call, &named.task_id, &named.id).await?;
            success(id, &json!({}))
        }
        methods::GET_EXTENDED_AGENT_CARD => success(id, &server.extended_card(call).await?),
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
