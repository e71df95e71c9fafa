//! What the databases are given, by the built program, a real VictoriaMetrics and a real InfluxDB 1: every measurement and
//! field of the table, with the values that the HTTP interface tells, through an outage.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::office::CABINET;
use common::{Influx, Lampguard, Mqtt, Office, Site, Victoria, lit_now, now_ms, seconds, wait_until};
use lampguard_model::series::{self, INCIDENT_STATES, MEASUREMENTS, POST_STATES, number_of};
use serde_json::{Value, json};

/// A look at the city is every 30 s; so long is waited for two of them.
const TWO_LOOKS: std::time::Duration = seconds(75);

/// The newest sample of every series that begins with `prefix`: labels to (time, value).
fn newest(victoria: &Victoria, selector: &str) -> BTreeMap<BTreeMap<String, String>, (i64, f64)> {
    let read = |series: &Value| {
        let labels: BTreeMap<String, String> = serde_json::from_value(series["metric"].clone()).unwrap();
        let times = series["timestamps"].as_array().unwrap().iter().map(|at| at.as_i64().unwrap());
        let values = series["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap());
        (labels, times.zip(values).max_by_key(|(at, _)| *at).unwrap())
    };
    victoria.export(selector).iter().map(read).collect()
}

/// The newest value of the one series of a selector.
fn value(victoria: &Victoria, selector: &str) -> Option<f64> {
    let found = newest(victoria, selector);
    assert!(found.len() <= 1, "{selector}: {found:?}");
    found.into_values().next().map(|(_, value)| value)
}

impl Office {
    /// One round of readings with every field: two posts dangerous, one near it.
    fn send(&self, round: u64) {
        let mut client = Mqtt::connect(self.site.listener, "gateway");
        for post in 1..=41u64 {
            let leakage_ma = match post {
                3 => 60.5,
                22 => 70.25,
                41 => 92.5,
                30 if round < 3 => 8.0,
                _ => 0.5 + post as f64 / 100.0,
            };
            let reading = json!({
                "ts": now_ms(), "seq": round, "boot": 7, "leakage_ma": leakage_ma, "shell_v": 0.4, "supply_v": 228.4,
                "neutral_v": 1.2, "supply": "on", "lamp_a": 0.52, "lamp_w": if post == 9 { 1.0 } else { 98.0 },
                "power_factor": 0.97, "energy_kwh": 812.4, "earth_ohm": 3.1, "immersed": false, "water_mm": 0,
                "tilt_deg": 0.3, "impact": false, "door_open": false, "temperature_c": 14.2, "humidity_pct": 91,
                "battery_v": 3.6, "rssi_dbm": -87,
            });
            // The last one is the sensor in a cabinet.
            let device = if post == 41 { CABINET.to_owned() } else { format!("P{post:03}") };
            client.publish(&format!("lamp/z1/{device}/reading"), reading.to_string().as_bytes(), post);
            client.note_acks(100, seconds(10)).unwrap();
        }
        assert!(client.wait_for_acks(seconds(10)));
    }

    /// Waits until the newest rows say what the interface says.
    fn agree(&self) -> u64 {
        let mut compared = 0;
        wait_until("the databases to say what the interface says", TWO_LOOKS, || {
            std::thread::sleep(seconds(1));
            compared = 0;
            let told = self.lampguard.json("/api/v1/zones");
            let zones = told["items"].as_array().unwrap();
            zones.iter().all(|zone| self.zone_agrees(zone, &mut compared)) && self.books_agree(&mut compared)
        });
        compared
    }

    fn zone_agrees(&self, zone: &Value, compared: &mut u64) -> bool {
        let id = zone["zone"].as_str().unwrap();
        let mut all = self.lampguard.items(&format!("/api/v1/incidents?state=all&zone={id}&limit=1000"));
        all.retain(|incident| incident["drill"] == false);
        let count = |is: &dyn Fn(&Value) -> bool| json!(all.iter().filter(|incident| is(incident)).count());
        let truth = [
            ("posts", zone["posts"].clone()),
            ("reporting", zone["reporting"].clone()),
            ("lamps_due", zone["lamps"]["due"].clone()),
            ("lamps_lit", zone["lamps"]["lit"].clone()),
            ("lamps_unknown", zone["lamps"]["unknown"].clone()),
            ("lamps_excluded", zone["lamps"]["excluded"].clone()),
            ("leakage_ma_max", zone["worst"]["leakage_ma"]["value"].clone()),
            ("shell_v_max", zone["worst"]["shell_v"]["value"].clone()),
            ("open_p1", zone["open_p1"].clone()),
            ("opened_total", json!(all.len())),
            ("arrived_total", count(&|incident| !incident["arrived_at"].is_null())),
            ("breached_total", count(&|incident| incident["breached"] == true)),
            ("closed_total", count(&|incident| incident["state"] == "closed")),
        ];
        truth.iter().all(|(field, truth)| {
            *compared += 2;
            let by_metric = value(&self.victoria, &format!("zone_{field}{{zone=\"{id}\"}}"));
            let rows = self.influx.series(&format!("SELECT last(\"{field}\") FROM zone WHERE zone = '{id}'"));
            let by_row = rows.first().and_then(|row| row["values"][0][1].as_f64());
            by_metric == truth.as_f64() && by_row == truth.as_f64()
        })
    }

    fn books_agree(&self, compared: &mut u64) -> bool {
        let books = self.lampguard.accounting();
        let sum = |of: &str| books[of].as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>();
        let truth = [
            ("received_total", books["received"].as_u64().unwrap()),
            ("stored_total", books["stored"].as_u64().unwrap()),
            ("duplicate_total", books["duplicate"].as_u64().unwrap()),
            ("quarantined_total", sum("quarantined")),
            ("refused_total", sum("refused")),
            ("balanced", u64::from(books["balanced"] == true)),
            ("points_dropped_total", 0),
        ];
        truth.iter().all(|(field, truth)| {
            *compared += 1;
            value(&self.victoria, &format!("lampguard_{field}")) == Some(*truth as f64)
        })
    }

    /// Each open incident is one row, and says what the list says.
    fn incidents_agree(&self) -> u64 {
        let open = self.lampguard.items("/api/v1/incidents?limit=1000");
        for incident in &open {
            let (id, text) = (incident["id"].as_str().unwrap(), |key: &str| incident[key].as_str().unwrap());
            let field = |field: &str| {
                let found = newest(&self.victoria, &format!("incident_{field}{{id=\"{id}\"}}"));
                let (labels, (_, value)) =
                    found.into_iter().next().unwrap_or_else(|| panic!("{field} {incident}"));
                assert_eq!((&*labels["kind"], &*labels["zone"]), (text("kind"), text("zone")), "{labels:?}");
                assert_eq!(
                    labels.get("post").map(String::as_str),
                    incident["post_id"].as_str(),
                    "{labels:?}"
                );
                value
            };
            let state = number_of(&INCIDENT_STATES, text("state")).unwrap();
            assert_eq!(field("state"), f64::from(state), "{incident}");
            assert_eq!(format!("P{}", field("severity")), text("severity"), "{incident}");
            assert_eq!(field("breached") == 1.0, incident["breached"] == true, "{incident}");
            if let Some(measured) = incident["evidence"]["value"].as_f64() {
                assert_eq!(field("value"), measured, "{incident}");
            }
            if let Some(remaining_s) = incident["remaining_s"].as_f64() {
                let off = field("remaining_s") - remaining_s;
                assert!((-1.0..=40.0).contains(&off), "{off}: {incident}");
            }
        }
        assert!(open.len() >= 3, "{open:?}");
        open.len() as u64
    }
}

/// Fields and tags of both databases are those of the table, no more and no fewer.
fn every_field_is_there(office: &Office) -> usize {
    let mut fields = 0;
    for measurement in MEASUREMENTS {
        let name = measurement.name;
        let table: BTreeSet<String> =
            measurement.fields.iter().map(|field| series::metric_name(name, field.name)).collect();
        let found = office.victoria.export(&format!("{{__name__=~\"{name}_.*\"}}"));
        let found: BTreeSet<_> =
            found.iter().map(|series| series["metric"]["__name__"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, table, "{name} in VictoriaMetrics");
        let keys = |what: &str| -> BTreeSet<String> {
            let series = office.influx.series(&format!("SHOW {what} KEYS FROM {name}"));
            let rows = series.iter().flat_map(|series| series["values"].as_array().unwrap().clone());
            rows.map(|row| row[0].as_str().unwrap().to_owned()).collect()
        };
        let table: BTreeSet<_> = measurement.fields.iter().map(|field| field.name.to_owned()).collect();
        assert_eq!(keys("FIELD"), table, "{name} in InfluxDB");
        let tags = measurement.tags.iter().map(|tag| tag.name.to_owned());
        // One instance alone has no node to name.
        let tags: BTreeSet<_> = tags.filter(|tag| tag != "node").collect();
        assert_eq!(keys("TAG"), tags, "{name} in InfluxDB");
        fields += measurement.fields.len();
    }
    fields
}

/// What a cabinet measures is in no row of posts.
fn cabinet_stands_apart(office: &Office) {
    let of_cabinet = newest(&office.victoria, &format!("{{post=\"{CABINET}\",__name__=~\".*_leakage_ma\"}}"));
    assert_eq!(of_cabinet.len(), 1, "{of_cabinet:?}");
    let (labels, (_, leakage_ma)) = of_cabinet.into_iter().next().unwrap();
    assert_eq!((&*labels["__name__"], &*labels["feeder"], leakage_ma), ("cabinet_leakage_ma", "F1", 92.5));
    let rows = office.influx.series(&format!("SELECT last(leakage_ma) FROM lamp WHERE post = '{CABINET}'"));
    assert!(rows.is_empty(), "{rows:?}");
}

#[test]
fn every_measurement_and_field_arrives_in_both_databases_and_says_what_the_interface_says() {
    let Some(office) = Office::open("") else { return };
    let weather = json!({"zone": "all", "rain_mm_h": 12.5, "warning": "yellow", "wet": true});
    office.post(0, "/api/v1/weather", &weather);
    office.send(1);
    office.send(2);
    for post in ["P005", CABINET] {
        let hand = json!([{"post_id": post, "cause": "manual", "check": "ok", "pen_band_v": 0, "supply": "on", "by": "李四"}]);
        office.post(0, "/api/v1/readings", &hand);
    }
    let told = json!({"key": "call", "what": "shock", "post_id": "P010"});
    let id = office.post(0, "/api/v1/incidents", &told)["id"].as_str().unwrap().to_owned();
    office.post(
        0,
        "/api/v1/incidents",
        &json!({"key": "drill", "what": "shock", "post_id": "P011", "drill": true}),
    );

    // A look at the city.
    let state_of =
        |id: &str| newest(&office.victoria, &format!("incident_state{{id=\"{id}\"}}")).into_values().next();
    wait_until("the row of an open incident", TWO_LOOKS, || {
        std::thread::sleep(seconds(1));
        state_of(&id).is_some_and(|(_, state)| state == 0.0)
    });
    let fields = every_field_is_there(&office);
    let incidents = office.incidents_agree();
    let colour = |post: &str| {
        newest(&office.victoria, &format!("abnormal_state{{post=\"{post}\"}}")).into_iter().next()
    };
    let code = |word| f64::from(number_of(&POST_STATES, word).unwrap());
    let (labels, (_, state)) = colour("P003").unwrap();
    let place = lampguard_model::geohash::encode(113.62, 34.75, 8).unwrap();
    assert_eq!((&*labels["zone"], &*labels["road"], &labels["geohash"]), ("z1", "解放路", &place));
    assert_eq!(state, code("danger"));
    assert_eq!(colour("P030").map(|(_, (_, state))| state), Some(code("warning")));
    assert!(colour("P001").is_none(), "a normal post has no row");

    cabinet_stands_apart(&office);

    // It is made safe, repaired, verified and closed; another post is well again.
    let at = format!("/api/v1/incidents/{id}");
    let here = json!({"key": "1", "position": {"lon": 113.62, "lat": 34.75, "accuracy_m": 12.0}});
    office.post(1, &format!("{at}/arrive"), &here);
    office.post(1, &format!("{at}/make_safe"), &json!({"key": "1", "method": "guarded"}));
    office.post(
        1,
        &format!("{at}/repair"),
        &json!({"key": "1", "cause": "wet junction", "parts": "terminal"}),
    );
    office.post(0, &format!("{at}/verify"), &json!({"key": "1", "reason": "measured twice by two people"}));
    let before_closing = now_ms();
    assert_eq!(office.post(2, &format!("{at}/close"), &json!({"key": "1"}))["state"], "closed");
    office.send(3);
    wait_until("the last row of a closed incident", TWO_LOOKS, || {
        std::thread::sleep(seconds(1));
        state_of(&id).is_some_and(|(_, state)| state == 7.0)
    });
    let (closed_at, _) = state_of(&id).unwrap();
    assert!((before_closing - 1000..now_ms()).contains(&closed_at), "{closed_at}");
    // The look that told of the closing may have been before the reading.
    wait_until("one last row of the post", TWO_LOOKS, || {
        std::thread::sleep(seconds(1));
        colour("P030").is_some_and(|(_, (_, state))| state == code("normal"))
    });
    let compared = office.agree();
    assert_eq!(state_of(&id).map(|(at, _)| at), Some(closed_at), "and no row after the last");
    assert_eq!(value(&office.victoria, "zone_response_le_5m_total{zone=\"z1\"}"), Some(1.0));
    eprintln!(
        "series: {} measurements, {fields} fields in each of 2 databases, {incidents} incidents, {compared} values compared",
        MEASUREMENTS.len()
    );
    office.lampguard.balanced();
    office.lampguard.stop();
}

#[test]
fn an_incident_that_ends_right_before_an_ordinary_stop_has_its_last_row() {
    let Some(office) = Office::open("") else { return };
    let told = json!({"key": "call", "what": "shock", "post_id": "P010"});
    let id = office.post(0, "/api/v1/incidents", &told)["id"].as_str().unwrap().to_owned();
    let state = || value(&office.victoria, &format!("incident_state{{id=\"{id}\"}}"));
    wait_until("the row of an open incident", TWO_LOOKS, || {
        std::thread::sleep(seconds(1));
        state() == Some(0.0)
    });
    let at = format!("/api/v1/incidents/{id}/void");
    let first = office.post(0, &at, &json!({"key": "1", "reason": "prank"}));
    let second = json!({"key": "2", "reason": "prank", "second": first["pending_id"]});
    assert_eq!(office.post(2, &at, &second)["state"], "void");
    office.lampguard.stop();
    let void = f64::from(number_of(&INCIDENT_STATES, "void").unwrap());
    // It answers before the rows can be asked for.
    wait_until("the last row", seconds(10), || {
        std::thread::sleep(seconds(1));
        state() == Some(void)
    });
    let rows = office.influx.series(&format!("SELECT last(state) FROM incident WHERE id = '{id}'"));
    assert_eq!(rows[0]["values"][0][1].as_f64(), Some(void));
}

#[test]
fn an_outage_of_the_database_within_the_limit_loses_no_point_and_delays_no_reading() {
    let Some(mut victoria) = Victoria::start() else { return };
    let site = Site::new().with_database(victoria.port);
    let lampguard = site.start();
    let times = |victoria: &Victoria| -> Vec<i64> {
        let series = victoria.export("lampguard_uptime_s");
        let times = series.iter().flat_map(|series| series["timestamps"].as_array().unwrap().clone());
        let mut times: Vec<_> = times.map(|at| at.as_i64().unwrap()).collect();
        times.sort_unstable();
        times
    };
    wait_until("the first row", seconds(40), || {
        std::thread::sleep(seconds(1));
        !times(&victoria).is_empty()
    });
    let (status, _) = victoria.process.terminate(seconds(30));
    assert!(status.success(), "{status}");
    let down_at = now_ms();
    let mut client = Mqtt::connect(site.listener, "gateway");
    for number in 0..200 {
        client.publish("lamp/z1/P001/reading", common::reading(7, number, 0.5).as_bytes(), number);
        client.note_acks(100, seconds(5)).unwrap();
    }
    assert!(client.wait_for_acks(seconds(5)), "readings are acknowledged as ever");
    wait_until("points to wait", seconds(60), || {
        now_ms() - down_at > 35_000 && lampguard.metric("lampguard_tsdb_points_waiting_bytes") > 0.0
    });
    let up_at = now_ms();
    victoria.start_again();
    wait_until("a row from after the outage", seconds(60), || {
        std::thread::sleep(seconds(1));
        times(&victoria).last().is_some_and(|at| *at > up_at)
    });
    let times = times(&victoria);
    let during = times.iter().filter(|at| (down_at..up_at).contains(*at)).count();
    assert!(during >= 2, "{times:?}");
    for pair in times.windows(2) {
        assert!((14_000..18_000).contains(&(pair[1] - pair[0])), "a gap: {times:?}");
    }
    assert_eq!(lampguard.metric("lampguard_tsdb_points_dropped_total"), 0.0);
    wait_until("nothing to wait", seconds(20), || {
        lampguard.metric("lampguard_tsdb_points_waiting_bytes") == 0.0
    });
    lampguard.balanced();
    lampguard.stop();
}

#[test]
fn two_nodes_that_judge_write_each_its_own_posts_so_that_their_rows_add_up_to_the_city() {
    let Some(victoria) = Victoria::start() else { return };
    let [one, two] = [(), ()].map(|()| Site::new().with_database(victoria.port).with(&lit_now()));
    let ports =
        [("one", one.web, "zones = [\"z1\"]\n"), ("two", two.web, "zones = [\"z2\"]\nfeeders = [\"F1\"]\n")];
    let join = |site: Site, name: &str| {
        let mut text = format!("[nodes]\nname = \"{name}\"\n");
        for (id, port, owns) in &ports {
            site.write(&format!("{id}.token"), "none yet\n");
            let token = if *id == name { String::new() } else { format!("token_file = \"{id}.token\"\n") };
            text +=
                &format!("[[nodes.peer]]\nid = \"{id}\"\nurl = \"http://127.0.0.1:{port}\"\n{token}{owns}");
        }
        site.with(&text)
    };
    let (one, two) = (join(one, "one"), join(two, "two"));
    let running = [one.start(), two.start()];
    let of = |field: &str| -> BTreeMap<(String, String), f64> {
        let found = newest(&victoria, &format!("zone_{field}"));
        let read = |(labels, (_, value)): (BTreeMap<String, String>, (i64, f64))| {
            ((labels["zone"].clone(), labels["node"].clone()), value)
        };
        found.into_iter().map(read).collect()
    };
    wait_until("rows of both nodes", TWO_LOOKS, || {
        std::thread::sleep(seconds(1));
        of("lamps_due").len() == 3
    });
    // Of the 20 posts of a zone five hang on F1.
    let rows = |[one, of_feeder, two]: [f64; 3]| {
        let of = [("z1", "one", one), ("z1", "two", of_feeder), ("z2", "two", two)];
        BTreeMap::from(of.map(|(zone, node, value)| ((zone.to_owned(), node.to_owned()), value)))
    };
    assert_eq!(of("posts"), rows([15.0, 5.0, 20.0]));
    assert_eq!(of("lamps_due"), rows([15.0, 5.0, 20.0]));
    running.into_iter().for_each(Lampguard::stop);
}

#[test]
fn doctor_asks_an_influxdb_for_its_version_its_database_and_how_long_it_keeps_rows() {
    let Some(influx) = Influx::start() else { return };
    let site = |database: &str| {
        let (port, days) = (influx.port, "retention_days = 400");
        Site::new().with(&format!(
            "[[tsdb]]\nid = \"influx\"\nurl = \"http://127.0.0.1:{port}\"\napi = \"v1\"\nbucket = \"{database}\"\n{days}\n"
        ))
    };
    let said = |site: &Site| {
        let (out, _) = common::process::texts(&site.run(&["doctor"]));
        out.lines().filter(|line| line.contains("tsdb influx")).collect::<Vec<_>>().join("\n")
    };
    let good = said(&site("lampguard"));
    assert!(good.contains("InfluxDB 1.") && good.contains("for ever") && !good.contains("BAD"), "{good}");
    let missing = said(&site("elsewhere"));
    assert!(missing.contains("BAD") && missing.contains("CREATE DATABASE"), "{missing}");
    influx.ask("CREATE RETENTION POLICY month ON lampguard DURATION 30d REPLICATION 1 DEFAULT");
    let short = said(&site("lampguard"));
    assert!(short.contains("BAD") && short.contains("keeps 30 days"), "{short}");
}
