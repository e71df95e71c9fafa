//! Every question of every dashboard about a storm that the simulator sends: through a real Mosquitto into the built program
//! and on into both databases. None is empty, and what can be compared is what is true of the city and what its sensors
//! sent, as the simulator says it and the test hears it at the broker. The program is asked for nothing but its incidents' ids.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::time::Instant;

use common::handled::Between;
use common::panels::{Counts, Frame, boards, step_s};
use common::shown::{DUE_S, Known, Look};
use common::storm::{SEED, Sent, Storm};
use common::{Mosquitto, Office, Site, now_ms, seconds, wait_until};
use lampguard_dashboards::Source;
use lampguard_dashboards::query::queries;
use serde_json::{Value, json};

/// Stricter than by rule, so that a deadline passes, a lamp counts as out and a leak is warned of while the test waits.
fn policy() -> String {
    format!("[due]\np1 = \"{DUE_S} s\"\n[lamp_out]\ndark_for = \"5 s\"\n[leak_warning]\nover = \"5 s\"\n")
}

/// The city runs for so long, seconds: rain reaches every hazard, and each is looked at several times.
const RUNS_S: i64 = 45;
/// Numbers that each source has to have compared, and questions of which.
const COMPARED_MIN: u64 = 1500;
const HELD_MIN: u64 = 290;

/// The one thing that no single post has: sensors with a battery measure no supply. It is asked of a post that has one.
const BATTERY: (&str, &str, &str) = ("lg-post", "Signal and battery", "B");

/// Nobody has that there: the simulator's cabinets have no meter.
const METERED: (&str, &str, &str) = ("lg-lit", "Energy", "B");

/// What a sensor in a cabinet measures, and LG-03 draws of it.
const OF_CABINET: [(&str, &str); 2] = [("Leakage, and rain", "A"), ("Supply voltage", "A")];

/// Where somebody works, and who says so.
struct Case<'a> {
    office: &'a Office,
    id: String,
    here: Value,
}

impl<'a> Case<'a> {
    /// The incident of a post, once it is there.
    fn of(office: &'a Office, storm: &Storm, post: &str) -> Self {
        let mut id = String::new();
        wait_until(&format!("an incident of {post}"), seconds(30), || {
            let open = office.lampguard.items("/api/v1/incidents?limit=1000");
            let found = open.iter().find(|incident| incident["post_id"] == *post);
            id = found.map_or("", |incident| incident["id"].as_str().unwrap()).to_owned();
            !id.is_empty()
        });
        let row = storm.row(post);
        Self { office, id, here: json!({"lon": row.lon, "lat": row.lat, "accuracy_m": 5.0}) }
    }

    /// A move of the desk (0), of the crew of that zone (1), or of whoever may do all (2).
    fn moves(&self, by: usize, to: &str, mut body: Value) -> Value {
        body["key"] = json!("1");
        self.office.post(by, &format!("/api/v1/incidents/{}/{to}", self.id), &body)
    }

    /// Somebody stands there; when.
    fn arrive(&self, is_late: bool) -> i64 {
        let incident = self.moves(1, "arrive", json!({"position": self.here}));
        assert_eq!(incident["breached"], is_late, "came {} s before the deadline", incident["remaining_s"]);
        now_ms()
    }
}

/// A crew comes at once, the fault is really gone, and the case is closed; when each move was made.
fn cure(office: &Office, storm: &Storm, sent: &Sent, post: &str) -> Vec<Between> {
    let case = Case::of(office, storm, post);
    let mut moves = Vec::new();
    let mut timed = |to: &dyn Fn()| {
        std::thread::sleep(seconds(1));
        let before = now_ms();
        to();
        moves.push((before, now_ms()));
    };
    let by_crew = |to: &str, body: Value| drop(case.moves(1, to, body));
    timed(&|| by_crew("acknowledge", json!({})));
    timed(&|| by_crew("depart", json!({})));
    timed(&|| {
        case.arrive(false);
    });
    timed(&|| by_crew("make_safe", json!({"method": "guarded"})));
    wait_until("it to be dangerous for two periods", seconds(30), || {
        std::thread::sleep(seconds(1));
        sent.truth()[post]["observable"] == true
    });
    sent.repair(post);
    wait_until("the repair to show", seconds(30), || {
        std::thread::sleep(seconds(1));
        sent.newest(post, "leakage_ma", 3).into_iter().all(|leakage_ma| leakage_ma < 5.0)
    });
    timed(&|| by_crew("repair", json!({"cause": "wet junction", "parts": "terminal"})));
    timed(&|| drop(case.moves(0, "verify", json!({"reason": "measured twice by two people"}))));
    assert_eq!(case.moves(2, "close", json!({}))["state"], "closed");
    moves
}

