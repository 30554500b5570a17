//! What the simulator must show, at the default seed and 20 runs.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which clippy does not see as tests")]

use tender_base::Code;
use tender_market::explore;
use tender_sim::{
    Options, Policy, Preset,
    output::{Output, Row},
    report::report_while,
    scenario::TABLE,
    simulate, simulate_while,
};

fn simulated(preset: Preset) -> Output {
    simulate(&Options::new(preset)).unwrap()
}

fn honest(row: &Row) -> f64 {
    row.honest_saving_pct.unwrap()
}

fn oracle(row: &Row) -> f64 {
    row.oracle_saving_pct.unwrap()
}

#[test]
fn coalesce_paper_is_what_the_paper_or_its_authors_code_says() {
    let output = simulated(Preset::CoalescePaper);
    for (row, known) in output.rows.iter().zip(TABLE) {
        let near = |(mean, sd): (f64, f64), found: f64| (found - mean).abs() <= 2.0 * sd;
        let cost = row.cost_reduction_pct.unwrap().mean;
        assert!(near(known.paper_cost, cost) || near(known.peer_cost, cost), "{}: cost {cost}", row.id);
        let time = row.time_savings_pct.unwrap().mean;
        assert!(near(known.paper_time, time) || near(known.peer_time, time), "{}: time {time}", row.id);
        assert!((honest(row) - known.peer_honest).abs() <= 4.0, "{}: honest {}", row.id, honest(row));
        assert!((oracle(row) - known.peer_oracle).abs() <= 4.0, "{}: oracle {}", row.id, oracle(row));
        let topsis = row.topsis_mean.unwrap();
        assert!((0.76..=0.82).contains(&topsis), "{}: {topsis}", row.id);
        assert!((28.0..=38.0).contains(&row.outsourced_pct.unwrap()), "{}: {:?}", row.id, row.outsourced_pct);
    }
    // 260 runs crash with probability ε: 26.0 ± 4.8.
    let crashed: u32 = output.rows.iter().map(|row| row.runs - row.runs_ok).sum();
    assert!((12..=41).contains(&crashed), "{crashed}");
}

#[test]
fn with_units_corrected_nothing_is_saved_in_the_papers_own_scenario() {
    for row in simulated(Preset::CoalesceFixed).rows {
        assert_eq!((oracle(&row), honest(&row), row.won_pct.unwrap().local), (0.0, 0.0, 100.0), "{}", row.id);
    }
    // The paper's engine never compares its two costs and outsources all the same.
    let paper = Options { policy: Some(Policy::Paper), runs: 2, ..Options::new(Preset::CoalesceFixed) };
    assert!(simulate(&paper).unwrap().rows.iter().all(|row| honest(row) < -1000.0));
}

#[test]
fn greedy_comes_close_to_the_oracle_in_a_realistic_market() {
    for row in simulated(Preset::Tender).rows {
        let (honest, oracle, cheapest) = (honest(&row), oracle(&row), row.cheapest_saving_pct.unwrap());
        let least = if ["dur_01", "agt_01"].contains(&row.id.as_str()) { 0.90 } else { 0.95 };
        assert!(honest >= least * oracle && honest > 0.0, "{}: {honest} of {oracle}", row.id);
        assert!(honest > cheapest, "{}: {honest} is not above the cheapest, {cheapest}", row.id);
        let won = row.won_pct.unwrap();
        assert!([won.local, won.peer, won.cloud].iter().all(|share| *share >= 10.0), "{}: {won:?}", row.id);
        assert_eq!(row.explored_pct, Some(0.0), "{}", row.id);
    }
}

#[test]
fn greedy_holds_in_hostile_markets() {
    for preset in [Preset::Lies, Preset::Bait, Preset::Outages, Preset::Shocks, Preset::Churn] {
        for row in simulated(preset).rows {
            let (honest, oracle) = (honest(&row), oracle(&row));
            assert!(honest >= 0.85 * oracle && honest > 0.0, "{preset:?} {}: {honest} of {oracle}", row.id);
        }
    }
}

