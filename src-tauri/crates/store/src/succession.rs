//! New keys in the place of old ones.
//!
//! What is open or owed is signed by and for the old key and can be ended by nobody else; therefore a key is succeeded
//! when nothing is.

use crate::{StoreError, apply::Effect, rows};
use sqlx::SqliteConnection;
use tender_base::{ContractState, Did, Timestamp};

/// Contracts that the old key still has to end or to be paid for; with `peer` alone, or with all.
async fn unfinished(connection: &mut SqliteConnection, peer: Option<&Did>) -> Result<i64, StoreError> {
    use ContractState as S;
    let ended = [S::Settled, S::Lapsed, S::Failed, S::Abandoned, S::HandedBack];
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM contracts
         WHERE state NOT IN (SELECT value FROM json_each(?1)) AND (?2 IS NULL OR peer = ?2)
           AND NOT (state = ?3 AND coalesce(amount, 0) = 0)",
    )
    .bind(rows::json(&ended)?)
    .bind(peer.map(ToString::to_string))
    .bind(rows::word(ContractState::Accepted)?)
    .fetch_one(connection)
    .await?;
    Ok(count)
}

pub(crate) async fn of_this_node(
    connection: &mut SqliteConnection,
    from: &Did,
    to: &Did,
) -> Result<Effect, StoreError> {
    let open = unfinished(connection, None).await?;
    if open > 0 {
        return Err(StoreError::conflict(format!("{open} contracts are open or not paid yet, and name the old key")));
    }
    let moved = sqlx::query("UPDATE identity SET did = ? WHERE did = ?")
        .bind(to.to_string())
        .bind(from.to_string())
        .execute(connection)
        .await?;
    match moved.rows_affected() {
        0 => Err(StoreError::conflict(format!("this data directory does not belong to {from}"))),
        _ => Ok(Effect::Changed),
    }
}

pub(crate) async fn of_a_peer(
    connection: &mut SqliteConnection,
    from: &Did,
    to: &Did,
    at: Timestamp,
) -> Result<Effect, StoreError> {
    let open = unfinished(connection, Some(from)).await?;
    if open > 0 {
        return Err(StoreError::conflict(format!(
            "{open} contracts with this peer are open or not paid yet, and name its old key"
        )));
    }
    let (from, to) = (from.to_string(), to.to_string());
    let made = sqlx::query(
        "INSERT INTO peers (did, name, address, credit_limit, paired_at, by_key, removed_at)
         SELECT ?1, name, address, credit_limit, paired_at, 0, NULL FROM peers
         WHERE did = ?2 AND by_key = 0 AND removed_at IS NULL ON CONFLICT DO NOTHING",
    )
    .bind(&to)
    .bind(&from)
    .execute(&mut *connection)
    .await?;
    if made.rows_affected() == 0 {
        return Err(StoreError::conflict(format!("{from} is no peer, or {to} was one already")));
    }
    sqlx::query("UPDATE peers SET removed_at = ? WHERE did = ?")
        .bind(at.millis())
        .bind(&from)
        .execute(&mut *connection)
        .await?;
    let moves = [
        "UPDATE contracts SET peer = ? WHERE peer = ?",
        "UPDATE payments SET peer = ? WHERE peer = ?",
        // It still gets what it bought.
        "UPDATE tasks SET owner = ? WHERE owner = ?",
        "UPDATE task_messages SET owner = ? WHERE owner = ?",
    ];
    for table in moves {
        sqlx::query(table).bind(&to).bind(&from).execute(&mut *connection).await?;
    }
    Ok(Effect::Changed)
}
