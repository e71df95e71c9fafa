//! `posts import` beside a running instance, and devices that move from post to post.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;

use common::process::texts;
use common::site::{HEADER, register};
use common::{Lampguard, Site, reading, seconds, wait_until};
use serde_json::{Value, json};

/// Exit code, standard output and standard error.
fn on(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = site.run(arguments);
    let (out, err) = texts(&output);
    (output.status.code(), out, err)
}

/// The register with other lines for some posts; an empty one strikes its post.
fn with(lines: &[(&str, &str)]) -> String {
    let mut text = register();
    for (post, new) in lines {
        let old = text.lines().find(|line| line.starts_with(&format!("{post},"))).unwrap().to_owned();
        let new = if new.is_empty() { String::new() } else { format!("{new}\n") };
        text = text.replacen(&format!("{old}\n"), &new, 1);
    }
    text
}

/// The line of a post of the first half, with this device.
fn line(n: u32, device: &str) -> String {
    format!("P{n:03},{device},z1,解放路,{n},,F{},C1,113.62,34.75,1,100,false,2020-01-01,", n % 4)
}

fn copies(folder: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut copies: Vec<String> = names.filter(|name| name.starts_with("posts.csv.before-")).collect();
    copies.sort();
    copies
}

fn send(lampguard: &Lampguard, device: &str, from: u64, leakage_ma: f64) {
    for seq in from..from + 2 {
        let mut one: Value = serde_json::from_str(&reading(1, seq, leakage_ma)).unwrap();
        one["device"] = json!(device);
        assert_eq!(lampguard.post("/api/v1/readings", &one.to_string()).status, 200);
    }
}

