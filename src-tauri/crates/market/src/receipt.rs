//! The receipt of a decision: everything that was known, everything that was computed, and why each row was not
//! chosen. Decided again from the receipt, the same engine gives the same bits; another policy gives what it would
//! have done.

use crate::{
    choice::{Choice, Desk, Gate, Prospect, Rules, Verdict},
    compatibility::{Compatibility, compatibility},
    decision::{self, Actual, Exclusion, Outcome, Predicted, Situation},
    draws::Draws,
    explore::Policy,
    number,
    reliability::Reliability,
    weights::{CRITERIA, NAMES},
    why::{Origin, Why},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt::Write as _};
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
    Ok(Receipt { engine, question, rows, weights: desk.weights, choice, predicted, actual: None })
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

    /// Why the alternative at index `i` was not taken, in a sentence; for the one taken, why it was.
    #[must_use]
    pub fn why_not(&self, i: usize) -> String {
        let (Some(row), Some(alternative)) = (self.rows.get(i), self.question.situation.alternatives.get(i)) else {
            return format!("there is no alternative {i}");
        };
        let name = alternative.source.label();
        if let Some(refusal) = &row.refusal {
            return refused(name, refusal);
        }
        let (Some(verdict), Some(choice)) = (row.verdict, self.choice) else {
            return format!("{name} was not ranked");
        };
        let Some(winner) = self.rows.get(choice.chosen).and_then(|row| row.verdict) else {
            return format!("{name} was not ranked");
        };
        let against = self.question.situation.alternatives[choice.chosen].source.label();
        if i == choice.chosen {
            return match (self.explored(), self.question.policy) {
                (true, policy) => format!("{name} was tried to learn about it ({policy})"),
                (false, Policy::Cheapest) => format!("{name} has the lowest bill"),
                (false, _) => format!("{name} is closest to the ideal of what costs about the least"),
            };
        }
        if i == choice.best {
            return format!("{name} is the best; {against} was tried to learn about it");
        }
        if self.question.policy == Policy::Cheapest {
            return format!("{name} has a higher bill than {against}");
        }
        match verdict.gate {
            Gate::NotBelowOwn => {
                let margin = self.question.rules.margin * 100.0;
                let at = usd(verdict.cautious_usd);
                format!(
                    "{name} comes to {at} if it is as unreliable as it may be, which is not {margin:.0} % below the own card"
                )
            }
            Gate::AboveLowest => {
                let more = usd(verdict.expected_usd - winner.expected_usd);
                format!("{name} is expected to cost {more} more than {against}, risk and waiting included")
            }
            Gate::Passed => {
                let (its, best) = (verdict.closeness, winner.closeness);
                format!(
                    "{name} costs about the same as {against} and is less close to the ideal ({its:.3} to {best:.3})"
                )
            }
        }
    }

    /// The decision as a plain text table with a reason per row, ending in a line break.
    #[must_use]
    pub fn render(&self) -> String {
        let Question { situation, policy, seed, .. } = &self.question;
        let (kind, at) = (situation.job.work.kind().name(), situation.decided_at);
        let mut out = format!("{kind}, decided {at} by {}, policy {policy}, seed {seed}\nweights", self.engine);
        for (name, weight) in NAMES.iter().zip(self.weights) {
            let _ = write!(out, " {name} {weight:.3}");
        }
        let mut table =
            vec![["where", "expected", "cautious", "reliable", "time", "closeness", "why"].map(str::to_owned)];
        for (i, (row, alternative)) in self.rows.iter().zip(&situation.alternatives).enumerate() {
            let figures = match (&row.verdict, &row.prospect) {
                (Some(verdict), Some(prospect)) => [
                    usd(verdict.expected_usd),
                    usd(verdict.cautious_usd),
                    format!("{:.1} %", 100.0 * verdict.criteria[1]),
                    format!("{:.1} s", prospect.seconds),
                    format!("{:.3}", verdict.closeness),
                ],
                _ => ["-"; 5].map(str::to_owned),
            };
            let [expected, cautious, reliable, time, closeness] = figures;
            let label = printable(alternative.source.label());
            table.push([label, expected, cautious, reliable, time, closeness, printable(&self.why_not(i))]);
        }
        out.push_str("\n\n");
        let widths: [usize; 6] =
            std::array::from_fn(|c| table.iter().map(|row| row[c].chars().count()).max().unwrap_or(0));
        for row in &table {
            for (cell, width) in row.iter().zip(widths) {
                let _ = write!(out, "{cell:<width$}  ");
            }
            out.push_str(&row[6]);
            out.push('\n');
        }
        out
    }

    /// The gate's arithmetic for the alternative at index `i`; `None` when it was not ranked.
    #[must_use]
    pub fn why(&self, i: usize) -> Option<Why> {
        let row = self.rows.get(i)?;
        let (prospect, verdict) = (row.prospect?, row.verdict?);
        let belief = prospect.belief();
        let formula = "bill + checking + waiting + loss × (1 − reliability × (1 − security risk))";
        let name = format!("expected total of {}", self.question.situation.alternatives.get(i)?.source.label());
        let offer = if prospect.own { Origin::Measured } else { Origin::Stated };
        let known = if prospect.history.observations() > 0.0 { Origin::Measured } else { Origin::Assumed };
        Some(
            Why::new(name, verdict.expected_usd, "USD", formula, "COALESCE eq. 6 and 9, corrected")
                .with("bill", prospect.bill_usd, "USD", offer)
                .with("checking", prospect.checking_usd, "USD", Origin::Computed)
                .with("waiting", prospect.waiting_usd, "USD", Origin::Computed)
                .with("loss", prospect.loss_usd, "USD", Origin::Computed)
                .with("reliability", belief.mean(), "", known.clone())
                .with("reliability at the lower bound", belief.lower(self.question.rules.z), "", known)
                .with("security risk", prospect.security_risk, "", Origin::Computed)
                .with("total at the lower bound", verdict.cautious_usd, "USD", Origin::Computed)
                .with("closeness", verdict.closeness, "", Origin::Computed),
        )
    }
}

/// Names of others go to a terminal: no control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn usd(amount: f64) -> String {
    format!("${amount:.6}")
}

fn refused(name: &str, refusal: &Refusal) -> String {
    match refusal {
        Refusal::Constraint(exclusion) => match exclusion {
            Exclusion::Unavailable { problem } => format!("{name} is not available: {}", problem.message),
            Exclusion::Private => format!("{name} may not see the input: the job is private to this machine"),
            Exclusion::Malformed => format!("{name} offered terms that make no sense"),
            Exclusion::OverBudget { over } => format!("{name} costs {over} more than the job's budget"),
            Exclusion::OverSpendCap { over } => format!("{name} costs {over} more than is left of today's spend cap"),
            Exclusion::TooLate { late_ms } => format!("{name} would finish {late_ms} ms after the deadline"),
        },
        Refusal::Skills { missing } => {
            let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
            format!("{name} cannot do {}", missing.join(", "))
        }
        Refusal::Incompatible { score } => format!("{name} fits the job by {score:.2} only"),
        Refusal::Memory { short_bytes } => format!("{name} has {short_bytes} bytes too little memory"),
        Refusal::Region { region: Some(region) } => format!("{name} is in {region}, where the data may not go"),
        Refusal::Region { region: None } => {
            format!("{name} does not say where it is, and the data may not go everywhere")
        }
    }
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;
