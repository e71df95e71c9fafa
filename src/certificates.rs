//! When the certificates that we show end: told to the rules and to `/metrics`, long enough before it.
//!
//! `lampguard certs` makes all of them on one day, so they end on one day: everybody who looks at them stays outside from
//! that hour on, sensors and broker together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lampguard_ingester::source::listener;
use lampguard_model::{Millis, Timestamp};
use prometheus::IntGaugeVec;
use tracing::warn;

use crate::config::Config;
use crate::data_dir::Staged;

/// So long before its end a certificate is named.
pub(crate) const SOON: Millis = Millis::hours(30 * 24);
/// And named again, whoever ended that incident: another part of the system, with an incident of its own.
const LAST_DAYS: Millis = Millis::hours(3 * 24);
/// The files are looked at so often; a renewed one ends the incident then.
const EVERY: Millis = Millis::minutes(10);

/// In the data directory: what people have ended, a line for each `part end`, so that no restart calls them again.
const ENDED: &str = "certificates_ended";

/// Every certificate of the configuration: its word in metrics, its key, its file.
pub(crate) fn files(config: &Config) -> Vec<(String, String, &Path)> {
    let web = (String::from("web"), String::from("[web] tls_cert"), config.web.tls_cert.as_ref());
    let listener = config.listener.iter().flat_map(|listener| {
        [("listener", "tls_cert", &listener.tls_cert), ("client_ca", "client_ca", &listener.client_ca)]
            .map(|(word, key, file)| (word.to_owned(), format!("[listener] {key}"), file.as_ref()))
    });
    let brokers = config.brokers.iter().map(|broker| {
        let key = format!("[[broker]] {} cert_file", broker.id);
        (format!("broker:{}", broker.id), key, broker.cert_file.as_ref())
    });
    let all = std::iter::once(web).chain(listener).chain(brokers);
    all.filter_map(|(word, key, file)| Some((word, key, file?.as_path()))).collect()
}

/// One of them, as the last look found it.
#[derive(Debug)]
struct Look {
    word: String,
    key: String,
    file: PathBuf,
    /// None when it cannot be read.
    ends: Option<Timestamp>,
}

/// Those of a running instance.
#[derive(Debug)]
pub(crate) struct Certificates {
    looks: Mutex<Looks>,
    ends_in: IntGaugeVec,
    ended_file: PathBuf,
}

#[derive(Debug)]
struct Looks {
    last: Option<Timestamp>,
    all: Vec<Look>,
    /// Lines of [`ENDED`].
    ended: BTreeSet<String>,
}

impl Certificates {
    pub(crate) fn of(config: &Config, dir: &Path, ends_in: IntGaugeVec) -> Self {
        let look = |(word, key, file): (String, String, &Path)| Look {
            word,
            key,
            file: file.to_owned(),
            ends: None,
        };
        let all = files(config).into_iter().map(look).collect();
        let ended_file = dir.join(ENDED);
        // Without it everybody is told once more.
        let ended = std::fs::read_to_string(&ended_file).unwrap_or_default();
        let ended = ended.lines().map(str::to_owned).collect();
        Self { looks: Mutex::new(Looks { last: None, all, ended }), ends_in, ended_file }
    }

    /// Parts of the system; none where there are no certificates.
    pub(crate) fn parts(&self, now: Timestamp) -> Vec<(String, bool, String)> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let Looks { last, all, ended } = &mut *looks;
        // Also after a clock that went back.
        if last.is_none_or(|last| now < last || now.since(last) >= EVERY) {
            *last = Some(now);
            for look in all.iter_mut() {
                look.ends = listener::ends_at(&look.file);
                let seconds = look.ends.map_or(0, |ends| ends.since(now).as_seconds());
                self.ends_in.with_label_values(&[&look.word]).set(seconds);
            }
        }
        parts(all, ended, now)
    }

    /// People have ended the incident of this part while it was bad: the same end is not told again, also not by a later
    /// start.
    pub(crate) fn dismiss(&self, part: &str) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let Looks { all, ended, .. } = &mut *looks;
        let Some(line) = all.iter().flat_map(lines).find(|line| line.split(' ').next() == Some(part)) else {
            return;
        };
        if !ended.insert(line) {
            return;
        }
        // Of ends that are no longer those of a file nobody needs to know.
        let known: BTreeSet<String> = all.iter().flat_map(lines).collect();
        ended.retain(|line| known.contains(line));
        let text = ended.iter().map(|line| format!("{line}\n")).collect::<String>();
        let written = Staged::write(&self.ended_file, &text, 0o600).and_then(|staged| staged.replace());
        if let Err(error) = written {
            warn!(error = format!("{error:#}"), "the next start tells of the certificate again");
        }
    }
}

