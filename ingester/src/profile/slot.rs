//! From a value as a device sent it to a field: words, units, all ones of a word, scale.

use lampguard_model::units::Decimal;
use lampguard_model::wire::{self, Value};
use lampguard_model::{Field, Flags, Marks, Reading};
use serde_json::Value as Json;

use super::frame::Word;

/// All ones of a 16-bit or 32-bit word, in thousandths: what a transformer prints that is driven over its range, and
/// what a driver prints that read nothing.
const ALL_ONES: [i64; 2] = [65_535_000, 4_294_967_295_000];
/// Longest text that is looked at as a value; the longest word that means something has seven letters.
pub(super) const TEXT_MAX: usize = 64;

/// A value as it stands in a payload.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    /// Not measured, which is not zero.
    Absent,
    Bool(bool),
    Number(Decimal),
    Text(&'a str),
    /// Every bit of a word whose width is known, or the greatest or lowest number of a signed one: mostly nothing that was
    /// measured. The number that they are, when they are one.
    AllOnes(Option<Decimal>),
    /// An object, an array, a number that is none.
    Other,
}

/// What became of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    Value(i64),
    /// All ones of its word that may be measured all the same.
    AllOnes(i64),
    Absent,
    Unreadable,
    OutOfRange,
    Saturated,
    /// Its unit is not one of the field.
    Unit,
    /// No unit was named, neither by the payload nor by the profile.
    NoUnit,
}

/// One value of a payload and the field it goes into.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Paths or names; the first that is there counts.
    pub(super) names: Vec<String>,
    /// Bytes of a frame.
    pub(super) place: Option<(usize, Word)>,
    pub(super) field: Field,
    pub(super) scale: Decimal,
    pub(super) offset: Decimal,
    /// True when raw numbers are words of a register: scaled by the profile.
    pub(super) scaled: bool,
    /// Texts that stand for numbers.
    pub(super) words: Vec<(String, Decimal)>,
    /// The unit of values whose payload names none.
    pub(super) unit: Option<String>,
    /// Where the payload names the unit.
    pub(super) unit_at: Option<String>,
    /// Without a unit of the payload nobody knows what it is.
    pub(super) needs_unit: bool,
}

/// One flag of a payload.
#[derive(Clone, Debug)]
pub(super) struct FlagSlot {
    pub(super) names: Vec<String>,
    pub(super) place: Option<(usize, Word)>,
    pub(super) bit: Option<u8>,
    pub(super) flag: Flags,
}

/// Units as they are written right, where letters in any size mean the same: no post leaks megaamperes. Not in it is
/// what may be either milli or mega (MW, MOhm).
const ANY_CASE: [&str; 17] = [
    "mA", "A", "uA", "V", "kV", "mV", "W", "kW", "kWh", "Wh", "Ohm", "kOhm", "mm", "cm", "deg", "Cel", "%RH",
];

/// Factor from a unit as devices write it, also in letters of another size; `None` when the field is not measured in it.
pub(super) fn factor(field: Field, unit: &str) -> Option<Decimal> {
    exact_factor(field, unit).or_else(|| {
        let known = ANY_CASE.into_iter().find(|known| known.eq_ignore_ascii_case(unit.trim()))?;
        exact_factor(field, known)
    })
}

/// Factor from a unit as devices write it to the unit of a field; `None` when the field is not measured in it.
/// Names: RFC 8428 section 12.1, RFC 8798 (secondary units), and what makers print.
fn exact_factor(field: Field, unit: &str) -> Option<Decimal> {
    let parse = |text: &str| Decimal::parse(text);
    match (field.info().unit, unit.trim()) {
        (own, unit) if own == unit => Some(Decimal::ONE),
        ("mA", "A") | ("V", "kV") | ("W", "kW") | ("kWh", "MWh") | ("mm", "m") | ("Ω", "kOhm" | "kΩ") => {
            parse("1000")
        }
        ("mA", "uA" | "µA")
        | ("V", "mV")
        | ("A", "mA")
        | ("W", "mW")
        | ("kWh", "Wh")
        | ("Ω", "mOhm" | "mΩ") => parse("0.001"),
        ("mm", "cm") => parse("10"),
        ("%", "/") => parse("100"),
        ("", "%") if field == Field::PowerFactor => parse("0.01"),
        ("Ω", "Ohm" | "ohm") | ("°", "deg") | ("°C", "Cel" | "C" | "℃") | ("%", "%RH") | ("", "/") => {
            Some(Decimal::ONE)
        }
        _ => None,
    }
}

