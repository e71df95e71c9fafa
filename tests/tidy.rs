//! What a machine can check of STYLE.md and ARCHITECTURE.md.
//!
//! Each check is a function from text to a list of faults. It is run twice: over the tree, where it has to
//! find nothing but has to have looked at something, and over a planted fault, which it has to find.

#[path = "tidy/book.rs"]
mod book;
#[path = "tidy/links.rs"]
mod links;
#[path = "tidy/names.rs"]
mod names;

use std::collections::BTreeSet;
use std::path::Path;

use toml::Table;

/// Longest Rust file, tests included.
const LINES_MAX: usize = 600;

/// What each package of ours may lean on, names without `lampguard-`; empty is "nothing of ours".
const ARROWS: [(&str, &str); 8] = [
    ("lampguard-model", ""),
    ("lampguard-journal", ""),
    ("lampguard-history", "model journal"),
    ("lampguard-ingester", "model journal"),
    ("lampguard-alerting", "model journal"),
    ("lampguard-dashboards", "model"),
    ("lampguard-simulator", "model"),
    ("lampguard", "model journal history ingester alerting dashboards simulator"),
];

/// Libraries that a package never names: sockets, databases, runtimes, other people's jobs.
const NEVER: [(&str, &str); 7] = [
    ("lampguard-model", "tokio rusqlite rumqttc influxdb2 ureq anyhow tracing"),
    ("lampguard-journal", "tokio rusqlite serde serde_json anyhow"),
    ("lampguard-history", "tokio rumqttc influxdb2 ureq anyhow"),
    ("lampguard-alerting", "tokio rumqttc influxdb2 anyhow"),
    ("lampguard-ingester", "axum clap anyhow"),
    ("lampguard-dashboards", "tokio rusqlite rumqttc influxdb2 ureq anyhow tracing"),
    ("lampguard-simulator", "rusqlite influxdb2 anyhow"),
];

/// Packages whose code is handed the time.
const CLOCKLESS: [&str; 6] = ["model", "journal", "history", "alerting", "dashboards", "simulator"];
const CLOCKS: [&str; 2] = ["std::time::SystemTime::now", "std::time::Instant::now"];
/// Files of those packages that run things by a clock, or measure. Tests and examples aside.
const CLOCK_FILES: [&str; 3] =
    ["alerting/src/run.rs", "alerting/src/notify/desk.rs", "alerting/src/notify/smtp.rs"];

/// One text file: its path from the top of the tree, with `/`, and its text.
type File = (String, String);
type Faults = Vec<String>;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the tree but what is built, kept by the version control, or a data directory.
fn tree() -> Vec<File> {
    let (mut files, mut folders) = (Vec::new(), vec![top().to_owned()]);
    while let Some(folder) = folders.pop() {
        // What goes away while we look was not part of the tree.
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("").to_owned();
            let at_top = folder == top();
            if matches!(name.as_str(), ".git" | "target") || at_top && name == "data" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                files.push((relative(&path), text));
            }
        }
    }
    files.sort();
    files
}

fn relative(path: &Path) -> String {
    let inner = path.strip_prefix(top()).unwrap_or(path);
    inner.to_string_lossy().replace('\\', "/")
}

fn with_end<'f>(files: &'f [File], end: &str) -> Vec<&'f File> {
    files.iter().filter(|(path, _)| path.ends_with(end)).collect()
}

fn clean(faults: &[String]) {
    assert!(faults.is_empty(), "{} fault(s):\n{}", faults.len(), faults.join("\n"));
}

// ---- file length

fn long_files(files: &[&File]) -> Faults {
    let long = files.iter().map(|(path, text)| (path, text.lines().count()));
    long.filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines, limit {LINES_MAX}"))
        .collect()
}

#[test]
fn no_rust_file_is_longer_than_600_lines() {
    let files = tree();
    let rust = with_end(&files, ".rs");
    assert!(rust.len() > 50, "only {} Rust files were looked at", rust.len());
    clean(&long_files(&rust));
}

#[test]
fn a_file_of_601_lines_is_found() {
    let file = |lines| ("a.rs".to_owned(), "x\n".repeat(lines));
    assert_eq!(long_files(&[&file(600)]), Faults::new());
    assert_eq!(long_files(&[&file(601)]).len(), 1);
}

// ---- crate arrows

