//! Who is on duty by the clock: shifts, weekly duty, and what makes a day a workday or a holiday.
//!
//! A shift belongs to the local day on which it begins, and lasts from the first moment at which the clock of the
//! site shows its beginning to the one at which it shows its end. Where a clock is put forward over one of the two,
//! that moment is as much later (RFC 5545, as jiff has it); where it is put back, the first of the two counts.

use std::str::FromStr;
use std::sync::Arc;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use lampguard_model::Timestamp;

use super::Person;

/// Word for every zone, as in weather.
pub const EVERY_ZONE: &str = crate::wet::ALL;
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Days that may lie between the ends of a range of dates.
const RANGE_DAYS_MAX: i32 = 366;

/// Which days of the site are workdays, and where its clock stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Zone of the site.
    pub time_zone: TimeZone,
    /// Days off, whatever the weekday.
    pub holidays: Vec<Dates>,
    /// Days of work, whatever the weekday (调休). They win over holidays.
    pub workdays: Vec<Dates>,
}

impl Default for Calendar {
    fn default() -> Self {
        Self { time_zone: TimeZone::UTC, holidays: Vec::new(), workdays: Vec::new() }
    }
}

impl Calendar {
    /// True for Monday to Friday that are no holidays, and for days that were made workdays.
    pub fn is_workday(&self, date: Date) -> bool {
        let stands = |list: &[Dates]| list.iter().any(|dates| dates.holds(date));
        let weekend = matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday);
        stands(&self.workdays) || !weekend && !stands(&self.holidays)
    }

    /// The local day at a moment; none outside of what a calendar has.
    pub(super) fn day(&self, at: Timestamp) -> Option<Date> {
        let at = jiff::Timestamp::from_millisecond(at.0).ok()?;
        Some(self.time_zone.to_datetime(at).date())
    }

    pub(super) fn moment(&self, date: Date, time: Time) -> Option<Timestamp> {
        let at = self.time_zone.to_timestamp(date.to_datetime(time)).ok()?;
        Some(Timestamp(at.as_millisecond()))
    }
}

/// Dates from one to the other, both of them included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dates {
    /// The first.
    pub from: Date,
    /// The last.
    pub to: Date,
}

impl Dates {
    /// True when `date` is one of them.
    pub fn holds(self, date: Date) -> bool {
        self.from <= date && date <= self.to
    }
}

impl FromStr for Dates {
    type Err = String;

    /// `2026-10-01`, or `2026-10-01..2026-10-07`.
    fn from_str(text: &str) -> Result<Self, String> {
        let date = |text: &str| {
            text.trim().parse::<Date>().ok().filter(|_| text.trim().len() == 10).ok_or_else(|| {
                format!("{text:?} is no date; write 2026-10-01, or 2026-10-01..2026-10-07 for several")
            })
        };
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let (from, to) = (date(from)?, date(to)?);
        let days = (to - from).get_days();
        match days {
            0..=RANGE_DAYS_MAX => Ok(Self { from, to }),
            _ => {
                Err(format!("{text:?} has {days} days between its ends; 0 to {RANGE_DAYS_MAX} are possible"))
            }
        }
    }
}

/// Days on which a duty holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Days {
    /// From one day of the week to the other, counted from Monday, over Sunday too.
    Weekdays(i8, i8),
    /// By the calendar.
    Workday,
    /// The others.
    Holiday,
    /// By date.
    Dates(Dates),
}

impl Days {
    fn hold(self, date: Date, calendar: &Calendar) -> bool {
        match self {
            Self::Weekdays(from, to) => {
                let day = date.weekday().to_monday_zero_offset();
                if from <= to { (from..=to).contains(&day) } else { day >= from || day <= to }
            }
            Self::Workday => calendar.is_workday(date),
            Self::Holiday => !calendar.is_workday(date),
            Self::Dates(dates) => dates.holds(date),
        }
    }
}

impl FromStr for Days {
    type Err = String;

    /// `mon`, `fri..sun`, `workday`, `holiday`, or [`Dates`].
    fn from_str(text: &str) -> Result<Self, String> {
        let weekday = |text: &str| WEEKDAYS.iter().position(|day| *day == text.trim()).map(|day| day as i8);
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        match (text, weekday(from), weekday(to)) {
            ("workday", ..) => Ok(Self::Workday),
            ("holiday", ..) => Ok(Self::Holiday),
            (_, Some(from), Some(to)) => Ok(Self::Weekdays(from, to)),
            _ if text.starts_with(|c: char| c.is_ascii_digit()) => text.parse().map(Self::Dates),
            _ => Err(format!(
                "{text:?} is not mon to sun, mon..fri, workday, holiday, or a date like 2026-10-01"
            )),
        }
    }
}

