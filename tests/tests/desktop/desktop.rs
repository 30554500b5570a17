//! A display with the app on it, driven by plain WebDriver.

use serde_json::{Value, json};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// WebDriver's name for the key under which elements are named.
/// The drivers, the window and the page: seconds on a loaded machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Where the session bus of the app can be reached, in its data directory.
const BUS_FILE: &str = "bus";
/// The tray icon's menu on that bus, as libappindicator names it.
const TRAY_MENU: &str = "/org/ayatana/NotificationItem/tray_icon_tray_app_tender/Menu";
/// Something to click is there when its screen is, give or take an animation.
const CLICK_LIMIT: Duration = Duration::from_secs(15);
/// How often something that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A process that ends, with all it started, when this value does.
struct Group(Child);

impl Group {
    fn start(command: &mut Command) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        match command.process_group(0).stdin(Stdio::null()).spawn() {
            Ok(child) => Self(child),
            Err(error) => panic!("{program} does not start: {error}; `cargo xtask test` installs it"),
        }
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

/// The app in its window.
pub struct Desktop {
    http: reqwest::Client,
    session: String,
    shots: PathBuf,
    // Ended in this order: first what is shown, then where, at last its data.
    _driver: Group,
    _display: Group,
    data: TempDir,
}

impl Desktop {
    /// Starts the app with a new data directory.
    pub async fn start() -> Self {
        // An earlier test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let built = built();
        for program in ["tender-app", "tender", "tender-worker"] {
            let path = built.join(program);
            assert!(path.exists(), "{} is not built: run `cargo xtask test --stage build`", path.display());
        }
        let data = tempfile::tempdir().unwrap();
        let node = node_on_free_ports(&built, data.path());
        let (display, screen) = display();
        let (port, native) = (free_port(), free_port());
        let driver = Group::start(
            Command::new("dbus-run-session")
                .args([
                    "--",
                    "sh",
                    "-c",
                    "echo \"$DBUS_SESSION_BUS_ADDRESS\" > \"$BUS_FILE\"; exec tauri-driver \"$@\"",
                ])
                .args(["tauri-driver", "--port", &port.to_string(), "--native-port", &native.to_string()])
                .env("BUS_FILE", data.path().join(BUS_FILE))
                .env("DISPLAY", screen)
                .env_remove("WAYLAND_DISPLAY")
                .env("GDK_BACKEND", "x11")
                // No GPU, no accessibility bus: neither is what is tested, and looking for them takes seconds.
                .env("WEBKIT_DISABLE_DMABUF_RENDERER", "1")
                .env("NO_AT_BRIDGE", "1")
                .env("TENDER_EXECUTABLE", node)
                .env("TENDER_DATA_DIR", data.path().join("node"))
                .env("XDG_CONFIG_HOME", data.path().join("config"))
                .env("XDG_DATA_HOME", data.path().join("data")),
        );
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let base = format!("http://127.0.0.1:{port}");
        let started = Instant::now();
        // tauri-driver takes the browser's name out again: WebKitWebDriver would not know it.
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "wry",
            "tauri:options": {"application": built.join("tender-app")},
        }}});
        let session = loop {
            match http.post(format!("{base}/session")).json(&wanted).send().await {
                Ok(answer) => {
                    let answer: Value = answer.json().await.unwrap();
                    match answer["value"]["sessionId"].as_str() {
                        Some(id) => break format!("{base}/session/{id}"),
                        None => panic!("no session: {answer}"),
                    }
                }
                Err(error) => assert!(started.elapsed() < START_LIMIT, "tauri-driver does not answer: {error}"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let shots = built.join("../shots");
        fs::create_dir_all(&shots).unwrap();
        Self { http, session, shots, _driver: driver, _display: display, data }
    }

    /// The window's title.
    pub async fn title(&self) -> String {
        self.get("title").await.as_str().unwrap_or_default().to_owned()
    }

    /// All text that is shown.
    pub async fn text(&self) -> String {
        self.script("return document.body.innerText", &[]).await.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page and answers what it returns.
    pub async fn script(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": arguments})).await
    }

    /// Runs a script that calls its last argument when it is done.
    pub async fn script_that_calls_back(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("execute/async", &json!({"script": script, "args": arguments})).await
    }

    /// Waits until the text is shown, as a reader sees it: without regard to the case that a style may change.
    pub async fn wait_for(&self, text: &str, limit: Duration) {
        let (started, wanted) = (Instant::now(), text.to_lowercase());
        loop {
            let shown = self.text().await;
            if shown.to_lowercase().contains(&wanted) {
                return;
            }
            if started.elapsed() > limit {
                self.shot("failed").await;
                panic!("“{text}” was not shown within {limit:?}, but:\n{shown}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the page has an element that this CSS selects.
    pub async fn wait_for_element(&self, css: &str, limit: Duration) {
        let started = Instant::now();
        while self.script("return document.querySelector(arguments[0]) !== null", &[json!(css)]).await != json!(true) {
            if started.elapsed() > limit {
                self.shot("failed").await;
                panic!("there is no {css} after {limit:?}; shown is:\n{}", self.text().await);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Clicks the link or button with this text, as soon as there is one that can be clicked.
    pub async fn click(&self, text: &str) {
        let xpath = format!("//*[self::a or self::button][not(@disabled)][normalize-space(.)='{text}']");
        self.click_found("xpath", &xpath).await;
    }

    /// Clicks the element that this CSS selects, as soon as there is one that can be clicked.
    pub async fn click_element(&self, css: &str) {
        self.click_found("css selector", css).await;
    }

    /// The page clicks it itself: WebKitWebDriver's own click never answers when the click replaces the element.
    async fn click_found(&self, using: &str, what: &str) {
        let script = "const [using, what] = arguments;
            const found = using === 'xpath'
                ? document.evaluate(what, document, null, XPathResult.FIRST_ORDERED_NODE_TYPE, null).singleNodeValue
                : document.querySelector(what);
            if (!found || found.disabled || found.getClientRects().length === 0) return false;
            found.focus();
            setTimeout(() => found.click());
            return true;";
        let started = Instant::now();
        while self.script(script, &[json!(using), json!(what)]).await != json!(true) {
            if started.elapsed() > CLICK_LIMIT {
                self.shot("failed").await;
                panic!("{what} cannot be clicked; shown is:\n{}", self.text().await);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Saves what the window shows as `target/shots/desktop-NAME.png`.
    pub async fn shot(&self, name: &str) {
        let picture = self.get("screenshot").await;
        let bytes = base64(picture.as_str().unwrap());
        assert!(bytes.starts_with(b"\x89PNG"), "the screenshot is no picture");
        fs::write(self.shots.join(format!("desktop-{name}.png")), bytes).unwrap();
    }

    /// What the tray menu shows, as the desktop reads it from the bus: labels, switches, numbers of entries.
    pub fn tray(&self) -> String {
        self.on_the_bus(&["com.canonical.dbusmenu.GetLayout", "--", "0", "-1", "['label','enabled','toggle-state']"])
    }

    /// Waits until the tray menu shows this.
    pub async fn wait_for_tray(&self, entry: &str, limit: Duration) {
        let started = Instant::now();
        while !self.tray().contains(entry) {
            assert!(started.elapsed() < limit, "the tray does not show {entry}, but: {}", self.tray());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Clicks an entry of the tray menu.
    pub fn click_in_tray(&self, label: &str) {
        let layout = self.tray();
        let (before, _) = layout
            .split_once(&format!(", {{'label': <'{label}'>"))
            .unwrap_or_else(|| panic!("the tray has no entry “{label}”: {layout}"));
        let number = before.rsplit('(').next().unwrap();
        self.on_the_bus(&["com.canonical.dbusmenu.Event", "--", number, "clicked", "<0>", "0"]);
    }

    /// Whether the app has a node, by the file that a node removes when it ends.
    pub fn has_node(&self) -> bool {
        self.data.path().join("node/node.json").exists()
    }

    fn on_the_bus(&self, call: &[&str]) -> String {
        let bus = fs::read_to_string(self.data.path().join(BUS_FILE)).unwrap();
        let everybody = gdbus(
            bus.trim(),
            &[
                "call",
                "--session",
                "--dest",
                "org.freedesktop.DBus",
                "--object-path",
                "/",
                "--method",
                "org.freedesktop.DBus.ListNames",
            ],
        );
        // The menu's connection has no name of its own.
        for name in everybody.split('\'').filter(|name| name.starts_with(':')) {
            let mut arguments = vec!["call", "--session", "--dest", name, "--object-path", TRAY_MENU, "--method"];
            arguments.extend(call);
            let answer = gdbus(bus.trim(), &arguments);
            if !answer.is_empty() {
                return answer;
            }
        }
        panic!("nobody on the bus has a tray menu: {everybody}");
    }

    async fn get(&self, what: &str) -> Value {
        let answer: Value =
            self.http.get(format!("{}/{what}", self.session)).send().await.unwrap().json().await.unwrap();
        value_of(answer)
    }

    async fn post(&self, what: &str, body: &Value) -> Value {
        value_of(self.post_any(what, body).await)
    }

    async fn post_any(&self, what: &str, body: &Value) -> Value {
        self.http.post(format!("{}/{what}", self.session)).json(body).send().await.unwrap().json().await.unwrap()
    }
}

fn value_of(answer: Value) -> Value {
    assert!(answer["value"]["error"].is_null(), "the driver refuses: {answer}");
    answer["value"].clone()
}

/// What gdbus answers; nothing when it was refused.
fn gdbus(bus: &str, arguments: &[&str]) -> String {
    let output = Command::new("gdbus").args(arguments).env("DBUS_SESSION_BUS_ADDRESS", bus).output();
    let output = output.unwrap_or_else(|error| panic!("gdbus does not start: {error}; install libglib2.0-bin"));
    if output.status.success() { String::from_utf8(output.stdout).unwrap() } else { String::new() }
}

/// Where this test and the programs were built.
fn built() -> PathBuf {
    env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned()
}

/// A `tender` that serves on free ports: the usual ones may belong to a node of this machine's owner.
fn node_on_free_ports(built: &Path, folder: &Path) -> PathBuf {
    let script = folder.join("tender");
    let tender = built.join("tender");
    fs::write(&script, format!("#!/bin/sh\nexec '{}' \"$@\" --a2a 127.0.0.1:0 --api 127.0.0.1:0\n", tender.display()))
        .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    script
}

/// A new display, and its name.
fn display() -> (Group, String) {
    let mut command = Command::new("Xvfb");
    command.args(["-displayfd", "1", "-screen", "0", "1400x1000x24", "-nolisten", "tcp"]).stdout(Stdio::piped());
    let mut group = Group::start(command.stderr(Stdio::null()));
    let mut number = String::new();
    BufReader::new(group.0.stdout.take().unwrap()).read_line(&mut number).unwrap();
    assert!(!number.trim().is_empty(), "Xvfb ended without a display");
    (group, format!(":{}", number.trim()))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Standard base64, as WebDriver sends pictures.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(text.len()), 0_u32, 0);
    for digit in text.bytes().filter_map(|c| ALPHABET.iter().position(|a| *a == c)) {
        held = held << 6 | u32::try_from(digit).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    bytes
}
