//! When the certificates that we show end: told to the rules and to `/metrics`, long enough before it.
//!
//! `lampguard certs` makes all of them on one day, so they end on one day: everybody who looks at them stays outside from
//! that hour on, sensors and broker together.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lampguard_ingester::source::listener;
use lampguard_model::{Millis, Timestamp};
use prometheus::IntGaugeVec;

use crate::config::Config;

/// So long before its end a certificate is named.
pub(crate) const SOON: Millis = Millis::hours(30 * 24);
/// And named again, whoever ended that incident: a new part of the system, with an incident of its own.
const LAST_DAYS: Millis = Millis::hours(3 * 24);
/// The files are looked at so often; a renewed one ends the incident then.
const EVERY: Millis = Millis::minutes(10);

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
    looks: Mutex<(Option<Timestamp>, Vec<Look>)>,
    ends_in: IntGaugeVec,
}

impl Certificates {
    pub(crate) fn of(config: &Config, ends_in: IntGaugeVec) -> Self {
        let look = |(word, key, file): (String, String, &Path)| Look {
            word,
            key,
            file: file.to_owned(),
            ends: None,
        };
        let looks = files(config).into_iter().map(look).collect();
        Self { looks: Mutex::new((None, looks)), ends_in }
    }

    /// Parts of the system; none where there are no certificates.
    pub(crate) fn parts(&self, now: Timestamp) -> Vec<(String, bool, String)> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, all) = &mut *looks;
        // Also after a clock that went back.
        if last.is_none_or(|last| now < last || now.since(last) >= EVERY) {
            *last = Some(now);
            for look in all.iter_mut() {
                look.ends = listener::ends_at(&look.file);
                let seconds = look.ends.map_or(0, |ends| ends.since(now).as_seconds());
                self.ends_in.with_label_values(&[&look.word]).set(seconds);
            }
        }
        parts(all, now)
    }
}

fn parts(looks: &[Look], now: Timestamp) -> Vec<(String, bool, String)> {
    if looks.is_empty() {
        return Vec::new();
    }
    let of = |(part, before): (String, Millis)| {
        let bad = looks.iter().filter(|look| look.ends.is_none_or(|ends| ends.since(now) < before));
        let bad: Vec<String> = bad.map(|look| said(look, now)).collect();
        let because = match bad.is_empty() {
            true => String::new(),
            false => format!(
                "证书即将到期, 请更换文件 (certificates: {}; put new files in their place)",
                bad.join("; ")
            ),
        };
        (part, bad.is_empty(), because)
    };
    [("certificate".to_owned(), SOON), ("certificate:last_days".to_owned(), LAST_DAYS)].map(of).into()
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
            let parts = parts(&looks, end + Millis(-Millis::hours(days * 24).0));
            parts.iter().map(|(_, good, _)| *good).collect::<Vec<_>>()
        };
        assert_eq!(good(31, Some(end)), [true, true]);
        assert_eq!(good(29, Some(end)), [false, true]);
        assert_eq!(good(2, Some(end)), [false, false]);
        assert_eq!(good(-1, Some(end)), [false, false]);
        assert_eq!(good(31, None), [false, false], "one that cannot be read");
        let told = parts(&[look("web", Some(end)), look("listener", Some(end))], end);
        assert!(
            told[0].2.contains("[web] tls_cert x.pem ended on") && told[0].2.contains("[listener]"),
            "{told:?}"
        );
        assert!(parts(&[], end).is_empty());
    }
}
