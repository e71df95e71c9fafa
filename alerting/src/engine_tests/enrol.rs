//! Another register, and other timetables, in the middle of the story.

use std::collections::{BTreeSet, HashMap};

use jiff::tz::TimeZone;

use super::random::{Dice, Step, play, stream};
use super::restart::restarted;
use super::*;
use crate::engine::place::{Owner, Subject};
use crate::engine::{State, UNREGISTERED_MAX};
use crate::incident::{Kind, Severity, Signal};
use crate::life::tests::crew;
use crate::life::{Method, Verb};
use crate::lighting::{Lighting, LightingConfig};
use crate::slot::Fact;

pub(super) const OF_P1: &str =
    "P1,,z1,人民路,3,塔南路口,F1,C1,113.2,35.2,2,150,false,2019-05,BJ-1,post,all,true,M1,300";
pub(super) const OF_P2: &str =
    "P2,,z1,人民路,4,,F1,C1,113.2,35.2,2,150,true,2019-05,BJ-2,post,all,true,M1,300";
pub(super) const OF_P3: &str =
    "P3,,z2,平原路,1,,F2,C2,113.2,35.2,2,150,false,2019-05,BJ-3,post,all,true,M1,3600";

pub(super) fn lines(lines: &[String]) -> Arc<Register> {
    let text = format!("{}\n{}\n", lampguard_model::register::header(), lines.join("\n"));
    Arc::new(Register::parse(text.as_bytes()).unwrap())
}

/// The register of [`register`] with other lines for `P1`.
pub(super) fn with_p1(own: &[&str]) -> Arc<Register> {
    lines(&own.iter().chain(&[OF_P2, OF_P3]).map(ToString::to_string).collect::<Vec<_>>())
}

/// The register of [`City::street`], each line as `line` says; posts without a line are gone.
fn street_of(posts: usize, line: impl Fn(usize) -> Option<(&'static str, &'static str)>) -> Arc<Register> {
    let own = (0..posts).filter_map(|n| {
        let (zone, feeder) = line(n)?;
        let low = n % 3 == 0;
        Some(format!("S{n},,{zone},人民路,{n},,{feeder},C1,113.2,35.2,1,100,{low},,,post,all,true,M1,300"))
    });
    lines(&own.collect::<Vec<_>>())
}

impl City {
    pub(super) fn enrol(&mut self, at: Timestamp, register: &Arc<Register>) {
        self.engine.step(at, Input::Register(register), &mut self.effects);
    }

    fn members(&self, feeder: &str) -> usize {
        self.engine
            .feeders
            .iter()
            .filter(|known| *known.name == *feeder)
            .map(|known| known.members.len())
            .sum()
    }
}

/// A street that has reported until `T`.
pub(super) fn street(posts: usize) -> City {
    let mut city = City::street(posts);
    for round in 0..4 {
        (0..posts).for_each(|n| city.read(&at_post(lit(minutes(-15 + 5 * round)), n)));
    }
    city
}

/// Two critical samples of a stranger.
pub(super) fn danger_of(city: &mut City, name: &'static str, from: i64) {
    for minute in [from, from + 5] {
        city.read(&stranger(leak(minutes(minute), 40.0), name));
    }
}

#[test]
fn a_post_that_stays_keeps_its_samples_and_its_open_incident_and_gets_what_its_new_line_says() {
    let mut city = City::new();
    city.read(&leak(minutes(0), 40.0));
    let moved = "P1,,z2,平原路,9,,F2,C2,113.2,35.2,1,100,true,,,post,all,true,M1,600";
    city.enrol(minutes(1), &with_p1(&[moved]));
    city.read(&StoredReading { zone: "z2", feeder: "F2", ..leak(minutes(5), 41.0) });
    let incident = city.the_incident().clone();
    assert_eq!(
        (&*incident.zone, &*incident.road, &*incident.feeder),
        ("z2", "平原路", "F2"),
        "from two samples"
    );
    city.enrol(minutes(6), &with_p1(&[OF_P1]));
    city.read(&leak(minutes(10), 42.0));
    let now = city.the_incident();
    assert_eq!((&now.id, now.due_at, &*now.zone), (&incident.id, incident.due_at, "z2"), "as it opened");
    assert_eq!(city.opened().len(), 1);
    assert!(!city.engine.slots[0].is(Fact::LowLying) && city.engine.slots[0].period() == Millis::minutes(5));
}

