//! New keys in the place of old ones, between two real nodes.

use serde_json::json;
use std::net::TcpListener;
use tempfile::TempDir;
use tender_base::{
    Code, ContractState, JobState, Signed,
    documents::{Decline, Message, Succession},
};
use tender_node::api::types::{AddAgentInput, Agents, IssuedKey, KeyInput, Nothing, Paid, PayInput, Peer, Peers};
use tender_tests::{Launch, Stranger, TestNode, pair, work};

async fn peers(node: &TestNode) -> Vec<Peer> {
    let peers: Peers = node.ask("peers", &Nothing {}).await;
    peers.peers
}

/// Ends a node, runs `tender identity COMMAND` on its data, and starts it again.
async fn rotated(mut node: TestNode, command: &str) -> TestNode {
    assert!(node.stop().success());
    let said = node.cli().run(&["identity", command]);
    assert!(said.ok, "{said:?}");
    node.restart().await
}

/// Buys a small job from a peer; which peer that is may change with the first contact after a rotation.
async fn buys(buyer: &TestNode) -> String {
    for _ in 0..3 {
        let id = buyer.submit(&work::for_peers(work::gemm(32))).await;
        let detail = buyer.ended(&id).await;
        if detail.summary.state == Some(JobState::Completed) {
            return id;
        }
    }
    panic!("nothing is bought: {:#?}\n{}", peers(buyer).await, buyer.said());
}

async fn settle(buyer: &TestNode, seller: &TestNode) {
    let input = PayInput { did: seller.did.to_string(), method: "cash".into(), book: None };
    let _: Paid = buyer.ask("record_payment", &input).await;
}

#[tokio::test]
async fn peers_follow_a_new_key_of_the_seller_and_keep_what_they_know_of_it() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    pair(&seller, &buyer, work::DOLLAR).await;
    let first = buys(&buyer).await;
    buyer.booked(&first).await;
    let old = seller.did;

    // What is owed names the old key: it is paid first, and the refusal says so.
    let mut seller = seller;
    assert!(seller.cli().fails(&["identity", "rotate"]).contains("end the node first"));
    assert!(seller.stop().success());
    let said = seller.cli().fails(&["identity", "rotate"]);
    assert!(said.contains("not paid") && said.contains("record what was paid"), "{said}");
    let seller = seller.restart().await;
    assert_eq!(seller.did, old, "a refusal changes nothing");
    settle(&buyer, &seller).await;

    let seller = rotated(seller, "rotate").await;
    assert_ne!(seller.did, old);
    assert_eq!(seller.cli().json(&["identity"])["did"], json!(seller.did.to_string()));
    let second = buys(&buyer).await;
    let detail = buyer.booked(&second).await;
    assert_eq!(detail.contracts[0].state, ContractState::Accepted, "{detail:#?}");
    let known = peers(&buyer).await;
    assert_eq!(known.len(), 1, "{known:#?}");
    assert_eq!((known[0].did.clone(), known[0].address.clone()), (seller.did.to_string(), Some(seller.a2a.clone())));
    // The trade before the rotation is still one with this peer, and its receipt still proves itself.
    let before = buyer.job(&first).await;
    assert_eq!(before.contracts[0].state, ContractState::Settled, "{before:#?}");
    assert_eq!(before.contracts[0].with, known[0].name, "{before:#?}");
    let receipt = buyer.dir().join("receipt.json");
    let receipt = receipt.to_str().unwrap();
    assert!(buyer.cli().run(&["jobs", &first, "--receipt", receipt]).ok);
    assert_eq!(buyer.cli().json(&["verify", receipt])["contractor"], json!(old.to_string()));
    // Restarted, it is still the new one.
    let seller = seller.restart().await;
    settle(&buyer, &seller).await;
    assert_eq!(buyer.earnings().await.owed_by_us_micro_usd, 0);
}

#[tokio::test]
async fn a_seller_follows_a_new_key_of_a_buyer_that_it_never_calls() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    pair(&seller, &buyer, work::DOLLAR).await;
    let first = buys(&buyer).await;
    buyer.booked(&first).await;
    settle(&buyer, &seller).await;
    let old = buyer.did;
    let buyer = rotated(buyer, "rotate").await;
    let second = buys(&buyer).await;
    buyer.booked(&second).await;
    let known = peers(&seller).await;
    assert_eq!(known.len(), 1, "{known:#?}");
    assert_eq!(known[0].did, buyer.did.to_string());
    assert_ne!(known[0].did, old.to_string());
    assert!(known[0].owes_us_micro_usd > 0, "{known:#?}");
}