/// Somebody comes to a dangerous post of that zone whose deadline is over: the post, and when.
fn come_late(office: &Office, storm: &Storm, sent: &Sent, cured: &str) -> (String, i64) {
    // The finest sensor measures everything that a dashboard can show of a post on the mains.
    let fits = |post: &str, line: &Value| {
        line["observable"] == true
            && line["class"] == "dangerous"
            && storm.row(post).zone == storm.row(cured).zone
            && storm.row(post).model == "LG-H2"
            && post != cured
    };
    let mut post = None;
    wait_until("a second danger in that zone", seconds(30), || {
        post = sent.truth().into_iter().find(|(post, line)| fits(post, line)).map(|(post, _)| post);
        post.is_some()
    });
    let post = post.unwrap();
    let case = Case::of(office, storm, &post);
    wait_until("its deadline to pass", seconds(40), || {
        office.lampguard.json(&format!("/api/v1/incidents/{}", case.id))["breached"] == true
    });
    let arrived = case.arrive(true);
    (post, arrived)
}

/// Sends the storm, does what people do, and says what is known at its end.
fn live(office: &Office, storm: Storm, broker: u16) -> Known {
    office.lampguard.wait_for_broker();
    // What a counter does before its first row nobody can see in a difference.
    wait_until("the first row of a zone", seconds(40), || {
        std::thread::sleep(seconds(1));
        !office.victoria.export("zone_opened_total").is_empty()
    });
    let sent = Sent::start(&storm, &office.site, broker);
    let [zone, _] = Storm::WORKED;
    let here = |post: &&String| storm.row(post).zone == zone;
    let cured = storm.leaking.iter().find(here).expect("the seed gives that zone a leak").clone();
    let moves = cure(office, &storm, &sent, &cured);
    let (late, at) = come_late(office, &storm, &sent, &cured);
    while now_ms() < sent.since_ms + RUNS_S * 1000 {
        std::thread::sleep(seconds(1));
    }
    let (truth, heard) = sent.end();
    let arrived = BTreeMap::from([(cured.clone(), moves[2].1), (late.clone(), at)]);
    Known { storm, truth, heard, cured, late, arrived, moves }
}

/// What was taken, against what was heard at the broker.
fn count_readings(office: &Office, known: &Known) {
    let books = office.lampguard.balanced();
    let heard = &known.heard;
    assert!(heard.again > 0, "the scenario delivers some twice");
    let counts = (&json!(heard.readings - heard.again), &json!(heard.again));
    assert_eq!((&books["stored"], &books["duplicate"]), counts, "{books}");
    for zone in ["z1", "z2", "z3", "z4"] {
        for (of, rows) in [("lamp", &known.storm.rows), ("cabinet", &known.storm.cabinets)] {
            let heard_of = rows.iter().filter(|row| row.zone == zone);
            let sent: usize = heard_of.filter_map(|row| heard.posts.get(&row.post)).map(BTreeMap::len).sum();
            assert!(sent > 0, "{of} in {zone}");
            let metrics = || {
                let series = office.victoria.export(&format!("{of}_seq{{zone=\"{zone}\"}}"));
                series.iter().map(|series| series["values"].as_array().unwrap().len()).sum::<usize>()
            };
            let count = format!("SELECT count(\"seq\") FROM \"{of}\" WHERE \"zone\" = '{zone}'");
            let rows = || Some(office.influx.series(&count).first()?["values"][0][1].clone());
            wait_until("every reading to be in both databases", seconds(20), || {
                std::thread::sleep(seconds(1));
                metrics() >= sent && rows().is_some_and(|rows| rows.as_u64() >= Some(sent as u64))
            });
            assert_eq!((metrics(), rows()), (sent, Some(json!(sent))), "{of} in {zone}");
        }
    }
}