impl<'a> Raw<'a> {
    /// A JSON value.
    pub(super) fn json(value: &'a Json) -> Self {
        match value {
            Json::Null => Self::Absent,
            Json::Bool(yes) => Self::Bool(*yes),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Number(Decimal::whole(whole)),
                None => Decimal::parse(&number.to_string()).map_or(Self::Other, Self::Number),
            },
            Json::String(text) => Self::Text(text),
            _ => Self::Other,
        }
    }

    /// NaN is not measured; an infinity lies beyond every range.
    pub(super) fn double(value: f64) -> Self {
        Decimal::from_float(value).map_or(Self::Absent, Self::Number)
    }

    /// As [`Raw::double`], with the digits of single precision.
    pub(super) fn single(value: f32) -> Self {
        Decimal::from_f32(value).map_or_else(|| Self::double(f64::from(value)), Self::Number)
    }
}

impl Slot {
    /// Puts a value into its field. `unit` is what the payload says of it.
    pub(super) fn put(&self, reading: &mut Reading, raw: Raw<'_>, unit: Option<&str>) -> Took {
        let took = self.look(raw, unit);
        match took {
            Took::Value(thousandths) => return put(reading, self.field, thousandths),
            Took::AllOnes(thousandths) => {
                let put = put(reading, self.field, thousandths);
                if put != Took::Value(thousandths) {
                    return put;
                }
                reading.marks.add(Marks::BAD_FIELD);
            }
            Took::Absent => {}
            Took::Saturated => drop(put(reading, self.field, i64::MAX)),
            Took::OutOfRange => reading.marks.add(Marks::OUT_OF_RANGE),
            Took::Unreadable | Took::Unit | Took::NoUnit => reading.marks.add(Marks::BAD_FIELD),
        }
        took
    }

    fn look(&self, raw: Raw<'_>, unit: Option<&str>) -> Took {
        let all_ones = if self.field == Field::LeakageMa { Took::Saturated } else { Took::OutOfRange };
        // A meter of millivolts that is driven over its range by 230 V on the shell says 65535, which is 65.535 V: what
        // may be danger is kept.
        let may_be = self.field == Field::ShellV;
        let mut ones = matches!(raw, Raw::AllOnes(_));
        let number = match raw {
            Raw::Absent => return Took::Absent,
            Raw::AllOnes(Some(number)) if may_be => number,
            Raw::AllOnes(_) => return all_ones,
            Raw::Other => return Took::Unreadable,
            Raw::Number(number) => number,
            Raw::Bool(yes) => match self.word(if yes { "true" } else { "false" }) {
                Some(number) => number,
                None if self.field.info().boolean => Decimal::whole(i64::from(yes)),
                None => return Took::Unreadable,
            },
            Raw::Text(text) => match self.text(text) {
                Ok(number) => number,
                Err(took) => return took,
            },
        };
        // A frame knows how wide its words are, and a meter counts through 65535.
        let words = self.place.is_none() && self.field != Field::EnergyKwh;
        let words = words && (self.scaled || self.field == Field::LeakageMa);
        if words && number.thousandths().is_some_and(|raw| ALL_ONES.contains(&raw)) {
            if !may_be {
                return all_ones;
            }
            ones = true;
        }
        let factor = match unit.or(self.unit.as_deref()) {
            Some(unit) => match factor(self.field, unit) {
                Some(factor) => factor,
                None => return Took::Unit,
            },
            None if self.needs_unit => return Took::NoUnit,
            None => Decimal::ONE,
        };
        let scaled = self.scale.times(factor).and_then(|scale| number.scaled_thousandths(scale, self.offset));
        match scaled {
            Some(thousandths) if ones => Took::AllOnes(thousandths),
            Some(thousandths) => Took::Value(thousandths),
            // More digits than fit, or more than any meter measures; of leakage that is the worst there is.
            None => {
                let about = number.about() * self.scale.about() * factor.about() + self.offset.about();
                let over = about * 1000.0 > self.field.info().max as f64;
                if over { all_ones } else { Took::OutOfRange }
            }
        }
    }

