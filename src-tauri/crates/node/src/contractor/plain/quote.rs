//! What a plain message asks for, what it would cost, and what a client answers to that.

use crate::{
    api::types::{SubmitMessage, SubmitWork},
    contractor::log,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tender_a2a::{
    CONTRACT_EXTENSION,
    contract::restore_integers,
    log::Change,
    wire::{self as a2a, Message, Part, PartContent, SendMessageConfiguration},
};
use tender_base::{Code, Did, JobKind, MicroUsd, Problem, Rate, Timestamp, Work};
use tender_store::{TaskRecord, TaskState, TaskStep};
use tokio::sync::OwnedMutexGuard;

/// Quotes of one client that may wait for their turn.
const MAX_WAITING: usize = 8;

/// What the work of a task costs, as its status's metadata says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Quote {
    pub(super) amount_micro_usd: MicroUsd,
    pub(super) units: u64,
    pub(super) rate: Rate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prompt_rate: Option<Rate>,
    pub(super) valid_until: Timestamp,
    /// What was priced, with its model: exactly this is done for the price.
    pub(super) work: Work,
}

/// A task that was quoted and not awarded.
pub(super) struct Quoted {
    pub(super) quote: Quote,
    /// Messages of the client so far.
    pub(super) messages: usize,
}

/// What a client answers to a quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    Neither,
}

impl Quote {
    /// The price, and what to answer; `refused` says why the answer was not enough.
    pub(super) fn status(
        &self,
        refused: Option<&Problem>,
        configuration: Option<&SendMessageConfiguration>,
    ) -> Result<Change, Problem> {
        let before = refused.map(|problem| format!("Not yet: {problem}. ")).unwrap_or_default();
        let model = model_of(&self.work).map(|name| format!(" by {name}")).unwrap_or_default();
        let mut message = words(&format!(
            "{before}At most {} for {} units of {}{model}; answer `yes` in this task until {}, or `no`.",
            self.amount_micro_usd,
            self.units,
            self.work.kind().name(),
            self.valid_until
        ));
        let quote = json!({ "quote": super::json(self)? });
        let modes = configuration.and_then(|configuration| configuration.accepted_output_modes.as_ref());
        if modes.is_none_or(|modes| modes.is_empty() || modes.iter().any(|mode| mode == "application/json")) {
            message.parts.push(Part::data(quote.clone()).with_media_type("application/json"));
        }
        Ok(status(TaskState::InputRequired, Some(message), Some(quote)))
    }

    /// The tokens that were counted for it; zero for work that has none.
    pub(super) fn tokens(&self) -> u64 {
        match &self.work {
            Work::Generate(text) => text.prompt_tokens.into(),
            Work::Embed { tokens, .. } => *tokens,
            Work::Gemm { .. } | Work::Kernel(_) | Work::Wgsl(_) => 0,
        }
    }
}

/// The name of the model that some work needs.
pub(super) fn model_of(work: &Work) -> Option<&str> {
    match work {
        Work::Generate(text) => Some(&text.model.name),
        Work::Embed { model, .. } => Some(&model.name),
        Work::Gemm { .. } | Work::Kernel(_) | Work::Wgsl(_) => None,
    }
}

/// Where a job names its model, and which kind of work that model is for.
pub(super) fn named_model(job: &mut SubmitWork) -> Option<(JobKind, &mut Option<String>)> {
    match job {
        SubmitWork::Generate { model, .. } => Some((JobKind::Generate, model)),
        SubmitWork::Embed { model, .. } => Some((JobKind::Embed, model)),
        SubmitWork::Gemm { .. } | SubmitWork::Kernel { .. } | SubmitWork::Wgsl { .. } => None,
    }
}

pub(super) fn status(state: TaskState, message: Option<Message>, of_extension: Option<Value>) -> Change {
    let metadata = of_extension.map(|value| [(CONTRACT_EXTENSION.to_owned(), value)].into());
    Change::Status { state: log::to_wire(state), message, metadata }
}

pub(super) fn words(text: &str) -> Message {
    log::text(a2a::new_message_id(), text.to_owned())
}

/// The newest quote of a plain task, while it is no contract.
pub(super) fn quoted(record: &TaskRecord) -> Option<Quoted> {
    if record.contract.is_some() {
        return None;
    }
    let (mut messages, mut quote) = (0, None);
    for (_, step) in &record.steps {
        let TaskStep::Recorded(body) = step else { continue };
        match serde_json::from_value(body.clone()) {
            Ok(Change::Status { metadata: Some(metadata), .. }) => {
                let said = metadata.get(CONTRACT_EXTENSION).and_then(|said| said.get("quote"));
                quote = said.and_then(|said| serde_json::from_value(said.clone()).ok()).or(quote);
            }
            Ok(Change::Status { .. }) => {}
            _ => messages += 1,
        }
    }
    Some(Quoted { quote: quote?, messages })
}

/// The job in a message: text to go on with, or a job as the local API takes it. None when it is neither.
pub(super) fn asked(message: &Message) -> Result<Option<SubmitWork>, Problem> {
    let [part] = message.parts.as_slice() else { return Ok(None) };
    match &part.content {
        PartContent::Text(text) if !text.trim().is_empty() => {
            let messages = vec![SubmitMessage { role: "user".to_owned(), content: text.clone() }];
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
pub(super) fn read_answer(message: &Message) -> Answer {
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

/// Takes each client's jobs one after the other as far as their tokens are counted: the worker that counts is also the
/// one that works, and none may fill its queue.
#[derive(Default)]
pub(in crate::contractor) struct Turns(Mutex<HashMap<Did, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until it is the turn of this job; it lasts until the guard is dropped.
    ///
    /// # Errors
    /// [`Code::TooMany`] when too many of this client wait already.
    pub(super) async fn take(&self, client: Did) -> Result<OwnedMutexGuard<()>, Problem> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(client).or_default().clone()
        };
        // One of them is the map's.
        if Arc::strong_count(&turn) > MAX_WAITING + 1 {
            let message = format!("{MAX_WAITING} jobs of this key already wait for their price");
            return Err(Problem::new(Code::TooMany, message, "send the next when one has been answered"));
        }
        Ok(turn.lock_owned().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::{Signer, signed::KeySigner};

    fn said(part: Part) -> Message {
        Message::new(a2a::Role::User, vec![part])
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

    #[tokio::test]
    async fn one_client_waits_for_itself_alone_and_not_without_end() {
        let turns = Arc::new(Turns::default());
        let [one, two] = [1, 2].map(|seed| KeySigner::from_seed(&[seed; 32]).did());
        let held = turns.take(one).await.unwrap();
        turns.take(two).await.unwrap();
        let waiting: Vec<_> = (1..MAX_WAITING)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(async move { turns.take(one).await.map(drop) })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(turns.take(one).await.unwrap_err().code, Code::TooMany);
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
        drop(held);
        for waiting in waiting {
            waiting.await.unwrap().unwrap();
        }
        turns.take(one).await.unwrap();
    }
}
