//! The manifests are the map: which crate may use which, what must not get into the engine, and what the image is built of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::Table;

/// The crates below `crates/`, in order: each may use those before it.
const ORDER: &[&str] = &[
    "pool",
    "tree",
    "recovery",
    "types",
    "store",
    "batch",
    "evm",
    "counters",
    "rom",
    "processor",
    "wire",
    "testkit",
    "tools",
];
/// Crates that compute: they start no runtime, know no transport and call no operating system.
const ENGINE: &[&str] = &["pool", "tree", "recovery", "types", "batch", "evm", "counters", "rom", "processor"];
/// What engine crates must not name.
const NOT_NAMED: &[&str] = &["tokio", "actix", "actix-rt", "tonic", "prost", "libc", "parking_lot"];
/// What must not get into their trees either.
const NOT_IN_TREE: &[&str] = &["tokio", "actix", "actix-rt", "tonic", "prost", "parking_lot"];
/// The only ways in which libc gets there: random numbers for the curves of revm's precompiles, which we never ask for, and
/// the processor's features where there is no instruction that tells them.
const LIBC_THROUGH: &[&str] = &["getrandom", "cpufeatures"];
/// Kinds of dependencies that are part of the program. What only tests use may come from anywhere.
const KINDS: &[&str] = &["dependencies", "build-dependencies"];

struct Manifest {
    /// Folder from the root.
    folder: PathBuf,
    content: Table,
}