#[test]
fn no_single_run_loses_against_always_local() {
    for preset in [Preset::Tender, Preset::Lies, Preset::Bait, Preset::Outages, Preset::Shocks, Preset::Churn] {
        for seed in 100..103 {
            let rows = simulate(&Options { runs: 1, seed, ..Options::new(preset) }).unwrap().rows;
            assert!(rows.iter().all(|row| honest(row) > 0.0), "{preset:?} with seed {seed}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for preset in Preset::ALL {
        let bytes = |seed| {
            let options = Options { runs: 2, seed, ..Options::new(preset) };
            serde_json::to_string(&simulate(&options).unwrap()).unwrap()
        };
        assert_eq!(bytes(7), bytes(7), "{preset:?}");
        if preset != Preset::CoalesceFixed {
            assert_ne!(bytes(7), bytes(8), "{preset:?}");
        }
    }
}

#[test]
fn policies_explore_and_the_oracle_is_above_them() {
    for policy in ["epsilon=0.1", "graduated=0.1", "ucb1=0.05", "thompson"] {
        let policy: Policy = policy.parse().unwrap();
        let options = Options { runs: 3, policy: Some(policy), ..Options::new(Preset::Tender) };
        for row in simulate(&options).unwrap().rows {
            assert!(row.explored_pct.unwrap() > 0.0, "{policy} {}", row.id);
            assert_eq!(row.exploration_alarms, 0, "{policy} {}", row.id);
            assert!(honest(&row) > 0.8 * oracle(&row) && honest(&row) < oracle(&row) + 1.0, "{policy} {}", row.id);
        }
    }
    let options = Options { runs: 1, policy: Some(Policy::Oracle), ..Options::new(Preset::Tender) };
    assert!(simulate(&options).unwrap().rows.iter().all(|row| row.honest_saving_pct == row.oracle_saving_pct));
}

#[test]
fn what_makes_no_sense_is_refused_by_its_field() {
    let refused = |options: Options| {
        let problem = simulate(&options).unwrap_err();
        assert_eq!(problem.code, Code::Invalid);
        problem.message
    };
    let tender = Options::new(Preset::Tender);
    assert!(refused(Options { runs: 0, ..tender.clone() }).contains("runs is 0"));
    assert!(refused(Options { runs: 1_000_000, ..tender.clone() }).contains("runs is 1000000"));
    assert!(refused(Options { policy: Some(Policy::Paper), ..tender.clone() }).contains("policy paper"));
    let greedy = Some(Policy::Engine(explore::Policy::Greedy));
    assert!(refused(Options { policy: greedy, ..Options::new(Preset::Contention) }).contains("rules, not policies"));
    let trace = tender_sim::arrivals::read(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,374,44\n2023-11-16 19:15:46,20,5\n",
    );
    let traced = Options { trace: Some(trace.unwrap()), runs: 1, ..tender };
    assert!(simulate(&traced).unwrap().rows.iter().all(|row| row.decisions > 0.0));
    assert!(refused(Options { preset: Preset::CoalescePaper, ..traced }).contains("takes no trace"));
    assert!("Tender".parse::<Preset>().unwrap_err().hint.contains("coalesce-paper"));
    assert!("random".parse::<Policy>().unwrap_err().hint.contains("oracle"));
}

#[test]
fn a_simulation_that_is_stopped_has_no_result() {
    use std::sync::atomic::{AtomicU32, Ordering};
    for preset in [Preset::CoalescePaper, Preset::Tender, Preset::Contention] {
        let options = Options { runs: 3, ..Options::new(preset) };
        let asked = AtomicU32::new(0);
        let whole = simulate_while(&options, &|| asked.fetch_add(1, Ordering::Relaxed) < u32::MAX).unwrap();
        assert_eq!(whole, simulate(&options).unwrap());
        // Asked before each run, and at the end.
        let rows = if preset == Preset::Contention { 1 } else { 13 };
        assert_eq!(asked.load(Ordering::Relaxed), 3 * rows + 1, "{preset:?}");
        let left = AtomicU32::new(2);
        let going = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let problem = simulate_while(&options, &going).unwrap_err();
        assert!(problem.message.contains("stopped"), "{problem}");
        assert!(report_while(&options, &whole, &|| false).unwrap_err().message.contains("stopped"));
    }
}
