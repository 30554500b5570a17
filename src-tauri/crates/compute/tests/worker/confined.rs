//! What a worker that was taken over could do: each attempt is made by a process inside of the real sandbox.
//!
//! Where a layer does not exist (an old kernel, a strict container) what it forbids is not asked for; system calls
//! can be filtered everywhere.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "forks, and makes the system calls that a library would not make")]

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::FromRawFd as _,
        unix::{
            fs::{PermissionsExt as _, symlink},
            net::{UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;
use tender_base::frames::Sandbox;
use tender_compute::sandbox;

/// Runs `attempts` in a new process inside of the sandbox and returns its layers and what came of each attempt.
fn inside(readable: &[PathBuf], attempts: impl FnOnce(&mut Vec<(&'static str, io::Result<()>)>)) -> Outcome {
    let mut pipe = [0; 2];
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the child has this thread alone, touches nothing that another could have locked but the allocator, which
    // the C library hands over unlocked, and never returns.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let layers = sandbox::enter(readable);
        let mut outcomes = Vec::new();
        attempts(&mut outcomes);
        let mut said = serde_json::to_string(&layers).unwrap();
        for (name, outcome) in outcomes {
            said += &format!("\n{name}\t{}", outcome.map_or_else(|e| e.raw_os_error().unwrap_or(-1), |()| 0));
        }
        // SAFETY: the write end is this process's own.
        let written = unsafe { File::from_raw_fd(pipe[1]) }.write_all(said.as_bytes());
        unsafe { libc::_exit(i32::from(written.is_err())) };
    }
    let mut said = String::new();
    unsafe { libc::close(pipe[1]) };
    unsafe { File::from_raw_fd(pipe[0]) }.read_to_string(&mut said).unwrap();
    let mut status = 0;
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "{said}");
    let mut lines = said.lines();
    let layers = serde_json::from_str(lines.next().unwrap()).unwrap();
    let attempts = lines.map(|line| line.split_once('\t').unwrap()).map(|(n, e)| (n.to_owned(), e.parse().unwrap()));
    Outcome { layers, attempts: attempts.collect() }
}

struct Outcome {
    layers: Sandbox,
    /// Name and error number, 0 when it succeeded.
    attempts: Vec<(String, i32)>,
}

impl Outcome {
    fn all_fail(&self) {
        assert!(!self.attempts.is_empty());
        for (name, error) in &self.attempts {
            assert_ne!(*error, 0, "{name} succeeded; {:?}", self.layers);
        }
    }

    fn all_succeed(&self) {
        assert!(!self.attempts.is_empty());
        for (name, error) in &self.attempts {
            assert_eq!(*error, 0, "{name} failed: {}; {:?}", io::Error::from_raw_os_error(*error), self.layers);
        }
    }
}

/// The result of a raw system call.
fn call(number: libc::c_long, arguments: [usize; 5]) -> io::Result<()> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: every pointer that the tests pass is null or lives as long as the call.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[test]
fn system_calls_are_filtered_on_every_linux() {
    let layers = inside(&[], |_| ()).layers;
    assert!(layers.syscalls, "{layers:?}");
}

#[test]
fn no_socket_reaches_anyone() {
    let folder = TempDir::new().unwrap();
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let unix = folder.path().join("stream");
    let datagram = folder.path().join("datagram");
    let _listening = (UnixListener::bind(&unix).unwrap(), UnixDatagram::bind(&datagram).unwrap());
    let (tcp, udp) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
    // The listeners do answer outside.
    TcpStream::connect(tcp).unwrap();
    UnixStream::connect(&unix).unwrap();
    inside(&[folder.path().to_owned()], |tried| {
        tried.push(("TCP connect", TcpStream::connect(tcp).map(drop)));
        tried.push(("TCP listen", TcpListener::bind("127.0.0.1:0").map(drop)));
        tried.push(("UDP", UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(b"x", udp)).map(drop)));
        tried.push(("UNIX stream", UnixStream::connect(&unix).map(drop)));
        tried.push(("UNIX datagram", UnixDatagram::unbound().and_then(|s| s.send_to(b"x", &datagram)).map(drop)));
        let netlink = [libc::AF_NETLINK as usize, libc::SOCK_RAW as usize, 0, 0, 0];
        tried.push(("netlink", call(libc::SYS_socket, netlink)));
        let ring = [0_u8; 256];
        tried.push(("io_uring", call(libc::SYS_io_uring_setup, [4, ring.as_ptr() as usize, 0, 0, 0])));
    })
    .all_fail();
}

#[test]
fn no_file_of_the_owner_opens_and_none_can_be_changed() {
    let home = TempDir::new().unwrap();
    let ssh = home.path().join(".ssh");
    fs::create_dir(&ssh).unwrap();
    let key = ssh.join("id_ed25519");
    fs::write(&key, "secret").unwrap();
    let models = TempDir::new().unwrap();
    let model = models.path().join("model.gguf");
    fs::write(&model, "weights").unwrap();
    let through = models.path().join("link");
    symlink(&ssh, &through).unwrap();
    let real_home = std::env::var_os("HOME").map_or("/root".into(), PathBuf::from);
    let parent = std::process::id();
    // A folder is granted with what its links point to: the owner put them there. This one's is not a model folder.
    let granted = [models.path().join("model.gguf")];
    let outcome = inside(&granted, |tried| {
        tried.push(("the key", fs::read(&key).map(drop)));
        tried.push(("the key through a link", fs::read(through.join("id_ed25519")).map(drop)));
        tried.push(("the key's folder", fs::read_dir(&ssh).map(drop)));
        tried.push(("the home directory", fs::read_dir(&real_home).map(drop)));
        tried.push(("the root", fs::read_dir("/").map(drop)));
        tried.push(("/etc/passwd", fs::read("/etc/passwd").map(drop)));
        tried.push(("/proc", fs::read_dir("/proc").map(drop)));
        tried.push(("the node's command line", fs::read(format!("/proc/{parent}/cmdline")).map(drop)));
        tried.push(("the node's environment", fs::read(format!("/proc/{parent}/environ")).map(drop)));
        tried.push(("the node's memory", File::open(format!("/proc/{parent}/mem")).map(drop)));
        tried.push(("a new file", fs::write(models.path().join("new"), "x")));
        tried.push(("a temporary file", fs::write("/tmp/tender-was-here", "x")));
        tried.push(("shared memory", fs::write("/dev/shm/tender-was-here", "x")));
        tried.push(("the model", OpenOptions::new().append(true).open(&model).map(drop)));
        tried.push(("deleting", fs::remove_file(&model)));
        tried.push(("renaming", fs::rename(&model, models.path().join("other"))));
        tried.push(("a new folder", fs::create_dir(models.path().join("folder"))));
        tried.push(("a new link", symlink(&key, models.path().join("another"))));
        tried.push(("a hard link", fs::hard_link(&key, models.path().join("hard"))));
    });
    if outcome.layers.files {
        outcome.all_fail();
    }
    assert_eq!(fs::read(&key).unwrap(), b"secret");
}

/// What Landlock does not cover, on old kernels or on all.
#[test]
fn attributes_and_lengths_stay_as_they_are() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "content").unwrap();
    let path = CString::new(file.to_str().unwrap()).unwrap();
    let at = path.as_ptr() as usize;
    inside(&[folder.path().to_owned()], |tried| {
        tried.push(("permissions", fs::set_permissions(&file, fs::Permissions::from_mode(0o777))));
        tried.push(("owner", std::os::unix::fs::chown(&file, Some(1), Some(1))));
        tried.push(("truncate", call(libc::SYS_truncate, [at, 0, 0, 0, 0])));
        let flags = (libc::O_RDONLY | libc::O_TRUNC) as usize;
        tried.push(("opening with truncation", call(libc::SYS_openat, [libc::AT_FDCWD as usize, at, flags, 0, 0])));
        tried.push(("times", call(libc::SYS_utimensat, [libc::AT_FDCWD as usize, at, 0, 0, 0])));
        let name = c"user.x".as_ptr() as usize;
        tried.push(("attributes", call(libc::SYS_setxattr, [at, name, name, 1, 0])));
    })
    .all_fail();
    assert_eq!(fs::read(&file).unwrap(), b"content");
}

