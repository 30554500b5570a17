//! What is to be computed, under which constraints.

use crate::{
    hash::{BlobRef, Sha256},
    kernel::KernelWork,
    money::{MicroUsd, Unit},
    problem::{Code, Problem},
    text::MAX_PROMPT_BYTES,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// Largest input or output of a job, 64 MiB: what one A2A message may carry and a 2-core machine can hash at once.
pub const MAX_BLOB_BYTES: u64 = 64 << 20;
/// Most units a job may declare: integers above 2^53 do not survive canonical JSON (RFC 8785 numbers are doubles).
pub const MAX_UNITS: u64 = 1 << 53;
/// Most passages of one embedding job: one slot is never held for minutes by a single job.
pub const MAX_PASSAGES: u32 = 4096;
/// Tokens after which MiniLM truncates a passage (its `max_seq_length`).
pub const MAX_PASSAGE_TOKENS: u32 = 256;
/// Largest side of a matrix product: three such matrices fit `MAX_BLOB_BYTES`.
pub const MAX_GEMM_SIDE: u32 = 4096;
/// Largest WGSL source, 256 KiB: naga's parser may overflow its stack on more (anchors: gpu, rule 5).
pub const MAX_WGSL_SOURCE_BYTES: u32 = 256 << 10;
/// Most buffers of a client kernel (WebGPU's guaranteed storage buffers per stage).
pub const MAX_WGSL_BUFFERS: usize = 8;
/// Most workgroups of a client kernel: WebGPU's guaranteed limit along one dimension.
pub const MAX_WGSL_WORKGROUPS: u32 = 65_535;
/// Most invocations in a workgroup (WebGPU's guaranteed limit).
pub const MAX_WGSL_WORKGROUP_SIZE: u32 = 256;
/// Most fuel per invocation. Mesa's CPU adapter silently stops loops after 65,535 iterations cumulated over an
/// invocation, so more could be truncated without notice.
pub const MAX_WGSL_FUEL: u32 = 60_000;

/// Most tokens of a prompt and its continuation together.
pub const MAX_CONTEXT_TOKENS: u32 = 131_072;
/// Most tokens that one job may generate.
pub const MAX_GENERATED_TOKENS: u32 = 16_384;
/// Most stop sequences, and the longest, in bytes.
pub const MAX_STOPS: usize = 8;
/// Longest stop sequence, in bytes.
pub const MAX_STOP_BYTES: usize = 64;
/// Highest temperature: above, every model writes noise.
pub const MAX_TEMPERATURE: f64 = 2.0;
/// Bytes of JSON that one generated token may come to: the longest tokens of known vocabularies are some hundred
/// bytes, and a control character is written as six.
const MAX_BYTES_PER_TOKEN: u64 = 1024;

/// The kinds of work this version can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Sentence embeddings.
    Embed,
    /// A dense matrix product.
    Gemm,
    /// A kernel of the catalogue.
    Kernel,
    /// A client's own compute kernel.
    Wgsl,
    /// Text by a language model.
    Generate,
}

impl JobKind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Generate, Self::Embed, Self::Gemm, Self::Kernel, Self::Wgsl];

    /// The name on the wire and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Gemm => "gemm",
            Self::Kernel => "kernel",
            Self::Wgsl => "wgsl",
            Self::Generate => "generate",
        }
    }

    /// What a unit of this kind is.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Embed | Self::Generate => Unit::Token,
            Self::Gemm => Unit::Flop,
            Self::Kernel => Unit::Element,
            Self::Wgsl => Unit::Step,
        }
    }
}

/// A model by name and by the hash of its weights.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelRef {
    /// Name in the catalogue, such as `all-MiniLM-L6-v2`.
    pub name: String,
    /// SHA-256 of the weights file.
    pub sha256: Sha256,
}

/// The work itself. The input is one blob whose layout the variant documents; so is the output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// Input: a JSON array of `passages` strings (UTF-8). Output: `passages` × 384 little-endian f32, each row of
    /// length one.
    Embed {
        /// The encoder.
        model: ModelRef,
        /// How many strings the input holds.
        passages: u32,
        /// Tokens of all passages after truncation, special tokens included: the units billed.
        tokens: u64,
    },
    /// Input: A (m × k) then B (k × n), row-major little-endian f32 or f16. Output: A·B (m × n), row-major
    /// little-endian f32. A and B hold finite numbers only: no other product can be checked.
    Gemm {
        /// Rows of A.
        m: u32,
        /// Columns of A, rows of B.
        k: u32,
        /// Columns of B.
        n: u32,
        /// Element type of A and B.
        #[serde(default, skip_serializing_if = "Precision::is_f32")]
        precision: Precision,
    },
    /// Input and output: [`crate::kernel`].
    Kernel(KernelWork),
    /// Input: the WGSL source, then each `read` buffer in the order declared. Output: the `write` buffer.
    Wgsl(WgslWork),
    /// Input: a [`crate::text::Prompt`]. Output: a [`crate::text::Generation`].
    Generate(GenerateWork),
}

