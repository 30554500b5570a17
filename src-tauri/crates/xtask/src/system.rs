//! System packages: found with dpkg-query, installed with apt-get after saying so. Elsewhere the command to run is
//! printed, for people know their package manager better than we do.

use crate::command;
use std::process::Command;
use tender_base::{Code, Problem};

/// Why packages are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To build the node and its worker and to run them.
    Node,
    /// To build the desktop app as well.
    App,
    /// To run every test.
    Tests,
}

/// A linker and a C compiler (SQLite), the Vulkan loader with Mesa's drivers, and pip for the demo models.
const NODE: &[&str] = &["build-essential", "pkg-config", "libvulkan1", "mesa-vulkan-drivers", "python3-pip"];
/// The window (WebKitGTK), the tray (appindicator), and what they are built against.
const APP: &[&str] =
    &["libwebkit2gtk-4.1-dev", "libayatana-appindicator3-dev", "librsvg2-dev", "libxdo-dev", "libdbus-1-dev"];
/// A display, a session bus with a look at it (`gdbus`), drivers for window and browser, and `ip` for network namespaces.
const TESTS: &[&str] = &["xvfb", "dbus", "dbus-daemon", "webkit2gtk-driver", "libglib2.0-bin", "chromium", "iproute2"];

fn packages(need: Need) -> Vec<&'static str> {
    let sets: &[&[&str]] = match need {
        Need::Node => &[NODE],
        Need::App => &[NODE, APP],
        Need::Tests => &[NODE, APP, TESTS],
    };
    sets.concat()
}

/// Installs what is missing.
///
/// # Errors
/// When it cannot be installed from here; the hint is the command to run.
pub fn set_up(need: Need) -> Result<(), Problem> {
    if !cfg!(target_os = "linux") {
        return set_up_elsewhere(need);
    }
    let packages = packages(need);
    let Some(installed) = installed_of(&packages) else {
        return if other_system_has_all(need) { Ok(()) } else { Err(by_hand(&packages)) };
    };
    let missing: Vec<&str> = packages.into_iter().filter(|name| !installed.iter().any(|i| i == name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root = command::answer(Command::new("id").arg("-u")).is_some_and(|id| id == "0");
    if !root && command::answer(Command::new("sudo").arg("--version")).is_none() {
        return Err(by_hand(&missing));
    }
    eprintln!(
        "Installing system packages with apt-get, {}: {}",
        if root { "as root" } else { "through sudo" },
        missing.join(" ")
    );
    let apt = |arguments: &[&str]| {
        let mut all = if root { vec![] } else { vec!["sudo"] };
        all.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        all.extend(arguments);
        command::run(Command::new(all[0]).args(&all[1..]))
    };
    apt(&["update"])
        .and_then(|()| apt(&[&["install", "--yes", "--no-install-recommends"], missing.as_slice()].concat()))
        .map_err(|problem| Problem::new(problem.code, problem.message, by_hand(&missing).hint))
}

/// Those of the packages that are installed; none when this system has no dpkg or no apt.
fn installed_of(packages: &[&str]) -> Option<Vec<String>> {
    command::answer(Command::new("apt-get").arg("--version"))?;
    // It fails when one of them is unknown, and still lists the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\\n"])
        .args(packages)
        .output()
        .ok()?;
    Some(installed_in(&String::from_utf8_lossy(&output.stdout)))
}

fn installed_in(listing: &str) -> Vec<String> {
    listing.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect()
}

/// On a Linux without apt: whether what we would have installed is there, as far as it can be asked for.
fn other_system_has_all(need: Need) -> bool {
    let has_library =
        |name: &str| Command::new("pkg-config").arg("--exists").arg(name).status().is_ok_and(|s| s.success());
    let has_program = |name: &str| {
        std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).exists()))
    };
    let node = has_program("cc") && has_program("pkg-config") && has_program("python3");
    let app = || ["webkit2gtk-4.1", "ayatana-appindicator3-0.1", "dbus-1"].iter().all(|name| has_library(name));
    let tests =
        || ["Xvfb", "dbus-run-session", "WebKitWebDriver", "chromium", "ip"].iter().all(|name| has_program(name));
    node && (need == Need::Node || app()) && (need != Need::Tests || tests())
}

fn set_up_elsewhere(need: Need) -> Result<(), Problem> {
    if need == Need::Tests {
        return Err(Problem::new(
            Code::Unavailable,
            "the desktop test drives WebKitGTK, which only Linux has",
            "run the other stages one by one: cargo xtask test --stage NAME",
        ));
    }
    let python = if cfg!(windows) { "python" } else { "python3" };
    if command::answer(Command::new(python).args(["-m", "pip", "--version"])).is_some() {
        return Ok(());
    }
    let hint = if cfg!(target_os = "macos") { "brew install python" } else { "winget install Python.Python.3.12" };
    Err(Problem::new(Code::Unavailable, "Python with pip is missing; it fetches the demo models", hint))
}

fn by_hand(missing: &[&str]) -> Problem {
    Problem::new(
        Code::Unavailable,
        format!("system packages are missing: {}", missing.join(" ")),
        format!(
            "run: apt-get update && apt-get install --yes {} (as root; without apt, install what your system calls them)",
            missing.join(" ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let listing = "xvfb installed\nchromium not-installed\ndbus config-files\npkg-config installed\n";
        assert_eq!(installed_in(listing), ["xvfb", "pkg-config"]);
    }

    #[test]
    fn a_verb_installs_no_more_than_it_needs() {
        assert!(!packages(Need::App).contains(&"chromium"));
        assert!(!packages(Need::Node).iter().any(|name| name.contains("webkit")));
        assert!(packages(Need::Tests).len() > packages(Need::App).len());
    }

    #[test]
    fn the_remedy_can_be_pasted() {
        assert!(by_hand(&["xvfb", "chromium"]).hint.contains("apt-get install --yes xvfb chromium"));
    }
}
