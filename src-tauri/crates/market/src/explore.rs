//! When to try what does not look best. A policy explores only among alternatives that meet every hard constraint and
//! cost at most [`CAP`] more than the best; what it explores is marked, and counted by [`RateAlarm`].

use crate::{draws::Draws, reliability::Reliability};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use tender_base::{Code, Problem};

/// Most that an exploration may cost above the best expected total, as a fraction.
pub const CAP: f64 = 0.25;

/// An alternative as a bandit sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// What choosing it is expected to save, as a fraction of the dearest arm's cost, in [0, 1].
    pub value: f64,
    /// How much of that value depends on its success, in [0, 1]: what a draw of its reliability moves.
    pub at_risk: f64,
    /// How often it was chosen before.
    pub pulls: f64,
    /// Its reliability with the prior's counts, both greater than 0.
    pub belief: Reliability,
}

/// A way to explore. `arms` are those it may choose from, `best` is the one that would be chosen without it.
pub trait Explore {
    /// The arm to try, or `best`.
    fn pick(&self, arms: &[Arm], best: usize, draws: &mut Draws) -> usize;

    /// Probability that it leaves `best`, where that is known beforehand; `None` where it depends on what was learned.
    fn rate(&self, arms: &[Arm]) -> Option<f64>;
}

/// ε-greedy (equation 19): with probability ε one of the other arms, all alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epsilon(pub f64);

/// ε-greedy whose ε falls with what was learned: ε/√(1 + pulls/arms).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Graduated(pub f64);

/// UCB1 (Auer, Cesa-Bianchi and Fischer, 2002): the highest value + c·√(2·ln N/n); what was never tried comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ucb1(pub f64);

/// Thompson sampling (1933): a reliability is drawn from each arm's Beta distribution, and the best under it is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thompson;

fn other(arms: &[Arm], best: usize, epsilon: f64, draws: &mut Draws) -> usize {
    if arms.len() < 2 || draws.uniform() >= epsilon {
        return best;
    }
    let pick = draws.below(arms.len() - 1);
    if pick >= best { pick + 1 } else { pick }
}

impl Explore for Epsilon {
    fn pick(&self, arms: &[Arm], best: usize, draws: &mut Draws) -> usize {
        other(arms, best, self.0, draws)
    }

    fn rate(&self, arms: &[Arm]) -> Option<f64> {
        Some(if arms.len() < 2 { 0.0 } else { self.0 })
    }
}

impl Explore for Graduated {
    fn pick(&self, arms: &[Arm], best: usize, draws: &mut Draws) -> usize {
        other(arms, best, self.rate(arms).unwrap_or(0.0), draws)
    }

    fn rate(&self, arms: &[Arm]) -> Option<f64> {
        let pulls: f64 = arms.iter().map(|arm| arm.pulls).sum();
        Some(if arms.len() < 2 { 0.0 } else { self.0 / (1.0 + pulls / arms.len() as f64).sqrt() })
    }
}

impl Ucb1 {
    /// Upper confidence bound of one arm with `n` of `total` pulls; infinite before the first.
    #[must_use]
    pub fn bound(&self, value: f64, n: f64, total: f64) -> f64 {
        if n > 0.0 { value + self.0 * (2.0 * libm::log(total.max(1.0)) / n).sqrt() } else { f64::INFINITY }
    }
}

impl Explore for Ucb1 {
    fn pick(&self, arms: &[Arm], best: usize, _draws: &mut Draws) -> usize {
        let total: f64 = arms.iter().map(|arm| arm.pulls).sum();
        highest(arms, best, |arm| self.bound(arm.value, arm.pulls, total))
    }

    fn rate(&self, _arms: &[Arm]) -> Option<f64> {
        None
    }
}

impl Explore for Thompson {
    fn pick(&self, arms: &[Arm], best: usize, draws: &mut Draws) -> usize {
        highest(arms, best, |arm| {
            let drawn = draws.beta(arm.belief.successes, arm.belief.failures);
            arm.value + arm.at_risk * (drawn - arm.belief.mean())
        })
    }

    fn rate(&self, _arms: &[Arm]) -> Option<f64> {
        None
    }
}

/// The arm with the highest score; of several the one of higher value, then `best`, then the first.
fn highest(arms: &[Arm], best: usize, mut score: impl FnMut(&Arm) -> f64) -> usize {
    let scored = arms.iter().enumerate().map(|(i, arm)| (score(arm), arm.value, i == best, i));
    let better = |a: &(f64, f64, bool, usize), b: &(f64, f64, bool, usize)| {
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)).then(b.3.cmp(&a.3))
    };
    scored.max_by(better).map_or(best, |(.., i)| i)
}

