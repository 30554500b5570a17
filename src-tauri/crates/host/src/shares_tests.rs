use super::*;
use crate::{
    energy::{MeanPower, Metered, mean_power, metered},
    simulated::Simulation,
};
use proptest::prelude::*;

/// A reading at `ms` with a counter and a power.
fn reading(start: Instant, ms: u64, energy_joules: Option<f64>, power_watts: Option<f64>) -> Option<Reading> {
    Some(Reading { energy_joules, power_watts, ..Reading::empty(start + Duration::from_millis(ms)) })
}

fn close(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() < 1e-9)
}

#[test]
fn work_that_overlaps_shares_the_counter_by_time() {
    let start = Instant::now();
    let at = |ms, joules| reading(start, ms, Some(joules), None);
    let mut shares = Shares::default();
    let a = shares.enter(at(0, 1_000.0));
    let b = shares.enter(at(2_000, 1_200.0)); // a alone: 200 J
    let c = shares.enter(at(3_000, 1_500.0)); // a and b: 300 J
    let b = shares.leave(b, at(4_000, 1_800.0)).unwrap(); // three: 300 J
    let a = shares.leave(a, at(6_000, 2_200.0)).unwrap(); // a and c: 400 J
    let c = shares.leave(c, at(7_000, 2_250.0)).unwrap(); // c alone: 50 J
    assert!(close(a.gross_joules, 200.0 + 150.0 + 100.0 + 200.0), "{a:?}");
    assert!(close(b.gross_joules, 150.0 + 100.0), "{b:?}");
    assert!(close(c.gross_joules, 100.0 + 200.0 + 50.0), "{c:?}");
    let seconds = a.seconds + b.seconds + c.seconds;
    assert!((seconds - 7.0).abs() < 1e-9, "idle power is taken off once: {seconds} s");
    // a begins alone (1), then its share falls to 1/2 and 1/3, rises to 1/2, and it ends with that.
    assert!((a.factors.0 - (1.0 + 1.0 / 6.0)).abs() < 1e-12, "{a:?}");
    assert!((a.factors.1 - (1.0 / 2.0 + 1.0 / 6.0 + 1.0 / 2.0)).abs() < 1e-12, "{a:?}");
}

#[test]
fn what_was_between_two_pieces_of_work_is_nobodys() {
    let start = Instant::now();
    let at = |ms, joules| reading(start, ms, Some(joules), None);
    let mut shares = Shares::default();
    let first = shares.enter(at(0, 0.0));
    let first = shares.leave(first, at(1_000, 100.0)).unwrap();
    let second = shares.enter(at(9_000, 5_000.0));
    let second = shares.leave(second, at(10_000, 5_030.0)).unwrap();
    assert!(close(first.gross_joules, 100.0) && close(second.gross_joules, 30.0), "{first:?} {second:?}");
    assert!(shares.is_empty());
    assert!(shares.leave(7, None).is_none());
}

#[test]
fn a_counter_that_starts_again_is_bridged_by_power_or_not_at_all() {
    let start = Instant::now();
    let mut shares = Shares::default();
    let id = shares.enter(reading(start, 0, Some(900.0), Some(100.0)));
    shares.sample(reading(start, 500, Some(950.0), Some(100.0)).unwrap());
    // The driver was loaded anew, or the counter has wrapped around.
    shares.sample(reading(start, 1_000, Some(4.0), Some(120.0)).unwrap());
    let tally = shares.leave(id, reading(start, 1_500, Some(64.0), Some(120.0))).unwrap();
    assert!(close(tally.gross_joules, 50.0 + 55.0 + 60.0), "{tally:?}");
    assert!((tally.roughness_joules - 5.0).abs() < 1e-9 && tally.sampled, "{tally:?}");

    let id = shares.enter(reading(start, 0, Some(900.0), None));
    let tally = shares.leave(id, reading(start, 500, Some(4.0), None)).unwrap();
    assert_eq!(tally.gross_joules, None, "nobody knows what the counter missed");
}

#[test]
fn dense_power_samples_are_integrated_and_sparse_ones_are_not() {
    let start = Instant::now();
    let watts = |ms, watts| reading(start, ms, None, Some(watts));
    let mut shares = Shares::default();
    let id = shares.enter(watts(0, 100.0));
    shares.sample(watts(200, 300.0).unwrap());
    let tally = shares.leave(id, watts(400, 100.0)).unwrap();
    assert!(close(tally.gross_joules, 80.0), "{tally:?}");
    assert!((tally.bound_joules() - (300.0 * 0.5 + 40.0)).abs() < 1e-9, "{tally:?}");

    let id = shares.enter(watts(0, 100.0));
    shares.sample(watts(400, 100.0).unwrap());
    let tally = shares.leave(id, watts(1_000, 100.0)).unwrap();
    assert_eq!((tally.gross_joules, tally.longest_gap), (None, Duration::from_millis(600)), "a gap of 600 ms");
}

