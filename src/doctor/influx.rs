//! What an InfluxDB says of itself: its version, whether our token is good, whether the bucket is there and keeps long
//! enough, and whether the InfluxQL dashboards can ask for it.
//!
//! What is asked: `X-Influxdb-Version` of `/ping`, then by version
//! | version | question |
//! |---|---|
//! | 1 | `/query?q=SHOW RETENTION POLICIES ON "BUCKET"` |
//! | 2 | `/api/v2/buckets?org=ORG&name=BUCKET`, `/api/v2/dbrps?org=ORG&db=BUCKET` |
//! | 3 | `/api/v3/configure/database?format=json` |
//!
//! Version 1 is asked for real by the tests; 2 and 3 answer there as their documents say.

use lampguard_ingester::config::{Api, TsdbConfig};
use serde_json::Value;

use super::{Findings, Grade};

const DAY_S: u64 = 86_400;

/// One question's answer: status and body.
pub(super) type Reply = Option<(u16, String)>;

/// Asks on by `ask`, which is given the path with its query.
pub(super) fn check(
    config: &TsdbConfig,
    about: &str,
    version: &str,
    findings: &mut Findings,
    ask: &dyn Fn(&str) -> Reply,
) {
    findings.add(Grade::Good, about, format!("InfluxDB {version}"));
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or(""), numbers.next().unwrap_or(""));
    if major == "1" && config.api != Api::V1 {
        let takes_v2 = minor.parse::<u32>().is_ok_and(|minor| minor >= 8);
        let (grade, text) = if takes_v2 {
            (Grade::Warn, "InfluxDB 1.8 takes the v2 write beside its own; surer: api = \"v1\"")
        } else {
            (Grade::Bad, "InfluxDB before 1.8 has no v2 write: every row is refused; cure: api = \"v1\"")
        };
        findings.add(grade, about, text);
    }
    match major {
        // Its buckets are asked for by an org, which v1 never sends.
        "2" if config.api == Api::V1 => findings.add(
            Grade::Unknown,
            about,
            "written to by api = \"v1\": look by hand at the mapping of db (influx v1 dbrp list) and at its bucket's \
             retention; surer: api = \"v2\" with org and bucket",
        ),
        "1" => one(config, about, findings, ask),
        "2" => two(config, about, findings, ask),
        "3" => three(config, about, findings, ask),
        _ => findings.add(
            Grade::Unknown,
            about,
            "a version that is not known here: look at its settings by hand",
        ),
    }
}

/// A form's value for a query.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The body of a good answer; a refusal or silence is told. `may_write` knows the refusals that a login gets which is good
/// for writing and may not look.
fn good(
    reply: Reply,
    (what, may_write): (&str, fn(u16) -> bool),
    about: &str,
    findings: &mut Findings,
) -> Option<Value> {
    match reply {
        Some((status, _)) if may_write(status) => {
            let text = format!(
                "does not show {what} to our login ({status}): it may write alone; look by hand, or let it read"
            );
            findings.add(Grade::Unknown, about, text);
            None
        }
        Some((401 | 403, _)) => {
            let text = format!(
                "refuses our login when asked for {what}: readings wait in the journal; cure: a token that may \
                 write the bucket (and read it, for this look) in token_file, auth as the database wants it"
            );
            findings.add(Grade::Bad, about, text);
            None
        }
        Some((200, body)) => match serde_json::from_str(&body) {
            Ok(body) => Some(body),
            Err(_) => {
                findings.add(Grade::Unknown, about, format!("the answer about {what} is no JSON"));
                None
            }
        },
        Some((status, _)) => {
            findings.add(Grade::Unknown, about, format!("asked for {what} it answers {status}"));
            None
        }
        None => {
            findings.add(Grade::Unknown, about, format!("asked for {what} it does not answer"));
            None
        }
    }
}

fn missing(config: &TsdbConfig, how: &str, about: &str, findings: &mut Findings) {
    let text = format!("has no {:?}: every row is refused; cure: {how}", config.bucket);
    findings.add(Grade::Bad, about, text);
}

/// How long it keeps rows: 0 is for ever.
fn keeps(config: &TsdbConfig, seconds: u64, about: &str, findings: &mut Findings) {
    let (bucket, days) = (&config.bucket, config.retention_days);
    match seconds / DAY_S {
        0 if seconds == 0 => findings.add(Grade::Good, about, format!("{bucket:?} keeps rows for ever")),
        kept if kept < u64::from(days) => findings.add(
            Grade::Bad,
            about,
            format!(
                "{bucket:?} keeps {kept} days, retention_days is {days}: older rows vanish without a word; cure: lower \
                 retention_days, or let it keep longer"
            ),
        ),
        kept => findings.add(Grade::Good, about, format!("{bucket:?} keeps {kept} days")),
    }
}

