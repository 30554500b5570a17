//! `tender`: hosts a node and talks to one.
//!
//! With `--json` every command prints one JSON document on standard output, and an error is one on standard error;
//! without, an error is a line there. The exit is non-zero either way.

mod agents;
mod args;
mod ask;
mod bench;
mod breakeven;
mod decide;
mod demo;
mod files;
mod models;
mod offline;
mod own_log;
mod price;
mod print;
mod replay;
mod runtimes;
mod serve;
mod simulate;
mod submit;

use args::{Args, Command};
use clap::{CommandFactory, Parser};
use std::{path::Path, process::ExitCode, sync::Mutex, time::Duration};
use tender_base::{Code, Problem};

/// How long blocking calls into drivers may still take when everything else has ended.
const LAST_CALLS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let args = Args::parse();
    let json = args.json;
    log(&args);
    // Two threads serve a desktop; each one costs an idle node memory.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(args));
            // A driver that does not answer must not keep the process.
            runtime.shutdown_timeout(LAST_CALLS);
            outcome
        }
        Err(e) => Err(Problem::new(Code::Internal, format!("the runtime does not start: {e}"), "")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            print::problem(json, &problem);
            ExitCode::FAILURE
        }
    }
}

/// Tells standard error what is wrong, and a hosted node's log file a little more.
fn log(args: &Args) {
    use tracing_subscriber::{EnvFilter, fmt, prelude::*};
    let wanted = |otherwise| EnvFilter::try_from_env("TENDER_LOG").unwrap_or_else(|_| EnvFilter::new(otherwise));
    let file = matches!(args.command, Command::Serve(_)).then(|| {
        let dir = args.data_dir.clone().unwrap_or_else(tender_node::attach::default_data_dir);
        tender_node::log_file::LogFile::open(&dir)
    });
    let (file, failed) = match file.transpose() {
        Ok(file) => (file, None),
        Err(e) => (None, Some(e)),
    };
    let file = file.map(|file| fmt::layer().with_ansi(false).with_writer(Mutex::new(file)));
    tracing_subscriber::registry()
        .with(fmt::layer().with_writer(std::io::stderr).with_filter(wanted("warn")))
        .with(file.map(|file| file.with_filter(wanted("info"))))
        .init();
    if let Some(error) = failed {
        tracing::warn!(%error, "there is no log file");
    }
}

async fn run(args: Args) -> Result<(), Problem> {
    let Args { json, data_dir, command } = args;
    let dir = data_dir.unwrap_or_else(tender_node::attach::default_data_dir);
    match command {
        Command::Serve(options) => serve::run(dir, options, json).await,
        Command::Demo { worker } => demo::run(worker, json).await,
        Command::Submit(options) => submit::run(&dir, *options, json).await,
        Command::Models { command } => models::run(&dir, command, json).await,
        Command::Runtimes { command } => runtimes::run(&dir, command, json).await,
        Command::Agents { command } => agents::run(&dir, command, json).await,
        Command::Identity { command } => {
            offline::identity(&dir, command.unwrap_or(args::IdentityCommand::Show), json).await
        }
        Command::Price(options) => price::run(&dir, options, json).await,
        Command::Breakeven(options) if options.log.log => own_log::run(&dir, &options.log, json).await,
        Command::Breakeven(options) => breakeven::run(&options, json),
        Command::Simulate(options) => simulate::run(&options, json),
        Command::Decide { matrix } => decide::run(&matrix, json),
        Command::Replay(options) => replay::run(&dir, &options, json).await,
        Command::Verify { file } => offline::verify(&file, json),
        Command::Backup { to } => offline::backup(&dir, &to, json).await,
        Command::Restore { from } => offline::restore(&from, &dir, json).await,
        Command::Bench(bench) => bench::run(bench, json).await,
        Command::Manual { to } => manual(&to),
        other => ask::run(&dir, other, json).await,
    }
}

/// One page for each command, from the same words as `--help`.
fn manual(to: &Path) -> Result<(), Problem> {
    clap_mangen::generate_to(Args::command(), to)
        .map_err(|error| Problem::new(Code::Storage, format!("cannot write into {}: {error}", to.display()), ""))
}
