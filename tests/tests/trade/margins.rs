//! How well the check of texts tells honest machines from cheats, from what `cargo xtask calibrate` recorded.

use serde::Deserialize;
use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};
use tender_base::{
    Sha256, Work,
    documents::{Evidence, Statistic},
    job::{GenerateWork, ModelRef, Sampling},
};
use tender_market::verification;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/calibration/margins.jsonl");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verification.md");
/// The recorded arms: name, what it is, and whether it is honest.
const ARMS: [(&str, &str, bool); 9] = [
    ("tender", "Tender, the judge's own kernels", true),
    ("candle", "candle on the CPU", true),
    ("llama_cpu", "llama.cpp on the CPU", true),
    ("llama_vulkan", "llama.cpp through Vulkan", true),
    ("two_bits", "weights of two bits instead of four", false),
    ("three_bits", "weights of three bits instead of four", false),
    ("two_layers_less", "another model: two of thirty layers left out", false),
    ("replaced", "two tokens of 32 replaced", false),
    ("truncated", "half the text, ended early", false),
];

#[derive(Deserialize)]
struct Line {
    arm: String,
    margins: Vec<Option<f64>>,
}

/// What was recorded of one arm.
#[derive(Default)]
struct Rates {
    texts: u32,
    caught: u32,
    mean: Vec<f64>,
    largest: f64,
}

fn work() -> Work {
    let model = ModelRef { name: "m".into(), sha256: Sha256::of(b"") };
    Work::Generate(GenerateWork { model, prompt_tokens: 1, max_tokens: 32, sampling: Sampling::GREEDY, stop: vec![] })
}

/// The verdict on a text with these margins, by the rules of the market.
fn is_caught(margins: &[f64]) -> bool {
    let found = |statistic, value| Evidence { statistic, value, n: margins.len() as u32, seed: Sha256::of(b"") };
    let evidence = [
        found(Statistic::ConsistentText, 1.0),
        found(Statistic::MeanMargin, margins.iter().sum::<f64>() / margins.len() as f64),
        found(Statistic::MaxMargin, margins.iter().copied().fold(0.0, f64::max)),
    ];
    verification::verdict(&work(), &evidence).is_err()
}

/// The interval that holds a rate with 95 % confidence (Wilson 1927).
fn interval(hits: u32, of: u32) -> (f64, f64) {
    let (n, p, z) = (f64::from(of), f64::from(hits) / f64::from(of), 1.959_964);
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

fn rates() -> BTreeMap<String, Rates> {
    let mut arms: BTreeMap<String, Rates> = BTreeMap::new();
    for line in fs::read_to_string(FIXTURE).unwrap().lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        // What is no number was written as null: it counts as infinitely far.
        let margins: Vec<f64> = line.margins.iter().map(|m| m.unwrap_or(f64::MAX)).collect();
        let arm = arms.entry(line.arm).or_default();
        arm.texts += 1;
        arm.caught += u32::from(is_caught(&margins));
        arm.mean.push(margins.iter().sum::<f64>() / margins.len() as f64);
        arm.largest = margins.iter().copied().fold(arm.largest, f64::max);
    }
    arms
}

fn table(arms: &BTreeMap<String, Rates>) -> String {
    let mut out = String::from(
        "| who writes | texts | rejected | 95 % interval | mean margin, median and worst | largest margin |\n|---|---|---|---|---|---|\n",
    );
    for (name, what, _) in ARMS {
        let Some(arm) = arms.get(name) else { continue };
        let (low, high) = interval(arm.caught, arm.texts);
        let mut mean = arm.mean.clone();
        mean.sort_by(f64::total_cmp);
        let share = f64::from(arm.caught) / f64::from(arm.texts);
        writeln!(
            out,
            "| {what} | {} | {:.1} % | {:.1} to {:.1} % | {:.3}, {:.3} | {:.2} |",
            arm.texts,
            100.0 * share,
            100.0 * low,
            100.0 * high,
            mean[mean.len() / 2],
            mean[mean.len() - 1],
            arm.largest
        )
        .unwrap();
    }
    out
}

/// The table in the documentation is that of the fixture. `TENDER_WRITE_DOCS=1` writes it anew.
#[test]
fn the_documented_rates_are_those_of_the_fixture_and_honest_work_passes() {
    let arms = rates();
    let table = table(&arms);
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let (begin, end) = ("<!-- rates -->\n", "<!-- end of rates -->");
    let (before, rest) = document.split_once(begin).unwrap();
    let (inside, after) = rest.split_once(end).unwrap();
    if std::env::var_os("TENDER_WRITE_DOCS").is_some() {
        fs::write(Path::new(DOCUMENT), format!("{before}{begin}{table}{end}{after}")).unwrap();
    } else {
        assert_eq!(inside, table, "run it with TENDER_WRITE_DOCS=1");
    }
    let honest: (u32, u32) = ARMS
        .iter()
        .filter(|(_, _, honest)| *honest)
        .filter_map(|(name, ..)| arms.get(*name))
        .fold((0, 0), |sum, arm| (sum.0 + arm.caught, sum.1 + arm.texts));
    assert!(honest.1 >= 20, "the fixture is empty");
    let alarm = interval(honest.0, honest.1);
    assert!(alarm.1 < 0.05, "honest texts are rejected: {honest:?}, {alarm:?}");
    for (name, what, _) in ARMS.iter().filter(|(_, _, honest)| !honest) {
        let arm = arms.get(*name).unwrap_or_else(|| panic!("nothing is recorded of {what}"));
        assert!(interval(arm.caught, arm.texts).0 >= 0.9, "{what}: {} of {}", arm.caught, arm.texts);
    }
}

#[test]
fn intervals_are_wilsons() {
    let close = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() < 5e-4 && (b - d).abs() < 5e-4;
    // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    assert!(close(interval(81, 263), (0.2553, 0.3662)));
    assert!(close(interval(15, 148), (0.0624, 0.1605)));
    assert!(close(interval(0, 20), (0.0, 0.1611)));
    assert!(close(interval(1, 29), (0.0061, 0.1718)));
}
