//! The catalogue of kernels that [`tender_base::kernel`] describes: the same WGSL that the models use.

mod monte_carlo;
pub mod reference;
mod rows;

use crate::{Error, Output, Progress, device::Gpu};
use std::collections::HashMap;
use tender_base::kernel::{Kernel, KernelWork};

/// A running softmax over `Real`, which the including source defines: f32, or a vector for several rows at once.
pub(crate) const SHARED: &str = include_str!("kernels/shared.wgsl");

/// The compiled kernels of one device; each is compiled when first needed.
#[derive(Default)]
pub struct Kernels {
    /// By kernel and invocations per row.
    pipelines: HashMap<(Kernel, u32), wgpu::ComputePipeline>,
}

impl Kernels {
    /// Runs a kernel over all rows, or over those of `parts` alone. Counts elements, or paths.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an input of another length or with parameters out of range, or parts that the work does
    /// not have; [`Error::Declared`] for a shape outside the limits; or whatever the GPU reports.
    pub fn run(
        &mut self,
        gpu: &Gpu,
        work: &KernelWork,
        input: &[u8],
        parts: Option<&[u32]>,
        progress: Progress<'_>,
    ) -> Result<Output, Error> {
        work.check()?;
        if input.len() as u64 != work.input_bytes() {
            let (has, needs) = (input.len(), work.input_bytes());
            return Err(Error::Invalid(format!("the input has {has} bytes, but rows and columns need {needs}")));
        }
        if let Some(part) = parts.and_then(|p| p.iter().find(|&&p| p >= work.rows)) {
            return Err(Error::Invalid(format!("parts names row {part}, but there are {}", work.rows)));
        }
        let rows = match parts {
            // At most as many as fit a request.
            Some(parts) => parts.len() as u32,
            None => work.rows,
        };
        let bytes = if work.name.is_monte_carlo() {
            let blocks = parts.map_or_else(|| (0..work.rows).collect(), <[u32]>::to_vec);
            self.monte_carlo(gpu, work, input, &blocks, progress)?
        } else {
            self.rows(gpu, work, input, parts, progress)?
        };
        Ok(Output { bytes, units: u64::from(rows) * u64::from(work.columns) })
    }
}

/// The `index`-th little-endian f32. The caller has checked the length.
fn float(bytes: &[u8], index: usize) -> f32 {
    bytes.get(4 * index..4 * index + 4).and_then(|b| b.try_into().ok()).map_or(f32::NAN, f32::from_le_bytes)
}
