//! The gRPC binding, spoken by the generated client and by hand.

use crate::{
    http::{plain_client, post, send, text},
    site::{Site, client_key, contractor_key, now, signed_card, status},
};
use a2a_pb::proto::{
    self, CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigsRequest, ListTasksRequest,
    Message, Part, Role, SendMessageRequest, SubscribeToTaskRequest, TaskPushNotificationConfig,
    a2a_service_client::A2aServiceClient, part::Content, send_message_response, stream_response,
};
use futures::{StreamExt, TryStreamExt};
use prost::Message as _;
use prost_types::{Any, Struct, Value, value::Kind};
use std::{collections::HashMap, time::Duration};
use tender_a2a::{
    CONTRACT_EXTENSION, Limits, Owner, bearer,
    log::Change,
    tls::{ServerTls, generate_key},
    wire::{AgentInterface, Artifact, TRANSPORT_PROTOCOL_GRPC, TaskState},
};
use tender_base::{Signer, signed::KeySigner, time::SystemClock};
use tonic::{Code, IntoRequest, Request, Status, transport::Channel};

/// `google.rpc.Status` and `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}
#[derive(Clone, PartialEq, prost::Message)]
struct Info {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

/// What the details of a status say: its reason.
fn reason(status: &Status) -> String {
    let details = Details::decode(status.details()).unwrap();
    assert_eq!(details.code, status.code() as i32);
    assert_eq!(details.details[0].type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    let info = Info::decode(&*details.details[0].value).unwrap();
    assert_eq!(info.domain, "a2a-protocol.org");
    assert!(!info.metadata["hint"].is_empty());
    info.reason
}

/// Offers gRPC on the card of a site.
fn offer(site: &Site) {
    let mut card = signed_card(format!("{}/", site.url), None);
    card.capabilities.extended_agent_card = Some(true);
    card.supported_interfaces.push(AgentInterface::new(site.address.to_string(), TRANSPORT_PROTOCOL_GRPC));
    site.source.publish(&card, now()).unwrap();
}

async fn offering() -> Site {
    let site = Site::start().await;
    offer(&site);
    site
}

async fn client(site: &Site) -> A2aServiceClient<Channel> {
    A2aServiceClient::connect(site.url.clone()).await.unwrap()
}

fn ask<T>(message: T) -> Request<T> {
    let mut request = message.into_request();
    request.metadata_mut().insert("a2a-version", "1.0".parse().unwrap());
    request
}

fn as_peer<T>(key: &KeySigner, message: T) -> Request<T> {
    let mut request = ask(message);
    let token = format!("Bearer {}", bearer(key, &contractor_key().did(), &SystemClock));
    request.metadata_mut().insert("authorization", token.parse().unwrap());
    request
}

fn part(content: Content) -> Part {
    Part { content: Some(content), ..Part::default() }
}

fn says(words: &str) -> SendMessageRequest {
    let parts = vec![part(Content::Text(words.to_owned()))];
    let message = Message { message_id: "m1".into(), role: Role::User as i32, parts, ..Message::default() };
    SendMessageRequest { message: Some(message), ..SendMessageRequest::default() }
}

fn state(event: &proto::StreamResponse) -> i32 {
    match event.payload.as_ref().unwrap() {
        stream_response::Payload::Task(task) => task.status.as_ref().unwrap().state,
        stream_response::Payload::StatusUpdate(update) => update.status.as_ref().unwrap().state,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_eleven_operations_are_spoken() {
    let site = offering().await;
    let mut grpc = client(&site).await;
    let answer = grpc.send_message(ask(says("hi"))).await.unwrap();
    assert_eq!(answer.metadata().get("a2a-version").unwrap(), "1.0");
    let send_message_response::Payload::Message(said) = answer.into_inner().payload.unwrap() else { panic!() };
    assert_eq!(said.parts[0].content, Some(Content::Text("hi".into())));
    let answer = grpc.send_message(ask(says("play"))).await.unwrap().into_inner();
    let send_message_response::Payload::Task(task) = answer.payload.unwrap() else { panic!() };
    assert_eq!(task.status.unwrap().state, proto::TaskState::Completed as i32);

    let mut extended = ask(says("play"));
    extended.metadata_mut().insert("a2a-extensions", CONTRACT_EXTENSION.parse().unwrap());
    let streamed = grpc.send_streaming_message(extended).await.unwrap();
    assert_eq!(streamed.metadata().get("a2a-extensions").unwrap(), CONTRACT_EXTENSION);
    let events: Vec<_> = streamed.into_inner().try_collect().await.unwrap();
    let states = [proto::TaskState::Submitted, proto::TaskState::Working, proto::TaskState::Completed];
    assert_eq!(events.iter().map(state).collect::<Vec<_>>(), states.map(|state| state as i32));

    let get = GetTaskRequest { id: task.id.clone(), history_length: Some(0), ..GetTaskRequest::default() };
    let got = grpc.get_task(ask(get)).await.unwrap().into_inner();
    assert_eq!((&got.id, got.history.len()), (&task.id, 0));
    let list = ListTasksRequest { page_size: Some(1), ..ListTasksRequest::default() };
    let list = grpc.list_tasks(ask(list)).await.unwrap().into_inner();
    assert_eq!((list.tasks.len(), list.page_size, list.total_size), (1, 1, 2));
    assert!(!list.next_page_token.is_empty());

    let waits = site.task(&site.anyone(), TaskState::InputRequired);
    let mut events = grpc
        .subscribe_to_task(ask(SubscribeToTaskRequest { id: waits.clone(), ..Default::default() }))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(state(&events.next().await.unwrap().unwrap()), proto::TaskState::InputRequired as i32);
    let cancel = CancelTaskRequest { id: waits.clone(), ..CancelTaskRequest::default() };
    let cancelled = grpc.cancel_task(ask(cancel)).await.unwrap().into_inner();
    assert_eq!(cancelled.status.unwrap().state, proto::TaskState::Canceled as i32);
    assert_eq!(state(&events.next().await.unwrap().unwrap()), proto::TaskState::Canceled as i32);
    assert!(events.next().await.is_none());

    let hook = TaskPushNotificationConfig {
        id: "h".into(),
        task_id: waits.clone(),
        url: "https://1.1.1.1/".into(),
        ..TaskPushNotificationConfig::default()
    };
    let kept = grpc.create_task_push_notification_config(ask(hook.clone())).await.unwrap().into_inner();
    assert_eq!((kept.id.as_str(), &kept.url), ("h", &hook.url));
    let (id, task_id, tenant) = (|| "h".to_owned(), || waits.clone(), String::new);
    let get = || GetTaskPushNotificationConfigRequest { id: id(), task_id: task_id(), tenant: tenant() };
    assert_eq!(grpc.get_task_push_notification_config(ask(get())).await.unwrap().into_inner(), kept);
    let list = ListTaskPushNotificationConfigsRequest { task_id: waits.clone(), ..Default::default() };
    let list = grpc.list_task_push_notification_configs(ask(list)).await.unwrap().into_inner();
    assert_eq!(list.configs, [kept]);
    let delete = || DeleteTaskPushNotificationConfigRequest { id: id(), task_id: task_id(), tenant: tenant() };
    for _ in 0..2 {
        grpc.delete_task_push_notification_config(ask(delete())).await.unwrap();
    }
    let gone = grpc.get_task_push_notification_config(ask(get())).await.unwrap_err();
    assert_eq!((gone.code(), &*reason(&gone)), (Code::NotFound, "TASK_NOT_FOUND"));

    let card = grpc.get_extended_agent_card(ask(GetExtendedAgentCardRequest::default())).await.unwrap().into_inner();
    assert!(card.supported_interfaces[0].url.ends_with("extended"));
}

#[tokio::test]
async fn what_is_wrong_has_its_code_and_its_reason() {
    let site = offering().await;
    let mut grpc = client(&site).await;
    let with = |change: &dyn Fn(&mut Message)| {
        let mut request = says("x");
        change(request.message.as_mut().unwrap());
        request
    };
    let number = |number| Value { kind: Some(Kind::NumberValue(number)) };
    let long = "x".repeat(257);
    for (request, code, why, named) in [
        (SendMessageRequest::default(), Code::InvalidArgument, "INVALID_PARAMS", "message"),
        (with(&|it| it.message_id.clear()), Code::InvalidArgument, "INVALID_PARAMS", "message.messageId"),
        (with(&|it| it.context_id.clone_from(&long)), Code::InvalidArgument, "INVALID_PARAMS", "message.contextId"),
        (with(&|it| it.role = Role::Agent as i32), Code::InvalidArgument, "INVALID_PARAMS", "message.role"),
        (with(&|it| it.role = 9), Code::InvalidArgument, "INVALID_PARAMS", "message.role"),
        (with(&|it| it.parts.clear()), Code::InvalidArgument, "INVALID_PARAMS", "message.parts"),
        (with(&|it| it.parts[0].content = None), Code::InvalidArgument, "INVALID_PARAMS", "message.parts[0]"),
        (
            with(&|it| it.parts[0].content = Some(Content::Data(number(f64::NAN)))),
            Code::InvalidArgument,
            "INVALID_PARAMS",
            "message.parts[0].data",
        ),
        (
            with(&|it| it.parts[0].content = Some(Content::Data(Value { kind: None }))),
            Code::InvalidArgument,
            "INVALID_PARAMS",
            "message.parts[0].data",
        ),
        (
            with(&|it| it.metadata = Some(Struct { fields: [("a".to_owned(), number(f64::INFINITY))].into() })),
            Code::InvalidArgument,
            "INVALID_PARAMS",
            "message.metadata",
        ),
        (
            with(&|it| it.parts[0].media_type = "image/png".into()),
            Code::InvalidArgument,
            "CONTENT_TYPE_NOT_SUPPORTED",
            "image/png",
        ),
        (with(&|it| it.task_id = "none".into()), Code::NotFound, "TASK_NOT_FOUND", "none"),
        (says("extended"), Code::FailedPrecondition, "EXTENSION_SUPPORT_REQUIRED", "urn:test:extension"),
        (says("problem"), Code::FailedPrecondition, "UNSUPPORTED_OPERATION", "credit"),
    ] {
        for status in [
            grpc.send_message(ask(request.clone())).await.unwrap_err(),
            grpc.send_streaming_message(ask(request.clone())).await.map(|_| ()).unwrap_err(),
        ] {
            assert_eq!((status.code(), &*reason(&status)), (code, why), "{named}");
            assert!(status.message().contains(named), "{named}: {status}");
        }
    }
    for list in [
        ListTasksRequest { page_size: Some(0), ..Default::default() },
        ListTasksRequest { page_size: Some(101), ..Default::default() },
        ListTasksRequest { status: 99, ..Default::default() },
        ListTasksRequest { page_token: "x".into(), ..Default::default() },
        ListTasksRequest { history_length: Some(-1), ..Default::default() },
        ListTasksRequest {
            status_timestamp_after: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            ..Default::default()
        },
    ] {
        let status = grpc.list_tasks(ask(list.clone())).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (Code::InvalidArgument, "INVALID_PARAMS"), "{list:?}");
    }
    let ended = site.task(&site.anyone(), TaskState::Completed);
    let cancel = CancelTaskRequest { id: ended.clone(), ..CancelTaskRequest::default() };
    let status = grpc.cancel_task(ask(cancel)).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::FailedPrecondition, "TASK_NOT_CANCELABLE"));
    for version in [None, Some(""), Some("0.3"), Some("99.0")] {
        let mut request = GetTaskRequest { id: ended.clone(), ..Default::default() }.into_request();
        if let Some(version) = version {
            request.metadata_mut().insert("a2a-version", version.parse().unwrap());
        }
        let status = grpc.get_task(request).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (Code::FailedPrecondition, "VERSION_NOT_SUPPORTED"));
    }
}

