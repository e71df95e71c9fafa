//! The one line that people read: what, where, how dangerous, until when. Chinese and English.

use std::sync::Arc;

use lampguard_model::series::INCIDENT_STATES;
use lampguard_model::units::Thousandths;
use lampguard_model::{Field, Post, Timestamp};
use serde_json::{Value, json};

use crate::incident::{Event, Evidence, Family, Incident, Kind, Scope, Severity};
use crate::ladder::{List, danger};
use crate::life::{Proof, is_over};
use crate::notice::{DIGEST, HANDOVER, HELP, ISOLATION_OFFERED, NOBODY_NAMED, SiteText};
use crate::notice_words::{Words, cut_bytes};
use crate::rota::{Gap, Why};

/// Posts named in a text; the rest is a count.
const NAMED_MAX: usize = 20;

/// Title of a kind, in Chinese and in English.
pub fn title(kind: Kind) -> [&'static str; 2] {
    match kind {
        Kind::ShellCritical => ["灯杆带电", "live lamp post"],
        Kind::LeakCritical => ["灯杆漏电", "leaking lamp post"],
        Kind::ImmersedLeak => ["积水带电", "live in water"],
        Kind::SatLeak => ["漏电超量程", "leakage above range"],
        Kind::SensorDrowned => ["传感器浸水失联", "drowned sensor"],
        Kind::CriticalThenSilent => ["超限后失联", "silent after danger"],
        Kind::FlagOnly => ["设备报警", "device alarm"],
        Kind::Reenergised => ["隔离区重新带电", "re-energised"],
        Kind::NeutralBreak => ["回路断零", "broken neutral"],
        Kind::FeederStep => ["回路漏电突增", "feeder leakage step"],
        Kind::ShellWarning => ["外壳电压预警", "shell voltage warning"],
        Kind::LeakWarning => ["漏电预警", "leakage warning"],
        Kind::Column => ["灯杆受损", "damaged column"],
        Kind::LampOut => ["灯不亮", "lamp out"],
        Kind::DayBurn => ["白天亮灯", "burning by day"],
        Kind::SupplyVoltage => ["供电电压异常", "supply voltage"],
        Kind::Offline => ["传感器失联", "sensor offline"],
        Kind::FeederDark => ["回路失联", "feeder silent"],
        Kind::Blind => ["责任区失联", "zone without data"],
        Kind::Unmonitored => ["无漏电读数", "no leakage value"],
        Kind::Trend => ["雨后漏电上升", "leakage grows with each rain"],
        Kind::System => ["系统故障", "system fault"],
        Kind::Reported => ["市民报告", "reported by a person"],
    }
}

/// What the value of the evidence is, in Chinese and in English.
fn measured(evidence: &Evidence) -> [&'static str; 2] {
    match (Field::from_name(&evidence.field), evidence.kind) {
        (Some(Field::ShellV), _) => ["外壳电压", "shell voltage"],
        (Some(Field::LeakageMa), Kind::FeederStep) => ["回路剩余电流增量", "rise of residual current"],
        (Some(Field::LeakageMa), _) => ["漏电流", "leakage"],
        (Some(Field::SupplyV), _) => ["供电电压", "supply"],
        (Some(Field::LampW), _) => ["灯功率", "lamp power"],
        (Some(Field::TiltDeg), _) => ["倾斜变化", "tilt changed by"],
        (Some(Field::DoorOpen), _) => ["检修门已开", "door open for"],
        (_, Kind::FeederDark) => ["失联灯杆", "posts silent"],
        (_, Kind::System) => ["已故障", "failing for"],
        (_, Kind::Unmonitored) => ["无读数已", "no value for"],
        _ => ["失联已", "silent for"],
    }
}

/// Gaps that one notice names.
const GAPS_MAX: usize = 10;

/// Kinds in which current may be where people are: the words of safety stand on them.
fn is_about_current(kind: Kind) -> bool {
    use crate::incident::Family::{Electric, FeederLeak, Neutral, Reenergised};
    matches!(kind.family(), Electric | Reenergised | Neutral | FeederLeak)
        || matches!(kind, Kind::FeederDark | Kind::Blind | Kind::Column)
}

/// A value with its unit.
fn with_unit(e: &Evidence, thousandths: i64) -> String {
    let unit = if e.field == Field::DoorOpen.name() { "min" } else { e.unit() };
    format!("{} {unit}", Thousandths(thousandths))
}

