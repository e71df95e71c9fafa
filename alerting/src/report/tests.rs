use jiff::tz::TimeZone;
use lampguard_model::Millis;
use serde_json::json;

use super::*;
use crate::incident::{NO_DUE, NOTE_SIMULATED, Severity};
use crate::life::{Arrival, Channel, Mark, Method, Proof, Safe};
use crate::notice::{Address, Notice};
use crate::rota::{Crew, Person, ZoneDuty};
use crate::store::{Delivery, FILE, NoticeFilter, Outcome, Store, Write, verify_file};
use crate::testkit::{T, event, incident, notice, site};

/// Zones z1 of c1 and z2 of c2; nobody is named in c2.
fn names_with(members: &[&str]) -> Names {
    let person = |name: &&str| Arc::new(Person { name: Arc::from(*name), phone: None, channels: Vec::new() });
    let crew = |id: &str, name: &str, members: &[&str]| {
        let members = members.iter().map(person).collect();
        (Arc::from(id), Arc::new(Crew { id: Arc::from(id), name: name.to_owned(), vehicle: None, members }))
    };
    let zone =
        |id: &str, crew: &str| (Arc::from(id), ZoneDuty { crew: Arc::from(crew), ..ZoneDuty::default() });
    let rota = Rota {
        crews: [crew("c1", "抢修一班", members), crew("c2", "@SUM(1)", &[])].into(),
        zones: [zone("z1", "c1"), zone("z2", "c2")].into(),
        ..Rota::default()
    };
    Names {
        zones: [("z1", "解放责任区"), ("z2", "=2+2")]
            .map(|(id, name)| (id.to_owned(), name.to_owned()))
            .into(),
        rota: Arc::new(rota),
        time_zone: "Asia/Shanghai".to_owned(),
    }
}

fn names() -> Names {
    names_with(&[])
}

fn mark(minute: i64) -> Mark {
    let at = T + Millis::minutes(minute);
    Mark {
        by: "老李".to_owned(),
        recorded_by: None,
        channel: Channel::Phone,
        at,
        claimed_at: None,
        received_at: at,
        heard_through: None,
    }
}

/// A P1 of T that was told, had by `crew`, reached and made safe at these minutes.
fn case(n: usize, crew: &str, told: Option<i64>, arrived: Option<i64>, safe: Option<i64>) -> Case {
    let mut i = incident(n);
    (i.opened_at, i.due_at, i.p1_at) = (T, T + Millis::minutes(30), Some(T));
    i.life.crew = (!crew.is_empty()).then(|| crew.to_owned());
    i.life.acknowledged = i.life.crew.is_some().then(|| mark(2));
    i.life.departed = i.life.crew.is_some().then(|| mark(told.unwrap_or(0) + 3));
    let arrival =
        |minute| Arrival { mark: mark(minute), proof: Proof::Position, distance_m: None, confirmed: None };
    i.life.arrived = arrived.map(arrival);
    let made = |minute| Safe {
        mark: mark(minute),
        method: Method::Guarded,
        breaker: None,
        extent: None,
        covers: Vec::new(),
        restored: None,
        reenergised_at: None,
        doubted_at: None,
    };
    i.life.safe = safe.map(made);
    Case {
        incident: i,
        told: told.map(|minute| (T + Millis::minutes(minute), "老李".to_owned())).into_iter().collect(),
    }
}

fn of(cases: &[Case]) -> Month {
    by(&names(), cases)
}

fn by(names: &Names, cases: &[Case]) -> Month {
    let window = month_window("2026-11", &TimeZone::get("Asia/Shanghai").unwrap()).unwrap();
    let mut counting = Counting::new(names, T + Millis::hours(3));
    cases.iter().for_each(|case| counting.bind(case));
    cases.iter().for_each(|case| counting.count(case));
    counting.finish("2026-11", window)
}

#[test]
fn a_month_begins_and_ends_at_local_midnight() {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let (from, to) = month_window("2026-11", &zone).unwrap();
    assert_eq!(
        (from.to_rfc3339(), to.to_rfc3339()),
        ("2026-10-31T16:00:00.000Z".to_owned(), "2026-11-30T16:00:00.000Z".to_owned())
    );
    let (_, end) = month_window("2026-12", &zone).unwrap();
    assert_eq!(end.to_rfc3339(), "2026-12-31T16:00:00.000Z");
    for bad in ["2026-13", "2026-00", "26-11", "2026-1", "november", "", "2026-11-01", "-026-11", "9999-12"] {
        assert!(month_window(bad, &zone).is_err(), "{bad}");
    }
}

