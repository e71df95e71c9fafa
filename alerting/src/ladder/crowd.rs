//! Lists for people who would get too many messages (`policy.md` 5, Flood). Pure.
//!
//! Limits: [`WAITING_MAX`] incidents wait to be named to one person, the most dangerous ones; the rest is counted, by
//! road for [`ROADS_MAX`] roads. [`PEOPLE_MAX`] people have a box of their own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use lampguard_model::{Millis, Timestamp};

use crate::incident::{Incident, Kind, Severity};
use crate::policy::Flood;
use crate::rota::Person;

/// Incidents that wait to be named to one person.
const WAITING_MAX: usize = 1000;
/// Roads that are counted for one person; the others are in the sum alone.
const ROADS_MAX: usize = 200;
/// Roads that a list names.
const ROADS_NAMED: usize = 5;
/// People with a box.
const PEOPLE_MAX: usize = 10_000;

/// Every P1 is at least as dangerous, and nothing else is.
const P1: u32 = 2_000_000;

/// The numbers of a flood.
pub type Limits = Flood;

/// What one message lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Whom it goes to.
    pub person: Arc<Person>,
    /// Incidents, the most dangerous first.
    pub incidents: Vec<Arc<str>>,
    /// How many more there are.
    pub more: usize,
    /// Where those are: road and how many, the worst first.
    pub roads: Vec<(Arc<str>, u32)>,
    /// Number of the list for that person: part of its id.
    pub number: u32,
    /// Those of `incidents` that one shift hands over to the next.
    pub handovers: Vec<Arc<str>>,
    /// Something of it may have been told before a restart.
    pub again: bool,
}

/// How dangerous an incident is beside others: greater is worse.
pub fn danger(incident: &Incident) -> u32 {
    let severity = if incident.severity == Severity::P1 { P1 } else { 0 };
    let evidence = &incident.evidence;
    let kind = match evidence.kind {
        Kind::Reenergised => 900_000,
        // People are there, or stand in the same water.
        Kind::Reported => 800_000,
        Kind::ImmersedLeak => 700_000,
        Kind::ShellCritical | Kind::NeutralBreak => 600_000,
        Kind::SatLeak => 500_000,
        Kind::LeakCritical => 400_000,
        Kind::SensorDrowned | Kind::CriticalThenSilent | Kind::FlagOnly => 300_000,
        Kind::FeederStep | Kind::Column | Kind::ShellWarning => 200_000,
        _ => 0,
    };
    // Tenths of the limit, so that 115 V stands before 13 V.
    let over =
        evidence.thousandths.filter(|_| evidence.limit > 0).map_or(0, |value| value * 10 / evidence.limit);
    severity + kind + u32::try_from(over.clamp(0, 99_999)).unwrap_or(0)
}

/// Within the window; a clock that goes back a little makes nothing less recent.
fn is_recent(at: Timestamp, now: Timestamp, window: Millis) -> bool {
    (Millis::minutes(-1)..window).contains(&now.since(at))
}

#[derive(Debug)]
struct Inbox {
    person: Arc<Person>,
    /// Messages within the window, the oldest first.
    sent: VecDeque<Timestamp>,
    /// Those of them that told of a danger and were no lists.
    own: VecDeque<Timestamp>,
    listed_at: Option<Timestamp>,
    /// Not named to this person yet (false stands before true), and how dangerous.
    waiting: BTreeSet<(bool, Reverse<u32>, Arc<str>)>,
    ids: BTreeMap<Arc<str>, (bool, u32, Arc<str>)>,
    /// Those that one shift hands over to the next.
    handovers: BTreeSet<Arc<str>>,
    /// Named before, and how dangerous it was then, so that the same is not named again and again before others.
    named: BTreeMap<Arc<str>, u32>,
    /// Beyond those that wait.
    beyond: usize,
    roads: BTreeMap<Arc<str>, u32>,
    number: u32,
    /// Something that waits may have been told before a restart.
    again: bool,
}

/// Who got how much, and who waits for a list.
#[derive(Debug, Default)]
pub struct Crowd {
    people: BTreeMap<Arc<str>, Inbox>,
}

impl Crowd {
    fn inbox(&mut self, person: &Arc<Person>) -> Option<&mut Inbox> {
        if self.people.len() >= PEOPLE_MAX && !self.people.contains_key(&person.name) {
            return None;
        }
        let inbox = self.people.entry(person.name.clone()).or_insert_with(|| Inbox {
            person: person.clone(),
            sent: VecDeque::new(),
            own: VecDeque::new(),
            listed_at: None,
            waiting: BTreeSet::new(),
            ids: BTreeMap::new(),
            handovers: BTreeSet::new(),
            named: BTreeMap::new(),
            beyond: 0,
            roads: BTreeMap::new(),
            number: 0,
            again: false,
        });
        inbox.person.clone_from(person);
        Some(inbox)
    }

    /// Somebody got a message of his own. `calls`: one that tells of a danger.
    pub fn sent(&mut self, person: &Arc<Person>, calls: bool, now: Timestamp, limits: &Limits) {
        if let Some(inbox) = self.inbox(person) {
            for kept in [Some(&mut inbox.sent), Some(&mut inbox.own).filter(|_| calls)].into_iter().flatten()
            {
                kept.push_back(now);
                while kept.len() > limits.messages_max as usize {
                    kept.pop_front();
                }
            }
        }
    }

