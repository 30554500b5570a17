//! `tender serve`.

use crate::args::{IdentityOption, Serve};
use serde_json::json;
use std::{io::Write, path::PathBuf, time::Duration};
use tender_base::{Book, Code, Problem};
use tender_node::{Config, Node, identity::IdentityStore};

/// After this the process ends even if something hangs: SIGTERM promises 15 s.
const LAST_RESORT: Duration = Duration::from_secs(12);

pub(crate) async fn run(data_dir: PathBuf, options: Serve, json: bool) -> Result<(), Problem> {
    let config = Config {
        data_dir,
        a2a: options.a2a,
        api: Some(options.api),
        public_address: options.public_address,
        identity: options.identity.map(|identity| match identity {
            IdentityOption::Keyring => IdentityStore::Keyring,
            IdentityOption::Credential => IdentityStore::Credential,
            IdentityOption::File => IdentityStore::File,
        }),
        book: Book::Real,
    };
    // Before the node listens, so that a signal during the start is not lost.
    let mut ended = signals()?;
    let running = Node::start(config).await?;
    let node = running.node.clone();
    let ui = running.api_address.as_ref().map(|api| format!("{api}/#token={}", running.token)).unwrap_or_default();
    let (identity, created) = node.identity_notice();
    if json {
        let started = json!({
            "event": "started",
            "api": ui,
            "a2a": node.a2a_address(),
            "did": node.did().to_string(),
            "pid": std::process::id(),
            "data_dir": node.data_dir(),
            "identity": identity,
        });
        say(&started.to_string());
    } else {
        if created {
            say(&format!("New identity {}\n{identity}", node.did()));
        }
        say(&format!("Peers reach this node at {}", node.a2a_address()));
        say(&format!("Open {ui}"));
    }
    let events = json.then(|| tokio::spawn(print_events(node.clone())));
    ended.recv().await;
    if let Some(events) = events {
        events.abort();
    }
    match tokio::time::timeout(LAST_RESORT, running.stop()).await {
        Ok(()) => Ok(()),
        Err(_) => Err(Problem::new(Code::Internal, "the node did not end in time", "what it acknowledged is stored")),
    }
}

/// One JSON line per event, as it is committed.
async fn print_events(node: std::sync::Arc<Node>) {
    let mut events = node.store().subscribe();
    loop {
        match events.recv().await {
            Ok((seq, event)) => say(&json!({"event": "committed", "seq": seq, "what": &*event}).to_string()),
            Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => {
                say(&json!({"event": "lagged", "missed": missed}).to_string());
            }
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// A reader that went away ends nothing.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(unix)]
fn signals() -> Result<tokio::sync::mpsc::Receiver<()>, Problem> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |e: std::io::Error| Problem::new(Code::Internal, format!("signals cannot be awaited: {e}"), "");
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = sender.send(()).await;
    });
    Ok(receiver)
}

#[cfg(not(unix))]
fn signals() -> Result<tokio::sync::mpsc::Receiver<()>, Problem> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        let _ = sender.send(()).await;
    });
    Ok(receiver)
}
