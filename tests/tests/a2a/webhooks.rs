//! Push notifications of a real node. Its rules allow public addresses only, and a paired peer's own node: the receiver
//! here is one, with a key and a signed card.

use reqwest::Client as Http;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tender_a2a::{
    bearer,
    card::{self, CardFacts},
    contract,
    wire::Message as WireMessage,
};
use tender_base::{
    Signed,
    documents::{Acceptance, Delivery, Message, PairingRequest},
    signed::KeySigner,
    time::SystemClock,
};
use tender_node::api::types::{ByDid, IssuedKey, KeyInput, Nothing};
use tender_tests::{NONCE, Stranger, TestNode, work};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

/// What came to the receiver, the status that it was answered with, and the lines of its head in lower case.
#[derive(Clone, Debug)]
struct Posted {
    path: String,
    head: String,
    body: Value,
    answer: u16,
}

/// How the receiver answers posts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Takes,
    /// What is not yet taken is refused, but for this many.
    TakesOnly(usize),
    /// Sends them elsewhere.
    Redirects,
}

struct Seen {
    card: String,
    mood: Mood,
    posts: Vec<Posted>,
}

/// A peer's own node, as far as webhooks see it: a card, and a place that takes posts.
#[derive(Clone)]
struct Receiver {
    address: String,
    seen: Arc<Mutex<Seen>>,
}

