//! What a task costs on the own hardware: the paper's equations 1 to 5 with their units put right; systems.md 35 to 40.
//!
//! | paper | here |
//! |---|---|
//! | eq. 1 adds the hardware's hourly price and its depreciation | [`Hardware`] is owned or rented, never both |
//! | eq. 2 multiplies a time by a time | [`seconds`] is work over measured throughput |
//! | eq. 3 charges memory always | only memory that keeps another job out, [`Displaced`] |
//! | eq. 4 takes rated watts as kilowatts | measured watts, kWh, the tariff of the hour |
//! | eq. 5 charges the best job waiting | the margin of jobs that really are displaced, and never more than they bring |

use crate::{
    breakeven::{HOURS_PER_YEAR, Input},
    number::{finite, fraction, not_negative, positive, within},
    tariff::Tariff,
    why::{Origin, Why},
};
use serde::{Deserialize, Serialize};
use tender_base::{Problem, Timestamp, units::Watts};

/// How long a task takes: eq. 2 without its second time. `amount` over `per_second`, both in the same unit: floating
/// point operations for what is bound by arithmetic, bytes moved for what is bound by memory, such as writing text.
///
/// # Errors
/// [`tender_base::Code::Invalid`], naming `work` or `throughput`.
pub fn seconds(amount: f64, per_second: f64) -> Result<f64, Problem> {
    finite("seconds", not_negative("work", amount)? / positive("throughput", per_second)?)
}

/// Where the hardware comes from. The two exclude each other: a rent contains the owner's capital, wear and energy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "hardware", rename_all = "snake_case")]
pub enum Hardware {
    /// Bought: eq. 1's depreciation is capital recovery, and there is no hourly price.
    Owned {
        /// Capital recovery of an active hour, USD; [`owned`] works it out.
        capital_usd_per_hour: f64,
        /// Maintenance of an active hour, USD.
        maintenance_usd_per_hour: f64,
        /// Draw at the wall while it works beyond what it draws waiting, watts.
        watts: Watts,
        /// Whether `watts` comes from a sensor.
        watts_measured: bool,
        /// What electricity costs, and when.
        tariff: Tariff,
    },
    /// Rented: its hourly price is everything.
    Rented {
        /// Price of an hour, USD.
        usd_per_hour: f64,
    },
}

/// Owned hardware from the description of a card: eq. 1's depreciation is its capital recovery over the active hours
/// of a year, 8,760 × utilisation. The energy of waiting is spent anyway and taken off.
///
/// # Errors
/// [`tender_base::Code::Invalid`], naming the field.
pub fn owned(card: &Input, watts_measured: bool, tariff: Tariff) -> Result<Hardware, Problem> {
    let yearly = card.yearly()?;
    let active_hours = HOURS_PER_YEAR * fraction("utilisation", card.utilisation)?;
    let watts = (card.gpu_watts + card.host_watts - card.idle_watts) / card.psu_efficiency;
    Ok(Hardware::Owned {
        capital_usd_per_hour: finite("capital_usd_per_hour", yearly.capital_usd / active_hours)?,
        maintenance_usd_per_hour: finite("maintenance_usd_per_hour", yearly.maintenance_usd / active_hours)?,
        watts: Watts(watts * (1.0 + card.cooling_overhead)),
        watts_measured,
        tariff,
    })
}

/// A job that cannot run, or comes late, because this one does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Displaced {
    /// What it would bring, less what it would cost, USD.
    pub margin_usd: f64,
    /// How long it would hold the card, seconds.
    pub seconds: f64,
}

/// A job that runs beside this one but for the memory that this one takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptOut {
    /// Bytes that this task holds: weights, cache of keys and values, activations.
    pub bytes: f64,
    /// Bytes of the card.
    pub of_bytes: f64,
    /// What an hour of the whole memory would bring to the job kept out, USD.
    pub usd_per_hour: f64,
}

/// Eq. 1: what a task costs here, USD, by component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InternalCost {
    /// How long it takes.
    pub seconds: f64,
    /// Rent, eq. 2; zero for owned hardware.
    pub rent_usd: f64,
    /// Capital recovery; zero for rented hardware.
    pub depreciation_usd: f64,
    /// Maintenance; zero for rented hardware.
    pub maintenance_usd: f64,
    /// Memory that keeps another job out, eq. 3.
    pub memory_usd: f64,
    /// Energy at the tariff of the hour, eq. 4; zero for rented hardware.
    pub energy_usd: f64,
    /// Margin of the jobs displaced, eq. 5.
    pub opportunity_usd: f64,
    /// Energy in joules; none for rented hardware, whose watts are its owner's.
    pub energy_joules: Option<f64>,
}

impl InternalCost {
    /// All components, USD.
    #[must_use]
    pub fn total_usd(&self) -> f64 {
        self.rent_usd
            + self.depreciation_usd
            + self.maintenance_usd
            + self.memory_usd
            + self.energy_usd
            + self.opportunity_usd
    }

