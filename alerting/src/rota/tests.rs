//! Who is on duty, against hand-written nights and against a model that looks at every minute.

use std::collections::HashMap;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::from_rfc3339(text).unwrap()
}

fn id(text: &str) -> Arc<str> {
    Arc::from(text)
}

pub(crate) fn person(name: &str) -> Arc<Person> {
    Arc::new(Person { name: id(name), phone: Some(id("13800000000")), channels: vec![id("sms")] })
}

fn crew(of: &str, members: &[&str]) -> (Arc<str>, Arc<Crew>) {
    let members = members.iter().map(|name| person(name)).collect();
    (id(of), Arc::new(Crew { id: id(of), name: format!("crew {of}"), vehicle: None, members }))
}

/// Two zones that are neighbours, crews c1 to c4, day and night; without lines.
fn city(time_zone: &str) -> Rota {
    let zone = |crew: &str, backup: &str, neighbour: &str| ZoneDuty {
        crew: id(crew),
        backup_crew: Some(id(backup)),
        leader: Some(person(&format!("leader of {neighbour}"))),
        neighbour: Some(id(neighbour)),
    };
    let shift = |name: &str, from: &str, to: &str| Shift {
        id: id(name),
        from: time_of_day(from).unwrap(),
        to: time_of_day(to).unwrap(),
    };
    Rota {
        crews: (1..=4).map(|n| crew(&format!("c{n}"), &[&format!("a{n}"), &format!("b{n}")])).collect(),
        zones: [(id("z1"), zone("c1", "c3", "z2")), (id("z2"), zone("c2", "c4", "z1"))].into(),
        desk: Some(person("desk")),
        weekly: Weekly {
            calendar: Calendar { time_zone: TimeZone::get(time_zone).unwrap(), ..Calendar::default() },
            shifts: vec![shift("day", "08:00", "20:00"), shift("night", "20:00", "08:00")],
            duty: Vec::new(),
        },
        ..Rota::default()
    }
}

fn line(shift: Option<usize>, zone: &str, crew: &str, days: &[&str]) -> Duty {
    let days = days.iter().map(|day| day.parse().unwrap()).collect();
    Duty { shift, zone: id(zone), crew: Some(id(crew)), days, ..Duty::default() }
}

fn stretch(from: &str, to: &str, crew: &str) -> Stretch {
    Stretch {
        from: at(from),
        to: at(to),
        zone: id("z1"),
        crew: Some(id(crew)),
        backup_crew: None,
        leader: None,
        reason: None,
        at: at("2026-01-01T00:00:00Z"),
        by: id("desk"),
    }
}

fn crew_at(rota: &Rota, moment: &str) -> String {
    rota.on_duty(zone(), at(moment)).crew.map_or_else(|| "nobody".to_owned(), |crew| crew.id.to_string())
}

fn zone() -> &'static str {
    "z1"
}

fn names(people: &[Arc<Person>]) -> Vec<&str> {
    people.iter().map(|person| &*person.name).collect()
}

#[test]
fn without_a_plan_the_crew_of_a_zone_is_always_on_duty() {
    let rota = city("Asia/Shanghai");
    let duty = rota.on_duty("z1", at("2026-11-25T03:00:00+08:00"));
    assert_eq!((&*duty.crew.unwrap().id, &*duty.backup.unwrap().id), ("c1", "c3"));
    assert_eq!((duty.shift, duty.until), (None, None));
    assert_eq!(duty.neighbour.unwrap().id, id("c2"));
    assert_eq!(rota.on_duty("z9", at("2026-11-25T03:00:00+08:00")), OnDuty::default());
    assert_eq!(rota.gaps(at("2026-11-25T03:00:00+08:00"), 7), []);
}

