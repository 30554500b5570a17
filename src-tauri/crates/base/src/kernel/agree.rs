//! When two executions of a kernel gave the same row.
//!
//! With f = 2⁻²³·(columns / 256 + 24), which bounds what two trees of sums may differ by, relative to the sum of
//! magnitudes (an invocation adds columns / 256 numbers at most, or 8, and a tree of 8 levels follows):
//!
//! | kernel | elements a, b are the same when |
//! |---|---|
//! | `max`, `min`, `arg_max`, `monte_carlo_pi` | their bits are |
//! | `sum`, `mean` | \|a − b\| ≤ f·Σ\|x\|, f·Σ\|x\| / columns |
//! | `norm`, `rms_norm` | \|a − b\| ≤ f·\|b\| |
//! | `softmax` | \|a − b\| ≤ 10⁻⁴·\|b\| + 10⁻³⁰: WGSL allows exp(−88) an error of 180 units in the last place |
//! | `layer_norm` | \|a − b\| ≤ f·(max\|x\|·\|gain\| / √(variance + ε) + \|shift\|), since x − mean cancels |
//! | `monte_carlo_call` | \|a − b\| ≤ 10⁻⁴·\|b\| + 10⁻⁶·paths·spot, for the squares 2·10⁻⁴·\|b\| + 10⁻⁶·paths·spot² |
//!
//! Half precision, the cheapest way to cheat, is off by 5·10⁻⁴. Not a number agrees with not a number only.

use super::{Kernel, KernelWork, NORM_EPSILON};

impl KernelWork {
    /// Whether row `row` of two outputs agrees. `input` is the whole input, `theirs` and `ours` that row of each; wrong
    /// lengths do not agree.
    #[must_use]
    pub fn agree(&self, input: &[u8], row: u32, theirs: &[u8], ours: &[u8]) -> bool {
        let length = self.row_bytes() as usize;
        if theirs.len() != length || ours.len() != length || input.len() as u64 != self.input_bytes() {
            return false;
        }
        if theirs == ours {
            return true;
        }
        let columns = self.columns as usize;
        let element = |index: usize| f64::from(float(input, index));
        let x = |column: usize| element(row as usize * columns + column);
        let trees = (f64::from(self.columns) / 256.0 + 24.0) * f64::from(f32::EPSILON);
        let tolerance: Box<dyn Fn(usize, f64) -> f64> = match self.name {
            Kernel::Max | Kernel::Min | Kernel::ArgMax | Kernel::MonteCarloPi => return false,
            Kernel::Sum | Kernel::Mean => {
                let magnitudes: f64 = (0..columns).map(|c| x(c).abs()).sum();
                let over = if self.name == Kernel::Mean { f64::from(self.columns) } else { 1.0 };
                Box::new(move |_, _| trees * magnitudes / over)
            }
            Kernel::Norm | Kernel::RmsNorm => Box::new(move |_, b| trees * b.abs()),
            Kernel::Softmax => Box::new(|_, b| 1e-4 * b.abs() + 1e-30),
            Kernel::LayerNorm => {
                let (mean, variance) = moments((0..columns).map(x));
                let most = (0..columns).map(|c| x(c).abs()).fold(0.0, f64::max);
                let scale = (most + mean.abs()) / (variance + f64::from(NORM_EPSILON)).sqrt();
                let matrix = self.rows as usize * columns;
                Box::new(move |c, _| trees * (scale * element(matrix + c).abs() + element(matrix + columns + c).abs()))
            }
            Kernel::MonteCarloCall => {
                let (paths, spot) = (f64::from(self.columns), element(2).abs());
                Box::new(move |c, b| match c {
                    0 => 1e-4 * b.abs() + 1e-6 * paths * spot,
                    _ => 2e-4 * b.abs() + 1e-6 * paths * spot * spot,
                })
            }
        };
        (0..length / 4).all(|at| {
            let (a, b) = (float(theirs, at), float(ours, at));
            a.to_bits() == b.to_bits()
                || (a.is_nan() && b.is_nan())
                || (a.is_finite() && b.is_finite() && {
                    let (a, b) = (f64::from(a), f64::from(b));
                    (a - b).abs() <= tolerance(at, b) + f64::from(f32::MIN_POSITIVE)
                })
        })
    }
}

/// Mean and mean square deviation.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    (mean, values.map(|x| (x - mean).powi(2)).sum::<f64>() / count)
}

/// The `index`-th little-endian f32; the caller has checked the length.
fn float(bytes: &[u8], index: usize) -> f32 {
    bytes.get(4 * index..4 * index + 4).and_then(|b| b.try_into().ok()).map_or(f32::NAN, f32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// Whether row 1 of a 2 × 4 job agrees when it should be `b` and is `a`.
    fn agrees(name: Kernel, row: [f32; 4], a: &[f32], b: &[f32]) -> bool {
        let work = KernelWork { name, rows: 2, columns: 4 };
        let vectors = match name {
            Kernel::LayerNorm => 8,
            Kernel::RmsNorm => 4,
            _ => 0,
        };
        let input = [&[0.0; 4][..], &row, &[1.0; 8][..vectors]].concat();
        work.agree(&bytes(&input), 1, &bytes(a), &bytes(b))
    }

    #[test]
    fn rounding_agrees_and_half_precision_does_not() {
        let row = [100.0, -100.0, 0.25, 0.5];
        assert!(agrees(Kernel::Sum, row, &[0.750_01], &[0.75]), "100 was rounded on the way");
        assert!(!agrees(Kernel::Sum, row, &[0.76], &[0.75]));
        assert!(agrees(Kernel::Mean, row, &[0.187_502], &[0.1875]));
        for (name, b) in [
            (Kernel::Softmax, vec![0.1, 0.2, 0.3, 0.4]),
            (Kernel::LayerNorm, vec![2.4, -0.4, 1.0, 1.0]),
            (Kernel::RmsNorm, vec![1.4, -1.4, 0.1, 0.1]),
            (Kernel::Norm, vec![141.4]),
        ] {
            let off = |by: f32| b.iter().map(|v| v * (1.0 + by)).collect::<Vec<_>>();
            let row = if name == Kernel::LayerNorm { [1.0, -1.0, 0.25, 0.5] } else { row };
            assert!(agrees(name, row, &off(1e-6), &b), "{name:?}");
            assert!(!agrees(name, row, &off(5e-4), &b), "{name:?}");
        }
    }

    #[test]
    fn exact_kernels_and_numbers_that_are_none_agree_bit_for_bit_only() {
        let row = [1.0, 2.0, 3.0, 4.0];
        assert!(agrees(Kernel::Max, row, &[4.0], &[4.0]));
        assert!(!agrees(Kernel::Max, row, &[4.000_000_5], &[4.0]));
        assert!(agrees(Kernel::Sum, [f32::NAN; 4], &[f32::NAN], &[-f32::NAN]));
        assert!(!agrees(Kernel::Sum, [f32::NAN; 4], &[0.0], &[f32::NAN]));
        assert!(!agrees(Kernel::Sum, row, &[f32::NAN], &[10.0]));
        assert!(agrees(Kernel::Sum, [3e38; 4], &[f32::INFINITY], &[f32::INFINITY]));
        assert!(!agrees(Kernel::Sum, [3e38; 4], &[f32::MAX], &[f32::INFINITY]));
        assert!(!agrees(Kernel::Sum, row, &[10.0, 10.0], &[10.0]), "another length");
    }
}
