//! Runtimes that the owner attached: a `llama-server`, Ollama or vLLM on this machine, which does texts for him and
//! for his clients, and clouds, from which he buys.
//!
//! What was attached is a setting, its key is a secret, and whether it answers is known only now.

mod rows;

pub(crate) use rows::checks;

use crate::{models, node::Node};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tender_base::{Code, Problem, Work, job::ModelRef};
use tender_engine::{
    Engine,
    http::{Attachment, HttpEngine, Key, Place},
};
use tender_market::price::CloudPrice;
use tokio::task::spawn_blocking;

/// Internal setting with the attached runtimes.
const RUNTIMES: &str = "runtimes";
/// Most runtimes: each cloud is a row of every decision.
const MAX_RUNTIMES: usize = 20;
/// Longest name.
const MAX_NAME: usize = 40;
/// How often one that does not answer is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// A runtime as the owner attached it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attached {
    /// What the owner calls it.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) address: String,
    /// Its own name for the model; none when it has only one.
    pub(crate) model: Option<String>,
    /// The model whose jobs it does; none for a cloud that may do every text.
    pub(crate) serves: Option<ModelRef>,
    /// Texts at the same time; what the runtime says when absent.
    pub(crate) slots: Option<u32>,
    /// Whether its key is among the secrets.
    pub(crate) has_key: bool,
    /// What a cloud asks; none for a runtime on this machine.
    pub(crate) cloud: Option<CloudPrice>,
}

impl Attached {
    /// Whether it may do the jobs of a model.
    pub(crate) fn does(&self, model: &ModelRef) -> bool {
        self.serves.as_ref().is_none_or(|serves| serves.sha256 == model.sha256)
    }

    fn attachment(&self, key: Option<Key>) -> Attachment {
        let local = self.cloud.is_none();
        Attachment {
            address: self.address.clone(),
            place: if local { Place::Loopback } else { Place::Cloud },
            model: self.model.clone(),
            // A cloud's model is another one than the job's; the owner has decided that it will do.
            sold_as: self.serves.clone().filter(|_| local),
            key,
            slots: self.slots,
        }
    }
}

/// The attached runtimes among the stored settings.
pub(crate) fn attached_in(stored: &BTreeMap<String, Value>) -> Vec<Attached> {
    let Some(value) = stored.get(RUNTIMES) else { return Vec::new() };
    serde_json::from_value(value.clone()).unwrap_or_else(|problem| {
        tracing::error!(%problem, "the attached runtimes cannot be read; attach them again");
        Vec::new()
    })
}

/// Which runtimes answer, by name. One that is absent was not tried yet.
#[derive(Default)]
pub(crate) struct Connections {
    known: Mutex<BTreeMap<String, Result<Arc<HttpEngine>, Problem>>>,
    /// Held while the list of runtimes changes.
    changing: tokio::sync::Mutex<()>,
}

impl Connections {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Result<Arc<HttpEngine>, Problem>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine of a runtime that answers.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn engine(&self, name: &str) -> Result<Arc<HttpEngine>, Problem> {
        let untried = || {
            let hint = "wait a moment; the first token may have to wait until the model is loaded there";
            Err(Problem::new(Code::Unavailable, format!("{name} has not answered yet"), hint))
        };
        self.known().get(name).cloned().unwrap_or_else(untried)
    }

    /// Refuses what waits and ends what runs on any of them.
    pub(crate) fn stop(&self) {
        self.known().values().flatten().for_each(|engine| engine.stop());
    }
}

/// Where on this machine some work is done.
pub(crate) struct Workplace {
    /// What does it.
    pub(crate) engine: Arc<dyn Engine>,
    /// The model's file or folder; none for work without a model and for runtimes, which have their own.
    pub(crate) model: Option<PathBuf>,
    /// The runtime, by its name; none for the own worker.
    pub(crate) runtime: Option<String>,
    /// What the offer says of the machine.
    pub(crate) adapter: String,
    /// Texts at the same time, if the runtime limits them.
    pub(crate) slots: Option<u32>,
}

