//! Buy one to four cards, rent by the hour, or stay with the API: what each costs for the use that a log or a bill
//! shows, day by day.
//!
//! A day's use takes s = prompt/prefill + text/decode seconds on one card. With k cards a day can serve k times the
//! hours in which work comes, the rest goes to the API; a card bought is paid for every day, used or not. Rented hours
//! are whole. Intervals are from a bootstrap that draws weeks, since days of a week resemble one another (circular
//! block bootstrap, Politis and Romano 1992, with expanded percentiles).

use super::{HOURS_PER_YEAR, Input, Yearly, flip, usage::Day};
use crate::{
    confidence::Z_95,
    draws::Draws,
    number::{fraction, positive},
    why::{Origin, Why},
};
use serde::{Deserialize, Serialize};
use tender_base::{Code, Problem};

/// Most cards that are compared.
pub const MAX_CARDS: u32 = 4;
/// Fewest days from which an interval is stated: four weeks, so that each day of the week was seen four times.
pub const MIN_DAYS: usize = 28;
/// Bootstrap replicates: enough that the ends of the interval move by about a hundredth of its width.
pub const REPLICATES: usize = 2_000;
const BLOCK_DAYS: usize = 7;
const DAYS_PER_YEAR: f64 = HOURS_PER_YEAR / 24.0;

/// What there is to choose from.
#[derive(Clone, Debug, PartialEq)]
pub struct Choices {
    /// The card; its `utilisation`, prices at the API and mix of tokens are taken from the days instead.
    pub card: Input,
    /// Fraction of a day in which work comes and a card can be kept busy, above 0 to 1.
    pub busy_share: f64,
    /// A card of a peer, rented by the hour; none when nobody offers one.
    pub rent: Option<Rent>,
}

/// A card to rent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rent {
    /// Price of an hour, USD.
    pub usd_per_hour: f64,
    /// Tokens of text that it writes per second.
    pub tokens_per_second: f64,
    /// Tokens of prompt that it reads per second.
    pub prefill_tokens_per_second: Option<f64>,
}

/// One of the alternatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "choice", rename_all = "snake_case")]
pub enum Choice {
    /// Stay with the API.
    Api,
    /// Buy so many cards.
    Buy {
        /// How many.
        cards: u32,
    },
    /// Rent by the hour.
    Rent,
}

impl Choice {
    /// How it is called on screen.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Api => "stay with the API".to_owned(),
            Self::Buy { cards: 1 } => "buy one card".to_owned(),
            Self::Buy { cards } => format!("buy {cards} cards"),
            Self::Rent => "rent by the hour".to_owned(),
        }
    }
}

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// What an alternative costs for the use seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Which.
    #[serde(flatten)]
    pub choice: Choice,
    /// USD for a year of such days.
    pub usd_per_year: f64,
    /// Its 95 % interval; none when there are too few days.
    pub interval: Option<Interval>,
    /// Saved against staying with the API, USD per year; negative when it costs more.
    pub saves_usd_per_year: f64,
    /// Its 95 % interval.
    pub saves_interval: Option<Interval>,
    /// In which fraction of the replicates this is the cheapest.
    pub cheapest_share: Option<f64>,
    /// Fraction of all hours in which the cards would work; none for the API and for rent.
    pub utilisation: Option<f64>,
    /// Fraction of the work that the cards cannot do and the API does; none for the API and for rent.
    pub overflow: Option<f64>,
    /// Tokens of text a day, with their prompts in the mix seen, from which on this beats the API; for rent those that
    /// pay for one whole hour. None when never.
    pub flips_at_tokens_per_day: Option<f64>,
    /// How the yearly cost came about.
    pub why: Why,
}

/// A calendar month.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Month {
    /// `2026-11`.
    pub month: String,
    /// How many of its days are in the log.
    pub days: u32,
    /// What each alternative would have cost, USD, in the order of [`Comparison::alternatives`]; of a card the days'
    /// share of its yearly cost.
    pub usd: Vec<f64>,
    /// The cheapest in hindsight.
    pub best: Choice,
    /// What staying with the API cost more than that, USD.
    pub regret_usd: f64,
    /// What the alternative recommended over the whole span cost more than that, USD.
    pub recommended_regret_usd: f64,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Days compared, those without use among them.
    pub days: u32,
    /// Tokens of prompt on a mean day.
    pub prompt_tokens_per_day: f64,
    /// Tokens of text on a mean day.
    pub text_tokens_per_day: f64,
    /// The API first, then one to four cards, then rent.
    pub alternatives: Vec<Alternative>,
    /// The cheapest over the whole span.
    pub recommended: Choice,
    /// The utilisation of a card from which on it beats the API at the price paid; none when never, and above 1 it
    /// cannot be reached.
    pub flip_utilisation: Option<f64>,
    /// Month by month.
    pub months: Vec<Month>,
    /// Why there are no intervals; none when there are.
    pub interval_unknown: Option<String>,
}

