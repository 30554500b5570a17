//! Calls for work here: what became of those that were answered with a proposal, and why the others were refused. Only
//! those of peers and of holders of a key are counted.

use crate::{
    Store, StoreError,
    apply::Effect,
    rows::{self, Columns},
};
use serde::{Deserialize, Serialize};
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeMap;
use tender_base::{Book, Timestamp};

const DAY_MS: i64 = 86_400_000;
/// Days for which refusals are kept.
const KEPT_DAYS: i64 = 400;

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// Everything is stopped by the owner's switch.
    Stopped,
    /// Selling is off.
    NotSelling,
    /// The owner paused it.
    Paused,
    /// The guard gave the machine to its owner.
    Guard,
    /// Every slot holds a contract.
    SlotsTaken,
    /// The peer holds too many open proposals.
    TooManyOpen,
    /// The peer's credit limit is reached.
    CreditUsedUp,
    /// The model is not here.
    NoSuchModel,
    /// The model does not fit the memory.
    DoesNotFit,
    /// The deadline is too far away.
    Deadline,
    /// A client's kernel, and the sandbox lacks a layer.
    Unconfined,
    /// The call was about the other kind of money.
    OtherMoney,
    /// Anything else: the call or the job made no sense.
    Other,
}

impl Refused {
    /// Whether the call asked for something that is not offered here at all.
    #[must_use]
    pub fn is_no_match(self) -> bool {
        matches!(
            self,
            Self::NoSuchModel | Self::DoesNotFit | Self::Deadline | Self::Unconfined | Self::OtherMoney | Self::Other
        )
    }
}

/// What became of the calls of a day that were answered with a proposal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayOfDemand {
    /// Jobs for which a proposal was made, however often they were called for.
    pub quoted: u64,
    /// Of these, awarded.
    pub won: u64,
    /// Of these, delivered.
    pub delivered: u64,
    /// How proposals and awards ended that brought nothing, by a word each: `declined`, `expired`, `failed`,
    /// `abandoned`, `handed_back`, `rejected`. A client declines when it takes another and when it only asked for the
    /// price; it does not say which.
    pub lost: BTreeMap<String, u64>,
    /// Calls that were refused.
    pub refused: BTreeMap<Refused, u64>,
}

/// Adds to what was refused on the day of `at`, and forgets days long past.
pub(crate) async fn refused(
    connection: &mut SqliteConnection,
    at: Timestamp,
    counts: &BTreeMap<Refused, u64>,
) -> Result<Effect, StoreError> {
    let day = at.start_of_day().millis();
    for (why, count) in counts {
        sqlx::query(
            "INSERT INTO refused_calls (day, why, count) VALUES (?, ?, ?)
             ON CONFLICT (day, why) DO UPDATE SET count = count + excluded.count",
        )
        .bind(day)
        .bind(rows::word(*why)?)
        .bind(rows::integer(*count)?)
        .execute(&mut *connection)
        .await?;
    }
    let oldest = day - KEPT_DAYS * DAY_MS;
    sqlx::query("DELETE FROM refused_calls WHERE day < ?").bind(oldest).execute(connection).await?;
    Ok(Effect::Changed)
}

impl Store {
    /// What became of the calls for work here since `since`, by the day (UTC) of the call.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn demand_since(
        &self,
        book: Book,
        since: Timestamp,
    ) -> Result<BTreeMap<Timestamp, DayOfDemand>, StoreError> {
        let since = since.start_of_day().millis();
        let mut view = self.read().await?;
        let mut days: BTreeMap<Timestamp, DayOfDemand> = BTreeMap::new();
        let answered = sqlx::query(
            // Of the contracts of one job the one counts that came furthest, and the last of these: a client calls
            // for its job again when nobody could take it. SQLite takes the other columns from the row of the maximum.
            "SELECT opened_at / ?3 * ?3 AS day, state, won, delivered, declined, count(*) AS n FROM (
                 SELECT *, max((won + delivered) * (1 << 50) + opened_at) FROM (
                     SELECT c.opened_at, c.state, c.peer,
                         (SELECT body ->> '$.document.job' FROM documents d WHERE d.contract = c.id AND d.type = 'call')
                             AS job,
                         EXISTS (SELECT 1 FROM contract_states s WHERE s.contract = c.id AND s.state = 'awarded') AS won,
                         EXISTS (SELECT 1 FROM contract_states s WHERE s.contract = c.id AND s.state = 'delivered')
                             AS delivered,
                         EXISTS (SELECT 1 FROM documents d WHERE d.contract = c.id AND d.type = 'decline') AS declined
                     FROM contracts c WHERE c.role = 'contractor' AND c.book = ?1 AND c.opened_at >= ?2
                 ) GROUP BY peer, job
             ) GROUP BY day, state, won, delivered, declined",
        )
        .bind(rows::word(book)?)
        .bind(since)
        .bind(DAY_MS)
        .fetch_all(&mut *view)
        .await?;
        for row in answered {
            let n: i64 = row.try_get("n")?;
            let n = n.unsigned_abs();
            let (won, delivered, declined): (bool, bool, bool) =
                (row.try_get("won")?, row.try_get("delivered")?, row.try_get("declined")?);
            let state: String = row.try_get("state")?;
            let day = days.entry(row.time("day")?).or_default();
            day.quoted += n;
            day.won += if won { n } else { 0 };
            day.delivered += if delivered { n } else { 0 };
            let lost = match state.as_str() {
                "lapsed" if declined => Some("declined"),
                "lapsed" => Some("expired"),
                "failed" | "abandoned" | "handed_back" | "rejected" => Some(state.as_str()),
                _ => None,
            };
            if let Some(lost) = lost {
                *day.lost.entry(lost.to_owned()).or_default() += n;
            }
        }
        let refused = sqlx::query("SELECT day, why, count FROM refused_calls WHERE day >= ?")
            .bind(since)
            .fetch_all(&mut *view)
            .await?;
        for row in refused {
            let count: i64 = row.try_get("count")?;
            days.entry(row.time("day")?).or_default().refused.insert(row.word("why")?, count.unsigned_abs());
        }
        Ok(days)
    }
}
