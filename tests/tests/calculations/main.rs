//! The commands that calculate: they need no node, say the same for the same input, and name the field that is wrong.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod breakeven;
mod decide;
mod replay;
mod simulate;

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tender_tests::Cli;

/// An empty folder, and the command line on a data directory in it that does not exist.
fn desk() -> (TempDir, Cli) {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::on(&folder.path().join("no-node"));
    (folder, cli)
}

/// A file in the folder, and how the command line names it.
fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn json(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(repository(path)).unwrap()).unwrap()
}
