//! What has to hold of changes of shift and of feeders that crews made dead. Who is on duty says the office's own clock, so
//! that the rota is not judged by itself.

use std::collections::{BTreeMap, BTreeSet};

use lampguard_alerting::notice::OPENED;
use lampguard_alerting::{Family, Incident};
use lampguard_model::{Millis, Timestamp};

use super::check::{TICK, Verdict, in_list, needs_crew};
use super::log::{History, Isolation};
use super::office::{DESK, changes};
use super::world::Night;

/// The desk hears by then that nobody has taken over.
const ACCEPT_WITHIN: Millis = Millis::minutes(10);
/// So many P1 on one feeder are too many.
const OFFER_FROM: usize = 3;
const HANDOVER: &str = "incident.handover";

fn within(at: Timestamp, from: Timestamp, length: Millis) -> bool {
    (from..=from + length).contains(&at)
}

/// A P1 that is open when a shift ends: both crews are told, and the desk when the next one does not take it.
pub(super) fn changes_of_shift(night: &Night, incident: &Incident, history: &History, verdict: &mut Verdict) {
    let Some(since) = incident.p1_at else { return };
    let changes = changes(night.started, night.now - TICK);
    for change in changes.iter().copied().filter(|at| *at > since + TICK) {
        if history.over_at.is_some_and(|over| over <= change + TICK) {
            break;
        }
        // What people do in that second may be before or behind it.
        let moved = history.crews.iter().any(|(at, ..)| within(*at, change - TICK, Millis(2 * TICK.0)));
        if !moved {
            change_of_shift(night, incident, history, change, verdict);
        }
    }
    let stray =
        history.handovers.iter().filter(|(at, ..)| !changes.iter().any(|from| within(*at, *from, TICK)));
    for (at, from, to) in stray.filter(|(at, ..)| *at < night.now - TICK) {
        verdict.fault(format!(
            "{}: handed over from {from} to {to} at {}, when no shift ended",
            incident.id,
            at.to_rfc3339()
        ));
    }
}

fn change_of_shift(
    night: &Night,
    incident: &Incident,
    history: &History,
    change: Timestamp,
    verdict: &mut Verdict,
) {
    let zone = &*incident.zone;
    if !night.office.rota.zones.contains_key(zone) {
        return;
    }
    let (id, to) = (&incident.id, night.office.on_duty(zone, change));
    let (person, taken) = history.crew_at(change);
    let owner = person.filter(|_| taken).and_then(|person| night.office.crew_of(person));
    let from = match owner {
        // The back-up keeps what it has; so does a crew whose own turn begins again.
        Some(owner) => {
            Some(owner.to_string()).filter(|owner| night.office.is_of(owner, zone) && *owner != to)
        }
        None if taken => None,
        None => Some(night.office.on_duty(zone, change - TICK)),
    };
    let told = history.handovers.iter().find(|(at, ..)| within(*at, change, TICK));
    let (Some(from), Some((at, ..))) = (&from, told) else {
        if from.is_some() != told.is_some() {
            verdict.fault(format!(
                "{id}: at the change of shift {} it is {from:?} that hands over to {to}, and told was {told:?}",
                change.to_rfc3339()
            ));
        }
        return;
    };
    if told.is_some_and(|(_, known, next)| (known, next) != (from, &to)) {
        verdict.fault(format!("{id}: {from} hands over to {to}, and told was {told:?}"));
    }
    verdict.handovers[0] += 1;
    for crew in [from, &to] {
        let first = format!("{crew}1");
        let own = history
            .sent
            .iter()
            .any(|sent| sent.to == first && sent.event == HANDOVER && within(sent.at, *at, TICK));
        if !own && !in_list(history, &first, *at) {
            verdict
                .fault(format!("{id}: {first} did not hear of the change of shift {}", change.to_rfc3339()));
        }
    }
    let asked = *at + ACCEPT_WITHIN;
    let over = history.over_at.is_some_and(|over| over <= asked + TICK);
    if owner.is_none() || over || asked + TICK > night.now {
        return;
    }
    let accepted = history.accepts.iter().any(|accept| within(*accept, *at, ACCEPT_WITHIN));
    let desk = history.not_accepted.iter().any(|said| within(*said, asked, TICK));
    verdict.handovers[if accepted { 1 } else { 2 }] += 1;
    // In the second itself either may be first.
    let close = history.accepts.iter().any(|accept| within(*accept, asked - TICK, Millis(2 * TICK.0)));
    if accepted == desk && !close {
        verdict.fault(format!("{id}: accepted: {accepted}, the desk asked after ten minutes: {desk}"));
    }
}

