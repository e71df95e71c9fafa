//! One row for each hazard.

use std::collections::HashMap;

use lampguard_model::Timestamp;

use super::super::rule::{Graded, Verdict};
use super::super::table::{local_as, seconds};
use super::key::window;
use super::pen::{Anchor, BLUE, GREY, INK, Pen, VERMILLION};
use super::scale::{LEFT, RIGHT, Scale};
use super::words::Words;
use super::{ROWS_MAX, Scene, WIDTH, label, note};

/// Behind the name of what no sensor could see.
pub(super) const UNSEEN: &str = " ◌";
/// Height of a row, pixels.
const ROW: f64 = 24.0;

/// Draws them; gives the place below.
pub(super) fn draw(pen: &mut Pen, scene: Scene<'_>, scale: Option<Scale>, y: f64, words: &Words) -> f64 {
    let graded = &scene.scores.graded;
    let (Some(scale), false) = (scale, graded.is_empty()) else {
        pen.text((WIDTH / 2.0, y + 26.0), Anchor::Middle, 14, &format!(r#"fill="{INK}""#), words.no_hazards);
        return y + 44.0;
    };
    let mut p1_at: HashMap<&str, Timestamp> = HashMap::new();
    for told in scene.told {
        p1_at.extend(told.p1_at.map(|at| (told.id.as_str(), at)));
    }
    let (shown, left_out) = chosen(graded);
    for (place, graded) in shown.iter().enumerate() {
        let opened = graded.incident.as_deref().and_then(|id| p1_at.get(id)).copied();
        row(pen, graded, opened, scale, y + ROW * place as f64, words);
    }
    let end = y + ROW * shown.len() as f64;
    if left_out.is_empty() {
        return end;
    }
    let count = |verdict| left_out.iter().filter(|graded| graded.verdict == verdict).count();
    let split = [(Verdict::Missed, words.missed), (Verdict::Late, words.late), (Verdict::Found, words.found)]
        .into_iter()
        .map(|(verdict, word)| (count(verdict), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{word} {count}"))
        .collect::<Vec<_>>()
        .join(" · ");
    let text = format!("{} {} {} ({split})", words.and, left_out.len(), words.more);
    pen.text((LEFT, end + 16.0), Anchor::Start, 12, &format!(r#"font-weight="600" fill="{GREY}""#), &text);
    end + 24.0
}

/// The rows that are drawn, by the moment of danger, and those that are not: missed and late ones go first.
fn chosen(graded: &[Graded]) -> (Vec<&Graded>, Vec<&Graded>) {
    let mut shown: Vec<&Graded> = graded.iter().collect();
    let urgency = |graded: &Graded| match graded.verdict {
        Verdict::Missed => 0,
        Verdict::Late => 1,
        Verdict::Found => 2,
    };
    shown.sort_by_key(|graded| (urgency(graded), graded.dangerous_at));
    let left_out = shown.split_off(shown.len().min(ROWS_MAX));
    shown.sort_by_key(|graded| graded.dangerous_at);
    (shown, left_out)
}

fn row(pen: &mut Pen, graded: &Graded, opened: Option<Timestamp>, scale: Scale, y: f64, words: &Words) {
    let hazard = &graded.hazard;
    let middle = y + ROW / 2.0;
    let strong = graded.verdict != Verdict::Found;
    let verdict = verdict(graded, words);
    let told = graded.told_at.map_or_else(String::new, |at| local_as(at, " %H:%M:%S"));
    let (name, danger) = (hazard.spot.name(), local_as(graded.dangerous_at, "%H:%M:%S"));
    let kind = format!("{} {} {}", hazard.kind, hazard.cause, hazard.sensor);
    pen.group(&format!("{name} · {kind} · {} {danger} · {verdict}{told}", words.dangerous));
    if graded.verdict == Verdict::Missed {
        pen.rect(8.0, y + 1.0, WIDTH - 16.0, ROW - 2.0, r#"fill="url(#alert)""#);
    }
    pen.line((8.0, y + ROW), (WIDTH - 8.0, y + ROW), r##"stroke="#f0f2f4" stroke-width="1""##);
    let unseen = if hazard.observable { "" } else { UNSEEN };
    let name = format!("{}{unseen} {}", hazard.spot.name(), hazard.cause);
    label(pen, middle + 4.0, strong, &name);
    if let Some((opens, closes)) = hazard.window() {
        window(pen, scale.x(opens), scale.x(closes), middle, scale.holds(opens));
    }
    bar(pen, graded, scale, middle);
    signs(pen, graded, opened, scale, middle);
    note(pen, middle + 4.0, strong, &verdict);
    pen.end_group();
}

/// Thin while marginal, thick from the moment of danger; a point where it goes on beyond the picture.
fn bar(pen: &mut Pen, graded: &Graded, scale: Scale, middle: f64) {
    let hazard = &graded.hazard;
    let danger = scale.x(graded.dangerous_at);
    let begin = scale.x(hazard.starts_at);
    pen.rect(begin, middle - 3.0, danger - begin, 6.0, r##"fill="#b6bfc9""##);
    let end = hazard.ends_at.map_or(RIGHT, |end| scale.x(end));
    pen.rect(danger, middle - 6.0, (end - danger).max(2.0), 12.0, &format!(r#"fill="{VERMILLION}""#));
    let style = format!(r#"fill="{VERMILLION}""#);
    if hazard.ends_at.is_none_or(|end| !scale.holds(end)) {
        let tip = [(RIGHT, middle - 9.0), (RIGHT + 7.0, middle), (RIGHT, middle + 9.0)];
        pen.path(&tip, true, &style);
    }
    if !scale.holds(hazard.starts_at) {
        let tip = [(LEFT, middle - 5.0), (LEFT - 5.0, middle), (LEFT, middle + 5.0)];
        pen.path(&tip, true, r##"fill="#b6bfc9""##);
    }
}

fn signs(pen: &mut Pen, graded: &Graded, opened: Option<Timestamp>, scale: Scale, middle: f64) {
    if let Some(opened) = opened.filter(|at| scale.holds(*at)) {
        pen.stroke(scale.x(opened), middle);
    }
    match (graded.verdict, graded.told_at) {
        (Verdict::Found, Some(told)) => pen.disc(scale.x(told), middle),
        (Verdict::Late, Some(told)) => pen.triangle(scale.x(told), middle),
        _ => {
            for at in [graded.early_at, graded.voided_at].into_iter().flatten() {
                pen.rhombus(scale.x(at), middle, BLUE);
            }
            let missed = graded.hazard.window().map_or(graded.dangerous_at, |(_, closes)| closes);
            pen.cross(scale.x(missed), middle, 6.0, INK);
        }
    }
}

/// The sign again, the word, and how long it took.
fn verdict(graded: &Graded, words: &Words) -> String {
    let delay = graded.delay().map_or_else(String::new, |delay| {
        let sign = if delay.0 >= 0 { "+" } else { "−" };
        match delay.0.abs() {
            short @ 0..600_000 => format!(" {sign}{} s", seconds(lampguard_model::Millis(short))),
            long => format!(" {sign}{} min", long / 60_000),
        }
    });
    match (graded.verdict, graded.voided_at, graded.early_at) {
        (Verdict::Found, ..) => format!("● {}{delay}", words.found),
        (Verdict::Late, ..) => format!("▲ {}{delay}", words.late),
        (Verdict::Missed, Some(_), _) => format!("✕ {} ({})", words.missed, words.voided),
        (Verdict::Missed, None, Some(_)) => format!("✕ {} ({})", words.missed, words.early),
        (Verdict::Missed, None, None) => format!("✕ {}", words.missed),
    }
}
