//! What events do to what is read.

use crate::documents::{Counting, NOON, Trade, at, client, contractor, paid, payment, spec};
use serde_json::json;
use tender_base::{
    BlobRef, Book, Code, ContractState, JobState, MicroUsd, Problem, Role, Sha256, Signer, Timestamp,
    documents::Message,
    ids::{InvitationId, JobId},
    ledger::{Account, Entry, Posting},
};
use tender_store::{ContractFilter, Event, InvitationRecord, JobFilter, PeerRecord, Store, StoreError};
use uuid::Uuid;

async fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    (dir, store)
}

fn job_moved(job: JobId, state: JobState, ms: i64) -> Event {
    Event::JobMoved {
        job,
        state,
        reason: None,
        output: None,
        charged: None,
        checked: None,
        entries: Vec::new(),
        at: at(ms),
    }
}

#[tokio::test]
async fn what_is_reserved_for_a_job_itself_is_given_back_by_its_end_and_by_nothing_else() {
    let (_dir, store) = store().await;
    let reserved = async || store.balance(Book::Real, &Account::Reserved).await.unwrap();
    for (end, hires) in [(JobState::Completed, 1), (JobState::Failed, 2), (JobState::Cancelled, 0)] {
        let job = JobId::new(&Counting, &Counting);
        let submitted =
            Event::JobSubmitted { job, book: Book::Real, spec: spec(), peers_only: false, submitted_at: at(0) };
        store.apply(vec![submitted], vec![]).await.unwrap();
        for _ in 0..hires {
            let amount = MicroUsd(70);
            let entry = Entry::transfer(Book::Real, Some(job.hire()), Account::Reserved, Account::Unreserved, amount);
            let running = match job_moved(job, JobState::Running, 1) {
                Event::JobMoved { job, state, at, .. } => Event::JobMoved {
                    job,
                    state,
                    reason: None,
                    output: None,
                    charged: None,
                    checked: None,
                    entries: vec![entry],
                    at,
                },
                other => other,
            };
            store.apply(vec![running], vec![]).await.unwrap();
        }
        assert_eq!(reserved().await, MicroUsd(70 * hires));
        let held = store.release_of(job).await.unwrap().map(|entry| entry.postings[0].amount);
        assert_eq!(held, (hires > 0).then_some(MicroUsd(70 * hires)));
        store.apply(vec![job_moved(job, end, 2)], vec![]).await.unwrap();
        assert_eq!((reserved().await, store.release_of(job).await.unwrap()), (MicroUsd::ZERO, None));
    }
    assert!(store.ledger_balances().await.unwrap());
}

