//! Copies of the database, and back. Blobs are not part of a backup: a receipt proves a trade without them.

use crate::{
    DATABASE_FILE, Store, StoreError,
    blobs::{blocking, sync_folder},
    database::{self, Options},
};
use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

fn beside(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    to.with_file_name(name)
}

fn folder(of: &Path) -> &Path {
    match of.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes a whole, compact copy to `to`, which appears only when it is complete.
pub(crate) async fn copy(connection: &mut SqliteConnection, to: &Path, replace: bool) -> Result<(), StoreError> {
    if !replace && to.exists() {
        return Err(StoreError::conflict(format!("{} exists already; choose another name", to.display())));
    }
    let unfinished = beside(to);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::io("removing", &unfinished, &error));
        }
        _ => {}
    }
    // VACUUM INTO fills an existing empty file, whose mode thus holds.
    database::create_private(&unfinished)?;
    let name =
        unfinished.to_str().ok_or_else(|| StoreError::invalid(format!("{} is not Unicode", unfinished.display())))?;
    let copied = sqlx::query("VACUUM INTO ?").bind(name).execute(connection).await;
    let finished = match copied {
        Ok(_) => finish(&unfinished, to),
        Err(error) => Err(error.into()),
    };
    if finished.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    finished
}

fn finish(unfinished: &Path, to: &Path) -> Result<(), StoreError> {
    fs::OpenOptions::new()
        .write(true)
        .open(unfinished)
        .and_then(|open| open.sync_all())
        .map_err(|error| StoreError::io("syncing", unfinished, &error))?;
    fs::rename(unfinished, to).map_err(|error| StoreError::io("renaming", unfinished, &error))?;
    sync_folder(folder(to))
}

impl Store {
    /// Copies the database to the new file `to` (0600), while the node runs or not. Blobs and the identity's
    /// secret are not in it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when `to` exists, [`StoreError::DiskFull`], [`StoreError::Io`].
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let mut reader = self.inner.readers.acquire().await?;
        copy(&mut reader, to, false).await
    }

    /// Puts the backup `from` into `dir`, which must be empty or missing. An older one is migrated when it is
    /// opened.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when `dir` holds anything, [`StoreError::Corrupt`] when `from` is damaged or no
    /// database of Tender, [`StoreError::NewerDatabase`], [`StoreError::Io`].
    pub async fn restore(from: &Path, dir: &Path) -> Result<(), StoreError> {
        let occupied = match fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(StoreError::io("reading", dir, &error)),
        };
        if occupied {
            return Err(StoreError::conflict(format!(
                "{} is not empty; restore into a new directory, or move this one away first",
                dir.display()
            )));
        }
        if !from.is_file() {
            return Err(StoreError::not_found(format!("backup {}", from.display())));
        }
        database::check_version(from, &Options::default(), true).await?;
        check_integrity(from).await?;
        fs::create_dir_all(dir).map_err(|error| StoreError::io("making", dir, &error))?;
        let (from, to) = (from.to_owned(), dir.join(DATABASE_FILE));
        blocking(move || {
            let unfinished = beside(&to);
            database::create_private(&unfinished)?;
            let copied = (|| {
                let mut source = fs::File::open(&from).map_err(|error| StoreError::io("reading", &from, &error))?;
                let mut target = fs::OpenOptions::new()
                    .write(true)
                    .open(&unfinished)
                    .map_err(|error| StoreError::io("writing", &unfinished, &error))?;
                io::copy(&mut source, &mut target).map_err(|error| StoreError::io("writing", &unfinished, &error))?;
                finish(&unfinished, &to)
            })();
            if copied.is_err() {
                let _ = fs::remove_file(&unfinished);
            }
            copied
        })
        .await
    }

    /// Reads the whole database and reports damage; for `doctor`. Takes seconds on a large one.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with SQLite's first finding.
    pub async fn check_integrity(&self) -> Result<(), StoreError> {
        check_integrity(&self.inner.dir.join(DATABASE_FILE)).await
    }
}

async fn check_integrity(file: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let finding: String = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut connection).await?.try_get(0)?;
    connection.close().await?;
    if finding == "ok" { Ok(()) } else { Err(StoreError::corrupt(finding)) }
}
