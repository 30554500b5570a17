//! Signed documents: Ed25519 over a type tag and the JSON Canonicalization Scheme (RFC 8785).

use crate::{Did, Problem, Sha256, problem::Code};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::Signer as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use std::fmt;

/// Something that can be signed. The tag separates the domains: a signed award can never pass as an acceptance.
pub trait Document: Serialize + DeserializeOwned {
    /// Name of the document type, version included.
    const TYPE: &'static str;
}

/// Who can sign in the name of a [`Did`]. Only `node::identity` holds the key; everyone else sees this.
pub trait Signer: Send + Sync {
    /// The key's public side.
    fn did(&self) -> Did;
    /// An Ed25519 signature of `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// A signing key in memory. It is wiped when dropped.
pub struct KeySigner(ed25519_dalek::SigningKey);

impl KeySigner {
    /// From the 32-byte secret seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }
}

impl Signer for KeySigner {
    fn did(&self) -> Did {
        Did::from_public_key(self.0.verifying_key().as_bytes()).expect("a key derived from a seed has full order")
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// A document and one signature on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Document")]
pub struct Signed<T> {
    /// What is signed.
    pub document: T,
    /// Who signed.
    pub signer: Did,
    /// Ed25519 signature, base64url without padding.
    pub signature: Signature,
}

impl<T: Document> Signed<T> {
    /// Signs `document`.
    #[must_use]
    pub fn new(document: T, signer: &dyn Signer) -> Self {
        let signature = Signature(signer.sign(&message::<T>(&document)));
        Self { document, signer: signer.did(), signature }
    }

    /// Checks that `expected` signed exactly this document.
    ///
    /// # Errors
    /// [`Code::Forged`] when the signer is someone else or the signature does not hold.
    pub fn verify(&self, expected: &Did) -> Result<&T, Problem> {
        if self.signer != *expected {
            return Err(Problem::new(
                Code::Forged,
                format!("the {} is signed by {}, not by {expected}", T::TYPE, self.signer),
                "ask the peer for the document again; if it repeats, remove the peer",
            ));
        }
        if !self.signer.verifies(&message::<T>(&self.document), &self.signature.0) {
            return Err(Problem::new(
                Code::Forged,
                format!("the signature of the {} does not hold", T::TYPE),
                "the document was changed after it was signed; ask the peer for it again",
            ));
        }
        Ok(&self.document)
    }

    /// The document's hash, by which the next document of a contract refers to it. It covers the type tag and
    /// the content, not the signature.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        Sha256::of(&message::<T>(&self.document))
    }
}

/// `tender/<type>\n` followed by the document's canonical JSON.
fn message<T: Document>(document: &T) -> Vec<u8> {
    let mut bytes = format!("tender/{}\n", T::TYPE).into_bytes();
    bytes.extend(canonical(document));
    bytes
}

/// Canonical JSON (RFC 8785) of `value`.
///
/// # Panics
/// When `value` holds a map with non-text keys or a number that JSON cannot carry; no type of this crate does.
#[must_use]
pub fn canonical<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("documents are plain JSON")
}

/// An Ed25519 signature; base64url without padding in text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(&text).map_err(serde::de::Error::custom)?;
        let bytes: [u8; 64] =
            bytes.try_into().map_err(|_| serde::de::Error::custom("expected a signature of 64 bytes"))?;
        Ok(Self(bytes))
    }
}
