//! The guard at work: it looks at the machine, gives it back to its owner, and lets work go on by itself.
//!
//! What is seen comes from `tender_host::guard`, and so does what follows from it; here it is carried out. While
//! selling is on or work runs, it is looked; while neither is, the machine is left alone. On a trigger the gate of the
//! own card closes, sold work is told to end, the workers are killed and memory is read back; the contracts' documents
//! follow after that, each in its own task.

mod free;
mod rules;
mod selftest;
mod sight;
mod standing;

pub(crate) use rules::{Hours, IGNORED, Rules};
pub(crate) use selftest::Tested;

use crate::node::Node;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sight::{Eyes, Lost, Sight};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tender_base::{Code, Problem, Timestamp, Work, documents::HandbackReason, ids::JobId, job::Privacy};
use tender_engine::{Closed, Tenant};
use tender_host::guard::{Guard, Look, Reach, Seen, Sighting, Trigger};
use tender_market::verification;
use tender_store::{JobRecord, Store};
use tokio::sync::{Notify, oneshot, watch};

/// How often it is looked while something of ours is on the card: what a yield takes begins with it.
const WORKING: Duration = Duration::from_millis(250);
/// While the machine is given back, when it can go on.
const HELD: Duration = Duration::from_secs(1);
/// While nothing of ours is on the card: there is nothing to free, only calls to refuse.
const IDLE: Duration = Duration::from_secs(2);
/// While nothing is sold or runs: only whether work has begun, without a look.
const ASLEEP: Duration = Duration::from_secs(5);
/// A look that was begun so short a time ago is as good as a new one.
const FRESH: Duration = Duration::from_millis(100);
/// Longest that work waits for a look: one that hangs is said and does not hold everything up.
const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// How often it is asked elsewhere while an own job waits for the card.
const ELSEWHERE: Duration = Duration::from_secs(30);
/// Yields that are remembered.
const KEPT: usize = 20;
/// Internal settings: the last yields, and what the last self-test measured.
const YIELDS: &str = "guard.yields";
const TESTED: &str = "guard.tested";

/// What the guard knows and whom it tells.
pub(crate) struct Lookout {
    /// Times of the state machine count from here.
    begun: Instant,
    state: Mutex<State>,
    /// What must not run now.
    holds: watch::Sender<Option<Reach>>,
    wake: Notify,
    /// Looks asked for, and the last of them that was answered.
    asked: AtomicU64,
    answered: watch::Sender<u64>,
    /// Own jobs that wait for the card.
    waiting: Mutex<BTreeSet<JobId>>,
}

/// An own job that waits, until it is dropped: also when it is cancelled meanwhile.
struct Waiting<'a>(&'a Lookout, JobId);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}

#[derive(Default)]
struct State {
    guard: Guard,
    look: Look,
    lost: Lost,
    looked_at: Option<Instant>,
    looking: bool,
    /// What is held, is held for a self-test.
    held_for_test: bool,
    /// A worker did not end when it was told to; it is told again.
    stuck: bool,
    yields: VecDeque<Yielded>,
    /// Yields since the start.
    count: u64,
    test: selftest::Test,
    /// Who waits for the yield of a self-test.
    outcome: Option<oneshot::Sender<Option<free::Freed>>>,
}

/// One time that the machine was given back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Yielded {
    pub(crate) at: Timestamp,
    pub(crate) trigger: String,
    pub(crate) reason: String,
    pub(crate) freed_ms: Option<f64>,
    pub(crate) freed_bytes: Option<u64>,
    pub(crate) memory_measured: bool,
    pub(crate) jobs_handed_back: u32,
    pub(crate) resumed_at: Option<Timestamp>,
    /// When memory was read back, for who measures in this process.
    #[serde(skip)]
    pub(crate) freed_at: Option<Instant>,
}

