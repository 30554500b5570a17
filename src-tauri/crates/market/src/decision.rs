//! Where a job runs, and why. A [`Decision`] is the receipt of that choice: it holds everything that was known, so
//! that anyone can decide again and compare.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use tender_base::{Book, Code, Did, JobSpec, MicroUsd, Problem, Timestamp, ids::ContractId, job::Privacy};

/// Version of the rules in this module. A decision replays only under the version that made it.
pub const ENGINE: &str = "tender-decision/2";

/// Everything the decision depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Situation {
    /// The job and its hard constraints.
    pub job: JobSpec,
    /// Real or demonstration money.
    pub book: Book,
    /// When it is decided.
    pub decided_at: Timestamp,
    /// What is left today of the owner's spend cap, which only purchases count against; `None` without a cap.
    pub spend_left: Option<MicroUsd>,
    /// Where it could run, in any order.
    pub alternatives: Vec<Alternative>,
}

/// One place where the job could run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Where.
    pub source: Source,
    /// On what terms, or why not.
    pub outcome: Outcome,
}

/// Where a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum Source {
    /// The own card.
    Local,
    /// A paired peer.
    Peer {
        /// Its key.
        did: Did,
        /// The owner's name for it.
        name: String,
    },
    /// A cloud for which the owner has a key.
    Cloud {
        /// The owner's name for it.
        name: String,
        /// The model that would do the job there, by the cloud's name for it.
        model: String,
    },
    /// An A2A agent that is no peer.
    Foreign {
        /// The owner's name for it.
        name: String,
        /// Where it is.
        url: String,
        /// Whether its card is signed by a key that the owner pinned.
        signed: bool,
        /// Who stated its price.
        price: PriceOf,
    },
}

/// Who stated the price of an agent that signs no proposals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceOf {
    /// The owner of this node.
    Owner,
    /// The agent's card.
    Card,
}

impl Source {
    /// How it is called on screen.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Local => "this machine",
            Self::Peer { name, .. } | Self::Cloud { name, .. } | Self::Foreign { name, .. } => name,
        }
    }

    /// What must be known of it beside its terms; none of what is bound by a contract, and of clouds, whose terms the
    /// owner looked up.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let Self::Foreign { url, signed, price, .. } = self else { return None };
        let signed = if *signed { "signed by the key you pinned" } else { "unsigned" };
        let price = match price {
            PriceOf::Owner => "you entered its price",
            PriceOf::Card => "its card states the price",
        };
        Some(format!(
            "an agent at {url}, {signed}; {price}; its texts are checked only when it tells their tokens, and it is \
             paid only for a text"
        ))
    }
}

/// What an alternative offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It can do the job.
    Offered {
        /// The whole bill; for the own card its estimated cost.
        cost: MicroUsd,
        /// What checking the result is expected to cost here, on top of the bill; nothing for the own card.
        #[serde(default)]
        checking: MicroUsd,
        /// Whether the cost is binding or measured, not an assumption.
        cost_measured: bool,
        /// Expected time until the result is here, in milliseconds.
        estimated_ms: u64,
        /// Fraction of past jobs that were delivered and accepted; `None` without history.
        reliability: Option<f64>,
        /// The contract under which it is offered; none for the own card.
        contract: Option<ContractId>,
    },
    /// It cannot, and why.
    Unavailable {
        /// The cause.
        problem: Problem,
    },
}

/// How the feasible alternatives are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Lowest cost first, that of checking included. Equal costs: the own card first, then the earlier result, then the smaller `did` as text,
    /// then the order in the situation.
    CheapestFeasible,
}

/// Why an alternative was not considered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "excluded", rename_all = "snake_case")]
pub enum Exclusion {
    /// It offered nothing.
    Unavailable {
        /// Why.
        problem: Problem,
    },
    /// The input may not leave this machine.
    Private,
    /// The terms make no sense, such as a negative price.
    Malformed,
    /// It costs more than the job's budget.
    OverBudget {
        /// By how much.
        over: MicroUsd,
    },
    /// It costs more than is left of today's spend cap.
    OverSpendCap {
        /// By how much.
        over: MicroUsd,
    },
    /// The result would come after the deadline.
    TooLate {
        /// By how much, in milliseconds.
        late_ms: u64,
    },
}

/// The verdict on one alternative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its place among the feasible ones, 1 being the chosen; `None` when excluded.
    pub rank: Option<u32>,
    /// Why it was excluded.
    pub exclusion: Option<Exclusion>,
}

