//! Buy a card or buy tokens: from which volume on an own card is cheaper than an API.
//!
//! The model is an annuity, every amount in USD per year. With price P, resale fraction R, life n, interest r, and u
//! the fraction of the 8,760 hours of a year in which the card works for this purpose:
//!
//! - capital = (P − R·P/(1+r)ⁿ)·CRF, maintenance = m·P;
//! - idle energy = W_idle/η/1000·(1 + cooling)·8760·(1 − u)·tariff, active energy the same with the active watts and u;
//! - opportunity = o·8760·u;
//! - with ρ tokens of prompt for each of text, a token of text takes 1/decode + ρ/prefill seconds here and costs
//!   p_out + ρ·p_in at the API.
//!
//! Cost is linear in u: total(u) = F₀ + slope·u. The break-even is u* = F₀/(p·tps·31.536 − slope); systems.md 4, 40
//! and 158.

use crate::{
    cost::capital_recovery_factor,
    document,
    number::{finite, fraction, not_negative, positive, within},
    why::{Origin, Why},
};
use serde::{Deserialize, Serialize};
use tender_base::{Code, Problem};

pub mod comparison;
pub mod evidence;
pub mod presets;
pub mod rule;
pub mod usage;

/// Hours of a year of 365 days.
pub const HOURS_PER_YEAR: f64 = 8_760.0;
/// Millions of tokens that a token per second makes in a year.
const MILLIONS_PER_YEAR: f64 = HOURS_PER_YEAR * 3_600.0 / 1e6;
/// Most cards in one calculation: more than a house feeds, and a typing error is caught.
pub const MAX_CARDS: u32 = 64;
/// Longest life of a card in years: beyond it somebody meant months.
const MAX_YEARS: f64 = 50.0;

/// What a card costs and does, and what the API asks. The `tender breakeven --input` document.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Price of a card, USD; zero for one that is paid off and would not be sold.
    pub price_usd: f64,
    /// What it is worth after `lifetime_years`, as a fraction of the price, 0 to 1.
    pub resale_fraction: f64,
    /// Years until it is sold.
    pub lifetime_years: f64,
    /// Interest per year, 0 to 1.
    pub discount_rate: f64,
    /// The card's draw while it works, watts.
    pub gpu_watts: f64,
    /// What the rest of the machine draws more while the card works, watts.
    pub host_watts: f64,
    /// What card and machine draw for this purpose while they wait, watts.
    pub idle_watts: f64,
    /// Share of the power at the wall that the power supply passes on, above 0 to 1.
    pub psu_efficiency: f64,
    /// Energy for cooling as a fraction of that at the wall.
    pub cooling_overhead: f64,
    /// Maintenance per year as a fraction of the price.
    pub maintenance_fraction: f64,
    /// Price of electricity, USD/kWh.
    pub tariff_usd_per_kwh: f64,
    /// Margin of the best other use that an active hour displaces, USD.
    pub opportunity_usd_per_active_hour: f64,
    /// Tokens of text per second while a card works.
    pub tokens_per_second: f64,
    /// Fraction of the year in which it works, above 0 to 1.
    pub utilisation: f64,
    /// What the API asks for a million tokens of text, USD.
    pub api_usd_per_million: f64,
    /// What the API asks for a million tokens of prompt, USD. Needed when `input_output_ratio` is above zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_usd_per_million_input: Option<f64>,
    /// Tokens of prompt for each token of text; none counts text only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_output_ratio: Option<f64>,
    /// Tokens of prompt that a card reads per second. Needed when `input_output_ratio` is above zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_tokens_per_second: Option<f64>,
    /// How many equal cards, each with its own share of the machine; none means one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cards: Option<u32>,
}

