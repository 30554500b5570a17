//! `tender demo`.

use std::path::PathBuf;
use tender_base::{Code, MicroUsd, Problem};
use tender_node::api::types::FirstTrade;

pub(crate) async fn run(worker: Option<PathBuf>, json: bool) -> Result<(), Problem> {
    let dir = tempfile::tempdir()
        .map_err(|e| Problem::new(Code::Storage, format!("no temporary folder: {e}"), "free some disk space"))?;
    let mut told = 0;
    let report = tender_node::demo::run(dir.path(), worker, move |trade| {
        if !json {
            told = tell(trade, told);
        }
    })
    .await?;
    if json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
        return Ok(());
    }
    println!("\nComputed by {}", report.adapter);
    println!("{:<6} {:>12} {:>12} {:>9}  {:<8}", "job", "quoted", "charged", "ms", "verified");
    for job in &report.jobs {
        println!(
            "{:<6} {:>12} {:>12} {:>9}  {:<8}",
            job.kind.name(),
            MicroUsd(job.quoted_micro_usd).to_string(),
            MicroUsd(job.charged_micro_usd).to_string(),
            job.wall_ms,
            if job.verified { "yes" } else { "no" },
        );
    }
    println!("Play money: nothing was really paid. Start your own node with `tender serve`.");
    Ok(())
}

/// Prints the steps that ended since the last call.
fn tell(trade: &FirstTrade, told: usize) -> usize {
    let ended = trade.steps.iter().take_while(|step| step.state == "done" || step.state == "failed").count();
    for step in trade.steps.iter().take(ended).skip(told) {
        let mark = if step.state == "done" { "✓" } else { "✗" };
        println!("{mark} {} ({} ms)\n  {}", step.title, step.ms.unwrap_or(0), step.detail);
    }
    told.max(ended)
}
