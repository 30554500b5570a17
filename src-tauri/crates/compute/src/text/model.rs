//! A language model that writes several texts at a time.

use super::{
    batch::Sequence,
    config::Config,
    gguf::Gguf,
    kernels::{Variant, attention::PAGE},
    network::Network,
    tokenizer::Tokenizer,
    vocab::Vocab,
    weights::Source,
};
use crate::{Error, device::Gpu};
use std::{fs::File, path::Path};
use tender_base::{Sha256, frames::TextLimits};

/// A model with its weights on the GPU, and the texts that are under way.
pub struct TextModel {
    pub(super) tokenizer: Tokenizer,
    limits: TextLimits,
    pub(super) network: Network,
    /// Numbers below `limits.sequences` that no sequence has.
    pub(super) slots: Vec<u32>,
    /// In the order of admission.
    pub(super) sequences: Vec<Sequence>,
}

impl TextModel {
    /// Loads a GGUF file, whose content must hash to `sha256`.
    ///
    /// # Errors
    /// [`Error::ModelFile`], [`Error::ModelHash`] and [`Error::ModelUnsupported`] before anything is loaded;
    /// [`Error::OutOfMemory`] before a weight is read; [`Error::Invalid`] for limits that no text fits in; or
    /// whatever the GPU reports.
    pub fn open(gpu: &Gpu, path: &Path, sha256: Sha256, limits: TextLimits) -> Result<Self, Error> {
        let unreadable = |e: std::io::Error| Error::ModelFile { path: path.to_owned(), why: e.to_string() };
        let gguf = Gguf::open(path)?;
        let config = Config::read(&gguf)?;
        let tokenizer = Tokenizer::read(&gguf)?;
        let got = Sha256::of_reader(File::open(path).map_err(unreadable)?).map_err(unreadable)?;
        if got != sha256 {
            return Err(Error::ModelHash { path: path.to_owned(), got, expected: sha256 });
        }
        let network = Network::new(gpu, Variant::of(gpu), config, Source::File(gguf), limits)?;
        let limits = TextLimits {
            context_tokens: network.context(),
            sequences: limits.sequences,
            cache_bytes: u64::from(network.pages.total()) * network.page_bytes(),
        };
        Ok(Self { tokenizer, limits, network, slots: (0..limits.sequences).rev().collect(), sequences: Vec::new() })
    }

    /// The tokens of prompts.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model's tokens.
    #[must_use]
    pub fn vocab(&self) -> &Vocab {
        self.tokenizer.vocab()
    }

    /// What it really keeps: the limits that were asked for, lowered to what the model and the adapter have.
    #[must_use]
    pub fn limits(&self) -> TextLimits {
        self.limits
    }

    /// Whether all pages that no sequence has are zero.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub fn free_pages_are_zero(&self, gpu: &Gpu) -> Result<bool, Error> {
        for &page in self.network.pages.free() {
            if !self.network.is_zero(gpu, page)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Holds a request against what the model can do.
    pub(super) fn check(&self, prompt: &[u32], others: &[u32], tokens: u64) -> Result<(), Error> {
        if prompt.is_empty() {
            return Err(Error::Invalid("the prompt has no token; send some words".into()));
        }
        let vocabulary = self.network.vocabulary();
        if let Some(token) = prompt.iter().chain(others).find(|token| **token >= vocabulary) {
            return Err(Error::Invalid(format!("there is no token {token}: the vocabulary has {vocabulary}")));
        }
        let context = u64::from(self.limits.context_tokens);
        if tokens > context {
            return Err(Error::Invalid(format!(
                "prompt and answer may have {tokens} tokens together, but the context holds {context}; \
                 shorten the prompt or lower max_tokens"
            )));
        }
        let room = u64::from(self.network.pages.total()) * u64::from(PAGE);
        if tokens > room {
            return Err(Error::Invalid(format!(
                "prompt and answer may have {tokens} tokens together, but there is memory for {room}; \
                 shorten the prompt or lower max_tokens"
            )));
        }
        Ok(())
    }

    /// A slot, and pages for so many tokens; nothing when one of both is not free.
    pub(super) fn reserve(&mut self, gpu: &Gpu, tokens: u32) -> Option<(u32, Vec<u32>)> {
        let slot = *self.slots.last()?;
        let pages = self.network.pages.take(tokens.div_ceil(PAGE))?;
        self.slots.pop();
        self.network.assign(gpu, slot, &pages);
        Some((slot, pages))
    }

    /// Zeroes pages and frees them with their slot.
    pub(super) fn free(&mut self, gpu: &Gpu, slot: u32, pages: Vec<u32>) -> Result<(), Error> {
        self.slots.push(slot);
        self.network.release(gpu, pages)
    }
}
