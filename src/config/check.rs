//! What the types cannot say: files, addresses, references, limits.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use lampguard_alerting::safety::{FILE_MAX, SafetyFault, SafetyText};
use lampguard_alerting::{EscalationConfig, LadderFault, Ladders};
use lampguard_ingester::config::{ListenerConfig, MappingConfig};
use lampguard_ingester::profile::Profiles;
use lampguard_ingester::tsdb;
use lampguard_model::record::QUARANTINED_PAYLOAD_MAX;
use lampguard_model::register::is_identifier;
use lampguard_model::wire;

use super::{Config, Fault, Web, people};

#[path = "check_brokers.rs"]
mod brokers;
#[path = "check_watching.rs"]
mod watching;

/// Makes every path absolute: relative ones are relative to the file.
pub(super) fn make_absolute(config: &mut Config, base: &Path) {
    let paths = [&mut config.site.data_dir, &mut config.posts.file];
    paths.into_iter().filter(|path| !path.as_os_str().is_empty()).for_each(|path| *path = base.join(&path));
    let mut optional: Vec<&mut Option<PathBuf>> = Vec::new();
    if let Some(listener) = &mut config.listener {
        optional.extend([&mut listener.tls_cert, &mut listener.tls_key]);
        optional.extend([&mut listener.client_ca, &mut listener.credentials_file]);
    }
    for broker in &mut config.brokers {
        optional.extend([
            &mut broker.password_file,
            &mut broker.ca_file,
            &mut broker.cert_file,
            &mut broker.key_file,
        ]);
    }
    optional.extend(config.tsdbs.iter_mut().map(|tsdb| &mut tsdb.token_file));
    optional.extend(config.channels.iter_mut().flat_map(super::Channel::files));
    optional.extend([&mut config.policy.file, &mut config.site.safety_text_file]);
    if let Some(proof) = &mut config.proof {
        optional.extend([&mut proof.password_file, &mut proof.key_file]);
    }
    optional.extend(config.heartbeat.iter_mut().map(|heartbeat| &mut heartbeat.url_file));
    let peers = config.nodes.iter_mut().flat_map(|nodes| &mut nodes.peer);
    optional.extend(peers.flat_map(|peer| [&mut peer.token_file, &mut peer.ca_file]));
    optional.extend([&mut config.web.tls_cert, &mut config.web.tls_key]);
    for path in optional.into_iter().flatten() {
        *path = base.join(&path);
    }
}

pub(super) struct Faults<'f>(&'f mut Vec<Fault>);

impl Faults<'_> {
    pub(super) fn add(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Fault { key: key.into(), line: None, reason: reason.into() });
    }

    pub(super) fn readable(&mut self, key: &str, path: Option<&Path>) {
        if let Some(path) = path
            && let Err(e) = std::fs::File::open(path)
        {
            self.add(key, format!("{} is not readable: {e}", path.display()));
        }
    }

    pub(super) fn unique<'a>(&mut self, list: &str, ids: impl Iterator<Item = &'a str>) {
        let mut seen = HashSet::new();
        for (place, id) in ids.enumerate() {
            if !is_identifier(id) {
                self.add(
                    format!("{list}[{place}].id"),
                    format!("{id:?} is not 1 to 64 of A-Z a-z 0-9 . _ : -"),
                );
            } else if !seen.insert(id) {
                self.add(format!("{list}[{place}].id"), format!("{id} is there twice; ids are unique"));
            }
        }
    }

    fn positive(&mut self, key: &str, value: u64) {
        if value == 0 {
            self.add(key, "is 0; give a limit above it, or leave it out for the default");
        }
    }
}

/// Collects every fault.
pub(super) fn check(config: &Config, faults: &mut Vec<Fault>) {
    let mut faults = Faults(faults);
    check_site(config, &mut faults);
    check_sources(config, &mut faults);
    check_limits(config, &mut faults);
    people::check(config, &mut faults);
    faults.unique("channel", config.channels.iter().map(|channel| channel.id.as_str()));
    for (place, channel) in config.channels.iter().enumerate() {
        super::channel::check(&format!("channel[{place}]"), channel, &mut faults);
    }
    watching::check(config, &mut faults);
    super::nodes::check(config, &mut faults);
    check_web(&config.web, &mut faults);
}

