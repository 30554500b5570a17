//! What was asked of this node, and why jobs came or did not.

use serde::{Deserialize, Serialize};

api_types! {
    /// Which days.
    pub struct DemandQuery {
        /// How many days back, today included; 30 when absent, 400 at most.
        pub days: Option<u32>,
    }

    /// The way of calls from peers and holders of a key, from the call to the delivery.
    pub struct Demand {
        /// Calls that came.
        pub seen: u64,
        /// Of these, for what is offered here.
        pub matched: u64,
        /// Of these, answered with a proposal, or taken by a plain A2A client.
        pub quoted: u64,
        /// Of these, awarded.
        pub won: u64,
        /// Of these, delivered.
        pub delivered: u64,
        /// How proposals and awards ended that brought nothing: `declined` (another was taken), `expired` (nobody
        /// answered), `failed`, `abandoned`, `handed_back` or `rejected`. The most frequent first.
        pub lost: Vec<DemandReason>,
        /// Why calls were refused: `stopped`, `not_selling`, `paused`, `guard`, `slots_taken`, `too_many_open`,
        /// `credit_used_up`; and for what is not offered here `no_such_model`, `does_not_fit`, `deadline`, `unconfined`,
        /// `other_money` or `other`. The most frequent first.
        pub refused: Vec<DemandReason>,
        /// By day, oldest first, every day present.
        pub days: Vec<DemandDay>,
    }

    /// A reason and how often.
    pub struct DemandReason {
        /// A word, as listed in `Demand`.
        pub why: String,
        /// How many calls.
        pub count: u64,
    }

    /// One day.
    pub struct DemandDay {
        /// Date, UTC, `2026-11-21`.
        pub day: String,
        /// Calls that came.
        pub seen: u64,
        /// Of these, for what is offered here.
        pub matched: u64,
        /// Of these, answered with a proposal.
        pub quoted: u64,
        /// Of these, awarded.
        pub won: u64,
        /// Of these, delivered.
        pub delivered: u64,
    }
}
