//! Clients that are not paired, have no credit, or send documents that are forged, replayed, late or altered.

use serde_json::json;
use std::time::Duration;
use tender_a2a::Client;
use tender_base::{
    Code, MicroUsd, Problem, Sha256, Signed,
    documents::{
        Acceptance, Award, CallForProposals, Delivery, Evidence, Message, Payment, Proposal, Rejection, Statistic,
        verification_seed,
    },
};
use tender_node::api::types::{AddPeerInput, ChangePeerInput, Invitation, InviteInput, Peer};
use tender_tests::{
    NONCE, Stranger, TestNode, pair,
    work::{self, DOLLAR},
};

/// A seller whose matrices cost something, and a stranger that it has invited.
async fn paired(credit: i64) -> (TestNode, Stranger, Client) {
    let seller = TestNode::seller().await;
    seller.set("price.gemm.per_units", json!(1000)).await;
    seller.set("slots", json!(4)).await;
    let stranger = Stranger::new(1);
    let client = stranger.connect(&seller.a2a, seller.did).await.unwrap();
    let link = seller.invite(credit).await;
    let answer = stranger.answer(&client, seller.did, secret(&link)).await.unwrap();
    assert!(matches!(answer, Message::PairingAnswer(_)), "{answer:?}");
    (seller, stranger, client)
}

fn secret(link: &str) -> &str {
    link.split("secret=").nth(1).unwrap().split('&').next().unwrap()
}

fn refusal(answer: Result<Message, Problem>) -> Problem {
    match answer {
        Ok(Message::Refusal(problem)) | Err(problem) => {
            assert!(!problem.message.is_empty() && !problem.hint.is_empty(), "{problem:?}");
            problem
        }
        Ok(other) => panic!("it was not refused: {other:?}"),
    }
}

async fn proposal(client: &Client, call: &Signed<CallForProposals>) -> Signed<Proposal> {
    match client.exchange(Message::Call(call.clone())).await.unwrap() {
        Message::Proposal(proposal) => proposal,
        other => panic!("{other:?}"),
    }
}

async fn refused_award(client: &Client, award: Signed<Award>, input: &[u8]) -> Problem {
    match client.award(award, input.to_vec()).await {
        Err(problem) => refusal(Err(problem)),
        Ok(_) => panic!("the award was taken"),
    }
}

#[tokio::test]
async fn who_is_not_paired_gets_no_slot() {
    let seller = TestNode::seller().await;
    let stranger = Stranger::new(1);
    let client = stranger.connect(&seller.a2a, seller.did).await.unwrap();
    let (call, _) = stranger.call(seller.did);
    let said = refusal(client.exchange(Message::Call(stranger.sign_call(call))).await);
    assert!(said.code == Code::Forbidden && said.message.contains("not paired"), "{said}");
    assert!(said.hint.contains("invitation"), "{said}");
    assert!(seller.events().all().iter().all(|e| e.name() != "contract_opened"));
    seller.owes_and_is_owed_nothing().await;
}

#[tokio::test]
async fn without_credit_there_is_no_proposal() {
    let (seller, stranger, client) = paired(0).await;
    let (call, _) = stranger.call(seller.did);
    let said = refusal(client.exchange(Message::Call(stranger.sign_call(call))).await);
    assert!(said.code == Code::OverLimit && said.message.contains("credit"), "{said}");
    // With just enough it is given; one micro-dollar below, not.
    let (call, _) = stranger.call(seller.did);
    let amount = 9; // ⌈2 · 16³ / 1000⌉
    for (credit, given) in [(amount - 1, false), (amount, true)] {
        let input = ChangePeerInput { did: stranger.did().to_string(), credit_limit_micro_usd: credit };
        let _: Peer = seller.ask("change_peer", &input).await;
        let answer = client.exchange(Message::Call(stranger.sign_call(call.clone()))).await;
        assert_eq!(matches!(answer, Ok(Message::Proposal(_))), given, "{answer:?}");
    }
    seller.owes_and_is_owed_nothing().await;

    // The same, as a person meets it.
    let buyer = TestNode::buyer().await;
    pair(&seller, &buyer, 0).await;
    let id = buyer.submit(&work::for_peers(work::gemm(16))).await;
    let detail = buyer.ended(&id).await;
    assert!(detail.decision.iter().any(|row| row.why.contains("credit")), "{detail:#?}");
    buyer.owes_and_is_owed_nothing().await;
}

