//! Buy a card or buy tokens. The contracts of `tender breakeven`, field by field, and what a screen needs beside them.
//!
//! Numbers are USD and tokens as [`f64`]: nothing here is owed to anybody.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

api_types! {
    /// What a card costs and does, and what the API asks: the fields of `tender breakeven --input`.
    pub struct BreakevenInput {
        /// Price of a card, USD.
        pub price_usd: f64,
        /// What it is worth when it is sold, as a fraction of the price.
        pub resale_fraction: f64,
        /// Years until it is sold.
        pub lifetime_years: f64,
        /// Interest per year.
        pub discount_rate: f64,
        /// The card's draw while it works, watts.
        pub gpu_watts: f64,
        /// What the rest of the machine draws more while the card works, watts.
        pub host_watts: f64,
        /// What card and machine draw for this purpose while they wait, watts.
        pub idle_watts: f64,
        /// Share of the power at the wall that the power supply passes on.
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
        /// Fraction of the year in which it works.
        pub utilisation: f64,
        /// What the API asks for a million tokens of text, USD.
        pub api_usd_per_million: f64,
        /// What the API asks for a million tokens of prompt, USD.
        pub api_usd_per_million_input: Option<f64>,
        /// Tokens of prompt for each token of text.
        pub input_output_ratio: Option<f64>,
        /// Tokens of prompt that a card reads per second.
        pub prefill_tokens_per_second: Option<f64>,
        /// How many equal cards; one when absent.
        pub cards: Option<u32>,
    }

    /// Where a number comes from.
    pub struct Origin {
        /// How it is known.
        #[cfg_attr(test, ts(type = "'measured' | 'stated' | 'assumed' | 'published' | 'computed'"))]
        pub origin: String,
        /// Who published it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(test, ts(optional))]
        pub by: Option<String>,
        /// On which day, `2026-11-21`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(test, ts(optional))]
        pub on: Option<String>,
    }

    /// One input of a number.
    pub struct WhyTerm {
        /// As the formula names it.
        pub name: String,
        /// Its value.
        pub value: f64,
        /// Its unit; empty for a plain number.
        pub unit: String,
        /// Where it comes from.
        #[serde(flatten)]
        pub origin: Origin,
    }

    /// Why a number is what it is.
    pub struct Why {
        /// What the number is.
        pub name: String,
        /// The number.
        pub value: f64,
        /// Its unit.
        pub unit: String,
        /// How it follows from the inputs, in their names.
        pub formula: String,
        /// Where the formula is from.
        pub source: String,
        /// What it stands on.
        pub inputs: Vec<WhyTerm>,
    }

    /// A case to start from.
    pub struct BreakevenPreset {
        /// Which one.
        #[cfg_attr(test, ts(type = "'own' | 'example' | 'seed_004_claimed' | 'seed_004'"))]
        pub name: String,
        /// Its numbers.
        pub input: BreakevenInput,
        /// Where each of them comes from, by field.
        pub origins: BTreeMap<String, Origin>,
        /// Where the case comes from, when it has a story.
        pub history: Option<String>,
        /// What it claims: tokens of text a day above which owning is cheaper.
        pub claimed_tokens_per_day: Option<f64>,
    }

    /// All cases.
    pub struct BreakevenPresets {
        /// The own card first, where it is known.
        pub presets: Vec<BreakevenPreset>,
    }

    /// A question of break-even.
    pub struct BreakevenQuery {
        /// The numbers.
        pub input: BreakevenInput,
        /// Where each of them comes from, by field; stated when absent.
        #[serde(default)]
        pub origins: BTreeMap<String, Origin>,
        /// By how much speed, power draw, tariff, resale value and the API's price may each be wrong, 0 to 0.9.
        pub margin: f64,
    }

    /// The volume from which on the cards are cheaper than the API.
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

    /// The yearly bill and the break-even, of all cards together: the answer of `tender breakeven --input`.
    pub struct BreakevenOutput {
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
        /// Total over the tokens of text made.
        pub usd_per_million_tokens: f64,
        /// What a million tokens more cost.
        pub marginal_usd_per_million_tokens: f64,
        /// Total over the active hours.
        pub usd_per_active_hour: f64,
        /// From where on it pays.
        pub breakeven: Breakeven,
        /// How the two figures that a person acts on came about.
        pub why: Vec<Why>,
    }

    /// Cost per day as a line over tokens of text per day.
    pub struct CostLine {
        /// USD a day without any token.
        pub usd_per_day: f64,
        /// USD for each million tokens more.
        pub usd_per_million: f64,
        /// To so many tokens a day; what is more goes to the API. None where there is no end.
        pub until_tokens_per_day: Option<f64>,
    }

    /// A line with its least and its most.
    pub struct CostBand {
        /// By the numbers as they are.
        pub stated: CostLine,
        /// When all are wrong so that it is cheapest.
        pub low: CostLine,
        /// When all are wrong so that it is dearest.
        pub high: CostLine,
    }

    /// The answer, with what the picture of the crossing is drawn from.
    pub struct BreakevenAnswer {
        /// The contract's answer.
        pub output: BreakevenOutput,
        /// The break-even when everything is wrong to the cards' advantage.
        pub at_best: Breakeven,
        /// The break-even when everything is wrong to the cards' disadvantage.
        pub at_worst: Breakeven,
        /// Owning.
        pub own: CostBand,
        /// Buying tokens.
        pub buy: CostBand,
        /// What the cards can make: tokens of text a day.
        pub capacity_tokens_per_day: f64,
        /// What they make at the utilisation given: tokens of text a day.
        pub tokens_per_day: f64,
        /// Why each number is what it is, by its field in `output`; `tokens_per_day` for the break-even,
        /// `capacity_tokens_per_day`, `at_best` and `at_worst` where there are such.
        pub whys: BTreeMap<String, Why>,
    }

    /// What large providers ask, as it was published on a day.
    pub struct ApiPriceList {
        /// Whose collection it is, with its version.
        pub source: String,
        /// The day on which it was taken.
        pub taken_on: String,
        /// In the collection's order.
        pub rows: Vec<ApiPriceRow>,
    }

    /// What one model costs today.
    pub struct ApiPriceRow {
        /// Who asks it.
        pub provider: String,
        /// The model.
        pub model: String,
        /// USD for a million tokens of prompt.
        pub prompt_usd_per_million: f64,
        /// USD for a million tokens of text.
        pub text_usd_per_million: f64,
        /// Whether it is dearer at some hours.
        pub varies_by_hour: bool,
    }

    /// A bill for API use, against the alternatives.
    pub struct UsageQuery {
        /// The bill as CSV, in the dialect of whoever exported it.
        pub csv: String,
        /// The card; `utilisation`, prices at the API and mix of tokens are the bill's.
        pub input: BreakevenInput,
        /// Hours of a day in which work comes, above 0 to 24.
        pub busy_hours: f64,
        /// The models that the card's may stand in for; all when empty.
        #[serde(default)]
        pub stands_in_for: Vec<String>,
        /// A card to rent instead.
        pub rent: Option<RentInput>,
    }

    /// A card to rent by the hour.
    pub struct RentInput {
        /// Price of an hour, USD.
        pub usd_per_hour: f64,
        /// Tokens of text that it writes per second.
        pub tokens_per_second: f64,
        /// Tokens of prompt that it reads per second.
        pub prefill_tokens_per_second: Option<f64>,
    }

    /// One of the alternatives.
    pub struct Choice {
        /// Stay with the API, buy cards, or rent by the hour.
        #[cfg_attr(test, ts(type = "'api' | 'buy' | 'rent'"))]
        pub choice: String,
        /// How many cards to buy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(test, ts(optional))]
        pub cards: Option<u32>,
    }

    /// A 95 % interval.
    pub struct Interval {
        /// Its lower end.
        pub low: f64,
        /// Its upper end.
        pub high: f64,
    }

    /// What an alternative costs for the use seen.
    pub struct Alternative {
        /// Which.
        #[serde(flatten)]
        pub choice: Choice,
        /// USD for a year of such days.
        pub usd_per_year: f64,
        /// Its 95 % interval; none when there are too few days.
        pub interval: Option<Interval>,
        /// Saved against staying with the API, USD per year.
        pub saves_usd_per_year: f64,
        /// Its 95 % interval.
        pub saves_interval: Option<Interval>,
        /// In which fraction of the replicates this is the cheapest.
        pub cheapest_share: Option<f64>,
        /// Fraction of all hours in which the cards would work.
        pub utilisation: Option<f64>,
        /// Fraction of the work that is left to the API.
        pub overflow: Option<f64>,
        /// Tokens of text a day from which on this beats the API; none when never.
        pub flips_at_tokens_per_day: Option<f64>,
        /// How the yearly cost came about.
        pub why: Why,
    }

    /// A calendar month of the bill.
    pub struct UsageMonth {
        /// `2026-11`.
        pub month: String,
        /// How many of its days were seen.
        pub days: u32,
        /// What each alternative would have cost, USD, in the order of the alternatives.
        pub usd: Vec<f64>,
        /// The cheapest in hindsight.
        pub best: Choice,
        /// What staying with the API cost more than that, USD.
        pub regret_usd: f64,
        /// What the alternative recommended over the whole span cost more than that, USD.
        pub recommended_regret_usd: f64,
    }

    /// The alternatives over the days of a bill.
    pub struct UsageComparison {
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
        /// The utilisation of a card from which on it beats the API at the price paid; none when never.
        pub flip_utilisation: Option<f64>,
        /// Month by month.
        pub months: Vec<UsageMonth>,
        /// Why there are no intervals; none when there are.
        pub interval_unknown: Option<String>,
    }

    /// What a bill says.
    pub struct UsageAnswer {
        /// The comparison.
        pub comparison: UsageComparison,
        /// Lines of the bill.
        pub lines: u32,
        /// All models of the bill.
        pub models: Vec<String>,
        /// Those that the card's model is taken to stand in for.
        pub stands_in_for: Vec<String>,
        /// Whether that was stated, rather than assumed of all.
        pub stated: bool,
        /// The day of the published prices that stand for a missing cost column.
        pub priced_on: Option<String>,
        /// How the regret of each month came about, in the months' order.
        pub regret_whys: Vec<Why>,
        /// The card in the bill's use, mix of tokens and price paid; none when no text was written.
        pub input: Option<BreakevenInput>,
    }
}
