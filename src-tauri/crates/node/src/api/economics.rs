//! Buy a card or buy tokens: what the crate `market` works out, for a screen. Nothing here needs a card, a peer or a
//! job.

use super::{simulation::same, types::*};
use crate::node::Node;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tender_base::{Code, JobKind, Problem, Timestamp};
use tender_market::{
    api_prices::ApiPrices,
    breakeven::{
        self as model, HOURS_PER_YEAR, Input,
        comparison::{Choices, Rent, compare},
        presets,
        usage::{self, Bill, Day},
    },
    draws::Draws,
    why::{Origin as Known, Why as Explained},
};

/// Widest margin of error that is drawn: beyond it a number is not known at all.
const MAX_MARGIN: f64 = 0.9;
/// Seed of the bootstrap: the same bill, the same intervals.
const SEED: u64 = 1;
/// Model whose published price the example compares with: it is small and on many bills.
const EXAMPLE_MODEL: &str = "openai/gpt-4o-mini";
const SOURCE: &str = "annuity model, docs/economics.md, break-even";

type Answer<T> = Result<T, Problem>;

/// Work that keeps a processor busy, off the runtime's own threads.
/// Runs what takes long beside the threads that serve requests.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> Answer<T> + Send + 'static) -> Answer<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Problem::new(Code::Internal, format!("the calculation failed: {error}"), "")))
}

pub(super) async fn breakeven_presets(node: &Arc<Node>, _: Nothing) -> Answer<BreakevenPresets> {
    let mut all = Vec::new();
    let machine = node.machine_with_card(JobKind::Generate).await;
    let speed = node.throughput(None).await.of(JobKind::Generate);
    let (example, mut assumed) = example(node.now())?;
    if !machine.origins.is_empty() || speed.is_some() {
        let mut origins = assumed.clone();
        for (field, origin) in &machine.origins {
            let field = if *field == "tariff" { "tariff_usd_per_kwh" } else { field };
            origins.insert(field.to_owned(), same(origin)?);
        }
        let mut card = machine.card;
        card.api_usd_per_million = example.api_usd_per_million;
        card.api_usd_per_million_input = example.api_usd_per_million_input;
        card.input_output_ratio = example.input_output_ratio;
        if let Some(speed) = speed {
            card.tokens_per_second = speed;
            origins.insert("tokens_per_second".to_owned(), same(Known::Measured)?);
        }
        all.push(preset("own", &card, origins)?);
    }
    all.push(preset("example", &example, assumed.clone())?);
    if let Some(seed) = presets::preset(presets::NAMES[0]) {
        assumed.retain(|field, _| !field.starts_with("api_"));
        for (name, input) in [("seed_004_claimed", &seed.as_claimed), ("seed_004", &seed.with_every_cost)] {
            all.push(BreakevenPreset {
                history: Some(seed.history.to_owned()),
                claimed_tokens_per_day: Some(seed.claimed_tokens_per_day),
                ..preset(name, input, assumed.clone())?
            });
        }
    }
    Ok(BreakevenPresets { presets: all })
}

fn preset(name: &str, input: &Input, origins: BTreeMap<String, Origin>) -> Answer<BreakevenPreset> {
    let name = name.to_owned();
    Ok(BreakevenPreset { name, input: same(input)?, origins, history: None, claimed_tokens_per_day: None })
}

/// An RTX 4080 against an API on many bills, and where its numbers come from.
fn example(now: Timestamp) -> Answer<(Input, BTreeMap<String, Origin>)> {
    let mut input = presets::rtx_4080();
    let mut origins = BTreeMap::new();
    for (field, _) in UNITS {
        origins.insert((*field).to_owned(), same(Known::Assumed)?);
    }
    if let Some(dated) = ApiPrices::bundled(now)?.find(EXAMPLE_MODEL, now) {
        input.api_usd_per_million = dated.price.text_micro_usd_per_million as f64 / 1e6;
        input.api_usd_per_million_input = Some(dated.price.prompt_micro_usd_per_million as f64 / 1e6);
        input.input_output_ratio = Some(0.0);
        for field in ["api_usd_per_million", "api_usd_per_million_input"] {
            origins.insert(field.to_owned(), same(dated.origin())?);
        }
    }
    Ok((input, origins))
}

