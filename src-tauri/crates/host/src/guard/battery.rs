//! Whether the machine runs on its battery: `/sys/class/power_supply` (Linux, Documentation/ABI/testing/sysfs-class-power).

use std::{fs, path::Path};

/// Whether it does.
///
/// # Errors
/// Why this machine does not tell.
pub(super) fn on_battery(supplies: &Path) -> Result<bool, String> {
    let entries = fs::read_dir(supplies).map_err(|_| "this system does not tell what powers the machine".to_owned())?;
    let (mut batteries, mut discharging, mut plugged) = (0, false, false);
    for folder in entries.flatten() {
        let value = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap_or_default().trim().to_owned();
        match value("type").as_str() {
            // Of a mouse or a headset: scope is Device.
            "Battery" if value("scope") != "Device" => {
                batteries += 1;
                discharging |= value("status") == "Discharging";
            }
            "Mains" | "USB" => plugged |= value("online") == "1",
            _ => {}
        }
    }
    if batteries == 0 {
        return Err("this machine has no battery".to_owned());
    }
    Ok(discharging && !plugged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_laptop_that_is_unplugged_runs_on_its_battery() {
        let root = tempfile::tempdir().unwrap();
        let write = |supply: &str, file: &str, text: &str| {
            fs::create_dir_all(root.path().join(supply)).unwrap();
            fs::write(root.path().join(supply).join(file), format!("{text}\n")).unwrap();
        };
        write("hid-mouse", "type", "Battery");
        write("hid-mouse", "scope", "Device");
        write("hid-mouse", "status", "Discharging");
        assert_eq!(on_battery(root.path()), Err("this machine has no battery".to_owned()));
        write("BAT0", "type", "Battery");
        write("BAT0", "status", "Discharging");
        write("AC", "type", "Mains");
        write("AC", "online", "0");
        assert_eq!(on_battery(root.path()), Ok(true));
        write("AC", "online", "1");
        assert_eq!(on_battery(root.path()), Ok(false));
        assert!(on_battery(&root.path().join("none")).is_err());
    }
}
