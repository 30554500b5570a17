use super::*;
use crate::simulated::Card as Simulated;

fn at(start: Instant, ms: u64) -> Reading {
    Reading::empty(start + Duration::from_millis(ms))
}

/// Measures one piece of work between two readings.
fn between(first: Option<Reading>, last: Option<Reading>, idle: Option<MeanPower>) -> Metered {
    CardMeter::new(Box::new(Simulated::scripted([first, last]))).start().finish(idle)
}

#[test]
fn the_counter_less_idle_power_is_the_energy() {
    let start = Instant::now();
    let first = Reading { energy_joules: Some(1_000.0), ..at(start, 0) };
    let last = Reading { energy_joules: Some(4_200.0), ..at(start, 10_000) };
    let metered = between(Some(first), Some(last), Some(MeanPower { watts: 20.0, plus_minus_watts: 0.2 }));
    assert_eq!((metered.meter.wall_ms, metered.meter.energy_joules), (10_000, Some(3_000.0)));
    assert_eq!((metered.meter.idle_watts, metered.gross_joules), (Some(20.0), Some(3_200.0)));
    assert!(metered.meter.measured && metered.card_watts == Some(320.0), "{metered:?}");
    let bound = metered.meter.uncertainty_joules.unwrap();
    assert!((bound - 34.0).abs() < 1e-9, "320 W over 0.1 s, and 0.2 W of idle power over 10 s, not {bound}");

    let metered = between(Some(first), Some(last), None);
    assert_eq!((metered.meter.energy_joules, metered.meter.idle_watts), (Some(3_200.0), None));
}

#[test]
fn nothing_is_invented() {
    let start = Instant::now();
    let counted = |ms, joules| Some(Reading { energy_joules: Some(joules), ..at(start, ms) });
    for (first, last) in [
        (None, None),
        (counted(0, 5.0), None),
        (None, counted(5_000, 5.0)),
        (Some(at(start, 0)), Some(at(start, 5_000))),
        // The counter was reset.
        (counted(0, 900.0), counted(5_000, 3.0)),
        // It is no number.
        (counted(0, 900.0), counted(5_000, f64::NAN)),
        (counted(0, 900.0), counted(5_000, f64::INFINITY)),
        // Too short for the counter.
        (counted(0, 5.0), counted(150, 6.0)),
    ] {
        let metered = between(first, last, None);
        assert!(!metered.meter.measured && metered.meter.energy_joules.is_none(), "{first:?} {last:?}: {metered:?}");
        assert!(metered.gross_joules.is_none() && metered.meter.uncertainty_joules.is_none(), "{metered:?}");
    }
}

#[test]
fn a_throttled_run_is_flagged() {
    let start = Instant::now();
    let counted =
        |ms, throttle| Some(Reading { energy_joules: Some(ms as f64), throttle: Some(throttle), ..at(start, ms) });
    let metered = between(counted(0, Throttle::NONE), counted(1_000, Throttle::HEAT), None);
    assert!(metered.meter.throttled && metered.throttle.words() == ["it is too hot"], "{metered:?}");
    assert!(!between(counted(0, Throttle::NONE), counted(1_000, Throttle::NONE), None).meter.throttled);
}

/// In real time, with the thread: two pieces of work at once on a card of 200 W.
#[test]
fn work_at_the_same_time_shares_the_card_and_the_thread_ends_with_it() {
    let card = CardMeter::new(Box::new(Simulated::steady(200.0)));
    assert!(!card.is_busy());
    let first = card.start();
    thread::sleep(Duration::from_millis(300));
    let second = card.start();
    thread::sleep(Duration::from_millis(900));
    assert!(card.is_busy() && Arc::strong_count(&card.card) == 4, "the meter, two pieces of work and the thread");
    let second = second.finish(None);
    let first = first.finish(None);
    let joules = |metered: &Metered| metered.meter.energy_joules.unwrap();
    // The first ran alone before and after.
    let alone = (first.meter.wall_ms - second.meter.wall_ms) as f64 * 0.2;
    let (first_joules, second_joules) = (joules(&first), joules(&second));
    assert!((first_joules - second_joules - alone).abs() < 1.0, "{first:?} {second:?}");
    assert!((first_joules + second_joules - first.meter.wall_ms as f64 * 0.2).abs() < 1.0, "{first:?} {second:?}");
    assert!(first.card_watts.is_some_and(|watts| (watts - 200.0).abs() < 1.0), "{first:?}");
    assert!(first.longest_gap < Duration::from_millis(900) && first.meter.throttled, "{first:?}");
    assert!(!card.is_busy());
    for _ in 0..200 {
        if Arc::strong_count(&card.card) == 1 {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("the thread still looks at a card without work");
}

#[test]
fn work_that_is_given_up_leaves_its_share_to_the_others() {
    let card = CardMeter::new(Box::new(Simulated::steady(100.0)));
    let kept = card.start();
    let dropped = card.start();
    thread::sleep(Duration::from_millis(250));
    drop(dropped);
    thread::sleep(Duration::from_millis(250));
    let kept = kept.finish(None);
    let joules = kept.meter.energy_joules.unwrap();
    let all = kept.meter.wall_ms as f64 * 0.1;
    assert!(joules > all * 0.5 && joules < all, "about three quarters of {all} J: {kept:?}");
    assert!(!card.is_busy());
}

#[test]
fn idle_power_comes_from_the_counter_where_there_is_one() {
    let start = Instant::now();
    let first = Reading { energy_joules: Some(100.0), power_watts: Some(13.0), ..at(start, 0) };
    let last = Reading { energy_joules: Some(230.0), power_watts: Some(12.0), ..at(start, 10_000) };
    let idle = idle_power(&[first, last]).unwrap();
    assert!(idle.watts == 13.0 && (idle.plus_minus_watts - 0.13).abs() < 1e-12, "{idle:?}");

    let samples: Vec<Reading> = [14.0, 12.0, 13.0]
        .iter()
        .enumerate()
        .map(|(n, watts)| Reading { power_watts: Some(*watts), ..at(start, n as u64 * 1_000) })
        .collect();
    assert_eq!(idle_power(&samples), Some(MeanPower { watts: 13.0, plus_minus_watts: 1.0 }));

    let used = |fraction| Reading { utilisation: Some(fraction), ..last };
    assert_eq!(idle_power(&[first, used(0.4)]), None, "somebody plays");
    let drawn = Reading { utilisation: Some(0.02), ..first };
    assert!(idle_power(&[drawn, used(0.2)]).is_some(), "a window was drawn");
    assert_eq!(idle_power(&[first]), None);
    assert_eq!(idle_power(&[at(start, 0), at(start, 10_000)]), None);
    let reset = Reading { energy_joules: Some(1.0), power_watts: None, ..last };
    assert_eq!(idle_power(&[first, reset]), None);
}
