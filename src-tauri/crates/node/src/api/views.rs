//! From what is stored to what is shown.

use super::types::*;
use crate::{
    client::{Checked, Decided},
    node::Node,
};
use std::sync::Arc;
use tender_base::{
    Code, ContractState, Did, JobState, Problem, Role, Work,
    ids::{ContractId, JobId},
    job::Precision,
    kernel::Kernel,
    ledger::Account,
};
use tender_market::decision::{Outcome, Source};
use tender_store::{ContractFilter, ContractRecord, JobFilter, JobRecord, PeerRecord};

/// Active jobs shown on the overview.
const ACTIVE: u32 = 20;

pub(super) async fn overview(node: &Arc<Node>) -> Result<Overview, Problem> {
    let settings = node.settings();
    let book = node.config.book;
    let today = node.store.totals(book, node.now().start_of_day()).await.map_err(|e| e.problem())?;
    let reserved = node.store.balance(book, &Account::Reserved).await.map_err(|e| e.problem())?;
    let peers = node.circle().await?;
    use JobState as J;
    let unfinished =
        JobFilter { states: vec![J::Queued, J::Running, J::Verifying], limit: ACTIVE, ..JobFilter::default() };
    let mut active = Vec::new();
    for job in node.store.jobs(unfinished).await.map_err(|e| e.problem())? {
        active.push(bought(node, &job).await?);
    }
    for record in node.contracts(under_way()).await? {
        active.push(sold(node, &record).await?);
    }
    active.sort_by(|a, b| b.id.cmp(&a.id));
    let ended = ContractFilter {
        states: vec![ContractState::Accepted, ContractState::Settled],
        limit: 1,
        ..ContractFilter::default()
    };
    let traded = !node.store.contracts(ended).await.map_err(|e| e.problem())?.is_empty();
    Ok(Overview {
        did: node.did().to_string(),
        selling: selling(node).await?,
        guard_lost: super::guard::lost(node),
        stopped: settings.stopped,
        earned_today_micro_usd: today.earned.0,
        spent_today_micro_usd: today.spent.0,
        reserved_micro_usd: reserved.0,
        daily_spend_cap_micro_usd: settings.daily_spend_cap.0,
        peers: count(peers.len()),
        active,
        traded_before: traded || node.first_trade().state == "done",
        a2a_address: node.a2a_address.clone(),
        identity_store: node.identity.store.describe(&node.config.data_dir),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: settings.name,
    })
}

fn under_way() -> ContractFilter {
    ContractFilter {
        role: Some(Role::Contractor),
        states: vec![ContractState::Awarded, ContractState::Running, ContractState::Delivered],
        limit: ACTIVE,
        ..ContractFilter::default()
    }
}

pub(super) async fn selling(node: &Arc<Node>) -> Result<Selling, Problem> {
    let settings = node.settings();
    let paused_until = settings.paused_until.filter(|until| *until > node.now());
    let busy = node.store.contracts(under_way()).await.map_err(|e| e.problem())?;
    let running = busy.iter().filter(|r| r.state != ContractState::Delivered).count();
    let sale = node.sale(running);
    Ok(Selling {
        on: settings.selling && !settings.stopped,
        state: sale.state.to_owned(),
        reason: sale.reason,
        paused_until: paused_until.map(|until| until.to_string()),
        trigger: sale.trigger.map(|trigger| trigger.name().to_owned()),
        resumes_at: sale.resumes_at.map(|at| at.to_string()),
    })
}

