//! The agent card: what it says, how it is signed, and how a client checks it.
//!
//! The signature is a detached JWS (RFC 7515, EdDSA) over the canonical JSON of the card without `signatures`,
//! with default values left out as ProtoJSON does. A client trusts the key it pinned beforehand and nothing on
//! the card itself: a `jku` is never followed.

mod params;
mod succession;

pub use params::{
    Availability, Benchmark, MAX_OFFERED, MAX_SUCCESSIONS, Offer, OfferedModel, Resource, ResourceKind, SkillFacts,
    SkillPredicates, Software, Terms, Window,
};
pub use succession::{successor, successor_on};

use crate::{
    CONTRACT_EXTENSION,
    contract::{BYTES, DOCUMENT},
};
use a2a::{
    AgentCapabilities, AgentCard, AgentCardSignature, AgentExtension, AgentInterface, AgentSkill, ApiKeySecurityScheme,
    HttpAuthSecurityScheme, SecurityScheme, TRANSPORT_PROTOCOL_HTTP_JSON, TRANSPORT_PROTOCOL_JSONRPC,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use tender_base::{Code, Did, JobKind, Problem, Sha256, Signed, Signer, documents::Succession, signed::canonical};

/// Largest card that is read: ours has about 3 kB.
pub const MAX_CARD_BYTES: usize = 64 << 10;
/// Names of the security schemes on the card: a token signed with the caller's own key, or a key that the owner issued.
const DID_SCHEME: &str = "did";
const KEY_SCHEME: &str = "key";

/// What a card says.
#[derive(Clone, Debug, PartialEq)]
pub struct CardFacts {
    /// The owner's name for this node.
    pub name: String,
    /// A sentence for people.
    pub description: String,
    /// Where both bindings are, such as `https://192.0.2.7:7420/`.
    pub url: String,
    /// Whose card it is.
    pub did: Did,
    /// Version of the node.
    pub version: String,
    /// [`crate::tls::ServerTls::key_sha256`]; none on loopback without TLS.
    pub tls_key_sha256: Option<Sha256>,
    /// What is for sale now; empty while nothing is. The first [`MAX_OFFERED`] are said.
    pub skills: Vec<SkillFacts>,
    /// What it runs on.
    pub offer: Offer,
    /// The keys that this one succeeded, see [`Terms::successions`].
    pub successions: Vec<Signed<Succession>>,
}

/// The card without its signature.
///
/// It holds no empty text, list or `false`, so that every reading of the proto's default-value rules gives the
/// same bytes to sign.
#[must_use]
pub fn build(facts: &CardFacts) -> AgentCard {
    let mut offer = facts.offer.clone();
    for skill in &mut offer.skills {
        skill.models.truncate(MAX_OFFERED);
    }
    let older = facts.successions.len().saturating_sub(MAX_SUCCESSIONS);
    let terms = Terms {
        did: facts.did,
        tls_key_sha256: facts.tls_key_sha256,
        receipt_key: Some(facts.did),
        prices: facts.skills.iter().take(MAX_OFFERED).cloned().collect(),
        offer,
        successions: facts.successions.iter().skip(older).cloned().collect(),
    };
    let params = match serde_json::to_value(terms) {
        Ok(Value::Object(params)) => params.into_iter().collect(),
        _ => HashMap::new(),
    };
    let extension = AgentExtension {
        uri: CONTRACT_EXTENSION.to_owned(),
        description: Some("Signed call for proposals, proposal, award, delivery and receipt. Optional.".to_owned()),
        // Absent is false.
        required: None,
        params: Some(params),
    };
    let bearer = HttpAuthSecurityScheme {
        scheme: "bearer".to_owned(),
        description: Some(
            "base64url of the canonical JSON of an access token signed with a did:key; identifies, needed only \
             for contracts"
                .to_owned(),
        ),
        bearer_format: Some("tender/access-token/v1".to_owned()),
    };
    let key = ApiKeySecurityScheme {
        location: "header".to_owned(),
        name: "X-API-Key".to_owned(),
        description: Some(
            "a key that the owner of this agent issued, for clients that cannot sign; also taken as a bearer token"
                .to_owned(),
        ),
    };
    let mut skills: Vec<AgentSkill> = Vec::new();
    for fact in &facts.skills {
        if !skills.iter().any(|skill| skill.id == fact.kind.name()) {
            skills.push(skill(fact.kind));
        }
    }
    if skills.is_empty() {
        // The protocol wants one; this is what a node that sells nothing can do.
        skills.push(AgentSkill {
            id: "pair".to_owned(),
            name: "Pairing".to_owned(),
            description: "Answers invitations. Nothing is for sale now.".to_owned(),
            tags: vec!["pairing".to_owned()],
            examples: None,
            input_modes: None,
            output_modes: None,
            security_requirements: None,
        });
    }
    AgentCard {
        name: facts.name.clone(),
        description: facts.description.clone(),
        version: facts.version.clone(),
        supported_interfaces: vec![
            AgentInterface::new(&facts.url, TRANSPORT_PROTOCOL_JSONRPC),
            AgentInterface::new(&facts.url, TRANSPORT_PROTOCOL_HTTP_JSON),
        ],
        capabilities: AgentCapabilities {
            streaming: Some(true),
            push_notifications: Some(true),
            extensions: Some(vec![extension]),
            extended_agent_card: None,
        },
        default_input_modes: vec![DOCUMENT.to_owned(), BYTES.to_owned(), "text/plain".to_owned()],
        default_output_modes: vec![DOCUMENT.to_owned(), BYTES.to_owned(), "text/plain".to_owned()],
        skills,
        provider: None,
        documentation_url: None,
        icon_url: None,
        security_schemes: Some(HashMap::from([
            (DID_SCHEME.to_owned(), SecurityScheme::HttpAuth(bearer)),
            (KEY_SCHEME.to_owned(), SecurityScheme::ApiKey(key)),
        ])),
        // None is required: callers without a token get the card and prices.
        security_requirements: None,
        signatures: None,
    }
}

fn skill(kind: JobKind) -> AgentSkill {
    let (name, description, tags) = match kind {
        JobKind::Generate => ("Text", "Writes text with a language model.", ["gpu", "text-generation"]),
        JobKind::Embed => ("Sentence embeddings", "Embeds passages of text.", ["gpu", "embeddings"]),
        JobKind::Gemm => ("Matrix product", "Multiplies dense f32 or f16 matrices.", ["gpu", "gemm"]),
        JobKind::Kernel => (
            "Built-in kernel",
            "Reduces or normalises rows of a matrix, or draws random paths, by kernels that every node has.",
            ["gpu", "kernel"],
        ),
        JobKind::Wgsl => ("Compute kernel", "Runs a metered WGSL kernel of yours.", ["gpu", "wgsl"]),
    };
    AgentSkill {
        id: kind.name().to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
        tags: tags.map(str::to_owned).to_vec(),
        examples: None,
        input_modes: None,
        output_modes: None,
        security_requirements: None,
    }
}

#[derive(Serialize, Deserialize)]
struct Protected {
    alg: String,
    kid: String,
    typ: String,
}

/// Adds the signature of `signer`, replacing any.
///
/// # Errors
/// [`Code::Internal`] when the card cannot be written as JSON.
pub fn sign(card: &mut AgentCard, signer: &dyn Signer) -> Result<(), Problem> {
    card.signatures = None;
    let value = serde_json::to_value(&*card).map_err(|error| {
        Problem::new(Code::Internal, format!("the card is not writable: {error}"), "report this as a bug")
    })?;
    let header = Protected { alg: "EdDSA".to_owned(), kid: signer.did().to_string(), typ: "JOSE".to_owned() };
    let protected = URL_SAFE_NO_PAD.encode(canonical(&header));
    let signature = URL_SAFE_NO_PAD.encode(signer.sign(&signing_input(&protected, value)));
    card.signatures = Some(vec![AgentCardSignature { protected, signature, header: None }]);
    Ok(())
}

/// Reads a card and checks that `pinned` signed it. The bytes are checked as they came, unknown members included.
///
/// # Errors
/// [`Code::Invalid`] when it is no A2A 1.0 card, [`Code::Forged`] when `pinned` did not sign it.
pub fn verify(bytes: &[u8], pinned: &Did) -> Result<AgentCard, Problem> {
    if bytes.len() > MAX_CARD_BYTES {
        return Err(Problem::new(Code::TooLarge, "the agent card is larger than 64 KiB", "this is no Tender node"));
    }
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| unreadable(&error.to_string()))?;
    let card: AgentCard =
        serde_path_to_error::deserialize(value.clone()).map_err(|error| unreadable(&error.to_string()))?;
    if let Value::Object(members) = &mut value {
        members.remove("signatures");
    }
    let kid = pinned.to_string();
    let holds = card.signatures.iter().flatten().any(|signature| {
        let header = URL_SAFE_NO_PAD.decode(&signature.protected).ok();
        let Some(header) = header.and_then(|bytes| serde_json::from_slice::<Protected>(&bytes).ok()) else {
            return false;
        };
        let bytes = URL_SAFE_NO_PAD.decode(&signature.signature).ok();
        let Some(bytes) = bytes.and_then(|bytes| <[u8; 64]>::try_from(bytes).ok()) else { return false };
        header.alg == "EdDSA"
            && header.kid == kid
            && pinned.verifies(&signing_input(&signature.protected, value.clone()), &bytes)
    });
    if !holds {
        return Err(Problem::new(
            Code::Forged,
            format!("the agent card is not signed by {pinned}"),
            "another node answers at this address, or the card was changed on its way; ask the peer for a new invitation",
        ));
    }
    Ok(card)
}