fn words(table: &[(&str, &'static str)], name: &str) -> Option<Vec<&'static str>> {
    let found = table.iter().find(|(known, _)| *known == name);
    found.map(|(_, list)| list.split_whitespace().collect())
}

/// Names of a package's dependencies of every kind.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let section = manifest.get(kind).and_then(toml::Value::as_table);
        found.extend(section.into_iter().flat_map(|table| table.keys().cloned()));
    }
    found
}

fn bad_arrows(manifests: &[&File]) -> Faults {
    let mut faults = Faults::new();
    let mut seen = BTreeSet::new();
    for (path, text) in manifests {
        let Ok(manifest) = text.parse::<Table>() else {
            faults.push(format!("{path}: not TOML"));
            continue;
        };
        let Some(name) = manifest.get("package").and_then(|package| package.get("name")?.as_str()) else {
            continue;
        };
        seen.insert(name.to_owned());
        let Some(allowed) = words(&ARROWS, name) else {
            faults.push(format!("{path}: {name} has no arrows in tests/tidy.rs and ARCHITECTURE.md"));
            continue;
        };
        let never = words(&NEVER, name).unwrap_or_default();
        for dependency in dependencies(&manifest) {
            let ours = dependency.strip_prefix("lampguard-");
            if ours.is_some_and(|part| !allowed.contains(&part)) || never.contains(&dependency.as_str()) {
                faults.push(format!("{path}: {name} must not name {dependency}"));
            }
        }
        if manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool()) != Some(true) {
            faults.push(format!("{path}: the lints of the workspace are not on"));
        }
    }
    let missing = ARROWS.iter().filter(|(name, _)| !seen.contains(*name));
    faults.extend(missing.map(|(name, _)| format!("{name} has arrows and no Cargo.toml")));
    faults
}

#[test]
fn crates_lean_only_along_the_arrows() {
    let files = tree();
    let manifests = with_end(&files, "Cargo.toml");
    assert_eq!(manifests.len(), ARROWS.len());
    clean(&bad_arrows(&manifests));
    let workspace: Table = files
        .iter()
        .find(|(path, _)| path == "Cargo.toml")
        .and_then(|(_, text)| text.parse().ok())
        .expect("the workspace has a manifest");
    let forbidden = workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str();
    assert_eq!(forbidden, Some("forbid"));
}

#[test]
fn an_arrow_that_is_not_drawn_is_found() {
    let manifest = |name: &str, rest: &str| {
        let text = format!("[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n{rest}");
        (format!("{name}/Cargo.toml"), text)
    };
    let good: Vec<File> = ARROWS.iter().map(|(name, _)| manifest(name, "")).collect();
    assert_eq!(bad_arrows(&good.iter().collect::<Vec<_>>()), Faults::new());
    let planted = [
        ("lampguard-alerting", "[dev-dependencies]\nlampguard-ingester.workspace = true"),
        ("lampguard-model", "[dependencies]\ntokio = \"1\""),
        ("lampguard-new", ""),
    ];
    for (name, rest) in planted {
        let mut files = good.clone();
        files.retain(|(path, _)| *path != format!("{name}/Cargo.toml"));
        files.push(manifest(name, rest));
        assert_eq!(bad_arrows(&files.iter().collect::<Vec<_>>()).len(), 1, "{name} {rest}");
    }
    assert_eq!(bad_arrows(&good[1..].iter().collect::<Vec<_>>()).len(), 1);
}

// ---- words that must not stay

/// Notes to ourselves without an issue, paths of one machine, hosts of package registries.
fn bad_words(files: &[&File]) -> Faults {
    // In pieces, so that this file does not find itself.
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let hosts = [
        concat!("registry", "+"),
        concat!("sparse", "+"),
        concat!("index.", "crates.io"),
        concat!("static.", "crates.io"),
        concat!("crates.io", "-index"),
        concat!("pypi", ".org"),
    ];
    let mut faults = Faults::new();
    for (path, text) in files {
        for (number, line) in text.lines().enumerate() {
            let mut fault = |what: &str| faults.push(format!("{path}:{}: {what}", number + 1));
            let issue = line.split('#').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            if notes.iter().any(|note| line.contains(note)) && !issue {
                fault("a note to ourselves without the number of its issue");
            }
            if paths.iter().any(|known| line.contains(known)) {
                fault("a path of one machine");
            }
            if hosts.iter().any(|host| line.contains(host)) {
                fault("a host of a package registry");
            }
        }
    }
    faults
}

