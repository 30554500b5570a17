//! The models this version knows, by the hashes of their files, and how much memory a model takes.

mod known;

use crate::{frames::TextLimits, hash::Sha256, job::ModelRef};
pub use known::{MINILM, MODELS, SMOLLM2};
use serde::{Deserialize, Serialize};

/// Name of the weights file in an encoder's folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Name of the tokenizer's file in an encoder's folder.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// Name of the file in an encoder's folder that says what it is.
pub const CONFIG_FILE: &str = "config.json";
/// Where the models are downloaded from, unless the owner names another place with the same paths.
pub const SOURCE: &str = "https://huggingface.co";
/// Tokens whose keys and values are kept together: a text takes whole pages of the cache.
pub const PAGE_TOKENS: u32 = 16;
/// Rows of logits that a worker keeps on a card, whatever it is asked for: those of one pass, since of a text that is
/// checked every token's are wanted. On a CPU adapter it keeps fewer.
pub const LOGITS_ROWS: u32 = 128;
/// Weights of Q4_K take 148 bytes a block on the card and 144 in the file, a part of so many more; other formats take
/// less on top, or nothing.
const REPACKED: u64 = 36;
/// Memory that a worker takes on top of weights, keys, values and logits: activations, kernels, copies on their way
/// and what the driver keeps for itself. An allowance that is the same for every model: SmolLM2 took 181 MiB on Mesa's
/// CPU driver (22.3), the process included; on a card it has not been measured.
pub const OVERHEAD_BYTES: u64 = 256 << 20;

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Writes text.
    Text,
    /// Embeds text.
    Embed,
}

/// A model whose files are pinned. They lie in a folder that is named after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Name in the catalogue and of the folder.
    pub name: &'static str,
    /// What it does.
    pub kind: ModelKind,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// SPDX identifier; `LicenseRef-…` for terms that SPDX does not list.
    pub licence: &'static str,
    /// How its weights are stored.
    pub quantisation: &'static str,
    /// Its parameters.
    pub parameters: u64,
    /// What decides how much memory it takes. The weights count as long as their file, which is at most some
    /// megabytes more.
    pub footprint: Footprint,
    /// The weights first.
    pub files: &'static [ModelFile],
}

/// A file of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// Name in the model's folder.
    pub name: &'static str,
    /// Length in bytes.
    pub bytes: u64,
    /// Hash of the whole.
    pub sha256: Sha256,
    /// Owner and name of the repository at the hub.
    pub repository: &'static str,
    /// The commit, which unlike a branch never has another file.
    pub revision: &'static str,
}

impl ModelFile {
    /// Path below [`SOURCE`].
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/resolve/{}/{}", self.repository, self.revision, self.name)
    }
}

/// What decides how much memory a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Bytes of all weights, as they are stored.
    pub weight_bytes: u64,
    /// Bytes of keys and values that one token occupies while a text is written: 2 × layers × heads of keys × numbers
    /// per head × 2 bytes. Zero for encoders.
    pub cache_bytes_per_token: u64,
    /// Tokens of the vocabulary: a row of logits has so many f32. Zero for encoders.
    pub vocabulary: u32,
    /// Tokens that the model was trained to overlook.
    pub context_tokens: u32,
}

/// What the worker found in a model file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Family of the model, as the file names it, such as `llama`.
    pub architecture: String,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Transformer layers.
    pub layers: u32,
    /// What decides how much memory it takes.
    pub footprint: Footprint,
    /// Formats of the tensors with the parameters stored in each, most first.
    pub formats: Vec<(String, u64)>,
    /// Whether the file says how a chat is written down; without it only raw prompts can be continued.
    pub chat_template: bool,
}

