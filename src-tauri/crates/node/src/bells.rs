//! A bell per task, so that a thousand streams wake only for what they follow.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tender_store::Event;
use tokio::sync::{broadcast, watch};

/// Bells that nobody hears any more are taken down when there are twice as many as after the last time, and never
/// below this.
const FEWEST: usize = 64;

/// The bells that somebody listens to, by task.
#[derive(Default)]
pub(crate) struct Bells(Mutex<Hung>);

#[derive(Default)]
struct Hung {
    bells: HashMap<String, watch::Sender<()>>,
    left: usize,
}

impl Bells {
    /// Rings whenever something is recorded of the task, or its work is further.
    pub(crate) fn listen(&self, task: &str) -> watch::Receiver<()> {
        let mut hung = self.hung();
        if hung.bells.len() >= (2 * hung.left).max(FEWEST) {
            hung.bells.retain(|_, bell| bell.receiver_count() > 0);
            hung.left = hung.bells.len();
        }
        hung.bells.entry(task.to_owned()).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    pub(crate) fn ring(&self, task: &str) {
        let mut hung = self.hung();
        if hung.bells.get(task).is_some_and(|bell| bell.send(()).is_err()) {
            // Nobody listens.
            hung.bells.remove(task);
        }
    }

    fn ring_all(&self) {
        for bell in self.hung().bells.values() {
            bell.send_replace(());
        }
    }

    /// Rings for every event after its commit, whoever applied it and however that ended.
    pub(crate) async fn follow(&self, mut events: broadcast::Receiver<(u64, Arc<Event>)>) {
        loop {
            match events.recv().await {
                Ok((_, event)) => match event.as_ref() {
                    Event::ContractMoved { contract, .. } => self.ring(&contract.to_string()),
                    Event::TaskRecorded { task, .. } => self.ring(task),
                    _ => {}
                },
                // Whatever was missed, reading again finds it.
                Err(broadcast::error::RecvError::Lagged(_)) => self.ring_all(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn hung(&self) -> MutexGuard<'_, Hung> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_for_its_task_and_goes_with_its_last_listener() {
        let bells = Bells::default();
        let (mut one, mut two) = (bells.listen("one"), bells.listen("two"));
        bells.ring("one");
        bells.ring("nobody");
        assert!(one.has_changed().unwrap() && !two.has_changed().unwrap());
        one.mark_unchanged();
        bells.ring_all();
        assert!(one.has_changed().unwrap() && two.has_changed().unwrap());
        two.mark_unchanged();

        drop(one);
        bells.ring("one");
        assert_eq!(bells.hung().bells.len(), 1);
        for task in 0..10 * FEWEST {
            drop(bells.listen(&task.to_string()));
        }
        assert!(bells.hung().bells.len() <= FEWEST);
        bells.ring("two");
        assert!(two.has_changed().unwrap(), "a bell that is heard stays");
    }
}
