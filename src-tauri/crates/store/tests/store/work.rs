//! The log of work done, and of the time in which it could be bought.

use crate::documents::{Trade, at};
use tender_base::{Book, ContractState, JobKind, Role, Timestamp};
use tender_store::{Event, Place, Refused, Store, WorkRecord};
use uuid::Uuid;

fn text(id: Uuid, place: Place, ms: i64) -> WorkRecord {
    WorkRecord {
        id,
        place,
        book: Book::Real,
        kind: JobKind::Generate,
        model: Some("SmolLM2-135M-Instruct".to_owned()),
        runtime: None,
        units: 120,
        prompt_tokens: Some(20),
        wall_ms: 2_000,
        milliwatts: Some(310_500),
        ended_at: at(ms),
    }
}

async fn log(store: &Store, work: WorkRecord) {
    store.apply(vec![Event::WorkDone { work }], vec![]).await.unwrap();
}

#[tokio::test]
async fn work_is_logged_once_and_sold_work_counts_when_it_is_owed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let trade = Trade::new(Role::Contractor, None, 5);
    let mut events = trade.until_accepted();
    let accepted = events.pop().unwrap();
    store.apply(events, vec![]).await.unwrap();
    let sold = text(trade.contract.uuid(), Place::Sold, 40);
    let own = text(Uuid::from_u128(1), Place::Own, 30);
    for work in [&sold, &own, &sold] {
        log(&store, work.clone()).await;
    }
    let logged = store.work_since(at(0)).await.unwrap();
    assert_eq!(logged.iter().map(|logged| &logged.work).collect::<Vec<_>>(), [&own, &sold], "the oldest first");
    assert!(logged.iter().all(|logged| !logged.owed));
    store.apply(vec![accepted], vec![]).await.unwrap();
    let logged = store.work_since(at(35)).await.unwrap();
    assert!(matches!(&logged[..], [only] if only.owed && only.work == sold), "{logged:?}");

    let fresh = tempfile::tempdir().unwrap();
    let replayed = store.replay_into(fresh.path()).await.unwrap();
    assert_eq!(replayed.work_since(at(0)).await.unwrap(), store.work_since(at(0)).await.unwrap());
    assert_eq!(replayed.table_digests().await.unwrap(), store.table_digests().await.unwrap());
}

#[tokio::test]
async fn a_day_s_text_is_the_owner_s_wherever_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    log(&store, text(Uuid::from_u128(1), Place::Own, 10)).await;
    log(&store, text(Uuid::from_u128(2), Place::Bought, 20)).await;
    log(&store, text(Uuid::from_u128(3), Place::Sold, 20)).await;
    log(&store, WorkRecord { book: Book::Demo, ..text(Uuid::from_u128(4), Place::Own, 20) }).await;
    let embedded = WorkRecord { kind: JobKind::Embed, prompt_tokens: None, ..text(Uuid::from_u128(5), Place::Own, 20) };
    log(&store, embedded).await;
    assert_eq!(store.text_tokens_since(Book::Real, at(0)).await.unwrap(), 200);
    assert_eq!(store.text_tokens_since(Book::Real, at(11)).await.unwrap(), 100);
    assert_eq!(store.text_tokens_since(Book::Demo, at(0)).await.unwrap(), 100);
    assert_eq!(store.text_tokens_since(Book::Real, at(21)).await.unwrap(), 0);
}

#[tokio::test]
async fn spans_of_offering_grow_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let offered = async |from, until| {
        store.apply(vec![Event::Offered { from: at(from), until: at(until) }], vec![]).await.unwrap();
    };
    offered(0, 100).await;
    offered(100, 200).await;
    offered(100, 200).await;
    offered(300, 300).await;
    offered(400, 450).await;
    assert_eq!(store.offered_since(at(0)).await.unwrap(), [(at(0), at(200)), (at(400), at(450))]);
    assert_eq!(store.offered_since(at(200)).await.unwrap(), [(at(400), at(450))]);
}

