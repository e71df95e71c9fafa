//! Who is on duty, and how people are reached. Pure: asked about a moment, it answers.
//!
//! ```text
//! overrides       the newest that fits                         changes.rs, kept in incidents.db
//! duty by date    the last that fits                           changes.rs, kept in incidents.db
//! weekly duty     the last line of the configuration that fits plan.rs
//! zone            its own crew, where no line plans the zone; its back-up crew and leader
//! ```
//! Crew, back-up and leader are looked for each by itself, from the top.

mod changes;
mod gaps;
mod plan;

pub use changes::{Changes, DUTY_MAX, OVERRIDES_MAX, Stretch};
pub use gaps::{Gap, Why};
pub use plan::{Calendar, Dates, Days, Duty, EVERY_ZONE, Shift, Weekly, When, time_of_day};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lampguard_model::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

/// Somebody who can be told. Within a configuration a name is one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Name, as people call each other; whom a notice names.
    pub name: Arc<str>,
    /// Telephone, as it is dialled; none for an address that is a channel of its own (a robot, a wall).
    pub phone: Option<Arc<str>>,
    /// Ids of the channels by which this person is reached, the surest first.
    pub channels: Vec<Arc<str>>,
}

/// Who goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crew {
    /// Id: what incidents, tokens and the rota name.
    pub id: Arc<str>,
    /// Name for people.
    pub name: String,
    /// What they drive.
    pub vehicle: Option<String>,
    /// The first is called first.
    pub members: Vec<Arc<Person>>,
}

/// Whom a step of a ladder tells (`design.md` 5, `[[escalation]]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// The crew of the incident, else the one on duty: its first member.
    Crew,
    /// The second member of that crew.
    Second,
    /// The back-up crew.
    BackupCrew,
    /// The leader of the zone.
    Leader,
    /// The crew of the neighbouring zone.
    Neighbour,
    /// The duty desk.
    Desk,
    /// The duty supervisor.
    Supervisor,
    /// The head of the office.
    Head,
}

impl Whom {
    /// All of them, in the order in which a ladder comes to them.
    pub const ALL: [Self; 8] = [
        Self::Crew,
        Self::Desk,
        Self::Leader,
        Self::Second,
        Self::BackupCrew,
        Self::Supervisor,
        Self::Neighbour,
        Self::Head,
    ];

    /// The word in configuration and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crew => "crew",
            Self::Second => "second",
            Self::BackupCrew => "backup_crew",
            Self::Leader => "leader",
            Self::Neighbour => "neighbour",
            Self::Desk => "desk",
            Self::Supervisor => "supervisor",
            Self::Head => "head",
        }
    }
}

/// How far ahead it is looked for who comes next.
const AHEAD: Millis = Millis::hours(14 * 24);

/// True when notices reach this person.
pub(crate) fn is_reachable(person: &Person) -> bool {
    !person.channels.is_empty()
}

/// Who is on duty for a zone at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnDuty {
    /// Shift; none where there is no plan of shifts and a zone's crew is always on duty.
    pub shift: Option<Arc<str>>,
    /// The crew; none is a gap.
    pub crew: Option<Arc<Crew>>,
    /// Who goes when the crew does not; never the crew itself.
    pub backup: Option<Arc<Crew>>,
    /// Further back-up crews, while an official warning is in force.
    pub reinforcement: Vec<Arc<Crew>>,
    /// Crew on duty in the neighbouring zone; never the crew itself.
    pub neighbour: Option<Arc<Crew>>,
    /// Leader of the zone.
    pub leader: Option<Arc<Person>>,
    /// Further leaders, while an official warning is in force.
    pub leaders: Vec<Arc<Person>>,
    /// When somebody else comes on duty in this zone; none: not within the next 14 days.
    pub until: Option<Timestamp>,
}

/// What stands in a `[[zone]]` about people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneDuty {
    /// Id of the crew that is on duty where no plan says otherwise.
    pub crew: Arc<str>,
    /// Id of the back-up crew, where no plan says otherwise.
    pub backup_crew: Option<Arc<str>>,
    /// Leader, where no plan says otherwise.
    pub leader: Option<Arc<Person>>,
    /// Id of the neighbouring zone.
    pub neighbour: Option<Arc<str>>,
}

