//! What work on the own card uses. Sensors are opened when work comes and closed when it has gone: an idle node
//! holds no driver library.

use crate::node::Node;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tender_base::{JobKind, Timestamp};
use tender_host::{CardMeter, JobMeter, MeanPower, Metered, Reading, Sensor};
use tender_store::Event;
use tokio::task::{JoinHandle, spawn_blocking};

/// Internal setting with every card's idle power.
const IDLE: &str = "measured.idle";
/// Internal setting with the card's power while it works, watts by kind of work.
const WATTS: &str = "measured.watts";
/// How often it is looked whether idle power may be measured. A card that has just worked cools down meanwhile.
const LOOK: Duration = Duration::from_secs(20);
/// How old idle power becomes: the desktop and its screens change from day to day.
const FRESH: Duration = Duration::from_secs(24 * 3600);
/// Pause after a measurement that work interrupted, or that found the card in use.
const RETRY: Duration = Duration::from_secs(600);
/// Idle power is the mean of so many looks beyond the first, one a second: ten seconds, in which the counter's lag is
/// 1 %.
const IDLE_LOOKS: usize = 10;
const IDLE_LOOK: Duration = Duration::from_secs(1);

pub(crate) type Cards = Arc<Vec<CardMeter>>;

/// The cards of this machine. All nodes of this process share them, so that work for two of them shares a card's
/// energy too.
static CARDS: Mutex<Option<Cards>> = Mutex::new(None);

/// Opens the cards. Loads the driver's library, which may block for seconds.
pub(crate) fn open() -> Cards {
    let mut cards = CARDS.lock().unwrap_or_else(PoisonError::into_inner);
    cards.get_or_insert_with(|| Arc::new(tender_host::sensors().into_iter().map(CardMeter::new).collect())).clone()
}

/// Video memory in use and in all, in bytes, of the card that is the adapter `adapter`; none without its sensor.
/// Blocks.
pub(crate) fn free_video_memory(adapter: &str, chosen: Option<&str>) -> Option<(u64, u64)> {
    let cards = open();
    let index = tender_host::choose(cards.iter().map(CardMeter::sensor), adapter, chosen)?;
    let reading = cards.get(index)?.sensor().read().ok()?;
    reading.memory_used_bytes.zip(reading.memory_total_bytes)
}

/// The card that works: the one that is the adapter, or the only one before any adapter was opened.
///
/// # Errors
/// Why there is none, in words.
pub(crate) fn working<'a>(
    cards: &'a [CardMeter],
    adapter: Option<&str>,
    chosen: Option<&str>,
) -> Result<&'a dyn Sensor, &'static str> {
    let found = match adapter {
        Some(adapter) => tender_host::choose(cards.iter().map(CardMeter::sensor), adapter, chosen),
        None => (cards.len() == 1).then_some(0),
    };
    let why = match (cards.len(), adapter) {
        (0, _) => "no card here can be read",
        (_, Some(_)) => "the adapter that works has no sensor, or it is not clear which card it is",
        (_, None) => "it is not clear which card works before the first job",
    };
    found.and_then(|index| cards.get(index)).map(CardMeter::sensor).ok_or(why)
}

/// Whether cards may have to be closed. Never waits: who opens them has the lock for long.
fn is_open() -> bool {
    CARDS.try_lock().is_ok_and(|cards| cards.is_some())
}

/// Closes the cards unless something is being measured or about to be.
fn close() {
    let mut cards = CARDS.lock().unwrap_or_else(PoisonError::into_inner);
    if cards.as_ref().is_some_and(|cards| Arc::strong_count(cards) == 1 && !cards.iter().any(CardMeter::is_busy)) {
        *cards = None;
    }
}

/// How a card is called in what is stored about it.
fn key(sensor: &dyn Sensor) -> String {
    format!("{} at {}", sensor.name(), sensor.address())
}

/// Measures one piece of work, from its first progress on: until then it waits in the queue.
pub(crate) enum WorkMeter {
    /// The sensors are being opened meanwhile.
    Waiting(JoinHandle<Cards>),
    /// The card and its meter; none without a sensor of the card that works.
    Running(Option<(String, JobMeter)>),
}

impl WorkMeter {
    /// For work that is about to be queued.
    pub(crate) fn new() -> Self {
        Self::Waiting(spawn_blocking(open))
    }

    /// For work on somebody else's machine: nothing is measured.
    pub(crate) fn elsewhere() -> Self {
        Self::Running(None)
    }

    /// The work has started on the node's own card; later calls change nothing.
    pub(crate) async fn start(&mut self, node: &Node) {
        let Self::Waiting(opening) = self else { return };
        node.sample();
        let opened = opening.await;
        *self = Self::Running(None);
        let (Ok(cards), Some(worker)) = (opened, node.engine.info()) else { return };
        let chosen = node.settings().sensor;
        let started = spawn_blocking(move || {
            let index = tender_host::choose(cards.iter().map(CardMeter::sensor), &worker.adapter, chosen.as_deref())?;
            let card = cards.get(index)?;
            Some((key(card.sensor()), card.start()))
        });
        *self = Self::Running(started.await.ok().flatten());
    }
}

/// Idle power of a card and when it was measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Idle {
    #[serde(flatten)]
    power: MeanPower,
    at: Timestamp,
}

