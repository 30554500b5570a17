//! `tender-worker`: the process that computes. It speaks [`tender_base::frames`] on its standard input and output,
//! writes its log to the standard error, and ends with its input.

use std::{io, process::ExitCode, thread};

/// Stack of the thread that serves. Shader compilers recurse with the nesting of a source, and the main thread's
/// stack is 1 MiB on Windows.
const STACK_BYTES: usize = 16 << 20;

fn main() -> ExitCode {
    if let Some(argument) = std::env::args().nth(1) {
        println!("tender-worker {}", env!("CARGO_PKG_VERSION"));
        return if argument == "--version" { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    die_with_parent();
    let serve = || tender_compute::worker::serve(io::stdin().lock(), io::stdout().lock());
    let served = match thread::Builder::new().name("serve".into()).stack_size(STACK_BYTES).spawn(serve) {
        Ok(thread) => thread.join(),
        Err(e) => Ok(Err(e)),
    };
    match served {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(e)) => {
            eprintln!("tender-worker: the node's stream broke: {e}");
            ExitCode::FAILURE
        }
        // The panic has been printed.
        Err(_) => ExitCode::FAILURE,
    }
}

/// A node that is killed takes its worker along, also in the middle of a job.
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
