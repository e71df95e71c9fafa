//! Grafana for the office: seven dashboards and the alert rules that watch lampguard itself, from one specification.
//!
//! ```text
//! spec.rs     the words: panel, question in two languages of questions, text in two languages
//! boards/     the seven dashboards in these words; ask.rs: pieces of questions that many share
//! make.rs     one set (data source × language) → Grafana's Classic format (grafana.rs, options.rs)
//! alerts.rs   the alert rules → Prometheus' and Grafana's files
//! lint/       a dashboard as JSON → rules that it breaks; also for dashboards that were edited by hand
//! query.rs    every question of a dashboard, and its macros filled in, for whoever wants to run it
//! ```
//! What comes out stands in `dashboards/grafana/` and `deploy/`; a test holds the files to the specification. Pure: no file
//! is written here.

pub mod alerts;
mod ask;
mod boards;
pub mod grafana;
pub mod lint;
pub mod make;
pub mod options;
pub mod query;
mod show;
pub mod spec;
mod table;

pub use boards::KINDS;
pub use make::Set;
pub use spec::{Lang, Source};

/// Address of our pages in the committed files: where `lampguard serve` is found on its own machine.
pub const PUBLIC_URL: &str = "http://127.0.0.1:8080";

/// Time zone of the committed files: the default of `[site] time_zone`. A wall's own machine often stands at UTC.
pub const TIME_ZONE: &str = "Asia/Shanghai";
/// The zone of whoever looks.
pub const BROWSER: &str = "browser";

/// Both kinds of data source.
pub const SOURCES: [Source; 2] = [Source::Prometheus, Source::Influxql];
/// Both languages.
pub const LANGS: [Lang; 2] = [Lang::Zh, Lang::En];

/// A file to write: its name, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Such as `lg-duty.json`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The seven dashboards of one set.
///
/// # Errors
/// When a dashboard cannot be written as JSON, which a number that is none would cause.
pub fn export(set: &Set) -> Result<Vec<File>, serde_json::Error> {
    let boards = boards::all();
    let file = |board: &spec::Board| {
        let mut text = serde_json::to_string_pretty(&make::dashboard(board, set))?;
        text.push('\n');
        Ok(File { name: format!("{}.json", board.uid), text })
    };
    boards.iter().map(file).collect()
}

/// Folder of one set.
pub fn folder(source: Source, lang: Lang) -> String {
    format!("{}-{}", source.word(), lang.word())
}
