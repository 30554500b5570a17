//! From the award to the delivery: the budget is reserved first, the task is followed, and a peer that dies is
//! given up durably before the next one is asked.

use crate::node::Node;
use futures::StreamExt;
use std::{sync::Arc, time::Duration};
use tender_a2a::{TaskEvent, TaskEvents};
use tender_base::{
    Code, ContractState, JobState, MicroUsd, Problem, Sha256, Signed,
    documents::{Abandonment, Award, Delivery, Handback, Message},
    ids::ContractId,
};
use tender_engine::Progress;
use tender_market::{checks, contract::Step};
use tender_store::{ContractRecord, Guard, PeerRecord};

/// A peer whose connection broke is looked for once more: it may have restarted. Together with the 1.5 s after which
/// silence on an open connection is noticed, a peer that is gone is given up within 2 s.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
const RECONNECT_LIMIT: Duration = Duration::from_millis(300);

impl Node {
    /// Awards a contract and sees it through. `others` are the proposals to let go: all but the next at once, the
    /// next when the winner shows life.
    pub(crate) async fn buy(self: &Arc<Self>, id: ContractId, others: &[ContractId]) -> Result<(), Problem> {
        let record = self.record(id).await?;
        for other in others.iter().skip(1) {
            self.decline_by_id(*other).await;
        }
        let (call, _) = crate::contractor::opening(&record)?;
        if let Err(problem) = self.card_to_check(&call.document.job.work).await {
            // Its slot is not held for a game.
            self.decline(&record).await;
            return Err(problem);
        }
        self.award(&record).await?;
        self.follow(&self.record(id).await?, others.first().copied()).await
    }

    /// Reserves the amount and makes the award durable, under the daily cap.
    async fn award(&self, record: &ContractRecord) -> Result<(), Problem> {
        let (call, proposal) = crate::contractor::opening(record)?;
        let now = self.now();
        if proposal.document.valid_until <= now {
            return Err(Problem::new(Code::Expired, "the proposal ran out before it was needed", ""));
        }
        let settings = self.settings();
        self.not_stopped()?;
        let award = Award {
            contract: record.id,
            client: self.did(),
            contractor: record.peer,
            proposal: proposal.hash(),
            nonce_sha256: Sha256::of(self.nonce(record.id).bytes()),
            review_seconds: settings.review_seconds,
            awarded_at: now,
            deadline: call.document.job.constraints.deadline,
        };
        let award = Signed::new(award, self.identity.signer.as_ref());
        let event = self.contract_event(record, Step::Award, vec![Message::Award(award)], MicroUsd::ZERO, None)?;
        let cap = Guard::DailySpend {
            book: record.book,
            day_start: now.start_of_day(),
            cap: settings.daily_spend_cap,
            amount: proposal.document.amount,
        };
        // The job moves with it: one that was cancelled meanwhile refuses the award.
        let mut events = vec![event];
        events.extend(record.job.map(|job| self.job_event(job, JobState::Running, None)));
        self.apply(events, vec![cap]).await
    }

    /// The nonce of a contract: unpredictable to everyone else, and the same after a restart, so that nothing
    /// secret needs to be stored. SHA-256 of a deterministic Ed25519 signature (RFC 8032).
    pub(crate) fn nonce(&self, contract: ContractId) -> Sha256 {
        Sha256::of(&self.identity.signer.sign(format!("tender/nonce/v1\n{contract}").as_bytes()))
    }

    /// Follows an awarded contract to its checked end. `runner_up` is let go at the first sign of life.
    ///
    /// # Errors
    /// Why the contract ended without an accepted delivery; it is abandoned, failed or rejected by then.
    pub(crate) async fn follow(
        self: &Arc<Self>,
        record: &ContractRecord,
        mut runner_up: Option<ContractId>,
    ) -> Result<(), Problem> {
        let id = record.id;
        if record.state != ContractState::Delivered {
            let mut before: Option<Problem> = None;
            loop {
                match self.follow_once(id, &mut runner_up, before.is_some()).await {
                    Ok(()) => break,
                    Err(mut problem) => {
                        let record = self.record(id).await?;
                        // It may have ended in the contractor's own words: then there is nothing to look for.
                        let open = matches!(record.state, ContractState::Awarded | ContractState::Running);
                        let lost = matches!(problem.code, Code::Lost | Code::Unavailable);
                        if open && lost && before.is_none() {
                            before = Some(problem);
                            self.clients.forget(&record.peer).await;
                            tokio::time::sleep(RECONNECT_AFTER).await;
                            continue;
                        }
                        if problem.code == Code::NotFound
                            && let Some(before) = before.take()
                        {
                            // It is there and has no such task: it never took the award, and has said why or was not reached.
                            problem = before;
                        } else if open && lost {
                            // Whatever kept it from answering: whoever waits for others learns that it was lost.
                            problem.code = Code::Lost;
                        }
                        if open {
                            self.abandon(&record, &problem).await?;
                        }
                        return Err(problem);
                    }
                }
            }
        }
        self.check_until_decided(id).await
    }

