//! The signed documents of a contract. Each names the contract, who sends and who receives, and the hash of the
//! document before it, so that none can be replayed, reordered or moved to another contract:
//!
//! call → proposal → award → delivery → acceptance → countersignature; a rejection, an abandonment, a handback or a
//! lapse ends it early. A payment clears accepted contracts later.

mod receipt;

pub use receipt::{Receipt, verification_seed};

use crate::{
    Book, Did, MicroUsd, Sha256, Timestamp,
    hash::BlobRef,
    ids::{ContractId, PaymentId},
    job::{JobSpec, Work},
    money::Rate,
    problem::Problem,
    signed::{Document, Signed},
    units::Meter,
};
use serde::{Deserialize, Serialize};

macro_rules! document {
    ($name:ident, $tag:literal) => {
        impl Document for $name {
            const TYPE: &'static str = $tag;
        }
    };
}

/// A client calls for proposals. One per contractor, each with its own contract id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallForProposals {
    /// The conversation this opens.
    pub contract: ContractId,
    /// Who calls.
    pub client: Did,
    /// Who is asked.
    pub contractor: Did,
    /// Real or demonstration money.
    pub book: Book,
    /// The job; its input bytes follow only with the award.
    pub job: JobSpec,
    /// When it was made.
    pub called_at: Timestamp,
    /// After this a proposal comes too late.
    pub respond_by: Timestamp,
}
document!(CallForProposals, "call/v1");

/// A contractor's binding offer; a slot is held for it until `valid_until`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The conversation.
    pub contract: ContractId,
    /// Who offers.
    pub contractor: Did,
    /// To whom.
    pub client: Did,
    /// Hash of the call.
    pub call: Sha256,
    /// Price per unit; where `prompt_rate` is there, per token of text.
    pub rate: Rate,
    /// Price per token of a text's prompt; none bills the prompt as the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_rate: Option<Rate>,
    /// Units that will be billed, as the job declares them.
    pub units: u64,
    /// What `units` cost, see [`bill`]: the most that can be billed.
    pub amount: MicroUsd,
    /// The offer's end.
    pub valid_until: Timestamp,
    /// Expected time from award to delivery, in milliseconds.
    pub estimated_ms: u64,
    /// The adapter that would run it, as its driver names it; empty until the worker was started once.
    pub adapter: String,
}
document!(Proposal, "proposal/v1");

/// What `units` of a job cost, rounded up once. With a price for the prompt, which only a text has, the first units
/// are the prompt's tokens, as the job declares them, and the others those of the text.
///
/// `None` when a price is per nothing, the amount does not fit 63 bits, or other work than text has a price for its
/// prompt.
#[must_use]
pub fn bill(work: &Work, rate: &Rate, prompt_rate: Option<&Rate>, units: u64) -> Option<MicroUsd> {
    let Some(prompt_rate) = prompt_rate else { return rate.amount(units) };
    let Work::Generate(text) = work else { return None };
    if prompt_rate.unit != rate.unit {
        return None;
    }
    let of_prompt = units.min(u64::from(text.prompt_tokens));
    rate.amount_with(units - of_prompt, prompt_rate, of_prompt)
}

impl Proposal {
    /// What `units` of the job cost under this offer; see [`bill`].
    #[must_use]
    pub fn bill(&self, work: &Work, units: u64) -> Option<MicroUsd> {
        bill(work, &self.rate, self.prompt_rate.as_ref(), units)
    }
}

/// The client takes the offer. The input bytes travel beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Award {
    /// The conversation.
    pub contract: ContractId,
    /// Who awards.
    pub client: Did,
    /// To whom.
    pub contractor: Did,
    /// Hash of the proposal.
    pub proposal: Sha256,
    /// SHA-256 of the nonce that will choose what is checked; revealed with the verdict.
    pub nonce_sha256: Sha256,
    /// Silence of this many seconds after the delivery counts as acceptance.
    pub review_seconds: u32,
    /// When it was made.
    pub awarded_at: Timestamp,
    /// After this the delivery comes too late.
    pub deadline: Timestamp,
}
document!(Award, "award/v1");

