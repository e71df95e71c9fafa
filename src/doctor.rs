//! `doctor`: is what surrounds us safe? Each unsafe setting with its cure.

mod broker;
mod certificates;
mod channels;
mod database;
mod influx;
mod nodes;
mod web;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use lampguard_alerting::GAP_DAYS;
use lampguard_alerting::rota::Why;
use lampguard_journal::{Disk, RealDisk};
use lampguard_model::Register;

use crate::config::{self, Config};
use crate::data_dir::{self, Local};
use crate::{clock, plan, serve, tools};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grade {
    /// Safe.
    Good,
    /// Cannot be seen from here; a person has to look.
    Unknown,
    /// Works, but not well.
    Warn,
    /// Readings can be lost or alarms stay away.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) grade: Grade,
    pub(crate) about: String,
    pub(crate) text: String,
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    pub(crate) fn add(&mut self, grade: Grade, about: &str, text: impl Into<String>) {
        self.0.push(Finding { grade, about: about.to_owned(), text: text.into() });
    }

    fn worst_count(&self) -> usize {
        self.0.iter().filter(|finding| finding.grade == Grade::Bad).count()
    }
}

/// A longer fdatasync than this (99th percentile) holds up acknowledgements noticeably.
const SYNC_P99_MAX: Duration = Duration::from_millis(250);
const SYNCS: usize = 100;
/// A file may be written this far ahead of a clock that was corrected since.
const CLOCK_BACK_MAX: Duration = Duration::from_secs(60);

pub(crate) fn run(file: Option<&Path>) -> Result<()> {
    let file = config::find(file)?;
    let config = config::load(&file)?;
    let mut findings = Findings::default();
    // Which one: a lampguard.toml in the working folder goes before the system's.
    let shown = std::path::absolute(&file).unwrap_or_else(|_| file.clone());
    findings.add(Grade::Good, "configuration", shown.display().to_string());
    check_register(&config, &mut findings);
    check_policy(&config, &mut findings);
    check_rota(&config, &mut findings);
    check_disk(&config, &mut findings);
    check_clock(&config, &mut findings);
    check_secrets(&config, &mut findings);
    certificates::check(&config, &mut findings);
    web::check(&config, &mut findings);
    check_profiles(&config, &mut findings);
    check_instance(&config, &mut findings);
    channels::check(&config, &mut findings);
    if let Some(section) = &config.nodes {
        nodes::check(section, serve::load_register(&config).ok().as_ref(), &mut findings);
    }
    for database in &config.tsdbs {
        database::check(database, &mut findings);
    }
    serve::runtime()?.block_on(async {
        for broker in &config.brokers {
            broker::check(broker, &mut findings).await;
        }
        certificates::check_servers(&config, &mut findings).await;
    });
    for finding in &findings.0 {
        let mark = match finding.grade {
            Grade::Good => "ok  ",
            Grade::Unknown => "?   ",
            Grade::Warn => "WARN",
            Grade::Bad => "BAD ",
        };
        tools::print(&format!("{mark} {:<18} {}\n", finding.about, finding.text))?;
    }
    match findings.worst_count() {
        0 => Ok(()),
        count => bail!("{count} unsafe setting(s), see BAD above"),
    }
}

fn check_register(config: &Config, findings: &mut Findings) {
    match serve::load_register(config) {
        Ok(register) => {
            findings.add(Grade::Good, "register", format!("{} posts", register.posts().len()));
            check_lighting(config, &register, findings);
        }
        Err(e) => findings.add(Grade::Bad, "register", format!("{e:#}")),
    }
}

/// Timetables fit the register, and the sun is known where they need it.
fn check_lighting(config: &Config, register: &Register, findings: &mut Findings) {
    let placeless = register.posts().iter().filter(|post| post.lon == 0.0 && post.lat == 0.0).count();
    match serve::load_lighting(config, register) {
        Err(e) => findings.add(Grade::Bad, "lighting", format!("{e:#}")),
        Ok(_) if placeless > 0 => findings.add(
            Grade::Warn,
            "lighting",
            format!(
                "{placeless} post(s) without lon and lat take the sun of others; cure: fill in the columns"
            ),
        ),
        Ok(_) => findings.add(Grade::Good, "lighting", "timetables fit the register"),
    }
}

