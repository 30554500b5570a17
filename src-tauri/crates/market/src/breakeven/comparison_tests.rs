use super::super::presets::preset;
use super::*;
use proptest::prelude::*;
use tender_base::Timestamp;

const DAY_MS: i64 = 86_400_000;

fn card(tokens_per_second: f64) -> Input {
    Input { tokens_per_second, prefill_tokens_per_second: Some(5_000.0), ..preset("seed 004").unwrap().with_every_cost }
}

fn choices(tokens_per_second: f64) -> Choices {
    let rent = Rent { usd_per_hour: 0.25, tokens_per_second, prefill_tokens_per_second: Some(5_000.0) };
    Choices { card: card(tokens_per_second), busy_share: 1.0, rent: Some(rent) }
}

/// From 1 September 2026 on, each day with `text` tokens at `usd_per_million` and no prompts.
fn constant(n: i64, text: f64, usd_per_million: f64) -> Vec<Day> {
    let start = Timestamp::parse("2026-09-01T00:00:00Z").unwrap().millis();
    (0..n)
        .map(|i| Day {
            day: Timestamp::from_millis(start + i * DAY_MS),
            prompt_tokens: 0.0,
            text_tokens: text,
            api_usd: text / 1e6 * usd_per_million,
        })
        .collect()
}

fn run(days: &[Day], choices: &Choices) -> Comparison {
    compare(days, choices, &mut Draws::new(1, 0)).unwrap()
}

#[test]
fn a_constant_use_costs_what_the_fixed_contract_says() {
    // 600 tokens/s for half of the day: 25.92 million tokens at 0.30 USD.
    let found = run(&constant(60, 25.92e6, 0.3), &choices(600.0));
    let of = |choice: Choice| found.alternatives.iter().find(|a| a.choice == choice).unwrap();
    let one = of(Choice::Buy { cards: 1 });
    assert!((one.usd_per_year - 713.644_585_838_672_4).abs() < 1e-6, "the golden case: {one:?}");
    assert!((of(Choice::Api).usd_per_year - 25.92 * 0.3 * 365.0).abs() < 1e-6);
    assert_eq!(of(Choice::Rent).usd_per_year, 12.0 * 0.25 * 365.0);
    assert!((one.utilisation.unwrap() - 0.5).abs() < 1e-12 && one.overflow.unwrap().abs() < 1e-12);
    let two = of(Choice::Buy { cards: 2 });
    assert!((two.usd_per_year - one.usd_per_year - 393.466_585_838_672_36).abs() < 1e-6, "a second card idles");
    assert_eq!(found.recommended, Choice::Buy { cards: 1 });
    // The golden table at 0.30 USD and 600 tokens/s.
    assert!((found.flip_utilisation.unwrap() - 0.078_128_851_838_964_36).abs() < 1e-12);
    assert!((one.flips_at_tokens_per_day.unwrap() - 4_050_199.679_331_912_7).abs() < 1e-4);
    // Every day the same: nothing to be uncertain about.
    let sure = one.saves_interval.unwrap();
    assert!((sure.high - sure.low).abs() < 1e-6 && one.cheapest_share == Some(1.0), "{one:?}");
}

#[test]
fn cards_come_whole_and_what_they_cannot_do_stays_with_the_api() {
    // Two and a half cards' worth of tokens.
    let found = run(&constant(40, 2.5 * 600.0 * 86_400.0, 0.3), &choices(600.0));
    let overflow: Vec<f64> = found.alternatives.iter().filter_map(|a| a.overflow).collect();
    for (cards, wanted) in [0.6, 0.2, 0.0, 0.0].into_iter().enumerate() {
        assert!((overflow[cards] - wanted).abs() < 1e-12, "{} cards: {overflow:?}", cards + 1);
    }
    assert_eq!(found.recommended, Choice::Buy { cards: 3 });
    let half = Choices { busy_share: 0.5, ..choices(600.0) };
    let found = run(&constant(40, 2.5 * 600.0 * 86_400.0, 0.3), &half);
    assert!((found.alternatives[4].overflow.unwrap() - 0.2).abs() < 1e-12, "four cards for half of the day");
    assert!((found.alternatives[4].utilisation.unwrap() - 0.5).abs() < 1e-12);
}

#[test]
fn a_small_use_stays_with_the_api_or_rents_and_a_dear_card_never_flips() {
    let found = run(&constant(40, 1e5, 0.3), &choices(600.0));
    assert_eq!(found.recommended, Choice::Api);
    let dear_api = run(&constant(40, 1e5, 15.0), &choices(600.0));
    assert_eq!(dear_api.recommended, Choice::Rent, "one rented hour against 1.50 USD");
    let single = run(&constant(40, 1e6, 0.12), &choices(106.22));
    assert_eq!((single.flip_utilisation, single.alternatives[1].flips_at_tokens_per_day), (None, None));
}

#[test]
fn months_sum_to_the_whole_and_regret_is_against_the_best() {
    let mut days = constant(45, 25.92e6, 0.3);
    for day in &mut days[30..] {
        day.text_tokens = 1e5;
        day.api_usd = 0.03;
    }
    let found = run(&days, &choices(600.0));
    assert_eq!(
        found.months.iter().map(|m| (m.month.as_str(), m.days)).collect::<Vec<_>>(),
        [("2026-09", 30), ("2026-10", 15)]
    );
    let (september, october) = (&found.months[0], &found.months[1]);
    assert_eq!((september.best, october.best), (Choice::Buy { cards: 1 }, Choice::Api));
    let one_day = 25.92 * 0.3 - 713.644_585_838_672_4 / 365.0;
    assert!((september.regret_usd - 30.0 * one_day).abs() < 1e-6 && october.regret_usd == 0.0);
    assert!(found.recommended == Choice::Buy { cards: 1 } && october.recommended_regret_usd > 15.0);
    let why = found.regret_why(0).unwrap();
    assert_eq!((why.value, why.inputs.len()), (september.regret_usd, found.alternatives.len()));
    assert_eq!(found.regret_why(2), None);
    for (i, alternative) in found.alternatives.iter().enumerate() {
        assert_eq!(alternative.why.value, alternative.usd_per_year);
        assert!(alternative.why.name.starts_with(&alternative.choice.name()));
        let sum: f64 = found.months.iter().map(|month| month.usd[i]).sum();
        assert!((sum / 45.0 * 365.0 - alternative.usd_per_year).abs() < 1e-6);
    }
}

