//! What a kernel takes on this adapter, with proof in the same run that it computed what it should.

use crate::{
    Error,
    device::Gpu,
    kernels::{Kernels, reference},
    matmul::{Matmul, Product},
    pace::Pace,
    text::bench::{Bench, LLAMA3_8B_LAYERS},
};
use std::time::Instant;
use tender_base::{
    frames::Measurement,
    job::{MAX_GEMM_SIDE, Precision, Sampling},
    kernel::{Kernel, KernelWork},
};

/// Sides of measured products are multiples of this: nothing is padded, with tiles of either size.
const SIDE_STEP: u32 = 128;
/// Shortest stretch that is measured, in seconds: below, starting a submission and the clock count too much.
const STRETCH: f64 = 0.05;
/// A run that takes so many seconds is not repeated: what only a first run pays for, compilation, is lost in it.
const LONG: f64 = 2.0;
/// Vectors of the Freivalds check: a wrong row escapes with probability 2⁻⁸.
const VECTORS: usize = 8;
/// Rows of a kernel's output that are compared with the reference.
const CHECKED_ROWS: u32 = 16;
/// Passes of a large model that are measured together.
const PASSES: u32 = 32;
/// How tokens are drawn where that is measured: llama.cpp's defaults.
const DRAWN: Sampling = Sampling { temperature: 0.8, top_k: 40, top_p: 0.95, seed: 7 };

/// Floating-point operations, elements or tokens of one run, and its seconds. `passes` keeps the large model.
///
/// # Errors
/// [`Error::BadOutput`] when the result is wrong, [`Error::Invalid`] for a side that is not measured or sequences that
/// do not go together, [`Error::Declared`] for a shape outside the limits, or whatever the GPU reports.
pub fn measure(
    gpu: &Gpu,
    matmul: &Matmul,
    kernels: &mut Kernels,
    passes: &mut Option<Bench>,
    what: &Measurement,
) -> Result<(u64, f64), Error> {
    match what {
        Measurement::Gemm { side, precision } => {
            Ok((2 * u64::from(*side).pow(3), gemm(gpu, matmul, *side, *precision)?))
        }
        Measurement::Kernel { work } => Ok((work.units(), kernel(gpu, kernels, work)?)),
        Measurement::Decode8b { sequences } => decode(gpu, large(gpu, passes)?, *sequences, &Sampling::GREEDY),
        Measurement::Sampled8b { sequences } => decode(gpu, large(gpu, passes)?, *sequences, &DRAWN),
        Measurement::Prefill8b => {
            let model = large(gpu, passes)?;
            model.check(gpu, 1)?;
            Ok((u64::from(model.prefill_tokens()), model.prefill(gpu)?))
        }
    }
}

fn decode(gpu: &Gpu, model: &mut Bench, sequences: u32, sampling: &Sampling) -> Result<(u64, f64), Error> {
    model.check(gpu, sequences)?;
    let mut seconds = 0.0;
    for _ in 0..PASSES {
        seconds += model.decode(gpu, sequences, sampling)?;
    }
    Ok((u64::from(PASSES * sequences), seconds))
}

/// Llama 3 8B, brought when it is first asked for.
fn large<'a>(gpu: &Gpu, passes: &'a mut Option<Bench>) -> Result<&'a mut Bench, Error> {
    let model = match passes.take() {
        Some(model) => model,
        None => Bench::llama3_8b(gpu, LLAMA3_8B_LAYERS)?,
    };
    Ok(passes.insert(model))
}

/// Little-endian f32 from −1 to 1, the same on every machine.
#[must_use]
pub fn floats(count: usize, mut state: u32) -> Vec<u8> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // 24 bits are exact in f32.
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).flat_map(|_| next().to_le_bytes()).collect()
}

/// An input of the work that has an answer.
#[must_use]
pub fn input(work: &KernelWork) -> Vec<u8> {
    match work.name {
        Kernel::MonteCarloPi => 7u64.to_le_bytes().to_vec(),
        Kernel::MonteCarloCall => {
            // Spot, strike, rate, volatility, years.
            let parameters = [100.0f32, 105.0, 0.02, 0.2, 1.0];
            7u64.to_le_bytes().into_iter().chain(parameters.iter().flat_map(|p| p.to_le_bytes())).collect()
        }
        _ => floats((work.input_bytes() / 4) as usize, 1),
    }
}