/// What was expected of the chosen alternative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predicted {
    /// The bill, or the estimated own cost.
    pub cost: MicroUsd,
    /// Whether that is binding or measured.
    pub cost_measured: bool,
    /// Time until the result is here, in milliseconds.
    pub wall_ms: u64,
}

/// What it came to. Filled in when the job has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actual {
    /// What was charged, or what the own run cost.
    pub charged: MicroUsd,
    /// Time until the result was here and checked, in milliseconds.
    pub wall_ms: u64,
    /// The contract that did it; none for the own card. Another than predicted after a failover.
    pub contract: Option<ContractId>,
    /// What did it, when it was bought without a contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Source>,
}

/// The receipt of a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// [`ENGINE`] of the version that decided.
    pub engine: String,
    /// The rule applied.
    pub policy: Policy,
    /// What was known.
    pub situation: Situation,
    /// One verdict per alternative, in the situation's order.
    pub rows: Vec<Row>,
    /// Index of the chosen alternative; `None` when none is feasible.
    pub chosen: Option<usize>,
    /// Index of the next best.
    pub runner_up: Option<usize>,
    /// What is expected of the chosen one.
    pub predicted: Option<Predicted>,
    /// What it came to.
    pub actual: Option<Actual>,
}

/// Decides. The same situation and policy give the same decision on every machine.
#[must_use]
pub fn decide(situation: &Situation, policy: Policy) -> Decision {
    let Policy::CheapestFeasible = policy;
    let mut situation = situation.clone();
    for alternative in &mut situation.alternatives {
        // A receipt is JSON, which has no NaN; a reliability that is no fraction is no knowledge.
        if let Outcome::Offered { reliability, .. } = &mut alternative.outcome {
            *reliability = reliability.filter(|fraction| (0.0..=1.0).contains(fraction));
        }
    }
    let mut rows: Vec<Row> = situation
        .alternatives
        .iter()
        .map(|alternative| Row { rank: None, exclusion: exclusion(&situation, alternative) })
        .collect();
    let mut feasible: Vec<usize> = (0..rows.len()).filter(|i| rows[*i].exclusion.is_none()).collect();
    feasible.sort_by_cached_key(|i| key(&situation.alternatives[*i], *i));
    for (rank, i) in (1..).zip(&feasible) {
        rows[*i].rank = Some(rank);
    }
    let chosen = feasible.first().copied();
    let predicted = chosen.and_then(|i| match situation.alternatives[i].outcome {
        Outcome::Offered { cost, cost_measured, estimated_ms, .. } => {
            Some(Predicted { cost, cost_measured, wall_ms: estimated_ms })
        }
        Outcome::Unavailable { .. } => None,
    });
    Decision {
        engine: ENGINE.to_owned(),
        policy,
        situation,
        rows,
        chosen,
        runner_up: feasible.get(1).copied(),
        predicted,
        actual: None,
    }
}

/// Cost, then own card, then time, then `did` or name, then position.
fn key(alternative: &Alternative, index: usize) -> (MicroUsd, bool, u64, String, usize) {
    let (cost, time) = match &alternative.outcome {
        Outcome::Offered { cost, checking, estimated_ms, .. } => (total(*cost, *checking), *estimated_ms),
        Outcome::Unavailable { .. } => (MicroUsd(i64::MAX), u64::MAX),
    };
    let did = match &alternative.source {
        Source::Local => String::new(),
        Source::Peer { did, .. } => did.to_string(),
        Source::Cloud { name, .. } | Source::Foreign { name, .. } => name.clone(),
    };
    (cost, alternative.source != Source::Local, time, did, index)
}

/// The first hard constraint that an alternative breaks.
pub(crate) fn exclusion(situation: &Situation, alternative: &Alternative) -> Option<Exclusion> {
    let constraints = &situation.job.constraints;
    let (cost, estimated_ms) = match &alternative.outcome {
        Outcome::Unavailable { problem } => return Some(Exclusion::Unavailable { problem: problem.clone() }),
        Outcome::Offered { cost, estimated_ms, .. } => (*cost, *estimated_ms),
    };
    if alternative.source != Source::Local && constraints.privacy == Privacy::Own {
        return Some(Exclusion::Private);
    }
    if cost < MicroUsd::ZERO {
        return Some(Exclusion::Malformed);
    }
    if cost > constraints.budget {
        return Some(Exclusion::OverBudget { over: difference(cost, constraints.budget) });
    }
    if let Some(left) = situation.spend_left
        && alternative.source != Source::Local
        && cost > left
    {
        return Some(Exclusion::OverSpendCap { over: difference(cost, left) });
    }
    let done = situation.decided_at.after(std::time::Duration::from_millis(estimated_ms));
    if done > constraints.deadline {
        let late = done.since(constraints.deadline).as_millis();
        return Some(Exclusion::TooLate { late_ms: u64::try_from(late).unwrap_or(u64::MAX) });
    }
    None
}