impl Manifest {
    fn read(folder: &str) -> Self {
        let path = root().join(folder).join("Cargo.toml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let content = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { folder: folder.into(), content }
    }

    /// Returns the names of what the program depends on, on any platform.
    fn dependencies(&self) -> BTreeSet<&str> {
        let targets = self.content.get("target").and_then(|targets| targets.as_table()).into_iter().flatten();
        let tables = targets.filter_map(|(_, table)| table.as_table()).chain([&self.content]);
        let kinds = tables.flat_map(|table| KINDS.iter().filter_map(|kind| table.get(*kind)?.as_table()));
        kinds.flat_map(Table::keys).map(String::as_str).collect()
    }

    fn table(&self, names: &[&str]) -> Option<&Table> {
        names.iter().try_fold(&self.content, |table, name| table.get(*name)?.as_table())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn crates() -> impl Iterator<Item = (&'static str, Manifest)> {
    ORDER.iter().map(|name| (*name, Manifest::read(&format!("crates/{name}"))))
}

/// All packages: the service, the crates, the fuzz targets.
fn packages() -> Vec<Manifest> {
    crates().map(|(_, manifest)| manifest).chain([Manifest::read(""), Manifest::read("fuzz")]).collect()
}

fn report(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn the_order_names_every_crate() {
    let folders = fs::read_dir(root().join("crates")).expect("the folder of the crates");
    let found: BTreeSet<String> =
        folders.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(found, ORDER.iter().map(ToString::to_string).collect());
}

#[test]
fn a_crate_uses_only_those_before_it() {
    let mut offences = Vec::new();
    for (place, (name, manifest)) in crates().enumerate() {
        let known: BTreeSet<String> = ORDER[..place].iter().map(|earlier| format!("zkevm-{earlier}")).collect();
        for other in manifest.dependencies().into_iter().filter(|other| other.starts_with("zkevm-")) {
            if !known.contains(other) {
                offences.push(format!("crates/{name} uses {other}, which does not stand before it"));
            }
        }
    }
    report(&offences);
}

#[test]
fn engine_crates_name_no_runtime_and_no_transport() {
    let mut offences = Vec::new();
    for name in ENGINE {
        let manifest = Manifest::read(&format!("crates/{name}"));
        let names = manifest.dependencies();
        for forbidden in NOT_NAMED.iter().filter(|forbidden| names.contains(**forbidden)) {
            offences.push(format!("crates/{name} names {forbidden}"));
        }
        if names.contains("zkevm-store") || names.contains("zkevm-wire") {
            offences.push(format!("crates/{name} uses a crate with a runtime"));
        }
    }
    report(&offences);
}

#[test]
fn no_runtime_and_no_transport_gets_into_the_engine() {
    let mut offences = Vec::new();
    for name in ENGINE {
        let found = tree(&["-p", &format!("zkevm-{name}")]);
        assert!(found.contains(&format!("zkevm-{name}")), "cargo tree does not show zkevm-{name}: {found:?}");
        for forbidden in NOT_IN_TREE.iter().filter(|forbidden| found.contains(**forbidden)) {
            offences.push(format!("zkevm-{name} brings {forbidden}"));
        }
        if found.contains("libc") {
            let mut users = tree(&["-p", &format!("zkevm-{name}"), "-i", "libc", "--depth", "1"]);
            users.remove("libc");
            users.retain(|user| !LIBC_THROUGH.contains(&user.as_str()));
            offences.extend(users.iter().map(|user| format!("zkevm-{name} brings libc through {user}")));
        }
    }
    report(&offences);
}

/// Returns the names of the packages that `cargo tree` shows.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let fixed = ["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let output = Command::new(cargo).args(fixed).args(arguments).current_dir(root()).output().expect("cargo starts");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn every_package_has_the_lints() {
    let mut offences = Vec::new();
    let workspace = Manifest::read("");
    let lints = workspace.table(&["workspace", "lints"]).expect("the lints of the workspace");
    for manifest in packages() {
        let Some(own) = manifest.table(&["lints"]) else {
            offences.push(format!("{}: no [lints]", manifest.folder.display()));
            continue;
        };
        if own.get("workspace").and_then(toml::Value::as_bool) == Some(true) {
            continue;
        }
        // A package with `unsafe` of its own repeats the workspace's lints, and denies it outside of one module.
        let mut expected = lints.clone();
        let rust = expected.get_mut("rust").and_then(toml::Value::as_table_mut).expect("lints of rustc");
        rust.insert("unsafe_code".to_owned(), "deny".into());
        if *own != expected {
            offences.push(format!(
                "{}: [lints] are neither the workspace's nor those with unsafe_code = \"deny\"",
                manifest.folder.display()
            ));
        }
    }
    report(&offences);
}

#[test]
fn every_library_says_what_it_decides_and_does_not_unwrap() {
    let mut offences = Vec::new();
    for manifest in packages() {
        let path = root().join(&manifest.folder).join("src/lib.rs");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let front: String = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        // Not among the lints of the workspace: tests may.
        if !text.contains("#![cfg_attr(not(test), warn(clippy::unwrap_used))]") {
            offences.push(format!("{}: unwrap is not refused outside of tests", path.display()));
        }
        for says in ["Decides", "Must not know"] {
            if !front.contains(says) {
                offences.push(format!("{}: the front page does not say \"{says}\"", path.display()));
            }
        }
    }
    report(&offences);
}

#[test]
fn one_version_of_rust_is_the_oldest() {
    let workspace = Manifest::read("");
    let package = workspace.table(&["workspace", "package"]).expect("what packages share");
    let oldest = package["rust-version"].as_str().expect("a version");
    let says = |file: &str, text: String| {
        let content = read(file);
        assert!(content.contains(&text), "{file} does not say {text}");
    };
    says("Dockerfile", format!("FROM rust:{oldest}-"));
    says(".github/workflows/ci.yml", format!("MSRV: \"{oldest}\""));
}

#[test]
fn the_image_is_built_of_all_that_the_manifests_name() {
    let dockerfile = read("Dockerfile");
    let copied: BTreeSet<&str> =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).flat_map(|line| line.split(' ')).collect();
    let let_through = read(".dockerignore");
    let let_through: BTreeSet<&str> = let_through.lines().filter_map(|line| line.strip_prefix('!')).collect();
    // The crates read `proto` and `config` when they are built.
    for path in ["Cargo.toml", "Cargo.lock", "crates", "fuzz", "src", "benches", "proto", "config"] {
        assert!(copied.contains(path), "the Dockerfile does not copy {path}");
        assert!(let_through.contains(path), ".dockerignore holds {path} back");
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}
