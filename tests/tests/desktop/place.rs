//! Where the app runs: a display, a session bus and a data directory of its own, and what can be seen of it from
//! outside.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tender_node::attach::{Attached, NodeFile};

/// How often something that is waited for is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest that one thing is waited for, on two loaded cores.
pub const SOON: Duration = Duration::from_secs(60);

/// A session bus on which nothing starts by itself: portals take seconds, and are not what is tested.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
    "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
    <type>session</type>
    <listen>unix:tmpdir=/tmp</listen>
    <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"#;

/// A process that ends, with all it started, when this value does.
pub struct Group(Child);

impl Group {
    /// Starts it as the leader of a process group.
    pub fn start(command: &mut Command) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        match command.process_group(0).stdin(Stdio::null()).spawn() {
            Ok(child) => Self(child),
            Err(error) => panic!("{program} does not start: {error}; `cargo xtask test` installs it"),
        }
    }

    /// Starts a program that says one line when it is ready, and answers that line.
    fn start_and_read(command: &mut Command) -> (Self, String) {
        let mut group = Self::start(command.stdout(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(group.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let program = command.get_program().to_string_lossy().into_owned();
        assert!(!line.trim().is_empty(), "{program} ended without a word");
        (group, line.trim().to_owned())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        for signal in ["-TERM", "-KILL"] {
            let _ = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
            // The node drains for a moment; what is left after that is killed.
            for _ in 0..50 {
                if matches!(self.0.try_wait(), Ok(Some(_))) {
                    break;
                }
                std::thread::sleep(LOOK_EVERY);
            }
        }
        let _ = self.0.wait();
    }
}

/// A process of the app.
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
}

/// A session in which the app can be started.
pub struct Place {
    /// Address of its bus.
    pub bus: String,
    /// Name on the bus of who answered for the tray's menu.
    pub tray_menu: Mutex<Option<String>>,
    screen: String,
    // Ended in this order.
    _display: Group,
    _bus: Group,
    data: TempDir,
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        // An earlier test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        for program in ["tender-app", "tender", "tender-worker"] {
            let path = built().join(program);
            assert!(path.exists(), "{} is not built: run `cargo xtask test --stage build`", path.display());
        }
        let data = tempfile::tempdir().unwrap();
        node_on_free_ports(data.path());
        let config = data.path().join("bus.conf");
        fs::write(&config, BUS).unwrap();
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--nofork", "--print-address", "--config-file"]).arg(config);
        let (bus, address) = Group::start_and_read(&mut bus);
        let mut display = Command::new("Xvfb");
        display.args(["-displayfd", "1", "-screen", "0", "1400x1000x24", "-nolisten", "tcp"]).stderr(Stdio::null());
        let (display, number) = Group::start_and_read(&mut display);
        let screen = format!(":{number}");
        Self { bus: address, tray_menu: Mutex::default(), screen, _display: display, _bus: bus, data }
    }

    /// A program in this session.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let data = self.data.path();
        let mut command = Command::new(program.as_ref());
        command
            .env("DBUS_SESSION_BUS_ADDRESS", &self.bus)
            .env("DISPLAY", &self.screen)
            .env_remove("WAYLAND_DISPLAY")
            .env("GDK_BACKEND", "x11")
            // No GPU, no accessibility bus: neither is what is tested, and looking for them takes seconds.
            .env("WEBKIT_DISABLE_DMABUF_RENDERER", "1")
            .env("NO_AT_BRIDGE", "1")
            .env("TENDER_EXECUTABLE", data.join("tender"))
            .env("TENDER_DATA_DIR", self.node_folder())
            .env("XDG_CONFIG_HOME", self.config())
            .env("XDG_DATA_HOME", data.join("data"));
        command
    }

    /// The app, without a driver: seen from outside only.
    pub fn start_app(&self, arguments: &[&str]) -> Group {
        self.start_app_with(arguments, &[])
    }

    /// The app, with this in its environment.
    pub fn start_app_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Group {
        Group::start(self.command(built().join("tender-app")).args(arguments).envs(environment.iter().copied()))
    }

    /// A node that somebody else started, as a session's service would.
    pub async fn start_node(&self) -> Group {
        let node = Group::start(self.command(self.data.path().join("tender")).arg("serve").stdout(Stdio::null()));
        wait_until("the node does not answer", SOON, async || self.node().await.is_some()).await;
        node
    }

    /// The node's data directory.
    pub fn node_folder(&self) -> PathBuf {
        self.data.path().join("node")
    }

    /// Where the app keeps settings of its own.
    pub fn config(&self) -> PathBuf {
        self.data.path().join("config")
    }

    /// Name of the display.
    pub fn screen(&self) -> &str {
        &self.screen
    }

    /// What the node wrote about itself; none when it ended or never started.
    pub fn node_file(&self) -> Option<NodeFile> {
        serde_json::from_slice(&fs::read(self.node_folder().join("node.json")).ok()?).ok()
    }

    /// The node, if one answers.
    pub async fn node(&self) -> Option<Attached> {
        Attached::find(&self.node_folder()).await
    }

    /// Kills the node as a crash would, and answers its number.
    pub fn kill_node(&self) -> u32 {
        self.signal_node("-KILL")
    }

    /// Ends the node as its owner or a service would.
    pub fn end_node(&self) {
        self.signal_node("-TERM");
    }

    fn signal_node(&self, signal: &str) -> u32 {
        let pid = self.node_file().unwrap().pid;
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
        pid
    }

    /// Every process that was started in this place, by the data directory in its environment.
    pub fn processes(&self) -> Vec<Process> {
        let mark = format!("TENDER_DATA_DIR={}", self.node_folder().display()).into_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // Gone, or another user's: not ours.
            let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
            let Ok(name) = fs::read_to_string(entry.path().join("comm")) else { continue };
            if environment.split(|byte| *byte == 0).any(|set| set == mark) {
                found.push(Process { pid, name: name.trim().to_owned() });
            }
        }
        found
    }

    /// How many web views there are, by the process that each of them has.
    pub fn web_views(&self) -> usize {
        self.processes().iter().filter(|process| process.name.starts_with("WebKitWebProc")).count()
    }
}

/// Waits until it holds.
pub async fn wait_until(otherwise: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < limit, "{otherwise} within {limit:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where the programs were built: with this test, or where it is told.
pub fn built() -> PathBuf {
    if let Some(elsewhere) = env::var_os("TENDER_PROGRAMS") {
        return PathBuf::from(elsewhere);
    }
    env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned()
}

/// A `tender` that serves on free ports: the usual ones may belong to a node of this machine's owner.
fn node_on_free_ports(folder: &Path) {
    let script = folder.join("tender");
    let tender = built().join("tender");
    fs::write(&script, format!("#!/bin/sh\nexec '{}' \"$@\" --a2a 127.0.0.1:0 --api 127.0.0.1:0\n", tender.display()))
        .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
}