#[test]
fn no_program_starts_and_no_other_process_is_reached() {
    let node = std::process::id() as usize;
    let pid = libc::pid_t::try_from(node).unwrap();
    inside(&[PathBuf::from("/usr/bin")], |tried| {
        tried.push(("a program", Command::new("/bin/true").spawn().map(drop)));
        let path = c"/bin/true".as_ptr() as usize;
        tried.push(("execve", call(libc::SYS_execve, [path, 0, 0, 0, 0])));
        let fork = libc::SIGCHLD as usize;
        tried.push(("fork", call(libc::SYS_clone, [fork, 0, 0, 0, 0])));
        tried.push(("a program in memory", memory_program()));
        // SAFETY: signal 0 only asks.
        let signal = unsafe { libc::kill(pid, 0) };
        tried.push(("kill", if signal == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }));
        tried.push(("tgkill", call(libc::SYS_tgkill, [node, node, 0, 0, 0])));
        tried.push(("ptrace", call(libc::SYS_ptrace, [libc::PTRACE_SEIZE as usize, node, 0, 0, 0])));
        let mut word = 0_usize;
        let vector = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: 8 };
        let at = (&raw const vector) as usize;
        tried.push(("reading memory", call(libc::SYS_process_vm_readv, [node, at, 1, at, 1])));
        tried.push(("a handle to the node", call(libc::SYS_pidfd_open, [node, 0, 0, 0, 0])));
        tried.push(("the node's limits", call(libc::SYS_prlimit64, [node, libc::RLIMIT_NOFILE as usize, 0, at, 0])));
    })
    .all_fail();
}

