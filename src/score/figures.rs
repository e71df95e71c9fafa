//! The figures that are printed: counts, shares, delays, messages, arrivals. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lampguard_model::{Millis, Timestamp};

use super::facts::{Exposure, Message, Told};
use super::rule::{Alarm, Graded, Ground, Verdict};

/// Everything that a comparison gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scores {
    /// The readings come from a simulated city, at least in part: said wherever people look.
    pub(crate) simulated: bool,
    /// Over all hazards.
    pub(crate) all: Group,
    /// Over those whose sensor could tell.
    pub(crate) observable: Group,
    /// Over the others.
    pub(crate) unobservable: Group,
    /// Lines of truth.
    pub(crate) truths: usize,
    /// Of these marginal at worst.
    pub(crate) marginal: usize,
    /// Of these of class dangerous without the moment at which they became it: they cannot be graded.
    pub(crate) never_dangerous: usize,
    /// P1s and what truth says of them.
    pub(crate) p1: P1s,
    /// How much was watched, if known.
    pub(crate) exposure: Option<Exposure>,
    /// Messages per person, if it is known who got which.
    pub(crate) messages: Option<Messages>,
    /// Arrivals, if there is any arrival data.
    pub(crate) arrivals: Option<Arrivals>,
    /// Each hazard that had to be found, in the order of the truth.
    pub(crate) graded: Vec<Graded>,
    /// Each P1 that claims a current, once for each post it names, and each patrol that can be judged; by time.
    pub(crate) alarms: Vec<Alarm>,
}

/// Counts over a group of hazards.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Group {
    /// Hazards that had to be found: found, late and missed together.
    pub(crate) hazards: usize,
    /// Told in time.
    pub(crate) found: usize,
    /// Told after the window, while they lasted.
    pub(crate) late: usize,
    /// Never told in time nor late.
    pub(crate) missed: usize,
    /// Of the missed: told before the window opened.
    pub(crate) missed_told_early: usize,
    /// Of the missed: told, and voided.
    pub(crate) missed_voided: usize,
    /// From dangerous to told, over found and late.
    pub(crate) delay: Option<Delay>,
}

impl Group {
    pub(super) fn of<'g>(graded: impl Iterator<Item = &'g Graded>) -> Self {
        let (mut group, mut delays) = (Self::default(), Vec::new());
        for graded in graded {
            group.hazards += 1;
            match graded.verdict {
                Verdict::Found => group.found += 1,
                Verdict::Late => group.late += 1,
                Verdict::Missed => group.missed += 1,
            }
            group.missed_told_early += usize::from(graded.early_at.is_some());
            group.missed_voided += usize::from(graded.voided_at.is_some());
            delays.extend(graded.delay());
        }
        group.delay = Delay::of(delays);
        group
    }

    /// Found, as a share of all; `None` without hazards.
    pub(crate) fn recall(&self) -> Option<f64> {
        (self.hazards > 0).then(|| self.found as f64 / self.hazards as f64)
    }
}

/// How long it took; negative when people knew before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delay {
    /// How many were told.
    pub(crate) count: usize,
    /// Shortest.
    pub(crate) min: Millis,
    /// The middle one, or the mean of the two middle ones.
    pub(crate) median: Millis,
    /// Nine of ten took no longer.
    pub(crate) p90: Millis,
    /// Longest.
    pub(crate) max: Millis,
}

impl Delay {
    fn of(mut delays: Vec<Millis>) -> Option<Self> {
        delays.sort_unstable();
        let (min, max) = (*delays.first()?, *delays.last()?);
        let (low, high) = (delays[(delays.len() - 1) / 2], delays[delays.len() / 2]);
        let median = Millis(low.0.midpoint(high.0));
        Some(Self { count: delays.len(), min, median, p90: *nearest_rank(&delays, 90)?, max })
    }
}

/// The smallest of the sorted values that so many of a hundred do not exceed.
fn nearest_rank<T>(sorted: &[T], of_hundred: usize) -> Option<&T> {
    let rank = (sorted.len() * of_hundred).div_ceil(100);
    sorted.get(rank.saturating_sub(1))
}