/// How the row is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "policy", content = "parameter", rename_all = "snake_case")]
pub enum Policy {
    /// What looks best; no random exploration.
    #[default]
    Greedy,
    /// [`Epsilon`], with ε in [0, 1].
    Epsilon(f64),
    /// [`Graduated`], with its first ε in [0, 1].
    Graduated(f64),
    /// [`Ucb1`], with its c ≥ 0.
    Ucb1(f64),
    /// [`Thompson`].
    Thompson,
    /// The lowest bill, whatever the risk and the wait: what everyone tries first, for comparison.
    Cheapest,
}

impl Policy {
    /// How it explores; `None` for the policies that do not.
    #[must_use]
    pub fn explorer(self) -> Option<Box<dyn Explore>> {
        match self {
            Self::Greedy | Self::Cheapest => None,
            Self::Epsilon(epsilon) => Some(Box::new(Epsilon(epsilon))),
            Self::Graduated(epsilon) => Some(Box::new(Graduated(epsilon))),
            Self::Ucb1(c) => Some(Box::new(Ucb1(c))),
            Self::Thompson => Some(Box::new(Thompson)),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greedy => f.write_str("greedy"),
            Self::Epsilon(epsilon) => write!(f, "epsilon={epsilon}"),
            Self::Graduated(epsilon) => write!(f, "graduated={epsilon}"),
            Self::Ucb1(c) => write!(f, "ucb1={c}"),
            Self::Thompson => f.write_str("thompson"),
            Self::Cheapest => f.write_str("cheapest"),
        }
    }
}

impl FromStr for Policy {
    type Err = Problem;

    /// `greedy`, `epsilon=0.1`, `graduated=0.1`, `ucb1=0.1`, `thompson` or `cheapest`; without a number, 0.1.
    fn from_str(text: &str) -> Result<Self, Problem> {
        let (name, parameter) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let number = |most: f64| match parameter.map_or(Ok(0.1), str::parse::<f64>) {
            Ok(value) if (0.0..=most).contains(&value) => Ok(value),
            _ => Err(Problem::new(
                Code::Invalid,
                format!("the parameter of policy {name} is not a number from 0 to {most}"),
                format!("for example {name}=0.1"),
            )),
        };
        match (name, parameter) {
            ("greedy", None) => Ok(Self::Greedy),
            ("epsilon", _) => Ok(Self::Epsilon(number(1.0)?)),
            ("graduated", _) => Ok(Self::Graduated(number(1.0)?)),
            ("ucb1", _) => Ok(Self::Ucb1(number(100.0)?)),
            ("thompson", None) => Ok(Self::Thompson),
            ("cheapest", None) => Ok(Self::Cheapest),
            _ => Err(Problem::new(
                Code::Invalid,
                format!("there is no policy {text:?}"),
                "greedy, epsilon=0.1, graduated=0.1, ucb1=0.1, thompson or cheapest",
            )),
        }
    }
}

/// Watches how often a policy explores. Feed it every decision with the probability that it announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateAlarm {
    /// Decisions with a known probability.
    pub decisions: u64,
    /// Explorations among them.
    pub explored: u64,
    /// Sum of the probabilities.
    pub expected: f64,
    /// Sum of p(1 − p).
    pub variance: f64,
}

impl RateAlarm {
    /// Standard deviations from which the rate is not chance: one false alarm in 15,000 looks.
    pub const SIGMAS: f64 = 4.0;

    /// Counts a decision.
    pub fn observe(&mut self, probability: f64, explored: bool) {
        self.decisions += 1;
        self.explored += u64::from(explored);
        self.expected += probability;
        self.variance += probability * (1.0 - probability);
    }

    /// What is wrong with the rate, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        let off = self.explored as f64 - self.expected;
        // Half a count for the steps of a binomial.
        (off.abs() - 0.5 > Self::SIGMAS * self.variance.sqrt()).then(|| {
            let (explored, decisions, expected) = (self.explored, self.decisions, self.expected);
            Problem::new(
                Code::Internal,
                format!("{explored} of {decisions} decisions explored, {expected:.1} were expected"),
                "replay the receipts; until it is explained, decide with policy greedy",
            )
        })
    }
}

#[cfg(test)]
#[path = "explore_tests.rs"]
mod tests;
