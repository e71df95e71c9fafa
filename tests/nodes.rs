//! Several nodes: who receives passes on, the owner judges; a kill on the way loses and doubles nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeSet;

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
