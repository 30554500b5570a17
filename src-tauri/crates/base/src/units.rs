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
    /// Energy of the card in joules (not of the whole machine), `idle_watts` × time taken off; `None` when no sensor
    /// measured it. Work that shared the card bears its share of the time.
    pub energy_joules: Option<f64>,
    /// Whether `energy_joules` was measured. Never true without a sensor reading at both ends.
    pub measured: bool,
    /// Half width of the interval around `energy_joules` that the sensor's slowness allows, in joules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty_joules: Option<f64>,
    /// The card's power without work, in watts, which was taken off; `None` when it is not known: then nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_watts: Option<f64>,
    /// Heat, a power limit or the power supply slowed the card down meanwhile.
    #[serde(default, skip_serializing_if = "is_false")]
    pub throttled: bool,
}

impl Meter {
    /// A meter of a machine without an energy sensor.
    #[must_use]
    pub fn without_sensor(wall_ms: u64) -> Self {
        Self {
            wall_ms,
            energy_joules: None,
            measured: false,
            uncertainty_joules: None,
            idle_watts: None,
            throttled: false,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Documents are signed as they are written: one from before a field existed must be written as it was.
    #[test]
    fn a_meter_of_an_older_version_is_written_as_it_was_read() {
        let old = r#"{"wall_ms":12,"energy_joules":3.5,"measured":true}"#;
        let meter: Meter = serde_json::from_str(old).unwrap();
        assert_eq!(serde_json::to_string(&meter).unwrap(), old);
        let full = Meter { uncertainty_joules: Some(0.5), idle_watts: Some(14.0), throttled: true, ..meter };
        let text = serde_json::to_string(&full).unwrap();
        assert!(text.contains("uncertainty_joules") && text.contains("throttled"), "{text}");
        assert_eq!(serde_json::from_str::<Meter>(&text).unwrap(), full);
    }
}
