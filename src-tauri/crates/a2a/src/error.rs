//! Errors as the protocol knows them, on every binding.

use axum::http::StatusCode;
use prost::Message;
use prost_types::Any;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};
use tender_base::{Code, Problem};
use tonic::Status;

/// Domain of every `google.rpc.ErrorInfo` of A2A.
const DOMAIN: &str = "a2a-protocol.org";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status`, which travels in the trailer `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ErrorInfo {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
    #[prost(string, tag = "2")]
    pub(crate) domain: String,
    #[prost(map = "string, string", tag = "3")]
    pub(crate) metadata: HashMap<String, String>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// The closed list of protocol errors (A2A 1.0.1 §5.4 and JSON-RPC 2.0 §5.1), and what HTTP itself refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No such task, or not the caller's.
    TaskNotFound,
    /// The task has ended.
    TaskNotCancelable,
    /// This agent sends no push notifications.
    PushNotificationNotSupported,
    /// Not offered, or not in this state.
    UnsupportedOperation,
    /// A media type that this agent does not take.
    ContentTypeNotSupported,
    /// The agent broke the protocol.
    InvalidAgentResponse,
    /// Declared, but there is no extended card.
    ExtendedCardNotConfigured,
    /// The agent requires an extension that the client does not name.
    ExtensionSupportRequired,
    /// Not version 1.0.
    VersionNotSupported,
    /// Not JSON.
    Parse,
    /// JSON, but no request.
    InvalidRequest,
    /// No such method or route.
    MethodNotFound,
    /// A field is missing, of the wrong type or out of range.
    InvalidParams,
    /// A fault of this side.
    Internal,
    /// A token that proves nothing, or none where one is needed.
    Unauthenticated,
    /// Known, but not allowed.
    Forbidden,
    /// The body is larger than this caller may send.
    TooLarge,
    /// More often than the limit.
    TooMany,
    /// Not now.
    Unavailable,
}

use ErrorKind as K;

impl ErrorKind {
    const ALL: [Self; 19] = [
        K::TaskNotFound,
        K::TaskNotCancelable,
        K::PushNotificationNotSupported,
        K::UnsupportedOperation,
        K::ContentTypeNotSupported,
        K::InvalidAgentResponse,
        K::ExtendedCardNotConfigured,
        K::ExtensionSupportRequired,
        K::VersionNotSupported,
        K::Parse,
        K::InvalidRequest,
        K::MethodNotFound,
        K::InvalidParams,
        K::Internal,
        K::Unauthenticated,
        K::Forbidden,
        K::TooLarge,
        K::TooMany,
        K::Unavailable,
    ];

    /// JSON-RPC error code. The protocol reserves −32001…−32099, so what only HTTP knows falls under the general
    /// codes and is told apart by its `reason`.
    #[must_use]
    pub fn rpc_code(self) -> i32 {
        match self {
            K::TaskNotFound => -32001,
            K::TaskNotCancelable => -32002,
            K::PushNotificationNotSupported => -32003,
            K::UnsupportedOperation => -32004,
            K::ContentTypeNotSupported => -32005,
            K::InvalidAgentResponse => -32006,
            K::ExtendedCardNotConfigured => -32007,
            K::ExtensionSupportRequired => -32008,
            K::VersionNotSupported => -32009,
            K::Parse => -32700,
            K::InvalidRequest | K::Unauthenticated | K::Forbidden | K::TooLarge | K::TooMany => -32600,
            K::MethodNotFound => -32601,
            K::InvalidParams => -32602,
            K::Internal | K::Unavailable => -32603,
        }
    }