impl Receiver {
    async fn open(owner: &Stranger) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let card = signed_card(owner, &owner.signer, &address);
        let seen = Arc::new(Mutex::new(Seen { card, mood: Mood::Takes, posts: Vec::new() }));
        let receiver = Self { address, seen };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.answer(BufReader::new(stream)).await });
            }
        });
        receiver
    }

    async fn answer(&self, mut stream: BufReader<tokio::net::TcpStream>) {
        loop {
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head += &line;
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let answer = self.take(&head, &body);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn take(&self, head: &str, body: &[u8]) -> String {
        let mut seen = self.seen.lock().unwrap();
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap().to_owned());
        if method == "GET" {
            return format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", seen.card.len(), seen.card);
        }
        let taken = seen.posts.iter().filter(|post| post.answer == 204).count();
        let (answer, more) = match seen.mood {
            Mood::TakesOnly(count) if taken >= count => (503, ""),
            Mood::Redirects => (307, "Location: /elsewhere\r\n"),
            _ => (204, ""),
        };
        let body = serde_json::from_slice(body).unwrap();
        seen.posts.push(Posted { path, head: head.to_lowercase(), body, answer });
        format!("HTTP/1.1 {answer} Said\r\n{more}Content-Length: 0\r\n\r\n")
    }

    fn posts(&self) -> Vec<Posted> {
        self.seen.lock().unwrap().posts.clone()
    }

    /// What was taken under a path, in order.
    fn taken(&self, path: &str) -> Vec<Value> {
        let posts = self.posts().into_iter();
        posts.filter(|post| post.answer == 204 && post.path == path).map(|post| post.body).collect()
    }

    async fn until(&self, what: &str, holds: impl Fn(&[Posted]) -> bool) {
        let started = Instant::now();
        while !holds(&self.posts()) {
            assert!(started.elapsed() < Duration::from_secs(30), "{what}: {:#?}", self.posts());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn signed_card(owner: &Stranger, by: &KeySigner, address: &str) -> String {
    let mut card = card::build(&CardFacts {
        name: "peer".to_owned(),
        description: "Takes push notifications.".to_owned(),
        url: format!("{address}/"),
        did: owner.did(),
        version: "1".to_owned(),
        tls_key_sha256: None,
        skills: Vec::new(),
        offer: card::Offer::default(),
        successions: Vec::new(),
    });
    card::sign(&mut card, by).unwrap();
    serde_json::to_string(&card).unwrap()
}

/// A seller, and a peer that said where its own node listens.
struct Circle {
    node: TestNode,
    peer: Stranger,
    receiver: Receiver,
    http: Http,
}

impl Circle {
    async fn form(seed: u8) -> Self {
        let (node, peer) = (TestNode::seller().await, Stranger::new(seed));
        let receiver = Receiver::open(&peer).await;
        let link = node.invite(work::DOLLAR).await;
        let secret = link.split("secret=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        let client = peer.connect(&node.a2a, node.did).await.unwrap();
        let request = PairingRequest {
            invitee: peer.did(),
            inviter: node.did,
            secret,
            name: "peer".to_owned(),
            address: Some(receiver.address.clone()),
            sent_at: peer.now(),
        };
        let answer = client.exchange(Message::PairingRequest(Signed::new(request, peer.signer.as_ref()))).await;
        assert!(matches!(answer, Ok(Message::PairingAnswer(_))), "{answer:?}");
        Self { node, peer, receiver, http: Http::builder().no_proxy().build().unwrap() }
    }

    fn request(&self, method: &str, params: &Value) -> reqwest::RequestBuilder {
        self.http
            .post(format!("{}/", self.node.a2a))
            .header("A2A-Version", "1.0")
            .header("A2A-Extensions", tender_a2a::CONTRACT_EXTENSION)
            .bearer_auth(bearer(self.peer.signer.as_ref(), &self.node.did, &SystemClock))
            .json(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        let body: Value = self.request(method, &params).send().await.unwrap().json().await.unwrap();
        assert!(body.get("error").is_none(), "{method}: {body}");
        body["result"].clone()
    }

    async fn refused(&self, method: &str, params: Value) -> String {
        let body: Value = self.request(method, &params).send().await.unwrap().json().await.unwrap();
        assert_eq!(body["error"]["code"], json!(-32602), "{method}: {body}");
        body["error"]["message"].as_str().unwrap().to_owned()
    }

    /// A call that was answered, and the message that takes the proposal.
    async fn award(&self) -> (Signed<tender_base::documents::Award>, WireMessage) {
        let client = self.peer.connect(&self.node.a2a, self.node.did).await.unwrap();
        let (call, input) = self.peer.call(self.node.did);
        let answer = client.exchange(Message::Call(self.peer.sign_call(call.clone()))).await.unwrap();
        let Message::Proposal(proposal) = answer else { panic!("{answer:?}") };
        let award = Signed::new(self.peer.award(&call, &proposal), self.peer.signer.as_ref());
        (award.clone(), contract::wrap_award(&Message::Award(award), input))
    }

    /// The delivery of a task that waits for the verdict.
    async fn delivered(&self, task: &str) -> Signed<Delivery> {
        let started = Instant::now();
        loop {
            let found = self.ask("GetTask", json!({"id": task})).await;
            if found["status"]["state"] == "TASK_STATE_INPUT_REQUIRED" {
                let said: WireMessage = serde_json::from_value(found["status"]["message"].clone()).unwrap();
                let Some(contract::Envelope { document: Message::Delivery(delivery), .. }) =
                    contract::unwrap(said).unwrap()
                else {
                    panic!("{found}")
                };
                return delivery;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{found}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn accept(&self, delivery: &Signed<Delivery>) {
        let acceptance = Acceptance {
            contract: delivery.document.contract,
            client: self.peer.did(),
            contractor: self.node.did,
            delivery: delivery.hash(),
            nonce: NONCE,
            evidence: Vec::new(),
            amount: delivery.document.amount,
            accepted_at: self.peer.now(),
        };
        let client = self.peer.connect(&self.node.a2a, self.node.did).await.unwrap();
        let acceptance = Message::Acceptance(Signed::new(acceptance, self.peer.signer.as_ref()));
        assert!(matches!(client.exchange(acceptance).await, Ok(Message::Countersignature(_))));
    }

    /// What a stream tells after the first version: every event that is in the log.
    async fn told_after_the_first(&self, task: &str) -> Vec<Value> {
        let request = self.request("SubscribeToTask", &json!({"id": task})).header("Last-Event-ID", "1");
        let told = request.send().await.unwrap().text().await.unwrap();
        let events = told.split("\n\n").filter(|event| event.lines().any(|line| line.starts_with("id:")));
        let data = events.filter_map(|event| event.lines().find_map(|line| line.strip_prefix("data:")));
        data.skip(1).map(|data| serde_json::from_str::<Value>(data).unwrap()["result"].clone()).collect()
    }
}

fn states(posts: &[Value]) -> Vec<&str> {
    let state = |post: &Value| post["statusUpdate"]["status"]["state"].as_str().map(str::to_owned);
    posts.iter().map(|post| state(post).map_or("artifact", |state| leak(&state))).collect()
}

fn leak(state: &str) -> &'static str {
    ["SUBMITTED", "WORKING", "INPUT_REQUIRED", "COMPLETED", "FAILED", "CANCELED", "REJECTED"]
        .into_iter()
        .find(|known| state.ends_with(known))
        .unwrap_or("?")
}

#[tokio::test]
async fn every_event_arrives_once_and_in_order_also_when_the_node_was_restarted_meanwhile() {
    let mut circle = Circle::form(77).await;
    // Whoever receives takes the first event and then falls silent.
    circle.receiver.seen.lock().unwrap().mood = Mood::TakesOnly(1);
    let (award, message) = circle.award().await;
    let task = award.document.contract.to_string();
    let inline = json!({
        "id": "inline",
        "url": format!("{}/inline", circle.receiver.address),
        "token": "told",
        "authentication": {"scheme": "Bearer", "credentials": "secret"},
    });
    let sent = json!({
        "message": message,
        "configuration": {"returnImmediately": true, "taskPushNotificationConfig": inline},
    });
    circle.ask("SendMessage", sent).await;
    let delivery = circle.delivered(&task).await;
    circle.receiver.until("the second event is refused", |posts| posts.iter().any(|post| post.answer == 503)).await;

    // The node ends and comes back; what was not taken is delivered after it.
    circle.node.stop();
    circle.node = circle.node.restart().await;
    let refused = circle.receiver.posts().len();
    circle.receiver.until("the node goes on by itself", |posts| posts.len() > refused).await;
    let second = json!({"taskId": task, "id": "second", "url": format!("{}/second", circle.receiver.address)});
    let made = circle.ask("CreateTaskPushNotificationConfig", second.clone()).await;
    assert_eq!((&made["id"], &made["url"]), (&second["id"], &second["url"]));
    let listed = circle.ask("ListTaskPushNotificationConfigs", json!({"taskId": task})).await;
    assert_eq!(listed["configs"].as_array().unwrap().len(), 2, "{listed}");
    circle.receiver.seen.lock().unwrap().mood = Mood::Takes;
    circle
        .receiver
        .until("what was owed arrives", |posts| posts.iter().any(|p| p.answer == 204 && ended(p, "INPUT_REQUIRED")))
        .await;
    circle.accept(&delivery).await;
    for path in ["/inline", "/second"] {
        let end = |post: &Posted| post.path == path && post.answer == 204 && ended(post, "COMPLETED");
        circle.receiver.until(path, |posts| posts.iter().any(end)).await;
    }

    let told = circle.told_after_the_first(&task).await;
    let inline = circle.receiver.taken("/inline");
    assert_eq!(states(&inline[..1]), ["SUBMITTED"]);
    assert_eq!(inline[1..], told, "each once, in the log's order");
    assert!(states(&told).ends_with(&["artifact", "INPUT_REQUIRED", "COMPLETED"]), "{:?}", states(&told));
    assert_eq!(states(&circle.receiver.taken("/second")), ["COMPLETED"], "made after the delivery");
    for post in circle.receiver.posts().iter().filter(|post| post.path == "/inline") {
        for line in ["authorization: bearer secret", "x-a2a-notification-token: told", "application/a2a+json"] {
            assert!(post.head.contains(line), "{}", post.head);
        }
    }
    // Nothing more comes, and nothing is delivered again by the next start.
    let before = circle.receiver.posts().len();
    circle.node.stop();
    circle.node = circle.node.restart().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(circle.receiver.posts().len(), before);
}

fn ended(post: &Posted, state: &str) -> bool {
    states(std::slice::from_ref(&post.body)) == [state]
}

#[tokio::test]
async fn addresses_that_only_this_machine_reaches_are_refused_when_a_webhook_is_made() {
    let circle = Circle::form(78).await;
    let (award, message) = circle.award().await;
    let task = award.document.contract.to_string();
    let port = circle.receiver.address.rsplit(':').next().unwrap();
    let refused: Vec<String> = [
        "http://127.0.0.1:1/",
        "http://127.0.0.2:PORT/",
        "http://localhost:PORT/",
        "https://127.0.0.1:PORT/",
        "https://localhost/",
        "https://2130706433:PORT/",
        "https://[::ffff:127.0.0.1]/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00::1]/",
        "http://1.1.1.1/",
        "file:///etc/passwd",
    ]
    .map(|url| url.replace("PORT", port))
    .to_vec();
    for url in &refused {
        let hook = json!({"url": url});
        let sent = json!({"message": message, "configuration": {"taskPushNotificationConfig": hook}});
        let said = circle.refused("SendMessage", sent).await;
        assert!(said.contains("webhook"), "{url}: {said}");
    }
    // None of them has awarded anything.
    let listed = circle.ask("ListTasks", json!({})).await;
    assert_eq!(listed["totalSize"], json!(0), "{listed}");
    let sent = json!({"message": message, "configuration": {"returnImmediately": true}});
    circle.ask("SendMessage", sent).await;
    for url in &refused {
        circle.refused("CreateTaskPushNotificationConfig", json!({"taskId": task, "url": url})).await;
    }
    let own = json!({"taskId": task, "url": format!("{}/hook", circle.receiver.address)});
    circle.ask("CreateTaskPushNotificationConfig", own.clone()).await;

    // Another's node is not one's own, and who holds an API key has none.
    let issued: IssuedKey =
        circle.node.ask("issue_key", &KeyInput { name: "plain".into(), credit_limit_micro_usd: 0 }).await;
    let input = json!({"kind": "kernel", "name": "sum", "rows": 1, "columns": 1, "input_base64": "AACAPw=="});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {
        "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"data": input}]},
        "configuration": {"taskPushNotificationConfig": {"url": own["url"]}},
    }});
    let request = circle.http.post(format!("{}/", circle.node.a2a)).header("A2A-Version", "1.0");
    let answer: Value = request.header("X-API-Key", issued.key).json(&body).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["error"]["code"], json!(-32602), "{answer}");
}

#[tokio::test]
async fn what_became_of_a_webhook_is_looked_at_again_whenever_it_is_called() {
    let circle = Circle::form(79).await;
    let (award, message) = circle.award().await;
    let task = award.document.contract.to_string();
    // Somebody else answers where the peer's node was: no credentials reach it.
    let true_card = circle.receiver.seen.lock().unwrap().card.clone();
    let false_card = signed_card(&circle.peer, &KeySigner::from_seed(&[9; 32]), &circle.receiver.address);
    circle.receiver.seen.lock().unwrap().card = false_card;
    let hook = json!({"id": "h", "url": format!("{}/hook", circle.receiver.address), "token": "secret"});
    let sent = json!({
        "message": message,
        "configuration": {"returnImmediately": true, "taskPushNotificationConfig": hook},
    });
    circle.ask("SendMessage", sent).await;
    let delivery = circle.delivered(&task).await;
    assert!(circle.receiver.posts().is_empty(), "{:?}", circle.receiver.posts());

    // A redirect is not followed, and not taken for a success.
    {
        let mut seen = circle.receiver.seen.lock().unwrap();
        (seen.card, seen.mood) = (true_card, Mood::Redirects);
    }
    circle.receiver.until("it is tried again", |posts| posts.len() >= 2).await;
    let posts = circle.receiver.posts();
    assert!(posts.iter().all(|post| post.path == "/hook" && ended(post, "SUBMITTED")), "{posts:?}");

    // Who is no peer any more has no node of its own: the loopback address is only that.
    circle.node.ask::<_, Nothing>("remove_peer", &ByDid { did: circle.peer.did().to_string() }).await;
    circle.receiver.seen.lock().unwrap().mood = Mood::Takes;
    let before = circle.receiver.posts().len();
    circle.accept(&delivery).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(circle.receiver.posts().len(), before, "{:#?}", circle.receiver.posts());
}
