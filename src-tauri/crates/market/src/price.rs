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
    /// Per token of prompt, where that has a price of its own: reading one is ten to a hundred times faster than writing
    /// one. `generate` is then the text's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate_prompt: Option<Rate>,
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

impl Default for PriceList {
    fn default() -> Self {
        Self {
            embed: Rate { micro_usd: 20, per_units: 1_000, unit: Unit::Token },
            gemm: Rate { micro_usd: 1, per_units: 1_000_000_000, unit: Unit::Flop },
            kernel: Rate { micro_usd: 10, per_units: 1_000_000_000, unit: Unit::Element },
            wgsl: Rate { micro_usd: 10, per_units: 1_000_000_000, unit: Unit::Step },
            generate: Rate { micro_usd: 80, per_units: 1_000, unit: Unit::Token },
            generate_prompt: None,
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

    /// The rate for the prompt, of work that has one with a price of its own.
    #[must_use]
    pub fn prompt_rate(&self, kind: JobKind) -> Option<Rate> {
        self.generate_prompt.filter(|_| kind == JobKind::Generate)
    }

    /// Another rate for a kind of work.
    pub fn set(&mut self, kind: JobKind, rate: Rate) {
        match kind {
            JobKind::Embed => self.embed = rate,
            JobKind::Gemm => self.gemm = rate,
            JobKind::Kernel => self.kernel = rate,
            JobKind::Wgsl => self.wgsl = rate,
            JobKind::Generate => self.generate = rate,
        }
    }

    /// Whether every rate can be billed.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the field: a wrong unit, `per_units` of zero, or a price out of range.
    pub fn check(&self) -> Result<(), Problem> {
        let all = JobKind::ALL.map(|kind| (kind.name(), kind, self.rate(kind)));
        let prompt = self.generate_prompt.map(|rate| ("generate_prompt", JobKind::Generate, rate));
        for (name, kind, rate) in all.into_iter().chain(prompt) {
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
        let prompt = Rate { micro_usd: 1, per_units: 1_000, unit: Unit::Token };
        let mut prices = PriceList { generate_prompt: Some(prompt), ..PriceList::default() };
        assert_eq!(prices.check(), Ok(()));
        assert_eq!((prices.prompt_rate(JobKind::Generate), prices.prompt_rate(JobKind::Embed)), (Some(prompt), None));
        prices.generate_prompt = Some(Rate { per_units: 0, ..prompt });
        assert!(prices.check().unwrap_err().message.contains("prices.generate_prompt.per_units"));
    }
}
