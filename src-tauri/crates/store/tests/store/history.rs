//! What a contractor's earlier results tell.

use crate::documents::{Trade, at, client, contractor};
use tender_base::{
    Book, ContractState as S, JobKind, Role, Sha256, Signed, Signer as _,
    documents::{Acceptance, Evidence, Message, Rejection, Statistic},
    ledger::{Account, Entry},
};
use tender_store::{Event, Store};

fn evidence(value: f64) -> Vec<Evidence> {
    vec![Evidence { statistic: Statistic::FreivaldsResidual, value, n: 20, seed: Sha256::of(b"") }]
}

/// A result that was accepted, after a check or on trust.
async fn accepted(store: &Store, checked: bool) {
    let mut trade = Trade::new(Role::Client, None, 5);
    if checked {
        let document = Acceptance { evidence: evidence(0.1), ..trade.acceptance.document.clone() };
        trade.acceptance = Signed::new(document, &client());
    }
    store.apply(trade.until_accepted(), vec![]).await.unwrap();
}

/// A result that was rejected; the dispute was not resolved.
async fn rejected(store: &Store) {
    let trade = Trade::new(Role::Client, None, 5);
    let mut events = trade.until_accepted();
    events.pop();
    let rejection = Rejection {
        contract: trade.contract,
        client: client().did(),
        contractor: contractor().did(),
        delivery: trade.delivery.hash(),
        nonce: trade.acceptance.document.nonce,
        evidence: evidence(9.0),
        reason: "wrong".to_owned(),
        rejected_at: at(30),
    };
    let moved = |from, to, documents: Vec<Message>, entries| Event::ContractMoved {
        contract: trade.contract,
        from,
        to,
        documents,
        entries,
        reason: None,
        expires_at: None,
        at: at(50),
    };
    let freed = Entry::transfer(Book::Real, Some(trade.contract), Account::Unreserved, Account::Reserved, trade.amount);
    events.push(moved(
        S::Delivered,
        S::Rejected,
        vec![Message::Rejection(Signed::new(rejection, &client()))],
        vec![freed],
    ));
    events.push(moved(S::Rejected, S::Failed, Vec::new(), Vec::new()));
    store.apply(events, vec![]).await.unwrap();
}

#[tokio::test]
async fn checked_results_count_until_one_was_wrong_even_after_its_dispute_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let did = contractor().did();
    let count = async |kind, model: Option<&Sha256>, most| store.valid_in_a_row(&did, kind, model, most).await.unwrap();
    assert_eq!(count(JobKind::Gemm, None, 20).await, 0);
    for checked in [true, false, true, true, false] {
        accepted(&store, checked).await;
    }
    assert_eq!(count(JobKind::Gemm, None, 20).await, 3, "what was taken on trust proves nothing");
    assert_eq!(count(JobKind::Gemm, None, 2).await, 2);
    assert_eq!(count(JobKind::Wgsl, None, 20).await, 0, "each kind of work has its own record");
    assert_eq!(count(JobKind::Gemm, Some(&Sha256::of(b"m")), 20).await, 0, "and each model");
    let other = client().did();
    assert_eq!(store.valid_in_a_row(&other, JobKind::Gemm, None, 20).await.unwrap(), 0);
    rejected(&store).await;
    assert_eq!(count(JobKind::Gemm, None, 20).await, 0);
    accepted(&store, true).await;
    assert_eq!(count(JobKind::Gemm, None, 20).await, 1);
}
