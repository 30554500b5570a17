//! `tender breakeven`.

use crate::{desk, file, json};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The golden case: an RTX 4080 at $0.17 per kWh, active half of the time.
fn card(tokens_per_second: f64, api_usd_per_million: f64) -> Value {
    let golden = &json("src-tauri/crates/market/src/breakeven/golden.json")["golden_case"]["inputs"];
    let names = [
        ("price_usd", "price_usd"),
        ("resale_fraction", "residual_fraction"),
        ("lifetime_years", "life_years"),
        ("discount_rate", "interest_rate"),
        ("gpu_watts", "gpu_active_w"),
        ("host_watts", "host_marginal_active_w"),
        ("idle_watts", "gpu_idle_w"),
        ("psu_efficiency", "psu_efficiency"),
        ("cooling_overhead", "cooling_fraction"),
        ("maintenance_fraction", "maintenance_fraction_per_year"),
        ("tariff_usd_per_kwh", "tariff_usd_per_kwh"),
        ("opportunity_usd_per_active_hour", "opportunity_usd_per_active_hour"),
        ("utilisation", "utilisation"),
    ];
    let mut card = json!({"tokens_per_second": tokens_per_second, "api_usd_per_million": api_usd_per_million});
    for (ours, theirs) in names {
        card[ours] = golden[theirs].clone();
    }
    card
}

fn close(found: &Value, golden: &Value, what: &str) {
    let (found, golden) = (found.as_f64().unwrap(), golden.as_f64().unwrap());
    assert!((found - golden).abs() <= 1e-6 * golden.abs().max(1.0), "{what}: {found} is not {golden}");
}

#[test]
fn the_golden_values_by_the_command_line() {
    let golden = json("src-tauri/crates/market/src/breakeven/golden.json");
    let (folder, cli) = desk();
    let ask = |tokens: f64, api: f64| {
        cli.json(&["breakeven", "--input", &file(&folder, "card.json", &card(tokens, api).to_string())])
    };
    for (key, tokens) in [("outputs_single_stream", 106.22), ("outputs_batched", 600.0)] {
        let (case, said) = (&golden["golden_case"], ask(tokens, 0.3));
        for (ours, theirs) in [
            ("capital_usd_per_year", "capital_recovery_yr"),
            ("maintenance_usd_per_year", "maintenance_yr"),
            ("idle_energy_usd_per_year", "idle_energy_yr"),
            ("active_energy_usd_per_year", "active_energy_yr"),
            ("opportunity_usd_per_year", "opportunity_yr"),
            ("total_usd_per_year", "total_yr"),
            ("usd_per_active_hour", "cost_per_active_hour"),
        ] {
            close(&said[ours], &case["outputs_common"][theirs], ours);
        }
        close(&said["usd_per_million_tokens"], &case[key]["usd_per_Mtok"], key);
        close(&said["marginal_usd_per_million_tokens"], &case[key]["marginal_usd_per_Mtok"], key);
        assert!(said["why"][0]["inputs"].as_array().unwrap().len() > 5, "{said}");
    }
    for row in golden["breakeven_table"].as_array().unwrap() {
        for (key, tokens) in [("at_106.22_tok_s", 106.22), ("at_600_tok_s", 600.0)] {
            let said = ask(tokens, row["api_usd_per_Mtok"].as_f64().unwrap());
            let (found, wanted) = (&said["breakeven"], &row[key]);
            if wanted["tokens_per_day"].is_null() {
                assert_eq!((&found["tokens_per_day"], &found["utilisation"]), (&Value::Null, &Value::Null));
                assert_eq!(found["reachable"], false);
                assert!(found["why"].as_str().unwrap().starts_with(wanted["why"].as_str().unwrap()), "{found}");
            } else {
                close(&found["tokens_per_day"], &wanted["tokens_per_day"], key);
                close(&found["utilisation"], &wanted["utilisation"], key);
                assert_eq!(found["reachable"], wanted["reachable"]);
            }
        }
    }
}

