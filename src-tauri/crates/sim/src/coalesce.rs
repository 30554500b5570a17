//! The world of the COALESCE paper, rebuilt from its text and from the parameters found in the authors' code, with the
//! paper's engine: as printed, errors included, or with its units and formulas corrected.
//!
//! What is wrong and kept in `coalesce-paper`: seconds of computing are charged as hours; a queued task's whole value
//! counts as opportunity; risks are added; confidence is highest for a contractor that was never chosen; the first ten
//! decisions are local; a first decision to outsource divides by zero and ends the run; the two costs are never
//! compared.

use crate::output::Run;
use tender_market::{
    choice::{Desk, Prospect, Rules},
    draws::Draws,
    explore::Policy,
    reliability::Reliability,
    topsis::{Direction, Normalisation, Topsis},
};

/// What the sensitivity sweep varies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
    /// ε: probability of picking any contractor at random.
    pub epsilon: f64,
    /// θ: least skill compatibility.
    pub theta: f64,
    /// τ: least closeness.
    pub tau: f64,
    /// ρ: confidence must be above.
    pub rho: f64,
    /// η: size of the random steps of the weights.
    pub eta: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { epsilon: 0.1, theta: 0.7, tau: 0.6, rho: 0.8, eta: 0.01 }
    }
}

/// A kind of task.
struct Kind {
    share: f64,
    flop: f64,
    local_minutes: f64,
    documents: f64,
    deadline_minutes: f64,
    skills: &'static [&'static str],
    /// Cosine of the embeddings, by contractor type; the authors assume 0.6 where they state none.
    cosine: [f64; 6],
    /// Performance without and with financial skills.
    performance: [f64; 2],
}

const FINANCE: &[&str] = &["FinBERT", "Financial Analysis", "RAG"];
const KINDS: [Kind; 4] = [
    Kind {
        share: 0.4,
        flop: 2.8e15,
        local_minutes: 125.4,
        documents: 50_000.0,
        deadline_minutes: 90.0,
        skills: FINANCE,
        cosine: [0.95, 0.7, 0.6, 0.4, 0.9, 0.8],
        performance: [0.75, 0.95],
    },
    Kind {
        share: 0.3,
        flop: 1.5e15,
        local_minutes: 90.0,
        documents: 25_000.0,
        deadline_minutes: 120.0,
        skills: &["Risk Modeling", "Monte Carlo", "Statistics"],
        cosine: [0.8, 0.9, 0.7, 0.5, 0.85, 0.95],
        performance: [0.80, 0.90],
    },
    Kind {
        share: 0.2,
        flop: 8.2e14,
        local_minutes: 45.0,
        documents: 100_000.0,
        deadline_minutes: 45.0,
        skills: &["NLP", "Sentiment Analysis", "Text Processing"],
        cosine: [0.6; 6],
        performance: [0.85; 2],
    },
    // Portfolio optimisation has the skills and the deadline of the first.
    Kind {
        share: 0.1,
        flop: 3.1e15,
        local_minutes: 180.0,
        documents: 50_000.0,
        deadline_minutes: 90.0,
        skills: FINANCE,
        cosine: [0.6; 6],
        performance: [0.80; 2],
    },
];

/// A type of contractor.
struct Type {
    share: f64,
    price: f64,
    minutes: f64,
    reliability: f64,
    skills: &'static [&'static str],
    financial: bool,
}

const TYPES: [Type; 6] = [
    Type {
        share: 0.152,
        price: 18.5,
        minutes: 8.2,
        reliability: 0.987,
        skills: &["FinBERT", "RAG", "Financial Analysis", "GPU Computing"],
        financial: true,
    },
    Type {
        share: 0.228,
        price: 9.6,
        minutes: 52.3,
        reliability: 0.912,
        skills: &["Risk Modeling", "Statistics", "Parallel Processing", "CPU Optimization"],
        financial: false,
    },
    Type {
        share: 0.315,
        price: 6.2,
        minutes: 38.7,
        reliability: 0.743,
        skills: &["FinBERT", "RAG", "Financial Analysis", "Cost Optimization"],
        financial: true,
    },
    Type {
        share: 0.087,
        price: 4.8,
        minutes: 95.1,
        reliability: 0.856,
        skills: &["NLP", "Text Processing", "Edge Computing", "Low Latency"],
        financial: false,
    },
    Type {
        share: 0.183,
        price: 22.4,
        minutes: 12.8,
        reliability: 0.945,
        skills: &["FinBERT", "RAG", "Risk Modeling", "Cloud Native"],
        financial: true,
    },
    Type {
        share: 0.035,
        price: 45.0,
        minutes: 25.6,
        reliability: 0.892,
        skills: &["Risk Modeling", "Monte Carlo", "Statistics", "Advanced Analytics"],
        financial: false,
    },
];

