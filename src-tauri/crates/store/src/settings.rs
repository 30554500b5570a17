//! Settings and the node's identity.

use crate::{
    Store, StoreError,
    apply::Effect,
    rows::{self, Columns},
};
use serde_json::Value;
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeMap;
use tender_base::{Did, Timestamp};
use uuid::Uuid;

pub(crate) async fn identity_created(
    connection: &mut SqliteConnection,
    did: &Did,
    data_id: Uuid,
) -> Result<Effect, StoreError> {
    let inserted = sqlx::query("INSERT INTO identity (one, did, data_id) VALUES (1, ?, ?) ON CONFLICT DO NOTHING")
        .bind(did.to_string())
        .bind(data_id.to_string())
        .execute(connection)
        .await?;
    match inserted.rows_affected() {
        1 => Ok(Effect::Changed),
        _ => Err(StoreError::conflict("this data directory already has an identity, which never changes")),
    }
}

pub(crate) async fn changed(
    connection: &mut SqliteConnection,
    key: &str,
    value: &Value,
    at: Timestamp,
) -> Result<Effect, StoreError> {
    if value.is_null() {
        let gone = sqlx::query("DELETE FROM settings WHERE key = ?").bind(key).execute(connection).await?;
        return Ok(if gone.rows_affected() == 0 { Effect::AlreadyThere } else { Effect::Changed });
    }
    sqlx::query(
        "INSERT INTO settings (key, value, changed_at) VALUES (?, ?, ?)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at",
    )
    .bind(key)
    .bind(rows::json(value)?)
    .bind(at.millis())
    .execute(connection)
    .await?;
    Ok(Effect::Changed)
}

impl Store {
    /// The node's public key; none before [`crate::Event::IdentityCreated`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn identity(&self) -> Result<Option<Did>, StoreError> {
        let row = sqlx::query("SELECT did FROM identity").fetch_optional(&mut *self.read().await?).await?;
        row.map(|row| row.text("did")).transpose()
    }

    /// The data directory's identifier, which names the secret in the keyring.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn data_id(&self) -> Result<Option<Uuid>, StoreError> {
        let row = sqlx::query("SELECT data_id FROM identity").fetch_optional(&mut *self.read().await?).await?;
        row.map(|row| row.text("data_id")).transpose()
    }

    /// One setting; none means its default.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn setting(&self, key: &str) -> Result<Option<Value>, StoreError> {
        let row = sqlx::query("SELECT value FROM settings WHERE key = ?")
            .bind(key)
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.map(|row| row.json("value")).transpose()
    }

    /// Every setting that is not at its default.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn settings(&self) -> Result<BTreeMap<String, Value>, StoreError> {
        let rows = sqlx::query("SELECT key, value FROM settings").fetch_all(&mut *self.read().await?).await?;
        rows.iter().map(|row| Ok((row.try_get("key")?, row.json("value")?))).collect()
    }
}
