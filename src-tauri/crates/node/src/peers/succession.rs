//! Peers that go on under another key. The old key's word, signed, is enough: it could do everything before. It comes on
//! the card of a peer that is called, or as a message from one that calls.

use crate::node::Node;
use std::sync::Arc;
use tender_a2a::{Client, card};
use tender_base::{
    Code, Did, Problem, Signed,
    documents::{Message, Succession},
};
use tender_store::{Event, PeerRecord};

impl Node {
    /// The connection to a peer. Where another key answers that the pinned one named, the peer moves to it first.
    ///
    /// # Errors
    /// What the connection meets; [`Code::Conflict`] when the peer has just moved, or cannot move yet.
    pub(crate) async fn client_of(&self, peer: &PeerRecord) -> Result<Arc<Client>, Problem> {
        if let Some(client) = self.clients.known(&peer.did).await {
            return Ok(client);
        }
        match self.clients.to(peer).await {
            Ok(client) => {
                self.introduce_key(&client, peer).await?;
                Ok(client)
            }
            Err(problem) if problem.code == Code::Forged => {
                let address = peer.address.as_deref().unwrap_or_default();
                let Ok(Some(successor)) = card::successor(address, &peer.did).await else { return Err(problem) };
                self.succeed(&peer.did, successor).await?;
                Err(Problem::new(
                    Code::Conflict,
                    format!("{} goes on under the new key {successor}, and was moved to it", peer.name),
                    "try again",
                ))
            }
            Err(problem) => Err(problem),
        }
    }

    /// Tells a peer once per connection that this node has a new key. Who never knew the old one says so, and need not
    /// know.
    async fn introduce_key(&self, client: &Client, peer: &PeerRecord) -> Result<(), Problem> {
        let Some(word) = self.identity.successions.last() else { return Ok(()) };
        let problem = match client.exchange(Message::Succession(word.clone())).await {
            Ok(Message::Refusal(problem)) | Err(problem) => problem,
            Ok(_) => return Ok(()),
        };
        if problem.code == Code::Conflict {
            // Heard again with the next connection.
            self.clients.forget(&peer.did).await;
            return Err(problem);
        }
        tracing::debug!(peer = peer.name, code = %problem.code, %problem, "the new key was not introduced");
        Ok(())
    }

    /// A peer says that it goes on under the key with which it calls.
    ///
    /// # Errors
    /// [`Code::Forged`] unless the old key signed it and the new one sends it, [`Code::Forbidden`] when neither is
    /// paired, [`Code::Conflict`] while contracts name the old one.
    pub(crate) async fn on_succession(&self, caller: Did, word: &Signed<Succession>) -> Result<(), Problem> {
        let Succession { predecessor, successor, .. } = *word.verify(&word.document.predecessor)?;
        if successor != caller {
            return Err(Problem::new(
                Code::Forged,
                "the succession names another key than the token",
                "sign the token with the new key",
            ));
        }
        if self.paired(&successor).await.is_ok() {
            return Ok(());
        }
        self.paired(&predecessor).await?;
        self.succeed(&predecessor, successor).await
    }

    async fn succeed(&self, from: &Did, to: Did) -> Result<(), Problem> {
        let moved = Event::PeerSucceeded { from: *from, to, at: self.now() };
        self.apply(vec![moved], Vec::new()).await.map_err(|problem| match problem.code {
            Code::Conflict => Problem {
                hint: "let the work end and record what was paid; or remove the peer and pair anew".to_owned(),
                ..problem
            },
            _ => problem,
        })?;
        self.clients.forget(from).await;
        tracing::info!(%from, %to, "a peer goes on under a new key");
        Ok(())
    }
}
