//! The operator's book: the same chapters in both languages, and a place in chapter 8 for everything that the program can say
//! about itself. What it can say is read out of the sources, so that a new fault without a section fails here.

use std::collections::BTreeSet;

use super::{Faults, File, clean, tree};

/// Longest chapter: a new administrator reads it in one go.
const LINES_MAX: usize = 300;
const LANGS: [&str; 2] = ["en", "zh"];
/// The chapter for faults.
const FAULTS_PAGE: &str = "8-what-to-do.md";
/// Rows of a section: what the board says, what it means for people, what to look at, how to mend it, whom to call.
const ROWS: usize = 5;
/// A notice that tells of no fault.
const NO_FAULT: &str = "test_dispatch.sent";
/// Where the rules hear of parts of the system, and from nowhere else.
const TOLD_BY: &str = "src/watch.rs";

/// What the program can say about itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    /// Parts of the system; those that end in `:` are followed by an id.
    parts: BTreeSet<String>,
    /// Notices about no incident.
    notices: BTreeSet<String>,
    /// What findings of `doctor` are about.
    doctor: BTreeSet<String>,
    /// Keys of `/readyz`, steps of a proof.
    named: BTreeSet<String>,
    /// Alert rules for Prometheus.
    alerts: BTreeSet<String>,
}

/// A source without its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | ':' | '.'))
}

/// First members of tuples that are texts: `("disk".to_owned(), …)`, `(format!("broker:{id}"), …)`.
fn first_members(text: &str) -> impl Iterator<Item = String> {
    let whole =
        text.split("(\"").skip(1).filter_map(|rest| Some(rest.split_once("\".to_owned(),")?.0.to_owned()));
    let begun = text.split("(format!(\"").skip(1).filter_map(|rest| Some(rest.split_once('{')?.0.to_owned()));
    whole.chain(begun.filter(|name| name.ends_with(':'))).filter(|name| is_name(name))
}

/// Names of parts: in the files of the program that make lists of (name, is good).
fn parts(path: &str, text: &str) -> BTreeSet<String> {
    if path == "alerting/src/engine/system.rs" {
        let beyond =
            text.split("if full { \"").nth(1).and_then(|rest| Some(rest.split_once('"')?.0.to_owned()));
        return beyond.into_iter().collect();
    }
    let makes = ["(String, bool", "Vec<Part>", "Option<Part>", "[Part;", ".alerting.system("]
        .iter()
        .any(|mark| text.contains(mark));
    let looked_at = path.starts_with("src/") && !path.starts_with("src/pages/") && makes;
    if looked_at { first_members(text).collect() } else { BTreeSet::new() }
}

/// `pub const ROTA_GAP: &str = "rota.gap";`, those of incidents aside.
fn notices(text: &str) -> impl Iterator<Item = String> {
    let made = text.lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str = \""));
    let words = made.filter_map(|(_, rest)| rest.strip_suffix("\";"));
    let faults =
        words.filter(|word| word.contains('.') && !word.starts_with("incident.") && *word != NO_FAULT);
    faults.map(str::to_owned)
}

/// What a finding is about: the first text of `findings.add(…)`, and that of `let about = format!("tsdb {}", …)`.
fn findings(text: &str) -> impl Iterator<Item = String> {
    let added = text.split("findings.add(").skip(1).filter_map(|rest| {
        let (before, rest) = rest.split_once('"')?;
        (!before.contains("about") && !before.contains(';')).then(|| rest.split('"').next().unwrap_or(""))
    });
    let about = text.split("about = format!(\"").skip(1).filter_map(|rest| rest.split('"').next());
    added.chain(about).filter_map(|word| Some(word.split(" {").next()?.to_owned()))
}

/// Keys of the answer of `/readyz`.
fn keys(text: &str) -> impl Iterator<Item = String> {
    let body = text.split("fn readyz").nth(1).and_then(|rest| rest.split("\n}\n").next()).unwrap_or("");
    let keys = body.split('"').skip(1).step_by(2).zip(body.split('"').skip(2).step_by(2));
    let keys = keys.filter(|(_, behind)| behind.starts_with(':') || behind.starts_with(']'));
    keys.map(|(key, _)| key.to_owned())
}

/// Steps of a proof, in the list that names them.
fn steps(text: &str) -> impl Iterator<Item = String> {
    let list =
        text.split("fn name(self)").nth(1).and_then(|rest| Some(rest.split_once('[')?.1.split_once(']')?.0));
    list.unwrap_or("").split('"').skip(1).step_by(2).map(str::to_owned)
}

