//! Several nodes: who receives passes on, the owner judges; a kill on the way loses and doubles nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeSet;

use common::disk::SmallDisk;
use common::{Lampguard, Mosquitto, Mqtt, Site, WebhookStub, seconds, wait_until};
use serde_json::Value;

/// The list that every node has; `name` is which it is. `hub` owns all but what `more` says.
fn nodes(name: &str, urls: &[(&str, u16)], more: &str) -> String {
    let mut text = format!("[nodes]\nname = \"{name}\"\n{more}\n");
    for (id, port) in urls {
        let zones = match *id {
            "hub" => "zones = [\"z1\", \"z2\"]\n",
            "one" => "zones = [\"z1\"]\nstandby = \"two\"\n",
            "two" => "zones = [\"z2\"]\n",
            _ => "",
        };
        let token = if *id == name { String::new() } else { format!("token_file = \"{id}.token\"\n") };
        text += &format!("[[nodes.peer]]\nid = \"{id}\"\nurl = \"http://127.0.0.1:{port}\"\n{token}{zones}");
    }
    text
}

/// `at` makes a token for the node `name`, which keeps it.
fn introduce(at: &Site, at_id: &str, name: &str, node: &Site) {
    let token = at.token_named("node", name, &[]);
    node.write(&format!("{at_id}.token"), &format!("{token}\n"));
}