#[tokio::test]
async fn a_new_key_is_believed_only_when_the_old_one_names_it_and_nothing_is_open() {
    let node = TestNode::seller().await;
    let (old, new, other) = (Stranger::new(80), Stranger::new(81), Stranger::new(82));
    let word = |from: &Stranger, to: &Stranger, by: &Stranger| {
        let word = Succession { predecessor: from.did(), successor: to.did(), succeeded_at: from.now() };
        Message::Succession(Signed::new(word, by.signer.as_ref()))
    };
    let link = node.invite(work::DOLLAR).await;
    let secret = link.split("secret=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let client = old.connect(&node.a2a, node.did).await.unwrap();
    assert!(matches!(old.answer(&client, node.did, &secret).await, Ok(Message::PairingAnswer(_))));
    let as_new = new.connect(&node.a2a, node.did).await.unwrap();
    let as_other = other.connect(&node.a2a, node.did).await.unwrap();
    let refusal = async |client: &tender_a2a::Client, word: Message| match client.exchange(word).await {
        Ok(Message::Refusal(problem)) => problem,
        otherwise => panic!("{otherwise:?}"),
    };
    assert_eq!(refusal(&as_new, word(&old, &new, &new)).await.code, Code::Forged, "it speaks for itself");
    assert_eq!(refusal(&as_other, word(&old, &new, &old)).await.code, Code::Forged, "another sends it");
    assert_eq!(refusal(&as_new, word(&other, &new, &other)).await.code, Code::Forbidden, "never paired");

    // An open offer belongs to the old key.
    let (call, _) = old.call(node.did);
    let offered = client.exchange(Message::Call(old.sign_call(call.clone()))).await;
    let Ok(Message::Proposal(proposal)) = offered else { panic!("{offered:?}") };
    let refused = refusal(&as_new, word(&old, &new, &old)).await;
    assert_eq!(refused.code, Code::Conflict, "{refused}");
    assert!(refused.message.contains("open") && refused.hint.contains("pair anew"), "{refused}");
    assert_eq!(peers(&node).await[0].did, old.did().to_string());

    // When it is given back the peer moves, and says so as often as it likes.
    let decline = Decline {
        contract: call.contract,
        client: old.did(),
        contractor: node.did,
        proposal: proposal.hash(),
        declined_at: old.now(),
    };
    let declined = client.exchange(Message::Decline(Signed::new(decline, old.signer.as_ref()))).await;
    assert!(matches!(declined, Ok(Message::Decline(_))), "{declined:?}");
    let moved = async || matches!(as_new.exchange(word(&old, &new, &old)).await, Ok(Message::Succession(_)));
    assert!(moved().await);
    assert!(moved().await);
    let known = peers(&node).await;
    assert_eq!((known.len(), known[0].did.clone()), (1, new.did().to_string()), "{known:#?}");
    let offered = as_new.exchange(Message::Call(new.sign_call(new.call(node.did).0))).await;
    assert!(matches!(offered, Ok(Message::Proposal(_))), "{offered:?}");
    let offered = client.exchange(Message::Call(old.sign_call(old.call(node.did).0))).await;
    assert!(matches!(offered, Ok(Message::Refusal(_))), "the old key has nothing more to say: {offered:?}");
    // Nor can it name somebody else any more.
    assert_eq!(refusal(&as_other, word(&old, &other, &old)).await.code, Code::Forbidden);
}

#[tokio::test]
async fn a_pinned_agent_is_followed_to_its_new_key() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    let input = KeyInput { name: "buyer".to_owned(), credit_limit_micro_usd: work::DOLLAR };
    let issued: IssuedKey = seller.ask("issue_key", &input).await;
    let old = seller.did;
    let seller = rotated(seller, "rotate").await;
    assert_ne!(seller.did, old);
    let mut agent = AddAgentInput {
        url: seller.a2a.clone(),
        name: Some("seller".to_owned()),
        price_micro_usd: None,
        did: Some(old.to_string()),
        key: Some(issued.key),
    };
    let added: Agents = buyer.ask("add_agent", &agent).await;
    assert!(added.agents[0].signed);
    // A key that nobody named is nobody's successor.
    agent.did = Some(buyer.did.to_string());
    assert_eq!(buyer.refuses("add_agent", &agent).await.code, Code::Forged);
}

#[tokio::test]
async fn peers_follow_a_new_tls_key_because_the_card_names_it() {
    let mut without = TestNode::start().await;
    assert!(without.stop().success());
    let said = without.cli().fails(&["identity", "rotate-tls"]);
    assert!(said.contains("no TLS key"), "{said}");

    // Bound to more than loopback, so that TLS is used; reached by loopback all the same.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = TempDir::with_prefix("tender-test-").unwrap();
    let launch = Launch::on(dir.path())
        .a2a(&format!("0.0.0.0:{port}"))
        .arg("--public-address")
        .arg(&format!("127.0.0.1:{port}"));
    let mut seller = launch.clone().start().await;
    seller.sell(true).await;
    assert!(seller.a2a.starts_with("https://127.0.0.1:"), "{}", seller.a2a);
    let buyer = TestNode::buyer().await;
    pair(&seller, &buyer, work::DOLLAR).await;
    buys(&buyer).await;
    let before = std::fs::read(dir.path().join("tls.key")).unwrap();

    assert!(seller.cli().fails(&["identity", "rotate-tls"]).contains("end the node first"));
    assert!(seller.stop().success());
    assert!(seller.cli().run(&["identity", "rotate-tls"]).ok);
    assert_ne!(std::fs::read(dir.path().join("tls.key")).unwrap(), before);
    let did = seller.did;
    let seller = launch.start().await;
    assert_eq!(seller.did, did);
    buys(&buyer).await;
    assert_eq!(peers(&buyer).await[0].did, did.to_string(), "the pin is the same");
}