#[test]
fn late_arrivals_are_split_into_system_capacity_and_crew_as_score_does() {
    let month = of(&[
        case(1, "c1", Some(0), Some(20), Some(40)), // in time; the crew is bound until minute 40
        case(2, "c1", Some(10), Some(55), None),    // told in time, bound by the first: capacity
        case(3, "c9", Some(1), Some(45), None),     // told in time, free: crew
        case(4, "c9", Some(25), Some(50), None),    // came 25 min after being told: system
        case(5, "", None, None, None),              // never told: system
        case(6, "", Some(1), None, None),           // told, nobody had it: unknown
    ]);
    let total = &month.total;
    assert_eq!((total.raised, total.p1, total.told), (6, 6, 5));
    assert_eq!((total.acknowledged, total.arrived, total.arrived_in_time), (4, 4, 1));
    assert_eq!(total.breached, 5);
    let split = (total.late_system, total.late_capacity, total.late_crew, total.late_unknown);
    assert_eq!(split, (2, 1, 1, 1));
    assert_eq!((total.median_arrived_s, total.median_safe_s), (Some(50 * 60), Some(40 * 60)));
    let of_c9 = month.rows.iter().find(|row| row.crew == "c9").unwrap();
    assert_eq!((of_c9.raised, of_c9.breached, of_c9.late_crew, of_c9.late_system), (2, 2, 1, 1));
    let own = month.rows.iter().find(|row| row.crew == "c1").unwrap();
    assert_eq!(
        (&*own.zone_name, &*own.crew_name, own.raised),
        ("解放责任区", "抢修一班", 4),
        "an incident without a crew counts for its zone's"
    );
    let quiet = month.rows.iter().find(|row| row.zone == "z2").unwrap();
    assert_eq!((quiet.raised, quiet.median_told_s), (0, None), "a zone without incidents has its line");
}

#[test]
fn a_crew_is_bound_by_where_it_went_and_late_by_what_its_own_people_heard() {
    // Told of another incident and not gone there: the crew was free.
    let mut stayed = case(1, "c1", Some(0), None, None);
    (stayed.incident.life.departed, stayed.incident.due_at) = (None, T + Millis::hours(9));
    let late = case(2, "c1", Some(10), Some(55), None);
    let total = of(&[stayed, late.clone()]).total;
    assert_eq!((total.late_capacity, total.late_crew), (0, 1));
    // It went where it never said that it set out.
    let mut there = case(1, "c1", Some(0), Some(5), Some(40));
    there.incident.life.departed = None;
    assert_eq!(of(&[there, late.clone()]).total.late_capacity, 1);

    // The desk heard of it at once, the crew 25 minutes later: it was there half an hour after that.
    let names = names_with(&["老李"]);
    let mut heard = late;
    heard.incident.life.acknowledged = None;
    let at = |minute| T + Millis::minutes(minute);
    heard.told = vec![(at(0), "值班台".to_owned()), (at(25), "老李".to_owned())];
    let window = month_window("2026-11", &TimeZone::get("Asia/Shanghai").unwrap()).unwrap();
    let of_case = |case: &Case| {
        let mut counting = Counting::new(&names, T + Millis::hours(3));
        counting.count(case);
        let total = counting.finish("2026-11", window).total;
        (total.late_system, total.late_crew)
    };
    assert_eq!(of_case(&heard), (1, 0));
    heard.told.truncate(1);
    assert_eq!(of_case(&heard), (1, 0), "nobody of the crew was ever told");
    heard.told[0].1 = "老李".to_owned();
    assert_eq!(of_case(&heard), (0, 1));
}

#[test]
fn a_crew_is_one_whether_its_id_its_name_or_one_of_its_people_was_written_down() {
    let names = names_with(&["老李", "小王"]);
    for had_by in ["c1", "抢修一班", "小王"] {
        for late_by in ["c1", "抢修一班", "老李"] {
            let month = by(
                &names,
                &[
                    case(1, had_by, Some(0), Some(20), Some(40)),
                    // Told in time, and bound by the first until minute 40.
                    case(2, late_by, Some(10), Some(55), None),
                ],
            );
            let split = (month.total.late_capacity, month.total.late_crew);
            assert_eq!(split, (1, 0), "{had_by} {late_by}");
            let rows: Vec<_> =
                month.rows.iter().map(|row| (&*row.crew, &*row.crew_name, row.raised)).collect();
            assert_eq!(rows, [("c1", "抢修一班", 2), ("c2", "@SUM(1)", 0)], "{had_by} {late_by}");
        }
    }
}

