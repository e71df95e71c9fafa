//! What the duty pages ask: open incidents in the order of danger, counted, put together by road; one incident
//! with everything that belongs to it; who was told.
//!
//! With 100,000 open incidents the board is locked for one pass over them, and only those of the page are copied:
//! alarms wait for the same lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;
use lampguard_model::{Millis, Register, Timestamp};

use crate::board::Board;
use crate::incident::{EventView, Family, Incident, Kind, Severity};
use crate::life::takes_evidence;
use crate::run::{Alerting, lock};
use crate::store::{NoticeView, Reads, StoreError};
use crate::wet::Because;

/// Which open incidents the desk looks at.
#[derive(Clone, Debug, Default)]
pub struct DeskFilter {
    /// Only this zone; the empty one is that of the system.
    pub zone: Option<String>,
    /// Only this road.
    pub road: Option<String>,
    /// Only this severity.
    pub severity: Option<Severity>,
    /// Those that an officer hid, instead of the others.
    pub shelved: bool,
    /// So many are stepped over.
    pub skip: usize,
    /// At most so many are copied.
    pub limit: usize,
}

/// A P1 that nobody was told of for so long stands on the board in red; younger ones are on their way.
const UNTOLD_AFTER: Millis = Millis::minutes(1);

/// Open incidents by severity. Drills count nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// P1 to P4.
    pub by: [usize; 4],
    /// The deadline is over and nobody is there.
    pub breached: usize,
    /// P1s of which no message was accepted for `UNTOLD_AFTER` and longer.
    pub untold: usize,
}

impl Counts {
    /// P1s.
    pub fn p1(&self) -> usize {
        self.by[0]
    }

    /// P2s.
    pub fn p2(&self) -> usize {
        self.by[1]
    }

    /// All.
    pub fn all(&self) -> usize {
        self.by.iter().sum()
    }
}

/// The incidents of one road.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoadCount {
    /// Zone.
    pub zone: Arc<str>,
    /// Road; empty where there is none.
    pub road: Arc<str>,
    /// How many.
    pub counts: Counts,
    /// The earliest deadline that nobody has met yet.
    pub due_at: Option<Timestamp>,
}

/// What the board shows.
#[derive(Clone, Debug, Default)]
pub struct DeskPage {
    /// The incidents of the page: gravest first; of the same severity those that nobody has made safe; then by deadline.
    pub items: Vec<Incident>,
    /// How many the filter leaves.
    pub found: usize,
    /// How many are hidden by an officer.
    pub shelved: usize,
    /// Drills that are open.
    pub drills: usize,
    /// By zone, before the filter.
    pub zones: BTreeMap<Arc<str>, Counts>,
    /// By zone and road, of what the filter leaves; those with most P1s first.
    pub roads: Vec<RoadCount>,
    /// Zones without data, with the cause as far as it is known.
    pub blind: BTreeMap<Arc<str>, Vec<String>>,
}

/// One incident with what belongs to it.
#[derive(Clone, Debug)]
pub struct Case {
    /// As it is now.
    pub incident: Incident,
    /// Its life, oldest first.
    pub timeline: Vec<EventView>,
    /// Tellings, oldest first; none when the store cannot be read.
    pub notices: Option<Vec<NoticeView>>,
}

/// How far an incident was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Telling {
    /// When the first notice was accepted by a channel.
    pub first_at: Option<Timestamp>,
    /// Accepted notices.
    pub sent: u32,
    /// Notices that wait for their next attempt.
    pub queued: u32,
    /// Notices that were given up.
    pub failed: u32,
}

/// Where an incident stands in the list: the least is shown first.
type Place = (std::cmp::Reverse<Severity>, bool, bool, i64);

/// Voltage where a crew believes that there is none comes before all else of its severity.
fn place(incident: &Incident) -> Place {
    let (handled, other) = (!takes_evidence(incident.life.state), incident.family != Family::Reenergised);
    (std::cmp::Reverse(incident.severity), handled, other, incident.due_at.0)
}

