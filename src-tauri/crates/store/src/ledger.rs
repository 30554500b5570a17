//! The double-entry ledger. Balances are kept with the postings, so a limit costs one look-up.

use crate::{
    MAX_ROWS, Store, StoreError,
    rows::{self, Columns},
};
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeMap;
use tender_base::{
    Book, MicroUsd, Role, Timestamp,
    ids::{ContractId, JobId},
    ledger::{Account, Entry, Posting},
};

/// Largest single posting: a billion dollars, so that thousands of them cannot overflow a balance of 63 bits.
const MAX_POSTING: u64 = 1_000_000_000_000_000;
/// Most lines of one entry; ours have two to four.
const MAX_LINES: usize = 64;
/// A day in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// One entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRecord {
    /// Sequence of the event that posted it.
    pub seq: u64,
    /// When it was posted.
    pub at: Timestamp,
    /// The contract it is about; none for a payment of several.
    pub contract: Option<ContractId>,
    /// Its lines; they sum to zero.
    pub postings: Vec<Posting>,
}

/// What happened on one day (UTC), each amount on the day it happened: a delivery of Monday that is accepted on
/// Tuesday and paid on Friday appears on three days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRow {
    /// Midnight UTC at its start.
    pub day: Timestamp,
    /// Amounts of the contracts delivered that day, accepted later or not.
    pub delivered: MicroUsd,
    /// How many contracts were accepted that day.
    pub accepted_count: u64,
    /// What came to be owed that day: income of a contractor, expense of a client.
    pub owed: MicroUsd,
    /// What was paid that day, as both sides recorded it.
    pub paid: MicroUsd,
}

/// Sums over a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Income as contractor.
    pub earned: MicroUsd,
    /// Expense as client.
    pub spent: MicroUsd,
}

/// Posts an entry: refuses what does not balance.
pub(crate) async fn post(
    connection: &mut SqliteConnection,
    seq: i64,
    at: Timestamp,
    entry: &Entry,
) -> Result<(), StoreError> {
    if !entry.balances() {
        return Err(StoreError::invalid("a ledger entry does not balance: its postings must sum to zero"));
    }
    if entry.postings.len() > MAX_LINES || entry.postings.iter().any(|p| p.amount.0.unsigned_abs() > MAX_POSTING) {
        return Err(StoreError::invalid(format!(
            "a ledger entry has more than {MAX_LINES} postings or one above {}",
            MicroUsd(MAX_POSTING.cast_signed())
        )));
    }
    let book = rows::word(entry.book)?;
    let id = sqlx::query("INSERT INTO entries (seq, at, book, contract) VALUES (?, ?, ?, ?)")
        .bind(seq)
        .bind(at.millis())
        .bind(&book)
        .bind(entry.contract.map(|contract| contract.to_string()))
        .execute(&mut *connection)
        .await?
        .last_insert_rowid();
    for (line, posting) in (0_i64..).zip(&entry.postings) {
        let account = posting.account.name();
        sqlx::query("INSERT INTO postings (entry, line, book, account, at, amount) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(id)
            .bind(line)
            .bind(&book)
            .bind(&account)
            .bind(at.millis())
            .bind(posting.amount.0)
            .execute(&mut *connection)
            .await?;
        let before = balance_of(connection, &book, &account).await?;
        let after = before
            .checked_add(posting.amount)
            .ok_or_else(|| StoreError::invalid(format!("the balance of {account} would overflow")))?;
        sqlx::query(
            "INSERT INTO balances (book, account, amount) VALUES (?, ?, ?)
             ON CONFLICT (book, account) DO UPDATE SET amount = excluded.amount",
        )
        .bind(&book)
        .bind(&account)
        .bind(after.0)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(crate) async fn balance(
    connection: &mut SqliteConnection,
    book: Book,
    account: &Account,
) -> Result<MicroUsd, StoreError> {
    balance_of(connection, &rows::word(book)?, &account.name()).await
}

async fn balance_of(connection: &mut SqliteConnection, book: &str, account: &str) -> Result<MicroUsd, StoreError> {
    let amount: Option<i64> = sqlx::query_scalar("SELECT amount FROM balances WHERE book = ? AND account = ?")
        .bind(book)
        .bind(account)
        .fetch_optional(connection)
        .await?;
    Ok(MicroUsd(amount.unwrap_or(0)))
}

/// The entry that gives back what is reserved for a job itself, in entries that carry its id in the place of a
/// contract's; none when nothing is.
pub(crate) async fn release_of(connection: &mut SqliteConnection, job: JobId) -> Result<Option<Entry>, StoreError> {
    let row = sqlx::query(
        "SELECT entries.book AS book, sum(postings.amount) AS amount
         FROM entries JOIN postings ON postings.entry = entries.id
         WHERE entries.contract = ? AND postings.account = ? GROUP BY entries.book HAVING sum(postings.amount) > 0",
    )
    .bind(job.to_string())
    .bind(Account::Reserved.name())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let amount = MicroUsd(row.try_get("amount")?);
    let entry = Entry::transfer(row.word("book")?, Some(job.hire()), Account::Unreserved, Account::Reserved, amount);
    Ok(Some(entry))
}

/// Sum of an account's postings at or after `from`.
pub(crate) async fn posted_since(
    connection: &mut SqliteConnection,
    book: Book,
    account: &Account,
    from: Timestamp,
) -> Result<MicroUsd, StoreError> {
    let sum: i64 =
        sqlx::query_scalar("SELECT coalesce(sum(amount), 0) FROM postings WHERE book = ? AND account = ? AND at >= ?")
            .bind(rows::word(book)?)
            .bind(account.name())
            .bind(from.millis())
            .fetch_one(connection)
            .await?;
    Ok(MicroUsd(sum))
}

/// Reads [`Account::name`] back.
fn account(name: &str) -> Result<Account, StoreError> {
    let unknown = || StoreError::corrupt(format!("the ledger holds the unknown account {name:?}"));
    Ok(match name {
        "reserved" => Account::Reserved,
        "unreserved" => Account::Unreserved,
        "expense" => Account::Expense,
        "income" => Account::Income,
        "external" => Account::External,
        _ => match name.split_once(':').ok_or_else(unknown)? {
            ("payable", peer) => Account::Payable(peer.parse().map_err(|_| unknown())?),
            ("receivable", peer) => Account::Receivable(peer.parse().map_err(|_| unknown())?),
            _ => return Err(unknown()),
        },
    })
}

/// `(day, sum)` rows of one query, by day.
async fn by_day(
    connection: &mut SqliteConnection,
    query: &'static str,
    binds: [&str; 2],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    let rows = sqlx::query(query)
        .bind(binds[0])
        .bind(binds[1])
        .bind(from.millis())
        .bind(to.millis())
        .bind(DAY_MS)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("day")?, row.try_get("total")?, row.try_get("n")?))).collect()
}

