//! The events of a streaming operation, taken out of their binding.

use super::{
    http::{lost, not_a2a},
    interface::Interface,
    sse::{Decoder, Event},
};
use serde_json::Value;
use std::time::Duration;
use tender_base::{Code, Problem};

/// Events up to this size are decoded where they arrive.
const INLINE_BYTES: usize = 256 << 10;

/// An open stream.
pub(super) struct Stream {
    response: reqwest::Response,
    decoder: Decoder,
    interface: Interface,
}

/// One event: a stream response, and what the stream can be resumed after.
pub(super) struct Arrived {
    pub(super) id: Option<String>,
    pub(super) response: Value,
}

impl Stream {
    /// `most` bytes in one event.
    pub(super) fn new(response: reqwest::Response, interface: Interface, most: usize) -> Self {
        Self { response, decoder: Decoder::new(most), interface }
    }

    /// The next event; none when the agent closed the stream.
    ///
    /// # Errors
    /// [`Code::Lost`] when the connection broke or nothing, not even a comment, came for `silence`; the problem that an
    /// event states.
    pub(super) async fn next(&mut self, silence: Duration) -> Result<Option<Arrived>, Problem> {
        loop {
            if let Some(Event { id, data }) = self.decoder.next() {
                let response = self.interface.content(decode(data).await?)?;
                return Ok(Some(Arrived { id, response }));
            }
            match tokio::time::timeout(silence, self.response.chunk()).await {
                Err(_) => return Err(lost("the peer fell silent in the middle of the work")),
                Ok(Err(_)) => return Err(lost("the connection to the peer broke in the middle of the work")),
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(bytes))) => self.decoder.push(&bytes)?,
            }
        }
    }
}

async fn decode(data: Vec<u8>) -> Result<Value, Problem> {
    let parse = |data: Vec<u8>| serde_json::from_slice(&data).map_err(|_| not_a2a("an event of the peer is not JSON"));
    if data.len() <= INLINE_BYTES {
        return parse(data);
    }
    tokio::task::spawn_blocking(move || parse(data))
        .await
        .map_err(|error| Problem::new(Code::Internal, error.to_string(), "report this as a bug"))?
}
