//! A running node: what its use-cases share, how it starts, and how it ends.

use crate::{
    api::types::FirstTrade,
    attach::{NODE_FILE, NodeFile},
    entropy::OsEntropy,
    identity::{Identity, IdentityStore, write_private},
    live::Live,
    models::Shelf,
    peers::Clients,
    runtimes::Connections,
    samples::Samples,
    settings::Settings,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    collections::{HashMap, HashSet},
    fs,
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};
use tender_base::{
    Book, Clock, Code, Did, Entropy, Problem, Timestamp, documents::HandbackReason, ids::ContractId, time::SystemClock,
};
use tender_engine::LocalEngine;
use tender_store::{ContractFilter, Event, Guard, JobFilter, Store};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// How long running tasks may take to end at a shutdown; SIGTERM promises 15 s in all.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(8);
/// Name of the lock file: one node per data directory.
const LOCK_FILE: &str = "node.lock";
/// Name of the file with the local API's token.
pub(crate) const TOKEN_FILE: &str = "api.token";

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the A2A interface listens; port 0 takes a free one. TLS unless loopback.
    pub a2a: SocketAddr,
    /// Where the local API and UI listen; loopback only. None for the throw-away nodes of a demonstration.
    pub api: Option<SocketAddr>,
    /// `HOST:PORT` that peers use when it differs from the bound address.
    pub public_address: Option<String>,
    /// Where a new identity is kept; for an existing one it must agree.
    pub identity: Option<IdentityStore>,
    /// Which money this node trades in.
    pub book: Book,
}

/// What the use-cases share.
pub struct Node {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    pub(crate) engine: Arc<LocalEngine>,
    pub(crate) clients: Clients,
    pub(crate) live: Live,
    pub(crate) lookout: crate::guard::Lookout,
    pub(crate) samples: Arc<Samples>,
    pub(crate) models: Shelf,
    pub(crate) runtimes: Connections,
    pub(crate) agents: crate::agents::Acquaintances,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) a2a_address: String,
    pub(crate) started_at: Timestamp,
    settings: RwLock<Settings>,
    pub(crate) figures: RwLock<crate::serve::Figures>,
    /// Held while the end of a job is learned from.
    pub(crate) learning: tokio::sync::Mutex<()>,
    pub(crate) first_trade: Mutex<FirstTrade>,
    pub(crate) simulating: crate::api::simulation::Simulating,
    pub(crate) benchmark: crate::benchmark::Benchmarking,
    pub(crate) refusals: crate::demand::Refusals,
    /// Why sold work is handed back now; none while it may run.
    pub(crate) yielding: tokio::sync::watch::Sender<Option<HandbackReason>>,
    due: Mutex<HashSet<ContractId>>,
    work: Mutex<HashMap<Uuid, CancellationToken>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// A started node. Dropping it does not end it; [`Running::stop`] does.
pub struct Running {
    /// The node.
    pub node: Arc<Node>,
    /// Base address of the local API, when it listens.
    pub api_address: Option<String>,
    /// Token of the local API.
    pub token: String,
    _lock: fs::File,
}

impl Node {
    /// Starts a node: locks the data directory, opens the database, loads the identity, resumes what was under
    /// way and listens.
    ///
    /// # Errors
    /// [`Code::Conflict`] when another node holds the directory or a port is taken, [`Code::Storage`] from the
    /// database or the key store, [`Code::Invalid`] for an API address that is not loopback.
    pub async fn start(config: Config) -> Result<Running, Problem> {
        Self::start_with_worker(config, None).await
    }

