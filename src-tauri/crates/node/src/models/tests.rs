use super::*;
use crate::{
    identity::{Identity, IdentityStore},
    node::Config,
};
use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};
use tempfile::TempDir;
use tender_base::{
    Book,
    catalogue::ModelFacts,
    job::{GenerateWork, Sampling},
    signed::KeySigner,
};
use tender_store::Store;

async fn node(dir: &TempDir) -> Arc<Node> {
    let config = Config {
        data_dir: dir.path().join("data"),
        a2a: ([127, 0, 0, 1], 0).into(),
        api: None,
        public_address: None,
        identity: None,
        book: Book::Real,
    };
    let signer = Arc::new(KeySigner::from_seed(&[7; 32]));
    let identity =
        Identity { signer, store: IdentityStore::File, secrets: None, created: false, successions: Vec::new() };
    fs::create_dir_all(&config.data_dir).unwrap();
    let store = Store::open(&config.data_dir).await.unwrap();
    let node = Arc::new(Node::assemble(config, store, identity, String::new(), None).await.unwrap());
    node.set("models_dir", dir.path().join("models").to_str().unwrap().into()).await.unwrap();
    // No adapter is opened for these tests: what is free is said here.
    node.set("worker", dir.path().join("no-worker").to_str().unwrap().into()).await.unwrap();
    node
}

/// A file as if the worker had inspected it.
async fn add(node: &Node, dir: &TempDir, name: &str, content: &[u8]) -> Added {
    let path = dir.path().join(format!("{name}.gguf"));
    fs::write(&path, content).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let footprint = Footprint { weight_bytes: content.len() as u64, ..SMOLLM2.footprint };
    let facts = ModelFacts {
        architecture: "llama".to_owned(),
        parameters: 1000,
        layers: 1,
        footprint,
        formats: vec![("Q4_K".to_owned(), 1000)],
        chat_template: false,
    };
    let added = Added {
        name: name.to_owned(),
        path: path.to_str().unwrap().to_owned(),
        sha256: Sha256::of(content),
        bytes: content.len() as u64,
        modified_ms: modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64,
        facts,
    };
    let mut all = node.settings().added_models;
    all.push(added.clone());
    node.set(added::ADDED, serde_json::to_value(all).unwrap()).await.unwrap();
    added
}

fn text(model: ModelRef) -> Work {
    Work::Generate(GenerateWork {
        model,
        prompt_tokens: 1,
        max_tokens: 1,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
    })
}

fn free(node: &Node, free_bytes: Option<u64>) {
    // Fresh for as long as the test takes.
    let at = Instant::now() + Duration::from_secs(3600);
    node.models.looked(fit::Memory { free_bytes, what: "the main memory".to_owned() }, at);
}

#[tokio::test]
async fn models_are_found_by_hash_whatever_their_owner_calls_them() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    free(&node, Some(1 << 40));
    let added = add(&node, &dir, "my own", b"weights").await;
    let elsewhere = ModelRef { name: "another name".to_owned(), sha256: added.sha256 };
    let found = node.model(&text(elsewhere)).await.unwrap();
    assert_eq!(found, Some(PathBuf::from(&added.path)));
    let settings = node.settings();
    assert_eq!(text_model(&settings, Some("my own")).unwrap().sha256, added.sha256);
    assert_eq!(text_model(&settings, None).unwrap(), SMOLLM2.to_ref());
    assert_eq!(encoder(&settings, None).unwrap(), MINILM.to_ref());
    assert_eq!(encoder(&settings, Some("my own")).unwrap_err().code, Code::NotFound, "it embeds nothing");
    assert_eq!(text_model(&settings, Some("my-own")).unwrap_err().code, Code::NotFound);
    let unknown = ModelRef { name: "my own".to_owned(), sha256: Sha256::of(b"others") };
    assert_eq!(node.model(&text(unknown)).await.unwrap_err().code, Code::NotFound, "a name proves nothing");
    assert_eq!(node.model(&Work::Gemm { m: 1, k: 1, n: 1, precision: Default::default() }).await, Ok(None));
}

