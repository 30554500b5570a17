//! What a job costs on this machine, from what its owner states and what was measured of it: the estimate before it
//! runs and the bill after.

use super::{
    OVERHEAD_MS, Running, Throughput,
    internal::{Displaced, Hardware, InternalCost, internal, owned},
};
use crate::{
    breakeven::{Input, presets},
    calibration::Factor,
    number::finite,
    tariff::Tariff,
    why::{Origin, Why},
};
use std::collections::BTreeMap;
use tender_base::{MicroUsd, Problem, Timestamp, Work};

const SOURCE: &str = "docs/economics.md, the cost of running here";

/// The machine as its owner and its sensors describe it.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// Card and power; what is about an API, or about tokens, has no part in the cost of a job here.
    pub card: Input,
    /// What an hour of the machine is rented for, USD; none when it is owned. Never both: a rent contains its owner's
    /// capital, wear and energy.
    pub rent_usd_per_hour: Option<f64>,
    /// What electricity costs, and when.
    pub tariff: Tariff,
    /// Where a field's value comes from, by its name in [`Input`], and `tariff`. What is not in here is assumed.
    pub origins: BTreeMap<&'static str, Origin>,
}

impl Default for Machine {
    /// An owned RTX 4080, of which nothing is known: every figure is assumed.
    fn default() -> Self {
        let card = presets::rtx_4080();
        let tariff = Tariff::flat(card.tariff_usd_per_kwh);
        Self { card, rent_usd_per_hour: None, tariff, origins: BTreeMap::new() }
    }
}

impl Machine {
    /// Where the value of a field comes from.
    #[must_use]
    pub fn origin(&self, field: &str) -> Origin {
        self.origins.get(field).cloned().unwrap_or(Origin::Assumed)
    }

    /// With the card's draw as a sensor read it, watts, what it draws at rest included.
    #[must_use]
    pub fn at_work(mut self, gpu_watts: f64) -> Self {
        self.card.gpu_watts = gpu_watts;
        self.origins.insert("gpu_watts", Origin::Measured);
        self
    }

    /// With the draw at rest as a sensor read it, watts.
    #[must_use]
    pub fn at_rest(mut self, idle_watts: f64) -> Self {
        self.card.idle_watts = idle_watts;
        self.origins.insert("idle_watts", Origin::Measured);
        self
    }

    /// With a plug-in meter's reading of what a watt of the card draws at the wall: it holds the power supply and all
    /// that works with the card.
    #[must_use]
    pub fn at_the_wall(mut self, wall_watts_per_card_watt: f64) -> Self {
        self.card.host_watts = 0.0;
        // No supply gives more than it takes: a reading below the sensor's is the sensor's error.
        self.card.psu_efficiency = (1.0 / wall_watts_per_card_watt).min(1.0);
        self.origins.insert("host_watts", Origin::Measured);
        self.origins.insert("psu_efficiency", Origin::Measured);
        self
    }

    /// Without a card that wears: the processor does the work. A price that the owner stated stays.
    #[must_use]
    pub fn without_card(mut self) -> Self {
        if self.origin("price_usd") != Origin::Stated {
            self.card.price_usd = 0.0;
            self.origins.insert("price_usd", Origin::Computed);
        }
        self
    }

    fn hardware(&self) -> Result<Hardware, Problem> {
        if let Some(usd_per_hour) = self.rent_usd_per_hour {
            return Ok(Hardware::Rented { usd_per_hour });
        }
        // A card at rest draws no more than at work; readings of different days may say otherwise by a watt.
        let idle_watts = self.card.idle_watts.min(self.card.gpu_watts + self.card.host_watts);
        owned(&Input { idle_watts, ..self.card }, self.origin("gpu_watts") == Origin::Measured, self.tariff.clone())
    }

