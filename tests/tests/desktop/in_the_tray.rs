//! The app without its window: hidden, taken down, started with the session, beside a node of somebody else.

use crate::{
    desktop::Desktop,
    place::{Place, SOON, wait_until},
};
use base64::Engine;
use serde_json::json;
use std::time::Duration;

/// One small job on a software GPU.
const JOB: Duration = Duration::from_secs(60);
/// Longer than the app waits for a tray before it shows its window.
const WHILE: Duration = Duration::from_secs(12);
const OPENED: &str = "Jobs · Tender";
const SELL_ON: &str = "{'label': <'Sell'>, 'enabled': <true>, 'toggle-state': <1>}";

#[tokio::test]
async fn a_hidden_window_is_taken_down_and_comes_back_where_it_was() {
    let place = Place::new();
    let _host = place.tray_host().await;
    let notifications = place.notifications().await;
    let desktop = Desktop::start_with(place, &[("TENDER_KEEP_HIDDEN_SECONDS", "1")]).await;
    desktop.arrive(SOON).await;
    desktop.click("Jobs").await;
    let place = &desktop.place;
    wait_until("the window has no title of its own", SOON, async || place.titles().contains(&OPENED.into())).await;
    assert_eq!(place.web_views(), 1);

    place.close_window(OPENED);
    wait_until("nobody says where the window went", SOON, async || {
        place.titles().contains(&"Tender stays in the tray".into())
    })
    .await;
    assert!(!place.titles().contains(&OPENED.into()), "the window is still shown");
    wait_until("the web view outlives its window", SOON, async || place.web_views() == 0).await;

    // Tray and node go on without it, and what ends is told.
    place.click_in_tray("Sell");
    place.wait_for_tray(SELL_ON, SOON).await;
    let node = place.node().await.unwrap();
    let zeros = base64::engine::general_purpose::STANDARD.encode([0_u8; 2 * 64 * 64 * 4]);
    let work = json!({ "kind": "gemm", "m": 64, "k": 64, "n": 64, "input_base64": zeros });
    node.call("submit", json!({ "work": work, "budget_micro_usd": 1000 }), Some("one")).await.unwrap();
    wait_until("nobody says that the job ended", JOB, async || {
        notifications.told().iter().any(|title| title.starts_with("Job finished: 64"))
    })
    .await;

    place.click_in_tray("Open Tender");
    wait_until("the window does not come back where it was", SOON, async || place.titles().contains(&OPENED.into()))
        .await;
    assert_eq!(place.web_views(), 1);
}

#[tokio::test]
async fn a_start_with_the_session_shows_the_window_only_where_there_is_no_tray() {
    let place = Place::new();
    let app = place.start_app(&["--hidden"]);
    // Desktops start their panel after the session's programs.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let host = place.tray_host().await;
    place.wait_for_tray("'Sell'>, 'enabled': <true>", SOON).await;
    tokio::time::sleep(WHILE).await;
    assert_eq!(place.web_views(), 0, "it has a web view that nobody sees");
    assert_eq!(place.titles(), Vec::<String>::new());
    drop((app, host));

    // A session that never had a tray: the name of one that goes stays for a moment.
    let place = Place::new();
    let app = place.start_app(&["--hidden"]);
    let shown = async || place.titles().iter().any(|title| title.ends_with(" · Tender"));
    wait_until("nothing is shown, and there is no tray", SOON, shown).await;
    drop(app);
}

#[tokio::test]
async fn a_node_of_somebody_else_is_used_and_left_alone() {
    let place = Place::new();
    let node = place.start_node().await;
    let pid = place.node_file().unwrap().pid;
    let desktop = Desktop::start_in(place).await;
    desktop.arrive(SOON).await;
    desktop.place.wait_for_tray("'Sell'>, 'enabled': <true>", SOON).await;
    let nodes = || desktop.place.processes().into_iter().filter(|process| process.name == "tender").count();
    assert_eq!(nodes(), 1, "a second node was started");
    desktop.place.click_in_tray("Quit");
    let gone = async || !desktop.place.processes().iter().any(|process| process.name == "tender-app");
    wait_until("the app does not end", SOON, gone).await;
    assert!(desktop.place.node().await.is_some() && desktop.place.node_file().unwrap().pid == pid);
    drop(node);
}

#[tokio::test]
async fn starting_with_the_session_is_switched_in_the_settings() {
    let desktop = Desktop::start().await;
    desktop.arrive(SOON).await;
    desktop.click("Settings").await;
    let switch = |on| format!("[data-testid=autostart] [role=switch][aria-checked={on}]");
    desktop.wait_for_element(&switch(false), SOON).await;
    desktop.click_element(&switch(false)).await;
    desktop.wait_for_element(&switch(true), SOON).await;
    let file = desktop.place.config().join("autostart/dev.tender.desktop.desktop");
    let entry = std::fs::read_to_string(&file).unwrap();
    assert!(entry.contains("tender-app\" --hidden"), "{entry}");
    desktop.click_element(&switch(true)).await;
    desktop.wait_for_element(&switch(false), SOON).await;
    assert!(!file.exists());
}
