//! The HTTP interface: who can read what goes over it, and whether crews get links.

use std::os::unix::fs::PermissionsExt;

use super::{Findings, Grade};
use crate::config::Config;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let (web, dir) = (&config.web, &config.site.data_dir);
    match &web.i_accept {
        Some(reason) => findings.add(
            Grade::Warn,
            "web",
            format!(
                "passwords go over {} in the clear; accepted: {reason}; cure: [web] tls_cert and tls_key",
                web.bind
            ),
        ),
        None => findings.add(Grade::Good, "web", format!("{}, {}", web.bind, way_in(config))),
    }
    match &web.public_url {
        None => findings.add(
            Grade::Warn,
            "public_url",
            "notices carry no link: a crew cannot open its incident; cure: [web] public_url",
        ),
        Some(url) if url.starts_with("http://") => findings.add(
            Grade::Warn,
            "public_url",
            format!("{url}: crew links and positions go in the clear; cure: TLS, here or in a proxy"),
        ),
        Some(url) => findings.add(Grade::Good, "public_url", url.clone()),
    }
    if web.tls_cert.is_none() && web.is_secure() && web.proxies.is_empty() {
        let text = "https:// without TLS of our own means a proxy, and none is named: one stranger's wrong passwords \
                    count for everybody behind it; cure: [web] proxies";
        findings.add(Grade::Warn, "proxies", text);
    }
    for name in ["accounts.db", "links.key", "local.json"] {
        let mode = std::fs::metadata(dir.join(name)).map(|meta| meta.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o077 != 0) {
            let text = format!("others may read {name} in {}; cure: chmod 600", dir.display());
            findings.add(Grade::Bad, "accounts", text);
        }
    }
    if dir.join("first_login").exists() {
        let text = format!(
            "the first password still stands in {}/first_login; cure: change it by `lampguard user password admin`, \
             remove the file",
            dir.display()
        );
        findings.add(Grade::Warn, "accounts", text);
    }
}

fn way_in(config: &Config) -> &'static str {
    if config.web.tls_cert.is_some() { "TLS" } else { "plain, within this machine" }
}
