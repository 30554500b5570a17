//! Proof of identity: `Authorization: Bearer <base64url(JCS(Signed<AccessToken>))>`, or an API key ([`ApiKey`]) as
//! bearer or in `X-API-Key`.
//!
//! A token names its audience, lives five minutes at most and identifies without authorising. It is no nonce: who
//! reads it on the wire could use it against the same audience until it expires, so it travels over pinned TLS or
//! loopback only, and everything that moves money is signed by itself.

mod key;

pub use key::{ApiKey, KEY_PREFIX};

use crate::{A2aError, ErrorKind, Identity};
use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{sync::Arc, time::Duration};
use tender_base::{Clock, Did, Signed, Signer, documents::AccessToken, signed::canonical};

/// Longest life of a token (DESIGN: five minutes at most).
pub const MAX_TOKEN_LIFE: Duration = Duration::from_secs(300);
/// How far two honest clocks may be apart.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// Longest token text: ours has about 600 characters.
const MAX_TOKEN_CHARS: usize = 2048;

/// A token in which `signer` proves its identity to `audience`, valid for [`MAX_TOKEN_LIFE`] from now.
#[must_use]
pub fn bearer(signer: &dyn Signer, audience: &Did, clock: &dyn Clock) -> String {
    let issued_at = clock.now();
    let expires_at = issued_at.after(MAX_TOKEN_LIFE);
    let token = AccessToken { caller: signer.did(), audience: *audience, issued_at, expires_at };
    URL_SAFE_NO_PAD.encode(canonical(&Signed::new(token, signer)))
}

/// Checks tokens addressed to one agent.
#[derive(Clone)]
pub struct Authenticator {
    own: Did,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    /// For the agent whose key is `own`.
    #[must_use]
    pub fn new(own: Did, clock: Arc<dyn Clock>) -> Self {
        Self { own, clock }
    }

    /// Who sent a request with these headers.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] when there is a token and it proves nothing: a broken token never passes
    /// as none.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Identity, A2aError> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter().chain(headers.get_all(KEY_HEADER));
        let Some(value) = values.next() else { return Ok(Identity::Anonymous) };
        if values.next().is_some() {
            return Err(refuse("there is more than one Authorization or X-API-Key header", "send one"));
        }
        let text = value.to_str().map_err(|_| refuse("the Authorization header is not text", SEND))?;
        if headers.contains_key(KEY_HEADER) {
            return key(text.trim());
        }
        let token = text
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| refuse("the Authorization header has no bearer token", SEND))?;
        if token.starts_with(KEY_PREFIX) {
            return key(token);
        }
        self.check(token).map(Identity::Peer)
    }

    fn check(&self, token: &str) -> Result<Did, A2aError> {
        if token.len() > MAX_TOKEN_CHARS {
            return Err(refuse("the token is too long", SEND));
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refuse("the token is not base64url", SEND))?;
        let signed: Signed<AccessToken> =
            serde_json::from_slice(&bytes).map_err(|_| refuse("the token is not a signed access token", SEND))?;
        let token = &signed.document;
        if token.audience != self.own {
            return Err(refuse(
                format!("the token is for {}, not for {}", token.audience, self.own),
                "make a token for the agent you are calling; its key is on its card",
            ));
        }
        if token.expires_at.millis().saturating_sub(token.issued_at.millis())
            > i64::try_from(MAX_TOKEN_LIFE.as_millis()).unwrap_or(i64::MAX)
        {
            return Err(refuse("the token lives longer than five minutes", "make one that expires sooner"));
        }
        let now = self.clock.now();
        if token.issued_at > now.after(CLOCK_SKEW) {
            return Err(refuse("the token is from the future", "set the clocks of both machines"));
        }
        if now > token.expires_at.after(CLOCK_SKEW) {
            return Err(refuse("the token has expired", "make a new one; if it repeats, set the clocks"));
        }
        // Last, because it costs most.
        signed.verify(&token.caller).map_err(|problem| refuse(problem.message, SEND))?;
        Ok(token.caller)
    }
}

/// Where clients put an API key that do not send it as a bearer token.
const KEY_HEADER: &str = "x-api-key";

fn key(text: &str) -> Result<Identity, A2aError> {
    let key = ApiKey::read(text);
    key.map(Identity::Key).ok_or_else(|| refuse("the API key is not one", "ask the owner of this agent for a key"))
}