fn memory_program() -> io::Result<()> {
    let name = c"x".as_ptr();
    // SAFETY: the name lives for ever.
    let file = unsafe { libc::memfd_create(name, 0) };
    let empty = c"".as_ptr() as usize;
    call(libc::SYS_execveat, [file as usize, empty, 0, 0, libc::AT_EMPTY_PATH as usize])
}

#[test]
fn the_kernels_rarely_used_doors_are_shut() {
    inside(&[], |tried| {
        let user = libc::CLONE_NEWUSER as usize;
        tried.push(("a new namespace", call(libc::SYS_unshare, [user, 0, 0, 0, 0])));
        let target = c"/tmp".as_ptr() as usize;
        tried.push(("mount", call(libc::SYS_mount, [target, target, 0, libc::MS_BIND as usize, 0])));
        tried.push(("keys", call(libc::SYS_keyctl, [0, 0, 0, 0, 0])));
        tried.push(("bpf", call(libc::SYS_bpf, [0, 0, 0, 0, 0])));
        tried.push(("perf events", call(libc::SYS_perf_event_open, [0, 0, 0, 0, 0])));
        tried.push(("userfaultfd", call(libc::SYS_userfaultfd, [0, 0, 0, 0, 0])));
        tried.push(("shared memory", call(libc::SYS_shmget, [0, 4096, 0o600, 0, 0])));
        // Calls from after this version of Tender, and the second numbering of x86-64.
        tried.push(("a future call", call(1000, [0; 5])));
        #[cfg(target_arch = "x86_64")]
        tried.push(("x32", call(0x4000_0000 + libc::SYS_getpid, [0; 5])));
        let one = [0_usize; 8];
        tried.push(("clone3", call(libc::SYS_clone3, [one.as_ptr() as usize, 64, 0, 0, 0])));
    })
    .all_fail();
}

/// A sandbox in which nothing works would pass every other test.
#[test]
fn what_drivers_need_still_works() {
    let models = TempDir::new().unwrap();
    let store = TempDir::new().unwrap();
    fs::write(store.path().join("blob"), "weights").unwrap();
    fs::write(models.path().join("tokenizer.json"), "{}").unwrap();
    symlink(store.path().join("blob"), models.path().join("model.safetensors")).unwrap();
    inside(&[models.path().to_owned()], |tried| {
        tried.push(("the model", fs::read(models.path().join("tokenizer.json")).map(drop)));
        tried.push(("a model behind a link", fs::read(models.path().join("model.safetensors")).map(drop)));
        tried.push(("libraries", fs::read_dir("/usr/lib").map(drop)));
        tried.push(("own maps", fs::read("/proc/self/maps").map(drop)));
        tried.push(("memory information", fs::read("/proc/meminfo").map(drop)));
        tried.push(("devices", fs::read_dir("/sys/bus").map(drop)));
        tried.push(("randomness", File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut [0; 8]))));
        tried.push(("the null device", OpenOptions::new().write(true).open("/dev/null").map(drop)));
        let thread = std::thread::spawn(|| Path::new("/").exists());
        tried.push(("a thread", if thread.join().is_ok() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }));
        // SAFETY: signal 0 only asks.
        let itself = unsafe { libc::kill(libc::getpid(), 0) };
        tried.push(("a signal to itself", if itself == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }));
    })
    .all_succeed();
}
