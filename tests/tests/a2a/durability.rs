//! SIGKILL under load: whatever was acknowledged is there afterwards, a message that came before is the same task, and
//! every event of a stream that was cut came once and in order.

use crate::plain::{Plain, gemm, key, message, state, text};
use futures::StreamExt;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tender_node::api::types::{Nothing, Peers};
use tender_tests::{TestNode, draw, work};
use tokio::task::JoinHandle;

/// Kills.
const ROUNDS: u64 = 4;
/// Connections that ask for quotes, each as fast as it is answered.
const CONNECTIONS: usize = 8;
/// Keys of each connection, and quotes that it asks for with each: a key may have 32 in ten minutes that it does not award.
const KEYS: usize = 3;
const QUOTES: usize = 30;
/// Between two messages to one task, which takes sixteen.
const PAUSE: Duration = Duration::from_millis(80);
/// The load lasts from the first to the second before the kill.
const MOMENT_MS: (u64, u64) = (150, 900);

/// What one connection sent.
#[derive(Default)]
struct Sent {
    /// Id of the message, and the task that answered it.
    answered: Vec<(String, Value)>,
    /// The last message, whose answer never came.
    unanswered: Option<(String, Value)>,
}

/// Sends messages until the connection breaks, or there is no next one.
async fn send(pause: Duration, mut next: impl FnMut(&[(String, Value)]) -> Option<(Plain, String, Value)>) -> Sent {
    let mut sent = Sent::default();
    loop {
        let Some((client, id, params)) = next(&sent.answered) else { return sent };
        tokio::time::sleep(pause).await;
        let answer = match client.request("SendMessage", &params).send().await {
            Ok(answer) => answer.json::<Value>().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(body) => {
                assert!(body["result"]["task"].is_object(), "{body}");
                sent.answered.push((id, body["result"]["task"].clone()));
            }
            Err(_) => {
                sent.unanswered = Some((id, params));
                return sent;
            }
        }
    }
}

/// An event's id and what it says.
type Event = (Option<u64>, String);

/// Reads a stream into `heard` until it ends or breaks.
fn listen(client: &Plain, task: &str, after: u64, heard: Arc<Mutex<Vec<Event>>>) -> JoinHandle<()> {
    let request = client.request("SubscribeToTask", &json!({"id": task})).header("Last-Event-ID", after.to_string());
    tokio::spawn(async move {
        let mut bytes = request.send().await.unwrap().bytes_stream();
        let mut unread = String::new();
        while let Some(Ok(piece)) = bytes.next().await {
            unread.push_str(std::str::from_utf8(&piece).unwrap());
            while let Some((event, rest)) = unread.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let Some(data) = field("data:") {
                    let id = field("id:").map(|id| id.parse().unwrap());
                    heard.lock().unwrap_or_else(PoisonError::into_inner).push((id, data.to_owned()));
                }
                unread = rest.to_owned();
            }
        }
    })
}

/// The whole stream after an event, when the task has ended.
async fn told_after(client: &Plain, task: &str, after: u64) -> Vec<Event> {
    let heard = Arc::default();
    listen(client, task, after, Arc::clone(&heard)).await.unwrap();
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    heard.clone()
}

