//! Freeing the card's memory, and reading back that it is free.

use crate::{metering, node::Node};
use std::{
    fs,
    time::{Duration, Instant},
};
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

/// What was in use before anything was killed.
pub(super) enum Before {
    /// Of the card, by its sensor.
    Card(u64),
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
            used(adapter.as_deref(), chosen.as_deref()).map_or(Before::Unknown, Before::Card)
        });
        before.await.unwrap_or(Before::Unknown)
    }

    /// Kills the workers and reads their memory back.
    pub(super) async fn kill_and_read_back(&self, before: Before) -> Freed {
        // Returns when the processes are gone.
        self.engine.stop().await;
        let gone = Instant::now();
        let (bytes, measured, at) = match before {
            Before::Processes(bytes) => (Some(bytes), true, gone),
            Before::Unknown => (None, false, gone),
            Before::Card(before) => {
                let adapter = self.engine.info().map(|worker| worker.adapter);
                let chosen = self.settings().sensor;
                let read = spawn_blocking(move || {
                    loop {
                        match used(adapter.as_deref(), chosen.as_deref()) {
                            Some(now) if now < before || gone.elapsed() > READ_BACK => {
                                return (Some(before.saturating_sub(now)), true, Instant::now());
                            }
                            Some(_) => std::thread::sleep(READ_AGAIN),
                            None => return (None, false, gone),
                        }
                    }
                });
                read.await.unwrap_or((None, false, gone))
            }
        };
        Freed { bytes, measured, at }
    }
}

/// Memory in use on the card that works; none without its sensor. Blocks.
fn used(adapter: Option<&str>, chosen: Option<&str>) -> Option<u64> {
    let cards = metering::open();
    metering::working(&cards, adapter, chosen).ok()?.read().ok()?.memory_used_bytes
}

/// Main memory that a process holds: `VmRSS` of `/proc/PID/status` (proc(5)), Linux only.
fn resident(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
