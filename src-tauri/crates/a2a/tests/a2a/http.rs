//! Both bindings, spoken by hand.

use crate::site::{Site, client_key, contractor_key, holder_key};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tender_a2a::{CONTRACT_EXTENSION, Limits, bearer, wire::TaskState};
use tender_base::{Signer, signed::KeySigner, time::SystemClock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A client without trust: plain HTTP on loopback only.
pub fn plain_client() -> Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}

pub fn request(site: &Site, method: Method, path: &str) -> RequestBuilder {
    plain_client().request(method, format!("{}{path}", site.url)).header("A2A-Version", "1.0")
}

pub fn post(site: &Site, path: &str, body: &Value) -> RequestBuilder {
    request(site, Method::POST, path).header("Content-Type", "application/json").body(body.to_string())
}

pub fn rpc(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": "7", "method": method, "params": params})
}

pub fn text(text: &str) -> Value {
    json!({"message": {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": text}]}})
}

async fn body(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

pub async fn send(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    (response.status(), body(response).await)
}

/// Everything of an event stream: its ids (empty without) and its data.
pub async fn sse(request: RequestBuilder) -> Vec<(String, Value)> {
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    text.split("\n\n")
        .filter_map(|event| {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            Some((field("id:").unwrap_or_default().to_owned(), serde_json::from_str(field("data:")?).unwrap()))
        })
        .collect()
}

#[tokio::test]
async fn both_bindings_answer_the_same_and_echo_the_extension() {
    let site = Site::start().await;
    for path in ["", "/"] {
        let request = post(&site, path, &rpc("SendMessage", text("hi"))).header("A2A-Extensions", CONTRACT_EXTENSION);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["a2a-extensions"], CONTRACT_EXTENSION);
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = body(response).await;
        assert_eq!((&body["id"], &body["result"]["message"]["parts"]), (&json!("7"), &json!([{"text": "hi"}])));
    }
    let response = request(&site, Method::POST, "/message:send")
        .body(text("hi").to_string())
        .header("Content-Type", "application/a2a+json")
        .header("X-A2A-Extensions", format!("urn:other, {CONTRACT_EXTENSION}"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "application/a2a+json");
    assert_eq!(response.headers()["a2a-extensions"], CONTRACT_EXTENSION);
    assert_eq!(body(response).await["message"]["parts"], json!([{"text": "hi"}]));

    let plain = post(&site, "/message:send", &text("hi")).header("Accept", "application/json").send().await.unwrap();
    assert_eq!(plain.headers()["content-type"], "application/json");
    assert!(plain.headers().get("a2a-extensions").is_none());
}

#[tokio::test]
async fn every_operation_has_its_method_and_its_route() {
    let site = Site::offering().await;
    let id = site.task(&site.anyone(), TaskState::Completed);
    let (_, task) = send(post(&site, "/", &rpc("GetTask", json!({"id": id})))).await;
    assert_eq!(task["result"]["status"]["state"], "TASK_STATE_COMPLETED");
    let (_, list) = send(post(&site, "/", &rpc("ListTasks", json!({"pageSize": 3})))).await;
    assert_eq!((&list["result"]["pageSize"], &list["result"]["nextPageToken"]), (&json!(3), &json!("")));
    let (_, cancel) = send(post(&site, "/", &rpc("CancelTask", json!({"id": id})))).await;
    assert_eq!(cancel["error"]["code"], -32002);
    let (_, card) = send(post(&site, "/", &rpc("GetExtendedAgentCard", json!({})))).await;
    assert!(card["result"]["supportedInterfaces"][0]["url"].as_str().unwrap().ends_with("extended"));
    let (status, _) = send(request(&site, Method::GET, "/extendedAgentCard")).await;
    assert_eq!(status, StatusCode::OK);

    let (status, task) = send(request(&site, Method::GET, &format!("/tasks/{id}?historyLength=0"))).await;
    assert_eq!((status, &task["id"]), (StatusCode::OK, &json!(id)));
    let query = "/tasks?pageSize=7&status=TASK_STATE_WORKING&statusTimestampAfter=2026-11-21T08:00:00Z";
    let (status, list) = send(request(&site, Method::GET, query)).await;
    assert_eq!((status, &list["pageSize"]), (StatusCode::OK, &json!(7)));
    let (status, cancel) = send(request(&site, Method::POST, &format!("/tasks/{id}:cancel"))).await;
    assert_eq!((status, &cancel["error"]["status"]), (StatusCode::BAD_REQUEST, &json!("FAILED_PRECONDITION")));
    let (_, cancel) = send(post(&site, &format!("/tasks/{id}%3Acancel"), &json!({"metadata": {"a": 1}}))).await;
    assert_eq!(cancel["error"]["details"][0]["reason"], "TASK_NOT_CANCELABLE");
    let working = site.task(&site.anyone(), TaskState::Working);
    for path in ["/tasks?status=TASK_STATE_WORKING", "/tasks?status=TASK_STATE_WORKING&context_id=context"] {
        let (_, list) = send(request(&site, Method::GET, path)).await;
        assert_eq!((&list["totalSize"], &list["tasks"][0]["id"]), (&json!(1), &json!(working)), "{path}");
    }
    let (status, cancel) = send(request(&site, Method::POST, &format!("//any-tenant/tasks/{working}:cancel"))).await;
    assert_eq!((status, &cancel["status"]["state"]), (StatusCode::OK, &json!("TASK_STATE_CANCELED")));
}

#[tokio::test]
async fn only_version_1_0_is_spoken_on_both_bindings() {
    let site = Site::start().await;
    let http = plain_client();
    for version in ["", "0.3", "1.1", "1.00", "2.0"] {
        let request = |path: &str, body: Value| {
            let request = http.post(format!("{}{path}", site.url)).header("Content-Type", "application/json");
            if version.is_empty() { request } else { request.header("A2A-Version", version) }.body(body.to_string())
        };
        let (status, error) = send(request("/", rpc("SendMessage", text("x")))).await;
        assert_eq!((status, &error["error"]["code"]), (StatusCode::OK, &json!(-32009)), "{version}");
        assert_eq!(error["id"], "7");
        let (status, error) = send(request("/message:send", text("x"))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{version}");
        assert_eq!(error["error"]["details"][0]["reason"], "VERSION_NOT_SUPPORTED");
        assert!(error["error"]["details"][0]["metadata"]["hint"].as_str().unwrap().contains("A2A-Version: 1.0"));
    }
    let by_query = http.post(format!("{}/message:send?A2A-Version=1.0.1", site.url));
    let by_query = by_query.header("Content-Type", "application/json").body(text("x").to_string());
    assert_eq!(send(by_query).await.0, StatusCode::OK);
}

#[tokio::test]
async fn methods_of_older_versions_are_told_their_successor() {
    let site = Site::start().await;
    for (old, new) in [("tasks/send", "SendMessage"), ("message/send", "SendMessage"), ("tasks/get", "GetTask")] {
        let body = rpc(old, json!({})).to_string();
        let request = plain_client().post(&site.url).header("Content-Type", "application/json").body(body);
        let (_, error) = send(request).await;
        assert_eq!(error["error"]["code"], -32601);
        assert!(error["error"]["data"][0]["metadata"]["hint"].as_str().unwrap().contains(new), "{error}");
    }
    let (status, error) = send(post(&site, "/v1/message:send", &text("x"))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(error["error"]["details"][0]["metadata"]["hint"].as_str().unwrap().contains("/v1"));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let site = Site::without_push().await;
    let message = |patch: Value| {
        let mut params = text("x");
        for (name, value) in patch.as_object().unwrap() {
            params["message"][name] = value.clone();
        }
        params
    };
    let long = "x".repeat(257);
    for (params, code, named) in [
        (json!({}), -32602, "message"),
        (message(json!({"messageId": ""})), -32602, "message.messageId"),
        (message(json!({"messageId": 5})), -32602, "message.messageId"),
        (message(json!({"contextId": long})), -32602, "message.contextId"),
        (message(json!({"role": "ROLE_AGENT"})), -32602, "message.role"),
        (message(json!({"role": "user"})), -32602, "message.role"),
        (message(json!({"parts": []})), -32602, "message.parts"),
        (message(json!({"parts": [{"text": "x"}, {"kind": "text"}]})), -32602, "message.parts[1]"),
        (message(json!({"parts": [{"raw": "!"}]})), -32602, "message.parts[0]"),
        (message(json!({"parts": [{"text": "x", "mediaType": "image/png"}]})), -32005, "message.parts[0].mediaType"),
        (message(json!({"extensions": [CONTRACT_EXTENSION]})), -32602, "text"),
        (json!({"message": text("x")["message"], "configuration": {"historyLength": -1}}), -32602, "historyLength"),
        (message(json!({"message_id": "m2"})), -32602, "message.messageId is there twice"),
        (message(json!({"parts": [{"text": "x", "data": 1}]})), -32602, "text and data"),
        (message(json!({"parts": {"text": "x"}})), -32602, "message.parts"),
        (message(json!({"parts": vec![json!({"text": "x"}); 65]})), -32602, "message.parts"),
        (message(json!({"taskId": "none"})), -32001, "none"),
        (message(json!({"parts": [{"text": "extended"}]})), -32008, "urn:test:extension"),
        (json!({"message": [], "configuration": {}}), -32602, "message"),
        (
            json!({"message": text("x")["message"], "configuration": {"returnImmediately": "yes"}}),
            -32602,
            "returnImmediately",
        ),
        (
            json!({"message": text("x")["message"], "configuration": {"taskPushNotificationConfig": {"url": "http://x"}}}),
            -32003,
            "push",
        ),
    ] {
        let (_, error) = send(post(&site, "/", &rpc("SendMessage", params.clone()))).await;
        assert_eq!(error["error"]["code"], code, "{params} {error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(named), "{params} {error}");
        assert!(!error["error"]["data"][0]["metadata"]["hint"].as_str().unwrap().is_empty());
        let (status, error) = send(post(&site, "/message:send", &params)).await;
        let expected = if code == -32001 { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
        assert_eq!(status, expected, "{params} {error}");
    }
    for path in [
        "/tasks?pageToken=x",
        "/tasks?pageToken=e30",
        "/tasks?pageSize=101",
        "/tasks?includeArtifacts=yes",
        "/tasks?statusTimestampAfter=yesterday",
        "/tasks?pageSize=1&page_size=1",
        "/tasks?pageSize=0",
        "/tasks?pageSize=x",
        "/tasks?status=WORKING",
        "/tasks/x?historyLength=-1",
        &format!("/tasks?{}", (0..33).map(|number| format!("x{number}=&")).collect::<String>()),
    ] {
        let (status, error) = send(request(&site, Method::GET, path)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(error["error"]["status"], "INVALID_ARGUMENT", "{path}");
    }
    for (method, path) in
        [(Method::POST, "/tasks/x/pushNotificationConfigs"), (Method::DELETE, "/tasks/x/pushNotificationConfigs/y")]
    {
        let (_, error) = send(request(&site, method, path)).await;
        assert_eq!(error["error"]["details"][0]["reason"], "PUSH_NOTIFICATION_NOT_SUPPORTED");
    }
    // A problem of the agent keeps its code and its hint.
    let (_, error) = send(post(&site, "/", &rpc("SendMessage", text("problem")))).await;
    assert_eq!(error["error"]["code"], -32004);
    assert_eq!(error["error"]["data"][0]["metadata"], json!({"code": "over_limit", "hint": "pay first"}));
    // What the agent does not have is no task that is missing.
    let (status, error) = send(post(&site, "/message:send", &text("lacks"))).await;
    assert_eq!((status, &error["error"]["details"][0]["reason"]), (StatusCode::BAD_REQUEST, &json!("INVALID_PARAMS")));
    assert_eq!(error["error"]["details"][0]["metadata"]["code"], "not_found");
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_the_right_code() {
    let site = Site::start().await;
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for (body, code) in [
        ("{", -32700),
        ("", -32700),
        ("\u{feff}{}", -32700),
        (&deep, -32700),
        ("[]", -32600),
        ("\"x\"", -32600),
        ("{}", -32600),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"GetTask"}"#, -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"GetTask"}"#, -32600),
        (r#"{"jsonrpc":"2.0","method":"GetTask"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":["x"]}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":[1]}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"Nonsense"}"#, -32601),
        (r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"GetTask"}"#, -32700),
        (r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"x","id":"y"}}"#, -32700),
    ] {
        let request = request(&site, Method::POST, "/").header("Content-Type", "application/json");
        let (status, error) = send(request.body(body.to_owned())).await;
        assert_eq!((status, &error["error"]["code"]), (StatusCode::OK, &json!(code)), "{body:.60}");
    }
    for media_type in ["text/plain", "application/x-www-form-urlencoded"] {
        let wrong = |path| {
            request(&site, Method::POST, path)
                .header("Content-Type", media_type)
                .body(rpc("GetTask", json!({})).to_string())
        };
        assert_eq!(send(wrong("/")).await.1["error"]["code"], -32005);
        let (status, error) = send(wrong("/message:send")).await;
        assert_eq!((status, &error["error"]["status"]), (StatusCode::BAD_REQUEST, &json!("INVALID_ARGUMENT")));
    }
    let get = send(request(&site, Method::GET, "/")).await;
    assert_eq!(get.0, StatusCode::METHOD_NOT_ALLOWED);
    assert!(site.asked().is_empty(), "nothing of this reaches the agent");
}

#[tokio::test]
async fn strangers_send_little_and_peers_much() {
    let site = Site::start().await;
    let big = rpc("SendMessage", text(&"x".repeat(70_000)));
    let with = |key: &KeySigner| post(&site, "/", &big).bearer_auth(bearer(key, &contractor_key().did(), &SystemClock));
    let (status, error) = send(post(&site, "/", &big)).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!(-32600)));
    assert!(error["error"]["data"][0]["metadata"]["hint"].as_str().unwrap().contains("pair"));
    // A key is easily made: it proves no acquaintance.
    assert_eq!(send(with(&KeySigner::from_seed(&[9; 32]))).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send(with(&client_key())).await.0, StatusCode::OK);
    // Chunked: the length is not announced.
    let chunks = futures::stream::iter((0..8).map(|_| Ok::<_, std::io::Error>(vec![b' '; 10_000])));
    let chunked = request(&site, Method::POST, "/message:send")
        .header("Content-Type", "application/json")
        .body(reqwest::Body::wrap_stream(chunks));
    assert_eq!(send(chunked).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn who_asks_too_often_waits() {
    let limits = Limits { requests_per_address: 1, ..Limits::default() };
    let site = Site::with(limits, None, None).await;
    let statuses =
        futures::future::join_all((0..4).map(|_| post(&site, "/", &rpc("SendMessage", text("x"))).send())).await;
    let refused: Vec<_> =
        statuses.into_iter().map(Result::unwrap).filter(|it| it.status() == StatusCode::TOO_MANY_REQUESTS).collect();
    assert_eq!(refused.len(), 2);
    assert_eq!(refused[0].headers()["retry-after"], "1");
    // Before the token is looked at, and for the card too.
    let (status, error) = send(post(&site, "/message:send", &json!({})).bearer_auth("nonsense")).await;
    assert_eq!((status, &error["error"]["status"]), (StatusCode::TOO_MANY_REQUESTS, &json!("RESOURCE_EXHAUSTED")));
    let card = request(&site, Method::GET, "/.well-known/agent-card.json").send().await.unwrap();
    assert_eq!(card.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn an_address_has_so_many_streams_and_connections() {
    let limits = Limits { streams_per_address: 1, connections_per_address: 2, ..Limits::default() };
    let site = Site::with(limits, None, None).await;
    let http = plain_client();
    let token = bearer(&client_key(), &contractor_key().did(), &SystemClock);
    let award = serde_json::to_value(tender_a2a::contract::wrap_award(
        &tender_base::documents::Message::Award(crate::site::award()),
        b"never".to_vec(),
    ));
    let open = || {
        let request =
            http.post(format!("{}/message:stream", site.url)).bearer_auth(&token).header("A2A-Version", "1.0");
        request
            .header("Content-Type", "application/json")
            .body(json!({"message": award.as_ref().unwrap()}).to_string())
            .send()
    };
    let first = open().await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let second = open().await.unwrap();
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(second);
    // Two connections are open now; a third is closed at once.
    assert!(plain_client().get(&site.url).send().await.is_err());
    drop(first);
    for _ in 0..50 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if open().await.is_ok_and(|response| response.status() == StatusCode::OK) {
            return;
        }
    }
    panic!("the place did not come back");
}

#[tokio::test]
async fn who_waits_takes_a_place_and_is_refused_before_the_message_does_anything() {
    let limits = Limits { streams_per_address: 1, ..Limits::default() };
    let site = Site::with(limits, None, None).await;
    let waiting = tokio::spawn(post(&site, "/message:send", &text("work")).send());
    while site.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let second = post(&site, "/message:send", &text("work")).send().await.unwrap();
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.headers()["retry-after"], "1");
    assert_eq!(site.asked(), ["work"]);
    let mut unhurried = text("work");
    unhurried["configuration"] = json!({"returnImmediately": true});
    assert_eq!(send(post(&site, "/message:send", &unhurried)).await.0, StatusCode::OK);
    waiting.abort();
}

#[tokio::test]
async fn a_large_message_takes_no_place_while_its_task_is_waited_for() {
    let limits = Limits { large_bodies: 1, ..Limits::default() };
    let site = Site::with(limits, None, None).await;
    let with = |words: &str, path: &str| {
        let mut message = text(words);
        message["message"]["messageId"] = json!(format!("{words} {path}"));
        message["message"]["metadata"] = json!({"padding": "x".repeat(70_000)});
        let message = if path == "/" { rpc("SendMessage", message) } else { message };
        post(&site, path, &message).bearer_auth(bearer(&client_key(), &contractor_key().did(), &SystemClock))
    };
    for path in ["/", "/message:send"] {
        let waiting = tokio::spawn(with("work", path).send());
        while site.asked().last().is_none_or(|last| last != "work") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let next = tokio::time::timeout(Duration::from_secs(5), send(with("hi", path))).await;
        assert_eq!(next.expect("the place was not given back").0, StatusCode::OK, "{path}");
        waiting.abort();
    }
}

/// A message of more than 64 KiB.
fn large(words: &str, id: usize) -> Value {
    let mut message = text(words);
    message["message"]["messageId"] = json!(id.to_string());
    message["message"]["metadata"] = json!({"padding": "x".repeat(70_000)});
    message
}

fn signed(signer: &KeySigner) -> String {
    bearer(signer, &contractor_key().did(), &SystemClock)
}

#[tokio::test]
async fn who_holds_an_api_key_sends_no_more_by_signing_with_it() {
    let site = Site::start().await;
    let holder = holder_key(1);
    let key = format!("tender_{}", URL_SAFE_NO_PAD.encode([101; 32]));
    for (token, kib, expected) in [
        (&key, 1000, "200"),
        (&signed(&holder), 1000, "200"),
        (&key, 3000, "413"),
        (&signed(&holder), 3000, "413"),
        (&signed(&client_key()), 3000, "200"),
        (&signed(&KeySigner::from_seed(&[77; 32])), 65, "413"),
    ] {
        let mut message = text("hi");
        message["message"]["messageId"] = json!(format!("{kib} {}", token.len()));
        message["message"]["metadata"] = json!({"padding": "x".repeat(kib << 10)});
        let message = message.to_string();
        let mut stream = announcing(&site, token, message.len()).await;
        // Who announces too much is refused unread.
        if expected == "200" {
            stream.write_all(message.as_bytes()).await.unwrap();
        }
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(std::str::from_utf8(&status).unwrap(), format!("HTTP/1.1 {expected}"), "{kib} KiB");
    }
}

/// A connection on which a message of so many bytes is announced.
async fn announcing(site: &Site, token: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST /message:send HTTP/1.1\r\nHost: {}\r\nA2A-Version: 1.0\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n",
        site.address,
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn who_holds_an_api_key_keeps_nobody_elses_large_message_waiting() {
    let limits = Limits { large_bodies: 1, ..Limits::default() };
    let site = Site::with(limits, None, None).await;
    let soon = async |signer: &KeySigner, id| {
        let sending = send(post(&site, "/message:send", &large("hi", id)).bearer_auth(signed(signer)));
        tokio::time::timeout(Duration::from_secs(5), sending).await.map(|(status, _)| status)
    };
    // Announces a megabyte on each of several connections, and stops after the first bytes of it.
    let mut dripping = Vec::new();
    for _ in 0..3 {
        let mut stream = announcing(&site, &signed(&holder_key(1)), 1_000_000).await;
        stream.write_all(b"{").await.unwrap();
        dripping.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(soon(&client_key(), 1).await, Ok(StatusCode::OK), "a peer waits for the holder of a key");
    assert_eq!(soon(&holder_key(2), 2).await, Ok(StatusCode::OK), "another key waits");
    assert!(soon(&holder_key(1), 3).await.is_err(), "one key has two places");
}

#[tokio::test]
async fn a_large_message_takes_no_place_while_the_agent_thinks_about_it() {
    let site = Site::start().await;
    let mut thinking = Vec::new();
    for id in 0..3 {
        let request = post(&site, "/message:send", &large("price", id)).bearer_auth(signed(&holder_key(1)));
        thinking.push(tokio::spawn(request.send()));
        while site.asked().len() <= id {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(!thinking.iter().any(|thinking| thinking.is_finished()));
        }
    }
    let next = send(post(&site, "/message:send", &large("hi", 9)).bearer_auth(signed(&holder_key(1))));
    let next = tokio::time::timeout(Duration::from_secs(5), next).await;
    assert_eq!(next.expect("the place was not given back").0, StatusCode::OK);
}

#[tokio::test]
async fn the_card_is_cached() {
    let site = Site::start().await;
    for path in ["/.well-known/agent-card.json", "/.well-known/agent.json"] {
        let get = || plain_client().get(format!("{}{path}", site.url));
        let first = get().send().await.unwrap();
        assert_eq!(first.headers()["cache-control"], "public, max-age=60");
        assert_eq!(first.headers()["last-modified"], "Sat, 21 Nov 2026 08:00:00 GMT");
        let etag = first.headers()["etag"].clone();
        for (name, value, status) in [
            ("If-None-Match", etag.to_str().unwrap(), 304),
            ("If-None-Match", &format!("\"x\", W/{}", etag.to_str().unwrap()), 304),
            ("If-None-Match", "\"x\"", 200),
            ("If-Modified-Since", "Sat, 21 Nov 2026 08:00:00 GMT", 304),
            ("If-Modified-Since", "Sat, 21 Nov 2026 07:59:59 GMT", 200),
            ("If-Modified-Since", "yesterday", 200),
        ] {
            assert_eq!(get().header(name, value).send().await.unwrap().status().as_u16(), status, "{name}: {value}");
        }
    }
}
