//! Runtimes that speak OpenAI's HTTP: a `llama-server`, Ollama or vLLM that the owner runs on this machine, and clouds
//! with the owner's key.
//!
//! The owner alone chooses address and model; an order can only ask for what was attached. Runtimes on this machine are
//! dialled on loopback addresses only, clouds by HTTPS only; no redirect is followed and no proxy used. Everything that
//! comes back is bounded in size and time, and read as text, numbers and nothing else.
//!
//! A text is billed by the usage that the runtime reports; one that reports none, or whose report contradicts what it
//! sent, fails the order. For work that is sold, the prompt must have as many tokens as the job declares.

mod address;
mod request;
mod runtime;
mod stream;
mod transport;

pub use address::Place;
pub use runtime::{Runtime, RuntimeKind};
pub use transport::Key;

use crate::{Engine, Order, Output, Progress, ProgressSender, Tenant, local::taken_back};
use address::Address;
use bytes::Bytes;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use stream::{Ended, Events, Reader};
use tender_base::{
    Code, Problem, Work,
    job::{GenerateWork, ModelRef},
    text::{Finish, Prompt, Raw},
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};
use transport::{Limits, Transport, not_openai};

/// Orders that may wait: more would outlive any deadline.
const MAX_QUEUED: usize = 64;
/// The text so far is shown at most so often.
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// A runtime as its owner names it.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Where it is: `127.0.0.1:8080`, `http://localhost:11434`, `https://api.example/v1`.
    pub address: String,
    /// On this machine or a cloud.
    pub place: Place,
    /// The runtime's own name for the model; not needed when it has only one.
    pub model: Option<String>,
    /// The model it is sold as. Orders for another are refused. `None` takes any order: for a cloud, where the buyer
    /// has decided that its model will do.
    pub sold_as: Option<ModelRef>,
    /// What it asks for, if it does.
    pub key: Option<Key>,
    /// Orders at the same time; what the runtime says when absent.
    pub slots: Option<u32>,
}

/// Runs text generation on a runtime that is not ours.
///
/// Orders wait in the order of their arrival for one of the runtime's slots. Dropping an order's future closes its
/// connection, upon which the runtime stops writing.
pub struct HttpEngine {
    transport: Transport,
    runtime: Runtime,
    sold_as: Option<ModelRef>,
    /// Orders that may be here, waiting or running.
    seats: Semaphore,
    slots: Semaphore,
    /// How often the engine was stopped.
    stops: watch::Sender<u64>,
}

impl HttpEngine {
    /// Finds out what the runtime is, and has it write one token.
    ///
    /// # Errors
    /// [`Code::Invalid`] for an address where no runtime may be or something that does not speak OpenAI's API,
    /// [`Code::Unavailable`] when nothing answers, [`Code::Unauthenticated`] for a wrong key, [`Code::NotFound`] when it
    /// does not have the model, [`Code::Forged`] when it has loaded another file than the one it is sold as, and
    /// [`Code::WorkFailed`] when it does not report what it uses.
    pub async fn attach(attachment: Attachment) -> Result<Self, Problem> {
        Self::attach_within(attachment, Limits::default()).await
    }

    async fn attach_within(attachment: Attachment, limits: Limits) -> Result<Self, Problem> {
        let Attachment { address, place, model, sold_as, key, slots } = attachment;
        let address = Address::check(&address, place).await?;
        let transport = Transport::new(address, place, key, limits)?;
        let mut runtime = runtime::probe(&transport, model.as_deref(), sold_as.as_ref()).await?;
        runtime.slots = slots.unwrap_or(runtime.slots).max(1);
        let slots = runtime.slots as usize;
        Ok(Self {
            transport,
            runtime,
            sold_as,
            seats: Semaphore::new(slots + MAX_QUEUED),
            slots: Semaphore::new(slots),
            stops: watch::Sender::new(0),
        })
    }

