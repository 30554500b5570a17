//! The desktop shell: one window, one tray icon, and a relay between them and a node. It attaches to the node of
//! the data directory or starts one; all work and all money are the node's, so that the shell may end at any time.

#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod autostart;
mod node;
mod notify;
mod quit;
mod relay;
mod tray;
mod tray_host;
mod window;

use node::Node;
use relay::Subscriptions;
use std::{process::ExitCode, sync::Arc};
use tauri::{Manager, RunEvent, WindowEvent, webview::PageLoadEvent};
use tray_host::TrayHost;
use window::Window;

/// Started by the session, not by the user: stay in the tray.
const HIDDEN: &str = "--hidden";

fn main() -> ExitCode {
    prefer_working_graphics();
    // The HTTP client is built without a TLS implementation of its own. An earlier installation would be the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tender-app: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> tauri::Result<()> {
    let hidden = std::env::args().any(|argument| argument == HIDDEN);
    let app = tauri::Builder::default()
        // First in the chain: a second start shows this window and ends before it does anything else.
        .plugin(tauri_plugin_single_instance::init(|app, arguments, _folder| {
            if !arguments.iter().any(|argument| argument == HIDDEN) {
                window::show(app);
            }
        }))
        .manage(Subscriptions::default())
        .manage(Window::default())
        .manage(TrayHost::follow())
        .invoke_handler(tauri::generate_handler![
            relay::rpc,
            relay::subscribe,
            relay::unsubscribe,
            autostart::autostart,
            autostart::set_autostart,
            node::node_health,
            node::start_node,
        ])
        .on_page_load(|webview, load| {
            // A page that is loaded anew has forgotten what the old one subscribed to.
            if load.event() == PageLoadEvent::Started {
                webview.state::<Subscriptions>().end_all();
            }
        })
        .on_window_event(|window, event| {
            if let WindowEvent::CloseRequested { api, .. } = event {
                api.prevent_close();
                window::closed(window.app_handle());
            }
        })
        .setup(move |app| {
            let node = Arc::new(Node::from_environment()?);
            app.manage(Arc::clone(&node));
            tray::start(app.handle(), node)?;
            if hidden {
                window::show_without_tray(app.handle());
            } else {
                window::show(app.handle());
            }
            Ok(())
        })
        .build(tauri::generate_context!())?;
    app.run(|app, event| match event {
        // No window left is no reason to end; `quit` is.
        RunEvent::ExitRequested { code: None, api, .. } => api.prevent_exit(),
        #[cfg(target_os = "macos")]
        RunEvent::Reopen { .. } => window::show(app),
        _ => {
            let _ = app;
        }
    });
    Ok(())
}

/// WebKitGTK shows a blank window with NVIDIA's driver under Wayland unless explicit synchronisation is off. What
/// the user has set wins.
#[allow(unsafe_code)]
fn prefer_working_graphics() {
    const SETTING: &str = "__NV_DISABLE_EXPLICIT_SYNC";
    let affected = cfg!(target_os = "linux")
        && std::path::Path::new("/sys/module/nvidia").exists()
        && std::env::var_os("WAYLAND_DISPLAY").is_some();
    if affected && std::env::var_os(SETTING).is_none() {
        // SAFETY: `main` calls this first, before any other thread exists.
        unsafe { std::env::set_var(SETTING, "1") };
    }
}
