//! Open incidents: the most dangerous ones, and a last row of each that ended.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::sync::Arc;

use lampguard_alerting::life::{Stage, is_over};
use lampguard_alerting::{Incident, Kind, Severity, Signal};
use lampguard_ingester::tsdb::{Points, whole};
use lampguard_model::series::{INCIDENT, INCIDENT_STATES, SEVERITIES, SIGNALS, number_of};
use lampguard_model::{Millis, Timestamp};
use tracing::warn;

use super::{crews, seconds_between};
use crate::serve::Instance;

/// Open incidents that are written at a time, the most dangerous ones; the rest is a count.
const OPEN_MAX: usize = 1000;

/// What a zone has open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    /// P1 to P4, drills aside.
    pub(super) by_severity: [u64; 4],
    /// With a deadline that nobody kept.
    pub(super) breached: u64,
    /// Of those that people are told of at once: that nobody has. A worklist of a day is not the night's.
    pub(super) unacknowledged: u64,
    /// Of these the least time to a deadline where nobody has arrived.
    pub(super) remaining_s: Option<i64>,
    /// The rules hold the whole zone to be silent. They know which posts have to be heard now: by day few have, and a
    /// zone that is tested by hand has none.
    pub(super) blind: bool,
}

/// By zone whose crew acts on them.
pub(super) type OpenByZone = BTreeMap<Arc<str>, Open>;

impl Open {
    fn add(&mut self, incident: &Incident, now: Timestamp) {
        if incident.life.drill {
            return;
        }
        self.by_severity[usize::from(severity(incident.severity)) - 1] += 1;
        self.blind |= incident.kinds.contains(&Kind::Blind) && incident.signal != Signal::Normal;
        let Some(due) = incident.due() else { return };
        self.breached += u64::from(incident.life.is_breached(due, now));
        if incident.life.arrived.is_none() && incident.is_told() {
            let remaining_s = incident.life.remaining_s(due, now);
            self.remaining_s = Some(self.remaining_s.map_or(remaining_s, |least| least.min(remaining_s)));
        }
    }

    fn add_untaken(&mut self, incident: &Incident) {
        let nobody = incident.life.state == Stage::Open && incident.is_told();
        self.unacknowledged += u64::from(nobody && !incident.life.drill);
    }
}

/// 1 to 4.
fn severity(severity: Severity) -> u8 {
    number_of(&SEVERITIES, severity.name()).unwrap_or(4)
}

/// Danger first, then time left: a greater key is written first.
type Danger = (Severity, bool, Reverse<i64>, Reverse<Arc<str>>);

fn danger(incident: &Incident) -> Danger {
    let active = incident.signal == Signal::Active;
    (incident.severity, active, Reverse(incident.due_at.0), Reverse(incident.id.clone()))
}

/// What is written of one incident.
struct Brief {
    danger: Danger,
    zone: Arc<str>,
    kind: &'static str,
    post: Arc<str>,
    opened_at: Timestamp,
    /// Nothing once somebody is there: that clock has stopped.
    remaining_s: Option<i64>,
    breached: bool,
    state: Stage,
    signal: Signal,
    value: Option<i64>,
    drill: bool,
}

impl Brief {
    fn of(incident: &Incident, zone: &Arc<str>, now: Timestamp) -> Self {
        let life = &incident.life;
        Self {
            danger: danger(incident),
            zone: zone.clone(),
            kind: incident.evidence.kind.name(),
            post: incident.post_id.clone(),
            opened_at: incident.opened_at,
            remaining_s: incident
                .due()
                .filter(|_| life.arrived.is_none())
                .map(|due| life.remaining_s(due, now)),
            breached: incident.due().is_some_and(|due| life.is_breached(due, now)),
            state: life.state,
            signal: incident.signal,
            value: incident.evidence.thousandths,
            drill: life.drill,
        }
    }

    fn id(&self) -> &Arc<str> {
        &self.danger.3.0
    }

    fn put(&self, at: Timestamp, points: &mut Points) {
        let code = |codes, word| number_of(codes, word).and_then(|number| whole(u64::from(number)));
        let tags = [("id", &**self.id()), ("zone", &*self.zone), ("kind", self.kind), ("post", &*self.post)];
        let fields = [
            ("state", code(&INCIDENT_STATES, self.state.name())),
            ("severity", whole(u64::from(severity(self.danger.0)))),
            ("remaining_s", self.remaining_s.and_then(|seconds| seconds.checked_mul(1000))),
            ("value", self.value),
            ("signal", code(&SIGNALS, self.signal.name())),
            ("breached", whole(u64::from(self.breached))),
            ("age_s", Some(seconds_between(self.opened_at, at))),
            ("drill", whole(u64::from(self.drill))),
        ];
        points.push(&INCIDENT, at, &tags, &fields);
    }
}

impl PartialEq for Brief {
    fn eq(&self, other: &Self) -> bool {
        self.danger == other.danger
    }
}

