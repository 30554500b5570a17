//! A whole trade on one machine: a second, throw-away node sells, real jobs are tendered to it over loopback,
//! verified, accepted and settled with play money. `tender demo` runs it between two throw-away nodes; the app's
//! first trade runs it with the owner's node as the client, in the demonstration book.

mod jobs;

use crate::{
    api::types::{AddPeerInput, FirstTrade, InviteInput, PayInput, SubmitWork, TradeJob, TradeStep},
    client::{Checked, Decided},
    identity::IdentityStore,
    node::{Config, Node, Running},
};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};
use tender_base::{Book, Code, Did, JobState, MicroUsd, Problem, Signed, documents::Receipt, ids::JobId, job::Privacy};
use tender_store::Event;

/// What a demonstration job may cost and take: a cold worker on a CPU adapter included.
const BUDGET: MicroUsd = MicroUsd(10_000);
const DEADLINE: Duration = Duration::from_secs(120);
/// Credit that the second node gives the client.
const CREDIT_MICRO_USD: i64 = 1_000_000;
/// Setting that remembers the second node while it lives, so that a crash leaves no ghost among the peers.
const PEER_SETTING: &str = "demo.peer";

/// The outcome, as `tender demo --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct DemoReport {
    /// The adapter that did the work, as its driver names it.
    pub adapter: String,
    /// One line per job.
    pub jobs: Vec<TradeJob>,
    /// Both ledgers balance, entry by entry and in total, and agree with each other.
    pub ledgers_balance: bool,
    /// Every receipt verifies from its own bytes alone.
    pub receipts_valid: bool,
}

/// Runs the demonstration between two throw-away nodes under `dir`, which the caller deletes.
///
/// # Errors
/// The first step that failed, in its own words.
pub async fn run(
    dir: &Path,
    worker: Option<PathBuf>,
    tell: impl FnMut(&FirstTrade) + Send,
) -> Result<DemoReport, Problem> {
    let client = throw_away(&dir.join("client"), worker.as_deref()).await?;
    client.node.set("use_own_gpu", false.into()).await?;
    client.node.set("name", "client".into()).await?;
    let mut trade = Trade::new(client.node.clone(), tell);
    let report = trade.run(&dir.join("contractor"), worker.as_deref()).await;
    client.stop().await;
    report
}

/// A node with play money, a key file and no screens, on loopback.
///
/// Boxed: a node can start a demonstration, which starts a node.
pub(crate) fn throw_away<'a>(
    dir: &'a Path,
    worker: Option<&'a Path>,
) -> Pin<Box<dyn Future<Output = Result<Running, Problem>> + Send + 'a>> {
    let config = Config {
        data_dir: dir.to_owned(),
        a2a: ([127, 0, 0, 1], 0).into(),
        api: None,
        public_address: None,
        identity: Some(IdentityStore::File),
        book: Book::Demo,
    };
    Box::pin(async move {
        let running = Node::start_with_worker(config, worker).await?;
        // Somebody asked for it just now, on battery or not.
        running.node.set("guard.battery", false.into()).await?;
        Ok(running)
    })
}

impl Node {
    /// Starts the first trade, unless one runs, and answers how it stands.
    pub(crate) async fn start_first_trade(self: &Arc<Self>) -> Result<FirstTrade, Problem> {
        {
            let mut shown = self.first_trade.lock().unwrap_or_else(PoisonError::into_inner);
            if shown.state == "running" {
                return Ok(shown.clone());
            }
            *shown = FirstTrade { state: "running".to_owned(), steps: steps(), jobs: Vec::new(), problem: None };
        }
        let node = self.clone();
        self.spawn(async move {
            let dir = node.config.data_dir.join("first-trade");
            let shown = node.clone();
            let mut trade = Trade::new(node.clone(), move |state: &FirstTrade| {
                *shown.first_trade.lock().unwrap_or_else(PoisonError::into_inner) = state.clone();
                shown.live.touch();
            });
            let worker = node.settings().worker;
            if let Err(problem) = trade.run(&dir, worker.as_deref()).await {
                tracing::warn!(code = %problem.code, %problem, "the first trade failed");
            }
            let _ = tokio::fs::remove_dir_all(&dir).await;
        });
        Ok(self.first_trade())
    }