/// How long a part of the system fails, in whole seconds or minutes: nobody acts on thousandths, and no limit of the office's
/// is passed. It is read aloud too.
fn failing_for(thousandths: i64, chinese: bool) -> String {
    match (thousandths / 1000, chinese) {
        (seconds, true) if seconds < 120 => format!("{seconds} 秒"),
        (seconds, false) if seconds < 120 => format!("{seconds} s"),
        (seconds, true) => format!("{} 分钟", seconds / 60),
        (seconds, false) => format!("{} min", seconds / 60),
    }
}

/// Value and limit, when the kind has some.
pub fn value_text(e: &Evidence, chinese: bool) -> Option<String> {
    if e.kind == Kind::Reported || (e.limit == 0 && e.thousandths.is_none()) {
        return None;
    }
    let pick = |words: [&'static str; 2]| words[usize::from(!chinese)];
    if let (Kind::System, Some(thousandths)) = (e.kind, e.thousandths) {
        return Some(format!("{} {}", pick(measured(e)), failing_for(thousandths, chinese)));
    }
    let unknown = pick(["数值未知", "unknown"]);
    let value = e.thousandths.map_or_else(|| unknown.to_owned(), |v| with_unit(e, v));
    let what = pick(measured(e));
    let wet = match (e.kind.family(), e.wet) {
        (Family::Electric, true) => pick(["潮湿限值", "wet limit"]),
        (Family::Electric, false) => pick(["干燥限值", "dry limit"]),
        _ => pick(["限值", "limit"]),
    };
    let limit = format!("{wet} {}", with_unit(e, e.limit));
    Some(match (e.limit, chinese) {
        (0, _) => format!("{what} {value}"),
        (_, true) => format!("{what} {value}（{limit}）"),
        (_, false) => format!("{what} {value} ({limit})"),
    })
}

/// Whether it may be touched; in English behind the words that crews know.
pub(crate) fn safety_text(incident: &Incident, site: &SiteText) -> String {
    let safety = incident.life.safety();
    let own = site.safety(safety);
    if site.language.starts_with("zh") { own } else { format!("{safety} ({own})") }
}

/// The same for a message about a step or a rung; of a fault of the system nothing: nobody stands beside it.
pub(crate) fn safety_said(incident: &Incident, site: &SiteText) -> String {
    match incident.evidence.kind {
        Kind::System => String::new(),
        _ => site.safety(incident.life.safety()),
    }
}

/// As the end of a line.
pub(crate) fn safety_end(incident: &Incident, site: &SiteText) -> String {
    match incident.evidence.kind {
        Kind::System => String::new(),
        _ => format!(" · {}", safety_text(incident, site)),
    }
}

/// How far people are, as databases and pages call it.
pub(crate) fn state_text<'t>(incident: &Incident, site: &'t SiteText) -> &'t str {
    let name = incident.life.state.name();
    site.pick(INCIDENT_STATES.iter().find(|state| state.word == name).map_or(name, |state| state.zh), name)
}

