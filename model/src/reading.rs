//! One reading as a sensor sent it, before it is placed and admitted.

use crate::field::{Field, Fields};
use crate::time::Timestamp;
use crate::units::{Milliamps, Quantity, Volts};

/// Why a sensor sent a reading. The number is its place on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// By its timetable; also when nothing was said.
    #[default]
    Periodic = 0,
    /// A value changed.
    Change = 1,
    /// Its own limit was passed.
    Alarm = 2,
    /// A sign of life.
    Heartbeat = 3,
    /// Its supply went away.
    LastGasp = 4,
    /// Kept in the device and sent later.
    Backfill = 5,
    /// Typed in by a person.
    Manual = 6,
}

const CAUSES: [(Cause, &str); 7] = [
    (Cause::Periodic, "periodic"),
    (Cause::Change, "change"),
    (Cause::Alarm, "alarm"),
    (Cause::Heartbeat, "heartbeat"),
    (Cause::LastGasp, "last_gasp"),
    (Cause::Backfill, "backfill"),
    (Cause::Manual, "manual"),
];

impl Cause {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        CAUSES[self as usize].1
    }

    /// The cause of that word; `None` for a word the contract does not have.
    pub fn from_name(name: &str) -> Option<Self> {
        CAUSES.iter().find(|(_, n)| *n == name).map(|(cause, _)| *cause)
    }

    /// The cause of that number; unknown numbers read as periodic.
    pub fn from_number(number: u8) -> Self {
        CAUSES.get(usize::from(number)).map_or(Self::Periodic, |(cause, _)| *cause)
    }
}

macro_rules! bits {
    ($(#[$doc:meta])* $name:ident, $int:ty, $($(#[$bit_doc:meta])* $bit:ident = $shift:literal $word:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$bit_doc])* pub const $bit: Self = Self(1 << $shift);)+

            const WORDS: &'static [(Self, &'static str)] = &[$((Self::$bit, $word)),+];

            /// True when every bit of `other` is set.
            pub fn has(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Sets the bits of `other`.
            pub fn add(&mut self, other: Self) {
                self.0 |= other.0;
            }

            /// Takes the bits of `other` away.
            pub fn remove(&mut self, other: Self) {
                self.0 &= !other.0;
            }

            /// The bit of that word, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::WORDS.iter().find(|(_, word)| *word == name).map(|(bit, _)| *bit)
            }

            /// The words of the bits that are set.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                let words = if self.0 == 0 { &[] } else { Self::WORDS };
                words.iter().filter(move |(bit, _)| self.has(*bit)).map(|(_, word)| *word)
            }
        }
    };
}

bits!(
    /// What the sensor itself says besides its values.
    Flags, u16,
    /// Its own leakage limit is passed.
    LEAK_ALARM = 0 "leak_alarm",
    /// Its own shell-voltage limit is passed.
    SHELL_ALARM = 1 "shell_alarm",
    /// The leakage transformer or voltage tap is gone.
    SENSOR_LOST = 2 "sensor_lost",
    /// Somebody handled the sensor.
    TAMPER = 3 "tamper",
    /// Its battery is nearly empty.
    BATTERY_LOW = 4 "battery_low",
    /// Made by the simulated city. Shown wherever people look; no rule may read it.
    SIMULATED = 5 "simulated",
);

bits!(
    /// What we noticed about a reading.
    Marks, u32,
    /// A field was outside its range and was dropped.
    OUT_OF_RANGE = 0 "out_of_range",
    /// Leakage above the range or all ones: dangerous and unknown, never zero.
    SATURATED = 1 "saturated",
    /// The sensor's clock cannot be right; receipt time stands in.
    CLOCK = 2 "clock",
    /// Measured long before it was received.
    LATE = 3 "late",
    /// Same identity as an earlier reading, other content.
    SEQ_REUSED = 4 "seq_reused",
    /// The register does not know the device.
    UNREGISTERED = 5 "unregistered",
    /// The device is beyond the number of unregistered devices that are tracked.
    UNTRACKED = 6 "untracked",
    /// The payload carries only what changed.
    PARTIAL = 7 "partial",
    /// A retained message, still fresh.
    RETAINED = 8 "retained",
    /// Bare NaN or leading zeros were mended.
    MENDED = 9 "mended",
    /// A field could not be read and was dropped.
    BAD_FIELD = 10 "bad_field",
    /// The topic named another zone than the register.
    ZONE_MISMATCH = 11 "zone_mismatch",
    /// Neither time nor (boot, seq): at least once.
    NO_IDENTITY = 12 "no_identity",
    /// `stored_ts` is not the measured time, because that millisecond was taken.
    TS_MOVED = 13 "ts_moved",
    /// It came on the topic of another registered post.
    OTHER_TOPIC = 14 "other_topic",
    /// Stored and not judged here: it came from a source with `judge = false`, and another instance judges it.
    NOT_JUDGED = 15 "not_judged",
    /// Another node owns its post: kept until that node has it, in no history here.
    FOREIGN = 16 "foreign",
    /// It came from a sensor in a cabinet, by the register of then: what it measures is of a whole feeder.
    CABINET = 17 "cabinet",
);

