//! The test of each shift: everybody on duty gets a message marked 演练 by the ways in which they would be called, and
//! confirms it. Pure: who is tested when, and who has not confirmed.
//!
//! Invariants:
//! 1. One person has one test a slot, under one id: a restart sends none a second time without saying so.
//! 2. A deadline is written when the test is made and never moves.
//! 3. What was confirmed stays confirmed by whom it was confirmed first.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use lampguard_model::{Millis, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::incident::short_hash;
use crate::notify::Secret;
use crate::rota::{Person, Rota};

/// People of one slot at most; beyond, the rest is not tested and the log says so.
pub const PEOPLE_MAX: usize = 500;
/// A slot that was missed by longer (we did not run) is left out: its shift goes by without a test.
pub const MISSED_AFTER: Millis = Millis::minutes(30);
/// Tests are kept in memory for so long; the store has all.
pub const KEPT: Millis = Millis::hours(48);
/// A link opens for so long after the deadline.
const LINK_FOR: Millis = Millis::hours(12);
/// Longest link, in characters.
const LINK_MAX: usize = 64;
/// Beginning of the id of every test.
const PREFIX: &str = "TD-";
/// Whom a test goes to where the configuration names nobody: by every channel, as everything does then.
pub const DESK: &str = "desk";

/// When tests are sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Local times of the day; empty: so long after the beginning of each shift.
    pub at: Vec<Time>,
    /// Time after the beginning of a shift.
    pub after_shift: Millis,
    /// A test has to be confirmed within.
    pub confirm_within: Millis,
    /// Whose days.
    pub zone: TimeZone,
}

impl Plan {
    /// The newest slot that began by `now`, unless it was missed by too much; `shifts` are the times at which shifts begin.
    pub fn slot(&self, shifts: &[Time], now: Timestamp) -> Option<Timestamp> {
        let (times, after) =
            if self.at.is_empty() { (shifts, self.after_shift) } else { (&*self.at, Millis(0)) };
        let moment = jiff::Timestamp::from_millisecond(now.0).ok()?;
        let today = moment.to_zoned_datetime(self.zone.clone()).date();
        let days = [Some(today), today.yesterday().ok()];
        let of = |date: jiff::civil::Date, time: &Time| {
            let zoned = date.to_datetime(*time).to_zoned_datetime(self.zone.clone()).ok()?;
            Some(Timestamp(zoned.timestamp().as_millisecond()) + after)
        };
        let slots =
            days.into_iter().flatten().flat_map(|date| times.iter().filter_map(move |time| of(date, time)));
        slots.filter(|slot| *slot <= now && now.since(*slot) <= MISSED_AFTER).max()
    }
}

/// Who confirmed a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// When we had it.
    pub at: Timestamp,
    /// Who did: the person by the link, else the account.
    pub by: String,
    /// `link` or `api`.
    pub via: String,
    /// It came after the deadline.
    pub late: bool,
}

/// The test of one person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// `TD-` and twelve letters, from slot and person.
    pub id: Arc<str>,
    /// The slot it belongs to.
    pub slot_at: Timestamp,
    /// Whom.
    pub person: Arc<str>,
    /// Zones for which the person is on duty; empty for the desk.
    pub zones: Vec<Arc<str>>,
    /// By which channels.
    pub channels: Vec<Arc<str>>,
    /// When it was made.
    pub sent_at: Timestamp,
    /// By when it has to be confirmed.
    pub due_at: Timestamp,
    /// By whom it was.
    #[serde(default)]
    pub confirmed: Option<Confirmed>,
    /// The desk was told that it was not.
    #[serde(default)]
    pub reported_at: Option<Timestamp>,
}

impl Test {
    /// Word of lists: `waiting`, `confirmed`, `late`, `unconfirmed`.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match &self.confirmed {
            Some(confirmed) if confirmed.late => "late",
            Some(_) => "confirmed",
            None if now >= self.due_at => "unconfirmed",
            None => "waiting",
        }
    }

    /// How the outside sees it at `now`; without telephone numbers.
    pub fn view(&self, now: Timestamp) -> serde_json::Value {
        let confirmed = self.confirmed.as_ref();
        serde_json::json!({
            "id": self.id, "slot_at": self.slot_at.to_rfc3339(), "person": self.person, "zones": self.zones,
            "channels": self.channels, "sent_at": self.sent_at.to_rfc3339(), "due_at": self.due_at.to_rfc3339(),
            "state": self.state(now), "confirmed_at": confirmed.map(|c| c.at.to_rfc3339()),
            "confirmed_by": confirmed.map(|c| &c.by), "via": confirmed.map(|c| &c.via),
        })
    }

    /// It is overdue and nobody was told.
    pub fn is_to_report(&self, now: Timestamp) -> bool {
        self.confirmed.is_none() && self.reported_at.is_none() && now >= self.due_at
    }
}

