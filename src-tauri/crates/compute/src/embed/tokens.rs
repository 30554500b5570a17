//! Text to WordPiece tokens.

use crate::Error;
use std::path::Path;
use tender_base::{Sha256, catalogue, job::MAX_PASSAGE_TOKENS};
use tokenizers::{Tokenizer, TruncationParams};

/// A model's tokenizer, set up as sentence-transformers does: special tokens, truncation, no padding.
pub struct Tokens {
    tokenizer: Tokenizer,
    sha256: Sha256,
}

impl Tokens {
    /// Reads the tokenizer in a model's folder.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when it is missing or broken, [`Error::ModelHash`] when no model of the catalogue has it.
    pub fn open(model_dir: &Path) -> Result<Self, Error> {
        let path = model_dir.join(catalogue::TOKENIZER_FILE);
        let broken = |why: String| Error::ModelFile { path: path.clone(), why };
        let bytes = std::fs::read(&path).map_err(|e| broken(e.to_string()))?;
        let sha256 = Sha256::of(&bytes);
        let known: Vec<_> =
            catalogue::MODELS.iter().filter_map(|model| model.file(catalogue::TOKENIZER_FILE)).collect();
        if let Some(expected) = known.first().filter(|_| known.iter().all(|file| file.sha256 != sha256)) {
            return Err(Error::ModelHash { path, got: sha256, expected: expected.sha256 });
        }
        let mut tokenizer = Tokenizer::from_bytes(&bytes).map_err(|e| broken(e.to_string()))?;
        let truncation = TruncationParams { max_length: MAX_PASSAGE_TOKENS as usize, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| broken(e.to_string()))?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer, sha256 })
    }

    /// What the tokenizer's file hashes to.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Token ids of each passage, special tokens included, at most [`MAX_PASSAGE_TOKENS`].
    ///
    /// # Errors
    /// [`Error::Invalid`] when the tokenizer refuses a passage.
    pub fn encode(&self, passages: &[String]) -> Result<Vec<Vec<u32>>, Error> {
        passages
            .iter()
            .enumerate()
            .map(|(at, text)| match self.tokenizer.encode_fast(text.as_str(), true) {
                Ok(encoding) => Ok(encoding.get_ids().to_vec()),
                Err(e) => Err(Error::Invalid(format!("passage {at} cannot be tokenized: {e}"))),
            })
            .collect()
    }

    /// How many tokens each passage has after truncation.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn count(&self, passages: &[String]) -> Result<Vec<u32>, Error> {
        // At most MAX_PASSAGE_TOKENS, so that the length fits.
        Ok(self.encode(passages)?.iter().map(|ids| ids.len() as u32).collect())
    }
}
