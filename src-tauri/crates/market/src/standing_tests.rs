use super::*;
use crate::{
    breakeven::rule::Rule,
    decision::Exclusion,
    receipt::{Receipt, Refusal, decide},
    verification,
};
use proptest::prelude::*;
use tender_base::{
    BlobRef, Book, Code, Did, JobSpec, MicroUsd, Problem, Sha256, Signer, Timestamp,
    job::{Constraints, GenerateWork, ModelRef, Precision, Sampling},
    signed::KeySigner,
};

/// What an hour of waiting is worth, in USD, where a test does not say otherwise.
const HOUR: f64 = 0.05;

fn did(seed: u8) -> Did {
    KeySigner::from_seed(&[seed; 32]).did()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_795_248_000_000 + ms)
}

fn situation(alternatives: Vec<Alternative>) -> Situation {
    Situation {
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
    }
}

fn offered(source: Source, cost: i64, estimated_ms: u64) -> Alternative {
    let (cost_measured, checking) = (source != Source::Local, MicroUsd::ZERO);
    let outcome = Outcome::Offered { cost: MicroUsd(cost), checking, cost_measured, estimated_ms, contract: None };
    Alternative { source, outcome }
}

fn peer(seed: u8, cost: i64, estimated_ms: u64) -> Alternative {
    offered(Source::Peer { did: did(seed), name: format!("peer {seed}") }, cost, estimated_ms)
}

fn unavailable(seed: u8) -> Alternative {
    let problem = Problem::new(Code::Lost, "no answer within 800 ms", "check its connection");
    Alternative { outcome: Outcome::Unavailable { problem }, ..peer(seed, 0, 0) }
}

fn decided(situation: Situation) -> Receipt {
    let seen = vec![Seen::default(); situation.alternatives.len()];
    decide(Question::of(situation, seen, HOUR, Policy::Greedy, 7)).unwrap()
}

