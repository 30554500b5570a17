//! One worker process: found, started with a bare environment, spoken to in bounded frames, killed.

use bytes::Bytes;
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tender_base::{
    Code, Problem,
    frames::{self, Reply, Request},
    job::{MAX_BLOB_BYTES, MAX_GENERATED_TOKENS},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::mpsc,
};

/// Name of the executable, beside that of the node.
const EXECUTABLE: &str = if cfg!(windows) { "tender-worker.exe" } else { "tender-worker" };
/// Longest line of the worker's diagnostics that is kept, in bytes.
const MAX_LINE_BYTES: u64 = 500;
/// Most lines that one worker process may log: drivers can be chatty without end.
const MAX_LINES: u32 = 500;
/// Longest text that a worker's refusal may carry; it may quote a client's kernel.
const MAX_MESSAGE_CHARS: usize = 2_000;
/// Replies read ahead of whoever takes them.
const REPLIES_AHEAD: usize = 64;
/// Most bytes of text in one reply: a token is some hundred bytes at most, and a stop sequence may hold a few back.
const MAX_PIECE_BYTES: u64 = 64 << 10;
/// How long a killed process may take to be gone. A hung GPU job was reaped in 7 ms; a driver stuck in the kernel
/// must not hang the node.
const REAP_LIMIT: Duration = Duration::from_secs(5);

/// Variables that a Vulkan driver needs to be found and to run; everything else stays outside: secrets, the home
/// directory, and the sockets of the desktop.
const KEPT: [&str; 7] = [
    "LD_LIBRARY_PATH",
    "SystemRoot",
    "SystemDrive",
    "LOCALAPPDATA",
    "TEMP",
    "NVIDIA_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
];
const KEPT_PREFIXES: [&str; 6] = ["VK_", "WGPU_", "MESA_", "LP_", "LVP_", "GALLIUM_"];
/// Drivers keep no compiled shaders: the worker can write nowhere, and what one client's kernel left in a cache would
/// be another's to load.
const NO_CACHES: [(&str, &str); 2] = [("MESA_SHADER_CACHE_DISABLE", "true"), ("__GL_SHADER_DISK_CACHE", "0")];

/// Finds `tender-worker`: the configured path, or the sibling of this executable.
///
/// # Errors
/// [`Code::Unavailable`], naming the path that was tried.
pub fn find_worker(setting: Option<&Path>) -> Result<PathBuf, Problem> {
    let path = match setting {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .map_err(|e| Problem::new(Code::Internal, format!("cannot tell where this executable is: {e}"), ""))?
            .with_file_name(EXECUTABLE),
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(Problem::new(
        Code::Unavailable,
        format!("there is no worker at {}", path.display()),
        format!("put {EXECUTABLE} beside the tender executable, or name it in the settings"),
    ))
}

/// A running worker process. Dropping it kills the process.
pub(crate) struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    last_words: Arc<Mutex<String>>,
}

