//! The table of settings, and what each of them takes.

use serde_json::{Value, json};
use tender_host::{WallError, WallLine};
use tender_market::{explore::Policy, price::PriceList, tariff::Tariff};

/// One line of the table.
pub struct Known {
    /// Its name.
    pub key: &'static str,
    /// Its value when never set.
    pub default: fn() -> Value,
    /// What it does, with unit and range.
    pub about: &'static str,
    /// Whether a value is accepted; the sentence says what would be.
    pub(super) accepts: fn(&Value) -> Result<(), &'static str>,
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
    Known {
        key: "onboarding",
        default: || json!(""),
        about: "How far the first steps are: empty before them, the name of the step, or `done`.",
        accepts: step,
    },
    Known { key: "selling", default: || json!(false), about: "Sell spare compute to peers.", accepts: boolean },
    Known {
        key: "stopped",
        default: || json!(false),
        about: "Stop everything: nothing is bought, sold or run.",
        accepts: boolean,
    },
    Known {
        key: "notifications",
        default: || json!(true),
        about: "Let the desktop app tell of yesterday's earnings and of own jobs that ended. Faults are told always.",
        accepts: boolean,
    },
    Known {
        key: "paused_until",
        default: || Value::Null,
        about: "Selling pauses until this time (RFC 3339, UTC).",
        accepts: time,
    },
    Known {
        key: "finish_then_pause",
        default: || json!(false),
        about: "Take no new jobs; when those that run are done, selling pauses until you go on.",
        accepts: boolean,
    },
    Known {
        key: "guard.full_screen",
        default: || json!(true),
        about: "Give the card back while a full-screen window is in the foreground. Seen through X11, on Wayland only \
                what runs in Xwayland.",
        accepts: boolean,
    },
    Known {
        key: "guard.programs",
        default: || json!("gamescope, wineserver"),
        about: "Give the card back while one of these programs runs: names with commas between them, 64 at most.",
        accepts: names,
    },
    Known {
        key: "guard.ignored",
        default: || json!(crate::guard::IGNORED),
        about: "Programs that the card is never given back for, full-screen or computing: names with commas between \
                them, 64 at most.",
        accepts: names,
    },
    Known {
        key: "guard.program_mib",
        default: || json!(1024),
        about: "Give the card back while another program holds so many MiB of its memory: 0 to 1048576, 0 for never.",
        accepts: |v| whole(v, 0, 1 << 20, "a whole number of MiB from 0 to 1048576"),
    },
    Known {
        key: "guard.temperature_c",
        default: || json!(87.0),
        about: "Give the card back when it is hotter, in degrees Celsius: 0 to 120, 0 for never.",
        accepts: |v| number(v, 0.0, 120.0, "a number from 0 to 120"),
    },
    Known {
        key: "guard.card_watts",
        default: || json!(0.0),
        about: "Give the card back when it draws more for two seconds, in watts: 0 to 2000, 0 for never.",
        accepts: |v| number(v, 0.0, 2000.0, "a number from 0 to 2000"),
    },
    Known {
        key: "guard.battery",
        default: || json!(true),
        about: "Sell nothing while the machine runs on its battery.",
        accepts: boolean,
    },
    Known {
        key: "guard.activity_minutes",
        default: || json!(0),
        about: "Sell nothing until keyboard and mouse have rested for so many minutes: 0 to 240, 0 for selling \
                meanwhile.",
        accepts: |v| whole(v, 0, 240, "a whole number from 0 to 240"),
    },
    Known {
        key: "guard.hours",
        default: || json!(""),
        about: "Hours in which to sell, in local time (`utc_offset_minutes`), as `22:00-06:00, weekend 00:00-24:00`; \
                also for `weekdays`. All hours when empty.",
        accepts: |v| match v.as_str().map(crate::guard::Hours::read) {
            Some(Ok(_)) => Ok(()),
            _ => Err("hours such as `22:00-06:00, weekend 00:00-24:00`, 16 at most"),
        },
    },
    Known {
        key: "guard.metered",
        default: || json!(false),
        about: "Sell nothing while the network is paid by volume, as the system says.",
        accepts: boolean,
    },
    Known {
        key: "guard.resume_seconds",
        default: || json!(60),
        about: "Seconds after the end of what the card was given back for, until selling goes on: 1 to 3600.",
        accepts: |v| whole(v, 1, 3600, "a whole number from 1 to 3600"),
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
        key: "price.generate_prompt.micro_usd",
        default: || json!(0),
        about: "Price of a text's prompt, micro-USD per `price.generate_prompt.per_units` tokens, where that is not 0; \
                `price.generate` is then that of what is written. Peers of an earlier version do not take such offers.",
        accepts: price,
    },
    Known {
        key: "price.generate_prompt.per_units",
        default: || json!(0),
        about: "Tokens of prompt that `price.generate_prompt.micro_usd` buys; 0: the prompt costs what the text costs.",
        accepts: |v| whole(v, 0, 1 << 53, "a whole number, 0 for one price for both"),
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
        about: "Electricity price in USD per kWh: 0 to 5. With `tariff_windows` that of all other hours.",
        accepts: |v| number(v, 0.0, 5.0, "a number from 0 to 5"),
    },
    Known {
        key: "tariff_windows",
        default: || json!(""),
        about: "Hours with another price, in local time and USD per kWh, as `22:00-06:00 0.10, weekend 00:00-24:00 \
                0.12`; also for `weekdays`. The first that holds counts.",
        accepts: |v| match v.as_str().map(|text| Tariff::read(0.0, text, 0)) {
            Some(Ok(_)) => Ok(()),
            _ => Err("hours such as `22:00-06:00 0.10, weekend 00:00-24:00 0.12`, 16 at most"),
        },
    },
    Known {
        key: "utc_offset_minutes",
        default: || json!(0),
        about: "How many minutes local time is ahead of UTC, for `tariff_windows`: -840 to 840.",
        accepts: |v| {
            v.as_i64().filter(|n| (-840..=840).contains(n)).map(|_| ()).ok_or("a whole number from -840 to 840")
        },
    },
    Known {
        key: "rent_usd_per_hour",
        default: || json!(0.0),
        about: "What an hour of this machine is rented for, USD: 0 to 1000, 0 for one that is your own. A rented \
                machine costs its rent and nothing else.",
        accepts: |v| number(v, 0.0, 1000.0, "a number from 0 to 1000"),
    },
    Known {
        key: "card.price_usd",
        default: || json!(1199.0),
        about: "What the card cost, USD: 0 to 1000000; 0 for one that is paid off and would not be sold.",
        accepts: |v| number(v, 0.0, 1e6, "a number from 0 to 1000000"),
    },
    Known {
        key: "card.resale_fraction",
        default: || json!(0.35),
        about: "What the card is worth when it is sold, as a fraction of its price: 0 to 1.",
        accepts: |v| number(v, 0.0, 1.0, "a number from 0 to 1"),
    },
    Known {
        key: "card.lifetime_years",
        default: || json!(3.0),
        about: "Years until the card is sold: 0.1 to 50.",
        accepts: |v| number(v, 0.1, 50.0, "a number from 0.1 to 50"),
    },
    Known {
        key: "card.discount_rate",
        default: || json!(0.08),
        about: "Interest per year on the card's price: 0 to 1.",
        accepts: |v| number(v, 0.0, 1.0, "a number from 0 to 1"),
    },
    Known {
        key: "card.maintenance_fraction",
        default: || json!(0.03),
        about: "Maintenance per year as a fraction of the card's price: 0 to 1.",
        accepts: |v| number(v, 0.0, 1.0, "a number from 0 to 1"),
    },
    Known {
        key: "card.utilisation",
        default: || json!(0.5),
        about: "Fraction of the year in which the card works: 0.001 to 1. Its wear is borne by those hours.",
        accepts: |v| number(v, 0.001, 1.0, "a number from 0.001 to 1"),
    },
    Known {
        key: "card.host_watts",
        default: || json!(80.0),
        about: "What the rest of the machine draws more while the card works, watts: 0 to 2000; a wall meter replaces it.",
        accepts: |v| number(v, 0.0, 2000.0, "a number from 0 to 2000"),
    },
    Known {
        key: "card.idle_watts",
        default: || json!(13.0),
        about: "What the card draws at rest, watts, where no sensor measures it: 0 to 500.",
        accepts: |v| number(v, 0.0, 500.0, "a number from 0 to 500"),
    },
    Known {
        key: "card.psu_efficiency",
        default: || json!(0.9),
        about: "Share of the power at the wall that the power supply passes on: 0.3 to 1; a wall meter replaces it.",
        accepts: |v| number(v, 0.3, 1.0, "a number from 0.3 to 1"),
    },
    Known {
        key: "card.cooling_overhead",
        default: || json!(0.0),
        about: "Energy for cooling as a fraction of that at the wall: 0 to 2.",
        accepts: |v| number(v, 0.0, 2.0, "a number from 0 to 2"),
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
        key: "waiting_usd_per_hour",
        default: || json!(0.0),
        about: "What an hour of waiting for a result is worth to you, in USD: 0 to 1000. It decides how much less a \
                slower or less reliable place must ask.",
        accepts: |v| number(v, 0.0, 1000.0, "a number from 0 to 1000"),
    },
    Known {
        key: "decision_policy",
        default: || json!("greedy"),
        about: "How the place of a job is chosen: greedy takes what looks best, epsilon=0.1, graduated=0.1, ucb1=0.1 \
                and thompson also try others that cost at most a quarter more, cheapest looks at the bill alone.",
        accepts: |v| match v.as_str().map(str::parse::<Policy>) {
            Some(Ok(_)) => Ok(()),
            _ => Err("greedy, epsilon=0.1, graduated=0.1, ucb1=0.1, thompson or cheapest"),
        },
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

/// Names with commas between them.
fn names(value: &Value) -> Result<(), &'static str> {
    let fits = |name: &str| name.chars().count() <= 64 && !name.chars().any(char::is_control);
    value
        .as_str()
        .filter(|text| text.split(',').count() <= 64 && text.split(',').all(fits))
        .map(|_| ())
        .ok_or("names of programs with commas between them, such as `doom, blender`, 64 at most")
}

fn step(value: &Value) -> Result<(), &'static str> {
    let word = |text: &&str| text.len() <= 40 && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    value.as_str().filter(word).map(|_| ()).ok_or("a word of small letters, at most 40 of them")
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