#[tokio::test]
async fn an_invitation_works_once_whole_and_in_time() {
    let (seller, buyer, other) = (TestNode::seller().await, TestNode::start().await, TestNode::start().await);
    let add = |link: &str| AddPeerInput { link: link.to_owned(), credit_limit_micro_usd: None };
    let link = seller.invite(DOLLAR).await;
    for (damaged, named) in [
        (link.replace("secret=", "secret=x"), "unknown"),
        (link.replace("tender://", "http://"), "tender://"),
        (link.replacen("did:key:z6Mk", "did:key:z6Mx", 1), "damaged"),
        (link.replace("expires=2", "expires=x2"), "expiry"),
        (link.replace("expires=2026", "expires=2020"), "ended"),
        (link.chars().take(40).collect(), "no"),
        (format!("{link}{}", "x".repeat(600)), "too long"),
        // A key that is well formed and somebody else's: the card is not signed by it.
        (link.replace(&seller.did.to_string(), &other.did.to_string()), "not signed"),
    ] {
        if damaged == link {
            panic!("nothing was damaged in {link}");
        }
        let said = buyer.refuses("add_peer", &add(&damaged)).await;
        assert!(said.message.contains(named) && !said.hint.is_empty(), "{damaged}: {said:?}");
    }
    assert!(seller.events().all().iter().all(|e| e.name() != "peer_paired"));
    let own = seller.refuses("add_peer", &add(&link)).await;
    assert!(own.message.contains("own invitation"), "{own}");
    let _: Peer = buyer.ask("add_peer", &add(&link)).await;
    let used = other.refuses("add_peer", &add(&link)).await;
    assert!(used.code == Code::Forbidden && used.message.contains("used"), "{used}");
    // The answer may get lost: the same node may paste it again.
    let _: Peer = buyer.ask("add_peer", &add(&link)).await;

    let input = InviteInput { credit_limit_micro_usd: 1, valid_minutes: Some(1) };
    let short: Invitation = seller.ask("invite", &input).await;
    let stranger = Stranger::new(1);
    let client = stranger.connect(&seller.a2a, seller.did).await.unwrap();
    let wrong = refusal(stranger.answer(&client, buyer.did, secret(&short.link)).await);
    assert_eq!(wrong.code, Code::Forbidden, "the answer to somebody else's invitation: {wrong}");
    // Whoever changes the date in the link deceives only himself: the inviter keeps the true one.
    crate::machine::sql(seller.dir(), "UPDATE invitations SET expires_at = expires_at - 61000 WHERE used_by IS NULL");
    let late = buyer.refuses("add_peer", &add(&short.link)).await;
    assert!(late.code == Code::Forbidden && late.message.contains("expired"), "{late}");
    assert!(late.hint.contains("new one"), "{late}");
}

#[tokio::test]
async fn forged_and_repeated_calls_open_nothing() {
    let (seller, stranger, client) = paired(DOLLAR).await;
    let impostor = Stranger::new(2);
    let opened = || seller.events().all().iter().filter(|e| e.name() == "contract_opened").count();

    let (call, _) = stranger.call(seller.did);
    let mut altered = stranger.sign_call(call.clone());
    altered.document.job.constraints.budget = MicroUsd(7);
    let mut foreign = Signed::new(call.clone(), impostor.signer.as_ref());
    assert_eq!(refusal(client.exchange(Message::Call(altered)).await).code, Code::Forged);
    assert_eq!(refusal(client.exchange(Message::Call(foreign.clone())).await).code, Code::Forbidden);
    foreign.signer = stranger.did();
    assert_eq!(refusal(client.exchange(Message::Call(foreign)).await).code, Code::Forged);
    // For somebody else, too late, with a deadline in the past, of an impossible size.
    for (change, code) in [
        ((|c: &mut CallForProposals| c.contractor = c.client) as fn(&mut CallForProposals), Code::Forged),
        (|c| c.respond_by = c.called_at, Code::Expired),
        (|c| c.job.constraints.deadline = c.called_at, Code::Expired),
        (|c| c.job.input.bytes = 1 << 40, Code::TooLarge),
        (|c| c.job.input.bytes += 4, Code::Invalid),
        (|c| c.job.constraints.budget = MicroUsd(-1), Code::Invalid),
    ] {
        let (mut changed, _) = stranger.call(seller.did);
        change(&mut changed);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let said = refusal(client.exchange(Message::Call(stranger.sign_call(changed))).await);
        assert_eq!(said.code, code, "{said}");
    }
    assert_eq!(opened(), 0);

    // The same call again is the same contract; another under its id is refused.
    let signed = stranger.sign_call(call.clone());
    let first = proposal(&client, &signed).await;
    assert_eq!(proposal(&client, &signed).await, first);
    let mut other = call;
    other.job.constraints.budget = MicroUsd(5);
    assert_eq!(refusal(client.exchange(Message::Call(stranger.sign_call(other))).await).code, Code::Conflict);
    seller.events().first(|e| e.name() == "contract_opened").await;
    assert_eq!(opened(), 1);
    // Nobody holds more slots than it needs.
    proposal(&client, &stranger.sign_call(stranger.call(seller.did).0)).await;
    let third = refusal(client.exchange(Message::Call(stranger.sign_call(stranger.call(seller.did).0))).await);
    assert!(third.code == Code::TooMany, "{third}");
    seller.owes_and_is_owed_nothing().await;
}