/// P1s and what truth says of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct P1s {
    /// Incidents told as P1, of every kind.
    pub(crate) incidents: usize,
    /// Of these voided.
    pub(crate) voided: usize,
    /// P1s that claim a current, once for each post they name, and patrols, once each.
    pub(crate) judged: usize,
    /// Of these where a hazard was.
    pub(crate) on_hazard: usize,
    /// Of these where something marginal was.
    pub(crate) on_marginal: usize,
    /// Patrols for want of data where there was none.
    pub(crate) on_no_data: usize,
    /// Of these where nothing was, or a patrol's sensors were reporting: false.
    pub(crate) false_p1: usize,
    /// False ones per 1,000 post-nights, if it is known how much was watched.
    pub(crate) false_per_1000: Option<f64>,
    /// Marginal ones per 1,000 post-nights.
    pub(crate) marginal_per_1000: Option<f64>,
    /// Incidents by kind of which nobody can say whether they were false.
    pub(crate) not_judged: BTreeMap<String, usize>,
}

impl P1s {
    pub(super) fn of(told: &[Told], alarms: &[Alarm], exposure: Option<Exposure>) -> Self {
        let mut p1 = Self::default();
        let judged: HashSet<&str> = alarms.iter().map(|alarm| alarm.incident.as_str()).collect();
        let mut seen = HashSet::new();
        for told in told.iter().filter(|told| told.p1_told_at().is_some()) {
            if seen.insert(told.id.as_str()) {
                p1.incidents += 1;
                p1.voided += usize::from(told.voided);
                if !judged.contains(told.id.as_str()) {
                    *p1.not_judged.entry(told.kind.clone()).or_default() += 1;
                }
            }
        }
        let count = |ground| alarms.iter().filter(|alarm| alarm.ground == ground).count();
        p1.judged = alarms.len();
        p1.on_hazard = count(Ground::Hazard);
        p1.on_marginal = count(Ground::Marginal);
        p1.on_no_data = count(Ground::NoData);
        p1.false_p1 = count(Ground::Nothing);
        let post_nights = exposure.map(Exposure::post_nights).filter(|watched| *watched > 0.0);
        let rate = |count: usize| post_nights.map(|watched| count as f64 * 1000.0 / watched);
        (p1.false_per_1000, p1.marginal_per_1000) = (rate(p1.false_p1), rate(p1.on_marginal));
        p1
    }

    /// How many incidents cannot be judged.
    pub(crate) fn unjudged(&self) -> usize {
        self.not_judged.values().sum()
    }
}

/// How much one person is told at a time.
pub(crate) const MESSAGE_SPAN: Millis = Millis::minutes(10);

/// Messages per person within 10 minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Messages {
    /// Messages, voice and chat of one telling being one.
    pub(crate) count: usize,
    /// People.
    pub(crate) people: usize,
    /// Most that one person got within 10 minutes.
    pub(crate) max: usize,
    /// Who that was.
    pub(crate) busiest: Option<String>,
    /// At 99 of 100 messages, their reader had got no more than so many within the 10 minutes before.
    pub(crate) p99: usize,
}

/// Counts, at each message, how many its reader got within the 10 minutes up to it.
pub(super) fn messages(sent: &[Message]) -> Messages {
    let mut tellings: HashMap<(&str, &str), Timestamp> = HashMap::new();
    for message in sent {
        let first = tellings.entry((&message.to, &message.telling)).or_insert(message.at);
        *first = (*first).min(message.at);
    }
    let mut by_person: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for ((to, _), at) in &tellings {
        by_person.entry(to).or_default().push(*at);
    }
    let (mut loads, mut max, mut busiest) = (Vec::with_capacity(tellings.len()), 0, None);
    for (person, times) in &mut by_person {
        times.sort_unstable();
        let mut from = 0;
        for place in 0..times.len() {
            while times[place].since(times[from]) >= MESSAGE_SPAN {
                from += 1;
            }
            let load = place - from + 1;
            loads.push(load);
            if load > max {
                (max, busiest) = (load, Some((*person).to_owned()));
            }
        }
    }
    loads.sort_unstable();
    let p99 = nearest_rank(&loads, 99).copied().unwrap_or(0);
    Messages { count: loads.len(), people: by_person.len(), max, busiest, p99 }
}

/// The promise: a crew stands there within half an hour of being told.
const HALF_HOUR: Millis = Millis::minutes(30);
/// A message may take so long.
const ON_ITS_WAY: Millis = Millis::minutes(1);

