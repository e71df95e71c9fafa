//! Exact decimals, and quantities that carry their unit as a type.
//!
//! Every measured value is kept as a whole number of thousandths of its unit (microamperes for mA,
//! millivolts for V). Sensors measure no finer, limits compare exactly (`8.4 V` is 70 % of `12 V`, which
//! binary floating point denies), and line protocol prints without a float formatter.

use std::fmt;

/// A decimal number as it was written: `mantissa × 10^exponent`.
///
/// Used for scaling vendor values: 301 at scale 0.1 is exactly 30.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    mantissa: i128,
    exponent: i32,
}

/// Digits that a decimal may have; more are cut, they are far below any sensor's resolution.
const DIGITS_MAX: usize = 30;

impl Decimal {
    /// The number 1.
    pub const ONE: Self = Self { mantissa: 1, exponent: 0 };
    /// The number 0.
    pub const ZERO: Self = Self { mantissa: 0, exponent: 0 };
    /// Beyond everything that is measured: stands for infinity.
    pub const BEYOND: Self = Self { mantissa: 1, exponent: 999 };

    /// Reads `-12.5`, `+3`, `1e3`, `.5`; `None` for anything else (`NaN`, hexadecimal, an empty text).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (digits, power) = match digits.find(['e', 'E']) {
            Some(at) => (&digits[..at], digits[at + 1..].parse::<i32>().ok()?),
            None => (digits, 0),
        };
        let mut mantissa: i128 = 0;
        let mut exponent = power;
        let (mut seen, mut kept, mut after_point) = (false, 0usize, false);
        for byte in digits.bytes() {
            match byte {
                b'0'..=b'9' => {
                    seen = true;
                    if kept < DIGITS_MAX {
                        mantissa = mantissa * 10 + i128::from(byte - b'0');
                        kept += usize::from(mantissa != 0);
                        exponent = exponent.saturating_sub(i32::from(after_point));
                    } else {
                        exponent = exponent.saturating_add(i32::from(!after_point));
                    }
                }
                b'.' if !after_point => after_point = true,
                _ => return None,
            }
        }
        seen.then_some(Self { mantissa: if negative { -mantissa } else { mantissa }, exponent })
    }

    /// As [`Decimal::parse`], and the words for infinity, which drivers print that are driven over their range.
    pub fn read(text: &str) -> Option<Self> {
        let word = text.trim().trim_start_matches(['+', '-']);
        if ["inf", "infinity"].iter().any(|known| word.eq_ignore_ascii_case(known)) {
            return Self::from_float(if text.trim().starts_with('-') {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            });
        }
        Self::parse(text)
    }

    /// The decimal that prints shortest for this float, an infinity beyond everything; `None` for NaN.
    pub fn from_float(value: f64) -> Option<Self> {
        match value {
            f64::INFINITY => Some(Self::BEYOND),
            f64::NEG_INFINITY => Some(Self { mantissa: -1, ..Self::BEYOND }),
            value => Self::from_f64(value),
        }
    }

    /// The decimal that prints shortest for this float; `None` for NaN and infinities.
    pub fn from_f64(value: f64) -> Option<Self> {
        if value.is_finite() { Self::parse(&format!("{value}")) } else { None }
    }

    /// A whole number.
    pub const fn whole(number: i64) -> Self {
        Self { mantissa: number as i128, exponent: 0 }
    }

    /// The decimal that prints shortest for this single-precision float: 0.1 stays 0.1.
    pub fn from_f32(value: f32) -> Option<Self> {
        if value.is_finite() { Self::parse(&format!("{value}")) } else { None }
    }

    /// The number when it is whole and fits: the bits of a status word.
    pub fn to_u64(self) -> Option<u64> {
        let power = 10i128.checked_pow(self.exponent.unsigned_abs())?;
        let whole = if self.exponent < 0 {
            (self.mantissa % power == 0).then_some(self.mantissa / power)
        } else {
            self.mantissa.checked_mul(power)
        };
        u64::try_from(whole?).ok()
    }

    /// The product; `None` when its digits do not fit.
    pub fn times(self, other: Self) -> Option<Self> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Some(Self { mantissa, exponent: self.exponent.saturating_add(other.exponent) })
    }

    /// The sum; `None` when its digits do not fit.
    pub fn plus(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let mantissa = self.at_exponent(exponent)?.checked_add(other.at_exponent(exponent)?)?;
        Some(Self { mantissa, exponent })
    }

    /// `self × scale + offset` in whole thousandths, rounded half away from zero.
    ///
    /// `None` when the result does not fit 64 bits.
    pub fn scaled_thousandths(self, scale: Self, offset: Self) -> Option<i64> {
        let product = self.times(scale)?;
        if offset.mantissa == 0 {
            return product.thousandths();
        }
        product.plus(offset)?.thousandths()
    }

    /// The nearest float, or an infinity: for comparing what does not fit.
    pub fn about(self) -> f64 {
        self.mantissa as f64 * 10f64.powi(self.exponent)
    }

    /// The number in whole thousandths; what does not fit 64 bits is the greatest or the lowest that does.
    pub fn clamped(self) -> i64 {
        self.thousandths().unwrap_or(if self.mantissa < 0 { i64::MIN } else { i64::MAX })
    }

    /// The number in whole thousandths, rounded half away from zero; `None` when it does not fit 64 bits.
    pub fn thousandths(self) -> Option<i64> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let shift = self.exponent.saturating_add(3);
        if shift >= 0 {
            let factor = 10i128.checked_pow(u32::try_from(shift).ok()?)?;
            return i64::try_from(self.mantissa.checked_mul(factor)?).ok();
        }
        let Some(divisor) = 10i128.checked_pow(shift.unsigned_abs()) else {
            return Some(0);
        };
        let half = divisor / 2 * self.mantissa.signum();
        i64::try_from(self.mantissa.checked_add(half)? / divisor).ok()
    }

    fn at_exponent(self, exponent: i32) -> Option<i128> {
        let shift = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        self.mantissa.checked_mul(10i128.checked_pow(shift)?)
    }
}