#[test]
fn a_list_of_an_office_in_gbk_is_shown_and_changes_nothing_until_it_is_applied() {
    let site = Site::new();
    // 编号, 责任区, 道路 in GBK, and a place in the coordinates of Amap.
    let mut text = String::from("灯杆编号,责任区,回路,道路名称,经度,纬度,是否低洼,备注\n");
    for n in 1..=40 {
        let (zone, road) = if n <= 20 { ("Zone 1", "解放路") } else { ("z2", "解放路") };
        let (zone, road) = if n == 7 { ("z2", "新华路") } else { (zone, road) };
        let (lon, lat) = lampguard_model::Crs::Gcj02.from_wgs84((113.62, 34.75));
        text += &format!(
            "P{n:03},{zone},F{},{road},{lon:.7},{lat:.7},{},旧\n",
            n % 4,
            if n == 7 { "是" } else { "否" }
        );
    }
    std::fs::write(site.path("list.csv"), encoding_rs::GB18030.encode(&text).0).unwrap();
    let before = std::fs::read(site.path("posts.csv")).unwrap();
    let list = site.path("list.csv");
    let import = ["posts", "import", list.to_str().unwrap()];
    let (code, out, err) = on(&site, &[&import[..], &["--diff", "--crs", "gcj02"]].concat());
    assert_eq!(code, Some(0), "{err}");
    for part in [
        "40 post(s), gb18030, coordinates gcj02 made WGS-84",
        "灯杆编号 = post_id, 责任区 = zone",
        "left out: 备注",
        "known posts keep theirs: device_id, number",
        "0 added, 0 removed, 1 changed (1 to another zone or feeder), 0 device(s) elsewhere",
        "zone z1: 20 -> 19",
        "~ P007: zone z1 -> z2, road 解放路 -> 新华路, low_lying false -> true",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert_eq!(std::fs::read(site.path("posts.csv")).unwrap(), before);
    // By the wrong system every post would move by half a kilometre: that is to look at first.
    let (code, out, err) = on(&site, &[&import[..], &["--apply"]].concat());
    assert!(
        code == Some(1) && out.contains("is --crs gcj02 meant?") && err.contains("--accept-doubts"),
        "{out} {err}"
    );
    assert_eq!(std::fs::read(site.path("posts.csv")).unwrap(), before);
    let (code, out, err) = on(&site, &[&import[..], &["--apply", "--crs", "gcj02"]].concat());
    assert!(
        code == Some(0) && out.contains("written, 40 post(s)") && out.contains("kill -HUP"),
        "{out} {err}"
    );
    let kept = copies(site.dir());
    assert_eq!(kept.len(), 1);
    assert_eq!(std::fs::read(site.path(&kept[0])).unwrap(), before);
    let (code, out, _) = on(&site, &["posts", "check", site.path("posts.csv").to_str().unwrap()]);
    assert!(code == Some(0) && out.contains("z2: 21"), "{out}");
    let (code, out, _) = on(&site, &[&import[..], &["--apply", "--crs", "gcj02"]].concat());
    assert!(
        code == Some(0) && out.contains("nothing would change") && out.contains("is this already"),
        "{out}"
    );
    assert_eq!(copies(site.dir()).len(), 1);
}

/// Each of these lists was written once, and the next start refused it.
#[test]
fn a_list_that_the_next_start_would_refuse_is_not_written_and_every_reason_is_told() {
    let lighting =
        "[lighting]\n[[lighting.timetable]]\nfeeders = [\"F3\"]\non = \"18:00\"\noff = \"06:00\"\n";
    let nodes = "[nodes]\nname = \"a\"\n[[nodes.peer]]\nid = \"a\"\nzones = [\"z1\", \"z2\"]\nfeeders = [\"F2\"]\n\
                 [[nodes.peer]]\nid = \"in\"\n";
    let site = Site::new().with(lighting).with(nodes);
    let before = std::fs::read(site.path("posts.csv")).unwrap();
    let mut text = register().replace(",F3,", ",F1,").replace(",F2,", ",F1,");
    text = text.lines().map(|line| format!("{line},\n")).collect();
    text = text.replacen("external_code,", "external_code,plan", 1);
    text = text.replacen("2020-01-01,,", "2020-01-01,,moonlight", 1);
    site.write("list.csv", &text);
    let list = site.path("list.csv");
    let import = ["posts", "import", list.to_str().unwrap(), "--apply"];
    let (code, out, err) = on(&site, &import);
    assert_eq!(code, Some(2), "{out} {err}");
    for part in ["moonlight", "F3", "[[nodes.peer]] feeders names F2", "nothing was written"] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert_eq!(std::fs::read(site.path("posts.csv")).unwrap(), before);
    // What it takes a start takes too.
    site.write("list.csv", &register().replace("解放路", "新华路"));
    let (code, out, err) = on(&site, &import);
    assert_eq!(code, Some(0), "{out} {err}");
    site.start().stop();
}

#[test]
fn a_list_with_faults_unknown_zones_or_too_few_posts_writes_nothing() {
    let site = Site::new();
    let before = std::fs::read(site.path("posts.csv")).unwrap();
    let few: String = register().lines().take(15).map(|line| format!("{line}\n")).collect();
    let far = with(&[("P003", "P003,,z1,解放路,3,,F3,C1,118.62,34.75,1,100,false,2020-01-01,")]);
    let swapped = with(&[("P003", "P003,,z1,解放路,3,,F3,C1,34.75,113.62,1,100,false,2020-01-01,")]);
    for (text, code, part) in [
        (
            with(&[("P003", "P003,,z9,解放路,3,,F3,C1,113.62,34.75,1,100,false,2020-01-01,")]),
            2,
            "zones without a [[zone]]: z9",
        ),
        (
            with(&[("P003", "P001,,z1,解放路,3,,F3,C1,113.62,34.75,1,100,false,2020-01-01,")]),
            2,
            "line 4: post_id P001 is already there",
        ),
        (swapped, 2, "line 4: lon 34.75, lat 113.62: the two are swapped"),
        (far, 1, "1 place(s) are to look at: nothing was written"),
        (few, 1, "26 of 40 posts would go, at most 20 may at once: nothing was written. Is the list whole?"),
    ] {
        site.write("list.csv", &text);
        let (found, out, err) =
            on(&site, &["posts", "import", site.path("list.csv").to_str().unwrap(), "--apply"]);
        assert!(found == Some(code) && err.contains(part), "{part}: {found:?} {out} {err}");
        assert_eq!(std::fs::read(site.path("posts.csv")).unwrap(), before, "{part}");
    }
    let list = site.path("list.csv");
    let meant = ["posts", "import", list.to_str().unwrap(), "--apply", "--allow-removals", "26"];
    let (code, _, err) = on(&site, &[&meant[..], &["--reload"]].concat());
    assert!(code == Some(1) && err.contains("which SIGHUP refuses"), "{err}");
    let (code, out, err) = on(&site, &meant);
    assert!(code == Some(0) && out.contains("a restart takes it"), "{out} {err}");
    let (code, _, err) = on(&site, &["posts", "import", list.to_str().unwrap(), "--apply", "--diff"]);
    assert_eq!(code, Some(2), "{err}");
    site.write("list.csv", "PK\u{3}\u{4}");
    let (code, _, err) = on(&site, &["posts", "import", list.to_str().unwrap()]);
    assert!(code == Some(2) && err.contains("export it as CSV"), "{err}");
}

#[test]
fn the_first_register_comes_from_geojson_without_a_configuration() {
    let home = tempfile::tempdir().unwrap();
    let feature = |n: u32| {
        json!({"type": "Feature", "geometry": {"type": "Point", "coordinates": [113.62 + f64::from(n) / 1000.0, 34.75]},
               "properties": {"杆": format!("P{n}"), "zone": "z1", "回路": "F1", "路名": "人民路"}})
    };
    let list = json!({"type": "FeatureCollection", "features": [feature(1), feature(2)]});
    std::fs::write(home.path().join("list.geojson"), list.to_string()).unwrap();
    let import = ["posts", "import", "list.geojson", "--map", "杆=post_id", "--into", "posts.csv", "--apply"];
    let output = common::process::run(home.path(), &import, seconds(60));
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    assert!(out.contains("which is not there yet") && out.contains("+ P2 z1 F1 人民路"), "{out}");
    assert!(err.contains("zones were not checked"), "{err}");
    let text = std::fs::read_to_string(home.path().join("posts.csv")).unwrap();
    assert!(text.starts_with(HEADER) && text.contains("P2,,z1,人民路,,,F1,,113.622,34.75,"), "{text}");
}

/// Post and value of each open incident, by post.
fn open(lampguard: &Lampguard) -> Vec<(String, String, f64)> {
    let found = lampguard.items("/api/v1/incidents");
    let one = |it: &Value| {
        let text = |key: &str| it[key].as_str().unwrap().to_owned();
        (text("post_id"), text("id"), it["evidence"]["value"].as_f64().unwrap())
    };
    let mut open: Vec<_> = found.iter().map(one).collect();
    open.sort_by(|a, b| a.0.cmp(&b.0));
    open
}

fn leakages(lampguard: &Lampguard, post: &str) -> Vec<f64> {
    lampguard.history(post, "leakage_ma").iter().map(|row| row[1].as_f64().unwrap()).collect()
}

/// What D-1 said on P001 and then on P010, as every part of the instance has it.
fn stands_where_it_was_said(lampguard: &Lampguard, known: &[(String, String, f64)]) {
    assert_eq!(open(lampguard), known);
    assert_eq!(leakages(lampguard, "P001"), [60.0, 60.0], "before the move");
    assert_eq!(leakages(lampguard, "P010"), [70.0, 70.0], "behind it");
    let devices = lampguard.items("/api/v1/devices");
    let own: Vec<&Value> = devices.iter().filter(|it| it["device"] == "D-1").collect();
    assert_eq!(own.len(), 1, "{devices:#?}");
    assert_eq!((&own[0]["post_id"], &own[0]["from"]), (&json!("P010"), &json!("P001")));
    assert_eq!(own[0]["last"]["fields"]["leakage_ma"], 70.0);
    let post = lampguard.json("/api/v1/posts/P010");
    assert_eq!(post["devices"].as_array().unwrap().len(), 2, "{post:#}");
    let page = lampguard.get("/posts/P010").text;
    assert!(page.contains("D-1 · there since") && page.contains("came from post P001"), "{page}");
    let page = lampguard.get("/posts/P001").text;
    assert!(page.contains("D-9 · there since") && page.contains("before it D-1"), "{page}");
}

#[test]
fn a_device_that_moves_leaves_readings_and_alarms_with_the_post_on_which_it_hung_also_after_a_kill() {
    let site = Site::new();
    site.write("posts.csv", &with(&[("P001", &line(1, "D-1"))]));
    let mut lampguard = site.start();
    send(&lampguard, "D-1", 0, 60.0);
    wait_until("the first incident", seconds(20), || open(&lampguard).len() == 1);
    let first = open(&lampguard).remove(0);
    assert_eq!((&*first.0, first.2), ("P001", 60.0));
    // D-1 hangs on P010 from now on, and a sensor out of the store on P001.
    site.write("list.csv", &with(&[("P001", &line(1, "D-9")), ("P010", &line(10, "D-1"))]));
    let list = site.path("list.csv");
    let (code, out, err) = on(&site, &["posts", "import", list.to_str().unwrap(), "--apply", "--reload"]);
    assert_eq!(code, Some(0), "{out} {err} {}", lampguard.process.stderr());
    for part in ["D-1: P001 -> P010", "D-9: new on P001", "P010: taken off P010", "goes on by it"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    send(&lampguard, "D-1", 2, 70.0);
    wait_until("the second incident", seconds(20), || open(&lampguard).len() == 2);
    let known = open(&lampguard);
    assert_eq!(known[0], first, "it keeps post, id and evidence");
    assert_eq!((&*known[1].0, known[1].2), ("P010", 70.0));
    wait_until("the history", seconds(20), || leakages(&lampguard, "P010").len() == 2);
    stands_where_it_was_said(&lampguard, &known);
    // A hard end in between: the journal is replayed by the new register.
    lampguard.process.kill();
    let lampguard = site.start();
    wait_until("the history", seconds(20), || leakages(&lampguard, "P010").len() == 2);
    stands_where_it_was_said(&lampguard, &known);
    lampguard.balanced();
    lampguard.stop();
    let (code, out, err) = on(&site, &["audit", "verify"]);
    assert!(code == Some(0) && out.contains("register_changed"), "{out} {err}");
    // What changes while nothing runs is recorded by the next start.
    site.write("posts.csv", &with(&[("P001", &line(1, "D-9")), ("P011", &line(11, "D-1"))]));
    let lampguard = site.start();
    let devices = lampguard.items("/api/v1/devices");
    let own = devices.iter().find(|it| it["device"] == "D-1").unwrap();
    assert_eq!((&own["post_id"], &own["from"]), (&json!("P011"), &json!("P010")));
    assert_eq!(leakages(&lampguard, "P010"), [70.0, 70.0]);
    assert_eq!(open(&lampguard), known);
    lampguard.stop();
    let again = site.start();
    again.stop();
    let database = rusqlite::Connection::open(site.data().join("incidents.db")).unwrap();
    let mut query =
        database.prepare("SELECT body FROM event WHERE kind = 'register_changed' ORDER BY seq").unwrap();
    let bodies: Vec<Value> = query
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
        .map(|body| serde_json::from_str(&body.unwrap()).unwrap())
        .collect();
    assert_eq!(bodies.iter().map(|body| &body["by"]).collect::<Vec<_>>(), ["SIGHUP", "start"], "{bodies:#?}");
    assert_eq!(bodies[0]["devices_moved"], 3);
    assert_eq!(
        bodies[0]["devices"][1],
        json!({"device": "D-1", "from": "P001", "to": "P010", "renamed": false})
    );
}