/// What, where, how dangerous, until when.
pub(crate) fn incident_text(incident: &Incident, post: Option<&Post>, site: &SiteText) -> String {
    let chinese = site.language.starts_with("zh");
    let kind = incident.evidence.kind;
    let pick = |words: [&'static str; 2]| words[usize::from(!chinese)];
    let mut parts = vec![place_text(incident, post, chinese)];
    parts.extend(value_text(&incident.evidence, chinese));
    parts.extend(members_text(incident, chinese));
    if kind == Kind::Blind {
        let since = local_time(incident.evidence.measured_at, site);
        parts.push(if chinese { format!("{since} 起无数据") } else { format!("no data since {since}") });
    }
    parts.extend(incident.notes.iter().cloned());
    if is_about_current(kind) && incident.severity >= Severity::P2 {
        parts.push(safety_text(incident, site));
    }
    if let Some(due) = incident.due() {
        let due = local_time(due, site);
        parts.push(if chinese { format!("{due} 前到场") } else { format!("be there by {due}") });
    }
    parts.push(incident.id.to_string());
    let (severity, title) = (incident.severity.name(), pick(title(kind)));
    let rest = parts.join(" · ");
    if chinese { format!("【{severity} {title}】{rest}") } else { format!("[{severity} {title}] {rest}") }
}

fn members_text(incident: &Incident, chinese: bool) -> Option<String> {
    let members = &incident.members;
    let named: Vec<&str> = members.iter().take(NAMED_MAX).map(|name| &**name).collect();
    let more = members.len() - named.len();
    let rest = match (more, chinese) {
        (0, _) => String::new(),
        (_, true) => format!(" 等 {} 杆", members.len()),
        (_, false) => format!(" and {more} more"),
    };
    (!named.is_empty()).then(|| format!("{}{rest}", named.join(", ")))
}

/// Where it is, in words.
pub fn place_text(incident: &Incident, post: Option<&Post>, chinese: bool) -> String {
    if let Some(place) = incident.told_place() {
        return format!("{} ({:.5}, {:.5}, {})", place.text, place.lon, place.lat, incident.zone);
    }
    let (zone, feeder, road, place) = (&incident.zone, &incident.feeder, &incident.road, &incident.place);
    match (incident.scope, chinese) {
        (Scope::Post, _) => {}
        (Scope::Feeder, true) => return format!("{road} 回路 {feeder}（责任区 {zone}）"),
        (Scope::Feeder, false) => return format!("{road} feeder {feeder} (zone {zone})"),
        (Scope::Zone, true) => return format!("责任区 {zone}"),
        (Scope::Zone, false) => return format!("zone {zone}"),
        (Scope::Place | Scope::System, _) => return place.to_string(),
    }
    let Some(post) = post else {
        let device = &incident.post_id;
        return match (&incident.life.hint, chinese) {
            (None, true) => format!("未登记设备 {device}"),
            (None, false) => format!("unregistered device {device}"),
            (Some(zone), true) => format!("未登记设备 {device}（主题所示责任区 {zone}）"),
            (Some(zone), false) => format!("unregistered device {device} (its topic names zone {zone})"),
        };
    };
    let landmark = if post.landmark.is_empty() { String::new() } else { format!(" {}", post.landmark) };
    let (zone, road, id) = (&post.zone, &post.road, &post.post_id);
    if chinese {
        format!("{road}{landmark} {}号杆（{id}，责任区 {zone}）", post.number)
    } else {
        format!("{road}{landmark} post {} ({id}, zone {zone})", post.number)
    }
}

/// Road, landmark and number: what a short message says of the place.
fn short_place(incident: &Incident, post: Option<&Post>, chinese: bool) -> String {
    if let Some(place) = incident.told_place() {
        return place.text.clone();
    }
    let (road, feeder) = (&incident.road, &incident.feeder);
    match (incident.scope, post, chinese) {
        (Scope::Feeder, _, true) => format!("{road} 回路 {feeder}"),
        (Scope::Feeder, _, false) => format!("{road} feeder {feeder}"),
        (Scope::Post, Some(post), _) => {
            let landmark =
                if post.landmark.is_empty() { String::new() } else { format!(" {}", post.landmark) };
            let (road, number) = (&post.road, &post.number);
            if chinese {
                format!("{road}{landmark} {number}号杆")
            } else {
                format!("{road}{landmark} post {number}")
            }
        }
        _ => place_text(incident, post, chinese),
    }
}

/// Event words that tell how far people are: never urgent.
const PROGRESS: [&str; 12] = [
    "incident.acknowledged",
    "incident.departed",
    "incident.arrived",
    "incident.made_safe",
    "incident.repaired",
    "incident.verified",
    "incident.closed",
    "incident.voided",
    "incident.returned",
    "incident.pending",
    "incident.reassigned",
    "incident.accepted",
];

/// The pieces of a telling about an incident.
pub(crate) fn incident_words(
    incident: &Incident,
    event: &str,
    post: Option<&Post>,
    site: &SiteText,
) -> Words {
    let zh = site.language.starts_with("zh");
    let pick = |words: [&'static str; 2]| words[usize::from(!zh)];
    let e = &incident.evidence;
    let value = (e.kind != Kind::Reported && (e.limit != 0 || e.thousandths.is_some())).then(|| {
        let value = e.thousandths.map(|v| with_unit(e, v));
        format!("{} {}", pick(measured(e)), value.unwrap_or_else(|| pick(["数值未知", "unknown"]).to_owned()))
    });
    let count = match (incident.members.len(), zh) {
        (0, _) => None,
        (count, true) => Some(format!("{count} 杆")),
        (count, false) => Some(format!("{count} posts")),
    };
    let current = is_about_current(e.kind) && incident.severity >= Severity::P2;
    let calls = e.kind == Kind::Reenergised || event == HELP;
    let is_open = incident.life.arrived.is_none() && incident.life.ended.is_none();
    Words {
        zh,
        drill: incident.life.drill,
        severity: incident.severity.name().to_owned(),
        title: pick(title(e.kind)).to_owned(),
        place: short_place(incident, post, zh),
        road: incident.road.to_string(),
        danger: value.into_iter().chain(count).collect::<Vec<_>>().join(" "),
        safety: if current { site.safety(incident.life.safety()) } else { String::new() },
        id: incident.id.to_string(),
        due_ms: incident.due().filter(|_| is_open).map(|due| due.0),
        urgent: calls || (incident.severity == Severity::P1 && !PROGRESS.contains(&event)),
        rank: if calls { 0 } else { rank(incident.severity) },
        ..Words::default()
    }
}

/// Place among tellings, 0 being calls for help.
pub(crate) fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::P1 => 1,
        Severity::P2 => 2,
        Severity::P3 => 3,
        Severity::P4 => 4,
    }
}

