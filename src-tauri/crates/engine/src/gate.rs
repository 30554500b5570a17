//! Whose orders the own card takes.

use crate::{Tenant, local::taken_back};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use tender_base::Problem;

/// Whose orders are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Those of clients; the owner's go on.
    Clients,
    /// All that need the card. Tokens are counted without it.
    All,
}

#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: Mutex<Option<Closed>>,
    own: AtomicUsize,
}

/// An order that was let in, until it is dropped.
pub(crate) struct Passed<'a>(Option<&'a AtomicUsize>);

impl Gate {
    pub(crate) fn close(&self, closed: Option<Closed>) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = closed;
    }

    pub(crate) fn is_closed(&self, tenant: &Tenant) -> bool {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        refuses(*closed, tenant)
    }

    pub(crate) fn own_orders(&self) -> usize {
        self.own.load(Ordering::Acquire)
    }

    /// Lets an order in. The lock is held while it is counted: what came before the gate closed is seen by whoever
    /// closed it.
    pub(crate) fn pass(&self, tenant: &Tenant) -> Result<Passed<'_>, Problem> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        match tenant {
            _ if refuses(*closed, tenant) => Err(taken_back()),
            Tenant::Own => {
                self.own.fetch_add(1, Ordering::AcqRel);
                Ok(Passed(Some(&self.own)))
            }
            Tenant::Peer(_) => Ok(Passed(None)),
        }
    }
}

fn refuses(closed: Option<Closed>, tenant: &Tenant) -> bool {
    matches!((closed, tenant), (Some(Closed::All), _) | (Some(Closed::Clients), Tenant::Peer(_)))
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        if let Some(own) = self.0 {
            own.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::Signer as _;
    use tender_base::signed::KeySigner;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_counts_the_owners_orders() {
        let (gate, peer) = (Gate::default(), Tenant::Peer(KeySigner::from_seed(&[7; 32]).did()));
        let own = gate.pass(&Tenant::Own).unwrap();
        let theirs = gate.pass(&peer).unwrap();
        assert_eq!(gate.own_orders(), 1);
        gate.close(Some(Closed::Clients));
        assert!(gate.is_closed(&peer) && !gate.is_closed(&Tenant::Own));
        assert!(gate.pass(&peer).is_err() && gate.pass(&Tenant::Own).is_ok());
        gate.close(Some(Closed::All));
        assert!(gate.pass(&peer).is_err() && gate.pass(&Tenant::Own).is_err());
        drop((own, theirs));
        assert_eq!(gate.own_orders(), 0);
        gate.close(None);
        assert!(gate.pass(&peer).is_ok());
    }
}