/// Passwords and what people do go over this: plain only within this machine, or with a reason.
fn check_web(web: &Web, faults: &mut Faults<'_>) {
    if web.tls_cert.is_some() != web.tls_key.is_some() {
        faults.add("web.tls_cert", "tls_cert and tls_key go together");
    }
    faults.readable("web.tls_cert", web.tls_cert.as_deref());
    faults.readable("web.tls_key", web.tls_key.as_deref());
    let is_open = !web.bind.ip().is_loopback() && web.tls_cert.is_none();
    match web.i_accept.as_deref().map(str::trim) {
        None if is_open => faults.add(
            "web.bind",
            "is open to others without TLS: give tls_cert and tls_key, or bind to 127.0.0.1 behind a proxy on this \
             machine; where the network itself is safe, i_accept = \"why\" beside it",
        ),
        Some("") => faults.add("web.i_accept", "is empty: say why plain HTTP may be open to others"),
        Some(_) if !is_open => {
            faults.add("web.i_accept", "accepts nothing: only plain HTTP on another address than loopback needs it");
        }
        _ => {}
    }
    let Some(url) = &web.public_url else { return };
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.map(|rest| rest.trim_end_matches('/'));
    if !host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])) {
        faults.add(
            "web.public_url",
            format!("{url:?} is not http://host or https://host, with a port at most"),
        );
    }
    if web.tls_cert.is_some() && url.starts_with("http://") {
        faults
            .add("web.public_url", "begins with http:// and this interface speaks TLS: https:// reaches it");
    }
}

fn check_site(config: &Config, faults: &mut Faults<'_>) {
    if jiff::tz::TimeZone::get(&config.site.time_zone).is_err() {
        faults.add(
            "site.time_zone",
            format!("{:?} is no time zone; use a name such as Asia/Shanghai", config.site.time_zone),
        );
    }
    if !matches!(config.site.language.as_str(), "zh-CN" | "en") {
        faults.add("site.language", format!("{:?} is not zh-CN or en", config.site.language));
    }
    if config.posts.file.as_os_str().is_empty() {
        faults.add("posts.file", "is missing: the register of posts (posts.csv)");
    } else {
        faults.readable("posts.file", Some(&config.posts.file));
    }
}

fn check_sources(config: &Config, faults: &mut Faults<'_>) {
    let profiles = match Profiles::load(&config.profiles) {
        Ok(profiles) => profiles,
        Err(found) => {
            for fault in found {
                let place =
                    config.profiles.iter().position(|profile| profile.name == fault.profile).unwrap_or(0);
                faults.add(format!("profile[{place}]"), format!("{}: {}", fault.profile, fault.reason));
            }
            Profiles::default()
        }
    };
    faults.unique("broker", config.brokers.iter().map(|broker| broker.id.as_str()));
    for (place, broker) in config.brokers.iter().enumerate() {
        brokers::check(&format!("broker[{place}]"), broker, faults);
        check_mappings(&format!("broker[{place}]"), &broker.mapping, &profiles, faults);
    }
    brokers::check_names(&config.brokers, faults);
    if let Some(listener) = &config.listener {
        check_mappings("listener", &listener.mapping, &profiles, faults);
        check_listener(listener, faults);
    }
}

