//! What a model is: its hyper-parameters, read from a GGUF file and held against every tensor in it.
//!
//! Llama 2 and 3, SmolLM2 and Mistral are `llama`; Qwen 2 and 2.5 are `qwen2`; Qwen 3 is `qwen3`. What a file asks
//! for beyond that is refused by name, before a weight is read.

#[cfg(test)]
pub(super) mod tests;

use super::{format::Format, gguf::Gguf};
use crate::Error;
use std::collections::BTreeSet;

/// Bytes of one number in the cache of keys and values.
pub const CACHE_NUMBER_BYTES: u64 = 2;

// Far above every model in use (405 billion parameters: 126 layers, width 16,384, 128 heads, feed-forward 53,248),
// and low enough that no product of two or three overflows 64 bits.
const MAX_LAYERS: u64 = 512;
const MAX_WIDTH: u64 = 1 << 16;
const MAX_HEADS: u64 = 1 << 10;
const MAX_HEAD_DIM: u64 = 512;
const MAX_FEED_FORWARD: u64 = 1 << 19;
const MAX_VOCABULARY: u64 = 1 << 20;
const MAX_CONTEXT: u64 = 1 << 24;

/// A family of models that this version computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3, SmolLM2, Mistral.
    Llama,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3, the dense ones.
    Qwen3,
}

impl Architecture {
    const ALL: [Self; 3] = [Self::Llama, Self::Qwen2, Self::Qwen3];

    /// The name in the file, which is also the prefix of its metadata keys.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }
}

/// Which numbers of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeLayout {
    /// 2i and 2i + 1: ggml's `NORM`.
    Neighbours,
    /// i and i + half of the head: ggml's `NEOX`.
    Halves,
}

/// Rotary position embedding (Su et al. 2021).
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub base: f64,
    /// Which numbers form a pair.
    pub layout: RopeLayout,
    /// Positions are divided by this; 1 unless the file scales linearly.
    pub linear: f64,
    /// Each pair's frequency is divided by its number here, as Llama 3.1 does; empty for none.
    pub factors: Vec<f32>,
}

impl Rope {
    /// Radians by which pair i is turned per position: base^(−2i/d) ÷ linear ÷ factors\[i\]; half of `head_dim` long.
    #[must_use]
    pub fn frequencies(&self, head_dim: u32) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|pair| {
                let factor = self.factors.get(pair as usize).map_or(1.0, |&factor| f64::from(factor));
                let exponent = -2.0 * f64::from(pair) / f64::from(head_dim);
                (self.base.powf(exponent) / self.linear / factor) as f32
            })
            .collect()
    }
}

/// The hyper-parameters of a model whose tensors were all found in the file, in the right shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The family.
    pub architecture: Architecture,
    /// Transformer layers.
    pub layers: u32,
    /// Length of the residual stream.
    pub width: u32,
    /// Query heads; a multiple of `kv_heads`.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Numbers per head; even.
    pub head_dim: u32,
    /// Width of the feed-forward layer.
    pub feed_forward: u32,
    /// Tokens of the vocabulary, which are rows of the embedding and of the output.
    pub vocabulary: u32,
    /// Tokens that the model was trained to overlook.
    pub context: u32,
    /// Added to the mean square in every RMS norm.
    pub rms_epsilon: f32,
    /// Position embedding.
    pub rope: Rope,
    /// The output matrix is the embedding matrix.
    pub tied_output: bool,
    /// Query, key and value have biases.
    pub qkv_bias: bool,
    /// Each query and key head is normalised before rotation.
    pub head_norm: bool,
    /// Bytes of all weights, as they are stored in the file.
    pub weight_bytes: u64,
}

/// Features that the architectures here can have in a file, and that change the result: refused unless neutral.
const NEUTRAL: &[(&str, f64, &str)] = &[
    ("attn_logit_softcapping", 0.0, "soft-capped attention"),
    ("final_logit_softcapping", 0.0, "soft-capped logits"),
    ("logit_scale", 1.0, "scaled logits"),
    ("residual_scale", 1.0, "scaled residuals"),
    ("embedding_scale", 1.0, "scaled embeddings"),
    ("attention.scale", 0.0, "its own attention scale"),
    ("attention.clamp_kqv", 0.0, "clamped attention"),
    ("attention.max_alibi_bias", 0.0, "ALiBi positions"),
    ("attention.temperature_scale", 0.0, "attention temperatures"),
];