#[test]
fn a_post_that_moves_to_a_wet_zone_is_judged_again_by_the_wet_limits() {
    let mut city = City::new();
    city.weather(minutes(-1), "z2", &WeatherReport { wet: Some(true), ..dry() });
    for minute in [0, 5] {
        city.read(&leak(minutes(minute), 20.0));
    }
    assert!(city.opened().is_empty(), "dry, below 30 mA");
    let moved = OF_P1.replace("z1", "z2");
    city.enrol(minutes(6), &with_p1(&[&moved]));
    assert_eq!((city.the_incident().evidence.limit, city.the_incident().evidence.wet), (15_000, true));
}

#[test]
fn a_post_that_moves_to_another_feeder_counts_there_and_no_longer_on_the_old_one() {
    let mut city = street(10);
    // Of ten posts four are silent: 40 per cent, the feeder is not dark.
    for minute in 1..=20 {
        city.tick(minutes(minute));
        if minute % 5 == 0 {
            (4..10).for_each(|n| city.read(&at_post(lit(minutes(minute)), n)));
        }
    }
    assert_eq!((city.members("FS"), city.of_kind(Kind::Offline).len()), (10, 4));
    assert!(city.of_kind(Kind::FeederDark).is_empty());
    // They hang together on another feeder: that one is dark.
    let moved = street_of(10, |n| Some(if n < 4 { ("z1", "FX") } else { ("z1", "FS") }));
    city.enrol(minutes(21), &moved);
    assert_eq!((city.members("FS"), city.members("FX")), (6, 4));
    let silent: Vec<usize> = city.engine.feeders.iter().map(|feeder| feeder.silent).collect();
    assert_eq!(silent, [0, 4]);
    let dark = city.of_kind(Kind::FeederDark);
    assert_eq!((dark.len(), &*dark[0].feeder, dark[0].members.len()), (1, "FX", 4));
    // And it is heard there again.
    (0..4).for_each(|n| city.read(&StoredReading { feeder: "FX", ..at_post(lit(minutes(22)), n) }));
    assert_eq!(city.engine.feeders[1].silent, 0);
}

#[test]
fn a_new_post_is_judged_from_its_first_reading_on_and_zones_of_the_register_have_weather() {
    let mut city = City::new();
    let new = "P9,,z9,新路,1,,F9,C9,113.2,35.2,1,100,false,,,post,all,true,M1,300";
    city.enrol(minutes(0), &with_p1(&[OF_P1, new]));
    city.weather(minutes(0), "z9", &WeatherReport { wet: Some(true), ..dry() });
    for minute in [0, 5] {
        city.read(&StoredReading {
            post: "P9",
            device: "P9",
            zone: "z9",
            feeder: "F9",
            ..leak(minutes(minute), 20.0)
        });
    }
    let incident = city.the_incident();
    assert_eq!((&*incident.post_id, &*incident.zone, incident.evidence.wet), ("P9", "z9", true));
}

