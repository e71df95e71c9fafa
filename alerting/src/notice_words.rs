//! The parts of a telling, and the forms made of them: chat, SMS, voice, and many in one. Chinese and English.
//!
//! | form | limit | what goes first when it is too long |
//! |---|---|---|
//! | chat | the channel's bytes | the end; the link stands behind it whole |
//! | SMS | 70 UCS-2 characters, else two parts of 67 | the id where the link shows it, the place (not under 16), then the value, then the link |
//! | voice | none; about half a minute | nothing: digits one by one, no symbols |
//! | many in one | [`NAMED_MAX`] lines | the least dangerous; the rest is a count with its roads. What may be touched stands
//!   once, in front |

use std::fmt::Write;

use lampguard_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::life::{DEAD, GUARDED, TREAT_AS_LIVE};

/// Incidents that one message names; the rest is a count.
pub(crate) const NAMED_MAX: usize = 20;
/// Roads named behind a count.
const ROADS_MAX: usize = 8;
/// One SMS is 70 UCS-2 characters; of two parts each loses three to its header.
const SMS_TWO: usize = 2 * 67;
/// A place is not cut shorter than this.
const PLACE_MIN: usize = 16;
/// A title in an SMS of many is cut to this: old word says so in fewer.
const TITLE_MAX: usize = 24;

/// What a telling says, in pieces. Kept with the notice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Words {
    /// Chinese, else English.
    pub zh: bool,
    /// Marked 演练.
    pub drill: bool,
    /// P1 to P4; empty for what is about no incident.
    pub severity: String,
    /// 灯杆带电, 已到场.
    pub title: String,
    /// Road, landmark, number.
    pub place: String,
    /// Road alone, for counts.
    pub road: String,
    /// Value with unit, or who did something.
    pub danger: String,
    /// For the desk: which duties nobody has who were to be told. Empty where each has somebody.
    pub missing: String,
    /// Whether it may be touched; empty where there is no current.
    pub safety: String,
    /// Incident.
    pub id: String,
    /// When somebody has to be there, in ms; none when nobody has to, or somebody is.
    pub due_ms: Option<i64>,
    /// Tells of danger or of a call for help: goes before everything else.
    pub urgent: bool,
    /// More dangerous is smaller: order in one message.
    pub rank: u8,
    /// It asks for a word, no danger: its link goes with it into every form.
    pub confirms: bool,
    /// When it was made, `21:03`; empty in notices of an older version.
    pub made: String,
    /// Whoever gets it has read newer word of the same incident: it says so.
    pub overtaken: bool,
    /// Page of the incident.
    pub link: Option<String>,
    /// Page of all incidents.
    pub board: Option<String>,
}

impl Words {
    /// Of a text that is about no incident: `【title】the rest`.
    pub(crate) fn plain(text: &str, zh: bool, link: Option<String>, board: Option<&str>) -> Self {
        let rest = text.strip_prefix(['【', '[']).unwrap_or(text);
        let (title, place) = rest.split_once(['】', ']']).unwrap_or(("", rest));
        Self {
            zh,
            title: title.to_owned(),
            place: place.trim().to_owned(),
            rank: 5,
            link,
            board: board.map(|base| format!("{base}/")),
            ..Self::default()
        }
    }

    fn pick<'t>(&self, zh: &'t str, en: &'t str) -> &'t str {
        if self.zh { zh } else { en }
    }

    /// P1, the severity that counts as told only by name.
    pub(crate) fn is_p1(&self) -> bool {
        self.severity == "P1"
    }

    fn minutes(&self, now: Timestamp) -> Option<i64> {
        self.due_ms.map(|due| (due - now.0).div_euclid(60_000))
    }

    /// `剩余 28 分钟`; after the deadline `已超时 3 分钟`.
    pub(crate) fn left(&self, now: Timestamp) -> Option<String> {
        let minutes = self.minutes(now)?;
        Some(match (minutes < 0, self.zh) {
            (false, true) => format!("剩余 {minutes} 分钟"),
            (false, false) => format!("{minutes} min left"),
            (true, true) => format!("已超时 {} 分钟", -minutes),
            (true, false) => format!("{} min overdue", -minutes),
        })
    }

