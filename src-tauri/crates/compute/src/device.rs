//! One adapter and a device on it.
//!
//! Two rules keep client kernels apart from ours: they run on a device of their own ([`Gpu::sandbox`]), with no
//! features at all, and only our kernels skip wgpu's run-time checks ([`Gpu::trusted`]).

use crate::Error;
use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tender_base::{documents::WorkerInfo, frames::MEMORY_BUDGET_PERCENT};
use wgpu::{BufferUsages, util::DeviceExt};

/// Storage buffers that one shader may bind: eight of a client, and the flag by which fuel metering reports.
const STORAGE_BUFFERS: u32 = 9;

/// Longest that one step of a client's kernel may take: its compilation, or one slice of its grid, which is sized to
/// take some 25 ms. A driver that needs longer hangs, or one workgroup is far too much work.
pub(crate) const STEP_LIMIT: Duration = Duration::from_secs(5);

/// An open device.
#[derive(Clone)]
pub struct Gpu {
    adapter: wgpu::Adapter,
    /// The wgpu device.
    pub(crate) device: wgpu::Device,
    /// Its queue.
    pub(crate) queue: wgpu::Queue,
    /// The first error that wgpu reported outside of a call, until someone takes it.
    fault: Arc<Mutex<Option<Error>>>,
    info: WorkerInfo,
    /// Longest that a submission may take.
    limit: Option<Duration>,
}

impl Gpu {
    /// Opens the fastest adapter that can compute: discrete before integrated before software. The environment
    /// variable `WGPU_ADAPTER_NAME` chooses one by part of its name.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] without a driver or adapter, [`Error::Driver`] when the device is refused.
    pub fn open() -> Result<Self, Error> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            // No validation layers and no debug labels, also in debug builds: they need not be installed.
            flags: wgpu::InstanceFlags::empty(),
            memory_budget_thresholds: wgpu::MemoryBudgetThresholds {
                for_resource_creation: Some(MEMORY_BUDGET_PERCENT),
                for_device_loss: None,
            },
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let wanted = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
        let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        adapters.retain(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
        let found = adapters.iter().map(|a| a.get_info().name).collect();
        let adapter = adapters
            .into_iter()
            .filter(|a| wanted.as_ref().is_none_or(|w| a.get_info().name.to_lowercase().contains(&w.to_lowercase())))
            .min_by_key(|a| preference(a.get_info().device_type))
            .ok_or(Error::NoAdapter { wanted, found })?;
        // Kernels of ours reduce across subgroups; those of clients never get a feature.
        let features = adapter.features() & wgpu::Features::SUBGROUP;
        Self::on(adapter, features)
    }

    /// A fresh device on the same adapter, for one client's kernel. Nothing that another job left is on it.
    ///
    /// # Errors
    /// [`Error::Driver`] when the device is refused.
    pub fn sandbox(&self) -> Result<Self, Error> {
        Ok(Self { limit: Some(STEP_LIMIT), ..Self::on(self.adapter.clone(), wgpu::Features::empty())? })
    }

