//! Clients that speak plain A2A and hold an API key: a message is a job, its price comes back as INPUT_REQUIRED, and
//! `yes` in the same task awards it. From there on it is a contract like any other, for which this node signs in the
//! client's name, with the key that every request carries. There is no review: what is delivered is accepted with it.
//!
//! A quote holds no slot; whether there is one, and whether the key's limit allows it, is decided by the award. What
//! quotes take of this node is bounded for each key: how many there are, what is said to them, and how much counting.

mod award;
mod kept;
mod quote;

pub(super) use quote::Turns;

use super::agent::{Contractor, identify};
use crate::{api::types::SubmitWork, client::Tokens, node::Node};
use quote::{Answer, Quote, Quoted, asked, model_of, named_model, quoted, read_answer, status, words};
use serde::Serialize;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tender_a2a::{
    A2aError, ApiKey, Call, ErrorKind, Identity, Incoming, Once, Reply,
    log::Change,
    wire::{self as a2a, Message as WireMessage, Task},
};
use tender_base::{
    BlobRef, Code, Did, MicroUsd, Problem, Signed, Signer, Timestamp, documents::Abandonment, ids::ContractId,
};
use tender_engine::Tenant;
use tender_store::{ContractRecord, Event, Guard, PeerRecord, Refused, TaskHead, TaskMessage, TaskRecord, TaskState};

/// How long a quote can be awarded.
const QUOTE_VALID: Duration = Duration::from_secs(600);
/// Quotes of one key in that time that it does not award.
const MAX_QUOTES: u32 = 32;
/// How long the message of a quote is kept that nobody awards.
const QUOTE_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Longest message that begins a task, in bytes of JSON.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Longest answer to a quote, in bytes of JSON, and most messages to one.
const MAX_ANSWER_BYTES: usize = 64 << 10;
const MAX_MESSAGES: usize = 16;

/// A client of a request: its row, and the key that signs for it.
struct Client<'a> {
    peer: PeerRecord,
    key: &'a ApiKey,
}

/// What a message adds to a task.
struct Said {
    task: ContractId,
    context: String,
    owner: String,
    once: Option<Once>,
    expected: u64,
    message: WireMessage,
}

impl Contractor {
    /// Takes a message without our extension.
    pub(super) async fn plain(&self, call: &Call, incoming: Incoming) -> Result<Reply, A2aError> {
        let Identity::Key(key) = &call.identity else {
            return Ok(Reply::Message(Box::new(self.introduction())));
        };
        let peer = self.paired(&key.did()).await.map_err(|_| {
            Problem::new(Code::Forbidden, "this API key was not issued here, or was taken back", "ask for another")
        })?;
        let client = Client { peer, key };
        let bytes = serde_json::to_vec(&incoming.request.message).map_or(usize::MAX, |bytes| bytes.len());
        let most = if incoming.task.is_some() { MAX_ANSWER_BYTES } else { MAX_MESSAGE_BYTES };
        if bytes > most {
            let message = format!("the message has {bytes} bytes, more than {most}");
            return Err(Problem::new(Code::TooLarge, message, "larger inputs come with a signed award").into());
        }
        let once = incoming.once.clone();
        let reply = match &incoming.task {
            None => self.quote(&client, incoming).await,
            Some(task) => self.answered(&client, &task.id.clone(), incoming).await,
        };
        // The same message came twice at once: the other one did it.
        if let (Err(error), Some(once)) = (&reply, once)
            && error.problem.code == Code::Conflict
            && let Ok(Some((task, sha256))) = self.store.task_message(&client.owner(), &once.key).await
            && sha256 == once.sha256
        {
            return Ok(Reply::Task(task));
        }
        reply
    }

