//! The public card at its well-known addresses, with validators for caches.

use super::Server;
use crate::{A2aError, ErrorKind, error::readable};
use a2a::{AgentCard, Message, TRANSPORT_PROTOCOL_GRPC};
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
    facts: Arc<Facts>,
}

/// What the card promises, so that the server keeps to it.
pub(crate) struct Facts {
    pub(super) streaming: bool,
    pub(super) push: bool,
    pub(super) extended_card: bool,
    /// Whether one of the interfaces is gRPC.
    pub(super) grpc: bool,
    /// The first HTTP interface, with a slash at its end.
    url: Option<String>,
    /// URIs of the extensions that the agent speaks.
    pub(super) extensions: Vec<String>,
    /// Media types that some skill takes.
    input_modes: Vec<String>,
}

impl Facts {
    fn of(card: &AgentCard) -> Self {
        let capabilities = &card.capabilities;
        let skills = card.skills.iter().flat_map(|skill| skill.input_modes.iter().flatten());
        let url = card.supported_interfaces.iter().find(|it| it.protocol_binding != TRANSPORT_PROTOCOL_GRPC);
        Self {
            url: url.map(|it| format!("{}/", it.url.trim_end_matches('/'))),
            streaming: capabilities.streaming == Some(true),
            push: capabilities.push_notifications == Some(true),
            extended_card: capabilities.extended_agent_card == Some(true),
            grpc: card.supported_interfaces.iter().any(|it| it.protocol_binding == TRANSPORT_PROTOCOL_GRPC),
            extensions: capabilities.extensions.iter().flatten().map(|extension| extension.uri.clone()).collect(),
            input_modes: card.default_input_modes.iter().chain(skills).cloned().collect(),
        }
    }

    /// The address of what lies at `path`, whose segments are encoded; none on a card without an HTTP interface.
    pub(super) fn address(&self, path: &str) -> Option<String> {
        self.url.as_ref().map(|url| format!("{url}{path}"))
    }

    /// Whether the agent takes every part; one without a media type is taken at its member's word.
    pub(super) fn check_media_types(&self, message: &Message) -> Result<(), A2aError> {
        for (index, part) in message.parts.iter().enumerate() {
            let Some(media_type) = part.media_type.as_deref().filter(|text| !text.is_empty()) else { continue };
            let essence = media_type.split(';').next().unwrap_or_default().trim();
            if !self.input_modes.iter().any(|known| known.eq_ignore_ascii_case(essence)) {
                return Err(A2aError::new(
                    ErrorKind::ContentTypeNotSupported,
                    format!("message.parts[{index}].mediaType {} is not supported", readable(essence)),
                    format!("send one of {}", self.input_modes.join(", ")),
                ));
            }
        }
        Ok(())
    }
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

    pub(crate) fn facts(&self) -> Arc<Facts> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).facts.clone()
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
        facts: Arc::new(Facts::of(card)),
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
