//! Checking what was delivered, and accepting or rejecting it.

use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tender_base::{
    Code, ContractState, Did, JobState, MicroUsd, Problem, Signed, Timestamp, Work,
    documents::{Acceptance, Evidence, Message, Rejection, Statistic, verification_seed},
    ids::ContractId,
};
use tender_engine::verify::{self, Claim, Found, Probe};
use tender_market::{
    checks,
    contract::Step,
    decision::Actual,
    verification::{self, Check},
};
use tender_store::{ContractRecord, Event};

/// Shortest time that recomputing gets, however little is left until silence counts.
const LEAST_CHECK_LIMIT: Duration = Duration::from_secs(10);

/// Pause before a check that could not be carried out is tried again, doubled each time up to the longest.
const RECHECK_AFTER: Duration = Duration::from_millis(500);
const RECHECK_AFTER_AT_MOST: Duration = Duration::from_secs(30);

/// How a delivery was checked, as stored with the job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Checked {
    /// What was found.
    pub(crate) evidence: Vec<Evidence>,
    /// Whether it passed.
    pub(crate) passed: bool,
    /// What checking cost, in milliseconds of this machine.
    pub(crate) ms: u64,
    /// Not checked: one of so many deliveries of this contractor is.
    #[serde(default)]
    pub(crate) trusted: Option<u32>,
    /// Not checked: nobody can, since the text came without its tokens.
    #[serde(default)]
    pub(crate) without_tokens: bool,
}

impl Checked {
    /// Found to be right.
    pub(super) fn passed(evidence: Vec<Evidence>, ms: u64) -> Self {
        Self { evidence, passed: true, ms, trusted: None, without_tokens: false }
    }

    /// A text that came without its tokens.
    pub(super) fn not_possible() -> Self {
        Self { evidence: Vec::new(), passed: false, ms: 0, trusted: None, without_tokens: true }
    }

    /// In a sentence.
    pub(crate) fn describe(&self) -> String {
        if self.without_tokens {
            return "not checked: the agent does not tell the text's tokens, and without them nobody can".to_owned();
        }
        if let Some(one_in) = self.trusted {
            return format!("taken on trust: its last results were all valid, and one in {one_in} is checked");
        }
        let found: Vec<String> = self.evidence.iter().map(describe).collect();
        let verdict = if self.passed { "passed" } else { "failed" };
        format!("{}; {verdict} in {} ms", found.join(", "), self.ms)
    }
}

fn describe(evidence: &Evidence) -> String {
    let Evidence { statistic, value, n, .. } = evidence;
    match statistic {
        Statistic::FreivaldsResidual => {
            format!("Freivalds with {n} random vectors, largest residual {value:.3} of the tolerance")
        }
        Statistic::MinCosine => format!("{n} passages embedded again, smallest cosine {value:.6}"),
        Statistic::ConsistentText if *value >= 1.0 => "text and tokens agree".to_owned(),
        Statistic::ConsistentText => "text, tokens and end contradict each other".to_owned(),
        Statistic::MeanMargin => format!("{n} tokens judged by the own model, {value:.3} logits behind on average"),
        Statistic::MaxMargin => format!("{value:.3} at most"),
        Statistic::AgreeingSlices => {
            format!("{n} random workgroups run again, {:.1} % agree", value * 100.0)
        }
    }
}