    /// The same with another worker than the settings name; for throw-away nodes, which have no settings yet.
    pub(crate) async fn start_with_worker(config: Config, worker: Option<&Path>) -> Result<Running, Problem> {
        crate::attach::use_ring();
        if let Some(api) = config.api.filter(|api| !api.ip().is_loopback()) {
            return Err(Problem::new(
                Code::Invalid,
                format!("--api {api} is not a loopback address"),
                "the local API serves this machine only; use 127.0.0.1:PORT",
            ));
        }
        let lock = lock_directory(&config.data_dir)?;
        let store = Store::open(&config.data_dir).await.map_err(|e| e.problem())?;
        let identity = Identity::load(&store, &config.data_dir, config.identity, &OsEntropy).await?;

        let listener = bind("--a2a", config.a2a)?;
        let tls = crate::serve::server_tls(&config, &listener)?;
        let a2a_address = crate::serve::public_address(&config, &listener, tls.is_some())?;
        let api_listener = config.api.map(|api| bind("--api", api)).transpose()?;
        let token = kept_token(&config.data_dir).unwrap_or_else(|| URL_SAFE_NO_PAD.encode(OsEntropy.draw32()));

        let node = Arc::new(Self::assemble(config, store, identity, a2a_address, worker).await?);
        node.spawn({
            let (node, events) = (node.clone(), node.store.subscribe());
            async move { node.live.bells.follow(events).await }
        });
        node.spawn(node.clone().keep_guard());
        node.resume().await?;
        node.spawn(crate::serve::a2a(node.clone(), listener, tls));
        let mut api_address = None;
        if let Some(listener) = api_listener {
            let address = format!("http://{}", local_address(&listener)?);
            node.spawn(crate::api::http::serve(node.clone(), listener, token.clone()));
            node.announce(&address, &token)?;
            api_address = Some(address);
        }
        node.spawn(crate::timers::run(node.clone()));
        node.spawn(node.clone().keep_idle_power());
        node.spawn(node.clone().keep_connected());
        Ok(Running { node, api_address, token, _lock: lock })
    }

