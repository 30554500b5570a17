//! The lines of the trade: every contract that came to a delivery, with what was promised and what was measured.

use crate::{
    Store, StoreError,
    rows::{self, Columns},
};
use sqlx::{Row, sqlite::SqliteRow};
use tender_base::{Book, ContractState, Did, JobKind, MicroUsd, Role, Timestamp, documents::Message, ids::ContractId};

/// Most contracts that are read at once: some tens of megabytes with their proposals.
const MAX_LINES: usize = 50_000;

/// A contract that came to a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct TradeLine {
    /// Which.
    pub contract: ContractId,
    /// Sold or bought.
    pub role: Role,
    /// The other side.
    pub peer: Did,
    /// Kind of work.
    pub kind: JobKind,
    /// Where it stands.
    pub state: ContractState,
    /// What it came to.
    pub amount: Option<MicroUsd>,
    /// When it was called for.
    pub opened_at: Timestamp,
    /// When it was delivered.
    pub delivered_at: Timestamp,
    /// When the delivery was accepted.
    pub accepted_at: Option<Timestamp>,
    /// The price that was proposed.
    pub proposed: Option<MicroUsd>,
    /// The time that was promised, milliseconds.
    pub estimated_ms: Option<u64>,
}

fn line(row: &SqliteRow) -> Result<TradeLine, StoreError> {
    let body: Option<String> = row.try_get("body")?;
    let proposal = body.map(|body| rows::from_json::<Message>(&body, "a proposal")).transpose()?;
    let proposal = match proposal {
        Some(Message::Proposal(proposal)) => Some(proposal.document),
        _ => None,
    };
    Ok(TradeLine {
        contract: row.text("id")?,
        role: row.word("role")?,
        peer: row.text("peer")?,
        kind: row.word("kind")?,
        state: row.word("state")?,
        amount: row.money_or_none("amount")?,
        opened_at: row.time("opened_at")?,
        delivered_at: row.time("delivered_at")?,
        accepted_at: row.time_or_none("accepted_at")?,
        proposed: proposal.as_ref().map(|proposal| proposal.amount),
        estimated_ms: proposal.map(|proposal| proposal.estimated_ms),
    })
}

impl Store {
    /// The contracts that were delivered or accepted at or after `since`, oldest first; of more than 50,000 the newest,
    /// and whether there were more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn trade_lines(&self, book: Book, since: Timestamp) -> Result<(Vec<TradeLine>, bool), StoreError> {
        // Two ranges of one index; an OR of them would read every delivery that ever was.
        let mut rows = sqlx::query(
            "SELECT c.id, c.role, c.peer, c.kind, c.state, c.amount, c.opened_at, d.at AS delivered_at,
                 (SELECT min(a.at) FROM contract_states a WHERE a.contract = c.id AND a.state = 'accepted') AS accepted_at,
                 (SELECT p.body FROM documents p WHERE p.contract = c.id AND p.type = 'proposal') AS body
             FROM (SELECT contract FROM contract_states WHERE state = 'delivered' AND at >= ?2
                 UNION SELECT contract FROM contract_states WHERE state = 'accepted' AND at >= ?2) AS recent
             JOIN contracts c ON c.id = recent.contract
             JOIN contract_states d ON d.contract = c.id AND d.state = 'delivered'
             WHERE c.book = ?1
             ORDER BY d.at DESC, c.id DESC LIMIT ?3",
        )
        .bind(rows::word(book)?)
        .bind(since.millis())
        .bind(MAX_LINES as i64 + 1)
        .fetch_all(&mut *self.read().await?)
        .await?;
        let more = rows.len() > MAX_LINES;
        rows.truncate(MAX_LINES);
        Ok((rows.iter().rev().map(line).collect::<Result<_, _>>()?, more))
    }
}
