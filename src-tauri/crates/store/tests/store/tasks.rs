//! Tasks of A2A clients and their webhooks.

use crate::documents::{Trade, at, client};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tender_base::{Code, ContractState as S, MicroUsd, Role, Sha256, Signer, signed::KeySigner};
use tender_store::{
    Event, Guard, Limit, PeerRecord, Store, StoreError, TaskFilter, TaskHead, TaskMessage, TaskState, TaskStep,
};

async fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("lived")).await.unwrap();
    (dir, store)
}

/// What is recorded of a task; `state` none leaves it as it is.
struct Said<'a> {
    task: &'a str,
    owner: &'a str,
    context: &'a str,
    once: Option<&'a str>,
    expected: u64,
    bodies: Vec<Value>,
    state: Option<TaskState>,
    at: i64,
}

impl Default for Said<'_> {
    fn default() -> Self {
        Self {
            task: "a",
            owner: "one",
            context: "c",
            once: None,
            expected: 0,
            bodies: vec![json!("begun")],
            state: Some(TaskState::InputRequired),
            at: 1,
        }
    }
}

impl Said<'_> {
    fn event(self) -> Event {
        Event::TaskRecorded {
            task: self.task.to_owned(),
            owner: self.owner.to_owned(),
            context: self.context.to_owned(),
            once: self.once.map(|key| TaskMessage { key: key.to_owned(), sha256: Sha256::of(key.as_bytes()) }),
            expected: self.expected,
            bodies: self.bodies,
            state: self.state,
            expires_at: Some(at(100)),
            at: at(self.at),
        }
    }

    async fn to(self, store: &Store) -> Result<u64, StoreError> {
        store.apply(vec![self.event()], vec![]).await
    }
}

#[tokio::test]
async fn records_are_numbered_and_a_stale_or_late_one_is_refused() {
    let (dir, store) = store().await;
    Said { bodies: vec![json!("asked"), json!({"status": 1.5})], ..Said::default() }.to(&store).await.unwrap();
    let error = Said::default().to(&store).await.unwrap_err();
    assert!(matches!(&error, StoreError::Stale { found, .. } if found == "input_required with 2"), "{error}");
    // A message alone leaves state and time.
    let more = || Said { expected: 2, bodies: vec![json!("yes")], state: None, at: 2, ..Said::default() };
    more().to(&store).await.unwrap();
    assert!(matches!(more().to(&store).await, Err(StoreError::Stale { .. })));
    let ended = Said { expected: 3, state: Some(TaskState::Canceled), at: 3, ..Said::default() };
    ended.to(&store).await.unwrap();
    let late = Said { expected: 4, ..Said::default() }.to(&store).await.unwrap_err();
    assert!(matches!(&late, StoreError::Stale { found, .. } if found == "canceled with 4"), "{late}");
    assert!(matches!(Said { bodies: vec![], ..Said::default() }.to(&store).await, Err(StoreError::Invalid { .. })));

    let task = store.task("one", "a").await.unwrap().unwrap();
    let steps: Vec<_> = task.steps.into_iter().map(|(_, step)| step).collect();
    let expected = [json!("asked"), json!({"status": 1.5}), json!("yes"), json!("begun")];
    assert_eq!((steps, task.recorded), (expected.map(TaskStep::Recorded).to_vec(), 4));
    assert_eq!((task.state, task.changed_at, task.contract), (TaskState::Canceled, at(3), None));

    let folded = store.replay_into(&dir.path().join("folded")).await.unwrap();
    assert_eq!(folded.table_digests().await.unwrap(), store.table_digests().await.unwrap());
    assert_eq!(folded.task("one", "a").await.unwrap(), store.task("one", "a").await.unwrap());
}

#[tokio::test]
async fn a_message_goes_to_one_task_of_its_owner() {
    let (_dir, store) = store().await;
    Said { once: Some("m"), ..Said::default() }.to(&store).await.unwrap();
    let again = Said { task: "b", once: Some("m"), ..Said::default() }.to(&store).await.unwrap_err();
    assert!(matches!(again, StoreError::Conflict { .. }), "{again}");
    assert_eq!(store.task("one", "b").await.unwrap(), None, "all or nothing");
    Said { task: "b", owner: "two", once: Some("m"), ..Said::default() }.to(&store).await.unwrap();
    let sent = async |owner| store.task_message(owner, "m").await.unwrap().map(|(task, _)| task);
    assert_eq!(sent("one").await.as_deref(), Some("a"));
    assert_eq!(sent("two").await.as_deref(), Some("b"));
    assert_eq!(store.task_message("three", "m").await.unwrap(), None);
}

