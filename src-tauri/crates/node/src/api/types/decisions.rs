//! Decisions as a table: what was compared, how, and why not another.

use super::ApiProblem;
use serde::{Deserialize, Serialize};
use tender_base::{JobKind, JobState};

api_types! {
    /// Which decisions to list.
    pub struct DecisionsQuery {
        /// How many at most, 1 to 200; 50 when absent.
        pub limit: Option<u32>,
        /// Only those of jobs older than this one.
        pub before: Option<String>,
    }

    /// A page of decisions, newest first.
    pub struct Decisions {
        /// The decisions.
        pub decisions: Vec<DecisionSummary>,
        /// Give this as `before` to get the next page.
        pub next: Option<String>,
    }

    /// One decision in a list.
    pub struct DecisionSummary {
        /// The job that was decided about.
        pub job: String,
        /// When it was decided.
        pub at: String,
        /// What the job is, such as `24 passages`.
        pub title: String,
        /// Kind of work.
        #[cfg_attr(test, ts(type = "'generate' | 'embed' | 'gemm' | 'kernel' | 'wgsl'"))]
        pub kind: JobKind,
        /// Who was chosen; absent when nobody could be.
        pub chosen: Option<String>,
        /// The policy that chose; absent for what an earlier version decided.
        pub policy: Option<String>,
        /// Another than the best was tried, to learn about it.
        pub explored: bool,
        /// Probability with which the policy takes the one it took; absent where that follows from what was learned.
        pub odds: Option<f64>,
        /// How many alternatives there were.
        pub alternatives: u32,
        /// Of these, how many met every constraint.
        pub considered: u32,
        /// The bill that was expected of the chosen one.
        pub expected_micro_usd: Option<i64>,
        /// Whether that rests on measured figures or a signed price.
        pub measured: bool,
        /// What it came to.
        pub actual_micro_usd: Option<i64>,
    }

    /// Which decision, and by which policy it is decided again.
    pub struct DecisionQuery {
        /// The job.
        pub job: String,
        /// Another policy, such as `greedy`, `epsilon=0.1`, `graduated=0.5`, `ucb1=0.3`, `thompson` or `cheapest`; none
        /// when absent.
        pub policy: Option<String>,
    }

    /// A decision, all of it.
    pub struct DecisionView {
        /// The job that was decided about.
        pub job: String,
        /// When it was decided.
        pub at: String,
        /// What the job is.
        pub title: String,
        /// Kind of work.
        #[cfg_attr(test, ts(type = "'generate' | 'embed' | 'gemm' | 'kernel' | 'wgsl'"))]
        pub kind: JobKind,
        /// Where the job stands.
        #[cfg_attr(test, ts(type = "'queued' | 'running' | 'verifying' | 'completed' | 'failed' | 'cancelled'"))]
        pub state: JobState,
        /// What the job may cost at most.
        pub budget_micro_usd: i64,
        /// When its result must be here.
        pub deadline: String,
        /// The version of the rules that decided.
        pub engine: String,
        /// What was compared; empty for what an earlier version decided.
        pub criteria: Vec<DecisionCriterion>,
        /// The alternatives, in the order in which they are tried, then those that could not be considered.
        pub rows: Vec<DecisionAlternative>,
        /// Who was chosen.
        pub chosen: Option<String>,
        /// Why, in a sentence; why nobody was, when nobody was.
        pub summary: String,
        /// What to do when nobody was chosen; empty otherwise.
        pub hint: String,
        /// Where the cost gate drew its lines; absent when nothing was ranked.
        pub gate: Option<DecisionGate>,
        /// The policy that chose; absent for what an earlier version decided.
        pub policy: Option<String>,
        /// Seed of its draws, as text: it may exceed what JavaScript counts.
        pub seed: Option<String>,
        /// Another than the best was tried, to learn about it.
        pub explored: bool,
        /// How it was explored, in a few words.
        pub exploration: Option<String>,
        /// Probability of trying another than the best that the policy announced; absent where it follows from what was
        /// learned.
        pub exploration_rate: Option<f64>,
        /// The draw that was compared with it, 0 to 1; absent where nothing is explored.
        pub draw: Option<f64>,
        /// Decided again just now: whether the same bits came out. Absent for what an earlier version decided.
        pub same_bits: Option<bool>,
        /// Why they did not.
        pub replay_problem: Option<ApiProblem>,
        /// What was expected of the chosen one.
        pub expected: Option<DecisionOutcome>,
        /// What it came to; absent until the job has ended.
        pub actual: Option<DecisionOutcome>,
        /// What the policy asked for would have done.
        pub instead: Option<DecisionInstead>,
    }

    /// A column of the matrix.
    pub struct DecisionCriterion {
        /// `cost`, `reliability`, `latency` or `security`.
        pub name: String,
        /// Unit of its values: `USD`, `s`, or `fraction` from 0 to 1.
        pub unit: String,
        /// Whether less is better (`cost`) or more is (`benefit`).
        #[cfg_attr(test, ts(type = "'cost' | 'benefit'"))]
        pub direction: String,
        /// Its weight after the correlation adjustment; all weights sum to 1.
        pub weight: f64,
        /// Its weight before that.
        pub stated_weight: f64,
    }

    /// One place where the job could run.
    pub struct DecisionAlternative {
        /// `this machine`, or the owner's name for it.
        pub name: String,
        /// What it is.
        #[cfg_attr(test, ts(type = "'local' | 'peer' | 'agent' | 'cloud'"))]
        pub source: String,
        /// It was taken.
        pub chosen: bool,
        /// It was best; another than the one taken when exploring.
        pub best: bool,
        /// Place in the order in which they are tried, from 1; absent when it could not be considered.
        pub rank: Option<u32>,
        /// What kept it from being considered: `unavailable`, `private`, `malformed`, `over_budget`, `over_spend_cap`,
        /// `rule`, `too_late`, `skills`, `incompatible`, `memory` or `region`.
        pub excluded_by: Option<String>,
        /// Its value per criterion, in the criterion's unit; empty when it was not ranked.
        pub values: Vec<f64>,
        /// The same, made comparable, 0 to 1; of two rows the better one has less where the criterion is a cost.
        pub normalised: Vec<f64>,
        /// Closeness to the ideal, 0 to 1; says nothing across decisions.
        pub closeness: Option<f64>,
        /// What the cost gate said.
        #[cfg_attr(test, ts(type = "'passed' | 'not_below_own' | 'above_lowest' | null"))]
        pub gate: Option<String>,
        /// Probability with which the policy takes it; absent where it was not ranked, and where that follows from what
        /// was learned.
        pub odds: Option<f64>,
        /// The bill that it offers, or what the job costs here.
        pub cost_micro_usd: Option<i64>,
        /// What checking its result is expected to cost.
        pub checking_micro_usd: Option<i64>,
        /// Expected total in micro-dollars, risk and waiting included; fractions count.
        pub expected_micro_usd: Option<f64>,
        /// The same with its reliability at the lower confidence bound.
        pub cautious_micro_usd: Option<f64>,
        /// Expected time to the result.
        pub estimated_ms: Option<u64>,
        /// Whether its cost is binding or measured.
        pub measured: bool,
        /// Why not this one, in a sentence; of the one taken, why it was.
        pub why: String,
        /// What must be known of it beside its terms.
        pub note: Option<String>,
    }

    /// The two lines of the cost gate.
    pub struct DecisionGate {
        /// Both in words.
        pub text: String,
        /// Most that what is bought may come to at the lower bound of its reliability, micro-dollars; absent without the
        /// own card.
        pub cautious_micro_usd: Option<f64>,
        /// Most that what is taken may be expected to cost, micro-dollars.
        pub expected_micro_usd: Option<f64>,
    }

    /// What a job was expected to come to, or came to.
    pub struct DecisionOutcome {
        /// The bill, or what it cost here.
        pub cost_micro_usd: i64,
        /// Until the result was here.
        pub ms: u64,
    }

    /// What another policy would have done with the same knowledge and the same draws.
    pub struct DecisionInstead {
        /// The policy.
        pub policy: String,
        /// Whom it takes.
        pub chosen: Option<String>,
        /// Whether it takes the same place.
        pub same: bool,
        /// Both in a sentence.
        pub text: String,
        /// Its table.
        pub rows: Vec<DecisionAlternative>,
    }
}
