//! The self-test: how long a yield takes on this machine, with real work on the card.

use super::{Lookout, TESTED, WORKING, free::Freed};
use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tender_base::{Code, Problem, Timestamp, Work, job::Precision};
use tender_engine::{Engine as _, Order, Progress, Tenant};
use tokio::sync::oneshot;

/// Yields of one test, which take a minute on a slow adapter.
const ROUNDS: u32 = 20;
/// The work: a matrix product of this side. Some seconds on a CPU adapter; a fast card gets it again and again.
const SIDE: u32 = 2048;
const WALL_LIMIT: Duration = Duration::from_secs(120);
/// Longest wait for the work to begin, and for the yield.
const PATIENCE: Duration = Duration::from_secs(90);
/// How soon work that was refused is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// The promise is stated in steps of so many milliseconds.
const STEP_MS: f64 = 10.0;

/// A self-test, under way or done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Test {
    /// Yields done and in all, while it runs.
    pub(crate) running: Option<(u32, u32)>,
    /// Whether its trigger is there now.
    pub(super) on: bool,
    /// What the last one measured.
    pub(crate) last: Option<Tested>,
    /// Why the last one came to nothing.
    pub(crate) problem: Option<Problem>,
}

/// What a self-test measured, in milliseconds from the trigger to memory read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tested {
    pub(crate) n: u32,
    pub(crate) p50_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) adapter: String,
    pub(crate) driver: String,
    pub(crate) memory_measured: bool,
    pub(crate) at: Timestamp,
}

impl Tested {
    /// What is promised: the longest, rounded up.
    pub(crate) fn promise_ms(&self) -> u32 {
        // Never negative, and a yield of 49 days is none.
        ((self.max_ms / STEP_MS).ceil() * STEP_MS) as u32
    }
}

impl Lookout {
    pub(crate) fn testing(&self) -> bool {
        self.state().test.running.is_some()
    }

    pub(super) fn test_is_on(&self) -> bool {
        self.state().test.on
    }

    /// Something else came: what was under test has no outcome.
    pub(super) fn test_is_off(&self) {
        let mut state = self.state();
        state.test.on = false;
        state.outcome = None;
    }

    /// The yield to the test's trigger is done.
    pub(super) fn tested(&self, freed: Option<Freed>) {
        if let Some(outcome) = self.state().outcome.take() {
            // Nobody listens when the test was broken off.
            let _ = outcome.send(freed);
        }
    }

    /// What the last test measured.
    pub(crate) fn last_test(&self) -> Option<Tested> {
        self.state().test.last.clone()
    }
}

impl Node {
    /// Begins a self-test, which runs by itself.
    ///
    /// # Errors
    /// [`Code::Conflict`] while one runs, or while the card has something to do, and [`Code::Unavailable`] while
    /// everything is stopped or the machine is given back.
    pub(crate) fn test_guard(self: &Arc<Self>) -> Result<(), Problem> {
        self.not_stopped()?;
        let twice = || Problem::new(Code::Conflict, "the guard already tests itself", "wait for its end");
        if self.lookout.testing() {
            return Err(twice());
        }
        if let Some(cause) = self.lookout.cause() {
            let hint = "test the guard when that has ended";
            return Err(Problem::new(Code::Unavailable, format!("the machine is given back: {cause}"), hint));
        }
        if self.engine.own_orders() > 0 || self.yielding.receiver_count() > 0 {
            let message = "jobs run on the card, and the test would interrupt them";
            return Err(Problem::new(Code::Conflict, message, "test the guard when they are done"));
        }
        {
            let mut state = self.lookout.state();
            if state.test.running.is_some() {
                return Err(twice());
            }
            (state.test.running, state.test.problem) = (Some((0, ROUNDS)), None);
        }
        self.live.touch();
        let node = self.clone();
        self.spawn(async move {
            let tested = node.test_rounds().await;
            let stored = tested.as_ref().ok().and_then(|tested| serde_json::to_value(tested).ok());
            {
                let mut state = node.lookout.state();
                (state.test.running, state.test.on, state.outcome) = (None, false, None);
                state.guard.end_test();
                match tested {
                    Ok(tested) => state.test.last = Some(tested),
                    Err(problem) => state.test.problem = Some(problem),
                }
            }
            node.lookout.wake();
            // Own jobs that wait look again.
            node.lookout.holds.send_modify(|_| ());
            if let Some(value) = stored {
                node.remember(TESTED, Ok(value)).await;
            }
            node.live.touch();
        });
        Ok(())
    }

