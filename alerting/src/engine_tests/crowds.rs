//! From the rules to messages and lists: what a person gets of his own, and what a line of his list says.

use super::flood::{live, long_street};
use super::*;
use crate::dispatcher::{Before, Dispatcher, Route, Scene};
use crate::ladder::{List, Telling};
use crate::life::Stage;
use crate::notice::{ESCALATED, Notice};
use crate::rota::{self, Rota, Whom, ZoneDuty};

/// Chat and telephone, and who is on duty.
struct Office {
    dispatcher: Dispatcher,
    rota: Rota,
    register: Arc<Register>,
    known: Vec<Incident>,
}

impl Office {
    fn new(rota: Rota, city: &City) -> Self {
        let route = |id: &str, rings| Route { id: id.to_owned(), to: "desk".to_owned(), rings };
        let dispatcher = Dispatcher::new(vec![route("chat", false), route("voice", true)]);
        Self { dispatcher, rota, register: city.engine.register.clone(), known: Vec::new() }
    }

    fn scene<T>(
        &mut self,
        now: Timestamp,
        work: impl FnOnce(&mut Dispatcher, &Scene<'_>, &[Incident]) -> T,
    ) -> T {
        let (site, limits) = (crate::testkit::site(), Policy::default().flood);
        let (rota, register) = (&self.rota, &self.register);
        let scene = Scene { rota, register, site: &site, limits: &limits, now };
        work(&mut self.dispatcher, &scene, &self.known)
    }

    /// What is told of an effect at once, in chat.
    fn of(&mut self, now: Timestamp, effect: &Effect) -> Vec<Arc<Notice>> {
        let told = self.scene(now, |dispatcher, scene, _| dispatcher.of(scene, effect));
        told.into_iter().filter(|notice| *notice.channel == *"chat").collect()
    }

    fn opened(&mut self, now: Timestamp, n: usize, to: Telling) -> usize {
        let incident = crate::testkit::incident(n);
        self.known.push(incident.clone());
        let event = crate::testkit::event(&incident, "opened");
        self.of(now, &Effect::Open { incident: Box::new(incident), event, told: true, to }).len()
    }

    fn moved(
        &mut self,
        now: Timestamp,
        incident: &Incident,
        word: &'static str,
        to: Telling,
    ) -> Vec<Arc<Notice>> {
        self.known.retain(|known| known.id != incident.id);
        self.known.push(incident.clone());
        let event = crate::testkit::event(incident, "moved");
        self.of(now, &Effect::Moved { incident: Box::new(incident.clone()), event, told: Some(word), to })
    }

    /// Lists that are due, each as it goes into chat.
    fn lists(&mut self, now: Timestamp) -> Vec<(List, Arc<Notice>)> {
        let due = |dispatcher: &mut Dispatcher, scene: &Scene<'_>, known: &[Incident]| {
            dispatcher.lists(scene, |id| known.iter().find(|one| *one.id == *id))
        };
        let chat = |notices: Vec<Arc<Notice>>| {
            notices.into_iter().find(|notice| *notice.channel == *"chat").unwrap()
        };
        self.scene(now, due).into_iter().map(|(list, notices)| (list, chat(notices))).collect()
    }
}

/// Ann drives for z1.
fn with_ann() -> Rota {
    let channels = vec![Arc::from("chat"), Arc::from("voice")];
    let ann = Arc::new(rota::Person { name: Arc::from("Ann"), phone: None, channels });
    let crew = rota::Crew { id: Arc::from("A"), members: vec![ann], ..rota::Crew::default() };
    Rota {
        crews: [(crew.id.clone(), Arc::new(crew))].into_iter().collect(),
        zones: [(Arc::from("z1"), ZoneDuty { crew: Arc::from("A"), ..ZoneDuty::default() })]
            .into_iter()
            .collect(),
        ..Rota::default()
    }
}

fn desk() -> Telling {
    Telling::to(&[Whom::Desk])
}

const DAILY: [&str; 2] = ["incident.acknowledged", "incident.departed"];

