//! The stages of `cargo xtask test`. Cheap ones first; everything Rust is built with one profile and for the whole
//! workspace, so that no stage builds again what another has built.

use crate::{command, test::Stage, ui, workspace::Workspace};
use serde_json::Value;
use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tender_base::{Code, Problem};

/// All of them, in order.
pub const ALL: &[Stage] = &[
    Stage { name: "format", run: format },
    Stage { name: "deny", run: deny },
    Stage { name: "ui-build", run: ui_build },
    Stage { name: "ui-check", run: ui_check },
    Stage { name: "ui-unit", run: ui_unit },
    Stage { name: "clippy", run: clippy },
    Stage { name: "build", run: build },
    Stage { name: "types", run: types },
    Stage { name: "rust", run: rust },
    Stage { name: "browser", run: browser },
    Stage { name: "desktop", run: desktop },
];

/// How long a node that was asked to end may drain (its own limit is 15 s).
const NODE_END_LIMIT: Duration = Duration::from_secs(20);

fn format(workspace: &Workspace) -> Result<u64, Problem> {
    command::run(workspace.cargo().args(["fmt", "--all", "--check"]))
        .map_err(|problem| Problem::new(problem.code, problem.message, "run: cargo fmt --all"))?;
    Ok(0)
}

fn deny(workspace: &Workspace) -> Result<u64, Problem> {
    command::run(workspace.cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]))?;
    Ok(0)
}

fn ui_build(workspace: &Workspace) -> Result<u64, Problem> {
    ui::build(workspace)?;
    Ok(0)
}

fn ui_check(workspace: &Workspace) -> Result<u64, Problem> {
    command::run(workspace.npm().args(["run", "check"]))?;
    Ok(0)
}

fn ui_unit(workspace: &Workspace) -> Result<u64, Problem> {
    command::run_tests(workspace.npm().args(["test"]))
}

fn clippy(workspace: &Workspace) -> Result<u64, Problem> {
    command::run(workspace.cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "--deny",
        "warnings",
    ]))?;
    Ok(0)
}

/// Programs and tests in one go: separately, their dependencies would be built with different features.
fn build(workspace: &Workspace) -> Result<u64, Problem> {
    command::run(workspace.cargo().args(["build", "--workspace", "--all-targets", "--locked"]))?;
    Ok(0)
}

fn types(workspace: &Workspace) -> Result<u64, Problem> {
    command::run(nextest(workspace).args(["--filterset", "test(typescript_types_are_fresh)"]))?;
    // Counted with the others of its kind.
    Ok(0)
}

fn rust(workspace: &Workspace) -> Result<u64, Problem> {
    command::run_tests(&mut nextest(workspace))
}

/// The UI in Debian's Chromium, against a node of its own.
fn browser(workspace: &Workspace) -> Result<u64, Problem> {
    let node = ServedNode::start(workspace)?;
    let passed = command::run_tests(workspace.npm().args(["run", "e2e"]).env("TENDER_URL", &node.address));
    let ended = node.end();
    let passed = passed?;
    ended.map(|()| passed)
}

/// The app in its own window.
fn desktop(workspace: &Workspace) -> Result<u64, Problem> {
    command::run_tests(nextest(workspace).args(["--profile", "desktop"]))
}

/// The tests of the whole workspace; arguments say which.
pub fn nextest(workspace: &Workspace) -> Command {
    let mut command = workspace.cargo();
    command.args(["nextest", "run", "--workspace", "--locked"]);
    // A bare machine has no session; the bus and the tray's icon want their folder.
    if env::var_os("XDG_RUNTIME_DIR").is_none()
        && let Some(folder) = runtime_folder()
    {
        command.env("XDG_RUNTIME_DIR", folder);
    }
    command
}

/// A folder that only this user can read, in a place short enough for the names of sockets.
#[cfg(unix)]
fn runtime_folder() -> Option<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    let user = command::answer(Command::new("id").arg("-u"))?;
    let folder = env::temp_dir().join(format!("tender-runtime-{user}"));
    // It may be left from an earlier run; what counts is whose it is.
    let _ = fs::DirBuilder::new().mode(0o700).create(&folder);
    let found = fs::symlink_metadata(&folder).ok()?;
    let ours = found.is_dir() && found.uid().to_string() == user && found.permissions().mode() & 0o077 == 0;
    ours.then_some(folder)
}

#[cfg(not(unix))]
fn runtime_folder() -> Option<PathBuf> {
    None
}

/// A node with a new data directory that ends with this value.
struct ServedNode {
    child: Child,
    data_dir: PathBuf,
    /// Address of the UI, with its token.
    address: String,
}

impl ServedNode {
    fn start(workspace: &Workspace) -> Result<Self, Problem> {
        let data_dir = workspace.target.join("browser-node");
        let _ = fs::remove_dir_all(&data_dir);
        let program = workspace.program("tender");
        let mut child = Command::new(&program)
            .args(["serve", "--a2a", "127.0.0.1:0", "--api", "127.0.0.1:0", "--json", "--data-dir"])
            .arg(&data_dir)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                Problem::new(
                    Code::Unavailable,
                    format!("{} does not start: {error}", program.display()),
                    "build it first: cargo xtask test --stage build",
                )
            })?;
        let mut lines = child.stdout.take().map(|out| BufReader::new(out).lines());
        let first = lines.as_mut().and_then(|lines| lines.next()).and_then(Result::ok).unwrap_or_default();
        // Unread events would fill the pipe and stop the node.
        thread::spawn(move || lines.map(|lines| lines.map_while(Result::ok).for_each(drop)));
        let address = serde_json::from_str::<Value>(&first)
            .ok()
            .and_then(|value| value["api"].as_str().map(str::to_owned))
            .unwrap_or_default();
        let node = Self { child, data_dir, address };
        if node.address.is_empty() {
            return Err(Problem::new(Code::WorkFailed, format!("the node did not say its address but: {first}"), ""));
        }
        Ok(node)
    }

    /// Asks it to end, as a user's session would, and waits.
    fn end(mut self) -> Result<(), Problem> {
        let asked = Instant::now();
        command::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        while asked.elapsed() < NODE_END_LIMIT {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(Problem::new(Code::WorkFailed, format!("the node ended with {status}"), ""));
                }
                Ok(None) => thread::sleep(Duration::from_millis(50)),
                Err(error) => return Err(Problem::new(Code::Lost, format!("the node is out of reach: {error}"), "")),
            }
        }
        let limit = NODE_END_LIMIT.as_secs();
        Err(Problem::new(Code::WorkFailed, format!("the node did not end within {limit} s of SIGTERM"), ""))
    }
}

impl Drop for ServedNode {
    fn drop(&mut self) {
        // Without effect when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data_dir);
    }
}
