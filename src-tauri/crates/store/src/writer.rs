//! The one writer. It takes everything that is queued, runs each request in a savepoint of one transaction,
//! commits once, and answers them all: under load many requests share one `fsync`, alone a request waits for
//! nobody.

use crate::{Event, Guard, StoreError, apply, blobs, database::Options, hooks};
use sqlx::{Connection, Sqlite, SqliteConnection, Transaction, sqlite::SqliteConnectOptions};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tender_base::{BlobRef, Clock, Sha256, Timestamp, time::SystemClock};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Requests that may wait. Callers beyond it wait for room, so memory stays bounded.
const QUEUE: usize = 256;
/// Most requests in one commit: bounds how long the first of them waits for its answer.
const BATCH: usize = 128;

/// What is written.
pub(crate) enum Work {
    Apply { events: Vec<Event>, guards: Vec<Guard> },
    KeepBlob { blob: BlobRef, stored_at: Timestamp, keep_until: Timestamp },
    ForgetBlobs(Vec<Sha256>),
    ChangeHook(hooks::Change),
    ForgetEndedHooks(Timestamp),
}

pub(crate) enum Message {
    Write(Request),
    Close(oneshot::Sender<Result<(), StoreError>>),
}

pub(crate) struct Request {
    work: Work,
    answer: oneshot::Sender<Result<u64, StoreError>>,
}

/// What the writer did: `requests` over `commits` is how many shared an `fsync`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterCounts {
    /// Requests applied and committed.
    pub requests: u64,
    /// Transactions that held them.
    pub commits: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    commits: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> WriterCounts {
        WriterCounts { requests: self.requests.load(Ordering::Relaxed), commits: self.commits.load(Ordering::Relaxed) }
    }
}

/// Queues `work` and waits until it is durable.
pub(crate) async fn ask(writer: &mpsc::Sender<Message>, work: Work) -> Result<u64, StoreError> {
    let (answer, answered) = oneshot::channel();
    writer.send(Message::Write(Request { work, answer })).await.map_err(|_| StoreError::Closed)?;
    answered.await.map_err(|_| StoreError::Closed)?
}

/// Asks the writer to finish.
pub(crate) async fn close(writer: &mpsc::Sender<Message>) -> Result<(), StoreError> {
    let (answer, answered) = oneshot::channel();
    if writer.send(Message::Close(answer)).await.is_err() {
        // Somebody else closed it already.
        return Ok(());
    }
    answered.await.unwrap_or(Ok(()))
}

pub(crate) struct Writer {
    options: SqliteConnectOptions,
    /// None after a failure of the storage: the next batch opens a fresh one, whatever state SQLite left.
    connection: Option<SqliteConnection>,
    committed: broadcast::Sender<(u64, Arc<Event>)>,
    counts: Arc<Counters>,
}

/// A request that ran, waiting for the commit.
struct Ran {
    answer: oneshot::Sender<Result<u64, StoreError>>,
    last: u64,
    events: Vec<(u64, Event)>,
}

