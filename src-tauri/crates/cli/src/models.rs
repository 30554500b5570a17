//! `tender models`.

use crate::{args::ModelsCommand, ask::Source, print};
use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    path::Path,
    time::Duration,
};
use tender_base::{Code, Problem};
use tender_node::api::types::*;

/// How often it is asked how far a download is.
const LOOK: Duration = Duration::from_millis(300);

pub(crate) async fn run(dir: &Path, command: Option<ModelsCommand>, json: bool) -> Result<(), Problem> {
    let node = Source::of(dir, command.is_none()).await?;
    match command {
        None => {
            let models: Models = node.ask("models", &Nothing {}).await?;
            print::answer(json, &models, list);
        }
        Some(ModelsCommand::Get { name, no_wait }) => {
            let mut models: Models = node.ask("download_model", &ByModel { name: name.clone() }).await?;
            if !no_wait {
                models = wait(&node, &name, models).await?;
            }
            answer(json, &models, &name)?;
        }
        Some(ModelsCommand::Cancel { name }) => {
            let models: Models = node.ask("cancel_download", &ByModel { name }).await?;
            print::answer(json, &models, |_| {
                "Ended. What came is kept; the next download goes on from there.".to_owned()
            });
        }
        Some(ModelsCommand::Add { path, name }) => {
            let whole = std::path::absolute(&path).ok().and_then(|path| path.into_os_string().into_string().ok());
            let path = whole.ok_or_else(|| {
                let hint = "move it to a folder with a plain name";
                Problem::new(Code::Invalid, format!("{} cannot be named in UTF-8", path.display()), hint)
            })?;
            let stem = Path::new(&path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let called = name.clone().unwrap_or_else(|| stem.to_owned());
            let models: Models = node.ask("add_model", &AddModelInput { path, name }).await?;
            let models = wait(&node, &called, models).await?;
            answer(json, &models, &called)?;
        }
        Some(ModelsCommand::Remove { name, delete_files }) => {
            let input = RemoveModelInput { name, delete_files: Some(delete_files) };
            let models: Models = node.ask("remove_model", &input).await?;
            print::answer(json, &models, |_| {
                if delete_files { "Deleted.".to_owned() } else { "Forgotten; its file is still there.".to_owned() }
            });
        }
    }
    Ok(())
}

/// Waits until nothing is done with the model any more, and shows how far it is.
async fn wait(node: &Source, name: &str, mut models: Models) -> Result<Models, Problem> {
    let mut err = std::io::stderr();
    let shows = err.is_terminal();
    while let Some(row) = find(&models, name).filter(|row| row.state == "downloading" || row.state == "checking") {
        if shows {
            // Who cannot see it misses nothing.
            let _ = write!(err, "\r{} {}: {} of {}   ", row.state, name, size(row.downloaded_bytes), size(row.bytes));
            let _ = err.flush();
        }
        tokio::time::sleep(LOOK).await;
        models = node.ask("models", &Nothing {}).await?;
    }
    if shows {
        let _ = writeln!(err);
    }
    Ok(models)
}

/// Prints one model; one that did not get ready is a failure.
fn answer(json: bool, models: &Models, name: &str) -> Result<(), Problem> {
    let Some(row) = find(models, name) else {
        return Err(Problem::new(Code::WorkFailed, format!("{name} was not added"), "see the node's log"));
    };
    print::answer(json, row, line);
    match &row.problem {
        Some(problem) if row.state != "ready" => {
            Err(Problem::new(Code::WorkFailed, problem.message.clone(), problem.hint.clone()))
        }
        _ => Ok(()),
    }
}

fn find<'a>(models: &'a Models, name: &str) -> Option<&'a ModelRow> {
    models.models.iter().find(|row| row.name == name)
}

fn list(models: &Models) -> String {
    let lines: Vec<String> = models.models.iter().map(line).collect();
    format!("{}\n\n{}\nDownloads are in {}", lines.join("\n"), models.memory, models.folder)
}

fn line(row: &ModelRow) -> String {
    let bytes = match row.state.as_str() {
        "ready" => size(row.bytes),
        _ if row.downloaded_bytes > 0 => format!("{} of {}", size(row.downloaded_bytes), size(row.bytes)),
        _ => size(row.bytes),
    };
    let what =
        [row.quantisation.as_deref(), row.licence.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let fits = match row.fits {
        Some(true) => "fits",
        Some(false) => "does not fit",
        None => "may fit",
    };
    let mut out =
        format!("{}  {}, {}, {bytes}, {what}; {fits}\n  {} {}", row.name, row.kind, row.state, row.about, row.fit);
    if let Some(path) = &row.path {
        let _ = write!(out, "\n  {path}");
    }
    if !row.sha256.is_empty() {
        let _ = write!(out, "\n  SHA-256 {}", row.sha256);
    }
    if let Some(problem) = &row.problem {
        let _ = write!(out, "\n  Problem: {} ({})", problem.message, problem.hint);
    }
    out
}

/// Bytes in decimal units, as disks and download pages count them.
fn size(bytes: u64) -> String {
    let giga = bytes as f64 / 1e9;
    if giga >= 1.0 { format!("{giga:.2} GB") } else { format!("{:.1} MB", giga * 1000.0) }
}
