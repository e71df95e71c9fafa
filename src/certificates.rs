//! When the certificates end that we show, and those of our brokers: told to the rules and to `/metrics`, long enough before it.
//!
//! `lampguard certs` makes all of them on one day, so they end on one day: everybody who looks at them stays outside from
//! that hour on, sensors and broker together.

use std::collections::BTreeSet;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lampguard_ingester::source::broker::tls::TlsFiles;
use lampguard_ingester::source::broker::wire::{self, Remote};
use lampguard_ingester::source::listener;
use lampguard_ingester::source::server_tls::{CLIENT_CA, ServerTls};
use lampguard_model::{Millis, Timestamp};
use prometheus::IntGaugeVec;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::config::Config;
use crate::data_dir::Staged;
use crate::serve::Instance;
use crate::{brokers, clock};

/// So long before its end a certificate is named.
pub(crate) const SOON: Millis = Millis::hours(30 * 24);
/// And named again, whoever ended that incident: another part of the system, with an incident of its own.
const LAST_DAYS: Millis = Millis::hours(3 * 24);
/// They are looked at so often: a renewed one ends the incident then, and a pair of which one half is still on its way is
/// whole at the next look, before it is told (60 s).
const EVERY: Millis = Millis::seconds(30);

/// Ends of such lines where there is no end to name: the file cannot be read, or is not what counts.
const UNREAD: &str = " unread";
const UNUSED: &str = " unused";

/// Before the id of a broker, in the word of the certificate that it shows.
const OF_SERVER: &str = "broker_server:";

/// In the data directory: what people have ended, a line for each `part end`, so that no restart calls them again.
const ENDED: &str = "certificates_ended";

/// What we show to brokers: id, what it is, its files.
pub(crate) fn shown_to_brokers(config: &Config) -> Vec<(String, String, TlsFiles)> {
    let shown = config.brokers.iter().filter_map(|broker| {
        let what = format!("[[broker]] {} cert_file {}", broker.id, broker.cert_file.as_ref()?.display());
        Some((broker.id.clone(), what, brokers::remote(broker).ok()?.tls?))
    });
    shown.collect()
}

/// Brokers with TLS: id, what their own certificate is called, where they are.
pub(crate) fn servers(config: &Config) -> Vec<(String, String, Remote)> {
    let servers = config.brokers.iter().filter_map(|broker| {
        let remote = brokers::remote(broker).ok().filter(|remote| remote.tls.is_some())?;
        let what = format!("[[broker]] {} the broker's own, shown at {}", broker.id, broker.url);
        Some((broker.id.clone(), what, remote))
    });
    servers.collect()
}

/// Where the end of one is read.
enum Source {
    /// What a socket of ours serves, or whose client certificates it believes: not what stands in the files, which may be of
    /// no use.
    Served { tls: Arc<ServerTls>, client_ca: bool },
    /// What we show to a broker: read at each connection.
    Shown(TlsFiles),
    /// What a broker shows to us and to its sensors: asked by [`ask_brokers`], nobody's files here.
    Broker,
}

impl Source {
    /// `None` where nothing can be looked at from here.
    fn look(&self) -> Option<Seen> {
        Some(match self {
            Self::Served { tls, client_ca } => {
                let served = tls.served();
                let ends = if *client_ca { served.client_ca_ends } else { served.ends };
                let until = ends.map_or_else(String::new, Timestamp::to_rfc3339);
                let unused = served.unused.filter(|fault| (fault.key == CLIENT_CA) == *client_ca);
                let said =
                    |fault| format!("the files differ from what is served, which ends on {until}: {fault}");
                Seen { ends, unused: unused.map(said) }
            }
            Self::Shown(files) => {
                let fault = files.config().err();
                let unused = fault.map(|fault| format!("the next connection fails: {fault}"));
                Seen { ends: files.cert.as_deref().and_then(listener::ends_at), unused }
            }
            Self::Broker => return None,
        })
    }
}

/// What a look found.
#[derive(Debug, Default)]
struct Seen {
    /// None when it cannot be read.
    ends: Option<Timestamp>,
    /// Why what stands in the files is not what counts.
    unused: Option<String>,
}

/// One of them, as the last look found it.
struct Look {
    word: String,
    /// Its key of the configuration, and its file.
    what: String,
    source: Source,
    seen: Seen,
}

