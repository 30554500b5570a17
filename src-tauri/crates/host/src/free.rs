//! What is free: main memory and disk space.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Main memory that a new process may take without others being swapped out, in bytes; none where the system does not
/// say (only Linux does here).
#[must_use]
pub fn main_memory() -> Option<u64> {
    main_memory_under(Path::new("/"))
}

/// The same with `/proc` under another root.
pub(crate) fn main_memory_under(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Bytes that this user may still write where `folder` is or will be.
///
/// # Errors
/// When no part of the path exists, or the system does not say.
pub fn disk_space(folder: &Path) -> io::Result<u64> {
    let absolute: PathBuf = std::path::absolute(folder)?;
    let existing = absolute.ancestors().find(|folder| folder.is_dir()).ok_or(io::ErrorKind::NotFound)?;
    fs4::available_space(existing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_space_is_told_for_folders_that_will_be() {
        let root = tempfile::tempdir().unwrap();
        let bytes = disk_space(&root.path().join("not/yet/there")).unwrap();
        assert!(bytes > 0 && bytes < 1 << 60, "{bytes}");
    }

    #[test]
    fn memory_that_nobody_tells_is_unknown() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(main_memory_under(root.path()), None);
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/meminfo"), "MemFree: 12 kB\n").unwrap();
        assert_eq!(main_memory_under(root.path()), None, "what is free is not what is available");
        fs::write(root.path().join("proc/meminfo"), "MemTotal: 99 kB\nMemAvailable:    7 kB\n").unwrap();
        assert_eq!(main_memory_under(root.path()), Some(7 << 10));
    }
}
