//! `cargo xtask peers`: what benchmarks and calibration compare Tender with, installed into `target/peers` and nowhere
//! else: llama.cpp as a prebuilt npm package, cuBLAS where there is an NVIDIA driver, the official A2A clients and
//! servers, and Python's libraries for decisions. Versions and hashes are pinned in `tests/peers`. `run` needs none of
//! them, `test` the last two.

use crate::{command, workspace::Workspace};
use serde_json::Value;
use std::{
    env::consts::{ARCH, OS},
    fs, io,
    path::Path,
    process::Command,
};
use tender_base::{Code, Problem, Sha256};

/// The npm packages and their hashes.
const PINNED: &[&str] = &["package.json", "package-lock.json"];
/// The Python packages and their hashes.
const CUDA: &str = "cuda.txt";
const PYTHON: &str = "python.txt";
/// What the pinned packages need: 3.MINOR.
const LEAST_PYTHON: u32 = 11;

/// Installs what is missing and says what there is. A second run only looks.
///
/// # Errors
/// When a package cannot be installed, or llama.cpp does not start on the CPU.
pub fn install() -> Result<(), Problem> {
    if (OS, ARCH) != ("linux", "x86_64") {
        return Err(Problem::new(
            Code::Unavailable,
            format!("the peers are pinned for x86-64 Linux, not for {ARCH} {OS}"),
            "run the benchmarks that need them there",
        ));
    }
    let workspace = Workspace::find()?;
    a2a(&workspace)?;
    economics(&workspace)?;
    let place = workspace.target.join("peers");
    let scripts = workspace.root.join("tests/peers");
    fs::create_dir_all(&place).map_err(|error| stored(&place, &error))?;
    llama(&scripts, &place)?;
    cublas(&scripts, &place)
}

fn llama(scripts: &Path, place: &Path) -> Result<(), Problem> {
    npm(scripts, place, "llama.cpp")?;
    let found = check(scripts, place, "cpu")?;
    println!("llama.cpp {} on the CPU ({})", text(&found, "build"), text(&found, "binding"));
    // A machine without Vulkan can still compare with the CPU.
    match check(scripts, place, "vulkan") {
        Ok(found) => println!("llama.cpp {} on Vulkan: {}", text(&found, "build"), text(&found, "adapter")),
        Err(problem) => println!("llama.cpp on Vulkan: not here, {}", problem.message),
    }
    Ok(())
}

/// The npm packages that are pinned in a folder, called `what`, unless they are there.
fn npm(scripts: &Path, place: &Path, what: &str) -> Result<(), Problem> {
    let wanted = hash_of(scripts, PINNED)?;
    // In the folder that a broken installation does not have.
    let mark = place.join("node_modules/.tender-lock");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        eprintln!("{what} is installed in {}", place.display());
        return Ok(());
    }
    eprintln!("Installing {what} as npm package into {}", place.display());
    let _ = fs::remove_dir_all(place.join("node_modules"));
    for name in PINNED {
        fs::copy(scripts.join(name), place.join(name)).map_err(|error| stored(&place.join(name), &error))?;
    }
    // Without install scripts, which would build llama.cpp, and without the packages of other platforms; those of this
    // one are dependencies of their own.
    let arguments = ["install", "--omit=optional", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund"];
    command::run(Command::new("npm").current_dir(place).args(arguments))?;
    fs::write(&mark, wanted).map_err(|error| stored(&mark, &error))
}

/// Installs the official A2A SDKs and google-adk: what tests talk to and the server that benchmarks compare with. A
/// second run only looks.
///
/// # Errors
/// When a package cannot be installed, or Python is too old.
pub fn a2a(workspace: &Workspace) -> Result<(), Problem> {
    let (scripts, place) = (workspace.root.join("tests/peers/a2a"), workspace.target.join("peers/a2a"));
    fs::create_dir_all(&place).map_err(|error| stored(&place, &error))?;
    npm(&scripts, &place, "the A2A SDK for JavaScript")?;
    python(workspace, "a2a", "the A2A SDK for Python and google-adk (some 200 MB)")
}

/// Installs the libraries that tests and benchmarks of decisions compare with. A second run only looks.
///
/// # Errors
/// As [`a2a`].
pub fn economics(workspace: &Workspace) -> Result<(), Problem> {
    python(workspace, "economics", "pymcdm, scikit-criteria and mabwiser (some 500 MB)")
}

/// The Python packages that are pinned in a folder of `tests/peers`, called `what`, unless they are there.
fn python(workspace: &Workspace, folder: &str, what: &str) -> Result<(), Problem> {
    let scripts = workspace.root.join("tests/peers").join(folder);
    let minor = "import sys; print(sys.version_info.minor)";
    let minor = command::answer(Command::new("python3").args(["-c", minor])).unwrap_or_default();
    if minor.parse::<u32>().ok().is_none_or(|minor| minor < LEAST_PYTHON) {
        return Err(Problem::new(
            Code::Unavailable,
            format!("{what}: they need Python 3.{LEAST_PYTHON} or newer as `python3`"),
            "install it, for example with your system's package manager",
        ));
    }
    // Compiled parts are for one version of Python.
    let wanted = format!("{} 3.{minor}", hash_of(&scripts, &[PYTHON])?);
    let packages = workspace.target.join("peers").join(folder).join("python");
    let mark = packages.join(".tender-lock");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        eprintln!("Installed in {}: {what}", packages.display());
        return Ok(());
    }
    eprintln!("Installing into {}: {what}", packages.display());
    let _ = fs::remove_dir_all(&packages);
    let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"];
    let mut pip = Command::new("python3");
    // Wheels only: nothing is compiled, and nothing of a package runs while it is installed.
    pip.args(arguments).args(["--only-binary", ":all:", "--target"]).arg(&packages);
    command::run(pip.arg("-r").arg(scripts.join(PYTHON)))?;
    fs::write(&mark, wanted).map_err(|error| stored(&mark, &error))
}

