//! `dashboards`: writes what Grafana loads, and looks at what was edited.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lampguard_dashboards::{BROWSER, File, LANGS, Lang, SOURCES, Set, Source, alerts, export, folder, lint};

use crate::UsageError;
use crate::api;
use crate::cli::{self, DashboardsCommand, Export, SourceName};
use crate::tools::print;

/// Largest file that is looked at.
const FILE_MAX: u64 = 16 << 20;
/// Files of one look.
const FILES_MAX: usize = 1000;

pub(crate) fn run(command: &DashboardsCommand) -> Result<()> {
    match command {
        DashboardsCommand::Export(asked) => write_dashboards(asked),
        DashboardsCommand::Alerts { lang, out } => write_alerts(*lang, out),
        DashboardsCommand::Lint { paths } => look(paths),
    }
}

fn language(lang: cli::Lang) -> Lang {
    match lang {
        cli::Lang::Zh => Lang::Zh,
        cli::Lang::En => Lang::En,
    }
}

/// An address as links begin with it.
fn address(url: &str) -> Result<String> {
    let trimmed = url.trim_end_matches('/');
    let host = trimmed.strip_prefix("http://").or_else(|| trimmed.strip_prefix("https://"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c);
    if host.is_some_and(|host| !host.is_empty() && host.chars().all(plain)) {
        return Ok(trimmed.to_owned());
    }
    let text = format!("--public-url {url:?} is no address such as https://lamp.example:8443");
    Err(UsageError(text).into())
}

/// A time zone that Grafana and InfluxDB know.
fn time_zone(name: &str) -> Result<String> {
    if name == BROWSER || jiff::tz::TimeZone::get(name).is_ok() {
        return Ok(name.to_owned());
    }
    let text =
        format!("--time-zone {name:?} is no time zone; use a name such as Asia/Shanghai, or {BROWSER}");
    Err(UsageError(text).into())
}

fn write_dashboards(asked: &Export) -> Result<()> {
    let public_url = address(&asked.public_url)?;
    let time_zone = time_zone(&asked.time_zone)?;
    let sets: Vec<(PathBuf, Source, Lang)> = match (asked.datasource, asked.lang) {
        (Some(source), Some(lang)) => {
            let source = match source {
                SourceName::Prometheus => Source::Prometheus,
                SourceName::Influxql => Source::Influxql,
            };
            vec![(asked.out.clone(), source, language(lang))]
        }
        _ => SOURCES
            .into_iter()
            .flat_map(|source| LANGS.map(|lang| (asked.out.join(folder(source, lang)), source, lang)))
            .collect(),
    };
    let mut told = String::new();
    for (dir, source, lang) in sets {
        let set = Set { source, lang, public_url: public_url.clone(), time_zone: time_zone.clone() };
        let files = export(&set).context("making the dashboards")?;
        files.iter().try_for_each(|file| write(&dir, file))?;
        told +=
            &format!("{}: {} dashboards ({}, {})\n", dir.display(), files.len(), source.word(), lang.word());
    }
    print(&told)
}

fn write_alerts(lang: cli::Lang, out: &Path) -> Result<()> {
    let file = |name: &str, text: String| File { name: name.to_owned(), text };
    write(out, &file("alerts.rules.yaml", alerts::prometheus()))?;
    let grafana = out.join("grafana").join("alerting");
    write(&grafana, &file("lampguard.yaml", alerts::grafana(language(lang))))?;
    let count = alerts::ALERTS.len();
    print(&format!(
        "{}: alerts.rules.yaml, grafana/alerting/lampguard.yaml: {count} rules each\n",
        out.display()
    ))
}

/// Writes beside the old file and puts it in its place: Grafana looks at the folder every few seconds.
fn write(dir: &Path, file: &File) -> Result<()> {
    if let Some(file) = dir.ancestors().find(|part| part.is_file()) {
        let text = format!("--out: {} is a file, give a directory", file.display());
        return Err(UsageError(text).into());
    }
    let path = dir.join(&file.name);
    let doing = || format!("writing {}", path.display());
    std::fs::create_dir_all(dir).with_context(doing)?;
    let beside = dir.join(format!(".{}.new", file.name));
    std::fs::write(&beside, &file.text).with_context(doing)?;
    std::fs::rename(&beside, &path).with_context(doing)
}

/// The JSON files of the paths, each with its text.
fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let doing = || format!("reading directory {}", path.display());
            for entry in std::fs::read_dir(path).with_context(doing)? {
                let inner = entry.with_context(doing)?.path();
                if inner.extension().is_some_and(|end| end == "json") {
                    found.push(inner);
                }
            }
        } else {
            found.push(path.clone());
        }
    }
    found.sort();
    if found.len() > FILES_MAX {
        bail!("{} files, at most {FILES_MAX} are looked at in one call: give fewer", found.len());
    }
    let text = |path: PathBuf| {
        let name = path.display().to_string();
        let doing = || format!("reading {name}");
        let bytes = std::fs::metadata(&path).with_context(doing)?.len();
        if bytes > FILE_MAX {
            bail!("{name}: {bytes} bytes, a dashboard has at most {FILE_MAX}");
        }
        Ok((name.clone(), std::fs::read_to_string(&path).with_context(doing)?))
    };
    found.into_iter().map(text).collect()
}

