//! Where a job could run: the offers, and the constraints that every one must meet. [`crate::receipt`] decides among
//! them.

use crate::breakeven::rule::Verdict;
use serde::{Deserialize, Serialize};
use tender_base::{Book, Did, JobSpec, MicroUsd, Problem, Timestamp, ids::ContractId, job::Privacy};

/// A job and the offers for it.
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
    /// What the owner's break-even rule says of it; `None` while there is no rule, and of other work than text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Verdict>,
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
        /// The contract under which it is offered; none for the own card.
        contract: Option<ContractId>,
    },
    /// It cannot, and why.
    Unavailable {
        /// The cause.
        problem: Problem,
    },
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
    /// The break-even rule sends the job elsewhere, and there it can be done.
    Rule {
        /// The rule's sentence.
        why: String,
    },
    /// The result would come after the deadline.
    TooLate {
        /// By how much, in milliseconds.
        late_ms: u64,
    },
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

/// The first hard constraint that an alternative breaks.
pub(crate) fn exclusion(situation: &Situation, alternative: &Alternative) -> Option<Exclusion> {
    broken(situation, alternative).or_else(|| {
        let rule = situation.rule.as_ref()?;
        // The rule chooses between places that can do the job; it does not keep it from being done.
        let meant = |alternative: &Alternative| (alternative.source == Source::Local) == rule.own;
        let elsewhere =
            || situation.alternatives.iter().any(|other| meant(other) && broken(situation, other).is_none());
        (!meant(alternative) && elsewhere()).then(|| Exclusion::Rule { why: rule.why.clone() })
    })
}

/// The first constraint of the job that an alternative breaks.
fn broken(situation: &Situation, alternative: &Alternative) -> Option<Exclusion> {
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

fn difference(more: MicroUsd, less: MicroUsd) -> MicroUsd {
    MicroUsd(more.0.saturating_sub(less.0))
}
