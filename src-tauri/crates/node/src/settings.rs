//! Everything the owner can set, in one table: key, default, meaning and what is accepted. The command line, the
//! UI and the node read the same table.

mod known;

pub use known::KNOWN;

use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf};
use tender_base::{Code, JobKind, MicroUsd, Problem, Rate};
use tender_host::WallLine;
use tender_market::{cost::here::Machine, explore::Policy, price::PriceList, tariff::Tariff, why::Origin};

/// The settings as the node uses them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What the owner calls this node.
    pub name: String,
    /// The owner wants to sell.
    pub selling: bool,
    /// The switch that stops everything.
    pub stopped: bool,
    /// Selling pauses until this time (RFC 3339), or not at all.
    pub paused_until: Option<tender_base::Timestamp>,
    /// Nothing new is taken; when what runs is done, selling pauses.
    pub finishing: bool,
    /// For what the machine is given back.
    pub(crate) guard: crate::guard::Rules,
    /// Price list.
    pub prices: PriceList,
    /// The most that may be spent in a day (UTC).
    pub daily_spend_cap: MicroUsd,
    /// Whether own jobs may run on the own GPU.
    pub use_own_gpu: bool,
    /// How many contracts may hold a slot at once, texts aside.
    pub slots: u32,
    /// How many texts may be written for clients at once.
    pub text_slots: u32,
    /// Requests per second that one caller may make at the A2A interface.
    pub requests_per_second: u32,
    /// Event streams that one caller may have open at the A2A interface.
    pub streams: u32,
    /// gRPC is offered on the agent card, beside the other two bindings.
    pub a2a_grpc: bool,
    /// Clients' kernels run here although the worker's sandbox lacks a layer.
    pub sell_unconfined_kernels: bool,
    /// The machine as its owner describes it.
    pub machine: Machine,
    /// What the owner's plug-in meter showed; none while not calibrated.
    pub wall_meter: Option<WallLine>,
    /// PCI address of the card whose energy is metered; found by the adapter's name when empty.
    pub sensor: Option<String>,
    /// What an hour of waiting for a result is worth, USD.
    pub waiting_usd_per_hour: f64,
    /// How the place of a job is chosen.
    pub decision_policy: Policy,
    /// How long to collect proposals, milliseconds.
    pub proposal_deadline_ms: u64,
    /// Seconds after which silence about a delivery counts as acceptance.
    pub review_seconds: u32,
    /// Folder of the models; the platform's cache when empty.
    pub models_dir: Option<PathBuf>,
    /// Where models are downloaded from.
    pub models_source: String,
    /// GGUF files that the owner added.
    pub added_models: Vec<crate::models::Added>,
    /// Runtimes of language models that the owner attached.
    pub(crate) runtimes: Vec<crate::runtimes::Attached>,
    /// A2A agents that may be hired.
    pub(crate) agents: Vec<crate::agents::Agent>,
    /// The worker's executable; the sibling of `tender` when empty.
    pub worker: Option<PathBuf>,
}

