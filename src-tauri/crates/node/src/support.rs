//! A report for who helps: versions, what works, settings, what happened lately. No key, token, name or address of
//! others, and nothing that anybody wrote is in it.

mod redact;

use crate::{
    identity::KEY_FILE,
    log_file,
    node::{Node, TOKEN_FILE},
    settings,
};
use serde_json::Value;
use std::{fmt::Write as _, fs, sync::Arc};
use tender_base::{Problem, Role};
use tender_store::Event;

/// Events whose kinds are listed.
const EVENTS: u64 = 200;
/// How much of the log is read.
const LOG_BYTES: u64 = 128 << 10;
/// Settings that the owner wrote: names, programs, or a place that only the owner knows.
const PRIVATE: [&str; 4] = ["name", "models_source", "guard.programs", "guard.ignored"];

impl Node {
    /// The report, redacted. `checks` are the lines of `doctor`.
    pub(crate) async fn support_text(
        self: &Arc<Self>,
        checks: &[crate::api::types::DoctorCheck],
    ) -> Result<String, Problem> {
        let mut out = self.versions();
        out.push_str("\n== What works\n");
        for check in checks {
            let _ = writeln!(out, "{}: {}: {}", check.state, check.name, check.message);
        }
        out.push_str("\n== Settings that were changed\n");
        let stored = self.store.settings().await.map_err(|e| e.problem())?;
        for known in settings::KNOWN.iter().filter(|known| stored.contains_key(known.key)) {
            let value = settings::current(&stored, known.key);
            let shown = if PRIVATE.contains(&known.key) { "(set)".to_owned() } else { value.to_string() };
            let _ = writeln!(out, "{} = {shown}", known.key);
        }
        out.push_str("\n== What there is\n");
        let (runtimes, agents) = (self.settings().runtimes.len(), self.settings().agents.len());
        let peers = self.circle().await?.len();
        let _ = writeln!(out, "{peers} peers, {runtimes} runtimes, {agents} agents");
        let book = self.config.book;
        for (state, count) in self.store.job_counts(book).await.map_err(|e| e.problem())? {
            let _ = writeln!(out, "{count} jobs {}", state.name());
        }
        for role in [Role::Contractor, Role::Client] {
            let side = if role == Role::Contractor { "sold" } else { "bought" };
            for total in self.store.contract_totals(book, role).await.map_err(|e| e.problem())? {
                let _ = writeln!(out, "{} contracts {side}, {}", total.count, total.state.name());
            }
        }
        out.push_str("\n== The last events\n");
        let last = self.store.last_sequence().await.map_err(|e| e.problem())?;
        let after = last.saturating_sub(EVENTS);
        let events = self.store.events_after(after, EVENTS as u32).await.map_err(|e| e.problem())?;
        for (seq, at, event) in events {
            let _ = writeln!(out, "{seq} {at} {}", kind(&event));
        }
        let dir = self.config.data_dir.clone();
        let log = tokio::task::spawn_blocking(move || log_file::tail(&dir, LOG_BYTES)).await.unwrap_or_default();
        out.push_str("\n== The end of the log\n");
        out.push_str(&redact::log_lines(&log));
        Ok(redact::redact(&without_places(&out, self), &self.known_secrets().await?))
    }

    fn versions(&self) -> String {
        let mut out = format!(
            "Tender {} on {} {}, {} processors\nwritten {}, running since {}\n",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            std::env::consts::ARCH,
            std::thread::available_parallelism().map_or(0, usize::from),
            self.now(),
            self.started_at,
        );
        if let Some(worker) = self.engine.info() {
            let _ =
                writeln!(out, "worker {}: {} ({}, {})", worker.version, worker.adapter, worker.backend, worker.driver);
        }
        out
    }

    /// Names, addresses and keys of everybody here; of those that were removed, too: the log may still name them.
    async fn known_secrets(&self) -> Result<Vec<String>, Problem> {
        let settings = self.settings();
        let mut known = vec![settings.name.clone(), self.did().to_string(), self.a2a_address.clone()];
        for peer in self.store.peers().await.map_err(|e| e.problem())? {
            known.extend([peer.name, peer.did.to_string()]);
            known.extend(peer.address);
        }
        for runtime in settings.runtimes {
            known.extend([runtime.name, runtime.address]);
        }
        for agent in settings.agents {
            known.extend([agent.name, agent.address]);
        }
        for file in [TOKEN_FILE, KEY_FILE] {
            known.extend(fs::read_to_string(self.config.data_dir.join(file)).map(|text| text.trim().to_owned()));
        }
        Ok(known)
    }
}