pub(super) async fn bought(node: &Arc<Node>, job: &JobRecord) -> Result<JobSummary, Problem> {
    let contracts = node.contracts_of(job.id).await?;
    let chosen = chosen_contract(&contracts);
    // What was bought has been accepted; a job that was rejected elsewhere may have been done here.
    let bought = |record: &&ContractRecord| matches!(record.state, ContractState::Accepted | ContractState::Settled);
    let chosen = chosen.filter(|record| job.state != JobState::Completed || bought(record));
    let with = match (&chosen, job.state) {
        (Some(record), _) => Some(name_of(node, &record.peer).await),
        (None, JobState::Running | JobState::Completed) => {
            Some(bought_of(job).unwrap_or_else(|| "this machine".to_owned()))
        }
        _ => None,
    };
    // What ended without a result costs nothing, whatever was proposed.
    let ended = matches!(job.state, JobState::Failed | JobState::Cancelled);
    let amount = job.charged.or_else(|| chosen.and_then(|record| record.amount)).filter(|_| !ended);
    Ok(JobSummary {
        id: job.id.to_string(),
        role: Role::Client,
        book: job.book,
        kind: job.kind,
        title: title(&job.spec.work),
        state: Some(job.state),
        contract_state: chosen.map(|record| record.state),
        reason: node.waits(job).unwrap_or_else(|| job_reason(job, chosen, with.as_deref())),
        with,
        amount_micro_usd: amount.map(|a| a.0),
        // Of an agent's text nobody knows how much is still to come.
        progress: node.live.progress(job.id).filter(|live| live.total > 0).map(progress),
        created_at: job.submitted_at.to_string(),
        changed_at: job.changed_at.to_string(),
    })
}

pub(super) async fn sold(node: &Arc<Node>, record: &ContractRecord) -> Result<JobSummary, Problem> {
    let work =
        &record.call().ok_or_else(|| Problem::new(Code::Internal, "a contract has no call", ""))?.document.job.work;
    let with = name_of(node, &record.peer).await;
    Ok(JobSummary {
        id: record.id.to_string(),
        role: Role::Contractor,
        book: record.book,
        kind: work.kind(),
        title: title(work),
        state: None,
        contract_state: Some(record.state),
        reason: record.reason.as_ref().map_or_else(|| standing(record, &with), |p| p.message.clone()),
        with: Some(with),
        amount_micro_usd: record.amount.map(|a| a.0),
        progress: node.live.progress(record.id).map(progress),
        created_at: record.opened_at.to_string(),
        changed_at: record.changed_at.to_string(),
    })
}

pub(super) async fn detail(node: &Arc<Node>, id: &str) -> Result<JobDetail, Problem> {
    let bad = || Problem::new(Code::NotFound, format!("there is no job {id}"), "`tender jobs` lists them");
    if let Some(job) = node.store.job(id.parse().map_err(|_| bad())?).await.map_err(|e| e.problem())? {
        let contracts = node.contracts_of(job.id).await?;
        let mut shown = Vec::new();
        let chosen = chosen_contract(&contracts).map(|record| record.id);
        for record in
            contracts.iter().filter(|r| Some(r.id) == chosen).chain(contracts.iter().filter(|r| Some(r.id) != chosen))
        {
            shown.push(contract_detail(node, record).await?);
        }
        // What cannot be read hides nothing else of the job.
        let decision = Decided::of(&job);
        let unread = decision.as_ref().err().map(|problem| problem.message.clone());
        let decision = decision.ok().flatten();
        let text = text_so_far(node, id);
        let checked: Option<Checked> = job.checked.clone().and_then(|value| serde_json::from_value(value).ok());
        return Ok(JobDetail {
            summary: bought(node, &job).await?,
            contracts: shown,
            decision: decision.as_ref().map(decision_rows).unwrap_or_default(),
            decision_summary: unread.or_else(|| decision.as_ref().and_then(|d| d.chosen().map(|row| d.why_not(row)))),
            verification: checked.map(|checked| checked.describe()),
            input_bytes: job.spec.input.bytes,
            output_bytes: job.output.map(|blob| blob.bytes),
            output_sha256: job.output.map(|blob| blob.sha256.to_string()),
            problem: job.reason.map(ApiProblem::from),
            text,
            generate: generate_facts(&job.spec.work),
        });
    }
    let id: ContractId = id.parse().map_err(|_| bad())?;
    let record = node.store.contract(id).await.map_err(|e| e.problem())?.ok_or_else(bad)?;
    let output = record.output;
    let evidence = record.acceptance().map(|acceptance| {
        let count = acceptance.document.evidence.len();
        if count == 0 {
            "The client accepted without a check.".to_owned()
        } else {
            "The client's check passed.".to_owned()
        }
    });
    Ok(JobDetail {
        summary: sold(node, &record).await?,
        contracts: vec![contract_detail(node, &record).await?],
        decision: Vec::new(),
        decision_summary: None,
        verification: evidence,
        input_bytes: record.call().map_or(0, |call| call.document.job.input.bytes),
        output_bytes: output.map(|blob| blob.bytes),
        output_sha256: output.map(|blob| blob.sha256.to_string()),
        problem: record.reason.clone().map(ApiProblem::from),
        // What is written for a peer is the peer's to read.
        text: None,
        generate: record.call().and_then(|call| generate_facts(&call.document.job.work)),
    })
}

