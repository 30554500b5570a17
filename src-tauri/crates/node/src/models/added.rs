//! GGUF files of the owner: they stay where they are, and their hash, length and time are kept.

use super::{Busy, Stage, Task, download, known};
use crate::node::Node;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};
use tender_base::{Code, Problem, Sha256, catalogue::ModelFacts};

/// Internal setting with the added models.
pub(crate) const ADDED: &str = "models.added";
/// Most added models: each is a row in every listing.
const MAX_ADDED: usize = 200;
/// Longest name of a model, in characters.
const MAX_NAME_CHARS: usize = 100;

/// A GGUF file as it was when it was added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// What the owner calls it.
    pub name: String,
    /// Absolute path.
    pub path: String,
    /// Hash of the file.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was last written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// What the worker found in it.
    pub facts: ModelFacts,
}

impl Added {
    /// That the file has the length and time that it had.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when it is gone, [`Code::Forged`] when it was written to.
    pub(super) fn unchanged(&self) -> Result<(), Problem> {
        if look(Path::new(&self.path))? == (self.bytes, self.modified_ms) { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> Problem {
        Problem::new(
            Code::Forged,
            format!("{} is another file than the one that was added as {}", self.path, self.name),
            format!("remove it with `tender models remove {}`, then add it again", self.name),
        )
    }
}

/// The added models among the stored settings.
pub(crate) fn added_in(stored: &BTreeMap<String, Value>) -> Vec<Added> {
    let Some(value) = stored.get(ADDED) else { return Vec::new() };
    serde_json::from_value(value.clone()).unwrap_or_else(|problem| {
        tracing::error!(%problem, "the added models cannot be read; add them again");
        Vec::new()
    })
}

/// Length and time of a file.
fn look(path: &Path) -> Result<(u64, i64), Problem> {
    let missing = |why: String| {
        let hint = "put it back, or remove it with `tender models remove NAME`";
        Problem::new(Code::Unavailable, format!("the model file {}: {why}", path.display()), hint)
    };
    let about = fs::metadata(path).map_err(|e| missing(e.to_string()))?;
    if !about.is_file() {
        return Err(missing("this is no file".to_owned()));
    }
    let modified = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0);
    Ok((about.len(), modified_ms))
}

impl Node {
    /// Has the worker look at a GGUF file, then hashes it in the background; after that it is a model like any other.
    ///
    /// # Errors
    /// [`Code::Invalid`] for a path or name that cannot be used, [`Code::Conflict`] for a name that is taken, and what
    /// the worker finds wrong with the file.
    pub(crate) async fn add_model(self: &Arc<Self>, path: &str, name: Option<&str>) -> Result<(), Problem> {
        let file = PathBuf::from(path);
        if !file.is_absolute() {
            let hint = "name the whole path, from the root on";
            return Err(Problem::new(Code::Invalid, format!("{path} is no absolute path"), hint));
        }
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = name.unwrap_or(stem).to_owned();
        check_name(&name)?;
        let settings = self.settings();
        if settings.added_models.len() >= MAX_ADDED {
            let hint = "remove one that you no longer need";
            return Err(Problem::new(Code::TooMany, format!("there are {MAX_ADDED} added models"), hint));
        }
        if known(&settings).any(|known| known.name() == name) {
            return Err(Problem::new(
                Code::Conflict,
                format!("there is a model {name} already"),
                "choose another name with --name, or remove the other one first",
            ));
        }
        let (bytes, modified_ms) = look(&file)?;
        let facts = tender_engine::inspect(settings.worker.as_deref(), &file).await.map_err(|problem| {
            let broken = problem.code == Code::NotFound;
            let hint = if broken { "get the file again: it may be cut off, or no GGUF file" } else { &problem.hint };
            Problem::new(problem.code, problem.message, hint)
        })?;
        let unknown = Sha256::from_bytes([0; 32]);
        let added = Added { name: name.clone(), path: path.to_owned(), sha256: unknown, bytes, modified_ms, facts };
        let cancel = self.shutdown.child_token();
        let task = Task::Add(Arc::new(added.clone()));
        let busy = Busy { task, stage: Stage::Checking, done: 0, cancel: cancel.clone() };
        if self.models.busy().insert(name.clone(), busy).is_some() {
            return Err(Problem::new(Code::Conflict, format!("{name} is being added already"), "wait for it"));
        }
        let node = self.clone();
        self.spawn(async move {
            let outcome = tokio::select! {
                biased;
                () = cancel.cancelled() => Ok(()),
                outcome = node.finish_adding(added) => outcome,
            };
            if let Err(problem) = &outcome {
                tracing::warn!(model = name, code = %problem.code, %problem, "the file was not added");
            }
            node.models.ended(&name, outcome);
            node.live.touch();
        });
        self.live.touch();
        Ok(())
    }

