//! What a card says about itself.

use nvml_wrapper::{Nvml, enum_wrappers::device::TemperatureSensor, error::NvmlError};
use std::time::Instant;
use tender_base::{Code, Problem};

/// One look at a card. What the card does not report is absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// When it was taken, on the monotonic clock.
    pub at: Instant,
    /// Energy since the driver was loaded, in joules. NVIDIA cards count it from Volta on and update the counter
    /// about every 100 ms.
    pub energy_joules: Option<f64>,
    /// Power in watts; from Ampere on the mean of the last second.
    pub power_watts: Option<f64>,
    /// Core temperature in degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Video memory in use by all processes, in bytes.
    pub memory_used_bytes: Option<u64>,
    /// Video memory in all, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Fraction of the last sample period in which a kernel ran, 0 to 1.
    pub utilisation: Option<f64>,
}

impl Reading {
    /// A reading without any value.
    #[must_use]
    pub fn empty(at: Instant) -> Self {
        Self {
            at,
            energy_joules: None,
            power_watts: None,
            temperature_c: None,
            memory_used_bytes: None,
            memory_total_bytes: None,
            utilisation: None,
        }
    }
}

/// Something that can look at a card.
pub trait Sensor: Send + Sync {
    /// Looks now. Takes a millisecond or so; blocks.
    ///
    /// # Errors
    /// [`SensorError`] when the card cannot be read at all.
    fn read(&self) -> Result<Reading, SensorError>;

    /// The card's name, as its driver gives it.
    fn name(&self) -> &str;
}

/// Why a card cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// There is no NVIDIA driver, or it does not answer.
    #[error("NVIDIA's management library cannot be used: {0}")]
    Nvml(#[from] NvmlError),
    /// A sensor that reads something else failed.
    #[error("{0}")]
    Other(String),
}

impl From<SensorError> for Problem {
    fn from(error: SensorError) -> Self {
        Self::new(
            Code::Unavailable,
            error.to_string(),
            "energy is not measured until the driver answers; check it with nvidia-smi",
        )
    }
}

/// An NVIDIA card, read through NVML.
pub struct NvmlSensor {
    nvml: Nvml,
    index: u32,
    name: String,
}

impl NvmlSensor {
    /// Loads the driver's library and opens the card number `index`.
    ///
    /// # Errors
    /// [`SensorError::Nvml`] without an NVIDIA driver or without such a card.
    pub fn open(index: u32) -> Result<Self, SensorError> {
        let nvml = Nvml::init()?;
        let name = nvml.device_by_index(index)?.name()?;
        Ok(Self { nvml, index, name })
    }
}

impl Sensor for NvmlSensor {
    fn read(&self) -> Result<Reading, SensorError> {
        let device = self.nvml.device_by_index(self.index)?;
        let energy_joules = device.total_energy_consumption().ok().map(|millijoules| millijoules as f64 / 1e3);
        let at = Instant::now();
        let memory = device.memory_info().ok();
        Ok(Reading {
            at,
            energy_joules,
            power_watts: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
            temperature_c: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
            memory_used_bytes: memory.as_ref().map(|memory| memory.used),
            memory_total_bytes: memory.as_ref().map(|memory| memory.total),
            utilisation: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0),
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The first card of this machine that can be read, if there is one. Loads the driver's library, which costs some
/// megabytes: call it when something is to be measured, not at start.
#[must_use]
pub fn detect() -> Option<Box<dyn Sensor>> {
    Some(Box::new(NvmlSensor::open(0).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_the_driver_says_so_and_one_with_it_reads() {
        match NvmlSensor::open(0) {
            Err(error) => {
                assert!(detect().is_none());
                let problem = Problem::from(error);
                assert!(problem.code == Code::Unavailable && problem.hint.contains("nvidia-smi"), "{problem}");
            }
            Ok(sensor) => {
                let reading = sensor.read().unwrap();
                assert!(!sensor.name().is_empty());
                assert!(reading.power_watts.is_some_and(|watts| watts > 0.0 && watts < 2_000.0), "{reading:?}");
                assert!(reading.memory_used_bytes <= reading.memory_total_bytes, "{reading:?}");
                assert!(reading.utilisation.is_none_or(|fraction| (0.0..=1.0).contains(&fraction)), "{reading:?}");
            }
        }
    }
}
