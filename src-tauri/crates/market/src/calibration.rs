//! Estimates learn from what came of them: eq. 10, systems.md 45.
//!
//! The paper averages costs, which mixes large and small tasks. Here the ratio of actual to estimate is averaged, for
//! each agent and class of task, and the next estimate is multiplied by it. The authors' code computes the average and
//! throws it away. A client keeps a factor per contractor and class; a contractor keeps them for its own quotes.

use crate::{
    number::{positive, within},
    why::{Origin, Why},
};
use serde::{Deserialize, Serialize};
use tender_base::Problem;

/// Slowest learning that the paper allows.
pub const MIN_LAMBDA: f64 = 0.1;
/// Fastest learning that the paper allows.
pub const MAX_LAMBDA: f64 = 0.3;
/// λ of a node: after three jobs half of what came before is forgotten.
pub const LAMBDA: f64 = 0.2;
/// One observation counts as at most this many times the estimate, and at least its inverse: a machine that slept
/// through a job says nothing about the next one.
pub const MAX_RATIO: f64 = 10.0;

/// The factor for one agent and class of task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// Expected actual over estimate; 1 without history.
    pub ratio: f64,
    /// How many jobs it stands on.
    pub jobs: u32,
}

impl Default for Factor {
    fn default() -> Self {
        Self { ratio: 1.0, jobs: 0 }
    }
}

impl Factor {
    /// Takes a finished job into account: ratio ← λ·actual/estimate + (1 − λ)·ratio.
    ///
    /// # Errors
    /// [`tender_base::Code::Invalid`], naming λ, the estimate or the actual; the factor is then unchanged.
    pub fn learn(&mut self, lambda: f64, estimate: f64, actual: f64) -> Result<(), Problem> {
        within("lambda", lambda, MIN_LAMBDA, MAX_LAMBDA)?;
        let seen = positive("actual", actual)? / positive("estimate", estimate)?;
        let seen = seen.clamp(1.0 / MAX_RATIO, MAX_RATIO);
        self.ratio = lambda * seen + (1.0 - lambda) * self.ratio;
        self.jobs = self.jobs.saturating_add(1);
        Ok(())
    }

    /// An estimate as experience corrects it.
    #[must_use]
    pub fn correct(&self, estimate: f64) -> f64 {
        estimate * self.ratio
    }

    /// How a corrected estimate in `unit` came about.
    #[must_use]
    pub fn why(&self, name: &str, estimate: f64, unit: &str) -> Why {
        let origin = if self.jobs > 0 { Origin::Measured } else { Origin::Assumed };
        Why::new(
            name,
            self.correct(estimate),
            unit,
            "estimate × ratio; ratio ← λ × actual/estimate + (1 − λ) × ratio after each job",
            "COALESCE eq. 10, on ratios: docs/economics.md",
        )
        .with("estimate", estimate, unit, Origin::Computed)
        .with("ratio", self.ratio, "", origin)
        .with("jobs", f64::from(self.jobs), "jobs", Origin::Measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_contractor_that_takes_twice_as_long_is_expected_to() {
        let mut known = Factor::default();
        assert_eq!(known.correct(3.0), 3.0, "no history, no correction");
        assert!(!known.why("time", 3.0, "s").stands_on_evidence(), "a ratio of 1 is an assumption");
        known.learn(0.2, 10.0, 20.0).unwrap();
        assert!((known.ratio - 1.2).abs() < 1e-12);
        for _ in 0..40 {
            known.learn(0.2, 1.0, 2.0).unwrap();
        }
        assert!((known.correct(3.0) - 6.0).abs() < 1e-3);
        assert_eq!(known.jobs, 41);
        let why = known.why("time", 3.0, "s");
        assert!(why.value == known.correct(3.0) && why.stands_on_evidence());
        let back: Factor = serde_json::from_str(&serde_json::to_string(&known).unwrap()).unwrap();
        assert_eq!(back, known);
    }

    #[test]
    fn one_odd_job_moves_it_little_and_a_wrong_number_not_at_all() {
        let mut factor = Factor::default();
        factor.learn(0.3, 1.0, 1e9).unwrap();
        assert!((factor.ratio - (0.3 * MAX_RATIO + 0.7)).abs() < 1e-12);
        let before = factor;
        for (lambda, estimate, actual, named) in [
            (0.05, 1.0, 1.0, "lambda"),
            (0.5, 1.0, 1.0, "lambda"),
            (f64::NAN, 1.0, 1.0, "lambda"),
            (0.2, 0.0, 1.0, "estimate"),
            (0.2, 1.0, f64::INFINITY, "actual"),
            (0.2, 1.0, 0.0, "actual"),
        ] {
            assert!(factor.learn(lambda, estimate, actual).unwrap_err().message.contains(named));
            assert_eq!(factor, before);
        }
    }

    proptest! {
        /// The factor stays between the smallest and the largest thing ever seen, and scale does not matter.
        #[test]
        fn the_factor_is_a_mean(jobs in proptest::collection::vec((0.01..100.0f64, 0.01..100.0f64), 1..30), lambda in 0.1..=0.3f64, scale in 0.001..1000.0f64) {
            let (mut factor, mut scaled) = (Factor::default(), Factor::default());
            for (estimate, actual) in &jobs {
                factor.learn(lambda, *estimate, *actual).unwrap();
                scaled.learn(lambda, estimate * scale, actual * scale).unwrap();
            }
            prop_assert!((1.0 / MAX_RATIO..=MAX_RATIO).contains(&factor.ratio));
            prop_assert!((factor.ratio - scaled.ratio).abs() < 1e-9 * factor.ratio);
        }
    }
}
