//! What `bench alarms` prints: a row for each seed and rule, their sums, and both rules side by side.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use lampguard_model::Millis;

use crate::bench::row::{Row, median};
use crate::score::{Group, Scores, Verdict};

/// One city, judged by one rule.
pub(super) struct Seed {
    pub(super) seed: u64,
    pub(super) readings: u64,
    /// Readings a second, through the intake's steps and both rules.
    pub(super) speed: f64,
    pub(super) scores: Scores,
}

/// One rule over all cities so far.
pub(super) struct Sum {
    rule: &'static str,
    /// What every row of it begins with.
    head: Row,
    seeds: usize,
    readings: u64,
    speeds: Vec<f64>,
    figures: Figures,
}

/// What is counted, for one city or for all.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// All hazards, observable ones, the others.
    groups: [Group; 3],
    /// From dangerous to told, minutes.
    delays_min: Vec<f64>,
    incidents: usize,
    on_marginal: usize,
    false_p1: usize,
    unjudged: usize,
    post_nights: f64,
}

/// What keys of the groups begin with.
const GROUPS: [&str; 3] = ["", "observable_", "unobservable_"];

impl Figures {
    fn of(scores: &Scores) -> Self {
        let minutes = |delay: Millis| delay.0 as f64 / 60_000.0;
        Self {
            groups: [scores.all, scores.observable, scores.unobservable],
            delays_min: scores.graded.iter().filter_map(|graded| graded.delay()).map(minutes).collect(),
            incidents: scores.p1.incidents,
            on_marginal: scores.p1.on_marginal,
            false_p1: scores.p1.false_p1,
            unjudged: scores.p1.unjudged(),
            post_nights: scores.exposure.map_or(0.0, |watched| watched.post_nights()),
        }
    }

    fn add(&mut self, other: &Self) {
        for (group, more) in self.groups.iter_mut().zip(&other.groups) {
            group.hazards += more.hazards;
            group.found += more.found;
            group.late += more.late;
            group.missed += more.missed;
            group.missed_told_early += more.missed_told_early;
        }
        self.delays_min.extend(&other.delays_min);
        self.incidents += other.incidents;
        self.on_marginal += other.on_marginal;
        self.false_p1 += other.false_p1;
        self.unjudged += other.unjudged;
        self.post_nights += other.post_nights;
    }

    fn per_1000(&self, count: usize) -> f64 {
        count as f64 * 1000.0 / self.post_nights
    }

    /// Shortest, middle, ninth of ten, longest; `None` when nothing was told.
    fn delays(&self) -> Option<[f64; 4]> {
        let mut sorted = self.delays_min.clone();
        let middle = median(&mut sorted);
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        // The smallest that nine of ten do not exceed, as `score` has it.
        let ninth = sorted[(sorted.len() * 9).div_ceil(10) - 1];
        Some([first, middle, ninth, last])
    }

    /// A share that does not exist is left out.
    fn row(&self, mut row: Row) -> Row {
        for (name, group) in GROUPS.iter().zip(&self.groups) {
            for (word, count) in [
                ("hazards", group.hazards),
                ("found", group.found),
                ("late", group.late),
                ("missed", group.missed),
                ("missed_told_early", group.missed_told_early),
            ] {
                row = row.number(&format!("{name}{word}"), count as f64);
            }
            if let Some(recall) = group.recall() {
                row = row.number(&format!("{name}recall"), recall);
            }
        }
        row = row
            .number("p1", self.incidents as f64)
            .number("false_p1", self.false_p1 as f64)
            .number("false_per_1000_post_nights", self.per_1000(self.false_p1))
            .number("unjudged_p1", self.unjudged as f64)
            .number("marginal_p1", self.on_marginal as f64)
            .number("marginal_per_1000_post_nights", self.per_1000(self.on_marginal))
            .number("post_nights", self.post_nights);
        for (name, delay) in ["min", "p50", "p90", "max"].iter().zip(self.delays().into_iter().flatten()) {
            row = row.number(&format!("delay_{name}_min"), delay);
        }
        row
    }
}

impl Sum {
    pub(super) fn of(rule: &'static str, head: Row) -> Self {
        Self { rule, head, seeds: 0, readings: 0, speeds: Vec::new(), figures: Figures::default() }
    }

    /// Adds a city; its row, with the names of the posts that were told late or not at all.
    pub(super) fn add(&mut self, seed: &Seed) -> Row {
        let figures = Figures::of(&seed.scores);
        self.seeds += 1;
        self.readings += seed.readings;
        self.speeds.push(seed.speed);
        self.figures.add(&figures);
        let row = self.head.clone().number("seed", seed.seed as f64).number("readings", seed.readings as f64);
        let mut row = figures.row(row.number("readings_per_s", seed.speed));
        for verdict in [Verdict::Late, Verdict::Missed] {
            let of_verdict = seed.scores.graded.iter().filter(|graded| graded.verdict == verdict);
            let names: Vec<&str> = of_verdict.map(|graded| graded.hazard.spot.name()).collect();
            if !names.is_empty() {
                row = row.text(&format!("{}_posts", verdict.name()), names.join(","));
            }
        }
        row
    }

    /// The row of all cities.
    pub(super) fn total(&self) -> Row {
        let row = self.head.clone().text("seed", "all").number("seeds", self.seeds as f64);
        let row = row.number("readings", self.readings as f64);
        self.figures.row(row.number("readings_per_s", median(&mut self.speeds.clone())))
    }
}

/// Head of the first column: fourteen places on a screen, a Chinese character taking two.
const SIMULATED: &str = "模拟数据  SIM ";

/// Both rules in two columns.
pub(super) fn beside(sums: &[Sum; 2]) -> String {
    let mut text = format!("\n{SIMULATED}{:<20}{:>19}{:>19}\n", "", sums[0].rule, sums[1].rule);
    let mut line = |label: &str, cell: &dyn Fn(&Figures) -> String| {
        let cells = sums.each_ref().map(|sum| cell(&sum.figures));
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{label:<34}{:>19}{:>19}", cells[0], cells[1]);
    };
    line("hazards that had to be found", &|figures| figures.groups[0].hazards.to_string());
    line("found / late / missed", &|figures| {
        let group = &figures.groups[0];
        format!("{} / {} / {}", group.found, group.late, group.missed)
    });
    line("  of the missed, told too early", &|figures| figures.groups[0].missed_told_early.to_string());
    for (place, label) in ["recall, all", "recall, observable", "recall, unobservable"].iter().enumerate() {
        line(label, &|figures| {
            figures.groups[place].recall().map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0))
        });
    }
    line("P1 told", &|figures| figures.incidents.to_string());
    line("false P1", &|figures| figures.false_p1.to_string());
    line("  per 1,000 post-nights", &|figures| format!("{:.3}", figures.per_1000(figures.false_p1)));
    line("  not judged", &|figures| figures.unjudged.to_string());
    line("P1 on marginal posts", &|figures| figures.on_marginal.to_string());
    line("  per 1,000 post-nights", &|figures| format!("{:.3}", figures.per_1000(figures.on_marginal)));
    for (place, label) in ["p50", "p90", "longest"].iter().enumerate() {
        line(&format!("dangerous to told, {label}, min"), &|figures| {
            figures.delays().map_or("–".to_owned(), |delays| format!("{:.1}", delays[place + 1]))
        });
    }
    text
}

/// The commit that the sources stand at, `+` behind it when they were changed since; `unknown` away from them.
pub(super) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=10", "HEAD"]) else { return "unknown".to_owned() };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|told| !told.is_empty());
    if changed { commit + "+" } else { commit }
}