/// Compares the alternatives over `days`. The draws choose the weeks of the bootstrap: the same seed, the same
/// intervals.
///
/// # Errors
/// [`Code::Invalid`], naming the field: no days, no use at all, a number out of range, or prompts on the bill and no
/// speed at which they are read.
pub fn compare(days: &[Day], choices: &Choices, draws: &mut Draws) -> Result<Comparison, Problem> {
    let card = &choices.card;
    let yearly = card.yearly()?;
    fraction("busy_share", choices.busy_share)?;
    let total = |of: fn(&Day) -> f64| days.iter().map(of).sum::<f64>();
    let (prompt, text, api) = (total(|d| d.prompt_tokens), total(|d| d.text_tokens), total(|d| d.api_usd));
    if prompt + text <= 0.0 {
        return Err(Problem::new(Code::Invalid, "the days hold no tokens", "take a span with use in it"));
    }
    let seconds = days
        .iter()
        .map(|day| card.seconds(day.prompt_tokens, day.text_tokens))
        .collect::<Result<Vec<f64>, Problem>>()?;
    let rented = choices.rent.as_ref().map(|rent| rented(days, rent)).transpose()?;

    let mut alternatives: Vec<(Choice, Vec<f64>)> = vec![(Choice::Api, days.iter().map(|day| day.api_usd).collect())];
    for cards in 1..=MAX_CARDS {
        let capacity = f64::from(cards) * choices.busy_share * 86_400.0;
        let fixed = f64::from(cards) * yearly.fixed_usd() / DAYS_PER_YEAR;
        let per_second = yearly.slope_usd() / (HOURS_PER_YEAR * 3_600.0);
        let usd = days.iter().zip(&seconds).map(|(day, wanted)| {
            let served = served(*wanted, capacity);
            fixed + served * wanted * per_second + (1.0 - served) * day.api_usd
        });
        alternatives.push((Choice::Buy { cards }, usd.collect()));
    }
    let rent_hour = rented.as_ref().map(|rented| rented.pays_from(text, api));
    alternatives.extend(rented.map(|rented| (Choice::Rent, rented.usd)));

    let usd: Vec<&[f64]> = alternatives.iter().map(|(_, usd)| usd.as_slice()).collect();
    let yearly_usd: Vec<f64> = usd.iter().map(|usd| mean(usd) * DAYS_PER_YEAR).collect();
    let best = cheapest(&yearly_usd);
    let spread = (days.len() >= MIN_DAYS).then(|| bootstrap(&usd, draws));
    let work: f64 = seconds.iter().sum();
    let flip_utilisation = flip(&yearly, api / work);
    let text_per_second = text / work;

    let listed =
        alternatives.iter().enumerate().map(|(i, (choice, _))| {
            let busy = |cards: u32| {
                let capacity = f64::from(cards) * choices.busy_share * 86_400.0;
                let done: f64 = seconds.iter().map(|wanted| served(*wanted, capacity) * wanted).sum();
                (done / (f64::from(cards) * 86_400.0 * days.len() as f64), 1.0 - done / work)
            };
            let (bought, flips) = match choice {
                Choice::Api => (None, None),
                Choice::Buy { cards } => (
                    Some(busy(*cards)),
                    flip_utilisation
                        .filter(|at| *at <= choices.busy_share)
                        .map(|at| at * f64::from(*cards) * 86_400.0 * text_per_second),
                ),
                Choice::Rent => (None, rent_hour.flatten()),
            };
            Alternative {
                choice: *choice,
                usd_per_year: yearly_usd[i],
                interval: spread.as_ref().map(|spread| spread.cost[i]),
                saves_usd_per_year: yearly_usd[0] - yearly_usd[i],
                saves_interval: spread.as_ref().map(|spread| spread.saves[i]),
                cheapest_share: spread.as_ref().map(|spread| spread.cheapest[i]),
                utilisation: bought.map(|(utilisation, _)| utilisation),
                overflow: bought.map(|(_, overflow)| overflow),
                flips_at_tokens_per_day: flips,
                why: match choice {
                    Choice::Api => api_why(yearly_usd[i], days.len()),
                    Choice::Buy { cards } => buy_why(*cards, yearly_usd[i], &yearly, yearly_usd[0], work, days.len())
                        .with("busy share", choices.busy_share, "", Origin::Stated),
                    Choice::Rent => rent_why(yearly_usd[i], choices.rent.as_ref(), days.len()),
                },
            }
        });
    Ok(Comparison {
        days: u32::try_from(days.len()).unwrap_or(u32::MAX),
        prompt_tokens_per_day: prompt / days.len() as f64,
        text_tokens_per_day: text / days.len() as f64,
        recommended: alternatives[best].0,
        flip_utilisation,
        months: months(days, &alternatives, best),
        interval_unknown: spread
            .is_none()
            .then(|| format!("unknown: {} days are seen, an interval needs {MIN_DAYS}", days.len())),
        alternatives: listed.collect(),
    })
}

