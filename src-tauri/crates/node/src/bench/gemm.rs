//! Kernels alone: products beside cuBLAS, and every kernel of the catalogue against its reference in Rust.

use super::{BenchReport, Figure, ROUNDS, engine, peer};
use serde_json::json;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tender_base::{
    Problem,
    frames::Measurement,
    job::Precision,
    kernel::{Kernel, KernelWork},
};

const SIDES: [u32; 2] = [1024, 4096];
/// No further round of a figure begins after this: a product of 4096 takes a CPU adapter half a minute.
const FIGURE_LIMIT: Duration = Duration::from_secs(60);
/// Rows and columns of matrices: 16 MiB, more than any cache next to a processor.
const MATRIX: (u32, u32) = (1024, 4096);
/// Blocks and paths of the Monte-Carlo kernels.
const PATHS: (u32, u32) = (256, 4096);

/// Measures products and the kernels of the catalogue.
///
/// # Errors
/// What the worker says: nothing is reported of an adapter that computes wrongly.
pub async fn gemm(worker: Option<&Path>) -> Result<BenchReport, Problem> {
    let engine = engine(worker.map(Path::to_owned));
    let info = engine.open().await?;
    let mut figures = Vec::new();
    let mut cublas = peer::Peer::cublas().await;
    let name = cublas.as_ref().map_or_else(|_| String::new(), peer::Peer::name);
    for precision in [Precision::F32, Precision::F16] {
        for side in SIDES {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            let begun = Instant::now();
            while ours.len() < ROUNDS && (ours.is_empty() || begun.elapsed() < FIGURE_LIMIT) {
                ours.push(engine.measure(Measurement::Gemm { side, precision }).await? / 1e9);
                if let Ok(cublas) = &mut cublas {
                    let request =
                        json!({"op": "gemm", "m": side, "k": side, "n": side, "type": precision.name(), "runs": 1});
                    match cublas.ask(request).await {
                        Ok(answer) => theirs.extend(peer::median(&answer, "gflops")),
                        Err(why) => return Err(super::wrong(why)),
                    }
                }
            }
            let absent = cublas.as_ref().err().map(String::as_str);
            let checked = "operands on the card; every result checked (Freivalds)";
            let figure = Figure::of(format!("gemm_{}_{side}", precision.name()), "GFLOP/s", ours);
            figures.push(figure.because(checked).beside(&name, &theirs, absent));
        }
    }
    for kernel in Kernel::ALL {
        let (rows, columns) = if kernel.is_monte_carlo() { PATHS } else { MATRIX };
        let work = KernelWork { name: kernel, rows, columns };
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            rates.push(engine.measure(Measurement::Kernel { work: work.clone() }).await? / 1e6);
        }
        let unit = if kernel.is_monte_carlo() { "million paths/s" } else { "million elements/s" };
        let why = format!("{rows} × {columns}, input brought and output fetched; rows compared with the reference");
        figures.push(Figure::of(format!("kernel_{}", kernel.name()), unit, rates).because(why));
    }
    engine.stop().await;
    Ok(BenchReport::new("gemm", Some(info), figures))
}
