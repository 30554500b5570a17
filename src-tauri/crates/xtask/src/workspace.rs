//! Where things lie in this checkout.

use crate::command;
use serde_json::Value;
use std::{
    env::{self, consts::EXE_SUFFIX},
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};
use tender_base::{Code, Problem};

/// A checkout that can be built.
pub struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Where Cargo builds.
    pub target: PathBuf,
}

impl Workspace {
    /// The checkout this program was built from.
    ///
    /// # Errors
    /// When it was moved away, or Cargo does not answer.
    pub fn find() -> Result<Self, Problem> {
        let unusable = |what: &str| Problem::new(Code::NotFound, what, "run `cargo xtask` inside the checkout");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(3)
            .filter(|root| root.join("Cargo.lock").exists())
            .ok_or_else(|| unusable("the checkout this program was built from is gone"))?;
        let metadata = command::answer(
            Command::new("cargo").args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root),
        )
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .ok_or_else(|| unusable("`cargo metadata` does not answer"))?;
        let target = metadata["target_directory"].as_str().ok_or_else(|| unusable("Cargo names no target folder"))?;
        Ok(Self { root: root.to_owned(), target: PathBuf::from(target) })
    }

    /// Cargo in this checkout, able to find the tools that [`crate::tools`] installed.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(&self.root).env("PATH", self.path());
        command
    }

    /// npm in the UI's folder.
    pub fn npm(&self) -> Command {
        let mut command = Command::new("npm");
        // Browser tests use the system's Chromium.
        command.current_dir(self.ui()).env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
        command
    }

    /// The UI's folder.
    pub fn ui(&self) -> PathBuf {
        self.root.join("ui")
    }

    /// Where our own tools are installed.
    pub fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// A program that was built here.
    pub fn program(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(format!("{name}{EXE_SUFFIX}"))
    }

    /// Our tools first: they are pinned.
    pub fn path(&self) -> OsString {
        let old = env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(self.tools().join("bin")).chain(env::split_paths(&old));
        env::join_paths(all).unwrap_or(old)
    }
}
