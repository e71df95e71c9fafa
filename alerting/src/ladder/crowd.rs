//! Lists for people who would get too many messages (`policy.md` 5, Flood). Pure.
//!
//! Half of somebody's messages are his own: dangers, words, progress. The other half is for lists, so that he who had his own
//! at the start of a flood hears of the next danger at once. Behind words and progress a danger is still told by itself while
//! [`LISTS_KEPT`] are left for lists.
//!
//! Limits: [`WAITING_MAX`] incidents wait to be named to one person, the most dangerous ones; the rest is counted, by
//! road for [`ROADS_MAX`] roads. A list ends where its lines fill [`LINES_BYTES`]: what a small chat would cut off waits for the
//! next one. Words about what is no danger to him any more stand behind the dangers of a list and push
//! none out: [`ASIDE_LISTED`] in a list and at most [`ASIDE_BYTES`], or one; [`ASIDE_MAX`] wait, the newest. [`PEOPLE_MAX`] people have a box of their own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use lampguard_model::{Millis, Timestamp};

use crate::incident::{Incident, Kind, Severity};
use crate::life::is_over;
use crate::notice::{HANDOVER, LIST_BYTES};
use crate::policy::Flood;
use crate::rota::Person;

/// Messages that are kept for lists where words and progress came before the dangers.
const LISTS_KEPT: usize = 3;
/// Incidents that wait to be named to one person.
const WAITING_MAX: usize = 1000;
/// Words that wait behind the dangers for one person; the oldest go.
const ASIDE_MAX: usize = 100;
/// Words that stand in one list behind its dangers.
const ASIDE_LISTED: usize = 5;
/// Bytes of the lines of a list: what is told of it, without its head.
const LINES_BYTES: usize = LIST_BYTES - HEAD_BYTES;
/// The longest head of a list.
const HEAD_BYTES: usize = 100;
/// Of these for words behind the dangers, however many dangers wait.
const ASIDE_BYTES: usize = LINES_BYTES / 4;
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
    /// Event words that stand on the lines of `incidents`: what is to be said besides that it is a danger.
    pub words: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Those of `incidents` that call nobody: they stand behind the dangers.
    pub aside: Vec<Arc<str>>,
    /// Something of it may have been told before a restart.
    pub again: bool,
}

impl List {
    /// One shift hands it over to the next.
    pub(crate) fn is_handed(&self, id: &str) -> bool {
        self.words.get(id).is_some_and(|words| words.iter().any(|word| **word == *HANDOVER))
    }
}

/// What a list says of an incident.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wording<'s> {
    /// Its event word; none: that it is a danger.
    pub word: Option<&'s str>,
    /// It calls nobody: it stands behind the dangers.
    pub aside: bool,
    /// It may have been told before a restart.
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