/// Asks everything of one source once, of the whole city and of the zone, road and post where somebody came late; what is
/// wrong.
fn ask_all(office: &Office, known: &Known, source: Source, counts: &mut Counts) -> Vec<String> {
    let mut faults = Vec::new();
    // What came last is in memory and hidden until then.
    office.victoria.export("zone_posts");
    let late = known.storm.row(&known.late);
    let battery = known.storm.rows.iter().find(|row| known.heard.newest(&row.post, "battery_v").is_some());
    let battery = battery.expect("the seed gives some post a battery");
    for one in [false, true] {
        for (board, dashboard) in boards(source) {
            for query in queries(&dashboard) {
                let is_battery = (&*board, &*query.of, &*query.ref_id) == BATTERY;
                let post = if is_battery { &battery.post } else { &late.post };
                let mut values = BTreeMap::from([("post", &**post)]);
                if one {
                    values.extend([("zone", &*late.zone), ("road", &*late.road)]);
                }
                let (zone, road) = (values.get("zone").copied(), values.get("road").copied());
                // VictoriaMetrics shows the step before in place of one that is not a second old (`-search.latencyOffset`).
                let to = (now_ms() - 2000) / 1000 * 1000;
                let step_ms = i64::from(step_s(&query, &values)) * 1000;
                let look = Look { known, source, to, step_ms, zone, road, post };
                counts.queries += 1;
                counts.panels.insert((board.clone(), query.of.clone()));
                let at = format!("{board}, {}, {}: {}", query.of, query.ref_id, query.text);
                let frames = match office.ask(&query, &values, look.to) {
                    Ok(frames) => frames,
                    Err(error) => {
                        faults.push(format!("{at}: {error}"));
                        continue;
                    }
                };
                let full =
                    frames.iter().filter(|frame| Frame::last(frame).is_some_and(f64::is_finite)).count();
                counts.frames += full as u64;
                let is_metered = (&*board, &*query.of, &*query.ref_id) == METERED;
                if (full == 0) != is_metered {
                    faults.push(format!("{at}: {full} lines with a value"));
                }
                if full == 0 {
                    continue;
                }
                let checks = look.checks(&board, &query, &frames);
                counts.compared += checks.len() as u64;
                counts.held += u64::from(!checks.is_empty());
                faults.extend(checks.iter().filter_map(common::shown::Check::fault));
            }
        }
    }
    faults
}

/// Asks what LG-03 draws of a sensor in a cabinet; what is wrong.
fn ask_cabinet(office: &Office, known: &Known, source: Source, counts: &mut Counts) -> Vec<String> {
    let cabinet = &known.storm.cabinets[0];
    let values = BTreeMap::from([("post", &*cabinet.post), ("zone", &*cabinet.zone)]);
    let (_, dashboard) = boards(source).into_iter().find(|(board, _)| board == "lg-post").unwrap();
    let mut faults = Vec::new();
    for query in queries(&dashboard) {
        if !OF_CABINET.contains(&(&*query.of, &*query.ref_id)) {
            continue;
        }
        let to = (now_ms() - 2000) / 1000 * 1000;
        let step_ms = i64::from(step_s(&query, &values)) * 1000;
        let look =
            Look { known, source, to, step_ms, zone: Some(&cabinet.zone), road: None, post: &cabinet.post };
        let frames = office.ask(&query, &values, to).unwrap();
        let checks = look.checks("lg-post", &query, &frames);
        if frames.len() != 1 || checks.is_empty() {
            faults.push(format!("{}, {}: {frames:?} of {}", query.of, query.text, cabinet.post));
        }
        counts.compared += checks.len() as u64;
        faults.extend(checks.iter().filter_map(common::shown::Check::fault));
    }
    faults
}

#[test]
fn every_question_of_every_dashboard_shows_what_is_true_of_a_simulated_storm() {
    let Some(broker) = Mosquitto::start() else { return };
    let storm = Storm::plan();
    let site = Site::new().with_broker(broker.port, "").with(Storm::ZONES);
    site.write("posts.csv", &storm.register);
    let Some(mut office) = Office::at(site, &policy()) else { return };
    let [zone, crew] = Storm::WORKED;
    office.tokens[1] = office.site.token_named("crew", crew, &["--zone", zone]);
    let known = live(&office, storm, broker.port);
    eprintln!(
        "seed {SEED}: {} readings, {} dangerous posts, {} dark lamps; {} cured, {} reached late",
        known.heard.readings - known.heard.again,
        known.dangerous().len(),
        known.storm.dark.len(),
        known.cured,
        known.late
    );
    assert!(known.dangerous().len() >= 8, "{:?}", known.truth);
    assert!(
        known.truth.keys().eq(&known.dangerous()),
        "the seed leaves no post near a limit: {:?}",
        known.truth
    );
    count_readings(&office, &known);
    let began = Instant::now();
    for source in [Source::Prometheus, Source::Influxql] {
        let (mut faults, mut counts);
        loop {
            counts = Counts::default();
            faults = ask_all(&office, &known, source, &mut counts);
            faults.extend(ask_cabinet(&office, &known, source, &mut counts));
            // Rows are written every 30 s; two minutes after the end the silence of the sensors begins to count.
            if faults.is_empty() || began.elapsed() > seconds(75) {
                break;
            }
            std::thread::sleep(seconds(3));
        }
        let first: Vec<_> = faults.iter().take(40).cloned().collect();
        assert!(faults.is_empty(), "{source:?}, {} faults:\n{}", faults.len(), first.join("\n"));
        counts.tell(source);
        assert!(counts.compared >= COMPARED_MIN && counts.held >= HELD_MIN, "{counts:?}");
    }
    office.lampguard.balanced();
    office.lampguard.stop();
}
