//! What a comparison of two policies found, for people and as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;

use lampguard_alerting::Policies;
use lampguard_model::{Millis, Timestamp};
use serde_json::{Value, json};

use super::compare::{Case, Changes};
use super::summary::{add_rows, local, say, zone};
use crate::cli::{Backtest, Lang};
use crate::score::{self, Graded, SIMULATED, Scores, Verdict};

/// Rows of one list that people are shown; `--json` tells all.
const ROWS_MAX: usize = 50;

/// Both scored against the same truth.
pub(super) struct Hazards {
    pub(super) scores: [Scores; 2],
}

impl Hazards {
    /// Hazards that were found in time under one policy and not under the other.
    fn only(&self, place: usize) -> impl Iterator<Item = (&Graded, &Graded)> {
        let pairs = self.scores[place].graded.iter().zip(&self.scores[1 - place].graded);
        pairs.filter(|(own, other)| own.verdict == Verdict::Found && other.verdict != Verdict::Found)
    }
}

/// Everything that is told.
pub(super) struct Report<'a> {
    pub(super) asked: &'a Backtest,
    pub(super) simulated: bool,
    pub(super) policies: &'a [Policies; 2],
    /// Incidents of each.
    pub(super) counts: [usize; 2],
    /// Call-outs of each.
    pub(super) calls: [usize; 2],
    pub(super) changes: &'a Changes,
    pub(super) hazards: Option<&'a Hazards>,
}

/// A list: its title in English and Chinese, its incidents, and by how much each moved.
type Listed<'a> = (&'a str, &'a str, Vec<(Case, Millis)>);

fn graded_json((own, other): (&Graded, &Graded)) -> Value {
    json!({
        "spot": own.hazard.spot.name(), "kind": own.hazard.kind, "cause": own.hazard.cause,
        "dangerous_at": own.dangerous_at.to_rfc3339(), "observable": own.hazard.observable,
        "incident": own.incident, "told_at": own.told_at.map(Timestamp::to_rfc3339),
        "other": other.verdict.name(), "other_early_at": other.early_at.map(Timestamp::to_rfc3339),
    })
}

/// How the other policy fared. Told before the window opened counts as missed, and is another thing for people.
fn missed_how(lang: Lang, other: &Graded) -> String {
    let early = if other.early_at.is_some() {
        say(lang, " (told before its window)", "（早于时间窗）")
    } else {
        ""
    };
    format!("{}{early}", other.verdict.name())
}