impl Config {
    /// Reads the hyper-parameters and checks that every tensor is there, in the right shape, and no other.
    ///
    /// # Errors
    /// [`Error::ModelUnsupported`] naming the feature that is not computed here; [`Error::ModelFile`] naming the
    /// field or tensor that is missing or contradicts the others.
    pub fn read(gguf: &Gguf) -> Result<Self, Error> {
        let architecture = architecture(gguf)?;
        let keys = Keys { gguf, prefix: architecture.name() };
        keys.refuse_features()?;
        let layers = keys.size("block_count", MAX_LAYERS)?;
        let width = keys.size("embedding_length", MAX_WIDTH)?;
        let heads = keys.size("attention.head_count", MAX_HEADS)?;
        let kv_heads = match keys.has("attention.head_count_kv") {
            true => keys.size("attention.head_count_kv", MAX_HEADS)?,
            false => heads,
        };
        if heads % kv_heads != 0 {
            return Err(gguf.broken(format!("{heads} heads cannot share {kv_heads} key and value heads")));
        }
        let head_dim = match keys.has("attention.key_length") {
            true => keys.size("attention.key_length", MAX_HEAD_DIM)?,
            false if width % heads == 0 && width / heads <= MAX_HEAD_DIM as u32 => width / heads,
            false => return Err(gguf.broken(format!("{heads} heads cannot share a width of {width}"))),
        };
        if head_dim % 2 != 0 {
            return Err(gguf.broken(format!("heads of {head_dim} numbers cannot be rotated in pairs")));
        }
        for (key, what) in [("attention.value_length", "values"), ("rope.dimension_count", "rotated parts")] {
            if keys.has(key) && keys.size(key, MAX_HEAD_DIM)? != head_dim {
                return Err(gguf.unsupported(format!("{what} shorter or longer than the head are not supported")));
            }
        }
        let context = keys.size("context_length", MAX_CONTEXT)?;
        let window = keys.unsigned("attention.sliding_window")?.unwrap_or(0);
        if window > 0 && window < u64::from(context) {
            return Err(gguf.unsupported("sliding-window attention is not supported"));
        }
        let epsilon = keys.float("attention.layer_norm_rms_epsilon")?;
        let epsilon = gguf.required(&keys.key("attention.layer_norm_rms_epsilon"), epsilon)?;
        if !(epsilon > 0.0 && epsilon < 0.1) {
            return Err(gguf.broken(format!("layer_norm_rms_epsilon is {epsilon}, not between 0 and 0.1")));
        }
        let vocabulary = gguf.required("tokenizer.ggml.tokens", gguf.strings("tokenizer.ggml.tokens")?)?.len() as u64;
        if !(1..=MAX_VOCABULARY).contains(&vocabulary) {
            return Err(gguf.broken(format!("the vocabulary has {vocabulary} tokens, not 1 to {MAX_VOCABULARY}")));
        }
        let mut config = Self {
            architecture,
            layers,
            width,
            heads,
            kv_heads,
            head_dim,
            feed_forward: keys.size("feed_forward_length", MAX_FEED_FORWARD)?,
            vocabulary: vocabulary as u32,
            context,
            rms_epsilon: epsilon as f32,
            rope: keys.rope(architecture, head_dim)?,
            tied_output: gguf.tensor("output.weight").is_none(),
            qkv_bias: gguf.tensor("blk.0.attn_q.bias").is_some(),
            head_norm: architecture == Architecture::Qwen3,
            weight_bytes: 0,
        };
        config.weight_bytes = config.check_tensors(gguf)?;
        Ok(config)
    }

    /// Bytes of keys and values that one token occupies while a text is written, all layers together.
    #[must_use]
    pub fn cache_bytes_per_token(&self) -> u64 {
        2 * u64::from(self.layers) * u64::from(self.kv_heads) * u64::from(self.head_dim) * CACHE_NUMBER_BYTES
    }

