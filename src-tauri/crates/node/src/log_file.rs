//! The node's log on disk: two files of bounded size, so that a fault can be looked at days later and no disk fills up.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Folder of the log in the data directory.
pub const LOG_DIR: &str = "logs";
const CURRENT: &str = "node.log";
const BEFORE: &str = "node.log.1";
/// Most of one file: weeks of a quiet node.
const MAX_BYTES: u64 = 5 << 20;

/// Writes the log; a full file is set aside, and the one before it is dropped.
pub struct LogFile {
    dir: PathBuf,
    file: File,
    written: u64,
    most: u64,
}

impl LogFile {
    /// Goes on with the log of the data directory `dir`.
    ///
    /// # Errors
    /// When the folder or the file cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Self::open_with(dir, MAX_BYTES)
    }

    fn open_with(dir: &Path, most: u64) -> io::Result<Self> {
        // The data directory is its owner's alone; the database may not have made it yet.
        for folder in [dir, &dir.join(LOG_DIR)] {
            if !folder.is_dir() {
                fs::create_dir_all(folder)?;
                #[cfg(unix)]
                fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
            }
        }
        let dir = dir.join(LOG_DIR);
        let file = append_to(&dir.join(CURRENT))?;
        let written = file.metadata()?.len();
        Ok(Self { dir, file, written, most })
    }

    fn turn(&mut self) -> io::Result<()> {
        fs::rename(self.dir.join(CURRENT), self.dir.join(BEFORE))?;
        self.file = append_to(&self.dir.join(CURRENT))?;
        self.written = 0;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written > 0 && self.written + bytes.len() as u64 > self.most {
            self.turn()?;
        }
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The last `bytes` of the log of the data directory `dir`, whole lines; empty without one.
#[must_use]
pub fn tail(dir: &Path, bytes: u64) -> String {
    let read = |name| -> io::Result<Vec<u8>> {
        let mut file = File::open(dir.join(LOG_DIR).join(name))?;
        let start = file.metadata()?.len().saturating_sub(bytes);
        file.seek(SeekFrom::Start(start))?;
        let mut read = Vec::new();
        file.take(bytes).read_to_end(&mut read)?;
        Ok(read)
    };
    let mut all = read(BEFORE).unwrap_or_default();
    all.extend(read(CURRENT).unwrap_or_default());
    let most = usize::try_from(bytes).unwrap_or(usize::MAX);
    let cut = all.len().saturating_sub(most);
    let text = String::from_utf8_lossy(&all[cut..]).into_owned();
    // A line that begins before the cut is not whole.
    if cut == 0 { text } else { text.split_once('\n').map_or_else(String::new, |(_, rest)| rest.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_stays_within_two_files_and_goes_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let size = |name| fs::metadata(dir.path().join(LOG_DIR).join(name)).map_or(0, |file| file.len());
        let mut log = LogFile::open_with(dir.path(), 100).unwrap();
        for i in 0..50 {
            writeln!(log, "line {i:02}").unwrap();
            assert!(size(CURRENT) <= 100 && size(BEFORE) <= 100);
        }
        drop(log);
        let mut log = LogFile::open_with(dir.path(), 100).unwrap();
        writeln!(log, "line 50").unwrap();
        let tail_of = |bytes| tail(dir.path(), bytes);
        assert!(tail_of(1000).ends_with("line 48\nline 49\nline 50\n"), "{}", tail_of(1000));
        assert_eq!(tail_of(20), "line 49\nline 50\n", "no line is cut");
        assert_eq!(tail(Path::new("/nowhere"), 10), "");
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let _log = LogFile::open(&dir.path().join("data")).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode("data"), mode("data/logs"), mode("data/logs/node.log")], [0o700, 0o700, 0o600]);
    }
}