/// The client's card: 29.77 TFLOP/s at 75 %, 320 W, $12,000 over three years, 74 GB.
const FLOP_PER_SECOND: f64 = 29.77e12 * 0.75;
const KILOWATTS: f64 = 0.320 * 0.75;
const USD_PER_KWH: f64 = 0.08;
const DEPRECIATION_PER_HOUR: f64 = 12_000.0 / (3.0 * 8760.0);

/// A task.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    kind: usize,
    complexity: f64,
    value: f64,
    gigabytes: f64,
}

/// A contractor.
#[derive(Clone, Copy, Debug)]
pub struct Contractor {
    which: usize,
    price: f64,
    minutes: f64,
    demand: f64,
    available: f64,
    jobs: u32,
}

impl Task {
    /// Hours on the client's card: as printed, its seconds are taken for hours.
    fn hours(&self, fixed: bool) -> f64 {
        let seconds = KINDS[self.kind].flop * (self.gigabytes / 8.2) * self.complexity / FLOP_PER_SECOND;
        if fixed { seconds / 3600.0 } else { seconds }
    }

    /// Compute, memory, energy and depreciation of an internal run, in USD (equations 1 to 4).
    fn internal_parts(&self, fixed: bool) -> [f64; 4] {
        let hours = self.hours(fixed);
        let memory = 1.3 + KINDS[self.kind].documents / 50_000.0 * 4.2 + 2.8 * self.complexity;
        let energy = KILOWATTS * hours * USD_PER_KWH;
        let depreciation = DEPRECIATION_PER_HOUR * hours;
        if fixed {
            // Owned: an hourly price would hold depreciation a second time, and memory displaces nothing.
            [0.0, 0.0, energy, depreciation]
        } else {
            [0.45 * hours, memory / 74.0 * 0.15 * hours, energy, depreciation]
        }
    }

    /// Cost of an internal run in USD. `queue` are the tasks that wait behind it: as printed their greatest value per
    /// hour is lost for the whole run (equation 5), though nothing is displaced.
    fn internal(&self, queue: &[Task], fixed: bool) -> f64 {
        let parts: f64 = self.internal_parts(fixed).iter().sum();
        if fixed {
            return parts;
        }
        // Every task is taken to last two hours.
        let rate = queue.iter().map(|task| task.value / 2.0).fold(0.0, f64::max);
        parts + rate * self.hours(false)
    }

    fn local_minutes(&self, fixed: bool) -> f64 {
        if fixed { self.hours(true) * 60.0 } else { KINDS[self.kind].local_minutes * self.complexity }
    }
}

impl Contractor {
    /// Bill, overheads, lateness in USD, and the risks of failure, breach and poor quality.
    fn external_parts(&self, task: &Task) -> (f64, f64, f64, [f64; 3]) {
        let reliability = TYPES[self.which].reliability;
        let bill = self.price * (1.0 + 0.5 * (self.demand - self.available)) * (1.0 + 0.3 * (task.complexity - 1.0));
        let transfer = 0.12 * (task.gigabytes + 0.2) + 0.5;
        let verification = if reliability > 0.95 { 2.5 } else { 3.8 };
        let late = 0.25 * (self.minutes - KINDS[task.kind].deadline_minutes).max(0.0);
        let failure = 1.0 - reliability;
        let risks = [failure, 0.02 + 0.1 * failure, 0.01 + 0.05 * failure];
        (bill, transfer + verification + 1.2, late, risks)
    }

    /// Cost of buying in USD (equation 6); as printed the risks are added, corrected they are combined (equation 9).
    fn external(&self, task: &Task, fixed: bool) -> f64 {
        let (bill, overheads, late, risks) = self.external_parts(task);
        let risk = if fixed { 1.0 - risks.iter().map(|p| 1.0 - p).product::<f64>() } else { risks.iter().sum() };
        bill + overheads + late + task.value * risk
    }
}

/// Equation 12 for a task kind and a contractor type.
fn compatibility(kind: &Kind, which: usize) -> f64 {
    let kind_of = &TYPES[which];
    let both = kind.skills.iter().filter(|skill| kind_of.skills.contains(skill)).count();
    let either = kind.skills.len() + kind_of.skills.len() - both;
    let performance = kind.performance[usize::from(kind_of.financial)];
    0.3 * (both as f64 / either as f64) + 0.5 * kind.cosine[which] + 0.2 * performance
}

