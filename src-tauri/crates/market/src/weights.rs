//! How much each criterion counts: from the market and from history, less what two criteria say twice.

/// The four criteria of a decision, in the order of every matrix here: cost, reliability, latency, security.
pub const CRITERIA: usize = 4;
/// Names of the criteria.
pub const NAMES: [&str; CRITERIA] = ["cost", "reliability", "latency", "security"];
/// β of the paper's Listing 1: how much of a weight today's market decides.
pub const MARKET_SHARE: f64 = 0.7;
/// α of equation 11.
pub const CORRELATION_PENALTY: f64 = 0.3;
/// Below this many rows a correlation is undefined (one row) or always ±1 (two), and nothing is adjusted.
pub const LEAST_ROWS: usize = 3;

/// Phase 2 of the paper's Listing 1: w = β·market + (1 − β)·history, divided by the sum.
///
/// `market` holds, each in [0, 1], the pressure on prices, the failure rate, the task's urgency and its risk;
/// `history` the weights used before. Where nothing has a weight, all count alike.
#[must_use]
pub fn blended(market: [f64; CRITERIA], history: [f64; CRITERIA], market_share: f64) -> [f64; CRITERIA] {
    let mixed: [f64; CRITERIA] =
        std::array::from_fn(|i| (market_share * market[i] + (1.0 - market_share) * history[i]).max(0.0));
    let sum: f64 = mixed.iter().sum();
    if sum > 0.0 && sum.is_finite() { mixed.map(|weight| weight / sum) } else { [1.0 / CRITERIA as f64; CRITERIA] }
}

/// Equation 11, corrected: wᵢ·max(0, 1 − α·Σ|ρᵢⱼ|) over the other criteria, divided by the sum.
///
/// `values` is row-major with `weights.len()` columns. As printed the sum of the weights falls below 1 and, with five
/// criteria or more, a weight can become negative: hence the clamp and the division. With fewer than [`LEAST_ROWS`]
/// rows, or where nothing is left, the weights stay as they are. A constant column correlates with nothing.
#[must_use]
pub fn correlation_adjusted(weights: &[f64], values: &[f64], alpha: f64) -> Vec<f64> {
    let mut adjusted = weights.to_vec();
    adjust(&mut adjusted, values, alpha, &mut Vec::new());
    adjusted
}

/// As [`correlation_adjusted`], in place; `scratch` is kept between calls.
pub fn adjust(weights: &mut [f64], values: &[f64], alpha: f64, scratch: &mut Vec<f64>) {
    let criteria = weights.len();
    if criteria == 0 || values.len() / criteria < LEAST_ROWS {
        return;
    }
    // Columns less their mean, divided by their length: ρ is then a product of two columns.
    scratch.clear();
    scratch.extend_from_slice(values);
    let rows = (values.len() / criteria) as f64;
    for c in 0..criteria {
        let mean = values.iter().skip(c).step_by(criteria).sum::<f64>() / rows;
        let greatest = values.iter().skip(c).step_by(criteria).fold(0.0, |most: f64, v| most.max((v - mean).abs()));
        let scale = if greatest > 0.0 { greatest } else { 1.0 };
        let squares: f64 =
            values.iter().skip(c).step_by(criteria).map(|v| ((v - mean) / scale) * ((v - mean) / scale)).sum();
        // A column whose spread is rounding error is constant.
        let length = if greatest > mean.abs() * 1e-12 { scale * squares.sqrt() } else { f64::INFINITY };
        for value in scratch.iter_mut().skip(c).step_by(criteria) {
            *value = (*value - mean) / length;
        }
    }
    let kept = |i: usize| {
        let others = (0..criteria).filter(|j| *j != i).map(|j| {
            let product = scratch.chunks_exact(criteria).map(|row| row[i] * row[j]).sum::<f64>();
            product.abs()
        });
        (1.0 - alpha * others.sum::<f64>()).max(0.0)
    };
    let sum: f64 = (0..criteria).map(|i| weights[i] * kept(i)).sum();
    if sum > 0.0 {
        for (i, weight) in weights.iter_mut().enumerate() {
            *weight *= kept(i) / sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn market_and_history_are_blended() {
        let weights = blended([0.8, 0.1, 0.5, 0.2], [0.4, 0.25, 0.2, 0.15], MARKET_SHARE);
        let exact = [0.68, 0.145, 0.41, 0.185].map(|w| w / 1.42);
        assert!(weights.iter().zip(exact).all(|(w, e)| (w - e).abs() < 1e-15), "{weights:?}");
        assert_eq!(blended([0.0; 4], [0.0; 4], 0.7), [0.25; 4]);
        assert_eq!(blended([f64::NAN; 4], [0.4, 0.25, 0.2, 0.15], 0.7).iter().filter(|w| w.is_nan()).count(), 0);
    }

    #[test]
    fn criteria_that_say_the_same_lose_weight_and_none_becomes_negative() {
        // Columns 0 and 1 are the same, column 2 is constant.
        let values = [1.0, 2.0, 7.0, 2.0, 4.0, 7.0, 3.0, 6.0, 7.0];
        let weights = correlation_adjusted(&[0.4, 0.4, 0.2], &values, 0.3);
        let exact = [0.28, 0.28, 0.2].map(|w| w / 0.76);
        assert!(weights.iter().zip(exact).all(|(w, e)| (w - e).abs() < 1e-12), "{weights:?}");
        // Six copies: as printed every weight is 1 − 0.3·5 = −0.5 of itself.
        let copies: Vec<f64> = (0..24).map(|i| f64::from(i / 6)).collect();
        assert_eq!(correlation_adjusted(&[1.0 / 6.0; 6], &copies, 0.3), vec![1.0 / 6.0; 6]);
        assert_eq!(correlation_adjusted(&[0.7, 0.3], &[1.0, 2.0, 3.0, 4.0], 0.3), vec![0.7, 0.3], "two rows");
    }
}
