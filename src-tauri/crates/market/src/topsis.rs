//! The Technique for Order Preference by Similarity to Ideal Solution (Hwang and Yoon, 1981).
//!
//! TOPSIS ranks relative to the rows it is given: adding or removing a row can reverse two others (rank reversal). A
//! closeness therefore says nothing across decisions, and no threshold is put on it.

use crate::document;
use serde::{Deserialize, Serialize};
use tender_base::{Code, Problem};

/// Whether more or less of a criterion is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Less is better.
    Cost,
    /// More is better.
    Benefit,
}

/// How columns of different units are made comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// Divided by the Euclidean length of the column.
    #[default]
    Vector,
    /// Mapped to [0, 1] between the column's least and greatest value; a constant column becomes 0.
    Minmax,
}

impl Normalisation {
    /// What is subtracted from a column, and by what it is divided then; a column without spread is divided by 1.
    fn of(self, column: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        let (offset, length) = match self {
            Self::Vector => {
                // Relative to the greatest, so that squares of very large and very small numbers stay in range.
                let greatest = column.clone().fold(0.0, |most: f64, value| most.max(value.abs()));
                let squares: f64 = column.map(|value| (value / greatest) * (value / greatest)).sum();
                (0.0, greatest * squares.sqrt())
            }
            Self::Minmax => {
                let least = column.clone().fold(f64::INFINITY, f64::min);
                (least, column.fold(f64::NEG_INFINITY, f64::max) - least)
            }
        };
        if length > 0.0 && length.is_finite() { (offset, length) } else { (offset, 1.0) }
    }
}

/// Buffers that are kept between rankings, since a simulator ranks millions of times.
#[derive(Clone, Debug, Default)]
pub struct Topsis {
    /// The normalised matrix, row by row; unweighted.
    pub normalised: Vec<f64>,
    /// One closeness in [0, 1] per row; 1 is the ideal.
    pub closeness: Vec<f64>,
    best: Vec<f64>,
    worst: Vec<f64>,
}

impl Topsis {
    /// Ranks the rows of `values` (row-major, `weights.len()` columns, within ±[`MAX_VALUE`]; weights not negative).
    ///
    /// Each column is normalised and weighted; D⁺ and D⁻ are the Euclidean distances of a row from the ideal and the
    /// anti-ideal, and its closeness is D⁻/(D⁺ + D⁻). Where both are 0, as with a single row or identical rows, it is
    /// 0.5.
    pub fn rank(&mut self, values: &[f64], weights: &[f64], directions: &[Direction], normalisation: Normalisation) {
        let criteria = weights.len();
        self.normalised.clear();
        self.normalised.extend_from_slice(values);
        self.best.clear();
        self.worst.clear();
        for (c, direction) in directions.iter().enumerate().take(criteria) {
            let (offset, length) = normalisation.of(values.iter().skip(c).step_by(criteria).copied());
            let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
            for value in self.normalised.iter_mut().skip(c).step_by(criteria) {
                *value = (*value - offset) / length;
                least = least.min(*value);
                most = most.max(*value);
            }
            let (best, worst) = match direction {
                Direction::Cost => (least, most),
                Direction::Benefit => (most, least),
            };
            self.best.push(best);
            self.worst.push(worst);
        }
        self.closeness.clear();
        self.closeness.extend(self.normalised.chunks_exact(criteria.max(1)).map(|row| {
            let distance = |from: &[f64]| -> f64 {
                let weighted = row.iter().zip(from).zip(weights).map(|((value, ideal), weight)| {
                    let gap = (value - ideal) * weight;
                    gap * gap
                });
                weighted.sum::<f64>().sqrt()
            };
            let (to_best, to_worst) = (distance(&self.best), distance(&self.worst));
            if to_best + to_worst > 0.0 { to_worst / (to_best + to_worst) } else { 0.5 }
        }));
    }
}

/// A criterion of a [`Matrix`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Criterion {
    /// How it is called.
    pub name: String,
    /// Whether more or less is better.
    pub direction: Direction,
    /// Its weight, not negative; the weights are divided by their sum.
    pub weight: f64,
}

/// A row of a [`Matrix`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatrixRow {
    /// How it is called.
    pub name: String,
    /// One finite value per criterion.
    pub values: Vec<f64>,
}

/// A decision matrix as a person states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// The columns.
    pub criteria: Vec<Criterion>,
    /// The rows.
    pub alternatives: Vec<MatrixRow>,
    /// How columns are made comparable.
    #[serde(default)]
    pub normalisation: Normalisation,
    /// α of equation 11 in [0, 1]: by how much criteria that say the same lose weight; 0 leaves the weights.
    #[serde(default)]
    pub correlation_penalty: f64,
}

