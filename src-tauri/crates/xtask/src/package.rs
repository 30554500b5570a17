//! `cargo xtask package`: two Debian packages, staged as plain folders and packed by dpkg-deb. `tender-desktop` is the
//! app with node and worker; `tender-node` is node and worker for machines without a desktop. One replaces the other.

mod licences;

use crate::{
    command,
    system::{self, Need},
    ui,
    workspace::Workspace,
};
use std::{
    env, fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};
use tender_base::{Code, Problem, Sha256};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const MAINTAINER: &str = "The Tender authors";
/// Programs lie together, so that each finds the others beside it; the path has links to those that people call.
const PROGRAMS: &str = "usr/lib/tender";
/// Name of the app's files among those of all applications.
const APP_ID: &str = "dev.tender.desktop";
const ICON_SIZES: &[u32] = &[16, 24, 32, 48, 64, 128, 256, 512];
/// Address of a folder with the pictures of `docs/`, for software centres: they load them from the web only.
const PICTURES_SETTING: &str = "TENDER_PICTURES";

/// What is packed.
struct Package {
    name: &'static str,
    app: bool,
    /// Loaded at run time, so that dpkg-shlibdeps does not see them.
    depends: &'static str,
    recommends: &'static str,
    relations: &'static str,
    description: &'static str,
}

const PACKAGES: &[Package] = &[
    Package {
        name: "tender-node",
        app: false,
        depends: "libvulkan1",
        recommends: "mesa-vulkan-drivers | vulkan-icd",
        relations: "Conflicts: tender-desktop\nReplaces: tender-desktop\n",
        description: "sell and buy compute: the node and its command line\n \
            Tender sells spare GPU time to peers over the Agent2Agent protocol, and buys where\n \
            it is cheapest. This package is the node for machines without a desktop: `tender',\n \
            its worker, and a systemd unit for each user (tender.service).\n",
    },
    Package {
        name: "tender-desktop",
        app: true,
        depends: "libvulkan1, libayatana-appindicator3-1",
        recommends: "mesa-vulkan-drivers | vulkan-icd",
        relations: "Provides: tender-node\nConflicts: tender-node\nReplaces: tender-node\n",
        description: "sell spare GPU time, buy what is cheaper elsewhere\n \
            Tender sells spare GPU time to peers over the Agent2Agent protocol, and buys where\n \
            it is cheapest, and can show why. This package is the desktop app with the node,\n \
            its worker and its command line.\n",
    },
];

/// Builds the programs as they are packed.
///
/// # Errors
/// When something is missing or the build fails.
pub fn build(workspace: &Workspace) -> Result<(), Problem> {
    system::set_up(Need::App)?;
    ui::install(workspace)?;
    ui::build(workspace)?;
    let programs = ["--package", "tender-app", "--package", "tender-cli", "--package", "tender-compute"];
    command::run(workspace.cargo().args(["build", "--release", "--locked", "--bins"]).args(programs))
}

/// Builds both packages into `target/package` and starts the programs of each from its own layout.
///
/// # Errors
/// When a step fails, or a packed program does not run.
pub fn package() -> Result<(), Problem> {
    if !cfg!(target_os = "linux") {
        return Err(Problem::new(Code::Unavailable, "packages are made for Debian and its relatives", "run it there"));
    }
    let workspace = Workspace::find()?;
    build(&workspace)?;
    let folder = workspace.target.join("package");
    let licences = licences::text(&workspace)?;
    let date = said(git(&workspace).args(["log", "-1", "--format=%ct"]))?;
    let mut made = Vec::new();
    for package in PACKAGES {
        let root = folder.join(package.name);
        let _ = fs::remove_dir_all(&root);
        package.stage(&workspace, &root, &licences)?;
        let file = package.pack(&folder, &root, &date)?;
        try_out(&folder, &file)?;
        made.push(file);
    }
    for file in made {
        println!("{}", file.display());
    }
    Ok(())
}

