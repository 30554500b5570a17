//! The guard at work: it looks at the machine, gives it back to its owner, and lets work go on by itself.
//!
//! What is seen comes from `tender_host::guard`, and so does what follows from it; here it is carried out. While
//! selling is on or work runs, it is looked; while neither is, the machine is left alone. On a trigger the gate of the
//! own card closes, sold work is told to end, the workers are killed and memory is read back; the contracts' documents
//! follow after that, each in its own task.

mod free;
mod rules;
mod selftest;

pub(crate) use rules::{Hours, IGNORED, Rules};
pub(crate) use selftest::Tested;

use crate::{metering, node::Node};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tender_base::{Code, Problem, Timestamp, documents::HandbackReason};
use tender_engine::Closed;
use tender_host::guard::{Guard, Look, Owner, Reach, Seen, Sighting, Standing, Trigger, Watch};
use tender_store::{JobRecord, Store};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::spawn_blocking,
};

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
    waiting: AtomicUsize,
}

#[derive(Default)]
struct State {
    guard: Guard,
    look: Look,
    looked_at: Option<Instant>,
    looking: bool,
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

/// Where the sale stands, for those who show it.
pub(crate) struct Now {
    pub(crate) state: &'static str,
    pub(crate) reason: String,
    pub(crate) trigger: Option<Trigger>,
    pub(crate) resumes_at: Option<Timestamp>,
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
            waiting: AtomicUsize::new(0),
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
        let mine = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake();
        let mut answered = self.answered.subscribe();
        let look = answered.wait_for(|last| *last >= mine);
        if tokio::time::timeout(LOOK_LIMIT, look).await.is_err() {
            tracing::warn!("the guard's look takes longer than {} s; work goes on without it", LOOK_LIMIT.as_secs());
        }
    }

    /// Whether the card is given back whole, so that own jobs do not run either.
    pub(crate) fn takes_all(&self) -> bool {
        *self.holds.borrow() == Some(Reach::All)
    }