impl Worker {
    /// Starts the process, which confines itself and can then read only `readable` and what drivers need. Must be
    /// called within a Tokio runtime.
    pub(crate) fn start(executable: &Path, readable: &[PathBuf]) -> Result<Self, Problem> {
        let failed = |e: std::io::Error| {
            Problem::new(
                Code::Unavailable,
                format!("the worker {} does not start: {e}", executable.display()),
                "check that the file is complete and executable, or install Tender again",
            )
        };
        let mut command = Command::new(executable);
        command.env_clear().envs(surroundings());
        for path in readable {
            // Absolute, since the worker runs elsewhere, and without links, which its rules do not follow.
            command.arg("--read").arg(path.canonicalize().or_else(|_| std::path::absolute(path)).map_err(failed)?);
        }
        if cfg!(unix) {
            // Not inside a folder that somebody may want to unmount.
            command.current_dir("/");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Problem::new(Code::Internal, "the worker's pipes are missing", ""));
        };
        let last_words = Arc::new(Mutex::new(String::new()));
        tokio::spawn(log(stderr, Arc::clone(&last_words)));
        Ok(Self { child, stdin, stdout: BufReader::new(stdout), last_words })
    }

    /// Its process, until it is gone.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends one request. Cancel-safe only in the sense that the worker must be killed afterwards.
    pub(crate) async fn send(&mut self, request: &Request, payload: &Bytes) -> Result<(), Problem> {
        match send(&mut self.stdin, request, payload).await? {
            Ok(()) => Ok(()),
            Err(_) => Err(self.death().await),
        }
    }

    /// Receives one reply. A payload longer than `most` bytes breaks the protocol, as does one on anything but
    /// [`Reply::Done`].
    pub(crate) async fn receive(&mut self, most: u64) -> Result<(Reply, Bytes), Problem> {
        let allowed = |reply: &Reply| if matches!(reply, Reply::Done { .. }) { most } else { 0 };
        match receive(&mut self.stdout, allowed).await {
            Ok(reply) => Ok(reply),
            Err(Broken::Closed) => Err(self.death().await),
            Err(Broken::Garbage(problem)) => Err(problem),
        }
    }

    /// For a worker that does several things at once: what goes in and what comes out, apart.
    pub(crate) fn split(self) -> (Feed, Replies) {
        let (came, replies) = mpsc::channel(REPLIES_AHEAD);
        let mut stdout = self.stdout;
        let reading = tokio::spawn(async move {
            loop {
                let reply = receive(&mut stdout, text_payload).await;
                let over = reply.is_err();
                if came.send(reply).await.is_err() || over {
                    return;
                }
            }
        });
        let words = Arc::clone(&self.last_words);
        let feed = Feed { child: self.child, stdin: self.stdin, reading };
        (feed, Replies { replies, words })
    }

    /// Kills the process and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        end(&mut self.child).await;
    }

    /// The problem of a process that closed its pipes.
    async fn death(&mut self) -> Problem {
        // Closed pipes without an exit are as good as dead; the kill makes both cases one.
        let ended = match tokio::time::timeout(Duration::from_millis(200), self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            _ => {
                let _ = self.child.start_kill();
                "closed its output".to_owned()
            }
        };
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        died(&ended, &words)
    }
}

/// What goes into a worker that does several things at once. Dropping it kills the process.
pub(crate) struct Feed {
    child: Child,
    stdin: ChildStdin,
    reading: tokio::task::JoinHandle<()>,
}

impl Feed {
    pub(crate) async fn send(&mut self, request: &Request, payload: &Bytes) -> Result<(), Problem> {
        send(&mut self.stdin, request, payload).await?.map_err(|_| died("its input is closed", ""))
    }

    /// Kills the process and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.reading.abort();
        end(&mut self.child).await;
    }
}

/// What comes out of it.
pub(crate) struct Replies {
    replies: mpsc::Receiver<Result<(Reply, Bytes), Broken>>,
    words: Arc<Mutex<String>>,
}

impl Replies {
    /// The next reply. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<(Reply, Bytes), Problem> {
        match self.replies.recv().await {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(Broken::Garbage(problem))) => Err(problem),
            Some(Err(Broken::Closed)) | None => {
                let words = self.words.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Err(died("closed its output", &words))
            }
        }
    }
}

/// Why nothing more can be read.
enum Broken {
    Closed,
    Garbage(Problem),
}

/// Most bytes that a reply about text may carry.
fn text_payload(reply: &Reply) -> u64 {
    match reply {
        Reply::Text { .. } => MAX_PIECE_BYTES,
        Reply::Generated { .. } => MAX_BLOB_BYTES,
        Reply::Scored { .. } => 4 * u64::from(MAX_GENERATED_TOKENS),
        _ => 0,
    }
}

async fn receive(
    stdout: &mut BufReader<ChildStdout>,
    allowed: impl Fn(&Reply) -> u64,
) -> Result<(Reply, Bytes), Broken> {
    let garbage = |what: String| Broken::Garbage(garbage(&what));
    let mut prefix = [0; 8];
    stdout.read_exact(&mut prefix).await.map_err(|_| Broken::Closed)?;
    let (header, payload) = frames::lengths(prefix).map_err(|e| garbage(e.to_string()))?;
    let mut text = vec![0; header];
    stdout.read_exact(&mut text).await.map_err(|_| Broken::Closed)?;
    let mut reply: Reply = serde_json::from_slice(&text).map_err(|e| garbage(e.to_string()))?;
    let most = allowed(&reply);
    if payload as u64 > most {
        return Err(garbage(format!("a payload of {payload} bytes where {most} were expected at most")));
    }
    let mut bytes = vec![0; payload];
    stdout.read_exact(&mut bytes).await.map_err(|_| Broken::Closed)?;
    if let Reply::Failed { problem } | Reply::Refused { problem, .. } = &mut reply {
        clip(&mut problem.message);
        clip(&mut problem.hint);
    }
    Ok((reply, bytes.into()))
}