fn total(cost: MicroUsd, checking: MicroUsd) -> MicroUsd {
    MicroUsd(cost.0.saturating_add(checking.0))
}

fn difference(more: MicroUsd, less: MicroUsd) -> MicroUsd {
    MicroUsd(more.0.saturating_sub(less.0))
}

impl Decision {
    /// The feasible alternatives, best first: the order of failing over.
    #[must_use]
    pub fn order(&self) -> Vec<&Alternative> {
        let mut ranked: Vec<(u32, &Alternative)> = self
            .rows
            .iter()
            .zip(&self.situation.alternatives)
            .filter_map(|(row, alternative)| Some((row.rank?, alternative)))
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, alternative)| alternative).collect()
    }

    /// The chosen alternative.
    #[must_use]
    pub fn chosen(&self) -> Option<&Alternative> {
        self.situation.alternatives.get(self.chosen?)
    }

    /// Why nothing could be chosen; `None` when something was.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        if self.chosen.is_some() {
            return None;
        }
        let reasons: Vec<String> = (0..self.rows.len()).map(|row| self.why_not(row)).collect();
        let message = if reasons.is_empty() {
            "there is nowhere to run this job".to_owned()
        } else {
            format!("no alternative is feasible: {}", reasons.join("; "))
        };
        let money = self
            .rows
            .iter()
            .any(|row| matches!(row.exclusion, Some(Exclusion::OverBudget { .. } | Exclusion::OverSpendCap { .. })));
        Some(if money {
            Problem::new(Code::OverLimit, message, "raise the budget or today's spend cap, or wait for a lower price")
        } else {
            Problem::new(Code::Unavailable, message, "add a peer, allow the own GPU, or give the job more time")
        })
    }

    /// Why the alternative at index `row` was not chosen, in one sentence; for the chosen one, why it was.
    #[must_use]
    pub fn why_not(&self, row: usize) -> String {
        let (Some(verdict), Some(alternative)) = (self.rows.get(row), self.situation.alternatives.get(row)) else {
            return format!("there is no alternative {row}");
        };
        let name = alternative.source.label();
        match (&verdict.exclusion, self.chosen) {
            (Some(Exclusion::Unavailable { problem }), _) => format!("{name} is not available: {}", problem.message),
            (Some(Exclusion::Private), _) => {
                format!("{name} may not see the input: the job is private to this machine")
            }
            (Some(Exclusion::Malformed), _) => format!("{name} offered terms that make no sense"),
            (Some(Exclusion::OverBudget { over }), _) => format!("{name} costs {over} more than the job's budget"),
            (Some(Exclusion::OverSpendCap { over }), _) => {
                format!("{name} costs {over} more than is left of today's spend cap")
            }
            (Some(Exclusion::TooLate { late_ms }), _) => {
                format!("{name} would finish {} after the deadline", seconds(*late_ms))
            }
            (None, Some(chosen)) if chosen == row => match self.runner_up {
                Some(_) => format!("{name} is the cheapest that meets every constraint"),
                None => format!("{name} is the only one that meets every constraint"),
            },
            (None, Some(chosen)) => self.second_to(name, alternative, &self.situation.alternatives[chosen]),
            (None, None) => format!("{name} was not ranked"),
        }
    }

    fn second_to(&self, name: &str, alternative: &Alternative, chosen: &Alternative) -> String {
        let winner = chosen.source.label();
        let (
            Outcome::Offered { cost, checking, estimated_ms, .. },
            Outcome::Offered { cost: best, checking: best_checking, estimated_ms: best_ms, .. },
        ) = (&alternative.outcome, &chosen.outcome)
        else {
            return format!("{name} was not ranked");
        };
        let (cost, best) = (total(*cost, *checking), total(*best, *best_checking));
        if cost > best {
            let with = if *checking > MicroUsd::ZERO { ", checking included" } else { "" };
            format!("{name} costs {} more than {winner}{with}", difference(cost, best))
        } else if chosen.source == Source::Local {
            format!("{name} costs the same as {winner}, which is preferred then")
        } else if estimated_ms > best_ms {
            format!("{name} costs the same as {winner} and takes {} longer", seconds(estimated_ms - best_ms))
        } else {
            format!("{name} offers the same as {winner}, whose key comes first")
        }
    }

    /// Decides again from the situation and compares with this receipt; `actual` is not part of the decision.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when another engine version decided, [`Code::Forged`] when the outcome differs.
    pub fn replay(&self) -> Result<(), Problem> {
        if self.engine != ENGINE {
            return Err(Problem::new(
                Code::Unavailable,
                format!("the decision was made by {}, this is {ENGINE}", self.engine),
                "replay it with the version of Tender that made it",
            ));
        }
        let again = Self { actual: self.actual.clone(), ..decide(&self.situation, self.policy) };
        if again == *self {
            return Ok(());
        }
        let what = if again.chosen != self.chosen { "the chosen alternative" } else { "a row or a prediction" };
        Err(Problem::new(
            Code::Forged,
            format!("deciding again from the recorded situation changes {what}"),
            "the receipt was altered after it was made; do not rely on it",
        ))
    }

    /// The decision as a plain text table with a reason per row, ending in a line break.
    #[must_use]
    pub fn render(&self) -> String {
        let Situation { job, decided_at, spend_left, alternatives, .. } = &self.situation;
        let constraints = &job.constraints;
        let mut out = format!(
            "{} of {} units, decided {decided_at} by {}, cheapest feasible\nbudget {}, deadline {}",
            job.work.kind().name(),
            job.work.units(),
            self.engine,
            constraints.budget,
            constraints.deadline,
        );
        if let Some(left) = spend_left {
            let _ = write!(out, ", {left} left of today's spend cap");
        }
        out.push_str(if constraints.privacy == Privacy::Own { ", private to this machine\n\n" } else { "\n\n" });

        let mut table = vec![["rank", "where", "cost", "checking", "time", "reliable", "why"].map(str::to_owned)];
        let mut by_rank: Vec<usize> = (0..self.rows.len().min(alternatives.len())).collect();
        by_rank.sort_by_key(|i| self.rows[*i].rank.unwrap_or(u32::MAX));
        for i in by_rank {
            let rank = self.rows[i].rank.map_or("-".to_owned(), |rank| rank.to_string());
            let (cost, checking, time, reliable) = match &alternatives[i].outcome {
                Outcome::Offered { cost, checking, cost_measured, estimated_ms, reliability, .. } => (
                    if *cost_measured { cost.to_string() } else { format!("{cost} (estimate)") },
                    if *checking > MicroUsd::ZERO { checking.to_string() } else { "-".to_owned() },
                    seconds(*estimated_ms),
                    reliability.map_or("-".to_owned(), |fraction| format!("{:.0} %", fraction * 100.0)),
                ),
                Outcome::Unavailable { .. } => ["-"; 4].map(str::to_owned).into(),
            };
            table.push([
                rank,
                printable(alternatives[i].source.label()),
                cost,
                checking,
                time,
                reliable,
                printable(&self.why_not(i)),
            ]);
        }
        let widths: [usize; 6] =
            std::array::from_fn(|c| table.iter().map(|row| row[c].chars().count()).max().unwrap_or(0));
        for row in &table {
            for (cell, width) in row.iter().zip(widths) {
                let _ = write!(out, "{cell:<width$}  ");
            }
            out.push_str(&row[6]);
            out.push('\n');
        }
        for source in alternatives.iter().map(|alternative| &alternative.source) {
            if let Some(note) = source.note() {
                let _ = writeln!(out, "\n{}: {}", printable(source.label()), printable(&note));
            }
        }
        if let Some(problem) = self.problem() {
            let _ = writeln!(out, "\nnothing chosen: {}", problem.hint);
        }
        if let (Some(predicted), Some(actual)) = (&self.predicted, &self.actual) {
            let _ = writeln!(
                out,
                "\npredicted {} in {}, came to {} in {}",
                predicted.cost,
                seconds(predicted.wall_ms),
                actual.charged,
                seconds(actual.wall_ms)
            );
        }
        if let Some(by) = self.actual.as_ref().and_then(|actual| actual.by.as_ref()) {
            let _ = writeln!(out, "bought from {} without a contract", printable(by.label()));
        }
        out
    }
}

fn seconds(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1000, ms % 1000 / 100) }
}

/// Names and messages of others go to a terminal: no control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
