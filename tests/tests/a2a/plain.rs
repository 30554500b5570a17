//! A message is a job, its price is INPUT_REQUIRED, `yes` awards it; everything under an API key.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures::StreamExt;
use reqwest::Client;
use serde_json::{Value, json};
use std::time::Duration;
use tender_node::api::types::{ByDid, IssuedKey, KeyInput, Nothing, Paid, PayInput, Peers};
use tender_tests::{TestNode, work};

/// A client that knows nothing but A2A 1.0.
#[derive(Clone)]
pub(crate) struct Plain {
    http: Client,
    address: String,
    key: Option<String>,
}

impl Plain {
    pub(crate) fn new(node: &TestNode, key: Option<&str>) -> Self {
        let http = Client::builder().no_proxy().build().unwrap();
        Self { http, address: node.a2a.clone(), key: key.map(str::to_owned) }
    }

    /// The same connections with another key.
    pub(crate) fn under(&self, key: &str) -> Self {
        Self { http: self.http.clone(), address: self.address.clone(), key: Some(key.to_owned()) }
    }

    pub(crate) fn request(&self, method: &str, params: &Value) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}/", self.address)).header("A2A-Version", "1.0");
        let request = match &self.key {
            Some(key) => request.header("X-API-Key", key),
            None => request,
        };
        request.json(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    }

    pub(crate) async fn raw(&self, method: &str, params: Value) -> (u16, Value) {
        let answer = self.request(method, &params).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        let (_, body) = self.raw(method, params).await;
        assert!(body.get("error").is_none(), "{body}");
        body["result"].clone()
    }

    pub(crate) async fn refused(&self, method: &str, params: Value) -> Value {
        let (_, body) = self.raw(method, params).await;
        assert!(body.get("error").is_some(), "{body}");
        body["error"].clone()
    }

    pub(crate) async fn send(&self, id: &str, task: Option<&str>, part: Value) -> Value {
        self.ask("SendMessage", message(id, task, part)).await["task"].clone()
    }

    pub(crate) async fn ended(&self, task: &str) -> Value {
        for _ in 0..600 {
            let found = self.ask("GetTask", json!({"id": task})).await;
            let state = found["status"]["state"].as_str().unwrap().to_owned();
            if ["TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED"].contains(&state.as_str()) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the task does not end");
    }
}

pub(crate) fn message(id: &str, task: Option<&str>, part: Value) -> Value {
    let mut message = json!({"messageId": id, "role": "ROLE_USER", "parts": [part]});
    if let Some(task) = task {
        message["taskId"] = json!(task);
    }
    json!({"message": message, "configuration": {}})
}

pub(crate) fn text(text: &str) -> Value {
    json!({"text": text})
}

pub(crate) fn gemm(side: u32) -> Value {
    // As clients send it that pass their data through protobuf.
    let side = f64::from(side);
    let input = BASE64.encode(work::gemm_input(side as u32));
    json!({"data": {"kind": "gemm", "m": side, "k": side, "n": side, "input_base64": input}})
}

pub(crate) async fn key(node: &TestNode, name: &str, limit: i64) -> IssuedKey {
    node.ask("issue_key", &KeyInput { name: name.to_owned(), credit_limit_micro_usd: limit }).await
}

pub(crate) fn state(task: &Value) -> &str {
    task["status"]["state"].as_str().unwrap()
}

