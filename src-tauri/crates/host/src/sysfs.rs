//! AMD and Intel cards on Linux, through the files of their kernel drivers.
//!
//! Names and units are the kernel's: `hwmon/*/power1_average` or `power1_input` and `power1_cap` in microwatts,
//! `energy1_input` in microjoules, `temp1_input` in thousandths of a degree (Documentation/hwmon/sysfs-interface);
//! `mem_info_vram_used`, `mem_info_vram_total` in bytes and `gpu_busy_percent` (amdgpu). Processes come from
//! `/proc/PID/fdinfo` (Documentation/gpu/drm-usage-stats). A file that is missing or does not hold a number is a value
//! that the card does not report. Of processors with integrated graphics amdgpu reports the whole chip's power. What
//! slows an AMD card down is in a binary file that changes with the card's generation; it is not read.

use crate::sensor::{Process, Reading, Sensor, SensorError};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

/// Who made the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Amd,
    Intel,
}

impl Maker {
    fn of(vendor: &str) -> Option<Self> {
        match vendor {
            "0x1002" => Some(Self::Amd),
            "0x8086" => Some(Self::Intel),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Amd => "AMD",
            Self::Intel => "Intel",
        }
    }
}

/// One card.
pub struct SysfsSensor {
    maker: Maker,
    name: String,
    address: String,
    /// `/sys/class/drm/cardN/device`.
    device: PathBuf,
    /// Its `hwmon/hwmonN`; none where the driver offers none, as for most integrated graphics.
    hwmon: Option<PathBuf>,
    /// `/proc`.
    proc: PathBuf,
}

/// Every AMD and Intel card under `root`, also those that report nothing: they may be the adapter, and then nothing
/// is measured.
#[must_use]
pub fn cards(root: &Path) -> Vec<SysfsSensor> {
    let mut folders: Vec<PathBuf> = entries(&root.join("sys/class/drm"))
        .into_iter()
        .filter(|path| {
            // `card0`, but not its connectors, such as `card0-DP-1`.
            let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("card"));
            number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
        })
        .collect();
    folders.sort();
    folders.iter().filter_map(|folder| SysfsSensor::open(&folder.join("device"), &root.join("proc"))).collect()
}

impl SysfsSensor {
    fn open(device: &Path, proc: &Path) -> Option<Self> {
        let maker = Maker::of(&text(&device.join("vendor"))?)?;
        let event = text(&device.join("uevent"))?;
        let address = event.lines().find_map(|line| line.strip_prefix("PCI_SLOT_NAME="))?.to_ascii_lowercase();
        let name = text(&device.join("product_name")).filter(|name| !name.is_empty()).unwrap_or_else(|| {
            let id = text(&device.join("device")).unwrap_or_default();
            format!("{} card {}", maker.name(), id.trim_start_matches("0x"))
        });
        let hwmon = entries(&device.join("hwmon")).into_iter().find(|folder| folder.join("name").exists());
        Some(Self { maker, name, address, device: device.to_owned(), hwmon, proc: proc.to_owned() })
    }

    /// A value of the card's `hwmon`, in units of its millionth or thousandth.
    fn monitored(&self, file: &str, per_unit: f64) -> Option<f64> {
        Some(number(&self.hwmon.as_ref()?.join(file))? as f64 / per_unit)
    }
}

impl Sensor for SysfsSensor {
    fn read(&self) -> Result<Reading, SensorError> {
        if !self.device.exists() {
            return Err(SensorError::Other(format!("{} at {} is gone", self.name, self.address)));
        }
        let energy_joules = self.monitored("energy1_input", 1e6);
        let at = Instant::now();
        Ok(Reading {
            at,
            energy_joules,
            power_watts: self.monitored("power1_average", 1e6).or_else(|| self.monitored("power1_input", 1e6)),
            power_limit_watts: self.monitored("power1_cap", 1e6).filter(|watts| *watts > 0.0),
            temperature_c: self.monitored("temp1_input", 1e3),
            memory_used_bytes: number(&self.device.join("mem_info_vram_used")),
            memory_total_bytes: number(&self.device.join("mem_info_vram_total")),
            utilisation: number(&self.device.join("gpu_busy_percent")).map(|percent| percent as f64 / 100.0),
            throttle: None,
        })
    }