fn column(severity: Severity) -> usize {
    match severity {
        Severity::P1 => 0,
        Severity::P2 => 1,
        Severity::P3 => 2,
        Severity::P4 => 3,
    }
}

/// One pass over the board.
struct Pass<'f> {
    filter: &'f DeskFilter,
    register: &'f Register,
    now: Timestamp,
    page: DeskPage,
    roads: HashMap<(Arc<str>, Arc<str>), RoadCount, RandomState>,
    places: Vec<(Place, Arc<str>)>,
}

impl Pass<'_> {
    fn count(&self, counts: &mut Counts, incident: &Incident) {
        if incident.life.drill {
            return;
        }
        counts.by[column(incident.severity)] += 1;
        counts.breached +=
            usize::from(incident.due().is_some_and(|due| incident.life.is_breached(due, self.now)));
        let waits = incident.severity == Severity::P1 && incident.life.told_at.is_none();
        let since = incident.p1_at.unwrap_or(incident.opened_at);
        counts.untold += usize::from(waits && self.now.since(since) >= UNTOLD_AFTER);
    }

    /// In a zone stands also what the topic of an unregistered device hints at: its crew is told.
    fn is_in(&self, incident: &Incident, zone: &str) -> bool {
        *incident.zone == *zone || **incident.zone_in(self.register) == *zone
    }

    fn look_at(&mut self, incident: &Incident) {
        let shelved = incident.life.is_shelved(self.now);
        let mut of_zone = self.page.zones.get(&incident.zone).copied().unwrap_or_default();
        self.count(&mut of_zone, incident);
        self.page.zones.insert(incident.zone.clone(), of_zone);
        self.page.shelved += usize::from(shelved);
        self.page.drills += usize::from(incident.life.drill);
        if incident.kinds.contains(&Kind::Blind) && !incident.life.drill {
            self.page.blind.entry(incident.zone.clone()).or_default().extend(incident.notes.iter().cloned());
        }
        let filter = self.filter;
        let wanted = shelved == filter.shelved
            && filter.zone.as_ref().is_none_or(|zone| self.is_in(incident, zone))
            && filter.road.as_ref().is_none_or(|road| **road == *incident.road)
            && filter.severity.is_none_or(|severity| severity == incident.severity);
        if !wanted {
            return;
        }
        let of = (incident.zone.clone(), incident.road.clone());
        let mut road = self.roads.remove(&of).unwrap_or_else(|| RoadCount {
            zone: of.0.clone(),
            road: of.1.clone(),
            counts: Counts::default(),
            due_at: None,
        });
        self.count(&mut road.counts, incident);
        if let Some(due) = incident.due().filter(|_| incident.life.arrived.is_none()) {
            road.due_at = Some(road.due_at.map_or(due, |known| known.min(due)));
        }
        self.roads.insert(of, road);
        self.places.push((place(incident), incident.id.clone()));
    }
}

fn page_of(board: &RwLock<Board>, register: &Register, filter: &DeskFilter, now: Timestamp) -> DeskPage {
    let page = DeskPage::default();
    let mut pass = Pass { filter, register, now, page, roads: HashMap::default(), places: Vec::new() };
    let read = || board.read().unwrap_or_else(PoisonError::into_inner);
    read().from((i64::MIN, "")).for_each(|incident| pass.look_at(incident));
    let Pass { mut page, roads, mut places, .. } = pass;
    page.found = places.len();
    let end = filter.skip.saturating_add(filter.limit).min(places.len());
    if end < places.len() {
        places.select_nth_unstable(end);
    }
    places.truncate(end);
    places.sort_unstable();
    page.roads = roads.into_values().collect();
    page.roads.sort_by(|a, b| {
        let key = |road: &RoadCount| (std::cmp::Reverse(road.counts.by), road.due_at, road.zone.clone());
        key(a).cmp(&key(b)).then_with(|| a.road.cmp(&b.road))
    });
    let board = read();
    // One that ended in between is still known, and says so itself.
    let shown = places.iter().skip(filter.skip).filter_map(|(_, id)| Some(board.get(id)?.0));
    page.items = shown.collect();
    page
}

