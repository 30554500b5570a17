//! How much energy work on a card took: what its counter rose by, less what the card would have drawn idle.

use crate::{
    sensor::{Reading, Sensor, Throttle},
    shares::{COUNTER_PERIOD, Shares, Tally},
};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tender_base::units::Meter;

/// Shortest work whose energy is reported: below, the counter's period alone is an error of 50 %.
pub const SHORTEST: Duration = Duration::from_millis(200);
/// How often a card with an energy counter is looked at meanwhile, for what slows it down.
const EVERY_COUNTED: Duration = Duration::from_millis(500);
/// How often a card without one is looked at: 16 times a second.
const EVERY_SAMPLED: Duration = Duration::from_millis(60);
/// A card in use beyond this fraction in the mean is not idle. A desktop's own drawing stays below, and belongs to what
/// the card draws anyway.
const IDLE_UTILISATION: f64 = 0.15;

/// Measures the work on one card. Work that overlaps shares the card's energy; see `shares.rs` for the formula.
///
/// A thread looks at the card while there is work, and ends with it.
pub struct CardMeter {
    card: Arc<Card>,
}

struct Card {
    sensor: Box<dyn Sensor>,
    work: Mutex<Work>,
    /// The last piece of work has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Work {
    shares: Shares,
    /// The thread runs.
    watched: bool,
}

/// Work under way. Dropping it ends it unreported.
pub struct JobMeter {
    card: Arc<Card>,
    id: u64,
    ended: bool,
}

/// What a piece of work took.
#[derive(Clone, Debug, PartialEq)]
pub struct Metered {
    /// Time and net energy, as documents state them.
    pub meter: Meter,
    /// Its share of the card's energy without taking idle power off, in joules.
    pub gross_joules: Option<f64>,
    /// Mean power of the card meanwhile, all work on it together, in watts.
    pub card_watts: Option<f64>,
    /// Its share of the time, what ran at once sharing the card: 0 to 1, and 1 when nothing else is known to have run.
    pub share: f64,
    /// What slowed the card down.
    pub throttle: Throttle,
    /// Longest time in which the card was not looked at.
    pub longest_gap: Duration,
}

/// A mean power and half the width of the interval around it, in watts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanPower {
    /// Mean power.
    pub watts: f64,
    /// How far off it may be.
    pub plus_minus_watts: f64,
}

impl CardMeter {
    /// Measures the card that `sensor` looks at.
    #[must_use]
    pub fn new(sensor: Box<dyn Sensor>) -> Self {
        Self { card: Arc::new(Card { sensor, work: Mutex::default(), ended: Condvar::new() }) }
    }

    /// The card's sensor.
    #[must_use]
    pub fn sensor(&self) -> &dyn Sensor {
        self.card.sensor.as_ref()
    }

    /// Whether something is being measured.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.card.lock().shares.is_empty()
    }

    /// Work begins now. Reads the card, which takes a millisecond or so.
    #[must_use]
    pub fn start(&self) -> JobMeter {
        let mut work = self.card.lock();
        let reading = self.card.sensor.read().ok();
        let id = work.shares.enter(reading);
        if !work.watched {
            let every = if reading.is_some_and(|r| r.energy_joules.is_some()) { EVERY_COUNTED } else { EVERY_SAMPLED };
            let card = Arc::clone(&self.card);
            let watch = thread::Builder::new().name("energy".to_owned()).spawn(move || card.watch(every));
            // Without the thread a counter still does; power samples would be too far apart, and that shows.
            work.watched = watch.is_ok();
        }
        JobMeter { card: Arc::clone(&self.card), id, ended: false }
    }
}

impl Card {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the card until there is no work.
    fn watch(&self, every: Duration) {
        let mut work = self.lock();
        loop {
            work = self.ended.wait_timeout(work, every).unwrap_or_else(PoisonError::into_inner).0;
            if work.shares.is_empty() {
                work.watched = false;
                return;
            }
            // One that fails is a gap, which only matters without a counter.
            if let Ok(reading) = self.sensor.read() {
                work.shares.sample(reading);
            }
        }
    }
}

impl JobMeter {
    /// Ends the measurement. `idle` is the card's power without work; when it is not known, nothing is taken off.
    /// Reads the card, which takes a millisecond or so.
    #[must_use]
    pub fn finish(mut self, idle: Option<MeanPower>) -> Metered {
        self.end(idle)
    }

