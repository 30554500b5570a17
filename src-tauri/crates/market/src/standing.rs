//! What is known, and what is assumed, of the places that could run a job: from the offers, and from what a node has
//! seen of those who make them, to a whole [`Question`].

use crate::{
    choice::Rules,
    decision::{self, Alternative, Outcome, Situation, Source},
    explore::Policy,
    receipt::{Needs, Question, Standing},
    reliability::{OWN_PRIOR, PEER_PRIOR, Reliability},
    security,
    weights::{self, MARKET_SHARE},
};
use std::collections::BTreeSet;
use tender_base::{Work, job::Privacy};

/// Pressure of prices among today's weights, the paper's figure: a single node sees no market.
const PRICE_PRESSURE: f64 = 0.4;
/// γ of equation 9: beside having it done elsewhere, a failure costs this share of that again, in delay and trouble.
/// Assumed.
const TROUBLE_OF_A_FAILURE: f64 = 0.25;
/// Share of its time that a job which fails has taken when that shows: half of the failures show when the result is
/// checked, the others before. Assumed.
const TIME_OF_A_FAILURE: f64 = 0.75;

/// What a node has seen of an alternative.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Its finished jobs, faded to the day of the decision.
    pub history: Reliability,
    /// What its card says that it can do, by [`skills`]; its offer says it, too.
    pub skills: BTreeSet<String>,
    /// Memory of its card in bytes, where its card tells it.
    pub memory_bytes: Option<u64>,
}

/// What work asks for: its kind, and the model where there is one.
#[must_use]
pub fn skills(work: &Work) -> BTreeSet<String> {
    let model = match work {
        Work::Embed { model, .. } => Some(model.name.clone()),
        Work::Generate(text) => Some(text.model.name.clone()),
        Work::Gemm { .. } | Work::Kernel(_) | Work::Wgsl(_) => None,
    };
    model.into_iter().chain([work.kind().name().to_owned()]).collect()
}

impl Question {
    /// The question that a node asks; `seen` holds one entry per alternative, in the situation's order, and
    /// `usd_per_hour` is what an hour of waiting is worth.
    ///
    /// An offer is for this very job: who makes it says by that that it has the skills and the memory, so neither a
    /// least memory nor a threshold of compatibility is asked for beside it. What is lost by a failure is the time, having
    /// it done by the next best instead of at its own bill, which is not owed then, and the trouble. The next best is the
    /// cheapest that is known to deliver, in the mean: the own card, or who delivered more often than not. Where there is
    /// none it is the cheapest other, at no less than the same again: a bait that nobody has tried would make failures
    /// look cheap. The own card's failures are taken to be those of the job.
    #[must_use]
    pub fn of(situation: Situation, seen: Vec<Seen>, usd_per_hour: f64, policy: Policy, seed: u64) -> Self {
        let needs = Needs { skills: skills(&situation.job.work), usd_per_hour, ..Needs::default() };
        let totals: Vec<Option<f64>> =
            situation.alternatives.iter().map(|alternative| total(&situation, alternative, usd_per_hour)).collect();
        let sure = sure(&situation, &totals, &seen, usd_per_hour);
        let standing = |(i, (alternative, seen)): (usize, (&Alternative, Seen))| {
            let offered = matches!(alternative.outcome, Outcome::Offered { .. });
            let skills = if offered { needs.skills.union(&seen.skills).cloned().collect() } else { seen.skills };
            Standing {
                skills,
                cosine: None,
                memory_bytes: seen.memory_bytes,
                region: None,
                history: seen.history,
                prior: prior(&alternative.source),
                security_risk: security_risk(&alternative.source, situation.job.constraints.privacy),
                loss_usd: loss(&totals, &sure, i, alternative, usd_per_hour),
            }
        };
        let standings: Vec<Standing> = situation.alternatives.iter().zip(seen).enumerate().map(standing).collect();
        let rules = rules(&situation, &standings, usd_per_hour);
        Self { situation, needs, standings, rules, threshold: 0.0, policy, seed }
    }
}

/// What is assumed of a place before its first job.
fn prior(source: &Source) -> Reliability {
    match source {
        Source::Local | Source::Cloud { .. } => OWN_PRIOR,
        Source::Peer { .. } | Source::Foreign { .. } => PEER_PRIOR,
    }
}

