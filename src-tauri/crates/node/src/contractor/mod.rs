//! Selling: what a contractor does with each message of a contract.
//!
//! Every step is one transaction; the answer leaves after it is durable. A message that comes twice (the client did
//! not hear the answer) finds its own document stored and gets the same answer again.

mod agent;
mod handback;
mod log;
mod plain;
mod run;

pub(crate) use agent::Contractor;
pub(crate) use handback::handed_back;
pub(crate) use log::NodeLog;
pub(crate) use run::wall_limit;

use crate::node::Node;
use std::{sync::Arc, time::Duration};
use tender_base::{
    Code, ContractState, Did, JobSpec, MicroUsd, Problem, Role, Signed, Work,
    documents::{
        self, Abandonment, Acceptance, Award, CallForProposals, Countersignature, Decline, Message, Proposal, Rejection,
    },
    ids::ContractId,
};
use tender_market::{
    checks,
    contract::{self, Amounts, Step},
    verification,
};
use tender_store::{ContractFilter, ContractRecord, Event, Guard, PeerRecord, Refused};

/// How long a proposal holds its slot: time for the client to hear the other peers and to fail over once.
pub(crate) const PROPOSAL_VALID: Duration = Duration::from_secs(30);
/// How much longer than the client the contractor waits before silence counts.
const SILENCE_GRACE: Duration = Duration::from_secs(60);
/// Latest deadline of a job that is taken, from now: what is open keeps its input and its place in every check.
const LATEST_DEADLINE: Duration = Duration::from_secs(8 * 24 * 3600);
/// Open proposals that one peer may hold: one per job it tenders, and one more. Of texts half of what is written
/// together, so that none keeps all others away.
const HOLDS_PER_PEER: u32 = 2;

impl Node {
    /// Answers a call with a binding proposal and a held slot, or refuses with the reason.
    pub(crate) async fn on_call(
        self: &Arc<Self>,
        caller: Did,
        call: Signed<CallForProposals>,
    ) -> Result<Message, Problem> {
        let peer = self.paired(&caller).await?;
        if call.signer != caller {
            return Err(not_yours());
        }
        let now = self.now();
        checks::check_call(&call, &self.did(), now)?;
        let spec = &call.document.job;
        if let Some(known) = self.store.contract(call.document.contract).await.map_err(|e| e.problem())? {
            return repeated_call(&known, &call);
        }
        let new = self.refusals.is_new(caller, spec, now);
        let refused = |why, problem| if new { self.refused(why, problem) } else { problem };
        self.willing(now).map_err(|problem| refused(self.unwilling(now), problem))?;
        if call.document.book != self.config.book {
            let problem = Problem::new(
                Code::Forbidden,
                "this node does not trade in that money",
                "demonstrations trade only with the second node that they start themselves",
            );
            return Err(refused(Refused::OtherMoney, problem));
        }
        if spec.constraints.deadline > now.after(LATEST_DEADLINE) {
            let problem = Problem::new(
                Code::Invalid,
                "constraints.deadline is more than eight days away",
                "name a nearer deadline",
            );
            return Err(refused(Refused::Deadline, problem));
        }
        let settings = self.settings();
        let lacking = |problem| refused(self.lacks(&spec.work), problem);
        let place = self.workplace(&spec.work, true).await.map_err(lacking)?;
        let unconfined = |problem| refused(Refused::Unconfined, problem);
        self.confines(&spec.work).await.map_err(unconfined)?;
        let kind = spec.work.kind();
        let (rate, prompt_rate) = (settings.prices.rate(kind), settings.prices.prompt_rate(kind));
        let units = spec.work.units();
        let amount = documents::bill(&spec.work, &rate, prompt_rate.as_ref(), units).ok_or_else(|| {
            Problem::new(Code::Invalid, "the job is too large to be priced", "split it into smaller jobs")
        })?;
        let contract = call.document.contract;
        let job = spec.clone();
        let valid_until = now.after(PROPOSAL_VALID).min(spec.constraints.deadline);
        let proposal = Proposal {
            contract,
            contractor: self.did(),
            client: caller,
            call: call.hash(),
            rate,
            prompt_rate,
            units,
            amount,
            valid_until,
            estimated_ms: self.estimate(&spec.work, place.runtime.as_deref()).await?.estimated_ms(),
            adapter: place.adapter,
        };
        let proposal = Signed::new(proposal, self.identity.signer.as_ref());
        let opened = Event::ContractOpened {
            contract,
            role: Role::Contractor,
            book: call.document.book,
            peer: caller,
            job: None,
            state: ContractState::Proposed,
            call,
            proposal: Some(proposal.clone()),
            expires_at: Some(valid_until),
            at: now,
        };
        self.let_earlier_go(&caller, &job).await?;
        let text = matches!(job.work, Work::Generate(_));
        let text_slots = place.slots.map_or(settings.text_slots, |slots| slots.min(settings.text_slots));
        let (slots, holds) =
            if text { (text_slots, HOLDS_PER_PEER.max(text_slots / 2)) } else { (settings.slots, HOLDS_PER_PEER) };
        let guards = vec![
            Guard::PeerHolds { peer: caller, limit: holds, now },
            Guard::Slots { text, limit: slots, now },
            self.credit(&peer, amount),
        ];
        let opened = self.store.apply(vec![opened], guards).await;
        opened.map_err(|error| refused(crate::demand::limited(&error), error.problem()))?;
        self.live.touch();
        Ok(Message::Proposal(proposal))
    }

