//! What an owner does in the window.

use crate::{
    desktop::Desktop,
    place::{SOON, wait_until},
};
use serde_json::{Value, json};
use std::time::Duration;

/// Three jobs through two nodes, on a software GPU.
const TRADE: Duration = Duration::from_secs(120);

const SWITCH: &str = "main [role=switch]";

#[tokio::test]
async fn a_first_trade_is_made_and_seen_on_every_screen() {
    let desktop = Desktop::start().await;
    desktop.arrive(SOON).await;
    assert!(desktop.title().await.contains("Tender"));
    // The one picture: WebKitWebDriver never answers when asked for one of a page taller than its window.
    desktop.shot("empty").await;

    desktop.click("Run a first trade").await;
    desktop.wait_for_element("[data-testid=first-trade]", SOON).await;
    desktop.wait_for_element("[data-testid=first-trade]:is([data-state=done], [data-state=failed])", TRADE).await;
    let shown = desktop.text().await;
    assert!(shown.contains("Demonstration"), "demonstration money is not labelled:\n{shown}");
    let verified = desktop
        .script("return document.querySelectorAll('[data-testid=first-trade] tbody .earning').length", &[])
        .await;
    assert_eq!(verified, 3, "not every job was verified:\n{shown}");

    desktop.click_element(&format!("{SWITCH}[aria-checked=false]")).await;
    desktop.wait_for_element(&format!("{SWITCH}[aria-checked=true]"), SOON).await;
    for screen in ["Jobs", "Earnings", "Network"] {
        desktop.click(screen).await;
        desktop.wait_for_element(&format!("nav a[aria-current=page][href$='{}']", screen.to_lowercase()), SOON).await;
        desktop.wait_for_element("main h1", SOON).await;
    }
    desktop.click("Overview").await;
    desktop.click_element(&format!("{SWITCH}[aria-checked=true]")).await;
    desktop.wait_for_element(&format!("{SWITCH}[aria-checked=false]"), SOON).await;
}

#[tokio::test]
async fn the_page_reaches_the_node_and_nothing_else() {
    let desktop = Desktop::start().await;
    let invoke = async |command: &str, arguments: Value| {
        let script = "const [command, input, done] = arguments;
            window.__TAURI_INTERNALS__.invoke(command, input).then(
                value => done({ value }), error => done({ refused: error.code ?? String(error) }))";
        desktop.script_that_calls_back(script, &[json!(command), arguments]).await
    };
    let overview = invoke("rpc", json!({"name": "overview", "input": {}})).await;
    assert!(overview["value"]["did"].as_str().is_some_and(|did| did.starts_with("did:key:")), "{overview}");

    let unknown = invoke("rpc", json!({"name": "../token", "input": {}})).await;
    assert_eq!(unknown["refused"], "not_found", "{unknown}");
    for command in ["plugin:window|close", "plugin:event|listen", "plugin:path|resolve_directory", "no_such_command"] {
        let refused = invoke(command, json!({})).await;
        assert!(refused["refused"].is_string(), "{command} was not refused: {refused}");
    }

    let script = "const done = arguments[0];
        document.addEventListener('securitypolicyviolation', event => done(event.violatedDirective));
        fetch('http://127.0.0.1:9/').then(() => done('reached'), () => {});";
    let outside = desktop.script_that_calls_back(script, &[]).await;
    assert_eq!(outside, "connect-src", "the page's policy lets it out");
}

#[tokio::test]
async fn the_tray_menu_follows_the_node_and_ends_both() {
    let desktop = Desktop::start().await;
    let sell = |on| format!("{{'label': <'Sell'>, 'enabled': <true>, 'toggle-state': <{on}>}}");
    desktop.place.wait_for_tray(&sell(0), SOON).await;
    desktop.place.click_in_tray("Sell");
    desktop.place.wait_for_tray(&sell(1), SOON).await;
    desktop.place.click_in_tray("Pause for an hour");
    desktop.place.wait_for_tray("'Go on selling'>, 'enabled': <true>", SOON).await;
    for entry in ["Go on selling", "Finish, then pause", "Go on selling"] {
        desktop.place.click_in_tray(entry);
        // Nothing runs: what is sold is finished at once.
        let then = if entry == "Go on selling" { "Pause for an hour" } else { "Go on selling" };
        desktop.place.wait_for_tray(&format!("'{then}'>, 'enabled': <true>"), SOON).await;
    }
    desktop.place.click_in_tray("Sell");
    desktop.place.wait_for_tray(&sell(0), SOON).await;

    // Nothing is sold, so nobody is asked; the node was started by the app and ends with it.
    assert!(desktop.place.node_file().is_some());
    desktop.place.click_in_tray("Quit");
    wait_until("the node outlives the app that started it", SOON, async || desktop.place.node_file().is_none()).await;
}
