//! The call for proposals: every peer is asked at the same time, under one deadline, and a silent one costs nobody
//! else anything. What comes back is decided upon and becomes a receipt.

use crate::{economics::EXPECTED, models, node::Node};
use futures::{StreamExt, stream::FuturesUnordered};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tender_base::{
    Book, Code, ContractState, Did, MicroUsd, Problem, Role, Signed, Work,
    documents::{CallForProposals, Decline, Message, Proposal},
    ids::{ContractId, JobId},
    job::Privacy,
    ledger::Account,
};
use tender_market::{
    checks,
    contract::Step,
    decision::{Alternative, Outcome, Situation, Source},
    receipt::Receipt,
    verification,
};
use tender_store::{ContractRecord, Event, JobRecord, PeerRecord};

/// Pause before a peer that did not answer is told again, doubled each time up to the longest.
const RETELL_AFTER: Duration = Duration::from_millis(500);
const RETELL_AFTER_AT_MOST: Duration = Duration::from_secs(60);
/// Who handed a job back is not asked for it again so soon: its owner has hardly finished.
const AFTER_HANDBACK: Duration = Duration::from_secs(30);
/// That is doubled each time that it hands it back, up to the longest.
const AFTER_HANDBACK_AT_MOST: Duration = Duration::from_secs(1800);