/// The contractor's statement of what was delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The conversation.
    pub contract: ContractId,
    /// Who delivers.
    pub contractor: Did,
    /// To whom.
    pub client: Did,
    /// Hash of the award.
    pub award: Sha256,
    /// The output; its SHA-256 is the root that, with the nonce, chooses what is checked.
    pub output: BlobRef,
    /// Units done.
    pub units: u64,
    /// What is billed: never more than the proposal's amount.
    pub amount: MicroUsd,
    /// Time and energy used.
    pub meter: Meter,
    /// Which machine did it.
    pub worker: WorkerInfo,
    /// When it was made.
    pub delivered_at: Timestamp,
}
document!(Delivery, "delivery/v1");

/// The machine that did the work, as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Adapter name, such as `llvmpipe (LLVM 15.0.6, 256 bits)`.
    pub adapter: String,
    /// Driver and its version.
    pub driver: String,
    /// Graphics API.
    pub backend: String,
    /// Version of `tender-worker`.
    pub version: String,
    /// The program that did it, when that was not `tender-worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Box<RuntimeInfo>>,
}

/// A program beside Tender that ran a language model, as it described itself. What it did not say is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// The program, such as `llama-server`.
    pub engine: String,
    /// Its version or build.
    pub build: Option<String>,
    /// The model, by the program's own name for it.
    pub model: String,
    /// The model's digest as the program states it. Ollama's is of its manifest, not of the weights.
    pub digest: Option<String>,
    /// Whether the contractor found that the loaded file has the hash that the job names.
    pub hash_checked: bool,
    /// Quantisation of the weights, such as `Q4_K_M`.
    pub quantisation: Option<String>,
}

/// What a check found. NaN never passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was measured.
    pub statistic: Statistic,
    /// Its value.
    pub value: f64,
    /// How many samples, rows or workgroups were looked at.
    pub n: u32,
    /// SHA-256(nonce ‖ delivered root): what chose them.
    pub seed: Sha256,
}

/// The statistics that verification knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Largest Freivalds residual over its tolerance: at most 1 for an honest product.
    FreivaldsResidual,
    /// Smallest cosine between delivered and recomputed embeddings.
    MinCosine,
    /// Fraction of the re-executed workgroups whose bytes agree.
    AgreeingSlices,
    /// Mean over the tokens of a text of how far each is behind the one the client's own model would have chosen, in
    /// logits.
    MeanMargin,
    /// The largest of these margins.
    MaxMargin,
    /// 1 when text, number of tokens and reason of the end follow from the delivered tokens, else 0.
    ConsistentText,
}

/// The client takes the delivery: from here the amount is owed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The conversation.
    pub contract: ContractId,
    /// Who accepts.
    pub client: Did,
    /// Whose delivery.
    pub contractor: Did,
    /// Hash of the delivery.
    pub delivery: Sha256,
    /// The nonce whose hash the award carried, hex.
    pub nonce: Sha256,
    /// What was checked; empty when policy decided not to check.
    pub evidence: Vec<Evidence>,
    /// What is owed.
    pub amount: MicroUsd,
    /// When it was made.
    pub accepted_at: Timestamp,
}
document!(Acceptance, "acceptance/v1");

/// The client refuses the delivery, with what it found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// The conversation.
    pub contract: ContractId,
    /// Who rejects.
    pub client: Did,
    /// Whose delivery.
    pub contractor: Did,
    /// Hash of the delivery.
    pub delivery: Sha256,
    /// The nonce whose hash the award carried.
    pub nonce: Sha256,
    /// What was found.
    pub evidence: Vec<Evidence>,
    /// Why, in a sentence.
    pub reason: String,
    /// When it was made.
    pub rejected_at: Timestamp,
}
document!(Rejection, "rejection/v1");

/// The client gives an award up before a delivery; a later delivery is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abandonment {
    /// The conversation.
    pub contract: ContractId,
    /// Who gives up.
    pub client: Did,
    /// On whom.
    pub contractor: Did,
    /// Hash of the award.
    pub award: Sha256,
    /// Why, in a sentence.
    pub reason: String,
    /// When it was made.
    pub abandoned_at: Timestamp,
}
document!(Abandonment, "abandonment/v1");