/// Reading `number`: its supply voltage says which it is. Post 7 is dangerous, post 9 is twice, and then not.
fn reading_of(number: u64) -> String {
    let post = number % 40 + 1;
    let leakage = match (post, number / 40) {
        (7, _) => 45.0,
        (9, 10 | 11) => 60.0,
        _ => 0.4,
    };
    let volts = 215.0 + number as f64 / 1000.0;
    format!(r#"{{"boot":1,"seq":{number},"leakage_ma":{leakage},"supply_v":{volts:.3}}}"#)
}

/// Publishes numbers `from` to `to` and waits for the acknowledgements.
fn publish(port: u16, from: u64, to: u64) {
    let mut client = Mqtt::connect(port, &format!("gateway-{from}"));
    for number in from..to {
        let topic = format!("lamp/z1/P{:03}/reading", number % 40 + 1);
        client.publish(&topic, reading_of(number).as_bytes(), number);
        client.note_acks(500, seconds(20)).unwrap();
    }
    assert!(client.wait_for_acks(seconds(60)));
}

/// Numbers of all readings that a node's history has, each as often as it is there.
fn kept(lampguard: &Lampguard) -> Vec<i64> {
    let mut numbers = Vec::new();
    for post in 1..=40 {
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/posts/P{post:03}/history?fields=supply_v&limit=1000{cursor}");
            let answer = lampguard.json(&path);
            let rows = answer["rows"].as_array().unwrap();
            numbers
                .extend(rows.iter().map(|row| ((row[1].as_f64().unwrap() - 215.0) * 1000.0).round() as i64));
            match answer["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
    numbers
}

/// Kinds and posts of all incidents about posts.
fn incidents(lampguard: &Lampguard) -> Vec<(String, String)> {
    let items = lampguard.items("/api/v1/incidents?state=all");
    let of = |item: &Value| {
        (item["kind"].as_str().unwrap().to_owned(), item["post_id"].as_str().unwrap().to_owned())
    };
    let mut found: Vec<_> = items.iter().filter(|item| item["post_id"].is_string()).map(of).collect();
    found.sort();
    found
}

#[test]
fn two_nodes_share_a_subscription_and_a_kill_9_of_one_loses_and_doubles_nothing_at_the_owner() {
    const ALL: u64 = 6000;
    let Some(mosquitto) = Mosquitto::start() else { return };
    let stub = WebhookStub::start();
    let hub = Site::new().with(&stub.channel("secret.txt"));
    hub.write("secret.txt", "s3cret\n");
    let ingest = || Site::new().with_broker(mosquitto.port, "shared_group = \"in\"\njudge = false\n");
    let (n1, n2) = (ingest(), ingest());
    let urls = [("hub", hub.web), ("n1", n1.web), ("n2", n2.web)];
    let join = |site: Site, name: &str| {
        let others = urls.iter().filter(|(id, _)| *id != name);
        others.for_each(|(id, _)| drop(site.write(&format!("{id}.token"), "none yet\n")));
        site.with(&nodes(name, &urls, ""))
    };
    let (hub, n1, n2) = (join(hub, "hub"), join(n1, "n1"), join(n2, "n2"));
    let owner = hub.start();
    introduce(&hub, "hub", "n1", &n1);
    introduce(&hub, "hub", "n2", &n2);
    let (mut first, second) = (n1.start(), n2.start());
    first.wait_for_broker();
    second.wait_for_broker();

    publish(mosquitto.port, 0, ALL / 2);
    wait_until("a part of it at the owner", seconds(60), || owner.stored() > ALL / 8);
    first.process.kill();
    publish(mosquitto.port, ALL / 2, ALL * 3 / 4);
    first = n1.start();
    publish(mosquitto.port, ALL * 3 / 4, ALL);
    wait_until("all of it at the owner", seconds(120), || owner.stored() >= ALL);
    std::thread::sleep(seconds(2));

    let books = owner.balanced();
    assert_eq!(books["stored"], ALL, "{books}");
    let numbers = kept(&owner);
    let set: BTreeSet<i64> = numbers.iter().copied().collect();
    assert_eq!((numbers.len() as u64, set.len() as u64), (ALL, ALL), "each once in the owner's history");
    assert_eq!((set.first(), set.last()), (Some(&0), Some(&(ALL as i64 - 1))));
    let raised = [("leak_critical", "P007"), ("leak_critical", "P009")];
    let raised: Vec<_> = raised.iter().map(|(kind, post)| ((*kind).to_owned(), (*post).to_owned())).collect();
    assert_eq!(incidents(&owner), raised);
    assert_eq!(stub.opened().len(), 2, "{:?}", stub.opened());
    let mut received = 0;
    for node in [&first, &second] {
        received += node.balanced()["stored"].as_u64().unwrap();
        assert_eq!(node.items("/api/v1/incidents?state=all"), [] as [Value; 0]);
        assert_eq!(kept(node), [] as [i64; 0]);
        assert!(node.metric("lampguard_ingester_marked_total{mark=\"foreign\"}") > 0.0);
        assert_eq!(node.metric("lampguard_nodes_peer_up{peer=\"hub\"}"), 1.0);
    }
    assert!(received >= ALL, "{received}: what was not acknowledged may have come to the other one as well");
    first.stop();
    second.stop();
    owner.stop();
}

fn wet_because(lampguard: &Lampguard) -> Value {
    lampguard.json("/api/v1/posts/P001")["wet_because"].clone()
}

/// Weather while a standby stands in: it hears it, and what the owner has to hear is kept, also behind a kill.
fn warn_of_rain(site: &Site, mut ingest: Lampguard, standby: &Lampguard) -> Lampguard {
    let weather = ingest.post("/api/v1/weather", r#"{"zone":"z1","warning":"red"}"#);
    assert_eq!(weather.status, 200, "{}", weather.text);
    wait_until("the standby to hear the warning", seconds(10), || wet_because(standby) == "warning");
    let missed = site.data().join("forward-one.weather");
    let is_kept = || std::fs::metadata(&missed).is_ok_and(|it| it.len() > 0);
    wait_until("the warning to be kept", seconds(10), is_kept);
    std::thread::sleep(seconds(2));
    ingest.process.kill();
    site.start()
}

/// A hazard told by phone to a node that tells nobody.
fn refuse_a_hazard_by_phone(site: &Site, ingest: &Lampguard) {
    let desk = site.token("duty", &[]);
    let body = br#"{"key":"t","what":"live","post_id":"P001"}"#;
    let answer =
        common::http::try_post(&format!("{}/api/v1/incidents", ingest.url), Some(&desk), body).unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (409, "not_judged_here"));
}

/// Two nodes that own a zone each, and an ingest-only one; the second stands by for the first.
#[test]
fn a_standby_judges_and_tells_while_an_owner_is_down_and_gives_its_readings_back() {
    let stub = WebhookStub::start();
    let site = || {
        let site = Site::new().with(&stub.channel("secret.txt"));
        site.write("secret.txt", "s3cret\n");
        site
    };
    let (one, two, third) = (site(), site(), Site::new());
    let urls = [("one", one.web), ("two", two.web), ("in", third.web)];
    let join = |site: Site, name: &str| {
        let others = urls.iter().filter(|(id, _)| *id != name);
        others.for_each(|(id, _)| drop(site.write(&format!("{id}.token"), "none yet\n")));
        site.with(&nodes(name, &urls, "takeover_after_s = 3"))
    };
    // A part that fails for a second, not a minute, is told of.
    let quick = "[policy]\nfile = \"policy.toml\"";
    two.write("policy.toml", "[system]\nfailing_for = \"1 s\"\n");
    let (one, two, third) = (join(one, "one"), join(two.with(quick), "two"), join(third, "in"));
    let (first, second) = (one.start(), two.start());
    introduce(&one, "one", "two", &two);
    introduce(&one, "one", "in", &third);
    introduce(&two, "two", "one", &one);
    introduce(&two, "two", "in", &third);
    let mut ingest = third.start();
    let state = |lampguard: &Lampguard, key: &str| {
        let text = common::http::try_get(&format!("{}/readyz", lampguard.url), None).unwrap().json();
        text["nodes"]["one"][key].clone()
    };
    wait_until("both to be reached", seconds(20), || state(&ingest, "up") == true);

    // To each its own, whoever receives it: the third owns nothing, the second is told of a post of the first.
    let danger =
        |post: &str, seq: u32| format!(r#"{{"device":"{post}","boot":1,"seq":{seq},"leakage_ma":50}}"#);
    for (at, post) in [(&ingest, "P001"), (&ingest, "P030"), (&second, "P002")] {
        let body = format!("[{},{}]", danger(post, 1), danger(post, 2));
        assert_eq!(at.post("/api/v1/readings", &body).json()["stored"], 2);
    }
    let of = |post: &str| ("leak_critical".to_owned(), post.to_owned());
    wait_until("the incidents of the first", seconds(20), || incidents(&first) == [of("P001"), of("P002")]);
    wait_until("the incident of the second", seconds(20), || incidents(&second) == [of("P030")]);

    // The first dies. What comes for it goes to the second, which tells; then it comes back.
    let mut first = first;
    first.process.kill();
    let body = format!("[{},{}]", danger("P003", 1), danger("P003", 2));
    assert_eq!(ingest.post("/api/v1/readings", &body).json()["stored"], 2);
    assert_eq!(second.post("/api/v1/readings", &body.replace("P003", "P004")).json()["stored"], 2);
    wait_until("the standby to judge", seconds(30), || {
        incidents(&second) == [of("P003"), of("P004"), of("P030")]
    });
    assert_eq!(state(&ingest, "taken_over"), true);
    let told = || stub.opened().iter().any(|hook| hook.json()["incident"]["post_id"] == "P003");
    wait_until("the standby to tell", seconds(10), told);
    wait_until("an incident of the node that is down", seconds(40), || {
        let items = second.items("/api/v1/incidents?kind=system");
        items.iter().any(|item| item["place"] == "peer:one")
    });
    assert_eq!(second.metric("lampguard_nodes_heard{peer=\"one\"}"), 0.0);
    ingest = warn_of_rain(&third, ingest, &second);
    let first = one.start();
    wait_until("the owner to hear of the warning", seconds(30), || wet_because(&first) == "warning");
    wait_until("the owner to be sent to again", seconds(30), || state(&ingest, "taken_over") == false);
    let body = format!("[{},{}]", danger("P005", 1), danger("P005", 2));
    assert_eq!(ingest.post("/api/v1/readings", &body).json()["stored"], 2);
    wait_until("the owner to judge", seconds(20), || {
        incidents(&first) == [of("P001"), of("P002"), of("P005")]
    });
    assert_eq!(incidents(&second), [of("P003"), of("P004"), of("P030")]);
    refuse_a_hazard_by_phone(&third, &ingest);
    assert_eq!(ingest.items("/api/v1/incidents?state=all"), [] as [Value; 0]);
    for lampguard in [first, second, ingest] {
        lampguard.balanced();
        lampguard.stop();
    }
}

/// The disk of an owner without standby is full: what it is sent is judged and told on arrival, also what came behind the
/// batch that it could not keep; once there is room everything is there, once.
#[test]
fn an_owner_whose_disk_is_full_judges_what_comes_behind_the_batch_that_waits_and_keeps_all_of_it_later() {
    let (disk, stub) = (SmallDisk::make(), WebhookStub::start());
    let journal = format!("[journal]\nmax_bytes = 67108864\nmin_free_bytes = {}\n", disk.min_free_bytes);
    let hub = Site::new().with_data(&disk.path().join("data")).with(&journal);
    let hub = hub.with(&stub.channel("secret.txt"));
    hub.write("secret.txt", "s3cret\n");
    let n1 = Site::new();
    let urls = [("hub", hub.web), ("n1", n1.web)];
    hub.write("n1.token", "none yet\n");
    n1.write("hub.token", "none yet\n");
    let (hub, n1) = (hub.with(&nodes("hub", &urls, "")), n1.with(&nodes("n1", &urls, "")));
    let owner = hub.start();
    introduce(&hub, "hub", "n1", &n1);
    let token = hub.token_named("node", "n1", &[]);
    let first = n1.start();
    let up = || first.metric("lampguard_nodes_peer_up{peer=\"hub\"}") > 0.0;
    wait_until("the owner to be reached", seconds(20), up);
    let sign = |query: &str| {
        common::http::try_post(&format!("{}/api/v1/forward{query}", owner.url), Some(&token), b"").unwrap()
    };
    assert_eq!(sign("").status, 200);

    disk.fill();
    let send = |post: &str, from: u32, to: u32, leakage: u32| {
        let one = |seq: u32| format!(r#"{{"device":"{post}","boot":1,"seq":{seq},"leakage_ma":{leakage}}}"#);
        let body: Vec<String> = (from..to).map(one).collect();
        let answer = first.post("/api/v1/readings", &format!("[{}]", body.join(","))).json();
        assert_eq!(answer["stored"], u64::from(to - from));
    };
    send("P010", 0, 10, 1);
    wait_until("the owner's journal to stop", seconds(30), || !owner.is_ready());
    let stopped = sign("");
    assert_eq!((stopped.status, stopped.code().as_str()), (503, "journal_stopped"));
    assert_eq!(sign("?ask=true").status, 200, "whoever only asks is answered");
    for post in ["P002", "P003"] {
        send(post, 1, 3, 50);
        let told = || stub.opened().iter().any(|hook| hook.json()["incident"]["post_id"] == post);
        wait_until("the danger to be told", seconds(10), told);
    }
    send("P004", 1, 2, 50);
    std::thread::sleep(seconds(3));
    assert!(!owner.is_ready());
    disk.empty();
    wait_until("all of it to be kept", seconds(60), || owner.stored() >= 15);
    std::thread::sleep(seconds(2));
    assert_eq!(owner.balanced()["stored"], 15);
    let of = |post: &str| ("leak_critical".to_owned(), post.to_owned());
    assert_eq!(incidents(&owner), [of("P002"), of("P003")], "one sample of P004 confirms nothing twice");
    assert_eq!(stub.opened().len(), 2);
    wait_until("the owner to be up again", seconds(20), up);
    first.stop();
    owner.stop();
}

/// A node whose journal was damaged while the owner was away says what is missing, and goes on with the rest.
#[test]
fn readings_that_the_journal_lost_on_the_way_to_an_owner_are_counted_and_stand_in_the_books() {
    let (hub, n1) = (Site::new(), Site::new());
    let urls = [("hub", hub.web), ("n1", n1.web)];
    hub.write("n1.token", "none yet\n");
    n1.write("hub.token", "none yet\n");
    let (hub, n1) = (hub.with(&nodes("hub", &urls, "")), n1.with(&nodes("n1", &urls, "")));
    let owner = hub.start();
    introduce(&hub, "hub", "n1", &n1);
    owner.stop();
    let first = n1.start();
    for seq in 0..10 {
        let body = format!(r#"{{"device":"P001","boot":1,"seq":{seq},"leakage_ma":0.123}}"#);
        assert_eq!(first.post("/api/v1/readings", &body).json()["stored"], 1);
    }
    first.stop();
    let segments = std::fs::read_dir(n1.data().join("journal")).unwrap();
    let segment = segments
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|it| it == "lgj"));
    let segment = segment.unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"P001").collect();
    bytes[places[places.len() / 2]] ^= 0x40;
    std::fs::write(&segment, bytes).unwrap();
    let (owner, first) = (hub.start(), n1.start());
    wait_until("the rest at the owner", seconds(30), || owner.stored() == 9);
    assert_eq!(first.metric("lampguard_nodes_lost_total{peer=\"hub\"}"), 1.0);
    let losses = first.accounting()["possible_loss"].clone();
    let of_hub = losses.as_array().unwrap().iter().find(|loss| loss["source"] == "forward:hub").unwrap();
    assert_eq!(of_hub["count"], 1, "{losses}");
    first.stop();
    owner.stop();
}

#[test]
fn what_an_owner_lost_by_a_restore_comes_again_from_the_journal_of_a_node_whose_cursor_was_set_back() {
    let (hub, n1) = (Site::new(), Site::new());
    let urls = [("hub", hub.web), ("n1", n1.web)];
    let join = |site: Site, name: &str| {
        let other = if name == "hub" { "n1" } else { "hub" };
        site.write(&format!("{other}.token"), "none yet\n");
        site.with(&nodes(name, &urls, ""))
    };
    let (hub, n1) = (join(hub, "hub"), join(n1, "n1"));
    let owner = hub.start();
    introduce(&hub, "hub", "n1", &n1);
    let receiver = n1.start();
    publish(n1.listener, 0, 400);
    wait_until("the first ones at the owner", seconds(60), || owner.stored() == 400);
    let out = hub.path("backup").display().to_string();
    assert!(hub.run(&["backup", "--out", &out]).status.success());
    publish(n1.listener, 400, 800);
    wait_until("all of it at the owner", seconds(60), || owner.stored() == 800);
    owner.stop();
    std::fs::rename(hub.data(), hub.path("data.lost")).unwrap();
    assert!(hub.run(&["restore", &out]).status.success());
    let owner = hub.start();
    wait_until("the node to be back", seconds(30), || receiver.metric("lampguard_nodes_peer_up") > 0.0);
    assert_eq!(owner.stored(), 400, "nobody sends the others by himself");
    // The words of docs/nodes.md.
    receiver.stop();
    let cursor = n1.data().join("forward-hub.cursor");
    assert!(cursor.exists());
    std::fs::write(cursor, "0\n").unwrap();
    let _receiver = n1.start();
    wait_until("what was lost", seconds(60), || owner.stored() == 800);
    let mut numbers = kept(&owner);
    wait_until("the history", seconds(30), || {
        numbers = kept(&owner);
        numbers.len() >= 800
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (0..800).collect::<Vec<_>>(), "each once");
    owner.balanced();
}

#[test]
fn a_node_with_another_list_of_owners_is_told_by_readyz_and_doctor() {
    let (hub, n1) = (Site::new(), Site::new());
    let urls = [("hub", hub.web), ("n1", n1.web)];
    hub.write("n1.token", "none yet\n");
    n1.write("hub.token", "none yet\n");
    let other = nodes("hub", &urls, "")
        .replace("zones = [\"z1\", \"z2\"]", "zones = [\"z1\", \"z2\"]\nfeeders = [\"F1\"]");
    let (hub, n1) = (hub.with(&other), n1.with(&nodes("n1", &urls, "")));
    let owner = hub.start();
    introduce(&hub, "hub", "n1", &n1);
    let first = n1.start();
    let why = || {
        let ready = common::http::try_get(&format!("{}/readyz", first.url), None).unwrap().json();
        ready["nodes"]["hub"]["why"].to_string()
    };
    wait_until("the other list to be told", seconds(20), || why().contains("list of owners"));
    assert_eq!(
        first.metric("lampguard_nodes_peer_up{peer=\"hub\"}"),
        1.0,
        "its readings go there all the same"
    );
    let (out, err) = common::process::texts(&n1.run(&["doctor"]));
    assert!(format!("{out}{err}").contains("its list of owners is another one than ours"), "{out}{err}");
    first.stop();
    owner.stop();
}

#[test]
fn only_another_nodes_token_forwards_and_a_body_that_is_cut_changes_nothing() {
    let hub = Site::new();
    let urls = [("hub", hub.web), ("n1", 9)];
    let hub = hub.with(&nodes("hub", &urls, ""));
    let lampguard = hub.start();
    let url = format!("{}/api/v1/forward", lampguard.url);
    let try_as = |token: Option<&str>, body: &[u8]| common::http::try_post(&url, token, body).unwrap();
    let (own, strange) = (hub.token_named("node", "hub", &[]), hub.token_named("node", "elsewhere", &[]));
    let n1 = hub.token_named("node", "n1", &[]);
    assert_eq!(try_as(None, b"").status, 401);
    for token in [&own, &strange, &hub.token("admin", &[])] {
        assert_eq!(try_as(Some(token), b"").status, 403);
    }
    assert_eq!(try_as(Some(&n1), b"").json()["node"], "hub");
    assert_eq!(try_as(Some(&n1), &[1, 200, 0, 0, 0, 7]).status, 400);
    assert_eq!(try_as(Some(&n1), &[77, 1, 0, 0, 0, 7]).status, 422);
    assert_eq!(
        common::http::try_get(&format!("{}/api/v1/posts", lampguard.url), Some(&n1)).unwrap().status,
        403
    );
    assert_eq!(lampguard.stored(), 0);
    // Which run it is says every answer, a refusal too.
    let run_of = |body: &[u8]| {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let answer = agent.post(&url).header("Authorization", format!("Bearer {n1}")).send(body).unwrap();
        answer.headers().get("x-lampguard-run").unwrap().to_str().unwrap().to_owned()
    };
    let run = run_of(b"");
    assert!(!run.is_empty() && run_of(&[1, 200, 0, 0, 0, 7]) == run, "{run}");
    lampguard.stop();
    let lampguard = hub.start();
    assert_ne!(run_of(b""), run, "another one at each start");
    lampguard.stop();
}

#[test]
fn faults_of_nodes_in_the_configuration_are_told_before_the_start() {
    let said = |text: &str| {
        let site = Site::new().with(text);
        site.write("two.token", "x\n");
        let output = site.run(&["config", "check", "lampguard.toml"]);
        let (out, err) = common::process::texts(&output);
        format!("{} {out}{err}", output.status)
    };
    let peer = |id: &str, keys: &str| format!("[[nodes.peer]]\nid = \"{id}\"\n{keys}\n");
    let two = "url = \"http://127.0.0.1:9\"\ntoken_file = \"two.token\"\nzones = [\"z2\"]";
    let good = format!("[nodes]\nname = \"one\"\n{}{}", peer("one", "zones = [\"z1\"]"), peer("two", two));
    assert!(said(&good).starts_with("exit status: 0"), "{}", said(&good));
    for (text, words) in [
        (good.replace("name = \"one\"", "name = \"me\""), "no id of a [[nodes.peer]]"),
        (good.replace("[\"z2\"]", "[\"z1\", \"z2\"]"), "z1 is owned by one too"),
        (good.replace("[\"z2\"]", "[\"z7\"]"), "no [[zone]] with id"),
        (good.replace("[\"z2\"]", "[]"), "zone z2 has no owner"),
        (good.replace("token_file = \"two.token\"\n", ""), "token create --role node --name one"),
        (good.replace("url = \"http", "url = \"mqtt"), "is not http://host:port"),
        (
            good.replace("zones = [\"z1\"]", "zones = [\"z1\"]\nstandby = \"three\""),
            "no id of a [[nodes.peer]]",
        ),
        (
            good.clone() + "[[broker]]\nid = \"b\"\nurl = \"mqtt://127.0.0.1:9\"\nshared_group = \"g\"\n",
            "shared_group with judge = true and other nodes",
        ),
    ] {
        let said = said(&text);
        assert!(said.starts_with("exit status: 2") && said.contains(words), "{words}: {said}");
    }
    let site = Site::new().with(&good.replace("[\"z1\"]", "[\"z1\"]\nfeeders = [\"F77\"]"));
    site.write("two.token", "x\n");
    let (out, err) = common::process::texts(&site.run(&["serve"]));
    assert!(err.contains("F77") && err.contains("no post of the register"), "{out}{err}");
}
