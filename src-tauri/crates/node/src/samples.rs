//! What the cards and the processor are doing: a sample every two seconds, the last ten minutes of them, taken only while
//! somebody watches or work runs. An idle node that nobody looks at reads nothing.

use crate::{metering, node::Node};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tender_base::Timestamp;
use tender_host::{CpuTimes, HostMemory, Reading, Sensor};
use tokio::{sync::watch, task::spawn_blocking};
use uuid::Uuid;

/// How often it is looked.
pub(crate) const EVERY: Duration = Duration::from_secs(2);
/// How far back samples are kept.
pub(crate) const KEPT: Duration = Duration::from_secs(600);

/// A card and its last reading.
#[derive(Clone, Debug)]
pub(crate) struct CardNow {
    pub(crate) name: String,
    pub(crate) address: String,
    /// None when it could not be read.
    pub(crate) reading: Option<Reading>,
    /// Why it could not be read the last time that it could not.
    pub(crate) unread: Option<Unread>,
}

/// Why a card could not be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unread {
    /// Milliseconds since 1970.
    pub(crate) at_ms: i64,
    pub(crate) why: String,
}

impl CardNow {
    fn of(sensor: &dyn Sensor, now: Timestamp) -> Self {
        let (reading, unread) = match sensor.read() {
            Ok(reading) => (Some(reading), None),
            Err(error) => (None, Some(Unread { at_ms: now.millis(), why: error.to_string() })),
        };
        Self { name: sensor.name().to_owned(), address: sensor.address().to_owned(), reading, unread }
    }
}

/// One look at the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// All cards together, in watts; none unless each of them tells.
    pub(crate) power_watts: Option<f64>,
    /// The hottest card, in degrees Celsius.
    pub(crate) temperature_c: Option<f64>,
    /// All cards together, in bytes; none unless each of them tells.
    pub(crate) memory_used_bytes: Option<u64>,
    /// The busiest card, 0 to 1.
    pub(crate) utilisation: Option<f64>,
    /// All processors together, 0 to 1.
    pub(crate) cpu_utilisation: Option<f64>,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) cards: Vec<CardNow>,
    pub(crate) memory: Option<HostMemory>,
    /// Oldest first.
    pub(crate) samples: VecDeque<Sample>,
    /// Somebody is sampling.
    sampling: bool,
}

/// The samples, and a tick for each.
pub(crate) struct Samples {
    tick: watch::Sender<u64>,
    seen: Mutex<Seen>,
    /// Titles of the ended work that was shown last: they never change, and are asked for with every sample.
    titles: Mutex<HashMap<Uuid, String>>,
}

impl Default for Samples {
    fn default() -> Self {
        Self { tick: watch::Sender::new(1), seen: Mutex::default(), titles: Mutex::default() }
    }
}

