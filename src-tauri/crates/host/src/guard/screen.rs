//! What is in the foreground, and when somebody last touched keyboard or mouse: from the X server.
//!
//! Wayland tells a program nothing about the windows of others; what runs there through Xwayland is seen, as most
//! games do. Windows and macOS are not asked.

/// What a look at the screen found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Screen {
    /// Process and class of the window that has the focus and fills the screen.
    pub(super) full_screen: Option<(Option<u32>, String)>,
    /// Milliseconds since keyboard or mouse were used; none where the server does not tell.
    pub(super) idle_ms: Option<u32>,
}

#[cfg(target_os = "linux")]
pub(super) use x11::Eyes;

#[cfg(target_os = "linux")]
mod x11 {
    use super::Screen;
    use std::{
        env,
        time::{Duration, Instant},
    };
    use x11rb::{
        connection::Connection as _,
        protocol::{
            screensaver::ConnectionExt as _,
            xproto::{Atom, AtomEnum, ConnectionExt as _, Window},
        },
        rust_connection::RustConnection,
    };

    /// Pause before a server that did not answer is asked again.
    const RETRY: Duration = Duration::from_secs(30);
    /// Most entries of a property that are read, four bytes each.
    const MOST: u32 = 64;

    /// Looks at the screen over a connection that stays open.
    #[derive(Default)]
    pub(in crate::guard) struct Eyes {
        open: Option<Server>,
        refused: Option<(Instant, String)>,
    }

    struct Server {
        connection: RustConnection,
        root: Window,
        active_window: Atom,
        state: Atom,
        full_screen: Atom,
        pid: Atom,
    }

    impl Eyes {
        /// Looks now.
        ///
        /// # Errors
        /// Why this machine cannot be looked at.
        pub(in crate::guard) fn look(&mut self) -> Result<Screen, String> {
            if let Some((at, why)) = &self.refused
                && at.elapsed() < RETRY
            {
                return Err(why.clone());
            }
            let looked = self.server().and_then(Server::look);
            self.refused = looked.as_ref().err().map(|why| (Instant::now(), why.clone()));
            if looked.is_err() {
                self.open = None;
            }
            looked
        }

        fn server(&mut self) -> Result<&Server, String> {
            let server = match self.open.take() {
                Some(server) => server,
                None => Server::connect()?,
            };
            Ok(self.open.insert(server))
        }
    }

    /// Whether only what runs through Xwayland is seen.
    pub(in crate::guard) fn on_wayland() -> bool {
        env::var_os("WAYLAND_DISPLAY").is_some_and(|name| !name.is_empty())
    }

    impl Server {
        fn connect() -> Result<Self, String> {
            if env::var_os("DISPLAY").is_none_or(|name| name.is_empty()) {
                return Err(if on_wayland() {
                    "Wayland does not tell programs about the windows of others, and there is no Xwayland".to_owned()
                } else {
                    "there is no display: DISPLAY is not set".to_owned()
                });
            }
            let failed = |e: &dyn std::fmt::Display| format!("the X server does not answer: {e}");
            let (connection, screen) = x11rb::connect(None).map_err(|e| failed(&e))?;
            let root = connection.setup().roots.get(screen).map(|screen| screen.root).unwrap_or_default();
            let atom = |name: &str| -> Result<Atom, String> {
                let asked = connection.intern_atom(false, name.as_bytes()).map_err(|e| failed(&e))?;
                Ok(asked.reply().map_err(|e| failed(&e))?.atom)
            };
            let (active_window, state) = (atom("_NET_ACTIVE_WINDOW")?, atom("_NET_WM_STATE")?);
            let (full_screen, pid) = (atom("_NET_WM_STATE_FULLSCREEN")?, atom("_NET_WM_PID")?);
            Ok(Self { active_window, state, full_screen, pid, connection, root })
        }

        fn look(&self) -> Result<Screen, String> {
            let idle = self.connection.screensaver_query_info(self.root).ok().and_then(|asked| asked.reply().ok());
            let idle_ms = idle.map(|info| info.ms_since_user_input);
            let active = self.numbers(self.root, self.active_window, AtomEnum::WINDOW)?;
            let Some(window) = active.first().copied().filter(|window| *window != 0) else {
                return Ok(Screen { full_screen: None, idle_ms });
            };
            // A window that has gone meanwhile is none.
            let states = self.numbers(window, self.state, AtomEnum::ATOM).unwrap_or_default();
            if !states.contains(&self.full_screen) {
                return Ok(Screen { full_screen: None, idle_ms });
            }
            let pid = self.numbers(window, self.pid, AtomEnum::CARDINAL).unwrap_or_default().first().copied();
            Ok(Screen { full_screen: Some((pid, self.class(window))), idle_ms })
        }

        fn numbers(&self, of: Window, property: Atom, kind: AtomEnum) -> Result<Vec<u32>, String> {
            let failed = |e: &dyn std::fmt::Display| format!("the X server does not answer: {e}");
            let asked = self.connection.get_property(false, of, property, kind, 0, MOST).map_err(|e| failed(&e))?;
            let answer = asked.reply().map_err(|e| failed(&e))?;
            Ok(answer.value32().into_iter().flatten().collect())
        }

        /// The class that a window gives itself, such as `Doom`.
        fn class(&self, window: Window) -> String {
            let asked = self.connection.get_property(false, window, AtomEnum::WM_CLASS, AtomEnum::STRING, 0, MOST);
            let answer = asked.ok().and_then(|asked| asked.reply().ok()).map(|answer| answer.value).unwrap_or_default();
            // Two texts, each ended by a zero: instance and class.
            let mut texts = answer.split(|byte| *byte == 0).filter(|text| !text.is_empty());
            let instance = texts.next();
            let class = texts.next().or(instance).unwrap_or_default();
            String::from_utf8_lossy(class).chars().filter(|c| !c.is_control()).take(40).collect()
        }
    }
}

/// Elsewhere nobody is asked.
#[cfg(not(target_os = "linux"))]
#[derive(Default)]
pub(super) struct Eyes;

#[cfg(not(target_os = "linux"))]
impl Eyes {
    pub(super) fn look(&mut self) -> Result<Screen, String> {
        Err("only the X server of Linux is asked".to_owned())
    }
}

/// Whether only what runs through Xwayland is seen.
#[cfg(target_os = "linux")]
pub(super) use x11::on_wayland;

#[cfg(not(target_os = "linux"))]
pub(super) fn on_wayland() -> bool {
    false
}