#[test]
fn a_night_shift_belongs_to_the_day_on_which_it_begins() {
    let mut rota = city("Asia/Shanghai");
    rota.weekly.duty = vec![line(Some(0), "z1", "c1", &[]), line(Some(1), "z1", "c3", &["fri"])];
    for (moment, expected) in [
        ("2026-11-27T19:59:59.999+08:00", "c1"),
        ("2026-11-27T20:00:00+08:00", "c3"),
        ("2026-11-28T00:00:00+08:00", "c3"),
        ("2026-11-28T07:59:59.999+08:00", "c3"),
        ("2026-11-28T08:00:00+08:00", "c1"),
        ("2026-11-28T20:00:00+08:00", "nobody"),
    ] {
        assert_eq!(crew_at(&rota, moment), expected, "{moment}");
    }
    let night = rota.on_duty("z1", at("2026-11-28T03:00:00+08:00"));
    assert_eq!((night.shift, night.until), (Some(id("night")), Some(at("2026-11-28T08:00:00+08:00"))));
    assert_eq!(night.backup, None, "the back-up crew is the one on duty");
    rota.weekly.duty.push(line(None, "all", "c4", &[]));
    let one_for_all = rota.on_duty("z1", at("2026-11-28T03:00:00+08:00"));
    assert_eq!((&*one_for_all.crew.unwrap().id, one_for_all.neighbour), ("c4", None));
}

#[test]
fn the_last_line_that_fits_holds_for_crew_and_leader_each_by_itself() {
    let mut rota = city("Asia/Shanghai");
    let mut leader_only = line(None, "all", "c1", &["sat..mon"]);
    (leader_only.crew, leader_only.leader) = (None, Some(person("weekend")));
    rota.weekly.duty =
        vec![line(None, "z1", "c1", &[]), line(None, "z1", "c2", &["2026-11-29"]), leader_only.clone()];
    let sunday = rota.on_duty("z1", at("2026-11-29T12:00:00+08:00"));
    assert_eq!((&*sunday.crew.unwrap().id, &*sunday.leader.unwrap().name), ("c2", "weekend"));
    let friday = rota.on_duty("z1", at("2026-11-27T12:00:00+08:00"));
    assert_eq!((&*friday.crew.unwrap().id, &*friday.leader.unwrap().name), ("c1", "leader of z2"));
    // A zone that only has lines of leaders is planned by none: its crew is on duty.
    assert_eq!(&*rota.on_duty("z2", at("2026-11-29T12:00:00+08:00")).crew.unwrap().id, "c2");
}

#[test]
fn holidays_and_days_that_were_made_workdays_decide_what_a_workday_is() {
    let mut rota = city("Asia/Shanghai");
    rota.weekly.calendar.holidays = vec!["2026-10-01..2026-10-07".parse().unwrap()];
    rota.weekly.calendar.workdays = vec!["2026-10-10".parse().unwrap()];
    rota.weekly.duty = vec![line(None, "z1", "c1", &["workday"]), line(None, "z1", "c2", &["holiday"])];
    for (day, expected) in
        [("09-30", "c1"), ("10-01", "c2"), ("10-07", "c2"), ("10-08", "c1"), ("10-10", "c1"), ("10-11", "c2")]
    {
        assert_eq!(crew_at(&rota, &format!("2026-{day}T23:59:59+08:00")), expected, "{day}");
        assert_eq!(crew_at(&rota, &format!("2026-{day}T00:00:00+08:00")), expected, "{day}");
    }
}

#[test]
fn an_override_wins_over_duty_by_date_and_that_over_the_weekly_duty() {
    let mut rota = city("Asia/Shanghai");
    rota.weekly.duty = vec![line(None, "z1", "c1", &[])];
    rota.changes.duty = vec![
        stretch("2026-11-25T08:00:00+08:00", "2026-11-26T08:00:00+08:00", "c2"),
        stretch("2026-11-25T08:00:00+08:00", "2026-11-25T09:00:00+08:00", "gone"),
    ];
    rota.changes.overrides = vec![
        stretch("2026-11-25T20:00:00+08:00", "2026-11-25T22:00:00+08:00", "c3"),
        stretch("2026-11-25T21:00:00+08:00", "2026-11-25T21:30:00+08:00", "c4"),
    ];
    for (time, expected) in
        [("07:59", "c1"), ("08:30", "c2"), ("20:00", "c3"), ("21:00", "c4"), ("21:30", "c3"), ("22:00", "c2")]
    {
        assert_eq!(crew_at(&rota, &format!("2026-11-25T{time}:00+08:00")), expected, "{time}");
    }
    let until = rota.on_duty("z1", at("2026-11-25T21:10:00+08:00")).until;
    assert_eq!(until, Some(at("2026-11-25T21:30:00+08:00")));
}

