//! What can go wrong with what is remembered, in words for the owner.

use std::{io, path::Path};
use tender_base::{Code, Did, MicroUsd, Problem};

/// A failed read or write. After an error nothing of the request was kept.
///
/// Cloneable, because a failing commit is the answer to every request that was in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process holds the database for longer than the busy timeout.
    #[error("the database is locked by another process")]
    Locked,
    /// A newer version of Tender wrote this database.
    #[error("the database has version {found}, but this Tender only knows versions up to {known}")]
    NewerDatabase {
        /// Version of the file.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
    /// The database must be migrated first, which reading alone does not do.
    #[error("the database has version {found} and must be brought to version {known} before it can be read")]
    OlderDatabase {
        /// Version of the file.
        found: i64,
        /// Version that this program reads.
        known: i64,
    },
    /// The database or a stored value is damaged, or is no database of Tender.
    #[error("the database is damaged: {what}")]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// A blob's bytes do not have its hash.
    #[error("the stored file {blob} is damaged")]
    DamagedBlob {
        /// SHA-256 it should have.
        blob: String,
    },
    /// No room to write.
    #[error("the disk is full; nothing was written")]
    DiskFull,
    /// The file system failed.
    #[error("{what}: {message}")]
    Io {
        /// What was being done to which path.
        what: String,
        /// The system's words.
        message: String,
    },
    /// SQLite failed in a way that has no name here.
    #[error("the database failed: {message}")]
    Database {
        /// SQLite's words.
        message: String,
    },
    /// Opened for reading only.
    #[error("the database is open for reading only")]
    ReadOnly,
    /// [`crate::Store::close`] was called.
    #[error("the database is closed")]
    Closed,
    /// The thing is in another state than the event starts from.
    #[error("{what} is {found}, not {expected}")]
    Stale {
        /// Which job or contract.
        what: String,
        /// The state the event starts from.
        expected: String,
        /// The state it is in.
        found: String,
    },
    /// A guard does not hold.
    #[error("{}: it would come to {}, the limit is {}", .limit.describe(), .limit.amount(*.wanted), .limit.amount(*.allowed))]
    OverLimit {
        /// Which limit.
        limit: Limit,
        /// What it would come to, this request included.
        wanted: i64,
        /// The limit itself.
        allowed: i64,
    },
    /// No such thing.
    #[error("there is no {what}")]
    NotFound {
        /// What was named.
        what: String,
    },
    /// It exists already and differs, or was used up.
    #[error("{what}")]
    Conflict {
        /// What is in the way.
        what: String,
    },
    /// The event contradicts itself: an entry that does not balance, a document of another contract.
    #[error("{what}")]
    Invalid {
        /// What is wrong.
        what: String,
    },
    /// Its time has passed.
    #[error("{what}")]
    Expired {
        /// What ran out.
        what: String,
    },
}

/// What a guard limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Spent today and reserved, in micro-USD.
    DailySpend,
    /// Owed by a peer and in work for it, in micro-USD.
    PeerCredit(Box<Did>),
    /// Contracts that hold a slot.
    Slots,
    /// Open proposals to one peer.
    PeerHolds(Box<Did>),
    /// Quotes of one client that it did not award.
    Quotes(Box<Did>),
    /// Webhooks of one task, or of one client.
    Hooks,
}

impl Limit {
    fn describe(&self) -> String {
        match self {
            Self::DailySpend => "the daily spending cap is reached".to_owned(),
            Self::PeerCredit(peer) => format!("the credit of peer {} is used up", peer.short()),
            Self::Slots => "all slots are taken".to_owned(),
            Self::PeerHolds(peer) => format!("peer {} holds too many open proposals", peer.short()),
            Self::Quotes(owner) => format!("{} has had too many quotes lately and awarded none of them", owner.short()),
            Self::Hooks => "the task or its owner has too many push notification configs".to_owned(),
        }
    }

    fn amount(&self, value: i64) -> String {
        match self {
            Self::DailySpend | Self::PeerCredit(_) => MicroUsd(value).to_string(),
            Self::Slots | Self::PeerHolds(_) | Self::Quotes(_) | Self::Hooks => value.to_string(),
        }
    }
}

