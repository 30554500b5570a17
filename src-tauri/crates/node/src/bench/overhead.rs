//! What safety costs: the processor time of a job as a contractor does it, beside the same job done by nobody but the
//! kernels, in a process that is not confined.

use super::{Figure, wrong};
use crate::{demo::throw_away, metering::WorkMeter, node::Node};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tender_base::{
    Code, Problem, Work,
    frames::Measurement,
    job::Precision,
    kernel::{Kernel, KernelWork},
};
use tender_engine::{Engine as _, Order, Progress, Tenant};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
};

/// Pairs of the two, in turn.
const PAIRS: usize = 20;
/// Executable of the other arm, which no installation has.
const BASELINE: &str = "tender-baseline";
/// Largest side whose operands fit a job.
const LARGEST_SIDE: u32 = 2816;
/// What the side of a job is a multiple of.
const SIDE_STEP: u32 = 128;
const WALL_LIMIT: Duration = Duration::from_secs(60);
/// A tick of /proc/PID/stat: `USER_HZ` is 100 on every Linux.
const TICK: f64 = 0.01;

/// The figure `overhead`, and the same in milliseconds a job.
///
/// # Errors
/// What the node or the worker says.
pub(super) async fn overhead(dir: &Path, worker: Option<&Path>) -> Result<Vec<Figure>, Problem> {
    let absent = |why: &str| vec![Figure::of("overhead", "fraction", Vec::new()).because(why)];
    if !cfg!(target_os = "linux") {
        return Ok(absent("not measured: the processor time of other processes is read from Linux"));
    }
    let beside = match worker {
        Some(worker) => worker.to_owned(),
        None => tender_engine::find_worker(None)?,
    };
    let baseline = beside.with_file_name(BASELINE);
    if !baseline.is_file() {
        return Ok(absent(
            "not measured: build the other arm with `cargo build --release -p tender-compute --features baseline`",
        ));
    }
    let running = throw_away(&dir.join("overhead"), worker).await?;
    let found = pairs(&running.node, &baseline).await;
    running.stop().await;
    let (work, pairs) = found?;
    let per_cent = |(with, without): &(f64, f64)| (with - without) / without;
    let (with, without) = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    let why = format!(
        "{work}: processor time of node and worker beside that of the kernels in a process that is not confined; stored \
         input read and hashed, piped, computed, metered, output hashed and stored; in all {with:.2} s beside \
         {without:.2} s"
    );
    let extra = pairs.iter().map(|(with, without)| (with - without) * 1e3).collect();
    Ok(vec![
        Figure::of("overhead", "fraction", pairs.iter().map(per_cent).collect()).because(why),
        Figure::of("overhead_ms", "ms", extra).because("the same pairs: extra processor time of a job"),
    ])
}

/// Seconds of processor time with everything and with nothing around the kernels, in turn.
async fn pairs(node: &Arc<Node>, baseline: &Path) -> Result<(String, Vec<(f64, f64)>), Problem> {
    let (work, words) = job_of_a_second(node).await?;
    let bytes = work.input_bytes().unwrap_or(0);
    let input = match &work {
        Work::Kernel(_) => parameters(),
        _ => (0..bytes / 4).flat_map(|at| (((at * 37 % 251) as f32) / 125.0 - 1.0).to_le_bytes()).collect(),
    };
    let mut other = Baseline::start(baseline, &work).await?;
    let input = node.store.put_blob(&input).await.map_err(|e| e.problem())?;
    let mut times = Vec::with_capacity(PAIRS);
    // The first pair warms both up.
    for round in 0..=PAIRS {
        let before = spent()?;
        let order = Order {
            work: work.clone(),
            input: node.stored_blob(&input).await?.into(),
            model: None,
            parts: None,
            wall_limit: WALL_LIMIT,
            tenant: Tenant::Own,
        };
        let mut meter = WorkMeter::new();
        let (sender, mut progress) = watch::channel(Progress::default());
        let running = node.engine.run(order, sender);
        tokio::pin!(running);
        let output = loop {
            tokio::select! {
                output = &mut running => break output?,
                Ok(()) = progress.changed() => meter.start(node).await,
            }
        };
        let _ = node.metered(work.kind(), meter, output.wall_ms).await;
        node.store.put_blob(&output.bytes).await.map_err(|e| e.problem())?;
        let with = spent()? - before;
        let without = other.run().await?;
        if round > 0 {
            times.push((with, without));
        }
    }
    Ok((words, times))
}

