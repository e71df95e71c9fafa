use std::time::Duration;

use jiff::civil::time;
use jiff::tz::TimeZone;
use lampguard_model::Millis;

use super::*;
use crate::ask::Filter;
use crate::notify::Channel;
use crate::rota::{Crew, ZoneDuty};
use crate::run::tests::{Station, danger};
use crate::store::verify_file;
use crate::testkit::{Answer, Server, T, wait_for};

/// Where a name is reached by which channels.
fn person(name: &str, channels: &[&str]) -> Arc<Person> {
    let channels = channels.iter().map(|id| Arc::from(*id)).collect();
    Arc::new(Person { name: Arc::from(name), phone: Some(Arc::from("13800000000")), channels })
}

fn rota() -> Rota {
    let members = vec![person("老李", &["hook", "sms"]), person("小王", &["hook"])];
    let crew = Crew { id: Arc::from("c1"), name: "抢修一班".to_owned(), vehicle: None, members };
    let zone = ZoneDuty { crew: Arc::from("c1"), ..ZoneDuty::default() };
    Rota {
        crews: [(Arc::from("c1"), Arc::new(crew))].into(),
        zones: [(Arc::from("z1"), zone)].into(),
        desk: Some(person("值班台", &["wall"])),
        ..Rota::default()
    }
}

/// A test at 20:10 in Shanghai, ten minutes after T.
fn setup() -> TestSetup {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let plan = Plan {
        at: vec![time(20, 10, 0, 0)],
        after_shift: Millis::minutes(10),
        confirm_within: Millis::minutes(15),
        zone,
    };
    TestSetup { plan, key: Secret::new(b"key".to_vec()) }
}

const SLOT: Timestamp = Timestamp(T.0 + 600_000);

fn start(station: &Station, servers: [&Server; 3]) -> Alerting {
    let channels: Vec<Channel> =
        ["hook", "sms", "wall"].into_iter().zip(servers).map(|(id, s)| s.channel(id)).collect();
    station.start_to_test(rota(), channels, setup()).unwrap()
}

fn three() -> [Server; 3] {
    [(); 3].map(|()| Server::start(Vec::new()))
}

/// Whom a server heard of: event, person, attempt. The first may need a tick and a busy machine's time.
fn heard(server: &Server) -> Vec<(String, String, u64)> {
    let mut found = Vec::new();
    let patience = |found: &Vec<_>| Duration::from_millis(if found.is_empty() { 3000 } else { 800 });
    while let Some(request) = server.within(patience(&found)) {
        let body = request.json();
        assert!(!body.to_string().contains("13800000000"), "no telephone number goes out in a body");
        let text =
            |pointer: &str| body.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        found.push((text("/event"), text("/notice/to"), body["notice"]["attempt"].as_u64().unwrap()));
    }
    found.sort();
    found
}

fn sent(name: &str, attempt: u64) -> (String, String, u64) {
    ("test_dispatch.sent".to_owned(), name.to_owned(), attempt)
}

fn all(alerting: &Alerting) -> Vec<Test> {
    alerting.tests(Timestamp(0), None, 100).unwrap().items
}

#[test]
fn everybody_on_duty_is_told_by_each_channel_once_confirms_by_link_or_account_and_the_desk_hears_of_the_rest()
{
    let (station, [hook, sms, wall]) = (Station::new(), three());
    station.clock.set(SLOT - Millis(1));
    let alerting = start(&station, [&hook, &sms, &wall]);
    assert!(hook.within(Duration::from_millis(1500)).is_none(), "not before its time");
    station.clock.set(SLOT + Millis(1));
    let first = hook.next().json();
    assert_eq!((&first["drill"], &first["incident"]), (&true.into(), &serde_json::Value::Null));
    assert!(first["text"].as_str().unwrap().starts_with("【演练】"), "{first}");
    let link = first["notice"]["link"].as_str().unwrap();
    let token = link.strip_prefix("http://desk.example/t/").unwrap().to_owned();
    assert_eq!(heard(&hook).len(), 1, "two people by one channel");
    assert_eq!(heard(&sms), [sent("老李", 1)]);
    assert_eq!(heard(&wall), [sent("值班台", 1)]);
    wait_for("the tests in the store", || all(&alerting).len() == 3);

    let id = crate::test_dispatch::read_link(&setup().key, &token, SLOT).unwrap();
    let by_link = alerting.confirm_test(Confirm { id: id.clone(), by: None }).unwrap().unwrap();
    let confirmed = by_link.confirmed.clone().unwrap();
    assert_eq!((&*confirmed.by, &*confirmed.via, confirmed.late), (&*by_link.person, "link", false));
    let again = alerting.confirm_test(Confirm { id, by: Some("desk".to_owned()) }).unwrap().unwrap();
    assert_eq!(again.confirmed, Some(confirmed), "the first word counts");
    assert!(alerting.confirm_test(Confirm { id: Arc::from("TD-NOBODY"), by: None }).unwrap().is_none());
    let desk = all(&alerting).into_iter().find(|test| &*test.person == "值班台").unwrap();
    alerting.confirm_test(Confirm { id: desk.id, by: Some("night desk".to_owned()) }).unwrap();

    station.clock.set(SLOT + Millis::minutes(15) + Millis(5));
    let told = wall.next().json();
    assert_eq!((&told["event"], &told["drill"]), (&"test_dispatch.unconfirmed".into(), &false.into()));
    let left = all(&alerting).into_iter().find(|test| test.confirmed.is_none()).unwrap();
    assert!(told["text"].as_str().unwrap().contains(&*left.person), "{told}");
    let late = alerting.confirm_test(Confirm { id: left.id, by: None }).unwrap().unwrap();
    assert_eq!(late.state(SLOT), "late", "a late word is taken and stays late");
    assert!(wall.within(Duration::from_secs(3)).is_none(), "the desk is told once");
    alerting.shutdown();
    let kinds = verify_file(&station.dir.path().join("alerting").join(crate::store::FILE)).unwrap().kinds;
    assert_eq!((kinds["test_dispatch"], kinds["test_confirmed"], kinds["test_unconfirmed"]), (1, 3, 1));
}

