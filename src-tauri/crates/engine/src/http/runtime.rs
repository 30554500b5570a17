//! What a runtime is: engine, build, model, quantisation, context, and whether it tells enough to be checked. Asked
//! once, when it is attached.

use super::{
    request,
    stream::{Ended, Events, Reader},
    transport::{Transport, not_openai, readable},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fs::File,
    path::{Path, PathBuf},
};
use tender_base::{
    Code, Problem, Sha256,
    documents::{RuntimeInfo, WorkerInfo},
    job::ModelRef,
};
use tokio::time::timeout;

/// Models that an error lists; the rest is counted.
const LISTED: usize = 5;
/// Requests at a time, for a runtime that does not say how many it serves.
const DEFAULT_SLOTS: u32 = 1;
/// Most requests at a time.
const MAX_SLOTS: u32 = 64;

/// Which program answers. Each has its own words for what OpenAI's API leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// llama.cpp's `llama-server`.
    LlamaServer,
    /// Ollama.
    Ollama,
    /// vLLM.
    Vllm,
    /// Something else that speaks OpenAI's API, such as a cloud.
    Other,
}

impl RuntimeKind {
    /// The name as its makers write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaServer => "llama-server",
            Self::Ollama => "Ollama",
            Self::Vllm => "vLLM",
            Self::Other => "OpenAI-compatible",
        }
    }
}

/// A runtime as it described itself; what it did not say is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Which program.
    pub engine: RuntimeKind,
    /// Its version or build.
    pub build: Option<String>,
    /// The model, by the runtime's own name for it.
    pub model: String,
    /// The model's digest as the runtime states it. Ollama's is of its manifest, not of the weights.
    pub digest: Option<String>,
    /// Whether the loaded file was found on this machine and has the hash of the model that it is sold as.
    pub hash_checked: bool,
    /// Quantisation of the weights, as Ollama says or as the file's name says by GGUF's naming convention.
    pub quantisation: Option<String>,
    /// Most tokens of a prompt and its continuation together.
    pub context: Option<u32>,
    /// Requests that it serves at the same time.
    pub slots: u32,
    /// Whether log-probabilities come with the tokens.
    pub has_logprobs: bool,
    /// Whether the tokens' numbers come with the text. Without them nobody can judge a text by its margins: it is
    /// checked by having the job done twice or by known answers.
    pub has_token_ids: bool,
}

impl Runtime {
    /// As a delivery states it.
    #[must_use]
    pub fn worker_info(&self) -> WorkerInfo {
        let said = |what: &Option<String>| what.clone().unwrap_or_else(|| "unstated".to_owned());
        WorkerInfo {
            adapter: format!("{}: {}", self.engine.name(), self.model),
            driver: format!("build {}, quantisation {}", said(&self.build), said(&self.quantisation)),
            backend: "http".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime: Some(Box::new(RuntimeInfo {
                engine: self.engine.name().to_owned(),
                build: self.build.clone(),
                model: self.model.clone(),
                digest: self.digest.clone(),
                hash_checked: self.hash_checked,
                quantisation: self.quantisation.clone(),
            })),
        }
    }
}

/// Asks the runtime what it is and has it write one token.
///
/// # Errors
/// As the transport; [`Code::NotFound`] when it does not have the model, [`Code::Forged`] when it has loaded another
/// file than the one it is to be sold as, [`Code::WorkFailed`] when it does not report usage.
pub(super) async fn probe(
    transport: &Transport,
    name: Option<&str>,
    sold_as: Option<&ModelRef>,
) -> Result<Runtime, Problem> {
    let (mut runtime, file) = match transport.place {
        super::Place::Cloud => (of_other(transport, name).await?, None),
        super::Place::Loopback => identify(transport, name).await?,
    };
    if let (Some(file), Some(sold_as)) = (file, sold_as) {
        runtime.hash_checked = has_hash(file, sold_as).await?;
    }
    let limit = transport.limits.trial;
    let tried = timeout(limit, try_out(transport, &runtime)).await.unwrap_or_else(|_| {
        Err(transport.lost(&format!("has not written one token in {limit:?}; load the model there first")))
    })?;
    runtime.has_logprobs = tried.has_logprobs;
    runtime.has_token_ids = tried.has_all_ids();
    Ok(runtime)
}

