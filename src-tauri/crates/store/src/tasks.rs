//! Tasks as A2A clients see them: who owns each, where it stands, and what happened to it.
//!
//! What happened is a list that only grows. Its bodies are the business of whoever speaks A2A; here they are JSON. A
//! sold contract is a task from its award on, and its states and documents are part of that list.

use crate::{
    ContractRecord, MAX_ROWS, Store, StoreError,
    apply::Effect,
    contracts,
    rows::{self, Columns},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};
use tender_base::{ContractState, Did, Sha256, Timestamp, ids::ContractId};

/// A task, and whether its owner's API key was taken back.
const SELECT: &str = "SELECT *, EXISTS (SELECT 1 FROM peers WHERE did = owner AND by_key AND removed_at IS NOT NULL)
    AS key_taken_back FROM tasks";

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Taken, not begun.
    Submitted,
    /// Under way.
    Working,
    /// Waits for its owner.
    InputRequired,
    /// Done. The end, as all that follow.
    Completed,
    /// Not done, or not well.
    Failed,
    /// Given up by its owner.
    Canceled,
    /// Not taken.
    Rejected,
}

impl TaskState {
    /// Whether nothing more happens to the task.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }

    /// The state of the task that a sold contract is; none before its award.
    #[must_use]
    pub fn of(contract: ContractState) -> Option<Self> {
        Some(match contract {
            ContractState::Announced | ContractState::Proposed | ContractState::Lapsed => return None,
            ContractState::Awarded => Self::Submitted,
            ContractState::Running => Self::Working,
            ContractState::Delivered => Self::InputRequired,
            ContractState::Accepted | ContractState::Settled => Self::Completed,
            ContractState::Abandoned => Self::Canceled,
            ContractState::Rejected | ContractState::Failed | ContractState::HandedBack => Self::Failed,
        })
    }
}

const ENDED: [TaskState; 4] = [TaskState::Completed, TaskState::Failed, TaskState::Canceled, TaskState::Rejected];

/// What makes a message the same when it is sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskMessage {
    /// Unique among the owner's.
    pub key: String,
    /// Of the whole message.
    pub sha256: Sha256,
}

/// A task and what happened to it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRecord {
    /// Its identifier.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// What it belongs to.
    pub context: String,
    /// Where it stands.
    pub state: TaskState,
    /// When it came to stand there.
    pub changed_at: Timestamp,
    /// When its state ends by itself.
    pub expires_at: Option<Timestamp>,
    /// How much is recorded of it: what the next record expects.
    pub recorded: u64,
    /// What happened to it, in order, and when.
    pub steps: Vec<(Timestamp, TaskStep)>,
    /// The sold contract that it is.
    pub contract: Option<ContractRecord>,
    /// Whether its owner holds an API key that was taken back.
    pub key_taken_back: bool,
}

/// What the next record of a task must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskHead {
    /// Its identifier.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// What it belongs to.
    pub context: String,
    /// How much is recorded of it.
    pub recorded: u64,
}

/// One thing that happened to a task.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskStep {
    /// It was recorded.
    Recorded(Value),
    /// The contract that it is entered a state.
    Entered(ContractState),
}

/// Which tasks of an owner are listed, by the time of their state and by id, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only of this context.
    pub context: Option<String>,
    /// Only in this state.
    pub state: Option<TaskState>,
    /// Only those that came to stand there at this time or later.
    pub since: Option<Timestamp>,
    /// Only tasks after this one: the last of the previous page.
    pub after: Option<(Timestamp, String)>,
    /// Most tasks, at most [`MAX_ROWS`].
    pub limit: u32,
}

/// A page of a list of tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskRecord>,
    /// Whether more follow.
    pub more: bool,
    /// How many tasks all pages hold.
    pub total: u64,
}

/// What [`crate::Event::TaskRecorded`] carries.
pub(crate) struct Change<'a> {
    pub task: &'a str,
    pub owner: &'a str,
    pub context: &'a str,
    pub once: Option<&'a TaskMessage>,
    pub expected: u64,
    pub bodies: &'a [Value],
    pub state: Option<TaskState>,
    pub expires_at: Option<Timestamp>,
    pub at: Timestamp,
}

