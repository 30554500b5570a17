//! `tender replay`: decisions decided again.

use crate::{args::Replay, ask::Source, files, print};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use tender_base::{Code, Problem, ids::JobId};
use tender_market::{
    document,
    explore::Policy,
    receipt::{Again, ENGINE, Receipt},
};
use tender_node::api::types::{ById, Explanation};
use tender_sim::recorded::{self, Recorded};

/// Longest receipt that is read: ten thousand alternatives.
const MAX_BYTES: u64 = 64 << 20;

/// One receipt, decided again.
#[derive(Serialize)]
struct Replayed {
    /// The file or the job.
    receipt: String,
    #[serde(flatten)]
    again: Again,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct Answer {
    receipts: Vec<Replayed>,
    /// What the other policy comes to on all receipts that know what their job came to.
    recorded: Option<Recorded>,
    saving_pct: Option<f64>,
}

pub(crate) async fn run(dir: &Path, options: &Replay, json: bool) -> Result<(), Problem> {
    let policy: Option<Policy> = options.policy.as_deref().map(str::parse).transpose()?;
    let mut receipts = Vec::new();
    for name in &options.receipt {
        receipts.push(read(dir, name).await?);
    }
    let replayed = options.receipt.iter().zip(&receipts).map(|(name, receipt)| replay(name, receipt, policy));
    let replayed = replayed.collect::<Result<Vec<_>, Problem>>()?;
    let altered = replayed.iter().find_map(|one| one.again.problem.clone());
    let recorded = match (policy, &altered) {
        (Some(policy), None) => Some(recorded::replay(&receipts, policy)?).filter(|recorded| recorded.jobs > 0),
        _ => None,
    };
    let saving_pct = recorded.as_ref().and_then(Recorded::saving_pct);
    print::answer(json, &Answer { receipts: replayed, recorded, saving_pct }, text);
    altered.map_or(Ok(()), Err)
}

/// A file, or else a job of the node.
async fn read(dir: &Path, name: &str) -> Result<Receipt, Problem> {
    let hint = "give the file that `tender explain JOB --json` wrote, or the id of a job";
    let json = if Path::new(name).is_file() {
        files::text(Path::new(name), MAX_BYTES)?
    } else if name.parse::<JobId>().is_ok() {
        let explanation: Explanation =
            Source::of(dir, true).await?.ask("explain", &ById { id: name.to_owned() }).await?;
        explanation.decision.to_string()
    } else {
        return Err(Problem::new(Code::NotFound, format!("{name} is neither a file nor the id of a job"), hint));
    };
    let document: Value = document::read(&json, name, hint)?;
    let receipt = document.get("decision").unwrap_or(&document);
    if let Some(engine) = receipt["engine"].as_str().filter(|engine| *engine != ENGINE) {
        return Err(Problem::new(
            Code::Unavailable,
            format!("the decision in {name} was made by {engine}, this is {ENGINE}"),
            "replay it with the version of Tender that made it",
        ));
    }
    document::read(&receipt.to_string(), &format!("the receipt in {name}"), hint)
}

fn replay(name: &str, receipt: &Receipt, policy: Option<Policy>) -> Result<Replayed, Problem> {
    let again = receipt.again(policy)?;
    let mut text = match &again.problem {
        None => format!("{name}: deciding again gives the same receipt, bit for bit.\n\n{}", receipt.render()),
        Some(problem) => format!("{name}: {}\n\n{}", problem.message, receipt.render()),
    };
    if let Some(instead) = &again.instead {
        text = format!("{text}\n{}\n\n{}", instead.verdict(again.chosen.as_deref()), instead.receipt.render());
    }
    Ok(Replayed { receipt: name.to_owned(), again, text })
}

fn text(answer: &Answer) -> String {
    let mut out = answer.receipts.iter().map(|one| one.text.as_str()).collect::<Vec<_>>().join("\n");
    if let Some(recorded) = &answer.recorded {
        let saving = answer.saving_pct.map_or_else(String::new, |saving| {
            format!(" Against always local it saves {saving:.1} %, losses counted.")
        });
        out = format!(
            "{out}\nOn {} jobs whose end is known (of {} more it is not), ${:.6} were charged. The policy comes to ${:.6}, \
             of which ${:.6} were observed; it takes the same place for {}.{saving}",
            recorded.jobs,
            recorded.left_out,
            recorded.charged_usd,
            recorded.policy_usd,
            recorded.observed_usd,
            recorded.same
        );
    }
    out.trim_end().to_owned()
}