async fn contract_detail(node: &Arc<Node>, record: &ContractRecord) -> Result<ContractDetail, Problem> {
    let with = name_of(node, &record.peer).await;
    let delivery = record.delivery().map(|delivery| &delivery.document);
    Ok(ContractDetail {
        id: record.id.to_string(),
        state: record.state,
        waits_for: if record.state.is_final() { String::new() } else { standing(record, &with) },
        steps: record.times.iter().map(|(state, at)| ContractStep { state: *state, at: at.to_string() }).collect(),
        reason: record.reason.as_ref().map(|reason| reason.message.clone()),
        amount_micro_usd: record.amount.map(|amount| amount.0),
        energy_joules: delivery.and_then(|d| d.meter.energy_joules),
        adapter: delivery.map(|d| d.worker.adapter.clone()),
        receipt: record.countersignature().is_some(),
        problem: record.reason.clone().map(ApiProblem::from),
        with,
    })
}

/// Who tried a job and did not do it, a line each, in the order of the awards.
pub(super) async fn attempts(node: &Node, job: JobId) -> Result<String, Problem> {
    let mut lines = String::new();
    for record in node.contracts_of(job).await?.iter().rev() {
        use ContractState as S;
        let in_vain = matches!(record.state, S::Rejected | S::Failed | S::Abandoned | S::HandedBack);
        if let Some(reason) = record.reason.as_ref().filter(|_| in_vain) {
            let (name, at) = (name_of(node, &record.peer).await, record.changed_at);
            lines.push_str(&format!("Tried with {name}, {at}: {}\n", reason.message));
        }
    }
    Ok(lines)
}

/// The contract a job rests on: the furthest one, the latest among equals.
pub(crate) fn chosen_contract(contracts: &[ContractRecord]) -> Option<&ContractRecord> {
    let furthest = |record: &&ContractRecord| match record.state {
        ContractState::Accepted | ContractState::Settled => 4,
        ContractState::Delivered => 3,
        ContractState::Running | ContractState::Awarded => 2,
        ContractState::Rejected | ContractState::Failed | ContractState::Abandoned | ContractState::HandedBack => 1,
        ContractState::Announced | ContractState::Proposed | ContractState::Lapsed => 0,
    };
    contracts.iter().filter(|r| furthest(r) > 0).max_by_key(|record| (furthest(record), record.id))
}

/// Where a contract stands, and for whom it waits.
fn standing(record: &ContractRecord, with: &str) -> String {
    let (client, contractor) = match record.role {
        Role::Client => ("you", with),
        Role::Contractor => (with, "you"),
    };
    let verb = |who: &str| if who == "you" { "Your" } else { "Their" };
    match record.state {
        ContractState::Announced => format!("Waits for a proposal from {contractor}"),
        ContractState::Proposed => format!("Waits for {client} to decide"),
        ContractState::Awarded => format!("Waits for {contractor} to start"),
        ContractState::Running => format!("{} machine is computing", verb(contractor)),
        ContractState::Delivered => format!("Waits for {client} to check the result"),
        ContractState::Accepted => format!("Owed; waits for a payment from {client}"),
        ContractState::Settled => "Paid".to_owned(),
        ContractState::Rejected => format!("Rejected by {client}; open until the deadline"),
        ContractState::Lapsed => "Not taken".to_owned(),
        ContractState::Failed => "Failed; nothing is owed".to_owned(),
        ContractState::Abandoned => "Given up; nothing is owed".to_owned(),
        ContractState::HandedBack => "Handed back; nothing is owed".to_owned(),
    }
}

