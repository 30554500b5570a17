//! What is compared with: the programs of `tests/peers`, which `cargo xtask peers` installs. They read a JSON request
//! per line and answer each by a line.

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// Longest until a peer has loaded its model or answered; llama.cpp writes one token a second on a CPU adapter.
const LIMIT: Duration = Duration::from_secs(240);

/// A peer that runs. Dropping it ends it.
pub(super) struct Peer {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it said of itself.
    about: Value,
}

impl Peer {
    /// llama.cpp on Vulkan with the model in `file`, or why it is not there.
    pub(super) async fn llama(file: &Path) -> Result<Self, String> {
        let root = root()?;
        let mut command = Command::new("node");
        command.arg(root.join("tests/peers/llama.mjs")).args(["--device", "vulkan", "--context", "1024", "--model"]);
        Self::start(command.arg(file)).await
    }

    /// cuBLAS, or why it is not there.
    pub(super) async fn cublas() -> Result<Self, String> {
        let root = root()?;
        let python = root.join("target/peers/python/bin/python");
        if !python.is_file() {
            return Err("cuBLAS is not installed: it needs an NVIDIA driver and `cargo xtask peers`".to_owned());
        }
        Self::start(Command::new(python).arg(root.join("tests/peers/cublas.py"))).await
    }

    /// The official Python SDK's A2A server with its durable store in `database`, or why it is not there.
    pub(super) async fn a2a(database: &Path) -> Result<Self, String> {
        Self::start(python("a2a", "server.py")?.arg(database)).await
    }

    /// pymcdm, or why it is not there.
    pub(super) async fn economics() -> Result<Self, String> {
        Self::start(&mut python("economics", "rank.py")?).await
    }

    async fn start(command: &mut Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("the peer does not start: {e}"))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the peer's pipes are missing".to_owned());
        };
        let mut peer = Self { _child: child, stdin, lines: BufReader::new(stdout).lines(), about: Value::Null };
        peer.about = peer.line().await?;
        match peer.about["ready"].as_bool() {
            Some(true) => Ok(peer),
            _ => Err(peer.about["error"].as_str().unwrap_or("the peer is not ready").to_owned()),
        }
    }

    /// Engine, build and adapter.
    pub(super) fn name(&self) -> String {
        format!("{} {} on {}", self.said("engine"), self.said("build"), self.said("adapter"))
    }

    /// A word of what it said of itself.
    pub(super) fn said(&self, field: &str) -> String {
        self.about[field].as_str().unwrap_or("?").to_owned()
    }

    /// One request and its answer.
    pub(super) async fn ask(&mut self, request: Value) -> Result<Value, String> {
        self.stdin.write_all(format!("{request}\n").as_bytes()).await.map_err(|e| format!("the peer ended: {e}"))?;
        let answer = self.line().await?;
        match answer["error"].as_str() {
            Some(error) => Err(format!("the peer failed: {error}")),
            None => Ok(answer),
        }
    }

    async fn line(&mut self) -> Result<Value, String> {
        let line = tokio::time::timeout(LIMIT, self.lines.next_line())
            .await
            .map_err(|_| format!("the peer did not answer within {} s", LIMIT.as_secs()))?
            .map_err(|e| format!("the peer cannot be read: {e}"))?
            .ok_or("the peer ended without a word")?;
        serde_json::from_str(&line).map_err(|e| format!("the peer's answer is no JSON: {e}"))
    }
}

/// A script of `tests/peers/FOLDER` with the packages pinned there and no others, or why they are not there.
fn python(folder: &str, script: &str) -> Result<Command, String> {
    let root = root()?;
    // Where Cargo built this program, `cargo xtask` installed it: target/PROFILE/tender, or a test in target/PROFILE/deps.
    let program = std::env::current_exe().ok();
    let mut above = program.iter().flat_map(|program| program.ancestors());
    let peers = above.find(|folder| folder.join("peers").is_dir()).map_or_else(|| root.join("target"), Path::to_owned);
    let packages = peers.join("peers").join(folder).join("python");
    if !packages.join(".tender-lock").is_file() {
        return Err(format!("the packages of tests/peers/{folder} are not installed: run `cargo xtask peers`"));
    }
    let mut command = Command::new("python3");
    command.arg(root.join("tests/peers").join(folder).join(script));
    command.env("PYTHONPATH", packages).env("PYTHONNOUSERSITE", "1");
    Ok(command)
}

/// The checkout: peers are a matter of developers.
fn root() -> Result<PathBuf, String> {
    let from = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let mut above = from.iter().flatten().flat_map(|path| path.ancestors());
    let found = above.find(|folder| folder.join("tests/peers/llama.mjs").is_file());
    found.map(Path::to_owned).ok_or_else(|| "peers are compared with inside a checkout of Tender only".to_owned())
}

/// The one measurement of an answer's figure.
pub(super) fn median(answer: &Value, figure: &str) -> Option<f64> {
    answer[figure]["median"].as_f64().filter(|value| value.is_finite() && *value > 0.0)
}
