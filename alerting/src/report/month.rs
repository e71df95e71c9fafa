//! A month by zone and crew.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::civil::date;
use jiff::tz::TimeZone;
use lampguard_model::{Millis, Timestamp};
use serde::Serialize;

use super::{Case, Cell, Names, ReportError, median, table};
use crate::incident::{NOTE_SIMULATED, Severity};
use crate::life::Stage;

/// What the office promises: whoever was told and came within it did not come late.
const HALF_HOUR: Millis = Millis::minutes(30);

/// One line: what a crew had to do in a zone, and how it went. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Zone; empty in the total.
    pub zone: String,
    /// Its name.
    pub zone_name: String,
    /// Crew that had it, else the crew of the zone.
    pub crew: String,
    /// Its name.
    pub crew_name: String,
    /// Incidents where somebody had to be there soon: P1, and P2 that is due within two hours.
    pub raised: usize,
    /// Of these P1.
    pub p1: usize,
    /// A notice was accepted by a channel.
    pub told: usize,
    /// A crew had it.
    pub acknowledged: usize,
    /// Somebody arrived.
    pub arrived: usize,
    /// By the deadline.
    pub arrived_in_time: usize,
    /// By word alone: no position, code or number showed it, and the desk has not confirmed it.
    pub arrived_unproven: usize,
    /// The deadline passed with nobody there.
    pub breached: usize,
    /// Of these: people were told late, or the crew came within half an hour of being told.
    pub late_system: usize,
    /// The crew was told in time and was bound by another incident.
    pub late_capacity: usize,
    /// The crew was told in time, was free, and came late.
    pub late_crew: usize,
    /// No crew ever had it: nobody can say.
    pub late_unknown: usize,
    /// Repaired, verified and closed.
    pub closed: usize,
    /// Not over when the report was made.
    pub open: usize,
    /// Withdrawn before anybody arrived; in no other column.
    pub voided: usize,
    /// From simulated readings.
    pub simulated: usize,
    /// Middle time until somebody was told.
    pub median_told_s: Option<i64>,
    /// Until a crew had it.
    pub median_acknowledged_s: Option<i64>,
    /// Until somebody was there.
    pub median_arrived_s: Option<i64>,
    /// Until it was made safe.
    pub median_safe_s: Option<i64>,
}

/// The table of a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Month {
    /// `2026-11`.
    pub month: String,
    /// First moment, RFC 3339 UTC; by the opening of incidents.
    pub from: String,
    /// First moment of the next month.
    pub to: String,
    /// By whose days the month is cut.
    pub time_zone: String,
    /// When it was made; what is not over may still change.
    pub made_at: String,
    /// By zone and crew.
    pub rows: Vec<Row>,
    /// All of them.
    pub total: Row,
}

/// First moments of a month like `2026-11` and of the next.
///
/// # Errors
/// [`ReportError::Month`]
pub fn month_window(text: &str, zone: &TimeZone) -> Result<(Timestamp, Timestamp), ReportError> {
    let bad = || ReportError::Month(text.to_owned());
    let (year, month) = text.split_once('-').filter(|(y, m)| y.len() == 4 && m.len() == 2).ok_or_else(bad)?;
    let (year, month): (i16, i8) = (year.parse().map_err(|_| bad())?, month.parse().map_err(|_| bad())?);
    if !(1970..9999).contains(&year) || !(1..=12).contains(&month) {
        return Err(bad());
    }
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let first = |(year, month): (i16, i8)| -> Result<Timestamp, ReportError> {
        let start = date(year, month, 1).at(0, 0, 0, 0).to_zoned_datetime(zone.clone()).map_err(|_| bad())?;
        Ok(Timestamp(start.timestamp().as_millisecond()))
    };
    Ok((first((year, month))?, first(next)?))
}

/// Since when and until when each crew, by its id, was bound by an incident: from departed (else arrived) until made safe (else
/// arrived). Whoever was told and did not go was not bound.
#[derive(Default)]
struct Bound(HashMap<String, Vec<Span>>);

/// Since when, until when, by which incident.
type Span = (Timestamp, Option<Timestamp>, Arc<str>);

