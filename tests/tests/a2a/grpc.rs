//! gRPC on a real node: offered when its owner says so.

use crate::plain::key;
use reqwest::Client;
use serde_json::{Value, json};
use std::time::Duration;
use tender_tests::{TestNode, work};

/// The status of `GetTask` for a task that there is not; `none` when the answer has no such status.
async fn get_task(node: &TestNode, key: Option<&str>) -> String {
    let http = Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let request = http.post(format!("{}/lf.a2a.v1.A2AService/GetTask", node.a2a)).header("A2A-Version", "1.0");
    let request = request.header("Content-Type", "application/grpc").header("TE", "trailers");
    let request = if let Some(key) = key { request.header("X-API-Key", key) } else { request };
    // Not compressed, three bytes long: `id` is "x".
    let answer = request.body(b"\0\0\0\0\x03\x12\x01x".to_vec()).send().await.unwrap();
    answer.headers().get("grpc-status").map_or("none", |status| status.to_str().unwrap()).to_owned()
}

async fn bindings(node: &TestNode) -> Vec<Value> {
    let http = Client::builder().no_proxy().build().unwrap();
    let card = http.get(format!("{}/.well-known/agent-card.json", node.a2a)).send().await.unwrap();
    let card: Value = card.json().await.unwrap();
    card["supportedInterfaces"].as_array().unwrap().clone()
}

#[tokio::test]
async fn it_is_offered_when_the_owner_says_so() {
    let node = TestNode::seller().await;
    let issued = key(&node, "grpc", work::DOLLAR).await;
    let before = bindings(&node).await;
    assert!(before.iter().all(|it| it["protocolBinding"] != "GRPC"), "{before:?}");
    assert_eq!(get_task(&node, Some(&issued.key)).await, "12", "UNIMPLEMENTED");

    node.set("a2a_grpc", json!(true)).await;
    for _ in 0..100 {
        if bindings(&node).await.len() > before.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = bindings(&node).await;
    let (last, others) = after.split_last().unwrap();
    assert_eq!(others, before);
    assert_eq!((&last["protocolBinding"], &last["protocolVersion"]), (&json!("GRPC"), &json!("1.0")));
    assert_eq!(last["url"], json!(node.a2a.trim_start_matches("http://")));
    assert_eq!(get_task(&node, Some(&issued.key)).await, "5", "NOT_FOUND");
    assert_eq!(get_task(&node, None).await, "16", "UNAUTHENTICATED");
}
