//! Declares the window's commands, so that Tauri checks them against `capabilities/`, and chooses what the window
//! shows when the UI was not built.

use std::path::Path;

/// All that the window may call. What is not named here cannot be granted.
const COMMANDS: &[&str] =
    &["rpc", "subscribe", "unsubscribe", "autostart", "set_autostart", "node_health", "start_node"];

/// Merged over `tauri.conf.json`: a page that names the command which builds the UI.
const WITHOUT_UI: &str = r#"{"build":{"frontendDist":"without-ui"}}"#;

fn main() {
    println!("cargo:rerun-if-changed=../ui/dist");
    if !Path::new("../ui/dist/index.html").exists() {
        println!("cargo:rustc-env=TAURI_CONFIG={WITHOUT_UI}");
    }
    let attributes = tauri_build::Attributes::new().app_manifest(tauri_build::AppManifest::new().commands(COMMANDS));
    if let Err(error) = tauri_build::try_build(attributes) {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}
