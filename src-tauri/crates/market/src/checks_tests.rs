use super::*;
use proptest::prelude::*;
use tender_base::{
    Book, JobSpec, Rate, Signer, Unit, Work,
    documents::{HandbackReason, Receipt, Statistic, WorkerInfo},
    ids::PaymentId,
    job::{Constraints, Privacy},
    signed::KeySigner,
    units::Meter,
};

const NONCE: Sha256 = Sha256::from_bytes([7; 32]);

/// A whole trade, each document signed by its side, and the keys to sign others.
struct Trade {
    client: KeySigner,
    contractor: KeySigner,
    receipt: Receipt,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_248_000_000 + 1000 * seconds)
}

fn id(last: u8) -> ContractId {
    format!("01890a5d-ac96-774b-bcce-b302099a80{last:02x}").parse().unwrap()
}

fn trade(contract: ContractId) -> Trade {
    let (client, contractor) = (KeySigner::from_seed(&[1; 32]), KeySigner::from_seed(&[2; 32]));
    let (c, k) = (client.did(), contractor.did());
    let (input, output) = (BlobRef { sha256: Sha256::of(b"in"), bytes: 8 * 64 }, BlobRef::of(&[0; 256]));
    let constraints = Constraints { budget: MicroUsd(5_000), deadline: at(600), privacy: Privacy::Peers };
    let job = JobSpec {
        work: Work::Gemm { m: 8, k: 8, n: 8, precision: tender_base::job::Precision::F32 },
        input,
        constraints,
    };
    let call = Signed::new(
        CallForProposals {
            contract,
            client: c,
            contractor: k,
            book: Book::Real,
            job,
            called_at: at(0),
            respond_by: at(2),
        },
        &client,
    );
    let proposal = Signed::new(
        Proposal {
            contract,
            contractor: k,
            client: c,
            call: call.hash(),
            rate: Rate { micro_usd: 10, per_units: 3, unit: Unit::Flop },
            prompt_rate: None,
            units: 1024,
            amount: MicroUsd(3_414),
            valid_until: at(30),
            estimated_ms: 900,
            adapter: "llvmpipe".into(),
        },
        &contractor,
    );
    let award = Signed::new(
        Award {
            contract,
            client: c,
            contractor: k,
            proposal: proposal.hash(),
            nonce_sha256: Sha256::of(NONCE.bytes()),
            review_seconds: 600,
            awarded_at: at(3),
            deadline: at(600),
        },
        &client,
    );
    let delivery = Signed::new(
        Delivery {
            contract,
            contractor: k,
            client: c,
            award: award.hash(),
            output,
            units: 1024,
            amount: MicroUsd(3_414),
            meter: Meter { energy_joules: Some(12.5), measured: true, ..Meter::without_sensor(900) },
            worker: WorkerInfo {
                adapter: "llvmpipe".into(),
                driver: "Mesa".into(),
                backend: "Vulkan".into(),
                version: "0.1.0".into(),
                runtime: None,
            },
            delivered_at: at(5),
        },
        &contractor,
    );
    let seed = verification_seed(&NONCE, &output.sha256);
    let acceptance = Signed::new(
        Acceptance {
            contract,
            client: c,
            contractor: k,
            delivery: delivery.hash(),
            nonce: NONCE,
            evidence: vec![Evidence { statistic: Statistic::FreivaldsResidual, value: 0.2, n: 20, seed }],
            amount: MicroUsd(3_414),
            accepted_at: at(6),
        },
        &client,
    );
    let countersignature = Signed::new(
        Countersignature {
            contract,
            contractor: k,
            client: c,
            acceptance: acceptance.hash(),
            amount: MicroUsd(3_414),
            signed_at: at(7),
        },
        &contractor,
    );
    let receipt = Receipt { call, proposal, award, delivery, acceptance, countersignature };
    Trade { client, contractor, receipt }
}

/// The document changed and signed again by `signer`: a peer that lies, not a stranger that forges.
fn altered<T: Document + Clone>(signed: &Signed<T>, signer: &KeySigner, alter: impl FnOnce(&mut T)) -> Signed<T> {
    let mut document = signed.document.clone();
    alter(&mut document);
    Signed::new(document, signer)
}

/// The document changed without signing it again.
fn tampered<T: Document + Clone>(signed: &Signed<T>, alter: impl FnOnce(&mut T)) -> Signed<T> {
    let mut copy = signed.clone();
    alter(&mut copy.document);
    copy
}

#[track_caller]
fn refused(result: Result<(), Problem>, code: Code) {
    let problem = result.expect_err("must be refused");
    assert!(problem.code == code && !problem.hint.is_empty(), "expected {code:?}: {problem:?}");
}

