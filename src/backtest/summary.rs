//! What a back-test found, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use lampguard_alerting::Severity;
use lampguard_model::{Register, Timestamp};

use super::judge::Judge;
use super::told::Told;
use super::{Source, lines};
use crate::cli::{Backtest, Lang};
use crate::score::SIMULATED;

/// Incidents that the table shows; the rest is counted. `--json` tells all.
const ROWS_MAX: usize = 1000;
/// Zone of the times that are shown: a back-test has no configuration (`design.md` 6).
const TIME_ZONE: &str = "Asia/Shanghai";

/// Incidents, counted and in part kept.
pub(super) struct Summary {
    lang: Lang,
    zone: TimeZone,
    rows: Vec<Told>,
    count: usize,
    ended: usize,
    kinds: BTreeMap<&'static str, usize>,
    severities: BTreeMap<&'static str, usize>,
    zones: BTreeMap<String, usize>,
}

pub(super) fn say(lang: Lang, en: &'static str, zh: &'static str) -> &'static str {
    match lang {
        Lang::En => en,
        Lang::Zh => zh,
    }
}

impl Summary {
    pub(super) fn new(lang: Lang) -> Self {
        Self {
            lang,
            zone: zone(),
            rows: Vec::new(),
            count: 0,
            ended: 0,
            kinds: BTreeMap::new(),
            severities: BTreeMap::new(),
            zones: BTreeMap::new(),
        }
    }

    pub(super) fn take(&mut self, told: Told) {
        let view = told.incident.view(told.seen_at);
        self.count += 1;
        self.ended += usize::from(told.ended_at.is_some());
        *self.kinds.entry(view.kind).or_default() += 1;
        *self.severities.entry(view.severity).or_default() += 1;
        *self.zones.entry(view.zone).or_default() += 1;
        if told.incident.severity >= Severity::P2 && self.rows.len() < ROWS_MAX {
            self.rows.push(told);
        }
    }

    fn local(&self, at: Timestamp) -> String {
        local(&self.zone, at)
    }

    /// Everything, in lines.
    pub(super) fn text(
        mut self,
        asked: &Backtest,
        register: &Register,
        judge: &Judge,
        source: &Source,
    ) -> String {
        let (lang, judged) = (self.lang, &judge.judged);
        let mut text = if judged.simulated { format!("{SIMULATED}\n") } else { String::new() };
        let mut line = |label: &str, rest: String| {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{label}  {rest}");
        };
        let (posts, zones, file) =
            (register.posts().len(), register.zones().len(), asked.posts.display().to_string());
        line(
            say(lang, "register ", "台账"),
            match lang {
                Lang::En => format!("{posts} posts in {zones} zone(s), {file}"),
                Lang::Zh => format!("{posts} 根灯杆，{zones} 个责任区，{file}"),
            },
        );
        line(say(lang, "readings ", "读数"), format!("{}  {}", judged.readings, asked.readings.display()));
        if let Some((first, last)) = judged.span {
            let hours = last.since(first).as_seconds() as f64 / 3600.0;
            let span = format!("{} – {}  {hours:.1} h  {TIME_ZONE}", self.local(first), self.local(last));
            line(say(lang, "span     ", "时段"), span);
        }
        if source.lines > 0 {
            let rest = match lang {
                Lang::En => format!("{} lines, {}", source.lines, outcomes(source)),
                Lang::Zh => format!("{} 行，{}", source.lines, outcomes(source)),
            };
            line(say(lang, "recording", "记录"), rest);
        }
        let (heard, strangers) = judge.heard();
        line(
            say(lang, "posts    ", "灯杆"),
            match lang {
                Lang::En => format!("{heard} of {posts} reported, {strangers} device(s) unregistered"),
                Lang::Zh => format!("{posts} 根中有 {heard} 根上报，{strangers} 个设备未登记"),
            },
        );
        line(
            say(lang, "weather  ", "天气"),
            match lang {
                Lang::En => {
                    format!("{} messages, unknown {} time(s)", judged.weather, judged.weather_unknown)
                }
                Lang::Zh => format!("{} 条，未知 {} 次", judged.weather, judged.weather_unknown),
            },
        );
        line(say(lang, "incidents", "险情"), self.counts());
        self.add_table(&mut text);
        for told in left_out(lang, judge, source) {
            let _ = writeln!(text, "{told}");
        }
        text
    }

