//! The real `tender serve` in a process of its own.

use crate::{
    cli::{Cli, clean, programs},
    events::Events,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tender_base::{Did, Problem};
use tender_node::{
    api::types::{
        AddPeerInput, ById, Earnings, EarningsQuery, Invitation, InviteInput, JobDetail, Nothing, Peer,
        SetSettingInput, Settings, SubmitInput, Submitted, Switch,
    },
    attach::Attached,
};

/// What SIGTERM promises.
const END_LIMIT: Duration = Duration::from_secs(15);
/// How long a job of a test may take: lavapipe on two loaded cores, cold start included.
const JOB_LIMIT: Duration = Duration::from_secs(60);

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Launch {
    dir: PathBuf,
    a2a: String,
    api: String,
    args: Vec<String>,
    env: Vec<(OsString, OsString)>,
    namespace: Option<String>,
    file_limit_kb: Option<u32>,
}

/// A node that did not start.
#[derive(Debug)]
pub struct Refused {
    /// What it said on standard error.
    pub said: String,
}

impl Launch {
    /// On this data directory, on free loopback ports, with the key in a file.
    #[must_use]
    pub fn on(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            a2a: "127.0.0.1:0".to_owned(),
            api: "127.0.0.1:0".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            namespace: None,
            file_limit_kb: None,
        }
    }

    /// Where peers reach it.
    #[must_use]
    pub fn a2a(mut self, address: &str) -> Self {
        self.a2a = address.to_owned();
        self
    }

    /// Where the local API is.
    #[must_use]
    pub fn api(mut self, address: &str) -> Self {
        self.api = address.to_owned();
        self
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// With one more environment variable; the worker inherits those of the graphics drivers.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// In a network namespace; its API cannot be reached from outside it then, only by [`Cli::in_namespace`].
    #[must_use]
    pub fn in_namespace(mut self, name: &str) -> Self {
        self.namespace = Some(name.to_owned());
        self
    }

    /// With no file longer than this (`ulimit -f`), as on a disk that is full.
    #[must_use]
    pub fn file_limit_kb(mut self, limit: u32) -> Self {
        self.file_limit_kb = Some(limit);
        self
    }

    fn command(&self) -> Command {
        let tender = programs().join("tender");
        let mut command = match (&self.namespace, self.file_limit_kb) {
            (Some(name), _) => {
                let mut command = clean("ip");
                command.args(["netns", "exec", name]).arg(tender);
                command
            }
            (None, Some(limit)) => {
                // An ignored SIGXFSZ stays ignored across exec: writes then fail with EFBIG instead of killing.
                let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
                let mut command = clean("bash");
                command.args(["-c", &script]).arg(tender);
                command
            }
            (None, None) => clean(tender),
        };
        command
            .args(["serve", "--json", "--identity", "file", "--a2a", &self.a2a, "--api", &self.api, "--data-dir"])
            .arg(&self.dir)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it and waits for its first line.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn start(self) -> TestNode {
        self.try_start().await.unwrap_or_else(|refused| panic!("the node does not start: {}", refused.said))
    }

    /// Starts it; a node that ends before its first line has refused.
    ///
    /// # Errors
    /// [`Refused`] with its own words.
    pub async fn try_start(self) -> Result<TestNode, Refused> {
        TestNode::begin(self, Events::default(), None).await
    }
}

/// A running node, killed when dropped.
#[derive(Debug)]
pub struct TestNode {
    launch: Launch,
    child: Child,
    events: Events,
    said: Arc<Mutex<String>>,
    owned: Option<TempDir>,
    /// Who it is.
    pub did: Did,
    /// `http://127.0.0.1:PORT` of its local API.
    pub api_address: String,
    /// Token of its local API.
    pub token: String,
    /// Base address of its A2A interface.
    pub a2a: String,
    /// Its local API.
    pub api: Attached,
}

impl TestNode {
    /// A new node in a temporary data directory.
    pub async fn start() -> Self {
        Self::start_with(|launch| launch).await
    }

    /// The same, started otherwise.
    pub async fn start_with(change: impl FnOnce(Launch) -> Launch) -> Self {
        let dir = TempDir::with_prefix("tender-test-").unwrap();
        let mut node = change(Launch::on(dir.path())).start().await;
        node.owned = Some(dir);
        node
    }

    /// A new node that sells.
    pub async fn seller() -> Self {
        let node = Self::start().await;
        node.sell(true).await;
        node
    }

    /// A new node that only buys from peers.
    pub async fn buyer() -> Self {
        let node = Self::start().await;
        node.set("use_own_gpu", json!(false)).await;
        node
    }

    async fn begin(mut launch: Launch, events: Events, owned: Option<TempDir>) -> Result<Self, Refused> {
        let mut child = launch.command().spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (mut errors, copy) = (child.stderr.take().unwrap(), said.clone());
        let errors = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = errors.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..n]);
                copy.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        let out = child.stdout.take().unwrap();
        let (sender, first) = tokio::sync::oneshot::channel();
        let stream = events.clone();
        // Unread events would fill the pipe; and the time at which each came is part of what is tested.
        thread::spawn(move || {
            let mut lines = BufReader::new(out).lines().map_while(Result::ok);
            let _ = sender.send(lines.next());
            lines.for_each(|line| stream.take(&line));
        });
        let Some(line) = first.await.unwrap() else {
            let _ = child.wait();
            let _ = errors.join();
            let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Err(Refused { said });
        };
        let started: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line:?}"));
        let text = |name: &str| started[name].as_str().unwrap_or_else(|| panic!("{name} in {started}")).to_owned();
        let (api_address, token) =
            text("api").split_once("/#token=").map(|(a, t)| (a.to_owned(), t.to_owned())).unwrap();
        let a2a = text("a2a");
        // Peers remember the address: a restart takes the same port.
        launch.a2a = a2a.rsplit('/').next().unwrap().to_owned();
        Ok(Self {
            api: Attached::at(&api_address, &token).unwrap(),
            did: text("did").parse().unwrap(),
            launch,
            child,
            events,
            said,
            owned,
            api_address,
            token,
            a2a,
        })
    }

    /// Its data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.launch.dir
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The command line attached to it.
    #[must_use]
    pub fn cli(&self) -> Cli {
        let cli = Cli::on(self.dir());
        match &self.launch.namespace {
            Some(name) => cli.in_namespace(name),
            None => cli,
        }
    }

    /// What it committed.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// What it said on standard error so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Process ids of its children: its worker, when one runs.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let mut found: Vec<u32> = list.split_whitespace().filter_map(|id| id.parse().ok()).collect();
        // Each thread has its own list.
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(list.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// SIGKILL, at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it has not ended after the 15 s that are promised.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        let asked = Instant::now();
        while asked.elapsed() < END_LIMIT {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the node did not end within {} s of SIGTERM", END_LIMIT.as_secs());
    }

    /// Starts it again on the same data and the same A2A port; it must have ended. Its events go on in the same list.
    pub async fn restart(self) -> Self {
        self.try_restart().await.unwrap_or_else(|refused| panic!("the node does not start again: {}", refused.said))
    }

    /// The same, when it may refuse.
    ///
    /// # Errors
    /// [`Refused`] with its own words; its temporary data are gone then.
    pub async fn try_restart(mut self) -> Result<Self, Refused> {
        self.kill();
        let (launch, events, owned) = (self.launch.clone(), self.events.clone(), self.owned.take());
        Self::begin(launch, events, owned).await
    }

    /// An operation of its API, which must succeed.
    ///
    /// # Panics
    /// With the problem it answered.
    pub async fn ask<I: Serialize, O: DeserializeOwned>(&self, name: &str, input: &I) -> O {
        self.api.ask(name, input).await.unwrap_or_else(|problem| panic!("{name}: {problem}"))
    }

    /// An operation of its API, which must be refused.
    ///
    /// # Panics
    /// With the answer, when it succeeds.
    pub async fn refuses<I: Serialize>(&self, name: &str, input: &I) -> Problem {
        match self.api.ask::<I, Value>(name, input).await {
            Ok(answer) => panic!("{name} succeeded: {answer}"),
            Err(problem) => problem,
        }
    }

    /// Changes a setting.
    pub async fn set(&self, key: &str, value: Value) {
        let _: Settings = self.ask("set_setting", &SetSettingInput { key: key.to_owned(), value }).await;
    }

    /// Sells, or stops selling.
    pub async fn sell(&self, on: bool) {
        let _: Value = self.ask("sell", &Switch { on }).await;
    }

    /// Submits a job.
    pub async fn submit(&self, input: &SubmitInput) -> String {
        let submitted: Submitted = self.ask("submit", input).await;
        submitted.job.unwrap()
    }

    /// Everything about a job or a sold contract.
    pub async fn job(&self, id: &str) -> JobDetail {
        self.ask("job", &ById { id: id.to_owned() }).await
    }

    /// Waits until a job has ended, however.
    ///
    /// # Panics
    /// When it has not ended within a minute.
    pub async fn ended(&self, id: &str) -> JobDetail {
        let started = Instant::now();
        loop {
            let detail = self.job(id).await;
            if detail.summary.state.is_some_and(tender_base::JobState::is_final) {
                return detail;
            }
            assert!(started.elapsed() < JOB_LIMIT, "the job does not end: {detail:#?}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Submits a job and waits until it is completed and, when it was bought, its receipt is countersigned: both sides
    /// have booked it then. The countersignature comes a moment after the result.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub async fn buy(&self, input: &SubmitInput) -> JobDetail {
        let id = self.submit(input).await;
        let detail = self.ended(&id).await;
        assert_eq!(detail.summary.state, Some(tender_base::JobState::Completed), "{detail:#?}\n{}", self.said());
        self.booked(&id).await
    }

    /// Waits until both sides have booked a completed job.
    ///
    /// # Panics
    /// When they have not within a minute.
    pub async fn booked(&self, id: &str) -> JobDetail {
        let started = Instant::now();
        loop {
            let detail = self.job(id).await;
            let due = |c: &tender_node::api::types::ContractDetail| {
                c.state == tender_base::ContractState::Accepted && !c.receipt
            };
            if !detail.contracts.iter().any(due) {
                return detail;
            }
            assert!(started.elapsed() < JOB_LIMIT, "the receipt is not countersigned: {detail:#?}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What was earned and spent; the ledger must balance.
    ///
    /// # Panics
    /// When it does not.
    pub async fn earnings(&self) -> Earnings {
        let earnings: Earnings = self.ask("earnings", &EarningsQuery { book: None, days: Some(1) }).await;
        assert!(earnings.ledger_balances, "{earnings:#?}");
        earnings
    }

    /// Asserts that nothing is owed, reserved, earned or spent: what was refused has cost nobody anything.
    ///
    /// # Panics
    /// When something is.
    pub async fn owes_and_is_owed_nothing(&self) {
        let earnings = self.earnings().await;
        let overview: tender_node::api::types::Overview = self.ask("overview", &Nothing {}).await;
        let money = [
            earnings.owed_to_us_micro_usd,
            earnings.owed_by_us_micro_usd,
            earnings.delivered_micro_usd,
            earnings.paid_to_us_micro_usd,
            earnings.paid_by_us_micro_usd,
            overview.reserved_micro_usd,
            overview.earned_today_micro_usd,
            overview.spent_today_micro_usd,
        ];
        assert_eq!(money, [0; 8], "{earnings:#?}\n{overview:#?}");
    }

    /// A one-line invitation with this credit.
    pub async fn invite(&self, credit_limit_micro_usd: i64) -> String {
        let input = InviteInput { credit_limit_micro_usd, valid_minutes: None };
        let invitation: Invitation = self.ask("invite", &input).await;
        invitation.link
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let said = self.said();
            if !said.is_empty() {
                eprintln!("--- the node in {} said:\n{said}", self.dir().display());
            }
        }
    }
}

/// Pairs two nodes by an invitation of the seller, with this credit for the buyer.
pub async fn pair(seller: &TestNode, buyer: &TestNode, credit_micro_usd: i64) {
    let link = seller.invite(credit_micro_usd).await;
    let peer: Peer = buyer.ask("add_peer", &AddPeerInput { link, credit_limit_micro_usd: None }).await;
    assert_eq!(peer.did, seller.did.to_string());
}

/// Sends a signal. The shell's own `kill`: no unsafe code, and no program that a bare system lacks.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}: {status}");
}
