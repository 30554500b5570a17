//! The contract extension: how signed documents travel in plain A2A.
//!
//! - A document is one data part of a message that lists [`CONTRACT_EXTENSION`]. The part is JSON, not text:
//!   `a2a-lf` keeps it as a JSON value, in which integers stay integers. Peers that pass it through protobuf's
//!   `Struct` turn `5` into `5.0`; reading undoes that, and no signature breaks, because canonical JSON (RFC 8785)
//!   writes both as `5`.
//! - An award carries the job's input as one raw part beside the document. No other message may.
//! - Progress is `metadata[URI] = {"done", "total"}` on a WORKING status; while a text is written also
//!   `"text": {"at", "more"}`, the piece that begins after `at` bytes.
//! - A delivery is a task in INPUT_REQUIRED with one artifact (one raw part) and the signed delivery in the
//!   status message. The contract's id is the context id and, once awarded, the task id.

use a2a::{
    Artifact, Message as WireMessage, Part, PartContent, Role, StreamResponse, Task, TaskArtifactUpdateEvent,
    TaskState, TaskStatus, TaskStatusUpdateEvent,
};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use tender_base::{
    Code, ContractState, MicroUsd, Problem, Sha256, Signed, Timestamp,
    documents::{Delivery, Message},
    ids::ContractId,
    job::MAX_BLOB_BYTES,
    signed::canonical,
};

/// The extension's URI; a new version is a new URI.
pub const CONTRACT_EXTENSION: &str = "urn:tender:a2a:contract:v1";
/// Media type of job inputs and outputs.
pub const BYTES: &str = "application/octet-stream";
/// Media type of a document.
pub const DOCUMENT: &str = "application/json";
/// Id of the one artifact of a delivery, and of its text while it is written.
pub const OUTPUT: &str = "output";

/// A document as it arrived, and the bytes beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The document; its signature is not yet checked.
    pub document: Message,
    /// An award's input; none for every other document.
    pub input: Option<Vec<u8>>,
}

/// How far a task is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// More of a text that is being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Piece>,
    /// What was used so far, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter: Option<Used>,
}

/// What work has used so far. It binds nobody: what counts is the meter of the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// Units that would be billed if it ended now.
    pub units: u64,
    /// What they cost by the rate of the proposal.
    pub amount_micro_usd: MicroUsd,
    /// Energy, in joules; none while it is not known.
    pub energy_joules: Option<f64>,
    /// Whether the energy was measured.
    pub measured: bool,
}

/// A piece of a text, and where it belongs. A reader that has less than `at` bytes has missed something and waits for
/// the output; one that has more knows the rest already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Bytes of the text before this piece.
    pub at: u64,
    /// The piece, in whole characters.
    pub more: String,
}

/// The A2A face of a contract's state; none before the award, when there is no task.
#[must_use]
pub fn face(state: ContractState) -> Option<TaskState> {
    Some(match state {
        ContractState::Announced | ContractState::Proposed => return None,
        ContractState::Awarded => TaskState::Submitted,
        ContractState::Running => TaskState::Working,
        ContractState::Delivered => TaskState::InputRequired,
        ContractState::Accepted | ContractState::Settled => TaskState::Completed,
        ContractState::Lapsed => TaskState::Rejected,
        ContractState::Abandoned => TaskState::Canceled,
        ContractState::Rejected | ContractState::Failed | ContractState::HandedBack => TaskState::Failed,
    })
}

/// A message that carries `document`.
///
/// Its id is the document's hash, so that sending the same document again is the same message; a refusal, which
/// is not signed and names no contract, gets a random one.
#[must_use]
pub fn wrap(document: &Message, role: Role) -> WireMessage {
    let contract = document.contract().map(|id| id.to_string());
    let message_id = match document {
        Message::Refusal(_) => a2a::new_message_id(),
        _ => Sha256::of(&canonical(document)).to_string(),
    };
    // From the award on there is a task; an award itself makes it.
    let task_id = match document {
        Message::Delivery(_)
        | Message::Acceptance(_)
        | Message::Rejection(_)
        | Message::Abandonment(_)
        | Message::Handback(_)
        | Message::Countersignature(_) => contract.clone(),
        _ => None,
    };
    let value = serde_json::to_value(document).unwrap_or_default();
    WireMessage {
        message_id,
        context_id: contract,
        task_id,
        role,
        parts: vec![Part::data(value).with_media_type(DOCUMENT)],
        metadata: None,
        extensions: Some(vec![CONTRACT_EXTENSION.to_owned()]),
        reference_task_ids: None,
    }
}

/// An award with the job's input beside it.
#[must_use]
pub fn wrap_award(document: &Message, input: Vec<u8>) -> WireMessage {
    let mut message = wrap(document, Role::User);
    message.parts.push(Part::raw(input).with_media_type(BYTES));
    message
}

/// Whether a message belongs to the extension.
#[must_use]
pub fn belongs(message: &WireMessage) -> bool {
    message.extensions.iter().flatten().any(|uri| uri == CONTRACT_EXTENSION)
}

