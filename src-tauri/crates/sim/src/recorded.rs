//! Recorded jobs, decided again: what another policy would have come to on this owner's own jobs.
//!
//! A recording knows what the chosen place came to, and of the others only what they offered. So every total says how
//! much of it was observed and how much is estimated.

use serde::{Deserialize, Serialize};
use tender_base::Problem;
use tender_market::{
    decision::{Outcome, Source},
    explore::Policy,
    receipt::Receipt,
};

/// What a policy comes to on recorded jobs; bills in USD.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Jobs with a choice and an outcome.
    pub jobs: usize,
    /// Jobs that were recorded without one and are left out.
    pub left_out: usize,
    /// Jobs for which the policy takes the place that was taken.
    pub same: usize,
    /// What was charged.
    pub charged_usd: f64,
    /// What the policy comes to.
    pub policy_usd: f64,
    /// What of that was observed, the place being the same.
    pub observed_usd: f64,
    /// What all jobs with an offer of the own card come to there, and what the policy comes to on these.
    pub all_local_usd: f64,
    /// See `all_local_usd`.
    pub policy_beside_local_usd: f64,
}

impl Recorded {
    /// Saving against always local in per cent, losses counted; `None` without a job that could run locally.
    #[must_use]
    pub fn saving_pct(&self) -> Option<f64> {
        (self.all_local_usd > 0.0).then(|| 100.0 * (1.0 - self.policy_beside_local_usd / self.all_local_usd))
    }
}

/// The bill that the alternative at index `i` offered, in USD.
fn offered(receipt: &Receipt, i: usize) -> Option<f64> {
    match receipt.question.situation.alternatives.get(i)?.outcome {
        Outcome::Offered { cost, .. } => Some(cost.0 as f64 / 1e6),
        Outcome::Unavailable { .. } => None,
    }
}

/// Charged over offered, for all jobs that the place got in the recording; 1 without any.
fn ratio(receipts: &[Receipt], source: &Source) -> f64 {
    let (charged, predicted) = receipts.iter().fold((0.0, 0.0), |(charged, predicted), receipt| {
        let taken = receipt.choice.map(|choice| choice.chosen);
        let same =
            taken.and_then(|i| receipt.question.situation.alternatives.get(i)).is_some_and(|a| a.source == *source);
        match (&receipt.actual, taken.and_then(|i| offered(receipt, i))) {
            (Some(actual), Some(bill)) if same => (charged + actual.charged.0 as f64 / 1e6, predicted + bill),
            _ => (charged, predicted),
        }
    });
    if predicted > 0.0 { charged / predicted } else { 1.0 }
}

