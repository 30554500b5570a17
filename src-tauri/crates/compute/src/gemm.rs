//! Dense matrix products as sold: A·B of any sides up to [`tender_base::job::MAX_GEMM_SIDE`], of f32 or f16.

use crate::{Error, Output, Progress, device::Gpu, matmul::Matmul};
use tender_base::job::Precision;

/// Multiplies A (m × k) and B (k × n), which follow one another in `input`. Counts 2·m·k·n floating-point operations.
///
/// # Errors
/// [`Error::Invalid`] on an input of another length or with a number that is not finite, [`Error::BadOutput`] when the
/// product holds NaN or infinity although no sum can leave f32, [`Error::WrongAnswer`] when the adapter reads halves
/// wrongly, or whatever the GPU reports.
pub fn run(
    gpu: &Gpu,
    matmul: &Matmul,
    precision: Precision,
    (m, k, n): (u32, u32, u32),
    input: &[u8],
    progress: Progress<'_>,
) -> Result<Output, Error> {
    let size = precision.bytes() as usize;
    let (a_len, b_len) = (size * m as usize * k as usize, size * k as usize * n as usize);
    if input.len() != a_len + b_len {
        return Err(Error::Invalid(format!("the input has {} bytes, but m, k, n need {}", input.len(), a_len + b_len)));
    }
    let (a, b) = input.split_at(a_len);
    let bound = largest(precision, a)? * largest(precision, b)? * f64::from(k);
    if precision == Precision::F16 {
        matmul.known_answer(gpu, precision)?;
    }
    let c = matmul.multiply(gpu, precision, (m, k, n), (a, b), progress)?;
    // Above this bound an infinity may be the input's own.
    if bound < f64::from(f32::MAX) && c.iter().any(|x| !x.is_finite()) {
        return Err(Error::BadOutput("a finite input gave NaN or infinity".into()));
    }
    let units = 2 * u64::from(m) * u64::from(k) * u64::from(n);
    Ok(Output { bytes: bytemuck::cast_slice(&c).to_vec(), units })
}

/// The largest magnitude of a matrix.
fn largest(precision: Precision, matrix: &[u8]) -> Result<f64, Error> {
    let widened = |element: &[u8]| match (precision, element) {
        (Precision::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        (Precision::F16, &[a, b]) => half::f16::from_le_bytes([a, b]).to_f32(),
        _ => f32::NAN,
    };
    let mut largest = 0.0_f64;
    for element in matrix.chunks_exact(precision.bytes() as usize) {
        let value = widened(element);
        if !value.is_finite() {
            return Err(Error::Invalid("a matrix holds a value that is not a finite number".into()));
        }
        largest = largest.max(f64::from(value.abs()));
    }
    Ok(largest)
}
