//! What is acknowledged survives SIGKILL.
#![cfg(unix)]

use crate::documents::{Trade, at};
use serde_json::json;
use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};
use tender_base::{BlobRef, Role};
use tender_store::{Event, Store};

const CHILD: &str = "TENDER_STORE_CHILD";

/// Not a test of its own: the process that is killed. It applies in a loop from several tasks and prints what
/// was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(dir) = env::var_os(CHILD) else { return };
    let store = Store::open(&PathBuf::from(dir)).await.unwrap();
    let round = store.last_sequence().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 0.. {
                let key = format!("{round}-{task}-{n}");
                let blob = store.put_blob(key.as_bytes()).await.unwrap();
                println!("\nblob {} {}", blob.sha256, blob.bytes);
                let mut events = Trade::new(Role::Contractor, None, 3).until_accepted();
                events.push(Event::SettingChanged { key: key.clone(), value: json!(n), at: at(0) });
                let seq = store.apply(events, vec![]).await.unwrap();
                println!("\napplied {seq} {key}");
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn what_is_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (mut applied, mut blobs) = (Vec::new(), Vec::new());
    for round in 0..5_u64 {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "durability::child", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut seen = 0;
        // Let it acknowledge something, then kill it at a different moment in each round.
        while let Some(Ok(line)) = lines.next() {
            seen += u64::from(remember(&line, &mut applied, &mut blobs));
            if seen > 10 + 7 * round {
                tokio::time::sleep(Duration::from_micros(997 * round)).await;
                process.kill().unwrap();
                break;
            }
        }
        for line in lines.map_while(Result::ok) {
            remember(&line, &mut applied, &mut blobs);
        }
        process.wait().unwrap();
        assert!(seen > 10, "the child acknowledged too little in round {round}");

        let store = Store::open(dir.path()).await.unwrap();
        let last = store.last_sequence().await.unwrap();
        let settings = store.settings().await.unwrap();
        for (seq, key) in &applied {
            assert!(*seq <= last && settings.contains_key(key), "{key} was acknowledged as {seq} and is lost");
        }
        for blob in &blobs {
            assert!(store.blob(blob).await.unwrap().is_some(), "blob {} is lost", blob.sha256);
        }
        assert!(store.ledger_balances().await.unwrap());
        // A request is six events: never a part of one.
        assert_eq!(last % 6, 0);
        store.check_integrity().await.unwrap();
        store.close().await.unwrap();
    }
    let store = Store::open(dir.path()).await.unwrap();
    let folded = store.replay_into(&dir.path().join("folded")).await.unwrap();
    assert_eq!(folded.table_digests().await.unwrap(), store.table_digests().await.unwrap());
}

fn remember(line: &str, applied: &mut Vec<(u64, String)>, blobs: &mut Vec<BlobRef>) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["applied", seq, key] => {
            applied.push((seq.parse().unwrap(), key.to_owned()));
            true
        }
        ["blob", sha256, bytes] => {
            blobs.push(BlobRef { sha256: sha256.parse().unwrap(), bytes: bytes.parse().unwrap() });
            true
        }
        _ => false,
    }
}
