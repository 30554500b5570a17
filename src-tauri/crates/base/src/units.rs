//! Physical quantities, and the rule that an unmeasured one says so.

use serde::{Deserialize, Serialize};

/// Energy in joules.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Joules(pub f64);

/// Power in watts.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watts(pub f64);

impl Joules {
    /// Kilowatt-hours: 1 kWh = 3.6 MJ.
    #[must_use]
    pub fn kwh(self) -> f64 {
        self.0 / 3.6e6
    }
}

/// What a job used, as the machine that ran it metered it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    /// Wall-clock time from the start of the job to its last byte of output, in milliseconds.
    pub wall_ms: u64,
    /// Energy of the card in joules, idle power taken off; `None` when no sensor measured it.
    pub energy_joules: Option<f64>,
    /// Whether `energy_joules` was measured. Never true without a sensor reading at both ends.
    pub measured: bool,
}

impl Meter {
    /// A meter of a machine without an energy sensor.
    #[must_use]
    pub fn without_sensor(wall_ms: u64) -> Self {
        Self { wall_ms, energy_joules: None, measured: false }
    }
}
