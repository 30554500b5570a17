use super::*;
use proptest::prelude::*;
use serde_json::Value;

/// The vectors were computed by an independent program.
fn golden() -> Value {
    serde_json::from_str(include_str!("golden.json")).unwrap()
}

/// The golden case: an RTX 4080 at $0.17 per kWh, active half of the time.
fn card(tokens_per_second: f64, api_usd_per_million: f64) -> Input {
    Input {
        price_usd: 1199.0,
        resale_fraction: 0.35,
        lifetime_years: 3.0,
        discount_rate: 0.08,
        gpu_watts: 320.0,
        host_watts: 80.0,
        idle_watts: 13.0,
        psu_efficiency: 0.9,
        cooling_overhead: 0.0,
        maintenance_fraction: 0.03,
        tariff_usd_per_kwh: 0.17,
        opportunity_usd_per_active_hour: 0.0,
        tokens_per_second,
        utilisation: 0.5,
        api_usd_per_million,
        api_usd_per_million_input: None,
        input_output_ratio: None,
        prefill_tokens_per_second: None,
        cards: None,
    }
}

fn close(value: f64, golden: f64, what: &str) {
    assert!((value - golden).abs() <= 1e-9 * golden.abs(), "{what}: {value} is not {golden}");
}

#[test]
fn the_golden_case_at_both_throughputs() {
    let golden = &golden()["golden_case"];
    for (key, tps) in [("outputs_single_stream", 106.22), ("outputs_batched", 600.0)] {
        let output = breakeven(&card(tps, 0.3)).unwrap();
        let of = |part: &str, name: &str| golden[part][name].as_f64().unwrap();
        for (value, name) in [
            (output.capital_usd_per_year, "capital_recovery_yr"),
            (output.maintenance_usd_per_year, "maintenance_yr"),
            (output.idle_energy_usd_per_year, "idle_energy_yr"),
            (output.active_energy_usd_per_year, "active_energy_yr"),
            (output.opportunity_usd_per_year, "opportunity_yr"),
            (output.total_usd_per_year, "total_yr"),
            (output.usd_per_active_hour, "cost_per_active_hour"),
        ] {
            close(value, of("outputs_common", name), name);
        }
        close(output.usd_per_million_tokens, of(key, "usd_per_Mtok"), key);
        close(output.marginal_usd_per_million_tokens, of(key, "marginal_usd_per_Mtok"), key);
    }
}

#[test]
fn the_golden_table_of_break_evens() {
    let golden = golden();
    let yearly = card(1.0, 1.0).yearly().unwrap();
    close(yearly.fixed_usd(), golden["breakeven_linear"]["fixed_F0_usd_yr"].as_f64().unwrap(), "fixed");
    close(
        yearly.slope_usd(),
        golden["breakeven_linear"]["slope_usd_yr_at_full_utilisation"].as_f64().unwrap(),
        "slope",
    );
    let table = golden["breakeven_table"].as_array().unwrap();
    assert_eq!(table.len(), 9);
    for row in table {
        let api = row["api_usd_per_Mtok"].as_f64().unwrap();
        for (key, tps) in [("at_106.22_tok_s", 106.22), ("at_600_tok_s", 600.0)] {
            let found = breakeven(&card(tps, api)).unwrap().breakeven;
            let golden = &row[key];
            match golden["tokens_per_day"].as_f64() {
                None => {
                    assert_eq!((found.tokens_per_day, found.utilisation, found.reachable), (None, None, false));
                    assert!(found.why.starts_with(golden["why"].as_str().unwrap()), "{}", found.why);
                }
                Some(tokens) => {
                    close(found.tokens_per_day.unwrap(), tokens, key);
                    close(found.utilisation.unwrap(), golden["utilisation"].as_f64().unwrap(), key);
                    assert_eq!(found.reachable, golden["reachable"].as_bool().unwrap());
                }
            }
        }
    }
}

