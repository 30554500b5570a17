//! From what the user typed to a stored job.

use crate::{
    api::types::{SubmitInput, SubmitMessage, SubmitWork, Submitted},
    client::Decided,
    models,
    node::Node,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use std::{sync::Arc, time::Duration};
use tender_base::{
    BlobRef, Book, Code, JobSpec, JobState, MicroUsd, Problem, Work,
    catalogue::ModelKind,
    ids::JobId,
    job::{
        Access, Constraints, Element, GenerateWork, MAX_PASSAGES, ModelRef, Precision, Privacy, Sampling, WgslBuffer,
        WgslWork,
    },
    kernel::{Kernel, KernelWork},
    text::{Chat, ChatMessage, ChatRole, Prompt, Raw},
};
use tender_engine::Tenant;
use tender_market::verification;
use tender_store::{Event, JobRecord};

/// Time a job may take when nothing else is said, and at most (a week).
const DEFAULT_DEADLINE_SECONDS: u32 = 300;
const MAX_DEADLINE_SECONDS: u32 = 7 * 24 * 3600;
/// Tokens of a text when nothing else is said: a long paragraph.
const DEFAULT_MAX_TOKENS: u32 = 256;
/// Largest budget, a million dollars: more is a slip of the keyboard.
const MAX_BUDGET: i64 = 1_000_000_000_000;

/// Where the tokens of a job's input come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tokens {
    /// They are counted, in the queue of whom the job is for.
    CountedFor(Tenant),
    /// They were counted before.
    Known(u64),
}

impl Node {
    /// Stores a job and starts to drive it, or only decides (`dry_run`).
    ///
    /// # Errors
    /// [`Code::Invalid`] or [`Code::TooLarge`] naming the field, [`Code::Unavailable`] when this machine lacks the
    /// model or is stopped.
    pub(crate) async fn submit(self: &Arc<Self>, input: SubmitInput) -> Result<Submitted, Problem> {
        if self.settings().stopped {
            return Err(Problem::new(Code::Unavailable, "everything is stopped", "switch it on again first"));
        }
        let peers_only = input.peers_only == Some(true);
        let constraints = self.constraints(&input)?;
        let book = self.config.book;
        if input.dry_run != Some(true) {
            let job = self.submit_in(book, input.work, constraints, peers_only).await?;
            return Ok(Submitted { job: Some(job.to_string()), explanation: None });
        }
        let record = self.unstored(book, input.work, constraints, peers_only).await?;
        let receipt = self.rehearse(&record).await?;
        Ok(Submitted { job: None, explanation: Some(Decided::Now(Box::new(receipt)).explanation()?) })
    }

    /// A job as it would be stored, for deciding only.
    pub(crate) async fn unstored(
        &self,
        book: Book,
        work: SubmitWork,
        constraints: Constraints,
        peers_only: bool,
    ) -> Result<JobRecord, Problem> {
        let (spec, _) = self.prepare(work, constraints).await?;
        let now = self.now();
        Ok(JobRecord {
            id: JobId::new(self.clock.as_ref(), self.entropy.as_ref()),
            book,
            kind: spec.work.kind(),
            state: JobState::Queued,
            spec,
            peers_only,
            decision: None,
            hired: None,
            checked: None,
            reason: None,
            output: None,
            charged: None,
            submitted_at: now,
            changed_at: now,
            times: Vec::new(),
        })
    }

    /// Stores a job in the given book and starts to drive it.
    pub(crate) async fn submit_in(
        self: &Arc<Self>,
        book: Book,
        work: SubmitWork,
        constraints: Constraints,
        peers_only: bool,
    ) -> Result<JobId, Problem> {
        let (spec, bytes) = self.prepare(work, constraints).await?;
        self.submit_spec(book, spec, &bytes, peers_only).await
    }

