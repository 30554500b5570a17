//! `cargo xtask run` and `cargo xtask test`: from a fresh clone to a running app, or to a verdict, with all the
//! set-up in between. Each verb installs only what it needs and says so before it does.

mod calibrate;
mod command;
mod fuzz;
mod models;
#[cfg(unix)]
mod package;
mod peers;
mod run;
mod stages;
mod system;
mod test;
mod tools;
mod ui;
mod workspace;

use std::process::ExitCode;
use tender_base::{Code, Problem};

const USAGE: &str = "\
cargo xtask run                  set up, build and start Tender; without a display, start its node
cargo xtask test                 set up and run every test
cargo xtask test --stage NAME    set up and run one stage; an unknown name lists them
cargo xtask package              build the Debian packages of app and node into target/package
cargo xtask measure              what the app costs: time to start, memory, idle processor time; into target/desktop.json
cargo xtask peers                install what is compared with: A2A's SDKs, pymcdm, llama.cpp, cuBLAS on NVIDIA cards
cargo xtask fuzz [TARGET]        search for inputs that break the decoders, a minute each
cargo xtask calibrate            record what honest engines and cheats write, for the check of texts; resumable
";

/// The packed programs, measured by a test of the desktop.
#[cfg(unix)]
fn measure() -> Result<(), Problem> {
    let workspace = workspace::Workspace::find()?;
    package::build(&workspace)?;
    let mut measure = stages::nextest(&workspace);
    measure.args(["--profile", "desktop", "--run-ignored", "only", "--no-capture"]);
    measure.env("TENDER_PROGRAMS", workspace.target.join("release"));
    command::run(measure.env("TENDER_RESULT", workspace.target.join("desktop.json")))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["run"] => run::run(),
        #[cfg(unix)]
        ["package"] => package::package(),
        #[cfg(unix)]
        ["measure"] => measure(),
        ["peers"] => peers::install(),
        ["fuzz"] => fuzz::fuzz(None),
        ["fuzz", target] => fuzz::fuzz(Some(target)),
        ["calibrate"] => calibrate::calibrate(),
        ["test"] => test::test(None),
        ["test", "--stage", name] => test::test(Some(name)),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => Err(Problem::new(Code::Invalid, format!("unknown: {}", other.join(" ")), format!("\n{USAGE}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\nxtask: {}", problem.message);
            if !problem.hint.is_empty() {
                eprintln!("       {}", problem.hint);
            }
            ExitCode::FAILURE
        }
    }
}