impl Report<'_> {
    fn names(&self) -> [String; 2] {
        let name = |file: &Option<PathBuf>, default: &str| {
            file.as_ref().map_or_else(|| default.to_owned(), |file| file.display().to_string())
        };
        let default = say(self.asked.lang, "defaults", "默认值");
        [name(&self.asked.policy, default), name(&self.asked.against, default)]
    }

    fn hashes(&self, place: usize) -> Vec<&str> {
        self.policies[place].versions().iter().map(|version| &*version.hash).collect()
    }

    /// One object with everything.
    pub(super) fn to_json(&self) -> Value {
        let lines = |cases: &[Case]| cases.iter().map(|case| case.line.clone()).collect::<Vec<_>>();
        let moved = |pairs: &[(Case, Case, Millis)]| {
            let one = |(before, after, by): &(Case, Case, Millis)| json!({ "policy": before.line, "against": after.line, "seconds": by.0 / 1000 });
            pairs.iter().map(one).collect::<Vec<_>>()
        };
        let (changes, names) = (self.changes, self.names());
        let side = |place: usize| {
            json!({
                "file": names[place], "hashes": self.hashes(place),
                "incidents": self.counts[place], "call_outs": self.calls[place],
                "score": self.hazards.map(|hazards| score::object(&hazards.scores[place])),
            })
        };
        json!({
            "simulated": self.simulated, "policy": side(0), "against": side(1), "same": changes.same,
            "gained": lines(&changes.gained), "lost": lines(&changes.lost),
            "earlier": moved(&changes.earlier), "later": moved(&changes.later),
            "call_outs_gained": lines(&changes.calls_gained), "call_outs_lost": lines(&changes.calls_lost),
            "found_only_by_policy": self.only_json(0), "found_only_by_against": self.only_json(1),
        })
    }

    fn only_json(&self, place: usize) -> Option<Vec<Value>> {
        self.hazards.map(|hazards| hazards.only(place).map(graded_json).collect())
    }

    /// For people.
    pub(super) fn to_text(&self) -> String {
        let (lang, changes, names) = (self.asked.lang, self.changes, self.names());
        let mut text = if self.simulated { format!("{SIMULATED}\n") } else { String::new() };
        let heads = [
            say(lang, "policy", "方案"),
            say(lang, "fingerprints", "指纹"),
            say(lang, "incidents", "险情"),
            say(lang, "call-outs (P1)", "出动 (P1)"),
        ];
        let mut cells = vec![heads.map(str::to_owned).to_vec()];
        for place in [0, 1] {
            let hashes: Vec<&str> = self.hashes(place).iter().map(|hash| &hash[..12]).collect();
            let (count, calls) = (self.counts[place].to_string(), self.calls[place].to_string());
            cells.push(vec![names[place].clone(), hashes.join(" "), count, calls]);
        }
        add_rows(&cells, &mut text);
        let delays = |pairs: &[(Case, Case, Millis)]| {
            pairs.iter().map(|(_, after, by)| (after.clone(), *by)).collect()
        };
        let bare = |cases: &[Case]| cases.iter().map(|case| (case.clone(), Millis(0))).collect();
        let lists: [Listed<'_>; 6] = [
            ("call-outs lost", "减少的出动", bare(&changes.calls_lost)),
            ("call-outs gained", "增加的出动", bare(&changes.calls_gained)),
            ("incidents lost", "减少的险情", bare(&changes.lost)),
            ("incidents gained", "增加的险情", bare(&changes.gained)),
            ("told later", "通知更晚", delays(&changes.later)),
            ("told earlier", "通知更早", delays(&changes.earlier)),
        ];
        let same = changes.same;
        let _ = match lang {
            Lang::En => writeln!(text, "\nunchanged  {same}"),
            Lang::Zh => writeln!(text, "\n不变  {same}"),
        };
        for (en, zh, cases) in lists {
            self.add_list(say(lang, en, zh), &cases, &mut text);
        }
        self.add_hazards(&names, &mut text);
        text
    }

    fn add_list(&self, title: &str, cases: &[(Case, Millis)], text: &mut String) {
        let _ = writeln!(text, "\n{title}  {}", cases.len());
        let zone = zone();
        let row = |(case, by): &(Case, Millis)| {
            let of = |key: &str| case.line.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
            let value = case.line.pointer("/evidence/value").map(|value| match value {
                Value::Null => "?".to_owned(),
                value => value.to_string(),
            });
            let limit = case.line.pointer("/evidence/limit").map_or_else(String::new, ToString::to_string);
            let by = if by.0 == 0 { String::new() } else { format!("{} s", by.0 / 1000) };
            let at = local(&zone, case.p1_at.unwrap_or(case.opened_at));
            let value = format!("{} / {limit}", value.unwrap_or_default());
            vec![at, by, of("severity"), case.kind.clone(), value, of("zone"), case.spot.clone(), of("road")]
        };
        let rows: Vec<Vec<String>> = cases.iter().take(ROWS_MAX).map(row).collect();
        add_rows(&rows, text);
        if cases.len() > ROWS_MAX {
            let more = cases.len() - ROWS_MAX;
            let _ = match self.asked.lang {
                Lang::En => writeln!(text, "… and {more} more; --json tells all"),
                Lang::Zh => writeln!(text, "……另有 {more} 起；--json 给出全部"),
            };
        }
    }

    fn add_hazards(&self, names: &[String; 2], text: &mut String) {
        let Some(hazards) = self.hazards else { return };
        let lang = self.asked.lang;
        let _ = writeln!(text);
        let heads = ["", "hazards", "found", "late", "missed", "false P1", "not judged"];
        let zh = ["", "隐患", "已发现", "迟报", "漏报", "误报 P1", "无法判定"];
        let heads = if lang == Lang::En { heads } else { zh };
        let mut cells = vec![heads.map(str::to_owned).to_vec()];
        for (scores, name) in hazards.scores.iter().zip(names) {
            let (all, p1) = (&scores.all, &scores.p1);
            let figures = [all.hazards, all.found, all.late, all.missed, p1.false_p1, p1.unjudged()];
            cells.push(std::iter::once(name.clone()).chain(figures.map(|n| n.to_string())).collect());
        }
        add_rows(&cells, text);
        for place in [0, 1] {
            let title = match lang {
                Lang::En => format!("found in time by {} alone", names[place]),
                Lang::Zh => format!("仅 {} 及时发现", names[place]),
            };
            let rows: Vec<Vec<String>> = hazards
                .only(place)
                .map(|(own, other)| {
                    let (hazard, at) = (&own.hazard, local(&zone(), own.dangerous_at));
                    vec![at, hazard.spot.name().to_owned(), hazard.cause.clone(), missed_how(lang, other)]
                })
                .collect();
            let _ = writeln!(text, "\n{title}  {}", rows.len());
            add_rows(&rows[..rows.len().min(ROWS_MAX)], text);
        }
    }
}