/// What does a job without a contract, or did. Only what is bought is charged.
fn bought_of(job: &JobRecord) -> Option<String> {
    let decision = Decided::of(job).ok()??;
    let is_bought = |source: &&Source| matches!(source, Source::Cloud { .. } | Source::Foreign { .. });
    let chosen = || decision.chosen().map(|i| &decision.alternatives()[i].source).filter(is_bought);
    let by = match job.state {
        // Jobs from before this was recorded were done by the one that was chosen, as far as is known.
        JobState::Completed => decision.by().or_else(|| chosen().filter(|_| job.charged.is_some())),
        _ => chosen(),
    };
    by.map(|source| source.label().to_owned())
}

fn job_reason(job: &JobRecord, chosen: Option<&ContractRecord>, with: Option<&str>) -> String {
    if let Some(problem) = &job.reason {
        return problem.message.clone();
    }
    let with = with.unwrap_or("nobody yet");
    match job.state {
        JobState::Queued => "Collecting proposals".to_owned(),
        JobState::Running => format!("Computing on {with}"),
        JobState::Verifying => format!("Checking the result of {with}"),
        JobState::Completed if chosen.is_some() => "Delivered, checked and booked".to_owned(),
        JobState::Completed if job.charged.is_some() && was_checked(job) => {
            format!("Written by {with}, checked and booked")
        }
        JobState::Completed if job.charged.is_some() => format!("Written by {with} and booked; nobody can check it"),
        JobState::Completed => "Computed on this machine".to_owned(),
        JobState::Failed | JobState::Cancelled => "Ended; nothing is owed".to_owned(),
    }
}

fn was_checked(job: &JobRecord) -> bool {
    let checked = job.checked.clone().and_then(|value| serde_json::from_value::<Checked>(value).ok());
    checked.is_some_and(|checked| checked.passed)
}

fn decision_rows(decision: &Decided) -> Vec<DecisionRow> {
    let rows = decision.alternatives().iter().enumerate().map(|(i, alternative)| {
        let (cost, measured, estimated) = match &alternative.outcome {
            Outcome::Offered { cost, cost_measured, estimated_ms, .. } => {
                (Some(cost.0), *cost_measured, Some(*estimated_ms))
            }
            Outcome::Unavailable { .. } => (None, false, None),
        };
        DecisionRow {
            name: alternative.source.label().to_owned(),
            cost_micro_usd: cost,
            cost_measured: measured,
            estimated_ms: estimated,
            chosen: decision.chosen() == Some(i),
            why: match alternative.source.note() {
                Some(note) => format!("{} ({note})", decision.why_not(i)),
                None => decision.why_not(i),
            },
        }
    });
    rows.collect()
}

pub(super) async fn peer(node: &Arc<Node>, record: &PeerRecord) -> Result<Peer, Problem> {
    let book = node.config.book;
    let owes = node.store.balance(book, &Account::Receivable(record.did)).await.map_err(|e| e.problem())?;
    let owed = node.store.balance(book, &Account::Payable(record.did)).await.map_err(|e| e.problem())?;
    let trades = ContractFilter {
        peer: Some(record.did),
        states: vec![ContractState::Accepted, ContractState::Settled],
        ..ContractFilter::default()
    };
    let trades = node.store.contracts(trades).await.map_err(|e| e.problem())?;
    Ok(Peer {
        did: record.did.to_string(),
        name: record.name.clone(),
        address: record.address.clone(),
        credit_limit_micro_usd: record.credit_limit.0,
        owes_us_micro_usd: owes.0,
        we_owe_micro_usd: owed.negated().0,
        by_key: record.by_key,
        paired_at: record.paired_at.to_string(),
        trades: count(trades.len()),
    })
}

