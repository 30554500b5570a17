//! A bell per task, so that a thousand streams wake only for what they follow.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tender_a2a::log::Bell;
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
    bells: HashMap<String, watch::Sender<u64>>,
    left: usize,
}

impl Bells {
    /// Rings whenever something is recorded of the task, or its work is further.
    pub(crate) fn listen(&self, task: &str) -> Bell {
        let mut hung = self.hung();
        if hung.bells.len() >= (2 * hung.left).max(FEWEST) {
            hung.bells.retain(|_, bell| bell.receiver_count() > 0);
            hung.left = hung.bells.len();
        }
        Bell::of(hung.bells.entry(task.to_owned()).or_insert_with(|| watch::Sender::new(0)).subscribe())
    }

    /// Something is recorded of the task.
    fn ring(&self, task: &str) {
        self.strike(task, |records| *records += 1);
    }

    /// Its work is further, and nothing is recorded.
    pub(crate) fn progress(&self, task: &str) {
        self.strike(task, |_| {});
    }

    fn strike(&self, task: &str, count: impl FnOnce(&mut u64)) {
        let mut hung = self.hung();
        match hung.bells.get(task) {
            Some(bell) if bell.receiver_count() > 0 => bell.send_modify(count),
            Some(_) => drop(hung.bells.remove(task)),
            None => {}
        }
    }

    fn ring_all(&self) {
        for bell in self.hung().bells.values() {
            bell.send_modify(|records| *records += 1);
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
    use futures::FutureExt;

    /// What the bell rang for, when it did.
    fn heard(bell: &mut Bell) -> Option<bool> {
        bell.progressed().now_or_never().map(Result::unwrap)
    }

    #[test]
    fn a_bell_rings_for_its_task_and_goes_with_its_last_listener() {
        let bells = Bells::default();
        let (mut one, mut two) = (bells.listen("one"), bells.listen("two"));
        bells.ring("one");
        bells.ring("nobody");
        assert_eq!((heard(&mut one), heard(&mut two)), (Some(true), None));
        bells.progress("one");
        assert_eq!((heard(&mut one), heard(&mut two)), (Some(false), None));
        bells.ring_all();
        assert_eq!((heard(&mut one), heard(&mut two)), (Some(true), Some(true)));

        // Who waits for records sleeps through progress.
        bells.progress("one");
        assert!(one.changed().now_or_never().is_none());
        bells.ring("one");
        bells.progress("one");
        assert!(one.changed().now_or_never().is_some() && one.changed().now_or_never().is_none());

        drop(one);
        bells.ring("one");
        assert_eq!(bells.hung().bells.len(), 1);
        for task in 0..10 * FEWEST {
            drop(bells.listen(&task.to_string()));
        }
        assert!(bells.hung().bells.len() <= FEWEST);
        bells.ring("two");
        assert_eq!(heard(&mut two), Some(true), "a bell that is heard stays");
    }
}
