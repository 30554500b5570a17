//! How much energy a job took: the card's counter at the end less at the start, less what it would have drawn idle.

use crate::sensor::{Reading, Sensor};
use std::time::{Duration, Instant};
use tender_base::units::{Meter, Watts};

/// How often NVIDIA's energy counter moves. Each end of a measurement may be off by this much time.
pub const COUNTER_PERIOD: Duration = Duration::from_millis(100);
/// Longest gap between two power samples that may be bridged by a straight line. Sampling is meant at 10 to 20 Hz.
pub const MAX_SAMPLE_GAP: Duration = Duration::from_millis(500);
/// Shortest job whose energy is reported: below, the counter's period alone is an error of 100 %.
pub const SHORTEST: Duration = Duration::from_millis(200);

/// Measures one job on one card.
#[derive(Debug)]
pub struct EnergyMeter {
    started: Instant,
    first: Option<Reading>,
    last: Option<Reading>,
    /// Trapezoids under the power samples, in joules; `None` once a gap was too long to bridge.
    sampled_joules: Option<f64>,
}

/// What a job took.
#[derive(Clone, Debug, PartialEq)]
pub struct Metered {
    /// Time and net energy, as documents state them.
    pub meter: Meter,
    /// Energy of the card without taking idle power off, in joules.
    pub gross_joules: Option<f64>,
    /// Half width of the interval around either energy, in joules: the mean power over one counter period at each
    /// end.
    pub uncertainty_joules: Option<f64>,
}

impl EnergyMeter {
    /// Starts to measure. Without a sensor, or with one that fails, only time is measured.
    #[must_use]
    pub fn start(sensor: Option<&dyn Sensor>) -> Self {
        let first = sensor.and_then(|sensor| sensor.read().ok());
        let started = first.map_or_else(Instant::now, |reading| reading.at);
        Self { started, first, last: first, sampled_joules: first.map(|_| 0.0) }
    }

    /// Takes a power sample, for cards without an energy counter. Call it 10 to 20 times a second; cards with a
    /// counter do not need it.
    pub fn sample(&mut self, sensor: &dyn Sensor) {
        match sensor.read() {
            Ok(reading) => self.add(reading),
            Err(_) => self.sampled_joules = None,
        }
    }

    fn add(&mut self, reading: Reading) {
        let trapezoid = self.last.and_then(|last| {
            let span = reading.at.saturating_duration_since(last.at);
            (span <= MAX_SAMPLE_GAP).then_some((last.power_watts? + reading.power_watts?) / 2.0 * span.as_secs_f64())
        });
        self.sampled_joules = self.sampled_joules.zip(trapezoid).map(|(sum, joules)| sum + joules);
        self.last = Some(reading);
    }

    /// Ends the measurement. `idle` is the card's power without work, from [`mean_power`]; when it is not known,
    /// nothing is taken off.
    #[must_use]
    pub fn finish(mut self, sensor: Option<&dyn Sensor>, idle: Option<Watts>) -> Metered {
        let end = sensor.and_then(|sensor| sensor.read().ok());
        let span = end.map_or_else(Instant::now, |reading| reading.at).saturating_duration_since(self.started);
        let wall_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let unmeasured =
            Metered { meter: Meter::without_sensor(wall_ms), gross_joules: None, uncertainty_joules: None };
        let (Some(first), Some(end)) = (self.first, end) else { return unmeasured };
        self.add(end);
        // A counter that runs backwards was reset with its driver.
        let counted = end.energy_joules.zip(first.energy_joules).map(|(end, start)| end - start).filter(|j| *j >= 0.0);
        let Some(gross) = counted.or(self.sampled_joules).filter(|joules| joules.is_finite()) else {
            return unmeasured;
        };
        if span < SHORTEST {
            return unmeasured;
        }
        let seconds = span.as_secs_f64();
        let net = (gross - idle.map_or(0.0, |watts| watts.0) * seconds).max(0.0);
        Metered {
            meter: Meter { wall_ms, energy_joules: Some(net), measured: true },
            gross_joules: Some(gross),
            uncertainty_joules: Some(gross / seconds * COUNTER_PERIOD.as_secs_f64() * 2.0),
        }
    }
}