impl Bound {
    fn add(&mut self, case: &Case, names: &Names) {
        let life = &case.incident.life;
        let from = life.departed.as_ref().map(|mark| mark.at).or(life.arrived_at());
        if let (Some(crew), Some(from), true) = (&life.crew, from, case.counts()) {
            let safe = life.safe.as_ref().map(|safe| safe.mark.at);
            let over = life.ended.as_ref().map(|mark| mark.received_at);
            let until = safe.or(life.arrived_at()).or(over);
            let crew = names.crew_id(crew).to_owned();
            self.0.entry(crew).or_default().push((from, until, case.incident.id.clone()));
        }
    }

    fn elsewhere(&self, crew: &str, incident: &str, at: Timestamp) -> bool {
        let spans = self.0.get(crew).into_iter().flatten();
        spans
            .filter(|(.., by)| **by != *incident)
            .any(|(from, until, _)| *from < at && until.is_none_or(|until| at < until))
    }
}

/// Times of one line, seconds.
#[derive(Default)]
struct Spans {
    told: Vec<i64>,
    acknowledged: Vec<i64>,
    arrived: Vec<i64>,
    safe: Vec<i64>,
}

/// Lines in the making.
type Lines = BTreeMap<(String, String), (Row, Spans)>;

/// A month in the making: first [`Counting::bind`] whatever lived in it, then [`Counting::count`] what opened in it.
pub(super) struct Counting<'n> {
    names: &'n Names,
    now: Timestamp,
    bound: Bound,
    lines: Lines,
    total: (Row, Spans),
}

impl<'n> Counting<'n> {
    pub(super) fn new(names: &'n Names, now: Timestamp) -> Self {
        let mut lines = Lines::new();
        for (id, _) in &names.zones {
            // A zone in which nothing happened has its line too.
            lines.entry((id.clone(), names.crew_of_zone(id).to_owned())).or_default();
        }
        Self { names, now, bound: Bound::default(), lines, total: (Row::default(), Spans::default()) }
    }

    /// Its crew may have been bound by it.
    pub(super) fn bind(&mut self, case: &Case) {
        self.bound.add(case, self.names);
    }

    /// Counts it.
    pub(super) fn count(&mut self, case: &Case) {
        let key = (case.incident.zone.to_string(), self.names.crew_of(&case.incident).to_owned());
        for (row, spans) in [self.lines.entry(key).or_default(), &mut self.total] {
            count(row, spans, case, &self.bound, self.names, self.now);
        }
    }

    pub(super) fn finish(self, text: &str, (from, to): (Timestamp, Timestamp)) -> Month {
        let finish = |(mut row, spans): (Row, Spans)| {
            row.median_told_s = median(spans.told);
            row.median_acknowledged_s = median(spans.acknowledged);
            row.median_arrived_s = median(spans.arrived);
            row.median_safe_s = median(spans.safe);
            row
        };
        let names = self.names;
        let rows = self.lines.into_iter().map(|((zone, crew), line)| {
            let named =
                Row { zone_name: names.zone(&zone), crew_name: names.crew(&crew), zone, crew, ..line.0 };
            finish((named, line.1))
        });
        Month {
            month: text.to_owned(),
            from: from.to_rfc3339(),
            to: to.to_rfc3339(),
            time_zone: names.time_zone.clone(),
            made_at: self.now.to_rfc3339(),
            rows: rows.filter(|row| !row.zone.is_empty() || row.raised + row.voided > 0).collect(),
            total: finish(self.total),
        }
    }
}

fn count(row: &mut Row, spans: &mut Spans, case: &Case, bound: &Bound, names: &Names, now: Timestamp) {
    let (incident, life) = (&case.incident, &case.incident.life);
    if !case.is_urgent() || life.drill {
        return;
    }
    row.voided += usize::from(life.state == Stage::Void);
    if !case.counts() {
        return;
    }
    row.raised += 1;
    row.p1 += usize::from(incident.severity == Severity::P1);
    row.simulated += usize::from(incident.notes.iter().any(|note| note == NOTE_SIMULATED));
    row.told += usize::from(!case.told.is_empty());
    row.acknowledged += usize::from(life.acknowledged.is_some());
    row.closed += usize::from(life.state == Stage::Closed);
    row.open += usize::from(life.ended.is_none());
    if let Some(arrival) = &life.arrived {
        row.arrived += 1;
        row.arrived_in_time += usize::from(arrival.mark.at <= incident.due_at);
        let unproven = arrival.proof == crate::life::Proof::Unproven && arrival.confirmed.is_none();
        row.arrived_unproven += usize::from(unproven);
    }
    let since = |at: Option<Timestamp>| at.map(|at| at.since(case.since()).as_seconds().max(0));
    spans.told.extend(since(case.told_at()));
    spans.acknowledged.extend(since(life.acknowledged.as_ref().map(|mark| mark.at)));
    spans.arrived.extend(since(life.arrived_at()));
    spans.safe.extend(since(life.safe.as_ref().map(|safe| safe.mark.at)));
    if life.is_breached(incident.due_at, now) {
        row.breached += 1;
        *why_late(row, case, bound, names) += 1;
    }
}

