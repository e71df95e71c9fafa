//! A table as CSV that a spreadsheet of any language opens as it is meant: UTF-8 with its mark, CRLF, quotes where they are
//! needed, and no cell that is taken for a formula.

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Words, by whomever they were written.
    Text(String),
    /// A number of ours; below nothing it keeps its sign.
    Number(i64),
    /// Not known, or not to be had.
    Empty,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Number(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<Option<i64>> for Cell {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Empty, Self::Number)
    }
}

/// Beginnings that a spreadsheet takes for a formula (a tab or a line feed is stepped over by some).
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

fn text(cell: &Cell) -> String {
    let raw = match cell {
        Cell::Number(number) => return number.to_string(),
        Cell::Empty => return String::new(),
        Cell::Text(raw) => raw,
    };
    let formula = raw.trim_start_matches([' ', '\n']).starts_with(FORMULA);
    let safe = if formula { format!("'{raw}") } else { raw.clone() };
    if safe.contains(['"', ',', ';', '\n', '\r']) || safe.starts_with(' ') || safe.ends_with(' ') {
        return format!("\"{}\"", safe.replace('"', "\"\""));
    }
    safe
}

/// The whole file.
pub fn table(rows: &[Vec<Cell>]) -> String {
    let mut out = String::from('\u{feff}');
    for row in rows {
        let cells: Vec<String> = row.iter().map(text).collect();
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    }
    out
}