// The bill of a contract: what its delivery states, else what was proposed; `contracts.amount` follows both.
const DELIVERED: &str = "SELECT s.at / ?5 AS day, coalesce(sum(c.amount), 0) AS total, count(*) AS n
    FROM contract_states s JOIN contracts c ON c.id = s.contract
    WHERE s.state = 'delivered' AND c.book = ?1 AND c.role = ?2 AND s.at >= ?3 AND s.at < ?4 GROUP BY day";
const ACCEPTED: &str = "SELECT s.at / ?5 AS day, 0 AS total, count(*) AS n
    FROM contract_states s JOIN contracts c ON c.id = s.contract
    WHERE s.state = 'accepted' AND c.book = ?1 AND c.role = ?2 AND s.at >= ?3 AND s.at < ?4 GROUP BY day";
const POSTED: &str = "SELECT at / ?5 AS day, sum(amount) AS total, count(*) AS n
    FROM postings WHERE book = ?1 AND account = ?2 AND at >= ?3 AND at < ?4 GROUP BY day";
const PAID: &str = "SELECT at / ?5 AS day, sum(amount) AS total, count(*) AS n
    FROM payments WHERE book = ?1 AND role = ?2 AND at >= ?3 AND at < ?4 GROUP BY day";

impl Store {
    /// Every account with its balance (debit positive), by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn balances(&self, book: Book) -> Result<Vec<(Account, MicroUsd)>, StoreError> {
        let rows = sqlx::query("SELECT account, amount FROM balances WHERE book = ? ORDER BY account")
            .bind(rows::word(book)?)
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(|row| Ok((account(row.try_get("account")?)?, row.money("amount")?))).collect()
    }

    /// One account's balance, debit positive: what a peer owes is positive, what is owed to one negative.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn balance(&self, book: Book, account: &Account) -> Result<MicroUsd, StoreError> {
        balance(&mut *self.read().await?, book, account).await
    }

    /// The newest `limit` entries, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn entries(&self, book: Book, limit: u32) -> Result<Vec<EntryRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT e.id, e.seq, e.at, e.contract, p.account, p.amount
             FROM (SELECT * FROM entries WHERE book = ? ORDER BY id DESC LIMIT ?) e
             JOIN postings p ON p.entry = e.id ORDER BY e.id DESC, p.line",
        )
        .bind(rows::word(book)?)
        .bind(limit.min(MAX_ROWS))
        .fetch_all(&mut *self.read().await?)
        .await?;
        let mut entries: Vec<(i64, EntryRecord)> = Vec::new();
        for row in rows {
            let id: i64 = row.try_get("id")?;
            let posting = Posting { account: account(row.try_get("account")?)?, amount: row.money("amount")? };
            match entries.last_mut() {
                Some((last, entry)) if *last == id => entry.postings.push(posting),
                _ => {
                    let seq: i64 = row.try_get("seq")?;
                    let entry = EntryRecord {
                        seq: seq.unsigned_abs(),
                        at: row.time("at")?,
                        contract: row.text_or_none("contract")?,
                        postings: vec![posting],
                    };
                    entries.push((id, entry));
                }
            }
        }
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    /// The days from `from` until before `to` on which something was delivered, accepted or paid, oldest first:
    /// a contractor's income, a client's expense.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn earnings(
        &self,
        book: Book,
        role: Role,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<DayRow>, StoreError> {
        let (book, role_word) = (rows::word(book)?, rows::word(role)?);
        // Income is credited, so its sum is negative.
        let (account, sign) = match role {
            Role::Contractor => (Account::Income.name(), -1),
            Role::Client => (Account::Expense.name(), 1),
        };
        let mut view = self.read().await?;
        let mut days: BTreeMap<i64, DayRow> = BTreeMap::new();
        let mut row_of = |day: i64, change: &dyn Fn(&mut DayRow)| {
            change(days.entry(day).or_insert(DayRow {
                day: Timestamp::from_millis(day * DAY_MS),
                delivered: MicroUsd::ZERO,
                accepted_count: 0,
                owed: MicroUsd::ZERO,
                paid: MicroUsd::ZERO,
            }));
        };
        for (day, total, _) in by_day(&mut view, DELIVERED, [&book, &role_word], from, to).await? {
            row_of(day, &|row| row.delivered = MicroUsd(total));
        }
        for (day, _, n) in by_day(&mut view, ACCEPTED, [&book, &role_word], from, to).await? {
            row_of(day, &|row| row.accepted_count = n.unsigned_abs());
        }
        for (day, total, _) in by_day(&mut view, POSTED, [&book, &account], from, to).await? {
            row_of(day, &|row| row.owed = MicroUsd(sign * total));
        }
        for (day, total, _) in by_day(&mut view, PAID, [&book, &role_word], from, to).await? {
            row_of(day, &|row| row.paid = MicroUsd(total));
        }
        Ok(days.into_values().collect())
    }

    /// What was earned and spent since `from`, accepted work only.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn totals(&self, book: Book, from: Timestamp) -> Result<Totals, StoreError> {
        let mut view = self.read().await?;
        Ok(Totals {
            earned: posted_since(&mut view, book, &Account::Income, from).await?.negated(),
            spent: posted_since(&mut view, book, &Account::Expense, from).await?,
        })
    }

    /// Whether every entry sums to zero, every balance is the sum of its postings, and all balances of each book
    /// sum to zero.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn ledger_balances(&self) -> Result<bool, StoreError> {
        let wrong: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM postings GROUP BY entry HAVING sum(amount) <> 0))
                  + (SELECT count(*) FROM (SELECT 1 FROM balances GROUP BY book HAVING sum(amount) <> 0))
                  + (SELECT count(*) FROM balances b WHERE b.amount <>
                         (SELECT coalesce(sum(amount), 0) FROM postings p WHERE p.book = b.book AND p.account = b.account))
                  + (SELECT count(*) FROM postings p WHERE NOT EXISTS
                         (SELECT 1 FROM balances b WHERE b.book = p.book AND b.account = p.account))",
        )
        .fetch_one(&mut *self.read().await?)
        .await?;
        Ok(wrong == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::ContractState;

    #[test]
    fn accounts_read_back_as_named() {
        let peer = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK".parse().unwrap();
        for expected in [
            Account::Reserved,
            Account::Unreserved,
            Account::Expense,
            Account::Payable(peer),
            Account::Income,
            Account::Receivable(peer),
            Account::External,
        ] {
            assert_eq!(account(&expected.name()).unwrap(), expected);
        }
        assert!(account("payable:nobody").is_err());
        assert!(account("petty cash").is_err());
    }

    #[test]
    fn queries_name_the_states_as_they_are_stored() {
        assert!(DELIVERED.contains(&format!("'{}'", ContractState::Delivered.name())));
        assert!(ACCEPTED.contains(&format!("'{}'", ContractState::Accepted.name())));
    }
}