#[test]
fn a_warning_brings_further_back_up_and_its_end_sends_them_home() {
    let mut rota = city("Asia/Shanghai");
    let mut rain = line(Some(1), "all", "c4", &[]);
    (rain.when, rain.leader) = (When::Warning, Some(person("storm")));
    rota.weekly.duty = vec![rain];
    let night = at("2026-11-25T23:00:00+08:00");
    let told = |rota: &Rota, whom| names(&rota.people(whom, "z1", None, night)).join(" ");
    assert_eq!(
        (told(&rota, Whom::BackupCrew), told(&rota, Whom::Leader)),
        ("a3".to_owned(), "leader of z2".to_owned())
    );
    assert!(rota.set_warning("all", true) && !rota.set_warning("all", true));
    assert_eq!(told(&rota, Whom::BackupCrew), "a3 a4");
    assert_eq!(told(&rota, Whom::Leader), "leader of z2 storm");
    assert_eq!(rota.on_duty("z2", night).reinforcement, [], "c4 is the back-up there already");
    let day = at("2026-11-25T12:00:00+08:00");
    assert_eq!(rota.on_duty("z1", day).reinforcement, [], "its shift is the night");
    assert_eq!(&*rota.on_duty("z1", day).crew.unwrap().id, "c1", "such a line plans nothing");
    assert!(rota.set_warning("all", false));
    assert_eq!(told(&rota, Whom::BackupCrew), "a3");
}

#[test]
fn people_without_a_channel_are_passed_over_and_the_crew_of_an_incident_goes_before_the_one_on_duty() {
    let mut rota = city("Asia/Shanghai");
    let silent = Arc::new(Person { name: id("silent"), phone: None, channels: Vec::new() });
    let c1 = Crew { members: vec![silent, person("a"), person("b")], ..(*rota.crews["c1"]).clone() };
    rota.crews.insert(id("c1"), Arc::new(c1));
    let now = at("2026-11-25T23:00:00+08:00");
    assert_eq!(names(&rota.people(Whom::Crew, "z1", None, now)), ["a"]);
    assert_eq!(names(&rota.people(Whom::Second, "z1", None, now)), ["b"]);
    assert_eq!(names(&rota.people(Whom::Crew, "z1", Some("c4"), now)), ["a4"]);
    assert_eq!(names(&rota.people(Whom::Neighbour, "z1", Some("c4"), now)), ["a2"]);
    assert_eq!(names(&rota.people(Whom::Desk, "z1", None, now)), ["desk"]);
    assert!(rota.people(Whom::Head, "z1", None, now).is_empty());
}

#[test]
fn gaps_tell_hours_without_a_crew_and_crews_that_nobody_can_reach() {
    let mut rota = city("Asia/Shanghai");
    rota.weekly.duty = vec![line(Some(0), "z1", "c1", &[]), line(Some(1), "z1", "c3", &["mon..sat"])];
    let from = at("2026-11-25T12:00:00+08:00");
    let gap = |from: &str, to: &str, why, crew: Option<&str>| Gap {
        zone: id("z1"),
        from: at(from),
        to: at(to),
        why,
        crew: crew.map(id),
    };
    let sunday = gap("2026-11-29T20:00:00+08:00", "2026-11-30T08:00:00+08:00", Why::NoCrew, None);
    assert_eq!(rota.gaps(from, 7), std::slice::from_ref(&sunday));
    assert_eq!(rota.gaps(from, 4), [], "the look ends before it");
    rota.changes.overrides = vec![stretch("2026-11-29T22:00:00+08:00", "2026-11-30T08:00:00+08:00", "c4")];
    rota.crews.insert(id("c4"), crew("c4", &[]).1);
    let evening = Gap { to: at("2026-11-29T22:00:00+08:00"), ..sunday };
    let silent =
        gap("2026-11-29T22:00:00+08:00", "2026-11-30T08:00:00+08:00", Why::NobodyReachable, Some("c4"));
    assert_eq!(rota.gaps(from, 7), [evening, silent]);
    // Where nobody is named at all the desk is told by every channel.
    let mut bare = Rota { zones: rota.zones.clone(), ..Rota::default() };
    bare.zones.values_mut().for_each(|zone| zone.leader = None);
    bare.crews = ["c1", "c2"].map(|of| crew(of, &[])).into();
    assert_eq!(bare.gaps(from, 7), []);
}