    /// A client that calls for the same job again (it was killed before it stored the answer) does not wait for its own
    /// earlier call to run out.
    async fn let_earlier_go(&self, caller: &Did, job: &JobSpec) -> Result<(), Problem> {
        let open = ContractFilter {
            role: Some(Role::Contractor),
            states: vec![ContractState::Proposed],
            peer: Some(*caller),
            ..ContractFilter::default()
        };
        for earlier in self.contracts(open).await? {
            if earlier.call().is_some_and(|call| call.document.job == *job) {
                let again = Problem::new(Code::Expired, "the client called for the same job again", "");
                self.move_contract(&earlier, Step::Lapse, Vec::new(), MicroUsd::ZERO, Some(again)).await?;
            }
        }
        Ok(())
    }

    /// Takes an award: stores the input, makes the contract durable and starts the work.
    pub(crate) async fn on_award(
        self: &Arc<Self>,
        caller: Did,
        award: Signed<Award>,
        input: Option<Vec<u8>>,
    ) -> Result<ContractId, Problem> {
        let peer = self.paired(&caller).await?;
        let id = award.document.contract;
        let record = self.sold(id, &caller).await?;
        if let Some(known) = record.award() {
            return same(known.hash() == award.hash(), "another award was already taken").map(|()| id);
        }
        let (call, proposal) = opening(&record)?;
        let now = self.now();
        checks::check_award(&award, proposal, call, now)?;
        // A proposal binds: a pause or a switched-off sale does not take it back, only the stop does.
        if self.settings().stopped {
            return Err(Problem::new(Code::Unavailable, "this node was stopped by its owner", "try another peer"));
        }
        let input = input.ok_or_else(|| Problem::new(Code::Invalid, "the award carries no input", "send its bytes"))?;
        if !call.document.job.input.matches(&input) {
            return Err(Problem::new(
                Code::Forged,
                "the input is not the one that the call names",
                "send exactly the bytes whose SHA-256 the call states",
            ));
        }
        let to = contract::advance(Role::Contractor, record.state, Step::Award)?;
        self.store.put_blob(&input).await.map_err(|e| e.problem())?;
        let moved = Event::ContractMoved {
            contract: id,
            from: record.state,
            to,
            expires_at: Some(award.document.deadline),
            documents: vec![Message::Award(award)],
            entries: Vec::new(),
            reason: None,
            at: now,
        };
        let credit = self.credit(&peer, proposal.document.amount);
        let node = self.clone();
        // A client that dies now must not leave a stored award that nobody works on.
        self.to_the_end(async move {
            node.apply(vec![moved], vec![credit]).await?;
            node.spawn_work(id.uuid(), node.clone().run_contract(id));
            Ok(id)
        })
        .await
    }

    /// The client does not take the offer: the slot is free again.
    pub(crate) async fn on_decline(&self, caller: Did, decline: Signed<Decline>) -> Result<(), Problem> {
        let record = self.sold(decline.document.contract, &caller).await?;
        let (_, proposal) = opening(&record)?;
        checks::check_decline(&decline, proposal)?;
        if record.state == ContractState::Lapsed {
            return Ok(());
        }
        self.move_contract(&record, Step::Lapse, vec![Message::Decline(decline)], MicroUsd::ZERO, None).await
    }