/// All of a list is what one shift hands over to the next.
pub(crate) fn is_handover(list: &List, lines: &[(&Incident, Option<&Post>)]) -> bool {
    !lines.is_empty() && lines.iter().all(|(incident, _)| list.is_handed(&incident.id))
}

/// What is said on a line of a list behind the danger: that it is handed over, where that holds of some lines alone; that it
/// is withdrawn, another crew's, and so on.
pub(crate) fn list_marks(list: &List, lines: &[(&Incident, Option<&Post>)], id: &str, zh: bool) -> String {
    let all = is_handover(list, lines);
    let words = list.words.get(id).into_iter().flatten().filter(|word| !all || ***word != *HANDOVER);
    words.map(|word| mark_of(word, zh)).collect()
}

/// Bytes of a line of a list with all its words.
pub(crate) fn line_bytes(incident: &Incident, post: Option<&Post>, words: &[Arc<str>], zh: bool) -> usize {
    let marks: usize = words.iter().map(|word| mark_of(word, zh).len()).sum();
    1 + line_text(incident, post, zh).len() + marks
}

fn mark_of(word: &str, zh: bool) -> String {
    let said = match (word, zh) {
        (HANDOVER, true) => "交接班",
        (HANDOVER, false) => "change of shift",
        (other, _) => moved_title(other, zh),
    };
    if zh { format!(" {said}") } else { format!(" ({said})") }
}

/// On which rung each incident of a list stands that it calls for.
pub(crate) fn list_rungs(list: &List, lines: &[(&Incident, Option<&Post>)]) -> Value {
    let rung = |(incident, _): &(&Incident, Option<&Post>)| json!({ "id": incident.id, "step": incident.life.climb.present() });
    lines.iter().filter(|(incident, _)| !list.aside.contains(&incident.id)).map(rung).collect()
}

/// What a list is of: how many, and whether a shift hands them over.
pub(crate) fn list_title(list: &List, lines: &[(&Incident, Option<&Post>)], zh: bool) -> String {
    let count = lines.len() + list.more;
    let handed = lines.iter().filter(|(incident, _)| list.is_handed(&incident.id)).count();
    match (handed, is_handover(list, lines), zh) {
        (0, _, true) => format!("险情汇总 {count} 起"),
        (0, _, false) => format!("{count} incidents"),
        (_, true, true) => format!("交接班 {count} 起, 请接班班组确认"),
        (_, true, false) => format!("change of shift: take over {count} incidents"),
        (_, false, true) => format!("险情汇总 {count} 起，其中交接班 {handed} 起"),
        (_, false, false) => format!("{count} incidents, {handed} of them by change of shift"),
    }
}

