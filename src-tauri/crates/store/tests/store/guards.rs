//! Limits hold, whoever comes at the same time.

use crate::documents::{Trade, at, client};
use std::sync::Arc;
use tender_base::{Book, Code, ContractState as S, MicroUsd, Role, Signer, ledger::Account};
use tender_store::{Event, Guard, Limit, Store, StoreError};
use tokio::task::JoinSet;

/// Applies all requests at once; how many passed, and the refusals.
async fn all_at_once(store: &Store, requests: Vec<(Vec<Event>, Vec<Guard>)>) -> (usize, Vec<StoreError>) {
    let mut running = JoinSet::new();
    for (events, guards) in requests {
        let store = store.clone();
        running.spawn(async move { store.apply(events, guards).await });
    }
    let (mut passed, mut refused) = (0, Vec::new());
    for result in running.join_all().await {
        match result {
            Ok(_) => passed += 1,
            Err(error) => refused.push(error),
        }
    }
    (passed, refused)
}

async fn store() -> (tempfile::TempDir, Arc<Store>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    (dir, Arc::new(store))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daily_cap_counts_what_is_spent_and_reserved() {
    let (_dir, store) = store().await;
    let spent = Trade::new(Role::Client, None, 300);
    store.apply(spent.until_accepted(), vec![]).await.unwrap();
    let guard = Guard::DailySpend {
        book: Book::Real,
        day_start: at(0).start_of_day(),
        cap: MicroUsd(1000),
        amount: MicroUsd(100),
    };
    let requests = (0..20)
        .map(|_| {
            let trade = Trade::new(Role::Client, None, 100);
            (vec![trade.opened(), trade.moved(S::Proposed, S::Awarded)], vec![guard])
        })
        .collect();
    let (passed, refused) = all_at_once(&store, requests).await;
    assert_eq!(passed, 7);
    assert_eq!(store.balance(Book::Real, &Account::Reserved).await.unwrap(), MicroUsd(700));
    let expected = StoreError::OverLimit { limit: Limit::DailySpend, wanted: 1100, allowed: 1000 };
    assert!(refused.iter().all(|error| *error == expected), "{refused:?}");
    assert_eq!(expected.problem().code, Code::OverLimit);
    assert!(expected.to_string().contains("$0.001"), "{expected}");
    // Tomorrow the expense no longer counts, the reservations still do.
    let tomorrow = Guard::DailySpend {
        book: Book::Real,
        day_start: at(86_400_000).start_of_day(),
        cap: MicroUsd(1000),
        amount: MicroUsd(300),
    };
    store.apply(vec![], vec![tomorrow]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peers_credit_counts_what_it_owes_and_what_is_in_work() {
    let (_dir, store) = store().await;
    store.apply(Trade::new(Role::Contractor, None, 300).until_accepted(), vec![]).await.unwrap();
    let guard =
        Guard::PeerCredit { book: Book::Real, peer: client().did(), limit: MicroUsd(1000), amount: MicroUsd(100) };
    let trades: Vec<Trade> = (0..20).map(|_| Trade::new(Role::Contractor, None, 100)).collect();
    store.apply(trades.iter().map(Trade::opened).collect(), vec![]).await.unwrap();
    let requests = trades.iter().map(|trade| (vec![trade.moved(S::Proposed, S::Awarded)], vec![guard])).collect();
    let (passed, refused) = all_at_once(&store, requests).await;
    assert_eq!(passed, 7);
    assert!(refused.iter().all(|error| matches!(error, StoreError::OverLimit { limit: Limit::PeerCredit(_), .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_and_holds_are_never_given_twice() {
    let (_dir, store) = store().await;
    let open = |guard: Guard| {
        (0..12).map(|_| (vec![Trade::new(Role::Contractor, None, 1).opened()], vec![guard])).collect::<Vec<_>>()
    };
    let (passed, refused) =
        all_at_once(&store, open(Guard::PeerHolds { peer: client().did(), limit: 2, now: at(10) })).await;
    assert_eq!(passed, 2);
    assert_eq!(refused[0].problem().code, Code::TooMany);
    let (passed, refused) = all_at_once(&store, open(Guard::Slots { text: false, limit: 4, now: at(10) })).await;
    assert_eq!(passed, 2, "two slots were held already");
    assert_eq!(refused[0].problem().code, Code::Unavailable);
    let texts = Guard::Slots { text: true, limit: 1, now: at(10) };
    store.apply(vec![], vec![texts]).await.unwrap();
    // Proposals hold nothing once they have run out.
    let (passed, _) = all_at_once(&store, open(Guard::Slots { text: false, limit: 4, now: at(30_001) })).await;
    assert_eq!(passed, 12, "what is opened here has run out as well at that time");
}

/// Requests that wait together share a commit, and are all refused or kept on their own.
#[tokio::test]
async fn concurrent_requests_share_commits() {
    let (_dir, store) = store().await;
    let before = store.writer_counts();
    let requests = (0..200)
        .map(|n| {
            let value = serde_json::json!(n);
            (vec![Event::SettingChanged { key: format!("key {n}"), value, at: at(0) }], vec![])
        })
        .collect();
    let (passed, _) = all_at_once(&store, requests).await;
    let after = store.writer_counts();
    assert_eq!(passed, 200);
    assert_eq!(after.requests - before.requests, 200);
    assert!(after.commits - before.commits <= 20, "{after:?}");
    assert_eq!(store.settings().await.unwrap().len(), 200);
}