impl Alerting {
    /// The open incidents as the desk looks at them.
    pub fn desk(&self, filter: &DeskFilter) -> DeskPage {
        // One lock after the other: the alerting thread writes the board while it holds the engine.
        let register = lock(&self.engine).register().clone();
        page_of(&self.board, &register, filter, (self.clock)())
    }

    /// One incident, over or not, with its timeline and its notices (the newest `notices_max`).
    ///
    /// # Errors
    /// [`StoreError`] when it is not in memory and the store cannot be read.
    pub fn case(&self, id: &str, notices_max: usize) -> Result<Option<Case>, StoreError> {
        let conn = lock(&self.reads);
        let reads = Reads::new(&conn);
        let found = self.with_timeline(&reads, id)?;
        let notices = || reads.notices_of(id, notices_max).ok();
        Ok(found.map(|(incident, timeline)| Case { incident, timeline, notices: notices() }))
    }

    /// How far each of some incidents was told, in their order; `None` when the store cannot be read.
    pub fn tellings<'i>(&self, ids: impl Iterator<Item = &'i str>) -> Option<Vec<Telling>> {
        let conn = lock(&self.reads);
        let reads = Reads::new(&conn);
        ids.map(|id| reads.telling(id).ok()).collect()
    }

    /// The newest events of one kind out of the hash chain, newest first: when, and what they say.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn events_of_kind(
        &self,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(Timestamp, serde_json::Value)>, StoreError> {
        Reads::new(&lock(&self.reads)).events_of_kind(kind, limit)
    }

    /// Why it is wet in a zone, away from low-lying posts; `None` when it is dry.
    pub fn wet_because(&self, zone: &str) -> Option<Because> {
        lock(&self.engine).sky().because(zone, (self.clock)(), false)
    }
}

/// Kinds in which current may be where people are: the words of safety stand on them.
pub fn is_about_current(incident: &Incident) -> bool {
    use Family::{Electric, FeederLeak, Neutral, Reenergised};
    matches!(incident.family, Electric | Reenergised | Neutral | FeederLeak)
        || incident.kinds.iter().any(|kind| matches!(kind, Kind::FeederDark | Kind::Blind | Kind::Column))
        || incident.life.told.is_some()
}

#[cfg(test)]
mod tests {
    use lampguard_model::UNREGISTERED;

    use super::*;
    use crate::life::{Life, Stage};
    use crate::testkit::{T, incident as raised};

    fn board(incidents: impl IntoIterator<Item = Incident>) -> RwLock<Board> {
        let mut board = Board::default();
        incidents.into_iter().for_each(|incident| board.put(incident, None));
        RwLock::new(board)
    }

    fn one(id: &str, severity: Severity, minutes: i64, state: Stage) -> Incident {
        Incident {
            id: Arc::from(id),
            severity,
            due_at: T + Millis::minutes(minutes),
            life: Life { state, ..Life::default() },
            ..raised(0)
        }
    }

    fn shown(board: &RwLock<Board>, filter: &DeskFilter, now: Timestamp) -> DeskPage {
        page_of(board, &Register::default(), filter, now)
    }

    fn ids(page: &DeskPage) -> Vec<&str> {
        page.items.iter().map(|incident| &*incident.id).collect()
    }