#[tokio::test]
async fn a_model_that_does_not_fit_is_neither_offered_nor_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    let added = add(&node, &dir, "large", b"weights").await;
    let model = ModelRef { name: added.name.clone(), sha256: added.sha256 };
    let needed = added.facts.footprint.needed_bytes(&Node::text_limits(&node.settings()));
    free(&node, Some(needed - 1));
    let problem = node.model(&text(model.clone())).await.unwrap_err();
    assert_eq!(problem.code, Code::Unavailable);
    assert!(problem.message.starts_with("the model large does not fit. It needs"), "{problem}");
    let client = node.model_to_check_with(ModelKind::Text, &model).await.unwrap_err();
    assert!(client.message.contains("to check what a peer delivers"), "{client}");
    free(&node, Some(needed));
    assert!(node.model(&text(model.clone())).await.is_ok(), "to the byte");
    free(&node, None);
    assert!(node.model(&text(model)).await.is_ok(), "what nobody knows stops nobody");
}

#[tokio::test]
async fn a_touched_file_is_hashed_again_and_a_changed_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    free(&node, Some(1 << 40));
    let added = add(&node, &dir, "mine", b"weights").await;
    let work = text(ModelRef { name: added.name.clone(), sha256: added.sha256 });
    let touch = |seconds| {
        let file = fs::OpenOptions::new().write(true).open(&added.path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    };
    touch(1_000_000);
    assert!(node.model(&work).await.is_ok());
    assert_eq!(node.settings().added_models[0].modified_ms, 1_000_000_000, "so that it is not hashed every time");

    fs::write(&added.path, b"weighed").unwrap();
    let problem = node.model(&work).await.unwrap_err();
    assert_eq!(problem.code, Code::Forged, "the same length, another content: {problem}");
    fs::write(&added.path, b"weights and more").unwrap();
    assert_eq!(node.model(&work).await.unwrap_err().code, Code::Forged);
    fs::remove_file(&added.path).unwrap();
    assert_eq!(node.model(&work).await.unwrap_err().code, Code::Unavailable);
    fs::write(&added.path, b"weights").unwrap();
    assert!(node.model(&work).await.is_ok(), "it is back");
}

#[tokio::test]
async fn rows_tell_what_is_here_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    free(&node, Some(1 << 30));
    add(&node, &dir, "mine", b"weights").await;
    let models = dir.path().join("models");
    fs::create_dir_all(models.join(SMOLLM2.name)).unwrap();
    let file = models.join(SMOLLM2.name).join(SMOLLM2.weights().name);
    fs::write(download::part(&file), b"12345").unwrap();
    fs::create_dir_all(models.join(MINILM.name)).unwrap();
    fs::write(models.join(MINILM.name).join("model.safetensors"), b"no safetensors").unwrap();

    let listed = node.models().await;
    assert_eq!(listed.free_memory_bytes, Some(1 << 30));
    let row = |name: &str| listed.models.iter().find(|row| row.name == name).unwrap().clone();
    let smollm2 = row(SMOLLM2.name);
    assert_eq!((smollm2.state.as_str(), smollm2.downloaded_bytes, smollm2.path), ("absent", 5, None));
    assert_eq!(smollm2.fits, Some(false), "1.4 GiB do not fit into 1");
    let minilm = row(MINILM.name);
    assert_eq!((minilm.state.as_str(), minilm.fits), ("fault", Some(true)));
    assert!(minilm.problem.unwrap().message.contains("14 bytes, not 90868376"));
    let mine = row("mine");
    assert_eq!((mine.state.as_str(), mine.added, mine.bytes, mine.downloaded_bytes), ("ready", true, 7, 7));
    assert_eq!(mine.sha256, Sha256::of(b"weights").to_string());
    assert_eq!(row("Qwen3-8B").state, "absent");
    let settings = node.settings();
    let sold: Vec<_> = for_sale(&settings, JobKind::Generate).unwrap().into_iter().map(|model| model.name).collect();
    assert_eq!(sold, ["mine"], "what is not whole is not for sale");
    assert_eq!((for_sale(&settings, JobKind::Embed), for_sale(&settings, JobKind::Gemm)), (Some(Vec::new()), None));

    let doctor = checks(&listed);
    let line = |name: &str| doctor.iter().find(|check| check.name == name).map(|check| check.state.as_str());
    assert_eq!(line("Model all-MiniLM-L6-v2"), Some("fault"));
    assert_eq!(line("Embedding model"), Some("warning"));
    assert_eq!(line("Language model"), None, "one is here");
    assert_eq!(line("Model Qwen3-8B"), None, "what is not wanted is no fault");
    assert!(doctor.iter().all(|check| check.state == "ok" || !check.remedy.is_empty()), "{doctor:?}");
}

