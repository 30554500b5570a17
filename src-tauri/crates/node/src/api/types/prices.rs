//! What to ask for work on the own card, and whether to buy or to stay with an API. A `why` is an object with `name`,
//! `value`, `unit`, `formula`, `source` and `inputs`, each with `name`, `value`, `unit` and `origin`.

use serde::{Deserialize, Serialize};
use tender_base::JobKind;

api_types! {
    /// For which prices reasons are wanted.
    pub struct PricesQuery {
        /// One kind of work; all when absent.
        #[cfg_attr(test, ts(type = "'embed' | 'gemm' | 'kernel' | 'wgsl' | 'generate' | null"))]
        pub kind: Option<JobKind>,
        /// What to earn on top of the floor, as a fraction of it, 0 to 10; a quarter when absent.
        pub margin: Option<f64>,
        /// Most that can be asked for a unit, micro-dollars; what the cheapest attached cloud asks when absent.
        pub cap_micro_usd_per_unit: Option<f64>,
    }

    /// What is asked for work on the own card, and what could be.
    pub struct Prices {
        /// A row for each kind of work.
        pub rows: Vec<PriceRow>,
        /// How many hours a day somebody is expected to pay for.
        pub paid_hours: PaidHours,
    }

    /// A price as it is stated: so much for so many units.
    pub struct PriceRate {
        /// Micro-dollars.
        pub micro_usd: u64,
        /// For so many units.
        pub per_units: u64,
    }

    /// One kind of work.
    pub struct PriceRow {
        /// Which.
        #[cfg_attr(test, ts(type = "'embed' | 'gemm' | 'kernel' | 'wgsl' | 'generate'"))]
        pub kind: JobKind,
        /// What a unit is: `token`, `flop`, `element` or `step`.
        pub unit: String,
        /// What is asked now; of a text alone where its prompt has a price of its own.
        pub asked: PriceRate,
        /// What is asked for a text's prompt, where that is another price.
        pub asked_prompt: Option<PriceRate>,
        /// What the asked price covers of the floor, when that is less than all.
        pub warning: Option<String>,
        /// The suggestion; absent when it is unknown.
        pub suggested: Option<SuggestedPrice>,
        /// Why there is no suggestion.
        pub unknown: Option<String>,
    }

    /// A price to ask.
    pub struct SuggestedPrice {
        /// The price.
        pub rate: PriceRate,
        /// The same for a second of the card, dollars.
        pub usd_per_gpu_second: f64,
        /// What a unit costs here at the tariff of this hour, micro-dollars.
        pub floor_micro_usd_per_unit: f64,
        /// What held the price.
        #[cfg_attr(test, ts(type = "'free' | 'at_floor' | 'at_cap' | 'cap_below_floor'"))]
        pub held: String,
        /// Beyond the floor in the paid hours of a day, dollars: expected, and both ends of the interval; absent when
        /// the paid hours are unknown.
        pub margin_usd_per_day: Option<Vec<f64>>,
        /// How price and floor came about.
        #[cfg_attr(test, ts(type = "unknown[]"))]
        pub why: Vec<serde_json::Value>,
    }

    /// Hours of a day that somebody pays for.
    pub struct PaidHours {
        /// Hours a day; absent when unknown.
        pub mean: Option<f64>,
        /// Lower end of the 95 % interval.
        pub low: Option<f64>,
        /// Upper end of the 95 % interval.
        pub high: Option<f64>,
        /// Why they are unknown.
        pub unknown: Option<String>,
        /// How they came about.
        #[cfg_attr(test, ts(type = "unknown"))]
        pub why: Option<serde_json::Value>,
    }

    /// Ask this price from now on.
    pub struct SetPriceInput {
        /// For which kind of work.
        #[cfg_attr(test, ts(type = "'embed' | 'gemm' | 'kernel' | 'wgsl' | 'generate'"))]
        pub kind: JobKind,
        /// The price; of a text for its prompt as well, unless that has its own.
        pub rate: PriceRate,
        /// The prompt's own price: as it is when absent, none with `per_units` 0.
        #[cfg_attr(test, ts(optional))]
        pub prompt: Option<PriceRate>,
    }

    /// Break-even from the own job log.
    pub struct LogQuery {
        /// The API's model, as the published prices name it, such as `openai/gpt-4o-mini`.
        pub api_model: String,
        /// Days of the log, back from today; 90 when absent, 366 at most.
        pub days: Option<u32>,
        /// Hours of the day in which work comes; 24 when absent.
        pub busy_hours: Option<f64>,
        /// Seed of the bootstrap behind the intervals; 1 when absent.
        pub seed: Option<u32>,
    }

    /// What the own job log says about buying cards.
    pub struct LogAnswer {
        /// The API's price.
        pub api: LogApiPrice,
        /// Text jobs of the card in the log.
        pub card_jobs: u32,
        /// Text jobs of the owner in the log, wherever they ran.
        pub own_jobs: u32,
        /// Speeds, watts and occupancy of the card, each with its why; empty when the log is too short.
        #[cfg_attr(test, ts(type = "unknown[]"))]
        pub evidence: Vec<serde_json::Value>,
        /// Why there is no evidence.
        pub unknown: Option<String>,
        /// The yearly bill and the break-even of one card, as `tender breakeven --input` gives them; absent without
        /// evidence.
        #[cfg_attr(test, ts(type = "unknown"))]
        pub breakeven: Option<serde_json::Value>,
        /// Cards, rent and API compared over the days of the log; absent without evidence.
        #[cfg_attr(test, ts(type = "unknown"))]
        pub comparison: Option<serde_json::Value>,
        /// The rule that holds.
        pub rule: Option<BreakevenRule>,
    }

    /// A published price.
    pub struct LogApiPrice {
        /// Who asks it.
        pub provider: String,
        /// For which model.
        pub model: String,
        /// For a million tokens of prompt, micro-dollars.
        pub prompt_micro_usd_per_million: u64,
        /// For a million tokens of text, micro-dollars.
        pub text_micro_usd_per_million: u64,
        /// Whose collection.
        pub source: String,
        /// The day on which it was taken.
        pub taken_on: String,
    }

    /// From which volume on work goes to the own card.
    pub struct BreakevenRule {
        /// Tokens of text a day.
        pub tokens_per_day: f64,
        /// When it was computed.
        pub computed_at: String,
        /// Tokens of text written today for the owner, wherever.
        pub today: u64,
    }
}
