//! The catalogue of kernels against its reference.

use crate::open;
use tender_base::kernel::{Kernel, KernelWork, NOT_A_NUMBER};
use tender_compute::{
    Gpu,
    kernels::{Kernels, reference},
};

/// Pseudo-random words, the same everywhere.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    fn below(&mut self, most: u32) -> u32 {
        self.next() % most
    }

    /// Roughly normal, times a power of two that differs from row to row.
    fn value(&mut self, scale: i32) -> f32 {
        let sum: f32 = (0..4).map(|_| self.next() as f32 / (1u32 << 31) as f32 - 0.5).sum();
        sum * 2f32.powi(scale)
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn call(seed: u64, parameters: [f32; 5]) -> Vec<u8> {
    [seed.to_le_bytes().to_vec(), bytes(&parameters)].concat()
}

fn input(words: &mut Words, work: &KernelWork) -> Vec<u8> {
    match work.name {
        Kernel::MonteCarloPi => u64::from(words.next()).to_le_bytes().to_vec(),
        Kernel::MonteCarloCall => call(u64::from(words.next()) << 7, [100.0, 105.0, 0.03, 0.2, 1.5]),
        _ => {
            let mut values = Vec::new();
            let columns = work.columns as usize;
            while values.len() < work.units() as usize {
                let (scale, offset) = (words.below(12) as i32 - 6, words.value(3));
                values.extend((0..columns).map(|_| words.value(scale) + offset));
            }
            while 4 * values.len() < work.input_bytes() as usize {
                values.push(words.value(1));
            }
            bytes(&values)
        }
    }
}

/// Compares every row with the reference.
fn check(gpu: &Gpu, kernels: &mut Kernels, work: &KernelWork, input: &[u8]) {
    let out = kernels.run(gpu, work, input, None, &mut |_, _| {}).unwrap();
    assert_eq!(out.units, work.units());
    assert_eq!(out.bytes.len() as u64, work.output_bytes());
    for (row, got) in (0..).zip(out.bytes.chunks_exact(work.row_bytes() as usize)) {
        let expected = reference::row(work, input, row).unwrap();
        let show = |bytes: &[u8]| {
            bytes.chunks_exact(4).take(8).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>()
        };
        assert!(
            work.agree(input, row, got, &expected),
            "{work:?} row {row}: {:?} instead of {:?}",
            show(got),
            show(&expected)
        );
    }
}

#[test]
fn every_kernel_agrees_with_its_reference_on_shapes_small_prime_and_large() {
    let (gpu, _) = open();
    let mut kernels = Kernels::default();
    let mut words = Words(7);
    let fixed = [(1, 1), (1, 2), (3, 4), (300, 5), (257, 7), (7, 97), (2, 1021), (33, 1024), (3, 4099), (1, 65_536)];
    let random: Vec<(u32, u32)> = (0..12).map(|_| (1 + words.below(70), 1 + words.below(2500))).collect();
    for name in Kernel::ALL {
        for (rows, columns) in fixed.into_iter().chain(random.iter().copied()) {
            let work = KernelWork { name, rows, columns };
            let input = input(&mut words, &work);
            check(&gpu, &mut kernels, &work, &input);
        }
    }
}

#[test]
fn more_workgroups_than_one_dispatch_takes_are_run_in_slices() {
    let (gpu, _) = open();
    let work = KernelWork { name: Kernel::MonteCarloPi, rows: 70_000, columns: 5 };
    let input = 3u64.to_le_bytes();
    let mut seen = Vec::new();
    let out = Kernels::default().run(&gpu, &work, &input, None, &mut |done, total| seen.push((done, total))).unwrap();
    assert_eq!(seen.last(), Some(&(70_000, 70_000)));
    assert!(seen.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 65_535));
    for row in [0, 1, 34_999, 65_535, 65_536, 69_999] {
        assert_eq!(out.bytes[4 * row as usize..][..4], reference::row(&work, &input, row).unwrap());
    }
}

#[test]
fn chosen_rows_equal_the_whole_bit_for_bit() {
    let (gpu, _) = open();
    let mut kernels = Kernels::default();
    let mut words = Words(11);
    for name in Kernel::ALL {
        let work = KernelWork { name, rows: 40, columns: 333 };
        let input = input(&mut words, &work);
        let whole = kernels.run(&gpu, &work, &input, None, &mut |_, _| {}).unwrap();
        let parts = [39, 0, 17, 18, 5];
        let chosen = kernels.run(&gpu, &work, &input, Some(&parts), &mut |_, _| {}).unwrap();
        assert_eq!(chosen.units, 5 * 333);
        let row = work.row_bytes() as usize;
        for (part, got) in parts.iter().zip(chosen.bytes.chunks_exact(row)) {
            assert_eq!(got, &whole.bytes[*part as usize * row..][..row], "{name:?} row {part}");
        }
        let outside = kernels.run(&gpu, &work, &input, Some(&[40]), &mut |_, _| {}).unwrap_err();
        assert!(outside.to_string().contains("row 40"), "{outside}");
    }
}

#[test]
fn a_row_that_is_no_number_spoils_itself_alone() {
    let (gpu, _) = open();
    let mut kernels = Kernels::default();
    let mut words = Words(5);
    for name in Kernel::ALL.into_iter().filter(|name| !name.is_monte_carlo()) {
        for (at, value) in [(0, f32::NAN), (130, f32::INFINITY), (299, f32::NEG_INFINITY), (7, -f32::NAN)] {
            let work = KernelWork { name, rows: 5, columns: 300 };
            let mut input = input(&mut words, &work);
            input[4 * (2 * 300 + at)..][..4].copy_from_slice(&value.to_le_bytes());
            check(&gpu, &mut kernels, &work, &input);
            let out = kernels.run(&gpu, &work, &input, Some(&[2]), &mut |_, _| {}).unwrap();
            let expected = if name == Kernel::ArgMax { u32::MAX } else { NOT_A_NUMBER };
            assert!(out.bytes.chunks_exact(4).all(|b| b == expected.to_le_bytes()), "{name:?} {value}");
        }
    }
}

