//! The place in a list where the next page begins.

use crate::A2aError;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use tender_base::Timestamp;

/// The last task of a page. The next page begins with the first task after it in (time of the newest status, id),
/// both descending, so that tasks which come or change meanwhile neither repeat nor hide others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// When its newest status came.
    #[serde(rename = "t")]
    pub changed_at: Timestamp,
    /// Its id.
    #[serde(rename = "i")]
    pub id: String,
}

impl Cursor {
    /// As `nextPageToken`.
    #[must_use]
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// A `pageToken` that this agent made; none for the first page.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidParams`] for any other text.
    pub fn read(token: &str) -> Result<Option<Self>, A2aError> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        let cursor = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        cursor.map(Some).ok_or_else(|| A2aError::invalid("pageToken is not a nextPageToken of this agent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_tokens_are_read() {
        let cursor = Cursor { changed_at: Timestamp::from_millis(1_795_248_000_000), id: "x".into() };
        assert_eq!(Cursor::read(&cursor.token()).unwrap(), Some(cursor));
        assert_eq!(Cursor::read("").unwrap(), None);
        let extra = URL_SAFE_NO_PAD.encode(r#"{"t":"2026-11-21T08:00:00Z","i":"x","o":1}"#);
        for token in ["x", "e30", "!", "2", extra.as_str()] {
            assert!(Cursor::read(token).is_err(), "{token}");
        }
    }
}
