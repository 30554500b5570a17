//! Jobs of this node's owner.

use crate::{
    MAX_ROWS, Store, StoreError,
    apply::Effect,
    ledger,
    rows::{self, Columns},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};
use std::collections::HashMap;
use tender_base::{BlobRef, Book, JobKind, JobSpec, JobState, MicroUsd, Problem, Timestamp, ids::JobId, ledger::Entry};

/// A job and everything that is shown of it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// Its identifier.
    pub id: JobId,
    /// Real or demonstration money.
    pub book: Book,
    /// The kind of work.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// What is computed, under which constraints.
    pub spec: JobSpec,
    /// Never on the own GPU, even if that is cheapest.
    pub peers_only: bool,
    /// The decision receipt; none before the decision.
    pub decision: Option<Value>,
    /// Which agent has it; none when none does.
    pub hired: Option<Hired>,
    /// What was checked and found.
    pub checked: Option<Value>,
    /// Why it stands there.
    pub reason: Option<Problem>,
    /// The result.
    pub output: Option<BlobRef>,
    /// What it cost.
    pub charged: Option<MicroUsd>,
    /// When it came in.
    pub submitted_at: Timestamp,
    /// When it entered its state.
    pub changed_at: Timestamp,
    /// Every state it entered, in order.
    pub times: Vec<(JobState, Timestamp)>,
}

/// Whom a job was given to without a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hired {
    /// The owner's name for the agent.
    pub agent: String,
    /// The agent's task.
    pub task: String,
    /// The price that was agreed, or the most that may be paid.
    pub at_most: MicroUsd,
}

/// Which jobs to list, newest first. The default lists the newest [`MAX_ROWS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFilter {
    /// Only this book.
    pub book: Option<Book>,
    /// Only these states; all when empty.
    pub states: Vec<JobState>,
    /// Only those about which something was decided.
    pub decided: bool,
    /// Only jobs older than this one: the last of the previous page.
    pub before: Option<JobId>,
    /// Most rows, at most [`MAX_ROWS`].
    pub limit: u32,
}

impl Default for JobFilter {
    fn default() -> Self {
        Self { book: None, states: Vec::new(), decided: false, before: None, limit: MAX_ROWS }
    }
}

/// What [`crate::Event::JobMoved`] carries.
pub(crate) struct Change<'a> {
    pub state: JobState,
    pub reason: Option<&'a Problem>,
    pub output: Option<BlobRef>,
    pub charged: Option<MicroUsd>,
    pub checked: Option<&'a Value>,
    pub entries: &'a [Entry],
    pub at: Timestamp,
}

pub(crate) async fn submitted(
    connection: &mut SqliteConnection,
    seq: i64,
    job: JobId,
    book: Book,
    (spec, peers_only): (&JobSpec, bool),
    at: Timestamp,
) -> Result<Effect, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO jobs (id, book, kind, state, spec, peers_only, input_sha256, submitted_at, changed_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(job.to_string())
    .bind(rows::word(book)?)
    .bind(spec.work.kind().name())
    .bind(JobState::Queued.name())
    .bind(rows::json(spec)?)
    .bind(peers_only)
    .bind(spec.input.sha256.to_string())
    .bind(at.millis())
    .bind(at.millis())
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 0 {
        return Err(StoreError::conflict(format!("job {job} exists already")));
    }
    entered(connection, seq, job, JobState::Queued, at).await?;
    Ok(Effect::Changed)
}

pub(crate) async fn decided(
    connection: &mut SqliteConnection,
    job: JobId,
    decision: &Value,
) -> Result<Effect, StoreError> {
    let updated = sqlx::query("UPDATE jobs SET decision = ? WHERE id = ?")
        .bind(rows::json(decision)?)
        .bind(job.to_string())
        .execute(connection)
        .await?;
    match updated.rows_affected() {
        0 => Err(StoreError::not_found(format!("job {job}"))),
        _ => Ok(Effect::Changed),
    }
}

pub(crate) async fn hired(
    connection: &mut SqliteConnection,
    job: JobId,
    hired: Option<&Hired>,
) -> Result<Effect, StoreError> {
    let updated = sqlx::query("UPDATE jobs SET hired = ? WHERE id = ?")
        .bind(hired.map(rows::json).transpose()?)
        .bind(job.to_string())
        .execute(connection)
        .await?;
    match updated.rows_affected() {
        0 => Err(StoreError::not_found(format!("job {job}"))),
        _ => Ok(Effect::Changed),
    }
}

