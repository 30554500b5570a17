//! The messages of a contract, each type once.

use crate::{
    StoreError,
    apply::Effect,
    rows::{self, Columns},
};
use sqlx::SqliteConnection;
use tender_base::{Sha256, Timestamp, documents::Message, ids::ContractId, signed::canonical};

/// The type under which a message is stored, and its hash: a document's own, or that of a refusal's content.
fn identify(message: &Message) -> Result<(&'static str, Sha256), StoreError> {
    Ok(match message {
        Message::Call(signed) => ("call", signed.hash()),
        Message::Proposal(signed) => ("proposal", signed.hash()),
        Message::Refusal(problem) => ("refusal", Sha256::of(&canonical(problem))),
        Message::Award(signed) => ("award", signed.hash()),
        Message::Decline(signed) => ("decline", signed.hash()),
        Message::Delivery(signed) => ("delivery", signed.hash()),
        Message::Acceptance(signed) => ("acceptance", signed.hash()),
        Message::Rejection(signed) => ("rejection", signed.hash()),
        Message::Abandonment(signed) => ("abandonment", signed.hash()),
        Message::Handback(signed) => ("handback", signed.hash()),
        Message::Countersignature(signed) => ("countersignature", signed.hash()),
        Message::Payment(_)
        | Message::PaymentConfirmation(_)
        | Message::PairingRequest(_)
        | Message::PairingAnswer(_)
        | Message::Succession(_) => {
            return Err(StoreError::invalid(
                "payments, pairings and successions are events of their own, not documents of a contract",
            ));
        }
    })
}

/// Stores `message` with its contract. The same one again changes nothing; another one of its type is refused,
/// so that neither side can take back what it signed.
pub(crate) async fn add(
    connection: &mut SqliteConnection,
    contract: ContractId,
    message: &Message,
    at: Timestamp,
) -> Result<Effect, StoreError> {
    let (kind, hash) = identify(message)?;
    if message.contract().is_some_and(|named| named != contract) {
        return Err(StoreError::invalid(format!("the {kind} names another contract than {contract}")));
    }
    let present: Option<String> = sqlx::query_scalar("SELECT hash FROM documents WHERE contract = ? AND type = ?")
        .bind(contract.to_string())
        .bind(kind)
        .fetch_optional(&mut *connection)
        .await?;
    match present {
        Some(present) if present == hash.to_string() => Ok(Effect::AlreadyThere),
        Some(_) => Err(StoreError::conflict(format!("contract {contract} already has another {kind}"))),
        None => {
            sqlx::query("INSERT INTO documents (contract, type, hash, at, body) VALUES (?, ?, ?, ?, ?)")
                .bind(contract.to_string())
                .bind(kind)
                .bind(hash.to_string())
                .bind(at.millis())
                .bind(rows::json(message)?)
                .execute(connection)
                .await?;
            Ok(Effect::Changed)
        }
    }
}

/// The documents of a contract, in the order in which they came, and when each did.
pub(crate) async fn of(
    connection: &mut SqliteConnection,
    contract: ContractId,
) -> Result<Vec<(Message, Timestamp)>, StoreError> {
    let rows = sqlx::query("SELECT body, at FROM documents WHERE contract = ? ORDER BY rowid")
        .bind(contract.to_string())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((row.json("body")?, row.time("at")?))).collect()
}
