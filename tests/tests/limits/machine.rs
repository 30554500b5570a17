//! The machine under the node: a directory in use, a database of the future, a key that is gone, a port that is taken,
//! a disk that is full; and the owner's own limits.

use serde_json::json;
use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};
use tempfile::TempDir;
use tender_base::{Code, JobState, Problem};
use tender_node::api::types::{Doctor, Nothing, SetSettingInput, Settings, Switch};
use tender_tests::{
    Cli, Launch, TestNode, pair,
    work::{self, DOLLAR},
};

/// A node that does not start says one line with cause and remedy.
async fn refuses(launch: Launch, named: &[&str]) {
    let Err(refused) = launch.clone().try_start().await else { panic!("it started: {launch:?}") };
    let problem: Problem =
        serde_json::from_str(refused.said.trim_end()).unwrap_or_else(|e| panic!("{e}: {}", refused.said));
    assert!(!problem.hint.is_empty(), "no remedy in {problem:?}");
    for name in named {
        assert!(problem.to_string().contains(name), "{name:?} is not in {problem}");
    }
}

#[tokio::test]
async fn a_directory_or_a_port_in_use_is_named() {
    let node = TestNode::start().await;
    refuses(Launch::on(node.dir()), &["another node", node.dir().to_str().unwrap()]).await;
    // Nothing happened to the first.
    node.set("slots", json!(2)).await;

    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refuses(Launch::on(dir.path()).a2a(&address), &["--a2a", &address]).await;
    refuses(Launch::on(dir.path()).api(&address), &["--api", &address]).await;
    refuses(Launch::on(dir.path()).api("0.0.0.0:0"), &["--api", "loopback"]).await;
    refuses(Launch::on(dir.path()).a2a("0.0.0.0:0"), &["--public-address"]).await;
    drop(taken);
    Launch::on(dir.path()).a2a(&address).start().await;
}

/// Changes a database as no Tender would.
pub fn sql(dir: &Path, statement: &str) {
    let script = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1]);c.execute(sys.argv[2]);c.commit()";
    let status = Command::new("python3").args(["-c", script]).arg(dir.join("tender.db")).arg(statement).status();
    assert!(status.unwrap().success(), "{statement}");
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_left_alone() {
    let mut node = TestNode::start().await;
    assert!(node.stop().success());
    let file = node.dir().join("tender.db");
    let good = fs::read(&file).unwrap();
    sql(
        node.dir(),
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of the future', 1, x'00', 0)",
    );
    let newer = fs::read(&file).unwrap();
    refuses(Launch::on(node.dir()), &["9999", "newer version"]).await;
    let line = Cli::on(node.dir()).fails(&["jobs"]);
    assert!(line.contains("9999"), "{line}");
    assert_eq!(fs::read(&file).unwrap(), newer, "it is left as it is");

    fs::write(&file, b"this is no database, whatever it is called, and long enough to be looked at as one").unwrap();
    refuses(Launch::on(node.dir()), &["SQLite"]).await;
    fs::write(&file, good).unwrap();
    let did = node.did;
    assert_eq!(node.restart().await.did, did);
}