#[test]
fn a_stranger_that_is_registered_is_its_post_and_later_evidence_opens_no_second_incident() {
    let mut city = City::new();
    danger_of(&mut city, "D-1", 0);
    let before = city.the_incident().clone();
    assert_eq!((&*before.post_id, &*before.zone), ("D-1", UNREGISTERED));
    let line = "P9,D-1,z1,新路,1,,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M1,300";
    city.enrol(minutes(6), &with_p1(&[OF_P1, line]));
    assert_eq!(city.engine.strangers(), 0);
    assert!(
        city.the_incident().notes.iter().any(|note| note.contains("P9")),
        "{:?}",
        city.the_incident().notes
    );
    let at = |minute, ma| StoredReading { post: "P9", device: "D-1", ..leak(minutes(minute), ma) };
    city.read(&at(10, 45.0));
    city.read(&with(at(15, 45.0), Field::ShellV, 60.0));
    city.read(&with(at(20, 45.0), Field::ShellV, 61.0));
    let now = city.the_incident();
    assert_eq!((&now.id, now.due_at), (&before.id, before.due_at));
    assert!(now.kinds.contains(&Kind::ShellCritical), "it takes evidence: {:?}", now.kinds);
    assert_eq!(city.engine.post_state("P9", minutes(20)).state, State::Danger);
    assert_eq!(city.members("F1"), 1, "it counts as a post of its feeder");
    // A restart by the new register, with a replay under the old name: nothing twice, nothing lost.
    let fresh = City {
        engine: Engine::new(Policy::default(), city.engine.register.clone(), Sky::default()),
        effects: Vec::new(),
    };
    let mut after = restarted(&city, fresh);
    after.engine.replaying(true);
    after.keep_dry(T - Millis::minutes(5));
    danger_of(&mut after, "D-1", 0);
    after.read(&at(10, 45.0));
    after.engine.replaying(false);
    after.read(&at(25, 46.0));
    assert!(after.opened().is_empty(), "{:#?}", after.opened());
    assert_eq!(after.engine.open_incidents().count(), 1);
}

#[test]
fn a_device_that_is_put_on_a_post_with_a_sensor_before_brings_its_incident_and_its_danger_along() {
    let mut city = City::new();
    city.read(&lit(minutes(-5)));
    danger_of(&mut city, "D-1", 0);
    // And one whose single danger nothing has confirmed.
    city.read(&stranger(with(leak(minutes(8), 40.0), Field::SupplyV, 229.0), "D-2"));
    let id = city.the_incident().id.clone();
    let own = [OF_P1.replacen("P1,,", "P1,D-1,", 1), OF_P2.replacen("P2,,", "P2,D-2,", 1), OF_P3.to_owned()];
    city.enrol(minutes(9), &lines(&own));
    assert_eq!(
        city.engine.slots[0].incident().map(|at| city.engine.open[at].incident.id.clone()),
        Some(id.clone())
    );
    city.read(&leak(minutes(10), 45.0));
    assert_eq!(city.opened().len(), 1, "P1 has the incident of its new device");
    city.read(&StoredReading { post: "P2", ..with(leak(minutes(13), 41.0), Field::SupplyV, 229.0) });
    assert_eq!(city.opened().len(), 2, "the second sample of D-2 confirms the first");
    let second = city.opened()[1];
    assert_eq!((&*second.post_id, &*second.zone), ("P2", "z1"));
}

#[test]
fn an_isolation_made_for_a_stranger_stays_in_force_when_it_is_registered_and_its_voltage_is_told() {
    let mut city = City::new();
    danger_of(&mut city, "D-1", 0);
    let id = city.the_incident().id.to_string();
    city.moved(minutes(6), &id, crew(Verb::Arrive, "1"));
    let mut m = crew(Verb::MakeSafe, "1");
    (m.body.method, m.body.extent) = (Some(Method::Isolated), Some(crate::life::Extent::Post));
    city.moved(minutes(7), &id, m);
    let line = "P9,D-1,z1,新路,1,,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M1,300";
    city.enrol(minutes(8), &with_p1(&[OF_P1, line]));
    let live = StoredReading { post: "P9", device: "D-1", ..shell(minutes(10), 7.0) };
    city.read(&with(live, Field::SupplyV, 229.0));
    assert_eq!(city.of_kind(Kind::Reenergised).len(), 1);
    assert_eq!(city.the_incident().life.safety(), crate::life::TREAT_AS_LIVE);
}