#[tokio::test]
async fn forged_and_repeated_awards_start_nothing() {
    let (seller, stranger, client) = paired(DOLLAR).await;
    let impostor = Stranger::new(2);
    let (call, input) = stranger.call(seller.did);
    let signed = stranger.sign_call(call.clone());
    let offered = proposal(&client, &signed).await;
    let award = stranger.award(&call, &offered);

    let mut altered = Signed::new(award.clone(), stranger.signer.as_ref());
    altered.document.review_seconds = 10;
    assert_eq!(refused_award(&client, altered, &input).await.code, Code::Forged);
    let foreign = Signed::new(award.clone(), impostor.signer.as_ref());
    assert_eq!(refused_award(&client, foreign, &input).await.code, Code::Forged);
    for change in [
        (|a: &mut Award| a.proposal = Sha256::of(b"another")) as fn(&mut Award),
        |a| a.deadline = a.awarded_at,
        |a| a.review_seconds = u32::MAX,
        |a| a.contractor = a.client,
        |a| a.awarded_at = a.awarded_at.after(Duration::from_secs(3600)),
    ] {
        let mut changed = award.clone();
        change(&mut changed);
        let said = refused_award(&client, Signed::new(changed, stranger.signer.as_ref()), &input).await;
        assert!(matches!(said.code, Code::Forged | Code::Expired | Code::Conflict | Code::Invalid), "{said}");
    }
    let right = Signed::new(award, stranger.signer.as_ref());
    let said = refused_award(&client, right.clone(), b"other bytes").await;
    assert!(said.code == Code::Forged && said.message.contains("input"), "{said}");
    assert!(seller.events().all().iter().all(|e| !e.moved_to("awarded")));
    // Somebody else, with a key of its own, does not even learn that the contract exists.
    let thief = impostor.connect(&seller.a2a, seller.did).await.unwrap();
    assert!(matches!(refused_award(&thief, right.clone(), &input).await.code, Code::NotFound | Code::Forbidden));

    // Taken once; the same award again is followed, not done again; another on the same proposal is refused.
    delivery(&client, right.clone(), &input).await;
    delivery(&client, right.clone(), &input).await;
    let mut second = right.document.clone();
    second.nonce_sha256 = Sha256::of(b"second");
    let said = refused_award(&client, Signed::new(second, stranger.signer.as_ref()), &input).await;
    assert_eq!(said.code, Code::Conflict, "{said}");
    assert_eq!(seller.events().all().iter().filter(|e| e.moved_to("delivered")).count(), 1);
    assert_eq!(seller.earnings().await.owed_to_us_micro_usd, 0, "nothing is owed before it is accepted");
}

async fn delivery(client: &Client, award: Signed<Award>, input: &[u8]) -> Signed<Delivery> {
    use futures::StreamExt;
    let mut events = client.award(award, input.to_vec()).await.unwrap();
    while let Some(event) = events.next().await {
        if let tender_a2a::TaskEvent::Delivered { delivery, .. } = event.unwrap() {
            return delivery;
        }
    }
    panic!("there was no delivery");
}

#[tokio::test]
async fn a_rejection_that_shows_nothing_wrong_is_none() {
    let (seller, stranger, client) = paired(DOLLAR).await;
    let (call, input) = stranger.call(seller.did);
    let offered = proposal(&client, &stranger.sign_call(call.clone())).await;
    let award = Signed::new(stranger.award(&call, &offered), stranger.signer.as_ref());
    let delivered = delivery(&client, award, &input).await;
    let seed = verification_seed(&NONCE, &delivered.document.output.sha256);
    let reject = |evidence: Vec<Evidence>| {
        let rejection = Rejection {
            contract: call.contract,
            client: stranger.did(),
            contractor: seller.did,
            delivery: delivered.hash(),
            nonce: NONCE,
            evidence,
            reason: "I do not like it".to_owned(),
            rejected_at: stranger.now(),
        };
        client.exchange(Message::Rejection(Signed::new(rejection, stranger.signer.as_ref())))
    };
    let found = |statistic, value, n| Evidence { statistic, value, n, seed };
    for (evidence, why) in [
        (Vec::new(), "no evidence"),
        (vec![found(Statistic::FreivaldsResidual, 0.5, 20)], "it passes"),
        (vec![found(Statistic::FreivaldsResidual, 7.0, 0)], "nothing was looked at"),
        (vec![found(Statistic::MinCosine, 0.0, 20)], "it says nothing about a product"),
    ] {
        let said = refusal(reject(evidence).await);
        assert_eq!(said.code, Code::Forged, "{why}: {said}");
        assert!(said.message.contains("shows nothing wrong") && !said.hint.is_empty(), "{why}: {said}");
    }
    // The delivery still stands, and what shows a fault is taken.
    let taken = reject(vec![found(Statistic::FreivaldsResidual, 7.0, 20)]).await;
    assert!(matches!(taken, Ok(Message::Rejection(_))), "{taken:?}");
    assert_eq!(seller.earnings().await.owed_to_us_micro_usd, 0);
}

