//! The local API: every operation is declared here, once. The node's HTTP listener, the desktop shell's relay and
//! the TypeScript client all follow this list.
//!
//! `POST /api/{name}` with a JSON body answers a query or a command; a command may carry an `Idempotency-Key`
//! header. `GET /api/{name}?after=N` opens a subscription as server-sent events: a whole snapshot each time,
//! numbered, so that who lags simply gets a newer one.

pub mod types;

#[cfg(feature = "host")]
mod decisions;
#[cfg(feature = "host")]
mod demand;
#[cfg(feature = "host")]
mod earnings;
#[cfg(feature = "host")]
pub(crate) mod economics;
#[cfg(feature = "host")]
mod guard;
#[cfg(feature = "host")]
pub(crate) mod handlers;
#[cfg(feature = "host")]
pub(crate) mod http;
#[cfg(feature = "host")]
mod machine;
#[cfg(feature = "host")]
pub(crate) mod simulation;
#[cfg(feature = "host")]
pub(crate) mod views;

use serde::{Deserialize, Serialize};

/// What an operation may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Looks.
    Query,
    /// Changes something.
    Command,
    /// Answers again and again.
    Subscription,
}

/// One operation of the API.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Its name in the path.
    pub name: &'static str,
    /// What it may do.
    pub kind: Kind,
}

/// Calls the macro `$with` with the list of operations: `name: Kind, Input => Output;`.
macro_rules! with_operations {
    ($with:ident) => {
        $with! {
            overview: Query, Nothing => Overview;
            jobs: Query, JobsQuery => JobPage;
            job: Query, ById => JobDetail;
            explain: Query, ById => Explanation;
            decisions: Query, DecisionsQuery => Decisions;
            decision: Query, DecisionQuery => DecisionView;
            job_input: Query, ById => JobOutput;
            output: Query, ById => JobOutput;
            receipt: Query, ById => ReceiptFile;
            earnings: Query, EarningsQuery => Earnings;
            earnings_lines: Query, EarningsQuery => EarningsLines;
            demand: Query, DemandQuery => Demand;
            peers: Query, Nothing => Peers;
            settings: Query, Nothing => Settings;
            doctor: Query, Nothing => Doctor;
            guard: Query, Nothing => Guard;
            support_bundle: Query, Nothing => SupportBundle;
            models: Query, Nothing => Models;
            runtimes: Query, Nothing => Runtimes;
            agents: Query, Nothing => Agents;
            prices: Query, PricesQuery => Prices;
            breakeven_log: Query, LogQuery => LogAnswer;
            api_prices: Query, Nothing => ApiPriceList;
            breakeven_presets: Query, Nothing => BreakevenPresets;
            breakeven: Query, BreakevenQuery => BreakevenAnswer;
            breakeven_usage: Query, UsageQuery => UsageAnswer;
            simulation_presets: Query, Nothing => SimulationPresets;
            simulate: Query, SimulationInput => Simulation;
            simulation_report: Query, SimulationInput => SimulationReport;
            simulation_progress: Query, Nothing => SimulationProgress;
            stop_simulation: Command, Nothing => Nothing;
            submit: Command, SubmitInput => Submitted;
            cancel_job: Command, ById => Nothing;
            run_again: Command, ById => Submitted;
            sell: Command, Switch => Selling;
            pause: Command, PauseInput => Selling;
            finish_then_pause: Command, Switch => Selling;
            test_guard: Command, Nothing => Guard;
            stop_everything: Command, Switch => Overview;
            set_setting: Command, SetSettingInput => Settings;
            invite: Command, InviteInput => Invitation;
            issue_key: Command, KeyInput => IssuedKey;
            add_peer: Command, AddPeerInput => Peer;
            change_peer: Command, ChangePeerInput => Peer;
            remove_peer: Command, ByDid => Nothing;
            record_payment: Command, PayInput => Paid;
            start_first_trade: Command, Nothing => FirstTrade;
            download_model: Command, ByModel => Models;
            cancel_download: Command, ByModel => Models;
            add_model: Command, AddModelInput => Models;
            remove_model: Command, RemoveModelInput => Models;
            attach_runtime: Command, AttachRuntimeInput => Runtimes;
            detach_runtime: Command, ByRuntime => Runtimes;
            add_agent: Command, AddAgentInput => Agents;
            remove_agent: Command, ByAgent => Agents;
            set_price: Command, SetPriceInput => Prices;
            use_breakeven: Command, LogQuery => LogAnswer;
            drop_breakeven: Command, Nothing => Nothing;
            write_backup: Command, BackupInput => Backup;
            run_benchmark: Command, BenchmarkInput => Benchmark;
            stop_benchmark: Command, Nothing => Benchmark;
            watch_overview: Subscription, Nothing => Overview;
            watch_jobs: Subscription, Nothing => JobPage;
            watch_first_trade: Subscription, Nothing => FirstTrade;
            watch_models: Subscription, Nothing => Models;
            watch_runtimes: Subscription, Nothing => Runtimes;
            watch_agents: Subscription, Nothing => Agents;
            watch_guard: Subscription, Nothing => Guard;
            watch_benchmark: Subscription, Nothing => Benchmark;
            watch_machine: Subscription, Nothing => Machine;
        }
    };
}
#[cfg(feature = "host")]
pub(crate) use with_operations;

