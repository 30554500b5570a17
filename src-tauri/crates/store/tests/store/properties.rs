//! Whatever happens in whatever order: the ledger balances, limits hold, and the tables follow from the events.

use crate::documents::{Counting, Trade, at, client, paid, payment, spec};
use proptest::prelude::*;
use serde_json::json;
use tender_base::{
    Book, ContractState as S, JobState, MicroUsd, Problem, Role, Sha256, Signer,
    ids::JobId,
    ledger::{Account, Entry},
    problem::Code,
};
use tender_store::{Event, Guard, PeerRecord, Store, StoreError, TaskMessage, TaskState};

const CAP: MicroUsd = MicroUsd(2000);
const CREDIT: MicroUsd = MicroUsd(1500);

/// One attempt. Many are refused; that is the point.
#[derive(Clone, Debug)]
enum Attempt {
    Open { client: bool, amount: u32 },
    Move { which: usize, from: usize, to: usize },
    Countersign { which: usize },
    Pay { which: usize, surplus: bool },
    Set { key: u8, value: Option<f64> },
    Pair { limit: i64 },
    Unpair,
    Job { which: usize, state: usize },
    Task { which: usize, expected: u64, state: usize, message: u8 },
}

const STATES: [S; 9] =
    [S::Proposed, S::Awarded, S::Running, S::Delivered, S::Accepted, S::Failed, S::Abandoned, S::Lapsed, S::HandedBack];
const JOB_STATES: [JobState; 4] = [JobState::Queued, JobState::Running, JobState::Completed, JobState::Failed];

fn attempt() -> impl Strategy<Value = Attempt> {
    prop_oneof![
        4 => (any::<bool>(), 0..900_u32).prop_map(|(client, amount)| Attempt::Open { client, amount }),
        // Mostly forwards by one, which is what gets far.
        12 => (0..16_usize, 0..4_usize).prop_map(|(which, from)| Attempt::Move { which, from, to: from + 1 }),
        4 => (0..16_usize, 0..9_usize, 0..9_usize).prop_map(|(which, from, to)| Attempt::Move { which, from, to }),
        2 => (0..16_usize).prop_map(|which| Attempt::Countersign { which }),
        2 => (0..16_usize, any::<bool>()).prop_map(|(which, surplus)| Attempt::Pay { which, surplus }),
        1 => (0..4_u8, prop::option::of(-1e300..1e300_f64)).prop_map(|(key, value)| Attempt::Set { key, value }),
        1 => (-1..100_i64).prop_map(|limit| Attempt::Pair { limit }),
        1 => Just(Attempt::Unpair),
        2 => (0..16_usize, 0..4_usize).prop_map(|(which, state)| Attempt::Job { which, state }),
        4 => (0..4_usize, 0..4_u64, 0..8_usize, 0..8_u8)
            .prop_map(|(which, expected, state, message)| Attempt::Task { which, expected, state, message }),
    ]
}

/// Whether `from` → `to` is one that books correctly; others are sent only when stale.
fn sensible(from: S, to: S) -> bool {
    matches!(
        (from, to),
        (S::Proposed, S::Awarded | S::Lapsed)
            | (S::Awarded, S::Running | S::Failed | S::Abandoned | S::HandedBack)
            | (S::Running, S::Delivered | S::Failed | S::Abandoned | S::HandedBack)
            | (S::Delivered, S::Accepted | S::Failed)
    )
}