#[test]
fn a_restart_sends_no_test_twice_and_its_deadline_runs_on_while_nothing_of_us_runs() {
    let (station, [hook, sms, wall]) = (Station::new(), three());
    station.clock.set(SLOT - Millis(1));
    let alerting = start(&station, [&hook, &sms, &wall]);
    station.clock.set(SLOT + Millis(1));
    assert_eq!(heard(&hook), [sent("小王", 1), sent("老李", 1)]);
    wait_for("the tests in the store", || all(&alerting).len() == 3);
    let before = all(&alerting);
    alerting.shutdown();
    drop(alerting);
    let (_, _) = (heard(&sms), heard(&wall));
    for minute in [1, 5, 14] {
        station.clock.set(SLOT + Millis::minutes(minute));
        let alerting = start(&station, [&hook, &sms, &wall]);
        assert_eq!(heard(&hook), [], "minute {minute}");
        assert_eq!(all(&alerting), before, "minute {minute}");
    }
    // Down across the deadline.
    station.clock.set(SLOT + Millis::minutes(200));
    let alerting = start(&station, [&hook, &sms, &wall]);
    let told = wall.next().json();
    assert_eq!(told["event"], "test_dispatch.unconfirmed");
    assert_eq!(heard(&hook), [], "and the slot is not made up for");
    assert!(all(&alerting).iter().all(|test| test.due_at == SLOT + Millis(1) + Millis::minutes(15)));
    drop(alerting);
    let alerting = start(&station, [&hook, &sms, &wall]);
    assert_eq!(heard(&wall), [], "nor is the desk told again");
    assert_eq!(all(&alerting).len(), 3);
}

#[test]
fn a_test_that_a_crash_may_have_sent_already_is_marked_as_a_repeat_under_the_same_id() {
    let (station, [hook, sms, wall]) = (Station::new(), three());
    // Sent at its time, and the disk took nothing before the kill: nothing of it is in the store.
    station.clock.set(SLOT + Millis::seconds(2));
    let alerting = start(&station, [&hook, &sms, &wall]);
    assert_eq!(heard(&hook), [sent("小王", 2), sent("老李", 2)]);
    wait_for("the tests in the store", || all(&alerting).len() == 3);
    let on_time = missing(&setup().plan, SLOT, &on_duty(&rota(), &[], SLOT), &[], SLOT);
    let ids = |tests: Vec<Test>| {
        let mut ids: Vec<Arc<str>> = tests.into_iter().map(|test| test.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(all(&alerting)), ids(on_time.into_iter().map(|(_, test)| test).collect()));
}

#[test]
fn a_desk_that_does_not_answer_is_told_to_leaders_and_supervisor_and_no_disk_is_needed_to_confirm() {
    let (station, [hook, sms, wall]) = (Station::new(), three());
    station.clock.set(SLOT - Millis(1));
    let mut rota = rota();
    rota.supervisor = Some(person("主管", &["sms"]));
    rota.zones.get_mut("z1").unwrap().leader = Some(person("组长", &["hook"]));
    let channels = ["hook", "sms", "wall"].into_iter().zip([&hook, &sms, &wall]);
    let channels: Vec<Channel> = channels.map(|(id, server)| server.channel(id)).collect();
    let alerting = station.start_to_test(rota, channels, setup()).unwrap();
    station.clock.set(SLOT + Millis(1));
    assert_eq!(heard(&hook).len(), 3);
    let (_, _) = (heard(&sms), heard(&wall));
    // Whoever reads the store waits; looking at a test and confirming it do not.
    let held = lock(&alerting.reads);
    for (person, test) in missing(&setup().plan, SLOT, &on_duty(&self::rota(), &[], SLOT), &[], SLOT) {
        let known = alerting.test(&test.id).unwrap().unwrap();
        assert_eq!((&known.person, known.confirmed), (&person.name, None));
        if &*person.name != "值班台" {
            let confirmed = alerting.confirm_test(Confirm { id: test.id, by: None }).unwrap().unwrap();
            assert!(confirmed.confirmed.is_some());
        }
    }
    drop(held);
    station.clock.set(SLOT + Millis::minutes(15) + Millis(5));
    let told = |name: &str| ("test_dispatch.unconfirmed".to_owned(), name.to_owned(), 1);
    assert_eq!(wall.next().json()["notice"]["to"], "值班台");
    assert_eq!((heard(&hook), heard(&sms)), (vec![told("组长")], vec![told("主管")]));
}

#[test]
fn tests_hold_up_no_alarm_and_are_in_no_list_of_incidents() {
    let (station, [hook, sms, wall]) = (
        Station::new(),
        [Server::start(Vec::new()), Server::start(vec![Answer::Status(500); 3]), Server::start(Vec::new())],
    );
    station.clock.set(SLOT + Millis(1));
    let alerting = start(&station, [&hook, &sms, &wall]);
    heard(&hook);
    assert!(alerting.incidents(&Filter::default()).unwrap().items.is_empty());
    alerting.judge(Arc::new(danger()));
    assert_eq!(hook.next().json()["event"], "incident.opened");
    assert_eq!(alerting.incidents(&Filter::default()).unwrap().items.len(), 1);
}