/// Everybody who can be told, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rota {
    /// By id.
    pub crews: BTreeMap<Arc<str>, Arc<Crew>>,
    /// By id of the zone.
    pub zones: BTreeMap<Arc<str>, ZoneDuty>,
    /// Night-duty staff.
    pub desk: Option<Arc<Person>>,
    /// Duty supervisor.
    pub supervisor: Option<Arc<Person>>,
    /// Head of the office.
    pub head: Option<Arc<Person>>,
    /// Shifts, weekly duty, calendar.
    pub weekly: Weekly,
    /// What the office changed while it ran.
    pub changes: Changes,
    /// Zones (or every zone) in which an official warning is in force.
    pub warned: BTreeSet<Arc<str>>,
}

/// Who is on duty in a zone for some time, by id and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) shift: Option<Arc<str>>,
    pub(crate) crew: Option<Arc<str>>,
    backup: Option<Arc<str>>,
    leader: Option<Arc<Person>>,
}

/// A time in which nothing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) duty: Standing,
}

/// Something that says who is on duty from one moment to another. What is greater wins: the layer, then its place there,
/// then what begins later.
#[derive(Clone, Debug)]
struct Line<'r> {
    rank: (u8, usize, Timestamp),
    to: Timestamp,
    shift: Option<&'r Arc<str>>,
    crew: Option<&'r Arc<str>>,
    backup: Option<&'r Arc<str>>,
    leader: Option<&'r Arc<Person>>,
}

impl Rota {
    /// Who is on duty for `zone` at `at`. A zone that nobody knows has nobody.
    pub fn on_duty(&self, zone: &str, at: Timestamp) -> OnDuty {
        let mut spans = self.spans(zone, at, at + AHEAD).into_iter();
        let until = spans.next().and_then(|now| spans.find(|later| later.duty != now.duty));
        OnDuty { until: until.map(|span| span.from), ..self.on_duty_now(zone, at) }
    }

    /// Since when the crew that is on duty for `zone` at `at` is: its turn, not that of another time. At most 14 days ago.
    pub fn turn_began(&self, zone: &str, at: Timestamp) -> Timestamp {
        let spans = self.spans(zone, at - AHEAD, at + Millis(1));
        let crew = spans.last().and_then(|now| now.duty.crew.clone());
        let turn = spans.iter().rev().take_while(|span| span.duty.crew == crew).last();
        turn.map_or(at, |span| span.from)
    }

    /// The crews that `whom` means for `zone` at `at`; none where it means somebody else. `crew` is the crew that has the
    /// incident, if one has: it is nobody's back-up or neighbour, the crew on duty is then. Who is called, and as which
    /// crew, follows from here alone.
    pub fn crews_of(&self, whom: Whom, zone: &str, crew: Option<&str>, at: Timestamp) -> Vec<Arc<Crew>> {
        let duty = self.on_duty_now(zone, at);
        let own = crew.and_then(|id| self.crews.get(id)).or(duty.crew.as_ref());
        let is_other = |crew: &&Arc<Crew>| own.is_none_or(|own| own.id != crew.id);
        let is_reached = |crew: &&Arc<Crew>| crew.members.iter().any(|member| is_reachable(member));
        // Whoever has the incident is called as its crew; in their place the crew of the zone, where that is another one.
        let others = |crews: Vec<&Arc<Crew>>| -> Vec<Arc<Crew>> {
            let found: Vec<&Arc<Crew>> = crews.into_iter().filter(is_other).filter(is_reached).collect();
            let instead = duty.crew.as_ref().filter(|crew| found.is_empty() && is_other(crew));
            found.into_iter().chain(instead).cloned().collect()
        };
        match whom {
            Whom::Crew | Whom::Second => own.cloned().into_iter().collect(),
            Whom::BackupCrew => others(duty.backup.iter().chain(&duty.reinforcement).collect()),
            Whom::Neighbour => others(duty.neighbour.iter().collect()),
            Whom::Leader | Whom::Desk | Whom::Supervisor | Whom::Head => Vec::new(),
        }
    }

