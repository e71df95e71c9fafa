//! Does a time-series database keep what it is given?

use std::time::Duration;

use lampguard_ingester::config::TsdbConfig;
use lampguard_ingester::tsdb::Sink;

use super::{Findings, Grade, influx};
use crate::clock;

/// Clocks that differ by more give wrong ages.
const CLOCK_MAX_S: i64 = 5;

pub(super) fn check(config: &TsdbConfig, findings: &mut Findings) {
    let about = format!("tsdb {}", config.id);
    let root = config.url.trim_end_matches('/');
    let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5)));
    let agent: ureq::Agent = agent.http_status_as_error(false).build().into();
    let login = Sink::login(config);
    let get = |path: &str| {
        let question = agent.get(format!("{root}{path}"));
        match &login {
            Some(login) => question.header("Authorization", login).call(),
            None => question.call(),
        }
    };
    let answer = match get("/ping") {
        Ok(answer) if answer.status().as_u16() < 400 => answer,
        Ok(answer) if matches!(answer.status().as_u16(), 401 | 403) => {
            let text = format!(
                "{root}/ping refuses our login ({}): readings wait in the journal; cure: a token that may write in \
                 token_file, auth as the database wants it",
                answer.status()
            );
            return findings.add(Grade::Bad, &about, text);
        }
        Ok(answer) => {
            let text =
                format!("{root}/ping answers {}; cure: check the url and its base path", answer.status());
            return findings.add(Grade::Bad, &about, text);
        }
        Err(e) => {
            let text = format!(
                "{root} is not reached: {e}; readings wait in the journal. Cure: start it, or mend the url"
            );
            return findings.add(Grade::Bad, &about, text);
        }
    };
    findings.add(Grade::Good, &about, format!("answers at {root}"));
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok()).and_then(http_date);
    if let Some(theirs) = date {
        let apart = (clock::now().0 / 1000 - theirs).abs();
        let grade = if apart > CLOCK_MAX_S { Grade::Bad } else { Grade::Good };
        let cure = if apart > CLOCK_MAX_S { "; cure: set both clocks by NTP" } else { "" };
        findings.add(grade, "clock", format!("{apart} s apart from {about}{cure}"));
    }
    let metrics = get("/metrics").ok().filter(|answer| answer.status() == 200);
    let text = metrics.and_then(|mut answer| answer.body_mut().read_to_string().ok()).unwrap_or_default();
    if text.contains("vm_app_version") {
        check_victoria(config, &about, &text, findings);
    } else if let Some(version) = answer.headers().get("x-influxdb-version") {
        let ask = |path: &str| {
            let mut answer = get(path).ok()?;
            Some((answer.status().as_u16(), answer.body_mut().read_to_string().ok()?))
        };
        influx::check(config, &about, &String::from_utf8_lossy(version.as_bytes()), findings, &ask);
    } else {
        let text = "settings cannot be seen from outside; check that equal series and time overwrite, and the retention";
        findings.add(Grade::Unknown, &about, text);
    }
}

/// VictoriaMetrics shows its flags and its counters of thrown-away rows on /metrics.
fn check_victoria(config: &TsdbConfig, about: &str, metrics: &str, findings: &mut Findings) {
    let flag = |name: &str| {
        let start = format!("flag{{name=\"{name}\", value=\"");
        metrics.lines().find_map(|line| line.strip_prefix(start.as_str())?.split('"').next())
    };
    match flag("dedup.minScrapeInterval") {
        Some("1ms") => {
            findings.add(Grade::Good, about, "-dedup.minScrapeInterval=1ms: rows sent again count once")
        }
        other => findings.add(
            Grade::Bad,
            about,
            format!(
                "-dedup.minScrapeInterval is {}: rows sent again after an outage count twice; \
                 cure: start it with -dedup.minScrapeInterval=1ms",
                other.unwrap_or("not set")
            ),
        ),
    }
    match flag("retentionPeriod").map(|value| (value, retention_days(value))) {
        Some((value, Some(days))) if days < u64::from(config.retention_days) => findings.add(
            Grade::Bad,
            about,
            format!(
                "-retentionPeriod={value} is shorter than retention_days = {}: older rows vanish without a word; \
                 cure: lower retention_days, or raise the flag",
                config.retention_days
            ),
        ),
        Some((value, Some(_))) => findings.add(Grade::Good, about, format!("-retentionPeriod={value}")),
        Some((value, None)) => findings.add(
            Grade::Unknown,
            about,
            format!(
                "-retentionPeriod={value} is not understood here: look by hand whether it is at least \
                 retention_days = {}",
                config.retention_days
            ),
        ),
        None => findings.add(Grade::Unknown, about, "its retention cannot be seen"),
    }
    for counter in ["vm_rows_invalid_total{type=\"influx\"}", "vm_rows_ignored_total"] {
        let rows: f64 = metrics
            .lines()
            .filter(|line| line.starts_with(counter))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        if rows > 0.0 {
            findings.add(
                Grade::Warn,
                about,
                format!("{counter} is {rows}: rows it answered 204 to and threw away"),
            );
        }
    }
}

