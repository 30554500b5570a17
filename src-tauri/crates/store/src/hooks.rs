//! Webhooks of tasks. They are kept beside the events, as blobs are: they hold credentials, which must be forgotten
//! when their owner says so.

use crate::{
    Limit, Store, StoreError,
    rows::{self, Columns},
    writer::Work,
};
use serde_json::Value;
use sqlx::{Row, SqliteConnection};
use tender_base::Timestamp;

/// A webhook and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct HookRecord {
    /// Whose task it is.
    pub owner: String,
    /// The task.
    pub task: String,
    /// Its identifier within the task.
    pub id: String,
    /// What its owner said, as JSON.
    pub config: Value,
    /// Records up to this number are delivered.
    pub delivered: u64,
}

/// A change of one webhook of a task of `owner`.
pub(crate) struct Change {
    pub owner: String,
    pub task: String,
    pub id: String,
    pub to: To,
}

pub(crate) enum To {
    Keep { config: Value, after: u64, limits: [u32; 2] },
    Forget,
    Move { delivered: Option<u64>, open: bool },
}

/// Returns the place of a webhook that is kept, otherwise nothing of interest.
pub(crate) async fn change(connection: &mut SqliteConnection, change: Change) -> Result<u64, StoreError> {
    let Change { owner, task, id, to } = change;
    let own: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tasks WHERE id = ? AND owner = ?)")
        .bind(&task)
        .bind(&owner)
        .fetch_one(&mut *connection)
        .await?;
    match to {
        To::Keep { .. } if !own => Err(StoreError::not_found(format!("task {task}"))),
        _ if !own => Ok(0),
        To::Keep { config, after, limits } => {
            let others: [i64; 2] = sqlx::query_as(
                "SELECT (SELECT count(*) FROM hooks WHERE task = ?1 AND id <> ?2),
                        (SELECT count(*) FROM hooks JOIN tasks ON tasks.id = hooks.task
                         WHERE owner = ?3 AND open = 1 AND NOT (hooks.task = ?1 AND hooks.id = ?2))",
            )
            .bind(&task)
            .bind(&id)
            .bind(&owner)
            .fetch_one(&mut *connection)
            .await
            .map(|(of_task, of_owner)| [of_task, of_owner])?;
            for (others, allowed) in others.into_iter().zip(limits.map(i64::from)) {
                if others >= allowed {
                    return Err(StoreError::OverLimit { limit: Limit::Hooks, wanted: others + 1, allowed });
                }
            }
            let delivered: i64 = sqlx::query_scalar(
                "INSERT INTO hooks (task, id, config, delivered, open) VALUES (?, ?, ?, ?, 1)
                 ON CONFLICT (task, id) DO UPDATE SET config = excluded.config, open = 1 RETURNING delivered",
            )
            .bind(task)
            .bind(id)
            .bind(rows::json(&config)?)
            .bind(rows::integer(after)?)
            .fetch_one(connection)
            .await?;
            place(delivered)
        }
        To::Forget => {
            sqlx::query("DELETE FROM hooks WHERE task = ? AND id = ?").bind(task).bind(id).execute(connection).await?;
            Ok(0)
        }
        To::Move { delivered, open } => {
            // What is told nothing more needs no secrets.
            sqlx::query(
                "UPDATE hooks SET delivered = coalesce(?1, delivered), open = ?2,
                     config = CASE WHEN ?2 THEN config
                              ELSE json_remove(config, '$.token', '$.authentication.credentials') END
                 WHERE task = ?3 AND id = ?4",
            )
            .bind(delivered.map(rows::integer).transpose()?)
            .bind(open)
            .bind(task)
            .bind(id)
            .execute(connection)
            .await?;
            Ok(0)
        }
    }
}

/// Forgets what [`Store::forget_ended_hooks`] says, and returns how many.
pub(crate) async fn forget_ended(connection: &mut SqliteConnection, before: Timestamp) -> Result<u64, StoreError> {
    let forgotten = sqlx::query(
        "DELETE FROM hooks WHERE open = 0 AND EXISTS (SELECT 1 FROM tasks WHERE id = task AND changed_at < ?)",
    )
    .bind(before.millis())
    .execute(connection)
    .await?;
    Ok(forgotten.rows_affected())
}

impl Store {
    /// Keeps a webhook of a task, in place of the one with the same identifier, whose place in the records it then
    /// takes; a new one begins after number `after`. At most the first of `limits` belong to the task, and at most the
    /// second of those that are told anything yet to the owner. Durable when it returns; the result is the
    /// number after which the webhook goes on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when `owner` has no such task, [`StoreError::OverLimit`].
    pub async fn keep_hook(
        &self,
        owner: &str,
        task: &str,
        id: &str,
        config: Value,
        (after, limits): (u64, [u32; 2]),
    ) -> Result<u64, StoreError> {
        self.change_hook(owner, task, id, To::Keep { config, after, limits }).await
    }

    /// Forgets a webhook; nothing when there is none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_hook(&self, owner: &str, task: &str, id: &str) -> Result<(), StoreError> {
        self.change_hook(owner, task, id, To::Forget).await.map(drop)
    }

    /// Notes how far a webhook is, and whether more may be delivered to it; nothing when there is none. When nothing may,
    /// its token and credentials are forgotten.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn move_hook(
        &self,
        owner: &str,
        task: &str,
        id: &str,
        (delivered, open): (Option<u64>, bool),
    ) -> Result<(), StoreError> {
        self.change_hook(owner, task, id, To::Move { delivered, open }).await.map(drop)
    }

    /// Forgets the webhooks that are told nothing more, of tasks that have stood where they stand since before `before`:
    /// also an address may hold a secret. Returns how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_ended_hooks(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(Work::ForgetEndedHooks(before)).await
    }

    async fn change_hook(&self, owner: &str, task: &str, id: &str, to: To) -> Result<u64, StoreError> {
        let (owner, task, id) = (owner.to_owned(), task.to_owned(), id.to_owned());
        self.write(Work::ChangeHook(Change { owner, task, id, to })).await
    }

    /// The webhooks of a task, by identifier.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn hooks(&self, owner: &str, task: &str) -> Result<Vec<HookRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT hooks.*, owner FROM hooks JOIN tasks ON tasks.id = hooks.task
             WHERE hooks.task = ? AND owner = ? ORDER BY hooks.id",
        )
        .bind(task)
        .bind(owner)
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.iter().map(hook).collect()
    }

    /// All webhooks to which something may still be delivered.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open_hooks(&self) -> Result<Vec<HookRecord>, StoreError> {
        let rows = sqlx::query("SELECT hooks.*, owner FROM hooks JOIN tasks ON tasks.id = hooks.task WHERE open = 1")
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(hook).collect()
    }
}

fn hook(row: &sqlx::sqlite::SqliteRow) -> Result<HookRecord, StoreError> {
    let delivered: i64 = row.try_get("delivered")?;
    Ok(HookRecord {
        owner: row.try_get("owner")?,
        task: row.try_get("task")?,
        id: row.try_get("id")?,
        config: row.json("config")?,
        delivered: place(delivered)?,
    })
}

fn place(delivered: i64) -> Result<u64, StoreError> {
    u64::try_from(delivered).map_err(|_| StoreError::corrupt("a webhook has a negative place"))
}
