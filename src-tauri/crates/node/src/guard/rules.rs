//! For what the machine is given back, as the owner set it.

use crate::settings::current;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use tender_base::{Problem, Timestamp};
use tender_host::guard::Limits;
use tender_market::tariff::Tariff;

/// Programs that are no games although they draw, unless set otherwise: desktops, browsers, and runtimes of language
/// models, which their owner starts and stops himself.
pub(crate) const IGNORED: &str = "Xorg, Xwayland, gnome-shell, mutter, kwin_x11, kwin_wayland, plasmashell, sway, \
                                  Hyprland, cosmic-comp, cinnamon, firefox, chrome, chromium, brave, tender-app, \
                                  ollama, llama-server, vllm";

const MINUTE: Duration = Duration::from_secs(60);
const WEEK_MINUTES: u32 = 7 * 24 * 60;

/// The guard's settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    /// What the machine is looked at for.
    pub(crate) limits: Limits,
    /// When to sell.
    pub(crate) hours: Hours,
    /// From the end of a trigger until selling goes on.
    pub(crate) resume: Duration,
}

impl Rules {
    /// From what is stored; what was never set has its default.
    pub(crate) fn read(stored: &BTreeMap<String, Value>) -> Self {
        let value = |key: &str| current(stored, key);
        let flag = |key: &str| value(key).as_bool().unwrap_or_default();
        let whole = |key: &str| value(key).as_u64().unwrap_or_default();
        let float = |key: &str| value(key).as_f64().unwrap_or_default();
        let names = |key: &str| {
            let text = value(key).as_str().unwrap_or_default().to_owned();
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let offset = value("utc_offset_minutes").as_i64().and_then(|minutes| i32::try_from(minutes).ok());
        // What is stored was read when it was set.
        let hours = Hours::read(value("guard.hours").as_str().unwrap_or_default()).unwrap_or(Hours(None));
        Self {
            limits: Limits {
                full_screen: flag("guard.full_screen"),
                programs: names("guard.programs"),
                ignored: names("guard.ignored"),
                program_bytes: whole("guard.program_mib") << 20,
                temperature_c: float("guard.temperature_c"),
                card_watts: float("guard.card_watts"),
                battery: flag("guard.battery"),
                activity: MINUTE * u32::try_from(whole("guard.activity_minutes")).unwrap_or(0),
                metered: flag("guard.metered"),
            },
            hours: hours.ahead_of_utc(offset.unwrap_or_default()),
            resume: Duration::from_secs(whole("guard.resume_seconds").max(1)),
        }
    }
}

/// The hours in which the owner sells; none are all. Kept as a tariff that is 1 in them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hours(Option<Tariff>);

impl Hours {
    /// As an owner writes them: the hours of a tariff without its prices, `22:00-06:00, weekend 00:00-24:00`.
    ///
    /// # Errors
    /// [`tender_base::Code::Invalid`], naming the window that does not read.
    pub(crate) fn read(text: &str) -> Result<Self, Problem> {
        let windows: Vec<String> =
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| format!("{part} 1")).collect();
        if windows.is_empty() {
            return Ok(Self(None));
        }
        Tariff::read(0.0, &windows.join(","), 0).map(Some).map(Self)
    }

    fn ahead_of_utc(mut self, minutes: i32) -> Self {
        if let Some(tariff) = &mut self.0 {
            tariff.utc_offset_minutes = minutes;
        }
        self
    }

    /// Whether there are any: else all hours are.
    pub(crate) fn are_set(&self) -> bool {
        self.0.is_some()
    }

    /// Whether it is one of them.
    pub(crate) fn open(&self, at: Timestamp) -> bool {
        self.0.as_ref().is_none_or(|tariff| tariff.at(at) > 0.5)
    }

    /// The next minute of local time that is one of them, within a week.
    pub(crate) fn opens_after(&self, at: Timestamp) -> Option<Timestamp> {
        let minute = Timestamp::from_millis(at.millis() - at.millis().rem_euclid(60_000));
        (1..=WEEK_MINUTES).map(|n| minute.after(MINUTE * n)).find(|at| self.open(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hours_are_those_of_the_owners_clock() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        assert!(Hours::read("").unwrap().open(at("2026-11-21T03:00:00Z")));
        let hours = Hours::read("22:00-06:00, weekend 00:00-24:00").unwrap().ahead_of_utc(60);
        // 20 November 2026 is a Friday.
        assert!(hours.open(at("2026-11-20T04:59:59Z")) && !hours.open(at("2026-11-20T05:00:00Z")));
        assert!(hours.open(at("2026-11-21T12:00:00Z")));
        assert_eq!(hours.opens_after(at("2026-11-20T12:00:30Z")), Some(at("2026-11-20T21:00:00Z")));
        assert!(Hours::read("22:00-06:00 0.10").is_err() && Hours::read("at night").is_err());
    }

    #[test]
    fn rules_are_read_from_what_is_stored() {
        let rules = Rules::read(&BTreeMap::new());
        assert!(rules.limits.full_screen && rules.limits.battery && !rules.limits.metered && !rules.hours.are_set());
        assert_eq!((rules.resume, rules.limits.activity), (MINUTE, Duration::ZERO));
        assert_eq!(rules.limits.programs, ["gamescope", "wineserver"]);
        assert!(rules.limits.ignored.iter().any(|name| name == "gnome-shell"), "{:?}", rules.limits.ignored);
        let stored = BTreeMap::from([
            ("guard.programs".to_owned(), json!(" doom,, quake ")),
            ("guard.activity_minutes".to_owned(), json!(5)),
            ("guard.program_mib".to_owned(), json!(2)),
        ]);
        let rules = Rules::read(&stored);
        assert_eq!(rules.limits.programs, ["doom", "quake"]);
        assert_eq!((rules.limits.activity, rules.limits.program_bytes), (5 * MINUTE, 2 << 20));
    }
}
