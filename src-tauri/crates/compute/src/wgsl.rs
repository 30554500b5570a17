//! A client's own kernel, bounded from all sides.
//!
//! The source is parsed and checked here ([`check`]), rewritten so that loops are metered and the grid can be run in
//! slices ([`meter`]), and run on a device of its own. An invocation's steps are bounded by `fuel`, its accesses by
//! wgpu's run-time checks, its memory by [`check`], its compilation and each of its slices by a time limit; what is
//! left (a driver that hangs) ends with the process.

mod check;
pub mod measure;
mod meter;

use crate::{
    Error, Output, Progress,
    device::{Gpu, STEP_LIMIT},
    pace::Pace,
};
use std::{ops::Range, sync::mpsc};
use tender_base::job::{Access, MAX_BLOB_BYTES, WgslWork};

/// Stack of the thread that compiles. Parser, validator and drivers recurse with the nesting of the source, a sum of
/// 50,000 terms included, and a source of 256 KiB can nest by one level per byte. Only what is touched takes memory.
const COMPILER_STACK_BYTES: usize = 256 << 20;
/// Most memory on the card for one kernel: its input and output at their largest, and the copy that is read back.
const MAX_JOB_BYTES: u64 = 3 * MAX_BLOB_BYTES;
/// Bind group that the metering adds; a client's buffers are in group 0.
const OWN_GROUP: u32 = 1;

/// Runs the kernel over the whole grid, or over the workgroups of `parts` alone. Counts
/// workgroups × workgroup size × fuel.
///
/// `input` is the source, then each `read` buffer. The output is the `write` buffer, or the ranges of it that the
/// chosen workgroups own, in the order of `parts`.
///
/// # Errors
/// [`Error::Kernel`] when the source is refused, [`Error::FuelExhausted`] when an invocation ran out of fuel,
/// [`Error::Truncated`] when the driver ended a loop early, [`Error::TooSlow`] when the driver does not finish in
/// time (the process must end then), [`Error::Invalid`] for an input of another length or parts outside the grid, or
/// whatever the GPU reports.
pub fn run(
    gpu: &Gpu,
    work: &WgslWork,
    input: &[u8],
    parts: Option<&[u32]>,
    progress: Progress<'_>,
) -> Result<Output, Error> {
    let Some((source, mut rest)) = input.split_at_checked(work.source_bytes as usize) else {
        return Err(Error::Invalid("the input is shorter than source_bytes".into()));
    };
    if let Some(part) = parts.and_then(|p| p.iter().find(|&&p| p >= work.workgroups)) {
        return Err(Error::Invalid(format!("parts names workgroup {part}, but there are {}", work.workgroups)));
    }
    let source = std::str::from_utf8(source).map_err(|e| Error::Kernel(format!("the source is no UTF-8: {e}")))?;
    let Some(output) = work.buffers.iter().position(|b| b.access == Access::Write) else {
        return Err(Error::Invalid("no buffer has access write".into()));
    };
    let memory = work.buffers.iter().chain(&work.buffers[output..=output]).map(|b| u64::from(b.bytes)).sum::<u64>();
    if memory > MAX_JOB_BYTES {
        return Err(Error::Invalid(format!(
            "the buffers take {memory} bytes on the card; {MAX_JOB_BYTES} are allowed"
        )));
    }

    let gpu = gpu.sandbox()?;
    let done = prepare(&gpu, source.to_owned(), work).and_then(|kernel| {
        let mut buffers = Vec::with_capacity(work.buffers.len());
        for declared in &work.buffers {
            buffers.push(match declared.access {
                Access::Write => gpu.storage(declared.bytes.into()),
                Access::Read => {
                    let (content, after) = rest
                        .split_at_checked(declared.bytes as usize)
                        .ok_or_else(|| Error::Invalid("the input is shorter than its buffers".into()))?;
                    rest = after;
                    gpu.upload(content)
                }
            });
        }
        gpu.check()?;
        execute(&gpu, work, &kernel, &buffers, output, parts, progress)
    });
    if matches!(done, Err(Error::TooSlow(_))) {
        // Dropping a device waits for its work.
        std::mem::forget(gpu);
    }
    done
}

fn execute(
    gpu: &Gpu,
    work: &WgslWork,
    kernel: &Kernel,
    buffers: &[wgpu::Buffer],
    output: usize,
    parts: Option<&[u32]>,
    progress: Progress<'_>,
) -> Result<Output, Error> {
    let ranges = grid_ranges(work, parts);
    let total = ranges.iter().map(|r| r.end - r.start).sum();
    let groups = kernel.bind(gpu, work, buffers);
    let mut pace = Pace::new();
    let mut done = 0;
    for range in ranges {
        pace.run(range, |first, count| {
            kernel.slice(gpu, work, &groups, first, count)?;
            done += count;
            progress(done, total);
            Ok(())
        })?;
    }

    let (output, bytes) = (&buffers[output], u64::from(work.buffers[output].bytes));
    let each = bytes / u64::from(work.workgroups);
    let bytes = match parts {
        None => gpu.read_head(output, bytes)?,
        Some(parts) => {
            let owned: Vec<_> = parts.iter().map(|&g| u64::from(g) * each..(u64::from(g) + 1) * each).collect();
            gpu.read(output, &owned)?
        }
    };
    Ok(Output { bytes, units: u64::from(total) * u64::from(work.workgroup_size) * u64::from(work.fuel) })
}

