//! What `score` prints for people: aligned tables, and what is not known said in words.

use lampguard_model::{Millis, Timestamp};

use super::facts::Exposure;
use super::figures::{Arrivals, Delay, Group, Messages, P1s, Scores};
use super::rule::{Graded, Verdict};

/// The mark that stands wherever people look at simulated readings.
pub(crate) const SIMULATED: &str = "模拟数据 SIM";

/// Everything but the single hazards.
pub(crate) fn summary(scores: &Scores) -> String {
    let mut text = String::new();
    let mut add = |part: String| {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&part);
    };
    if scores.simulated {
        add(format!("{SIMULATED}\n"));
    }
    add(hazards(scores));
    add(delays(scores));
    add(alarms(&scores.p1, scores.exposure));
    add(people(scores.messages.as_ref(), scores.arrivals));
    text
}

/// Rows of cells, the first column to the left and the others to the right.
fn table(rows: &[Vec<String>], right: bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = " ".repeat(widths[column] - width(cell));
            let cell = if right && column > 0 { format!("{gap}{cell}") } else { format!("{cell}{gap}") };
            line.push_str(if column == 0 { "" } else { "  " });
            line.push_str(&cell);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Places that a text takes on a terminal: Chinese characters take two.
pub(super) fn width(text: &str) -> usize {
    let wide = |c: char| {
        matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
            | 0xfe30..=0xfe4f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x20000..=0x3fffd)
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

fn row(name: &str, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(cells).collect()
}

fn hazards(scores: &Scores) -> String {
    let groups = [&scores.all, &scores.observable, &scores.unobservable];
    let counts = |count: fn(&Group) -> usize| groups.map(|group| count(group).to_string());
    let recall = groups.map(|group| {
        group.recall().map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
    });
    let mut rows = vec![
        row("hazards", ["all", "observable", "unobservable"].map(str::to_owned)),
        row("  to be found", counts(|group| group.hazards)),
        row("  found", counts(|group| group.found)),
        row("  late", counts(|group| group.late)),
        row("  missed", counts(|group| group.missed)),
    ];
    if scores.all.missed_told_early > 0 {
        rows.push(row("    of these told too early", counts(|group| group.missed_told_early)));
    }
    if scores.all.missed_voided > 0 {
        rows.push(row("    of these voided", counts(|group| group.missed_voided)));
    }
    rows.push(row("  recall", recall));
    let mut text = table(&rows, true);
    text.push_str(&format!("  {} line(s) of truth, {} marginal", scores.truths, scores.marginal));
    if scores.never_dangerous > 0 {
        let count = scores.never_dangerous;
        text.push_str(&format!(", {count} dangerous without dangerous_at, which cannot be graded"));
    }
    text.push('\n');
    text
}

fn delays(scores: &Scores) -> String {
    let delays = [scores.all.delay, scores.observable.delay, scores.unobservable.delay];
    if delays[0].is_none() {
        return "delay from dangerous to told: no hazard was told\n".to_owned();
    }
    let each = |part: fn(&Delay) -> Millis| {
        delays.map(|delay| delay.map_or_else(|| "-".to_owned(), |delay| both(part(&delay))))
    };
    let rows = [
        row(
            "delay from dangerous to told, s (h:mm:ss)",
            ["all", "observable", "unobservable"].map(str::to_owned),
        ),
        row("  min", each(|delay| delay.min)),
        row("  median", each(|delay| delay.median)),
        row("  p90", each(|delay| delay.p90)),
        row("  max", each(|delay| delay.max)),
    ];
    table(&rows, true) + "  over found and late; below 0: told before it was dangerous\n"
}

/// Seconds with one decimal.
pub(super) fn seconds(length: Millis) -> String {
    let text = format!("{:.1}", length.0 as f64 / 1000.0);
    if text == "-0.0" { "0.0".to_owned() } else { text }
}

/// Seconds, and the same as hours, minutes and whole seconds.
fn both(length: Millis) -> String {
    let whole = (length.0.unsigned_abs() + 500) / 1000;
    let sign = if length.0 < 0 && whole > 0 { "-" } else { "" };
    let (hours, minutes) = (whole / 3600, whole / 60 % 60);
    format!("{} ({sign}{hours}:{minutes:02}:{:02})", seconds(length), whole % 60)
}

fn alarms(p1: &P1s, exposure: Option<Exposure>) -> String {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "not known".to_owned(), |rate| format!("{rate:.3}"));
    let rows = [
        row("P1 told, once for each post named", ["count", "per 1,000 post-nights"].map(str::to_owned)),
        row("  on a hazard", [p1.on_hazard.to_string(), String::new()]),
        row("  on something marginal", [p1.on_marginal.to_string(), rate(p1.marginal_per_1000)]),
        row("  patrol where no data came", [p1.on_no_data.to_string(), String::new()]),
        row("  false", [p1.false_p1.to_string(), rate(p1.false_per_1000)]),
        row("  not judged", [p1.unjudged().to_string(), String::new()]),
    ];
    let mut text = table(&rows, true);
    text.push_str(&format!("  {} incident(s) told as P1, {} of them voided", p1.incidents, p1.voided));
    let not_judged: Vec<String> =
        p1.not_judged.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    if !not_judged.is_empty() {
        text.push_str(&format!("; not judged: {}", not_judged.join(", ")));
    }
    text.push('\n');
    text.push_str(&match exposure {
        Some(watched) => {
            format!("  watched: {} posts, {:.3} nights of 24 h\n", watched.posts, watched.nights)
        }
        None => "  the rate needs what was watched: --readings RECORDING, or --posts posts.csv --nights N\n"
            .to_owned(),
    });
    text
}

fn people(messages: Option<&Messages>, arrivals: Option<Arrivals>) -> String {
    let mut text = match messages {
        Some(messages) => {
            let whom = messages.busiest.as_ref().map_or_else(String::new, |to| format!(" ({to})"));
            format!(
                "messages per person per 10 min: max {}{whom}, p99 {}; {} message(s) to {} person(s)\n",
                messages.max, messages.p99, messages.count, messages.people
            )
        }
        None => "messages per person per 10 min: not known from these lines (notices name whom)\n".to_owned(),
    };
    text.push_str(&match arrivals {
        Some(arrivals) => format!(
            "arrivals: {} P1 incident(s), {} arrived, {} in time, {} late: system {}, capacity {}, crew {}, \
             unknown {}\n",
            arrivals.incidents,
            arrivals.arrived,
            arrivals.in_time,
            arrivals.late,
            arrivals.system,
            arrivals.capacity,
            arrivals.crew,
            arrivals.unknown
        ),
        None => "late arrivals: not known from these lines (none has an arrived_at)\n".to_owned(),
    });
    text
}

/// One line for each hazard, in the order of becoming dangerous.
pub(super) fn details(graded: &[Graded]) -> String {
    let head = ["post", "cause", "dangerous at", "told at", "delay s", "verdict", "sensor"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut sorted: Vec<&Graded> = graded.iter().collect();
    sorted.sort_by_key(|graded| (graded.dangerous_at, graded.hazard.spot.name()));
    rows.extend(sorted.into_iter().map(|graded| {
        let dash = || "-".to_owned();
        vec![
            graded.hazard.spot.name().to_owned(),
            graded.hazard.cause.clone(),
            local(graded.dangerous_at),
            graded.told_at.map_or_else(dash, local),
            graded.delay().map_or_else(dash, seconds),
            verdict(graded),
            graded.hazard.sensor.clone(),
        ]
    }));
    table(&rows, false)
}

/// The verdict, and why when there is something to say.
fn verdict(graded: &Graded) -> String {
    match (graded.verdict, graded.early_at, graded.voided_at) {
        (Verdict::Missed, _, Some(at)) => format!("missed (voided, told {})", local(at)),
        (Verdict::Missed, Some(at), None) => format!("missed (too early, {})", local(at)),
        (verdict, ..) => verdict.name().to_owned(),
    }
}

/// The zone in which an office of ours reads its clocks.
pub(super) const ZONE: &str = "Asia/Shanghai";

/// A point in time in the office's own time.
pub(super) fn local_as(at: Timestamp, format: &str) -> String {
    let zone = jiff::tz::TimeZone::get(ZONE).unwrap_or(jiff::tz::TimeZone::UTC);
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(time) => time.to_zoned_datetime(zone).strftime(format).to_string(),
        Err(_) => at.to_rfc3339(),
    }
}

fn local(at: Timestamp) -> String {
    local_as(at, "%Y-%m-%d %H:%M:%S%:z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_also_with_chinese_words() {
        let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let rows = [cells(&["北门", "1"]), cells(&["P00001", "200"]), cells(&["x"])];
        assert_eq!(table(&rows, true), "北门      1\nP00001  200\nx\n");
        assert_eq!(table(&rows, false), "北门    1\nP00001  200\nx\n");
        assert_eq!(table(&[], true), "");
    }

    #[test]
    fn lengths_are_printed_in_seconds_and_as_a_clock_shows_them() {
        for (ms, words) in [(30_500, "30.5 (0:00:31)"), (-61_000, "-61.0 (-0:01:01)"), (-4, "0.0 (0:00:00)")]
        {
            assert_eq!(both(Millis(ms)), words);
        }
        assert_eq!(both(Millis::hours(26)), "93600.0 (26:00:00)");
    }

    #[test]
    fn nothing_at_all_is_printed_in_words_and_not_as_numbers() {
        let scores = super::super::score(&[], &[], None, None, None);
        let text = summary(&scores);
        for words in ["recall", "no hazard was told", "--posts posts.csv --nights N", "not known from these"]
        {
            assert!(text.contains(words), "{words} is missing in:\n{text}");
        }
        assert!(!text.contains("NaN") && details(&scores.graded).lines().count() == 1, "{text}");
    }

    #[test]
    fn times_are_those_of_the_office() {
        assert_eq!(local(Timestamp(1_795_435_200_123)), "2026-11-23 20:00:00+08:00");
    }
}
