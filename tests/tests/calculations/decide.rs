//! `tender decide`.

use crate::{desk, file};
use serde_json::{Value, json};

/// Six contractors of the COALESCE paper by cost, reliability, minutes and security.
fn matrix() -> Value {
    let rows = [
        [18.5, 0.987, 8.2, 0.9787],
        [9.6, 0.912, 52.3, 0.9712],
        [6.2, 0.743, 38.7, 0.9543],
        [4.8, 0.856, 95.1, 0.9656],
        [22.4, 0.945, 12.8, 0.9745],
        [45.0, 0.892, 25.6, 0.9692],
    ];
    let criteria =
        [("cost", "cost", 0.4), ("reliability", "benefit", 0.25), ("time", "cost", 0.2), ("security", "benefit", 0.15)];
    json!({
        "criteria": criteria.map(|(name, direction, weight)| json!({"name": name, "direction": direction, "weight": weight})),
        "alternatives": rows.iter().zip("BCDEFG".chars()).map(|(row, name)| json!({"name": name, "values": row})).collect::<Vec<_>>(),
    })
}

/// What pymcdm and scikit-criteria compute.
const VECTOR: [f64; 6] = [0.709_530_22, 0.764_965_005, 0.834_021_153, 0.666_022_356, 0.627_338_471, 0.286_376_458];
const MINMAX: [f64; 6] = [0.763_898_344, 0.744_243_06, 0.575_691_261, 0.624_384_19, 0.675_808_393, 0.364_256_111];
const ADJUSTED: [f64; 4] = [0.453_042_139, 0.210_914_259, 0.209_495_047, 0.126_548_555];

#[test]
fn the_golden_values_by_the_command_line() {
    let (folder, cli) = desk();
    let ask = |matrix: &Value| cli.json(&["decide", "--matrix", &file(&folder, "matrix.json", &matrix.to_string())]);
    for (normalisation, golden) in [("vector", VECTOR), ("minmax", MINMAX)] {
        let mut matrix = matrix();
        matrix["normalisation"] = json!(normalisation);
        let said = ask(&matrix);
        for ((score, golden), name) in said["scores"].as_array().unwrap().iter().zip(golden).zip("BCDEFG".chars()) {
            assert_eq!(score["name"], name.to_string(), "in the order of the matrix");
            assert!((score["closeness"].as_f64().unwrap() - golden).abs() < 1e-8, "{normalisation} {score}");
        }
        for (weight, stated) in said["weights"].as_array().unwrap().iter().zip([0.4, 0.25, 0.2, 0.15]) {
            assert!((weight.as_f64().unwrap() - stated).abs() < 1e-12, "{weight} is not {stated}");
        }
    }
    let mut correlated = matrix();
    correlated["correlation_penalty"] = json!(0.3);
    for (weight, golden) in ask(&correlated)["weights"].as_array().unwrap().iter().zip(ADJUSTED) {
        assert!((weight.as_f64().unwrap() - golden).abs() < 1e-8, "{weight} is not {golden}");
    }
    let text = cli.run(&["decide", "--matrix", &file(&folder, "matrix.json", &matrix().to_string())]).out;
    assert!(text.lines().nth(1).unwrap().starts_with('D'), "the closest comes first: {text}");
}

#[test]
fn a_wrong_matrix_is_refused_by_its_field() {
    let (folder, cli) = desk();
    for (pointer, value, named) in [
        ("/criteria", json!([]), "criteria is empty"),
        ("/alternatives", json!([]), "alternatives is empty"),
        ("/criteria/1/weight", json!(-0.1), "criteria[1].weight"),
        ("/criteria/0/direction", json!("less"), "criteria[0].direction"),
        ("/alternatives/2/values", json!([1, 2, 3]), "alternatives[2].values"),
        ("/alternatives/2/values/1", json!(1e200), "alternatives[2].values[1]"),
        ("/alternatives/2/values/1", Value::Null, "alternatives[2].values[1]"),
        ("/alternatives/2/name", json!(7), "alternatives[2].name"),
    ] {
        let mut matrix = matrix();
        *matrix.pointer_mut(pointer).unwrap() = value.clone();
        let said = cli.fails(&["decide", "--matrix", &file(&folder, "matrix.json", &matrix.to_string())]);
        assert!(said.contains(named), "{pointer} {value}: {said}");
    }
    for (field, value) in [("normalisation", json!("max")), ("correlation_penalty", json!(1.5)), ("weigths", json!([]))]
    {
        let mut matrix = matrix();
        matrix[field] = value;
        let said = cli.fails(&["decide", "--matrix", &file(&folder, "matrix.json", &matrix.to_string())]);
        assert!(said.contains(field), "{field}: {said}");
    }
    let mut worthless = matrix();
    for i in 0..4 {
        worthless["criteria"][i]["weight"] = json!(0);
    }
    assert!(
        cli.fails(&["decide", "--matrix", &file(&folder, "matrix.json", &worthless.to_string())])
            .contains("every weight")
    );
    let single = json!({"criteria": matrix()["criteria"], "alternatives": [{"name": "one", "values": [1, 1, 1, 1]}]});
    let said = cli.json(&["decide", "--matrix", &file(&folder, "matrix.json", &single.to_string())]);
    assert_eq!(said["scores"], json!([{"name": "one", "closeness": 0.5}]));
}
