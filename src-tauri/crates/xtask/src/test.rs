//! `cargo xtask test`: the set-up, then the stages in order. The first failure ends it.

use crate::{
    command, models, peers, stages,
    system::{self, Need},
    tools, ui,
    workspace::Workspace,
};
use std::time::{Duration, Instant};
use tender_base::{Code, Problem};

/// One part of the whole.
pub struct Stage {
    /// Its name for `--stage`.
    pub name: &'static str,
    /// Does it; answers how many tests passed, where tests are counted.
    pub run: fn(&Workspace) -> Result<u64, Problem>,
}

/// Sets up and runs all stages, or the one that is named.
///
/// # Errors
/// When the set-up or a stage fails.
pub fn test(only: Option<&str>) -> Result<(), Problem> {
    let chosen: Vec<&Stage> = stages::ALL.iter().filter(|stage| only.is_none_or(|name| name == stage.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = stages::ALL.iter().map(|stage| stage.name).collect();
        return Err(Problem::new(Code::Invalid, "there is no such stage", format!("one of: {}", names.join(", "))));
    }
    let workspace = Workspace::find()?;
    let set_up = Stage { name: "set-up", run: set_up };
    let mut times: Vec<(&str, Duration)> = Vec::new();
    let (mut tests, mut failure) = (0, None);
    for stage in std::iter::once(&set_up).chain(chosen) {
        eprintln!("\n=== {}", stage.name);
        let started = Instant::now();
        let outcome = (stage.run)(&workspace);
        times.push((stage.name, started.elapsed()));
        eprintln!("=== {} took {}", stage.name, seconds(started.elapsed()));
        match outcome {
            Ok(passed) => tests += passed,
            Err(problem) => {
                let message = format!("stage {} failed: {}", stage.name, problem.message);
                failure = Some(Problem::new(problem.code, message, problem.hint));
                break;
            }
        }
    }
    println!("\nTimes");
    for (name, time) in &times {
        println!("  {name:<10} {:>8}", seconds(*time));
    }
    println!("  {:<10} {:>8}", "in all", seconds(times.iter().map(|(_, time)| *time).sum()));
    println!("{tests} passed, {} failed", u8::from(failure.is_some()));
    failure.map_or(Ok(()), Err)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn set_up(workspace: &Workspace) -> Result<u64, Problem> {
    system::set_up(Need::Tests)?;
    models::set_up()?;
    ui::install(workspace)?;
    peers::a2a(workspace)?;
    peers::economics(workspace)?;
    // All platforms' crates: licences and bans are checked for each, and without the network.
    command::run(workspace.cargo().args(["fetch", "--quiet", "--locked"]))?;
    tools::set_up(workspace)?;
    Ok(0)
}
