//! What a model file is, found out before it is loaded.

use crate::{
    local::{limited, unexpected},
    prepare::text_of,
    worker::{Worker, find_worker},
};
use bytes::Bytes;
use std::{path::Path, time::Duration};
use tender_base::{
    Problem,
    catalogue::ModelFacts,
    frames::{Reply, Request},
};

/// Longest time to read a header: of some megabytes, from a disk that may have to spin up.
const INSPECT_LIMIT: Duration = Duration::from_secs(60);

/// Has a GGUF file read by a worker process of its own, which opens no adapter and ends with the answer: whatever the
/// file does to it, neither this process nor anybody's work is touched.
///
/// # Errors
/// [`tender_base::Code::NotFound`] for a broken file, [`tender_base::Code::Unavailable`] for one that this version
/// does not compute or without a worker, [`tender_base::Code::Lost`] when the process died over it.
pub async fn inspect(worker: Option<&Path>, file: &Path) -> Result<ModelFacts, Problem> {
    let mut process = Worker::start(&find_worker(worker)?, &[file.to_owned()])?;
    let request = Request::Inspect { model_path: text_of(file)? };
    let answered = limited(INSPECT_LIMIT, "reading the model file", async {
        process.send(&request, &Bytes::new()).await?;
        process.receive(0).await
    });
    let answered = answered.await;
    process.kill().await;
    match answered?.0 {
        Reply::Inspected { model } => Ok(model),
        Reply::Failed { problem } => Err(problem),
        _ => Err(unexpected()),
    }
}
