//! Matrix products against f64.

use crate::open;
use tender_base::{Code, Problem, job::Precision};
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
        for precision in [Precision::F32, Precision::F16] {
            matmul.known_answer(&gpu, precision).unwrap();
        }
        for (m, k, n) in [(1, 1, 1), (1, 300, 1), (3, 5, 7), (64, 64, 64), (65, 17, 129), (200, 333, 70)] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let shape = (m as u32, k as u32, n as u32);
            let out = gemm::run(
                &gpu,
                &matmul,
                Precision::F32,
                shape,
                &bytes(&[a.clone(), b.clone()].concat()),
                &mut |_, _| {},
            )
            .unwrap();
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

/// Row `i` and column `j` of A·B in f64, for elements already rounded to their precision.
fn exact(a: &[f32], b: &[f32], (k, n): (usize, usize), (i, j): (usize, usize)) -> f64 {
    (0..k).map(|d| f64::from(a[i * k + d]) * f64::from(b[d * n + j])).sum()
}

#[test]
fn large_tiles_and_halves_match_f64_with_both_tilings() {
    let (gpu, _) = open();
    for tiling in [Tiling::Registers, Tiling::Shared] {
        let matmul = Matmul::with_tiling(&gpu, tiling);
        // The first is one of 17 × 16 large tiles; rows of tiles that are no multiple of a group among them.
        for (m, k, n) in [(2050, 37, 2048), (130, 70, 65), (1, 1, 1), (7, 129, 3)] {
            let (a, b) = (values(m * k, 5), values(k * n, 6));
            for precision in [Precision::F32, Precision::F16] {
                let halves = |x: &[f32]| x.iter().map(|v| half::f16::from_f32(*v)).collect::<Vec<_>>();
                let (a, b, bytes_a, bytes_b) = match precision {
                    Precision::F32 => (a.clone(), b.clone(), bytes(&a), bytes(&b)),
                    Precision::F16 => {
                        let rounded = |x: &[f32]| halves(x).iter().map(|h| h.to_f32()).collect::<Vec<_>>();
                        let raw = |x: &[f32]| halves(x).iter().flat_map(|h| h.to_le_bytes()).collect::<Vec<_>>();
                        (rounded(&a), rounded(&b), raw(&a), raw(&b))
                    }
                };
                let shape = (m as u32, k as u32, n as u32);
                let c = matmul.multiply(&gpu, precision, shape, (&bytes_a, &bytes_b), &mut |_, _| {}).unwrap();
                assert_eq!(c.len(), m * n);
                // Every element would be half a minute of f64.
                for at in (0..m * n).step_by((m * n / 20_000).max(1)).chain([m * n - 1]) {
                    let error = (f64::from(c[at]) - exact(&a, &b, (k, n), (at / n, at % n))).abs();
                    assert!(error < 1e-5 * (k as f64).sqrt(), "{tiling:?} {precision:?} {shape:?} at {at}: {error}");
                }
            }
        }
    }
}

/// The check of a delivered product allows what such a sum leaves; see `tender_engine::verify`.
#[test]
fn elements_are_summed_from_the_first_product_to_the_last() {
    let (gpu, _) = open();
    let (m, k, n) = (64, 4096, 64);
    for tiling in [Tiling::Registers, Tiling::Shared] {
        let matmul = Matmul::with_tiling(&gpu, tiling);
        let positive = |seed| values(m * k, seed).iter().map(|v| v.abs()).collect::<Vec<_>>();
        let (a, b) = (positive(5), positive(6));
        let shape = (m as u32, k as u32, n as u32);
        let c = matmul.multiply(&gpu, Precision::F32, shape, (&bytes(&a), &bytes(&b)), &mut |_, _| {}).unwrap();
        let (mut ours, mut theirs) = (0.0, 0.0);
        for (at, got) in c.iter().enumerate() {
            let (mut plain, mut fused) = (0.0f32, 0.0f32);
            for d in 0..k {
                let (a, b) = (a[at / n * k + d], b[d * n + at % n]);
                plain += a * b;
                fused = (f64::from(a) * f64::from(b) + f64::from(fused)) as f32;
            }
            let exact = exact(&a, &b, (k, n), (at / n, at % n));
            ours += (f64::from(*got) - exact).powi(2) / exact.powi(2);
            theirs += (f64::from(plain) - exact).powi(2) / exact.powi(2);
            assert!(*got == plain || *got == fused, "{tiling:?} at {at}: {got}, not {plain} or {fused}");
        }
        let unit = (c.len() as f64).sqrt() * f64::from(f32::EPSILON) / 2.0;
        println!("{tiling:?}: {:.1} unit roundoffs, plain sums {:.1}", ours.sqrt() / unit, theirs.sqrt() / unit);
    }
}

#[test]
fn wrong_lengths_are_refused_and_overflow_is_the_inputs_own() {
    let (gpu, matmul) = open();
    let error = gemm::run(&gpu, &matmul, Precision::F32, (2, 2, 2), &[0; 28], &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    assert_eq!(Problem::from(error).code, Code::Invalid);
    // 1e30 · 1e30 leaves f32: infinity is the right answer, not a fault.
    let out = gemm::run(&gpu, &matmul, Precision::F32, (1, 1, 1), &bytes(&[1e30, 1e30]), &mut |_, _| {}).unwrap();
    assert_eq!(floats(&out.bytes), [f32::INFINITY]);
    // What is not finite from the start has no product that could be checked.
    for (precision, input) in
        [(Precision::F32, bytes(&[f32::NAN, 1.0])), (Precision::F16, vec![0x00, 0x7c, 0x00, 0x3c])]
    {
        let error = gemm::run(&gpu, &matmul, precision, (1, 1, 1), &input, &mut |_, _| {}).unwrap_err();
        assert!(matches!(&error, Error::Invalid(why) if why.contains("finite")), "{error}");
    }
    // Subnormal halves are numbers like others.
    let out = gemm::run(&gpu, &matmul, Precision::F16, (1, 1, 1), &[0x02, 0x00, 0x00, 0x3c], &mut |_, _| {}).unwrap();
    assert_eq!(floats(&out.bytes), [2.0 * 2f32.powi(-24)]);
}

#[test]
fn progress_ends_at_the_total() {
    let (gpu, matmul) = open();
    let mut seen = Vec::new();
    let input = bytes(&values(2 * 256 * 256, 3));
    gemm::run(&gpu, &matmul, Precision::F32, (256, 256, 256), &input, &mut |done, total| seen.push((done, total)))
        .unwrap();
    assert_eq!(seen.last(), Some(&(16, 16)));
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
}
