//! NVIDIA cards, through the driver's management library (NVML).

use crate::sensor::{Process, Reading, Sensor, SensorError, Throttle};
use nvml_wrapper::{
    Nvml, bitmasks::device::ThrottleReasons, enum_wrappers::device::TemperatureSensor, enums::device::UsedGpuMemory,
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Instant,
};

/// An NVIDIA card. The library is unloaded with the last of them.
pub struct NvmlSensor {
    nvml: Arc<Nvml>,
    index: u32,
    name: String,
    address: String,
}

/// Loads the driver's library and opens every card that answers.
///
/// # Errors
/// [`SensorError::Nvml`] without an NVIDIA driver.
pub fn cards() -> Result<Vec<NvmlSensor>, SensorError> {
    let nvml = Arc::new(Nvml::init()?);
    let count = nvml.device_count()?;
    // A card that fell off the bus does not hide the others.
    Ok((0..count).filter_map(|index| NvmlSensor::open(&nvml, index).ok()).collect())
}

impl NvmlSensor {
    fn open(nvml: &Arc<Nvml>, index: u32) -> Result<Self, SensorError> {
        let device = nvml.device_by_index(index)?;
        let (name, pci) = (device.name()?, device.pci_info()?);
        let address = format!("{:04x}:{:02x}:{:02x}.0", pci.domain, pci.bus, pci.device);
        Ok(Self { nvml: Arc::clone(nvml), index, name, address })
    }
}

impl Sensor for NvmlSensor {
    fn read(&self) -> Result<Reading, SensorError> {
        let device = self.nvml.device_by_index(self.index)?;
        let energy_joules = device.total_energy_consumption().ok().map(|millijoules| millijoules as f64 / 1e3);
        let at = Instant::now();
        let memory = device.memory_info().ok();
        let watts = |milliwatts: u32| f64::from(milliwatts) / 1e3;
        Ok(Reading {
            at,
            energy_joules,
            power_watts: device.power_usage().ok().map(watts),
            power_limit_watts: device.enforced_power_limit().ok().map(watts),
            temperature_c: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
            memory_used_bytes: memory.as_ref().map(|memory| memory.used),
            memory_total_bytes: memory.as_ref().map(|memory| memory.total),
            utilisation: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0),
            throttle: device.current_throttle_reasons().ok().map(throttle),
        })
    }

    fn processes(&self) -> Result<Vec<Process>, SensorError> {
        let device = self.nvml.device_by_index(self.index)?;
        let mut all: BTreeMap<u32, Process> = BTreeMap::new();
        // A process that computes and draws is in both lists, with the same memory.
        for listed in device.running_compute_processes()?.into_iter().chain(device.running_graphics_processes()?) {
            let memory_bytes = match listed.used_gpu_memory {
                UsedGpuMemory::Used(bytes) => Some(bytes),
                UsedGpuMemory::Unavailable => None,
            };
            match all.entry(listed.pid) {
                Entry::Vacant(free) => {
                    free.insert(Process { pid: listed.pid, memory_bytes });
                }
                Entry::Occupied(mut seen) => {
                    let known = seen.get_mut();
                    known.memory_bytes = known.memory_bytes.max(memory_bytes);
                }
            }
        }
        Ok(all.into_values().collect())
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn may_be(&self, adapter: &str) -> bool {
        same_card(&self.name, adapter)
    }
}

/// Vulkan and Direct3D name a card as NVML does; old drivers leave the maker out in one of the two.
fn same_card(name: &str, adapter: &str) -> bool {
    let model = |name: &str| name.trim().trim_start_matches("NVIDIA ").to_ascii_lowercase();
    model(name) == model(adapter)
}

