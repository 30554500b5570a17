//! The A2A listener of a node: its TLS key, its card, its address.

pub(crate) mod card;

pub(crate) use card::{FIGURES, Figures, unit};

use crate::{
    contractor::{Contractor, NodeLog},
    identity::write_private,
    node::{Config, Node, local_address},
    settings::Settings,
};
use std::{fs, net::TcpListener, sync::Arc, time::Duration};
use tender_a2a::{
    Authenticator, CardSource, Limits, WebhookRules,
    tls::{self, ServerTls},
};
use tender_base::{Code, Problem, Sha256, frames::TextLimits};
use tender_engine::Settings as EngineSettings;

/// Name of the file with the TLS key.
pub(crate) const TLS_FILE: &str = "tls.key";
/// An idle worker is ended after this: a warm one answers an award at once, but holds video memory.
const WORKER_IDLE: Duration = Duration::from_secs(60);

/// How the engine starts its worker.
pub(crate) fn engine_options(settings: &Settings) -> EngineSettings {
    let standard = EngineSettings::default();
    // One more than for clients: the owner never waits for them.
    let text = TextLimits { sequences: settings.text_slots + 1, ..standard.text };
    EngineSettings { worker: settings.worker.clone(), idle_timeout: WORKER_IDLE, text }
}

/// The TLS key, made at the first start; none on loopback, where there is nobody to listen.
pub(crate) fn server_tls(config: &Config, listener: &TcpListener) -> Result<Option<ServerTls>, Problem> {
    if local_address(listener)?.ip().is_loopback() {
        return Ok(None);
    }
    let path = config.data_dir.join(TLS_FILE);
    let pem = match fs::read_to_string(&path) {
        Ok(pem) => pem,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let pem = tls::generate_key()?;
            write_private(&path, pem.as_bytes())
                .map_err(|e| Problem::new(Code::Storage, format!("cannot write {}: {e}", path.display()), ""))?;
            pem
        }
        Err(e) => {
            let message = format!("cannot read {}: {e}", path.display());
            return Err(Problem::new(Code::Storage, message, "make it readable for this user"));
        }
    };
    ServerTls::from_key(&pem).map(Some)
}

/// The base address that peers are told.
pub(crate) fn public_address(config: &Config, listener: &TcpListener, tls: bool) -> Result<String, Problem> {
    let scheme = if tls { "https" } else { "http" };
    let bound = local_address(listener)?;
    match &config.public_address {
        Some(public) => Ok(format!("{scheme}://{public}")),
        None if bound.ip().is_unspecified() => Err(Problem::new(
            Code::Invalid,
            format!("--a2a {bound} does not say under which address peers reach this machine"),
            "name one address in --a2a, or add --public-address HOST:PORT",
        )),
        None => Ok(format!("{scheme}://{bound}")),
    }
}

/// What one caller, and all of them, may take.
fn limits(settings: &Settings) -> Limits {
    let standard = Limits::default();
    let (requests, streams) = (settings.requests_per_second, settings.streams);
    Limits {
        requests_per_address: requests,
        requests_per_caller: requests,
        requests_in_total: requests.saturating_mul(10),
        connections_per_address: streams.saturating_mul(2),
        connections_in_total: standard.connections_in_total.max(streams.saturating_mul(4)),
        streams_per_address: streams,
        streams_per_caller: streams,
        ..standard
    }
}

/// Serves the A2A interface until the node ends.
pub(crate) async fn a2a(node: Arc<Node>, listener: TcpListener, tls: Option<ServerTls>) {
    let key = tls.as_ref().map(ServerTls::key_sha256);
    let limits = limits(&node.settings());
    let served = async {
        let source = CardSource::new(&node.card(key)?, node.now())?;
        node.spawn(refresh_card(node.clone(), source.clone(), key));
        let auth = Authenticator::new(node.did(), node.clock.clone());
        let (agent, log) = (Arc::new(Contractor::new(node.clone())), Arc::new(NodeLog(node.clone())));
        let router = tender_a2a::router(agent, log, source, limits, auth, WebhookRules::default());
        let shutdown = node.shutdown.clone();
        tender_a2a::serve(listener, tls, router, limits, async move { shutdown.cancelled().await }).await
    };
    if let Err(problem) = served.await {
        tracing::error!(code = %problem.code, %problem, "the A2A interface ended");
    }
}

/// The card says what is for sale now: it changes with the settings, the models and what is measured.
async fn refresh_card(node: Arc<Node>, source: CardSource, key: Option<Sha256>) {
    let mut ticks = node.live.watch();
    let mut published = node.on_the_card();
    while ticks.changed().await.is_ok() {
        let now = node.on_the_card();
        if now == published {
            continue;
        }
        published = now;
        if let Err(problem) = node.card(key).and_then(|card| source.publish(&card, node.now())) {
            tracing::warn!(code = %problem.code, %problem, "the card was not refreshed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_defaults_are_the_servers() {
        assert_eq!(limits(&Settings::read(&Default::default())), Limits::default());
    }
}