    /// The people that `whom` means for `zone` at `at`: of crews ([`Rota::crews_of`]) the first member, or the second. Members
    /// without a channel are passed over. Empty: nobody can be reached there, and the desk has to tell them.
    pub fn people(&self, whom: Whom, zone: &str, crew: Option<&str>, at: Timestamp) -> Vec<Arc<Person>> {
        let place = usize::from(whom == Whom::Second);
        let member =
            |crew: &Arc<Crew>| crew.members.iter().filter(|member| is_reachable(member)).nth(place).cloned();
        let mut found: Vec<Arc<Person>> = match whom {
            Whom::Crew | Whom::Second | Whom::BackupCrew | Whom::Neighbour => {
                self.crews_of(whom, zone, crew, at).iter().filter_map(member).collect()
            }
            Whom::Leader => {
                let duty = self.on_duty_now(zone, at);
                duty.leader.into_iter().chain(duty.leaders).collect()
            }
            Whom::Desk => self.desk.iter().cloned().collect(),
            Whom::Supervisor => self.supervisor.iter().cloned().collect(),
            Whom::Head => self.head.iter().cloned().collect(),
        };
        found.retain(|person| is_reachable(person));
        let mut names = BTreeSet::new();
        found.retain(|person| names.insert(person.name.clone()));
        found
    }

    /// An official warning is in force in `zone` (or every zone) from now on, or is over. True when that is new.
    pub fn set_warning(&mut self, zone: &str, in_force: bool) -> bool {
        if in_force { self.warned.insert(Arc::from(zone)) } else { self.warned.remove(zone) }
    }

    /// True while an official warning is in force in `zone`.
    pub fn is_warned(&self, zone: &str) -> bool {
        self.warned.contains(zone) || self.warned.contains(EVERY_ZONE)
    }

    /// True when the configuration names somebody. Else everything is told to the desk by every channel.
    pub fn names_people(&self) -> bool {
        self.persons().next().is_some()
    }

    /// Somebody by name.
    pub fn person(&self, name: &str) -> Option<&Arc<Person>> {
        self.persons().find(|person| *person.name == *name)
    }

    fn persons(&self) -> impl Iterator<Item = &Arc<Person>> {
        let members = self.crews.values().flat_map(|crew| &crew.members);
        let leaders = self.zones.values().filter_map(|zone| zone.leader.as_ref());
        let on_lines = self.weekly.duty.iter().filter_map(|duty| duty.leader.as_ref());
        let city = [&self.desk, &self.supervisor, &self.head].into_iter().flatten();
        members.chain(leaders).chain(on_lines).chain(city)
    }

    /// Who would come as further back-up at `at` if a warning were in force: crews and leaders who are not on duty
    /// there anyway.
    pub fn reinforcement(&self, zone: &str, at: Timestamp) -> (Vec<Arc<Crew>>, Vec<Arc<Person>>) {
        self.comes(zone, at, &self.standing(zone, at))
    }

    fn comes(&self, zone: &str, at: Timestamp, standing: &Standing) -> (Vec<Arc<Crew>>, Vec<Arc<Person>>) {
        let turns = self.weekly.turns(zone, at, at + Millis(1));
        let (mut crews, mut leaders) = (Vec::new(), Vec::new());
        for duty in turns.iter().map(|turn| turn.duty).filter(|duty| duty.when == When::Warning) {
            let named = duty.crew.iter().chain(&duty.backup_crew);
            let others = named
                .filter(|id| Some(*id) != standing.crew.as_ref() && Some(*id) != standing.backup.as_ref());
            for crew in others.filter_map(|id| self.crews.get(id)) {
                if !crews.contains(crew) {
                    crews.push(crew.clone());
                }
            }
            let leader = duty.leader.as_ref().filter(|leader| Some(*leader) != standing.leader.as_ref());
            if let Some(leader) = leader.filter(|leader| !leaders.contains(*leader)) {
                leaders.push(leader.clone());
            }
        }
        (crews, leaders)
    }

    /// [`Rota::on_duty`] without looking ahead.
    pub fn on_duty_now(&self, zone: &str, at: Timestamp) -> OnDuty {
        let Some(own) = self.zones.get(zone) else { return OnDuty::default() };
        let standing = self.standing(zone, at);
        let crew = |id: Option<&Arc<str>>| id.and_then(|id| self.crews.get(id)).cloned();
        let neighbour = own.neighbour.as_ref().and_then(|zone| self.standing(zone, at).crew);
        let (reinforcement, leaders) =
            if self.is_warned(zone) { self.comes(zone, at, &standing) } else { Default::default() };
        OnDuty {
            crew: crew(standing.crew.as_ref()),
            backup: crew(standing.backup.as_ref()),
            neighbour: crew(neighbour.filter(|crew| Some(crew) != standing.crew.as_ref()).as_ref()),
            leader: standing.leader,
            shift: standing.shift,
            reinforcement,
            leaders,
            until: None,
        }
    }

