use super::*;
use crate::{
    decision::{Alternative, Source},
    reliability::{OWN_PRIOR, PEER_PRIOR},
};
use proptest::prelude::*;
use tender_base::{
    BlobRef, Book, JobSpec, MicroUsd, Sha256, Signer, Timestamp, Work,
    job::{Constraints, Precision, Privacy},
    signed::KeySigner,
};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_795_248_000_000 + ms)
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn offered(source: Source, cost: i64, estimated_ms: u64) -> Alternative {
    let (cost_measured, checking) = (source != Source::Local, MicroUsd::ZERO);
    let cost = MicroUsd(cost);
    let outcome = Outcome::Offered { cost, checking, cost_measured, estimated_ms, contract: None };
    Alternative { source, outcome }
}

fn peer(seed: u8, cost: i64) -> Alternative {
    offered(Source::Peer { did: KeySigner::from_seed(&[seed; 32]).did(), name: format!("peer {seed}") }, cost, 9_000)
}

fn standing(successes: f64, prior: Reliability) -> Standing {
    Standing {
        skills: set(&["gemm"]),
        cosine: None,
        memory_bytes: Some(16 << 30),
        region: Some("EU".into()),
        history: Reliability { successes, failures: 0.0 },
        prior,
        security_risk: 0.0,
        loss_usd: 0.000_5,
    }
}

/// The own card at 700 micro-USD, and peers.
fn question(policy: Policy, peers: &[(i64, f64)]) -> Question {
    let mut alternatives = vec![offered(Source::Local, 700, 5_000)];
    let mut standings = vec![standing(0.0, OWN_PRIOR)];
    for (seed, (cost, successes)) in (1..).zip(peers) {
        alternatives.push(peer(seed, *cost));
        standings.push(standing(*successes, PEER_PRIOR));
    }
    Question {
        situation: Situation {
            job: JobSpec {
                work: Work::Gemm { m: 8, k: 8, n: 8, precision: Precision::F32 },
                input: BlobRef { sha256: Sha256::of(b"in"), bytes: 512 },
                constraints: Constraints { budget: MicroUsd(1_000), deadline: at(60_000), privacy: Privacy::Peers },
            },
            book: Book::Real,
            decided_at: at(0),
            spend_left: None,
            rule: None,
            alternatives,
        },
        needs: Needs { skills: set(&["gemm"]), memory_bytes: 8 << 30, regions: set(&["EU"]), usd_per_hour: 0.01 },
        standings,
        rules: Rules::default(),
        threshold: crate::compatibility::THRESHOLD,
        policy,
        seed: 7,
    }
}

#[test]
fn every_row_says_why_it_was_not_chosen() {
    let mut question = question(
        Policy::Greedy,
        &[(300, 40.0), (680, 40.0), (400, 40.0), (200, 0.0), (200, 0.0), (200, 0.0), (1_200, 0.0), (200, 0.0)],
    );
    question.standings[4].skills = set(&["embed"]);
    question.standings[5].memory_bytes = Some(4 << 30);
    question.standings[6].region = None;
    question.standings[8].cosine = Some(0.1);
    let receipt = decide(question).unwrap();
    let said: Vec<String> = (0..9).map(|i| receipt.why_not(i)).collect();
    assert_eq!(
        said,
        [
            "this machine is expected to cost $0.00038389 more than peer 1, risk and waiting included",
            "peer 1 is expected to cost the least, risk and waiting included",
            "peer 2 comes to $0.00073058 if it is as unreliable as it may be, which is not 2 % below the own card",
            "peer 3 is expected to cost $0.000100 more than peer 1, risk and waiting included",
            "peer 4 cannot do gemm",
            "peer 5 has 4294967296 bytes too little memory",
            "peer 6 does not say where it is, and the data may not go everywhere",
            "peer 7 costs $0.0002 more than the job's budget",
            "peer 8 fits the job by 0.44 only",
        ]
    );
    let choice = receipt.choice.unwrap();
    assert_eq!((choice.chosen, choice.best, choice.runner_up), (1, 1, Some(3)));
    assert_eq!(receipt.predicted.unwrap().cost, MicroUsd(300));
    assert!(receipt.why_not(99).contains("no alternative 99"));
    let why = receipt.why(1).unwrap();
    let of = |name: &str| why.inputs.iter().find(|term| term.name == name).unwrap().value;
    let total = of("bill") + of("checking") + of("waiting") + of("loss") * (1.0 - of("reliability"));
    assert!((why.value - total).abs() < 1e-15 && why.unit == "USD", "{}", why.render());
    assert_eq!(receipt.why(4), None);
}

