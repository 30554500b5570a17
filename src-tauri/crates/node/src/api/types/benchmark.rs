//! Measuring how fast this machine does each kind of work.

use super::ApiProblem;
use serde::{Deserialize, Serialize};
use tender_base::JobKind;

api_types! {
    /// What to measure.
    pub struct BenchmarkInput {
        /// Kinds of work; all when absent or empty.
        #[cfg_attr(test, ts(type = "Array<'embed' | 'gemm' | 'kernel' | 'wgsl' | 'generate'> | null"))]
        pub kinds: Option<Vec<JobKind>>,
    }

    /// A benchmark of the own card: real work of each kind, whose speed prices and the agent card then know.
    pub struct Benchmark {
        /// Where it stands.
        #[cfg_attr(test, ts(type = "'idle' | 'running' | 'done' | 'failed' | 'stopped'"))]
        pub state: String,
        /// A step for each kind, in order.
        pub steps: Vec<BenchmarkStep>,
        /// The adapter that works, once it is known.
        pub adapter: Option<String>,
        /// How long the rest is expected to take, while it runs.
        pub remaining_ms: Option<u64>,
        /// Why it failed or was stopped.
        pub problem: Option<ApiProblem>,
    }

    /// One kind of work.
    pub struct BenchmarkStep {
        /// Which.
        #[cfg_attr(test, ts(type = "'embed' | 'gemm' | 'kernel' | 'wgsl' | 'generate'"))]
        pub kind: JobKind,
        /// Where it stands; what this machine lacks a model for is skipped.
        #[cfg_attr(test, ts(type = "'waiting' | 'running' | 'done' | 'failed' | 'skipped'"))]
        pub state: String,
        /// What was done, such as `1024 × 1024 × 1024`.
        pub title: Option<String>,
        /// What a unit is: `token`, `flop`, `element` or `step`.
        pub unit: String,
        /// Median of the runs.
        pub units_per_second: Option<f64>,
        /// Runs that were counted; the first, which loads what is needed, is not.
        pub runs: u32,
        /// Mean draw of the card meanwhile; absent without its sensor.
        pub watts: Option<f64>,
        /// How long the step took.
        pub ms: Option<u64>,
        /// Why it failed or was skipped.
        pub problem: Option<ApiProblem>,
    }
}
