//! Who may depend on whom, read from Cargo itself.

use serde_json::Value;
use std::{collections::BTreeSet, path::Path, process::Command};

/// In-house dependencies that are allowed, development dependencies included. A new room is added here on purpose.
const HOUSE: &[(&str, &[&str])] = &[
    ("tender-base", &[]),
    ("tender-market", &["tender-base"]),
    ("tender-sim", &["tender-base", "tender-market"]),
    ("tender-compute", &["tender-base"]),
    ("tender-engine", &["tender-base"]),
    ("tender-host", &["tender-base"]),
    ("tender-a2a", &["tender-base"]),
    ("tender-store", &["tender-base"]),
    (
        "tender-node",
        &["tender-base", "tender-market", "tender-sim", "tender-engine", "tender-host", "tender-a2a", "tender-store"],
    ),
    ("tender-cli", &["tender-base", "tender-market", "tender-node", "tender-sim"]),
    ("tender-app", &["tender-base", "tender-node"]),
];

/// Looked at by nobody: they are no part of the product, and may use any room.
const FREE: &[&str] = &["tender-xtask", "tender-tests"];

/// Crates that only one room may name, by prefix.
const RESERVED: &[(&str, &str)] = &[
    ("wgpu", "tender-compute"),
    ("naga", "tender-compute"),
    ("candle", "tender-compute"),
    ("tokenizers", "tender-compute"),
    ("sqlx", "tender-store"),
    ("tauri", "tender-app"),
];

/// Crates that must not be linked into a package at all, however deep, by prefix.
const NOT_LINKED: &[(&str, &[&str])] = &[
    ("tender-base", &["tokio", "reqwest", "sqlx", "getrandom"]),
    // Decisions replay bit for bit: no runtime, no database, no randomness of its own.
    ("tender-market", &["tokio", "reqwest", "sqlx", "getrandom", "rand"]),
    ("tender-sim", &["tokio", "reqwest", "sqlx", "getrandom", "rand"]),
    // The process that holds keys and the ledger touches no GPU and starts on a server without GTK.
    ("tender-cli", &["wgpu", "naga", "candle", "tokenizers", "tauri", "gtk", "webkit2gtk", "tender-compute"]),
    ("tender-app", &["wgpu", "naga", "candle", "tokenizers", "sqlx", "tender-store", "tender-compute"]),
    ("tender-compute", &["sqlx", "tauri", "reqwest"]),
];

/// The draws of ChaCha are arithmetic: the seed comes in from outside.
const ARITHMETIC: &[&str] = &["rand_chacha", "rand_core"];

/// A package and what its manifest names.
struct Package {
    name: String,
    dependencies: Vec<String>,
}

fn packages(metadata: &Value) -> Vec<Package> {
    let text = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&metadata["packages"])
        .iter()
        .map(|package| Package {
            name: text(package),
            dependencies: list(&package["dependencies"]).iter().map(text).collect(),
        })
        .collect()
}

fn matches(name: &str, prefix: &str) -> bool {
    // `rand` is `rand` and `rand_…`, but not `random`.
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

/// What is wrong with what the manifests name.
fn broken_by_manifests(packages: &[Package]) -> Vec<String> {
    let mut broken = Vec::new();
    for package in packages.iter().filter(|package| !FREE.contains(&package.name.as_str())) {
        let Some((_, allowed)) = HOUSE.iter().find(|(name, _)| *name == package.name) else {
            broken.push(format!("{} is in no list: decide what it may depend on", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            if dependency.starts_with("tender-") && !allowed.contains(&dependency.as_str()) {
                broken.push(format!("{} must not know {dependency}", package.name));
            }
        }
    }
    for package in packages {
        for dependency in &package.dependencies {
            for (prefix, owner) in RESERVED {
                if matches(dependency, prefix) && package.name != *owner {
                    broken.push(format!("{} names {dependency}, which belongs to {owner}", package.name));
                }
            }
        }
    }
    broken
}

/// What is wrong with what is linked into `package`; `tree` has one name per line.
fn broken_by_tree(package: &str, tree: &str) -> Vec<String> {
    let linked: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let forbidden = NOT_LINKED.iter().filter(|(name, _)| *name == package).flat_map(|(_, prefixes)| *prefixes);
    forbidden
        .flat_map(|prefix| linked.iter().filter(|name| matches(name, prefix) && !ARITHMETIC.contains(name)))
        .map(|name| format!("{package} links {name}"))
        .collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn manifests_keep_the_house_in_order() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let packages = packages(&serde_json::from_str(&metadata).unwrap());
    assert!(packages.len() > HOUSE.len(), "the workspace was not read");
    let broken = broken_by_manifests(&packages);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn nothing_forbidden_is_linked() {
    for (package, _) in NOT_LINKED {
        let tree = cargo(&["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
        assert!(tree.contains("tender-base"), "{package}: the tree was not read");
        let broken = broken_by_tree(package, &tree);
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }
}

#[test]
fn bad_manifests_are_found() {
    let found = |name: &str, dependency: &str| {
        broken_by_manifests(&[Package { name: name.into(), dependencies: vec![dependency.into()] }])
    };
    for (name, dependency) in [
        ("tender-market", "tender-store"),
        ("tender-engine", "tender-compute"),
        ("tender-node", "tender-compute"),
        ("tender-sim", "tender-store"),
        ("tender-app", "tender-sim"),
        ("tender-base", "tender-market"),
        ("tender-node", "sqlx"),
        ("tender-engine", "wgpu"),
        ("tender-engine", "candle-core"),
        ("tender-tests", "tauri"),
        ("tender-cli", "tauri-build"),
        ("tender-newcomer", "serde"),
    ] {
        assert_eq!(found(name, dependency).len(), 1, "{name} → {dependency}");
    }
    for (name, dependency) in [
        ("tender-node", "tender-store"),
        ("tender-node", "tender-sim"),
        ("tender-cli", "tender-sim"),
        ("tender-store", "sqlx"),
        ("tender-xtask", "tender-base"),
        ("tender-app", "tauri"),
    ] {
        assert_eq!(found(name, dependency), Vec::<String>::new(), "{name} → {dependency}");
    }
}

#[test]
fn bad_trees_are_found() {
    assert_eq!(broken_by_tree("tender-cli", "tender-base v0.1.0\nwgpu-core v30.0.1\n"), ["tender-cli links wgpu-core"]);
    assert_eq!(broken_by_tree("tender-market", "rand v0.9.0\nrand_chacha v0.9.0\n"), ["tender-market links rand"]);
    assert!(broken_by_tree("tender-market", "randomise v1.0.0\nlibm v0.2.16\n").is_empty());
}
