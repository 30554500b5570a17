//! The command line, with and without a running node; backup and restore.

use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;
use tender_base::Problem;
use tender_tests::{
    Cli, Launch, TestNode, pair,
    work::{self, DOLLAR},
};

/// Every looking command prints one JSON document, and the same without a running node as with one.
#[tokio::test]
async fn looking_commands_print_one_document_and_need_no_node() {
    let (seller, mut buyer) = (TestNode::seller().await, TestNode::buyer().await);
    seller.set("price.gemm.per_units", json!(1000)).await;
    pair(&seller, &buyer, DOLLAR).await;
    let job = buyer.buy(&work::for_peers(work::gemm(32))).await;
    let id = job.summary.id.as_str();
    let looks: [&[&str]; 8] = [
        &["jobs"],
        &["jobs", id],
        &["earnings"],
        &["earnings", "--days", "7", "--demo"],
        &["explain", id],
        &["settings"],
        &["settings", "get", "slots"],
        &["peers"],
    ];
    let cli = buyer.cli();
    let running: Vec<Value> = looks.iter().map(|args| cli.json(args)).collect();
    // Something readable in text as well.
    for args in looks {
        let said = cli.run(args);
        assert!(said.ok && !said.out.trim().is_empty() && said.err.is_empty(), "{args:?}: {said:?}");
    }
    assert!(buyer.stop().success());
    for (args, before) in looks.iter().zip(&running) {
        assert_eq!(&cli.json(args), before, "{args:?}");
    }
    // Looking writes nothing; commands that change something say what is missing.
    let receipt = buyer.dir().join("receipt.json");
    let said = cli.run(&["jobs", id, "--receipt", receipt.to_str().unwrap()]);
    assert!(said.ok, "{said:?}");
    let said = cli.json(&["verify", receipt.to_str().unwrap()]);
    assert_eq!(said["valid"], true);
    for args in [&["sell", "on"][..], &["settings", "set", "slots", "2"], &["peers", "invite"], &["cancel", id]] {
        let line = cli.fails(args);
        assert!(line.starts_with("tender: ") && line.contains("tender serve"), "{args:?}: {line}");
    }
    let doctor = cli.json(&["doctor"]);
    assert!(doctor["checks"].as_array().is_some_and(|checks| checks.len() > 3), "{doctor}");
}

/// Errors are one line that names cause and remedy, with a status that scripts see.
#[tokio::test]
async fn errors_are_one_line() {
    let node = TestNode::start().await;
    let cli = node.cli();
    let absent = "01a1fc8d-5ad6-78cf-a26a-44d64a688119";
    for (args, named) in [
        (&["jobs", absent][..], "there is no job"),
        (&["jobs", "nonsense"], "nonsense"),
        (&["explain", absent], "there is no job"),
        (&["settings", "get", "colour"], "colour"),
        (&["settings", "set", "slots", "99"], "1 to 16"),
        (&["peers", "add", "hello"], "tender://"),
        (&["peers", "remove", "did:key:zzz"], "did"),
        (&["peers", "invite", "--credit", "lots"], "lots"),
        (&["submit", "--kind", "gemm", "--prompt", "x"], "--shape"),
        (&["submit", "--kind", "embed", "--input", "/does/not/exist"], "/does/not/exist"),
        (&["submit", "--kind", "embed", "--prompt", "x", "--model", "gpt"], "gpt"),
        (&["verify", "/does/not/exist"], "/does/not/exist"),
        (&["restore", "/does/not/exist"], "is not empty"),
    ] {
        for json in [false, true] {
            let mut args = args.to_vec();
            if json {
                args.push("--json");
            }
            let line = cli.fails(&args);
            assert!(line.contains(named), "{args:?}: {line}");
            assert_eq!(serde_json::from_str::<Problem>(&line).is_ok(), json, "{args:?}: {line}");
        }
    }
    let nowhere = TempDir::new().unwrap();
    let line = Cli::on(&nowhere.path().join("new")).fails(&["restore", "/does/not/exist"]);
    assert!(line.contains("/does/not/exist"), "{line}");
    let line = Cli::on(&nowhere.path().join("empty")).fails(&["jobs"]);
    assert!(line.contains("tender serve"), "{line}");
}

/// A backup, made while the node runs, becomes the same node elsewhere: who it is, what it is owed, what it proved.
#[tokio::test]
async fn a_backup_keeps_identity_and_ledger() {
    let (mut seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    seller.set("price.gemm.per_units", json!(1000)).await;
    pair(&seller, &buyer, DOLLAR).await;
    let job = buyer.buy(&work::for_peers(work::gemm(32))).await;
    let owed = seller.earnings().await;
    let place = TempDir::new().unwrap();
    let (backup, restored) = (place.path().join("backup"), place.path().join("restored"));
    let made = seller.cli().json(&["backup", backup.to_str().unwrap()]);
    assert_eq!(made["identity"], true);
    let again = seller.cli().fails(&["backup", backup.to_str().unwrap()]);
    assert!(again.contains("exists"), "{again}");
    let over = seller.cli().fails(&["restore", backup.to_str().unwrap()]);
    assert!(!over.is_empty());
    assert!(seller.stop().success());

    let said = Cli::on(&restored).run(&["restore", backup.to_str().unwrap()]);
    assert!(said.ok, "{said:?}");
    let address = seller.a2a.rsplit('/').next().unwrap().to_owned();
    let node = Launch::on(&restored).a2a(&address).start().await;
    assert_eq!(node.did, seller.did);
    assert_eq!(node.earnings().await, owed);
    // It goes on trading under its old name, and with its old debts.
    let more = buyer.buy(&work::for_peers(work::gemm(32))).await;
    let total = job.summary.amount_micro_usd.unwrap() + more.summary.amount_micro_usd.unwrap();
    assert_eq!(node.earnings().await.owed_to_us_micro_usd, total);
    // A secret is as private in the copy as it was.
    for file in [&backup, &restored].map(|dir| dir.join("identity.key")) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
}
