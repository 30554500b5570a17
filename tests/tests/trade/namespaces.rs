//! Two machines, as far as the network is concerned: two network namespaces joined by a cable.

use serde_json::Value;
use std::{fs, process::Command, time::Duration};
use tempfile::TempDir;
use tender_tests::{Cli, Launch, TestNode, work};

/// Two namespaces, each with loopback and one end of a veth pair; gone when dropped.
struct Cable {
    names: [String; 2],
}

impl Cable {
    fn lay() -> Self {
        let id = std::process::id();
        let cable = Self { names: ["a", "b"].map(|side| format!("tender-{id}-{side}")) };
        for name in &cable.names {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        let [a, b] = &cable.names;
        // Made inside the namespaces: nothing appears in the host's own list of interfaces.
        ip(&["-n", a, "link", "add", "cable0", "type", "veth", "peer", "name", "cable0", "netns", b]);
        for (name, address) in cable.names.iter().zip(ADDRESSES) {
            ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", "cable0"]);
            ip(&["-n", name, "link", "set", "cable0", "up"]);
        }
        cable
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

/// Of the two ends.
const ADDRESSES: [&str; 2] = ["10.213.7.1", "10.213.7.2"];

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().unwrap_or_else(|e| {
        panic!("ip does not start: {e}; this test needs iproute2 (`apt-get install iproute2`)");
    });
    assert!(
        output.status.success(),
        "ip {}: {}\nThis test joins two network namespaces: run it as root (CAP_NET_ADMIN and CAP_SYS_ADMIN).",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn node(dir: &TempDir, name: &str, address: &str) -> TestNode {
    Launch::on(dir.path()).in_namespace(name).a2a(&format!("{address}:0")).start().await
}

/// Reads an address from inside a namespace, without checking any certificate: what anybody on the wire can see.
fn read(namespace: &str, url: &str) -> (bool, String) {
    let script = format!(
        "import ssl,urllib.request as r\nc=ssl._create_unverified_context()\nprint(r.urlopen('{url}',context=c if '{url}'.startswith('https') else None,timeout=5).read().decode())"
    );
    let output = Command::new("ip").args(["netns", "exec", namespace, "python3", "-c", &script]).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn two_machines_are_paired_by_one_pasted_line_and_trade_over_tls() {
    let cable = Cable::lay();
    let [here, there] = &cable.names;
    let dirs = [TempDir::with_prefix("tender-test-").unwrap(), TempDir::with_prefix("tender-test-").unwrap()];
    let seller = node(&dirs[0], here, ADDRESSES[0]).await;
    let buyer = node(&dirs[1], there, ADDRESSES[1]).await;
    assert!(seller.a2a.starts_with(&format!("https://{}:", ADDRESSES[0])), "{}", seller.a2a);

    // One line, printed here and pasted there.
    let said = seller.cli().run(&["peers", "invite", "--credit", "1"]);
    let line = said.out.trim_end();
    assert!(said.ok && line.lines().count() == 1 && line.starts_with("tender://"), "{said:?}");
    assert!(seller.cli().run(&["sell", "on"]).ok);
    assert!(seller.cli().run(&["settings", "set", "price.gemm.per_units", "1000"]).ok);
    let said = buyer.cli().run(&["peers", "add", line]);
    assert!(said.ok && said.out.contains("Paired with"), "{said:?}");
    for (cli, other) in [(seller.cli(), &buyer), (buyer.cli(), &seller)] {
        let peers = cli.json(&["peers"]);
        assert_eq!(peers["peers"][0]["did"], other.did.to_string());
        assert_eq!(peers["peers"][0]["address"], other.a2a);
    }

    // A job, bought over the cable.
    let input = dirs[1].path().join("matrices.bin");
    let output = dirs[1].path().join("product.bin");
    fs::write(&input, work::gemm_input(64)).unwrap();
    let (input, output) = (input.to_str().unwrap(), output.to_str().unwrap());
    let detail = buyer.cli().json(&[
        "submit",
        "--kind",
        "gemm",
        "--shape",
        "64,64,64",
        "--input",
        input,
        "--peers-only",
        "--output",
        output,
    ]);
    assert_eq!(detail["summary"]["state"], "completed", "{detail}");
    assert_eq!(detail["contracts"][0]["state"], "accepted", "{detail}");
    assert_eq!(fs::read(output).unwrap(), work::gemm_input(64)[..64 * 64 * 4]);
    let id = detail["summary"]["id"].as_str().unwrap();
    // The countersignature comes a moment after the result.
    for _ in 0..100 {
        if buyer.cli().json(&["jobs", id])["contracts"][0]["receipt"] == true {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let amount = &detail["summary"]["amount_micro_usd"];
    assert!(amount.as_i64().is_some_and(|amount| amount > 0));
    assert_eq!(&seller.cli().json(&["earnings"])["owed_to_us_micro_usd"], amount);
    assert_eq!(&buyer.cli().json(&["earnings"])["owed_by_us_micro_usd"], amount);
    let receipt = dirs[1].path().join("receipt.json");
    let said = buyer.cli().run(&["jobs", id, "--receipt", receipt.to_str().unwrap()]);
    assert!(said.ok, "{said:?}");
    assert_eq!(Cli::on(dirs[0].path()).json(&["verify", receipt.to_str().unwrap()])["valid"], true);
    let said = buyer.cli().run(&["peers", "paid", &seller.did.to_string(), "--method", "cash"]);
    assert!(said.ok, "{said:?}");
    assert_eq!(&seller.cli().json(&["earnings"])["paid_to_us_micro_usd"], amount);

    // The card can be read by anybody over TLS, and verified offline; without TLS there is no answer at all.
    let (ok, card) = read(there, &format!("{}/.well-known/agent-card.json", seller.a2a));
    assert!(ok, "the card is public");
    let file = dirs[1].path().join("card.json");
    fs::write(&file, &card).unwrap();
    assert_eq!(Cli::on(dirs[1].path()).json(&["verify", file.to_str().unwrap()])["did"], seller.did.to_string());
    let plain = seller.a2a.replace("https://", "http://");
    assert!(!read(there, &format!("{plain}/.well-known/agent-card.json")).0, "plain HTTP is not answered");
    // The local API is on the other machine's loopback, out of reach from here.
    assert!(!read(there, &seller.api_address.replace("127.0.0.1", ADDRESSES[0])).0);

    the_card_is_pinned(&cable, &dirs, seller, &buyer).await;
}

/// Another node takes over the seller's address: it has another key, so nothing is sent to it.
async fn the_card_is_pinned(cable: &Cable, dirs: &[TempDir; 2], mut seller: TestNode, buyer: &TestNode) {
    let line = seller.cli().run(&["peers", "invite"]).out.trim_end().to_owned();
    let address = seller.a2a.trim_start_matches("https://").to_owned();
    seller.stop();
    drop(seller);
    let other = TempDir::with_prefix("tender-test-").unwrap();
    let impostor = Launch::on(other.path()).in_namespace(&cable.names[0]).a2a(&address).start().await;
    assert!(impostor.cli().run(&["sell", "on"]).ok);
    let refused = buyer.cli().fails(&["peers", "add", &line]);
    assert!(refused.contains("signed") || refused.contains("key"), "{refused}");

    let dry: Value = buyer.cli().json(&[
        "submit",
        "--kind",
        "gemm",
        "--shape",
        "64,64,64",
        "--peers-only",
        "--dry-run",
        "--input",
        dirs[1].path().join("matrices.bin").to_str().unwrap(),
    ]);
    let text = dry["explanation"]["text"].as_str().unwrap();
    assert!(dry["explanation"]["decision"]["choice"].is_null() && text.contains("another TLS key"), "{text}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(impostor.events().all().iter().all(|e| e.name() == "setting_changed" || e.name() == "identity_created"));
}
