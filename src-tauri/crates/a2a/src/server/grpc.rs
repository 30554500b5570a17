//! The gRPC binding: `lf.a2a.v1.A2AService` on the same listener, for agents whose card has such an interface.
//!
//! A request is one message, so its body is read under the same limits as every other before it is decoded. What the
//! layers in front refuse is answered as gRPC too: HTTP 200 with the status where the trailers would be.
//!
//! Events have no numbers here: a stream that was cut goes on by `SubscribeToTask`, whose first event is the task.

use super::{Server, body::BodyPlace, check_version, follow::Events, rest};
use crate::{A2aError, Call, ErrorKind};
use a2a::{DeleteTaskPushNotificationConfigRequest, ListTaskPushNotificationConfigsRequest, TaskState};
use a2a_pb::{
    pbconv::{
        from_proto_cancel_task_request, from_proto_delete_task_push_notification_config_request,
        from_proto_get_task_push_notification_config_request, from_proto_get_task_request,
        from_proto_list_task_push_notification_configs_request, from_proto_list_tasks_request,
        from_proto_send_message_request, from_proto_subscribe_to_task_request,
        from_proto_task_push_notification_config, from_proto_task_state, from_proto_timestamp, to_proto_agent_card,
        to_proto_list_task_push_notification_configs_response, to_proto_list_tasks_response,
        to_proto_send_message_response, to_proto_stream_response, to_proto_task,
        to_proto_task_push_notification_config,
    },
    proto::{
        self,
        a2a_service_server::{A2aService, A2aServiceServer},
        part::Content,
    },
};
use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Version, header},
    response::Response,
};
use futures::{StreamExt, stream::BoxStream};
use prost_types::value::Kind;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::{Code, Status, codegen::Service};

/// Where the methods are.
pub(super) const ROUTE: &str = "/lf.a2a.v1.A2AService/{method}";
/// Largest message of any caller: what gRPC's own implementations take by default. More goes over the other bindings.
const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// Flag and length before a message.
const PREFIX_BYTES: usize = 5;

/// Whether a request is gRPC, which decides how it is refused.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/grpc") || essence.eq_ignore_ascii_case("application/grpc+proto")
}

pub(super) fn failure(error: &A2aError) -> Response {
    error.grpc_status().into_http()
}

pub(super) async fn handle(
    State(server): State<Arc<Server>>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Response {
    if !is_grpc(request.headers()) || request.version() != Version::HTTP_2 {
        let error = A2aError::new(
            ErrorKind::ContentTypeNotSupported,
            "gRPC is spoken here",
            "send `Content-Type: application/grpc` over HTTP/2, or use another interface of the agent card",
        );
        return rest::failure(request.headers(), &error);
    }
    answer(server, call, request).await.unwrap_or_else(|error| failure(&error))
}

async fn answer(server: Arc<Server>, call: Call, request: Request) -> Result<Response, A2aError> {
    if !server.card.facts().grpc {
        return Err(no_method("this agent does not offer gRPC"));
    }
    check_version(request.uri(), request.headers())?;
    let (parts, body) = request.into_parts();
    let received = server.receive(&call, &parts.headers, body, MAX_MESSAGE_BYTES + PREFIX_BYTES).await?;
    let grpc = Grpc { server, call, place: Mutex::new(received.place) };
    let mut service = A2aServiceServer::new(grpc).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let response = match service.call(Request::from_parts(parts, Body::from(received.bytes))).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    };
    // What the library refuses itself has no details.
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok && status.details().is_empty() => Err(refused(&status)),
        _ => Ok(response),
    }
}

/// Why a request was not decoded.
fn refused(status: &Status) -> A2aError {
    let why = crate::error::readable(status.message());
    match status.code() {
        Code::Unimplemented if why.is_empty() => no_method("A2AService has no such method"),
        // An encoding that is not spoken.
        Code::Unimplemented => A2aError::new(ErrorKind::MethodNotFound, why, "send messages without compression"),
        Code::OutOfRange | Code::ResourceExhausted => {
            A2aError::new(ErrorKind::TooLarge, why, "send large content over another interface of the agent card")
        }
        _ => A2aError::new(ErrorKind::Parse, why, "send one message of lf.a2a.v1 as protobuf"),
    }
}