    /// The client accepts: the amount is owed, and the countersigned receipt is the answer.
    pub(crate) async fn on_acceptance(
        &self,
        caller: Did,
        acceptance: Signed<Acceptance>,
    ) -> Result<Signed<Countersignature>, Problem> {
        let record = self.sold(acceptance.document.contract, &caller).await?;
        if let (Some(known), Some(counter)) = (record.acceptance(), record.countersignature()) {
            same(known.hash() == acceptance.hash(), "another acceptance was already taken")?;
            return Ok(counter.clone());
        }
        let (Some(award), Some(delivery)) = (record.award(), record.delivery()) else {
            return Err(Problem::new(Code::Conflict, "nothing was delivered under this contract", ""));
        };
        checks::check_acceptance(&acceptance, delivery, award)?;
        let now = self.now();
        let counter = Countersignature {
            contract: record.id,
            contractor: self.did(),
            client: caller,
            acceptance: acceptance.hash(),
            amount: acceptance.document.amount,
            signed_at: now,
        };
        let counter = Signed::new(counter, self.identity.signer.as_ref());
        let documents = vec![Message::Acceptance(acceptance.clone()), Message::Countersignature(counter.clone())];
        if record.state == ContractState::Accepted || record.state == ContractState::Settled {
            // Silence had already counted as acceptance; the late documents complete the receipt. They are later
            // than it by any clock, since that tells what was said at the end of the task.
            let now = now.max(record.changed_at.after(Duration::from_millis(1)));
            let late = documents.into_iter().map(|document| Event::ContractDocumented {
                contract: record.id,
                document,
                at: now,
            });
            self.apply(late.collect(), Vec::new()).await?;
        } else {
            self.move_contract(&record, Step::Accept, documents, acceptance.document.amount, None).await?;
        }
        Ok(counter)
    }

    /// The client found the delivery wrong.
    pub(crate) async fn on_rejection(&self, caller: Did, rejection: Signed<Rejection>) -> Result<(), Problem> {
        let record = self.sold(rejection.document.contract, &caller).await?;
        let (Some(award), Some(delivery)) = (record.award(), record.delivery()) else {
            return Err(Problem::new(Code::Conflict, "nothing was delivered under this contract", ""));
        };
        checks::check_rejection(&rejection, delivery, award)?;
        if record.rejection().is_some() {
            return Ok(());
        }
        // The client's own evidence must fail by the rules that both sides know; without it there is no rejection.
        let (call, _) = opening(&record)?;
        if !verification::shows_fault(&call.document.job.work, &rejection.document.evidence) {
            return Err(Problem::new(
                Code::Forged,
                "the rejection's evidence shows nothing wrong",
                "accept the delivery, or reject it with the statistic that misses its threshold as evidence",
            ));
        }
        let reason = Problem::new(Code::WorkFailed, rejection.document.reason.clone(), "");
        self.move_contract(&record, Step::Reject, vec![Message::Rejection(rejection)], MicroUsd::ZERO, Some(reason))
            .await
    }

    /// The client gave the award up: the work stops.
    pub(crate) async fn on_abandonment(&self, caller: Did, note: Signed<Abandonment>) -> Result<(), Problem> {
        let record = self.sold(note.document.contract, &caller).await?;
        let award = record.award().ok_or_else(|| Problem::new(Code::Conflict, "there is no award to give up", ""))?;
        checks::check_abandonment(&note, award)?;
        if record.documents.iter().any(|document| matches!(document, Message::Abandonment(_))) {
            return Ok(());
        }
        let reason = Problem::new(Code::Lost, note.document.reason.clone(), "");
        // Who may have fetched the output already does not simply walk away: that is a dispute.
        let step = if record.state == ContractState::Delivered { Step::Reject } else { Step::Abandon };
        let documents = vec![Message::Abandonment(note)];
        self.move_contract(&record, step, documents, MicroUsd::ZERO, Some(reason)).await?;
        self.halt(record.id.uuid());
        Ok(())
    }

    /// A contract that this node sells to `caller`. Another's looks as if it did not exist.
    pub(crate) async fn sold(&self, id: ContractId, caller: &Did) -> Result<ContractRecord, Problem> {
        self.store
            .contract(id)
            .await
            .map_err(|e| e.problem())?
            .filter(|record| record.role == Role::Contractor && record.peer == *caller)
            .ok_or_else(|| {
                Problem::new(Code::NotFound, format!("there is no contract {id}"), "call for proposals first")
            })
    }

