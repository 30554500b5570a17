//! `tender-worker`: the process that computes. It speaks [`tender_base::frames`] on its standard input and output,
//! writes its log to the standard error, and ends with its input. Before anything else it confines itself
//! ([`tender_compute::sandbox`]).
//!
//! `--read FOLDER` names a folder that it may read, such as the models'; `--check` enters the sandbox, prints its
//! layers as JSON and ends; `--measure` does as well, and prints what fuel metering costs, for benchmarks.

use std::{env, ffi::OsString, io, path::PathBuf, process::ExitCode, thread};
use tender_compute::{Gpu, sandbox, wgsl, worker};

/// Stack of the thread that serves. Shader compilers recurse with the nesting of a source, and the main thread's
/// stack is 1 MiB on Windows.
const STACK_BYTES: usize = 16 << 20;

/// Pairs of runs that `--measure` makes.
const MEASURED_PAIRS: usize = 20;

enum Order {
    Version,
    Check,
    Measure,
    Serve { readable: Vec<PathBuf> },
}

fn main() -> ExitCode {
    let readable = match order(env::args_os().skip(1)) {
        Ok(Order::Serve { readable }) => readable,
        Ok(Order::Version) => {
            println!("tender-worker {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Ok(Order::Check) => return print(serde_json::to_string(&sandbox::enter(&[]))),
        Ok(Order::Measure) => {
            // What serves is confined, so this is.
            let _ = sandbox::enter(&[]);
            return match Gpu::open().and_then(|gpu| wgsl::measure::fuel_pairs(&gpu, MEASURED_PAIRS)) {
                Ok(pairs) => print(serde_json::to_string(&pairs)),
                Err(e) => fail(&e.to_string()),
            };
        }
        Err(wrong) => {
            return fail(&format!("{wrong}; usage: tender-worker [--version | --check | --measure | --read FOLDER …]"));
        }
    };
    // There is no second thread yet.
    let layers = sandbox::enter(&readable);
    die_with_parent();
    let serve = move || worker::serve(io::stdin(), io::stdout().lock(), layers);
    let served = match thread::Builder::new().name("serve".into()).stack_size(STACK_BYTES).spawn(serve) {
        Ok(thread) => thread.join(),
        Err(e) => Ok(Err(e)),
    };
    match served {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(e)) => fail(&format!("the node's stream broke: {e}")),
        // The panic has been printed.
        Err(_) => ExitCode::FAILURE,
    }
}

fn order(mut arguments: impl Iterator<Item = OsString>) -> Result<Order, String> {
    let mut readable = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--version") => return Ok(Order::Version),
            Some("--check") => return Ok(Order::Check),
            Some("--measure") => return Ok(Order::Measure),
            Some("--read") => readable.push(arguments.next().ok_or("--read needs a folder")?.into()),
            _ => return Err(format!("{} is no argument", argument.display())),
        }
    }
    Ok(Order::Serve { readable })
}

/// One JSON document on the standard output.
fn print(document: serde_json::Result<String>) -> ExitCode {
    match document {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(e) => fail(&e.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("tender-worker: {why}");
    ExitCode::FAILURE
}

/// A node that is killed takes its worker along, also in the middle of a job. After the sandbox: entering a namespace
/// may take this back.
#[cfg(target_os = "linux")]
fn die_with_parent() {
    // SAFETY: prctl(PR_SET_PDEATHSIG) takes an integer and touches no memory of ours.
    #[allow(unsafe_code)]
    let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if set != 0 {
        eprintln!("tender-worker: will not end with the node during a job: {}", io::Error::last_os_error());
    }
}

/// Elsewhere the end of the standard input ends the worker after its current job.
#[cfg(not(target_os = "linux"))]
fn die_with_parent() {}
