//! What works on this machine, for `tender doctor`. Looks only; changes nothing.

use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};
use tender_base::{Problem, frames::Sandbox};

/// Free space that a node needs to go on: some hundred of the largest blobs and room for the database's log.
pub const COMFORTABLE_DISK_BYTES: u64 = 5 << 30;
/// Free space below which a node must not take work: one job's input and output, and their copies in the database's
/// log.
pub const LEAST_DISK_BYTES: u64 = 512 << 20;
/// Memory that a node and its worker need with the demonstration model loaded.
pub const COMFORTABLE_MEMORY_BYTES: u64 = 2 << 30;

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// It works.
    Ok,
    /// It works with restrictions.
    Warn,
    /// Something that was asked for will not work.
    Fail,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub state: CheckState,
    /// What was found.
    pub message: String,
    /// What to do about it; empty when nothing is to be done.
    pub remedy: String,
}

impl Check {
    /// A finding.
    pub fn new(
        name: impl Into<String>,
        state: CheckState,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), state, message: message.into(), remedy: remedy.into() }
    }

    fn ok(name: &str, message: impl Into<String>) -> Self {
        Self::new(name, CheckState::Ok, message, "")
    }
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Places {
    /// The node's data directory; it need not exist yet.
    pub data_dir: PathBuf,
    /// The worker's executable, or why there is none.
    pub worker: Result<PathBuf, Problem>,
    /// How the worker is confined, or why that is not known.
    pub sandbox: Result<Sandbox, Problem>,
}

/// Looks at everything, in the order in which things depend on one another.
#[must_use]
pub fn checks(places: &Places) -> Vec<Check> {
    let machine = Machine { root: PathBuf::from("/"), env: &|name| std::env::var_os(name) };
    machine.checks(places)
}

