//! The catalogue of kernels that [`tender_base::kernel`] describes: the same WGSL that the models use.

mod monte_carlo;
pub mod reference;
mod rows;

use crate::{
    Error, Output, Progress,
    device::{Gpu, dispatch},
    pace::Pace,
};
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

/// A kernel with its buffers, ready to run.
pub(crate) struct Job {
    pipeline: wgpu::ComputePipeline,
    /// The uniforms; the first is the first workgroup of a dispatch.
    params: Vec<u32>,
    input: wgpu::Buffer,
    /// What it writes.
    pub output: wgpu::Buffer,
    /// Workgroups in all.
    pub groups: u32,
}

impl Job {
    /// Records `count` workgroups from `first` on.
    pub(crate) fn record(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder, first: u32, count: u32) {
        let mut params = self.params.clone();
        params[0] = first;
        let params = gpu.uniform(&params);
        let bound = [&params, &self.input, &self.output].map(wgpu::Buffer::as_entire_binding);
        dispatch(encoder, &self.pipeline, &gpu.bind(&self.pipeline, bound), count);
    }

    fn run(&self, gpu: &Gpu, rows: u32, progress: Progress<'_>) -> Result<Vec<u8>, Error> {
        gpu.check()?;
        Pace::new().run(0..self.groups, |first, count| {
            gpu.submit(|encoder| self.record(gpu, encoder, first, count))?;
            // At most as many as there are rows.
            progress((u64::from(first + count) * u64::from(rows) / u64::from(self.groups)) as u32, rows);
            Ok(())
        })?;
        gpu.read_head(&self.output, self.output.size())
    }
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
        // At most as many as fit a request.
        let rows = parts.map_or(work.rows, |parts| parts.len() as u32);
        let bytes = self.job(gpu, work, input, parts)?.run(gpu, rows, progress)?;
        Ok(Output { bytes, units: u64::from(rows) * u64::from(work.columns) })
    }

    /// Puts a checked job on the GPU.
    pub(crate) fn job(
        &mut self,
        gpu: &Gpu,
        work: &KernelWork,
        input: &[u8],
        parts: Option<&[u32]>,
    ) -> Result<Job, Error> {
        if work.name.is_monte_carlo() {
            let blocks = parts.map_or_else(|| (0..work.rows).collect(), <[u32]>::to_vec);
            self.monte_carlo(gpu, work, input, &blocks)
        } else {
            self.rows(gpu, work, input, parts)
        }
    }
}

/// The `index`-th little-endian f32. The caller has checked the length.
fn float(bytes: &[u8], index: usize) -> f32 {
    bytes.get(4 * index..4 * index + 4).and_then(|b| b.try_into().ok()).map_or(f32::NAN, f32::from_le_bytes)
}