fn excluded(receipt: &Receipt, i: usize) -> Option<Exclusion> {
    match &receipt.rows[i].refusal {
        Some(Refusal::Constraint(exclusion)) => Some(exclusion.clone()),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

#[test]
fn every_constraint_holds_and_says_so() {
    let receipt = decided(situation(vec![
        offered(Source::Local, 700, 5_000),
        peer(1, 300, 9_000),
        peer(2, 1_001, 1_000),
        peer(3, 200, 60_001),
        unavailable(4),
        peer(5, -5, 10),
    ]));
    let choice = receipt.choice.unwrap();
    assert_eq!((choice.chosen, choice.runner_up), (1, Some(0)));
    let said: Vec<String> = (2..6).map(|row| receipt.why_not(row)).collect();
    assert_eq!(
        said,
        [
            "peer 2 costs $0.000001 more than the job's budget",
            "peer 3 would finish 1 ms after the deadline",
            "peer 4 is not available: no answer within 800 ms",
            "peer 5 offered terms that make no sense",
        ]
    );
    assert_eq!(receipt.order(), [1, 0]);
}

#[test]
fn private_jobs_stay_here_and_the_spend_cap_binds_only_purchases() {
    let alternatives = vec![offered(Source::Local, 700, 10), peer(1, 300, 10)];
    let mut private = situation(alternatives.clone());
    private.job.constraints.privacy = Privacy::Own;
    let receipt = decided(private);
    assert_eq!((receipt.order(), excluded(&receipt, 1)), (vec![0], Some(Exclusion::Private)));

    let receipt = decided(Situation { spend_left: Some(MicroUsd(299)), ..situation(alternatives) });
    assert_eq!(receipt.order(), [0], "the own card is not a purchase");
    assert_eq!(excluded(&receipt, 1), Some(Exclusion::OverSpendCap { over: MicroUsd(1) }));
}

#[test]
fn a_break_even_rule_chooses_between_places_that_can_do_the_job() {
    let rule = |tokens_per_day| Rule { tokens_per_day, computed_at: at(0) }.apply(900, 200);
    let ruled = |tokens_per_day, alternatives| {
        let receipt = decided(Situation { rule: Some(rule(tokens_per_day)), ..situation(alternatives) });
        assert!(receipt.render().contains("rule: today's volume with this job, 1100 tokens"), "{}", receipt.render());
        receipt
    };
    let both = || vec![offered(Source::Local, 700, 10), peer(1, 300, 10)];
    let above = ruled(1_000.0, both());
    assert_eq!((above.order(), excluded(&above, 1)), (vec![0], Some(Exclusion::Rule { why: rule(1_000.0).why })));
    assert!(above.why_not(1).contains("reaches the break-even of 1000 tokens a day"), "{}", above.why_not(1));
    let below = ruled(2_000.0, both());
    assert_eq!((below.order(), excluded(&below, 0)), (vec![1], Some(Exclusion::Rule { why: rule(2_000.0).why })));
    // Where it would go cannot do the job: it is done all the same.
    assert_eq!(ruled(1_000.0, vec![offered(Source::Local, 1_001, 10), peer(1, 300, 10)]).order(), [1]);
    assert_eq!(ruled(2_000.0, vec![offered(Source::Local, 700, 10), unavailable(2)]).order(), [0]);
}

#[test]
fn an_agent_is_held_to_the_constraints_like_everybody_and_says_what_it_is() {
    let agent = |cost| {
        let (name, url) = ("stranger".to_owned(), "https://a.example".to_owned());
        offered(Source::Foreign { name, url, signed: false, price: decision::PriceOf::Owner }, cost, 1_000)
    };
    let receipt = decided(situation(vec![peer(1, 300, 9_000), agent(200)]));
    assert_eq!(receipt.order(), [1, 0]);
    let text = receipt.render();
    assert!(text.contains("stranger: an agent at https://a.example, unsigned; you entered its price"), "{text}");
    assert!(receipt.question.situation.alternatives[0].source.note().is_none());
    let dear = decided(situation(vec![peer(1, 300, 9_000), agent(1_001)]));
    assert_eq!(excluded(&dear, 1), Some(Exclusion::OverBudget { over: MicroUsd(1) }));
    // The same bill from somebody whom nobody vouches for is more risk.
    let risk = |i: usize| receipt.question.standings[i].security_risk;
    assert!(risk(1) > risk(0) && risk(0) > 0.0);
}

#[test]
fn without_a_feasible_alternative_the_problem_names_every_reason() {
    let none = decided(situation(vec![]));
    assert!(none.problem().unwrap().message.contains("nowhere"));
    let gone = decided(situation(vec![unavailable(1), unavailable(2)]));
    let problem = gone.problem().unwrap();
    assert!(problem.code == Code::Unavailable && problem.message.matches("no answer").count() == 2, "{problem}");
    let dear = decided(situation(vec![unavailable(1), peer(2, 2_000, 10)]));
    assert_eq!(dear.problem().unwrap().code, Code::OverLimit);
    assert_eq!(dear.replay(), Ok(()));
    assert!(dear.render().contains("nothing chosen"));
}

#[test]
fn a_tie_is_the_own_cards_down_to_the_last_micro_dollar() {
    for cost in [0, 1, 2, 3, 10, 100, 1_000] {
        for ms in [0, 50, 2_000] {
            let receipt = decided(situation(vec![peer(1, cost, ms), offered(Source::Local, cost, ms)]));
            assert_eq!(receipt.order()[0], 1, "{}", receipt.render());
            // Nor does being somewhat earlier buy anything at the same price while the gate asks for a margin.
            let early = decided(situation(vec![peer(1, cost, ms * 99 / 100), offered(Source::Local, cost, ms)]));
            assert_eq!(early.order()[0], 1, "{}", early.render());
        }
    }
    // A job that takes no time to speak of: 1 micro-dollar is less than 2.
    let receipt = decided(situation(vec![peer(1, 1, 50), offered(Source::Local, 2, 50)]));
    assert_eq!(receipt.order()[0], 0, "{}", receipt.render());
}

/// A text that costs `own` micro-USD here and takes two seconds everywhere.
fn text(own: i64, offers: &[(i64, Reliability)]) -> Receipt {
    let model = ModelRef { name: "m".into(), sha256: Sha256::of(b"") };
    let text = GenerateWork { model, prompt_tokens: 50, max_tokens: 50, sampling: Sampling::GREEDY, stop: vec![] };
    let mut asked = situation(vec![offered(Source::Local, own, 2_000)]);
    asked.job.work = Work::Generate(text);
    asked.job.constraints.budget = MicroUsd(1_000_000);
    let mut seen = vec![Seen::default()];
    for (seed, (bill, history)) in (1..).zip(offers) {
        let mut offer = peer(seed, *bill, 2_000);
        let share = verification::compared_share(&asked.job.work, history.successes as u32);
        if let Outcome::Offered { checking, .. } = &mut offer.outcome {
            *checking = MicroUsd((share * own as f64).round() as i64);
        }
        asked.alternatives.push(offer);
        seen.push(Seen { history: *history, ..Seen::default() });
    }
    // As the settings are where nobody chose.
    decide(Question::of(asked, seen, 0.0, Policy::default(), 7)).unwrap()
}

#[test]
fn a_new_cheaper_honest_peer_is_chosen_within_three_jobs_without_exploration() {
    // By a fifth and by a tenth cheaper than who is known, from jobs of ten micro-dollars up.
    for (own, known, new) in [(20, 10, 8), (200, 100, 80), (200, 100, 90), (20_000, 10_000, 9_000)] {
        let mut history = Reliability::default();
        let trusted = Reliability { successes: 200.0, failures: 1.0 };
        let mut first = None;
        for job in 1..=20 {
            let receipt = text(own, &[(known, trusted), (new, history)]);
            assert!(!receipt.explored() && receipt.draw.is_none());
            if receipt.order()[0] == 2 {
                first = first.or(Some(job));
                history.observe(true);
            }
        }
        assert!(first.is_some_and(|job| job <= 3), "{own} {known} {new}: {first:?}");
        assert!(history.successes >= 18.0, "and it stays chosen: {history:?}");
    }
}

#[test]
fn a_peer_that_fails_is_left() {
    let honest = Reliability { successes: 20.0, failures: 1.0 };
    for (bait, most) in [(40, 7), (25, 18), (10, 28)] {
        let mut history = Reliability::default();
        while text(100, &[(50, honest), (bait, history)]).order()[0] == 2 {
            history.observe(false);
            assert!(history.failures <= f64::from(most), "{bait}: {history:?}");
        }
        assert!(history.failures >= 1.0);
    }
}

#[test]
fn what_is_lost_by_a_failure_is_the_next_best_the_time_and_the_trouble() {
    let three = vec![offered(Source::Local, 700, 36_000), peer(1, 300, 36_000), peer(2, 900, 1)];
    let delivered = Seen { history: Reliability { successes: 2.0, failures: 1.0 }, ..Seen::default() };
    let receipt = {
        let seen = vec![Seen::default(), delivered.clone(), delivered];
        decide(Question::of(situation(three), seen, HOUR, Policy::Greedy, 7)).unwrap()
    };
    let loss = |i: usize| receipt.question.standings[i].loss_usd;
    // 36 s at $0.05 an hour are 500 micro-dollars, of which a failure has taken three quarters.
    // What follows fails as well, in 2 of 13 with what is assumed of a peer; then the own card does it.
    let (fails, there) = (2.0 / 13.0, 0.05 / 3.6e6);
    let next = 0.000_900 + there + fails * (0.001_200 * 1.25 - 0.000_900 - 0.25 * there);
    assert!((loss(1) - (next * 1.25 - 0.000_300 - 0.000_125)).abs() < 1e-12, "{}", loss(1));
    let next = 0.000_800 + fails * (0.001_200 * 1.25 - 0.000_300 - 0.000_125);
    assert!((loss(2) - (next * 1.25 - 0.000_900 - 0.25 * there)).abs() < 1e-12, "{}", loss(2));
    assert_eq!(loss(0), 0.0);
    // A bait that nobody has tried, or that failed, makes no failure cheaper.
    let baited = |history: Reliability| {
        let offers = vec![offered(Source::Local, 700, 36_000), peer(1, 300, 36_000), peer(2, 1, 1)];
        let seen = vec![Seen::default(), Seen::default(), Seen { history, ..Seen::default() }];
        let question = Question::of(situation(offers), seen, HOUR, Policy::Greedy, 7);
        question.standings[1].loss_usd
    };
    for history in [Reliability::default(), Reliability { successes: 1.0, failures: 1.0 }] {
        assert!((baited(history) - (0.001_200 * 1.25 - 0.000_300 - 0.000_125)).abs() < 1e-12, "{history:?}");
    }
    let strangers = decided(situation(vec![peer(1, 300, 36_000), peer(2, 1, 1)]));
    let loss = |i: usize| strangers.question.standings[i].loss_usd;
    assert!((loss(0) - (0.001_000 - 0.000_300 - 0.000_125)).abs() < 1e-12, "the same again: {}", loss(0));
    assert!(loss(1) > 0.000_990, "{}", loss(1));
    // The same again where there is no other.
    let alone = decided(situation(vec![peer(1, 300, 36_000)]));
    assert!((alone.question.standings[0].loss_usd - (0.001_000 - 0.000_300 - 0.000_125)).abs() < 1e-12);
}

#[test]
fn an_offer_has_the_skills_of_its_job_and_weights_come_from_what_is_known() {
    let receipt = text(100, &[(50, Reliability { successes: 0.0, failures: 90.0 })]);
    assert_eq!(receipt.question.needs.skills, ["generate", "m"].map(str::to_owned).into());
    assert!(receipt.rows.iter().all(|row| row.compatibility.is_some_and(|fit| fit.coverage == 1.0)));
    let weights = |failures: f64| text(100, &[(50, Reliability { successes: 90.0, failures })]).question.rules.weights;
    assert!(weights(90.0)[1] > weights(0.0)[1], "where places fail, reliability counts more");
    assert!((weights(9.0).iter().sum::<f64>() - 1.0).abs() < 1e-12);
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
        let receipt = decided(Situation { spend_left: cap.map(MicroUsd), ..situation(alternatives) });
        let read: Receipt = serde_json::from_str(&serde_json::to_string(&receipt).unwrap()).unwrap();
        prop_assert_eq!(read.replay(), Ok(()));

        let order = receipt.order();
        prop_assert_eq!(order.first().copied(), receipt.choice.map(|choice| choice.chosen));
        prop_assert_eq!(order.get(1).copied(), receipt.choice.and_then(|choice| choice.runner_up));
        prop_assert_eq!(receipt.choice.is_none(), receipt.problem().is_some());
        for i in &order {
            let alternative = &receipt.question.situation.alternatives[*i];
            let Outcome::Offered { cost, estimated_ms, .. } = alternative.outcome else { panic!("unavailable") };
            prop_assert!((0..=1_000).contains(&cost.0) && estimated_ms <= 60_000);
            prop_assert!(alternative.source == Source::Local || cap.is_none_or(|cap| cost.0 <= cap));
        }
        for (i, row) in receipt.rows.iter().enumerate() {
            prop_assert_eq!(order.contains(&i), row.refusal.is_none());
            prop_assert!(!receipt.why_not(i).is_empty());
        }
    }
}