fn unreadable(why: &str) -> Problem {
    Problem::new(
        Code::Invalid,
        format!("the agent card is not readable: {}", crate::error::readable(why)),
        "check the address: an A2A 1.0 agent must answer there",
    )
}

/// `protected . base64url(payload)` (RFC 7515 §5.1).
fn signing_input(protected: &str, mut card: Value) -> Vec<u8> {
    drop_defaults(&mut card);
    let extensions = card.pointer_mut("/capabilities/extensions").and_then(Value::as_array_mut);
    for extension in extensions.into_iter().flatten() {
        // `bool required`: without presence in the proto, unlike the capabilities' `optional bool`s.
        if extension["required"] == json!(false)
            && let Value::Object(members) = extension
        {
            members.remove("required");
        }
    }
    format!("{protected}.{}", URL_SAFE_NO_PAD.encode(canonical(&card))).into_bytes()
}

/// Leaves out null, empty text, empty lists and empty objects, innermost first.
fn drop_defaults(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(drop_defaults);
            members.retain(|_, member| !is_default(member));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_defaults),
        _ => {}
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::{Rate, Timestamp, Unit, job::ModelRef, kernel::Kernel, signed::KeySigner};

    fn facts(signer: &KeySigner) -> CardFacts {
        CardFacts {
            name: "n".into(),
            description: "d".into(),
            url: "http://127.0.0.1:1/".into(),
            did: signer.did(),
            version: "0.1.0".into(),
            tls_key_sha256: None,
            skills: vec![SkillFacts {
                kind: JobKind::Gemm,
                model: None,
                rate: Rate { micro_usd: 5, per_units: 1_000_000_000, unit: Unit::Flop },
                prompt_rate: None,
            }],
            offer: Offer {
                resources: vec![Resource {
                    kind: ResourceKind::Gpu,
                    class: "NVIDIA GeForce RTX 4080".into(),
                    vendor: Some("NVIDIA".into()),
                    memory_bytes: Some(17_171_480_576),
                    api: "vulkan".into(),
                    measured: true,
                }],
                skills: vec![SkillPredicates {
                    skill: "kernel".into(),
                    models: Vec::new(),
                    kernels: Kernel::ALL.to_vec(),
                    software: vec![Software { name: "tender-worker".into(), version: "0.1.0".into() }],
                    protocols: vec!["a2a/1.0".into()],
                }],
                benchmarks: vec![Benchmark {
                    name: "gemm".into(),
                    unit: "flop/s".into(),
                    value: 5.2e12,
                    measured_at: Timestamp::from_millis(1_795_248_000_000),
                    n: 3,
                }],
                availability: Some(Availability::Always),
                max_quote_seconds: Some(30),
                yield_ms: None,
            },
            successions: Vec::new(),
        }
    }

    fn signed() -> (KeySigner, Value) {
        let signer = KeySigner::from_seed(&[1; 32]);
        let mut card = build(&facts(&signer));
        sign(&mut card, &signer).unwrap();
        (signer, serde_json::to_value(card).unwrap())
    }

    fn check(card: &Value, did: &Did) -> Result<AgentCard, Problem> {
        verify(card.to_string().as_bytes(), did)
    }

    #[test]
    fn a_signed_card_holds_for_its_signer_only() {
        let (signer, card) = signed();
        let read = check(&card, &signer.did()).unwrap();
        assert_eq!(Terms::of(&read).unwrap().unwrap().prices[0].rate.micro_usd, 5);
        assert_eq!(check(&card, &KeySigner::from_seed(&[9; 32]).did()).unwrap_err().code, Code::Forged);
    }

    #[test]
    fn every_change_of_content_breaks_it_and_default_values_do_not() {
        let (signer, card) = signed();
        let did = signer.did();
        for (pointer, with) in [
            ("/name", json!("other")),
            ("/supportedInterfaces/0/url", json!("http://127.0.0.1:2/")),
            ("/capabilities/extensions/0/required", json!(true)),
            ("/capabilities/extensions/0/params/prices/0/rate/micro_usd", json!(4)),
            ("/capabilities/extensions/0/params/benchmarks/0/value", json!(5.3e12)),
            ("/capabilities/extensions/0/params/resources/0/measured", json!(false)),
            ("/capabilities/extensions/0/params/availability", json!({"from": "2026-11-21T08:00:00.000Z"})),
            ("/securitySchemes/key/apiKeySecurityScheme/name", json!("X-Other")),
            ("/capabilities/pushNotifications", json!(false)),
            ("/unknownMember", json!(1)),
        ] {
            let mut changed = card.clone();
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[member] = with;
            assert_eq!(check(&changed, &did).unwrap_err().code, Code::Forged, "{pointer}");
        }
        let mut same = card;
        same["documentationUrl"] = json!("");
        same["capabilities"]["extensions"][0]["required"] = json!(false);
        check(&same, &did).unwrap();
    }

    #[test]
    fn numbers_as_a_peer_writes_them_that_knows_only_doubles_are_the_same_card() {
        fn float(value: &mut Value) {
            match value {
                Value::Number(n) => *value = json!(n.as_f64().unwrap()),
                Value::Array(items) => items.iter_mut().for_each(float),
                Value::Object(members) => members.values_mut().for_each(float),
                _ => {}
            }
        }
        let (signer, mut card) = signed();
        let text = card.to_string();
        float(card.pointer_mut("/capabilities/extensions/0/params").unwrap());
        assert_ne!(card.to_string(), text);
        let read = check(&card, &signer.did()).unwrap();
        let terms = Terms::of(&read).unwrap().unwrap();
        assert_eq!(read.security_schemes.unwrap().len(), 2);
        assert_eq!((terms.offer, terms.receipt_key), (facts(&signer).offer, Some(signer.did())));
    }

    #[test]
    fn a_card_is_never_larger_than_what_is_read() {
        let signer = KeySigner::from_seed(&[1; 32]);
        let mut facts = facts(&signer);
        // The longest that an owner can give: a hundred characters of four bytes.
        let model = |n: u32| ModelRef { name: "𝔐".repeat(100), sha256: Sha256::of(&n.to_le_bytes()) };
        facts.offer.skills[0].models = (0..1000)
            .map(|n| OfferedModel { model: model(n), quantisation: Some("Q4_K 83 %, Q6_K 17 %".into()) })
            .collect();
        facts.skills = (0..1000)
            .map(|n| SkillFacts {
                kind: JobKind::Generate,
                model: Some(model(n)),
                rate: facts.skills[0].rate,
                prompt_rate: None,
            })
            .collect();
        let (predecessor, successor) = (signer.did(), signer.did());
        let succession = Succession { predecessor, successor, succeeded_at: Timestamp::from_millis(0) };
        facts.successions = vec![Signed::new(succession, &signer); 100];
        let mut card = build(&facts);
        sign(&mut card, &signer).unwrap();
        let bytes = serde_json::to_vec(&card).unwrap();
        assert!(bytes.len() <= MAX_CARD_BYTES, "{} bytes", bytes.len());
        verify(&bytes, &signer.did()).unwrap();
    }

    #[test]
    fn unsigned_and_foreign_signatures_do_not_count() {
        let (signer, mut card) = signed();
        card["signatures"][0]["protected"] = json!(URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#));
        assert!(check(&card, &signer.did()).is_err());
        card.as_object_mut().unwrap().remove("signatures");
        assert_eq!(check(&card, &signer.did()).unwrap_err().code, Code::Forged);
        assert_eq!(verify(b"<html>", &signer.did()).unwrap_err().code, Code::Invalid);
    }
}
