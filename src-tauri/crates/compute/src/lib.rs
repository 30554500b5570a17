//! What a GPU runs: device, kernels, models, fuel metering; and the loop of the binary `tender-worker`.
//!
//! The only crate that links wgpu. Other parts talk to it through [`tender_base::frames`], over the standard
//! input and output of `tender-worker`: a GPU job that hangs is ended by killing that process, never from inside
//! (destroying a wgpu device leaves its work running).

pub mod device;
pub mod embed;
pub mod error;
pub mod gemm;
pub mod kernels;
pub mod matmul;
pub mod measure;
mod pace;
pub mod sandbox;
pub mod text;
pub mod wgsl;
pub mod worker;

pub use device::Gpu;
pub use error::Error;

/// What a finished job hands back.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The output blob, or the outputs of the chosen parts one after the other.
    pub bytes: Vec<u8>,
    /// Units done, as counted here: tokens, floating-point operations or steps.
    pub units: u64,
}

/// Hears how many parts of how many are done.
pub type Progress<'a> = &'a mut dyn FnMut(u32, u32);