/// The parts of one certificate.
fn names(word: &str) -> [(String, Millis); 2] {
    [(format!("certificate:{word}"), SOON), (format!("certificate_last_days:{word}"), LAST_DAYS)]
}

/// As [`ENDED`] has them.
fn lines(look: &Look) -> [String; 2] {
    let ends = look.ends.map_or_else(|| "unread".to_owned(), Timestamp::to_rfc3339);
    names(&look.word).map(|(part, _)| format!("{part} {ends}"))
}

/// A part for each certificate, so that one that is known of hides no other.
fn parts(looks: &[Look], ended: &BTreeSet<String>, now: Timestamp) -> Vec<(String, bool, String)> {
    let of = |look: &Look| {
        let of_part = |((part, before), line): ((String, Millis), String)| {
            let is_near = look.ends.is_none_or(|ends| ends.since(now) < before);
            let because = format!(
                "证书即将到期, 请更换文件 (certificate: {}; put a new file in its place)",
                said(look, now)
            );
            if is_near && !ended.contains(&line) {
                (part, false, because)
            } else {
                (part, true, String::new())
            }
        };
        names(&look.word).into_iter().zip(lines(look)).map(of_part).collect::<Vec<_>>()
    };
    looks.iter().flat_map(of).collect()
}

/// No counts of days in it: a text that changes is another word to the rules.
fn said(look: &Look, now: Timestamp) -> String {
    let (key, file) = (&look.key, look.file.display());
    match look.ends {
        None => format!("{key} {file} cannot be read"),
        Some(ends) if ends <= now => format!("{key} {file} ended on {}", ends.to_rfc3339()),
        Some(ends) => format!("{key} {file} ends on {}", ends.to_rfc3339()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_thirty_days_before_its_end_and_again_in_its_last_three() {
        let end = Timestamp(1_795_435_200_000);
        let look = |word: &str, ends| Look {
            word: word.to_owned(),
            key: format!("[{word}] tls_cert"),
            file: PathBuf::from("x.pem"),
            ends,
        };
        let good = |days: i64, ends: Option<Timestamp>| {
            let looks = [look("web", Some(end + Millis::hours(9000 * 24))), look("listener", ends)];
            let now = end + Millis(-Millis::hours(days * 24).0);
            parts(&looks, &BTreeSet::new(), now).iter().map(|(_, good, _)| *good).collect::<Vec<_>>()
        };
        assert_eq!(good(31, Some(end)), [true, true, true, true]);
        assert_eq!(good(29, Some(end)), [true, true, false, true]);
        assert_eq!(good(2, Some(end)), [true, true, false, false]);
        assert_eq!(good(-1, Some(end)), [true, true, false, false]);
        assert_eq!(good(31, None), [true, true, false, false], "one that cannot be read");
        let told = parts(&[look("web", Some(end)), look("listener", Some(end))], &BTreeSet::new(), end);
        assert!(told[0].2.contains("[web] tls_cert x.pem ended on"), "{told:?}");
        assert_eq!(
            (&*told[2].0, &*told[3].0),
            ("certificate:listener", "certificate_last_days:listener"),
            "one that is known of hides no other"
        );
        assert!(parts(&[], &BTreeSet::new(), end).is_empty());
    }

    #[test]
    fn what_people_have_ended_is_told_by_no_later_start_until_the_file_is_another() {
        let home = tempfile::tempdir().unwrap();
        let pem = home.path().join("web.pem");
        let write = |year| {
            let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            std::fs::write(&pem, params.self_signed(&key).unwrap().pem()).unwrap();
        };
        write(2026);
        let now = Timestamp::from_rfc3339("2025-12-20T00:00:00Z").unwrap();
        let mut config = Config::default();
        config.web.tls_cert = Some(pem.clone());
        let gauge = || IntGaugeVec::new(prometheus::Opts::new("ends", "ends"), &["certificate"]).unwrap();
        let start = || Certificates::of(&config, home.path(), gauge());
        let good =
            |of: &Certificates, now| of.parts(now).iter().map(|(_, good, _)| *good).collect::<Vec<_>>();
        let first = start();
        assert_eq!(good(&first, now), [false, true]);
        first.dismiss("certificate:web");
        assert_eq!(good(&first, now), [true, true]);
        let second = start();
        assert_eq!(good(&second, now), [true, true], "no second call at a restart");
        assert_eq!(good(&second, now + Millis::hours(10 * 24)), [true, false], "the last days are told");
        write(2025);
        assert_eq!(good(&start(), now), [false, false], "another end");
    }
}