/// The yearly bill and the break-even, of all cards together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Annuity of the price less the present value of the resale.
    pub capital_usd_per_year: f64,
    /// Maintenance.
    pub maintenance_usd_per_year: f64,
    /// Energy while waiting.
    pub idle_energy_usd_per_year: f64,
    /// Energy while working.
    pub active_energy_usd_per_year: f64,
    /// Income forgone.
    pub opportunity_usd_per_year: f64,
    /// The five above.
    pub total_usd_per_year: f64,
    /// Total over the tokens of text made at `utilisation`, prompts included in the cost.
    pub usd_per_million_tokens: f64,
    /// What a million tokens more cost: active energy and opportunity.
    pub marginal_usd_per_million_tokens: f64,
    /// Total over the active hours of the year: of all cards, when all work together.
    pub usd_per_active_hour: f64,
    /// From where on it pays.
    pub breakeven: Breakeven,
    /// How the two figures that a person acts on came about.
    pub why: Vec<Why>,
}

/// The volume from which on the cards are cheaper than the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breakeven {
    /// Tokens of text a day; none when there is no such volume.
    pub tokens_per_day: Option<f64>,
    /// The utilisation at which the cards make that many; above 1 they cannot.
    pub utilisation: Option<f64>,
    /// Whether these cards can make that many.
    pub reachable: bool,
    /// In a sentence.
    pub why: String,
}

/// Reads the `tender breakeven --input` document.
///
/// # Errors
/// [`Code::Invalid`], naming the field that is missing, unknown, or no number in range.
pub fn parse(json: &str) -> Result<Input, Problem> {
    let hint = "correct the named field; `tender breakeven --help` lists them";
    let input: Input = document::read(json, "the break-even input", hint)?;
    input.check()?;
    Ok(input)
}

impl Input {
    /// Whether every number is in its range.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the first field that is not.
    pub fn check(&self) -> Result<(), Problem> {
        self.card()?;
        fraction("utilisation", self.utilisation)?;
        positive("api_usd_per_million", self.api_usd_per_million)?;
        let ratio = match self.input_output_ratio {
            Some(ratio) => not_negative("input_output_ratio", ratio)?,
            None if self.api_usd_per_million_input.is_some() => {
                return Err(missing("input_output_ratio", "the price of the prompt has no effect without it"));
            }
            None => 0.0,
        };
        if let Some(price) = self.api_usd_per_million_input {
            not_negative("api_usd_per_million_input", price)?;
        }
        if ratio > 0.0 {
            if self.api_usd_per_million_input.is_none() {
                return Err(missing("api_usd_per_million_input", "input_output_ratio says that there are prompts"));
            }
            if self.prefill_tokens_per_second.is_none() {
                return Err(missing("prefill_tokens_per_second", "input_output_ratio says that there are prompts"));
            }
        }
        Ok(())
    }

    /// What is about the card alone: everything but utilisation, prices at the API and the mix of tokens.
    fn card(&self) -> Result<(), Problem> {
        not_negative("price_usd", self.price_usd)?;
        within("resale_fraction", self.resale_fraction, 0.0, 1.0)?;
        within("lifetime_years", positive("lifetime_years", self.lifetime_years)?, 0.0, MAX_YEARS)?;
        within("discount_rate", self.discount_rate, 0.0, 1.0)?;
        positive("gpu_watts", self.gpu_watts)?;
        not_negative("host_watts", self.host_watts)?;
        within("idle_watts", self.idle_watts, 0.0, self.gpu_watts + self.host_watts)?;
        fraction("psu_efficiency", self.psu_efficiency)?;
        not_negative("cooling_overhead", self.cooling_overhead)?;
        not_negative("maintenance_fraction", self.maintenance_fraction)?;
        not_negative("tariff_usd_per_kwh", self.tariff_usd_per_kwh)?;
        not_negative("opportunity_usd_per_active_hour", self.opportunity_usd_per_active_hour)?;
        positive("tokens_per_second", self.tokens_per_second)?;
        if let Some(speed) = self.prefill_tokens_per_second {
            positive("prefill_tokens_per_second", speed)?;
        }
        within("cards", f64::from(self.cards()), 1.0, f64::from(MAX_CARDS))?;
        Ok(())
    }

    fn cards(&self) -> u32 {
        self.cards.unwrap_or(1)
    }