    /// How the first trade stands.
    pub(crate) fn first_trade(&self) -> FirstTrade {
        self.first_trade.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The second node of a demonstration, while it lives.
    pub(crate) async fn demo_peer(&self) -> Option<Did> {
        let stored = self.store.setting(PEER_SETTING).await.ok().flatten()?;
        stored.as_str()?.parse().ok()
    }

    /// Removes what a demonstration that was cut off left behind.
    pub(crate) async fn clear_demo_peer(&self) -> Result<(), Problem> {
        let Some(did) = self.demo_peer().await else { return Ok(()) };
        let at = self.now();
        let events = vec![
            Event::PeerRemoved { did, at },
            Event::SettingChanged { key: PEER_SETTING.to_owned(), value: serde_json::Value::Null, at },
        ];
        self.clients.forget(&did).await;
        self.apply(events, Vec::new()).await
    }
}

/// The steps, in order; the jobs come after the pairing.
fn steps() -> Vec<TradeStep> {
    let titles = [
        "Start a second node on this machine",
        "Pair the two by an invitation",
        "Buy embeddings of the project's README and licences",
        "Buy a matrix product",
        "Buy a Monte-Carlo kernel in WGSL",
        "Settle what is owed",
        "Check receipts and ledgers",
    ];
    let step = |title: &str| TradeStep {
        title: title.to_owned(),
        state: "waiting".to_owned(),
        detail: String::new(),
        ms: None,
    };
    titles.into_iter().map(step).collect()
}

/// A demonstration under way.
struct Trade<F> {
    client: Arc<Node>,
    state: FirstTrade,
    tell: F,
}

impl<F: FnMut(&FirstTrade) + Send> Trade<F> {
    fn new(client: Arc<Node>, tell: F) -> Self {
        let state = FirstTrade { state: "running".to_owned(), steps: steps(), jobs: Vec::new(), problem: None };
        Self { client, state, tell }
    }

    async fn run(&mut self, dir: &Path, worker: Option<&Path>) -> Result<DemoReport, Problem> {
        (self.tell)(&self.state);
        let outcome = self.all_steps(dir, worker).await;
        match &outcome {
            Ok(_) => self.state.state = "done".to_owned(),
            Err(problem) => {
                self.state.state = "failed".to_owned();
                self.state.problem = Some(problem.clone().into());
                for step in &mut self.state.steps {
                    if step.state == "running" {
                        step.state = "failed".to_owned();
                        step.detail.clone_from(&problem.message);
                    }
                }
            }
        }
        (self.tell)(&self.state);
        outcome
    }

    async fn all_steps(&mut self, dir: &Path, worker: Option<&Path>) -> Result<DemoReport, Problem> {
        let started = self.begin(0);
        let seller = throw_away(dir, worker).await?;
        seller.node.set("name", "demonstration peer".into()).await?;
        seller.node.set("selling", true.into()).await?;
        self.end(0, started, format!("It sells at {}", seller.node.a2a_address()));
        let report = self.trade_with(&seller).await;
        let cleared = self.client.clear_demo_peer().await;
        seller.stop().await;
        cleared.and(report)
    }

    async fn trade_with(&mut self, seller: &Running) -> Result<DemoReport, Problem> {
        let started = self.begin(1);
        let invitation = InviteInput { credit_limit_micro_usd: CREDIT_MICRO_USD, valid_minutes: None };
        let link = seller.node.invite(invitation).await?.link;
        let did = seller.node.did();
        let remember = Event::SettingChanged {
            key: PEER_SETTING.to_owned(),
            value: did.to_string().into(),
            at: self.client.now(),
        };
        self.client.apply(vec![remember], Vec::new()).await?;
        self.client.add_peer(AddPeerInput { link, credit_limit_micro_usd: None }).await?;
        self.end(1, started, "One pasted line; both sides know each other's key".to_owned());

        let mut receipts = Vec::new();
        for (place, job) in jobs::all().into_iter().enumerate() {
            let started = self.begin(2 + place);
            let (traded, receipt, finding) = self.trade_one(job).await?;
            let price = MicroUsd(traded.charged_micro_usd);
            self.end(2 + place, started, format!("{finding}. {}. {price} charged", traded.verification));
            self.state.jobs.push(traded);
            receipts.push(receipt);
            (self.tell)(&self.state);
        }

        let started = self.begin(5);
        let method = "demonstration credit".to_owned();
        let paid = self.client.pay(PayInput { did: did.to_string(), method, book: Some(Book::Demo) }).await?;
        let amount = MicroUsd(paid.amount_micro_usd);
        self.end(5, started, format!("{} contracts, {amount} of play money, recorded by both sides", paid.contracts));

        let started = self.begin(6);
        let receipts_valid = receipts.iter().all(|receipt| offline(receipt).is_ok());
        let ledgers_balance = self.ledgers_agree(seller).await?;
        if !receipts_valid || !ledgers_balance {
            return Err(Problem::new(
                Code::Forged,
                "a receipt or a ledger does not hold",
                "this is a fault of Tender; please report it with the output of `tender doctor`",
            ));
        }
        self.end(6, started, format!("{} receipts verify offline; both ledgers balance", receipts.len()));
        let adapter = receipts.first().map(|r| r.delivery.document.worker.adapter.clone()).unwrap_or_default();
        Ok(DemoReport { adapter, jobs: self.state.jobs.clone(), ledgers_balance, receipts_valid })
    }

