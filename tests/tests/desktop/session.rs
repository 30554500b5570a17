//! The desktop around the app: its session bus, with the tray and the notifications that a real desktop offers there,
//! and its windows.

use crate::place::{LOOK_EVERY, Place};
use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use x11rb::{
    connection::Connection as _,
    protocol::xproto::{AtomEnum, ClientMessageEvent, ConnectionExt as _, EventMask, MapState, Window},
    rust_connection::RustConnection,
};

/// The tray icon's menu on the bus, as libappindicator names it.
const TRAY_MENU: &str = "/org/ayatana/NotificationItem/tray_icon_tray_app_tender/Menu";

/// Shows tray icons, as far as programs can tell. Ends with this value.
pub struct TrayHost(#[allow(dead_code, reason = "held, not read")] zbus::Connection);

struct Watcher;

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    async fn register_status_notifier_item(&self, _service: &str) {}

    #[zbus(property)]
    async fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    async fn registered_status_notifier_items(&self) -> Vec<String> {
        Vec::new()
    }

    #[zbus(property)]
    async fn protocol_version(&self) -> i32 {
        0
    }
}

/// What was told, by title. Ends with this value.
pub struct Notifications {
    told: Arc<Mutex<Vec<String>>>,
    _bus: zbus::Connection,
}

impl Notifications {
    /// All titles so far.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

struct Server(Arc<Mutex<Vec<String>>>);

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Server {
    #[allow(clippy::too_many_arguments, reason = "the specification's")]
    async fn notify(
        &self,
        _app: &str,
        _replaces: u32,
        _icon: &str,
        title: &str,
        _body: &str,
        _actions: Vec<String>,
        _hints: std::collections::HashMap<String, zbus::zvariant::OwnedValue>,
        _timeout: i32,
    ) -> u32 {
        let mut told = self.0.lock().unwrap();
        told.push(title.to_owned());
        u32::try_from(told.len()).unwrap()
    }
}

impl Place {
    /// Offers a tray.
    pub async fn tray_host(&self) -> TrayHost {
        const NAME: &str = "org.kde.StatusNotifierWatcher";
        let bus = zbus::connection::Builder::address(self.bus.as_str()).unwrap();
        let bus = bus.serve_at("/StatusNotifierWatcher", Watcher).unwrap().name(NAME).unwrap().build().await;
        TrayHost(bus.unwrap())
    }

    /// Offers notifications and remembers them.
    pub async fn notifications(&self) -> Notifications {
        const NAME: &str = "org.freedesktop.Notifications";
        let told = Arc::new(Mutex::new(Vec::new()));
        let bus = zbus::connection::Builder::address(self.bus.as_str()).unwrap();
        let server = Server(Arc::clone(&told));
        let bus = bus.serve_at("/org/freedesktop/Notifications", server).unwrap().name(NAME).unwrap().build().await;
        Notifications { told, _bus: bus.unwrap() }
    }

    /// What the tray menu shows, as the desktop reads it from the bus: labels, switches, numbers of entries. Empty
    /// without a menu.
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

    fn on_the_bus(&self, call: &[&str]) -> String {
        let mut known = self.tray_menu.lock().unwrap();
        if let Some(name) = &*known {
            let answer = self.gdbus(name, TRAY_MENU, call);
            if !answer.is_empty() {
                return answer;
            }
        }
        let everybody = self.gdbus("org.freedesktop.DBus", "/", &["org.freedesktop.DBus.ListNames"]);
        // The menu's connection has no name of its own, and others that are asked do not answer.
        for name in everybody.split('\'').filter(|name| name.starts_with(':')) {
            let answer = self.gdbus(name, TRAY_MENU, call);
            if !answer.is_empty() {
                *known = Some(name.to_owned());
                return answer;
            }
        }
        String::new()
    }

    /// What gdbus answers; nothing when it was refused.
    fn gdbus(&self, name: &str, object: &str, call: &[&str]) -> String {
        let mut command = Command::new("gdbus");
        command.args(["call", "--session", "--timeout", "1", "--dest", name, "--object-path", object, "--method"]);
        let output = command.args(call).env("DBUS_SESSION_BUS_ADDRESS", &self.bus).output();
        let output = output.unwrap_or_else(|error| panic!("gdbus does not start: {error}; install libglib2.0-bin"));
        if output.status.success() { String::from_utf8(output.stdout).unwrap() } else { String::new() }
    }

    /// Titles of the windows that are shown.
    pub fn titles(&self) -> Vec<String> {
        let (x11, root) = self.x11();
        windows(&x11, root).into_iter().map(|(_, title)| title).collect()
    }

    /// Closes the window with this title, as its close button does.
    pub fn close_window(&self, title: &str) {
        let (x11, root) = self.x11();
        let shown = windows(&x11, root);
        let Some((window, _)) = shown.iter().find(|(_, shown)| shown == title) else {
            panic!("no window “{title}”, but {:?}", self.titles());
        };
        let atom = |name: &str| x11.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom;
        let message =
            ClientMessageEvent::new(32, *window, atom("WM_PROTOCOLS"), [atom("WM_DELETE_WINDOW"), 0, 0, 0, 0]);
        x11.send_event(false, *window, EventMask::NO_EVENT, message).unwrap().check().unwrap();
    }

    fn x11(&self) -> (RustConnection, Window) {
        let (x11, screen) = x11rb::connect(Some(self.screen())).unwrap();
        let root = x11.setup().roots[screen].root;
        (x11, root)
    }
}

/// Top-level windows that are shown and have a title. There is no window manager between them and the root.
fn windows(x11: &RustConnection, root: Window) -> Vec<(Window, String)> {
    let mut found = Vec::new();
    let name = x11.intern_atom(false, b"_NET_WM_NAME").unwrap().reply().unwrap().atom;
    for window in x11.query_tree(root).unwrap().reply().unwrap().children {
        // It may be gone by now.
        let Ok(attributes) = x11.get_window_attributes(window).unwrap().reply() else { continue };
        let name = x11.get_property(false, window, name, AtomEnum::ANY, 0, 256).unwrap().reply();
        let title = name.map(|name| String::from_utf8_lossy(&name.value).into_owned()).unwrap_or_default();
        if attributes.map_state == MapState::VIEWABLE && !title.is_empty() {
            found.push((window, title));
        }
    }
    found
}
