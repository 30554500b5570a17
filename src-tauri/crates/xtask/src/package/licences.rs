//! What the packed programs contain of others, with its terms.

use crate::{command, workspace::Workspace};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};
use tender_base::{Code, Problem};

/// Built into the screens, although the UI needs them only to be built.
const BUILT_IN: &[&str] = &["svelte", "@fontsource-variable/inter", "@fontsource-variable/jetbrains-mono"];
/// How files with terms are called.
const TERMS: &[&str] = &["license", "licence", "copying", "notice", "unlicense"];

/// One library of others.
struct Library {
    name: String,
    licence: String,
    terms: Vec<String>,
}

/// All libraries that are linked or built in, and each text once with those that it is for.
///
/// # Errors
/// When Cargo or the UI's lock file cannot be read.
pub fn text(workspace: &Workspace) -> Result<String, Problem> {
    let mut libraries = crates(workspace)?;
    libraries.extend(of_the_ui(workspace)?);
    Ok(written(&libraries))
}

fn written(libraries: &[Library]) -> String {
    let mut text = String::from("Tender contains these libraries, each under its own terms.\n\n");
    let mut by_terms: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for library in libraries {
        let _ = writeln!(text, "{}: {}", library.name, library.licence);
        for terms in &library.terms {
            by_terms.entry(terms).or_default().insert(&library.name);
        }
    }
    for (terms, names) in by_terms {
        let names: Vec<&str> = names.into_iter().collect();
        let _ = write!(text, "\n{}\n{}\n\n{terms}\n", "=".repeat(80), names.join(", "));
    }
    text
}

fn crates(workspace: &Workspace) -> Result<Vec<Library>, Problem> {
    let unreadable = || Problem::new(Code::Storage, "`cargo metadata` does not answer", "run `cargo fetch`");
    let host = command::answer(workspace.cargo().args(["--version", "--verbose"])).ok_or_else(unreadable)?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).ok_or_else(unreadable)?;
    let mut ask = workspace.cargo();
    ask.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", host]);
    let metadata = command::answer(&mut ask);
    let metadata: Value = metadata.and_then(|text| serde_json::from_str(&text).ok()).ok_or_else(unreadable)?;
    let linked = linked(&metadata);
    let mut libraries = Vec::new();
    for package in list(&metadata["packages"]) {
        // Our own have no source.
        if !linked.contains(word(&package["id"])) || package["source"].is_null() {
            continue;
        }
        let folder = Path::new(word(&package["manifest_path"])).parent().map(Path::to_owned).unwrap_or_default();
        libraries.push(Library {
            name: format!("{} {}", word(&package["name"]), word(&package["version"])),
            licence: package["license"].as_str().unwrap_or("see its terms").to_owned(),
            terms: terms_in(&folder),
        });
    }
    Ok(libraries)
}

/// Ids of everything that is linked into the packed programs.
fn linked(metadata: &Value) -> BTreeSet<&str> {
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).iter().map(|node| (word(&node["id"]), node)).collect();
    let packed = ["tender-app", "tender-cli", "tender-compute"];
    let mut open: Vec<&str> = list(&metadata["packages"])
        .iter()
        .filter(|package| packed.contains(&word(&package["name"])))
        .map(|package| word(&package["id"]))
        .collect();
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        for dependency in nodes.get(id).map(|node| list(&node["deps"])).into_iter().flatten() {
            // Neither for tests nor for build scripts: those have no kind.
            if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                open.push(word(&dependency["pkg"]));
            }
        }
    }
    found
}

fn of_the_ui(workspace: &Workspace) -> Result<Vec<Library>, Problem> {
    let file = workspace.ui().join("package-lock.json");
    let unreadable = |error: String| Problem::new(Code::Storage, format!("{}: {error}", file.display()), "");
    let text = fs::read_to_string(&file).map_err(|error| unreadable(error.to_string()))?;
    let lock: Value = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let packages = lock["packages"].as_object().ok_or_else(|| unreadable("no packages".to_owned()))?;
    Ok(packages
        .iter()
        .filter_map(|(place, package)| {
            let name = place.rsplit_once("node_modules/")?.1;
            (package["dev"] != true || BUILT_IN.contains(&name)).then(|| Library {
                name: format!("{name} {}", word(&package["version"])),
                licence: package["license"].as_str().unwrap_or("see its terms").to_owned(),
                terms: terms_in(&workspace.ui().join(place)),
            })
        })
        .collect())
}

/// Texts of the files that say under which terms a library comes.
fn terms_in(folder: &Path) -> Vec<String> {
    let mut texts: Vec<(String, String)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().to_lowercase();
            TERMS.iter().any(|terms| name.starts_with(terms)).then_some(())?;
            let text = fs::read_to_string(entry.path()).ok()?;
            Some((name, text.replace("\r\n", "\n").trim().to_owned()))
        })
        .collect();
    texts.sort();
    texts.into_iter().map(|(_, text)| text).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_linked_counts() {
        let node = |id: &str, deps: &[(&str, Value)]| {
            let deps: Vec<Value> =
                deps.iter().map(|(pkg, kind)| json!({"pkg": pkg, "dep_kinds": [{"kind": kind}]})).collect();
            json!({"id": id, "deps": deps})
        };
        let metadata = json!({
            "packages": [{"id": "cli", "name": "tender-cli"}, {"id": "tests", "name": "tender-tests"}],
            "resolve": {"nodes": [
                node("cli", &[("a", Value::Null), ("for-tests", json!("dev")), ("for-builds", json!("build"))]),
                node("a", &[("b", Value::Null)]),
                node("tests", &[("c", Value::Null)]),
            ]},
        });
        assert_eq!(linked(&metadata), BTreeSet::from(["a", "b", "cli"]));
    }

    #[test]
    fn a_text_stands_once_with_all_that_it_is_for() {
        let library = |name: &str| Library { name: name.into(), licence: "MIT".into(), terms: vec!["Do it.".into()] };
        let text = written(&[library("a 1"), library("b 2")]);
        assert!(text.contains("a 1: MIT\nb 2: MIT\n") && text.contains("a 1, b 2\n\nDo it."), "{text}");
        assert_eq!(text.matches("Do it.").count(), 1);
    }
}
