//! Where the models are.

use crate::settings::Settings;
use std::path::PathBuf;
use tender_base::{Code, Problem, catalogue::Model, job::ModelRef};

/// The folder with the files of `model`.
///
/// # Errors
/// [`Code::NotFound`] for a model that the catalogue does not know by this name and hash, [`Code::Unavailable`]
/// when its files are not on this machine.
pub fn folder(settings: &Settings, model: &ModelRef) -> Result<PathBuf, Problem> {
    let known = Model::with_weights(&model.sha256).filter(|known| known.name == model.name).ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            format!("the model {} with weights {} is not in the catalogue", model.name, model.sha256),
            "use all-MiniLM-L6-v2 with the hash that `tender doctor` prints",
        )
    })?;
    let dir = settings.models_dir.clone().unwrap_or_else(default_dir).join(known.name);
    if dir.join(tender_base::catalogue::WEIGHTS_FILE).is_file() {
        return Ok(dir);
    }
    Err(Problem::new(
        Code::Unavailable,
        format!("the model {} is not in {}", known.name, dir.display()),
        "fetch it with `cargo xtask run`, or set models_dir to the folder that has it",
    ))
}

/// `$TENDER_MODELS`, else `tender/models` in the platform's cache.
#[must_use]
pub fn default_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(dir) = set("TENDER_MODELS") {
        return dir;
    }
    let cache = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Caches"))
    } else {
        set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
    };
    cache.unwrap_or_else(|| PathBuf::from(".")).join("tender/models")
}
