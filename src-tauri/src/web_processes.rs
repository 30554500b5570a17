//! The processes that WebKit runs for the window. It ends a window's own one, and keeps the one for the network, which
//! holds some 30 MB that nobody uses while there is no window. It starts another with the next window.

use rustix::process::{Pid, Signal, kill_process};
use std::{fs, time::Duration};
use tauri::AppHandle;

/// Names as the kernel keeps them.
const OF_A_WINDOW: &str = "WebKitWebProces";
const OF_THE_NETWORK: &str = "WebKitNetworkPr";

/// Longest that a window's process is waited for, and how often it is looked at.
const END_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Ends what runs for the network, once the window's own process is gone. `is_down` says whether there is still no
/// window.
pub async fn end(app: &AppHandle, is_down: impl Fn(&AppHandle) -> bool + Send + 'static) {
    let gone = async {
        while children().iter().any(|(_, name)| name == OF_A_WINDOW) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(END_LIMIT, gone).await.is_err() {
        return;
    }
    // Where windows are made, so that none is made meanwhile.
    let (main, app) = (app.clone(), app.clone());
    let asked = main.run_on_main_thread(move || {
        let of_the_network = children().into_iter().filter(|(_, name)| name == OF_THE_NETWORK);
        for (pid, _) in of_the_network.filter(|_| is_down(&app)) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    if let Err(error) = asked {
        eprintln!("tender-app: WebKit's network process goes on: {error}");
    }
}

/// Children of this process, with their names. None where the kernel does not list them.
fn children() -> Vec<(Pid, String)> {
    let mut found = Vec::new();
    // Each thread has its own.
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let listed = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for pid in listed.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.extend(Pid::from_raw(pid).map(|pid| (pid, name.trim().to_owned())));
        }
    }
    found
}
