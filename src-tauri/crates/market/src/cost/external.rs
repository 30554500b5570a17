//! What a task costs when it is bought: the paper's equations 6, 8 and 9 with their units put right; systems.md 41, 43
//! and 44.
//!
//! | paper | here |
//! |---|---|
//! | eq. 8 multiplies seconds by USD per GB | GB × USD per GB, and the time of the transfer at the value of time |
//! | eq. 9 leaves out γ; the authors' code adds the probabilities | γ·V·(1 − ∏(1 − p)), at most γ·V |
//! | eq. 6 gives no formula for verification, integration and lateness | what the check costs here, a fixed amount, and the time beyond the one wished for at the value of time |

use crate::{
    number::{finite, not_negative, positive, within},
    why::{Origin, Why},
};
use serde::{Deserialize, Serialize};
use tender_base::Problem;

/// What is known about a task that somebody else would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purchase {
    /// The whole bill, USD.
    pub price_usd: f64,
    /// Input and output together, GB.
    pub transfer_gb: f64,
    /// Speed of the connection, GB/s.
    pub gb_per_second: f64,
    /// What a GB costs on the way, USD; zero on a flat rate.
    pub usd_per_gb: f64,
    /// Fixed cost of talking: handshake, encryption, USD.
    pub overhead_usd: f64,
    /// What an hour of waiting costs, USD.
    pub usd_per_hour_waited: f64,
    /// What checking the result is expected to cost here, USD.
    pub verification_usd: f64,
    /// What fitting the result in costs, USD.
    pub integration_usd: f64,
    /// What the task is worth, USD.
    pub value_usd: f64,
    /// How much worse than the loss of the value a failure is, 0 and more; 1 when it is just lost.
    pub impact: f64,
    /// Probabilities, each 0 to 1, that it fails, that a secret gets out, that the result is bad.
    pub risks: [f64; 3],
    /// Expected time until the result is here, seconds, the transfer among it.
    pub expected_seconds: f64,
    /// From when on waiting costs, seconds.
    pub wished_seconds: f64,
}

/// Eq. 6: what a bought task costs, USD, by component.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExternalCost {
    /// The bill.
    pub price_usd: f64,
    /// Transfer, eq. 8.
    pub communication_usd: f64,
    /// Checking.
    pub verification_usd: f64,
    /// Fitting in.
    pub integration_usd: f64,
    /// Risk, eq. 9.
    pub risk_usd: f64,
    /// Lateness.
    pub lateness_usd: f64,
}

impl ExternalCost {
    /// All components, USD.
    #[must_use]
    pub fn total_usd(&self) -> f64 {
        self.price_usd
            + self.communication_usd
            + self.verification_usd
            + self.integration_usd
            + self.risk_usd
            + self.lateness_usd
    }

    /// How the total came about.
    #[must_use]
    pub fn why(&self) -> Why {
        Why::new(
            "cost of buying",
            self.total_usd(),
            "USD",
            "price + transfer + verification + integration + γ·V·(1 − ∏(1 − p)) + lateness",
            "COALESCE eq. 6, 8 and 9, corrected: docs/economics.md",
        )
        .with("price", self.price_usd, "USD", Origin::Stated)
        .with("transfer", self.communication_usd, "USD", Origin::Computed)
        .with("verification", self.verification_usd, "USD", Origin::Computed)
        .with("integration", self.integration_usd, "USD", Origin::Stated)
        .with("risk", self.risk_usd, "USD", Origin::Computed)
        .with("lateness", self.lateness_usd, "USD", Origin::Computed)
    }
}

/// Eq. 6.
///
/// # Errors
/// [`tender_base::Code::Invalid`], naming the field.
pub fn external(purchase: &Purchase) -> Result<ExternalCost, Problem> {
    let waiting = not_negative("usd_per_hour_waited", purchase.usd_per_hour_waited)?;
    let late = not_negative("expected_seconds", purchase.expected_seconds)?
        - not_negative("wished_seconds", purchase.wished_seconds)?;
    let cost = ExternalCost {
        price_usd: not_negative("price_usd", purchase.price_usd)?,
        communication_usd: communication_usd(purchase)?,
        verification_usd: not_negative("verification_usd", purchase.verification_usd)?,
        integration_usd: not_negative("integration_usd", purchase.integration_usd)?,
        risk_usd: risk_usd(purchase.value_usd, purchase.impact, &purchase.risks)?,
        lateness_usd: late.max(0.0) / 3_600.0 * waiting,
    };
    finite("cost of buying", cost.total_usd())?;
    Ok(cost)
}

