//! The window: shown, hidden, closed.

use crate::quit;
use rfd::{AsyncMessageDialog, MessageButtons};
use std::fs;
use tauri::{AppHandle, Manager, async_runtime::spawn};

/// Marks that the user was told where the window goes.
const TOLD: &str = "told-about-tray";

/// Shows the window in front.
pub fn show(app: &AppHandle) {
    let Some(window) = app.get_webview_window("main") else { return };
    let shown = window.show().and_then(|()| window.unminimize()).and_then(|()| window.set_focus());
    if let Err(error) = shown {
        eprintln!("tender-app: the window cannot be shown: {error}");
    }
}

/// The user closed the window: it goes to the tray, which is said once. Without a tray it would be lost, so closing
/// is quitting.
pub fn closed(app: &AppHandle) {
    if !tray_is_shown() {
        quit::ask(app);
        return;
    }
    if let Some(window) = app.get_webview_window("main")
        && let Err(error) = window.hide()
    {
        eprintln!("tender-app: the window cannot be hidden: {error}");
        return;
    }
    tell_once(app);
}

fn tell_once(app: &AppHandle) {
    let Ok(folder) = app.path().app_config_dir() else { return };
    let told = folder.join(TOLD);
    // When the mark cannot be written, it is better to say nothing than to say it every time.
    if told.exists() || fs::create_dir_all(&folder).and_then(|()| fs::write(&told, b"")).is_err() {
        return;
    }
    let dialog = AsyncMessageDialog::new()
        .set_title("Tender stays in the tray")
        .set_description("The window is closed; the node goes on. Open it again, or quit, from the tray icon.")
        .set_buttons(MessageButtons::Ok)
        .show();
    spawn(async move {
        dialog.await;
    });
}

/// Whether someone shows tray icons. On Linux that is a program of its own, which some desktops lack.
#[cfg(target_os = "linux")]
pub fn tray_is_shown() -> bool {
    const HOST: &str = "org.kde.StatusNotifierWatcher";
    let asked = || -> zbus::Result<bool> {
        let bus = zbus::blocking::Connection::session()?;
        Ok(zbus::blocking::fdo::DBusProxy::new(&bus)?.name_has_owner(HOST.try_into()?)?)
    };
    // No session bus, no tray.
    asked().unwrap_or(false)
}

/// Whether someone shows tray icons: the system does.
#[cfg(not(target_os = "linux"))]
pub fn tray_is_shown() -> bool {
    true
}