    /// Head of a message: drill, severity, title, repeat.
    pub(crate) fn head(&self, attempt: u32) -> String {
        let drill = if self.drill { self.pick("演练 ", "drill 演练 ") } else { "" };
        let gap = if self.severity.is_empty() { "" } else { " " };
        let again = if attempt > 1 { format!(" #{attempt}") } else { String::new() };
        let inner = format!("{drill}{}{gap}{}{again}", self.severity, self.title);
        if self.zh { format!("【{inner}】") } else { format!("[{inner}] ") }
    }

    /// The same with a repeat marked in its title.
    pub(crate) fn marked(&self, attempt: u32) -> Self {
        let mut marked = self.clone();
        if attempt > 1 {
            marked.title += &format!(" #{attempt}");
        }
        marked
    }

    /// The same for an SMS of many: its title is short, and keeps the mark of a repeat.
    pub(crate) fn brief(&self, attempt: u32) -> Self {
        Self { title: cut_units(&self.title, TITLE_MAX), ..self.clone() }.marked(attempt)
    }

    /// `text` and these, marked: of when they are, and that newer word holds. What is dead by old word may be live by
    /// the new one, so no old word says that power is off.
    pub(crate) fn overtaken(&self, text: &str) -> (String, Self) {
        let gap = if self.made.is_empty() { "" } else { " " };
        let (made, newer) = (&self.made, self.pick("以新消息为准", "go by the newer message"));
        let mut old = Self { overtaken: true, ..self.clone() };
        // In front: whatever is cut off, this is not.
        old.title = match self.zh {
            true => format!("{made}{gap}旧消息，{newer}：{}", self.title),
            false => format!("OLD{gap}{made}, {newer}: {}", self.title),
        };
        let mut text = text.to_owned();
        if says_dead(&self.safety) {
            text = text.replace(&self.safety, newer);
            newer.clone_into(&mut old.safety);
        }
        let text = text.replace(DEAD, newer).replace(DEAD_EN, newer);
        let text = match self.zh {
            true => format!("【{made}{gap}旧消息，{newer}】{text}"),
            false => format!("[OLD{gap}{made}, {newer}] {text}"),
        };
        (text, old)
    }

