//! What the machine is doing: sensors, energy, disk, drivers; and the guard that gives it back to its owner.
//!
//! A number that was not measured is absent or says so; nothing is estimated here.

pub mod checks;
pub mod energy;
pub mod free;
pub mod guard;
mod load;
pub mod nvml;
mod sandbox_check;
pub mod sensor;
mod sensor_check;
mod shares;
#[cfg(test)]
#[path = "simulated_tests.rs"]
mod simulated;
pub mod sysfs;
pub mod wall;

pub use checks::{Check, CheckState, Places, checks};
pub use energy::{CardMeter, JobMeter, MeanPower, Metered, idle_power};
pub use load::{CpuTimes, HostMemory};
pub use sensor::{Process, Reading, Sensor, SensorError, Throttle, choose, sensors};
pub use wall::{WallError, WallLine};
