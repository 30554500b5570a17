//! The circle: invitations, pairing, and the connections to peers.

use crate::{
    api::types::{AddPeerInput, Invitation, InviteInput, IssuedKey, KeyInput},
    invitation::Link,
    node::Node,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tender_a2a::{ApiKey, Client};
use tender_base::{
    Clock, Code, Did, MicroUsd, Problem, Signed, Signer,
    documents::{Message, PairingAnswer, PairingRequest},
    ids::InvitationId,
};
use tender_store::{Event, InvitationRecord, PeerRecord};
use tokio::sync::Mutex;

/// How long an invitation is valid when nothing else is said, and at most.
const DEFAULT_VALID_MINUTES: u32 = 60;
const MAX_VALID_MINUTES: u32 = 7 * 24 * 60;
/// Most that a peer may be allowed to owe, a million dollars: more is a slip of the keyboard.
const MAX_CREDIT: i64 = 1_000_000_000_000;
/// Longest name of a peer; the same limit as for the own name.
const MAX_NAME_CHARS: usize = 40;

/// Verified connections to peers, kept while they work.
pub(crate) struct Clients {
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    open: Mutex<HashMap<Did, Arc<Client>>>,
}

impl Clients {
    pub(crate) fn new(signer: Arc<dyn Signer>, clock: Arc<dyn Clock>) -> Self {
        Self { signer, clock, open: Mutex::default() }
    }

    /// The connection to a peer that is open already.
    pub(crate) async fn known(&self, did: &Did) -> Option<Arc<Client>> {
        self.open.lock().await.get(did).cloned()
    }

    /// The connection to a peer; its card is checked against its pinned key first.
    async fn to(&self, peer: &PeerRecord) -> Result<Arc<Client>, Problem> {
        if let Some(client) = self.known(&peer.did).await {
            return Ok(client);
        }
        let address = peer.address.as_deref().ok_or_else(|| {
            Problem::new(Code::Unavailable, format!("{} does not sell: it has no address", peer.name), "")
        })?;
        // Not under the lock: a silent peer must not delay the others.
        let client = Arc::new(self.connect(address, peer.did).await?);
        self.open.lock().await.insert(peer.did, client.clone());
        Ok(client)
    }

    async fn connect(&self, address: &str, did: Did) -> Result<Client, Problem> {
        Client::connect(address, did, self.signer.clone(), self.clock.clone()).await
    }

    /// Forgets a connection over which a request failed in a way that another connection might mend: the peer is gone, or
    /// has new keys.
    pub(crate) async fn failed(&self, did: &Did, problem: &Problem) {
        if matches!(problem.code, Code::Lost | Code::Unavailable | Code::Unauthenticated | Code::Forged) {
            self.forget(did).await;
        }
    }

    /// Forgets a connection that failed, so that the next call looks at the card again.
    pub(crate) async fn forget(&self, did: &Did) {
        self.open.lock().await.remove(did);
    }
}

mod succession;

impl Node {
    /// The paired peers; the second node of a demonstration is not one of them.
    pub(crate) async fn circle(&self) -> Result<Vec<PeerRecord>, Problem> {
        let mut peers = self.store.peers().await.map_err(|e| e.problem())?;
        let demo_peer = self.demo_peer().await;
        peers.retain(|peer| !peer.removed && Some(peer.did) != demo_peer);
        Ok(peers)
    }

    /// Makes a one-line invitation.
    ///
    /// # Errors
    /// [`Code::Invalid`] for a credit limit or validity out of range.
    pub(crate) async fn invite(&self, input: InviteInput) -> Result<Invitation, Problem> {
        let credit_limit = credit("credit_limit_micro_usd", input.credit_limit_micro_usd)?;
        let minutes = input.valid_minutes.unwrap_or(DEFAULT_VALID_MINUTES);
        if !(1..=MAX_VALID_MINUTES).contains(&minutes) {
            return Err(Problem::new(
                Code::Invalid,
                format!("valid_minutes is {minutes}"),
                format!("choose 1 to {MAX_VALID_MINUTES} minutes (a week)"),
            ));
        }
        let expires_at = self.now().after(Duration::from_secs(u64::from(minutes) * 60));
        let link = Link::new(&self.a2a_address, self.did(), expires_at);
        let record = InvitationRecord {
            id: InvitationId::new(self.clock.as_ref(), self.entropy.as_ref()),
            secret_sha256: Link::secret_hash(&link.secret),
            credit_limit,
            expires_at,
            used_by: None,
        };
        self.apply(vec![Event::InvitationIssued { record }], Vec::new()).await?;
        Ok(Invitation { link: link.to_string(), expires_at: expires_at.to_string() })
    }

    /// Draws an API key for a client that cannot sign; what the key stands for becomes a peer. The key itself is told
    /// once and stored nowhere.
    ///
    /// # Errors
    /// [`Code::Invalid`] for a name or a limit out of range, [`Code::Conflict`] for the name of another key.
    pub(crate) async fn issue_key(&self, input: KeyInput) -> Result<IssuedKey, Problem> {
        let credit_limit = credit("credit_limit_micro_usd", input.credit_limit_micro_usd)?;
        let name = clean_name(&input.name);
        if name != input.name {
            let message = format!("name is {:?}", input.name);
            return Err(Problem::new(Code::Invalid, message, format!("choose 1 to {MAX_NAME_CHARS} characters")));
        }
        let peers = self.store.peers().await.map_err(|e| e.problem())?;
        if peers.iter().any(|peer| peer.by_key && !peer.removed && peer.name == name) {
            let message = format!("there is an API key named {name:?} already");
            let hint = "choose another name, or take that key back first: who has it is told by its name alone";
            return Err(Problem::new(Code::Conflict, message, hint));
        }
        let (key, text) = ApiKey::draw(self.entropy.as_ref());
        let peer = PeerRecord {
            did: key.did(),
            name,
            address: None,
            credit_limit,
            paired_at: self.now(),
            removed: false,
            by_key: true,
        };
        self.apply(vec![Event::PeerPaired { peer }], Vec::new()).await?;
        Ok(IssuedKey { key: text, did: key.did().to_string() })
    }

    /// Accepts an invitation: checks the inviter's card against the key in the link, shows the secret, and stores
    /// the inviter as a peer.
    ///
    /// # Errors
    /// [`Code::Expired`], [`Code::Forged`] when the card is another's, [`Code::Lost`] when nobody answers, and what
    /// the inviter refuses.
    pub(crate) async fn add_peer(&self, input: AddPeerInput) -> Result<PeerRecord, Problem> {
        let credit_limit = credit("credit_limit_micro_usd", input.credit_limit_micro_usd.unwrap_or(0))?;
        let link: Link = input.link.parse()?;
        let now = self.now();
        if link.expires_at <= now {
            return Err(Problem::new(
                Code::Expired,
                format!("the invitation ended at {}", link.expires_at),
                "ask for a new one (`tender peers invite`)",
            ));
        }
        if link.inviter == self.did() {
            return Err(Problem::new(Code::Invalid, "this is your own invitation", "paste it on the other machine"));
        }
        let client = self.clients.connect(&link.address, link.inviter).await?;
        let request = PairingRequest {
            invitee: self.did(),
            inviter: link.inviter,
            secret: link.secret.to_string(),
            name: self.settings().name,
            address: self.address_for(&link.address),
            sent_at: now,
        };
        let request = Signed::new(request, self.identity.signer.as_ref());
        let answer = match client.exchange(Message::PairingRequest(request.clone())).await? {
            Message::PairingAnswer(answer) => answer,
            Message::Refusal(problem) => return Err(problem),
            _ => return Err(Problem::new(Code::Forged, "the peer answers the invitation with something else", "")),
        };
        let said = answer.verify(&link.inviter)?;
        if said.invitee != self.did() || said.inviter != link.inviter || said.request != request.hash() {
            return Err(Problem::new(Code::Forged, "the answer belongs to another invitation", "ask for a new one"));
        }
        let peer = PeerRecord {
            did: link.inviter,
            name: clean_name(&said.name),
            address: Some(link.address),
            credit_limit,
            paired_at: now,
            removed: false,
            by_key: false,
        };
        self.apply(vec![Event::PeerPaired { peer: peer.clone() }], Vec::new()).await?;
        Ok(peer)
    }

    /// The inviter's side: the secret proves the invitation; it works once.
    pub(crate) async fn on_pairing_request(
        &self,
        request: Signed<PairingRequest>,
    ) -> Result<Signed<PairingAnswer>, Problem> {
        let said = &request.document;
        request.verify(&said.invitee)?;
        let now = self.now();
        let unknown = || {
            Problem::new(
                Code::Forbidden,
                "this invitation is unknown, used or expired",
                "ask its owner for a new one (`tender peers invite`)",
            )
        };
        if said.inviter != self.did() || said.invitee == self.did() {
            return Err(unknown());
        }
        let hash = Link::secret_hash(&said.secret);
        let invitation = self.store.invitation(&hash).await.map_err(|e| e.problem())?.ok_or_else(unknown)?;
        let answer = PairingAnswer {
            inviter: self.did(),
            invitee: said.invitee,
            request: request.hash(),
            name: self.settings().name,
            credit_limit: invitation.credit_limit,
        };
        let answer = Signed::new(answer, self.identity.signer.as_ref());
        if invitation.used_by == Some(said.invitee) {
            // The answer got lost: the same invitee may hear it again.
            return Ok(answer);
        }
        if invitation.used_by.is_some() || invitation.expires_at <= now {
            return Err(unknown());
        }
        let peer = PeerRecord {
            did: said.invitee,
            name: clean_name(&said.name),
            address: said.address.clone(),
            credit_limit: invitation.credit_limit,
            paired_at: now,
            removed: false,
            by_key: false,
        };
        let used = Event::InvitationUsed { invitation: invitation.id, by: said.invitee, at: now };
        self.apply(vec![used, Event::PeerPaired { peer }], Vec::new()).await?;
        Ok(answer)
    }

    /// The own address, if the other side could reach it: a loopback address means nothing on another machine.
    fn address_for(&self, other: &str) -> Option<String> {
        let loopback = |address: &str| address.contains("://127.") || address.contains("://[::1]");
        (loopback(other) || !loopback(&self.a2a_address)).then(|| self.a2a_address.clone())
    }

    pub(crate) async fn peer_named(&self, did: &str) -> Result<PeerRecord, Problem> {
        let did: Did = did.parse().map_err(|e| Problem::new(Code::Invalid, format!("did: {e}"), "copy it whole"))?;
        self.paired(&did).await
    }
}

pub(crate) fn credit(field: &str, micro_usd: i64) -> Result<MicroUsd, Problem> {
    if (0..=MAX_CREDIT).contains(&micro_usd) {
        return Ok(MicroUsd(micro_usd));
    }
    Err(Problem::new(Code::Invalid, format!("{field} is {micro_usd}"), format!("choose 0 to {MAX_CREDIT} micro-USD")))
}

/// A peer chooses its own name: no control characters, no novel.
fn clean_name(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    if name.trim().is_empty() { "unnamed peer".to_owned() } else { name.trim().to_owned() }
}