/// How long who handed a job back so often is not asked for it.
pub(super) fn after_handback(times: usize) -> Duration {
    let doublings = u32::try_from(times.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    (AFTER_HANDBACK * (1 << doublings)).min(AFTER_HANDBACK_AT_MOST)
}

fn handbacks(contracts: &[ContractRecord], by: &Did) -> usize {
    contracts.iter().filter(|record| record.state == ContractState::HandedBack && record.peer == *by).count()
}

/// What became of one call.
struct Answered {
    peer: PeerRecord,
    call: Signed<CallForProposals>,
    outcome: Result<Signed<Proposal>, Problem>,
}

impl Node {
    /// Collects proposals, decides and stores the decision together with the contracts it rests on.
    pub(crate) async fn tender(self: &Arc<Self>, job: &JobRecord) -> Result<Receipt, Problem> {
        let answers = self.collect(job).await?;
        let receipt = self.decide_among(job, &answers).await?;
        let now = self.now();
        let mut decision = serde_json::to_value(&receipt)
            .map_err(|e| Problem::new(Code::Internal, format!("the decision cannot be written: {e}"), ""))?;
        // Beside the receipt: it decides the same without.
        if let Some(fields) = decision.as_object_mut() {
            let promised = answers.iter().filter_map(|answer| Some((&answer.peer, answer.outcome.as_ref().ok()?)));
            let promised = promised.map(|(peer, proposal)| (peer, proposal.document.estimated_ms)).collect();
            match self.expectations(&job.spec.work, promised).await {
                Ok(expected) => {
                    fields.insert(EXPECTED.to_owned(), expected.into());
                }
                Err(problem) => {
                    tracing::warn!(job = %job.id, code = %problem.code, %problem, "what is expected is not explained")
                }
            }
        }
        let mut events = vec![Event::JobDecided { job: job.id, decision }];
        for Answered { peer, call, outcome } in answers {
            let Ok(proposal) = outcome else { continue };
            events.push(Event::ContractOpened {
                contract: call.document.contract,
                role: Role::Client,
                book: job.book,
                peer: peer.did,
                job: Some(job.id),
                state: ContractState::Proposed,
                expires_at: Some(proposal.document.valid_until),
                call,
                proposal: Some(proposal),
                at: now,
            });
        }
        self.apply(events, Vec::new()).await?;
        Ok(receipt)
    }

    /// Decides only: proposals are collected, nothing is stored, every held slot is given back.
    pub(crate) async fn rehearse(self: &Arc<Self>, job: &JobRecord) -> Result<Receipt, Problem> {
        let answers = self.collect(job).await?;
        let receipt = self.decide_among(job, &answers).await?;
        for Answered { peer, call, outcome } in answers {
            if let Ok(proposal) = outcome {
                self.send_decline(&peer, call.document.contract, proposal);
            }
        }
        Ok(receipt)
    }

    async fn decide_among(&self, job: &JobRecord, answers: &[Answered]) -> Result<Receipt, Problem> {
        let settings = self.settings();
        let now = self.now();
        let totals = self.store.totals(job.book, now.start_of_day()).await.map_err(|e| e.problem())?;
        let reserved = self.store.balance(job.book, &Account::Reserved).await.map_err(|e| e.problem())?;
        let committed = totals.spent.0.saturating_add(reserved.0);
        let mut alternatives = vec![self.local_alternative(job).await];
        alternatives.extend(self.cloud_alternatives(job).await);
        alternatives.extend(self.agent_alternatives(job).await);
        // What cannot be run here at any known cost is checked here at none that could be told.
        let here = self.estimate(&job.spec.work, None).await.map_or(MicroUsd::ZERO, |cost| cost.micro_usd);
        for answer in answers {
            let valid = self.valid_in_a_row(answer.peer.did, &job.spec.work).await?;
            let checking = verification::compared_share(&job.spec.work, valid) * here.0 as f64;
            alternatives.push(Alternative {
                source: Source::Peer { did: answer.peer.did, name: answer.peer.name.clone() },
                outcome: match &answer.outcome {
                    Ok(signed) => Outcome::Offered {
                        cost: signed.document.amount,
                        checking: MicroUsd(checking.round() as i64),
                        cost_measured: true,
                        estimated_ms: self
                            .expected_ms(&answer.peer.did, &job.spec.work, signed.document.estimated_ms)
                            .await,
                        contract: Some(signed.document.contract),
                    },
                    Err(problem) => Outcome::Unavailable { problem: problem.clone() },
                },
            });
        }
        let situation = Situation {
            job: job.spec.clone(),
            book: job.book,
            decided_at: now,
            spend_left: Some(MicroUsd(settings.daily_spend_cap.0.saturating_sub(committed).max(0))),
            rule: self.rule_verdict(job.book, &job.spec.work).await?,
            alternatives,
        };
        self.decided(situation).await
    }

    async fn local_alternative(&self, job: &JobRecord) -> Alternative {
        let place = if job.peers_only {
            Err(peers_only())
        } else if !self.settings().use_own_gpu {
            Err(Problem::new(Code::Unavailable, "own jobs do not run on the own GPU", "set use_own_gpu to true"))
        } else if self.lookout.takes_all() {
            Err(self.card_taken())
        } else {
            self.workplace(&job.spec.work, false).await
        };
        let cost = match place {
            Ok(place) => self.estimate(&job.spec.work, place.runtime.as_deref()).await,
            Err(problem) => Err(problem),
        };
        let outcome = match cost {
            Err(problem) => Outcome::Unavailable { problem },
            Ok(cost) => Outcome::Offered {
                cost: cost.micro_usd,
                checking: MicroUsd::ZERO,
                cost_measured: cost.measured,
                estimated_ms: cost.estimated_ms(),
                contract: None,
            },
        };
        Alternative { source: Source::Local, outcome }
    }

    /// Asks every peer that sells. Who does not answer by the deadline is reported as such.
    async fn collect(self: &Arc<Self>, job: &JobRecord) -> Result<Vec<Answered>, Problem> {
        if job.spec.constraints.privacy == Privacy::Own {
            return Ok(Vec::new());
        }
        let span = Duration::from_millis(self.settings().proposal_deadline_ms);
        let deadline = tokio::time::Instant::now() + span;
        let peers = self.store.peers().await.map_err(|e| e.problem())?;
        let demo_peer = self.demo_peer().await;
        // A machine with the model on a runtime alone could not check a peer's text.
        let checkable = match &job.spec.work {
            Work::Generate(text) => models::has_text_model(&self.settings(), &text.model),
            _ => Ok(()),
        };
        let tried = self.not_asked_for(job.id).await?;
        let checkable = match checkable {
            Ok(()) => self.can_check_in_time(&job.spec.work).await,
            lacking => lacking,
        };
        let checkable = match checkable {
            Ok(()) => self.card_to_check(&job.spec.work).await,
            lacking => lacking,
        };
        let asked: FuturesUnordered<_> = peers
            .into_iter()
            .filter(|peer| !peer.removed && peer.address.is_some())
            // The second node of a demonstration gets its jobs and no others.
            .filter(|peer| (Some(peer.did) == demo_peer) == (job.book == Book::Demo && demo_peer.is_some()))
            .map(|peer| {
                let worth_asking = tried.get(&peer.did).cloned().map_or_else(|| checkable.clone(), Err);
                self.ask(job, peer, worth_asking, span, deadline)
            })
            .collect();
        let mut answers: Vec<Answered> = asked.collect().await;
        // Not in the order of their answers: what is equal is decided by the order.
        answers.sort_by_cached_key(|answer| answer.peer.did.to_string());
        Ok(answers)
    }

    /// The contractors that are not asked for a job, and why: whose result was rejected, and for a while who handed it
    /// back.
    async fn not_asked_for(&self, job: JobId) -> Result<HashMap<Did, Problem>, Problem> {
        let now = self.now();
        let contracts = self.contracts_of(job).await?;
        let why = |record: &ContractRecord| {
            if record.rejection().is_some() {
                return Some(Problem::new(Code::WorkFailed, "its result for this job was rejected", ""));
            }
            let times = handbacks(&contracts, &record.peer);
            let lately =
                record.state == ContractState::HandedBack && record.changed_at.after(after_handback(times)) > now;
            record.reason.clone().filter(|_| lately)
        };
        Ok(contracts.iter().filter_map(|record| Some((record.peer, why(record)?))).collect())
    }

    /// That a whole check here ends before silence counts as acceptance, by what this machine was measured to do.
    async fn can_check_in_time(&self, work: &Work) -> Result<(), Problem> {
        let takes = self.estimate(work, None).await?.seconds * verification::whole_share(work);
        let review = self.settings().review_seconds;
        if takes <= f64::from(review) {
            return Ok(());
        }
        Err(Problem::new(
            Code::Unavailable,
            format!(
                "checking the result would take this machine about {takes:.0} s, but after {review} s of silence it \
                 counts as accepted"
            ),
            "ask for less in one job, or set review_seconds higher",
        ))
    }

    async fn ask(
        self: &Arc<Self>,
        job: &JobRecord,
        peer: PeerRecord,
        worth_asking: Result<(), Problem>,
        span: Duration,
        deadline: tokio::time::Instant,
    ) -> Answered {
        let now = self.now();
        let call = CallForProposals {
            contract: ContractId::new(self.clock.as_ref(), self.entropy.as_ref()),
            client: self.did(),
            contractor: peer.did,
            book: job.book,
            job: job.spec.clone(),
            called_at: now,
            respond_by: now.after(span),
        };
        let call = Signed::new(call, self.identity.signer.as_ref());
        let asked = async {
            worth_asking?;
            self.proposal_of(&peer, &call).await
        };
        let outcome = match tokio::time::timeout_at(deadline, asked).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Problem::new(
                Code::Expired,
                format!("{} did not answer within {} ms", peer.name, span.as_millis()),
                "it may be off or busy; proposal_deadline_ms sets how long to wait",
            )),
        };
        if let Err(problem) = &outcome {
            self.clients.failed(&peer.did, problem).await;
        }
        Answered { peer, call, outcome }
    }

    async fn proposal_of(
        &self,
        peer: &PeerRecord,
        call: &Signed<CallForProposals>,
    ) -> Result<Signed<Proposal>, Problem> {
        let client = self.client_of(peer).await?;
        match client.exchange(Message::Call(call.clone())).await? {
            Message::Proposal(proposal) => {
                checks::check_proposal(&proposal, call, self.now())?;
                Ok(proposal)
            }
            Message::Refusal(problem) => Err(problem),
            _ => Err(Problem::new(Code::Forged, format!("{} answers the call with something else", peer.name), "")),
        }
    }

    /// Gives a proposal back: stored first, then told, best effort; the peer's own timer frees the slot anyway.
    pub(crate) async fn decline(self: &Arc<Self>, record: &ContractRecord) {
        if let Err(problem) = self.move_contract(record, Step::Lapse, Vec::new(), MicroUsd::ZERO, None).await {
            tracing::debug!(contract = %record.id, code = %problem.code, %problem, "not declined");
            return;
        }
        if let (Some(proposal), Ok(Some(peer))) = (record.proposal(), self.store.peer(&record.peer).await) {
            self.send_decline(&peer, record.id, proposal.clone());
        }
    }

    pub(crate) async fn decline_by_id(self: &Arc<Self>, id: ContractId) {
        if let Ok(record) = self.record(id).await
            && record.state == ContractState::Proposed
        {
            self.decline(&record).await;
        }
    }

    fn send_decline(self: &Arc<Self>, peer: &PeerRecord, contract: ContractId, proposal: Signed<Proposal>) {
        let message = self.decline_of(peer.did, contract, &proposal);
        self.tell(peer.clone(), message);
    }

    pub(crate) fn decline_of(&self, contractor: Did, contract: ContractId, proposal: &Signed<Proposal>) -> Message {
        let decline =
            Decline { contract, client: self.did(), contractor, proposal: proposal.hash(), declined_at: self.now() };
        Message::Decline(Signed::new(decline, self.identity.signer.as_ref()))
    }

    /// Sends something that needs no answer, in the background.
    pub(crate) fn tell(self: &Arc<Self>, peer: PeerRecord, message: Message) {
        let node = self.clone();
        self.spawn(async move {
            if let Ok(client) = node.client_of(&peer).await
                && let Err(problem) = client.exchange(message).await
            {
                node.clients.failed(&peer.did, &problem).await;
                tracing::debug!(peer = %peer.did, code = %problem.code, %problem, "not delivered");
            }
        });
    }

    /// Sends `message` in the background, again and again until the peer answers it; a refusal is an answer, and then
    /// `otherwise` is sent.
    pub(crate) fn tell_until_heard(self: &Arc<Self>, peer: PeerRecord, message: Message, otherwise: Option<Message>) {
        let node = self.clone();
        self.spawn(async move {
            let mut pause = RETELL_AFTER;
            loop {
                let told = async { node.client_of(&peer).await?.exchange(message.clone()).await };
                let refused = match told.await {
                    Ok(_) => return,
                    Err(problem) => problem,
                };
                // A full disk or too many requests over there pass; what these say does not.
                if matches!(
                    refused.code,
                    Code::Conflict | Code::NotFound | Code::Forged | Code::Forbidden | Code::Invalid | Code::Expired
                ) {
                    tracing::debug!(peer = %peer.did, code = %refused.code, problem = %refused, "heard, but refused");
                    break;
                }
                node.clients.forget(&peer.did).await;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETELL_AFTER_AT_MOST);
            }
            if let Some(otherwise) = otherwise {
                node.tell(peer, otherwise);
            }
        });
    }
}

pub(super) fn peers_only() -> Problem {
    Problem::new(Code::Unavailable, "the job was submitted for peers only", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hands_back_again_and_again_is_asked_ever_less() {
        let minutes = |times| after_handback(times).as_secs_f64() / 60.0;
        assert_eq!([1, 2, 3, 6, 7, 8, 23_000].map(minutes), [0.5, 1.0, 2.0, 16.0, 30.0, 30.0, 30.0]);
    }
}
