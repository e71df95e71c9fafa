//! Links in Markdown, and the files, tests and constants that papers name: they have to exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Faults, File, clean, top, tree, with_end};

/// Lines outside fenced code, with code spans cut out.
fn prose(text: &str) -> impl Iterator<Item = String> {
    let mut fenced = false;
    text.lines().filter_map(move |line| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then(|| line.split('`').step_by(2).collect::<Vec<_>>().join("`"))
    })
}

/// Anchors of a page, as the usual hosts make them from headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut found, mut fenced) = (BTreeSet::new(), false);
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().to_lowercase();
        let slug: String = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let again = (1..).map(|n| format!("{slug}-{n}"));
        let free = std::iter::once(slug.clone()).chain(again).find(|name| !found.contains(name));
        found.extend(free);
    }
    found
}

/// Targets of `[text](target)` and `[name]: target`.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        found.extend(line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
        let reference = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        found.extend(reference.map(|(_, target)| target.trim().to_owned()));
    }
    found
}

/// Looks at links inside the tree; `exists` knows every file and folder, `pages` the text of the Markdown ones.
fn dead_links(pages: &[&File], exists: impl Fn(&Path) -> bool) -> (usize, Faults) {
    let (mut looked, mut faults) = (0, Faults::new());
    for (path, text) in pages {
        for link in links(text).iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            looked += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { resolve(path, file) };
            if !exists(Path::new(&target)) {
                faults.push(format!("{path}: {link} leads nowhere"));
                continue;
            }
            let page = pages.iter().find(|(known, _)| *known == target);
            if !anchor.is_empty() && !page.is_some_and(|(_, text)| anchors(text).contains(anchor)) {
                faults.push(format!("{path}: {link} has no such heading"));
            }
        }
    }
    (looked, faults)
}

/// A link's path from the top of the tree.
fn resolve(page: &str, link: &str) -> String {
    let mut path: PathBuf = Path::new(page).parent().unwrap_or(Path::new("")).to_owned();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    path.to_string_lossy().replace('\\', "/")
}

#[test]
fn links_in_markdown_lead_somewhere() {
    let files = tree();
    let pages = with_end(&files, ".md");
    assert!(pages.len() >= 8, "only {} pages were looked at", pages.len());
    let (looked, faults) = dead_links(&pages, |path| top().join(path).exists());
    assert!(looked > 20, "only {looked} links were looked at");
    clean(&faults);
}

#[test]
fn a_dead_link_and_a_missing_heading_are_found() {
    let page = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let other =
        page("docs/b.md", "# One `two`, three!\n## Same\n## Same\n```\n# not one\n```\n# 灯杆 post\n");
    let good = page(
        "docs/a.md",
        "[x](b.md#one-two-three) [y](./b.md#same-1) [z](../docs/b.md#灯杆-post) `[c](code.md)` [w](https://x/)\n",
    );
    let exists = |path: &Path| path == Path::new("docs/b.md") || path == Path::new("docs/a.md");
    assert_eq!(dead_links(&[&good, &other], exists), (3, Faults::new()));
    for bad in ["[x](c.md)", "[x](b.md#not-one)", "[x](#here)", "[x]: nowhere.md"] {
        let bad = page("docs/a.md", bad);
        assert_eq!(dead_links(&[&bad, &other], exists).1.len(), 1, "{bad:?}");
    }
}

// ---- files, tests and constants in code spans

/// Code spans of a page, those inside fenced code aside.
fn spans(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// True for the name of a test as we write them: a sentence of at least five words. What ends in `_total` is a counter.
fn is_sentence(span: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let counter = span.starts_with("lampguard_") || span.ends_with("_total");
    span.chars().all(letters) && span.matches('_').count() >= 4 && !counter
}

/// True for the name of a constant of at least two words.
fn is_constant(span: &str) -> bool {
    let letters = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    span.chars().all(letters) && span.contains('_') && span.len() > 4 && !span.starts_with("LAMPGUARD_")
}

/// Looks for files by the end of their path, for tests and constants by their name.
fn dead_names(pages: &[&File], files: &[File]) -> (usize, Faults) {
    let (mut looked, mut faults) = (0, Faults::new());
    for (path, text) in pages {
        for span in spans(text) {
            let is_file = span.contains('/')
                && !span.starts_with('/')
                && !span.contains(['…', ' ', '<', '*'])
                && [".rs", ".sql", ".toml", ".md", ".conf", ".default"].iter().any(|end| span.ends_with(end));
            let there = if is_file {
                files.iter().any(|(known, _)| *known == span || known.ends_with(&format!("/{span}")))
            } else if is_sentence(&span) {
                let made = format!("fn {span}(");
                files.iter().any(|(known, text)| known.ends_with(".rs") && text.contains(&made))
            } else if is_constant(&span) {
                let made = [format!("const {span}:"), format!("static {span}:")];
                files.iter().any(|(known, text)| {
                    known.ends_with(".rs") && made.iter().any(|made| text.contains(made))
                })
            } else {
                continue;
            };
            looked += 1;
            if !there {
                faults.push(format!("{path}: {span} does not exist"));
            }
        }
    }
    (looked, faults)
}

#[test]
fn files_tests_and_constants_that_papers_name_exist() {
    let files = tree();
    let pages = with_end(&files, ".md");
    let (looked, faults) = dead_names(&pages, &files);
    assert!(looked > 40, "only {looked} names were looked at");
    clean(&faults);
}

#[test]
fn a_file_a_test_and_a_constant_that_are_gone_are_found() {
    let files = [("a/src/run.rs".to_owned(), "fn what_is_old_stays_as_it_was() {}".to_owned())];
    let page = |text: &str| ("a.md".to_owned(), text.to_owned());
    let good =
        page("`a/src/run.rs`, `src/run.rs`, `what_is_old_stays_as_it_was`, `plain_word`, `/etc/x/y.conf`");
    assert_eq!(dead_names(&[&good], &files), (3, Faults::new()));
    let bad = page("`src/walk.rs` and `what_is_new_stays_as_it_was` and `LIMIT_MAX`");
    assert_eq!(dead_names(&[&bad], &files).1.len(), 3);
}
