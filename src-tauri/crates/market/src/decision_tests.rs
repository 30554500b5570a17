use super::*;
use proptest::prelude::*;
use tender_base::{BlobRef, Sha256, Signer, Work, job::Constraints, signed::KeySigner};

fn did(seed: u8) -> Did {
    KeySigner::from_seed(&[seed; 32]).did()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_795_248_000_000 + ms)
}

fn situation(alternatives: Vec<Alternative>) -> Situation {
    Situation {
        job: JobSpec {
            work: Work::Gemm { m: 8, k: 8, n: 8, precision: tender_base::job::Precision::F32 },
            input: BlobRef { sha256: Sha256::of(b"in"), bytes: 512 },
            constraints: Constraints { budget: MicroUsd(1_000), deadline: at(60_000), privacy: Privacy::Peers },
        },
        book: Book::Real,
        decided_at: at(0),
        spend_left: None,
        alternatives,
    }
}

fn offered(source: Source, cost: i64, estimated_ms: u64) -> Alternative {
    let outcome = Outcome::Offered {
        cost: MicroUsd(cost),
        checking: MicroUsd::ZERO,
        cost_measured: source != Source::Local,
        estimated_ms,
        reliability: None,
        contract: None,
    };
    Alternative { source, outcome }
}

fn peer(seed: u8, cost: i64, estimated_ms: u64) -> Alternative {
    offered(Source::Peer { did: did(seed), name: format!("peer {seed}") }, cost, estimated_ms)
}

fn unavailable(seed: u8) -> Alternative {
    let problem = Problem::new(Code::Lost, "no answer within 800 ms", "check its connection");
    Alternative {
        source: Source::Peer { did: did(seed), name: format!("peer {seed}") },
        outcome: Outcome::Unavailable { problem },
    }
}

fn decided(alternatives: Vec<Alternative>) -> Decision {
    decide(&situation(alternatives), Policy::CheapestFeasible)
}

#[test]
fn an_agent_is_ranked_and_held_to_the_constraints_like_everybody_and_says_what_it_is() {
    let agent = |cost| {
        let (name, url) = ("stranger".to_owned(), "https://a.example".to_owned());
        offered(Source::Foreign { name, url, signed: false, price: PriceOf::Owner }, cost, 1_000)
    };
    let decision = decided(vec![peer(1, 300, 9_000), agent(200)]);
    assert_eq!(decision.chosen, Some(1));
    let text = decision.render();
    assert!(text.contains("stranger: an agent at https://a.example, unsigned; you entered its price"), "{text}");
    assert!(decision.situation.alternatives[0].source.note().is_none());
    let dear = decided(vec![peer(1, 300, 9_000), agent(1_001)]);
    assert_eq!(dear.rows[1].exclusion, Some(Exclusion::OverBudget { over: MicroUsd(1) }));
    let mut capped = situation(vec![agent(200)]);
    capped.spend_left = Some(MicroUsd(199));
    let capped = decide(&capped, Policy::CheapestFeasible);
    assert_eq!(capped.rows[0].exclusion, Some(Exclusion::OverSpendCap { over: MicroUsd(1) }));
    let mut private = situation(vec![agent(0)]);
    private.job.constraints.privacy = Privacy::Own;
    assert_eq!(decide(&private, Policy::CheapestFeasible).rows[0].exclusion, Some(Exclusion::Private));
    let stored: Decision = serde_json::from_str(&serde_json::to_string(&decision).unwrap()).unwrap();
    stored.replay().unwrap();
}

#[test]
fn the_cheapest_feasible_alternative_wins_and_every_other_row_says_why_not() {
    let decision = decided(vec![
        offered(Source::Local, 700, 5_000),
        peer(1, 300, 9_000),
        peer(2, 1_001, 1_000),
        peer(3, 200, 60_001),
        unavailable(4),
        peer(5, -5, 10),
    ]);
    assert_eq!((decision.chosen, decision.runner_up), (Some(1), Some(0)));
    let predicted = Predicted { cost: MicroUsd(300), cost_measured: true, wall_ms: 9_000 };
    assert_eq!(decision.predicted, Some(predicted));
    let said: Vec<String> = (0..6).map(|row| decision.why_not(row)).collect();
    assert_eq!(
        said,
        [
            "this machine costs $0.0004 more than peer 1",
            "peer 1 is the cheapest that meets every constraint",
            "peer 2 costs $0.000001 more than the job's budget",
            "peer 3 would finish 1 ms after the deadline",
            "peer 4 is not available: no answer within 800 ms",
            "peer 5 offered terms that make no sense",
        ]
    );
    let order: Vec<&str> = decision.order().iter().map(|a| a.source.label()).collect();
    assert_eq!(order, ["peer 1", "this machine"]);
}

#[test]
fn ties_go_to_the_own_card_then_to_the_earlier_then_to_the_smaller_key() {
    let local_first = decided(vec![peer(1, 100, 10), offered(Source::Local, 100, 9_000)]);
    assert_eq!(local_first.chosen, Some(1));
    assert!(local_first.why_not(0).contains("preferred"), "{}", local_first.why_not(0));
    let earlier = decided(vec![peer(1, 100, 20), peer(2, 100, 10)]);
    assert_eq!(earlier.chosen, Some(1));
    let (low, high) = if did(1).to_string() < did(2).to_string() { (1, 2) } else { (2, 1) };
    assert_eq!(decided(vec![peer(high, 100, 10), peer(low, 100, 10)]).chosen, Some(1));
    assert_eq!(decided(vec![peer(low, 100, 10), peer(high, 100, 10)]).chosen, Some(0));
}

