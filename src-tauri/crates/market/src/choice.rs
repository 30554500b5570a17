//! Which of several places runs a job: own card, peers, foreign agents and clouds as rows of one matrix.
//!
//! This is the arithmetic, on plain numbers; [`crate::receipt`] adds the hard constraints before it and the reasons
//! after it, and the simulator calls it as it is. In order:
//!
//! 1. The *expected total* of a row is its bill, what checking costs, what waiting costs and equation 9's risk.
//! 2. TOPSIS gives every row its closeness over expected total, reliability, latency and security.
//! 3. The *cost gate*: a bought row must beat the own card by a margin even when its reliability is only at the lower
//!    confidence bound (the paper never compares its two costs), and no row may cost more than a tolerance above the
//!    lowest that passed. So the soft criteria decide between rows that cost about the same, and the tolerance is the
//!    most that they can cost.
//! 4. The closest of the rows that passed is the best; a policy may explore another.

use crate::{
    draws::Draws,
    explore::{Arm, CAP, Policy},
    reliability::Reliability,
    topsis::{Direction, Normalisation, Topsis},
    weights::{self, CRITERIA},
};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Which criteria are better when they are more, in the order of [`weights::NAMES`].
pub const DIRECTIONS: [Direction; CRITERIA] =
    [Direction::Cost, Direction::Benefit, Direction::Cost, Direction::Benefit];

/// A place that meets every hard constraint, in USD and seconds. Every figure is finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prospect {
    /// Whether it is the own card.
    pub own: bool,
    /// The bill, or the marginal cost of the own card.
    pub bill_usd: f64,
    /// What checking the result costs here.
    pub checking_usd: f64,
    /// What the time until the result costs: seconds by the job's value of time, and lateness.
    pub waiting_usd: f64,
    /// γ·V of equation 9: what is lost when it fails, its bill not being owed then.
    pub loss_usd: f64,
    /// Seconds until the result.
    pub seconds: f64,
    /// Its jobs so far, faded.
    pub history: Reliability,
    /// What is assumed of it beside its history.
    pub prior: Reliability,
    /// [`crate::security::risk`] of the data there, in [0, 1].
    pub security_risk: f64,
}

impl Prospect {
    /// The reliability believed in, counts of the prior included.
    #[must_use]
    pub fn belief(&self) -> Reliability {
        self.history.with(self.prior)
    }

    /// The total if it succeeds with probability `reliability`: bill + checking + waiting + γ·V·[1 − ∏(1 − p)]
    /// (equations 6 and 9).
    #[must_use]
    pub fn total_usd(&self, reliability: f64) -> f64 {
        let risk = self.loss_usd * (1.0 - reliability * (1.0 - self.security_risk));
        self.bill_usd + self.checking_usd + self.waiting_usd + risk
    }
}

/// How rows are compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Weights of cost, reliability, latency and security, which sum to 1; see [`weights::blended`].
    pub weights: [f64; CRITERIA],
    /// α of equation 11 in [0, 1].
    pub correlation_penalty: f64,
    /// How columns are made comparable.
    pub normalisation: Normalisation,
    /// By which fraction of the own card's cost a bought row must be cheaper, in [0, 1].
    pub margin: f64,
    /// Standard deviations of the lower confidence bound at which that must hold.
    pub z: f64,
    /// By which fraction a row may cost more than the lowest that passed, at least 0.
    pub tolerance: f64,
}

impl Default for Rules {
    /// The paper's weights, a margin of 2 % at one standard deviation, a tolerance of 1 %.
    fn default() -> Self {
        Self {
            weights: [0.4, 0.25, 0.2, 0.15],
            correlation_penalty: weights::CORRELATION_PENALTY,
            normalisation: Normalisation::Vector,
            margin: 0.02,
            z: crate::confidence::ONE_SIGMA,
            tolerance: 0.01,
        }
    }
}

/// What the cost gate said of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// It may be chosen.
    Passed,
    /// At the lower confidence bound it is not cheaper than the own card less the margin.
    NotBelowOwn,
    /// It costs more than the lowest that passed and the tolerance.
    AboveLowest,
}

/// What was computed of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Cost, reliability, latency, security: the row of the matrix.
    pub criteria: [f64; CRITERIA],
    /// The same, normalised.
    pub normalised: [f64; CRITERIA],
    /// Expected total in USD.
    pub expected_usd: f64,
    /// Total at the lower confidence bound of its reliability, in USD.
    pub cautious_usd: f64,
    /// Closeness to the ideal, in [0, 1].
    pub closeness: f64,
    /// What the gate said.
    pub gate: Gate,
}

/// The outcome of [`Desk::choose`]; indices into the prospects.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The row taken.
    pub chosen: usize,
    /// The best row; another than `chosen` when exploring.
    pub best: usize,
    /// The next one by [`before`].
    pub runner_up: Option<usize>,
    /// Probability of exploring that the policy announced; `None` when it follows from what was learned.
    pub exploration_rate: Option<f64>,
}

