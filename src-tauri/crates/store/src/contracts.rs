//! Contracts, on either side.

use crate::{
    MAX_ROWS, Store, StoreError,
    apply::Effect,
    documents, ledger,
    rows::{self, Columns},
    tasks,
};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};
use std::collections::HashMap;
use tender_base::{
    BlobRef, Book, ContractState, Did, JobKind, MicroUsd, Problem, Role, Signed, Timestamp,
    documents::{
        Acceptance, Award, CallForProposals, Countersignature, Delivery, Handback, Message, Proposal, Receipt,
        Rejection,
    },
    ids::{ContractId, JobId, PaymentId},
    ledger::Entry,
};

/// A contract and everything that is shown of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ContractRecord {
    /// Its identifier.
    pub id: ContractId,
    /// Which side this node is.
    pub role: Role,
    /// Real or demonstration money.
    pub book: Book,
    /// The other side.
    pub peer: Did,
    /// The client's job; none on the contractor's side.
    pub job: Option<JobId>,
    /// The kind of work.
    pub kind: JobKind,
    /// Where it stands.
    pub state: ContractState,
    /// Why it stands there.
    pub reason: Option<Problem>,
    /// The bill: as proposed, then as delivered; none before a proposal.
    pub amount: Option<MicroUsd>,
    /// What is computed on.
    pub input: BlobRef,
    /// What was delivered.
    pub output: Option<BlobRef>,
    /// The payment that settled it.
    pub payment: Option<PaymentId>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it entered its state.
    pub changed_at: Timestamp,
    /// When its state ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Every state it entered, in order: the contract line.
    pub times: Vec<(ContractState, Timestamp)>,
    /// Its documents in the order in which they came; empty in listings.
    pub documents: Vec<Message>,
    /// When each of them came.
    pub documented: Vec<Timestamp>,
}

macro_rules! document {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> Option<&Signed<$type>> {
            self.documents.iter().find_map(|document| match document {
                Message::$variant(signed) => Some(signed),
                _ => None,
            })
        }
    };
}

impl ContractRecord {
    document!(/** The call; none in listings. */ call, Call, CallForProposals);
    document!(/** The proposal; none in listings. */ proposal, Proposal, Proposal);
    document!(/** The award; none in listings. */ award, Award, Award);
    document!(/** The delivery; none in listings. */ delivery, Delivery, Delivery);
    document!(/** The acceptance; none in listings. */ acceptance, Acceptance, Acceptance);
    document!(/** The rejection; none in listings. */ rejection, Rejection, Rejection);
    document!(/** The handback; none in listings. */ handback, Handback, Handback);
    document!(/** The countersignature; none in listings. */ countersignature, Countersignature, Countersignature);
}

/// Which contracts to list, newest first. The default lists the newest [`MAX_ROWS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractFilter {
    /// Only as this side.
    pub role: Option<Role>,
    /// Only these states; all when empty.
    pub states: Vec<ContractState>,
    /// Only with this peer.
    pub peer: Option<Did>,
    /// Only of this job.
    pub job: Option<JobId>,
    /// Only this book.
    pub book: Option<Book>,
    /// Only contracts older than this one: the last of the previous page.
    pub before: Option<ContractId>,
    /// Most rows, at most [`MAX_ROWS`].
    pub limit: u32,
}

impl Default for ContractFilter {
    fn default() -> Self {
        Self { role: None, states: Vec::new(), peer: None, job: None, book: None, before: None, limit: MAX_ROWS }
    }
}

/// All contracts of one side in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateTotal {
    /// The state.
    pub state: ContractState,
    /// How many.
    pub count: u64,
    /// Their bills together; contracts without a proposal count nothing.
    pub amount: MicroUsd,
}

/// What [`crate::Event::ContractOpened`] carries.
pub(crate) struct Opening<'a> {
    pub contract: ContractId,
    pub role: Role,
    pub book: Book,
    pub peer: &'a Did,
    pub job: Option<JobId>,
    pub state: ContractState,
    pub call: &'a Signed<CallForProposals>,
    pub proposal: Option<&'a Signed<Proposal>>,
    pub expires_at: Option<Timestamp>,
    pub at: Timestamp,
}

