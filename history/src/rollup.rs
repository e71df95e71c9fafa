//! Roll-ups: what a zone looked like in one minute.

use foldhash::fast::RandomState;
use lampguard_model::{Field, Flags, Marks, StoredReading, Timestamp};
use std::collections::{BTreeMap, HashMap};

/// Milliseconds in a minute.
pub(crate) const MINUTE_MS: i64 = 60_000;

/// One minute of one zone, over all readings whose `stored_ts` lies in it. Late readings are added to their own
/// minute when they come. Values are thousandths of the unit in the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    /// Readings.
    pub readings: u64,
    /// Readings in which the sensor itself raised an alarm (leakage or shell), or its leakage was saturated.
    pub alarms: u64,
    /// Readings with water at the hand-hole sensor.
    pub immersed: u64,
    /// Highest leakage, thousandths of mA; none was measured: `None`, which is not zero.
    pub leakage_ma_max: Option<i64>,
    /// Sum of all leakages, thousandths of mA; over `leakage_count` it is the mean.
    pub leakage_ma_sum: i64,
    /// Readings with a leakage.
    pub leakage_count: u64,
    /// Highest shell voltage, thousandths of V.
    pub shell_v_max: Option<i64>,
    /// Lowest supply voltage, thousandths of V.
    pub supply_v_min: Option<i64>,
    /// Highest supply voltage, thousandths of V.
    pub supply_v_max: Option<i64>,
}

/// The smaller of two, where `None` means not measured.
fn least(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

impl Rollup {
    /// Counts one reading.
    pub fn add(&mut self, reading: &StoredReading<'_>) {
        let fields = &reading.fields;
        let alarm = reading.flags.has(Flags::LEAK_ALARM)
            || reading.flags.has(Flags::SHELL_ALARM)
            || reading.marks.has(Marks::SATURATED);
        let (leakage, supply) = (fields.get(Field::LeakageMa), fields.get(Field::SupplyV));
        self.merge(&Self {
            readings: 1,
            alarms: u64::from(alarm),
            immersed: u64::from(fields.flag(Field::Immersed) == Some(true)),
            leakage_ma_max: leakage,
            leakage_ma_sum: leakage.unwrap_or(0),
            leakage_count: u64::from(leakage.is_some()),
            shell_v_max: fields.get(Field::ShellV),
            supply_v_min: supply,
            supply_v_max: supply,
        });
    }

    /// Adds what another part of the same minute held.
    pub fn merge(&mut self, other: &Self) {
        self.readings += other.readings;
        self.alarms += other.alarms;
        self.immersed += other.immersed;
        self.leakage_ma_max = self.leakage_ma_max.max(other.leakage_ma_max);
        self.leakage_ma_sum = self.leakage_ma_sum.saturating_add(other.leakage_ma_sum);
        self.leakage_count += other.leakage_count;
        self.shell_v_max = self.shell_v_max.max(other.shell_v_max);
        self.supply_v_min = least(self.supply_v_min, other.supply_v_min);
        self.supply_v_max = self.supply_v_max.max(other.supply_v_max);
    }
}

/// The start of the minute of a point in time.
pub(crate) fn minute_of(time: Timestamp) -> i64 {
    time.0.div_euclid(MINUTE_MS).saturating_mul(MINUTE_MS)
}

/// Roll-ups that are not in the database yet: zone, start of the minute in ms UTC.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rollups(HashMap<Box<str>, BTreeMap<i64, Rollup>, RandomState>);

impl Rollups {
    /// Counts one reading in its zone and minute.
    pub(crate) fn add(&mut self, reading: &StoredReading<'_>) {
        let minute = minute_of(reading.stored_ts);
        if let Some(zone) = self.0.get_mut(reading.zone) {
            zone.entry(minute).or_default().add(reading);
        } else {
            let mut first = Rollup::default();
            first.add(reading);
            self.0.insert(reading.zone.into(), BTreeMap::from([(minute, first)]));
        }
    }

    /// Every zone, minute and roll-up.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i64, &Rollup)> {
        let zones = self.0.iter();
        zones.flat_map(|(zone, minutes)| {
            minutes.iter().map(move |(minute, rollup)| (&**zone, *minute, rollup))
        })
    }

    /// Adds the minutes of one zone from `from` until before `to` to `out`.
    pub(crate) fn merge_into(&self, zone: &str, from: i64, to: i64, out: &mut BTreeMap<i64, Rollup>) {
        let minutes = self.0.get(zone).into_iter().flatten();
        for (minute, rollup) in minutes.filter(|(minute, _)| (from..to).contains(*minute)) {
            out.entry(*minute).or_default().merge(rollup);
        }
    }
}