    fn on(adapter: wgpu::Adapter, features: wgpu::Features) -> Result<Self, Error> {
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: None,
            required_features: features,
            required_limits: wgpu::Limits {
                max_storage_buffers_per_shader_stage: STORAGE_BUFFERS,
                ..wgpu::Limits::default()
            },
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            trace: wgpu::Trace::Off,
        }))
        .map_err(|e| Error::Driver(e.to_string()))?;
        let fault = Arc::new(Mutex::new(None));
        let (reported, lost) = (Arc::clone(&fault), Arc::clone(&fault));
        device.on_uncaptured_error(Arc::new(move |e| keep_first(&reported, from_wgpu(e))));
        device.set_device_lost_callback(move |reason, why| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                keep_first(&lost, Error::Lost(why));
            }
        });
        let found = adapter.get_info();
        let info = WorkerInfo {
            adapter: found.name,
            driver: format!("{} {}", found.driver, found.driver_info).trim().to_owned(),
            backend: found.backend.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime: None,
        };
        Ok(Self { adapter, device, queue, fault, info, limit: None })
    }

    /// What the machine is, as its driver describes it.
    #[must_use]
    pub fn info(&self) -> &WorkerInfo {
        &self.info
    }

    /// Whether the adapter is software on the CPU.
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        self.adapter.get_info().device_type == wgpu::DeviceType::Cpu
    }

    /// Whether it works in the machine's main memory; none where the driver does not say what it is.
    #[must_use]
    pub fn uses_main_memory(&self) -> Option<bool> {
        match self.adapter.get_info().device_type {
            wgpu::DeviceType::Cpu | wgpu::DeviceType::IntegratedGpu => Some(true),
            wgpu::DeviceType::DiscreteGpu => Some(false),
            wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => None,
        }
    }

    /// Invocations that run in step, when the adapter has a single such size and kernels may use it.
    pub(crate) fn subgroup_size(&self) -> Option<u32> {
        let info = self.adapter.get_info();
        let fixed = info.subgroup_min_size == info.subgroup_max_size;
        (self.has_subgroups() && fixed).then_some(info.subgroup_min_size)
    }

    /// Whether kernels may use subgroup operations.
    pub(crate) fn has_subgroups(&self) -> bool {
        self.device.features().contains(wgpu::Features::SUBGROUP)
    }

    /// A zeroed storage buffer of `bytes`.
    pub(crate) fn storage(&self, bytes: u64) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// A storage buffer that holds `content`.
    pub(crate) fn upload(&self, content: &[u8]) -> wgpu::Buffer {
        self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: content,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        })
    }

    /// A uniform buffer that holds `content`.
    pub(crate) fn uniform(&self, content: &[u32]) -> wgpu::Buffer {
        self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(content),
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
        })
    }

    /// A pipeline of one of our own kernels, without wgpu's run-time checks.
    pub(crate) fn trusted(&self, label: &str, source: &str, entry: &str) -> wgpu::ComputePipeline {
        self.trusted_with(None, label, source, entry)
    }

    /// The same with a given layout, so that several pipelines take one bind group.
    pub(crate) fn trusted_with(
        &self,
        layout: Option<&wgpu::PipelineLayout>,
        label: &str,
        source: &str,
        entry: &str,
    ) -> wgpu::ComputePipeline {
        let module =
            wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(source.into()) };
        // SAFETY: the sources are this crate's own; their hosts size and pad every buffer so that no index leaves it,
        // and no loop is endless. No client text is ever part of one.
        #[allow(unsafe_code)]
        let module =
            unsafe { self.device.create_shader_module_trusted(module, wgpu::ShaderRuntimeChecks::unchecked()) };
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout,
            module: &module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    }

    /// Bind group 0 of `pipeline`: the resources at bindings 0, 1, 2, …
    pub(crate) fn bind<const N: usize>(
        &self,
        pipeline: &wgpu::ComputePipeline,
        resources: [wgpu::BindingResource<'_>; N],
    ) -> wgpu::BindGroup {
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        })
    }

    /// Records commands, submits them and waits until the GPU has done them.
    ///
    /// # Errors
    /// Whatever wgpu reported since the last call.
    pub(crate) fn submit(&self, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<(), Error> {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        record(&mut encoder);
        self.queue.submit([encoder.finish()]);
        self.wait()
    }

    /// Waits until the GPU has done what was submitted. Work that does not end cannot be stopped from inside: without
    /// a limit the node kills this process in the end.
    fn wait(&self) -> Result<(), Error> {
        let waited = self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: self.limit });
        self.check()?;
        match waited {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => Err(Error::TooSlow("one slice of the kernel")),
            Err(e) => Err(Error::Lost(e.to_string())),
        }
    }

    /// Copies the first `bytes` of `buffer` here.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn read_head(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>, Error> {
        self.read(buffer, std::slice::from_ref(&(0..bytes)))
    }

    /// Copies `ranges` of `buffer` here, one after the other. Offsets and lengths are multiples of four.
    ///
    /// # Errors
    /// Whatever wgpu reported since the last call.
    pub(crate) fn read(&self, buffer: &wgpu::Buffer, ranges: &[Range<u64>]) -> Result<Vec<u8>, Error> {
        self.submit_and_read(|_| {}, buffer, ranges)
    }

    /// Records commands, submits them and copies what they left in `ranges` of `buffer` here: one round trip for both.
    ///
    /// # Errors
    /// Whatever wgpu reported since the last call.
    pub(crate) fn submit_and_read(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
        buffer: &wgpu::Buffer,
        ranges: &[Range<u64>],
    ) -> Result<Vec<u8>, Error> {
        let size = ranges.iter().map(|r| r.end - r.start).sum();
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        record(&mut encoder);
        let mut at = 0;
        for range in ranges {
            let length = range.end - range.start;
            encoder.copy_buffer_to_buffer(buffer, range.start, &staging, at, Some(length));
            at += length;
        }
        self.queue.submit([encoder.finish()]);
        let (send, receive) = std::sync::mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |mapped| {
            // The receiver is gone only when this function has returned, and then nobody asks.
            let _ = send.send(mapped);
        });
        let waited = self.device.poll(wgpu::PollType::wait_indefinitely());
        self.check()?;
        waited.map_err(|e| Error::Lost(e.to_string()))?;
        match receive.try_recv() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(Error::Lost(e.to_string())),
            Err(_) => return Err(Error::Lost("a buffer was never mapped".into())),
        }
        let view = staging.get_mapped_range(..).map_err(|e| Error::Lost(e.to_string()))?;
        Ok(view.to_vec())
    }

    /// The first error that wgpu reported since the last call.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Records a compute pass with `workgroups` of `pipeline`.
pub(crate) fn dispatch(
    encoder: &mut wgpu::CommandEncoder,
    pipeline: &wgpu::ComputePipeline,
    group: &wgpu::BindGroup,
    workgroups: u32,
) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(pipeline);
    pass.set_bind_group(0, group, &[]);
    pass.dispatch_workgroups(workgroups, 1, 1);
}

/// What a wgpu error means here.
pub(crate) fn from_wgpu(error: wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory,
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::Driver(description)
        }
    }
}

fn keep_first(fault: &Mutex<Option<Error>>, error: Error) {
    fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
}

fn preference(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}