/// What [`crate::Event::ContractMoved`] carries.
pub(crate) struct Change<'a> {
    pub contract: ContractId,
    pub from: ContractState,
    pub to: ContractState,
    pub documents: &'a [Message],
    pub entries: &'a [Entry],
    pub reason: Option<&'a Problem>,
    pub expires_at: Option<Timestamp>,
    pub at: Timestamp,
}

pub(crate) async fn opened(
    connection: &mut SqliteConnection,
    seq: i64,
    opening: Opening<'_>,
) -> Result<Effect, StoreError> {
    let Opening { contract, role, book, peer, job, state, call, proposal, expires_at, at } = opening;
    if call.document.book != book {
        return Err(StoreError::invalid(format!("contract {contract} is opened in another book than its call names")));
    }
    if let Some(job) = job {
        let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ? AND book = ?)")
            .bind(job.to_string())
            .bind(rows::word(book)?)
            .fetch_one(&mut *connection)
            .await?;
        if !known {
            return Err(StoreError::not_found(format!("job {job} in this book")));
        }
    }
    let work = &call.document.job;
    let inserted = sqlx::query(
        "INSERT INTO contracts (id, role, book, peer, job, kind, state, input_sha256, input_bytes, opened_at, changed_at,
             expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(contract.to_string())
    .bind(rows::word(role)?)
    .bind(rows::word(book)?)
    .bind(peer.to_string())
    .bind(job.map(|job| job.to_string()))
    .bind(work.work.kind().name())
    .bind(state.name())
    .bind(work.input.sha256.to_string())
    .bind(rows::integer(work.input.bytes)?)
    .bind(at.millis())
    .bind(at.millis())
    .bind(expires_at.map(Timestamp::millis))
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 0 {
        return Err(StoreError::conflict(format!("contract {contract} exists already")));
    }
    entered(connection, seq, contract, state, at).await?;
    add(connection, contract, &Message::Call(call.clone()), at).await?;
    if let Some(proposal) = proposal {
        add(connection, contract, &Message::Proposal(proposal.clone()), at).await?;
    }
    Ok(Effect::Changed)
}

/// The book, side and peer of a contract, if it is in state `from`.
async fn expect_state(
    connection: &mut SqliteConnection,
    contract: ContractId,
    from: ContractState,
) -> Result<(Book, Role, Did), StoreError> {
    let row = sqlx::query("SELECT state, book, role, peer FROM contracts WHERE id = ?")
        .bind(contract.to_string())
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| StoreError::not_found(format!("contract {contract}")))?;
    let found: ContractState = row.word("state")?;
    if found == from {
        return Ok((row.word("book")?, row.word("role")?, row.text("peer")?));
    }
    Err(StoreError::Stale {
        what: format!("contract {contract}"),
        expected: from.name().to_owned(),
        found: found.name().to_owned(),
    })
}

pub(crate) async fn moved(
    connection: &mut SqliteConnection,
    seq: i64,
    change: Change<'_>,
) -> Result<Effect, StoreError> {
    let Change { contract, from, to, documents, entries, reason, expires_at, at } = change;
    let (book, role, peer) = expect_state(connection, contract, from).await?;
    for document in documents {
        add(connection, contract, document, at).await?;
    }
    for entry in entries {
        if entry.book != book || entry.contract.is_some_and(|named| named != contract) {
            return Err(StoreError::invalid(format!("an entry of contract {contract} names another contract or book")));
        }
        ledger::post(connection, seq, at, entry).await?;
    }
    sqlx::query(
        "UPDATE contracts SET state = ?1, reason = ?2, expires_at = ?3,
             changed_at = CASE WHEN state = ?1 THEN changed_at ELSE ?4 END WHERE id = ?5",
    )
    .bind(to.name())
    .bind(reason.map(rows::json).transpose()?)
    .bind(expires_at.map(Timestamp::millis))
    .bind(at.millis())
    .bind(contract.to_string())
    .execute(&mut *connection)
    .await?;
    if to != from {
        entered(connection, seq, contract, to, at).await?;
        if role == Role::Contractor {
            tasks::follow(connection, contract, &peer, to, at).await?;
        }
    }
    Ok(Effect::Changed)
}

