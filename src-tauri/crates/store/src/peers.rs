//! The circle: peers and the invitations that make them.

use crate::{Store, StoreError, apply::Effect, rows::Columns};
use serde::{Deserialize, Serialize};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tender_base::{Did, MicroUsd, Sha256, Timestamp, ids::InvitationId};

/// A paired node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// Its key.
    pub did: Did,
    /// What its owner calls it.
    pub name: String,
    /// Where its A2A interface listens; none when it only buys.
    pub address: Option<String>,
    /// What it may owe this node at most.
    pub credit_limit: MicroUsd,
    /// When it was paired.
    pub paired_at: Timestamp,
    /// Removed peers get no new contract; old contracts still name them.
    pub removed: bool,
    /// It holds an API key: this node signs in its name, and it is nobody whom this node could call.
    #[serde(default)]
    pub by_key: bool,
}

/// One-time permission to become a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationRecord {
    /// Its identifier.
    pub id: InvitationId,
    /// SHA-256 of the secret in the link; the secret itself is not stored.
    pub secret_sha256: Sha256,
    /// What the invited peer may owe.
    pub credit_limit: MicroUsd,
    /// After this it is refused.
    pub expires_at: Timestamp,
    /// Who took it.
    pub used_by: Option<Did>,
}

fn not_negative(limit: MicroUsd) -> Result<i64, StoreError> {
    if limit.0 < 0 {
        return Err(StoreError::invalid(format!("credit_limit is {limit}, but must not be negative")));
    }
    Ok(limit.0)
}

pub(crate) async fn paired(connection: &mut SqliteConnection, peer: &PeerRecord) -> Result<Effect, StoreError> {
    if peer.removed {
        return Err(StoreError::invalid("a peer is paired and removed at once"));
    }
    sqlx::query(
        "INSERT INTO peers (did, name, address, credit_limit, paired_at, by_key, removed_at) VALUES (?, ?, ?, ?, ?, ?, NULL)
         ON CONFLICT (did) DO UPDATE SET name = excluded.name, address = excluded.address,
             credit_limit = excluded.credit_limit, paired_at = excluded.paired_at, by_key = excluded.by_key,
             removed_at = NULL",
    )
    .bind(peer.did.to_string())
    .bind(&peer.name)
    .bind(&peer.address)
    .bind(not_negative(peer.credit_limit)?)
    .bind(peer.paired_at.millis())
    .bind(peer.by_key)
    .execute(connection)
    .await?;
    Ok(Effect::Changed)
}

pub(crate) async fn changed(
    connection: &mut SqliteConnection,
    did: &Did,
    credit_limit: Option<MicroUsd>,
    address: Option<&str>,
    name: Option<&str>,
) -> Result<Effect, StoreError> {
    let updated = sqlx::query(
        "UPDATE peers SET credit_limit = coalesce(?, credit_limit), address = coalesce(?, address),
             name = coalesce(?, name) WHERE did = ? AND removed_at IS NULL",
    )
    .bind(credit_limit.map(not_negative).transpose()?)
    .bind(address)
    .bind(name)
    .bind(did.to_string())
    .execute(connection)
    .await?;
    match updated.rows_affected() {
        0 => Err(StoreError::not_found(format!("peer {did}"))),
        _ => Ok(Effect::Changed),
    }
}

pub(crate) async fn removed(connection: &mut SqliteConnection, did: &Did, at: Timestamp) -> Result<Effect, StoreError> {
    let updated = sqlx::query("UPDATE peers SET removed_at = ? WHERE did = ? AND removed_at IS NULL")
        .bind(at.millis())
        .bind(did.to_string())
        .execute(connection)
        .await?;
    match updated.rows_affected() {
        0 => Err(StoreError::not_found(format!("peer {did}"))),
        _ => Ok(Effect::Changed),
    }
}

pub(crate) async fn invited(
    connection: &mut SqliteConnection,
    invitation: &InvitationRecord,
) -> Result<Effect, StoreError> {
    if invitation.used_by.is_some() {
        return Err(StoreError::invalid("an invitation is issued and used at once"));
    }
    let inserted = sqlx::query(
        "INSERT INTO invitations (id, secret_sha256, credit_limit, expires_at) VALUES (?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(invitation.id.to_string())
    .bind(invitation.secret_sha256.to_string())
    .bind(not_negative(invitation.credit_limit)?)
    .bind(invitation.expires_at.millis())
    .execute(connection)
    .await?;
    match inserted.rows_affected() {
        1 => Ok(Effect::Changed),
        _ => Err(StoreError::conflict(format!("invitation {} exists already", invitation.id))),
    }
}

pub(crate) async fn invitation_used(
    connection: &mut SqliteConnection,
    id: InvitationId,
    by: &Did,
    at: Timestamp,
) -> Result<Effect, StoreError> {
    let row = sqlx::query("SELECT expires_at, used_by FROM invitations WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| StoreError::not_found(format!("invitation {id}")))?;
    if row.text_or_none::<Did>("used_by")?.is_some() {
        return Err(StoreError::conflict("the invitation was used already"));
    }
    let expires_at = row.time("expires_at")?;
    if at > expires_at {
        return Err(StoreError::Expired { what: format!("the invitation ran out at {expires_at}") });
    }
    sqlx::query("UPDATE invitations SET used_by = ?, used_at = ? WHERE id = ?")
        .bind(by.to_string())
        .bind(at.millis())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(Effect::Changed)
}

fn peer(row: &SqliteRow) -> Result<PeerRecord, StoreError> {
    Ok(PeerRecord {
        did: row.text("did")?,
        name: row.try_get("name")?,
        address: row.try_get("address")?,
        credit_limit: row.money("credit_limit")?,
        paired_at: row.time("paired_at")?,
        removed: row.time_or_none("removed_at")?.is_some(),
        by_key: row.try_get("by_key")?,
    })
}

impl Store {
    /// All peers in the order of their pairing, removed ones included.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn peers(&self) -> Result<Vec<PeerRecord>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM peers ORDER BY paired_at, did").fetch_all(&mut *self.read().await?).await?;
        rows.iter().map(peer).collect()
    }

    /// One peer, removed or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn peer(&self, did: &Did) -> Result<Option<PeerRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM peers WHERE did = ?")
            .bind(did.to_string())
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.as_ref().map(peer).transpose()
    }

    /// The invitation with this secret, used and expired ones included.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn invitation(&self, secret_sha256: &Sha256) -> Result<Option<InvitationRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM invitations WHERE secret_sha256 = ?")
            .bind(secret_sha256.to_string())
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.map(|row| {
            Ok(InvitationRecord {
                id: row.text("id")?,
                secret_sha256: row.text("secret_sha256")?,
                credit_limit: row.money("credit_limit")?,
                expires_at: row.time("expires_at")?,
                used_by: row.text_or_none("used_by")?,
            })
        })
        .transpose()
    }
}