#[tokio::test]
async fn a_line_of_the_trade_knows_what_was_promised_and_when_it_was_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let (sold, open) = (Trade::new(Role::Contractor, None, 3), Trade::new(Role::Contractor, None, 4));
    store.apply(sold.until_accepted(), vec![]).await.unwrap();
    store.apply(open.until_accepted()[..1].to_vec(), vec![]).await.unwrap();
    let (lines, more) = store.trade_lines(sold.book, at(0)).await.unwrap();
    assert!(!more);
    assert_eq!(lines.len(), 1, "what was not delivered is no line");
    let proposal = &sold.proposal.document;
    assert_eq!((lines[0].contract, lines[0].proposed), (sold.contract, Some(proposal.amount)));
    assert_eq!(lines[0].estimated_ms, Some(proposal.estimated_ms));
    let accepted = lines[0].accepted_at.unwrap();
    assert!(lines[0].delivered_at <= accepted);
    assert_eq!(store.trade_lines(sold.book, accepted).await.unwrap().0.len(), 1, "accepted then");
    let later = Timestamp::from_millis(accepted.millis() + 1);
    assert!(store.trade_lines(sold.book, later).await.unwrap().0.is_empty());
    assert!(store.trade_lines(Book::Demo, at(0)).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn refusals_add_up_by_day_and_are_forgotten_after_400() {
    const DAY: i64 = 86_400_000;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let refuse = async |at: Timestamp, counts: &[(Refused, u64)]| {
        let counts = counts.iter().copied().collect();
        store.apply(vec![Event::CallsRefused { counts, at }], vec![]).await.unwrap();
    };
    refuse(at(1), &[(Refused::SlotsTaken, 2), (Refused::Guard, 1)]).await;
    refuse(at(5), &[(Refused::SlotsTaken, 3)]).await;
    refuse(at(DAY), &[(Refused::NoSuchModel, 7)]).await;
    let days = store.demand_since(Book::Real, at(0)).await.unwrap();
    let counted: Vec<Vec<(Refused, u64)>> =
        days.values().map(|day| day.refused.iter().map(|(why, n)| (*why, *n)).collect()).collect();
    assert_eq!(counted, [vec![(Refused::Guard, 1), (Refused::SlotsTaken, 5)], vec![(Refused::NoSuchModel, 7)]]);
    assert_eq!(store.demand_since(Book::Real, at(DAY)).await.unwrap().len(), 1);
    refuse(at(401 * DAY), &[(Refused::Other, 1)]).await;
    assert_eq!(store.demand_since(Book::Real, at(0)).await.unwrap().len(), 2, "the first day is forgotten");
}

#[tokio::test]
async fn proposals_count_by_what_became_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let (accepted, mut open) = (Trade::new(Role::Contractor, None, 3), Trade::new(Role::Contractor, None, 4));
    // Called for before it was taken, and once more after: the same job all the same.
    let (early, late) = (Trade::new(Role::Contractor, None, 3), Trade::new(Role::Contractor, None, 3));
    // Another job asks for something else, be it only for its result at another time.
    open.call.document.job.constraints.deadline = at(61_000);
    let bought = Trade::new(Role::Client, None, 5);
    store.apply(early.until_accepted()[..1].to_vec(), vec![]).await.unwrap();
    store.apply(accepted.until_accepted(), vec![]).await.unwrap();
    store.apply(open.until_accepted()[..1].to_vec(), vec![]).await.unwrap();
    store.apply(late.until_accepted()[..1].to_vec(), vec![]).await.unwrap();
    let lapsed = |contract| Event::ContractMoved {
        contract,
        from: ContractState::Proposed,
        to: ContractState::Lapsed,
        documents: Vec::new(),
        entries: Vec::new(),
        reason: None,
        expires_at: None,
        at: at(40),
    };
    store.apply([&early, &open, &late].map(|trade| lapsed(trade.contract)).to_vec(), vec![]).await.unwrap();
    store.apply(bought.until_accepted()[..1].to_vec(), vec![]).await.unwrap();
    let days = store.demand_since(Book::Real, at(0)).await.unwrap();
    let day = days.values().next().unwrap();
    assert_eq!((days.len(), day.quoted, day.won, day.delivered), (1, 2, 1, 1));
    assert_eq!(day.lost, [("expired".to_owned(), 1)].into());
}
