//! The local API as it is served, against what `tender_node::api` declares.

use futures::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;
use tender_node::api::{
    Kind, OPERATIONS,
    types::{JobPage, JobsQuery, Nothing, Overview, Submitted},
};
use tender_tests::{TestNode, work};

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Every declared name is served under its method and no other; unknown names are unknown.
#[tokio::test]
async fn what_is_declared_is_served() {
    let node = TestNode::start().await;
    let http = http();
    let url = |name: &str| format!("{}/api/{name}", node.api_address);
    let not_found =
        |body: &Value| body["code"] == "not_found" && body["message"].as_str().unwrap().contains("there is no");
    for operation in OPERATIONS {
        // Input of a form that no operation takes: it is found, and goes no further.
        let post = http.post(url(operation.name)).bearer_auth(&node.token).body("[0]").send().await.unwrap();
        let status = post.status().as_u16();
        let body: Value = post.json().await.unwrap();
        if operation.kind == Kind::Subscription {
            assert!(status == 404 && not_found(&body), "{}: {status} {body}", operation.name);
        } else {
            assert!(status == 400 && body["code"] == "invalid", "{}: {status} {body}", operation.name);
            assert!(body["message"].as_str().unwrap().contains(operation.name), "{body}");
        }
        let get = http.get(url(operation.name)).bearer_auth(&node.token).send().await.unwrap();
        if operation.kind == Kind::Subscription {
            assert_eq!(get.status().as_u16(), 200, "{}", operation.name);
            assert_eq!(get.headers()["content-type"], "text/event-stream");
        } else {
            assert_eq!(get.status().as_u16(), 404, "{}", operation.name);
            assert!(not_found(&get.json().await.unwrap()));
        }
    }
    for name in ["no_such_thing", "Overview", "overview/", "../api/overview"] {
        for request in [http.post(url(name)).body("{}"), http.get(url(name))] {
            let answer = request.bearer_auth(&node.token).send().await.unwrap();
            assert!(matches!(answer.status().as_u16(), 404 | 405) || name.starts_with(".."), "{name}");
        }
    }
}

/// The same command twice under one key is one command, also when both come at once; another key is another.
#[tokio::test]
async fn an_idempotency_key_submits_one_job() {
    let node = TestNode::start().await;
    let input = serde_json::to_value(work::for_anyone(work::gemm(16))).unwrap();
    let (one, two) = tokio::join!(
        node.api.call("submit", input.clone(), Some("k-1")),
        node.api.call("submit", input.clone(), Some("k-1"))
    );
    let again = node.api.call("submit", input.clone(), Some("k-1")).await.unwrap();
    assert_eq!(one.clone().unwrap(), two.unwrap());
    assert_eq!(one.unwrap(), again);
    let other: Submitted = serde_json::from_value(node.api.call("submit", input, Some("k-2")).await.unwrap()).unwrap();
    node.ended(&other.job.unwrap()).await;
    let page: JobPage = node.ask("jobs", &JobsQuery { role: None, limit: None, before: None }).await;
    assert_eq!(page.jobs.len(), 2, "{page:#?}");
}

/// A snapshot at once, another after a change, with growing numbers; who has the newest hears only what is newer.
#[tokio::test]
async fn subscriptions_give_numbered_snapshots() {
    let node = TestNode::start().await;
    let mut events = Box::pin(node.api.subscribe("watch_overview", 0).await.unwrap());
    let (first, snapshot) = events.next().await.unwrap().unwrap();
    let overview: Overview = serde_json::from_value(snapshot).unwrap();
    assert_eq!(overview, node.ask::<_, Overview>("overview", &Nothing {}).await);
    assert!(!overview.selling.on);
    node.sell(true).await;
    let mut last = first;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap();
        let (number, snapshot) = next.unwrap().unwrap();
        assert!(number > last, "{number} after {last}");
        last = number;
        if snapshot["selling"]["on"] == true {
            break;
        }
    }
    // Attached again after the last number: whatever comes has a later one.
    let mut resumed = Box::pin(node.api.subscribe("watch_overview", last).await.unwrap());
    node.set("name", json!("renamed")).await;
    let seen = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let (number, snapshot) = resumed.next().await.unwrap().unwrap();
            if snapshot["name"] == "renamed" {
                return number;
            }
        }
    });
    assert!(seen.await.unwrap() > last);
}

/// Subscribing to something else, or with a token that is wrong, is refused before any event.
#[tokio::test]
async fn a_subscription_needs_a_known_name() {
    let node = TestNode::start().await;
    let Err(problem) = node.api.subscribe("overview", 0).await.map(drop) else { panic!("a query is no subscription") };
    assert_eq!(problem.code, tender_base::Code::NotFound, "{problem}");
}
