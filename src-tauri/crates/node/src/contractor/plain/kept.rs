//! What is remembered of plain messages: what is long is kept among the blobs, as other inputs are, so that it can be
//! forgotten; what is in the events cannot.

use crate::node::Node;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use tender_a2a::{
    log::Change,
    wire::{Message, Part},
};
use tender_base::{BlobRef, Code, Problem};
use tender_store::{StoreError, TaskRecord, TaskStep};

/// Longest parts of a message, in bytes of JSON, that are recorded in it.
const MAX_INLINE_BYTES: usize = 1 << 10;
/// What stands in the place of parts that are no longer kept.
const GONE: &str = "[no longer kept]";

/// A message without its parts, and where they are.
#[derive(Serialize, Deserialize)]
struct Kept {
    kept: Message,
    parts: BlobRef,
}

impl Node {
    /// The record of a message. Long parts of it are kept for `time`, or as long as other inputs.
    pub(super) async fn keep_message(&self, message: &Message, time: Option<Duration>) -> Result<Value, Problem> {
        let parts = super::json(&message.parts)?.to_string();
        if parts.len() <= MAX_INLINE_BYTES {
            return super::body(&Change::Message(message.clone()));
        }
        let put = match time {
            Some(time) => self.store.put_blob_for(parts.as_bytes(), time).await,
            None => self.store.put_blob(parts.as_bytes()).await,
        };
        let kept = Message { parts: Vec::new(), ..message.clone() };
        super::json(&Kept { kept, parts: put.map_err(|e| e.problem())? })
    }

    /// Puts the parts of messages back where they are kept elsewhere.
    ///
    /// # Errors
    /// When they cannot be read. Parts that are no longer kept, or are damaged, are said to be gone.
    pub(in crate::contractor) async fn restore_messages(&self, task: &mut TaskRecord) -> Result<(), Problem> {
        for (_, step) in &mut task.steps {
            if let TaskStep::Recorded(body) = step
                && let Some(kept) = Kept::of(body)
            {
                *body = super::body(&Change::Message(self.message(kept).await?))?;
            }
        }
        Ok(())
    }

    /// How many bytes of its messages are kept beside the task, for [`Self::restore_messages`] to read.
    pub(in crate::contractor) fn kept_bytes(task: &TaskRecord) -> u64 {
        let recorded = task.steps.iter().filter_map(|(_, step)| match step {
            TaskStep::Recorded(body) => Kept::of(body),
            TaskStep::Entered(_) => None,
        });
        recorded.map(|kept| kept.parts.bytes).sum()
    }

    /// The message with which a plain task began, as it came.
    ///
    /// # Errors
    /// When it cannot be read, or is no longer kept.
    pub(super) async fn first_message(&self, record: &TaskRecord) -> Result<Message, Problem> {
        let lost = || Problem::new(Code::Storage, "the job of this task is no longer kept", "send it again");
        let Some((_, TaskStep::Recorded(body))) = record.steps.first() else { return Err(lost()) };
        match (Kept::of(body), serde_json::from_value(body.clone())) {
            (Some(Kept { kept, parts }), _) => {
                let bytes = self.stored_blob(&parts).await?;
                let parts = serde_json::from_slice(&bytes).map_err(|_| lost())?;
                Ok(Message { parts, ..kept })
            }
            (None, Ok(Change::Message(message))) => Ok(message),
            _ => Err(lost()),
        }
    }

    async fn message(&self, Kept { kept, parts }: Kept) -> Result<Message, Problem> {
        let found = match self.store.blob(&parts).await {
            Ok(found) => found,
            Err(StoreError::DamagedBlob { blob }) => {
                tracing::warn!(blob, "a message of a task is damaged");
                None
            }
            Err(error) => return Err(error.problem()),
        };
        let read = found.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Message { parts: read.unwrap_or_else(|| vec![Part::text(GONE)]), ..kept })
    }
}

impl Kept {
    fn of(body: &Value) -> Option<Self> {
        body.get("kept")?;
        serde_json::from_value(body.clone()).ok()
    }
}
