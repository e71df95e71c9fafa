//! The numbers of a policy, each with its unit: how they are written, read and bounded.

use lampguard_model::units::{Decimal, Thousandths};
use lampguard_model::{Milliamps, Millis, Quantity, Volts};

/// A number as it stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written<'a> {
    /// In quotation marks: `"25 V"`.
    Text(&'a str),
    /// Bare: `3`, `1.5`.
    Bare(&'a str),
    /// No number at all: a list, a table, true.
    Other(&'static str),
}

/// One number of a policy.
pub trait Number {
    /// As it is written in a file: `"25 V"`, `3`.
    fn to_text(&self) -> String;
    /// Its size, for comparing numbers of the same rule; 0 or below is never meant.
    fn size(&self) -> i64;
    /// The largest size that can be meant.
    fn size_max(&self) -> i64;
    /// Takes over what a file says.
    ///
    /// # Errors
    /// What is wrong and how it is written right.
    fn read(&mut self, written: Written<'_>) -> Result<(), String>;
    /// Takes this size over; for tests that turn every screw.
    #[cfg(test)]
    fn resize(&mut self, size: i64);
}

/// The number of a text with a unit, thousandths, and the unit.
fn split(text: &str) -> Option<(i64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))?;
    Some((Decimal::parse(&text[..end])?.thousandths()?, text[end..].trim()))
}

/// Reads a number whose unit is one of these; the answer is in thousandths × the unit's factor.
fn with_unit(written: Written<'_>, units: &[(&str, i64)], example: &str) -> Result<i64, String> {
    let known = || units.iter().map(|(unit, _)| *unit).collect::<Vec<_>>().join(", ");
    match written {
        Written::Text(text) => {
            let Some((thousandths, unit)) = split(text) else {
                return Err(match Decimal::parse(text) {
                    Some(_) => {
                        format!("{text:?} has no unit; write it like {example:?}, units are {}", known())
                    }
                    None => format!("{text:?} is no number with a unit; write it like {example:?}"),
                });
            };
            let factor = units.iter().find(|(known, _)| *known == unit).map(|(_, factor)| *factor);
            let factor =
                factor.ok_or_else(|| format!("unit {unit:?} does not fit here; units are {}", known()))?;
            thousandths.checked_mul(factor).ok_or_else(|| format!("{text:?} is out of all bounds"))
        }
        Written::Bare(number) => {
            Err(format!("{number} has no unit; write it like {example:?}, units are {}", known()))
        }
        Written::Other(what) => Err(format!("is {what}; write it like {example:?}")),
    }
}

macro_rules! quantity_number {
    ($type:ty, $max:literal, $example:literal) => {
        impl Number for $type {
            fn to_text(&self) -> String {
                format!("\"{self}\"")
            }

            fn size(&self) -> i64 {
                self.thousandths()
            }

            fn size_max(&self) -> i64 {
                $max * 1000
            }

            fn read(&mut self, written: Written<'_>) -> Result<(), String> {
                *self = Self::from_thousandths(with_unit(written, &[(Self::UNIT, 1)], $example)?);
                Ok(())
            }

            #[cfg(test)]
            fn resize(&mut self, size: i64) {
                *self = Self::from_thousandths(size);
            }
        }
    };
}

quantity_number!(Volts, 1000, "25 V");
quantity_number!(Milliamps, 10_000, "30 mA");

/// Units of time, seconds each; the first that divides a length is the one it is written in.
const TIMES: [(&str, i64); 4] = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];

impl Number for Millis {
    fn to_text(&self) -> String {
        let whole = TIMES.iter().find(|(_, unit_s)| self.0 != 0 && self.0 % (unit_s * 1000) == 0);
        match whole {
            // A day and a night are "24 h" to everybody.
            Some(("d", _)) if self.0 < 172_800_000 => format!("\"{} h\"", self.0 / 3_600_000),
            Some((unit, unit_s)) => format!("\"{} {unit}\"", self.0 / (unit_s * 1000)),
            None => format!("\"{} s\"", Thousandths(self.0)),
        }
    }

    fn size(&self) -> i64 {
        self.0
    }

    fn size_max(&self) -> i64 {
        400 * 86_400_000
    }

    fn read(&mut self, written: Written<'_>) -> Result<(), String> {
        *self = Self(with_unit(written, &TIMES, "30 min")?);
        Ok(())
    }

    #[cfg(test)]
    fn resize(&mut self, size: i64) {
        self.0 = size;
    }
}

