//! `tender breakeven`: buy a card or buy tokens.

use crate::{args::Breakeven, files, print};
use serde::Serialize;
use std::{collections::BTreeSet, path::Path};
use tender_base::{Clock as _, Code, Problem, time::SystemClock};
use tender_market::{
    api_prices::ApiPrices,
    breakeven::{
        Input, Output, breakeven,
        comparison::{Choice, Choices, Comparison, Interval, Rent, compare},
        parse,
        presets::{self, Preset},
        usage::{self, Bill, Day},
    },
    draws::Draws,
    why::Why,
};

/// Longest input that is read: twenty numbers.
const MAX_INPUT_BYTES: u64 = 1 << 20;
/// Longest bill that is read: some millions of lines.
const MAX_BILL_BYTES: u64 = 500 << 20;

pub(crate) fn run(options: &Breakeven, json: bool) -> Result<(), Problem> {
    let preset = options.preset.as_deref().map(preset).transpose()?;
    let card = match (&options.input, &preset) {
        (Some(file), _) => parse(&files::text(file, MAX_INPUT_BYTES)?)?,
        (None, Some(preset)) => preset.with_every_cost,
        // The command line asks for one of them.
        (None, None) => return Err(Problem::new(Code::Invalid, "input is missing", "give --input or --preset")),
    };
    match (&options.usage, preset) {
        (Some(file), _) => print::answer(json, &billed(file, card, options)?, Billed::text),
        (None, Some(preset)) => print::answer(json, &Case::new(&preset)?, Case::text),
        (None, None) => print::answer(json, &breakeven(&card)?, one),
    }
    Ok(())
}

fn preset(name: &str) -> Result<Preset, Problem> {
    presets::preset(name).ok_or_else(|| {
        let names = presets::NAMES.map(|name| format!("{name:?}")).join(", ");
        Problem::new(Code::Invalid, format!("preset: there is no {name:?}"), format!("one of: {names}"))
    })
}

/// The answer for one card.
pub(crate) fn one(output: &Output) -> String {
    format!("{}\n\nBreak-even: {}.\n\n{}", bill(&[("USD", output)]), output.breakeven.why, whys(&output.why))
}