    async fn finish_adding(&self, added: Added) -> Result<(), Problem> {
        let sha256 = self.hash(&added.name, Path::new(&added.path)).await?;
        added.unchanged()?;
        let _changing = self.models.changing.lock().await;
        let mut all = self.settings().added_models;
        all.push(Added { sha256, ..added });
        all.sort_by(|a, b| a.name.cmp(&b.name));
        self.keep_added(all).await
    }

    /// Hashes a changed file again: one that was only touched or copied stays the model that it was.
    pub(super) async fn recheck(&self, name: &str) -> Result<PathBuf, Problem> {
        let _changing = self.models.changing.lock().await;
        let settings = self.settings();
        let Some(added) = settings.added_models.iter().find(|added| added.name == name) else {
            return Err(Problem::new(Code::NotFound, format!("the model {name} was removed"), "add it again"));
        };
        let path = PathBuf::from(&added.path);
        let (bytes, modified_ms) = look(&path)?;
        // Another one may have done it meanwhile.
        if (bytes, modified_ms) == (added.bytes, added.modified_ms) {
            return Ok(path);
        }
        if bytes != added.bytes {
            return Err(added.changed());
        }
        let cancel = self.shutdown.child_token();
        let busy = Busy { task: Task::Recheck, stage: Stage::Checking, done: 0, cancel };
        self.models.busy().insert(name.to_owned(), busy);
        let hashed = self.hash(name, &path).await;
        self.models.busy().remove(name);
        if hashed? != added.sha256 {
            return Err(added.changed());
        }
        let same = Added { modified_ms, ..added.clone() };
        let mut all = settings.added_models.clone();
        all.retain(|other| other.name != name);
        all.push(same);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        self.keep_added(all).await?;
        Ok(path)
    }

    /// Hashes a file and shows how far it is.
    async fn hash(&self, name: &str, path: &Path) -> Result<Sha256, Problem> {
        let report = |bytes| {
            if let Some(busy) = self.models.busy().get_mut(name) {
                busy.done = bytes;
            }
            self.live.touch();
        };
        download::hash(path, report).await
    }

    /// Forgets an added model, and deletes its file when that is asked for.
    ///
    /// # Errors
    /// [`Code::Storage`] when the file cannot be deleted; the model stays known then.
    pub(super) async fn forget_added(&self, added: &Added, delete_file: bool) -> Result<(), Problem> {
        let _changing = self.models.changing.lock().await;
        if delete_file {
            download::delete(Path::new(&added.path))?;
        }
        let mut all = self.settings().added_models;
        all.retain(|other| other.name != added.name);
        self.keep_added(all).await
    }

    async fn keep_added(&self, all: Vec<Added>) -> Result<(), Problem> {
        let value = serde_json::to_value(all)
            .map_err(|e| Problem::new(Code::Internal, format!("the added models cannot be kept: {e}"), ""))?;
        self.set(ADDED, value).await
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let length = name.chars().count();
    let plain = name.trim() == name && !name.chars().any(char::is_control);
    if plain && (1..=MAX_NAME_CHARS).contains(&length) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Invalid,
        format!("a model cannot be called {name:?}"),
        format!("name it with 1 to {MAX_NAME_CHARS} characters, without spaces at its ends"),
    ))
}