    /// Submits what a job asked for once more: the same work on the same input, under the same budget, with as much time
    /// as it had, from now on.
    ///
    /// # Errors
    /// [`Code::NotFound`] for an unknown job and when its input is not kept any more, [`Code::Unavailable`] when
    /// everything is stopped, or this machine cannot check such work any more.
    pub(crate) async fn run_again(self: &Arc<Self>, id: JobId) -> Result<JobId, Problem> {
        self.not_stopped()?;
        let job = self.job_record(id).await?;
        let bytes = self.kept_input(&job).await?;
        let mut spec = job.spec;
        self.can_check(&spec.work).await?;
        spec.constraints.deadline = self.now().after(spec.constraints.deadline.since(job.submitted_at));
        self.submit_spec(job.book, spec, &bytes, job.peers_only).await
    }

    /// The input of a job.
    ///
    /// # Errors
    /// [`Code::NotFound`] when it is not kept any more.
    pub(crate) async fn kept_input(&self, job: &JobRecord) -> Result<Vec<u8>, Problem> {
        self.store.blob(&job.spec.input).await.map_err(|e| e.problem())?.ok_or_else(|| {
            let message = format!("the input of job {} is not kept any more", job.id);
            Problem::new(Code::NotFound, message, "submit it anew with its input")
        })
    }

    async fn submit_spec(
        self: &Arc<Self>,
        book: Book,
        spec: JobSpec,
        bytes: &[u8],
        peers_only: bool,
    ) -> Result<JobId, Problem> {
        self.store.put_blob(bytes).await.map_err(|e| e.problem())?;
        let job = JobId::new(self.clock.as_ref(), self.entropy.as_ref());
        let node = self.clone();
        // A caller that hangs up now must not leave a stored job that nobody drives.
        self.to_the_end(async move {
            let submitted = Event::JobSubmitted { job, book, spec, peers_only, submitted_at: node.now() };
            node.apply(vec![submitted], Vec::new()).await?;
            node.spawn_work(job.uuid(), node.clone().drive(job, false));
            Ok(job)
        })
        .await
    }

    async fn prepare(&self, work: SubmitWork, constraints: Constraints) -> Result<(JobSpec, Vec<u8>), Problem> {
        let (work, bytes) = self.work_and_input(work, Tokens::CountedFor(Tenant::Own)).await?;
        self.can_check(&work).await?;
        let input = BlobRef::of(&bytes);
        work.check(&input)?;
        Ok((JobSpec { work, input, constraints }, bytes))
    }

    /// Texts and kernels are checked by computing parts of them again here; a machine that cannot would pay unchecked.
    async fn can_check(&self, work: &Work) -> Result<(), Problem> {
        if verification::takes_card(work) {
            match self.engine.open().await {
                // It waits for the card, which was fine when it last worked.
                Err(_) if self.lookout.takes_all() => {}
                opened => drop(opened?),
            }
        }
        Ok(())
    }

    fn constraints(&self, input: &SubmitInput) -> Result<Constraints, Problem> {
        let budget = input.budget_micro_usd;
        if !(0..=MAX_BUDGET).contains(&budget) {
            return Err(invalid(format!("budget_micro_usd is {budget}, but must be between 0 and {MAX_BUDGET}")));
        }
        let seconds = input.deadline_seconds.unwrap_or(DEFAULT_DEADLINE_SECONDS);
        if !(1..=MAX_DEADLINE_SECONDS).contains(&seconds) {
            return Err(invalid(format!("deadline_seconds is {seconds}, but must be between 1 and a week")));
        }
        Ok(Constraints {
            budget: MicroUsd(budget),
            deadline: self.now().after(Duration::from_secs(u64::from(seconds))),
            privacy: if input.private == Some(true) { Privacy::Own } else { Privacy::Peers },
        })
    }