/// Somebody on duty, and for which zones.
pub type OnDuty = (Arc<Person>, Vec<Arc<str>>);

/// Everybody on duty at `at`, and for which zones: crews, leaders, the desk; by name. Nobody is named: the
/// desk, by every channel.
pub fn on_duty(rota: &Rota, channels: &[Arc<str>], at: Timestamp) -> Vec<OnDuty> {
    let mut found: BTreeMap<Arc<str>, OnDuty> = BTreeMap::new();
    let mut add = |person: &Arc<Person>, zone: Option<&Arc<str>>| {
        if person.channels.is_empty() {
            return;
        }
        let known = found.entry(person.name.clone()).or_insert_with(|| (person.clone(), Vec::new()));
        known.1.extend(zone.filter(|zone| !known.1.contains(*zone)).cloned());
    };
    for zone in rota.zones.keys() {
        let duty = rota.on_duty_now(zone, at);
        let members = duty.crew.iter().flat_map(|crew| &crew.members);
        members.chain(&duty.leader).for_each(|person| add(person, Some(zone)));
    }
    rota.desk.iter().for_each(|person| add(person, None));
    if found.is_empty() && !channels.is_empty() {
        let desk = Person { name: Arc::from(DESK), phone: None, channels: channels.to_vec() };
        return vec![(Arc::new(desk), Vec::new())];
    }
    found.into_values().collect()
}

/// Tests of a slot that are not made yet.
pub fn missing(
    plan: &Plan,
    slot: Timestamp,
    people: &[OnDuty],
    known: &[Test],
    now: Timestamp,
) -> Vec<(Arc<Person>, Test)> {
    let made = |person: &Person| known.iter().any(|test| test.slot_at == slot && test.person == person.name);
    let new = people.iter().take(PEOPLE_MAX).filter(|(person, _)| !made(person));
    let test = |(person, zones): &OnDuty| {
        let id = format!("{PREFIX}{}", short_hash(&[&slot.0.to_string(), &person.name], 12));
        let test = Test {
            id: Arc::from(id),
            slot_at: slot,
            person: person.name.clone(),
            zones: zones.clone(),
            channels: person.channels.clone(),
            sent_at: now,
            due_at: now + plan.confirm_within,
            confirmed: None,
            reported_at: None,
        };
        (person.clone(), test)
    };
    new.map(test).collect()
}

/// A link by which one person confirms one test, short enough for an SMS: the id without its `TD-`, a dot, and the
/// base64 of until (u32, seconds UTC) and 16 bytes of signature.
pub fn link(key: &Secret, test: &Test) -> String {
    let id = test.id.strip_prefix(PREFIX).unwrap_or(&test.id);
    let until = u32::try_from((test.due_at + LINK_FOR).0.div_euclid(1000)).unwrap_or(0).to_be_bytes();
    let signed = mac(key, id, until).finalize().into_bytes();
    format!("{id}.{}", URL_SAFE_NO_PAD.encode([&until[..], &signed[..16]].concat()))
}

/// The test that a link is for, while it is good at `now`.
pub fn read_link(key: &Secret, token: &str, now: Timestamp) -> Option<Arc<str>> {
    let (id, rest) = token.split_once('.').filter(|_| token.len() <= LINK_MAX)?;
    let bytes = URL_SAFE_NO_PAD.decode(rest).ok().filter(|bytes| bytes.len() == 20)?;
    let (until, signed) = bytes.split_first_chunk::<4>()?;
    // Compares in constant time.
    mac(key, id, *until).verify_truncated_left(signed).ok()?;
    let until = Timestamp(i64::from(u32::from_be_bytes(*until)) * 1000);
    (now < until).then(|| Arc::from(format!("{PREFIX}{id}")))
}

