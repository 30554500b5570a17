//! Decisions as tables: from a stored receipt to what a screen draws.

use super::{types::*, views};
use crate::{client::Decided, node::Node};
use std::sync::Arc;
use tender_base::{Code, Problem, ids::JobId};
use tender_market::{
    choice::{DIRECTIONS, Gate},
    decision::{Alternative, Exclusion, Outcome, Source},
    explore::Policy,
    receipt::{Instead, Receipt, Refusal},
    topsis::Direction,
    weights::NAMES,
};
use tender_store::{JobFilter, JobRecord};

/// Decisions on a page when nothing else is said, and at most: each is read with all that was known.
const PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;
/// Units of the criteria, in the order of [`NAMES`].
const UNITS: [&str; NAMES.len()] = ["USD", "fraction", "s", "fraction"];

pub(super) async fn decisions(node: &Arc<Node>, query: DecisionsQuery) -> Result<Decisions, Problem> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let before: Option<JobId> = query.before.as_deref().map(super::handlers::parse_job).transpose()?;
    let filter = JobFilter { before, limit, decided: true, ..JobFilter::default() };
    let jobs = node.store.jobs(filter).await.map_err(|e| e.problem())?;
    let next = jobs.last().map(|job| job.id.to_string()).filter(|_| jobs.len() == limit as usize);
    Ok(Decisions { decisions: jobs.iter().map(summary).collect(), next })
}

fn summary(job: &JobRecord) -> DecisionSummary {
    let mut line = DecisionSummary {
        job: job.id.to_string(),
        at: job.submitted_at.to_string(),
        title: views::title(&job.spec.work),
        kind: job.kind,
        chosen: None,
        policy: None,
        explored: false,
        odds: None,
        alternatives: 0,
        considered: 0,
        expected_micro_usd: None,
        measured: false,
        actual_micro_usd: job.charged.map(|charged| charged.0),
    };
    // What a later version wrote stays in the list; opening it says what is the matter.
    let Ok(Some(decided)) = Decided::of(job) else { return line };
    let alternatives = decided.alternatives();
    line.at = decided.decided_at().to_string();
    line.alternatives = views::count(alternatives.len());
    if let Some(Alternative { source, outcome }) = decided.chosen().and_then(|i| alternatives.get(i)) {
        line.chosen = Some(source.label().to_owned());
        if let Outcome::Offered { cost, cost_measured, .. } = outcome {
            (line.expected_micro_usd, line.measured) = (Some(cost.0), *cost_measured);
        }
    }
    if let Some(actual) = decided.actual() {
        line.actual_micro_usd = Some(actual.charged.0);
    }
    if let Decided::Now(receipt) = &decided {
        line.considered = views::count(receipt.rows.iter().filter(|row| row.prospect.is_some()).count());
        line.policy = Some(receipt.question.policy.to_string());
        line.explored = receipt.explored();
        line.odds = receipt.choice.and_then(|choice| receipt.odds(choice.chosen));
    }
    line
}

pub(super) async fn decision(node: &Arc<Node>, query: DecisionQuery) -> Result<DecisionView, Problem> {
    let policy: Option<Policy> = query.policy.as_deref().map(str::parse).transpose()?;
    let job = node.job_record(super::handlers::parse_job(&query.job)?).await?;
    let decided = Decided::of(&job)?.ok_or_else(|| {
        Problem::new(Code::NotFound, "nothing is decided about this job yet", "ask again when it runs")
    })?;
    view(&job, &decided, policy)
}

fn view(job: &JobRecord, decided: &Decided, policy: Option<Policy>) -> Result<DecisionView, Problem> {
    let alternatives = decided.alternatives();
    let chosen = decided.chosen();
    let constraints = &job.spec.constraints;
    let mut view = DecisionView {
        job: job.id.to_string(),
        at: decided.decided_at().to_string(),
        title: views::title(&job.spec.work),
        kind: job.kind,
        state: job.state,
        budget_micro_usd: constraints.budget.0,
        deadline: constraints.deadline.to_string(),
        engine: decided.engine().to_owned(),
        criteria: Vec::new(),
        rows: Vec::new(),
        chosen: chosen.and_then(|i| alternatives.get(i)).map(|chosen| chosen.source.label().to_owned()),
        summary: chosen.map_or_else(|| "nobody was chosen".to_owned(), |i| decided.why_not(i)),
        hint: String::new(),
        gate: None,
        policy: None,
        seed: None,
        explored: false,
        exploration: None,
        exploration_rate: None,
        draw: None,
        same_bits: None,
        replay_problem: None,
        expected: chosen.and_then(|i| expected(alternatives.get(i)?)),
        actual: decided.actual().map(|actual| DecisionOutcome { cost_micro_usd: actual.charged.0, ms: actual.wall_ms }),
        instead: None,
    };
    let receipt = match decided {
        Decided::Now(receipt) => receipt,
        Decided::Earlier(_) => {
            let row = |(i, alternative)| DecisionAlternative {
                chosen: chosen == Some(i),
                why: decided.why_not(i),
                ..plain(alternative)
            };
            view.rows = alternatives.iter().enumerate().map(row).collect();
            return Ok(view);
        }
    };
    let again = receipt.again(policy)?;
    if let Some(problem) = receipt.problem() {
        (view.summary, view.hint) = (problem.message, problem.hint);
    }
    let limits = receipt.gate();
    view.gate = limits.expected_usd.map(|most| DecisionGate {
        text: receipt.gate_words(),
        cautious_micro_usd: limits.cautious_usd.map(micro),
        expected_micro_usd: Some(micro(most)),
    });
    view.criteria = criteria(receipt);
    view.rows = rows(receipt);
    view.policy = Some(receipt.question.policy.to_string());
    view.seed = Some(receipt.question.seed.to_string());
    view.explored = receipt.explored();
    view.exploration = Some(receipt.exploration_words());
    view.exploration_rate = receipt.choice.and_then(|choice| choice.exploration_rate);
    view.draw = receipt.draw;
    view.same_bits = Some(again.same_bits);
    view.instead = again.instead.as_ref().map(|instead| shown(instead, again.chosen.as_deref()));
    view.replay_problem = again.problem.map(ApiProblem::from);
    Ok(view)
}

