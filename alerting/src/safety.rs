//! The office's own safety words: what a crew reads first, from `[site] safety_text_file`. Pure.
//!
//! ```toml
//! [zh]
//! live = "未确认断电，视为带电，先验电"
//! guarded = "已围护, 未断电, 视为带电"
//! dead = "已断电，先验电再作业"
//! rules = ["穿绝缘靴，戴绝缘手套", "两人同行，一人监护"]
//! [en]
//! live = "not confirmed dead, treat as live; test first"
//! ```
//!
//! Whatever is left out stands as it is in our own words. The office may say more than the rules of alarm and dispatch say,
//! never less: its words keep theirs in them (`SAYS`), and nothing but `dead` says that power is off.

use serde::Deserialize;

use crate::life::{DEAD, GUARDED};
use crate::notice_words::{DEAD_EN, clean, units};

/// Longest file, bytes.
pub const FILE_MAX: usize = 8 << 10;
/// Longest words, in UCS-2 characters: an SMS of two parts has 134.
pub const WORDS_MAX: usize = 48;
/// Rules of one language.
pub const RULES_MAX: usize = 8;
/// Longest rule, in characters.
pub const RULE_MAX: usize = 100;

/// What the words of each key have to say: key, Chinese, English.
const SAYS: [(&str, &[&str], &[&str]); 3] = [
    ("live", &["未确认断电", "视为带电"], &["not confirmed dead", "treat as live"]),
    ("guarded", &["未断电", "视为带电"], &["not dead", "treat as live"]),
    ("dead", &[DEAD], &[DEAD_EN]),
];

/// Words of the office; empty ones are ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SafetyText {
    zh: Own,
    en: Own,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Own {
    live: String,
    guarded: String,
    dead: String,
    rules: Vec<String>,
}

/// What is wrong with a file: key, where it is known, and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafetyFault {
    /// `zh.live`; empty for the file itself.
    pub key: String,
    /// What is wrong, with the way out.
    pub reason: String,
}

