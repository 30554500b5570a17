//! Inputs and outputs: files under `blobs/aa/<sha256>`, and a row that says how long each is kept.
//!
//! The row is committed before the file appears and removed after the file is gone, so that after a crash at any
//! instant no file lacks a row; a row without a file is as good as none.

use crate::{Store, StoreError, database, rows, writer::Work};
use sqlx::SqliteConnection;
use std::{
    fs,
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};
use tender_base::{BlobRef, Clock, ContractState, JobState, Sha256, Timestamp, time::SystemClock};
use uuid::Uuid;

/// How long a blob is kept after it was last stored, if nothing open needs it longer: a month to fetch a result.
const RETENTION: Duration = Duration::from_secs(30 * 86_400);
/// Most blobs one sweep removes; the next takes the rest.
const SWEEP: u32 = 1000;

fn path(dir: &Path, digest: &Sha256) -> PathBuf {
    let name = digest.to_string();
    dir.join("blobs").join(&name[..2]).join(name)
}

fn unfinished(dir: &Path) -> PathBuf {
    dir.join("blobs").join("tmp")
}

/// Makes the folders and removes what an interrupted write left.
pub(crate) fn prepare(dir: &Path) -> Result<(), StoreError> {
    let tmp = unfinished(dir);
    match fs::remove_dir_all(&tmp) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(StoreError::io("emptying", &tmp, &error)),
        _ => {}
    }
    fs::create_dir_all(&tmp).map_err(|error| StoreError::io("making", &tmp, &error))
}

pub(crate) async fn keep(
    connection: &mut SqliteConnection,
    blob: &BlobRef,
    stored_at: Timestamp,
    keep_until: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO blobs (sha256, bytes, stored_at, keep_until) VALUES (?, ?, ?, ?)
         ON CONFLICT (sha256) DO UPDATE SET keep_until = max(keep_until, excluded.keep_until)",
    )
    .bind(blob.sha256.to_string())
    .bind(rows::integer(blob.bytes)?)
    .bind(stored_at.millis())
    .bind(keep_until.millis())
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn forget(connection: &mut SqliteConnection, digests: &[Sha256]) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM blobs WHERE sha256 IN (SELECT value FROM json_each(?))")
        .bind(rows::json(&digests)?)
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes the file, unless it is there and whole.
fn write(dir: &Path, blob: &BlobRef, content: &[u8]) -> Result<(), StoreError> {
    let to = path(dir, &blob.sha256);
    match fs::read(&to) {
        Ok(present) if present == content => return Ok(()),
        // Damaged: replaced below.
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io("reading", &to, &error)),
    }
    let folder = to.parent().unwrap_or(dir);
    fs::create_dir_all(folder).map_err(|error| StoreError::io("making", folder, &error))?;
    let tmp = unfinished(dir).join(Uuid::from_bytes(unique()).to_string());
    let written = write_through(&tmp, content).and_then(|()| {
        fs::rename(&tmp, &to).map_err(|error| StoreError::io("renaming", &tmp, &error))?;
        sync_folder(folder)?;
        sync_folder(&dir.join("blobs"))
    });
    if written.is_err() {
        // On a full disk the unfinished file must not take the room that is left.
        let _ = fs::remove_file(&tmp);
    }
    written
}

/// A name that no other write of this process has: a counter and the process id. `blobs/tmp` is emptied at the
/// start, so earlier processes do not matter.
fn unique() -> [u8; 16] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = u128::from(std::process::id()) << 64 | u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    number.to_be_bytes()
}

fn write_through(file: &Path, content: &[u8]) -> Result<(), StoreError> {
    database::create_private(file)?;
    let write = || {
        let mut open = fs::OpenOptions::new().write(true).open(file)?;
        open.write_all(content)?;
        open.sync_all()
    };
    write().map_err(|error| StoreError::io("writing", file, &error))
}

/// Makes a rename in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    // Windows has no such call; NTFS journals the rename itself.
    if cfg!(unix) {
        fs::File::open(folder)
            .and_then(|open| open.sync_all())
            .map_err(|error| StoreError::io("syncing", folder, &error))?;
    }
    Ok(())
}

/// Runs blocking file work off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StoreError::Io { what: "file work".to_owned(), message: error.to_string() })?
}

impl Store {
    /// Stores bytes by their content, durable when it returns. Kept for thirty days, and longer while a job or a
    /// contract that is not over needs it; storing again renews the time.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], [`StoreError::Io`], [`StoreError::ReadOnly`].
    pub async fn put_blob(&self, content: &[u8]) -> Result<BlobRef, StoreError> {
        self.put_blob_for(content, RETENTION).await
    }