#[tokio::test]
async fn another_owners_task_is_as_none() {
    let (_dir, store) = store().await;
    Said::default().to(&store).await.unwrap();
    assert_eq!(store.task("two", "a").await.unwrap(), None);
    assert_eq!(store.tasks("two", &TaskFilter { limit: 9, ..TaskFilter::default() }).await.unwrap().total, 0);
    let theirs = Said { owner: "two", expected: 1, ..Said::default() }.to(&store).await.unwrap_err();
    assert!(matches!(theirs, StoreError::NotFound { .. }), "{theirs}");
    let taken = Said { owner: "two", ..Said::default() }.to(&store).await.unwrap_err();
    assert!(matches!(taken, StoreError::Conflict { .. }), "{taken}");

    let error = store.keep_hook("two", "a", "h", json!({}), (0, [8, 9])).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    store.keep_hook("one", "a", "h", json!({"url": "u"}), (1, [8, 9])).await.unwrap();
    store.move_hook("two", "a", "h", (Some(7), false)).await.unwrap();
    store.forget_hook("two", "a", "h").await.unwrap();
    assert!(store.hooks("two", "a").await.unwrap().is_empty());
    assert_eq!(store.open_hooks().await.unwrap()[0].delivered, 1);
}

#[tokio::test]
async fn pages_neither_repeat_nor_hide() {
    let (_dir, store) = store().await;
    for (number, task) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let (context, state) = if number % 2 == 0 { ("even", TaskState::Working) } else { ("odd", TaskState::Failed) };
        // b and c at the same time.
        let time = if number == 2 { 1 } else { i64::try_from(number).unwrap() };
        Said { task, context, state: Some(state), at: time, ..Said::default() }.to(&store).await.unwrap();
    }
    let list = async |filter: TaskFilter| {
        let page = store.tasks("one", &filter).await.unwrap();
        let names: String = page.tasks.iter().map(|task| task.id.as_str()).collect();
        (names, page.more, page.total)
    };
    let all = TaskFilter { limit: 2, ..TaskFilter::default() };
    assert_eq!(list(all.clone()).await, ("ed".to_owned(), true, 5));
    let second = TaskFilter { after: Some((at(3), "d".to_owned())), ..all.clone() };
    // A new task comes first and moves nothing.
    Said { task: "f", at: 9, ..Said::default() }.to(&store).await.unwrap();
    assert_eq!(list(second).await, ("cb".to_owned(), true, 6));
    assert_eq!(
        list(TaskFilter { after: Some((at(1), "b".to_owned())), ..all.clone() }).await,
        ("a".to_owned(), false, 6)
    );
    let wide = TaskFilter { limit: 9, ..TaskFilter::default() };
    assert_eq!(list(TaskFilter { context: Some("odd".to_owned()), ..wide.clone() }).await, ("db".to_owned(), false, 2));
    assert_eq!(list(TaskFilter { state: Some(TaskState::Working), ..wide.clone() }).await.0, "eca");
    assert_eq!(list(TaskFilter { since: Some(at(3)), ..wide }).await.0, "fed");
}

