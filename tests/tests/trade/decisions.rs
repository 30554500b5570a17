//! Where a job runs, why, and whether the stored receipt proves it.

use serde_json::json;
use tender_base::JobState;
use tender_node::api::types::{ById, Doctor, Explanation, JobDetail, Nothing};
use tender_tests::{
    TestNode, pair,
    work::{self, DOLLAR},
};

/// A contractor that sells matrix products at so many micro-USD per 1,000 operations.
async fn seller(buyer: &TestNode, micro_usd: u32) -> TestNode {
    let seller = TestNode::seller().await;
    seller.set("price.gemm.micro_usd", json!(micro_usd)).await;
    seller.set("price.gemm.per_units", json!(1000)).await;
    pair(&seller, buyer, DOLLAR).await;
    seller
}

async fn bought(buyer: &TestNode) -> JobDetail {
    let detail = buyer.buy(&work::for_peers(work::gemm(16))).await;
    assert_eq!(detail.summary.state, Some(JobState::Completed), "{detail:#?}");
    detail
}

async fn explained(node: &TestNode, id: &str) -> Explanation {
    node.ask("explain", &ById { id: id.to_owned() }).await
}

/// Without any random exploration: what is assumed of a newcomer is enough for a try, and its deliveries for more.
#[tokio::test]
async fn a_new_cheaper_honest_peer_is_chosen_within_three_jobs() {
    let buyer = TestNode::buyer().await;
    let known = seller(&buyer, 1_000).await;
    for _ in 0..3 {
        bought(&buyer).await;
    }
    let before = known.earnings().await.owed_to_us_micro_usd;
    let new = seller(&buyer, 800).await;
    for _ in 0..3 {
        bought(&buyer).await;
    }
    let (old, young) = (known.earnings().await.owed_to_us_micro_usd, new.earnings().await.owed_to_us_micro_usd);
    // 2 · 16³ operations at 800 micro-USD per 1,000, rounded up.
    assert_eq!((old, young), (before, 3 * 6_554), "all three");

    let last = bought(&buyer).await;
    let explanation = explained(&buyer, &last.summary.id).await;
    let receipt = &explanation.decision;
    assert_eq!(receipt["question"]["policy"], json!({"policy": "greedy"}));
    let histories: Vec<f64> = receipt["question"]["standings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|standing| standing["history"]["successes"].as_f64().unwrap())
        .filter(|successes| *successes > 0.0)
        .collect();
    // Three each, faded by seconds.
    assert!(histories.len() == 2 && histories.iter().all(|n| (2.99..=3.0).contains(n)), "{histories:?}");
    assert_eq!(receipt["actual"]["charged"], 6_554);
}

/// Every row answers "why not?", every number has its inputs, and deciding again gives the same bits: with the node,
/// without it, and under the policy that was set.
#[tokio::test]
async fn a_stored_receipt_explains_itself_and_replays() {
    let mut buyer = TestNode::buyer().await;
    let _sellers = [seller(&buyer, 1_000).await, seller(&buyer, 1_100).await];
    buyer.set("decision_policy", json!("epsilon=0.5")).await;
    buyer.set("waiting_usd_per_hour", json!(0.05)).await;
    let refused = buyer.cli().fails(&["settings", "set", "decision_policy", "luck"]);
    assert!(refused.contains("thompson"), "{refused}");
    let mut ids = Vec::new();
    for _ in 0..3 {
        let detail = bought(&buyer).await;
        let Explanation { text, decision, whys } = explained(&buyer, &detail.summary.id).await;
        for part in ["policy epsilon=0.5", "the matrix", "normalised", "gate: at most", "explores below", "came to"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(text.contains(&format!("seed {}", decision["question"]["seed"])), "{text}");
        assert_eq!(decision["question"]["needs"]["usd_per_hour"], 0.05);
        assert!(decision["draw"].as_f64().is_some_and(|draw| (0.0..1.0).contains(&draw)), "{decision}");
        // This machine is not offered: it has a reason and no number.
        let total =
            |why: &&serde_json::Value| why["name"].as_str().is_some_and(|name| name.starts_with("expected total"));
        let totals: Vec<&serde_json::Value> = whys.iter().filter(total).collect();
        assert_eq!((detail.decision.len(), totals.len()), (3, 2), "{detail:#?}");
        assert!(detail.decision.iter().all(|row| !row.why.is_empty()));
        let sum = |why: &serde_json::Value| why["inputs"].as_array().is_some_and(|inputs| inputs.len() > 5);
        assert!(totals.iter().all(|why| sum(why) && why["unit"] == "USD" && !why["formula"].is_null()), "{whys:?}");
        ids.push(detail.summary.id);
    }
    let doctor: Doctor = buyer.ask("doctor", &Nothing {}).await;
    let line = doctor.checks.iter().find(|check| check.name == "Exploration").unwrap();
    assert!(line.state == "ok" && line.message.contains("of 3 decisions explored, 1.5 expected"), "{line:?}");

    let replay: Vec<&str> = ["replay"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let cli = buyer.cli();
    let with = cli.json(&replay);
    assert!(with["receipts"].as_array().unwrap().iter().all(|one| one["same_bits"] == true), "{with}");
    assert!(buyer.stop().success());
    assert_eq!(cli.json(&replay), with);
}
