//! What confining, metering and killing a worker cost, for `tender bench`.

use crate::{Engine as _, LocalEngine, Order, Progress, Settings, Tenant, worker::find_worker};
use bytes::Bytes;
use std::{
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};
use tender_base::{
    Code, Problem, Work,
    job::{Access, Element, WgslBuffer, WgslWork},
};
use tokio::{process::Command, sync::watch};

/// A kernel that keeps any card busy for minutes.
const BUSY: &str = "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var x = local;
    for (var n = 0u; n < 50000u; n += 1u) { x = x * 1664525u + 1013904223u; }
    if x == 1u { out[g.x] = x; }
}";
const BUSY_WORKGROUPS: u32 = 65_535;
/// Longest until a started kernel reports progress.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Milliseconds from the order to stop until the process of a worker in the middle of a kernel is gone and its video
/// memory free, `rounds` times.
///
/// # Errors
/// What starting the worker says, or [`Code::Expired`] when no kernel gets going.
pub async fn kill(worker: Option<&Path>, rounds: usize) -> Result<Vec<f64>, Problem> {
    let engine = Arc::new(LocalEngine::new(Settings { worker: worker.map(Path::to_owned), ..Settings::default() }));
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let (progress, mut seen) = watch::channel(Progress::default());
        let running = tokio::spawn({
            let engine = Arc::clone(&engine);
            async move { engine.run(busy(), progress).await }
        });
        let started = tokio::time::timeout(START_LIMIT, seen.wait_for(|progress| progress.done > 0)).await;
        let gone_wrong = match started {
            Ok(Ok(_)) => None,
            Ok(Err(_)) => Some("the kernel ended before it could be stopped"),
            Err(_) => Some("the kernel did not start"),
        };
        if let Some(message) = gone_wrong {
            engine.stop().await;
            return Err(match running.await {
                Ok(Err(problem)) => problem,
                _ => Problem::new(Code::Expired, message, "run `tender doctor`"),
            });
        }
        let at = Instant::now();
        engine.stop().await;
        times.push(at.elapsed().as_secs_f64() * 1e3);
        // It was taken back.
        let _ = running.await;
    }
    Ok(times)
}

fn busy() -> Order {
    let kernel = WgslWork {
        source_bytes: u32::try_from(BUSY.len()).unwrap_or(u32::MAX),
        entry: "main".into(),
        workgroups: BUSY_WORKGROUPS,
        workgroup_size: 256,
        fuel: 60_000,
        buffers: vec![WgslBuffer { binding: 0, access: Access::Write, bytes: 4 * BUSY_WORKGROUPS }],
        element: Element::U32,
    };
    Order {
        work: Work::Wgsl(kernel),
        input: Bytes::from_static(BUSY.as_bytes()),
        model: None,
        parts: None,
        wall_limit: Duration::from_secs(600),
        tenant: Tenant::Own,
    }
}

/// Milliseconds of a worker that confines itself and ends, and of one that only ends, in turn. Their difference is what
/// the sandbox adds to a start.
///
/// # Errors
/// [`Code::Unavailable`] when the worker does not start.
pub async fn confinement(worker: Option<&Path>, pairs: usize) -> Result<Vec<(f64, f64)>, Problem> {
    let executable = find_worker(worker)?;
    let mut times = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let mut pair = [0.0; 2];
        for (time, argument) in pair.iter_mut().zip(["--check", "--version"]) {
            let at = Instant::now();
            ask(&executable, argument).await?;
            *time = at.elapsed().as_secs_f64() * 1e3;
        }
        times.push((pair[0], pair[1]));
    }
    Ok(times)
}

/// Milliseconds of a real kernel with fuel metering and without, in turn, on the worker's own adapter.
///
/// # Errors
/// [`Code::Unavailable`] when the worker does not measure.
pub async fn fuel(worker: Option<&Path>) -> Result<Vec<(f64, f64)>, Problem> {
    let said = ask(&find_worker(worker)?, "--measure").await?;
    serde_json::from_slice(&said).map_err(|e| silent(&e.to_string()))
}

async fn ask(executable: &Path, argument: &str) -> Result<Vec<u8>, Problem> {
    let mut command = Command::new(executable);
    command.arg(argument).env_clear().envs(crate::worker::surroundings()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|e| silent(&e.to_string()))?;
    if output.status.success() { Ok(output.stdout) } else { Err(silent(&String::from_utf8_lossy(&output.stderr))) }
}

fn silent(why: &str) -> Problem {
    Problem::new(Code::Unavailable, format!("the worker does not measure: {why}"), "run `tender doctor`")
}
