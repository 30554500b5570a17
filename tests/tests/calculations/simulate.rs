//! `tender simulate`.

use crate::{desk, file};
use serde_json::Value;
use std::fs;

const PRESETS: [&str; 9] =
    ["coalesce-paper", "coalesce-fixed", "tender", "lies", "bait", "outages", "shocks", "churn", "contention"];

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (folder, cli) = desk();
    let bytes = |seed: &str, report: &str| {
        let report = folder.path().join(report);
        let args = ["simulate", "--preset", "coalesce-paper", "--runs", "3", "--seed", seed, "--json", "--report"];
        let said = cli.run(&[&args[..], &[report.to_str().unwrap()]].concat());
        assert!(said.ok, "{}", said.err);
        (said.out, fs::read_to_string(report).unwrap())
    };
    let first = bytes("7", "a.html");
    assert_eq!(first, bytes("7", "b.html"));
    let other = cli.run(&["simulate", "--preset", "coalesce-paper", "--runs", "3", "--seed", "8", "--json"]);
    assert!(other.ok && first.0 != other.out);
    let page = first.1;
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg") && page.contains("<table"));
    assert!(!page.contains("http://") && !page.contains("https://"), "the page needs nothing from elsewhere");
}

#[test]
fn every_preset_has_its_rows() {
    let (_folder, cli) = desk();
    let help = cli.run(&["simulate", "--help"]).out;
    for preset in PRESETS {
        assert!(help.contains(&format!("  {preset} ")), "{preset} is not in the help");
        let said = cli.json(&["simulate", "--preset", preset, "--runs", "1"]);
        let rows = said["rows"].as_array().unwrap();
        assert_eq!(rows.len(), if preset == "contention" { 3 } else { 13 }, "{preset}");
        for field in [
            "id",
            "clients",
            "contractors",
            "days",
            "runs",
            "runs_ok",
            "cost_reduction_pct",
            "time_savings_pct",
            "outsourced_pct",
            "topsis_mean",
            "won_pct",
            "honest_saving_pct",
            "cheapest_saving_pct",
            "oracle_saving_pct",
        ] {
            assert!(rows.iter().all(|row| row.as_object().unwrap().contains_key(field)), "{preset} {field}");
        }
    }
    let text = cli.run(&["simulate", "--preset", "coalesce-paper", "--runs", "1"]).out;
    assert!(text.contains("dur_01") && text.contains("27.1 ± 10.2"), "what the paper says is beside it: {text}");
}

#[test]
fn policies_differ_and_the_oracle_is_best() {
    let (_folder, cli) = desk();
    let honest = |policy: &str| -> Vec<f64> {
        let said = cli.json(&["simulate", "--preset", "tender", "--runs", "2", "--policy", policy]);
        let saving = |row: &Value| row["honest_saving_pct"].as_f64().unwrap();
        said["rows"].as_array().unwrap().iter().map(saving).collect()
    };
    let (oracle, greedy, cheapest) = (honest("oracle"), honest("greedy"), honest("cheapest"));
    for ((oracle, greedy), cheapest) in oracle.iter().zip(&greedy).zip(&cheapest) {
        assert!(oracle >= greedy && greedy > cheapest, "{oracle} {greedy} {cheapest}");
    }
    for policy in ["epsilon=0.5", "graduated", "ucb1", "thompson"] {
        assert_ne!(honest(policy), greedy, "{policy}");
    }
}

#[test]
fn a_trace_takes_the_place_of_the_generator() {
    let (folder, cli) = desk();
    let mut trace = String::from("TIMESTAMP,ContextTokens,GeneratedTokens\n");
    for second in 0..60 {
        trace.push_str(&format!("2023-11-16 18:15:{second:02}.0000000,{},100\n", 100 + second));
    }
    let trace = file(&folder, "trace.csv", &trace);
    let args = ["simulate", "--preset", "tender", "--runs", "1"];
    assert_ne!(cli.json(&args), cli.json(&[&args[..], &["--trace", &trace]].concat()));
}

#[test]
fn wrong_input_is_refused_by_its_name() {
    let (folder, cli) = desk();
    let bad = file(&folder, "bad.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.0,-1,2\n");
    let other = file(&folder, "other.csv", "time;context;generated\n1;2;3\n");
    let unwritable = folder.path().join("no/such/folder/report.html");
    let unwritable = unwritable.to_str().unwrap();
    for (args, named) in [
        (vec!["--preset", "coalesce"], "preset \"coalesce\""),
        (vec!["--preset", "tender", "--policy", "best"], "best"),
        (vec!["--preset", "tender", "--policy", "epsilon=1.5"], "epsilon"),
        (vec!["--preset", "tender", "--policy", "epsilon=NaN"], "epsilon"),
        (vec!["--preset", "tender", "--policy", "paper"], "policy paper"),
        (vec!["--preset", "tender", "--runs", "0"], "runs is 0"),
        (vec!["--preset", "tender", "--runs", "1001"], "runs is 1001"),
        (vec!["--preset", "contention", "--policy", "greedy"], "contention"),
        (vec!["--preset", "tender", "--trace", &bad], "line 2 of the trace: ContextTokens"),
        (vec!["--preset", "tender", "--trace", &other], "line 1 of the trace"),
        (vec!["--preset", "coalesce-paper", "--trace", "no/such/trace.csv"], "no/such/trace.csv"),
        (vec!["--preset", "contention", "--runs", "1", "--report", unwritable], "report.html"),
    ] {
        let said = cli.fails(&[&["simulate"][..], &args].concat());
        assert!(said.contains(named), "{args:?}: {said}");
    }
    // What the shell's own syntax refuses names the option, too.
    for (value, option) in [("inf", "--runs"), ("-1", "--seed")] {
        let said = cli.run(&["simulate", "--preset", "tender", option, value]);
        assert!(!said.ok && said.err.contains(option), "{}", said.err);
    }
}