#[test]
fn what_ended_at_a_stranger_is_not_opened_again_by_a_replay_after_it_was_registered() {
    let mut city = City::new();
    danger_of(&mut city, "D-1", 0);
    let id = city.the_incident().id.to_string();
    let mut void = crate::life::tests::desk(Verb::Void, "v");
    let second = city.act(minutes(6), &id, void.clone()).unwrap();
    if let crate::life::Outcome::Second(pending) = second.outcome {
        (void.actor.name, void.body.second) = ("Second".to_owned(), Some(pending));
        city.moved(minutes(7), &id, void);
    }
    let line = "P9,D-1,z1,新路,1,,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M1,300";
    city.enrol(minutes(8), &with_p1(&[OF_P1, line]));
    city.engine.replaying(true);
    danger_of(&mut city, "D-1", 0);
    city.engine.replaying(false);
    assert_eq!((city.opened().len(), city.engine.open_incidents().count()), (1, 0));
}

#[test]
fn a_post_that_is_taken_out_keeps_what_is_open_raises_no_silence_and_is_told_as_unregistered() {
    let mut city = City::new();
    for minute in [0, 5] {
        city.read(&with(leak(minutes(minute), 40.0), Field::SupplyV, 229.0));
    }
    let before = city.the_incident().clone();
    city.enrol(minutes(6), &with_p1(&[]));
    assert_eq!(city.engine.strangers(), 1);
    let mut at = minutes(6);
    for minute in 1..=120 {
        at = minutes(6 + minute);
        if minute % 30 == 0 {
            city.keep_dry(at);
        }
        city.tick(at);
    }
    for kind in [Kind::Offline, Kind::FeederDark, Kind::Blind, Kind::Unmonitored] {
        assert!(city.of_kind(kind).is_empty(), "{kind:?}");
    }
    let open = city.the_incident().clone();
    assert_eq!((&open.id, open.due_at, open.signal), (&before.id, before.due_at, Signal::Silent));
    city.moved(at, &open.id, crew(Verb::Arrive, "1"));
    assert_eq!(city.engine.post_state("P1", at).state, State::Danger);
    // It is closed in people's way; then its readings are those of a device that nobody registered.
    let place = city.engine.open.iter().position(|open| open.incident.id == before.id).unwrap();
    city.engine.end(place);
    for minute in [0, 5] {
        city.read(&stranger(leak(at + Millis::minutes(minute), 50.0), "P1"));
    }
    let new = *city.opened().last().unwrap();
    assert_eq!((city.opened().len(), &*new.zone, &*new.feeder), (2, UNREGISTERED, ""));
    assert!(new.notes.iter().any(|note| note == crate::engine::raise::NOTE_UNREGISTERED), "{:?}", new.notes);
}

#[test]
fn a_post_that_comes_back_is_the_post_it_was() {
    let mut city = street(4);
    city.enrol(minutes(1), &street_of(4, |n| (n > 0).then_some(("z1", "FS"))));
    assert_eq!((city.members("FS"), city.engine.strangers()), (3, 1));
    city.enrol(minutes(2), &street_of(4, |_| Some(("z1", "FS"))));
    assert_eq!((city.members("FS"), city.engine.strangers()), (4, 0));
    for minute in 3..=30 {
        city.tick(minutes(minute));
        if minute % 5 == 0 {
            (1..4).for_each(|n| city.read(&at_post(lit(minutes(minute)), n)));
        }
    }
    let offline = city.of_kind(Kind::Offline);
    assert_eq!((offline.len(), &*offline[0].post_id), (1, "S0"), "its silence counts again");
}

#[test]
fn a_device_behind_the_incident_of_all_devices_has_its_own_when_it_is_registered() {
    let mut city = City::new();
    city.engine.strangers_open = UNREGISTERED_MAX;
    danger_of(&mut city, "D-1", 0);
    assert_eq!(&*city.the_incident().post_id, crate::incident::COLLAPSED);
    let line = "P9,D-1,z1,新路,1,,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M1,300";
    city.enrol(minutes(6), &with_p1(&[OF_P1, line]));
    let own = *city.opened().last().unwrap();
    assert_eq!(
        (city.opened().len(), &*own.post_id, own.severity),
        (2, "P9", Severity::P1),
        "judged again at once"
    );
}