    /// The work and its input blob.
    pub(crate) async fn work_and_input(&self, work: SubmitWork, tokens: Tokens) -> Result<(Work, Vec<u8>), Problem> {
        match work {
            SubmitWork::Embed { model, passages } => self.prepare_embed(model.as_deref(), &passages, tokens).await,
            SubmitWork::Generate { model, messages, prompt, max_tokens, temperature, top_k, top_p, seed, stop } => {
                let greedy = Sampling::GREEDY;
                let sampling = Sampling {
                    temperature: temperature.unwrap_or(greedy.temperature),
                    top_k: top_k.unwrap_or(greedy.top_k),
                    top_p: top_p.unwrap_or(greedy.top_p),
                    seed: seed.unwrap_or(greedy.seed),
                };
                let model = models::text_model(&self.settings(), model.as_deref())?;
                let prompt = prompt_of(messages, prompt)?;
                let bytes = serde_json::to_vec(&prompt).map_err(|e| invalid(format!("messages: {e}")))?;
                let prompt_tokens = self.prompt_tokens(&model, &bytes, tokens).await?;
                let max_tokens = max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
                let stop = stop.unwrap_or_default();
                let work = GenerateWork { model, prompt_tokens, max_tokens, sampling, stop };
                models::within_context(&self.settings(), &work)?;
                Ok((Work::Generate(work), bytes))
            }
            SubmitWork::Gemm { m, k, n, precision, input_base64 } => {
                let precision = match precision.as_deref() {
                    None | Some("f32") => Precision::F32,
                    Some("f16") => Precision::F16,
                    Some(other) => return Err(invalid(format!("precision is {other}, but must be f32 or f16"))),
                };
                let bytes = decode("input_base64", &input_base64)?;
                finite(precision, &bytes)?;
                Ok((Work::Gemm { m, k, n, precision }, bytes))
            }
            SubmitWork::Kernel { name, rows, columns, input_base64 } => {
                let Some(kernel) = Kernel::named(&name) else {
                    let names = Kernel::ALL.map(Kernel::name).join(", ");
                    return Err(invalid(format!("name is {name}, but must be one of {names}")));
                };
                Ok((Work::Kernel(KernelWork { name: kernel, rows, columns }), decode("input_base64", &input_base64)?))
            }
            SubmitWork::Wgsl { source, entry, workgroups, workgroup_size, fuel, element, buffers } => {
                let element = match element.as_str() {
                    "u32" => Element::U32,
                    "f32" => Element::F32,
                    other => return Err(invalid(format!("element is {other}, but must be u32 or f32"))),
                };
                let mut bytes = source.into_bytes();
                let source_bytes = u32::try_from(bytes.len()).map_err(|_| invalid("source is too long".to_owned()))?;
                let mut declared = Vec::with_capacity(buffers.len());
                for buffer in buffers {
                    let access = if buffer.data_base64.is_some() { Access::Read } else { Access::Write };
                    if let Some(text) = &buffer.data_base64 {
                        let data = decode("data_base64", text)?;
                        if data.len() as u64 != u64::from(buffer.bytes) {
                            return Err(invalid(format!(
                                "the buffer of binding {} has {} bytes but declares {}",
                                buffer.binding,
                                data.len(),
                                buffer.bytes
                            )));
                        }
                        bytes.extend(data);
                    }
                    declared.push(WgslBuffer { binding: buffer.binding, access, bytes: buffer.bytes });
                }
                let work =
                    WgslWork { source_bytes, entry, workgroups, workgroup_size, fuel, buffers: declared, element };
                Ok((Work::Wgsl(work), bytes))
            }
        }
    }