#[tokio::test]
async fn another_callers_task_is_as_none() {
    let site = offering().await;
    let task = site.task(&Owner::key(&client_key().did()), TaskState::Working);
    let mut grpc = client(&site).await;
    let get = || GetTaskRequest { id: task.clone(), ..Default::default() };
    assert_eq!(grpc.get_task(as_peer(&client_key(), get())).await.unwrap().into_inner().id, task);
    let other = KeySigner::from_seed(&[9; 32]);
    for status in [
        grpc.get_task(as_peer(&other, get())).await.unwrap_err(),
        grpc.get_task(ask(get())).await.unwrap_err(),
        grpc.cancel_task(ask(CancelTaskRequest { id: task.clone(), ..Default::default() })).await.unwrap_err(),
        grpc.subscribe_to_task(as_peer(&other, SubscribeToTaskRequest { id: task.clone(), ..Default::default() }))
            .await
            .map(|_| ())
            .unwrap_err(),
    ] {
        assert_eq!((status.code(), &*reason(&status)), (Code::NotFound, "TASK_NOT_FOUND"));
    }
    let mut forged = ask(get());
    forged.metadata_mut().insert("authorization", "Bearer nonsense".parse().unwrap());
    let status = grpc.get_task(forged).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::Unauthenticated, "UNAUTHENTICATED"));
}