/// How the corrected world decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Engine {
    /// The paper's Listing 2.
    Paper(Parameters),
    /// Tender's engine.
    Tender(Policy),
    /// The cheapest place, both costs known.
    Oracle,
}

fn pick(shares: impl Iterator<Item = f64>, draw: f64) -> usize {
    let mut sum = 0.0;
    let mut last = 0;
    for (i, share) in shares.enumerate() {
        last = i;
        sum += share;
        if draw < sum {
            break;
        }
    }
    last
}

const BENEFITS: [Direction; 4] = [Direction::Cost, Direction::Benefit, Direction::Cost, Direction::Benefit];

/// What the paper's engine remembers.
struct Memory {
    weights: [f64; 4],
    /// Whether the closeness of the last decisions was above 0.7; local ones count as 0.
    good: Vec<bool>,
}

/// One decision.
struct Decided {
    /// The contractor, or local.
    contractor: Option<usize>,
    closeness: f64,
    explored: bool,
}

struct World {
    contractors: Vec<Contractor>,
    fixed: bool,
    /// By task kind and contractor type.
    compatible: [[bool; 6]; 4],
    costs: Vec<f64>,
    eligible: Vec<usize>,
    matrix: Vec<f64>,
    topsis: Topsis,
    memory: Memory,
    desk: Desk,
    prospects: Vec<Prospect>,
}

impl World {
    /// Listing 2, phase by phase.
    fn paper(&mut self, task: &Task, parameters: &Parameters, draws: &mut Draws) -> Decided {
        self.eligible.clear();
        self.matrix.clear();
        for (i, contractor) in self.contractors.iter().enumerate() {
            if self.compatible[task.kind][contractor.which] {
                let reliability = TYPES[contractor.which].reliability;
                let security = 1.0 - (0.02 + 0.1 * (1.0 - reliability));
                self.eligible.push(i);
                self.matrix.extend_from_slice(&[self.costs[i], reliability, contractor.minutes, security]);
            }
        }
        let local = Decided { contractor: None, closeness: 0.0, explored: false };
        if draws.uniform() < parameters.epsilon && !self.contractors.is_empty() {
            return Decided { contractor: Some(draws.below(self.contractors.len())), closeness: 0.5, explored: true };
        }
        if self.eligible.is_empty() {
            return local;
        }
        self.topsis.rank(&self.matrix, &self.memory.weights, &BENEFITS, Normalisation::Minmax);
        let (mut best, mut closeness) = (0, f64::NEG_INFINITY);
        for (i, score) in self.topsis.closeness.iter().enumerate() {
            if *score > closeness {
                (best, closeness) = (i, *score);
            }
        }
        let outsource = closeness > parameters.tau && self.confidence() > parameters.rho;
        let decided = if outsource {
            Decided { contractor: Some(self.eligible[best]), closeness, explored: false }
        } else {
            local
        };
        self.memory.good.push(decided.closeness > 0.7);
        if self.memory.good.len() > 1 && decided.closeness <= 0.8 {
            self.memory.weights = self.memory.weights.map(|w| (w + parameters.eta * 0.1 * draws.normal()).abs());
            let sum: f64 = self.memory.weights.iter().sum();
            self.memory.weights = self.memory.weights.map(|w| w / sum);
        }
        decided
    }

    /// The authors' stand-in for equation 18: 1 − 1.96·2·min(p, 1 − p)/√n over the last 50.
    fn confidence(&self) -> f64 {
        let good = &self.memory.good;
        if good.len() < 10 {
            return 0.8;
        }
        let recent = &good[good.len().saturating_sub(50)..];
        let n = recent.len() as f64;
        let p = recent.iter().filter(|good| **good).count() as f64 / n;
        (1.0 - 1.96 * 2.0 * p.min(1.0 - p) / n.sqrt()).clamp(0.0, 1.0)
    }

