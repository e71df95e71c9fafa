//! Writes SVG elements. Everything that comes from outside passes [`escape`].

use std::fmt::Write;

/// Colours that stay apart for colour-blind eyes (Okabe and Ito), and greys.
pub(super) const BLUE: &str = "#0072B2";
pub(super) const SKY: &str = "#56B4E9";
pub(super) const VERMILLION: &str = "#D55E00";
pub(super) const AMBER: &str = "#E69F00";
pub(super) const INK: &str = "#1f2328";
pub(super) const GREY: &str = "#6b7280";
pub(super) const PALE: &str = "#d0d7de";

/// Where a text hangs on its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// An SVG while it is written. Lengths are pixels.
#[derive(Debug, Default)]
pub(super) struct Pen {
    out: String,
}

impl Pen {
    pub(super) fn raw(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    /// A filled box; `style` holds further attributes.
    pub(super) fn rect(&mut self, x: f64, y: f64, w: f64, h: f64, style: &str) {
        let w = w.max(0.0);
        let _ = writeln!(self.out, r#"<rect x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}" {style}/>"#);
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(self.out, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {style}/>"#);
    }

    /// A path of straight pieces.
    pub(super) fn path(&mut self, points: &[(f64, f64)], closed: bool, style: &str) {
        let mut d = String::new();
        for (place, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if place == 0 { "M" } else { " L" });
        }
        let end = if closed { " Z" } else { "" };
        let _ = writeln!(self.out, r#"<path d="{d}{end}" {style}/>"#);
    }

    /// A text on its base line.
    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, size: u32, style: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        let _ = writeln!(
            self.out,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" {style}>{text}</text>"#
        );
    }

    /// Opens a group that tells its words when pointed at.
    pub(super) fn group(&mut self, title: &str) {
        let _ = writeln!(self.out, "<g><title>{}</title>", escape(title));
    }

    pub(super) fn end_group(&mut self) {
        self.raw("</g>");
    }

    /// Told in time: a filled disc.
    pub(super) fn disc(&mut self, x: f64, y: f64) {
        let _ = writeln!(
            self.out,
            r##"<circle cx="{x:.1}" cy="{y:.1}" r="5.5" fill="{BLUE}" stroke="#fff" stroke-width="1.5"/>"##
        );
    }

    /// Told late: a triangle with a dark edge.
    pub(super) fn triangle(&mut self, x: f64, y: f64) {
        let points = [(x, y - 7.5), (x + 7.5, y + 6.0), (x - 7.5, y + 6.0)];
        self.path(&points, true, &format!(r#"fill="{AMBER}" stroke="{INK}" stroke-width="1.5""#));
    }

    /// Missed, or false: a cross.
    pub(super) fn cross(&mut self, x: f64, y: f64, size: f64, colour: &str) {
        for turn in [1.0, -1.0] {
            let (from, to) = ((x - size, y - size * turn), (x + size, y + size * turn));
            self.line(from, to, r##"stroke="#fff" stroke-width="5.5" stroke-linecap="round""##);
        }
        for turn in [1.0, -1.0] {
            let (from, to) = ((x - size, y - size * turn), (x + size, y + size * turn));
            let style = format!(r#"stroke="{colour}" stroke-width="3" stroke-linecap="round""#);
            self.line(from, to, &style);
        }
    }

    /// Told too early, or voided: an empty rhombus.
    pub(super) fn rhombus(&mut self, x: f64, y: f64, colour: &str) {
        let points = [(x, y - 6.0), (x + 6.0, y), (x, y + 6.0), (x - 6.0, y)];
        self.path(&points, true, &format!(r##"fill="#fff" stroke="{colour}" stroke-width="2""##));
    }

    /// An incident that opened: a short upright stroke.
    pub(super) fn stroke(&mut self, x: f64, y: f64) {
        self.line((x, y - 7.0), (x, y + 7.0), &format!(r#"stroke="{INK}" stroke-width="2""#));
    }
}

/// Text that XML takes: markup escaped, characters that it forbids replaced.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_forbidden_characters_do_not_pass() {
        let bad = "</text><script>\"'&\u{0}\u{1b}\u{ffff}灯";
        assert_eq!(escape(bad), "&lt;/text&gt;&lt;script&gt;&quot;&apos;&amp;  \u{fffd}灯");
    }
}
