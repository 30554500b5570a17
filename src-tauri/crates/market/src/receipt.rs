//! The receipt of a decision: everything that was known, everything that was computed, and why each row was not
//! chosen. Decided again from the receipt, the same engine gives the same bits; another policy gives what it would
//! have done.

mod again;
mod explain;

pub use again::{Again, Instead};
pub use explain::GateLimits;

use crate::{
    choice::{self, Choice, Desk, Prospect, Rules, Verdict},
    compatibility::{Compatibility, compatibility},
    decision::{self, Actual, Alternative, Exclusion, Outcome, Predicted, Situation},
    draws::Draws,
    explore::Policy,
    number,
    reliability::Reliability,
    weights::{CRITERIA, NAMES},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tender_base::{Code, Problem};

/// Version of the rules behind a [`Receipt`]. A receipt replays only under the version that made it.
pub const ENGINE: &str = "tender-engine/1";

/// What a job needs beside the constraints that its [`tender_base::JobSpec`] states.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// Skills, all of which must be covered.
    pub skills: BTreeSet<String>,
    /// Memory of the card, in bytes.
    pub memory_bytes: u64,
    /// Regions where the data may go; everywhere when empty.
    pub regions: BTreeSet<String>,
    /// What an hour of waiting for the result is worth, in USD.
    pub usd_per_hour: f64,
}

/// What is known of an alternative beside its offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// What it can do.
    pub skills: BTreeSet<String>,
    /// Cosine between the embeddings of job and skills, in [−1, 1]; `None` without embeddings of one model.
    pub cosine: Option<f64>,
    /// Memory of its card, in bytes; `None` where that is not told, as of a cloud.
    pub memory_bytes: Option<u64>,
    /// Where it is; `None` where that is not told.
    pub region: Option<String>,
    /// Its jobs so far, faded.
    pub history: Reliability,
    /// What is assumed of it beside its history.
    pub prior: Reliability,
    /// [`crate::security::risk`] of the data there, in [0, 1].
    pub security_risk: f64,
    /// What is lost when it fails, in USD: γ·V of equation 9.
    pub loss_usd: f64,
}

impl Standing {
    /// Whether [`Standing::check`] has nothing to say; that makes a name per field, which a thousand rows would feel.
    fn is_valid(&self) -> bool {
        (0.0..=1.0).contains(&self.security_risk)
            && self.loss_usd.is_finite()
            && self.loss_usd >= 0.0
            && self.cosine.is_none_or(|cosine| (-1.0..=1.0).contains(&cosine))
            && self.history.is_valid()
            && self.prior.is_valid()
            && self.prior.successes > 0.0
            && self.prior.failures > 0.0
    }

    /// Names the field that is wrong; `i` is its place.
    fn check(&self, i: usize) -> Result<(), Problem> {
        let field = |name: &str| format!("standings[{i}].{name}");
        number::within(&field("security_risk"), self.security_risk, 0.0, 1.0)?;
        number::not_negative(&field("loss_usd"), self.loss_usd)?;
        number::within(&field("cosine"), self.cosine.unwrap_or(0.0), -1.0, 1.0)?;
        number::not_negative(&field("history.successes"), self.history.successes)?;
        number::not_negative(&field("history.failures"), self.history.failures)?;
        number::positive(&field("prior.successes"), self.prior.successes)?;
        number::positive(&field("prior.failures"), self.prior.failures)?;
        Ok(())
    }
}

/// Everything a decision depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The job, its constraints and the offers.
    pub situation: Situation,
    /// What the job needs.
    pub needs: Needs,
    /// What is known of each alternative, in the situation's order.
    pub standings: Vec<Standing>,
    /// How rows are compared.
    pub rules: Rules,
    /// θ in [0, 1]: an alternative whose compatibility is below is not considered.
    pub threshold: f64,
    /// How the row is chosen.
    pub policy: Policy,
    /// Seed of the draws.
    pub seed: u64,
}

/// Why an alternative was not considered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "refused", rename_all = "snake_case")]
pub enum Refusal {
    /// It breaks a constraint of the job, or offered nothing.
    Constraint(Exclusion),
    /// It lacks skills.
    Skills {
        /// Those that it lacks.
        missing: BTreeSet<String>,
    },
    /// It fits less than the threshold.
    Incompatible {
        /// Equation 12, in [0, 1].
        score: f64,
    },
    /// Its card is too small.
    Memory {
        /// By how many bytes.
        short_bytes: u64,
    },
    /// The data may not go there, or it does not say where it is.
    Region {
        /// Where it is.
        region: Option<String>,
    },
}

/// The verdict on one alternative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// How well it fits; `None` when it was refused before that was asked.
    pub compatibility: Option<Compatibility>,
    /// Why it was not considered.
    pub refusal: Option<Refusal>,
    /// What went into the matrix.
    pub prospect: Option<Prospect>,
    /// What was computed of it.
    pub verdict: Option<Verdict>,
}