    async fn test_rounds(self: &Arc<Self>) -> Result<Tested, Problem> {
        let mut times = Vec::new();
        let mut measured = true;
        let product = product();
        for round in 0..ROUNDS {
            let (ms, freed) = self.test_once(&product).await?;
            times.push(ms);
            measured &= freed.measured;
            self.lookout.state().test.running = Some((round + 1, ROUNDS));
            self.live.touch();
        }
        let worker = self.engine.info().ok_or_else(|| Problem::new(Code::Internal, "no adapter was opened", ""))?;
        times.sort_by(f64::total_cmp);
        let of = |index: usize| times.get(index).copied().unwrap_or(f64::NAN);
        Ok(Tested {
            n: ROUNDS,
            // Nearest rank.
            p50_ms: of((times.len() - 1) / 2),
            max_ms: of(times.len() - 1),
            adapter: worker.adapter,
            driver: worker.driver,
            memory_measured: measured,
            at: self.now(),
        })
    }

    /// One yield in the middle of work: milliseconds from the trigger to memory read back.
    async fn test_once(self: &Arc<Self>, product: &Order) -> Result<(f64, Freed), Problem> {
        let broken = |why: &str| {
            let hint = "end what needs the card, and test the guard again";
            Problem::new(Code::WorkFailed, format!("the guard's test was broken off: {why}"), hint)
        };
        let (sender, mut progress) = tokio::sync::watch::channel(Progress::default());
        let (node, product) = (self.clone(), product.clone());
        let work = tokio::spawn(async move {
            loop {
                // Refused while the yield before this one is not over, and after the trigger; it is broken off in the end.
                if let Err(problem) = node.engine.run(product.clone(), sender.clone()).await {
                    tracing::debug!(code = %problem.code, %problem, "the self-test's work does not run now");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        });
        let begun = async { progress.wait_for(|step| step.total > 0).await.is_ok() };
        if tokio::time::timeout(PATIENCE, begun).await != Ok(true) {
            work.abort();
            return Err(broken("no work began on the card"));
        }
        // Somewhere between two looks and in the middle of the work, so that the wait for the look counts, too.
        let [drawn, ..] = self.entropy.draw32();
        tokio::time::sleep(WORKING / 4 + WORKING * u32::from(drawn) / 256).await;
        let (sender, outcome) = oneshot::channel();
        let trigger = Instant::now();
        {
            let mut state = self.lookout.state();
            (state.test.on, state.outcome) = (true, Some(sender));
        }
        let outcome = tokio::time::timeout(PATIENCE, outcome).await;
        {
            let mut state = self.lookout.state();
            state.test.on = false;
            state.guard.end_test();
        }
        work.abort();
        let freed = match outcome {
            Ok(Ok(Some(freed))) => freed,
            Ok(Ok(None)) => return Err(broken("the work ended by itself")),
            Ok(Err(_)) => return Err(broken("something else needed the card")),
            Err(_) => return Err(broken("the yield did not come to its end")),
        };
        // Until the gate is open again.
        self.lookout.looked_anew().await;
        Ok((freed.at.saturating_duration_since(trigger).as_secs_f64() * 1e3, freed))
    }
}

/// Real work that needs no model and some memory.
fn product() -> Order {
    let values = 2 * (SIDE as usize).pow(2);
    let input: Vec<u8> = (0..values).flat_map(|i| ((i % 7) as f32 - 3.0).to_le_bytes()).collect();
    Order {
        work: Work::Gemm { m: SIDE, k: SIDE, n: SIDE, precision: Precision::F32 },
        input: input.into(),
        model: None,
        parts: None,
        wall_limit: WALL_LIMIT,
        tenant: Tenant::Own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promise_is_what_was_measured_and_never_less() {
        let tested = |max_ms| Tested {
            n: 20,
            p50_ms: 1.0,
            max_ms,
            adapter: String::new(),
            driver: String::new(),
            memory_measured: true,
            at: Timestamp::from_millis(0),
        };
        assert_eq!([tested(310.0), tested(310.1), tested(4.0)].map(|t| t.promise_ms()), [310, 320, 10]);
    }
}
