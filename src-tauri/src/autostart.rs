//! Starting with the session. On Linux that is a file of the XDG autostart specification; other systems have no
//! switch for it here yet, and the window shows none.

use crate::HIDDEN;
use std::{
    env, fs, io,
    path::{Path, PathBuf},
};
use tauri::{AppHandle, Manager};
use tender_base::{Code, Problem};

/// Where the package puts this program.
const INSTALLED: &str = "/usr/bin/tender-app";
/// Name of the file, as the package names its own.
const FILE: &str = "dev.tender.desktop.desktop";

/// Whether Tender starts, in the tray, with the session; none where it cannot be switched.
///
/// # Errors
/// [`Code::Storage`] when the file cannot be read.
#[tauri::command]
pub fn autostart(app: AppHandle) -> Result<Option<bool>, Problem> {
    let Some(file) = file(&app)? else { return Ok(None) };
    match fs::read_to_string(&file) {
        Ok(entry) => Ok(Some(starts(&entry))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(false)),
        Err(error) => Err(refused(&file, "read", &error)),
    }
}

/// Switches it; answers what holds now.
///
/// # Errors
/// [`Code::Storage`] when the file cannot be written or removed.
#[tauri::command]
pub fn set_autostart(app: AppHandle, on: bool) -> Result<Option<bool>, Problem> {
    let Some(file) = file(&app)? else { return Ok(None) };
    if on {
        let program = program().map_err(|error| refused(&file, "written", &error))?;
        let folder = file.parent().unwrap_or(&file);
        // Not a name that a desktop would read before it is whole.
        let part = file.with_extension("part");
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&part, entry(&program)))
            .and_then(|()| fs::rename(&part, &file))
            .map_err(|error| refused(&file, "written", &error))?;
    } else if let Err(error) = fs::remove_file(&file)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(refused(&file, "removed", &error));
    }
    autostart(app)
}

/// Where this program lies: by the name that stays with every upgrade, when it was installed.
fn program() -> io::Result<PathBuf> {
    let said = env::current_exe()?;
    let said = said.to_str().ok_or_else(|| io::Error::other("the program's path is no text"))?;
    // Linux says so of a program that an upgrade has replaced.
    let path = Path::new(said.strip_suffix(" (deleted)").unwrap_or(said));
    if said.contains(char::is_control) {
        return Err(io::Error::other("the program's path has a control character"));
    }
    let installed = fs::canonicalize(INSTALLED).is_ok_and(|program| program == path);
    Ok(if installed { PathBuf::from(INSTALLED) } else { path.to_owned() })
}

fn file(app: &AppHandle) -> Result<Option<PathBuf>, Problem> {
    if !cfg!(target_os = "linux") {
        return Ok(None);
    }
    let folder = app.path().config_dir().map_err(|error| {
        Problem::new(Code::Storage, format!("there is no folder for settings: {error}"), "set XDG_CONFIG_HOME or HOME")
    })?;
    Ok(Some(folder.join("autostart").join(FILE)))
}

fn refused(file: &Path, what: &str, error: &io::Error) -> Problem {
    Problem::new(
        Code::Storage,
        format!("{} cannot be {what}: {error}", file.display()),
        "make its folder writable for this user",
    )
}

fn entry(program: &Path) -> String {
    format!(
        "[Desktop Entry]\nType=Application\nName=Tender\nComment=Sells spare GPU time\nIcon=dev.tender.desktop\n\
         Exec={} {HIDDEN}\nTerminal=false\n",
        quoted(&program.to_string_lossy())
    )
}

/// A word of an `Exec` line: quoted as a shell would, then escaped as every string of the file is.
fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '`' | '$' => quoted.extend(['\\', '\\', c]),
            '\\' => quoted.push_str("\\\\\\\\"),
            '%' => quoted.push_str("%%"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Desktops switch an entry off by a line in it.
fn starts(entry: &str) -> bool {
    !entry.lines().any(|line| {
        let line = line.replace(' ', "");
        line == "Hidden=true" || line == "X-GNOME-Autostart-enabled=false"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_starts_this_program_in_the_tray() {
        let entry = entry(Path::new("/opt/my apps/tender-app"));
        assert!(entry.contains("Exec=\"/opt/my apps/tender-app\" --hidden\n"), "{entry}");
        assert!(starts(&entry));
    }

    #[test]
    fn a_desktop_may_have_switched_it_off() {
        assert!(!starts("[Desktop Entry]\nHidden=true\n"));
        assert!(!starts("[Desktop Entry]\nX-GNOME-Autostart-enabled = false\n"));
    }

    #[test]
    fn odd_paths_stay_one_word() {
        assert_eq!(quoted(r#"/a"b$c\d%e"#), r#""/a\\"b\\$c\\\\d%%e""#);
    }
}
