//! Against independent libraries: pymcdm, scikit-criteria and mabwiser, pinned by hash in `tests/peers/economics`.
//! `cargo xtask test` and `cargo xtask peers` install them; without them this test fails and says so.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which clippy does not see as tests")]

use serde_json::{Value, json};
use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tender_base::Sha256;
use tender_market::{
    draws::Draws,
    explore::Ucb1,
    topsis::{Direction, Normalisation, Topsis},
};

const MATRICES: usize = 1000;
const BANDITS: usize = 100;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/peers/economics")
}

/// Where the packages are: beside the folder of the profile that built this test.
fn installed() -> PathBuf {
    let test = env::current_exe().unwrap();
    let packages = test.ancestors().nth(3).unwrap().join("peers/economics/python");
    let wanted = Sha256::of(&fs::read(scripts().join("python.txt")).unwrap()).to_string();
    let there = fs::read_to_string(packages.join(".tender-lock")).is_ok_and(|mark| mark.starts_with(&wanted));
    assert!(there, "the pinned packages are not in {}: run `cargo xtask peers`", packages.display());
    packages
}

fn ask(question: &Value) -> Value {
    let mut peers = Command::new("python3")
        .arg(scripts().join("peers.py"))
        .env("PYTHONPATH", installed())
        .env("PYTHONNOUSERSITE", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    peers.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = peers.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

struct Case {
    values: Vec<f64>,
    weights: Vec<f64>,
    directions: Vec<Direction>,
    normalisation: Normalisation,
}

/// 3 to 30 rows and 2 to 8 columns whose units lie up to twelve orders of magnitude apart.
fn case(draws: &mut Draws, i: usize) -> Case {
    let (rows, columns) = (3 + draws.below(28), 2 + draws.below(7));
    let units: Vec<f64> = (0..columns).map(|_| 10f64.powf(draws.between(-6.0, 6.0))).collect();
    let values = (0..rows * columns).map(|cell| draws.between(0.01, 1.0) * units[cell % columns]).collect();
    let drawn: Vec<f64> = (0..columns).map(|_| draws.between(0.05, 1.0)).collect();
    let sum: f64 = drawn.iter().sum();
    let direction = |_| if draws.uniform() < 0.5 { Direction::Cost } else { Direction::Benefit };
    let directions = (0..columns).map(direction).collect();
    let normalisation = if i.is_multiple_of(2) { Normalisation::Vector } else { Normalisation::Minmax };
    Case { values, weights: drawn.iter().map(|w| w / sum).collect(), directions, normalisation }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn furthest(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn topsis_and_ucb1_are_what_independent_libraries_compute() {
    let mut draws = Draws::new(2026, 0);
    let cases: Vec<Case> = (0..MATRICES).map(|i| case(&mut draws, i)).collect();
    let bandits: Vec<(Vec<u32>, Vec<f64>)> = (0..BANDITS)
        .map(|_| {
            let arms = 2 + draws.below(8);
            let counts = (0..arms).map(|_| 1 + draws.below(40) as u32).collect();
            (counts, (0..arms).map(|_| draws.uniform()).collect())
        })
        .collect();
    let said = ask(&json!({
        "matrices": cases.iter().map(|case| json!({
            "values": case.values.chunks(case.weights.len()).collect::<Vec<_>>(),
            "weights": case.weights,
            "directions": case.directions,
            "normalisation": case.normalisation,
        })).collect::<Vec<_>>(),
        "bandits": bandits.iter().map(|(counts, means)| json!({"counts": counts, "means": means})).collect::<Vec<_>>(),
    }));

    let (mut topsis, mut compared) = (Topsis::default(), [0; 2]);
    for (i, case) in cases.iter().enumerate() {
        topsis.rank(&case.values, &case.weights, &case.directions, case.normalisation);
        for (peer, name) in ["pymcdm", "skcriteria"].into_iter().enumerate() {
            if said[name][i].is_null() {
                continue;
            }
            let apart = furthest(&topsis.closeness, &numbers(&said[name][i]));
            assert!(apart < 1e-9, "matrix {i}: {apart} apart from {name}");
            compared[peer] += 1;
        }
    }
    assert_eq!(compared, [MATRICES, MATRICES / 2], "scikit-criteria has the vector norm only");

    for (i, (counts, means)) in bandits.iter().enumerate() {
        let total: u32 = counts.iter().sum();
        let bound = |(n, mean): (&u32, &f64)| Ucb1(1.0).bound(*mean, f64::from(*n), f64::from(total));
        let ours: Vec<f64> = counts.iter().zip(means).map(bound).collect();
        let apart = furthest(&ours, &numbers(&said["mabwiser"][i]));
        assert!(apart < 1e-9, "bandit {i}: {apart} apart from mabwiser");
    }
}