pub(crate) async fn recorded(
    connection: &mut SqliteConnection,
    seq: i64,
    change: Change<'_>,
) -> Result<Effect, StoreError> {
    let Change { task, owner, context, once, expected, bodies, state, expires_at, at } = change;
    if bodies.is_empty() {
        return Err(StoreError::invalid(format!("nothing is recorded of task {task}")));
    }
    let first = rows::integer(expected)?;
    let number = first.saturating_add(i64::try_from(bodies.len()).unwrap_or(i64::MAX));
    let changed = if expected == 0 {
        sqlx::query(
            "INSERT INTO tasks (id, owner, context, state, records, changed_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
        )
        .bind(task)
        .bind(owner)
        .bind(context)
        .bind(rows::word(state.unwrap_or(TaskState::Submitted))?)
        .bind(number)
        .bind(at.millis())
        .bind(expires_at.map(Timestamp::millis))
        .execute(&mut *connection)
        .await?
    } else {
        sqlx::query(
            "UPDATE tasks SET records = ?1, state = coalesce(?2, state), expires_at = ?3,
                 changed_at = CASE WHEN ?2 IS NULL THEN changed_at ELSE ?4 END
             WHERE id = ?5 AND owner = ?6 AND records = ?7 AND state NOT IN (SELECT value FROM json_each(?8))",
        )
        .bind(number)
        .bind(state.map(rows::word).transpose()?)
        .bind(expires_at.map(Timestamp::millis))
        .bind(at.millis())
        .bind(task)
        .bind(owner)
        .bind(first)
        .bind(rows::json(&ENDED)?)
        .execute(&mut *connection)
        .await?
    };
    if changed.rows_affected() == 0 {
        return Err(refused(connection, task, owner, expected).await?);
    }
    sqlx::query(
        "INSERT INTO task_records (task, number, seq, at, body)
         SELECT ?1, ?2 + key + 1, ?3, ?4, value FROM json_each(?5)",
    )
    .bind(task)
    .bind(first)
    .bind(seq)
    .bind(at.millis())
    .bind(rows::json(&bodies.iter().map(rows::json).collect::<Result<Vec<_>, _>>()?)?)
    .execute(&mut *connection)
    .await?;
    if let Some(once) = once {
        let inserted = sqlx::query(
            "INSERT INTO task_messages (owner, message, task, sha256) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(owner)
        .bind(&once.key)
        .bind(task)
        .bind(once.sha256.to_string())
        .execute(connection)
        .await?;
        if inserted.rows_affected() == 0 {
            return Err(StoreError::conflict("this message came already"));
        }
    }
    Ok(Effect::Changed)
}

/// Why nothing was recorded.
async fn refused(
    connection: &mut SqliteConnection,
    task: &str,
    owner: &str,
    expected: u64,
) -> Result<StoreError, StoreError> {
    let row = sqlx::query("SELECT state, records FROM tasks WHERE id = ? AND owner = ?")
        .bind(task)
        .bind(owner)
        .fetch_optional(connection)
        .await?;
    Ok(match row {
        None if expected == 0 => StoreError::conflict(format!("task {task} exists already")),
        None => StoreError::not_found(format!("task {task}")),
        Some(row) => StoreError::Stale {
            what: format!("task {task}"),
            expected: format!("open with {expected} records"),
            found: format!("{} with {}", row.try_get::<String, _>("state")?, row.try_get::<i64, _>("records")?),
        },
    })
}

/// A sold contract entered `state`: the task that it is follows, until it has ended. What becomes of a dispute, and
/// when the bill is paid, is no longer the task's.
pub(crate) async fn follow(
    connection: &mut SqliteConnection,
    contract: ContractId,
    client: &Did,
    state: ContractState,
    at: Timestamp,
) -> Result<(), StoreError> {
    let Some(face) = TaskState::of(state) else { return Ok(()) };
    if state != ContractState::Awarded {
        sqlx::query(
            "UPDATE tasks SET state = ?, changed_at = ? WHERE id = ?
             AND state NOT IN (SELECT value FROM json_each(?))",
        )
        .bind(rows::word(face)?)
        .bind(at.millis())
        .bind(contract.to_string())
        .bind(rows::json(&ENDED)?)
        .execute(connection)
        .await?;
        return Ok(());
    }
    let taken = sqlx::query(
        "INSERT INTO tasks (id, owner, context, state, records, changed_at) VALUES (?1, ?2, ?1, ?3, 0, ?4)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, changed_at = excluded.changed_at, expires_at = NULL
         WHERE owner = excluded.owner AND state NOT IN (SELECT value FROM json_each(?5))",
    )
    .bind(contract.to_string())
    .bind(client.to_string())
    .bind(rows::word(face)?)
    .bind(at.millis())
    .bind(rows::json(&ENDED)?)
    .execute(connection)
    .await?;
    match taken.rows_affected() {
        0 => Err(StoreError::conflict(format!("task {contract} has ended, or is another's"))),
        _ => Ok(()),
    }
}

async fn record(connection: &mut SqliteConnection, row: &SqliteRow) -> Result<TaskRecord, StoreError> {
    let id: String = row.try_get("id")?;
    let found = sqlx::query(
        "SELECT seq, number, at, body, NULL AS state FROM task_records WHERE task = ?1
         UNION ALL SELECT seq, 0, at, NULL, state FROM contract_states WHERE contract = ?1 ORDER BY seq, number",
    )
    .bind(&id)
    .fetch_all(&mut *connection)
    .await?;
    let mut steps = Vec::with_capacity(found.len());
    for row in found {
        let step = match row.json_or_none("body")? {
            Some(body) => TaskStep::Recorded(body),
            None => TaskStep::Entered(row.word("state")?),
        };
        steps.push((row.time("at")?, step));
    }
    let recorded: i64 = row.try_get("records")?;
    let contract = match id.parse() {
        Ok(contract) => contracts::one(connection, contract).await?,
        Err(_) => None,
    };
    Ok(TaskRecord {
        id,
        owner: row.try_get("owner")?,
        context: row.try_get("context")?,
        state: row.word("state")?,
        changed_at: row.time("changed_at")?,
        expires_at: row.time_or_none("expires_at")?,
        recorded: recorded.unsigned_abs(),
        steps,
        contract,
        key_taken_back: row.try_get("key_taken_back")?,
    })
}

impl Store {
    /// A task of `owner`; another's is as none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn task(&self, owner: &str, task: &str) -> Result<Option<TaskRecord>, StoreError> {
        // One view: the contract's documents belong to its states.
        let mut view = self.read().await?;
        let row = QueryBuilder::<Sqlite>::new(SELECT)
            .push(" WHERE id = ")
            .push_bind(task)
            .push(" AND owner = ")
            .push_bind(owner)
            .build()
            .fetch_optional(&mut *view)
            .await?;
        match row {
            Some(row) => record(&mut view, &row).await.map(Some),
            None => Ok(None),
        }
    }

    /// A page of the tasks of `owner`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tasks(&self, owner: &str, filter: &TaskFilter) -> Result<TaskPage, StoreError> {
        let mut view = self.read().await?;
        let mut count = QueryBuilder::<Sqlite>::new("SELECT count(*) FROM tasks");
        matching(&mut count, owner, filter)?;
        let total: i64 = count.build_query_scalar().fetch_one(&mut *view).await?;
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        matching(&mut query, owner, filter)?;
        if let Some((changed_at, id)) = &filter.after {
            query.push(" AND (changed_at, id) < (").push_bind(changed_at.millis()).push(", ").push_bind(id).push(")");
        }
        let limit = filter.limit.min(MAX_ROWS);
        query.push(" ORDER BY changed_at DESC, id DESC LIMIT ").push_bind(limit + 1);
        let rows = query.build().fetch_all(&mut *view).await?;
        let mut tasks = Vec::with_capacity(rows.len());
        for row in rows.iter().take(limit as usize) {
            tasks.push(record(&mut view, row).await?);
        }
        Ok(TaskPage { more: rows.len() > tasks.len(), tasks, total: total.unsigned_abs() })
    }

    /// The task that a message of `owner` went to, and the digest of that message.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn task_message(&self, owner: &str, key: &str) -> Result<Option<(String, Sha256)>, StoreError> {
        let row = sqlx::query("SELECT task, sha256 FROM task_messages WHERE owner = ? AND message = ?")
            .bind(owner)
            .bind(key)
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.map(|row| Ok((row.try_get("task")?, row.text("sha256")?))).transpose()
    }

    /// Tasks in `state` whose time was over at `now`: the `limit` longest over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tasks_over(&self, state: TaskState, now: Timestamp, limit: u32) -> Result<Vec<TaskHead>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, owner, context, records FROM tasks
             WHERE state = ? AND expires_at <= ? ORDER BY expires_at LIMIT ?",
        )
        .bind(rows::word(state)?)
        .bind(now.millis())
        .bind(limit.min(MAX_ROWS))
        .fetch_all(&mut *self.read().await?)
        .await?;
        let head = |row: &SqliteRow| {
            Ok(TaskHead {
                id: row.try_get("id")?,
                owner: row.try_get("owner")?,
                context: row.try_get("context")?,
                recorded: row.try_get::<i64, _>("records")?.unsigned_abs(),
            })
        };
        rows.iter().map(head).collect()
    }
}

fn matching(query: &mut QueryBuilder<Sqlite>, owner: &str, filter: &TaskFilter) -> Result<(), StoreError> {
    query.push(" WHERE owner = ").push_bind(owner);
    if let Some(context) = &filter.context {
        query.push(" AND context = ").push_bind(context);
    }
    if let Some(state) = filter.state {
        query.push(" AND state = ").push_bind(rows::word(state)?);
    }
    if let Some(since) = filter.since {
        query.push(" AND changed_at >= ").push_bind(since.millis());
    }
    Ok(())
}
