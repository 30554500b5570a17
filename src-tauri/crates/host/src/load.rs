//! How busy the processor is and how much memory is in use. Read from `/proc`; elsewhere nothing is told.

use std::{fs, path::Path};

/// Time of all processors together since the machine was started, in the kernel's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTimes {
    busy: u64,
    total: u64,
}

/// Memory of the machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostMemory {
    /// Not available to a program that starts now.
    pub used_bytes: u64,
    /// In all.
    pub total_bytes: u64,
}

impl CpuTimes {
    /// Reads them; `None` where the system does not tell.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string(Path::new("/proc/stat")).ok()?)
    }

    /// From the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal; what guests use is in
    /// the first two.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let total = ticks.iter().try_fold(0u64, |sum, ticks| sum.checked_add(*ticks))?;
        let waiting = ticks.get(3)?.checked_add(ticks.get(4).copied().unwrap_or(0))?;
        Some(Self { busy: total.checked_sub(waiting)?, total })
    }

    /// Fraction of all processors in use between `earlier` and now, 0 to 1; `None` when no tick passed.
    #[must_use]
    pub fn utilisation_since(&self, earlier: &Self) -> Option<f64> {
        let total = self.total.checked_sub(earlier.total).filter(|total| *total > 0)?;
        // The kernel's idle time may step back by a tick.
        Some((self.busy.saturating_sub(earlier.busy) as f64 / total as f64).min(1.0))
    }
}

impl HostMemory {
    /// Reads it; `None` where the system does not tell.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string(Path::new("/proc/meminfo")).ok()?)
    }

    fn parse(meminfo: &str) -> Option<Self> {
        let bytes = |name: &str| -> Option<u64> {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
        };
        let total_bytes = bytes("MemTotal:")?;
        Some(Self { used_bytes: total_bytes.saturating_sub(bytes("MemAvailable:")?), total_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_what_passed_between_two_looks_and_waiting_is_none() {
        let before = CpuTimes::parse("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1\n").unwrap();
        let after = CpuTimes::parse("cpu  130 0 120 730 120 0 0 0 50 0\n").unwrap();
        assert_eq!(after.utilisation_since(&before), Some(0.5));
        assert_eq!((before.utilisation_since(&after), after.utilisation_since(&after)), (None, None));
        for bad in ["", "cpu 1 2", "cpu  1 2 3 x", "intr 1"] {
            assert_eq!(CpuTimes::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let text = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\n";
        let memory = HostMemory { used_bytes: 400 * 1024, total_bytes: 1000 * 1024 };
        assert_eq!(HostMemory::parse(text), Some(memory));
        assert_eq!(HostMemory::parse("MemTotal: 1000 kB\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_tells() {
        let memory = HostMemory::now().unwrap();
        assert!(memory.used_bytes > 0 && memory.used_bytes < memory.total_bytes);
        assert!(CpuTimes::now().unwrap().total > 0);
    }
}
