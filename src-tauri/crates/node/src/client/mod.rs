//! Buying: a job's way from its submission to its checked result.

mod award;
mod check;
mod cloud;
mod decided;
mod hire;
mod known;
mod submit;
mod tendering;

pub(crate) use check::Checked;
pub(crate) use decided::Decided;
/// What the job itself gets wrong, nobody will get right.
fn hopeless(problem: &Problem) -> bool {
    matches!(problem.code, Code::Invalid | Code::TooLarge)
}

#[cfg(test)]
pub(crate) use decided::tests as decided_before;
pub(crate) use submit::Tokens;

use crate::{economics::Ended, metering::WorkMeter, node::Node};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tender_base::{
    Code, ContractState, JobState, Problem, Role,
    ids::{ContractId, JobId},
};
use tender_engine::{Engine, Order, Output, Progress, Tenant};
use tender_market::{
    decision::{Actual, Alternative, Outcome, Source},
    receipt::Receipt,
};
use tender_store::{ContractFilter, ContractRecord, Event, JobRecord, Place};

/// How often a job is tendered after every alternative has failed, and how often while there is none.
const ROUNDS: u32 = 3;
/// Pause before the next round, doubled with each up to the longest.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(500);
const BETWEEN_ROUNDS_AT_MOST: Duration = Duration::from_secs(4);
/// How long a job waits for somebody to do it after its contractor was lost or handed it back, or this node was
/// restarted: the peers may be restarting as well, one that lost the award holds its slot until the proposal runs out
/// (30 s), and one whose owner needed the card may have it back.
const RECOVERY: Duration = Duration::from_secs(60);

/// Contracts of a job that ended in a way that does not count against it: who was rejected is not asked again, and who
/// handed it back not so soon, so that these rounds end by themselves.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Excused {
    rejected: usize,
    handed_back: usize,
}

impl Excused {
    fn of(contracts: &[ContractRecord]) -> Self {
        let count = |fits: &dyn Fn(&ContractRecord) -> bool| contracts.iter().filter(|record| fits(record)).count();
        Self {
            rejected: count(&|record| record.rejection().is_some()),
            handed_back: count(&|record| record.state == ContractState::HandedBack),
        }
    }
}

impl Node {
    /// Drives a job until it is final. Called at submission and, for a job that was under way, at start (`resumed`).
    pub(crate) async fn drive(self: Arc<Self>, id: JobId, resumed: bool) {
        let outcome = self.clone().drive_to_end(id, resumed).await;
        if let Err(problem) = outcome {
            tracing::warn!(job = %id, code = %problem.code, %problem, "the job failed");
            self.end_job(id, JobState::Failed, problem).await;
        }
    }

