//! What the sky does to the limits, and what a change of limits does to the posts.

use std::sync::Arc;

use lampguard_model::{Millis, Timestamp, WeatherReport};

use super::{Effect, Engine};
use crate::slot::Fact;

/// After start, or after a pause, the desk is not told "weather unknown" for this long: the first message
/// may be on its way.
pub(super) const WEATHER_GRACE: Millis = Millis::seconds(60);

impl Engine {
    pub(super) fn weather(
        &mut self,
        now: Timestamp,
        zone: &str,
        report: &WeatherReport,
        effects: &mut Vec<Effect>,
    ) {
        // Zones come from the register: invented ones would grow without bound.
        if zone != crate::wet::ALL && !self.zones.iter().any(|known| *known.name == *zone) {
            return;
        }
        self.sky.entry(zone).apply(report, now);
        let weather = Box::new(self.sky.entry(zone).clone());
        effects.push(Effect::Weather { zone: Arc::from(zone), weather });
        self.refresh_wet(now, effects);
    }

    /// Looks whether zones became wet or dry; a zone that became wet has its posts judged again.
    pub(super) fn refresh_wet(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for place in 0..self.zones.len() {
            let name = self.zones[place].name.clone();
            let new = [false, true].map(|low| self.sky.because(&name, now, low));
            let old = std::mem::replace(&mut self.zones[place].wet, new);
            let wetter = [0, 1].map(|low| old[low].is_none() && new[low].is_some());
            if wetter[0] || wetter[1] {
                self.ask_rechecks(place, wetter, now, effects);
                self.worse_at = self.worse_at.min(now);
                for slot in 0..self.slots.len() {
                    let s = &self.slots[slot];
                    if usize::from(s.zone) == place && wetter[usize::from(s.is(Fact::LowLying))] {
                        self.judge_again(slot, now, effects);
                        // Silence is called so sooner while it is wet.
                        self.wake(slot, now);
                    }
                }
            }
        }
    }

    pub(super) fn tell_unknown_weather(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let grace = now.since(self.running_since) < WEATHER_GRACE;
        let mut unknown: Vec<Arc<str>> = Vec::new();
        let mut since = Timestamp(i64::MIN);
        let all = self.sky.get(crate::wet::ALL).and_then(|w| w.newest_at);
        // Of a zone that the register no longer has nobody needs the weather.
        for zone in self.zones.iter().filter(|zone| self.register.has_zone(&zone.name)) {
            let known = self.sky.is_known(&zone.name, now);
            let told = self.sky.get(&zone.name).is_some_and(|w| w.unknown_told);
            if known == told && (known || !grace) {
                let weather = self.sky.entry(&zone.name);
                weather.unknown_told = !known;
                let copy = Box::new(weather.clone());
                if !known {
                    since = since.max(copy.newest_at.max(all).unwrap_or(now));
                    unknown.push(zone.name.clone());
                }
                effects.push(Effect::Weather { zone: zone.name.clone(), weather: copy });
            }
        }
        if !unknown.is_empty() {
            effects.push(Effect::WeatherUnknown { since, zones: unknown });
        }
    }
}