impl Look {
    fn of(word: &str, what: String, source: Source) -> Self {
        Self { word: word.to_owned(), what, source, seen: Seen::default() }
    }

    /// A broker that was not asked yet, or does not answer, has no certificate that could be judged: it has a part of its own.
    fn is_known(&self) -> bool {
        !matches!(self.source, Source::Broker) || self.seen.ends.is_some()
    }

    fn cure(&self) -> &'static str {
        match self.source {
            Source::Broker => {
                "请更换 broker 自己的证书文件并让它重新加载 (replace the files of the broker itself, then reload it)"
            }
            _ => "请更换文件 (put a new file in its place)",
        }
    }
}

/// Those of a running instance.
pub(crate) struct Certificates {
    looks: Mutex<Looks>,
    ends_in: IntGaugeVec,
    ended_file: PathBuf,
}

struct Looks {
    last: Option<Timestamp>,
    all: Vec<Look>,
    /// Lines of [`ENDED`].
    ended: BTreeSet<String>,
}

impl Certificates {
    pub(crate) fn of(config: &Config, dir: &Path, ends_in: IntGaugeVec) -> Self {
        let shown = shown_to_brokers(config).into_iter();
        let all =
            shown.map(|(id, what, files)| Look::of(&format!("broker:{id}"), what, Source::Shown(files)));
        let servers = servers(config)
            .into_iter()
            .map(|(id, what, _)| Look::of(&format!("{OF_SERVER}{id}"), what, Source::Broker));
        let all = all.chain(servers).collect();
        let ended_file = dir.join(ENDED);
        // Without it everybody is told once more.
        let ended = std::fs::read_to_string(&ended_file).unwrap_or_default();
        let ended = ended.lines().map(str::to_owned).collect();
        Self { looks: Mutex::new(Looks { last: None, all, ended }), ends_in, ended_file }
    }

    /// From now on those of this socket are looked at too.
    pub(crate) fn serve(&self, word: &str, tls: &Arc<ServerTls>) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let files = tls.files();
        let what = |key: &str, file: &Path| format!("{} {key} {}", files.section, file.display());
        let served = |client_ca| Source::Served { tls: tls.clone(), client_ca };
        looks.all.push(Look::of(word, what("tls_cert", &files.cert), served(false)));
        let of_ca = files.client_ca.as_ref().map(|(file, _)| what(CLIENT_CA, file));
        looks.all.extend(of_ca.map(|what| Look::of(CLIENT_CA, what, served(true))));
        // At once, not at the next look.
        looks.last = None;
    }

    /// Parts of the system; none where there are no certificates.
    pub(crate) fn parts(&self, now: Timestamp) -> Vec<(String, bool, String)> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let Looks { last, all, ended } = &mut *looks;
        // Also after a clock that went back.
        if last.is_none_or(|last| now < last || now.since(last) >= EVERY) {
            *last = Some(now);
            for look in all.iter_mut() {
                look.seen = look.source.look().unwrap_or_else(|| mem::take(&mut look.seen));
                if !look.is_known() {
                    continue;
                }
                let seconds = look.seen.ends.map_or(0, |ends| ends.since(now).as_seconds());
                self.ends_in.with_label_values(&[&look.word]).set(seconds);
            }
            self.forget(all, ended);
        }
        parts(all, ended, now)
    }

    /// What passes is ended for that time alone: a file that was read again meanwhile and is unreadable anew is told anew.
    fn forget(&self, all: &[Look], ended: &mut BTreeSet<String>) {
        let passes = |line: &str| line.ends_with(UNREAD) || line.ends_with(UNUSED);
        if !ended.iter().any(|line| passes(line)) {
            return;
        }
        let (known, before) = (known(all), ended.len());
        ended.retain(|line| !passes(line) || known.contains(line));
        if ended.len() < before {
            self.keep(ended);
        }
    }

    fn keep(&self, ended: &BTreeSet<String>) {
        let text = ended.iter().map(|line| format!("{line}\n")).collect::<String>();
        let written = Staged::write(&self.ended_file, &text, 0o600).and_then(|staged| staged.replace());
        if let Err(error) = written {
            warn!(
                error = format!("{error:#}"),
                "what people have ended of certificates is not kept: the next start may tell it again"
            );
        }
    }

    /// A broker shows a certificate that ends then.
    fn heard(&self, id: &str, ends: Timestamp) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let Looks { last, all, .. } = &mut *looks;
        let of_broker = |look: &&mut Look| look.word.strip_prefix(OF_SERVER) == Some(id);
        if let Some(look) = all.iter_mut().find(of_broker) {
            look.seen = Seen { ends: Some(ends), unused: None };
            // At once, not at the next look.
            *last = None;
        }
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
        // Of ends that are no longer those of a file nobody needs to know; a broker that does not answer has its end still.
        let (known, part_of) = (known(all), |line: &str| line.split(' ').next().map(str::to_owned));
        let unheard = all.iter().filter(|look| !look.is_known()).flat_map(|look| names(&look.word));
        let unheard: BTreeSet<String> = unheard.map(|(part, _)| part).collect();
        ended
            .retain(|line| known.contains(line) || part_of(line).is_some_and(|part| unheard.contains(&part)));
        self.keep(ended);
    }
}

