//! `backtest`: the same engine over old readings on a simulated clock.
//!
//! ```text
//! 1  register = posts.csv                               zones, feeders, periods; no configuration
//! 2  line     = recording.next()                        lines.rs, line.rs; or frames of a journal
//! 3  frame    = offline.take(received_at, topic, …)     the ingester's own steps: decode, place, admit
//! 4  judge.judge(frame)                                 the engine, ticked by the readings' own time: judge.rs
//!    judge.moved(move)                                  what people did, made again: moves.rs
//! 5  told     = judge.ended()                           incidents as they end, at last those still open: told.rs
//! 6  a line of JSON each, or a summary                  summary.rs; with --against what differs: compare.rs, compared.rs
//! ```
//! What a journal holds was admitted when it came in: it goes from step 1 to step 4. `naive.rs` is the rule that
//! people write first, as a yardstick; `bench alarms` sets both side by side.

mod compare;
mod compared;
mod judge;
mod line;
mod lines;
pub(crate) mod moves;
mod naive;
mod summary;
mod told;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lampguard_ingester::Offline;
use lampguard_ingester::accounts::Totals;
use lampguard_journal::{Reader, RealDisk, Records};
use lampguard_model::{Register, Timestamp};

use crate::cli::Backtest;
use crate::score::{Reporting, SIMULATED};
use crate::{config, serve, tools};

pub(crate) use judge::{Judge, Pace};
use line::Line;
use lines::Lines;
pub(crate) use naive::Naive;
use summary::Summary;
pub(crate) use told::Told;

/// Bytes asked of a recording at a time.
const READ_SIZE: usize = 1 << 20;

/// What was read besides what was judged.
#[derive(Debug, Default)]
struct Source {
    /// Readings that were judged.
    readings: u64,
    /// Lines of a recording.
    lines: u64,
    bad_lines: u64,
    missed_frames: u64,
    /// Where readings of a recording went.
    totals: Totals,
    /// Records and bytes of a journal that could not be read.
    lost: (u64, u64),
}

pub(crate) fn run(asked: &Backtest) -> Result<()> {
    match judge_all(asked) {
        Err(e) if e.is::<Gone>() => Ok(()),
        other => other,
    }
}

fn judge_all(asked: &Backtest) -> Result<()> {
    let read = |file: &Option<PathBuf>| file.as_deref().map(config::policy::read).transpose();
    let (policies, against) = (read(&asked.policy)?.unwrap_or_default(), read(&asked.against)?);
    let register = Arc::new(read_register(&asked.posts)?);
    let started = Instant::now();
    let judge = |policies| Judge::new(policies, register.clone(), Pace::AsNeeded);
    let source = match against {
        None => judge_once(asked, &register, judge(policies))?,
        Some(against) => compare::run(asked, &register, &[policies, against], judge)?,
    };
    let (readings, took) = (source.readings, started.elapsed().as_secs_f64());
    eprintln!("{readings} readings in {took:.1} s, {:.0} a second", readings as f64 / took);
    Ok(())
}

/// One policy: incidents as lines, or a summary.
fn judge_once(asked: &Backtest, register: &Arc<Register>, judge: Judge) -> Result<Source> {
    let mut out = Out::new(asked);
    let mut judges = [judge];
    let source = judge_readings(asked, register, &mut judges, None, &mut |_, told| out.take(told))?;
    let [mut judge] = judges;
    judge.finish().into_iter().try_for_each(|told| out.take(told))?;
    out.finish(asked, register, &judge, &source)?;
    Ok(source)
}

/// Whoever takes an incident that has ended, with the place of its judge.
type Take<'a> = dyn FnMut(usize, Told) -> Result<()> + 'a;

/// Every judge judges the same readings, and `reporting` hears who reports. What is still open at the end is fetched by
/// the caller.
fn judge_readings(
    asked: &Backtest,
    register: &Arc<Register>,
    judges: &mut [Judge],
    reporting: Option<&mut Reporting>,
    take: &mut Take<'_>,
) -> Result<Source> {
    let mut source = if asked.readings.is_dir() {
        judge_journal(&asked.readings, judges, reporting, take)?
    } else {
        judge_recording(&asked.readings, register.clone(), judges, reporting, take)?
    };
    source.readings = judges.first().map_or(0, |judge| judge.judged.readings);
    if source.readings == 0 {
        bail!("{}: no reading in it", asked.readings.display());
    }
    Ok(source)
}

fn judge_records(judges: &mut [Judge], reporting: &mut Option<&mut Reporting>, records: &Records<'_>) {
    let mut hears = reporting.as_deref_mut();
    for judge in judges {
        let mut hears = hears.take();
        judge.judge(records.clone(), |reading| {
            if let Some(reporting) = &mut hears {
                reporting.saw(reading.post, reading.received_at);
            }
        });
    }
}

fn fetch(judges: &mut [Judge], take: &mut Take<'_>) -> Result<()> {
    for (place, judge) in judges.iter_mut().enumerate() {
        judge.ended().try_for_each(|told| take(place, told))?;
    }
    Ok(())
}

pub(crate) fn read_register(path: &Path) -> Result<Register> {
    let bytes = std::fs::read(path).with_context(|| format!("reading register {}", path.display()))?;
    Register::parse(&bytes).map_err(|faults| serve::register_faults(path, &faults))
}

