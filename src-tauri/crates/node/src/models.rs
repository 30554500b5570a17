//! The models of this machine: those of the catalogue, downloaded or not, and GGUF files that the owner added.
//!
//! This process reads no model. It moves bytes, hashes them, and keeps what the worker found in them.

mod added;
mod download;
mod fit;
mod rows;
#[cfg(test)]
mod tests;

pub use added::Added;
pub(crate) use added::added_in;
pub(crate) use rows::checks;

use crate::{node::Node, settings::Settings};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tender_base::{
    Code, JobKind, Problem, Sha256, Work,
    catalogue::{Footprint, MINILM, Model, ModelKind, SMOLLM2},
    job::{GenerateWork, ModelRef},
};
use tokio_util::sync::CancellationToken;

/// What is true of the models only now and never stored.
#[derive(Default)]
pub(crate) struct Shelf {
    /// What is being done with a model, by its name.
    busy: Mutex<BTreeMap<String, Busy>>,
    /// Why the last download or check of a model ended without success, by its name.
    faults: Mutex<BTreeMap<String, Problem>>,
    /// Held while the list of added models changes. A changed file is hashed under it, once for all who wait.
    changing: tokio::sync::Mutex<()>,
    /// The last look at free memory.
    memory: Mutex<Option<fit::Look>>,
    /// Set once the adapter was tried.
    adapter: tokio::sync::OnceCell<()>,
}

/// Something that takes a while.
#[derive(Clone)]
struct Busy {
    task: Task,
    stage: Stage,
    /// Bytes downloaded or hashed.
    done: u64,
    /// Ends it.
    cancel: CancellationToken,
}

#[derive(Clone)]
enum Task {
    /// A model of the catalogue comes.
    Download,
    /// A file is being added; its hash is not known yet.
    Add(Arc<Added>),
    /// A file that was written to is hashed again.
    Recheck,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Bytes come in.
    Downloading,
    /// The file is hashed.
    Checking,
}

impl Shelf {
    fn busy(&self) -> MutexGuard<'_, BTreeMap<String, Busy>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, BTreeMap<String, Problem>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what was being done, for whatever reason, and keeps why it failed.
    fn ended(&self, name: &str, outcome: Result<(), Problem>) {
        self.busy().remove(name);
        match outcome {
            Ok(()) => drop(self.faults().remove(name)),
            Err(problem) => drop(self.faults().insert(name.to_owned(), problem)),
        }
    }
}

/// A model that this machine knows.
#[derive(Clone, Copy)]
pub(crate) enum Known<'a> {
    /// By the catalogue.
    Pinned(&'static Model),
    /// Because the owner added its file.
    Added(&'a Added),
}

impl Known<'_> {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Pinned(model) => model.name,
            Self::Added(added) => &added.name,
        }
    }

    fn kind(&self) -> ModelKind {
        match self {
            Self::Pinned(model) => model.kind,
            Self::Added(_) => ModelKind::Text,
        }
    }

    fn sha256(&self) -> Sha256 {
        match self {
            Self::Pinned(model) => model.weights().sha256,
            Self::Added(added) => added.sha256,
        }
    }

    fn to_ref(self) -> ModelRef {
        ModelRef { name: self.name().to_owned(), sha256: self.sha256() }
    }

    fn footprint(&self) -> Footprint {
        match self {
            Self::Pinned(model) => model.footprint,
            Self::Added(added) => added.facts.footprint,
        }
    }

    /// Its folder if it is an encoder, else its file.
    fn path(&self, settings: &Settings) -> PathBuf {
        match self {
            Self::Pinned(model) => place(&folder(settings).join(model.name), model),
            Self::Added(added) => PathBuf::from(&added.path),
        }
    }

    /// What is wrong with its files, as far as lengths and times tell. The worker hashes weights when it loads them.
    fn present(&self, settings: &Settings) -> Result<PathBuf, Problem> {
        let path = self.path(settings);
        match self {
            Self::Pinned(model) => {
                let dir = folder(settings).join(model.name);
                for file in model.files {
                    download::length(&dir.join(file.name)).map_or_else(
                        || Err(absent(model, &dir)),
                        |bytes| {
                            if bytes == file.bytes {
                                Ok(())
                            } else {
                                Err(damaged(&dir.join(file.name), bytes, file.bytes))
                            }
                        },
                    )?;
                }
            }
            Self::Added(added) => added.unchanged()?,
        }
        Ok(path)
    }
}