/// What of NVML's reasons slows work down. Idleness and clocks that the owner set do not count.
fn throttle(reasons: ThrottleReasons) -> Throttle {
    use ThrottleReasons as R;
    [
        (R::SW_POWER_CAP, Throttle::POWER_LIMIT),
        (R::SW_THERMAL_SLOWDOWN, Throttle::HEAT),
        (R::HW_THERMAL_SLOWDOWN, Throttle::HEAT),
        (R::HW_POWER_BRAKE_SLOWDOWN, Throttle::POWER_SUPPLY),
        (R::HW_SLOWDOWN, Throttle::PROTECTION),
        (R::SYNC_BOOST, Throttle::OTHER_CARD),
    ]
    .into_iter()
    .filter(|(reason, _)| reasons.contains(*reason))
    .fold(Throttle::NONE, |all, (_, throttle)| all.and(throttle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::{CardMeter, mean_power};
    use std::time::Duration;
    use tender_base::{Code, Problem};

    #[test]
    fn reasons_are_sorted_into_those_that_slow_work_down() {
        use ThrottleReasons as R;
        assert_eq!(throttle(R::GPU_IDLE | R::APPLICATIONS_CLOCKS_SETTING | R::DISPLAY_CLOCK_SETTING), Throttle::NONE);
        assert_eq!(
            throttle(R::GPU_IDLE | R::HW_SLOWDOWN | R::HW_THERMAL_SLOWDOWN),
            Throttle::HEAT.and(Throttle::PROTECTION)
        );
        assert_eq!(throttle(R::SW_POWER_CAP), Throttle::POWER_LIMIT);
    }

    #[test]
    fn an_adapter_is_recognised_by_its_whole_name() {
        assert!(same_card("NVIDIA GeForce RTX 4080", "NVIDIA GeForce RTX 4080"));
        assert!(same_card("GeForce GTX 1080", "NVIDIA GeForce GTX 1080"));
        assert!(!same_card("NVIDIA GeForce RTX 4080", "NVIDIA GeForce RTX 4080 SUPER"));
        assert!(!same_card("NVIDIA H200", "llvmpipe (LLVM 15.0.6, 256 bits)"));
    }

    /// Where there is a driver the real card is read, idle power included; where there is none, that is said.
    #[test]
    fn a_machine_without_the_driver_says_so_and_one_with_it_reads() {
        let cards = match cards() {
            Err(error) => {
                let problem = Problem::from(error);
                assert!(problem.code == Code::Unavailable && problem.hint.contains("nvidia-smi"), "{problem}");
                return;
            }
            Ok(cards) => cards,
        };
        assert!(!cards.is_empty(), "the driver answers and has no card");
        for card in cards {
            let before = card.read().unwrap();
            assert!(!card.name().is_empty() && card.address().len() == 12, "{} at {}", card.name(), card.address());
            assert!(card.may_be(card.name()));
            let limit = before.power_limit_watts.unwrap();
            assert!(limit > 0.0 && limit < 2_000.0, "{before:?}");
            assert!(before.power_watts.is_some_and(|watts| watts > 0.0 && watts < 2_000.0), "{before:?}");
            assert!(before.memory_used_bytes <= before.memory_total_bytes, "{before:?}");
            assert!(before.utilisation.is_none_or(|fraction| (0.0..=1.0).contains(&fraction)), "{before:?}");
            assert!(before.temperature_c.is_some_and(|c| c > 0.0 && c < 120.0), "{before:?}");
            let total = before.memory_total_bytes.unwrap();
            for process in card.processes().unwrap() {
                assert!(process.memory_bytes.is_none_or(|bytes| bytes <= total), "{process:?}");
            }

            let (name, counts) = (card.name().to_owned(), before.energy_joules.is_some());
            let meter = CardMeter::new(Box::new(card));
            let job = meter.start();
            std::thread::sleep(Duration::from_secs(2));
            let metered = job.finish(None);
            let after = meter.sensor().read().unwrap();
            let mean = mean_power(&[before, after]).unwrap();
            eprintln!("{name}: {before:?}\n{metered:?}\nmean {mean:?}");
            if counts {
                let joules = metered.meter.energy_joules.unwrap();
                assert!(metered.meter.measured && joules > 0.0, "{metered:?}");
                let bound = metered.meter.uncertainty_joules.unwrap();
                assert!(bound > 0.0 && bound <= limit.max(mean.watts) * 0.2, "{metered:?}");
                assert!(joules <= limit * 2.5 + bound, "{metered:?}");
            }
        }
    }
}
