//! Recomputed parts beside the delivered ones.

use super::{Claim, float};
use tender_base::{
    Code, Problem,
    job::{Access, Element, WgslWork},
    kernel::KernelWork,
};

/// Values of one embedding.
pub(super) const DIMENSIONS: usize = 384;

/// Relative difference that two honest executions of an f32 kernel may show. WGSL allows transcendental functions
/// errors of a few to some thousand units in the last place (2⁻¹¹ relative for `tanh`, 2⁻²² for most), and drivers
/// contract and reorder; what a Monte-Carlo or physics kernel accumulates stays below 10⁻⁴. Half precision, the
/// cheapest way to cheat, is off by 5·10⁻⁴.
pub const RELATIVE_TOLERANCE: f32 = 1e-4;
/// The same for elements near zero, as a fraction of the largest element of the workgroup's slice: what cancellation
/// leaves over is noise of the operands, not of the result.
pub const ABSOLUTE_TOLERANCE: f32 = 1e-6;

/// The smallest similarity a·b / max(|a|², |b|²) of delivered and recomputed rows: the cosine for rows of the same
/// length, less for others, so that a scaled embedding does not pass. NaN or −1 when a row is no number or is zero.
pub(super) fn smallest_cosine(delivered: &[u8], again: &[u8], parts: &[u32]) -> Result<f64, Problem> {
    expect_length(again, parts.len() * DIMENSIONS * 4)?;
    let mut smallest = 1.0f64;
    for (position, part) in parts.iter().enumerate() {
        let (mut dot, mut theirs, mut ours) = (0.0f64, 0.0f64, 0.0f64);
        for d in 0..DIMENSIONS {
            let a = f64::from(float(delivered, *part as usize * DIMENSIONS + d));
            let b = f64::from(float(again, position * DIMENSIONS + d));
            dot += a * b;
            theirs += a * a;
            ours += b * b;
        }
        let similarity = dot / theirs.max(ours);
        // `min` would drop a NaN.
        smallest = if similarity.is_finite() { smallest.min(similarity) } else { -1.0 };
        if smallest <= -1.0 {
            break;
        }
    }
    Ok(smallest)
}

/// The fraction of `parts` whose delivered bytes agree with the recomputed ones.
pub(super) fn agreeing(kernel: &WgslWork, delivered: &[u8], again: &[u8], parts: &[u32]) -> Result<f64, Problem> {
    let bytes: usize = kernel.buffers.iter().filter(|b| b.access == Access::Write).map(|b| b.bytes as usize).sum();
    let slice = bytes / kernel.workgroups.max(1) as usize;
    expect_length(again, parts.len() * slice)?;
    let agree = |(position, part): &(usize, &u32)| {
        let theirs = delivered.get(**part as usize * slice..(**part as usize + 1) * slice);
        let ours = again.get(position * slice..(position + 1) * slice);
        match (theirs, ours, kernel.element) {
            (Some(theirs), Some(ours), Element::U32) => theirs == ours,
            (Some(theirs), Some(ours), Element::F32) => floats_agree(theirs, ours),
            _ => false,
        }
    };
    Ok(parts.iter().enumerate().filter(agree).count() as f64 / parts.len() as f64)
}

/// The fraction of `parts`, rows of a catalogue's kernel, whose delivered bytes agree with the recomputed ones.
pub(super) fn agreeing_rows(kernel: &KernelWork, claim: &Claim, again: &[u8], parts: &[u32]) -> Result<f64, Problem> {
    let length = kernel.row_bytes() as usize;
    expect_length(again, parts.len() * length)?;
    let agree = |(part, ours): &(&u32, &[u8])| {
        let theirs = claim.output.get(**part as usize * length..(**part as usize + 1) * length);
        theirs.is_some_and(|theirs| kernel.agree(&claim.input, **part, theirs, ours))
    };
    Ok(parts.iter().zip(again.chunks_exact(length)).filter(agree).count() as f64 / parts.len() as f64)
}

/// Element by element: the same bits, both not a number, or within the tolerances.
fn floats_agree(theirs: &[u8], ours: &[u8]) -> bool {
    let elements = ours.len() / 4;
    let largest = (0..elements).map(|i| float(ours, i).abs()).filter(|value| value.is_finite()).fold(0.0, f32::max);
    (0..elements).all(|i| {
        let (a, b) = (float(theirs, i), float(ours, i));
        a.to_bits() == b.to_bits()
            || (a.is_nan() && b.is_nan())
            || (a - b).abs() <= RELATIVE_TOLERANCE * b.abs() + ABSOLUTE_TOLERANCE * largest
    })
}

fn expect_length(again: &[u8], expected: usize) -> Result<(), Problem> {
    if again.len() == expected {
        return Ok(());
    }
    Err(Problem::new(
        Code::WorkFailed,
        format!("the own recomputation has {} bytes instead of {expected}", again.len()),
        "run `tender doctor`; the delivery could not be checked",
    ))
}
