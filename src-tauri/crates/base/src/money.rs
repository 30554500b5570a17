//! Money is integer. What is owed or paid is [`MicroUsd`]; prices are a [`Rate`], because a single token may
//! cost less than a micro-dollar.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An amount in millionths of a US dollar. May be negative in a ledger posting; prices and caps never are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(pub i64);

impl MicroUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// `self + other`, or `None` when the sum does not fit 64 bits.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The same amount with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        Self(self.0.saturating_neg())
    }

    /// US dollars as a float, for display and analysis only; never for what is owed.
    #[must_use]
    pub fn as_usd(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for MicroUsd {
    /// Enough digits to be true: `$0.00042`, `$12.50`; at least two decimals, at most six.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, micro) = (self.0.unsigned_abs() / 1_000_000, self.0.unsigned_abs() % 1_000_000);
        let decimals = format!("{micro:06}");
        let trimmed = decimals.trim_end_matches('0');
        let digits = if trimmed.len() < 2 { &decimals[..2] } else { trimmed };
        write!(f, "{sign}${whole}.{digits}")
    }
}

impl fmt::Debug for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::iter::Sum for MicroUsd {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, |total, amount| Self(total.0.saturating_add(amount.0)))
    }
}

/// What a unit of work is. Units are declared in the job before it is tendered, so both sides know the bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// One token of input to an embedding model, after tokenising and truncation.
    Token,
    /// One floating-point operation of a dense matrix product: 2·m·k·n of them.
    Flop,
    /// One element that a kernel of the catalogue reads, or one random path.
    Element,
    /// One loop iteration that a WGSL invocation may spend (its fuel).
    Step,
}

/// A price: `micro_usd` for `per_units` units of `unit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Price of `per_units` units, in micro-dollars; zero means free.
    pub micro_usd: u64,
    /// How many units that price buys; at least one.
    pub per_units: u64,
    /// The unit priced.
    pub unit: Unit,
}

impl Rate {
    /// ⌈units × micro_usd / per_units⌉ in 128-bit arithmetic: rounded once, upwards.
    ///
    /// `None` when `per_units` is zero or the amount does not fit 63 bits.
    #[must_use]
    pub fn amount(&self, units: u64) -> Option<MicroUsd> {
        if self.per_units == 0 {
            return None;
        }
        let exact = u128::from(units) * u128::from(self.micro_usd);
        i64::try_from(exact.div_ceil(u128::from(self.per_units))).ok().map(MicroUsd)
    }

    /// `units` at this price and `others` at `other`, together rounded once, upwards. The same price for both comes to
    /// the amount of all units.
    ///
    /// `None` when a price is per nothing or the amount does not fit 63 bits.
    #[must_use]
    pub fn amount_with(&self, units: u64, other: &Self, others: u64) -> Option<MicroUsd> {
        let wide = u128::from;
        let denominator = wide(self.per_units) * wide(other.per_units);
        let these = (wide(units) * wide(self.micro_usd)).checked_mul(wide(other.per_units))?;
        let those = (wide(others) * wide(other.micro_usd)).checked_mul(wide(self.per_units))?;
        let exact = these.checked_add(those)?;
        (denominator > 0).then(|| i64::try_from(exact.div_ceil(denominator)).ok().map(MicroUsd))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_print_with_enough_digits_to_be_true() {
        for (micro, text) in
            [(0, "$0.00"), (420, "$0.00042"), (12_500_000, "$12.50"), (-1, "-$0.000001"), (1_234_567, "$1.234567")]
        {
            assert_eq!(MicroUsd(micro).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn an_amount_is_the_exact_quotient_rounded_up(units in 0..u64::from(u32::MAX), micro_usd in 0..1_000_000u64, per_units in 1..1_000_000_000u64) {
            let amount = u128::try_from(Rate { micro_usd, per_units, unit: Unit::Token }.amount(units).unwrap().0).unwrap();
            let exact = u128::from(units) * u128::from(micro_usd);
            prop_assert!(amount * u128::from(per_units) >= exact);
            prop_assert!(amount == 0 || (amount - 1) * u128::from(per_units) < exact);
        }
    }

    proptest! {
        /// The same price for both is one price, less of either costs no more, and the bill is at most a micro-dollar
        /// below that of two bills.
        #[test]
        fn two_prices_bill_what_one_would(a in 0..1_000_000u64, b in 0..1_000_000u64, first in 0..100_000u64, second in 0..100_000u64, per in 1..1_000_000u64, of in 1..1_000_000u64) {
            let rate = |micro_usd, per_units| Rate { micro_usd, per_units, unit: Unit::Token };
            let (text, prompt) = (rate(first, per), rate(second, of));
            prop_assert_eq!(text.amount_with(a, &text, b), text.amount(a + b));
            let both = text.amount_with(a, &prompt, b).unwrap();
            prop_assert_eq!(Some(both), prompt.amount_with(b, &text, a));
            let apart = text.amount(a).unwrap().0 + prompt.amount(b).unwrap().0;
            prop_assert!((apart - 1..=apart).contains(&both.0));
            prop_assert!(text.amount_with(a / 2, &prompt, b).unwrap() <= both);
        }
    }

    #[test]
    fn two_prices_are_one_bill_rounded_once() {
        let per_thousand = |micro_usd| Rate { micro_usd, per_units: 1_000, unit: Unit::Token };
        // 5.05 and 0.9 micro-USD: 6, where each rounded alone would make 7.
        assert_eq!(per_thousand(9).amount_with(100, &per_thousand(1), 5_050), Some(MicroUsd(6)));
        let rate = Rate { micro_usd: 7, per_units: 3, unit: Unit::Token };
        assert_eq!(rate.amount_with(11, &rate, 5), rate.amount(16));
        assert_eq!(rate.amount_with(1, &Rate { per_units: 0, ..rate }, 1), None);
        let dear = Rate { micro_usd: u64::MAX, per_units: u64::MAX, unit: Unit::Token };
        assert_eq!(dear.amount_with(u64::MAX, &dear, u64::MAX), None);
    }

    #[test]
    fn a_rate_that_cannot_be_paid_has_no_amount() {
        assert_eq!(Rate { micro_usd: 1, per_units: 0, unit: Unit::Flop }.amount(1), None);
        assert_eq!(Rate { micro_usd: u64::MAX, per_units: 1, unit: Unit::Flop }.amount(u64::MAX), None);
    }
}
