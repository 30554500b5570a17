use super::*;
use crate::client::decided_before;
use std::collections::BTreeSet;
use tender_base::{Book, Did, JobSpec, MicroUsd, Signer, Timestamp, signed::KeySigner};
use tender_market::{
    choice::Rules,
    compatibility,
    decision::{Actual, Situation},
    receipt::{Needs, Question, Standing, decide},
    reliability::{OWN_PRIOR, PEER_PRIOR, Reliability},
};

fn did(seed: u8) -> Did {
    KeySigner::from_seed(&[seed; 32]).did()
}

/// The own card at 700, a known peer at 300, one that nobody knows at 290, one over the budget, and a cloud that is off.
fn receipt(spec: JobSpec, policy: Policy) -> Receipt {
    let offered = |source, cost: i64| Alternative {
        outcome: Outcome::Offered {
            cost: MicroUsd(cost),
            checking: MicroUsd::ZERO,
            cost_measured: source != Source::Local,
            estimated_ms: 5_000,
            contract: None,
        },
        source,
    };
    let peer = |seed: u8, cost| offered(Source::Peer { did: did(seed), name: format!("peer {seed}") }, cost);
    let off = Problem::new(Code::Unavailable, "it is off", "");
    let skills: BTreeSet<String> = ["gemm".to_owned()].into();
    let standing = |successes, prior| Standing {
        skills: skills.clone(),
        cosine: None,
        memory_bytes: None,
        region: None,
        history: Reliability { successes, failures: 0.0 },
        prior,
        security_risk: 0.0,
        loss_usd: 0.000_5,
    };
    let question = Question {
        situation: Situation {
            job: spec,
            book: Book::Real,
            decided_at: Timestamp::parse("2026-11-21T08:00:00Z").unwrap(),
            spend_left: None,
            rule: None,
            alternatives: vec![
                offered(Source::Local, 700),
                peer(1, 300),
                peer(2, 290),
                peer(3, 5_000),
                Alternative {
                    source: Source::Cloud { name: "box".to_owned(), model: "m".to_owned() },
                    outcome: Outcome::Unavailable { problem: off },
                },
            ],
        },
        needs: Needs { skills: skills.clone(), memory_bytes: 0, regions: BTreeSet::new(), usd_per_hour: 0.0 },
        standings: vec![
            standing(0.0, OWN_PRIOR),
            standing(40.0, PEER_PRIOR),
            standing(0.0, PEER_PRIOR),
            standing(0.0, PEER_PRIOR),
            standing(0.0, PEER_PRIOR),
        ],
        rules: Rules::default(),
        threshold: compatibility::THRESHOLD,
        policy,
        seed: u64::MAX,
    };
    let mut receipt = decide(question).unwrap();
    receipt.actual = Some(Actual { charged: MicroUsd(299), wall_ms: 4_800, contract: None, by: None });
    receipt
}

fn job(policy: Policy) -> JobRecord {
    let mut job = decided_before::job(decided_before::earlier());
    job.decision = Some(serde_json::to_value(receipt(job.spec.clone(), policy)).unwrap());
    job
}

fn seen(job: &JobRecord, policy: Option<Policy>) -> DecisionView {
    view(job, &Decided::of(job).unwrap().unwrap(), policy).unwrap()
}

#[test]
fn a_decision_is_a_table_that_says_why_not_of_each_row() {
    let job = job(Policy::Greedy);
    let view = seen(&job, None);
    let names: Vec<(&str, Option<u32>)> = view.rows.iter().map(|row| (row.name.as_str(), row.rank)).collect();
    assert_eq!(names[0], ("peer 1", Some(1)));
    assert_eq!(names[3..], [("peer 3", None), ("box", None)]);
    let (first, over, off) = (&view.rows[0], &view.rows[3], &view.rows[4]);
    assert!(first.chosen && first.best && first.gate.as_deref() == Some("passed") && first.odds == Some(1.0));
    assert_eq!(over.excluded_by.as_deref(), Some("over_budget"));
    assert_eq!((off.excluded_by.as_deref(), off.source.as_str()), (Some("unavailable"), "cloud"));
    assert!(over.values.is_empty() && over.closeness.is_none() && over.why.contains("more than the job's budget"));
    assert!(view.rows.iter().all(|row| !row.why.is_empty()));
    for row in view.rows.iter().filter(|row| row.rank.is_some()) {
        assert_eq!((row.values.len(), row.normalised.len()), (view.criteria.len(), view.criteria.len()));
        assert!(row.normalised.iter().all(|value| (0.0..=1.0).contains(value)), "{row:?}");
        assert_eq!(row.expected_micro_usd, Some(row.values[0] * 1e6));
    }
    let weights: f64 = view.criteria.iter().map(|criterion| criterion.weight).sum();
    assert!((weights - 1.0).abs() < 1e-9 && view.criteria[0].unit == "USD" && view.criteria[1].direction == "benefit");
    assert_eq!((view.same_bits, view.seed.as_deref()), (Some(true), Some("18446744073709551615")));
    assert_eq!(view.actual, Some(DecisionOutcome { cost_micro_usd: 299, ms: 4_800 }));
    assert_eq!(view.expected, Some(DecisionOutcome { cost_micro_usd: 300, ms: 5_000 }));
    assert!(view.gate.unwrap().text.contains("this machine") && view.instead.is_none());

    let line = summary(&job);
    assert_eq!((line.chosen.as_deref(), line.alternatives, line.considered), (Some("peer 1"), 5, 3));
    assert_eq!((line.expected_micro_usd, line.actual_micro_usd, line.odds), (Some(300), Some(299), Some(1.0)));
}

#[test]
fn another_policy_has_its_own_table_and_an_altered_receipt_has_none() {
    let mut job = job(Policy::Greedy);
    let instead = seen(&job, Some(Policy::Cheapest)).instead.unwrap();
    assert!(!instead.same && instead.rows[0].name == "peer 2" && instead.rows[0].chosen);
    assert_eq!(instead.text, "Policy cheapest takes peer 2 instead of peer 1.");

    job.decision.as_mut().unwrap()["rows"][0]["verdict"]["closeness"] = 0.9.into();
    let altered = seen(&job, Some(Policy::Cheapest));
    assert!(altered.same_bits == Some(false) && altered.instead.is_none());
    assert_eq!(altered.replay_problem.unwrap().code, "forged");
}

#[test]
fn an_exploration_is_marked_with_its_odds() {
    // Of every seed some explore: the one that does is shown as exploration.
    let job = job(Policy::Epsilon(1.0));
    let (view, line) = (seen(&job, None), summary(&job));
    assert!(view.explored && line.explored, "{view:?}");
    assert_eq!((view.exploration_rate, line.odds), (Some(1.0), view.rows[0].odds));
    assert!(view.rows[0].chosen && !view.rows[0].best && view.summary.contains("tried to learn about it"));
}

#[test]
fn an_earlier_versions_decision_is_a_plain_list() {
    let job = decided_before::job(decided_before::earlier());
    let view = seen(&job, Some(Policy::Greedy));
    assert!(view.criteria.is_empty() && view.same_bits.is_none() && view.instead.is_none());
    assert!(view.rows.len() == 2 && view.rows[0].chosen && view.rows[1].why.contains("an earlier version"));
    assert_eq!((view.policy, view.engine.as_str()), (None, "tender-decision/2"));
    assert_eq!(summary(&job).actual_micro_usd, Some(690));
}
