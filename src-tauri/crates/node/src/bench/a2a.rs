//! `tender bench a2a`: the A2A interface of a node in a process of its own, under load. A request is a message that
//! asks for work; its answer, a quote, is a task that is on the disk before it is told.

use super::{
    BenchReport, Figure, ROUNDS,
    load::{Answered, Connection, Requests, Target},
    peer::Peer,
    wrong,
};
use crate::{api::types::KeyInput, demo::throw_away};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tender_base::{Code, Problem};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// Connections of both loads.
const CONNECTIONS: usize = 64;
/// Requests per second of the open loop.
const PER_SECOND: u32 = 500;
/// Requests of the open loop: twenty seconds of them.
const REQUESTS: u64 = 10_000;
/// Requests before it that are not counted.
const WARM_UP: u64 = 1_000;
/// API keys, and quotes that are asked for with each: a key may have 32 in ten minutes that it does not award.
const KEYS: usize = 3_000;
const QUOTES: usize = 30;
/// How long each closed loop lasts.
const CLOSED: Duration = Duration::from_secs(3);
/// Event streams that are open at the same time.
const STREAMS: usize = 1_000;
/// Files that a process may have open, at least: a connection each, and what else there is.
const OPEN_FILES: usize = STREAMS + 200;
/// Writes that are flushed, before the open loop and after it.
const FLUSHES: usize = 100;
/// What each of them writes, in bytes.
const FLUSHED_BYTES: usize = 4096;
/// Until memory has settled: allocators give back late, keep-alives come every half second.
const SETTLE: Duration = Duration::from_secs(2);
/// Longest until the tasks are there that streams follow.
const PARKING_LIMIT: Duration = Duration::from_secs(60);
const START_LIMIT: Duration = Duration::from_secs(30);

/// Measures under `dir`, which the caller deletes, on the same disk.
///
/// # Errors
/// The first thing that failed, and any answer that is not a quote.
pub async fn a2a(dir: &Path, worker: Option<&Path>) -> Result<BenchReport, Problem> {
    let data = dir.join("node");
    let keys = Keys { all: set_up(&data, worker).await?.into(), spent: Arc::default() };
    let mut figures = Vec::new();
    let mut known = Known::default();

    // Memory first, in a process that has done nothing else: what a load leaves behind would be reused.
    let node = Served::start(&data).await?;
    let parked = parked(&Target::new(&node.a2a)?, &keys, &mut known).await?;
    node.stop().await?;
    let node = Served::start(&data).await?;
    figures.push(stream_memory(&node, &Target::new(&node.a2a)?, &parked).await?);
    node.stop().await?;

    let node = Served::start(&data).await?;
    let target = Target::new(&node.a2a)?;
    let mut flushes = flushes(dir)?;
    known.add(target.open_loop(CONNECTIONS, PER_SECOND, WARM_UP, &keys.quotes("warm".to_owned())).await?)?;
    let answers = target.open_loop(CONNECTIONS, PER_SECOND, REQUESTS, &keys.quotes("open".to_owned())).await?;
    let times = answers.iter().map(|(_, time, _)| *time).collect();
    known.add(answers)?;
    flushes.extend(self::flushes(dir)?);
    let flush = Figure::of("flush", "ms", flushes).because(format!(
        "write and fsync of {FLUSHED_BYTES} bytes in the same folder, half before the open loop and half after it"
    ));
    figures.push(Figure::of("send_message", "ms", times).because(format!(
        "{CONNECTIONS} connections, {PER_SECOND} requests/s in open loop, each counted from its intended start; every \
         answer is a task of its own in INPUT_REQUIRED, on the disk"
    )));
    figures.push(flush);
    figures.push(closed_loops(dir, &target, &keys, &mut known).await?);
    known.are_listed(&target).await?;
    node.stop().await?;
    Ok(BenchReport::new("a2a", None, figures))
}

/// The callers, each with a bounded number of quotes.
struct Keys {
    all: Arc<[String]>,
    spent: Arc<AtomicUsize>,
}

impl Keys {
    /// Messages that ask for quotes, until all keys are spent.
    fn quotes(&self, of: String) -> Requests {
        let (all, spent) = (self.all.clone(), self.spent.clone());
        Arc::new(move |number| {
            let quoted = spent.fetch_add(1, Ordering::Relaxed);
            // In turn: of one key, few may wait for a price at once.
            let key = all.get(quoted % all.len().max(1)).filter(|_| quoted < all.len() * QUOTES)?;
            Some((Some(key.clone()), quote(&of, number)))
        })
    }
}

/// The tasks that were answered, under the key that asked; none for the peer.
#[derive(Default)]
struct Known(HashMap<Option<String>, HashSet<String>>);

impl Known {
    /// Every answer must be a quote: a task that waits for input and that no answer before it was.
    fn add(&mut self, answers: impl IntoIterator<Item = Answered>) -> Result<(), Problem> {
        for (key, _, answer) in answers {
            let value: Value = serde_json::from_slice(&answer).unwrap_or_default();
            let task = &value["result"]["task"];
            let id = task["id"].as_str().unwrap_or_default();
            let waits = task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED";
            if !waits || id.is_empty() || !self.0.entry(key).or_default().insert(id.to_owned()) {
                return Err(wrong(format!("an answer is no new quote: {}", String::from_utf8_lossy(&answer))));
            }
        }
        Ok(())
    }

