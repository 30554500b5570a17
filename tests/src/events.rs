//! What a node committed, as it printed it.

use serde_json::Value;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long an event is waited for: lavapipe on two loaded cores.
const WAIT: Duration = Duration::from_secs(60);

/// One committed event and when its line was read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When this process read the line.
    pub at: Instant,
    /// Its number in the node's database.
    pub seq: u64,
    /// The event: `{"event": "contract_moved", …}`.
    pub what: Value,
}

impl Seen {
    /// The event's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.what["event"].as_str().unwrap_or_default()
    }

    /// Whether a contract entered this state.
    #[must_use]
    pub fn moved_to(&self, state: &str) -> bool {
        self.name() == "contract_moved" && self.what["to"] == state
    }

    /// The contract it is about; empty for others.
    #[must_use]
    pub fn contract(&self) -> &str {
        self.what["contract"].as_str().unwrap_or_default()
    }
}

/// Events of one node, from all its starts.
#[derive(Clone, Debug)]
pub struct Events {
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Sender<usize>,
}

impl Default for Events {
    fn default() -> Self {
        Self { seen: Arc::default(), count: watch::Sender::new(0) }
    }
}

impl Events {
    pub(crate) fn take(&self, line: &str) {
        let at = Instant::now();
        let Ok(mut line) = serde_json::from_str::<Value>(line) else { return };
        if line["event"] == "committed" {
            let seen = Seen { at, seq: line["seq"].as_u64().unwrap_or(0), what: line["what"].take() };
            let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(seen);
            self.count.send_replace(all.len());
        }
    }

    /// All so far.
    #[must_use]
    pub fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many so far: give it to [`Self::after`] to look only at later ones.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// The first event for which `wanted` holds, waited for.
    ///
    /// # Panics
    /// When it does not come within a minute, with the names of those that did.
    pub async fn first(&self, wanted: impl Fn(&Seen) -> bool) -> Seen {
        self.after(0, wanted).await
    }

    /// The same, among those after the first `skip`.
    ///
    /// # Panics
    /// As [`Self::first`].
    pub async fn after(&self, skip: usize, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let mut count = self.count.subscribe();
        let mut next = skip;
        let search = async {
            loop {
                count.borrow_and_update();
                let fresh: Vec<Seen> =
                    self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().skip(next).cloned().collect();
                next += fresh.len();
                if let Some(found) = fresh.into_iter().find(|seen| wanted(seen)) {
                    return found;
                }
                // The sender lives as long as `self`.
                let _ = count.changed().await;
            }
        };
        match tokio::time::timeout(WAIT, search).await {
            Ok(found) => found,
            Err(_) => {
                let names: Vec<String> = self.all()[skip..]
                    .iter()
                    .map(|seen| format!("{} {}", seen.name(), seen.what["to"].as_str().unwrap_or_default()))
                    .collect();
                panic!("the event did not come within {} s; there were: {names:#?}", WAIT.as_secs())
            }
        }
    }
}
