//! Requests that are malformed, too large, or from somebody who may not ask, on both listeners.

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use tender_tests::{TestNode, work};

fn http() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

async fn problem(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

/// Asserts status and code, a message that names `named`, and a remedy.
async fn refused(request: RequestBuilder, status: u16, code: &str, named: &str) {
    let (got, body) = problem(request.send().await.unwrap()).await;
    assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{body}");
    let (message, hint) = (body["message"].as_str().unwrap(), body["hint"].as_str().unwrap());
    assert!(message.contains(named), "{named:?} is not in {body}");
    assert!(!hint.is_empty() || code == "not_found" || named == "missing field", "no remedy in {body}");
}

#[tokio::test]
async fn the_local_api_refuses_what_it_cannot_read() {
    let node = TestNode::start().await;
    let http = http();
    let post = |name: &str| http.post(format!("{}/api/{name}", node.api_address)).bearer_auth(&node.token);
    for body in ["{", "not json", "{\"on\":true}}", "\u{0}", "[[[["] {
        refused(post("sell").body(body), 400, "invalid", "JSON").await;
    }
    for body in ["[true]", "true", "null", "\"on\""] {
        refused(post("sell").body(body), 400, "invalid", "JSON object").await;
    }
    // Deeper than any document: refused by the parser, not by the stack.
    refused(post("sell").body("[".repeat(200_000)), 400, "invalid", "JSON").await;
    for (name, input, named) in [
        ("sell", json!({"on": "yes"}), "boolean"),
        ("sell", json!({}), "on"),
        ("job", json!({"id": 7}), "string"),
        ("jobs", json!({"role": "owner", "limit": null, "before": null}), "owner"),
        ("jobs", json!({"role": null, "limit": -1, "before": null}), "-1"),
        ("pause", json!({"minutes": 1e9}), "minutes"),
        ("pause", json!({"minutes": 99_999}), "minutes"),
        ("set_setting", json!({"key": "slots", "value": {"a": 1}}), "slots"),
        ("invite", json!({"credit_limit_micro_usd": -5, "valid_minutes": null}), "credit_limit_micro_usd"),
        ("invite", json!({"credit_limit_micro_usd": 1, "valid_minutes": 0}), "valid_minutes"),
        ("submit", json!({"work": {"kind": "paint"}, "budget_micro_usd": 1}), "paint"),
        ("submit", json!({"work": {"kind": "embed", "passages": "one"}, "budget_micro_usd": 1}), "sequence"),
        (
            "submit",
            json!({"work": {"kind": "gemm", "m": 1, "k": 1, "n": 1, "input_base64": "", "o": 1}, "budget_micro_usd": 1}),
            "unknown field",
        ),
        ("change_peer", json!({"did": "did:key:zzz", "credit_limit_micro_usd": 1}), "did"),
    ] {
        let (status, body) = problem(post(name).json(&input).send().await.unwrap()).await;
        assert!(status == 400 && body["code"] == "invalid", "{name} {input}: {status} {body}");
        assert!(body["message"].as_str().unwrap().contains(named), "{named:?} is not in {body}");
        assert!(!body["hint"].as_str().unwrap().is_empty(), "no remedy in {body}");
    }
    refused(post("paint").body("{}"), 404, "not_found", "paint").await;
    refused(post("set_setting").json(&json!({"key": "colour", "value": 1})), 404, "not_found", "colour").await;
    // More than a job with the largest input. The server may close while the rest is still being sent.
    match post("submit").body(vec![b' '; (96 << 20) + 1]).send().await {
        Ok(answer) => assert_eq!(answer.status().as_u16(), 413),
        Err(error) => panic!("the refusal did not arrive: {error}"),
    }
    node.owes_and_is_owed_nothing().await;
    assert_eq!(node.buy(&work::for_anyone(work::gemm(16))).await.summary.amount_micro_usd, None);
}

#[tokio::test]
async fn the_local_api_serves_only_its_own_page_with_its_own_token() {
    let node = TestNode::start().await;
    let http = http();
    let url = format!("{}/api/overview", node.api_address);
    let host = node.api_address.trim_start_matches("http://");
    let port = host.rsplit(':').next().unwrap();
    refused(http.post(&url), 401, "unauthenticated", "token").await;
    let other_case = node.token.to_uppercase();
    for token in ["", "x", &node.token[1..], &format!("{}A", node.token), &other_case] {
        refused(http.post(&url).bearer_auth(token), 401, "unauthenticated", "token").await;
    }
    // The token belongs into the header; an address with it would end up in logs.
    refused(http.post(format!("{url}?token={}", node.token)), 401, "unauthenticated", "token").await;
    let asked = || http.post(&url).bearer_auth(&node.token);
    for foreign in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1", &format!("127.0.0.1.evil:{port}")] {
        refused(asked().header("Host", foreign), 403, "forbidden", "its own page").await;
    }
    for foreign in ["http://evil.example", "https://evil.example", "null", &format!("http://{host}.evil.example")] {
        refused(asked().header("Origin", foreign), 403, "forbidden", "its own page").await;
    }
    for ours in [format!("http://{host}"), format!("http://localhost:{port}")] {
        assert_eq!(asked().header("Origin", ours).send().await.unwrap().status().as_u16(), 200);
    }
    // The page itself needs no token, but the same host; and no file outside it can be named.
    assert_eq!(http.get(&node.api_address).send().await.unwrap().status().as_u16(), 200);
    let foreign = http.get(&node.api_address).header("Host", "evil.example").send().await.unwrap();
    assert_eq!(foreign.status().as_u16(), 403);
    for path in ["/../identity.key", "/%2e%2e/identity.key", "/identity.key", "/api.token"] {
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
    }
    // The token is in a file that nobody else reads, and in no error.
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(node.dir().join("api.token")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o077, 0);
}

