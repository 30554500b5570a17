//! What happens by itself: proposals that run out, deadlines, silence that counts as acceptance, receipts that are
//! still due, blobs past their retention, webhooks that nobody is told anything through.

use crate::node::Node;
use std::{sync::Arc, time::Duration};
use tender_base::{Code, ContractState, MicroUsd, Problem, Role, Timestamp, ids::ContractId};
use tender_market::contract::Step;
use tender_store::{ContractFilter, ContractRecord, MAX_ROWS};

/// How often the clock is looked at. Expiries are checked again where they matter, so nothing depends on this being
/// short; it costs one indexed query.
const EVERY: Duration = Duration::from_secs(5);
/// What was refused is stored once in so many rounds: every minute.
const REFUSAL_ROUNDS: u32 = 12;
/// What is past its time is swept once in so many rounds: every hour.
const SWEEP_ROUNDS: u32 = 720;
/// How long a client can still read which webhooks its task had, after the task's last change.
const HOOKS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Contracts that a client gave up or rejected this long ago are told again at a start, since it is not remembered
/// who has heard it: a week, the longest deadline of a job.
const RETOLD_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Runs until the node ends.
pub(crate) async fn run(node: Arc<Node>) {
    let (mut round, mut offered_since) = (0u32, None);
    node.ask_for_receipts();
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(problem) = node.expire().await {
            tracing::warn!(code = %problem.code, %problem, "timers");
        }
        node.note_offered(&mut offered_since).await;
        round = round.wrapping_add(1);
        if round.is_multiple_of(REFUSAL_ROUNDS) {
            node.store_refusals().await;
        }
        if round.is_multiple_of(SWEEP_ROUNDS) {
            node.sweep().await;
        }
    }
}