/// The outer error is the request's own fault, the inner one a closed pipe.
async fn send(stdin: &mut ChildStdin, request: &Request, payload: &Bytes) -> Result<std::io::Result<()>, Problem> {
    let prefix = frames::prefix(request, payload)
        .map_err(|e| Problem::new(Code::TooLarge, format!("the order does not fit a frame: {e}"), "split the job"))?;
    let sent = async {
        stdin.write_all(&prefix).await?;
        stdin.write_all(payload).await?;
        stdin.flush().await
    };
    Ok(sent.await)
}

async fn end(child: &mut Child) {
    let _ = child.start_kill();
    if tokio::time::timeout(REAP_LIMIT, child.wait()).await.is_err() {
        tracing::warn!("the killed worker is still there; its driver hangs in the kernel");
    }
}

fn died(how: &str, words: &str) -> Problem {
    let message = if words.is_empty() {
        format!("the worker died ({how})")
    } else {
        format!("the worker died ({how}); its last words: {words}")
    };
    Problem::new(Code::Lost, message, "submit the job again; if it repeats, run `tender doctor`")
}

fn garbage(what: &str) -> Problem {
    Problem::new(
        Code::Lost,
        format!("the worker does not speak the expected protocol: {what}"),
        "install tender and tender-worker of the same version",
    )
}

fn clip(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(MAX_MESSAGE_CHARS) {
        text.truncate(at);
    }
}

/// The worker's environment.
pub(crate) fn surroundings() -> impl Iterator<Item = (OsString, OsString)> {
    let own = |(name, value): (&str, &str)| (OsString::from(name), OsString::from(value));
    // Mesa complains without a runtime directory; the owner's has the desktop's sockets in it.
    let runtime = cfg!(unix).then_some(("XDG_RUNTIME_DIR", "/"));
    environment(std::env::vars_os()).chain(NO_CACHES.into_iter().chain(runtime).map(own))
}

/// What of this process's environment the worker gets.
fn environment(all: impl Iterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (OsString, OsString)> {
    all.filter(|(name, _)| kept(name))
}

fn kept(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// Copies the worker's diagnostics to the log, bounded in length and number, and keeps the last line.
async fn log(stderr: ChildStderr, last_words: Arc<Mutex<String>>) {
    let mut reader = BufReader::new(stderr);
    let mut lines = 0;
    loop {
        let mut line = Vec::new();
        match (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        // After the limit the pipe is still emptied, or the worker would block on it.
        if lines < MAX_LINES {
            lines += 1;
            let text: String =
                String::from_utf8_lossy(&line).trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            if !text.is_empty() {
                // A field, not the sentence: a fault of a shader or a prompt names what a client wrote.
                tracing::info!(target: "tender_worker", line = text, "the worker said");
                *last_words.lock().unwrap_or_else(PoisonError::into_inner) = text;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_outside_and_drivers_are_found() {
        let given = ["HOME", "PATH", "AWS_SECRET", "VK_DRIVER_FILES", "LP_NUM_THREADS", "DBUS_SESSION_BUS_ADDRESS"]
            .map(|name| (OsString::from(name), OsString::from("x")));
        let names: Vec<_> = environment(given.into_iter()).map(|(name, _)| name).collect();
        assert_eq!(names, ["VK_DRIVER_FILES", "LP_NUM_THREADS"]);
    }

    #[test]
    fn a_missing_worker_is_named_with_its_remedy() {
        let problem = find_worker(Some(Path::new("/nowhere/tender-worker"))).unwrap_err();
        assert_eq!(problem.code, Code::Unavailable);
        assert!(problem.message.contains("/nowhere/tender-worker") && problem.hint.contains("settings"), "{problem}");
    }
}