#[tokio::test]
async fn a_job_is_quoted_awarded_and_delivered_and_owed() {
    let node = TestNode::seller().await;
    let issued = key(&node, "adk", work::DOLLAR).await;
    assert!(issued.key.starts_with("tender_"), "{issued:?}");
    let client = Plain::new(&node, Some(&issued.key));

    let quoted = client.send("m1", None, gemm(16)).await;
    let id = quoted["id"].as_str().unwrap();
    assert_eq!(state(&quoted), "TASK_STATE_INPUT_REQUIRED", "{quoted}");
    let said = quoted["status"]["message"]["parts"][0]["text"].as_str().unwrap();
    assert!(said.contains("answer `yes`"), "{said}");
    let price = quoted["status"]["message"]["parts"][1]["data"]["quote"]["amount_micro_usd"].as_i64().unwrap();
    assert!(price > 0);

    // Sent again it is the same task; with another body it is refused.
    assert_eq!(client.send("m1", None, gemm(16)).await["id"], json!(id));
    client.refused("SendMessage", message("m1", None, gemm(8))).await;
    // Neither yes nor no: the same quote again.
    let again = client.send("m2", Some(id), text("why?")).await;
    assert_eq!((state(&again), &again["id"]), ("TASK_STATE_INPUT_REQUIRED", &json!(id)));

    // The award is followed to its end.
    let answer = client.request("SendStreamingMessage", &message("m3", Some(id), text("Yes, please"))).send().await;
    let mut events = answer.unwrap().bytes_stream();
    let mut told = String::new();
    while let Some(piece) = events.next().await {
        told.push_str(&String::from_utf8_lossy(&piece.unwrap()));
    }
    assert!(told.contains("TASK_STATE_COMPLETED"), "{told}");

    let done = client.ended(id).await;
    assert_eq!(state(&done), "TASK_STATE_COMPLETED", "{done}");
    let part = &done["artifacts"][0]["parts"][0];
    let bytes = BASE64.decode(part["raw"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, work::gemm_input(16)[..16 * 16 * 4], "A times the identity");
    // Without the first event nothing of the log was lost, and its order is the same.
    let history = done["history"].as_array().unwrap();
    assert_eq!(history[0]["messageId"], json!("m1"));
    assert!(history.iter().any(|message| message["messageId"] == json!("m3")));

    // Who lost the connection after the quote hears the rest, each event once and in order.
    let resumed = client.request("SubscribeToTask", &json!({"id": id})).header("Last-Event-ID", "2").send().await;
    let resumed = resumed.unwrap().text().await.unwrap();
    let ids: Vec<u64> = resumed.lines().filter_map(|line| line.strip_prefix("id:")?.trim().parse().ok()).collect();
    // Message, quote; message, quote; message; submitted, perhaps working, output, completed.
    assert_eq!(ids[0], 2, "{resumed}");
    assert!(ids.is_sorted_by(|a, b| a < b) && (8..=9).contains(ids.last().unwrap()), "{ids:?}");
    let last = resumed.lines().rfind(|line| line.starts_with("data:")).unwrap();
    assert!(last.contains("TASK_STATE_COMPLETED"), "{resumed}");

    let peers: Peers = node.ask("peers", &Nothing {}).await;
    let peer = peers.peers.iter().find(|peer| peer.did == issued.did).unwrap();
    assert!(peer.by_key && peer.name == "adk" && peer.owes_us_micro_usd == price, "{peer:?}");
    let paid: Paid = node.ask("record_payment", &PayInput { did: issued.did, method: "cash".into(), book: None }).await;
    assert_eq!((paid.amount_micro_usd, paid.contracts), (price, 1));
    let peers: Peers = node.ask("peers", &Nothing {}).await;
    assert_eq!(peers.peers[0].owes_us_micro_usd, 0);
    assert_eq!(client.ask("GetTask", json!({"id": id})).await, done, "who pays when is no longer the task's");
    // What has ended takes no more messages and cannot be cancelled.
    client.refused("SendMessage", message("m4", Some(id), text("yes"))).await;
    client.refused("CancelTask", json!({"id": id})).await;
    let listed = client.ask("ListTasks", json!({"status": "TASK_STATE_COMPLETED"})).await;
    assert_eq!((listed["totalSize"].as_i64(), &listed["tasks"][0]["id"]), (Some(1), &json!(id)));
}

#[tokio::test]
async fn a_task_whose_card_the_owner_takes_back_fails_with_a_sentence_and_costs_nothing() {
    let node = TestNode::seller().await;
    let client = Plain::new(&node, Some(&key(&node, "player", work::DOLLAR).await.key));
    let job = serde_json::to_value(work::wgsl(4000, 50_000)).unwrap();
    let quoted = client.send("m1", None, json!({"data": job})).await;
    let id = quoted["id"].as_str().unwrap();
    let taken_back = async {
        node.events().first(|e| e.moved_to("running")).await;
        // An owner whose hours are over: any hour but this one.
        let hour = (time_of_day_hours() + 12) % 24;
        node.set("guard.hours", json!(format!("{hour:02}:00-{hour:02}:30"))).await;
    };
    // The answer waits for the end of the task.
    tokio::join!(client.send("m2", Some(id), text("yes")), taken_back);
    let failed = client.ended(id).await;
    assert_eq!(state(&failed), "TASK_STATE_FAILED", "{failed}");
    let said = failed["status"]["message"]["parts"][0]["text"].as_str().unwrap();
    assert!(said.starts_with("handed back:") && said.contains("try again"), "{said}");
    node.owes_and_is_owed_nothing().await;
}

/// Hour of the day, UTC, in which nodes of tests live.
fn time_of_day_hours() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 3600 % 24
}

