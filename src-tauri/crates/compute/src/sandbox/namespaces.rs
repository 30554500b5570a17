//! An empty network, and privileges dropped.

use std::{fs, io};

/// No network but a loopback that is down, no shared memory or queues of others, no host name.
const EMPTY: libc::c_int = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Moves this process into namespaces of its own.
pub(super) fn enter() -> Result<(), String> {
    // SAFETY: takes and returns integers.
    #[allow(unsafe_code)]
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    match unshare(EMPTY | libc::CLONE_NEWUSER) {
        Ok(()) => {
            // Inside, the user keeps its number; without a map drivers would see the overflow user. Groups that the
            // user is in still count when files are opened.
            let mapped = fs::write("/proc/self/setgroups", "deny")
                .and_then(|()| fs::write("/proc/self/uid_map", format!("{user} {user} 1")))
                .and_then(|()| fs::write("/proc/self/gid_map", format!("{group} {group} 1")));
            if let Err(e) = mapped {
                eprintln!("tender-worker: the user has no number in its namespace: {e}");
            }
            Ok(())
        }
        // Root in a container may be allowed the one and not the other.
        Err(e) => unshare(EMPTY).map_err(|_| format!("unshare: {e}")),
    }
}

/// Gives up every capability, those inside of a user namespace too.
pub(super) fn drop_capabilities() -> Result<(), String> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    /// `_LINUX_CAPABILITY_VERSION_3`: two sets of effective, permitted and inheritable bits.
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [0_u32; 6];
    // SAFETY: the kernel reads the header and the two sets of three words that its version asks for.
    #[allow(unsafe_code)]
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    if set == 0 { Ok(()) } else { Err(format!("capset: {}", io::Error::last_os_error())) }
}

fn unshare(namespaces: libc::c_int) -> io::Result<()> {
    // SAFETY: takes an integer; there is one thread.
    #[allow(unsafe_code)]
    let done = unsafe { libc::unshare(namespaces) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
