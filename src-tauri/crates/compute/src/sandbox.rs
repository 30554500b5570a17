//! What the worker gives up before it touches a driver or a client's byte, so that a bug in a driver, a shader compiler
//! or a tokenizer is not the way into the machine.
//!
//! On Linux, from the first instruction of `main`, while there is one thread:
//!
//! 1. *Namespaces*: an empty network, IPC and UTS namespace, inside a user namespace where one is needed.
//! 2. *Files* (Landlock): libraries and the drivers' files can be read, the graphics devices used, the models' folders
//!    read. Nothing can be written, executed or even listed anywhere else; there is no home directory.
//! 3. *System calls* (seccomp): no sockets, no new processes, nothing that reaches another process, no change of
//!    attributes, none of the kernel's rarely used doors. See [`syscalls`] for the list and its reasons.
//!
//! Capabilities are dropped, no privilege can be gained (`no_new_privs`), no core is written, and when memory runs out
//! the worker is what the kernel ends first. Each layer is independent of the others and is reported as active or not;
//! a missing one stops nothing here, but the node sells less.
//!
//! What is deliberately absent: a mount and a PID namespace (Landlock decides what opens, no mount call passes, and a
//! PID namespace needs a second process to live in); a limit on address space (drivers reserve hundreds of gigabytes of
//! it); a limit on processes (it counts the user's, not this one's; the filter forbids them altogether).
//!
//! Other systems have no layer yet: everything is reported as missing.

use std::path::PathBuf;
use tender_base::frames::Sandbox;

#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod namespaces;
#[cfg(target_os = "linux")]
mod syscalls;

/// Most files that may be open: a driver uses some dozens, and a Vulkan loader that looks through everything a hundred.
#[cfg(target_os = "linux")]
const MAX_OPEN_FILES: u64 = 1024;

/// Confines this process for the rest of its life; only `readable` can be read besides what drivers need. Says on the
/// standard error why a layer is missing.
///
/// Must be called before the first thread is started.
#[must_use]
#[cfg(target_os = "linux")]
pub fn enter(readable: &[PathBuf]) -> Sandbox {
    first_to_go();
    limit(libc::RLIMIT_CORE, 0, "core dumps");
    limit(libc::RLIMIT_NOFILE, MAX_OPEN_FILES, "open files");
    let active = |layer: &str, entered: Result<(), String>| match entered {
        Ok(()) => true,
        Err(why) => {
            eprintln!("tender-worker: the sandbox has no layer for {layer}: {why}");
            false
        }
    };
    let namespaces = active("namespaces", namespaces::enter());
    if let Err(why) = namespaces::drop_capabilities() {
        eprintln!("tender-worker: keeps its capabilities: {why}");
    }
    let files = active("files", files::enter(readable));
    // Last, since it forbids what the others do.
    let syscalls = active("system calls", syscalls::enter());
    Sandbox { namespaces, files, syscalls }
}

/// Confines nothing: this system has no layer yet.
#[must_use]
#[cfg(not(target_os = "linux"))]
pub fn enter(_readable: &[PathBuf]) -> Sandbox {
    Sandbox::default()
}

/// Ends this process at once, without waiting for a driver that never returns.
pub fn end() -> ! {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: sends a signal to this process and touches no memory.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(libc::getpid(), libc::SIGKILL)
        };
    }
    std::process::abort()
}

/// When memory runs out, the kernel ends this process before the node and before the owner's programs.
#[cfg(target_os = "linux")]
fn first_to_go() {
    if let Err(e) = std::fs::write("/proc/self/oom_score_adj", "1000") {
        eprintln!("tender-worker: cannot volunteer to end first when memory runs out: {e}");
    }
}

#[cfg(target_os = "linux")]
fn limit(resource: libc::__rlimit_resource_t, most: u64, what: &str) {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the struct they are given.
    #[allow(unsafe_code)]
    let set = unsafe {
        libc::getrlimit(resource, &raw mut now);
        let lower = libc::rlimit { rlim_cur: most.min(now.rlim_max), rlim_max: most.min(now.rlim_max) };
        libc::setrlimit(resource, &raw const lower)
    };
    if set != 0 {
        eprintln!("tender-worker: cannot limit {what}: {}", std::io::Error::last_os_error());
    }
}