#[test]
fn a_reading_that_fails_where_shares_change_leaves_nobody_a_share() {
    let start = Instant::now();
    let at = |ms, joules| reading(start, ms, Some(joules), None);
    let mut shares = Shares::default();
    let a = shares.enter(at(0, 0.0));
    let b = shares.enter(None);
    let a = shares.leave(a, at(1_000, 100.0)).unwrap();
    let b = shares.leave(b, at(2_000, 200.0)).unwrap();
    assert_eq!((a.gross_joules, b.gross_joules), (None, None));
    let c = shares.enter(at(3_000, 300.0));
    let c = shares.leave(c, at(4_000, 400.0)).unwrap();
    assert!(close(c.gross_joules, 100.0), "the next one is measured again: {c:?}");
    let d = shares.enter(at(5_000, 500.0));
    assert_eq!(shares.leave(d, None).unwrap().gross_joules, None);
}

/// The worst case: the counter has just moved when the work begins, and is about to when it ends.
#[test]
fn the_bound_is_no_wider_than_it_must_be() {
    let card = Simulation {
        start: Instant::now(),
        watts: vec![320.0; 40],
        step_ms: 50,
        period_ms: 100,
        phase_ms: 0,
        limit_watts: 320.0,
    };
    let (metered, truth, _) = run(&card, &[(300, 1_299)], None).remove(0);
    let missed = truth - metered.gross_joules.unwrap();
    let bound = metered.meter.uncertainty_joules.unwrap();
    assert!((missed - 320.0 * 0.099).abs() < 1e-6, "{missed} J: {metered:?}");
    assert!((bound - 320.0 * 0.1).abs() < 1e-6, "{bound} J: {metered:?}");
}

/// Work from a start to an end, both in milliseconds.
fn work() -> impl Strategy<Value = (u64, u64)> {
    (0u64..6_000, 200u64..4_000).prop_map(|(start, length)| (start, start + length))
}

fn simulation() -> impl Strategy<Value = Simulation> {
    let watts = proptest::collection::vec(12.0..320.0f64, 280);
    (watts, 1u64..100, 0u64..100).prop_map(|(watts, step_ms, phase_ms)| Simulation {
        start: Instant::now(),
        watts,
        step_ms: step_ms.max(40),
        period_ms: 100,
        phase_ms,
        limit_watts: 320.0,
    })
}

/// Runs the work on the simulated card, looking at it every 500 ms as well: for each piece what was measured, and its
/// true share of the energy and of the time.
fn run(card: &Simulation, work: &[(u64, u64)], idle: Option<MeanPower>) -> Vec<(Metered, f64, f64)> {
    // At one moment work ends before other work begins, so that the two do not overlap.
    let mut moments: Vec<(u64, u8, usize)> = (0..=20).map(|n| (n * 500, 1, 0)).collect();
    for (index, (start, end)) in work.iter().enumerate() {
        moments.extend([(*start, 2, index), (*end, 0, index)]);
    }
    moments.sort_unstable();
    let mut shares = Shares::default();
    let mut running: BTreeMap<usize, (u64, f64, f64)> = BTreeMap::new();
    let mut done: Vec<Option<(Metered, f64, f64)>> = vec![None; work.len()];
    let mut last = 0;
    for (ms, what, index) in moments {
        let n = running.len() as f64;
        for (_, truth, seconds) in running.values_mut() {
            *truth += (card.joules(ms) - card.joules(last)) / n;
            *seconds += (ms - last) as f64 / 1e3 / n;
        }
        last = ms;
        let reading = card.reading(ms);
        match what {
            1 => shares.sample(reading),
            2 => {
                running.insert(index, (shares.enter(Some(reading)), 0.0, 0.0));
            }
            _ => {
                let (id, truth, seconds) = running.remove(&index).unwrap();
                let tally = shares.leave(id, Some(reading)).unwrap();
                done[index] = Some((metered(&tally, reading.at, idle), truth, seconds));
            }
        }
    }
    done.into_iter().map(Option::unwrap).collect()
}