impl Lookout {
    /// With what earlier starts stored.
    pub(crate) async fn of(store: &Store) -> Result<Self, Problem> {
        let stored = async |key| store.setting(key).await.map_err(|e| e.problem());
        // What a later version wrote is not known here.
        let yields = stored(YIELDS).await?.and_then(|value: Value| serde_json::from_value(value).ok());
        let last = stored(TESTED).await?.and_then(|value: Value| serde_json::from_value(value).ok());
        let test = selftest::Test { last, ..selftest::Test::default() };
        Ok(Self {
            begun: Instant::now(),
            state: Mutex::new(State { yields: yields.unwrap_or_default(), test, ..State::default() }),
            holds: watch::Sender::new(None),
            wake: Notify::new(),
            asked: AtomicU64::new(0),
            answered: watch::Sender::new(0),
            waiting: Mutex::default(),
        })
    }

    /// Something has changed that a look may depend on.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Returns after a look that began after this call, or just before it. What must not run is told by then.
    pub(crate) async fn looked(&self) {
        if self.state().looked_at.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        self.looked_anew().await;
    }

    /// Returns after a look that began after this call.
    async fn looked_anew(&self) {
        let mine = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake();
        let mut answered = self.answered.subscribe();
        let look = answered.wait_for(|last| *last >= mine);
        if tokio::time::timeout(LOOK_LIMIT, look).await.is_err() {
            tracing::warn!("the guard's look takes longer than {} s; work goes on without it", LOOK_LIMIT.as_secs());
        }
    }

    /// Whether the card is given back whole, so that own jobs do not run either; a self-test would interrupt them.
    pub(crate) fn takes_all(&self) -> bool {
        *self.holds.borrow() == Some(Reach::All) || self.testing()
    }