    /// One line among many.
    fn line(&self, now: Timestamp) -> String {
        let parts = [
            self.severity.clone(),
            self.title.clone(),
            self.place.clone(),
            self.danger.clone(),
            self.missing.clone(),
            self.left(now).unwrap_or_default(),
            self.id.clone(),
            self.link.clone().filter(|_| self.confirms).unwrap_or_default(),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{}{}", if self.drill { self.pick("演练 ", "drill ") } else { "" }, parts.join(" "))
    }

    /// For SMS: at most 70 UCS-2 characters, or two parts of 67.
    pub(crate) fn sms(&self, attempt: u32, now: Timestamp) -> String {
        let comma = self.pick("，", ", ");
        let head = self.head(attempt);
        let build = |place: &str, danger: &str, id: &str, link: &str| {
            let left = self.left(now).unwrap_or_default().replace(' ', if self.zh { "" } else { " " });
            let parts = [&*self.missing, place, danger, &self.safety, &left, id];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            let gap = if link.is_empty() { "" } else { " " };
            format!("{head}{}{gap}{link}", parts.join(comma))
        };
        let link = self.link.as_deref().unwrap_or_default();
        let whole = build(&self.place, &self.danger, &self.id, link);
        if units(&whole) <= SMS_TWO {
            return whole;
        }
        // Where the link shows the id, it is not said twice.
        let bare = self.id.split_once('-').map_or(&*self.id, |(_, bare)| bare);
        let id = if !bare.is_empty() && link.contains(bare) { "" } else { &*self.id };
        for (danger, id, link) in
            [(&*self.danger, id, link), ("", id, link), (&*self.danger, &*self.id, ""), ("", &*self.id, "")]
        {
            let rest = units(&build("", danger, id, link)) + units(comma);
            let room = SMS_TWO.saturating_sub(rest);
            if room >= PLACE_MIN.min(units(&self.place)) {
                return build(&cut_units(&self.place, room), danger, id, link);
            }
        }
        cut_units(&build(&self.place, "", &self.id, ""), SMS_TWO)
    }

    /// For a voice that reads it out.
    pub(crate) fn spoken(&self, attempt: u32, now: Timestamp) -> String {
        let minutes = self.minutes(now);
        let left = match (minutes, self.zh) {
            (None, _) => String::new(),
            (Some(m), true) if m < 0 => format!("已超时{}分钟", -m),
            (Some(m), true) => format!("还剩{m}分钟"),
            (Some(m), false) if m < 0 => format!("{} minutes overdue", -m),
            (Some(m), false) => format!("{m} minutes left"),
        };
        let severity = match (self.severity.as_str(), self.zh) {
            ("P1", true) => "一级险情",
            ("P2", true) => "二级险情",
            ("P3", true) => "三级险情",
            ("P1", false) => "priority one",
            ("P2", false) => "priority two",
            ("P3", false) => "priority three",
            _ => "",
        };
        let drill = if self.drill { self.pick("演练", "this is a drill") } else { "" };
        let again = if attempt > 1 { self.pick("重复通知", "repeat") } else { "" };
        let (missing, safety) = (&self.missing, &self.safety);
        let parts = [drill, again, severity, &self.title, &self.place, &self.danger, missing, safety, &left];
        let parts = parts.into_iter().filter(|part| !part.is_empty()).map(|part| say(part, self.zh));
        let (stop, end) = if self.zh { ("。", "。") } else { (". ", ".") };
        format!("{}{end}", parts.collect::<Vec<_>>().join(stop))
    }
}

/// UCS-2 characters, as a phone counts them.
pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The beginning of at most `max` UCS-2 characters, whole characters only.
fn cut_units(text: &str, max: usize) -> String {
    if units(text) <= max {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.len_utf16();
        used <= max
    };
    let kept: String = text.chars().take_while(fits).collect();
    if max == 0 { String::new() } else { format!("{kept}…") }
}

/// The beginning of at most `max` bytes, whole characters only.
pub(crate) fn cut_bytes(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Control characters and signs that turn the direction of writing come from outside: blanks instead.
pub(crate) fn clean(text: &str) -> String {
    let bad = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if bad(c) { ' ' } else { c }).collect()
}

/// What says in English that a post is dead.
pub(crate) const DEAD_EN: &str = "power is off";

/// True for safety words by which a post may be touched.
fn says_dead(safety: &str) -> bool {
    safety.contains(DEAD) || safety.to_lowercase().contains(DEAD_EN)
}

/// What may be touched, in a few words.
pub(crate) fn safety_words(safety: &str, zh: bool) -> String {
    let english = match safety {
        DEAD => DEAD_EN,
        GUARDED => "guarded, NOT dead, treat as live",
        _ => "not confirmed dead, treat as live",
    };
    if zh { safety.to_owned() } else { english.to_owned() }
}

const DIGITS_ZH: [&str; 10] = ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"];
const DIGITS_EN: [&str; 10] =
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
/// Units behind a number, as a voice says them.
const UNITS: [(&str, &str, &str); 6] = [
    ("mA", "毫安", "milliamps"),
    ("V", "伏", "volts"),
    ("W", "瓦", "watts"),
    ("min", "分钟", "minutes"),
    ("°", "度", "degrees"),
    ("s", "秒", "seconds"),
];

/// Digits one by one, units as words, no symbols.
fn say(text: &str, zh: bool) -> String {
    let words = text.split_whitespace().map(|word| {
        let unit = UNITS.iter().find(|(unit, ..)| *unit == word);
        unit.map_or_else(
            || say_word(word, zh),
            |(_, chinese, english)| {
                if zh { (*chinese).to_owned() } else { (*english).to_owned() }
            },
        )
    });
    let gap = if zh { "" } else { " " };
    let text = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(gap);
    text.trim_matches([' ', '，', ',']).to_owned()
}

fn say_word(word: &str, zh: bool) -> String {
    let mut out = String::new();
    let mut chars = word.chars().peekable();
    let mut digit_before = false;
    while let Some(c) = chars.next() {
        let digit = c.to_digit(10).filter(|_| c.is_ascii_digit());
        let next_is_digit = chars.peek().is_some_and(char::is_ascii_digit);
        let first = out.is_empty();
        let mut put = |said: &str, apart: bool| {
            if apart && !zh && !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
            out.push_str(said);
        };
        match (digit, c) {
            (Some(digit), _) => {
                let said = if zh { DIGITS_ZH } else { DIGITS_EN };
                put(said[digit as usize], true);
            }
            (None, '.') if digit_before && next_is_digit => put(if zh { "点" } else { "point" }, true),
            (None, '-') if first && next_is_digit => put(if zh { "负" } else { "minus" }, true),
            (None, '，' | ',' | '。' | '、' | '；') => put(if zh { "，" } else { "," }, false),
            (None, _) if c.is_alphabetic() => put(&c.to_string(), digit_before),
            (None, _) => {}
        }
        digit_before = digit.is_some();
    }
    out
}

/// Many tellings in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Many {
    pub(crate) text: String,
    /// How many of them, from the first on, it names.
    pub(crate) named: usize,
}

