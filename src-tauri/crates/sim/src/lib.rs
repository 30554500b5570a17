//! The market simulator: what a way of deciding would have come to, in worlds whose truth is known.
//!
//! * `coalesce-paper`: the COALESCE paper's thirteen scenarios with its engine, errors included; `coalesce-fixed`: the
//!   same world with units and formulas corrected.
//! * `tender`: the same sizes in a realistic market, whose truth is hidden from the policy; `lies`, `bait`, `outages`,
//!   `shocks` and `churn` make it hostile.
//! * `contention`: 500 agents before one pool, as a queue, by quota and as a market.
//!
//! No clock and no I/O: the same seed gives the same bytes. Every error is a [`tender_base::Problem`].

pub mod arrivals;
pub mod coalesce;
pub mod contention;
pub mod jobs;
pub mod market;
pub mod output;
pub mod play;
mod plot;
pub mod recorded;
pub mod report;
pub mod scenario;

use crate::{
    output::{Output, Row, Run},
    scenario::{Scenario, TABLE},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use tender_base::{Code, Problem};
use tender_market::{draws::Draws, explore};

/// Most runs of one simulation: a minute of computing.
pub const MAX_RUNS: u32 = 1000;

/// A world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The paper's world and engine, errors included.
    CoalescePaper,
    /// The paper's world, with units and formulas corrected.
    CoalesceFixed,
    /// A realistic market.
    Tender,
    /// A third of the contractors claim to be three times as fast as they are.
    Lies,
    /// A third of the contractors ask a third of their cost and mostly fail.
    Bait,
    /// Contractors go down for hours, without notice.
    Outages,
    /// Every day has hours of triple demand at almost double prices.
    Shocks,
    /// Contractors leave after two days and others, unknown, take their place.
    Churn,
    /// 500 agents before one pool.
    Contention,
}

impl Preset {
    /// All, in the order of their documentation.
    pub const ALL: [Self; 9] = [
        Self::CoalescePaper,
        Self::CoalesceFixed,
        Self::Tender,
        Self::Lies,
        Self::Bait,
        Self::Outages,
        Self::Shocks,
        Self::Churn,
        Self::Contention,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CoalescePaper => "coalesce-paper",
            Self::CoalesceFixed => "coalesce-fixed",
            Self::Tender => "tender",
            Self::Lies => "lies",
            Self::Bait => "bait",
            Self::Outages => "outages",
            Self::Shocks => "shocks",
            Self::Churn => "churn",
            Self::Contention => "contention",
        }
    }

    /// What it is, in a line.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::CoalescePaper => "the COALESCE paper's thirteen scenarios with its engine, errors included",
            Self::CoalesceFixed => "the same with units and formulas corrected",
            Self::Tender => "the same sizes in a realistic market",
            Self::Lies => "a third of the contractors claim three times their speed and deliver two jobs of three",
            Self::Bait => "a third ask a third of their cost and deliver one job of four",
            Self::Outages => "every contractor is down for four hours after a day, on average",
            Self::Shocks => "every day has four hours of triple demand at 1.8 times the price",
            Self::Churn => "contractors leave after two days on average; unknown ones take their place",
            Self::Contention => "500 agents before 42 cards: as a queue, by quota, as a market",
        }
    }
}

impl FromStr for Preset {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::ALL.into_iter().find(|preset| preset.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|preset| preset.name()).collect();
            Problem::new(Code::Invalid, format!("there is no preset {text:?}"), format!("one of {}", names.join(", ")))
        })
    }
}

/// A way of deciding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Tender's engine.
    Engine(explore::Policy),
    /// The paper's engine; in its own world only.
    Paper,
    /// Knows every true parameter, though not the draw of the noise.
    Oracle,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(policy) => policy.fmt(f),
            Self::Paper => f.write_str("paper"),
            Self::Oracle => f.write_str("oracle"),
        }
    }
}