fn look(paths: &[PathBuf]) -> Result<()> {
    let files = read(paths)?;
    if files.is_empty() {
        bail!(
            "no *.json in {}",
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    let pages: Vec<&str> = api::pages().collect();
    let found = lint::lint_all(&files, &pages);
    let count: usize = found.values().map(Vec::len).sum();
    let lines = found
        .iter()
        .flat_map(|(name, findings)| findings.iter().map(move |finding| format!("{name}: {finding}\n")));
    print(&lines.collect::<String>())?;
    if count > 0 {
        bail!("{count} finding(s) in {} file(s)", files.len());
    }
    print(&format!("{} file(s): nothing found\n", files.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_of_every_dashboard_leads_to_a_route_of_ours() {
        let pages: Vec<&str> = api::pages().collect();
        let mut looked = 0;
        for source in SOURCES {
            for lang in LANGS {
                let set = Set {
                    source,
                    lang,
                    public_url: "https://lamp.example:8443".to_owned(),
                    time_zone: BROWSER.to_owned(),
                };
                let files: Vec<_> =
                    export(&set).unwrap().into_iter().map(|file| (file.name, file.text)).collect();
                looked +=
                    files.iter().map(|(_, text)| text.matches("${lampguard:raw}/").count()).sum::<usize>();
                for (name, findings) in lint::lint_all(&files, &pages) {
                    assert!(findings.is_empty(), "{name}: {findings:?}");
                }
            }
        }
        assert!(looked > 100, "only {looked} links were looked at");
    }

    #[test]
    fn kinds_have_the_titles_that_people_are_told() {
        let told: Vec<_> = lampguard_alerting::kind::KINDS
            .map(|kind| {
                let [zh, en] = lampguard_alerting::notice_text::title(kind);
                (kind.name(), zh, en)
            })
            .to_vec();
        let shown: Vec<_> =
            lampguard_dashboards::KINDS.iter().map(|(kind, text)| (*kind, text.zh, text.en)).collect();
        assert_eq!(shown, told);
    }

    #[test]
    fn a_time_zone_is_one_that_exists_or_that_of_who_looks() {
        for good in ["Asia/Shanghai", "UTC", "browser"] {
            assert_eq!(time_zone(good).unwrap(), good);
        }
        for wrong in ["", "Beijing", "Asia/Shanghai'", "../../etc/passwd"] {
            assert!(time_zone(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_one_that_a_browser_takes() {
        assert_eq!(address("https://lamp.example:8443/").unwrap(), "https://lamp.example:8443");
        for wrong in ["lamp.example", "ftp://x", "http://", "http://x y", "http://x\"y"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