/// A list where there is no room for its lines: how many, how many of them P1, and the worst.
pub(crate) fn list_words(list: &List, lines: &[(&Incident, Option<&Post>)], site: &SiteText) -> Words {
    let zh = site.language.starts_with("zh");
    // What is over stands in it as news, and is no danger.
    let real = || lines.iter().filter(|(incident, _)| !is_over(incident.life.state));
    let p1 = real().filter(|(incident, _)| incident.severity == Severity::P1).count();
    // The severity of what is beyond the list is not known here.
    let least = match (list.more > 0, zh) {
        (false, _) => "",
        (true, true) => "至少",
        (true, false) => "at least ",
    };
    let worst = real().max_by_key(|(incident, _)| danger(incident));
    let worst = worst.map(|(incident, post)| incident_words(incident, DIGEST, *post, site));
    let worst = worst.map(|words| format!("{} {} {}", words.title, words.place, words.danger));
    let title = list_title(list, lines, zh).replace("汇总", "");
    let missing = list.words.values().flatten().any(|word| **word == *NOBODY_NAMED);
    let missing = if missing { moved_title(NOBODY_NAMED, zh) } else { "" };
    let (place, danger) = match zh {
        true => (format!("一级险情{least} {p1} 起"), "最危险"),
        false => (format!("{least}{p1} of priority one"), "the worst"),
    };
    Words {
        zh,
        drill: !lines.is_empty() && lines.iter().all(|(incident, _)| incident.life.drill),
        title,
        place,
        danger: worst.map(|worst| format!("{danger} {}", worst.trim_end())).unwrap_or_default(),
        missing: missing.to_owned(),
        safety: site.safety(crate::life::TREAT_AS_LIVE),
        rank: 5,
        ..Words::default()
    }
}

/// `2026-11-23 20:30:00+08:00`.
pub(crate) fn local_time(at: Timestamp, site: &SiteText) -> String {
    let zone = jiff::tz::TimeZone::get(&site.time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(t) => t.to_zoned_datetime(zone).strftime("%Y-%m-%d %H:%M:%S%:z").to_string(),
        Err(_) => at.to_rfc3339(),
    }
}

/// `20:30`: for a short message about something that is soon.
pub(crate) fn short_time(at: Timestamp, site: &SiteText) -> String {
    let text = local_time(at, site);
    text.get(11..16).unwrap_or(&text).to_owned()
}

/// Gaps of the rota: those that go on first, each with its hours and why.
pub(crate) fn gaps_text(gaps: &[Gap], now: Timestamp, site: &SiteText) -> String {
    let zh = site.language.starts_with("zh");
    let hour = |at: Timestamp| local_time(at, site).get(5..16).unwrap_or_default().to_owned();
    let mut gaps: Vec<&Gap> = gaps.iter().collect();
    gaps.sort_by_key(|gap| gap.from);
    let one = |gap: &&Gap| {
        let (from, to) = (if gap.from <= now { None } else { Some(hour(gap.from)) }, hour(gap.to));
        let crew = gap.crew.as_deref().unwrap_or_default();
        match (zh, gap.why) {
            (true, Why::NoCrew) => {
                format!("{} {} 至 {to} 无班组", gap.zone, from.as_deref().unwrap_or("现在"))
            }
            (true, Why::NobodyReachable) => {
                format!("{} {} 至 {to} 班组 {crew} 无人有通道", gap.zone, from.as_deref().unwrap_or("现在"))
            }
            (false, Why::NoCrew) => {
                format!("{} {} to {to}: no crew", gap.zone, from.as_deref().unwrap_or("now"))
            }
            (false, Why::NobodyReachable) => {
                format!(
                    "{} {} to {to}: nobody of {crew} has a channel",
                    gap.zone,
                    from.as_deref().unwrap_or("now")
                )
            }
        }
    };
    let named: Vec<String> = gaps.iter().take(GAPS_MAX).map(one).collect();
    let (named, more) = (named.join(if zh { "；" } else { "; " }), gaps.len().saturating_sub(GAPS_MAX));
    let rest = match (more, zh) {
        (0, _) => String::new(),
        (_, true) => format!("；另 {more} 处"),
        (_, false) => format!("; and {more} more"),
    };
    match zh {
        true => format!("【缺岗】7 天内责任区无人可派：{named}{rest}。届时险情只到值班台，请排班"),
        false => format!(
            "[nobody on duty] within 7 days: {named}{rest}. Dangers will reach the desk alone: change the rota"
        ),
    }
}

/// In front of a drill.
pub(crate) fn drill_text(incident: &Incident, chinese: bool) -> &'static str {
    match (incident.life.drill, chinese) {
        (false, _) => "",
        (true, true) => "【演练】",
        (true, false) => "[drill 演练] ",
    }
}

/// Planned work there: its crew is on the spot.
pub(crate) fn job_text(incident: &Incident, chinese: bool) -> String {
    match &incident.life.job {
        Some(crew) if chinese => format!(" · 检修中（{crew}）"),
        Some(crew) => format!(" · planned work there ({crew})"),
        None => String::new(),
    }
}

