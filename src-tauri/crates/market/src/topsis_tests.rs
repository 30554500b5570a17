use super::*;
use proptest::prelude::*;

/// The paper's six contractors: price, reliability, latency, security.
const CONTRACTORS: [[f64; 4]; 6] = [
    [18.5, 0.987, 8.2, 0.9787],
    [9.6, 0.912, 52.3, 0.9712],
    [6.2, 0.743, 38.7, 0.9543],
    [4.8, 0.856, 95.1, 0.9656],
    [22.4, 0.945, 12.8, 0.9745],
    [45.0, 0.892, 25.6, 0.9692],
];
const DIRECTIONS: [Direction; 4] = [Direction::Cost, Direction::Benefit, Direction::Cost, Direction::Benefit];

fn matrix(normalisation: Normalisation, correlation_penalty: f64) -> Matrix {
    let criteria = crate::weights::NAMES.iter().zip(DIRECTIONS).zip([0.4, 0.25, 0.2, 0.15]);
    Matrix {
        criteria: criteria
            .map(|((name, direction), weight)| Criterion { name: (*name).to_owned(), direction, weight })
            .collect(),
        alternatives: (0..)
            .zip(CONTRACTORS)
            .map(|(i, values)| MatrixRow { name: format!("contractor {i}"), values: values.to_vec() })
            .collect(),
        normalisation,
        correlation_penalty,
    }
}

fn close(found: &[f64], golden: &[f64]) {
    assert_eq!(found.len(), golden.len());
    assert!(found.iter().zip(golden).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?} is not {golden:?}");
}

fn scores(matrix: &Matrix) -> Vec<f64> {
    matrix.rank().unwrap().scores.iter().map(|score| score.closeness).collect()
}

#[test]
fn the_golden_values_of_two_libraries() {
    // pymcdm 1.4.0 and scikit-criteria 0.10.
    let vector = [0.709_530_220, 0.764_965_005, 0.834_021_153, 0.666_022_356, 0.627_338_471, 0.286_376_458];
    close(&scores(&matrix(Normalisation::Vector, 0.0)), &vector);
    let minmax = [0.763_898_344, 0.744_243_060, 0.575_691_261, 0.624_384_190, 0.675_808_393, 0.364_256_111];
    close(&scores(&matrix(Normalisation::Minmax, 0.0)), &minmax);
    // numpy's corrcoef.
    let weights = matrix(Normalisation::Vector, 0.3).rank().unwrap().weights;
    close(&weights, &[0.453_042_139, 0.210_914_259, 0.209_495_047, 0.126_548_555]);
}

#[test]
fn a_single_row_and_identical_rows_are_neither_good_nor_bad() {
    for normalisation in [Normalisation::Vector, Normalisation::Minmax] {
        let mut one = matrix(normalisation, 0.3);
        one.alternatives.truncate(1);
        assert_eq!(scores(&one), [0.5]);
        let mut same = matrix(normalisation, 0.3);
        same.alternatives.iter_mut().for_each(|row| row.values = vec![0.0, 1.0, -2.0, 3.0]);
        assert_eq!(scores(&same), [0.5; 6]);
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    type Spoil = fn(&mut Matrix);
    let cases: [(&str, Spoil); 11] = [
        ("criteria is empty", |m| m.criteria.clear()),
        ("alternatives is empty", |m| m.alternatives.clear()),
        ("alternatives[1].values (contractor 1) has 3", |m| m.alternatives[1].values.truncate(3)),
        ("alternatives[2].values[3] (contractor 2)", |m| m.alternatives[2].values[3] = f64::NAN),
        ("alternatives[0].values[0] (contractor 0)", |m| m.alternatives[0].values[0] = f64::INFINITY),
        ("alternatives[0].values[0] (contractor 0) is 2e150", |m| m.alternatives[0].values[0] = 2e150),
        ("criteria[1].weight (reliability) is -1", |m| m.criteria[1].weight = -1.0),
        ("criteria[1].weight (reliability) is inf", |m| m.criteria[1].weight = f64::INFINITY),
        ("every weight is 0", |m| m.criteria.iter_mut().for_each(|c| c.weight = 0.0)),
        ("correlation_penalty is 2", |m| m.correlation_penalty = 2.0),
        ("correlation_penalty is NaN", |m| m.correlation_penalty = f64::NAN),
    ];
    for (said, spoil) in cases {
        let mut spoilt = matrix(Normalisation::Vector, 0.0);
        spoil(&mut spoilt);
        let problem = spoilt.rank().unwrap_err();
        assert_eq!(problem.code, Code::Invalid);
        assert!(problem.message.contains(said), "{} does not say {said}", problem.message);
    }
}

#[test]
fn the_documented_json_is_read() {
    let text = r#"{"criteria":[{"name":"cost","direction":"cost","weight":2},
        {"name":"speed","direction":"benefit","weight":0}],
        "alternatives":[{"name":"a","values":[1,5]},{"name":"b","values":[2,9]}],
        "normalisation":"minmax","correlation_penalty":0.0}"#;
    let ranking = serde_json::from_str::<Matrix>(text).unwrap().rank().unwrap();
    let expected = r#"{"weights":[1.0,0.0],"scores":[{"name":"a","closeness":1.0},{"name":"b","closeness":0.0}]}"#;
    assert_eq!(serde_json::to_string(&ranking).unwrap(), expected);
}

fn cells(range: std::ops::Range<f64>) -> impl Strategy<Value = Vec<[f64; 4]>> {
    proptest::collection::vec([range.clone(), range.clone(), range.clone(), range], 2..12)
}

fn ranked(rows: &[[f64; 4]], normalisation: Normalisation) -> Vec<f64> {
    let mut topsis = Topsis::default();
    topsis.rank(rows.as_flattened(), &[0.4, 0.25, 0.2, 0.15], &DIRECTIONS, normalisation);
    topsis.closeness
}

proptest! {
    #[test]
    fn units_do_not_matter(rows in cells(0.1..1e3), scale in [1e-9..1e9f64, 1e-9..1e9, 1e-9..1e9, 1e-9..1e9]) {
        let scaled: Vec<[f64; 4]> = rows.iter().map(|row| std::array::from_fn(|c| row[c] * scale[c])).collect();
        for normalisation in [Normalisation::Vector, Normalisation::Minmax] {
            let (before, after) = (ranked(&rows, normalisation), ranked(&scaled, normalisation));
            prop_assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-9), "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_dominated_row_never_wins(rows in cells(0.1..1e3), worse in [0.0..10.0f64, 0.0..10.0, 0.0..10.0, 0.0..10.0]) {
        prop_assume!(worse.iter().any(|by| *by > 1e-6));
        let mut rows = rows;
        let [cost, reliability, latency, security] = rows[0];
        rows.push([cost + worse[0], reliability - worse[1], latency + worse[2], security - worse[3]]);
        for normalisation in [Normalisation::Vector, Normalisation::Minmax] {
            let closeness = ranked(&rows, normalisation);
            let dominated = closeness[rows.len() - 1];
            prop_assert!(dominated <= closeness[0] + 1e-12 && dominated < 1.0);
        }
    }

    #[test]
    fn never_nan(rows in cells(-1e150..1e150)) {
        for normalisation in [Normalisation::Vector, Normalisation::Minmax] {
            for closeness in ranked(&rows, normalisation) {
                prop_assert!((0.0..=1.0).contains(&closeness), "{closeness}");
            }
        }
    }
}
