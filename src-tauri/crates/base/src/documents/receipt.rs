//! The finished chain of a contract's documents, and its proof.

use super::{Acceptance, Award, CallForProposals, Countersignature, Delivery, Proposal};
use crate::{
    Sha256,
    ids::ContractId,
    problem::{Code, Problem},
    signed::Signed,
};
use serde::{Deserialize, Serialize};

/// Everything that proves one trade, each document signed by the side that made it. Self-contained: `tender
/// verify FILE` checks it with nothing else at hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// By the client.
    pub call: Signed<CallForProposals>,
    /// By the contractor.
    pub proposal: Signed<Proposal>,
    /// By the client.
    pub award: Signed<Award>,
    /// By the contractor.
    pub delivery: Signed<Delivery>,
    /// By the client.
    pub acceptance: Signed<Acceptance>,
    /// By the contractor.
    pub countersignature: Signed<Countersignature>,
}

impl Receipt {
    /// The contract this receipt is about.
    #[must_use]
    pub fn contract(&self) -> ContractId {
        self.call.document.contract
    }

    /// Checks signatures, parties, the chain of hashes, the arithmetic of the bill and the revealed nonce.
    ///
    /// # Errors
    /// [`Code::Forged`] with the first thing that does not hold.
    pub fn verify(&self) -> Result<(), Problem> {
        let call = &self.call.document;
        let (client, contractor) = (call.client, call.contractor);
        self.call.verify(&client)?;
        let proposal = self.proposal.verify(&contractor)?;
        let award = self.award.verify(&client)?;
        let delivery = self.delivery.verify(&contractor)?;
        let acceptance = self.acceptance.verify(&client)?;
        let counter = self.countersignature.verify(&contractor)?;

        let parties = [
            (proposal.contract, proposal.client, proposal.contractor),
            (award.contract, award.client, award.contractor),
            (delivery.contract, delivery.client, delivery.contractor),
            (acceptance.contract, acceptance.client, acceptance.contractor),
            (counter.contract, counter.client, counter.contractor),
        ];
        ensure(
            parties.iter().all(|p| *p == (call.contract, client, contractor)),
            "a document belongs to another contract",
        )?;
        ensure(proposal.call == self.call.hash(), "the proposal answers another call")?;
        ensure(award.proposal == self.proposal.hash(), "the award takes another proposal")?;
        ensure(delivery.award == self.award.hash(), "the delivery answers another award")?;
        ensure(acceptance.delivery == self.delivery.hash(), "the acceptance is of another delivery")?;
        ensure(counter.acceptance == self.acceptance.hash(), "the countersignature is of another acceptance")?;

        ensure(proposal.units == call.job.work.units(), "the proposal bills other units than the job declares")?;
        ensure(
            proposal.bill(&call.job.work, proposal.units) == Some(proposal.amount),
            "the proposal's amount is not what its units cost",
        )?;
        ensure(
            delivery.amount <= proposal.amount && delivery.amount.0 >= 0,
            "the delivery bills more than was proposed",
        )?;
        ensure(
            acceptance.amount == delivery.amount && counter.amount == delivery.amount,
            "the sides state different amounts",
        )?;
        ensure(
            award.nonce_sha256 == Sha256::of(acceptance.nonce.bytes()),
            "the nonce is not the one that the award committed to",
        )?;
        let seed = verification_seed(&acceptance.nonce, &delivery.output.sha256);
        ensure(
            acceptance.evidence.iter().all(|e| e.seed == seed && e.value.is_finite()),
            "the evidence was drawn with another seed",
        )
    }
}

/// SHA-256(nonce ‖ root): neither side could choose what is checked.
#[must_use]
pub fn verification_seed(nonce: &Sha256, root: &Sha256) -> Sha256 {
    Sha256::of_parts(&[nonce.bytes(), root.bytes()])
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), Problem> {
    if holds {
        Ok(())
    } else {
        Err(Problem::new(Code::Forged, otherwise, "do not rely on this document; ask both sides for theirs"))
    }
}
