//! The price of electricity by the hour: systems.md 38, eq. 4 with a time-of-use tariff.

use crate::{
    cost::energy_usd,
    number::{not_negative, within},
};
use serde::{Deserialize, Serialize};
use tender_base::{Code, Problem, Timestamp, units::Watts};

/// Which days a [`Window`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Days {
    /// All.
    Every,
    /// Monday to Friday.
    Weekdays,
    /// Saturday and Sunday.
    Weekend,
}

/// A part of the day with its own price.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// On which days it begins.
    pub days: Days,
    /// Its first minute of the day in local time, 0 to 1439.
    pub from_minute: u32,
    /// The minute at which it ends, 1 to 1440; at or before `from_minute` it ends on the next day.
    pub to_minute: u32,
    /// Price in it, USD/kWh.
    pub usd_per_kwh: f64,
}

/// What a kilowatt-hour costs, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// Price outside every window, USD/kWh.
    pub usd_per_kwh: f64,
    /// Windows with another price; the first that holds counts.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Local time ahead of UTC, minutes, −840 to 840.
    #[serde(default)]
    pub utc_offset_minutes: i32,
}

const DAY_MINUTES: i64 = 1_440;
const MINUTE_MS: i64 = 60_000;
/// Most windows: two a day for each kind of day and a few to spare.
const MAX_WINDOWS: usize = 16;

impl Tariff {
    /// The same price at every hour.
    #[must_use]
    pub fn flat(usd_per_kwh: f64) -> Self {
        Self { usd_per_kwh, windows: Vec::new(), utc_offset_minutes: 0 }
    }

    /// A tariff with its windows as an owner writes them: `22:00-06:00 0.10, weekend 00:00-24:00 0.12`, in local time,
    /// USD/kWh; none when empty.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the window that does not read, or the field that is out of range.
    pub fn read(usd_per_kwh: f64, windows: &str, utc_offset_minutes: i32) -> Result<Self, Problem> {
        let parts = windows.split(',').map(str::trim).filter(|part| !part.is_empty());
        let windows = parts.map(Window::read).collect::<Result<_, _>>()?;
        let tariff = Self { usd_per_kwh, windows, utc_offset_minutes };
        tariff.check()?;
        Ok(tariff)
    }

    /// Whether it can be reckoned with.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the field.
    pub fn check(&self) -> Result<(), Problem> {
        not_negative("tariff.usd_per_kwh", self.usd_per_kwh)?;
        within("tariff.utc_offset_minutes", f64::from(self.utc_offset_minutes), -840.0, 840.0)?;
        if self.windows.len() > MAX_WINDOWS {
            let message = format!("tariff.windows has {} windows", self.windows.len());
            return Err(Problem::new(Code::Invalid, message, format!("give at most {MAX_WINDOWS}")));
        }
        for (i, window) in self.windows.iter().enumerate() {
            let name = |field| format!("tariff.windows[{i}].{field}");
            not_negative(&name("usd_per_kwh"), window.usd_per_kwh)?;
            within(&name("from_minute"), f64::from(window.from_minute), 0.0, 1_439.0)?;
            within(&name("to_minute"), f64::from(window.to_minute), 1.0, 1_440.0)?;
        }
        Ok(())
    }

