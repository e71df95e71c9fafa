//! What panels about the handling of incidents have to show of a simulated storm: stages, and what crews have to do and did.
//! See `shown.rs`.

use super::panels::Frame;
use super::shown::{Bounds, Look, Shown, exactly};

/// Milliseconds before and after somebody told of a move.
pub type Between = (i64, i64);

/// Columns of the tables by crew, in the order of their questions in PromQL.
const LOAD: [&str; 5] = ["jobs", "jobs_not_departed", "jobs_departed", "jobs_arrived", "jobs_made_safe"];
const DID: [&str; 2] = ["arrived", "breached"];

impl Look<'_> {
    /// Mean seconds of a stage: one incident alone went all the way.
    pub(super) fn stage_s(&self, ref_id: &str) -> Bounds {
        let nth = (ref_id.as_bytes()[0] - b'A') as usize;
        let moves = &self.known.moves;
        let (from, until) = match nth.checked_sub(1) {
            Some(before) => moves[before],
            // People are told as soon as it is known.
            None => {
                let (from, until) = self.known.known_ms(&self.known.cured);
                (from, until + 1000)
            }
        };
        let (low, high) = (moves[nth].0 - until, moves[nth].1 - from);
        (low as f64 / 1000.0 - 0.01, high as f64 / 1000.0 + 0.01)
    }

    /// Tables by crew: one row a crew of the zones that are shown, and no other.
    pub(super) fn crews(&self, board: &str, title: &str, ref_id: &str, frames: &[Frame]) -> Vec<Shown> {
        let columns = match (board, title) {
            ("lg-zone", "Crew load") => &LOAD[..],
            ("lg-sla", "By crew") => &DID[..],
            _ => return Vec::new(),
        };
        let asked = if self.is_influx() {
            columns
        } else {
            let nth = (ref_id.as_bytes()[0] - b'A') as usize;
            &columns[nth..=nth]
        };
        let mut shown =
            vec![("rows".to_owned(), Some(frames.len() as f64), exactly(self.zones().len() as f64))];
        for zone in self.zones() {
            let crew = zone.replace('z', "c");
            let frame = frames.iter().find(|frame| frame.label("crew") == crew);
            for column in asked {
                let value = frame.and_then(|frame| frame.newest(self.column(column)));
                shown.push((format!("{crew} {column}"), value, exactly(self.of_crew(zone, column))));
            }
        }
        shown
    }

    /// One stands at a danger to which it came late, and made another safe in time, which is closed.
    fn of_crew(&self, zone: &str, column: &str) -> f64 {
        let of = |post: &str| f64::from(u8::from(self.known.storm.row(post).zone == zone));
        match column {
            "jobs" | "jobs_arrived" => of(&self.known.late),
            "arrived" => of(&self.known.cured),
            _ => 0.0,
        }
    }
}
