use super::*;
use proptest::prelude::*;

fn sampling(temperature: f64, top_k: u32, top_p: f64, seed: u64) -> Sampling {
    Sampling { temperature, top_k, top_p, seed }
}

fn probabilities(logits: &[f32], temperature: f64) -> Vec<f64> {
    let weights: Vec<f64> = logits.iter().map(|logit| (f64::from(*logit) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// How often each token is drawn at 20,000 positions.
fn drawn(logits: &[f32], sampling: &Sampling) -> Vec<f64> {
    let mut counts = vec![0.0; logits.len()];
    for position in 0..20_000 {
        counts[choose(logits, sampling, position).unwrap() as usize] += 1.0;
    }
    counts
}

/// Pearson's statistic of counts against probabilities; tokens of probability zero must not occur.
fn chi_square(counts: &[f64], expected: &[f64]) -> f64 {
    let total: f64 = counts.iter().sum();
    let terms = counts.iter().zip(expected).map(|(count, probability)| match probability * total {
        0.0 => {
            if *count == 0.0 {
                0.0
            } else {
                f64::INFINITY
            }
        }
        expected => (count - expected).powi(2) / expected,
    });
    terms.sum()
}

const LOGITS: [f32; 8] = [0.3, 2.0, -1.0, 1.2, 0.0, 1.9, -0.4, 0.8];

/// 99.9 % of honest samples of seven degrees of freedom stay below.
const CRITICAL_7: f64 = 24.32;

#[test]
fn samples_are_distributed_as_softmax() {
    for (temperature, seed) in [(1.0, 0), (1.0, 1), (0.7, 2), (2.0, (1 << 53) - 1)] {
        let statistic =
            chi_square(&drawn(&LOGITS, &sampling(temperature, 0, 1.0, seed)), &probabilities(&LOGITS, temperature));
        assert!(statistic < CRITICAL_7, "{temperature} {seed}: {statistic}");
    }
    // The test can fail: at another temperature the distribution is another.
    assert!(chi_square(&drawn(&LOGITS, &sampling(1.1, 0, 1.0, 0)), &probabilities(&LOGITS, 1.0)) > CRITICAL_7);
}

#[test]
fn top_k_and_top_p_leave_the_likeliest() {
    // By likelihood: 1, 5, 3, 7, 0, 4, 6, 2.
    let renormalised = |kept: &[usize]| {
        let all = probabilities(&LOGITS, 1.0);
        let total: f64 = kept.iter().map(|at| all[*at]).sum();
        (0..8).map(|at| if kept.contains(&at) { all[at] / total } else { 0.0 }).collect::<Vec<_>>()
    };
    let two = all_before(&LOGITS, 2);
    for (top_k, top_p, kept) in [
        (3, 1.0, &[1, 5, 3][..]),
        (8, 1.0, &[0, 1, 2, 3, 4, 5, 6, 7]),
        (100, 1.0, &[0, 1, 2, 3, 4, 5, 6, 7]),
        (0, two - 1e-9, &[1, 5]),
        (0, two + 1e-9, &[1, 5, 3]),
        (2, 0.999, &[1, 5]),
        (2, 0.3, &[1]),
    ] {
        let statistic = chi_square(&drawn(&LOGITS, &sampling(1.0, top_k, top_p, 7)), &renormalised(kept));
        assert!(statistic < CRITICAL_7, "{top_k} {top_p}: {statistic}");
    }
    for narrow in [sampling(1.0, 1, 1.0, 3), sampling(1.0, 0, 1e-9, 3), sampling(1e-6, 0, 1.0, 3), Sampling::GREEDY] {
        assert!((0..100).all(|position| choose(&LOGITS, &narrow, position).unwrap() == 1), "{narrow:?}");
    }
}

/// Probability of the `count` likeliest tokens together.
fn all_before(logits: &[f32], count: usize) -> f64 {
    let mut sorted = probabilities(logits, 1.0);
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted[..count].iter().sum()
}

#[test]
fn draws_depend_on_seed_and_position() {
    let series =
        |seed| -> Vec<u32> { (0..64).map(|at| choose(&LOGITS, &sampling(1.0, 0, 1.0, seed), at).unwrap()).collect() };
    assert_eq!(series(5), series(5));
    assert_ne!(series(5), series(6));
    assert_ne!(series(5), series(5 + (1 << 32)));
    // Recorded once: a change here breaks every check of texts that were written before.
    assert_eq!(series(5)[..16], [3, 0, 1, 5, 1, 1, 1, 1, 1, 1, 5, 7, 1, 5, 1, 6]);
}

#[test]
fn equal_logits_go_to_the_lowest_id() {
    assert_eq!(choose(&[1.0, 3.0, 3.0], &Sampling::GREEDY, 0).unwrap(), 1);
    assert_eq!(margin(&[1.0, 3.0, 3.0], &Sampling::GREEDY, 0, 2).unwrap(), 0.0);
    assert!((0..50).all(|at| choose(&[3.0; 9], &sampling(1.0, 1, 1.0, 1), at).unwrap() == 0));
    assert!((0..50).all(|at| choose(&[3.0; 9], &sampling(1.0, 2, 1.0, 1), at).unwrap() < 2));
    // Three of nine equals make a third; a hair more takes a fourth.
    assert!((0..200).all(|at| choose(&[3.0; 9], &sampling(1.0, 0, 0.333, 1), at).unwrap() < 3));
    assert!((0..200).any(|at| choose(&[3.0; 9], &sampling(1.0, 0, 0.34, 1), at).unwrap() == 3));
}

#[test]
fn what_is_no_number_is_an_error() {
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for sampling in [Sampling::GREEDY, sampling(1.0, 2, 0.5, 0)] {
            let logits = [0.0, wrong, 1.0];
            assert!(choose(&logits, &sampling, 0).unwrap_err().to_string().contains("token 1"));
            assert!(margin(&logits, &sampling, 0, 0).is_err());
        }
    }
    assert!(choose(&[], &Sampling::GREEDY, 0).is_err());
    assert!(margin(&[0.0], &Sampling::GREEDY, 0, 1).unwrap_err().to_string().contains("no token 1"));
}

#[test]
fn margins_are_distances_in_logits() {
    assert_eq!(margin(&LOGITS, &Sampling::GREEDY, 0, 3).unwrap(), 2.0 - 1.2);
    // At least as far as it is outside of the likeliest three, the last of which has 1.2.
    let three = sampling(1.0, 3, 1.0, 0);
    let outside = margin(&LOGITS, &three, 0, 2).unwrap();
    assert!(outside >= 1.2 - -1.0, "{outside}");
    // A set of one, because its probability is above top_p: the second is out by the gap of 0.1, or by the distance of
    // the probabilities in log-odds, whichever is less.
    let odds = |p: f64| (p / (1.0 - p)).ln();
    let first = all_before(&LOGITS, 1);
    for (top_p, expected) in [(0.2, 0.1), (first - 0.001, odds(first) - odds(first - 0.001))] {
        let nucleus = sampling(1.0, 0, top_p, 0);
        let border = Border::new(&LOGITS, &nucleus, &[Candidate { token: 1, logit: 2.0, before: 0.0 }]);
        assert!((border.outside(5) - expected).abs() < 1e-6, "{top_p}: {} {expected}", border.outside(5));
    }
}

/// Honest machines compute slightly different logits. Whatever one chooses has a small margin on the other, even where
/// a token is just inside of the set on one and just outside on the other.
#[test]
fn small_differences_make_small_margins() {
    let noise = |at: u32| 0.01 * (f64::from(philox::block([at, 9, 0, 0], [1, 2])[0]) / 4_294_967_296.0 - 0.5) as f32;
    let (mut changed, mut total, mut cheated) = (0, 0, 0.0);
    for position in 0..4000 {
        let spread = |at: u32| (f64::from(philox::block([at, position, 1, 0], [3, 4])[0]) / 1e9) as f32;
        let ours: Vec<f32> = (0..40).map(spread).collect();
        let theirs: Vec<f32> = ours.iter().zip(0..).map(|(logit, at)| logit + noise(at + 40 * position)).collect();
        let settings =
            [sampling(0.8, 0, 1.0, 1), sampling(1.0, 5, 1.0, 2), sampling(1.0, 0, 0.8, 3), sampling(0.7, 8, 0.9, 4)];
        for sampling in settings {
            let claimed = choose(&theirs, &sampling, position).unwrap();
            let margin_of = |token| margin(&ours, &sampling, position, token).unwrap();
            let honest = margin_of(claimed);
            assert!(honest < 0.03, "{sampling:?} at {position}: {honest}");
            changed += u32::from(claimed != choose(&ours, &sampling, position).unwrap());
            total += 1;
            cheated += margin_of((claimed + 1) % 40);
        }
    }
    // The noise did matter, and other tokens are far off.
    assert!(changed > total / 500, "{changed} of {total}");
    assert!(cheated / total as f32 > 0.5, "{}", cheated / total as f32);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_own_choice_has_no_margin(
        logits in prop::collection::vec(-20.0f32..20.0, 1..200),
        temperature in prop_oneof![Just(0.0), 0.05f64..2.0],
        top_k in 0u32..12,
        top_p in prop_oneof![Just(1.0), 0.01f64..1.0],
        seed in 0u64..(1 << 53),
        position in 0u32..131_072,
    ) {
        let sampling = sampling(temperature, top_k, top_p, seed);
        let chosen = choose(&logits, &sampling, position).unwrap();
        prop_assert_eq!(margin(&logits, &sampling, position, chosen).unwrap(), 0.0);
        for token in 0..logits.len() as u32 {
            let margin = margin(&logits, &sampling, position, token).unwrap();
            prop_assert!(margin.is_finite() && margin >= 0.0);
        }
    }

    /// Skipping tokens that cannot win changes nothing.
    #[test]
    fn the_bound_holds(bits in prop_oneof![any::<u32>(), Just(0), Just(u32::MAX), u32::MAX - 70_000..u32::MAX]) {
        prop_assert!(gumbel(bits) <= gumbel_bound(bits));
        prop_assert!(gumbel(bits).is_finite());
    }

    #[test]
    fn the_best_score_wins(
        logits in prop::collection::vec(-10.0f32..10.0, 1..300),
        seed in 0u64..(1 << 53),
        position in 0u32..1000,
    ) {
        let draw = Draw::new(&sampling(0.9, 0, 1.0, seed), position);
        let scores: Vec<f64> = logits.iter().zip(0..).map(|(logit, token)| draw.score(token, *logit)).collect();
        let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let winner = draw.best(&logits, 0..logits.len() as u32);
        prop_assert_eq!(scores[winner as usize], best);
    }

    /// Neither does anything that is left out before its exponential is taken.
    #[test]
    fn shortcuts_choose_what_the_definition_chooses(
        logits in prop::collection::vec(
            prop_oneof![-60.0f32..60.0, -9.0f32..9.0, Just(0.0), Just(-0.0), Just(3.5)],
            1..400,
        ),
        temperature in prop_oneof![0.05f64..2.0, Just(1.0)],
        top_k in prop_oneof![Just(0), 1u32..60],
        top_p in prop_oneof![Just(1.0), 0.01f64..1.0, Just(0.95)],
        seed in 0u64..(1 << 53),
        position in 0u32..131_072,
    ) {
        let sampling = sampling(temperature, top_k, top_p, seed);
        prop_assert_eq!(choose(&logits, &sampling, position).unwrap(), defined(&logits, &sampling, position));
    }
}

/// The choice in the words of its definition: every exponential, every sort and every random number.
fn defined(logits: &[f32], sampling: &Sampling, position: u32) -> u32 {
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    let order = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    tokens.sort_by(order);
    if sampling.top_k > 0 {
        tokens.truncate(sampling.top_k as usize);
    }
    let most = f64::from(logits[tokens[0] as usize]);
    let weight = |token: &u32| libm::exp((f64::from(logits[*token as usize]) - most) / sampling.temperature);
    if sampling.top_p < 1.0 {
        let mut by_id = tokens.clone();
        if tokens.len() == logits.len() {
            by_id.sort_unstable();
        }
        let total: f64 = by_id.iter().map(weight).sum();
        let mut before = 0.0;
        let kept = tokens.iter().take_while(|token| {
            let is_in = before < sampling.top_p;
            before += weight(token) / total;
            is_in
        });
        tokens.truncate(kept.count().max(1));
    }
    let draw = Draw::new(sampling, position);
    tokens.sort_unstable();
    let scores = tokens.iter().map(|token| (*token, draw.score(*token, logits[*token as usize])));
    scores.fold((0, f64::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best }).0
}