#[tokio::test]
async fn a_sold_contract_is_a_task_from_its_award_to_its_end() {
    let (dir, store) = store().await;
    let owner = client().did().to_string();
    let trade = Trade::new(Role::Contractor, None, 5);
    let id = trade.contract.to_string();
    let states = [
        (S::Proposed, S::Awarded, TaskState::Submitted),
        (S::Awarded, S::Running, TaskState::Working),
        (S::Running, S::Delivered, TaskState::InputRequired),
        (S::Delivered, S::Rejected, TaskState::Failed),
        // Settled between the sides: the task has ended all the same.
        (S::Rejected, S::Accepted, TaskState::Failed),
    ];
    store.apply(vec![trade.opened()], vec![]).await.unwrap();
    assert_eq!(store.task(&owner, &id).await.unwrap(), None);
    for (from, to, state) in states {
        store.apply(vec![trade.moved(from, to)], vec![]).await.unwrap();
        let task = store.task(&owner, &id).await.unwrap().unwrap();
        assert_eq!((task.state, task.context, task.recorded), (state, id.clone(), 0));
        assert_eq!(task.steps.last().unwrap().1, TaskStep::Entered(to));
        let contract = task.contract.unwrap();
        assert_eq!((contract.state, contract.documented.len()), (to, contract.documents.len()));
    }
    let bought = Trade::new(Role::Client, None, 5);
    store.apply(vec![bought.opened(), bought.moved(S::Proposed, S::Awarded)], vec![]).await.unwrap();
    assert_eq!(store.tasks(&bought.peer().to_string(), &TaskFilter::default()).await.unwrap().total, 0);

    // An id that is somebody's plain task is not taken over.
    let other = Trade::new(Role::Contractor, None, 5);
    let name = other.contract.to_string();
    Said { task: &name, ..Said::default() }.to(&store).await.unwrap();
    store.apply(vec![other.opened()], vec![]).await.unwrap();
    let error = store.apply(vec![other.moved(S::Proposed, S::Awarded)], vec![]).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");

    // One's own is gone on with.
    let grown = Trade::new(Role::Contractor, None, 5);
    let name = grown.contract.to_string();
    Said { task: &name, owner: &owner, ..Said::default() }.to(&store).await.unwrap();
    let yes = Said { task: &name, owner: &owner, expected: 1, state: None, ..Said::default() };
    store.apply(vec![yes.event(), grown.opened(), grown.moved(S::Proposed, S::Awarded)], vec![]).await.unwrap();
    let task = store.task(&owner, &name).await.unwrap().unwrap();
    assert_eq!((task.state, task.recorded, task.context.as_str()), (TaskState::Submitted, 2, "c"));
    assert!(task.contract.is_some() && task.expires_at.is_none());
    // What is recorded later stands behind what happened before.
    let more = Said { task: &name, owner: &owner, expected: 2, state: None, ..Said::default() };
    store.apply(vec![grown.moved(S::Awarded, S::Running), more.event()], vec![]).await.unwrap();
    let steps = store.task(&owner, &name).await.unwrap().unwrap().steps;
    let said = || TaskStep::Recorded(json!("begun"));
    let entered = |state| TaskStep::Entered(state);
    let expected = [said(), said(), entered(S::Proposed), entered(S::Awarded), entered(S::Running), said()];
    assert_eq!(steps.into_iter().map(|(_, step)| step).collect::<Vec<_>>(), expected);

    let folded = store.replay_into(&dir.path().join("folded")).await.unwrap();
    assert_eq!(folded.table_digests().await.unwrap(), store.table_digests().await.unwrap());
}

