//! The conformance target: the product's A2A server around an agent that plays a script instead of working.
//!
//! It is what the technology compatibility kit of A2A talks to. The product has no such mode: what is shared is the
//! server crate, and what is judged is its protocol.

mod script;
mod steps;

use script::Script;
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tender_a2a::{
    Authenticator, CardSource, Limits, MemoryLog, WebhookRules, router, serve,
    wire::{
        AgentCapabilities, AgentCard, AgentExtension, AgentInterface, AgentSkill, TRANSPORT_PROTOCOL_GRPC,
        TRANSPORT_PROTOCOL_HTTP_JSON, TRANSPORT_PROTOCOL_JSONRPC,
    },
};
use tender_base::{Clock, Problem, Signer, signed::KeySigner, time::SystemClock};

/// What the target offers and demands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Streaming, push notifications and the extended card, or none of them.
    pub capabilities: bool,
    /// An extension that the card declares as required. It is demanded of every message but those that play another
    /// scenario of the kit, whose client never names an extension: ids that begin with `tck-`, except `tck-cap-ext`.
    pub required: Option<String>,
    /// Whether webhooks may be on this machine, over plain HTTP.
    pub loopback_webhooks: bool,
}

/// Serves the target on `listener` until the process ends.
///
/// # Errors
/// What the listener says when it cannot be used.
pub async fn run(listener: TcpListener, target: Target) -> Result<(), Problem> {
    let address = listener
        .local_addr()
        .map_err(|error| Problem::new(tender_base::Code::Unavailable, error.to_string(), "choose another --listen"))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let card = card(address, &target);
    let source = CardSource::new(&card, clock.now())?;
    let log = Arc::new(MemoryLog::new(clock.clone()));
    let agent = Arc::new(Script::new(log.clone(), card, target.required));
    // Nobody proves an identity to the target: the kit sends no token.
    let auth = Authenticator::new(KeySigner::from_seed(&[0; 32]).did(), clock);
    let rules = WebhookRules { loopback: target.loopback_webhooks };
    let routes = router(agent, log, source, LIMITS, auth, rules);
    serve(listener, None, routes, LIMITS, std::future::pending()).await
}

/// The kit asks hundreds of times per second from one address and leaves dozens of streams open.
const LIMITS: Limits = Limits {
    requests_per_address: 100_000,
    requests_per_caller: 100_000,
    requests_in_total: 100_000,
    connections_per_address: 4096,
    connections_in_total: 4096,
    streams_per_address: 4096,
    streams_per_caller: 4096,
    large_bodies: 2,
    anonymous_body_bytes: 1 << 20,
    peer_body_bytes: 1 << 20,
    write_time: Duration::from_secs(30),
};

fn card(address: SocketAddr, target: &Target) -> AgentCard {
    let url = format!("http://{address}/");
    let modes: Vec<String> = ["text/plain", "application/json", "application/octet-stream"].map(str::to_owned).to_vec();
    let required = target.required.as_ref().map(|uri| {
        vec![AgentExtension {
            uri: uri.clone(),
            description: Some("Demanded by this target; it means nothing.".to_owned()),
            required: Some(true),
            params: None,
        }]
    });
    AgentCard {
        name: "a2a-sut".to_owned(),
        description: "Plays the scenarios of the A2A technology compatibility kit.".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        supported_interfaces: vec![
            AgentInterface::new(url.as_str(), TRANSPORT_PROTOCOL_JSONRPC),
            AgentInterface::new(url.as_str(), TRANSPORT_PROTOCOL_HTTP_JSON),
            // What gRPC dials is an address without a scheme.
            AgentInterface::new(address.to_string(), TRANSPORT_PROTOCOL_GRPC),
        ],
        capabilities: AgentCapabilities {
            streaming: Some(target.capabilities),
            push_notifications: Some(target.capabilities),
            extensions: required,
            extended_agent_card: Some(target.capabilities),
        },
        default_input_modes: modes.clone(),
        default_output_modes: modes,
        skills: vec![skill("play", "Play", "Does what the id of the message says.")],
        provider: None,
        documentation_url: None,
        icon_url: None,
        security_schemes: None,
        security_requirements: None,
        signatures: None,
    }
}

fn skill(id: &str, name: &str, description: &str) -> AgentSkill {
    AgentSkill {
        id: id.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
        tags: vec!["conformance".to_owned()],
        examples: None,
        input_modes: None,
        output_modes: None,
        security_requirements: None,
    }
}
