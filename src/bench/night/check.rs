//! What has to hold of a night (`policy.md` 5). The table of the ladder stands here a second time, row by row as the rules
//! have it, so that the ladder is not judged by itself.

use std::collections::{BTreeMap, HashSet};

use lampguard_alerting::life::Stage;
use lampguard_alerting::notice::{BREACHED, ESCALATED, OPENED};
use lampguard_alerting::{Family, Incident, Severity, Whom};
use lampguard_model::{Millis, Timestamp};

use super::check_duty;
use super::log::{Counted, History, Rungs};
use super::office::{CHAT, SMS, VOICE};
use super::world::Night;

/// A running instance looks once a second.
pub(super) const TICK: Millis = Millis::seconds(1);
/// Messages a person gets in ten minutes of a flood, at most.
const MESSAGES_MAX: usize = 10;
const WINDOW: Millis = Millis::minutes(10);
/// Everybody who is to hear of a P1 of a flood has it in a list by then.
const LISTED_WITHIN: Millis = Millis::minutes(25);
/// Faults that are named; the rest is a count.
pub(super) const NAMED_MAX: usize = 20;

/// From what a rung counts, and what makes it needless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Opened,
    Acknowledged,
    Departed,
    Arrived,
    MadeSafe,
}

struct Row {
    since: Point,
    minutes: i64,
    every: Option<i64>,
    until: Point,
    whom: &'static [Whom],
}

const fn row(since: Point, minutes: i64, every: Option<i64>, until: Point, whom: &'static [Whom]) -> Row {
    Row { since, minutes, every, until, whom }
}

/// `policy.md` 5; the first row is the opening.
const LADDER: [Row; 10] = [
    row(Point::Opened, 0, None, Point::Acknowledged, &[Whom::Crew, Whom::Desk, Whom::Leader]),
    row(Point::Opened, 3, None, Point::Acknowledged, &[Whom::Crew, Whom::Second]),
    row(Point::Opened, 6, None, Point::Acknowledged, &[Whom::BackupCrew, Whom::Leader]),
    row(Point::Opened, 10, None, Point::Acknowledged, &[Whom::Supervisor, Whom::Neighbour]),
    row(Point::Acknowledged, 5, None, Point::Departed, &[Whom::Crew]),
    row(Point::Acknowledged, 10, None, Point::Departed, &[Whom::BackupCrew]),
    row(Point::Opened, 15, None, Point::Arrived, &[Whom::BackupCrew]),
    row(Point::Opened, 30, Some(10), Point::Arrived, &[Whom::Head]),
    row(Point::Arrived, 10, None, Point::MadeSafe, &[Whom::Crew]),
    row(Point::Arrived, 15, Some(10), Point::MadeSafe, &[Whom::Desk, Whom::Leader]),
];

/// How the rungs were told, and what was broken.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    pub(super) faults: Vec<String>,
    pub(super) more_faults: usize,
    /// Told in their second.
    pub(super) exact: usize,
    /// In their second, by lists of a flood.
    pub(super) listed: usize,
    /// Earlier: a message had failed, nobody was at the board.
    pub(super) jumped: usize,
    /// Longest wait behind the second of a rung.
    pub(super) latest: Millis,
    /// P1s told at 0 by two channels.
    pub(super) told_at_once: usize,
    /// Most messages to one person in ten minutes of a flood.
    pub(super) flood_max: usize,
    /// Changes of shift of a P1: told to both crews, taken in ten minutes, told to the desk.
    pub(super) handovers: [usize; 3],
    /// Feeders made dead; live again under the crew; told to everybody in the extent.
    pub(super) isolations: [usize; 3],
    /// Feeders of which the desk was offered to ask for the switching off.
    pub(super) offers: usize,
}

impl Verdict {
    pub(super) fn fault(&mut self, words: String) {
        if self.faults.len() < NAMED_MAX {
            self.faults.push(words);
        } else {
            self.more_faults += 1;
        }
    }

