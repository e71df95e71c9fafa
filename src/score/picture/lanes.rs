//! The lanes around the hazards: rain, alarms without a reason, messages, counts in all.

use std::collections::BTreeMap;

use lampguard_model::{Millis, Timestamp};

use super::super::facts::Message;
use super::super::figures::MESSAGE_SPAN;
use super::super::recording::Recording;
use super::super::rule::{Alarm, Graded, Ground};
use super::key::square_cross;
use super::pen::{Anchor, BLUE, GREY, INK, PALE, Pen, SKY, VERMILLION};
use super::scale::{LEFT, RIGHT, Scale};
use super::words::Words;
use super::{ZONES_MAX, label, note};

/// A rate of rain holds to the next message, at most so long (`policy.md` 1, Wet).
const RATE_HOLDS: Millis = Millis::minutes(60);
/// Height of a strip of rain, pixels.
const STRIP: f64 = 26.0;

/// mm per hour in each zone, all on one scale; gives the place below.
pub(super) fn rain(
    pen: &mut Pen,
    recording: Option<&Recording>,
    scale: Option<Scale>,
    y: f64,
    words: &Words,
) -> f64 {
    let rain = recording.map(|recording| &recording.rain).filter(|rain| !rain.is_empty()).zip(scale);
    let Some((rain, scale)) = rain else {
        pen.rect(LEFT, y, RIGHT - LEFT, STRIP, r#"fill="url(#hatch)""#);
        let text = if recording.is_some() { words.no_weather } else { words.no_recording };
        label(pen, y + 17.0, false, words.rain);
        let style = format!(r##"fill="{INK}" stroke="#fff" stroke-width="4" paint-order="stroke""##);
        pen.text((f64::midpoint(LEFT, RIGHT), y + 17.0), Anchor::Middle, 12, &style, text);
        return y + STRIP;
    };
    let strongest = rain.values().flatten().map(|(_, rate)| *rate).fold(0.1, f64::max);
    for (place, (zone, rates)) in rain.iter().take(ZONES_MAX).enumerate() {
        strip(pen, rates, scale, y + (STRIP + 3.0) * place as f64, strongest);
        let middle = y + (STRIP + 3.0) * place as f64 + 17.0;
        label(pen, middle, false, &format!("{} {zone}", words.rain));
        let most = rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        note(pen, middle, false, &format!("≤ {most:.1} mm/h"));
    }
    let end = y + (STRIP + 3.0) * rain.len().min(ZONES_MAX) as f64;
    if rain.len() <= ZONES_MAX {
        return end;
    }
    let text = format!("{} {} {}", words.and, rain.len() - ZONES_MAX, words.more);
    pen.text((LEFT, end + 12.0), Anchor::Start, 12, &format!(r#"fill="{GREY}""#), &text);
    end + 18.0
}

/// What is known is drawn over hatching: unknown is not zero.
fn strip(pen: &mut Pen, rates: &[(Timestamp, f64)], scale: Scale, y: f64, strongest: f64) {
    let base = y + STRIP;
    pen.rect(LEFT, y, RIGHT - LEFT, STRIP, r#"fill="url(#hatch)""#);
    let known = columns(rates, scale);
    let mut from = 0;
    while from < known.len() {
        let end = known[from..].iter().position(Option::is_none).map_or(known.len(), |length| from + length);
        let left = LEFT + from as f64;
        if end > from {
            pen.rect(left, y, (end - from) as f64, STRIP, r##"fill="#f6f8fa""##);
            let mut points = vec![(left, base)];
            for (place, rate) in known[from..end].iter().flatten().enumerate() {
                let (x, top) = (left + place as f64, base - rate / strongest * (STRIP - 2.0));
                // A straight piece needs its two ends only.
                let level = |place: usize| points.get(place).is_some_and(|(_, y)| *y == top);
                if points.len() > 2 && level(points.len() - 1) && level(points.len() - 2) {
                    points.pop();
                }
                points.push((x + 1.0, top));
                if points.len() == 2 {
                    points[1].0 = left;
                }
            }
            points.push((LEFT + end as f64, base));
            pen.path(&points, true, &format!(r#"fill="{SKY}" stroke="{BLUE}" stroke-width="1""#));
        }
        from = end + 1;
    }
    pen.line((LEFT, base), (RIGHT, base), &format!(r#"stroke="{PALE}" stroke-width="1""#));
}

/// The strongest rate in each pixel; `None` where nothing is known.
fn columns(rates: &[(Timestamp, f64)], scale: Scale) -> Vec<Option<f64>> {
    let mut known = vec![None::<f64>; (RIGHT - LEFT) as usize];
    for (place, (at, rate)) in rates.iter().enumerate() {
        let next = rates.get(place + 1);
        let holds = *at + RATE_HOLDS;
        let until = match next {
            Some((next, same)) if same.to_bits() == rate.to_bits() => *next,
            Some((next, _)) => holds.min(*next),
            None => holds,
        };
        if until < scale.from || *at > scale.to {
            continue;
        }
        let column = |at: Timestamp| (scale.x(at) - LEFT) as usize;
        let last = column(until).min(known.len() - 1);
        for cell in &mut known[column(*at).min(last)..=last] {
            *cell = Some(cell.map_or(*rate, |other| other.max(*rate)));
        }
    }
    known
}

/// False P1s, and P1s on marginal posts; gives the place below.
pub(super) fn alarms(pen: &mut Pen, alarms: &[Alarm], scale: Scale, y: f64, words: &Words) -> f64 {
    let lanes = [(Ground::Nothing, words.false_p1), (Ground::Marginal, words.marginal_p1)];
    for (place, (ground, name)) in lanes.into_iter().enumerate() {
        let middle = y + 28.0 * place as f64 + 14.0;
        let lane: Vec<&Alarm> = alarms.iter().filter(|alarm| alarm.ground == ground).collect();
        pen.rect(LEFT, middle - 11.0, RIGHT - LEFT, 22.0, r##"fill="#fbfcfd""##);
        label(pen, middle + 4.0, ground == Ground::Nothing && !lane.is_empty(), name);
        let count = if lane.is_empty() { words.none.to_owned() } else { lane.len().to_string() };
        note(pen, middle + 4.0, ground == Ground::Nothing && !lane.is_empty(), &count);
        for (x, gathered) in gathered(&lane, scale) {
            let names: Vec<&str> = gathered.iter().take(8).map(|alarm| alarm.spot.as_str()).collect();
            pen.group(&format!("{name}: {} ({})", names.join(", "), gathered.len()));
            if ground == Ground::Nothing {
                square_cross(pen, x, middle);
            } else {
                let style = format!(r##"fill="#fff" stroke="{GREY}" stroke-width="2""##);
                pen.rect(x - 5.0, middle - 5.0, 10.0, 10.0, &style);
            }
            if gathered.len() > 1 {
                let style = format!(r#"font-weight="600" fill="{INK}""#);
                let text = format!("×{}", gathered.len());
                pen.text((x + 9.0, middle + 4.0), Anchor::Start, 10, &style, &text);
            }
            pen.end_group();
        }
    }
    y + 56.0
}

/// Room that one sign and its count take, pixels.
const ROOM: f64 = 36.0;

/// Alarms that would be drawn over each other, together.
fn gathered<'a>(alarms: &[&'a Alarm], scale: Scale) -> Vec<(f64, Vec<&'a Alarm>)> {
    let mut groups: Vec<(f64, Vec<&Alarm>)> = Vec::new();
    for alarm in alarms {
        let x = scale.x(alarm.at);
        match groups.last_mut() {
            Some((known, group)) if x - *known < ROOM => group.push(alarm),
            _ => groups.push((x, vec![alarm])),
        }
    }
    groups
}

/// Messages in each 10 minutes as bars; gives the place below, which is the same when nothing is known.
pub(super) fn messages(
    pen: &mut Pen,
    messages: Option<&[Message]>,
    scale: Scale,
    y: f64,
    words: &Words,
) -> f64 {
    let Some(messages) = messages.filter(|messages| !messages.is_empty()) else { return y - 8.0 };
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for message in messages.iter().filter(|message| scale.holds(message.at)) {
        *counts.entry(message.at.0.div_euclid(MESSAGE_SPAN.0)).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(0);
    // Spans that share a pixel are one bar, the highest.
    let mut bars: BTreeMap<i64, (f64, usize)> = BTreeMap::new();
    for (span, count) in counts {
        let from = Timestamp(span.saturating_mul(MESSAGE_SPAN.0));
        let (left, right) = (scale.x(from), scale.x(from + MESSAGE_SPAN));
        let bar = bars.entry(left as i64).or_insert((right - left, count));
        bar.1 = bar.1.max(count);
    }
    let base = y + 28.0;
    for (left, (length, count)) in bars {
        let height = count as f64 / most.max(1) as f64 * 24.0;
        let style = format!(r#"fill="{GREY}" fill-opacity="0.7""#);
        pen.rect(left as f64 + 0.5, base - height, (length - 1.0).max(1.0), height, &style);
    }
    pen.line((LEFT, base), (RIGHT, base), &format!(r#"stroke="{PALE}" stroke-width="1""#));
    label(pen, base - 8.0, false, words.messages);
    note(pen, base - 8.0, false, &format!("≤ {most}"));
    base + 4.0
}

/// How many hazards have become dangerous, and how many of them people know of; gives the place below.
pub(super) fn in_all(pen: &mut Pen, graded: &[Graded], scale: Scale, y: f64, words: &Words) -> f64 {
    const HEIGHT: f64 = 80.0;
    if graded.is_empty() {
        return y;
    }
    let base = y + HEIGHT;
    let mut dangerous: Vec<Timestamp> = graded.iter().map(|graded| graded.dangerous_at).collect();
    let mut told: Vec<Timestamp> = graded.iter().filter_map(|graded| graded.told_at).collect();
    dangerous.sort_unstable();
    told.sort_unstable();
    let height = |count: usize| base - count as f64 / graded.len() as f64 * (HEIGHT - 6.0);
    pen.line((LEFT, base), (RIGHT, base), &format!(r#"stroke="{PALE}" stroke-width="1""#));
    label(pen, y + 14.0, false, words.cumulative);
    for (times, style) in [
        (&dangerous, format!(r#"fill="none" stroke="{VERMILLION}" stroke-width="2.5""#)),
        (&told, format!(r#"fill="none" stroke="{BLUE}" stroke-width="2" stroke-dasharray="6 3""#)),
    ] {
        let mut points = vec![(LEFT, base)];
        for (place, at) in times.iter().enumerate() {
            let x = scale.x(*at);
            // Steps within half a pixel are one.
            if points.last().is_some_and(|(known, _)| x - known < 0.5) && points.len() > 2 {
                points.pop();
            } else {
                points.push((x, height(place)));
            }
            points.push((x, height(place + 1)));
        }
        points.push((RIGHT, height(times.len())));
        pen.path(&points, false, &style);
    }
    let ends = [height(dangerous.len()), height(told.len())];
    // Both words need room, also where the lines end at one height.
    let second = ends[1].max(ends[0] + 15.0).min(base + 4.0);
    note(pen, ends[0] + 4.0, false, &format!("━ {} {}", words.became_dangerous, dangerous.len()));
    note(pen, second + 4.0, false, &format!("┅ {} {}", words.were_told, told.len()));
    base
}
