//! Contractors that die or fall silent.

use serde_json::json;
use std::time::{Duration, Instant};
use tender_base::{Code, ContractState};
use tender_node::api::types::{SubmitWork, Switch};
use tender_tests::{
    TestNode, pair,
    work::{self, DOLLAR},
};

/// From the loss of a contractor to the award of the next.
const FAILOVER: Duration = Duration::from_secs(2);
/// What a loaded machine may add to a deadline of a second.
const LOAD: Duration = Duration::from_millis(1500);

/// Three contractors with rising prices, paired with one buyer.
async fn market() -> (TestNode, Vec<TestNode>) {
    let buyer = TestNode::buyer().await;
    let mut sellers = Vec::new();
    for micro_usd in [10, 20, 30] {
        let seller = TestNode::seller().await;
        seller.set("price.wgsl.micro_usd", json!(micro_usd)).await;
        seller.set("price.wgsl.per_units", json!(1_000_000)).await;
        pair(&seller, &buyer, DOLLAR).await;
        sellers.push(seller);
    }
    (buyer, sellers)
}

/// Takes lavapipe about a second: long enough to be killed in.
fn work_of_a_second() -> SubmitWork {
    work::wgsl(200, 20_000)
}

#[tokio::test]
async fn a_contractor_killed_after_the_award_is_replaced_within_two_seconds() {
    let (buyer, mut sellers) = market().await;
    let id = buyer.submit(&work::for_peers(work_of_a_second())).await;
    let first = buyer.events().first(|e| e.moved_to("awarded")).await;
    sellers[0].events().first(|e| e.moved_to("awarded")).await;
    let killed = Instant::now();
    sellers[0].kill();
    let abandoned = buyer.events().first(|e| e.moved_to("abandoned")).await;
    assert_eq!(abandoned.contract(), first.contract());
    let next = buyer.events().first(|e| e.moved_to("awarded") && e.contract() != first.contract()).await;
    let took = next.at - killed;
    assert!(took < FAILOVER, "the next award came {took:?} after the kill");
    assert!(abandoned.seq < next.seq, "the old award is given up before the next is made");

    let detail = buyer.ended(&id).await;
    assert_eq!(detail.contracts[0].state, ContractState::Accepted, "{detail:#?}");
    assert_eq!(detail.contracts[0].id, next.contract());
    buyer.booked(&id).await;
    let earned = sellers[1].earnings().await;
    let spent = buyer.earnings().await;
    assert_eq!(earned.owed_to_us_micro_usd, detail.summary.amount_micro_usd.unwrap());
    assert_eq!(spent.owed_by_us_micro_usd, earned.owed_to_us_micro_usd, "only the one who delivered is owed");
    sellers[2].owes_and_is_owed_nothing().await;

    // The dead one comes back, does the work again and is told that it comes too late: nothing is owed twice.
    let late = sellers.remove(0).restart().await;
    let seen = late.events().count();
    late.events().after(seen.saturating_sub(1), |e| e.moved_to("delivered") || e.moved_to("abandoned")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let old = buyer.job(&id).await.contracts.into_iter().find(|c| c.id == first.contract()).unwrap();
    assert_eq!(old.state, ContractState::Abandoned);
    assert_eq!(late.earnings().await.owed_to_us_micro_usd, 0);
    assert_eq!(buyer.earnings().await.owed_by_us_micro_usd, spent.owed_by_us_micro_usd);
}

/// Stopped, not ended: connections open and nothing ever comes.
#[tokio::test]
async fn a_silent_peer_costs_nobody_more_than_the_deadline() {
    let (buyer, sellers) = market().await;
    // Everybody's connection and worker are warm, so that only the silence is measured.
    buyer.buy(&work::for_peers(work::wgsl(2, 50))).await;
    buyer.set("proposal_deadline_ms", json!(1000)).await;
    sellers[0].signal("STOP");
    let started = Instant::now();
    let seen = buyer.events().count();
    let id = buyer.submit(&work::for_peers(work::wgsl(2, 50))).await;
    let awarded = buyer.events().after(seen, |e| e.moved_to("awarded")).await;
    let took = awarded.at - started;
    assert!(took < Duration::from_millis(1000) + LOAD, "the award came after {took:?}");
    let detail = buyer.ended(&id).await;
    assert_eq!(detail.contracts[0].state, ContractState::Accepted, "{detail:#?}");
    let silent = detail.decision.iter().find(|row| row.why.contains("did not answer"));
    assert!(silent.is_some(), "{:#?}", detail.decision);
    sellers[0].signal("CONT");
}

/// Silent after the award: noticed without a word, and what it delivers afterwards is refused.
#[tokio::test]
async fn a_contractor_that_falls_silent_after_the_award_is_replaced_and_its_delivery_refused() {
    let (buyer, sellers) = market().await;
    let id = buyer.submit(&work::for_peers(work_of_a_second())).await;
    let first = buyer.events().first(|e| e.moved_to("awarded")).await;
    sellers[0].events().first(|e| e.moved_to("awarded")).await;
    let stopped = Instant::now();
    sellers[0].signal("STOP");
    let next = buyer.events().first(|e| e.moved_to("awarded") && e.contract() != first.contract()).await;
    let took = next.at - stopped;
    assert!(took < FAILOVER + LOAD, "the next award came {took:?} after the silence began");
    let detail = buyer.ended(&id).await;
    assert_eq!(detail.contracts[0].id, next.contract(), "{detail:#?}");
    let owed = buyer.earnings().await.owed_by_us_micro_usd;

    sellers[0].signal("CONT");
    sellers[0].events().first(|e| e.moved_to("delivered") || e.moved_to("abandoned") || e.moved_to("failed")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(buyer.earnings().await.owed_by_us_micro_usd, owed);
    assert_eq!(sellers[0].earnings().await.owed_to_us_micro_usd, 0);
}

/// Everything stops at the switch: the job here, the contract there, and no new one begins.
#[tokio::test]
async fn the_stop_ends_what_runs_on_both_sides() {
    let (buyer, sellers) = market().await;
    let id = buyer.submit(&work::for_peers(work_of_a_second())).await;
    sellers[0].events().first(|e| e.moved_to("awarded")).await;
    for node in [&sellers[1], &sellers[2], &sellers[0]] {
        let _: serde_json::Value = node.ask("stop_everything", &Switch { on: true }).await;
    }
    let detail = buyer.ended(&id).await;
    assert_eq!(detail.summary.state, Some(tender_base::JobState::Failed), "{detail:#?}");
    assert!(detail.problem.is_some_and(|p| p.message.contains("stopped")));
    for node in sellers.iter().chain([&buyer]) {
        node.owes_and_is_owed_nothing().await;
    }
    let _: serde_json::Value = buyer.ask("stop_everything", &Switch { on: true }).await;
    let refused = buyer.refuses("submit", &work::for_peers(work::gemm(16))).await;
    assert!(refused.code == Code::Unavailable && refused.message.contains("stopped"), "{refused}");
}
