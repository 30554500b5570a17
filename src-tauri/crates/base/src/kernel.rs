//! The catalogue of built-in kernels: names, shapes, layouts, limits and what counts as the same result.
//!
//! Every kernel works on `rows` that do not depend on one another, so that anyone can check random rows alone. All
//! numbers are little-endian; f32 where nothing else is said; matrices row by row.
//!
//! | kernel | input | output per row |
//! |---|---|---|
//! | `sum`, `mean` | matrix | Σx, Σx / columns; by a tree, error at most (columns/lanes + 8)·2⁻²⁴·Σ\|x\| |
//! | `norm` | matrix | √Σx²; the squares must stay below 3.4·10³⁸ |
//! | `max`, `min` | matrix | the element, bit for bit; −0 is less than +0 |
//! | `arg_max` | matrix | u32, the first index of the largest |
//! | `softmax` | matrix | columns values: exp(x − max) / Σ exp(x − max) |
//! | `layer_norm` | matrix, gain (columns), shift (columns) | columns values: (x − mean) / √(variance + ε)·gain + shift |
//! | `rms_norm` | matrix, gain (columns) | columns values: x / √(Σx² / columns + ε)·gain |
//! | `monte_carlo_pi` | seed | u32: of `columns` random points, those inside the quarter circle |
//! | `monte_carlo_call` | seed, spot, strike, rate, volatility, years | Σ and Σ of squares of the discounted payoffs |
//!
//! ε is 10⁻⁵ and variance is the mean square deviation. A row that holds NaN or an infinity gives NaN (`0x7fc00000`)
//! in all its values, and `0xffffffff` for `arg_max`. Numbers below 1.2·10⁻³⁸ may count as zero, except in `max`,
//! `min` and `arg_max`.
//!
//! A seed is a u64. The Monte-Carlo kernels draw from Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random
//! numbers: as easy as 1, 2, 3, SC 2011) with the seed as key and the counter (path / 4, row, 0, 0): path 4·q + i takes
//! word i. A point is x = bits 0 to 14 and y = bits 16 to 30 of its word, inside when (2x+1)² + (2y+1)² ≤ 2³², so that
//! the count is the same on every machine. A payoff is e^(−rate·years)·max(S − strike, 0) with S = spot ·
//! exp((rate − volatility²/2)·years + volatility·√years·z), where z is the normal quantile of (⌊word / 2⁹⌋ + ½)·2⁻²³ by
//! Wichura's algorithm AS 241 (PPND7, Applied Statistics 37, 1988; error about 10⁻⁷).

mod agree;

use crate::{
    job::MAX_BLOB_BYTES,
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};

/// Most rows of a job.
pub const MAX_KERNEL_ROWS: u32 = 1 << 20;
/// Most columns, or paths of a row: a row is one workgroup's work, and Mesa's CPU adapter stops loops after 65,535
/// iterations. Split longer vectors into rows.
pub const MAX_KERNEL_COLUMNS: u32 = 1 << 16;
/// Most units of a job, so that none holds a slot for minutes.
pub const MAX_KERNEL_UNITS: u64 = 1 << 32;
/// ε of the norms.
pub const NORM_EPSILON: f32 = 1e-5;
/// Bits of what a row with a number that is not finite gives.
pub const NOT_A_NUMBER: u32 = 0x7fc0_0000;

/// A kernel of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// Sum of a row.
    Sum,
    /// Mean of a row.
    Mean,
    /// Euclidean norm of a row.
    Norm,
    /// Largest element of a row.
    Max,
    /// Smallest element of a row.
    Min,
    /// Where the largest element of a row is.
    ArgMax,
    /// Softmax of a row.
    Softmax,
    /// Layer normalisation of a row.
    LayerNorm,
    /// Root-mean-square normalisation of a row.
    RmsNorm,
    /// Random points in a quarter circle.
    MonteCarloPi,
    /// A European call option under geometric Brownian motion.
    MonteCarloCall,
}

impl Kernel {
    /// Every kernel.
    pub const ALL: [Self; 11] = [
        Self::Sum,
        Self::Mean,
        Self::Norm,
        Self::Max,
        Self::Min,
        Self::ArgMax,
        Self::Softmax,
        Self::LayerNorm,
        Self::RmsNorm,
        Self::MonteCarloPi,
        Self::MonteCarloCall,
    ];

