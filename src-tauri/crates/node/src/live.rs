//! What is true only now and never stored: progress of running work, and the tick that wakes who watches.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tender_engine::Progress;
use tokio::sync::watch;

/// Progress by job or contract id, and a tick that moves with every change of anything.
pub(crate) struct Live {
    progress: Mutex<HashMap<String, Progress>>,
    tick: watch::Sender<u64>,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self { progress: Mutex::default(), tick: watch::Sender::new(1) }
    }

    /// Notes progress and wakes the watchers.
    pub(crate) fn report(&self, id: impl ToString, progress: Progress) {
        self.lock().insert(id.to_string(), progress);
        self.touch();
    }

    /// Forgets progress that has ended.
    pub(crate) fn ended(&self, id: impl ToString) {
        self.lock().remove(&id.to_string());
        self.touch();
    }

    pub(crate) fn progress(&self, id: impl ToString) -> Option<Progress> {
        self.lock().get(&id.to_string()).cloned()
    }

    /// Something changed.
    pub(crate) fn touch(&self) {
        self.tick.send_modify(|tick| *tick += 1);
    }

    /// Changes whenever anything does.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.tick.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