#[test]
fn fault_h7_a_shift_that_changes_at_midnight_leaves_no_moment_out_and_an_empty_rota_is_one_long_gap() {
    let mut rota = city("Asia/Shanghai");
    rota.weekly.shifts[0] =
        Shift { id: id("early"), from: time_of_day("00:00").unwrap(), ..rota.weekly.shifts[0].clone() };
    rota.weekly.shifts[1] =
        Shift { id: id("late"), to: time_of_day("00:00").unwrap(), ..rota.weekly.shifts[1].clone() };
    rota.weekly.duty = vec![line(Some(0), "z1", "c1", &[]), line(Some(1), "z1", "c3", &[])];
    assert_eq!(crew_at(&rota, "2026-12-31T23:59:59.999+08:00"), "c3");
    assert_eq!(crew_at(&rota, "2027-01-01T00:00:00+08:00"), "c1");
    let now = at("2026-12-30T21:00:00+08:00");
    assert_eq!(rota.gaps(now, 7), []);
    // Lines that never fit: nobody is on duty, from now on. The desk stays.
    rota.weekly.duty = vec![line(None, "z1", "c1", &["2020-01-01"])];
    let gaps = rota.gaps(now, 7);
    assert_eq!((gaps.len(), gaps[0].from, gaps[0].to), (1, now, now + Millis::hours(24 * 7)));
    assert!(rota.people(Whom::Crew, "z1", None, now).is_empty());
    assert_eq!(names(&rota.people(Whom::Desk, "z1", None, now)), ["desk"]);
    assert_eq!(rota.on_duty("z1", now).until, None);
}

#[test]
fn clocks_that_are_put_forward_and_back_leave_no_gap_and_no_double_duty() {
    let mut rota = city("Europe/Berlin");
    rota.weekly.shifts[0].from = time_of_day("02:30").unwrap();
    rota.weekly.shifts[1].to = time_of_day("02:30").unwrap();
    rota.weekly.duty = vec![line(Some(0), "z1", "c1", &[]), line(Some(1), "z1", "c3", &[])];
    for start in ["2026-10-24T12:00:00+02:00", "2027-03-27T12:00:00+01:00"] {
        assert_eq!(rota.gaps(at(start), 3), [], "{start}");
    }
    // 02:30 comes twice: the first counts. 02:30 does not come: an hour later.
    assert_eq!(
        rota.on_duty("z1", at("2026-10-25T01:00:00+02:00")).until,
        Some(at("2026-10-25T02:30:00+02:00"))
    );
    assert_eq!(
        rota.on_duty("z1", at("2027-03-28T01:00:00+01:00")).until,
        Some(at("2027-03-28T03:30:00+02:00"))
    );
}