/// Settings of the policy that protect less than their floor.
fn check_policy(config: &Config, findings: &mut Findings) {
    let weak: Vec<_> = config.policies.versions().iter().flat_map(|version| &version.accepted).collect();
    for weak in &weak {
        let text = format!(
            "{} is {}, floor {}; accepted: {}; cure: go back to the floor",
            weak.key, weak.value, weak.floor, weak.reason
        );
        findings.add(Grade::Warn, "policy", text);
    }
    for weak in config.ladders.weak() {
        let text = format!("{}; cure: add these steps", config::policy::weak_text(weak));
        findings.add(Grade::Warn, "ladder", text);
    }
    if weak.is_empty() {
        findings.add(Grade::Good, "policy", "nothing protects less than its floor");
    }
}

/// Whether somebody can be sent in every hour of the next week.
fn check_rota(config: &Config, findings: &mut Findings) {
    /// Gaps that are named.
    const NAMED_MAX: usize = 5;
    for told in config::people::warnings(config) {
        findings.add(Grade::Warn, "people", told);
    }
    let rota = match plan::offline(config) {
        Ok(rota) => rota,
        Err(e) => return findings.add(Grade::Bad, "rota", format!("{e:#}")),
    };
    for fault in rota.changes.faults(&rota) {
        let text = format!("{fault}; it says nothing; cure: PUT /api/v1/rota without it");
        findings.add(Grade::Warn, "rota", text);
    }
    let now = clock::now();
    let (gaps, zone) = (rota.gaps(now, GAP_DAYS), &rota.weekly.calendar.time_zone);
    for gap in gaps.iter().take(NAMED_MAX) {
        let why = match (gap.why, &gap.crew) {
            (Why::NobodyReachable, Some(crew)) => format!("nobody of crew {crew} has a channel"),
            _ => "no crew is on duty".to_owned(),
        };
        let text = format!(
            "zone {}: {why} from {} to {}; cure: a [[duty]], or an override by PUT /api/v1/rota",
            gap.zone,
            plan::local(gap.from, zone),
            plan::local(gap.to, zone)
        );
        findings.add(if gap.from <= now { Grade::Bad } else { Grade::Warn }, "rota", text);
    }
    match gaps.len() {
        0 => findings.add(Grade::Good, "rota", format!("no gap in the next {GAP_DAYS} days")),
        found if found > NAMED_MAX => {
            findings.add(Grade::Warn, "rota", format!("{found} gaps in all: `lampguard plan` lists them"));
        }
        _ => {}
    }
}

fn check_disk(config: &Config, findings: &mut Findings) {
    let dir = &config.site.data_dir;
    if let Err(e) = data_dir::make(dir) {
        return findings.add(Grade::Bad, "data_dir", format!("{e:#}"));
    }
    match std::fs::metadata(dir) {
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => findings.add(
            Grade::Warn,
            "data_dir",
            format!("others may look into {}; cure: chmod 700 {0}", dir.display()),
        ),
        _ => findings.add(Grade::Good, "data_dir", format!("{}", dir.display())),
    }
    if let Some(name) = strangers(dir).into_iter().next() {
        let text = format!(
            "{name} in {0} belongs to another user than the folder: the service cannot write it; cure: chown -R --reference={0} {0}",
            dir.display()
        );
        findings.add(Grade::Bad, "data_dir", text);
    }
    match RealDisk.free_bytes(dir) {
        Ok(free) if free < config.journal.min_free_bytes.saturating_mul(2) => findings.add(
            Grade::Bad,
            "disk space",
            format!(
                "{} MiB free, the journal stops at {} MiB; cure: free space, or a larger disk",
                free >> 20,
                config.journal.min_free_bytes >> 20
            ),
        ),
        Ok(free) if free < config.journal.max_bytes => findings.add(
            Grade::Warn,
            "disk space",
            format!(
                "{} MiB free, the journal may grow to {} MiB; cure: lower journal.max_bytes",
                free >> 20,
                config.journal.max_bytes >> 20
            ),
        ),
        Ok(free) => findings.add(Grade::Good, "disk space", format!("{} MiB free", free >> 20)),
        Err(e) => findings.add(Grade::Unknown, "disk space", format!("cannot be told: {e}")),
    }
    match syncs(dir) {
        Ok((p50, p99)) if p99 > SYNC_P99_MAX => findings.add(
            Grade::Warn,
            "disk sync",
            format!("fdatasync p50 {p50:?}, p99 {p99:?}: acknowledgements wait that long; cure: a faster or less shared disk"),
        ),
        Ok((p50, p99)) => findings.add(Grade::Good, "disk sync", format!("fdatasync p50 {p50:?}, p99 {p99:?}")),
        Err(e) => findings.add(Grade::Bad, "disk sync", format!("cannot write to {}: {e}", dir.display())),
    }
}