    /// HTTP status and `google.rpc.Code` name of the REST binding.
    #[must_use]
    pub fn http(self) -> (StatusCode, &'static str) {
        match self {
            K::TaskNotFound | K::MethodNotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            K::ContentTypeNotSupported | K::Parse | K::InvalidRequest | K::InvalidParams => {
                (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT")
            }
            K::TaskNotCancelable
            | K::PushNotificationNotSupported
            | K::UnsupportedOperation
            | K::ExtendedCardNotConfigured
            | K::ExtensionSupportRequired
            | K::VersionNotSupported => (StatusCode::BAD_REQUEST, "FAILED_PRECONDITION"),
            K::InvalidAgentResponse | K::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
            K::Unauthenticated => (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
            K::Forbidden => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            K::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "OUT_OF_RANGE"),
            K::TooMany => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
            K::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        }
    }

    /// HTTP status of the JSON-RPC binding: 200, unless it is HTTP's own business who asks, how much and how often. What
    /// the agent cannot do now is an answer like any other: clients read no body behind a 503.
    #[must_use]
    pub fn rpc_status(self) -> StatusCode {
        match self {
            K::Unauthenticated | K::Forbidden | K::TooLarge | K::TooMany => self.http().0,
            _ => StatusCode::OK,
        }
    }

    /// Status of the gRPC binding.
    #[must_use]
    pub fn grpc(self) -> tonic::Code {
        match self {
            K::TaskNotFound => tonic::Code::NotFound,
            K::ContentTypeNotSupported | K::Parse | K::InvalidRequest | K::InvalidParams => {
                tonic::Code::InvalidArgument
            }
            K::TaskNotCancelable
            | K::PushNotificationNotSupported
            | K::UnsupportedOperation
            | K::ExtendedCardNotConfigured
            | K::ExtensionSupportRequired
            | K::VersionNotSupported => tonic::Code::FailedPrecondition,
            K::InvalidAgentResponse | K::Internal => tonic::Code::Internal,
            K::MethodNotFound => tonic::Code::Unimplemented,
            K::Unauthenticated => tonic::Code::Unauthenticated,
            K::Forbidden => tonic::Code::PermissionDenied,
            K::TooLarge | K::TooMany => tonic::Code::ResourceExhausted,
            K::Unavailable => tonic::Code::Unavailable,
        }
    }

    /// `reason` of the `ErrorInfo`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            K::TaskNotFound => "TASK_NOT_FOUND",
            K::TaskNotCancelable => "TASK_NOT_CANCELABLE",
            K::PushNotificationNotSupported => "PUSH_NOTIFICATION_NOT_SUPPORTED",
            K::UnsupportedOperation => "UNSUPPORTED_OPERATION",
            K::ContentTypeNotSupported => "CONTENT_TYPE_NOT_SUPPORTED",
            K::InvalidAgentResponse => "INVALID_AGENT_RESPONSE",
            K::ExtendedCardNotConfigured => "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
            K::ExtensionSupportRequired => "EXTENSION_SUPPORT_REQUIRED",
            K::VersionNotSupported => "VERSION_NOT_SUPPORTED",
            K::Parse => "PARSE_ERROR",
            K::InvalidRequest => "INVALID_REQUEST",
            K::MethodNotFound => "METHOD_NOT_FOUND",
            K::InvalidParams => "INVALID_PARAMS",
            K::Internal => "INTERNAL_ERROR",
            K::Unauthenticated => "UNAUTHENTICATED",
            K::Forbidden => "FORBIDDEN",
            K::TooLarge => "TOO_LARGE",
            K::TooMany => "TOO_MANY_REQUESTS",
            K::Unavailable => "UNAVAILABLE",
        }
    }

    fn code(self) -> Code {
        match self {
            K::TaskNotFound | K::MethodNotFound => Code::NotFound,
            K::TaskNotCancelable | K::UnsupportedOperation => Code::Conflict,
            K::Unauthenticated => Code::Unauthenticated,
            K::Forbidden => Code::Forbidden,
            K::TooLarge => Code::TooLarge,
            K::TooMany => Code::TooMany,
            K::Unavailable => Code::Unavailable,
            K::Internal | K::InvalidAgentResponse => Code::Internal,
            _ => Code::Invalid,
        }
    }
}