    /// Tender's engine: the own card is a row, too.
    fn tender(&mut self, task: &Task, internal: f64, policy: Policy, draws: &mut Draws) -> Decided {
        let own = Prospect {
            own: true,
            bill_usd: internal,
            checking_usd: 0.0,
            waiting_usd: 0.0,
            loss_usd: 0.0,
            seconds: task.local_minutes(self.fixed) * 60.0,
            history: Reliability::default(),
            prior: tender_market::reliability::OWN_PRIOR,
            security_risk: 0.0,
        };
        self.prospects.clear();
        self.prospects.push(own);
        self.eligible.clear();
        for (i, contractor) in self.contractors.iter().enumerate() {
            if self.compatible[task.kind][contractor.which] {
                let (bill_usd, checking_usd, waiting_usd, [failure, security_risk, _]) =
                    contractor.external_parts(task);
                self.eligible.push(i);
                self.prospects.push(Prospect {
                    own: false,
                    bill_usd,
                    checking_usd,
                    waiting_usd,
                    loss_usd: task.value,
                    seconds: contractor.minutes * 60.0,
                    // Stated in this world, as if observed often.
                    history: Reliability { successes: 1000.0 * (1.0 - failure), failures: 1000.0 * failure },
                    prior: Reliability::default(),
                    security_risk,
                });
            }
        }
        let choice = self.desk.choose(&self.prospects, &Rules::default(), policy, draws);
        let chosen = choice.map_or(0, |choice| choice.chosen);
        Decided {
            contractor: (chosen > 0).then(|| self.eligible[chosen - 1]),
            closeness: self.desk.verdicts.get(chosen).map_or(0.0, |verdict| verdict.closeness),
            explored: choice.is_some_and(|choice| choice.chosen != choice.best),
        }
    }
}

/// Sums of one run, as the paper counts and as it is.
#[derive(Default)]
struct Sums {
    local_cost: f64,
    local_minutes: f64,
    saved_cost: f64,
    saved_minutes: f64,
}

/// One run of `days` hours from Sunday 2025-06-01, 08:00, the day of the authors' own runs.
pub(crate) fn run(
    days: u32,
    clients: usize,
    contractors: usize,
    fixed: bool,
    engine: Engine,
    draws: &mut Draws,
) -> Run {
    let theta = match engine {
        Engine::Paper(parameters) => parameters.theta,
        Engine::Tender(_) | Engine::Oracle => Parameters::default().theta,
    };
    let mut world = World {
        contractors: (0..contractors).map(|_| contractor(draws)).collect(),
        fixed,
        compatible: std::array::from_fn(|kind| std::array::from_fn(|t| compatibility(&KINDS[kind], t) >= theta)),
        costs: Vec::new(),
        eligible: Vec::new(),
        matrix: Vec::new(),
        topsis: Topsis::default(),
        memory: Memory { weights: [0.4, 0.25, 0.2, 0.15], good: Vec::new() },
        desk: Desk::default(),
        prospects: Vec::new(),
    };
    let (mut result, mut sums) = (Run { ok: true, ..Run::default() }, Sums::default());
    let mut queues: Vec<Vec<Task>> = vec![Vec::new(); clients];
    for hour in 0..days * 24 {
        let demand = market(hour, &mut world.contractors, draws);
        for i in 0..draws.poisson(4.2 * demand) as usize {
            let task = task(draws);
            queues[i % clients].push(task);
        }
        for queue in &mut queues {
            for i in 0..queue.len() {
                let (task, behind) = (queue[i], &queue[i + 1..]);
                one(&mut world, &task, behind, engine, draws, &mut result, &mut sums);
                if !result.ok {
                    return result;
                }
            }
            queue.clear();
        }
        for contractor in &mut world.contractors {
            if contractor.jobs > 0 {
                contractor.available = (1.0 - f64::from(contractor.jobs) / 10.0).max(0.1);
            }
        }
    }
    result.cost_reduction = if sums.local_cost > 0.0 { sums.saved_cost / sums.local_cost } else { 0.0 };
    result.time_savings = if sums.local_minutes > 0.0 { sums.saved_minutes / sums.local_minutes } else { 0.0 };
    result
}

