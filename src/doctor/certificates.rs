//! Certificates that end soon, and pairs that `serve` could not load.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lampguard_ingester::source::broker::wire;
use lampguard_ingester::source::listener;
use lampguard_ingester::source::server_tls::{CLIENT_CA, ServerFiles};
use lampguard_model::Timestamp;

use super::{Findings, Grade};
use crate::certificates::{self, SOON};
use crate::config::Config;
use crate::{api, clock};

const OURS: &str = "cure: put a new one in its place; it is read again without a restart";
const OF_BROKER: &str =
    "cure: replace the files of the broker itself, then reload it (systemctl reload mosquitto)";

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let (now, mut all) = (clock::now(), Vec::new());
    let sockets = [api::tls_files(&config.web), config.listener.as_ref().and_then(listener::tls_files)];
    for files in sockets.iter().flatten() {
        check_pair(files, now, findings);
        let of = |key: &str, file: &Path| (format!("{} {key}", files.section), file.to_owned());
        all.extend([of("tls_cert", &files.cert), of("tls_key", &files.key)]);
        all.extend(files.client_ca.iter().map(|(file, _)| of(CLIENT_CA, file)));
    }
    for (id, what, files) in certificates::shown_to_brokers(config) {
        match files.config() {
            Err(e) => {
                findings.add(Grade::Bad, "certificate", format!("{what}: no connection is made with it: {e}"))
            }
            Ok(_) => look(&what, files.cert.as_deref().and_then(listener::ends_at), now, OURS, findings),
        }
        let of = |key: &str, file: Option<PathBuf>| Some((format!("[[broker]] {id} {key}"), file?));
        all.extend([of("cert_file", files.cert), of("key_file", files.key)].into_iter().flatten());
    }
    check_rights(&all, &config.site.data_dir, findings);
}

/// Those of the brokers themselves. One that is not reached, or not taken, stands in the broker's own line.
pub(super) async fn check_servers(config: &Config, findings: &mut Findings) {
    for (_, what, remote) in certificates::servers(config) {
        if let Ok(end) = wire::shown_end(&remote).await {
            look(&what, end, clock::now(), OF_BROKER, findings);
        }
    }
}

/// Loads them as `serve` does.
fn check_pair(files: &ServerFiles, now: Timestamp, findings: &mut Findings) {
    let section = files.section;
    match files.load() {
        Err(e) => {
            let text = format!(
                "{section} {e}: serve does not start by it, and one that runs serves the old files; cure: certificate \
                 and key that belong together, readable by the service's user"
            );
            findings.add(Grade::Bad, "certificate", text);
        }
        Ok(loaded) => {
            look(&format!("{section} tls_cert {}", files.cert.display()), loaded.ends, now, OURS, findings);
            if let Some((file, _)) = &files.client_ca {
                let what = format!("{section} {CLIENT_CA} {}", file.display());
                look(&what, loaded.client_ca_ends, now, OURS, findings);
            }
        }
    }
}

/// What root can read, the service may not: asked as the owner of the data directory.
fn check_rights(files: &[(String, PathBuf)], data_dir: &Path, findings: &mut Findings) {
    /// Unlike what `setpriv` itself ends with.
    const UNREADABLE: i32 = 9;
    let Ok(owner) = std::fs::metadata(data_dir) else { return };
    if !rustix::process::geteuid().is_root() || owner.uid() == 0 {
        return;
    }
    for (what, file) in files {
        let (uid, gid) = (format!("--reuid={}", owner.uid()), format!("--regid={}", owner.gid()));
        let mut asked = Command::new("setpriv");
        asked.args([
            &uid,
            &gid,
            "--init-groups",
            "sh",
            "-c",
            &format!("test -r \"$1\" || exit {UNREADABLE}"),
            "sh",
        ]);
        let answer = asked.arg(file).stderr(Stdio::null()).status();
        // Where it could not be asked, nothing is known.
        if answer.is_ok_and(|status| status.code() == Some(UNREADABLE)) {
            let text = format!(
                "{what} {} is not readable by the service's user (uid {}): a renewed one does not count; cure: chgrp to \
                 its group, chmod 640",
                file.display(),
                owner.uid()
            );
            findings.add(Grade::Bad, "certificate", text);
        }
    }
}

fn look(what: &str, end: Option<Timestamp>, now: Timestamp, cure: &str, findings: &mut Findings) {
    let Some(end) = end else {
        return findings.add(
            Grade::Bad,
            "certificate",
            format!("{what}: when it ends cannot be read; {cure}"),
        );
    };
    let day = end.to_rfc3339();
    if end <= now {
        let text = format!("{what} ended on {day}: nobody who looks gets in; {cure}");
        findings.add(Grade::Bad, "certificate", text);
    } else if end.since(now) < SOON {
        let text = format!("{what} ends on {day}, in less than 30 days; {cure}");
        findings.add(Grade::Warn, "certificate", text);
    } else {
        findings.add(Grade::Good, "certificate", format!("{what} ends on {day}"));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use lampguard_model::Millis;

    use super::*;

    #[test]
    fn a_certificate_is_named_thirty_days_before_its_end_and_is_bad_behind_it_and_unread() {
        let end = Timestamp(1_795_435_200_000);
        let grade = |read: Option<Timestamp>, before: Millis| {
            let mut findings = Findings::default();
            look("x x.pem", read, end + Millis(-before.0), OURS, &mut findings);
            findings.0[0].grade
        };
        assert_eq!(grade(Some(end), Millis::hours(31 * 24)), Grade::Good);
        assert_eq!(grade(Some(end), Millis::hours(29 * 24)), Grade::Warn);
        assert_eq!(grade(Some(end), Millis(0)), Grade::Bad);
        assert_eq!(grade(None, Millis::hours(31 * 24)), Grade::Bad);
    }

    #[test]
    fn a_pair_that_does_not_fit_or_that_the_service_may_not_read_is_bad() {
        let home = tempfile::tempdir().unwrap();
        let made = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (old, new) = (made(), made());
        let mut config = Config::default();
        config.site.data_dir = home.path().to_owned();
        let (cert, key) = (home.path().join("web.pem"), home.path().join("web.key"));
        (config.web.tls_cert, config.web.tls_key) = (Some(cert.clone()), Some(key.clone()));
        let grades = || {
            let mut findings = Findings::default();
            check(&config, &mut findings);
            findings.0.iter().map(|finding| finding.grade).collect::<Vec<_>>()
        };
        std::fs::write(&cert, old.cert.pem()).unwrap();
        std::fs::write(&key, old.signing_key.serialize_pem()).unwrap();
        assert_eq!(grades(), [Grade::Good]);
        std::fs::write(&cert, new.cert.pem()).unwrap();
        assert_eq!(grades(), [Grade::Bad], "the key is another's");
        std::fs::write(&key, new.signing_key.serialize_pem()).unwrap();
        assert_eq!(grades(), [Grade::Good]);
        if !rustix::process::geteuid().is_root() {
            return eprintln!("left out: only root may give a folder to another user");
        }
        // The service's folder, and a key as root writes it.
        chown(home.path(), Some(65534), Some(65534)).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(grades(), [Grade::Good, Grade::Bad], "root reads it, the service does not");
        chown(&key, None, Some(65534)).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(grades(), [Grade::Good]);
    }
}
