//! The folder of an encoder.

use crate::Error;
use std::path::{Path, PathBuf};
use tender_base::{Sha256, catalogue::Model};

/// A model's folder. Of a model in the catalogue only pinned files are read, so that the same weights give the same
/// vectors everywhere; of another whatever is there.
pub(super) struct Folder<'a> {
    pub dir: &'a Path,
    pub model: Option<&'static Model>,
}

impl Folder<'_> {
    /// Where a file of it is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Whether a file belongs to the model.
    pub fn has(&self, name: &str) -> bool {
        match self.model {
            Some(model) => model.file(name).is_some(),
            None => self.path(name).exists(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when it cannot be read, [`Error::ModelHash`] when it is another than is pinned.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path(name);
        let bytes = std::fs::read(&path).map_err(|e| Error::ModelFile { path: path.clone(), why: e.to_string() })?;
        if let Some(file) = self.model.and_then(|model| model.file(name)) {
            let got = Sha256::of(&bytes);
            if got != file.sha256 {
                return Err(Error::ModelHash { path, got, expected: file.sha256 });
            }
        }
        Ok(bytes)
    }
}
