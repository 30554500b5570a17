//! The catalogue in plain Rust and f64: what the GPU's results are compared with.

use super::{
    float,
    monte_carlo::{Call, seed},
};
use crate::Error;
use tender_base::kernel::{Kernel, KernelWork, NORM_EPSILON, NOT_A_NUMBER};

/// Row `row` of the output, in the layout of the output.
///
/// # Errors
/// [`Error::Invalid`] for parameters out of range.
pub fn row(work: &KernelWork, input: &[u8], row: u32) -> Result<Vec<u8>, Error> {
    if work.name.is_monte_carlo() {
        return monte_carlo(work, input, row);
    }
    let columns = work.columns as usize;
    let element = |index: usize| f64::from(float(input, index));
    let x: Vec<f64> = (0..columns).map(|column| element(row as usize * columns + column)).collect();
    let parameter = |vector: usize, column: usize| element((work.rows as usize + vector) * columns + column);
    if x.iter().any(|x| !x.is_finite()) {
        let bits = if work.name == Kernel::ArgMax { u32::MAX } else { NOT_A_NUMBER };
        return Ok(bits.to_le_bytes().repeat((work.row_bytes() / 4) as usize));
    }
    let n = columns as f64;
    let (sum, squares) = (x.iter().sum::<f64>(), x.iter().map(|x| x * x).sum::<f64>());
    let values = match work.name {
        Kernel::Mean => vec![sum / n],
        Kernel::Norm => vec![squares.sqrt()],
        Kernel::Max => x.iter().copied().max_by(f64::total_cmp).into_iter().collect(),
        Kernel::Min => x.iter().copied().min_by(f64::total_cmp).into_iter().collect(),
        Kernel::ArgMax => {
            // Of equals, `max_by` takes the last: the first from behind.
            let at = (0..columns).rev().max_by(|a, b| x[*a].total_cmp(&x[*b])).unwrap_or(0);
            return Ok((at as u32).to_le_bytes().to_vec());
        }
        Kernel::Softmax => {
            let most = x.iter().copied().fold(f64::MIN, f64::max);
            let total: f64 = x.iter().map(|x| (x - most).exp()).sum();
            x.iter().map(|x| (x - most).exp() / total).collect()
        }
        Kernel::LayerNorm => {
            let mean = sum / n;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let scale = 1.0 / (variance + f64::from(NORM_EPSILON)).sqrt();
            (0..columns).map(|c| (x[c] - mean) * scale * parameter(0, c) + parameter(1, c)).collect()
        }
        Kernel::RmsNorm => {
            let scale = 1.0 / (squares / n + f64::from(NORM_EPSILON)).sqrt();
            (0..columns).map(|c| x[c] * scale * parameter(0, c)).collect()
        }
        Kernel::Sum | Kernel::MonteCarloPi | Kernel::MonteCarloCall => vec![sum],
    };
    Ok(values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect())
}

fn monte_carlo(work: &KernelWork, input: &[u8], block: u32) -> Result<Vec<u8>, Error> {
    let seed = seed(input);
    let words = (0..work.columns).map(|path| philox([path / 4, block, 0, 0], seed)[(path % 4) as usize]);
    if work.name == Kernel::MonteCarloPi {
        let inside = |word: &u32| {
            let [x, y] = [word & 0x7fff, word >> 16 & 0x7fff].map(|v| u64::from(2 * v + 1).pow(2));
            x + y <= 1 << 32
        };
        // At most `columns`, so that it fits.
        return Ok((words.filter(inside).count() as u32).to_le_bytes().to_vec());
    }
    let call = Call::read(input)?;
    let (mut sum, mut squares) = (0.0, 0.0);
    for word in words {
        let z = normal((f64::from(word >> 9) + 0.5) / f64::from(1 << 23));
        let paid = call.discount * (call.start * (call.spread * z).exp() - call.strike).max(0.0);
        sum += paid;
        squares += paid * paid;
    }
    Ok([sum, squares].iter().flat_map(|value| (*value as f32).to_le_bytes()).collect())
}

/// Philox4x32-10: a block of the counter-based generator of Salmon, Moraes, Dror and Shaw (SC 2011).
#[must_use]
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    // The high and the low word.
    let multiply = |a: u32, b: u32| {
        let product = u64::from(a) * u64::from(b);
        [(product >> 32) as u32, product as u32]
    };
    for _ in 0..10 {
        let (x, z) = (multiply(0xD251_1F53, counter[0]), multiply(0xCD9E_8D57, counter[2]));
        counter = [z[0] ^ counter[1] ^ key[0], z[1], x[0] ^ counter[3] ^ key[1], x[1]];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// The normal quantile of u in [2⁻²⁴, 1 − 2⁻²⁴] after Wichura's AS 241, PPND7: about 10⁻⁷ off.
#[must_use]
pub fn normal(u: f64) -> f64 {
    let q = u - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * (((59.109_374_72 * r + 159.291_132_02) * r + 50.434_271_938) * r + 3.387_132_717_9)
            / (((67.187_563_6 * r + 78.757_757_664) * r + 17.895_169_469) * r + 1.0);
    }
    let r = (-(if q < 0.0 { u } else { 1.0 - u }).ln()).sqrt() - 1.6;
    q.signum() * (((0.170_238_211_03 * r + 1.306_728_481_6) * r + 2.756_815_39) * r + 1.423_437_277_7)
        / ((0.120_211_329_75 * r + 0.737_001_642_5) * r + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_known_answers() {
        // kat_vectors of Random123, "philox4x32 10".
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox(counter, key), expected);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (u, z) in [
            (0.5, 0.0),
            (0.75, 0.674_489_750_196),
            (0.975, 1.959_963_984_540),
            (0.001, -3.090_232_306_168),
            (1e-6, -4.753_424_308_822),
        ] {
            assert!((normal(u) - z).abs() < 6e-7, "{u}: {}", normal(u));
        }
    }
}