/// How close one alternative is to the ideal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The alternative.
    pub name: String,
    /// Closeness in [0, 1].
    pub closeness: f64,
}

/// The ranking of a [`Matrix`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// The weights used, which sum to 1, after the correlation adjustment.
    pub weights: Vec<f64>,
    /// One score per alternative, in the matrix's order.
    pub scores: Vec<Score>,
}

/// Most cells of a stated matrix: a file by mistake is refused before it takes the memory.
pub const MAX_CELLS: usize = 10_000_000;
/// Greatest magnitude of a stated value: differences and squares of what is below stay in range.
pub const MAX_VALUE: f64 = 1e150;

impl Matrix {
    /// Reads the `tender decide --matrix` document.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the field that is missing, unknown or of another type.
    pub fn parse(json: &str) -> Result<Self, Problem> {
        document::read(json, "the matrix", "correct the named field; `tender decide --help` shows a matrix")
    }

    /// Ranks the alternatives.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the field: no criterion or alternative, a value or weight that is not finite, a
    /// negative weight, weights that are all 0, a row of another length, a penalty outside [0, 1].
    pub fn rank(&self) -> Result<Ranking, Problem> {
        let weights = self.checked()?;
        let values: Vec<f64> = self.alternatives.iter().flat_map(|row| row.values.iter().copied()).collect();
        let weights = if self.correlation_penalty > 0.0 {
            crate::weights::correlation_adjusted(&weights, &values, self.correlation_penalty)
        } else {
            weights
        };
        let directions: Vec<Direction> = self.criteria.iter().map(|criterion| criterion.direction).collect();
        let mut topsis = Topsis::default();
        topsis.rank(&values, &weights, &directions, self.normalisation);
        let score = |(row, closeness): (&MatrixRow, &f64)| Score { name: row.name.clone(), closeness: *closeness };
        Ok(Ranking { weights, scores: self.alternatives.iter().zip(&topsis.closeness).map(score).collect() })
    }

    /// The weights divided by their sum.
    fn checked(&self) -> Result<Vec<f64>, Problem> {
        let invalid = |what: String, hint: &str| Err(Problem::new(Code::Invalid, what, hint));
        if self.criteria.is_empty() {
            return invalid("criteria is empty".into(), "state at least one criterion");
        }
        if self.alternatives.is_empty() {
            return invalid("alternatives is empty".into(), "state at least one alternative");
        }
        if self.criteria.len().saturating_mul(self.alternatives.len()) > MAX_CELLS {
            return invalid(format!("alternatives has more than {MAX_CELLS} values"), "state fewer alternatives");
        }
        if !(0.0..=1.0).contains(&self.correlation_penalty) {
            return invalid(
                format!("correlation_penalty is {}, not in [0, 1]", self.correlation_penalty),
                "0 leaves the weights; the literature uses 0.3",
            );
        }
        for (i, criterion) in self.criteria.iter().enumerate() {
            if !(criterion.weight.is_finite() && criterion.weight >= 0.0) {
                let (name, weight) = (&criterion.name, criterion.weight);
                return invalid(
                    format!("criteria[{i}].weight ({name}) is {weight}, not a finite number of at least 0"),
                    "to count a criterion the other way round, change its direction",
                );
            }
        }
        let greatest = self.criteria.iter().fold(0.0, |most: f64, criterion| most.max(criterion.weight));
        if greatest == 0.0 {
            return invalid("criteria: every weight is 0".into(), "give at least one criterion a weight");
        }
        for (i, row) in self.alternatives.iter().enumerate() {
            if row.values.len() != self.criteria.len() {
                let (name, has, wanted) = (&row.name, row.values.len(), self.criteria.len());
                return invalid(
                    format!("alternatives[{i}].values ({name}) has {has} values for {wanted} criteria"),
                    "give one value per criterion, in their order",
                );
            }
            if let Some(j) = row.values.iter().position(|value| value.is_nan() || value.abs() > MAX_VALUE) {
                let (name, value) = (&row.name, row.values[j]);
                return invalid(
                    format!("alternatives[{i}].values[{j}] ({name}) is {value:e}, not a number within ±{MAX_VALUE:e}"),
                    "correct the number, or state the column in a larger unit",
                );
            }
        }
        let sum: f64 = self.criteria.iter().map(|criterion| criterion.weight / greatest).sum();
        Ok(self.criteria.iter().map(|criterion| criterion.weight / greatest / sum).collect())
    }
}

#[cfg(test)]
#[path = "topsis_tests.rs"]
mod tests;