fn mac(key: &Secret, id: &str, until: [u8; 4]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("HMAC takes a key of any length");
    mac.update(b"lampguard test dispatch 2|");
    mac.update(&until);
    mac.update(id.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;

    use crate::rota::{Crew, ZoneDuty};
    use crate::testkit::T;

    fn plan() -> Plan {
        let at = |hour| time(hour, 10, 0, 0);
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        Plan {
            at: vec![at(8), at(20)],
            after_shift: Millis::minutes(10),
            confirm_within: Millis::minutes(15),
            zone,
        }
    }

    fn person(name: &str, channels: &[&str]) -> Arc<Person> {
        let channels = channels.iter().map(|id| Arc::from(*id)).collect();
        Arc::new(Person { name: Arc::from(name), phone: None, channels })
    }

    #[test]
    fn a_slot_begins_at_its_local_time_and_is_left_out_when_it_was_missed_by_half_an_hour() {
        let (plan, at) = (plan(), T + Millis::minutes(10));
        assert_eq!(plan.slot(&[], at - Millis(1)), None, "T is 20:00 in Shanghai");
        assert_eq!(plan.slot(&[], at), Some(at));
        assert_eq!(plan.slot(&[], at + MISSED_AFTER), Some(at));
        assert_eq!(plan.slot(&[], at + MISSED_AFTER + Millis(1)), None);
        assert_eq!(plan.slot(&[], at + Millis::hours(12)), Some(at + Millis::hours(12)), "the morning's");
        let by_shift = Plan { at: Vec::new(), ..plan };
        assert_eq!(by_shift.slot(&[], at), None, "no shifts, no tests");
        let shifts = [time(20, 0, 0, 0), time(23, 55, 0, 0)];
        assert_eq!(by_shift.slot(&shifts, at), Some(at));
        let over_midnight = T + Millis::hours(4) + Millis::minutes(5);
        assert_eq!(by_shift.slot(&shifts, over_midnight), Some(over_midnight));
    }

    #[test]
    fn everybody_on_duty_is_tested_once_whatever_they_do_and_who_cannot_be_reached_is_not() {
        let (li, wang) = (person("李", &["sms"]), person("王", &["sms", "voice"]));
        let crew = |id: &str, members: &[&Arc<Person>]| {
            let members = members.iter().map(|member| (*member).clone()).collect();
            let crew = Crew { id: Arc::from(id), name: id.to_owned(), vehicle: None, members };
            (Arc::from(id), Arc::new(crew))
        };
        let zone = |crew: &str, leader: Option<&Arc<Person>>| ZoneDuty {
            crew: Arc::from(crew),
            leader: leader.cloned(),
            ..ZoneDuty::default()
        };
        let zones: [Arc<str>; 2] = [Arc::from("z1"), Arc::from("z2")];
        let rota = Rota {
            crews: [crew("c1", &[&li, &person("无号", &[])]), crew("c2", &[&wang])].into(),
            zones: [(zones[0].clone(), zone("c1", Some(&wang))), (zones[1].clone(), zone("c2", None))].into(),
            desk: Some(person("值班台", &["wall"])),
            ..Rota::default()
        };
        let people = on_duty(&rota, &[], T);
        let told: Vec<String> =
            people.iter().map(|(who, zones)| format!("{} {}", who.name, zones.join("+"))).collect();
        assert_eq!(told, ["值班台 ", "李 z1", "王 z1+z2"]);
        // Nobody is named: the desk, by every channel.
        let nobody = on_duty(&Rota::default(), &[Arc::from("console")], T);
        assert_eq!((&*nobody[0].0.name, nobody[0].0.channels.len(), nobody.len()), (DESK, 1, 1));
        let tests = missing(&plan(), T, &people, &[], T);
        assert_eq!(tests.len(), 3);
        let known: Vec<Test> = tests.into_iter().map(|(_, test)| test).collect();
        assert_eq!(missing(&plan(), T, &people, &known, T + Millis(1)), [], "never twice in a slot");
        assert_eq!(missing(&plan(), T + Millis::hours(12), &people, &known, T).len(), 3);
    }

    #[test]
    fn a_link_opens_its_own_test_until_it_expires_and_nothing_else() {
        let (key, other) = (Secret::new(b"key".to_vec()), Secret::new(b"other".to_vec()));
        let test = missing(&plan(), T, &[(person("李", &["sms"]), Vec::new())], &[], T).remove(0).1;
        let token = link(&key, &test);
        assert_eq!(read_link(&key, &token, T), Some(test.id.clone()));
        assert_eq!(read_link(&other, &token, T), None);
        assert_eq!(read_link(&key, &token, T + Millis::hours(13)), None, "expired");
        assert!(token.len() <= 40, "{token}");
        let other_id = if token.starts_with('A') { "B" } else { "A" };
        for wrong in [
            format!("{other_id}{}", &token[1..]),
            format!("{token}0"),
            token[..token.len() - 2].to_owned(),
            String::new(),
            ".".repeat(9),
        ] {
            assert_eq!(read_link(&key, &wrong, T), None, "{wrong}");
        }
        let (id, rest) = token.split_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(rest).unwrap();
        bytes[..4].copy_from_slice(&[0xff; 4]);
        let later = format!("{id}.{}", URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(read_link(&key, &later, T), None, "nobody makes it last longer");
    }

    #[test]
    fn a_test_is_waiting_then_unconfirmed_and_a_late_word_stays_late() {
        let mut test = missing(&plan(), T, &[(person("李", &["sms"]), Vec::new())], &[], T).remove(0).1;
        let due = T + Millis::minutes(15);
        assert_eq!((test.due_at, test.state(T), test.is_to_report(due - Millis(1))), (due, "waiting", false));
        assert_eq!((test.state(due), test.is_to_report(due)), ("unconfirmed", true));
        test.confirmed =
            Some(Confirmed { at: due + Millis(1), by: "李".to_owned(), via: "link".to_owned(), late: true });
        assert_eq!((test.state(due), test.is_to_report(due)), ("late", false));
    }
}