macro_rules! plain_number {
    ($(#[$doc:meta])* $name:ident, $units:expr, $max:literal, $unit:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub i64);

        impl $name {
            /// `n` whole ones.
            pub const fn whole(n: i64) -> Self {
                Self(n * 1000)
            }
        }

        impl Number for $name {
            fn to_text(&self) -> String {
                format!(concat!("\"{}", $unit, "\""), Thousandths(self.0))
            }

            fn size(&self) -> i64 {
                self.0
            }

            fn size_max(&self) -> i64 {
                $max * 1000
            }

            fn read(&mut self, written: Written<'_>) -> Result<(), String> {
                *self = Self(with_unit(written, &$units, $example)?);
                Ok(())
            }

            #[cfg(test)]
            fn resize(&mut self, size: i64) {
                self.0 = size;
            }
        }
    };
}

plain_number!(
    /// A share of something, thousandths of a percent.
    Percent, [("%", 1)], 100, " %", "70 %"
);
plain_number!(
    /// An angle, thousandths of a degree.
    Degrees, [("deg", 1), ("°", 1)], 180, " deg", "15 deg"
);
plain_number!(
    /// Depth of rain, thousandths of a millimetre.
    Millimetres, [("mm", 1)], 100, " mm", "0.1 mm"
);
plain_number!(
    /// A distance, thousandths of a metre.
    Metres, [("m", 1)], 10_000, " m", "300 m"
);

impl Percent {
    /// This share of a whole, rounded down: 70 % of 12 V is exactly 8.4 V.
    pub const fn of(self, whole: i64) -> i64 {
        (whole as i128 * self.0 as i128 / 100_000) as i64
    }
}

/// How many times as much, thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor(pub i64);

impl Factor {
    /// So many times as much, rounded down.
    pub const fn of(self, whole: i64) -> i64 {
        (whole as i128 * self.0 as i128 / 1000) as i64
    }

    /// So many times as long.
    pub const fn times(self, length: Millis) -> Millis {
        Millis(self.of(length.0))
    }
}

fn bare<'a>(written: Written<'a>, what: &str) -> Result<&'a str, String> {
    match written {
        Written::Bare(text) => Ok(text),
        Written::Text(text) => Err(format!("{text:?} is a text; write {what} without quotation marks")),
        Written::Other(other) => Err(format!("is {other}; write {what}")),
    }
}

impl Number for Factor {
    fn to_text(&self) -> String {
        Thousandths(self.0).to_string()
    }

    fn size(&self) -> i64 {
        self.0
    }

    fn size_max(&self) -> i64 {
        1_000_000
    }

    fn read(&mut self, written: Written<'_>) -> Result<(), String> {
        let text = bare(written, "a plain number such as 2.5")?;
        let value = Decimal::parse(text).and_then(Decimal::thousandths);
        *self = Self(value.ok_or_else(|| format!("{text} is no plain number such as 2.5"))?);
        Ok(())
    }

    #[cfg(test)]
    fn resize(&mut self, size: i64) {
        self.0 = size;
    }
}

impl Number for u32 {
    fn to_text(&self) -> String {
        self.to_string()
    }

    fn size(&self) -> i64 {
        i64::from(*self)
    }

    fn size_max(&self) -> i64 {
        100_000
    }

    fn read(&mut self, written: Written<'_>) -> Result<(), String> {
        let text = bare(written, "a whole number such as 3")?;
        *self = text.parse().map_err(|_| format!("{text} is no whole number such as 3"))?;
        Ok(())
    }

    #[cfg(test)]
    fn resize(&mut self, size: i64) {
        *self = size as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<N: Number>(mut number: N, written: Written<'_>) -> Result<i64, String> {
        number.read(written).map(|()| number.size())
    }

    #[test]
    fn numbers_are_read_with_their_unit_and_written_as_they_were_read() {
        assert_eq!(read(Volts::default(), Written::Text("25 V")), Ok(25_000));
        assert_eq!(read(Milliamps::default(), Written::Text("7.5mA")), Ok(7500));
        for (text, ms) in
            [("30 min", 1_800_000), ("1.5 h", 5_400_000), ("90 s", 90_000), ("7 d", 604_800_000)]
        {
            assert_eq!(read(Millis(0), Written::Text(text)), Ok(ms), "{text}");
        }
        assert_eq!(Millis::hours(24).to_text(), "\"24 h\"");
        assert_eq!(Millis(604_800_000).to_text(), "\"7 d\"");
        assert_eq!(Millis(90_500).to_text(), "\"90.5 s\"");
        assert_eq!(read(Degrees(0), Written::Text("15°")), Ok(15_000));
        assert_eq!(read(Factor(0), Written::Bare("2.5")), Ok(2500));
        assert_eq!(Percent::whole(70).of(12_000), 8400);
    }

    #[test]
    fn a_missing_and_a_foreign_unit_say_how_it_is_written_right() {
        let bare = read(Volts::default(), Written::Bare("25")).unwrap_err();
        assert_eq!(bare, "25 has no unit; write it like \"25 V\", units are V");
        let text = read(Millis(0), Written::Text("30")).unwrap_err();
        assert_eq!(text, "\"30\" has no unit; write it like \"30 min\", units are d, h, min, s");
        assert!(read(Volts::default(), Written::Text("25 mV")).unwrap_err().contains("\"mV\" does not fit"));
        assert!(read(3u32, Written::Text("3")).is_err() && read(3u32, Written::Bare("3.5")).is_err());
        assert!(read(Millis(0), Written::Text("9223372036854775 d")).is_err());
        assert!(read(Volts::default(), Written::Other("a list")).is_err());
    }
}