/// A place in a list is not longer than this, whatever somebody wrote.
const LINE_PLACE: usize = 200;

/// One line of a list: how grave, what, where, its value, its id. Short: twenty of them go into the smallest chat.
pub(crate) fn line_text(incident: &Incident, post: Option<&Post>, chinese: bool) -> String {
    let title = title(incident.evidence.kind)[usize::from(!chinese)];
    let (drill, severity) = (drill_text(incident, chinese), incident.severity.name());
    let place = cut_bytes(&short_place(incident, post, chinese), LINE_PLACE);
    let value =
        incident.evidence.thousandths.map(|v| format!(" {} {}", Thousandths(v), incident.evidence.unit()));
    format!("{drill}{severity} {title} {place}{} {}", value.unwrap_or_default(), incident.id)
}

/// The words of each event, Chinese and English.
const WORDS: [(&str, &str, &str); 22] = [
    ("incident.acknowledged", "已确认", "acknowledged"),
    ("incident.departed", "已出发", "on the way"),
    ("incident.arrived", "已到场", "arrived"),
    ("incident.made_safe", "已处置", "made safe"),
    ("incident.restored", "已恢复送电", "POWER IS BACK"),
    ("incident.repaired", "已修复", "repaired"),
    ("incident.verified", "已复核", "verified"),
    ("incident.closed", "已结案", "closed"),
    ("incident.voided", "已撤销", "withdrawn"),
    (HELP, "紧急求助", "HELP"),
    ("incident.returned", "已移交", "returned to another owner"),
    ("incident.pending", "已挂账", "repaired later"),
    ("incident.reassigned", "已改派", "another crew"),
    ("incident.accepted", "已接班", "taken over"),
    ("incident.isolation_requested", "请求断电", "isolation requested"),
    ("incident.repeated", "险情仍在", "danger still shows"),
    ("incident.switch_on_soon", "即将送电", "POWER WILL COME ON"),
    ("incident.breached", "超时, 无人到场", "DEADLINE PASSED, NOBODY THERE"),
    ("incident.confirm_arrival", "到场未核实, 请致电班组", "arrival not proven: call the crew"),
    (HANDOVER, "交接班, 请接班班组确认", "change of shift: take it over"),
    (NOBODY_NAMED, "有岗位无人可通知, 请转告", "a duty has nobody: pass it on"),
    (ISOLATION_OFFERED, "同回路多处带电, 可请求断电", "many dangers on one feeder: ask for isolation"),
];

pub(crate) fn moved_title(word: &str, chinese: bool) -> &str {
    let words = WORDS.iter().find(|(known, ..)| *known == word);
    words.map_or(word, |(_, zh, en)| if chinese { *zh } else { *en })
}

/// ` · 张三`; empty when nobody did it.
pub(crate) fn moved_by(event: &Event) -> String {
    let body: Value = serde_json::from_str(&event.body).unwrap_or_default();
    body.get("by").and_then(Value::as_str).map_or_else(String::new, |by| format!(" · {by}"))
}

/// What was done, where, by whom, and whether the post may be touched.
pub(crate) fn moved_text(
    incident: &Incident,
    event: &Event,
    word: &str,
    post: Option<&Post>,
    site: &SiteText,
) -> String {
    let chinese = site.language.starts_with("zh");
    let title = moved_title(word, chinese);
    let by = moved_by(event);
    let unproven = match incident.life.present_arrival() {
        Some(a) if a.proof == Proof::Unproven && word == "incident.arrived" => {
            site.pick("（未核实，请致电确认）", " (not proven: call them)")
        }
        _ => "",
    };
    let body: Value = serde_json::from_str(&event.body).unwrap_or_default();
    let note = body.pointer("/body/note").and_then(Value::as_str);
    let note = note.map_or_else(String::new, |note| format!(" · {note}"));
    let (place, id) = (place_text(incident, post, chinese), &incident.id);
    let (severity, safety) = (incident.severity.name(), safety_end(incident, site));
    let drill = drill_text(incident, chinese);
    if chinese {
        format!("{drill}【{severity} {title}】{place}{by}{unproven}{note}{safety} · {id}")
    } else {
        format!("{drill}[{severity} {title}] {place}{by}{unproven}{note}{safety} · {id}")
    }
}
