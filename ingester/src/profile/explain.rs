//! What a decoder did with a payload, path by path, for `lampguard profile test --explain`.

use std::fmt::{self, Display};

use lampguard_model::units::Thousandths;

use super::slot::{Raw, Slot, Took};

/// Lines of one explanation; what goes beyond is counted.
pub const LINES_MAX: usize = 500;
/// Characters of a name or raw value that are shown.
const SHOWN_MAX: usize = 120;

/// One value of a payload and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Path, name or bytes.
    pub place: String,
    /// The value as it was sent.
    pub raw: String,
    /// What it became, or why it was left.
    pub what: String,
    /// False for what was left.
    pub taken: bool,
}

/// Every value of a payload.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// The values, in the order in which the decoder met them.
    pub lines: Vec<Line>,
    /// Lines beyond [`LINES_MAX`].
    pub left_off: usize,
}

impl Explained {
    /// Values that went into a reading.
    pub fn taken(&self) -> usize {
        self.lines.iter().filter(|line| line.taken).count()
    }

    pub(super) fn line(&mut self, taken: bool, place: &dyn Display, raw: &dyn Display, what: &dyn Display) {
        if self.lines.len() >= LINES_MAX {
            self.left_off += 1;
            return;
        }
        // Names and values come from outside, and go to a terminal.
        let plain = |text: &dyn Display| -> String {
            let text = text.to_string();
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX).collect()
        };
        let (place, raw, what) = (plain(place), plain(raw), what.to_string());
        self.lines.push(Line { place, raw, what, taken });
    }

    pub(super) fn slot(
        &mut self,
        place: &dyn Display,
        raw: Raw<'_>,
        slot: &Slot,
        unit: Option<&str>,
        took: Took,
    ) {
        let info = slot.field.info();
        let unit = unit.or(slot.unit.as_deref());
        let mut shown = raw.to_string();
        if slot.scaled {
            shown += &format!(" × {}", slot.scale);
        }
        if slot.offset != lampguard_model::units::Decimal::ZERO {
            shown += &format!(" + {}", slot.offset);
        }
        if let Some(unit) = unit {
            shown += &format!(" {unit}");
        }
        let range = || {
            let (min, max) = (Thousandths(info.min), Thousandths(info.max));
            format!("{min} to {max} {}", info.unit)
        };
        let what = match took {
            Took::Value(value) => {
                format!("{} {} {}", info.name, Thousandths(value), info.unit).trim_end().to_owned()
            }
            Took::AllOnes(value) => format!(
                "{} {} {}: all ones of its word, kept because it may be so (mark bad_field)",
                info.name,
                Thousandths(value),
                info.unit
            ),
            Took::Saturated => format!("{} saturated: dangerous, value unknown", info.name),
            Took::Absent => format!("{}: not measured", info.name),
            Took::Unreadable => format!("{}: dropped, not a value of it (mark bad_field)", info.name),
            Took::OutOfRange => {
                format!(
                    "{}: dropped, all ones or outside {} (mark out_of_range)",
                    info.name,
                    range().trim_end()
                )
            }
            Took::Unit => format!(
                "{}: dropped, {} is no unit of it (mark bad_field)",
                info.name,
                unit.unwrap_or_default()
            ),
            Took::NoUnit => format!("{}: dropped, nobody says in which unit (mark bad_field)", info.name),
        };
        let taken = matches!(took, Took::Value(_) | Took::AllOnes(_) | Took::Saturated);
        self.line(taken, place, &shown, &what);
    }
}

impl Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("null"),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::AllOnes(_) => f.write_str("all ones"),
            Self::Other => f.write_str("no plain value"),
        }
    }
}
