//! The plan as people read it.

use std::fmt::Write;

use jiff::tz::TimeZone;
use lampguard_model::Timestamp;
use serde_json::Value;

/// Words of the table in both languages, by the word of the answer.
const WORDS: [(&str, &str, &str); 18] = [
    ("crew", "当班班组", "crew"),
    ("second", "第二人", "second member"),
    ("backup_crew", "后备班组", "back-up crew"),
    ("leader", "责任区负责人", "leader"),
    ("neighbour", "相邻责任区", "neighbouring zone"),
    ("desk", "值班台", "desk"),
    ("supervisor", "值班主任", "supervisor"),
    ("head", "单位负责人", "head of office"),
    ("no_crew", "无人值班", "no crew on duty"),
    ("nobody_reachable", "班组无可用通道", "no member with a channel"),
    ("until", "至", "until"),
    ("instead", "无人可告，改告值班台", "nobody there: the desk is told"),
    ("acknowledged", "接手", "acknowledged"),
    ("departed", "出发", "departed"),
    ("arrived", "到场", "arrived"),
    ("made_safe", "处置", "made safe"),
    ("warning", "预警增援", "in a warning, too"),
    ("warned", "预警生效", "official warning in force"),
];

struct Table<'t> {
    chinese: bool,
    zone: &'t TimeZone,
}

/// The whole plan.
pub(super) fn text(plan: &Value, chinese: bool, zone: &TimeZone) -> String {
    let table = Table { chinese, zone };
    let mut text = String::new();
    let source = match (plan["source"] == "configuration", chinese) {
        (true, true) => "没有运行中的实例：按配置和已存的调整；不知道有无预警",
        (true, false) => {
            "no instance runs: by the configuration and the changes kept; warnings are not known"
        }
        (false, true) => "按运行中的实例",
        (false, false) => "by the running instance",
    };
    let _ = writeln!(text, "{}  {source}", table.time(&plan["at"]));
    for zone in list(&plan["zones"]) {
        table.zone(zone, &mut text);
    }
    table.gaps(list(&plan["gaps"]), &mut text);
    text
}

/// Local time to the minute.
pub(crate) fn local(at: Timestamp, zone: &TimeZone) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(moment) => zone.to_datetime(moment).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => at.to_rfc3339(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], |list| list)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

impl Table<'_> {
    fn word<'w>(&self, word: &'w str) -> &'w str {
        let found = WORDS.iter().find(|(known, ..)| *known == word);
        found.map_or(word, |(_, zh, en)| if self.chinese { zh } else { en })
    }

    fn time(&self, value: &Value) -> String {
        let at = Timestamp::from_rfc3339(word(value));
        at.map_or_else(|| word(value).to_owned(), |at| local(at, self.zone))
    }

    fn zone(&self, zone: &Value, text: &mut String) {
        let _ = write!(text, "\n{} {}", word(&zone["zone"]), word(&zone["name"]));
        if let Some(shift) = zone["shift"].as_str() {
            let _ = write!(text, "  {shift}");
        }
        if !zone["until"].is_null() {
            let _ = write!(text, "  {} {}", self.word("until"), self.time(&zone["until"]));
        }
        if zone["warning"] == true {
            let _ = write!(text, "  {}", self.word("warned"));
        }
        text.push('\n');
        let mut before = (&Value::Null, &Value::Null);
        for rung in list(&zone["rungs"]) {
            let to = word(&rung["to"]);
            // An instance of before names no moments.
            if !rung["step"].is_null() && before != (&rung["severity"], &rung["step"]) {
                before = (&rung["severity"], &rung["step"]);
                let _ = writeln!(text, "  {} {}", word(&rung["severity"]), self.moment(rung));
            }
            let crew = match to {
                "crew" | "backup_crew" | "neighbour" => named(&zone[to]),
                _ => String::new(),
            };
            let instead = if rung["desk_instead"] == true {
                format!("({}) ", self.word("instead"))
            } else {
                String::new()
            };
            let people: Vec<String> = list(&rung["people"]).iter().map(person).collect();
            let _ = writeln!(text, "    {}: {crew}{instead}{}", self.word(to), people.join("; "));
        }
        let more = &zone["in_warning"];
        let crews = list(&more["crews"]).iter().map(|crew| {
            let first = list(&crew["members"]).first().map_or_else(String::new, person);
            format!("{}{first}", named(crew))
        });
        let more: Vec<String> = crews.chain(list(&more["leaders"]).iter().map(person)).collect();
        if !more.is_empty() {
            let _ = writeln!(text, "  {}: {}", self.word("warning"), more.join("; "));
        }
    }

    /// When a rung is told: `接手后 5 分钟未出发`, `30 min, not arrived, then every 10 min`.
    fn moment(&self, rung: &Value) -> String {
        let (from, until) = (self.word(word(&rung["from"])), self.word(word(&rung["until"])));
        let opened = rung["from"] == "opened";
        if opened && rung["after_min"] == 0 {
            return if self.chinese { "立即" } else { "at once" }.to_owned();
        }
        let min = &rung["after_min"];
        let mut moment = match (opened, self.chinese) {
            (true, true) => format!("{min} 分钟未{until}"),
            (false, true) => format!("{from}后 {min} 分钟未{until}"),
            (true, false) => format!("{min} min, not {until}"),
            (false, false) => format!("{min} min after {from}, not {until}"),
        };
        if let Some(every) = rung["every_min"].as_i64() {
            moment += &match self.chinese {
                true => format!("，之后每 {every} 分钟"),
                false => format!(", then every {every} min"),
            };
        }
        moment
    }

    fn gaps(&self, gaps: &[Value], text: &mut String) {
        let title = match (gaps.is_empty(), self.chinese) {
            (true, true) => "未来 7 天没有缺岗",
            (true, false) => "no gap in the next 7 days",
            (false, true) => "未来 7 天缺岗：",
            (false, false) => "gaps in the next 7 days:",
        };
        let _ = writeln!(text, "\n{title}");
        for gap in gaps {
            let (from, to) = (self.time(&gap["from"]), self.time(&gap["to"]));
            let (zone, why, crew) = (word(&gap["zone"]), self.word(word(&gap["why"])), word(&gap["crew"]));
            let line = format!("  {zone}  {from} – {to}  {why} {crew}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
}

fn named(crew: &Value) -> String {
    if crew.is_null() {
        return String::new();
    }
    format!("{} {}  ", word(&crew["id"]), word(&crew["name"]))
}

fn person(person: &Value) -> String {
    let phone = person["phone"].as_str().map_or_else(String::new, |phone| format!(" {phone}"));
    let channels: Vec<&str> = list(&person["channels"]).iter().map(word).collect();
    format!("{}{phone} [{}]", word(&person["name"]), channels.join(", "))
}