    /// Puts a node together; nothing runs yet.
    pub(crate) async fn assemble(
        config: Config,
        store: Store,
        identity: Identity,
        a2a_address: String,
        worker: Option<&Path>,
    ) -> Result<Self, Problem> {
        let mut settings = Settings::read(&store.settings().await.map_err(|e| e.problem())?);
        settings.worker = worker.map(Path::to_owned).or(settings.worker);
        let figures = store.setting(crate::serve::FIGURES).await.map_err(|e| e.problem())?;
        let figures = figures.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
        let lookout = crate::guard::Lookout::of(&store).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self {
            engine: Arc::new(LocalEngine::new(crate::serve::engine_options(&settings))),
            clients: Clients::new(identity.signer.clone(), clock.clone()),
            started_at: clock.now(),
            config,
            store,
            identity,
            live: Live::new(),
            lookout,
            samples: Arc::default(),
            models: Shelf::default(),
            runtimes: Connections::default(),
            agents: crate::agents::Acquaintances::default(),
            clock,
            entropy: Arc::new(OsEntropy),
            a2a_address,
            settings: RwLock::new(settings),
            figures: RwLock::new(figures),
            learning: tokio::sync::Mutex::default(),
            simulating: Default::default(),
            benchmark: Default::default(),
            refusals: Default::default(),
            first_trade: Mutex::new(FirstTrade {
                state: "idle".to_owned(),
                steps: Vec::new(),
                jobs: Vec::new(),
                problem: None,
            }),
            yielding: Default::default(),
            due: Mutex::default(),
            work: Mutex::default(),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        })
    }

    /// This node's key.
    #[must_use]
    pub fn did(&self) -> Did {
        self.identity.did()
    }

    /// Where peers reach this node.
    #[must_use]
    pub fn a2a_address(&self) -> &str {
        &self.a2a_address
    }

    /// Where its data is kept.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.config.data_dir
    }

    /// Where the identity is kept, and whether it was made at this start.
    #[must_use]
    pub fn identity_notice(&self) -> (String, bool) {
        (self.identity.store.describe(&self.config.data_dir), self.identity.created)
    }

    /// What is remembered; for benchmarks and tests that look behind the API.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Accepted contracts whose countersignature has not been heard yet.
    pub(crate) fn due_countersignatures(&self) -> std::sync::MutexGuard<'_, HashSet<ContractId>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores a setting that [`crate::settings::check`] accepted and acts on it.
    pub(crate) async fn set(&self, key: &str, value: serde_json::Value) -> Result<(), Problem> {
        self.set_all(vec![(key.to_owned(), value)]).await
    }

    /// The same with several settings at once: all hold or none.
    pub(crate) async fn set_all(&self, values: Vec<(String, serde_json::Value)>) -> Result<(), Problem> {
        let at = self.now();
        let events = values.into_iter().map(|(key, value)| Event::SettingChanged { key, value, at }).collect();
        self.apply(events, Vec::new()).await?;
        let stored = self.store.settings().await.map_err(|e| e.problem())?;
        let settings = Settings::read(&stored);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.lookout.wake();
        self.live.touch();
        Ok(())
    }

    /// The switch that stops everything is off.
    pub(crate) fn not_stopped(&self) -> Result<(), Problem> {
        if self.settings().stopped {
            return Err(Problem::new(
                Code::Unavailable,
                "everything is stopped",
                "end the stop first: `tender stop off`",
            ));
        }
        Ok(())
    }

    /// Stops everything that runs: the worker is killed, own jobs are cancelled, sold contracts fail.
    pub(crate) async fn stop_work(self: &Arc<Self>) -> Result<(), Problem> {
        use tender_base::{ContractState as S, JobState as J, Role};
        let open = JobFilter { states: vec![J::Queued, J::Running, J::Verifying], ..JobFilter::default() };
        for job in self.store.jobs(open).await.map_err(|e| e.problem())? {
            // What is delivered and being checked is owed or rejected by its check, not by the switch.
            if let Err(problem) = self.cancel_job(job.id).await {
                tracing::info!(job = %job.id, code = %problem.code, %problem, "not cancelled");
            }
        }
        let sold = ContractFilter {
            role: Some(Role::Contractor),
            states: vec![S::Awarded, S::Running],
            ..ContractFilter::default()
        };
        for record in self.store.contracts(sold).await.map_err(|e| e.problem())? {
            let stopped =
                Problem::new(Code::Unavailable, "the contractor was stopped by its owner", "try another peer");
            self.fail_sold(record.id, stopped).await;
        }
        self.runtimes.stop();
        self.engine.stop().await;
        Ok(())
    }

    /// Applies events in one transaction and wakes who watches.
    pub(crate) async fn apply(&self, events: Vec<Event>, guards: Vec<Guard>) -> Result<(), Problem> {
        self.store.apply(events, guards).await.map_err(|e| e.problem())?;
        self.live.touch();
        Ok(())
    }

    /// Runs `step` to its end also when who asked for it goes away meanwhile, so that what is stored and what follows
    /// from it stay together.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        step: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let ended_early = |e| Problem::new(Code::Internal, format!("a step ended early: {e}"), "");
        self.tasks.spawn(step).await.map_err(ended_early)?
    }

    /// Runs the work of a job or a contract until it ends, is halted, or the node ends.
    pub(crate) fn spawn_work(self: &Arc<Self>, id: Uuid, task: impl Future<Output = ()> + Send + 'static) {
        let halt = self.shutdown.child_token();
        self.work().insert(id, halt.clone());
        let node = self.clone();
        self.spawn(async move {
            tokio::select! {
                biased;
                () = halt.cancelled() => {}
                () = task => {}
            }
            node.work().remove(&id);
            node.live.ended(id);
        });
    }

    /// Drops the work of a job or a contract that has ended otherwise; what runs is killed.
    pub(crate) fn halt(&self, id: Uuid) {
        if let Some(halt) = self.work().get(&id) {
            halt.cancel();
        }
    }

    fn work(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, CancellationToken>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `task` until it ends or the node does.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            // The shutdown first: a task must not take the killed worker for a failure of its own.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = task => {}
            }
        });
    }

    fn announce(&self, api: &str, token: &str) -> Result<(), Problem> {
        let dir = &self.config.data_dir;
        let file = NodeFile {
            pid: std::process::id(),
            api: api.to_owned(),
            a2a: self.a2a_address.clone(),
            token_file: TOKEN_FILE.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let content = serde_json::to_vec_pretty(&file).unwrap_or_default();
        write_private(&dir.join(TOKEN_FILE), token.as_bytes())
            .and_then(|()| write_private(&dir.join(NODE_FILE), &content))
            .map_err(|e| Problem::new(Code::Storage, format!("cannot write to {}: {e}", dir.display()), ""))
    }
}