/// Which of two rows comes first: what passed the gate, the closest first, then the cheapest, then the own card; then
/// what costs more, the own card in its place; last what may turn out dearer than the own card. Under
/// [`Policy::Cheapest`], the lower bill.
#[must_use]
pub fn before(policy: Policy, a: (&Prospect, &Verdict), b: (&Prospect, &Verdict)) -> Ordering {
    let ((a, x), (b, y)) = (a, b);
    let own_first = b.own.cmp(&a.own);
    if policy == Policy::Cheapest {
        let bill = |row: &Prospect| row.bill_usd + row.checking_usd;
        return bill(a).total_cmp(&bill(b)).then(own_first);
    }
    let place = |verdict: &Verdict| match verdict.gate {
        Gate::Passed => 0,
        Gate::AboveLowest => 1,
        Gate::NotBelowOwn => 2,
    };
    let closer = if x.gate == Gate::Passed { y.closeness.total_cmp(&x.closeness) } else { Ordering::Equal };
    let cheaper = x.expected_usd.total_cmp(&y.expected_usd);
    place(x).cmp(&place(y)).then(closer).then(cheaper).then(own_first)
}

/// Buffers kept between decisions, and the verdicts of the last one.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    /// One verdict per prospect of the last decision.
    pub verdicts: Vec<Verdict>,
    /// The weights used, after the correlation adjustment.
    pub weights: [f64; CRITERIA],
    topsis: Topsis,
    matrix: Vec<f64>,
    scratch: Vec<f64>,
    arms: Vec<Arm>,
    rows: Vec<usize>,
}

impl Desk {
    /// Chooses; `None` without a prospect.
    pub fn choose(
        &mut self,
        prospects: &[Prospect],
        rules: &Rules,
        policy: Policy,
        draws: &mut Draws,
    ) -> Option<Choice> {
        self.judge(prospects, rules);
        let first = |me: &Self, except: Option<usize>| {
            let row = |i: usize| (&prospects[i], &me.verdicts[i]);
            (0..prospects.len())
                .filter(|i| Some(*i) != except)
                .min_by(|a, b| before(policy, row(*a), row(*b)).then(a.cmp(b)))
        };
        let best = first(self, None)?;
        let (chosen, exploration_rate) = self.explore(prospects, best, policy, draws);
        Some(Choice { chosen, best, runner_up: first(self, Some(chosen)), exploration_rate })
    }

    /// Fills the verdicts.
    fn judge(&mut self, prospects: &[Prospect], rules: &Rules) {
        self.matrix.clear();
        self.verdicts.clear();
        for prospect in prospects {
            let belief = prospect.belief();
            let mean = belief.mean();
            let expected_usd = prospect.total_usd(mean);
            let cautious_usd = if prospect.own { expected_usd } else { prospect.total_usd(belief.lower(rules.z)) };
            let criteria = [expected_usd, mean, prospect.seconds, 1.0 - prospect.security_risk];
            self.matrix.extend_from_slice(&criteria);
            let gate = Gate::Passed;
            let normalised = criteria;
            self.verdicts.push(Verdict { criteria, normalised, expected_usd, cautious_usd, closeness: 0.5, gate });
        }
        self.weights = rules.weights;
        if rules.correlation_penalty > 0.0 {
            weights::adjust(&mut self.weights, &self.matrix, rules.correlation_penalty, &mut self.scratch);
        }
        self.topsis.rank(&self.matrix, &self.weights, &DIRECTIONS, rules.normalisation);
        let normalised = self.topsis.normalised.chunks_exact(CRITERIA);
        for ((verdict, closeness), row) in self.verdicts.iter_mut().zip(&self.topsis.closeness).zip(normalised) {
            verdict.closeness = *closeness;
            verdict.normalised.copy_from_slice(row);
        }
        self.gate(prospects, rules);
    }

    fn gate(&mut self, prospects: &[Prospect], rules: &Rules) {
        let own = prospects.iter().zip(&self.verdicts).filter(|(prospect, _)| prospect.own);
        let own = own.map(|(_, verdict)| verdict.expected_usd).fold(f64::INFINITY, f64::min);
        let limit = own * (1.0 - rules.margin);
        let mut lowest = f64::INFINITY;
        for (prospect, verdict) in prospects.iter().zip(&mut self.verdicts) {
            // A tie is the own card's, also where the limit is zero.
            if !prospect.own && (verdict.cautious_usd > limit || verdict.cautious_usd >= own) {
                verdict.gate = Gate::NotBelowOwn;
            } else {
                lowest = lowest.min(verdict.expected_usd);
            }
        }
        for verdict in &mut self.verdicts {
            if verdict.gate == Gate::Passed && verdict.expected_usd > lowest * (1.0 + rules.tolerance) {
                verdict.gate = Gate::AboveLowest;
            }
        }
    }

    fn explore(
        &mut self,
        prospects: &[Prospect],
        best: usize,
        policy: Policy,
        draws: &mut Draws,
    ) -> (usize, Option<f64>) {
        let Some(explorer) = policy.explorer() else { return (best, Some(0.0)) };
        let cap = self.verdicts[best].expected_usd * (1.0 + CAP);
        self.rows.clear();
        self.rows.extend((0..prospects.len()).filter(|i| *i == best || self.verdicts[*i].expected_usd <= cap));
        let dearest = self.rows.iter().map(|i| self.verdicts[*i].expected_usd).fold(0.0, f64::max);
        let share = |usd: f64| if dearest > 0.0 { (usd / dearest).clamp(0.0, 1.0) } else { 0.0 };
        self.arms.clear();
        self.arms.extend(self.rows.iter().map(|i| Arm {
            value: 1.0 - share(self.verdicts[*i].expected_usd),
            at_risk: share(prospects[*i].loss_usd),
            pulls: prospects[*i].history.observations(),
            belief: prospects[*i].belief(),
        }));
        let at = self.rows.iter().position(|i| *i == best).unwrap_or(0);
        (self.rows[explorer.pick(&self.arms, at, draws)], explorer.rate(&self.arms))
    }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
