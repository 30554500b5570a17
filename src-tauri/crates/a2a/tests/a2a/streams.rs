//! Streams: their order, their ids, going on after a break, and readers that do not read.

use crate::{
    http::{plain_client, post, request, rpc, send, sse, text},
    site::{Site, client_key, contractor_key, status},
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tender_a2a::{
    CONTRACT_EXTENSION, Limits, Owner, bearer,
    contract::OUTPUT,
    log::{Change, Live},
    wire::{Artifact, Part, TaskState},
};
use tender_base::{Signer, time::SystemClock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Each event as its id and its state (or kind).
fn told(events: &[(String, Value)]) -> Vec<String> {
    let of = |(id, data): &(String, Value)| {
        let event = data.get("result").unwrap_or(data);
        let state = event.pointer("/task/status/state").or(event.pointer("/statusUpdate/status/state"));
        let kind = state.and_then(Value::as_str).map(|state| state.trim_start_matches("TASK_STATE_").to_owned());
        let kind = kind.or_else(|| event.as_object()?.keys().next().cloned());
        format!("{id} {}", kind.unwrap_or_default()).trim().to_owned()
    };
    events.iter().map(of).collect()
}

fn subscribe(site: &Site, task: &str) -> RequestBuilder {
    request(site, Method::GET, &format!("/tasks/{task}:subscribe"))
}

fn artifact(text: &str, append: bool) -> Change {
    let artifact = Artifact {
        artifact_id: "a".into(),
        name: None,
        description: None,
        parts: vec![Part::text(text)],
        metadata: None,
        extensions: None,
    };
    Change::Artifact { artifact, append, last: append }
}

/// Appends after a while, so that who subscribed meanwhile sees it as an event.
fn later(site: &Site, task: &str, changes: Vec<Change>) {
    let (log, task) = (site.log.clone(), task.to_owned());
    tokio::spawn(async move {
        for change in changes {
            tokio::time::sleep(Duration::from_millis(80)).await;
            log.append(&task, None, vec![change]).unwrap();
        }
    });
}

fn whole_life() -> Vec<Change> {
    vec![
        status(TaskState::Working, None),
        artifact("one ", false),
        artifact("two", true),
        status(TaskState::Completed, None),
    ]
}

#[tokio::test]
async fn a_stream_tells_the_task_first_and_ends_with_it() {
    let site = Site::start().await;
    // The first record is the client's message.
    let whole = ["2 SUBMITTED", "3 WORKING", "4 COMPLETED"];
    assert_eq!(told(&sse(post(&site, "/", &rpc("SendStreamingMessage", text("play")))).await), whole);
    assert_eq!(told(&sse(post(&site, "/message:stream", &text("play"))).await), whole);
    let asked = ["2 SUBMITTED", "3 INPUT_REQUIRED"];
    assert_eq!(told(&sse(post(&site, "/message:stream", &text("ask"))).await), asked);
    assert_eq!(told(&sse(post(&site, "/message:stream", &text("just words"))).await), ["message"]);
    // Before the first event an error is an ordinary answer.
    let (status, error) = send(post(&site, "/", &rpc("SubscribeToTask", json!({"id": "none"})))).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::OK, &json!(-32001)));
    assert_eq!(send(subscribe(&site, "none")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_task_that_waits_is_followed_until_its_end() {
    let site = Site::start().await;
    for method in [Method::GET, Method::POST] {
        let task = site.task(&site.anyone(), TaskState::InputRequired);
        later(&site, &task, vec![status(TaskState::InputRequired, None), status(TaskState::Completed, None)]);
        let events = sse(request(&site, method, &format!("/tasks/{task}:subscribe"))).await;
        assert_eq!(told(&events), ["1 INPUT_REQUIRED", "2 INPUT_REQUIRED", "3 COMPLETED"]);
    }
    let task = site.task(&site.anyone(), TaskState::Working);
    later(&site, &task, vec![status(TaskState::AuthRequired, None), status(TaskState::Failed, None)]);
    assert_eq!(told(&sse(subscribe(&site, &task)).await), ["1 WORKING", "2 AUTH_REQUIRED", "3 FAILED"]);
}

#[tokio::test]
async fn everyone_sees_the_same_events_in_the_same_order() {
    let site = Site::start().await;
    let task = site.task(&site.anyone(), TaskState::Submitted);
    later(&site, &task, whole_life());
    let all = futures::future::join_all((0..8).map(|_| sse(subscribe(&site, &task)))).await;
    let whole = ["1 SUBMITTED", "2 WORKING", "3 artifactUpdate", "4 artifactUpdate", "5 COMPLETED"];
    assert_eq!(told(&all[0]), whole);
    assert!(all.iter().all(|events| *events == all[0]));
    let chunks = [&all[0][2].1["artifactUpdate"], &all[0][3].1["artifactUpdate"]];
    assert_eq!([&chunks[0]["append"], &chunks[0]["lastChunk"]], [&Value::Null, &Value::Null]);
    assert_eq!([&chunks[1]["append"], &chunks[1]["lastChunk"]], [&json!(true), &json!(true)]);
    let (_, task) = send(request(&site, Method::GET, &format!("/tasks/{task}"))).await;
    assert_eq!(task["artifacts"][0]["parts"], json!([{"text": "one "}, {"text": "two"}]));
}

#[tokio::test]
async fn a_stream_goes_on_after_any_of_its_events() {
    let site = Site::start().await;
    let task = site.task(&site.anyone(), TaskState::Submitted);
    for change in whole_life() {
        site.log.append(&task, None, vec![change]).unwrap();
    }
    let whole = ["1 SUBMITTED", "2 WORKING", "3 artifactUpdate", "4 artifactUpdate", "5 COMPLETED"];
    for from in 1..5 {
        // Also after the end: who resumes before it still gets it.
        let events = sse(subscribe(&site, &task).header("Last-Event-ID", from.to_string())).await;
        assert_eq!(told(&events)[1..], whole[from..], "{from}");
        assert_eq!(events[0].0, from.to_string());
        let artifacts = &events[0].1["task"]["artifacts"][0]["parts"];
        assert_eq!(artifacts.as_array().map_or(0, Vec::len), from.saturating_sub(2), "the task as it was then");
        let by_rpc = post(&site, "/", &rpc("SubscribeToTask", json!({"id": task})));
        assert_eq!(told(&sse(by_rpc.header("Last-Event-ID", from.to_string())).await), told(&events));
    }
    let by_query = request(&site, Method::GET, &format!("/tasks/{task}:subscribe?lastEventId=4"));
    assert_eq!(told(&sse(by_query).await), ["4 WORKING", "5 COMPLETED"]);
    for (from, reason) in [
        ("5", "UNSUPPORTED_OPERATION"),
        ("", "UNSUPPORTED_OPERATION"),
        ("6", "INVALID"),
        ("0", "INVALID"),
        ("x", "INVALID"),
    ] {
        let (status, error) = send(subscribe(&site, &task).header("Last-Event-ID", from)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{from}");
        let said = error["error"]["details"][0]["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{from}: {said}");
    }
}

#[tokio::test]
async fn progress_is_told_in_the_extension_or_as_chunks_and_never_resumed() {
    let site = Site::start().await;
    let owner = site.anyone();
    let live = |site: &Site, task: &str| {
        let (log, task) = (site.log.clone(), task.to_owned());
        tokio::spawn(async move {
            for (done, text) in [(1, "He"), (2, "Hello")] {
                tokio::time::sleep(Duration::from_millis(100)).await;
                log.set_live(&task, Some(Live { done, total: 2, text: text.into(), used: None }));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            log.append(&task, None, vec![status(TaskState::Completed, None)]).unwrap();
        });
    };
    let task = site.task(&owner, TaskState::Working);
    live(&site, &task);
    let events = sse(subscribe(&site, &task).header("A2A-Extensions", CONTRACT_EXTENSION)).await;
    assert_eq!(told(&events), ["1 WORKING", "WORKING", "WORKING", "2 COMPLETED"]);
    let said = |event: &Value| event["statusUpdate"]["metadata"][CONTRACT_EXTENSION].clone();
    assert_eq!(said(&events[1].1), json!({"done": 1, "total": 2, "text": {"at": 0, "more": "He"}}));
    assert_eq!(said(&events[2].1), json!({"done": 2, "total": 2, "text": {"at": 2, "more": "llo"}}));

    let task = site.task(&owner, TaskState::Working);
    live(&site, &task);
    let events = sse(subscribe(&site, &task)).await;
    assert_eq!(told(&events), ["1 WORKING", "artifactUpdate", "artifactUpdate", "2 COMPLETED"]);
    let chunk = |event: &Value| {
        let update = &event["artifactUpdate"];
        assert_eq!(update["artifact"]["artifactId"], OUTPUT);
        (update["append"].clone(), update["artifact"]["parts"][0]["text"].clone())
    };
    assert_eq!(chunk(&events[1].1), (Value::Null, json!("He")));
    assert_eq!(chunk(&events[2].1), (json!(true), json!("llo")));

    // How the task stands holds the progress too, for those who understand it.
    let task = site.task(&owner, TaskState::Working);
    site.log.set_live(&task, Some(Live { done: 1, total: 2, text: "He".into(), used: None }));
    let get = || request(&site, Method::GET, &format!("/tasks/{task}"));
    assert_eq!(send(get()).await.1["metadata"], Value::Null);
    let (_, told) = send(get().header("A2A-Extensions", CONTRACT_EXTENSION)).await;
    assert_eq!(told["metadata"][CONTRACT_EXTENSION]["text"], json!({"at": 0, "more": "He"}));
}

#[tokio::test]
async fn progress_is_told_ten_times_per_second_and_read_by_nobody() {
    let site = Site::offering().await;
    let task = site.task(&site.anyone(), TaskState::Working);
    let hook = json!({"url": format!("http://{}/", site.address)});
    send(post(&site, &format!("/tasks/{task}/pushNotificationConfigs"), &hook)).await;
    let following = tokio::spawn(sse(subscribe(&site, &task).header("A2A-Extensions", CONTRACT_EXTENSION)));
    let waiting = tokio::spawn(send(post(&site, "/message:send", &{
        let mut message = text("more");
        message["message"]["taskId"] = json!(task);
        message
    })));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (before, began) = (site.reads.load(Ordering::SeqCst), Instant::now());
    for done in 1..=200 {
        site.log.set_live(&task, Some(Live { done, total: 200, text: "x".repeat(done as usize).into(), used: None }));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let most = began.elapsed().as_millis() / 100 + 2;
    assert_eq!(site.reads.load(Ordering::SeqCst), before);
    site.log.append(&task, None, vec![status(TaskState::Completed, None)]).unwrap();
    assert_eq!(waiting.await.unwrap().1["task"]["status"]["state"], "TASK_STATE_COMPLETED");
    let events = following.await.unwrap();
    let said = |event: &(String, Value)| event.1["statusUpdate"]["metadata"][CONTRACT_EXTENSION].clone();
    let pieces: Vec<Value> = events.iter().map(said).filter(|said| !said.is_null()).collect();
    assert!((2..=most).contains(&(pieces.len() as u128)), "{} of {most}", pieces.len());
    // Nothing of the text is left out.
    let length: usize = pieces.iter().map(|piece| piece["text"]["more"].as_str().unwrap().len()).sum();
    assert_eq!((length, &pieces.last().unwrap()["done"]), (200, &json!(200)));
}

#[tokio::test]
async fn work_outlives_the_connection_that_asked_for_it() {
    let site = Site::start().await;
    let response = post(&site, "/message:stream", &text("play")).send().await.unwrap();
    drop(response);
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (_, list) = send(request(&site, Method::GET, "/tasks")).await;
        if list["tasks"][0]["status"]["state"] == "TASK_STATE_COMPLETED" {
            return;
        }
    }
    panic!("the task did not go on");
}

/// A stream that is opened and not read.
async fn unread(site: &Site, task: &str, token: &str) -> TcpStream {
    let mut stuck = TcpStream::connect(site.address).await.unwrap();
    let ask = format!(
        "GET /tasks/{task}:subscribe HTTP/1.1\r\nHost: x\r\nA2A-Version: 1.0\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stuck.write_all(ask.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    stuck.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stuck
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off() {
    let limits = Limits { streams_per_address: 1, write_time: Duration::from_millis(500), ..Limits::default() };
    let site = Site::with(limits, None, None).await;
    let task = site.task(&Owner::key(&client_key().did()), TaskState::Working);
    let token = bearer(&client_key(), &contractor_key().did(), &SystemClock);
    let mut stuck = unread(&site, &task, &token).await;
    // Silence is not being stuck: what is sent is taken by the kernel.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let again = || plain_client().get(format!("{}/tasks/{task}:subscribe", site.url)).header("A2A-Version", "1.0");
    let again = || again().bearer_auth(&token).send();
    assert_eq!(again().await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
    // More than the kernel keeps for a connection.
    for _ in 0..64 {
        site.log.append(&task, None, vec![artifact(&"x".repeat(256 << 10), false)]).unwrap();
    }
    let began = Instant::now();
    while again().await.unwrap().status() != StatusCode::OK {
        assert!(began.elapsed() < Duration::from_secs(10), "the place did not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(400), "not before its time");
    // What the kernel still had arrives, and then no end of the stream.
    let mut rest = Vec::new();
    let end = stuck.read_to_end(&mut rest).await;
    assert!(rest.len() < 64 * (256 << 10), "{end:?}");
    assert!(!rest.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    let site = Site::start().await;
    let owner = Owner::key(&client_key().did());
    let task = site.task(&owner, TaskState::Working);
    let token = bearer(&client_key(), &contractor_key().did(), &SystemClock);
    let stuck = unread(&site, &task, &token).await;

    let reader = plain_client()
        .get(format!("{}/tasks/{task}:subscribe", site.url))
        .bearer_auth(&token)
        .header("A2A-Version", "1.0");
    let events = tokio::spawn(sse(reader));
    tokio::time::sleep(Duration::from_millis(100)).await;
    // More than the kernel keeps for a connection.
    for _ in 0..64 {
        site.log.append(&task, None, vec![artifact(&"x".repeat(256 << 10), false)]).unwrap();
        tokio::task::yield_now().await;
    }
    site.log.append(&task, None, vec![status(TaskState::Completed, None)]).unwrap();
    let events = tokio::time::timeout(Duration::from_secs(20), events).await.unwrap().unwrap();
    assert_eq!(events.len(), 66);
    assert_eq!(told(&events).last().unwrap(), "66 COMPLETED");
    drop(stuck);
}