/// `lines` in order of danger; as many as fit with `fits`, at most [`NAMED_MAX`], the rest as count and roads.
pub(crate) fn many(all: &[&Words], now: Timestamp, fits: impl Fn(&str) -> bool) -> Many {
    let mut named = all.len().min(NAMED_MAX);
    loop {
        let text = many_text(all, named, now);
        if named <= 1 || fits(&text) {
            return Many { text, named };
        }
        named -= 1;
    }
}

/// What many are, and how many of that: tests among dangers are none.
fn count_of(all: &[&Words]) -> (usize, &'static str, &'static str) {
    let dangers = all.iter().filter(|words| !words.confirms).count();
    if dangers == 0 { (all.len(), "通道测试", "tests") } else { (dangers, "险情", "tellings") }
}

/// What may be touched of many: their own words where they are one, else that nothing may. What is dead says nothing of
/// what has no such words.
fn shared_safety(all: &[&Words]) -> String {
    let Some(first) = all.iter().map(|words| &*words.safety).find(|safety| !safety.is_empty()) else {
        return String::new();
    };
    let fits = |words: &&Words| words.safety == first || (words.safety.is_empty() && !says_dead(first));
    let zh = all.iter().any(|words| words.zh);
    if all.iter().all(fits) { first.to_owned() } else { safety_words(TREAT_AS_LIVE, zh) }
}

fn many_text(all: &[&Words], named: usize, now: Timestamp) -> String {
    let Some(first) = all.first() else { return String::new() };
    let p1 = all.iter().filter(|words| words.is_p1()).count();
    let drill = if all.iter().all(|words| words.drill) { first.pick("演练 ", "drill 演练 ") } else { "" };
    let (count, zh, en) = count_of(all);
    let mut text = match first.zh {
        true => format!("【{drill}{zh} {count} 条，其中 P1 {p1} 条】"),
        false => format!("[{drill}{count} {en}, {p1} of them P1] "),
    };
    text += &clean(&shared_safety(all));
    text.truncate(text.trim_end().len());
    for words in &all[..named] {
        let _ = write!(text, "\n{}", clean(&words.line(now)));
    }
    let rest = &all[named..];
    if !rest.is_empty() {
        let p1 = rest.iter().filter(|words| words.is_p1()).count();
        let mut roads: Vec<&str> = Vec::new();
        for words in rest {
            if !words.road.is_empty() && !roads.contains(&&*words.road) && roads.len() < ROADS_MAX {
                roads.push(&words.road);
            }
        }
        let roads = clean(&roads.join(first.pick("、", ", ")));
        let _ = match first.zh {
            true => write!(text, "\n另有 {} 条（P1 {p1} 条）：{roads}", rest.len()),
            false => write!(text, "\nand {} more ({p1} P1): {roads}", rest.len()),
        };
    }
    if let Some(board) = &first.board {
        let _ = write!(text, "\n{board}");
    }
    text
}

