//! Doing the work of an awarded contract.

use super::{handback::must_yield, opening};
use crate::{
    economics::{Ended, Spent},
    metering::WorkMeter,
    node::Node,
    runtimes::Workplace,
};
use std::{sync::Arc, time::Duration};
use tender_a2a::{
    contract,
    log::{Change, Output as Artifact},
};
use tender_base::{
    BlobRef, Code, ContractState, MicroUsd, Problem, Signed, Work,
    documents::{Delivery, HandbackReason, Message},
    ids::ContractId,
    text::Generation,
    units::Meter,
};
use tender_engine::{Order, Output, Progress, Tenant};
use tender_market::{contract::Step, cost::here::LocalCost};
use tender_store::{ContractRecord, Event, Place};

/// A job may take this many times its estimate before it is killed; the estimate of a first job may be far off, so
/// at least a minute is allowed.
const WALL_LIMIT_FACTOR: u64 = 3;
const LEAST_WALL_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for why the card was taken back.
const REASON_LIMIT: Duration = Duration::from_secs(5);

/// Work that came to its end, and what belongs to it.
struct Ran {
    record: ContractRecord,
    place: Workplace,
    estimate: LocalCost,
    output: Output,
}

impl Node {
    /// Runs the job of an awarded contract to its delivery, or fails the contract with the reason. Also called at
    /// start for a contract that was under way: the work is done again, the contract goes on.
    pub(crate) async fn run_contract(self: Arc<Self>, id: ContractId) {
        let outcome = self.run_and_deliver(id).await;
        if let Err(problem) = outcome {
            tracing::warn!(contract = %id, code = %problem.code, %problem, "the contract failed");
            self.fail_sold(id, problem).await;
        }
    }

    async fn run_and_deliver(self: &Arc<Self>, id: ContractId) -> Result<(), Problem> {
        let mut yielding = self.yielding.subscribe();
        let mut metering = WorkMeter::new();
        let ran = tokio::select! {
            // The owner first: nothing begins that would be handed back, and a killed worker is no failure.
            biased;
            reason = must_yield(&mut yielding) => Err(reason),
            ran = self.run_sold(id, &mut metering) => match ran {
                Ok(ran) => Ok(ran),
                // Refused since the gate closed; for what, is told in a moment.
                Err(_) if self.engine.is_closed(&Tenant::Peer(self.record(id).await?.peer)) => {
                    let reason = tokio::time::timeout(REASON_LIMIT, must_yield(&mut yielding)).await;
                    Err(reason.unwrap_or(HandbackReason::Owner))
                }
                Err(problem) => return Err(problem),
            },
        };
        let Ran { record, place, estimate, output } = match ran {
            Ok(ran) => ran,
            Err(reason) => return self.hand_back(id, reason, metering).await,
        };
        // From here on the card is not needed any more.
        drop(yielding);
        let (call, _) = opening(&record)?;
        let metered = self.metered(call.document.job.work.kind(), metering, output.wall_ms).await;
        self.learn(&call.document.job.work, place.runtime.as_deref(), output.units, output.wall_ms).await;
        let ended = Ended {
            id: id.uuid(),
            book: record.book,
            work: &call.document.job.work,
            runtime: place.runtime.as_deref(),
            place: Place::Sold,
            estimate: &estimate,
            output: &output,
            metered: &metered,
        };
        let spent = self.spent(ended).await?;
        self.deliver(id, output, metered.meter, spent).await
    }

