//! What can be opened (Landlock).

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

/// Libraries, and where the systems and the vendors keep their drivers and the descriptions of them. A list of what is
/// allowed would differ with every vendor and version if it went further down.
const LIBRARIES: [&str; 20] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/run/opengl-driver",
    "/run/opengl-driver-32",
    "/run/nvidia",
    "/etc/ld.so.cache",
    "/etc/vulkan",
    "/etc/glvnd",
    "/etc/nvidia",
    "/etc/drirc",
    "/etc/localtime",
    "/app",
    "/sys",
    "/snap",
    "/var/lib/snapd/lib",
];

/// What drivers and the C library ask the kernel about. Not all of `/proc`: other processes' command lines are there.
const PROC: [&str; 12] = [
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/modules",
    "/proc/devices",
    "/proc/version",
    "/proc/filesystems",
    "/proc/driver",
    "/proc/sys",
    "/proc/bus",
    "/proc/interrupts",
];

/// Devices by the beginning of their names: graphics of every vendor (Tegra, Mali, Adreno and Windows' subsystem for
/// Linux included), and the harmless ones.
const DEVICES: [&str; 14] = [
    "dri", "nvidia", "nvhost", "nvmap", "nvgpu", "mali", "kgsl", "kfd", "dxg", "dma_heap", "null", "zero", "random",
    "urandom",
];

/// Variables of the loaders whose values are files or folders that the owner named.
const NAMED_BY: [&str; 5] =
    ["LD_LIBRARY_PATH", "VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES", "VK_LAYER_PATH"];

/// Forbids every file but those drivers need and `readable`, and TCP besides.
pub(super) fn enter(readable: &[PathBuf]) -> Result<(), String> {
    let status = restrict(readable).map_err(|e| e.to_string())?;
    match status {
        RulesetStatus::NotEnforced => Err("this kernel has no Landlock".to_owned()),
        // Older kernels know fewer rights. The filter of system calls closes what they leave open: truncating files.
        RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced => Ok(()),
    }
}

fn restrict(readable: &[PathBuf]) -> Result<RulesetStatus, landlock::RulesetError> {
    let newest = ABI::V9;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?;
    let named = NAMED_BY.iter().filter_map(env::var_os).flat_map(|list| env::split_paths(&list).collect::<Vec<_>>());
    // A driver's description names a library beside it.
    let named =
        named.map(|path| if path.is_file() { path.parent().map_or(path.clone(), Path::to_owned) } else { path });
    for path in LIBRARIES.iter().map(PathBuf::from).chain(named).chain(readable.iter().flat_map(|p| with_links(p))) {
        rules = allow(rules, &path, read)?;
    }
    for path in PROC.map(Path::new) {
        rules = allow(rules, path, read)?;
        // The kernel may forget the object to which the rule is tied as soon as nobody has it open.
        if let Ok(open) = File::open(path) {
            std::mem::forget(open);
        }
    }
    let devices = fs::read_dir("/dev").into_iter().flatten().flatten().filter(|entry| {
        let name = entry.file_name();
        DEVICES.iter().any(|begin| name.to_string_lossy().starts_with(begin))
    });
    for device in devices {
        rules = allow(rules, &device.path(), read | AccessFs::WriteFile | AccessFs::IoctlDev)?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// What does not exist needs no rule.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(open) = PathFd::new(path) else { return Ok(rules) };
    let access = if path.is_dir() { access } else { access & !BitFlags::from(AccessFs::ReadDir) };
    rules.add_rule(PathBeneath::new(open, access))
}

/// A folder and what the links in it point to: model folders often hold links into a common store.
fn with_links(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_owned()];
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    all.extend(
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_symlink())).filter_map(|e| e.path().canonicalize().ok()),
    );
    all
}