#[test]
fn it_replays_bit_for_bit_through_json_and_a_changed_one_does_not() {
    for policy in ["greedy", "epsilon=0.5", "graduated=0.5", "ucb1=0.3", "thompson", "cheapest"] {
        let question = question(policy.parse().unwrap(), &[(300, 40.0), (310, 3.0), (305, 0.0)]);
        let mut receipt = decide(question).unwrap();
        receipt.actual = Some(Actual { charged: MicroUsd(300), wall_ms: 8_000, contract: None, by: None });
        let text = serde_json::to_string(&receipt).unwrap();
        let read: Receipt = serde_json::from_str(&text).unwrap();
        assert_eq!(read, receipt, "{policy}");
        assert_eq!(read.replay(), Ok(()));

        let mut forged = read.clone();
        forged.rows[1].verdict.as_mut().unwrap().expected_usd += 1e-18;
        assert_eq!(forged.replay().unwrap_err().code, Code::Forged);
        let mut other = read;
        other.engine = "tender-engine/0".into();
        assert_eq!(other.replay().unwrap_err().code, Code::Unavailable);
    }
}

#[test]
fn what_another_policy_would_have_done() {
    let mut question = question(Policy::Greedy, &[(300, 40.0), (290, 0.0)]);
    question.standings[2].history = Reliability { successes: 30.0, failures: 12.0 };
    let receipt = decide(question).unwrap();
    assert_eq!(receipt.choice.unwrap().chosen, 1);
    assert_eq!(receipt.under(Policy::Cheapest).unwrap().choice.unwrap().chosen, 2);
    let explored = (0..50).any(|seed| {
        let question = Question { seed, ..receipt.question.clone() };
        let question = Question { standings: vec![standing(9.0, PEER_PRIOR); 3], ..question };
        let tried = decide(question).unwrap().under(Policy::Epsilon(0.5)).unwrap();
        tried.explored()
            && tried.why_not(tried.choice.unwrap().chosen).contains("tried to learn about it (epsilon=0.5)")
    });
    assert!(explored);
}

#[test]
fn odds_are_of_the_ranked_and_sum_to_one_and_the_gate_is_told_in_words() {
    // Two others within the cap, one beyond it, one over the budget.
    let receipt =
        decide(question(Policy::Epsilon(0.2), &[(300, 40.0), (305, 40.0), (310, 40.0), (600, 40.0), (1_200, 0.0)]))
            .unwrap();
    let best = receipt.choice.unwrap().best;
    let odds: Vec<Option<f64>> = (0..6).map(|i| receipt.odds(i)).collect();
    assert_eq!((best, odds[best], odds[2], odds[5]), (1, Some(0.8), Some(0.1), None));
    assert!((odds.iter().flatten().sum::<f64>() - 1.0).abs() < 1e-12, "{odds:?}");
    let greedy = receipt.under(Policy::Greedy).unwrap();
    assert_eq!((greedy.odds(1), greedy.odds(2)), (Some(1.0), Some(0.0)));
    assert_eq!(receipt.under(Policy::Thompson).unwrap().odds(1), None);

    let limits = receipt.gate();
    assert!((limits.cautious_usd.unwrap() - limits.own_usd.unwrap() * 0.98).abs() < 1e-15);
    assert_eq!(limits.lowest_usd, receipt.rows[1].verdict.map(|verdict| verdict.expected_usd));
    let words = receipt.gate_words();
    assert!(words.contains("2 % less than the $") && words.contains("1 % more than the lowest"), "{words}");
}

#[test]
fn a_sound_receipt_is_told_what_another_policy_does_and_an_altered_one_is_not() {
    let mut question = question(Policy::Greedy, &[(300, 40.0), (290, 0.0)]);
    question.standings[2].history = Reliability { successes: 30.0, failures: 12.0 };
    let mut receipt = decide(question).unwrap();
    let again = receipt.again(Some(Policy::Cheapest)).unwrap();
    let instead = again.instead.unwrap();
    assert!(again.same_bits && !instead.same);
    assert_eq!(instead.verdict(again.chosen.as_deref()), "Policy cheapest takes peer 2 instead of peer 1.");
    assert!(receipt.again(Some(Policy::Greedy)).unwrap().instead.unwrap().same);
    receipt.rows[1].verdict.as_mut().unwrap().closeness += 0.1;
    let altered = receipt.again(Some(Policy::Cheapest)).unwrap();
    assert!(!altered.same_bits && altered.instead.is_none());
    assert_eq!(altered.problem.unwrap().code, Code::Forged);
}

