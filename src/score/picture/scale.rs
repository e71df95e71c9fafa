//! The time axis: from moments to pixels, and where its marks stand.

use lampguard_model::{Millis, Timestamp};

use super::super::table::local_as;

/// Left and right end of the axis, pixels.
pub(super) const LEFT: f64 = 214.0;
pub(super) const RIGHT: f64 = 1114.0;

/// Steps between marks, seconds; longer ones are whole days.
const STEPS: [i64; 16] =
    [1, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, DAY, 2 * DAY];
const DAY: i64 = 86_400;
/// Marks at most.
const MARKS_MAX: i64 = 11;
/// Shortest axis: a picture of one moment still has a width.
const SHORTEST: Millis = Millis::minutes(2);

/// A span of time laid out in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Scale {
    /// Over these moments, with some air around them.
    pub(super) fn over(first: Timestamp, last: Timestamp) -> Self {
        let length = last.since(first).0.max(SHORTEST.0);
        let air = Millis(length / 40);
        Self { from: first - air, to: first + Millis(length) + air }
    }

    /// Place of a moment, at the ends for what lies outside.
    pub(super) fn x(&self, at: Timestamp) -> f64 {
        let length = self.to.since(self.from).0.max(1) as f64;
        let share = at.since(self.from).0 as f64 / length;
        LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    pub(super) fn holds(&self, at: Timestamp) -> bool {
        at >= self.from && at <= self.to
    }

    /// Moments to mark, at even local times, with their words.
    pub(super) fn marks(&self) -> Vec<(Timestamp, String)> {
        let length = self.to.since(self.from).as_seconds();
        let step = STEPS.into_iter().find(|step| length / step < MARKS_MAX);
        let step = step.unwrap_or((length / (MARKS_MAX - 2) / DAY + 1) * DAY);
        // The office's zone has whole hours and no summer time, so even local times are even here too.
        let shift = local_shift(self.from);
        let first = (self.from.0 / 1000 + shift).div_euclid(step) * step - shift;
        let mut marks = Vec::new();
        let mut day = String::new();
        for n in 0..=MARKS_MAX + 1 {
            let at = Timestamp((first + n * step).saturating_mul(1000));
            if !self.holds(at) {
                continue;
            }
            let date = local_as(at, "%m-%d");
            let clock = match step {
                1..60 => local_as(at, "%H:%M:%S"),
                60..86_400 => local_as(at, "%H:%M"),
                _ => String::new(),
            };
            let words = match (date == day, clock.is_empty()) {
                (_, true) => local_as(at, "%Y-%m-%d"),
                (true, false) => clock,
                (false, false) => format!("{date} {clock}"),
            };
            day = date;
            marks.push((at, words));
        }
        marks
    }
}

/// Seconds that local time is ahead of UTC.
fn local_shift(at: Timestamp) -> i64 {
    let text = local_as(at, "%:z");
    let digits = |range| text.get(range).and_then(|digits: &str| digits.parse::<i64>().ok()).unwrap_or(0);
    let shift = digits(1..3) * 3600 + digits(4..6) * 60;
    if text.starts_with('-') { -shift } else { shift }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20:00 in Shanghai.
    const T: Timestamp = Timestamp(1_795_435_200_000);

    #[test]
    fn marks_stand_at_even_local_times_and_name_the_day_where_it_begins() {
        let night = Scale::over(T, T + Millis::hours(8)).marks();
        let words: Vec<&str> = night.iter().map(|(_, words)| words.as_str()).collect();
        assert_eq!(words[..6], ["11-23 20:00", "21:00", "22:00", "23:00", "11-24 00:00", "01:00"]);
        let minutes = Scale::over(T, T + Millis::minutes(9)).marks();
        assert_eq!(minutes[1].1, "20:01");
        let year = Scale::over(T, T + Millis::hours(24 * 365)).marks();
        assert!(year.len() > 5 && year.len() <= 13 && year[0].1.starts_with("2026-"), "{year:?}");
    }

    #[test]
    fn an_axis_of_one_moment_and_one_of_centuries_have_few_marks() {
        for length in [0, 1, 1_000, 60_000, 86_400_000, 31_536_000_000, 9_999_999_999_999] {
            let scale = Scale::over(T, T + Millis(length));
            let marks = scale.marks();
            assert!((2..=13).contains(&marks.len()), "{length} ms: {marks:?}");
            assert!(scale.x(T) > LEFT && scale.x(T + Millis(length)) < RIGHT);
        }
        assert_eq!(Scale::over(T, T).x(T - Millis::hours(9)), LEFT);
    }
}
