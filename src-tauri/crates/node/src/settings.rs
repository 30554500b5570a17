//! Everything the owner can set, in one table: key, default, meaning and what is accepted. The command line, the
//! UI and the node read the same table.

use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf};
use tender_base::{Code, JobKind, MicroUsd, Problem, Rate};
use tender_host::{WallError, WallLine};
use tender_market::price::PriceList;

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
    /// Electricity price, USD per kWh.
    pub tariff_usd_per_kwh: f64,
    /// Card's power while working, watts, as stated by the owner; used where nothing is measured.
    pub card_watts: f64,
    /// What the owner's plug-in meter showed; none while not calibrated.
    pub wall_meter: Option<WallLine>,
    /// PCI address of the card whose energy is metered; found by the adapter's name when empty.
    pub sensor: Option<String>,
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

/// One line of the table.
pub struct Known {
    /// Its name.
    pub key: &'static str,
    /// Its value when never set.
    pub default: fn() -> Value,
    /// What it does, with unit and range.
    pub about: &'static str,
    /// Whether a value is accepted; the sentence says what would be.
    accepts: fn(&Value) -> Result<(), &'static str>,
}

/// A micro-dollar amount in a setting may not exceed a million dollars: more is a slip of the keyboard.
const MAX_MICRO_USD: u64 = 1_000_000_000_000;

