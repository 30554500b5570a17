//! What to ask for work of one's own card: systems.md 42, eq. 7 in one unit.
//!
//! The floor is what a unit of work costs now: energy at this hour's tariff, wear, and the margin of what it
//! displaces. The suggestion adds a margin, follows demand, and stays between the floor and a cap such as what a
//! cloud asks for the same unit. It is per unit of measured work, so that a card held to less power is priced by what
//! it really delivers: slower, but often cheaper by the token.

use crate::{
    confidence::{Z_95, wilson},
    cost::Running,
    number::{finite, not_negative, positive, within},
    price::{Floor, MAX_RATE_MICRO_USD, floor},
    why::{Origin, Why},
};
use serde::{Deserialize, Serialize};
use tender_base::{Code, Problem, Rate, Timestamp, Unit};

/// How sensitive the price is to demand where nobody chose: the paper's code, the paper gives no value.
pub const DEFAULT_SENSITIVITY: f64 = 0.5;

/// Supply and demand, all three in the same unit, such as cards.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    /// Wanted now.
    pub wanted: f64,
    /// Free now; at most `total`.
    pub free: f64,
    /// All there is; above zero.
    pub total: f64,
    /// α of eq. 7, 0 to 1; [`DEFAULT_SENSITIVITY`].
    pub sensitivity: f64,
    /// β of eq. 7: how much harder than usual the task is, above 0; 1 for work that is priced by the unit.
    pub complexity: f64,
}

impl Demand {
    /// Eq. 7 as a factor: (1 + α·(D − S)/T)·β, never below zero.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the field.
    pub fn factor(&self) -> Result<f64, Problem> {
        let total = positive("demand.total", self.total)?;
        let wanted = not_negative("demand.wanted", self.wanted)?;
        let free = within("demand.free", self.free, 0.0, total)?;
        let alpha = within("demand.sensitivity", self.sensitivity, 0.0, 1.0)?;
        let beta = positive("demand.complexity", self.complexity)?;
        finite("demand factor", ((1.0 + alpha * (wanted - free) / total) * beta).max(0.0))
    }
}

/// What a suggestion stands on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Basis {
    /// What an hour of work costs; its tariff that of this hour.
    pub running: Running,
    /// The unit that is priced.
    pub unit: Unit,
    /// Units per second that this machine was measured to do, at the power limit it runs with.
    pub units_per_second: f64,
    /// What to earn on top of the floor, as a fraction of it, 0 to 10.
    pub margin: f64,
    /// Supply and demand; none when nothing is known about them.
    pub demand: Option<Demand>,
    /// Most that can be asked for a unit, micro-USD, such as a cloud's price; none without.
    pub cap_micro_usd_per_unit: Option<f64>,
}

/// What held the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Nothing.
    Free,
    /// Demand would have it below the floor.
    AtFloor,
    /// Margin and demand would have it above the cap.
    AtCap,
    /// The cap is below the floor: at this price nobody buys who can have it for the cap.
    CapBelowFloor,
}

/// A price to ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// For the price list, rounded up to four digits.
    pub rate: Rate,
    /// The same for a second of the card, USD.
    pub usd_per_gpu_second: f64,
    /// The floor.
    pub floor: Floor,
    /// What held it.
    pub held: Held,
    /// How it came about.
    pub why: Why,
}

/// Where the figures of a [`Basis`] come from that nobody measures.
#[derive(Clone, Debug, PartialEq)]
pub struct Origins {
    /// The card's draw.
    pub watts: Origin,
    /// The card's price and life.
    pub wear: Origin,
    /// The margin.
    pub margin: Origin,
    /// The cap.
    pub cap: Origin,
}