#[test]
fn planned_work_that_a_post_leaves_lets_its_incident_go_the_ordinary_way() {
    let mut city = City::new();
    let request = crate::engine::JobRequest {
        actor: crate::life::tests::desk(Verb::Note, "k").actor,
        key: "k".to_owned(),
        scope: crate::engine::JobScope::Feeder("F1".to_owned()),
        crew: "c1".to_owned(),
        reason: "lamps".to_owned(),
        until: None,
    };
    city.engine.step(minutes(-1), Input::Maintenance(&request), &mut city.effects);
    for minute in [0, 5, 10] {
        city.read(&shell(minutes(minute), 13.0));
    }
    assert!(city.the_incident().life.job.is_some() && !told_at_opening(&city));
    city.enrol(minutes(11), &with_p1(&[&OF_P1.replace("F1", "F2")]));
    assert_eq!(city.the_incident().life.job, None);
    assert_eq!(city.told(), ["incident.repeated"], "now somebody has to go");
}

fn lighting(on: &str, off: &str, register: &Register) -> Arc<Lighting> {
    let text = format!("[[timetable]]\nplans = [\"all\"]\non = \"{on}\"\noff = \"{off}\"\n");
    let config: LightingConfig = toml::from_str(&text).unwrap();
    Arc::new(Lighting::build(Some(&config), TimeZone::get("Asia/Shanghai").unwrap(), register).unwrap())
}

#[test]
fn another_timetable_changes_at_once_whether_a_post_has_supply_and_which_lamps_are_dark() {
    let mut city = City::new();
    let (night, day) = (lighting("18:00", "06:00", &register()), lighting("06:00", "18:00", &register()));
    city.engine.step(T, Input::Lighting(&night), &mut city.effects);
    let dark = |at| with(leak(at, 1.0), Field::LampW, 0.0);
    (0..=20).for_each(|minute| city.read(&dark(minutes(minute))));
    assert_eq!(city.engine.post_state("P1", minutes(20)).state, State::Normal, "taken as powered");
    assert_eq!(city.of_kind(Kind::LampOut).len(), 1, "dark while it should burn");
    city.engine.step(minutes(21), Input::Lighting(&day), &mut city.effects);
    city.read(&dark(minutes(22)));
    assert_eq!(city.engine.post_state("P1", minutes(22)).state, State::Unpowered, "20:22 is off now");
    assert_eq!(city.engine.explain("P1", minutes(22)).supply.expected, Some(false));
    city.engine.step(minutes(23), Input::Lighting(&night), &mut city.effects);
    city.read(&dark(minutes(24)));
    assert_eq!(city.engine.post_state("P1", minutes(24)).state, State::Normal);
}

#[test]
fn silence_counts_as_soon_as_another_timetable_expects_supply() {
    let mut city = street(4);
    let of = city.engine.register.clone();
    city.engine.step(minutes(1), Input::Lighting(&lighting("06:00", "18:00", &of)), &mut city.effects);
    // Off by the timetable, and nothing measured since says otherwise.
    for minute in 2..=30 {
        city.tick(minutes(minute));
    }
    let before = city.of_kind(Kind::Offline).len() + city.of_kind(Kind::FeederDark).len();
    city.engine.step(minutes(31), Input::Lighting(&lighting("18:00", "06:00", &of)), &mut city.effects);
    city.tick(minutes(32));
    let after = city.of_kind(Kind::Offline).len() + city.of_kind(Kind::FeederDark).len();
    assert!(after > 0 && after >= before, "{before} before, {after} after");
}