/// Text to be written by a language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateWork {
    /// The model; the hash is of its GGUF file.
    pub model: ModelRef,
    /// Tokens of the prompt, the chat template's included, as the model's own tokenizer counts them.
    pub prompt_tokens: u32,
    /// Tokens to write at most. Fewer are billed when the text ends before.
    pub max_tokens: u32,
    /// How a token is chosen.
    pub sampling: Sampling,
    /// The text ends before the first of these that it would contain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

/// How a token is chosen from the model's logits. The draw depends on nothing but these values, the position and the
/// logits, so that whoever has the model can repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits; 0 always takes the likeliest token. At most [`MAX_TEMPERATURE`].
    pub temperature: f64,
    /// Only so many of the likeliest tokens; 0 for all.
    pub top_k: u32,
    /// Only the likeliest tokens that together have this probability, above 0 and at most 1.
    pub top_p: f64,
    /// Seed of the draw, below 2^53.
    pub seed: u64,
}

impl Sampling {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };

    /// # Errors
    /// [`Code::Invalid`], naming the field and its range.
    pub fn check(&self) -> Result<(), Problem> {
        if !(0.0..=MAX_TEMPERATURE).contains(&self.temperature) {
            return Err(invalid(&format!("temperature is {}, but must be 0 to {MAX_TEMPERATURE}", self.temperature)));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(invalid(&format!("top_p is {}, but must be above 0 and at most 1", self.top_p)));
        }
        if self.seed >= MAX_UNITS {
            return Err(invalid(&format!("seed is {}, but must be below 2^53", self.seed)));
        }
        Ok(())
    }
}

/// Element type of a product's operands. The products are summed and delivered in f32 with either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats. Documents leave it out, so that those of before there was a choice still hash the same.
    #[default]
    F32,
    /// 16-bit floats (IEEE 754 binary16).
    F16,
}

impl Precision {
    /// The name on the wire and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }

    /// Bytes of an element.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    fn is_f32(&self) -> bool {
        *self == Self::F32
    }
}

/// A client's kernel and everything that bounds it.
///
/// The kernel runs on a one-dimensional grid of `workgroups`. Workgroup `g` owns the bytes
/// `[g·len/workgroups, (g+1)·len/workgroups)` of the output and writes nowhere else, which is what lets anyone
/// check random workgroups alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WgslWork {
    /// Length of the source at the head of the input, in bytes.
    pub source_bytes: u32,
    /// Name of the `@compute` entry point.
    pub entry: String,
    /// Workgroups of the grid.
    pub workgroups: u32,
    /// Invocations per workgroup; must equal the source's `@workgroup_size` product.
    pub workgroup_size: u32,
    /// Loop iterations one invocation may spend over all its loops.
    pub fuel: u32,
    /// Buffers in `@group(0)`, in the order of their bytes in the input.
    pub buffers: Vec<WgslBuffer>,
    /// How results are compared when re-executed.
    pub element: Element,
}

/// One storage buffer of a client kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WgslBuffer {
    /// The `@binding`.
    pub binding: u32,
    /// Read-only input, or the one output.
    pub access: Access,
    /// Length in bytes, a multiple of four.
    pub bytes: u32,
}

/// What a kernel does with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`, zero at the start; exactly one per kernel.
    Write,
}

/// Element type of a kernel's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// 32-bit integers: compared bit for bit.
    U32,
    /// 32-bit floats: compared within a relative tolerance, since drivers may contract and reorder.
    F32,
}