#[tokio::test]
async fn the_keys_limit_holds_and_a_quote_can_be_declined_cancelled_and_survives_a_restart() {
    let node = TestNode::seller().await;
    let poor = key(&node, "poor", 0).await;
    let client = Plain::new(&node, Some(&poor.key));
    let quoted = client.send("a", None, gemm(16)).await;
    let id = quoted["id"].as_str().unwrap().to_owned();
    let refused = client.send("b", Some(&id), text("yes")).await;
    assert_eq!(state(&refused), "TASK_STATE_INPUT_REQUIRED");
    let said = refused["status"]["message"]["parts"][0]["text"].as_str().unwrap();
    assert!(said.starts_with("Not yet") && said.contains("limit"), "{said}");
    let declined = client.send("c", Some(&id), text("no")).await;
    assert_eq!(state(&declined), "TASK_STATE_CANCELED");

    let other = client.send("d", None, gemm(8)).await;
    let other = other["id"].as_str().unwrap().to_owned();
    let node = node.restart().await;
    let client = Plain::new(&node, Some(&poor.key));
    assert_eq!(client.ask("GetTask", json!({"id": id})).await, declined);
    assert_eq!(state(&client.ask("CancelTask", json!({"id": other})).await), "TASK_STATE_CANCELED");
    // The message that came before the restart is still the same message.
    assert_eq!(client.send("d", None, gemm(8)).await["id"], json!(other));

    node.ask::<_, Nothing>("remove_peer", &ByDid { did: poor.did }).await;
    let (status, _) = client.raw("SendMessage", message("e", None, gemm(8))).await;
    assert_eq!(status, 403);
    assert_eq!(client.raw("GetTask", json!({"id": id})).await.0, 401, "the key may be in other hands");
}

#[tokio::test]
async fn a_text_comes_as_text_while_it_is_written_and_whole_at_the_end() {
    let node = TestNode::seller().await;
    node.set("price.generate.micro_usd", json!(0)).await;
    let issued = key(&node, "free", 0).await;
    let client = Plain::new(&node, Some(&issued.key));
    let question = json!([{"role": "user", "content": "What is the capital of France?"}]);
    let job = json!({"kind": "generate", "model": "SmolLM2-135M-Instruct", "messages": question, "max_tokens": 40});
    // What costs nothing needs no award.
    let answer = client.request("SendStreamingMessage", &message("m", None, json!({"data": job}))).send().await;
    let told = answer.unwrap().text().await.unwrap();
    let events: Vec<Value> = told
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?).ok())
        .map(|event: Value| event["result"].clone())
        .collect();
    let texts: Vec<&str> = events
        .iter()
        .filter(|event| event["artifactUpdate"]["artifact"]["artifactId"] == "output")
        .map(|event| event["artifactUpdate"]["artifact"]["parts"][0]["text"].as_str().unwrap())
        .collect();
    let (whole, pieces) = texts.split_last().unwrap();
    assert!(whole.contains("Paris"), "{told}");
    assert!(pieces.len() > 1 && whole.starts_with(&pieces.concat()), "{told}");
    let end = &events.last().unwrap()["statusUpdate"];
    assert_eq!(end["status"]["state"], json!("TASK_STATE_COMPLETED"), "{told}");
    let done = client.ended(end["taskId"].as_str().unwrap()).await;
    let kinds: Vec<_> = done["artifacts"].as_array().unwrap().iter().map(|a| &a["parts"][0]["mediaType"]).collect();
    assert_eq!(kinds, [&json!("text/plain"), &json!("application/json")], "{done}");
}

