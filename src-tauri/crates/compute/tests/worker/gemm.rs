//! Matrix products against f64.

use crate::open;
use tender_base::{Code, Problem};
use tender_compute::{
    Error, gemm,
    matmul::{Matmul, Tiling},
};

/// Values in [-1, 1) that look random and are the same everywhere.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
    .take(count)
    .collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn products_of_odd_shapes_match_f64_with_both_tilings() {
    let (gpu, _) = open();
    for tiling in [Tiling::Registers, Tiling::Shared] {
        let matmul = Matmul::with_tiling(&gpu, tiling);
        matmul.known_answer(&gpu).unwrap();
        for (m, k, n) in [(1, 1, 1), (1, 300, 1), (3, 5, 7), (64, 64, 64), (65, 17, 129), (200, 333, 70)] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let shape = (m as u32, k as u32, n as u32);
            let out =
                gemm::run(&gpu, &matmul, shape, &bytes(&[a.clone(), b.clone()].concat()), &mut |_, _| {}).unwrap();
            assert_eq!(out.units, 2 * (m * k * n) as u64);
            let c = floats(&out.bytes);
            assert_eq!(c.len(), m * n);
            for (at, got) in c.iter().enumerate() {
                let exact: f64 = (0..k).map(|d| f64::from(a[at / n * k + d]) * f64::from(b[d * n + at % n])).sum();
                assert!((f64::from(*got) - exact).abs() < 1e-5 * (k as f64).sqrt(), "{tiling:?} {shape:?} at {at}");
            }
        }
    }
}

#[test]
fn wrong_lengths_are_refused_and_overflow_is_the_inputs_own() {
    let (gpu, matmul) = open();
    let error = gemm::run(&gpu, &matmul, (2, 2, 2), &[0; 28], &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    assert_eq!(Problem::from(error).code, Code::Invalid);
    // 1e30 · 1e30 leaves f32: infinity is the right answer, not a fault.
    let out = gemm::run(&gpu, &matmul, (1, 1, 1), &bytes(&[1e30, 1e30]), &mut |_, _| {}).unwrap();
    assert_eq!(floats(&out.bytes), [f32::INFINITY]);
}

#[test]
fn progress_ends_at_the_total() {
    let (gpu, matmul) = open();
    let mut seen = Vec::new();
    let input = bytes(&values(2 * 256 * 256, 3));
    gemm::run(&gpu, &matmul, (256, 256, 256), &input, &mut |done, total| seen.push((done, total))).unwrap();
    assert_eq!(seen.last(), Some(&(16, 16)));
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
}
