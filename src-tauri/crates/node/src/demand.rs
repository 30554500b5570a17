//! Calls that were refused, counted in memory and stored together: a busy hour of refusals is sixty events, not
//! thousands.

use crate::node::Node;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tender_base::{Problem, Timestamp, Work};
use tender_store::{Event, Limit, Refused, StoreError};

/// Refusals since they were last stored.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<Refused, u64>>);

impl Refusals {
    fn count(&self, why: Refused) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(why).or_default() += 1;
    }

    fn take(&self) -> BTreeMap<Refused, u64> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, counts: BTreeMap<Refused, u64>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (why, count) in counts {
            *kept.entry(why).or_default() += count;
        }
    }
}

impl Node {
    /// Counts the refusal of a call by a peer, and gives its problem back.
    pub(crate) fn refused(&self, why: Refused, problem: Problem) -> Problem {
        self.refusals.count(why);
        problem
    }

    /// Why nothing is sold at this moment.
    pub(crate) fn unwilling(&self, now: Timestamp) -> Refused {
        let settings = self.settings();
        if settings.stopped {
            Refused::Stopped
        } else if !settings.selling {
            Refused::NotSelling
        } else if settings.paused_until.is_some_and(|until| until > now) {
            Refused::Paused
        } else if self.sale(0).trigger.is_none() && !self.lookout.testing() {
            // What runs is finished first, and then it pauses: the owner's wish, too.
            Refused::Paused
        } else {
            Refused::Guard
        }
    }

    /// Why work that has no place here has none.
    pub(crate) fn lacks(&self, work: &Work) -> Refused {
        match crate::models::is_here(&self.settings(), work) {
            None => Refused::Other,
            Some(true) => Refused::DoesNotFit,
            Some(false) => Refused::NoSuchModel,
        }
    }

    /// Stores what was refused since the last time. What cannot be stored is tried again.
    pub(crate) async fn store_refusals(&self) {
        let counts = self.refusals.take();
        if counts.is_empty() {
            return;
        }
        let event = Event::CallsRefused { counts: counts.clone(), at: self.now() };
        if let Err(error) = self.store.apply(vec![event], Vec::new()).await {
            tracing::warn!(problem = %error.problem(), "the refusals were not stored");
            self.refusals.put_back(counts);
        }
    }
}

/// Which limit kept a proposal from being made.
pub(crate) fn limited(error: &StoreError) -> Refused {
    match error {
        StoreError::OverLimit { limit: Limit::Slots, .. } => Refused::SlotsTaken,
        StoreError::OverLimit { limit: Limit::PeerHolds(_) | Limit::Quotes(_), .. } => Refused::TooManyOpen,
        StoreError::OverLimit { limit: Limit::PeerCredit(_), .. } => Refused::CreditUsedUp,
        _ => Refused::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::{Book, Code};

    #[tokio::test]
    async fn refusals_are_stored_together_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let node = crate::metering::tests::node(&dir).await;
        let full = Problem::new(Code::OverLimit, "all slots are taken", "");
        for _ in 0..3 {
            assert_eq!(node.refused(Refused::SlotsTaken, full.clone()), full);
        }
        let refused = async || {
            let days = node.store.demand_since(Book::Real, Timestamp::from_millis(0)).await.unwrap();
            days.into_values().flat_map(|day| day.refused).collect::<Vec<_>>()
        };
        assert!(refused().await.is_empty());
        node.store_refusals().await;
        node.store_refusals().await;
        assert_eq!(refused().await, [(Refused::SlotsTaken, 3)]);
    }

    #[tokio::test]
    async fn the_reason_of_a_node_that_does_not_sell_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let node = crate::metering::tests::node(&dir).await;
        let now = node.now();
        assert_eq!(node.unwilling(now), Refused::NotSelling);
        node.set("selling", true.into()).await.unwrap();
        node.set("paused_until", now.after(std::time::Duration::from_secs(60)).to_string().into()).await.unwrap();
        assert_eq!(node.unwilling(now), Refused::Paused);
        node.set("stopped", true.into()).await.unwrap();
        assert_eq!(node.unwilling(now), Refused::Stopped);
    }
}
