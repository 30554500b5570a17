//! `cargo xtask run`.

use crate::{
    command, models,
    system::{self, Need},
    ui,
    workspace::Workspace,
};
use serde_json::Value;
use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};
use tender_base::{Code, Problem};

/// Sets up, builds and starts the app; without a display, the node, whose UI is the same.
///
/// # Errors
/// When a step fails, with what to do.
pub fn run() -> Result<(), Problem> {
    let workspace = Workspace::find()?;
    let display = has_display();
    system::set_up(if display { Need::App } else { Need::Node })?;
    models::set_up()?;
    ui::install(&workspace)?;
    ui::build(&workspace)?;
    let mut build = workspace.cargo();
    build.args(["build", "--locked", "--bins", "--package", "tender-compute", "--package", "tender-cli"]);
    if display {
        build.args(["--package", "tender-app"]);
    }
    command::run(&mut build)?;
    if display {
        return command::run(&mut Command::new(workspace.program("tender-app")));
    }
    serve(&workspace)
}

fn has_display() -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux") || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

/// Hosts the node in the foreground and says where its UI is.
fn serve(workspace: &Workspace) -> Result<(), Problem> {
    let tender = workspace.program("tender");
    let mut command = Command::new(&tender);
    command.args(["serve", "--json"]).stdout(Stdio::piped());
    eprintln!("No display: starting the node, which serves the same interface.\n$ {}", command::words(&command));
    let failed = |error: std::io::Error| {
        Problem::new(Code::Unavailable, format!("{} does not start: {error}", tender.display()), "")
    };
    let mut child = command.spawn().map_err(failed)?;
    if let Some(out) = child.stdout.take() {
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        if let Some(address) = lines.next().and_then(|line| serde_json::from_str::<Value>(&line).ok()) {
            let api = address["api"].as_str().unwrap_or_default();
            println!("\nTender runs. Open  {api}");
            println!("and choose \"Run a first trade\"; or, in another terminal:  {} demo", tender.display());
            println!("Ctrl-C ends it.\n");
        }
        // Events follow; unread, they would fill the pipe and stop the node.
        for line in lines {
            println!("{line}");
        }
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(Problem::new(Code::Unavailable, format!("the node ended with {status}"), "its own words stand above"))
}