/// The contractor gives an award back before a delivery, because its owner needs the machine. Nothing is owed; what was
/// done and used until then is stated, so that both sides have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handback {
    /// The conversation.
    pub contract: ContractId,
    /// Who hands back.
    pub contractor: Did,
    /// To whom.
    pub client: Did,
    /// Hash of the award.
    pub award: Sha256,
    /// What kind of need it was.
    pub reason: HandbackReason,
    /// Units done until then, by the progress of the work; at most those of the proposal.
    pub units: u64,
    /// Time and energy used for them.
    pub meter: Meter,
    /// When it was made.
    pub handed_back_at: Timestamp,
}
document!(Handback, "handback/v1");

/// Why a contractor's machine is not for sale for a while: what kind of need its owner has. Never which program or
/// person: that is nobody else's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandbackReason {
    /// A game, or another program that fills the screen.
    Game,
    /// Another program that uses the card.
    OtherProgram,
    /// Its owner uses the machine.
    Activity,
    /// It is too hot.
    Temperature,
    /// It draws more power than its owner allows.
    Power,
    /// It runs on its battery.
    Battery,
    /// Its hours are over.
    Schedule,
    /// Its network is paid by volume.
    Metered,
    /// Its owner said so.
    Owner,
}

impl HandbackReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Game,
        Self::OtherProgram,
        Self::Activity,
        Self::Temperature,
        Self::Power,
        Self::Battery,
        Self::Schedule,
        Self::Metered,
        Self::Owner,
    ];

    /// The reason in words, as the other side reads it: "handed back: ".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Game => "the owner's game needs the card",
            Self::OtherProgram => "another program of the owner needs the card",
            Self::Activity => "the owner uses the machine",
            Self::Temperature => "the card is too hot",
            Self::Power => "the card draws more power than its owner allows",
            Self::Battery => "the machine runs on its battery",
            Self::Schedule => "the machine's hours of sale are over",
            Self::Metered => "the machine's network is paid by volume",
            Self::Owner => "the owner paused the machine",
        }
    }
}

/// The client does not take an offer: its slot is free again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decline {
    /// The conversation.
    pub contract: ContractId,
    /// Who declines.
    pub client: Did,
    /// Whose offer.
    pub contractor: Did,
    /// Hash of the proposal.
    pub proposal: Sha256,
    /// When it was made.
    pub declined_at: Timestamp,
}
document!(Decline, "decline/v1");

/// The contractor confirms what is owed: the receipt is complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Countersignature {
    /// The conversation.
    pub contract: ContractId,
    /// Who confirms.
    pub contractor: Did,
    /// To whom.
    pub client: Did,
    /// Hash of the acceptance.
    pub acceptance: Sha256,
    /// What is owed.
    pub amount: MicroUsd,
    /// When it was made.
    pub signed_at: Timestamp,
}
document!(Countersignature, "countersignature/v1");

/// The payer records a payment made outside the app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// The payment.
    pub payment: PaymentId,
    /// Who paid.
    pub payer: Did,
    /// Who received.
    pub payee: Did,
    /// Real or demonstration money.
    pub book: Book,
    /// The accepted contracts it clears, whole.
    pub contracts: Vec<ContractId>,
    /// Their sum.
    pub amount: MicroUsd,
    /// How, in the payer's words.
    pub method: String,
    /// When.
    pub paid_at: Timestamp,
}
document!(Payment, "payment/v1");

/// The payee confirms a payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentConfirmation {
    /// The payment.
    pub payment: PaymentId,
    /// Who received.
    pub payee: Did,
    /// Who paid.
    pub payer: Did,
    /// Hash of the payment.
    pub hash: Sha256,
    /// When it was made.
    pub confirmed_at: Timestamp,
}
document!(PaymentConfirmation, "payment-confirmation/v1");

