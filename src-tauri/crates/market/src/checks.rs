//! What a receiver checks before it acts on a signed document: who signed, whether it belongs to this contract and
//! follows the document before it, whether it is in time, and whether the arithmetic holds.
//!
//! All functions are pure. They do not know whether a document was seen before: the state table of
//! [`crate::contract`] refuses a second application, and who answers repeated messages compares hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tender_base::{
    BlobRef, Code, Did, Document, JobKind, MicroUsd, Problem, Sha256, Signed, Timestamp, Work,
    documents::{
        Abandonment, Acceptance, Award, CallForProposals, Countersignature, Decline, Delivery, Evidence, Handback,
        Payment, PaymentConfirmation, Proposal, Rejection, verification_seed,
    },
    ids::ContractId,
    job::MAX_UNITS,
    units::Meter,
};

/// How far the clocks of two peers may be apart. Home machines without working time synchronisation drift by
/// seconds; more than two minutes is a wrong clock.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(120);
/// Longest review a contractor agrees to, a day: it waits for its money that long.
pub const MAX_REVIEW_SECONDS: u32 = 86_400;
/// Longest free text in a document, in bytes: a sentence or two, not a place to store things.
pub const MAX_TEXT_BYTES: usize = 2_000;
/// Most contracts one payment clears: a document stays well below the header limits of every transport.
pub const MAX_PAYMENT_CONTRACTS: usize = 1_000;

/// A contractor receives a call.
///
/// # Errors
/// [`Code::Forged`] for a wrong signature or receiver, [`Code::Expired`] when it or its deadline has passed,
/// [`Code::Invalid`] or [`Code::TooLarge`] for a job that breaks a limit.
pub fn check_call(call: &Signed<CallForProposals>, me: &Did, now: Timestamp) -> Result<(), Problem> {
    let document = call.verify(&call.document.client)?;
    ensure(document.contractor == *me, || "the call asks another contractor".into())?;
    ensure(document.client != *me, || "the call comes from this very node".into())?;
    not_from_the_future("called_at", document.called_at, now)?;
    in_time("the call's respond_by", document.respond_by, now)?;
    in_time("the job's deadline", document.job.constraints.deadline, now)?;
    if document.job.constraints.budget < MicroUsd::ZERO {
        return Err(invalid("constraints.budget is negative"));
    }
    document.job.work.check(&document.job.input)
}

/// A client receives a proposal. Whether it is affordable and early enough is for the decision to say.
///
/// # Errors
/// [`Code::Forged`] when it is not the called contractor's answer to this call, [`Code::Expired`] when it comes too
/// late or is no longer valid, [`Code::Invalid`] when units, unit, amount or estimate are wrong.
pub fn check_proposal(
    proposal: &Signed<Proposal>,
    call: &Signed<CallForProposals>,
    now: Timestamp,
) -> Result<(), Problem> {
    let (asked, offer) = (&call.document, proposal.verify(&call.document.contractor)?);
    same_contract::<Proposal>(
        (offer.contract, offer.client, offer.contractor),
        (asked.contract, asked.client, asked.contractor),
    )?;
    follows::<Proposal, CallForProposals>(&offer.call, call)?;
    in_time("the call's respond_by", asked.respond_by, now)?;
    in_time("the proposal's valid_until", offer.valid_until, now)?;
    let work = &asked.job.work;
    if offer.rate.unit != work.kind().unit() {
        return Err(invalid(format!(
            "rate.unit is {:?}, but {} is billed by {:?}",
            offer.rate.unit,
            work.kind().name(),
            work.kind().unit()
        )));
    }
    if offer.units != work.units() {
        return Err(invalid(format!("units is {}, but the job declares {}", offer.units, work.units())));
    }
    if let Some(prompt_rate) = offer.prompt_rate {
        if work.kind() != JobKind::Generate {
            return Err(invalid("prompt_rate is stated, but only a text has a prompt"));
        }
        if prompt_rate.unit != offer.rate.unit {
            return Err(invalid(format!(
                "prompt_rate.unit is {:?}, but {:?} is billed",
                prompt_rate.unit, offer.rate.unit
            )));
        }
    }
    if offer.bill(work, offer.units) != Some(offer.amount) {
        return Err(invalid(format!("amount is {}, which is not what the units cost, rounded up", offer.amount)));
    }
    if offer.estimated_ms > MAX_UNITS {
        return Err(invalid("estimated_ms is out of range"));
    }
    text("adapter", &offer.adapter)
}