fn judge_recording(
    path: &Path,
    register: Arc<Register>,
    judges: &mut [Judge],
    mut reporting: Option<&mut Reporting>,
    take: &mut Take<'_>,
) -> Result<Source> {
    let file = File::open(path).with_context(|| format!("reading recording {}", path.display()))?;
    let size = file.metadata().map_or(0, |meta| meta.len());
    let mut lines = Lines::new(BufReader::with_capacity(READ_SIZE, file), path.display().to_string());
    let mut offline = Offline::new(register, Offline::mappings());
    let (mut source, mut progress, mut written) = (Source::default(), Progress::new(size), Ok(()));
    lines.each(|line, bytes| {
        match line {
            Ok(Line::Message { received_at, topic, payload, retain }) => {
                offline.take(received_at, &topic, &payload, retain, &mut |frame| {
                    judge_records(judges, &mut reporting, &frame.records());
                });
                written = fetch(judges, take);
                progress.tell(bytes, received_at, offline.totals().stored);
            }
            Ok(Line::Move(received_at, moved)) => {
                // What came before it is judged before it.
                offline.flush(&mut |frame| judge_records(judges, &mut reporting, &frame.records()));
                for judge in judges.iter_mut() {
                    judge.moved(received_at, &moved);
                }
                written = fetch(judges, take);
            }
            Ok(Line::Missed(frames)) => source.missed_frames += frames,
            Ok(Line::Empty) => {}
            Err(why) => eprintln!("{why}"),
        }
        written.is_ok()
    })?;
    written?;
    offline.flush(&mut |frame| judge_records(judges, &mut reporting, &frame.records()));
    progress.end();
    (source.lines, source.bad_lines) = (lines.count, lines.bad);
    source.totals = offline.totals().clone();
    Ok(source)
}

fn judge_journal(
    dir: &Path,
    judges: &mut [Judge],
    mut reporting: Option<&mut Reporting>,
    take: &mut Take<'_>,
) -> Result<Source> {
    let segments = lampguard_journal::inspect(&RealDisk, dir)?;
    let records = || segments.iter().filter_map(|segment| segment.records);
    let (first, end) = (records().map(|(first, _)| first).min(), records().map(|(_, end)| end).max());
    let (Some(first), Some(end)) = (first, end) else {
        bail!("{} holds no journal segment with records; name the directory DATA_DIR/journal", dir.display());
    };
    let mut reader = Reader::open(dir, first)?;
    let mut progress = Progress::new(end - first);
    while let Some(frame) = reader.next(end)? {
        judge_records(judges, &mut reporting, &frame.records());
        let (done, at) = (frame.end_seq() - first, Timestamp(frame.closed_at));
        fetch(judges, take)?;
        progress.tell(done, at, judges.first().map_or(0, |judge| judge.judged.readings));
    }
    progress.end();
    let lost = reader.take_lost();
    Ok(Source { lost: (lost.records, lost.bytes), ..Source::default() })
}

/// Every message of a recording, in its order, until `take` says false. Bad lines are named on standard error.
///
/// # Errors
/// When it cannot be read, or is no recording.
pub(crate) fn each_message(
    input: impl BufRead,
    name: String,
    mut take: impl FnMut(Timestamp, &str, &[u8], bool) -> bool,
) -> Result<()> {
    Lines::new(input, name).each(|line, _| match line {
        Ok(Line::Message { received_at, topic, payload, retain }) => {
            take(received_at, &topic, &payload, retain)
        }
        Ok(_) => true,
        Err(why) => {
            eprintln!("{why}");
            true
        }
    })?;
    Ok(())
}

/// Where incidents go.
enum Out {
    /// A line each, as they end.
    Lines(BufWriter<std::io::Stdout>),
    /// Gathered for the summary.
    Summary(Box<Summary>),
}

/// The reader of our lines has gone away: the end, and no fault.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the incidents any more")]
struct Gone;

impl Out {
    fn new(asked: &Backtest) -> Self {
        if asked.json {
            Self::Lines(BufWriter::new(std::io::stdout()))
        } else {
            Self::Summary(Box::new(Summary::new(asked.lang)))
        }
    }

    fn take(&mut self, told: Told) -> Result<()> {
        match self {
            Self::Summary(summary) => summary.take(told),
            Self::Lines(out) => match writeln!(out, "{}", told.to_json()) {
                Err(e) if e.kind() == ErrorKind::BrokenPipe => bail!(Gone),
                other => other.context("writing incidents to standard output")?,
            },
        }
        Ok(())
    }

    fn finish(self, asked: &Backtest, register: &Register, judge: &Judge, source: &Source) -> Result<()> {
        match self {
            Self::Summary(summary) => tools::print(&summary.text(asked, register, judge, source)),
            Self::Lines(mut out) => {
                if judge.judged.simulated {
                    eprintln!("{SIMULATED}");
                }
                for line in summary::left_out(asked.lang, judge, source) {
                    eprintln!("{line}");
                }
                match out.flush() {
                    Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e).context("writing incidents"),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// How far it is, on a terminal, once a second.
struct Progress {
    total: u64,
    shown: bool,
    calls: u32,
    told: Instant,
}

impl Progress {
    fn new(total: u64) -> Self {
        let shown = std::io::stderr().is_terminal();
        Self { total: total.max(1), shown, calls: 0, told: Instant::now() }
    }

    fn tell(&mut self, done: u64, at: Timestamp, readings: u64) {
        self.calls = self.calls.wrapping_add(1);
        if self.shown && self.calls.is_multiple_of(512) && self.told.elapsed() > Duration::from_secs(1) {
            self.told = Instant::now();
            eprint!("\r{:3} %  {at}  {readings} readings", done * 100 / self.total);
        }
    }

    fn end(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