#[test]
fn words_for_days_and_times_are_checked() {
    for good in ["mon", "fri..mon", "workday", "holiday", "2028-02-29", "2026-10-01..2026-10-07"] {
        assert!(good.parse::<Days>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "monday",
        "mon..",
        "2026-02-29",
        "2026-10-07..2026-10-01",
        "2026-10-01..2028-10-01",
        "1",
        "20261001",
    ] {
        assert!(bad.parse::<Days>().is_err(), "{bad}");
    }
    for bad in ["24:00", "8:00", "20:60", "2000", "+1:00", "20:00:00", ""] {
        assert!(time_of_day(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_stays_keeps_who_said_it_and_the_newest_override_wins() {
    let old = stretch("2026-11-25T20:00:00Z", "2026-11-26T20:00:00Z", "c3");
    let before = Changes { version: 3, overrides: vec![old.clone()], ..Changes::default() };
    // The order of the list is not the order of saying.
    let new = stretch("2026-11-25T20:00:00Z", "2026-11-26T20:00:00Z", "c4");
    let sent = Changes { overrides: vec![new.clone(), old.clone()], ..Changes::default() };
    let now = at("2026-11-25T12:00:00Z");
    let after = sent.stamped(&before, now, &id("王"));
    assert_eq!((after.version, after.overrides[0].clone()), (4, old));
    assert_eq!((after.overrides[1].at, &*after.overrides[1].by), (now, "王"));
    let rota = Rota { changes: after.clone(), ..city("UTC") };
    assert_eq!(crew_at(&rota, "2026-11-25T21:00:00Z"), "c4");
    let told = after.difference(&before);
    assert_eq!(told["added"]["overrides"].as_array().unwrap().len(), 1);
    assert_eq!(told["removed"]["overrides"].as_array().unwrap().len(), 0);
}

#[test]
fn changes_that_cannot_be_are_told_with_their_place() {
    let rota = city("UTC");
    let good = stretch("2026-11-25T20:00:00Z", "2026-11-26T20:00:00Z", "c3");
    let bad = Stretch {
        to: good.from,
        zone: id("z9"),
        crew: Some(id("c9")),
        leader: Some(id("nobody")),
        reason: Some("x".repeat(201)),
        ..good.clone()
    };
    let empty = Stretch { crew: None, to: good.from + Millis::hours(24 * 367), ..good.clone() };
    let sent = Changes { duty: vec![good.clone(), bad], overrides: vec![empty], ..Changes::default() };
    let text = sent.faults(&rota).join("\n");
    for part in [
        "duty[1].to",
        "duty[1].zone",
        "duty[1].crew",
        "duty[1].leader",
        "duty[1].reason",
        "overrides[0].to",
        "overrides[0]: names",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("duty[0]"));
    let many = Changes { overrides: vec![good; OVERRIDES_MAX + 1], ..Changes::default() };
    assert!(many.faults(&rota)[0].contains("501 are more than 500"));
}

/// A stream of numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn of<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize].clone()
    }
}

/// Nights with something odd about them: the first local day of the look, and the zone of the clock.
const NIGHTS: [(&str, &str); 8] = [
    ("2026-11-24", "Asia/Shanghai"),
    ("2026-12-30", "Asia/Shanghai"),
    ("2028-02-27", "Asia/Shanghai"),
    ("2027-02-27", "UTC"),
    ("2026-10-24", "Europe/Berlin"),
    ("2027-03-27", "Europe/Berlin"),
    ("2026-10-31", "America/New_York"),
    ("2027-03-13", "America/New_York"),
];

const MINUTE: i64 = 60_000;
/// Days that the model looks at, and days around them on which a shift may begin or end.
const DAYS: i64 = 3;
const AROUND: i64 = 3;

/// What the clock of the site shows at each minute, and when it first shows something.
struct Clock {
    shows: Vec<(Timestamp, DateTime)>,
    first: HashMap<DateTime, Timestamp>,
}

impl Clock {
    fn new(start: Timestamp, zone: &TimeZone) -> Self {
        let minutes = -AROUND * 1440..(DAYS + AROUND) * 1440;
        let show = |minute: i64| {
            let at = start + Millis(minute * MINUTE);
            (at, zone.to_datetime(jiff::Timestamp::from_millisecond(at.0).unwrap()))
        };
        let shows: Vec<_> = minutes.map(show).collect();
        let mut first = HashMap::new();
        for (at, shown) in &shows {
            first.entry(*shown).or_insert(*at);
        }
        Self { shows, first }
    }

    /// When the clock first shows it; what it never shows comes an hour later.
    fn when(&self, shown: DateTime) -> Option<Timestamp> {
        let later = shown.checked_add(jiff::Span::new().hours(1)).unwrap();
        self.first.get(&shown).or_else(|| self.first.get(&later)).copied()
    }
}

/// A line as the model has it: words instead of types.
struct Said {
    zone: &'static str,
    shift: Option<(&'static str, &'static str)>,
    crew: Option<&'static str>,
    days: Vec<&'static str>,
}

impl Said {
    fn fits_day(&self, day: Date) -> bool {
        let epoch = Date::constant(1970, 1, 1);
        let weekday = (i64::from((day - epoch).get_days()) + 3).rem_euclid(7) as usize;
        let weekday = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][weekday];
        let weekend = matches!(weekday, "sat" | "sun");
        let day = day.to_string();
        let off = HOLIDAYS.contains(&&*day);
        let work = WORKDAYS.contains(&&*day);
        let fits = |word: &&str| match *word {
            "workday" => work || !weekend && !off,
            "holiday" => !work && (weekend || off),
            word => word == weekday || word == day,
        };
        self.days.is_empty() || self.days.iter().any(fits)
    }

    fn holds(&self, clock: &Clock, at: Timestamp, day: Date, zone: &str) -> bool {
        let (from, to) = self.shift.unwrap_or(("00:00", "00:00"));
        let moment = |day: Date, time: &str| clock.when(format!("{day}T{time}:00").parse().unwrap());
        (self.zone == zone || self.zone == "all")
            && [day.yesterday().unwrap(), day].into_iter().any(|day| {
                let last = if from < to { day } else { day.tomorrow().unwrap() };
                self.fits_day(day) && moment(day, from) <= Some(at) && Some(at) < moment(last, to)
            })
    }
}

const HOLIDAYS: [&str; 4] = ["2026-12-31", "2027-01-01", "2026-10-26", "2028-02-28"];
const WORKDAYS: [&str; 4] = ["2027-01-02", "2027-02-28", "2026-11-01", "2028-02-29"];
const SHIFTS: [(&str, &str); 5] =
    [("08:00", "20:00"), ("20:00", "08:00"), ("02:30", "14:00"), ("00:00", "00:00"), ("23:59", "02:30")];
const CREWS: [&str; 4] = ["c1", "c2", "c3", "c4"];

fn a_line(dice: &mut Dice) -> Said {
    let words = [
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "sat",
        "sun",
        "workday",
        "holiday",
        "2028-02-29",
        "2026-12-31",
        "2027-03-28",
    ];
    let days = (0..dice.below(4)).map(|_| dice.of(&words)).collect();
    Said {
        zone: dice.of(&["z1", "z1", "z2", "all"]),
        shift: (dice.below(5) > 0).then(|| dice.of(&SHIFTS)),
        crew: (dice.below(8) > 0).then(|| dice.of(&CREWS)),
        days,
    }
}

/// Puts into the rota what the lines say, and changes by date.
fn say(rota: &mut Rota, dice: &mut Dice, said: &[Said], start: Timestamp, seed: u64) {
    let date = |text: &&str| text.parse::<Dates>().unwrap();
    rota.weekly.calendar.holidays = HOLIDAYS.iter().map(date).collect();
    rota.weekly.calendar.workdays = WORKDAYS.iter().map(date).collect();
    let shift = |(from, to): &(&str, &str)| Shift {
        id: id(from),
        from: time_of_day(from).unwrap(),
        to: time_of_day(to).unwrap(),
    };
    rota.weekly.shifts = SHIFTS.iter().map(shift).collect();
    rota.weekly.duty = said
        .iter()
        .map(|said| {
            let shift = said.shift.and_then(|shift| SHIFTS.iter().position(|known| *known == shift));
            Duty { crew: said.crew.map(id), ..line(shift, said.zone, "c1", &said.days) }
        })
        .collect();
    let mut stretches = |n: u64| -> Vec<Stretch> {
        let mut one = |_| {
            let from = start + Millis(dice.below(DAYS as u64 * 1440) as i64 * MINUTE - MINUTE * 300);
            let to = from + Millis((1 + dice.below(1500) as i64) * MINUTE);
            let (zone, crew) =
                (id(dice.of(&["z1", "z2", "all"])), Some(id(dice.of(&["c1", "c2", "c3", "c4", "gone"]))));
            Stretch { from, to, zone, crew, ..stretch("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", "c1") }
        };
        (0..n).map(&mut one).collect()
    };
    rota.changes.duty = stretches(seed % 4);
    rota.changes.overrides = stretches(seed / 4 % 5);
}

/// One random rota on one odd night, against the model, for every minute.
fn one_round(seed: u64) {
    let mut dice = Dice(seed);
    let (first, time_zone) = dice.of(&NIGHTS);
    let mut rota = city(time_zone);
    let zone = rota.weekly.calendar.time_zone.clone();
    let start = zone.to_timestamp(first.parse::<Date>().unwrap().at(0, 0, 0, 0)).unwrap();
    let start = Timestamp(start.as_millisecond());
    let clock = Clock::new(start, &zone);

    let said: Vec<Said> = (0..dice.below(7)).map(|_| a_line(&mut dice)).collect();
    say(&mut rota, &mut dice, &said, start, seed);

    let model = |of: &str, at: Timestamp, day: Date| -> Option<Arc<str>> {
        let by_date = rota.changes.overrides.iter().rev().chain(rota.changes.duty.iter().rev());
        let covers = |s: &&Stretch| {
            s.from <= at && at < s.to && (&*s.zone == of || &*s.zone == "all") && s.crew != Some(id("gone"))
        };
        if let Some(found) = by_date.into_iter().find(covers) {
            return found.crew.clone();
        }
        let weekly = said.iter().rev().find(|said| said.crew.is_some() && said.holds(&clock, at, day, of));
        let planned = said.iter().any(|said| said.crew.is_some() && (said.zone == of || said.zone == "all"));
        let own = id(if of == "z1" { "c1" } else { "c2" });
        weekly.and_then(|said| said.crew.map(id)).or((!planned).then_some(own))
    };
    let end = start + Millis::hours(24 * DAYS);
    let gaps = rota.gaps(start, DAYS as u32);
    for of in ["z1", "z2"] {
        let mut spans = rota.spans(of, start, end).into_iter().peekable();
        let mut change: Option<(Timestamp, Option<Arc<str>>)> = None;
        for (minute, (at, shown)) in
            clock.shows.iter().filter(|(at, _)| *at >= start && *at < end).enumerate()
        {
            let expected = model(of, *at, shown.date());
            while spans.next_if(|span| span.to <= *at).is_some() {}
            let told = || format!("LAMPGUARD_SEED={seed}: {of} at {shown} {time_zone}");
            assert_eq!(spans.peek().unwrap().duty.crew, expected, "{}", told());
            let in_gap = gaps.iter().any(|gap| *gap.zone == *of && gap.from <= *at && *at < gap.to);
            assert_eq!(in_gap, expected.is_none(), "{}", told());
            if minute % 61 == 0 {
                let duty = rota.on_duty(of, *at);
                assert_eq!(duty.crew.as_ref().map(|crew| crew.id.clone()), expected, "{}", told());
                assert!(duty.until.is_none_or(|until| until > *at), "{}", told());
                change = duty.until.map(|until| (until, expected.clone()));
            } else if let Some((until, was)) = &change {
                // Until it says so, nobody else has come.
                assert!(at >= until || expected == *was, "{}", told());
            }
        }
    }
}

#[test]
fn random_rotas_agree_with_a_model_that_looks_at_every_minute() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, rounds) = (number("LAMPGUARD_SEED").unwrap_or(1), number("LAMPGUARD_ROUNDS").unwrap_or(40));
    println!("seeds {first} to {}: LAMPGUARD_SEED=N LAMPGUARD_ROUNDS=1 runs one", first + rounds - 1);
    (first..first + rounds).for_each(one_round);
}