/// A contractor receives the award of its own proposal.
///
/// # Errors
/// [`Code::Forged`] when it is not the client's award of this proposal, [`Code::Expired`] when the offer has ended,
/// [`Code::Conflict`] when it leaves less time than the call did or asks for too long a review.
pub fn check_award(
    award: &Signed<Award>,
    proposal: &Signed<Proposal>,
    call: &Signed<CallForProposals>,
    now: Timestamp,
) -> Result<(), Problem> {
    let (offer, taken) = (&proposal.document, award.verify(&proposal.document.client)?);
    same_contract::<Award>(
        (taken.contract, taken.client, taken.contractor),
        (offer.contract, offer.client, offer.contractor),
    )?;
    follows::<Award, Proposal>(&taken.proposal, proposal)?;
    not_from_the_future("awarded_at", taken.awarded_at, now)?;
    in_time("the proposal's valid_until", offer.valid_until, now)?;
    in_time("the award's deadline", taken.deadline, now)?;
    if taken.deadline < call.document.job.constraints.deadline {
        return Err(conflict("the award's deadline is earlier than the one that was called for"));
    }
    if taken.review_seconds > MAX_REVIEW_SECONDS {
        return Err(conflict(format!("review_seconds is more than the {MAX_REVIEW_SECONDS} this contractor waits")));
    }
    Ok(())
}

/// A contractor learns that its proposal is not taken.
///
/// # Errors
/// [`Code::Forged`] when it is not the client's answer to this proposal.
pub fn check_decline(decline: &Signed<Decline>, proposal: &Signed<Proposal>) -> Result<(), Problem> {
    let (offer, document) = (&proposal.document, decline.verify(&proposal.document.client)?);
    same_contract::<Decline>(
        (document.contract, document.client, document.contractor),
        (offer.contract, offer.client, offer.contractor),
    )?;
    follows::<Decline, Proposal>(&document.proposal, proposal)
}

/// A client receives a delivery; `output` is the address of the bytes it actually holds.
///
/// # Errors
/// [`Code::Forged`] when it is not the contractor's delivery on this award or the bytes are others,
/// [`Code::Expired`] when it comes after the deadline, [`Code::Invalid`] when it bills more than was agreed or its
/// meter contradicts itself.
pub fn check_delivery(
    delivery: &Signed<Delivery>,
    award: &Signed<Award>,
    (work, proposal): (&Work, &Signed<Proposal>),
    output: &BlobRef,
    now: Timestamp,
) -> Result<(), Problem> {
    let (agreed, offer) = (&award.document, &proposal.document);
    let done = delivery.verify(&agreed.contractor)?;
    same_contract::<Delivery>(
        (done.contract, done.client, done.contractor),
        (agreed.contract, agreed.client, agreed.contractor),
    )?;
    follows::<Award, Proposal>(&agreed.proposal, proposal)?;
    follows::<Delivery, Award>(&done.award, award)?;
    ensure(done.output == *output, || "the output's bytes are not those that the delivery signs for".into())?;
    in_time("the award's deadline", agreed.deadline, done.delivered_at)?;
    in_time("the award's deadline", agreed.deadline, now)?;
    not_from_the_future("delivered_at", done.delivered_at, now)?;
    if done.units > offer.units {
        return Err(invalid(format!("units is {}, but only {} were awarded", done.units, offer.units)));
    }
    // The price of the units done bounds the bill as well: half the work is not the whole price.
    let most = offer.bill(work, done.units).map_or(offer.amount, |amount| amount.min(offer.amount));
    if done.amount < MicroUsd::ZERO || done.amount > most {
        return Err(invalid(format!("amount is {}, but {} units cost {most} at most", done.amount, done.units)));
    }
    meter(&done.meter)?;
    let worker = &done.worker;
    for (name, value) in [
        ("worker.adapter", &worker.adapter),
        ("worker.driver", &worker.driver),
        ("worker.backend", &worker.backend),
        ("worker.version", &worker.version),
    ] {
        text(name, value)?;
    }
    let Some(runtime) = &worker.runtime else { return Ok(()) };
    for (name, value) in [
        ("worker.runtime.engine", Some(&runtime.engine)),
        ("worker.runtime.build", runtime.build.as_ref()),
        ("worker.runtime.model", Some(&runtime.model)),
        ("worker.runtime.digest", runtime.digest.as_ref()),
        ("worker.runtime.quantisation", runtime.quantisation.as_ref()),
    ] {
        value.map_or(Ok(()), |value| text(name, value))?;
    }
    Ok(())
}

