//! The contractor's A2A face: messages of the contract extension in, durable answers and tasks out. The server follows
//! the tasks in [`super::NodeLog`].

use super::plain::Turns;
use crate::node::Node;
use async_trait::async_trait;
use std::{ops::Deref, sync::Arc};
use tender_a2a::wire::{self as a2a, Message as WireMessage, Part, Role as Wire, Task};
use tender_a2a::{
    A2aError, Agent, Call, ErrorKind, Incoming, Reply, Standing,
    contract::{self, Envelope},
};
use tender_base::{Code, Did, Problem, documents::Message, ids::ContractId};

/// The node as an agent of the A2A server.
pub(crate) struct Contractor {
    pub(super) node: Arc<Node>,
    pub(super) turns: Turns,
}

impl Contractor {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, turns: Turns::default() }
    }
}

impl Deref for Contractor {
    type Target = Arc<Node>;
    fn deref(&self) -> &Arc<Node> {
        &self.node
    }
}

#[async_trait]
impl Agent for Contractor {
    async fn standing(&self, did: &Did) -> Standing {
        match self.store.peer(did).await {
            Ok(Some(peer)) if peer.removed => Standing::Stranger,
            Ok(Some(peer)) if peer.by_key => Standing::KeyHolder,
            Ok(Some(_)) => Standing::Peer,
            Ok(None) => Standing::Stranger,
            Err(error) => {
                tracing::warn!(%error, "a caller was not looked up");
                Standing::Stranger
            }
        }
    }

    async fn receive(&self, call: &Call, incoming: Incoming) -> Result<Reply, A2aError> {
        if !contract::belongs(&incoming.request.message) {
            return self.plain(call, incoming).await;
        }
        let Some(envelope) = contract::unwrap(incoming.request.message)? else {
            return Ok(Reply::Message(Box::new(self.introduction())));
        };
        Ok(match self.take(call, envelope).await? {
            Answer::Document(document) => Reply::Message(Box::new(contract::wrap(&document, Wire::Agent))),
            Answer::Task(id) => Reply::Task(id.to_string()),
        })
    }

    async fn cancel(&self, call: &Call, task: &Task) -> Result<(), A2aError> {
        self.cancel_plain(call, task).await
    }
}

enum Answer {
    Document(Box<Message>),
    Task(ContractId),
}

impl Contractor {
    async fn take(&self, call: &Call, envelope: Envelope) -> Result<Answer, A2aError> {
        if let Message::PairingRequest(request) = envelope.document {
            return match self.on_pairing_request(request).await {
                Ok(answer) => Ok(Answer::Document(Box::new(Message::PairingAnswer(answer)))),
                Err(problem) => Ok(Answer::Document(Box::new(Message::Refusal(problem)))),
            };
        }
        let Some(did) = call.did() else {
            return Err(identify());
        };
        let node = &self.node;
        let document = match envelope.document {
            Message::Award(award) => return Ok(Answer::Task(node.on_award(did, award, envelope.input).await?)),
            Message::Call(call) => node.on_call(did, call).await.unwrap_or_else(Message::Refusal),
            Message::Decline(decline) => {
                node.on_decline(did, decline.clone()).await?;
                Message::Decline(decline)
            }
            Message::Acceptance(acceptance) => Message::Countersignature(node.on_acceptance(did, acceptance).await?),
            Message::Rejection(rejection) => {
                node.on_rejection(did, rejection.clone()).await?;
                Message::Rejection(rejection)
            }
            Message::Abandonment(note) => {
                node.on_abandonment(did, note.clone()).await?;
                Message::Abandonment(note)
            }
            Message::Succession(word) => match node.on_succession(did, &word).await {
                Ok(()) => Message::Succession(word),
                Err(problem) => Message::Refusal(problem),
            },
            Message::Payment(payment) => Message::PaymentConfirmation(node.on_payment(did, payment).await?),
            Message::Proposal(_)
            | Message::Refusal(_)
            | Message::Delivery(_)
            | Message::Handback(_)
            | Message::Countersignature(_)
            | Message::PaymentConfirmation(_)
            | Message::PairingRequest(_)
            | Message::PairingAnswer(_) => {
                let wrong = "this document is an answer, not a request";
                return Err(Problem::new(Code::Invalid, wrong, "send a call, an award or an acceptance").into());
            }
        };
        Ok(Answer::Document(Box::new(document)))
    }

    /// What a client without the extension is told: what is sold here and how to buy it. Non-binding.
    pub(super) fn introduction(&self) -> WireMessage {
        let prices = self.settings().prices;
        let mut message = WireMessage::new(
            Wire::Agent,
            vec![Part::text(format!(
                "This agent sells GPU computation (text, embeddings, matrix products, built-in and WGSL \
                 kernels) under signed contracts. Prices, not binding: {} micro-USD per {} tokens of text, {} micro-USD per {} tokens \
                 embedded, {} micro-USD per {} floating-point \
                 operations, {} micro-USD per {} elements, {} micro-USD per {} steps. To buy, ask the owner for an API key and send a text or a job, or speak the extension {} and be paired by an invitation.",
                prices.generate.micro_usd,
                prices.generate.per_units,
                prices.embed.micro_usd,
                prices.embed.per_units,
                prices.gemm.micro_usd,
                prices.gemm.per_units,
                prices.kernel.micro_usd,
                prices.kernel.per_units,
                prices.wgsl.micro_usd,
                prices.wgsl.per_units,
                contract::CONTRACT_EXTENSION,
            ))],
        );
        message.context_id = Some(a2a::new_context_id());
        message
    }
}

pub(super) fn identify() -> A2aError {
    A2aError::new(
        ErrorKind::Unauthenticated,
        "contracts need a did:key bearer token",
        "send Authorization: Bearer with a token signed for this agent",
    )
}