/// As it would be written by hand, for people; beyond 40 digits with an exponent.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.mantissa.unsigned_abs().to_string();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        match self.exponent {
            0 => write!(f, "{sign}{digits}"),
            up @ 1..=9 => write!(f, "{sign}{digits}{}", "0".repeat(up as usize)),
            down @ -40..=-1 => {
                let places = down.unsigned_abs() as usize;
                let padded = format!("{digits:0>width$}", width = places + 1);
                let (whole, rest) = padded.split_at(padded.len() - places);
                let rest = rest.trim_end_matches('0');
                if rest.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{rest}") }
            }
            other => write!(f, "{sign}{digits}e{other}"),
        }
    }
}

/// A measured value in whole thousandths of the unit that its type names.
pub trait Quantity: Copy {
    /// The unit as printed: `mA`, `V`.
    const UNIT: &'static str;
    /// Wraps a whole number of thousandths.
    fn from_thousandths(value: i64) -> Self;
    /// The whole number of thousandths.
    fn thousandths(self) -> i64;
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// `n` whole units.
            pub const fn whole(n: i64) -> Self {
                Self(n * 1000)
            }

            /// `n` thousandths of the unit.
            pub const fn milli(n: i64) -> Self {
                Self(n)
            }
        }

        impl Quantity for $name {
            const UNIT: &'static str = $unit;

            fn from_thousandths(value: i64) -> Self {
                Self(value)
            }

            fn thousandths(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", Thousandths(self.0), $unit)
            }
        }
    };
}

quantity!(
    /// Leakage current to earth, milliamperes RMS.
    Milliamps, "mA"
);
quantity!(
    /// A voltage: of the shell against remote earth, of the supply, or of the neutral. Never plain "voltage".
    Volts, "V"
);

/// Prints thousandths as the shortest decimal: `30100` is `30.1`, `-500` is `-0.5`.
#[derive(Clone, Copy, Debug)]
pub struct Thousandths(pub i64);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.unsigned_abs();
        let (whole, rest) = (size / 1000, size % 1000);
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match rest {
            0 => write!(f, "{whole}"),
            r if r % 100 == 0 => write!(f, "{whole}.{}", r / 100),
            r if r % 10 == 0 => write!(f, "{whole}.{:02}", r / 10),
            r => write!(f, "{whole}.{r:03}"),
        }
    }
}