/// Ids and tasks of all of the caller's tasks.
async fn listed(client: &Plain) -> BTreeMap<String, Value> {
    let (mut all, mut token) = (BTreeMap::new(), String::new());
    loop {
        let page = client.ask("ListTasks", json!({"pageSize": 100, "pageToken": token})).await;
        for task in page["tasks"].as_array().unwrap() {
            let before = all.insert(task["id"].as_str().unwrap().to_owned(), task.clone());
            assert!(before.is_none(), "it is listed twice: {task}");
        }
        token = page["nextPageToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            assert_eq!(page["totalSize"], json!(all.len()));
            return all;
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_no_event_comes_twice_when_the_node_is_killed_under_load() {
    let mut node = TestNode::seller().await;
    node.set("requests_per_second", json!(100_000)).await;
    let issued = key(&node, "load", work::DOLLAR).await;
    let connect = |node: &TestNode| Plain::new(node, Some(&issued.key));
    // Messages that ask for a quote: each must be one task, whatever happens.
    let (mut asked, mut tasks, mut answers) = (0, BTreeSet::new(), 0);
    let mut owners = vec![issued.key.clone()];
    let mut seed = 4;
    for round in 0..ROUNDS {
        // The limits are those of the next start.
        node = node.restart().await;
        let client = connect(&node);

        // One task is talked about all the time, and followed.
        let talked = client.send(&format!("talk-{round}"), None, gemm(4)).await["id"].as_str().unwrap().to_owned();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listening = listen(&client, &talked, 2, heard.clone());
        let (of, speaker) = (talked.clone(), connect(&node));
        let talking = tokio::spawn(send(PAUSE, move |sent| {
            let id = format!("why-{round}-{}", sent.len());
            Some((speaker.clone(), id.clone(), message(&id, Some(&of), text("why?"))))
        }));
        let mut asking = Vec::new();
        for connection in 0..CONNECTIONS {
            let mut keys = Vec::new();
            for number in 0..KEYS {
                keys.push(key(&node, &format!("load {round}.{connection}.{number}"), work::DOLLAR).await.key);
            }
            let (http, asks) = (connect(&node), keys.clone());
            let sending = send(Duration::ZERO, move |sent| {
                let id = format!("{round}-{connection}-{}", sent.len());
                let key = asks.get(sent.len() / QUOTES)?;
                Some((http.under(key), id.clone(), message(&id, None, gemm(4))))
            });
            asking.push((keys, sending));
        }
        let asking: Vec<_> = asking.into_iter().map(|(keys, sending)| (keys, tokio::spawn(sending))).collect();
        // One connection awards what it is quoted and waits for the result.
        let buyer = connect(&node);
        let buying = tokio::spawn(send(Duration::ZERO, move |sent| {
            let id = format!("buy-{round}-{}", sent.len());
            let quoted = sent.last().filter(|(_, task)| state(task) == "TASK_STATE_INPUT_REQUIRED");
            let params = match quoted {
                Some((_, task)) => message(&id, task["id"].as_str(), text("yes")),
                None => message(&id, None, gemm(4)),
            };
            Some((buyer.clone(), id, params))
        }));

        let moment = MOMENT_MS.0 + draw(&mut seed, MOMENT_MS.1 - MOMENT_MS.0);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        node.kill();
        let (talking, buying) = (talking.await.unwrap(), buying.await.unwrap());
        listening.await.unwrap();
        node = node.restart().await;
        let client = connect(&node);

        for (keys, asking) in asking {
            let sent = asking.await.unwrap();
            let owner = |number: usize| client.under(&keys[number / QUOTES]);
            assert!(!sent.answered.is_empty(), "a connection got no answer within {moment} ms");
            asked += sent.answered.len();
            for (number, (id, task)) in sent.answered.iter().enumerate() {
                let id_of_task = task["id"].as_str().unwrap();
                assert!(tasks.insert(id_of_task.to_owned()), "{id} is the task of another message");
                assert_eq!(owner(number).ask("GetTask", json!({"id": id_of_task})).await, *task, "{id}");
            }
            let (id, task) = sent.answered.last().unwrap();
            let again = owner(sent.answered.len() - 1).send(id, None, gemm(4)).await;
            assert_eq!(again, *task, "sent again it is the same task");
            // Whether it came or not: sent again it is one task, and sent once more the same.
            if let Some((_, params)) = sent.unanswered {
                let owner = owner(sent.answered.len());
                let first = owner.ask("SendMessage", params.clone()).await["task"].clone();
                assert_eq!(owner.ask("SendMessage", params).await["task"], first);
                tasks.insert(first["id"].as_str().unwrap().to_owned());
                asked += 1;
            }
            owners.extend(keys);
        }

        // What was bought is done or gets done, once.
        let (_, params) = buying.unanswered.unwrap();
        let last = client.ask("SendMessage", params).await["task"].clone();
        let all = buying.answered.iter().map(|(_, task)| task).chain([&last]);
        let ids: BTreeSet<String> = all.map(|task| task["id"].as_str().unwrap().to_owned()).collect();
        for (_, task) in buying.answered.iter().filter(|(_, task)| state(task) == "TASK_STATE_COMPLETED") {
            assert_eq!(client.ask("GetTask", json!({"id": task["id"]})).await, *task);
            answers += 1;
        }
        for id in ids {
            let found = client.ask("GetTask", json!({"id": id})).await;
            if state(&found) != "TASK_STATE_INPUT_REQUIRED" {
                assert_eq!(state(&client.ended(&id).await), "TASK_STATE_COMPLETED");
            }
            assert!(tasks.insert(id));
            asked += 1;
        }

        // The stream goes on after what was heard, and both together are the stream as it is told at once.
        let before = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let last = before.iter().rev().find_map(|(id, _)| *id).unwrap();
        if let Some((_, params)) = talking.unanswered {
            client.ask("SendMessage", params).await;
        }
        assert_eq!(state(&client.send(&format!("no-{round}"), Some(&talked), text("no")).await), "TASK_STATE_CANCELED");
        let after = told_after(&client, &talked, last).await;
        assert!(after[0].0 == Some(last) && after[0].1.contains("\"task\""), "{after:?}");
        let pieces: Vec<Event> = before[1..].iter().chain(&after[1..]).cloned().collect();
        let ids: Vec<u64> = pieces.iter().map(|(id, _)| id.unwrap()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert_eq!(pieces, told_after(&client, &talked, 2).await[1..], "heard before and after the kill");
        assert!(pieces.last().unwrap().1.contains("TASK_STATE_CANCELED"), "{pieces:?}");
        // And the history has every message that was answered, once.
        let whole = client.ask("GetTask", json!({"id": talked})).await;
        for (id, _) in &talking.answered {
            let count =
                whole["history"].as_array().unwrap().iter().filter(|said| said["messageId"] == json!(id)).count();
            assert_eq!(count, 1, "{id} in {whole}");
        }
        tasks.insert(talked);
        asked += 1;
        println!("killed after {moment} ms: {asked} asked, {answers} bought, {} events heard", before.len());
    }

    // It goes on as before.
    let client = connect(&node);
    let last = client.send("last", None, gemm(4)).await["id"].as_str().unwrap().to_owned();
    client.send("last-yes", Some(&last), text("yes")).await;
    assert_eq!(state(&client.ended(&last).await), "TASK_STATE_COMPLETED");
    tasks.insert(last);
    asked += 1;
    let mut listed = BTreeMap::new();
    for key in &owners {
        listed.extend(self::listed(&client.under(key)).await);
    }
    assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), tasks);
    assert_eq!(listed.len(), asked, "one task for each message");
    let completed = listed.values().filter(|task| state(task) == "TASK_STATE_COMPLETED").count();
    assert!(completed > answers, "{completed} of {answers}");
    // Each product costs a micro-dollar, and is owed once.
    let peers: Peers = node.ask("peers", &Nothing {}).await;
    let owed: i64 = peers.peers.iter().map(|peer| peer.owes_us_micro_usd).sum();
    assert_eq!(owed, i64::try_from(completed).unwrap());
}