#[tokio::test]
async fn contracts_of_an_older_database_become_the_tasks_that_they_would_have_been() {
    let (_dir, store) = store().await;
    let paths = [
        vec![(S::Proposed, S::Lapsed)],
        vec![(S::Proposed, S::Awarded)],
        vec![(S::Proposed, S::Awarded), (S::Awarded, S::Running)],
        vec![(S::Proposed, S::Awarded), (S::Awarded, S::Abandoned)],
        vec![(S::Proposed, S::Awarded), (S::Awarded, S::Failed)],
        vec![(S::Proposed, S::Awarded), (S::Awarded, S::Running), (S::Running, S::Delivered)],
        vec![
            (S::Proposed, S::Awarded),
            (S::Awarded, S::Delivered),
            (S::Delivered, S::Rejected),
            (S::Rejected, S::Accepted),
        ],
        vec![(S::Proposed, S::Awarded), (S::Awarded, S::Delivered), (S::Delivered, S::Accepted)],
    ];
    for path in paths {
        let trade = Trade::new(Role::Contractor, None, 5);
        let moves = path.into_iter().map(|(from, to)| trade.moved(from, to));
        store.apply([trade.opened()].into_iter().chain(moves).collect(), vec![]).await.unwrap();
    }
    let expected = store.table_digests().await.unwrap();
    let dir = store.dir().to_owned();
    store.close().await.unwrap();

    let file = SqliteConnectOptions::new().filename(dir.join("tender.db"));
    let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
    for statement in [
        "DROP TABLE refused_calls",
        "DROP TABLE offered",
        "DROP TABLE work_done",
        "DROP TABLE hooks",
        "DROP TABLE task_messages",
        "DROP TABLE task_records",
        "DROP TABLE tasks",
        "ALTER TABLE peers DROP COLUMN by_key",
        "ALTER TABLE jobs DROP COLUMN hired",
        "DROP INDEX entries_by_contract",
        "DELETE FROM _sqlx_migrations WHERE version >= 2",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let store = Store::open(&dir).await.unwrap();
    assert_eq!(store.table_digests().await.unwrap(), expected);
}

#[tokio::test]
async fn webhooks_are_kept_moved_and_forgotten_and_leave_no_event() {
    let (_dir, store) = store().await;
    let last = Said::default().to(&store).await.unwrap();
    for id in ["h1", "h2"] {
        store.keep_hook("one", "a", id, json!({"id": id, "token": "secret"}), (3, [2, 9])).await.unwrap();
    }
    let error = store.keep_hook("one", "a", "h3", json!({}), (0, [2, 9])).await.unwrap_err();
    assert_eq!(error, StoreError::OverLimit { limit: Limit::Hooks, wanted: 3, allowed: 2 });
    assert_eq!(error.problem().code, Code::TooMany);

    store.move_hook("one", "a", "h1", (Some(5), true)).await.unwrap();
    // Replaced: what was delivered is not delivered again.
    let kept = store.keep_hook("one", "a", "h1", json!({"url": "new"}), (9, [2, 9])).await.unwrap();
    assert_eq!(kept, 5);
    store.move_hook("one", "a", "h2", (None, false)).await.unwrap();
    let open = store.open_hooks().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].owner.as_str(), open[0].delivered, &open[0].config), ("one", 5, &json!({"url": "new"})));
    store.forget_hook("one", "a", "h1").await.unwrap();
    store.forget_hook("one", "a", "h1").await.unwrap();
    let left = store.hooks("one", "a").await.unwrap();
    assert_eq!((left.len(), left[0].id.as_str(), left[0].delivered), (1, "h2", 3));
    assert_eq!(store.last_sequence().await.unwrap(), last);
    let events = store.events_after(0, 100).await.unwrap();
    assert!(
        !serde_json::to_string(&events.into_iter().map(|(_, _, event)| event).collect::<Vec<_>>())
            .unwrap()
            .contains("secret")
    );
}

#[tokio::test]
async fn quotes_that_are_over_are_found() {
    let (_dir, store) = store().await;
    Said::default().to(&store).await.unwrap();
    Said { task: "b", state: Some(TaskState::Working), ..Said::default() }.to(&store).await.unwrap();
    let over = async |ms| store.tasks_over(TaskState::InputRequired, at(ms), 9).await.unwrap();
    assert!(over(99).await.is_empty());
    let heads = over(100).await;
    assert_eq!(heads.len(), 1);
    let TaskHead { id, owner, recorded, .. } = &heads[0];
    assert_eq!((owner.as_str(), id.as_str()), ("one", "a"));
    // The head is enough to go on.
    let task = store.task(owner, id).await.unwrap().unwrap();
    assert_eq!((*recorded, &heads[0].context), (task.recorded, &task.context));
}

