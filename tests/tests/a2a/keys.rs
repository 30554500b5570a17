//! API keys: another is issued, then the first is removed; what each has bought stays its own.

use reqwest::Client;
use serde_json::{Value, json};
use tender_node::api::types::{ByDid, Earnings, EarningsQuery, IssuedKey, KeyInput, Nothing, Peers};
use tender_tests::{TestNode, work};

async fn send(node: &TestNode, key: &str, message: Value) -> (u16, Value) {
    let http = Client::builder().no_proxy().build().unwrap();
    let body = json!({"message": message, "configuration": {}});
    let request = http.post(format!("{}/message:send", node.a2a)).header("A2A-Version", "1.0");
    let answer = request.header("X-API-Key", key).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn card(node: &TestNode) -> Value {
    let http = Client::builder().no_proxy().build().unwrap();
    http.get(format!("{}/.well-known/agent-card.json", node.a2a)).send().await.unwrap().json().await.unwrap()
}

/// Quotes and buys the sum of one number.
async fn buy(node: &TestNode, key: &str, id: &str) -> Value {
    let job = json!({"kind": "kernel", "name": "sum", "rows": 1, "columns": 1, "input_base64": "AACAPw=="});
    let (status, quoted) =
        send(node, key, json!({"messageId": id, "role": "ROLE_USER", "parts": [{"data": job}]})).await;
    assert_eq!(status, 200, "{quoted}");
    let task = &quoted["task"]["id"];
    let yes =
        json!({"messageId": format!("{id}-yes"), "taskId": task, "role": "ROLE_USER", "parts": [{"text": "yes"}]});
    let (_, done) = send(node, key, yes).await;
    assert_eq!(done["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{done}");
    done["task"].clone()
}

#[tokio::test]
async fn a_key_is_replaced_by_another_and_then_taken_back() {
    let node = TestNode::seller().await;
    let scheme = card(&node).await["securitySchemes"]["key"]["apiKeySecurityScheme"].clone();
    assert_eq!((&scheme["location"], &scheme["name"]), (&json!("header"), &json!("X-API-Key")), "{scheme}");
    let named = |name: &str| KeyInput { name: name.into(), credit_limit_micro_usd: work::DOLLAR };
    let issue = async |name| -> IssuedKey { node.ask("issue_key", &named(name)).await };
    let first = issue("script").await;
    buy(&node, &first.key, "a").await;
    let taken = node.refuses("issue_key", &named("script")).await;
    assert!(taken.code == tender_base::Code::Conflict && taken.message.contains("script"), "{taken}");
    let second = issue("script, second key").await;
    assert_ne!(first.did, second.did);
    // Both work until the first is removed.
    buy(&node, &first.key, "b").await;
    buy(&node, &second.key, "a").await;
    node.ask::<_, Nothing>("remove_peer", &ByDid { did: first.did.clone() }).await;
    let message = json!({"messageId": "c", "role": "ROLE_USER", "parts": [{"text": "hello"}]});
    let (status, refused) = send(&node, &first.key, message).await;
    assert_eq!(status, 403, "{refused}");
    buy(&node, &second.key, "c").await;
    // What the first key bought is still owed, and its secret was kept nowhere.
    let earnings: Earnings = node.ask("earnings", &EarningsQuery { book: None, days: Some(1) }).await;
    assert!(earnings.ledger_balances && earnings.owed_to_us_micro_usd > 0, "{earnings:#?}");
    let peers: Peers = node.ask("peers", &Nothing {}).await;
    assert_eq!(peers.peers.iter().map(|peer| peer.did.as_str()).collect::<Vec<_>>(), [second.did.as_str()]);
    for entry in std::fs::read_dir(node.dir()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for key in [&first.key, &second.key] {
            let secret = key.trim_start_matches("tender_").as_bytes();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn who_speaks_the_extension_is_told_what_a_text_has_used_so_far() {
    let node = TestNode::seller().await;
    // Three micro-dollars per token, so that the sums can be told from the counts.
    node.set("price.generate.micro_usd", json!(3)).await;
    node.set("price.generate.per_units", json!(1)).await;
    let issued: IssuedKey =
        node.ask("issue_key", &KeyInput { name: "reader".into(), credit_limit_micro_usd: work::DOLLAR }).await;
    let messages = json!([{"role": "user", "content": "What is the capital of France?"}]);
    let job = json!({"kind": "generate", "model": "SmolLM2-135M-Instruct", "messages": messages, "max_tokens": 40});
    let asked = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"data": job}]});
    let (_, quoted) = send(&node, &issued.key, asked).await;
    let most = quoted["task"]["status"]["message"]["parts"][1]["data"]["quote"]["amount_micro_usd"].as_i64().unwrap();
    let yes =
        json!({"messageId": "y", "taskId": quoted["task"]["id"], "role": "ROLE_USER", "parts": [{"text": "yes"}]});
    let http = Client::builder().no_proxy().build().unwrap();
    let request = http.post(format!("{}/message:stream", node.a2a)).header("A2A-Version", "1.0");
    let request = request.header("X-API-Key", &issued.key).header("A2A-Extensions", tender_a2a::CONTRACT_EXTENSION);
    let told = request.json(&json!({"message": yes})).send().await.unwrap().text().await.unwrap();
    let meters: Vec<Value> = told
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data:")?).ok())
        .map(|event| event["statusUpdate"]["metadata"][tender_a2a::CONTRACT_EXTENSION].clone())
        .filter(|said| said["done"].as_u64() > Some(0))
        .map(|said| said["meter"].clone())
        .collect();
    assert!(meters.len() > 1, "{told}");
    for meter in &meters {
        let (units, amount) = (meter["units"].as_i64().unwrap(), meter["amount_micro_usd"].as_i64().unwrap());
        assert!(amount == 3 * units && amount <= most, "{meter}, at most {most}");
        assert_eq!((&meter["energy_joules"], &meter["measured"]), (&Value::Null, &json!(false)), "{meter}");
    }
    assert!(meters.windows(2).all(|pair| pair[0]["units"].as_i64() < pair[1]["units"].as_i64()), "{meters:?}");
}