    /// What an hour of work costs that begins now, for the floor of a price.
    ///
    /// # Errors
    /// [`tender_base::Code::Invalid`], naming the field.
    pub fn running(&self, now: Timestamp, opportunity_usd_per_hour: f64) -> Result<Running, Problem> {
        let (watts, watts_measured, wear_usd_per_hour) = match self.hardware()? {
            Hardware::Owned { capital_usd_per_hour, maintenance_usd_per_hour, watts, watts_measured, .. } => {
                (watts, watts_measured, capital_usd_per_hour + maintenance_usd_per_hour)
            }
            Hardware::Rented { usd_per_hour } => (tender_base::units::Watts(0.0), false, usd_per_hour),
        };
        let tariff_usd_per_kwh = self.tariff.at(now);
        Ok(Running { watts, watts_measured, tariff_usd_per_kwh, wear_usd_per_hour, opportunity_usd_per_hour })
    }

    /// What `seconds` of work from `start` on cost.
    ///
    /// # Errors
    /// [`tender_base::Code::Invalid`], naming the field.
    pub fn cost(&self, seconds: f64, start: Timestamp, displaced: &[Displaced]) -> Result<InternalCost, Problem> {
        internal(seconds, start, &self.hardware()?, None, displaced)
    }

    /// How an hour of work comes to what it costs: its parts, one by one.
    ///
    /// # Errors
    /// [`tender_base::Code::Invalid`], naming the field.
    pub fn why(&self, now: Timestamp) -> Result<Vec<Why>, Problem> {
        let card = &self.card;
        match self.hardware()? {
            Hardware::Rented { usd_per_hour } => {
                let rent = Why::new("rent of an hour", usd_per_hour, "USD/h", "rent", SOURCE);
                Ok(vec![rent.with("rent", usd_per_hour, "USD/h", self.origin("rent_usd_per_hour"))])
            }
            Hardware::Owned { capital_usd_per_hour, maintenance_usd_per_hour, watts, .. } => {
                let term = |why: Why, name: &'static str, value: f64, unit: &str| {
                    why.with(name, value, unit, self.origin(name))
                };
                let formula = "(gpu_watts + host_watts − idle_watts) / psu_efficiency × (1 + cooling_overhead)";
                let mut draw = Why::new("draw at the wall", watts.0, "W", formula, "COALESCE eq. 4, measured watts");
                draw = term(draw, "gpu_watts", card.gpu_watts, "W");
                draw = term(draw, "host_watts", card.host_watts, "W");
                draw = term(draw, "idle_watts", card.idle_watts, "W");
                draw = term(draw, "psu_efficiency", card.psu_efficiency, "");
                draw = term(draw, "cooling_overhead", card.cooling_overhead, "");
                let wear = capital_usd_per_hour + maintenance_usd_per_hour;
                let formula = "((P − R·P/(1 + r)ⁿ)·CRF + m·P) / (8,760·u)";
                let mut wear = Why::new("wear of an hour", wear, "USD/h", formula, "annuity, docs/economics.md");
                wear = term(wear, "price_usd", card.price_usd, "USD");
                wear = term(wear, "resale_fraction", card.resale_fraction, "");
                wear = term(wear, "lifetime_years", card.lifetime_years, "years");
                wear = term(wear, "discount_rate", card.discount_rate, "per year");
                wear = term(wear, "maintenance_fraction", card.maintenance_fraction, "of the price per year");
                wear = term(wear, "utilisation", card.utilisation, "");
                let (now_usd, mean) = (self.tariff.at(now), self.tariff.mean());
                let formula = "the price of the window that holds now, else that outside all windows";
                let tariff = Why::new("tariff of this hour", now_usd, "USD/kWh", formula, SOURCE)
                    .with("price outside windows", self.tariff.usd_per_kwh, "USD/kWh", self.origin("tariff"))
                    .with("windows", self.tariff.windows.len() as f64, "", self.origin("tariff"))
                    .with("mean of a week", mean, "USD/kWh", Origin::Computed);
                Ok(vec![draw, wear, tariff])
            }
        }
    }
}

/// What experience says about estimates of such work here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Learned {
    /// Seconds taken over seconds estimated.
    pub time: Factor,
    /// USD spent over what the same time was estimated to cost, USD.
    pub cost: Factor,
}

