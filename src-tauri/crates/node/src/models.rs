//! Where the models are.

use crate::settings::Settings;
use std::path::PathBuf;
use tender_base::{
    Code, Problem, Work,
    catalogue::{self, Model},
    job::ModelRef,
};

/// Where the model is that some work needs: a folder for encoders, a GGUF file for language models; `None` for work
/// without a model.
///
/// # Errors
/// As [`folder`] and [`file`].
pub fn locate(settings: &Settings, work: &Work) -> Result<Option<PathBuf>, Problem> {
    match work {
        Work::Embed { model, .. } => folder(settings, model).map(Some),
        Work::Generate(text) => file(settings, &text.model).map(Some),
        Work::Gemm { .. } | Work::Wgsl(_) => Ok(None),
    }
}

/// The language model of a name; the catalogue's first without one.
///
/// # Errors
/// [`Code::NotFound`] for a name that is not in the catalogue.
pub fn text_model(_settings: &Settings, name: Option<&str>) -> Result<ModelRef, Problem> {
    let known = catalogue::SMOLLM2;
    if name.is_none_or(|name| name == known.name) {
        return Ok(known.to_ref());
    }
    let name = name.unwrap_or_default();
    Err(Problem::new(Code::NotFound, format!("there is no model {name}"), format!("use {}", known.name)))
}

/// The encoder of a name; the catalogue's first without one.
///
/// # Errors
/// [`Code::NotFound`] for a name that is not in the catalogue.
pub fn encoder(name: Option<&str>) -> Result<ModelRef, Problem> {
    let known = catalogue::MINILM;
    match name {
        Some(other) if other != known.name => {
            Err(Problem::new(Code::NotFound, format!("there is no encoder {other}"), format!("use {}", known.name)))
        }
        _ => Ok(known.to_ref()),
    }
}

/// The GGUF file of a language model.
///
/// # Errors
/// [`Code::NotFound`] for a model that the catalogue does not know by this name and hash, [`Code::Unavailable`]
/// when its file is not on this machine.
pub fn file(settings: &Settings, model: &ModelRef) -> Result<PathBuf, Problem> {
    let known = catalogue::SMOLLM2;
    if known.to_ref() != *model {
        return Err(Problem::new(
            Code::NotFound,
            format!("the model {} with hash {} is not in the catalogue", model.name, model.sha256),
            format!("use {} with the hash that `tender doctor` prints", known.name),
        ));
    }
    let path = settings.models_dir.clone().unwrap_or_else(default_dir).join(known.name).join(known.file);
    if path.is_file() {
        return Ok(path);
    }
    Err(Problem::new(
        Code::Unavailable,
        format!("the model {} is not at {}", known.name, path.display()),
        "fetch it with `cargo xtask run`, or set models_dir to the folder that has it",
    ))
}

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
