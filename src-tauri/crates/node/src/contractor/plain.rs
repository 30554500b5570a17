//! Clients that speak plain A2A and hold an API key: a message is a job, its price comes back as INPUT_REQUIRED, and
//! `yes` in the same task awards it. From there on it is a contract like any other, for which this node signs in the
//! client's name, with the key that every request carries. There is no review: what is delivered is accepted with it.
//!
//! A quote holds no slot; whether there is one, and whether the key's limit allows it, is decided by the award.

use super::{
    agent::{Contractor, identify},
    log,
};
use crate::{api::types::SubmitWork, node::Node};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tender_a2a::{
    A2aError, ApiKey, CONTRACT_EXTENSION, Call, ErrorKind, Identity, Incoming, Once, Reply,
    contract::restore_integers,
    log::Change,
    wire::{self as a2a, Message as WireMessage, Part, PartContent, SendMessageConfiguration, Task},
};
use tender_base::{
    BlobRef, Code, Did, JobKind, JobSpec, MicroUsd, Problem, Rate, Role, Signed, Signer, Timestamp, Work,
    documents::{Abandonment, Award, CallForProposals, Message, Proposal},
    ids::ContractId,
    job::{Constraints, Privacy},
};
use tender_store::{ContractRecord, Event, Guard, PeerRecord, TaskMessage, TaskRecord, TaskState, TaskStep};

/// How long a quote can be awarded.
const QUOTE_VALID: Duration = Duration::from_secs(600);
/// Time for the work of an award.
const DEADLINE: Duration = Duration::from_secs(3600);
/// Longest message, in bytes of JSON: it is remembered for good, as history.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// What the work of a task costs, as its status's metadata says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Quote {
    amount_micro_usd: MicroUsd,
    units: u64,
    rate: Rate,
    valid_until: Timestamp,
}

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

