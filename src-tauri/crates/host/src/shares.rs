//! Who used how much of a card's energy, when several work on it at once.
//!
//! The card is read whenever work begins or ends, so that between two readings i and i+1 the same nᵢ pieces of work
//! run. Each bears an equal share of the time, and of the energy ΔEᵢ:
//!
//! gross = Σ ΔEᵢ / nᵢ, time = Σ Δtᵢ / nᵢ, net = gross − idle power × time
//!
//! Over all pieces of work the shares add up to what the counter says, and to the time in which there was work: nothing
//! is billed twice.
//!
//! *Error.* A counter that moves every T = 100 ms lags at a reading by at most P·T, where P is the most that the card
//! draws. With the lag eᵢ ∈ [0, P·T] at reading i, a piece of work from reading a to reading b is off by
//! e_a/n_a + Σ eᵢ (1/nᵢ − 1/nᵢ₋₁) − e_b/n_{b−1}, hence by at most P·T times the larger of the sums of the positive and
//! of the negative factors; alone on the card by P·T. Power that is a mean over the last W = 1 s lags in the same way,
//! by at most P·W/2. That the sensor itself is well calibrated is not part of the bound, nor that it looks all the
//! time: on A100 and H100 cards it looks at a quarter of it (arXiv 2312.02741). Nor is what other programs draw from the
//! card while work runs, beyond what they drew when idle power was measured: the counter does not tell them apart.

use crate::sensor::{Reading, Throttle};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How often NVIDIA's energy counter moves.
pub const COUNTER_PERIOD: Duration = Duration::from_millis(100);
/// Longest time over which a reported power is averaged: NVIDIA's cards from Ampere on.
pub const POWER_WINDOW: Duration = Duration::from_secs(1);
/// Longest gap between two power samples that may be bridged by a straight line. Sampling is meant at 10 to 20 Hz.
pub const MAX_SAMPLE_GAP: Duration = Duration::from_millis(500);

/// The work on one card.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    last: Option<Reading>,
    running: BTreeMap<u64, Tally>,
    next: u64,
}

/// What one piece of work has used so far.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// First reading.
    pub(crate) started: Instant,
    /// Energy without taking idle power off, in joules; `None` once something was missed.
    pub(crate) gross_joules: Option<f64>,
    /// Its share of the time, in seconds.
    pub(crate) seconds: f64,
    /// What slowed the card down at any reading.
    pub(crate) throttle: Throttle,
    /// Longest time without a reading.
    pub(crate) longest_gap: Duration,
    /// Most power seen or allowed, in watts.
    most_watts: f64,
    /// Whether any energy comes from power samples rather than from the counter.
    sampled: bool,
    /// What straight lines between power samples may miss, in joules.
    roughness_joules: f64,
    /// 1/n now.
    share: f64,
    /// Sum of the positive factors of lags, and of the negative ones.
    factors: (f64, f64),
}

impl Tally {
    /// Half width of the interval around the gross energy, in joules.
    pub(crate) fn bound_joules(&self) -> f64 {
        let lag = if self.sampled { POWER_WINDOW / 2 } else { COUNTER_PERIOD };
        self.most_watts * lag.as_secs_f64() * self.factors.0.max(self.factors.1) + self.roughness_joules
    }

    fn share_with(&mut self, n: usize) {
        let share = 1.0 / n as f64;
        let step = share - self.share;
        if step > 0.0 {
            self.factors.0 += step;
        } else {
            self.factors.1 -= step;
        }
        self.share = share;
    }
}