    /// Seconds that a card takes for a job: reading the prompt, then writing the text.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming `prefill_tokens_per_second` when there is a prompt and no such number.
    pub fn seconds(&self, prompt_tokens: f64, text_tokens: f64) -> Result<f64, Problem> {
        let prefill = match self.prefill_tokens_per_second {
            Some(speed) => prompt_tokens / speed,
            None if prompt_tokens > 0.0 => {
                return Err(missing("prefill_tokens_per_second", "there are prompts to read"));
            }
            None => 0.0,
        };
        Ok(prefill + text_tokens / self.tokens_per_second)
    }

    /// The yearly cost of **one** card as a line over utilisation.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the field.
    pub fn yearly(&self) -> Result<Yearly, Problem> {
        self.card()?;
        let kwh_per_watt_year = HOURS_PER_YEAR / self.psu_efficiency / 1000.0 * (1.0 + self.cooling_overhead);
        let usd_per_watt_year = kwh_per_watt_year * self.tariff_usd_per_kwh;
        let present = self.price_usd
            - self.resale_fraction * self.price_usd / libm::pow(1.0 + self.discount_rate, self.lifetime_years);
        let capital = present * capital_recovery_factor(self.discount_rate, self.lifetime_years);
        Ok(Yearly {
            capital_usd: finite("capital_usd_per_year", capital)?,
            maintenance_usd: finite("maintenance_usd_per_year", self.maintenance_fraction * self.price_usd)?,
            idle_usd: finite("idle_energy_usd_per_year", self.idle_watts * usd_per_watt_year)?,
            active_usd: finite("active_energy_usd_per_year", (self.gpu_watts + self.host_watts) * usd_per_watt_year)?,
            opportunity_usd: finite("opportunity_usd_per_year", self.opportunity_usd_per_active_hour * HOURS_PER_YEAR)?,
        })
    }
}

/// What one card costs in a year, USD: what is fixed, what a year of waiting costs and what a year of work costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yearly {
    /// Capital recovery.
    pub capital_usd: f64,
    /// Maintenance.
    pub maintenance_usd: f64,
    /// Energy of a whole year of waiting.
    pub idle_usd: f64,
    /// Energy of a whole year of work.
    pub active_usd: f64,
    /// Income forgone by a whole year of work.
    pub opportunity_usd: f64,
}

impl Yearly {
    /// What it costs without any work, USD/year: F₀.
    #[must_use]
    pub fn fixed_usd(&self) -> f64 {
        self.capital_usd + self.maintenance_usd + self.idle_usd
    }

    /// What a whole year of work adds to that, USD/year; the energy of waiting is then saved.
    #[must_use]
    pub fn slope_usd(&self) -> f64 {
        self.active_usd + self.opportunity_usd - self.idle_usd
    }

    /// Cost at a utilisation from 0 to 1, USD/year.
    #[must_use]
    pub fn total_usd(&self, utilisation: f64) -> f64 {
        self.capital_usd
            + self.maintenance_usd
            + self.idle_usd * (1.0 - utilisation)
            + (self.active_usd + self.opportunity_usd) * utilisation
    }
}

/// The utilisation of a card from which on it is cheaper than an API that asks `api_usd_per_second` for what the
/// card makes in a second of work; none when working costs at least as much as the API asks.
#[must_use]
pub fn flip(yearly: &Yearly, api_usd_per_second: f64) -> Option<f64> {
    let gain = api_usd_per_second * 3_600.0 * HOURS_PER_YEAR - yearly.slope_usd();
    let utilisation = yearly.fixed_usd() / gain;
    (gain > 0.0 && utilisation.is_finite()).then_some(utilisation)
}