    /// The price at a moment, USD/kWh.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> f64 {
        self.in_minute((at.millis() + i64::from(self.utc_offset_minutes) * MINUTE_MS).div_euclid(MINUTE_MS))
    }

    /// The mean price of a week, USD/kWh: what a card that works at all hours pays.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.windows.is_empty() {
            return self.usd_per_kwh;
        }
        (0..7 * DAY_MINUTES).map(|minute| self.in_minute(minute)).sum::<f64>() / (7 * DAY_MINUTES) as f64
    }

    /// What `seconds` of work at `watts` cost from `start` on, USD: minute by minute, exact at the ends. Beyond a week
    /// the weeks are all alike.
    #[must_use]
    pub fn usd(&self, start: Timestamp, seconds: f64, watts: Watts) -> f64 {
        const WEEK_SECONDS: f64 = 7.0 * 86_400.0;
        let weeks = libm::floor(seconds / WEEK_SECONDS);
        let mut left = seconds - weeks * WEEK_SECONDS;
        let mut usd = if weeks > 0.0 { energy_usd(watts, weeks * WEEK_SECONDS, self.mean()) } else { 0.0 };
        let local = start.millis() + i64::from(self.utc_offset_minutes) * MINUTE_MS;
        let mut minute = local.div_euclid(MINUTE_MS);
        let mut room = 60.0 - local.rem_euclid(MINUTE_MS) as f64 / 1000.0;
        while left > 0.0 {
            let now = left.min(room);
            usd += energy_usd(watts, now, self.in_minute(minute));
            left -= now;
            minute += 1;
            room = 60.0;
        }
        usd
    }

    /// The price in a minute of local time, counted from the start of 1 January 1970.
    fn in_minute(&self, minute: i64) -> f64 {
        let (day, of_day) = (minute.div_euclid(DAY_MINUTES), minute.rem_euclid(DAY_MINUTES));
        self.windows
            .iter()
            .find(|window| {
                let (from, to) = (i64::from(window.from_minute), i64::from(window.to_minute));
                if from < to {
                    window.days.hold(day) && (from..to).contains(&of_day)
                } else {
                    window.days.hold(day) && of_day >= from || window.days.hold(day - 1) && of_day < to
                }
            })
            .map_or(self.usd_per_kwh, |window| window.usd_per_kwh)
    }
}

impl Days {
    /// `day` counts from 1 January 1970, a Thursday.
    fn hold(self, day: i64) -> bool {
        let weekend = (day + 3).rem_euclid(7) >= 5;
        match self {
            Self::Every => true,
            Self::Weekdays => !weekend,
            Self::Weekend => weekend,
        }
    }
}