/// The input's fields with their units.
const UNITS: &[(&str, &str)] = &[
    ("price_usd", "USD"),
    ("resale_fraction", "of the price"),
    ("lifetime_years", "years"),
    ("discount_rate", "per year"),
    ("gpu_watts", "W"),
    ("host_watts", "W"),
    ("idle_watts", "W"),
    ("psu_efficiency", ""),
    ("cooling_overhead", ""),
    ("maintenance_fraction", "of the price per year"),
    ("tariff_usd_per_kwh", "USD/kWh"),
    ("opportunity_usd_per_active_hour", "USD/h"),
    ("tokens_per_second", "tokens/s"),
    ("utilisation", "of the year"),
    ("api_usd_per_million", "USD per million tokens"),
    ("api_usd_per_million_input", "USD per million tokens"),
    ("input_output_ratio", "tokens of prompt per token of text"),
    ("prefill_tokens_per_second", "tokens/s"),
    ("cards", ""),
];

/// The input with its origins, as terms of explanations.
struct Terms<'a> {
    values: Value,
    origins: &'a BTreeMap<String, Origin>,
}

impl Terms<'_> {
    fn origin(&self, field: &str) -> Answer<Known> {
        self.origins.get(field).map_or(Ok(Known::Stated), same)
    }

    fn why(&self, name: &str, value: f64, unit: &str, formula: &str, fields: &[&str]) -> Answer<Explained> {
        fields.iter().try_fold(Explained::new(name, value, unit, formula, SOURCE), |why, field| {
            let unit = UNITS.iter().find(|(known, _)| known == field).map_or("", |(_, unit)| unit);
            let value = self.values[*field].as_f64();
            // What was left out has no part in the number.
            Ok(match value {
                Some(value) => why.with(*field, value, unit, self.origin(field)?),
                None => why,
            })
        })
    }
}

pub(super) async fn breakeven(_: &Arc<Node>, query: BreakevenQuery) -> Answer<BreakevenAnswer> {
    let input: Input = same(&query.input)?;
    answered(&query, &input)
}

fn answered(query: &BreakevenQuery, input: &Input) -> Answer<BreakevenAnswer> {
    let margin = query.margin;
    if !(0.0..=MAX_MARGIN).contains(&margin) {
        let hint = format!("give margin as a number from 0 to {MAX_MARGIN}");
        return Err(Problem::new(Code::Invalid, format!("margin is {margin}"), hint));
    }
    let output = model::breakeven(input)?;
    let (best, worst) = (off(input, margin), off(input, -margin));
    let at_best = model::breakeven(&best)?.breakeven;
    let at_worst = model::breakeven(&worst)?.breakeven;
    let capacity = capacity(input)?;
    let whys = whys(query, input, &output, [&at_best, &at_worst], capacity)?;
    Ok(BreakevenAnswer {
        own: CostBand { stated: own(input)?, low: own(&best)?, high: own(&worst)? },
        // What helps the cards is a dear API.
        buy: CostBand { stated: buy(input), low: buy(&worst), high: buy(&best) },
        capacity_tokens_per_day: capacity,
        tokens_per_day: capacity * input.utilisation,
        output: same(output)?,
        at_best: same(at_best)?,
        at_worst: same(at_worst)?,
        whys,
    })
}

/// The input when what is hard to know is off by `margin` to the cards' advantage; negative to their disadvantage.
fn off(input: &Input, margin: f64) -> Input {
    let (more, less) = (1.0 + margin, 1.0 - margin);
    Input {
        resale_fraction: (input.resale_fraction * more).min(1.0),
        gpu_watts: input.gpu_watts * less,
        host_watts: input.host_watts * less,
        idle_watts: input.idle_watts * less,
        tariff_usd_per_kwh: input.tariff_usd_per_kwh * less,
        tokens_per_second: input.tokens_per_second * more,
        prefill_tokens_per_second: input.prefill_tokens_per_second.map(|speed| speed * more),
        api_usd_per_million: input.api_usd_per_million * more,
        api_usd_per_million_input: input.api_usd_per_million_input.map(|price| price * more),
        ..*input
    }
}

fn cards(input: &Input) -> f64 {
    f64::from(input.cards.unwrap_or(1))
}

/// Tokens of text a day of all cards, their prompts read.
fn capacity(input: &Input) -> Answer<f64> {
    Ok(cards(input) * 86_400.0 / input.seconds(input.input_output_ratio.unwrap_or(0.0), 1.0)?)
}

fn own(input: &Input) -> Answer<CostLine> {
    let (yearly, days, capacity) = (input.yearly()?, HOURS_PER_YEAR / 24.0, capacity(input)?);
    Ok(CostLine {
        usd_per_day: cards(input) * yearly.fixed_usd() / days,
        usd_per_million: cards(input) * yearly.slope_usd() / days / (capacity / 1e6),
        until_tokens_per_day: Some(capacity),
    })
}

fn buy(input: &Input) -> CostLine {
    let prompts = input.input_output_ratio.unwrap_or(0.0) * input.api_usd_per_million_input.unwrap_or(0.0);
    CostLine { usd_per_day: 0.0, usd_per_million: input.api_usd_per_million + prompts, until_tokens_per_day: None }
}