    /// Adds another night.
    pub(super) fn add(&mut self, other: Self) {
        other.faults.into_iter().for_each(|fault| self.fault(fault));
        self.more_faults += other.more_faults;
        self.exact += other.exact;
        self.listed += other.listed;
        self.jumped += other.jumped;
        self.latest = self.latest.max(other.latest);
        self.told_at_once += other.told_at_once;
        self.flood_max = self.flood_max.max(other.flood_max);
        let pairs = [(&mut self.handovers, other.handovers), (&mut self.isolations, other.isolations)];
        for (all, one) in pairs {
            all.iter_mut().zip(one).for_each(|(all, one)| *all += one);
        }
        self.offers += other.offers;
    }
}

/// When each milestone of an incident was reached.
struct Milestones<'i> {
    incident: &'i Incident,
    opened: Timestamp,
    /// Nothing of its ladder goes on from here.
    over: Option<Timestamp>,
}

impl Milestones<'_> {
    fn at(&self, point: Point) -> Option<Timestamp> {
        let life = &self.incident.life;
        match point {
            Point::Opened => Some(self.opened),
            Point::Acknowledged => life.taken.as_ref().map(|mark| mark.received_at),
            Point::Departed => life.departed.as_ref().map(|mark| mark.received_at),
            Point::Arrived => life.arrived.as_ref().map(|arrival| arrival.mark.received_at),
            Point::MadeSafe => life.safe.as_ref().map(|safe| safe.mark.received_at),
        }
    }

    /// When a rung stops being needed.
    fn stop(&self, until: Point) -> Option<Timestamp> {
        let arrived = self.at(Point::Arrived).filter(|_| until != Point::MadeSafe);
        [self.at(until), arrived, self.at(Point::MadeSafe), self.over].into_iter().flatten().min()
    }
}

/// A P1 that somebody has to go to.
pub(super) fn needs_crew(incident: &Incident) -> bool {
    let life = &incident.life;
    incident.severity == Severity::P1
        && incident.family != Family::System
        && life.job.is_none()
        && !life.drill
        && life.state != Stage::Merged
}

/// Everything that has to hold.
pub(super) fn check(night: &Night) -> Verdict {
    let mut verdict = Verdict::default();
    let nobody = History::default();
    check_duty::live_again(night, &mut verdict);
    for incident in night.board.values().filter(|incident| needs_crew(incident)) {
        let history = night.log.incidents.get(&incident.id).unwrap_or(&nobody);
        let Some(opened) = incident.p1_at else { continue };
        let milestones = Milestones { incident, opened, over: history.over_at };
        told_at_once(night, &milestones, history, &mut verdict);
        rungs(night, &milestones, history, &mut verdict);
        needless(&milestones, history, &mut verdict);
        breach(night, &milestones, history, &mut verdict);
        accepted_or_red(night, &milestones, history, &mut verdict);
        check_duty::changes_of_shift(night, incident, history, &mut verdict);
    }
    check_duty::offers(night, &mut verdict);
    few_messages(night, &mut verdict);
    let mut twice: Vec<_> = night.log.attempts.iter().filter(|(_, count)| **count > 1).collect();
    twice.sort();
    for ((id, attempt), count) in twice {
        verdict.fault(format!("notice {id}: {count} times sent as attempt {attempt}"));
    }
    for id in &night.log.doubled {
        verdict.fault(format!("{id}: a second tap counted as another move"));
    }
    if night.log.lost > 0 {
        verdict.fault(format!("{} notices did not fit into a channel's queue", night.log.lost));
    }
    verdict
}

/// In a list to that person, in time: the board is red until then. Who had ten messages when the flood began waits ten
/// minutes for the first list, and a list names twenty.
pub(super) fn in_list(history: &History, to: &str, since: Timestamp) -> bool {
    let window = since..=since + LISTED_WITHIN;
    history.sent.iter().any(|sent| sent.is_list() && sent.to == to && window.contains(&sent.at))
}

