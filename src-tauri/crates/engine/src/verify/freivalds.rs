//! Freivalds' check of C = A·B: for a random vector x of ±1, C·x = A·(B·x) holds for a true product, and a false row
//! escapes with probability ½ at most. Costs O(mk + kn + mn) per vector.
//!
//! What passes there may still be less precise than f32: its tolerance must cover every honest product. So some
//! elements are computed again, and held against what f32 makes of these very numbers.

use super::float;
use std::borrow::Cow;
use tender_base::{Code, Problem, Sha256, job::Precision};

/// Vectors worked on together, so that each matrix is read once: the sums of one row fill ten SSE2 registers.
const LANES: usize = 20;
/// Rows and columns whose crossings are computed again.
const SAMPLED: usize = 32;
/// Unit roundoff of f32, 2⁻²⁴.
const UNIT_ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;

/// The largest residual |C·x − A·(B·x)| over its tolerance, over all rows and vectors, or the error of sampled
/// elements over theirs ([`rounding`]) where that is more; at most 1 for honest f32 work.
///
/// All sums are f64. The tolerance of row i is
///
/// u·((2√k + 2)·‖aᵢ‖·‖B‖ + k·‖cᵢ‖), u = 2⁻²⁴, Euclidean and Frobenius norms.
///
/// The first term covers roundings that fall at random, however the partial sums run: an element's error has the
/// deviation √(k/3)·u·‖aᵢ‖·‖bⱼ‖ at most, the random signs of x add them in quadrature over the row, and twice that
/// square root is more than the largest of 20 × 4,096 such residuals in practice. The second covers roundings that
/// line up, as when a constant is added again and again: the deterministic bound k·u·|c|. A single false element is
/// seen whole, since its sign cannot cancel it. Operands of 16 bits change nothing: their products are exact in f32 and
/// summed there.
///
/// The vectors are the bits of SHA-256(seed ‖ "freivalds" ‖ counter as 8 bytes little-endian), least significant bit
/// first, column by column of B: element j of vector v is bit j·vectors + v, and a set bit is +1.
///
/// # Errors
/// [`Code::Invalid`] when A or B holds NaN or infinity: no honest product exists then.
pub(super) fn residual(
    [m, k, n]: [usize; 3],
    precision: Precision,
    input: &[u8],
    c: &[u8],
    seed: &Sha256,
    vectors: u32,
) -> Result<f64, Problem> {
    let input = match precision {
        Precision::F32 => Cow::Borrowed(input),
        Precision::F16 => input.chunks_exact(2).flat_map(|half| widened(half).to_le_bytes()).collect(),
    };
    let Some((a, b)) = input.split_at_checked(4 * m * k) else { return Err(not_a_product()) };
    if b.len() != 4 * k * n || c.len() != 4 * m * n {
        return Err(not_a_product());
    }
    let b_norm = norm(b);
    if !b_norm.is_finite() || !norm(a).is_finite() {
        return Err(Problem::new(
            Code::Invalid,
            "the input matrices hold a value that is not a finite number",
            "correct the input; no product of it can be checked",
        ));
    }
    let signs = signs(seed, n * vectors as usize);
    let root = (k as f64).sqrt();
    // A device may flush numbers below the smallest normal one to zero.
    let flushed = (k * n) as f64 * f64::from(f32::MIN_POSITIVE);
    let mut worst = 0.0f64;
    for first in (0..vectors as usize).step_by(LANES) {
        let lanes = LANES.min(vectors as usize - first);
        let x: Vec<[f64; LANES]> = (0..n)
            .map(|j| {
                let at = j * vectors as usize + first;
                std::array::from_fn(|lane| if lane < lanes { signs[at + lane] } else { 0.0 })
            })
            .collect();
        let bx: Vec<[f64; LANES]> = b.chunks_exact(4 * n).map(|row| product(row, &x)).collect();
        for (a_row, c_row) in a.chunks_exact(4 * k).zip(c.chunks_exact(4 * n)) {
            let (claimed, c_norm) = (product(c_row, &x), norm(c_row));
            let exact = product(a_row, &bx);
            let tolerance = UNIT_ROUNDOFF * ((2.0 * root + 2.0) * norm(a_row) * b_norm + k as f64 * c_norm) + flushed;
            for lane in 0..lanes {
                let ratio = (claimed[lane] - exact[lane]).abs() / tolerance;
                // NaN and infinity must not get lost in a comparison, nor leave JSON.
                if !ratio.is_finite() {
                    return Ok(f64::MAX);
                }
                worst = worst.max(ratio);
            }
        }
    }
    Ok(worst.max(rounding([m, k, n], a, b, c, seed)))
}