/// An error of an operation: what the protocol calls it, and what a person may read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct A2aError {
    /// What the protocol calls it.
    pub kind: ErrorKind,
    /// Code, message and hint; they travel in the `ErrorInfo`, so that a Tender client reads them unchanged.
    pub problem: Problem,
    /// When to try again, sent as `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl A2aError {
    /// An error with its remedy.
    pub fn new(kind: ErrorKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, problem: Problem::new(kind.code(), message, hint), retry_after: None }
    }

    /// The same, with the time after which another attempt makes sense.
    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.retry_after = Some(span);
        self
    }

    /// No such task, or not the caller's: the two are never told apart.
    #[must_use]
    pub fn task_not_found(id: &str) -> Self {
        Self::new(K::TaskNotFound, format!("there is no task {id}"), "list your tasks to see their ids")
    }

    /// The four push notification methods, of an agent whose card does not offer them.
    #[must_use]
    pub fn no_push() -> Self {
        Self::new(
            K::PushNotificationNotSupported,
            "this agent sends no push notifications",
            "follow the task with SubscribeToTask",
        )
    }

    /// A field that is missing, of the wrong type or out of range.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(K::InvalidParams, message, "correct the field and send the request again")
    }

    fn metadata(&self) -> HashMap<String, String> {
        let code = serde_json::to_value(self.problem.code).unwrap_or_default();
        let code = code.as_str().unwrap_or_default().to_owned();
        HashMap::from([("code".to_owned(), code), ("hint".to_owned(), self.problem.hint.clone())])
    }

    fn info(&self) -> Value {
        json!([{
            "@type": ERROR_INFO,
            "reason": self.kind.reason(),
            "domain": DOMAIN,
            "metadata": self.metadata(),
        }])
    }

    /// The status that ends a gRPC call.
    #[must_use]
    pub fn grpc_status(&self) -> Status {
        let code = self.kind.grpc();
        let info =
            ErrorInfo { reason: self.kind.reason().to_owned(), domain: DOMAIN.to_owned(), metadata: self.metadata() };
        let mut details = vec![Any { type_url: ERROR_INFO.to_owned(), value: info.encode_to_vec() }];
        if let Some(wait) = self.retry_after {
            let retry = RetryInfo { retry_delay: wait.try_into().ok() };
            details.push(Any { type_url: RETRY_INFO.to_owned(), value: retry.encode_to_vec() });
        }
        let status = RpcStatus { code: code as i32, message: self.problem.message.clone(), details };
        Status::with_details(code, &self.problem.message, status.encode_to_vec().into())
    }

    /// The `error` member of a JSON-RPC response.
    #[must_use]
    pub fn rpc_body(&self) -> Value {
        json!({"code": self.kind.rpc_code(), "message": self.problem.message, "data": self.info()})
    }

    /// The body of a REST error response (`google.rpc.Status`).
    #[must_use]
    pub fn rest_body(&self) -> Value {
        let (status, name) = self.kind.http();
        json!({"error": {
            "code": status.as_u16(),
            "status": name,
            "message": self.problem.message,
            "details": self.info(),
        }})
    }

    /// Reads the `error` member of a peer's JSON-RPC response. Text is cut and stripped of control characters:
    /// it ends up on a person's screen.
    #[must_use]
    pub fn from_rpc_body(body: &Value) -> Self {
        Self::read(body, &body["data"], |kind| i64::from(kind.rpc_code()))
    }

    /// Reads the `error` member of a peer's REST error response, as [`Self::from_rpc_body`] does.
    #[must_use]
    pub fn from_rest_body(body: &Value) -> Self {
        Self::read(body, &body["details"], |kind| i64::from(kind.http().0.as_u16()))
    }

    /// `number` is the code that the binding has for a kind.
    fn read(body: &Value, infos: &Value, number: impl Fn(ErrorKind) -> i64) -> Self {
        let said = body["code"].as_i64().unwrap_or(0);
        let infos = infos.as_array().map(Vec::as_slice).unwrap_or_default();
        let info = infos.iter().find(|info| info["@type"] == ERROR_INFO).unwrap_or(&Value::Null);
        let kind = ErrorKind::ALL
            .into_iter()
            .find(|kind| info["reason"] == kind.reason() && number(*kind) == said)
            .or_else(|| ErrorKind::ALL.into_iter().find(|kind| number(*kind) == said))
            .unwrap_or(K::InvalidAgentResponse);
        let code = Code::deserialize(&info["metadata"]["code"]).unwrap_or(kind.code());
        let message = readable(body["message"].as_str().unwrap_or_default());
        let message = if message.is_empty() { format!("the peer answered with error {said}") } else { message };
        let hint = readable(info["metadata"]["hint"].as_str().unwrap_or_default());
        Self { kind, problem: Problem { code, message, hint }, retry_after: None }
    }
}

