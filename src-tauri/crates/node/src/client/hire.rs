//! Hiring an A2A agent that is no peer. There is no contract: what it may cost at most is reserved before it is asked,
//! and it is paid for a text and for nothing else.

use super::{BETWEEN_ROUNDS_AT_MOST, RECOVERY, check::Checked, tendering::peers_only};
use crate::{
    agents::Agent,
    api::types::{SubmitMessage, SubmitWork},
    node::Node,
};
use std::{sync::Arc, time::Duration};
use tender_a2a::{
    Answer, Talk,
    card::Terms,
    wire::{Part, PartContent, TaskState},
};
use tender_base::{
    BlobRef, Book, Code, JobKind, JobState, MicroUsd, Problem, Sha256, Timestamp, Work,
    job::GenerateWork,
    ledger::{Account, Entry},
    text::{Chat, ChatRole, Finish, Generation, Prompt, Raw},
};
use tender_engine::{
    Progress,
    verify::{self, Claim, Probe},
};
use tender_market::{
    decision::{Actual, Alternative, Outcome, Source},
    verification,
};
use tender_store::{Event, Guard, Hired, JobRecord};
use tokio::time::Instant;

/// Tokens of prompt and text per second that are assumed of an agent before its first job.
const ASSUMED_TOKENS_PER_SECOND: f64 = 20.0;
/// How long an agent has for saying that it stopped.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);
/// Longest check of a text.
const CHECK_LIMIT: Duration = Duration::from_secs(600);
/// How much of an agent's words is repeated.
const MAX_WORDS: usize = 200;

/// A text, and what it comes to.
struct Written {
    output: Vec<u8>,
    charged: MicroUsd,
    checked: Checked,
}

impl Node {
    /// One alternative for each agent that was added.
    pub(super) async fn agent_alternatives(&self, job: &JobRecord) -> Vec<Alternative> {
        if job.spec.work.kind() != JobKind::Generate {
            return Vec::new();
        }
        // Demonstrations trade in no real money.
        if job.book == Book::Demo {
            return Vec::new();
        }
        let mut alternatives = Vec::new();
        for agent in self.settings().agents {
            let able = match self.agents.resting(&agent.name) {
                _ if job.peers_only => Err(peers_only()),
                Some(problem) => Err(problem),
                None => agent.price.most(&job.spec.work).ok_or_else(|| {
                    Problem::new(Code::Invalid, "the text is too long to be priced", "ask for a shorter one")
                }),
            };
            let outcome = match able {
                Err(problem) => Outcome::Unavailable { problem },
                Ok(cost) => Outcome::Offered {
                    cost,
                    checking: MicroUsd::ZERO,
                    cost_measured: false,
                    estimated_ms: self.agent_ms(&job.spec.work, &agent.name).await,
                    contract: None,
                },
            };
            alternatives.push(Alternative { source: source(&agent), outcome });
        }
        alternatives
    }

    async fn agent_ms(&self, work: &Work, name: &str) -> u64 {
        let known = self.throughput(Some(&place(name))).await.of(work.kind());
        (work.units() as f64 / known.unwrap_or(ASSUMED_TOKENS_PER_SECOND) * 1000.0).ceil() as u64
    }

    /// Has an agent write the text. Money moves with the job: reserved before it is asked, spent with the text, and
    /// given back when there is none.
    pub(super) async fn hire(self: &Arc<Self>, job: &JobRecord, name: &str) -> Result<(), Problem> {
        self.not_stopped()?;
        let Work::Generate(work) = &job.spec.work else {
            return Err(Problem::new(Code::Internal, "an agent was chosen for other work than text", ""));
        };
        let gone = || Problem::new(Code::Unavailable, format!("{name} was removed"), "add it again");
        let agent = self.settings().agents.into_iter().find(|agent| agent.name == name).ok_or_else(gone)?;
        let allowed = agent.price.most(&job.spec.work).ok_or_else(gone)?;
        let reserved = Entry::transfer(job.book, Some(job.id.hire()), Account::Reserved, Account::Unreserved, allowed);
        let (day_start, cap) = (self.now().start_of_day(), self.settings().daily_spend_cap);
        let guard = Guard::DailySpend { book: job.book, day_start, cap, amount: allowed };
        self.apply(vec![self.hired(job, vec![reserved])], vec![guard]).await?;
        let started = self.now();
        let done = match self.written_by(&agent, job, work, allowed, None).await {
            Ok(written) => self.paid(&agent, job, written, started).await,
            Err(problem) => {
                let problem = blamed(name, problem);
                self.agents.failed(name, &problem);
                self.observed(&place(name), false).await;
                Err(problem)
            }
        };
        if done.is_err() {
            self.release(job).await?;
        }
        done
    }

