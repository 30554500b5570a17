//! The attached runtimes as they are shown.

use super::Attached;
use crate::{
    api::types::{DoctorCheck, RuntimeRow, Runtimes},
    node::Node,
};
use tender_base::Code;
use tender_engine::http::Runtime;

impl Node {
    /// Every attached runtime, in the order of attaching.
    pub(crate) fn list_runtimes(&self) -> Runtimes {
        let row = |attached: &Attached| {
            let (said, problem) = match self.runtimes.engine(&attached.name) {
                Ok(engine) => (Some(engine.runtime().clone()), None),
                Err(problem) => (None, Some(problem)),
            };
            let state = match &problem {
                None => "connected",
                Some(_) if !self.runtimes.known().contains_key(&attached.name) => "connecting",
                Some(_) => "fault",
            };
            RuntimeRow {
                name: attached.name.clone(),
                address: attached.address.clone(),
                place: if attached.cloud.is_some() { "cloud" } else { "this_machine" }.to_owned(),
                state: state.to_owned(),
                serves: attached.serves.as_ref().map(|model| model.name.clone()),
                model: said.as_ref().map(|said| said.model.clone()).or_else(|| attached.model.clone()),
                engine: said.as_ref().map(|said| said.engine.name().to_owned()),
                build: said.as_ref().and_then(|said| said.build.clone()),
                quantisation: said.as_ref().and_then(|said| said.quantisation.clone()),
                context_tokens: said.as_ref().and_then(|said| said.context),
                slots: said.as_ref().map(|said| said.slots),
                for_sale: attached.cloud.is_none() && said.as_ref().is_some_and(|said| said.has_token_ids),
                about: about(attached, said.as_ref()),
                has_key: attached.has_key,
                prompt_micro_usd_per_million: attached.cloud.map(|price| price.prompt_micro_usd_per_million),
                text_micro_usd_per_million: attached.cloud.map(|price| price.text_micro_usd_per_million),
                problem: problem
                    .filter(|problem| state == "fault" || problem.code != Code::Unavailable)
                    .map(Into::into),
            }
        };
        Runtimes { runtimes: self.settings().runtimes.iter().map(row).collect() }
    }
}

/// What it is used for, in a sentence.
fn about(attached: &Attached, said: Option<&Runtime>) -> String {
    let model = attached.serves.as_ref().map_or("any model", |model| &model.name);
    if attached.cloud.is_some() {
        return format!("Your own texts of {model} are written there when that is cheapest. Nobody can check them.");
    }
    match said {
        None => format!("Attached for texts of {model}."),
        Some(said) if !said.has_token_ids => format!(
            "Writes your own texts of {model}. It does not tell the text's tokens, so that clients could not check \
             them: nothing is sold."
        ),
        Some(said) if said.hash_checked => {
            format!("Writes texts of {model} for you and your clients. Its file is the model's own.")
        }
        Some(_) => format!(
            "Writes texts of {model} for you and your clients. Its file could not be compared with the model's own."
        ),
    }
}

/// What the doctor says: a line for each.
pub(crate) fn checks(runtimes: &Runtimes) -> Vec<DoctorCheck> {
    let line = |row: &RuntimeRow| {
        let (state, message, remedy) = match (&row.problem, row.state.as_str()) {
            (Some(problem), _) => ("warning", problem.message.clone(), problem.hint.clone()),
            (None, "connected") => {
                let engine = row.engine.as_deref().unwrap_or_default();
                let build = row.build.as_deref().map(|build| format!(" {build}")).unwrap_or_default();
                let model = row.model.as_deref().unwrap_or_default();
                ("ok", format!("{engine}{build} at {} with {model}. {}", row.address, row.about), String::new())
            }
            (None, _) => ("ok", format!("being connected. {}", row.about), String::new()),
        };
        DoctorCheck { name: format!("Runtime {}", row.name), state: state.to_owned(), message, remedy }
    };
    runtimes.runtimes.iter().map(line).collect()
}
