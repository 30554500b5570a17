//! Who asks: nobody in particular, a peer by tokens that it signs, or the holder of a key.

use crate::{MAX_TOKEN_LIFE, bearer};
use a2a::{AgentCard, SecurityScheme};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tender_base::{Clock, Code, Did, Problem, Signer, Timestamp};

/// A token is replaced so long before it expires: a request under way must not outlive it, nor must clocks matter.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// What identifies the caller in a request.
pub(super) enum Who {
    Nobody,
    Peer(Tokens),
    Key { name: HeaderName, value: HeaderValue },
}

/// Tokens for one receiver, renewed as they run out.
pub(super) struct Tokens {
    pub(super) receiver: Did,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) last: Mutex<Option<(String, Timestamp)>>,
}

impl Who {
    /// A key, where the agent's card wants it: the header that it names for keys, else as a bearer token.
    ///
    /// # Errors
    /// [`Code::Invalid`] for a key that no header can carry, or when the card takes keys in no header.
    pub(super) fn with_key(key: &str, card: &AgentCard) -> Result<Self, Problem> {
        let schemes = || card.security_schemes.iter().flatten().map(|(_, scheme)| scheme);
        let named = schemes().find_map(|scheme| match scheme {
            SecurityScheme::ApiKey(key) if key.location.eq_ignore_ascii_case("header") => Some(key.name.as_str()),
            _ => None,
        });
        let only_elsewhere =
            schemes().next().is_some() && schemes().all(|scheme| matches!(scheme, SecurityScheme::ApiKey(_)));
        let (name, text) = match named {
            Some(name) => (HeaderName::from_bytes(name.as_bytes()).ok().filter(takes_a_key), key.to_owned()),
            None if only_elsewhere => (None, String::new()),
            None => (Some(AUTHORIZATION), format!("Bearer {key}")),
        };
        let name = name.ok_or_else(|| {
            Problem::new(
                Code::Invalid,
                "the agent takes its key in no header that is free",
                "it cannot be hired with a key",
            )
        })?;
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Problem::new(Code::Invalid, "the key has characters that no header can carry", "copy it again")
        })?;
        value.set_sensitive(true);
        Ok(Self::Key { name, value })
    }

    pub(super) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Nobody => None,
            Self::Peer(tokens) => tokens.header(),
            Self::Key { name, value } => Some((name.clone(), value.clone())),
        }
    }
}

/// The card chooses the header's name: not one that means something to the connection or to the protocol.
fn takes_a_key(name: &HeaderName) -> bool {
    let name = name.as_str();
    let of_connection = ["host", "connection", "transfer-encoding", "te", "trailer", "upgrade", "expect", "accept"];
    !of_connection.contains(&name) && !name.starts_with("content-") && !name.starts_with("a2a-")
}

impl Tokens {
    /// The token in use, or a new one shortly before it expires.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let token = match &*last {
            Some((text, renew_at)) if now < *renew_at => text.clone(),
            _ => {
                let text = bearer(self.signer.as_ref(), &self.receiver, self.clock.as_ref());
                *last = Some((text.clone(), now.after(MAX_TOKEN_LIFE - RENEW_BEFORE)));
                text
            }
        };
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some((AUTHORIZATION, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn header_for(name: &str) -> Option<String> {
        let card = serde_json::from_value(json!({
            "name": "", "description": "", "version": "1", "supportedInterfaces": [], "capabilities": {},
            "defaultInputModes": [], "defaultOutputModes": [], "skills": [],
            "securitySchemes": { "key": { "apiKeySecurityScheme": { "location": "header", "name": name } } },
        }));
        let who = Who::with_key("k", &card.unwrap()).ok()?;
        who.header().map(|(name, _)| name.to_string())
    }

    #[test]
    fn a_card_cannot_send_its_key_where_the_connection_or_the_protocol_reads() {
        assert_eq!(header_for("X-Api-Key").as_deref(), Some("x-api-key"));
        assert_eq!(header_for("authorization").as_deref(), Some("authorization"));
        for name in ["Host", "Content-Length", "Transfer-Encoding", "Connection", "A2A-Version", "no header", ""] {
            assert_eq!(header_for(name), None, "{name}");
        }
    }
}