/// Median and 99th percentile of an append of 4 KiB with fdatasync.
fn syncs(dir: &Path) -> std::io::Result<(Duration, Duration)> {
    let path = dir.join(format!("doctor-{}.tmp", std::process::id()));
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    let mut outcome = Ok(());
    for _ in 0..SYNCS {
        let started = Instant::now();
        outcome = file.write_all(&[7; 4096]).and_then(|()| file.sync_data());
        if outcome.is_err() {
            break;
        }
        times.push(started.elapsed());
    }
    let _ = std::fs::remove_file(&path);
    outcome?;
    times.sort_unstable();
    Ok((times[SYNCS / 2], times[SYNCS * 99 / 100]))
}

/// Whether this machine's clock is kept right, and has not been set back behind what is already stored.
fn check_clock(config: &Config, findings: &mut Findings) {
    let newest = newest_file(&config.site.data_dir.join("journal"));
    let ahead = newest.and_then(|at| at.duration_since(SystemTime::now()).ok());
    if let Some(ahead) = ahead.filter(|ahead| *ahead > CLOCK_BACK_MAX) {
        let text = format!(
            "the journal was written {} s in the future: the clock was set back; cure: set it by NTP",
            ahead.as_secs()
        );
        findings.add(Grade::Bad, "clock", text);
    }
    let asked = Command::new("timedatectl").args(["show", "-p", "NTPSynchronized", "--value"]).output();
    let said = asked.ok().filter(|output| output.status.success());
    match said.map(|output| String::from_utf8_lossy(&output.stdout).trim() == "yes") {
        Some(true) => findings.add(Grade::Good, "clock", "kept right by NTP"),
        Some(false) => findings.add(
            Grade::Warn,
            "clock",
            "is not kept right by NTP: deadlines and ages go by it; cure: timedatectl set-ntp true",
        ),
        None => findings.add(
            Grade::Unknown,
            "clock",
            "whether NTP keeps it right cannot be seen here; check: chronyc tracking, or timedatectl",
        ),
    }
}

/// When the newest file of a folder was written.
fn newest_file(dir: &Path) -> Option<SystemTime> {
    let files = std::fs::read_dir(dir).ok()?.flatten();
    files.filter_map(|file| file.metadata().ok()?.modified().ok()).max()
}

fn check_secrets(config: &Config, findings: &mut Findings) {
    let brokers = config.brokers.iter().flat_map(|broker| [&broker.password_file, &broker.key_file]);
    let brokers = brokers.flatten().map(|path| path.as_path());
    let databases = config.tsdbs.iter().filter_map(|database| database.token_file.as_deref());
    let channels = config.channels.iter().flat_map(config::Channel::secret_files);
    let listener =
        config.listener.iter().flat_map(|listener| [&listener.credentials_file, &listener.tls_key]);
    for path in brokers.chain(databases).chain(channels).chain(listener.flatten().map(|path| path.as_path()))
    {
        let open = std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o007 != 0);
        if open {
            let text = format!("everybody on this machine may read {0}; cure: chmod 640 {0}", path.display());
            findings.add(Grade::Warn, "secret", text);
        }
    }
}

