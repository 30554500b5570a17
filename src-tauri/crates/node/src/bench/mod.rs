//! `tender bench`: what this machine measures of itself, beside others where they are there, with proof in the same run
//! that the results are right.

mod a2a;
mod decide;
mod embed;
mod gemm;
mod generate;
mod guard;
mod load;
mod overhead;
mod peer;
mod quote;
mod text;

pub use a2a::a2a;
pub use decide::decide;
pub use embed::embed;
pub use gemm::gemm;
pub use generate::generate;
pub use guard::guard;
pub use quote::quote;

use serde::Serialize;
use std::path::PathBuf;
use tender_base::{Clock as _, Code, Problem, Timestamp, documents::WorkerInfo, frames::TextLimits, time::SystemClock};
use tender_engine::{LocalEngine, Settings};

/// Runs of each arm: enough for a median.
const ROUNDS: usize = 5;

/// One figure of a benchmark. What does not apply is null.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Its name, which stays.
    pub name: String,
    /// Its unit.
    pub unit: &'static str,
    /// How many measurements.
    pub n: usize,
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// The figure itself: the median, unless it is one number of many measurements.
    pub value: Option<f64>,
    /// What it is compared with, and that one's own median.
    pub peer: Option<String>,
    /// Ours over the peer's; more is better.
    pub ratio: Option<f64>,
    /// Why there is no ratio, and how it was measured.
    pub why: Option<String>,
}

impl Figure {
    /// A figure of these measurements; none at all make it null.
    fn of(name: impl Into<String>, unit: &'static str, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        // Nearest rank: the smallest value that so many per cent do not exceed.
        let rank = |per_cent: usize| values.get((values.len() * per_cent).div_ceil(100).saturating_sub(1)).copied();
        let middle = rank(50);
        Self {
            name: name.into(),
            unit,
            n: values.len(),
            p50: middle,
            p99: rank(99),
            value: middle,
            peer: None,
            ratio: None,
            why: None,
        }
    }

    fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// Compares rates with a peer's of the same run; without them there is no ratio, and `absent` says why.
    fn beside(self, peer: &str, rates: &[f64], absent: Option<&str>) -> Self {
        let theirs = Self::of("", "", rates.to_vec()).value;
        let ratio = self.value.zip(theirs).map(|(ours, theirs)| ours / theirs);
        let peer = theirs.map(|theirs| format!("{peer}: {theirs:.3} {}", self.unit));
        let why = [self.why.clone(), absent.filter(|_| ratio.is_none()).map(|why| format!("no ratio: {why}"))];
        let why: Vec<String> = why.into_iter().flatten().collect();
        Self { peer, ratio, why: (!why.is_empty()).then(|| why.join("; ")), ..self }
    }
}

/// A benchmark's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// Its name.
    pub bench: &'static str,
    /// The adapter, where one was used.
    pub adapter: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// Tender's version.
    pub version: &'static str,
    /// How this program was built: `debug` has no optimisation, `release` has all of it.
    pub build: &'static str,
    /// When it ended.
    pub measured_at: Timestamp,
    /// Logical processors of the machine.
    pub processors: usize,
    /// Processes that wanted a processor during the last minute, this benchmark's own included; null where the system
    /// does not tell. Far above the processors, no figure is worth much.
    pub load: Option<f64>,
    /// The figures.
    pub figures: Vec<Figure>,
}

impl BenchReport {
    fn new(bench: &'static str, worker: Option<WorkerInfo>, figures: Vec<Figure>) -> Self {
        let (adapter, driver) = worker.map(|worker| (worker.adapter, worker.driver)).unzip();
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        Self {
            bench,
            adapter,
            driver,
            version: env!("CARGO_PKG_VERSION"),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            measured_at: SystemClock.now(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            load: load.and_then(|load| load.split(' ').next()?.parse().ok()),
            figures,
        }
    }
}

/// The own card, as a node drives it.
fn engine(worker: Option<PathBuf>) -> LocalEngine {
    // Room for sixteen texts of the longest prompt that is measured.
    let text = TextLimits { context_tokens: 1024, sequences: 16, cache_bytes: 4 << 30 };
    LocalEngine::new(Settings { worker, text, ..Settings::default() })
}

fn wrong(what: impl Into<String>) -> Problem {
    Problem::new(Code::WorkFailed, what, "a wrong result has no speed; run `tender doctor`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians_and_an_absent_peer_says_why() {
        let ours = || Figure::of("decode", "tokens/s", vec![9.0, 1.0, 6.0]).because("greedy");
        let beside = ours().beside("llama.cpp", &[2.0, 3.0, 100.0], Some("unused"));
        assert_eq!((beside.value, beside.p99, beside.ratio), (Some(6.0), Some(9.0), Some(2.0)));
        assert_eq!(
            (beside.why.as_deref(), beside.peer.as_deref()),
            (Some("greedy"), Some("llama.cpp: 3.000 tokens/s"))
        );
        let alone = ours().beside("llama.cpp", &[], Some("it is not installed"));
        assert_eq!((alone.ratio, alone.peer), (None, None));
        assert_eq!(alone.why.as_deref(), Some("greedy; no ratio: it is not installed"));
        let nothing = Figure::of("kill", "ms", Vec::new());
        assert_eq!((nothing.n, nothing.p50, nothing.value), (0, None, None));
    }
}