    /// How the total came about; `owner` and `watts` say where the figures that only the owner knows, and the draw, come
    /// from.
    #[must_use]
    pub fn why(&self, owner: &Origin, watts: &Origin) -> Why {
        Why::new(
            "cost of running here",
            self.total_usd(),
            "USD",
            "rent or depreciation + maintenance + energy, and memory and income of jobs displaced",
            "COALESCE eq. 1 to 5, corrected: docs/economics.md",
        )
        .with("time", self.seconds, "s", Origin::Computed)
        .with("rent", self.rent_usd, "USD", owner.clone())
        .with("depreciation", self.depreciation_usd, "USD", owner.clone())
        .with("maintenance", self.maintenance_usd, "USD", owner.clone())
        .with("energy", self.energy_usd, "USD", watts.clone())
        .with("memory", self.memory_usd, "USD", Origin::Computed)
        .with("opportunity", self.opportunity_usd, "USD", Origin::Computed)
    }
}

/// Eq. 1: the cost of `seconds` of work here from `start` on.
///
/// # Errors
/// [`tender_base::Code::Invalid`], naming the field.
pub fn internal(
    seconds: f64,
    start: Timestamp,
    hardware: &Hardware,
    kept_out: Option<&KeptOut>,
    displaced: &[Displaced],
) -> Result<InternalCost, Problem> {
    not_negative("seconds", seconds)?;
    let hours = seconds / 3_600.0;
    let mut cost = InternalCost {
        seconds,
        rent_usd: 0.0,
        depreciation_usd: 0.0,
        maintenance_usd: 0.0,
        memory_usd: kept_out.map_or(Ok(0.0), |kept_out| memory_usd(hours, kept_out))?,
        energy_usd: 0.0,
        opportunity_usd: opportunity_usd(seconds, displaced)?,
        energy_joules: None,
    };
    match hardware {
        Hardware::Owned { capital_usd_per_hour, maintenance_usd_per_hour, watts, tariff, .. } => {
            tariff.check()?;
            let watts = Watts(not_negative("watts", watts.0)?);
            cost.depreciation_usd = hours * not_negative("capital_usd_per_hour", *capital_usd_per_hour)?;
            cost.maintenance_usd = hours * not_negative("maintenance_usd_per_hour", *maintenance_usd_per_hour)?;
            cost.energy_usd = tariff.usd(start, seconds, watts);
            cost.energy_joules = Some(seconds * watts.0);
        }
        Hardware::Rented { usd_per_hour } => {
            cost.rent_usd = hours * not_negative("usd_per_hour", *usd_per_hour)?;
        }
    }
    finite("cost of running here", cost.total_usd())?;
    Ok(cost)
}

/// Eq. 3 in hours, and only for memory that keeps another job out: share × hours × what the memory would bring.
fn memory_usd(hours: f64, kept_out: &KeptOut) -> Result<f64, Problem> {
    let of = positive("of_bytes", kept_out.of_bytes)?;
    let share = within("bytes", kept_out.bytes, 0.0, of)? / of;
    Ok(share * hours * not_negative("usd_per_hour", kept_out.usd_per_hour)?)
}

