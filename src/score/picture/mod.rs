//! The picture of a storm: what was true above what people were told, over one time axis; one SVG file that
//! needs nothing beside it.
//!
//! ```text
//! title and figures
//! key to the signs
//! rain             one strip per zone, mm per hour
//! false P1s        and P1s on marginal posts, each on its own lane
//! messages         per 10 minutes, if it is known who got which
//! hazards          one row each: bar, window, telling, verdict in words
//! in all           how many were dangerous, how many of them told
//! ```
//!
//! Signs differ by shape and by words, never by colour alone. The height is bounded: rows beyond [`ROWS_MAX`]
//! are counted in words, missed and late ones being drawn first.

mod key;
mod lanes;
mod pen;
mod rows;
mod scale;
mod words;

use lampguard_model::{Millis, Timestamp};

use super::facts::{EARLY, Message, Told};
use super::figures::Scores;
use super::recording::Recording;
use super::table::{SIMULATED, local_as, seconds, width};
use crate::cli::Lang;
use pen::{Anchor, GREY, INK, PALE, Pen};
use scale::{LEFT, RIGHT, Scale};
use words::Words;

/// Rows of hazards at most.
pub(super) const ROWS_MAX: usize = 60;
/// Strips of rain at most.
const ZONES_MAX: usize = 6;
/// Width of the picture, pixels.
const WIDTH: f64 = 1280.0;

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'s> {
    pub(super) scores: &'s Scores,
    pub(super) told: &'s [Told],
    pub(super) messages: Option<&'s [Message]>,
    pub(super) recording: Option<&'s Recording>,
    pub(super) lang: Lang,
}

/// Draws it.
pub(super) fn draw(scene: Scene<'_>) -> String {
    let words = words::of(scene.lang);
    let mut body = Pen::default();
    let mut y = head(&mut body, scene.scores, words);
    let top = y;
    let scale = range(scene).map(|(first, last)| Scale::over(first, last));
    y = lanes::rain(&mut body, scene.recording, scale, y + 26.0, words);
    if let Some(scale) = scale {
        y = lanes::alarms(&mut body, &scene.scores.alarms, scale, y + 8.0, words);
        y = lanes::messages(&mut body, scene.messages, scale, y + 8.0, words);
    }
    y = rows::draw(&mut body, scene, scale, y + 14.0, words);
    if let Some(scale) = scale {
        y = lanes::in_all(&mut body, &scene.scores.graded, scale, y + 14.0, words);
        axis(&mut body, scale, y + 16.0);
    }
    let height = y + 30.0;
    let mut page = Pen::default();
    let title = pen::escape(&title(scene.scores, words));
    page.raw(&format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" width="{WIDTH:.0}" height="{height:.0}" role="img" xml:lang="{}" font-family="'Noto Sans CJK SC','Noto Sans SC','Microsoft YaHei','PingFang SC','Source Han Sans SC',sans-serif">
<title>{title}</title>
<defs>
<pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2" height="7" fill="{PALE}"/></pattern>
<pattern id="alert" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="7" height="7" fill="{rose}"/><rect width="2" height="7" fill="{dark}"/></pattern>
</defs>"#,
        words.lang,
        rose = "#fdf1ea",
        dark = "#f6d5c3",
    ));
    page.rect(0.0, 0.0, WIDTH, height, r##"fill="#fff""##);
    if let Some(scale) = scale {
        grid(&mut page, scale, top + 20.0, y);
        axis(&mut page, scale, top + 14.0);
    }
    page.raw(&body.finish());
    page.raw("</svg>");
    page.finish()
}

/// Simulated readings are marked.
fn title(scores: &Scores, words: &Words) -> String {
    if scores.simulated { format!("{}  ·  {SIMULATED}", words.title) } else { words.title.to_owned() }
}