#[tokio::test]
async fn removing_forgets_or_deletes_only_what_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    let (kept, deleted) = (add(&node, &dir, "kept", b"one").await, add(&node, &dir, "deleted", b"two").await);
    node.remove_model("kept", false).await.unwrap();
    node.remove_model("deleted", true).await.unwrap();
    assert!(Path::new(&kept.path).is_file() && !Path::new(&deleted.path).exists());
    assert!(node.settings().added_models.is_empty());

    let folder = dir.path().join("models").join(SMOLLM2.name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(SMOLLM2.weights().name), b"weights").unwrap();
    fs::write(folder.join("notes.txt"), b"the owner's").unwrap();
    assert_eq!(node.remove_model(SMOLLM2.name, false).await.unwrap_err().code, Code::Invalid);
    node.remove_model(SMOLLM2.name, true).await.unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "the owner's file stays");
    assert_eq!(node.remove_model("nothing", true).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn names_and_paths_are_checked_before_the_worker_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    let file = dir.path().join("file.gguf");
    fs::write(&file, b"GGUF").unwrap();
    let path = file.to_str().unwrap();
    let code = async |path: &str, name: Option<&str>| node.add_model(path, name).await.unwrap_err().code;
    assert_eq!(code("file.gguf", None).await, Code::Invalid);
    assert_eq!(code(path, Some("")).await, Code::Invalid);
    assert_eq!(code(path, Some("new\nline")).await, Code::Invalid);
    assert_eq!(code(path, Some(SMOLLM2.name)).await, Code::Conflict);
    assert_eq!(code(dir.path().to_str().unwrap(), Some("folder")).await, Code::Unavailable);
    assert_eq!(code("/nowhere/file.gguf", None).await, Code::Unavailable);
    let problem = node.add_model(path, None).await.unwrap_err();
    assert!(problem.message.contains("there is no worker"), "{problem}");
    assert!(node.settings().added_models.is_empty());
}

#[tokio::test]
async fn a_text_that_the_cache_has_no_room_for_is_refused_before_anything_is_promised() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    let mut added = add(&node, &dir, "wide", b"weights").await;
    let limits = Node::text_limits(&node.settings());
    // Half of the context fits.
    let context_tokens = limits.context_tokens;
    let cache_bytes_per_token = 2 * limits.cache_bytes / u64::from(context_tokens);
    added.facts.footprint = Footprint { cache_bytes_per_token, context_tokens, ..SMOLLM2.footprint };
    let sha256 = added.sha256;
    node.set(added::ADDED, serde_json::to_value([added]).unwrap()).await.unwrap();
    let of = |tokens| GenerateWork {
        model: ModelRef { name: "wide".to_owned(), sha256 },
        prompt_tokens: 10,
        max_tokens: tokens - 10,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
    };
    assert_eq!(within_context(&node.settings(), &of(context_tokens / 2)), Ok(()));
    let problem = within_context(&node.settings(), &of(context_tokens / 2 + 1)).unwrap_err();
    assert_eq!(problem.code, Code::Invalid);
    assert!(problem.message.contains(&format!("room for {}", context_tokens / 2)), "{problem}");
}