#[tokio::test]
async fn a_trade_is_remembered_whole_and_its_receipt_verifies() {
    let (_dir, store) = store().await;
    let job = JobId::new(&Counting, &Counting);
    let trade = Trade::new(Role::Client, Some(job), 420);
    store
        .apply(
            vec![Event::JobSubmitted { job, book: Book::Real, spec: spec(), peers_only: false, submitted_at: at(0) }],
            vec![],
        )
        .await
        .unwrap();
    store.apply(trade.until_accepted(), vec![]).await.unwrap();
    assert_eq!(store.receipt(trade.contract).await.unwrap(), None, "the countersignature is missing");
    let last = store.apply(vec![trade.countersigned()], vec![]).await.unwrap();

    let receipt = store.receipt(trade.contract).await.unwrap().unwrap();
    receipt.verify().unwrap();

    // The same document again is harmless, and not recorded twice; another of its type is refused.
    assert_eq!(store.apply(vec![trade.countersigned()], vec![]).await.unwrap(), last);
    let other = tender_base::Signed::new(
        tender_base::documents::Countersignature { signed_at: at(41), ..trade.countersignature.document.clone() },
        &contractor(),
    );
    let other = Message::Countersignature(other);
    let error = store
        .apply(vec![Event::ContractDocumented { contract: trade.contract, document: other, at: at(61) }], vec![])
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");

    let record = store.contract(trade.contract).await.unwrap().unwrap();
    use ContractState as S;
    let line: Vec<_> = record.times.iter().map(|(state, _)| *state).collect();
    assert_eq!(line, [S::Proposed, S::Awarded, S::Running, S::Delivered, S::Accepted]);
    assert_eq!(record.amount, Some(MicroUsd(420)));
    assert_eq!(record.documents.len(), 6);
    assert_eq!(record.output, Some(trade.delivery.document.output));

    let filter = ContractFilter { job: Some(job), states: vec![S::Accepted], ..ContractFilter::default() };
    let listed = store.contracts(filter).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].documents.is_empty() && listed[0].times.len() == 5);

    let peer = contractor().did();
    assert_eq!(store.balance(Book::Real, &Account::Reserved).await.unwrap(), MicroUsd::ZERO);
    assert_eq!(store.balance(Book::Real, &Account::Payable(peer)).await.unwrap(), MicroUsd(-420));
    assert_eq!(store.balance(Book::Demo, &Account::Payable(peer)).await.unwrap(), MicroUsd::ZERO);
    let totals = store.totals(Book::Real, at(0).start_of_day()).await.unwrap();
    assert_eq!((totals.earned, totals.spent), (MicroUsd::ZERO, MicroUsd(420)));
    assert!(store.ledger_balances().await.unwrap());
    assert_eq!(store.entries(Book::Real, 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_move_applies_once() {
    let (_dir, store) = store().await;
    let trade = Trade::new(Role::Contractor, None, 5);
    store.apply(trade.until_accepted(), vec![]).await.unwrap();
    let again = trade.moved(ContractState::Delivered, ContractState::Accepted);
    let error = store.apply(vec![again], vec![]).await.unwrap_err();
    let expected = StoreError::Stale {
        what: format!("contract {}", trade.contract),
        expected: "delivered".to_owned(),
        found: "accepted".to_owned(),
    };
    assert_eq!(error, expected);
    assert_eq!(store.balance(Book::Real, &Account::Income).await.unwrap(), MicroUsd(-5));
}

#[tokio::test]
async fn a_request_is_all_or_nothing() {
    let (_dir, store) = store().await;
    let trade = Trade::new(Role::Contractor, None, 5);
    let mut events = trade.until_accepted();
    events.push(trade.moved(ContractState::Delivered, ContractState::Accepted));
    assert!(matches!(store.apply(events, vec![]).await, Err(StoreError::Stale { .. })));
    assert_eq!(store.contract(trade.contract).await.unwrap(), None);
    assert_eq!(store.last_sequence().await.unwrap(), 0);
    assert!(store.balances(Book::Real).await.unwrap().is_empty());
}

#[tokio::test]
async fn entries_that_do_not_balance_or_name_another_contract_are_refused() {
    let (_dir, store) = store().await;
    let (trade, other) = (Trade::new(Role::Contractor, None, 5), Trade::new(Role::Contractor, None, 5));
    store.apply(vec![trade.opened()], vec![]).await.unwrap();
    let with = |entry: Entry| {
        let mut event = trade.moved(ContractState::Proposed, ContractState::Awarded);
        if let Event::ContractMoved { entries, .. } = &mut event {
            *entries = vec![entry];
        }
        event
    };
    let transfer = |book, contract| Entry::transfer(book, contract, Account::Expense, Account::Income, MicroUsd(1));
    let one_sided = Entry {
        book: Book::Real,
        contract: None,
        postings: vec![Posting { account: Account::Income, amount: MicroUsd(-1) }],
    };
    let huge = Entry::transfer(Book::Real, None, Account::Expense, Account::Income, MicroUsd(i64::MAX));
    for entry in [one_sided, huge, transfer(Book::Demo, None), transfer(Book::Real, Some(other.contract))] {
        let error = store.apply(vec![with(entry)], vec![]).await.unwrap_err();
        assert_eq!(error.problem().code, Code::Invalid, "{error}");
    }
    let foreign =
        Event::ContractDocumented { contract: trade.contract, document: Message::Award(other.award), at: at(1) };
    assert_eq!(store.apply(vec![foreign], vec![]).await.unwrap_err().problem().code, Code::Invalid);
    assert_eq!(store.contract(trade.contract).await.unwrap().unwrap().state, ContractState::Proposed);
}

#[tokio::test]
async fn a_payment_settles_its_contracts_once() {
    let (_dir, store) = store().await;
    let trades = [Trade::new(Role::Contractor, None, 5), Trade::new(Role::Contractor, None, 7)];
    for trade in &trades {
        store.apply(trade.until_accepted(), vec![]).await.unwrap();
    }
    let both = [&trades[0], &trades[1]];
    let (wrong, _) = payment(&both, MicroUsd(11));
    let refused = store.apply(vec![paid(Role::Contractor, &wrong, None)], vec![]).await.unwrap_err();
    assert!(refused.to_string().contains("$0.000012"), "{refused}");

    let (right, confirmation) = payment(&both, MicroUsd(12));
    store.apply(vec![paid(Role::Contractor, &right, None)], vec![]).await.unwrap();
    for trade in &trades {
        let record = store.contract(trade.contract).await.unwrap().unwrap();
        assert_eq!((record.state, record.payment), (ContractState::Settled, Some(right.document.payment)));
    }
    assert_eq!(store.balance(Book::Real, &Account::Receivable(client().did())).await.unwrap(), MicroUsd::ZERO);
    let again = store.apply(vec![paid(Role::Contractor, &right, None)], vec![]).await.unwrap_err();
    assert!(matches!(again, StoreError::Conflict { .. }), "{again}");

    let confirmed = Event::PaymentConfirmed { confirmation: confirmation.clone(), at: at(120) };
    let last = store.apply(vec![confirmed.clone()], vec![]).await.unwrap();
    assert_eq!(store.apply(vec![confirmed], vec![]).await.unwrap(), last);
    let known = store.payment(right.document.payment).await.unwrap().unwrap();
    assert_eq!(known.confirmation, Some(confirmation));
    assert_eq!(store.payments(Book::Real, 10).await.unwrap().len(), 1);

    let day = Timestamp::from_millis(NOON).start_of_day();
    let rows = store.earnings(Book::Real, Role::Contractor, day, at(86_400_000)).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].day, day);
    assert_eq!((rows[0].delivered, rows[0].owed, rows[0].paid), (MicroUsd(12), MicroUsd(12), MicroUsd(12)));
    assert_eq!(rows[0].accepted_count, 2);
    assert!(store.earnings(Book::Real, Role::Client, day, at(86_400_000)).await.unwrap().is_empty());
    let totals = store.contract_totals(Book::Real, Role::Contractor).await.unwrap();
    assert_eq!((totals.len(), totals[0].count, totals[0].amount), (1, 2, MicroUsd(12)));
}