fn gemm(gpu: &Gpu, matmul: &Matmul, side: u32, precision: Precision) -> Result<f64, Error> {
    if !(SIDE_STEP..=MAX_GEMM_SIDE).contains(&side) || !side.is_multiple_of(SIDE_STEP) {
        let message = format!("side is {side}, not a multiple of {SIDE_STEP} up to {MAX_GEMM_SIDE}");
        return Err(Error::Invalid(message));
    }
    let (a, b) = (matrix(side, precision, 1), matrix(side, precision, 2));
    let (on_a, on_b) = (matmul.constant(gpu, side, precision, &a), matmul.constant(gpu, side, precision, &b));
    // All zero: what no tile writes is wrong.
    let on_c = gpu.storage(4 * u64::from(side) * u64::from(side));
    gpu.check()?;
    let product = Product { a: &on_a, b: &on_b, bias: None, c: &on_c, m: side, k: side, n: side, gelu: false };
    let tiles = matmul.tiles(&product);
    let mut pace = Pace::new();
    // As it is sold: in slices after which a desktop is drawn.
    let mut sliced = || {
        let started = Instant::now();
        pace.run(0..tiles, |first, count| {
            gpu.submit(|encoder| matmul.record_tiles(gpu, encoder, &product, first, count))
        })?;
        Ok::<_, Error>(started.elapsed().as_secs_f64())
    };
    let mut seconds = sliced()?;
    if seconds < LONG {
        seconds = sliced()?;
    }
    if seconds < STRETCH {
        // A slice holds it several times over.
        let times = (STRETCH / seconds).ceil() as u32;
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        (0..times).for_each(|_| matmul.record(gpu, &mut encoder, &product));
        let commands = encoder.finish();
        gpu.submit(|_| {})?;
        let started = Instant::now();
        gpu.queue.submit([commands]);
        gpu.submit(|_| {})?;
        seconds = started.elapsed().as_secs_f64() / f64::from(times);
    }
    let c = gpu.read_head(&on_c, on_c.size())?;
    let residual =
        residual(side as usize, &widened(precision, &a), &widened(precision, &b), &widened(Precision::F32, &c));
    // Not a number is no small number.
    if residual <= 1.0 { Ok(seconds) } else { Err(wrong(&format!("a product is off by {residual} tolerances"))) }
}

/// A square matrix of elements of the precision.
fn matrix(side: u32, precision: Precision, seed: u32) -> Vec<u8> {
    let all = floats(side as usize * side as usize, seed);
    match precision {
        Precision::F32 => all,
        Precision::F16 => {
            let singles = all.chunks_exact(4).map(|e| e.try_into().map_or(0.0, f32::from_le_bytes));
            singles.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect()
        }
    }
}

fn widened(precision: Precision, bytes: &[u8]) -> Vec<f32> {
    match precision {
        Precision::F32 => bytemuck::pod_collect_to_vec(bytes),
        Precision::F16 => {
            let halves: Vec<u16> = bytemuck::pod_collect_to_vec(bytes);
            halves.into_iter().map(|bits| half::f16::from_bits(bits).to_f32()).collect()
        }
    }
}

