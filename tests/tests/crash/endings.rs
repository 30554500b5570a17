//! A worker never outlives its node, and a node ends when it is told to.

use crate::market::{
    Market,
    Side::{Client, Contractor},
    enters, runs, worker_of,
};
use std::time::{Duration, Instant};
use tender_node::api::types::SubmitInput;
use tender_tests::{TestNode, pair, work};

/// How long a worker may outlive its killed node: the kernel's own signal.
const ORPHAN_LIMIT: Duration = Duration::from_secs(1);
/// What SIGTERM may take in the middle of a job; 15 s are promised.
const TERM_LIMIT: Duration = Duration::from_secs(15);

async fn wait_until_gone(pid: u32) -> Duration {
    let started = Instant::now();
    while runs(pid) {
        assert!(started.elapsed() < ORPHAN_LIMIT, "the worker {pid} outlives its node");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    started.elapsed()
}

#[tokio::test]
async fn a_worker_dies_with_its_node_in_the_middle_of_a_kernel() {
    let (mut seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    pair(&seller, &buyer, 1_000 * work::DOLLAR).await;
    // Several seconds on a CPU.
    let job = SubmitInput { deadline_seconds: Some(3600), ..work::for_peers(work::wgsl(8192, 50_000)) };
    buyer.submit(&job).await;
    seller.events().first(enters("awarded")).await;
    let worker = worker_of(&seller).await;
    seller.events().first(enters("running")).await;
    assert!(runs(worker), "it ended before it could be killed\n{}", seller.said());
    seller.kill();
    println!("the worker was gone {} ms after its node", wait_until_gone(worker).await.as_millis());
}

#[tokio::test]
async fn a_node_that_is_told_to_end_does_so_in_the_middle_of_a_job_and_goes_on_later() {
    let mut market = Market::open(1).await;
    for side in [Contractor(0), Client] {
        let skip = market.node(Contractor(0)).events().count();
        let submission = market.submit();
        market.node(Contractor(0)).events().after(skip, enters("running")).await;
        let id = market.id_of(submission).await.unwrap();
        let worker = worker_of(market.node(Contractor(0))).await;
        let asked = Instant::now();
        market.terminate(side);
        println!("{side:?} ended {} ms after SIGTERM", asked.elapsed().as_millis());
        assert!(asked.elapsed() < TERM_LIMIT);
        if side != Client {
            wait_until_gone(worker).await;
        }
        market.revive(side).await;
        market.completed(&id).await;
        market.settle().await;
    }
    market.close().await;
}