#[test]
fn the_preset_shows_the_claim_its_history_and_every_cost() {
    let (folder, cli) = desk();
    let said = cli.json(&["breakeven", "--preset", "seed 004"]);
    assert_eq!(said["breakeven"]["tokens_per_day"], Value::Null);
    let preset = &said["preset"];
    close(&preset["as_claimed"]["breakeven"]["tokens_per_day"], &json!(9_124_809.741_248_097), "as claimed");
    assert_eq!(preset["claimed_tokens_per_day"], 9_100_000.0);
    // Its input is a file for --input, and gives the same.
    let again = cli.json(&["breakeven", "--input", &file(&folder, "card.json", &preset["input"].to_string())]);
    assert_eq!(again["total_usd_per_year"], said["total_usd_per_year"]);
    let text = cli.run(&["breakeven", "--preset", "seed 004"]).out;
    assert!(text.contains("342 combinations") && text.contains("with every cost") && text.contains("never a rule"));
    assert!(cli.fails(&["breakeven", "--preset", "seed 005"]).contains("preset"));
}

/// Sixty days in a German spreadsheet's dialect; at weekends there is no use, and one model cannot be replaced.
fn bill(usd_per_day: f64) -> String {
    let mut csv = String::from("\u{feff}Date;Model;Prompt tokens;Completion tokens;Cost (USD)\r\n");
    for day in 0..60 {
        let (month, date) = (8 + day / 30, 1 + day % 30);
        if day % 7 >= 5 {
            continue;
        }
        let usd = format!("{:.2}", usd_per_day * (1.0 + f64::from(day % 5) / 10.0)).replace('.', ",");
        let _ = write!(csv, "{date:02}.{month:02}.2026;small;2.000.000;4.000.000;{usd}\r\n");
        let _ = write!(csv, "{date:02}.{month:02}.2026;vision;1.000;1.000;0,50\r\n");
    }
    csv
}