/// What a client answers to a quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Neither,
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
        if bytes > MAX_MESSAGE_BYTES {
            let message = format!("the message has {bytes} bytes, more than {MAX_MESSAGE_BYTES}");
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
        let Some(asked) = self.job(&message)? else {
            return Ok(Reply::Message(Box::new(self.introduction())));
        };
        let now = self.now();
        self.willing(now)?;
        let (work, input) = self.work_and_input(asked).await?;
        work.check(&BlobRef::of(&input))?;
        self.workplace(&work, true).await?;
        self.confines(&work).await?;
        let rate = self.settings().prices.rate(work.kind());
        let units = work.units();
        let amount = rate
            .amount(units)
            .ok_or_else(|| Problem::new(Code::Invalid, "the job is too large to be priced", "split it"))?;
        let quote = Quote { amount_micro_usd: amount, units, rate, valid_until: now.after(QUOTE_VALID) };
        let task = ContractId::new(self.clock.as_ref(), self.entropy.as_ref());
        let context = message.context_id.get_or_insert_with(a2a::new_context_id).clone();
        message.task_id = Some(task.to_string());
        let said = Said { task, context, owner: client.owner(), once: incoming.once, expected: 0, message };
        if amount == MicroUsd::ZERO {
            self.award(client, &said, quote, (work, input)).await?;
        } else {
            let status = quote.status(&work, None, incoming.request.configuration.as_ref());
            self.record(&said, Some((TaskState::InputRequired, status)), Some(quote.valid_until)).await?;
        }
        Ok(Reply::Task(task.to_string()))
    }

    /// The job in a message, with the first model for sale where it names none.
    fn job(&self, message: &WireMessage) -> Result<Option<SubmitWork>, Problem> {
        let mut job = asked(message)?;
        if let Some(SubmitWork::Generate { model: model @ None, .. }) = &mut job {
            let for_sale = self.for_sale(&self.settings(), JobKind::Generate).unwrap_or_default();
            let Some(first) = for_sale.first() else { return Ok(None) };
            *model = Some(first.name.clone());
        }
        Ok(job)
    }

    /// Takes what a client says to a quote.
    async fn answered(&self, client: &Client<'_>, task: &str, incoming: Incoming) -> Result<Reply, A2aError> {
        let record = self.own(&client.owner(), task).await?;
        let id: ContractId = task.parse().map_err(|_| A2aError::task_not_found(task))?;
        let (Some((first, quote)), None) = (quoted(&record), &record.contract) else {
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
            self.record(&said, Some((TaskState::Canceled, status(TaskState::Canceled, ran_out, None))), None).await?;
            return Ok(Reply::Task(task.to_owned()));
        }
        let asked = self.job(&first)?.ok_or_else(|| Problem::new(Code::Internal, "the job does not read back", ""))?;
        let (work, input) = self.work_and_input(asked).await?;
        let mut refused = None;
        if answer == Answer::Yes {
            if work.units() != quote.units {
                let other = "the job comes to other units than when it was quoted";
                return Err(Problem::new(Code::Conflict, other, "send it again").into());
            }
            match self.award(client, &said, quote, (work.clone(), input)).await {
                Ok(()) => return Ok(Reply::Task(task.to_owned())),
                // The client may do something about it, or wait for a slot.
                Err(problem) if matches!(problem.code, Code::OverLimit | Code::Unavailable) => refused = Some(problem),
                Err(problem) => return Err(problem.into()),
            }
        }
        let again = quote.status(&work, refused.as_ref(), incoming.request.configuration.as_ref());
        self.record(&said, Some((TaskState::InputRequired, again)), Some(quote.valid_until)).await?;
        Ok(Reply::Task(task.to_owned()))
    }

    /// Makes the contract: message, call, proposal and award in one transaction. Then the work begins.
    async fn award(
        &self,
        client: &Client<'_>,
        said: &Said,
        quote: Quote,
        (work, input): (Work, Vec<u8>),
    ) -> Result<(), Problem> {
        let now = self.now();
        self.not_stopped()?;
        let place = self.workplace(&work, true).await?;
        let settings = self.settings();
        let text = matches!(work, Work::Generate(_));
        let text_slots = place.slots.map_or(settings.text_slots, |slots| slots.min(settings.text_slots));
        let limit = if text { text_slots } else { settings.slots };
        let estimated_ms = self.estimate(&work, place.runtime.as_deref()).await.estimated_ms();
        let input_blob = self.store.put_blob(&input).await.map_err(|e| e.problem())?;

        let (contract, contractor, signer) = (said.task, self.did(), client.key.signer());
        let deadline = now.after(DEADLINE);
        let call = CallForProposals {
            contract,
            client: client.peer.did,
            contractor,
            book: self.config.book,
            job: JobSpec {
                work,
                input: input_blob,
                constraints: Constraints { budget: quote.amount_micro_usd, deadline, privacy: Privacy::Peers },
            },
            called_at: now,
            respond_by: deadline,
        };
        let call = Signed::new(call, signer.as_ref());
        let proposal = Proposal {
            contract,
            contractor,
            client: client.peer.did,
            call: call.hash(),
            rate: quote.rate,
            units: quote.units,
            amount: quote.amount_micro_usd,
            valid_until: quote.valid_until,
            estimated_ms,
            adapter: place.adapter,
        };
        let proposal = Signed::new(proposal, self.identity.signer.as_ref());
        let award = Award {
            contract,
            client: client.peer.did,
            contractor,
            proposal: proposal.hash(),
            nonce_sha256: tender_base::Sha256::of(&self.entropy.draw32()),
            review_seconds: 0,
            awarded_at: now,
            deadline,
        };
        let award = Signed::new(award, signer.as_ref());
        let opened = Event::ContractOpened {
            contract,
            role: Role::Contractor,
            book: self.config.book,
            peer: client.peer.did,
            job: None,
            state: tender_base::ContractState::Proposed,
            call,
            proposal: Some(proposal),
            expires_at: Some(quote.valid_until),
            at: now,
        };
        let awarded = Event::ContractMoved {
            contract,
            from: tender_base::ContractState::Proposed,
            to: tender_base::ContractState::Awarded,
            expires_at: Some(deadline),
            documents: vec![Message::Award(award)],
            entries: Vec::new(),
            reason: None,
            at: now,
        };
        let events = vec![said.event(None, None, now)?, opened, awarded];
        let guards = vec![Guard::Slots { text, limit, now }, self.credit(&client.peer, quote.amount_micro_usd)];
        let node = self.0.clone();
        // A client that hangs up now must not leave a stored award that nobody works on.
        self.to_the_end(async move {
            node.apply(events, guards).await?;
            node.spawn_work(contract.uuid(), node.clone().run_contract(contract));
            Ok(())
        })
        .await
    }

    async fn record(
        &self,
        said: &Said,
        status: Option<(TaskState, Change)>,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Problem> {
        self.apply(vec![said.event(status, expires_at, self.now())?], Vec::new()).await
    }

    async fn own(&self, owner: &str, task: &str) -> Result<TaskRecord, A2aError> {
        let record = self.store.task(owner, task).await.map_err(|e| e.problem())?;
        record.ok_or_else(|| A2aError::task_not_found(task))
    }

    /// Cancels a quote, or gives up an award of a client whose key the request carries.
    pub(super) async fn cancel_plain(&self, call: &Call, task: &Task) -> Result<(), A2aError> {
        let did = call.did().ok_or_else(identify)?;
        let record = self.own(&did.to_string(), &task.id).await?;
        let ended = |_: Problem| {
            A2aError::new(ErrorKind::TaskNotCancelable, "the task has ended or moved on", "read it with GetTask")
        };
        match (&record.contract, &call.identity) {
            (None, _) => self.close_quote(&record, None).await.map_err(ended),
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
    /// Ends quotes that nobody awarded in time.
    pub(crate) async fn close_quotes(self: &Arc<Self>) -> Result<(), Problem> {
        let over = self.store.tasks_over(TaskState::InputRequired, self.now(), tender_store::MAX_ROWS).await;
        for (owner, task) in over.map_err(|e| e.problem())? {
            if let Some(record) = self.store.task(&owner, &task).await.map_err(|e| e.problem())?
                && let Err(problem) = self.close_quote(&record, Some(words("The offer ran out."))).await
            {
                tracing::debug!(task, %problem, "the quote was answered meanwhile");
            }
        }
        Ok(())
    }

    async fn close_quote(&self, record: &TaskRecord, message: Option<WireMessage>) -> Result<(), Problem> {
        let closed = Event::TaskRecorded {
            task: record.id.clone(),
            owner: record.owner.clone(),
            context: record.context.clone(),
            once: None,
            expected: record.recorded,
            bodies: vec![body(&status(TaskState::Canceled, message, None))?],
            state: Some(TaskState::Canceled),
            expires_at: None,
            at: self.now(),
        };
        self.apply(vec![closed], Vec::new()).await
    }
}

impl Client<'_> {
    fn owner(&self) -> String {
        self.peer.did.to_string()
    }
}

impl Said {
    /// The message, and the status that it leads to.
    fn event(
        &self,
        status: Option<(TaskState, Change)>,
        expires_at: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<Event, Problem> {
        let mut bodies = vec![body(&Change::Message(self.message.clone()))?];
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

impl Quote {
    /// The price, and what to answer; `refused` says why the answer was not enough.
    fn status(
        &self,
        work: &Work,
        refused: Option<&Problem>,
        configuration: Option<&SendMessageConfiguration>,
    ) -> Change {
        let before = refused.map(|problem| format!("Not yet: {problem}. ")).unwrap_or_default();
        let mut message = words(&format!(
            "{before}At most {} for {} units of {}; answer `yes` in this task until {}, or `no`.",
            self.amount_micro_usd,
            self.units,
            work.kind().name(),
            self.valid_until
        ));
        let quote = json!({ "quote": self });
        let modes = configuration.and_then(|configuration| configuration.accepted_output_modes.as_ref());
        if modes.is_none_or(|modes| modes.is_empty() || modes.iter().any(|mode| mode == "application/json")) {
            message.parts.push(Part::data(quote.clone()).with_media_type("application/json"));
        }
        status(TaskState::InputRequired, Some(message), Some(quote))
    }
}

fn status(state: TaskState, message: Option<WireMessage>, of_extension: Option<Value>) -> Change {
    let metadata = of_extension.map(|value| [(CONTRACT_EXTENSION.to_owned(), value)].into());
    Change::Status { state: log::to_wire(state), message, metadata }
}

fn words(text: &str) -> WireMessage {
    log::text(a2a::new_message_id(), text.to_owned())
}

pub(super) fn body(change: &Change) -> Result<Value, Problem> {
    serde_json::to_value(change).map_err(|e| Problem::new(Code::Internal, format!("a record is no JSON: {e}"), ""))
}

/// The job that a plain task was quoted for, and the newest quote.
fn quoted(record: &TaskRecord) -> Option<(WireMessage, Quote)> {
    let (mut first, mut quote) = (None, None);
    for (_, step) in &record.steps {
        let TaskStep::Recorded(body) = step else { continue };
        match serde_json::from_value(body.clone()) {
            Ok(Change::Message(message)) => {
                first.get_or_insert(message);
            }
            Ok(Change::Status { metadata: Some(metadata), .. }) => {
                let said = metadata.get(CONTRACT_EXTENSION).and_then(|said| said.get("quote"));
                quote = said.and_then(|said| serde_json::from_value(said.clone()).ok()).or(quote);
            }
            _ => {}
        }
    }
    Some((first?, quote?))
}

/// The job in a message: text to go on with, or a job as the local API takes it. None when it is neither.
fn asked(message: &WireMessage) -> Result<Option<SubmitWork>, Problem> {
    let [part] = message.parts.as_slice() else { return Ok(None) };
    match &part.content {
        PartContent::Text(text) if !text.trim().is_empty() => {
            let messages = vec![crate::api::types::SubmitMessage { role: "user".to_owned(), content: text.clone() }];
            Ok(Some(SubmitWork::Generate {
                model: None,
                messages: Some(messages),
                prompt: None,
                max_tokens: None,
                temperature: None,
                top_k: None,
                top_p: None,
                seed: None,
                stop: None,
            }))
        }
        PartContent::Data(value) => {
            let mut value = value.clone();
            restore_integers(&mut value);
            serde_path_to_error::deserialize(value).map(Some).map_err(|e| {
                let message = format!("message.parts[0].data is no job: {e}");
                Problem::new(Code::Invalid, message, "send text, or a job with kind and input as data")
            })
        }
        _ => Ok(None),
    }
}

/// `yes`, `ok`, `accept` or `award` as the first word, or `{"award": true}`.
fn read_answer(message: &WireMessage) -> Answer {
    for part in &message.parts {
        match &part.content {
            PartContent::Text(text) => {
                let word: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric()).collect();
                match word.to_lowercase().as_str() {
                    "yes" | "ok" | "accept" | "award" => return Answer::Yes,
                    "no" | "cancel" => return Answer::No,
                    _ => {}
                }
            }
            PartContent::Data(value) => match value.get("award").and_then(Value::as_bool) {
                Some(true) => return Answer::Yes,
                Some(false) => return Answer::No,
                None => {}
            },
            _ => {}
        }
    }
    Answer::Neither
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(part: Part) -> WireMessage {
        WireMessage::new(a2a::Role::User, vec![part])
    }

    #[test]
    fn an_answer_is_its_first_word() {
        for (text, answer) in [
            ("yes", Answer::Yes),
            ("  OK, go on", Answer::Yes),
            ("Accept.", Answer::Yes),
            ("award", Answer::Yes),
            ("no thanks", Answer::No),
            ("cancel", Answer::No),
            ("yesterday", Answer::Neither),
            ("okay?", Answer::Neither),
            ("what about yes", Answer::Neither),
            ("", Answer::Neither),
        ] {
            assert_eq!(read_answer(&said(Part::text(text))), answer, "{text}");
        }
        assert_eq!(read_answer(&said(Part::data(json!({"award": true})))), Answer::Yes);
        assert_eq!(read_answer(&said(Part::data(json!({"award": false})))), Answer::No);
        assert_eq!(read_answer(&said(Part::data(json!({"award": "true"})))), Answer::Neither);
    }

    #[test]
    fn a_message_is_a_text_or_a_job_or_neither() {
        assert!(matches!(asked(&said(Part::text("Hello"))), Ok(Some(SubmitWork::Generate { .. }))));
        assert!(matches!(asked(&said(Part::text("  "))), Ok(None)));
        assert!(matches!(asked(&said(Part::raw(vec![1]))), Ok(None)));
        let problem = asked(&said(Part::data(json!({"kind": "unheard of"})))).unwrap_err();
        assert_eq!(problem.code, Code::Invalid);
        let mut two = said(Part::text("a"));
        two.parts.push(Part::text("b"));
        assert!(matches!(asked(&two), Ok(None)));
    }
}