    fn end(&mut self, idle: Option<MeanPower>) -> Metered {
        self.ended = true;
        let mut work = self.card.lock();
        let reading = self.card.sensor.read().ok();
        let tally = work.shares.leave(self.id, reading);
        if work.shares.is_empty() {
            self.card.ended.notify_all();
        }
        drop(work);
        let end = reading.map_or_else(Instant::now, |reading| reading.at);
        tally.map_or_else(|| Metered::unmeasured(Duration::ZERO), |tally| metered(&tally, end, idle))
    }
}

impl Metered {
    /// What is known of work on a card without a sensor.
    #[must_use]
    pub fn without_sensor(wall_ms: u64) -> Self {
        Self {
            meter: Meter::without_sensor(wall_ms),
            gross_joules: None,
            card_watts: None,
            share: 1.0,
            throttle: Throttle::NONE,
            longest_gap: Duration::ZERO,
        }
    }

    fn unmeasured(span: Duration) -> Self {
        Self::without_sensor(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What a piece of work that ended at `end` took.
pub(crate) fn metered(tally: &Tally, end: Instant, idle: Option<MeanPower>) -> Metered {
    let span = end.saturating_duration_since(tally.started);
    let mut metered = Metered { throttle: tally.throttle, longest_gap: tally.longest_gap, ..Metered::unmeasured(span) };
    metered.meter.throttled = tally.throttle.any();
    // Without an energy the card could not be read all the time, and its shares are not known either.
    if tally.gross_joules.is_some() && !span.is_zero() {
        metered.share = (tally.seconds / span.as_secs_f64()).clamp(0.0, 1.0);
    }
    let Some(gross) = tally.gross_joules.filter(|_| span >= SHORTEST) else { return metered };
    let off = idle.unwrap_or(MeanPower { watts: 0.0, plus_minus_watts: 0.0 });
    metered.gross_joules = Some(gross);
    metered.card_watts = Some(gross / tally.seconds).filter(|watts| watts.is_finite());
    metered.meter.measured = true;
    metered.meter.energy_joules = Some((gross - off.watts * tally.seconds).max(0.0));
    metered.meter.uncertainty_joules = Some(tally.bound_joules() + off.plus_minus_watts * tally.seconds);
    metered.meter.idle_watts = idle.map(|idle| idle.watts);
    metered
}

impl Drop for JobMeter {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.end(None);
        }
    }
}

/// Mean power over some readings, oldest first: by the counter from the first to the last when both have it, else the
/// mean of the powers. Ten seconds without work give the idle power.
#[must_use]
pub fn mean_power(readings: &[Reading]) -> Option<MeanPower> {
    let (first, last) = (readings.first()?, readings.last()?);
    let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
    let powers: Vec<f64> = readings.iter().filter_map(|reading| reading.power_watts).collect();
    let counted = first.energy_joules.zip(last.energy_joules).map(|(before, after)| (after - before) / seconds);
    if let Some(watts) = counted.filter(|watts| watts.is_finite() && *watts >= 0.0) {
        let most = powers.iter().copied().fold(watts, f64::max);
        return Some(MeanPower { watts, plus_minus_watts: most * COUNTER_PERIOD.as_secs_f64() / seconds });
    }
    if powers.len() < 2 || powers.len() < readings.len() {
        return None;
    }
    let (least, most) = powers.iter().fold((f64::INFINITY, 0.0f64), |(least, most), p| (least.min(*p), most.max(*p)));
    let watts = powers.iter().sum::<f64>() / powers.len() as f64;
    Some(MeanPower { watts, plus_minus_watts: (most - least) / 2.0 }).filter(|power| power.watts.is_finite())
}

/// Idle power from readings of about ten seconds; `None` when somebody used the card meanwhile or it cannot be told.
#[must_use]
pub fn idle_power(readings: &[Reading]) -> Option<MeanPower> {
    let used: Vec<f64> = readings.iter().filter_map(|reading| reading.utilisation).collect();
    let idle = used.iter().sum::<f64>() <= IDLE_UTILISATION * used.len() as f64;
    mean_power(readings).filter(|_| idle)
}

#[cfg(test)]
#[path = "energy_tests.rs"]
mod tests;