#[test]
fn progress_takes_none_of_the_half_that_is_kept_for_lists_whichever_came_first() {
    let city = City::new();
    // Nobody is named: all of it goes to one reader.
    let mut office = Office::new(Rota::default(), &city);
    let told: usize = (0..5).map(|n| office.opened(at_second(n), n as usize, desk())).sum();
    assert_eq!(told, 5, "five dangers by messages of their own");
    for n in 0..5 {
        for (k, word) in DAILY.into_iter().enumerate() {
            let incident = crate::testkit::incident(n);
            let told = office.moved(at_second(60 + 10 * n as i64 + k as i64), &incident, word, desk());
            assert!(told.is_empty(), "it stands on the board");
        }
    }
    assert_eq!(office.opened(minutes(3), 6, desk()), 0);
    assert_eq!(office.lists(minutes(3))[0].0.incidents, [Arc::from("LG-TEST6")], "at once, not at minute 11");

    let mut office = Office::new(Rota::default(), &city);
    let progress = (0..5).flat_map(|n| DAILY.map(|word| (n, word)));
    let told: Vec<usize> = progress
        .map(|(n, word)| office.moved(at_second(n as i64), &crate::testkit::incident(n), word, desk()).len())
        .collect();
    assert_eq!(told.iter().sum::<usize>(), 5, "{told:?}");
    let mut messages = 5;
    for n in 0..9 {
        let now = minutes(1) + Millis::seconds(61 * n);
        let own = office.opened(now, 20 + n as usize, desk());
        let lists = office.lists(now);
        messages += own + lists.len();
        let named = lists.iter().any(|(list, _)| *list.incidents[0] == *format!("LG-TEST{}", 20 + n));
        assert!(n >= 5 || if n < 2 { own == 1 } else { named }, "danger {n} is told in its second");
    }
    assert_eq!(messages, 10, "and no eleventh in ten minutes");
}

fn at_second(n: i64) -> Timestamp {
    T + Millis::seconds(n)
}

/// A flood: twelve dangers, and who is told by the rules of such a word.
fn flood() -> (City, Vec<Incident>) {
    let (mut city, names) = long_street(12);
    for (n, name) in names.iter().enumerate() {
        live(&mut city, name, n, T);
    }
    assert!(city.engine.is_flood());
    let open = city.engine.open_incidents().filter(|one| one.family == Family::Electric).cloned().collect();
    (city, open)
}

fn voided(mut incident: Incident) -> Incident {
    incident.life.state = Stage::Void;
    incident
}

#[test]
fn in_a_flood_a_crew_hears_at_once_that_it_may_turn_back_and_who_goes_instead() {
    let (city, open) = flood();
    let mut office = Office::new(with_ann(), &city);
    for (incident, word) in
        [(voided(open[0].clone()), "incident.voided"), (open[1].clone(), "incident.returned")]
    {
        let to = city.engine.addressed(&incident, word);
        assert!(to.grouped);
        let told = office.moved(minutes(1), &incident, word, to);
        assert!(told.iter().any(|one| one.to == "Ann" && one.event == word), "{word}");
    }
    // The one that had it hears so too.
    let to =
        Telling { crews: vec![Arc::from("A")], ..city.engine.addressed(&open[2], "incident.reassigned") };
    let told = office.moved(minutes(1), &open[2], "incident.reassigned", to);
    assert!(told.iter().any(|one| one.to == "Ann" && one.text(1).contains("已改派")));
    let to = city.engine.addressed(&open[3], "incident.isolation_offered");
    let told = office.moved(minutes(1), &open[3], "incident.isolation_offered", to);
    assert!(told.iter().any(|one| one.text(1).contains("可请求断电")), "the offer reaches the desk");
    assert!(office.lists(minutes(1)).is_empty());
}

