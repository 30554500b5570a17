//! What the node and its worker process say to each other, over the worker's standard input and output.
//!
//! A frame is a 4-byte little-endian length of the header, a 4-byte little-endian length of the payload, the
//! header as JSON, and the payload as raw bytes. The node never parses a payload.
//!
//! A worker is asked for one thing at a time, except for text: once a language model is loaded, any number of
//! requests that carry an `id` may be under way together, and their replies come interleaved.

use crate::{
    catalogue::ModelFacts,
    documents::WorkerInfo,
    hash::Sha256,
    job::{GenerateWork, Precision, Work},
    kernel::KernelWork,
    problem::Problem,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// Largest header, 1 MiB: no header carries client data.
pub const MAX_HEADER_BYTES: u32 = 1 << 20;
/// Largest payload: an input or output blob.
pub const MAX_PAYLOAD_BYTES: u32 = 64 << 20;

/// Per cent of a card's memory that the worker takes at most, all its buffers and what others use together; the rest
/// is the desktop's.
pub const MEMORY_BUDGET_PERCENT: u8 = 90;

/// To the worker. What carries no `id` is done one at a time; to cancel it, kill the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Open the adapter and run a known-answer test. Answered by [`Reply::Ready`].
    Open,
    /// Count the tokens of the passages in the payload (JSON array of strings). Answered by [`Reply::Counted`].
    CountTokens {
        /// Folder that holds `tokenizer.json`.
        model_dir: String,
    },
    /// Count the tokens of the prompt in the payload (a [`crate::text::Prompt`]), template included. Answered by
    /// [`Reply::Counted`] with one number.
    CountPrompt {
        /// The model's GGUF file.
        model_path: String,
    },
    /// Read what a GGUF file says about itself, without the adapter. Answered by [`Reply::Inspected`], or by
    /// [`Reply::Failed`] when the file is broken or asks for what this version does not compute.
    Inspect {
        /// The file.
        model_path: String,
    },
    /// Load a language model; from then on the worker serves text only. Answered by [`Reply::Loaded`].
    Load {
        /// Its GGUF file.
        model_path: String,
        /// Hash that the file must have.
        model_sha256: Sha256,
        /// How much is kept for whom.
        limits: TextLimits,
    },
    /// Continue the prompt in the payload with the loaded model. Answered by any number of [`Reply::Text`], then
    /// [`Reply::Generated`], or by [`Reply::Refused`]. Until the first reply it waits for room on the card.
    Generate {
        /// Of this request, unique among those under way.
        id: u64,
        /// What to write.
        work: GenerateWork,
    },
    /// Judge a text that another machine wrote. The payload is the prompt, then the claimed
    /// [`crate::text::Generation`]. Answered by any number of [`Reply::Text`] without text, which are signs of life,
    /// then [`Reply::Scored`], or by [`Reply::Refused`]. Until the first reply it waits for room on the card.
    Score {
        /// Of this request, unique among those under way.
        id: u64,
        /// What was to be written.
        work: GenerateWork,
        /// Length of the prompt in the payload.
        prompt_bytes: u32,
    },
    /// Forget a request and zero what it left on the card. Not answered; replies under way may still come.
    Cancel {
        /// Of the request.
        id: u64,
    },
    /// Measure a kernel on made-up data, for a benchmark. Answered by [`Reply::Measured`].
    Measure {
        /// What.
        what: Measurement,
    },
    /// Do the work on the input in the payload. Answered by any number of [`Reply::Progress`], then
    /// [`Reply::Done`].
    Run {
        /// The work.
        work: Work,
        /// Folder of the model's files, for work that has a model.
        model_dir: Option<String>,
        /// Hash that the weights must have, for work that has a model.
        model_sha256: Option<Sha256>,
        /// Only these parts (passages of `embed`, workgroups of `wgsl`), for verification; the payload of the
        /// answer then holds just their outputs, one after the other. Everything when absent.
        parts: Option<Vec<u32>>,
    },
}

/// What a worker can measure of its kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "measure", rename_all = "snake_case")]
pub enum Measurement {
    /// A product of square matrices that lie on the card already and stay there.
    Gemm {
        /// Side of the matrices, a multiple of 128.
        side: u32,
        /// Of the operands.
        precision: Precision,
    },
    /// A kernel of the catalogue as it is sold: its input is brought and its output fetched.
    Kernel {
        /// Which, of what shape.
        work: KernelWork,
    },
    /// A pass of Llama 3 8B with made-up weights in Q4_K that writes a token of each of so many texts, 1 to 16.
    Decode8b {
        /// Texts.
        sequences: u32,
    },
    /// The same, where every token is drawn: at temperature 0.8 among the likeliest 40 and of those the likeliest that
    /// come to 0.95.
    Sampled8b {
        /// Texts.
        sequences: u32,
    },
    /// A pass of the same that reads a part of a prompt.
    Prefill8b,
}

/// What a worker keeps on the card for text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextLimits {
    /// Most tokens of one request, prompt and continuation together; the model's own context if that is less.
    pub context_tokens: u32,
    /// Requests decoded together.
    pub sequences: u32,
    /// Video memory for keys and values of all requests, in bytes.
    pub cache_bytes: u64,
}

/// Which layers confine a worker process. They are independent of one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// It has an empty network and no System V objects of others (Linux namespaces).
    pub namespaces: bool,
    /// It can open only libraries, graphics devices and the folders that it was given, and write nowhere (Landlock).
    pub files: bool,
    /// It can make no socket, start no program and reach no other process (seccomp).
    pub syscalls: bool,
}