    fn counts(&self) -> String {
        let listed = |counts: &BTreeMap<&'static str, usize>| {
            counts.iter().map(|(word, count)| format!("{word} {count}")).collect::<Vec<_>>().join("  ")
        };
        let zones: Vec<String> = self.zones.iter().map(|(zone, count)| format!("{zone} {count}")).collect();
        let (open, ended) = (self.count - self.ended, self.ended);
        let state = match self.lang {
            Lang::En => format!("{open} open, {ended} ended (normal for 24 h)"),
            Lang::Zh => format!("{open} 起未结束，{ended} 起已结束（正常满 24 小时）"),
        };
        let mut parts = vec![self.count.to_string()];
        if self.count > 0 {
            parts.extend([listed(&self.severities), listed(&self.kinds), zones.join("  "), state]);
        }
        parts.join("  |  ")
    }

    fn add_table(&mut self, text: &mut String) {
        if self.count == 0 {
            return;
        }
        self.rows.sort_by_key(|told| told.incident.opened_at);
        let heads = match self.lang {
            Lang::En => {
                ["opened", "ended", "", "kind", "value", "limit", "because", "signal", "zone", "post"]
            }
            Lang::Zh => ["生成", "结束", "", "类别", "数值", "限值", "依据", "信号", "责任区", "灯杆"],
        };
        let mut cells = vec![heads.map(str::to_owned).to_vec()];
        for told in &self.rows {
            let view = told.incident.view(told.seen_at);
            let e = &view.evidence;
            let value = e.value.map_or_else(|| "?".to_owned(), |value| format!("{value} {}", e.unit));
            let dry = || say(self.lang, "dry", "干燥").to_owned();
            cells.push(vec![
                self.local(told.incident.opened_at),
                told.ended_at.map_or_else(|| "–".to_owned(), |at| self.local(at)),
                view.severity.to_owned(),
                view.kind.to_owned(),
                value,
                e.limit.to_string(),
                e.wet_because.clone().unwrap_or_else(dry),
                view.signal.name().to_owned(),
                view.zone.clone(),
                format!("{} {}", view.post_id.as_deref().unwrap_or(&view.feeder), view.road),
            ]);
        }
        text.push('\n');
        add_rows(&cells, text);
        if self.count > self.rows.len() && self.rows.len() == ROWS_MAX {
            let more = self.count - self.rows.len();
            let _ = match self.lang {
                Lang::En => writeln!(text, "… and {more} more; --json tells all"),
                Lang::Zh => writeln!(text, "……另有 {more} 起；--json 给出全部"),
            };
        }
    }
}

/// The zone of the times that are shown. The names of the IANA database are built in; else UTC is shown.
pub(super) fn zone() -> TimeZone {
    TimeZone::get(TIME_ZONE).unwrap_or(TimeZone::UTC)
}

/// A time as people read it there.
pub(super) fn local(zone: &TimeZone, at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(at) => at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => at.to_rfc3339(),
    }
}

/// Columns of equal width; what the last one holds may be wider on the screen than it counts.
pub(super) fn add_rows(cells: &[Vec<String>], text: &mut String) {
    let columns = cells.first().map_or(0, Vec::len);
    let width = |column: usize| cells.iter().map(|row| shown(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in cells {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - shown(cell) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Columns that a text takes on a screen: two for a Chinese character.
fn shown(text: &str) -> usize {
    text.chars().map(|c| if c >= '\u{2e80}' { 2 } else { 1 }).sum()
}

/// Where the readings of a recording went, in the words of the accounting.
fn outcomes(source: &Source) -> String {
    let totals = &source.totals;
    let mut parts = vec![format!("stored {}", totals.stored), format!("duplicate {}", totals.duplicate)];
    let quarantined = totals.quarantined_by_reason().map(|(word, n)| format!("quarantined {word} {n}"));
    parts.extend(quarantined);
    parts.extend(totals.refused_by_reason().map(|(word, n)| format!("refused {word} {n}")));
    parts.join("  ")
}

/// What was not judged, a line each: nothing is left out in silence.
pub(super) fn left_out(lang: Lang, judge: &Judge, source: &Source) -> Vec<String> {
    let judged = &judge.judged;
    let (lost_records, lost_bytes) = source.lost;
    let bad_max = lines::BAD_MAX;
    let said: [(u64, String, String); 7] = [
        (
            judged.moves_refused,
            format!("left out: {} move(s) of people, named above", judged.moves_refused),
            format!("未计入：{} 条人员操作，见上", judged.moves_refused),
        ),
        (
            source.bad_lines,
            format!("left out: {} bad line(s), named above; the limit is {bad_max}", source.bad_lines),
            format!("未计入：{} 个坏行，见上；上限 {bad_max}", source.bad_lines),
        ),
        (
            source.missed_frames,
            format!("missing: {} frame(s) that `record` could not keep up with", source.missed_frames),
            format!("缺失：记录时漏掉 {} 帧", source.missed_frames),
        ),
        (
            lost_records + lost_bytes,
            format!("missing: {lost_records} record(s), {lost_bytes} damaged byte(s) of the journal"),
            format!("缺失：流水中 {lost_records} 条记录、{lost_bytes} 个损坏字节"),
        ),
        (
            judged.unreadable,
            format!("left out: {} record(s) of a newer version", judged.unreadable),
            format!("未计入：{} 条新版本记录", judged.unreadable),
        ),
        (
            judged.steps_back,
            format!("receipt went back by more than a minute {} time(s)", judged.steps_back),
            format!("接收时间倒退超过一分钟 {} 次", judged.steps_back),
        ),
        (
            judged.reviews,
            format!("for review: {} old critical sample(s), contradicted by newer ones", judged.reviews),
            format!("待复核：{} 个旧的超限样本，与较新样本矛盾", judged.reviews),
        ),
    ];
    let told = said.into_iter().filter(|(count, ..)| *count > 0);
    told.map(|(_, en, zh)| if lang == Lang::En { en } else { zh }).collect()
}
