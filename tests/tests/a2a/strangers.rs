//! Who asks for what is not theirs, and who hangs up: over both bindings of the real node.

use crate::plain::{Plain, gemm, key, message, state};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, header::HeaderMap};
use serde_json::{Value, json};
use std::time::Duration;
use tender_a2a::bearer;
use tender_base::{
    Clock, Did, Signed, Signer, Timestamp, documents::AccessToken, signed::canonical, time::SystemClock,
};
use tender_tests::{Stranger, TestNode, work};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// Some milliseconds from now; before it when negative.
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().millis() + self.0)
    }
}

/// Status, headers and body of a read over HTTP+JSON.
async fn read(node: &TestNode, path: &str, token: &str) -> (u16, HeaderMap, Value) {
    let http = Client::builder().no_proxy().build().unwrap();
    let request = http.get(format!("{}{path}", node.a2a)).header("A2A-Version", "1.0");
    let answer = request.header("Authorization", format!("Bearer {token}")).send().await.unwrap();
    (answer.status().as_u16(), answer.headers().clone(), answer.json().await.unwrap())
}

fn signed(who: &Stranger, audience: Did, life_ms: i64) -> String {
    let issued_at = SystemClock.now();
    let expires_at = Timestamp::from_millis(issued_at.millis() + life_ms);
    let token = AccessToken { caller: who.signer.did(), audience, issued_at, expires_at };
    URL_SAFE_NO_PAD.encode(canonical(&Signed::new(token, who.signer.as_ref())))
}

#[tokio::test]
async fn a_token_that_proves_nothing_is_401_before_anything_is_looked_up() {
    let node = TestNode::seller().await;
    let issued = key(&node, "owner", work::DOLLAR).await;
    let task = Plain::new(&node, Some(&issued.key)).send("m", None, gemm(4)).await;
    let who = Stranger::new(7);
    // A token lives five minutes, and clocks may be half a minute apart.
    let minute = 60_000;
    let forged = {
        let token = bearer(who.signer.as_ref(), &node.did, &SystemClock);
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap();
        URL_SAFE_NO_PAD.encode(text.replace(&who.did().to_string(), &Stranger::new(8).did().to_string()))
    };
    for (token, named) in [
        (bearer(who.signer.as_ref(), &node.did, &Off(-6 * minute)), "expired"),
        (bearer(who.signer.as_ref(), &node.did, &Off(2 * minute)), "future"),
        (bearer(who.signer.as_ref(), &Stranger::new(9).did(), &SystemClock), "is for"),
        (signed(&who, node.did, 6 * minute), "five minutes"),
        (forged, ""),
        ("tender_AAAA".to_owned(), "API key"),
        ("x".repeat(3000), "too long"),
    ] {
        // One that exists and one that does not: nothing tells them apart.
        let mut seen = Vec::new();
        for id in [task["id"].as_str().unwrap(), "01a1fe92-aa80-7516-b7eb-c675bb00a81a"] {
            let (status, headers, body) = read(&node, &format!("/tasks/{id}"), &token).await;
            assert!(status == 401 && headers.contains_key("www-authenticate"), "{named}: {status} {body}");
            assert!(body["error"]["message"].as_str().unwrap().contains(named), "{named}: {body}");
            seen.push(body);
        }
        assert_eq!(seen[0], seen[1]);
    }
}

#[tokio::test]
async fn what_belongs_to_others_is_404_and_so_is_what_does_not_exist() {
    let node = TestNode::seller().await;
    let (owner, other) = (key(&node, "owner", work::DOLLAR).await, key(&node, "other", work::DOLLAR).await);
    let client = Plain::new(&node, Some(&owner.key));
    let task = client.send("m", None, gemm(4)).await;
    let (theirs, nobodys) = (task["id"].as_str().unwrap(), "01a1fe92-aa80-7516-b7eb-c675bb00a81a");
    for path in ["", ":subscribe", "/pushNotificationConfigs", "/pushNotificationConfigs/x"] {
        let (status, _, seen) = read(&node, &format!("/tasks/{theirs}{path}"), &other.key).await;
        let (unknown, _, none) = read(&node, &format!("/tasks/{nobodys}{path}"), &other.key).await;
        assert_eq!((status, unknown), (404, 404), "{path}: {seen} {none}");
        assert_eq!(seen.to_string().replace(theirs, nobodys), none.to_string(), "{path}");
    }
    let (status, _, list) = read(&node, "/tasks", &other.key).await;
    assert_eq!((status, &list["totalSize"]), (200, &json!(0)), "{list}");
    // A context of somebody else's is no way in either.
    let (_, _, list) =
        read(&node, &format!("/tasks?contextId={}", task["contextId"].as_str().unwrap()), &other.key).await;
    assert_eq!(list["totalSize"], json!(0), "{list}");
    // A valid token of a key that nobody knows here sees nothing.
    let stranger = bearer(Stranger::new(7).signer.as_ref(), &node.did, &SystemClock);
    let (status, _, body) = read(&node, &format!("/tasks/{theirs}"), &stranger).await;
    assert!([401, 404].contains(&status), "{body}");
    assert_eq!(client.ask("GetTask", json!({"id": theirs})).await, task, "and nothing of it was changed");
}

#[tokio::test]
async fn streams_that_are_hung_up_on_or_not_read_make_room_and_hold_up_nobody() {
    let node = TestNode::seller().await;
    node.set("requests_per_second", json!(1000)).await;
    node.set("streams", json!(4)).await;
    let node = node.restart().await;
    let issued = key(&node, "load", work::DOLLAR).await;
    let client = Plain::new(&node, Some(&issued.key));
    let task = client.send("m", None, gemm(4)).await;
    let id = task["id"].as_str().unwrap();
    // Ten times as many as may be open, each hung up on after its first bytes.
    for _ in 0..40 {
        let mut refused = 0;
        loop {
            let mut answer = client.request("SubscribeToTask", &json!({"id": id})).send().await.unwrap();
            if answer.status() == 200 {
                assert!(answer.chunk().await.unwrap().is_some());
                break;
            }
            // The node hears of a hang-up when it writes the next keep-alive.
            assert_eq!(answer.status(), 429);
            assert!(answer.headers().contains_key("retry-after"));
            refused += 1;
            assert!(refused < 100, "hung up streams keep their places");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // Streams that nobody reads.
    let address = node.a2a.trim_start_matches("http://").to_owned();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": id}}).to_string();
    let mut unread = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\nA2A-Version: 1.0\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            issued.key,
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        unread.push(stream);
    }
    // A quote takes sixteen messages of up to 64 KiB.
    for number in 0..12 {
        let asked = message(&format!("why-{number}"), Some(id), json!({"text": "why? ".repeat(10_000)}));
        assert_eq!(state(&client.ask("SendMessage", asked).await["task"]), "TASK_STATE_INPUT_REQUIRED");
    }
    let ended = tokio::time::timeout(Duration::from_secs(10), client.ask("CancelTask", json!({"id": id}))).await;
    assert_eq!(state(&ended.unwrap()), "TASK_STATE_CANCELED");
    drop(unread);
}
