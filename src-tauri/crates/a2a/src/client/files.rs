//! Outputs that are told as an address instead of as bytes: fetched from the agent's own origin and no other, gone on
//! with where the connection broke, and compared with the stated hash.

use super::{
    http::{Http, lost, no_answer, not_a2a, unexpected},
    interface::Interface,
    who::Who,
};
use crate::CONTRACT_EXTENSION;
use a2a::Part;
use reqwest::{StatusCode, Url, header};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::HashMap, time::Duration};
use tender_base::{Code, Problem, Sha256};

/// Attempts in a row without a byte of progress.
const TRIES: u32 = 3;
/// Pause before the first new attempt, doubled each time.
const PAUSE: Duration = Duration::from_millis(200);

/// A file of an agent.
#[derive(Clone, Debug)]
pub(super) struct File {
    url: Url,
    stated: Option<Stated>,
}

/// What the part says of the file, as metadata of our extension.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Stated {
    sha256: Sha256,
    bytes: u64,
}

impl File {
    /// The file of a part with this address, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Code::Forbidden`] when it lies elsewhere than the agent, [`Code::TooLarge`], [`Code::Invalid`].
    pub(super) fn of(
        address: &str,
        metadata: Option<&HashMap<String, Value>>,
        interface: &Interface,
        http: &Http,
        limit: u64,
    ) -> Result<Self, Problem> {
        let url = interface.url.join(address).map_err(|_| not_a2a("the address of the peer's output is no URL"))?;
        if url.origin() != interface.url.origin() && url.origin() != http.origin().origin() {
            let host = crate::error::readable(url.host_str().unwrap_or_default());
            return Err(Problem::new(
                Code::Forbidden,
                format!("the peer's output lies on {host}, and only the peer itself is asked"),
                "do not trade with this peer; tell its owner",
            ));
        }
        let stated = metadata.and_then(|metadata| metadata.get(CONTRACT_EXTENSION));
        let stated = stated.map(Stated::deserialize).transpose();
        let stated = stated.map_err(|_| not_a2a("size and hash of the peer's output are not readable"))?;
        if stated.is_some_and(|stated| stated.bytes > limit) {
            return Err(too_large(limit));
        }
        Ok(Self { url, stated })
    }

    /// Fetches it. An agent that sends nothing for `silence` is asked again, or given up.
    ///
    /// # Errors
    /// [`Code::Lost`] when the connection breaks again and again, [`Code::TooLarge`], [`Code::Forged`] when it is
    /// another file than stated.
    pub(super) async fn fetch(
        &self,
        http: &Http,
        who: &Who,
        limit: u64,
        silence: Duration,
    ) -> Result<Vec<u8>, Problem> {
        let limit = (self.stated.map_or(limit, |stated| stated.bytes), silence);
        let (mut bytes, mut etag) = (Vec::new(), None);
        let (mut tries, mut pause) = (0, PAUSE);
        loop {
            let before = bytes.len();
            match self.attempt(http, who, &mut bytes, &mut etag, limit).await {
                Ok(()) => break,
                Err(problem) if !matches!(problem.code, Code::Lost | Code::Unavailable) => return Err(problem),
                Err(problem) => {
                    (tries, pause) = if bytes.len() > before { (1, PAUSE) } else { (tries + 1, pause * 2) };
                    if tries >= TRIES {
                        return Err(problem);
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
        let holds = |stated: Stated| stated.bytes == bytes.len() as u64 && stated.sha256 == Sha256::of(&bytes);
        if self.stated.is_some_and(|stated| !holds(stated)) {
            let hint = "do not pay for it; award the job to another peer";
            return Err(Problem::new(Code::Forged, "the peer's output is another file than it states", hint));
        }
        Ok(bytes)
    }

    async fn attempt(
        &self,
        http: &Http,
        who: &Who,
        bytes: &mut Vec<u8>,
        etag: &mut Option<String>,
        (limit, silence): (u64, Duration),
    ) -> Result<(), Problem> {
        let from = etag.as_deref().filter(|_| !bytes.is_empty()).map(|etag| (bytes.len() as u64, etag));
        let asked = from.is_some();
        let mut response = http.file(&self.url, who, from, silence).await?;
        let goes_on = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let goes_on = goes_on.is_some_and(|range| range.starts_with(&format!("bytes {}-", bytes.len())));
        match response.status() {
            StatusCode::OK => bytes.clear(),
            StatusCode::PARTIAL_CONTENT if asked && goes_on => {}
            status => return Err(unexpected(status)),
        }
        let strong = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
        *etag = strong.filter(|tag| !tag.starts_with("W/")).map(str::to_owned);
        loop {
            match tokio::time::timeout(silence, response.chunk()).await {
                Err(_) => return Err(lost("the peer stopped in the middle of its output")),
                Ok(Err(error)) => return Err(no_answer(&error)),
                Ok(Ok(None)) => break,
                Ok(Ok(Some(chunk))) if (bytes.len() + chunk.len()) as u64 > limit => return Err(too_large(limit)),
                Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
            }
        }
        // A body that ends early without an error: a proxy that gave up.
        if self.stated.is_some_and(|stated| (bytes.len() as u64) < stated.bytes) {
            return Err(lost("the peer's output ends too early"));
        }
        Ok(())
    }
}

/// The address in a part, if that is what it has.
pub(super) fn address(part: &Part) -> Option<&str> {
    match &part.content {
        a2a::PartContent::Url(address) => Some(address),
        _ => None,
    }
}

fn too_large(limit: u64) -> Problem {
    Problem::new(
        Code::TooLarge,
        format!("the peer's output is larger than {limit} bytes"),
        "do not trade with this peer; tell its owner",
    )
}