impl Node {
    /// Where some work is done here: on a runtime that is attached for its model, else by the own worker. For a
    /// client only where it can be checked, which needs the text's tokens.
    ///
    /// # Errors
    /// As [`Node::model`]; [`Code::Invalid`] for a text that is longer than the runtime's context.
    pub(crate) async fn workplace(&self, work: &Work, for_client: bool) -> Result<Workplace, Problem> {
        if let Work::Generate(text) = work {
            let settings = self.settings();
            // Where tokens are drawn, a client can follow only our own draws.
            let runtime = self.local_runtime(&text.model, for_client);
            let runtime = runtime.filter(|_| !for_client || text.sampling.temperature == 0.0);
            if let Some((name, engine)) = runtime {
                let said = engine.runtime();
                let tokens = text.prompt_tokens.saturating_add(text.max_tokens);
                if let Some(context) = said.context.filter(|context| tokens > *context) {
                    return Err(Problem::new(
                        Code::Invalid,
                        format!("prompt and text may have {tokens} tokens together, but {name} has room for {context}"),
                        "shorten the prompt or lower max_tokens, or start the runtime with a larger context",
                    ));
                }
                return Ok(Workplace {
                    model: None,
                    runtime: Some(name),
                    adapter: said.worker_info().adapter,
                    slots: Some(said.slots),
                    engine,
                });
            }
            let model = self.model(work).await?;
            models::within_context(&settings, text)?;
            return Ok(self.own_worker(model));
        }
        let model = self.model(work).await?;
        Ok(self.own_worker(model))
    }

    /// A runtime of this machine that answers and does the jobs of a model, and its name.
    pub(crate) fn local_runtime(&self, model: &ModelRef, for_client: bool) -> Option<(String, Arc<HttpEngine>)> {
        let settings = self.settings();
        let mut local = settings.runtimes.iter().filter(|runtime| runtime.cloud.is_none() && runtime.does(model));
        local.find_map(|runtime| {
            let engine = self.runtimes.engine(&runtime.name).ok()?;
            (!for_client || engine.runtime().has_token_ids).then(|| (runtime.name.clone(), engine))
        })
    }

    fn own_worker(&self, model: Option<PathBuf>) -> Workplace {
        let adapter = self.engine.info().map(|worker| worker.adapter).unwrap_or_default();
        Workplace { engine: self.engine.clone(), model, runtime: None, adapter, slots: None }
    }

    /// Notes that a runtime failed a job, if that was because it is gone: it is tried again later.
    pub(crate) fn runtime_failed(&self, runtime: Option<&str>, problem: &Problem) {
        let gone = matches!(problem.code, Code::Unavailable | Code::Lost | Code::Unauthenticated);
        if let Some(name) = runtime.filter(|_| gone) {
            self.runtimes.known().insert(name.to_owned(), Err(problem.clone()));
            self.live.touch();
        }
    }

    /// The models that clients may have on attached runtimes.
    pub(crate) fn models_on_runtimes(&self) -> Vec<ModelRef> {
        let settings = self.settings();
        let sold = |runtime: &&Attached| {
            runtime.cloud.is_none()
                && self.runtimes.engine(&runtime.name).is_ok_and(|engine| engine.runtime().has_token_ids)
        };
        settings.runtimes.iter().filter(sold).filter_map(|runtime| runtime.serves.clone()).collect()
    }

    /// How an attached runtime says that a model's weights are stored.
    pub(crate) fn quantisation_on_runtime(
        &self,
        settings: &crate::settings::Settings,
        model: &tender_base::Sha256,
    ) -> Option<String> {
        let serves = |runtime: &&Attached| runtime.serves.as_ref().is_some_and(|served| served.sha256 == *model);
        let runtime = settings.runtimes.iter().find(serves)?;
        self.runtimes.engine(&runtime.name).ok()?.runtime().quantisation.clone()
    }

    /// Tries a runtime, and attaches it if it works.
    ///
    /// # Errors
    /// [`Code::Invalid`] naming the field, [`Code::Conflict`] for a name that is taken, [`Code::TooMany`], what
    /// [`HttpEngine::attach`] finds, and [`Code::Storage`] when the key cannot be kept.
    pub(crate) async fn attach_runtime(&self, runtime: Attached, key: Option<String>) -> Result<(), Problem> {
        check(&runtime)?;
        let _changing = self.runtimes.changing.lock().await;
        let mut runtimes = self.settings().runtimes;
        if runtimes.iter().any(|other| other.name == runtime.name) {
            let hint = "choose another name, or detach the other one first";
            return Err(Problem::new(Code::Conflict, format!("there is a runtime {} already", runtime.name), hint));
        }
        if runtimes.len() >= MAX_RUNTIMES {
            let hint = "detach one that you no longer need";
            return Err(Problem::new(Code::TooMany, format!("there are {MAX_RUNTIMES} runtimes"), hint));
        }
        let secret = key.as_deref().map(Key::new).transpose()?;
        let engine = HttpEngine::attach(runtime.attachment(secret)).await?;
        let name = runtime.name.clone();
        if let Some(key) = key {
            let place = self.secret_of(&name)?;
            in_thread(move || place.write(key.trim().as_bytes())).await?;
        }
        runtimes.push(runtime);
        self.store_runtimes(&runtimes).await?;
        self.runtimes.known().insert(name, Ok(Arc::new(engine)));
        self.live.touch();
        Ok(())
    }