impl Node {
    /// Removes what is past its time.
    async fn sweep(&self) {
        let now = self.now();
        if let Err(e) = self.store.sweep_blobs(now).await {
            tracing::warn!(code = %e.problem().code, problem = %e.problem(), "old inputs and outputs were not swept");
        }
        let kept = i64::try_from(HOOKS_KEPT.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(now.millis().saturating_sub(kept));
        if let Err(e) = self.store.forget_ended_hooks(before).await {
            tracing::warn!(code = %e.problem().code, problem = %e.problem(), "old webhooks were not forgotten");
        }
    }

    /// Ends every contract whose time is over, and asks again for countersignatures that are due.
    pub(crate) async fn expire(self: &Arc<Self>) -> Result<(), Problem> {
        use ContractState as S;
        let open = vec![S::Announced, S::Proposed, S::Awarded, S::Running, S::Delivered, S::Rejected];
        let now = self.now();
        for listed in self.contracts_in(None, open).await? {
            if listed.expires_at.is_none_or(|at| at > now) {
                continue;
            }
            if let Err(problem) = self.time_is_over(&self.record(listed.id).await?).await {
                tracing::warn!(contract = %listed.id, code = %problem.code, %problem, "not expired");
            }
        }
        self.close_quotes().await?;
        self.ask_for_receipts();
        Ok(())
    }

    /// Sends the acceptances again whose countersignatures are due.
    fn ask_for_receipts(self: &Arc<Self>) {
        let due: Vec<ContractId> = self.due_countersignatures().drain().collect();
        for contract in due {
            let node = self.clone();
            self.spawn(async move {
                if let Err(problem) = node.complete_receipt(contract).await {
                    tracing::debug!(%contract, code = %problem.code, %problem, "the countersignature is still due");
                    node.due_countersignatures().insert(contract);
                }
            });
        }
    }

    async fn contracts_in(
        &self,
        role: Option<Role>,
        states: Vec<ContractState>,
    ) -> Result<Vec<ContractRecord>, Problem> {
        let filter = ContractFilter { role, states, limit: MAX_ROWS, ..ContractFilter::default() };
        self.store.contracts(filter).await.map_err(|e| e.problem())
    }

    async fn time_is_over(self: &Arc<Self>, record: &ContractRecord) -> Result<(), Problem> {
        match (record.state, record.role) {
            (ContractState::Announced | ContractState::Proposed, _) => {
                let ran_out = Problem::new(Code::Expired, "the proposal ran out", "");
                self.move_contract(record, Step::Lapse, Vec::new(), MicroUsd::ZERO, Some(ran_out)).await
            }
            (ContractState::Awarded | ContractState::Running, Role::Client) => {
                // The contractor may have delivered in the last moment: it must hear that nobody took it.
                let late = Problem::new(Code::Expired, "the deadline passed", "");
                self.abandon(record, &late).await
            }
            (ContractState::Awarded | ContractState::Running | ContractState::Rejected, _) => {
                let late = Problem::new(Code::Expired, "the deadline passed", "");
                self.move_contract(record, Step::Fail, Vec::new(), MicroUsd::ZERO, Some(late)).await
            }
            (ContractState::Delivered, Role::Client) => {
                // Both sides count the same silence; the job has its output, unchecked.
                let why = if self.lookout.takes_all() {
                    "accepted by silence, unchecked: the card that checks was given back to its owner"
                } else {
                    "accepted by silence: the check did not come to an end"
                };
                let unchecked = Problem::new(Code::Expired, why, "set review_seconds higher to have longer to check");
                let amount = record.amount.unwrap_or(MicroUsd::ZERO);
                let mut events =
                    vec![self.contract_event(record, Step::AcceptBySilence, Vec::new(), amount, Some(unchecked))?];
                // The owner may have cancelled the job after its delivery; what was delivered is owed all the same.
                if let Some(job) = record.job
                    && self.unfinished(job).await.is_ok()
                {
                    let (call, _) = crate::contractor::opening(record)?;
                    let units = record.delivery().map_or(0, |delivery| delivery.document.units);
                    let took = record
                        .award()
                        .map_or(Duration::ZERO, |award| record.changed_at.since(award.document.awarded_at));
                    let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                    events.push(self.bought(job.uuid(), record.book, &call.document.job.work, (units, None), took));
                    events.push(tender_store::Event::JobMoved {
                        job,
                        state: tender_base::JobState::Completed,
                        reason: None,
                        output: record.output,
                        charged: Some(amount),
                        checked: None,
                        entries: Vec::new(),
                        at: self.now(),
                    });
                }
                self.apply(events, Vec::new()).await
            }
            (ContractState::Delivered, Role::Contractor) => {
                // Nobody can speak to a node that is down: the silence begins anew with its start.
                let review = record.award().map_or(0, |award| award.document.review_seconds);
                if self.now() < self.started_at.after(Duration::from_secs(u64::from(review))) {
                    return Ok(());
                }
                let amount = record.amount.unwrap_or(MicroUsd::ZERO);
                self.move_contract(record, Step::AcceptBySilence, Vec::new(), amount, None).await
            }
            _ => Ok(()),
        }
    }

    /// Takes up what an earlier process left: sold contracts run again, own jobs are driven on.
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<(), Problem> {
        self.clear_demo_peer().await?;
        let sold = vec![ContractState::Awarded, ContractState::Running];
        for record in self.contracts_in(Some(Role::Contractor), sold).await? {
            self.spawn_work(record.id.uuid(), self.clone().run_contract(record.id));
        }
        for listed in self.contracts_in(Some(Role::Client), vec![ContractState::Accepted]).await? {
            let record = self.record(listed.id).await?;
            if record.acceptance().is_some() && record.countersignature().is_none() {
                self.due_countersignatures().insert(record.id);
            }
        }
        let ended = vec![ContractState::Abandoned, ContractState::Rejected];
        let since = self.now().millis().saturating_sub(i64::try_from(RETOLD_FOR.as_millis()).unwrap_or(i64::MAX));
        for record in self.contracts_in(Some(Role::Client), ended).await? {
            if record.changed_at.millis() >= since {
                self.tell_end(record.id).await?;
            }
        }
        use tender_base::JobState as J;
        let filter = tender_store::JobFilter {
            states: vec![J::Queued, J::Running, J::Verifying],
            ..tender_store::JobFilter::default()
        };
        for job in self.store.jobs(filter).await.map_err(|e| e.problem())? {
            self.spawn_work(job.id.uuid(), self.clone().drive(job.id, true));
        }
        Ok(())
    }
}
