//! Small multiples as one SVG.

use std::fmt::Write as _;

use super::{Panel, Series};

const COLUMNS: usize = 5;
const WIDTH: f64 = 250.0;
const HEIGHT: f64 = 165.0;
/// Room around a plot: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (44.0, 38.0, 10.0, 26.0);
/// Told apart also without colour: the later lines are dashed.
const INKS: [(&str, &str); 4] =
    [("#1b4f8f", ""), ("#b5541c", "4 2"), ("#4d7d2b", "1 2"), ("#6b4a9b", "6 2 1 2")];

/// Every panel, five in a row.
pub fn draw(title: &str, panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(COLUMNS);
    let (width, height) = (COLUMNS as f64 * WIDTH + 20.0, rows as f64 * HEIGHT + 56.0);
    let mut svg = String::new();
    // Writing into a String cannot fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"10\" fill=\"#222\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"14\" y=\"26\" font-size=\"16\" font-weight=\"bold\">{}</text>\n\
         <text x=\"14\" y=\"42\">Simulated (模拟). Time in hours after the start; each panel is a small city in which just this happens.</text>\n",
        escaped(title)
    );
    for (nth, panel) in panels.iter().enumerate() {
        let (x, y) = ((nth % COLUMNS) as f64 * WIDTH + 10.0, (nth / COLUMNS) as f64 * HEIGHT + 52.0);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        draw_panel(panel, &mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// What is shown of both axes.
struct Frame {
    hours: (f64, f64),
    values: (f64, f64),
}

impl Frame {
    fn of(panel: &Panel) -> Self {
        let points = || panel.series.iter().flat_map(|series| series.points.iter());
        let span = |of: fn(&(f64, f64)) -> f64| {
            let low = points().map(of).fold(f64::INFINITY, f64::min);
            let high = points().map(of).fold(f64::NEG_INFINITY, f64::max);
            if low > high { (0.0, 1.0) } else { (low, high) }
        };
        let (low, high) = span(|point| point.1);
        // From zero on where zero is near, so that small noise does not look like a wave.
        let low = if low > 0.0 && low < high * 0.8 { 0.0 } else { low };
        let high = if high - low < 1e-9 { low + 1.0 } else { high };
        let room = (high - low) * 0.06;
        Self { hours: (0.0, span(|point| point.0).1.max(0.1)), values: (low - room, high + room) }
    }

    fn place(&self, (hours, value): (f64, f64)) -> (f64, f64) {
        let (left, top, right, bottom) = MARGIN;
        let x = left + (hours - self.hours.0) / (self.hours.1 - self.hours.0) * (WIDTH - left - right);
        let y = top + (self.values.1 - value) / (self.values.1 - self.values.0) * (HEIGHT - top - bottom);
        (x, y)
    }
}

fn draw_panel(panel: &Panel, svg: &mut String) {
    let (left, top, right, bottom) = MARGIN;
    let frame = Frame::of(panel);
    let _ = writeln!(
        svg,
        "<text x=\"4\" y=\"12\"><tspan font-weight=\"bold\">{}</tspan> {}</text>",
        escaped(panel.id),
        escaped(panel.title)
    );
    let mut x = left;
    for (series, (ink, dash)) in panel.series.iter().zip(INKS) {
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"24\" x2=\"{}\" y2=\"24\" stroke=\"{ink}\" stroke-dasharray=\"{dash}\" stroke-width=\"1.5\"/>\
             <text x=\"{}\" y=\"27\" font-size=\"8\" fill=\"{ink}\">{}</text>",
            x + 12.0,
            x + 15.0,
            escaped(&series.name)
        );
        x += 22.0 + 4.3 * series.name.chars().count() as f64;
    }
    let _ = writeln!(
        svg,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill=\"#f7f7f5\" stroke=\"#ccc\"/>",
        WIDTH - left - right,
        HEIGHT - top - bottom
    );
    for share in [0.0, 0.5, 1.0] {
        let value = frame.values.0 + (frame.values.1 - frame.values.0) * (0.06 + 0.88 * share) / 1.0;
        let (_, y) = frame.place((0.0, value));
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"8\">{}</text>",
            left - 3.0,
            y + 3.0,
            short(value)
        );
        let hours = frame.hours.0 + (frame.hours.1 - frame.hours.0) * share;
        let (x, _) = frame.place((hours, frame.values.0));
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" font-size=\"8\">{} h</text>",
            HEIGHT - bottom + 11.0,
            short(hours)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"{}\" font-size=\"8\" fill=\"#666\">{}</text>",
        HEIGHT - 4.0,
        escaped(panel.unit)
    );
    for (series, ink) in panel.series.iter().zip(INKS) {
        draw_line(series, ink, &frame, svg);
    }
}

/// A line that breaks where the sensor was silent for long, with a dot where a sample stands alone.
fn draw_line(series: &Series, (ink, dash): (&str, &str), frame: &Frame, svg: &mut String) {
    let gap = (frame.hours.1 - frame.hours.0) / 12.0;
    let mut path = String::new();
    let mut before: Option<f64> = None;
    for point in &series.points {
        let (x, y) = frame.place(*point);
        let pen = if before.is_some_and(|hours| point.0 - hours < gap) { 'L' } else { 'M' };
        let _ = write!(path, "{pen}{x:.1} {y:.1}");
        before = Some(point.0);
    }
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{ink}\" stroke-width=\"1\" stroke-dasharray=\"{dash}\" stroke-linecap=\"round\"/>"
    );
    if let Some(last) = series.points.last() {
        let (x, y) = frame.place(*last);
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{ink}\"/>");
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{value:.1e}"),
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
