//! The node this app is attached to. One that died is started again once; a second death soon after is a fault that
//! the owner has to look at. One that was ended, as by `systemctl --user stop tender`, is started when the owner says so.

use crate::notify;
use serde::Serialize;
use std::{
    env::{self, consts::EXE_SUFFIX},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tauri::State;
use tender_base::{Code, Problem};
use tender_node::attach::{Attached, NODE_FILE, NodeFile, default_data_dir};
use tokio::sync::Mutex;

/// Where the node that was started from here says why it ended.
const LOG_FILE: &str = "serve.log";
/// After a failed start the same answer is given for so long: a window that asks again and again must not start
/// a process each time.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// A node that dies twice within this time would die a third time.
const ONE_DEATH_PER: Duration = Duration::from_secs(600);

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
    /// A node answered; should none run now, it died.
    answered: bool,
    deaths: Deaths,
}

/// What is known of nodes that died.
#[derive(Default)]
struct Deaths {
    last: Option<Instant>,
    /// When a node was started in place of one that died.
    restarted: Option<SystemTime>,
    /// Why no other one is started.
    too_many: Option<Problem>,
}

impl Deaths {
    /// Another one, at `now`.
    fn count(&mut self, now: Instant, data_dir: &Path) {
        let soon = self.last.is_some_and(|last| now.duration_since(last) < ONE_DEATH_PER);
        self.last = Some(now);
        self.too_many = soon.then(|| {
            let minutes = ONE_DEATH_PER.as_secs() / 60;
            Problem::new(
                Code::Unavailable,
                format!("the node ended twice within {minutes} minutes and was not started again"),
                format!(
                    "what it acknowledged is stored; {} may say why it ended. Then start it again",
                    data_dir.join(LOG_FILE).display()
                ),
            )
        });
    }
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
            // A node that ends in order takes its file with it: somebody ended it, and may not want it back.
            None if link.answered && !self.data_dir.join(NODE_FILE).exists() => {
                return Err(Problem::new(
                    Code::Unavailable,
                    "the node was ended",
                    "choose to try now and it is started again",
                ));
            }
            None => {
                self.count_death(&mut link);
                match &link.deaths.too_many {
                    Some(problem) => return Err(problem.clone()),
                    None => Attached::find_or_start(&self.data_dir, &self.tender).await,
                }
            }
        };
        match found {
            Ok(attached) => {
                if !found_running {
                    link.started_here = true;
                    if link.deaths.last.is_some() {
                        link.deaths.restarted = Some(SystemTime::now());
                        notify::fault(
                            "The node was started again",
                            "It had ended by itself. What it had acknowledged is stored.",
                        );
                    }
                }
                link.failed = None;
                link.answered = true;
                link.deaths.too_many = None;
                link.attached = Some(attached.clone());
                Ok(attached)
            }
            Err(problem) => {
                link.failed = Some((Instant::now(), problem.clone()));
                Err(problem)
            }
        }
    }

    /// Nobody answers. When someone did before, that one died; it is counted once.
    fn count_death(&self, link: &mut Link) {
        if !std::mem::take(&mut link.answered) {
            return;
        }
        link.deaths.count(Instant::now(), &self.data_dir);
        if let Some(problem) = &link.deaths.too_many {
            notify::fault("The node ended again", &problem.message);
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
    /// When `node.json` cannot be read or the process cannot be signalled.
    pub async fn end(&self) -> Result<(), Problem> {
        let mut link = self.link.lock().await;
        link.ending = true;
        link.attached = None;
        if !link.started_here {
            return Ok(());
        }
        let unreadable =
            |error: String| Problem::new(Code::Storage, format!("{NODE_FILE} cannot be read: {error}"), "");
        let bytes = match fs::read(self.data_dir.join(NODE_FILE)) {
            Ok(bytes) => bytes,
            // It has ended, or is about to.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let file: NodeFile = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
        terminate(file.pid)
    }
}

/// What the window says about the node's process.
#[derive(Serialize)]
pub struct NodeHealth {
    /// When a node was started in place of one that died, in milliseconds since 1970.
    restarted_at_ms: Option<u64>,
}

/// Whether the node died and was started again.
#[tauri::command]
pub async fn node_health(node: State<'_, Arc<Node>>) -> Result<NodeHealth, Problem> {
    let restarted = node.link.lock().await.deaths.restarted;
    let since_1970 = restarted.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Ok(NodeHealth { restarted_at_ms: since_1970.and_then(|since| u64::try_from(since.as_millis()).ok()) })
}

/// Starts the node although it died too often or was ended: the owner says so.
///
/// # Errors
/// As [`Node::attached`].
#[tauri::command]
pub async fn start_node(node: State<'_, Arc<Node>>) -> Result<(), Problem> {
    {
        let mut link = node.link.lock().await;
        link.deaths = Deaths::default();
        link.failed = None;
        link.answered = false;
    }
    node.attached().await.map(|_| ())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_death_is_forgiven_and_a_second_one_soon_after_is_not() {
        let (mut deaths, start) = (Deaths::default(), Instant::now());
        deaths.count(start, Path::new("/data"));
        assert_eq!(deaths.too_many, None);
        deaths.count(start + ONE_DEATH_PER - Duration::from_secs(1), Path::new("/data"));
        let problem = deaths.too_many.clone().unwrap();
        assert!(problem.message.contains("twice") && problem.hint.contains("serve.log"), "{problem}");
        deaths.count(start + ONE_DEATH_PER * 3, Path::new("/data"));
        assert_eq!(deaths.too_many, None);
    }
}
