//! What can be asked of the kernel (seccomp).
//!
//! A list of what is forbidden, not of what is allowed: the drivers of four vendors, in versions yet to come, use calls
//! that nobody can list in advance, and a driver that meets a refusal where it expects none crashes. What is forbidden
//! fails with `EPERM`, as in a container, and drivers cope with that. Calls newer than [`NEWEST`] fail as if the kernel
//! were older, which also closes the second numbering (x32) of x86-64. Calls that need a capability are not listed:
//! there is none left.

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::collections::BTreeMap;

/// Forbidden whatever the arguments.
const FORBIDDEN: &[c_long] = &[
    // The network, and the sockets of the desktop, of containers and of key agents. The standard streams are pipes.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Does all of this and file access besides, past this filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes of the same user: their memory, files, limits and life.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // Keys of the same user.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // A new namespace has all capabilities inside, and with them a large part of the kernel; mounts change what the
    // rules about files mean.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    // Doors through which kernels have been entered, and which no driver uses.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_personality,
    libc::SYS_vmsplice,
    // Landlock does not cover what files are called, whose they are and when they were touched.
    libc::SYS_truncate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
];

/// Those that only the older numberings have.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_OLD: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_creat,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_OLD: &[c_long] = &[];

/// These hide their arguments in memory; who uses them falls back to calls that can be looked at.
const UNKNOWN: &[c_long] = &[libc::SYS_clone3, libc::SYS_openat2];

/// The newest call that this list has considered: `mseal`, Linux 6.10. From 424 on, numbers are the same everywhere.
const NEWEST: c_long = 462;

/// `kernel` pushes a character into the input of a terminal.
const PUSHES_INPUT: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// Installs the filters for this thread and all that it starts.
pub(super) fn enter() -> Result<(), String> {
    let filter = forbidden().map_err(|e| e.to_string())?;
    seccompiler::apply_filter(&unknown()).and_then(|()| seccompiler::apply_filter(&filter)).map_err(|e| e.to_string())
}

fn forbidden() -> Result<BpfProgram, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        FORBIDDEN.iter().chain(FORBIDDEN_OLD).map(|&call| (call, Vec::new())).collect();
    let when = |argument, comparison, value| {
        SeccompCondition::new(argument, Dword, comparison, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    let own = u64::from(std::process::id());
    // Only to itself: the C library does so when it aborts.
    rules.insert(libc::SYS_kill, vec![when(0, SeccompCmpOp::Ne, own)?]);
    rules.insert(libc::SYS_tgkill, vec![when(0, SeccompCmpOp::Ne, own)?]);
    // Its own limits may be looked at and lowered.
    rules.insert(libc::SYS_prlimit64, vec![when(0, SeccompCmpOp::Ne, 0)?]);
    // Threads, but no processes.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![when(0, SeccompCmpOp::MaskedEq(thread), 0)?]);
    // Kernels before 6.2 do not ask Landlock about truncation.
    let truncating = libc::O_TRUNC as u64;
    rules.insert(libc::SYS_openat, vec![when(2, SeccompCmpOp::MaskedEq(truncating), truncating)?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![when(1, SeccompCmpOp::MaskedEq(truncating), truncating)?]);
    let pushes: Result<_, _> = PUSHES_INPUT.into_iter().map(|request| when(1, SeccompCmpOp::Eq, request)).collect();
    rules.insert(libc::SYS_ioctl, pushes?);
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32), arch)?.try_into()
}

/// `if number > NEWEST || UNKNOWN.contains(number) { ENOSYS } else { allow }`, which the library cannot express.
fn unknown() -> BpfProgram {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let step = |code, jt, k| sock_filter { code, jt, jf: 0, k };
    let count = UNKNOWN.len() as u8;
    // The number is the first word of what the kernel shows to a filter.
    let mut program = vec![step(LOAD, 0, 0), step(IF_GREATER, count + 1, NEWEST as u32)];
    program.extend(UNKNOWN.iter().zip((1..=count).rev()).map(|(&call, skip)| step(IF_EQUAL, skip, call as u32)));
    program.push(step(RETURN, 0, libc::SECCOMP_RET_ALLOW));
    program.push(step(RETURN, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32));
    program
}