    /// One connection's worth of events, until the delivery is stored.
    async fn follow_once(
        self: &Arc<Self>,
        id: ContractId,
        runner_up: &mut Option<ContractId>,
        again: bool,
    ) -> Result<(), Problem> {
        let record = self.record(id).await?;
        let peer = self.peer_row(&record).await?;
        let call = record.call().ok_or_else(|| Problem::new(Code::Internal, "the call is missing", ""))?;
        let award = record.award().ok_or_else(|| Problem::new(Code::Internal, "the award is missing", ""))?;
        let left = award.document.deadline.since(self.now());
        let mut events: TaskEvents = if again {
            let gone = |_| Problem::new(Code::Lost, format!("{} does not answer any more", peer.name), "");
            let resumed = async { self.client_of(&peer).await?.resume(id).await };
            tokio::time::timeout(RECONNECT_LIMIT, resumed).await.map_err(gone)??
        } else {
            // Sending the same award again after a restart is safe: the contractor recognises it and goes on.
            let input = self.stored_blob(&call.document.job.input).await?;
            self.client_of(&peer).await?.award(award.clone(), input).await?
        };
        let following = async {
            while let Some(event) = events.next().await {
                match event? {
                    TaskEvent::Accepted { .. } => {}
                    TaskEvent::Progress { done, total, text } => {
                        self.started(id, done, total, text).await?;
                        if let Some(other) = runner_up.take() {
                            self.decline_by_id(other).await;
                        }
                    }
                    TaskEvent::Delivered { delivery, output } => return self.delivered(id, delivery, output).await,
                    TaskEvent::HandedBack(handback) => return Err(self.taken_back(id, handback).await?),
                    TaskEvent::Ended { state, problem } => {
                        let record = self.record(id).await?;
                        let problem = problem.unwrap_or_else(|| {
                            Problem::new(Code::WorkFailed, format!("{} ended the job ({state:?})", peer.name), "")
                        });
                        self.move_contract(&record, Step::Fail, Vec::new(), MicroUsd::ZERO, Some(problem.clone()))
                            .await?;
                        return Err(problem);
                    }
                }
            }
            Err(Problem::new(Code::Lost, format!("{} closed the connection", peer.name), ""))
        };
        match tokio::time::timeout(left, following).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Problem::new(Code::Expired, "the deadline passed before the delivery", "allow more time")),
        }
    }

    async fn started(&self, id: ContractId, done: u64, total: u64, text: Arc<str>) -> Result<(), Problem> {
        let record = self.record(id).await?;
        if let Some(job) = record.job {
            let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
            self.live.report(job, Progress { done: small(done), total: small(total), text });
        }
        if record.state != ContractState::Awarded {
            return Ok(());
        }
        self.move_contract(&record, Step::Start, Vec::new(), MicroUsd::ZERO, None).await
    }

    async fn delivered(&self, id: ContractId, delivery: Signed<Delivery>, output: Vec<u8>) -> Result<(), Problem> {
        let record = self.record(id).await?;
        let (call, proposal) = crate::contractor::opening(&record)?;
        let award = record.award().ok_or_else(|| Problem::new(Code::Internal, "the award is missing", ""))?;
        let blob = tender_base::BlobRef::of(&output);
        checks::check_delivery(&delivery, award, (&call.document.job.work, proposal), &blob, self.now())?;
        self.store.put_blob(&output).await.map_err(|e| e.problem())?;
        let documents = vec![Message::Delivery(delivery)];
        let mut events = vec![self.contract_event(&record, Step::Deliver, documents, MicroUsd::ZERO, None)?];
        events.extend(record.job.map(|job| self.job_event(job, JobState::Verifying, None)));
        self.apply(events, Vec::new()).await
    }

    /// The contractor gives the award back: the reservation is released with it. Returns why.
    async fn taken_back(&self, id: ContractId, handback: Signed<Handback>) -> Result<Problem, Problem> {
        let record = self.record(id).await?;
        let (_, proposal) = crate::contractor::opening(&record)?;
        let award = record.award().ok_or_else(|| Problem::new(Code::Internal, "the award is missing", ""))?;
        checks::check_handback(&handback, award, proposal, self.now())?;
        let why = crate::contractor::handed_back(handback.document.reason);
        let documents = vec![Message::Handback(handback)];
        self.move_contract(&record, Step::HandBack, documents, MicroUsd::ZERO, Some(why.clone())).await?;
        Ok(why)
    }

    /// Gives an award up: durable first, so that a late delivery or receipt is refused, then told.
    pub(crate) async fn abandon(self: &Arc<Self>, record: &ContractRecord, reason: &Problem) -> Result<(), Problem> {
        let award = record.award().ok_or_else(|| Problem::new(Code::Internal, "the award is missing", ""))?;
        let note = Abandonment {
            contract: record.id,
            client: self.did(),
            contractor: record.peer,
            award: award.hash(),
            reason: reason.message.clone(),
            abandoned_at: self.now(),
        };
        let note = Message::Abandonment(Signed::new(note, self.identity.signer.as_ref()));
        self.move_contract(record, Step::Abandon, vec![note], MicroUsd::ZERO, Some(reason.clone())).await?;
        self.tell_end(record.id).await
    }

    /// Tells a contractor that its contract was given up or its delivery rejected, until it has heard it: one that
    /// never hears it would deliver, and take the silence for an acceptance.
    pub(crate) async fn tell_end(self: &Arc<Self>, id: ContractId) -> Result<(), Problem> {
        let record = self.record(id).await?;
        let note = record
            .documents
            .iter()
            .find(|document| matches!(document, Message::Abandonment(_) | Message::Rejection(_)))
            .cloned();
        if let Some(note) = note {
            // An award that never arrived cannot be given up, but its proposal still holds a slot.
            let decline = record.proposal().filter(|_| record.state == ContractState::Abandoned);
            let decline = decline.map(|proposal| self.decline_of(record.peer, id, proposal));
            self.tell_until_heard(self.peer_row(&record).await?, note, decline);
        }
        Ok(())
    }

    pub(crate) async fn peer_row(&self, record: &ContractRecord) -> Result<PeerRecord, Problem> {
        self.store.peer(&record.peer).await.map_err(|e| e.problem())?.ok_or_else(|| {
            Problem::new(Code::NotFound, format!("the peer {} is not known any more", record.peer), "pair again")
        })
    }
}
