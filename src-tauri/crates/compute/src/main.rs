//! `tender-worker`: the process that computes. It speaks [`tender_base::frames`] on its standard input and output,
//! writes its log to the standard error, and ends with its input. Before anything else it confines itself
//! ([`tender_compute::sandbox`]).
//!
//! `--read FOLDER` names a folder that it may read, such as the models'; `--check` enters the sandbox, prints its
//! layers as JSON and ends.

use std::{env, ffi::OsString, io, path::PathBuf, process::ExitCode, thread};
use tender_compute::{sandbox, worker};

/// Stack of the thread that serves. Shader compilers recurse with the nesting of a source, and the main thread's
/// stack is 1 MiB on Windows.
const STACK_BYTES: usize = 16 << 20;

enum Order {
    Version,
    Check,
    Serve { readable: Vec<PathBuf> },
}

fn main() -> ExitCode {
    let readable = match order(env::args_os().skip(1)) {
        Ok(Order::Serve { readable }) => readable,
        Ok(Order::Version) => {
            println!("tender-worker {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Ok(Order::Check) => {
            return match serde_json::to_string(&sandbox::enter(&[])) {
                Ok(layers) => {
                    println!("{layers}");
                    ExitCode::SUCCESS
                }
                Err(e) => fail(&e.to_string()),
            };
        }
        Err(wrong) => return fail(&format!("{wrong}; usage: tender-worker [--version | --check | --read FOLDER …]")),
    };
    // There is no second thread yet.
    let layers = sandbox::enter(&readable);
    die_with_parent();
    let serve = move || worker::serve(io::stdin().lock(), io::stdout().lock(), layers);
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
            Some("--read") => readable.push(arguments.next().ok_or("--read needs a folder")?.into()),
            _ => return Err(format!("{} is no argument", argument.display())),
        }
    }
    Ok(Order::Serve { readable })
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