/// A runtime on this machine, and the file it has loaded if it says which.
async fn identify(transport: &Transport, name: Option<&str>) -> Result<(Runtime, Option<PathBuf>), Problem> {
    // Only llama-server and vLLM have it; while a model loads it is refused with the reason.
    transport.ask("health").await?;
    if let Some(props) = transport.ask("props").await?.filter(|props| props["build_info"].is_string()) {
        let mut runtime = of_other(transport, name).await?;
        let file = props["model_path"].as_str().unwrap_or(&runtime.model).to_owned();
        runtime.engine = RuntimeKind::LlamaServer;
        runtime.build = props["build_info"].as_str().map(readable);
        runtime.quantisation = quantisation_of(&file);
        runtime.context = number(&props["default_generation_settings"]["n_ctx"]);
        runtime.slots = number(&props["total_slots"]).unwrap_or(DEFAULT_SLOTS).clamp(1, MAX_SLOTS);
        let file = Path::new(&file);
        return Ok((runtime, file.is_absolute().then(|| file.to_owned())));
    }
    if let Some(version) = transport.ask("api/version").await?.and_then(|said| said["version"].as_str().map(readable)) {
        return Ok((of_ollama(transport, name, version).await?, None));
    }
    let mut runtime = of_other(transport, name).await?;
    let version = transport.ask("version").await?.and_then(|said| said["version"].as_str().map(readable));
    if let (Some(version), RuntimeKind::Vllm) = (version, runtime.engine) {
        runtime.build = Some(version);
    }
    Ok((runtime, None))
}

async fn of_ollama(transport: &Transport, name: Option<&str>, version: String) -> Result<Runtime, Problem> {
    let tags = transport.ask("api/tags").await?.unwrap_or_default();
    let models = list(&tags["models"]);
    // Ollama itself completes a name without a tag.
    let wanted = name.map(|name| if name.contains(':') { name.to_owned() } else { format!("{name}:latest") });
    let model = chosen(&models, "name", wanted.as_deref())?;
    let running = transport.ask("api/ps").await?.unwrap_or_default();
    let loaded = list(&running["models"]).into_iter().find(|one| one["name"] == model["name"]);
    Ok(Runtime {
        engine: RuntimeKind::Ollama,
        build: Some(version),
        digest: model["digest"].as_str().map(readable),
        quantisation: model["details"]["quantization_level"].as_str().map(readable),
        context: loaded.and_then(|one| number(&one["context_length"])),
        ..unknown(model["name"].as_str().unwrap_or_default())
    })
}

/// What OpenAI's list of models tells.
async fn of_other(transport: &Transport, name: Option<&str>) -> Result<Runtime, Problem> {
    let Some(answer) = transport.ask_api("models").await? else {
        // Some clouds list nothing; the trial will show whether they have the model.
        let name = name.ok_or_else(|| {
            Problem::new(Code::Invalid, "the runtime does not list its models", "attach it with the name of a model")
        })?;
        return Ok(unknown(name));
    };
    let Some(models) = answer["data"].as_array() else { return Err(not_openai("its list of models has no data")) };
    let model = chosen(models, "id", name)?;
    let engine = if model["owned_by"] == "vllm" { RuntimeKind::Vllm } else { RuntimeKind::Other };
    let id = model["id"].as_str().unwrap_or_default();
    Ok(Runtime { engine, context: number(&model["max_model_len"]), ..unknown(id) })
}

fn unknown(model: &str) -> Runtime {
    Runtime {
        engine: RuntimeKind::Other,
        build: None,
        model: model.to_owned(),
        digest: None,
        hash_checked: false,
        quantisation: None,
        context: None,
        slots: DEFAULT_SLOTS,
        has_logprobs: false,
        has_token_ids: false,
    }
}

/// The model of this name, or the only one.
fn chosen<'a>(models: &'a [Value], field: &str, name: Option<&str>) -> Result<&'a Value, Problem> {
    let named = |model: &Value| model[field].as_str().filter(|it| !it.is_empty() && it.len() <= 512).map(str::to_owned);
    let found = match name {
        Some(name) => models.iter().find(|model| named(model).is_some_and(|it| it == name)),
        None => models.first().filter(|model| models.len() == 1 && named(model).is_some()),
    };
    found.ok_or_else(|| {
        let mut names: Vec<String> = models.iter().filter_map(named).map(|it| readable(&it)).collect();
        let more = names.len().saturating_sub(LISTED);
        names.truncate(LISTED);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        let has = if names.is_empty() { "no model".to_owned() } else { names.join(", ") };
        let message = match name {
            Some(name) => format!("the runtime does not have the model {}; it has {has}", readable(name)),
            None => format!("the runtime has {has}"),
        };
        Problem::new(Code::NotFound, message, "attach it with the name of one of its models")
    })
}