fn no_method(message: &str) -> A2aError {
    A2aError::new(ErrorKind::MethodNotFound, message, "see /.well-known/agent-card.json")
}

/// One request.
struct Grpc {
    server: Arc<Server>,
    call: Call,
    place: Mutex<BodyPlace>,
}

impl Grpc {
    fn place(&self) -> BodyPlace {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

type Answer<T> = Result<tonic::Response<T>, Status>;
type Streamed = BoxStream<'static, Result<proto::StreamResponse, Status>>;

fn told<T>(answer: Result<T, A2aError>) -> Answer<T> {
    answer.map(tonic::Response::new).map_err(|error| error.grpc_status())
}

fn streamed(events: Events) -> Streamed {
    let write = |event: Result<super::follow::Event, A2aError>| match event {
        Ok(event) => Ok(to_proto_stream_response(&event.response)),
        Err(error) => Err(error.grpc_status()),
    };
    events.map(write).boxed()
}

#[tonic::async_trait]
impl A2aService for Grpc {
    type SendStreamingMessageStream = Streamed;
    type SubscribeToTaskStream = Streamed;

    async fn send_message(
        &self,
        request: tonic::Request<proto::SendMessageRequest>,
    ) -> Answer<proto::SendMessageResponse> {
        let answer = async {
            let request = message(&request.into_inner())?;
            self.server
                .send(&self.call, request, self.place())
                .await
                .map(|answer| to_proto_send_message_response(&answer))
        };
        told(answer.await)
    }

    async fn send_streaming_message(&self, request: tonic::Request<proto::SendMessageRequest>) -> Answer<Streamed> {
        let answer = async {
            self.server.streams()?;
            let request = message(&request.into_inner())?;
            self.server.send_streaming(&self.call, request, self.place()).await.map(streamed)
        };
        told(answer.await)
    }

    async fn get_task(&self, request: tonic::Request<proto::GetTaskRequest>) -> Answer<proto::Task> {
        let request = from_proto_get_task_request(request.get_ref());
        told(self.server.get(&self.call, request).await.map(|task| to_proto_task(&task)))
    }

    async fn list_tasks(&self, request: tonic::Request<proto::ListTasksRequest>) -> Answer<proto::ListTasksResponse> {
        let answer = async {
            let request = list(request.get_ref())?;
            self.server.list(&self.call, request).await.map(|answer| to_proto_list_tasks_response(&answer))
        };
        told(answer.await)
    }

    async fn cancel_task(&self, request: tonic::Request<proto::CancelTaskRequest>) -> Answer<proto::Task> {
        let request = from_proto_cancel_task_request(request.get_ref());
        told(self.server.cancel(&self.call, request).await.map(|task| to_proto_task(&task)))
    }

    async fn subscribe_to_task(&self, request: tonic::Request<proto::SubscribeToTaskRequest>) -> Answer<Streamed> {
        let request = from_proto_subscribe_to_task_request(request.get_ref());
        told(self.server.subscribe(&self.call, request).await.map(streamed))
    }

    async fn create_task_push_notification_config(
        &self,
        request: tonic::Request<proto::TaskPushNotificationConfig>,
    ) -> Answer<proto::TaskPushNotificationConfig> {
        let hook = from_proto_task_push_notification_config(request.get_ref());
        let answer = self.server.create_hook(&self.call, hook).await;
        told(answer.map(|hook| to_proto_task_push_notification_config(&hook)))
    }

    async fn get_task_push_notification_config(
        &self,
        request: tonic::Request<proto::GetTaskPushNotificationConfigRequest>,
    ) -> Answer<proto::TaskPushNotificationConfig> {
        let request = from_proto_get_task_push_notification_config_request(request.get_ref());
        let answer = self.server.get_hook(&self.call, request).await;
        told(answer.map(|hook| to_proto_task_push_notification_config(&hook)))
    }

    async fn list_task_push_notification_configs(
        &self,
        request: tonic::Request<proto::ListTaskPushNotificationConfigsRequest>,
    ) -> Answer<proto::ListTaskPushNotificationConfigsResponse> {
        let request: ListTaskPushNotificationConfigsRequest =
            from_proto_list_task_push_notification_configs_request(request.get_ref());
        let answer = self.server.list_hooks(&self.call, &request.task_id).await;
        told(answer.map(|hooks| to_proto_list_task_push_notification_configs_response(&hooks)))
    }

    async fn get_extended_agent_card(
        &self,
        _: tonic::Request<proto::GetExtendedAgentCardRequest>,
    ) -> Answer<proto::AgentCard> {
        told(self.server.extended_card(&self.call).await.map(|card| to_proto_agent_card(&card)))
    }

    async fn delete_task_push_notification_config(
        &self,
        request: tonic::Request<proto::DeleteTaskPushNotificationConfigRequest>,
    ) -> Answer<()> {
        let request: DeleteTaskPushNotificationConfigRequest =
            from_proto_delete_task_push_notification_config_request(request.get_ref());
        told(self.server.delete_hook(&self.call, &request.task_id, &request.id).await)
    }
}

/// A message, after what the conversion would read leniently: it takes a part without content for empty text, and a
/// number that is none for null.
pub(crate) fn message(request: &proto::SendMessageRequest) -> Result<a2a::SendMessageRequest, A2aError> {
    let Some(message) = &request.message else { return Err(A2aError::invalid("message is missing")) };
    for (index, part) in message.parts.iter().enumerate() {
        let at = format!("message.parts[{index}]");
        match &part.content {
            None => return Err(A2aError::invalid(format!("{at} must have one of text, raw, url and data"))),
            Some(Content::Data(data)) => check_value(data, &format!("{at}.data"))?,
            Some(_) => {}
        }
        check_struct(part.metadata.as_ref(), &format!("{at}.metadata"))?;
    }
    check_struct(message.metadata.as_ref(), "message.metadata")?;
    check_struct(request.metadata.as_ref(), "metadata")?;
    Ok(from_proto_send_message_request(request))
}

fn check_struct(members: Option<&prost_types::Struct>, path: &str) -> Result<(), A2aError> {
    members.map_or(Ok(()), |members| members.fields.values().try_for_each(|value| check_value(value, path)))
}

fn check_value(value: &prost_types::Value, path: &str) -> Result<(), A2aError> {
    match &value.kind {
        None => Err(A2aError::invalid(format!("{path} has a value of no kind"))),
        Some(Kind::NumberValue(number)) if !number.is_finite() => {
            Err(A2aError::invalid(format!("{path} has the number {number}, which JSON does not know")))
        }
        Some(Kind::ListValue(list)) => list.values.iter().try_for_each(|value| check_value(value, path)),
        Some(Kind::StructValue(members)) => check_struct(Some(members), path),
        Some(_) => Ok(()),
    }
}

/// A query for tasks, with what the conversion would leave out when it is out of range.
pub(crate) fn list(request: &proto::ListTasksRequest) -> Result<a2a::ListTasksRequest, A2aError> {
    if request.status != 0 && from_proto_task_state(request.status) == TaskState::Unspecified {
        return Err(A2aError::invalid(format!("status {} is no state of a task", request.status)));
    }
    if request.status_timestamp_after.as_ref().is_some_and(|at| from_proto_timestamp(at).is_none()) {
        return Err(A2aError::invalid("statusTimestampAfter is out of range"));
    }
    Ok(a2a::ListTasksRequest { page_size: request.page_size, ..from_proto_list_tasks_request(request) })
}