/// Parses, checks, rewrites and compiles the source on a thread whose stack suffices and whose time is limited.
fn prepare(gpu: &Gpu, source: String, work: &WgslWork) -> Result<Kernel, Error> {
    let (gpu, work) = (gpu.clone(), work.clone());
    let (send, receive) = mpsc::channel();
    let compiling = std::thread::Builder::new()
        .name("wgsl".into())
        .stack_size(COMPILER_STACK_BYTES)
        .spawn(move || {
            let module = check::check(&source, &work).and_then(meter::meter);
            // Nobody listens any more when the time is up.
            let _ = send.send(module.and_then(|module| Kernel::new(&gpu, &work, module)));
        })
        .map_err(|e| Error::Thread(e.to_string()))?;
    let kernel = receive.recv_timeout(STEP_LIMIT).unwrap_or_else(|e| match e {
        mpsc::RecvTimeoutError::Timeout => Err(Error::TooSlow("compiling the kernel")),
        mpsc::RecvTimeoutError::Disconnected => Err(Error::Kernel("the compiler gave up on the source".into())),
    });
    if !matches!(kernel, Err(Error::TooSlow(_))) {
        // It has answered and only lets go of its device. A driver that is unloaded while the process ends crashes it.
        let _ = compiling.join();
    }
    kernel
}

/// The workgroups to run, neighbours joined.
fn grid_ranges(work: &WgslWork, parts: Option<&[u32]>) -> Vec<Range<u32>> {
    let Some(parts) = parts else {
        return std::iter::once(0..work.workgroups).collect();
    };
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for &part in parts {
        match ranges.last_mut() {
            Some(last) if last.end == part => last.end += 1,
            _ => ranges.push(part..part + 1),
        }
    }
    ranges
}

/// The compiled kernel and what metering talks through.
struct Kernel {
    pipeline: wgpu::ComputePipeline,
    layouts: [wgpu::BindGroupLayout; 2],
    /// First workgroup of the slice, workgroups of the grid, fuel, and a zero that no compiler knows.
    grid: wgpu::Buffer,
    /// Not zero when an invocation did not do what the source says.
    report: wgpu::Buffer,
}

impl Kernel {
    fn new(gpu: &Gpu, work: &WgslWork, module: naga::Module) -> Result<Self, Error> {
        let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let clients: Vec<_> = work
            .buffers
            .iter()
            .map(|b| entry(b.binding, wgpu::BufferBindingType::Storage { read_only: b.access == Access::Read }))
            .collect();
        let own = [
            entry(meter::GRID_BINDING, wgpu::BufferBindingType::Uniform),
            entry(meter::REPORT_BINDING, wgpu::BufferBindingType::Storage { read_only: false }),
        ];
        let layouts = [clients.as_slice(), own.as_slice()].map(|entries| {
            gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries })
        });
        let layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layouts[0]), Some(&layouts[1])],
            immediate_size: 0,
        });
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(module)),
        };
        let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
        // SAFETY: all of wgpu's run-time checks but one: no loop is endless, since each is left when its invocation
        // has no fuel.
        #[allow(unsafe_code)]
        let shader = unsafe { gpu.device.create_shader_module_trusted(descriptor, checks) };
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&layout),
            module: &shader,
            entry_point: Some(&work.entry),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        gpu.check().map_err(|e| match e {
            Error::Driver(why) => Error::Kernel(why),
            other => other,
        })?;
        Ok(Self { pipeline, layouts, grid: gpu.uniform(&[0; 4]), report: gpu.storage(4) })
    }

    fn bind(&self, gpu: &Gpu, work: &WgslWork, buffers: &[wgpu::Buffer]) -> [wgpu::BindGroup; 2] {
        let clients: Vec<_> = work.buffers.iter().map(|b| b.binding).zip(buffers).collect();
        let own = [(meter::GRID_BINDING, &self.grid), (meter::REPORT_BINDING, &self.report)];
        [(&self.layouts[0], clients.as_slice()), (&self.layouts[1], own.as_slice())].map(|(layout, buffers)| {
            let entries: Vec<_> = buffers
                .iter()
                .map(|&(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
                .collect();
            gpu.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
        })
    }

    /// Runs workgroups `[first, first + count)`, which see their numbers in the whole grid.
    fn slice(
        &self,
        gpu: &Gpu,
        work: &WgslWork,
        groups: &[wgpu::BindGroup; 2],
        first: u32,
        count: u32,
    ) -> Result<(), Error> {
        gpu.queue.write_buffer(&self.grid, 0, bytemuck::cast_slice(&[first, work.workgroups, work.fuel, 0]));
        gpu.submit(|encoder| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &groups[0], &[]);
            pass.set_bind_group(OWN_GROUP, &groups[1], &[]);
            pass.dispatch_workgroups(count, 1, 1);
        })?;
        let report = gpu.read_head(&self.report, 4)?.iter().fold(0, |all, byte| all | u32::from(*byte));
        if report & meter::EXHAUSTED != 0 {
            return Err(Error::FuelExhausted(work.fuel));
        }
        if report & meter::TRUNCATED != 0 {
            return Err(Error::Truncated);
        }
        Ok(())
    }
}
