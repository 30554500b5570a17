//! What could happen to the data.

/// Equation 15, corrected: (1 − ∏(1 − pᵢ))·sensitivity·(1 − channel protection), in [0, 1].
///
/// `breaches` are the probabilities of the single ways in; `sensitivity` of the data and `channel_protection` are in
/// [0, 1]. As typeset, the two factors multiply the probability of survival, so that more sensitive data had less
/// risk. `None` when an argument is no fraction.
#[must_use]
pub fn risk(breaches: &[f64], sensitivity: f64, channel_protection: f64) -> Option<f64> {
    let fraction = |value: &f64| (0.0..=1.0).contains(value);
    let valid = breaches.iter().chain([&sensitivity, &channel_protection]).all(fraction);
    let survival: f64 = breaches.iter().map(|p| 1.0 - p).product();
    valid.then_some((1.0 - survival) * sensitivity * (1.0 - channel_protection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_sensitive_data_has_more_risk() {
        let of = |sensitivity| risk(&[0.10, 0.05], sensitivity, 0.5).unwrap();
        assert!((of(0.8) - 0.058).abs() < 1e-12 && (of(0.2) - 0.0145).abs() < 1e-12);
        assert_eq!(risk(&[], 1.0, 0.0), Some(0.0));
        for wrong in [f64::NAN, -0.1, 1.1] {
            assert_eq!(risk(&[wrong], 0.5, 0.5), None);
            assert_eq!(risk(&[0.1], wrong, 0.5), None);
            assert_eq!(risk(&[0.1], 0.5, wrong), None);
        }
    }
}
