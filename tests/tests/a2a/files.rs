//! Results that are too large for an event: an address, asked by whoever paid for them.

use crate::plain::{Plain, key, state, text};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::{Client, header};
use serde_json::json;
use tender_base::Sha256;
use tender_node::api::types::{ById, JobOutput};
use tender_tests::{TestNode, pair, work};

/// A column times a row of so many numbers, and what comes out: 4·side² bytes.
fn outer(side: u32) -> (Vec<u8>, Vec<u8>) {
    let numbers = || (0..side).map(|i| (i % 7) as f32);
    let input = numbers().chain(numbers()).flat_map(f32::to_le_bytes).collect();
    let product = numbers().flat_map(|a| numbers().map(move |b| a * b)).flat_map(f32::to_le_bytes).collect();
    (input, product)
}

#[tokio::test]
async fn a_large_result_is_fetched_in_pieces_by_its_buyer_and_nobody_else() {
    let node = TestNode::seller().await;
    let (mine, other) = (key(&node, "mine", work::DOLLAR).await, key(&node, "other", work::DOLLAR).await);
    let client = Plain::new(&node, Some(&mine.key));
    let (input, product) = outer(600);
    let job = json!({"kind": "gemm", "m": 600, "k": 1, "n": 600, "input_base64": BASE64.encode(input)});
    let quoted = client.send("m1", None, json!({"data": job})).await;
    let id = quoted["id"].as_str().unwrap();
    client.send("m2", Some(id), text("yes")).await;
    let done = client.ended(id).await;
    assert_eq!(state(&done), "TASK_STATE_COMPLETED", "{done}");

    let part = &done["artifacts"][0]["parts"][0];
    let stated = json!({"sha256": Sha256::of(&product), "bytes": product.len()});
    assert_eq!(part["metadata"]["urn:tender:a2a:contract:v1"], stated, "{part}");
    let address = part["url"].as_str().unwrap();
    assert!(address.starts_with(&format!("{}/", node.a2a)), "{address}");
    let http = Client::builder().no_proxy().build().unwrap();
    let get = |key: &str| http.get(address).header("X-API-Key", key);
    assert_eq!(get(&mine.key).send().await.unwrap().bytes().await.unwrap(), product);
    let piece = get(&mine.key).header(header::RANGE, "bytes=300000-999999").send().await.unwrap();
    assert_eq!(
        (piece.status().as_u16(), &piece.headers()["content-range"]),
        (206, &"bytes 300000-999999/1440000".parse().unwrap())
    );
    assert_eq!(piece.bytes().await.unwrap(), product[300_000..1_000_000]);
    assert_eq!(get(&other.key).send().await.unwrap().status(), 404);
    assert_eq!(http.get(address).send().await.unwrap().status(), 401);
    node.ask::<_, serde_json::Value>("remove_peer", &json!({"did": mine.did})).await;
    assert_eq!(get(&mine.key).send().await.unwrap().status(), 401, "a key that was taken back");
}

#[tokio::test]
async fn a_page_of_tasks_with_large_messages_is_short_and_the_next_one_goes_on() {
    let node = TestNode::seller().await;
    let mine = key(&node, "mine", work::DOLLAR).await;
    let client = Plain::new(&node, Some(&mine.key));
    let mut sent = Vec::new();
    for number in 0..3 {
        let job = json!({"kind": "gemm", "m": 40, "k": 2000, "n": 40, "input_base64": BASE64.encode(vec![0; 640_000])});
        let quoted = client.send(&format!("m{number}"), None, json!({"data": job})).await;
        sent.push(quoted["id"].as_str().unwrap().to_owned());
    }
    let (mut listed, mut token) = (Vec::new(), json!(""));
    for expected in [2, 1] {
        let page = client.ask("ListTasks", json!({"pageToken": token, "historyLength": 1})).await;
        let tasks = page["tasks"].as_array().unwrap();
        assert_eq!((tasks.len(), &page["totalSize"]), (expected, &json!(3)));
        listed.extend(tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()));
        token = page["nextPageToken"].clone();
    }
    assert_eq!(token, "");
    listed.sort();
    sent.sort();
    assert_eq!(listed, sent);
}

#[tokio::test]
async fn a_node_buys_a_large_result_from_another() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    pair(&seller, &buyer, work::DOLLAR).await;
    let job = buyer.buy(&work::for_peers(work::gemm(600))).await;
    let output: JobOutput = buyer.ask("output", &ById { id: job.summary.id }).await;
    let bytes = BASE64.decode(output.data_base64).unwrap();
    assert_eq!(bytes.len(), 600 * 600 * 4);
    assert!(bytes == work::gemm_input(600)[..bytes.len()], "A times the identity");
}