fn shown(instead: &Instead, chosen: Option<&str>) -> DecisionInstead {
    DecisionInstead {
        policy: instead.policy.clone(),
        chosen: instead.chosen.clone(),
        same: instead.same,
        text: instead.verdict(chosen),
        rows: rows(&instead.receipt),
    }
}

fn criteria(receipt: &Receipt) -> Vec<DecisionCriterion> {
    let weights = receipt.weights.iter().zip(receipt.question.rules.weights);
    let named = NAMES.iter().zip(UNITS).zip(DIRECTIONS).zip(weights);
    named
        .map(|(((name, unit), direction), (weight, stated_weight))| DecisionCriterion {
            name: (*name).to_owned(),
            unit: unit.to_owned(),
            direction: match direction {
                Direction::Cost => "cost".to_owned(),
                Direction::Benefit => "benefit".to_owned(),
            },
            weight: *weight,
            stated_weight,
        })
        .collect()
}

/// As `tender explain` orders them.
fn rows(receipt: &Receipt) -> Vec<DecisionAlternative> {
    let ranked = receipt.order();
    let refused = (0..receipt.rows.len()).filter(|i| !ranked.contains(i));
    let placed = ranked.iter().zip(1u32..).map(|(i, rank)| (*i, Some(rank)));
    placed.chain(refused.map(|i| (i, None))).map(|(i, rank)| row(receipt, i, rank)).collect()
}

fn row(receipt: &Receipt, i: usize, rank: Option<u32>) -> DecisionAlternative {
    let (row, verdict) = (&receipt.rows[i], receipt.rows[i].verdict);
    DecisionAlternative {
        chosen: receipt.choice.is_some_and(|choice| choice.chosen == i),
        best: receipt.choice.is_some_and(|choice| choice.best == i),
        rank,
        excluded_by: row.refusal.as_ref().map(|refusal| excluded_by(refusal).to_owned()),
        values: verdict.map_or_else(Vec::new, |verdict| verdict.criteria.into()),
        normalised: verdict.map_or_else(Vec::new, |verdict| verdict.normalised.into()),
        closeness: verdict.map(|verdict| verdict.closeness),
        gate: verdict.map(|verdict| {
            let said = match verdict.gate {
                Gate::Passed => "passed",
                Gate::NotBelowOwn => "not_below_own",
                Gate::AboveLowest => "above_lowest",
            };
            said.to_owned()
        }),
        odds: receipt.odds(i),
        expected_micro_usd: verdict.map(|verdict| micro(verdict.expected_usd)),
        cautious_micro_usd: verdict.map(|verdict| micro(verdict.cautious_usd)),
        why: receipt.why_not(i),
        ..plain(&receipt.question.situation.alternatives[i])
    }
}

/// What an alternative says of itself.
fn plain(alternative: &Alternative) -> DecisionAlternative {
    let (cost, checking, measured, estimated_ms) = match &alternative.outcome {
        Outcome::Offered { cost, checking, cost_measured, estimated_ms, .. } => {
            (Some(cost.0), Some(checking.0), *cost_measured, Some(*estimated_ms))
        }
        Outcome::Unavailable { .. } => (None, None, false, None),
    };
    DecisionAlternative {
        name: alternative.source.label().to_owned(),
        source: match alternative.source {
            Source::Local => "local",
            Source::Peer { .. } => "peer",
            Source::Cloud { .. } => "cloud",
            Source::Foreign { .. } => "agent",
        }
        .to_owned(),
        chosen: false,
        best: false,
        rank: None,
        excluded_by: None,
        values: Vec::new(),
        normalised: Vec::new(),
        closeness: None,
        gate: None,
        odds: None,
        cost_micro_usd: cost,
        checking_micro_usd: checking,
        expected_micro_usd: None,
        cautious_micro_usd: None,
        estimated_ms,
        measured,
        why: String::new(),
        note: alternative.source.note(),
    }
}

fn excluded_by(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Constraint(Exclusion::Unavailable { .. }) => "unavailable",
        Refusal::Constraint(Exclusion::Private) => "private",
        Refusal::Constraint(Exclusion::Malformed) => "malformed",
        Refusal::Constraint(Exclusion::OverBudget { .. }) => "over_budget",
        Refusal::Constraint(Exclusion::OverSpendCap { .. }) => "over_spend_cap",
        Refusal::Constraint(Exclusion::Rule { .. }) => "rule",
        Refusal::Constraint(Exclusion::TooLate { .. }) => "too_late",
        Refusal::Skills { .. } => "skills",
        Refusal::Incompatible { .. } => "incompatible",
        Refusal::Memory { .. } => "memory",
        Refusal::Region { .. } => "region",
    }
}

fn expected(alternative: &Alternative) -> Option<DecisionOutcome> {
    let Outcome::Offered { cost, estimated_ms, .. } = &alternative.outcome else { return None };
    Some(DecisionOutcome { cost_micro_usd: cost.0, ms: *estimated_ms })
}

fn micro(usd: f64) -> f64 {
    usd * 1e6
}

#[cfg(test)]
#[path = "decisions_tests.rs"]
mod tests;
