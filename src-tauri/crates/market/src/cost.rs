//! What running a job on the own card costs: energy, wear, and the rental income forgone.

pub mod external;
pub mod here;
pub mod internal;

use serde::{Deserialize, Serialize};
use tender_base::{JobKind, units::Watts};

/// What an hour of this machine costs while it works.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// Power at the wall while the card works: card and the rest of the machine's share, over the power supply's
    /// efficiency.
    pub watts: Watts,
    /// Whether `watts` comes from a sensor.
    pub watts_measured: bool,
    /// Price of electricity, USD per kWh.
    pub tariff_usd_per_kwh: f64,
    /// Wear of an active hour, USD, see [`wear_usd_per_hour`]; of a rented machine its rent.
    pub wear_usd_per_hour: f64,
    /// Margin that an hour sold to somebody else would bring, USD; zero when nothing is sold.
    pub opportunity_usd_per_hour: f64,
}

impl Default for Running {
    /// An RTX 4080 (320 W and 80 W of the machine over 90 % efficiency) at $0.17 per kWh, bought for $1,199, kept
    /// three years, worth 35 % then, 8 % interest, active half of the time. Stated, not measured.
    fn default() -> Self {
        Self {
            watts: Watts(400.0 / 0.9),
            watts_measured: false,
            tariff_usd_per_kwh: 0.17,
            wear_usd_per_hour: wear_usd_per_hour(1_199.0, 0.35, 3.0, 0.08, 4_380.0),
            opportunity_usd_per_hour: 0.0,
        }
    }
}

impl Running {
    /// Energy of an active hour, USD.
    #[must_use]
    pub fn energy_usd_per_hour(&self) -> f64 {
        energy_usd(self.watts, 3_600.0, self.tariff_usd_per_kwh)
    }

    /// Everything an active hour costs, USD.
    #[must_use]
    pub fn usd_per_hour(&self) -> f64 {
        self.energy_usd_per_hour() + self.wear_usd_per_hour + self.opportunity_usd_per_hour
    }
}

/// What `seconds` at `watts` cost at one price, USD: eq. 4 of COALESCE in kilowatts and hours, of measured watts.
#[must_use]
pub fn energy_usd(watts: Watts, seconds: f64, usd_per_kwh: f64) -> f64 {
    watts.0 / 1000.0 * (seconds / 3_600.0) * usd_per_kwh
}

/// Capital recovery factor r(1+r)ⁿ/((1+r)ⁿ − 1): the yearly payment that repays one dollar in `years` at `rate`
/// interest per year; 1/n without interest.
#[must_use]
pub fn capital_recovery_factor(rate: f64, years: f64) -> f64 {
    if rate == 0.0 {
        return 1.0 / years;
    }
    // The same as r/(1 − (1+r)⁻ⁿ), without losing the digits of a small rate.
    -rate / libm::expm1(-years * libm::log1p(rate))
}

/// Wear of an active hour, USD: the annuity of the price less the present value of the resale, over the active hours
/// of a year. (P − R·P/(1+r)ⁿ)·CRF/h.
#[must_use]
pub fn wear_usd_per_hour(
    price_usd: f64,
    resale_fraction: f64,
    years: f64,
    rate: f64,
    active_hours_per_year: f64,
) -> f64 {
    let present = price_usd - resale_fraction * price_usd / libm::pow(1.0 + rate, years);
    present * capital_recovery_factor(rate, years) / active_hours_per_year
}

/// Units per second that this machine was measured to do, per kind; `None` until a job of the kind has run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throughput {
    /// Tokens per second.
    pub embed: Option<f64>,
    /// Floating-point operations per second.
    pub gemm: Option<f64>,
    /// Elements, or random paths, per second.
    #[serde(default)]
    pub kernel: Option<f64>,
    /// Steps per second.
    pub wgsl: Option<f64>,
    /// Tokens per second, of prompt and text together.
    #[serde(default)]
    pub generate: Option<f64>,
}

impl Throughput {
    /// The measured throughput of a kind.
    #[must_use]
    pub fn of(&self, kind: JobKind) -> Option<f64> {
        match kind {
            JobKind::Embed => self.embed,
            JobKind::Gemm => self.gemm,
            JobKind::Kernel => self.kernel,
            JobKind::Wgsl => self.wgsl,
            JobKind::Generate => self.generate,
        }
        .filter(|units_per_second| units_per_second.is_finite() && *units_per_second > 0.0)
    }

    /// Takes a finished run into account: an exponential mean with weight ¼, so that one odd run moves the estimate
    /// by a quarter at most and four runs have mostly replaced it. Runs too short to time are ignored.
    pub fn learn(&mut self, kind: JobKind, units: u64, wall_ms: u64) {
        if units == 0 || wall_ms == 0 {
            return;
        }
        let seen = units as f64 / (wall_ms as f64 / 1000.0);
        let learned = self.of(kind).map_or(seen, |known| known + (seen - known) / 4.0);
        match kind {
            JobKind::Embed => self.embed = Some(learned),
            JobKind::Gemm => self.gemm = Some(learned),
            JobKind::Kernel => self.kernel = Some(learned),
            JobKind::Wgsl => self.wgsl = Some(learned),
            JobKind::Generate => self.generate = Some(learned),
        }
    }

    /// What is assumed of a machine before its first run, and the estimate then says so: about what Mesa's CPU
    /// adapter does on two cores, so that a first estimate is too long rather than too short.
    #[must_use]
    pub fn assumed(kind: JobKind) -> f64 {
        match kind {
            JobKind::Embed => 300.0,
            JobKind::Gemm => 3e9,
            JobKind::Kernel => 1e7,
            JobKind::Wgsl => 1e8,
            JobKind::Generate => 5.0,
        }
    }
}

/// Time that any job takes beside its arithmetic: upload, pipeline, readback; milliseconds.
pub const OVERHEAD_MS: f64 = 50.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, golden: f64) {
        assert!((value - golden).abs() <= 1e-9 * golden.abs(), "{value} is not {golden}");
    }

    #[test]
    fn the_golden_case_of_an_rtx_4080() {
        // Computed independently: r = 0.08, n = 3; P = 1199, R = 0.35.
        close(capital_recovery_factor(0.08, 3.0), 0.388_033_514_046_328);
        close(wear_usd_per_hour(1199.0, 0.35, 3.0, 0.08, 1.0), 335.985_919_172_005_7);
        close(Running::default().energy_usd_per_hour() * 4380.0, 330.933_333_333_333_4);
        close(capital_recovery_factor(0.0, 4.0), 0.25);
    }

    #[test]
    fn throughput_is_learned_from_runs_and_survives_odd_ones() {
        let mut throughput = Throughput::default();
        throughput.learn(JobKind::Embed, 1000, 0);
        assert_eq!(throughput.of(JobKind::Embed), None);
        throughput.learn(JobKind::Embed, 1000, 500);
        assert_eq!(throughput.of(JobKind::Embed), Some(2000.0));
        throughput.learn(JobKind::Embed, 1000, 1_000_000);
        assert_eq!(throughput.of(JobKind::Embed), Some(1500.25));
        throughput.embed = Some(f64::NAN);
        assert_eq!(throughput.of(JobKind::Embed), None);
    }
}