    async fn drive_to_end(self: Arc<Self>, id: JobId, resumed: bool) -> Result<(), Problem> {
        // What an earlier process left: follow the contract that is under way, let the others lapse.
        for record in self.contracts_of(id).await? {
            match record.state {
                ContractState::Awarded | ContractState::Running | ContractState::Delivered
                    if self.follow(&record, None).await.is_ok() =>
                {
                    return Ok(());
                }
                ContractState::Accepted | ContractState::Settled => return Ok(()),
                ContractState::Announced | ContractState::Proposed => self.decline(&record).await,
                _ => {}
            }
        }
        if resumed {
            let job = self.unfinished(id).await?;
            if self.hired_before(&job).await? {
                return Ok(());
            }
            self.release(&job).await?;
        }
        let mut wait_until = resumed.then(|| self.now().after(RECOVERY));
        let (mut failed, mut empty) = (0, 0);
        let mut excused = Excused::default();
        // Why those who tried it did not do it: that says more than that nobody is left.
        let mut cause: Option<Problem> = None;
        let mut pause = BETWEEN_ROUNDS;
        loop {
            let job = self.unfinished(id).await?;
            if job.spec.constraints.deadline <= self.now() {
                return Err(Problem::new(
                    Code::Expired,
                    "the deadline passed before anybody did it",
                    "allow more time",
                ));
            }
            self.not_stopped()?;
            let receipt = self.tender(&job).await?;
            self.decline_infeasible(&receipt).await;
            match receipt.problem() {
                // Also when the others are too dear: it may be done here, or by those who were not asked.
                Some(_) if self.waits_for_card(&job) => self.card_released(id).await,
                // Peers that are full or down may answer differently in a moment; a budget will not.
                Some(problem) if problem.code == Code::OverLimit => return Err(problem),
                Some(problem) => {
                    empty += 1;
                    if empty >= ROUNDS && wait_until.is_none_or(|until| self.now() >= until) {
                        return Err(cause.unwrap_or(problem));
                    }
                }
                None => match self.try_in_order(&job, &receipt).await {
                    Ok(()) => return Ok(()),
                    // It is no failure that the owner's game needed the card, and the job waits for its end.
                    Err(problem) if !hopeless(&problem) && self.waits_for_card(&job) => self.card_released(id).await,
                    Err(problem) => {
                        let before = std::mem::replace(&mut excused, Excused::of(&self.contracts_of(id).await?));
                        failed += u32::from(excused == before);
                        if hopeless(&problem) || failed >= ROUNDS {
                            return Err(problem);
                        }
                        let lost = problem.code == Code::Lost;
                        if excused.handed_back > before.handed_back {
                            // At least until who handed it back is asked again.
                            let asked_again = tendering::after_handback(excused.handed_back) * 2;
                            wait_until = Some(self.now().after(RECOVERY.max(asked_again)));
                        } else if lost && wait_until.is_none() {
                            wait_until = Some(self.now().after(RECOVERY));
                        }
                        if !lost {
                            cause = Some(problem);
                        }
                    }
                },
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BETWEEN_ROUNDS_AT_MOST);
        }
    }

    /// Tries the feasible alternatives in their order until one delivers what passes its check.
    async fn try_in_order(self: &Arc<Self>, job: &JobRecord, receipt: &Receipt) -> Result<(), Problem> {
        let alternatives = &receipt.question.situation.alternatives;
        let order: Vec<&Alternative> = receipt.order().into_iter().map(|i| &alternatives[i]).collect();
        let mut last = Problem::new(Code::Unavailable, "no alternative could do the job", "");
        for (place, alternative) in order.iter().enumerate() {
            self.unfinished(job.id).await?;
            let contract = match &alternative.outcome {
                Outcome::Offered { contract, .. } => *contract,
                Outcome::Unavailable { .. } => continue,
            };
            // Everyone behind the runner-up can go at once; the runner-up is held until the winner shows life.
            let rest: Vec<ContractId> = order[place + 1..].iter().filter_map(|other| contract_of(other)).collect();
            let tried = match contract {
                None => {
                    // Nobody's slot is held meanwhile; should it fail, the job is tendered again.
                    for other in &rest {
                        self.decline_by_id(*other).await;
                    }
                    match &alternative.source {
                        Source::Cloud { name, .. } => self.run_in_cloud(job, name).await,
                        Source::Foreign { name, .. } => self.hire(job, name).await,
                        Source::Local | Source::Peer { .. } => self.run_here(job).await,
                    }
                }
                // Let go when an earlier one began: the next round asks for a new proposal.
                Some(contract) if self.record(contract).await?.state != ContractState::Proposed => continue,
                Some(contract) => self.buy(contract, &rest).await,
            };
            match tried {
                Ok(()) => {
                    for other in rest {
                        self.decline_by_id(other).await;
                    }
                    return Ok(());
                }
                Err(problem) => {
                    // No second award before the first has durably ended.
                    if let Some(contract) = contract
                        && self.follow_while_open(contract).await?
                    {
                        return Ok(());
                    }
                    tracing::info!(job = %job.id, from = alternative.source.label(), code = %problem.code, %problem, "trying the next one");
                    // That somebody was lost decides how long to wait for others: it outlives later reasons.
                    if last.code != Code::Lost {
                        last = problem;
                    }
                }
            }
        }
        Err(last)
    }