#[test]
fn an_honest_trade_passes_every_check_and_its_receipt_verifies() {
    let Trade { client, contractor, receipt: r } = trade(id(1));
    let output = r.delivery.document.output;
    check_call(&r.call, &contractor.did(), at(1)).unwrap();
    check_proposal(&r.proposal, &r.call, at(1)).unwrap();
    check_award(&r.award, &r.proposal, &r.call, at(4)).unwrap();
    check_delivery(&r.delivery, &r.award, (&r.call.document.job.work, &r.proposal), &output, at(6)).unwrap();
    check_acceptance(&r.acceptance, &r.delivery, &r.award).unwrap();
    check_countersignature(&r.countersignature, &r.acceptance).unwrap();
    r.verify().unwrap();
    refused(check_call(&r.call, &client.did(), at(1)), Code::Forged);
}

#[test]
fn documents_of_another_contract_are_refused_everywhere() {
    let (Trade { client, receipt: r, .. }, Trade { receipt: other, .. }) = (trade(id(1)), trade(id(2)));
    refused(check_proposal(&other.proposal, &r.call, at(1)), Code::Forged);
    refused(check_award(&other.award, &r.proposal, &r.call, at(4)), Code::Forged);
    refused(
        check_delivery(
            &other.delivery,
            &r.award,
            (&r.call.document.job.work, &r.proposal),
            &other.delivery.document.output,
            at(6),
        ),
        Code::Forged,
    );
    refused(check_acceptance(&other.acceptance, &r.delivery, &r.award), Code::Forged);
    refused(check_countersignature(&other.countersignature, &r.acceptance), Code::Forged);
    // With the right contract id written over it and signed again, the chain of hashes still gives it away.
    let moved = altered(&other.award, &client, |award| award.contract = id(1));
    refused(check_award(&moved, &r.proposal, &r.call, at(4)), Code::Forged);
    let moved = altered(&other.acceptance, &client, |acceptance| acceptance.contract = id(1));
    refused(check_acceptance(&moved, &r.delivery, &r.award), Code::Forged);
}

#[test]
fn documents_of_the_wrong_signer_or_changed_after_signing_are_refused() {
    let Trade { client, contractor, receipt: r } = trade(id(1));
    let output = r.delivery.document.output;
    let by_client = |amount| altered(&r.proposal, &client, |p| p.amount = amount);
    refused(check_proposal(&by_client(MicroUsd(3_414)), &r.call, at(1)), Code::Forged);
    refused(check_award(&altered(&r.award, &contractor, |_| ()), &r.proposal, &r.call, at(4)), Code::Forged);
    refused(
        check_delivery(
            &altered(&r.delivery, &client, |_| ()),
            &r.award,
            (&r.call.document.job.work, &r.proposal),
            &output,
            at(6),
        ),
        Code::Forged,
    );
    refused(check_acceptance(&altered(&r.acceptance, &contractor, |_| ()), &r.delivery, &r.award), Code::Forged);
    refused(check_countersignature(&altered(&r.countersignature, &client, |_| ()), &r.acceptance), Code::Forged);

    refused(check_call(&tampered(&r.call, |c| c.book = Book::Demo), &contractor.did(), at(1)), Code::Forged);
    refused(check_proposal(&tampered(&r.proposal, |p| p.amount = MicroUsd(1)), &r.call, at(1)), Code::Forged);
    refused(check_award(&tampered(&r.award, |a| a.review_seconds = 0), &r.proposal, &r.call, at(4)), Code::Forged);
    let cheaper = tampered(&r.delivery, |d| d.amount = MicroUsd(1));
    refused(check_delivery(&cheaper, &r.award, (&r.call.document.job.work, &r.proposal), &output, at(6)), Code::Forged);
    let cheaper = tampered(&r.acceptance, |a| a.amount = MicroUsd(1));
    refused(check_acceptance(&cheaper, &r.delivery, &r.award), Code::Forged);
}

