//! Which programs run, by name. Only Linux tells here: `/proc/PID/comm` and `stat` (proc(5)).

use std::{fs, path::Path};

/// The kernel keeps so many bytes of a program's name.
const KEPT_BYTES: usize = 15;

/// The first program of `wanted` that runs.
///
/// # Errors
/// Why this system does not tell.
pub(super) fn running(proc: &Path, wanted: &[String]) -> Result<Option<String>, String> {
    let folders = fs::read_dir(proc).map_err(|_| "this system does not tell which programs run".to_owned())?;
    for folder in folders.flatten() {
        let Some(pid) = folder.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Some(name) = name(proc, pid) else { continue };
        // What has ended stays listed until its parent has heard of it.
        if named(&name, wanted) && parent(proc, pid).is_some() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The name of a process.
pub(super) fn name(proc: &Path, pid: u32) -> Option<String> {
    let name = fs::read_to_string(proc.join(pid.to_string()).join("comm")).ok()?;
    Some(name.trim_end_matches('\n').to_owned())
}

/// The name of a process of this user. A window may name the process as its own namespace numbers it (Flatpak does),
/// and then the number is somebody else's here.
pub(super) fn own_name(proc: &Path, pid: u32) -> Option<String> {
    (owner(&proc.join(pid.to_string()))? == owner(&proc.join("self"))?).then(|| name(proc, pid))?
}

#[cfg(unix)]
fn owner(folder: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(folder).ok().map(|of| of.uid())
}

#[cfg(not(unix))]
fn owner(_: &Path) -> Option<u32> {
    None
}

/// The parent of a process that still runs.
pub(super) fn parent(proc: &Path, pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| !matches!(state, "Z" | "X"))
}

/// Whether a program is one of these: case does not matter, and names are as long as the kernel keeps them.
pub(super) fn named(name: &str, list: &[String]) -> bool {
    let kept = |text: &str| text.as_bytes()[..text.len().min(KEPT_BYTES)].to_ascii_lowercase();
    list.iter().any(|listed| kept(listed) == kept(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_name_and_a_dead_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let add = |pid: u32, name: &str, stat: &str| {
            let folder = root.path().join(pid.to_string());
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
            fs::write(folder.join("stat"), stat).unwrap();
        };
        add(7, "bash", "7 (bash) S 1 7 7");
        add(8, "Doom-The-Dark-A", "8 (Doom) The)) R 7 8 8");
        add(9, "quake", "9 (quake) Z 1 9 9");
        fs::write(root.path().join("uptime"), "1 1").unwrap();
        let wanted = |names: &[&str]| running(root.path(), &names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        assert_eq!(wanted(&["doom-the-dark-ages"]), Ok(Some("Doom-The-Dark-A".to_owned())));
        assert_eq!(wanted(&["quake", "doom"]), Ok(None));
        assert_eq!(parent(root.path(), 8), Some(7));
        assert_eq!(own_name(root.path(), 7), None, "nobody knows who we are");
        fs::create_dir(root.path().join("self")).unwrap();
        assert_eq!((own_name(root.path(), 7).as_deref(), own_name(root.path(), 10)), (Some("bash"), None));
        let others = (own_name(Path::new("/proc"), 1), owner(Path::new("/proc/1")) == owner(Path::new("/proc/self")));
        assert_eq!(others.0.is_some(), others.1);
        assert!(running(&root.path().join("none"), &["doom".to_owned()]).is_err());
    }
}