    #[test]
    fn page_w6_danger_comes_first_then_what_nobody_made_safe_then_time_left() {
        let board = board([
            one("p2-soon", Severity::P2, 5, Stage::Open),
            one("p1-late", Severity::P1, 25, Stage::Open),
            one("p1-soon", Severity::P1, 10, Stage::Departed),
            one("p1-safe", Severity::P1, 1, Stage::MadeSafe),
            one("p1-over", Severity::P1, -5, Stage::Arrived),
            Incident { family: Family::Reenergised, ..one("live-again", Severity::P1, 29, Stage::Open) },
        ]);
        let filter = DeskFilter { limit: 10, ..DeskFilter::default() };
        let page = shown(&board, &filter, T);
        assert_eq!(ids(&page), ["live-again", "p1-over", "p1-soon", "p1-late", "p1-safe", "p2-soon"]);
        let page = shown(&board, &DeskFilter { skip: 2, limit: 2, ..filter.clone() }, T);
        assert_eq!((ids(&page), page.found), (vec!["p1-soon", "p1-late"], 6));
        let page = shown(&board, &DeskFilter { severity: Some(Severity::P2), ..filter.clone() }, T);
        assert_eq!((ids(&page), page.found), (vec!["p2-soon"], 1));
        assert_eq!(
            page.zones.values().map(Counts::all).sum::<usize>(),
            6,
            "zones count what the filter hides"
        );
        assert_eq!(shown(&board, &DeskFilter { skip: 999, ..filter }, T).items.len(), 0);
    }

    #[test]
    fn a_stranger_stands_in_its_own_zone_and_in_the_one_that_its_topic_names() {
        let mut stranger =
            Incident { zone: Arc::from(UNREGISTERED), ..one("s", Severity::P1, 5, Stage::Open) };
        stranger.life.hint = Some(Arc::from("z1"));
        let (board, register) = (board([stranger]), crate::engine::tests::register());
        for (zone, found) in [("z1", 1), (UNREGISTERED, 1), ("z2", 0)] {
            let filter = DeskFilter { zone: Some(zone.to_owned()), limit: 10, ..DeskFilter::default() };
            assert_eq!(page_of(&board, &register, &filter, T).found, found, "{zone}");
        }
    }

    #[test]
    fn a_p1_that_nobody_was_told_of_for_a_minute_is_counted_for_the_board() {
        let old = |id| Incident {
            opened_at: T - UNTOLD_AFTER,
            p1_at: None,
            ..one(id, Severity::P1, 5, Stage::Open)
        };
        let mut told = old("told");
        told.life.told_at = Some(T);
        let young = Incident { opened_at: T, p1_at: None, ..old("young") };
        let later = Incident { p1_at: Some(T), ..old("a P2 until now") };
        let page = shown(&board([old("red"), told, young, later]), &DeskFilter::default(), T);
        assert_eq!(page.zones.values().map(|zone| zone.untold).sum::<usize>(), 1);
    }

    #[test]
    fn drills_count_nowhere_and_are_shown() {
        let mut drill = one("drill", Severity::P1, 5, Stage::Open);
        drill.life.drill = true;
        let page = shown(&board([drill]), &DeskFilter { limit: 10, ..DeskFilter::default() }, T);
        assert_eq!((page.items.len(), page.drills), (1, 1));
        assert_eq!(page.zones.values().map(Counts::all).sum::<usize>(), 0);
    }

    #[test]
    fn a_hundred_thousand_open_incidents_give_a_page_of_two_hundred() {
        let many = (0..100_000).map(|n| {
            let severity = if n % 10 == 0 { Severity::P1 } else { Severity::P2 };
            let mut incident = one(&format!("LG-{n:06}"), severity, n % 97, Stage::Open);
            incident.road = Arc::from(format!("road {}", n % 300));
            incident
        });
        let board = board(many);
        let page = shown(&board, &DeskFilter { limit: 200, ..DeskFilter::default() }, T);
        assert_eq!((page.items.len(), page.found, page.roads.len()), (200, 100_000, 300));
        assert!(page.items.iter().all(|incident| incident.severity == Severity::P1));
        assert!(page.items.windows(2).all(|pair| pair[0].due_at <= pair[1].due_at));
    }
}
