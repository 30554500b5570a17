//! `tender bench a2a`: the A2A interface of a node in a process of its own, under load. A request is a message that
//! asks for work; its answer, a quote, is a task that is on the disk before it is told.

use super::{
    BenchReport, Figure, ROUNDS,
    load::{Connection, Target},
    peer::Peer,
    wrong,
};
use crate::{api::types::KeyInput, demo::throw_away};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
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
const START_LIMIT: Duration = Duration::from_secs(30);

/// Measures under `dir`, which the caller deletes, on the same disk.
///
/// # Errors
/// The first thing that failed, and any answer that is not a quote.
pub async fn a2a(dir: &Path, worker: Option<&Path>) -> Result<BenchReport, Problem> {
    let data = dir.join("node");
    let key = set_up(&data, worker).await?;
    let mut figures = Vec::new();

    // Memory first, in a process that has done nothing else: what a load leaves behind would be reused.
    let node = Served::start(&data).await?;
    let target = Target::new(&node.a2a, Some(&key))?;
    let parked = parked(&target).await?;
    node.stop().await?;
    let node = Served::start(&data).await?;
    figures.push(stream_memory(&node, &Target::new(&node.a2a, Some(&key))?, &parked).await?);
    node.stop().await?;

    let node = Served::start(&data).await?;
    let target = Target::new(&node.a2a, Some(&key))?;
    let mut known: HashSet<String> = parked.into_iter().collect();
    let mut flushes = flushes(dir)?;
    let body: Arc<dyn Fn(u64) -> String + Send + Sync> = Arc::new(|number| quote("warm", number));
    let answers = target.open_loop(CONNECTIONS, PER_SECOND, WARM_UP, &body).await?;
    checked(answers.into_iter().map(|(_, answer)| answer), &mut known)?;
    let body: Arc<dyn Fn(u64) -> String + Send + Sync> = Arc::new(|number| quote("open", number));
    let (times, answers): (Vec<f64>, Vec<Vec<u8>>) =
        target.open_loop(CONNECTIONS, PER_SECOND, REQUESTS, &body).await?.into_iter().unzip();
    checked(answers, &mut known)?;
    flushes.extend(self::flushes(dir)?);
    let flush = Figure::of("flush", "ms", flushes).because(format!(
        "write and fsync of {FLUSHED_BYTES} bytes in the same folder, half before the open loop and half after it"
    ));
    figures.push(Figure::of("send_message", "ms", times).because(format!(
        "{CONNECTIONS} connections, {PER_SECOND} requests/s in open loop, each counted from its intended start; every \
         answer is a task of its own in INPUT_REQUIRED, on the disk"
    )));
    figures.push(flush);
    figures.push(closed_loops(dir, &target, &mut known).await?);

    // What was answered is what is there.
    let mut connection = target.connect().await?;
    let answer = connection.ask(&rpc("ListTasks", json!({"pageSize": 1}))).await?;
    let listed = serde_json::from_slice::<Value>(&answer).unwrap_or_default()["result"]["totalSize"].as_u64();
    if listed != Some(known.len() as u64) {
        return Err(wrong(format!("{} tasks were answered, the node lists {listed:?}", known.len())));
    }
    node.stop().await?;
    Ok(BenchReport::new("a2a", None, figures))
}

/// A node that sells to the holder of the key it returns, with limits far above the load.
async fn set_up(data: &Path, worker: Option<&Path>) -> Result<String, Problem> {
    let running = throw_away(data, worker).await?;
    let set_up = async {
        let node = &running.node;
        node.set("requests_per_second", 100_000.into()).await?;
        node.set("streams", 10_000.into()).await?;
        node.set("selling", true.into()).await?;
        if let Some(worker) = worker {
            node.set("worker", worker.display().to_string().into()).await?;
        }
        let input = KeyInput { name: "load".to_owned(), credit_limit_micro_usd: 1_000_000 };
        Ok(node.issue_key(input).await?.key)
    };
    let key = set_up.await;
    running.stop().await;
    key
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

/// Every answer must be a quote: a task that waits for input and that no answer before it was.
fn checked(answers: impl IntoIterator<Item = Vec<u8>>, known: &mut HashSet<String>) -> Result<(), Problem> {
    for answer in answers {
        let value: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let task = &value["result"]["task"];
        let id = task["id"].as_str().unwrap_or_default();
        let waits = task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED";
        if !waits || id.is_empty() || !known.insert(id.to_owned()) {
            return Err(wrong(format!("an answer is no new quote: {}", String::from_utf8_lossy(&answer))));
        }
    }
    Ok(())
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

/// Quotes that nobody answers, to be followed.
async fn parked(target: &Target) -> Result<Vec<String>, Problem> {
    let mut connection = target.connect().await?;
    let mut known = HashSet::new();
    for number in 0..STREAMS as u64 {
        checked([connection.ask(&quote("parked", number)).await?], &mut known)?;
    }
    Ok(known.into_iter().collect())
}

/// What an open stream costs in the server.
async fn stream_memory(node: &Served, target: &Target, parked: &[String]) -> Result<Figure, Problem> {
    let figure = |values| Figure::of("stream_memory", "kB", values);
    if open_files().is_none_or(|files| files < OPEN_FILES) {
        return Ok(figure(Vec::new()).because(format!("not measured: it needs `ulimit -n {OPEN_FILES}` on Linux")));
    }
    // The first stream loads what all share.
    drop(follow(target, &parked[0]).await?);
    tokio::time::sleep(SETTLE).await;
    let before = node.resident();
    let mut streams = Vec::with_capacity(parked.len());
    for task in parked {
        streams.push(follow(target, task).await?);
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

async fn follow(target: &Target, task: &str) -> Result<Connection, Problem> {
    let mut connection = target.connect().await?;
    let first = connection.stream(&rpc("SubscribeToTask", json!({"id": task}))).await?;
    match serde_json::from_str::<Value>(&first) {
        Ok(value) if value["result"]["task"]["id"] == task => Ok(connection),
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
async fn closed_loops(dir: &Path, target: &Target, known: &mut HashSet<String>) -> Result<Figure, Problem> {
    let database: PathBuf = dir.join("peer.db");
    let mut peer = Peer::a2a(&database).await;
    let mut theirs = Vec::new();
    let mut ours = Vec::new();
    let mut told = HashSet::new();
    for round in 0..ROUNDS {
        let body: Arc<dyn Fn(u64) -> String + Send + Sync> =
            Arc::new(move |number| quote(&format!("closed-{round}"), number));
        let (rate, answers) = target.closed_loop(CONNECTIONS, CLOSED, &body).await?;
        checked(answers, known)?;
        ours.push(rate);
        if let Ok(running) = &peer {
            let measured = async {
                let target = Target::new(&running.said("url"), None)?;
                let (rate, answers) = target.closed_loop(CONNECTIONS, CLOSED, &body).await?;
                checked(answers, &mut told)?;
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
        let mut known = HashSet::new();
        let quotes = [answer("a", "TASK_STATE_INPUT_REQUIRED"), answer("b", "TASK_STATE_INPUT_REQUIRED")];
        checked(quotes, &mut known).unwrap();
        assert_eq!(known.len(), 2);
        for bad in [
            answer("a", "TASK_STATE_INPUT_REQUIRED"),
            answer("c", "TASK_STATE_COMPLETED"),
            br#"{"error":{"code":-32603}}"#.to_vec(),
            b"no JSON".to_vec(),
        ] {
            checked([bad], &mut known).unwrap_err();
        }
    }
}