/// The receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// [`ENGINE`] of the version that decided.
    pub engine: String,
    /// What was known.
    pub question: Question,
    /// One row per alternative, in the situation's order.
    pub rows: Vec<Row>,
    /// The weights used, after the correlation adjustment.
    pub weights: [f64; CRITERIA],
    /// First uniform draw of the seed, in [0, 1): what ε-greedy compares with its probability; `None` where nothing is
    /// explored.
    pub draw: Option<f64>,
    /// Which alternative was taken, which was best and which came next, as indices of `rows`; `None` when none could
    /// be considered.
    pub choice: Option<Choice>,
    /// What is expected of the chosen one.
    pub predicted: Option<Predicted>,
    /// What it came to.
    pub actual: Option<Actual>,
}

/// Decides. The same question gives the same receipt on every machine.
///
/// # Errors
/// [`Code::Invalid`], naming the field: a number out of its range, or another count of standings than alternatives.
pub fn decide(question: Question) -> Result<Receipt, Problem> {
    check(&question)?;
    let mut rows: Vec<Row> = (0..question.standings.len()).map(|i| row(&question, i)).collect();
    let considered: Vec<usize> = (0..rows.len()).filter(|i| rows[*i].prospect.is_some()).collect();
    let prospects: Vec<Prospect> = rows.iter().filter_map(|row| row.prospect).collect();
    let mut desk = Desk::default();
    let mut draws = Draws::new(question.seed, 0);
    let choice = desk.choose(&prospects, &question.rules, question.policy, &mut draws).map(|choice| Choice {
        chosen: considered[choice.chosen],
        best: considered[choice.best],
        runner_up: choice.runner_up.map(|i| considered[i]),
        ..choice
    });
    for (i, verdict) in considered.iter().zip(&desk.verdicts) {
        rows[*i].verdict = Some(*verdict);
    }
    let predicted = choice.and_then(|choice| match question.situation.alternatives[choice.chosen].outcome {
        Outcome::Offered { cost, cost_measured, estimated_ms, .. } => {
            Some(Predicted { cost, cost_measured, wall_ms: estimated_ms })
        }
        Outcome::Unavailable { .. } => None,
    });
    let engine = ENGINE.to_owned();
    let draw = question.policy.explorer().map(|_| Draws::new(question.seed, 0).uniform());
    Ok(Receipt { engine, question, rows, weights: desk.weights, draw, choice, predicted, actual: None })
}

fn check(question: &Question) -> Result<(), Problem> {
    let Question { situation, needs, standings, rules, threshold, policy, .. } = question;
    let invalid = |message: String| Err(Problem::new(Code::Invalid, message, "correct the number and decide again"));
    if standings.len() != situation.alternatives.len() {
        let (has, wanted) = (standings.len(), situation.alternatives.len());
        return invalid(format!("standings has {has} entries for {wanted} alternatives"));
    }
    number::not_negative("needs.usd_per_hour", needs.usd_per_hour)?;
    number::within("threshold", *threshold, 0.0, 1.0)?;
    number::within("rules.correlation_penalty", rules.correlation_penalty, 0.0, 1.0)?;
    number::within("rules.margin", rules.margin, 0.0, 1.0)?;
    number::not_negative("rules.z", rules.z)?;
    number::not_negative("rules.tolerance", rules.tolerance)?;
    for (name, weight) in NAMES.iter().zip(rules.weights) {
        number::not_negative(&format!("rules.weights.{name}"), weight)?;
    }
    number::positive("rules.weights (their sum)", rules.weights.iter().sum())?;
    match policy {
        Policy::Epsilon(p) | Policy::Graduated(p) => number::within("policy.parameter", *p, 0.0, 1.0)?,
        Policy::Ucb1(c) => number::not_negative("policy.parameter", *c)?,
        Policy::Greedy | Policy::Thompson | Policy::Cheapest => 0.0,
    };
    standings.iter().enumerate().filter(|(_, standing)| !standing.is_valid()).try_for_each(|(i, s)| s.check(i))
}

