//! The parameters of the contract extension on a card: who signs, what is for sale, and what it runs on. Nothing here
//! binds; a signed proposal does.

use crate::{CONTRACT_EXTENSION, contract::restore_integers};
use a2a::AgentCard;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tender_base::{
    Code, Did, JobKind, Problem, Rate, Sha256, Signed, Timestamp, documents::Succession, job::ModelRef, kernel::Kernel,
};

/// Most prices, and most models of one skill, on a card: with the longest names it stays below
/// [`super::MAX_CARD_BYTES`]. What is beyond is still sold to who calls for it.
pub const MAX_OFFERED: usize = 40;
/// Most earlier keys on a card; older ones are left out.
pub const MAX_SUCCESSIONS: usize = 16;

/// One kind of work for sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkillFacts {
    /// The kind.
    pub kind: JobKind,
    /// The model, for kinds that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelRef>,
    /// The price without obligation; a proposal binds. Where `prompt_rate` is there, that of a text without its prompt.
    pub rate: Rate,
    /// The price of a text's prompt, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_rate: Option<Rate>,
}

/// What the work runs on, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Hardware.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// What each skill can be asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<SkillPredicates>,
    /// What was measured; nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub benchmarks: Vec<Benchmark>,
    /// When work is taken; none while nothing is for sale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
    /// For how long a proposal can be awarded, at most, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_quote_seconds: Option<u32>,
    /// How soon at most the card is free for its owner once something needs it, measured, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yield_ms: Option<u32>,
}

/// A processor for sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its name as its driver says it, such as `NVIDIA GeForce RTX 4080`.
    pub class: String,
    /// Who made it, where the name says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Its memory in bytes, where it was read from the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The interface it is used by, such as `vulkan`.
    pub api: String,
    /// Whether its figures were read from the device itself.
    pub measured: bool,
}

/// Kinds of processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// A graphics card, or the graphics part of a processor.
    Gpu,
    /// A processor that computes in a graphics card's place.
    Cpu,
}

/// What a skill of the card can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkillPredicates {
    /// Id of a skill on the card.
    pub skill: String,
    /// The models it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<OfferedModel>,
    /// The built-in kernels it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<Kernel>,
    /// What does the work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub software: Vec<Software>,
    /// What is spoken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<String>,
}

/// A model that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedModel {
    /// Name and hash of the weights.
    #[serde(flatten)]
    pub model: ModelRef,
    /// How the weights are stored, such as `Q4_K_M`; none where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantisation: Option<String>,
}

/// A program and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Software {
    /// Such as `tender-worker`.
    pub name: String,
    /// As it says itself.
    pub version: String,
}

/// A measured figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Benchmark {
    /// The kind of work.
    pub name: String,
    /// Units per second, such as `flop/s`.
    pub unit: String,
    /// The figure, three significant digits.
    pub value: f64,
    /// When it was measured last.
    pub measured_at: Timestamp,
    /// How many runs it is from.
    pub n: u64,
}

/// When work is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// At any time, until the owner says otherwise.
    Always,
    /// From this time on: the owner pauses until then.
    From(Timestamp),
    /// At these times of the week. Tender itself has no such schedule; other agents may.
    #[serde(untagged)]
    Windows(Vec<Window>),
}

/// A part of a day, in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// ISO weekdays, Monday is 1; every day when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<u8>,
    /// `HH:MM`.
    pub from: String,
    /// `HH:MM`; before `from` on the next day.
    pub until: String,
}

/// Parameters of the contract extension on a card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Who signs contracts.
    pub did: Did,
    /// SHA-256 of the TLS key (SubjectPublicKeyInfo, DER).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_key_sha256: Option<Sha256>,
    /// Who countersigns receipts; `did` when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_key: Option<Did>,
    /// What is for sale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<SkillFacts>,
    /// What it runs on.
    #[serde(flatten)]
    pub offer: Offer,
    /// Word of earlier keys about who goes on in their place, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub successions: Vec<Signed<Succession>>,
}

impl Terms {
    /// The contract extension of `card`; `None` when it is a plain A2A agent's.
    ///
    /// # Errors
    /// [`Code::Invalid`] when the extension is there and cannot be read.
    pub fn of(card: &AgentCard) -> Result<Option<Self>, Problem> {
        let extensions = card.capabilities.extensions.iter().flatten();
        let Some(extension) = extensions.into_iter().find(|extension| extension.uri == CONTRACT_EXTENSION) else {
            return Ok(None);
        };
        let params = extension.params.iter().flatten().map(|(k, v)| (k.clone(), v.clone()));
        let mut params = Value::Object(params.collect());
        restore_integers(&mut params);
        serde_path_to_error::deserialize(params).map(Some).map_err(|error| {
            Problem::new(
                Code::Invalid,
                format!(
                    "the card's contract extension is not readable: {}",
                    crate::error::readable(&error.to_string())
                ),
                "both sides need a version of Tender that speaks urn:tender:a2a:contract:v1",
            )
        })
    }
}