/// What has to be true of the engine's books whatever the register says.
pub(super) fn books_agree(city: &City, seed: u64) {
    let engine = &city.engine;
    let mut counted: HashMap<usize, (BTreeSet<u32>, usize)> = HashMap::new();
    let (mut strangers, mut named) = (0, 0);
    for (slot, owner) in engine.owners.iter().enumerate() {
        let mine = engine.places.get(owner.name()).is_some_and(|place| *place as usize == slot);
        named += usize::from(mine);
        strangers += usize::from(mine && owner.post().is_none());
        let empty = engine.slots[slot].rings.iter().all(|ring| ring.samples().is_empty());
        assert!(mine || empty, "seed {seed}: samples of {owner:?} are in two places");
        let s = &engine.slots[slot];
        if let Owner::Registered(post) = owner {
            let line = engine.register.by_post(&post.post_id).expect("registered means in the register");
            assert_eq!(post, line, "seed {seed}");
            assert_eq!(*engine.zones[usize::from(s.zone)].name, *post.zone, "seed {seed}");
            assert_eq!(s.feeder().map(|at| engine.feeders[at].name.clone()), Some(post.feeder.clone()));
        }
        assert_eq!(s.is(Fact::Unregistered), owner.post().is_none(), "seed {seed}: {owner:?}");
        if let Some(feeder) = s.feeder().filter(|_| engine.is_counted(slot) && s.heard_at().is_some()) {
            let known = counted.entry(feeder).or_default();
            known.0.insert(slot as u32);
            known.1 += usize::from(s.is(Fact::Silent));
        }
        if let Some(place) = s.incident() {
            let subject = &engine.open[place].subject;
            assert!(
                *subject == Subject::Post(slot) || *subject == Subject::Collapsed,
                "seed {seed}: {subject:?}"
            );
        }
    }
    assert_eq!(engine.strangers, strangers, "seed {seed}");
    let spoken = engine.places.iter().filter(|(name, slot)| {
        let owner = &engine.owners[**slot as usize];
        assert!(*name == owner.name() || *name == owner.device(), "seed {seed}: {name} finds {owner:?}");
        *name == owner.name()
    });
    assert_eq!(spoken.count(), named, "seed {seed}");
    for (place, feeder) in engine.feeders.iter().enumerate() {
        let (members, silent) = counted.remove(&place).unwrap_or_default();
        assert_eq!(
            feeder.members.iter().copied().collect::<BTreeSet<_>>(),
            members,
            "seed {seed}: {}",
            feeder.name
        );
        assert_eq!(
            (feeder.members.len(), feeder.silent),
            (members.len(), silent),
            "seed {seed}: {}",
            feeder.name
        );
    }
    for open in
        engine.open.iter().filter(|open| !open.over && crate::life::takes_evidence(open.incident.life.state))
    {
        let (subject, family) = (&open.subject, open.incident.family);
        if let Subject::Post(slot) = subject {
            let place = engine.places.get(engine.owners[*slot].name()).map(|place| *place as usize);
            assert_eq!(place, Some(*slot), "seed {seed}: {} is about nobody", open.incident.id);
        }
        assert!(
            engine.taking(subject, family).is_some(),
            "seed {seed}: nothing takes evidence of {subject:?}"
        );
    }
}

/// As the intake places what a device says by a register.
pub(super) fn placed<'r>(r: &StoredReading<'static>, register: &'r Register) -> StoredReading<'r> {
    match register.named(r.device) {
        Some(post) => StoredReading {
            post: &post.post_id,
            zone: &post.zone,
            feeder: &post.feeder,
            ..without(r, Marks::UNREGISTERED)
        },
        None => stranger(r.clone(), r.device),
    }
}