    /// The same, kept for `time` only if nothing else keeps it longer.
    ///
    /// # Errors
    /// As [`Self::put_blob`].
    pub async fn put_blob_for(&self, content: &[u8], time: Duration) -> Result<BlobRef, StoreError> {
        let (dir, content) = (self.inner.dir.clone(), content.to_vec());
        let (blob, content) = blocking(move || Ok((BlobRef::of(&content), content))).await?;
        let _no_sweep = self.inner.blobs.read().await;
        let now = SystemClock.now();
        self.write(Work::KeepBlob { blob, stored_at: now, keep_until: now.after(time) }).await?;
        blocking(move || write(&dir, &blob, &content)).await?;
        Ok(blob)
    }

    /// A blob's bytes, checked against its hash; none when it is not here.
    ///
    /// # Errors
    /// [`StoreError::DamagedBlob`] when the file does not hold what its name says, [`StoreError::Io`].
    pub async fn blob(&self, blob: &BlobRef) -> Result<Option<Vec<u8>>, StoreError> {
        let (file, blob) = (path(&self.inner.dir, &blob.sha256), *blob);
        blocking(move || match fs::read(&file) {
            Ok(content) if blob.matches(&content) => Ok(Some(content)),
            Ok(_) => Err(StoreError::DamagedBlob { blob: blob.sha256.to_string() }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("reading", &file, &error)),
        })
        .await
    }

    /// A piece of a blob, none of it to learn whether it is here; nothing when it is not here. Its content is not
    /// checked against the hash, which only the whole has.
    ///
    /// # Errors
    /// [`StoreError::DamagedBlob`] when the file has another length than its name says, [`StoreError::Io`].
    pub async fn blob_range(&self, blob: &BlobRef, range: Range<u64>) -> Result<Option<Vec<u8>>, StoreError> {
        let (file, blob) = (path(&self.inner.dir, &blob.sha256), *blob);
        blocking(move || {
            let mut open = match fs::File::open(&file) {
                Ok(open) => open,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(StoreError::io("opening", &file, &error)),
            };
            let failed = |error: io::Error| StoreError::io("reading", &file, &error);
            if open.metadata().map_err(failed)?.len() != blob.bytes {
                return Err(StoreError::DamagedBlob { blob: blob.sha256.to_string() });
            }
            let mut piece = vec![0; usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX)];
            open.seek(SeekFrom::Start(range.start)).and_then(|_| open.read_exact(&mut piece)).map_err(failed)?;
            Ok(Some(piece))
        })
        .await
    }

    /// Whether a file of this name and length is here. Its content is checked when it is read.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn has_blob(&self, blob: &BlobRef) -> Result<bool, StoreError> {
        let (file, bytes) = (path(&self.inner.dir, &blob.sha256), blob.bytes);
        blocking(move || match fs::metadata(&file) {
            Ok(found) => Ok(found.len() == bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("looking at", &file, &error)),
        })
        .await
    }

    /// Removes blobs whose time is over at `now` and that no job or contract needs any more: queued, running and
    /// verifying jobs need theirs, as do contracts up to the acceptance and disputed ones. Returns how many.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::ReadOnly`], or a failure of the database.
    pub async fn sweep_blobs(&self, now: Timestamp) -> Result<u64, StoreError> {
        if self.inner.writer.is_none() {
            return Err(StoreError::ReadOnly);
        }
        let _alone = self.inner.blobs.write().await;
        let over: Vec<String> = sqlx::query_scalar(
            "SELECT sha256 FROM blobs b WHERE keep_until < ?1
               AND NOT EXISTS (SELECT 1 FROM jobs WHERE state NOT IN (SELECT value FROM json_each(?2))
                                AND b.sha256 IN (input_sha256, output_sha256))
               AND NOT EXISTS (SELECT 1 FROM contracts WHERE state NOT IN (SELECT value FROM json_each(?3))
                                AND b.sha256 IN (input_sha256, output_sha256))
             LIMIT ?4",
        )
        .bind(now.millis())
        .bind(rows::json(&[JobState::Completed, JobState::Failed, JobState::Cancelled])?)
        .bind(rows::json(&[
            ContractState::Accepted,
            ContractState::Settled,
            ContractState::Lapsed,
            ContractState::Failed,
            ContractState::Abandoned,
            ContractState::HandedBack,
        ])?)
        .bind(SWEEP)
        .fetch_all(&mut *self.read().await?)
        .await?;
        let mut digests = Vec::with_capacity(over.len());
        for name in over {
            digests.push(name.parse::<Sha256>().map_err(|_| StoreError::corrupt("a blob's row has no digest"))?);
        }
        if digests.is_empty() {
            return Ok(0);
        }
        let count = digests.len() as u64;
        let dir = self.inner.dir.clone();
        let digests = blocking(move || {
            for digest in &digests {
                let file = path(&dir, digest);
                match fs::remove_file(&file) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(StoreError::io("removing", &file, &error));
                    }
                    _ => {}
                }
            }
            Ok(digests)
        })
        .await?;
        self.write(Work::ForgetBlobs(digests)).await?;
        Ok(count)
    }
}