impl StoreError {
    /// The error at an edge.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (code, hint) = match self {
            Self::Locked => (
                Code::Storage,
                "stop the other program that uses this data directory (another Tender, a backup or a database browser) and try again",
            ),
            Self::NewerDatabase { .. } => (
                Code::Storage,
                "install the newer version of Tender again, or restore the file tender.db.before-… that it left when it changed the database",
            ),
            Self::OlderDatabase { .. } => {
                (Code::Storage, "start the node once with this version; it makes a backup and migrates")
            }
            Self::Corrupt { .. } => (
                Code::Storage,
                "stop the node, move tender.db, tender.db-wal and tender.db-shm away together and run `tender restore` with the latest backup",
            ),
            Self::DamagedBlob { .. } => (Code::Storage, "check the disk; submit the job again to make the file anew"),
            Self::DiskFull => (Code::Storage, "free space on the disk of the data directory and try again"),
            Self::Io { .. } => {
                (Code::Storage, "check that the data directory exists, is writable and its disk is healthy")
            }
            Self::Database { .. } => (Code::Storage, "run `tender doctor`; if it repeats, restore the latest backup"),
            Self::ReadOnly => (Code::Storage, "start the node with `tender serve` and repeat the command"),
            Self::Closed => (Code::Unavailable, "the node is stopping; start it again"),
            Self::Stale { .. } => (Code::Conflict, "it moved on in the meantime; look at its present state"),
            Self::OverLimit { limit, .. } => match limit {
                Limit::DailySpend => {
                    (Code::OverLimit, "raise the daily cap in the settings, or wait until tomorrow (UTC)")
                }
                Limit::PeerCredit(_) => {
                    (Code::OverLimit, "settle what is owed, or have the contractor raise the peer's credit limit")
                }
                Limit::Slots => (Code::Unavailable, "try again when a job has ended, or ask another contractor"),
                Limit::PeerHolds(_) => (Code::TooMany, "award or decline the open proposals first"),
                Limit::Quotes(_) => (Code::TooMany, "award one of them, or wait some minutes"),
                Limit::Hooks => (Code::TooMany, "delete one first"),
            },
            Self::NotFound { .. } => (Code::NotFound, "check the identifier"),
            Self::Conflict { .. } => (Code::Conflict, ""),
            Self::Invalid { .. } => (Code::Invalid, ""),
            Self::Expired { .. } => (Code::Expired, "ask for a new one"),
        };
        Problem::new(code, self.to_string(), hint)
    }

    /// Whether the storage failed, rather than refused. The connection that saw it is not used again.
    #[must_use]
    pub fn is_storage_failure(&self) -> bool {
        matches!(self, Self::Locked | Self::Corrupt { .. } | Self::DiskFull | Self::Io { .. } | Self::Database { .. })
    }

    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::DiskFull;
        }
        Self::Io { what: format!("{doing} {}", path.display()), message: error.to_string() }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    pub(crate) fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict { what: what.into() }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        error.problem()
    }
}

// Primary result codes, https://www.sqlite.org/rescode.html; the extended code carries them in its low byte.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
const NOTADB: i32 = 26;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(cause) => cause.code().and_then(|code| code.parse::<i32>().ok()),
            sqlx::Error::Io(cause) => {
                return Self::Io { what: "the database file".to_owned(), message: cause.to_string() };
            }
            // No reader came free within the acquire timeout: someone else blocks the database.
            sqlx::Error::PoolTimedOut => return Self::Locked,
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => return Self::Closed,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => return Self::corrupt(error.to_string()),
            _ => None,
        };
        match code.map(|code| code & 0xff) {
            Some(BUSY | LOCKED) => Self::Locked,
            Some(READONLY) => Self::ReadOnly,
            Some(CORRUPT) => Self::corrupt(error.to_string()),
            Some(NOTADB) => Self::corrupt("the file tender.db is not a SQLite database"),
            Some(FULL) => Self::DiskFull,
            // The tables' own rules caught what the checks before them did not: the request's fault, not the disk's.
            Some(CONSTRAINT) => Self::invalid(format!("it contradicts what is stored: {error}")),
            Some(IOERR) => Self::Io { what: "reading or writing the database".to_owned(), message: error.to_string() },
            Some(CANTOPEN) => Self::Io { what: "opening the database".to_owned(), message: error.to_string() },
            _ => Self::Database { message: error.to_string() },
        }
    }
}