#[test]
fn an_interval_needs_four_weeks() {
    let found = run(&constant(27, 1e6, 0.3), &choices(600.0));
    assert!(found.interval_unknown.as_ref().unwrap().contains("27"), "{found:?}");
    assert!(found.alternatives.iter().all(|a| a.interval.is_none() && a.cheapest_share.is_none()));
    assert_eq!(run(&constant(28, 1e6, 0.3), &choices(600.0)).interval_unknown, None);
}

#[test]
fn student_s_t_is_that_of_the_tables() {
    for (nu, t) in [(3.0, 3.182), (7.0, 2.365), (12.0, 2.179), (51.0, 2.008)] {
        assert!((student(nu) / t - 1.0).abs() < 0.01, "{nu}: {}", student(nu));
    }
}

/// Of 100 spans of eight weeks, the interval holds the true mean about as often as it says.
#[test]
fn the_interval_holds_the_truth_as_often_as_it_says() {
    let mut world = Draws::new(99, 0);
    let mut held = 0;
    for seed in 0..100 {
        let mut days = constant(56, 0.0, 0.0);
        for day in &mut days {
            day.text_tokens = 2e6 * world.exponential();
            day.api_usd = day.text_tokens / 1e6 * 0.4;
        }
        let found = compare(&days, &choices(600.0), &mut Draws::new(seed, 0)).unwrap();
        let interval = found.alternatives[0].interval.unwrap();
        held += u32::from((interval.low..=interval.high).contains(&(0.8 * 365.0)));
    }
    println!("{held} of 100 intervals hold the truth");
    // 95 less three standard deviations of a binomial.
    assert!((88..=99).contains(&held), "{held} of 100");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let mut days = constant(60, 1e6, 0.3);
    days.iter_mut().enumerate().for_each(|(i, day)| day.api_usd *= 1.0 + (i % 7) as f64);
    let text = |seed| {
        let found = compare(&days, &choices(600.0), &mut Draws::new(seed, 0)).unwrap();
        serde_json::to_string(&found).unwrap()
    };
    assert_eq!(text(3), text(3));
    assert_ne!(text(3), text(4));
}

#[test]
fn what_is_wrong_is_named() {
    let days = constant(30, 1e6, 0.3);
    let refused = |days: &[Day], choices: &Choices| compare(days, choices, &mut Draws::new(1, 0)).unwrap_err().message;
    let good = choices(600.0);
    assert!(refused(&[], &good).contains("no tokens"));
    assert!(refused(&constant(30, 0.0, 0.3), &good).contains("no tokens"));
    assert!(refused(&days, &Choices { busy_share: 1.5, ..good.clone() }).contains("busy_share"));
    let rent = Rent { usd_per_hour: 0.0, ..good.rent.unwrap() };
    assert!(refused(&days, &Choices { rent: Some(rent), ..good.clone() }).contains("rent.usd_per_hour"));
    let mut prompts = days.clone();
    prompts[0].prompt_tokens = 1.0;
    let unread = Choices { card: Input { prefill_tokens_per_second: None, ..card(600.0) }, ..good.clone() };
    assert!(refused(&prompts, &unread).contains("prefill_tokens_per_second"));
    let unread = Rent { prefill_tokens_per_second: None, ..good.rent.unwrap() };
    assert!(refused(&prompts, &Choices { rent: Some(unread), ..good }).contains("rent.prefill"));
}

proptest! {
    /// Dearer cards or electricity never make buying cheaper; a dearer API never makes it save less.
    #[test]
    fn buying_is_monotone(
        tokens in proptest::collection::vec(0.0..1e8f64, 3..28), price in 0.05..5.0f64, tps in 50.0..2000.0f64,
        more in 1.0..3.0f64,
    ) {
        prop_assume!(tokens.iter().sum::<f64>() > 0.0);
        let mut days = constant(tokens.len() as i64, 0.0, 0.0);
        for (day, tokens) in days.iter_mut().zip(&tokens) {
            day.text_tokens = *tokens;
            day.api_usd = tokens / 1e6 * price;
        }
        let base = run(&days, &choices(tps));
        let dearer = Input { price_usd: 1_199.0 * more, tariff_usd_per_kwh: 0.17 * more, ..card(tps) };
        let dearer = run(&days, &Choices { card: dearer, ..choices(tps) });
        let mut dear_api = days.clone();
        dear_api.iter_mut().for_each(|day| day.api_usd *= more);
        let dear_api = run(&dear_api, &choices(tps));
        for i in 1..=4 {
            let (a, b, c) = (&base.alternatives[i], &dearer.alternatives[i], &dear_api.alternatives[i]);
            prop_assert!(b.usd_per_year >= a.usd_per_year - 1e-9);
            prop_assert!(c.saves_usd_per_year >= a.saves_usd_per_year - 1e-6);
        }
        for month in &base.months {
            prop_assert!(month.regret_usd >= 0.0 && month.recommended_regret_usd >= 0.0);
        }
        prop_assert!(base.alternatives.iter().all(|a| a.usd_per_year.is_finite()));
    }
}
