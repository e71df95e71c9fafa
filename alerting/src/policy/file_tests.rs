use lampguard_model::{Milliamps, Volts};

use super::super::sample;
use super::*;

fn faults(text: &str) -> Vec<String> {
    Policies::parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn the_sample_is_the_defaults_and_stands_in_the_deploy_folder() {
    let policies = Policies::parse(&sample()).unwrap();
    assert_eq!(policies, Policies::default());
    let mut count = 0;
    Policy::default().each(&mut |rule, _| {
        count += 1;
        assert!(sample().contains(&format!("\n{} = ", rule.name)), "{}", rule.key());
    });
    assert_eq!(sample().lines().filter(|line| !line.starts_with('#') && line.contains(" = ")).count(), count);
    let deployed = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/policy.toml");
    assert_eq!(
        std::fs::read_to_string(deployed).unwrap(),
        sample(),
        "lampguard config print --policy renews it"
    );
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(Policies::parse("").unwrap(), Policies::default());
}

#[test]
fn every_fault_is_told_at_once_with_line_and_key() {
    let text = "\
[shell_critical]
wet = 10
dry = \"0 V\"
tall = 3

[leak_critical]
wet = \"20 mA\"
i_accept = \"standing leakage of old ballasts\"

[leek]
x = 1

[wet]
drying = \"6\"
";
    let told = faults(text);
    assert_eq!(told.len(), 5, "{told:#?}");
    assert_eq!(told[0], "line 2: shell_critical.wet: 10 has no unit; write it like \"25 V\", units are V");
    assert_eq!(told[1], "line 3: shell_critical.dry: is \"0 V\", it must be above 0");
    assert!(told[2].starts_with("line 4: shell_critical.tall: nobody knows this key"), "{told:#?}");
    assert!(told[3].starts_with("line 10: leek: nobody knows this table"), "{told:#?}");
    assert!(told[4].starts_with("line 14: wet.drying: \"6\" has no unit"), "{told:#?}");
}

#[test]
fn a_wet_limit_above_the_dry_one_is_refused_where_it_was_set() {
    let told = faults("[shell_critical]\n\ndry = \"10 V\"\n");
    assert!(told.iter().any(|fault| fault.starts_with("line 3: shell_critical.wet")), "{told:#?}");
    let told = faults("[leak_warning]\nwet = \"11 mA\"\n");
    assert!(
        told[0].starts_with("line 2: leak_warning.wet: is \"11 mA\", above leak_warning.dry"),
        "{told:#?}"
    );
}

#[test]
fn a_weaker_setting_than_a_floor_needs_a_reason_which_is_kept() {
    let told = faults("[leak_critical]\ndry = \"40 mA\"\n");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("line 2: leak_critical.dry: \"40 mA\" protects less than the floor \"30 mA\"")
    );
    let text = "[leak_critical]\ndry = \"40 mA\"\ni_accept = \"fire only, office order 12\"\n";
    let policies = Policies::parse(text).unwrap();
    let version = &policies.versions()[0];
    assert_eq!(version.policy.leak_critical.dry, Milliamps::whole(40));
    assert_eq!(version.accepted.len(), 1);
    assert_eq!(version.accepted[0].reason, "fire only, office order 12");
    let stricter = Policies::parse("[leak_critical]\ndry = \"20 mA\"\n").unwrap();
    assert!(stricter.versions()[0].accepted.is_empty(), "stricter needs nobody's leave");
    let told = faults("[leak_critical]\ndry = \"20 mA\"\ni_accept = \"why\"\n");
    assert!(told[0].contains("take it out"), "{told:#?}");
    let told = faults("[confirm]\nneed = 3\n");
    assert!(told[0].contains("protects less"), "harder to confirm is weaker: {told:#?}");
}

#[test]
fn versions_come_into_force_at_their_moment_and_keep_what_they_do_not_name() {
    let text = "\
[leak_critical]
wet = \"16 mA\"
i_accept = \"old ballasts\"

[[version]]
from = \"2026-06-01T00:00:00+08:00\"
reason = \"rainy season\"
shell_critical.wet = \"10 V\"

[[version]]
from = 2026-10-01T00:00:00+08:00
[version.shell_critical]
wet = \"12 V\"
";
    let policies = Policies::parse(text).unwrap();
    let at = |text: &str| policies.at(Timestamp::from_rfc3339(text).unwrap());
    assert_eq!(at("2020-01-01T00:00:00Z").policy.shell_critical.wet, Volts::whole(12));
    assert_eq!(at("2026-05-31T15:59:59Z").from, None);
    let summer = at("2026-05-31T16:00:00Z");
    assert_eq!((summer.policy.shell_critical.wet, &*summer.reason), (Volts::whole(10), "rainy season"));
    assert_eq!(summer.policy.leak_critical.wet, Milliamps::whole(16));
    assert_eq!(summer.accepted[0].reason, "old ballasts", "the reason goes on with the number");
    let autumn = at("2026-12-01T00:00:00Z");
    assert_eq!(autumn.hash, policies.versions()[0].hash, "equal numbers, equal fingerprint");
    let mut force = InForce::new(policies.clone());
    let june = policies.versions()[1].from.unwrap();
    assert_eq!(force.next(), Some(june));
    assert!(force.change(june + lampguard_model::Millis(-1)).is_none());
    assert_eq!(force.change(june).map(|version| &version.hash), Some(&policies.versions()[1].hash));
    assert!(force.change(june).is_none(), "once");
    assert!(force.change(Timestamp(0)).is_none(), "a clock that steps back brings nothing back");
}

#[test]
fn versions_without_a_moment_or_out_of_order_are_refused() {
    let told = faults("[[version]]\nwet.drying = \"7 h\"\n");
    assert!(told[0].contains("version.from: is missing"), "{told:#?}");
    let two = "[[version]]\nfrom = \"2026-06-01T00:00:00Z\"\n[[version]]\nfrom = \"2026-05-01T00:00:00Z\"\n";
    assert!(faults(two)[0].contains("not after the version before"), "{:#?}", faults(two));
    assert!(faults("[[version]]\nfrom = \"2026-06-01\"\n")[0].contains("RFC 3339"));
    assert!(faults("version = 3\n")[0].contains("write [[version]]"));
}

#[test]
fn a_broken_file_is_told_with_its_line_and_never_ends_the_program() {
    assert!(
        faults("[wet]\ndrying = \n")[0].starts_with("line 2: TOML"),
        "{:?}",
        faults("[wet]\ndrying = \n")
    );
    let text = sample();
    for cut in (0..text.len()).step_by(97).filter(|cut| text.is_char_boundary(*cut)) {
        let _ = Policies::parse(&text[..cut]);
    }
}

#[test]
fn a_number_that_no_rule_reads_yet_cannot_be_changed() {
    let Some(key) = UNREAD.first() else { return };
    let (group, name) = key.split_once('.').unwrap();
    let mut text = String::new();
    Policy::default().each(&mut |rule, number| {
        if rule.key() == *key {
            number.resize(number.size() + number.size().min(1000));
            text = format!("[{group}]\n{name} = {}\n", number.to_text());
        }
    });
    let told = faults(&text);
    assert!(told.iter().any(|fault| fault.contains("no rule of this version reads it yet")), "{told:#?}");
}
