//! The public card at its well-known addresses, with validators for caches.

use super::Server;
use a2a::AgentCard;
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use std::sync::{Arc, PoisonError, RwLock};
use tender_base::{Code, Problem, Sha256, Timestamp, signed::canonical};

/// For how long a card may be used without asking again: prices on it are without obligation.
const MAX_AGE: &str = "public, max-age=60";
/// IMF-fixdate (RFC 9110 §5.6.7).
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

struct Published {
    body: Bytes,
    etag: String,
    modified: DateTime<Utc>,
}

/// The card that is served now. Clones share it.
#[derive(Clone)]
pub struct CardSource(Arc<RwLock<Published>>);

impl CardSource {
    /// Serves `card`, made at `at`.
    ///
    /// # Errors
    /// [`Code::Internal`] when the card cannot be written as JSON.
    pub fn new(card: &AgentCard, at: Timestamp) -> Result<Self, Problem> {
        Ok(Self(Arc::new(RwLock::new(published(card, at)?))))
    }

    /// Serves `card` from now on; does nothing when it is the same.
    ///
    /// # Errors
    /// [`Code::Internal`] when the card cannot be written as JSON.
    pub fn publish(&self, card: &AgentCard, at: Timestamp) -> Result<(), Problem> {
        let new = published(card, at)?;
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if current.etag != new.etag {
            *current = new;
        }
        Ok(())
    }
}

fn published(card: &AgentCard, at: Timestamp) -> Result<Published, Problem> {
    // Canonical: the same card has the same bytes and the same ETag, also after a restart.
    let body = serde_json::to_value(card).map(|value| canonical(&value)).map_err(|error| {
        Problem::new(Code::Internal, format!("the card is not writable: {error}"), "report this as a bug")
    })?;
    let etag = format!("\"{}\"", Sha256::of(&body));
    Ok(Published {
        body: body.into(),
        etag,
        modified: DateTime::from_timestamp_millis(at.millis()).unwrap_or_default(),
    })
}

pub(super) async fn card(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    let (body, etag, modified) = {
        let current = server.card.0.read().unwrap_or_else(PoisonError::into_inner);
        (current.body.clone(), current.etag.clone(), current.modified)
    };
    let fresh = match headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) {
        Some(tags) => tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag),
        None => headers
            .get(header::IF_MODIFIED_SINCE)
            .and_then(|value| NaiveDateTime::parse_from_str(value.to_str().ok()?, HTTP_DATE).ok())
            .is_some_and(|since| modified.timestamp() <= since.and_utc().timestamp()),
    };
    let validators = [
        (header::ETAG, etag),
        (header::LAST_MODIFIED, modified.format(HTTP_DATE).to_string()),
        (header::CACHE_CONTROL, MAX_AGE.to_owned()),
    ];
    if fresh {
        return (StatusCode::NOT_MODIFIED, validators).into_response();
    }
    (validators, [(header::CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}
