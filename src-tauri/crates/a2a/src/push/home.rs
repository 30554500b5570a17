//! Webhooks at a paired peer's own node. Its origin is known from the pairing and may be anywhere, also in the network
//! of this machine: before anything is posted there, the place shows the card that the peer's pinned key signed, and
//! over TLS the key that this card names. So no other service can be reached by naming it as one's own.

use super::{send::ANSWER_TIME, target::may_be_loopback};
use crate::{
    card::{self, MAX_CARD_BYTES, Terms},
    log::{Owner, TaskLog},
    tls::Pin,
};
use a2a::{SVC_PARAM_VERSION, VERSION};
use bytes::BytesMut;
use reqwest::{Client, Url, redirect};
use std::sync::Arc;
use tender_base::{Did, Problem};

/// Where a paired peer's own node listens, and whose it must prove to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    did: Did,
    origin: Url,
}

impl Home {
    /// The owner's, when it is a paired peer that said where it listens.
    pub(crate) async fn of(log: &dyn TaskLog, owner: &Owner) -> Option<Self> {
        let (did, address) = (owner.did()?, log.home(owner).await?);
        Self::at(did, &address)
    }

    /// None unless `address` is https, or http on this machine.
    pub(crate) fn at(did: Did, address: &str) -> Option<Self> {
        let origin = Url::parse(address).ok()?;
        let host = origin.host_str()?;
        let usable = match origin.scheme() {
            "https" => true,
            "http" => may_be_loopback(host),
            _ => false,
        };
        usable.then_some(Self { did, origin })
    }

    /// Whether a webhook is there: the same scheme, host and port, as they are written.
    pub(crate) fn has(&self, url: &Url) -> bool {
        url.origin() == self.origin.origin()
    }

    /// A client for this origin, which has just proved whose it is.
    ///
    /// # Errors
    /// Why nothing is posted there, for the log.
    pub(super) async fn client(&self) -> Result<Client, String> {
        let said = |problem: Problem| problem.message;
        let (client, pin) = self.connect()?;
        let card = card::verify(&self.read_card(&client).await?, &self.did).map_err(said)?;
        if self.origin.scheme() == "https" {
            let named = Terms::of(&card).map_err(said)?.and_then(|terms| terms.tls_key_sha256);
            if named.is_none() || named != pin.seen() {
                return Err("the connection's TLS key is not the one on its node's card".to_owned());
            }
        }
        Ok(client)
    }

    /// The card that stands there, whoever signed it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) async fn card(&self) -> Result<BytesMut, String> {
        let (client, _) = self.connect()?;
        self.read_card(&client).await
    }

    fn connect(&self) -> Result<(Client, Arc<Pin>), String> {
        let pin = Pin::new();
        let client = Client::builder()
            .tls_backend_preconfigured(pin.client_config().map_err(|problem| problem.message)?)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(ANSWER_TIME)
            .http1_only()
            .user_agent(concat!("tender/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        Ok((client, pin))
    }

    async fn read_card(&self, client: &Client) -> Result<BytesMut, String> {
        let mut url = self.origin.clone();
        url.set_path("/.well-known/agent-card.json");
        let answer = client.get(url).header(SVC_PARAM_VERSION, VERSION).send().await;
        let mut answer = answer.map_err(|error| error.without_url().to_string())?;
        if !answer.status().is_success() {
            return Err(format!("its node answered {} instead of a card", answer.status()));
        }
        let mut bytes = BytesMut::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
            if bytes.len() + piece.len() > MAX_CARD_BYTES {
                return Err("its node's card is larger than 64 KiB".to_owned());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::{Signer, signed::KeySigner};

    fn at(address: &str) -> Option<Home> {
        Home::at(KeySigner::from_seed(&[1; 32]).did(), address)
    }

    #[test]
    fn only_its_own_origin_is_a_peers_home() {
        let home = at("https://10.0.0.7:7420").unwrap();
        for (url, holds) in [
            ("https://10.0.0.7:7420/hook?x", true),
            ("https://10.0.0.7/hook", false),
            ("http://10.0.0.7:7420/hook", false),
            ("https://10.0.0.8:7420/hook", false),
            ("https://10.0.0.7.example:7420/", false),
        ] {
            assert_eq!(home.has(&Url::parse(url).unwrap()), holds, "{url}");
        }
        assert!(at("https://node.example").unwrap().has(&Url::parse("https://NODE.example:443/x").unwrap()));
        assert!(at("http://127.0.0.1:7420").is_some());
        for address in ["http://10.0.0.7:7420", "http://169.254.169.254", "ftp://x", "10.0.0.7:7420", ""] {
            assert!(at(address).is_none(), "{address}");
        }
    }
}