#[tokio::test]
async fn quotes_that_nobody_awards_are_counted_for_a_while_even_when_they_are_closed() {
    let (_dir, store) = store().await;
    let owner = client().did();
    let owned = owner.to_string();
    let lately = |since| Guard::Quotes { owner, since: at(since), limit: 2 };
    let quote = |task, at| Said { task, owner: &owned, at, ..Said::default() };
    for task in ["a", "b"] {
        store.apply(vec![quote(task, 10).event()], vec![lately(0)]).await.unwrap();
    }
    Said { task: "theirs", at: 10, ..Said::default() }.to(&store).await.unwrap();
    let closed = Said { expected: 1, state: Some(TaskState::Canceled), ..quote("a", 11) };
    closed.to(&store).await.unwrap();
    let error = store.apply(vec![quote("c", 12).event()], vec![lately(0)]).await.unwrap_err();
    assert!(matches!(&error, StoreError::OverLimit { limit: Limit::Quotes(_), wanted: 3, allowed: 2 }), "{error}");
    assert_eq!(error.problem().code, Code::TooMany);
    // Later they are forgiven, the closed one too: its end is no other quote.
    store.apply(vec![quote("c", 12).event()], vec![lately(10)]).await.unwrap();
    store.apply(vec![], vec![Guard::Quotes { owner, since: at(10), limit: 2 }]).await.unwrap();
    // A contract is bounded by slots and credit.
    let sold = Trade::new(Role::Contractor, None, 5);
    let task = sold.contract.to_string();
    let events = vec![quote(&task, 13).event(), sold.opened(), sold.moved(S::Proposed, S::Awarded)];
    store.apply(events, vec![lately(11)]).await.unwrap();
    store.apply(vec![quote("d", 13).event()], vec![lately(11)]).await.unwrap();
}

#[tokio::test]
async fn the_tasks_of_a_peer_follow_it_to_its_new_key() {
    let (_dir, store) = store().await;
    let (from, to) = (client().did(), KeySigner::from_seed(&[77; 32]).did());
    let (old, new) = (from.to_string(), to.to_string());
    let peer = PeerRecord {
        did: from,
        name: "one".to_owned(),
        address: None,
        credit_limit: MicroUsd(0),
        paired_at: at(0),
        by_key: false,
        removed: false,
    };
    store.apply(vec![Event::PeerPaired { peer }], vec![]).await.unwrap();
    Said { owner: &old, once: Some("m"), ..Said::default() }.to(&store).await.unwrap();
    store.apply(vec![Event::PeerSucceeded { from, to, at: at(2) }], vec![]).await.unwrap();
    assert_eq!(store.task(&old, "a").await.unwrap(), None);
    assert_eq!(store.task(&new, "a").await.unwrap().unwrap().owner, new);
    assert_eq!(store.tasks(&new, &TaskFilter { limit: 9, ..TaskFilter::default() }).await.unwrap().total, 1);
    assert_eq!(store.task_message(&new, "m").await.unwrap().unwrap().0, "a", "sent again it does nothing again");
}

#[tokio::test]
async fn an_ended_webhook_keeps_no_secrets_and_counts_no_more() {
    let (_dir, store) = store().await;
    Said::default().to(&store).await.unwrap();
    Said { task: "b", ..Said::default() }.to(&store).await.unwrap();
    let config = json!({"url": "u", "token": "t", "authentication": {"scheme": "Bearer", "credentials": "c"}});
    let keep = async |task, id| store.keep_hook("one", task, id, config.clone(), (0, [8, 2])).await;
    keep("a", "h1").await.unwrap();
    keep("b", "h1").await.unwrap();
    let error = keep("a", "h2").await.unwrap_err();
    assert!(matches!(&error, StoreError::OverLimit { limit: Limit::Hooks, wanted: 3, allowed: 2 }), "{error}");
    keep("a", "h1").await.unwrap();
    store.move_hook("one", "a", "h1", (Some(1), true)).await.unwrap();
    assert_eq!(store.hooks("one", "a").await.unwrap()[0].config, config);
    store.move_hook("one", "a", "h1", (None, false)).await.unwrap();
    let ended = json!({"url": "u", "authentication": {"scheme": "Bearer"}});
    assert_eq!(store.hooks("one", "a").await.unwrap()[0].config, ended);
    keep("a", "h2").await.unwrap();

    // A while after its task's last change nothing of it is left; the address may be a secret too.
    assert_eq!(store.forget_ended_hooks(at(1)).await.unwrap(), 0);
    assert_eq!(store.forget_ended_hooks(at(2)).await.unwrap(), 1);
    let left = store.hooks("one", "a").await.unwrap();
    assert_eq!(left.iter().map(|hook| hook.id.as_str()).collect::<Vec<_>>(), ["h2"]);
    assert_eq!(store.hooks("one", "b").await.unwrap().len(), 1);
}