impl Shares {
    /// Whether nothing runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Work begins; `reading` is of now, `None` when the card could not be read.
    pub(crate) fn enter(&mut self, reading: Option<Reading>) -> u64 {
        self.boundary(reading);
        let id = self.next;
        self.next += 1;
        let tally = Tally {
            started: reading.map_or_else(Instant::now, |reading| reading.at),
            gross_joules: reading.map(|_| 0.0),
            seconds: 0.0,
            throttle: reading.and_then(|reading| reading.throttle).unwrap_or_default(),
            longest_gap: Duration::ZERO,
            most_watts: reading.map_or(0.0, |reading| most_watts(&reading)),
            sampled: false,
            roughness_joules: 0.0,
            share: 0.0,
            factors: (0.0, 0.0),
        };
        self.running.insert(id, tally);
        self.share_anew();
        id
    }

    /// Work ends; `None` for work that is not running.
    pub(crate) fn leave(&mut self, id: u64, reading: Option<Reading>) -> Option<Tally> {
        self.boundary(reading);
        let mut tally = self.running.remove(&id)?;
        tally.factors.1 += tally.share;
        self.share_anew();
        Some(tally)
    }

    /// A reading in between.
    pub(crate) fn sample(&mut self, reading: Reading) {
        let Some(last) = self.last.replace(reading) else { return };
        let span = reading.at.saturating_duration_since(last.at);
        let energy = energy_between(&last, &reading, span);
        let n = self.running.len() as f64;
        for tally in self.running.values_mut() {
            tally.seconds += span.as_secs_f64() / n;
            tally.gross_joules = tally.gross_joules.zip(energy).map(|(sum, energy)| sum + energy.joules / n);
            tally.longest_gap = tally.longest_gap.max(span);
            tally.throttle = tally.throttle.and(reading.throttle.unwrap_or_default());
            tally.most_watts = tally.most_watts.max(most_watts(&reading));
            if let Some(energy) = energy {
                tally.sampled |= energy.roughness_joules.is_some();
                tally.roughness_joules += energy.roughness_joules.unwrap_or(0.0) / n;
                if span >= COUNTER_PERIOD {
                    tally.most_watts = tally.most_watts.max(energy.joules / span.as_secs_f64());
                }
            }
        }
    }

    /// A reading where the number of shares changes. Without one nobody's share is known any more.
    fn boundary(&mut self, reading: Option<Reading>) {
        if self.running.is_empty() {
            self.last = reading;
            return;
        }
        match reading {
            Some(reading) => self.sample(reading),
            None => {
                self.last = None;
                self.running.values_mut().for_each(|tally| tally.gross_joules = None);
            }
        }
    }

    fn share_anew(&mut self) {
        let n = self.running.len();
        self.running.values_mut().for_each(|tally| tally.share_with(n));
    }
}

/// Energy between two readings.
#[derive(Clone, Copy)]
struct Energy {
    joules: f64,
    /// From power samples: half of what the trapezoid spans.
    roughness_joules: Option<f64>,
}

/// By the counter, else by a trapezoid between powers that are close enough. A counter that runs backwards was reset
/// with its driver or has wrapped around, and nobody knows where; then the powers must do.
fn energy_between(last: &Reading, reading: &Reading, span: Duration) -> Option<Energy> {
    let counted = last.energy_joules.zip(reading.energy_joules).map(|(before, after)| after - before);
    if let Some(joules) = counted.filter(|joules| joules.is_finite() && *joules >= 0.0) {
        return Some(Energy { joules, roughness_joules: None });
    }
    let (before, after) = last.power_watts.zip(reading.power_watts).filter(|_| span <= MAX_SAMPLE_GAP)?;
    let joules = (before + after) / 2.0 * span.as_secs_f64();
    let roughness_joules = Some((after - before).abs() / 2.0 * span.as_secs_f64());
    (joules.is_finite() && joules >= 0.0).then_some(Energy { joules, roughness_joules })
}

fn most_watts(reading: &Reading) -> f64 {
    let most = reading.power_watts.unwrap_or(0.0).max(reading.power_limit_watts.unwrap_or(0.0));
    if most.is_finite() { most } else { 0.0 }
}

#[cfg(test)]
#[path = "shares_tests.rs"]
mod tests;