/// Hours of the day during which the same people are on duty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Id.
    pub id: Arc<str>,
    /// Begins.
    pub from: Time,
    /// Ends; on the next day unless it is later than the beginning.
    pub to: Time,
}

impl Shift {
    /// From when to when it lasts when it begins on that day.
    fn on(&self, date: Date, calendar: &Calendar) -> Option<(Timestamp, Timestamp)> {
        let last = if self.from < self.to { date } else { date.tomorrow().ok()? };
        Some((calendar.moment(date, self.from)?, calendar.moment(last, self.to)?))
    }
}

/// A time of day, `HH:MM`.
///
/// # Errors
/// What is wrong with it.
pub fn time_of_day(text: &str) -> Result<Time, String> {
    let wrong = || format!("{text:?} is no time of day; write it like 20:00, from 00:00 to 23:59");
    let (hour, minute) =
        text.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2).ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<i8>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let (hour, minute) = (number(hour).ok_or_else(wrong)?, number(minute).ok_or_else(wrong)?);
    Time::new(hour, minute, 0, 0).map_err(|_| wrong())
}

/// When a line of the weekly duty counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Always.
    #[default]
    Always,
    /// While an official warning is in force in the zone: its people come as further back-up.
    Warning,
}

/// One line of the weekly duty. Of several that fit a moment the last one holds, for each of crew, back-up and leader
/// by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Duty {
    /// Place among the shifts; none: whole days.
    pub shift: Option<usize>,
    /// Zone, or [`EVERY_ZONE`].
    pub zone: Arc<str>,
    /// Id of the crew.
    pub crew: Option<Arc<str>>,
    /// Id of the back-up crew.
    pub backup_crew: Option<Arc<str>>,
    /// Leader of the zone.
    pub leader: Option<Arc<Person>>,
    /// Days on which its shift begins; empty: every day.
    pub days: Vec<Days>,
    /// When it counts.
    pub when: When,
}

/// Shifts, weekly duty and calendar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weekly {
    /// What days are.
    pub calendar: Calendar,
    /// Shifts.
    pub shifts: Vec<Shift>,
    /// Lines, in the order of the file.
    pub duty: Vec<Duty>,
}

/// A line of the weekly duty on one day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn<'r> {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// Place among the lines.
    pub(super) place: usize,
    pub(super) duty: &'r Duty,
}

impl Weekly {
    /// True when lines say who is on duty in `zone`: then what they leave out is a gap.
    pub(super) fn plans(&self, zone: &str) -> bool {
        self.duty
            .iter()
            .any(|duty| duty.when == When::Always && duty.crew.is_some() && is_for(&duty.zone, zone))
    }

    /// Every turn in `zone` that has a part in `from..to`.
    pub(super) fn turns(&self, zone: &str, from: Timestamp, to: Timestamp) -> Vec<Turn<'_>> {
        let mut turns = Vec::new();
        if self.duty.is_empty() {
            return turns;
        }
        let days = self.days(from, to);
        let whole = Shift { id: Arc::from(""), from: Time::midnight(), to: Time::midnight() };
        let on = |shift: &Shift| -> Vec<(Date, Timestamp, Timestamp)> {
            let span =
                |date: &Date| shift.on(*date, &self.calendar).map(|(begins, ends)| (*date, begins, ends));
            days.iter().filter_map(span).filter(|(_, begins, ends)| *begins < to && *ends > from).collect()
        };
        let of_shift: Vec<_> = self.shifts.iter().map(on).collect();
        let of_day = on(&whole);
        for (place, duty) in self.duty.iter().enumerate().filter(|(_, duty)| is_for(&duty.zone, zone)) {
            let spans = duty.shift.map_or(Some(&of_day), |shift| of_shift.get(shift));
            for (date, from, to) in spans.into_iter().flatten() {
                if duty.days.is_empty() || duty.days.iter().any(|days| days.hold(*date, &self.calendar)) {
                    turns.push(Turn { from: *from, to: *to, place, duty });
                }
            }
        }
        turns
    }

    /// Local days on which a shift may begin that has a part in `from..to`, with a day to spare for clocks that are
    /// put forward and back.
    fn days(&self, from: Timestamp, to: Timestamp) -> Vec<Date> {
        let (Some(first), Some(last)) = (self.calendar.day(from), self.calendar.day(to)) else {
            return Vec::new();
        };
        let first = first.yesterday().and_then(Date::yesterday).unwrap_or(first);
        let last = last.tomorrow().unwrap_or(last);
        std::iter::successors(Some(first), |date| date.tomorrow().ok())
            .take_while(|date| *date <= last)
            .collect()
    }
}

/// True when what is said for `named` goes for `zone`.
pub(super) fn is_for(named: &str, zone: &str) -> bool {
    named == zone || named == EVERY_ZONE
}
