//! Somebody is away for longer than a moment.

use crate::market::{
    Market,
    Side::{Client, Contractor},
    enters,
};
use serde_json::json;
use std::time::{Duration, Instant};

/// What a dead contractor may cost: from its kill to the next award.
const REPLACED_WITHIN: Duration = Duration::from_secs(2);

/// The shortest review that can be set, and how much longer a contractor waits.
const REVIEW: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_dead_contractor_is_replaced_and_hears_of_it_when_it_is_back() {
    let mut market = Market::open(2).await;
    for event in ["awarded", "running"] {
        let skip = market.node(Contractor(0)).events().count();
        let submission = market.submit();
        market.node(Contractor(0)).events().after(skip, enters(event)).await;
        let skip = market.node(Contractor(1)).events().count();
        let killed = Instant::now();
        market.kill(Contractor(0));
        let awarded = market.node(Contractor(1)).events().after(skip, enters("awarded")).await;
        let took = awarded.at.duration_since(killed);
        println!("killed when {event}: replaced after {} ms", took.as_millis());
        assert!(took < REPLACED_WITHIN, "{took:?}");
        let id = market.id_of(submission).await.unwrap();
        market.completed(&id).await;
        market.revive(Contractor(0)).await;
        market.settle().await;
    }
    market.close().await;
}

#[tokio::test]
async fn an_abandonment_that_nobody_could_hear_outlives_the_client_too() {
    let mut market = Market::open(2).await;
    let skip = market.node(Contractor(0)).events().count();
    let submission = market.submit();
    market.node(Contractor(0)).events().after(skip, enters("running")).await;
    market.kill(Contractor(0));
    let id = market.id_of(submission).await.unwrap();
    market.completed(&id).await;
    market.kill(Client);
    market.revive(Client).await;
    market.revive(Contractor(0)).await;
    market.settle().await;
    market.close().await;
}

#[tokio::test]
async fn silence_counts_for_a_client_that_is_away_and_it_still_gets_what_it_owes() {
    let mut market = Market::open(1).await;
    market.node(Client).set("review_seconds", json!(REVIEW.as_secs())).await;
    let skip = market.node(Contractor(0)).events().count();
    let submission = market.submit();
    market.node(Contractor(0)).events().after(skip, enters("delivered")).await;
    market.kill(Client);
    tokio::time::sleep(REVIEW + GRACE).await;
    market.node(Contractor(0)).events().after(skip, enters("accepted")).await;
    market.revive(Client).await;
    let id = market.id_of(submission).await.unwrap();
    let detail = market.completed(&id).await;
    assert_eq!(detail.contracts.len(), 1, "it was bought twice: {detail:#?}");
    market.settle().await;
    market.close().await;
}

#[tokio::test]
async fn nobody_is_silent_to_a_contractor_that_is_away() {
    let mut market = Market::open(1).await;
    market.node(Client).set("review_seconds", json!(REVIEW.as_secs())).await;
    let skip = market.node(Contractor(0)).events().count();
    let submission = market.submit();
    market.node(Contractor(0)).events().after(skip, enters("delivered")).await;
    for side in [Client, Contractor(0)] {
        market.kill(side);
    }
    tokio::time::sleep(REVIEW + GRACE).await;
    let skip = market.node(Contractor(0)).events().count();
    market.revive(Contractor(0)).await;
    // The timer that would count the silence runs every five seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let moved = market.node(Contractor(0)).events().all().split_off(skip);
    assert!(!moved.iter().any(|seen| seen.moved_to("accepted")), "{moved:#?}");
    market.revive(Client).await;
    if let Some(id) = market.id_of(submission).await {
        let detail = market.completed(&id).await;
        assert_eq!(detail.contracts.len(), 1, "it was bought twice: {detail:#?}");
    }
    market.close().await;
}
