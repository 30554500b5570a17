//! A client and its contractors, each of which can be killed and started again.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};
use tender_base::JobState;
use tender_node::api::types::{JobDetail, JobPage, JobsQuery, Nothing, Overview, Submitted};
use tender_tests::{Seen, TestNode, pair, work};

/// How long the two sides may take to agree after the last job has ended: notes are repeated, the timer runs every
/// five seconds.
const SETTLE_LIMIT: Duration = Duration::from_secs(45);
/// A job acknowledged while processes die may need a wait for a contractor that restarts, and then a cold worker.
const JOB_LIMIT: Duration = Duration::from_secs(100);
/// Workgroups and loop length of the job: about half a second on lavapipe, so that it can be killed while it runs.
pub(crate) const WORKGROUPS: u32 = 768;
const SPIN: u32 = 40_000;
/// Micro-USD that the client may owe each contractor.
const CREDIT: i64 = 1_000 * work::DOLLAR;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The buyer.
    Client,
    /// The seller with this number.
    Contractor(usize),
}

use Side::{Client, Contractor};

/// Real nodes that trade with each other.
pub(crate) struct Market {
    client: Option<TestNode>,
    contractors: Vec<Option<TestNode>>,
    /// Jobs whose submission was answered, and whether they must be completed.
    acknowledged: BTreeMap<String, bool>,
}

impl Market {
    /// A client, paired with `contractors` sellers; the first is the cheapest.
    pub(crate) async fn open(contractors: usize) -> Self {
        // Its own GPU would be cheaper: that the job is for peers only must outlive a restart.
        let client = TestNode::start().await;
        client.set("daily_spend_cap_micro_usd", (1_000 * work::DOLLAR).into()).await;
        let mut sellers = Vec::new();
        for number in 0..contractors {
            let seller = TestNode::seller().await;
            seller.set("price.wgsl.micro_usd", (1_000 * (number + 1)).into()).await;
            pair(&seller, &client, CREDIT).await;
            sellers.push(Some(seller));
        }
        Self { client: Some(client), contractors: sellers, acknowledged: BTreeMap::new() }
    }

    pub(crate) fn node(&self, side: Side) -> &TestNode {
        let node = match side {
            Client => &self.client,
            Contractor(number) => &self.contractors[number],
        };
        node.as_ref().unwrap()
    }