impl Eq for Brief {}

impl PartialOrd for Brief {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Brief {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.danger.cmp(&other.danger)
    }
}

/// The most dangerous so far.
#[derive(Default)]
struct Top {
    /// The least dangerous of them on top.
    kept: BinaryHeap<Reverse<Brief>>,
    seen: u64,
}

impl Top {
    fn see(&mut self, incident: &Incident, zone: &Arc<str>, now: Timestamp) {
        self.seen += 1;
        if self.kept.len() < OPEN_MAX {
            self.kept.push(Reverse(Brief::of(incident, zone, now)));
        } else if self.kept.peek().is_some_and(|Reverse(least)| danger(incident) > least.danger) {
            self.kept.pop();
            self.kept.push(Reverse(Brief::of(incident, zone, now)));
        }
    }
}

/// What is remembered between two looks.
#[derive(Default)]
pub(super) struct Known {
    /// Incidents that the last look wrote, and when it was.
    written: HashSet<Arc<str>>,
    at: Option<Timestamp>,
    /// How much had ended then.
    ended: Option<u64>,
    left_out: u64,
}

impl Known {
    /// Open incidents that the last look left out.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// Writes what is open and what ended, and counts the open ones by zone, and by crew.
pub(super) fn look(
    instance: &Instance,
    known: &mut Known,
    crews: &mut crews::Tally,
    now: Timestamp,
    points: &mut Points,
) -> OpenByZone {
    let (mut top, mut open) = (Top::default(), OpenByZone::new());
    instance.alerting.each_open(|incident, zone| {
        top.see(incident, zone, now);
        let of_zone = open.entry(zone.clone()).or_default();
        of_zone.add(incident, now);
        of_zone.add_untaken(incident);
        crews.add(incident, zone);
    });
    known.left_out = top.seen - top.kept.len() as u64;
    let written: HashSet<_> = top.kept.iter().map(|Reverse(brief)| brief.id().clone()).collect();
    top.kept.iter().for_each(|Reverse(brief)| brief.put(now, points));
    write_ended(instance, known, &written, now, points);
    (known.written, known.at) = (written, Some(now));
    open
}

/// The last row of what ended since the look before; at the first look what ended before it is of no interest.
fn write_ended(
    instance: &Instance,
    known: &mut Known,
    written: &HashSet<Arc<str>>,
    now: Timestamp,
    points: &mut Points,
) {
    let ended = instance.alerting.ended_since(known.ended.unwrap_or(0));
    if known.ended.replace(ended.next).is_none() {
        return;
    }
    let mut told: HashSet<Arc<str>> = HashSet::new();
    let register = instance.register.get();
    let mut last_row = |incident: &Incident, told: &mut HashSet<Arc<str>>| {
        let at = incident.life.ended.as_ref().map_or(now, |mark| mark.received_at);
        // Behind the rows that were written while it was open, also after a clock that went back.
        let at = known.at.map_or(at, |before| at.max(before + Millis(1))).min(now);
        Brief::of(incident, incident.zone_in(&register), now).put(at, points);
        told.insert(incident.id.clone());
    };
    ended.incidents.iter().for_each(|incident| last_row(incident, &mut told));
    if ended.missed == 0 {
        return;
    }
    warn!(incidents = ended.missed, "more incidents ended at once than memory holds");
    for id in known
        .written
        .iter()
        .filter(|id| !written.contains(*id) && !told.contains(*id))
        .cloned()
        .collect::<Vec<_>>()
    {
        if let Ok(Some(incident)) = instance.alerting.look_up(&id)
            && is_over(incident.life.state)
        {
            last_row(&incident, &mut told);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use lampguard_alerting::incident::{Evidence, NO_DUE};
    use lampguard_alerting::life::{Arrival, Channel, Life, Mark, Proof};
    use lampguard_alerting::{Family, Scope};

    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);

    pub(in crate::series) fn incident(n: i64) -> Incident {
        let severity = [Severity::P1, Severity::P2, Severity::P3, Severity::P4][n as usize % 4];
        let due_at = if severity < Severity::P2 { NO_DUE } else { T + Millis::seconds(n) };
        Incident {
            id: Arc::from(format!("LG-{n:06}")),
            family: Family::Electric,
            severity,
            scope: Scope::Post,
            post_id: Arc::from(format!("P{n}")),
            feeder: Arc::from("F1"),
            zone: Arc::from("z1"),
            road: Arc::from("解放路"),
            place: Arc::from(""),
            opened_at: T,
            due_at,
            p1_at: None,
            members: Vec::new(),
            links: Vec::new(),
            signal: if n % 8 == 0 { Signal::Normal } else { Signal::Active },
            notes: Vec::new(),
            evidence: Evidence {
                kind: Kind::LeakCritical,
                field: "leakage_ma".to_owned(),
                thousandths: (n % 3 > 0).then_some(35_500),
                limit: 30_000,
                wet: false,
                wet_because: String::new(),
                policy_hash: Arc::from("abc"),
                measured_at: T,
                received_at: T,
                rule: "two_of_three".to_owned(),
            },
            kinds: vec![Kind::LeakCritical],
            life: Life::default(),
        }
    }

    fn arrival(at: Timestamp) -> Arrival {
        let mark = Mark {
            by: "张三".to_owned(),
            recorded_by: None,
            channel: Channel::Web,
            at,
            claimed_at: None,
            received_at: at,
            heard_through: None,
        };
        Arrival { mark, proof: Proof::Unproven, distance_m: None, confirmed: None }
    }

    #[test]
    fn of_a_hundred_thousand_open_incidents_the_thousand_most_dangerous_are_written_and_the_rest_is_a_count()
    {
        let (mut top, mut open) = (Top::default(), Open::default());
        let now = T + Millis::seconds(50_000);
        // In no order: 7 and 100,000 share no factor.
        let all: Vec<Incident> = (0..100_000).map(|n| incident(n * 7 % 100_000)).collect();
        for incident in &all {
            top.see(incident, &incident.zone, now);
            open.add(incident, now);
            open.add_untaken(incident);
        }
        assert_eq!((top.kept.len(), top.seen), (OPEN_MAX, 100_000));
        // Every P1, and of the P2s (1, 5, 9 …) those that were due within two hours of their opening.
        assert_eq!((open.by_severity, open.unacknowledged), ([25_000; 4], 25_000 + 1800));
        assert_eq!(open.remaining_s, Some(-50_000));
        // Of 50,000 with a deadline those before now.
        assert_eq!(open.breached, 25_000);
        // P1s with an active signal are numbers 4, 12, 20 …, the earliest deadline first.
        let mut kept: Vec<_> = top.kept.iter().map(|Reverse(brief)| brief.id().to_string()).collect();
        kept.sort_unstable();
        let expected: Vec<_> = (0..1000).map(|n| format!("LG-{:06}", n * 8 + 4)).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn a_zone_is_blind_while_its_incident_says_so_and_not_any_more_once_it_is_heard_or_in_a_drill() {
        let mut blind = incident(1);
        let says = |of: &Incident| {
            let mut open = Open::default();
            open.add(of, T);
            open.blind
        };
        assert!(!says(&blind), "a leak");
        blind.kinds = vec![Kind::Blind];
        assert!(says(&blind));
        blind.signal = Signal::Normal;
        assert!(!says(&blind), "heard again");
        (blind.signal, blind.life.drill) = (Signal::Unpowered, true);
        assert!(!says(&blind), "a drill");
        blind.life.drill = false;
        assert!(says(&blind), "that it has no supply by now does not say that it is heard");
    }

    #[test]
    fn a_worklist_p2_that_nobody_took_counts_as_open_and_is_neither_untaken_nor_the_next_deadline() {
        let mut worklist = incident(1);
        worklist.due_at = T + Millis::hours(24);
        let mut soon = incident(5);
        soon.due_at = T + Millis::minutes(30);
        let all = |incidents: &[&Incident]| {
            let mut open = Open::default();
            for incident in incidents {
                open.add(incident, T);
                open.add_untaken(incident);
            }
            (open.by_severity[1], open.unacknowledged, open.remaining_s)
        };
        assert_eq!(all(&[&worklist]), (1, 0, None));
        assert_eq!(all(&[&worklist, &soon]), (2, 1, Some(1800)));
        soon.life.job = Some("W1".to_owned());
        assert_eq!(all(&[&soon]), (1, 0, None), "planned work goes on there: only recorded");
    }

    #[test]
    fn a_row_says_what_is_known_and_leaves_the_rest_out() {
        let row = |incident: &Incident| {
            let mut points = Points::default();
            Brief::of(incident, &incident.zone, T + Millis::seconds(90))
                .put(T + Millis::seconds(90), &mut points);
            String::from_utf8(points.text().to_vec()).unwrap()
        };
        assert_eq!(
            row(&incident(4)),
            "incident,id=LG-000004,zone=z1,kind=leak_critical,post=P4 \
             state=0,severity=1,remaining_s=-86,value=35.5,signal=0,breached=1,age_s=90,drill=0 1795435290000\n"
        );
        let mut reached = incident(4);
        reached.life.arrived = Some(arrival(T + Millis::seconds(60)));
        assert_eq!(
            row(&reached),
            "incident,id=LG-000004,zone=z1,kind=leak_critical,post=P4 \
             state=0,severity=1,value=35.5,signal=0,breached=1,age_s=90,drill=0 1795435290000\n",
            "late, and there: no time is left any more"
        );
        let mut system = incident(3);
        (system.zone, system.post_id) = (Arc::from(""), Arc::from(""));
        system.life.drill = true;
        assert_eq!(
            row(&system),
            "incident,id=LG-000003,kind=leak_critical state=0,severity=4,signal=0,breached=0,age_s=90,drill=1 1795435290000\n"
        );
    }
}