proptest! {
    /// A counter that moves every 100 ms, at any phase, under any load and overlap: the truth lies within the bound.
    #[test]
    fn the_bound_covers_the_truth(card in simulation(), work in proptest::collection::vec(work(), 1..6)) {
        for (metered, truth, _) in run(&card, &work, None) {
            let gross = metered.gross_joules.unwrap();
            let bound = metered.meter.uncertainty_joules.unwrap();
            prop_assert!((gross - truth).abs() <= bound + 1e-6, "{gross} ± {bound} is not {truth}: {metered:?}");
            prop_assert!(bound <= 320.0 * 0.1 * 5.0, "a bound of {bound} J says nothing: {metered:?}");
        }
    }

    /// Whatever the idle power is said to be, net energy is none of what was not measured.
    #[test]
    fn net_is_between_zero_and_gross(
        card in simulation(),
        work in proptest::collection::vec(work(), 1..6),
        idle in 0.0..500.0f64,
    ) {
        let idle = MeanPower { watts: idle, plus_minus_watts: 0.1 };
        for (metered, _, seconds) in run(&card, &work, Some(idle)) {
            let (net, gross) = (metered.meter.energy_joules.unwrap(), metered.gross_joules.unwrap());
            prop_assert!(net >= 0.0 && net <= gross, "{metered:?}");
            prop_assert!((net - (gross - idle.watts * seconds).max(0.0)).abs() < 1e-6, "{metered:?}");
            prop_assert!(metered.meter.measured && metered.meter.idle_watts == Some(idle.watts));
        }
    }

    /// All shares together are what the counter rose by while there was work.
    #[test]
    fn nothing_is_billed_twice(card in simulation(), work in proptest::collection::vec(work(), 1..6)) {
        let counter = |ms: u64| card.reading(ms).energy_joules.unwrap();
        let mut spans = work.clone();
        spans.sort_unstable();
        let (mut counted, mut seconds, mut until) = (0.0, 0.0, 0u64);
        for (start, end) in spans {
            let start = start.max(until);
            if end > start {
                counted += counter(end) - counter(start);
                seconds += (end - start) as f64 / 1e3;
                until = end;
            }
        }
        let all = run(&card, &work, None);
        let billed: f64 = all.iter().map(|(metered, ..)| metered.gross_joules.unwrap()).sum();
        let time: f64 = all.iter().map(|(metered, ..)| {
            metered.gross_joules.unwrap() / metered.card_watts.unwrap_or(f64::INFINITY)
        }).sum();
        prop_assert!((billed - counted).abs() < 1e-6, "{billed} J of {counted} J");
        let shared: f64 = all.iter().zip(&work).map(|((m, ..), (start, end))| m.share * (end - start) as f64 / 1e3).sum();
        prop_assert!((shared - seconds).abs() < 1e-6, "{shared} s of {seconds} s");
        prop_assert!((time - seconds).abs() < 1e-6 || all.iter().any(|(m, ..)| m.gross_joules == Some(0.0)));
    }

    /// Idle power measured over ten seconds and work afterwards, both with the slow counter; a card that warms up
    /// under load is only the load.
    #[test]
    fn idle_power_and_its_error_are_within_the_bound(
        idle in 8.0..40.0f64,
        load in 60.0..300.0f64,
        drift in 0.0..0.2f64,
        phase_ms in 0u64..100,
        length in 300u64..9_000,
    ) {
        let heat = |step: u32| load * (1.0 + drift * f64::from(step) / 180.0);
        let watts = (0..220).map(|_| idle).chain((0..180).map(heat)).collect();
        let card = Simulation {
            start: Instant::now(), watts, step_ms: 50, period_ms: 100, phase_ms, limit_watts: 400.0,
        };
        let baseline = mean_power(&[card.reading(500), card.reading(10_500)]).unwrap();
        prop_assert!((baseline.watts - idle).abs() <= baseline.plus_minus_watts + 1e-9, "{baseline:?}");
        let mut shares = Shares::default();
        let id = shares.enter(Some(card.reading(11_000)));
        let end = card.reading(11_000 + length);
        let tally = shares.leave(id, Some(end)).unwrap();
        let metered = metered(&tally, end.at, Some(baseline));
        let truth = card.joules(11_000 + length) - card.joules(11_000) - idle * length as f64 / 1e3;
        let (net, bound) = (metered.meter.energy_joules.unwrap(), metered.meter.uncertainty_joules.unwrap());
        prop_assert!((net - truth).abs() <= bound + 1e-6, "{net} ± {bound} is not {truth}");
    }
}