impl Work {
    /// Which kind of work this is.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Embed { .. } => JobKind::Embed,
            Self::Gemm { .. } => JobKind::Gemm,
            Self::Kernel(_) => JobKind::Kernel,
            Self::Wgsl(_) => JobKind::Wgsl,
            Self::Generate(_) => JobKind::Generate,
        }
    }

    /// The units billed, known before the job is tendered: tokens, 2·m·k·n, rows × columns, or workgroups × size ×
    /// fuel. Of a text, the most that can be billed: it may end before `max_tokens`.
    #[must_use]
    pub fn units(&self) -> u64 {
        match self {
            Self::Embed { tokens, .. } => *tokens,
            Self::Gemm { m, k, n, .. } => 2 * u64::from(*m) * u64::from(*k) * u64::from(*n),
            Self::Kernel(w) => w.units(),
            Self::Wgsl(w) => u64::from(w.workgroups) * u64::from(w.workgroup_size) * u64::from(w.fuel),
            Self::Generate(w) => u64::from(w.prompt_tokens) + u64::from(w.max_tokens),
        }
    }

    /// Exact length of the output in bytes; `None` for text, whose length nobody knows before.
    #[must_use]
    pub fn output_bytes(&self) -> Option<u64> {
        match self {
            Self::Embed { passages, .. } => Some(u64::from(*passages) * 384 * 4),
            Self::Gemm { m, n, .. } => Some(4 * u64::from(*m) * u64::from(*n)),
            Self::Kernel(w) => Some(w.output_bytes()),
            Self::Wgsl(w) => {
                Some(w.buffers.iter().filter(|b| b.access == Access::Write).map(|b| u64::from(b.bytes)).sum())
            }
            Self::Generate(_) => None,
        }
    }

    /// Most bytes that the output may have: its exact length, where that is known.
    #[must_use]
    pub fn max_output_bytes(&self) -> u64 {
        match self {
            Self::Generate(w) => MAX_BYTES_PER_TOKEN * (u64::from(w.max_tokens) + 1),
            _ => self.output_bytes().unwrap_or(MAX_BLOB_BYTES),
        }
    }

    /// Exact length of the input in bytes; `None` for text, whose length the blob alone knows.
    #[must_use]
    pub fn input_bytes(&self) -> Option<u64> {
        match self {
            Self::Embed { .. } | Self::Generate(_) => None,
            Self::Gemm { m, k, n, precision } => {
                Some(precision.bytes() * (u64::from(*m) * u64::from(*k) + u64::from(*k) * u64::from(*n)))
            }
            Self::Kernel(w) => Some(w.input_bytes()),
            Self::Wgsl(w) => Some(
                u64::from(w.source_bytes)
                    + w.buffers.iter().filter(|b| b.access == Access::Read).map(|b| u64::from(b.bytes)).sum::<u64>(),
            ),
        }
    }

    /// Whether every size is within this version's limits and the input has the declared length.
    ///
    /// # Errors
    /// [`Code::Invalid`] or [`Code::TooLarge`], naming the field and the limit.
    pub fn check(&self, input: &BlobRef) -> Result<(), Problem> {
        if input.bytes > MAX_BLOB_BYTES || self.max_output_bytes() > MAX_BLOB_BYTES {
            return Err(too_large("input or output", MAX_BLOB_BYTES));
        }
        match self {
            Self::Embed { model, passages, tokens } => {
                in_range("passages", *passages, 1, MAX_PASSAGES)?;
                model.check()?;
                // Every passage has at least its two special tokens.
                if *tokens < 2 * u64::from(*passages) || *tokens > u64::from(*passages) * u64::from(MAX_PASSAGE_TOKENS)
                {
                    return Err(invalid(&format!("tokens must be between 2 and {MAX_PASSAGE_TOKENS} per passage")));
                }
            }
            Self::Gemm { m, k, n, .. } => {
                for (name, side) in [("m", *m), ("k", *k), ("n", *n)] {
                    in_range(name, side, 1, MAX_GEMM_SIDE)?;
                }
            }
            Self::Kernel(w) => w.check()?,
            Self::Wgsl(w) => w.check()?,
            Self::Generate(w) => {
                if input.bytes > MAX_PROMPT_BYTES {
                    return Err(too_large("the prompt", MAX_PROMPT_BYTES));
                }
                w.check()?;
            }
        }
        match self.input_bytes() {
            Some(expected) if expected != input.bytes => Err(invalid(&format!(
                "the input has {} bytes but {} declares {expected}",
                input.bytes,
                self.kind().name()
            ))),
            _ => Ok(()),
        }
    }
}

impl ModelRef {
    fn check(&self) -> Result<(), Problem> {
        if self.name.is_empty() || self.name.len() > 64 {
            return Err(invalid("model.name must have 1 to 64 characters"));
        }
        Ok(())
    }
}

impl GenerateWork {
    fn check(&self) -> Result<(), Problem> {
        self.model.check()?;
        in_range("prompt_tokens", self.prompt_tokens, 1, MAX_CONTEXT_TOKENS)?;
        in_range("max_tokens", self.max_tokens, 1, MAX_GENERATED_TOKENS)?;
        in_range("prompt_tokens and max_tokens together", self.prompt_tokens + self.max_tokens, 2, MAX_CONTEXT_TOKENS)?;
        self.sampling.check()?;
        if self.stop.len() > MAX_STOPS {
            return Err(too_large("stop", MAX_STOPS as u64));
        }
        if self.stop.iter().any(|s| s.is_empty() || s.len() > MAX_STOP_BYTES) {
            return Err(invalid(&format!("every stop sequence must have 1 to {MAX_STOP_BYTES} bytes")));
        }
        Ok(())
    }
}