fn place(dir: &Path, model: &Model) -> PathBuf {
    match model.kind {
        ModelKind::Embed => dir.to_owned(),
        ModelKind::Text => dir.join(model.weights().name),
    }
}

/// Every model that is known here: the catalogue's in its order, then the added ones.
pub(crate) fn known(settings: &Settings) -> impl Iterator<Item = Known<'_>> {
    let pinned = tender_base::catalogue::MODELS.iter().map(Known::Pinned);
    pinned.chain(settings.added_models.iter().map(Known::Added))
}

/// That prompt and text together are within what the model can overlook, and within what is kept on the card for one.
///
/// # Errors
/// As [`find`]; [`Code::Invalid`] with both numbers.
pub(crate) fn within_context(settings: &Settings, work: &GenerateWork) -> Result<(), Problem> {
    let known = find(settings, ModelKind::Text, &work.model)?;
    let context = known.footprint().most_tokens(&Node::text_limits(settings));
    let tokens = work.prompt_tokens.saturating_add(work.max_tokens);
    if tokens <= context {
        return Ok(());
    }
    Err(Problem::new(
        Code::Invalid,
        format!(
            "prompt and text may have {tokens} tokens together, but the context of {} here has room for {context}",
            known.name()
        ),
        "shorten the prompt or lower max_tokens",
    ))
}

/// The model that a job names: by its hash alone, since everyone may call a file as he likes. Of two files with the
/// same content the one that is there.
///
/// # Errors
/// [`Code::NotFound`] for a hash that is not known here.
pub(crate) fn find<'a>(settings: &'a Settings, kind: ModelKind, model: &ModelRef) -> Result<Known<'a>, Problem> {
    let same = |known: &Known| known.kind() == kind && known.sha256() == model.sha256;
    let mut found = known(settings).filter(same);
    let first = found.next().ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            format!("the model {} with SHA-256 {} is not known on this machine", model.name, model.sha256),
            "`tender models` lists what is known; `tender models add FILE` takes any other GGUF file",
        )
    })?;
    if first.present(settings).is_ok() {
        return Ok(first);
    }
    Ok(found.find(|known| known.present(settings).is_ok()).unwrap_or(first))
}

/// The language model of a name; the catalogue's first without one.
///
/// # Errors
/// [`Code::NotFound`] for a name that is not known here.
pub(crate) fn text_model(settings: &Settings, name: Option<&str>) -> Result<ModelRef, Problem> {
    named(settings, ModelKind::Text, name.unwrap_or(SMOLLM2.name))
}

/// The encoder of a name; the catalogue's first without one.
///
/// # Errors
/// As [`text_model`].
pub(crate) fn encoder(settings: &Settings, name: Option<&str>) -> Result<ModelRef, Problem> {
    named(settings, ModelKind::Embed, name.unwrap_or(MINILM.name))
}

/// That the file of a language model is here.
///
/// # Errors
/// As [`find`], saying what it is needed for.
pub(crate) fn has_text_model(settings: &Settings, model: &ModelRef) -> Result<(), Problem> {
    let found = find(settings, ModelKind::Text, model).and_then(|known| known.present(settings).map(drop));
    found.map_err(needed_to_check)
}

fn needed_to_check(problem: Problem) -> Problem {
    let why = "this machine needs the model to count the tokens that are billed and to check what a peer delivers";
    Problem { message: format!("{}; {why}", problem.message), ..problem }
}

fn named(settings: &Settings, kind: ModelKind, name: &str) -> Result<ModelRef, Problem> {
    if let Some(found) = known(settings).find(|known| known.kind() == kind && known.name() == name) {
        return Ok(found.to_ref());
    }
    let (what, add) = match kind {
        ModelKind::Text => ("language model", "; `tender models add FILE` takes a GGUF file"),
        ModelKind::Embed => ("encoder", ""),
    };
    let names: Vec<&str> = tender_base::catalogue::MODELS.iter().filter(|m| m.kind == kind).map(|m| m.name).collect();
    let hint = format!("use {}{add}", names.join(", "));
    Err(Problem::new(Code::NotFound, format!("there is no {what} {name} on this machine"), hint))
}

/// The model that some work needs; `None` for work without a model.
///
/// # Errors
/// As [`find`].
fn needed<'a>(settings: &'a Settings, work: &Work) -> Result<Option<Known<'a>>, Problem> {
    match work {
        Work::Embed { model, .. } => find(settings, ModelKind::Embed, model).map(Some),
        Work::Generate(text) => find(settings, ModelKind::Text, &text.model).map(Some),
        Work::Gemm { .. } | Work::Kernel(_) | Work::Wgsl(_) => Ok(None),
    }
}

