//! One look at everything that the owner wants to yield to.

use super::{
    battery, card,
    network::Network,
    pace::Paced,
    programs,
    screen::{self, Eyes, Screen},
    state::{Sighting, Trigger},
};
use crate::Sensor;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How often the power supply is asked.
const SUPPLY: Duration = Duration::from_secs(2);
/// How often the network is asked about: it changes when somebody carries the machine elsewhere.
const NETWORK: Duration = Duration::from_secs(10);

/// What the owner wants to yield to. Zero and empty are: not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// A full-screen window in the foreground.
    pub full_screen: bool,
    /// Programs, by name, that are games to the guard.
    pub programs: Vec<String>,
    /// Programs that never are, in the foreground or on the card.
    pub ignored: Vec<String>,
    /// Memory of the card that a program may hold, in bytes.
    pub program_bytes: u64,
    /// Highest temperature of the card, in degrees Celsius.
    pub temperature_c: f64,
    /// Most power of the card, in watts.
    pub card_watts: f64,
    /// The battery.
    pub battery: bool,
    /// Somebody counts as there for so long after keyboard or mouse were used.
    pub activity: Duration,
    /// A network that is paid by volume.
    pub metered: bool,
}

/// What one look found of one trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub trigger: Trigger,
    /// Whether the owner wants it looked for.
    pub on: bool,
    /// Why this machine cannot tell, if it cannot.
    pub unavailable: Option<String>,
    /// It is there: its detail.
    pub present: Option<String>,
    /// What is looked for, or what was found, in a sentence.
    pub detail: String,
}

impl Seen {
    /// A trigger that the owner does not want, or that is looked for elsewhere.
    #[must_use]
    pub fn off(trigger: Trigger) -> Self {
        Self { trigger, on: false, unavailable: None, present: None, detail: String::new() }
    }

    /// A trigger that is looked for: what was found, or why nobody can tell.
    #[must_use]
    pub fn looked(trigger: Trigger, found: Result<Option<String>, String>, detail: String) -> Self {
        let (present, unavailable) = match found {
            Ok(present) => (present, None),
            Err(why) => (None, Some(why)),
        };
        Self { trigger, on: true, unavailable, present, detail }
    }
}

/// Everything that one look found, the strongest trigger first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look(pub Vec<Seen>);

impl Look {
    /// What is there.
    #[must_use]
    pub fn sightings(&self) -> Vec<Sighting> {
        let there = |seen: &Seen| Some(Sighting { trigger: seen.trigger, detail: seen.present.clone()? });
        self.0.iter().filter_map(there).collect()
    }
}

/// Looks again and again; keeps open what is dear to open.
pub struct Watch {
    root: PathBuf,
    eyes: Eyes,
    limits: card::Limits,
    screen: Paced<Result<Screen, String>>,
    running: Paced<Result<Option<String>, String>>,
    card: Paced<CardLook>,
    battery: Paced<Result<bool, String>>,
    network: Network,
    metered: Paced<Result<bool, String>>,
}

/// What the card said.
#[derive(Debug)]
struct CardLook {
    foreign: Result<Option<(String, u64)>, String>,
    heat: Result<(f64, bool), String>,
    power: Result<(f64, bool), String>,
}

impl Default for Watch {
    fn default() -> Self {
        Self::under(Path::new("/"))
    }
}