    /// Waits until the card is given back whole.
    pub(crate) async fn taken(&self) {
        if self.holds.subscribe().wait_for(|held| *held == Some(Reach::All)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until own jobs may run again, or this long.
    pub(crate) async fn released(&self, job: JobId, at_most: Duration) {
        self.waiting().insert(job);
        let _waiting = Waiting(self, job);
        self.wake();
        let mut holds = self.holds.subscribe();
        // The end of a self-test is told here, too.
        let free = holds.wait_for(|held| *held != Some(Reach::All) && !self.testing());
        let _ = tokio::time::timeout(at_most, free).await;
    }

    /// For what the card is given back, in words.
    pub(crate) fn cause(&self) -> Option<String> {
        let state = self.state();
        let testing = state.test.running.map(|_| Trigger::Test.words().to_owned());
        state.guard.cause(Reach::All).map(Sighting::words).or(testing)
    }

    /// The same without what it was in particular: no program's name is in it.
    pub(crate) fn kind_of_cause(&self) -> Option<&'static str> {
        let state = self.state();
        let testing = state.test.running.map(|_| Trigger::Test);
        state.guard.cause(Reach::All).map(|cause| cause.trigger).or(testing).map(Trigger::words)
    }

    /// Yields since the start.
    pub(crate) fn count(&self) -> u64 {
        self.state().count
    }

    /// The last yield and when memory was read back, if it is not among the first `count`.
    pub(crate) fn since(&self, count: u64) -> Option<(Yielded, Instant)> {
        let state = self.state();
        let last = state.yields.front().filter(|_| state.count > count)?;
        Some((last.clone(), last.freed_at?))
    }

    /// What was seen last, whether it is looked now, the last yields, and the self-test.
    pub(crate) fn shown(&self) -> (Look, bool, Vec<Yielded>, selftest::Test) {
        let state = self.state();
        (state.look.clone(), state.looking, state.yields.iter().cloned().collect(), state.test.clone())
    }

    /// What was seen once and has not been for a while, and why not.
    pub(crate) fn lost(&self) -> Vec<(Trigger, String)> {
        self.state().lost.for_long(Instant::now())
    }

    /// For what this job waits, if it does.
    pub(crate) fn waits_for(&self, job: JobId) -> Option<String> {
        let waits = self.waiting().contains(&job);
        self.cause().filter(|_| waits)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeSet<JobId>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Looks again and again, until the node ends.
    pub(crate) async fn keep_guard(self: Arc<Self>) {
        let mut sight = Sight::default();
        let mut processes = self.engine.watch_processes();
        loop {
            let asked = self.lookout.asked.load(Ordering::Acquire);
            let settings = self.settings();
            let working = self.engine.is_running();
            let wanted = asked > *self.lookout.answered.borrow() || !self.lookout.waiting().is_empty();
            // What is held ends by what is seen, whatever is switched off meanwhile.
            let held = self.lookout.holds.borrow().is_some();
            let busy = working || wanted || held || self.lookout.testing();
            let looking = settings.selling && !settings.stopped || busy;
            let began = Instant::now();
            let seen = if looking {
                self.look(&mut sight, !busy).await
            } else {
                if let Sight::Here(eyes) = &mut sight {
                    **eyes = Eyes::default();
                }
                Ok(Look::default())
            };
            self.note(seen, looking, began).await;
            self.lookout.answered.send_replace(asked);
            let held = self.lookout.holds.borrow().is_some();
            let pause = match (looking, working && !held, held) {
                (false, ..) => ASLEEP,
                (_, true, _) => WORKING,
                (_, _, true) => HELD,
                _ => IDLE,
            };
            tokio::select! {
                () = self.lookout.wake.notified() => {}
                // Work has begun, and from now on it is looked more often; or it has ended.
                () = processes.changed() => {}
                () = tokio::time::sleep(pause.saturating_sub(began.elapsed())) => {}
            }
        }
    }

    /// One look at everything, the strongest trigger first.
    async fn look(&self, sight: &mut Sight, at_rest: bool) -> Result<Look, String> {
        let settings = self.settings();
        let limits = settings.guard.limits.clone();
        let adapter = self.engine.info().map(|worker| worker.adapter);
        let chosen = settings.sensor.clone();
        let looked = sight.look(move |eyes| eyes.look(&limits, adapter.as_deref(), chosen.as_deref(), at_rest));
        let Look(mut seen) = looked.await?;
        let hours = &settings.guard.hours;
        seen.push(if hours.are_set() {
            let outside = (!hours.open(self.now())).then(String::new);
            Seen::looked(Trigger::Schedule, Ok(outside), "Sells in the hours that you set.".to_owned())
        } else {
            Seen::off(Trigger::Schedule)
        });
        // The strongest first.
        seen.sort_by_key(|seen| seen.trigger);
        if self.lookout.test_is_on() {
            seen.push(Seen::looked(Trigger::Test, Ok(Some(String::new())), String::new()));
        }
        Ok(Look(seen))
    }

    /// Takes note of a look that began then, and does what follows from it.
    async fn note(self: &Arc<Self>, look: Result<Look, String>, looking: bool, began: Instant) {
        let delay = self.settings().guard.resume;
        // What was carried out; a self-test ends without a look.
        let before = *self.lookout.holds.borrow();
        let (before, after, cause) = {
            let mut state = self.lookout.state();
            let look = match look {
                Ok(look) => {
                    if looking {
                        let now = began.saturating_duration_since(self.lookout.begun);
                        state.guard.observe(now, &look.sightings(), delay);
                    } else {
                        state.guard = Guard::default();
                    }
                    look
                }
                // Everything stays as it is, and it is said.
                Err(why) => unseen(&state.look, &why),
            };
            let told = |look: &Look| look.0.iter().map(|s| (s.on, s.present.clone(), s.unavailable.clone())).collect();
            let (was, is): (Vec<_>, Vec<_>) = (told(&state.look), told(&look));
            let lost = state.lost.for_long(began);
            state.lost.note(&look, Instant::now());
            if was != is || state.looking != looking || state.lost.for_long(Instant::now()) != lost {
                self.live.touch();
            }
            (state.look, state.looking) = (look, looking);
            let after = state.guard.holds();
            let cause = after.and_then(|reach| state.guard.cause(reach).cloned());
            // What was held for a self-test only was not given back to anybody.
            let tested = state.held_for_test && cause.as_ref().is_some_and(|cause| cause.trigger != Trigger::Test);
            (before.filter(|_| !tested), after, cause)
        };
        match (after, cause) {
            (Some(reach), Some(cause)) if before < after => self.give_back(reach, cause, began).await,
            (Some(reach), _) => {
                self.engine_for(Some(reach));
                if self.lookout.state().stuck {
                    self.stop_workers().await;
                }
            }
            (None, _) => self.go_on(before.is_some()).await,
        }
        // Only now: who relies on this look finds what followed from it.
        self.lookout.state().looked_at = Some(began);
    }

    /// Whose orders the engine takes.
    fn engine_for(&self, held: Option<Reach>) {
        self.engine.close(held.map(closed));
        self.lookout.holds.send_if_modified(|now| std::mem::replace(now, held) != held);
    }

    /// Gives the machine back: nothing new, nothing that runs, memory read back.
    async fn give_back(self: &Arc<Self>, reach: Reach, cause: Sighting, began: Instant) {
        let at = self.now();
        // Nothing new; then what is held is read, since work that is told to end is killed at once.
        self.engine.close(Some(closed(reach)));
        let workers = self.engine.processes();
        let held = if workers.is_empty() { None } else { Some(self.memory_held(workers).await) };
        // The sold work is told before anything is killed, so that nobody takes that for a failure.
        let sold = if self.yielding.borrow().is_none() { self.yield_all_sold(reason(cause.trigger)) } else { 0 };
        self.engine_for(Some(reach));
        let own_goes_on = reach == Reach::Sold && self.engine.own_orders() > 0;
        self.lookout.state().held_for_test = cause.trigger == Trigger::Test;
        let freed = match held.filter(|_| !own_goes_on) {
            Some(held) => Some(self.kill_and_read_back(held).await),
            None => {
                // An order that came in before the gate closed is about to start a worker.
                if reach == Reach::All {
                    self.stop_workers().await;
                }
                None
            }
        };
        let took = freed.as_ref().map(|freed| freed.at.saturating_duration_since(began));
        let freed_ms = took.map(|took| took.as_secs_f64() * 1e3);
        tracing::info!(
            cause = cause.trigger.name(),
            what = cause.words(),
            ?freed_ms,
            sold,
            "the machine is given back"
        );
        if cause.trigger == Trigger::Test {
            self.lookout.tested(freed);
            return self.live.touch();
        }
        self.lookout.test_is_off();
        let settings = self.settings();
        if freed.is_some() || sold > 0 || settings.selling && !settings.stopped {
            let yielded = Yielded {
                at,
                trigger: cause.trigger.name().to_owned(),
                reason: cause.words(),
                freed_ms,
                freed_bytes: freed.as_ref().and_then(|freed| freed.bytes),
                memory_measured: freed.as_ref().is_some_and(|freed| freed.measured),
                jobs_handed_back: u32::try_from(sold).unwrap_or(u32::MAX),
                resumed_at: None,
                freed_at: freed.as_ref().map(|freed| freed.at),
            };
            {
                let mut state = self.lookout.state();
                state.yields.push_front(yielded);
                state.yields.truncate(KEPT);
                state.count += 1;
            }
            self.keep_yields().await;
        }
        self.live.touch();
    }

    /// Nothing is in the way any more.
    async fn go_on(&self, was_held: bool) {
        if was_held {
            tracing::info!("selling goes on");
            self.engine_for(None);
            self.yield_over();
            self.live.touch();
        }
        // Also what began as less, or in an earlier start.
        let now = self.now();
        let open = {
            let mut state = self.lookout.state();
            state.held_for_test = false;
            let open = state.yields.iter_mut().filter(|of| of.resumed_at.is_none());
            open.map(|of| of.resumed_at = Some(now)).count()
        };
        if open > 0 {
            self.keep_yields().await;
        }
    }

    /// Stores the last yields. One after the other: an older list must not be the last.
    async fn keep_yields(&self) {
        let Ok(value) = serde_json::to_value(&self.lookout.state().yields) else { return };
        let event = tender_store::Event::SettingChanged { key: YIELDS.to_owned(), value, at: self.now() };
        if let Err(e) = self.store.apply(vec![event], Vec::new()).await {
            tracing::warn!(code = %e.problem().code, problem = %e.problem(), "a yield was not stored");
        }
    }
}

impl Node {
    /// Why an own job does not run here now.
    pub(crate) fn card_taken(&self) -> Problem {
        let cause = self.lookout.cause().unwrap_or_else(|| "it was needed for a moment".to_owned());
        let message = format!("the own card is given back: {cause}");
        Problem::new(Code::Unavailable, message, "the job waits, or is done elsewhere")
    }

    /// That a delivery of such work could be checked now. The silence after which it counts as accepted does not wait
    /// for the card, so nothing is awarded that would be paid unchecked.
    ///
    /// # Errors
    /// [`Code::Unavailable`] while the card is given back.
    pub(crate) async fn card_to_check(&self, work: &Work) -> Result<(), Problem> {
        if !verification::takes_card(work) {
            return Ok(());
        }
        self.lookout.looked().await;
        if !self.card_is_taken() {
            return Ok(());
        }
        let cause = self.lookout.cause().unwrap_or_else(|| "it was needed for a moment".to_owned());
        let message = format!("its result would have to be checked here, and the own card is given back: {cause}");
        Err(Problem::new(Code::Unavailable, message, "the job waits, or goes to a place that needs no check"))
    }

    /// Whether a job could be done if its owner did not need the card: here, or by a peer whose result is checked here.
    pub(crate) fn waits_for_card(&self, job: &JobRecord) -> bool {
        let for_peers = job.spec.constraints.privacy != Privacy::Own;
        self.card_is_taken() && (self.may_run_here(job) || for_peers && verification::takes_card(&job.spec.work))
    }

    /// For what a job waits, if it waits for the card.
    pub(crate) fn waits(&self, job: &JobRecord) -> Option<String> {
        let cause = self.lookout.waits_for(job.id)?;
        Some(if self.may_run_here(job) {
            format!("Waits: {cause}")
        } else {
            format!("Waits: it would have to be checked here, and the guard has the card ({cause})")
        })
    }

    fn may_run_here(&self, job: &JobRecord) -> bool {
        self.settings().use_own_gpu && !job.peers_only
    }

    /// Whether the card is given back whole, or about to be.
    pub(crate) fn card_is_taken(&self) -> bool {
        // The gate closes a moment before it is said for what.
        self.lookout.takes_all() || self.engine.is_closed(&Tenant::Own)
    }

    /// Waits for the card, and now and then for somebody else who may do it instead.
    pub(crate) async fn card_released(&self, job: JobId) {
        self.live.touch();
        self.lookout.released(job, ELSEWHERE).await;
    }
}

/// What was seen last, when nobody can look.
fn unseen(last: &Look, why: &str) -> Look {
    let blind = |seen: &Seen| Seen { unavailable: seen.on.then(|| why.to_owned()), ..seen.clone() };
    Look(last.0.iter().map(blind).collect())
}

/// Whose orders are refused.
fn closed(reach: Reach) -> Closed {
    if reach == Reach::All { Closed::All } else { Closed::Clients }
}

/// The same as a client is told it.
fn reason(trigger: Trigger) -> HandbackReason {
    match trigger {
        Trigger::Game => HandbackReason::Game,
        Trigger::OtherProgram => HandbackReason::OtherProgram,
        Trigger::Temperature => HandbackReason::Temperature,
        Trigger::Power => HandbackReason::Power,
        Trigger::Battery => HandbackReason::Battery,
        Trigger::Activity => HandbackReason::Activity,
        Trigger::Schedule => HandbackReason::Schedule,
        Trigger::Metered => HandbackReason::Metered,
        Trigger::Test => HandbackReason::Owner,
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