#[tokio::test]
async fn limits_are_told_as_statuses() {
    let limits = Limits { requests_per_address: 2, ..Limits::default() };
    let site = Site::with(limits, None, None).await;
    offer(&site);
    let mut grpc = client(&site).await;
    let large = |bytes: usize| says(&"x".repeat(bytes));
    let status = grpc.send_message(ask(large(70_000))).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::ResourceExhausted, "TOO_LARGE"));
    // A paired peer may send more, up to what gRPC takes.
    grpc.send_message(as_peer(&client_key(), large(70_000))).await.unwrap();
    let status = grpc.send_message(as_peer(&client_key(), large(4 << 20))).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::ResourceExhausted, "TOO_LARGE"));
    let mut refused = None;
    for _ in 0..8 {
        refused = grpc.list_tasks(ask(ListTasksRequest::default())).await.err();
        if refused.is_some() {
            break;
        }
    }
    let status = refused.unwrap();
    assert_eq!((status.code(), &*reason(&status)), (Code::ResourceExhausted, "TOO_MANY_REQUESTS"));
    let retry = &Details::decode(status.details()).unwrap().details[1];
    assert_eq!(retry.type_url, "type.googleapis.com/google.rpc.RetryInfo");
}

#[tokio::test]
async fn streams_are_counted_and_their_places_come_back() {
    let limits = Limits { streams_per_address: 1, ..Limits::default() };
    let site = Site::with(limits, None, None).await;
    offer(&site);
    let task = site.task(&site.anyone(), TaskState::Working);
    let mut grpc = client(&site).await;
    let subscribe = || ask(SubscribeToTaskRequest { id: task.clone(), ..Default::default() });
    let first = grpc.subscribe_to_task(subscribe()).await.unwrap();
    let full = grpc.subscribe_to_task(subscribe()).await.unwrap_err();
    assert_eq!((full.code(), &*reason(&full)), (Code::ResourceExhausted, "TOO_MANY_REQUESTS"));
    // Cancelled by the client: the stream is reset, the connection stays.
    drop(first);
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Ok(again) = grpc.subscribe_to_task(subscribe()).await {
            site.log.append(&task, None, vec![status(TaskState::Completed, None)]).unwrap();
            let events: Vec<_> = again.into_inner().try_collect().await.unwrap();
            assert_eq!(state(events.last().unwrap()), proto::TaskState::Completed as i32);
            return;
        }
    }
    panic!("the place did not come back");
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_up_nobody_and_goes_on_when_it_is() {
    let site = offering().await;
    let task = site.task(&site.anyone(), TaskState::Working);
    let subscribe = || ask(SubscribeToTaskRequest { id: task.clone(), ..Default::default() });
    // HTTP/2 stops the one stream; the connection is read and stays.
    let unread = client(&site).await.subscribe_to_task(subscribe()).await.unwrap().into_inner();
    let read = client(&site).await.subscribe_to_task(subscribe()).await.unwrap().into_inner();
    let read = tokio::spawn(read.try_collect::<Vec<_>>());
    for number in 0..64 {
        let artifact = Artifact {
            artifact_id: number.to_string(),
            name: None,
            description: None,
            parts: vec![tender_a2a::wire::Part::text("x".repeat(256 << 10))],
            metadata: None,
            extensions: None,
        };
        site.log.append(&task, None, vec![Change::Artifact { artifact, append: false, last: true }]).unwrap();
        tokio::task::yield_now().await;
    }
    site.log.append(&task, None, vec![status(TaskState::Completed, None)]).unwrap();
    let read = tokio::time::timeout(Duration::from_secs(30), read).await.unwrap().unwrap().unwrap();
    assert_eq!(read.len(), 66);
    let late = tokio::time::timeout(Duration::from_secs(30), unread.try_collect::<Vec<_>>()).await.unwrap().unwrap();
    assert!(late == read, "every event, once and in order");
}

