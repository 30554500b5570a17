//! What the machine is doing: sensors, energy, disk, drivers.
//!
//! A number that was not measured is absent or says so; nothing is estimated here.

pub mod checks;
pub mod energy;
pub mod sensor;

pub use checks::{Check, CheckState, Places, checks};
pub use energy::{EnergyMeter, Metered};
pub use sensor::{NvmlSensor, Reading, Sensor, SensorError, detect};
