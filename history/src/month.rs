//! UTC months: which file a row belongs to.

use std::fmt;

use lampguard_model::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// One UTC month of the years 1970 to 9999; times outside belong to the nearest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i32,
    /// 1 to 12.
    month: u8,
}

const FIRST: Month = Month { year: 1970, month: 1 };
const LAST: Month = Month { year: 9999, month: 12 };

impl Month {
    /// The month of a point in time.
    pub fn of(time: Timestamp) -> Self {
        if time.0 < 0 {
            return FIRST;
        }
        // Civil date from days, after Howard Hinnant's "chrono-compatible low-level date algorithms".
        let z = time.0.div_euclid(DAY_MS) + 719_468;
        let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        i32::try_from(year)
            .ok()
            .filter(|year| *year <= LAST.year)
            .map_or(LAST, |year| Self { year, month: month as u8 })
    }

    /// The first millisecond of the month.
    pub fn start(self) -> Timestamp {
        let (year, month) = (i64::from(self.year), i64::from(self.month));
        let year = if month <= 2 { year - 1 } else { year };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let from_march = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * from_march + 2) / 5;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Timestamp((era * 146_097 + day_of_era - 719_468) * DAY_MS)
    }

    /// The first millisecond behind the month.
    pub fn end(self) -> Timestamp {
        self.next().start()
    }

    fn next(self) -> Self {
        if self.month == 12 {
            Self { year: self.year + 1, month: 1 }
        } else {
            Self { month: self.month + 1, ..self }
        }
    }

    /// Name of the month's file.
    pub fn file_name(self) -> String {
        format!("history-{self}.db")
    }

    /// The month of a file of that name; `None` for any other file.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let (year, month) = name.strip_prefix("history-")?.strip_suffix(".db")?.split_once('-')?;
        let found = Self { year: year.parse().ok()?, month: month.parse().ok()? };
        (found.file_name() == name && (1..=12).contains(&found.month) && found >= FIRST).then_some(found)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_the_calendar_of_the_model() {
        let mut month = FIRST;
        for _ in 0..12 * 300 {
            let text = format!("{month}-01T00:00:00.000Z");
            assert_eq!(month.start().to_rfc3339(), text);
            assert_eq!(Month::of(month.start()), month);
            assert_eq!(Month::of(Timestamp(month.end().0 - 1)), month);
            assert_eq!(Month::from_file_name(&month.file_name()), Some(month));
            month = month.next();
        }
    }

    #[test]
    fn absurd_times_have_a_month_too() {
        assert_eq!(Month::of(Timestamp(i64::MIN)), FIRST);
        assert_eq!(Month::of(Timestamp(i64::MAX)), LAST);
        for other in ["history.db", "history-2026-13.db", "history-2026-1.db", "history-2026-01.db-wal"] {
            assert_eq!(Month::from_file_name(other), None, "{other}");
        }
    }
}
