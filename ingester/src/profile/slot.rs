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
    /// Every bit of a word whose width is known, or the lowest number of a signed one: nothing that was measured.
    AllOnes,
    /// An object, an array, a number that is none.
    Other,
}

/// What became of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    Value(i64),
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
}

/// One flag of a payload.
#[derive(Clone, Debug)]
pub(super) struct FlagSlot {
    pub(super) names: Vec<String>,
    pub(super) place: Option<(usize, Word)>,
    pub(super) bit: Option<u8>,
    pub(super) flag: Flags,
}

/// Factor from a unit as devices write it to the unit of a field; `None` when the field is not measured in it.
/// Names: RFC 8428 section 12.1, RFC 8798 (secondary units), and what makers print.
pub(super) fn factor(field: Field, unit: &str) -> Option<Decimal> {
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
}

impl Slot {
    /// Puts a value into its field. `unit` is what the payload says of it.
    pub(super) fn put(&self, reading: &mut Reading, raw: Raw<'_>, unit: Option<&str>) -> Took {
        let took = self.look(raw, unit);
        match took {
            Took::Value(thousandths) => return put(reading, self.field, thousandths),
            Took::Absent => {}
            Took::Saturated => drop(put(reading, self.field, i64::MAX)),
            Took::OutOfRange => reading.marks.add(Marks::OUT_OF_RANGE),
            Took::Unreadable | Took::Unit | Took::NoUnit => reading.marks.add(Marks::BAD_FIELD),
        }
        took
    }

    fn look(&self, raw: Raw<'_>, unit: Option<&str>) -> Took {
        let all_ones = if self.field == Field::LeakageMa { Took::Saturated } else { Took::OutOfRange };
        let number = match raw {
            Raw::Absent => return Took::Absent,
            Raw::AllOnes => return all_ones,
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
            return all_ones;
        }
        let factor = match unit.or(self.unit.as_deref()) {
            Some(unit) => match factor(self.field, unit) {
                Some(factor) => factor,
                None => return Took::Unit,
            },
            None => Decimal::ONE,
        };
        let scaled = self.scale.times(factor).and_then(|scale| number.scaled_thousandths(scale, self.offset));
        scaled.map_or(Took::OutOfRange, Took::Value)
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
        if let Some(number) = Decimal::parse(text) {
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
    let before = (reading.fields.get(field), reading.marks);
    if let Some(old) = before.0 {
        reading.marks.add(Marks::BAD_FIELD);
        if old >= thousandths {
            return Took::Value(thousandths);
        }
    }
    reading.put(field, thousandths);
    match reading.fields.get(field) {
        Some(value) => Took::Value(value),
        None if field == Field::LeakageMa && thousandths > 0 => Took::Saturated,
        None => Took::OutOfRange,
    }
}

impl FlagSlot {
    /// True when the value sets the flag.
    pub(super) fn is_set(&self, raw: Raw<'_>) -> bool {
        match (raw, self.bit) {
            (Raw::Number(number), Some(bit)) => number.to_u64().is_some_and(|word| word >> bit & 1 == 1),
            // Every bit of a status word says that it was not read, not that all is on fire.
            (_, Some(_)) | (Raw::Absent, None) => false,
            (Raw::Bool(yes), None) => yes,
            (Raw::Number(number), None) => number.thousandths() != Some(0),
            (Raw::Text(text), None) => {
                let text = text.trim();
                let no = ["", "0", "false", "off", "no", "normal", "none"];
                !no.iter().any(|word| word.eq_ignore_ascii_case(text))
            }
            (Raw::Other | Raw::AllOnes, None) => true,
        }
    }
}
