//! Calls that were refused, counted in memory and stored together: a busy hour of refusals is sixty events, not
//! thousands. A client that is refused calls for its job again soon; that is no other job.

use crate::node::Node;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};
use tender_base::{Did, JobSpec, Problem, Sha256, Timestamp, Work};
use tender_store::{Event, Limit, Refused, StoreError};

/// Jobs that are remembered at most: beyond them, one that is called for again counts again.
const CALLED: usize = 10_000;

/// Refusals since they were last stored.
#[derive(Default)]
pub(crate) struct Refusals {
    counts: Mutex<BTreeMap<Refused, u64>>,
    /// Whose jobs were called for, until their deadlines.
    called: Mutex<HashMap<(Did, Sha256), Timestamp>>,
}

impl Refusals {
    /// Whether a peer calls for a job for the first time. Its deadline, to the millisecond, is part of what is asked and
    /// stays the same from call to call, so two jobs are told apart also when they ask for the same work.
    pub(crate) fn is_new(&self, client: Did, job: &JobSpec, now: Timestamp) -> bool {
        let Ok(bytes) = serde_json::to_vec(job) else { return true };
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        if called.len() >= CALLED {
            called.retain(|_, deadline| *deadline > now);
        }
        if called.len() >= CALLED {
            called.clear();
        }
        called.insert((client, Sha256::of(&bytes)), job.constraints.deadline).is_none()
    }

    fn count(&self, why: Refused) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(why).or_default() += 1;
    }

    fn take(&self) -> BTreeMap<Refused, u64> {
        std::mem::take(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, counts: BTreeMap<Refused, u64>) {
        let mut kept = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (why, count) in counts {
            *kept.entry(why).or_default() += count;
        }
    }
}

impl Node {
    /// Counts the refusal of a call, and gives its problem back.
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
            tracing::warn!(code = %error.problem().code, problem = %error.problem(), "the refusals were not stored");
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
    async fn a_job_that_is_called_for_again_is_no_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let node = crate::metering::tests::node(&dir).await;
        let job: JobSpec = serde_json::from_value(serde_json::json!({
            "work": {"kind": "gemm", "m": 8, "k": 8, "n": 8},
            "input": {"sha256": "0".repeat(64), "bytes": 512},
            "constraints": {"budget": 1000, "deadline": "2026-11-21T08:01:00.000Z", "privacy": "peers"},
        }))
        .unwrap();
        let mut other = job.clone();
        other.constraints.deadline = job.constraints.deadline.after(std::time::Duration::from_millis(1));
        let now = node.now();
        let is_new = |client, job| node.refusals.is_new(client, job, now);
        assert_eq!([is_new(node.did(), &job), is_new(node.did(), &job)], [true, false]);
        assert!(is_new(node.did(), &other), "for another time");
        let stranger: Did = "did:key:z6Mkon3Necd6NkkyfoGoHxid2znGc59LU3K7mubaRcFbLfLX".parse().unwrap();
        assert!(is_new(stranger, &job), "of another peer");
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