    /// What the runtime said of itself when it was attached.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Refuses everything that waits and closes the connections of what runs. The runtime keeps its model in memory:
    /// only its owner can end it.
    pub fn stop(&self) {
        self.stops.send_modify(|stops| *stops += 1);
    }

    /// Tokens of a prompt (as in an input blob), template included, as the runtime counts them.
    ///
    /// # Errors
    /// [`Code::Unavailable`] from a runtime that does not count, and as [`Engine::run`].
    pub async fn count_prompt(&self, prompt: &[u8]) -> Result<u32, Problem> {
        let prompt = self.rendered(Prompt::from_json(prompt)?).await?;
        let (body, field) = match (self.runtime.engine, prompt) {
            (RuntimeKind::LlamaServer, Prompt::Raw(raw)) => {
                (json!({"content": raw.prompt, "add_special": true, "parse_special": true}), "tokens")
            }
            (RuntimeKind::Vllm, Prompt::Raw(raw)) => {
                (json!({"model": self.runtime.model, "prompt": raw.prompt}), "count")
            }
            (RuntimeKind::Vllm, Prompt::Chat(chat)) => {
                (json!({"model": self.runtime.model, "messages": chat.messages}), "count")
            }
            _ => {
                return Err(Problem::new(
                    Code::Unavailable,
                    format!("the runtime {} does not count tokens", self.runtime.engine.name()),
                    "use a model of the catalogue, or attach llama-server or vLLM",
                ));
            }
        };
        let answer = self.transport.ask_about("tokenize", &body).await?.unwrap_or_default();
        let count = match &answer[field] {
            Value::Array(tokens) => Some(tokens.len() as u64),
            other => other.as_u64(),
        };
        count
            .and_then(|count| u32::try_from(count).ok())
            .ok_or_else(|| not_openai("it was asked to count tokens and named no number"))
    }