fn without(r: &StoredReading<'static>, mark: Marks) -> StoredReading<'static> {
    let mut r = r.clone();
    r.marks = Marks(r.marks.0 & !mark.0);
    r
}

/// What each sensor of the street says has one place, and so has all that is open of its post, whatever its name was.
fn no_post_is_in_two_places(city: &City, swapped: &BTreeSet<usize>, seed: u64) {
    let engine = &city.engine;
    for n in (0..11).filter(|n| !swapped.contains(n)) {
        let names = [format!("S{n}"), format!("R{n}")];
        let post = engine.register.named(&names[0]).map_or(&*names[0], |post| &post.post_id);
        let Some(slot) = engine.places.get(post).map(|place| *place as usize) else { continue };
        for open in engine.open.iter().filter(|open| !open.over) {
            if names.iter().any(|name| **name == *open.incident.post_id) {
                assert_eq!(open.subject, Subject::Post(slot), "seed {seed}: {}", open.incident.post_id);
            }
        }
    }
}

/// A register of the street as dice say: posts gone, moved, renamed, on other feeders, the stranger as a post or a
/// sensor. And which post has the stranger's.
fn any_register(dice: &mut Dice) -> (Arc<Register>, usize) {
    let mut own = Vec::new();
    let device_at = dice.below(20);
    for n in 0..12 {
        if dice.below(6) == 0 {
            continue;
        }
        let (zone, feeder) = (dice.of(&["z1", "z1", "z2"]), dice.of(&["FS", "FS", "FX"]));
        let (low, watched) = (dice.below(2) == 0, dice.below(8) > 0);
        let kind = if dice.below(20) == 0 { "feeder" } else { "post" };
        let name = dice.of(&["S", "S", "R"]);
        let device = if n == device_at { "D-1".to_owned() } else { format!("S{n}") };
        own.push(format!(
            "{name}{n},{device},{zone},人民路,{n},,{feeder},C1,113.2,35.2,1,100,{low},,,{kind},all,{watched},M1,300"
        ));
    }
    if device_at == 12 {
        own.push("D-1,,z1,人民路,99,,FS,C1,113.2,35.2,1,100,false,,,post,all,true,M1,300".to_owned());
    }
    (lines(&own), device_at)
}

#[test]
fn random_registers_in_the_middle_of_random_streams_close_nothing_and_the_books_of_feeders_agree() {
    let (mut enrolled, mut seen) = (0, BTreeSet::new());
    for seed in 0..40u64 {
        println!("seed {seed}");
        let (steps, mut dice) = (stream(seed), Dice(seed ^ 0xabcd));
        let mut city = City::street(12);
        let mut known: HashMap<Arc<str>, (Severity, Timestamp)> = HashMap::new();
        let mut swapped = BTreeSet::new();
        for part in steps.chunks(100) {
            let register = city.engine.register.clone();
            for step in part {
                match &step.1 {
                    Step::Read(r) => city.read(&placed(r, &register)),
                    _ => play(&mut city, std::slice::from_ref(step), |_| {}),
                }
            }
            books_agree(&city, seed);
            no_post_is_in_two_places(&city, &swapped, seed);
            let (register, device_at) = any_register(&mut dice);
            swapped.insert(device_at);
            let at = part.last().unwrap().0;
            city.enrol(at, &register);
            enrolled += 1;
            books_agree(&city, seed);
            no_post_is_in_two_places(&city, &swapped, seed);
            if dice.below(3) == 0 {
                let before = city.effects.len();
                city.enrol(at, &register);
                assert_eq!(
                    city.effects.len(),
                    before,
                    "seed {seed}: the same register again changes nothing"
                );
            }
            let now: HashMap<_, _> =
                city.engine.open_incidents().map(|i| (i.id.clone(), (i.severity, i.due_at))).collect();
            for (id, (severity, due_at)) in &known {
                let (new, new_due) = now.get(id).expect("only people close");
                assert!(new >= severity && new_due <= due_at, "seed {seed}: {id}");
            }
            known = now;
        }
        seen.extend(city.engine.open_incidents().map(|i| i.family.name()));
    }
    println!("{enrolled} registers, {seen:?}");
    assert!(enrolled > 500 && seen.contains("electric") && seen.contains("comms"), "{seen:?}");
}
