//! The words of the double-entry ledger.

use crate::{Book, Did, MicroUsd, ids::ContractId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An account. Peers' accounts carry the peer, so that what each owes is a balance and not a query over receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "account", content = "peer")]
pub enum Account {
    /// Client: money set aside for awards that are not accepted yet.
    Reserved,
    /// Client: the counterpart of `Reserved`.
    Unreserved,
    /// Client: cost of bought computation.
    Expense,
    /// Client: owed to a peer.
    Payable(Did),
    /// Contractor: earned.
    Income,
    /// Contractor: owed by a peer.
    Receivable(Did),
    /// Money that moved outside the app, as both sides recorded it.
    External,
}

impl Account {
    /// The name in the ledger, such as `payable:did:key:z6Mk…`.
    #[must_use]
    pub fn name(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("reserved"),
            Self::Unreserved => f.write_str("unreserved"),
            Self::Expense => f.write_str("expense"),
            Self::Payable(peer) => write!(f, "payable:{peer}"),
            Self::Income => f.write_str("income"),
            Self::Receivable(peer) => write!(f, "receivable:{peer}"),
            Self::External => f.write_str("external"),
        }
    }
}

/// One line of an entry: debit positive, credit negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// Where it is posted.
    pub account: Account,
    /// Debit positive, credit negative.
    pub amount: MicroUsd,
}

/// A balanced entry: its postings sum to zero, by construction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The book it belongs to.
    pub book: Book,
    /// The contract it is about; none for a payment that clears several.
    pub contract: Option<ContractId>,
    /// The lines.
    pub postings: Vec<Posting>,
}

impl Entry {
    /// Debits one account and credits another with the same amount.
    #[must_use]
    pub fn transfer(
        book: Book,
        contract: Option<ContractId>,
        debit: Account,
        credit: Account,
        amount: MicroUsd,
    ) -> Self {
        Self {
            book,
            contract,
            postings: vec![Posting { account: debit, amount }, Posting { account: credit, amount: amount.negated() }],
        }
    }

    /// Whether the lines sum to zero exactly.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.postings.iter().map(|p| i128::from(p.amount.0)).sum::<i128>() == 0
    }
}
