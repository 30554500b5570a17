//! What a contractor asks, and below what it works at a loss.

use crate::cost::Running;
use serde::{Deserialize, Serialize};
use tender_base::{Code, JobKind, MicroUsd, Problem, Rate, Unit};

/// Asking prices, one per kind of work.
///
/// The defaults are tiny on purpose and stand on one figure: an RTX 4080 costs $0.163 per active hour, that is 45.3
/// micro-USD per second, with capital, energy and maintenance at 50 % utilisation. A default pays for the card as
/// long as the whole job, transfer included, keeps up the throughput in the last column:
///
/// | kind | default | pays down to |
/// |---|---|---|
/// | embed | 20 micro-USD per 1,000 tokens ($0.02 per million, what hosted small encoders ask) | 2,260 tokens/s |
/// | gemm | 1 micro-USD per 10⁹ floating-point operations | 45 GFLOP/s |
/// | kernel | 10 micro-USD per 10⁹ elements or paths | 4.5·10⁹ elements/s |
/// | wgsl | 10 micro-USD per 10⁹ steps | 4.5·10⁹ steps/s |
/// | generate | 80 micro-USD per 1,000 tokens ($0.08 per million, the dearest that hosted 8B models ask for output) | 566 tokens/s |
///
/// A real card computes faster by one to two orders of magnitude; what is left pays for moving matrices over a home
/// connection, during which the slot is held. A CPU adapter reaches none of them: [`Floor`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    /// Per token.
    pub embed: Rate,
    /// Per floating-point operation.
    pub gemm: Rate,
    /// Per element, or random path.
    pub kernel: Rate,
    /// Per step of fuel.
    pub wgsl: Rate,
    /// Per token of prompt and text.
    pub generate: Rate,
}

/// Largest price per `per_units` units, ten dollars: a settings field with three zeros too many is caught.
pub const MAX_RATE_MICRO_USD: u64 = 10_000_000;

/// What a cloud asks for text, in micro-USD per million tokens, as the provider's price list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudPrice {
    /// For the prompt.
    pub prompt_micro_usd_per_million: u64,
    /// For the text.
    pub text_micro_usd_per_million: u64,
}

impl CloudPrice {
    /// The whole bill, rounded once and upwards; at most what 63 bits hold.
    #[must_use]
    pub fn amount(&self, prompt_tokens: u32, text_tokens: u32) -> MicroUsd {
        let of = |tokens: u32, price: u64| u128::from(tokens) * u128::from(price);
        let exact =
            of(prompt_tokens, self.prompt_micro_usd_per_million) + of(text_tokens, self.text_micro_usd_per_million);
        MicroUsd(i64::try_from(exact.div_ceil(1_000_000)).unwrap_or(i64::MAX))
    }
}

/// Prices for text by what really takes the time: reading a token of prompt is ten to a hundred times faster than
/// writing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRates {
    /// For a token of prompt.
    pub prompt: Rate,
    /// For a token of text.
    pub text: Rate,
}

impl TokenRates {
    /// The same price for both, as [`PriceList::generate`] has it.
    #[must_use]
    pub fn uniform(rate: Rate) -> Self {
        Self { prompt: rate, text: rate }
    }

    /// The whole bill, rounded once and upwards; `None` when a rate is per nothing or the bill does not fit 63 bits.
    #[must_use]
    pub fn amount(&self, prompt_tokens: u64, text_tokens: u64) -> Option<MicroUsd> {
        let wide = u128::from;
        let (of_prompt, of_text) = (wide(self.prompt.per_units), wide(self.text.per_units));
        let prompt = (wide(prompt_tokens) * wide(self.prompt.micro_usd)).checked_mul(of_text)?;
        let text = (wide(text_tokens) * wide(self.text.micro_usd)).checked_mul(of_prompt)?;
        let denominator = of_prompt * of_text;
        let exact = prompt.checked_add(text)?;
        (denominator > 0).then(|| i64::try_from(exact.div_ceil(denominator)).ok().map(MicroUsd))?
    }