    /// Forgets a runtime and its key. What runs there ends.
    ///
    /// # Errors
    /// [`Code::NotFound`], or [`Code::Storage`] when its key cannot be deleted.
    pub(crate) async fn detach_runtime(&self, name: &str) -> Result<(), Problem> {
        let _changing = self.runtimes.changing.lock().await;
        let mut runtimes = self.settings().runtimes;
        let at = runtimes.iter().position(|runtime| runtime.name == name).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("there is no runtime {name}"), "`tender runtimes` lists them")
        })?;
        if runtimes.remove(at).has_key {
            let place = self.secret_of(name)?;
            in_thread(move || place.delete()).await?;
        }
        self.store_runtimes(&runtimes).await?;
        if let Some(Ok(engine)) = self.runtimes.known().remove(name) {
            engine.stop();
        }
        self.live.touch();
        Ok(())
    }

    /// Connects to every attached runtime, and again to those that went away.
    pub(crate) async fn keep_connected(self: Arc<Self>) {
        loop {
            let runtimes = self.settings().runtimes;
            let lost: Vec<Attached> =
                runtimes.into_iter().filter(|runtime| self.runtimes.engine(&runtime.name).is_err()).collect();
            futures::future::join_all(lost.into_iter().map(|runtime| self.connect(runtime))).await;
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn connect(&self, runtime: Attached) {
        let found = async {
            let key = if runtime.has_key { Some(self.key_of(&runtime.name).await?) } else { None };
            HttpEngine::attach(runtime.attachment(key)).await.map(Arc::new)
        };
        let found = found.await;
        // Nothing changes the list while its entry is replaced: what was detached meanwhile stays away.
        let _changing = self.runtimes.changing.lock().await;
        if self.settings().runtimes.contains(&runtime) {
            self.runtimes.known().insert(runtime.name, found);
            self.live.touch();
        }
    }

    async fn key_of(&self, name: &str) -> Result<Key, Problem> {
        let place = self.secret_of(name)?;
        let missing = || {
            let hint = format!("detach it and attach it again with its key: tender runtimes detach {name}");
            Problem::new(Code::Unauthenticated, format!("the key of {name} is missing from the secrets"), hint)
        };
        let secret = in_thread(move || place.read()).await?.ok_or_else(missing)?;
        Key::new(std::str::from_utf8(&secret).map_err(|_| missing())?)
    }

    fn secret_of(&self, name: &str) -> Result<Box<dyn crate::identity::SecretStore>, Problem> {
        let secrets = self.identity.secrets.as_ref();
        let none = || Problem::new(Code::Unavailable, "this process keeps no secrets", "start a node: tender serve");
        Ok(secrets.ok_or_else(none)?.of_runtime(name))
    }

    async fn store_runtimes(&self, runtimes: &[Attached]) -> Result<(), Problem> {
        let value = serde_json::to_value(runtimes)
            .map_err(|e| Problem::new(Code::Internal, format!("the runtimes cannot be written: {e}"), ""))?;
        self.set(RUNTIMES, value).await
    }
}

/// Secrets block: a keyring may ask its owner for a password.
pub(crate) async fn in_thread<T: Send + 'static>(
    action: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let ended = |e| Problem::new(Code::Internal, format!("the secret store ended early: {e}"), "");
    spawn_blocking(action).await.map_err(ended)?
}

fn check(runtime: &Attached) -> Result<(), Problem> {
    let Attached { name, serves, slots, cloud, .. } = runtime;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Problem::new(
            Code::Invalid,
            format!("name is {name:?}, which cannot be the name of a runtime"),
            format!("use 1 to {MAX_NAME} letters, digits, - or _"),
        ));
    }
    if cloud.is_none() && serves.is_none() {
        return Err(Problem::new(
            Code::Invalid,
            "serves is missing: which model's jobs the runtime does",
            "name a model of `tender models`: the one whose file the runtime has loaded",
        ));
    }
    if slots.is_some_and(|slots| !(1..=64).contains(&slots)) {
        return Err(Problem::new(
            Code::Invalid,
            "slots must be between 1 and 64",
            "leave it out to use the runtime's own",
        ));
    }
    let dear = |price: u64| price > MAX_PRICE;
    if cloud.is_some_and(|p| dear(p.prompt_micro_usd_per_million) || dear(p.text_micro_usd_per_million)) {
        return Err(Problem::new(
            Code::Invalid,
            "a price is above $10,000 per million tokens",
            "state the provider's prices in micro-USD per million tokens: $0.15 is 150000",
        ));
    }
    Ok(())
}

/// Dearest price, micro-USD per million tokens: more is a slip of the keyboard.
const MAX_PRICE: u64 = 10_000_000_000;
