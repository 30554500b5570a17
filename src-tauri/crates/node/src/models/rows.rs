//! The models as they are shown.

use super::{Added, Busy, Known, Stage, Task, download, fit, folder, known};
use crate::{
    api::types::{ApiProblem, DoctorCheck, ModelRow, Models},
    node::Node,
    settings::Settings,
};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tender_base::{
    Code, Problem,
    catalogue::{MINILM, Model, ModelKind, SMOLLM2},
};

/// How long a listing may wait for the adapter to be opened for the first time: some drivers take seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all rows have in common.
struct Looking<'a> {
    settings: &'a Settings,
    memory: fit::Memory,
    busy: BTreeMap<String, Busy>,
    faults: BTreeMap<String, Problem>,
}

impl Node {
    /// Every model that is known here, with its state and whether it fits.
    pub(crate) async fn models(&self) -> Models {
        let memory = self.free_memory(&self.settings(), PATIENCE).await;
        // Before the settings: what has just been added is in one of them, or in both.
        let (busy, faults) = (self.models.busy().clone(), self.models.faults().clone());
        let settings = self.settings();
        let looking = Looking { settings: &settings, memory, busy, faults };
        let mut models: Vec<ModelRow> = known(&settings).map(|known| self.row(&looking, known)).collect();
        for (name, busy) in &looking.busy {
            if let Task::Add(added) = &busy.task
                && !models.iter().any(|row| row.name == *name)
            {
                models.push(ModelRow { sha256: String::new(), ..self.row(&looking, Known::Added(added)) });
            }
        }
        let memory = match looking.memory.free_bytes {
            Some(bytes) => format!("{} of {} are free.", fit::size(bytes), looking.memory.what),
            None => format!("How much memory is free is not known: {}.", looking.memory.what),
        };
        let folder = folder(&settings).display().to_string();
        Models { models, folder, free_memory_bytes: looking.memory.free_bytes, memory }
    }

    fn row(&self, looking: &Looking<'_>, known: Known<'_>) -> ModelRow {
        let fit = self.fit(looking.settings, known, &looking.memory);
        let (name, path) = (known.name().to_owned(), known.path(looking.settings));
        let (state, there, problem) = state(looking, known);
        let here = state != "absent" && state != "downloading";
        let mut row = ModelRow {
            kind: match known.kind() {
                ModelKind::Text => "text".to_owned(),
                ModelKind::Embed => "embed".to_owned(),
            },
            state: state.to_owned(),
            added: matches!(known, Known::Added(_)),
            bytes: 0,
            downloaded_bytes: there,
            licence: None,
            quantisation: None,
            context_tokens: Some(known.footprint().context_tokens),
            parameters: None,
            sha256: known.sha256().to_string(),
            needed_bytes: Some(fit.needed_bytes),
            fits: fit.fits,
            fit: fit.sentence,
            about: String::new(),
            path: here.then(|| path.display().to_string()),
            problem: problem.map(ApiProblem::from),
            name,
        };
        match known {
            Known::Pinned(model) => {
                row.bytes = model.bytes();
                row.licence = Some(model.licence.to_owned());
                row.quantisation = Some(model.quantisation.to_owned());
                row.parameters = Some(model.parameters);
                row.about = model.about.to_owned();
            }
            Known::Added(Added { bytes, facts, .. }) => {
                row.bytes = *bytes;
                row.quantisation = Some(facts.quantisation());
                row.parameters = Some(facts.parameters);
                let chat = if facts.chat_template { "" } else { " It has no chat template: it continues prompts." };
                row.about = format!("{}, {} layers; a file of yours.{chat}", facts.architecture, facts.layers);
            }
        }
        row
    }