macro_rules! operation_list {
    ($($name:ident: $kind:ident, $input:ident => $output:ident;)*) => {
        /// Every operation.
        pub const OPERATIONS: &[Operation] = &[$(Operation { name: stringify!($name), kind: Kind::$kind }),*];

        /// The map from operation to kind, input and output, for TypeScript.
        #[cfg(test)]
        fn typescript_operations() -> String {
            let mut text = String::from("export type Operations = {\n");
            $(text.push_str(&format!(
                "  {}: {{ kind: '{}'; input: {}; output: {} }};\n",
                stringify!($name), stringify!($kind).to_lowercase(), stringify!($input), stringify!($output)
            ));)*
            text.push_str("};\n");
            text
        }
    };
}
with_operations!(operation_list);

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed TypeScript equals what the Rust types say. `TENDER_WRITE_TYPES=1` writes it anew.
    #[test]
    fn typescript_types_are_fresh() {
        let config = ts_rs::Config::new().with_large_int("number");
        let mut text = String::from(
            "// Generated from tender-node's API types by `TENDER_WRITE_TYPES=1 cargo test -p tender-node typescript`. Do not edit.\n\n",
        );
        text.push_str("export type ContractStateName =\n  | 'announced' | 'proposed' | 'awarded' | 'running' | 'delivered' | 'accepted' | 'settled'\n  | 'rejected' | 'lapsed' | 'failed' | 'abandoned' | 'handed_back';\n\n");
        let triggers = tender_host::guard::Trigger::ALL.map(|trigger| format!("'{}'", trigger.name())).join(" | ");
        text.push_str(&format!("export type GuardTriggerName =\n  | {triggers};\n\n"));
        let all = [
            types::typescript(&config),
            types::submit::typescript(&config),
            types::models::typescript(&config),
            types::runtimes::typescript(&config),
            types::agents::typescript(&config),
            types::economics::typescript(&config),
            types::simulation::typescript(&config),
            types::prices::typescript(&config),
            types::decisions::typescript(&config),
            types::guard::typescript(&config),
            types::demand::typescript(&config),
            types::support::typescript(&config),
            types::earnings::typescript(&config),
            types::machine::typescript(&config),
            types::benchmark::typescript(&config),
        ];
        for (docs, declaration) in all.into_iter().flatten() {
            text.push_str(&docs.unwrap_or_default());
            text.push_str("export ");
            text.push_str(&declaration);
            text.push_str("\n\n");
        }
        text.push_str(&typescript_operations());
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../ui/src/lib/api/types.ts");
        if std::env::var_os("TENDER_WRITE_TYPES").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "ui/src/lib/api/types.ts is stale: run TENDER_WRITE_TYPES=1 cargo test -p tender-node typescript"
        );
    }
}
