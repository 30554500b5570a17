//! Cargo's companions, at fixed versions, installed under `target/tools` so that nothing of the user's is replaced.

use crate::{command, workspace::Workspace};
use std::{fs, process::Command};
use tender_base::Problem;

struct Tool {
    name: &'static str,
    version: &'static str,
    /// How to ask one that is in the path already for its version; none when it does not say.
    ask: Option<&'static [&'static str]>,
    /// Any version in the path will do.
    any: bool,
}

const TOOLS: &[Tool] = &[
    Tool { name: "cargo-nextest", version: "0.9.143", ask: Some(&["nextest", "--version"]), any: true },
    Tool { name: "cargo-deny", version: "0.20.2", ask: Some(&["--version"]), any: false },
    Tool { name: "tauri-driver", version: "2.0.6", ask: None, any: false },
];

/// Installs those that are missing.
///
/// # Errors
/// When one does not build.
pub fn set_up(workspace: &Workspace) -> Result<(), Problem> {
    let folder = workspace.tools();
    for tool in TOOLS {
        if is_installed(workspace, tool) || is_in_path(tool) {
            continue;
        }
        eprintln!("Installing {} {} into {}", tool.name, tool.version, folder.display());
        let build = folder.join("build");
        let installed = command::run(
            Command::new("cargo")
                .args(["install", "--quiet", "--locked", "--debug", "--version", tool.version, "--root"])
                .arg(&folder)
                .arg(tool.name)
                // They run for seconds: building them fast counts for more than that they run fast.
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                .env("CARGO_INCREMENTAL", "0")
                .env("CARGO_TARGET_DIR", &build),
        );
        // Half a gigabyte that is not needed again.
        let _ = fs::remove_dir_all(&build);
        installed?;
    }
    Ok(())
}

/// Cargo's own record of what it installed there.
fn is_installed(workspace: &Workspace, tool: &Tool) -> bool {
    fs::read_to_string(workspace.tools().join(".crates.toml")).is_ok_and(|record| records(&record, tool))
}

fn records(record: &str, tool: &Tool) -> bool {
    record.contains(&format!("\"{} {} (", tool.name, tool.version))
}

fn is_in_path(tool: &Tool) -> bool {
    let Some(arguments) = tool.ask else { return false };
    command::answer(Command::new(tool.name).args(arguments))
        .is_some_and(|said| tool.any || said.split_whitespace().any(|word| word == tool.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_not_the_pinned_one() {
        let record = "[v1]\n\"cargo-deny 0.20.2 (registry+x)\" = [\"cargo-deny\"]\n";
        let tool = |version| Tool { name: "cargo-deny", version, ask: None, any: false };
        assert!(records(record, &tool("0.20.2")));
        assert!(!records(record, &tool("0.20.1")));
        assert!(!records(record, &tool("0.20")));
    }
}