#[test]
fn a_bill_compares_cards_rent_and_the_api_with_intervals_flip_and_regret() {
    let (folder, cli) = desk();
    let (dear, cheap) = (file(&folder, "dear.csv", &bill(8.0)), file(&folder, "cheap.csv", &bill(0.2)));
    let mut card = card(106.22, 1.0);
    card["prefill_tokens_per_second"] = json!(5_065.0);
    let card = file(&folder, "card.json", &card.to_string());
    let base = ["breakeven", "--input", &card, "--usage"];
    let rent = ["--rent-price", "0.25", "--rent-speed", "100", "--rent-prefill", "4000", "--stands-in-for", "small"];
    let ask = |bill: &str| cli.json(&[&base[..], &[bill], &rent[..]].concat());

    let said = ask(&dear);
    let all = said["alternatives"].as_array().unwrap();
    let names: Vec<(&str, Option<u64>)> =
        all.iter().map(|one| (one["choice"].as_str().unwrap(), one["cards"].as_u64())).collect();
    let buy = |cards| ("buy", Some(cards));
    assert_eq!(names, [("api", None), buy(1), buy(2), buy(3), buy(4), ("rent", None)]);
    for one in all {
        let usd = one["usd_per_year"].as_f64().unwrap();
        let (low, high) = (one["interval"]["low"].as_f64().unwrap(), one["interval"]["high"].as_f64().unwrap());
        assert!(low <= usd && usd <= high && one["why"]["inputs"].is_array(), "{one}");
    }
    assert_eq!((said["recommended"]["choice"].as_str(), said["recommended"]["cards"].as_u64()), (Some("buy"), Some(1)));
    let flip = said["flip_utilisation"].as_f64().unwrap();
    assert!(flip > 0.0 && flip < 1.0, "{flip}");
    // What the other model costs is left out.
    let days = said["days"].as_f64().unwrap();
    let spent: f64 = said["months"].as_array().unwrap().iter().map(|month| month["usd"][0].as_f64().unwrap()).sum();
    assert!((all[0]["usd_per_year"].as_f64().unwrap() - spent / days * 365.0).abs() < 1e-6);
    let months = said["months"].as_array().unwrap();
    assert_eq!((months.len(), months[0]["month"].as_str()), (2, Some("2026-08")));
    assert!(months.iter().all(|month| month["regret_usd"].as_f64().unwrap() > 0.0), "{months:?}");
    assert_eq!(said["regret_why"].as_array().unwrap().len(), 2);
    assert_eq!(said["bill"]["models"], json!(["small", "vision"]));
    assert_eq!(said, ask(&dear), "the same seed, the same intervals");

    assert_eq!(ask(&cheap)["recommended"]["choice"], "api");
    let text = cli.run(&["breakeven", "--preset", "seed 004", "--usage", &dear]).out;
    for part in ["all of: small, vision", "--stands-in-for", "buy 4 cards", "Advice: ", "2026-08", "regret of the API"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let unknown = cli.fails(&[&base[..], &[&dear, "--stands-in-for", "large"]].concat());
    assert!(unknown.contains("models: large"), "{unknown}");
}

#[test]
fn a_wrong_card_is_refused_by_its_field() {
    let (folder, cli) = desk();
    for (field, value) in [
        ("utilisation", json!(1.01)),
        ("utilisation", json!(0.0)),
        ("tokens_per_second", json!(0)),
        ("price_usd", json!(-1)),
        ("psu_efficiency", json!("good")),
        ("discount_rate", Value::Null),
        ("cards", json!(0)),
        ("input_output_ratio", json!(3)),
        ("gpu_wats", json!(320)),
    ] {
        let mut card = card(100.0, 0.3);
        card[field] = value.clone();
        let named = if field == "input_output_ratio" { "api_usd_per_million_input" } else { field };
        let said = cli.fails(&["breakeven", "--input", &file(&folder, "card.json", &card.to_string())]);
        assert!(said.contains(named), "{field} {value}: {said}");
    }
    // JSON knows no infinity; a number too large for a double stands for it.
    let infinite = card(100.0, 0.3).to_string().replace("1199.0", "1e999");
    let said = cli.fails(&["breakeven", "--input", &file(&folder, "card.json", &infinite)]);
    assert!(said.contains("price_usd: number out of range"), "{said}");
    assert!(cli.fails(&["breakeven", "--input", "no/such/card.json"]).contains("no/such/card.json"));
}

#[test]
fn a_wrong_bill_is_refused_by_line_and_field() {
    let (folder, cli) = desk();
    let head = "date,model,input_tokens,output_tokens,cost\n2026-11-01,m,1,1,1\n";
    let refused = |text: &str, more: &[&str]| {
        let bill = file(&folder, "bill.csv", text);
        cli.fails(&[&["breakeven", "--preset", "seed 004", "--usage", &bill][..], more].concat())
    };
    for (line, named) in [
        ("2999-01-01,m,1,1,1", "line 3, date: 2999-01-01"),
        ("03/04/2026,m,1,1,1", "line 3, date: 03/04/2026"),
        ("2026-11-02,m,-1,1,1", "line 3, input tokens: -1"),
        ("2026-11-02,m,1,inf,1", "line 3, output tokens: inf"),
        ("2026-11-02,m,1,1,NaN", "line 3, cost: NaN"),
        ("2026-11-02,m,1,1,-0.1", "line 3, cost: -0.1"),
        ("2026-11-02,m,1,1", "line 3: 4 cells"),
    ] {
        let said = refused(&format!("{head}{line}\n"), &[]);
        assert!(said.contains(named), "{line}: {said}");
    }
    assert!(refused("a file without columns", &[]).contains("line 1"));
    assert!(refused("date,model,tokens,output_tokens,cost\n", &[]).contains("the input tokens"));
    assert!(refused("date,model,input_tokens,output_tokens,cost_eur\n2026-11-01,m,1,1,1\n", &[]).contains("cost_eur"));
    assert!(refused(&head.replace(",1,1,1", ",0,0,0"), &[]).contains("no tokens"));
    assert!(refused(head, &["--busy-hours", "25"]).contains("busy-hours"));
    assert!(refused(head, &["--busy-hours", "inf"]).contains("busy-hours"));
    assert!(refused(head, &["--rent-price", "-1", "--rent-speed", "1"]).contains("rent.usd_per_hour"));
}

#[test]
fn the_help_lists_every_field() {
    let (_folder, cli) = desk();
    let help = cli.run(&["breakeven", "--help"]).out;
    let fields = card(1.0, 1.0);
    let optional = ["api_usd_per_million_input", "input_output_ratio", "prefill_tokens_per_second", "cards"];
    for field in fields.as_object().unwrap().keys().map(String::as_str).chain(optional) {
        assert!(help.contains(field), "{field}");
    }
    assert!(help.contains("seed 004"));
}
