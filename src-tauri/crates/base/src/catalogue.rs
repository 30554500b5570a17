//! The models this version can run, by the hashes of their files. Anything else is refused before it is read.

use crate::{hash::Sha256, job::ModelRef};

/// Name of the weights file in a model's folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Name of the tokenizer's file in a model's folder.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// A model whose files are pinned. Its folder is named after it and holds [`WEIGHTS_FILE`] and [`TOKENIZER_FILE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Name in the catalogue and of the folder.
    pub name: &'static str,
    /// SHA-256 of [`WEIGHTS_FILE`].
    pub weights_sha256: Sha256,
    /// SHA-256 of [`TOKENIZER_FILE`].
    pub tokenizer_sha256: Sha256,
}

/// Sentence encoder, 384 dimensions, English; Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2).
pub const MINILM: Model = Model {
    name: "all-MiniLM-L6-v2",
    weights_sha256: pinned("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    tokenizer_sha256: pinned("be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
};

/// A language model whose GGUF file is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextModel {
    /// Name in the catalogue and of the folder.
    pub name: &'static str,
    /// Name of the file in the folder.
    pub file: &'static str,
    /// SHA-256 of the file.
    pub sha256: Sha256,
}

/// Chat model of 135 million parameters, English, 4-bit weights; Apache-2.0 (HuggingFaceTB/SmolLM2-135M-Instruct).
pub const SMOLLM2: TextModel = TextModel {
    name: "SmolLM2-135M-Instruct",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: pinned("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
};

impl TextModel {
    /// How a job names it.
    #[must_use]
    pub fn to_ref(self) -> ModelRef {
        ModelRef { name: self.name.to_owned(), sha256: self.sha256 }
    }
}

/// Every encoder.
pub const MODELS: [Model; 1] = [MINILM];

impl Model {
    /// How a job names it.
    #[must_use]
    pub fn to_ref(self) -> ModelRef {
        ModelRef { name: self.name.to_owned(), sha256: self.weights_sha256 }
    }

    /// The model whose weights have this hash.
    #[must_use]
    pub fn with_weights(sha256: &Sha256) -> Option<Self> {
        MODELS.into_iter().find(|m| m.weights_sha256 == *sha256)
    }
}

/// A digest from its 64 lower-case hex digits, at compile time.
const fn pinned(hex: &str) -> Sha256 {
    const fn digit(c: u8) -> u8 {
        match c {
            b'0'..=b'9' => c - b'0',
            b'a'..=b'f' => c - b'a' + 10,
            _ => panic!("a pinned digest has lower-case hex digits only"),
        }
    }
    let text = hex.as_bytes();
    assert!(text.len() == 64, "a pinned digest has 64 hex digits");
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i] = digit(text[2 * i]) << 4 | digit(text[2 * i + 1]);
        i += 1;
    }
    Sha256::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_digests_read_as_written() {
        assert_eq!(
            MINILM.weights_sha256.to_string(),
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        );
        assert_eq!(Model::with_weights(&MINILM.weights_sha256), Some(MINILM));
        assert_eq!(Model::with_weights(&Sha256::of(b"")), None);
    }
}