#[test]
fn what_does_not_fit_stands_in_the_next_list_with_its_word_behind_the_dangers() {
    let (city, open) = flood();
    let mut office = Office::new(with_ann(), &city);
    let crew = || Telling::to(&[Whom::Crew]);
    assert_eq!((0..5).map(|n| office.opened(T, n, crew())).sum::<usize>(), 5);
    let gone = voided(open[0].clone());
    let listed = |office: &mut Office, incident: &Incident, word| {
        let to = Telling { crews: vec![Arc::from("A")], ..city.engine.addressed(incident, word) };
        let told = office.moved(minutes(1), incident, word, Telling { whom: Vec::new(), ..to });
        assert!(told.is_empty(), "an eleventh message, or one in place of a list: {told:?}");
    };
    listed(&mut office, &gone, "incident.voided");
    listed(&mut office, &open[1], "incident.reassigned");
    let many = (100..122).map(crate::testkit::incident).collect::<Vec<_>>();
    office.known.extend(many.clone());
    let event = crate::testkit::event(&many[0], "rungs");
    let zone: Arc<str> = Arc::from("z1");
    let many = Effect::Many { zone, word: ESCALATED, to: crew(), count: 22, incidents: many, event };
    assert!(office.of(minutes(1), &many).is_empty());
    listed(&mut office, &open[2], "incident.isolation_offered");
    let (list, notice) = office.lists(minutes(1)).remove(0);
    let text = notice.text(1);
    assert_eq!((list.incidents.len(), list.more), (22, 3), "{text}");
    let behind: Vec<&Arc<str>> = list.incidents[20..].iter().collect();
    assert_eq!(behind, [&gone.id, &open[1].id]);
    let line = |id: &str| text.lines().find(|line| line.contains(id)).unwrap_or_default().to_owned();
    assert!(line(&gone.id).ends_with("已撤销"), "{text}");
    assert!(line(&open[1].id).ends_with("已改派"), "{text}");
    let refused = office.dispatcher.heard(&notice, false).len();
    assert_eq!(refused, 20, "a word that did not go out sends no rung on");
    // The offer is a danger's, by whose rank it stands.
    let (_, next) = office.lists(minutes(2)).remove(0);
    assert!(next.text(1).contains("同回路多处带电, 可请求断电"), "{}", next.text(1));
}

#[test]
fn a_list_of_what_may_have_been_told_before_a_restart_is_a_repeat_by_whichever_way_it_came() {
    let (city, open) = flood();
    // Killed before the first rung, and started behind it.
    let engine = Engine::new(Policy::default(), city.engine.register.clone(), Sky::default());
    let mut after = City { engine, effects: Vec::new() };
    open.iter().for_each(|one| after.engine.seed(one.clone()));
    after.effects.clear();
    after.tick(minutes(4));
    let many = after.effects.iter().find(|effect| matches!(effect, Effect::Many { .. })).unwrap();
    let again = |effect: &Effect| {
        let mut office = Office::new(with_ann(), &city);
        office.known.clone_from(&open);
        office.of(minutes(4), effect);
        office.lists(minutes(4)).iter().any(|(list, _)| list.again)
    };
    assert!(again(many));
    let moved = |again: bool, grouped: bool| {
        let to = Telling { again, grouped, ..Telling::to(&[Whom::Crew]) };
        let incident = Box::new(open[0].clone());
        let event = crate::testkit::event(&incident, "rung");
        Effect::Moved { incident, event, told: Some(ESCALATED), to }
    };
    assert!(again(&moved(true, true)) && !again(&moved(false, true)));
    // One that does not fit beside his own.
    let mut office = Office::new(with_ann(), &city);
    (0..5).for_each(|n| _ = office.opened(T, n, Telling::to(&[Whom::Crew])));
    office.known.clone_from(&open);
    assert!(office.of(minutes(4), &moved(true, false)).is_empty());
    assert!(office.lists(minutes(4))[0].0.again);
}

#[test]
fn that_nobody_is_named_for_a_duty_stands_in_every_form_and_list_of_the_desk() {
    let (city, open) = flood();
    let channels = vec![Arc::from("chat"), Arc::from("voice")];
    let desk = Arc::new(rota::Person { name: Arc::from("Desk"), phone: None, channels });
    let rota = Rota { desk: Some(desk), ..with_ann() };
    let mut office = Office::new(rota, &city);
    office.known.clone_from(&open);
    let to = |grouped| Telling { grouped, ..Telling::to(&[Whom::Crew, Whom::Desk, Whom::Leader]) };
    let moved = |incident: &Incident, to| {
        let event = crate::testkit::event(incident, "rung");
        Effect::Moved { incident: Box::new(incident.clone()), event, told: Some(ESCALATED), to }
    };
    let told = office.of(minutes(1), &moved(&open[0], to(false)));
    let words = &told.iter().find(|notice| notice.to == "Desk").unwrap().words;
    for text in
        [words.sms(1, T), words.spoken(1, T), crate::notice_words::many(&[words, words], T, |_| true).text]
    {
        assert!(text.contains("无人可通知") && text.contains("leader"), "{text}");
    }
    let many_sms = crate::notice_words::many_sms(&[words]).text;
    assert!(many_sms.contains("无人可通知：leader"), "{many_sms}");
    assert_eq!(told.iter().find(|notice| notice.to == "Ann").unwrap().words.missing, "");
    let many = |incident: &Incident| {
        let (zone, event) = (Arc::from("z1"), crate::testkit::event(incident, "rungs"));
        Effect::Many {
            zone,
            word: ESCALATED,
            to: to(true),
            incidents: vec![incident.clone()],
            count: 1,
            event,
        }
    };
    for (n, effect) in [moved(&open[1], to(true)), many(&open[2])].iter().enumerate() {
        assert!(office.of(minutes(2), effect).is_empty());
        let lists = office.lists(minutes(3 + 2 * n as i64));
        assert_eq!(lists.len(), 2, "Ann and the desk");
        for (list, notice) in lists {
            let (is_desk, text) = (*list.person.name == *"Desk", notice.text(1));
            assert_eq!(text.contains("有岗位无人可通知"), is_desk, "{text}");
            assert_eq!(notice.words.sms(1, T).contains("有岗位无人可通知"), is_desk);
        }
    }
}