/// A request by hand, whatever key the site has: its status and reason.
async fn raw(site: &Site, path: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> Status {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).http2_prior_knowledge().no_proxy();
    let mut request = http.build().unwrap().post(format!("{}{path}", site.url)).header("A2A-Version", "1.0");
    request = request.header("Content-Type", "application/grpc").header("TE", "trailers").body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200, "gRPC has its own statuses");
    assert_eq!(response.headers()["content-type"], "application/grpc");
    Status::from_header_map(response.headers()).unwrap()
}

/// A message in its frame.
fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat()
}

#[tokio::test]
async fn it_is_spoken_under_tls() {
    let tls = ServerTls::from_key(&generate_key().unwrap()).unwrap();
    let site = Site::with(Limits::default(), Some(tls), None).await;
    offer(&site);
    let status = raw(&site, "/lf.a2a.v1.A2AService/GetTask", framed(0, b"\x12\x01x"), &[]).await;
    assert_eq!((status.code(), &*reason(&status)), (Code::NotFound, "TASK_NOT_FOUND"));
}

#[tokio::test]
async fn what_cannot_be_decoded_is_refused() {
    let site = offering().await;
    let service = "/lf.a2a.v1.A2AService";
    let get = format!("{service}/GetTask");
    for (path, body, headers, code) in [
        (&*get, vec![], &[][..], Code::InvalidArgument),
        (&get, vec![0, 0, 0], &[], Code::InvalidArgument),
        (&get, vec![0, 0, 0, 0, 9, 1], &[], Code::InvalidArgument),
        (&get, framed(0, b"\xff\xff\xff"), &[], Code::InvalidArgument),
        // `id` that is not UTF-8.
        (&get, framed(0, b"\x12\x01\xff"), &[], Code::InvalidArgument),
        (&get, framed(7, b""), &[], Code::InvalidArgument),
        (&get, framed(1, b""), &[("grpc-encoding", "gzip")], Code::Unimplemented),
        (&get, vec![0, 0xff, 0xff, 0xff, 0xff], &[], Code::ResourceExhausted),
        (&format!("{service}/Nonsense"), framed(0, b""), &[], Code::Unimplemented),
        ("/grpc.health.v1.Health/Check", framed(0, b""), &[], Code::Unimplemented),
    ] {
        let status = raw(&site, path, body.clone(), headers).await;
        assert_eq!(status.code(), code, "{path} {body:?} {status}");
        reason(&status);
    }
    // Unknown fields are left alone: the task is looked for.
    let status = raw(&site, &get, framed(0, b"\x12\x01x\xfa\x01\x01y"), &[]).await;
    assert_eq!((status.code(), &*reason(&status)), (Code::NotFound, "TASK_NOT_FOUND"));
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn it_is_spoken_only_where_the_card_says_so() {
    let site = Site::start().await;
    let status = client(&site).await.send_message(ask(says("hi"))).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::Unimplemented, "METHOD_NOT_FOUND"));
    offer(&site);
    client(&site).await.send_message(ask(says("hi"))).await.unwrap();
    // The same listener goes on with the others, also over HTTP/1.1 at gRPC's own path.
    assert_eq!(send(post(&site, "/message:send", &text("hi"))).await.0, 200);
    let wrong = plain_client().post(format!("{}/lf.a2a.v1.A2AService/GetTask", site.url));
    let (status, error) = send(wrong.header("Content-Type", "application/grpc")).await;
    assert_eq!((status.as_u16(), &error["error"]["details"][0]["reason"]), (400, &"CONTENT_TYPE_NOT_SUPPORTED".into()));
}