#[tokio::test]
async fn jobs_are_listed_newest_first_in_pages_and_end_once() {
    let (_dir, store) = store().await;
    let jobs: Vec<JobId> = (0..5).map(|_| JobId::new(&Counting, &Counting)).collect();
    for job in &jobs {
        let event =
            Event::JobSubmitted { job: *job, book: Book::Demo, spec: spec(), peers_only: false, submitted_at: at(0) };
        store.apply(vec![event], vec![]).await.unwrap();
    }
    let page = |before, limit| JobFilter { before, limit, book: Some(Book::Demo), ..JobFilter::default() };
    let first = store.jobs(page(None, 2)).await.unwrap();
    let second = store.jobs(page(Some(first[1].id), 10)).await.unwrap();
    let listed: Vec<JobId> = first.iter().chain(&second).map(|job| job.id).collect();
    assert_eq!(listed, jobs.iter().rev().copied().collect::<Vec<_>>());
    assert!(store.jobs(JobFilter { book: Some(Book::Real), ..JobFilter::default() }).await.unwrap().is_empty());

    let job = jobs[0];
    let output = BlobRef::of(b"result");
    let reason = Problem::new(Code::WorkFailed, "why", "do");
    let done = Event::JobMoved {
        job,
        state: JobState::Completed,
        reason: Some(reason.clone()),
        output: Some(output),
        charged: Some(MicroUsd(3)),
        checked: Some(json!({"passed": true})),
        entries: Vec::new(),
        at: at(9),
    };
    let decided = Event::JobDecided { job, decision: json!({"chosen": 0.1}) };
    store.apply(vec![decided, job_moved(job, JobState::Running, 5), done], vec![]).await.unwrap();
    let record = store.job(job).await.unwrap().unwrap();
    assert_eq!((record.state, record.output, record.charged), (JobState::Completed, Some(output), Some(MicroUsd(3))));
    assert_eq!((record.decision, record.checked), (Some(json!({"chosen": 0.1})), Some(json!({"passed": true}))));
    assert_eq!(record.reason, Some(reason));
    let line = [(JobState::Queued, at(0)), (JobState::Running, at(5)), (JobState::Completed, at(9))];
    assert_eq!(record.times, line);
    let error = store.apply(vec![job_moved(job, JobState::Failed, 10)], vec![]).await.unwrap_err();
    assert!(matches!(error, StoreError::Stale { .. }));
    let missing = JobId::new(&Counting, &Counting);
    let error = store.apply(vec![job_moved(missing, JobState::Failed, 10)], vec![]).await.unwrap_err();
    assert_eq!(error.problem().code, Code::NotFound);
}

