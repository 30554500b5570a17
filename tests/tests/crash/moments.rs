//! Kills at random milliseconds.

use crate::market::{
    Market,
    Side::{self, Client, Contractor},
};
use std::time::{Duration, Instant};
use tender_tests::draw;

/// Kills per side.
const KILLS: u32 = 10;
/// Longest time from the submission to the kill: a little more than a job takes.
const LONGEST_MS: u64 = 1_500;

async fn at_random(victim: Side, mut seed: u64) {
    let mut market = Market::open(1).await;
    for _ in 0..KILLS {
        let moment = draw(&mut seed, LONGEST_MS);
        let started = Instant::now();
        let submission = market.submit();
        tokio::time::sleep(Duration::from_millis(moment)).await;
        market.kill(victim);
        let id = market.id_of(submission).await;
        market.revive(victim).await;
        let state = match id {
            Some(id) => market.completed(&id).await.summary.state,
            None => None,
        };
        println!("{victim:?} killed after {moment} ms: {state:?} after {} ms", started.elapsed().as_millis());
        market.settle().await;
    }
    market.close().await;
}

#[tokio::test]
async fn the_client_is_killed_at_random() {
    at_random(Client, 1).await;
}

#[tokio::test]
async fn the_contractor_is_killed_at_random() {
    at_random(Contractor(0), 2).await;
}