    /// Names a price, or does at once what costs nothing.
    async fn quote(&self, client: &Client<'_>, incoming: Incoming) -> Result<Reply, A2aError> {
        let mut message = incoming.request.message;
        let Some(job) = asked(&message)? else {
            return Ok(Reply::Message(Box::new(self.introduction())));
        };
        let now = self.now();
        self.willing(now).map_err(|problem| self.refused(self.unwilling(now), problem))?;
        let Some(job) = self.sold_here(job)? else {
            return Ok(Reply::Message(Box::new(self.introduction())));
        };
        let before = i64::try_from(QUOTE_VALID.as_millis()).unwrap_or(i64::MAX);
        let since = Timestamp::from_millis(now.millis().saturating_sub(before));
        let lately = Guard::Quotes { owner: client.peer.did, since, limit: MAX_QUOTES };
        // Nothing is counted or kept for who has had too many; the transaction says it again.
        self.apply(Vec::new(), vec![lately]).await?;
        let turn = self.turns.take(client.peer.did).await?;
        let counting = Tokens::CountedFor(Tenant::Peer(client.peer.did));
        let (work, input) = self.work_and_input(job, counting).await.map_err(unknown)?;
        drop(turn);
        work.check(&BlobRef::of(&input))?;
        let lacking = |problem| unknown(self.refused(self.lacks(&work), problem));
        self.workplace(&work, true).await.map_err(lacking)?;
        let unconfined = |problem| self.refused(Refused::Unconfined, problem);
        self.confines(&work).await.map_err(unconfined)?;
        let prices = self.settings().prices;
        let (rate, prompt_rate) = (prices.rate(work.kind()), prices.prompt_rate(work.kind()));
        let units = work.units();
        let amount = tender_base::documents::bill(&work, &rate, prompt_rate.as_ref(), units)
            .ok_or_else(|| Problem::new(Code::Invalid, "the job is too large to be priced", "split it"))?;
        let quote =
            Quote { amount_micro_usd: amount, units, rate, prompt_rate, valid_until: now.after(QUOTE_VALID), work };
        let task = ContractId::new(self.clock.as_ref(), self.entropy.as_ref());
        let context = message.context_id.get_or_insert_with(a2a::new_context_id).clone();
        message.task_id = Some(task.to_string());
        let said = Said { task, context, owner: client.owner(), once: incoming.once, expected: 0, message };
        if amount == MicroUsd::ZERO {
            self.award(client, &said, quote, input).await?;
        } else {
            let status = quote.status(None, incoming.request.configuration.as_ref())?;
            self.record(&said, (TaskState::InputRequired, status), Some(quote.valid_until), vec![lately]).await?;
        }
        Ok(Reply::Task(task.to_string()))
    }

    /// The job, with the first model for sale where it names none; nothing when no model is.
    ///
    /// # Errors
    /// [`Code::Invalid`] for a model that is not for sale here: nobody has others loaded by asking for their price.
    fn sold_here(&self, mut job: SubmitWork) -> Result<Option<SubmitWork>, Problem> {
        let Some((kind, model)) = named_model(&mut job) else { return Ok(Some(job)) };
        let sold = self.for_sale(&self.settings(), kind).unwrap_or_default();
        match model {
            None => {
                let Some(first) = sold.first() else { return Ok(None) };
                *model = Some(first.name.clone());
            }
            Some(name) if sold.iter().all(|sold| sold.name != *name) => {
                let message = format!("the model {name} is not for sale here");
                return Err(Problem::new(Code::Invalid, message, "name one that the agent card lists, or none"));
            }
            Some(_) => {}
        }
        Ok(Some(job))
    }