    /// What was answered to a key is what the node lists for it.
    async fn are_listed(&self, target: &Target) -> Result<(), Problem> {
        let mut connection = target.connect().await?;
        for (key, tasks) in &self.0 {
            let answer = connection.ask(key.as_deref(), &rpc("ListTasks", json!({"pageSize": 100}))).await?;
            let listed: Value = serde_json::from_slice(&answer).unwrap_or_default();
            let ids = listed["result"]["tasks"].as_array().into_iter().flatten();
            let ids: HashSet<&str> = ids.filter_map(|task| task["id"].as_str()).collect();
            if ids != tasks.iter().map(String::as_str).collect() {
                return Err(wrong(format!(
                    "{} tasks were answered to a key, the node lists {}",
                    tasks.len(),
                    ids.len()
                )));
            }
        }
        Ok(())
    }
}

/// A node that sells to the holders of the keys it returns, with limits far above the load.
async fn set_up(data: &Path, worker: Option<&Path>) -> Result<Vec<String>, Problem> {
    let running = throw_away(data, worker).await?;
    let set_up = async {
        let node = &running.node;
        node.set("requests_per_second", 100_000.into()).await?;
        node.set("streams", 10_000.into()).await?;
        node.set("selling", true.into()).await?;
        if let Some(worker) = worker {
            node.set("worker", worker.display().to_string().into()).await?;
        }
        // Together, so that they share what is flushed.
        let issue = async |number| {
            let input = KeyInput { name: format!("load {number}"), credit_limit_micro_usd: 1_000_000 };
            node.issue_key(input).await.map(|issued| issued.key)
        };
        stream::iter(0..KEYS).map(issue).buffered(CONNECTIONS).try_collect().await
    };
    let keys = set_up.await;
    running.stop().await;
    keys
}

/// `tender serve` in a process of its own, killed when dropped.
struct Served {
    child: Child,
    a2a: String,
}

impl Served {
    async fn start(data: &Path) -> Result<Self, Problem> {
        let failed = |why: String| Problem::new(Code::Unavailable, why, "run `tender serve` by hand to see more");
        let tender = std::env::current_exe().map_err(|e| failed(format!("this program is not found: {e}")))?;
        let mut child = Command::new(tender)
            .args(["serve", "--json", "--identity", "file", "--a2a", "127.0.0.1:0", "--api", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(format!("the node does not start: {e}")))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("the node has no output".to_owned()))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START_LIMIT, lines.next_line())
            .await
            .ok()
            .and_then(|line| line.ok().flatten())
            .ok_or_else(|| failed("the node did not start".to_owned()))?;
        // What it commits would fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let started: Value = serde_json::from_str(&line).unwrap_or_default();
        let a2a = started["a2a"].as_str().ok_or_else(|| failed(format!("the node said {line}")))?.to_owned();
        Ok(Self { child, a2a })
    }

    /// Resident memory, in bytes; none where the system does not tell.
    fn resident(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
    }

    /// Ends it; what it has acknowledged is on the disk.
    async fn stop(mut self) -> Result<(), Problem> {
        self.child.kill().await.map_err(|e| wrong(format!("the node cannot be ended: {e}")))
    }
}

