//! Our client as anybody's: agents that are no peers, by both bindings, with all that goes wrong on the way.

use crate::{
    client::Relay,
    site::{Site, contractor_key, now, signed_card},
};
use axum::{
    Router,
    body::{Body, Bytes},
    http::{Method, Request, Response, StatusCode, header},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tender_a2a::{
    ForeignClient, Talk,
    log::Change,
    wire::{Artifact, Part, TRANSPORT_PROTOCOL_HTTP_JSON, TRANSPORT_PROTOCOL_JSONRPC, TaskState},
};
use tender_base::{Code, Problem, Sha256, Signer, signed::KeySigner};

const BINDINGS: [&str; 2] = [TRANSPORT_PROTOCOL_JSONRPC, TRANSPORT_PROTOCOL_HTTP_JSON];

/// The site with a card that offers this binding only, by streams or not.
fn offer(site: &Site, binding: &str, streaming: bool) {
    let mut card = signed_card(format!("{}/", site.url), None);
    card.supported_interfaces.retain(|interface| interface.protocol_binding == binding);
    card.capabilities.streaming = Some(streaming);
    site.source.publish(&card, now()).unwrap();
}

async fn client(address: &str) -> ForeignClient {
    ForeignClient::connect(address, None, None).await.unwrap()
}

async fn say(talk: &mut Talk, text: &str) -> Result<(), Problem> {
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    talk.say(vec![Part::text(text)], until, |_| {}).await
}

fn status(state: TaskState) -> Change {
    Change::Status { state, message: None, metadata: None }
}

fn piece(text: &str, append: bool) -> Change {
    let artifact = Artifact {
        artifact_id: "text".into(),
        name: None,
        description: None,
        parts: vec![Part::text(text)],
        metadata: None,
        extensions: None,
    };
    Change::Artifact { artifact, append, last: false }
}

#[tokio::test]
async fn an_agent_is_asked_by_either_binding_with_streams_and_without() {
    for binding in BINDINGS {
        for streaming in [true, false] {
            let site = Site::start().await;
            offer(&site, binding, streaming);
            let client = client(&site.url).await;
            let mut talk = client.talk();
            say(&mut talk, "hello").await.unwrap();
            assert_eq!((talk.answer().text().as_str(), &talk.answer().state), ("hello", &None), "{binding}");
            let mut talk = client.talk();
            say(&mut talk, "play").await.unwrap();
            assert_eq!(talk.answer().state, Some(TaskState::Completed), "{binding} {streaming}");
            // What asks back goes on in its own task.
            let mut talk = client.talk();
            say(&mut talk, "ask").await.unwrap();
            let task = talk.answer().task.clone();
            assert_eq!(talk.answer().state, Some(TaskState::InputRequired));
            say(&mut talk, "more").await.unwrap();
            assert_eq!((&talk.answer().task, &talk.answer().state), (&task, &Some(TaskState::InputRequired)));
            let mut talk = client.talk();
            let problem = say(&mut talk, "problem").await.unwrap_err();
            assert_eq!((problem.code, problem.hint.as_str()), (Code::OverLimit, "pay first"), "{binding}");
        }
    }
}

#[tokio::test]
async fn a_cut_stream_is_gone_on_with_after_its_last_event_each_event_once() {
    for binding in BINDINGS {
        let site = Site::start().await;
        offer(&site, binding, true);
        let relay = Relay::start(site.address).await;
        let client = client(&format!("http://{}", relay.address)).await;
        let mut talk = client.talk();
        let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let talking = tokio::spawn(async move {
            let until = tokio::time::Instant::now() + Duration::from_secs(30);
            let told = talk.say(vec![Part::text("work")], until, |answer| sender.send(answer.clone()).unwrap()).await;
            told.map(|()| talk.answer().clone())
        });
        let first = heard.recv().await.unwrap();
        let task = first.task.unwrap();
        let heard_of = async |heard: &mut tokio::sync::mpsc::UnboundedReceiver<tender_a2a::Answer>, text: &str| {
            while heard.recv().await.unwrap().text() != text {}
        };
        site.log.append(&task, None, vec![status(TaskState::Working), piece("a", false)]).unwrap();
        heard_of(&mut heard, "a").await;
        // Cut three times; what happens meanwhile is told afterwards, and nothing twice.
        for (more, all) in [("b", "ab"), ("c", "abc"), ("d", "abcd")] {
            relay.turn_to(site.address);
            site.log.append(&task, None, vec![piece(more, true)]).unwrap();
            heard_of(&mut heard, all).await;
        }
        relay.turn_to(site.address);
        site.log.append(&task, None, vec![piece("e", true), status(TaskState::Completed)]).unwrap();
        let answer = talking.await.unwrap().unwrap();
        assert_eq!((answer.text().as_str(), answer.state), ("abcde", Some(TaskState::Completed)), "{binding}");
    }
}

#[tokio::test]
async fn who_does_not_finish_in_time_is_asked_to_stop() {
    let site = Site::start().await;
    let client = client(&site.url).await;
    let mut talk = client.talk();
    let until = tokio::time::Instant::now() + Duration::from_millis(500);
    let problem = talk.say(vec![Part::text("work")], until, |_| {}).await.unwrap_err();
    assert_eq!(problem.code, Code::Expired);
    talk.cancel().await;
    let tasks = client.tasks(10).await.unwrap();
    assert_eq!(tasks[0].status.state, TaskState::Canceled);
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    for binding in BINDINGS {
        let site = Site::start().await;
        offer(&site, binding, true);
        let made: HashSet<String> = (0..230).map(|_| site.task(&site.anyone(), TaskState::Completed)).collect();
        let client = client(&site.url).await;
        let tasks = client.tasks(1000).await.unwrap();
        assert_eq!(tasks.len(), 230);
        assert_eq!(tasks.into_iter().map(|task| task.id).collect::<HashSet<_>>(), made, "{binding}");
        assert_eq!(client.tasks(130).await.unwrap().len(), 130);
    }
}

/// An agent made of one function of method, path, headers and body.
type Answer = Response<Body>;
async fn agent(answer: impl Fn(&Request<()>, Value) -> Answer + Clone + Send + Sync + 'static) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            answer(&Request::from_parts(parts, ()), body)
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

fn card(address: &str) -> Value {
    json!({
        "name": "stranger", "description": "d", "version": "1", "defaultInputModes": [], "defaultOutputModes": [],
        "capabilities": {"streaming": true}, "skills": [],
        "supportedInterfaces": [{"url": format!("{address}/a2a"), "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "tenant": "blue"}],
    })
}

fn own_card(request: &Request<()>) -> Value {
    card(&format!("http://{}", request.headers()["host"].to_str().unwrap()))
}

fn ok(value: &Value) -> Answer {
    Response::builder().header("content-type", "application/json").body(Body::from(value.to_string())).unwrap()
}

fn is_card(request: &Request<()>) -> bool {
    request.method() == Method::GET && request.uri().path().ends_with("/.well-known/agent-card.json")
}

fn status_code(code: u16, headers: &[(&str, &str)]) -> Answer {
    let mut response = Response::builder().status(code);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::empty()).unwrap()
}

fn message(text: &str) -> Value {
    json!({"messageId": "x", "role": "ROLE_AGENT", "parts": [{"text": text}]})
}

/// A body; one that is broken off after a moment has no end.
fn bytes(bytes: Bytes, broken: bool) -> Body {
    let end = stream::once(async move {
        if !broken {
            return Ok(Bytes::new());
        }
        // What came before must have left.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(std::io::Error::other("cut"))
    });
    Body::from_stream(stream::iter([Ok(bytes)]).chain(end))
}

fn events(responses: &[Value], broken: bool) -> Answer {
    let text: String = responses.iter().map(|it| format!("data: {}\n\n", json!({"result": it}))).collect();
    let body = bytes(text.into(), broken);
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_looked_for_and_not_sent_again() {
    let sent: Arc<Mutex<Vec<Value>>> = Arc::default();
    let seen = sent.clone();
    let address = agent(move |request, body| {
        if is_card(request) {
            return ok(&own_card(request));
        }
        assert_eq!(
            (&body["params"]["tenant"], &request.headers()["a2a-version"]),
            (&json!("blue"), &"1.0".parse().unwrap())
        );
        let task = |id: &str, state: &str, said: &Value| {
            json!({"id": id, "contextId": "c", "status": {"state": state}, "history": [said],
                "artifacts": [{"artifactId": "a", "parts": [{"text": "found"}]}]})
        };
        let other = json!({"messageId": "other", "role": "ROLE_USER", "parts": [{"text": "x"}]});
        match body["method"].as_str().unwrap() {
            "SendStreamingMessage" => {
                seen.lock().unwrap().push(body["params"]["message"].clone());
                events(&[], true)
            }
            "ListTasks" => {
                let second = body["params"]["pageToken"] == json!("two");
                let said = if second { seen.lock().unwrap()[0].clone() } else { other };
                let id = if second { "mine" } else { "not mine" };
                ok(&json!({"result": {"tasks": [task(id, "TASK_STATE_WORKING", &said)], "pageSize": 1, "totalSize": 2,
                    "nextPageToken": if second { "" } else { "two" }}}))
            }
            "SubscribeToTask" => ok(&json!({"error": {"code": -32004, "message": "no streams today"}})),
            _ => ok(&json!({"result": task("mine", "TASK_STATE_COMPLETED", &other)})),
        }
    })
    .await;
    let client = client(&format!("http://{address}")).await;
    let mut talk = client.talk();
    say(&mut talk, "write").await.unwrap();
    assert_eq!((talk.answer().text().as_str(), talk.answer().task.as_deref()), ("found", Some("mine")));
    assert_eq!(sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_agent_that_asks_to_wait_is_asked_again_then_and_not_after_an_hour() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let address = agent(move |request, body| {
        if is_card(request) {
            return ok(&own_card(request));
        }
        let text = body["params"]["message"]["parts"][0]["text"].as_str().unwrap();
        match (text, count.fetch_add(1, Ordering::SeqCst)) {
            ("short", 0) => status_code(503, &[("retry-after", "1")]),
            ("short", 1) => status_code(429, &[("retry-after", "0")]),
            ("long", _) => status_code(429, &[("retry-after", "3600")]),
            ("never", _) => status_code(429, &[("retry-after", "0")]),
            _ => events(&[json!({"message": message("here")})], false),
        }
    })
    .await;
    let client = client(&format!("http://{address}")).await;
    let (mut talk, began) = (client.talk(), Instant::now());
    say(&mut talk, "short").await.unwrap();
    assert_eq!((talk.answer().text().as_str(), asked.swap(0, Ordering::SeqCst)), ("here", 3));
    assert!(began.elapsed() >= Duration::from_secs(1));
    for (text, times) in [("long", 1), ("never", 4)] {
        let problem = say(&mut client.talk(), text).await.unwrap_err();
        assert_eq!((problem.code, asked.swap(0, Ordering::SeqCst)), (Code::TooMany, times), "{text}");
    }
}

#[tokio::test]
async fn a_file_is_fetched_from_the_agent_itself_in_parts_and_compared_with_its_hash() {
    const TEXT: &str = "a long text that comes in two parts";
    let address = agent(move |request, body| {
        let origin = format!("http://{}", request.headers()["host"].to_str().unwrap());
        if is_card(request) {
            return ok(&own_card(request));
        }
        if request.method() == Method::GET {
            assert_eq!(request.uri().path(), "/files/1");
            let part = |from: usize, to: usize| bytes(Bytes::from(&TEXT.as_bytes()[from..to]), to < TEXT.len());
            return match request.headers().get(header::RANGE) {
                None => Response::builder().header("etag", "\"1\"").body(part(0, 10)).unwrap(),
                Some(range) => {
                    assert_eq!(
                        (range.to_str().unwrap(), &request.headers()[header::IF_RANGE]),
                        ("bytes=10-", &"\"1\"".parse().unwrap())
                    );
                    let all = format!("bytes 10-{}/{}", TEXT.len() - 1, TEXT.len());
                    let response = Response::builder().status(StatusCode::PARTIAL_CONTENT);
                    response.header("content-range", all).body(part(10, TEXT.len())).unwrap()
                }
            };
        }
        let (wanted, sha256) = match body["params"]["message"]["parts"][0]["text"].as_str().unwrap() {
            "mine" => (format!("{origin}/files/1"), Sha256::of(TEXT.as_bytes())),
            "wrong" => (format!("{origin}/files/1"), Sha256::of(b"another")),
            "large" => (format!("{origin}/files/1"), Sha256::of(b"large")),
            _ => ("http://127.0.0.1:1/files/1".to_owned(), Sha256::of(b"")),
        };
        let bytes = if sha256 == Sha256::of(b"large") { 1 << 40 } else { TEXT.len() as u64 };
        let part = json!({"url": wanted, "mediaType": "text/plain",
            "metadata": {"urn:tender:a2a:contract:v1": {"sha256": sha256, "bytes": bytes}}});
        events(
            &[json!({"task": {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"},
            "artifacts": [{"artifactId": "a", "parts": [part]}]}})],
            false,
        )
    })
    .await;
    let client = client(&format!("http://{address}")).await;
    let mut talk = client.talk();
    say(&mut talk, "mine").await.unwrap();
    assert_eq!(talk.answer().text(), TEXT);
    for (text, code) in [("wrong", Code::Forged), ("elsewhere", Code::Forbidden), ("large", Code::TooLarge)] {
        assert_eq!(say(&mut client.talk(), text).await.unwrap_err().code, code, "{text}");
    }
}

#[tokio::test]
async fn a_card_is_kept_as_long_as_it_says_and_then_compared_by_its_etag() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let address = agent(move |request, _| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        let life = if request.uri().path().starts_with("/long") { "max-age=1000" } else { "max-age=0" };
        if first {
            let mut answer = ok(&own_card(request));
            answer.headers_mut().insert("cache-control", life.parse().unwrap());
            answer.headers_mut().insert("etag", "\"7\"".parse().unwrap());
            return answer;
        }
        assert_eq!(request.headers()["if-none-match"], "\"7\"");
        status_code(304, &[])
    })
    .await;
    for (path, times) in [("/long", 1), ("/short", 2)] {
        asked.store(0, Ordering::SeqCst);
        let client = client(&format!("http://{address}{path}")).await;
        let card = client.card();
        client.refresh().await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), times, "{path}");
        assert!(Arc::ptr_eq(&client.card(), &card));
    }
}

#[tokio::test]
async fn cards_that_cannot_be_used_say_why() {
    let address = agent(|request, _| {
        let mut card = own_card(request);
        match request.uri().path().split('/').nth(1).unwrap() {
            "large" => card["description"] = json!("x".repeat(70_000)),
            "old" => card["supportedInterfaces"][0]["protocolVersion"] = json!("0.3"),
            "plain" => card["supportedInterfaces"][0]["url"] = json!("http://192.0.2.1/a2a"),
            "required" => card["capabilities"]["extensions"] = json!([{"uri": "urn:other", "required": true}]),
            "text" => return Response::new(Body::from("<html>")),
            "moved" => return status_code(301, &[("location", "/.well-known/agent-card.json")]),
            _ => {}
        }
        ok(&card)
    })
    .await;
    for (path, code, says) in [
        ("large", Code::TooLarge, "65536"),
        ("old", Code::Invalid, "1.0"),
        ("plain", Code::Invalid, "not encrypted"),
        ("required", Code::Invalid, "urn:other"),
        ("text", Code::Invalid, "card"),
        ("moved", Code::Invalid, "301"),
    ] {
        let problem = ForeignClient::connect(&format!("http://{address}/{path}"), None, None).await.unwrap_err();
        assert!(problem.code == code && problem.message.contains(says), "{path}: {problem}");
    }
    let problem = ForeignClient::connect("http://192.0.2.1", None, None).await.unwrap_err();
    assert_eq!(problem.code, Code::Invalid, "no TLS");
    // The address of the card itself will do as well.
    client(&format!("http://{address}/.well-known/agent-card.json")).await;
}

#[tokio::test]
async fn a_signature_counts_when_its_key_is_pinned_and_a_key_goes_where_the_card_wants_it() {
    let site = Site::start().await;
    ForeignClient::connect(&site.url, Some(contractor_key().did()), None).await.unwrap();
    let stranger = KeySigner::from_seed(&[9; 32]).did();
    let problem = ForeignClient::connect(&site.url, Some(stranger), None).await.unwrap_err();
    assert_eq!(problem.code, Code::Forged);

    let address = agent(|request, _| {
        if is_card(request) {
            let mut card = own_card(request);
            match request.uri().path().split('/').nth(1).unwrap() {
                "named" => {
                    card["securitySchemes"] =
                        json!({"k": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key"}}});
                }
                "query" => {
                    card["securitySchemes"] =
                        json!({"k": {"apiKeySecurityScheme": {"location": "query", "name": "key"}}});
                }
                _ => {}
            }
            return ok(&card);
        }
        let sent =
            |name: &str| request.headers().get(name).map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
        let text = format!("{}|{}", sent("x-key"), sent("authorization"));
        events(&[json!({"message": message(&text)})], false)
    })
    .await;
    for (path, expected) in [("named", "secret|"), ("bearer", "|Bearer secret")] {
        let client = ForeignClient::connect(&format!("http://{address}/{path}"), None, Some("secret")).await.unwrap();
        let mut talk = client.talk();
        say(&mut talk, "x").await.unwrap();
        assert_eq!(talk.answer().text(), expected);
    }
    for (path, key) in [("query", "secret"), ("bearer", "with\nbreak")] {
        let refused = ForeignClient::connect(&format!("http://{address}/{path}"), None, Some(key)).await;
        assert_eq!(refused.unwrap_err().code, Code::Invalid);
    }
}

#[tokio::test]
async fn what_an_agent_must_not_say_is_refused() {
    let address = agent(|request, body| {
        if is_card(request) {
            return ok(&own_card(request));
        }
        let task = |id: &str| json!({"task": {"id": id, "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}}});
        let artifact = |text: String| {
            let artifact = json!({"artifactId": "a", "parts": [{"text": text}]});
            json!({"artifactUpdate": {"taskId": "t", "contextId": "c", "append": true, "artifact": artifact}})
        };
        match body["params"]["message"]["parts"][0]["text"].as_str().unwrap_or_default() {
            "two tasks" => events(&[task("t"), task("u")], false),
            "endless" => events(&[&[task("t")][..], &vec![artifact("x".repeat(1 << 20)); 5]].concat(), false),
            "future" => events(&[json!({"hologram": 1}), json!({"message": message("now")})], false),
            _ => ok(&json!({"result": {}})),
        }
    })
    .await;
    let client = client(&format!("http://{address}")).await;
    for (text, code) in [("two tasks", Code::Invalid), ("endless", Code::TooLarge), ("nothing", Code::Invalid)] {
        assert_eq!(say(&mut client.talk(), text).await.unwrap_err().code, code, "{text}");
    }
    let mut talk = client.talk();
    say(&mut talk, "future").await.unwrap();
    assert_eq!(talk.answer().text(), "now", "what is not known is ignored");
}