/// Decides every recorded job again under `policy`.
///
/// # Errors
/// As [`Receipt::replay`] and [`Receipt::under`]: a receipt that was altered, or made by another engine version.
pub fn replay(receipts: &[Receipt], policy: Policy) -> Result<Recorded, Problem> {
    let mut sums = Recorded::default();
    for receipt in receipts {
        receipt.replay()?;
        let (Some(choice), Some(actual)) = (receipt.choice, &receipt.actual) else {
            sums.left_out += 1;
            continue;
        };
        let charged = actual.charged.0 as f64 / 1e6;
        let bill = |i: usize| -> Option<f64> {
            if i == choice.chosen {
                return Some(charged);
            }
            let source = &receipt.question.situation.alternatives.get(i)?.source;
            Some(offered(receipt, i)? * ratio(receipts, source))
        };
        let again = receipt.under(policy)?.choice.map_or(choice.chosen, |choice| choice.chosen);
        let Some(usd) = bill(again) else {
            sums.left_out += 1;
            continue;
        };
        sums.jobs += 1;
        sums.charged_usd += charged;
        sums.policy_usd += usd;
        if again == choice.chosen {
            sums.same += 1;
            sums.observed_usd += usd;
        }
        let own = receipt.rows.iter().position(|row| row.prospect.is_some_and(|prospect| prospect.own));
        if let Some(local) = own.and_then(bill) {
            sums.all_local_usd += local;
            sums.policy_beside_local_usd += usd;
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tender_base::{
        BlobRef, Book, Code, JobSpec, MicroUsd, Sha256, Signer, Timestamp, Work,
        job::{Constraints, Precision, Privacy},
        signed::KeySigner,
    };
    use tender_market::{
        choice::Rules,
        decision::{Actual, Alternative, Situation},
        receipt::{Needs, Question, Standing, decide},
        reliability::{OWN_PRIOR, PEER_PRIOR, Reliability},
    };

    /// The own card at 1,000 micro-USD and a peer that asks 400, with this history; what was charged.
    fn receipt(history: Reliability, charged: i64) -> Receipt {
        let now = Timestamp::from_millis(1_795_248_000_000);
        let offer = |source: Source, cost: i64| Alternative {
            source,
            outcome: Outcome::Offered {
                cost: MicroUsd(cost),
                checking: MicroUsd::ZERO,
                cost_measured: true,
                estimated_ms: 1_000,
                contract: None,
            },
        };
        let standing = |history, prior| Standing {
            skills: BTreeSet::new(),
            cosine: None,
            memory_bytes: None,
            region: None,
            history,
            prior,
            security_risk: 0.0,
            loss_usd: 0.001,
        };
        let peer = Source::Peer { did: KeySigner::from_seed(&[1; 32]).did(), name: "peer".into() };
        let question = Question {
            situation: Situation {
                job: JobSpec {
                    work: Work::Gemm { m: 8, k: 8, n: 8, precision: Precision::F32 },
                    input: BlobRef { sha256: Sha256::of(b"in"), bytes: 512 },
                    constraints: Constraints {
                        budget: MicroUsd(5_000),
                        deadline: now.after(std::time::Duration::from_secs(60)),
                        privacy: Privacy::Peers,
                    },
                },
                book: Book::Real,
                decided_at: now,
                spend_left: None,
                rule: None,
                alternatives: vec![offer(Source::Local, 1_000), offer(peer, 400)],
            },
            needs: Needs::default(),
            standings: vec![standing(Reliability::default(), OWN_PRIOR), standing(history, PEER_PRIOR)],
            rules: Rules::default(),
            threshold: 0.0,
            policy: Policy::Greedy,
            seed: 1,
        };
        let mut receipt = decide(question).unwrap();
        receipt.actual = Some(Actual { charged: MicroUsd(charged), wall_ms: 1_000, contract: None, by: None });
        receipt
    }

    #[test]
    fn what_was_observed_is_told_from_what_is_estimated() {
        let trusted = Reliability { successes: 90.0, failures: 0.0 };
        let failing = Reliability { successes: 0.0, failures: 50.0 };
        // The peer was taken and charged 440 for 400; then it was avoided, and the own card came to 900.
        let receipts = [receipt(trusted, 440), receipt(failing, 900)];
        let same = replay(&receipts, Policy::Greedy).unwrap();
        assert_eq!((same.jobs, same.same, same.charged_usd), (2, 2, same.policy_usd));
        assert!((same.observed_usd - 0.001_340).abs() < 1e-12);
        // Cheapest takes the peer twice: 440 observed, 400 × 1.1 estimated.
        let cheapest = replay(&receipts, Policy::Cheapest).unwrap();
        assert_eq!(cheapest.same, 1);
        assert!((cheapest.policy_usd - 0.000_880).abs() < 1e-12, "{cheapest:?}");
        // Locally the first would have come to 1,000 × 0.9.
        assert!((cheapest.all_local_usd - 0.001_800).abs() < 1e-12, "{cheapest:?}");
        assert!((cheapest.saving_pct().unwrap() - 100.0 * (1.0 - 880.0 / 1800.0)).abs() < 1e-9);
    }

    #[test]
    fn an_altered_recording_is_refused_and_an_unfinished_job_left_out() {
        let mut altered = receipt(Reliability::default(), 440);
        altered.weights[0] += 1e-9;
        assert_eq!(replay(&[altered], Policy::Greedy).unwrap_err().code, Code::Forged);
        let mut unfinished = receipt(Reliability::default(), 440);
        unfinished.actual = None;
        assert_eq!(replay(&[unfinished], Policy::Greedy).unwrap().left_out, 1);
        assert_eq!(replay(&[], Policy::Greedy).unwrap().saving_pct(), None);
    }
}