    /// Takes what a client says to a quote.
    async fn answered(&self, client: &Client<'_>, task: &str, incoming: Incoming) -> Result<Reply, A2aError> {
        let record = self.own(&client.owner(), task).await?;
        let id: ContractId = task.parse().map_err(|_| A2aError::task_not_found(task))?;
        let Some(Quoted { quote, messages }) = quoted(&record) else {
            return Err(A2aError::new(
                ErrorKind::UnsupportedOperation,
                "the work is under way and takes no messages",
                "wait for its end, or cancel the task",
            ));
        };
        let message = incoming.request.message;
        let answer = read_answer(&message);
        let said = Said {
            task: id,
            context: record.context.clone(),
            owner: record.owner.clone(),
            once: incoming.once,
            expected: record.recorded,
            message,
        };
        let now = self.now();
        if answer == Answer::No || quote.valid_until <= now {
            let ran_out = (answer != Answer::No).then(|| words("The offer ran out; send the job again."));
            let closed = (TaskState::Canceled, status(TaskState::Canceled, ran_out, None));
            self.record(&said, closed, None, Vec::new()).await?;
            return Ok(Reply::Task(task.to_owned()));
        }
        let mut refused = None;
        if answer == Answer::Yes {
            match self.agreed(client, &record, &said, quote.clone()).await {
                Ok(()) => return Ok(Reply::Task(task.to_owned())),
                // The client may do something about it, or wait for a slot.
                Err(problem) if matches!(problem.code, Code::OverLimit | Code::Unavailable) => refused = Some(problem),
                Err(problem) => return Err(problem.into()),
            }
        }
        if messages >= MAX_MESSAGES {
            return Err(match refused {
                Some(problem) => problem.into(),
                None => A2aError::new(
                    ErrorKind::UnsupportedOperation,
                    format!("{MAX_MESSAGES} messages were sent to this quote"),
                    "answer yes or no, or send the job again",
                ),
            });
        }
        let again = quote.status(refused.as_ref(), incoming.request.configuration.as_ref())?;
        self.record(&said, (TaskState::InputRequired, again), Some(quote.valid_until), Vec::new()).await?;
        Ok(Reply::Task(task.to_owned()))
    }

    /// Awards exactly what was quoted. Its tokens are not counted again.
    async fn agreed(&self, client: &Client<'_>, record: &TaskRecord, said: &Said, quote: Quote) -> Result<(), Problem> {
        let first = self.first_message(record).await?;
        let unread = || Problem::new(Code::Internal, "the job does not read back", "send it again");
        let mut job = asked(&first)?.ok_or_else(unread)?;
        if let Some((_, model)) = named_model(&mut job) {
            *model = model_of(&quote.work).map(str::to_owned);
        }
        let (work, input) = self.work_and_input(job, Tokens::Known(quote.tokens())).await.map_err(unknown)?;
        if work != quote.work {
            let other = "the job is no longer the one that was quoted: its model has changed";
            return Err(Problem::new(Code::Conflict, other, "send it again"));
        }
        self.award(client, said, quote, input).await?;
        // As long as what was made of it.
        if let Err(problem) = self.keep_on(record).await {
            tracing::warn!(code = %problem.code, %problem, task = record.id, "the message of a task is kept for a day only");
        }
        Ok(())
    }

    async fn record(
        &self,
        said: &Said,
        status: (TaskState, Change),
        expires_at: Option<Timestamp>,
        guards: Vec<Guard>,
    ) -> Result<(), Problem> {
        let message = self.keep_message(&said.message, Some(QUOTE_KEPT)).await?;
        self.apply(vec![said.event(message, Some(status), expires_at, self.now())?], guards).await
    }

    async fn own(&self, owner: &str, task: &str) -> Result<TaskRecord, A2aError> {
        let record = self.store.task(owner, task).await.map_err(|e| e.problem())?;
        record.ok_or_else(|| A2aError::task_not_found(task))
    }