/// Many in one SMS: head, what may be touched, titles with places, count. Names those whose place is in it.
pub(crate) fn many_sms(all: &[&Words]) -> Many {
    let Some(first) = all.first() else { return Many { text: String::new(), named: 0 } };
    let p1 = all.iter().filter(|words| words.is_p1()).count();
    let board = first.board.as_ref().map_or_else(String::new, |board| format!(" {board}"));
    let drill = if all.iter().all(|words| words.drill) { first.pick("演练 ", "drill ") } else { "" };
    let (count, zh, en) = count_of(all);
    let gap = first.pick("：", ": ");
    let safety = Some(clean(&shared_safety(all))).filter(|safety| !safety.is_empty());
    let safety = safety.map_or_else(String::new, |safety| format!("{safety}{gap}"));
    let build = |named: usize| {
        let link = |words: &Words| match &words.link {
            Some(link) if words.confirms => format!(" {link}"),
            _ => String::new(),
        };
        let one = |words: &&Words| {
            let (title, place) = (clean(&words.title), clean(&words.place));
            let parts = [&*words.severity, &title, &place, &words.missing, &words.id];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            format!("{}{}", parts.join(" "), link(words))
        };
        let places: Vec<String> = all[..named].iter().map(one).collect();
        let rest = all.len() - named;
        let more = match (rest, first.zh) {
            (0, _) => String::new(),
            (_, true) => format!("；另{rest}条"),
            (_, false) => format!("; {rest} more"),
        };
        match first.zh {
            true => format!("【{drill}{zh}{count}条，P1 {p1}条】{safety}{}{more}{board}", places.join("；")),
            false => format!("[{drill}{count} {en}, {p1} P1] {safety}{}{more}{board}", places.join("; ")),
        }
    };
    let named = (1..=all.len().min(NAMED_MAX)).rev().find(|named| units(&build(*named)) <= SMS_TWO);
    match named {
        Some(named) => Many { text: build(named), named },
        None => Many { text: cut_units(&build(1), SMS_TWO), named: 1 },
    }
}

/// Posts that a voice reads out; a call of a minute is listened to by nobody.
const SPOKEN_MAX: usize = 3;

/// Many in one call: how many, then the most dangerous in full, each with the number of its attempt.
pub(crate) fn many_spoken(each: &[(&Words, u32)], now: Timestamp) -> Many {
    let all: &[&Words] = &each.iter().map(|(words, _)| *words).collect::<Vec<_>>();
    let Some(first) = all.first() else { return Many { text: String::new(), named: 0 } };
    let named = all.len().min(SPOKEN_MAX);
    let (count, zh, en) = count_of(all);
    let p1 = all.iter().filter(|words| words.is_p1()).count();
    let head = match first.zh {
        true => say(&format!("共有{count}条{zh}，其中一级{p1}条"), true),
        false => say(&format!("{count} {en}, {p1} of priority one"), false),
    };
    let each: Vec<String> =
        each[..named].iter().map(|(words, attempt)| words.spoken(*attempt, now)).collect();
    let gap = if first.zh { "" } else { " " };
    let stop = if first.zh { "。" } else { ". " };
    Many { text: format!("{head}{stop}{}", each.join(gap)), named }
}

#[cfg(test)]
#[path = "notice_words_tests.rs"]
mod tests;
