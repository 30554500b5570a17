//! The real command line.

use serde_json::Value;
use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Longest that a command of the command line may take here before the test is stopped: lavapipe on two loaded cores.
const COMMAND_SECONDS: &str = "120";

/// The folder with `tender` and `tender-worker`: where Cargo puts the programs of the profile that built this test.
///
/// # Panics
/// When one of them is missing, with the command that builds them: Cargo builds the programs of other packages for no
/// test.
#[must_use]
pub fn programs() -> PathBuf {
    let test = env::current_exe().unwrap();
    // target/PROFILE/deps/TEST
    let folder = test.ancestors().nth(2).unwrap().to_owned();
    for name in ["tender", "tender-worker"] {
        let program = folder.join(name);
        assert!(
            program.is_file(),
            "{} is missing; build it first: cargo build -p tender-cli -p tender-compute",
            program.display()
        );
    }
    folder
}

/// A command whose environment does not depend on who runs the test: no settings of a real node, no keyring.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in ["TENDER_DATA_DIR", "TENDER_A2A", "TENDER_API", "DBUS_SESSION_BUS_ADDRESS"] {
        command.env_remove(name);
    }
    // The graphics drivers look for it and complain without it.
    if env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", env::temp_dir());
    }
    command.stdin(Stdio::null());
    command
}

/// `tender` on one data directory.
#[derive(Clone, Debug)]
pub struct Cli {
    data_dir: PathBuf,
    namespace: Option<String>,
    env: Vec<(OsString, OsString)>,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Whether its exit status was zero.
    pub ok: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Cli {
    /// For the node, or the data, of this directory.
    #[must_use]
    pub fn on(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), namespace: None, env: Vec::new() }
    }

    /// Runs it inside a network namespace.
    #[must_use]
    pub fn in_namespace(mut self, name: &str) -> Self {
        self.namespace = Some(name.to_owned());
        self
    }

    /// With one more environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs `tender ARGS` to its end.
    ///
    /// # Panics
    /// When it cannot be started or does not end in time.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Said {
        // `timeout` rather than a wait of our own: also what hangs inside a namespace is ended.
        let mut command = match &self.namespace {
            Some(name) => {
                let mut command = clean("ip");
                command.args(["netns", "exec", name, "timeout", "--kill-after=5", COMMAND_SECONDS]);
                command
            }
            None => {
                let mut command = clean("timeout");
                command.args(["--kill-after=5", COMMAND_SECONDS]);
                command
            }
        };
        command.arg(programs().join("tender")).args(args).arg("--data-dir").arg(&self.data_dir);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let Output { status, stdout, stderr } = command.output().unwrap();
        assert!(status.code() != Some(124), "tender {args:?} did not end within {COMMAND_SECONDS} s");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { ok: status.success(), out: text(stdout), err: text(stderr) }
    }

    /// Runs `tender ARGS --json` and reads its one JSON document.
    ///
    /// # Panics
    /// When it fails, or prints anything but one JSON document on one line.
    #[must_use]
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let said = self.run(&all);
        assert!(said.ok, "tender {all:?} failed: {}", said.err);
        assert_eq!(said.out.lines().count(), 1, "tender {all:?} printed {:?}", said.out);
        serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("tender {all:?} printed no JSON ({e}): {}", said.out))
    }

    /// Runs `tender ARGS`, which must fail, and returns its one line on standard error.
    ///
    /// # Panics
    /// When it succeeds, or says more or less than one line.
    #[must_use]
    pub fn fails(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert!(!said.ok, "tender {args:?} succeeded: {}", said.out);
        let line = said.err.trim_end();
        assert!(!line.is_empty() && line.lines().count() == 1, "tender {args:?} said {line:?}");
        line.to_owned()
    }
}