    /// A prompt's tokens are part of the bill. They are counted with the model's own tokenizer and template: by the own
    /// worker; on a machine without the model, by a runtime that has it.
    async fn prompt_tokens(&self, model: &ModelRef, prompt: &[u8], tokens: Tokens) -> Result<u32, Problem> {
        let tenant = match tokens {
            Tokens::CountedFor(tenant) => tenant,
            Tokens::Known(tokens) => {
                return u32::try_from(tokens).map_err(|_| invalid("the prompt is too long".to_owned()));
            }
        };
        let lacking = match self.model_to_check_with(ModelKind::Text, model).await {
            Ok(path) => {
                let counted = self.engine.count_tokens(&path, prompt.to_vec().into(), tenant).await?;
                let several = || Problem::new(Code::Internal, "the worker counted more than one prompt", "");
                return counted.first().copied().filter(|_| counted.len() == 1).ok_or_else(several);
            }
            Err(problem) => problem,
        };
        match self.local_runtime(model, false) {
            Some((_, engine)) => engine.count_prompt(prompt).await,
            None => Err(lacking),
        }
    }

    /// Tokens are counted by the own worker: they are what is billed, and `tender` itself has no tokenizer.
    async fn prepare_embed(
        &self,
        model: Option<&str>,
        passages: &[String],
        tokens: Tokens,
    ) -> Result<(Work, Vec<u8>), Problem> {
        let count = u32::try_from(passages.len()).unwrap_or(u32::MAX);
        if !(1..=MAX_PASSAGES).contains(&count) {
            return Err(invalid(format!("passages has {count} texts, but must have 1 to {MAX_PASSAGES}")));
        }
        let model = models::encoder(&self.settings(), model)?;
        let bytes = serde_json::to_vec(passages).map_err(|e| invalid(format!("passages: {e}")))?;
        let tokens = match tokens {
            Tokens::Known(tokens) => tokens,
            Tokens::CountedFor(tenant) => {
                let dir = self.model_to_check_with(ModelKind::Embed, &model).await?;
                let counted = self.engine.count_tokens(&dir, bytes.clone().into(), tenant).await?;
                if counted.len() != passages.len() {
                    return Err(Problem::new(Code::Internal, "the worker counted another number of passages", ""));
                }
                counted.into_iter().map(u64::from).sum()
            }
        };
        Ok((Work::Embed { model, passages: count, tokens }, bytes))
    }
}

fn prompt_of(messages: Option<Vec<SubmitMessage>>, prompt: Option<String>) -> Result<Prompt, Problem> {
    match (messages, prompt) {
        (Some(messages), None) => {
            let message = |SubmitMessage { role, content }| {
                let role = match role.as_str() {
                    "system" => ChatRole::System,
                    "user" => ChatRole::User,
                    "assistant" => ChatRole::Assistant,
                    other => return Err(invalid(format!("role is {other}, but must be system, user or assistant"))),
                };
                Ok(ChatMessage { role, content })
            };
            Ok(Prompt::Chat(Chat { messages: messages.into_iter().map(message).collect::<Result<_, _>>()? }))
        }
        (None, Some(prompt)) => Ok(Prompt::Raw(Raw { prompt })),
        _ => Err(invalid("generate needs either messages or prompt".to_owned())),
    }
}

/// A product of anything else than finite numbers could not be checked, and would be refused when it is delivered.
fn finite(precision: Precision, bytes: &[u8]) -> Result<(), Problem> {
    // The exponent's bits, in the upper half of an element: all set for infinities and NaN.
    let mask = match precision {
        Precision::F32 => 0x7f80,
        Precision::F16 => 0x7c00,
    };
    let element = precision.bytes() as usize;
    let upper = |e: &[u8]| e.last_chunk().map_or(0, |b| u16::from_le_bytes(*b));
    match bytes.chunks_exact(element).position(|e| upper(e) & mask == mask) {
        Some(at) => Err(invalid(format!("element {at} of the input is not a finite number"))),
        None => Ok(()),
    }
}

fn decode(field: &str, text: &str) -> Result<Vec<u8>, Problem> {
    BASE64.decode(text).map_err(|e| invalid(format!("{field} is no base64: {e}")))
}

fn invalid(message: String) -> Problem {
    Problem::new(Code::Invalid, message, "correct the job and submit it again")
}
