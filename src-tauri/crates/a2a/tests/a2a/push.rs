//! Push notifications: their configs, what arrives, and receivers that do not answer.

use crate::{
    http::{post, request, rpc, send, text},
    site::{Site, client_key, contractor_key, status},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tender_a2a::{Owner, bearer, push::Hooks, wire::TaskState};
use tender_base::{Signer, time::SystemClock};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::mpsc,
};

/// What arrived: head in lower case, and body.
type Posted = (String, Value);

/// Answers every POST with the next of `answers`, then with 204.
async fn receiver(answers: &'static [&'static str]) -> (String, mpsc::UnboundedReceiver<Posted>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (tell, told) = mpsc::unbounded_channel();
    let tell = Arc::new(tell);
    tokio::spawn(async move {
        let mut answers = answers.iter();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                let (name, value) = line.split_once(':').unwrap_or(("", &line));
                head += &format!("{}:{value}", name.to_lowercase());
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            tell.send((head, serde_json::from_slice(&body).unwrap())).unwrap();
            let answer = answers.next().unwrap_or(&"204 No Content");
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, told)
}

async fn next(told: &mut mpsc::UnboundedReceiver<Posted>) -> Posted {
    tokio::time::timeout(Duration::from_secs(10), told.recv()).await.expect("nothing was delivered").unwrap()
}

fn state(posted: &Posted) -> &str {
    posted.1["statusUpdate"]["status"]["state"].as_str().unwrap_or("?").trim_start_matches("TASK_STATE_")
}

#[tokio::test]
async fn configs_are_made_read_listed_and_deleted_on_both_bindings() {
    let site = Site::offering().await;
    let task = site.task(&site.anyone(), TaskState::Completed);
    let hook = json!({"taskId": task, "url": "https://does-not-exist.invalid/hook", "token": "t"});
    let (_, made) = send(post(&site, "/", &rpc("CreateTaskPushNotificationConfig", hook))).await;
    let id = made["result"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made["result"]["url"], "https://does-not-exist.invalid/hook");
    let path = format!("/tasks/{task}/pushNotificationConfigs");
    let (_, second) = send(post(&site, &path, &json!({"id": "own", "url": "https://1.1.1.1/"}))).await;
    assert_eq!((&second["id"], &second["taskId"]), (&json!("own"), &json!(task)));
    let (_, read) = send(request(&site, Method::GET, &format!("{path}/{id}"))).await;
    assert_eq!(read, made["result"]);
    let (_, list) = send(request(&site, Method::GET, &path)).await;
    assert_eq!((list["configs"].as_array().unwrap().len(), &list["nextPageToken"]), (2, &json!("")));
    for _ in 0..2 {
        let (status, gone) = send(request(&site, Method::DELETE, &format!("{path}/{id}"))).await;
        assert_eq!((status, gone), (StatusCode::OK, json!({})));
        let named = json!({"task_id": task, "id": "own"});
        let (_, gone) = send(post(&site, "/", &rpc("DeleteTaskPushNotificationConfig", named))).await;
        assert_eq!(gone["result"], json!({}));
    }
    let named = json!({"taskId": task, "id": id});
    let (_, missing) = send(post(&site, "/", &rpc("GetTaskPushNotificationConfig", named))).await;
    assert_eq!(missing["error"]["code"], -32001);

    for number in 0..8 {
        let (status, _) = send(post(&site, &path, &json!({"id": number.to_string(), "url": "https://1.1.1.1/"}))).await;
        assert_eq!(status, StatusCode::OK);
    }
    let (status, _) = send(post(&site, &path, &json!({"id": "8", "url": "https://1.1.1.1/"}))).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    for url in ["", "http://1.1.1.1/", "https://10.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://u:p@1.1.1.1/"] {
        let (status, error) = send(post(&site, &path, &json!({"id": "7", "url": url}))).await;
        assert_eq!((status, &error["error"]["status"]), (StatusCode::BAD_REQUEST, &json!("INVALID_ARGUMENT")), "{url}");
    }
    let split = json!({"id": "7", "url": "https://1.1.1.1/", "authentication": {"scheme": "Bearer", "credentials": "a\r\nb: c"}});
    assert_eq!(send(post(&site, &path, &split)).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn everything_after_the_message_is_delivered_in_order_with_its_credentials() {
    let site = Site::offering().await;
    let (url, mut told) = receiver(&[]).await;
    let mut request = text("play");
    request["configuration"] = json!({"task_push_notification_config": {
        "id": "h", "url": url, "token": "secret", "authentication": {"scheme": "Bearer", "credentials": "xyz"},
    }});
    let (_, answer) = send(post(&site, "/message:send", &request)).await;
    for expected in ["SUBMITTED", "WORKING", "COMPLETED"] {
        let posted = next(&mut told).await;
        assert_eq!(state(&posted), expected);
        assert_eq!(posted.1["statusUpdate"]["taskId"], answer["task"]["id"]);
        for line in [
            "authorization: Bearer xyz",
            "x-a2a-notification-token: secret",
            "content-type: application/a2a+json",
            "a2a-version: 1.0",
        ] {
            assert!(posted.0.contains(line), "{}", posted.0);
        }
    }
}

#[tokio::test]
async fn a_message_that_comes_again_brings_no_second_webhook() {
    let site = Site::offering().await;
    let (url, mut told) = receiver(&[]).await;
    let as_client = |request: reqwest::RequestBuilder| {
        request.bearer_auth(bearer(&client_key(), &contractor_key().did(), &SystemClock))
    };
    let mut message = text("play");
    message["configuration"] = json!({"taskPushNotificationConfig": {"url": url}});
    let mut tasks = Vec::new();
    for _ in 0..10 {
        let (status, answer) = send(as_client(post(&site, "/message:send", &message))).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        tasks.push(answer["task"]["id"].as_str().unwrap().to_owned());
    }
    tasks.dedup();
    assert_eq!((tasks.len(), site.asked().len()), (1, 1));
    let path = format!("/tasks/{}/pushNotificationConfigs", tasks[0]);
    let (_, list) = send(as_client(request(&site, Method::GET, &path))).await;
    assert_eq!(list["configs"].as_array().unwrap().len(), 1);
    assert_eq!(list["configs"][0]["id"].as_str().unwrap().len(), 64);
    while state(&next(&mut told).await) != "COMPLETED" {}
}

#[tokio::test]
async fn a_webhook_that_cannot_be_kept_is_refused_before_the_agent_acts() {
    let site = Site::offering().await;
    let task = site.task(&site.anyone(), TaskState::InputRequired);
    let path = format!("/tasks/{task}/pushNotificationConfigs");
    for number in 0..8 {
        send(post(&site, &path, &json!({"id": number.to_string(), "url": "https://1.1.1.1/"}))).await;
    }
    let mut message = text("yes");
    message["message"]["taskId"] = json!(task);
    for (hook, refused) in [
        (json!({"url": "https://1.1.1.1/"}), StatusCode::TOO_MANY_REQUESTS),
        (json!({"id": "1", "url": "https://10.0.0.1/"}), StatusCode::BAD_REQUEST),
    ] {
        message["configuration"] = json!({"taskPushNotificationConfig": hook});
        assert_eq!(send(post(&site, "/message:send", &message)).await.0, refused);
    }
    assert!(site.asked().is_empty());
    message["configuration"] = json!({"taskPushNotificationConfig": {"id": "1", "url": "https://1.1.1.1/"}});
    assert_eq!(send(post(&site, "/message:send", &message)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn nothing_is_looked_up_for_a_stranger() {
    let site = Site::offering().await;
    // Whose task it is not learns nothing of the address, however it is written.
    for url in ["https://10.0.0.1/", "https://localhost/", "nonsense"] {
        let (status, _) = send(post(&site, "/tasks/none/pushNotificationConfigs", &json!({"url": url}))).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{url}");
    }
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_and_holds_up_nobody() {
    let site = Site::offering().await;
    let (slow, mut told) = receiver(&["500 No", "302 Found\r\nLocation: http://127.0.0.1:1/"]).await;
    let (good, mut heard) = receiver(&[]).await;
    let task = site.task(&site.anyone(), TaskState::Working);
    let path = format!("/tasks/{task}/pushNotificationConfigs");
    for (id, url) in [("slow", &slow), ("good", &good)] {
        send(post(&site, &path, &json!({"id": id, "url": url}))).await;
    }
    site.log.append(&task, None, vec![status(TaskState::Completed, None)]).unwrap();
    assert_eq!(state(&next(&mut heard).await), "COMPLETED");
    // Refused, sent elsewhere, taken: the same each time.
    for _ in 0..3 {
        assert_eq!(state(&next(&mut told).await), "COMPLETED");
    }
    for _ in 0..50 {
        if site.log.open_hooks().await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the webhooks are still open after the task's end");
}

#[tokio::test]
async fn a_log_that_does_not_read_for_a_while_ends_no_webhook() {
    let site = Site::offering().await;
    let (url, mut told) = receiver(&[]).await;
    let task = site.task(&site.anyone(), TaskState::Submitted);
    send(post(&site, &format!("/tasks/{task}/pushNotificationConfigs"), &json!({"id": "h", "url": url}))).await;
    site.broken.store(true, Ordering::SeqCst);
    site.log.append(&task, None, vec![status(TaskState::Working, None)]).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), told.recv()).await.is_err());
    site.broken.store(false, Ordering::SeqCst);
    assert_eq!(state(&next(&mut told).await), "WORKING");
    site.log.append(&task, None, vec![status(TaskState::Completed, None)]).unwrap();
    assert_eq!(state(&next(&mut told).await), "COMPLETED");
}

#[tokio::test]
async fn the_dead_webhooks_of_one_hold_up_nobody_elses() {
    let site = Site::offering().await;
    // Connects, and never answers: more of them than are told at the same time, each for longer than `next` waits.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}/", listener.local_addr().unwrap());
    for _ in 0..5 {
        let task = site.task(&site.anyone(), TaskState::Working);
        for id in 0..8 {
            let hook = json!({"id": id.to_string(), "url": dead});
            send(post(&site, &format!("/tasks/{task}/pushNotificationConfigs"), &hook)).await;
        }
        site.log.append(&task, None, vec![status(TaskState::Completed, None)]).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (url, mut told) = receiver(&[]).await;
    let theirs = site.task(&Owner::key(&client_key().did()), TaskState::Working);
    let hook = post(&site, &format!("/tasks/{theirs}/pushNotificationConfigs"), &json!({"id": "h", "url": url}));
    let token = bearer(&client_key(), &contractor_key().did(), &SystemClock);
    let (answer, _) = send(hook.bearer_auth(token)).await;
    assert_eq!(answer, StatusCode::OK);
    site.log.append(&theirs, None, vec![status(TaskState::Completed, None)]).unwrap();
    assert_eq!(state(&next(&mut told).await), "COMPLETED");
}

#[tokio::test]
async fn a_deleted_webhook_hears_nothing_more() {
    let site = Site::offering().await;
    let (url, mut told) = receiver(&[]).await;
    let task = site.task(&site.anyone(), TaskState::Submitted);
    let path = format!("/tasks/{task}/pushNotificationConfigs");
    send(post(&site, &path, &json!({"id": "h", "url": url}))).await;
    site.log.append(&task, None, vec![status(TaskState::Working, None)]).unwrap();
    assert_eq!(state(&next(&mut told).await), "WORKING");
    send(request(&site, Method::DELETE, &format!("{path}/h"))).await;
    site.log.append(&task, None, vec![status(TaskState::Completed, None)]).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), told.recv()).await.is_err());
}

#[tokio::test]
async fn a_webhook_that_is_deleted_while_a_restart_goes_on_with_it_hears_nothing_more() {
    let before = Site::offering().await;
    let (url, mut told) = receiver(&[]).await;
    let task = before.task(&before.anyone(), TaskState::Submitted);
    let path = format!("/tasks/{task}/pushNotificationConfigs");
    send(post(&before, &path, &json!({"id": "h", "url": url}))).await;
    let log = before.log.clone();
    drop(before);
    let site = Site::resumed(log, Duration::from_millis(500)).await;
    assert_eq!(send(request(&site, Method::DELETE, &format!("{path}/h"))).await.0, StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(700)).await;
    site.log.append(&task, None, vec![status(TaskState::Completed, None)]).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), told.recv()).await.is_err());
}