    /// Cancels a quote, or gives up an award of a client whose key the request carries.
    pub(super) async fn cancel_plain(&self, call: &Call, task: &Task) -> Result<(), A2aError> {
        let did = call.did().ok_or_else(identify)?;
        let record = self.own(&did.to_string(), &task.id).await?;
        let ended = |problem: Problem| match problem.code {
            Code::Conflict => {
                A2aError::new(ErrorKind::TaskNotCancelable, "the task has ended or moved on", "read it with GetTask")
            }
            _ => problem.into(),
        };
        match (&record.contract, &call.identity) {
            (None, _) => {
                let TaskRecord { id, owner, context, recorded, .. } = record;
                let closed = self.closed(TaskHead { id, owner, context, recorded }, None)?;
                self.apply(vec![closed], Vec::new()).await.map_err(ended)
            }
            (Some(contract), Identity::Key(key)) if record.recorded > 0 => {
                let note = self.abandonment(contract, did, key)?;
                self.on_abandonment(did, note).await.map_err(ended)
            }
            (Some(_), _) => Err(A2aError::new(
                ErrorKind::TaskNotCancelable,
                "a contract ends by a signed document",
                "send an abandonment, or a rejection of what was delivered",
            )),
        }
    }

    fn abandonment(&self, contract: &ContractRecord, did: Did, key: &ApiKey) -> Result<Signed<Abandonment>, Problem> {
        let award = contract.award().ok_or_else(|| Problem::new(Code::Internal, "an award is missing", ""))?;
        let note = Abandonment {
            contract: contract.id,
            client: did,
            contractor: self.did(),
            award: award.hash(),
            reason: "the client cancelled the task".to_owned(),
            abandoned_at: self.now(),
        };
        Ok(Signed::new(note, key.signer().as_ref() as &dyn Signer))
    }
}

impl Node {
    /// Ends quotes that nobody awarded in time, all at once.
    pub(crate) async fn close_quotes(self: &Arc<Self>) -> Result<(), Problem> {
        let over = self.store.tasks_over(TaskState::InputRequired, self.now(), tender_store::MAX_ROWS).await;
        let over = over.map_err(|e| e.problem())?;
        if over.is_empty() {
            return Ok(());
        }
        let close = |head| self.closed(head, Some(words("The offer ran out.")));
        let closed = over.into_iter().map(close).collect::<Result<Vec<_>, _>>()?;
        match self.apply(closed.clone(), Vec::new()).await {
            Err(problem) if problem.code == Code::Conflict => {}
            done => return done,
        }
        for closed in closed {
            match self.apply(vec![closed], Vec::new()).await {
                Err(problem) if problem.code == Code::Conflict => {
                    tracing::debug!(code = %problem.code, %problem, "a quote was answered meanwhile");
                }
                done => done?,
            }
        }
        Ok(())
    }

    fn closed(&self, quote: TaskHead, message: Option<WireMessage>) -> Result<Event, Problem> {
        Ok(Event::TaskRecorded {
            task: quote.id,
            owner: quote.owner,
            context: quote.context,
            once: None,
            expected: quote.recorded,
            bodies: vec![body(&status(TaskState::Canceled, message, None))?],
            state: Some(TaskState::Canceled),
            expires_at: None,
            at: self.now(),
        })
    }
}

impl Client<'_> {
    fn owner(&self) -> String {
        self.peer.did.to_string()
    }
}

impl Said {
    /// The message as it is recorded, and the status that it leads to.
    fn event(
        &self,
        message: Value,
        status: Option<(TaskState, Change)>,
        expires_at: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<Event, Problem> {
        let mut bodies = vec![message];
        let state = status.as_ref().map(|(state, _)| *state);
        if let Some((_, change)) = &status {
            bodies.push(body(change)?);
        }
        Ok(Event::TaskRecorded {
            task: self.task.to_string(),
            owner: self.owner.clone(),
            context: self.context.clone(),
            once: self.once.clone().map(|Once { key, sha256 }| TaskMessage { key, sha256 }),
            expected: self.expected,
            bodies,
            state,
            expires_at,
            at,
        })
    }
}

pub(super) fn body(change: &Change) -> Result<Value, Problem> {
    json(change)
}

fn json(record: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(record).map_err(|e| Problem::new(Code::Internal, format!("a record is no JSON: {e}"), ""))
}

/// What is not known here is a mistake in the job, and no task that is missing.
fn unknown(problem: Problem) -> Problem {
    match problem.code {
        Code::NotFound => Problem { code: Code::Invalid, ..problem },
        _ => problem,
    }
}