/// Whose it was, as `lampguard score` splits it: by when the crew that had it was told, not by when anybody was.
fn why_late<'r>(row: &'r mut Row, case: &Case, bound: &Bound, names: &Names) -> &'r mut usize {
    let life = &case.incident.life;
    let told_at = match &life.crew {
        Some(crew) => case.told_at().and_then(|_| case.crew_told_at(crew, names)),
        None => case.told_at(),
    };
    let Some(told_at) = told_at else { return &mut row.late_system };
    let kept_its_half_hour = life.arrived_at().is_some_and(|at| at <= told_at + HALF_HOUR);
    if kept_its_half_hour || told_at >= case.incident.due_at {
        return &mut row.late_system;
    }
    match &life.crew {
        None => &mut row.late_unknown,
        Some(crew) if bound.elsewhere(names.crew_id(crew), &case.incident.id, told_at) => {
            &mut row.late_capacity
        }
        Some(_) => &mut row.late_crew,
    }
}

/// Titles of the columns, Chinese and English.
const TITLES: [[&str; 2]; 23] = [
    ["责任区", "zone"],
    ["责任区名称", "zone name"],
    ["班组", "crew"],
    ["班组名称", "crew name"],
    ["险情数", "raised"],
    ["其中 P1", "of these P1"],
    ["已通知", "told"],
    ["已接手", "acknowledged"],
    ["已到场", "arrived"],
    ["按时到场", "arrived in time"],
    ["到场未核实", "arrival not proven"],
    ["超时", "breached"],
    ["超时原因:系统", "late: system"],
    ["超时原因:人手不足", "late: capacity"],
    ["超时原因:班组", "late: crew"],
    ["超时原因:不明", "late: unknown"],
    ["已结案", "closed"],
    ["未结", "open"],
    ["已撤销", "withdrawn"],
    ["通知用时中位数(秒)", "median until told (s)"],
    ["接手用时中位数(秒)", "median until acknowledged (s)"],
    ["到场用时中位数(秒)", "median until arrived (s)"],
    ["处置用时中位数(秒)", "median until made safe (s)"],
];

/// The month as CSV.
pub fn month_csv(month: &Month, chinese: bool) -> String {
    let pick = |words: [&'static str; 2]| words[usize::from(!chinese)];
    let mut rows = vec![TITLES.iter().map(|title| Cell::from(pick(*title))).collect::<Vec<_>>()];
    rows.extend(month.rows.iter().map(cells));
    let all = Row { zone: pick(["合计", "total"]).to_owned(), ..month.total.clone() };
    rows.push(cells(&all));
    if month.total.simulated > 0 {
        let words = pick(["其中模拟数据", "of these from simulated readings"]);
        rows.push(vec![words.into(), month.total.simulated.into()]);
    }
    table(&rows)
}

fn cells(row: &Row) -> Vec<Cell> {
    let mut cells: Vec<Cell> =
        [&row.zone, &row.zone_name, &row.crew, &row.crew_name].map(|text| Cell::from(text.as_str())).into();
    let counts = [
        row.raised,
        row.p1,
        row.told,
        row.acknowledged,
        row.arrived,
        row.arrived_in_time,
        row.arrived_unproven,
        row.breached,
        row.late_system,
        row.late_capacity,
        row.late_crew,
        row.late_unknown,
        row.closed,
        row.open,
        row.voided,
    ];
    cells.extend(counts.map(Cell::from));
    let times = [row.median_told_s, row.median_acknowledged_s, row.median_arrived_s, row.median_safe_s];
    cells.extend(times.map(Cell::from));
    cells
}
