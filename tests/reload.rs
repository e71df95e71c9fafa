//! SIGHUP: register, lighting and policy change while `serve` runs, whole or not at all.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::http::Browser;
use common::site::register;
use common::{Lampguard, Site, now_ms, reading, seconds, wait_until};
use serde_json::{Value, json};

/// Asks for it and waits until it was followed, or refused.
fn hang_up(lampguard: &mut Lampguard) -> bool {
    let counts = |it: &Lampguard| {
        ["lampguard_reload_done_total", "lampguard_reload_failed_total"].map(|name| it.metric(name))
    };
    let before = counts(lampguard);
    lampguard.process.hang_up();
    wait_until("SIGHUP to be followed", seconds(20), || counts(lampguard) != before);
    let after = counts(lampguard);
    assert_eq!(after[0] + after[1], before[0] + before[1] + 1.0);
    after[0] > before[0]
}

fn send(lampguard: &Lampguard, device: &str, from: u64, leakage_ma: f64) {
    for seq in from..from + 2 {
        let mut one: Value = serde_json::from_str(&reading(1, seq, leakage_ma)).unwrap();
        one["device"] = json!(device);
        assert_eq!(lampguard.post("/api/v1/readings", &one.to_string()).status, 200);
    }
}

fn incidents(lampguard: &Lampguard, count: usize) -> Vec<Value> {
    wait_until(&format!("{count} incidents"), seconds(20), || {
        lampguard.items("/api/v1/incidents").len() >= count
    });
    let found = lampguard.items("/api/v1/incidents");
    assert_eq!(found.len(), count, "{found:#?}");
    found
}