fn check_listener(listener: &ListenerConfig, faults: &mut Faults<'_>) {
    let open = listener.credentials_file.is_none() && listener.client_ca.is_none();
    for (key, bind) in
        [("listener.bind", Some(listener.bind)), ("listener.websocket_bind", listener.websocket_bind)]
    {
        if bind.is_some_and(|bind| !bind.ip().is_loopback()) && open {
            let text =
                "is open to others without credentials_file or client_ca: anybody could report for any post";
            faults.add(key, text);
        }
    }
    if listener.websocket_bind == Some(listener.bind) && listener.bind.port() != 0 {
        faults.add("listener.websocket_bind", "is the same as bind; give it a port of its own");
    }
    if listener.tls_cert.is_some() != listener.tls_key.is_some() {
        faults.add("listener.tls_cert", "tls_cert and tls_key go together");
    }
    if listener.client_ca.is_some() && listener.tls_cert.is_none() {
        faults.add("listener.client_ca", "needs tls_cert and tls_key: certificates are shown over TLS only");
    }
    if !listener.certificate_required {
        let missing = match (&listener.client_ca, &listener.credentials_file) {
            (None, _) => Some("client_ca"),
            (Some(_), None) => Some("credentials_file: whoever shows no certificate has to log in"),
            _ => None,
        };
        if let Some(missing) = missing {
            faults.add("listener.certificate_required", format!("= false means nothing without {missing}"));
        }
    }
    for (key, path) in [
        ("listener.tls_cert", &listener.tls_cert),
        ("listener.tls_key", &listener.tls_key),
        ("listener.client_ca", &listener.client_ca),
        ("listener.credentials_file", &listener.credentials_file),
    ] {
        faults.readable(key, path.as_deref());
    }
    faults.positive("listener.max_packet_bytes", listener.max_packet_bytes as u64);
    if listener.max_packet_bytes > QUARANTINED_PAYLOAD_MAX {
        let (bytes, limit) = (listener.max_packet_bytes, QUARANTINED_PAYLOAD_MAX);
        let text = format!(
            "{bytes} is over {limit}: a refused payload could not be kept whole; send shorter batches"
        );
        faults.add("listener.max_packet_bytes", text);
    }
    faults.positive("listener.max_connections", listener.max_connections as u64);
    faults.positive("listener.per_address", listener.per_address as u64);
}

fn check_mappings(key: &str, mappings: &[MappingConfig], profiles: &Profiles, faults: &mut Faults<'_>) {
    for (place, mapping) in mappings.iter().enumerate() {
        let key = format!("{key}.mapping[{place}]");
        if !wire::is_filter(&mapping.filter) {
            faults.add(&key, format!("{:?} is no MQTT topic filter", mapping.filter));
        }
        if !profiles.knows(&mapping.profile) {
            let known: Vec<&str> = profiles.names().collect();
            faults.add(
                &key,
                format!("profile {:?} is not known; known are {}", mapping.profile, known.join(", ")),
            );
        }
    }
}

fn check_limits(config: &Config, faults: &mut Faults<'_>) {
    if config.journal.max_bytes < 64 << 20 {
        faults.add(
            "journal.max_bytes",
            format!("{} is below 67108864 (64 MiB): too little for one outage", config.journal.max_bytes),
        );
    }
    faults.positive("journal.replay_window_s", config.journal.replay_window_s);
    faults.positive("quarantine.max_bytes", config.quarantine.max_bytes);
    faults.positive("history.keep_days", u64::from(config.history.keep_days));
    faults.unique("tsdb", config.tsdbs.iter().map(|tsdb| tsdb.id.as_str()));
    for (place, tsdb) in config.tsdbs.iter().enumerate() {
        if let Err(reasons) = tsdb::Sink::check(tsdb) {
            reasons.into_iter().for_each(|reason| faults.add(format!("tsdb[{place}]"), reason));
        }
        faults.readable(&format!("tsdb[{place}].token_file"), tsdb.token_file.as_deref());
    }
}

/// The office's own safety words.
pub(super) fn safety(file: &Path, faults: &mut Vec<Fault>) -> SafetyText {
    let mut add = |reason: String| {
        let reason = format!("{}: {reason}", file.display());
        faults.push(Fault { key: "site.safety_text_file".to_owned(), line: None, reason });
    };
    // One byte more than it may have shows that it is too long.
    let read = std::fs::File::open(file).and_then(|open| {
        let mut bytes = Vec::new();
        open.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    match read.map(|bytes| SafetyText::parse(&bytes)) {
        Ok(Ok(text)) => return text,
        Ok(Err(found)) => {
            for SafetyFault { key, reason } in found {
                add(format!("{key} {reason}").trim_start().to_owned());
            }
        }
        Err(e) => add(format!("not readable: {e}")),
    }
    SafetyText::default()
}

/// The ladders of `[[escalation]]`.
pub(super) fn ladders(configs: &[EscalationConfig], config: &Config, faults: &mut Vec<Fault>) -> Ladders {
    let zones: Vec<&str> = config.zones.iter().map(|zone| zone.id.as_str()).collect();
    Ladders::build(configs, &zones).unwrap_or_else(|found| {
        let fault = |fault: LadderFault| {
            let key = format!("escalation[{}].{}", fault.place, fault.key);
            Fault { key, line: None, reason: fault.reason }
        };
        faults.extend(found.into_iter().map(fault));
        Ladders::default()
    })
}