/// Reads a message of the extension; `None` when it is plain A2A.
///
/// # Errors
/// [`Code::Invalid`] unless there is exactly one document, ids that belong to it, and nothing beside it but an
/// award's input; [`Code::TooLarge`] when that input is larger than [`MAX_BLOB_BYTES`].
pub fn unwrap(message: WireMessage) -> Result<Option<Envelope>, Problem> {
    if !belongs(&message) {
        return Ok(None);
    }
    let (mut document, mut input) = (None, None);
    for part in message.parts {
        match part.content {
            PartContent::Data(value) if document.is_none() => document = Some(parse(value)?),
            PartContent::Raw(bytes) if input.is_none() => input = Some(bytes),
            PartContent::Data(_) => return Err(invalid("a message of the contract extension has one data part")),
            PartContent::Raw(_) => return Err(invalid("a message of the contract extension has one raw part at most")),
            PartContent::Text(_) | PartContent::Url(_) => {
                return Err(invalid("a message of the contract extension has no text and no url part"));
            }
        }
    }
    let document = document.ok_or_else(|| invalid("the message lists the contract extension but has no data part"))?;
    if let Some(bytes) = &input {
        if !matches!(document, Message::Award(_)) {
            return Err(invalid("only an award carries bytes"));
        }
        check_size(bytes)?;
    }
    if let Some(contract) = document.contract() {
        let contract = contract.to_string();
        if [&message.context_id, &message.task_id].into_iter().flatten().any(|id| *id != contract) {
            return Err(invalid("contextId and taskId must be the document's contract"));
        }
    }
    Ok(Some(Envelope { document, input }))
}

fn parse(mut value: Value) -> Result<Message, Problem> {
    restore_integers(&mut value);
    let document = serde_path_to_error::deserialize(value).map_err(|error| {
        Problem::new(
            Code::Invalid,
            format!("the contract document is not readable: {}", crate::error::readable(&error.to_string())),
            "both sides need a version of Tender that speaks urn:tender:a2a:contract:v1",
        )
    })?;
    Ok(match document {
        // Unsigned words of a stranger, which are stored and shown.
        Message::Refusal(Problem { code, message, hint }) => {
            Message::Refusal(Problem::new(code, crate::error::readable(&message), crate::error::readable(&hint)))
        }
        document => document,
    })
}

/// `5.0` → `5` where a double holds the integer exactly, up to 2^53: protobuf's `Struct`, which some clients pass their
/// data through, knows only doubles, and no document knows the difference.
pub fn restore_integers(value: &mut Value) {
    /// 2^53: above it a double does not tell neighbouring integers apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64()
                && float.fract() == 0.0
                && float.abs() <= EXACT
            {
                *value = Value::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(restore_integers),
        Value::Object(members) => members.values_mut().for_each(restore_integers),
        _ => {}
    }
}

fn check_size(bytes: &[u8]) -> Result<(), Problem> {
    if bytes.len() as u64 > MAX_BLOB_BYTES {
        return Err(Problem::new(
            Code::TooLarge,
            format!("the raw part has {} bytes, more than {MAX_BLOB_BYTES}", bytes.len()),
            "split the job",
        ));
    }
    Ok(())
}

fn invalid(message: &str) -> Problem {
    Problem::new(Code::Invalid, message, "see the contract extension on the agent's card")
}

/// A task's status, with a document in its message where there is one.
#[must_use]
pub fn status(state: TaskState, document: Option<&Message>, at: Timestamp) -> TaskStatus {
    TaskStatus {
        state,
        message: document.map(|document| wrap(document, Role::Agent)),
        timestamp: DateTime::from_timestamp_millis(at.millis()),
    }
}

/// A task as it stands.
#[must_use]
pub fn task(contract: ContractId, status: TaskStatus, progress: Option<Progress>, output: Option<Vec<u8>>) -> Task {
    Task {
        id: contract.to_string(),
        context_id: contract.to_string(),
        status,
        artifacts: output.map(|bytes| vec![artifact(bytes)]),
        history: None,
        metadata: progress.map(metadata),
    }
}

/// The task of a delivery: INPUT_REQUIRED, the output as artifact, the signed delivery in the status.
#[must_use]
pub fn delivered(delivery: &Signed<Delivery>, output: Vec<u8>) -> Task {
    let at = delivery.document.delivered_at;
    let status = status(TaskState::InputRequired, Some(&Message::Delivery(delivery.clone())), at);
    task(delivery.document.contract, status, None, Some(output))
}

/// An event: the task's status changed.
#[must_use]
pub fn status_update(contract: ContractId, status: TaskStatus, progress: Option<Progress>) -> StreamResponse {
    StreamResponse::StatusUpdate(TaskStatusUpdateEvent {
        task_id: contract.to_string(),
        context_id: contract.to_string(),
        status,
        metadata: progress.map(metadata),
    })
}