/// The yearly bill, a column per case.
fn bill(cases: &[(&str, &Output)]) -> String {
    type Part = (&'static str, fn(&Output) -> f64, usize);
    const PARTS: [Part; 9] = [
        ("capital, per year", |o| o.capital_usd_per_year, 2),
        ("maintenance", |o| o.maintenance_usd_per_year, 2),
        ("energy while idle", |o| o.idle_energy_usd_per_year, 2),
        ("energy at work", |o| o.active_energy_usd_per_year, 2),
        ("other use forgone", |o| o.opportunity_usd_per_year, 2),
        ("total, per year", |o| o.total_usd_per_year, 2),
        ("a million tokens", |o| o.usd_per_million_tokens, 5),
        ("a million tokens more", |o| o.marginal_usd_per_million_tokens, 5),
        ("an hour of work", |o| o.usd_per_active_hour, 5),
    ];
    let head = std::iter::once(String::new()).chain(cases.iter().map(|(name, _)| (*name).to_owned()));
    let mut lines = vec![head.collect::<Vec<_>>()];
    lines.extend(PARTS.map(|(name, of, digits)| {
        let figures = cases.iter().map(|(_, output)| format!("{:.digits$}", of(output)));
        std::iter::once(name.to_owned()).chain(figures).collect()
    }));
    print::columns(&lines)
}

pub(crate) fn whys(all: &[Why]) -> String {
    all.iter().map(Why::render).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// A preset: the answer with every cost, and beside it the claim.
#[derive(Serialize)]
struct Case {
    #[serde(flatten)]
    with_every_cost: Output,
    preset: Claim,
}

#[derive(Serialize)]
struct Claim {
    name: &'static str,
    history: &'static str,
    claimed_tokens_per_day: f64,
    /// The card with every cost counted, as `--input` takes it.
    input: Input,
    as_claimed: Claimed,
}

#[derive(Serialize)]
struct Claimed {
    input: Input,
    #[serde(flatten)]
    output: Output,
}

impl Case {
    fn new(preset: &Preset) -> Result<Self, Problem> {
        Ok(Self {
            with_every_cost: breakeven(&preset.with_every_cost)?,
            preset: Claim {
                name: preset.name,
                history: preset.history,
                claimed_tokens_per_day: preset.claimed_tokens_per_day,
                input: preset.with_every_cost,
                as_claimed: Claimed { input: preset.as_claimed, output: breakeven(&preset.as_claimed)? },
            },
        })
    }

    fn text(&self) -> String {
        let (claim, claimed) = (&self.preset, &self.preset.as_claimed.output);
        format!(
            "{}: {:.0} tokens of text a day\n\n{}\n\nAt {:.0} % of the time at work, USD:\n\n{}\n\nBreak-even as claimed: {}.\nWith every cost: {}.\n\n{}",
            claim.name,
            claim.claimed_tokens_per_day,
            claim.history,
            100.0 * claim.input.utilisation,
            bill(&[("as claimed", claimed), ("with every cost", &self.with_every_cost)]),
            claimed.breakeven.why,
            self.with_every_cost.breakeven.why,
            whys(&self.with_every_cost.why)
        )
    }
}

/// What a team's bill says.
#[derive(Serialize)]
struct Billed {
    #[serde(flatten)]
    comparison: Comparison,
    bill: BillRead,
    /// How the regret of each month came about.
    regret_why: Vec<Why>,
}

/// What was read, and what is assumed about it.
#[derive(Serialize)]
struct BillRead {
    lines: usize,
    /// All models of the bill.
    models: BTreeSet<String>,
    /// Those that the card's model is taken to stand in for; what the others cost stays with the API and is left out.
    stands_in_for: BTreeSet<String>,
    /// Whether that was stated, rather than assumed of all.
    stated: bool,
    /// Days from one line to the next at least, when no two lines are of the same week: they look like sums of weeks or
    /// months, but each counts as one day.
    days_apart: Option<i64>,
    /// The day of the published prices that stand for a missing cost column.
    priced_on: Option<String>,
}

fn billed(file: &Path, card: Input, options: &Breakeven) -> Result<Billed, Problem> {
    let text = files::text(file, MAX_BILL_BYTES)?;
    let now = SystemClock.now();
    let Bill { rows, priced_on } = usage::parse(&text, &ApiPrices::bundled(now)?, now)?;
    let comparison = compared(&usage::days(&rows, &options.stands_in_for)?, card, options)?;
    let models: BTreeSet<String> = rows.iter().map(|row| row.model.clone()).collect();
    let stated = !options.stands_in_for.is_empty();
    let stands_in_for = if stated { options.stands_in_for.iter().cloned().collect() } else { models.clone() };
    let regret_why = (0..comparison.months.len()).filter_map(|month| comparison.regret_why(month)).collect();
    let days_apart = days_apart(rows.iter().map(|row| row.at.millis().div_euclid(86_400_000)).collect());
    let bill = BillRead { lines: rows.len(), models, stands_in_for, stated, days_apart, priced_on };
    Ok(Billed { comparison, bill, regret_why })
}

fn days_apart(days: BTreeSet<i64>) -> Option<i64> {
    let gaps = days.iter().zip(days.iter().skip(1)).map(|(day, next)| next - day);
    gaps.min().filter(|least| *least >= 7 && days.len() > 2)
}

fn compared(days: &[Day], card: Input, options: &Breakeven) -> Result<Comparison, Problem> {
    if !(options.busy_hours > 0.0 && options.busy_hours <= 24.0) {
        let message = format!("busy-hours is {}", options.busy_hours);
        return Err(Problem::new(Code::Invalid, message, "give --busy-hours as a number above 0 and at most 24"));
    }
    let rent = options.rent_price.zip(options.rent_speed).map(|(usd_per_hour, tokens_per_second)| Rent {
        usd_per_hour,
        tokens_per_second,
        prefill_tokens_per_second: options.rent_prefill,
    });
    let choices = Choices { card, busy_share: options.busy_hours / 24.0, rent };
    compare(days, &choices, &mut Draws::new(options.seed, 0))
}

impl Billed {
    fn text(&self) -> String {
        let bill = &self.bill;
        let names = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        let stands = match (bill.stated, names(&bill.stands_in_for)) {
            (true, models) => format!("The card's model stands in for {models}; what else is on the bill is left out."),
            (false, models) => format!(
                "It is assumed that the card's model may stand in for all of: {models}. If not, name those for which it \
                 may with --stands-in-for."
            ),
        };
        let priced = bill.priced_on.as_ref().map_or_else(String::new, |day| {
            format!("\nThe bill has no costs: they are the published prices of each day, as known on {day}.")
        });
        let apart = bill.days_apart.map_or_else(String::new, |days| {
            format!(
                "\nThe lines are {days} days apart or more, and each counts as what one day used. If they are sums of weeks \
                 or months, give one line for each day instead."
            )
        });
        format!("{} lines of the bill. {stands}{priced}{apart}\n\n{}", bill.lines, comparison(&self.comparison))
    }
}

pub(crate) fn comparison(found: &Comparison) -> String {
    let usd = |value: f64| format!("{value:.2}");
    let between = |interval: Option<Interval>| {
        interval.map_or_else(|| "unknown".to_owned(), |Interval { low, high }| format!("{low:.2} to {high:.2}"))
    };
    let share = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{:.1} %", 100.0 * value));
    let mut lines = vec![
        [
            "",
            "USD/year",
            "95 %",
            "saved",
            "95 %",
            "cheapest in",
            "at work",
            "left to API",
            "beats the API from tokens/day",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    lines.extend(found.alternatives.iter().map(|alternative| {
        vec![
            alternative.choice.name(),
            usd(alternative.usd_per_year),
            between(alternative.interval),
            usd(alternative.saves_usd_per_year),
            between(alternative.saves_interval),
            share(alternative.cheapest_share),
            share(alternative.utilisation),
            share(alternative.overflow),
            alternative.flips_at_tokens_per_day.map_or_else(|| "–".to_owned(), |tokens| format!("{tokens:.0}")),
        ]
    }));
    let mut months = vec![vec!["month".to_owned(), "days".to_owned()]];
    months[0].extend(found.alternatives.iter().map(|alternative| alternative.choice.name()));
    months[0].extend(["best", "regret of the API", "regret of the advice"].map(str::to_owned));
    months.extend(found.months.iter().map(|month| {
        let mut line = vec![month.month.clone(), month.days.to_string()];
        line.extend(month.usd.iter().copied().map(usd));
        line.extend([month.best.name(), usd(month.regret_usd), usd(month.recommended_regret_usd)]);
        line
    }));
    let flip = match found.flip_utilisation {
        None => "A card never beats the API at the price paid.".to_owned(),
        Some(at) if at > 1.0 => format!("A card would have to do {at:.2} times what it can to beat the API."),
        Some(at) => format!("A card beats the API from {:.1} % of the time at work on.", 100.0 * at),
    };
    // What the replicates leave open is not advice.
    let best = found.alternatives.iter().find(|it| it.choice == found.recommended);
    let unsure = best.and_then(|it| it.saves_interval).is_some_and(|saved| saved.low <= 0.0 && saved.high >= 0.0);
    let sure = match (&found.interval_unknown, unsure && found.recommended != Choice::Api) {
        (Some(_), _) => " (of too few days to be sure)",
        (None, true) => " (not for certain: the interval of what it saves holds zero)",
        (None, false) => "",
    };
    let interval = found.interval_unknown.as_ref().map_or_else(String::new, |why| format!("\nIntervals: {why}."));
    // The two that are compared in the end; the JSON has them all.
    let shown = found.alternatives.iter().filter(|it| it.choice == Choice::Api || it.choice == found.recommended);
    let whys: Vec<Why> = shown.map(|alternative| alternative.why.clone()).collect();
    format!(
        "{} days, on a mean day {:.0} tokens of prompt and {:.0} of text.\n\n{}\n\nAdvice: {}{sure}. {flip}{interval}\n\n{}\n\n\
         {}",
        found.days,
        found.prompt_tokens_per_day,
        found.text_tokens_per_day,
        print::columns(&lines),
        found.recommended.name(),
        print::columns(&months),
        self::whys(&whys)
    )
}
