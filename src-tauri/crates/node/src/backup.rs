//! Backup and restore: the ledger with everything it rests on, and the identity's key when it is a file.

use crate::identity::{KEY_FILE, write_private};
use std::{fs, path::Path};
use tender_base::{Code, Problem};
use tender_store::{DATABASE_FILE, Store};

/// What a backup holds.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// How large it is.
    pub bytes: u64,
    /// Whether the identity's key is in it; a key in a keyring stays there.
    pub identity_included: bool,
}

/// Copies the data of `dir`, with or without a running node, into the new folder `to`. The folder around it must be
/// there: on a disk that is not mounted a whole path would come into being. `to` has its name only once it is whole.
///
/// # Errors
/// [`Code::Conflict`] when `to` exists, [`Code::Storage`] from disk or database.
pub async fn make(dir: &Path, to: &Path) -> Result<Made, Problem> {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = to.with_file_name(name);
    for path in [to, &part] {
        if path.exists() {
            return Err(Problem::new(Code::Conflict, format!("{} exists", path.display()), "name a new folder"));
        }
    }
    let made = copy(dir, &part).await;
    let made = made.and_then(|made| fs::rename(&part, to).map(|()| made).map_err(|e| failed(to, &e)));
    if made.is_err() {
        // Half a ledger must not lie about as if it were a backup; nothing to remove is no second fault.
        let _ = fs::remove_dir_all(&part);
    }
    made
}

async fn copy(dir: &Path, to: &Path) -> Result<Made, Problem> {
    let store = Store::open_read_only(dir).await.map_err(|e| e.problem())?;
    fs::create_dir(to).map_err(|e| failed(to, &e))?;
    #[cfg(unix)]
    fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(|e| failed(to, &e))?;
    store.backup(&to.join(DATABASE_FILE)).await.map_err(|e| e.problem())?;
    let key = dir.join(KEY_FILE);
    let identity_included = key.is_file();
    if identity_included {
        let secret = zeroize::Zeroizing::new(fs::read(&key).map_err(|e| failed(&key, &e))?);
        write_private(&to.join(KEY_FILE), &secret).map_err(|e| failed(to, &e))?;
    }
    let files = fs::read_dir(to).map_err(|e| failed(to, &e))?;
    let bytes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum();
    Ok(Made { bytes, identity_included })
}

/// Puts the backup `from` into the data directory `dir`, which must hold no database.
///
/// # Errors
/// [`Code::Conflict`] when `dir` holds data, [`Code::NotFound`] when `from` is no backup, [`Code::Storage`].
pub async fn restore(from: &Path, dir: &Path) -> Result<(), Problem> {
    Store::restore(&from.join(DATABASE_FILE), dir).await.map_err(|e| e.problem())?;
    #[cfg(unix)]
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(|e| failed(dir, &e))?;
    let key = from.join(KEY_FILE);
    if key.is_file() {
        let secret = zeroize::Zeroizing::new(fs::read(&key).map_err(|e| failed(&key, &e))?);
        write_private(&dir.join(KEY_FILE), &secret).map_err(|e| failed(dir, &e))?;
    }
    Ok(())
}

fn failed(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(Code::Storage, format!("{}: {error}", path.display()), "check the disk and its permissions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_backup_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Store::open(&data).await.unwrap().close().await.unwrap();
        let missing = dir.path().join("not mounted");
        assert_eq!(make(&data, &missing.join("backup")).await.unwrap_err().code, Code::Storage);
        assert!(!missing.exists());
        fs::write(data.join(KEY_FILE), [1; 32]).unwrap();
        let to = dir.path().join("backup");
        make(&data, &to).await.unwrap();
        assert_eq!(make(&data, &to).await.unwrap_err().code, Code::Conflict);
        let other = dir.path().join("other");
        fs::remove_file(data.join(DATABASE_FILE)).unwrap();
        make(&data, &other).await.unwrap_err();
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["backup", "data"]);
    }
}