/// Mean power between two readings: by the counter when both have it, else the mean of both powers. Ten seconds
/// without work give the idle power.
#[must_use]
pub fn mean_power(start: &Reading, end: &Reading) -> Option<Watts> {
    let seconds = end.at.saturating_duration_since(start.at).as_secs_f64();
    let counted = match (start.energy_joules, end.energy_joules) {
        (Some(before), Some(after)) if seconds > 0.0 && after >= before => Some((after - before) / seconds),
        _ => None,
    };
    counted.or_else(|| Some((start.power_watts? + end.power_watts?) / 2.0)).map(Watts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensor::SensorError;
    use std::{collections::VecDeque, sync::Mutex};

    /// (milliseconds, joules, watts); `None` is a failure to read.
    type Line = Option<(u64, Option<f64>, Option<f64>)>;

    /// Says what it was told to say.
    struct Script(Mutex<VecDeque<Option<Reading>>>);

    impl Script {
        fn new(readings: &[Line]) -> Self {
            let start = Instant::now();
            let reading = |(ms, energy_joules, power_watts): (u64, _, _)| Reading {
                energy_joules,
                power_watts,
                ..Reading::empty(start + Duration::from_millis(ms))
            };
            Self(Mutex::new(readings.iter().map(|r| r.map(reading)).collect()))
        }
    }

    impl Sensor for Script {
        fn read(&self) -> Result<Reading, SensorError> {
            self.0.lock().unwrap().pop_front().flatten().ok_or_else(|| SensorError::Other("gone".into()))
        }
        fn name(&self) -> &str {
            "scripted"
        }
    }

    #[test]
    fn the_counter_less_idle_power_is_the_energy() {
        let sensor = Script::new(&[Some((0, Some(1_000.0), None)), Some((10_000, Some(4_200.0), None))]);
        let metered = EnergyMeter::start(Some(&sensor)).finish(Some(&sensor), Some(Watts(20.0)));
        assert_eq!(metered.meter, Meter { wall_ms: 10_000, energy_joules: Some(3_000.0), measured: true });
        assert_eq!(metered.gross_joules, Some(3_200.0));
        assert!((metered.uncertainty_joules.unwrap() - 64.0).abs() < 1e-9, "320 W over 0.1 s at each end");
    }

    #[test]
    fn without_a_counter_dense_power_samples_are_integrated_and_sparse_ones_are_not() {
        let watts = |ms, watts| Some((ms, None, Some(watts)));
        let dense = Script::new(&[watts(0, 100.0), watts(200, 300.0), watts(400, 100.0)]);
        let mut meter = EnergyMeter::start(Some(&dense));
        meter.sample(&dense);
        let metered = meter.finish(Some(&dense), None);
        assert!((metered.meter.energy_joules.unwrap() - 80.0).abs() < 1e-9, "{metered:?}");

        let sparse = Script::new(&[watts(0, 100.0), watts(5_000, 100.0)]);
        let metered = EnergyMeter::start(Some(&sparse)).finish(Some(&sparse), None);
        assert_eq!(metered.meter, Meter::without_sensor(5_000));
    }

    #[test]
    fn nothing_is_invented() {
        let cases: [&[Line]; 4] = [
            &[None, None],
            &[Some((0, Some(5.0), None)), None],
            // The counter was reset.
            &[Some((0, Some(900.0), None)), Some((5_000, Some(3.0), None))],
            // Too short for the counter.
            &[Some((0, Some(5.0), None)), Some((150, Some(6.0), None))],
        ];
        for readings in cases {
            let sensor = Script::new(readings);
            let metered = EnergyMeter::start(Some(&sensor)).finish(Some(&sensor), None);
            assert!(!metered.meter.measured && metered.meter.energy_joules.is_none(), "{readings:?}: {metered:?}");
        }
        let metered = EnergyMeter::start(None).finish(None, None);
        assert!(!metered.meter.measured && metered.gross_joules.is_none());
    }

    #[test]
    fn idle_power_never_makes_energy_negative() {
        let sensor = Script::new(&[Some((0, Some(0.0), None)), Some((1_000, Some(10.0), None))]);
        let metered = EnergyMeter::start(Some(&sensor)).finish(Some(&sensor), Some(Watts(50.0)));
        assert_eq!(metered.meter.energy_joules, Some(0.0));
    }

    #[test]
    fn idle_power_comes_from_the_counter_where_there_is_one() {
        let at = Instant::now();
        let start = Reading { energy_joules: Some(100.0), power_watts: Some(99.0), ..Reading::empty(at) };
        let end = Reading { energy_joules: Some(230.0), ..Reading::empty(at + Duration::from_secs(10)) };
        assert_eq!(mean_power(&start, &end), Some(Watts(13.0)));
        let end = Reading { energy_joules: None, power_watts: Some(101.0), ..end };
        assert_eq!(mean_power(&start, &end), Some(Watts(100.0)));
        assert_eq!(mean_power(&Reading::empty(at), &end), None);
    }
}
