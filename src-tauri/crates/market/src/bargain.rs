//! Where two would meet: Nash's bargaining solution (1950) for one price.

use serde::{Deserialize, Serialize};

/// A price between the two reserves, with what it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bargain {
    /// The most the buyer would pay, in USD: what running here costs, less what buying costs beside the price.
    pub buyer_reserve_usd: f64,
    /// The least the seller would take, in USD: its marginal cost.
    pub seller_reserve_usd: f64,
    /// The price that maximises the product of both gains, in USD: their middle, both being linear in it.
    pub price_usd: f64,
}

/// The fair price of a job, or `None` where no price leaves both better off.
///
/// It replaces equation 16, whose min-max of a difference of utilities is no equilibrium of a game that both can win.
#[must_use]
pub fn nash(internal_usd: f64, overheads_usd: f64, seller_marginal_usd: f64) -> Option<Bargain> {
    let buyer_reserve_usd = internal_usd - overheads_usd;
    let agreement = buyer_reserve_usd.is_finite()
        && seller_marginal_usd.is_finite()
        && overheads_usd >= 0.0
        && seller_marginal_usd >= 0.0
        && buyer_reserve_usd >= seller_marginal_usd;
    agreement.then(|| Bargain {
        buyer_reserve_usd,
        seller_reserve_usd: seller_marginal_usd,
        price_usd: seller_marginal_usd + (buyer_reserve_usd - seller_marginal_usd) / 2.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_in_the_middle_of_the_zone_of_agreement() {
        assert!((nash(0.10, 0.02, 0.03).unwrap().price_usd - 0.055).abs() < 1e-15);
        assert_eq!(nash(0.05, 0.03, 0.03), None);
        assert_eq!(nash(f64::NAN, 0.03, 0.03), None);
        assert_eq!(nash(1.0, 0.0, -1.0), None);
    }
}
