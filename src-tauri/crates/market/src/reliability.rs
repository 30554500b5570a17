//! How often a contractor delivers: a Beta distribution whose evidence fades.

use crate::confidence::wilson;
use serde::{Deserialize, Serialize};

/// Rate at which evidence fades, per day: the paper's 0.1 per month, a half-life of 6.9 months. (Seed 002 states 90
/// days for ratings by people, which say less about a machine than its receipts do.)
pub const FADE_PER_DAY: f64 = 0.1 * 12.0 / 365.25;

/// What is assumed of a peer before its first job: 9 successes and 1 failure, as Beta(9, 1).
///
/// It weighs as much as ten jobs. Its first jobs are fully verified, so that a wrong assumption costs time and no
/// wrong result.
pub const PEER_PRIOR: Reliability = Reliability { successes: 9.0, failures: 1.0 };
/// What is assumed of the own card and of a cloud with a service level: Beta(99, 1).
pub const OWN_PRIOR: Reliability = Reliability { successes: 99.0, failures: 1.0 };

/// So many handbacks say nothing even of a contractor that has delivered nothing yet: an evening of its owner's games.
pub const HANDBACKS_FORGIVEN: f64 = 3.0;

/// Counts of jobs that succeeded and failed. Fractional, since old jobs count in part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reliability {
    /// Delivered and accepted, at least 0.
    pub successes: f64,
    /// Failed, late or rejected, at least 0.
    pub failures: f64,
}

impl Reliability {
    /// How many observations it stands on.
    #[must_use]
    pub fn observations(self) -> f64 {
        self.successes + self.failures
    }

    /// One more job.
    pub fn observe(&mut self, success: bool) {
        if success {
            self.successes += 1.0;
        } else {
            self.failures += 1.0;
        }
    }

    /// After `days` without news: the counts are multiplied by e^(−λ·days), so that the estimate returns to the prior.
    ///
    /// Equation 14 multiplies the mean instead, after which a contractor that never failed counts as one that mostly
    /// fails (0.457 after six months for nine of ten).
    #[must_use]
    pub fn faded(self, days: f64) -> Self {
        let kept = libm::exp(-FADE_PER_DAY * days.max(0.0));
        Self { successes: self.successes * kept, failures: self.failures * kept }
    }

    /// With the prior's counts added.
    #[must_use]
    pub fn with(self, prior: Self) -> Self {
        Self { successes: self.successes + prior.successes, failures: self.failures + prior.failures }
    }

    /// With `handbacks` jobs that were handed back, faded as these counts are. To hand back as promised is neither success
    /// nor failure, as long as it is no more than half of what a contractor is awarded; what is beyond that counts as
    /// failed, since a client that wants its job done is not helped by a promise that is kept all the time.
    #[must_use]
    pub fn with_handbacks(self, handbacks: f64) -> Self {
        let beyond = handbacks - self.observations().max(HANDBACKS_FORGIVEN);
        Self { failures: self.failures + beyond.max(0.0), ..self }
    }

    /// The mean a/(a + b); 0.5 without any count.
    #[must_use]
    pub fn mean(self) -> f64 {
        let n = self.observations();
        if n > 0.0 { self.successes / n } else { 0.5 }
    }

    /// Wilson's lower bound of the mean at `z` standard deviations.
    #[must_use]
    pub fn lower(self, z: f64) -> f64 {
        wilson(self.mean(), self.observations(), z).0
    }

    /// Whether the counts are finite and not negative.
    #[must_use]
    pub fn is_valid(self) -> bool {
        [self.successes, self.failures].iter().all(|count| count.is_finite() && *count >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_values_and_no_fading_below_the_prior() {
        let uniform = Reliability { successes: 1.0, failures: 1.0 };
        let nine = Reliability { successes: 9.0, failures: 1.0 };
        assert!((nine.with(uniform).mean() - 0.833_333_333).abs() < 1e-9);
        assert_eq!(Reliability::default().with(uniform).mean(), 0.5);
        let half_life = std::f64::consts::LN_2 / FADE_PER_DAY;
        let faded = nine.faded(half_life).with(uniform);
        assert!((faded.mean() - 5.5 / 7.0).abs() < 1e-12, "{faded:?}");
        assert!((nine.faded(1e6).with(uniform).mean() - 0.5).abs() < 1e-9, "toward the prior, not toward 0");
        assert_eq!(nine.faded(-5.0), nine, "a clock that went back makes no evidence");
    }

    #[test]
    fn handbacks_count_only_beyond_half() {
        let nine = Reliability { successes: 8.0, failures: 1.0 };
        assert_eq!(nine.with_handbacks(9.0), nine);
        assert_eq!(nine.with_handbacks(13.0), Reliability { failures: 5.0, ..nine });
        let unknown = Reliability::default();
        assert_eq!(unknown.with_handbacks(HANDBACKS_FORGIVEN), unknown);
        assert_eq!(unknown.with_handbacks(10.0).failures, 7.0, "who only ever hands back is no contractor");
    }
}
