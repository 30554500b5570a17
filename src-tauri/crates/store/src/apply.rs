//! One request: guards, then events with the tables they change.

use crate::{
    EVENT_VERSION, Event, Guard, MAX_ROWS, StoreError, contracts, demand, guards, jobs, payments, peers, rows,
    settings, succession, tasks, work,
};
use sqlx::{Row, SqliteConnection};
use tender_base::Timestamp;

/// Whether an event changed anything. What did not is not recorded, so that repeating a message is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Changed,
    AlreadyThere,
}

/// Checks `guards` and applies `events`. Returns the last sequence and the events that were recorded.
pub(crate) async fn request(
    connection: &mut SqliteConnection,
    at: Timestamp,
    events: Vec<Event>,
    guards: &[Guard],
) -> Result<(u64, Vec<(u64, Event)>), StoreError> {
    for guard in guards {
        guards::check(connection, guard).await?;
    }
    let mut last = last_sequence(connection).await?;
    let mut recorded = Vec::with_capacity(events.len());
    for event in events {
        if one(connection, last + 1, at, &event).await? == Effect::Changed {
            last += 1;
            recorded.push((last, event));
        }
    }
    Ok((last, recorded))
}

/// Applies one event as number `seq` and records it.
pub(crate) async fn one(
    connection: &mut SqliteConnection,
    seq: u64,
    at: Timestamp,
    event: &Event,
) -> Result<Effect, StoreError> {
    let number = rows::integer(seq)?;
    let effect = change_tables(connection, number, event).await?;
    if effect == Effect::Changed {
        sqlx::query("INSERT INTO events (seq, at, version, body) VALUES (?, ?, ?, ?)")
            .bind(number)
            .bind(at.millis())
            .bind(EVENT_VERSION)
            .bind(rows::json(event)?)
            .execute(connection)
            .await?;
    }
    Ok(effect)
}

async fn change_tables(connection: &mut SqliteConnection, seq: i64, event: &Event) -> Result<Effect, StoreError> {
    match event {
        Event::IdentityCreated { did, data_id } => settings::identity_created(connection, did, *data_id).await,
        Event::IdentitySucceeded { from, to, .. } => succession::of_this_node(connection, from, to).await,
        Event::JobSubmitted { job, book, spec, peers_only, submitted_at } => {
            jobs::submitted(connection, seq, *job, *book, (spec, *peers_only), *submitted_at).await
        }
        Event::JobDecided { job, decision } => jobs::decided(connection, *job, decision).await,
        Event::JobHired { job, hired } => jobs::hired(connection, *job, hired.as_ref()).await,
        Event::JobMoved { job, state, reason, output, charged, checked, entries, at } => {
            let change = jobs::Change {
                state: *state,
                reason: reason.as_ref(),
                output: *output,
                charged: *charged,
                checked: checked.as_ref(),
                entries,
                at: *at,
            };
            jobs::moved(connection, seq, *job, change).await
        }
        Event::ContractOpened { contract, role, book, peer, job, state, call, proposal, expires_at, at } => {
            let opening = contracts::Opening {
                contract: *contract,
                role: *role,
                book: *book,
                peer,
                job: *job,
                state: *state,
                call,
                proposal: proposal.as_ref(),
                expires_at: *expires_at,
                at: *at,
            };
            contracts::opened(connection, seq, opening).await
        }
        Event::ContractMoved { contract, from, to, documents, entries, reason, expires_at, at } => {
            let change = contracts::Change {
                contract: *contract,
                from: *from,
                to: *to,
                documents,
                entries,
                reason: reason.as_ref(),
                expires_at: *expires_at,
                at: *at,
            };
            contracts::moved(connection, seq, change).await
        }
        Event::ContractDocumented { contract, document, at } => {
            contracts::documented(connection, *contract, document, *at).await
        }
        Event::TaskRecorded { task, owner, context, once, expected, bodies, state, expires_at, at } => {
            let change = tasks::Change {
                task,
                owner,
                context,
                once: once.as_ref(),
                expected: *expected,
                bodies,
                state: *state,
                expires_at: *expires_at,
                at: *at,
            };
            tasks::recorded(connection, seq, change).await
        }
        Event::PaymentRecorded { payment, confirmation, role, entries, at } => {
            payments::recorded(connection, seq, payment, confirmation.as_ref(), *role, entries, *at).await
        }
        Event::PaymentConfirmed { confirmation, at } => payments::confirmed(connection, confirmation, *at).await,
        Event::PeerPaired { peer } => peers::paired(connection, peer).await,
        Event::PeerChanged { did, credit_limit, address, name } => {
            peers::changed(connection, did, *credit_limit, address.as_deref(), name.as_deref()).await
        }
        Event::PeerRemoved { did, at } => peers::removed(connection, did, *at).await,
        Event::PeerSucceeded { from, to, at } => succession::of_a_peer(connection, from, to, *at).await,
        Event::InvitationIssued { record } => peers::invited(connection, record).await,
        Event::InvitationUsed { invitation, by, at } => peers::invitation_used(connection, *invitation, by, *at).await,
        Event::SettingChanged { key, value, at } => settings::changed(connection, key, value, *at).await,
        Event::WorkDone { work } => work::done(connection, work).await,
        Event::CallsRefused { counts, at } => demand::refused(connection, *at, counts).await,
        Event::Offered { from, until } => work::offered(connection, *from, *until).await,
    }
}

pub(crate) async fn last_sequence(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let last: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM events").fetch_one(connection).await?;
    u64::try_from(last).map_err(|_| StoreError::corrupt("an event has a negative number"))
}

pub(crate) async fn events_after(
    connection: &mut SqliteConnection,
    after: u64,
    limit: u32,
) -> Result<Vec<(u64, Timestamp, Event)>, StoreError> {
    let rows = sqlx::query("SELECT seq, at, version, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?")
        // What lies beyond 2^63 has no successor.
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(limit.min(MAX_ROWS))
        .fetch_all(connection)
        .await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        let seq: i64 = row.try_get("seq")?;
        let version: i64 = row.try_get("version")?;
        if version != i64::from(EVENT_VERSION) {
            return Err(StoreError::corrupt(format!("event {seq} has the unknown version {version}")));
        }
        let seq = u64::try_from(seq).map_err(|_| StoreError::corrupt("an event has a negative number"))?;
        let event = rows::from_json(row.try_get("body")?, &format!("event {seq}"))?;
        events.push((seq, Timestamp::from_millis(row.try_get("at")?), event));
    }
    Ok(events)
}
