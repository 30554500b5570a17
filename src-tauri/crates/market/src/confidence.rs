//! How sure a proportion is.

/// z of a one-sided confidence of 84 %: one standard deviation.
pub const ONE_SIGMA: f64 = 1.0;
/// z of a two-sided confidence of 95 %.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// Wilson's score interval (1927) of a proportion `p` in [0, 1] observed in `n` trials: lower and upper bound.
///
/// It replaces equation 18, 1 − z·√(p(1 − p)/n), which is certain of a contractor that always failed. `n` may be
/// fractional, since discounted observations count in part; without observations, the bounds are 0 and 1.
#[must_use]
pub fn wilson(p: f64, n: f64, z: f64) -> (f64, f64) {
    if !(n > 0.0 && (0.0..=1.0).contains(&p)) {
        return (0.0, 1.0);
    }
    let z2n = z * z / n;
    let middle = p + z2n / 2.0;
    let half = z * ((p * (1.0 - p) + z2n / 4.0) / n).sqrt();
    (((middle - half) / (1.0 + z2n)).max(0.0), ((middle + half) / (1.0 + z2n)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_golden_value() {
        // statsmodels proportion_confint(90, 100, method="wilson"), z = 1.96.
        assert!((wilson(0.9, 100.0, 1.96).0 - 0.825_632_696).abs() < 1e-9);
        let failed = wilson(0.0, 20.0, 1.96);
        assert!(failed.0 == 0.0 && failed.1 < 0.17, "always failed is no certainty of success: {failed:?}");
        assert_eq!(wilson(0.9, 0.0, 1.96), (0.0, 1.0));
        assert_eq!(wilson(f64::NAN, 9.0, 1.96), (0.0, 1.0));
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_proportion_and_narrows(p in 0.0..=1.0f64, n in 0.1..1e6f64, z in 0.1..4.0f64) {
            let (lower, upper) = wilson(p, n, z);
            prop_assert!(0.0 <= lower && lower <= p + 1e-12 && p <= upper + 1e-12 && upper <= 1.0);
            let (more, less) = wilson(p, n * 2.0, z);
            prop_assert!(less - more <= upper - lower + 1e-12);
        }
    }
}
