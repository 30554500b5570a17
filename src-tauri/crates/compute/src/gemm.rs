//! Dense f32 matrix products as sold: A·B of any sides up to [`tender_base::job::MAX_GEMM_SIDE`].

use crate::{
    Error, Output, Progress,
    device::Gpu,
    matmul::{Matmul, Precision},
};

/// Multiplies A (m × k) and B (k × n), which follow one another in `input`. Counts 2·m·k·n floating-point operations.
///
/// # Errors
/// [`Error::Invalid`] on an input of another length, [`Error::BadOutput`] when a finite input gives NaN or infinity,
/// or whatever the GPU reports.
pub fn run(
    gpu: &Gpu,
    matmul: &Matmul,
    (m, k, n): (u32, u32, u32),
    input: &[u8],
    progress: Progress<'_>,
) -> Result<Output, Error> {
    let (a_len, b_len) = (m as usize * k as usize, k as usize * n as usize);
    if input.len() != 4 * (a_len + b_len) {
        return Err(Error::Invalid(format!(
            "the input has {} bytes, but m, k, n need {}",
            input.len(),
            4 * (a_len + b_len)
        )));
    }
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(input);
    let (a, b) = values.split_at(a_len);
    let bytes = (bytemuck::cast_slice(a), bytemuck::cast_slice(b));
    let c = matmul.multiply(gpu, Precision::F32, (m, k, n), bytes, progress)?;
    if c.iter().any(|x| !x.is_finite()) && values.iter().all(|x| x.is_finite()) && cannot_overflow(a, b, k) {
        return Err(Error::BadOutput("a finite input gave NaN or infinity".into()));
    }
    let units = 2 * u64::from(m) * u64::from(k) * u64::from(n);
    Ok(Output { bytes: bytemuck::cast_slice(&c).to_vec(), units })
}

/// Whether no sum can leave f32, so that an infinity is the machine's fault and not the input's.
fn cannot_overflow(a: &[f32], b: &[f32], k: u32) -> bool {
    let largest = |x: &[f32]| x.iter().fold(0.0_f64, |most, v| most.max(f64::from(v.abs())));
    largest(a) * largest(b) * f64::from(k) < f64::from(f32::MAX)
}