/// A contractor receives the acceptance of its delivery.
///
/// # Errors
/// [`Code::Forged`] when it is not the client's acceptance of this delivery, or the nonce is not the one committed
/// to, or the evidence was drawn with another seed; [`Code::Invalid`] when the amount is not the delivery's.
pub fn check_acceptance(
    acceptance: &Signed<Acceptance>,
    delivery: &Signed<Delivery>,
    award: &Signed<Award>,
) -> Result<(), Problem> {
    let (delivered, document) = (&delivery.document, acceptance.verify(&delivery.document.client)?);
    same_contract::<Acceptance>(
        (document.contract, document.client, document.contractor),
        (delivered.contract, delivered.client, delivered.contractor),
    )?;
    follows::<Delivery, Award>(&delivered.award, award)?;
    follows::<Acceptance, Delivery>(&document.delivery, delivery)?;
    revealed(&document.nonce, &document.evidence, delivered, &award.document)?;
    if document.amount != delivered.amount {
        return Err(invalid(format!(
            "amount is {}, but the delivery bills {}; a client that owes less rejects",
            document.amount, delivered.amount
        )));
    }
    Ok(())
}

/// A contractor receives the rejection of its delivery.
///
/// # Errors
/// [`Code::Forged`] as for an acceptance; [`Code::Invalid`] without a reason.
pub fn check_rejection(
    rejection: &Signed<Rejection>,
    delivery: &Signed<Delivery>,
    award: &Signed<Award>,
) -> Result<(), Problem> {
    let (delivered, document) = (&delivery.document, rejection.verify(&delivery.document.client)?);
    same_contract::<Rejection>(
        (document.contract, document.client, document.contractor),
        (delivered.contract, delivered.client, delivered.contractor),
    )?;
    follows::<Delivery, Award>(&delivered.award, award)?;
    follows::<Rejection, Delivery>(&document.delivery, delivery)?;
    revealed(&document.nonce, &document.evidence, delivered, &award.document)?;
    reason(&document.reason)
}

/// A contractor learns that the award is given up.
///
/// # Errors
/// [`Code::Forged`] when it is not the client's word on this award; [`Code::Invalid`] without a reason.
pub fn check_abandonment(abandonment: &Signed<Abandonment>, award: &Signed<Award>) -> Result<(), Problem> {
    let (agreed, document) = (&award.document, abandonment.verify(&award.document.client)?);
    same_contract::<Abandonment>(
        (document.contract, document.client, document.contractor),
        (agreed.contract, agreed.client, agreed.contractor),
    )?;
    follows::<Abandonment, Award>(&document.award, award)?;
    reason(&document.reason)
}

/// A client learns that the contractor gives the award back.
///
/// # Errors
/// [`Code::Forged`] when it is not the contractor's word on this award; [`Code::Invalid`] when it states more units than
/// were awarded, a time in the future, or a meter that contradicts itself.
pub fn check_handback(
    handback: &Signed<Handback>,
    award: &Signed<Award>,
    proposal: &Signed<Proposal>,
    now: Timestamp,
) -> Result<(), Problem> {
    let (agreed, document) = (&award.document, handback.verify(&award.document.contractor)?);
    same_contract::<Handback>(
        (document.contract, document.client, document.contractor),
        (agreed.contract, agreed.client, agreed.contractor),
    )?;
    follows::<Award, Proposal>(&agreed.proposal, proposal)?;
    follows::<Handback, Award>(&document.award, award)?;
    not_from_the_future("handed_back_at", document.handed_back_at, now)?;
    let awarded = proposal.document.units;
    if document.units > awarded {
        return Err(invalid(format!("units is {}, but only {awarded} were awarded", document.units)));
    }
    meter(&document.meter)
}

/// A client receives the countersignature that completes its receipt.
///
/// # Errors
/// [`Code::Forged`] when it is not the contractor's signature under this acceptance; [`Code::Invalid`] when the
/// amount is another.
pub fn check_countersignature(
    countersignature: &Signed<Countersignature>,
    acceptance: &Signed<Acceptance>,
) -> Result<(), Problem> {
    let (accepted, document) = (&acceptance.document, countersignature.verify(&acceptance.document.contractor)?);
    same_contract::<Countersignature>(
        (document.contract, document.client, document.contractor),
        (accepted.contract, accepted.client, accepted.contractor),
    )?;
    follows::<Countersignature, Acceptance>(&document.acceptance, acceptance)?;
    if document.amount != accepted.amount {
        return Err(invalid(format!("amount is {}, but {} was accepted", document.amount, accepted.amount)));
    }
    Ok(())
}

