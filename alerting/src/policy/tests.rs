use std::collections::HashSet;

use lampguard_model::{Millis, Volts};

use super::*;

fn keys() -> Vec<String> {
    let mut keys = Vec::new();
    Policy::default().each(&mut |rule, _| keys.push(rule.key()));
    keys
}

#[test]
fn the_hash_changes_with_every_number_and_with_nothing_else() {
    let policy = Policy::default();
    assert_eq!(policy.hash(), Policy::default().hash());
    let mut hashes = HashSet::from([policy.hash()]);
    let keys = keys();
    for key in &keys {
        let mut other = policy.clone();
        other.each(&mut |rule, number| {
            if rule.key() == *key {
                number.resize(number.size() + 1);
            }
        });
        assert!(hashes.insert(other.hash()), "{key} does not change the hash");
    }
    assert!(keys.len() > 120 && policy.hash().len() == 64, "{}", keys.len());
}

#[test]
fn the_defaults_are_those_of_the_rules_page() {
    let policy = Policy::default();
    assert_eq!(policy.faults(), []);
    let texts: HashSet<String> = policy.canonical().lines().map(str::to_owned).collect();
    for line in [
        "shell_critical.dry=\"25 V\"",
        "shell_critical.wet=\"12 V\"",
        "leak_critical.dry=\"30 mA\"",
        "leak_critical.wet=\"15 mA\"",
        "immersed_leak.normal_for=\"30 min\"",
        "critical_then_silent.silent_periods=1.5",
        "neutral_break.supply_above=\"250 V\"",
        "feeder_step.p1_ratio=2.5",
        "feeder_step.baseline=\"7 d\"",
        "column.tilt_p1=\"15 deg\"",
        "lamp_out.power_share=\"20 %\"",
        "wet.rain=\"0.1 mm\"",
        "wet.drying_low_lying=\"24 h\"",
        "repeat.within=\"30 d\"",
        "arrival.within=\"300 m\"",
        "trend.growth=1.3",
        "due.p1=\"30 min\"",
        "samples.late_periods=2",
        "samples.late_min=\"10 min\"",
        "samples.powered_above=\"50 V\"",
        "samples.historic_due=\"30 min\"",
        "period.gaps_needed=5",
        "period.shortest=\"1 min\"",
        "period.unknown=\"5 min\"",
        "stuck.supply_step=\"0.1 V\"",
        "open_ct.leak_step=\"0.1 mA\"",
        "unit_suspect.median_over=\"24 h\"",
        "hand_test.live_band=\"12 V\"",
        "trend.peaks=3",
    ] {
        assert!(texts.contains(line), "{line}");
    }
}

#[test]
fn a_zero_limit_and_a_wet_limit_above_the_dry_one_are_refused() {
    let mut policy = Policy::default();
    assert_eq!(policy.check(), Ok(()));
    policy.shell_critical.wet = Volts::whole(26);
    let text = policy.check().unwrap_err().to_string();
    assert_eq!(
        text,
        "policy: shell_critical.wet is \"26 V\", above shell_critical.dry (\"25 V\"); it may be at most that"
    );
    policy.shell_critical.wet = Volts::whole(0);
    assert!(policy.check().unwrap_err().reason.contains("must be above 0"));
    policy.due.p1 = Millis(0);
    policy.confirm.pair_within = Millis::minutes(41);
    policy.confirm.of = 6;
    let faults = policy.faults();
    assert!(faults.iter().any(|fault| fault.key == "due.p1"), "every fault at once: {faults:?}");
    assert!(faults.iter().any(|fault| fault.reason.contains("only 5 are kept")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.reason.contains("a restart replays no more")), "{faults:?}");
}

#[test]
fn numbers_that_the_state_of_a_post_cannot_hold_are_refused_with_their_limit() {
    let mut policy = Policy::default();
    policy.trend.peaks = 4;
    policy.period.gaps_needed = 21;
    policy.period.unknown = Millis::hours(19);
    policy.samples.late_min = Millis::hours(25);
    policy.samples.powered_above = Volts::whole(181);
    policy.unit_suspect.median_over = Millis::minutes(59);
    policy.hand_test.live_band = Volts::whole(221);
    let told: Vec<String> = policy.faults().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "policy: samples.powered_above is \"181 V\", above supply_voltage.low (\"180 V\"); it may be at most that",
            "policy: period.gaps_needed is 21, but only 20 are kept of each post",
            "policy: trend.peaks is 4, but only 3 are kept of each post",
            "policy: period.unknown is \"19 h\", above \"18 h\": no longer period is kept",
            "policy: samples.late_min is \"25 h\", above \"24 h\": that is no state of now",
            "policy: unit_suspect.median_over is \"59 min\", below \"1 h\": medians move slowly",
            "policy: hand_test.live_band is \"221 V\", above \"220 V\": no pen shows more",
        ]
    );
    let mut policy = Policy::default();
    (policy.trend.peaks, policy.period.shortest) = (1, Millis(999));
    let told: Vec<String> = policy.faults().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "policy: trend.peaks is 1, below 2: growth needs two",
            "policy: period.shortest is \"0.999 s\", below \"1 s\": periods are kept in whole seconds",
        ]
    );
}

#[test]
fn floors_stand_on_what_makes_a_critical_limit_critical() {
    let mut floors = Vec::new();
    Policy::default().each(&mut |rule, _| floors.extend(rule.floor.map(|_| rule.key())));
    for key in
        ["shell_critical.dry", "shell_critical.wet", "leak_critical.dry", "leak_critical.wet", "due.p1"]
            .into_iter()
            .chain(["samples.historic_due", "hand_test.live_band"])
    {
        assert!(floors.iter().any(|floor| floor == key), "{key}");
    }
}

#[test]
fn every_number_and_every_group_says_what_it_is() {
    for (group, docs) in Policy::GROUPS {
        assert!(docs.iter().any(|line| line.len() > 10), "{group}");
    }
    Policy::default().each(&mut |rule, _| assert!(!rule.docs.concat().trim().is_empty(), "{}", rule.key()));
}

/// The sources of the rules, policy and tests aside.
fn sources() -> Vec<String> {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if path.is_dir() && name != "policy" && !name.ends_with("tests") {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                sources.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    sources
}

#[test]
fn each_number_is_read_by_a_rule_or_stands_in_the_list_of_those_that_are_not() {
    let (sources, keys) = (sources(), keys());
    assert!(sources.len() > 20);
    for key in UNREAD {
        assert!(keys.iter().any(|known| known == key), "{key} is no number of the policy");
        assert!(!sources.iter().any(|text| text.contains(key)), "{key} is read: take it out of the list");
    }
    for key in keys.iter().filter(|key| !UNREAD.contains(&key.as_str())) {
        let (group, name) = key.split_once('.').unwrap();
        let named = |text: &String| text.contains(group) && text.contains(&format!(".{name}"));
        assert!(sources.iter().any(named), "{key} is read by nothing: put it into the list");
    }
}
