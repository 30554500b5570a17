//! The tables follow from the events: folding all of them into an empty database gives the same tables.

use crate::{MAX_ROWS, Store, StoreError, apply, database, database::Options};
use sqlx::{AssertSqlSafe, Column, Connection, Row, SqliteConnection, ValueRef};
use std::{collections::BTreeMap, path::Path};
use tender_base::Sha256;

impl Store {
    /// Applies every event to a new database in `empty` and opens it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when `empty` has a database, and any error of applying: then the events and this
    /// program disagree.
    pub async fn replay_into(&self, empty: &Path) -> Result<Self, StoreError> {
        if empty.join(crate::DATABASE_FILE).exists() {
            return Err(StoreError::conflict(format!("{} already has a database", empty.display())));
        }
        database::prepare_directory(empty)?;
        let mut target = database::connect_and_migrate(empty, &Options::default()).await?;
        let mut transaction = target.begin().await?;
        let mut last = 0;
        loop {
            let events = self.events_after(last, MAX_ROWS).await?;
            if events.is_empty() {
                break;
            }
            for (seq, at, event) in events {
                if apply::one(&mut transaction, seq, at, &event).await? != apply::Effect::Changed {
                    return Err(StoreError::corrupt(format!("event {seq} changes nothing when replayed")));
                }
                last = seq;
            }
        }
        transaction.commit().await?;
        target.close().await?;
        Self::open(empty).await
    }

    /// A digest of every table that follows from the events, to compare two databases.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn table_digests(&self) -> Result<BTreeMap<String, Sha256>, StoreError> {
        let mut view = self.read().await?;
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM sqlite_master
             WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT IN ('_sqlx_migrations', 'blobs', 'hooks')",
        )
        .fetch_all(&mut *view)
        .await?;
        let mut digests = BTreeMap::new();
        for table in tables {
            let digest = digest(&mut view, &table).await?;
            digests.insert(table, digest);
        }
        Ok(digests)
    }
}

async fn digest(connection: &mut SqliteConnection, table: &str) -> Result<Sha256, StoreError> {
    // The name comes from the schema. Every table's first two columns order its rows: they hold its key.
    let sql = AssertSqlSafe(format!("SELECT * FROM \"{table}\" ORDER BY 1, 2"));
    let mut text = String::new();
    for row in sqlx::query(sql).fetch_all(connection).await? {
        for column in row.columns() {
            let value = row.try_get_raw(column.ordinal())?;
            let value = if value.is_null() {
                "null".to_owned()
            } else if value.type_info().as_ref() == &<i64 as sqlx::Type<sqlx::Sqlite>>::type_info() {
                row.try_get::<i64, _>(column.ordinal())?.to_string()
            } else {
                format!("{:?}", row.try_get::<String, _>(column.ordinal())?)
            };
            text.push_str(&value);
            text.push('|');
        }
        text.push('\n');
    }
    Ok(Sha256::of(text.as_bytes()))
}
