//! Tasks: whose they are, what a message does to them, sending again, and lists.

use crate::{
    http::{post, request, rpc, send, sse, text},
    site::{At, Site, client_key, contractor_key, now, status},
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tender_a2a::{
    ApiKey, CONTRACT_EXTENSION, Owner, bearer,
    log::{Change, Output},
    wire::TaskState,
};
use tender_base::{BlobRef, Signer, signed::KeySigner, time::SystemClock};

fn as_peer(request: RequestBuilder, key: &KeySigner) -> RequestBuilder {
    request.bearer_auth(bearer(key, &contractor_key().did(), &SystemClock))
}

fn message(id: &str, words: &str) -> Value {
    json!({"message": {"messageId": id, "role": "ROLE_USER", "parts": [{"text": words}]}})
}

fn to_task(task: &str, words: &str) -> Value {
    let mut params = message("m", words);
    params["message"]["taskId"] = json!(task);
    params
}

#[tokio::test]
async fn nobody_sees_anothers_task_on_any_path() {
    let site = Site::offering().await;
    let task = site.task(&Owner::key(&client_key().did()), TaskState::Working);
    let hooks = format!("/tasks/{task}/pushNotificationConfigs");
    let hook = json!({"id": "h", "url": "https://1.1.1.1/"});
    let paths = [
        request(&site, Method::GET, &format!("/tasks/{task}")),
        request(&site, Method::POST, &format!("/tasks/{task}:cancel")),
        request(&site, Method::GET, &format!("/tasks/{task}:subscribe")),
        request(&site, Method::GET, &format!("/tasks/{task}:subscribe")).header("Last-Event-ID", "1"),
        post(&site, "/message:send", &to_task(&task, "x")),
        post(&site, "/message:stream", &to_task(&task, "x")),
        post(&site, &hooks, &hook),
        request(&site, Method::GET, &hooks),
        request(&site, Method::GET, &format!("{hooks}/h")),
        request(&site, Method::DELETE, &format!("{hooks}/h")),
    ];
    let (_, mine) = send(as_peer(post(&site, &hooks, &hook), &client_key())).await;
    assert_eq!((&mine["id"], &mine["taskId"]), (&json!("h"), &json!(task)));
    for path in paths {
        let other = as_peer(path.try_clone().unwrap(), &KeySigner::from_seed(&[9; 32]));
        for request in [other, path.try_clone().unwrap()] {
            let (status, error) = send(request).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path:?}");
            // As if there were none.
            let named = error["error"]["message"].as_str().unwrap();
            assert_eq!(named, format!("there is no task {task}"), "{path:?}");
        }
    }
    let (_, list) = send(request(&site, Method::GET, "/tasks")).await;
    assert_eq!((&list["totalSize"], &list["tasks"]), (&json!(0), &json!([])));
    assert!(site.asked().is_empty(), "no foreign message reaches the agent");
    let (status, _) = send(as_peer(request(&site, Method::GET, &format!("{hooks}/h")), &client_key())).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn an_api_key_has_tasks_of_its_own() {
    let site = Site::start().await;
    let (key, secret) = ApiKey::draw(&At(now()));
    let task = site.task(&Owner::key(&key.did()), TaskState::Completed);
    let get = || request(&site, Method::GET, &format!("/tasks/{task}"));
    assert_eq!(send(get().header("X-API-Key", &secret)).await.0, StatusCode::OK);
    assert_eq!(send(get().bearer_auth(&secret)).await.0, StatusCode::OK);
    assert_eq!(send(get()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(send(get().header("X-API-Key", "tender_x")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_the_same_message() {
    let site = Site::start().await;
    let send_as = |key: KeySigner, body: Value| send(as_peer(post(&site, "/message:send", &body), &key));
    let (_, first) = send_as(client_key(), message("m1", "play")).await;
    let id = first["task"]["id"].as_str().unwrap();
    // Also after the task's end, and when the answer was lost.
    let (_, again) = send_as(client_key(), message("m1", "play")).await;
    assert_eq!(again, first);
    let (status, conflict) = send_as(client_key(), message("m1", "other words")).await;
    assert_eq!((status, &conflict["error"]["status"]), (StatusCode::BAD_REQUEST, &json!("INVALID_ARGUMENT")));
    assert!(conflict["error"]["message"].as_str().unwrap().contains("messageId"));
    let (_, other) = send_as(KeySigner::from_seed(&[9; 32]), message("m1", "play")).await;
    assert_ne!(other["task"]["id"].as_str().unwrap(), id, "another caller's ids are its own");
    // A key in a header stands for the id.
    let keyed = |id: &str| as_peer(post(&site, "/message:send", &message(id, "play")), &client_key());
    let (_, first) = send(keyed("m2").header("Idempotency-Key", "k")).await;
    let (_, again) = send(keyed("m2").header("Idempotency-Key", "k")).await;
    assert_eq!(first["task"]["id"], again["task"]["id"]);
    assert_eq!(site.asked().len(), 3);
    // Who proves no identity has nothing to be recognised by.
    let (_, one) = send(post(&site, "/message:send", &message("m1", "play"))).await;
    let (_, two) = send(post(&site, "/message:send", &message("m1", "play"))).await;
    assert_ne!(one["task"]["id"], two["task"]["id"]);
}

#[tokio::test]
async fn a_message_must_fit_its_task() {
    let site = Site::start().await;
    let owner = site.anyone();
    let waits = site.task(&owner, TaskState::InputRequired);
    let (status, said) = send(post(&site, "/message:send", &to_task(&waits, "more"))).await;
    assert_eq!((status, &said["task"]["contextId"]), (StatusCode::OK, &json!("context")), "{said}");
    assert_eq!(said["task"]["history"][0]["parts"], json!([{"text": "more"}]));
    let mut elsewhere = to_task(&waits, "more");
    elsewhere["message"]["contextId"] = json!("another");
    let (status, error) = send(post(&site, "/message:send", &elsewhere)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error["error"]["message"].as_str().unwrap().contains("contextId"));
    for state in [TaskState::Completed, TaskState::Failed, TaskState::Canceled, TaskState::Rejected] {
        let ended = site.task(&owner, state);
        for request in [
            post(&site, "/message:send", &to_task(&ended, "more")),
            post(&site, "/message:stream", &to_task(&ended, "more")),
            request(&site, Method::GET, &format!("/tasks/{ended}:subscribe")),
        ] {
            let (_, error) = send(request).await;
            assert_eq!(error["error"]["details"][0]["reason"], "UNSUPPORTED_OPERATION", "{error}");
        }
        let (_, error) = send(request(&site, Method::POST, &format!("/tasks/{ended}:cancel"))).await;
        assert_eq!(error["error"]["details"][0]["reason"], "TASK_NOT_CANCELABLE");
    }
    // Empty text is the default value, which means not set.
    let mut empty = message("m", "words");
    empty["message"]["taskId"] = json!("");
    empty["message"]["contextId"] = json!("");
    assert_eq!(send(post(&site, "/message:send", &empty)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_blocking_send_waits_and_another_does_not() {
    let site = Site::start().await;
    let state = |answer: Value| answer["task"]["status"]["state"].as_str().unwrap().to_owned();
    assert_eq!(state(send(post(&site, "/message:send", &text("play"))).await.1), "TASK_STATE_COMPLETED");
    assert_eq!(state(send(post(&site, "/message:send", &text("ask"))).await.1), "TASK_STATE_INPUT_REQUIRED");
    let mut at_once = text("play");
    at_once["configuration"] = json!({"returnImmediately": true, "historyLength": 0});
    let (_, answer) = send(post(&site, "/message:send", &at_once)).await;
    assert_eq!(answer["task"]["history"], Value::Null);
    assert_eq!(state(answer), "TASK_STATE_SUBMITTED");
}

#[tokio::test]
async fn a_message_may_need_an_extension() {
    let site = Site::start().await;
    let ask = || post(&site, "/", &rpc("SendMessage", text("extended")));
    assert_eq!(send(ask()).await.1["error"]["code"], -32008);
    assert_eq!(send(ask().header("A2A-Extensions", CONTRACT_EXTENSION)).await.1["error"]["code"], -32008);
    let (_, said) = send(ask().header("A2A-Extensions", format!("{CONTRACT_EXTENSION},urn:test:extension"))).await;
    assert!(said["result"]["message"].is_object(), "{said}");
}

#[tokio::test]
async fn lists_are_sorted_filtered_and_paged() {
    let site = Site::start().await;
    let owner = site.anyone();
    let mut tasks: Vec<String> = (0..5).map(|_| site.task(&owner, TaskState::Working)).collect();
    let pages = async |query: &str| {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let path = format!("/tasks?pageSize=2&pageToken={token}{query}");
            let (status, page) = send(request(&site, Method::GET, &path)).await;
            assert_eq!((status, &page["pageSize"]), (StatusCode::OK, &json!(2)), "{page}");
            let tasks = page["tasks"].as_array().unwrap().clone();
            assert!(tasks.len() <= 2);
            found.extend(tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()));
            token = page["nextPageToken"].as_str().unwrap().to_owned();
            if token.is_empty() {
                return (found, page["totalSize"].as_i64().unwrap());
            }
        }
    };
    tasks.reverse();
    assert_eq!(pages("").await, (tasks.clone(), 5));
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let changed = tasks.remove(3);
    site.log.append(&changed, None, vec![status(TaskState::Completed, None)]).unwrap();
    let newest = send(request(&site, Method::GET, "/tasks?pageSize=1")).await.1["tasks"][0].clone();
    assert_eq!(newest["id"], json!(changed), "newest status first");
    assert_eq!(pages("&status=TASK_STATE_WORKING").await, (tasks.clone(), 4));
    assert_eq!(pages("&contextId=another").await, (vec![], 0));
    // A status of that very moment belongs to it.
    let at = newest["status"]["timestamp"].as_str().unwrap();
    assert_eq!(pages(&format!("&statusTimestampAfter={at}")).await, (vec![changed.clone()], 1));
    let (_, all) = send(post(&site, "/", &rpc("ListTasks", json!({"status_timestamp_after": at})))).await;
    assert_eq!(all["result"]["totalSize"], 1);
}

#[tokio::test]
async fn histories_and_artifacts_are_as_long_as_was_asked() {
    let site = Site::start().await;
    let (_, first) = send(post(&site, "/message:send", &text("ask"))).await;
    let id = first["task"]["id"].as_str().unwrap().to_owned();
    for words in ["two", "three"] {
        send(post(&site, "/message:send", &to_task(&id, words))).await;
    }
    let words = |task: &Value| -> Vec<String> {
        let history = task["history"].as_array().cloned().unwrap_or_default();
        history.iter().map(|message| message["parts"][0]["text"].as_str().unwrap().to_owned()).collect()
    };
    for (query, expected) in [
        ("", vec!["ask", "two", "three"]),
        ("?historyLength=2", vec!["two", "three"]),
        ("?history_length=1", vec!["three"]),
        ("?historyLength=9", vec!["ask", "two", "three"]),
        ("?historyLength=0", vec![]),
    ] {
        let (_, task) = send(request(&site, Method::GET, &format!("/tasks/{id}{query}"))).await;
        assert_eq!(words(&task), expected, "{query}");
        assert_eq!(task.get("history").is_some(), !expected.is_empty());
        assert!(task["history"].as_array().into_iter().flatten().all(|message| message["taskId"] == json!(id)));
    }
    let (_, task) = send(post(&site, "/", &rpc("GetTask", json!({"id": id, "history_length": 1})))).await;
    assert_eq!(words(&task["result"]), ["three"]);
}

#[tokio::test]
async fn an_output_is_told_as_what_it_is_and_left_out_when_it_is_gone() {
    let site = Site::start().await;
    let output = |media_type: &str, blob: BlobRef| {
        Change::Output(Output {
            artifact_id: "output".into(),
            blob,
            media_type: media_type.into(),
            filename: Some("f".into()),
            extensions: vec![],
        })
    };
    let words = site.log.keep_blob("words");
    for (media_type, blob, expected) in [
        ("text/plain", words, json!({"text": "words", "mediaType": "text/plain", "filename": "f"})),
        ("application/json", words, json!({"raw": "d29yZHM=", "mediaType": "application/json", "filename": "f"})),
        (
            "text/plain",
            site.log.keep_blob(vec![255]),
            json!({"raw": "/w==", "mediaType": "text/plain", "filename": "f"}),
        ),
        ("text/plain", BlobRef::of(b"gone"), Value::Null),
    ] {
        let task = site.task(&site.anyone(), TaskState::Working);
        site.log.append(&task, None, vec![output(media_type, blob), status(TaskState::Completed, None)]).unwrap();
        let (_, told) = send(request(&site, Method::GET, &format!("/tasks/{task}"))).await;
        assert_eq!(told["artifacts"][0]["parts"][0], expected);
        let stream = request(&site, Method::GET, &format!("/tasks/{task}:subscribe")).header("Last-Event-ID", "1");
        let events = sse(stream).await;
        let ids: Vec<&str> = events.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, if expected.is_null() { vec!["1", "3"] } else { vec!["1", "2", "3"] });
        let (_, list) = send(request(&site, Method::GET, "/tasks?includeArtifacts=true&pageSize=1")).await;
        assert_eq!(list["tasks"][0].get("artifacts").is_some(), !expected.is_null());
        let (_, list) = send(request(&site, Method::GET, "/tasks?pageSize=1")).await;
        assert_eq!(list["tasks"][0].get("artifacts"), None);
    }
}