/// Folders of the owner tell the owner's name.
fn without_places(text: &str, node: &Node) -> String {
    let text = text.replace(&*node.config.data_dir.to_string_lossy(), "(data)");
    match std::env::var("HOME").or_else(|_| std::env::var("USERPROFILE")) {
        Ok(home) if home.len() > 1 => text.replace(&home, "~"),
        _ => text,
    }
}

/// What happened, without about whom and what.
fn kind(event: &Event) -> String {
    let Ok(body) = serde_json::to_value(event) else { return String::new() };
    let word = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let state = word("to").or_else(|| word("state")).filter(|state| state.len() < 20);
    [word("event"), state].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use tender_base::{MicroUsd, Signer as _, signed::KeySigner};
    use tender_store::PeerRecord;

    #[tokio::test]
    async fn a_report_tells_what_happened_and_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let node = Arc::new(crate::metering::tests::node(&dir).await);
        let peer = PeerRecord {
            did: KeySigner::from_seed(&[9; 32]).did(),
            name: "Anna Example".to_owned(),
            address: Some("anna.example.org:7443".to_owned()),
            credit_limit: MicroUsd(1_000),
            paired_at: node.now(),
            removed: false,
            by_key: false,
        };
        node.apply(vec![Event::PeerPaired { peer: peer.clone() }], Vec::new()).await.unwrap();
        node.set("name", "My own computer".into()).await.unwrap();
        node.set("slots", 3.into()).await.unwrap();
        for list in ["guard.programs", "guard.ignored"] {
            node.set(list, "secret-game, other".into()).await.unwrap();
        }
        let left = PeerRecord {
            did: KeySigner::from_seed(&[8; 32]).did(),
            name: "Berta".to_owned(),
            address: Some("berta.example.org:7443".to_owned()),
            ..peer.clone()
        };
        node.apply(vec![Event::PeerPaired { peer: left.clone() }], Vec::new()).await.unwrap();
        node.apply(vec![Event::PeerRemoved { did: left.did, at: node.now() }], Vec::new()).await.unwrap();
        let (token, key) = ("dG9rZW4tdG9rZW4tdG9rZW4tdG9rZW4", "a2V5LWtleS1rZXkta2V5LWtleS1rZXk");
        fs::write(dir.path().join(TOKEN_FILE), token).unwrap();
        fs::write(dir.path().join(KEY_FILE), key).unwrap();
        let prompt = "write a poem about my neighbour";
        let mut log = log_file::LogFile::open(dir.path()).unwrap();
        writeln!(
            log,
            "2026-11-21T21:00:00.5Z  WARN tender_node::client: the job failed code=unavailable problem={prompt}"
        )
        .unwrap();
        let given = r#"cause="game" what="game in foreground (secret-game)" freed_ms=Some(171.25) sold=1"#;
        let found = "/srv/films/secret.gguf";
        writeln!(log, "2026-11-21T21:00:00.6Z  INFO tender_node::guard: the machine is given back {given}").unwrap();
        writeln!(log, "2026-11-21T21:00:00.6Z  WARN tender_node::models: not added file={found} ms=4").unwrap();
        writeln!(log, "{prompt} {token}").unwrap();
        let said = format!("tender-worker: no definition in scope for identifier: `{prompt}`");
        writeln!(log, "2026-11-21T21:00:00.7Z  INFO tender_worker: the worker said line={said:?}").unwrap();
        writeln!(log, "2026-11-21T21:00:00.9Z  INFO tender_node::peers: Berta was removed").unwrap();
        writeln!(
            log,
            "2026-11-21T21:00:01.5Z  INFO tender_node::peers: heard of {} at anna.example.org:7443",
            peer.did
        )
        .unwrap();
        let checks = [crate::api::types::DoctorCheck {
            name: "Identity".to_owned(),
            state: "ok".to_owned(),
            message: format!("{} in {}; {key}", node.did(), dir.path().display()),
            remedy: String::new(),
        }];
        let text = node.support_text(&checks).await.unwrap();
        for part in [
            "Tender ",
            "slots = 3",
            "name = (set)",
            "guard.programs = (set)",
            "the worker said",
            "1 peers",
            "setting_changed",
            "peer_paired",
            "the job failed",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(text.contains("code=unavailable problem=…") && text.contains("ok: Identity"), "{text}");
        assert!(text.contains("given back cause=game what=… freed_ms=Some(171.25) sold=1"), "{text}");
        let (own, theirs, place) = (node.did().to_string(), peer.did.to_string(), dir.path().display().to_string());
        let secrets = [
            token,
            key,
            prompt,
            "Anna",
            "Berta",
            "secret-game",
            found,
            "films",
            "anna.example.org",
            "7443",
            "My own",
            &own,
            &theirs,
            &place,
        ];
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} is in the report:\n{text}");
        }
    }
}