pub(super) async fn name_of(node: &Node, did: &Did) -> String {
    match node.store.peer(did).await {
        Ok(Some(peer)) => peer.name,
        _ => format!("…{}", did.short()),
    }
}

/// A line of `doctor`.
pub(crate) fn check(name: &str, found: Result<String, Problem>) -> DoctorCheck {
    let (state, message, remedy) = match found {
        Ok(message) => ("ok", message, String::new()),
        Err(problem) => ("fault", problem.message, problem.hint),
    };
    DoctorCheck { name: name.to_owned(), state: state.to_owned(), message, remedy }
}

/// What a job is, in a few words.
pub(crate) fn title(work: &Work) -> String {
    match work {
        Work::Embed { passages: 1, .. } => "1 passage".to_owned(),
        Work::Embed { passages, .. } => format!("{passages} passages"),
        Work::Gemm { m, k, n, precision: Precision::F32 } => format!("{m} × {k} × {n}"),
        Work::Gemm { m, k, n, precision } => format!("{m} × {k} × {n}, {}", precision.name()),
        Work::Kernel(kernel) => format!("{}: {} × {}", kernel.name.name(), kernel.rows, kernel.columns),
        Work::Wgsl(kernel) => format!("{} × {} invocations", kernel.workgroups, kernel.workgroup_size),
        Work::Generate(text) => {
            format!("{}: {} + {} tokens at most", text.model.name, text.prompt_tokens, text.max_tokens)
        }
    }
}

/// How to read an input.
pub(super) fn input_layout(work: &Work) -> &'static str {
    match work {
        Work::Embed { .. } => "JSON list of the passages",
        Work::Gemm { precision: Precision::F32, .. } => "both matrices, little-endian f32, row by row",
        Work::Gemm { .. } => "both matrices, little-endian f16, row by row",
        Work::Kernel(_) => "the kernel's input, little-endian",
        Work::Wgsl(_) => "the kernel's source, then the buffers that it reads",
        Work::Generate(_) => "JSON with the messages, or with the prompt",
    }
}

/// How to read an output.
pub(super) fn layout(work: &Work) -> String {
    match work {
        Work::Embed { passages, .. } => format!("{passages} × 384 little-endian f32, one row per passage, length one"),
        Work::Gemm { m, n, .. } => format!("{m} × {n} little-endian f32, row by row"),
        Work::Kernel(kernel) => match kernel.name {
            Kernel::ArgMax => format!("{} little-endian u32, the first index of each row's largest", kernel.rows),
            Kernel::MonteCarloPi => format!("{} little-endian u32, the points inside of each block", kernel.rows),
            Kernel::MonteCarloCall => {
                format!("{} × 2 little-endian f32: sum and sum of squares of the discounted payoffs", kernel.rows)
            }
            _ => format!("{} × {} little-endian f32, row by row", kernel.rows, kernel.row_bytes() / 4),
        },
        Work::Wgsl(_) => "the kernel's output buffer, as it wrote it".to_owned(),
        Work::Generate(_) => "JSON with text, tokens and why it ended".to_owned(),
    }
}

fn generate_facts(work: &Work) -> Option<GenerateFacts> {
    let Work::Generate(text) = work else { return None };
    let (prompt_tokens, max_tokens) = (text.prompt_tokens, text.max_tokens);
    Some(GenerateFacts { model: text.model.name.clone(), prompt_tokens, max_tokens })
}

fn progress(live: tender_engine::Progress) -> Progress {
    Progress { done: live.done, total: live.total }
}

/// A text while it is written.
fn text_so_far(node: &Node, id: &str) -> Option<String> {
    node.live.progress(id).map(|live| live.text.to_string()).filter(|text| !text.is_empty())
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