impl Package {
    fn stage(&self, workspace: &Workspace, root: &Path, licences: &str) -> Result<(), Problem> {
        let release = |name: &str| workspace.target.join("release").join(name);
        let source = |name: &str| workspace.root.join("src-tauri/package").join(name);
        let documents = root.join("usr/share/doc").join(self.name);
        for program in ["tender", "tender-worker"].into_iter().chain(self.app.then_some("tender-app")) {
            copy(&release(program), &root.join(PROGRAMS).join(program), 0o755)?;
        }
        for program in std::iter::once("tender").chain(self.app.then_some("tender-app")) {
            let link = root.join("usr/bin").join(program);
            write_folder(&link)?;
            symlink(format!("../lib/tender/{program}"), &link).map_err(|error| unwritable(&link, &error))?;
        }
        let unit = if self.app { "tender-desktop.service" } else { "tender.service" };
        copy(&source(unit), &root.join("usr/lib/systemd/user/tender.service"), 0o644)?;
        let manual = root.join("usr/share/man/man1");
        fs::create_dir_all(&manual).map_err(|error| unwritable(&manual, &error))?;
        command::run(Command::new(release("tender")).arg("manual").arg(&manual))?;
        for page in files_in(&manual)? {
            compress(&page)?;
        }
        let mut copyright = read(&source("copyright"))?;
        copyright.push_str("License: MIT\n");
        for line in read(&workspace.root.join("LICENSE-MIT"))?.lines() {
            copyright.push_str(&if line.is_empty() { " .\n".to_owned() } else { format!(" {line}\n") });
        }
        write(&documents.join("copyright"), &copyright)?;
        copy(&workspace.root.join("CHANGELOG.md"), &documents.join("changelog"), 0o644)?;
        compress(&documents.join("changelog"))?;
        write(&documents.join("third-party-licences.txt"), licences)?;
        compress(&documents.join("third-party-licences.txt"))?;
        if self.app {
            self.stage_app(workspace, root, &documents)?;
        }
        copy(&source("postrm"), &root.join("DEBIAN/postrm"), 0o755)
    }

    fn stage_app(&self, workspace: &Workspace, root: &Path, documents: &Path) -> Result<(), Problem> {
        let source = |name: &str| workspace.root.join("src-tauri/package").join(name);
        let share = root.join("usr/share");
        let entry = share.join(format!("applications/{APP_ID}.desktop"));
        copy(&source(&format!("{APP_ID}.desktop")), &entry, 0o644)?;
        let icons = share.join("icons/hicolor");
        for size in ICON_SIZES {
            let icon = workspace.root.join(format!("icons/{size}x{size}.png"));
            copy(&icon, &icons.join(format!("{size}x{size}/apps/{APP_ID}.png")), 0o644)?;
        }
        copy(&workspace.root.join("icons/icon.svg"), &icons.join(format!("scalable/apps/{APP_ID}.svg")), 0o644)?;
        copy(&workspace.root.join("docs/overview.png"), &documents.join("overview.png"), 0o644)?;
        let day = said(git(workspace).args(["log", "-1", "--format=%cs"]))?;
        let metainfo = share.join(format!("metainfo/{APP_ID}.metainfo.xml"));
        let text = read(&source(&format!("{APP_ID}.metainfo.xml")))?;
        write(&metainfo, &filled(&text, &day, env::var(PICTURES_SETTING).ok().as_deref()))?;
        check("desktop-file-validate", &[], &entry)?;
        check("appstreamcli", &["validate", "--no-net"], &metainfo)
    }

    fn pack(&self, folder: &Path, root: &Path, date: &str) -> Result<PathBuf, Problem> {
        let architecture = said(Command::new("dpkg").arg("--print-architecture"))?;
        let mut sums = String::new();
        let mut bytes = 0;
        for file in files_below(root)?.iter().filter(|file| !file.starts_with(root.join("DEBIAN"))) {
            let name = file.strip_prefix(root).unwrap_or(file);
            if !file.is_symlink() {
                let sum = said(Command::new("md5sum").arg("--").arg(file))?;
                sums.push_str(&format!("{}  {}\n", sum.split(' ').next().unwrap_or_default(), name.display()));
                bytes += fs::metadata(file).map_err(|error| unwritable(file, &error))?.len();
            }
        }
        write(&root.join("DEBIAN/md5sums"), &sums)?;
        let control = format!(
            "Package: {}\nVersion: {VERSION}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\nSection: net\n\
             Priority: optional\nInstalled-Size: {}\nDepends: {}, {}\nRecommends: {}\n{}Description: {}",
            self.name,
            bytes.div_ceil(1024),
            linked(folder, root)?,
            self.depends,
            self.recommends,
            self.relations,
            self.description,
        );
        write(&root.join("DEBIAN/control"), &control)?;
        let file = folder.join(format!("{}_{VERSION}_{architecture}.deb", self.name));
        // The same sources make the same bytes: no times but the last change's, no owner but root.
        let mut pack = Command::new("dpkg-deb");
        pack.env("SOURCE_DATE_EPOCH", date).args(["--root-owner-group", "-Zxz", "--build"]).arg(root).arg(&file);
        command::run(&mut pack)?;
        println!("{}  {}", Sha256::of(&fs::read(&file).map_err(|e| unwritable(&file, &e))?), file.display());
        Ok(file)
    }
}

