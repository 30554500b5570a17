//! The node this app is attached to.

use std::{
    env::{self, consts::EXE_SUFFIX},
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use tender_base::{Code, Problem};
use tender_node::attach::{Attached, NODE_FILE, NodeFile, default_data_dir};
use tokio::sync::Mutex;

/// After a failed start the same answer is given for so long: a window that asks again and again must not start
/// a process each time.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Finds the node, starts it when none runs, and finds it again when it was lost.
pub struct Node {
    data_dir: PathBuf,
    tender: PathBuf,
    link: Mutex<Link>,
}

#[derive(Default)]
struct Link {
    attached: Option<Attached>,
    /// This app started the node that runs.
    started_here: bool,
    /// The app is about to end; no node is started any more.
    ending: bool,
    failed: Option<(Instant, Problem)>,
}

impl Node {
    /// The node of the default data directory; `tender` is taken from `$TENDER_EXECUTABLE` or from beside this
    /// executable.
    ///
    /// # Errors
    /// When the system does not say where this executable lies.
    pub fn from_environment() -> std::io::Result<Self> {
        let tender = match env::var_os("TENDER_EXECUTABLE").filter(|value| !value.is_empty()) {
            Some(path) => PathBuf::from(path),
            None => env::current_exe()?.with_file_name(format!("tender{EXE_SUFFIX}")),
        };
        Ok(Self { data_dir: default_data_dir(), tender, link: Mutex::default() })
    }

    /// The node, started if need be.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when it does not start, with its own words.
    pub async fn attached(&self) -> Result<Attached, Problem> {
        let mut link = self.link.lock().await;
        if let Some(attached) = &link.attached {
            return Ok(attached.clone());
        }
        if link.ending {
            return Err(Problem::new(Code::Unavailable, "Tender is ending", ""));
        }
        if let Some((at, problem)) = &link.failed
            && at.elapsed() < RETRY_AFTER
        {
            return Err(problem.clone());
        }
        let running = Attached::find(&self.data_dir).await;
        let found_running = running.is_some();
        let found = match running {
            Some(attached) => Ok(attached),
            None => Attached::find_or_start(&self.data_dir, &self.tender).await,
        };
        match found {
            Ok(attached) => {
                link.started_here |= !found_running;
                link.failed = None;
                link.attached = Some(attached.clone());
                Ok(attached)
            }
            Err(problem) => {
                link.failed = Some((Instant::now(), problem.clone()));
                Err(problem)
            }
        }
    }

    /// The node did not answer: the next call looks for it anew.
    pub async fn lost(&self) {
        self.link.lock().await.attached = None;
    }

    /// Ends the node if this app started it; from now on none is started. What the node acknowledged is stored,
    /// and it drains by itself: nobody waits here.
    ///
    /// # Errors
    /// When `node.json` is gone or the process cannot be signalled.
    pub async fn end(&self) -> Result<(), Problem> {
        let mut link = self.link.lock().await;
        link.ending = true;
        link.attached = None;
        if !link.started_here {
            return Ok(());
        }
        let unreadable =
            |error: String| Problem::new(Code::Storage, format!("{NODE_FILE} cannot be read: {error}"), "");
        let bytes = fs::read(self.data_dir.join(NODE_FILE)).map_err(|e| unreadable(e.to_string()))?;
        let file: NodeFile = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
        terminate(file.pid)
    }
}

fn cannot_end(pid: u32, why: impl std::fmt::Display) -> Problem {
    Problem::new(Code::Unavailable, format!("the node (process {pid}) does not end: {why}"), "end it yourself")
}

#[cfg(unix)]
fn terminate(pid: u32) -> Result<(), Problem> {
    use rustix::process::{Pid, Signal, kill_process};
    let process =
        i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| cannot_end(pid, "no such process id"))?;
    kill_process(process, Signal::TERM).map_err(|error| cannot_end(pid, error))
}

#[cfg(not(unix))]
fn terminate(pid: u32) -> Result<(), Problem> {
    let status = std::process::Command::new("taskkill")
        .args(["/pid", &pid.to_string()])
        .status()
        .map_err(|error| cannot_end(pid, error))?;
    if status.success() { Ok(()) } else { Err(cannot_end(pid, status)) }
}