/// Writes one token: shows whether it answers, reports usage, and tells tokens and log-probabilities.
async fn try_out(transport: &Transport, runtime: &Runtime) -> Result<Ended, Problem> {
    let tried = one_token(transport, runtime, true).await;
    match tried {
        // A cloud may have the model, but no log-probabilities for it.
        Err(problem) if problem.code == Code::Invalid => one_token(transport, runtime, false).await,
        other => other,
    }
}

async fn one_token(transport: &Transport, runtime: &Runtime, logprobs: bool) -> Result<Ended, Problem> {
    let (path, body) = request::trial(runtime, logprobs);
    let mut response = transport.stream(path, &body).await?;
    let (mut events, mut reader) = (Events::of(1), Reader::of(1));
    while let Some(bytes) = transport.next(&mut response, false).await? {
        for event in events.push(&bytes)? {
            reader.take(&event, |said| transport.failed(said))?;
        }
        if reader.is_done() {
            break;
        }
    }
    reader.end()
}

/// Whether the file is here and is the model; `false` when it cannot be read.
async fn has_hash(file: PathBuf, sold_as: &ModelRef) -> Result<bool, Problem> {
    let name = file.display().to_string();
    let hashing = tokio::task::spawn_blocking(move || Sha256::of_reader(File::open(file)?)).await;
    let hash = hashing.map_err(|e| Problem::new(Code::Internal, format!("the hashing ended early: {e}"), ""))?;
    match hash {
        Ok(hash) if hash == sold_as.sha256 => Ok(true),
        Ok(hash) => Err(Problem::new(
            Code::Forged,
            format!("the runtime has loaded {name} with the SHA-256 {hash}, which is not {}", sold_as.name),
            "start it with the model's own file, or attach it as the model that it has loaded",
        )),
        // It may run under another account.
        Err(error) => {
            tracing::info!(%name, %error, "the runtime's model file cannot be read, so its hash stays unchecked");
            Ok(false)
        }
    }
}

/// `Q4_K_M` of `…/Llama-3.1-8B-Instruct-Q4_K_M.gguf`: the encoding in a name by GGUF's naming convention
/// (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#gguf-naming-convention>).
fn quantisation_of(file: &str) -> Option<String> {
    let name = file.rsplit(['/', '\\']).next()?.strip_suffix(".gguf")?;
    let is_encoding = |part: &&str| {
        let rest = part.strip_prefix(['I', 'T']).unwrap_or(part);
        let quantised = rest.strip_prefix('Q').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        quantised || ["F16", "F32", "BF16", "MXFP4"].contains(part)
    };
    let upper = name.to_ascii_uppercase();
    upper.rsplit(['-', '.']).find(is_encoding).map(str::to_owned)
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_files_name_says_its_quantisation() {
        for (file, expected) in [
            ("/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", Some("Q4_K_M")),
            ("SmolLM2-135M-Instruct.Q4_1.gguf", Some("Q4_1")),
            ("C:\\models\\mistral-7b-iq4_xs.gguf", Some("IQ4_XS")),
            ("model-f16.gguf", Some("F16")),
            ("Qwen3-8B-Q8_0-00001-of-00002.gguf", Some("Q8_0")),
            ("Qwen3-8B.gguf", None),
            ("Q4_K_M/model.gguf", None),
            ("llama3.2:3b", None),
        ] {
            assert_eq!(quantisation_of(file).as_deref(), expected, "{file}");
        }
    }

    #[test]
    fn a_model_is_named_or_the_only_one() {
        let models = |names: &[&str]| names.iter().map(|name| json!({"id": name})).collect::<Vec<Value>>();
        assert_eq!(chosen(&models(&["a"]), "id", None).unwrap()["id"], "a");
        assert_eq!(chosen(&models(&["a", "b"]), "id", Some("b")).unwrap()["id"], "b");
        let many = models(&["a", "b", "c", "d", "e", "f", "g"]);
        let problem = chosen(&many, "id", Some("x")).unwrap_err();
        assert!(problem.code == Code::NotFound && problem.message.ends_with("d, e, 2 more"), "{problem}");
        assert!(chosen(&many, "id", None).is_err() && chosen(&[], "id", None).is_err());
        assert!(chosen(&[json!({"id": 7})], "id", None).is_err());
    }

    #[tokio::test]
    async fn the_loaded_file_is_compared() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.gguf");
        std::fs::write(&file, b"weights").unwrap();
        let model = |bytes: &[u8]| ModelRef { name: "m".to_owned(), sha256: Sha256::of(bytes) };
        assert_eq!(has_hash(file.clone(), &model(b"weights")).await, Ok(true));
        assert_eq!(has_hash(file, &model(b"other")).await.unwrap_err().code, Code::Forged);
        assert_eq!(has_hash(folder.path().join("gone"), &model(b"weights")).await, Ok(false));
    }
}
