//! The one line that pairs two machines:
//! `tender://HOST:PORT/?key=did:key:z6Mk…&secret=…&expires=2026-11-21T08:00:00.000Z&tls=1`.

use crate::entropy::OsEntropy;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{fmt, str::FromStr};
use tender_base::{Code, Did, Entropy, Problem, Sha256, Timestamp};
use zeroize::Zeroizing;

/// Longest link that is read: no field needs more.
const MAX_LINK_BYTES: usize = 512;

/// What an invitation link says.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// `https://HOST:PORT`, or `http://` on loopback.
    pub address: String,
    /// Who invites; its card must be signed by this key.
    pub inviter: Did,
    /// One-time secret, base64url of 16 random bytes.
    pub secret: Zeroizing<String>,
    /// The link's end.
    pub expires_at: Timestamp,
}

impl Link {
    /// A fresh link.
    #[must_use]
    pub fn new(address: &str, inviter: Did, expires_at: Timestamp) -> Self {
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(&OsEntropy.draw32()[..16]));
        Self { address: address.to_owned(), inviter, secret, expires_at }
    }

    /// What the inviter's database keeps of a secret.
    #[must_use]
    pub fn secret_hash(secret: &str) -> Sha256 {
        Sha256::of_parts(&[b"tender invitation\n", secret.as_bytes()])
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tls, host) = match self.address.strip_prefix("http://") {
            Some(host) => (0, host),
            None => (1, self.address.trim_start_matches("https://")),
        };
        let Self { inviter, secret, expires_at, .. } = self;
        write!(f, "tender://{host}/?key={inviter}&secret={}&expires={expires_at}&tls={tls}", secret.as_str())
    }
}

impl FromStr for Link {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        let bad = |what: &str| {
            Problem::new(
                Code::Invalid,
                format!("this is no invitation: {what}"),
                "copy the whole line that `tender peers invite` printed, starting with tender://",
            )
        };
        if text.len() > MAX_LINK_BYTES {
            return Err(bad("it is too long"));
        }
        let rest = text.strip_prefix("tender://").ok_or_else(|| bad("it does not start with tender://"))?;
        let (host, query) = rest.split_once("/?").ok_or_else(|| bad("it has no key"))?;
        let field = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
                .ok_or_else(|| bad(&format!("{name} is missing")))
        };
        if host.is_empty() || host.contains(['/', '@', '#', '?']) {
            return Err(bad("its address is not HOST:PORT"));
        }
        let scheme = if field("tls")? == "0" { "http" } else { "https" };
        Ok(Self {
            address: format!("{scheme}://{host}"),
            inviter: field("key")?.parse().map_err(|_| bad("its key is damaged"))?,
            secret: Zeroizing::new(field("secret")?.to_owned()),
            expires_at: Timestamp::parse(field("expires")?).ok_or_else(|| bad("its expiry is damaged"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::{Signer, signed::KeySigner};

    #[test]
    fn a_link_reads_back_and_damage_is_named() {
        let did = KeySigner::from_seed(&[7; 32]).did();
        let link = Link::new("https://192.0.2.7:4242", did, Timestamp::from_millis(1_795_248_000_000));
        let text = link.to_string();
        assert!(text.parse::<Link>().unwrap() == link);
        assert!(!text.contains('\n'));
        for (damaged, named) in [
            (text.replace("tender://", "http://"), "tender://"),
            (text.replace("did:key:z6Mk", "did:key:z6Mx"), "key"),
            (text.replace("&secret", "&secrt"), "secret"),
            (text.replace("192.0.2.7:4242", "a@b"), "HOST:PORT"),
        ] {
            let problem = damaged.parse::<Link>().err().unwrap();
            assert!(problem.message.contains(named), "{problem}");
        }
    }
}