impl Node {
    /// What work that has just ended used. `wall_ms` is the worker's own time.
    pub(crate) async fn metered(&self, kind: JobKind, work: WorkMeter, wall_ms: u64) -> Metered {
        let WorkMeter::Running(Some((card, job))) = work else { return Metered::without_sensor(wall_ms) };
        let idle = self.idle_powers().await.get(&card).map(|idle| idle.power);
        let Ok(mut metered) = spawn_blocking(move || job.finish(idle)).await else {
            return Metered::without_sensor(wall_ms);
        };
        if metered.throttle.any() {
            let words = metered.throttle.words().join(" and ");
            tracing::info!(card, "the card was slowed down since {words}");
        }
        if !metered.meter.measured {
            let gap_ms = metered.longest_gap.as_millis();
            tracing::info!(card, wall_ms, gap_ms, "energy was not measured: too short, or readings are missing");
        }
        if let Some(watts) = metered.card_watts {
            let mut known = self.work_watts().await;
            // As throughput is learned: four runs have mostly replaced what was known.
            known.entry(kind.name().to_owned()).and_modify(|old| *old += (watts - *old) / 4.0).or_insert(watts);
            self.remember(WATTS, serde_json::to_value(known)).await;
        }
        metered.meter.wall_ms = wall_ms;
        metered
    }

    /// Measured power of the card during work of a kind, in watts; none before the first such work with a sensor.
    pub(crate) async fn card_watts(&self, kind: JobKind) -> Option<f64> {
        self.work_watts().await.get(kind.name()).copied().filter(|watts| watts.is_finite() && *watts > 0.0)
    }

    /// Measures idle power once a day while this node sells and nothing runs; closes the sensors when work has gone.
    /// Runs until the node ends.
    pub(crate) async fn keep_idle_power(self: Arc<Self>) {
        let oldest = self.idle_powers().await.values().map(|idle| idle.at).min();
        let mut due = oldest.map_or(self.now(), |at| at.after(FRESH));
        let mut settled = true;
        loop {
            tokio::time::sleep(LOOK).await;
            let quiet = !self.engine.is_running();
            if quiet && settled {
                if self.settings().selling && self.now() >= due {
                    let known = match spawn_blocking(open).await {
                        Ok(cards) => self.measure_idle(&cards, IDLE_LOOK).await,
                        Err(_) => false,
                    };
                    due = self.now().after(if known { FRESH } else { RETRY });
                }
                if is_open() {
                    let _ = spawn_blocking(close).await;
                }
            }
            settled = quiet;
        }
    }

    /// Looks at the cards without work. Whether every card's idle power is known afterwards, or there is nothing to be
    /// known; false when work came meanwhile or somebody else uses a card.
    async fn measure_idle(&self, cards: &Cards, every: Duration) -> bool {
        if cards.is_empty() {
            return true;
        }
        let mut readings: Vec<Vec<Reading>> = vec![Vec::new(); cards.len()];
        for look in 0..=IDLE_LOOKS {
            if look > 0 {
                tokio::time::sleep(every).await;
            }
            let looked = cards.clone();
            let looked =
                spawn_blocking(move || looked.iter().map(|card| card.sensor().read().ok()).collect::<Vec<_>>()).await;
            // Asked after the look, so that work that began before it is seen.
            if self.engine.is_running() || cards.iter().any(CardMeter::is_busy) {
                return false;
            }
            for (readings, reading) in readings.iter_mut().zip(looked.unwrap_or_default()) {
                readings.extend(reading);
            }
        }
        let mut known = self.idle_powers().await;
        let mut all = true;
        for (card, readings) in cards.iter().zip(readings) {
            let reports = readings.iter().any(|reading| reading.energy_joules.or(reading.power_watts).is_some());
            match tender_host::idle_power(&readings).filter(|_| readings.len() > IDLE_LOOKS) {
                Some(power) => {
                    tracing::info!(card = key(card.sensor()), watts = power.watts, "idle power");
                    known.insert(key(card.sensor()), Idle { power, at: self.now() });
                }
                None => all &= !reports,
            }
        }
        self.remember(IDLE, serde_json::to_value(known)).await;
        all
    }

    /// Measured power of the card without work, in watts: of the one whose energy is metered, or the only one.
    pub(crate) async fn card_idle_watts(&self, sensor: Option<&str>) -> Option<f64> {
        let known = self.idle_powers().await;
        let mut found = known.iter().filter(|(card, _)| sensor.is_none_or(|address| card.ends_with(address)));
        let (_, idle) = found.next()?;
        found.next().is_none().then_some(idle.power.watts).filter(|watts| watts.is_finite() && *watts >= 0.0)
    }

    async fn idle_powers(&self) -> BTreeMap<String, Idle> {
        self.recall(IDLE).await
    }

    async fn work_watts(&self) -> BTreeMap<String, f64> {
        self.recall(WATTS).await
    }

    pub(crate) async fn recall<T: Default + serde::de::DeserializeOwned>(&self, key: &str) -> T {
        let stored = self.store.setting(key).await.ok().flatten();
        stored.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }

    pub(crate) async fn remember(&self, key: &str, value: serde_json::Result<Value>) {
        let Ok(value) = value else { return };
        let event = Event::SettingChanged { key: key.to_owned(), value, at: self.now() };
        if let Err(problem) = self.apply(vec![event], Vec::new()).await {
            tracing::warn!(code = %problem.code, %problem, key, "what was measured could not be stored");
        }
    }
}

#[cfg(test)]
#[path = "metering_tests.rs"]
pub(crate) mod tests;