fn rpc(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

/// A message that asks for a small product of matrices, with an id that no other has.
fn quote(of: &str, number: u64) -> String {
    // Two 2 × 2 matrices of zeros.
    let job = json!({"kind": "gemm", "m": 2, "k": 2, "n": 2, "input_base64": "A".repeat(43) + "="});
    let message = json!({"messageId": format!("{of}-{number}"), "role": "ROLE_USER", "parts": [{"data": job}]});
    rpc("SendMessage", json!({"message": message}))
}

/// Times of writes that are flushed, in milliseconds.
fn flushes(dir: &Path) -> Result<Vec<f64>, Problem> {
    let failed = |e: std::io::Error| Problem::new(Code::Storage, format!("{}: {e}", dir.display()), "free the disk");
    let mut file = File::create(dir.join("flushed")).map_err(failed)?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let started = Instant::now();
        file.write_all(&[0xa5; FLUSHED_BYTES]).and_then(|()| file.sync_data()).map_err(failed)?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Quotes that nobody answers, to be followed, each with its key.
async fn parked(target: &Target, keys: &Keys, known: &mut Known) -> Result<Vec<(Option<String>, String)>, Problem> {
    let quotes = keys.quotes("parked".to_owned());
    let requests: Requests = Arc::new(move |number| quotes(number).filter(|_| number < STREAMS as u64));
    known.add(target.closed_loop(1, PARKING_LIMIT, &requests).await?.1)?;
    let each = known.0.iter().flat_map(|(key, tasks)| tasks.iter().map(|task| (key.clone(), task.clone())));
    let parked: Vec<_> = each.collect();
    match parked.len() {
        STREAMS => Ok(parked),
        few => Err(wrong(format!("only {few} of {STREAMS} quotes came within {} s", PARKING_LIMIT.as_secs()))),
    }
}

/// What an open stream costs in the server.
async fn stream_memory(node: &Served, target: &Target, parked: &[(Option<String>, String)]) -> Result<Figure, Problem> {
    let figure = |values| Figure::of("stream_memory", "kB", values);
    if open_files().is_none_or(|files| files < OPEN_FILES) {
        return Ok(figure(Vec::new()).because(format!("not measured: it needs `ulimit -n {OPEN_FILES}` on Linux")));
    }
    // The first stream loads what all share.
    drop(follow(target, &parked[0]).await?);
    tokio::time::sleep(SETTLE).await;
    let before = node.resident();
    let mut streams = Vec::with_capacity(parked.len());
    for follower in parked {
        streams.push(follow(target, follower).await?);
    }
    tokio::time::sleep(SETTLE).await;
    let during = node.resident();
    // All of them are still open: each gets its next keep-alive.
    for stream in &mut streams {
        let alive = tokio::time::timeout(SETTLE, stream.line(":")).await;
        alive.map_err(|_| wrong("an open stream is silent"))??;
    }
    let Some((before, during)) = before.zip(during) else {
        return Ok(figure(Vec::new()).because("not measured: resident memory is read from Linux"));
    };
    let each = (during - before) / 1e3 / streams.len() as f64;
    let (before, during) = (before / 1e6, during / 1e6);
    Ok(figure(vec![each]).because(format!(
        "resident memory of the node, {before:.1} MB without streams and {during:.1} MB with {} that follow a task each, \
         a connection each",
        streams.len()
    )))
}

async fn follow(target: &Target, (key, task): &(Option<String>, String)) -> Result<Connection, Problem> {
    let mut connection = target.connect().await?;
    let first = connection.stream(key.as_deref(), &rpc("SubscribeToTask", json!({"id": task}))).await?;
    match serde_json::from_str::<Value>(&first) {
        Ok(value) if value["result"]["task"]["id"] == task.as_str() => Ok(connection),
        _ => Err(wrong(format!("a stream begins with {first}"))),
    }
}

/// How many files this process may have open, and so its children.
fn open_files() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Ours and the Python SDK's in turn, as fast as they answer.
async fn closed_loops(dir: &Path, target: &Target, keys: &Keys, known: &mut Known) -> Result<Figure, Problem> {
    let database: PathBuf = dir.join("peer.db");
    let mut peer = Peer::a2a(&database).await;
    let mut theirs = Vec::new();
    let mut ours = Vec::new();
    let mut told = Known::default();
    for round in 0..ROUNDS {
        let of = format!("closed-{round}");
        let (rate, answers) = target.closed_loop(CONNECTIONS, CLOSED, &keys.quotes(of.clone())).await?;
        if answers.is_empty() {
            return Err(wrong("all keys are spent: this machine is faster than the benchmark provides for"));
        }
        known.add(answers)?;
        ours.push(rate);
        if let Ok(running) = &peer {
            let measured = async {
                let target = Target::new(&running.said("url"))?;
                let requests: Requests = Arc::new(move |number| Some((None, quote(&of, number))));
                let (rate, answers) = target.closed_loop(CONNECTIONS, CLOSED, &requests).await?;
                told.add(answers)?;
                Ok::<_, Problem>(rate)
            };
            match measured.await {
                Ok(rate) => theirs.push(rate),
                Err(problem) => peer = Err(problem.message),
            }
        }
    }
    let name = peer.as_ref().map(Peer::name).unwrap_or_default();
    let absent = peer.err();
    // Half a comparison is none.
    let theirs = if absent.is_some() { Vec::new() } else { theirs };
    let figure = Figure::of("requests_per_second", "requests/s", ours).because(format!(
        "{CONNECTIONS} connections in closed loop, {} s a round, in turn with the peer, whose store is SQLite with a \
         write-ahead log that every commit flushes, as ours; every answer of both is a stored task in INPUT_REQUIRED",
        CLOSED.as_secs()
    ));
    Ok(figure.beside(&name, &theirs, absent.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_quotes_are_answers() {
        let answer = |id: &str, state: &str| {
            json!({"result": {"task": {"id": id, "status": {"state": state}}}}).to_string().into_bytes()
        };
        let mut known = Known::default();
        let mut add = |key: &str, answer| known.add([(Some(key.to_owned()), 1.0, answer)]);
        add("k", answer("a", "TASK_STATE_INPUT_REQUIRED")).unwrap();
        add("k", answer("b", "TASK_STATE_INPUT_REQUIRED")).unwrap();
        for bad in [
            answer("a", "TASK_STATE_INPUT_REQUIRED"),
            answer("c", "TASK_STATE_COMPLETED"),
            br#"{"error":{"code":-32603}}"#.to_vec(),
            b"no JSON".to_vec(),
        ] {
            add("k", bad).unwrap_err();
        }
        assert_eq!(known.0[&Some("k".to_owned())].len(), 2);
    }
}