/// Minutes of the day in Asia/Shanghai from now, as a timetable says them.
fn clock(from_now: i64) -> String {
    let minute = (now_ms() / 60_000 + 480 + from_now).rem_euclid(1440);
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// The crew's link opens the incident there, with the way to the post, and moves it; the page offers the moves that the
/// API takes to that crew and to no other.
fn its_crew_acts(site: &Site, lampguard: &Lampguard, id: &str) {
    let link = format!("/c/{}", site.crew_link(id, "c1", now_ms() + 3_600_000));
    let mut phone = Browser::new(&lampguard.url);
    let page = phone.get(&link);
    assert!(page.status == 200 && page.text.contains("geo:34.750000,113.620000"), "{}", page.text);
    // Amap and Baidu get the coordinates that they mean, some hundred metres off these.
    for link in [
        "uri.amap.com/navigation?to=113.626",
        "api.map.baidu.com/marker?location=34.75",
        "maps.apple.com/?daddr=34.750000,113.620000",
    ] {
        assert!(page.text.contains(link), "{link}: {}", page.text);
    }
    let answer = phone.form(&format!("{link}/acknowledge"), &format!("incident={id}&key=1"));
    assert_eq!((answer.status, answer.header("location")), (303, &*format!("{link}?done=acknowledge")));
    for (crew, offered) in [("z1", true), ("z2", false)] {
        let token = site.token_named("crew", crew, &["--zone", crew]);
        let page = common::http::try_get(&format!("{}/incidents/{id}", lampguard.url), Some(&token)).unwrap();
        assert_eq!(page.text.contains(&format!("/incidents/{id}/depart")), offered, "{}", page.text);
        let board = common::http::try_get(&format!("{}/", lampguard.url), Some(&token)).unwrap();
        assert_eq!(board.text.contains(&format!("/incidents/{id}#moves")), offered, "{}", board.text);
    }
}

#[test]
fn a_post_that_sighup_brings_is_shown_and_judged_in_its_zone_and_a_strangers_incident_becomes_its_posts() {
    let site = Site::new();
    let mut lampguard = site.start();
    assert_eq!(lampguard.items("/api/v1/posts").len(), 40);
    send(&lampguard, "D-77", 0, 60.0);
    let stranger = incidents(&lampguard, 1).remove(0);
    assert_eq!((&stranger["post_id"], &stranger["zone"]), (&json!("D-77"), &json!("unregistered")));
    let new = "P901,,z2,新路,1,,F9,C9,113.62,34.75,1,100,false,2026-11-25,\n\
               P902,D-77,z1,新路,2,,F9,C9,113.62,34.75,1,100,false,2026-11-25,\n";
    // P001 goes.
    let text = register().replacen("P001,,z1,解放路,1,,F1,C1,113.62,34.75,1,100,false,2020-01-01,\n", "", 1);
    site.write("posts.csv", &format!("{text}{new}"));
    assert!(hang_up(&mut lampguard), "{}", lampguard.process.stderr());
    let posts = lampguard.items("/api/v1/posts");
    let ids: Vec<&str> = posts.iter().map(|post| post["post_id"].as_str().unwrap()).collect();
    assert!(posts.len() == 41 && ids.contains(&"P901") && !ids.contains(&"P001"), "{ids:?}");
    assert!(!ids.contains(&"D-77"), "it is P902 now");
    let said = lampguard.process.stderr();
    assert!(said.contains("added=2 removed=1 moved=0"), "{said}");
    assert!(said.contains("gone from the register") && said.contains("posts=\"P001\""), "{said}");
    send(&lampguard, "P901", 0, 50.0);
    let found = incidents(&lampguard, 2);
    let own = found.iter().find(|incident| incident["post_id"] == "P901").unwrap();
    assert_eq!((&own["zone"], &own["feeder"], &own["road"]), (&json!("z2"), &json!("F9"), &json!("新路")));
    // What comes from the stranger now is P902's, and stays one incident.
    send(&lampguard, "D-77", 2, 70.0);
    wait_until("the reading of P902", seconds(10), || {
        !lampguard.json("/api/v1/posts/P902")["last"].is_null()
    });
    let found = incidents(&lampguard, 2);
    assert!(found.iter().any(|incident| incident["id"] == stranger["id"]));
    let post = lampguard.json("/api/v1/posts/P902");
    assert_eq!(
        (&post["incidents"], &post["state"]),
        (&json!([stranger["id"]]), &json!("danger")),
        "{post:#}"
    );
    let devices = lampguard.items("/api/v1/devices?registered=false");
    assert!(devices.is_empty(), "{devices:#?}");
    // The crew that acts on it finds it in its zone, and sees who called.
    let of_zone = |zone: &str| {
        let found = lampguard.items(&format!("/api/v1/incidents?zone={zone}"));
        found.iter().any(|incident| incident["id"] == stranger["id"])
    };
    assert!(of_zone("z1") && !of_zone("unregistered") && !of_zone("z2"));
    let desk = site.token_named("duty", "desk", &[]);
    let told = json!({"key": "k", "what": "live", "post_id": "P902", "caller": "13800000000"}).to_string();
    let url = format!("{}/api/v1/incidents", lampguard.url);
    assert_eq!(common::http::try_post(&url, Some(&desk), told.as_bytes()).unwrap().status, 201);
    let crew = site.token_named("crew", "crew", &["--zone", "z1"]);
    let url = format!("{url}/{}", stranger["id"].as_str().unwrap());
    let seen = common::http::try_get(&url, Some(&crew)).unwrap();
    assert!(seen.status == 200 && seen.text.contains("13800000000"), "{}", seen.text);
    its_crew_acts(&site, &lampguard, stranger["id"].as_str().unwrap());
    lampguard.balanced();
    lampguard.stop();
    let output = site.run(&["audit", "verify"]);
    assert!(output.status.success(), "{output:?}");
    // And after a restart by the new register nothing is lost or twice.
    let again = site.start();
    let kept = incidents(&again, 2);
    let due = |incidents: &[Value]| {
        let mut due: Vec<String> = incidents.iter().map(|i| format!("{} {}", i["id"], i["due_at"])).collect();
        due.sort();
        due
    };
    assert_eq!(due(&kept), due(&found));
    again.stop();
}

#[test]
fn a_post_in_danger_that_is_renamed_or_struck_is_shown_in_danger_with_its_incident() {
    let site = Site::new();
    let with_p1 = |name: &str| {
        let old = "P001,,z1,";
        register().replacen(old, &format!("{name},D-1,z1,"), 1)
    };
    site.write("posts.csv", &with_p1("P001"));
    let mut lampguard = site.start();
    send(&lampguard, "D-1", 0, 60.0);
    let known = incidents(&lampguard, 1).remove(0);
    let struck =
        register().replacen("P001,,z1,解放路,1,,F1,C1,113.62,34.75,1,100,false,2020-01-01,\n", "", 1);
    for (seq, (name, text)) in [("P901", with_p1("P901")), ("P901", struck)].into_iter().enumerate() {
        site.write("posts.csv", &text);
        assert!(hang_up(&mut lampguard), "{}", lampguard.process.stderr());
        send(&lampguard, "D-1", 2 + 2 * seq as u64, 61.0);
        wait_until("its reading", seconds(10), || {
            let posts = lampguard.items("/api/v1/posts");
            posts.iter().any(|post| post["post_id"] == name || post["post_id"] == "D-1")
        });
        let posts = lampguard.items("/api/v1/posts");
        let shown: Vec<&Value> =
            posts.iter().filter(|post| post["incidents"] == json!([known["id"]])).collect();
        assert_eq!(shown.len(), 1, "{posts:#?}");
        assert_eq!(shown[0]["state"], "danger", "{:#}", shown[0]);
        assert_eq!(incidents(&lampguard, 1)[0]["id"], known["id"], "and it stays one");
    }
    lampguard.balanced();
    lampguard.stop();
}

#[test]
fn a_faulty_file_leaves_what_held_in_force_and_is_told_with_its_line_until_a_good_one_comes() {
    let site = Site::new();
    let mut lampguard = site.start();
    let broken = format!("{}P901,,z9,新路,1,,F9,C9,113.62,34.75,1,100,false,,\n", register());
    for (text, told) in [
        (broken.as_str(), "zones without a [[zone]]: z9"),
        (&format!("{}P902,,z1,新路,1,,F9,C9,999,34.75,1,100,false,,\n", register()), "line 42: lon"),
        (&register()[..400], "Was the file whole?"),
    ] {
        site.write("posts.csv", text);
        assert!(!hang_up(&mut lampguard), "{told}");
        let said = lampguard.process.stderr();
        assert!(said.contains(told) && said.contains("what held before holds on"), "{told}: {said}");
        assert!(!said.contains("the zones are those of the start"), "no zone was changed: {said}");
        assert_eq!(lampguard.items("/api/v1/posts").len(), 40);
        assert!((lampguard.metric("lampguard_reload_failing") - 1.0).abs() < f64::EPSILON);
    }
    send(&lampguard, "P040", 0, 50.0);
    assert_eq!(incidents(&lampguard, 1)[0]["zone"], "z2", "it went on by the old one");
    site.write("posts.csv", &register());
    assert!(hang_up(&mut lampguard));
    assert!(lampguard.metric("lampguard_reload_failing") < f64::EPSILON);
    lampguard.stop();
}

#[test]
fn sighup_takes_other_timetables_and_another_policy_and_leaves_the_rest_for_the_next_start() {
    let site = Site::new();
    let mut lampguard = site.start();
    let due = |it: &Lampguard| it.json("/api/v1/posts/P001/explain")["supply"]["expected"].clone();
    send(&lampguard, "P001", 0, 1.0);
    wait_until("the reading", seconds(10), || !lampguard.json("/api/v1/posts/P001")["last"].is_null());
    assert_eq!(due(&lampguard), Value::Null, "no timetable");
    let before = lampguard.json("/api/v1/policy");
    let text = std::fs::read_to_string(site.path("lampguard.toml")).unwrap();
    site.write("policy.toml", "[leak_critical]\ndry = \"20 mA\"\n");
    let more = format!(
        "[policy]\nfile = \"policy.toml\"\n[lighting]\n[[lighting.timetable]]\nplans = [\"all\"]\non = \"{}\"\noff = \"{}\"\n",
        clock(-120),
        clock(120)
    );
    site.write("lampguard.toml", &format!("{}{more}", text.replace("name = \"test\"", "name = \"other\"")));
    assert!(hang_up(&mut lampguard), "{}", lampguard.process.stderr());
    assert_eq!(due(&lampguard), json!(true));
    let after = lampguard.json("/api/v1/policy");
    assert_ne!(before["in_force"], after["in_force"]);
    assert_eq!(after["numbers"]["leak_critical.dry"], "20 mA");
    let why = lampguard.json("/api/v1/posts/P001/explain");
    assert_eq!(why["policy_hash"], after["in_force"]);
    let said = lampguard.process.stderr();
    assert!(said.contains("lighting_changed,policy_changed"), "{said}");
    assert!(said.contains("other sections"), "the name of the site: {said}");
    lampguard.stop();
}

#[test]
fn people_and_duty_change_by_sighup_while_overrides_stay_and_a_new_channel_is_refused() {
    let people = "[[crew]]\nid = \"c3\"\nname = \"Crew 3\"\n\
        members = [{ name = \"张三\", phone = \"13800000001\", channels = [\"console\"] }]\n";
    let site = Site::new().with(people);
    let mut lampguard = site.start();
    let now = now_ms();
    let over = json!({ "overrides": [{ "from": now, "to": now + 3_600_000, "zone": "z2", "crew": "c3" }] });
    let desk = site.token_named("duty", "desk", &[]);
    let url = format!("{}/api/v1/rota", lampguard.url);
    let put = common::http::try_put(&url, Some(&desk), over.to_string().as_bytes()).unwrap();
    assert_eq!(put.status, 200, "{}", put.text);
    let duty = "[[duty]]\nzone = \"z1\"\ncrew = \"c3\"\n";
    let text = format!("{}{duty}", site.toml().replace("13800000001", "13800000002"));
    let text = text.replace("\"Crew 1\"", "\"Crew One\"");
    site.write("lampguard.toml", &text);
    assert!(hang_up(&mut lampguard), "{}", lampguard.process.stderr());
    let month = lampguard.json("/api/v1/reports/monthly?month=2026-01");
    assert_eq!(month["rows"][0]["crew_name"], "Crew One", "reports go by the rota in force: {month}");
    let rota = lampguard.json("/api/v1/rota");
    for zone in 0..2 {
        let crew = &rota["zones"][zone]["crew"];
        assert_eq!(
            (&crew["id"], &crew["members"][0]["phone"]),
            (&json!("c3"), &json!("13800000002")),
            "{zone}"
        );
    }
    assert!(!lampguard.process.stderr().contains("other sections of the configuration are not those"));
    let channel =
        "[[channel]]\nid = \"console\"\nkind = \"console\"\n[[channel]]\nid = \"new\"\nkind = \"console\"\n";
    site.write("lampguard.toml", &format!("{}{channel}", text.replace("[\"console\"]", "[\"new\"]")));
    assert!(!hang_up(&mut lampguard));
    assert!(lampguard.process.stderr().contains("told by [[channel]] new, which is new: a restart takes it"));
    assert_eq!(
        lampguard.json("/api/v1/rota")["zones"][0]["crew"]["members"][0]["channels"],
        json!(["console"])
    );
}

/// The rules' table, with its second rung after so many minutes.
fn ladder(minutes: u32) -> String {
    let rows = [
        (0, "opened", "acknowledged", &["crew", "desk", "leader"][..]),
        (minutes, "opened", "acknowledged", &["crew", "second"]),
        (6, "opened", "acknowledged", &["backup_crew", "leader"]),
        (10, "opened", "acknowledged", &["supervisor", "neighbour"]),
        (5, "acknowledged", "departed", &["crew"]),
        (10, "acknowledged", "departed", &["backup_crew"]),
        (15, "opened", "arrived", &["backup_crew"]),
        (30, "opened", "arrived", &["head", "desk", "crew"]),
        (10, "arrived", "made_safe", &["crew"]),
        (15, "arrived", "made_safe", &["desk", "leader"]),
    ];
    let step = |(after, from, until, to): &(u32, &str, &str, &[&str])| {
        let every = if *after == 30 || *until == "made_safe" { ", every_min = 10" } else { "" };
        let one = |to: &&str| {
            format!("{{ after_min = {after}{every}, from = \"{from}\", until = \"{until}\", to = \"{to}\" }}")
        };
        to.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let steps: Vec<String> = rows.iter().map(step).collect();
    format!("[[escalation]]\nseverity = \"P1\"\nsteps = [\n{}]\n", steps.join(",\n"))
}

#[test]
fn ladders_that_sighup_brings_are_shown_by_the_plan_and_stand_in_the_hash_chain_and_faulty_ones_change_nothing()
 {
    let site = Site::new();
    let mut lampguard = site.start();
    let minutes = |lampguard: &Lampguard| -> Vec<i64> {
        let rota = lampguard.json("/api/v1/rota");
        let rungs = rota["zones"][0]["rungs"].as_array().unwrap().clone();
        let second = rungs.iter().filter(|rung| rung["to"] == "second");
        second.map(|rung| rung["after_min"].as_i64().unwrap()).collect()
    };
    assert_eq!(minutes(&lampguard), [3]);
    let write = |text: &str| {
        let file = site.path("lampguard.toml");
        std::fs::write(file, format!("{}{text}", site.toml())).unwrap();
    };
    write(&ladder(2));
    assert!(hang_up(&mut lampguard), "{}", lampguard.process.stderr());
    assert_eq!(minutes(&lampguard), [2]);
    assert!(
        lampguard.process.stderr().contains("changed=\"ladders_changed\""),
        "{}",
        lampguard.process.stderr()
    );
    write(&ladder(1).replace("to = \"desk\"", "to = \"nobody\""));
    assert!(!hang_up(&mut lampguard), "a fault changes nothing");
    assert_eq!(minutes(&lampguard), [2]);
    lampguard.stop();
    let database = rusqlite::Connection::open(site.data().join("incidents.db")).unwrap();
    let count = "SELECT count(*) FROM event WHERE kind = 'ladders_changed'";
    assert_eq!(database.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}
