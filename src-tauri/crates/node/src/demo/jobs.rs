//! The jobs of the demonstration: real documents, real matrices, a real simulation.

use crate::api::types::{SubmitBuffer, SubmitWork};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

/// The documents that are embedded.
const DOCUMENTS: [&str; 3] = [
    include_str!("../../../../../README.md"),
    include_str!("../../../../../LICENSE-MIT"),
    include_str!("../../../../../LICENSE-APACHE"),
];
/// Passages at most.
const MAX_PASSAGES: usize = 24;
/// A passage is a paragraph of at least this many characters: headings say too little.
const LEAST_PASSAGE: usize = 80;
/// Side of the matrices.
const SIDE: u32 = 512;
/// The Monte-Carlo kernel: 64 workgroups of 64 invocations, 500 points each.
const WORKGROUPS: u32 = 64;
const WORKGROUP_SIZE: u32 = 64;
const POINTS: u32 = 500;

/// A job and what its output says.
pub(super) struct DemoJob {
    pub(super) work: SubmitWork,
    /// One sentence about the output.
    pub(super) finding: fn(&[u8]) -> String,
}

pub(super) fn all() -> Vec<DemoJob> {
    vec![embed(), gemm(), monte_carlo()]
}

fn embed() -> DemoJob {
    DemoJob { work: SubmitWork::Embed { model: None, passages: passages() }, finding: nearest }
}

/// Paragraphs of the documents, in turn, so that each document is represented.
fn passages() -> Vec<String> {
    let paragraphs = |text: &str| -> Vec<String> {
        let joined = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
        joined.filter(|p| p.len() >= LEAST_PASSAGE).collect()
    };
    let documents: Vec<Vec<String>> = DOCUMENTS.iter().map(|text| paragraphs(text)).collect();
    let longest = documents.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|i| documents.iter().filter_map(move |d| d.get(i).cloned()));
    in_turn.take(MAX_PASSAGES).collect()
}

/// Which two passages are closest in meaning.
fn nearest(output: &[u8]) -> String {
    let vectors: Vec<Vec<f32>> = floats(output).chunks_exact(384).map(<[f32]>::to_vec).collect();
    let mut best = (0, 0, f32::MIN);
    for i in 0..vectors.len() {
        for j in i + 1..vectors.len() {
            let cosine = vectors[i].iter().zip(&vectors[j]).map(|(a, b)| a * b).sum();
            if cosine > best.2 {
                best = (i + 1, j + 1, cosine);
            }
        }
    }
    format!("{} passages; {} and {} are the closest (cosine {:.2})", vectors.len(), best.0, best.1, best.2)
}

/// The discrete cosine transform times its transpose: its product is the identity, so anyone can see that it is
/// right.
fn gemm() -> DemoJob {
    let n = SIDE as usize;
    let entry = |row: usize, column: usize| {
        let scale = if row == 0 { (1.0 / n as f64).sqrt() } else { (2.0 / n as f64).sqrt() };
        let angle = std::f64::consts::PI * (column as f64 + 0.5) * row as f64 / n as f64;
        (scale * angle.cos()) as f32
    };
    let transform = (0..n * n).map(|i| entry(i / n, i % n));
    let transposed = (0..n * n).map(|i| entry(i % n, i / n));
    let bytes: Vec<u8> = transform.chain(transposed).flat_map(f32::to_le_bytes).collect();
    let work = SubmitWork::Gemm { m: SIDE, k: SIDE, n: SIDE, precision: None, input_base64: BASE64.encode(bytes) };
    DemoJob { work, finding: distance_from_identity }
}

fn distance_from_identity(output: &[u8]) -> String {
    let n = SIDE as usize;
    let wrong = |(i, value): (usize, &f32)| (value - if i / n == i % n { 1.0 } else { 0.0 }).abs();
    let worst = floats(output).iter().enumerate().map(wrong).fold(0.0, f32::max);
    format!("{SIDE} × {SIDE} cosine transform times its transpose is the identity within {worst:.1e}")
}

/// Counts random points inside the quarter circle.
fn monte_carlo() -> DemoJob {
    let source = format!(
        "@group(0) @binding(0) var<storage, read_write> inside: array<u32>;

// PCG hash (Jarzynski and Olano, 2020).
fn next(state: ptr<function, u32>) -> f32 {{
    *state = *state * 747796405u + 2891336453u;
    let word = ((*state >> ((*state >> 28u) + 4u)) ^ *state) * 277803737u;
    return f32((word >> 22u) ^ word) / 4294967296.0;
}}

@compute @workgroup_size({WORKGROUP_SIZE})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
    var state = id.x * 9781u + 6271u;
    var hits = 0u;
    for (var i = 0u; i < {POINTS}u; i++) {{
        let x = next(&state);
        let y = next(&state);
        hits += select(0u, 1u, x * x + y * y < 1.0);
    }}
    inside[id.x] = hits;
}}
"
    );
    let work = SubmitWork::Wgsl {
        source,
        entry: "main".to_owned(),
        workgroups: WORKGROUPS,
        workgroup_size: WORKGROUP_SIZE,
        fuel: POINTS + 8,
        element: "u32".to_owned(),
        buffers: vec![SubmitBuffer { binding: 0, bytes: WORKGROUPS * WORKGROUP_SIZE * 4, data_base64: None }],
    };
    DemoJob { work, finding: pi }
}

fn pi(output: &[u8]) -> String {
    let words = output.chunks_exact(4).map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    let points = u64::from(WORKGROUPS * WORKGROUP_SIZE * POINTS);
    let estimate = 4.0 * words.sum::<u64>() as f64 / points as f64;
    // Standard deviation of the estimate: 4·√(p(1 − p)/points) with p = π/4.
    format!("π is about {estimate:.4} ± {:.4} from {points} random points", 1.6422 / (points as f64).sqrt())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_come_from_every_document_and_stay_within_the_limit() {
        let passages = passages();
        assert!(passages.len() == MAX_PASSAGES, "{}", passages.len());
        assert!(passages.iter().any(|p| p.contains("Permission is hereby granted")));
    }
}
