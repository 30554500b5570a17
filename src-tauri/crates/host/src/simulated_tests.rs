//! A card for tests whose truth is known.

use crate::sensor::{Process, Reading, Sensor, SensorError, Throttle};
use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Says what it was told to say, one reading after the other; then it fails.
pub(crate) struct Card {
    name: String,
    address: String,
    script: Mutex<VecDeque<Option<Reading>>>,
    /// Draws this many watts in real time once the script is over.
    steady_watts: Option<(f64, Instant)>,
}

impl Card {
    pub(crate) fn new(name: &str, address: &str) -> Self {
        Self { name: name.into(), address: address.into(), script: Mutex::default(), steady_watts: None }
    }

    /// A card that reads as the script says; `None` is a failure.
    pub(crate) fn scripted(script: impl IntoIterator<Item = Option<Reading>>) -> Self {
        Self { script: Mutex::new(script.into_iter().collect()), ..Self::new("scripted", "0000:01:00.0") }
    }

    /// A card that draws `watts` in real time, with a counter that moves without delay.
    pub(crate) fn steady(watts: f64) -> Self {
        Self { steady_watts: Some((watts, Instant::now())), ..Self::new("steady", "0000:01:00.0") }
    }
}

impl Sensor for Card {
    fn read(&self) -> Result<Reading, SensorError> {
        let gone = || SensorError::Other("the simulated card is gone".into());
        if let Some(reading) = self.script.lock().unwrap().pop_front() {
            return reading.ok_or_else(gone);
        }
        let (watts, since) = self.steady_watts.ok_or_else(gone)?;
        let at = Instant::now();
        Ok(Reading {
            energy_joules: Some(watts * (at - since).as_secs_f64()),
            power_watts: Some(watts),
            power_limit_watts: Some(watts),
            throttle: Some(Throttle::POWER_LIMIT),
            ..Reading::empty(at)
        })
    }

    fn processes(&self) -> Result<Vec<Process>, SensorError> {
        Ok(Vec::new())
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn may_be(&self, adapter: &str) -> bool {
        adapter == self.name
    }
}

/// A card that draws what it is told, in steps, and whose counter moves every `period_ms` from a phase on.
#[derive(Clone, Debug)]
pub(crate) struct Simulation {
    pub(crate) start: Instant,
    /// Watts in each step.
    pub(crate) watts: Vec<f64>,
    pub(crate) step_ms: u64,
    pub(crate) period_ms: u64,
    pub(crate) phase_ms: u64,
    pub(crate) limit_watts: f64,
}

impl Simulation {
    /// The truth: joules drawn until `ms`.
    pub(crate) fn joules(&self, ms: u64) -> f64 {
        let whole = (ms / self.step_ms) as usize;
        let rest = (ms % self.step_ms) as f64;
        let of = |step: usize| self.watts.get(step).copied().unwrap_or(0.0);
        ((0..whole).map(of).sum::<f64>() * self.step_ms as f64 + of(whole) * rest) / 1e3
    }

    /// What the card says at `ms`.
    pub(crate) fn reading(&self, ms: u64) -> Reading {
        let ticks = (ms + self.period_ms - self.phase_ms) / self.period_ms;
        let counted = (ticks * self.period_ms + self.phase_ms).saturating_sub(self.period_ms);
        Reading {
            energy_joules: Some(1e6 + self.joules(counted)),
            power_limit_watts: Some(self.limit_watts),
            ..Reading::empty(self.start + Duration::from_millis(ms))
        }
    }
}