    /// The work, if this runtime was attached for it.
    fn accepted<'a>(&self, order: &'a Order) -> Result<&'a GenerateWork, Problem> {
        let Work::Generate(work) = &order.work else {
            let why = format!("{} work is not for a language model's runtime", order.work.kind().name());
            return Err(Problem::new(Code::Unavailable, why, "run it on the own card or a peer's"));
        };
        match &self.sold_as {
            Some(sold_as) if *sold_as != work.model => Err(Problem::new(
                Code::NotFound,
                format!("the runtime is attached as {}, not as {}", sold_as.name, work.model.name),
                "choose a model that is offered",
            )),
            _ => Ok(work),
        }
    }

    /// A chat as text, where the runtime's own template can be had alone. llama-server's chat does not tell the token
    /// that ended the text, its continuation of a rendered chat does.
    async fn rendered(&self, prompt: Prompt) -> Result<Prompt, Problem> {
        let chat = match prompt {
            Prompt::Chat(chat) if self.runtime.engine == RuntimeKind::LlamaServer => chat,
            other => return Ok(other),
        };
        let answer = self.transport.ask_about("apply-template", &json!({"messages": chat.messages})).await?;
        match answer.as_ref().and_then(|answer| answer["prompt"].as_str()) {
            Some(prompt) if !prompt.is_empty() => Ok(Prompt::Raw(Raw { prompt: prompt.to_owned() })),
            _ => Err(Problem::new(
                Code::Unavailable,
                "the llama-server does not render chats",
                "update llama-server: /apply-template came in 2025",
            )),
        }
    }

    async fn write(
        &self,
        work: &GenerateWork,
        input: &[u8],
        tenant: Tenant,
        progress: &ProgressSender,
    ) -> Result<Ended, Problem> {
        let total = work.max_tokens;
        progress.send_replace(Progress { done: 0, total, text: Arc::default() });
        let prompt = self.rendered(Prompt::from_json(input)?).await?;
        let (path, body) = request::of(&self.runtime, work, &prompt, tenant)?;
        let mut response = self.transport.stream(path, &body).await?;
        let (mut events, mut reader) = (Events::of(total), Reader::of(total));
        let mut shown = Instant::now();
        while !reader.is_done() {
            let Some(bytes) = self.transport.next(&mut response, reader.pieces > 0).await? else { break };
            for event in events.push(&bytes)? {
                reader.take(&event, |said| self.transport.failed(said))?;
            }
            if shown.elapsed() >= SHOWN_EVERY || reader.is_done() {
                shown = Instant::now();
                let done = reader.pieces.max(u32::try_from(reader.ids.len()).unwrap_or(u32::MAX)).min(total);
                progress.send_replace(Progress { done, total, text: reader.text.as_str().into() });
            }
        }
        drop(response);
        let mut ended = reader.end()?;
        if self.transport.place == Place::Loopback {
            self.check(work, &ended)?;
            if self.runtime.engine == RuntimeKind::LlamaServer && !ended.has_all_ids() {
                ended.complete_ids(&self.tokenized(&ended.text).await?);
            }
        }
        Ok(ended)
    }

    /// What a text must hold to be sold: it is what the job says, as the job counts.
    fn check(&self, work: &GenerateWork, ended: &Ended) -> Result<(), Problem> {
        let counted = ended.usage.prompt_tokens;
        if counted != work.prompt_tokens {
            return Err(Problem::new(
                Code::Invalid,
                format!("the runtime counts {counted} tokens in the prompt, the job {}", work.prompt_tokens),
                "count the prompt with this model's own tokenizer and template",
            ));
        }
        if ended.thoughts {
            return Err(Problem::new(
                Code::WorkFailed,
                "the runtime keeps a part of the text to itself, as the model's thoughts",
                "start it without a reasoning parser, or with reasoning turned off",
            ));
        }
        if ended.finish == Finish::Length && ended.usage.completion_tokens < work.max_tokens {
            return Err(Problem::new(
                Code::TooLarge,
                format!("the runtime's context was full after {counted} + {} tokens", ended.usage.completion_tokens),
                "start the runtime with a larger context, or ask for fewer tokens",
            ));
        }
        Ok(())
    }

    async fn tokenized(&self, text: &str) -> Result<Vec<u32>, Problem> {
        let body = json!({"content": text, "add_special": false, "parse_special": false});
        let answer = self.transport.ask_about("tokenize", &body).await?.unwrap_or_default();
        serde_json::from_value(answer["tokens"].clone()).map_err(|_| not_openai("it tokenises into no numbers"))
    }
}

#[async_trait::async_trait]
impl Engine for HttpEngine {
    async fn run(&self, order: Order, progress: ProgressSender) -> Result<Output, Problem> {
        let mut stops = self.stops.subscribe();
        let work = self.accepted(&order)?;
        let _seat = self.seats.try_acquire().map_err(|_| {
            Problem::new(
                Code::TooMany,
                format!("{MAX_QUEUED} orders already wait for this runtime"),
                "try again when some have finished",
            )
        })?;
        let written = async {
            let _slot = self.slots.acquire().await.map_err(|_| taken_back())?;
            let started = Instant::now();
            let limit = order.wall_limit;
            let ended =
                timeout(limit, self.write(work, &order.input, order.tenant, &progress)).await.map_err(|_| {
                    Problem::new(
                        Code::Expired,
                        format!("the text took longer than its limit of {} ms, and was given up", limit.as_millis()),
                        "make the job smaller or its limit longer",
                    )
                })??;
            let units = u64::from(ended.usage.prompt_tokens) + u64::from(ended.usage.completion_tokens);
            let prompt_tokens = Some(ended.usage.prompt_tokens);
            let bytes = serde_json::to_vec(&ended.generation())
                .map_err(|e| Problem::new(Code::Internal, format!("the text cannot be stored: {e}"), ""))?;
            let wall_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let worker = self.runtime.worker_info();
            Ok(Output { bytes: Bytes::from(bytes), units, prompt_tokens, wall_ms, worker })
        };
        tokio::select! {
            biased;
            _ = stops.changed() => Err(taken_back()),
            output = written => output,
        }
    }
}

#[cfg(test)]
mod llama_tests;
#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
