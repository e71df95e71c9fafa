//! The key to the signs.

use super::pen::{Anchor, BLUE, GREY, INK, Pen, SKY, VERMILLION};
use super::rows::UNSEEN;
use super::words::Words;
use crate::score::table::width;

type Sign = fn(&mut Pen, f64, f64);

/// One line with every sign; gives the place below.
pub(super) fn draw(pen: &mut Pen, y: f64, words: &Words) -> f64 {
    let signs: [(Sign, &str); 10] = [
        (|pen, x, y| pen.rect(x, y - 3.0, 24.0, 6.0, r##"fill="#b6bfc9""##), words.marginal),
        (|pen, x, y| pen.rect(x, y - 6.0, 24.0, 12.0, &format!(r#"fill="{VERMILLION}""#)), words.dangerous),
        (|pen, x, y| window(pen, x, x + 24.0, y, true), words.window),
        (|pen, x, y| pen.stroke(x + 12.0, y), words.opened),
        (|pen, x, y| pen.disc(x + 12.0, y), words.told),
        (|pen, x, y| pen.triangle(x + 12.0, y), words.told_late),
        (|pen, x, y| pen.cross(x + 12.0, y, 5.0, INK), words.never_told),
        (|pen, x, y| pen.rhombus(x + 12.0, y, BLUE), words.early_or_voided),
        (false_sign, words.false_p1),
        (unseen, words.blind),
    ];
    let mut x = 20.0;
    for (sign, name) in signs {
        sign(pen, x, y);
        pen.text((x + 31.0, y + 4.0), Anchor::Start, 12, &format!(r#"fill="{GREY}""#), name);
        x += 31.0 + width(name) as f64 * 6.6 + 16.0;
    }
    y + 14.0
}

/// The time in which a telling counts; without a left edge where it begins before the picture.
pub(super) fn window(pen: &mut Pen, from: f64, to: f64, y: f64, begins: bool) {
    let to = to.max(from + 2.0);
    pen.rect(from, y - 9.0, to - from, 18.0, &format!(r#"fill="{SKY}" fill-opacity="0.22""#));
    let edge = [(from, y - 9.0), (to, y - 9.0), (to, y + 9.0), (from, y + 9.0)];
    let style = format!(r#"fill="none" stroke="{BLUE}" stroke-width="1" stroke-dasharray="3 2""#);
    pen.path(&edge, begins, &style);
}

fn false_sign(pen: &mut Pen, x: f64, y: f64) {
    square_cross(pen, x + 12.0, y);
}

fn unseen(pen: &mut Pen, x: f64, y: f64) {
    pen.text((x + 12.0, y + 4.0), Anchor::Middle, 12, &format!(r#"fill="{INK}""#), UNSEEN.trim());
}

/// A false P1: a cross in a box.
pub(super) fn square_cross(pen: &mut Pen, x: f64, y: f64) {
    let style = format!(r##"fill="#fff" stroke="{INK}" stroke-width="1.5""##);
    pen.rect(x - 6.5, y - 6.5, 13.0, 13.0, &style);
    for turn in [1.0, -1.0] {
        let (from, to) = ((x - 3.5, y - 3.5 * turn), (x + 3.5, y + 3.5 * turn));
        pen.line(from, to, &format!(r#"stroke="{VERMILLION}" stroke-width="2""#));
    }
}
