//! What was computed, where and with what use of the card, and when the card could be bought: what prices, break-even
//! and a day's volume are reckoned from.

use crate::{
    Store, StoreError,
    apply::Effect,
    rows::{self, Columns},
};
use serde::{Deserialize, Serialize};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tender_base::{Book, JobKind, Timestamp};
use uuid::Uuid;

/// Where a piece of work was done, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Here, for the owner.
    Own,
    /// Here, for a client.
    Sold,
    /// Elsewhere, for the owner.
    Bought,
}

/// A piece of work that ended well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkRecord {
    /// The job, or the contract that was sold.
    pub id: Uuid,
    /// Where and for whom.
    pub place: Place,
    /// Real or demonstration money.
    pub book: Book,
    /// The kind of work.
    pub kind: JobKind,
    /// The model's name; none for work without one.
    pub model: Option<String>,
    /// The attached runtime that did it; none for the own worker and what was bought.
    pub runtime: Option<String>,
    /// What was done, in the kind's unit.
    pub units: u64,
    /// How many of a text's units are its prompt.
    pub prompt_tokens: Option<u64>,
    /// How long it took: here the worker's own time, elsewhere from the award to the delivery. Milliseconds.
    pub wall_ms: u64,
    /// The card's mean draw meanwhile, what it draws at rest included, in thousandths of a watt; none where no sensor
    /// measured it.
    pub milliwatts: Option<u64>,
    /// When it ended.
    pub ended_at: Timestamp,
}

/// A [`WorkRecord`] and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedWork {
    /// What was done.
    pub work: WorkRecord,
    /// Sold work that the client accepted, or has paid.
    pub owed: bool,
}

/// Most pieces of work that are read at once: some megabytes.
const MAX_WORK: i64 = 50_000;

pub(crate) async fn done(connection: &mut SqliteConnection, work: &WorkRecord) -> Result<Effect, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO work_done
             (id, ended_at, place, book, kind, model, runtime, units, prompt_tokens, wall_ms, milliwatts)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(work.id.to_string())
    .bind(work.ended_at.millis())
    .bind(rows::word(work.place)?)
    .bind(rows::word(work.book)?)
    .bind(work.kind.name())
    .bind(&work.model)
    .bind(&work.runtime)
    .bind(rows::integer(work.units)?)
    .bind(work.prompt_tokens.map(rows::integer).transpose()?)
    .bind(rows::integer(work.wall_ms)?)
    .bind(work.milliwatts.map(rows::integer).transpose()?)
    .execute(connection)
    .await?;
    Ok(if inserted.rows_affected() == 0 { Effect::AlreadyThere } else { Effect::Changed })
}

/// A span that goes on where the last one ended is the same span.
pub(crate) async fn offered(
    connection: &mut SqliteConnection,
    from: Timestamp,
    until: Timestamp,
) -> Result<Effect, StoreError> {
    let extended = sqlx::query("UPDATE offered SET until_at = ?2 WHERE until_at = ?1 AND ?2 > ?1")
        .bind(from.millis())
        .bind(until.millis())
        .execute(&mut *connection)
        .await?;
    if extended.rows_affected() > 0 {
        return Ok(Effect::Changed);
    }
    let inserted = sqlx::query(
        "INSERT INTO offered (from_at, until_at)
         SELECT ?1, ?2 WHERE ?2 > ?1 AND NOT EXISTS (SELECT 1 FROM offered WHERE from_at <= ?1 AND until_at >= ?2)
         ON CONFLICT DO NOTHING",
    )
    .bind(from.millis())
    .bind(until.millis())
    .execute(connection)
    .await?;
    Ok(if inserted.rows_affected() == 0 { Effect::AlreadyThere } else { Effect::Changed })
}

fn record(row: &SqliteRow) -> Result<LoggedWork, StoreError> {
    let whole = |column: &str| -> Result<Option<u64>, StoreError> {
        let value: Option<i64> = row.try_get(column)?;
        value
            .map(|value| u64::try_from(value).map_err(|_| StoreError::corrupt(format!("column {column} is negative"))))
            .transpose()
    };
    Ok(LoggedWork {
        work: WorkRecord {
            id: row.text("id")?,
            place: row.word("place")?,
            book: row.word("book")?,
            kind: row.word("kind")?,
            model: row.try_get("model")?,
            runtime: row.try_get("runtime")?,
            units: whole("units")?.unwrap_or_default(),
            prompt_tokens: whole("prompt_tokens")?,
            wall_ms: whole("wall_ms")?.unwrap_or_default(),
            milliwatts: whole("milliwatts")?,
            ended_at: row.time("ended_at")?,
        },
        owed: row.try_get("owed")?,
    })
}

impl Store {
    /// The work that ended at or after `since`, oldest first; of more than 50,000 pieces the newest.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn work_since(&self, since: Timestamp) -> Result<Vec<LoggedWork>, StoreError> {
        let rows = sqlx::query(
            "SELECT work_done.*, coalesce(contracts.state IN ('accepted', 'settled'), 0) AS owed
             FROM work_done LEFT JOIN contracts ON contracts.id = work_done.id AND work_done.place = 'sold'
             WHERE ended_at >= ? ORDER BY ended_at DESC, work_done.id DESC LIMIT ?",
        )
        .bind(since.millis())
        .bind(MAX_WORK)
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.iter().rev().map(record).collect()
    }

    /// Tokens of text that were written for the owner at or after `since`, wherever.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn text_tokens_since(&self, book: Book, since: Timestamp) -> Result<u64, StoreError> {
        let tokens: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(units - coalesce(prompt_tokens, 0)), 0) FROM work_done
             WHERE ended_at >= ? AND book = ? AND kind = ? AND place <> 'sold'",
        )
        .bind(since.millis())
        .bind(rows::word(book)?)
        .bind(JobKind::Generate.name())
        .fetch_one(&mut *self.read().await?)
        .await?;
        Ok(u64::try_from(tokens).unwrap_or_default())
    }

    /// The spans in which work could be bought here that ended after `since`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn offered_since(&self, since: Timestamp) -> Result<Vec<(Timestamp, Timestamp)>, StoreError> {
        let rows = sqlx::query("SELECT from_at, until_at FROM offered WHERE until_at > ? ORDER BY from_at")
            .bind(since.millis())
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(|row| Ok((row.time("from_at")?, row.time("until_at")?))).collect()
    }
}