/// The estimated cost of a job on the own card.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalCost {
    /// Energy, wear and income forgone, rounded up.
    pub micro_usd: MicroUsd,
    /// Expected duration in seconds.
    pub seconds: f64,
    /// Expected energy at the wall in joules; none for a rented machine.
    pub energy_joules: Option<f64>,
    /// Whether both throughput and watts were measured.
    pub measured: bool,
    /// Whether the throughput was measured: only then does the job's end say how good the estimate was.
    pub throughput_measured: bool,
    /// Duration before experience corrected it, seconds.
    pub uncorrected_seconds: f64,
    /// Cost of `seconds` before experience corrected it, USD.
    pub uncorrected_usd: f64,
    /// How each figure came about, the cost first.
    pub why: Vec<Why>,
}

impl LocalCost {
    /// Expected duration in whole milliseconds, rounded up.
    #[must_use]
    pub fn estimated_ms(&self) -> u64 {
        libm::ceil(self.seconds * 1000.0) as u64
    }
}

/// Estimates what `work` costs on this machine if it starts at `start`.
///
/// # Errors
/// [`tender_base::Code::Invalid`], naming the field of the machine that is out of range.
pub fn here(
    work: &Work,
    throughput: &Throughput,
    machine: &Machine,
    learned: Learned,
    displaced: &[Displaced],
    start: Timestamp,
) -> Result<LocalCost, Problem> {
    let kind = work.kind();
    let known = throughput.of(kind);
    let speed = known.unwrap_or_else(|| Throughput::assumed(kind));
    let uncorrected_seconds = OVERHEAD_MS / 1000.0 + work.units() as f64 / speed;
    let seconds = finite("seconds", learned.time.correct(uncorrected_seconds))?;
    let cost = machine.cost(seconds, start, displaced)?;
    let uncorrected_usd = cost.total_usd();
    let usd = finite("cost of running here", learned.cost.correct(uncorrected_usd))?;

    let history = |factor: Factor| if factor.jobs > 0 { Origin::Measured } else { Origin::Assumed };
    let time =
        Why::new("time here", seconds, "s", "(overhead + work / throughput) × ratio", "COALESCE eq. 2, corrected")
            .with("overhead", OVERHEAD_MS / 1000.0, "s", Origin::Assumed)
            .with("work", work.units() as f64, "units", Origin::Computed)
            .with("throughput", speed, "units/s", if known.is_some() { Origin::Measured } else { Origin::Assumed })
            .with("ratio", learned.time.ratio, "", history(learned.time))
            .with("jobs behind the ratio", f64::from(learned.time.jobs), "jobs", Origin::Measured);
    let owner = if machine.rent_usd_per_hour.is_some() { "rent_usd_per_hour" } else { "price_usd" };
    let mut why = vec![learned.cost.why("cost of running here, as experience corrects it", uncorrected_usd, "USD")];
    why.push(cost.why(&machine.origin(owner), &machine.origin("gpu_watts")));
    why.push(time);
    why.extend(machine.why(start)?);
    Ok(LocalCost {
        micro_usd: MicroUsd(libm::ceil(usd * 1e6) as i64),
        seconds,
        energy_joules: cost.energy_joules,
        measured: known.is_some() && machine.origin("gpu_watts") == Origin::Measured,
        throughput_measured: known.is_some(),
        uncorrected_seconds,
        uncorrected_usd,
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::job::Precision;

    fn hour() -> Work {
        Work::Gemm { m: 1000, k: 1000, n: 1800, precision: Precision::F32 }
    }

    fn close(value: f64, golden: f64) {
        assert!((value - golden).abs() <= 1e-9 * golden.abs(), "{value} is not {golden}");
    }

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-20T12:00:00Z").unwrap()
    }

    fn measured() -> Throughput {
        Throughput { gemm: Some(1e6), ..Throughput::default() }
    }

    #[test]
    fn an_hour_of_work_costs_an_hour_and_says_what_it_stands_on() {
        let machine = Machine::default().at_work(320.0);
        let cost = here(&hour(), &measured(), &machine, Learned::default(), &[], now()).unwrap();
        close(cost.seconds, 3600.05);
        // Energy 387 W / 0.9 × $0.17, capital 335.9859/4380, maintenance 35.97/4380 USD an hour.
        let hourly = 0.43 * 0.17 + 335.985_919_172_005_7 / 4_380.0 + 35.97 / 4_380.0;
        assert_eq!(cost.micro_usd, MicroUsd(libm::ceil(hourly / 3600.0 * 3600.05 * 1e6) as i64));
        close(cost.energy_joules.unwrap(), 3600.05 * 430.0);
        assert!(cost.measured && cost.throughput_measured && cost.estimated_ms() == 3_600_050);
        let names: Vec<&str> = cost.why.iter().map(|why| why.name.as_str()).collect();
        assert_eq!(
            names[1..],
            ["cost of running here", "time here", "draw at the wall", "wear of an hour", "tariff of this hour"]
        );
        close(cost.why[1].value, cost.why[0].value);
        let gpu = cost.why[3].inputs.iter().find(|term| term.name == "gpu_watts").unwrap();
        assert_eq!((gpu.value, &gpu.origin), (320.0, &Origin::Measured));
        assert!(!cost.why[4].stands_on_evidence(), "nobody stated what the card cost");

        let assumed = here(&hour(), &Throughput::default(), &machine, Learned::default(), &[], now()).unwrap();
        assert!(!assumed.measured && !assumed.throughput_measured && !assumed.why[2].stands_on_evidence());
        let stated = here(&hour(), &measured(), &Machine::default(), Learned::default(), &[], now()).unwrap();
        assert!(!stated.measured && stated.throughput_measured);
    }

    #[test]
    fn a_rented_hour_is_its_rent_and_a_night_is_cheaper() {
        let rented = Machine { rent_usd_per_hour: Some(0.36), ..Machine::default() };
        let cost = here(&hour(), &measured(), &rented, Learned::default(), &[], now()).unwrap();
        assert_eq!((cost.micro_usd, cost.energy_joules), (MicroUsd(360_005), None));
        close(rented.running(now(), 0.0).unwrap().usd_per_hour(), 0.36);
        let night = Tariff::read(0.3, "22:00-06:00 0.1", 0).unwrap();
        let machine = Machine { tariff: night, ..Machine::default() };
        let at = |hour: &str| machine.running(Timestamp::parse(hour).unwrap(), 0.0).unwrap().usd_per_hour();
        close(at("2026-11-20T12:00:00Z") - at("2026-11-20T23:00:00Z"), 0.43 * 0.2);
        assert_eq!(machine.why(now()).unwrap()[2].value, 0.3);
    }

    #[test]
    fn experience_corrects_time_and_cost_apart_and_the_wall_meter_replaces_what_is_assumed() {
        let (mut time, mut cost) = (Factor::default(), Factor::default());
        time.learn(0.2, 1.0, 2.0).unwrap();
        cost.learn(0.2, 1.0, 0.5).unwrap();
        let plain = here(&hour(), &measured(), &Machine::default(), Learned::default(), &[], now()).unwrap();
        let learned = here(&hour(), &measured(), &Machine::default(), Learned { time, cost }, &[], now()).unwrap();
        close(learned.seconds, 1.2 * plain.seconds);
        close(learned.uncorrected_seconds, plain.seconds);
        close(learned.uncorrected_usd, 1.2 * plain.uncorrected_usd);
        assert_eq!(learned.micro_usd, MicroUsd((0.9 * learned.uncorrected_usd * 1e6).ceil() as i64));
        assert!(learned.why[2].inputs.iter().any(|term| term.name == "ratio" && term.origin == Origin::Measured));

        let machine = Machine::default().at_work(220.0).at_rest(20.0).at_the_wall(1.25);
        let metered = here(&hour(), &measured(), &machine, Learned::default(), &[], now()).unwrap();
        close(metered.energy_joules.unwrap() / metered.seconds, 250.0);
        // A meter that reads less than the sensor, as they do within their errors, stops nothing.
        let low = Machine::default().at_work(220.0).at_rest(20.0).at_the_wall(0.95);
        let low = here(&hour(), &measured(), &low, Learned::default(), &[], now()).unwrap();
        close(low.energy_joules.unwrap() / low.seconds, 200.0);
        let warm = machine.at_work(15.0);
        let none = here(&hour(), &measured(), &warm, Learned::default(), &[], now()).unwrap();
        assert_eq!(none.energy_joules, Some(0.0), "a card that draws less at work than at rest costs no energy");
    }
}
