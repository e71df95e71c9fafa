//! An [`Explanation`] in the words of people on duty, Chinese or English.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use lampguard_model::Timestamp;
use lampguard_model::series::INCIDENT_STATES;

use crate::engine::{Explanation, Quantified, Seen};
use crate::kind::Kind;
use crate::notice_text;

/// Writes an explanation.
pub struct Teller {
    /// Chinese; else English.
    pub chinese: bool,
    /// Zone of the times.
    pub zone: TimeZone,
}

impl Teller {
    fn say<'a>(&self, en: &'a str, zh: &'a str) -> &'a str {
        if self.chinese { zh } else { en }
    }

    /// A kind as the duty staff call it; English keeps the word of the interface.
    fn kind<'a>(&self, name: &'a str) -> &'a str {
        match Kind::from_name(name) {
            Some(kind) if self.chinese => notice_text::title(kind)[0],
            _ => name,
        }
    }

    /// A word of the interface (state, signal, rule, quantity) as the duty staff call it; English keeps it.
    fn word<'a>(&self, word: &'a str) -> &'a str {
        let state = INCIDENT_STATES.iter().find(|state| state.word == word).map(|state| state.zh);
        let chinese = match word {
            _ if state.is_some() => state.unwrap_or(word),
            "active" => "危险仍在",
            "normal" => "正常",
            "unpowered" => "无供电，未核实",
            "silent" => "无数据，未核实",
            "warning" => "预警",
            "danger" => "危险",
            "unmonitored" => "无监测",
            "unregistered" => "未登记",
            "two_of_three" => "最近三个样本中两个超限",
            "two_within_30_min" => "30 分钟内两个样本超限",
            "device_flag" => "单个样本超限且设备告警",
            "single_sample" => "长周期传感器单个样本超限",
            "manual" => "人工登记",
            "leakage_ma" => "漏电流",
            "shell_v" => "外壳电压",
            _ => word,
        };
        if self.chinese { chinese } else { word }
    }

    fn time(&self, text: &str) -> String {
        let at = Timestamp::from_rfc3339(text).and_then(|at| jiff::Timestamp::from_millisecond(at.0).ok());
        at.map_or_else(
            || text.to_owned(),
            |at| at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        )
    }

    /// The whole explanation, the answer first.
    pub fn text(&self, told: &Explanation) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{}  {}  {}  {}", told.post_id, told.zone, told.feeder, self.time(&told.at));
        for line in self.answer(told) {
            let _ = writeln!(text, "→ {line}");
        }
        let _ = writeln!(text, "{}  {}  {}", self.say("state", "状态"), self.word(&told.state), told.why);
        let _ = writeln!(text, "{}  {}", self.say("wet or dry", "干湿"), self.wetness(told));
        let _ = writeln!(text, "{}  {}", self.say("supply", "供电"), self.supply(told));
        if let Some(heard) = &told.heard_at {
            let (heard, period, silent) = (self.time(heard), told.period_s, told.silent_after_s);
            let _ = if self.chinese {
                writeln!(text, "通信  最近数据 {heard}，周期 {period} 秒，{silent} 秒无数据即为失联")
            } else {
                writeln!(text, "data  newest {heard}, every {period} s, silent after {silent} s")
            };
        }
        for quantity in &told.quantities {
            self.quantity(quantity, &mut text);
        }
        let _ = writeln!(text, "\n{}  {}", self.say("policy", "方案"), told.policy_hash);
        let _ = writeln!(text, "{}  {}", self.say("source", "来源"), told.source);
        text
    }

    /// Why it raised or did not, a line for each reason.
    pub fn answer(&self, told: &Explanation) -> Vec<String> {
        let one = |en: &str, zh: &str| vec![self.say(en, zh).to_owned()];
        if let Some(incident) = &told.incident {
            let (id, due) = (&incident.id, self.time(&incident.due_at));
            let kinds: Vec<&str> = incident.kinds.iter().map(|kind| self.kind(kind)).collect();
            let (kinds, opened) = (kinds.join(self.say(", ", "、")), self.time(&incident.opened_at));
            let [rule, state, signal] =
                [&incident.rule, &incident.state, &incident.signal].map(|word| self.word(word));
            return vec![if self.chinese {
                format!(
                    "已生成险情 {id}（{kinds}），{opened}，依据 {rule}；状态 {state}，信号 {signal}，到场时限 {due}"
                )
            } else {
                format!(
                    "raised: incident {id} ({kinds}) at {opened} by {rule}; {state}, signal {signal}, due {due}"
                )
            }];
        }
        match told.what.as_str() {
            "unknown" => {
                return one("neither the register nor any data knows this post", "台账与数据中均无此灯杆");
            }
            "cabinet" => {
                return one(
                    "a sensor in a cabinet raises no alarm of a post",
                    "控制箱传感器不触发灯杆类告警",
                );
            }
            _ => {}
        }
        if told.quantities.iter().all(|quantity| quantity.samples.is_empty()) {
            return one(
                "not raised: no valid leakage or shell sample is known",
                "未告警：没有有效的漏电或外壳电压样本",
            );
        }
        told.quantities.iter().filter_map(|quantity| self.verdict(quantity, told)).collect()
    }

    /// Why one quantity raised or did not.
    fn verdict(&self, quantity: &Quantified, told: &Explanation) -> Option<String> {
        let newest = quantity.samples.last()?;
        let (field, unit, limit) = (self.word(&quantity.field), &quantity.unit, quantity.limit);
        let value = newest.value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        let wet = match (told.wet.wet, self.chinese) {
            (true, true) => "潮湿限值",
            (true, false) => "wet",
            (false, true) => "干燥限值",
            (false, false) => "dry",
        };
        let above = quantity.samples.iter().filter(|sample| sample.above).count();
        let mut line = if above == 0 {
            if self.chinese {
                format!("未告警：{field} {value} {unit} 低于限值 {limit}（{wet}）")
            } else {
                format!("not raised: {field} {value} {unit} is below the limit {limit} ({wet})")
            }
        } else if let Some(rule) = &quantity.confirmed_by {
            let rule = self.word(rule);
            if self.chinese {
                format!("{field} 超过限值 {limit} {unit}（{wet}），已由 {rule} 确认")
            } else {
                format!("{field} is over the limit {limit} {unit} ({wet}) and confirmed by {rule}")
            }
        } else if self.chinese {
            format!(
                "未确认：{field} 最近 {} 个样本中 {above} 个达到限值 {limit} {unit}（{wet}）",
                quantity.samples.len()
            )
        } else {
            let count = quantity.samples.len();
            format!(
                "not confirmed: {above} of the last {count} samples of {field} reach the limit {limit} {unit} ({wet})"
            )
        };
        if quantity.stale {
            line += self.say("; its newest sample is old", "；最新样本已过时");
        }
        if !newest.powered {
            line += self.say(
                "; taken without supply: a value below the limit says nothing",
                "；无供电时测得：低于限值不代表正常",
            );
        }
        Some(line)
    }

    fn wetness(&self, told: &Explanation) -> String {
        let wet = &told.wet;
        let mut parts = vec![if wet.wet {
            format!("{}: {}", self.say("wet", "潮湿"), self.because(&wet.because))
        } else {
            self.say("dry", "干燥").to_owned()
        }];
        if !wet.warning.is_empty() {
            parts.push(format!("{} {}", self.say("warning", "预警"), wet.warning));
        }
        parts.push(match &wet.weather_at {
            Some(at) => format!("{} {}", self.say("newest weather", "最近天气"), self.time(at)),
            None => self.say("no weather message", "无天气信息").to_owned(),
        });
        if let Some(at) = &wet.immersed_at {
            parts.push(format!("{} {}", self.say("water at the post", "灯杆浸水"), self.time(at)));
        }
        if wet.low_lying {
            parts.push(self.say("low-lying", "低洼").to_owned());
        }
        if let (true, Some(at)) = (wet.because == "drying", &wet.dries_at) {
            parts.push(format!("{} {}", self.say("dry from", "预计干燥"), self.time(at)));
        }
        parts.join(self.say(", ", "，"))
    }

    fn because<'a>(&self, word: &'a str) -> &'a str {
        let zh = match word {
            "warning" => "官方预警生效",
            "rain" => "三小时内有雨",
            "manual" => "人工设为潮湿",
            "immersed" => "灯杆浸水",
            "drying" => "尚未干燥",
            "unknown" => "天气未知",
            other => other,
        };
        if self.chinese { zh } else { word }
    }

    fn supply(&self, told: &Explanation) -> String {
        let supply = &told.supply;
        let powered = if supply.powered {
            self.say("newest sample with supply", "最新样本有供电")
        } else {
            self.say("newest sample without supply", "最新样本无供电")
        };
        let expected = match supply.expected {
            Some(true) => self.say("supply expected", "按时刻表应供电"),
            Some(false) => self.say("no supply expected", "按时刻表不供电"),
            None => self.say("no timetable known", "无时刻表"),
        };
        let mut text = format!("{powered}{}{expected}", self.say(", ", "，"));
        if !supply.timetable.is_empty() {
            let _ = write!(text, " ({})", supply.timetable);
        }
        text
    }

    fn quantity(&self, quantity: &Quantified, text: &mut String) {
        let Quantified { unit, limit, limit_dry, limit_wet, warning, .. } = quantity;
        let field = self.word(&quantity.field);
        let _ = if self.chinese {
            writeln!(
                text,
                "\n{field}  限值 {limit} {unit}（干燥 {limit_dry}，潮湿 {limit_wet}），警戒 {warning}"
            )
        } else {
            writeln!(
                text,
                "\n{field}  limit {limit} {unit} (dry {limit_dry}, wet {limit_wet}), warning {warning}"
            )
        };
        for sample in &quantity.samples {
            let value = sample.value.map_or_else(|| "live".to_owned(), |value| format!("{value} {unit}"));
            let _ =
                writeln!(text, "  {}  {value:<12} {}", self.time(&sample.measured_at), self.marks(sample));
        }
        for rule in quantity.rules.iter().filter(|_| quantity.samples.iter().any(|sample| sample.above)) {
            let mark = if rule.holds { "✓" } else { "✗" };
            let _ = writeln!(text, "  {mark} {}  {}", rule.rule, self.say(&rule.en, &rule.zh));
        }
    }

    fn marks(&self, sample: &Seen) -> String {
        let said = [
            (sample.above, "at or above the limit", "达到限值"),
            (!sample.powered, "without supply", "无供电"),
            (sample.flagged, "device's flag", "设备告警位"),
            (sample.manual, "by hand", "人工"),
            (sample.at_receipt, "time of receipt", "接收时间"),
        ];
        let told = said.into_iter().filter(|(holds, ..)| *holds);
        told.map(|(_, en, zh)| self.say(en, zh)).collect::<Vec<_>>().join(self.say(", ", "，"))
    }
}