    /// Stays with a contract whose end could not be stored yet; true when it delivered after all.
    async fn follow_while_open(self: &Arc<Self>, id: ContractId) -> Result<bool, Problem> {
        loop {
            let record = self.record(id).await?;
            match record.state {
                ContractState::Accepted | ContractState::Settled => return Ok(true),
                ContractState::Awarded | ContractState::Running | ContractState::Delivered => {
                    tokio::time::sleep(BETWEEN_ROUNDS).await;
                    if self.follow(&record, None).await.is_ok() {
                        return Ok(true);
                    }
                }
                _ => return Ok(false),
            }
        }
    }

    /// Gives back the proposals that cannot be taken: over budget, too late, or all of them.
    async fn decline_infeasible(self: &Arc<Self>, receipt: &Receipt) {
        let order = receipt.order();
        for (i, alternative) in receipt.question.situation.alternatives.iter().enumerate() {
            if let Some(contract) = contract_of(alternative).filter(|_| !order.contains(&i)) {
                self.decline_by_id(contract).await;
            }
        }
    }

    /// Runs a job on the own GPU.
    async fn run_here(self: &Arc<Self>, job: &JobRecord) -> Result<(), Problem> {
        self.not_stopped()?;
        self.lookout.looked().await;
        if self.lookout.takes_all() {
            return Err(self.card_taken());
        }
        let running = self.job_event(job.id, JobState::Running, None);
        self.apply(vec![running], Vec::new()).await?;
        let work = job.spec.work.clone();
        let place = self.workplace(&work, false).await?;
        let runtime = place.runtime.as_deref();
        let estimate = self.estimate(&work, runtime).await?;
        let order = Order {
            model: place.model.clone(),
            input: self.stored_blob(&job.spec.input).await?.into(),
            parts: None,
            wall_limit: crate::contractor::wall_limit(estimate.estimated_ms()),
            tenant: Tenant::Own,
            work,
        };
        let mut metering = WorkMeter::new();
        // Also of what an attached runtime does for us here: it is the same card.
        let taken = self.lookout.taken();
        let running = self.run_own(job.id, place.engine.as_ref(), order, &mut metering, taken).await;
        let output = running.inspect_err(|problem| self.runtime_failed(runtime, problem))?;
        let metered = self.metered(job.spec.work.kind(), metering, output.wall_ms).await;
        self.learn(&job.spec.work, runtime, output.units, output.wall_ms).await;
        let blob = self.store.put_blob(&output.bytes).await.map_err(|e| e.problem())?;
        let (book, place) = (job.book, Place::Own);
        let ended = Ended {
            id: job.id.uuid(),
            book,
            work: &job.spec.work,
            runtime,
            place,
            estimate: &estimate,
            output: &output,
            metered: &metered,
        };
        let spent = self.spent(ended).await?;
        let actual = Actual { charged: spent.cost, wall_ms: output.wall_ms, contract: None, by: None };
        let done = Event::JobMoved {
            job: job.id,
            state: JobState::Completed,
            reason: None,
            output: Some(blob),
            charged: None,
            checked: None,
            entries: Vec::new(),
            at: self.now(),
        };
        let mut events = self.decided_with(job.id, actual).await?;
        events.extend([done, spent.done]);
        self.apply_learning(events, Vec::new(), spent.lessons).await
    }

    /// Runs an order of the owner, until `taken` says that its card is wanted for something else.
    async fn run_own(
        &self,
        id: JobId,
        engine: &dyn Engine,
        order: Order,
        metering: &mut WorkMeter,
        taken: impl Future<Output = ()>,
    ) -> Result<Output, Problem> {
        let (sender, mut progress) = tokio::sync::watch::channel(Progress::default());
        let running = engine.run(order, sender);
        tokio::pin!(running, taken);
        let mut reporting = true;
        loop {
            tokio::select! {
                () = &mut taken => return Err(self.card_taken()),
                output = &mut running => return output,
                changed = progress.changed(), if reporting => {
                    reporting = changed.is_ok();
                    let step: Progress = progress.borrow_and_update().clone();
                    if step.total > 0 {
                        metering.start(self).await;
                        self.live.report(id, step);
                    }
                }
            }
        }
    }