#[test]
fn a_crew_that_was_still_out_from_the_month_before_was_bound_and_a_list_tells_like_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Store::open(dir.path()).unwrap();
    // T is the 23rd; the first of December is 7 days and 4 hours later.
    let first = Timestamp::from_rfc3339("2026-12-01T00:00:00+08:00").unwrap();
    let shifted = |mut case: Case, by: Millis| {
        let (i, mark) = (&mut case.incident, |mark: &mut Mark| mark.at = mark.at + by);
        (i.opened_at, i.due_at, i.p1_at) = (i.opened_at + by, i.due_at + by, i.p1_at.map(|at| at + by));
        i.life.departed.iter_mut().for_each(mark);
        i.life.arrived.iter_mut().for_each(|arrival| mark(&mut arrival.mark));
        i.life.safe.iter_mut().for_each(|safe| mark(&mut safe.mark));
        case
    };
    let since = first.since(T);
    let before =
        shifted(case(1, "c1", Some(0), Some(90), Some(100)), Millis(since.0 - Millis::minutes(20).0));
    let mut late = shifted(case(2, "c1", Some(10), Some(95), None), since);
    late.incident.life.acknowledged = None;
    let mut list = (*notice(&late.incident, "hook")).clone();
    (list.incident, list.event) = (None, crate::notice::DIGEST.to_owned());
    list.body["incidents"] = json!(["LG-TEST2"]);
    let list = Arc::new(list);
    let told_at = first + Millis::minutes(10);
    let sent = Delivery { notice: list.clone(), attempt: 1, at: told_at, outcome: Outcome::Sent };
    let open =
        |case: &Case| Write::Open(Box::new(case.incident.clone()), event(&case.incident, "opened"), vec![]);
    kept.commit(&[open(&before), open(&late), Write::Notices(vec![list]), Write::Delivery(sent)]).unwrap();
    assert_eq!(kept.reads().telling("LG-TEST2").unwrap().first_at, Some(told_at), "and on the board");
    let month = month_of_dir(dir.path(), "2026-12", &names(), first + Millis::hours(9)).unwrap();
    let total = &month.total;
    assert_eq!((total.raised, total.told, total.median_told_s), (1, 1, Some(600)));
    assert_eq!((total.late_capacity, total.late_crew, total.late_system), (1, 0, 0));
}

#[test]
fn drills_lists_the_system_and_what_was_withdrawn_count_nowhere() {
    let real = case(1, "c1", Some(0), Some(20), None);
    let (mut drill, mut list, mut system, mut voided) =
        (real.clone(), real.clone(), real.clone(), real.clone());
    drill.incident.life.drill = true;
    (list.incident.severity, list.incident.p1_at, list.incident.due_at) = (Severity::P3, None, NO_DUE);
    system.incident.scope = Scope::System;
    voided.incident.life.state = Stage::Void;
    let total = of(&[real, drill, list, system, voided]).total;
    assert_eq!((total.raised, total.arrived, total.voided, total.breached), (1, 1, 1, 0));
}

#[test]
fn an_arrival_by_word_alone_is_counted_as_such_until_the_desk_has_called() {
    let mut told = case(1, "c1", Some(0), Some(20), None);
    told.incident.life.arrived.as_mut().unwrap().proof = Proof::Unproven;
    assert_eq!(of(std::slice::from_ref(&told)).total.arrived_unproven, 1);
    told.incident.life.arrived.as_mut().unwrap().confirmed = Some(mark(25));
    assert_eq!(of(&[told]).total.arrived_unproven, 0);
}

#[test]
fn the_table_opens_in_a_chinese_excel_and_no_name_becomes_a_formula() {
    let mut simulated = case(1, "c1", Some(0), Some(20), None);
    simulated.incident.notes.push(NOTE_SIMULATED.to_owned());
    let text = month_csv(&of(&[simulated]), true);
    assert!(text.starts_with('\u{feff}') && text.ends_with("\r\n"));
    assert!(!text.replace("\r\n", "").contains(['\n', '\r']), "every line ends with CRLF");
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    assert_eq!(lines[0].split(',').next(), Some("责任区"));
    assert!(lines[1].starts_with("z1,解放责任区,c1,抢修一班,1,1,1,"), "{}", lines[1]);
    assert!(lines[2].starts_with("z2,'=2+2,c2,'@SUM(1),0,"), "{}", lines[2]);
    assert!(lines[3].starts_with("合计,,,,1,"), "{}", lines[3]);
    assert_eq!(lines[4], "其中模拟数据,1");
    let columns: Vec<usize> = lines[..4].iter().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [23; 4]);
}

