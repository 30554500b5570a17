//! Freeing the card's memory, and reading back that it is free.

use crate::{metering, node::Node};
use std::{
    fs,
    time::{Duration, Instant},
};
use tender_host::{Process, Sensor};
use tokio::task::spawn_blocking;

/// Longest that memory is waited for after its process is gone; a driver gives it back with the process.
const READ_BACK: Duration = Duration::from_millis(500);
const READ_AGAIN: Duration = Duration::from_millis(5);

/// Memory that a killed worker held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Freed {
    /// Bytes; none where nobody measures them.
    pub(crate) bytes: Option<u64>,
    /// Whether it was read back.
    pub(crate) measured: bool,
    /// When.
    pub(crate) at: Instant,
}

/// Longest that what is held is asked for: the card is wanted, and a driver may hang.
const ASK_LIMIT: Duration = Duration::from_millis(250);
/// Longest that the end of a worker is waited for; a process that waits for a driver cannot even be killed.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What was in use before anything was killed.
pub(super) enum Before {
    /// Of the card, by its sensor: in all, and by which processes of ours where it tells.
    Card {
        used: u64,
        ours: Option<Vec<Process>>,
    },
    /// Of the machine, by the processes themselves.
    Processes(u64),
    Unknown,
}

impl Node {
    /// What the workers hold: of the card by its sensor, of the machine by the processes themselves.
    pub(super) async fn memory_held(&self, workers: Vec<u32>) -> Before {
        let adapter = self.engine.info().map(|worker| worker.adapter);
        let (chosen, in_main_memory) = (self.settings().sensor, self.engine.uses_main_memory() == Some(true));
        let before = spawn_blocking(move || {
            if in_main_memory {
                let resident = workers.iter().map(|pid| resident(*pid)).sum::<Option<u64>>();
                return resident.map_or(Before::Unknown, Before::Processes);
            }
            let cards = metering::open();
            let Ok(card) = metering::working(&cards, adapter.as_deref(), chosen.as_deref()) else {
                return Before::Unknown;
            };
            let ours = of(card, &workers).filter(|ours| !ours.is_empty());
            used(card).map_or(Before::Unknown, |used| Before::Card { used, ours })
        });
        match tokio::time::timeout(ASK_LIMIT, before).await {
            Ok(Ok(before)) => before,
            _ => Before::Unknown,
        }
    }

    /// Kills the workers. One that does not end in time is said, and told again.
    pub(super) async fn stop_workers(&self) {
        let ended = tokio::time::timeout(STOP_LIMIT, self.engine.stop()).await.is_ok();
        if !ended {
            tracing::error!("a worker does not end: its driver may hang, and only a restart of the machine helps then");
        }
        self.lookout.state().stuck = !ended;
    }

    /// Kills the workers and reads their memory back.
    pub(super) async fn kill_and_read_back(&self, before: Before) -> Freed {
        // Returns when the processes are gone.
        self.stop_workers().await;
        let gone = Instant::now();
        let stuck = self.lookout.state().stuck;
        let (bytes, measured, at) = match before {
            Before::Processes(_) | Before::Card { .. } if stuck => (None, false, gone),
            Before::Processes(bytes) => (Some(bytes), true, gone),
            Before::Unknown => (None, false, gone),
            Before::Card { used, ours } => {
                let adapter = self.engine.info().map(|worker| worker.adapter);
                let chosen = self.settings().sensor;
                let read = spawn_blocking(move || {
                    let cards = metering::open();
                    let card = metering::working(&cards, adapter.as_deref(), chosen.as_deref()).ok()?;
                    read_back(card, used, ours.as_deref(), gone)
                });
                let read = tokio::time::timeout(READ_BACK * 2, read).await;
                let freed = read.ok().and_then(Result::ok).flatten();
                freed.map_or((None, false, gone), |bytes| (Some(bytes), true, Instant::now()))
            }
        };
        Freed { bytes, measured, at }
    }
}

/// Bytes that are free again once the driver says so; none when it does not in time. Blocks.
fn read_back(card: &dyn Sensor, before: u64, ours: Option<&[Process]>, gone: Instant) -> Option<u64> {
    let mut last = None;
    while gone.elapsed() <= READ_BACK {
        match ours {
            // Others take and free memory meanwhile: only of the processes themselves it is certain.
            Some(ours) => {
                let pids: Vec<u32> = ours.iter().map(|process| process.pid).collect();
                if of(card, &pids)?.is_empty() {
                    let held = ours.iter().map(|process| process.memory_bytes).sum::<Option<u64>>();
                    return held.or_else(|| Some(before.saturating_sub(used(card)?)));
                }
            }
            // Less than before, and no longer sinking.
            None => {
                let now = used(card)?;
                if now < before && last == Some(now) {
                    return Some(before - now);
                }
                last = Some(now);
            }
        }
        std::thread::sleep(READ_AGAIN);
    }
    None
}

/// Those of these processes that the card knows; none where its driver does not say.
fn of(card: &dyn Sensor, pids: &[u32]) -> Option<Vec<Process>> {
    let all = card.processes().ok()?;
    Some(all.into_iter().filter(|process| pids.contains(&process.pid)).collect())
}

/// Memory in use on the card.
fn used(card: &dyn Sensor) -> Option<u64> {
    card.read().ok()?.memory_used_bytes
}

/// Main memory that a process holds: `VmRSS` of `/proc/PID/status` (proc(5)), Linux only.
fn resident(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tender_host::{Reading, SensorError};

    /// A card that says one thing after the other: memory in use, and what process 7 holds of it.
    struct Card {
        says: Vec<(u64, u64)>,
        tells_processes: bool,
        at: AtomicUsize,
    }

    impl Sensor for Card {
        fn read(&self) -> Result<Reading, SensorError> {
            let at = self.at.fetch_add(1, Ordering::Relaxed).min(self.says.len() - 1);
            Ok(Reading { memory_used_bytes: Some(self.says[at].0), ..Reading::empty(Instant::now()) })
        }
        fn processes(&self) -> Result<Vec<Process>, SensorError> {
            if !self.tells_processes {
                return Err(SensorError::Other("it does not tell".to_owned()));
            }
            let at = self.at.fetch_add(1, Ordering::Relaxed).min(self.says.len() - 1);
            let held = self.says[at].1;
            Ok((held > 0).then_some(Process { pid: 7, memory_bytes: Some(held) }).into_iter().collect())
        }
        fn name(&self) -> &str {
            "Card"
        }
        fn address(&self) -> &str {
            ""
        }
        fn may_be(&self, _: &str) -> bool {
            true
        }
    }

    fn freed(tells_processes: bool, says: &[(u64, u64)]) -> Option<u64> {
        let card = Card { says: says.to_vec(), tells_processes, at: AtomicUsize::default() };
        let ours = tells_processes.then(|| vec![Process { pid: 7, memory_bytes: Some(600) }]);
        read_back(&card, 1000, ours.as_deref(), Instant::now())
    }

    #[test]
    fn memory_is_free_when_the_driver_says_so_and_not_before() {
        // Another program frees a byte, and one allocates while ours is still listed.
        assert_eq!(freed(true, &[(999, 600), (1500, 600), (900, 0)]), Some(600));
        assert_eq!(freed(true, &[(999, 600)]), None, "a process that stays listed");
        assert_eq!(freed(false, &[(999, 0), (700, 0), (400, 0), (400, 0)]), Some(600), "until it no longer sinks");
        assert_eq!(freed(false, &[(1500, 0)]), None, "nothing was read back");
    }
}