/// Eq. 8: GB × USD/GB + the transfer's time × the value of time + overhead.
fn communication_usd(purchase: &Purchase) -> Result<f64, Problem> {
    let gb = not_negative("transfer_gb", purchase.transfer_gb)?;
    let hours = gb / positive("gb_per_second", purchase.gb_per_second)? / 3_600.0;
    Ok(gb * not_negative("usd_per_gb", purchase.usd_per_gb)?
        + hours * purchase.usd_per_hour_waited
        + not_negative("overhead_usd", purchase.overhead_usd)?)
}

/// Eq. 9: γ·V·(1 − ∏(1 − p)), at most γ·V.
///
/// # Errors
/// [`tender_base::Code::Invalid`], naming the field: a negative value or impact, a probability outside 0 to 1.
pub fn risk_usd(value_usd: f64, impact: f64, risks: &[f64]) -> Result<f64, Problem> {
    let mut survival = 1.0;
    for (i, risk) in risks.iter().enumerate() {
        survival *= 1.0 - within(&format!("risks[{i}]"), *risk, 0.0, 1.0)?;
    }
    finite("risk_usd", not_negative("impact", impact)? * not_negative("value_usd", value_usd)? * (1.0 - survival))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn purchase() -> Purchase {
        Purchase {
            price_usd: 0.02,
            transfer_gb: 0.2,
            gb_per_second: 0.005,
            usd_per_gb: 0.01,
            overhead_usd: 0.000_5,
            usd_per_hour_waited: 0.9,
            verification_usd: 0.001,
            integration_usd: 0.002,
            value_usd: 100.0,
            impact: 1.0,
            risks: [0.05, 0.02, 0.03],
            expected_seconds: 100.0,
            wished_seconds: 60.0,
        }
    }

    #[test]
    fn the_golden_risk_and_every_component_by_hand() {
        let cost = external(&purchase()).unwrap();
        assert!((cost.risk_usd - 9.693).abs() < 1e-12, "eq. 9: {}", cost.risk_usd);
        // 0.2 GB × 0.01 + 40 s × 0.9/3600 + 0.0005.
        assert!((cost.communication_usd - 0.0125).abs() < 1e-12, "eq. 8: {}", cost.communication_usd);
        assert!((cost.lateness_usd - 0.01).abs() < 1e-12);
        assert!((cost.total_usd() - (0.02 + 0.0125 + 0.001 + 0.002 + 9.693 + 0.01)).abs() < 1e-12);
        assert!((cost.why().value - cost.total_usd()).abs() < 1e-15);
        let early = Purchase { expected_seconds: 10.0, ..purchase() };
        assert_eq!(external(&early).unwrap().lateness_usd, 0.0, "being early earns nothing");
    }

    #[test]
    fn a_wrong_field_is_named() {
        let named = |purchase: Purchase| external(&purchase).unwrap_err().message;
        assert!(named(Purchase { price_usd: f64::NAN, ..purchase() }).contains("price_usd"));
        assert!(named(Purchase { gb_per_second: 0.0, ..purchase() }).contains("gb_per_second"));
        assert!(named(Purchase { risks: [0.1, 1.1, 0.0], ..purchase() }).contains("risks[1]"));
        assert!(named(Purchase { value_usd: f64::INFINITY, ..purchase() }).contains("value_usd"));
        assert!(named(Purchase { usd_per_hour_waited: -1.0, ..purchase() }).contains("usd_per_hour_waited"));
    }

    proptest! {
        #[test]
        fn components_are_conserved_and_risk_is_bounded(
            price in 0.0..10.0f64, value in 0.0..1000.0f64, impact in 0.0..5.0f64,
            risks in proptest::array::uniform3(0.0..=1.0f64), more in 0.0..1.0f64,
        ) {
            let purchase = Purchase { price_usd: price, value_usd: value, impact, risks, ..purchase() };
            let cost = external(&purchase).unwrap();
            let parts = cost.price_usd + cost.communication_usd + cost.verification_usd + cost.integration_usd
                + cost.risk_usd + cost.lateness_usd;
            prop_assert!((parts - cost.total_usd()).abs() <= 1e-12 * parts);
            prop_assert!(cost.risk_usd <= impact * value + 1e-9);
            let worse = risks.map(|p| p + (1.0 - p) * more);
            prop_assert!(risk_usd(value, impact, &worse).unwrap() >= cost.risk_usd - 1e-9);
        }
    }
}
