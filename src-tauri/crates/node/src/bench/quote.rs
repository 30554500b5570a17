//! `tender bench quote`: how fast proposals come and work starts, over real nodes on loopback.

use super::{BenchReport, Figure};
use crate::{
    api::types::{AddPeerInput, InviteInput, SubmitBuffer, SubmitWork},
    demo::throw_away,
    node::Running,
};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tender_base::{
    Book, Code, ContractState, JobState, MicroUsd, Problem,
    job::{Constraints, Privacy},
};
use tender_market::decision::Outcome;

/// Contractors that are called.
const PEERS: usize = 16;
/// Rounds of calls; enough for a 99th percentile.
const CALL_ROUNDS: usize = 200;
/// Awards to a warm worker, and to one that has to be started.
const WARM_ROUNDS: usize = 100;
const COLD_ROUNDS: usize = 5;

/// Measures under `dir`, which the caller deletes.
///
/// # Errors
/// The first thing that failed.
pub async fn quote(dir: &Path, worker: Option<&Path>) -> Result<BenchReport, Problem> {
    let client = throw_away(&dir.join("client"), worker).await?;
    client.node.set("use_own_gpu", false.into()).await?;
    let mut sellers = Vec::new();
    for i in 0..PEERS {
        let seller = throw_away(&dir.join(format!("seller-{i}")), worker).await?;
        seller.node.set("selling", true.into()).await?;
        // The first is the cheapest by far, so that awards go to one worker.
        seller.node.set("price.wgsl.micro_usd", (100 * (1 + i)).into()).await?;
        seller.node.set("price.wgsl.per_units", 100_000.into()).await?;
        let input = InviteInput { credit_limit_micro_usd: 1_000_000_000, valid_minutes: None };
        let link = seller.node.invite(input).await?.link;
        client.node.add_peer(AddPeerInput { link, credit_limit_micro_usd: None }).await?;
        sellers.push(seller);
    }
    let calls = calls(&client).await?;
    let cold = awards(&client, COLD_ROUNDS, Some(&sellers[0])).await?;
    let warm = awards(&client, WARM_ROUNDS, None).await?;
    let info = sellers[0].node.engine.info();
    client.stop().await;
    for seller in sellers {
        seller.stop().await;
    }
    let timed = |name, times, why: &str| Figure::of(name, "ms", times).because(why);
    let figures = vec![
        timed("cfp_16_peers", calls, "signed calls to 16 nodes and 16 signed proposals back, held and stored"),
        timed("award_to_progress", warm, "from the award to the first progress of a warm worker, stored"),
        timed("award_to_progress_cold", cold, "the same with a worker process that has to be started"),
    ];
    Ok(BenchReport::new("quote", info, figures))
}

/// Calls all peers again and again; every call must bring every proposal.
async fn calls(client: &Running) -> Result<Vec<f64>, Problem> {
    let mut times = Vec::with_capacity(CALL_ROUNDS);
    for _ in 0..CALL_ROUNDS {
        let job = client.node.unstored(Book::Demo, kernel(), constraints(client), true).await?;
        let started = Instant::now();
        let receipt = client.node.rehearse(&job).await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        let offered = |outcome: &Outcome| matches!(outcome, Outcome::Offered { contract: Some(_), .. });
        let proposals = receipt.question.situation.alternatives.iter().filter(|a| offered(&a.outcome)).count();
        if proposals != PEERS {
            let message = format!("only {proposals} of {PEERS} peers made a proposal");
            return Err(Problem::new(Code::WorkFailed, message, receipt.render()));
        }
        // Declines are on their way; the slots must be free for the next round.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    Ok(times)
}

/// Awards jobs one after the other; with `cold`, that seller's worker is ended before each.
async fn awards(client: &Running, rounds: usize, cold: Option<&Running>) -> Result<Vec<f64>, Problem> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        if let Some(seller) = cold {
            seller.node.engine.stop().await;
        }
        let id = client.node.submit_in(Book::Demo, kernel(), constraints(client), true).await?;
        let mut ticks = client.node.live.watch();
        loop {
            let job = client.node.job_record(id).await?;
            match job.state {
                JobState::Completed => break,
                state if state.is_final() => {
                    return Err(job.reason.unwrap_or_else(|| Problem::new(Code::WorkFailed, "a job failed", "")));
                }
                _ => {}
            }
            let _ = tokio::time::timeout(Duration::from_millis(200), ticks.changed()).await;
        }
        for record in client.node.contracts_of(id).await? {
            let at = |wanted| record.times.iter().find(|(state, _)| *state == wanted).map(|(_, at)| *at);
            if let (Some(awarded), Some(running)) = (at(ContractState::Awarded), at(ContractState::Running)) {
                times.push(running.since(awarded).as_secs_f64() * 1e3);
            }
        }
    }
    Ok(times)
}

/// A small kernel with work enough to report progress.
fn kernel() -> SubmitWork {
    let source = "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var x = id.x;
    for (var i = 0u; i < 100u; i++) { x = x * 1664525u + 1013904223u; }
    out[id.x] = x;
}
";
    SubmitWork::Wgsl {
        source: source.to_owned(),
        entry: "main".to_owned(),
        workgroups: 16,
        workgroup_size: 64,
        fuel: 128,
        element: "u32".to_owned(),
        buffers: vec![SubmitBuffer { binding: 0, bytes: 16 * 64 * 4, data_base64: None }],
    }
}

fn constraints(client: &Running) -> Constraints {
    Constraints {
        budget: MicroUsd(1_000_000),
        deadline: client.node.now().after(Duration::from_secs(60)),
        privacy: Privacy::Peers,
    }
}
