//! Real work of each kind on the own card, for a screen: a few seconds each, learned from as every job is. `tender
//! bench` (`bench/`) measures more closely and beside others, and nothing learns from it.

mod work;

use crate::{
    api::types::{ApiProblem, Benchmark, BenchmarkStep},
    metering::WorkMeter,
    node::Node,
    serve::unit,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tender_base::{Code, ContractState, JobKind, Problem, Role, Work, ids::JobId};
use tender_engine::{Engine, Order, Output, Progress, Tenant};
use tender_store::ContractFilter;
use tokio::sync::watch;
use uuid::Uuid;
use work::Size;

/// A run is made about as long as this, as far as the largest job allows.
const RUN: Duration = Duration::from_millis(1500);
/// How often a job is made larger, each time eight times at most.
const GROWTHS: u32 = 5;
/// Runs that count.
const RUNS: usize = 3;
/// No further run of a step begins after this.
const STEP_LIMIT: Duration = Duration::from_secs(12);
/// What a step takes before any has ended: starting the worker, loading, and the runs.
const STEP_EXPECTED: Duration = Duration::from_secs(7);
/// Longest run: a language model on a slow processor included.
const WALL_LIMIT: Duration = Duration::from_secs(120);
/// The benchmark that runs, or the last one.
pub(crate) struct Benchmarking {
    shown: Mutex<Benchmark>,
    /// Its place among the work under way, so that it can be dropped as a job can. Of each its own: one that was stopped
    /// may end after the next has begun.
    id: Mutex<Uuid>,
}

impl Default for Benchmarking {
    fn default() -> Self {
        let shown =
            Benchmark { state: "idle".to_owned(), steps: Vec::new(), adapter: None, remaining_ms: None, problem: None };
        Self { shown: Mutex::new(shown), id: Mutex::new(Uuid::nil()) }
    }
}

impl Benchmarking {
    fn lock(&self) -> MutexGuard<'_, Benchmark> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self) -> MutexGuard<'_, Uuid> {
        self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shown(&self) -> Benchmark {
        self.lock().clone()
    }
}

impl Node {
    /// Starts a benchmark of `kinds`; one that runs goes on and is shown.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when everything is stopped, [`Code::Conflict`] while something sold runs.
    pub(crate) async fn start_benchmark(self: &Arc<Self>, kinds: Vec<JobKind>) -> Result<Benchmark, Problem> {
        self.may_measure().await?;
        let mut kinds = if kinds.is_empty() { JobKind::ALL.to_vec() } else { kinds };
        kinds.sort_by_key(|kind| JobKind::ALL.iter().position(|known| known == kind));
        kinds.dedup();
        {
            let mut shown = self.benchmark.lock();
            if shown.state == "running" {
                return Ok(shown.clone());
            }
            let steps: Vec<BenchmarkStep> = kinds.iter().map(|kind| step(*kind)).collect();
            let remaining_ms = remaining(&steps);
            *shown = Benchmark { state: "running".to_owned(), steps, adapter: None, remaining_ms, problem: None };
        }
        let node = self.clone();
        let id = JobId::new(self.clock.as_ref(), self.entropy.as_ref()).uuid();
        *self.benchmark.id() = id;
        self.spawn_work(id, async move {
            let measured = node.measure_all(&kinds).await;
            node.benchmark_ended(measured);
        });
        self.live.touch();
        Ok(self.benchmark.shown())
    }

    /// Stops the benchmark; what was measured stays learned.
    pub(crate) async fn stop_benchmark(&self) -> Benchmark {
        if self.benchmark.lock().state == "running" {
            let id = *self.benchmark.id();
            self.halt(id);
            // Its run would go on for seconds; nothing else runs beside it.
            self.benchmark_ended(Err(Problem::new(Code::Conflict, "stopped by you", "")));
        }
        self.benchmark.shown()
    }

    fn benchmark_ended(&self, outcome: Result<(), Problem>) {
        let mut shown = self.benchmark.lock();
        if shown.state != "running" {
            return;
        }
        let failed = shown.steps.iter().any(|step| step.state == "failed");
        let (state, problem) = match outcome {
            Ok(()) if failed => ("failed", None),
            Ok(()) => ("done", None),
            Err(problem) => ("stopped", Some(ApiProblem::from(problem))),
        };
        for step in &mut shown.steps {
            if step.state == "running" {
                "waiting".clone_into(&mut step.state);
            }
        }
        (shown.state, shown.problem, shown.remaining_ms) = (state.to_owned(), problem, None);
        drop(shown);
        self.live.touch();
    }

    async fn measure_all(self: &Arc<Self>, kinds: &[JobKind]) -> Result<(), Problem> {
        for (at, kind) in kinds.iter().enumerate() {
            self.may_measure().await?;
            self.change_step(at, |step| "running".clone_into(&mut step.state));
            let begun = Instant::now();
            let measured = self.measure_kind(*kind, at, begun).await;
            // What had to make way is no failure of the card.
            if measured.is_err() {
                self.may_measure().await?;
            }
            let missing = self.for_sale(&self.settings(), *kind).is_some_and(|models| models.is_empty());
            let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.change_step(at, |step| {
                step.ms = Some(ms);
                match measured {
                    Ok(()) => "done".clone_into(&mut step.state),
                    Err(problem) => {
                        let lacks = missing && step.runs == 0;
                        if lacks { "skipped" } else { "failed" }.clone_into(&mut step.state);
                        step.problem = Some(ApiProblem::from(problem));
                    }
                }
            });
        }
        Ok(())
    }

    /// The own card is free for measuring: nothing is stopped, its owner does not need it, and no client waits for it.
    async fn may_measure(&self) -> Result<(), Problem> {
        self.not_stopped()?;
        self.lookout.looked().await;
        if self.lookout.takes_all() {
            return Err(self.card_taken());
        }
        let sold = ContractFilter {
            role: Some(Role::Contractor),
            states: vec![ContractState::Awarded, ContractState::Running],
            limit: 1,
            ..ContractFilter::default()
        };
        if self.store.contracts(sold).await.map_err(|e| e.problem())?.is_empty() {
            return Ok(());
        }
        Err(Problem::new(
            Code::Conflict,
            "a job that you sold needs the card",
            "measure when it has ended, or switch selling off first",
        ))
    }

    /// One kind: a run that loads what is needed, larger ones until they are long enough, then those that count.
    async fn measure_kind(self: &Arc<Self>, kind: JobKind, at: usize, begun: Instant) -> Result<(), Problem> {
        let mut size = Size::LEAST;
        let mut run = self.run_once(kind, size).await?;
        for _ in 0..GROWTHS {
            let times = RUN.as_secs_f64() * 1000.0 / run.output.wall_ms.max(1) as f64;
            if times < 2.0 {
                break;
            }
            self.may_measure().await?;
            // Step by step: of a short run most is spent on starting it.
            size = size.grown(times.min(8.0));
            run = self.run_once(kind, size).await?;
        }
        let mut rates = Vec::new();
        while rates.len() < RUNS && (rates.is_empty() || begun.elapsed() < STEP_LIMIT) {
            self.may_measure().await?;
            let run = self.run_once(kind, size).await?;
            let (units, wall_ms) = (run.output.units, run.output.wall_ms);
            self.learn(&run.work, run.runtime.as_deref(), units, wall_ms).await;
            rates.push(units as f64 / (wall_ms.max(1) as f64 / 1000.0));
            rates.sort_by(f64::total_cmp);
            let (median, runs) = (rates[rates.len() / 2], u32::try_from(rates.len()).unwrap_or(u32::MAX));
            self.change_step(at, |step| {
                (step.units_per_second, step.runs) = (Some(median), runs);
                step.watts = run.watts.or(step.watts);
                step.title = Some(crate::api::views::title(&run.work));
            });
        }
        Ok(())
    }

    async fn run_once(&self, kind: JobKind, size: Size) -> Result<Run, Problem> {
        let (work, input) = self.benchmark_work(kind, size).await?;
        let place = self.workplace(&work, false).await?;
        let order = Order {
            work: work.clone(),
            input: input.into(),
            model: place.model,
            parts: None,
            wall_limit: WALL_LIMIT,
            tenant: Tenant::Own,
        };
        let mut meter = WorkMeter::new();
        let output = self.run_metered(place.engine.as_ref(), order, &mut meter).await?;
        let metered = self.metered(kind, meter, output.wall_ms).await;
        let adapter = place.runtime.clone().or_else(|| self.engine.info().map(|worker| worker.adapter));
        self.benchmark.lock().adapter = adapter;
        Ok(Run { work, runtime: place.runtime, output, watts: metered.card_watts })
    }

    async fn run_metered(&self, engine: &dyn Engine, order: Order, meter: &mut WorkMeter) -> Result<Output, Problem> {
        let (sender, mut progress) = watch::channel(Progress::default());
        let running = engine.run(order, sender);
        tokio::pin!(running);
        let mut open = true;
        loop {
            tokio::select! {
                output = &mut running => return output,
                () = self.lookout.taken() => return Err(self.card_taken()),
                changed = progress.changed(), if open => {
                    open = changed.is_ok();
                    if progress.borrow_and_update().total > 0 {
                        meter.start(self).await;
                    }
                }
            }
        }
    }

    fn change_step(&self, at: usize, change: impl FnOnce(&mut BenchmarkStep)) {
        let mut shown = self.benchmark.lock();
        if let Some(step) = shown.steps.get_mut(at) {
            change(step);
        }
        shown.remaining_ms = remaining(&shown.steps);
        drop(shown);
        self.live.touch();
    }
}

struct Run {
    work: Work,
    /// The attached runtime that did it; none for the own worker.
    runtime: Option<String>,
    output: Output,
    watts: Option<f64>,
}

fn step(kind: JobKind) -> BenchmarkStep {
    BenchmarkStep {
        kind,
        state: "waiting".to_owned(),
        title: None,
        unit: unit(kind).to_owned(),
        units_per_second: None,
        runs: 0,
        watts: None,
        ms: None,
        problem: None,
    }
}

/// What the steps that have not ended are expected to take: each as long as those that ended, in the mean.
fn remaining(steps: &[BenchmarkStep]) -> Option<u64> {
    let ended: Vec<u64> = steps.iter().filter(|step| step.state == "done").filter_map(|step| step.ms).collect();
    let expected = u64::try_from(STEP_EXPECTED.as_millis()).unwrap_or(u64::MAX);
    let each = ended.iter().sum::<u64>().checked_div(ended.len() as u64).unwrap_or(expected);
    let left = steps.iter().filter(|step| matches!(step.state.as_str(), "waiting" | "running")).count() as u64;
    Some(each.saturating_mul(left)).filter(|_| left > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_the_steps_that_ended() {
        let mut steps: Vec<BenchmarkStep> = JobKind::ALL.into_iter().map(step).collect();
        assert_eq!(remaining(&steps), Some(5 * 7_000));
        for (at, ms) in [(0, 2_000), (1, 4_000)] {
            (steps[at].state, steps[at].ms) = ("done".to_owned(), Some(ms));
        }
        "skipped".clone_into(&mut steps[2].state);
        assert_eq!(remaining(&steps), Some(2 * 3_000));
        steps.iter_mut().for_each(|step| "done".clone_into(&mut step.state));
        assert_eq!(remaining(&steps), None);
    }

    #[tokio::test]
    async fn it_makes_way_for_the_switch_that_stops_everything() {
        let dir = tempfile::tempdir().unwrap();
        let node = Arc::new(crate::metering::tests::node(&dir).await);
        node.set("stopped", true.into()).await.unwrap();
        let refused = node.start_benchmark(Vec::new()).await.unwrap_err();
        assert_eq!((refused.code, node.benchmark.shown().state.as_str()), (Code::Unavailable, "idle"));
    }
}