fn told_at_once(night: &Night, milestones: &Milestones<'_>, history: &History, verdict: &mut Verdict) {
    let (incident, opened) = (milestones.incident, milestones.opened);
    // Who was with the warning that it was.
    let owner = history.crew_at(opened).0.and_then(|person| night.office.crew_of(person)).map(|crew| &**crew);
    for whom in LADDER[0].whom {
        let to = night.office.expected(*whom, &incident.zone, owner, opened);
        let at_once = |word: &str| matches!(word, OPENED | ESCALATED);
        let channels: HashSet<&str> = history
            .sent
            .iter()
            .filter(|sent| sent.to == to && sent.step == 0 && at_once(&sent.event))
            .filter(|sent| (Millis(0)..=TICK).contains(&sent.at.since(opened)))
            .map(|sent| &*sent.channel)
            .collect();
        let by_phone = channels.contains(VOICE) || channels.contains(SMS);
        let two = by_phone && channels.contains(CHAT);
        if *whom == Whom::Crew && two {
            verdict.told_at_once += 1;
        }
        // In a flood the list is the telling; at the end of the night it may still come.
        let waits = opened + LISTED_WITHIN > night.now;
        if !two && !in_list(history, &to, opened) && !waits {
            verdict.fault(format!(
                "{} ({}): {to} was to be told at 0 by two channels, and was by {channels:?}",
                incident.id,
                incident.evidence.kind.name()
            ));
        }
    }
}

fn rungs(night: &Night, milestones: &Milestones<'_>, history: &History, verdict: &mut Verdict) {
    for (step, row) in LADDER.iter().enumerate().skip(1) {
        let Some(since) = milestones.at(row.since) else { continue };
        let stop = milestones.stop(row.until);
        let mut due = since.max(milestones.opened) + Millis::minutes(row.minutes);
        if row.every.is_some() && row.until == Point::Arrived {
            // What was a warning before keeps its deadline, and the breach counts from there.
            due = due.min(milestones.incident.due_at.max(milestones.opened));
        }
        loop {
            // What changes within the second of the rung may be before or behind it.
            if due + TICK > night.now || stop.is_some_and(|stop| stop <= due + TICK) {
                break;
            }
            rung(night, milestones, history, (step, row, due), verdict);
            let Some(every) = row.every else { break };
            due = due + Millis::minutes(every);
        }
    }
}

fn rung(
    night: &Night,
    milestones: &Milestones<'_>,
    history: &History,
    (step, row, due): (usize, &Row, Timestamp),
    verdict: &mut Verdict,
) {
    let incident = milestones.incident;
    let number = step as u64;
    let in_time = |rungs: &&Rungs| {
        // The deadline itself is a millisecond later, and its tick up to a second behind that.
        let late = rungs.at.since(due);
        let has =
            rungs.steps.contains(&number) || rungs.listed && rungs.steps.iter().any(|own| *own > number);
        has && (Millis(0)..=TICK + Millis(1)).contains(&late)
    };
    let told = history.rungs.iter().find(in_time);
    let Some(told) = told else {
        // One that went into lists does not say why it was early.
        let early = |rungs: &&Rungs| {
            let early = rungs.at < due && (!rungs.due || rungs.listed) && row.every.is_none();
            early && rungs.steps.contains(&number)
        };
        match history.rungs.iter().any(|rungs| early(&rungs)) {
            true => verdict.jumped += 1,
            false => verdict.fault(format!(
                "{}: rung {step}, due at {}, was not told in its second",
                incident.id,
                due.to_rfc3339()
            )),
        }
        return;
    };
    verdict.latest = verdict.latest.max(told.at.since(due));
    let owner = history.crew_at(told.at).0;
    let owner = owner.and_then(|person| night.office.crew_of(person)).map(|crew| &**crew);
    for whom in row.whom {
        let to = night.office.expected(*whom, &incident.zone, owner, told.at);
        let called = |word: &str| matches!(word, ESCALATED | BREACHED);
        let own = history.sent.iter().any(|sent| sent.to == to && sent.at == told.at && called(&sent.event));
        if !own && !in_list(history, &to, told.at) && told.at + LISTED_WITHIN <= night.now {
            verdict.fault(format!("{}: rung {step} did not reach {to}", incident.id));
        }
    }
    if told.listed {
        verdict.listed += 1;
    } else {
        verdict.exact += 1;
    }
}