    /// Takes up what an agent had agreed to do when an earlier process ended: what it has written meanwhile is not
    /// bought again from somebody else. False when there is nothing of the kind, or nothing comes of it.
    pub(super) async fn hired_before(self: &Arc<Self>, job: &JobRecord) -> Result<bool, Problem> {
        let (Some(hired), Work::Generate(work)) = (&job.hired, &job.spec.work) else { return Ok(false) };
        let agent = self.settings().agents.into_iter().find(|agent| agent.name == hired.agent);
        let Some(agent) = agent else { return Ok(false) };
        let (started, give_up) = (self.now(), self.now().after(RECOVERY));
        loop {
            match self.written_by(&agent, job, work, hired.at_most, Some(hired)).await {
                Ok(written) => return self.paid(&agent, job, written, started).await.map(|()| true),
                // It may be starting again as well.
                Err(problem) if problem.code == Code::Unavailable && self.now() < give_up => {
                    tokio::time::sleep(BETWEEN_ROUNDS_AT_MOST).await;
                }
                Err(problem) => {
                    tracing::info!(job = %job.id, agent = agent.name, code = %problem.code, %problem, "what it had begun came to nothing");
                    return Ok(false);
                }
            }
        }
    }

    /// Stores a text and books what it cost, in one transaction with the end of the job.
    async fn paid(&self, agent: &Agent, job: &JobRecord, written: Written, started: Timestamp) -> Result<(), Problem> {
        let wall_ms = u64::try_from(self.now().since(started).as_millis()).unwrap_or(u64::MAX);
        self.learn(&job.spec.work, Some(&place(&agent.name)), job.spec.work.units(), wall_ms).await;
        self.observed(&place(&agent.name), true).await;
        let blob = self.store.put_blob(&written.output).await.map_err(|e| e.problem())?;
        let actual = Actual { charged: written.charged, wall_ms, contract: None, by: Some(source(agent)) };
        let mut events = self.decided_with(job.id, actual).await?;
        events.extend(self.bought_text(job, &written.output, wall_ms));
        // The end of the job gives the reservation back.
        let spent =
            Entry::transfer(job.book, Some(job.id.hire()), Account::Expense, Account::External, written.charged);
        events.push(Event::JobMoved {
            job: job.id,
            state: JobState::Completed,
            reason: None,
            output: Some(blob),
            charged: Some(written.charged),
            checked: serde_json::to_value(&written.checked).ok(),
            entries: if written.charged == MicroUsd::ZERO { Vec::new() } else { vec![spent] },
            at: self.now(),
        });
        self.apply(events, Vec::new()).await
    }

    /// Gives back what is reserved for a job itself: after an agent failed, or this process did.
    pub(super) async fn release(&self, job: &JobRecord) -> Result<(), Problem> {
        match self.store.release_of(job.id).await.map_err(|e| e.problem())? {
            Some(entry) => {
                let nobody = Event::JobHired { job: job.id, hired: None };
                self.apply(vec![self.hired(job, vec![entry]), nobody], Vec::new()).await
            }
            None => Ok(()),
        }
    }

    fn hired(&self, job: &JobRecord, entries: Vec<Entry>) -> Event {
        Event::JobMoved {
            job: job.id,
            state: JobState::Running,
            reason: None,
            output: None,
            charged: None,
            checked: None,
            entries,
            at: self.now(),
        }
    }

    async fn written_by(
        self: &Arc<Self>,
        agent: &Agent,
        job: &JobRecord,
        work: &GenerateWork,
        allowed: MicroUsd,
        before: Option<&Hired>,
    ) -> Result<Written, Problem> {
        let limit = crate::contractor::wall_limit(self.agent_ms(&job.spec.work, &agent.name).await);
        let until = Instant::now() + limit.min(job.spec.constraints.deadline.since(self.now()));
        let client = tokio::time::timeout_at(until, self.agent_client(agent))
            .await
            .map_err(|_| Problem::new(Code::Lost, "its card did not come in time", "try again later"))??;
        let input = self.stored_blob(&job.spec.input).await?;
        let speaks = Terms::of(&client.card()).ok().flatten().is_some();
        let (talk, parts) = match before {
            Some(hired) => (client.resume(hired.task.clone()), None),
            None => (client.talk(), Some(asked(speaks, work, &Prompt::from_json(&input)?)?)),
        };
        let mut engaged = Engaged { talk: Some(talk), node: self.clone() };
        let Some(talk) = &mut engaged.talk else {
            return Err(Problem::new(Code::Internal, "a conversation ended before it began", ""));
        };
        let charged = self.talked(talk, parts, &agent.name, job, until, allowed).await?;
        if speaks && talk.answer().state.is_none() {
            // Work under the extension is a task; without one it told how to buy, and that is no text to pay for.
            let message = format!("it did not take the job: {}", words(&talk.answer().said()));
            return Err(Problem::new(
                Code::Unauthenticated,
                message,
                "remove it and add it again with a key of its owner",
            ));
        }
        let (output, checked) = self.judged(talk.answer(), job, work, input).await?;
        engaged.talk = None;
        Ok(Written { output, charged, checked })
    }