/// Suggests a price.
///
/// # Errors
/// [`Code::Invalid`], naming the field, or saying that the price is above what the price list takes.
pub fn suggest(basis: &Basis, origins: &Origins) -> Result<Suggestion, Problem> {
    for (name, value) in [
        ("watts", basis.running.watts.0),
        ("tariff_usd_per_kwh", basis.running.tariff_usd_per_kwh),
        ("wear_usd_per_hour", basis.running.wear_usd_per_hour),
        ("opportunity_usd_per_hour", basis.running.opportunity_usd_per_hour),
    ] {
        not_negative(name, value)?;
    }
    let speed = positive("units_per_second", basis.units_per_second)?;
    let margin = within("margin", basis.margin, 0.0, 10.0)?;
    let floor = floor(speed, &basis.running)
        .ok_or_else(|| Problem::new(Code::Invalid, "units_per_second is no number", "measure the card again"))?;
    let least = finite("floor", floor.micro_usd_per_unit)?;
    let factor = basis.demand.as_ref().map_or(Ok(1.0), Demand::factor)?;
    let wished = finite("price", least * (1.0 + margin) * factor)?;
    let (price, held) = match basis.cap_micro_usd_per_unit {
        Some(cap) if positive("cap_micro_usd_per_unit", cap)? < least => (least, Held::CapBelowFloor),
        Some(cap) if wished > cap => (cap, Held::AtCap),
        _ if wished < least => (least, Held::AtFloor),
        _ => (wished, Held::Free),
    };
    let rate = rate(price, basis.unit, held == Held::AtCap)?;
    let mut why = Why::new(
        "price to ask",
        price,
        "micro-USD per unit",
        "clamp(floor × (1 + margin) × demand, floor, cap); floor = (energy + wear + opportunity)/3600/speed",
        "COALESCE eq. 7 in one unit, clamped: docs/economics.md",
    )
    .with("energy", basis.running.energy_usd_per_hour(), "USD/h", origins.watts.clone())
    .with("wear", basis.running.wear_usd_per_hour, "USD/h", origins.wear.clone())
    .with("opportunity", basis.running.opportunity_usd_per_hour, "USD/h", Origin::Computed)
    .with("speed", speed, "units/s", Origin::Measured)
    .with("margin", margin, "", origins.margin.clone())
    .with("demand", factor, "", if basis.demand.is_some() { Origin::Computed } else { Origin::Assumed });
    if let Some(cap) = basis.cap_micro_usd_per_unit {
        why = why.with("cap", cap, "micro-USD per unit", origins.cap.clone());
    }
    Ok(Suggestion { rate, usd_per_gpu_second: price * speed / 1e6, floor, held, why })
}

/// A price with four digits as a rate: rounded up, so that the floor stays covered; down only from a cap.
fn rate(micro_usd_per_unit: f64, unit: Unit, down: bool) -> Result<Rate, Problem> {
    /// A quadrillion: what a fast card does in minutes is still a unit of its price.
    const MOST_UNITS: u64 = 1_000_000_000_000_000;
    let mut per_units = 1u64;
    while micro_usd_per_unit * (per_units as f64) < 1_000.0 && per_units < MOST_UNITS {
        per_units *= 10;
    }
    let exact = micro_usd_per_unit * per_units as f64;
    let micro_usd = if down { libm::floor(exact) } else { libm::ceil(exact) };
    if micro_usd > MAX_RATE_MICRO_USD as f64 {
        return Err(Problem::new(
            Code::Invalid,
            format!("a unit would cost {micro_usd} micro-USD, a price list takes {MAX_RATE_MICRO_USD} at most"),
            "look at units_per_second: the machine is too slow, or was measured while it did something else",
        ));
    }
    Ok(Rate { micro_usd: micro_usd as u64, per_units, unit })
}

/// A power limit, and what the card was measured to do under it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerPoint {
    /// The limit set, watts.
    pub limit_watts: f64,
    /// The draw at the wall, watts.
    pub wall_watts: f64,
    /// Units per second.
    pub units_per_second: f64,
}

/// What a unit costs at each limit, micro-USD, and the index of the cheapest; of equal ones the first. A card that is
/// waited for is cheapest at the limit where energy and wear together are least, not where it draws least.
///
/// # Errors
/// [`Code::Invalid`], naming the field, or saying that nothing was measured.
pub fn by_power(points: &[PowerPoint], running: &Running) -> Result<(Vec<f64>, usize), Problem> {
    let mut costs = Vec::with_capacity(points.len());
    for point in points {
        let watts = tender_base::units::Watts(positive("wall_watts", point.wall_watts)?);
        let speed = positive("units_per_second", point.units_per_second)?;
        let at = floor(speed, &Running { watts, ..*running });
        costs.push(finite("cost of a unit", at.map_or(f64::NAN, |floor| floor.micro_usd_per_unit))?);
    }
    let best = (0..costs.len()).reduce(|best, i| if costs[i] < costs[best] { i } else { best });
    best.map(|best| (costs, best)).ok_or_else(|| {
        Problem::new(Code::Invalid, "no power limit was measured", "run `tender bench generate` under each limit")
    })
}

/// A day on which the card was offered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfferedDay {
    /// Hours in which it could be bought, 0 to 24.
    pub offered_hours: f64,
    /// Hours that were paid.
    pub paid_hours: f64,
}

