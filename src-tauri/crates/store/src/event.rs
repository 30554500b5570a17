//! What can happen. Events are the truth; the tables follow from them and serve the reads.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tender_base::{
    BlobRef, Book, ContractState, Did, JobSpec, JobState, MicroUsd, Problem, Role, Signed, Timestamp,
    documents::{CallForProposals, Message, Payment, PaymentConfirmation, Proposal},
    ids::{ContractId, InvitationId, JobId},
    ledger::Entry,
};
use uuid::Uuid;

use crate::{Hired, InvitationRecord, PeerRecord, Refused, TaskMessage, TaskState, WorkRecord};

/// Version of the event's layout, stored beside each. Raise it when an old body would no longer read, and read
/// both.
pub const EVENT_VERSION: u16 = 1;

/// Something that happened, as it is stored: `{"event": "job_moved", …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
// One lives for the length of a request; boxing the documents would only spread noise.
#[allow(clippy::large_enum_variant)]
pub enum Event {
    /// The node made its key. Once per database.
    IdentityCreated {
        /// The public key.
        did: Did,
        /// The data directory's own identifier, which names the secret in the keyring.
        data_id: Uuid,
    },
    /// The node goes on under another key. Refused while a contract is open or anything is owed, since those name the
    /// old one.
    IdentitySucceeded {
        /// The key until now.
        from: Did,
        /// The key from now on.
        to: Did,
        /// When.
        at: Timestamp,
    },
    /// A job of this node's owner came in; it is queued.
    JobSubmitted {
        /// New identifier.
        job: JobId,
        /// Real or demonstration money.
        book: Book,
        /// What to compute.
        spec: JobSpec,
        /// Never on the own GPU, even if that is cheapest.
        peers_only: bool,
        /// When.
        submitted_at: Timestamp,
    },
    /// It was decided where the job runs. A later decision replaces an earlier one (failover).
    JobDecided {
        /// Which job.
        job: JobId,
        /// The decision receipt.
        decision: Value,
    },
    /// A job was given to an A2A agent that is no peer, or taken from it: what must be asked there after a restart.
    JobHired {
        /// Which job.
        job: JobId,
        /// Who does it; none when nobody does any more.
        hired: Option<Hired>,
    },
    /// A job changed its state. Refused once its state is final.
    JobMoved {
        /// Which job.
        job: JobId,
        /// The new state.
        state: JobState,
        /// Why; replaces the previous reason, none clears it.
        reason: Option<Problem>,
        /// The result; none keeps what is known.
        output: Option<BlobRef>,
        /// What it cost; none keeps what is known.
        charged: Option<MicroUsd>,
        /// What was checked and found; none keeps what is known.
        checked: Option<Value>,
        /// What is posted with the move, for what is bought without a contract; each entry balances.
        #[serde(default)]
        entries: Vec<Entry>,
        /// When.
        at: Timestamp,
    },
    /// A contract begins, on either side.
    ContractOpened {
        /// Identifier chosen by the client.
        contract: ContractId,
        /// Which side this node is.
        role: Role,
        /// Real or demonstration money.
        book: Book,
        /// The other side.
        peer: Did,
        /// The client's job; none on the contractor's side.
        job: Option<JobId>,
        /// The first state: announced or proposed.
        state: ContractState,
        /// The call.
        call: Signed<CallForProposals>,
        /// The proposal, when one exists already.
        proposal: Option<Signed<Proposal>>,
        /// When the state ends by itself.
        expires_at: Option<Timestamp>,
        /// When.
        at: Timestamp,
    },
    /// A contract changed its state. Refused as stale when it is not in `from`: applies once.
    ContractMoved {
        /// Which contract.
        contract: ContractId,
        /// The state it leaves.
        from: ContractState,
        /// The state it enters.
        to: ContractState,
        /// The documents that move it.
        documents: Vec<Message>,
        /// What is posted with the move; each entry balances.
        entries: Vec<Entry>,
        /// Why; replaces the previous reason, none clears it.
        reason: Option<Problem>,
        /// When the new state ends by itself.
        expires_at: Option<Timestamp>,
        /// When.
        at: Timestamp,
    },
    /// A document came that does not change the state. The same one again changes nothing.
    ContractDocumented {
        /// Which contract.
        contract: ContractId,
        /// What came.
        document: Message,
        /// When.
        at: Timestamp,
    },
    /// Something happened to a task of an A2A client. Refused as stale when the task has ended, or when more is recorded
    /// of it than `expected`: applies once.
    TaskRecorded {
        /// Which task; new when nothing is expected.
        task: String,
        /// Whose it is.
        owner: String,
        /// What it belongs to.
        context: String,
        /// The message that did it. Refused when it came already.
        #[serde(default)]
        once: Option<TaskMessage>,
        /// How much is recorded before.
        expected: u64,
        /// What happened, in order; at least one.
        bodies: Vec<Value>,
        /// The state that it comes to; none when it stays.
        state: Option<TaskState>,
        /// When its state ends by itself.
        expires_at: Option<Timestamp>,
        /// When.
        at: Timestamp,
    },
    /// A payment made outside clears accepted contracts: they are settled. A payment applies once.
    PaymentRecorded {
        /// By the payer.
        payment: Signed<Payment>,
        /// By the payee; none until it answers.
        confirmation: Option<Signed<PaymentConfirmation>>,
        /// Which side of the contracts this node is: the client pays, the contractor receives.
        role: Role,
        /// What is posted; each entry balances.
        entries: Vec<Entry>,
        /// When.
        at: Timestamp,
    },
    /// The payee's confirmation of a payment recorded without one. The same one again changes nothing.
    PaymentConfirmed {
        /// By the payee.
        confirmation: Signed<PaymentConfirmation>,
        /// When.
        at: Timestamp,
    },
    /// A peer was paired, or paired again after its removal.
    PeerPaired {
        /// All that is known of it.
        peer: PeerRecord,
    },
    /// A peer's row changed; what is none stays.
    PeerChanged {
        /// Which peer.
        did: Did,
        /// What it may owe at most.
        credit_limit: Option<MicroUsd>,
        /// Where its interface listens.
        address: Option<String>,
        /// Its name here.
        name: Option<String>,
    },
    /// A peer was removed: no new contracts. Its row stays, since old contracts name it.
    PeerRemoved {
        /// Which peer.
        did: Did,
        /// When.
        at: Timestamp,
    },
    /// A peer goes on under another key. Its row, its ended contracts and its payments follow; the old key's row is removed.
    /// Refused while a contract with it is open or anything is owed.
    PeerSucceeded {
        /// The key until now.
        from: Did,
        /// The key from now on.
        to: Did,
        /// When.
        at: Timestamp,
    },
    /// An invitation was made.
    InvitationIssued {
        /// The invitation; unused.
        record: InvitationRecord,
    },
    /// An invitation was taken. Refused when used or expired.
    InvitationUsed {
        /// Which one.
        invitation: InvitationId,
        /// By whom.
        by: Did,
        /// When.
        at: Timestamp,
    },
    /// A setting changed; null forgets it, so that the default holds again.
    SettingChanged {
        /// Its name.
        key: String,
        /// Its value.
        value: Value,
        /// When.
        at: Timestamp,
    },
    /// A piece of work ended well. The same one again changes nothing.
    WorkDone {
        /// What was done, and what was measured of it.
        work: WorkRecord,
    },
    /// Calls for work here were refused, so many for each reason since the last such event.
    CallsRefused {
        /// How many, by reason.
        counts: BTreeMap<Refused, u64>,
        /// When they are counted: the day they belong to.
        at: Timestamp,
    },
    /// Work could be bought here. A span that goes on where the last one ended is the same span.
    Offered {
        /// From when on.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
}

/// A condition that must hold before the events of the same request, in the same transaction. It sees
/// everything applied earlier, so concurrent requests never pass it together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Client: expenses posted since `day_start`, plus what is reserved, plus `amount`, is at most `cap`.
    DailySpend {
        /// Which money.
        book: Book,
        /// Midnight UTC of today.
        day_start: Timestamp,
        /// The owner's cap.
        cap: MicroUsd,
        /// What this request will reserve.
        amount: MicroUsd,
    },
    /// Contractor: what the peer owes, plus the amounts of its contracts awarded, running or delivered, plus
    /// `amount`, is at most `limit`.
    PeerCredit {
        /// Which money.
        book: Book,
        /// The client.
        peer: Did,
        /// What it may owe.
        limit: MicroUsd,
        /// The amount of the contract about to be awarded.
        amount: MicroUsd,
    },
    /// Contractor: fewer than `limit` contracts hold a slot: proposed and not expired at `now`, awarded or
    /// running. Texts are written together and have slots of their own.
    Slots {
        /// Whether the slots for texts are meant, or those for all other work.
        text: bool,
        /// How many slots there are.
        limit: u32,
        /// Now.
        now: Timestamp,
    },
    /// Contractor: fewer than `limit` proposals to this peer are open at `now`.
    PeerHolds {
        /// The client.
        peer: Did,
        /// How many it may hold.
        limit: u32,
        /// Now.
        now: Timestamp,
    },
    /// Contractor: fewer than `limit` tasks of this owner that came to nothing, or have not yet come to anything, stand where
    /// they do since after `since`.
    Quotes {
        /// The client.
        owner: Did,
        /// From when on they count.
        since: Timestamp,
        /// How many it may have had since.
        limit: u32,
    },
}