#[test]
fn private_jobs_stay_here_and_the_spend_cap_binds_only_purchases() {
    let alternatives = vec![offered(Source::Local, 700, 10), peer(1, 300, 10)];
    let mut private = situation(alternatives.clone());
    private.job.constraints.privacy = Privacy::Own;
    let decision = decide(&private, Policy::CheapestFeasible);
    assert_eq!((decision.chosen, &decision.rows[1].exclusion), (Some(0), &Some(Exclusion::Private)));

    let capped = Situation { spend_left: Some(MicroUsd(299)), ..situation(alternatives) };
    let decision = decide(&capped, Policy::CheapestFeasible);
    assert_eq!(decision.chosen, Some(0), "the own card is not a purchase");
    assert_eq!(decision.rows[1].exclusion, Some(Exclusion::OverSpendCap { over: MicroUsd(1) }));
}

#[test]
fn without_a_feasible_alternative_the_problem_names_every_reason() {
    let none = decided(vec![]);
    assert_eq!((none.chosen, none.problem().unwrap().code), (None, Code::Unavailable));
    let silent = decided(vec![unavailable(1)]);
    assert!(silent.problem().unwrap().message.contains("no answer within 800 ms"));
    let dear = decided(vec![unavailable(1), peer(2, 2_000, 10)]);
    assert_eq!(dear.problem().unwrap().code, Code::OverLimit);
    assert_eq!(dear.replay(), Ok(()));
    assert!(dear.render().contains("nothing chosen"));
}

#[test]
fn the_explanation_is_a_table_without_control_characters() {
    let mut hostile = peer(1, 300, 9_000);
    hostile.source = Source::Peer { did: did(1), name: "eve\u{1b}[2J".into() };
    let mut decision = decided(vec![offered(Source::Local, 700, 5_000), hostile]);
    decision.actual = Some(Actual { charged: MicroUsd(300), wall_ms: 8_200, contract: None, by: None });
    let text = decision.render();
    assert!(!text.contains('\u{1b}'), "{text}");
    for part in ["budget $0.001", "$0.0007 (estimate)", "9.0 s", "came to $0.0003 in 8.2 s", "more than eve"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn a_reliability_that_is_no_fraction_is_forgotten_so_that_the_receipt_stays_json() {
    let mut odd = peer(1, 300, 10);
    if let Outcome::Offered { reliability, .. } = &mut odd.outcome {
        *reliability = Some(f64::NAN);
    }
    let decision = decided(vec![odd]);
    let text = serde_json::to_string(&decision).unwrap();
    let read: Decision = serde_json::from_str(&text).unwrap();
    assert_eq!(read, decision);
    assert_eq!(read.replay(), Ok(()));
}

#[test]
fn an_altered_receipt_does_not_replay() {
    let decision = decided(vec![offered(Source::Local, 700, 5_000), peer(1, 300, 9_000)]);
    assert_eq!(decision.replay(), Ok(()));
    let mut altered = decision.clone();
    altered.chosen = Some(0);
    assert_eq!(altered.replay().unwrap_err().code, Code::Forged);
    let mut altered = decision.clone();
    altered.situation.alternatives[1] = peer(1, 900, 9_000);
    assert_eq!(altered.replay().unwrap_err().code, Code::Forged);
    let mut altered = decision.clone();
    altered.predicted = None;
    assert_eq!(altered.replay().unwrap_err().code, Code::Forged);
    let other = Decision { engine: "tender-decision/0".into(), ..decision };
    assert_eq!(other.replay().unwrap_err().code, Code::Unavailable);
}

fn any_alternative() -> impl Strategy<Value = Alternative> {
    (0..5u8, -2..1_500i64, 0..70_000u64).prop_map(|(who, cost, ms)| match who {
        0 => offered(Source::Local, cost, ms),
        1 => unavailable(who),
        _ => peer(who, cost, ms),
    })
}

proptest! {
    #[test]
    fn a_decision_keeps_every_constraint_and_replays_after_a_trip_through_json(
        alternatives in proptest::collection::vec(any_alternative(), 0..8),
        cap in proptest::option::of(0..2_000i64),
    ) {
        let situation = Situation { spend_left: cap.map(MicroUsd), ..situation(alternatives) };
        let decision = decide(&situation, Policy::CheapestFeasible);
        let read: Decision = serde_json::from_str(&serde_json::to_string(&decision).unwrap()).unwrap();
        prop_assert_eq!(read.replay(), Ok(()));

        let order = decision.order();
        prop_assert_eq!(order.first().copied(), decision.chosen());
        prop_assert_eq!(decision.chosen.is_none(), decision.problem().is_some());
        let mut last = i64::MIN;
        for alternative in order {
            let Outcome::Offered { cost, estimated_ms, .. } = alternative.outcome else { panic!("unavailable") };
            prop_assert!((0..=1_000).contains(&cost.0) && estimated_ms <= 60_000 && cost.0 >= last);
            prop_assert!(alternative.source == Source::Local || cap.is_none_or(|cap| cost.0 <= cap));
            last = cost.0;
        }
        for (row, verdict) in decision.rows.iter().enumerate() {
            prop_assert_eq!(verdict.rank.is_none(), verdict.exclusion.is_some());
            prop_assert!(!decision.why_not(row).is_empty());
        }
    }

    #[test]
    fn the_order_of_the_alternatives_does_not_change_who_wins(
        alternatives in proptest::collection::vec(any_alternative(), 1..8),
    ) {
        let forwards = decided(alternatives.clone());
        let backwards = decided(alternatives.into_iter().rev().collect());
        let terms = |decision: &Decision| decision.order().into_iter().cloned().collect::<Vec<_>>();
        prop_assert_eq!(terms(&forwards), terms(&backwards));
    }
}