    /// The tensors that a model of these hyper-parameters has, with their shapes.
    fn expected(&self) -> Vec<(String, Vec<u64>)> {
        let width = u64::from(self.width);
        let (head_dim, feed_forward) = (u64::from(self.head_dim), u64::from(self.feed_forward));
        let (queries, keys) = (u64::from(self.heads) * head_dim, u64::from(self.kv_heads) * head_dim);
        let vocabulary = u64::from(self.vocabulary);
        let mut all = vec![
            ("token_embd.weight".to_owned(), vec![width, vocabulary]),
            ("output_norm.weight".to_owned(), vec![width]),
        ];
        if !self.tied_output {
            all.push(("output.weight".to_owned(), vec![width, vocabulary]));
        }
        if !self.rope.factors.is_empty() {
            all.push((ROPE_FACTORS.to_owned(), vec![head_dim / 2]));
        }
        for layer in 0..self.layers {
            let mut add = |name: &str, shape: Vec<u64>| all.push((format!("blk.{layer}.{name}"), shape));
            add("attn_norm.weight", vec![width]);
            add("attn_q.weight", vec![width, queries]);
            add("attn_k.weight", vec![width, keys]);
            add("attn_v.weight", vec![width, keys]);
            add("attn_output.weight", vec![queries, width]);
            if self.qkv_bias {
                add("attn_q.bias", vec![queries]);
                add("attn_k.bias", vec![keys]);
                add("attn_v.bias", vec![keys]);
            }
            if self.head_norm {
                add("attn_q_norm.weight", vec![head_dim]);
                add("attn_k_norm.weight", vec![head_dim]);
            }
            add("ffn_norm.weight", vec![width]);
            add("ffn_gate.weight", vec![width, feed_forward]);
            add("ffn_up.weight", vec![width, feed_forward]);
            add("ffn_down.weight", vec![feed_forward, width]);
        }
        all
    }

    /// Holds the file's tensors against the expected ones; the bytes of all.
    fn check_tensors(&self, gguf: &Gguf) -> Result<u64, Error> {
        let expected = self.expected();
        let names: BTreeSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(unknown) = gguf.tensors().iter().find(|tensor| !names.contains(tensor.name.as_str())) {
            let (name, architecture) = (&unknown.name, self.architecture.name());
            return Err(gguf.unsupported(format!(
                "the tensor {name} belongs to no feature of {architecture} that this version computes"
            )));
        }
        let mut bytes = 0u64;
        for (name, shape) in &expected {
            let Some(tensor) = gguf.tensor(name) else {
                return Err(gguf.broken(format!("the tensor {name} is missing")));
            };
            // A column may be written as a matrix of one row.
            let found = tensor.shape.iter().rposition(|&size| size > 1).map_or(1, |last| last + 1);
            let wanted = shape.iter().rposition(|&size| size > 1).map_or(1, |last| last + 1);
            if tensor.shape[..found] != shape[..wanted] {
                return Err(gguf.broken(format!("the tensor {name} has shape {:?}, not {shape:?}", tensor.shape)));
            }
            if shape.len() == 1 && tensor.format != Format::F32 {
                let format = tensor.format.name();
                return Err(gguf.unsupported(format!("the tensor {name} is {format}; norms and biases must be F32")));
            }
            // Each lies in the file without overlap, so that the sum is at most the file's length.
            bytes = bytes.saturating_add(tensor.bytes);
        }
        Ok(bytes)
    }
}

/// Llama 3.1 brings its frequency factors as a tensor.
const ROPE_FACTORS: &str = "rope_freqs.weight";

fn architecture(gguf: &Gguf) -> Result<Architecture, Error> {
    if let Some(kind) = gguf.text("general.type")?.filter(|kind| *kind != "model") {
        return Err(gguf.unsupported(format!("it holds no whole model, but something of type {kind}")));
    }
    if gguf.unsigned("split.count")?.is_some_and(|parts| parts > 1) {
        return Err(gguf.unsupported("it is one part of a split model; join the parts with llama-gguf-split --merge"));
    }
    let name = gguf.required("general.architecture", gguf.text("general.architecture")?)?;
    Architecture::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| {
        let known = Architecture::ALL.map(Architecture::name).join(", ");
        gguf.unsupported(format!("the architecture {name} is not supported; there are: {known}"))
    })
}

/// The metadata under an architecture's prefix.
struct Keys<'a> {
    gguf: &'a Gguf,
    prefix: &'a str,
}

