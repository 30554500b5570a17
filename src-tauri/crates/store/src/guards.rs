//! Limits, checked in the transaction that would exceed them.

use crate::{Guard, Limit, StoreError, ledger, rows};
use sqlx::SqliteConnection;
use tender_base::{Book, ContractState, Did, JobKind, MicroUsd, Role, Timestamp, ledger::Account};

pub(crate) async fn check(connection: &mut SqliteConnection, guard: &Guard) -> Result<(), StoreError> {
    match *guard {
        Guard::DailySpend { book, day_start, cap, amount } => {
            let spent = ledger::posted_since(connection, book, &Account::Expense, day_start).await?;
            let reserved = ledger::balance(connection, book, &Account::Reserved).await?;
            money(Limit::DailySpend, &[spent, reserved], amount, cap)
        }
        Guard::PeerCredit { book, peer, limit, amount } => {
            let owed = ledger::balance(connection, book, &Account::Receivable(peer)).await?;
            let working = in_work(connection, book, &peer).await?;
            money(Limit::PeerCredit(Box::new(peer)), &[owed, working], amount, limit)
        }
        Guard::Slots { text, limit, now } => {
            let held = holds(connection, text, now).await?;
            count(Limit::Slots, held, limit)
        }
        Guard::PeerHolds { peer, limit, now } => {
            let held = open_proposals(connection, &peer, now).await?;
            count(Limit::PeerHolds(Box::new(peer)), held, limit)
        }
        Guard::Quotes { owner, since, limit } => {
            let had = quotes(connection, &owner, since).await?;
            count(Limit::Quotes(Box::new(owner)), had, limit)
        }
    }
}

fn money(limit: Limit, parts: &[MicroUsd], amount: MicroUsd, allowed: MicroUsd) -> Result<(), StoreError> {
    if amount.0 < 0 {
        return Err(StoreError::invalid(format!("the amount to be guarded is {amount}, but must not be negative")));
    }
    let sum: i128 = parts.iter().map(|part| i128::from(part.0)).sum::<i128>() + i128::from(amount.0);
    if sum <= i128::from(allowed.0) {
        return Ok(());
    }
    let wanted = i64::try_from(sum).unwrap_or(i64::MAX);
    Err(StoreError::OverLimit { limit, wanted, allowed: allowed.0 })
}

fn count(limit: Limit, held: i64, allowed: u32) -> Result<(), StoreError> {
    if held < i64::from(allowed) {
        return Ok(());
    }
    Err(StoreError::OverLimit { limit, wanted: held.saturating_add(1), allowed: i64::from(allowed) })
}

/// Amounts of a peer's contracts that are awarded and not yet owed.
async fn in_work(connection: &mut SqliteConnection, book: Book, peer: &Did) -> Result<MicroUsd, StoreError> {
    // A dispute is no new credit.
    let states = [ContractState::Awarded, ContractState::Running, ContractState::Delivered, ContractState::Rejected];
    let sum: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(amount), 0) FROM contracts
         WHERE state IN (SELECT value FROM json_each(?)) AND role = ? AND book = ? AND peer = ?",
    )
    .bind(rows::json(&states)?)
    .bind(rows::word(Role::Contractor)?)
    .bind(rows::word(book)?)
    .bind(peer.to_string())
    .fetch_one(connection)
    .await?;
    Ok(MicroUsd(sum))
}

async fn holds(connection: &mut SqliteConnection, text: bool, now: Timestamp) -> Result<i64, StoreError> {
    let working = [ContractState::Awarded, ContractState::Running];
    Ok(sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM contracts
                 WHERE state IN (SELECT value FROM json_each(?1)) AND role = ?2 AND (kind = ?5) = ?6)
              + (SELECT count(*) FROM contracts
                 WHERE state = ?3 AND role = ?2 AND (kind = ?5) = ?6
                   AND (expires_at IS NULL OR expires_at > ?4))",
    )
    .bind(rows::json(&working)?)
    .bind(rows::word(Role::Contractor)?)
    .bind(ContractState::Proposed.name())
    .bind(now.millis())
    .bind(JobKind::Generate.name())
    .bind(text)
    .fetch_one(connection)
    .await?)
}

async fn open_proposals(connection: &mut SqliteConnection, peer: &Did, now: Timestamp) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM contracts
         WHERE state = ? AND role = ? AND peer = ? AND (expires_at IS NULL OR expires_at > ?)",
    )
    .bind(ContractState::Proposed.name())
    .bind(rows::word(Role::Contractor)?)
    .bind(peer.to_string())
    .bind(now.millis())
    .fetch_one(connection)
    .await?)
}

async fn quotes(connection: &mut SqliteConnection, owner: &Did, since: Timestamp) -> Result<i64, StoreError> {
    // By the time of the first record: an answer, or the end of a quote, is no other quote. No task is older than its
    // last change, which the index knows.
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM tasks JOIN task_records ON task = id AND number = 1
         WHERE owner = ?1 AND changed_at > ?2 AND at > ?2
         AND NOT EXISTS (SELECT 1 FROM contracts WHERE contracts.id = tasks.id)",
    )
    .bind(owner.to_string())
    .bind(since.millis())
    .fetch_one(connection)
    .await?)
}