    /// The part of it that needs the card.
    async fn run_sold(self: &Arc<Self>, id: ContractId, metering: &mut WorkMeter) -> Result<Ran, Problem> {
        // Nothing begins before it is known that nobody needs the card.
        self.lookout.looked().await;
        let record = self.record(id).await?;
        self.not_stopped()?;
        let (call, proposal) = opening(&record)?;
        let work = call.document.job.work.clone();
        let input = self.stored_blob(&call.document.job.input).await?;
        let place = self.workplace(&work, true).await?;
        let estimate = self.estimate(&work, place.runtime.as_deref()).await?;
        let order = Order {
            model: place.model.clone(),
            input: input.into(),
            parts: None,
            wall_limit: wall_limit(proposal.document.estimated_ms),
            tenant: Tenant::Peer(record.peer),
            work,
        };
        let output = self.run_with_progress(&record, &place, order, metering).await?;
        Ok(Ran { record, place, estimate, output })
    }

    /// Runs the order; the first sign of life makes the contract `running`.
    async fn run_with_progress(
        self: &Arc<Self>,
        record: &ContractRecord,
        place: &Workplace,
        order: Order,
        metering: &mut WorkMeter,
    ) -> Result<Output, Problem> {
        let (sender, mut progress) = tokio::sync::watch::channel(Default::default());
        let running = place.engine.run(order, sender);
        tokio::pin!(running);
        let mut started = record.state == ContractState::Running;
        let mut reporting = true;
        loop {
            tokio::select! {
                output = &mut running => {
                    return output.inspect_err(|problem| self.runtime_failed(place.runtime.as_deref(), problem));
                }
                changed = progress.changed(), if reporting => {
                    reporting = changed.is_ok();
                    let step: Progress = progress.borrow_and_update().clone();
                    if step.total == 0 {
                        continue;
                    }
                    metering.start(self).await;
                    if !started {
                        started = true;
                        let record = self.record(record.id).await?;
                        self.move_contract(&record, Step::Start, Vec::new(), MicroUsd::ZERO, None).await?;
                    }
                    let used = used(record, place, &step);
                    self.live.report_metered(record.id, step, used);
                }
            }
        }
    }

    async fn deliver(&self, id: ContractId, output: Output, meter: Meter, spent: Spent) -> Result<(), Problem> {
        let record = self.record(id).await?;
        if record.state.is_final() {
            // The client gave up while the work was running: nothing is delivered, nothing is owed.
            return Ok(());
        }
        let (call, proposal) = opening(&record)?;
        let award = record.award().ok_or_else(|| Problem::new(Code::Internal, "an award is missing", ""))?;
        if award.document.deadline <= self.now() {
            return Err(Problem::new(Code::Expired, "the work was done after the deadline", "allow more time"));
        }
        let work = &call.document.job.work;
        let declared = work.units();
        // A text may end early, and then less is billed.
        let as_declared = match work {
            Work::Generate(text) => (u64::from(text.prompt_tokens)..=declared).contains(&output.units),
            _ => output.units == declared,
        };
        if !as_declared {
            return Err(Problem::new(
                Code::WorkFailed,
                format!("the worker counted {} units where the job declares {declared}", output.units),
                "declare the units that the input really has",
            ));
        }
        let Some(amount) = proposal.document.bill(work, output.units) else {
            return Err(Problem::new(Code::Internal, "the work done cannot be priced", ""));
        };
        let blob: BlobRef = self.store.put_blob(&output.bytes).await.map_err(|e| e.problem())?;
        let delivery = Delivery {
            contract: id,
            contractor: self.did(),
            client: record.peer,
            award: award.hash(),
            output: blob,
            units: output.units,
            amount,
            meter,
            worker: output.worker.clone(),
            delivered_at: self.now(),
        };
        let delivery = Signed::new(delivery, self.identity.signer.as_ref());
        let documents = vec![Message::Delivery(delivery)];
        let deliver = self.contract_event(&record, Step::Deliver, documents, MicroUsd::ZERO, None)?;
        let owner = record.peer.to_string();
        let task = self.store.task(&owner, &id.to_string()).await.map_err(|e| e.problem())?;
        let Some(task) = task.filter(|task| task.recorded > 0) else {
            return self.apply_learning(vec![deliver, spent.done], Vec::new(), spent.lessons).await;
        };
        // Nobody reviews: the client of a plain task has no documents to do it with.
        let outputs = Event::TaskRecorded {
            task: task.id,
            owner,
            context: task.context,
            once: None,
            expected: task.recorded,
            bodies: self.outputs(work, &output, blob).await?,
            state: None,
            expires_at: None,
            at: self.now(),
        };
        let delivered = ContractRecord { state: ContractState::Delivered, ..record };
        let accept = self.contract_event(&delivered, Step::AcceptBySilence, Vec::new(), amount, None)?;
        self.apply_learning(vec![outputs, deliver, accept, spent.done], Vec::new(), spent.lessons).await
    }