    /// Asks, agrees to a price that was allowed, and waits for the end; what it costs.
    async fn talked(
        self: &Arc<Self>,
        talk: &mut Talk,
        parts: Option<Vec<Part>>,
        agent: &str,
        job: &JobRecord,
        until: Instant,
        allowed: MicroUsd,
    ) -> Result<MicroUsd, Problem> {
        let hired = |task: &str, at_most| {
            let hired = Hired { agent: agent.to_owned(), task: task.to_owned(), at_most };
            Event::JobHired { job: job.id, hired: Some(hired) }
        };
        let mut known = parts.is_none();
        let mut live = |answer: &Answer| {
            // One that asks no price works from the first word on.
            if let Some(task) = answer.task.as_deref().filter(|_| !known && !answer.is_settled()) {
                known = true;
                let (node, event) = (self.clone(), hired(task, allowed));
                self.spawn(async move {
                    if let Err(problem) = node.apply(vec![event], Vec::new()).await {
                        tracing::warn!(code = %problem.code, %problem, "a restart will not know of the agent's task");
                    }
                });
            }
            let text = answer.text();
            if !text.is_empty() && answer.state == Some(TaskState::Working) {
                self.live.report(job.id, Progress { done: 0, total: 0, text: text.into() });
            }
        };
        match parts {
            Some(parts) => talk.say(parts, until, &mut live).await?,
            None => talk.follow(until, &mut live).await?,
        }
        let mut charged = allowed;
        if talk.answer().state == Some(TaskState::InputRequired) {
            let Some(quote) = talk.answer().quote() else {
                let message = format!("it asks back: {}", words(&talk.answer().said()));
                return Err(Problem::new(Code::WorkFailed, message, "a job cannot answer; say more in the prompt"));
            };
            if quote < MicroUsd::ZERO || quote > allowed {
                let message = format!("it asks for {quote}, but was to cost {allowed} at most");
                let hint = "remove the agent and add it again if the new price is all right";
                return Err(Problem::new(Code::OverLimit, message, hint));
            }
            charged = quote;
            // From here on it works and may bill: a restart must know.
            if let Some(task) = &talk.answer().task {
                self.apply(vec![hired(task, quote)], Vec::new()).await?;
            }
            talk.say(vec![Part::text("yes")], until, &mut live).await?;
        }
        let answer = talk.answer();
        let said = || words(&answer.said());
        match &answer.state {
            None | Some(TaskState::Completed) => {
                Ok(answer.billed().filter(|billed| (MicroUsd::ZERO..=charged).contains(billed)).unwrap_or(charged))
            }
            Some(TaskState::InputRequired) => {
                Err(Problem::new(Code::WorkFailed, format!("it did not go on after a yes: {}", said()), ""))
            }
            Some(TaskState::AuthRequired) => {
                let hint = "add it again with a key";
                Err(Problem::new(Code::Unauthenticated, format!("it wants to know who asks: {}", said()), hint))
            }
            Some(state) => {
                Err(Problem::new(Code::WorkFailed, format!("it ended the task ({state:?}): {}", said()), ""))
            }
        }
    }

    /// The text of an answer as the job's output. One that tells its tokens is judged by the own model, as a peer's is.
    async fn judged(
        &self,
        answer: &Answer,
        job: &JobRecord,
        work: &GenerateWork,
        input: Vec<u8>,
    ) -> Result<(Vec<u8>, Checked), Problem> {
        let started = self.now();
        let told = generation(answer);
        let tokens = told.as_ref().and_then(|told| told.tokens.as_ref()).map(Vec::len);
        let told = told.unwrap_or_else(|| Generation { text: answer.text(), tokens: None, finish: Finish::Stop });
        if told.text.trim().is_empty() {
            return Err(Problem::new(Code::WorkFailed, "it finished without a text", ""));
        }
        let output = serde_json::to_vec(&told)
            .map_err(|e| Problem::new(Code::Internal, format!("the text is not writable: {e}"), ""))?;
        let Some(tokens) = tokens else { return Ok((output, Checked::not_possible())) };
        let units = u64::from(work.prompt_tokens) + tokens as u64;
        let seed = Sha256::of_parts(&[self.nonce(job.id.hire()).bytes(), BlobRef::of(&output).sha256.bytes()]);
        let claim =
            Claim { work: job.spec.work.clone(), input: input.into(), output: output.clone().into(), units, seed };
        let model = self.model(&claim.work).await?;
        let found = loop {
            self.lookout.looked().await;
            let engine = self.engine.as_ref();
            match verify::evidence(&claim, &Probe::Margins, engine, model.as_deref(), CHECK_LIMIT).await {
                // That the owner needs the card is no fault of the agent's, and the text can wait.
                Err(_) if self.card_is_taken() && self.now() < job.spec.constraints.deadline => {
                    self.card_released(job.id).await;
                }
                found => break found?,
            }
        };
        let mut verdict = verification::verdict(&claim.work, &found.evidence);
        if let (Err(problem), Some(fault)) = (&mut verdict, found.fault) {
            problem.message = format!("{}: {fault}", problem.message);
        }
        verdict?;
        let ms = u64::try_from(self.now().since(started).as_millis()).unwrap_or(u64::MAX);
        Ok((output, Checked::passed(found.evidence, ms)))
    }
}