/// A newcomer answers an invitation. Sent over a connection whose key the invitation pins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairingRequest {
    /// Who wants to pair.
    pub invitee: Did,
    /// Who invited.
    pub inviter: Did,
    /// The invitation's one-time secret, base64url.
    pub secret: String,
    /// The invitee's name for itself.
    pub name: String,
    /// Where the invitee's A2A interface listens; none when it only buys.
    pub address: Option<String>,
    /// When it was made.
    pub sent_at: Timestamp,
}
document!(PairingRequest, "pairing-request/v1");

/// The inviter's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairingAnswer {
    /// Who invited.
    pub inviter: Did,
    /// Who is now a peer.
    pub invitee: Did,
    /// Hash of the request.
    pub request: Sha256,
    /// The inviter's name for itself.
    pub name: String,
    /// What the invitee may owe at most.
    pub credit_limit: MicroUsd,
}
document!(PairingAnswer, "pairing-answer/v1");

/// A party goes on under another key. Signed by the old key; whoever sends it proves the new one, by a token or by the
/// card that it stands on. From then on the old key has nothing more to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Succession {
    /// The key until now, which signs.
    pub predecessor: Did,
    /// The key from now on.
    pub successor: Did,
    /// When it was made.
    pub succeeded_at: Timestamp,
}
document!(Succession, "succession/v1");

/// A short-lived proof of identity, sent as the bearer token of a request. It identifies and never authorises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessToken {
    /// Who asks.
    pub caller: Did,
    /// Who is asked; nobody else may accept the token.
    pub audience: Did,
    /// When it was made.
    pub issued_at: Timestamp,
    /// At most five minutes later.
    pub expires_at: Timestamp,
}
document!(AccessToken, "access-token/v1");

/// What travels in one data part of the contract extension, and what a store keeps of a contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// Client to contractor; answered by `Proposal` or `Refusal`.
    Call(Signed<CallForProposals>),
    /// Contractor to client.
    Proposal(Signed<Proposal>),
    /// Contractor to client: no, and why. Nothing is owed, so nothing is signed.
    Refusal(Problem),
    /// Client to contractor; answered by a task.
    Award(Signed<Award>),
    /// Client to contractor: the offer is not taken.
    Decline(Signed<Decline>),
    /// Contractor to client, in the task's status when the output is there.
    Delivery(Signed<Delivery>),
    /// Client to contractor; answered by `Countersignature`.
    Acceptance(Signed<Acceptance>),
    /// Client to contractor.
    Rejection(Signed<Rejection>),
    /// Client to contractor.
    Abandonment(Signed<Abandonment>),
    /// Contractor to client, in the task's status: the award is given back.
    Handback(Signed<Handback>),
    /// Contractor to client.
    Countersignature(Signed<Countersignature>),
    /// Payer to payee; answered by `PaymentConfirmation`.
    Payment(Signed<Payment>),
    /// Payee to payer.
    PaymentConfirmation(Signed<PaymentConfirmation>),
    /// Invitee to inviter; answered by `PairingAnswer` or `Refusal`.
    PairingRequest(Signed<PairingRequest>),
    /// Inviter to invitee.
    PairingAnswer(Signed<PairingAnswer>),
    /// Peer to peer; answered by the same document or `Refusal`.
    Succession(Signed<Succession>),
}

impl Message {
    /// The contract a message is about; none for payments, pairing and refusals.
    #[must_use]
    pub fn contract(&self) -> Option<ContractId> {
        match self {
            Self::Call(s) => Some(s.document.contract),
            Self::Proposal(s) => Some(s.document.contract),
            Self::Award(s) => Some(s.document.contract),
            Self::Decline(s) => Some(s.document.contract),
            Self::Delivery(s) => Some(s.document.contract),
            Self::Acceptance(s) => Some(s.document.contract),
            Self::Rejection(s) => Some(s.document.contract),
            Self::Abandonment(s) => Some(s.document.contract),
            Self::Handback(s) => Some(s.document.contract),
            Self::Countersignature(s) => Some(s.document.contract),
            Self::Refusal(_)
            | Self::Payment(_)
            | Self::PaymentConfirmation(_)
            | Self::PairingRequest(_)
            | Self::PairingAnswer(_)
            | Self::Succession(_) => None,
        }
    }
}