    fn word(&self, text: &str) -> Option<Decimal> {
        self.words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, number)| *number)
    }

    fn text(&self, text: &str) -> Result<Decimal, Took> {
        let text = text.trim();
        if text.len() > TEXT_MAX {
            return Err(Took::Unreadable);
        }
        if let Some(number) = self.word(text) {
            return Ok(number);
        }
        if wire::is_absent(text) {
            return Err(Took::Absent);
        }
        if let Some(number) = Decimal::read(text) {
            return Ok(number);
        }
        match wire::thousandths_of(self.field, &Value::Text(text.to_ascii_lowercase().into())) {
            Ok(Some(thousandths)) if self.field.info().boolean => Ok(Decimal::whole(thousandths / 1000)),
            Ok(None) => Err(Took::Absent),
            _ => Err(Took::Unreadable),
        }
    }
}

/// Of a field that comes twice in one reading the larger value stays: the worse must not hide.
fn put(reading: &mut Reading, field: Field, thousandths: i64) -> Took {
    if let Some(old) = reading.fields.get(field) {
        reading.marks.add(Marks::BAD_FIELD);
        if old >= thousandths {
            return Took::Value(thousandths);
        }
    }
    reading.put(field, thousandths);
    // Noise of the transformer around nothing was put as zero.
    let (info, noise) = (field.info(), field == Field::LeakageMa && thousandths > -500);
    match reading.fields.get(field) {
        None if field == Field::LeakageMa && reading.marks.has(Marks::SATURATED) => Took::Saturated,
        Some(value) if noise || (info.min..=info.max).contains(&thousandths) => Took::Value(value),
        _ => Took::OutOfRange,
    }
}

impl FlagSlot {
    /// True when the value sets the flag.
    pub(super) fn is_set(&self, raw: Raw<'_>) -> bool {
        match (raw, self.bit) {
            (Raw::Number(number), Some(bit)) => is_set(number, bit),
            (Raw::Text(text), Some(bit)) if text.len() <= TEXT_MAX => {
                Decimal::parse(text).is_some_and(|number| is_set(number, bit))
            }
            // Every bit of a status word says that it was not read, not that all is on fire.
            (_, Some(_)) | (Raw::Absent, None) => false,
            (Raw::Bool(yes), None) => yes,
            (Raw::Number(number), None) => number.thousandths() != Some(0),
            (Raw::Text(text), None) => {
                let text = text.trim();
                let no = FLAG_NO.iter().any(|word| word.eq_ignore_ascii_case(text));
                !no && !wire::is_absent(text)
                    && Decimal::parse(text).and_then(Decimal::thousandths) != Some(0)
            }
            (Raw::Other | Raw::AllOnes(_), None) => true,
        }
    }
}

/// Words of a flag that is not set, or of which nobody knows.
const FLAG_NO: [&str; 11] =
    ["false", "off", "no", "normal", "none", "ok", "clear", "cleared", "inactive", "unknown", "unavailable"];

/// A bit of a status word. Drivers that print words with a sign mean the same bits; -1 is every bit, which says that
/// nothing was read.
fn is_set(number: Decimal, bit: u8) -> bool {
    let signed =
        || number.thousandths().filter(|n| *n < -1000 && n % 1000 == 0).map(|n| (n / 1000).cast_unsigned());
    number.to_u64().or_else(signed).is_some_and(|word| word >> bit & 1 == 1)
}