/// The errors of the claimed elements where [`SAMPLED`] rows and columns cross, each over what f32 may leave there, as
/// a root mean square.
///
/// What f32 may leave is 2·w + 2·u·‖aᵢ‖·‖bⱼ‖. For w, the element is summed in f32 from the first product to the last,
/// as Tender's kernels do, once with every product rounded and once fused (WGSL leaves that to the driver); w is how
/// far apart the largest and the smallest error of the partial sums lie, the larger of both. So an honest product of
/// Tender's kernels has ½ at most, whatever the numbers are. Sums in blocks, lanes or pairs err less, unless the
/// roundings of the plain sum cancel by chance, which takes numbers that repeat along k in the same way in all sampled
/// columns: of 200,000 such made-up sums, one in a thousand or fewer exceeded 1 in blocks and in 8 lanes or more, one in
/// 400 in halves of k that are summed apart, and one in 60 from the last product to the first.
///
/// Operands rounded to f16, or to the TF32 of tensor cores, leave an error of 66·u·‖aᵢ‖·‖bⱼ‖ at k = 4,096, and one
/// that falls with √k. What f32 leaves there, 11 of the same with numbers of one sign and 0.3 with numbers of both,
/// rises with √k or stays. So such products have 2.2 or more; where a part of the elements is rounded, 2.2 times the
/// root of that part: less than a fifth escapes.
///
/// Rows and columns are the first [`SAMPLED`] words of 32 bits of SHA-256(seed ‖ "rows" or "columns" ‖ counter) modulo
/// m and n, little-endian.
fn rounding([m, k, n]: [usize; 3], a: &[u8], b: &[u8], c: &[u8], seed: &Sha256) -> f64 {
    let (rows, columns) = (drawn(seed, b"rows", m), drawn(seed, b"columns", n));
    let sampled: Vec<[f32; SAMPLED]> =
        b.chunks_exact(4 * n).map(|row| columns.map(|column| float(row, column))).collect();
    let mut b_norms = [0.0; SAMPLED];
    for row in &sampled {
        b_norms.iter_mut().zip(row).for_each(|(sum, b)| *sum += f64::from(*b).powi(2));
    }
    let mut squares = 0.0;
    for row in rows {
        let a = &a[4 * k * row..][..4 * k];
        let mut exact = [0.0f64; SAMPLED];
        let (mut plain, mut fused) = ([0.0f32; SAMPLED], [0.0f32; SAMPLED]);
        // The smallest and the largest error of both so far.
        let (mut least, mut most) = ([[0.0f64; SAMPLED]; 2], [[0.0f64; SAMPLED]; 2]);
        for (d, b) in sampled.iter().enumerate() {
            let a = float(a, d);
            for j in 0..SAMPLED {
                let product = f64::from(a) * f64::from(b[j]);
                exact[j] += product;
                plain[j] += a * b[j];
                fused[j] = (f64::from(fused[j]) + product) as f32;
                for (order, sum) in [plain[j], fused[j]].into_iter().enumerate() {
                    let error = f64::from(sum) - exact[j];
                    least[order][j] = least[order][j].min(error);
                    most[order][j] = most[order][j].max(error);
                }
            }
        }
        let a_norm = norm(a);
        for j in 0..SAMPLED {
            let [plain, fused] = [0, 1].map(|order| most[order][j] - least[order][j]);
            let allowed = 2.0 * plain.max(fused)
                + 2.0 * UNIT_ROUNDOFF * a_norm * b_norms[j].sqrt()
                // A device may flush numbers below the smallest normal one to zero.
                + k as f64 * f64::from(f32::MIN_POSITIVE);
            squares += ((f64::from(float(c, n * row + columns[j])) - exact[j]) / allowed).powi(2);
        }
    }
    (squares / (SAMPLED * SAMPLED) as f64).sqrt()
}

/// Some of the numbers below `end`, drawn from the seed.
fn drawn(seed: &Sha256, what: &[u8], end: usize) -> [usize; SAMPLED] {
    const WORDS: usize = 8; // of a digest
    let digests: [Sha256; SAMPLED / WORDS] =
        std::array::from_fn(|counter| Sha256::of_parts(&[seed.bytes(), what, &(counter as u64).to_le_bytes()]));
    std::array::from_fn(|at| {
        let word = digests[at / WORDS].bytes()[at % WORDS * 4..].first_chunk();
        word.map_or(0, |word| u32::from_le_bytes(*word) as usize % end)
    })
}

/// One row of little-endian f32 times LANES columns.
fn product(row: &[u8], columns: &[[f64; LANES]]) -> [f64; LANES] {
    let mut sums = [0.0; LANES];
    for (bytes, column) in row.chunks_exact(4).zip(columns) {
        let value = f64::from(float(bytes, 0));
        for (sum, x) in sums.iter_mut().zip(column) {
            *sum += value * x;
        }
    }
    sums
}

/// The f32 of a little-endian f16; exact.
fn widened(half: &[u8]) -> f32 {
    let bits = half.first_chunk().map_or(0x7e00, |b| u32::from(u16::from_le_bytes(*b)));
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (bits >> 10 & 0x1f, bits & 0x3ff);
    // 2⁻²⁴ is the smallest subnormal number.
    let magnitude = match exponent {
        0 => fraction as f32 * f32::from_bits((127 - 24) << 23),
        0x1f if fraction == 0 => f32::INFINITY,
        0x1f => f32::NAN,
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    sign * magnitude
}

/// Euclidean norm; not finite when an element is not.
fn norm(bytes: &[u8]) -> f64 {
    bytes.chunks_exact(4).map(|b| f64::from(float(b, 0))).map(|value| value * value).sum::<f64>().sqrt()
}

fn signs(seed: &Sha256, count: usize) -> Vec<f64> {
    let mut signs = Vec::with_capacity(count + 256);
    for counter in 0u64.. {
        if signs.len() >= count {
            break;
        }
        let block = Sha256::of_parts(&[seed.bytes(), b"freivalds", &counter.to_le_bytes()]);
        for byte in block.bytes() {
            signs.extend((0..8).map(|bit| if byte >> bit & 1 == 1 { 1.0 } else { -1.0 }));
        }
    }
    signs
}

fn not_a_product() -> Problem {
    Problem::new(Code::Invalid, "the matrices do not have the declared sizes", "correct the job and submit it again")
}
