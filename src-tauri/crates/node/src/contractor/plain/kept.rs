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

/// Longest message, in bytes of JSON, that is recorded as it is: with its metadata, and whatever else it says beside its
/// parts.
const MAX_INLINE_BYTES: usize = 1 << 10;
/// What is said by a message that is no longer kept.
const GONE: &str = "[no longer kept]";

/// Of a longer message, which one it is, and where the whole of it is.
#[derive(Serialize, Deserialize)]
struct Kept {
    kept: Message,
    whole: BlobRef,
}

impl Node {
    /// The record of a message. A long one is kept for `time`, or as long as other inputs.
    pub(super) async fn keep_message(&self, message: &Message, time: Option<Duration>) -> Result<Value, Problem> {
        let whole = super::json(message)?.to_string();
        if whole.len() <= MAX_INLINE_BYTES {
            return super::body(&Change::Message(message.clone()));
        }
        let put = match time {
            Some(time) => self.store.put_blob_for(whole.as_bytes(), time).await,
            None => self.store.put_blob(whole.as_bytes()).await,
        };
        // All of these are bounded before a message comes here; nothing else is.
        let kept = Message {
            message_id: message.message_id.clone(),
            context_id: message.context_id.clone(),
            task_id: message.task_id.clone(),
            role: message.role.clone(),
            parts: Vec::new(),
            metadata: None,
            extensions: None,
            reference_task_ids: None,
        };
        super::json(&Kept { kept, whole: put.map_err(|e| e.problem())? })
    }

    /// From now on the message with which a plain task began is kept as long as other inputs.
    ///
    /// # Errors
    /// When it cannot be read or written, or is no longer kept.
    pub(super) async fn keep_on(&self, record: &TaskRecord) -> Result<(), Problem> {
        let Some((_, TaskStep::Recorded(body))) = record.steps.first() else { return Ok(()) };
        let Some(Kept { whole, .. }) = Kept::of(body) else { return Ok(()) };
        let bytes = self.stored_blob(&whole).await?;
        self.store.put_blob(&bytes).await.map(drop).map_err(|e| e.problem())
    }

    /// Puts messages back that are kept elsewhere.
    ///
    /// # Errors
    /// When they cannot be read. One that is no longer kept, or is damaged, is said to be gone.
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

    /// How many bytes the records of a task have, with what [`Self::restore_messages`] reads for them.
    pub(in crate::contractor) fn recorded_bytes(task: &TaskRecord) -> u64 {
        let recorded = task.steps.iter().map(|(_, step)| match step {
            TaskStep::Recorded(body) => Kept::of(body).map_or(body.to_string().len() as u64, |kept| kept.whole.bytes),
            TaskStep::Entered(_) => 0,
        });
        recorded.sum()
    }

    /// The message with which a plain task began, as it came.
    ///
    /// # Errors
    /// When it cannot be read, or is no longer kept.
    pub(super) async fn first_message(&self, record: &TaskRecord) -> Result<Message, Problem> {
        let lost = || Problem::new(Code::Storage, "the job of this task is no longer kept", "send it again");
        let Some((_, TaskStep::Recorded(body))) = record.steps.first() else { return Err(lost()) };
        match (Kept::of(body), serde_json::from_value(body.clone())) {
            (Some(Kept { whole, .. }), _) => {
                serde_json::from_slice(&self.stored_blob(&whole).await?).map_err(|_| lost())
            }
            (None, Ok(Change::Message(message))) => Ok(message),
            _ => Err(lost()),
        }
    }

    async fn message(&self, Kept { kept, whole }: Kept) -> Result<Message, Problem> {
        let found = match self.store.blob(&whole).await {
            Ok(found) => found,
            Err(StoreError::DamagedBlob { blob }) => {
                tracing::warn!(blob, "a message of a task is damaged");
                None
            }
            Err(error) => return Err(error.problem()),
        };
        let read = found.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(read.unwrap_or_else(|| Message { parts: vec![Part::text(GONE)], ..kept }))
    }
}

impl Kept {
    fn of(body: &Value) -> Option<Self> {
        body.get("kept")?;
        serde_json::from_value(body.clone()).ok()
    }
}
