//! Who: an Ed25519 public key written as `did:key:z6Mk…` (W3C did:key method, multicodec 0xed01).

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A key that signs, checked when made: it is always a valid curve point and never of small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Did(VerifyingKey);

const PREFIX: &str = "did:key:z";
/// Multicodec of an Ed25519 public key, as a varint.
const ED25519: [u8; 2] = [0xed, 0x01];

/// Text that is not a usable `did:key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an Ed25519 key such as did:key:z6Mk…")]
pub struct NotADid;

impl Did {
    /// From a public key; refuses keys of small order, with which anything verifies.
    ///
    /// # Errors
    /// [`NotADid`] when the bytes are no strong public key.
    pub fn from_public_key(bytes: &[u8; 32]) -> Result<Self, NotADid> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| NotADid)?;
        if key.is_weak() { Err(NotADid) } else { Ok(Self(key)) }
    }

    /// The public key's 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Strict Ed25519 verification (RFC 8032, no malleable signatures).
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }

    /// The last eight characters, for people to compare.
    #[must_use]
    pub fn short(&self) -> String {
        let text = self.to_string();
        text[text.len() - 8..].to_owned()
    }
}

impl std::hash::Hash for Did {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.public_key().hash(state);
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = ED25519.to_vec();
        bytes.extend_from_slice(self.public_key());
        write!(f, "{PREFIX}{}", bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Did {
    type Err = NotADid;
    fn from_str(text: &str) -> Result<Self, NotADid> {
        // Base58 decoding is quadratic: bound the text before it.
        let encoded = text.strip_prefix(PREFIX).filter(|rest| rest.len() <= 64).ok_or(NotADid)?;
        let bytes = bs58::decode(encoded).into_vec().map_err(|_| NotADid)?;
        let key: &[u8; 32] = bytes.strip_prefix(&ED25519).and_then(|key| key.try_into().ok()).ok_or(NotADid)?;
        Self::from_public_key(key)
    }
}

impl Serialize for Did {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Did {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_example_of_the_did_key_specification() {
        let text = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
        assert_eq!(text.parse::<Did>().unwrap().to_string(), text);
    }

    #[test]
    fn refuses_weak_and_malformed_keys() {
        assert!(Did::from_public_key(&[0; 32]).is_err());
        for text in ["", "did:key:z", "did:web:example.org", "did:key:z6Mkha", "did:key:z0OIl"] {
            assert!(text.parse::<Did>().is_err(), "{text}");
        }
    }
}