impl Comparison {
    /// How the regret of a month came about; none when there is no such month.
    #[must_use]
    pub fn regret_why(&self, month: usize) -> Option<Why> {
        let month = self.months.get(month)?;
        let why = Why::new(
            format!("regret of staying with the API in {}", month.month),
            month.regret_usd,
            "USD",
            "API − the least of all alternatives",
            "docs/economics.md, from evidence",
        );
        let origin = |choice| if choice == Choice::Api { Origin::Measured } else { Origin::Computed };
        Some(self.alternatives.iter().zip(&month.usd).fold(why, |why, (alternative, usd)| {
            why.with(alternative.choice.name(), *usd, "USD", origin(alternative.choice))
        }))
    }
}

fn yearly_why(choice: Choice, usd: f64, formula: &str, days: usize) -> Why {
    Why::new(format!("{}, cost of a year", choice.name()), usd, "USD/year", formula, "docs/economics.md, from evidence")
        .with("days", days as f64, "days", Origin::Measured)
}

fn api_why(usd: f64, days: usize) -> Why {
    yearly_why(Choice::Api, usd, "mean bill of a day × 365", days).with(
        "bill",
        usd / DAYS_PER_YEAR,
        "USD/day",
        Origin::Measured,
    )
}

fn buy_why(cards: u32, usd: f64, yearly: &Yearly, api: f64, work: f64, days: usize) -> Why {
    let formula =
        "mean of a day of (cards × fixed/365 + seconds served × slope/31,536,000 + the rest at the API) × 365";
    yearly_why(Choice::Buy { cards }, usd, formula, days)
        .with("cards", f64::from(cards), "", Origin::Stated)
        .with("fixed", yearly.fixed_usd(), "USD/year and card", Origin::Computed)
        .with("slope", yearly.slope_usd(), "USD/year of work and card", Origin::Computed)
        .with("work of one card", work / days as f64, "s/day", Origin::Computed)
        .with("API", api, "USD/year", Origin::Measured)
}

fn rent_why(usd: f64, rent: Option<&Rent>, days: usize) -> Why {
    let price = rent.map_or(0.0, |rent| rent.usd_per_hour);
    let why = yearly_why(Choice::Rent, usd, "mean of a day of ⌈hours of work⌉ × price × 365", days);
    why.with("price", price, "USD/h", Origin::Stated)
}

/// The fraction of a day's work that the cards can do.
fn served(wanted: f64, capacity: f64) -> f64 {
    if wanted > capacity { capacity / wanted } else { 1.0 }
}

/// What renting comes to.
struct Rented {
    /// USD for each day.
    usd: Vec<f64>,
    /// Work of all days, seconds.
    seconds: f64,
    /// USD for an hour.
    usd_per_hour: f64,
}

impl Rented {
    /// Tokens of text that cost at the API what a rented hour costs; none when an hour cannot do so many. `text` tokens
    /// cost `api_usd` there.
    fn pays_from(&self, text: f64, api_usd: f64) -> Option<f64> {
        let tokens = self.usd_per_hour / (api_usd / text);
        (tokens.is_finite() && tokens * self.seconds / text <= 3600.0).then_some(tokens)
    }
}

/// Whole hours of each day at the hourly price: the day's work is done one after the other.
fn rented(days: &[Day], rent: &Rent) -> Result<Rented, Problem> {
    positive("rent.usd_per_hour", rent.usd_per_hour)?;
    positive("rent.tokens_per_second", rent.tokens_per_second)?;
    let prefill = match rent.prefill_tokens_per_second {
        Some(speed) => positive("rent.prefill_tokens_per_second", speed)?,
        None if days.iter().any(|day| day.prompt_tokens > 0.0) => {
            return Err(Problem::new(
                Code::Invalid,
                "rent.prefill_tokens_per_second is missing: there are prompts to read",
                "give rent.prefill_tokens_per_second",
            ));
        }
        None => f64::INFINITY,
    };
    let seconds = |day: &Day| day.prompt_tokens / prefill + day.text_tokens / rent.tokens_per_second;
    Ok(Rented {
        usd: days.iter().map(|day| libm::ceil(seconds(day) / 3600.0) * rent.usd_per_hour).collect(),
        seconds: days.iter().map(seconds).sum(),
        usd_per_hour: rent.usd_per_hour,
    })
}

