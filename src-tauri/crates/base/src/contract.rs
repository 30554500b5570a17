//! The words of a contract: its states, the two roles, and which book it is posted to. What may follow what is
//! decided in `market::contract`.

use serde::{Deserialize, Serialize};

/// Which side of a contract this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Buys.
    Client,
    /// Sells.
    Contractor,
}

/// Which ledger a trade is posted to. Demonstration money never mixes with real money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Book {
    /// Money that is owed.
    Real,
    /// Play money of a demonstration.
    Demo,
}

/// Where a contract stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContractState {
    /// Called for; no proposal yet.
    Announced,
    /// A signed proposal exists and its slot is held until `valid_until`.
    Proposed,
    /// Awarded; the budget is reserved.
    Awarded,
    /// The contractor reported its first progress.
    Running,
    /// The output and the signed delivery exist; the client checks them.
    Delivered,
    /// The client accepted; the amount is owed.
    Accepted,
    /// What was owed is recorded as paid by both sides.
    Settled,
    /// The client rejected the delivery; the reservation stays until the dispute ends.
    Rejected,
    /// The proposal ran out, was refused, or went to somebody else.
    Lapsed,
    /// The contractor could not do the work, or the deadline passed; the reservation is released.
    Failed,
    /// The client gave the award up before a delivery; a late delivery is refused.
    Abandoned,
    /// The contractor gave the award back before a delivery, because its owner needed the machine; nothing is owed.
    HandedBack,
}

impl ContractState {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Proposed => "proposed",
            Self::Awarded => "awarded",
            Self::Running => "running",
            Self::Delivered => "delivered",
            Self::Accepted => "accepted",
            Self::Settled => "settled",
            Self::Rejected => "rejected",
            Self::Lapsed => "lapsed",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::HandedBack => "handed_back",
        }
    }

    /// Whether nothing follows any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Settled | Self::Lapsed | Self::Failed | Self::Abandoned | Self::HandedBack)
    }
}