impl Keys<'_> {
    fn key(&self, rest: &str) -> String {
        format!("{}.{rest}", self.prefix)
    }

    fn has(&self, rest: &str) -> bool {
        self.gguf.has(&self.key(rest))
    }

    fn unsigned(&self, rest: &str) -> Result<Option<u64>, Error> {
        self.gguf.unsigned(&self.key(rest))
    }

    fn float(&self, rest: &str) -> Result<Option<f64>, Error> {
        self.gguf.float(&self.key(rest))
    }

    /// A required number between one and `limit`.
    fn size(&self, rest: &str, limit: u64) -> Result<u32, Error> {
        let key = self.key(rest);
        let number = self.gguf.required(&key, self.gguf.unsigned(&key)?)?;
        match u32::try_from(number) {
            Ok(small) if (1..=limit).contains(&number) => Ok(small),
            _ => Err(self.gguf.broken(format!("metadata {key} is {number}, not 1 to {limit}"))),
        }
    }

    fn refuse_features(&self) -> Result<(), Error> {
        let refused = |feature: &str| Err(self.gguf.unsupported(format!("{feature} is not supported")));
        if self.unsigned("expert_count")?.is_some_and(|experts| experts > 0) {
            return refused("a mixture of experts");
        }
        if self.unsigned("pooling_type")?.is_some_and(|pooling| pooling > 0) {
            return refused("an embedding model as language model");
        }
        if self.gguf.flag(&self.key("attention.causal"))? == Some(false) {
            return refused("attention to later tokens");
        }
        if self.gguf.flag(&self.key("use_parallel_residual"))? == Some(true) {
            return refused("a parallel residual stream");
        }
        for (key, neutral, feature) in NEUTRAL {
            if self.float(key)?.is_some_and(|value| value != *neutral) {
                return refused(feature);
            }
        }
        Ok(())
    }

    fn rope(&self, architecture: Architecture, head_dim: u32) -> Result<Rope, Error> {
        let base = self.float("rope.freq_base")?.unwrap_or(10_000.0);
        if !(1.0..=1e12).contains(&base) {
            return Err(self.gguf.broken(format!("metadata {} is {base}, not 1 to 1e12", self.key("rope.freq_base"))));
        }
        // `rope.scale_linear` is the older name.
        let scale = match self.float("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.float("rope.scale_linear")?,
        };
        let kind = self.gguf.text(&self.key("rope.scaling.type"))?;
        let linear = match (kind, scale) {
            (Some("none"), _) | (None, None) => 1.0,
            (Some("linear") | None, Some(factor)) if (1.0..=1e6).contains(&factor) => factor,
            (Some("linear") | None, factor) => {
                let factor = factor.map_or("missing".to_owned(), |factor| factor.to_string());
                return Err(self.gguf.broken(format!("the factor of linear RoPE scaling is {factor}, not 1 to 1e6")));
            }
            (Some(other), _) => {
                return Err(self.gguf.unsupported(format!("RoPE scaling of type {other} is not supported")));
            }
        };
        let layout = match architecture {
            Architecture::Llama => RopeLayout::Neighbours,
            Architecture::Qwen2 | Architecture::Qwen3 => RopeLayout::Halves,
        };
        Ok(Rope { base, layout, linear, factors: self.rope_factors(head_dim)? })
    }

    fn rope_factors(&self, head_dim: u32) -> Result<Vec<f32>, Error> {
        let Some(tensor) = self.gguf.tensor(ROPE_FACTORS) else { return Ok(Vec::new()) };
        if tensor.format != Format::F32 || tensor.shape != [u64::from(head_dim / 2)] {
            let (format, shape) = (tensor.format.name(), &tensor.shape);
            return Err(self
                .gguf
                .broken(format!("the tensor {ROPE_FACTORS} is {format} {shape:?}, not a number a pair")));
        }
        let factors = Format::F32.dequantise(&self.gguf.read(tensor)?);
        match factors.iter().find(|factor| !(1e-6..=1e6).contains(*factor)) {
            Some(wrong) => Err(self.gguf.broken(format!("{ROPE_FACTORS} holds {wrong}, not 1e-6 to 1e6"))),
            None => Ok(factors),
        }
    }
}