impl Samples {
    /// Changes with every sample. Whoever holds it watches.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.tick.subscribe()
    }

    /// What was seen in the ten minutes before `now`.
    pub(crate) fn seen(&self, now: Timestamp) -> Seen {
        let mut seen = self.lock();
        seen.forget(now);
        seen.clone()
    }

    /// The titles of ended work that are known.
    pub(crate) fn titles(&self) -> MutexGuard<'_, HashMap<Uuid, String>> {
        self.titles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the caller is to sample from now on: nobody else does.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut self.lock().sampling, true)
    }

    /// Whether the caller is to stop: nobody watches, and nothing `works`.
    fn is_over(&self, works: bool) -> bool {
        let mut seen = self.lock();
        let over = !works && self.tick.receiver_count() == 0;
        seen.sampling = !over;
        over
    }

    fn push(&self, mut cards: Vec<CardNow>, memory: Option<HostMemory>, cpu: Option<f64>, now: Timestamp) {
        let mut seen = self.lock();
        seen.samples.push_back(sample(&cards, cpu, now));
        // A card that can be read again left a gap.
        for card in cards.iter_mut().filter(|card| card.unread.is_none()) {
            let before = seen.cards.iter().find(|before| before.address == card.address);
            card.unread = before.and_then(|before| before.unread.clone());
        }
        (seen.cards, seen.memory) = (cards, memory);
        seen.forget(now);
        drop(seen);
        self.tick.send_modify(|tick| *tick += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Drops what is too old, and what a clock that was set back left in the future.
    fn forget(&mut self, now: Timestamp) {
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let lately = |at_ms: i64| (0..=kept).contains(&(now.millis() - at_ms));
        self.samples.retain(|sample| lately(sample.at_ms));
        for card in &mut self.cards {
            card.unread = card.unread.take().filter(|unread| lately(unread.at_ms));
        }
    }
}

fn sample(cards: &[CardNow], cpu_utilisation: Option<f64>, now: Timestamp) -> Sample {
    let told = |of: fn(&Reading) -> Option<f64>| cards.iter().map(move |card| card.reading.as_ref().and_then(of));
    // A sum of those that tell would be too little.
    let sum = |of| told(of).sum::<Option<f64>>().filter(|_| !cards.is_empty());
    let most = |of| told(of).flatten().reduce(f64::max);
    let used = cards.iter().map(|card| card.reading.and_then(|reading| reading.memory_used_bytes));
    Sample {
        at_ms: now.millis(),
        power_watts: sum(|reading| reading.power_watts),
        temperature_c: most(|reading| reading.temperature_c),
        memory_used_bytes: used.sum::<Option<u64>>().filter(|_| !cards.is_empty()),
        utilisation: most(|reading| reading.utilisation),
        cpu_utilisation,
    }
}

impl Node {
    /// Samples from now on, until nobody watches and nothing runs.
    pub(crate) fn sample(&self) {
        if !self.samples.begin() {
            return;
        }
        let (samples, engine, clock) = (self.samples.clone(), self.engine.clone(), self.clock.clone());
        self.spawn(async move {
            // Loading a driver's library may take seconds.
            let cards = spawn_blocking(metering::open).await.unwrap_or_default();
            let mut before = CpuTimes::now();
            loop {
                let (looked, now) = (cards.clone(), clock.now());
                let look = move || {
                    let read = |card: &tender_host::CardMeter| CardNow::of(card.sensor(), now);
                    (looked.iter().map(read).collect(), HostMemory::now(), CpuTimes::now())
                };
                let (cards, memory, times) = spawn_blocking(look).await.unwrap_or_default();
                let cpu = times.zip(before).and_then(|(now, before)| now.utilisation_since(&before));
                samples.push(cards, memory, cpu, clock.now());
                before = times;
                if samples.is_over(engine.is_running()) {
                    return;
                }
                tokio::time::sleep(EVERY).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tender_host::{Process, SensorError};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_795_248_000_000 + seconds * 1000)
    }

    fn card(power: Option<f64>, temperature: f64) -> CardNow {
        let reading = Reading {
            power_watts: power,
            temperature_c: Some(temperature),
            memory_used_bytes: Some(100),
            ..Reading::empty(Instant::now())
        };
        CardNow { name: "Alpha".to_owned(), address: "0000:01:00.0".to_owned(), reading: Some(reading), unread: None }
    }

    /// A card that fell off the bus.
    struct Lost;

    impl Sensor for Lost {
        fn read(&self) -> Result<Reading, SensorError> {
            Err(SensorError::Other("the GPU is lost".to_owned()))
        }

        fn processes(&self) -> Result<Vec<Process>, SensorError> {
            Ok(Vec::new())
        }

        fn name(&self) -> &str {
            "Alpha"
        }

        fn address(&self) -> &str {
            "0000:01:00.0"
        }

        fn may_be(&self, _: &str) -> bool {
            true
        }
    }

    #[test]
    fn why_a_card_could_not_be_read_is_known_as_long_as_its_gap_shows() {
        let samples = Samples::default();
        let unread = |now| samples.seen(now).cards[0].unread.clone();
        samples.push(vec![card(None, 60.0)], None, None, at(0));
        assert_eq!(unread(at(0)), None);
        samples.push(vec![CardNow::of(&Lost, at(2))], None, None, at(2));
        samples.push(vec![card(None, 60.0)], None, None, at(4));
        let lost = unread(at(602)).unwrap();
        assert!(lost.at_ms == at(2).millis() && lost.why.contains("the GPU is lost"), "{lost:?}");
        assert_eq!(unread(at(603)), None);
    }

    #[test]
    fn cards_are_summed_only_when_each_tells_and_the_hottest_counts() {
        let both = sample(&[card(Some(100.0), 60.0), card(Some(50.0), 70.0)], Some(0.25), at(0));
        assert_eq!(
            (both.power_watts, both.temperature_c, both.memory_used_bytes),
            (Some(150.0), Some(70.0), Some(200))
        );
        assert_eq!((both.utilisation, both.cpu_utilisation), (None, Some(0.25)));
        assert_eq!(sample(&[card(Some(100.0), 60.0), card(None, 70.0)], None, at(0)).power_watts, None);
        let none = sample(&[], Some(0.5), at(0));
        assert_eq!((none.power_watts, none.memory_used_bytes, none.cpu_utilisation), (None, None, Some(0.5)));
    }

    #[test]
    fn ten_minutes_are_kept_and_a_clock_set_back_leaves_nothing_in_the_future() {
        let samples = Samples::default();
        for second in (0..1000).step_by(2) {
            samples.push(Vec::new(), None, None, at(second));
        }
        let seen = samples.seen(at(998));
        assert_eq!((seen.samples.len(), seen.samples[0].at_ms), (301, at(398).millis()));
        assert!(samples.seen(at(500)).samples.iter().all(|sample| sample.at_ms <= at(500).millis()));
    }

    #[test]
    fn it_ends_only_when_nobody_watches_and_nothing_works() {
        let samples = Samples::default();
        assert!(samples.begin() && !samples.begin());
        let watching = samples.watch();
        assert!(!samples.is_over(false));
        drop(watching);
        assert!(!samples.is_over(true) && samples.is_over(false));
        assert!(samples.begin(), "it may begin again");
    }

    #[tokio::test]
    async fn a_node_that_is_watched_samples_and_one_that_is_not_stops() {
        let dir = tempfile::tempdir().unwrap();
        let node = crate::metering::tests::node(&dir).await;
        let mut watching = node.samples.watch();
        node.sample();
        for _ in 0..2 {
            tokio::time::timeout(Duration::from_secs(20), watching.changed()).await.unwrap().unwrap();
        }
        let seen = node.samples.seen(node.now());
        assert!(seen.samples.len() >= 2 && seen.sampling);
        #[cfg(target_os = "linux")]
        assert!(seen.memory.is_some() && seen.samples[1].cpu_utilisation.is_some());
        drop(watching);
        let ended = async {
            while node.samples.seen(node.now()).sampling {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    }
}