#[test]
fn extremes_and_equals_come_out_as_documented() {
    let (gpu, _) = open();
    let mut kernels = Kernels::default();
    let mut run = |name, row: &[f32]| {
        let work = KernelWork { name, rows: 1, columns: row.len() as u32 };
        kernels.run(&gpu, &work, &bytes(row), None, &mut |_, _| {}).unwrap().bytes
    };
    let floats =
        |bytes: Vec<u8>| bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>();
    assert_eq!(run(Kernel::ArgMax, &[1.0, 7.0, 7.0, -3.0, 7.0]), 1u32.to_le_bytes());
    assert_eq!(run(Kernel::ArgMax, &[-0.0, 0.0]), 1u32.to_le_bytes());
    assert_eq!(run(Kernel::Max, &[1e-40, -1.0]), 1e-40f32.to_le_bytes(), "subnormal numbers are not lost");
    assert_eq!(run(Kernel::Min, &[f32::MAX, f32::MIN, 0.0]), f32::MIN.to_le_bytes());
    // Neither overflow nor a sum of zeros.
    let softmax = floats(run(Kernel::Softmax, &[3e38, -3e38, 3e38]));
    assert_eq!(softmax, [0.5, 0.0, 0.5]);
    assert_eq!(floats(run(Kernel::Sum, &[3e38, 3e38])), [f32::INFINITY]);
    // A large mean does not swallow a small deviation: naive Σx² − (Σx)² gives 0 or worse.
    let work = KernelWork { name: Kernel::LayerNorm, rows: 1, columns: 512 };
    let row: Vec<f32> = (0..512).map(|i| 4096.0 + (i % 2) as f32).collect();
    let input = bytes(&[row, vec![1.0; 512], vec![0.0; 512]].concat());
    let normal = floats(kernels.run(&gpu, &work, &input, None, &mut |_, _| {}).unwrap().bytes);
    assert!(normal.iter().all(|x| (x.abs() - 1.0).abs() < 1e-3), "{:?}", &normal[..4]);
}

#[test]
fn monte_carlo_finds_pi_and_the_price_of_black_and_scholes() {
    let (gpu, _) = open();
    let mut kernels = Kernels::default();
    let paths = 64 * 16_384;
    let work = KernelWork { name: Kernel::MonteCarloPi, rows: 64, columns: 16_384 };
    let out = kernels.run(&gpu, &work, &42u64.to_le_bytes(), None, &mut |_, _| {}).unwrap();
    let inside: u32 = out.bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).sum();
    let pi = 4.0 * f64::from(inside) / f64::from(paths);
    // Five standard deviations of 1.64 / √paths.
    assert!((pi - std::f64::consts::PI).abs() < 5.0 * 1.64 / f64::from(paths).sqrt(), "{pi}");

    let work = KernelWork { name: Kernel::MonteCarloCall, ..work };
    let input = call(9, [100.0, 105.0, 0.05, 0.2, 1.0]);
    let out = kernels.run(&gpu, &work, &input, None, &mut |_, _| {}).unwrap();
    let (mut sum, mut squares) = (0.0, 0.0);
    for block in out.bytes.chunks_exact(8) {
        sum += f64::from(f32::from_le_bytes(block[..4].try_into().unwrap()));
        squares += f64::from(f32::from_le_bytes(block[4..].try_into().unwrap()));
    }
    let (mean, n) = (sum / f64::from(paths), f64::from(paths));
    let deviation = ((squares / n - mean * mean) / n).sqrt();
    // Black and Scholes: d₁ = 0.10604917, d₂ = −0.09395083, so 100·Φ(d₁) − 105·e^(−0.05)·Φ(d₂).
    assert!((mean - 8.021_352).abs() < 5.0 * deviation, "{mean} ± {deviation}");
    assert!(deviation < 0.02, "{deviation}");
}

#[test]
fn parameters_out_of_range_are_named() {
    let (gpu, _) = open();
    let mut kernels = Kernels::default();
    let mut refused = |name, input: &[u8]| {
        let work = KernelWork { name, rows: 2, columns: 4 };
        kernels.run(&gpu, &work, input, None, &mut |_, _| {}).unwrap_err().to_string()
    };
    assert!(refused(Kernel::Sum, &[0; 28]).contains("has 28 bytes, but rows and columns need 32"));
    let good = [100.0, 105.0, 0.05, 0.2, 1.0];
    for (at, value, expected) in [
        (0, 0.0, "spot is 0"),
        (1, -1.0, "strike is -1"),
        (2, f32::NAN, "rate is NaN"),
        (3, 9.0, "volatility is 9"),
        (4, f32::INFINITY, "years is inf"),
    ] {
        let mut parameters = good;
        parameters[at] = value;
        let message = refused(Kernel::MonteCarloCall, &call(1, parameters));
        assert!(message.contains(expected), "{message}");
    }
    assert!(refused(Kernel::MonteCarloCall, &call(1, [1e9, 105.0, 1.0, 1.0, 40.0])).contains("above the limit"));
    let norm = bytes(&[&[1.0; 8][..], &[f32::NAN; 4]].concat());
    assert!(refused(Kernel::RmsNorm, &norm).contains("gain or shift"));
}
