//! `[[broker]]`: address, files, shared subscriptions.

use std::collections::HashMap;

use lampguard_ingester::config::BrokerConfig;

use super::Faults;

pub(super) fn check(key: &str, broker: &BrokerConfig, faults: &mut Faults<'_>) {
    match crate::brokers::remote(broker) {
        Err(reason) => faults.add(format!("{key}.url"), reason),
        Ok(remote) => match &remote.tls {
            None => check_plain(key, broker, faults),
            Some(files) => {
                if broker.cert_file.is_some() != broker.key_file.is_some() {
                    faults.add(format!("{key}.cert_file"), "cert_file and key_file go together");
                } else if let Err(fault) = files.config() {
                    faults.add(
                        format!("{key}.{}", fault.key),
                        format!("{}: {}", fault.path.display(), fault.reason),
                    );
                }
            }
        },
    }
    // That a group is judged by more than one of its members is a fault which one member cannot see: it is warned of at
    // the start and by doctor (`crate::brokers::UNSURE`).
    if let Some(group) = &broker.shared_group
        && (group.is_empty() || group.contains(['/', '+', '#', ' ']))
    {
        faults.add(format!("{key}.shared_group"), format!("{group:?} is no name without /, +, # and blanks"));
    }
    if broker.password_file.is_some() != broker.username.is_some() {
        faults.add(format!("{key}.username"), "username and password_file go together");
    }
    faults.readable(&format!("{key}.password_file"), broker.password_file.as_deref());
}

/// Files of TLS beside a url without it would be silently unused.
fn check_plain(key: &str, broker: &BrokerConfig, faults: &mut Faults<'_>) {
    let files =
        [("ca_file", &broker.ca_file), ("cert_file", &broker.cert_file), ("key_file", &broker.key_file)];
    for (name, file) in files {
        if file.is_some() {
            faults.add(format!("{key}.{name}"), "is for TLS, and url begins with mqtt://; cure: mqtts://");
        }
    }
}

/// Two consumers under one name at one broker throw each other out, for ever.
pub(super) fn check_names(brokers: &[BrokerConfig], faults: &mut Faults<'_>) {
    let mut seen = HashMap::new();
    for (place, broker) in brokers.iter().enumerate() {
        let Some(name) = &broker.client_id else { continue };
        if let Some(other) = seen.insert((&broker.url, name), &broker.id) {
            faults.add(
                format!("broker[{place}].client_id"),
                format!(
                    "{name:?} is that of broker {other} at the same url too: they would throw each other out"
                ),
            );
        }
    }
}
