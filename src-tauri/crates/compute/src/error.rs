//! What can go wrong, and how the node reads it.

use std::path::PathBuf;
use tender_base::{Code, Problem, Sha256};

/// Why a request could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No adapter that can compute, or none of the name asked for.
    #[error("no GPU adapter{} was found{}", named(.wanted), others(.found))]
    NoAdapter {
        /// `WGPU_ADAPTER_NAME`, when it is set.
        wanted: Option<String>,
        /// Names of the adapters that are there.
        found: Vec<String>,
    },
    /// The driver refused a device, a pipeline or a submission.
    #[error("the GPU driver refused: {0}")]
    Driver(String),
    /// The device is gone (reset, unplugged, driver update); a new request opens a new one.
    #[error("the GPU was lost: {0}")]
    Lost(String),
    /// Not enough memory on the card.
    #[error("the GPU has not enough free memory for this job")]
    OutOfMemory,
    /// The adapter computes wrongly.
    #[error("the adapter {adapter} fails the known-answer test: {got} instead of {expected}")]
    WrongAnswer {
        /// Which adapter.
        adapter: String,
        /// What it computed.
        got: f32,
        /// What is right.
        expected: f32,
    },
    /// A model's file is missing or unreadable.
    #[error("the model file {} cannot be read: {why}", path.display())]
    ModelFile {
        /// Which file.
        path: PathBuf,
        /// What the system or the decoder said.
        why: String,
    },
    /// A model's file has other content than was asked for.
    #[error("the model file {} has SHA-256 {got}, not {expected}", path.display())]
    ModelHash {
        /// Which file.
        path: PathBuf,
        /// What it hashes to.
        got: Sha256,
        /// What it should.
        expected: Sha256,
    },
    /// A model's file asks for what this version does not compute.
    #[error("the model file {} cannot be used: {why}", path.display())]
    ModelUnsupported {
        /// Which file.
        path: PathBuf,
        /// The feature or format, by name.
        why: String,
    },
    /// No model of this version has these weights.
    #[error("no model in this version's catalogue has weights of SHA-256 {0}")]
    UnknownModel(Sha256),
    /// The request contradicts itself or the input.
    #[error("{0}")]
    Invalid(String),
    /// The kernel's source is not acceptable.
    #[error("the kernel is refused: {0}")]
    Kernel(String),
    /// An invocation ran out of fuel, so that the output is not what the source says.
    #[error("the kernel ran out of fuel: an invocation needs more than {0} loop iterations")]
    FuelExhausted(u32),
    /// The driver ended a loop before its end, so that the output is not what the source says.
    #[error("the GPU driver ended a loop early: on this adapter, neighbouring invocations share 65,535 loop rounds")]
    Truncated,
    /// The driver did not finish something in time, and cannot be stopped: the process must end.
    #[error("{0} takes longer than {limit} s", limit = crate::device::STEP_LIMIT.as_secs())]
    TooSlow(&'static str),
    /// The output is not what it must be.
    #[error("the result is wrong: {0}")]
    BadOutput(String),
    /// The declared work breaks a limit.
    #[error(transparent)]
    Declared(#[from] Problem),
    /// A thread could not be started or ended early.
    #[error("a thread of the worker failed: {0}")]
    Thread(String),
}

fn named(wanted: &Option<String>) -> String {
    wanted.as_ref().map(|w| format!(" whose name contains \"{w}\"")).unwrap_or_default()
}

fn others(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!("; there are: {}", found.join(", ")) }
}

impl Error {
    /// Whether the device must be opened anew before the next request.
    #[must_use]
    pub fn ends_device(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Driver(_))
    }

    /// Whether something still runs that only the end of the process stops.
    #[must_use]
    pub fn ends_process(&self) -> bool {
        matches!(self, Self::TooSlow(_))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (code, hint) = match &error {
            Error::Declared(problem) => return problem.clone(),
            Error::NoAdapter { wanted: Some(_), .. } => {
                (Code::Unavailable, "unset WGPU_ADAPTER_NAME or set it to part of a listed name")
            }
            Error::NoAdapter { wanted: None, .. } => (
                Code::Unavailable,
                "install your GPU's Vulkan driver; without a GPU: sudo apt install mesa-vulkan-drivers libvulkan1",
            ),
            Error::Driver(_) => (Code::Unavailable, "update the GPU driver, or try again"),
            Error::Lost(_) => (Code::Unavailable, "try again; if it comes back, update the GPU driver"),
            Error::OutOfMemory => (Code::Unavailable, "close other programs that use the GPU, or split the job"),
            Error::WrongAnswer { .. } => (Code::Unavailable, "this adapter is not used: update its driver"),
            Error::ModelFile { .. } => {
                (Code::NotFound, "download the model: tender models get NAME; tender models lists the names")
            }
            Error::ModelUnsupported { .. } => (
                Code::Unavailable,
                "choose another model, for example a Llama or Qwen model in Q4_K_M or a BERT encoder",
            ),
            Error::ModelHash { .. } => {
                (Code::Forged, "delete the file and download the model again: tender models get NAME")
            }
            Error::UnknownModel(_) => (Code::Unavailable, "name a model of the catalogue"),
            Error::Invalid(_) => (Code::Invalid, "correct the job and submit it again"),
            Error::Kernel(_) => (Code::Invalid, "correct the WGSL source or the job's buffers"),
            Error::FuelExhausted(_) => (Code::WorkFailed, "raise fuel, or do less per invocation; nothing is billed"),
            Error::Truncated => {
                (Code::WorkFailed, "loop less per invocation, or let neighbours loop together; nothing is billed")
            }
            Error::TooSlow(_) => {
                (Code::WorkFailed, "make the kernel smaller or do less per workgroup; nothing is billed")
            }
            Error::BadOutput(_) => (Code::WorkFailed, "nothing is billed; run it on another machine"),
            Error::Thread(_) => (Code::Internal, "restart the worker"),
        };
        Self::new(code, error.to_string(), hint)
    }
}