/// Thousandths as the nearest float, for JSON answers only.
pub fn to_f64(thousandths: i64) -> f64 {
    thousandths as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(raw: &str, scale: &str) -> Option<i64> {
        Decimal::parse(raw)?.scaled_thousandths(Decimal::parse(scale)?, Decimal::ZERO)
    }

    #[test]
    fn three_hundred_and_one_tenths_are_exactly_thirty_point_one() {
        assert_eq!(at("301", "0.1"), Some(30_100));
        for n in 0..3000 {
            assert_eq!(at(&n.to_string(), "0.1"), Some(n * 100));
        }
    }

    #[test]
    fn scale_and_offset_are_exact() {
        let raw = Decimal::parse("4.2").unwrap();
        let scaled = raw.scaled_thousandths(Decimal::parse("10").unwrap(), Decimal::parse("-0.25").unwrap());
        assert_eq!(scaled, Some(41_750));
        assert_eq!(Decimal::from_f64(0.0005).unwrap().thousandths(), Some(1));
        assert_eq!(Decimal::from_f64(-0.0005).unwrap().thousandths(), Some(-1));
    }

    #[test]
    fn sums_and_products_are_exact_and_never_overflow() {
        let of = |text: &str| Decimal::parse(text).unwrap();
        assert_eq!(of("120.1").plus(of("-0.05")).unwrap().thousandths(), Some(120_050));
        assert_eq!(of("0.035").times(of("1000")).unwrap().thousandths(), Some(35_000));
        assert_eq!(Decimal::from_f32(0.1).unwrap().thousandths(), Some(100));
        assert_eq!(Decimal::whole(-7).thousandths(), Some(-7000));
        let nines = of(&"9".repeat(30));
        assert_eq!((nines.times(nines), of("1e2147483647").plus(of("1e-2147483648"))), (None, None));
        let written: Vec<String> =
            ["0.1", "-12.50", "3e2", "1e30", "0.00001"].map(|text| of(text).to_string()).into();
        assert_eq!(written, ["0.1", "-12.5", "300", "1e30", "0.00001"]);
        assert_eq!(Decimal::from_f32(f32::NAN), None);
        assert_eq!(
            [of("18446744073709551615"), of("2.0"), of("2.5"), of("-1"), of("1e99")].map(Decimal::to_u64),
            [Some(u64::MAX), Some(2), None, None, None]
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", "NaN", "--", "0x1f", "1.2.3", "1e", "12V", ".", "1e99999999999"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert_eq!(Decimal::parse("1e300").unwrap().thousandths(), None);
        assert_eq!(Decimal::parse("1e-300").unwrap().thousandths(), Some(0));
        assert_eq!(Decimal::parse("9e2147483647").unwrap().thousandths(), None);
        assert_eq!(Decimal::parse("1.5e-2147483648").unwrap().thousandths(), Some(0));
        let (small, large) =
            (Decimal::parse("1e-2147483648").unwrap(), Decimal::parse("1e2147483647").unwrap());
        assert_eq!(small.scaled_thousandths(small, Decimal::ZERO), Some(0));
        assert_eq!(large.scaled_thousandths(Decimal::ONE, small), None);
    }

    #[test]
    fn what_is_beyond_all_numbers_stays_beyond_and_nothing_stays_nothing() {
        let read = |text| Decimal::read(text).map(Decimal::clamped);
        assert_eq!(["1e300", "Infinity", "+inf", "99999999999999999999"].map(read), [Some(i64::MAX); 4]);
        assert_eq!(["-1e300", "-INF"].map(read), [Some(i64::MIN); 2]);
        assert_eq!(
            [read("0e300"), read("1e-300"), read("info"), read("nan")],
            [Some(0), Some(0), None, None]
        );
        assert_eq!(Decimal::from_float(f64::INFINITY), Some(Decimal::BEYOND));
        assert_eq!(Decimal::from_float(f64::NAN), None);
        assert!(Decimal::BEYOND.about() > 1e300 && Decimal::parse("-2.5").unwrap().about() == -2.5);
    }

    #[test]
    fn thousandths_print_as_the_shortest_decimal() {
        let cases =
            [(30_100, "30.1"), (0, "0"), (-500, "-0.5"), (8, "0.008"), (120, "0.12"), (228_400, "228.4")];
        for (value, text) in cases {
            assert_eq!(Thousandths(value).to_string(), text);
        }
        assert_eq!(Milliamps::milli(29_990).to_string(), "29.99 mA");
    }
}