/// The hard constraints, then the figures of the matrix.
fn row(question: &Question, i: usize) -> Row {
    let (alternative, standing) = (&question.situation.alternatives[i], &question.standings[i]);
    let (needs, own) = (&question.needs, alternative.source == decision::Source::Local);
    let refused = |compatibility, refusal| Row { compatibility, refusal: Some(refusal), prospect: None, verdict: None };
    if let Some(exclusion) = decision::exclusion(&question.situation, alternative) {
        return refused(None, Refusal::Constraint(exclusion));
    }
    let Outcome::Offered { cost, checking, estimated_ms, .. } = alternative.outcome else {
        return refused(None, Refusal::Constraint(Exclusion::Malformed));
    };
    let told = standing.history.observations();
    let history = (told > 0.0).then(|| standing.history.successes / told);
    let fit = compatibility(&needs.skills, &standing.skills, standing.cosine, history);
    if fit.coverage < 1.0 {
        let missing = needs.skills.difference(&standing.skills).cloned().collect();
        return refused(Some(fit), Refusal::Skills { missing });
    }
    // The own card fits by definition: what it cannot run is unavailable.
    if !own && fit.score < question.threshold {
        return refused(Some(fit), Refusal::Incompatible { score: fit.score });
    }
    if let Some(has) = standing.memory_bytes
        && has < needs.memory_bytes
    {
        return refused(Some(fit), Refusal::Memory { short_bytes: needs.memory_bytes - has });
    }
    if !own
        && !needs.regions.is_empty()
        && !standing.region.as_ref().is_some_and(|region| needs.regions.contains(region))
    {
        return refused(Some(fit), Refusal::Region { region: standing.region.clone() });
    }
    let seconds = estimated_ms as f64 / 1000.0;
    let prospect = Prospect {
        own,
        bill_usd: cost.0 as f64 / 1e6,
        checking_usd: checking.0 as f64 / 1e6,
        waiting_usd: seconds / 3600.0 * needs.usd_per_hour,
        loss_usd: standing.loss_usd,
        seconds,
        history: standing.history,
        prior: standing.prior,
        security_risk: standing.security_risk,
    };
    Row { compatibility: Some(fit), refusal: None, prospect: Some(prospect), verdict: None }
}

impl Receipt {
    /// Whether the row taken was not the best one.
    #[must_use]
    pub fn explored(&self) -> bool {
        self.choice.is_some_and(|choice| choice.chosen != choice.best)
    }

    /// The alternative taken; `None` when none could be considered.
    #[must_use]
    pub fn chosen(&self) -> Option<&Alternative> {
        self.question.situation.alternatives.get(self.choice?.chosen)
    }

    /// Indices of the alternatives that could be considered, in the order in which they are tried: the one taken, then
    /// the others by [`choice::before`].
    #[must_use]
    pub fn order(&self) -> Vec<usize> {
        let Some(choice) = self.choice else { return Vec::new() };
        let ranked = |i: &usize| Some((*i, self.rows[*i].prospect.as_ref()?, self.rows[*i].verdict.as_ref()?));
        let mut rows: Vec<_> = (0..self.rows.len()).filter_map(|i| ranked(&i)).collect();
        rows.sort_by(|a, b| {
            let taken = (b.0 == choice.chosen).cmp(&(a.0 == choice.chosen));
            taken.then_with(|| choice::before(self.question.policy, (a.1, a.2), (b.1, b.2)))
        });
        rows.into_iter().map(|(i, ..)| i).collect()
    }

    /// Why nothing could be chosen; `None` when something was.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        if self.choice.is_some() {
            return None;
        }
        let reasons: Vec<String> = (0..self.rows.len()).map(|i| self.why_not(i)).collect();
        let message = if reasons.is_empty() {
            "there is nowhere to run this job".to_owned()
        } else {
            format!("no alternative is feasible: {}", reasons.join("; "))
        };
        let dear = |row: &Row| {
            let dear = |exclusion: &Exclusion| {
                matches!(exclusion, Exclusion::OverBudget { .. } | Exclusion::OverSpendCap { .. })
            };
            matches!(&row.refusal, Some(Refusal::Constraint(exclusion)) if dear(exclusion))
        };
        Some(if self.rows.iter().any(dear) {
            Problem::new(Code::OverLimit, message, "raise the budget or today's spend cap, or wait for a lower price")
        } else {
            Problem::new(Code::Unavailable, message, "add a peer, allow the own GPU, or give the job more time")
        })
    }

    /// Decides again from what was known; the result differs from this receipt in nothing but `actual`.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when another engine version decided, [`Code::Forged`] when the outcome differs in a bit.
    pub fn replay(&self) -> Result<(), Problem> {
        let again = self.under(self.question.policy)?;
        if (Self { actual: self.actual.clone(), ..again }) == *self {
            return Ok(());
        }
        Err(Problem::new(
            Code::Forged,
            "deciding again from what was known gives another receipt",
            "the receipt was altered after it was made; do not rely on it",
        ))
    }

    /// What `policy` would have done with the same knowledge and the same draws.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when another engine version decided; [`Code::Invalid`] as [`decide`].
    pub fn under(&self, policy: Policy) -> Result<Self, Problem> {
        if self.engine != ENGINE {
            return Err(Problem::new(
                Code::Unavailable,
                format!("the decision was made by {}, this is {ENGINE}", self.engine),
                "replay it with the version of Tender that made it",
            ));
        }
        decide(Question { policy, ..self.question.clone() })
    }
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;
