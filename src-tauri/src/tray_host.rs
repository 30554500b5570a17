//! Whether someone shows tray icons. On Linux that is a program of its own, which some desktops lack and others start
//! seconds after the session's programs.

use tokio::sync::watch;

/// Follows it from its start on, without holding anybody up.
pub struct TrayHost(watch::Receiver<bool>);

impl TrayHost {
    /// Begins to follow it; until the first answer nobody shows any.
    #[must_use]
    pub fn follow() -> Self {
        let (shown, seen) = watch::channel(false);
        std::thread::spawn(move || {
            if let Err(error) = follow(&shown) {
                eprintln!("tender-app: no tray, as the session's bus does not tell of one: {error}");
            }
            // Nobody looks any more: a window that is hidden might be lost.
            shown.send_replace(false);
        });
        Self(seen)
    }

    /// Whether someone shows them now.
    pub fn is_there(&self) -> bool {
        *self.0.borrow()
    }

    /// Until someone does.
    pub async fn comes(&self) {
        let mut seen = self.0.clone();
        if seen.wait_for(|shown| *shown).await.is_err() {
            // Nobody looks any more, so nobody ever comes.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(target_os = "linux")]
fn follow(shown: &watch::Sender<bool>) -> zbus::Result<()> {
    use zbus::blocking::{Connection, fdo::DBusProxy};
    const HOST: &str = "org.kde.StatusNotifierWatcher";
    let bus = Connection::session()?;
    let names = DBusProxy::new(&bus)?;
    let changes = names.receive_name_owner_changed_with_args(&[(0, HOST)])?;
    shown.send_replace(names.name_has_owner(HOST.try_into()?)?);
    for change in changes {
        shown.send_replace(change.args()?.new_owner().is_some());
    }
    Ok(())
}

/// The system shows them.
#[cfg(not(target_os = "linux"))]
fn follow(shown: &watch::Sender<bool>) -> Result<(), std::convert::Infallible> {
    shown.send_replace(true);
    // As long as somebody asks.
    while !shown.is_closed() {
        std::thread::park();
    }
    Ok(())
}