/// [`security::risk`] of a job's data there. Everything in it is assumed: data that peers may read is half as
/// sensitive as what may not leave; whoever computes on data can read it, so that the channel protects nothing; and
/// how likely it is to leak there falls with what is known of whoever that is.
fn security_risk(source: &Source, privacy: Privacy) -> f64 {
    let sensitivity = match privacy {
        Privacy::Own => 1.0,
        Privacy::Peers => 0.5,
    };
    let breach = match source {
        Source::Local => 0.0,
        Source::Cloud { .. } => 0.01,
        Source::Peer { .. } => 0.02,
        Source::Foreign { signed: true, .. } => 0.05,
        Source::Foreign { signed: false, .. } => 0.10,
    };
    security::risk(&[breach], sensitivity, 0.0).unwrap_or(1.0)
}

/// Bill, checking and waiting in USD; `None` for what offers nothing or breaks a constraint.
fn total(situation: &Situation, alternative: &Alternative, usd_per_hour: f64) -> Option<f64> {
    let Outcome::Offered { cost, checking, estimated_ms, .. } = alternative.outcome else { return None };
    let meets = decision::exclusion(situation, alternative).is_none();
    meets.then(|| (cost.0 as f64 + checking.0 as f64) / 1e6 + waiting(estimated_ms, usd_per_hour))
}

fn waiting(ms: u64, usd_per_hour: f64) -> f64 {
    ms as f64 / 3.6e6 * usd_per_hour
}

/// What each place that is known to deliver costs in the mean: its total, and as often as it fails what is lost by that
/// when the own card follows, or where that cannot the place again.
fn sure(situation: &Situation, totals: &[Option<f64>], seen: &[Seen], usd_per_hour: f64) -> Vec<Option<f64>> {
    let places = || situation.alternatives.iter().zip(totals);
    let own = places().find(|(place, _)| place.source == Source::Local).and_then(|(_, total)| *total);
    let mean = |((place, total), seen): ((&Alternative, &Option<f64>), &Seen)| {
        let total = (*total)?;
        if place.source == Source::Local {
            return Some(total);
        }
        let fails = 1.0 - seen.history.with(prior(&place.source)).mean();
        let delivers = seen.history.successes > seen.history.failures;
        delivers.then(|| total + fails * lost(own.unwrap_or(total), place, usd_per_hour))
    };
    places().zip(seen).map(mean).collect()
}

/// What is lost when the alternative at `i` fails, in USD; `sure` is what those cost that are known to deliver.
fn loss(totals: &[Option<f64>], sure: &[Option<f64>], i: usize, alternative: &Alternative, usd_per_hour: f64) -> f64 {
    let Some(own) = totals[i].filter(|_| alternative.source != Source::Local) else { return 0.0 };
    let cheapest_other = |of: &[Option<f64>]| {
        let others = of.iter().enumerate().filter(|(j, _)| *j != i).filter_map(|(_, total)| *total);
        others.reduce(f64::min)
    };
    let next = cheapest_other(sure).unwrap_or_else(|| cheapest_other(totals).unwrap_or(own).max(own));
    lost(next, alternative, usd_per_hour)
}

/// What is lost when an alternative fails and `next` is what having it done then costs, in USD.
fn lost(next: f64, alternative: &Alternative, usd_per_hour: f64) -> f64 {
    let Outcome::Offered { cost, estimated_ms, .. } = &alternative.outcome else { return 0.0 };
    let unspent = (1.0 - TIME_OF_A_FAILURE) * waiting(*estimated_ms, usd_per_hour);
    (next * (1.0 + TROUBLE_OF_A_FAILURE) - cost.0 as f64 / 1e6 - unspent).max(0.0)
}

/// Today's weights blended with the paper's: how often places fail, what an hour is worth (at most 1), and how much is
/// risked, in the mean over the offers.
fn rules(situation: &Situation, standings: &[Standing], usd_per_hour: f64) -> Rules {
    let rules = Rules::default();
    let offered: Vec<&Standing> = situation
        .alternatives
        .iter()
        .zip(standings)
        .filter(|(alternative, _)| matches!(alternative.outcome, Outcome::Offered { .. }))
        .map(|(_, standing)| standing)
        .collect();
    let mean = |of: fn(&Standing) -> f64| {
        offered.iter().map(|standing| of(standing)).sum::<f64>() / offered.len().max(1) as f64
    };
    let fails = mean(|standing| 1.0 - standing.history.with(standing.prior).mean());
    let market = [PRICE_PRESSURE, fails, usd_per_hour.min(1.0), mean(|standing| standing.security_risk)];
    Rules { weights: weights::blended(market, rules.weights, MARKET_SHARE), ..rules }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