#[test]
fn what_comes_too_late_is_expired() {
    let Trade { client, contractor, receipt: r } = trade(id(1));
    let output = r.delivery.document.output;
    refused(check_call(&r.call, &contractor.did(), at(3)), Code::Expired);
    let hopeless = altered(&r.call, &client, |c| c.job.constraints.deadline = at(0));
    refused(check_call(&hopeless, &contractor.did(), at(1)), Code::Expired);
    refused(check_proposal(&r.proposal, &r.call, at(3)), Code::Expired);
    let stale = altered(&r.proposal, &contractor, |p| p.valid_until = at(0));
    refused(check_proposal(&stale, &r.call, at(1)), Code::Expired);
    refused(check_award(&r.award, &r.proposal, &r.call, at(31)), Code::Expired);
    refused(
        check_delivery(&r.delivery, &r.award, (&r.call.document.job.work, &r.proposal), &output, at(601)),
        Code::Expired,
    );
    let late = altered(&r.delivery, &contractor, |d| d.delivered_at = at(601));
    refused(check_delivery(&late, &r.award, (&r.call.document.job.work, &r.proposal), &output, at(600)), Code::Expired);
    let future = altered(&r.call, &client, |c| {
        c.called_at = at(1000);
        c.respond_by = at(1001);
    });
    refused(check_call(&future, &contractor.did(), at(1)), Code::Invalid);
}

#[test]
fn a_proposal_must_bill_exactly_what_the_job_declares() {
    let Trade { contractor, receipt: r, .. } = trade(id(1));
    let check = |alter: fn(&mut Proposal)| check_proposal(&altered(&r.proposal, &contractor, alter), &r.call, at(1));
    refused(check(|p| p.amount = MicroUsd(3_413)), Code::Invalid);
    refused(check(|p| p.amount = MicroUsd(-1)), Code::Invalid);
    refused(check(|p| p.units = 2048), Code::Invalid);
    refused(check(|p| p.rate.unit = Unit::Token), Code::Invalid);
    refused(check(|p| p.rate.per_units = 0), Code::Invalid);
    // Only a text has a prompt.
    refused(check(|p| p.prompt_rate = Some(p.rate)), Code::Invalid);
    refused(check(|p| p.estimated_ms = u64::from(u32::MAX) << 32), Code::Invalid);
    refused(check(|p| p.adapter = "x".repeat(MAX_TEXT_BYTES + 1)), Code::TooLarge);
}

#[test]
fn an_award_must_leave_the_time_that_was_called_for() {
    let Trade { client, receipt: r, .. } = trade(id(1));
    let check = |alter: fn(&mut Award)| check_award(&altered(&r.award, &client, alter), &r.proposal, &r.call, at(4));
    refused(check(|a| a.deadline = at(599)), Code::Conflict);
    refused(check(|a| a.review_seconds = MAX_REVIEW_SECONDS + 1), Code::Conflict);
    refused(check(|a| a.awarded_at = at(4000)), Code::Invalid);
}

#[test]
fn a_prompt_with_a_price_of_its_own_is_billed_apart() {
    let Trade { client, contractor, receipt: mut r } = trade(id(1));
    let text = tender_base::job::GenerateWork {
        model: tender_base::job::ModelRef { name: "m".to_owned(), sha256: Sha256::of(b"m") },
        prompt_tokens: 1_000,
        max_tokens: 100,
        sampling: tender_base::job::Sampling::GREEDY,
        stop: Vec::new(),
    };
    let mut call = r.call.document.clone();
    call.job.work = Work::Generate(text);
    r.call = Signed::new(call, &client);
    let token = |micro_usd| Rate { micro_usd, per_units: 1_000, unit: Unit::Token };
    let offer = |amount, prompt_rate| Proposal {
        call: r.call.hash(),
        rate: token(900),
        prompt_rate,
        units: 1_100,
        amount: MicroUsd(amount),
        ..r.proposal.document.clone()
    };
    let check = |offer: Proposal| check_proposal(&Signed::new(offer, &contractor), &r.call, at(1));
    // 1,000 of prompt at 10 and 100 of text at 900 micro-USD per 1,000.
    check(offer(100, Some(token(10)))).unwrap();
    check(offer(990, None)).unwrap();
    refused(check(offer(990, Some(token(10)))), Code::Invalid);
    refused(check(offer(100, None)), Code::Invalid);
    refused(check(offer(100, Some(Rate { unit: Unit::Flop, ..token(10) }))), Code::Invalid);

    r.proposal = Signed::new(offer(100, Some(token(10))), &contractor);
    r.award = Signed::new(Award { proposal: r.proposal.hash(), ..r.award.document.clone() }, &client);
    let bills = |units, amount| {
        let delivery =
            Delivery { award: r.award.hash(), units, amount: MicroUsd(amount), ..r.delivery.document.clone() };
        let delivery = Signed::new(delivery, &contractor);
        check_delivery(&delivery, &r.award, (&r.call.document.job.work, &r.proposal), &delivery.document.output, at(6))
    };
    // A text that ended after 20 tokens: 10 + 18.
    bills(1_020, 28).unwrap();
    refused(bills(1_020, 29), Code::Invalid);
    bills(1_100, 100).unwrap();
}