/// Works out the yearly bill and the break-even.
///
/// # Errors
/// [`Code::Invalid`], naming the field that is out of range, or the result that does not fit a number.
pub fn breakeven(input: &Input) -> Result<Output, Problem> {
    input.check()?;
    let yearly = input.yearly()?;
    let cards = f64::from(input.cards());
    let u = input.utilisation;
    let ratio = input.input_output_ratio.unwrap_or(0.0);
    let text_per_second = 1.0 / input.seconds(ratio, 1.0)?;
    let api = input.api_usd_per_million + ratio * input.api_usd_per_million_input.unwrap_or(0.0);

    let idle = cards * yearly.idle_usd * (1.0 - u);
    let active = cards * yearly.active_usd * u;
    let opportunity = cards * yearly.opportunity_usd * u;
    let total = cards * yearly.total_usd(u);
    let millions = cards * text_per_second * MILLIONS_PER_YEAR * u;
    let per_million = finite("usd_per_million_tokens", total / millions)?;
    let marginal = finite("marginal_usd_per_million_tokens", (active + opportunity) / millions)?;

    let found = flip(&yearly, api * text_per_second / 1e6);
    let breakeven = match found {
        None => Breakeven {
            tokens_per_day: None,
            utilisation: None,
            reachable: false,
            why: format!(
                "marginal cost >= API price: a million tokens cost ${:.4} more here than idling and ${api:.4} at the API",
                yearly.slope_usd() / (text_per_second * MILLIONS_PER_YEAR)
            ),
        },
        Some(at) => {
            let tokens = finite("breakeven.tokens_per_day", at * cards * text_per_second * 86_400.0)?;
            let reachable = at <= 1.0;
            let why = if reachable {
                format!("from {tokens:.0} tokens a day on, {:.1} % of the time at work, owning is cheaper", at * 100.0)
            } else {
                format!("it would take {at:.2} times what the cards can do")
            };
            Breakeven { tokens_per_day: Some(tokens), utilisation: Some(at), reachable, why }
        }
    };
    let mut why = vec![total_why(input, &yearly, total, per_million)];
    let mixed =
        if input.input_output_ratio.is_some_and(|ratio| ratio > 0.0) { Origin::Computed } else { Origin::Stated };
    why.extend(breakeven.tokens_per_day.map(|tokens| {
        Why::new(
            "break-even",
            tokens,
            "tokens of text per day",
            "fixed / (API price × tokens/s × 31.536 − slope) × tokens/s × 86,400, over all cards",
            "annuity model, docs/economics.md, break-even",
        )
        .with("fixed", yearly.fixed_usd(), "USD/year", Origin::Computed)
        .with("slope", yearly.slope_usd(), "USD/year of work", Origin::Computed)
        .with("API price", api, "USD per million tokens of text with their prompts", mixed)
        .with("tokens/s", text_per_second, "tokens of text per second, prompts read", Origin::Computed)
        .with("cards", cards, "", Origin::Stated)
    }));
    Ok(Output {
        capital_usd_per_year: cards * yearly.capital_usd,
        maintenance_usd_per_year: cards * yearly.maintenance_usd,
        idle_energy_usd_per_year: idle,
        active_energy_usd_per_year: active,
        opportunity_usd_per_year: opportunity,
        total_usd_per_year: total,
        usd_per_million_tokens: per_million,
        marginal_usd_per_million_tokens: marginal,
        usd_per_active_hour: finite("usd_per_active_hour", total / (HOURS_PER_YEAR * u))?,
        breakeven,
        why,
    })
}

fn total_why(input: &Input, yearly: &Yearly, total: f64, per_million: f64) -> Why {
    Why::new(
        "cost of a million tokens",
        per_million,
        "USD",
        "(capital + maintenance + idle × (1 − u) + (active + opportunity) × u) × cards / millions of tokens",
        "annuity model, docs/economics.md, break-even",
    )
    .with("capital", yearly.capital_usd, "USD/year and card", Origin::Computed)
    .with("maintenance", yearly.maintenance_usd, "USD/year and card", Origin::Computed)
    .with("idle", yearly.idle_usd, "USD/year of waiting and card", Origin::Computed)
    .with("active", yearly.active_usd, "USD/year of work and card", Origin::Computed)
    .with("opportunity", yearly.opportunity_usd, "USD/year of work and card", Origin::Computed)
    .with("u", input.utilisation, "", Origin::Stated)
    .with("cards", f64::from(input.cards()), "", Origin::Stated)
    .with("total", total, "USD/year", Origin::Computed)
}

fn missing(field: &str, because: &str) -> Problem {
    Problem::new(Code::Invalid, format!("{field} is missing: {because}"), format!("give {field}"))
}

#[cfg(test)]
#[path = "breakeven/tests.rs"]
mod tests;
