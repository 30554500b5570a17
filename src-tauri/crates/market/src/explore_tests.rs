use super::*;

fn arms(values: &[f64], pulls: &[f64]) -> Vec<Arm> {
    let belief = Reliability { successes: 9.0, failures: 1.0 };
    values.iter().zip(pulls).map(|(value, pulls)| Arm { value: *value, at_risk: 0.5, pulls: *pulls, belief }).collect()
}

fn picks(explorer: &dyn Explore, arms: &[Arm], best: usize) -> Vec<usize> {
    let mut draws = Draws::new(3, 0);
    let mut counts = vec![0; arms.len()];
    for _ in 0..10_000 {
        counts[explorer.pick(arms, best, &mut draws)] += 1;
    }
    counts
}

#[test]
fn epsilon_leaves_the_best_at_its_rate_and_the_others_are_alike() {
    let arms = arms(&[0.2, 0.9, 0.4], &[0.0; 3]);
    let counts = picks(&Epsilon(0.1), &arms, 1);
    assert!((8_850..9_150).contains(&counts[1]), "{counts:?}");
    assert!((400..600).contains(&counts[0]) && (400..600).contains(&counts[2]), "{counts:?}");
    assert_eq!(picks(&Epsilon(1.0), &arms[..1], 0), [10_000], "there is nothing else to try");
}

#[test]
fn graduated_epsilon_falls_with_experience() {
    let fresh = Graduated(0.1).rate(&arms(&[0.2, 0.9], &[0.0; 2])).unwrap();
    let later = Graduated(0.1).rate(&arms(&[0.2, 0.9], &[100.0, 98.0])).unwrap();
    assert_eq!((fresh, later), (0.1, 0.01));
}

#[test]
fn ucb1_has_the_golden_bounds_and_tries_the_untried_first() {
    let bounds = [(0.5, 10.0), (0.6, 5.0), (0.4, 20.0)].map(|(mean, n)| Ucb1(1.0).bound(mean, n, 35.0));
    let golden = [1.343_249_437, 1.792_534_790, 0.996_267_395];
    assert!(bounds.iter().zip(golden).all(|(a, b)| (a - b).abs() < 1e-9), "{bounds:?}");
    let mut draws = Draws::new(0, 0);
    assert_eq!(Ucb1(1.0).pick(&arms(&[0.5, 0.6, 0.4], &[10.0, 5.0, 20.0]), 1, &mut draws), 1);
    assert_eq!(Ucb1(1.0).pick(&arms(&[0.5, 0.6, 0.4], &[10.0, 5.0, 0.0]), 1, &mut draws), 2);
    assert_eq!(Ucb1(0.0).pick(&arms(&[0.5, 0.6, 0.7], &[10.0, 5.0, 1.0]), 0, &mut draws), 2);
}

#[test]
fn thompson_tries_in_proportion_to_what_could_be_best() {
    let mut two = arms(&[0.50, 0.49], &[0.0; 2]);
    two[0].belief = Reliability { successes: 900.0, failures: 100.0 };
    let counts = picks(&Thompson, &two, 0);
    // The second is unsure: its draws spread by σ 0.09·0.5, so that it wins often, but not mostly.
    assert!((3_000..5_500).contains(&counts[1]), "{counts:?}");
    two[1].belief = Reliability { successes: 100.0, failures: 900.0 };
    two[1].value = 0.1;
    assert_eq!(picks(&Thompson, &two, 0), [10_000, 0]);
}

#[test]
fn policies_are_written_as_they_are_read() {
    for text in ["greedy", "epsilon=0.25", "graduated=0.5", "ucb1=2", "thompson", "cheapest"] {
        assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
    }
    assert_eq!("graduated".parse::<Policy>().unwrap(), Policy::Graduated(0.1));
    for text in ["", "oracle=1", "epsilon=2", "epsilon=nan", "epsilon=x", "greedy=1"] {
        assert_eq!(text.parse::<Policy>().unwrap_err().code, Code::Invalid, "{text}");
    }
}

#[test]
fn the_alarm_rings_when_the_rate_drifts_and_not_before() {
    let mut alarm = RateAlarm::default();
    assert_eq!(alarm.problem(), None);
    for i in 0..1000 {
        alarm.observe(0.1, i % 10 == 0);
    }
    assert_eq!(alarm.problem(), None);
    for _ in 0..60 {
        alarm.observe(0.1, true);
    }
    assert!(alarm.problem().unwrap().message.starts_with("160 of 1060"), "{alarm:?}");
    let mut never = RateAlarm::default();
    never.observe(0.0, true);
    assert!(never.problem().is_some(), "a policy that never explores has explored");
}
