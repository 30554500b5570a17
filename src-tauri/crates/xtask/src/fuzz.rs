//! `cargo xtask fuzz`: libFuzzer over the decoders that read what strangers send. What it finds lies in `target/fuzz`;
//! an input that matters is copied into `tests/fixtures/fuzz`, which the tests replay.

use crate::{command, workspace::Workspace};
use std::{
    env::consts::{ARCH, OS},
    fs,
    process::Command,
};
use tender_base::{Code, Problem};

/// For each target.
const SECONDS: u32 = 60;
/// Coverage as libFuzzer wants it. No sanitizer, which only a nightly compiler has: the decoders have no unsafe code,
/// so panics and broken promises are what there is to find.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1";

/// Fuzzes every target for a minute, or the one that is named.
///
/// # Errors
/// When there is no such target, it does not build, or libFuzzer found something; then it has said which input.
pub fn fuzz(only: Option<&str>) -> Result<(), Problem> {
    if (OS, ARCH) != ("linux", "x86_64") {
        return Err(Problem::new(Code::Unavailable, "fuzzing is set up for x86-64 Linux", "run it there"));
    }
    let workspace = Workspace::find()?;
    let corpora = workspace.root.join("tests/fixtures/fuzz");
    let unreadable = |error: std::io::Error| Problem::new(Code::Storage, format!("{}: {error}", corpora.display()), "");
    let mut names = Vec::new();
    for entry in fs::read_dir(&corpora).map_err(unreadable)? {
        names.push(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let chosen: Vec<&String> = names.iter().filter(|name| only.is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        return Err(Problem::new(Code::Invalid, "there is no such target", format!("one of: {}", names.join(", "))));
    }
    let place = workspace.target.join("fuzz");
    let target = format!("{ARCH}-unknown-linux-gnu");
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--locked", "--target", &target, "--target-dir"]).arg(&place);
    build.arg("--manifest-path").arg(workspace.root.join("src-tauri/crates/a2a/fuzz/Cargo.toml"));
    command::run(build.env("RUSTFLAGS", FLAGS))?;
    for name in chosen {
        let found = place.join("corpus").join(name);
        fs::create_dir_all(&found)
            .map_err(|error| Problem::new(Code::Storage, format!("{}: {error}", found.display()), "free the disk"))?;
        let mut run = Command::new(place.join(&target).join("release/tender-a2a-fuzz"));
        run.env("TENDER_FUZZ", name).arg(format!("-max_total_time={SECONDS}")).arg("-print_final_stats=1");
        run.arg(format!("-artifact_prefix={}/{name}-", place.display())).arg(&found).arg(corpora.join(name));
        command::run(&mut run)?;
    }
    Ok(())
}