impl FromStr for Policy {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "paper" => Ok(Self::Paper),
            "oracle" => Ok(Self::Oracle),
            _ => text.parse().map(Self::Engine).map_err(|problem: Problem| {
                let hint = if text.contains('=') { "" } else { ", oracle, or paper in its own world" };
                Problem { hint: format!("{}{hint}", problem.hint), ..problem }
            }),
        }
    }
}

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The world.
    pub preset: Preset,
    /// Runs per scenario, 1 to [`MAX_RUNS`].
    pub runs: u32,
    /// Seed of all draws.
    pub seed: u64,
    /// How to decide; `None` for the preset's own.
    pub policy: Option<Policy>,
    /// Arrivals and sizes of a recorded trace instead of the generator's, where the preset has arrivals.
    pub trace: Option<Vec<arrivals::Request>>,
}

impl Options {
    /// The preset with 20 runs, as the paper's, and seed 1.
    #[must_use]
    pub fn new(preset: Preset) -> Self {
        Self { preset, runs: 20, seed: 1, policy: None, trace: None }
    }

    fn policy(&self) -> Policy {
        self.policy.unwrap_or(match self.preset {
            Preset::CoalescePaper => Policy::Paper,
            _ => Policy::Engine(explore::Policy::Greedy),
        })
    }
}

/// Asked before each run whether to go on.
pub type Going<'a> = dyn Fn() -> bool + Sync + 'a;

/// Simulates.
///
/// # Errors
/// [`Code::Invalid`] for runs out of range, or a policy that the preset cannot follow.
pub fn simulate(options: &Options) -> Result<Output, Problem> {
    simulate_while(options, &|| true)
}

/// Simulates for as long as `going` says so.
///
/// # Errors
/// As [`simulate`], and [`Code::Conflict`] when it was stopped.
pub fn simulate_while(options: &Options, going: &Going<'_>) -> Result<Output, Problem> {
    if !(1..=MAX_RUNS).contains(&options.runs) {
        let message = format!("runs is {}, not 1 to {MAX_RUNS}", options.runs);
        return Err(Problem::new(Code::Invalid, message, "the paper has 20 runs per scenario"));
    }
    check(options)?;
    let rows = match options.preset {
        Preset::CoalescePaper | Preset::CoalesceFixed => coalesce_rows(options, coalesce::Parameters::default(), going),
        Preset::Contention => contention::rows(options.runs, options.seed, going),
        Preset::Tender | Preset::Lies | Preset::Bait | Preset::Outages | Preset::Shocks | Preset::Churn => {
            market_rows(options, &play::Knobs::default(), going)
        }
    };
    not_stopped(going)?;
    Ok(Output { rows })
}

/// What was left out after a stop must not be taken for a result.
pub(crate) fn not_stopped(going: &Going<'_>) -> Result<(), Problem> {
    if going() {
        return Ok(());
    }
    Err(Problem::new(
        Code::Conflict,
        "the simulation was stopped",
        "start it again, with fewer runs if it took too long",
    ))
}

fn check(options: &Options) -> Result<(), Problem> {
    let coalesce = matches!(options.preset, Preset::CoalescePaper | Preset::CoalesceFixed);
    let name = options.preset.name();
    let message = match (&options.policy, &options.trace) {
        (Some(Policy::Paper), _) if !coalesce => format!("policy paper cannot be followed in preset {name}"),
        (Some(_), _) if options.preset == Preset::Contention => format!("preset {name} compares rules, not policies"),
        (_, Some(_)) if coalesce || options.preset == Preset::Contention => {
            format!("preset {name} has arrivals of its own and takes no trace")
        }
        _ => return Ok(()),
    };
    let remedy = if matches!(options.policy, Some(Policy::Paper)) {
        "take another policy, or preset coalesce-paper or coalesce-fixed"
    } else {
        "leave it out, or take preset tender"
    };
    Err(Problem::new(Code::Invalid, message, remedy))
}

