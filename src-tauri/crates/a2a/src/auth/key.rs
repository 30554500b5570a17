//! API keys: identity for clients that cannot sign.
//!
//! A key is a seed. Who sends it is the `did:key` of that seed, so that everything which holds for a peer's key holds
//! for it: contracts, credit, isolation, removal. The node signs in the client's name while it answers the request; such
//! a signature proves nothing against the node, which has seen the key, and says so wherever it is shown.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{fmt, sync::Arc};
use tender_base::{Did, Entropy, Signer, signed::KeySigner};

/// What the text of every API key begins with, so that a key in the wrong place is recognised.
pub const KEY_PREFIX: &str = "tender_";

/// The key that a request carried.
#[derive(Clone)]
pub struct ApiKey(Arc<KeySigner>, Did);

impl ApiKey {
    /// Draws a new key; the text is shown once and stored nowhere.
    #[must_use]
    pub fn draw(entropy: &dyn Entropy) -> (Self, String) {
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        (Self::of(&seed), format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(seed)))
    }

    /// Reads a key's text; none when it is no key.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(KEY_PREFIX)?).ok()?;
        Some(Self::of(&<[u8; 32]>::try_from(bytes).ok()?))
    }

    fn of(seed: &[u8; 32]) -> Self {
        let signer = KeySigner::from_seed(seed);
        let did = signer.did();
        Self(Arc::new(signer), did)
    }

    /// The public key that it stands for.
    #[must_use]
    pub fn did(&self) -> Did {
        self.1
    }

    /// Signs in the client's name, while its request is answered.
    #[must_use]
    pub fn signer(&self) -> Arc<KeySigner> {
        self.0.clone()
    }
}

impl PartialEq for ApiKey {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}

impl Eq for ApiKey {}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.1)
    }
}
