//! `tender bench`.

use crate::{
    args::{Bench, BenchName},
    print,
};
use tender_base::{Code, Problem};

pub(crate) async fn run(bench: Bench, json: bool) -> Result<(), Problem> {
    let dir = tempfile::tempdir()
        .map_err(|e| Problem::new(Code::Storage, format!("no temporary folder: {e}"), "free some disk space"))?;
    let report = match bench.name {
        BenchName::Quote => tender_node::bench::quote(dir.path(), bench.worker.as_deref()).await?,
    };
    print::answer(json, &report, |report| {
        let line = |f: &tender_node::bench::Figure| {
            format!(
                "{:<24} p50 {:>8.1} {unit}  p99 {:>8.1} {unit}  n {}",
                f.name,
                f.p50.unwrap_or(f64::NAN),
                f.p99.unwrap_or(f64::NAN),
                f.n,
                unit = f.unit
            )
        };
        let adapter = report.adapter.as_deref().unwrap_or("no adapter");
        let lines: Vec<String> = report.figures.iter().map(line).collect();
        format!("{adapter}\n{}", lines.join("\n"))
    });
    Ok(())
}