pub(crate) async fn moved(
    connection: &mut SqliteConnection,
    seq: i64,
    job: JobId,
    change: Change<'_>,
) -> Result<Effect, StoreError> {
    let row = sqlx::query("SELECT state FROM jobs WHERE id = ?")
        .bind(job.to_string())
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| StoreError::not_found(format!("job {job}")))?;
    let found: JobState = row.word("state")?;
    if found.is_final() {
        return Err(StoreError::Stale {
            what: format!("job {job}"),
            expected: "still open".to_owned(),
            found: found.name().to_owned(),
        });
    }
    sqlx::query(
        "UPDATE jobs SET state = ?1, reason = ?2, output_sha256 = coalesce(?3, output_sha256),
             output_bytes = coalesce(?4, output_bytes), charged = coalesce(?5, charged), checked = coalesce(?6, checked),
             changed_at = CASE WHEN state = ?1 THEN changed_at ELSE ?7 END
         WHERE id = ?8",
    )
    .bind(change.state.name())
    .bind(change.reason.map(rows::json).transpose()?)
    .bind(change.output.map(|output| output.sha256.to_string()))
    .bind(change.output.map(|output| rows::integer(output.bytes)).transpose()?)
    .bind(change.charged.map(|charged| charged.0))
    .bind(change.checked.map(rows::json).transpose()?)
    .bind(change.at.millis())
    .bind(job.to_string())
    .execute(&mut *connection)
    .await?;
    if change.state != found {
        entered(&mut *connection, seq, job, change.state, change.at).await?;
    }
    for entry in change.entries {
        ledger::post(&mut *connection, seq, change.at, entry).await?;
    }
    // However it ends, nothing stays reserved for it.
    if change.state.is_final()
        && let Some(entry) = ledger::release_of(&mut *connection, job).await?
    {
        ledger::post(connection, seq, change.at, &entry).await?;
    }
    Ok(Effect::Changed)
}

async fn entered(
    connection: &mut SqliteConnection,
    seq: i64,
    job: JobId,
    state: JobState,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO job_states (job, seq, state, at) VALUES (?, ?, ?, ?)")
        .bind(job.to_string())
        .bind(seq)
        .bind(state.name())
        .bind(at.millis())
        .execute(connection)
        .await?;
    Ok(())
}

fn record(row: &SqliteRow) -> Result<JobRecord, StoreError> {
    Ok(JobRecord {
        id: row.text("id")?,
        book: row.word("book")?,
        kind: row.word("kind")?,
        state: row.word("state")?,
        spec: row.json("spec")?,
        peers_only: row.try_get("peers_only")?,
        decision: row.json_or_none("decision")?,
        hired: row.json_or_none("hired")?,
        checked: row.json_or_none("checked")?,
        reason: row.json_or_none("reason")?,
        output: row.blob("output")?,
        charged: row.money_or_none("charged")?,
        submitted_at: row.time("submitted_at")?,
        changed_at: row.time("changed_at")?,
        times: Vec::new(),
    })
}

/// Adds the states that the jobs went through.
async fn add_times(connection: &mut SqliteConnection, jobs: &mut [JobRecord]) -> Result<(), StoreError> {
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let rows = sqlx::query(
        "SELECT job, state, at FROM job_states WHERE job IN (SELECT value FROM json_each(?)) ORDER BY job, seq",
    )
    .bind(rows::json(&ids)?)
    .fetch_all(connection)
    .await?;
    let mut places: HashMap<JobId, &mut JobRecord> = jobs.iter_mut().map(|job| (job.id, job)).collect();
    for row in rows {
        if let Some(job) = places.get_mut(&row.text("job")?) {
            job.times.push((row.word("state")?, row.time("at")?));
        }
    }
    Ok(())
}

impl Store {
    /// One job.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn job(&self, job: JobId) -> Result<Option<JobRecord>, StoreError> {
        let mut view = self.read().await?;
        let row =
            sqlx::query("SELECT * FROM jobs WHERE id = ?").bind(job.to_string()).fetch_optional(&mut *view).await?;
        let Some(row) = row else { return Ok(None) };
        let mut found = [record(&row)?];
        add_times(&mut view, &mut found).await?;
        let [job] = found;
        Ok(Some(job))
    }

    /// The entry that gives back what is reserved for a job itself; none when nothing is.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn release_of(&self, job: JobId) -> Result<Option<Entry>, StoreError> {
        ledger::release_of(&mut *self.read().await?, job).await
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn jobs(&self, filter: JobFilter) -> Result<Vec<JobRecord>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM jobs WHERE TRUE");
        if let Some(book) = filter.book {
            query.push(" AND book = ").push_bind(rows::word(book)?);
        }
        if !filter.states.is_empty() {
            query.push(" AND state IN (SELECT value FROM json_each(").push_bind(rows::json(&filter.states)?).push("))");
        }
        if filter.decided {
            query.push(" AND decision IS NOT NULL");
        }
        if let Some(before) = filter.before {
            query.push(" AND id < ").push_bind(before.to_string());
        }
        // Version 7 identifiers sort by time, as text too.
        query.push(" ORDER BY id DESC LIMIT ").push_bind(filter.limit.min(MAX_ROWS));
        let mut view = self.read().await?;
        let rows = query.build().fetch_all(&mut *view).await?;
        let mut jobs = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        add_times(&mut view, &mut jobs).await?;
        Ok(jobs)
    }

    /// How many jobs are in each state, for a summary without reading them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn job_counts(&self, book: Book) -> Result<Vec<(JobState, u64)>, StoreError> {
        let rows = sqlx::query("SELECT state, count(*) AS n FROM jobs WHERE book = ? GROUP BY state ORDER BY state")
            .bind(rows::word(book)?)
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter()
            .map(|row| {
                let n: i64 = row.try_get("n")?;
                Ok((row.word("state")?, n.unsigned_abs()))
            })
            .collect()
    }
}