/// What waits to be said of one incident.
#[derive(Debug)]
struct Line {
    named: bool,
    rank: u32,
    road: Arc<str>,
    aside: bool,
    /// It was over when this was said: that is the news.
    over: bool,
    /// Each once.
    words: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Inbox {
    person: Arc<Person>,
    /// Messages within the window, the oldest first.
    sent: VecDeque<Timestamp>,
    /// Those of them that were no lists.
    own: VecDeque<Timestamp>,
    /// Those of these that told of a danger.
    dangers: VecDeque<Timestamp>,
    listed_at: Option<Timestamp>,
    /// Not named to this person yet (false stands before true), and how dangerous.
    waiting: BTreeSet<(bool, Reverse<u32>, Arc<str>)>,
    /// What stands behind them, the oldest first.
    aside: VecDeque<Arc<str>>,
    /// The line of each that waits.
    lines: BTreeMap<Arc<str>, Line>,
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
            dangers: VecDeque::new(),
            listed_at: None,
            waiting: BTreeSet::new(),
            aside: VecDeque::new(),
            lines: BTreeMap::new(),
            named: BTreeMap::new(),
            beyond: 0,
            roads: BTreeMap::new(),
            number: 0,
            again: false,
        });
        inbox.person.clone_from(person);
        Some(inbox)
    }

    /// Somebody got a message of his own. `danger`: one that tells of a danger.
    pub fn sent(&mut self, person: &Arc<Person>, danger: bool, now: Timestamp, limits: &Limits) {
        if let Some(inbox) = self.inbox(person) {
            let dangers = Some(&mut inbox.dangers).filter(|_| danger);
            for kept in [&mut inbox.sent, &mut inbox.own].into_iter().chain(dangers) {
                kept.push_back(now);
                while kept.len() > limits.messages_max as usize {
                    kept.pop_front();
                }
            }
        }
    }

    /// Somebody got a message before a restart, of whatever kind: no more of them in the window for that.
    pub(crate) fn got(&mut self, person: &Arc<Person>, at: Timestamp, limits: &Limits) {
        if let Some(inbox) = self.inbox(person) {
            inbox.sent.push_back(at);
            while inbox.sent.len() > limits.messages_max as usize {
                inbox.sent.pop_front();
            }
        }
    }

    /// A message of his own, of a danger or not, still fits beside somebody's lists.
    pub fn fits(&self, person: &str, danger: bool, now: Timestamp, limits: &Limits) -> bool {
        let most = (limits.messages_max as usize).max(1);
        let half = (most / 2).max(1);
        let recent =
            |kept: &VecDeque<Timestamp>| kept.iter().filter(|at| is_recent(**at, now, limits.window)).count();
        let fits = |inbox: &Inbox| {
            let own_max = if danger { half.max(most.saturating_sub(LISTS_KEPT)) } else { half };
            let own = recent(&inbox.own) < own_max && recent(&inbox.sent) < most;
            own && (!danger || recent(&inbox.dangers) < half)
        };
        self.people.get(person).is_none_or(fits)
    }

    /// An incident goes into somebody's next list.
    pub fn add(&mut self, person: &Arc<Person>, incident: &Incident, wording: Wording<'_>) {
        let Some(inbox) = self.inbox(person) else { return };
        inbox.again |= wording.again;
        let (id, rank, over) = (incident.id.clone(), danger(incident), is_over(incident.life.state));
        // What has become a P1 since is news.
        let named = inbox.named.get(&id).is_some_and(|then| (*then >= P1) == (rank >= P1));
        let known = inbox.take(&id);
        // A danger that waits stays one, whatever else is said of it.
        let aside = over || (wording.aside && known.as_ref().is_none_or(|line| line.aside));
        let mut words = known.map(|line| line.words).unwrap_or_default();
        if let Some(word) = wording.word.filter(|word| !words.iter().any(|known| **known == **word)) {
            words.push(Arc::from(word));
        }
        inbox.put(id, Line { named, rank, road: incident.road.clone(), aside, over, words });
    }

    /// So many more, which are not named.
    pub fn more(&mut self, person: &Arc<Person>, count: usize) {
        if let Some(inbox) = self.inbox(person) {
            inbox.beyond += count;
        }
    }

    /// Lists that are due now. `open` says whether an incident still waits for somebody, `bytes` how long its line is with
    /// these words.
    pub fn due(
        &mut self,
        now: Timestamp,
        limits: &Limits,
        open: impl Fn(&str) -> bool,
        bytes: impl Fn(&str, &[Arc<str>]) -> usize,
    ) -> Vec<List> {
        let most = limits.messages_max.max(1) as usize;
        let apart = Millis(limits.window.0 / i64::from(limits.messages_max.max(1)));
        let mut lists = Vec::new();
        for inbox in self.people.values_mut().filter(|inbox| inbox.waits()) {
            inbox.sent.retain(|at| is_recent(*at, now, limits.window));
            let rests = inbox.listed_at.is_some_and(|at| is_recent(at, now, apart));
            if inbox.sent.len() >= most || rests {
                continue;
            }
            lists.extend(inbox.list(now, limits.listed_max as usize, &open, &bytes));
        }
        self.people.retain(|_, inbox| {
            let quiet = inbox.sent.back().is_none_or(|at| !is_recent(*at, now, limits.window));
            !quiet || inbox.waits()
        });
        lists
    }

    /// A danger waits for a list of that person.
    pub fn waits(&self, person: &str) -> bool {
        self.people.get(person).is_some_and(|inbox| !inbox.waiting.is_empty() || inbox.beyond > 0)
    }

    /// Somebody waits for a list.
    pub fn is_waiting(&self) -> bool {
        self.people.values().any(Inbox::waits)
    }
}