/// Whole days of a `-retentionPeriod`: numbers with their units, one after the other, decimals too; a bare number counts
/// months of 31 days.
fn retention_days(value: &str) -> Option<u64> {
    let (mut days, mut rest) = (0.0, value);
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(unit_at);
        let next = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(next);
        days += number.parse::<f64>().ok()? * days_of(unit, number.len() == value.len())?;
        rest = behind;
    }
    (!value.is_empty()).then_some(days as u64)
}

/// Days of a unit as VictoriaMetrics writes it: in small letters as in large ones, but for minutes and months.
fn days_of(unit: &str, is_bare: bool) -> Option<f64> {
    match unit {
        "" if is_bare => Some(31.0),
        "M" => Some(31.0),
        "m" => Some(1.0 / 1440.0),
        _ => match unit.to_ascii_lowercase().as_str() {
            "ms" => Some(1.0 / 86_400_000.0),
            "s" => Some(1.0 / 86_400.0),
            "h" => Some(1.0 / 24.0),
            "d" => Some(1.0),
            "w" => Some(7.0),
            "y" => Some(365.0),
            _ => None,
        },
    }
}

/// Seconds since 1970 of an HTTP date.
fn http_date(text: &str) -> Option<i64> {
    let time = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(time.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_read_as_the_database_means_it() {
        let cases = [
            ("13", Some(403)),
            ("90d", Some(90)),
            ("1y", Some(365)),
            ("2w", Some(14)),
            ("1.5", Some(46)),
            ("1M", Some(31)),
            ("12.9M", Some(399)),
            ("1.5y", Some(547)),
            ("1y25d", Some(390)),
            ("36H", Some(1)),
            ("x", None),
            ("1q", None),
            ("1y5", None),
            ("1..5", None),
            ("", None),
        ];
        for (value, days) in cases {
            assert_eq!(retention_days(value), days, "{value}");
        }
    }

    #[test]
    fn a_database_without_deduplication_is_bad() {
        let metrics = "vm_app_version{version=\"x\"} 1\nflag{name=\"dedup.minScrapeInterval\", value=\"0s\", is_set=\"false\"} 1\n";
        let config: TsdbConfig = toml::from_str("id = \"m\"\nurl = \"http://127.0.0.1:1\"").unwrap();
        let mut findings = Findings::default();
        check_victoria(&config, "tsdb m", metrics, &mut findings);
        assert_eq!(findings.worst_count(), 1);
    }

    #[test]
    fn a_retention_that_is_too_short_is_bad_in_whatever_unit_and_one_that_is_not_understood_is_not_good() {
        let config: TsdbConfig =
            toml::from_str("id = \"m\"\nurl = \"http://127.0.0.1:1\"\nretention_days = 390").unwrap();
        for (value, wanted) in [
            ("13", Grade::Good),
            ("1.5", Grade::Bad),
            ("1M", Grade::Bad),
            ("13M", Grade::Good),
            ("3 moons", Grade::Unknown),
        ] {
            let metrics = format!("flag{{name=\"retentionPeriod\", value=\"{value}\", is_set=\"true\"}} 1\n");
            let mut findings = Findings::default();
            check_victoria(&config, "tsdb m", &metrics, &mut findings);
            let of = findings.0.iter().find(|finding| finding.text.contains("retentionPeriod")).unwrap();
            assert_eq!(of.grade, wanted, "{}", of.text);
        }
    }

    #[test]
    fn an_http_date_is_read() {
        assert_eq!(http_date("Mon, 23 Nov 2026 12:00:00 GMT"), Some(1_795_435_200));
    }
}