fn one(config: &TsdbConfig, about: &str, findings: &mut Findings, ask: &dyn Fn(&str) -> Reply) {
    let quoted = config.bucket.replace('\\', "\\\\").replace('"', "\\\"");
    let question = encoded(&format!("SHOW RETENTION POLICIES ON \"{quoted}\""));
    // 401 is a wrong name or password; 403 a right one that may not ask this.
    let what: (&str, fn(u16) -> bool) = ("its retention", |status| status == 403);
    let Some(body) = good(ask(&format!("/query?q={question}")), what, about, findings) else { return };
    let result = &body["results"][0];
    if result["error"].is_string() {
        return missing(config, "CREATE DATABASE in `influx`", about, findings);
    }
    let series = &result["series"][0];
    let column = |name: &str| series["columns"].as_array()?.iter().position(|column| column == name);
    let (Some(duration), Some(default)) = (column("duration"), column("default")) else {
        return findings.add(Grade::Unknown, about, "its retention cannot be seen");
    };
    let rows = series["values"].as_array().into_iter().flatten();
    let row = rows.into_iter().find(|row| row[default] == true);
    match row.and_then(|row| hours(row[duration].as_str()?)) {
        Some(hours) => keeps(config, hours * 3600, about, findings),
        None => findings.add(Grade::Unknown, about, "its retention cannot be seen"),
    }
}

/// Hours of a duration as InfluxDB 1 writes it: `0s` or `9552h0m0s`.
fn hours(text: &str) -> Option<u64> {
    if text == "0s" { Some(0) } else { text.split_once('h')?.0.parse().ok() }
}