impl WgslWork {
    fn check(&self) -> Result<(), Problem> {
        in_range("source_bytes", self.source_bytes, 1, MAX_WGSL_SOURCE_BYTES)?;
        in_range("workgroups", self.workgroups, 1, MAX_WGSL_WORKGROUPS)?;
        in_range("workgroup_size", self.workgroup_size, 1, MAX_WGSL_WORKGROUP_SIZE)?;
        in_range("fuel", self.fuel, 1, MAX_WGSL_FUEL)?;
        if self.entry.is_empty() || self.entry.len() > 64 {
            return Err(invalid("entry must have 1 to 64 characters"));
        }
        if self.buffers.len() > MAX_WGSL_BUFFERS {
            return Err(too_large("buffers", MAX_WGSL_BUFFERS as u64));
        }
        let mut outputs = self.buffers.iter().filter(|b| b.access == Access::Write);
        let (Some(output), None) = (outputs.next(), outputs.next()) else {
            return Err(invalid("buffers must hold exactly one with access write"));
        };
        if self.buffers.iter().any(|b| b.bytes == 0 || b.bytes % 4 != 0) {
            return Err(invalid("every buffer's bytes must be a positive multiple of four"));
        }
        if output.bytes % (4 * self.workgroups) != 0 {
            return Err(invalid("the write buffer must split into whole 4-byte elements per workgroup"));
        }
        let mut bindings: Vec<u32> = self.buffers.iter().map(|b| b.binding).collect();
        bindings.sort_unstable();
        bindings.dedup();
        if bindings.len() != self.buffers.len() {
            return Err(invalid("two buffers share a binding"));
        }
        Ok(())
    }
}

fn invalid(message: &str) -> Problem {
    Problem::new(Code::Invalid, message, "correct the job and submit it again")
}

fn too_large(what: &str, limit: u64) -> Problem {
    Problem::new(Code::TooLarge, format!("{what} is larger than the limit of {limit}"), "split the job")
}

fn in_range(name: &str, value: u32, least: u32, most: u32) -> Result<(), Problem> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(invalid(&format!("{name} is {value}, but must be between {least} and {most}")))
    }
}

/// What the buyer insists on. Hard: an alternative that breaks one is not considered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraints {
    /// The most this job may cost.
    pub budget: MicroUsd,
    /// When the result must be there.
    pub deadline: Timestamp,
    /// Who may see the input.
    pub privacy: Privacy,
}

/// Who may see a job's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privacy {
    /// Nobody else: only the own GPU.
    Own,
    /// Paired peers may read it.
    Peers,
}

/// A job as the buyer states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// What to compute.
    pub work: Work,
    /// On what input.
    pub input: BlobRef,
    /// Within which limits.
    pub constraints: Constraints,
}

/// Where a job stands, from its buyer's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted and stored; proposals are being collected or a decision is due.
    Queued,
    /// Awarded to a peer or started here.
    Running,
    /// The result is here and being checked.
    Verifying,
    /// Done, checked and booked.
    Completed,
    /// Ended without a result; nothing is owed.
    Failed,
    /// Ended by its owner; nothing is owed.
    Cancelled,
}

impl JobState {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Verifying => "verifying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_of_before_there_were_halves_reads_and_hashes_as_it_did() {
        let old = r#"{"k":3,"kind":"gemm","m":2,"n":4}"#;
        let work: Work = serde_json::from_str(old).unwrap();
        assert_eq!(work, Work::Gemm { m: 2, k: 3, n: 4, precision: Precision::F32 });
        assert_eq!(serde_json::to_value(&work).unwrap(), serde_json::from_str::<serde_json::Value>(old).unwrap());
        let half = Work::Gemm { m: 2, k: 3, n: 4, precision: Precision::F16 };
        assert_eq!(half.input_bytes(), Some(36));
        assert_eq!(half.output_bytes(), Some(32));
        assert_eq!(serde_json::from_value::<Work>(serde_json::to_value(&half).unwrap()).unwrap(), half);
    }

    #[test]
    fn a_kernel_job_is_plain_json_and_its_shape_is_checked() {
        let json = r#"{"kind":"kernel","name":"softmax","rows":5,"columns":7}"#;
        let work: Work = serde_json::from_str(json).unwrap();
        assert_eq!((work.kind(), work.units(), work.input_bytes()), (JobKind::Kernel, 35, Some(140)));
        let blob = |bytes| BlobRef { sha256: Sha256::of(b""), bytes };
        assert_eq!(work.check(&blob(140)), Ok(()));
        assert!(work.check(&blob(136)).unwrap_err().message.contains("declares 140"));
        let wide: Work = serde_json::from_str(&json.replace('7', "70000")).unwrap();
        assert!(wide.check(&blob(1_400_000)).unwrap_err().message.contains("columns is 70000"));
    }
}