/// What llama.cpp says of itself on a device.
fn check(scripts: &Path, place: &Path, device: &str) -> Result<Value, Problem> {
    let mut node = Command::new("node");
    node.arg(scripts.join("llama.mjs")).args(["--check", "--device", device]).env("TENDER_PEERS", place);
    said_by(&mut node)
}

/// The first line of a peer's script, when it is ready.
fn said_by(command: &mut Command) -> Result<Value, Problem> {
    let words = command::words(command);
    let output = command.output().map_err(|error| {
        Problem::new(Code::Unavailable, format!("`{words}` cannot be started: {error}"), "install Node.js and Python")
    })?;
    let line: Value = output
        .stdout
        .split(|byte| *byte == b'\n')
        .next()
        .and_then(|line| serde_json::from_slice(line).ok())
        .unwrap_or_default();
    if line["ready"] == true {
        return Ok(line);
    }
    let why = match line["error"].as_str() {
        Some(why) => why.to_owned(),
        None => String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("it said nothing").to_owned(),
    };
    Err(Problem::new(
        Code::WorkFailed,
        why,
        format!("look at `{words}`; delete target/peers to install everything anew"),
    ))
}

fn cublas(scripts: &Path, place: &Path) -> Result<(), Problem> {
    if !Path::new("/proc/driver/nvidia/version").exists() {
        println!("cuBLAS: not installed, since there is no NVIDIA driver");
        return Ok(());
    }
    let venv = place.join("python");
    let (mark, python) = (venv.join(".tender-lock"), venv.join("bin/python"));
    let wanted = hash_of(scripts, &[CUDA])?;
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        eprintln!("cuBLAS is installed in {}", venv.display());
    } else {
        eprintln!("Installing cuBLAS (some 600 MB) into {}", venv.display());
        command::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
        command::run(Command::new(&python).args(arguments).args(["--require-hashes", "-r"]).arg(scripts.join(CUDA)))?;
        fs::write(&mark, wanted).map_err(|error| stored(&mark, &error))?;
    }
    let found = said_by(Command::new(&python).arg(scripts.join("cublas.py")))?;
    println!("cuBLAS {} on {}", text(&found, "build"), text(&found, "adapter"));
    Ok(())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("unstated")
}

/// Of the files one after the other: another pin is another installation.
fn hash_of(folder: &Path, names: &[&str]) -> Result<String, Problem> {
    let mut all = Vec::new();
    for path in names.iter().map(|name| folder.join(name)) {
        all.extend(fs::read(&path).map_err(|error| stored(&path, &error))?);
    }
    Ok(Sha256::of(&all).to_string())
}

fn stored(path: &Path, error: &io::Error) -> Problem {
    Problem::new(Code::Storage, format!("{}: {error}", path.display()), "free the disk, or correct who may write there")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/peers")
    }

    #[test]
    fn every_npm_package_is_pinned_by_hash() {
        for (folder, least) in [(folder(), 50), (folder().join("a2a"), 3)] {
            npm_is_pinned(&folder, least);
        }
    }

    fn npm_is_pinned(folder: &Path, least: usize) {
        let lock: Value = serde_json::from_slice(&fs::read(folder.join("package-lock.json")).unwrap()).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages.len() >= least, "the lock file was not read");
        for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
            assert!(package["integrity"].is_string(), "{name} has no hash");
            assert!(package["resolved"].is_null(), "{name} names a registry");
        }
        let manifest: Value = serde_json::from_slice(&fs::read(folder.join("package.json")).unwrap()).unwrap();
        for (name, version) in manifest["dependencies"].as_object().unwrap() {
            assert_eq!(&packages[&format!("node_modules/{name}")]["version"], version, "{name}");
        }
    }

    #[test]
    fn every_python_package_is_pinned_by_hash() {
        for (list, least) in [
            (folder().join(CUDA), 3),
            (folder().join("a2a").join(PYTHON), 50),
            (folder().join("economics").join(PYTHON), 10),
        ] {
            // One requirement a line, when lines that go on are joined.
            let text = fs::read_to_string(&list).unwrap().replace("\\\n", "");
            let lines = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
            assert!(lines.len() >= least, "{} was not read", list.display());
            let pinned = |line: &&str| line.contains("==") && line.contains("--hash=sha256:");
            assert!(lines.iter().all(pinned), "{:?}", lines.iter().find(|line| !pinned(line)));
        }
    }

    #[test]
    fn another_pin_is_another_installation() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "1").unwrap();
        let first = hash_of(folder.path(), &["a"]).unwrap();
        fs::write(folder.path().join("a"), "2").unwrap();
        assert_ne!(hash_of(folder.path(), &["a"]).unwrap(), first);
        assert_eq!(hash_of(folder.path(), &["b"]).unwrap_err().code, Code::Storage);
    }

    #[test]
    fn a_peer_that_does_not_start_says_why() {
        let said = |script: &str| said_by(Command::new("sh").args(["-c", script]));
        assert_eq!(said(r#"echo '{"ready":true,"build":"7"}'"#).unwrap()["build"], "7");
        let problem = said(r#"echo '{"ready":false,"error":"no adapter"}'; exit 1"#).unwrap_err();
        assert_eq!(problem.message, "no adapter");
        assert_eq!(said("echo first >&2; echo last >&2").unwrap_err().message, "last");
        assert_eq!(said_by(&mut Command::new("no-such-peer")).unwrap_err().code, Code::Unavailable);
    }
}
