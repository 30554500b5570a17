//! `tender bench`.

use crate::{
    args::{Bench, BenchName},
    print,
};
use tender_base::{Code, Problem};
use tender_node::bench::{self, BenchReport, Figure};

pub(crate) async fn run(bench: Bench, json: bool) -> Result<(), Problem> {
    let dir = tempfile::tempdir()
        .map_err(|e| Problem::new(Code::Storage, format!("no temporary folder: {e}"), "free some disk space"))?;
    let worker = bench.worker.as_deref();
    let report = match bench.name {
        BenchName::Quote => bench::quote(dir.path(), worker).await?,
        BenchName::Gemm => bench::gemm(worker).await?,
        BenchName::Generate => bench::generate(dir.path(), worker, bench.model.as_deref()).await?,
        BenchName::Embed => bench::embed(worker).await?,
        BenchName::Decide => bench::decide().await?,
        BenchName::A2a => bench::a2a(dir.path(), worker).await?,
        BenchName::Guard => bench::guard(dir.path(), worker).await?,
    };
    print::answer(json, &report, table);
    Ok(())
}

fn table(report: &BenchReport) -> String {
    let adapter = report.adapter.as_deref().unwrap_or("no adapter");
    let driver = report.driver.as_deref().map_or_else(String::new, |driver| format!(", {driver}"));
    let load = report.load.map_or_else(String::new, |load| format!(", load {load}"));
    let head = format!("{adapter}{driver}; {} processors{load}", report.processors);
    let lines: Vec<String> = report.figures.iter().map(line).collect();
    format!("{head}\n\n{}", lines.join("\n"))
}

fn line(figure: &Figure) -> String {
    let number = |value: Option<f64>| match value {
        Some(value) if value.abs() < 1.0 => format!("{value:.4}"),
        Some(value) => format!("{value:.1}"),
        None => "–".to_owned(),
    };
    let ratio = figure.ratio.map_or_else(String::new, |ratio| format!("  {ratio:.2} × "));
    let peer = figure.peer.as_deref().unwrap_or_default();
    let why = figure.why.as_deref().map_or_else(String::new, |why| format!("\n{:26}{why}", ""));
    format!(
        "{:<24}  p50 {:>8}  p99 {:>8} {}  n {}{ratio}{peer}{why}",
        figure.name,
        number(figure.p50),
        number(figure.p99),
        figure.unit,
        figure.n
    )
}