/// Whether the model that some work needs is on this machine; `None` for work without a model.
pub(crate) fn is_here(settings: &Settings, work: &Work) -> Option<bool> {
    match needed(settings, work) {
        Ok(known) => known.map(|known| known.present(settings).is_ok()),
        Err(_) => Some(false),
    }
}

/// The models of a kind of work that are on this machine; `None` for work without a model. Whether one fits depends on
/// the moment, and is said by a proposal.
fn for_sale(settings: &Settings, kind: JobKind) -> Option<Vec<ModelRef>> {
    let kind = match kind {
        JobKind::Embed => ModelKind::Embed,
        JobKind::Generate => ModelKind::Text,
        JobKind::Gemm | JobKind::Wgsl | JobKind::Kernel => return None,
    };
    let here = known(settings).filter(|known| known.kind() == kind && known.present(settings).is_ok());
    Some(here.map(Known::to_ref).collect())
}

/// How a model's weights are stored; none for one that is not known here, or whose file does not say.
pub(crate) fn quantisation(settings: &Settings, model: &Sha256) -> Option<String> {
    let stored = match known(settings).find(|known| known.sha256() == *model)? {
        Known::Pinned(model) => model.quantisation.to_owned(),
        Known::Added(added) => added.facts.quantisation(),
    };
    Some(stored).filter(|stored| !stored.is_empty())
}

impl Node {
    /// The models of a kind of work that this machine sells: those that are here, and those of attached runtimes.
    pub(crate) fn for_sale(&self, settings: &Settings, kind: JobKind) -> Option<Vec<ModelRef>> {
        let mut models = for_sale(settings, kind)?;
        if kind == JobKind::Generate {
            models.extend(self.models_on_runtimes());
            models.sort_by_key(|model| model.sha256.to_string());
            models.dedup_by_key(|model| model.sha256);
        }
        Some(models)
    }

    /// Where the model is that some work needs: a folder for encoders, a GGUF file for language models; `None` for
    /// work without a model. Its file is unchanged, and it fits into the memory that is free now.
    ///
    /// # Errors
    /// [`Code::NotFound`] for a model that is not known here, [`Code::Unavailable`] when its files are not here or do
    /// not fit, [`Code::Forged`] when they are others than they were.
    pub(crate) async fn model(&self, work: &Work) -> Result<Option<PathBuf>, Problem> {
        let settings = self.settings();
        let Some(known) = needed(&settings, work)? else { return Ok(None) };
        let path = self.intact(&settings, known).await?;
        if let ModelKind::Text = known.kind() {
            self.fitting(&settings, known).await?;
        }
        Ok(Some(path))
    }

    /// The file or folder of a model for counting tokens, and for checking what a peer does with it.
    ///
    /// # Errors
    /// As [`Self::model`], saying what this machine needs the model for.
    pub(crate) async fn model_to_check_with(&self, kind: ModelKind, model: &ModelRef) -> Result<PathBuf, Problem> {
        let settings = self.settings();
        let known = find(&settings, kind, model)?;
        let path = self.intact(&settings, known).await.map_err(needed_to_check)?;
        if kind == ModelKind::Text {
            self.fitting(&settings, known).await.map_err(needed_to_check)?;
        }
        Ok(path)
    }

    /// The path of a model whose files are there and unchanged. One that was only touched is hashed again first.
    async fn intact(&self, settings: &Settings, known: Known<'_>) -> Result<PathBuf, Problem> {
        match known {
            Known::Added(added) if added.unchanged().is_err() => self.recheck(&added.name).await,
            _ => known.present(settings),
        }
    }
}

fn absent(model: &Model, dir: &Path) -> Problem {
    Problem::new(
        Code::Unavailable,
        format!("the model {} is not in {}", model.name, dir.display()),
        format!("download it: tender models get {}", model.name),
    )
}

fn damaged(file: &Path, found: u64, expected: u64) -> Problem {
    Problem::new(
        Code::Forged,
        format!("{} has {found} bytes, not {expected}", file.display()),
        "download the model again; the damaged file is replaced",
    )
}

/// The folder of the catalogue's models.
#[must_use]
pub(crate) fn folder(settings: &Settings) -> PathBuf {
    settings.models_dir.clone().unwrap_or_else(default_dir)
}

/// `$TENDER_MODELS`, else `tender/models` in the platform's cache.
#[must_use]
pub(crate) fn default_dir() -> PathBuf {
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
