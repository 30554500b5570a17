//! What is true only now and never stored: progress of running work, and the tick that wakes who watches.

use crate::bells::Bells;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tender_a2a::contract::Used;
use tender_engine::Progress;
use tokio::sync::watch;

/// Progress by job or contract id, a bell per task, and a tick that moves with every change of anything.
pub(crate) struct Live {
    pub(crate) bells: Bells,
    progress: Mutex<HashMap<String, (Progress, Option<Used>)>>,
    tick: watch::Sender<u64>,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self { bells: Bells::default(), progress: Mutex::default(), tick: watch::Sender::new(1) }
    }

    /// Notes progress and wakes the watchers.
    pub(crate) fn report(&self, id: impl ToString, progress: Progress) {
        self.report_metered(id, progress, None);
    }

    /// The same, with what was used so far.
    pub(crate) fn report_metered(&self, id: impl ToString, progress: Progress, used: Option<Used>) {
        let id = id.to_string();
        self.lock().insert(id.clone(), (progress, used));
        self.bells.progress(&id);
        self.touch();
    }

    /// Forgets progress that has ended.
    pub(crate) fn ended(&self, id: impl ToString) {
        self.lock().remove(&id.to_string());
        self.touch();
    }

    pub(crate) fn progress(&self, id: impl ToString) -> Option<Progress> {
        self.metered(id).map(|(progress, _)| progress)
    }

    pub(crate) fn metered(&self, id: impl ToString) -> Option<(Progress, Option<Used>)> {
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

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Progress, Option<Used>)>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
