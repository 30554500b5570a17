//! What the holder of an API key cannot do: clear its own debt, take more of the node than it may, or have work done that
//! the owner no longer sells.

use crate::plain::{Plain, gemm, key, message, state, text};
use serde_json::{Value, json};
use std::path::Path;
use tender_a2a::{ApiKey, CONTRACT_EXTENSION, bearer};
use tender_base::{
    Book, Code, MicroUsd, Signed,
    documents::{Message, Payment},
    ids::PaymentId,
    time::SystemClock,
};
use tender_node::api::types::{Nothing, Paid, PayInput, Peers};
use tender_tests::{Stranger, TestNode, work};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn quoted_amount(task: &Value) -> i64 {
    task["status"]["message"]["parts"][1]["data"]["quote"]["amount_micro_usd"].as_i64().unwrap()
}

fn said(task: &Value) -> &str {
    task["status"]["message"]["parts"][0]["text"].as_str().unwrap()
}

/// How many files lie among the blobs.
fn blobs(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { blobs(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn who_holds_a_key_cannot_say_that_it_paid() {
    let node = TestNode::seller().await;
    let issued = key(&node, "sly", work::DOLLAR).await;
    let client = Plain::new(&node, Some(&issued.key));
    let quote = client.send("m", None, gemm(16)).await;
    let (id, amount) = (quote["id"].as_str().unwrap(), quoted_amount(&quote));
    client.send("y", Some(id), text("yes")).await;
    let done = client.ended(id).await;
    let billed = &done["metadata"][CONTRACT_EXTENSION]["billed"];
    assert_eq!(billed["amount_micro_usd"], json!(amount), "a product takes what it was quoted for: {done}");

    // The key is a signing key: its holder can speak the extension.
    let holder = Stranger { signer: ApiKey::read(&issued.key).unwrap().signer() };
    let connection = holder.connect(&node.a2a, node.did).await.unwrap();
    let payment = Payment {
        payment: id.parse::<PaymentId>().unwrap(),
        payer: holder.did(),
        payee: node.did,
        book: Book::Real,
        contracts: vec![id.parse().unwrap()],
        amount: MicroUsd(amount),
        method: "believe me".to_owned(),
        paid_at: holder.now(),
    };
    let payment = Message::Payment(Signed::new(payment, holder.signer.as_ref()));
    let refused = connection.exchange(payment).await.unwrap_err();
    assert_eq!(refused.code, Code::Forbidden, "{refused:?}");
    let owed = async || node.ask::<_, Peers>("peers", &Nothing {}).await.peers[0].owes_us_micro_usd;
    assert_eq!(owed().await, amount);

    // The owner says it.
    let paid: Paid = node.ask("record_payment", &PayInput { did: issued.did, method: "cash".into(), book: None }).await;
    assert_eq!((paid.amount_micro_usd, owed().await), (amount, 0));
}

#[tokio::test]
async fn who_signs_with_a_key_sends_no_more_than_who_shows_it() {
    let node = TestNode::seller().await;
    let issued = key(&node, "signs", 0).await;
    let signer = ApiKey::read(&issued.key).unwrap().signer();
    let address = node.a2a.trim_start_matches("http://");
    // A blank text asks for nothing, and is answered at once; who announces too much is refused unread.
    let send = async |kib: usize, token: &str| {
        let message = message(&format!("{kib} {}", token.len()), None, text(&" ".repeat(kib << 10))).to_string();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /message:send HTTP/1.1\r\nHost: {address}\r\nA2A-Version: 1.0\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            message.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        if kib < 2000 {
            stream.write_all(message.as_bytes()).await.unwrap();
        }
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        String::from_utf8(status.to_vec()).unwrap()
    };
    for token in [issued.key.clone(), bearer(signer.as_ref(), &node.did, &SystemClock)] {
        assert_eq!(send(500, &token).await, "HTTP/1.1 200");
        assert_eq!(send(3000, &token).await, "HTTP/1.1 413");
    }
}

#[tokio::test]
async fn a_key_has_so_many_quotes_and_answers_and_leaves_nothing_beyond_them() {
    let node = TestNode::seller().await;
    let issued = key(&node, "busy", 0).await;
    let client = Plain::new(&node, Some(&issued.key));
    let first = client.send("m0", None, gemm(16)).await;
    let id = first["id"].as_str().unwrap();

    // Answers are short and few; the limit of the key lets none of them award.
    let long = client.refused("SendMessage", message("long", Some(id), text(&"?".repeat(65 << 10)))).await;
    assert!(long["message"].as_str().unwrap().contains("more than 65536"), "{long}");
    for number in 0..32 {
        let (_, answer) = client.raw("SendMessage", message(&format!("q{number}"), Some(id), text("yes"))).await;
        if answer.get("error").is_some() {
            assert!(number >= 13, "{number}: {answer}");
            break;
        }
        assert!(said(&answer["result"]["task"]).starts_with("Not yet"), "{answer}");
        assert!(number < 16, "there is no end to it");
    }
    let known = client.ask("GetTask", json!({"id": id})).await;
    assert!(known["history"].as_array().unwrap().len() <= 2 * 17, "{known}");
    // Beyond that only an end is taken.
    client.refused("SendMessage", message("why", Some(id), text("why?"))).await;

    for number in 1..32 {
        let task = client.send(&format!("m{number}"), None, gemm(8)).await;
        let declined = client.send(&format!("n{number}"), task["id"].as_str(), text("no")).await;
        assert_eq!(state(&declined), "TASK_STATE_CANCELED");
    }
    let before = blobs(&node.dir().join("blobs"));
    let many = client.refused("SendMessage", message("m32", None, gemm(24))).await;
    assert!(many["message"].as_str().unwrap().contains("quotes"), "{many}");
    assert_eq!(blobs(&node.dir().join("blobs")), before, "what is refused leaves nothing");
    let other = key(&node, "other", 0).await;
    Plain::new(&node, Some(&other.key)).send("m", None, gemm(8)).await;
}

#[tokio::test]
async fn a_refused_award_leaves_nothing_and_what_is_said_can_be_forgotten() {
    let node = TestNode::seller().await;
    let issued = key(&node, "poor", 0).await;
    let client = Plain::new(&node, Some(&issued.key));
    let quote = client.send("m", None, gemm(32)).await;
    let id = quote["id"].as_str().unwrap();
    let before = blobs(&node.dir().join("blobs"));
    let refused = client.send("y", Some(id), text("yes")).await;
    assert!(said(&refused).starts_with("Not yet") && said(&refused).contains("limit"), "{refused}");
    assert_eq!(blobs(&node.dir().join("blobs")), before, "the input of an award that is not allowed is not kept");

    // What was said is whole for its owner, and in no database that never forgets.
    let input = gemm(32)["data"]["input_base64"].as_str().unwrap().to_owned();
    let known = client.ask("GetTask", json!({"id": id})).await;
    assert_eq!(known["history"][0]["parts"][0]["data"]["input_base64"], json!(input));
    let stored = node.dir().join("blobs");
    assert!(blobs(&stored) > 0);
    for file in ["tender.db", "tender.db-wal"] {
        let bytes = std::fs::read(node.dir().join(file)).unwrap();
        let piece = &input.as_bytes()[..200];
        assert!(!bytes.windows(piece.len()).any(|window| window == piece), "{file}");
    }
    // Nor is what else a message says beside its part.
    let noise = "noise".repeat(2000);
    let mut padded = message("p", None, gemm(8));
    padded["message"]["metadata"] = json!({"note": noise});
    padded["message"]["referenceTaskIds"] = json!([noise]);
    padded["message"]["extensions"] = json!([noise]);
    let padded = client.ask("SendMessage", padded).await;
    let known = client.ask("GetTask", json!({"id": padded["task"]["id"]})).await;
    let first = &known["history"][0];
    assert_eq!((&first["metadata"]["note"], &first["extensions"]), (&json!(noise), &json!([noise])), "{first}");
    assert_eq!(first["referenceTaskIds"], json!([noise]));
    for file in ["tender.db", "tender.db-wal"] {
        let bytes = std::fs::read(node.dir().join(file)).unwrap();
        let piece = &noise.as_bytes()[..2000];
        assert!(!bytes.windows(piece.len()).any(|window| window == piece), "{file}");
    }
    // Once it is forgotten, the rest of the task is still told, and nothing else is done for its price.
    std::fs::remove_dir_all(&stored).unwrap();
    let known = client.ask("GetTask", json!({"id": id})).await;
    assert_eq!(known["history"][0]["parts"][0]["text"], json!("[no longer kept]"), "{known}");
    let lost = client.refused("SendMessage", message("y2", Some(id), text("yes"))).await;
    assert_ne!(lost["code"], json!(-32001), "{lost}");
}

#[tokio::test]
async fn what_the_owner_switched_off_is_not_awarded_and_what_was_quoted_is_done() {
    let node = TestNode::seller().await;
    node.set("price.generate.per_units", json!(1)).await;
    let issued = key(&node, "writer", work::DOLLAR).await;
    let client = Plain::new(&node, Some(&issued.key));
    // A model that is not for sale is a mistake in the job, and no task that is missing.
    let other = json!({"data": {"kind": "generate", "model": "GPT-0", "prompt": "Hello"}});
    let refused = client.refused("SendMessage", message("o", None, other)).await;
    assert_eq!(refused["code"], json!(-32602), "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("GPT-0"), "{refused}");

    let quote = client.send("m", None, text("What is the capital of France? Answer in one word.")).await;
    let id = quote["id"].as_str().unwrap();
    let model = quote["status"]["message"]["parts"][1]["data"]["quote"]["work"]["model"]["name"].as_str().unwrap();
    assert!(said(&quote).contains(&format!("of generate by {model};")), "{quote}");
    node.sell(false).await;
    let paused = client.send("y1", Some(id), text("yes")).await;
    assert_eq!(state(&paused), "TASK_STATE_INPUT_REQUIRED");
    assert!(said(&paused).starts_with("Not yet") && said(&paused).contains("not selling"), "{paused}");
    node.sell(true).await;
    client.send("y2", Some(id), text("yes")).await;
    let done = client.ended(id).await;
    assert_eq!(state(&done), "TASK_STATE_COMPLETED", "{done}");
    // A text that ends early costs less than it might have.
    let billed = done["metadata"][CONTRACT_EXTENSION]["billed"]["amount_micro_usd"].as_i64().unwrap();
    assert!(0 < billed && billed < quoted_amount(&quote), "{done}");
    let peers: Peers = node.ask("peers", &Nothing {}).await;
    assert_eq!(peers.peers[0].owes_us_micro_usd, billed);
}
