//! Nodes as parts of the system, and what tells lists of owners apart.

use super::*;

fn nodes_of(config: &NodesSection, dir: &Path) -> Arc<Nodes> {
    Arc::new(Nodes::new(config, NodesMetrics::register(&Registry::new()).unwrap(), dir))
}

/// The bad parts, by name.
fn bad(nodes: &Nodes) -> Vec<String> {
    let parts = nodes.parts().into_iter().filter(|(name, good, _)| !good && !name.starts_with("forward:"));
    parts.map(|(name, ..)| name).collect()
}

/// `a` owns z1 and z2, `b` stands by for it, `in` receives.
#[test]
fn an_owner_that_lives_while_its_readings_go_to_its_standby_is_said_by_both_and_by_nobody_else() {
    let home = tempfile::tempdir().unwrap();
    let named = |name: &str| nodes_of(&city(name), home.path());
    for (name, told) in [("b", true), ("a", true), ("c", false)] {
        let nodes = named(name);
        let place = |id: &str| nodes.owners.place(id).unwrap();
        nodes.heard(place("in"), "taken_over:a forward:a");
        assert!(!bad(&nodes).contains(&"split:a".to_owned()) || name == "a", "{name}: a is not heard");
        if name != "a" {
            nodes.heard(place("a"), "");
        }
        assert_eq!(bad(&nodes).contains(&"split:a".to_owned()), told, "{name}");
        nodes.heard(place("in"), "forward:a");
        assert!(!bad(&nodes).contains(&"split:a".to_owned()), "{name}");
    }
    // The standby that receives itself, and does not reach the owner.
    let nodes = named("b");
    nodes.heard(nodes.owners.place("a").unwrap(), "");
    nodes.metrics.taken_over.with_label_values(&["a"]).set(1);
    assert_eq!(bad(&nodes), ["split:a"]);
    nodes.set_faults(["disk"].into_iter(), false);
    assert_eq!(nodes.faults(), "sources taken_over:a disk forward:a");
    let why = nodes.state()["a"]["why"].to_string();
    assert!(why.contains("split: owner a lives, b cannot hand it"), "{why}");
}

#[test]
fn from_whom_readings_came_is_known_behind_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let config = city("a");
    let nodes = nodes_of(&config, home.path());
    let receiver = nodes.owners.place("in").unwrap();
    nodes.heard_readings(receiver);
    let until = Instant::now() + Duration::from_secs(10);
    while !home.path().join("receivers").exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let again = nodes_of(&config, home.path());
    let names: Vec<String> = again.parts().into_iter().map(|(name, ..)| name).collect();
    assert!(names.contains(&"node:in".to_owned()) && names.contains(&"peer:b".to_owned()), "{names:?}");
    assert!(!names.contains(&"node:b".to_owned()), "{names:?}");
}

#[test]
fn from_whom_readings_came_is_written_again_when_it_could_not_be_and_by_two_at_once_as_a_whole() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("later");
    let nodes = nodes_of(&city("a"), &dir);
    let places = ["in", "b"].map(|id| nodes.owners.place(id).unwrap());
    let hear = || {
        places.into_iter().for_each(|node| nodes.heard_readings(node));
        let until = Instant::now() + Duration::from_secs(10);
        while Arc::strong_count(&nodes) > 1 {
            assert!(Instant::now() < until, "the threads hang");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    hear();
    let is_source = |id: &str| nodes.parts().iter().any(|(name, ..)| *name == format!("node:{id}"));
    assert!(is_source("in") && is_source("b"), "their silence counts, whatever the disk says");
    std::fs::create_dir(&dir).unwrap();
    for _ in 0..20 {
        hear();
        assert_eq!(std::fs::read_to_string(dir.join("receivers")).unwrap(), "in\nb\n");
        places.into_iter().for_each(|node| nodes.heard.is_not_noted(node));
    }
}

#[test]
fn lists_of_owners_differ_by_what_each_owns_and_who_stands_by_and_not_by_their_order() {
    let one = city("a");
    let mut other = city("in");
    other.peer.reverse();
    other.peer[2].zones.reverse();
    assert_eq!(owners_hash(&one), owners_hash(&other), "the same list at another node");
    type Change = fn(&mut PeerSection);
    let changes: [Change; 4] = [
        |peer| peer.id = "d".to_owned(),
        |peer| peer.zones.push("z9".to_owned()),
        |peer| peer.feeders.push("F1".to_owned()),
        |peer| peer.standby = Some("c".to_owned()),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let mut changed = one.clone();
        change(&mut changed.peer[1]);
        assert_ne!(owners_hash(&one), owners_hash(&changed), "{place}");
    }
}

#[test]
fn a_node_without_others_leaves_it_to_its_sources_what_is_judged_here() {
    let home = tempfile::tempdir().unwrap();
    let mut config = city("a");
    assert!(nodes_of(&config, home.path()).foreign().is_some());
    config.peer.retain(|peer| peer.id == "a");
    config.peer[0].standby = None;
    assert!(nodes_of(&config, home.path()).foreign().is_none());
}