/// The days until `until`, UTC, on which the card was offered. What was worked at once is paid once, and a day has no
/// more paid hours than offered ones: a span is noted when it ends, so that some minutes of offering may be missing.
#[must_use]
pub fn offered_days(
    offered: &[(Timestamp, Timestamp)],
    paid: &[(Timestamp, Timestamp)],
    until: Timestamp,
) -> Vec<OfferedDay> {
    const DAY_MS: i64 = 86_400_000;
    let Some(first) = offered.iter().map(|span| span.0.start_of_day().millis()).min() else { return Vec::new() };
    let hours = |spans: &[(Timestamp, Timestamp)], from: i64| {
        let mut cut: Vec<(i64, i64)> = spans
            .iter()
            .map(|(begin, end)| (begin.millis().max(from), end.millis().min(from + DAY_MS)))
            .filter(|(begin, end)| begin < end)
            .collect();
        cut.sort_unstable();
        let (mut covered, mut reached) = (0, i64::MIN);
        for (begin, end) in cut {
            covered += (end - begin.max(reached)).max(0);
            reached = reached.max(end);
        }
        covered as f64 / 3_600_000.0
    };
    let days = (until.millis() - first).max(0) / DAY_MS + 1;
    (0..days)
        .map(|day| {
            let offered_hours = hours(offered, first + day * DAY_MS);
            OfferedDay { offered_hours, paid_hours: hours(paid, first + day * DAY_MS).min(offered_hours) }
        })
        .collect()
}

/// Paid hours to be expected on a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "paid_hours", rename_all = "snake_case")]
pub enum PaidHours {
    /// The history is too short.
    Unknown {
        /// By how much.
        why: String,
    },
    /// As in the past.
    Expected {
        /// Hours a day.
        mean: f64,
        /// Lower end of the 95 % interval.
        low: f64,
        /// Upper end of the 95 % interval.
        high: f64,
        /// Days it stands on.
        days: u32,
    },
}

/// Fewest days from which paid hours are expected: each day of the week twice.
pub const MIN_OFFERED_DAYS: usize = 14;

/// Expects the paid hours of a day like those past. The interval is Wilson's with a day as one observation: the hours
/// of a day depend on one another, and a fraction varies less than a coin, so it is rather too wide than too narrow.
///
/// # Errors
/// [`Code::Invalid`], naming the field of a day that cannot be.
pub fn paid_hours(history: &[OfferedDay]) -> Result<PaidHours, Problem> {
    let (mut offered, mut paid, mut days) = (0.0, 0.0, 0usize);
    for day in history {
        let hours = within("offered_hours", day.offered_hours, 0.0, 24.0)?;
        paid += within("paid_hours", day.paid_hours, 0.0, hours)?;
        offered += hours;
        days += usize::from(hours > 0.0);
    }
    if days < MIN_OFFERED_DAYS {
        let why = format!("the card was offered on {days} days, {MIN_OFFERED_DAYS} are needed");
        return Ok(PaidHours::Unknown { why });
    }
    let per_day = offered / days as f64;
    let share = (paid / offered).clamp(0.0, 1.0);
    let (low, high) = wilson(share, days as f64, Z_95);
    Ok(PaidHours::Expected {
        mean: share * per_day,
        low: low * per_day,
        high: high * per_day,
        days: u32::try_from(days).unwrap_or(u32::MAX),
    })
}

impl PaidHours {
    /// How the mean came about; none when it is unknown.
    #[must_use]
    pub fn why(&self) -> Option<Why> {
        let Self::Expected { mean, low, high, days } = self else { return None };
        let formula = "hours paid / hours offered × hours offered a day; Wilson's interval, a day as one observation";
        Some(
            Why::new("paid hours a day", *mean, "h", formula, "Wilson 1927; docs/economics.md, what to ask")
                .with("days offered", f64::from(*days), "days", Origin::Measured)
                .with("lower end", *low, "h", Origin::Computed)
                .with("upper end", *high, "h", Origin::Computed),
        )
    }

    /// What the days bring beyond the floor, USD a day: mean and both ends; none when the hours are unknown.
    #[must_use]
    pub fn margin_usd(&self, suggestion: &Suggestion, units_per_second: f64) -> Option<[f64; 3]> {
        let floor = suggestion.floor.micro_usd_per_unit * units_per_second / 1e6;
        let hourly = (suggestion.usd_per_gpu_second - floor) * 3_600.0;
        match self {
            Self::Unknown { .. } => None,
            Self::Expected { mean, low, high, .. } => Some([mean * hourly, low * hourly, high * hourly]),
        }
    }
}

#[cfg(test)]
#[path = "asking_tests.rs"]
mod tests;