/// An event: the whole output is there. The delivery follows as a status.
#[must_use]
pub fn output_update(contract: ContractId, output: Vec<u8>) -> StreamResponse {
    StreamResponse::ArtifactUpdate(TaskArtifactUpdateEvent {
        task_id: contract.to_string(),
        context_id: contract.to_string(),
        artifact: artifact(output),
        append: None,
        last_chunk: Some(true),
        metadata: None,
    })
}

fn artifact(bytes: Vec<u8>) -> Artifact {
    Artifact {
        artifact_id: OUTPUT.to_owned(),
        name: None,
        description: None,
        parts: vec![Part::raw(bytes).with_media_type(BYTES)],
        metadata: None,
        extensions: Some(vec![CONTRACT_EXTENSION.to_owned()]),
    }
}

pub(crate) fn metadata(progress: Progress) -> HashMap<String, Value> {
    HashMap::from([(CONTRACT_EXTENSION.to_owned(), serde_json::to_value(progress).unwrap_or_default())])
}

/// The progress in a task's or an event's metadata; what cannot be read is no progress.
#[must_use]
pub fn progress(metadata: Option<&HashMap<String, Value>>) -> Option<Progress> {
    let mut value = metadata?.get(CONTRACT_EXTENSION)?.clone();
    restore_integers(&mut value);
    serde_json::from_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tender_base::{
        Clock, Did, Entropy, Signer,
        documents::{Acceptance, Award, Evidence, Statistic},
        signed::KeySigner,
    };

    struct Fixed;
    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1_795_248_000_000)
        }
    }
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn parties() -> (KeySigner, Did, ContractId) {
        let contractor = KeySigner::from_seed(&[2; 32]).did();
        (KeySigner::from_seed(&[1; 32]), contractor, ContractId::new(&Fixed, &Fixed))
    }

    fn acceptance() -> Message {
        let (client, contractor, contract) = parties();
        let hash = Sha256::of(b"x");
        Message::Acceptance(Signed::new(
            Acceptance {
                contract,
                client: client.did(),
                contractor,
                delivery: hash,
                nonce: hash,
                evidence: vec![Evidence { statistic: Statistic::MinCosine, value: 1.0, n: 3, seed: hash }],
                amount: MicroUsd(9_007_199_254_740_991),
                accepted_at: Fixed.now(),
            },
            &client,
        ))
    }

    fn award() -> Message {
        let (client, contractor, contract) = parties();
        Message::Award(Signed::new(
            Award {
                contract,
                client: client.did(),
                contractor,
                proposal: Sha256::of(b"p"),
                nonce_sha256: Sha256::of(b"n"),
                review_seconds: 600,
                awarded_at: Fixed.now(),
                deadline: Fixed.now(),
            },
            &client,
        ))
    }

    #[test]
    fn a_signature_survives_a_peer_that_turns_integers_into_floats() {
        fn float(value: &mut Value) {
            match value {
                Value::Number(n) => *value = json!(n.as_f64().unwrap()),
                Value::Array(items) => items.iter_mut().for_each(float),
                Value::Object(members) => members.values_mut().for_each(float),
                _ => {}
            }
        }
        let mut wire = serde_json::to_value(wrap(&acceptance(), Role::User)).unwrap();
        float(&mut wire);
        let text = wire.to_string();
        assert!(text.contains("9007199254740991.0"), "{text}");
        let message: WireMessage = serde_json::from_str(&text).unwrap();
        let envelope = unwrap(message).unwrap().unwrap();
        assert_eq!(envelope.document, acceptance());
        let Message::Acceptance(signed) = envelope.document else { panic!() };
        signed.verify(&parties().0.did()).unwrap();
    }

    #[test]
    fn a_message_has_one_document_and_only_an_award_has_bytes() {
        let ok = wrap_award(&award(), vec![0, 255, 3]);
        let envelope = unwrap(ok.clone()).unwrap().unwrap();
        assert_eq!(envelope.input.as_deref(), Some(&[0, 255, 3][..]));

        let with = |part: Part| {
            let mut message = ok.clone();
            message.parts.push(part);
            message
        };
        let mut foreign = ok.clone();
        foreign.context_id = Some("other".into());
        let mut empty = ok.clone();
        empty.parts.clear();
        let mut beside = wrap(&acceptance(), Role::User);
        beside.parts.push(Part::raw(vec![1]));
        for message in
            [with(Part::text("x")), with(Part::raw(vec![1])), with(ok.parts[0].clone()), foreign, empty, beside]
        {
            assert_eq!(unwrap(message.clone()).unwrap_err().code, Code::Invalid, "{message:?}");
        }

        let mut plain = ok;
        plain.extensions = None;
        assert_eq!(unwrap(plain).unwrap(), None);
    }

    #[test]
    fn the_same_document_is_the_same_message() {
        assert_eq!(wrap(&award(), Role::User), wrap(&award(), Role::User));
        assert_ne!(wrap(&award(), Role::User).message_id, wrap(&acceptance(), Role::User).message_id);
    }
}