#[tokio::test]
async fn peers_come_by_invitation_and_go() {
    let (_dir, store) = store().await;
    let (did, secret) = (client().did(), Sha256::of(b"secret"));
    let id = InvitationId::new(&Counting, &Counting);
    let record = InvitationRecord {
        id,
        secret_sha256: secret,
        credit_limit: MicroUsd(100),
        expires_at: at(1000),
        used_by: None,
    };
    store.apply(vec![Event::InvitationIssued { record: record.clone() }], vec![]).await.unwrap();
    assert_eq!(store.invitation(&secret).await.unwrap(), Some(record));
    let used = |ms| Event::InvitationUsed { invitation: id, by: did, at: at(ms) };
    assert_eq!(store.apply(vec![used(1001)], vec![]).await.unwrap_err().problem().code, Code::Expired);
    let peer = PeerRecord {
        did,
        name: "Ada".to_owned(),
        address: None,
        credit_limit: MicroUsd(100),
        paired_at: at(1),
        removed: false,
        by_key: false,
    };
    store.apply(vec![used(1000), Event::PeerPaired { peer: peer.clone() }], vec![]).await.unwrap();
    assert_eq!(store.apply(vec![used(1000)], vec![]).await.unwrap_err().problem().code, Code::Conflict);
    assert_eq!(store.invitation(&secret).await.unwrap().unwrap().used_by, Some(did));

    let address = Some("https://ada.example:7410".to_owned());
    let changed = Event::PeerChanged { did, credit_limit: Some(MicroUsd(7)), address: address.clone(), name: None };
    store.apply(vec![changed.clone()], vec![]).await.unwrap();
    let expected = PeerRecord { credit_limit: MicroUsd(7), address, ..peer.clone() };
    assert_eq!(store.peer(&did).await.unwrap(), Some(expected));
    store.apply(vec![Event::PeerRemoved { did, at: at(2) }], vec![]).await.unwrap();
    assert!(store.peer(&did).await.unwrap().unwrap().removed);
    assert_eq!(store.apply(vec![changed], vec![]).await.unwrap_err().problem().code, Code::NotFound);
    store.apply(vec![Event::PeerPaired { peer: peer.clone() }], vec![]).await.unwrap();
    assert_eq!(store.peers().await.unwrap(), [peer]);
    let negative = Event::PeerChanged { did, credit_limit: Some(MicroUsd(-1)), address: None, name: None };
    assert_eq!(store.apply(vec![negative], vec![]).await.unwrap_err().problem().code, Code::Invalid);
}

#[tokio::test]
async fn identity_is_made_once_and_settings_come_and_go() {
    let (_dir, store) = store().await;
    assert_eq!(store.identity().await.unwrap(), None);
    let created = Event::IdentityCreated { did: client().did(), data_id: Uuid::from_u128(9) };
    store.apply(vec![created.clone()], vec![]).await.unwrap();
    assert_eq!(store.apply(vec![created], vec![]).await.unwrap_err().problem().code, Code::Conflict);
    assert_eq!(store.identity().await.unwrap(), Some(client().did()));
    assert_eq!(store.data_id().await.unwrap(), Some(Uuid::from_u128(9)));

    let set = |value| Event::SettingChanged { key: "price".to_owned(), value, at: at(0) };
    store.apply(vec![set(json!({"micro_usd": 1.5}))], vec![]).await.unwrap();
    assert_eq!(store.setting("price").await.unwrap(), Some(json!({"micro_usd": 1.5})));
    assert_eq!(store.settings().await.unwrap().len(), 1);
    store.apply(vec![set(json!(null))], vec![]).await.unwrap();
    assert_eq!(store.setting("price").await.unwrap(), None);
}

#[tokio::test]
async fn subscribers_see_committed_events_in_order_and_can_catch_up() {
    let (_dir, store) = store().await;
    let mut live = store.subscribe();
    let set = |n: u32| Event::SettingChanged { key: "n".to_owned(), value: json!(n), at: at(0) };
    let (a, b) = tokio::join!(store.apply(vec![set(1), set(2)], vec![]), store.apply(vec![set(3)], vec![]));
    assert_eq!((a.unwrap(), b.unwrap()), (2, 3));
    for n in 1..=3 {
        let (seq, event) = live.recv().await.unwrap();
        assert_eq!((seq, &*event), (u64::from(n), &set(n)));
    }
    let missed = store.events_after(1, 10).await.unwrap();
    let missed: Vec<_> = missed.into_iter().map(|(seq, _, event)| (seq, event)).collect();
    assert_eq!(missed, [(2, set(2)), (3, set(3))]);
    assert_eq!(store.events_after(0, 1).await.unwrap().len(), 1);
    assert!(store.events_after(u64::MAX, 10).await.unwrap().is_empty());
}
