//! The energy sensors, for `tender doctor`.

use crate::{
    checks::{Check, CheckState},
    sensor::{Process, Reading, Sensor, SensorError},
};

const NAME: &str = "energy sensor";

/// Every card with what it reports. Reads them, which takes some milliseconds.
pub(crate) fn check(cards: &[Box<dyn Sensor>]) -> Check {
    if cards.is_empty() {
        return Check::new(
            NAME,
            CheckState::Warn,
            "no card reports its energy, so receipts say that it was not measured",
            "for an NVIDIA card install its driver with nvidia-smi; AMD and Intel cards report on Linux only",
        );
    }
    let looks: Vec<_> = cards.iter().map(|card| (card, card.read(), card.processes())).collect();
    let measures = |reading: &Reading| reading.energy_joules.or(reading.power_watts).is_some();
    let any = looks.iter().any(|(_, reading, _)| reading.as_ref().is_ok_and(measures));
    let lines: Vec<String> =
        looks.iter().map(|(card, reading, processes)| line(card.as_ref(), reading, processes)).collect();
    let twins = cards.iter().enumerate().any(|(i, card)| cards[..i].iter().any(|other| other.may_be(card.name())));
    let (state, remedy) = match (any, twins) {
        (false, _) => {
            (CheckState::Warn, "update the card's driver; until then receipts say that energy was not measured")
        }
        (true, true) => (
            CheckState::Warn,
            "two cards are alike: unless `sensor` is set to the address of the one that works, energy is not measured",
        ),
        (true, false) => (CheckState::Ok, ""),
    };
    Check::new(NAME, state, lines.join("; "), remedy)
}

fn line(
    card: &dyn Sensor,
    reading: &Result<Reading, SensorError>,
    processes: &Result<Vec<Process>, SensorError>,
) -> String {
    let name = format!("{} at {}", card.name(), card.address());
    let reading = match reading {
        Ok(reading) => reading,
        Err(error) => return format!("{name} cannot be read: {error}"),
    };
    let mut facts = Vec::new();
    match (reading.power_watts, reading.power_limit_watts) {
        (Some(watts), Some(limit)) => facts.push(format!("{watts:.0} W of at most {limit:.0} W")),
        (Some(watts), None) => facts.push(format!("{watts:.0} W")),
        (None, _) => {}
    }
    facts.push(match (reading.energy_joules, reading.power_watts) {
        (Some(_), _) => "counts its energy".to_owned(),
        (None, Some(_)) => "has no energy counter and is sampled during jobs".to_owned(),
        (None, None) => "reports neither energy nor power".to_owned(),
    });
    facts.extend(reading.temperature_c.map(|celsius| format!("{celsius:.0} °C")));
    if let Some(words) = reading.throttle.map(|throttle| throttle.words()).filter(|words| !words.is_empty()) {
        facts.push(format!("slowed down since {}", words.join(" and ")));
    }
    if let Ok(processes) = processes {
        let bytes: u64 = processes.iter().filter_map(|process| process.memory_bytes).sum();
        facts.push(match processes.len() {
            0 => "no process uses it".to_owned(),
            1 => format!("1 process uses it ({} MiB)", bytes >> 20),
            n => format!("{n} processes use it ({} MiB)", bytes >> 20),
        });
    }
    format!("{name}: {}", facts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sensor::Throttle, simulated::Card};
    use std::time::Instant;

    fn boxed(card: Card) -> Box<dyn Sensor> {
        Box::new(card)
    }

    #[test]
    fn a_sensor_says_what_it_reports() {
        let reading = Reading {
            energy_joules: Some(5.0),
            power_watts: Some(76.4),
            power_limit_watts: Some(700.0),
            temperature_c: Some(34.0),
            throttle: Some(Throttle::HEAT),
            ..Reading::empty(Instant::now())
        };
        let found = check(&[boxed(Card::scripted([Some(reading)]))]);
        let expected = "scripted at 0000:01:00.0: 76 W of at most 700 W, counts its energy, 34 °C, \
                        slowed down since it is too hot, no process uses it";
        assert_eq!((found.state, found.message.as_str()), (CheckState::Ok, expected));
    }

    #[test]
    fn what_hinders_measuring_is_a_warning_with_a_remedy() {
        let silent = Card::scripted([Some(Reading::empty(Instant::now()))]);
        for (cards, word) in [
            (vec![], "not measured"),
            (vec![boxed(silent)], "neither"),
            (vec![boxed(Card::new("gone", "0000:01:00.0"))], "cannot be read"),
        ] {
            let found = check(&cards);
            assert!(found.state == CheckState::Warn && found.message.contains(word), "{found:?}");
            assert!(!found.remedy.is_empty(), "{found:?}");
        }
        let twins = [boxed(Card::steady(20.0)), boxed(Card::steady(30.0))];
        let found = check(&twins);
        assert!(found.state == CheckState::Warn && found.remedy.contains("`sensor` is set"), "{found:?}");
    }
}