/// A conversation about a job. However the job ends, an agent whose text is not taken is told to stop: it may be
/// writing still.
struct Engaged {
    talk: Option<Talk>,
    node: Arc<Node>,
}

impl Drop for Engaged {
    fn drop(&mut self) {
        if let Some(talk) = self.talk.take() {
            // Not at the end of the node, which goes on with it after its start.
            self.node.spawn(async move {
                let _ = tokio::time::timeout(CANCEL_LIMIT, talk.cancel()).await;
            });
        }
    }
}

fn source(agent: &Agent) -> Source {
    Source::Foreign {
        name: agent.name.clone(),
        url: agent.address.clone(),
        signed: agent.signer.is_some(),
        price: agent.price_of,
    }
}

/// Under which name an agent's speed is remembered; no runtime can have it.
pub(super) fn place(name: &str) -> String {
    format!("agent/{name}")
}

/// What went wrong, with the agent's name. That one agent finds a job invalid says nothing about the job.
fn blamed(name: &str, problem: Problem) -> Problem {
    let code = match problem.code {
        Code::Lost | Code::Unavailable | Code::Expired | Code::Forged | Code::Storage | Code::Internal => problem.code,
        _ => Code::WorkFailed,
    };
    Problem { code, message: format!("{name}: {}", problem.message), ..problem }
}

/// The job as the agent may take it: whole for an agent that speaks the contract extension, else in words.
fn asked(speaks: bool, work: &GenerateWork, prompt: &Prompt) -> Result<Vec<Part>, Problem> {
    if speaks {
        let (messages, raw) = match prompt {
            Prompt::Chat(Chat { messages }) => {
                let message = |said: &tender_base::text::ChatMessage| SubmitMessage {
                    role: role(said.role).to_owned(),
                    content: said.content.clone(),
                };
                (Some(messages.iter().map(message).collect()), None)
            }
            Prompt::Raw(Raw { prompt }) => (None, Some(prompt.clone())),
        };
        let job = SubmitWork::Generate {
            model: Some(work.model.name.clone()),
            messages,
            prompt: raw,
            max_tokens: Some(work.max_tokens),
            temperature: Some(work.sampling.temperature),
            top_k: Some(work.sampling.top_k),
            top_p: Some(work.sampling.top_p),
            seed: Some(work.sampling.seed),
            stop: Some(work.stop.clone()),
        };
        let job = serde_json::to_value(job)
            .map_err(|e| Problem::new(Code::Internal, format!("the job is not writable: {e}"), ""))?;
        return Ok(vec![Part::data(job).with_media_type("application/json")]);
    }
    Ok(vec![Part::text(match prompt {
        Prompt::Raw(Raw { prompt }) => prompt.clone(),
        Prompt::Chat(Chat { messages }) => match messages.as_slice() {
            [only] => only.content.clone(),
            several => {
                let lines = several.iter().map(|said| format!("{}: {}", role(said.role), said.content));
                lines.collect::<Vec<_>>().join("\n\n")
            }
        },
    })])
}

fn role(role: ChatRole) -> &'static str {
    match role {
        ChatRole::System => "system",
        ChatRole::User => "user",
        ChatRole::Assistant => "assistant",
    }
}

/// The text with its tokens, when the agent tells them.
fn generation(answer: &Answer) -> Option<Generation> {
    let parts = answer.artifacts.iter().flat_map(|artifact| &artifact.parts);
    let mut json = parts.filter(|part| part.media_type.as_deref() == Some("application/json"));
    json.find_map(|part| match &part.content {
        PartContent::Raw(bytes) => serde_json::from_slice(bytes).ok(),
        PartContent::Text(text) => serde_json::from_str(text).ok(),
        PartContent::Data(value) => serde_json::from_value(value.clone()).ok(),
        PartContent::Url(_) => None,
    })
}

/// An agent's words, fit for a line on a screen.
fn words(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect();
    if line.trim().is_empty() { "it does not say why".to_owned() } else { line }
}