impl Settings {
    /// From what is stored; what was never set has its default.
    #[must_use]
    pub fn read(stored: &BTreeMap<String, Value>) -> Self {
        let value = |key: &str| current(stored, key);
        let text = |key: &str| value(key).as_str().unwrap_or_default().to_owned();
        let whole = |key: &str| value(key).as_u64().unwrap_or_default();
        let float = |key: &str| value(key).as_f64().unwrap_or_default();
        let flag = |key: &str| value(key).as_bool().unwrap_or_default();
        let folder = |key: &str| Some(text(key)).filter(|t| !t.is_empty()).map(PathBuf::from);
        let rate = |kind: JobKind| Rate {
            micro_usd: whole(&format!("price.{}.micro_usd", kind.name())),
            per_units: whole(&format!("price.{}.per_units", kind.name())),
            unit: kind.unit(),
        };
        let name = text("name");
        Self {
            name: if name.is_empty() { host_name() } else { name },
            selling: flag("selling"),
            stopped: flag("stopped"),
            paused_until: value("paused_until").as_str().and_then(tender_base::Timestamp::parse),
            finishing: flag("finish_then_pause"),
            guard: crate::guard::Rules::read(stored),
            prices: PriceList {
                embed: rate(JobKind::Embed),
                gemm: rate(JobKind::Gemm),
                kernel: rate(JobKind::Kernel),
                wgsl: rate(JobKind::Wgsl),
                generate: rate(JobKind::Generate),
                generate_prompt: Some(Rate {
                    micro_usd: whole("price.generate_prompt.micro_usd"),
                    per_units: whole("price.generate_prompt.per_units"),
                    unit: JobKind::Generate.unit(),
                })
                .filter(|rate| rate.per_units > 0),
            },
            daily_spend_cap: MicroUsd(i64::try_from(whole("daily_spend_cap_micro_usd")).unwrap_or(0)),
            use_own_gpu: flag("use_own_gpu"),
            slots: u32::try_from(whole("slots")).unwrap_or(1),
            text_slots: u32::try_from(whole("text_slots")).unwrap_or(1),
            requests_per_second: u32::try_from(whole("requests_per_second")).unwrap_or(50),
            streams: u32::try_from(whole("streams")).unwrap_or(32),
            a2a_grpc: flag("a2a_grpc"),
            sell_unconfined_kernels: flag("sell_unconfined_kernels"),
            machine: machine(stored),
            wall_meter: WallLine::parse(&text("wall_meter")).ok(),
            sensor: Some(text("sensor")).filter(|address| !address.is_empty()),
            waiting_usd_per_hour: float("waiting_usd_per_hour"),
            decision_policy: text("decision_policy").parse().unwrap_or_default(),
            proposal_deadline_ms: whole("proposal_deadline_ms"),
            review_seconds: u32::try_from(whole("review_seconds")).unwrap_or(600),
            models_dir: folder("models_dir"),
            models_source: text("models_source"),
            added_models: crate::models::added_in(stored),
            runtimes: crate::runtimes::attached_in(stored),
            agents: crate::agents::agents_in(stored),
            worker: folder("worker"),
        }
    }
}

/// The machine from its settings; what the owner never set is assumed.
fn machine(stored: &BTreeMap<String, Value>) -> Machine {
    let mut machine = Machine::default();
    let float = |key: &str| current(stored, key).as_f64().unwrap_or_default();
    let is_set = |key: &str| stored.get(key).is_some_and(|value| !value.is_null());
    let card = &mut machine.card;
    for (field, key, value) in [
        ("gpu_watts", "card_watts", &mut card.gpu_watts),
        ("price_usd", "card.price_usd", &mut card.price_usd),
        ("resale_fraction", "card.resale_fraction", &mut card.resale_fraction),
        ("lifetime_years", "card.lifetime_years", &mut card.lifetime_years),
        ("discount_rate", "card.discount_rate", &mut card.discount_rate),
        ("maintenance_fraction", "card.maintenance_fraction", &mut card.maintenance_fraction),
        ("utilisation", "card.utilisation", &mut card.utilisation),
        ("host_watts", "card.host_watts", &mut card.host_watts),
        ("idle_watts", "card.idle_watts", &mut card.idle_watts),
        ("psu_efficiency", "card.psu_efficiency", &mut card.psu_efficiency),
        ("cooling_overhead", "card.cooling_overhead", &mut card.cooling_overhead),
        ("tariff", "tariff_usd_per_kwh", &mut card.tariff_usd_per_kwh),
    ] {
        *value = float(key);
        if is_set(key) {
            machine.origins.insert(field, Origin::Stated);
        }
    }
    let windows = current(stored, "tariff_windows");
    let offset = current(stored, "utc_offset_minutes").as_i64().and_then(|minutes| i32::try_from(minutes).ok());
    let tariff =
        Tariff::read(card.tariff_usd_per_kwh, windows.as_str().unwrap_or_default(), offset.unwrap_or_default());
    // What is stored was read when it was set.
    machine.tariff = tariff.unwrap_or_else(|_| Tariff::flat(card.tariff_usd_per_kwh));
    machine.rent_usd_per_hour = Some(float("rent_usd_per_hour")).filter(|rent| *rent > 0.0);
    if machine.rent_usd_per_hour.is_some() {
        machine.origins.insert("rent_usd_per_hour", Origin::Stated);
    }
    machine
}

