//! Buying from a cloud with the owner's key. There is no contract and nothing can be checked: the provider's price
//! list and the usage that it reports are all there is.

use super::tendering::peers_only;
use crate::{metering::WorkMeter, node::Node};
use std::sync::Arc;
use tender_base::{
    Book, Code, JobState, MicroUsd, Problem, Work,
    job::GenerateWork,
    ledger::{Account, Entry},
};
use tender_engine::{Order, Tenant};
use tender_market::{
    decision::{Actual, Alternative, Outcome, Source},
    price::CloudPrice,
};
use tender_store::{Event, Guard, JobRecord};

/// Tokens of prompt and text per second that are assumed of a cloud before its first job.
const ASSUMED_TOKENS_PER_SECOND: f64 = 50.0;

impl Node {
    /// One alternative for each cloud that may do the job's model.
    pub(super) async fn cloud_alternatives(&self, job: &JobRecord) -> Vec<Alternative> {
        let Work::Generate(work) = &job.spec.work else { return Vec::new() };
        // Demonstrations trade in no real money.
        if job.book == Book::Demo {
            return Vec::new();
        }
        let mut alternatives = Vec::new();
        for cloud in self.settings().runtimes {
            let Some(price) = cloud.cloud.filter(|_| cloud.does(&work.model)) else { continue };
            let engine = if job.peers_only { Err(peers_only()) } else { self.runtimes.engine(&cloud.name) };
            let model = engine.as_ref().map(|engine| engine.runtime().model.clone());
            let model = model.unwrap_or_else(|_| cloud.model.clone().unwrap_or_default());
            let outcome = match engine {
                Err(problem) => Outcome::Unavailable { problem },
                Ok(_) => Outcome::Offered {
                    cost: most(price, work),
                    checking: MicroUsd::ZERO,
                    cost_measured: false,
                    estimated_ms: self.cloud_ms(&job.spec.work, &cloud.name).await,
                    contract: None,
                },
            };
            alternatives.push(Alternative { source: Source::Cloud { name: cloud.name, model }, outcome });
        }
        alternatives
    }

    async fn cloud_ms(&self, work: &Work, name: &str) -> u64 {
        let known = self.throughput(Some(name)).await.of(work.kind());
        (work.units() as f64 / known.unwrap_or(ASSUMED_TOKENS_PER_SECOND) * 1000.0).ceil() as u64
    }

    /// Has a cloud write the text. The most that it may cost is posted first, and put right when the usage is known:
    /// what is broken off may be billed all the same.
    pub(super) async fn run_in_cloud(self: &Arc<Self>, job: &JobRecord, name: &str) -> Result<(), Problem> {
        self.not_stopped()?;
        let Work::Generate(work) = &job.spec.work else {
            return Err(Problem::new(Code::Internal, "a cloud was chosen for other work than text", ""));
        };
        let gone = || Problem::new(Code::Unavailable, format!("{name} was detached"), "attach it again");
        let price = self.settings().runtimes.into_iter().find(|cloud| cloud.name == name).and_then(|cloud| cloud.cloud);
        let price = price.ok_or_else(gone)?;
        let engine = self.runtimes.engine(name)?;
        let reserved = most(price, work);
        let order = Order {
            work: job.spec.work.clone(),
            input: self.stored_blob(&job.spec.input).await?.into(),
            model: None,
            parts: None,
            wall_limit: crate::contractor::wall_limit(self.cloud_ms(&job.spec.work, name).await),
            tenant: Tenant::Own,
        };
        let day_start = self.now().start_of_day();
        let cap = self.settings().daily_spend_cap;
        let spend = Guard::DailySpend { book: job.book, day_start, cap, amount: reserved };
        self.apply(vec![self.posted(job, JobState::Running, reserved)], vec![spend]).await?;
        // Nobody's game needs the cloud's card.
        let taken = std::future::pending();
        let running = self.run_own(job.id, engine.as_ref(), order, &mut WorkMeter::elsewhere(), taken).await;
        let output = match running {
            Ok(output) => output,
            Err(problem) => {
                self.runtime_failed(Some(name), &problem);
                self.observed(name, false).await;
                let written = self.live.progress(job.id).map_or(0, |progress| progress.done);
                if written == 0 && answered(&problem) {
                    self.apply(vec![self.posted(job, JobState::Running, reserved.negated())], Vec::new()).await?;
                }
                return Err(problem);
            }
        };
        let prompt_tokens = output.prompt_tokens.unwrap_or(work.prompt_tokens);
        let text_tokens = output.units.saturating_sub(u64::from(prompt_tokens));
        let charged = price.amount(prompt_tokens, u32::try_from(text_tokens).unwrap_or(u32::MAX));
        self.learn(&job.spec.work, Some(name), output.units, output.wall_ms).await;
        self.observed(name, true).await;
        let blob = self.store.put_blob(&output.bytes).await.map_err(|e| e.problem())?;
        let model = engine.runtime().model.clone();
        let by = Some(Source::Cloud { name: name.to_owned(), model });
        let actual = Actual { charged, wall_ms: output.wall_ms, contract: None, by };
        let mut events = self.decided_with(job.id, actual).await?;
        let tokens = (output.units, Some(prompt_tokens));
        events.push(self.bought(job.id.uuid(), job.book, &job.spec.work, tokens, output.wall_ms));
        let correction = MicroUsd(charged.0.saturating_sub(reserved.0));
        events.push(match self.posted(job, JobState::Completed, correction) {
            Event::JobMoved { job, state, reason, checked, entries, at, .. } => {
                Event::JobMoved { job, state, reason, output: Some(blob), charged: Some(charged), checked, entries, at }
            }
            other => other,
        });
        self.apply(events, Vec::new()).await
    }

    /// The job moves, and so much more is spent.
    fn posted(&self, job: &JobRecord, state: JobState, amount: MicroUsd) -> Event {
        let entry = Entry::transfer(job.book, None, Account::Expense, Account::External, amount);
        let entries = if amount == MicroUsd::ZERO { Vec::new() } else { vec![entry] };
        Event::JobMoved {
            job: job.id,
            state,
            reason: None,
            output: None,
            charged: None,
            checked: None,
            entries,
            at: self.now(),
        }
    }
}

/// What the job costs if the text becomes as long as it may.
fn most(price: CloudPrice, work: &GenerateWork) -> MicroUsd {
    price.amount(work.prompt_tokens, work.max_tokens)
}

/// Whether the cloud itself said no, or was not reached. One that fell silent may be writing, and bills it.
fn answered(problem: &Problem) -> bool {
    !matches!(problem.code, Code::Lost | Code::Expired)
}