/// Title, figures and key; gives the place below.
fn head(pen: &mut Pen, scores: &Scores, words: &Words) -> f64 {
    let all = &scores.all;
    pen.text(
        (20.0, 34.0),
        Anchor::Start,
        20,
        &format!(r#"font-weight="700" fill="{INK}""#),
        &title(scores, words),
    );
    let days = range_of(scores).map(|(first, last)| {
        format!("{} … {} · ", local_as(first, "%Y-%m-%d %H:%M"), local_as(last, "%Y-%m-%d %H:%M"))
    });
    let right = format!("{}{}", days.unwrap_or_default(), words.local_time);
    pen.text((WIDTH - 20.0, 34.0), Anchor::End, 12, &format!(r#"fill="{GREY}""#), &right);
    let mut figures = vec![
        format!("{} {}", words.hazards, all.hazards),
        format!("{} {}", words.found, all.found),
        format!("{} {}", words.late, all.late),
        format!("{} {}", words.missed, all.missed),
    ];
    figures.extend(all.recall().map(|share| format!("{} {:.1} %", words.recall, share * 100.0)));
    figures.extend(all.delay.map(|delay| format!("{} {} s", words.median_delay, seconds(delay.median))));
    let rate = scores.p1.false_per_1000.map(|rate| format!(" ({} {rate:.2})", words.per_1000));
    figures.push(format!("{}: {}{}", words.false_p1, scores.p1.false_p1, rate.unwrap_or_default()));
    let style = format!(r#"font-weight="600" fill="{INK}""#);
    pen.text((20.0, 60.0), Anchor::Start, 14, &style, &figures.join("  ·  "));
    key::draw(pen, 84.0, words)
}

/// First and last moment that belong to the picture; `None` when nothing happened at all.
fn range(scene: Scene<'_>) -> Option<(Timestamp, Timestamp)> {
    let watched = scene.recording.and_then(|recording| recording.span);
    let Some((first, last)) = range_of(scene.scores) else { return watched };
    // What begins long before or ends long after (hazards, windows of an hour before a storm of minutes, quiet
    // hours of a recording) is shown as far as it does not press the storm together.
    let length = last.since(first);
    let graded = || scene.scores.graded.iter();
    let begins = graded().flat_map(|graded| [graded.hazard.starts_at, graded.dangerous_at - EARLY]);
    let ends = graded().filter_map(|graded| graded.hazard.ends_at);
    let begins = begins.chain(watched.map(|(first, _)| first)).min().unwrap_or(first);
    let ends = ends.chain(watched.map(|(_, last)| last)).max().unwrap_or(last);
    let half = Millis(length.0 / 2);
    Some((first.min(begins.max(first - half)), last.max(ends.min(last + length))))
}

/// From the first danger or telling to the last, or to the end of the last window.
fn range_of(scores: &Scores) -> Option<(Timestamp, Timestamp)> {
    let graded = || scores.graded.iter();
    let dangers =
        graded().flat_map(|graded| [graded.dangerous_at, graded.dangerous_at + graded.hazard.grace()]);
    let tellings = graded().flat_map(|graded| [graded.told_at, graded.early_at, graded.voided_at]).flatten();
    let alarms = scores.alarms.iter().map(|alarm| alarm.at);
    let moments: Vec<Timestamp> = dangers.chain(tellings).chain(alarms).collect();
    Some((*moments.iter().min()?, *moments.iter().max()?))
}

fn grid(pen: &mut Pen, scale: Scale, top: f64, bottom: f64) {
    for (at, _) in scale.marks() {
        let x = scale.x(at);
        pen.line((x, top), (x, bottom), r##"stroke="#eaeef2" stroke-width="1""##);
    }
}

fn axis(pen: &mut Pen, scale: Scale, y: f64) {
    for (at, words) in scale.marks() {
        pen.text((scale.x(at), y), Anchor::Middle, 11, &format!(r#"fill="{GREY}""#), &words);
    }
}

/// A name beside a row, cut to the room that is there.
fn label(pen: &mut Pen, y: f64, strong: bool, text: &str) {
    let weight = if strong { 600 } else { 400 };
    let style = format!(r#"font-weight="{weight}" fill="{INK}""#);
    pen.text((LEFT - 10.0, y), Anchor::End, 12, &style, &shortened(text, 30));
}

/// Words at the right end of a row.
fn note(pen: &mut Pen, y: f64, strong: bool, text: &str) {
    let weight = if strong { 700 } else { 400 };
    let style = format!(r#"font-weight="{weight}" fill="{INK}""#);
    pen.text((RIGHT + 10.0, y), Anchor::Start, 12, &style, &shortened(text, 24));
}

/// At most so many columns, a Chinese character taking two.
fn shortened(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if width(&out) + width(c.encode_utf8(&mut [0; 4])) + 1 > columns {
            break;
        }
        out.push(c);
    }
    out + "…"
}