/// No rung after what makes it needless.
fn needless(milestones: &Milestones<'_>, history: &History, verdict: &mut Verdict) {
    for told in &history.rungs {
        let needless = |step: &u64| {
            let row = usize::try_from(*step).ok().and_then(|step| LADDER.get(step));
            row.is_some_and(|row| milestones.stop(row.until).is_some_and(|stop| stop < told.at))
        };
        // Step 0 alone is the desk that is rung because nobody is at the board.
        let steps: Vec<u64> = told.steps.iter().copied().filter(|step| *step > 0).collect();
        if !steps.is_empty() && steps.iter().all(needless) {
            verdict.fault(format!(
                "{}: rungs {:?} at {}, when nobody needed them any more",
                milestones.incident.id,
                told.steps,
                told.at.to_rfc3339()
            ));
        }
    }
}

fn breach(night: &Night, milestones: &Milestones<'_>, history: &History, verdict: &mut Verdict) {
    let due_at = milestones.incident.due_at.max(milestones.opened);
    let stop = milestones.stop(Point::Arrived);
    let must = due_at + TICK < night.now && stop.is_none_or(|stop| stop > due_at + TICK);
    let may = must || stop.is_none_or(|stop| stop > due_at);
    if history.breaches > usize::from(may) || (must && history.breaches == 0) {
        verdict.fault(format!(
            "{}: {} breaches are recorded, due at {}, stopped at {:?}",
            milestones.incident.id,
            history.breaches,
            due_at.to_rfc3339(),
            stop.map(Timestamp::to_rfc3339)
        ));
    }
}

fn accepted_or_red(night: &Night, milestones: &Milestones<'_>, history: &History, verdict: &mut Verdict) {
    let opened = milestones.opened;
    let accepted = history.accepted.iter().any(|at| (opened..=opened + WINDOW).contains(at));
    let red = night.log.red.get(&milestones.incident.id).copied();
    let over = milestones.over.is_some_and(|over| over <= opened + WINDOW);
    if !accepted && !over && red == Some(false) {
        verdict.fault(format!(
            "{}: in no accepted message ten minutes after it became a P1, and not red",
            milestones.incident.id
        ));
    }
}

/// At most ten messages to one person in ten minutes of a flood. What went out before it began counts, and is not counted
/// against it.
fn few_messages(night: &Night, verdict: &mut Verdict) {
    let mut by_person: BTreeMap<&str, Vec<&Counted>> = BTreeMap::new();
    let mut known = HashSet::new();
    for counted in night.log.told.iter().filter(|counted| !counted.urgent) {
        if known.insert((&counted.message.to, &counted.message.telling)) {
            by_person.entry(&counted.message.to).or_default().push(counted);
        }
    }
    for (person, told) in by_person {
        for (place, counted) in told.iter().enumerate() {
            let at = counted.message.at;
            let flood = night.log.floods.iter().rfind(|(since, _)| *since < at).is_some_and(|(_, on)| *on);
            if !flood {
                continue;
            }
            let recent = told[..=place].iter().rev();
            let load = recent.take_while(|other| at.since(other.message.at) < WINDOW).count();
            verdict.flood_max = verdict.flood_max.max(load);
            if load > MESSAGES_MAX {
                verdict.fault(format!(
                    "{person} got {load} messages in the ten minutes before {} of a flood",
                    at.to_rfc3339()
                ));
            }
        }
    }
}
