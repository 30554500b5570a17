//! What is remembered: events and the tables that follow from them, a double-entry ledger, blobs. The only place
//! with SQL.
//!
//! [`Store::apply`] writes events and the tables they change in one transaction and returns when it is durable.
//! One task owns the one writing connection and commits what is queued together ([`Store::open`]); reads go to a
//! few connections of their own and see what is committed. States are given by events and checked only against
//! the present state; what may follow what is decided elsewhere.

mod apply;
mod backup;
mod blobs;
mod contracts;
mod database;
mod demand;
mod documents;
mod error;
mod event;
mod guards;
mod history;
mod hooks;
mod jobs;
mod ledger;
mod lines;
mod payments;
mod peers;
mod replay;
mod rows;
mod settings;
mod succession;
mod tasks;
mod work;
mod writer;

pub use contracts::{ContractFilter, ContractRecord, StateTotal};
pub use demand::{DayOfDemand, Refused};
pub use error::{Limit, StoreError};
pub use event::{EVENT_VERSION, Event, Guard};
pub use hooks::HookRecord;
pub use jobs::{Hired, JobFilter, JobRecord};
pub use ledger::{DayRow, EntryRecord, Totals};
pub use lines::TradeLine;
pub use payments::PaymentRecord;
pub use peers::{InvitationRecord, PeerRecord};
pub use tasks::{TaskFilter, TaskHead, TaskMessage, TaskPage, TaskRecord, TaskState, TaskStep};
pub use work::{LoggedWork, Place, WorkRecord};
pub use writer::WriterCounts;

use database::Options;
use sqlx::{Sqlite, SqlitePool, Transaction};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tender_base::Timestamp;
use tokio::sync::{broadcast, mpsc};
use writer::{Work, Writer};

/// Name of the database in the data directory.
pub const DATABASE_FILE: &str = "tender.db";
/// Most rows one read returns: a page is held in memory whole.
pub const MAX_ROWS: u32 = 1000;
/// Committed events a subscriber may lag behind before it must read a new snapshot.
const SUBSCRIPTION_EVENTS: usize = 1024;

/// The node's memory. Cheap to clone; all clones share the writer.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    readers: SqlitePool,
    /// None when opened for reading only.
    writer: Option<mpsc::Sender<writer::Message>>,
    committed: broadcast::Sender<(u64, Arc<Event>)>,
    counts: Arc<writer::Counters>,
    /// Held for reading while a blob is written and for writing while blobs are swept, so that a sweep never
    /// removes a file that was just renewed.
    blobs: tokio::sync::RwLock<()>,
}

impl Store {
    /// Opens the data directory's database for reading and writing; creates both when missing (directory 0700,
    /// database 0600). An older database is backed up to `tender.db.before-<version>` and migrated.
    ///
    /// The caller holds the directory's lock: only one process may have it open like this. Must be called within
    /// a tokio runtime, which then runs the writer.
    ///
    /// # Errors
    /// [`StoreError::NewerDatabase`], [`StoreError::Locked`], [`StoreError::Corrupt`], [`StoreError::DiskFull`],
    /// [`StoreError::Io`].
    pub async fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, &Options::default()).await
    }

    async fn open_with(dir: &Path, options: &Options) -> Result<Self, StoreError> {
        database::prepare_directory(dir)?;
        let connection = database::connect_and_migrate(dir, options).await?;
        blobs::prepare(dir)?;
        let (committed, _) = broadcast::channel(SUBSCRIPTION_EVENTS);
        let counts = Arc::new(writer::Counters::default());
        let writer = Writer::start(dir, options, connection, committed.clone(), Arc::clone(&counts));
        Ok(Self::assemble(dir, options, Some(writer), committed, counts))
    }

    /// Opens an existing database for looking only, while no node runs or beside one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without a database, [`StoreError::OlderDatabase`] before its migration, and as
    /// [`Store::open`].
    pub async fn open_read_only(dir: &Path) -> Result<Self, StoreError> {
        let options = Options::default();
        database::check_readable(dir, &options).await?;
        let (committed, _) = broadcast::channel(1);
        Ok(Self::assemble(dir, &options, None, committed, Arc::default()))
    }

    fn assemble(
        dir: &Path,
        options: &Options,
        writer: Option<mpsc::Sender<writer::Message>>,
        committed: broadcast::Sender<(u64, Arc<Event>)>,
        counts: Arc<writer::Counters>,
    ) -> Self {
        let readers = database::readers(dir, options);
        let blobs = tokio::sync::RwLock::new(());
        Self { inner: Arc::new(Inner { dir: dir.to_owned(), readers, writer, committed, counts, blobs }) }
    }

    /// The data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Checks `guards`, then applies `events` in order, all or nothing. Durable when it returns; the result is
    /// the sequence of the last event in the database.
    ///
    /// # Errors
    /// A refusal ([`StoreError::Stale`], [`StoreError::OverLimit`], [`StoreError::Conflict`], …) or a failure of
    /// the storage; either way nothing of the request was kept.
    pub async fn apply(&self, events: Vec<Event>, guards: Vec<Guard>) -> Result<u64, StoreError> {
        self.write(Work::Apply { events, guards }).await
    }

    pub(crate) async fn write(&self, work: Work) -> Result<u64, StoreError> {
        let writer = self.inner.writer.as_ref().ok_or(StoreError::ReadOnly)?;
        writer::ask(writer, work).await
    }

    /// Every event from now on, after its commit and in order. A receiver that lags more than 1024 events is
    /// told so and reads a new snapshot.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<(u64, Arc<Event>)> {
        self.inner.committed.subscribe()
    }

    /// At most `limit` events after sequence `after`, oldest first, with when each was recorded.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, Timestamp, Event)>, StoreError> {
        apply::events_after(&mut *self.read().await?, after, limit).await
    }

    /// Sequence of the last event; 0 in an empty database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_sequence(&self) -> Result<u64, StoreError> {
        apply::last_sequence(&mut *self.read().await?).await
    }

    /// What the writer did since this store was opened.
    #[must_use]
    pub fn writer_counts(&self) -> WriterCounts {
        self.inner.counts.read()
    }

    /// Answers what is queued, then closes all connections. Later calls on any clone fail with
    /// [`StoreError::Closed`].
    ///
    /// # Errors
    /// When the last write could not be completed.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.inner.readers.close().await;
        match &self.inner.writer {
            Some(writer) => writer::close(writer).await,
            None => Ok(()),
        }
    }

    /// One consistent view of the tables; it ends when dropped.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.inner.readers.begin().await?)
    }
}