/// Another program holds the database: the write fails with its cause after a bounded wait, and works afterwards.
#[tokio::test]
async fn a_locked_database_is_named_and_waited_for() {
    let node = TestNode::start().await;
    let script = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1]);c.execute('BEGIN IMMEDIATE');print('held',flush=True);sys.stdin.read()";
    let mut holder = Command::new("python3")
        .args(["-c", script])
        .arg(node.dir().join("tender.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    let input = SetSettingInput { key: "slots".to_owned(), value: json!(3) };
    let refused = node.refuses("set_setting", &input).await;
    assert!(refused.code == Code::Storage && refused.message.contains("locked by another process"), "{refused}");
    assert!(refused.hint.contains("stop the other program"), "{refused}");
    let settings: Settings = node.ask("settings", &Nothing {}).await;
    assert!(settings.settings.iter().any(|s| s.key == "slots" && s.value == 1), "what was refused is not half done");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    let _: Settings = node.ask("set_setting", &input).await;
}

#[tokio::test]
async fn without_its_own_key_a_node_does_not_start() {
    let mut node = TestNode::start().await;
    assert!(node.stop().success());
    let key = node.dir().join("identity.key");
    let own = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let did = node.did.to_string();
    refuses(Launch::on(node.dir()), &["missing", &did]).await;
    assert!(!key.exists(), "no new identity is made over an old one");
    let other = TestNode::start().await;
    fs::copy(other.dir().join("identity.key"), &key).unwrap();
    refuses(Launch::on(node.dir()), &[&did, &other.did.to_string()]).await;
    for damaged in ["", "AAAA", "not base64 !"] {
        fs::write(&key, damaged).unwrap();
        refuses(Launch::on(node.dir()), &["key"]).await;
    }
    fs::write(&key, own).unwrap();
    assert_eq!(node.restart().await.did.to_string(), did);
    // Asked for by name, and not there: no silent fallback to another place.
    let dir = TempDir::new().unwrap();
    let line =
        Cli::on(dir.path()).fails(&["serve", "--a2a", "127.0.0.1:0", "--api", "127.0.0.1:0", "--identity", "keyring"]);
    assert!(line.contains("keyring"), "{line}");
    let line = Cli::on(dir.path()).fails(&[
        "serve",
        "--a2a",
        "127.0.0.1:0",
        "--api",
        "127.0.0.1:0",
        "--identity",
        "credential",
    ]);
    assert!(line.contains("LoadCredential"), "{line}");
}

#[tokio::test]
async fn a_full_disk_stops_what_cannot_be_stored_and_loses_nothing() {
    let mut seller = TestNode::seller().await;
    seller.set("price.gemm.per_units", json!(1000)).await;
    let dir = TempDir::with_prefix("tender-test-").unwrap();
    let mut buyer = Launch::on(dir.path()).start().await;
    buyer.set("use_own_gpu", json!(false)).await;
    pair(&seller, &buyer, DOLLAR).await;
    let first = buyer.buy(&work::for_peers(work::gemm(16))).await;
    let owed = buyer.earnings().await.owed_by_us_micro_usd;
    assert_eq!(Some(owed), first.summary.amount_micro_usd);
    assert!(buyer.stop().success());

    // From here no file grows beyond 600 kB: the database's log does not, nor does a large input.
    let buyer = Launch::on(dir.path()).file_limit_kb(600).start().await;
    let refused = buyer.refuses("submit", &work::for_peers(work::gemm(512))).await;
    assert_eq!(refused.code, Code::Storage, "{refused}");
    assert!(!refused.hint.is_empty(), "{refused}");
    // What was stored can still be read, and what is refused was not half done.
    assert_eq!(buyer.earnings().await.owed_by_us_micro_usd, owed);
    assert_eq!(buyer.job(&first.summary.id).await.summary.state, Some(JobState::Completed));
    drop(buyer);

    let buyer = Launch::on(dir.path()).start().await;
    assert_eq!(buyer.earnings().await.owed_by_us_micro_usd, owed);
    assert_eq!(seller.earnings().await.owed_to_us_micro_usd, owed);
    buyer.buy(&work::for_peers(work::gemm(16))).await;
    assert!(seller.stop().success());
}

/// A worker that says that nothing confines it, as on a system without a sandbox: it computes all the same.
#[cfg(unix)]
fn unconfined(dir: &Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let script = dir.join("worker.sh");
    let worker = tender_tests::programs().join("tender-worker");
    let nothing = r#"{"namespaces":false,"files":false,"syscalls":false}"#;
    let text = format!("#!/bin/sh\n[ \"$1\" = --check ] && echo '{nothing}' && exit\nexec {} \"$@\"", worker.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script.to_str().unwrap().to_owned()
}

#[cfg(unix)]
#[tokio::test]
async fn a_machine_without_a_sandbox_runs_no_strangers_kernel_unless_its_owner_says_so() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    seller.set("worker", json!(unconfined(seller.dir()))).await;
    let seller = seller.restart().await;
    pair(&seller, &buyer, DOLLAR).await;
    let doctor: Doctor = seller.ask("doctor", &Nothing {}).await;
    let named = |remedy: &str| doctor.checks.iter().any(|c| c.name == "sandbox" && c.remedy.contains(remedy));
    if cfg!(target_os = "linux") {
        assert!(["seccomp", "Landlock", "namespaces"].into_iter().all(named), "{doctor:#?}");
    }
    // Doctor opened the worker, which told the truth; a node that has not yet knows only what it said before.
    let seller = seller.restart().await;
    let failed = buyer.ended(&buyer.submit(&work::for_peers(work::wgsl(2, 50))).await).await;
    assert!(failed.decision.iter().any(|row| row.why.contains("sandbox")), "{failed:#?}");
    seller.set("sell_unconfined_kernels", json!(true)).await;
    buyer.buy(&work::for_peers(work::wgsl(2, 50))).await;
}

#[tokio::test]
async fn the_daily_cap_and_the_stop_hold() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    seller.set("price.gemm.per_units", json!(1000)).await;
    pair(&seller, &buyer, DOLLAR).await;
    // Two jobs of 9 micro-dollars fit, a third does not.
    buyer.set("daily_spend_cap_micro_usd", json!(20)).await;
    for _ in 0..2 {
        buyer.buy(&work::for_peers(work::gemm(16))).await;
    }
    let over = buyer.ended(&buyer.submit(&work::for_peers(work::gemm(16))).await).await;
    assert_eq!(over.summary.state, Some(JobState::Failed), "{over:#?}");
    let problem = over.problem.unwrap();
    assert!(problem.code == "over_limit" && problem.message.contains("spend cap"), "{problem:?}");
    assert!(problem.hint.contains("cap"), "{problem:?}");
    assert_eq!(buyer.earnings().await.owed_by_us_micro_usd, 18);
    // Many at once do not slip through together.
    buyer.set("daily_spend_cap_micro_usd", json!(30)).await;
    seller.set("slots", json!(8)).await;
    let one = work::for_peers(work::gemm(16));
    let ids = futures::future::join_all((0..4).map(|_| buyer.submit(&one))).await;
    for id in &ids {
        buyer.ended(id).await;
        buyer.booked(id).await;
    }
    assert_eq!(buyer.earnings().await.owed_by_us_micro_usd, 27);
    assert_eq!(seller.earnings().await.owed_to_us_micro_usd, 27);
    // A budget below the price is the same in small.
    buyer.set("daily_spend_cap_micro_usd", json!(null)).await;
    let cheap = tender_node::api::types::SubmitInput { budget_micro_usd: 8, ..work::for_peers(work::gemm(16)) };
    let failed = buyer.ended(&buyer.submit(&cheap).await).await;
    assert_eq!(failed.summary.state, Some(JobState::Failed), "{failed:#?}");

    let _: serde_json::Value = seller.ask("stop_everything", &Switch { on: true }).await;
    let refused = seller.refuses("sell", &Switch { on: true }).await;
    assert!(refused.code == Code::Conflict && !refused.hint.is_empty(), "{refused}");
    let stopped = buyer.ended(&buyer.submit(&one).await).await;
    assert!(stopped.decision.iter().any(|row| row.why.contains("stopped")), "{stopped:#?}");
    // It stays stopped after a restart.
    let seller = seller.restart().await;
    assert!(seller.ask::<_, tender_node::api::types::Overview>("overview", &Nothing {}).await.stopped);
    let _: serde_json::Value = seller.ask("stop_everything", &Switch { on: false }).await;
    buyer.buy(&one).await;
    let doctor: Doctor = buyer.ask("doctor", &Nothing {}).await;
    assert!(doctor.checks.iter().any(|c| c.name == "Ledger" && c.state == "ok"), "{doctor:#?}");
}
