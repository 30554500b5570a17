//! The official clients buy from the real node: they see its card, get a quote as INPUT_REQUIRED and award it with
//! `yes`. Their scripts in `tests/peers/a2a` check every step themselves; what they got is checked here.

use crate::plain::key;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tender_node::api::types::{Nothing, Peers};
use tender_tests::{TestNode, programs, work};

/// How long one script may take: two products on lavapipe, or a text, and Python's start on two loaded cores.
const LIMIT: Duration = Duration::from_secs(120);

/// What the scripts import, as `cargo xtask test` and `cargo xtask peers` install it.
fn installed() -> PathBuf {
    let folder = programs().parent().unwrap().join("peers/a2a");
    for part in ["python/.tender-lock", "node_modules/.tender-lock"] {
        let there = folder.join(part).is_file();
        assert!(there, "the A2A SDKs are not in {}: run `cargo xtask peers`", folder.display());
    }
    folder
}

/// Runs a script of `tests/peers/a2a` to its end and reads its one line.
async fn says(script: &str, key: &str, args: &[&str]) -> Value {
    let peers = installed();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/a2a").join(script);
    let mut command = Command::new(if script.ends_with(".py") { "python3" } else { "node" });
    command.arg(file).args(args).env("TENDER_KEY", key).env("TENDER_PEERS", &peers);
    // No other packages than the pinned ones; and google-adk asks for no cloud.
    command.env("PYTHONPATH", peers.join("python")).env("PYTHONNOUSERSITE", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("NO_PROXY", "127.0.0.1").stdin(Stdio::null());
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(LIMIT, command.kill_on_drop(true).output()).await;
    let output = output.unwrap_or_else(|_| panic!("{script} did not end within {} s", LIMIT.as_secs())).unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} {args:?}: {out}\n{err}");
    serde_json::from_str(out.lines().last().unwrap_or_default()).unwrap_or_else(|e| panic!("{e} in {out}\n{err}"))
}

/// Both bindings, each with a key of its own: the lists must be those of its own tasks.
async fn an_sdk_buys(script: &str) {
    let node = TestNode::seller().await;
    let job = serde_json::to_string(&work::gemm(16)).unwrap();
    let mut owed = 0;
    for binding in ["JSONRPC", "HTTP+JSON"] {
        let issued = key(&node, binding, work::DOLLAR).await;
        let said = says(script, &issued.key, &[&node.a2a, binding, &job]).await;
        let output = BASE64.decode(said["output"].as_str().unwrap()).unwrap();
        assert_eq!(output, work::gemm_input(16)[..16 * 16 * 4], "{binding}: A times the identity");
        let states = said["states"].as_array().unwrap();
        assert_eq!(states.last(), Some(&json!("TASK_STATE_COMPLETED")), "{binding}: {said}");
        assert!(states.iter().all(|state| state != "TASK_STATE_INPUT_REQUIRED"), "{binding}: {said}");
        // Protobuf's numbers are doubles.
        let price = said["price"].as_f64().unwrap() as i64;
        assert!(price > 0, "{binding}: {said}");
        owed += 2 * price;
        let peers: Peers = node.ask("peers", &Nothing {}).await;
        let all: i64 = peers.peers.iter().map(|peer| peer.owes_us_micro_usd).sum();
        assert_eq!(all, owed, "{binding}: it bought twice");
    }
}

#[tokio::test]
async fn the_python_sdk_buys_over_both_bindings() {
    an_sdk_buys("sdk.py").await;
}

#[tokio::test]
async fn the_javascript_sdk_buys_over_both_bindings() {
    an_sdk_buys("sdk.mjs").await;
}

#[tokio::test]
async fn google_adks_remote_agent_asks_is_quoted_and_gets_its_answer() {
    let node = TestNode::seller().await;
    node.set("price.generate.micro_usd", json!(1000)).await;
    node.set("price.generate.per_units", json!(10)).await;
    let issued = key(&node, "adk", work::DOLLAR).await;
    let said = says("adk.py", &issued.key, &[&node.a2a, "What is the capital of France?"]).await;
    // The agent turns INPUT_REQUIRED into a call that waits for its user.
    let quote = said["quote"].to_string();
    assert!(quote.contains("input_required") && quote.contains("At most $0.0") && quote.contains("yes"), "{said}");
    assert!(said["answer"].to_string().contains("Paris"), "{said}");
    let peers: Peers = node.ask("peers", &Nothing {}).await;
    assert!(peers.peers[0].owes_us_micro_usd > 0, "{peers:?}");
}