/// The largest |C·x − A·(B·x)| over its tolerance, for vectors x of random signs (Freivalds 1977). All sums are f64;
/// the tolerance of a row is 2⁻²⁴·((2√k + 2)·‖aᵢ‖·‖B‖ + k·‖cᵢ‖), as in the check of a delivered product.
fn residual(side: usize, a: &[f32], b: &[f32], c: &[f32]) -> f64 {
    let mut state = 0x9e37_79b9_u32;
    let mut sign = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 31 == 0 { 1.0 } else { -1.0 }
    };
    let x: Vec<[f64; VECTORS]> = (0..side).map(|_| std::array::from_fn(|_| sign())).collect();
    let times = |row: &[f32], x: &[[f64; VECTORS]]| {
        let mut sum = [0.0; VECTORS];
        for (&element, x) in row.iter().zip(x) {
            sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += f64::from(element) * x);
        }
        sum
    };
    let norm = |row: &[f32]| row.iter().map(|&e| f64::from(e).powi(2)).sum::<f64>().sqrt();
    let bx: Vec<_> = b.chunks_exact(side).map(|row| times(row, &x)).collect();
    let (k, b_norm) = (side as f64, norm(b));
    let mut worst = 0.0f64;
    for (a, c) in a.chunks_exact(side).zip(c.chunks_exact(side)) {
        let tolerance = f64::from(f32::EPSILON) / 2.0 * ((2.0 * k.sqrt() + 2.0) * norm(a) * b_norm + k * norm(c));
        for (claimed, exact) in times(c, &x).into_iter().zip(times(a, &bx)) {
            let ratio = (claimed - exact).abs() / tolerance;
            if ratio.is_nan() {
                return f64::INFINITY;
            }
            worst = worst.max(ratio);
        }
    }
    worst
}

fn kernel(gpu: &Gpu, kernels: &mut Kernels, work: &KernelWork) -> Result<f64, Error> {
    work.check()?;
    let input = input(work);
    let mut run = || {
        let started = Instant::now();
        let output = kernels.run(gpu, work, &input, None, &mut |_, _| {})?;
        Ok::<_, Error>((started.elapsed().as_secs_f64(), output))
    };
    let (mut seconds, mut output) = run()?;
    if seconds < LONG {
        (seconds, output) = run()?;
    }
    let length = work.row_bytes() as usize;
    for at in 0..CHECKED_ROWS.min(work.rows) {
        // From the first to the last.
        let row = (u64::from(at) * u64::from(work.rows - 1) / u64::from(CHECKED_ROWS.min(work.rows) - 1).max(1)) as u32;
        let ours = output.bytes.get(row as usize * length..).and_then(|rest| rest.get(..length)).unwrap_or_default();
        if !work.agree(&input, row, ours, &reference::row(work, &input, row)?) {
            return Err(wrong(&format!("row {row} of {} is not the reference's", work.name.name())));
        }
    }
    Ok(seconds)
}

fn wrong(what: &str) -> Error {
    Error::BadOutput(format!("{what}; run `tender doctor`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_product_is_found() {
        let side = 64;
        let elements = |seed| -> Vec<f32> { bytemuck::pod_collect_to_vec(&floats(side * side, seed)) };
        let (a, b) = (elements(1), elements(2));
        let mut c: Vec<f32> = (0..side * side)
            .map(|at| (0..side).map(|d| a[at / side * side + d] * b[d * side + at % side]).sum())
            .collect();
        assert!(residual(side, &a, &b, &c) <= 1.0);
        for wrong in [0.0, f32::NAN] {
            let right = std::mem::replace(&mut c[side * side - 1], wrong);
            assert!(residual(side, &a, &b, &c) > 1.0, "{wrong}");
            c[side * side - 1] = right;
        }
    }
    #[test]
    fn what_is_measured_is_checked_on_the_adapter() {
        let gpu = Gpu::open().unwrap();
        let (matmul, mut kernels) = (Matmul::new(&gpu), Kernels::default());
        let mut measured = |what| measure(&gpu, &matmul, &mut kernels, &mut None, &what);
        for precision in [Precision::F32, Precision::F16] {
            let (units, seconds) = measured(Measurement::Gemm { side: 256, precision }).unwrap();
            assert_eq!(units, 2 << 24);
            assert!(seconds > 0.0);
        }
        for name in Kernel::ALL {
            let (units, seconds) =
                measured(Measurement::Kernel { work: KernelWork { name, rows: 3, columns: 200 } }).unwrap();
            assert_eq!(units, 600);
            assert!(seconds > 0.0);
        }
        let odd = Measurement::Gemm { side: 100, precision: Precision::F32 };
        assert!(matches!(measured(odd), Err(Error::Invalid(_))));
    }
}