/// The parts of one certificate.
fn names(word: &str) -> [(String, Millis); 2] {
    [(format!("certificate:{word}"), SOON), (format!("certificate_last_days:{word}"), LAST_DAYS)]
}

fn known(all: &[Look]) -> BTreeSet<String> {
    all.iter().flat_map(lines).collect()
}

/// As [`ENDED`] has them.
fn lines(look: &Look) -> [String; 2] {
    let Seen { ends, unused } = &look.seen;
    let is_other = ends.is_some() && unused.is_some();
    let ends = ends.map_or_else(|| UNREAD.trim().to_owned(), Timestamp::to_rfc3339);
    let [(part, _), (last_days, _)] = names(&look.word);
    let first = if is_other { UNUSED.trim() } else { &ends };
    [format!("{part} {first}"), format!("{last_days} {ends}")]
}

/// A part for each certificate, so that one that is known of hides no other.
fn parts(looks: &[Look], ended: &BTreeSet<String>, now: Timestamp) -> Vec<(String, bool, String)> {
    let of = |look: &Look| {
        let unused = [look.seen.unused.as_deref(), None];
        let of_part = |(((part, before), line), unused): (((String, Millis), String), Option<&str>)| {
            let because = because(look, unused, before, now);
            let because = because.filter(|_| !ended.contains(&line));
            (part, because.is_none(), because.unwrap_or_default())
        };
        names(&look.word).into_iter().zip(lines(look)).zip(unused).map(of_part).collect::<Vec<_>>()
    };
    looks.iter().filter(|look| look.is_known()).flat_map(of).collect()
}

/// What is wrong with it, if anything. No counts of days in it: a text that changes is another word to the rules.
fn because(look: &Look, unused: Option<&str>, before: Millis, now: Timestamp) -> Option<String> {
    let what = &look.what;
    let (heading, ends) = match (look.seen.ends, unused) {
        (Some(_), Some(why)) => {
            return Some(format!("证书文件不能用 (certificate: {what}: {why}; mend the files, no restart)"));
        }
        (None, _) => ("证书文件读不出", "cannot be read".to_owned()),
        (Some(ends), _) if ends.since(now) >= before => return None,
        (Some(ends), _) if ends <= now => ("证书已过期", format!("ended on {}", ends.to_rfc3339())),
        (Some(ends), _) => ("证书即将到期", format!("ends on {}", ends.to_rfc3339())),
    };
    Some(format!("{heading} (certificate: {what} {ends}). {}", look.cure()))
}

/// Asks each broker with TLS which certificate it shows, until `ending`. The connection of the readings keeps the certificate of
/// its beginning, for months: what the broker has read since shows in a new handshake alone.
pub(crate) fn ask_brokers(instance: &Arc<Instance>, ending: &watch::Receiver<bool>) {
    for (id, _, remote) in servers(&instance.config) {
        let (instance, mut ending) = (instance.clone(), ending.clone());
        tokio::spawn(async move {
            loop {
                let ends = match wire::shown_end(&remote).await {
                    Ok(ends) => ends,
                    Err(error) => {
                        debug!(broker = %id, %error, "the broker could not be asked for its certificate");
                        None
                    }
                };
                if let Some(ends) = ends {
                    instance.watchers.certificates.heard(&id, ends);
                }
                tokio::select! {
                    () = tokio::time::sleep(pause(ends, clock::now())) => {}
                    _ = ending.changed() => return,
                }
            }
        });
    }
}