pub(crate) async fn documented(
    connection: &mut SqliteConnection,
    contract: ContractId,
    document: &Message,
    at: Timestamp,
) -> Result<Effect, StoreError> {
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM contracts WHERE id = ?)")
        .bind(contract.to_string())
        .fetch_one(&mut *connection)
        .await?;
    if !known {
        return Err(StoreError::not_found(format!("contract {contract}")));
    }
    add(connection, contract, document, at).await
}

/// An accepted contract becomes settled by `payment`. Returns what it was about: role, book, peer and amount.
pub(crate) async fn settle(
    connection: &mut SqliteConnection,
    seq: i64,
    contract: ContractId,
    payment: PaymentId,
    at: Timestamp,
) -> Result<(Role, Book, Did, MicroUsd), StoreError> {
    expect_state(connection, contract, ContractState::Accepted).await?;
    let row = sqlx::query(
        "UPDATE contracts SET state = ?, payment = ?, changed_at = ?, expires_at = NULL WHERE id = ?
         RETURNING role, book, peer, amount",
    )
    .bind(ContractState::Settled.name())
    .bind(payment.to_string())
    .bind(at.millis())
    .bind(contract.to_string())
    .fetch_one(&mut *connection)
    .await?;
    entered(connection, seq, contract, ContractState::Settled, at).await?;
    let amount = row
        .money_or_none("amount")?
        .ok_or_else(|| StoreError::corrupt(format!("contract {contract} is accepted without an amount")))?;
    Ok((row.word("role")?, row.word("book")?, row.text("peer")?, amount))
}

/// Stores a document, and what the listings show of it.
async fn add(
    connection: &mut SqliteConnection,
    contract: ContractId,
    document: &Message,
    at: Timestamp,
) -> Result<Effect, StoreError> {
    if documents::add(connection, contract, document, at).await? == Effect::AlreadyThere {
        return Ok(Effect::AlreadyThere);
    }
    let (amount, output) = match document {
        Message::Proposal(signed) => (signed.document.amount, None),
        Message::Delivery(signed) => (signed.document.amount, Some(signed.document.output)),
        Message::Acceptance(signed) => (signed.document.amount, None),
        _ => return Ok(Effect::Changed),
    };
    if amount.0 < 0 {
        return Err(StoreError::invalid(format!("contract {contract} would have the negative amount {amount}")));
    }
    sqlx::query(
        "UPDATE contracts SET amount = ?, output_sha256 = coalesce(?, output_sha256),
             output_bytes = coalesce(?, output_bytes) WHERE id = ?",
    )
    .bind(amount.0)
    .bind(output.map(|output| output.sha256.to_string()))
    .bind(output.map(|output| rows::integer(output.bytes)).transpose()?)
    .bind(contract.to_string())
    .execute(connection)
    .await?;
    Ok(Effect::Changed)
}

async fn entered(
    connection: &mut SqliteConnection,
    seq: i64,
    contract: ContractId,
    state: ContractState,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO contract_states (contract, seq, state, at) VALUES (?, ?, ?, ?)")
        .bind(contract.to_string())
        .bind(seq)
        .bind(state.name())
        .bind(at.millis())
        .execute(connection)
        .await?;
    Ok(())
}

fn record(row: &SqliteRow) -> Result<ContractRecord, StoreError> {
    Ok(ContractRecord {
        id: row.text("id")?,
        role: row.word("role")?,
        book: row.word("book")?,
        peer: row.text("peer")?,
        job: row.text_or_none("job")?,
        kind: row.word("kind")?,
        state: row.word("state")?,
        reason: row.json_or_none("reason")?,
        amount: row.money_or_none("amount")?,
        input: row.blob("input")?.ok_or_else(|| StoreError::corrupt("a contract has no input"))?,
        output: row.blob("output")?,
        payment: row.text_or_none("payment")?,
        opened_at: row.time("opened_at")?,
        changed_at: row.time("changed_at")?,
        expires_at: row.time_or_none("expires_at")?,
        times: Vec::new(),
        documents: Vec::new(),
        documented: Vec::new(),
    })
}