#[test]
fn a_delivery_bills_no_more_than_its_units_and_belongs_to_its_bytes() {
    let Trade { contractor, receipt: r, .. } = trade(id(1));
    let output = r.delivery.document.output;
    let check = |alter: fn(&mut Delivery)| {
        check_delivery(
            &altered(&r.delivery, &contractor, alter),
            &r.award,
            (&r.call.document.job.work, &r.proposal),
            &output,
            at(6),
        )
    };
    refused(check(|d| d.amount = MicroUsd(3_415)), Code::Invalid);
    refused(check(|d| d.amount = MicroUsd(-1)), Code::Invalid);
    refused(check(|d| d.units = 1025), Code::Invalid);
    refused(check(|d| d.units = 512), Code::Invalid);
    refused(check(|d| d.meter.energy_joules = None), Code::Invalid);
    refused(check(|d| d.meter.energy_joules = Some(-1.0)), Code::Invalid);
    refused(check(|d| d.meter.uncertainty_joules = Some(-1.0)), Code::Invalid);
    refused(check(|d| d.meter.idle_watts = Some(f64::INFINITY)), Code::Invalid);
    refused(check(|d| d.output.bytes += 1), Code::Forged);
    check(|d| d.amount = MicroUsd::ZERO).expect("a gift is allowed");
    let swapped = BlobRef::of(b"other bytes");
    refused(
        check_delivery(&r.delivery, &r.award, (&r.call.document.job.work, &r.proposal), &swapped, at(6)),
        Code::Forged,
    );
}

#[test]
fn a_verdict_must_open_the_nonce_and_use_its_seed() {
    let Trade { client, receipt: r, .. } = trade(id(1));
    let check =
        |alter: fn(&mut Acceptance)| check_acceptance(&altered(&r.acceptance, &client, alter), &r.delivery, &r.award);
    refused(check(|a| a.nonce = Sha256::of(b"chosen later")), Code::Forged);
    refused(check(|a| a.evidence[0].seed = Sha256::of(b"chosen later")), Code::Forged);
    refused(check(|a| a.amount = MicroUsd(3_413)), Code::Invalid);
    check(|a| a.evidence.clear()).expect("a client may accept unseen");

    let rejection = Rejection {
        contract: id(1),
        client: client.did(),
        contractor: r.delivery.document.contractor,
        delivery: r.delivery.hash(),
        nonce: NONCE,
        evidence: vec![],
        reason: "the residual is 7".into(),
        rejected_at: at(6),
    };
    let check = |alter: fn(&mut Rejection)| {
        let mut document = rejection.clone();
        alter(&mut document);
        check_rejection(&Signed::new(document, &client), &r.delivery, &r.award)
    };
    check(|_| ()).unwrap();
    refused(check(|d| d.nonce = Sha256::of(b"chosen later")), Code::Forged);
    refused(check(|d| d.reason = "  ".into()), Code::Invalid);
    refused(check(|d| d.delivery = Sha256::of(b"")), Code::Forged);
}

#[test]
fn declines_and_abandonments_name_what_they_end() {
    let Trade { client, contractor, receipt: r } = trade(id(1));
    let (c, k) = (client.did(), contractor.did());
    let decline =
        Decline { contract: id(1), client: c, contractor: k, proposal: r.proposal.hash(), declined_at: at(3) };
    check_decline(&Signed::new(decline.clone(), &client), &r.proposal).unwrap();
    refused(check_decline(&Signed::new(decline.clone(), &contractor), &r.proposal), Code::Forged);
    refused(check_decline(&Signed::new(decline, &client), &trade(id(2)).receipt.proposal), Code::Forged);

    let abandonment = Abandonment {
        contract: id(1),
        client: c,
        contractor: k,
        award: r.award.hash(),
        reason: "silent for 2 s".into(),
        abandoned_at: at(9),
    };
    check_abandonment(&Signed::new(abandonment.clone(), &client), &r.award).unwrap();
    refused(check_abandonment(&Signed::new(abandonment.clone(), &client), &trade(id(2)).receipt.award), Code::Forged);
    refused(check_abandonment(&Signed::new(abandonment, &contractor), &r.award), Code::Forged);
}