/// The stored value of a setting, else its default.
#[must_use]
pub fn current(stored: &BTreeMap<String, Value>, key: &str) -> Value {
    stored
        .get(key)
        .filter(|v| !v.is_null())
        .cloned()
        .or_else(|| KNOWN.iter().find(|k| k.key == key).map(|k| (k.default)()))
        .unwrap_or(Value::Null)
}

/// Whether `value` may be stored under `key`; null always may, and returns to the default.
///
/// # Errors
/// [`Code::NotFound`] for an unknown key, [`Code::Invalid`] naming what would be accepted.
pub fn check(key: &str, value: &Value) -> Result<(), Problem> {
    let known = KNOWN.iter().find(|known| known.key == key).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("there is no setting {key}"), "`tender settings get` lists them")
    })?;
    if value.is_null() {
        return Ok(());
    }
    (known.accepts)(value)
        .map_err(|wanted| Problem::new(Code::Invalid, format!("{key} cannot be {value}"), format!("it takes {wanted}")))
}

fn host_name() -> String {
    std::fs::read_to_string("/etc/hostname")
        .ok()
        .map(|name| name.trim().chars().take(40).collect::<String>())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "tender".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_default_is_accepted_and_slips_are_named() {
        for known in KNOWN {
            check(known.key, &(known.default)()).unwrap();
        }
        assert!(check("slots", &json!(0)).unwrap_err().hint.contains("1 to 16"));
        assert!(check("slots", &json!("two")).is_err());
        assert!(check("colour", &json!("red")).unwrap_err().message.contains("colour"));
        assert_eq!(Settings::read(&BTreeMap::new()).slots, 1);
    }

    #[test]
    fn what_the_owner_states_of_the_machine_is_told_from_what_is_assumed() {
        let known = |key: &str, value: Value| BTreeMap::from([(key.to_owned(), value)]);
        assert_eq!(Settings::read(&BTreeMap::new()).machine, Machine::default());
        // A setting of an older version.
        let machine = Settings::read(&known("tariff_usd_per_kwh", json!(0.3))).machine;
        assert_eq!((machine.tariff, machine.card.tariff_usd_per_kwh), (Tariff::flat(0.3), 0.3));
        assert_eq!(machine.origins.keys().collect::<Vec<_>>(), [&"tariff"]);
        let machine = Settings::read(&known("card.price_usd", json!(0))).machine;
        assert_eq!((machine.card.price_usd, machine.origin("price_usd")), (0.0, Origin::Stated));
        assert_eq!(machine.origin("host_watts"), Origin::Assumed);
        let rented = Settings::read(&known("rent_usd_per_hour", json!(0.4))).machine;
        assert_eq!(rented.rent_usd_per_hour, Some(0.4));
        let windows = Settings::read(&known("tariff_windows", json!("22:00-06:00 0.10"))).machine.tariff;
        assert_eq!(windows, Tariff::read(0.17, "22:00-06:00 0.10", 0).unwrap());
        assert!(check("tariff_windows", &json!("at night")).unwrap_err().hint.contains("22:00-06:00"));
        assert!(check("utc_offset_minutes", &json!(1.5)).is_err() && check("utc_offset_minutes", &json!(-300)).is_ok());
        assert!(check("card.utilisation", &json!(0)).is_err());
    }

    #[test]
    fn readings_of_a_wall_meter_are_checked_where_they_are_set() {
        check("wall_meter", &json!("")).unwrap();
        check("wall_meter", &json!("15:78, 310:424")).unwrap();
        for (text, hint) in [(json!("15:78"), "two to twenty"), (json!("15:78, 310:3000"), "at the same moments")] {
            let problem = check("wall_meter", &text).unwrap_err();
            assert!(problem.hint.starts_with("it takes") && problem.hint.contains(hint), "{problem}");
        }
        assert!(check("wall_meter", &json!(7)).is_err());
        let stored = BTreeMap::from([("wall_meter".to_owned(), json!("0:50, 200:300"))]);
        let line = Settings::read(&stored).wall_meter.unwrap();
        assert_eq!((line.wall(100.0), line.share(100.0)), (175.0, 125.0));
        assert_eq!(Settings::read(&BTreeMap::new()).wall_meter, None);
    }
}
