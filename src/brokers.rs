//! `[[broker]]`: from what the file says to what the consumer is told.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use lampguard_ingester::config::BrokerConfig;
use lampguard_ingester::profile::Profiles;
use lampguard_ingester::source::broker;
use lampguard_ingester::source::broker::tls::TlsFiles;
use lampguard_ingester::source::broker::wire::Remote;

use crate::serve::mappings;

/// Ports where a url names none.
const PLAIN: u16 = 1883;
const SECURE: u16 = 8883;

/// Said of a `shared_group` that is judged here.
pub(crate) const UNSURE: &str = "shared_group with judge = true: if another instance is in the group too, each sees a part of a \
    post's readings and neither can judge it; cure: judge = false at all but one that reads without shared_group";

/// Where a broker is: `mqtt://host:port`, or `mqtts://host:port` with TLS; the port may be left out.
///
/// # Errors
/// The url is none of these, in words.
pub(crate) fn remote(config: &BrokerConfig) -> Result<Remote, String> {
    let url = &config.url;
    let (rest, secure) = match (url.strip_prefix("mqtts://"), url.strip_prefix("mqtt://")) {
        (Some(rest), _) => (rest, true),
        (None, Some(rest)) => (rest, false),
        (None, None) => return Err(format!("{url:?} begins with neither mqtt:// nor mqtts:// (TLS)")),
    };
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
            (host, port.parse().map_err(|_| format!("{port:?} is no port from 1 to 65535"))?)
        }
        _ => (rest, if secure { SECURE } else { PLAIN }),
    };
    if host.is_empty() || host.contains(['/', '@', ' ']) || port == 0 {
        return Err(format!("{url:?} is not mqtt://host:port; user and password have keys of their own"));
    }
    let files = || TlsFiles {
        ca: config.ca_file.clone(),
        cert: config.cert_file.clone(),
        key: config.key_file.clone(),
    };
    Ok(Remote { host: host.trim_matches(['[', ']']).to_owned(), port, tls: secure.then(files) })
}

/// User name and password, read from their file.
///
/// # Errors
/// The file is not readable.
pub(crate) fn login(config: &BrokerConfig) -> Result<Option<(String, String)>> {
    match (&config.username, &config.password_file) {
        (Some(user), Some(file)) => Ok(Some((user.clone(), crate::config::channel::read_secret(file)?))),
        _ => Ok(None),
    }
}

/// What the consumer is told.
///
/// # Errors
/// A file of it is not readable.
pub(crate) fn options(
    config: &BrokerConfig,
    profiles: &Profiles,
    data_dir: &Path,
) -> Result<broker::Options> {
    if config.shared_group.is_some() && config.judge {
        tracing::warn!(broker = %config.id, "{UNSURE}");
    }
    let client_id = match &config.client_id {
        Some(id) => id.clone(),
        None => stored_client_id(data_dir, &config.id)?,
    };
    Ok(broker::Options {
        id: config.id.clone(),
        remote: remote(config).map_err(|reason| anyhow!(reason))?,
        protocol: config.protocol,
        client_id,
        filters_file: Some(data_dir.join(format!("broker-{}.filters", config.id))),
        credentials: login(config)?,
        shared_group: config.shared_group.clone(),
        mappings: mappings(&config.mapping, profiles),
        judge: config.judge,
    })
}

/// The broker keeps our session under this name, so it is made once and kept.
fn stored_client_id(data_dir: &Path, broker: &str) -> Result<String> {
    let path = data_dir.join(format!("broker-{broker}.client_id"));
    if let Ok(id) = std::fs::read_to_string(&path) {
        return Ok(id.trim().to_owned());
    }
    let id = format!("lampguard-{:016x}", rand::random::<u64>());
    lampguard_ingester::loss::replace_file(&path, id.as_bytes())
        .with_context(|| format!("keeping the client id in {}", path.display()))?;
    Ok(id)
}
