//! The award of a plain task: this node signs in the client's name.

use super::{Client, Quote, Said, unknown};
use crate::contractor::agent::Contractor;
use std::time::Duration;
use tender_base::{
    ContractState, JobSpec, Problem, Role, Sha256, Signed, Work,
    documents::{Award, CallForProposals, Message, Proposal},
    job::{Constraints, Privacy},
};
use tender_store::{Event, Guard};

/// Time for the work of an award.
const DEADLINE: Duration = Duration::from_secs(3600);

impl Contractor {
    /// Makes the contract: message, call, proposal and award in one transaction. Then the work begins.
    pub(super) async fn award(
        &self,
        client: &Client<'_>,
        said: &Said,
        quote: Quote,
        input: Vec<u8>,
    ) -> Result<(), Problem> {
        let now = self.now();
        // A quote binds nobody: what the owner switched off since is off.
        self.willing(now)?;
        let work = quote.work;
        let place = self.workplace(&work, true).await.map_err(unknown)?;
        self.confines(&work).await?;
        let settings = self.settings();
        let text = matches!(work, Work::Generate(_));
        let text_slots = place.slots.map_or(settings.text_slots, |slots| slots.min(settings.text_slots));
        let limit = if text { text_slots } else { settings.slots };
        let estimated_ms = self.estimate(&work, place.runtime.as_deref()).await?.estimated_ms();
        let guards = vec![Guard::Slots { text, limit, now }, self.credit(&client.peer, quote.amount_micro_usd)];
        // Nothing is kept of what is not allowed; whether it still is, the transaction says.
        self.apply(Vec::new(), guards.clone()).await?;
        let input_blob = self.store.put_blob(&input).await.map_err(|e| e.problem())?;
        let message = self.keep_message(&said.message, None).await?;

        let (contract, contractor, signer) = (said.task, self.did(), client.key.signer());
        let deadline = now.after(DEADLINE);
        let call = CallForProposals {
            contract,
            client: client.peer.did,
            contractor,
            book: self.config.book,
            job: JobSpec {
                work,
                input: input_blob,
                constraints: Constraints { budget: quote.amount_micro_usd, deadline, privacy: Privacy::Peers },
            },
            called_at: now,
            respond_by: deadline,
        };
        let call = Signed::new(call, signer.as_ref());
        let proposal = Proposal {
            contract,
            contractor,
            client: client.peer.did,
            call: call.hash(),
            rate: quote.rate,
            prompt_rate: quote.prompt_rate,
            units: quote.units,
            amount: quote.amount_micro_usd,
            valid_until: quote.valid_until,
            estimated_ms,
            adapter: place.adapter,
        };
        let proposal = Signed::new(proposal, self.identity.signer.as_ref());
        let award = Award {
            contract,
            client: client.peer.did,
            contractor,
            proposal: proposal.hash(),
            nonce_sha256: Sha256::of(&self.entropy.draw32()),
            review_seconds: 0,
            awarded_at: now,
            deadline,
        };
        let award = Signed::new(award, signer.as_ref());
        let opened = Event::ContractOpened {
            contract,
            role: Role::Contractor,
            book: self.config.book,
            peer: client.peer.did,
            job: None,
            state: ContractState::Proposed,
            call,
            proposal: Some(proposal),
            expires_at: Some(quote.valid_until),
            at: now,
        };
        let awarded = Event::ContractMoved {
            contract,
            from: ContractState::Proposed,
            to: ContractState::Awarded,
            expires_at: Some(deadline),
            documents: vec![Message::Award(award)],
            entries: Vec::new(),
            reason: None,
            at: now,
        };
        let events = vec![said.event(message, None, None, now)?, opened, awarded];
        self.apply(events, guards).await?;
        self.spawn_work(contract.uuid(), self.node.clone().run_contract(contract));
        Ok(())
    }
}
