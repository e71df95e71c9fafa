//! What the bench prints: one line per row, `key=value`, and the same as JSON lines into a file.

use std::fmt;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// One line of results.
#[derive(Clone, Debug, Default)]
pub(super) struct Row(Vec<(String, Cell)>);

#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Text(String),
    Number(f64),
}

impl Row {
    /// A row of a scenario.
    pub(super) fn of(scenario: &str) -> Self {
        Self::default().text("scenario", scenario)
    }

    /// Appends words.
    pub(super) fn text(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.0.push((key.to_owned(), Cell::Text(value.to_string())));
        self
    }

    /// Appends a number.
    pub(super) fn number(mut self, key: &str, value: f64) -> Self {
        self.0.push((key.to_owned(), Cell::Number(value)));
        self
    }

    /// Appends what another row holds.
    pub(super) fn with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// A number by its key.
    pub(super) fn get(&self, key: &str) -> Option<f64> {
        self.0.iter().find_map(|(known, cell)| match cell {
            Cell::Number(number) if known == key => Some(*number),
            _ => None,
        })
    }

    fn json(&self) -> Value {
        let cell = |cell: &Cell| match cell {
            Cell::Text(text) => Value::from(text.as_str()),
            Cell::Number(number) => Value::from(*number),
        };
        let map: Map<String, Value> = self.0.iter().map(|(key, value)| (key.clone(), cell(value))).collect();
        Value::Object(map)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (key, cell)) in self.0.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            match cell {
                Cell::Text(text) if text.contains(' ') => write!(f, "{gap}{key}={text:?}")?,
                Cell::Text(text) => write!(f, "{gap}{key}={text}")?,
                Cell::Number(number) => write!(f, "{gap}{key}={}", plain(*number))?,
            }
        }
        Ok(())
    }
}

/// A number with three significant digits or all of its whole part.
fn plain(number: f64) -> String {
    let size = number.abs();
    let text = match size {
        _ if number.fract() == 0.0 || size >= 1000.0 => return format!("{number:.0}"),
        _ if size >= 100.0 => format!("{number:.1}"),
        _ if size >= 10.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The medians of rows that have the same keys; words that differ are left out.
pub(super) fn medians(rows: &[Row]) -> Option<Row> {
    let first = rows.first()?;
    let mut out = Row::default();
    for (key, cell) in &first.0 {
        match cell {
            Cell::Number(_) if key == "round" => {
                out = out.text("round", "median").number("rounds", rows.len() as f64);
            }
            Cell::Number(_) => {
                let mut values: Vec<f64> = rows.iter().filter_map(|row| row.get(key)).collect();
                out = out.number(key, median(&mut values));
            }
            Cell::Text(_) if rows.iter().all(|row| row.0.contains(&(key.clone(), cell.clone()))) => {
                out.0.push((key.clone(), cell.clone()));
            }
            Cell::Text(_) => {}
        }
    }
    Some(out)
}

/// The middle value; the mean of the two middle ones when their number is even.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// The value below which this share of the sorted values lies.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// Where rows go.
pub(super) struct Report {
    json: Option<File>,
    progress: bool,
}

impl Report {
    /// Rows to standard output and, when a file is named, as JSON lines into it.
    pub(super) fn open(json: Option<&Path>) -> Result<Self> {
        let json = json
            .map(|path| File::create(path).with_context(|| format!("making {} for the rows", path.display())))
            .transpose()?;
        Ok(Self { json, progress: std::io::stderr().is_terminal() })
    }

    /// Prints one row.
    pub(super) fn row(&mut self, row: &Row) -> Result<()> {
        if let Some(file) = &mut self.json {
            writeln!(file, "{}", row.json()).context("writing the JSON rows")?;
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{row}").and_then(|()| out.flush()).context("writing rows to standard output")
    }

    /// Says what is being done; only on a terminal.
    pub(super) fn progress(&self, words: impl fmt::Display) {
        if self.progress {
            eprintln!("bench: {words}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_as_keys_and_values_and_rounds_give_medians() {
        let row = |round, rate| {
            let row = Row::of("burst").number("round", round).number("rate", rate);
            row.text("path", "listener").text("note", format!("n {round}"))
        };
        let rows = [row(1.0, 81_234.56), row(2.0, 1.5), row(3.0, 70.126)];
        assert_eq!(rows[0].to_string(), "scenario=burst round=1 rate=81235 path=listener note=\"n 1\"");
        let medians = medians(&rows).unwrap();
        assert_eq!(medians.to_string(), "scenario=burst round=median rounds=3 rate=70.13 path=listener");
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.99), 4.0);
    }
}