    /// The next danger goes into somebody's list: one waits for him, or half of his messages were his own. The other
    /// half is for lists, or who had ten at the start of a flood would hear nothing of it for ten minutes.
    pub fn is_listed(&self, person: &str, now: Timestamp, limits: &Limits) -> bool {
        let half = (limits.messages_max as usize / 2).max(1);
        self.people.get(person).is_some_and(|inbox| {
            let own = inbox.own.iter().filter(|at| is_recent(**at, now, limits.window)).count();
            inbox.waits() || own >= half
        })
    }

    /// An incident goes into somebody's next list.
    pub fn add(&mut self, person: &Arc<Person>, incident: &Incident) {
        self.put(person, incident, false);
    }

    /// The same; `handover`: because the shift changes.
    pub fn put(&mut self, person: &Arc<Person>, incident: &Incident, handover: bool) {
        let Some(inbox) = self.inbox(person) else { return };
        let (id, rank) = (incident.id.clone(), danger(incident));
        // What has become a P1 since is news.
        let named = inbox.named.get(&id).is_some_and(|then| (*then >= P1) == (rank >= P1));
        if let Some((named, rank, road)) = inbox.ids.remove(&id) {
            inbox.waiting.remove(&(named, Reverse(rank), id.clone()));
            inbox.leave(&road);
        }
        inbox.waiting.insert((named, Reverse(rank), id.clone()));
        if handover {
            inbox.handovers.insert(id.clone());
        }
        inbox.ids.insert(id, (named, rank, incident.road.clone()));
        if inbox.roads.len() < ROADS_MAX || inbox.roads.contains_key(&incident.road) {
            *inbox.roads.entry(incident.road.clone()).or_insert(0) += 1;
        }
        if inbox.waiting.len() > WAITING_MAX
            && let Some((_, _, id)) = inbox.waiting.pop_last()
        {
            // It keeps its place in the count of its road.
            inbox.ids.remove(&id);
            inbox.handovers.remove(&id);
            inbox.beyond += 1;
        }
    }

    /// What waits for somebody may have been told before a restart.
    pub fn again(&mut self, person: &Arc<Person>) {
        if let Some(inbox) = self.inbox(person) {
            inbox.again = true;
        }
    }

    /// So many more, which are not named.
    pub fn more(&mut self, person: &Arc<Person>, count: usize) {
        if let Some(inbox) = self.inbox(person) {
            inbox.beyond += count;
        }
    }

    /// Lists that are due now. `open` says whether an incident still waits for somebody.
    pub fn due(&mut self, now: Timestamp, limits: &Limits, open: impl Fn(&str) -> bool) -> Vec<List> {
        let most = limits.messages_max.max(1) as usize;
        let apart = Millis(limits.window.0 / i64::from(limits.messages_max.max(1)));
        let mut lists = Vec::new();
        for inbox in self.people.values_mut().filter(|inbox| inbox.waits()) {
            inbox.sent.retain(|at| is_recent(*at, now, limits.window));
            let rests = inbox.listed_at.is_some_and(|at| is_recent(at, now, apart));
            if inbox.sent.len() >= most || rests {
                continue;
            }
            lists.extend(inbox.list(now, limits.listed_max as usize, &open));
        }
        self.people.retain(|_, inbox| {
            let quiet = inbox.sent.back().is_none_or(|at| !is_recent(*at, now, limits.window));
            !quiet || inbox.waits()
        });
        lists
    }

    /// That person waits for a list.
    pub fn waits(&self, person: &str) -> bool {
        self.people.get(person).is_some_and(Inbox::waits)
    }

    /// Somebody waits for a list.
    pub fn is_waiting(&self) -> bool {
        self.people.values().any(Inbox::waits)
    }
}

impl Inbox {
    fn waits(&self) -> bool {
        !self.waiting.is_empty() || self.beyond > 0
    }

    fn leave(&mut self, road: &Arc<str>) {
        if let Some(count) = self.roads.get_mut(road) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.roads.remove(road);
            }
        }
    }

    fn list(&mut self, now: Timestamp, at_most: usize, open: &impl Fn(&str) -> bool) -> Option<List> {
        let (mut incidents, mut handovers) = (Vec::new(), Vec::new());
        while incidents.len() < at_most {
            let Some((_, Reverse(rank), id)) = self.waiting.pop_first() else { break };
            if let Some((_, _, road)) = self.ids.remove(&id) {
                self.leave(&road);
            }
            let handover = self.handovers.remove(&id);
            if open(&id) {
                handovers.extend(handover.then(|| id.clone()));
                if self.named.len() >= WAITING_MAX {
                    self.named.pop_first();
                }
                self.named.insert(id.clone(), rank);
                incidents.push(id);
            }
        }
        let more = self.waiting.len() + self.beyond;
        let mut roads: Vec<(Arc<str>, u32)> = self.roads.iter().map(|(road, n)| (road.clone(), *n)).collect();
        roads.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        roads.truncate(ROADS_NAMED);
        // What is beyond was counted once; what still waits is counted in the next list.
        if self.waiting.is_empty() {
            self.beyond = 0;
            self.roads.clear();
        }
        if incidents.is_empty() && more == 0 {
            return None;
        }
        let again = self.again;
        self.again &= !self.waiting.is_empty();
        self.number = self.number.wrapping_add(1);
        self.listed_at = Some(now);
        self.sent.push_back(now);
        let (person, number) = (self.person.clone(), self.number);
        Some(List { person, incidents, more, roads, number, handovers, again })
    }
}