fn words(files: &[File]) -> Words {
    let mut all = Words::default();
    for (path, text) in files {
        let text = product(text);
        all.parts.extend(parts(path, text));
        match path.as_str() {
            "alerting/src/notice.rs" => all.notices.extend(notices(text)),
            "src/api/system.rs" => all.named.extend(keys(text)),
            "src/proof/mod.rs" => all.named.extend(steps(text)),
            _ if path.starts_with("src/doctor") => all.doctor.extend(findings(text)),
            _ if path.starts_with("deploy/") => {
                let rules = text.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: "));
                all.alerts.extend(rules.map(|name| name.trim_matches(['"', '\'', ' ']).to_owned()));
            }
            _ => {}
        }
    }
    all
}

/// True when a heading is that of a part: `broker:` wants `broker:ID`, `proof:all` just that.
fn is_of(heading: &str, part: &str) -> bool {
    let Some(rest) = heading.strip_prefix("### `").and_then(|rest| rest.strip_prefix(part)) else {
        return false;
    };
    let id = rest.trim_start_matches(|c: char| c.is_ascii_uppercase());
    id.starts_with('`') && (part.ends_with(':') == (id.len() < rest.len()))
}

/// The rows below a heading, up to the next one.
fn rows_below(page: &str, part: &str) -> Option<usize> {
    let mut lines = page.lines().skip_while(|line| !is_of(line, part));
    lines.next()?;
    let section = lines.take_while(|line| !line.starts_with('#'));
    Some(section.filter(|line| line.starts_with("| ") && line.matches(" | ").count() == 1).count())
}

/// What the chapter of one language leaves out.
fn missing(path: &str, page: &str, words: &Words) -> Faults {
    let mut faults = Faults::new();
    for part in &words.parts {
        match rows_below(page, part) {
            None => faults.push(format!("{path}: no section for the part `{part}`")),
            Some(rows) if rows != ROWS => {
                faults.push(format!("{path}: `{part}` has {rows} rows, {ROWS} are wanted"))
            }
            Some(_) => {}
        }
    }
    let rows = words.notices.iter().chain(&words.doctor).filter(|word| !page.contains(&format!("`{word}`")));
    faults.extend(rows.map(|word| format!("{path}: no row for `{word}`")));
    let named = words.named.iter().filter(|word| !page.contains(&format!("`{word}`")));
    faults.extend(named.map(|word| format!("{path}: `{word}` is not named")));
    let has = |name: &&String| page.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == *name);
    let alerts = words.alerts.iter().filter(|name| !has(name));
    faults.extend(alerts.map(|name| format!("{path}: the alert {name} is not named")));
    faults
}

fn chapters<'f>(files: &'f [File], lang: &str) -> Vec<(&'f str, &'f str)> {
    let folder = format!("docs/book/{lang}/");
    let inside = files.iter().filter_map(|(path, text)| Some((path.strip_prefix(&folder)?, text.as_str())));
    inside.collect()
}

/// Levels of the headings of a page, in their order.
fn levels(text: &str) -> Vec<usize> {
    let mut fenced = false;
    let level = |line: &str| {
        fenced ^= line.starts_with("```");
        let level = line.len() - line.trim_start_matches('#').len();
        (!fenced && level > 0 && line[level..].starts_with(' ')).then_some(level)
    };
    text.lines().filter_map(level).collect()
}

/// Chapters that are too long, or that the other language does not have, or has otherwise.
fn unlike(files: &[File]) -> Faults {
    let [english, chinese] = LANGS.map(|lang| chapters(files, lang));
    let mut faults = Faults::new();
    for (mine, others, lang) in [(&english, &chinese, "en"), (&chinese, &english, "zh")] {
        for (name, text) in mine {
            let lines = text.lines().count();
            if lines > LINES_MAX {
                faults.push(format!("{lang}/{name}: {lines} lines, limit {LINES_MAX}"));
            }
            match others.iter().find(|(other, _)| other == name) {
                None => faults.push(format!("{lang}/{name}: not there in the other language")),
                Some((_, other)) if lang == "en" && levels(text) != levels(other) => {
                    faults.push(format!("{name}: other headings in the other language"));
                }
                Some(_) => {}
            }
        }
    }
    faults
}