/// A payee receives the record of a payment. `owed` holds the accepted, unsettled contracts of this payer in the
/// payment's book, with what each is owed.
///
/// # Errors
/// [`Code::Forged`] when the payer did not sign it or it names another payee, [`Code::Conflict`] when it clears a
/// contract that is not owed, [`Code::Invalid`] when it clears one twice or none, or the sum is wrong.
pub fn check_payment(
    payment: &Signed<Payment>,
    payer: &Did,
    me: &Did,
    owed: &BTreeMap<ContractId, MicroUsd>,
    now: Timestamp,
) -> Result<(), Problem> {
    let document = payment.verify(payer)?;
    ensure(document.payer == *payer, || "the payment names another payer".into())?;
    ensure(document.payee == *me, || "the payment names another payee".into())?;
    not_from_the_future("paid_at", document.paid_at, now)?;
    text("method", &document.method)?;
    if document.contracts.is_empty() || document.contracts.len() > MAX_PAYMENT_CONTRACTS {
        return Err(invalid(format!("contracts must name 1 to {MAX_PAYMENT_CONTRACTS} contracts")));
    }
    if document.contracts.iter().collect::<BTreeSet<_>>().len() != document.contracts.len() {
        return Err(invalid("contracts names a contract twice"));
    }
    let mut sum = MicroUsd::ZERO;
    for contract in &document.contracts {
        let amount = owed
            .get(contract)
            .ok_or_else(|| conflict(format!("nothing is owed by this payer for the contract {contract}")))?;
        sum = sum.checked_add(*amount).ok_or_else(|| invalid("the sum of the contracts is out of range"))?;
    }
    if sum != document.amount {
        return Err(invalid(format!("amount is {}, but the contracts sum to {sum}", document.amount)));
    }
    Ok(())
}

/// A payer receives the confirmation of its payment.
///
/// # Errors
/// [`Code::Forged`] when it is not the payee's word on this payment.
pub fn check_payment_confirmation(
    confirmation: &Signed<PaymentConfirmation>,
    payment: &Signed<Payment>,
) -> Result<(), Problem> {
    let (paid, document) = (&payment.document, confirmation.verify(&payment.document.payee)?);
    ensure((document.payment, document.payer, document.payee) == (paid.payment, paid.payer, paid.payee), || {
        "the confirmation is of another payment".into()
    })?;
    follows::<PaymentConfirmation, Payment>(&document.hash, payment)
}

/// The nonce opens the award's commitment, and the evidence was drawn with the seed that follows from it.
fn revealed(nonce: &Sha256, evidence: &[Evidence], delivery: &Delivery, award: &Award) -> Result<(), Problem> {
    ensure(Sha256::of(nonce.bytes()) == award.nonce_sha256, || {
        "the nonce is not the one that the award committed to".into()
    })?;
    let seed = verification_seed(nonce, &delivery.output.sha256);
    ensure(evidence.iter().all(|found| found.seed == seed), || "the evidence was drawn with another seed".into())
}

/// What was metered may be true.
fn meter(meter: &Meter) -> Result<(), Problem> {
    match meter.energy_joules {
        None if meter.measured => return Err(invalid("meter.measured is true without energy_joules")),
        Some(joules) if !joules.is_finite() || joules < 0.0 => {
            return Err(invalid("meter.energy_joules is not a quantity of energy"));
        }
        _ => {}
    }
    for (name, value) in [("uncertainty_joules", meter.uncertainty_joules), ("idle_watts", meter.idle_watts)] {
        if value.is_some_and(|value| !value.is_finite() || value < 0.0) {
            return Err(invalid(format!("meter.{name} is not a quantity")));
        }
    }
    Ok(())
}

fn same_contract<T: Document>(is: (ContractId, Did, Did), should: (ContractId, Did, Did)) -> Result<(), Problem> {
    ensure(is == should, || format!("the {} names another contract or other parties", T::TYPE))
}

fn follows<Next: Document, Before: Document>(named: &Sha256, before: &Signed<Before>) -> Result<(), Problem> {
    ensure(*named == before.hash(), || format!("the {} answers another {}", Next::TYPE, Before::TYPE))
}

fn in_time(what: &str, ends: Timestamp, now: Timestamp) -> Result<(), Problem> {
    if now <= ends {
        return Ok(());
    }
    Err(Problem::new(
        Code::Expired,
        format!("{what} was {ends}, and it is {now}"),
        "start again with a new call; if times look wrong, check both machines' clocks",
    ))
}

fn not_from_the_future(what: &str, at: Timestamp, now: Timestamp) -> Result<(), Problem> {
    if at <= now.after(MAX_CLOCK_SKEW) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Invalid,
        format!("{what} is {at}, which is in the future: here it is {now}"),
        "set the clocks of both machines",
    ))
}

fn text(what: &str, value: &str) -> Result<(), Problem> {
    if value.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    Err(Problem::new(Code::TooLarge, format!("{what} is longer than {MAX_TEXT_BYTES} bytes"), "shorten it"))
}

fn reason(value: &str) -> Result<(), Problem> {
    if value.trim().is_empty() {
        return Err(invalid("reason is empty"));
    }
    text("reason", value)
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Problem> {
    if holds {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forged,
        otherwise(),
        "do not act on this document; ask the peer for it again, and remove the peer if it repeats",
    ))
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(Code::Invalid, message, "the sender must correct the document and sign it again")
}

fn conflict(message: impl Into<String>) -> Problem {
    Problem::new(Code::Conflict, message, "agree with the other side first, then send it again")
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