/// Sixty random cases with prompts, several cards, cooling, opportunity and every interest, worked out by
/// `vectors/breakeven.py`, which finds the break-even by bisection.
#[test]
fn another_program_finds_the_same() {
    let cases: Value = serde_json::from_str(include_str!("../../vectors/breakeven.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 60);
    for case in cases {
        let mut document = case["input"].clone();
        if document["input_output_ratio"] == 0 {
            document["prefill_tokens_per_second"] = Value::Null;
        }
        let output = serde_json::to_value(breakeven(&parse(&document.to_string()).unwrap()).unwrap()).unwrap();
        for (name, wanted) in case["output"].as_object().unwrap() {
            let (value, wanted) = (output[name].as_f64().unwrap(), wanted.as_f64().unwrap());
            assert!((value - wanted).abs() <= 1e-9 * wanted.abs() + 1e-12, "{name}: {value} is not {wanted}: {case}");
        }
        let found = &output["breakeven"];
        assert_eq!(found["reachable"], case["breakeven"]["reachable"], "{case}");
        for name in ["tokens_per_day", "utilisation"] {
            match (found[name].as_f64(), case["breakeven"][name].as_f64()) {
                (Some(value), Some(wanted)) => assert!((value / wanted - 1.0).abs() < 1e-6, "{name}: {case}"),
                (value, wanted) => assert_eq!(value, wanted, "{name}: {case}"),
            }
        }
    }
}

#[test]
fn prompts_take_time_here_and_cost_money_there() {
    let mixed = Input {
        api_usd_per_million_input: Some(0.15),
        input_output_ratio: Some(2.0),
        prefill_tokens_per_second: Some(5065.0),
        ..card(106.22, 0.6)
    };
    let output = breakeven(&mixed).unwrap();
    // By hand: 1/(1/106.22 + 2/5065) = 101.9439 tokens/s; 0.6 + 2 × 0.15 = 0.9 USD per million with their prompts.
    let (tps, api) = (1.0 / (1.0 / 106.22 + 2.0 / 5065.0), 0.9);
    let u = 393.466_585_838_672_36 / (api * tps * 31.536 - 640.356);
    close(output.breakeven.utilisation.unwrap(), u, "utilisation");
    close(output.breakeven.tokens_per_day.unwrap(), u * tps * 86_400.0, "tokens");
    close(output.usd_per_million_tokens, 713.644_585_838_672_4 / (tps * 15.768), "per million");
}

#[test]
fn two_cards_cost_and_make_twice_as_much() {
    let one = breakeven(&card(600.0, 0.3)).unwrap();
    let two = breakeven(&Input { cards: Some(2), ..card(600.0, 0.3) }).unwrap();
    close(two.total_usd_per_year, 2.0 * one.total_usd_per_year, "total");
    close(two.usd_per_million_tokens, one.usd_per_million_tokens, "per million");
    close(two.breakeven.tokens_per_day.unwrap(), 2.0 * one.breakeven.tokens_per_day.unwrap(), "tokens");
}

#[test]
fn a_card_that_is_paid_off_pays_from_its_idle_energy_on() {
    let paid = Input { price_usd: 0.0, idle_watts: 0.0, ..card(106.22, 0.3) };
    let output = breakeven(&paid).unwrap();
    assert_eq!(output.breakeven.tokens_per_day, Some(0.0), "{:?}", output.breakeven);
    close(output.usd_per_million_tokens, output.marginal_usd_per_million_tokens, "only what a token more costs");
}

/// Each field that is wrong is named; nothing that is wrong comes out as a number.
#[test]
fn a_wrong_field_is_named() {
    let good = serde_json::to_value(card(106.22, 0.3)).unwrap();
    assert!(parse(&good.to_string()).is_ok());
    let fields: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields.len(), 15, "every field of the contract that is not optional");
    for field in &fields {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(field);
        let mut cases = vec![("missing", without.to_string())];
        for bad in ["-1", "1e999", "\"much\"", "null"] {
            let mut with = good.clone();
            with[field] = serde_json::json!("@");
            cases.push((bad, with.to_string().replace("\"@\"", bad)));
        }
        for (case, text) in cases {
            let problem = parse(&text).unwrap_err();
            assert!(problem.code == Code::Invalid && problem.message.contains(field.as_str()), "{case}: {problem}");
        }
    }
    for (field, value) in [
        ("lifetime_years", 0.0),
        ("lifetime_years", 51.0),
        ("gpu_watts", 0.0),
        ("psu_efficiency", 0.0),
        ("psu_efficiency", 1.1),
        ("tokens_per_second", 0.0),
        ("utilisation", 0.0),
        ("utilisation", 1.01),
        ("resale_fraction", 1.2),
        ("discount_rate", 8.0),
        ("api_usd_per_million", 0.0),
        ("idle_watts", 401.0),
        ("cards", 0.0),
        ("cards", 65.0),
        ("api_usd_per_million_input", 0.1),
        ("api_usd_per_million_inputs", 0.1),
    ] {
        let mut with = good.clone();
        with[field] = if field == "cards" { (value as u32).into() } else { value.into() };
        let problem = parse(&with.to_string()).unwrap_err();
        let named = if field == "api_usd_per_million_input" { "input_output_ratio" } else { field };
        assert!(problem.message.contains(named), "{field} {value}: {problem}");
    }
    let prompts = Input { input_output_ratio: Some(2.0), ..card(106.22, 0.3) };
    assert!(breakeven(&prompts).unwrap_err().message.contains("api_usd_per_million_input"));
    let unread = Input { api_usd_per_million_input: Some(0.1), ..prompts };
    assert!(breakeven(&unread).unwrap_err().message.contains("prefill_tokens_per_second"));
    assert!(parse("{} x").unwrap_err().code == Code::Invalid);
    assert!(parse(&format!("{good} x")).unwrap_err().message.contains("goes on"));
}

#[test]
fn numbers_in_range_that_overflow_together_are_refused() {
    let huge = Input { price_usd: f64::MAX, maintenance_fraction: 1e9, ..card(106.22, 0.3) };
    assert!(breakeven(&huge).unwrap_err().message.contains("maintenance_usd_per_year"));
    let tiny = Input { tokens_per_second: f64::MIN_POSITIVE, ..card(106.22, 0.3) };
    assert!(breakeven(&tiny).unwrap_err().message.contains("usd_per_million_tokens"));
}

fn any_input() -> impl Strategy<Value = Input> {
    (
        (0.0..5000.0, 0.0..=1.0, 0.5..10.0, 0.0..0.3, 50.0..600.0, 0.0..200.0, 0.0..40.0, 0.7..=1.0),
        (0.0..0.5, 0.0..0.2, 0.0..1.0, 0.0..0.5, 1.0..3000.0, 0.01..=1.0, 0.01..20.0),
        proptest::option::of((0.0..5.0, 0.1..8.0, 100.0..10_000.0)),
        1..=4u32,
    )
        .prop_map(
            |((price, resale, years, rate, gpu, host, idle, psu), (cool, care, tariff, lost, tps, u, api), mix, n)| {
                Input {
                    price_usd: price,
                    resale_fraction: resale,
                    lifetime_years: years,
                    discount_rate: rate,
                    gpu_watts: gpu,
                    host_watts: host,
                    idle_watts: idle,
                    psu_efficiency: psu,
                    cooling_overhead: cool,
                    maintenance_fraction: care,
                    tariff_usd_per_kwh: tariff,
                    opportunity_usd_per_active_hour: lost,
                    tokens_per_second: tps,
                    utilisation: u,
                    api_usd_per_million: api,
                    api_usd_per_million_input: mix.map(|(price, ..)| price),
                    input_output_ratio: mix.map(|(_, ratio, _)| ratio),
                    prefill_tokens_per_second: mix.map(|(.., speed)| speed),
                    cards: Some(n),
                }
            },
        )
}

/// The break-even as a number that only grows when owning becomes worse: never is above every volume.
fn volume(input: &Input) -> f64 {
    breakeven(input).unwrap().breakeven.tokens_per_day.unwrap_or(f64::INFINITY)
}

proptest! {
    #[test]
    fn the_parts_are_the_whole_and_nothing_is_negative_or_no_number(input in any_input()) {
        let o = breakeven(&input).unwrap();
        let parts = [o.capital_usd_per_year, o.maintenance_usd_per_year, o.idle_energy_usd_per_year,
            o.active_energy_usd_per_year, o.opportunity_usd_per_year];
        prop_assert!(parts.iter().all(|part| part.is_finite() && *part >= 0.0));
        prop_assert!((parts.iter().sum::<f64>() - o.total_usd_per_year).abs() <= 1e-9 * o.total_usd_per_year);
        prop_assert!(o.usd_per_million_tokens >= o.marginal_usd_per_million_tokens);
        let json = serde_json::to_string(&o).unwrap();
        prop_assert!(!json.contains("null") || o.breakeven.tokens_per_day.is_none());
        let back: Output = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(back.breakeven.reachable, o.breakeven.reachable);
    }

    #[test]
    fn owning_gets_worse_with_the_tariff_and_the_price_and_better_with_speed_and_what_the_api_asks(
        input in any_input(), more in 1.0..3.0f64,
    ) {
        let now = volume(&input);
        let slack = 1.0 + 1e-9;
        let dearer_power = Input { tariff_usd_per_kwh: input.tariff_usd_per_kwh * more, ..input };
        prop_assert!(volume(&dearer_power) * slack >= now);
        let dearer_card = Input { price_usd: input.price_usd * more, ..input };
        prop_assert!(volume(&dearer_card) * slack >= now);
        let dearer_api = Input { api_usd_per_million: input.api_usd_per_million * more, ..input };
        prop_assert!(volume(&dearer_api) <= now * slack);
        // Faster at the same power: fewer seconds for each token, so it pays from a smaller volume on.
        let faster = Input {
            tokens_per_second: input.tokens_per_second * more,
            prefill_tokens_per_second: input.prefill_tokens_per_second.map(|speed| speed * more),
            ..input
        };
        prop_assert!(volume(&faster) <= now * slack);
    }

    /// In another currency the same card pays from the same volume on.
    #[test]
    fn the_currency_does_not_matter(input in any_input(), rate in 0.01..100.0f64) {
        let other = Input {
            price_usd: input.price_usd * rate,
            tariff_usd_per_kwh: input.tariff_usd_per_kwh * rate,
            opportunity_usd_per_active_hour: input.opportunity_usd_per_active_hour * rate,
            api_usd_per_million: input.api_usd_per_million * rate,
            api_usd_per_million_input: input.api_usd_per_million_input.map(|price| price * rate),
            ..input
        };
        let (a, b) = (breakeven(&input).unwrap(), breakeven(&other).unwrap());
        prop_assert!((a.total_usd_per_year * rate - b.total_usd_per_year).abs() <= 1e-9 * b.total_usd_per_year);
        if let (Some(a), Some(b)) = (a.breakeven.tokens_per_day, b.breakeven.tokens_per_day) {
            // Near the pole the difference of two almost equal numbers loses digits.
            prop_assert!((a - b).abs() <= 1e-6 * b || a > 1e12);
        }
    }

    /// At the break-even both cost the same.
    #[test]
    fn at_the_break_even_the_bills_are_equal(input in any_input()) {
        if let Some(at) = breakeven(&input).unwrap().breakeven.utilisation.filter(|u| (1e-6..=1.0).contains(u)) {
            let there = breakeven(&Input { utilisation: at, ..input }).unwrap();
            let api = input.api_usd_per_million
                + input.input_output_ratio.unwrap_or(0.0) * input.api_usd_per_million_input.unwrap_or(0.0);
            prop_assert!((there.usd_per_million_tokens - api).abs() <= 1e-6 * api);
        }
    }
}
