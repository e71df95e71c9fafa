//! Twenty-four hours of one quantity as a drawing: values as they were, silence as a gap, limits as lines.

use lampguard_history::Row;
use lampguard_model::units::to_f64;
use lampguard_model::{Field, Millis, Timestamp};
use maud::{Markup, html};

use super::look::Look;
use super::words;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 170.0;
/// Room for the numbers on the left, and for the hours below.
const LEFT: f64 = 66.0;
const BELOW: f64 = 22.0;
/// Lines of the drawing: each holds the least and the highest value of its time, so peaks survive.
const BUCKETS: usize = 450;
/// Longer without a reading than this, or than three usual gaps, is a gap.
const GAP_MIN: Millis = Millis::minutes(10);

/// A limit, as a line with its word.
#[derive(Clone, Debug)]
pub(super) struct LimitLine {
    pub(super) value: f64,
    pub(super) word: &'static str,
    pub(super) danger: bool,
}

/// What one drawing shows.
pub(super) struct Chart<'c> {
    pub(super) field: Field,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) limits: &'c [LimitLine],
    /// When incidents began, and their ids.
    pub(super) marks: &'c [(Timestamp, String)],
}

/// Values of one time: first moment, last moment, least, highest.
type Bucket = (Timestamp, Timestamp, f64, f64);

/// Values by time; a pause between two of them that is none of the sensor's usual ones stands between.
fn pieces(rows: &[Row], field: Field, from: Timestamp, to: Timestamp) -> Vec<Vec<Bucket>> {
    let values = rows.iter().filter_map(|row| Some((row.stored_ts, to_f64(row.fields.get(field)?))));
    let values: Vec<(Timestamp, f64)> = values.filter(|(at, _)| *at >= from && *at <= to).collect();
    let mut gaps: Vec<i64> = values.windows(2).map(|pair| pair[1].0.since(pair[0].0).0).collect();
    let pause = if gaps.is_empty() {
        GAP_MIN.0
    } else {
        let middle = gaps.len() / 2;
        GAP_MIN.0.max(3 * *gaps.select_nth_unstable(middle).1)
    };
    let length = (to.since(from).0 / BUCKETS as i64).max(1);
    let mut pieces: Vec<Vec<Bucket>> = Vec::new();
    for (at, value) in values {
        let piece = match pieces.last_mut() {
            Some(piece) if piece.last().is_some_and(|last| at.since(last.1).0 <= pause) => piece,
            _ => {
                pieces.push(Vec::new());
                let Some(piece) = pieces.last_mut() else { continue };
                piece
            }
        };
        match piece.last_mut() {
            Some((first, last, least, most)) if at.since(*first).0 < length => {
                (*last, *least, *most) = (at, least.min(value), most.max(value));
            }
            _ => piece.push((at, at, value, value)),
        }
    }
    pieces
}

/// From where to where the numbers go.
fn span(pieces: &[Vec<Bucket>], chart: &Chart<'_>) -> (f64, f64) {
    let values = || pieces.iter().flatten();
    let most = values().map(|bucket| bucket.3).fold(f64::MIN, f64::max);
    let least = values().map(|bucket| bucket.2).fold(f64::MAX, f64::min);
    if chart.field == Field::SupplyV {
        return (if least < 150.0 { 0.0 } else { least - 10.0 }, most + 10.0);
    }
    // The nearest limit is on the drawing, those far above are not: they would flatten everything.
    let nearest =
        chart.limits.iter().map(|limit| limit.value).filter(|limit| *limit >= most).fold(f64::MAX, f64::min);
    let top = if nearest < f64::MAX { nearest.max(most) } else { most };
    (least.min(0.0), (top * 1.15).max(1.0))
}

pub(super) fn draw(look: &Look, rows: &[Row], chart: &Chart<'_>) -> Markup {
    let pieces = pieces(rows, chart.field, chart.from, chart.to);
    let title = look.say(words::field(chart.field));
    let unit = chart.field.info().unit;
    if pieces.is_empty() {
        return html! { p.hint { (title) ": " (look.say(words::CHART_EMPTY)) } };
    }
    let (low, high) = span(&pieces, chart);
    let whole = chart.to.since(chart.from).0.max(1) as f64;
    let x = |at: Timestamp| LEFT + (WIDTH - LEFT) * (at.since(chart.from).0 as f64 / whole).clamp(0.0, 1.0);
    let y = |value: f64| (HEIGHT - BELOW) * (1.0 - (value - low) / (high - low));
    let line = |piece: &Vec<Bucket>| {
        let mut path = String::new();
        for (first, last, least, most) in piece {
            let start = if path.is_empty() { 'M' } else { 'L' };
            path += &format!("{start}{:.1} {:.1}", x(*first), y(*most));
            path += &format!("L{:.1} {:.1}", x(*last), y(*least));
        }
        path
    };
    let inside: Vec<&LimitLine> =
        chart.limits.iter().filter(|limit| limit.value >= low && limit.value <= high).collect();
    let newest = pieces.last().and_then(|piece| piece.last()).map_or(0.0, |bucket| bucket.3);
    html! {
        figure.chart {
            figcaption { b { (title) } " (" (unit) ")" }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img"
                aria-label=(format!("{title}: {newest} {unit}")) {
                rect.gap x=(LEFT) y="0" width=(WIDTH - LEFT) height=(HEIGHT - BELOW) {}
                @for piece in &pieces { (heard(piece, &x)) }
                @for (at, text) in hours(look, chart) {
                    line.grid x1=(f1(x(at))) x2=(f1(x(at))) y1="0" y2=(HEIGHT - BELOW) {}
                    text.hour x=(f1(x(at).min(WIDTH - 22.0))) y=(HEIGHT - 6.0) { (text) }
                }
                text.axis x=(LEFT - 6.0) y="14" { (short(high)) }
                text.axis x=(LEFT - 6.0) y=(HEIGHT - BELOW) { (short(low)) }
                @for limit in &inside {
                    line.limit.danger[limit.danger] x1=(LEFT) x2=(WIDTH) y1=(f1(y(limit.value))) y2=(f1(y(limit.value))) {}
                    text.limit.danger[limit.danger]
                        x=(if limit.danger { WIDTH - 4.0 } else { LEFT + 4.0 })
                        y=(f1((y(limit.value) - 4.0).max(11.0))) {
                        (limit.word) " " (short(limit.value)) " " (unit)
                    }
                }
                @for piece in &pieces {
                    path.value d=(line(piece)) {}
                    @if let [(at, _, value, _)] = piece.as_slice() {
                        circle.value cx=(f1(x(*at))) cy=(f1(y(*value))) r="3" {}
                    }
                }
                @for (at, id) in chart.marks.iter().filter(|(at, _)| *at >= chart.from) {
                    line.mark x1=(f1(x(*at))) x2=(f1(x(*at))) y1="0" y2=(HEIGHT - BELOW) { title { (id) } }
                    text.mark x=(f1(x(*at))) y="12" { "◆" }
                }
            }
        }
    }
}