impl Writer {
    /// Starts the task. It ends when [`close`] is called or the last sender is gone.
    pub(crate) fn start(
        dir: &Path,
        options: &Options,
        connection: SqliteConnection,
        committed: broadcast::Sender<(u64, Arc<Event>)>,
        counts: Arc<Counters>,
    ) -> mpsc::Sender<Message> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = Self { options: options.connect_writer(dir), connection: Some(connection), committed, counts };
        tokio::spawn(writer.run(receiver));
        sender
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut closing = None;
        while closing.is_none()
            && let Some(first) = queue.recv().await
        {
            let mut batch = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Write(request) => batch.push(request),
                    Message::Close(answer) => {
                        closing = Some(answer);
                        break;
                    }
                }
                next = if batch.len() < BATCH { queue.try_recv().ok() } else { None };
            }
            self.serve(batch).await;
        }
        // Whoever is still queued learns that the store is closed from the dropped answer.
        drop(queue);
        let result = match self.connection.take() {
            Some(connection) => connection.close().await.map_err(StoreError::from),
            None => Ok(()),
        };
        if let Some(answer) = closing {
            let _ = answer.send(result);
        } else if let Err(error) = result {
            tracing::warn!(%error, "the database did not close cleanly; nothing is lost");
        }
    }

    async fn serve(&mut self, batch: Vec<Request>) {
        if batch.is_empty() {
            return;
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match SqliteConnection::connect_with(&self.options).await {
                Ok(connection) => connection,
                Err(error) => return refuse(batch.into_iter().map(|request| request.answer), &error.into()),
            },
        };
        match self.commit_together(&mut connection, batch).await {
            Ok(()) => self.connection = Some(connection),
            Err(error) => {
                tracing::warn!(%error, "writing failed; the connection is opened again");
                // Closing rolls back whatever was open.
                let _ = connection.close().await;
            }
        }
    }

    /// Runs the batch in one transaction. An error means that the storage failed and everyone was told.
    async fn commit_together(&self, connection: &mut SqliteConnection, batch: Vec<Request>) -> Result<(), StoreError> {
        let mut ran: Vec<Ran> = Vec::with_capacity(batch.len());
        let mut waiting = batch.into_iter();
        let result = async {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            for Request { work, answer } in waiting.by_ref() {
                match in_savepoint(&mut transaction, work).await {
                    Ok(Ok((last, events))) => ran.push(Ran { answer, last, events }),
                    Ok(Err(refusal)) => {
                        let _ = answer.send(Err(refusal));
                    }
                    Err(failure) => {
                        let _ = answer.send(Err(failure.clone()));
                        return Err(failure);
                    }
                }
            }
            transaction.commit().await?;
            Ok(())
        }
        .await;
        if let Err(error) = result {
            refuse(ran.into_iter().map(|ran| ran.answer).chain(waiting.map(|request| request.answer)), &error);
            return Err(error);
        }
        if !ran.is_empty() {
            self.counts.commits.fetch_add(1, Ordering::Relaxed);
            self.counts.requests.fetch_add(ran.len() as u64, Ordering::Relaxed);
        }
        for Ran { answer, last, events } in ran {
            for (sequence, event) in events {
                // Nobody may be listening.
                let _ = self.committed.send((sequence, Arc::new(event)));
            }
            // The caller may have given up waiting; it is written all the same.
            let _ = answer.send(Ok(last));
        }
        Ok(())
    }
}

fn refuse(answers: impl Iterator<Item = oneshot::Sender<Result<u64, StoreError>>>, error: &StoreError) {
    for answer in answers {
        let _ = answer.send(Err(error.clone()));
    }
}

type Performed = (u64, Vec<(u64, Event)>);

/// Runs `work` so that a refusal leaves no trace. The outer error is a failure of the storage.
async fn in_savepoint(
    transaction: &mut Transaction<'_, Sqlite>,
    work: Work,
) -> Result<Result<Performed, StoreError>, StoreError> {
    let mut savepoint = transaction.begin().await?;
    match perform(&mut savepoint, work).await {
        Ok(performed) => {
            savepoint.commit().await?;
            Ok(Ok(performed))
        }
        Err(failure) if failure.is_storage_failure() => Err(failure),
        Err(refusal) => {
            savepoint.rollback().await?;
            Ok(Err(refusal))
        }
    }
}

async fn perform(connection: &mut SqliteConnection, work: Work) -> Result<Performed, StoreError> {
    match work {
        Work::Apply { events, guards } => apply::request(connection, SystemClock.now(), events, &guards).await,
        Work::KeepBlob { blob, stored_at, keep_until } => {
            blobs::keep(connection, &blob, stored_at, keep_until).await?;
            Ok((0, Vec::new()))
        }
        Work::ForgetBlobs(digests) => {
            blobs::forget(connection, &digests).await?;
            Ok((0, Vec::new()))
        }
        Work::ChangeHook(change) => Ok((hooks::change(connection, change).await?, Vec::new())),
        Work::ForgetEndedHooks(before) => Ok((hooks::forget_ended(connection, before).await?, Vec::new())),
    }
}