fn request(attempt: &Attempt, trades: &mut Vec<Trade>) -> Option<(Vec<Event>, Vec<Guard>)> {
    match *attempt {
        Attempt::Open { client, amount } => {
            let (role, job) = match client {
                true => (Role::Client, Some(JobId::new(&Counting, &Counting))),
                false => (Role::Contractor, None),
            };
            let trade = Trade::new(role, job, amount);
            let mut events = Vec::new();
            if let Some(job) = job {
                events.push(Event::JobSubmitted {
                    job,
                    book: Book::Real,
                    spec: spec(),
                    peers_only: false,
                    submitted_at: at(0),
                });
                events.push(Event::JobDecided { job, decision: json!({"closeness": f64::from(amount) / 7.0}) });
            }
            events.push(trade.opened());
            trades.push(trade);
            Some((events, vec![]))
        }
        Attempt::Move { which, from, to } => {
            let trade = trades.get(which)?;
            let (from, to) = (STATES[from], STATES[to]);
            if !sensible(from, to) {
                return None;
            }
            let amount = trade.amount;
            let guards = match (to, trade.role) {
                (S::Awarded, Role::Client) => {
                    let day_start = at(0).start_of_day();
                    vec![Guard::DailySpend { book: Book::Real, day_start, cap: CAP, amount }]
                }
                (S::Awarded, Role::Contractor) => {
                    vec![Guard::PeerCredit { book: Book::Real, peer: trade.peer(), limit: CREDIT, amount }]
                }
                _ => vec![],
            };
            Some((vec![trade.moved(from, to)], guards))
        }
        Attempt::Countersign { which } => Some((vec![trades.get(which)?.countersigned()], vec![])),
        Attempt::Pay { which, surplus } => {
            let trade = trades.get(which)?;
            let (payment, confirmation) = payment(&[trade], MicroUsd(trade.amount.0 + i64::from(surplus)));
            Some((vec![paid(trade.role, &payment, Some(&confirmation))], vec![]))
        }
        Attempt::Set { key, value } => {
            let value = value.map_or(json!(null), |value| json!(value));
            Some((vec![Event::SettingChanged { key: key.to_string(), value, at: at(1) }], vec![]))
        }
        Attempt::Pair { limit } => {
            let peer = PeerRecord {
                did: client().did(),
                name: format!("peer of {limit}"),
                address: None,
                credit_limit: MicroUsd(limit),
                paired_at: at(limit),
                removed: false,
                by_key: false,
            };
            Some((vec![Event::PeerPaired { peer }], vec![]))
        }
        Attempt::Unpair => Some((vec![Event::PeerRemoved { did: client().did(), at: at(2) }], vec![])),
        Attempt::Job { which, state } => {
            let job = trades.get(which)?.job?;
            let reason = Some(Problem::new(Code::Lost, "the peer went away", ""));
            let state = JOB_STATES[state];
            // Somebody is hired for it without a contract; every end of the job gives the reservation back.
            let (mut entries, mut guards) = (Vec::new(), vec![]);
            if state == JobState::Running {
                let (amount, hire) = (MicroUsd(50), Some(job.hire()));
                entries.push(Entry::transfer(Book::Real, hire, Account::Reserved, Account::Unreserved, amount));
                let day_start = at(0).start_of_day();
                guards.push(Guard::DailySpend { book: Book::Real, day_start, cap: CAP, amount });
            }
            let moved =
                Event::JobMoved { job, state, reason, output: None, charged: None, checked: None, entries, at: at(3) };
            Some((vec![moved], guards))
        }
        Attempt::Task { which, expected, state, message } => {
            // A contract's own id among them: what is an extension's contract is nobody's plain task.
            let contract = trades.get(which).map(|trade| trade.contract.to_string());
            let recorded = Event::TaskRecorded {
                task: contract.unwrap_or_else(|| format!("task {which}")),
                owner: client().did().to_string(),
                context: "context".to_owned(),
                once: Some(TaskMessage { key: message.to_string(), sha256: Sha256::of(&[message]) }),
                expected,
                bodies: vec![json!({"status": state}), json!(message)],
                state: [TaskState::Working, TaskState::Completed].get(state).copied(),
                expires_at: None,
                at: at(4),
            };
            Some((vec![recorded], vec![]))
        }
    }
}

async fn limits_hold(store: &Store) {
    let balance = async |account| store.balance(Book::Real, &account).await.unwrap().0;
    let totals = store.totals(Book::Real, at(0).start_of_day()).await.unwrap();
    let reserved = balance(Account::Reserved).await;
    assert!(reserved >= 0 && totals.spent.0 + reserved <= CAP.0, "{reserved} reserved, {:?} spent", totals.spent);
    let in_work: i64 = store
        .contract_totals(Book::Real, Role::Contractor)
        .await
        .unwrap()
        .iter()
        .filter(|total| matches!(total.state, S::Awarded | S::Running | S::Delivered))
        .map(|total| total.amount.0)
        .sum();
    assert!(balance(Account::Receivable(client().did())).await + in_work <= CREDIT.0);
    assert!(store.ledger_balances().await.unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_the_invariants(attempts in prop::collection::vec(attempt(), 1..80), together in 1..9_usize) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(&dir.path().join("lived")).await.unwrap();
            let mut trades = Vec::new();
            for group in attempts.chunks(together) {
                // A group arrives at once, so that requests meet in one commit.
                let mut running = tokio::task::JoinSet::new();
                for (events, guards) in group.iter().filter_map(|attempt| request(attempt, &mut trades)) {
                    let store = store.clone();
                    running.spawn(async move { store.apply(events, guards).await });
                }
                for result in running.join_all().await {
                    if let Err(error) = result {
                        assert!(!error.is_storage_failure() && error != StoreError::Closed, "{error}");
                    }
                }
                limits_hold(&store).await;
            }
            let folded = store.replay_into(&dir.path().join("folded")).await.unwrap();
            assert_eq!(folded.table_digests().await.unwrap(), store.table_digests().await.unwrap());
            assert_eq!(folded.last_sequence().await.unwrap(), store.last_sequence().await.unwrap());
        });
    }
}