/// The metainfo of this version; pictures only when someone says where on the web they are.
fn filled(metainfo: &str, day: &str, pictures: Option<&str>) -> String {
    let shown = pictures.map_or_else(String::new, |folder| {
        format!(
            "<screenshots>\n    <screenshot type=\"default\">\n      <caption>What was earned and spent today, what runs, \
             and why</caption>\n      <image type=\"source\">{}/overview.png</image>\n    </screenshot>\n  \
             </screenshots>",
            folder.trim_end_matches('/')
        )
    });
    metainfo.replace("@SCREENSHOTS@", &shown).replace("@VERSION@", VERSION).replace("@DATE@", day)
}

/// Packages with the libraries that the programs are linked with, as a list of dependencies.
fn linked(folder: &Path, root: &Path) -> Result<String, Problem> {
    // It wants to stand in a source package.
    write(&folder.join("debian/control"), "Source: tender\n\nPackage: tender\nArchitecture: any\n")?;
    let mut ask = Command::new("dpkg-shlibdeps");
    ask.current_dir(folder).arg("-O");
    for program in files_in(&root.join(PROGRAMS))? {
        ask.arg("-e").arg(program);
    }
    let said = said(&mut ask)?;
    said.strip_prefix("shlibs:Depends=")
        .map(str::to_owned)
        .ok_or_else(|| Problem::new(Code::WorkFailed, format!("dpkg-shlibdeps names no dependencies but: {said}"), ""))
}

/// Unpacks it and makes a whole trade with what came out: programs find one another only in their own layout.
fn try_out(folder: &Path, file: &Path) -> Result<(), Problem> {
    let root = folder.join("try-out");
    let _ = fs::remove_dir_all(&root);
    command::run(Command::new("dpkg-deb").arg("-x").arg(file).arg(&root))?;
    let tender = root.join("usr/bin/tender");
    command::run(Command::new(&tender).arg("--version"))?;
    command::run(Command::new(&tender).arg("demo"))?;
    fs::remove_dir_all(&root).map_err(|error| unwritable(&root, &error))
}

/// Runs a validator where it is installed.
fn check(program: &str, arguments: &[&str], file: &Path) -> Result<(), Problem> {
    if command::answer(Command::new(program).arg("--version")).is_none() {
        eprintln!("{program} is not installed: {} is not checked", file.display());
        return Ok(());
    }
    command::run(Command::new(program).args(arguments).arg(file))
}

fn git(workspace: &Workspace) -> Command {
    let mut command = Command::new("git");
    command.current_dir(&workspace.root);
    command
}

fn said(command: &mut Command) -> Result<String, Problem> {
    let words = command::words(command);
    command::answer(command).ok_or_else(|| Problem::new(Code::WorkFailed, format!("`{words}` failed"), ""))
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), Problem> {
    write_folder(to)?;
    fs::copy(from, to).map_err(|error| unwritable(from, &error))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(|error| unwritable(to, &error))
}

fn write(file: &Path, text: &str) -> Result<(), Problem> {
    write_folder(file)?;
    fs::write(file, text).map_err(|error| unwritable(file, &error))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).map_err(|error| unwritable(file, &error))
}

fn write_folder(file: &Path) -> Result<(), Problem> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))
}

/// Without name and time, so that the same text makes the same bytes.
fn compress(file: &Path) -> Result<(), Problem> {
    command::run(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(file))
}

fn read(file: &Path) -> Result<String, Problem> {
    fs::read_to_string(file).map_err(|error| unwritable(file, &error))
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut files: Vec<PathBuf> =
        entries.map_err(|error| unwritable(folder, &error))?.iter().map(fs::DirEntry::path).collect();
    files.sort();
    Ok(files)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let mut files = Vec::new();
    for path in files_in(folder)? {
        if path.is_dir() && !path.is_symlink() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn unwritable(path: &Path, error: &io::Error) -> Problem {
    Problem::new(Code::Storage, format!("{}: {error}", path.display()), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const METAINFO: &str = "<a>@SCREENSHOTS@</a><release version=\"@VERSION@\" date=\"@DATE@\"/>";

    #[test]
    fn pictures_are_named_only_when_they_are_somewhere() {
        let without = filled(METAINFO, "2026-11-21", None);
        assert_eq!(without, format!("<a></a><release version=\"{VERSION}\" date=\"2026-11-21\"/>"));
        assert!(
            filled(METAINFO, "2026-11-21", Some("https://a.example/b/")).contains(">https://a.example/b/overview.png<")
        );
    }

    #[test]
    fn every_file_is_found_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("a/b/c"), "x").unwrap();
        symlink("b", root.path().join("a/link")).unwrap();
        let found = files_below(root.path()).unwrap();
        assert_eq!(found, [root.path().join("a/b/c"), root.path().join("a/link")]);
    }
}