impl Node {
    /// Checks a delivery until there is a verdict. While this machine cannot (its worker died, its card was taken
    /// back), the job waits: bought again elsewhere it would be paid twice as soon as the silence counts.
    ///
    /// # Errors
    /// Why it was rejected.
    pub(crate) async fn check_until_decided(self: &Arc<Self>, id: ContractId) -> Result<(), Problem> {
        let mut pause = RECHECK_AFTER;
        loop {
            let Err(problem) = self.check_and_accept(id).await else { return Ok(()) };
            match self.record(id).await?.state {
                ContractState::Delivered => {}
                ContractState::Accepted | ContractState::Settled => return Ok(()),
                _ => return Err(problem),
            }
            tracing::warn!(contract = %id, code = %problem.code, %problem, "the delivery could not be checked yet");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECHECK_AFTER_AT_MOST);
        }
    }

    /// Checks a delivery with parts that neither side could choose, then accepts or rejects it.
    ///
    /// # Errors
    /// Why it was rejected, or why it could not be checked; then nothing is accepted and the contract stays
    /// delivered until its review time ends.
    async fn check_and_accept(self: &Arc<Self>, id: ContractId) -> Result<(), Problem> {
        let record = self.record(id).await?;
        let (call, _) = crate::contractor::opening(&record)?;
        let delivery = record.delivery().ok_or_else(|| Problem::new(Code::Internal, "the delivery is missing", ""))?;
        let work = &call.document.job.work;
        let nonce = self.nonce(id);
        let root = delivery.document.output;
        let claim = Claim {
            work: work.clone(),
            input: self.stored_blob(&call.document.job.input).await?.into(),
            output: self.stored_blob(&root).await?.into(),
            units: delivery.document.units,
            seed: verification_seed(&nonce, &root.sha256),
        };
        let valid = self.valid_in_a_row(record.peer, work).await?;
        let probe = match verification::plan(work, valid, &claim.seed) {
            Check::Trusted { one_in } => {
                // Trust is about the numbers: what does not even have the form of a result is nobody's honest work.
                if let Some(found) = verify::malformed(&claim) {
                    return self.judge(&record, work, found, self.now()).await;
                }
                let checked = Checked { trusted: Some(one_in), ..Checked::passed(Vec::new(), 0) };
                return self.accept(&record, checked).await;
            }
            Check::FullFreivalds { vectors } => Probe::Freivalds { vectors },
            Check::Margins => Probe::Margins,
            Check::Sample { n } => {
                let parts = verification::parts(work).unwrap_or(0);
                Probe::Parts(verification::choose(&claim.seed, n, parts))
            }
        };
        let model = self.model(work).await?;
        let started = self.now();
        // When silence counts, a verdict comes too late.
        let left = record.expires_at.map_or(Duration::ZERO, |silence| silence.since(started));
        let limit = left.max(LEAST_CHECK_LIMIT);
        self.lookout.looked().await;
        let checking = verify::evidence(&claim, &probe, self.engine.as_ref(), model.as_deref(), limit);
        // Waiting for room in the own worker is no work and has no limit of its own.
        let found = tokio::time::timeout(limit, checking).await.map_err(|_| {
            let hint = "it is tried again until silence counts; set review_seconds higher if this machine is busy";
            Problem::new(Code::Expired, format!("the check did not end within {} s", limit.as_secs()), hint)
        })??;
        // The contract may have ended meanwhile: cancelled, or accepted by silence.
        let record = self.record(id).await?;
        self.judge(&record, work, found, started).await
    }

    /// Accepts or rejects by what was found.
    async fn judge(
        self: &Arc<Self>,
        record: &ContractRecord,
        work: &Work,
        found: Found,
        started: Timestamp,
    ) -> Result<(), Problem> {
        let Found { evidence, fault } = found;
        let mut verdict = verification::verdict(work, &evidence);
        if let (Err(problem), Some(fault)) = (&mut verdict, fault) {
            problem.message = format!("{}: {fault}", problem.message);
        }
        let ms = u64::try_from(self.now().since(started).as_millis()).unwrap_or(u64::MAX);
        let checked = Checked { passed: verdict.is_ok(), ..Checked::passed(evidence, ms) };
        match verdict {
            Ok(()) => self.accept(record, checked).await,
            Err(problem) => {
                self.reject(record, checked, &problem).await?;
                Err(problem)
            }
        }
    }

    /// How many of this contractor's results of such work, with the same model, were checked and valid since the last
    /// that was not; counted no further than it matters.
    pub(crate) async fn valid_in_a_row(&self, contractor: Did, work: &Work) -> Result<u32, Problem> {
        let model = match work {
            Work::Embed { model, .. } => Some(model.sha256),
            Work::Generate(text) => Some(text.model.sha256),
            Work::Gemm { .. } | Work::Kernel(_) | Work::Wgsl(_) => None,
        };
        let most = verification::CHECK_ONE_IN_AT_MOST;
        let counted = self.store.valid_in_a_row(&contractor, work.kind(), model.as_ref(), most).await;
        counted.map_err(|e| e.problem())
    }

    /// One transaction: the acceptance, the postings, the job's end and the decision's actuals.
    async fn accept(self: &Arc<Self>, record: &ContractRecord, checked: Checked) -> Result<(), Problem> {
        let delivery = record.delivery().ok_or_else(|| Problem::new(Code::Internal, "the delivery is missing", ""))?;
        let now = self.now();
        let acceptance = Acceptance {
            contract: record.id,
            client: self.did(),
            contractor: record.peer,
            delivery: delivery.hash(),
            nonce: self.nonce(record.id),
            evidence: checked.evidence.clone(),
            amount: delivery.document.amount,
            accepted_at: now,
        };
        let acceptance = Signed::new(acceptance, self.identity.signer.as_ref());
        let amount = delivery.document.amount;
        let mut events =
            vec![self.contract_event(record, Step::Accept, vec![Message::Acceptance(acceptance)], amount, None)?];
        let mut lessons = Vec::new();
        if let Some(job) = record.job {
            let wall_ms = record
                .award()
                .map_or(0, |award| u64::try_from(now.since(award.document.awarded_at).as_millis()).unwrap_or(u64::MAX));
            events.extend(
                self.decided_with(job, Actual { charged: amount, wall_ms, contract: Some(record.id), by: None })
                    .await?,
            );
            let (call, proposal) = crate::contractor::opening(record)?;
            let work = &call.document.job.work;
            // From the award to the delivery: how long it was checked says nothing about the peer.
            let checking = now.since(record.changed_at);
            let took = wall_ms.saturating_sub(u64::try_from(checking.as_millis()).unwrap_or(u64::MAX));
            let units = delivery.document.units;
            lessons = Self::promise_kept(&record.peer, work, proposal.document.estimated_ms, units, took);
            events.push(self.bought(job.uuid(), record.book, work, (units, None), took));
            events.push(Event::JobMoved {
                job,
                state: JobState::Completed,
                reason: None,
                output: Some(delivery.document.output),
                charged: Some(amount),
                checked: serde_json::to_value(&checked).ok(),
                entries: Vec::new(),
                at: now,
            });
        }
        self.apply_learning(events, Vec::new(), lessons).await?;
        // The money is booked; hearing the countersignature may take another try.
        if let Err(problem) = self.complete_receipt(record.id).await {
            tracing::info!(contract = %record.id, code = %problem.code, %problem, "the countersignature is still due");
            self.due_countersignatures().insert(record.id);
        }
        Ok(())
    }

    /// Sends the acceptance and stores the contractor's countersignature. Repeated by the timer until it is there.
    pub(crate) async fn complete_receipt(self: &Arc<Self>, id: ContractId) -> Result<(), Problem> {
        let record = self.record(id).await?;
        let Some(acceptance) = record.acceptance().filter(|_| record.countersignature().is_none()) else {
            return Ok(());
        };
        let peer = self.peer_row(&record).await?;
        let client = self.client_of(&peer).await?;
        let answer = client.exchange(Message::Acceptance(acceptance.clone())).await;
        if let Err(problem) = &answer {
            self.clients.failed(&peer.did, problem).await;
        }
        match answer? {
            Message::Countersignature(counter) => {
                checks::check_countersignature(&counter, acceptance)?;
                let document = Message::Countersignature(counter);
                let event = Event::ContractDocumented { contract: id, document, at: self.now() };
                self.apply(vec![event], Vec::new()).await
            }
            Message::Refusal(problem) => Err(problem),
            _ => Err(Problem::new(Code::Forged, format!("{} answers with something else", peer.name), "")),
        }
    }

    async fn reject(
        self: &Arc<Self>,
        record: &ContractRecord,
        checked: Checked,
        problem: &Problem,
    ) -> Result<(), Problem> {
        let delivery = record.delivery().ok_or_else(|| Problem::new(Code::Internal, "the delivery is missing", ""))?;
        let rejection = Rejection {
            contract: record.id,
            client: self.did(),
            contractor: record.peer,
            delivery: delivery.hash(),
            nonce: self.nonce(record.id),
            evidence: checked.evidence,
            reason: problem.message.clone(),
            rejected_at: self.now(),
        };
        let rejection = Message::Rejection(Signed::new(rejection, self.identity.signer.as_ref()));
        self.move_contract(record, Step::Reject, vec![rejection], MicroUsd::ZERO, Some(problem.clone())).await?;
        self.tell_end(record.id).await
    }
}