#[tokio::test]
async fn an_acknowledged_quote_and_an_award_survive_a_kill() {
    let mut node = TestNode::seller().await;
    let issued = key(&node, "steady", work::DOLLAR).await;
    let client = Plain::new(&node, Some(&issued.key));
    let quoted = client.send("q", None, gemm(16)).await;
    let awarded = client.send("a", None, gemm(8)).await;
    let id = awarded["id"].as_str().unwrap();
    let mut yes = message("y", Some(id), text("yes"));
    yes["configuration"] = json!({"returnImmediately": true});
    client.ask("SendMessage", yes.clone()).await;
    node.kill();
    let node = node.restart().await;
    let client = Plain::new(&node, Some(&issued.key));
    assert_eq!(client.ask("GetTask", json!({"id": quoted["id"]})).await, quoted);
    assert_eq!(client.ask("SendMessage", yes).await["task"]["id"], json!(id), "it came before");
    let done = client.ended(id).await;
    assert_eq!(state(&done), "TASK_STATE_COMPLETED", "{done}");
    let answers = done["history"].as_array().unwrap().iter().filter(|message| message["messageId"] == json!("y"));
    assert_eq!(answers.count(), 1);
}

#[tokio::test]
async fn nobody_sees_anothers_tasks_and_without_a_key_there_is_an_introduction() {
    let node = TestNode::seller().await;
    let (one, two) = (key(&node, "one", work::DOLLAR).await, key(&node, "two", work::DOLLAR).await);
    let (one, two) = (Plain::new(&node, Some(&one.key)), Plain::new(&node, Some(&two.key)));
    let task = one.send("m", None, gemm(16)).await;
    let id = &task["id"];
    let theirs = two.send("m", None, gemm(16)).await;
    assert_ne!(theirs["id"], *id, "message ids are each owner's own");
    for (method, params) in [
        ("GetTask", json!({"id": id})),
        ("CancelTask", json!({"id": id})),
        ("SubscribeToTask", json!({"id": id})),
        ("SendMessage", message("n", id.as_str(), text("yes"))),
    ] {
        let error = two.refused(method, params).await;
        assert_eq!(error["code"], json!(-32001), "{method}: {error}");
    }
    assert_eq!(two.ask("ListTasks", json!({})).await["totalSize"], json!(1));

    let nobody = Plain::new(&node, None);
    let introduction = nobody.ask("SendMessage", message("m", None, text("Hello"))).await;
    assert!(introduction["message"]["parts"][0]["text"].as_str().unwrap().contains("API key"), "{introduction}");
    assert_eq!(nobody.raw("GetTask", json!({"id": id})).await.0, 401);
    let forged = Plain::new(&node, Some("tender_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    assert_eq!(forged.raw("SendMessage", message("m", None, gemm(8))).await.0, 403);
    // What cannot be read names the field.
    let error = one.refused("SendMessage", message("x", None, json!({"data": {"kind": "paint"}}))).await;
    assert!(error["message"].as_str().unwrap().contains("paint"), "{error}");
}