const CARD: [&str; 4] = ["price_usd", "resale_fraction", "lifetime_years", "discount_rate"];
const POWER: [&str; 3] = ["psu_efficiency", "cooling_overhead", "tariff_usd_per_kwh"];
const SPEED: [&str; 3] = ["tokens_per_second", "input_output_ratio", "prefill_tokens_per_second"];

/// A figure to explain: its field, name, value, unit, formula, and the fields of the input in it.
type Part = (&'static str, &'static str, f64, &'static str, &'static str, Vec<&'static str>);

fn whys(
    query: &BreakevenQuery,
    input: &Input,
    output: &model::Output,
    [best, worst]: [&model::Breakeven; 2],
    capacity: f64,
) -> Answer<BTreeMap<String, Why>> {
    let mut values = serde_json::to_value(input).unwrap_or_default();
    values["cards"] = cards(input).into();
    let terms = Terms { values, origins: &query.origins };
    let energy = |watts: &[&'static str], share: &'static str| [watts, &POWER[..], &[share, "cards"]].concat();
    let parts: [Part; 9] = [
        (
            "capital_usd_per_year",
            "capital",
            output.capital_usd_per_year,
            "USD/year",
            "(P − R·P/(1 + r)ⁿ)·CRF·cards, CRF = r(1 + r)ⁿ/((1 + r)ⁿ − 1)",
            [&CARD[..], &["cards"]].concat(),
        ),
        (
            "maintenance_usd_per_year",
            "maintenance",
            output.maintenance_usd_per_year,
            "USD/year",
            "maintenance_fraction × price_usd × cards",
            vec!["maintenance_fraction", "price_usd", "cards"],
        ),
        (
            "idle_energy_usd_per_year",
            "energy while waiting",
            output.idle_energy_usd_per_year,
            "USD/year",
            "idle_watts / psu_efficiency / 1000 × (1 + cooling_overhead) × 8,760 × (1 − utilisation) × tariff × cards",
            energy(&["idle_watts"], "utilisation"),
        ),
        (
            "active_energy_usd_per_year",
            "energy at work",
            output.active_energy_usd_per_year,
            "USD/year",
            "(gpu_watts + host_watts) / psu_efficiency / 1000 × (1 + cooling_overhead) × 8,760 × utilisation × tariff × \
             cards",
            energy(&["gpu_watts", "host_watts"], "utilisation"),
        ),
        (
            "opportunity_usd_per_year",
            "other use forgone",
            output.opportunity_usd_per_year,
            "USD/year",
            "opportunity × 8,760 × utilisation × cards",
            vec!["opportunity_usd_per_active_hour", "utilisation", "cards"],
        ),
        (
            "usd_per_active_hour",
            "cost of an hour of work",
            output.usd_per_active_hour,
            "USD/h",
            "total of the year / (8,760 × utilisation)",
            vec!["utilisation"],
        ),
        (
            "marginal_usd_per_million_tokens",
            "cost of a million tokens more",
            output.marginal_usd_per_million_tokens,
            "USD",
            "(energy at work + other use forgone) / millions of tokens of the year",
            [&["utilisation", "cards"], &SPEED[..]].concat(),
        ),
        (
            "capacity_tokens_per_day",
            "what the cards can make",
            capacity,
            "tokens of text per day",
            "cards × 86,400 / (input_output_ratio / prefill + 1 / tokens_per_second)",
            [&["cards"], &SPEED[..]].concat(),
        ),
        (
            "total_usd_per_year",
            "total of a year",
            output.total_usd_per_year,
            "USD/year",
            "capital + maintenance + energy while waiting + energy at work + other use forgone",
            Vec::new(),
        ),
    ];
    let mut whys = BTreeMap::new();
    for (key, name, value, unit, formula, fields) in parts {
        let mut why = terms.why(name, value, unit, formula, &fields)?;
        if key == "total_usd_per_year" {
            for (name, value) in [
                ("capital", output.capital_usd_per_year),
                ("maintenance", output.maintenance_usd_per_year),
                ("energy while waiting", output.idle_energy_usd_per_year),
                ("energy at work", output.active_energy_usd_per_year),
                ("other use forgone", output.opportunity_usd_per_year),
            ] {
                why = why.with(name, value, "USD/year", Known::Computed);
            }
        }
        whys.insert(key.to_owned(), same(why)?);
    }
    for (key, name, found, side) in [
        ("at_best", "break-even at best", best, "advantage"),
        ("at_worst", "break-even at worst", worst, "disadvantage"),
    ] {
        if let Some(tokens) = found.tokens_per_day {
            let formula = format!("the break-even with these off by the margin to the cards' {side}");
            let fields = [
                &["resale_fraction", "gpu_watts", "host_watts", "idle_watts", "tariff_usd_per_kwh"],
                &["tokens_per_second", "prefill_tokens_per_second", "api_usd_per_million"][..],
                &["api_usd_per_million_input"],
            ]
            .concat();
            let why = terms.why(name, tokens, "tokens of text per day", &formula, &fields)?;
            let why = why.with("margin", query.margin, "", Known::Assumed);
            whys.insert(key.to_owned(), same(why)?);
        }
    }
    for (key, why) in ["usd_per_million_tokens", "tokens_per_day"].into_iter().zip(&output.why) {
        let mut why = why.clone();
        for (term, field) in [("API price", "api_usd_per_million"), ("u", "utilisation"), ("cards", "cards")] {
            for term in why.inputs.iter_mut().filter(|known| known.name == term) {
                term.origin = terms.origin(field)?;
            }
        }
        whys.insert(key.to_owned(), same(why)?);
    }
    Ok(whys)
}

pub(super) async fn api_prices(node: &Arc<Node>, _: Nothing) -> Answer<ApiPriceList> {
    let now = node.now();
    let prices = ApiPrices::bundled(now)?;
    let rows = prices.at(now).into_iter().map(|dated| ApiPriceRow {
        provider: dated.provider,
        model: dated.model,
        prompt_usd_per_million: dated.price.prompt_micro_usd_per_million as f64 / 1e6,
        text_usd_per_million: dated.price.text_micro_usd_per_million as f64 / 1e6,
        varies_by_hour: dated.varies_by_hour,
    });
    let source = format!("{} {}", prices.source, prices.version);
    Ok(ApiPriceList { source, taken_on: prices.taken_on.clone(), rows: rows.collect() })
}

pub(super) async fn breakeven_usage(node: &Arc<Node>, query: UsageQuery) -> Answer<UsageAnswer> {
    let now = node.now();
    aside(move || billed(&query, now)).await
}

fn billed(query: &UsageQuery, now: Timestamp) -> Answer<UsageAnswer> {
    let hours = query.busy_hours;
    if !(hours > 0.0 && hours <= 24.0) {
        let hint = "give busy_hours as a number above 0 and at most 24";
        return Err(Problem::new(Code::Invalid, format!("busy_hours is {hours}"), hint));
    }
    let card: Input = same(&query.input)?;
    let Bill { rows, priced_on } = usage::parse(&query.csv, &ApiPrices::bundled(now)?, now)?;
    let days = usage::days(&rows, &query.stands_in_for)?;
    let rent = query.rent.as_ref().map(|rent| Rent {
        usd_per_hour: rent.usd_per_hour,
        tokens_per_second: rent.tokens_per_second,
        prefill_tokens_per_second: rent.prefill_tokens_per_second,
    });
    let choices = Choices { card, busy_share: hours / 24.0, rent };
    let comparison = compare(&days, &choices, &mut Draws::new(SEED, 0))?;
    let regret_whys = (0..comparison.months.len()).filter_map(|month| comparison.regret_why(month));
    let regret_whys = regret_whys.map(same).collect::<Answer<_>>()?;
    let models: BTreeSet<String> = rows.iter().map(|row| row.model.clone()).collect();
    let stated = !query.stands_in_for.is_empty();
    Ok(UsageAnswer {
        comparison: same(comparison)?,
        lines: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        stands_in_for: if stated { query.stands_in_for.clone() } else { models.iter().cloned().collect() },
        models: models.into_iter().collect(),
        stated,
        priced_on,
        regret_whys,
        input: as_billed(&card, &days)?.map(same).transpose()?,
    })
}

/// The card in the use, the mix of tokens and the price of a bill: what was paid for a token of text with its prompts.
fn as_billed(card: &Input, days: &[Day]) -> Answer<Option<Input>> {
    let sum = |of: fn(&Day) -> f64| days.iter().map(of).sum::<f64>();
    let (prompt, text, usd) = (sum(|day| day.prompt_tokens), sum(|day| day.text_tokens), sum(|day| day.api_usd));
    if text <= 0.0 || usd <= 0.0 {
        return Ok(None);
    }
    let busy = card.seconds(prompt, text)? / (cards(card) * days.len() as f64 * 86_400.0);
    Ok(Some(Input {
        api_usd_per_million: usd / text * 1e6,
        api_usd_per_million_input: Some(0.0),
        input_output_ratio: Some(prompt / text),
        utilisation: busy.min(1.0),
        ..*card
    }))
}

#[cfg(test)]
#[path = "economics_tests.rs"]
mod tests;