impl Sandbox {
    /// Whether a stranger's kernel may run inside: no files, no network, no other process. Without namespaces the
    /// system-call filter alone keeps the network closed.
    #[must_use]
    pub fn holds_strangers(self) -> bool {
        self.files && self.syscalls
    }
}

/// From the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The adapter is open and computes correctly.
    Ready {
        /// What it is.
        worker: WorkerInfo,
        /// How the process is confined. One that does not say so is not.
        #[serde(default)]
        sandbox: Sandbox,
        /// Whether the adapter works in the machine's main memory: it is software, or part of the processor. None
        /// when that is not known.
        #[serde(default)]
        main_memory: Option<bool>,
    },
    /// How many tokens each passage has after truncation.
    Counted {
        /// In the order of the passages.
        tokens: Vec<u32>,
    },
    /// The file holds a language model that can be loaded.
    Inspected {
        /// What it is.
        model: ModelFacts,
    },
    /// Some of the work is done.
    Progress {
        /// Parts done.
        done: u32,
        /// Parts in all.
        total: u32,
    },
    /// The work is done; the payload is the output.
    Done {
        /// Units done, as the worker counted them.
        units: u64,
        /// From the request's last byte to the output's first, in milliseconds.
        wall_ms: u64,
    },
    /// What was measured. Products and kernels are right, too: only then there is an answer.
    Measured {
        /// Floating-point operations, elements or tokens of the run.
        units: u64,
        /// Its seconds, after a run that is not counted.
        seconds: f64,
    },
    /// The language model is loaded.
    Loaded {
        /// What it really keeps: limited by the model's context.
        limits: TextLimits,
    },
    /// The payload continues the text of the request, in whole UTF-8 characters. The first, without text, comes when
    /// there is room on the card and the work begins.
    Text {
        /// Of the request.
        id: u64,
        /// Tokens chosen so far.
        tokens: u32,
    },
    /// The text is written; the payload is the [`crate::text::Generation`].
    Generated {
        /// Of the request.
        id: u64,
        /// Tokens of the prompt and of the text.
        units: u64,
        /// From the time when there was room for it to the output's first byte, in milliseconds.
        wall_ms: u64,
    },
    /// A text is judged; the payload is one little-endian f32 per claimed token: how far it is behind the one that
    /// this model chooses, in logits.
    Scored {
        /// Of the request.
        id: u64,
        /// What in the claim contradicts itself; the payload is empty then.
        fault: Option<String>,
    },
    /// A request that carries an `id` cannot be carried out; the others go on.
    Refused {
        /// Of the request.
        id: u64,
        /// Why.
        problem: Problem,
    },
    /// The request cannot be carried out; the worker lives on.
    Failed {
        /// Why.
        problem: Problem,
    },
}

/// Writes one frame and flushes.
///
/// # Errors
/// Whatever the writer says; `InvalidInput` when a part exceeds its limit.
pub fn write_frame<T: Serialize>(writer: &mut impl Write, header: &T, payload: &[u8]) -> io::Result<()> {
    writer.write_all(&prefix(header, payload)?)?;
    writer.write_all(payload)?;
    writer.flush()
}

/// The bytes of a frame up to its payload, for writers that are not `std::io`.
///
/// # Errors
/// `InvalidInput` when header or payload exceeds its limit.
pub fn prefix<T: Serialize>(header: &T, payload: &[u8]) -> io::Result<Vec<u8>> {
    let header = serde_json::to_vec(header)?;
    let (Ok(h), Ok(p)) = (u32::try_from(header.len()), u32::try_from(payload.len())) else {
        return Err(too_long());
    };
    if h > MAX_HEADER_BYTES || p > MAX_PAYLOAD_BYTES {
        return Err(too_long());
    }
    let mut bytes = Vec::with_capacity(8 + header.len());
    bytes.extend_from_slice(&h.to_le_bytes());
    bytes.extend_from_slice(&p.to_le_bytes());
    bytes.extend_from_slice(&header);
    Ok(bytes)
}

/// Lengths of header and payload from a frame's first eight bytes.
///
/// # Errors
/// `InvalidData` when one exceeds its limit; the stream cannot be trusted after that.
pub fn lengths(prefix: [u8; 8]) -> io::Result<(usize, usize)> {
    let [a, b, c, d, e, f, g, h] = prefix;
    let (header, payload) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    if header > MAX_HEADER_BYTES || payload > MAX_PAYLOAD_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than its limit"));
    }
    Ok((header as usize, payload as usize))
}

/// Reads one frame; `None` at a clean end of the stream.
///
/// # Errors
/// `UnexpectedEof` inside a frame, `InvalidData` on lengths or JSON that are out of bounds.
pub fn read_frame<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut prefix = [0; 8];
    let mut filled = 0;
    while filled < prefix.len() {
        match reader.read(&mut prefix[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => filled += n,
        }
    }
    let (header_len, payload_len) = lengths(prefix)?;
    let mut header = vec![0; header_len];
    reader.read_exact(&mut header)?;
    let mut payload = vec![0; payload_len];
    reader.read_exact(&mut payload)?;
    Ok(Some((serde_json::from_slice(&header)?, payload)))
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a frame would be longer than its limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_as_written_and_bad_lengths_are_refused() {
        let mut wire = Vec::new();
        write_frame(&mut wire, &Request::Open, b"abc").unwrap();
        let read = read_frame::<Request>(&mut wire.as_slice()).unwrap();
        assert_eq!(read, Some((Request::Open, b"abc".to_vec())));
        assert!(read_frame::<Request>(&mut &wire[..wire.len() - 1]).is_err());
        assert!(read_frame::<Request>(&mut [].as_slice()).unwrap().is_none());
        assert!(read_frame::<Request>(&mut [0xff; 8].as_slice()).is_err());
    }
}