    /// The peer row that authorises; a valid token alone does not.
    pub(crate) async fn paired(&self, did: &Did) -> Result<PeerRecord, Problem> {
        self.store.peer(did).await.map_err(|e| e.problem())?.filter(|peer| !peer.removed).ok_or_else(|| {
            Problem::new(
                Code::Forbidden,
                format!("{did} is not paired with this node"),
                "ask its owner for an invitation (`tender peers invite`)",
            )
        })
    }

    fn credit(&self, peer: &PeerRecord, amount: MicroUsd) -> Guard {
        Guard::PeerCredit { book: self.config.book, peer: peer.did, limit: peer.credit_limit, amount }
    }

    /// Whether a client's kernel would be held: its worker has the sandbox for it, or the owner does without.
    async fn confines(&self, work: &Work) -> Result<(), Problem> {
        if !matches!(work, Work::Wgsl(_))
            || self.settings().sell_unconfined_kernels
            || self.engine.sandbox().await?.holds_strangers()
        {
            return Ok(());
        }
        Err(Problem::new(
            Code::Unavailable,
            "this node does not run clients' kernels: its worker's sandbox lacks a layer",
            "try another peer; its owner finds the remedy with `tender doctor`",
        ))
    }

    /// One step of a contract: checked against the table, posted, durable.
    pub(crate) async fn move_contract(
        &self,
        record: &ContractRecord,
        step: Step,
        documents: Vec<Message>,
        charged: MicroUsd,
        reason: Option<Problem>,
    ) -> Result<(), Problem> {
        let event = self.contract_event(record, step, documents, charged, reason)?;
        self.apply(vec![event], Vec::new()).await
    }

    /// The event of such a step, for callers that apply it together with others.
    pub(crate) fn contract_event(
        &self,
        record: &ContractRecord,
        step: Step,
        documents: Vec<Message>,
        charged: MicroUsd,
        reason: Option<Problem>,
    ) -> Result<Event, Problem> {
        let now = self.now();
        let to = contract::advance(record.role, record.state, step)?;
        let reserved = record.proposal().map_or(MicroUsd::ZERO, |p| p.document.amount);
        let entries =
            contract::entries(record.role, record.book, record.id, record.peer, step, Amounts { reserved, charged });
        let new_award = documents.iter().find_map(|document| match document {
            Message::Award(award) => Some(award),
            _ => None,
        });
        let award = new_award.or(record.award()).map(|signed| &signed.document);
        let expires_at = match to {
            ContractState::Delivered => {
                // Both sides count from the same signed time; the contractor waits a little longer, for a verdict on
                // its way.
                let grace = if record.role == Role::Contractor { SILENCE_GRACE } else { Duration::ZERO };
                let delivered_at = documents.iter().find_map(|document| match document {
                    Message::Delivery(delivery) => Some(delivery.document.delivered_at),
                    _ => None,
                });
                let review = award.map(|a| Duration::from_secs(u64::from(a.review_seconds)) + grace);
                review.map(|review| delivered_at.unwrap_or(now).max(record.opened_at).after(review))
            }
            ContractState::Awarded | ContractState::Running => award.map(|a| a.deadline),
            // A dispute that nobody resolves ends for the client when the job's time is over.
            ContractState::Rejected => award.map(|a| a.deadline.max(now)),
            _ => None,
        };
        Ok(Event::ContractMoved {
            contract: record.id,
            from: record.state,
            to,
            documents,
            entries,
            reason,
            expires_at,
            at: now,
        })
    }
}

/// The call and the proposal with which a contract began.
pub(crate) fn opening(record: &ContractRecord) -> Result<(&Signed<CallForProposals>, &Signed<Proposal>), Problem> {
    match (record.call(), record.proposal()) {
        (Some(call), Some(proposal)) => Ok((call, proposal)),
        _ => Err(Problem::new(Code::Conflict, "this contract has no proposal", "call for proposals again")),
    }
}

fn repeated_call(known: &ContractRecord, call: &Signed<CallForProposals>) -> Result<Message, Problem> {
    let (first, proposal) = opening(known)?;
    same(first.hash() == call.hash(), "this contract id was already used for another call")?;
    Ok(Message::Proposal(proposal.clone()))
}

fn same(holds: bool, otherwise: &str) -> Result<(), Problem> {
    if holds {
        Ok(())
    } else {
        Err(Problem::new(Code::Conflict, otherwise, "each document applies once; start a new contract"))
    }
}

fn not_yours() -> Problem {
    Problem::new(Code::Forbidden, "the document names another sender than the token", "sign both with the same key")
}
