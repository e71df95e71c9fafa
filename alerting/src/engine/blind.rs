//! Why a zone is blind: what the desk has to know before it sends anybody.

use std::collections::BTreeSet;

use lampguard_model::Timestamp;
use lampguard_model::record::SOURCES;

use super::Engine;

const NEVER: &str = "从未收到数据 (no data was ever received)";
const NO_SUPPLY: &str = "当前不供电时段 (its posts have no supply now)";
/// Parts that are named; more are a count.
const NAMED_MAX: usize = 3;

impl Engine {
    /// Why nothing is heard of a zone, as far as that can be told from here, in Chinese and English. For a zone that is
    /// heard it says what would be the cause.
    pub fn why_blind(&self, zone: &str, now: Timestamp) -> String {
        let Some(place) = self.zones.iter().position(|known| *known.name == *zone) else {
            return NEVER.to_owned();
        };
        self.cause_of_blindness(place, now)
    }

    pub(super) fn cause_of_blindness(&self, zone: usize, now: Timestamp) -> String {
        let posts: Vec<usize> = (0..self.slots.len())
            .filter(|slot| usize::from(self.slots[*slot].zone) == zone && self.is_counted(*slot))
            .filter(|slot| self.slots[*slot].heard_at().is_some())
            .collect();
        let (Some(heard), false) = (self.zones[zone].heard_at, posts.is_empty()) else {
            return NEVER.to_owned();
        };
        if let Some(down) = self.sources_down(&posts) {
            return down;
        }
        if posts.iter().all(|slot| self.supply_expected(*slot, now).is_none() || self.is_isolated(*slot)) {
            return NO_SUPPLY.to_owned();
        }
        let count = posts.len();
        let silent = format!(
            "全部 {count} 根灯杆无数据, 数据来源正常 (all {count} posts silent, their sources are connected)"
        );
        if self.running_since > heard {
            // What was said meanwhile nobody heard; since then they would have spoken.
            return format!("本系统停运期间起无数据 (not heard since before we were down); {silent}");
        }
        silent
    }

    /// The sources of these posts that are down. With one broker of two away the zone may hang on either, so it is
    /// named too.
    fn sources_down(&self, posts: &[usize]) -> Option<String> {
        let sources: BTreeSet<u8> = posts.iter().map(|slot| self.slots[*slot].source()).collect();
        let names: Vec<&str> = sources
            .iter()
            .filter_map(|source| SOURCES.get(usize::from(*source)))
            .map(|source| source.name())
            .collect();
        let mut down = Vec::new();
        for part in
            self.parts.iter().filter(|part| part.is_bad() && names.iter().any(|name| part.is_of(name)))
        {
            let because = if part.because.is_empty() { String::new() } else { format!(", {}", part.because) };
            down.push(format!("{}{because}", part.name));
        }
        let more = down.len().saturating_sub(NAMED_MAX);
        down.truncate(NAMED_MAX);
        let more = if more > 0 { format!(" +{more}") } else { String::new() };
        (!down.is_empty()).then(|| format!("数据来源中断 (source down): {}{more}", down.join("; ")))
    }
}
