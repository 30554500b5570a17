//! The UI's packages and its build, each only when something changed.

use crate::{command, workspace::Workspace};
use std::{fs, io, path::Path, process::Command, time::SystemTime};
use tender_base::{Code, Problem, Sha256};

/// Node.js that Vite and the pinned test tools run on.
const OLDEST_NODE: (u32, u32) = (20, 19);
/// Not sources: what is installed, built or generated.
const NOT_SOURCES: &[&str] = &["node_modules", "dist", "test-results", "playwright-report", "paraglide"];

/// Installs the packages that `package-lock.json` names, when it is not the one they were installed from.
///
/// # Errors
/// When Node.js is missing or too old, or npm fails.
pub fn install(workspace: &Workspace) -> Result<(), Problem> {
    let said = command::answer(Command::new("node").arg("--version")).unwrap_or_default();
    if version_of(&said).is_none_or(|version| version < OLDEST_NODE) {
        let (major, minor) = OLDEST_NODE;
        let found = if said.is_empty() { "none" } else { &said };
        return Err(Problem::new(
            Code::Unavailable,
            format!("Node.js {major}.{minor} or later is needed, found: {found}"),
            "install Node.js, then run this again",
        ));
    }
    let ui = workspace.ui();
    let lock = fs::read(ui.join("package-lock.json")).map_err(|error| unreadable(&ui, &error))?;
    let hash = Sha256::of(&lock).to_string();
    // In the folder that `npm ci` empties first: a broken installation has no mark.
    let mark = ui.join("node_modules/.tender-lock");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == hash) {
        return Ok(());
    }
    command::run(workspace.npm().args(["ci", "--no-audit", "--no-fund"]))?;
    fs::write(&mark, hash).map_err(|error| unreadable(&mark, &error))
}

/// Builds the UI when a source is newer than the last build.
///
/// # Errors
/// When a source cannot be read or the build fails.
pub fn build(workspace: &Workspace) -> Result<(), Problem> {
    let ui = workspace.ui();
    let built = fs::metadata(ui.join("dist/index.html")).and_then(|meta| meta.modified()).ok();
    let newest = newest_in(&ui).map_err(|error| unreadable(&ui, &error))?;
    if built.is_some_and(|built| newest.is_some_and(|newest| newest <= built)) {
        return Ok(());
    }
    command::run(workspace.npm().args(["run", "build"]))
}

fn newest_in(folder: &Path) -> io::Result<Option<SystemTime>> {
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if NOT_SOURCES.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let found =
            if entry.file_type()?.is_dir() { newest_in(&entry.path())? } else { Some(entry.metadata()?.modified()?) };
        newest = newest.max(found);
    }
    Ok(newest)
}

fn version_of(said: &str) -> Option<(u32, u32)> {
    let mut parts = said.trim().strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::new(Code::Storage, format!("{}: {error}", path.display()), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_compare() {
        assert_eq!(version_of("v20.20.2\n"), Some((20, 20)));
        assert!(version_of("v20.9.0").unwrap() < OLDEST_NODE);
        assert!(version_of("v22.0.0").unwrap() > OLDEST_NODE);
        assert_eq!(version_of("command not found"), None);
    }

    #[test]
    fn generated_files_do_not_count_as_sources() {
        let ui = tempfile::tempdir().unwrap();
        fs::create_dir_all(ui.path().join("node_modules/x")).unwrap();
        fs::write(ui.path().join("node_modules/x/y.js"), "").unwrap();
        assert_eq!(newest_in(ui.path()).unwrap(), None);
        fs::create_dir_all(ui.path().join("src/deep")).unwrap();
        fs::write(ui.path().join("src/deep/a.ts"), "").unwrap();
        assert!(newest_in(ui.path()).unwrap().is_some());
    }
}
