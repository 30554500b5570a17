//! What the card says of heat, power and other programs.

use super::programs;
use crate::{Process, Sensor};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// A card that was too hot is cool again so many degrees below the limit.
const COOL_DEGREES: f64 = 5.0;
/// Power above its limit for less than this is a peak, as every card has them.
const PEAK: Duration = Duration::from_secs(2);
/// What every worker is called: those of another node on the same card would yield to this one's, and the other way
/// round, without end.
const WORKER: &str = "tender-worker";

/// What was above its limit at the last look.
#[derive(Debug, Default)]
pub(super) struct Limits {
    hot: bool,
    above_since: Option<Instant>,
}

impl Limits {
    /// Whether this temperature is too high; with hysteresis, so that it does not flap.
    pub(super) fn too_hot(&mut self, now: f64, limit: f64) -> bool {
        self.hot = now >= limit || self.hot && now > limit - COOL_DEGREES;
        self.hot
    }

    /// Whether power has been above its limit for longer than a peak.
    pub(super) fn too_much(&mut self, at: Instant, watts: f64, limit: f64) -> bool {
        self.above_since = (watts > limit).then(|| self.above_since.unwrap_or(at));
        self.above_since.is_some_and(|since| at.saturating_duration_since(since) >= PEAK)
    }
}

/// The program that holds the most of the card's memory, at least `limit` bytes of it, and is neither ours nor on the
/// list.
///
/// # Errors
/// Why the card does not tell.
pub(super) fn foreign(
    card: &dyn Sensor,
    proc: &Path,
    ignored: &[String],
    limit: u64,
) -> Result<Option<(String, u64)>, String> {
    let processes = card.processes().map_err(|e| e.to_string())?;
    let this = std::process::id();
    let is_large = |process: &Process| process.memory_bytes.filter(|bytes| *bytes >= limit);
    let mut large: Vec<(u64, u32)> = processes.iter().filter_map(|p| Some((is_large(p)?, p.pid))).collect();
    large.sort_unstable_by(|a, b| b.cmp(a));
    for (bytes, pid) in large {
        let name = programs::name(proc, pid).unwrap_or_else(|| format!("process {pid}"));
        let ours = pid == this || programs::parent(proc, pid) == Some(this) || name == WORKER;
        if !ours && !programs::named(&name, ignored) {
            return Ok(Some((name, bytes)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_has_hysteresis_and_a_peak_of_power_is_none() {
        let mut limits = Limits::default();
        let heat: Vec<bool> =
            [80.0, 87.0, 83.0, 82.1, 82.0, 86.0].into_iter().map(|c| limits.too_hot(c, 87.0)).collect();
        assert_eq!(heat, [false, true, true, true, false, false]);
        let start = Instant::now();
        let mut after = |ms, watts| limits.too_much(start + Duration::from_millis(ms), watts, 300.0);
        assert_eq!([after(0, 310.0), after(1_000, 310.0), after(1_500, 290.0)], [false; 3]);
        assert_eq!([after(2_000, 310.0), after(4_000, 320.0), after(4_250, 300.0)], [false, true, false]);
    }
}
