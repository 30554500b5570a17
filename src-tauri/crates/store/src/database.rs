//! The file: how it is made, opened, migrated and recognised.

use crate::{DATABASE_FILE, StoreError, backup};
use sqlx::{
    Connection, Row, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{fs, path::Path, time::Duration};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a connection waits for another process: longer than any write of ours, shorter than a user's patience.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Readers beside the writer. Each is a thread with its page cache; the node as a whole idles under 40 MB.
const READERS: u32 = 3;
/// Page cache of one connection, in KiB: the tables' hot ends fit, and four of them cost 4 MiB at most.
const CACHE_KIB: i32 = 1024;
/// A reader unused for this long is closed.
const READER_IDLE: Duration = Duration::from_secs(60);
/// `TEND`, set by the first migration.
const APPLICATION_ID: i64 = 0x5445_4e44;

/// What tests vary.
#[derive(Clone)]
pub(crate) struct Options {
    pub busy_timeout: Duration,
    pub migrations: &'static Migrator,
    /// Most pages the file may grow to; stands in for a full disk.
    pub max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { busy_timeout: BUSY_TIMEOUT, migrations: &MIGRATIONS, max_pages: None }
    }
}

impl Options {
    /// Newest version of the tables that this program knows.
    pub(crate) fn known_version(&self) -> i64 {
        self.migrations.iter().map(|migration| migration.version).max().unwrap_or(0)
    }

    fn connect(&self, file: &Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(false)
            .foreign_keys(true)
            .busy_timeout(self.busy_timeout)
            .pragma("cache_size", (-CACHE_KIB).to_string())
            // A damaged schema must not be able to call functions with side effects.
            .pragma("trusted_schema", "OFF")
    }

    pub(crate) fn connect_writer(&self, dir: &Path) -> SqliteConnectOptions {
        let options = self
            .connect(&dir.join(DATABASE_FILE))
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        match self.max_pages {
            Some(pages) => options.pragma("max_page_count", pages.to_string()),
            None => options,
        }
    }

    fn connect_reader(&self, file: &Path) -> SqliteConnectOptions {
        self.connect(file).read_only(true)
    }
}

/// Makes the directory (0700) and an empty database (0600), if they are missing.
pub(crate) fn prepare_directory(dir: &Path) -> Result<(), StoreError> {
    if !dir.is_dir() {
        fs::create_dir_all(dir).map_err(|error| StoreError::io("making the data directory", dir, &error))?;
        private(dir, 0o700)?;
    }
    let file = dir.join(DATABASE_FILE);
    if !file.exists() {
        create_private(&file)?;
    }
    // The write-ahead log takes over the database's mode.
    private(&file, 0o600)
}

/// A new empty file that only its owner may read.
pub(crate) fn create_private(file: &Path) -> Result<(), StoreError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop).map_err(|error| StoreError::io("making", file, &error))
}

#[cfg(unix)]
fn private(path: &Path, mode: u32) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| StoreError::io("setting the permissions of", path, &error))
}

#[cfg(not(unix))]
fn private(_path: &Path, _mode: u32) -> Result<(), StoreError> {
    // The user's profile directory is private on Windows.
    Ok(())
}

/// The writing connection, on tables of the known version.
pub(crate) async fn connect_and_migrate(dir: &Path, options: &Options) -> Result<SqliteConnection, StoreError> {
    let mut connection = SqliteConnection::connect_with(&options.connect_writer(dir)).await?;
    let (found, known) = (version(&mut connection).await?, options.known_version());
    if found > known {
        return Err(StoreError::NewerDatabase { found, known });
    }
    if found < known {
        if found > 0 {
            let to = dir.join(format!("{DATABASE_FILE}.before-{known}"));
            backup::copy(&mut connection, &to, true).await?;
            tracing::info!(found, known, backup = %to.display(), "the database is migrated");
        }
        options.migrations.run_direct(None, &mut connection, false).await.map_err(migration_failed)?;
    }
    Ok(connection)
}

fn migration_failed(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::corrupt(format!("its migrations do not match this program: {other}")),
    }
}

/// Version of the tables; 0 in an empty file.
pub(crate) async fn version(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'").fetch_all(&mut *connection).await?;
    if tables.is_empty() {
        return Ok(0);
    }
    // A first migration that was killed leaves its own empty table only.
    let ours = tables.iter().any(|name| name == "_sqlx_migrations");
    let migrated = tables.len() > 1;
    let application: i64 = sqlx::query("PRAGMA application_id").fetch_one(&mut *connection).await?.try_get(0)?;
    if !ours || (migrated && application != APPLICATION_ID) {
        return Err(StoreError::corrupt("the file is a SQLite database of another program"));
    }
    Ok(sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await?)
}

/// Whether `dir` holds a database of the known version.
pub(crate) async fn check_readable(dir: &Path, options: &Options) -> Result<(), StoreError> {
    let file = dir.join(DATABASE_FILE);
    if !file.exists() {
        return Err(StoreError::not_found(format!("database in {}; `tender serve` makes one", dir.display())));
    }
    check_version(&file, options, false).await
}

/// Whether the file at `file` is a database that this program reads; with `older`, also one it could migrate.
pub(crate) async fn check_version(file: &Path, options: &Options, older: bool) -> Result<(), StoreError> {
    let mut connection = SqliteConnection::connect_with(&options.connect_reader(file)).await?;
    let (found, known) = (version(&mut connection).await?, options.known_version());
    connection.close().await?;
    match found {
        0 => Err(StoreError::corrupt("the file is empty")),
        found if found > known => Err(StoreError::NewerDatabase { found, known }),
        found if found < known && !older => Err(StoreError::OlderDatabase { found, known }),
        _ => Ok(()),
    }
}