/// Longest text of a peer that is shown.
const MAX_TEXT: usize = 500;

/// A peer's text, fit for a screen.
pub(crate) fn readable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

impl From<Problem> for A2aError {
    fn from(problem: Problem) -> Self {
        let kind = match problem.code {
            Code::Invalid | Code::Forged => K::InvalidParams,
            Code::Unauthenticated => K::Unauthenticated,
            Code::Forbidden => K::Forbidden,
            Code::NotFound => K::TaskNotFound,
            Code::Conflict | Code::Expired | Code::OverLimit => K::UnsupportedOperation,
            Code::TooLarge => K::TooLarge,
            Code::TooMany => K::TooMany,
            Code::Unavailable | Code::Lost => K::Unavailable,
            Code::WorkFailed | Code::Storage | Code::Internal => K::Internal,
        };
        Self { kind, problem, retry_after: None }
    }
}

impl From<A2aError> for Problem {
    fn from(error: A2aError) -> Self {
        error.problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_back_as_it_was_sent() {
        for kind in ErrorKind::ALL {
            let sent = A2aError::new(kind, "what", "do this");
            assert_eq!(A2aError::from_rpc_body(&sent.rpc_body()), sent, "{kind:?}");
            assert_eq!(A2aError::from_rest_body(&sent.rest_body()["error"]), sent, "{kind:?}");
        }
    }

    #[test]
    fn what_an_agent_cannot_do_now_is_an_answer() {
        let busy = A2aError::from(Problem::new(Code::Unavailable, "all slots are taken", "try again later")).kind;
        assert_eq!((busy.rpc_status(), busy.http().0), (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
    }

    #[test]
    fn a_grpc_status_says_the_same_in_its_details() {
        for kind in ErrorKind::ALL {
            let sent = A2aError::new(kind, "what", "do this").retry_after(Duration::from_millis(1500));
            let status = sent.grpc_status();
            assert_eq!((status.code(), status.message()), (kind.grpc(), "what"));
            let details = RpcStatus::decode(status.details()).unwrap();
            assert_eq!((details.code, &*details.message), (kind.grpc() as i32, "what"));
            let info = ErrorInfo::decode(&*details.details[0].value).unwrap();
            assert_eq!((&*info.reason, &*info.domain), (kind.reason(), "a2a-protocol.org"));
            assert_eq!(info.metadata["hint"], "do this");
            let retry = RetryInfo::decode(&*details.details[1].value).unwrap().retry_delay.unwrap();
            assert_eq!((retry.seconds, retry.nanos), (1, 500_000_000));
        }
    }

    #[test]
    fn foreign_errors_are_read_by_their_code_and_made_harmless() {
        let error = A2aError::from_rpc_body(&json!({"code": -32001, "message": "gone\u{1b}[31m"}));
        assert_eq!((error.kind, error.problem.message.as_str()), (K::TaskNotFound, "gone[31m"));
        let error = A2aError::from_rpc_body(&json!({"code": "x", "message": 7}));
        assert_eq!(error.kind, K::InvalidAgentResponse);
        assert!(!error.problem.message.is_empty());
    }
}