#[test]
fn no_loose_note_no_path_of_one_machine_and_no_registry_host_stays() {
    let files = tree();
    let looked: Vec<&File> = files.iter().filter(|(path, _)| path != "Cargo.lock").collect();
    assert!(looked.len() > 80, "only {} files were looked at", looked.len());
    clean(&bad_words(&looked));
}

#[test]
fn a_loose_note_a_local_path_and_a_registry_host_are_found() {
    let file = |text: &str| ("a.rs".to_owned(), text.to_owned());
    let note = concat!("// TO", "DO");
    assert_eq!(bad_words(&[&file(&format!("{note} (#12): name it\nplain\n"))]), Faults::new());
    for bad in [
        format!("{note}: later"),
        concat!("see /wo", "rk/shared").to_owned(),
        concat!("/ro", "ot/.cargo").to_owned(),
        concat!("source = \"registry", "+https://x\"").to_owned(),
    ] {
        assert_eq!(bad_words(&[&file(&bad)]).len(), 1, "{bad}");
    }
}

// ---- clocks

/// What is wrong with a `clippy.toml` that has to keep clocks out.
fn clock_faults(path: &str, text: &str) -> Faults {
    let Ok(table) = text.parse::<Table>() else {
        return vec![format!("{path}: not TOML")];
    };
    let banned = table.get("disallowed-methods").and_then(toml::Value::as_array);
    let banned: Vec<&str> = banned
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("path").unwrap_or(entry).as_str())
        .collect();
    let missing = CLOCKS.iter().filter(|clock| !banned.contains(clock));
    let mut faults: Faults = missing.map(|clock| format!("{path}: {clock} is not banned")).collect();
    if table.get("too-many-lines-threshold").and_then(toml::Value::as_integer) != Some(70) {
        faults.push(format!("{path}: functions may be longer than 70 lines"));
    }
    faults
}

#[test]
fn crates_that_decide_ban_both_clocks_and_only_named_files_ask_one() {
    let files = tree();
    for package in CLOCKLESS {
        let path = format!("{package}/clippy.toml");
        let text = files.iter().find(|(known, _)| *known == path).map_or("", |(_, text)| text.as_str());
        clean(&clock_faults(&path, text));
    }
    let exempt: Vec<&str> = with_end(&files, ".rs")
        .into_iter()
        .filter(|(path, _)| CLOCKLESS.iter().any(|package| path.starts_with(&format!("{package}/src/"))))
        .filter(|(path, _)| !path.contains("_tests") && !path.contains("testkit"))
        .filter(|(_, text)| text.contains("clippy::disallowed_methods"))
        .map(|(path, _)| path.as_str())
        .collect();
    let mut expected = CLOCK_FILES.to_vec();
    expected.sort_unstable();
    assert_eq!(exempt, expected, "files that ask a clock");
}

#[test]
fn a_clock_that_is_not_banned_is_found() {
    let half = "too-many-lines-threshold = 70\ndisallowed-methods = [{ path = \"std::time::Instant::now\" }]";
    assert_eq!(clock_faults("a", half).len(), 1);
    assert_eq!(clock_faults("a", "").len(), 3);
    let whole = half.replace("= [{", "= [\"std::time::SystemTime::now\", {");
    assert_eq!(clock_faults("a", &whole), Faults::new());
}

// ---- papers

#[test]
fn every_package_stands_on_the_map_of_architecture_md() {
    let text = std::fs::read_to_string(top().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    for folder in ["model", "journal", "history", "ingester", "alerting", "dashboards", "simulator", "src"] {
        assert!(text.contains(&format!("{folder}/")), "ARCHITECTURE.md does not name {folder}/");
    }
    let invariants = text.split("## Invariants").nth(1).unwrap_or("");
    let numbered = invariants.lines().take_while(|line| !line.starts_with("## "));
    let count = numbered.filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
    assert!(count >= 10, "only {count} invariants");
}

#[test]
fn the_changelog_names_kind_and_part_of_every_change() {
    let text = std::fs::read_to_string(top().join("CHANGELOG.md")).expect("CHANGELOG.md is there");
    let kinds = ["[CHANGE] ", "[FEATURE] ", "[ENHANCEMENT] ", "[BUGFIX] ", "[SECURITY] "];
    let entries: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("* ")).collect();
    assert!(entries.len() > 5, "only {} entries", entries.len());
    for entry in entries {
        let rest = kinds.iter().find_map(|kind| entry.strip_prefix(kind));
        assert!(rest.is_some_and(|rest| rest.contains(": ")), "{entry}");
    }
}