impl Watch {
    /// With `/proc` and `/sys` under another root.
    fn under(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            eyes: Eyes::default(),
            limits: card::Limits::default(),
            screen: Paced::default(),
            running: Paced::default(),
            card: Paced::default(),
            battery: Paced::default(),
            network: Network::default(),
            metered: Paced::default(),
        }
    }

    /// Looks at everything that is wanted, no more often than `every`, and at the card no more often than `every_card`.
    /// Takes some milliseconds; blocks. `card` is the card that works, or why nobody can tell which or ask it; it is
    /// opened only for a look.
    pub fn look<'a>(
        &mut self,
        limits: &Limits,
        every: Duration,
        every_card: Duration,
        card: impl FnOnce() -> Result<&'a dyn Sensor, &'a str>,
    ) -> Look {
        let of_card = [Trigger::OtherProgram, Trigger::Temperature, Trigger::Power].into_iter();
        let mut all = vec![self.game(limits, every)];
        all.extend(of_card.zip(self.of_card(limits, every_card, card)).map(|(_, seen)| seen));
        all.push(self.battery(limits));
        all.push(self.activity(limits, every));
        all.push(self.metered(limits));
        Look(all)
    }

    fn screen(&mut self, every: Duration) -> &Result<Screen, String> {
        self.screen.get(every, || self.eyes.look())
    }

    fn game(&mut self, limits: &Limits, every: Duration) -> Seen {
        let proc = self.root.join("proc");
        let mut looked_for = Vec::new();
        let mut blind = Vec::new();
        let mut found = None;
        if !limits.programs.is_empty() {
            match self.running.get(every, || programs::running(&proc, &limits.programs)) {
                Ok(running) => {
                    looked_for.push(format!("Looks for {}.", limits.programs.join(", ")));
                    found.clone_from(running);
                }
                Err(why) => blind.push(why.clone()),
            }
        }
        if limits.full_screen {
            match self.screen(every) {
                Ok(Screen { full_screen, .. }) => {
                    looked_for.push(if screen::on_wayland() {
                        "Looks for a full-screen window in the foreground; on Wayland only those of Xwayland are seen."
                            .to_owned()
                    } else {
                        "Looks for a full-screen window in the foreground.".to_owned()
                    });
                    let ignored = |name: &str| programs::named(name, &limits.ignored);
                    let window = full_screen.as_ref().and_then(|(pid, class)| {
                        let name = pid.and_then(|pid| programs::own_name(&proc, pid));
                        let counts = !ignored(class) && !name.as_deref().is_some_and(ignored);
                        counts.then(|| name.unwrap_or_else(|| class.clone()))
                    });
                    found = found.or(window);
                }
                Err(why) => blind.push(format!("full-screen windows are not seen: {why}")),
            }
        }
        if !limits.full_screen && limits.programs.is_empty() {
            return Seen::off(Trigger::Game);
        }
        // With one eye it still looks, and says what it misses.
        let found = if looked_for.is_empty() { Err(blind.join("; ")) } else { Ok(found) };
        let missed = blind.iter().map(|why| format!("Misses some: {why}."));
        let detail: Vec<String> = looked_for.into_iter().chain(missed).collect();
        Seen::looked(Trigger::Game, found, detail.join(" "))
    }

    fn of_card<'a>(
        &mut self,
        limits: &Limits,
        every: Duration,
        sensor: impl FnOnce() -> Result<&'a dyn Sensor, &'a str>,
    ) -> [Seen; 3] {
        let wanted = limits.program_bytes > 0 || limits.temperature_c > 0.0 || limits.card_watts > 0.0;
        if !wanted {
            return [Seen::off(Trigger::OtherProgram), Seen::off(Trigger::Temperature), Seen::off(Trigger::Power)];
        }
        let (proc, history) = (self.root.join("proc"), &mut self.limits);
        let looked = self.card.get(every, || match sensor() {
            Ok(sensor) => look_at_card(sensor, &proc, limits, history),
            Err(why) => CardLook { foreign: Err(why.into()), heat: Err(why.into()), power: Err(why.into()) },
        });
        let mib = |bytes: u64| bytes >> 20;
        let foreign = if limits.program_bytes == 0 {
            Seen::off(Trigger::OtherProgram)
        } else {
            let found = looked.foreign.clone().map(|found| found.map(|(name, b)| format!("{name}, {} MiB", mib(b))));
            let detail = format!("Looks for a program with {} MiB of the card or more.", mib(limits.program_bytes));
            Seen::looked(Trigger::OtherProgram, found, detail)
        };
        let measured = |trigger, read: &Result<(f64, bool), String>, limit: f64, unit: &str| {
            if limit <= 0.0 {
                return Seen::off(trigger);
            }
            let found = read.clone().map(|(now, over)| over.then(|| format!("{now:.0} {unit}, limit {limit:.0}")));
            let detail = match read {
                Ok((now, _)) => format!("{now:.0} {unit} now, limit {limit:.0}."),
                Err(_) => format!("Limit {limit:.0} {unit}."),
            };
            Seen::looked(trigger, found, detail)
        };
        [
            foreign,
            measured(Trigger::Temperature, &looked.heat, limits.temperature_c, "°C"),
            measured(Trigger::Power, &looked.power, limits.card_watts, "W"),
        ]
    }

    fn battery(&mut self, limits: &Limits) -> Seen {
        if !limits.battery {
            return Seen::off(Trigger::Battery);
        }
        let supplies = self.root.join("sys/class/power_supply");
        let found = self.battery.get(SUPPLY, || battery::on_battery(&supplies)).clone();
        let detail = if found == Ok(false) { "The machine is plugged in." } else { "Looks at the power supply." };
        Seen::looked(Trigger::Battery, found.map(|on| on.then(String::new)), detail.to_owned())
    }

    fn metered(&mut self, limits: &Limits) -> Seen {
        if !limits.metered {
            return Seen::off(Trigger::Metered);
        }
        let found = self.metered.get(NETWORK, || self.network.metered()).clone();
        let detail = if found == Ok(false) { "The network is not metered." } else { "Asks NetworkManager." };
        Seen::looked(Trigger::Metered, found.map(|on| on.then(String::new)), detail.to_owned())
    }

    fn activity(&mut self, limits: &Limits, every: Duration) -> Seen {
        if limits.activity.is_zero() {
            return Seen::off(Trigger::Activity);
        }
        let (minutes, most) = (limits.activity.as_secs() / 60, limits.activity);
        let found = match self.screen(every) {
            Ok(Screen { idle_ms: Some(idle), .. }) => {
                Ok((Duration::from_millis(u64::from(*idle)) < most).then(String::new))
            }
            Ok(_) => Err("the X server does not tell when keyboard and mouse were used".to_owned()),
            Err(why) => Err(why.clone()),
        };
        let detail = format!("Somebody counts as there for {minutes} min after keyboard or mouse were used.");
        Seen::looked(Trigger::Activity, found, detail)
    }
}

fn look_at_card(sensor: &dyn Sensor, proc: &Path, limits: &Limits, history: &mut card::Limits) -> CardLook {
    let foreign = match limits.program_bytes {
        0 => Ok(None),
        bytes => card::foreign(sensor, proc, &limits.ignored, bytes),
    };
    let silent = |what: &str| format!("{} does not tell its {what}", sensor.name());
    let (heat, power) = match sensor.read() {
        Ok(reading) => (
            reading.temperature_c.ok_or_else(|| silent("temperature")),
            reading.power_watts.map(|watts| (reading.at, watts)).ok_or_else(|| silent("power")),
        ),
        Err(e) => (Err(e.to_string()), Err(e.to_string())),
    };
    CardLook {
        foreign,
        heat: heat.map(|now| (now, history.too_hot(now, limits.temperature_c))),
        power: power.map(|(at, now): (Instant, f64)| (now, history.too_much(at, now, limits.card_watts))),
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
