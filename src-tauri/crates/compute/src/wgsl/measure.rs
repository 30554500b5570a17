//! What fuel costs: the same kernel with and without metering.

use super::{Kernel, check, meter};
use crate::{Error, device::Gpu};
use std::time::{Duration, Instant};
use tender_base::job::{Access, Element, WgslBuffer, WgslWork};

/// Workgroups of 32 that draw points and count those inside of the quarter circle: arithmetic in one long loop, a
/// reduction with barriers, one store.
pub const MONTE_CARLO: &str = include_str!("monte_carlo.wgsl");
/// So much work that starting it does not count, and a CPU adapter needs a fraction of a second.
const WORKGROUPS: u32 = 1024;

/// Runs the kernel so many times in turn, metered and as it is, and returns the milliseconds of each pair: of processor
/// time on a CPU adapter, where other programs would count else, and of time on a card.
///
/// # Errors
/// Whatever the GPU reports.
pub fn fuel_pairs(gpu: &Gpu, pairs: usize) -> Result<Vec<(f64, f64)>, Error> {
    let work = WgslWork {
        source_bytes: u32::try_from(MONTE_CARLO.len()).unwrap_or(u32::MAX),
        entry: "main".into(),
        workgroups: WORKGROUPS,
        workgroup_size: 32,
        fuel: 2000,
        buffers: vec![WgslBuffer { binding: 0, access: Access::Write, bytes: 4 * WORKGROUPS }],
        element: Element::U32,
    };
    let gpu = gpu.sandbox()?;
    let plain = check::check(MONTE_CARLO, &work)?;
    let metered = meter::meter(plain.clone())?;
    let run = |kernel: &Kernel| {
        let buffers = [gpu.storage(u64::from(4 * WORKGROUPS))];
        let groups = kernel.bind(&gpu, &work, &buffers);
        let (started, spent) = (Instant::now(), processor_time());
        kernel.slice(&gpu, &work, &groups, 0, WORKGROUPS)?;
        let time = match (spent, processor_time()) {
            (Some(before), Some(after)) if gpu.is_cpu() => after - before,
            _ => started.elapsed(),
        };
        let time = time.as_secs_f64() * 1e3;
        Ok::<_, Error>((time, gpu.read_head(&buffers[0], u64::from(4 * WORKGROUPS))?))
    };
    let (metered, plain) = (Kernel::new(&gpu, &work, metered)?, Kernel::new(&gpu, &work, plain)?);
    // The first run compiles on some drivers.
    let (_, expected) = run(&metered)?;
    let mut times = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let ((with, a), (without, b)) = (run(&metered)?, run(&plain)?);
        if a != expected || b != expected {
            return Err(Error::BadOutput("a metered kernel computed something else".into()));
        }
        times.push((with, without));
    }
    Ok(times)
}

/// Processor time that all threads of this process have used, where the system tells.
#[cfg(target_os = "linux")]
fn processor_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the struct that it is given.
    #[allow(unsafe_code)]
    let told = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (told == 0).then(|| Duration::new(seconds, nanos))
}

#[cfg(not(target_os = "linux"))]
fn processor_time() -> Option<Duration> {
    None
}
