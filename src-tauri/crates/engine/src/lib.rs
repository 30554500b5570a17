//! Running and checking work: starts and kills the worker, gathers evidence for verification.
//!
//! The worker is another executable and the only process that touches a GPU. This crate never parses what it
//! computes; it bounds sizes, measures time, and kills.
//!
//! Every error is a [`tender_base::Problem`].

mod gate;
pub mod http;
mod inspect;
mod local;
pub mod measure;
mod prepare;
mod sandbox;
mod text;
pub mod verify;
mod worker;

pub use gate::Closed;
pub use inspect::inspect;
pub use local::{LocalEngine, Processes, Settings};
pub use sandbox::sandbox;
pub use worker::find_worker;

use bytes::Bytes;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tender_base::{Code, Did, Problem, Work, documents::WorkerInfo};
use tokio::sync::watch;

/// Something that can do work.
#[async_trait::async_trait]
pub trait Engine: Send + Sync {
    /// Does the order and returns its output. Dropping the future cancels: what runs is killed.
    ///
    /// `progress` is set to 0 of the total when the work starts, and then as parts are done; a receiver sees only the
    /// latest.
    ///
    /// # Errors
    /// `Unavailable` when nothing can run it, `Expired` when it ran past its wall limit, `Lost` when the worker died,
    /// `TooMany` when the queue is full, and what the worker itself refuses.
    async fn run(&self, order: Order, progress: ProgressSender) -> Result<Output, Problem>;

    /// Judges `claimed`, the [`tender_base::text::Generation`] that another machine wrote for this order.
    ///
    /// # Errors
    /// As [`Self::run`]; `Unavailable` from an engine that shows no logits.
    async fn score(&self, _order: Order, _claimed: Bytes) -> Result<Scores, Problem> {
        Err(Problem::new(
            Code::Unavailable,
            "this engine cannot judge a text: it shows no logits of given tokens",
            "check it with the own worker, or have the job done twice",
        ))
    }
}

/// What judging a text found.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// For each claimed token how far it is behind the one that this model chooses, in logits.
    pub margins: Vec<f32>,
    /// What in the claim contradicts itself; there are no margins then.
    pub fault: Option<String>,
}

/// Work to be done.
#[derive(Clone, Debug)]
pub struct Order {
    /// What to compute.
    pub work: Work,
    /// The whole input, also when only parts are wanted.
    pub input: Bytes,
    /// Folder of the model's files or the GGUF file, for work that has a model.
    pub model: Option<PathBuf>,
    /// Only these passages or workgroups; everything when absent. Text has no parts.
    pub parts: Option<Vec<u32>>,
    /// Longest time from the start of the work to the end of its output; waiting in the queue does not count.
    pub wall_limit: Duration,
    /// For whom.
    pub tenant: Tenant,
}

/// For whom an order is done. Own orders go first, and tenants do not share a process with a client's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenant {
    /// The owner of this machine.
    Own,
    /// A client.
    Peer(Did),
}

/// How far an order is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Parts done; tokens of a text.
    pub done: u32,
    /// Parts in all; zero until the work has started.
    pub total: u32,
    /// The text so far; empty for other work. It only grows, so that a receiver that missed a step lost nothing.
    pub text: Arc<str>,
}

/// Where an engine reports progress.
pub type ProgressSender = watch::Sender<Progress>;

/// What an order came to.
#[derive(Clone, Debug)]
pub struct Output {
    /// The output, or the outputs of the parts one after the other.
    pub bytes: Bytes,
    /// Units done, as the worker counted them.
    pub units: u64,
    /// The prompt's tokens among them, as a runtime that is not ours counts them: clouds price them apart.
    pub prompt_tokens: Option<u32>,
    /// Time the worker took, in milliseconds.
    pub wall_ms: u64,
    /// The machine that did it.
    pub worker: WorkerInfo,
}