fn check_profiles(config: &Config, findings: &mut Findings) {
    for profile in config.profiles.iter().filter(|profile| profile.time.is_none()) {
        findings.add(
            Grade::Warn,
            "profile",
            format!(
                "{}: its payloads carry neither time nor (boot, seq), so a repeated delivery counts twice; \
                 cure: let the devices send one of them and name it in the profile",
                profile.name
            ),
        );
    }
}

/// What is in the folder, and in those directly in it, and not its owner's: a command beside the service that was run as
/// root leaves such files.
fn strangers(dir: &Path) -> Vec<String> {
    let Ok(owner) = std::fs::metadata(dir).map(|meta| meta.uid()) else { return Vec::new() };
    of_others(owner, owned(dir, "", true).into_iter())
}

/// Names below the data directory, and whose they are.
fn owned(dir: &Path, before: &str, deeper: bool) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        // The root's at the top of every ext4, and nobody writes there.
        if name == "lost+found" {
            continue;
        }
        if deeper && meta.is_dir() {
            found.extend(owned(&entry.path(), &format!("{name}/"), false));
        }
        found.push((name, meta.uid()));
    }
    found
}

fn of_others(owner: u32, files: impl Iterator<Item = (String, u32)>) -> Vec<String> {
    let mut names: Vec<String> = files.filter(|(_, uid)| *uid != owner).map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

fn check_instance(config: &Config, findings: &mut Findings) {
    match Local::read(&config.site.data_dir) {
        Err(_) => findings.add(Grade::Unknown, "instance", "none has run on this data directory yet"),
        Ok(local) => {
            let agent = Local::agent(Some(Duration::from_secs(3)));
            match agent.get(format!("{}/readyz", local.url)).call() {
                Ok(answer) if answer.status() == 200 => {
                    findings.add(Grade::Good, "instance", format!("ready at {}", local.url));
                    check_aliases(&agent, &local.url, findings);
                }
                Ok(answer) => findings.add(
                    Grade::Bad,
                    "instance",
                    format!("answers {} at {}/readyz", answer.status(), local.url),
                ),
                Err(_) => findings.add(Grade::Unknown, "instance", "not running now"),
            }
        }
    }
}

/// Whether edge nodes are unheard for want of their birth.
fn check_aliases(agent: &ureq::Agent, url: &str, findings: &mut Findings) {
    const NAME: &str = "lampguard_ingester_quarantined_total{reason=\"unknown_alias\"} ";
    let answer = agent.get(format!("{url}/metrics")).call();
    let Ok(text) = answer.and_then(|mut answer| answer.body_mut().read_to_string()) else { return };
    let told = text.lines().find_map(|line| line.strip_prefix(NAME));
    let Some(count) = told.filter(|count| *count != "0") else { return };
    let text = format!(
        "{count} payload(s) since its start name values by numbers that no birth has told: they were not judged; cure: \
         let the edge nodes send their birth (a rebirth command, or a restart), then lampguard quarantine retry \
         --reason unknown_alias"
    );
    findings.add(Grade::Warn, "sparkplug", text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_root_among_the_data_is_found() {
        let files = [("incidents.db", 0), ("journal", 997), ("accounts.db", 0)];
        let files = || files.iter().map(|(name, uid)| ((*name).to_owned(), *uid));
        assert_eq!(of_others(997, files()), ["accounts.db", "incidents.db"]);
        assert!(of_others(997, files().filter(|(_, uid)| *uid == 997)).is_empty());
        // As it is read from a disk: what one process makes belongs to one user.
        let home = tempfile::tempdir().unwrap();
        for folder in ["journal", "lost+found"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
            std::fs::write(home.path().join(folder).join("one"), "x").unwrap();
        }
        assert!(strangers(home.path()).is_empty());
        let mut names: Vec<String> = owned(home.path(), "", true).into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["journal", "journal/one"]);
    }
}