#[test]
fn the_explanation_has_the_matrix_and_the_gates_arithmetic_and_no_control_characters() {
    let mut question = question(Policy::Epsilon(0.5), &[(300, 40.0), (1_200, 0.0)]);
    if let Source::Peer { name, .. } = &mut question.situation.alternatives[1].source {
        *name = "evil\u{1b}[2J\npeer".into();
    }
    let mut receipt = decide(question).unwrap();
    receipt.actual = Some(Actual { charged: MicroUsd(300), wall_ms: 8_200, contract: None, by: None });
    let text = receipt.render();
    assert!(!text.contains('\u{1b}'), "{text}");
    for part in [
        "decided 2026-11-21T08:00:00.000Z by tender-engine/1, policy epsilon=0.5",
        "budget $0.001",
        "$0.0007 (estimate)",
        "weight         0.",
        "  normalised   0.",
        "0.98000000",
        ": 300.00 + 0.00 + 25.00 + 500.00 × (1 − 0.9800 × (1 − 0.0000)) = 335.00; at 0.9488: 350.58",
        "40.0 good and 0.0 bad jobs beside 9 and 1 assumed",
        "gate: at the lower bound at most 704.51 = 718.89 of the own card less 2 %",
        "seed 7: draw 0.",
        "explores below 0.0",
        "next this machine",
        "costs $0.0002 more than the job's budget",
        "came to $0.0003 in 8.2 s",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert_eq!(receipt.draw, Some(Draws::new(7, 0).uniform()));
}

#[test]
fn they_are_tried_in_the_order_of_the_gate() {
    // Peer 1 and 2 pass and cost about the same, peer 3 passed at first, peer 4 may turn out dearer than the own card.
    let question = question(Policy::Greedy, &[(301, 90.0), (300, 90.0), (400, 90.0), (690, 90.0), (2_000, 0.0)]);
    let receipt = decide(question).unwrap();
    let order = receipt.order();
    assert_eq!((order.len(), &order[2..]), (5, &[3, 0, 4][..]), "{}", receipt.render());
    let choice = receipt.choice.unwrap();
    assert_eq!((order[0], Some(order[1])), (choice.chosen, choice.runner_up));
    assert_eq!(receipt.chosen().unwrap().source.label(), format!("peer {}", choice.chosen));
    assert_eq!(receipt.problem(), None);
    let cheapest = receipt.under(Policy::Cheapest).unwrap();
    assert_eq!(cheapest.order(), [2, 1, 3, 4, 0], "by the bill");
}

#[test]
fn nothing_to_choose_is_no_choice() {
    let mut question = question(Policy::Greedy, &[]);
    question.situation.job.constraints.budget = MicroUsd(1);
    let receipt = decide(question).unwrap();
    assert_eq!((receipt.choice, receipt.predicted), (None, None));
    assert_eq!(receipt.replay(), Ok(()));
}

#[test]
fn what_makes_no_sense_is_named() {
    type Spoil = fn(&mut Question);
    let cases: [(&str, Spoil); 14] = [
        ("standings has 1 entries", |q| q.standings.truncate(1)),
        ("needs.usd_per_hour", |q| q.needs.usd_per_hour = f64::NAN),
        ("threshold", |q| q.threshold = 1.5),
        ("rules.margin", |q| q.rules.margin = -0.1),
        ("rules.z", |q| q.rules.z = f64::INFINITY),
        ("rules.tolerance", |q| q.rules.tolerance = f64::NAN),
        ("rules.weights.latency", |q| q.rules.weights[2] = -1.0),
        ("rules.weights (their sum)", |q| q.rules.weights = [0.0; 4]),
        ("policy.parameter", |q| q.policy = Policy::Epsilon(7.0)),
        ("standings[1].security_risk", |q| q.standings[1].security_risk = 2.0),
        ("standings[1].prior.failures", |q| q.standings[1].prior.failures = 0.0),
        ("standings[1].cosine", |q| q.standings[1].cosine = Some(-1.5)),
        ("standings[1].loss_usd", |q| q.standings[1].loss_usd = f64::INFINITY),
        ("standings[1].history.successes", |q| q.standings[1].history.successes = f64::NAN),
    ];
    for (field, spoil) in cases {
        let mut question = question(Policy::Greedy, &[(300, 1.0)]);
        spoil(&mut question);
        let problem = decide(question).unwrap_err();
        assert!(problem.code == Code::Invalid && problem.message.contains(field), "{problem} does not name {field}");
    }
}

proptest! {
    #[test]
    fn any_decision_replays(peers in proptest::collection::vec((0..2_000i64, 0.0..500.0f64), 0..12), seed: u64) {
        for policy in [Policy::Greedy, Policy::Thompson, Policy::Epsilon(0.3)] {
            let receipt = decide(Question { seed, ..question(policy, &peers) }).unwrap();
            let read: Receipt = serde_json::from_str(&serde_json::to_string(&receipt).unwrap()).unwrap();
            prop_assert_eq!(read.replay(), Ok(()));
        }
    }
}