#[test]
fn cells_that_could_hurt_are_quoted_or_marked() {
    for (raw, safe) in [
        ("plain", "plain"),
        ("a,b", "\"a,b\""),
        ("say \"x\"", "\"say \"\"x\"\"\""),
        ("line\nbreak", "\"line\nbreak\""),
        ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
        ("+86", "'+86"),
        ("-1", "'-1"),
        ("@cmd", "'@cmd"),
        ("  =1", "'  =1"),
        ("  two spaces", "\"  two spaces\""),
        ("\t=1", "'\t=1"),
    ] {
        assert_eq!(table(&[vec![Cell::from(raw)]]), format!("\u{feff}{safe}\r\n"), "{raw:?}");
    }
    assert_eq!(
        table(&[vec![Cell::Number(-5), Cell::Empty]]),
        "\u{feff}-5,\r\n",
        "a number of ours stays one"
    );
}

#[test]
fn situation_s50_a_shift_report_tells_local_times_with_their_offset_on_the_right_date() {
    // 18:00 to 08:00 in Shanghai; T is 20:00 there.
    let (from, to) = (T - Millis::hours(2), T + Millis::hours(12));
    let night = {
        let mut case = case(1, "c1", Some(0), None, None);
        (case.incident.opened_at, case.incident.p1_at) = (T + Millis::hours(5), Some(T + Millis::hours(5)));
        case.incident.due_at = T + Millis::hours(5) + Millis::minutes(30);
        case
    };
    let mut day_work = case(2, "", None, None, None);
    (day_work.incident.severity, day_work.incident.p1_at) = (Severity::P2, None);
    day_work.incident.opened_at = T - Millis::hours(10);
    day_work.incident.due_at = T + Millis::hours(14);
    let mut done = case(3, "c1", Some(0), Some(10), Some(12));
    (done.incident.life.state, done.incident.life.ended) = (Stage::Closed, Some(mark(200)));
    let mut drill = case(4, "c1", Some(0), None, None);
    drill.incident.life.drill = true;
    let accepted = [(Arc::from("LG-TEST1"), T + Millis::hours(11), json!({"by": "二班"}))];
    let cases = [night, day_work, done, drill];
    let names = names();
    let mut shift = Gathering::new((from, to), &names, to);
    cases.iter().for_each(|case| shift.see(&case.incident));
    let report = shift.finish(&accepted, Tellings::default());
    assert_eq!((&*report.from, &*report.to), ("2026-11-23 18:00:00+08:00", "2026-11-24 08:00:00+08:00"));
    let ids = |list: &[Brief]| list.iter().map(|brief| brief.id.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(ids(&report.opened.items), "LG-TEST3 LG-TEST1");
    assert_eq!(
        report.opened.items[1].opened_at, "2026-11-24 01:00:00+08:00",
        "01:00 belongs to the next date"
    );
    assert_eq!(ids(&report.worklist.items), "LG-TEST2", "opened before the shift, due in a day, not done");
    assert_eq!(
        (ids(&report.open.items), ids(&report.done.items)),
        ("LG-TEST1".to_owned(), "LG-TEST3".to_owned())
    );
    assert_eq!((report.breached.count, &*report.breached.items[0].id), (1, "LG-TEST1"));
    assert_eq!(report.handed_over[0].at, "2026-11-24 07:00:00+08:00");
    assert_eq!(report.handed_over[0].by.as_deref(), Some("二班"));
}

/// A store with two told incidents, one of them in another zone, and a notice that failed.
fn kept() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let (one, mut two) = (incident(1), incident(2));
    two.zone = Arc::from("z2");
    let (hook, sms) = (notice(&one, "hook"), notice(&two, "sms"));
    let tried = |notice: &Arc<Notice>, attempt, outcome| {
        Write::Delivery(Delivery { notice: notice.clone(), attempt, at: T + Millis::seconds(9), outcome })
    };
    let again = |second| Outcome::Retry(T + Millis::seconds(second), "answered 500".to_owned());
    let writes = [
        Write::Open(Box::new(one.clone()), event(&one, "opened"), vec![hook.clone()]),
        Write::Open(Box::new(two.clone()), event(&two, "opened"), vec![sms.clone()]),
        tried(&hook, 1, Outcome::Sent),
        tried(&sms, 1, again(10)),
        tried(&sms, 2, again(20)),
        tried(&sms, 3, Outcome::Failed("answered 500".to_owned())),
    ];
    store.commit(&writes).unwrap();
    (dir, store)
}

