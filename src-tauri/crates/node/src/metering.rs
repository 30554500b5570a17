//! What a job used. The sensor is opened only when a job starts: an idle node loads no driver library.

use std::sync::OnceLock;
use tender_base::units::Meter;
use tender_host::{EnergyMeter, Sensor};

static SENSOR: OnceLock<Option<Box<dyn Sensor>>> = OnceLock::new();

fn sensor() -> Option<&'static dyn Sensor> {
    SENSOR.get_or_init(tender_host::detect).as_deref()
}

/// Reads the energy counter, if there is one.
pub(crate) fn start() -> EnergyMeter {
    EnergyMeter::start(sensor())
}

/// Reads it again. `wall_ms` is the worker's own time. Idle power is not known yet, so nothing is taken off.
pub(crate) fn finish(started: EnergyMeter, wall_ms: u64) -> Meter {
    Meter { wall_ms, ..started.finish(sensor(), None).meter }
}
