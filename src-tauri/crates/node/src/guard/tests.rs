//! What follows from a look: the gate, the workers, who waits, and what is noted down.

use super::*;
use crate::metering;
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt as _};
use tempfile::TempDir;

/// Far longer than anything here takes, and far shorter than a worker would be waited for.
const SOON: Duration = Duration::from_secs(10);

async fn seller(dir: &TempDir) -> Arc<Node> {
    let node = Arc::new(metering::tests::node(dir).await);
    node.set("selling", true.into()).await.unwrap();
    node
}

fn sees(triggers: &[Trigger]) -> Result<Look, String> {
    let there = |trigger: &Trigger| Seen::looked(*trigger, Ok(Some("doom".to_owned())), String::new());
    Ok(Look(triggers.iter().map(there).collect()))
}

async fn note(node: &Arc<Node>, look: Result<Look, String>) {
    node.note(look, true, Instant::now()).await;
}

fn job(node: &Node) -> JobId {
    JobId::new(node.clock.as_ref(), node.entropy.as_ref())
}

fn yields(node: &Node) -> Vec<(String, bool)> {
    node.lookout.shown().2.into_iter().map(|of| (of.trigger, of.resumed_at.is_some())).collect()
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_waits_waits_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let node = seller(&dir).await;
    note(&node, sees(&[Trigger::Game])).await;
    let id = job(&node);
    {
        let waits = node.lookout.released(id, SOON);
        assert!(tokio::time::timeout(Duration::from_millis(50), waits).await.is_err());
    }
    assert!(node.lookout.waiting().is_empty());
    let waits = node.lookout.released(id, SOON);
    tokio::pin!(waits);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waits).await.is_err());
    assert_eq!(node.lookout.waits_for(id).as_deref(), Some("game in foreground (doom)"));
    assert_eq!(node.lookout.waits_for(job(&node)), None);
}

#[tokio::test]
async fn an_own_job_waits_for_the_end_of_a_self_test() {
    let dir = tempfile::tempdir().unwrap();
    let node = seller(&dir).await;
    node.lookout.state().test.running = Some((0, 20));
    assert!(node.lookout.takes_all() && node.lookout.cause().as_deref() == Some("the guard tests itself"));
    assert_eq!(node.test_guard().unwrap_err().code, Code::Conflict);
    let (ended, waiting) = (node.clone(), node.clone());
    let id = job(&node);
    let waits = tokio::spawn(async move { waiting.lookout.released(id, SOON * 6).await });
    // A round of it.
    note(&node, sees(&[Trigger::Test])).await;
    ended.lookout.state().guard.end_test();
    note(&node, sees(&[])).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waits.is_finished(), "between two rounds");
    ended.lookout.state().test.running = None;
    ended.lookout.holds.send_modify(|_| ());
    tokio::time::timeout(SOON, waits).await.unwrap().unwrap();
    assert!(!node.lookout.takes_all() && yields(&node).is_empty());
}

#[tokio::test]
async fn a_look_that_fails_changes_nothing_and_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let node = seller(&dir).await;
    node.set("guard.resume_seconds", json!(1)).await.unwrap();
    note(&node, sees(&[Trigger::Game])).await;
    let later = Instant::now() + SOON;
    for after in [0, 5, 60] {
        let late = later + Duration::from_secs(after);
        node.note(Err("the last look has not come back".to_owned()), true, late).await;
        assert!(node.lookout.takes_all() && node.engine.is_closed(&Tenant::Own));
    }
    let (look, ..) = node.lookout.shown();
    assert!(look.0[0].unavailable.as_ref().is_some_and(|why| why.contains("not come back")), "{look:?}");
}

#[tokio::test]
async fn a_worker_that_is_about_to_start_does_not_start_in_the_game() {
    let dir = tempfile::tempdir().unwrap();
    let node = seller(&dir).await;
    let script = dir.path().join("worker.sh");
    fs::write(&script, "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let settings = tender_engine::Settings { worker: Some(script), ..tender_engine::Settings::default() };
    let mut node = Arc::into_inner(node).unwrap();
    node.engine = Arc::new(tender_engine::LocalEngine::new(settings));
    let node = Arc::new(node);
    // It is let in, and has no process yet when the game is seen.
    let both = async { tokio::join!(node.engine.open(), note(&node, sees(&[Trigger::Game]))) };
    let (opened, ()) = tokio::time::timeout(SOON, both).await.expect("the order was taken back");
    assert_eq!(opened.unwrap_err().code, Code::Unavailable);
    assert!(!node.engine.is_running());
}

#[tokio::test]
async fn every_time_the_machine_was_given_back_has_its_end_and_a_game_in_a_self_test_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let node = seller(&dir).await;
    node.set("guard.resume_seconds", json!(1)).await.unwrap();
    note(&node, sees(&[Trigger::Test])).await;
    assert!(yields(&node).is_empty(), "nobody needed it");
    note(&node, sees(&[Trigger::Game, Trigger::Test])).await;
    assert_eq!(yields(&node), [("game".to_owned(), false)]);
    let ended = async |node: &Arc<Node>| {
        let later = Instant::now() + SOON;
        node.note(sees(&[]), true, later).await;
        node.note(sees(&[]), true, later + SOON).await;
        assert!(!node.lookout.takes_all() && !node.engine.is_closed(&Tenant::Own));
    };
    ended(&node).await;
    assert_eq!(yields(&node), [("game".to_owned(), true)]);

    // First what is sold, then everything.
    node.lookout.state().guard = Guard::default();
    note(&node, sees(&[Trigger::Battery])).await;
    note(&node, sees(&[Trigger::Game, Trigger::Battery])).await;
    ended(&node).await;
    let all = yields(&node);
    assert!(all.len() == 3 && all.iter().all(|(_, resumed)| *resumed), "{all:?}");
    let stored = node.store.setting(YIELDS).await.unwrap().unwrap();
    assert!(stored.as_array().unwrap().iter().all(|of| of["resumed_at"].is_string()), "{stored}");
}

#[tokio::test]
async fn the_promise_is_that_of_the_adapter_that_was_tested() {
    let dir = tempfile::tempdir().unwrap();
    let node = seller(&dir).await;
    assert_eq!(node.promise_ms(), None);
    node.lookout.state().test.last = Some(Tested {
        n: 20,
        p50_ms: 1.0,
        max_ms: 41.0,
        adapter: "Old".to_owned(),
        driver: "1".to_owned(),
        memory_measured: true,
        at: node.now(),
    });
    assert_eq!(node.promise_ms(), Some(50));
    node.works_with("New");
    assert_eq!(node.promise_ms(), None);
    node.works_with("Old");
    assert_eq!(node.promise_ms(), Some(50));
}

#[tokio::test]
async fn who_helps_is_told_the_kind_of_cause_and_no_program() {
    let dir = tempfile::tempdir().unwrap();
    let node = seller(&dir).await;
    assert_eq!(node.lookout.kind_of_cause(), None);
    note(&node, sees(&[Trigger::Game])).await;
    assert_eq!(node.lookout.cause().as_deref(), Some("game in foreground (doom)"));
    assert_eq!(node.lookout.kind_of_cause(), Some("game in foreground"));
}