impl SafetyText {
    /// Reads a file.
    ///
    /// # Errors
    /// Every fault at once. Mend the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<SafetyFault>> {
        let file = |reason: String| vec![SafetyFault { key: String::new(), reason }];
        if bytes.len() > FILE_MAX {
            return Err(file(format!("has {} bytes, {FILE_MAX} at most", bytes.len())));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|_| file("is not UTF-8; save it as UTF-8".to_owned()))?;
        let parsed = toml::from_str::<Self>(text.trim_start_matches('\u{feff}'));
        let read = parsed.map_err(|e| file(e.to_string().trim_end().to_owned()))?;
        let mut faults = Vec::new();
        for (zh, lang, own) in [(true, "zh", &read.zh), (false, "en", &read.en)] {
            own.check(zh, lang, &mut faults);
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    /// The office's words for those of the rules ([`crate::life::Life::safety`]); `None`: ours hold.
    pub fn of(&self, safety: &str, zh: bool) -> Option<&str> {
        let own = if zh { &self.zh } else { &self.en };
        let words = match safety {
            DEAD => &own.dead,
            GUARDED => &own.guarded,
            _ => &own.live,
        };
        (!words.is_empty()).then_some(words)
    }

    /// What a crew does before anything else, line by line; empty: the office says nothing more.
    pub fn rules(&self, zh: bool) -> &[String] {
        if zh { &self.zh.rules } else { &self.en.rules }
    }
}

impl Own {
    fn check(&self, zh: bool, lang: &str, faults: &mut Vec<SafetyFault>) {
        let mut add = |key: String, reason: String| faults.push(SafetyFault { key, reason });
        for ((key, says_zh, says_en), words) in SAYS.iter().zip([&self.live, &self.guarded, &self.dead]) {
            if words.is_empty() {
                continue;
            }
            let (key, has) = (format!("{lang}.{key}"), words.to_lowercase());
            for part in if zh { *says_zh } else { *says_en } {
                if !has.contains(part) {
                    add(
                        key.clone(),
                        format!("{words:?} does not say {part:?}; keep it in, and say more behind it"),
                    );
                }
            }
            if !key.ends_with(".dead") && says_off(words) {
                add(key.clone(), format!("{words:?} says that power is off; only dead may"));
            }
            if units(words) > WORDS_MAX {
                let reason =
                    format!("has {} characters, {WORDS_MAX} at most: an SMS has little room", units(words));
                add(key.clone(), reason);
            }
            if !is_plain(words) {
                add(key, "has a line break or signs that nobody sees; write it on one line".to_owned());
            }
        }
        if self.rules.len() > RULES_MAX {
            let reason =
                format!("has {} lines, {RULES_MAX} at most: nobody reads more in the rain", self.rules.len());
            add(format!("{lang}.rules"), reason);
        }
        for (place, rule) in self.rules.iter().enumerate() {
            let key = format!("{lang}.rules[{place}]");
            if rule.trim().is_empty() || rule.chars().count() > RULE_MAX || !is_plain(rule) {
                add(key, format!("is not one line of 1 to {RULE_MAX} characters"));
            } else if says_off(rule) {
                let reason = format!(
                    "{rule:?} says {DEAD:?} or {DEAD_EN:?}, which stands there only while it is so; say it otherwise"
                );
                add(key, reason);
            }
        }
    }
}

fn says_off(text: &str) -> bool {
    text.contains(DEAD) || text.to_lowercase().contains(DEAD_EN)
}

fn is_plain(text: &str) -> bool {
    clean(text) == text && !text.contains('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::TREAT_AS_LIVE;

    const GOOD: &str = "\u{feff}[zh]\nlive = \"未确认断电，视为带电，先验电\"\ndead = \"已断电，先验电再作业\"\n\
        rules = [\"穿绝缘靴，戴绝缘手套\", \"两人同行，一人监护\"]\n[en]\nguarded = \"barrier, NOT dead, treat as live\"\n";

    #[test]
    fn the_office_says_more_and_what_it_leaves_out_stays_ours() {
        let text = SafetyText::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(text.of(TREAT_AS_LIVE, true), Some("未确认断电，视为带电，先验电"));
        assert_eq!(text.of("anything else", true), text.of(TREAT_AS_LIVE, true));
        assert_eq!(text.of(DEAD, true), Some("已断电，先验电再作业"));
        assert_eq!((text.of(GUARDED, true), text.of(DEAD, false)), (None, None));
        assert_eq!(text.of(GUARDED, false), Some("barrier, NOT dead, treat as live"));
        assert_eq!((text.rules(true).len(), text.rules(false).len()), (2, 0));
        assert_eq!(SafetyText::parse(b""), Ok(SafetyText::default()));
    }

    #[test]
    fn our_own_words_would_be_taken_as_an_offices() {
        for zh in [true, false] {
            let words = |safety| crate::notice_words::safety_words(safety, zh);
            let own = Own {
                live: words(TREAT_AS_LIVE),
                guarded: words(GUARDED),
                dead: words(DEAD),
                rules: Vec::new(),
            };
            let mut faults = Vec::new();
            own.check(zh, "x", &mut faults);
            assert_eq!(faults, []);
        }
    }

    #[test]
    fn words_that_protect_less_or_find_no_room_are_told_all_at_once() {
        let bad = format!(
            "[zh]\nlive = \"小心\"\nguarded = \"未断电, 视为带电, 不是已断电\"\ndead = \"已断电{}\"\nrules = [\"已断电后作业\", \"\", \"{}\"]\n\
             [en]\nlive = \"power is off or not confirmed dead, treat as live\"\ndead = \"power is off\\nnow\"\n",
            "，".repeat(WORDS_MAX),
            "长".repeat(RULE_MAX + 1)
        );
        let faults = SafetyText::parse(bad.as_bytes()).unwrap_err();
        let keys: Vec<&str> = faults.iter().map(|fault| &*fault.key).collect();
        assert_eq!(
            keys,
            [
                "zh.live",
                "zh.live",
                "zh.guarded",
                "zh.dead",
                "zh.rules[0]",
                "zh.rules[1]",
                "zh.rules[2]",
                "en.live",
                "en.live",
                "en.dead"
            ]
        );
        assert!(faults[0].reason.contains("does not say \"未确认断电\""), "{}", faults[0].reason);
        for (bytes, part) in [
            (vec![b' '; FILE_MAX + 1], "8192 at most"),
            (b"[zh]\nlive = \"\xff\"".to_vec(), "not UTF-8"),
            (b"[fr]\n".to_vec(), "unknown field"),
            (b"no TOML".to_vec(), "line 1"),
        ] {
            let faults = SafetyText::parse(&bytes).unwrap_err();
            assert!(faults.len() == 1 && faults[0].reason.contains(part), "{faults:?}");
        }
        let many = format!("[en]\nrules = [{}]", "\"x\",".repeat(RULES_MAX + 1));
        assert!(SafetyText::parse(many.as_bytes()).unwrap_err()[0].reason.contains("9 lines, 8 at most"));
    }
}