    /// Waits until the card is given back whole.
    pub(crate) async fn taken(&self) {
        if self.holds.subscribe().wait_for(|held| *held == Some(Reach::All)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until own jobs may run again, or this long.
    pub(crate) async fn released(&self, at_most: Duration) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.wake();
        let mut holds = self.holds.subscribe();
        let _ = tokio::time::timeout(at_most, holds.wait_for(|held| *held != Some(Reach::All))).await;
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// For what the card is given back, in words.
    pub(crate) fn cause(&self) -> Option<String> {
        self.state().guard.cause(Reach::All).map(Sighting::words)
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Looks again and again, until the node ends.
    pub(crate) async fn keep_guard(self: Arc<Self>) {
        let mut eyes = Eyes::default();
        let mut processes = self.engine.watch_processes();
        loop {
            let asked = self.lookout.asked.load(Ordering::Acquire);
            let settings = self.settings();
            let working = self.engine.is_running();
            let wanted = asked > *self.lookout.answered.borrow() || self.lookout.waiting.load(Ordering::Acquire) > 0;
            let looking = settings.selling && !settings.stopped || working || wanted || self.lookout.testing();
            let began = Instant::now();
            let seen = if looking { self.look(&mut eyes).await } else { Look::default() };
            if !looking {
                eyes = Eyes::default();
            }
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
    async fn look(&self, eyes: &mut Eyes) -> Look {
        let settings = self.settings();
        let limits = settings.guard.limits.clone();
        let adapter = self.engine.info().map(|worker| worker.adapter);
        let (chosen, mut moved) = (settings.sensor.clone(), std::mem::take(eyes));
        let looked = spawn_blocking(move || {
            let look = moved.look(&limits, adapter.as_deref(), chosen.as_deref());
            (look, moved)
        });
        let Look(mut seen) = match looked.await {
            Ok((look, back)) => {
                *eyes = back;
                look
            }
            Err(e) => {
                tracing::error!("a look of the guard ended early: {e}");
                Look::default()
            }
        };
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
        Look(seen)
    }

    /// Takes note of a look that began then, and does what follows from it.
    async fn note(self: &Arc<Self>, look: Look, looking: bool, began: Instant) {
        let delay = self.settings().guard.resume;
        // What was carried out; a self-test ends without a look.
        let before = *self.lookout.holds.borrow();
        let (after, cause) = {
            let mut state = self.lookout.state();
            if looking {
                let now = began.saturating_duration_since(self.lookout.begun);
                state.guard.observe(now, &look.sightings(), delay);
            } else {
                state.guard = Guard::default();
            }
            let told = |look: &Look| look.0.iter().map(|s| (s.on, s.present.clone(), s.unavailable.clone())).collect();
            let (was, is): (Vec<_>, Vec<_>) = (told(&state.look), told(&look));
            if was != is || state.looking != looking {
                self.live.touch();
            }
            (state.look, state.looked_at, state.looking) = (look, Some(began), looking);
            let after = state.guard.holds();
            (after, after.and_then(|reach| state.guard.cause(reach).cloned()))
        };
        match (after, cause) {
            (Some(reach), Some(cause)) if before < after => self.give_back(reach, cause, began).await,
            (Some(reach), _) => self.engine_for(Some(reach)),
            (None, _) => self.go_on(before.is_some()).await,
        }
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
        let freed = match held.filter(|_| !own_goes_on) {
            Some(held) => Some(self.kill_and_read_back(held).await),
            None => None,
        };
        let took = freed.as_ref().map(|freed| freed.at.saturating_duration_since(began));
        let freed_ms = took.map(|took| took.as_secs_f64() * 1e3);
        tracing::info!(cause = cause.words(), ?freed_ms, sold, "the machine is given back");
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
            self.keep_yields();
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
        // Of an earlier start, too.
        let now = self.now();
        let mut state = self.lookout.state();
        let open = state.yields.front_mut().filter(|last| last.resumed_at.is_none());
        if let Some(last) = open {
            last.resumed_at = Some(now);
            drop(state);
            self.keep_yields();
        }
    }

    /// Stores the last yields; nobody waits for it.
    fn keep_yields(&self) {
        let yields = self.lookout.state().yields.clone();
        let value = serde_json::to_value(yields);
        let store = self.store.clone();
        let at = self.now();
        self.spawn(async move {
            let Ok(value) = value else { return };
            let event = tender_store::Event::SettingChanged { key: YIELDS.to_owned(), value, at };
            if let Err(e) = store.apply(vec![event], Vec::new()).await {
                tracing::warn!(problem = %e.problem(), "a yield was not stored");
            }
        });
    }

    fn owner(&self) -> Owner {
        let settings = self.settings();
        Owner {
            stopped: settings.stopped,
            selling: settings.selling,
            paused: settings.paused_until.is_some_and(|until| until > self.now()),
            finishing: settings.finishing,
        }
    }

    /// Where the sale stands, with so many sold jobs that run.
    pub(crate) fn sale(&self, running: usize) -> Now {
        let now = self.now();
        let state = self.lookout.state();
        let elapsed = self.lookout.begun.elapsed();
        let plain = |state, reason: &str| Now { state, reason: reason.to_owned(), trigger: None, resumes_at: None };
        let jobs = if running == 1 { "job" } else { "jobs" };
        match state.guard.standing(elapsed, self.owner(), running > 0) {
            Standing::Stopped => plain("stopped", "Everything is stopped by your switch"),
            Standing::Off => plain("off", "Selling is switched off"),
            Standing::Paused => {
                let until = self.settings().paused_until;
                Now {
                    resumes_at: until,
                    ..plain("paused", &format!("Paused until {}", until.map(|t| t.to_string()).unwrap_or_default()))
                }
            }
            Standing::Finished => plain("paused", "Paused: everything that ran is finished, until you resume selling"),
            Standing::Draining => plain("draining", &format!("Finishing {running} {jobs}, then pausing")),
            Standing::Yielding { cause, resumes_in, delay } => {
                let (what, seconds) = (cause.words(), delay.as_secs());
                let (reason, resumes_at) = match resumes_in {
                    Some(wait) => (
                        format!("Paused: {what} has ended; selling goes on {seconds} s after that"),
                        Some(now.after(wait)),
                    ),
                    None if cause.trigger == Trigger::Test => (format!("Paused: {what}"), None),
                    None => {
                        let opens = (cause.trigger == Trigger::Schedule)
                            .then(|| self.settings().guard.hours.opens_after(now))
                            .flatten();
                        (
                            format!("Paused: {what}. Selling goes on {seconds} s after it ends"),
                            opens.map(|opens| opens.after(delay)),
                        )
                    }
                };
                Now { state: "yielding", reason, trigger: Some(cause.trigger), resumes_at }
            }
            Standing::Open if running > 0 => plain("busy", &format!("Running {running} {jobs}")),
            Standing::Open => plain("idle", "Waiting for calls from your peers"),
        }
    }

    /// Whether this node takes new work of clients at this moment.
    pub(crate) fn willing(&self, now: Timestamp) -> Result<(), Problem> {
        let refuse = |message: &str, hint: &str| Err(Problem::new(Code::Unavailable, message, hint));
        let state = self.lookout.state();
        match state.guard.standing(self.lookout.begun.elapsed(), self.owner(), false) {
            Standing::Stopped => refuse("this node was stopped by its owner", "try another peer"),
            Standing::Off => refuse("this node is not selling now", "try later or another peer"),
            Standing::Paused => {
                let until = self.settings().paused_until.unwrap_or(now);
                refuse("this node pauses selling", &format!("try again after {until}"))
            }
            Standing::Finished | Standing::Draining => {
                refuse("this node takes nothing new for a while", "try later or another peer")
            }
            Standing::Yielding { cause, .. } => {
                // Which program it is, is nobody else's business.
                let message = format!("this node pauses selling: {}", reason(cause.trigger).words());
                refuse(&message, "try again in a while, or another peer")
            }
            Standing::Open if state.test.running.is_some() => {
                refuse("this node pauses selling: it tests itself", "try again in a minute")
            }
            Standing::Open => Ok(()),
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

    /// Whether a job could run here if its owner did not need the card.
    pub(crate) fn waits_for_card(&self, job: &JobRecord) -> bool {
        self.lookout.takes_all() && self.settings().use_own_gpu && !job.peers_only
    }

    /// Waits for the card, and now and then for somebody else who may do it instead.
    pub(crate) async fn card_released(&self) {
        self.lookout.released(ELSEWHERE).await;
    }
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

/// What looking keeps open.
#[derive(Default)]
struct Eyes {
    watch: Watch,
    cards: Option<metering::Cards>,
}

impl Eyes {
    /// Looks at the machine. Blocks; the first look at a card loads its driver's library.
    fn look(&mut self, limits: &tender_host::guard::Limits, adapter: Option<&str>, chosen: Option<&str>) -> Look {
        let wants_card = limits.program_bytes > 0 || limits.temperature_c > 0.0 || limits.card_watts > 0.0;
        let cards = if wants_card { Some(&*self.cards.get_or_insert_with(metering::open)) } else { None };
        let card = cards.ok_or("the card is not looked at").and_then(|cards| metering::working(cards, adapter, chosen));
        // Half of the pause: a look that comes a little early is a new one all the same.
        self.watch.look(limits, WORKING / 2, card)
    }
}