const SEND: &str = "send `Authorization: Bearer` with the base64url of a signed access token, or no such header";

fn refuse(message: impl Into<String>, hint: &str) -> A2aError {
    A2aError::new(ErrorKind::Unauthenticated, message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use tender_base::{Timestamp, signed::KeySigner};

    struct At(i64);
    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0)
        }
    }

    const NOW: i64 = 1_795_248_000_000;

    fn identify(text: &str, at: i64) -> Result<Identity, A2aError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {text}")).unwrap());
        Authenticator::new(KeySigner::from_seed(&[2; 32]).did(), Arc::new(At(at))).identify(&headers)
    }

    fn token() -> String {
        bearer(&KeySigner::from_seed(&[1; 32]), &KeySigner::from_seed(&[2; 32]).did(), &At(NOW))
    }

    #[test]
    fn a_fresh_token_names_its_caller_within_the_skew() {
        let caller = Identity::Peer(KeySigner::from_seed(&[1; 32]).did());
        for at in [NOW, NOW - 30_000, NOW + 330_000] {
            assert_eq!(identify(&token(), at), Ok(caller.clone()), "{at}");
        }
        for at in [NOW - 30_001, NOW + 330_001] {
            assert_eq!(identify(&token(), at).unwrap_err().kind, ErrorKind::Unauthenticated, "{at}");
        }
    }

    #[test]
    fn other_audiences_long_lives_and_changed_tokens_prove_nothing() {
        let me = KeySigner::from_seed(&[1; 32]);
        let other = bearer(&me, &KeySigner::from_seed(&[3; 32]).did(), &At(NOW));
        assert!(identify(&other, NOW).unwrap_err().problem.message.contains("is for"));

        let issued_at = Timestamp::from_millis(NOW);
        let audience = KeySigner::from_seed(&[2; 32]).did();
        let long = AccessToken {
            caller: me.did(),
            audience,
            issued_at,
            expires_at: issued_at.after(MAX_TOKEN_LIFE + Duration::from_millis(1)),
        };
        let long = URL_SAFE_NO_PAD.encode(canonical(&Signed::new(long, &me)));
        assert!(identify(&long, NOW).unwrap_err().problem.message.contains("five minutes"));

        let mut signed: Signed<AccessToken> =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token()).unwrap()).unwrap();
        signed.document.expires_at = Timestamp::from_millis(NOW + 1000);
        assert!(identify(&URL_SAFE_NO_PAD.encode(canonical(&signed)), NOW).is_err());
        signed.document.caller = KeySigner::from_seed(&[4; 32]).did();
        assert!(identify(&URL_SAFE_NO_PAD.encode(canonical(&signed)), NOW).is_err());
        for text in ["", "x", "e30", &"A".repeat(3000)] {
            assert!(identify(text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn no_header_is_anonymous_and_two_are_refused() {
        let auth = Authenticator::new(KeySigner::from_seed(&[2; 32]).did(), Arc::new(At(NOW)));
        let mut headers = HeaderMap::new();
        assert_eq!(auth.identify(&headers), Ok(Identity::Anonymous));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Basic eDp5"));
        assert!(auth.identify(&headers).is_err());
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert!(auth.identify(&headers).is_err());
    }

    #[test]
    fn an_api_key_is_the_key_of_its_seed_under_both_headers() {
        struct Sevens;
        impl tender_base::Entropy for Sevens {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(7);
            }
        }
        let (key, text) = ApiKey::draw(&Sevens);
        assert_eq!(key.did(), KeySigner::from_seed(&[7; 32]).did());
        assert_eq!(identify(&text, NOW), Ok(Identity::Key(key.clone())));
        let auth = Authenticator::new(KeySigner::from_seed(&[2; 32]).did(), Arc::new(At(NOW)));
        let mut headers = HeaderMap::new();
        headers.insert(KEY_HEADER, HeaderValue::from_str(&text).unwrap());
        assert_eq!(auth.identify(&headers), Ok(Identity::Key(key)));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {text}")).unwrap());
        assert!(auth.identify(&headers).is_err(), "two proofs are none");
        for text in ["tender_", "tender_AAAA", "tender_!", &text[..text.len() - 1]] {
            assert_eq!(identify(text, NOW).unwrap_err().kind, ErrorKind::Unauthenticated, "{text}");
        }
    }
}