/// The reading connections, opened when first needed.
pub(crate) fn readers(dir: &Path, options: &Options) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .min_connections(0)
        .idle_timeout(READER_IDLE)
        .acquire_timeout(options.busy_timeout.saturating_mul(2))
        .test_before_acquire(false)
        .connect_lazy_with(options.connect_reader(&dir.join(DATABASE_FILE)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Store};
    use serde_json::json;
    use tender_base::{Code, Timestamp};

    fn setting(key: &str, value: serde_json::Value) -> Event {
        Event::SettingChanged { key: key.to_owned(), value, at: Timestamp::from_millis(1) }
    }

    /// The migrations of a later version of this program.
    async fn later() -> Options {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        fs::write(dir.path().join("9000_later.sql"), "ALTER TABLE peers ADD COLUMN nickname TEXT;").unwrap();
        let migrations = Box::leak(Box::new(Migrator::new(dir.path()).await.unwrap()));
        Options { migrations, ..Options::default() }
    }

    #[tokio::test]
    async fn a_backup_is_made_before_a_migration_and_a_newer_database_is_refused() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Store::open(dir.path()).await.unwrap();
        store.apply(vec![setting("price", json!(7))], vec![]).await.unwrap();
        store.close().await.unwrap();
        let known = Options::default().known_version();
        let backup = dir.path().join(format!("tender.db.before-{known}"));
        assert!(!backup.exists(), "a new database has nothing to back up");

        let store = Store::open_with(dir.path(), &later().await).await.unwrap();
        assert_eq!(store.setting("price").await.unwrap(), Some(json!(7)));
        store.close().await.unwrap();

        let error = Store::open(dir.path()).await.err().unwrap();
        assert_eq!(error, StoreError::NewerDatabase { found: 9000, known });
        let problem = error.problem();
        assert!(
            problem.message.contains("9000")
                && problem.message.contains(&known.to_string())
                && !problem.hint.is_empty()
        );
        assert_eq!(Store::open_read_only(dir.path()).await.err(), Some(error));

        // The backup is a whole database of the old version.
        let backup = dir.path().join("tender.db.before-9000");
        let old = elsewhere.path().join("old");
        Store::restore(&backup, &old).await.unwrap();
        let store = Store::open(&old).await.unwrap();
        assert_eq!(store.setting("price").await.unwrap(), Some(json!(7)));
    }

    #[tokio::test]
    async fn reading_alone_does_not_migrate() {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path()).await.unwrap().close().await.unwrap();
        let error = check_readable(dir.path(), &later().await).await.unwrap_err();
        assert_eq!(error, StoreError::OlderDatabase { found: Options::default().known_version(), known: 9000 });
    }

    #[tokio::test]
    async fn a_full_disk_loses_nothing_acknowledged_and_keeps_nothing_half() {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path()).await.unwrap().close().await.unwrap();
        let pages = u32::try_from(fs::metadata(dir.path().join(DATABASE_FILE)).unwrap().len() / 4096).unwrap();
        let options = Options { max_pages: Some(pages + 20), ..Options::default() };
        let store = Store::open_with(dir.path(), &options).await.unwrap();

        let mut acknowledged = 0;
        let error = loop {
            // Two events: the second must not survive without the first.
            let events = vec![
                setting(&format!("a{acknowledged}"), json!("x".repeat(3000))),
                setting(&format!("b{acknowledged}"), json!("y".repeat(3000))),
            ];
            match store.apply(events, vec![]).await {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
            assert!(acknowledged < 1000, "the limit of pages does not hold");
        };
        assert!(acknowledged > 0);
        assert_eq!(error, StoreError::DiskFull);
        assert_eq!(error.problem().code, Code::Storage);
        assert_eq!(store.settings().await.unwrap().len(), 2 * acknowledged);
        assert_eq!(store.last_sequence().await.unwrap(), 2 * acknowledged as u64);
        store.close().await.unwrap();

        // With room again it goes on where it was.
        let store = Store::open(dir.path()).await.unwrap();
        let last = store.apply(vec![setting("after", json!("z".repeat(3000)))], vec![]).await.unwrap();
        assert_eq!(last, 2 * acknowledged as u64 + 1);
    }

    #[tokio::test]
    async fn a_locked_database_says_so_and_recovers() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { busy_timeout: Duration::from_millis(100), ..Options::default() };
        let store = Store::open_with(dir.path(), &options).await.unwrap();
        let mut other = SqliteConnection::connect_with(&options.connect_writer(dir.path())).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let error = store.apply(vec![setting("a", json!(1))], vec![]).await.unwrap_err();
        assert_eq!(error, StoreError::Locked);
        assert!(error.problem().hint.contains("stop"));
        sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        store.apply(vec![setting("a", json!(1))], vec![]).await.unwrap();
    }

    #[tokio::test]
    async fn a_database_of_another_program_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(DATABASE_FILE);
        let connect = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let mut other = SqliteConnection::connect_with(&connect).await.unwrap();
        sqlx::query("CREATE TABLE bookmarks (url TEXT)").execute(&mut other).await.unwrap();
        other.close().await.unwrap();
        let error = Store::open(dir.path()).await.err().unwrap();
        assert!(matches!(&error, StoreError::Corrupt { what } if what.contains("another program")), "{error}");
    }
}