    fn standing(&self, zone: &str, at: Timestamp) -> Standing {
        self.settle(zone, &self.lines(zone, at, at + Millis(1)).iter().collect::<Vec<_>>())
    }

    /// Everything that says something about `zone` in `from..to`.
    fn lines(&self, zone: &str, from: Timestamp, to: Timestamp) -> Vec<Line<'_>> {
        let turns = self.weekly.turns(zone, from, to);
        let of_turn = |turn: plan::Turn<'_>| {
            let duty = &self.weekly.duty[turn.place];
            (duty.when == When::Always).then(|| Line {
                rank: (0, turn.place, turn.from),
                to: turn.to,
                shift: duty.shift.and_then(|place| self.weekly.shifts.get(place)).map(|shift| &shift.id),
                crew: self.known(duty.crew.as_ref()),
                backup: self.known(duty.backup_crew.as_ref()),
                leader: duty.leader.as_ref(),
            })
        };
        let mut lines: Vec<Line<'_>> = turns.into_iter().filter_map(of_turn).collect();
        for (layer, list) in [(1, &self.changes.duty), (2, &self.changes.overrides)] {
            let here = list.iter().enumerate().filter(|(_, stretch)| stretch.touches(zone, from, to));
            // What the configuration does not know any more says nothing.
            lines.extend(here.map(|(place, stretch)| Line {
                rank: (layer, place, stretch.from),
                to: stretch.to,
                shift: None,
                crew: self.known(stretch.crew.as_ref()),
                backup: self.known(stretch.backup_crew.as_ref()),
                leader: stretch.leader.as_ref().and_then(|name| self.person(name)),
            }));
        }
        lines
    }

    fn known<'r>(&'r self, crew: Option<&'r Arc<str>>) -> Option<&'r Arc<str>> {
        crew.filter(|id| self.crews.contains_key(*id))
    }

    /// Who is on duty by these lines, which all hold at once.
    fn settle(&self, zone: &str, lines: &[&Line<'_>]) -> Standing {
        let greatest = |says: &dyn Fn(&Line<'_>) -> bool| {
            lines.iter().filter(|line| says(line)).max_by_key(|line| line.rank)
        };
        let Some(own) = self.zones.get(zone) else { return Standing::default() };
        let always = (!self.weekly.plans(zone)).then_some(&own.crew);
        let crew = greatest(&|line| line.crew.is_some()).and_then(|line| line.crew).or(always);
        let backup = greatest(&|line| line.backup.is_some()).and_then(|line| line.backup);
        let leader = greatest(&|line| line.leader.is_some()).and_then(|line| line.leader);
        let shift = greatest(&|line| line.shift.is_some()).and_then(|line| line.shift);
        Standing {
            shift: shift.cloned(),
            crew: self.known(crew).cloned(),
            backup: backup.or(own.backup_crew.as_ref()).filter(|backup| Some(*backup) != crew).cloned(),
            leader: leader.or(own.leader.as_ref()).cloned(),
        }
    }

    /// `from..to` in pieces in which nothing changes, without holes.
    pub(crate) fn spans(&self, zone: &str, from: Timestamp, to: Timestamp) -> Vec<Span> {
        let lines = self.lines(zone, from, to);
        let mut borders: BTreeSet<Timestamp> = BTreeSet::from([from, to]);
        for line in &lines {
            borders.extend([line.rank.2, line.to].into_iter().filter(|at| (from..to).contains(at)));
        }
        // By beginning, so that each border only looks at what holds there.
        let mut coming: Vec<&Line<'_>> = lines.iter().collect();
        coming.sort_by_key(|line| line.rank.2);
        let (mut coming, mut holding) = (coming.into_iter().peekable(), Vec::<&Line<'_>>::new());
        let borders: Vec<Timestamp> = borders.into_iter().collect();
        let mut spans: Vec<Span> = Vec::new();
        for ends in borders.windows(2) {
            let (from, to) = (ends[0], ends[1]);
            holding.retain(|line| line.to > from);
            while let Some(line) = coming.next_if(|line| line.rank.2 <= from) {
                holding.extend((line.to > from).then_some(line));
            }
            let duty = self.settle(zone, &holding);
            match spans.last_mut() {
                Some(last) if last.duty == duty => last.to = to,
                _ => spans.push(Span { from, to, duty }),
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests;