    fn place(&mut self, side: Side) -> &mut Option<TestNode> {
        match side {
            Client => &mut self.client,
            Contractor(number) => &mut self.contractors[number],
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, side: Side) {
        self.place(side).as_mut().unwrap().kill();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn terminate(&mut self, side: Side) {
        let node = self.place(side).as_mut().unwrap();
        assert!(node.stop().success(), "{}", node.said());
    }

    /// Starts what was killed on its data and its port.
    pub(crate) async fn revive(&mut self, side: Side) {
        let node = self.place(side).take().unwrap();
        *self.place(side) = Some(node.restart().await);
    }

    /// Submits the job in the background: whoever answers it may be killed meanwhile.
    pub(crate) fn submit(&self) -> Submission {
        let client = self.node(Client);
        let (api, seen) = (client.api.clone(), client.events().count());
        let input = work::for_peers(work::wgsl(WORKGROUPS, SPIN));
        let answer = tokio::spawn(async move { api.ask::<_, Submitted>("submit", &input).await.ok() });
        Submission { answer, seen }
    }

    /// The id of a submitted job: as acknowledged, or as it was stored before the answer was lost.
    pub(crate) async fn id_of(&mut self, submission: Submission) -> Option<String> {
        if let Some(answer) = submission.answer.await.unwrap() {
            let id = answer.job.unwrap();
            self.acknowledged.insert(id.clone(), true);
            return Some(id);
        }
        let events = self.node(Client).events().all();
        let stored = events.iter().skip(submission.seen).find(|seen| seen.name() == "job_submitted");
        stored.and_then(|seen| seen.what["job"].as_str()).map(str::to_owned)
    }

    /// Submits a job, kills `victims` as soon as `watched` has committed the event, starts them again at once, and
    /// returns the job as it ended.
    pub(crate) async fn crash(
        &mut self,
        victims: &[Side],
        watched: Side,
        event: impl Fn(&Seen) -> bool,
    ) -> Option<JobDetail> {
        let skip = self.node(watched).events().count();
        let submission = self.submit();
        self.node(watched).events().after(skip, event).await;
        for victim in victims {
            self.kill(*victim);
        }
        let id = self.id_of(submission).await;
        for victim in victims {
            self.revive(*victim).await;
        }
        Some(self.ended(&id?).await)
    }

    /// The job, when it has ended.
    pub(crate) async fn ended(&self, id: &str) -> JobDetail {
        let started = Instant::now();
        loop {
            let detail = self.node(Client).job(id).await;
            if detail.summary.state.is_some_and(JobState::is_final) {
                return detail;
            }
            assert!(started.elapsed() < JOB_LIMIT, "the job does not end: {detail:#?}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The same, and it must be completed.
    pub(crate) async fn completed(&self, id: &str) -> JobDetail {
        let detail = self.ended(id).await;
        assert_eq!(detail.summary.state, Some(JobState::Completed), "{detail:#?}\n{}", self.said());
        detail
    }

    /// Waits until nothing is under way on any side and what the client owes is what the contractors are owed.
    pub(crate) async fn settle(&self) {
        let started = Instant::now();
        loop {
            let mut open = self.unsettled(Client).await;
            let mut owed = 0;
            for number in 0..self.contractors.len() {
                open.extend(self.unsettled(Contractor(number)).await);
                owed += self.node(Contractor(number)).earnings().await.owed_to_us_micro_usd;
            }
            let owes = self.node(Client).earnings().await.owed_by_us_micro_usd;
            if open.is_empty() && owes == owed {
                return;
            }
            assert!(
                started.elapsed() < SETTLE_LIMIT,
                "the client owes {owes}, the contractors are owed {owed}; open: {open:#?}\n{}",
                self.said()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What is still under way on a side, in words.
    async fn unsettled(&self, side: Side) -> Vec<String> {
        let node = self.node(side);
        let mut open = Vec::new();
        let overview: Overview = node.ask("overview", &Nothing {}).await;
        let delivered = node.earnings().await.delivered_micro_usd;
        if overview.reserved_micro_usd != 0 || delivered != 0 {
            open.push(format!("{side:?}: {} reserved, {delivered} delivered", overview.reserved_micro_usd));
        }
        let all = JobsQuery { role: None, limit: None, before: None };
        let page: JobPage = node.ask("jobs", &all).await;
        for job in page.jobs {
            let ended = job.state.is_none_or(JobState::is_final);
            // A job that has ended shows its last contract; a proposal runs out by itself.
            use tender_base::ContractState as S;
            let receipts = node.job(&job.id).await.contracts;
            let due = receipts.iter().any(|contract| contract.state == S::Accepted && !contract.receipt);
            let under_way = matches!(job.contract_state, Some(S::Awarded | S::Running | S::Delivered));
            if !ended || under_way || due {
                open.push(format!("{side:?}: {} {:?} {:?} {receipts:?}", job.id, job.state, job.contract_state));
            }
        }
        open
    }

    /// Everybody's standard error.
    pub(crate) fn said(&self) -> String {
        let nodes = self.client.iter().chain(self.contractors.iter().flatten());
        nodes.map(|node| format!("--- {}\n{}", node.dir().display(), node.said())).collect()
    }

    /// Ends every node in order, and compares what they remember.
    pub(crate) async fn close(mut self) {
        self.settle().await;
        let mut nodes: Vec<&mut TestNode> =
            self.client.iter_mut().chain(self.contractors.iter_mut().flatten()).collect();
        for node in &mut nodes {
            assert!(node.stop().success(), "{}", node.said());
        }
        let dirs: Vec<_> = nodes.iter().map(|node| (node.did, node.dir())).collect();
        crate::audit::compare(&dirs[0], &dirs[1..], &self.acknowledged).await;
    }
}

/// A submission under way.
pub(crate) struct Submission {
    answer: tokio::task::JoinHandle<Option<Submitted>>,
    seen: usize,
}

/// The process ids of a node's worker; waits for it to start.
pub(crate) async fn worker_of(node: &TestNode) -> u32 {
    for _ in 0..2000 {
        if let Some(pid) = node.children().first() {
            return *pid;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no worker was started\n{}", node.said());
}

/// SIGKILL to a process that is not a node; it may have ended by itself.
pub(crate) fn kill_process(pid: u32) {
    let _ = Command::new("sh").args(["-c", &format!("kill -KILL {pid} 2>/dev/null")]).status().unwrap();
}

/// Whether a process runs: not gone, and no zombie that waits to be reaped.
pub(crate) fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X'])))
}

/// An event of this name.
pub(crate) fn named(name: &'static str) -> impl Fn(&Seen) -> bool {
    move |seen| seen.name() == name
}

/// A contract that enters this state.
pub(crate) fn enters(state: &'static str) -> impl Fn(&Seen) -> bool {
    move |seen| seen.moved_to(state)
}

/// The countersignature that completes a receipt.
pub(crate) fn countersigned(seen: &Seen) -> bool {
    seen.name() == "contract_documented" && seen.what["document"]["type"] == "countersignature"
}