    /// The name on the wire and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Norm => "norm",
            Self::Max => "max",
            Self::Min => "min",
            Self::ArgMax => "arg_max",
            Self::Softmax => "softmax",
            Self::LayerNorm => "layer_norm",
            Self::RmsNorm => "rms_norm",
            Self::MonteCarloPi => "monte_carlo_pi",
            Self::MonteCarloCall => "monte_carlo_call",
        }
    }

    /// The kernel of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kernel| kernel.name() == name)
    }

    /// Whether the rows are random paths, and the input their parameters.
    #[must_use]
    pub fn is_monte_carlo(self) -> bool {
        matches!(self, Self::MonteCarloPi | Self::MonteCarloCall)
    }
}

/// A kernel and its shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelWork {
    /// Which kernel.
    pub name: Kernel,
    /// Rows of the matrix, or blocks of paths.
    pub rows: u32,
    /// Elements of a row, or paths of a block.
    pub columns: u32,
}

impl KernelWork {
    /// The units billed: elements of the matrix, or paths.
    #[must_use]
    pub fn units(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns)
    }

    /// Exact length of the input in bytes.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        let row = 4 * u64::from(self.columns);
        match self.name {
            Kernel::LayerNorm => 4 * self.units() + 2 * row,
            Kernel::RmsNorm => 4 * self.units() + row,
            Kernel::MonteCarloPi => 8,
            Kernel::MonteCarloCall => 8 + 5 * 4,
            _ => 4 * self.units(),
        }
    }

    /// Length of a row of the output in bytes.
    #[must_use]
    pub fn row_bytes(&self) -> u64 {
        match self.name {
            Kernel::Softmax | Kernel::LayerNorm | Kernel::RmsNorm => 4 * u64::from(self.columns),
            Kernel::MonteCarloCall => 8,
            _ => 4,
        }
    }

    /// Exact length of the output in bytes.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        u64::from(self.rows) * self.row_bytes()
    }

    /// Whether the shape is within the limits.
    ///
    /// # Errors
    /// [`Code::Invalid`] or [`Code::TooLarge`], naming the field and the limit.
    pub fn check(&self) -> Result<(), Problem> {
        for (field, value, most) in
            [("rows", self.rows, MAX_KERNEL_ROWS), ("columns", self.columns, MAX_KERNEL_COLUMNS)]
        {
            if !(1..=most).contains(&value) {
                let message = format!("{field} is {value}, but must be between 1 and {most}");
                return Err(Problem::new(Code::Invalid, message, "correct the job and submit it again"));
            }
        }
        if self.units() > MAX_KERNEL_UNITS {
            let message = format!("rows × columns is {}, above the limit of {MAX_KERNEL_UNITS}", self.units());
            return Err(Problem::new(Code::TooLarge, message, "split the job"));
        }
        if self.input_bytes() > MAX_BLOB_BYTES {
            let message =
                format!("rows × columns make {} bytes, above the limit of {MAX_BLOB_BYTES}", self.input_bytes());
            return Err(Problem::new(Code::TooLarge, message, "split the job"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_are_the_names() {
        for kernel in Kernel::ALL {
            assert_eq!(serde_json::to_value(kernel).unwrap(), kernel.name());
            assert_eq!(Kernel::named(kernel.name()), Some(kernel));
        }
        assert_eq!(Kernel::named("median"), None);
    }

    #[test]
    fn a_refusal_names_the_field_and_the_limit() {
        let refused = |name, rows, columns| KernelWork { name, rows, columns }.check().unwrap_err();
        assert!(refused(Kernel::Sum, 0, 1).message.contains("rows is 0"));
        assert!(refused(Kernel::Sum, 1, 65_537).message.contains("columns is 65537, but must be between 1 and 65536"));
        assert!(refused(Kernel::Softmax, 1 << 20, 1 << 10).message.contains("above the limit of 67108864"));
        assert!(refused(Kernel::MonteCarloPi, 1 << 20, 1 << 16).message.contains("above the limit of 4294967296"));
        assert_eq!(KernelWork { name: Kernel::Sum, rows: 256, columns: 1 << 16 }.check(), Ok(()));
        assert_eq!(KernelWork { name: Kernel::MonteCarloCall, rows: 1 << 16, columns: 1 << 16 }.check(), Ok(()));
    }
}