/// The thirteen rows of the paper's world under its parameters.
pub(crate) fn coalesce_rows(options: &Options, parameters: coalesce::Parameters, going: &Going<'_>) -> Vec<Row> {
    let fixed = options.preset == Preset::CoalesceFixed;
    let engine = match options.policy() {
        Policy::Engine(policy) => coalesce::Engine::Tender(policy),
        Policy::Paper => coalesce::Engine::Paper(parameters),
        Policy::Oracle => coalesce::Engine::Oracle,
    };
    rows(options, going, |scenario, draws| {
        coalesce::run(scenario.days, scenario.clients, scenario.contractors, fixed, engine, draws)
    })
}

/// The thirteen sizes in a realistic market.
pub(crate) fn market_rows(options: &Options, knobs: &play::Knobs, going: &Going<'_>) -> Vec<Row> {
    let policy = options.policy();
    rows(options, going, |scenario, draws| {
        let hours = f64::from(scenario.days) * 24.0;
        let market = market::Market::draw(options.preset, scenario.clients, scenario.contractors, hours, draws);
        let jobs = jobs::draw(&market, hours, options.trace.as_deref(), draws);
        let local = play::all_local(&market, &jobs);
        let with = |policy: Policy| play::play(&market, &jobs, policy, knobs, &mut draws.clone());
        let actual = with(policy);
        let oracle = if policy == Policy::Oracle { actual.usd } else { with(Policy::Oracle).usd };
        let cheapest = with(Policy::Engine(explore::Policy::Cheapest)).usd;
        let mut run = Run {
            ok: true,
            decisions: actual.won.iter().sum(),
            explored: actual.explored,
            alarm: actual.alarm.problem().is_some(),
            won: actual.won,
            closeness_sum: actual.closeness,
            actual: actual.usd,
            all_local: local.usd,
            cheapest,
            oracle,
            ..Run::default()
        };
        // As the paper counts: gains of bought jobs only, over what was spent on the others.
        let (mut saved, mut spent) = ((0.0, 0.0), (0.0, 0.0));
        for ((bought, here), there) in actual.bought.iter().zip(&actual.by_job).zip(&local.by_job) {
            if *bought {
                saved = (saved.0 + (there.0 - here.0).max(0.0), saved.1 + (there.1 - here.1).max(0.0));
            } else {
                spent = (spent.0 + here.0, spent.1 + here.1);
            }
        }
        run.cost_reduction = if spent.0 > 0.0 { saved.0 / spent.0 } else { 0.0 };
        run.time_savings = if spent.1 > 0.0 { saved.1 / spent.1 } else { 0.0 };
        run
    })
}

/// Every run of a scenario has a stream of its own; scenarios of one size draw alike, whatever their name. Runs are
/// spread over the cores, and are folded in their order whichever ends first.
fn rows(options: &Options, going: &Going<'_>, run: impl Fn(&Scenario, &mut Draws) -> Run + Sync) -> Vec<Row> {
    let of = |scenario: &Scenario, i: u32| {
        if !going() {
            return Run::default();
        }
        let stream = u64::from(scenario.days) << 40 | (scenario.clients as u64) << 20 | u64::from(i);
        run(scenario, &mut Draws::new(options.seed, stream))
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(options.runs as usize);
    let share = &|core: usize| -> Vec<Vec<Run>> {
        let mine = |scenario| (core as u32..options.runs).step_by(cores).map(|i| of(scenario, i)).collect();
        TABLE.iter().map(mine).collect()
    };
    let shares: Vec<Vec<Vec<Run>>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..cores).map(|core| scope.spawn(move || share(core))).collect();
        let first = share(0);
        // A panic of a run is that of the simulation.
        let rest =
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(first).chain(rest).collect()
    });
    let fold = |(k, scenario): (usize, &Scenario)| {
        let runs: Vec<Run> = (0..options.runs as usize).map(|i| shares[i % cores][k][i / cores]).collect();
        output::row(scenario.id, scenario.clients, scenario.contractors, scenario.days, &runs)
    };
    TABLE.iter().enumerate().map(fold).collect()
}