/// A machine to look at: the real one, or a folder in a test.
struct Machine<'a> {
    root: PathBuf,
    env: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Machine<'_> {
    fn checks(&self, places: &Places) -> Vec<Check> {
        let mut all = vec![self.system(), self.memory(), disk(&places.data_dir)];
        if cfg!(target_os = "linux") {
            all.extend([self.vulkan_loader(), self.vulkan_drivers(), self.keyring()]);
        }
        let found = worker(&places.worker);
        let works = found.state == CheckState::Ok;
        all.push(found);
        if works {
            all.extend(crate::sandbox_check::checks(&places.sandbox));
        }
        all.push(crate::sensor_check::check(&crate::sensor::sensors_under(&self.root)));
        all
    }

    fn system(&self) -> Check {
        let release = self.text("etc/os-release").unwrap_or_default();
        let name = release
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="))
            .map_or_else(|| std::env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned());
        let cpu = self.text("proc/cpuinfo").unwrap_or_default();
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or(std::env::consts::ARCH, |(_, model)| model.trim());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Check::ok("system", format!("{name}; {cpu}, {cores} cores usable"))
    }

    fn memory(&self) -> Check {
        const NAME: &str = "memory";
        match crate::free::main_memory_under(&self.root) {
            None => Check::ok(NAME, "this system does not say how much is free"),
            Some(bytes) if bytes < COMFORTABLE_MEMORY_BYTES => Check::new(
                NAME,
                CheckState::Warn,
                format!("{} available", size(bytes)),
                format!("close something; models need {} to load safely", size(COMFORTABLE_MEMORY_BYTES)),
            ),
            Some(bytes) => Check::ok(NAME, format!("{} available", size(bytes))),
        }
    }

    fn vulkan_loader(&self) -> Check {
        const NAME: &str = "Vulkan loader";
        const FOLDERS: [&str; 7] = [
            "usr/lib/x86_64-linux-gnu",
            "usr/lib/aarch64-linux-gnu",
            "usr/lib64",
            "usr/lib",
            "lib/x86_64-linux-gnu",
            "lib64",
            "usr/local/lib",
        ];
        let extra = (self.env)("LD_LIBRARY_PATH").unwrap_or_default();
        let folders = FOLDERS.iter().map(|folder| self.root.join(folder)).chain(std::env::split_paths(&extra));
        match folders.map(|folder| folder.join("libvulkan.so.1")).find(|path| path.exists()) {
            Some(path) => Check::ok(NAME, path.display().to_string()),
            None => Check::new(
                NAME,
                CheckState::Fail,
                "libvulkan.so.1 was not found, so no GPU can be used",
                "install it: apt install libvulkan1 (Debian, Ubuntu), dnf install vulkan-loader (Fedora)",
            ),
        }
    }

    /// The loader's own search as the worker does it: named files win, then the folders of the system. The user's are
    /// not searched, for the worker has no home directory.
    fn vulkan_drivers(&self) -> Check {
        const NAME: &str = "Vulkan drivers";
        let remedy = "install your card's driver; without a card: apt install mesa-vulkan-drivers (a CPU driver)";
        for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
            let Some(value) = (self.env)(variable).filter(|value| !value.is_empty()) else { continue };
            let (found, missing): (Vec<PathBuf>, Vec<PathBuf>) =
                std::env::split_paths(&value).partition(|path| path.exists());
            return if found.is_empty() {
                Check::new(
                    NAME,
                    CheckState::Fail,
                    format!("{variable} names {}, which does not exist", names(&missing)),
                    format!("correct {variable} or unset it"),
                )
            } else {
                Check::ok(NAME, format!("{} (by {variable})", names(&found)))
            };
        }
        let folders = ["usr/share", "usr/local/share", "etc"].map(|f| self.root.join(f));
        let mut found: Vec<PathBuf> = folders
            .iter()
            .filter_map(|folder| fs::read_dir(folder.join("vulkan/icd.d")).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        found.sort();
        if found.is_empty() {
            Check::new(NAME, CheckState::Fail, "no driver is installed", remedy)
        } else if found.iter().all(|path| path.to_string_lossy().contains("lvp_")) {
            Check::new(
                NAME,
                CheckState::Warn,
                format!("{}: only the CPU driver, which works and is slow", names(&found)),
                "install your card's driver to use the card",
            )
        } else {
            Check::ok(NAME, names(&found))
        }
    }

    fn keyring(&self) -> Check {
        const NAME: &str = "keyring";
        let bus = (self.env)("DBUS_SESSION_BUS_ADDRESS").filter(|address| !address.is_empty()).is_some()
            || (self.env)("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).join("bus").exists());
        if bus {
            Check::ok(NAME, "a D-Bus session is there; a key store can be reached through it")
        } else {
            Check::new(
                NAME,
                CheckState::Warn,
                "there is no D-Bus session, so no keyring: a new identity is kept in a key file (mode 0600)",
                "keep the data directory private and back it up; or log in to a desktop and start there",
            )
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }
}

fn worker(found: &Result<PathBuf, Problem>) -> Check {
    const NAME: &str = "worker";
    let path = match found {
        Ok(path) => path,
        Err(problem) => {
            return Check::new(NAME, CheckState::Fail, problem.message.clone(), problem.hint.clone());
        }
    };
    match fs::metadata(path) {
        Ok(file) if file.is_file() && is_executable(&file) => Check::ok(NAME, path.display().to_string()),
        Ok(_) => Check::new(
            NAME,
            CheckState::Fail,
            format!("{} is not an executable file", path.display()),
            format!("chmod +x {}, or install Tender again", path.display()),
        ),
        Err(e) => Check::new(
            NAME,
            CheckState::Fail,
            format!("{} cannot be read: {e}", path.display()),
            "install Tender again, or correct the worker's path in the settings",
        ),
    }
}

#[cfg(unix)]
fn is_executable(file: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    true
}

/// Free space where the data directory is or will be.
fn disk(data_dir: &Path) -> Check {
    const NAME: &str = "disk";
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let Some(existing) = absolute.ancestors().find(|folder| folder.is_dir()) else {
        return Check::new(
            NAME,
            CheckState::Fail,
            format!("no part of {} exists", absolute.display()),
            "name another data directory with --data-dir",
        );
    };
    match fs4::available_space(existing) {
        Err(e) => Check::new(
            NAME,
            CheckState::Warn,
            format!("cannot tell how much is free at {}: {e}", existing.display()),
            "check the disk by hand",
        ),
        Ok(bytes) => disk_state(bytes, existing),
    }
}

fn disk_state(bytes: u64, folder: &Path) -> Check {
    let message = format!("{} free at {}", size(bytes), folder.display());
    let state = match bytes {
        0..LEAST_DISK_BYTES => CheckState::Fail,
        LEAST_DISK_BYTES..COMFORTABLE_DISK_BYTES => CheckState::Warn,
        _ => return Check::ok("disk", message),
    };
    let remedy =
        format!("free space there until {} are left, or name another --data-dir", size(COMFORTABLE_DISK_BYTES));
    Check::new("disk", state, message, remedy)
}

fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Bytes in binary units, one decimal.
fn size(bytes: u64) -> String {
    let gib = bytes as f64 / f64::from(1 << 30);
    if gib >= 1.0 { format!("{gib:.1} GiB") } else { format!("{:.0} MiB", gib * 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tender_base::Code;

    fn look<T>(root: &Path, env: &[(&str, &Path)], look: impl FnOnce(&Machine) -> T) -> T {
        let env: HashMap<_, _> = env.iter().map(|(name, value)| (*name, value.as_os_str().to_owned())).collect();
        look(&Machine { root: root.to_owned(), env: &|name| env.get(name).cloned() })
    }

    #[test]
    fn an_empty_machine_fails_with_a_remedy_for_everything_that_is_missing() {
        let root = tempfile::tempdir().unwrap();
        for check in [
            look(root.path(), &[], |m| m.vulkan_loader()),
            look(root.path(), &[], |m| m.vulkan_drivers()),
            worker(&Ok(root.path().join("tender-worker"))),
            worker(&Err(Problem::new(Code::Unavailable, "no worker", "install it"))),
        ] {
            assert!(check.state == CheckState::Fail && !check.remedy.is_empty(), "{check:?}");
        }
        assert_eq!(look(root.path(), &[], |m| m.keyring()).state, CheckState::Warn);
    }

    #[test]
    fn drivers_are_listed_and_a_cpu_driver_alone_is_a_warning() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("usr/share/vulkan/icd.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("lvp_icd.x86_64.json"), "{}").unwrap();
        fs::write(folder.join("README"), "").unwrap();
        assert_eq!(look(root.path(), &[], |m| m.vulkan_drivers()).state, CheckState::Warn);
        fs::write(folder.join("nvidia_icd.json"), "{}").unwrap();
        let check = look(root.path(), &[], |m| m.vulkan_drivers());
        assert!(check.state == CheckState::Ok && check.message.contains("nvidia") && !check.message.contains("README"));

        let named = root.path().join("nowhere.json");
        let check = look(root.path(), &[("VK_DRIVER_FILES", &named)], |m| m.vulkan_drivers());
        assert!(check.state == CheckState::Fail && check.remedy.contains("VK_DRIVER_FILES"), "{check:?}");
    }

    #[test]
    fn a_worker_must_be_executable() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("tender-worker");
        fs::write(&path, "").unwrap();
        if cfg!(unix) {
            assert_eq!(worker(&Ok(path)).state, CheckState::Fail);
        }
        assert_eq!(worker(&Ok(std::env::current_exe().unwrap())).state, CheckState::Ok);
    }

    #[test]
    fn the_disk_is_checked_where_the_data_directory_will_be() {
        let root = tempfile::tempdir().unwrap();
        let check = disk(&root.path().join("not/yet/there"));
        assert!(check.message.contains(&root.path().display().to_string()), "{check:?}");
        for (bytes, state) in [(0, CheckState::Fail), (1 << 30, CheckState::Warn), (50 << 30, CheckState::Ok)] {
            assert_eq!(disk_state(bytes, Path::new("/")).state, state);
        }
    }

    #[test]
    fn memory_is_read_from_the_kernel() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/meminfo"), "MemTotal: 99 kB\nMemAvailable:    1048576 kB\n").unwrap();
        let check = look(root.path(), &[], |m| m.memory());
        assert!(check.state == CheckState::Warn && check.message.starts_with("1.0 GiB"), "{check:?}");
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let places = Places {
            data_dir: std::env::temp_dir(),
            worker: std::env::current_exe().map_err(|_| unreachable!()),
            sandbox: Ok(Sandbox::default()),
        };
        let all = checks(&places);
        assert!(all.len() >= 4 && all.iter().all(|check| check.state == CheckState::Ok || !check.remedy.is_empty()));
    }
}