/// Arrivals at told P1s, and why late ones were late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrivals {
    /// Told P1 incidents that were not voided.
    pub(crate) incidents: usize,
    /// Of these somebody arrived.
    pub(crate) arrived: usize,
    /// Arrived by the deadline.
    pub(crate) in_time: usize,
    /// Arrived later, or breached with nobody there: the sum of the four below.
    pub(crate) late: usize,
    /// The crew was told late: less than half an hour was left and the hazard was told late, or the crew came within half an
    /// hour of being told.
    pub(crate) system: usize,
    /// The crew was told in time and busy elsewhere, or went to another one first.
    pub(crate) capacity: usize,
    /// The crew was told in time, was free, and came late.
    pub(crate) crew: usize,
    /// Told in time, and no crew is named: nobody can say.
    pub(crate) unknown: usize,
}

/// `None` when no line says that somebody arrived: then arrivals are not recorded, and a deadline that went by
/// says nothing of crews.
pub(super) fn arrivals(told: &[Told], graded: &[Graded]) -> Option<Arrivals> {
    told.iter().find(|told| told.going.arrived_at.is_some())?;
    let late_ids: BTreeSet<&str> = graded
        .iter()
        .filter(|graded| graded.verdict == Verdict::Late)
        .filter_map(|graded| graded.incident.as_deref())
        .collect();
    let busy = Busy::of(told);
    let (mut out, mut seen) = (Arrivals::default(), HashSet::new());
    for told in told.iter().filter(|told| !told.voided && seen.insert(told.id.as_str())) {
        let Some(told_at) = told.p1_told_at() else { continue };
        out.incidents += 1;
        let due_at = told.going.due_at.unwrap_or(told_at + HALF_HOUR);
        out.arrived += usize::from(told.going.arrived_at.is_some());
        match told.going.arrived_at {
            Some(arrived) if arrived <= due_at => {
                out.in_time += 1;
                continue;
            }
            None if !told.going.breached => continue,
            _ => out.late += 1,
        }
        let asked_at = asked_at(told, told_at, due_at);
        let kept_its_half_hour = told.going.arrived_at.is_some_and(|at| at <= asked_at + HALF_HOUR);
        // A deadline counts from the decision: of a hazard that was decided late, and told at once, it leaves all the time.
        let told_late = late_ids.contains(told.id.as_str()) && due_at < asked_at + HALF_HOUR - ON_ITS_WAY;
        let place = match &told.going.crew {
            _ if kept_its_half_hour || told_late => &mut out.system,
            None => &mut out.unknown,
            Some(crew) if busy.elsewhere(crew, told, asked_at, due_at) => &mut out.capacity,
            Some(_) => &mut out.crew,
        };
        *place += 1;
    }
    Some(out)
}

/// When somebody was asked to be there by the deadline: of what was a warning with a deadline of its own before it became
/// a P1, when that was told.
fn asked_at(told: &Told, p1_told_at: Timestamp, due_at: Timestamp) -> Timestamp {
    let is_warnings = told.p1_at.is_some_and(|p1_at| due_at < p1_at + HALF_HOUR);
    told.first_notice_at.filter(|_| is_warnings).map_or(p1_told_at, |at| at.min(p1_told_at))
}

/// When each crew was bound by an incident: from departed (else told) until made safe (else arrived).
struct Busy<'t>(HashMap<&'t str, Vec<Bound<'t>>>);

struct Bound<'t> {
    from: Timestamp,
    until: Option<Timestamp>,
    arrived: Option<Timestamp>,
    by: &'t str,
}

impl<'t> Busy<'t> {
    fn of(told: &'t [Told]) -> Self {
        let mut spans: HashMap<&str, Vec<Bound<'_>>> = HashMap::new();
        for told in told {
            let from = told.going.departed_at.or(told.first_notice_at);
            if let (Some(crew), Some(from)) = (&told.going.crew, from) {
                let until = told.going.made_safe_at.or(told.going.arrived_at);
                spans.entry(crew).or_default().push(Bound {
                    from,
                    until,
                    arrived: told.going.arrived_at,
                    by: &told.id,
                });
            }
        }
        Self(spans)
    }

    /// The crew was bound by another incident when it was asked to come, or went to another one first before this was due.
    fn elsewhere(&self, crew: &str, told: &Told, asked_at: Timestamp, due_at: Timestamp) -> bool {
        let others = self.0.get(crew).into_iter().flatten().filter(|bound| bound.by != told.id);
        let own = told.going.arrived_at;
        let went_first = |bound: &Bound<'_>| {
            let first = bound.arrived.is_some_and(|other| own.is_none_or(|own| other < own));
            first && bound.from < due_at
        };
        others
            .filter(|bound| bound.until.is_none_or(|until| asked_at < until))
            .any(|bound| bound.from < asked_at || went_first(bound))
    }
}
