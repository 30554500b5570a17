//! What goes wrong while the app is open, or before it opens: each says what happened and what to do.

use crate::{
    desktop::Desktop,
    place::{Place, SOON, wait_until},
};
use std::{fs, time::Duration};

const LOST: &str = "[data-testid=connection-lost]";

#[tokio::test]
async fn a_node_that_dies_is_started_again_once() {
    let place = Place::new();
    let notifications = place.notifications().await;
    let desktop = Desktop::start_in(place).await;
    desktop.arrive(SOON).await;
    let dead = desktop.place.kill_node();
    desktop.wait_for("ended by itself and was started again at", SOON).await;
    let alive = async || desktop.place.node_file().is_some_and(|node| node.pid != dead);
    wait_until("there is no new node", SOON, alive).await;
    let told = async |title: &str| notifications.told().iter().any(|told| told == title);
    wait_until("nobody was told", SOON, async || told("The node was started again").await).await;

    desktop.place.kill_node();
    desktop.wait_for("ended twice within 10 minutes and was not started again", SOON).await;
    desktop.wait_for("serve.log", SOON).await;
    wait_until("nobody was told", SOON, async || told("The node ended again").await).await;
    desktop.place.wait_for_tray("No node: the node ended twice", SOON).await;

    desktop.click_element(&format!("{LOST} button")).await;
    wait_until("it cannot be started by hand", SOON, async || desktop.place.node().await.is_some()).await;
    desktop.place.wait_for_tray("'Sell'>, 'enabled': <true>", SOON).await;
    desktop.wait_for_element(&format!("body:not(:has({LOST}))"), SOON).await;
}

#[tokio::test]
async fn a_node_that_was_ended_stays_ended_until_the_owner_starts_it() {
    let place = Place::new();
    let desktop = Desktop::start_in(place).await;
    desktop.arrive(SOON).await;
    desktop.place.end_node();
    desktop.wait_for("The node was ended", SOON).await;
    // Several attempts of the window and of the tray.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(desktop.place.node_file().is_none(), "the app started what somebody ended");

    desktop.click_element(&format!("{LOST} button")).await;
    wait_until("it cannot be started by hand", SOON, async || desktop.place.node().await.is_some()).await;
    desktop.wait_for_element(&format!("body:not(:has({LOST}))"), SOON).await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_explained() {
    let place = Place::new();
    fs::create_dir_all(place.node_folder()).unwrap();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/desktop/newer.db");
    fs::copy(fixture, place.node_folder().join("tender.db")).unwrap();
    // A file of a node that is long gone, and damaged, is no reason to fail.
    fs::write(place.node_folder().join("node.json"), "{").unwrap();
    let desktop = Desktop::start_in(place).await;
    desktop.wait_for("this Tender only knows versions up to", SOON).await;
    desktop.wait_for("Install the newer version of Tender", SOON).await;
    desktop.shot("newer-database").await;
}