/// Voltage in an isolation that somebody closed: a P1 at the reading that shows it, and each of the crews there hears it at once.
pub(super) fn live_again(night: &Night, verdict: &mut Verdict) {
    let nobody = History::default();
    let raised = || night.board.values().filter(|incident| incident.family == Family::Reenergised);
    for isolation in &night.log.isolations {
        verdict.isolations[0] += 1;
        let Some((post, at)) = &isolation.live else { continue };
        verdict.isolations[1] += 1;
        let history = |incident: &Incident| night.log.incidents.get(&incident.id).unwrap_or(&nobody);
        let found = raised().find(|incident| {
            let open = incident.opened_at <= *at && history(incident).over_at.is_none_or(|over| over > *at);
            open && incident.feeder == isolation.feeder
        });
        let Some(incident) = found else {
            verdict.fault(format!(
                "{}: {post} was live again at {}, and nothing was raised",
                isolation.incident,
                at.to_rfc3339()
            ));
            continue;
        };
        if everybody_hears(night, isolation, incident, history(incident), verdict) {
            verdict.isolations[2] += 1;
        }
    }
    for incident in raised() {
        let is_it = |one: &&Isolation| one.feeder == incident.feeder && one.from <= incident.opened_at;
        if !night.log.isolations.iter().any(|one| is_it(&one)) {
            verdict.fault(format!("{}: live again, where nothing was isolated", incident.id));
        }
    }
}

/// Each of the crew that isolated it, of those that were with other incidents on that feeder, and the desk, within a second
/// and by no list.
fn everybody_hears(
    night: &Night,
    isolation: &Isolation,
    incident: &Incident,
    history: &History,
    verdict: &mut Verdict,
) -> bool {
    let opened = incident.opened_at;
    let mut crews = BTreeSet::new();
    if isolation.until.is_none_or(|until| until > opened) && isolation.from <= opened {
        crews.extend(night.log.incidents.get(&isolation.incident).and_then(|own| own.crew_at(opened).0));
    }
    for other in night.board.values().filter(|other| other.feeder == incident.feeder && needs_crew(other)) {
        let Some(own) = night.log.incidents.get(&other.id) else { continue };
        let goes_on = other.opened_at < opened && own.over_at.is_none_or(|over| over > opened);
        crews.extend(own.crew_at(opened).0.filter(|_| goes_on));
    }
    let of = |person: &std::sync::Arc<str>| {
        night.office.crew_of(person).and_then(|crew| night.office.rota.crews.get(crew))
    };
    let members =
        crews.into_iter().filter_map(of).flat_map(|crew| &crew.members).map(|one| one.name.to_string());
    let mut all = true;
    for to in members.chain([DESK.to_owned()]).collect::<BTreeSet<_>>() {
        let told =
            |sent: &super::log::Sent| sent.to == to && sent.event == OPENED && within(sent.at, opened, TICK);
        if !history.sent.iter().any(told) {
            verdict
                .fault(format!("{}: {to} did not hear at once that the feeder is live again", incident.id));
            all = false;
        }
    }
    all
}

/// Three P1 on one feeder that nobody has made safe: the desk is offered to ask for its switching off, once.
pub(super) fn offers(night: &Night, verdict: &mut Verdict) {
    let mut feeders: BTreeMap<&str, Vec<(Timestamp, i32)>> = BTreeMap::new();
    let mut offered: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for incident in night.board.values().filter(|one| !one.feeder.is_empty() && one.family != Family::System)
    {
        let (Some(from), Some(history)) = (incident.p1_at, night.log.incidents.get(&incident.id)) else {
            continue;
        };
        let safe = incident.life.safe.as_ref().map(|safe| safe.mark.received_at);
        let until = [safe, history.over_at].into_iter().flatten().min();
        let steps = feeders.entry(&incident.feeder).or_default();
        steps.push((from, 1));
        steps.extend(until.map(|until| (until.max(from), -1)));
        offered.entry(&incident.feeder).or_default().extend(&history.offers);
    }
    for (feeder, mut steps) in feeders {
        steps.sort_unstable();
        let (mut count, mut wanted) = (0, Vec::new());
        let mut open = false;
        for (at, step) in steps {
            count += step;
            if count >= OFFER_FROM as i32 && !open {
                (open, _) = (true, wanted.push(at));
            }
            open &= count > 0;
        }
        let made = offered.get(feeder).map_or(&[][..], Vec::as_slice);
        verdict.offers += made.len();
        for at in wanted.iter().filter(|at| **at + TICK < night.now) {
            if !made.iter().any(|made| within(*made, *at, TICK)) {
                verdict.fault(format!(
                    "{feeder}: three P1 since {}, and no switching off was offered",
                    at.to_rfc3339()
                ));
            }
        }
        if made.len() > wanted.len() {
            verdict.fault(format!(
                "{feeder}: offered {} times to be switched off, wanted {}",
                made.len(),
                wanted.len()
            ));
        }
    }
}