fn two(config: &TsdbConfig, about: &str, findings: &mut Findings, ask: &dyn Fn(&str) -> Reply) {
    let (org, bucket) = (encoded(&config.org), encoded(&config.bucket));
    let buckets = ask(&format!("/api/v2/buckets?org={org}&name={bucket}"));
    if let Some((404, _)) = &buckets {
        return missing(config, "`influx bucket create`, org and bucket as in [[tsdb]]", about, findings);
    }
    let Some(body) = good(buckets, ("its bucket", |_| false), about, findings) else { return };
    let all = body["buckets"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(found) = all.iter().find(|found| found["name"] == config.bucket.as_str()) else {
        // A token that may only write is shown an empty list.
        let text = format!(
            "shows no bucket {:?} to this token: it is missing, or the token may write alone; look by hand",
            config.bucket
        );
        return findings.add(Grade::Unknown, about, text);
    };
    let rules = found["retentionRules"].as_array().into_iter().flatten();
    let seconds = rules.filter_map(|rule| rule["everySeconds"].as_u64()).find(|seconds| *seconds > 0);
    keeps(config, seconds.unwrap_or(0), about, findings);
    let mappings = ask(&format!("/api/v2/dbrps?org={org}&db={bucket}"));
    let Some(body) = good(mappings, ("its InfluxQL mapping", |_| false), about, findings) else { return };
    if body["content"].as_array().is_some_and(|content| !content.is_empty()) {
        findings.add(Grade::Good, about, "its bucket is mapped for InfluxQL: the dashboards can ask");
    } else {
        let text = format!(
            "its bucket is not mapped for InfluxQL: dashboards stay empty; cure: influx v1 dbrp create --db {0} --rp \
             autogen --default --bucket-id …",
            config.bucket
        );
        findings.add(Grade::Warn, about, text);
    }
}

fn three(config: &TsdbConfig, about: &str, findings: &mut Findings, ask: &dyn Fn(&str) -> Reply) {
    let reply = ask("/api/v3/configure/database?format=json");
    // A token of one database may not list them.
    let may_write = |status| status == 403;
    if let Some(body) = good(reply, ("its databases", may_write), about, findings) {
        let all = body.as_array().map_or(&[][..], Vec::as_slice);
        let is_there = all.iter().any(|row| row["iox::database"] == config.bucket.as_str());
        let text = if is_there { "has the database" } else { "makes the database with the first row" };
        findings.add(Grade::Good, about, format!("{text} {:?}", config.bucket));
    }
    let text = "InfluxDB 3 Core answers for about the last 72 hours alone: for months take Enterprise or another database";
    findings.add(Grade::Warn, about, text);
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn config(api: &str) -> TsdbConfig {
        let text = format!("id = \"m\"\nurl = \"http://127.0.0.1:1\"\napi = \"{api}\"\nretention_days = 400");
        toml::from_str(&text).unwrap()
    }

    /// What is said when the questions are answered so, one after the other; and the questions.
    fn said(version: &str, api: &str, answers: &[(u16, &str)]) -> (Vec<(Grade, String)>, Vec<String>) {
        let (mut findings, asked) = (Findings::default(), RefCell::new(Vec::new()));
        let ask = |path: &str| {
            asked.borrow_mut().push(path.to_owned());
            let (status, body) = answers.get(asked.borrow().len() - 1)?;
            Some((*status, (*body).to_owned()))
        };
        check(&config(api), "tsdb m", version, &mut findings, &ask);
        let told = findings.0.into_iter().map(|finding| (finding.grade, finding.text)).collect();
        (told, asked.into_inner())
    }

    fn has(told: &[(Grade, String)], grade: Grade, word: &str) -> bool {
        told.iter().any(|(graded, text)| *graded == grade && text.contains(word))
    }

    #[test]
    fn a_bucket_of_influxdb_2_that_keeps_too_short_or_is_not_mapped_is_told() {
        let short = r#"{"buckets":[{"name":"lampguard","retentionRules":[{"type":"expire","everySeconds":2592000}]}]}"#;
        let (told, asked) = said("v2.7.6", "v2", &[(200, short), (200, r#"{"content":[]}"#)]);
        assert!(
            has(&told, Grade::Bad, "keeps 30 days") && has(&told, Grade::Warn, "dbrp create"),
            "{told:?}"
        );
        assert_eq!(
            asked,
            ["/api/v2/buckets?org=lampguard&name=lampguard", "/api/v2/dbrps?org=lampguard&db=lampguard"]
        );
        let ever = r#"{"buckets":[{"name":"lampguard","retentionRules":[]}]}"#;
        let (told, _) =
            said("2.7.6", "v2", &[(200, ever), (200, r#"{"content":[{"database":"lampguard"}]}"#)]);
        assert!(told.iter().all(|(grade, _)| *grade == Grade::Good), "{told:?}");
    }

    #[test]
    fn a_refused_token_a_missing_bucket_and_a_silent_database_are_told_apart() {
        let (told, _) = said("v2.7.6", "v2", &[(401, "{}")]);
        assert!(has(&told, Grade::Bad, "token_file"), "{told:?}");
        let (told, _) = said("v2.7.6", "v2", &[(404, "{}")]);
        assert!(has(&told, Grade::Bad, "bucket create"), "{told:?}");
        let (told, _) = said("v2.7.6", "v2", &[(200, r#"{"buckets":[]}"#)]);
        assert!(has(&told, Grade::Unknown, "may write alone"), "{told:?}");
        let (told, _) = said("v2.7.6", "v2", &[]);
        assert!(has(&told, Grade::Unknown, "does not answer"), "{told:?}");
    }

    #[test]
    fn a_login_that_may_write_and_not_look_is_no_refused_login() {
        for (version, api, status) in [("1.6.7", "v1", 403), ("3.4.1", "v2", 403)] {
            let (told, _) = said(version, api, &[(status, "{}")]);
            assert!(has(&told, Grade::Unknown, "may write alone"), "{version} {status}: {told:?}");
            assert!(told.iter().all(|(grade, _)| *grade != Grade::Bad), "{version} {status}: {told:?}");
        }
        for (version, api) in [("1.6.7", "v1"), ("3.4.1", "v2")] {
            let (told, _) = said(version, api, &[(401, "{}")]);
            assert!(has(&told, Grade::Bad, "refuses our login"), "a wrong password or token: {told:?}");
        }
    }

    #[test]
    fn influxdb_2_by_v1_is_not_asked_by_an_org_and_influxdb_1_8_takes_v2() {
        let (told, asked) = said("v2.7.6", "v1", &[(404, "{}")]);
        assert!(has(&told, Grade::Unknown, "dbrp list") && asked.is_empty(), "{told:?} {asked:?}");
        let (told, _) = said("1.8.10", "v2", &[(200, r#"{"results":[{"error":"database not found"}]}"#)]);
        let of_v2 = |grade| has(&told, grade, "v2 write");
        assert!(of_v2(Grade::Warn) && !of_v2(Grade::Bad), "{told:?}");
    }

    #[test]
    fn influxdb_3_says_how_far_back_it_answers_and_influxdb_1_wants_its_own_call() {
        let (told, _) = said("3.4.1", "v2", &[(200, r#"[{"iox::database":"lampguard"}]"#)]);
        assert!(
            has(&told, Grade::Good, "has the database") && has(&told, Grade::Warn, "72 hours"),
            "{told:?}"
        );
        let (told, _) = said("1.6.7", "v2", &[(200, r#"{"results":[{"error":"database not found"}]}"#)]);
        assert!(has(&told, Grade::Bad, "v1") && has(&told, Grade::Bad, "CREATE DATABASE"), "{told:?}");
        assert_eq!((hours("0s"), hours("9552h0m0s"), hours("x")), (Some(0), Some(9552), None));
    }
}
