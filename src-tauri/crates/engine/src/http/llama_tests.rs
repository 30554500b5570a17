//! Against a real llama.cpp on the CPU, which `tests/peers/llama.mjs` serves as a `llama-server` would.
//!
//! `cargo xtask peers` installs it and `cargo xtask test` fetches the model; without them the tests say what is missing
//! and check nothing.

use super::*;
use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};
use tender_base::{catalogue::SMOLLM2, job::Sampling, text::Generation};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// llama.cpp as a process that ends with its standard input.
struct Llama {
    _process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    address: String,
    file: PathBuf,
}

impl Llama {
    async fn start() -> Option<Self> {
        let skipped = |why: String| {
            eprintln!("skipped: {why}");
            None
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let peers = target.join("peers");
        if !peers.join("node_modules/.tender-lock").exists() {
            return skipped(format!("no llama.cpp in {}: run `cargo xtask peers`", peers.display()));
        }
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = || set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        let models = set("TENDER_MODELS").or_else(|| cache().map(|cache| cache.join("tender/models")))?;
        let file = models.join(SMOLLM2.name).join(SMOLLM2.files[0].name);
        if !file.exists() {
            return skipped(format!("no model at {}: run `cargo xtask test`", file.display()));
        }
        let mut process = Command::new("node")
            .arg(root.join("tests/peers/llama.mjs"))
            .args(["--serve", "0", "--context", "512", "--model"])
            .arg(&file)
            .env("TENDER_PEERS", peers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready: Value = serde_json::from_str(&answers.next_line().await.unwrap().unwrap()).unwrap();
        assert_eq!(ready["ready"], true, "{ready}");
        let address = ready["address"].as_str().unwrap().to_owned();
        Some(Self { _process: process, requests, answers, address, file })
    }

    /// The same engine, asked without HTTP.
    async fn ask(&mut self, request: Value) -> Value {
        self.requests.write_all(format!("{request}\n").as_bytes()).await.unwrap();
        let answer: Value = serde_json::from_str(&self.answers.next_line().await.unwrap().unwrap()).unwrap();
        assert!(answer["error"].is_null(), "{answer}");
        answer
    }

    fn attachment(&self) -> Attachment {
        Attachment {
            address: self.address.clone(),
            place: Place::Loopback,
            model: None,
            sold_as: Some(smollm2()),
            key: None,
            slots: None,
        }
    }
}

fn smollm2() -> ModelRef {
    ModelRef { name: SMOLLM2.name.to_owned(), sha256: SMOLLM2.files[0].sha256 }
}

fn order(input: &Value, prompt_tokens: u32, max_tokens: u32, stop: &[&str]) -> Order {
    let stop = stop.iter().map(|&stop| stop.to_owned()).collect();
    let work = GenerateWork { model: smollm2(), prompt_tokens, max_tokens, sampling: Sampling::GREEDY, stop };
    Order {
        work: Work::Generate(work),
        input: Bytes::from(input.to_string()),
        model: None,
        parts: None,
        wall_limit: Duration::from_secs(120),
        tenant: Tenant::Own,
    }
}

async fn run(engine: &HttpEngine, order: Order) -> Result<(Generation, u64), Problem> {
    let output = engine.run(order, watch::Sender::new(Progress::default())).await?;
    Ok((serde_json::from_slice(&output.bytes).unwrap(), output.units))
}

#[tokio::test]
async fn a_real_llama_is_attached_and_writes_what_it_writes_without_http() {
    let Some(mut llama) = Llama::start().await else { return };
    let engine = HttpEngine::attach(llama.attachment()).await.unwrap();
    let runtime = engine.runtime();
    assert_eq!((runtime.engine, runtime.quantisation.as_deref()), (RuntimeKind::LlamaServer, Some("Q4_1")));
    assert!(runtime.hash_checked && runtime.has_logprobs && runtime.has_token_ids && runtime.build.is_some());
    assert_eq!(runtime.context, Some(512));

    // A chat: the file's own template, to the token that ends the answer.
    let messages = json!([
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is the capital of France?"},
    ]);
    let chat = json!({"messages": messages});
    let tokens = llama.ask(json!({"op": "chat", "messages": messages})).await["tokens"].clone();
    let counted = engine.count_prompt(chat.to_string().as_bytes()).await.unwrap();
    assert_eq!(counted as usize, tokens.as_array().unwrap().len());
    let alone = llama.ask(json!({"op": "generate", "tokens": tokens, "max_tokens": 24})).await;
    let alone: Generation = serde_json::from_value(alone).unwrap();
    let (text, units) = run(&engine, order(&chat, counted, 24, &[])).await.unwrap();
    assert_eq!(text, alone);
    assert_eq!(units, u64::from(counted) + alone.tokens.as_ref().unwrap().len() as u64);

    // Its own tokens are the ones it chooses when they are forced on it.
    let claimed = alone.tokens.unwrap();
    let scores = llama.ask(json!({"op": "score", "prompt": tokens, "tokens": claimed})).await;
    assert_eq!(serde_json::from_value::<Vec<u32>>(scores["argmax"].clone()).unwrap(), claimed);

    // Text that is continued, cut at a stop sequence, which is not part of it.
    let raw = json!({"prompt": "The capital of France is"});
    let counted = engine.count_prompt(raw.to_string().as_bytes()).await.unwrap();
    let (whole, _) = run(&engine, order(&raw, counted, 12, &[])).await.unwrap();
    let (cut, _) = run(&engine, order(&raw, counted, 12, &["."])).await.unwrap();
    assert_eq!((whole.finish, cut.finish), (Finish::Length, Finish::Stop));
    assert_eq!(cut.text, whole.text.split('.').next().unwrap());
    assert_eq!(whole.tokens.unwrap().len(), 12);

    // What is wrong is refused, and the next order is served.
    let wrong = run(&engine, order(&raw, counted + 1, 12, &[])).await.unwrap_err();
    assert!(wrong.code == Code::Invalid && wrong.message.contains("tokens in the prompt"), "{wrong}");
    let long = json!({"prompt": "word ".repeat(600)});
    assert_eq!(run(&engine, order(&long, 600, 12, &[])).await.unwrap_err().code, Code::TooLarge);
    let full = run(&engine, order(&json!({"prompt": "a ".repeat(480)}), 480, 400, &[])).await;
    assert!(full.is_err_and(|problem| matches!(problem.code, Code::TooLarge | Code::Invalid)));
    assert!(run(&engine, order(&raw, counted, 2, &[])).await.is_ok());
}

#[tokio::test]
async fn a_real_llama_stops_writing_for_nobody() {
    let Some(llama) = Llama::start().await else { return };
    let engine = HttpEngine::attach(llama.attachment()).await.unwrap();
    let raw = json!({"prompt": "The capital of France is"});
    let counted = engine.count_prompt(raw.to_string().as_bytes()).await.unwrap();
    let progress = watch::Sender::new(Progress::default());
    let mut shown = progress.subscribe();
    tokio::select! {
        output = engine.run(order(&raw, counted, 240, &[]), progress) => panic!("ended before it was cancelled: {output:?}"),
        begun = shown.wait_for(|progress| !progress.text.is_empty()) => assert!(begun.is_ok()),
    }
    // It has one slot: were the text above still being written, this would wait for it.
    let started = Instant::now();
    assert!(run(&engine, order(&raw, counted, 1, &[])).await.is_ok());
    let after = started.elapsed();
    let started = Instant::now();
    assert!(run(&engine, order(&raw, counted, 240, &[])).await.is_ok());
    assert!(after < started.elapsed() / 2, "{after:?} against {:?}", started.elapsed());

    // Another file under the same name is not sold.
    let other = ModelRef { sha256: tender_base::Sha256::of(b"other"), ..smollm2() };
    let problem = HttpEngine::attach(Attachment { sold_as: Some(other), ..llama.attachment() }).await.err().unwrap();
    let file = llama.file.file_name().unwrap().to_string_lossy();
    assert!(problem.code == Code::Forged && problem.message.contains(&*file), "{problem}");
}