    /// The rate at which the largest bill of a job comes to the same as here, for documents that know one rate only.
    /// A text that ends early is then billed at the mix of the whole job: dearer than here when text costs more than
    /// the prompt. `None` as for [`Self::amount`], and for a job without tokens.
    #[must_use]
    pub fn as_one(&self, prompt_tokens: u64, text_tokens: u64) -> Option<Rate> {
        let per_units = prompt_tokens.checked_add(text_tokens).filter(|units| *units > 0)?;
        let micro_usd = u64::try_from(self.amount(prompt_tokens, text_tokens)?.0).ok()?;
        Some(Rate { micro_usd, per_units, unit: Unit::Token })
    }
}

impl Default for PriceList {
    fn default() -> Self {
        Self {
            embed: Rate { micro_usd: 20, per_units: 1_000, unit: Unit::Token },
            gemm: Rate { micro_usd: 1, per_units: 1_000_000_000, unit: Unit::Flop },
            kernel: Rate { micro_usd: 10, per_units: 1_000_000_000, unit: Unit::Element },
            wgsl: Rate { micro_usd: 10, per_units: 1_000_000_000, unit: Unit::Step },
            generate: Rate { micro_usd: 80, per_units: 1_000, unit: Unit::Token },
        }
    }
}

impl PriceList {
    /// The rate for a kind of work.
    #[must_use]
    pub fn rate(&self, kind: JobKind) -> Rate {
        match kind {
            JobKind::Embed => self.embed,
            JobKind::Gemm => self.gemm,
            JobKind::Kernel => self.kernel,
            JobKind::Wgsl => self.wgsl,
            JobKind::Generate => self.generate,
        }
    }

    /// Whether every rate can be billed.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the field: a wrong unit, `per_units` of zero, or a price out of range.
    pub fn check(&self) -> Result<(), Problem> {
        for kind in JobKind::ALL {
            let (name, rate) = (kind.name(), self.rate(kind));
            let wrong = if rate.unit != kind.unit() {
                format!("prices.{name}.unit must be {:?}", kind.unit())
            } else if rate.per_units == 0 {
                format!("prices.{name}.per_units must be at least 1")
            } else if rate.micro_usd > MAX_RATE_MICRO_USD {
                format!("prices.{name}.micro_usd must be at most {MAX_RATE_MICRO_USD}")
            } else {
                continue;
            };
            return Err(Problem::new(Code::Invalid, wrong, "correct the price and save it again"));
        }
        Ok(())
    }
}

/// The marginal cost of a unit: what is lost by doing one more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// Energy, wear and the margin displaced, per unit, in micro-USD.
    pub micro_usd_per_unit: f64,
    /// Whether watts and throughput were both measured.
    pub measured: bool,
}

/// The floor at a throughput: (watts/1000 × tariff + wear + opportunity) per hour over the units done in it.
///
/// `units_per_second` was measured; `None` when it is not finite and positive. The tariff in `running` is that of the
/// hour, and its opportunity the margin of work that a sale really displaces: nothing on an idle card.
#[must_use]
pub fn floor(units_per_second: f64, running: &Running) -> Option<Floor> {
    (units_per_second.is_finite() && units_per_second > 0.0).then(|| Floor {
        micro_usd_per_unit: running.usd_per_hour() * 1e6 / 3600.0 / units_per_second,
        measured: running.watts_measured,
    })
}

