//! The window: made, shown, hidden, and taken down when nobody looked at it for a while. The node and the tray do
//! not need it.

use crate::{quit, relay::Subscriptions, tray_host::TrayHost};
use rfd::{AsyncMessageDialog, MessageButtons};
use std::{
    env, fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tauri::{AppHandle, Manager, WebviewUrl, WebviewWindow, WebviewWindowBuilder, async_runtime::spawn};

/// Marks that the user was told where the window goes.
const TOLD: &str = "told-about-tray";
/// The window's name in `tauri.conf.json` and in the capabilities.
const MAIN: &str = "main";
/// A window hidden for so long is taken down: its web view holds most of the app's memory.
const KEEP_HIDDEN: Duration = Duration::from_secs(600);
/// Overrides [`KEEP_HIDDEN`], in seconds.
const KEEP_HIDDEN_SETTING: &str = "TENDER_KEEP_HIDDEN_SECONDS";
/// How long a start with the session waits for the desktop's tray.
const TRAY_WAIT: Duration = Duration::from_secs(10);

/// What outlives the web view.
#[derive(Default)]
pub struct Window {
    /// Counts showing and hiding, so that a timer sees whether it is still the same hiding.
    turn: AtomicU64,
    /// The page's address when it was taken down, such as `#/jobs`.
    place: Mutex<String>,
}

/// Shows the window in front; makes it first when there is none.
pub fn show(app: &AppHandle) {
    app.state::<Window>().turn.fetch_add(1, Ordering::SeqCst);
    if let Some(window) = app.get_webview_window(MAIN) {
        to_front(&window);
        return;
    }
    let app = app.clone();
    // Not here: on Windows a window that is made inside an event's handler never comes.
    spawn(async move {
        match make(&app) {
            Ok(window) => to_front(&window),
            Err(error) => eprintln!("tender-app: the window cannot be made: {error}"),
        }
    });
}

/// Shows the window only when no tray comes, in which the app could be found.
pub fn show_without_tray(app: &AppHandle) {
    let app = app.clone();
    spawn(async move {
        let come = tokio::time::timeout(TRAY_WAIT, app.state::<TrayHost>().comes()).await;
        if come.is_err() {
            show(&app);
        }
    });
}

fn make(app: &AppHandle) -> tauri::Result<WebviewWindow> {
    let Some(mut config) = app.config().app.windows.iter().find(|window| window.label == MAIN).cloned() else {
        return Err(tauri::Error::WindowNotFound);
    };
    let place = app.state::<Window>().place.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if !place.is_empty() {
        config.url = WebviewUrl::App(format!("index.html{place}").into());
    }
    WebviewWindowBuilder::from_config(app, &config)?
        .on_document_title_changed(|window, title| {
            if let Err(error) = window.set_title(&title) {
                eprintln!("tender-app: the window's title cannot be set: {error}");
            }
        })
        .build()
}

fn to_front(window: &WebviewWindow) {
    let shown = window.show().and_then(|()| window.unminimize()).and_then(|()| window.set_focus());
    if let Err(error) = shown {
        eprintln!("tender-app: the window cannot be shown: {error}");
    }
}

/// Whether the owner looks at the window now.
pub fn is_watched(app: &AppHandle) -> bool {
    app.get_webview_window(MAIN)
        .is_some_and(|window| window.is_visible().unwrap_or(false) && window.is_focused().unwrap_or(false))
}

/// The user closed the window: it goes to the tray, which is said once. Without a tray it would be lost, so closing
/// is quitting.
pub fn closed(app: &AppHandle) {
    if !app.state::<TrayHost>().is_there() {
        quit::ask(app);
        return;
    }
    let Some(window) = app.get_webview_window(MAIN) else { return };
    if let Err(error) = window.hide() {
        eprintln!("tender-app: the window cannot be hidden: {error}");
        return;
    }
    tell_once(app);
    let turn = app.state::<Window>().turn.fetch_add(1, Ordering::SeqCst) + 1;
    let app = app.clone();
    spawn(async move {
        tokio::time::sleep(keep_hidden()).await;
        if app.state::<Window>().turn.load(Ordering::SeqCst) == turn {
            take_down(&app, &window);
        }
    });
}

fn keep_hidden() -> Duration {
    let set = env::var(KEEP_HIDDEN_SETTING).ok().and_then(|seconds| seconds.parse().ok());
    set.map_or(KEEP_HIDDEN, Duration::from_secs)
}

fn take_down(app: &AppHandle, window: &WebviewWindow) {
    if let Ok(address) = window.url() {
        let place = address.fragment().map(|place| format!("#{place}")).unwrap_or_default();
        *app.state::<Window>().place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
    if let Err(error) = window.destroy() {
        eprintln!("tender-app: the window cannot be taken down: {error}");
    }
    app.state::<Subscriptions>().end_all();
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