impl Footprint {
    /// Memory for a worker that keeps `limits`, in bytes: weights as they lie on the card + min(context in whole pages ×
    /// sequences × cache per token, most cache) + [`LOGITS_ROWS`] × vocabulary × 4 + [`OVERHEAD_BYTES`]. The context is
    /// the model's own if that is shorter.
    #[must_use]
    pub fn needed_bytes(&self, limits: &TextLimits) -> u64 {
        let context = u64::from(limits.context_tokens.min(self.context_tokens));
        let tokens = context.next_multiple_of(u64::from(PAGE_TOKENS)) * u64::from(limits.sequences);
        let cache = self.cache_bytes_per_token.saturating_mul(tokens).min(limits.cache_bytes);
        let logits = u64::from(LOGITS_ROWS) * u64::from(self.vocabulary) * 4;
        let weights = self.weight_bytes.saturating_add(self.weight_bytes.div_ceil(REPACKED));
        weights.saturating_add(cache).saturating_add(logits).saturating_add(OVERHEAD_BYTES)
    }

    /// Tokens that one text may have, its prompt included, in a worker that keeps `limits`: what the model overlooks,
    /// what is kept for one text, and what all pages of the cache hold, whichever is least.
    #[must_use]
    pub fn most_tokens(&self, limits: &TextLimits) -> u32 {
        let page = self.cache_bytes_per_token.saturating_mul(u64::from(PAGE_TOKENS));
        let room = limits.cache_bytes.checked_div(page).map_or(u64::MAX, |pages| pages * u64::from(PAGE_TOKENS));
        let context = limits.context_tokens.min(self.context_tokens);
        u32::try_from(room).unwrap_or(u32::MAX).min(context)
    }
}

impl ModelFacts {
    /// The formats by share, such as `Q4_K 83 %, Q6_K 17 %`; shares under half a per cent are left out.
    #[must_use]
    pub fn quantisation(&self) -> String {
        let all: u64 = self.formats.iter().map(|(_, parameters)| parameters).sum();
        let share = |parameters: u64| (u128::from(parameters) * 100 + u128::from(all) / 2) / u128::from(all.max(1));
        let shares = self.formats.iter().map(|(format, parameters)| (format, share(*parameters)));
        let words: Vec<String> =
            shares.filter(|(_, share)| *share > 0).map(|(format, share)| format!("{format} {share} %")).collect();
        words.join(", ")
    }
}

