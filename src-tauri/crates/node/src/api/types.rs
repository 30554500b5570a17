//! What crosses the local API. Plain numbers and strings: money as integer micro-dollars, times as RFC 3339 UTC,
//! identifiers as text. TypeScript twins are written to `ui/src/lib/api/types.ts`; a test fails when they are stale.

use serde::{Deserialize, Serialize};
use tender_base::{Book, ContractState, JobKind, JobState, Problem, Role};

/// Declares API types: serde both ways, and TypeScript in tests.
macro_rules! api_types {
    ($($(#[$meta:meta])* pub $what:ident $name:ident $body:tt)*) => {
        $(
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            #[cfg_attr(test, derive(ts_rs::TS))]
            $(#[$meta])*
            pub $what $name $body
        )*

        /// TypeScript declarations of all types, in the order of this file.
        #[cfg(test)]
        pub(in crate::api) fn typescript(config: &ts_rs::Config) -> Vec<(Option<String>, String)> {
            use ts_rs::TS;
            vec![$((<$name as TS>::docs(), <$name as TS>::decl(config))),*]
        }
    };
}

pub mod agents;
pub mod benchmark;
pub mod decisions;
pub mod demand;
pub mod earnings;
pub mod economics;
pub mod guard;
pub mod machine;
pub mod models;
pub mod prices;
pub mod runtimes;
pub mod simulation;
pub mod submit;
pub mod support;
pub use agents::*;
pub use benchmark::*;
pub use decisions::*;
pub use demand::*;
pub use earnings::*;
pub use economics::*;
pub use guard::*;
pub use machine::*;
pub use models::*;
pub use prices::*;
pub use runtimes::*;
pub use simulation::*;
pub use submit::*;
pub use support::*;

api_types! {
    /// No input.
    #[derive(Default)]
    pub struct Nothing {}

    /// The screen of one glance.
    pub struct Overview {
        /// What the owner calls this node.
        pub name: String,
        /// `did:key:…` of this node.
        pub did: String,
        /// Whether and why it sells.
        pub selling: Selling,
        /// What the guard could see once and has not for half a minute; selling goes on without it.
        pub guard_lost: Vec<GuardLost>,
        /// Everything is stopped by the owner's switch.
        pub stopped: bool,
        /// Earned today (UTC), accepted deliveries only.
        pub earned_today_micro_usd: i64,
        /// Spent today (UTC), accepted purchases only.
        pub spent_today_micro_usd: i64,
        /// Set aside for awards that are under way.
        pub reserved_micro_usd: i64,
        /// The most that may be spent in a day.
        pub daily_spend_cap_micro_usd: i64,
        /// Peers paired.
        pub peers: u32,
        /// Jobs bought and sold that are under way, newest first.
        pub active: Vec<JobSummary>,
        /// Whether any trade was ever completed, real or demonstration.
        pub traded_before: bool,
        /// Where the A2A interface listens.
        pub a2a_address: String,
        /// Where the identity's secret is kept, in words.
        pub identity_store: String,
        /// Version of the node.
        pub version: String,
    }

    /// One line of the job list: a job bought, or a contract sold.
    pub struct JobSummary {
        /// Job id when bought, contract id when sold.
        pub id: String,
        /// Bought or sold.
        #[cfg_attr(test, ts(type = "'client' | 'contractor'"))]
        pub role: Role,
        /// Real or demonstration money.
        #[cfg_attr(test, ts(type = "'real' | 'demo'"))]
        pub book: Book,
        /// Kind of work.
        #[cfg_attr(test, ts(type = "'generate' | 'embed' | 'gemm' | 'kernel' | 'wgsl'"))]
        pub kind: JobKind,
        /// What it is, such as `24 passages` or `1024 × 1024 × 1024`.
        pub title: String,
        /// For bought jobs.
        #[cfg_attr(test, ts(type = "'queued' | 'running' | 'verifying' | 'completed' | 'failed' | 'cancelled' | null"))]
        pub state: Option<JobState>,
        /// For everything that has a contract.
        #[cfg_attr(test, ts(type = "ContractStateName | null"))]
        pub contract_state: Option<ContractState>,
        /// Why it stands where it stands, in a sentence.
        pub reason: String,
        /// The other side's name, or `this machine`.
        pub with: Option<String>,
        /// What it costs or earns; the cap until it is delivered.
        pub amount_micro_usd: Option<i64>,
        /// Parts done and in all, while running.
        pub progress: Option<Progress>,
        /// When it was submitted or called for.
        pub created_at: String,
        /// When it last changed.
        pub changed_at: String,
    }

    /// How far a running job is.
    pub struct Progress {
        /// Parts done.
        pub done: u32,
        /// Parts in all.
        pub total: u32,
    }

    /// Which jobs to list.
    pub struct JobsQuery {
        /// Only bought, or only sold.
        #[cfg_attr(test, ts(type = "'client' | 'contractor' | null"))]
        pub role: Option<Role>,
        /// How many at most; 200 when absent.
        pub limit: Option<u32>,
        /// Only those older than this id.
        pub before: Option<String>,
    }

    /// A page of jobs, newest first.
    pub struct JobPage {
        /// The jobs.
        pub jobs: Vec<JobSummary>,
        /// Give this as `before` to get the next page.
        pub next: Option<String>,
    }

    /// One job or contract by id.
    pub struct ById {
        /// The id, as listed.
        pub id: String,
    }

    /// Everything about one job or sold contract.
    pub struct JobDetail {
        /// Its line in the list.
        pub summary: JobSummary,
        /// Its contracts, the chosen one first; one when sold, none when run here.
        pub contracts: Vec<ContractDetail>,
        /// The decision in words, line by line; empty until decided.
        pub decision: Vec<DecisionRow>,
        /// Why the chosen one was chosen, in a sentence.
        pub decision_summary: Option<String>,
        /// How the result was checked and what was found; in words.
        pub verification: Option<String>,
        /// Bytes of input and output.
        pub input_bytes: u64,
        /// None until delivered.
        pub output_bytes: Option<u64>,
        /// SHA-256 of the output.
        pub output_sha256: Option<String>,
        /// What went wrong.
        pub problem: Option<ApiProblem>,
        /// A text so far, while it is written; the whole is the output.
        pub text: Option<String>,
        /// What was asked for, when it is a text.
        pub generate: Option<GenerateFacts>,
    }

    /// What a text job asks for.
    pub struct GenerateFacts {
        /// Name of the model.
        pub model: String,
        /// Tokens of the prompt, the chat template's included.
        pub prompt_tokens: u32,
        /// Tokens to write at most.
        pub max_tokens: u32,
    }

    /// One contract of a job.
    pub struct ContractDetail {
        /// Contract id.
        pub id: String,
        /// The other side's name.
        pub with: String,
        /// Where it stands.
        #[cfg_attr(test, ts(type = "ContractStateName"))]
        pub state: ContractState,
        /// For whom it waits, in a sentence; empty when final.
        pub waits_for: String,
        /// The states it went through, with times: the contract line.
        pub steps: Vec<ContractStep>,
        /// Why it stands there, when that says more than its state: why it failed, was rejected, given up or handed back.
        pub reason: Option<String>,
        /// What it costs or earns.
        pub amount_micro_usd: Option<i64>,
        /// Joules, when measured.
        pub energy_joules: Option<f64>,
        /// The adapter that ran it.
        pub adapter: Option<String>,
        /// Whether the complete, countersigned receipt is stored.
        pub receipt: bool,
        /// Why it ended as it did, when it did not end well.
        pub problem: Option<ApiProblem>,
    }

    /// A state and when it was reached.
    pub struct ContractStep {
        /// The state.
        #[cfg_attr(test, ts(type = "ContractStateName"))]
        pub state: ContractState,
        /// When.
        pub at: String,
    }

    /// One alternative of a decision.
    pub struct DecisionRow {
        /// `this machine` or the peer's name.
        pub name: String,
        /// Cost, when it was offered.
        pub cost_micro_usd: Option<i64>,
        /// Whether the cost rests on measured figures or a signed price.
        pub cost_measured: bool,
        /// Expected time to the result.
        pub estimated_ms: Option<u64>,
        /// Chosen.
        pub chosen: bool,
        /// Answer to "why not this one?", or why it was chosen.
        pub why: String,
    }

    /// The decision behind a job, as `tender explain` prints it.
    pub struct Explanation {
        /// Plain text.
        pub text: String,
        /// The decision receipt, complete, for replay.
        #[cfg_attr(test, ts(type = "unknown"))]
        pub decision: serde_json::Value,
        /// How the expected total of each alternative that was ranked follows from its inputs.
        #[cfg_attr(test, ts(type = "unknown[]"))]
        pub whys: Vec<serde_json::Value>,
    }

    /// A paired peer.
    pub struct Peer {
        /// The peer.
        pub did: String,
        /// Its name.
        pub name: String,
        /// Where it sells; none when it only buys.
        pub address: Option<String>,
        /// The most it may owe us.
        pub credit_limit_micro_usd: i64,
        /// It owes us now.
        pub owes_us_micro_usd: i64,
        /// We owe it now.
        pub we_owe_micro_usd: i64,
        /// It holds an API key: this node signs in its name, so that its signatures prove nothing against this node.
        pub by_key: bool,
        /// When paired.
        pub paired_at: String,
        /// Trades completed with it, either way.
        pub trades: u32,
    }

    /// All peers.
    pub struct Peers {
        /// By name.
        pub peers: Vec<Peer>,
    }

    /// Make an invitation.
    pub struct InviteInput {
        /// What the new peer may owe at most.
        pub credit_limit_micro_usd: i64,
        /// Valid for so many minutes; 60 when absent, a week at most.
        pub valid_minutes: Option<u32>,
    }

    /// A one-line link to give to the peer.
    pub struct Invitation {
        /// Paste this on the other machine.
        pub link: String,
        /// After this it no longer works.
        pub expires_at: String,
    }

    /// Issue an API key to a client that does not run Tender.
    pub struct KeyInput {
        /// What to call the client.
        pub name: String,
        /// What it may owe at most.
        pub credit_limit_micro_usd: i64,
    }

    /// An API key; it is not told again.
    pub struct IssuedKey {
        /// The key, to be sent as bearer token or as `X-API-Key`.
        pub key: String,
        /// What it stands for among the peers.
        pub did: String,
    }

    /// Accept an invitation.
    pub struct AddPeerInput {
        /// The link.
        pub link: String,
        /// What the inviter may owe us at most; 0 when absent.
        pub credit_limit_micro_usd: Option<i64>,
    }

    /// Change a peer.
    pub struct ChangePeerInput {
        /// Which.
        pub did: String,
        /// What it may owe at most.
        pub credit_limit_micro_usd: i64,
    }

    /// One peer by key.
    pub struct ByDid {
        /// `did:key:…`.
        pub did: String,
    }

    /// Record a payment made outside the app: everything now owed to the peer is paid.
    pub struct PayInput {
        /// To whom.
        pub did: String,
        /// How, in words, such as `bank transfer 2026-11-21`.
        pub method: String,
        /// Real or demonstration money; real when absent.
        #[cfg_attr(test, ts(type = "'real' | 'demo' | null"))]
        pub book: Option<Book>,
    }

    /// A payment both sides recorded.
    pub struct Paid {
        /// Payment id.
        pub payment: String,
        /// How much.
        pub amount_micro_usd: i64,
        /// How many contracts it cleared.
        pub contracts: u32,
    }

    /// Switch something.
    pub struct Switch {
        /// On or off.
        pub on: bool,
    }

    /// Pause selling for a while.
    pub struct PauseInput {
        /// For so many minutes; 0 ends the pause.
        pub minutes: u32,
    }

    /// All settings with their meaning.
    pub struct Settings {
        /// In the order in which they are shown.
        pub settings: Vec<Setting>,
    }

    /// One setting.
    pub struct Setting {
        /// Its name, such as `price.embed.micro_usd`.
        pub key: String,
        /// Its value now.
        #[cfg_attr(test, ts(type = "string | number | boolean | null"))]
        pub value: serde_json::Value,
        /// Its value when never set.
        #[cfg_attr(test, ts(type = "string | number | boolean | null"))]
        pub default: serde_json::Value,
        /// What it does, with its unit and range.
        pub about: String,
    }

    /// Set one setting.
    pub struct SetSettingInput {
        /// Its name.
        pub key: String,
        /// Its new value; null returns to the default.
        #[cfg_attr(test, ts(type = "string | number | boolean | null"))]
        pub value: serde_json::Value,
    }

    /// What works on this machine.
    pub struct Doctor {
        /// One line each.
        pub checks: Vec<DoctorCheck>,
    }

    /// One thing looked at.
    pub struct DoctorCheck {
        /// What.
        pub name: String,
        /// `ok`, `warning` or `fault`.
        pub state: String,
        /// What was found.
        pub message: String,
        /// What to do about it; empty when fine.
        pub remedy: String,
    }

    /// What became of a submission.
    pub struct Submitted {
        /// The job; none for a dry run.
        pub job: Option<String>,
        /// The decision, for a dry run.
        pub explanation: Option<Explanation>,
    }

    /// A job's output.
    pub struct JobOutput {
        /// Bytes, base64.
        pub data_base64: String,
        /// SHA-256.
        pub sha256: String,
        /// How to read it, in words.
        pub layout: String,
    }

    /// A receipt as stored, for `tender verify`.
    pub struct ReceiptFile {
        /// The document.
        #[cfg_attr(test, ts(type = "unknown"))]
        pub receipt: serde_json::Value,
        /// Whether it verifies.
        pub valid: bool,
        /// Why not.
        pub problem: Option<ApiProblem>,
    }

    /// A demonstration trade with a second node on this machine.
    pub struct FirstTrade {
        /// `idle`, `running`, `done` or `failed`.
        pub state: String,
        /// The steps, in order.
        pub steps: Vec<TradeStep>,
        /// The finished jobs.
        pub jobs: Vec<TradeJob>,
        /// What went wrong.
        pub problem: Option<ApiProblem>,
    }

    /// One step of a demonstration.
    pub struct TradeStep {
        /// What is done, in a sentence.
        pub title: String,
        /// `waiting`, `running`, `done` or `failed`.
        pub state: String,
        /// What was found, in a sentence.
        pub detail: String,
        /// How long it took.
        pub ms: Option<u64>,
    }

    /// One finished job of a demonstration.
    pub struct TradeJob {
        /// Kind of work.
        #[cfg_attr(test, ts(type = "'generate' | 'embed' | 'gemm' | 'kernel' | 'wgsl'"))]
        pub kind: JobKind,
        /// Why it went where it went, in a sentence.
        pub decision: String,
        /// The price proposed.
        pub quoted_micro_usd: i64,
        /// The price charged.
        pub charged_micro_usd: i64,
        /// Whether the result passed its check.
        pub verified: bool,
        /// How it was checked and what was found.
        pub verification: String,
        /// Joules, when measured.
        pub energy_joules: Option<f64>,
        /// From submission to the countersigned receipt.
        pub wall_ms: u64,
    }

    /// An error as the UI shows it.
    pub struct ApiProblem {
        /// The cause, for programs.
        pub code: String,
        /// What happened.
        pub message: String,
        /// What to do.
        pub hint: String,
    }
}

impl From<Problem> for ApiProblem {
    fn from(problem: Problem) -> Self {
        let code = serde_json::to_value(problem.code).ok().and_then(|v| v.as_str().map(str::to_owned));
        Self { code: code.unwrap_or_default(), message: problem.message, hint: problem.hint }
    }
}