/// A product that takes about a second here; on a card that is too fast for that, paths of an option.
async fn job_of_a_second(node: &Arc<Node>) -> Result<(Work, String), Problem> {
    let side = 1024;
    let per_second = node.engine.measure(Measurement::Gemm { side, precision: Precision::F32 }).await?;
    let fitting = (per_second / 2.0).cbrt();
    if fitting < f64::from(2 * LARGEST_SIDE) {
        // Positive and small.
        let side = ((fitting / f64::from(SIDE_STEP)).round() as u32 * SIDE_STEP).clamp(SIDE_STEP, LARGEST_SIDE);
        let work = Work::Gemm { m: side, k: side, n: side, precision: Precision::F32 };
        return Ok((work, format!("a product of {side} × {side}")));
    }
    let blocks = |rows| KernelWork { name: Kernel::MonteCarloCall, rows, columns: 1 << 16 };
    let per_second = node.engine.measure(Measurement::Kernel { work: blocks(1024) }).await?;
    let rows = ((per_second / 65_536.0) as u32).clamp(1, 1 << 16);
    Ok((Work::Kernel(blocks(rows)), format!("{rows} × 65536 paths of an option")))
}

/// Seed, spot, strike, rate, volatility, years.
fn parameters() -> Vec<u8> {
    let option = [100.0f32, 105.0, 0.02, 0.2, 1.0];
    7u64.to_le_bytes().into_iter().chain(option.iter().flat_map(|p| p.to_le_bytes())).collect()
}

/// The other arm.
struct Baseline {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Baseline {
    async fn start(executable: &Path, work: &Work) -> Result<Self, Problem> {
        let work = serde_json::to_string(work).map_err(|e| wrong(e.to_string()))?;
        let mut command = Command::new(executable);
        command.arg(work).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| silent(&e.to_string()))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(silent("its pipes are missing"));
        };
        Ok(Self { child, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// Does the job once. Seconds of processor time.
    async fn run(&mut self) -> Result<f64, Problem> {
        let id = self.child.id().ok_or_else(|| silent("it has ended"))?;
        let before = of_process(&PathBuf::from(format!("/proc/{id}"))).ok_or_else(|| silent("it has ended"))?.seconds;
        self.stdin.write_all(b"\n").await.map_err(|e| silent(&e.to_string()))?;
        match tokio::time::timeout(WALL_LIMIT, self.lines.next_line()).await {
            Ok(Ok(Some(_))) => {}
            _ => return Err(silent("it did not do the job")),
        }
        let after = of_process(&PathBuf::from(format!("/proc/{id}"))).ok_or_else(|| silent("it has ended"))?.seconds;
        Ok(after - before)
    }
}

fn silent(why: &str) -> Problem {
    Problem::new(Code::Unavailable, format!("{BASELINE} does not measure: {why}"), "build it again")
}

/// What /proc/PID/stat says.
struct Spent {
    parent: u32,
    name: String,
    seconds: f64,
}

/// Processor time of this process and its workers so far, in seconds.
fn spent() -> Result<f64, Problem> {
    let unread = |e: std::io::Error| Problem::new(Code::Unavailable, format!("/proc cannot be read: {e}"), "mount it");
    let own = std::process::id();
    let mut seconds = of_process(Path::new("/proc/self")).map_or(0.0, |own| own.seconds);
    for entry in std::fs::read_dir("/proc").map_err(unread)?.flatten() {
        let worker = of_process(&entry.path()).filter(|found| found.parent == own && found.name != BASELINE);
        seconds += worker.map_or(0.0, |worker| worker.seconds);
    }
    Ok(seconds)
}

/// Of a process with all its threads, also those that have ended; none when it is no process.
fn of_process(folder: &Path) -> Option<Spent> {
    parse(&std::fs::read_to_string(folder.join("stat")).ok()?)
}

/// proc_pid_stat(5): the name stands in parentheses and may hold some; fields 4, 14 and 15.
fn parse(stat: &str) -> Option<Spent> {
    let (head, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Spent {
        parent: fields.get(1)?.parse().ok()?,
        name: head.split_once('(')?.1.to_owned(),
        seconds: (ticks(11)? + ticks(12)?) * TICK,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn processor_time_is_read_also_behind_a_strange_name() {
        let stat = "77 (a) b (c) S 5 77 77 0 -1 4194560 1 0 0 0 250 30 0 0 20 0 3 0 100 1 1";
        let spent = parse(stat).unwrap();
        assert_eq!((spent.parent, spent.name.as_str()), (5, "a) b (c"));
        assert!((spent.seconds - 2.8).abs() < 1e-9);
        assert!(parse("77").is_none());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn work_shows_in_the_processor_time() {
        let (before, started) = (spent().unwrap(), Instant::now());
        let mut x = 1u64;
        while started.elapsed() < Duration::from_secs(10) && spent().unwrap() - before < 0.05 {
            (0..100_000u64).for_each(|i| x = x.wrapping_mul(i | 1));
        }
        assert!(spent().unwrap() - before >= 0.05, "{x}");
    }
}
