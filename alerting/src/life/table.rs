//! The matrix: every state and every move.
//!
//! Columns are the states in the order of [`super::STAGES`], rows the moves in the order of
//! [`super::VERBS`]. `--` keeps the state, a name leads there, a number refuses with the reason below. `c3` keeps
//! the state where the crew is recorded clear (it comes back), and else refuses with reason 3.

use super::order::Verb;
use super::{STAGES, Stage};

/// What a move does in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Allowed; leads there (or stays).
    To(Stage),
    /// Allowed while the crew is recorded clear, and keeps the state; else refused, with the reason.
    IfClear(&'static str),
    /// Refused, with the reason.
    No(&'static str),
}

const TABLE: &str = "
                   open  ackn  depa  arri  safe  repa  veri  clos  void  retu  pend  merg
acknowledge        ackn  1     1     1     1     1     1     9     9     1     1     8
depart             depa  depa  2     3     3     3     3     9     9     3     3     8
arrive             arri  arri  arri  c3    c3    c3    c3    9     9     c3    c3    8
confirm_arrival    4     4     4     --    --    --    --    9     9     --    --    8
make_safe          4     4     4     safe  safe  --    --    9     9     --    --    8
restore            5     5     5     5     --    --    --    9     9     --    --    8
repair             5     5     5     5     repa  repa  repa  9     9     repa  repa  8
verify             6     6     6     6     6     veri  7     9     9     6     6     8
close              6     6     6     6     6     w     clos  9     9     6     6     8
help               --    --    --    --    --    --    --    --    --    --    --    --
void               void  void  void  v     v     v     v     9     9     v     v     8
return             r     r     r     r     retu  retu  7     9     9     retu  retu  8
pending            5     5     5     5     pend  pend  7     9     9     pend  pend  8
reassign           open  open  open  open  --    --    --    9     9     --    --    8
accept             a     --    --    --    --    --    --    9     9     --    --    8
note               --    --    --    --    --    --    --    --    --    --    --    --
shelve             --    --    --    --    --    --    --    9     9     --    --    8
request_isolation  --    --    --    --    --    --    --    9     9     --    --    8
";

const REASONS: [(&str, &str); 13] = [
    ("1", "somebody has it already"),
    ("2", "a crew has departed already"),
    ("3", "a crew has arrived already"),
    ("4", "nobody has arrived yet: arrive first"),
    ("5", "it is not made safe yet: make_safe first"),
    ("6", "it is not repaired yet: repair first"),
    ("7", "it is verified already: close it"),
    ("8", "it goes on under another incident: move that one"),
    ("9", "it is over: it takes notes only"),
    ("w", "it is not verified yet: somebody else than the repairer verifies first"),
    (
        "v",
        "a crew has arrived: a false alarm found on the spot is repaired with cause \"false\", verified and closed",
    ),
    ("r", "it is not made safe yet: to hand it over before that, reassign it; the deadline stands"),
    ("a", "nobody has it yet: acknowledge it"),
];

/// The cell of a state and a move.
pub fn cell(stage: Stage, verb: Verb) -> Cell {
    let row = TABLE.lines().find(|line| line.split_whitespace().next() == Some(verb.name()));
    let column = STAGES.into_iter().position(|known| known == stage);
    let word = row.zip(column).and_then(|(row, column)| row.split_whitespace().nth(column + 1));
    match word {
        Some("--") => Cell::To(stage),
        Some("c3") => Cell::IfClear(reason("3")),
        Some(word) => named(word).map_or_else(|| Cell::No(reason(word)), Cell::To),
        None => Cell::No("the matrix has no such pair"),
    }
}

fn named(word: &str) -> Option<Stage> {
    Some(match word {
        "open" => Stage::Open,
        "ackn" => Stage::Acknowledged,
        "depa" => Stage::Departed,
        "arri" => Stage::Arrived,
        "safe" => Stage::MadeSafe,
        "repa" => Stage::Repaired,
        "veri" => Stage::Verifying,
        "clos" => Stage::Closed,
        "void" => Stage::Void,
        "retu" => Stage::Returned,
        "pend" => Stage::Pending,
        "merg" => Stage::Merged,
        _ => return None,
    })
}

fn reason(word: &str) -> &'static str {
    REASONS.iter().find(|(known, _)| *known == word).map_or("the matrix has no such pair", |(_, text)| text)
}