fn rpc(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// Sends a request to the A2A listener and returns the error's message and its details.
async fn a2a_error(node: &TestNode, body: impl Into<reqwest::Body>) -> (u16, String) {
    let request = http().post(&node.a2a).header("Content-Type", "application/json").header("A2A-Version", "1.0");
    let answer = request.body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    let error = &body["error"];
    assert!(error["code"].as_i64().is_some_and(|code| code < 0), "{body}");
    assert!(!error["data"].as_array().unwrap().is_empty(), "{body}");
    (status, error["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_a2a_listener_refuses_what_it_cannot_read() {
    let node = TestNode::seller().await;
    let call = |method: &str, params: Value| rpc(method, &params).to_string();
    let message = |parts: Value| json!({"message": {"messageId": "m", "role": "ROLE_USER", "parts": parts}});
    for (body, named) in [
        ("{".to_owned(), "JSON"),
        ("[]".to_owned(), "object"),
        ("{\"jsonrpc\":\"2.0\",\"id\":1}".to_owned(), "method"),
        (call("Paint", json!({})), "Paint"),
        (call("message/send", json!({})), "older version"),
        (call("SendMessage", json!({"message": 7})), "message"),
        (call("SendMessage", message(json!([]))), "parts"),
        (call("SendMessage", message(json!("x"))), "parts"),
        (call("GetTask", json!({"id": 7})), "id"),
        (call("GetTask", json!({"id": ""})), "id"),
    ] {
        let (_, said) = a2a_error(&node, body.clone()).await;
        assert!(said.contains(named), "{body}: {named:?} is not in {said:?}");
    }
    // A document of the extension from nobody, and one that is none.
    let document = |data: Value| {
        let part = json!([{"data": data, "mediaType": "application/json"}]);
        json!({"message": {"messageId": "m", "role": "ROLE_USER", "parts": part, "extensions": ["urn:tender:a2a:contract:v1"]}})
    };
    for data in [json!({"type": "call"}), json!({"type": "gift"}), json!([]), json!({})] {
        let (_, said) = a2a_error(&node, call("SendMessage", document(data))).await;
        assert!(said.contains("document") || said.contains("readable"), "{said}");
    }
    // Larger than any document: a stranger may not send so much.
    let large = call("SendMessage", message(json!([{"text": "x".repeat(70 << 10)}])));
    let (status, said) = a2a_error(&node, large).await;
    assert!(said.contains("larger"), "{status} {said}");
    // A stranger's key does not make it a peer.
    let stranger = tender_tests::Stranger::new(1);
    let token = tender_a2a::bearer(stranger.signer.as_ref(), &node.did, &tender_base::time::SystemClock);
    let answer = http()
        .post(&node.a2a)
        .header("Content-Type", "application/json")
        .header("A2A-Version", "1.0")
        .bearer_auth(token)
        .body(vec![b' '; 1 << 20])
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.json::<Value>().await.unwrap()["error"]["message"].as_str().map(|m| m.contains("larger")),
        Some(true)
    );
    // A token that proves nothing never passes as none.
    let answer =
        http().get(format!("{}/tasks", node.a2a)).header("A2A-Version", "1.0").bearer_auth("forged").send().await;
    assert_eq!(answer.unwrap().status().as_u16(), 401);
    node.owes_and_is_owed_nothing().await;
}

/// Connections that say nothing, or only slowly, hold up nobody.
#[tokio::test]
async fn silent_connections_hold_up_nobody() {
    let node = TestNode::start().await;
    let address = node.a2a.trim_start_matches("http://").to_owned();
    let silent: Vec<TcpStream> = (0..32).map(|_| TcpStream::connect(&address).unwrap()).collect();
    for mut stream in &silent {
        stream.write_all(b"POST / HTTP/1.1\r\nContent-Le").unwrap();
    }
    let card = http().get(format!("{}/.well-known/agent-card.json", node.a2a)).timeout(Duration::from_secs(2)).send();
    assert_eq!(card.await.unwrap().status().as_u16(), 200);
}