    /// Only processes that this user may look into; those of others do not show.
    fn processes(&self) -> Result<Vec<Process>, SensorError> {
        let mut all = Vec::new();
        for folder in entries(&self.proc) {
            let pid = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let Some(pid) = pid else { continue };
            // Copies of a descriptor are one client and share its memory.
            let mut clients: BTreeMap<String, Option<u64>> = BTreeMap::new();
            for descriptor in entries(&folder.join("fd")) {
                // Reading every descriptor's file would take long; only the cards' own are looked at.
                let Some(name) = descriptor
                    .file_name()
                    .filter(|_| fs::read_link(&descriptor).is_ok_and(|target| target.starts_with("/dev/dri")))
                else {
                    continue;
                };
                let Some(info) = text(&folder.join("fdinfo").join(name)) else { continue };
                let value = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
                if value("drm-pdev:").is_some_and(|address| address.eq_ignore_ascii_case(&self.address)) {
                    clients.insert(value("drm-client-id:").unwrap_or_default().to_owned(), video_memory(&info));
                }
            }
            if !clients.is_empty() {
                let memory_bytes = clients.into_values().flatten().reduce(u64::saturating_add);
                all.push(Process { pid, memory_bytes });
            }
        }
        all.sort_by_key(|process| process.pid);
        Ok(all)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> &str {
        &self.address
    }

    /// The kernel does not know what Vulkan calls a card, so every card of the maker may be it.
    fn may_be(&self, adapter: &str) -> bool {
        match self.maker {
            Maker::Amd => adapter.contains("AMD") || adapter.contains("Radeon"),
            Maker::Intel => adapter.contains("Intel"),
        }
    }
}

/// Video memory of one client in bytes: what is resident in it, by region (`vram`, `vram0`, `local0`), or amdgpu's
/// older key.
fn video_memory(fdinfo: &str) -> Option<u64> {
    let bytes = |line: &str, key: &str| {
        let (region, value) = line.strip_prefix(key)?.split_once(':')?;
        let mut words = value.split_whitespace();
        let amount: u64 = words.next()?.parse().ok()?;
        let unit = match words.next() {
            None => 1,
            Some("KiB") => 1 << 10,
            Some("MiB") => 1 << 20,
            Some(_) => return None,
        };
        (region.starts_with("vram") || region.starts_with("local")).then(|| amount.saturating_mul(unit))
    };
    let sum = |key: &str| fdinfo.lines().filter_map(|line| bytes(line, key)).reduce(u64::saturating_add);
    sum("drm-resident-").or_else(|| sum("drm-memory-"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    all.sort();
    all
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::energy::CardMeter;
    use std::{os::unix::fs::symlink, time::Duration};
    use tempfile::TempDir;

    /// Writes files below `root`; text of a file per line.
    fn tree(root: &TempDir, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{content}\n")).unwrap();
        }
    }

    const RADEON: [(&str, &str); 11] = [
        ("sys/class/drm/card1/device/vendor", "0x1002"),
        ("sys/class/drm/card1/device/device", "0x744c"),
        ("sys/class/drm/card1/device/uevent", "DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_SLOT_NAME=0000:03:00.0"),
        ("sys/class/drm/card1/device/hwmon/hwmon4/name", "amdgpu"),
        ("sys/class/drm/card1/device/hwmon/hwmon4/power1_average", "213000000"),
        ("sys/class/drm/card1/device/hwmon/hwmon4/power1_cap", "303000000"),
        ("sys/class/drm/card1/device/hwmon/hwmon4/temp1_input", "61500"),
        ("sys/class/drm/card1/device/gpu_busy_percent", "97"),
        ("sys/class/drm/card1/device/mem_info_vram_used", "1073741824"),
        ("sys/class/drm/card1/device/mem_info_vram_total", "25753026560"),
        ("sys/class/drm/card1-DP-1/status", "connected"),
    ];

    #[test]
    fn a_radeon_is_read_from_its_drivers_files() {
        let root = tempfile::tempdir().unwrap();
        tree(&root, &RADEON);
        let cards = cards(root.path());
        assert_eq!(cards.len(), 1);
        let card = &cards[0];
        assert_eq!((card.name(), card.address()), ("AMD card 744c", "0000:03:00.0"));
        assert!(
            card.may_be("AMD Radeon RX 7900 XTX (RADV NAVI31)") && !card.may_be("llvmpipe (LLVM 15.0.6, 256 bits)")
        );
        let reading = card.read().unwrap();
        let expected = Reading {
            power_watts: Some(213.0),
            power_limit_watts: Some(303.0),
            temperature_c: Some(61.5),
            memory_used_bytes: Some(1 << 30),
            memory_total_bytes: Some(25_753_026_560),
            utilisation: Some(0.97),
            ..Reading::empty(reading.at)
        };
        assert_eq!(reading, expected);

        // Newer kernels have power1_input instead; what is no number is not there.
        let hwmon = root.path().join("sys/class/drm/card1/device/hwmon/hwmon4");
        fs::remove_file(hwmon.join("power1_average")).unwrap();
        fs::write(hwmon.join("power1_input"), "45000000\n").unwrap();
        fs::write(hwmon.join("temp1_input"), "unknown\n").unwrap();
        let reading = card.read().unwrap();
        assert_eq!((reading.power_watts, reading.temperature_c), (Some(45.0), None));

        fs::remove_dir_all(root.path().join("sys/class/drm/card1")).unwrap();
        let gone = card.read().unwrap_err();
        assert!(gone.to_string().contains("0000:03:00.0 is gone"), "{gone}");
    }

    #[test]
    fn a_radeon_without_a_counter_is_metered_by_samples_and_a_silent_card_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        tree(&root, &RADEON);
        tree(
            &root,
            &[
                ("sys/class/drm/card0/device/vendor", "0x8086"),
                ("sys/class/drm/card0/device/device", "0x4680"),
                ("sys/class/drm/card0/device/uevent", "PCI_SLOT_NAME=0000:00:02.0"),
            ],
        );
        let mut cards = cards(root.path());
        let radeon = CardMeter::new(Box::new(cards.remove(1)));
        let silent = CardMeter::new(Box::new(cards.remove(0)));
        let (job, unseen) = (radeon.start(), silent.start());
        std::thread::sleep(Duration::from_millis(400));
        let (metered, unmeasured) = (job.finish(None), unseen.finish(None));
        match metered.meter.energy_joules {
            Some(joules) => {
                let seconds = metered.meter.wall_ms as f64 / 1e3;
                assert!((joules - 213.0 * seconds).abs() < 2.13 && metered.meter.measured, "{metered:?}");
            }
            // A machine too busy to look twice a second.
            None => assert!(metered.longest_gap > crate::shares::MAX_SAMPLE_GAP, "{metered:?}"),
        }
        assert!(!unmeasured.meter.measured && unmeasured.meter.energy_joules.is_none(), "{unmeasured:?}");
    }

    #[test]
    fn an_arc_card_counts_its_energy() {
        let root = tempfile::tempdir().unwrap();
        tree(
            &root,
            &[
                ("sys/class/drm/card0/device/vendor", "0x8086"),
                ("sys/class/drm/card0/device/device", "0x56a0"),
                ("sys/class/drm/card0/device/uevent", "DRIVER=i915\nPCI_SLOT_NAME=0000:03:00.0"),
                ("sys/class/drm/card0/device/hwmon/hwmon2/name", "i915"),
                ("sys/class/drm/card0/device/hwmon/hwmon2/energy1_input", "18446744073709000000"),
            ],
        );
        let cards = cards(root.path());
        assert!(cards[0].may_be("Intel(R) Arc(tm) A770 Graphics (DG2)"));
        assert_eq!(cards[0].read().unwrap().energy_joules, Some(18_446_744_073_709.0));
    }

    #[test]
    fn processes_are_those_with_the_card_open() {
        let root = tempfile::tempdir().unwrap();
        tree(&root, &RADEON);
        let open = |pid: u32, fd: u32, target: &str, info: &str| {
            let folder = root.path().join(format!("proc/{pid}"));
            fs::create_dir_all(folder.join("fd")).unwrap();
            symlink(target, folder.join(format!("fd/{fd}"))).unwrap();
            tree(&root, &[(&format!("proc/{pid}/fdinfo/{fd}"), info)]);
        };
        let client = |id: u32, rest: &str| format!("pos:\t0\ndrm-pdev:\t0000:03:00.0\ndrm-client-id:\t{id}\n{rest}");
        let both = "drm-memory-vram:\t9 KiB\ndrm-resident-vram:\t2 MiB\ndrm-resident-gtt:\t7 MiB";
        open(20, 3, "/dev/dri/renderD128", &client(1, both));
        open(20, 4, "/dev/dri/renderD128", &client(1, both));
        open(20, 5, "/dev/dri/card1", &client(2, "drm-memory-vram:\t512 KiB"));
        open(7, 9, "/dev/dri/renderD128", &client(3, ""));
        open(8, 9, "/home/somebody/file", &client(4, both));
        open(9, 9, "/dev/dri/renderD129", "drm-pdev:\t0000:04:00.0\ndrm-client-id:\t5");
        tree(&root, &[("proc/uptime", "1.0 2.0")]);
        let expected =
            [Process { pid: 7, memory_bytes: None }, Process { pid: 20, memory_bytes: Some((2 << 20) + (512 << 10)) }];
        assert_eq!(cards(root.path())[0].processes().unwrap(), expected);
    }
}
