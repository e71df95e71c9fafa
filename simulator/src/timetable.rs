//! Who reports when: every sensor keeps its own place in its period.

use std::collections::BTreeMap;

use crate::chance::Chance;

/// Sensors of equal periods, spread evenly over them.
#[derive(Clone, Debug)]
struct Group {
    lit_ms: u64,
    /// Reports only every so many periods while its lamp is not meant to burn.
    standby: u64,
    order: Vec<u32>,
    next: u64,
}

/// A slot that is due: a sensor's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The sensor.
    pub(crate) place: u32,
    /// True when it reports also while its lamp is not meant to burn.
    pub(crate) in_standby: bool,
}

/// Every sensor's turns, in order of time.
#[derive(Clone, Debug)]
pub(crate) struct Timetable {
    groups: Vec<Group>,
}

impl Timetable {
    /// A timetable of sensors with their periods, lit and standby, in seconds.
    pub(crate) fn new(sensors: impl Iterator<Item = (u32, (u32, u32))>, chance: Chance) -> Self {
        let mut by_period: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
        for (place, periods) in sensors {
            by_period.entry(periods).or_default().push(place);
        }
        let group = |((lit_s, standby_s), mut order): ((u32, u32), Vec<u32>)| {
            order.sort_by_cached_key(|place| (chance.bits(u64::from(*place)), *place));
            Group {
                lit_ms: u64::from(lit_s) * 1000,
                standby: u64::from((standby_s / lit_s.max(1)).max(1)),
                order,
                next: 0,
            }
        };
        Self { groups: by_period.into_iter().map(group).collect() }
    }

    /// When the next turn is due, ms after the start, and in which group.
    pub(crate) fn next(&self) -> Option<(i64, usize)> {
        let due = |group: &Group| {
            // Widened: a year of a million posts passes 64 bits.
            let ms = u128::from(group.next) * u128::from(group.lit_ms) / group.order.len() as u128;
            i64::try_from(ms).unwrap_or(i64::MAX)
        };
        self.groups.iter().enumerate().map(|(nth, group)| (due(group), nth)).min()
    }

    /// Takes the next turn of a group.
    pub(crate) fn take(&mut self, group: usize) -> Turn {
        let group = &mut self.groups[group];
        let count = group.order.len() as u64;
        let (round, place) = (group.next / count, group.order[(group.next % count) as usize]);
        group.next += 1;
        Turn { place, in_standby: (round + u64::from(place)).is_multiple_of(group.standby) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sensor_has_its_turn_once_a_period_and_in_standby_every_third_time() {
        let sensors = (0..100).map(|place| (place, (300, 900))).chain([(100, (60, 60))]);
        let mut timetable = Timetable::new(sensors, Chance::new(1));
        let (mut turns, mut standby, mut fast) = ([0; 100], [0; 100], 0);
        while let Some((ms, group)) = timetable.next().filter(|(ms, _)| *ms < 900_000) {
            let turn = timetable.take(group);
            assert!(ms < 900_000);
            match turns.get_mut(turn.place as usize) {
                Some(count) => {
                    *count += 1;
                    standby[turn.place as usize] += u32::from(turn.in_standby);
                }
                None => fast += 1,
            }
        }
        assert!(turns.iter().all(|count| *count == 3) && standby.iter().all(|count| *count == 1));
        assert_eq!(fast, 15);
    }
}
