//! Text to WordPiece tokens.

use super::config::BertConfig;
use crate::Error;
use std::path::Path;
use tender_base::{
    Sha256,
    catalogue::{self, CONFIG_FILE, TOKENIZER_FILE},
};
use tokenizers::{PostProcessor as _, Tokenizer, TruncationParams};

/// A model's tokenizer, set up as sentence-transformers does: special tokens, truncation, no padding.
pub struct Tokens {
    tokenizer: Tokenizer,
}

impl Tokens {
    /// Reads the tokenizer in the folder of a model of the catalogue.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when it or the model's configuration is missing or broken, [`Error::ModelHash`] when no
    /// model of the catalogue has such a file.
    pub fn open(model_dir: &Path) -> Result<Self, Error> {
        let tokenizer = pinned(model_dir, TOKENIZER_FILE)?;
        let config = BertConfig::from_json(&model_dir.join(CONFIG_FILE), &pinned(model_dir, CONFIG_FILE)?)?;
        Self::from_json(&model_dir.join(TOKENIZER_FILE), &tokenizer, &config)
    }

    /// Takes what the file at `path` holds.
    pub(super) fn from_json(path: &Path, json: &[u8], config: &BertConfig) -> Result<Self, Error> {
        let broken = |why: String| Error::ModelFile { path: path.to_owned(), why };
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|e| broken(e.to_string()))?;
        let most = config.most_tokens();
        let special = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if special > most {
            return Err(broken(format!("it adds {special} tokens to a passage, but the model takes {most}")));
        }
        let truncation = TruncationParams { max_length: most, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| broken(e.to_string()))?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer })
    }

    /// Token ids of each passage, special tokens included, at most as many as the model takes and
    /// [`MAX_PASSAGE_TOKENS`](tender_base::job::MAX_PASSAGE_TOKENS).
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

/// Reads a file that some model of the catalogue has under this name.
fn pinned(model_dir: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let path = model_dir.join(name);
    let bytes = std::fs::read(&path).map_err(|e| Error::ModelFile { path: path.clone(), why: e.to_string() })?;
    let got = Sha256::of(&bytes);
    let known: Vec<_> = catalogue::MODELS.iter().filter_map(|model| model.file(name)).collect();
    match known.first() {
        Some(expected) if known.iter().all(|file| file.sha256 != got) => {
            Err(Error::ModelHash { path, got, expected: expected.sha256 })
        }
        _ => Ok(bytes),
    }
}