impl Floor {
    /// What to tell an owner who asks less than the floor; `None` at or above it. Selling below is permitted: a
    /// card that would heat a cold room anyway costs nothing.
    #[must_use]
    pub fn warning(&self, rate: &Rate) -> Option<String> {
        let asked = rate.micro_usd as f64 / rate.per_units.max(1) as f64;
        (asked < self.micro_usd_per_unit).then(|| {
            let share = 100.0 * asked / self.micro_usd_per_unit;
            let basis = if self.measured { "measured" } else { "stated" };
            format!("the price covers {share:.0} % of energy, wear and income forgone ({basis}); every job loses money")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn running() -> Running {
        Running {
            watts: tender_base::units::Watts(400.0 / 0.9),
            watts_measured: true,
            tariff_usd_per_kwh: 0.17,
            wear_usd_per_hour: 335.985919 / 4380.0,
            opportunity_usd_per_hour: 0.0,
        }
    }

    #[test]
    fn the_defaults_can_be_billed_and_cover_a_card_at_the_documented_throughput() {
        let prices = PriceList::default();
        assert_eq!(prices.check(), Ok(()));
        // 0.163 USD per active hour is 45.3 micro-USD per second.
        for (kind, throughput) in [
            (JobKind::Embed, 2_265.0),
            (JobKind::Gemm, 45.3e9),
            (JobKind::Kernel, 4.53e9),
            (JobKind::Wgsl, 4.53e9),
            (JobKind::Generate, 566.25),
        ] {
            let rate = prices.rate(kind);
            let per_second = rate.micro_usd as f64 / rate.per_units as f64 * throughput;
            assert!((per_second - 45.3).abs() < 0.01, "{kind:?}: {per_second}");
            assert_eq!(floor(throughput, &running()).unwrap().warning(&rate), None, "marginal is below full cost");
        }
    }

    #[test]
    fn the_floor_is_energy_and_wear_over_throughput_and_selling_below_is_reported() {
        let at_one = floor(1.0, &running()).unwrap();
        // 444.4 W × 0.17 = 0.07556 USD/h; wear 0.07671 USD/h; together 42.295 micro-USD/s.
        assert!((at_one.micro_usd_per_unit - 42.295).abs() < 1e-3, "{at_one:?}");
        let slow = floor(100.0, &running()).unwrap();
        let warning = slow.warning(&PriceList::default().embed).unwrap();
        assert!(warning.contains("5 %"), "{warning}");
        for throughput in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(floor(throughput, &running()), None);
        }
    }

    #[test]
    fn prompt_and_text_are_priced_apart() {
        let rate = |micro_usd, per_units| Rate { micro_usd, per_units, unit: Unit::Token };
        let rates = TokenRates { prompt: rate(1, 100_000), text: rate(9, 100_000) };
        // 5,000 prompts at 10 and 200 of text at 90 micro-USD per million: 0.05 + 0.018, rounded up once.
        assert_eq!(rates.amount(5_000, 200), Some(MicroUsd(1)));
        assert_eq!(rates.amount(5_000_000, 200_000), Some(MicroUsd(68)));
        assert_eq!(rates.as_one(5_000_000, 200_000), Some(rate(68, 5_200_000)));
        assert_eq!(rates.as_one(0, 0), None);
        assert_eq!(TokenRates { prompt: rate(1, 0), ..rates }.amount(1, 1), None);
        let dear = TokenRates::uniform(rate(u64::MAX, 1));
        assert_eq!(dear.amount(u64::MAX, u64::MAX), None);
    }

    proptest! {
        #[test]
        fn one_rate_bills_the_whole_job_the_same(prompt in 0..100_000u64, text in 1..100_000u64, a in 0..10_000u64, b in 0..10_000u64, units in 1..1_000_000u64) {
            let rate = |micro_usd, per_units| Rate { micro_usd, per_units, unit: Unit::Token };
            let rates = TokenRates { prompt: rate(a, units), text: rate(b, 1_000) };
            let whole = rates.amount(prompt, text).unwrap();
            prop_assert_eq!(rates.as_one(prompt, text).unwrap().amount(prompt + text), Some(whole));
            let uniform = TokenRates::uniform(rate(a, units));
            prop_assert_eq!(uniform.amount(prompt, text), rate(a, units).amount(prompt + text));
            prop_assert!(rates.amount(prompt, text - 1).unwrap() <= whole);
        }
    }

    #[test]
    fn a_price_that_cannot_be_billed_names_its_field() {
        let mut prices = PriceList::default();
        prices.gemm.per_units = 0;
        assert!(prices.check().unwrap_err().message.contains("prices.gemm.per_units"));
        let mut prices = PriceList::default();
        prices.embed.unit = Unit::Flop;
        assert!(prices.check().unwrap_err().message.contains("prices.embed.unit"));
        let mut prices = PriceList::default();
        prices.wgsl.micro_usd = u64::MAX;
        assert!(prices.check().unwrap_err().message.contains("prices.wgsl.micro_usd"));
    }
}