/// All settings, in the order in which they are shown.
pub const KNOWN: &[Known] = &[
    Known {
        key: "name",
        default: || json!(""),
        about: "What peers see as this node's name: 1 to 40 characters; the host's name when empty.",
        accepts: short_text,
    },
    Known { key: "selling", default: || json!(false), about: "Sell spare compute to peers.", accepts: boolean },
    Known {
        key: "stopped",
        default: || json!(false),
        about: "Stop everything: nothing is bought, sold or run.",
        accepts: boolean,
    },
    Known {
        key: "paused_until",
        default: || Value::Null,
        about: "Selling pauses until this time (RFC 3339, UTC).",
        accepts: time,
    },
    Known {
        key: "slots",
        default: || json!(1),
        about: "Contracts that may hold a slot at once, texts aside: 1 to 16.",
        accepts: |v| whole(v, 1, 16, "a whole number from 1 to 16"),
    },
    Known {
        key: "text_slots",
        default: || json!(15),
        about: "Texts that may be written for clients at once, all together on the card: 1 to 15.",
        accepts: |v| whole(v, 1, 15, "a whole number from 1 to 15"),
    },
    Known {
        key: "requests_per_second",
        default: || json!(50),
        about: "A2A requests per second of one address or key, ten times as many in total: 10 to 100000. From the next start.",
        accepts: |v| whole(v, 10, 100_000, "a whole number from 10 to 100000"),
    },
    Known {
        key: "streams",
        default: || json!(32),
        about: "Open A2A event streams of one address or key, and twice as many connections: 1 to 10000. From the next start.",
        accepts: |v| whole(v, 1, 10_000, "a whole number from 1 to 10000"),
    },
    Known {
        key: "a2a_grpc",
        default: || json!(false),
        about: "Offer gRPC at the A2A interface too. Some clients refuse an agent card that names it.",
        accepts: boolean,
    },
    Known {
        key: "sell_unconfined_kernels",
        default: || json!(false),
        about: "Run clients' kernels (wgsl) although the worker's sandbox lacks a layer; `tender doctor` names it.",
        accepts: boolean,
    },
    Known {
        key: "price.generate.micro_usd",
        default: || json!(PriceList::default().generate.micro_usd),
        about: "Price of text, micro-USD per `price.generate.per_units` tokens of prompt and text.",
        accepts: price,
    },
    Known {
        key: "price.generate.per_units",
        default: || json!(PriceList::default().generate.per_units),
        about: "Tokens that `price.generate.micro_usd` buys.",
        accepts: units,
    },
    Known {
        key: "price.embed.micro_usd",
        default: || json!(PriceList::default().embed.micro_usd),
        about: "Price of embedding, micro-USD per `price.embed.per_units` tokens.",
        accepts: price,
    },
    Known {
        key: "price.embed.per_units",
        default: || json!(PriceList::default().embed.per_units),
        about: "Tokens that `price.embed.micro_usd` buys.",
        accepts: units,
    },
    Known {
        key: "price.gemm.micro_usd",
        default: || json!(PriceList::default().gemm.micro_usd),
        about: "Price of matrix products, micro-USD per `price.gemm.per_units` floating-point operations.",
        accepts: price,
    },
    Known {
        key: "price.gemm.per_units",
        default: || json!(PriceList::default().gemm.per_units),
        about: "Floating-point operations that `price.gemm.micro_usd` buys.",
        accepts: units,
    },
    Known {
        key: "price.kernel.micro_usd",
        default: || json!(PriceList::default().kernel.micro_usd),
        about: "Price of built-in kernels, micro-USD per `price.kernel.per_units` elements or random paths.",
        accepts: price,
    },
    Known {
        key: "price.kernel.per_units",
        default: || json!(PriceList::default().kernel.per_units),
        about: "Elements or random paths that `price.kernel.micro_usd` buys.",
        accepts: units,
    },
    Known {
        key: "price.wgsl.micro_usd",
        default: || json!(PriceList::default().wgsl.micro_usd),
        about: "Price of client kernels, micro-USD per `price.wgsl.per_units` steps of fuel.",
        accepts: price,
    },
    Known {
        key: "price.wgsl.per_units",
        default: || json!(PriceList::default().wgsl.per_units),
        about: "Steps of fuel that `price.wgsl.micro_usd` buys.",
        accepts: units,
    },
    Known {
        key: "daily_spend_cap_micro_usd",
        default: || json!(5_000_000),
        about: "The most that may be spent in a day (UTC), reservations included, in micro-USD.",
        accepts: price,
    },
    Known { key: "use_own_gpu", default: || json!(true), about: "Own jobs may run on the own GPU.", accepts: boolean },
    Known {
        key: "tariff_usd_per_kwh",
        default: || json!(0.17),
        about: "Electricity price in USD per kWh: 0 to 5.",
        accepts: |v| number(v, 0.0, 5.0, "a number from 0 to 5"),
    },
    Known {
        key: "card_watts",
        default: || json!(320.0),
        about: "The card's power while working, in watts, where no sensor measures it: 1 to 2000.",
        accepts: |v| number(v, 1.0, 2000.0, "a number from 1 to 2000"),
    },
    Known {
        key: "wall_meter",
        default: || json!(""),
        about: "Readings of a plug-in meter, as `card:wall` in watts: `15:78, 310:424`. Read it idle and under load, \
                together with the card's watts in `tender doctor`. Costs then count watts at the wall.",
        accepts: wall_meter,
    },
    Known {
        key: "sensor",
        default: || json!(""),
        about: "Address of the card whose energy is metered, as `tender doctor` lists it; needed only with several \
                cards that are alike.",
        accepts: short_text,
    },
    Known {
        key: "proposal_deadline_ms",
        default: || json!(1000),
        about: "How long proposals are collected, in milliseconds: 50 to 60000.",
        accepts: |v| whole(v, 50, 60_000, "a whole number from 50 to 60000"),
    },
    Known {
        key: "review_seconds",
        default: || json!(600),
        about: "Silence of so many seconds about a delivery counts as acceptance: 10 to 86400.",
        accepts: |v| whole(v, 10, 86_400, "a whole number from 10 to 86400"),
    },
    Known {
        key: "models_dir",
        default: || json!(""),
        about: "Folder of the models; the platform's cache when empty.",
        accepts: path,
    },
    Known {
        key: "models_source",
        default: || json!(tender_base::catalogue::SOURCE),
        about: "Where models are downloaded from: a model hub, or a mirror with the same paths. https only, or http on \
                this machine. What comes is checked against pinned hashes.",
        accepts: source,
    },
    Known {
        key: "worker",
        default: || json!(""),
        about: "The worker's executable; `tender-worker` beside `tender` when empty.",
        accepts: path,
    },
];

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
            prices: PriceList {
                embed: rate(JobKind::Embed),
                gemm: rate(JobKind::Gemm),
                kernel: rate(JobKind::Kernel),
                wgsl: rate(JobKind::Wgsl),
                generate: rate(JobKind::Generate),
            },
            daily_spend_cap: MicroUsd(i64::try_from(whole("daily_spend_cap_micro_usd")).unwrap_or(0)),
            use_own_gpu: flag("use_own_gpu"),
            slots: u32::try_from(whole("slots")).unwrap_or(1),
            text_slots: u32::try_from(whole("text_slots")).unwrap_or(1),
            requests_per_second: u32::try_from(whole("requests_per_second")).unwrap_or(50),
            streams: u32::try_from(whole("streams")).unwrap_or(32),
            a2a_grpc: flag("a2a_grpc"),
            sell_unconfined_kernels: flag("sell_unconfined_kernels"),
            tariff_usd_per_kwh: float("tariff_usd_per_kwh"),
            card_watts: float("card_watts"),
            wall_meter: WallLine::parse(&text("wall_meter")).ok(),
            sensor: Some(text("sensor")).filter(|address| !address.is_empty()),
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

