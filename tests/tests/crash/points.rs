//! Kills at each step, as soon as the event of the step is committed.

use crate::market::{
    Market,
    Side::{self, Client, Contractor},
    countersigned, enters, kill_process, named, worker_of,
};
use std::time::Instant;
use tender_base::JobState;
use tender_node::api::types::JobDetail;
use tender_tests::Seen;

const SELLER: Side = Contractor(0);

/// Recognises an event.
type Event = Box<dyn Fn(&Seen) -> bool>;

fn report(point: &str, started: Instant, detail: Option<&JobDetail>) {
    let state = detail.and_then(|detail| detail.summary.state);
    println!("{point}: {state:?} after {} ms", started.elapsed().as_millis());
    assert!(state.is_none_or(|state| state == JobState::Completed), "{point}: {detail:#?}");
}

/// Kills `victims` at each event that `watched` commits.
async fn at_each(victims: &[Side], watched: Side, points: Vec<(&str, Event)>) {
    let mut market = Market::open(1).await;
    for (point, event) in points {
        let started = Instant::now();
        let detail = market.crash(victims, watched, event).await;
        report(point, started, detail.as_ref());
        market.settle().await;
    }
    market.close().await;
}

#[tokio::test]
async fn the_client_is_killed_at_every_step() {
    at_each(
        &[Client],
        Client,
        vec![
            ("submitted", Box::new(named("job_submitted"))),
            ("decided", Box::new(named("job_decided"))),
            ("proposed", Box::new(named("contract_opened"))),
            ("awarded", Box::new(enters("awarded"))),
            ("running", Box::new(enters("running"))),
            ("delivered", Box::new(enters("delivered"))),
            ("accepted", Box::new(enters("accepted"))),
            ("countersigned", Box::new(countersigned)),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_client_is_killed_at_every_step_of_its_contractor() {
    at_each(
        &[Client],
        SELLER,
        vec![
            ("proposed", Box::new(named("contract_opened"))),
            ("awarded", Box::new(enters("awarded"))),
            ("running", Box::new(enters("running"))),
            ("delivered", Box::new(enters("delivered"))),
            ("accepted", Box::new(enters("accepted"))),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_contractor_is_killed_at_every_step() {
    at_each(
        &[SELLER],
        SELLER,
        vec![
            ("proposed", Box::new(named("contract_opened"))),
            ("awarded", Box::new(enters("awarded"))),
            ("running", Box::new(enters("running"))),
            ("delivered", Box::new(enters("delivered"))),
            ("accepted", Box::new(enters("accepted"))),
        ],
    )
    .await;
}

#[tokio::test]
async fn both_are_killed_at_once() {
    at_each(
        &[Client, SELLER],
        Client,
        vec![
            ("proposed", Box::new(named("contract_opened"))),
            ("awarded", Box::new(enters("awarded"))),
            ("running", Box::new(enters("running"))),
            ("delivered", Box::new(enters("delivered"))),
            ("accepted", Box::new(enters("accepted"))),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_worker_is_killed_while_it_works_and_while_it_checks() {
    let mut market = Market::open(1).await;
    for (point, victim, watched, event) in [
        ("the contractor's worker, awarded", SELLER, SELLER, "awarded"),
        ("the contractor's worker, running", SELLER, SELLER, "running"),
        ("the client's worker, delivered", Client, Client, "delivered"),
    ] {
        let started = Instant::now();
        let skip = market.node(watched).events().count();
        let submission = market.submit();
        market.node(watched).events().after(skip, enters(event)).await;
        kill_process(worker_of(market.node(victim)).await);
        let id = market.id_of(submission).await.unwrap();
        let detail = market.completed(&id).await;
        report(point, started, Some(&detail));
        market.settle().await;
    }
    market.close().await;
}
