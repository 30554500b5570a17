//! A game, as far as the guard can tell.

use std::{
    fs,
    process::{Child, Command},
};
use tempfile::TempDir;

/// A process of this name; it ends with this value. The guard sees all processes of the machine, so each test's game has
/// a name of its own.
#[derive(Debug)]
pub struct Game {
    process: Child,
    // The program lies there.
    _folder: TempDir,
}

impl Game {
    /// Starts one.
    ///
    /// # Panics
    /// When `/bin/sleep` cannot be copied or started.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let folder = TempDir::with_prefix("tender-game-").unwrap();
        let program = folder.path().join(name);
        fs::copy("/bin/sleep", &program).unwrap();
        Self { process: Command::new(program).arg("600").spawn().unwrap(), _folder: folder }
    }
}

impl Drop for Game {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