impl Inbox {
    fn waits(&self) -> bool {
        !self.lines.is_empty() || self.beyond > 0
    }

    fn put(&mut self, id: Arc<str>, line: Line) {
        if line.aside {
            self.aside.push_back(id.clone());
            self.lines.insert(id, line);
            if self.aside.len() > ASIDE_MAX
                && let Some(oldest) = self.aside.pop_front()
            {
                self.lines.remove(&oldest);
            }
            return;
        }
        self.waiting.insert((line.named, Reverse(line.rank), id.clone()));
        if self.roads.len() < ROADS_MAX || self.roads.contains_key(&line.road) {
            *self.roads.entry(line.road.clone()).or_insert(0) += 1;
        }
        self.lines.insert(id, line);
        if self.waiting.len() > WAITING_MAX
            && let Some((_, _, id)) = self.waiting.pop_last()
        {
            // It keeps its place in the count of its road.
            self.lines.remove(&id);
            self.beyond += 1;
        }
    }

    /// It waits no more.
    fn take(&mut self, id: &Arc<str>) -> Option<Line> {
        let line = self.lines.remove(id)?;
        if line.aside {
            self.aside.retain(|known| known != id);
        } else {
            self.waiting.remove(&(line.named, Reverse(line.rank), id.clone()));
            self.leave(&line.road);
        }
        Some(line)
    }

    fn leave(&mut self, road: &Arc<str>) {
        if let Some(count) = self.roads.get_mut(road) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.roads.remove(road);
            }
        }
    }

    /// The next to be named, unless nobody needs to hear of it any more.
    fn next(&mut self, id: &Arc<str>, open: &impl Fn(&str) -> bool) -> Option<Line> {
        let line = self.take(id).filter(|line| line.over || open(id))?;
        if self.named.len() >= WAITING_MAX {
            self.named.pop_first();
        }
        self.named.insert(id.clone(), line.rank);
        Some(line)
    }

    /// Takes out what is named next, at most so many lines in so many bytes, and one in any case.
    fn fill(
        &mut self,
        (at_most, room): (usize, usize),
        first: impl Fn(&Self) -> Option<Arc<str>>,
        open: &impl Fn(&str) -> bool,
        bytes: &impl Fn(&str, &[Arc<str>]) -> usize,
    ) -> (Vec<(Arc<str>, Line)>, usize) {
        let (mut lines, mut used) = (Vec::new(), 0);
        while let Some(id) = first(self).filter(|_| lines.len() < at_most) {
            let known = self.lines.get(&id).filter(|line| line.over || open(&id));
            let size = known.map_or(0, |line| bytes(&id, &line.words));
            if !lines.is_empty() && used + size > room {
                break;
            }
            if let Some(line) = self.next(&id, open) {
                used += size;
                lines.push((id, line));
            }
        }
        (lines, used)
    }

    fn list(
        &mut self,
        now: Timestamp,
        at_most: usize,
        open: &impl Fn(&str) -> bool,
        bytes: &impl Fn(&str, &[Arc<str>]) -> usize,
    ) -> Option<List> {
        let front = |inbox: &Self| inbox.aside.front().cloned();
        let (behind, used) = self.fill((ASIDE_LISTED, ASIDE_BYTES), front, open, bytes);
        let worst = |inbox: &Self| inbox.waiting.first().map(|(_, _, id)| id.clone());
        let room = LINES_BYTES.saturating_sub(used);
        let (dangers, _) = self.fill((at_most, room), worst, open, bytes);
        let aside = behind.iter().map(|(id, _)| id.clone()).collect();
        let (mut incidents, mut words) = (Vec::new(), BTreeMap::new());
        for (id, line) in dangers.into_iter().chain(behind) {
            if !line.words.is_empty() {
                words.insert(id.clone(), line.words);
            }
            incidents.push(id);
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
        let again = self.again;
        self.again &= self.waits();
        if incidents.is_empty() && more == 0 {
            return None;
        }
        self.number = self.number.wrapping_add(1);
        self.listed_at = Some(now);
        self.sent.push_back(now);
        let (person, number) = (self.person.clone(), self.number);
        Some(List { person, incidents, more, roads, number, words, aside, again })
    }
}