/// Eq. 5: the best margin per second among the jobs displaced, for as long as this one takes. As printed it grows
/// without bound with a long task; here it is never more than what the displaced jobs bring together, and a job that
/// would lose money costs nothing to displace.
///
/// # Errors
/// [`tender_base::Code::Invalid`], naming the field.
pub fn opportunity_usd(seconds: f64, displaced: &[Displaced]) -> Result<f64, Problem> {
    let (mut best, mut all) = (0.0f64, 0.0);
    for job in displaced {
        let margin = finite("margin_usd", job.margin_usd)?.max(0.0);
        best = best.max(margin / positive("displaced.seconds", job.seconds)?);
        all += margin;
    }
    Ok((best * seconds).min(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noon() -> Timestamp {
        Timestamp::from_millis(1_795_262_400_000)
    }

    fn close(value: f64, golden: f64) {
        assert!((value - golden).abs() <= 1e-9 * golden.abs(), "{value} is not {golden}");
    }

    fn card() -> Hardware {
        let card = crate::breakeven::presets::preset("seed 004").unwrap().with_every_cost;
        owned(&card, true, Tariff::flat(0.17)).unwrap()
    }

    #[test]
    fn the_paper_s_task_takes_two_minutes_not_two_hours() {
        // Eq. 2: 2.8e15 FLOP at 75 % of 29.77 TFLOP/s.
        let t = seconds(2.8e15, 29.77e12 * 0.75).unwrap();
        assert!((t - 125.405_889_6).abs() < 1e-6, "{t}");
        // Eq. 4 in kW: 320 W for that long at $0.08.
        let hardware = Hardware::Owned {
            capital_usd_per_hour: 12_000.0 / (3.0 * 8_760.0),
            maintenance_usd_per_hour: 0.0,
            watts: Watts(320.0),
            watts_measured: false,
            tariff: Tariff::flat(0.08),
        };
        let cost = internal(t, noon(), &hardware, None, &[]).unwrap();
        close(cost.energy_usd, t / 3_600.0 * 0.32 * 0.08);
        close(cost.total_usd(), t / 3_600.0 * (0.0256 + 12_000.0 / 26_280.0));
        assert!(cost.total_usd() < 0.02, "the paper reckons with $118");
        // Writing text is bound by memory: 4.92 GB a token at 716.8 GB/s.
        close(1.0 / seconds(4.92e9, 716.8e9).unwrap(), 145.691_056_910_569_1);
    }

    #[test]
    fn an_owned_hour_and_a_rented_hour_have_no_component_in_common() {
        let owned = internal(3_600.0, noon(), &card(), None, &[]).unwrap();
        close(owned.depreciation_usd, 335.985_919_172_005_7 / 4_380.0);
        close(owned.maintenance_usd, 35.97 / 4_380.0);
        // The golden slope without opportunity is the energy that a year of work adds.
        close(owned.energy_usd, 640.356 / 8_760.0);
        close(owned.energy_joules.unwrap(), 3_600.0 * 387.0 / 0.9);
        assert_eq!(owned.rent_usd, 0.0);
        assert!(owned.why(&Origin::Stated, &Origin::Measured).stands_on_evidence());
        let rented = internal(1_800.0, noon(), &Hardware::Rented { usd_per_hour: 0.5 }, None, &[]).unwrap();
        assert_eq!((rented.total_usd(), rented.rent_usd), (0.25, 0.25));
        assert_eq!(rented.energy_joules, None);
    }

    #[test]
    fn only_what_is_displaced_is_charged_and_never_more_than_it_brings() {
        assert_eq!(opportunity_usd(60.0, &[]).unwrap(), 0.0);
        let queue = [
            Displaced { margin_usd: 2.0, seconds: 100.0 },
            Displaced { margin_usd: 1.0, seconds: 10.0 },
            Displaced { margin_usd: -5.0, seconds: 10.0 },
        ];
        close(opportunity_usd(5.0, &queue).unwrap(), 0.5);
        close(opportunity_usd(1e6, &queue).unwrap(), 3.0);
        let kept_out = KeptOut { bytes: 4e9, of_bytes: 16e9, usd_per_hour: 0.4 };
        let cost = internal(1_800.0, noon(), &Hardware::Rented { usd_per_hour: 0.0 }, Some(&kept_out), &queue).unwrap();
        close(cost.memory_usd, 0.05);
        close(cost.total_usd(), 3.05);
    }

    #[test]
    fn a_wrong_field_is_named() {
        let named = |result: Result<InternalCost, Problem>| result.unwrap_err().message;
        assert!(named(internal(f64::NAN, noon(), &card(), None, &[])).contains("seconds"));
        assert!(
            named(internal(1.0, noon(), &Hardware::Rented { usd_per_hour: -1.0 }, None, &[])).contains("usd_per_hour")
        );
        let too_large = KeptOut { bytes: 17e9, of_bytes: 16e9, usd_per_hour: 0.4 };
        assert!(named(internal(1.0, noon(), &card(), Some(&too_large), &[])).contains("bytes"));
        let never = Displaced { margin_usd: 1.0, seconds: 0.0 };
        assert!(named(internal(1.0, noon(), &card(), None, &[never])).contains("displaced.seconds"));
        assert!(seconds(1.0, 0.0).unwrap_err().message.contains("throughput"));
        let idle = Input { utilisation: 0.0, ..crate::breakeven::presets::preset("seed 004").unwrap().with_every_cost };
        assert!(owned(&idle, true, Tariff::flat(0.1)).unwrap_err().message.contains("utilisation"));
    }

    proptest! {
        /// The components are the total, twice the work costs twice as much without a queue, and a dearer tariff
        /// costs no less.
        #[test]
        fn components_are_conserved(seconds in 0.0..1e6f64, watts in 0.0..1000.0f64, tariff in 0.0..1.0f64, margin in 0.0..10.0f64) {
            let hardware = |tariff: f64| Hardware::Owned {
                capital_usd_per_hour: 0.08, maintenance_usd_per_hour: 0.01, watts: Watts(watts),
                watts_measured: true, tariff: Tariff::flat(tariff),
            };
            let queue = [Displaced { margin_usd: margin, seconds: 60.0 }];
            let cost = internal(seconds, noon(), &hardware(tariff), None, &queue).unwrap();
            let parts = cost.depreciation_usd + cost.maintenance_usd + cost.energy_usd + cost.opportunity_usd;
            prop_assert!((parts - cost.total_usd()).abs() <= 1e-12 * parts.max(1.0));
            prop_assert!(cost.opportunity_usd <= margin);
            let once = internal(seconds, noon(), &hardware(tariff), None, &[]).unwrap().total_usd();
            let twice = internal(2.0 * seconds, noon(), &hardware(tariff), None, &[]).unwrap().total_usd();
            prop_assert!((twice - 2.0 * once).abs() <= 1e-9 * twice.max(1.0));
            let dearer = internal(seconds, noon(), &hardware(tariff * 1.5), None, &[]).unwrap().total_usd();
            prop_assert!(dearer >= once);
        }
    }
}