#[tokio::test]
async fn forged_and_repeated_acceptances_are_booked_once_or_not_at_all() {
    let (seller, stranger, client) = paired(DOLLAR).await;
    let (call, input) = stranger.call(seller.did);
    let offered = proposal(&client, &stranger.sign_call(call.clone())).await;
    let award = Signed::new(stranger.award(&call, &offered), stranger.signer.as_ref());
    let delivered = delivery(&client, award, &input).await;
    let acceptance = Acceptance {
        contract: call.contract,
        client: stranger.did(),
        contractor: seller.did,
        delivery: delivered.hash(),
        nonce: NONCE,
        evidence: Vec::new(),
        amount: delivered.document.amount,
        accepted_at: stranger.now(),
    };
    let sign = |acceptance: Acceptance, by: &Stranger| Message::Acceptance(Signed::new(acceptance, by.signer.as_ref()));
    for change in [
        (|a: &mut Acceptance| a.amount = MicroUsd(0)) as fn(&mut Acceptance),
        |a| a.amount = MicroUsd(a.amount.0 + 1),
        |a| a.nonce = Sha256::of(b"another"),
        |a| a.delivery = Sha256::of(b"another"),
        |a| a.contractor = a.client,
    ] {
        let mut changed = acceptance.clone();
        change(&mut changed);
        let said = refusal(client.exchange(sign(changed, &stranger)).await);
        assert!(matches!(said.code, Code::Forged | Code::Invalid), "{said}");
    }
    let said = refusal(client.exchange(sign(acceptance.clone(), &Stranger::new(2))).await);
    assert_eq!(said.code, Code::Forged, "{said}");
    let owed = async || seller.earnings().await.owed_to_us_micro_usd;
    assert_eq!(owed().await, 0);

    let first = client.exchange(sign(acceptance.clone(), &stranger)).await.unwrap();
    assert!(matches!(&first, Message::Countersignature(_)));
    assert_eq!(client.exchange(sign(acceptance.clone(), &stranger)).await.unwrap(), first);
    let mut later = acceptance;
    later.accepted_at = later.accepted_at.after(Duration::from_secs(1));
    assert_eq!(refusal(client.exchange(sign(later, &stranger)).await).code, Code::Conflict);
    assert_eq!(owed().await, delivered.document.amount.0);

    // A payment of another sum, or by another, is not confirmed; the right one is, once.
    let payment = Payment {
        payment: serde_json::from_value::<tender_base::ids::PaymentId>(json!("01a1fc8d-5ad6-78cf-a26a-44d64a688119"))
            .unwrap(),
        payer: stranger.did(),
        payee: seller.did,
        book: tender_base::Book::Real,
        contracts: vec![call.contract],
        amount: delivered.document.amount,
        method: "cash".to_owned(),
        paid_at: stranger.now(),
    };
    let sign = |payment: Payment, by: &Stranger| Message::Payment(Signed::new(payment, by.signer.as_ref()));
    for change in [
        (|p: &mut Payment| p.amount = MicroUsd(1)) as fn(&mut Payment),
        |p| p.contracts.clear(),
        |p| p.contracts.push(p.contracts[0]),
        |p| p.book = tender_base::Book::Demo,
    ] {
        let mut changed = payment.clone();
        change(&mut changed);
        refusal(client.exchange(sign(changed, &stranger)).await);
    }
    refusal(client.exchange(sign(payment.clone(), &Stranger::new(2))).await);
    assert_eq!(owed().await, delivered.document.amount.0);
    let first = client.exchange(sign(payment.clone(), &stranger)).await.unwrap();
    assert!(matches!(&first, Message::PaymentConfirmation(_)));
    let _ = client.exchange(sign(payment, &stranger)).await;
    let earnings = seller.earnings().await;
    assert_eq!((earnings.owed_to_us_micro_usd, earnings.paid_to_us_micro_usd), (0, delivered.document.amount.0));
}