impl Model {
    /// The file with the weights, whose hash names the model.
    #[must_use]
    pub fn weights(&self) -> &'static ModelFile {
        // A test holds that every model has one.
        &self.files[0]
    }

    /// One of its files.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&'static ModelFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Length of all files in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// How a job names it.
    #[must_use]
    pub fn to_ref(&self) -> ModelRef {
        ModelRef { name: self.name.to_owned(), sha256: self.weights().sha256 }
    }

    /// The model whose weights have this hash.
    #[must_use]
    pub fn with_weights(kind: ModelKind, sha256: &Sha256) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.kind == kind && model.weights().sha256 == *sha256)
    }

    /// The model of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn pinned_digests_read_as_written() {
        let written = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";
        assert_eq!(MINILM.weights().sha256.to_string(), written);
        let found = |kind, sha256| Model::with_weights(kind, &sha256).map(|model| model.name);
        assert_eq!(found(ModelKind::Embed, MINILM.weights().sha256), Some(MINILM.name));
        assert_eq!(found(ModelKind::Text, MINILM.weights().sha256), None, "an encoder writes no text");
        assert_eq!(found(ModelKind::Text, Sha256::of(b"")), None);
    }

    #[test]
    fn every_model_is_named_once_and_comes_from_a_revision_that_does_not_move() {
        let names: BTreeSet<_> = MODELS.iter().map(|model| model.name).collect();
        let digests: BTreeSet<_> = MODELS.iter().flat_map(|model| model.files).map(|file| file.sha256).collect();
        let files = MODELS.iter().map(|model| model.files.len()).sum::<usize>();
        assert_eq!((names.len(), digests.len()), (MODELS.len(), files));
        for model in MODELS {
            assert!(!model.files.is_empty(), "{} has no weights", model.name);
            let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            assert!(plain(model.name) && !model.name.starts_with('.'), "{} is a folder's name", model.name);
            assert!(model.footprint.weight_bytes <= model.weights().bytes, "{}", model.name);
            for file in model.files {
                assert!(plain(file.name) && file.bytes > 0, "{}", file.name);
                let commit = file.revision.len() == 40 && file.revision.chars().all(|c| c.is_ascii_hexdigit());
                let owned = file.repository.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name));
                assert!(commit && owned, "{}", file.path());
            }
        }
    }

    #[test]
    fn memory_is_weights_cache_logits_and_an_allowance() {
        // Llama 3.1 8B: 32 layers, 8 heads of keys and values with 128 numbers.
        let cache_bytes_per_token = 2 * 32 * 8 * 128 * 2;
        let model =
            Footprint { weight_bytes: 36 << 28, cache_bytes_per_token, vocabulary: 1 << 17, context_tokens: 1 << 17 };
        let limits = TextLimits { context_tokens: 1024, sequences: 4, cache_bytes: 1 << 30 };
        // 36 parts in the file are 37 on the card; a pass of 128 rows has logits, however few texts are written.
        let rest = (37 << 28) + 128 * (4 << 17) + OVERHEAD_BYTES;
        // 4 × 1024 tokens of 128 KiB each are 512 MiB.
        assert_eq!(model.needed_bytes(&limits), (512 << 20) + rest);
        // Sixteen long texts share what is kept for all.
        let many = TextLimits { context_tokens: 8192, sequences: 16, ..limits };
        assert_eq!(model.needed_bytes(&many), (1 << 30) + rest);
        // A model that overlooks less needs less, in whole pages.
        let short = Footprint { context_tokens: 510, ..model };
        assert_eq!(short.needed_bytes(&limits), (256 << 20) + rest);
        // Nothing that a hostile file declares overflows.
        let huge = Footprint { weight_bytes: u64::MAX, cache_bytes_per_token: u64::MAX, ..model };
        assert_eq!(huge.needed_bytes(&limits), u64::MAX);
    }

    #[test]
    fn a_text_may_have_what_model_limits_and_cache_all_have_room_for() {
        let limits = TextLimits { context_tokens: 8192, sequences: 16, cache_bytes: 1 << 30 };
        let of = |name: &str| Model::named(name).map(|model| model.footprint).unwrap();
        // 8192 tokens of 128 KiB are 1 GiB; of 144 KiB, 7281 would fit, and 455 whole pages hold 7280.
        assert_eq!(of("Meta-Llama-3.1-8B-Instruct").most_tokens(&limits), 8192);
        assert_eq!(of("Qwen3-8B").most_tokens(&limits), 7280);
        assert_eq!(of("Qwen3-8B").most_tokens(&TextLimits { context_tokens: 4000, ..limits }), 4000);
        assert_eq!(Footprint { context_tokens: 512, ..of("Qwen3-8B") }.most_tokens(&limits), 512);
        assert_eq!(of("Qwen3-8B").most_tokens(&TextLimits { cache_bytes: (15 * 144) << 10, ..limits }), 0, "no page");
        let huge = Footprint { cache_bytes_per_token: u64::MAX, ..of("Qwen3-8B") };
        assert_eq!(huge.most_tokens(&limits), 0);
        assert_eq!(Footprint { cache_bytes_per_token: 0, ..huge }.most_tokens(&limits), 8192);
    }

    #[test]
    fn formats_are_told_by_share() {
        let formats = [("Q4_K", 830), ("Q6_K", 168), ("F32", 2)].map(|(name, count)| (name.to_owned(), count)).to_vec();
        let facts = ModelFacts {
            architecture: "llama".to_owned(),
            parameters: 1000,
            layers: 2,
            footprint: MODELS[0].footprint,
            formats,
            chat_template: true,
        };
        assert_eq!(facts.quantisation(), "Q4_K 83 %, Q6_K 17 %");
        assert_eq!(ModelFacts { formats: Vec::new(), ..facts }.quantisation(), "");
    }
}
