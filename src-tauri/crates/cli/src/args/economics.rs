//! The commands that calculate.

use std::path::PathBuf;
use tender_sim::Preset;

#[derive(clap::Args)]
pub(crate) struct Breakeven {
    /// The card and what the API asks, as JSON; `--help` lists its fields.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["preset", "log"])]
    pub(crate) input: Option<PathBuf>,
    /// A case instead of a file: "seed 004", the 9.1 million tokens a day of an RTX 4080, with its history.
    #[arg(long, value_name = "NAME", conflicts_with = "input")]
    pub(crate) preset: Option<String>,
    /// An API bill as CSV (date, model, input tokens, output tokens, cost): compares staying with the API, one to four
    /// such cards, and renting. Utilisation and prices at the API are then those of the bill.
    #[arg(long, value_name = "CSV")]
    pub(crate) usage: Option<PathBuf>,
    /// --usage: a model of the bill that the card's model may stand in for; may be repeated [default: all of them].
    #[arg(long, value_name = "MODEL", requires = "usage")]
    pub(crate) stands_in_for: Vec<String>,
    /// --usage: hours of the day in which work comes.
    #[arg(long, value_name = "HOURS", default_value_t = 24.0, requires = "usage", allow_negative_numbers = true)]
    pub(crate) busy_hours: f64,
    /// --usage: price of an hour of a peer's card, USD; without it renting is not compared.
    #[arg(long, value_name = "USD", requires_all = ["usage", "rent_speed"], allow_negative_numbers = true)]
    pub(crate) rent_price: Option<f64>,
    /// --usage: tokens of text per second of the rented card.
    #[arg(long, value_name = "TOKENS/S", requires = "rent_price", allow_negative_numbers = true)]
    pub(crate) rent_speed: Option<f64>,
    /// --usage: tokens of prompt per second of the rented card; needed when the bill has prompts.
    #[arg(long, value_name = "TOKENS/S", requires = "rent_price", allow_negative_numbers = true)]
    pub(crate) rent_prefill: Option<f64>,
    /// --usage: seed of the bootstrap behind the intervals.
    #[arg(long, default_value_t = 1, requires = "usage", allow_negative_numbers = true)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) log: Log,
}

#[derive(clap::Args)]
pub(crate) struct Log {
    /// This node's own job log instead: speeds, watts and occupancy of the card as they were measured, against an API.
    #[arg(long, conflicts_with_all = ["input", "preset", "usage"])]
    pub(crate) log: bool,
    /// --log: the API's model, as the published prices name it, such as openai/gpt-4o-mini.
    #[arg(long, value_name = "MODEL", requires = "log")]
    pub(crate) api_model: Option<String>,
    /// --log: days back from today [default: 90].
    #[arg(long, value_name = "DAYS", requires = "log")]
    pub(crate) days: Option<u32>,
    /// --log: on uses this break-even as a rule: texts go to the own card from that volume of a day on, and elsewhere
    /// below it.
    #[arg(long, value_enum, requires = "log")]
    pub(crate) rule: Option<super::OnOff>,
}

#[derive(clap::Args)]
pub(crate) struct Price {
    /// Which kind of work [default: all].
    #[arg(value_enum)]
    pub(crate) kind: Option<super::KindOption>,
    /// What to earn on top of the floor, as a fraction of it, 0 to 10 [default: 0.25].
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    pub(crate) margin: Option<f64>,
    /// Most that can be asked for a unit, micro-USD [default: what the cheapest attached cloud asks].
    #[arg(long, value_name = "MICRO_USD", allow_negative_numbers = true)]
    pub(crate) cap: Option<f64>,
    /// Ask the suggested price from now on.
    #[arg(long, requires = "kind")]
    pub(crate) set: bool,
    /// Print how each figure came about.
    #[arg(long)]
    pub(crate) why: bool,
}

impl From<super::KindOption> for tender_base::JobKind {
    fn from(kind: super::KindOption) -> Self {
        match kind {
            super::KindOption::Generate => Self::Generate,
            super::KindOption::Embed => Self::Embed,
            super::KindOption::Gemm => Self::Gemm,
            super::KindOption::Kernel => Self::Kernel,
            super::KindOption::Wgsl => Self::Wgsl,
        }
    }
}

/// The fields of `tender breakeven --input`.
pub(super) const CARD: &str = "\
The input file is one JSON object of numbers:
  price_usd                        price of a card
  resale_fraction                  what it is worth at the end, 0 to 1 of the price
  lifetime_years                   years until it is sold
  discount_rate                    interest per year, 0 to 1
  gpu_watts                        the card at work
  host_watts                       what the rest of the machine draws more then
  idle_watts                       card and machine while they wait for this purpose
  psu_efficiency                   above 0 to 1
  cooling_overhead                 energy for cooling, as a fraction
  maintenance_fraction             maintenance per year, as a fraction of the price
  tariff_usd_per_kwh               electricity
  opportunity_usd_per_active_hour  margin of the best other use
  tokens_per_second                text, while a card works
  utilisation                      fraction of the year at work, above 0 to 1
  api_usd_per_million              the API's price of a million tokens of text
and, where prompts count:
  input_output_ratio               tokens of prompt for each of text
  api_usd_per_million_input        the API's price of a million tokens of prompt
  prefill_tokens_per_second        prompt, while a card works
  cards                            equal cards, 1 when absent";

/// What `tender decide --matrix` reads.
pub(super) const MATRIX: &str = r#"The matrix is one JSON object:
  {"criteria": [{"name": "cost", "direction": "cost", "weight": 0.7},
                {"name": "reliability", "direction": "benefit", "weight": 0.3}],
   "alternatives": [{"name": "here", "values": [0.02, 0.99]},
                    {"name": "a peer", "values": [0.01, 0.95]}],
   "normalisation": "vector", "correlation_penalty": 0.0}
normalisation is vector or minmax; correlation_penalty, 0 to 1, takes weight from criteria that say the same."#;

#[derive(clap::Args)]
pub(crate) struct Simulate {
    /// The world; listed below.
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: String,
    /// Runs of each scenario, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 20, allow_negative_numbers = true)]
    pub(crate) runs: u32,
    /// Seed of all draws: the same seed gives the same bytes.
    #[arg(long, value_name = "S", default_value_t = 1, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// How it is decided: greedy, epsilon=0.1, graduated=0.1, ucb1=0.1, thompson, cheapest, oracle, or paper in its own
    /// world [default: the preset's own].
    #[arg(long, value_name = "P")]
    pub(crate) policy: Option<String>,
    /// Write a page with plots, their tables and a sensitivity sweep to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Arrivals and tokens of a recorded trace: TIMESTAMP,ContextTokens,GeneratedTokens.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

/// The presets, a line each.
pub(super) fn presets() -> String {
    let lines: Vec<String> =
        Preset::ALL.iter().map(|preset| format!("  {:<15} {}", preset.name(), preset.about())).collect();
    format!("Presets:\n{}", lines.join("\n"))
}

#[derive(clap::Args)]
pub(crate) struct Replay {
    /// Files with receipts of decisions, as `tender explain JOB --json` prints them, or ids of jobs.
    #[arg(required = true)]
    pub(crate) receipt: Vec<String>,
    /// What this policy would have done instead: greedy, epsilon=0.1, graduated=0.1, ucb1=0.1, thompson or cheapest.
    #[arg(long, value_name = "P")]
    pub(crate) policy: Option<String>,
}