    /// Ends a job of the owner; what was awarded is given up.
    ///
    /// # Errors
    /// [`Code::NotFound`], or [`Code::Conflict`] when it has ended already.
    pub(crate) async fn cancel_job(self: &Arc<Self>, id: JobId) -> Result<(), Problem> {
        let job = self.unfinished(id).await?;
        if job.state == JobState::Verifying {
            return Err(Problem::new(
                Code::Conflict,
                "the result is here and being checked",
                "wait for the verdict: a result that passes is owed, one that fails is not",
            ));
        }
        let cancelled = Problem::new(Code::Conflict, "cancelled by its owner", "");
        self.end_job(job.id, JobState::Cancelled, cancelled.clone()).await;
        self.halt(id.uuid());
        for record in self.contracts_of(id).await? {
            match record.state {
                ContractState::Awarded | ContractState::Running => {
                    self.abandon(&record, &cancelled).await?;
                }
                ContractState::Announced | ContractState::Proposed => self.decline(&record).await,
                _ => {}
            }
        }
        Ok(())
    }

    async fn end_job(&self, id: JobId, state: JobState, problem: Problem) {
        let event = self.job_event(id, state, Some(problem));
        if let Err(problem) = self.apply(vec![event], Vec::new()).await {
            tracing::error!(job = %id, code = %problem.code, %problem, "the end of the job could not be stored");
        }
    }

    pub(crate) fn job_event(&self, job: JobId, state: JobState, reason: Option<Problem>) -> Event {
        Event::JobMoved {
            job,
            state,
            reason,
            output: None,
            charged: None,
            checked: None,
            entries: Vec::new(),
            at: self.now(),
        }
    }

    /// The decision with what it came to, ready to be stored with the job's end.
    pub(crate) async fn decided_with(&self, id: JobId, actual: Actual) -> Result<Vec<Event>, Problem> {
        let job = self.job_record(id).await?;
        let Some(mut decision) = job.decision else { return Ok(Vec::new()) };
        // As every version stores it.
        let Some(fields) = decision.as_object_mut() else { return Ok(Vec::new()) };
        fields.insert("actual".to_owned(), serde_json::to_value(actual).unwrap_or(Value::Null));
        Ok(vec![Event::JobDecided { job: id, decision }])
    }

    pub(crate) async fn job_record(&self, id: JobId) -> Result<JobRecord, Problem> {
        self.store
            .job(id)
            .await
            .map_err(|e| e.problem())?
            .ok_or_else(|| Problem::new(Code::NotFound, format!("there is no job {id}"), "`tender jobs` lists them"))
    }

    pub(crate) async fn unfinished(&self, id: JobId) -> Result<JobRecord, Problem> {
        let job = self.job_record(id).await?;
        if job.state.is_final() {
            let message = format!("the job is already {}", job.state.name());
            return Err(Problem::new(Code::Conflict, message, "submit it again if you need it"));
        }
        Ok(job)
    }

    pub(crate) async fn contracts_of(&self, job: JobId) -> Result<Vec<ContractRecord>, Problem> {
        let filter = ContractFilter { role: Some(Role::Client), job: Some(job), ..ContractFilter::default() };
        self.contracts(filter).await
    }

    /// Contracts with their documents, which listings leave out.
    pub(crate) async fn contracts(&self, filter: ContractFilter) -> Result<Vec<ContractRecord>, Problem> {
        let mut records = Vec::new();
        for listed in self.store.contracts(filter).await.map_err(|e| e.problem())? {
            records.push(self.record(listed.id).await?);
        }
        Ok(records)
    }
}

fn contract_of(alternative: &Alternative) -> Option<ContractId> {
    match &alternative.outcome {
        Outcome::Offered { contract, .. } => *contract,
        Outcome::Unavailable { .. } => None,
    }
}