fn boolean(value: &Value) -> Result<(), &'static str> {
    value.as_bool().map(|_| ()).ok_or("true or false")
}

fn short_text(value: &Value) -> Result<(), &'static str> {
    value
        .as_str()
        .filter(|text| text.chars().count() <= 40 && !text.chars().any(char::is_control))
        .map(|_| ())
        .ok_or("a text of at most 40 characters")
}

fn path(value: &Value) -> Result<(), &'static str> {
    value.as_str().filter(|text| text.len() <= 4096 && !text.contains('\0')).map(|_| ()).ok_or("a path")
}

fn source(value: &Value) -> Result<(), &'static str> {
    let wanted = "an address such as https://models.example.org, or http://127.0.0.1:PORT";
    let address = value.as_str().and_then(|text| reqwest::Url::parse(text).ok()).ok_or(wanted)?;
    let here = match address.host_str().unwrap_or_default() {
        "localhost" => true,
        host => host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
    };
    let plain = address.username().is_empty() && address.query().is_none() && address.fragment().is_none();
    if plain && (address.scheme() == "https" || address.scheme() == "http" && here) { Ok(()) } else { Err(wanted) }
}

fn time(value: &Value) -> Result<(), &'static str> {
    value.as_str().and_then(tender_base::Timestamp::parse).map(|_| ()).ok_or("a time such as 2026-11-21T08:00:00.000Z")
}

fn wall_meter(value: &Value) -> Result<(), &'static str> {
    match value.as_str() {
        Some("") => Ok(()),
        text => WallLine::parse(text.unwrap_or_default()).map(|_| ()).map_err(WallError::wanted),
    }
}

fn whole(value: &Value, least: u64, most: u64, wanted: &'static str) -> Result<(), &'static str> {
    value.as_u64().filter(|n| (least..=most).contains(n)).map(|_| ()).ok_or(wanted)
}

fn number(value: &Value, least: f64, most: f64, wanted: &'static str) -> Result<(), &'static str> {
    value.as_f64().filter(|n| (least..=most).contains(n)).map(|_| ()).ok_or(wanted)
}

fn price(value: &Value) -> Result<(), &'static str> {
    whole(value, 0, MAX_MICRO_USD, "a whole number of micro-USD, at most a million dollars")
}

fn units(value: &Value) -> Result<(), &'static str> {
    whole(value, 1, 1 << 53, "a whole number of at least 1")
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