    /// Forgets an added model, or deletes a downloaded one.
    ///
    /// # Errors
    /// [`Code::NotFound`] for an unknown name, [`Code::Conflict`] while something is done with it, [`Code::Invalid`]
    /// for a model of the catalogue without its files, [`Code::Storage`] when files cannot be deleted.
    pub(crate) async fn remove_model(self: &Arc<Self>, name: &str, delete_files: bool) -> Result<(), Problem> {
        if self.models.busy().contains_key(name) {
            let hint = format!("wait for it, or end it: tender models cancel {name}");
            return Err(Problem::new(Code::Conflict, format!("{name} is being downloaded or checked"), hint));
        }
        self.models.faults().remove(name);
        let settings = self.settings();
        if let Some(added) = settings.added_models.iter().find(|added| added.name == name) {
            self.forget_added(added, delete_files).await?;
        } else {
            let model = Model::named(name).ok_or_else(|| {
                Problem::new(Code::NotFound, format!("there is no model {name}"), "`tender models` lists them")
            })?;
            if !delete_files {
                return Err(Problem::new(
                    Code::Invalid,
                    format!("{name} belongs to the catalogue and can only be removed with its files"),
                    "ask for its files to be deleted, too: --delete-files",
                ));
            }
            self.delete_downloaded(model)?;
        }
        self.live.touch();
        Ok(())
    }
}

/// What the doctor says: a line for each model that is here or should be, and one for each kind that is missing.
pub(crate) fn checks(models: &Models) -> Vec<DoctorCheck> {
    let mut checks: Vec<DoctorCheck> = models.models.iter().filter(|row| row.state != "absent").map(check).collect();
    for (kind, name, default) in [("text", "Language model", SMOLLM2.name), ("embed", "Embedding model", MINILM.name)] {
        if !models.models.iter().any(|row| row.kind == kind && row.state == "ready") {
            checks.push(DoctorCheck {
                name: name.to_owned(),
                state: "warning".to_owned(),
                message: format!("none is in {}", models.folder),
                remedy: format!("download one: tender models get {default}"),
            });
        }
    }
    checks
}

fn check(row: &ModelRow) -> DoctorCheck {
    let (state, message, remedy) = match (&row.problem, row.fits) {
        (Some(problem), _) => ("fault", problem.message.clone(), problem.hint.clone()),
        (None, Some(false)) => (
            "warning",
            format!("{}. {}", row.state, row.fit),
            "close what uses the memory, or use a smaller one".to_owned(),
        ),
        (None, _) => ("ok", format!("{}, SHA-256 {}. {}", row.state, row.sha256, row.fit), String::new()),
    };
    DoctorCheck { name: format!("Model {}", row.name), state: state.to_owned(), message, remedy }
}

/// State, bytes that are here, and what is wrong.
fn state(looking: &Looking<'_>, known: Known<'_>) -> (&'static str, u64, Option<Problem>) {
    if let Some(busy) = looking.busy.get(known.name()) {
        let state = match busy.stage {
            Stage::Downloading => "downloading",
            Stage::Checking => "checking",
        };
        return (state, busy.done, None);
    }
    let fault = looking.faults.get(known.name()).cloned();
    let there = match known {
        Known::Pinned(model) => downloaded(&folder(looking.settings).join(model.name), model),
        Known::Added(added) => download::length(Path::new(&added.path)).unwrap_or(0),
    };
    match (known.present(looking.settings), known) {
        (Ok(_), _) => ("ready", there, None),
        // Touched, not changed as far as one can see: it is hashed again before it is used.
        (Err(problem), Known::Added(added)) if problem.code == Code::Forged && there == added.bytes => {
            ("ready", there, fault)
        }
        (Err(problem), Known::Pinned(_)) if problem.code == Code::Unavailable => ("absent", there, fault),
        (Err(problem), _) => ("fault", there, Some(problem)),
    }
}

/// Bytes of the model's files that are here, those of a download that broke off included.
fn downloaded(dir: &Path, model: &Model) -> u64 {
    let one = |file: &tender_base::catalogue::ModelFile| {
        let place = dir.join(file.name);
        let bytes = download::length(&place).or_else(|| download::length(&download::part(&place)));
        bytes.unwrap_or(0).min(file.bytes)
    };
    model.files.iter().map(one).sum()
}