impl Window {
    fn read(text: &str) -> Result<Self, Problem> {
        let refused = || {
            let message = format!("tariff window: {text:?} is none");
            Problem::new(Code::Invalid, message, "write it as `22:00-06:00 0.10` or `weekend 00:00-24:00 0.12`")
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, hours, price) = match words[..] {
            [hours, price] => (Days::Every, hours, price),
            ["every", hours, price] => (Days::Every, hours, price),
            ["weekdays", hours, price] => (Days::Weekdays, hours, price),
            ["weekend", hours, price] => (Days::Weekend, hours, price),
            _ => return Err(refused()),
        };
        let (from, to) = hours.split_once('-').ok_or_else(refused)?;
        let minute = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
            (hour <= 24 && minute < 60 && hour * 60 + minute <= 1_440).then_some(hour * 60 + minute)
        };
        Ok(Self {
            days,
            from_minute: minute(from).ok_or_else(refused)?,
            to_minute: minute(to).ok_or_else(refused)?,
            usd_per_kwh: price.parse().map_err(|_| refused())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Night from 22:00 to 06:00 at $0.10, at weekends all day at $0.12, else $0.30; an hour ahead of UTC.
    fn tariff() -> Tariff {
        let night = Window { days: Days::Every, from_minute: 1_320, to_minute: 360, usd_per_kwh: 0.10 };
        let weekend = Window { days: Days::Weekend, from_minute: 0, to_minute: 1_440, usd_per_kwh: 0.12 };
        Tariff { usd_per_kwh: 0.30, windows: vec![night, weekend], utc_offset_minutes: 60 }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn the_price_follows_the_local_hour_and_the_day_of_the_week() {
        // 20 November 2026 is a Friday.
        for (time, price) in [
            ("2026-11-20T04:59:59Z", 0.10),
            ("2026-11-20T05:00:00Z", 0.30),
            ("2026-11-20T20:59:59Z", 0.30),
            ("2026-11-20T21:00:00Z", 0.10),
            ("2026-11-21T12:00:00Z", 0.12),
            ("2026-11-21T22:00:00Z", 0.10),
            ("2026-11-23T12:00:00Z", 0.30),
        ] {
            assert_eq!(tariff().at(at(time)), price, "{time}");
        }
        let mean = (5.0 * (8.0 * 0.10 + 16.0 * 0.30) + 2.0 * (8.0 * 0.10 + 16.0 * 0.12)) / 168.0;
        assert!((tariff().mean() - mean).abs() < 1e-12);
    }

    #[test]
    fn a_job_across_the_boundary_pays_both_prices() {
        // Half an hour of 1 kW before 22:00 local time and half an hour after.
        let usd = tariff().usd(at("2026-11-20T20:30:00Z"), 3_600.0, Watts(1_000.0));
        assert!((usd - (0.5 * 0.30 + 0.5 * 0.10)).abs() < 1e-12, "{usd}");
        let odd = tariff().usd(at("2026-11-20T20:59:59.500Z"), 1.0, Watts(3_600_000.0));
        assert!((odd - (0.5 * 0.30 + 0.5 * 0.10)).abs() < 1e-9, "{odd}");
        let weeks = tariff().usd(at("2026-11-20T20:30:00Z"), 1000.0 * 7.0 * 86_400.0, Watts(1_000.0));
        assert!((weeks - 168_000.0 * tariff().mean()).abs() < 1e-6, "{weeks}");
    }

    #[test]
    fn windows_read_as_an_owner_writes_them() {
        let read = Tariff::read(0.30, "22:00-06:00 0.10, weekend 00:00-24:00 0.12", 60).unwrap();
        assert_eq!(read, tariff());
        assert_eq!(Tariff::read(0.17, "", 0).unwrap(), Tariff::flat(0.17));
        for wrong in ["22:00 0.1", "22-06 0.1", "sunday 00:00-24:00 0.1", "24:30-06:00 0.1", "00:00-06:00 cheap", "x"] {
            let problem = Tariff::read(0.3, wrong, 0).unwrap_err();
            assert!(problem.message.contains(wrong), "{problem}");
        }
        for wrong in ["00:00-06:00 -0.1", "00:00-00:00 0.1", "00:00-06:00 NaN"] {
            assert!(Tariff::read(0.3, wrong, 0).unwrap_err().message.contains("tariff.windows[0]"), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_window_is_named() {
        assert_eq!(tariff().check(), Ok(()));
        let mut wrong = tariff();
        wrong.windows[1].usd_per_kwh = f64::NAN;
        assert!(wrong.check().unwrap_err().message.contains("tariff.windows[1].usd_per_kwh"));
        let mut wrong = tariff();
        wrong.windows[0].from_minute = 1_440;
        assert!(wrong.check().unwrap_err().message.contains("tariff.windows[0].from_minute"));
        assert!(Tariff::flat(-0.1).check().unwrap_err().message.contains("tariff.usd_per_kwh"));
        let far = Tariff { utc_offset_minutes: 900, ..Tariff::flat(0.1) };
        assert!(far.check().unwrap_err().message.contains("utc_offset_minutes"));
    }

    proptest! {
        /// Work in two parts costs what it costs in one, and no less than at the cheapest hour.
        #[test]
        fn parts_sum_to_the_whole(start in 0..2_000_000_000i64, first in 0..100_000u32, second in 0..100_000u32) {
            let start = Timestamp::from_millis(start * 1000);
            let middle = start.after(std::time::Duration::from_secs(u64::from(first)));
            let (a, b) = (f64::from(first), f64::from(second));
            let whole = tariff().usd(start, a + b, Watts(500.0));
            let parts = tariff().usd(start, a, Watts(500.0)) + tariff().usd(middle, b, Watts(500.0));
            prop_assert!((whole - parts).abs() < 1e-9);
            prop_assert!(whole >= energy_usd(Watts(500.0), a + b, 0.10) - 1e-9);
            prop_assert!(whole <= energy_usd(Watts(500.0), a + b, 0.30) + 1e-9);
            let flat = Tariff::flat(0.2).usd(start, a, Watts(500.0));
            prop_assert!((flat - energy_usd(Watts(500.0), a, 0.2)).abs() < 1e-9);
        }
    }
}
