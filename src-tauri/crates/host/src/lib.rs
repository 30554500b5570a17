//! What the machine is doing: sensors, energy, disk, drivers.