#[test]
fn a_handback_is_the_contractors_word_on_this_award_and_states_no_more_than_was_awarded() {
    let Trade { client, contractor, receipt: r } = trade(id(1));
    let handback = Handback {
        contract: id(1),
        contractor: contractor.did(),
        client: client.did(),
        award: r.award.hash(),
        reason: HandbackReason::Game,
        units: 512,
        meter: Meter { energy_joules: Some(6.0), measured: true, ..Meter::without_sensor(450) },
        handed_back_at: at(4),
    };
    let check = |alter: fn(&mut Handback)| {
        let mut document = handback.clone();
        alter(&mut document);
        check_handback(&Signed::new(document, &contractor), &r.award, &r.proposal, at(5))
    };
    check(|_| ()).unwrap();
    check(|d| (d.units, d.meter) = (0, Meter::without_sensor(0))).unwrap();
    refused(check(|d| d.units = 1025), Code::Invalid);
    refused(check(|d| d.meter.energy_joules = None), Code::Invalid);
    refused(check(|d| d.meter.energy_joules = Some(f64::NAN)), Code::Invalid);
    refused(check(|d| d.handed_back_at = at(500)), Code::Invalid);
    refused(check(|d| d.contract = id(2)), Code::Forged);
    refused(check(|d| d.award = Sha256::of(b"")), Code::Forged);
    let by_client = Signed::new(handback.clone(), &client);
    refused(check_handback(&by_client, &r.award, &r.proposal, at(5)), Code::Forged);
    let other = trade(id(2)).receipt;
    let ours = Signed::new(handback, &contractor);
    refused(check_handback(&ours, &other.award, &other.proposal, at(5)), Code::Forged);
}

#[test]
fn a_countersignature_states_the_accepted_amount() {
    let Trade { contractor, receipt: r, .. } = trade(id(1));
    let other = altered(&r.countersignature, &contractor, |c| c.amount = MicroUsd(9_999));
    refused(check_countersignature(&other, &r.acceptance), Code::Invalid);
}

#[test]
fn a_payment_clears_what_is_owed_once_and_whole() {
    let (payer, payee) = (KeySigner::from_seed(&[1; 32]), KeySigner::from_seed(&[2; 32]));
    let owed = BTreeMap::from([(id(1), MicroUsd(100)), (id(2), MicroUsd(23)), (id(3), MicroUsd(i64::MAX))]);
    let payment: PaymentId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let document = Payment {
        payment,
        payer: payer.did(),
        payee: payee.did(),
        book: Book::Real,
        contracts: vec![id(1), id(2)],
        amount: MicroUsd(123),
        method: "bank transfer".into(),
        paid_at: at(0),
    };
    let check = |alter: fn(&mut Payment)| {
        let mut document = document.clone();
        alter(&mut document);
        check_payment(&Signed::new(document, &payer), &payer.did(), &payee.did(), &owed, at(1))
    };
    check(|_| ()).unwrap();
    refused(check(|p| p.amount = MicroUsd(122)), Code::Invalid);
    refused(check(|p| p.contracts = vec![id(1), id(1)]), Code::Invalid);
    refused(check(|p| p.contracts.clear()), Code::Invalid);
    refused(check(|p| p.contracts = vec![id(9)]), Code::Conflict);
    refused(check(|p| p.contracts = vec![id(1), id(3)]), Code::Invalid);
    let signed = Signed::new(document.clone(), &payer);
    refused(check_payment(&signed, &payee.did(), &payee.did(), &owed, at(1)), Code::Forged);
    refused(check_payment(&signed, &payer.did(), &payer.did(), &owed, at(1)), Code::Forged);

    let confirmation = PaymentConfirmation {
        payment,
        payee: payee.did(),
        payer: payer.did(),
        hash: signed.hash(),
        confirmed_at: at(2),
    };
    check_payment_confirmation(&Signed::new(confirmation.clone(), &payee), &signed).unwrap();
    refused(check_payment_confirmation(&Signed::new(confirmation.clone(), &payer), &signed), Code::Forged);
    let other = PaymentConfirmation { hash: Sha256::of(b""), ..confirmation };
    refused(check_payment_confirmation(&Signed::new(other, &payee), &signed), Code::Forged);
}

proptest! {
    /// Whatever amount a contractor writes, only the exact one passes, and its delivery never bills more.
    #[test]
    fn only_the_exact_amount_passes(micro_usd in 0..10_000u64, per_units in 1..5_000u64, off in -3..=3i64) {
        let Trade { contractor, receipt: r, .. } = trade(id(1));
        let rate = Rate { micro_usd, per_units, unit: Unit::Flop };
        let exact = rate.amount(1024).unwrap();
        let proposal = altered(&r.proposal, &contractor, |p| {
            p.rate = rate;
            p.amount = MicroUsd(exact.0 + off);
        });
        prop_assert_eq!(check_proposal(&proposal, &r.call, at(1)).is_ok(), off == 0);
    }
}