#[test]
fn failed_tellings_stand_in_the_chain_once_when_they_begin_and_once_when_they_are_given_up() {
    let (dir, store) = kept();
    let events = store.reads().timeline("LG-TEST2").unwrap();
    let words: Vec<&str> = events.iter().map(|(_, event)| &*event.event).collect();
    assert_eq!(words, ["opened", "tell_failed", "not_told"]);
    assert_eq!(events[1].1.body["error"], "answered 500");
    drop(store);
    let audit = verify_file(&dir.path().join(FILE)).unwrap();
    assert_eq!(audit.events, 5);
    let counts: Vec<String> = audit.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    assert_eq!(counts, ["not_told 1", "opened 2", "tell_failed 1", "told 1"]);
    let (number, hash) = audit.head.split_once(':').unwrap();
    assert_eq!((number, hash.len()), ("5", 64));
}

#[test]
fn a_telling_that_somebody_takes_out_of_the_record_is_found_whichever_it_is() {
    for (seq, edit) in [
        (2, "DELETE FROM event WHERE seq = 2"),
        (4, "UPDATE event SET body = replace(body, '500', '200') WHERE seq = 4"),
        (5, "UPDATE event SET kind = 'told' WHERE seq = 5"),
        (5, "DELETE FROM event WHERE seq = 5"),
    ] {
        let (dir, store) = kept();
        drop(store);
        let conn = Connection::open(dir.path().join(FILE)).unwrap();
        let triggers = "DROP TRIGGER event_is_never_changed; DROP TRIGGER event_is_never_removed;";
        conn.execute_batch(&format!("{triggers} {edit}")).unwrap();
        let found = verify_file(&dir.path().join(FILE)).unwrap_err().to_string();
        assert!(found.starts_with(&format!("event row {seq}:")), "{edit}: {found}");
    }
}

#[test]
fn notices_are_found_by_time_incident_zone_channel_and_outcome_and_proofs_by_nothing() {
    let (_dir, mut store) = kept();
    let to = Address { channel: "proof", to: "proof", phone: None };
    let mut proof = Notice::opened(&incident(3), None, &site(), to);
    proof.event = crate::notice::PROOF.to_owned();
    let proof = Arc::new(proof);
    store.commit(&[Write::Notices(vec![proof.clone()])]).unwrap();
    let ids = |filter: NoticeFilter| -> Vec<String> {
        store.reads().notices_by(&filter).unwrap().into_iter().map(|n| n.channel).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(ids(NoticeFilter::default()), ["hook", "sms"]);
    assert_eq!(ids(NoticeFilter { incident: some("LG-TEST2"), ..Default::default() }), ["sms"]);
    assert_eq!(ids(NoticeFilter { zone: some("z1"), ..Default::default() }), ["hook"]);
    assert_eq!(ids(NoticeFilter { channel: some("sms"), ..Default::default() }), ["sms"]);
    assert_eq!(ids(NoticeFilter { outcome: some("failed"), ..Default::default() }), ["sms"]);
    assert_eq!(ids(NoticeFilter { to: T + Millis(2), ..Default::default() }), ["hook"]);
    assert_eq!(ids(NoticeFilter { channel: some("proof"), ..Default::default() }), [""; 0]);
    // One that came out leaves nothing behind, in no list and not in the record.
    let sent = Delivery { notice: proof, attempt: 1, at: T, outcome: Outcome::Sent };
    store.commit(&[Write::Delivery(sent)]).unwrap();
    assert!(store.reads().unsent("proof", 9, false).unwrap().is_empty());
    assert_eq!(store.reads().verify().unwrap(), 5);
}

#[test]
fn a_month_from_the_store_has_closed_incidents_too_and_changes_nothing() {
    let (dir, mut store) = kept();
    let mut closed = incident(1);
    closed.life = case(1, "c1", Some(0), Some(20), Some(25)).incident.life;
    (closed.life.state, closed.life.ended) = (Stage::Closed, Some(mark(300)));
    closed.life.over_through = Some(T + Millis::minutes(300));
    store.commit(&[Write::Change(Box::new(closed.clone()), event(&closed, "close"))]).unwrap();
    let before = store.reads().verify().unwrap();
    let month = month_of_dir(dir.path(), "2026-11", &names(), T + Millis::hours(9)).unwrap();
    let total = &month.total;
    assert_eq!((total.raised, total.told, total.closed, total.arrived_in_time), (2, 1, 1, 1));
    assert_eq!((total.breached, total.late_system), (1, 1), "nobody was ever told of the other");
    assert_eq!(total.median_told_s, Some(8), "opened 1 ms after T, told 9 s after it");
    assert_eq!(store.reads().verify().unwrap(), before);
    let empty = month_of_dir(dir.path(), "2026-10", &names(), T + Millis::hours(9)).unwrap();
    assert_eq!(empty.total.raised, 0);
}