impl Running {
    /// Ends the node: no new work, the worker killed, tasks ended, the database closed. What was under way is
    /// taken up again at the next start.
    pub async fn stop(self) {
        // First, as nothing answers from here on: who finds the file and no answer takes the node for dead.
        let _ = fs::remove_file(self.node.config.data_dir.join(NODE_FILE));
        self.node.shutdown.cancel();
        self.node.runtimes.stop();
        self.node.engine.stop().await;
        self.node.tasks.close();
        let _ = tokio::time::timeout(SHUTDOWN_LIMIT, self.node.tasks.wait()).await;
        self.node.store_refusals().await;
        if let Err(e) = self.node.store.close().await {
            tracing::error!(code = %e.problem().code, problem = %e.problem(), "the database did not close");
        }
    }
}

/// The token of the last start, so that open windows know the node again; none when anybody else could have read it.
fn kept_token(dir: &Path) -> Option<String> {
    let file = dir.join(TOKEN_FILE);
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&fs::symlink_metadata(&file).ok()?.permissions()) & 0o077 != 0 {
        return None;
    }
    let token = fs::read_to_string(file).ok()?;
    let drawn = URL_SAFE_NO_PAD.decode(&token).is_ok_and(|bytes| bytes.len() == 32);
    drawn.then_some(token)
}

pub(crate) fn lock_directory(dir: &Path) -> Result<fs::File, Problem> {
    let cannot = |e: std::io::Error| {
        Problem::new(
            Code::Storage,
            format!("cannot use the data directory {}: {e}", dir.display()),
            "choose another with --data-dir",
        )
    };
    fs::create_dir_all(dir).map_err(cannot)?;
    #[cfg(unix)]
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(cannot)?;
    let file =
        fs::OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK_FILE)).map_err(cannot)?;
    file.try_lock().map_err(|e| match e {
        fs::TryLockError::WouldBlock => Problem::new(
            Code::Conflict,
            format!("another node already uses {}", dir.display()),
            "attach to it (`tender jobs`, the app), or choose another --data-dir",
        ),
        fs::TryLockError::Error(e) => cannot(e),
    })?;
    Ok(file)
}

fn bind(option: &str, address: SocketAddr) -> Result<TcpListener, Problem> {
    let listener = TcpListener::bind(address).and_then(|l| l.set_nonblocking(true).map(|()| l));
    listener.map_err(|e| {
        let hint = match e.kind() {
            ErrorKind::AddrNotAvailable => "choose an address that this machine has",
            ErrorKind::PermissionDenied => "choose a port above 1023",
            _ => "end the program that has the port, or choose another (port 0 takes a free one)",
        };
        Problem::new(Code::Conflict, format!("{option} {address} cannot be used: {e}"), hint)
    })
}

pub(crate) fn local_address(listener: &TcpListener) -> Result<SocketAddr, Problem> {
    listener.local_addr().map_err(|e| Problem::new(Code::Internal, format!("a listener has no address: {e}"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_token_is_kept_while_nobody_else_could_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(TOKEN_FILE);
        assert_eq!(kept_token(dir.path()), None);
        let token = URL_SAFE_NO_PAD.encode([7; 32]);
        write_private(&file, token.as_bytes()).unwrap();
        assert_eq!(kept_token(dir.path()), Some(token.clone()));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(kept_token(dir.path()), None, "others could have read it");
        write_private(&file, b"short").unwrap();
        assert_eq!(kept_token(dir.path()), None);
    }
}
