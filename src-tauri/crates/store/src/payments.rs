//! Payments made outside, as both sides record them.

use crate::{
    MAX_ROWS, Store, StoreError,
    apply::Effect,
    contracts, ledger,
    rows::{self, Columns},
};
use sqlx::{SqliteConnection, sqlite::SqliteRow};
use tender_base::{
    Book, MicroUsd, Role, Signed, Timestamp,
    documents::{Payment, PaymentConfirmation},
    ids::PaymentId,
    ledger::Entry,
};

/// A recorded payment.
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentRecord {
    /// Which side this node is: a client paid, a contractor received.
    pub role: Role,
    /// By the payer.
    pub payment: Signed<Payment>,
    /// By the payee; none until it answered.
    pub confirmation: Option<Signed<PaymentConfirmation>>,
    /// When it was recorded here.
    pub at: Timestamp,
}

pub(crate) async fn recorded(
    connection: &mut SqliteConnection,
    seq: i64,
    payment: &Signed<Payment>,
    confirmation: Option<&Signed<PaymentConfirmation>>,
    role: Role,
    entries: &[Entry],
    at: Timestamp,
) -> Result<Effect, StoreError> {
    let document = &payment.document;
    let peer = match role {
        Role::Client => document.payee,
        Role::Contractor => document.payer,
    };
    if let Some(confirmation) = confirmation {
        check_confirmation(payment, confirmation)?;
    }
    let inserted = sqlx::query(
        "INSERT INTO payments (id, role, book, peer, amount, at, payment, confirmation, confirmed_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(document.payment.to_string())
    .bind(rows::word(role)?)
    .bind(rows::word(document.book)?)
    .bind(peer.to_string())
    .bind(document.amount.0)
    .bind(at.millis())
    .bind(rows::json(payment)?)
    .bind(confirmation.map(rows::json).transpose()?)
    .bind(confirmation.map(|_| at.millis()))
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 0 {
        return Err(StoreError::conflict(format!("payment {} is recorded already", document.payment)));
    }
    let mut sum: i128 = 0;
    for contract in &document.contracts {
        let found = contracts::settle(connection, seq, *contract, document.payment, at).await?;
        let (found_role, found_book, found_peer, amount) = found;
        if (found_role, found_book, found_peer) != (role, document.book, peer) {
            return Err(StoreError::invalid(format!(
                "payment {} names contract {contract}, which is of another peer, side or book",
                document.payment
            )));
        }
        sum += i128::from(amount.0);
    }
    if sum != i128::from(document.amount.0) {
        return Err(StoreError::invalid(format!(
            "payment {} is of {}, but its contracts come to {}",
            document.payment,
            document.amount,
            MicroUsd(i64::try_from(sum).unwrap_or(i64::MAX))
        )));
    }
    for entry in entries {
        if entry.book != document.book {
            return Err(StoreError::invalid(format!("an entry of payment {} is of another book", document.payment)));
        }
        ledger::post(connection, seq, at, entry).await?;
    }
    Ok(Effect::Changed)
}

pub(crate) async fn confirmed(
    connection: &mut SqliteConnection,
    confirmation: &Signed<PaymentConfirmation>,
    at: Timestamp,
) -> Result<Effect, StoreError> {
    let id = confirmation.document.payment;
    let row = sqlx::query("SELECT * FROM payments WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| StoreError::not_found(format!("payment {id}")))?;
    let known = record(&row)?;
    if let Some(present) = known.confirmation {
        return if present.hash() == confirmation.hash() {
            Ok(Effect::AlreadyThere)
        } else {
            Err(StoreError::conflict(format!("payment {id} was confirmed already")))
        };
    }
    check_confirmation(&known.payment, confirmation)?;
    sqlx::query("UPDATE payments SET confirmation = ?, confirmed_at = ? WHERE id = ?")
        .bind(rows::json(confirmation)?)
        .bind(at.millis())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(Effect::Changed)
}

fn check_confirmation(payment: &Signed<Payment>, confirmation: &Signed<PaymentConfirmation>) -> Result<(), StoreError> {
    if confirmation.document.payment == payment.document.payment && confirmation.document.hash == payment.hash() {
        return Ok(());
    }
    Err(StoreError::invalid("the confirmation is of another payment"))
}

fn record(row: &SqliteRow) -> Result<PaymentRecord, StoreError> {
    Ok(PaymentRecord {
        role: row.word("role")?,
        payment: row.json("payment")?,
        confirmation: row.json_or_none("confirmation")?,
        at: row.time("at")?,
    })
}

impl Store {
    /// One payment. A payee that is asked again answers with its confirmation from here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn payment(&self, payment: PaymentId) -> Result<Option<PaymentRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM payments WHERE id = ?")
            .bind(payment.to_string())
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.as_ref().map(record).transpose()
    }

    /// The newest `limit` payments, newest first. Those without a confirmation are to be sent again.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn payments(&self, book: Book, limit: u32) -> Result<Vec<PaymentRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM payments WHERE book = ? ORDER BY id DESC LIMIT ?")
            .bind(rows::word(book)?)
            .bind(limit.min(MAX_ROWS))
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(record).collect()
    }
}