/// Adds the states that the contracts went through.
async fn add_times(connection: &mut SqliteConnection, contracts: &mut [ContractRecord]) -> Result<(), StoreError> {
    let ids: Vec<ContractId> = contracts.iter().map(|contract| contract.id).collect();
    let rows = sqlx::query(
        "SELECT contract, state, at FROM contract_states
         WHERE contract IN (SELECT value FROM json_each(?)) ORDER BY contract, seq",
    )
    .bind(rows::json(&ids)?)
    .fetch_all(connection)
    .await?;
    let mut places: HashMap<ContractId, &mut ContractRecord> =
        contracts.iter_mut().map(|contract| (contract.id, contract)).collect();
    for row in rows {
        if let Some(contract) = places.get_mut(&row.text("contract")?) {
            contract.times.push((row.word("state")?, row.time("at")?));
        }
    }
    Ok(())
}

/// One contract with its documents.
pub(crate) async fn one(
    connection: &mut SqliteConnection,
    contract: ContractId,
) -> Result<Option<ContractRecord>, StoreError> {
    let row = sqlx::query("SELECT * FROM contracts WHERE id = ?")
        .bind(contract.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut found = [record(&row)?];
    add_times(connection, &mut found).await?;
    let [mut found] = found;
    (found.documents, found.documented) = documents::of(connection, contract).await?.into_iter().unzip();
    Ok(Some(found))
}

impl Store {
    /// One contract with its documents.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn contract(&self, contract: ContractId) -> Result<Option<ContractRecord>, StoreError> {
        one(&mut *self.read().await?, contract).await
    }

    /// Contracts, newest first, without their documents.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn contracts(&self, filter: ContractFilter) -> Result<Vec<ContractRecord>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM contracts WHERE TRUE");
        if let Some(role) = filter.role {
            query.push(" AND role = ").push_bind(rows::word(role)?);
        }
        if !filter.states.is_empty() {
            query.push(" AND state IN (SELECT value FROM json_each(").push_bind(rows::json(&filter.states)?).push("))");
        }
        if let Some(peer) = filter.peer {
            query.push(" AND peer = ").push_bind(peer.to_string());
        }
        if let Some(job) = filter.job {
            query.push(" AND job = ").push_bind(job.to_string());
        }
        if let Some(book) = filter.book {
            query.push(" AND book = ").push_bind(rows::word(book)?);
        }
        if let Some(before) = filter.before {
            query.push(" AND id < ").push_bind(before.to_string());
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(filter.limit.min(MAX_ROWS));
        let mut view = self.read().await?;
        let rows = query.build().fetch_all(&mut *view).await?;
        let mut contracts = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        add_times(&mut view, &mut contracts).await?;
        Ok(contracts)
    }

    /// How many contracts of one side are in each state, and what they come to. Sums are taken here, since a
    /// listing may be cut.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn contract_totals(&self, book: Book, role: Role) -> Result<Vec<StateTotal>, StoreError> {
        let rows = sqlx::query(
            "SELECT state, count(*) AS n, coalesce(sum(amount), 0) AS amount FROM contracts
             WHERE book = ? AND role = ? GROUP BY state ORDER BY state",
        )
        .bind(rows::word(book)?)
        .bind(rows::word(role)?)
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.iter()
            .map(|row| {
                let count: i64 = row.try_get("n")?;
                Ok(StateTotal { state: row.word("state")?, count: count.unsigned_abs(), amount: row.money("amount")? })
            })
            .collect()
    }

    /// The receipt of a contract; none until all six documents are there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn receipt(&self, contract: ContractId) -> Result<Option<Receipt>, StoreError> {
        let (mut call, mut proposal, mut award, mut delivery, mut acceptance, mut countersignature) =
            (None, None, None, None, None, None);
        for (document, _) in documents::of(&mut *self.read().await?, contract).await? {
            match document {
                Message::Call(signed) => call = Some(signed),
                Message::Proposal(signed) => proposal = Some(signed),
                Message::Award(signed) => award = Some(signed),
                Message::Delivery(signed) => delivery = Some(signed),
                Message::Acceptance(signed) => acceptance = Some(signed),
                Message::Countersignature(signed) => countersignature = Some(signed),
                _ => {}
            }
        }
        let (Some(call), Some(proposal), Some(award), Some(delivery), Some(acceptance), Some(countersignature)) =
            (call, proposal, award, delivery, acceptance, countersignature)
        else {
            return Ok(None);
        };
        Ok(Some(Receipt { call, proposal, award, delivery, acceptance, countersignature }))
    }
}