/// Seldom: each question is a line in the broker's log. Near the end, so that a renewed one is seen soon.
fn pause(ends: Option<Timestamp>, now: Timestamp) -> Duration {
    let is_far = ends.is_some_and(|ends| ends.since(now) >= SOON);
    Duration::from_secs(if is_far { 6 * 3600 } else { 600 })
}

#[cfg(test)]
mod tests {
    use lampguard_ingester::source::server_tls::ServerFiles;

    use super::*;

    #[test]
    fn a_certificate_is_told_thirty_days_before_its_end_and_again_in_its_last_three() {
        let end = Timestamp(1_795_435_200_000);
        let look = |word: &str, ends| Look {
            seen: Seen { ends, unused: None },
            ..Look::of(word, format!("[{word}] tls_cert x.pem"), Source::Shown(TlsFiles::default()))
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
        let words = |ends| {
            parts(&[look("web", ends)], &BTreeSet::new(), end)[0].2.split(' ').next().map(str::to_owned)
        };
        assert_eq!(
            [None, Some(end), Some(end + Millis(1))].map(words),
            ["证书文件读不出", "证书已过期", "证书即将到期"].map(|word| Some(word.to_owned()))
        );
        assert_eq!(
            (&*told[2].0, &*told[3].0),
            ("certificate:listener", "certificate_last_days:listener"),
            "one that is known of hides no other"
        );
        assert!(parts(&[], &BTreeSet::new(), end).is_empty());
    }

    /// A folder with the files of `[web]`, and those who look at them.
    struct Home(tempfile::TempDir);

    impl Home {
        fn new(year: i32) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            home.write(year, true);
            home
        }

        /// A new certificate that ends with that year, with its key or without it.
        fn write(&self, year: i32, with_key: bool) {
            let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            std::fs::write(self.0.path().join("web.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
            if with_key {
                std::fs::write(self.0.path().join("web.key"), key.serialize_pem()).unwrap();
            }
        }

        fn files(&self) -> ServerFiles {
            let mut web = Config::default().web;
            (web.tls_cert, web.tls_key) =
                (Some(self.0.path().join("web.pem")), Some(self.0.path().join("web.key")));
            crate::api::tls_files(&web).unwrap()
        }

        fn start(&self) -> Certificates {
            let gauge = IntGaugeVec::new(prometheus::Opts::new("ends", "ends"), &["certificate"]).unwrap();
            let certificates = Certificates::of(&Config::default(), self.0.path(), gauge);
            certificates.serve("web", &Arc::new(ServerTls::load(self.files()).unwrap()));
            certificates
        }
    }

    fn good(of: &Certificates, now: Timestamp) -> Vec<bool> {
        of.parts(now).iter().map(|(_, good, _)| *good).collect()
    }

    #[test]
    fn what_people_have_ended_is_told_by_no_later_start_until_the_file_is_another() {
        let home = Home::new(2026);
        let now = Timestamp::from_rfc3339("2025-12-20T00:00:00Z").unwrap();
        let first = home.start();
        assert_eq!(good(&first, now), [false, true]);
        first.dismiss("certificate:web");
        assert_eq!(good(&first, now), [true, true]);
        let second = home.start();
        assert_eq!(good(&second, now), [true, true], "no second call at a restart");
        assert_eq!(good(&second, now + Millis::hours(10 * 24)), [true, false], "the last days are told");
        home.write(2025, true);
        assert_eq!(good(&home.start(), now), [false, false], "another end");
    }

    #[test]
    fn a_new_certificate_without_its_key_mends_nothing_and_is_told_in_words_of_its_own() {
        let home = Home::new(2026);
        let now = Timestamp::from_rfc3339("2025-12-30T00:00:00Z").unwrap();
        let running = home.start();
        assert_eq!(good(&running, now), [false, false]);
        running.dismiss("certificate:web");
        // In the files all seems well until 2029; the port serves what it had.
        home.write(2029, false);
        let now = now + EVERY;
        let told = running.parts(now);
        assert_eq!(good(&running, now), [false, false], "{told:?}");
        for words in ["differ from what is served", "tls_key", "ends on 2026-01-01"] {
            assert!(told[0].2.contains(words), "{words}: {told:?}");
        }
        assert_eq!(
            running.ends_in.with_label_values(&["web"]).get(),
            Millis::hours(2 * 24).as_seconds() - 30
        );
        home.write(2029, true);
        assert_eq!(good(&running, now + EVERY), [true, true]);
    }
    #[test]
    fn the_certificate_of_a_broker_is_judged_once_it_was_seen_and_its_cure_is_the_brokers_files() {
        let home = tempfile::tempdir().unwrap();
        let text = "id = \"main\"\nurl = \"mqtts://broker.example:8883\"\n";
        let config = Config { brokers: vec![toml::from_str(text).unwrap()], ..Config::default() };
        let gauge = IntGaugeVec::new(prometheus::Opts::new("ends", "ends"), &["certificate"]).unwrap();
        let running = Certificates::of(&config, home.path(), gauge);
        let now = Timestamp::from_rfc3339("2025-12-20T00:00:00Z").unwrap();
        assert_eq!(running.parts(now), [], "it was not seen yet");
        let end = now + Millis::hours(12 * 24);
        running.heard("main", end);
        let told = running.parts(now);
        assert_eq!(
            told.iter().map(|(part, good, _)| (&**part, *good)).collect::<Vec<_>>(),
            [("certificate:broker_server:main", false), ("certificate_last_days:broker_server:main", true)]
        );
        assert!(told[0].2.contains("the files of the broker itself"), "{told:?}");
        // It stays away: what was seen last holds, and is not forgotten at a look.
        assert_eq!(good(&running, end + Millis::hours(1)), [false, false]);
        assert_eq!(pause(Some(end), now), Duration::from_secs(600));
        running.heard("main", now + Millis::hours(400 * 24));
        assert_eq!(good(&running, now), [true, true]);
        assert_eq!(pause(Some(now + Millis::hours(400 * 24)), now), Duration::from_secs(6 * 3600));
        assert_eq!(running.ends_in.with_label_values(&["broker_server:main"]).get(), 400 * 86_400);
        // Behind a restart it does not answer yet; another one is ended meanwhile.
        running.heard("main", end);
        running.dismiss("certificate:broker_server:main");
        let text = format!("{text}cert_file = \"/none\"\nkey_file = \"/none\"\n");
        let config = Config { brokers: vec![toml::from_str(&text).unwrap()], ..Config::default() };
        let gauge = IntGaugeVec::new(prometheus::Opts::new("ends", "ends"), &["certificate"]).unwrap();
        let restarted = Certificates::of(&config, home.path(), gauge);
        restarted.parts(now);
        restarted.dismiss("certificate:broker:main");
        restarted.heard("main", end);
        assert!(
            restarted
                .parts(now)
                .iter()
                .any(|(part, good, _)| part == "certificate:broker_server:main" && *good)
        );
    }

    #[test]
    fn what_people_ended_of_an_unreadable_file_is_forgotten_once_it_was_read() {
        let home = tempfile::tempdir().unwrap();
        let (cert, key) = (home.path().join("own.pem"), home.path().join("own.key"));
        let made = rcgen::generate_simple_self_signed(vec!["lampguard".to_owned()]).unwrap();
        let write = |text: &str| std::fs::write(&cert, text).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let (own, name) = (cert.display(), key.display());
        let text =
            format!("id = \"main\"\nurl = \"mqtts://x\"\ncert_file = \"{own}\"\nkey_file = \"{name}\"\n");
        let config = Config { brokers: vec![toml::from_str(&text).unwrap()], ..Config::default() };
        let gauge = || IntGaugeVec::new(prometheus::Opts::new("ends", "ends"), &["certificate"]).unwrap();
        let start = || Certificates::of(&config, home.path(), gauge());
        let running = start();
        let now = Timestamp::from_rfc3339("2025-12-20T00:00:00Z").unwrap();
        let look = |n: i64| good(&running, now + Millis(EVERY.0 * n));
        write("nothing");
        assert_eq!(look(0), [false, false]);
        running.dismiss("certificate:broker:main");
        running.dismiss("certificate_last_days:broker:main");
        assert_eq!(
            (look(1), good(&start(), now)),
            (vec![true, true], vec![true, true]),
            "ended, also for a new start"
        );
        write(&made.cert.pem());
        assert_eq!(look(2), [true, true], "it ends in 4096");
        write("nothing");
        assert_eq!(
            (look(3), good(&start(), now)),
            (vec![false, false], vec![false, false]),
            "unreadable anew"
        );
    }
}
