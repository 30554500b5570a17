//! Models of a real node: downloaded from a hub on loopback, added by path, used, removed.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod hub;

use hub::Hub;
use serde_json::json;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tender_base::{
    Code, JobState,
    catalogue::{MINILM, SMOLLM2},
};
use tender_node::api::types::{
    AddModelInput, ByModel, ModelRow, Models, Nothing, RemoveModelInput, Settings, SubmitWork,
};
use tender_tests::{TestNode, work};

/// How long anything here may take: 90 MB are copied and hashed on two loaded cores.
const LIMIT: Duration = Duration::from_secs(60);

async fn row(node: &TestNode, name: &str) -> ModelRow {
    let models: Models = node.ask("models", &Nothing {}).await;
    models.models.into_iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} is not listed"))
}

/// Waits until the model is as wanted.
async fn until(node: &TestNode, name: &str, wanted: impl Fn(&ModelRow) -> bool) -> ModelRow {
    let started = Instant::now();
    loop {
        let row = row(node, name).await;
        if wanted(&row) {
            return row;
        }
        assert!(started.elapsed() < LIMIT, "{row:#?}\n{}", node.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn by(name: &str) -> ByModel {
    ByModel { name: name.to_owned() }
}

/// A node whose models come from `hub` into `models`.
async fn node(models: &TempDir, hub: &Hub) -> TestNode {
    let node = TestNode::start().await;
    node.set("models_dir", json!(models.path())).await;
    node.set("models_source", json!(hub.address())).await;
    node
}

#[tokio::test]
async fn a_download_outlives_its_node_and_the_model_is_used() {
    let (models, hub) = (TempDir::new().unwrap(), Hub::pausing(Duration::from_millis(20)));
    let mut node = node(&models, &hub).await;
    assert_eq!(row(&node, MINILM.name).await.state, "absent");
    let refused = node.refuses("submit", &work::for_anyone(work::embed())).await;
    assert!(refused.message.contains("to check what a peer delivers"), "{refused}");
    assert!(refused.hint.contains("tender models get"), "{refused}");

    let _: Models = node.ask("download_model", &by(MINILM.name)).await;
    let busy = node.refuses("download_model", &by(SMOLLM2.name)).await;
    assert_eq!(busy.code, Code::Conflict, "one at a time: {busy}");
    let some = until(&node, MINILM.name, |row| row.downloaded_bytes > 5 << 20).await;
    assert_eq!((some.state.as_str(), some.bytes), ("downloading", MINILM.bytes()));
    node.kill();

    let node = node.restart().await;
    let left = row(&node, MINILM.name).await;
    assert_eq!(left.state, "absent", "it is resumed when it is asked for again");
    assert!(left.downloaded_bytes > 4 << 20, "{left:?}");
    let _: Models = node.ask("download_model", &by(MINILM.name)).await;
    let ready = until(&node, MINILM.name, |row| row.state == "ready").await;
    assert_eq!((ready.downloaded_bytes, ready.problem), (MINILM.bytes(), None));
    assert_eq!(ready.fits, Some(true), "{}", ready.fit);
    let asked = hub.asked();
    assert_eq!(asked.len(), MINILM.files.len() + 1, "the weights twice, the others once: {asked:?}");
    assert_eq!((asked[0].1, asked[1].0 == asked[0].0), (0, true), "{asked:?}");
    assert!(asked[1].1 >= left.downloaded_bytes && asked[1].1 < MINILM.weights().bytes, "{asked:?}");
    for file in MINILM.files {
        let copy = fs::read(models.path().join(MINILM.name).join(file.name)).unwrap();
        assert!(tender_base::Sha256::of(&copy) == file.sha256, "{}", file.name);
    }
    assert_eq!(fs::read_dir(models.path().join(MINILM.name)).unwrap().count(), MINILM.files.len(), "no part is left");

    let done = node.buy(&work::for_anyone(work::embed())).await;
    assert_eq!(done.summary.state, Some(JobState::Completed));
}

#[tokio::test]
async fn a_download_that_is_ended_keeps_what_came_until_it_is_removed() {
    let (models, hub) = (TempDir::new().unwrap(), Hub::pausing(Duration::from_millis(100)));
    let node = node(&models, &hub).await;
    assert_eq!(node.refuses("cancel_download", &by(SMOLLM2.name)).await.code, Code::NotFound);
    let _: Models = node.ask("download_model", &by(SMOLLM2.name)).await;
    until(&node, SMOLLM2.name, |row| row.downloaded_bytes > 1 << 20).await;
    let remove = RemoveModelInput { name: SMOLLM2.name.to_owned(), delete_files: Some(true) };
    assert_eq!(node.refuses("remove_model", &remove).await.code, Code::Conflict);
    let _: Models = node.ask("cancel_download", &by(SMOLLM2.name)).await;
    let ended = until(&node, SMOLLM2.name, |row| row.state == "absent").await;
    assert!(ended.downloaded_bytes > 1 << 20 && ended.problem.is_none(), "{ended:?}");
    let _: Models = node.ask("remove_model", &remove).await;
    assert_eq!(row(&node, SMOLLM2.name).await.downloaded_bytes, 0);
    assert!(!models.path().join(SMOLLM2.name).exists());
}

#[tokio::test]
async fn a_source_that_does_not_have_a_model_is_named() {
    let (models, hub) = (TempDir::new().unwrap(), Hub::pausing(Duration::ZERO));
    let node = node(&models, &hub).await;
    node.set("models_source", json!(format!("{}/elsewhere", hub.address()))).await;
    let _: Models = node.ask("download_model", &by(SMOLLM2.name)).await;
    let failed = until(&node, SMOLLM2.name, |row| row.problem.is_some()).await;
    assert_eq!(failed.state, "absent");
    let problem = failed.problem.unwrap();
    assert!(problem.message.contains("/elsewhere has no") && problem.hint.contains("tender models add"), "{problem:?}");
    for address in ["http://models.example.org", "ftp://127.0.0.1", "https://user@models.example.org", "no address"] {
        let input = json!({ "key": "models_source", "value": address });
        assert_eq!(node.refuses("set_setting", &input).await.code, Code::Invalid, "{address}");
    }
    let _: Settings = node.ask("set_setting", &json!({ "key": "models_source", "value": null })).await;
}

#[tokio::test]
async fn any_gguf_file_is_a_model_when_the_worker_can_read_it() {
    let (models, hub) = (TempDir::new().unwrap(), Hub::pausing(Duration::ZERO));
    let mut node = node(&models, &hub).await;
    let file = models.path().join("some file.gguf");
    fs::copy(hub::models().join(SMOLLM2.name).join(SMOLLM2.weights().name), &file).unwrap();

    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let said = node.cli().run(&["models", "add", &text(&file), "--name", "mine"]);
    assert!(said.ok, "{said:?}");
    let mine = row(&node, "mine").await;
    assert_eq!((mine.state.as_str(), mine.added, mine.kind.as_str()), ("ready", true, "text"), "{mine:?}");
    assert_eq!(mine.sha256, SMOLLM2.weights().sha256.to_string());
    assert_eq!((mine.parameters, mine.context_tokens), (Some(SMOLLM2.parameters), Some(8192)));
    assert_eq!(mine.path, Some(text(&file)), "it stays where it is");
    assert_eq!(mine.fits, Some(true), "{}", mine.fit);
    let same = node.refuses("add_model", &AddModelInput { path: text(&file), name: Some("mine".to_owned()) }).await;
    assert_eq!(same.code, Code::Conflict);

    // It is a model like any other.
    let mut asked = work::generate("What is the capital of France?", 12);
    if let SubmitWork::Generate { model, .. } = &mut asked {
        *model = Some("mine".to_owned());
    }
    let written = node.buy(&work::for_anyone(asked)).await;
    assert_eq!(written.generate.map(|facts| facts.model), Some("mine".to_owned()));

    // Half a model, and something else altogether: the worker says so, and nothing is kept.
    let broken = models.path().join("broken.gguf");
    let whole = fs::read(&file).unwrap();
    for content in [&whole[..whole.len() / 2], b"this is no model".as_slice()] {
        fs::write(&broken, content).unwrap();
        let said = node.cli().run(&["models", "add", &text(&broken)]);
        assert!(!said.ok && said.err.contains("broken.gguf"), "{said:?}");
    }
    let listed: Models = node.ask("models", &Nothing {}).await;
    assert!(listed.models.iter().all(|row| row.name != "broken"), "{listed:?}");

    // What was added is remembered, and listed also when no node runs.
    node.stop();
    let said = node.cli().run(&["models"]);
    assert!(said.ok && said.out.contains("mine  text, ready"), "{said:?}");
    let node = node.restart().await;
    let said = node.cli().run(&["models", "remove", "mine"]);
    assert!(said.ok && file.is_file(), "{said:?}");
    let listed: Models = node.ask("models", &Nothing {}).await;
    assert!(listed.models.iter().all(|row| !row.added), "{listed:?}");
}