    /// Tenders one job and waits for its receipt.
    async fn trade_one(&mut self, job: jobs::DemoJob) -> Result<(TradeJob, Receipt, String), Problem> {
        let started = Instant::now();
        let id = self.submit(job.work).await?;
        let mut ticks = self.client.live.watch();
        let record = loop {
            let record = self.client.job_record(id).await?;
            if record.state.is_final() {
                break record;
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), ticks.changed()).await;
        };
        if record.state != JobState::Completed {
            return Err(record.reason.unwrap_or_else(|| Problem::new(Code::WorkFailed, "the job failed", "")));
        }
        let contracts = self.client.contracts_of(id).await?;
        let contract = crate::api::views::chosen_contract(&contracts)
            .map(|record| record.id)
            .ok_or_else(|| Problem::new(Code::Internal, "the job was not traded", ""))?;
        let receipt = self.receipt(contract).await?;
        let output = record.output.ok_or_else(|| Problem::new(Code::Internal, "the job has no output", ""))?;
        let finding = (job.finding)(&self.client.stored_blob(&output).await?);
        let decision = Decided::of(&record)?;
        let checked: Option<Checked> = record.checked.clone().and_then(|v| serde_json::from_value(v).ok());
        let traded = TradeJob {
            kind: record.kind,
            decision: decision.and_then(|d| d.chosen().map(|row| d.why_not(row))).unwrap_or_default(),
            quoted_micro_usd: receipt.proposal.document.amount.0,
            charged_micro_usd: receipt.acceptance.document.amount.0,
            verified: checked.as_ref().is_some_and(|checked| checked.passed),
            verification: checked.map(|checked| checked.describe()).unwrap_or_default(),
            energy_joules: receipt.delivery.document.meter.energy_joules,
            wall_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        Ok((traded, receipt, finding))
    }

    async fn submit(&self, work: SubmitWork) -> Result<JobId, Problem> {
        let constraints = tender_base::job::Constraints {
            budget: BUDGET,
            deadline: self.client.now().after(DEADLINE),
            privacy: Privacy::Peers,
        };
        self.client.submit_in(Book::Demo, work, constraints, true).await
    }

    /// The countersigned receipt; its last document may still be on its way.
    async fn receipt(&self, contract: tender_base::ids::ContractId) -> Result<Receipt, Problem> {
        for _ in 0..50 {
            if let Some(receipt) = self.client.store.receipt(contract).await.map_err(|e| e.problem())? {
                return Ok(receipt);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Problem::new(Code::Lost, "the second node did not countersign", "run it again"))
    }

    async fn ledgers_agree(&self, seller: &Running) -> Result<bool, Problem> {
        use tender_base::ledger::Account;
        let ours = &self.client.store;
        let theirs = &seller.node.store;
        let both = ours.ledger_balances().await.map_err(|e| e.problem())?
            && theirs.ledger_balances().await.map_err(|e| e.problem())?;
        let earned = theirs.balance(Book::Demo, &Account::Income).await.map_err(|e| e.problem())?.negated();
        let charged: i64 = self.state.jobs.iter().map(|job| job.charged_micro_usd).sum();
        let owed =
            theirs.balance(Book::Demo, &Account::Receivable(self.client.did())).await.map_err(|e| e.problem())?;
        Ok(both && earned == MicroUsd(charged) && owed == MicroUsd::ZERO)
    }

    fn begin(&mut self, step: usize) -> Instant {
        if let Some(step) = self.state.steps.get_mut(step) {
            step.state = "running".to_owned();
        }
        (self.tell)(&self.state);
        Instant::now()
    }

    fn end(&mut self, step: usize, started: Instant, detail: String) {
        if let Some(step) = self.state.steps.get_mut(step) {
            step.state = "done".to_owned();
            step.detail = detail;
            step.ms = u64::try_from(started.elapsed().as_millis()).ok();
        }
        (self.tell)(&self.state);
    }
}

/// Writes a receipt out, reads it back and verifies it: what `tender verify FILE` does.
fn offline(receipt: &Receipt) -> Result<(), Problem> {
    let read: Receipt = serde_json::to_vec(receipt)
        .and_then(|bytes| serde_json::from_slice(&bytes))
        .map_err(|e| Problem::new(Code::Forged, format!("the receipt does not read back: {e}"), ""))?;
    let _: &Signed<_> = &read.call;
    read.verify()
}