fn one(
    world: &mut World,
    task: &Task,
    behind: &[Task],
    engine: Engine,
    draws: &mut Draws,
    result: &mut Run,
    sums: &mut Sums,
) {
    let internal = task.internal(behind, world.fixed);
    let fixed = world.fixed;
    world.costs.clear();
    world.costs.extend(world.contractors.iter().map(|contractor| contractor.external(task, fixed)));
    let cheapest = world.costs.iter().copied().fold(f64::INFINITY, f64::min);
    let decided = match engine {
        Engine::Paper(parameters) => world.paper(task, &parameters, draws),
        Engine::Tender(policy) => world.tender(task, internal, policy, draws),
        Engine::Oracle => {
            let best = (0..world.costs.len()).min_by(|a, b| world.costs[*a].total_cmp(&world.costs[*b]));
            let contractor = best.filter(|i| world.costs[*i] < internal);
            Decided { contractor, closeness: 0.5, explored: false }
        }
    };
    if result.decisions == 0 && decided.contractor.is_some() && matches!(engine, Engine::Paper(_)) && !fixed {
        // The share of outsourced decisions before the first decision: 0/0 in the authors' code.
        result.ok = false;
        return;
    }
    result.decisions += 1;
    result.explored += u32::from(decided.explored);
    result.cheapest += cheapest;
    let Some(i) = decided.contractor else {
        let actual = internal * (1.0 + 0.05 * draws.normal());
        // Always local would have had the same luck.
        result.all_local += actual;
        result.oracle += cheapest.min(actual);
        result.won[0] += 1;
        result.actual += actual;
        sums.local_cost += actual;
        sums.local_minutes += task.local_minutes(fixed);
        return;
    };
    result.all_local += internal;
    result.oracle += cheapest.min(internal);
    let contractor = &mut world.contractors[i];
    let actual = world.costs[i] * (1.0 + 0.08 * draws.normal());
    let minutes = contractor.minutes * (1.0 + 0.1 * draws.normal());
    contractor.jobs += 1;
    result.won[1] += 1;
    result.actual += actual;
    result.closeness_sum += decided.closeness;
    sums.saved_cost += (internal - actual).max(0.0);
    sums.saved_minutes += (task.local_minutes(fixed) - minutes).max(0.0);
}

fn contractor(draws: &mut Draws) -> Contractor {
    let which = pick(TYPES.iter().map(|kind| kind.share), draws.uniform());
    let kind = &TYPES[which];
    Contractor {
        which,
        minutes: (kind.minutes * (1.0 + 0.15 * draws.normal())).max(1.0),
        price: (kind.price * (1.0 + 0.10 * draws.normal())).max(1.0),
        demand: draws.between(0.2, 0.9),
        available: draws.between(0.6, 1.0),
        jobs: 0,
    }
}

fn task(draws: &mut Draws) -> Task {
    Task {
        kind: pick(KINDS.iter().map(|kind| kind.share), draws.uniform()),
        complexity: draws.between(0.5, 2.0),
        value: draws.between(50.0, 500.0),
        gigabytes: draws.between(1.0, 20.0),
    }
}

/// The market's demand in this hour; it also moves that of every contractor, which only ever rises to 1.
fn market(hour: u32, contractors: &mut [Contractor], draws: &mut Draws) -> f64 {
    let (clock, weekday) = ((8 + hour) % 24, (6 + (8 + hour) / 24) % 7);
    let busy = (9..=17).contains(&clock) && weekday < 5;
    let demand = (0.5 * if busy { 3.2 } else { 1.0 } + 0.1 * draws.normal()).clamp(0.1, 2.0);
    for contractor in contractors {
        contractor.demand = (contractor.demand + 0.3 * (demand - 0.5)).clamp(0.1, 1.0);
    }
    demand
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spot_check_is_exact() {
        let task = Task { kind: 0, complexity: 1.0, value: 150.0, gigabytes: 8.2 };
        let close = |value: f64, golden: f64, digits: i32| {
            assert!((value - golden).abs() <= 0.5 * 10f64.powi(-digits) + 1e-9, "{value} is not {golden}");
        };
        for (part, golden) in task.internal_parts(false).into_iter().zip([56.4327, 2.1099, 2.4078, 57.2630]) {
            close(part, golden, 4);
        }
        close(task.internal(&[], false), 118.2133, 4);
        close(task.internal_parts(false).iter().sum::<f64>() / 3600.0, 0.0328, 4);
        for (which, golden) in [27.675, 34.348, 60.611, 41.203, 39.536, 67.888].into_iter().enumerate() {
            let Type { price, minutes, .. } = TYPES[which];
            let contractor = Contractor { which, price, minutes, demand: 0.5, available: 0.8, jobs: 0 };
            close(contractor.external(&task, false), golden, 3);
        }
    }

    #[test]
    fn sentiment_and_portfolio_tasks_fit_no_contractor() {
        for kind in [2, 3] {
            assert!((0..6).all(|which| compatibility(&KINDS[kind], which) < 0.7));
        }
        let most = |kind: usize| (0..6).map(|which| compatibility(&KINDS[kind], which)).fold(0.0, f64::max);
        assert!((most(2) - 0.59).abs() < 0.005 && (most(3) - 0.685).abs() < 0.0005, "{} {}", most(2), most(3));
    }
}
