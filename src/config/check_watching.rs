//! `[proof]` and `[heartbeat]`: who watches the watcher has to be able to.

use lampguard_ingester::config::MappingConfig;
use lampguard_ingester::proof::PREFIX;
use lampguard_model::wire;

use super::{Config, Faults};

/// Longest name of a device.
const NAME_MAX: usize = 64;
/// The canonical payload.
const CANONICAL: &str = "lampguard";

pub(super) fn check(config: &Config, faults: &mut Faults<'_>) {
    check_proof(config, faults);
    check_heartbeat(config, faults);
    check_tests(config, faults);
    if let Some(place) = config.channels.iter().position(|channel| channel.id == lampguard_alerting::SINK) {
        faults.add(format!("channel[{place}].id"), "is kept for proofs; give it another name");
    }
}

fn check_proof(config: &Config, faults: &mut Faults<'_>) {
    let Some(proof) = &config.proof else { return };
    faults.positive("proof.every_s", proof.every_s);
    faults.positive("proof.within_s", proof.within_s);
    if proof.within_s >= proof.every_s {
        let (within, every) = (proof.within_s, proof.every_s);
        faults.add(
            "proof.within_s",
            format!("{within} is not below every_s = {every}: one would wait for the other"),
        );
    }
    for id in proof.zones.iter().filter(|id| !config.zones.iter().any(|zone| zone.id == **id)) {
        faults.add("proof.zones", format!("there is no [[zone]] with id {id:?}"));
    }
    for (place, zone) in config.zones.iter().enumerate() {
        let room = NAME_MAX - PREFIX.len();
        if zone.id.len() > room {
            faults.add(
                format!("zone[{place}].id"),
                format!("is longer than {room}: {PREFIX}{} is no name of a post", zone.id),
            );
        }
    }
    if proof.username.is_some() != proof.password_file.is_some() {
        faults.add("proof.username", "username and password_file go together");
    }
    faults.readable("proof.password_file", proof.password_file.as_deref());
    let wanted = |name: &str| proof.via.is_empty() || proof.via.iter().any(|via| via == name);
    let known = |via: &str| {
        (via == "listener" && config.listener.is_some())
            || via
                .strip_prefix("broker:")
                .is_some_and(|id| config.brokers.iter().any(|broker| broker.judge && broker.id == id))
    };
    for via in proof.via.iter().filter(|via| !known(via)) {
        faults.add(
            "proof.via",
            format!("{via:?} is neither listener nor broker:ID of a broker that is judged here"),
        );
    }
    if config.listener.is_none() && config.brokers.is_empty() {
        faults.add("proof", "there is neither [listener] nor [[broker]] to send proofs by; take it out");
    }
    if let Some(listener) = config.listener.as_ref().filter(|_| wanted("listener")) {
        if listener.credentials_file.is_some() && proof.username.is_none() {
            let text = "is missing: the listener wants a login; give it a line of its own in credentials_file, with the filter lamp/+/+/reading";
            faults.add("proof.username", text);
        }
        if listener.client_ca.is_some() && listener.certificate_required {
            let text = "proofs show no certificate, and [listener] client_ca asks for one: set certificate_required = \
                        false there, with a line for proofs in credentials_file, or leave the listener out of via";
            faults.add("proof.via", text);
        }
        check_mappings("listener", &listener.mapping, config, faults);
    }
    for (place, broker) in config.brokers.iter().enumerate() {
        if wanted(&format!("broker:{}", broker.id)) {
            check_mappings(&format!("broker[{place}]"), &broker.mapping, config, faults);
        }
    }
}

/// A proof is a canonical payload on a canonical topic: the first mapping that fits it has to read it as such.
fn check_mappings(key: &str, mappings: &[MappingConfig], config: &Config, faults: &mut Faults<'_>) {
    if mappings.is_empty() {
        return;
    }
    for zone in &config.zones {
        let topic = format!("lamp/{0}/{PREFIX}{0}/reading", zone.id);
        let first = mappings.iter().find(|mapping| wire::filter_matches(&mapping.filter, &topic));
        if first.is_none_or(|mapping| mapping.profile != CANONICAL) {
            let text = format!(
                "does not read {topic} by the profile {CANONICAL}, so no proof gets in; put filter = \"lamp/+/+/reading\", \
                 profile = \"{CANONICAL}\" first, or leave this way out of [proof] via"
            );
            return faults.add(format!("{key}.mapping"), text);
        }
    }
}

/// Longest pause after the beginning of a shift, and longest time to confirm, minutes.
const TEST_MINUTES_MAX: u32 = 240;

fn check_tests(config: &Config, faults: &mut Faults<'_>) {
    let tests = &config.test_dispatch;
    for (place, text) in tests.at.iter().enumerate() {
        if let Err(reason) = crate::test_dispatch::time_of_day(text) {
            faults.add(format!("test_dispatch.at[{place}]"), reason);
        }
    }
    faults.positive("test_dispatch.confirm_within_min", u64::from(tests.confirm_within_min));
    for (key, minutes) in [
        ("confirm_within_min", tests.confirm_within_min),
        ("after_shift_start_min", tests.after_shift_start_min),
    ] {
        if minutes > TEST_MINUTES_MAX {
            faults.add(format!("test_dispatch.{key}"), format!("{minutes} is over {TEST_MINUTES_MAX}"));
        }
    }
}

fn check_heartbeat(config: &Config, faults: &mut Faults<'_>) {
    let Some(heartbeat) = &config.heartbeat else { return };
    if heartbeat.url.is_some() == heartbeat.url_file.is_some() {
        faults.add("heartbeat.url", "give either url or url_file (a file that holds it)");
    }
    if let Some(url) = &heartbeat.url
        && !(url.starts_with("http://") || url.starts_with("https://"))
    {
        faults.add("heartbeat.url", "does not begin with http:// or https://");
    }
    faults.readable("heartbeat.url_file", heartbeat.url_file.as_deref());
    faults.positive("heartbeat.every_s", heartbeat.every().as_secs());
}