#[test]
fn after_a_restart_the_list_of_the_desk_still_says_that_a_duty_has_nobody() {
    let (mut city, _) = flood();
    ladder::watch(&mut city, T, 400);
    let open: Vec<Incident> = city.engine.open_incidents().cloned().collect();
    let person = |name: &str| {
        let channels = vec![Arc::from("chat"), Arc::from("voice")];
        Arc::new(rota::Person { name: Arc::from(name), phone: None, channels })
    };
    for leader in [None, Some(person("Lee"))] {
        let mut rota = Rota { desk: Some(person("Desk")), ..with_ann() };
        for (id, members) in [("A", ["Ann", "Al"]), ("B", ["Bob", "Bill"])] {
            let members = members.map(person).to_vec();
            let crew = rota::Crew { id: Arc::from(id), members, ..rota::Crew::default() };
            rota.crews.insert(crew.id.clone(), Arc::new(crew));
        }
        let has_leader = leader.is_some();
        let (crew, backup_crew) = (Arc::from("A"), Some(Arc::from("B")));
        rota.zones.insert(Arc::from("z1"), ZoneDuty { crew, backup_crew, leader, ..ZoneDuty::default() });
        let mut office = Office::new(rota, &city);
        office.known.clone_from(&open);
        let now = T + Millis::seconds(401);
        office.scene(now, |dispatcher, scene, _| {
            let before = Before { from: now - Millis::minutes(10), ..Before::default() };
            dispatcher.take_up(scene, &city.engine, before);
        });
        let lists = office.lists(now);
        let of = |name: &str| lists.iter().find(|(list, _)| *list.person.name == *name).unwrap();
        let (list, notice) = of("Desk");
        assert!(list.again);
        assert_eq!(notice.text(1).contains("有岗位无人可通知"), !has_leader, "{}", notice.text(1));
        assert!(!of("Ann").1.text(1).contains("有岗位无人可通知"));
    }
}

#[test]
fn whatever_a_list_takes_out_of_a_box_it_names_withdrawals_too() {
    let (city, open) = flood();
    let mut office = Office::new(with_ann(), &city);
    let crew = || Telling { grouped: true, ..Telling::to(&[Whom::Crew]) };
    (0..5).for_each(|n| _ = office.opened(T, n, Telling::to(&[Whom::Crew])));
    let long = |n: usize| {
        let (scope, road) = (crate::incident::Scope::Feeder, Arc::from("很长的路名".repeat(40)));
        Incident { scope, road, ..crate::testkit::incident(100 + n) }
    };
    for n in 0..30 {
        assert!(office.moved(minutes(1), &long(n), ESCALATED, crew()).is_empty());
    }
    let gone: Vec<Incident> = open[..2].iter().cloned().map(voided).collect();
    for one in &gone {
        let to = Telling { crews: vec![Arc::from("A")], ..Telling::default() };
        assert!(office.moved(minutes(1), one, "incident.voided", to).is_empty());
    }
    let mut named: Vec<String> = Vec::new();
    for minute in 1..5 {
        for (list, notice) in office.lists(minutes(minute)) {
            let listed: Vec<&str> = notice.listed().collect();
            assert_eq!(
                listed,
                list.incidents.iter().map(|id| &**id).collect::<Vec<_>>(),
                "{}",
                notice.text(1)
            );
            named.extend(listed.into_iter().map(ToOwned::to_owned));
        }
    }
    assert!(gone.iter().all(|one| named.contains(&one.id.to_string())), "in the first lists: {named:?}");
    let once: std::collections::BTreeSet<&String> = named.iter().collect();
    assert_eq!(once.len(), named.len(), "and none twice while others wait");
}