#[test]
fn the_book_has_the_same_chapters_in_both_languages() {
    let files = tree();
    assert!(chapters(&files, "en").len() >= 11, "chapters are missing");
    clean(&unlike(&files));
}

#[test]
fn every_fault_that_the_program_can_tell_of_has_its_place_in_the_book() {
    let files = tree();
    let said = words(&files);
    assert!(said.parts.len() >= 14 && said.notices.len() >= 6 && said.doctor.len() >= 18, "{said:?}");
    assert!(said.named.len() >= 10, "{:?}", said.named);
    let telling =
        files.iter().filter(|(path, text)| path.starts_with("src/") && text.contains("alerting.system("));
    let telling: Vec<&str> = telling.map(|(path, _)| path.as_str()).collect();
    assert_eq!(telling, [TOLD_BY], "whoever tells the rules of a part is looked at above");
    for lang in LANGS {
        let path = format!("docs/book/{lang}/{FAULTS_PAGE}");
        let page = files.iter().find(|(known, _)| *known == path).map_or("", |(_, text)| text.as_str());
        clean(&missing(&path, page, &said));
    }
}

#[test]
fn a_chapter_that_one_language_lacks_or_has_otherwise_is_found() {
    let file = |path: &str, text: &str| (format!("docs/book/{path}"), text.to_owned());
    let good = [file("en/1-a.md", "# A\n```\n# no heading\n```\n## B\n"), file("zh/1-a.md", "# 甲\n## 乙\n")];
    assert_eq!(unlike(&good), Faults::new());
    assert_eq!(unlike(&good[..1]).len(), 1);
    assert_eq!(unlike(&[good[0].clone(), file("zh/1-a.md", "# 甲\n")]).len(), 1);
    let long = "x\n".repeat(LINES_MAX + 1);
    assert_eq!(unlike(&[file("en/1-a.md", &long), file("zh/1-a.md", &long)]).len(), 2);
}

#[test]
fn a_fault_without_its_place_in_the_book_is_found() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let files = [
        file(
            "src/watch.rs",
            "fn a() -> Vec<(String, bool)> { (format!(\"broker:{id}\"), up); (\"disk\".to_owned(), x) }",
        ),
        file(
            "src/other.rs",
            "(\"no_part\".to_owned(), 1)\n#[cfg(test)]\n(String, bool) (\"planted\".to_owned(), x)",
        ),
        file(
            "alerting/src/notice.rs",
            "pub const A: &str = \"rota.gap\";\npub const B: &str = \"incident.opened\";\n",
        ),
        file(
            "src/doctor/web.rs",
            "findings.add(Grade::Bad, \"web\", text); let about = format!(\"tsdb {}\", id); findings.add(g, &about, \"x\");",
        ),
        file(
            "src/api/system.rs",
            "fn readyz() { json!({ \"ready\": \"yes\" }); body[\"nodes\"] = x;\n}\n\"not\": 1",
        ),
        file("src/proof/mod.rs", "fn name(self) -> &str { [\"connect\", \"keep\"][self] }"),
        file("deploy/a.yaml", "rules:\n  - alert: Down\n"),
    ];
    let said = words(&files);
    let of = |words: &BTreeSet<String>| words.iter().cloned().collect::<Vec<_>>().join(" ");
    let all = [of(&said.parts), of(&said.notices), of(&said.doctor), of(&said.named), of(&said.alerts)];
    assert_eq!(all, ["broker: disk", "rota.gap", "tsdb web", "connect keep nodes ready", "Down"]);

    let section = |head: &str| format!("### `{head}` x\n\n{}", "| a | b |\n|---|---|\n".repeat(ROWS));
    let page = format!(
        "{}{}## rest\n`rota.gap` `tsdb` `web` `connect` `keep` `nodes` `ready` Down",
        section("broker:ID"),
        section("disk")
    );
    assert_eq!(missing("page", &page, &said), Faults::new());
    for (gone, instead) in [
        ("`broker:ID` x", "`broker:all` x"),
        ("`disk` x", "`disks` x"),
        ("| a | b |\n|---|---|\n## rest", "## rest"),
        ("`rota.gap`", ""),
        ("`tsdb`", ""),
        ("`keep`", ""),
        ("Down", "Downs"),
    ] {
        assert_eq!(missing("page", &page.replace(gone, instead), &said).len(), 1, "{gone}");
    }
}