/// One report of one sensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Device or post named in the payload; absent when the topic names it.
    pub device: Option<Box<str>>,
    /// The sensor's word on when it measured; absent means at receipt.
    pub ts: Option<Timestamp>,
    /// Running number of the device.
    pub seq: Option<u64>,
    /// Number of the device's restarts.
    pub boot: Option<u32>,
    /// Why it was sent.
    pub cause: Cause,
    /// The device's own flags.
    pub flags: Flags,
    /// What we noticed so far.
    pub marks: Marks,
    /// Who typed it in, for manual readings; at most 64 characters.
    pub by: Option<Box<str>>,
    /// The values.
    pub fields: Fields,
    /// Reporting period of such devices, seconds, where the profile that read it names one.
    pub period_s: Option<u32>,
    /// Keys that nobody knows; counted, never fatal.
    pub unknown_keys: u32,
}

impl Reading {
    /// Leakage, if a valid value was measured.
    pub fn leakage(&self) -> Option<Milliamps> {
        self.fields.get(Field::LeakageMa).map(Milliamps::from_thousandths)
    }

    /// Shell voltage, if a valid value was measured.
    pub fn shell(&self) -> Option<Volts> {
        self.fields.get(Field::ShellV).map(Volts::from_thousandths)
    }

    /// True when there is something to keep: a value, a flag, or a saturated sensor.
    pub fn is_usable(&self) -> bool {
        !self.fields.is_empty() || self.flags != Flags::default() || self.marks.has(Marks::SATURATED)
    }

    /// Puts a value into its field: in range it is kept, outside it is dropped and marked. A glitch out of range does
    /// not erase the value that was there before.
    ///
    /// Leakage above its range marks [`Marks::SATURATED`], and nothing that comes behind it takes that back; leakage
    /// between -0.5 and 0 mA is zero (noise of the transformer around nothing).
    pub fn put(&mut self, field: Field, thousandths: i64) {
        let (info, leakage) = (field.info(), field == Field::LeakageMa);
        if leakage && (thousandths > info.max || self.marks.has(Marks::SATURATED)) {
            self.marks.add(Marks::SATURATED);
            self.fields.clear(field);
        } else if leakage && (-499..0).contains(&thousandths) {
            self.fields.set(field, 0);
        } else if (info.min..=info.max).contains(&thousandths) {
            let value = if info.boolean { i64::from(thousandths != 0) * 1000 } else { thousandths };
            self.fields.set(field, value);
        } else {
            self.marks.add(Marks::OUT_OF_RANGE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_range_is_dropped_and_the_reading_lives() {
        let mut reading = Reading::default();
        reading.put(Field::ShellV, 300_001);
        reading.put(Field::SupplyV, 380_000);
        assert_eq!(reading.shell(), None);
        assert!(reading.marks.has(Marks::OUT_OF_RANGE));
        assert_eq!(reading.fields.get(Field::SupplyV), Some(380_000));
    }

    #[test]
    fn situation_s3_a_leakage_above_range_is_saturated_not_zero() {
        let mut reading = Reading::default();
        reading.put(Field::LeakageMa, 6_553_500);
        assert_eq!(reading.leakage(), None);
        assert!(reading.marks.has(Marks::SATURATED) && reading.is_usable());
    }

    #[test]
    fn a_little_below_zero_is_zero_and_more_is_invalid() {
        let mut reading = Reading::default();
        reading.put(Field::LeakageMa, -500);
        assert_eq!(reading.leakage(), None);
        reading.put(Field::LeakageMa, -499);
        assert_eq!(reading.leakage(), Some(Milliamps::whole(0)));
    }

    #[test]
    fn a_glitch_out_of_range_erases_no_good_value_and_no_value_a_saturated_sensor() {
        let mut reading = Reading::default();
        reading.put(Field::ShellV, 48_000);
        reading.put(Field::ShellV, 9_999_000);
        assert_eq!(reading.shell(), Some(Volts::whole(48)));
        assert!(reading.marks.has(Marks::OUT_OF_RANGE));
        reading.put(Field::LeakageMa, 40_000);
        reading.put(Field::LeakageMa, 6_553_500);
        reading.put(Field::LeakageMa, 1_000);
        assert_eq!(reading.leakage(), None);
        assert!(reading.marks.has(Marks::SATURATED));
    }

    #[test]
    fn words_and_bits_agree() {
        assert_eq!(Flags::from_name("tamper"), Some(Flags::TAMPER));
        let mut flags = Flags::LEAK_ALARM;
        flags.add(Flags::SIMULATED);
        assert_eq!(flags.names().collect::<Vec<_>>(), ["leak_alarm", "simulated"]);
        assert_eq!(Cause::from_name("last_gasp"), Some(Cause::LastGasp));
        assert_eq!(Cause::from_number(6), Cause::Manual);
    }
}