fn mean(usd: &[f64]) -> f64 {
    usd.iter().sum::<f64>() / usd.len() as f64
}

/// The index of the smallest; of equal ones the first, so that what needs no purchase is preferred.
fn cheapest(usd: &[f64]) -> usize {
    (0..usd.len()).fold(0, |best, i| if usd[i] < usd[best] { i } else { best })
}

struct Spread {
    cost: Vec<Interval>,
    saves: Vec<Interval>,
    cheapest: Vec<f64>,
}

/// `usd`: per alternative the cost of each day, the API first.
fn bootstrap(usd: &[&[f64]], draws: &mut Draws) -> Spread {
    let n = usd[0].len();
    let blocks = n as f64 / BLOCK_DAYS as f64;
    let mut replicates: Vec<Vec<f64>> = vec![Vec::with_capacity(REPLICATES); usd.len()];
    let mut wins = vec![0usize; usd.len()];
    for _ in 0..REPLICATES {
        let mut sums = vec![0.0; usd.len()];
        let mut drawn = 0;
        while drawn < n {
            let start = draws.below(n);
            let block = BLOCK_DAYS.min(n - drawn);
            for (sum, usd) in sums.iter_mut().zip(usd) {
                *sum += (start..start + block).map(|day| usd[day % n]).sum::<f64>();
            }
            drawn += block;
        }
        let yearly: Vec<f64> = sums.iter().map(|sum| sum / n as f64 * DAYS_PER_YEAR).collect();
        wins[cheapest(&yearly)] += 1;
        for (replicates, usd) in replicates.iter_mut().zip(yearly) {
            replicates.push(usd);
        }
    }
    let saves = replicates
        .iter()
        .map(|own| interval(own.iter().zip(&replicates[0]).map(|(own, api)| api - own).collect(), blocks))
        .collect();
    Spread {
        cost: replicates.iter().map(|own| interval(own.clone(), blocks)).collect(),
        saves,
        cheapest: wins.iter().map(|wins| *wins as f64 / REPLICATES as f64).collect(),
    }
}

/// The 95 % interval of a sorted bootstrap of so many blocks: percentiles taken further out than 2.5 and 97.5, to where
/// Student's t would be instead of the normal distribution, since few blocks vary less than what they stand for
/// (expanded percentile interval, Hesterberg 2015).
fn interval(mut values: Vec<f64>, blocks: f64) -> Interval {
    values.sort_by(f64::total_cmp);
    let share = 0.5 * libm::erfc((blocks / (blocks - 1.0)).sqrt() * student(blocks - 1.0) / std::f64::consts::SQRT_2);
    let last = (values.len() - 1) as f64;
    Interval { low: values[(share * last).floor() as usize], high: values[((1.0 - share) * last).ceil() as usize] }
}

/// The 97.5 % point of Student's t with `nu` degrees of freedom, 3 or more, to one per cent (Cornish and Fisher's
/// expansion, Abramowitz and Stegun 26.7.5).
fn student(nu: f64) -> f64 {
    let z = Z_95;
    let z2 = z * z;
    let (z3, z5, z7) = (z * z2, z * z2 * z2, z * z2 * z2 * z2);
    z + (z3 + z) / (4.0 * nu)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * nu * nu)
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * nu * nu * nu)
}

fn months(days: &[Day], alternatives: &[(Choice, Vec<f64>)], recommended: usize) -> Vec<Month> {
    let mut months: Vec<Month> = Vec::new();
    for (i, day) in days.iter().enumerate() {
        let name = day.day.to_string().chars().take(7).collect::<String>();
        if months.last().is_none_or(|last| last.month != name) {
            months.push(Month {
                month: name,
                days: 0,
                usd: vec![0.0; alternatives.len()],
                best: Choice::Api,
                regret_usd: 0.0,
                recommended_regret_usd: 0.0,
            });
        }
        if let Some(month) = months.last_mut() {
            month.days += 1;
            for (sum, (_, usd)) in month.usd.iter_mut().zip(alternatives) {
                *sum += usd[i];
            }
        }
    }
    for month in &mut months {
        let best = cheapest(&month.usd);
        month.best = alternatives[best].0;
        month.regret_usd = month.usd[0] - month.usd[best];
        month.recommended_regret_usd = month.usd[recommended] - month.usd[best];
    }
    months
}

#[cfg(test)]
#[path = "comparison_tests.rs"]
mod tests;