/// Where something was heard the ground is clean; elsewhere the hatching of "no data" stays.
fn heard(piece: &[Bucket], x: &impl Fn(Timestamp) -> f64) -> Markup {
    let (Some(first), Some(last)) = (piece.first(), piece.last()) else { return html! {} };
    let (from, to) = (x(first.0), x(last.1));
    html! { rect.heard x=(f1(from)) y="0" width=(f1((to - from).max(2.0))) height=(HEIGHT - BELOW) {} }
}

fn f1(number: f64) -> String {
    format!("{number:.1}")
}

fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), ToOwned::to_owned)
}

/// Every four hours of the office's own time.
fn hours(look: &Look, chart: &Chart<'_>) -> Vec<(Timestamp, String)> {
    let hour = Millis::hours(1).0;
    let first = chart.from.0.div_euclid(hour) * hour + hour;
    let all = (0..25).map(|n| Timestamp(first + n * hour)).take_while(|at| *at < chart.to);
    let local = |at: Timestamp| {
        let at = jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned_datetime(look.zone.clone());
        (at.hour() % 4 == 0 && at.minute() == 0).then(|| at.strftime("%H:%M").to_string())
    };
    all.filter_map(|at| Some((at, local(at)?))).collect()
}

#[cfg(test)]
mod tests {
    use lampguard_model::record::Source;
    use lampguard_model::{Cause, Fields, Flags, Marks};

    use super::*;
    use crate::pages::look::test_look;
    use crate::pages::words::Lang;

    const FROM: Timestamp = Timestamp(1_795_435_200_000 - 86_400_000);
    const TO: Timestamp = Timestamp(1_795_435_200_000);

    fn row(minute: i64, milliamps: i64) -> Row {
        let at = FROM + Millis::minutes(minute);
        let mut fields = Fields::default();
        fields.set(Field::LeakageMa, milliamps * 1000);
        Row {
            stored_ts: at,
            received_at: at,
            ts: None,
            seq: None,
            boot: None,
            marks: Marks::default(),
            flags: Flags::default(),
            cause: Cause::Periodic,
            source: Source::Http,
            fields,
        }
    }

    fn drawn(rows: &[Row], limits: &[LimitLine]) -> String {
        let marks = [(FROM + Millis::hours(5), "LG-1".to_owned())];
        let chart = Chart { field: Field::LeakageMa, from: FROM, to: TO, limits, marks: &marks };
        draw(&test_look(Lang::Zh, None), rows, &chart).0
    }

    #[test]
    fn a_pause_is_a_gap_and_not_a_line() {
        let rows: Vec<Row> = (0..60).chain(300..400).map(|n| row(n * 2, 5)).collect();
        assert_eq!(pieces(&rows, Field::LeakageMa, FROM, TO).len(), 2);
        let text = drawn(&rows, &[]);
        assert_eq!(text.matches("<path").count(), 2, "{text}");
        assert_eq!(text.matches("class=\"heard\"").count(), 2);
    }

    #[test]
    fn page_w26_a_peak_of_one_sample_survives_and_limits_and_incidents_are_marked() {
        let mut rows: Vec<Row> = (0..1440).map(|n| row(n, 5)).collect();
        rows[700] = row(700, 40);
        let found = pieces(&rows, Field::LeakageMa, FROM, TO);
        assert!(found.iter().flatten().any(|bucket| (bucket.3 - 40.0).abs() < 1e-9));
        assert!(found.iter().flatten().count() <= BUCKETS + 1);
        let limit = LimitLine { value: 15.0, word: "危险", danger: true };
        let text = drawn(&rows, &[limit]);
        assert!(text.contains("危险 15 mA") && text.contains("LG-1") && text.contains("16:00"), "{text}");
    }

    #[test]
    fn nothing_measured_is_said_and_not_drawn_as_zero() {
        let text = drawn(&[], &[]);
        assert!(text.contains("24 小时内没有读数") && !text.contains("<svg"));
    }
}