    /// What the client of a plain task gets: a text as text, with all about it beside it; everything else as it is.
    async fn outputs(&self, work: &Work, output: &Output, blob: BlobRef) -> Result<Vec<serde_json::Value>, Problem> {
        let artifact = |id: &str, blob, media_type: &str| {
            super::plain::body(&Change::Output(Artifact {
                artifact_id: id.to_owned(),
                blob,
                media_type: media_type.to_owned(),
                filename: None,
                extensions: Vec::new(),
            }))
        };
        if !matches!(work, Work::Generate(_)) {
            return Ok(vec![artifact(contract::OUTPUT, blob, contract::BYTES)?]);
        }
        let generation: Generation = serde_json::from_slice(&output.bytes)
            .map_err(|e| Problem::new(Code::WorkFailed, format!("the text does not read back: {e}"), "try again"))?;
        let text = self.store.put_blob(generation.text.as_bytes()).await.map_err(|e| e.problem())?;
        Ok(vec![artifact(contract::OUTPUT, text, "text/plain")?, artifact("generation", blob, "application/json")?])
    }

    /// Ends a contract that cannot be fulfilled. One that ended meanwhile stays as it is.
    pub(crate) async fn fail_sold(&self, id: ContractId, problem: Problem) {
        if let Ok(record) = self.record(id).await
            && matches!(record.state, ContractState::Awarded | ContractState::Running)
            && let Err(e) = self.move_contract(&record, Step::Fail, Vec::new(), MicroUsd::ZERO, Some(problem)).await
        {
            tracing::error!(contract = %id, problem = %e, "the failure could not be stored");
        }
        self.halt(id.uuid());
    }

    pub(crate) async fn record(&self, id: ContractId) -> Result<ContractRecord, Problem> {
        self.store
            .contract(id)
            .await
            .map_err(|e| e.problem())?
            .ok_or_else(|| Problem::new(Code::NotFound, format!("there is no contract {id}"), ""))
    }

    pub(crate) async fn stored_blob(&self, blob: &BlobRef) -> Result<Vec<u8>, Problem> {
        self.store.blob(blob).await.map_err(|e| e.problem())?.ok_or_else(|| {
            Problem::new(Code::Storage, format!("the stored bytes {} are missing", blob.sha256), "run the job again")
        })
    }
}

/// What a text has used so far: the own worker counts its tokens as they are written. Of other work nothing is counted
/// before its end, and energy is known only then.
fn used(record: &ContractRecord, place: &Workplace, step: &Progress) -> Option<contract::Used> {
    let (call, proposal) = opening(record).ok()?;
    let Work::Generate(text) = &call.document.job.work else { return None };
    if place.runtime.is_some() {
        return None;
    }
    let units = u64::from(text.prompt_tokens) + u64::from(step.done);
    let amount_micro_usd = proposal.document.bill(&call.document.job.work, units)?;
    Some(contract::Used { units, amount_micro_usd, energy_joules: None, measured: false })
}

pub(crate) fn wall_limit(estimated_ms: u64) -> Duration {
    Duration::from_millis(estimated_ms.saturating_mul(WALL_LIMIT_FACTOR)).max(LEAST_WALL_LIMIT)
}

#[cfg(test)]
mod tests;
