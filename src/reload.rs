//! SIGHUP: register, timetables, policy, people and ladders are read again while it runs.
//!
//! ```text
//!  1 read       the configuration file, and the files that it names: checked as at a start, every fault at once
//!  2 compare    posts that came, went, moved; a register that lost many of its posts is refused
//!  3 judge      alerting goes on by them, between two readings; what changed stands in its hash chain
//!  4 place      intake, HTTP and pages see them from their next look on
//! ```
//! A fault at 1 or 2 changes nothing: what held before holds on, the log names file, line and way out, and
//! `lampguard_reload_failing` is 1 until one succeeds. Everything else in the configuration is read at a start alone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use lampguard_alerting::Reload;
use lampguard_ingester::admit::UNREGISTERED_TRACKED_MAX;
use lampguard_model::register::difference::{Difference, may_go};
use lampguard_model::{Current, Marks, Register};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinError;
use tracing::{error, info, warn};

use crate::config::{self, Config};
use crate::device_moves::{self, DeviceMoves};
use crate::nodes;
use crate::serve::{self, Instance};

/// Who asked for it, in the hash chain.
const BY: &str = "SIGHUP";

/// Posts that are gone and named in the log; all of them stand in the difference of the files.
const NAMED_MAX: usize = 20;

/// Begins to listen for SIGHUP, which would end the process otherwise.
pub(crate) fn hangups() -> Result<Signal> {
    signal(SignalKind::hangup()).context("listening for SIGHUP")
}

/// Follows each SIGHUP, one after the other. Those that come meanwhile are one.
pub(crate) async fn follow(instance: Arc<Instance>, file: PathBuf, mut hangups: Signal) {
    let held = Current::from(Arc::new(instance.config.clone()));
    while hangups.recv().await.is_some() {
        let (its, named, held) = (instance.clone(), file.clone(), held.clone());
        let done = tokio::task::spawn_blocking(move || reload(&its, &held, &named)).await;
        match fault(done) {
            None => {
                instance.reloads.failing.set(0);
                instance.reloads.done.inc();
            }
            Some(fault) => {
                error!("{fault}");
                instance.reloads.failing.set(1);
                instance.reloads.failed.inc();
            }
        }
    }
    // No signal can come any more; that is no reason to end.
    std::future::pending::<()>().await;
}

/// What went wrong, and what holds now.
fn fault(done: Result<Result<()>, JoinError>) -> Option<String> {
    match done {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(format!("SIGHUP: nothing was changed, what held before holds on: {e:#}")),
        Err(e) => Some(format!(
            "SIGHUP: following it broke off, the rules may go on by what was read: restart: {e}"
        )),
    }
}

/// Reads everything again and goes on by it, which is what is held from then on.
fn reload(instance: &Instance, current: &Current<Config>, file: &Path) -> Result<()> {
    let (read, held) = (config::load(file)?, current.get());
    let held = &*held;
    if rest(&read) != rest(held) {
        warn!(
            "other sections of the configuration are not those of the start: they are taken at the next one"
        );
    }
    let same_zones = has_zones_of(&read, held);
    let people = if same_zones { read.clone() } else { held.clone() };
    let now = Config {
        posts: read.posts,
        lighting: read.lighting,
        policy: read.policy,
        policies: read.policies,
        ladders: read.ladders,
        ..with_people_of(people, held)
    };
    check_channels(&now)?;
    let posts = &now.posts.file;
    let bytes = std::fs::read(posts).with_context(|| format!("reading register {}", posts.display()))?;
    let register = serve::check_register(&now, &bytes);
    let register = match same_zones {
        true => register?,
        false => register.context("the zones are those of the start; a new [[zone]] needs a restart")?,
    };
    let (old, register) = (instance.register.get(), Arc::new(register));
    let difference = Difference::between(&old, &register);
    check(&difference, &old, posts)?;
    let lighting = serve::load_lighting(&now, &register)?;
    serve::keep_policies(&now, &held.site.data_dir)?;
    serve::say_weak_ladders(&now);
    let mut changes = Vec::new();
    if difference.is_some() || old.posts() != register.posts() {
        let body = device_moves::body(BY, posts, &sha256(&bytes), register.posts().len(), &difference);
        changes.push((device_moves::EVENT, body));
    }
    if format!("{:?}", now.lighting) != format!("{:?}", held.lighting) {
        let bytes = std::fs::read(file).unwrap_or_default();
        changes.push(("lighting_changed", json!({ "by": BY, "file": file, "sha256": sha256(&bytes) })));
    }
    if now.policies != held.policies {
        changes.push(("policy_changed", of_policy(&now)));
    }
    if config::people::rota(&now) != config::people::rota(held) {
        let bytes = std::fs::read(file).unwrap_or_default();
        changes.push(("rota_changed", json!({ "by": BY, "file": file, "sha256": sha256(&bytes) })));
    }
    if now.ladders != held.ladders {
        let bytes = std::fs::read(file).unwrap_or_default();
        changes.push(("ladders_changed", json!({ "by": BY, "file": file, "sha256": sha256(&bytes) })));
    }
    if changes.is_empty() {
        info!("SIGHUP: register, lighting, policy, people and ladders are what they were");
        current.set(Arc::new(now));
        return Ok(());
    }
    say(&changes, register.posts().len(), &difference);
    go_on(instance, current, now, &register, lighting, changes, &difference)
}

/// What was read again, for the log.
fn say(changes: &[(&'static str, Value)], posts: usize, difference: &Difference) {
    let moved = difference.moved().count();
    let kinds: Vec<&str> = changes.iter().map(|(kind, _)| *kind).collect();
    info!(
        changed = kinds.join(","),
        posts,
        added = difference.added.len(),
        removed = difference.removed.len(),
        moved,
        other = difference.changed.len() - moved,
        devices = difference.devices.len(),
        "SIGHUP: read again"
    );
    if !difference.removed.is_empty() {
        warn!(
            removed = difference.removed.len(),
            posts = names(difference),
            "posts are gone from the register: what is open of them stays, their silence counts no more"
        );
    }
}

/// What changed of the register while no instance ran stands in the hash chain too, and which device hung where.
pub(crate) fn since_last_start(instance: &Instance) -> Result<()> {
    let (config, register) = (&instance.config, instance.register.get());
    let dir = &config.site.data_dir;
    instance.device_moves.set(Arc::new(DeviceMoves::read(&instance.alerting)));
    if let Some(difference) = device_moves::since_last(dir, &register) {
        let file = &config.posts.file;
        let bytes = std::fs::read(file).unwrap_or_default();
        let body = device_moves::body("start", file, &sha256(&bytes), register.posts().len(), &difference);
        let lighting = instance.lighting.get();
        let reload = for_the_rules(config, &register, lighting, vec![(device_moves::EVENT, body)]);
        instance.alerting.reload(reload).context("telling the alarms what changed of the register")?;
        let moves = instance.device_moves.get().with((instance.clock)(), &difference);
        instance.device_moves.set(Arc::new(moves));
    }
    device_moves::keep(dir, &register);
    Ok(())
}

/// What the rules of this node go on by: among several nodes they see the posts of others as their owners say, and where
/// they judge nothing they tell nobody.
fn for_the_rules(
    config: &Config,
    register: &Arc<Register>,
    lighting: Arc<lampguard_alerting::lighting::Lighting>,
    changes: Vec<(&'static str, Value)>,
) -> Reload {
    Reload {
        register: nodes::judged(config, register),
        lighting,
        policy: config.policies.clone(),
        rota: nodes::rota(config),
        ladders: config.ladders.clone(),
        changes,
    }
}

/// Steps 3 and 4.
fn go_on(
    instance: &Instance,
    current: &Current<Config>,
    now: Config,
    register: &Arc<Register>,
    lighting: Arc<lampguard_alerting::lighting::Lighting>,
    changes: Vec<(&'static str, Value)>,
    difference: &Difference,
) -> Result<()> {
    // Room on the board first: a new post may speak at once.
    let room = register.posts().len() + UNREGISTERED_TRACKED_MAX;
    let reload = for_the_rules(&now, register, lighting.clone(), changes);
    instance.latest.set_limit(instance.latest.len().max(room) + difference.added.len());
    let durable = instance.alerting.reload(reload).context("handing it to the alarms")?;
    // The rules go on by it: nothing that may fail stands between that and those who go by it too.
    instance.register.set(register.clone());
    instance.lighting.set(lighting);
    instance.policies.set(Arc::new(now.policies.clone()));
    instance.ladders.set(Arc::new(now.ladders.clone()));
    if difference.is_some() {
        let moves = instance.device_moves.get().with((instance.clock)(), difference);
        instance.device_moves.set(Arc::new(moves));
        device_moves::keep(&instance.config.site.data_dir, register);
    }
    current.set(Arc::new(now));
    if !durable {
        warn!("what changed is not in the hash chain yet: the disk gets it as soon as it takes something");
    }
    clear_board(instance, register, difference);
    Ok(())
}

/// The board no longer shows devices under the names they had before they were registered, nor posts that are gone and
/// have nothing open.
fn clear_board(instance: &Instance, register: &Register, difference: &Difference) {
    let mut gone: Vec<Box<str>> = Vec::new();
    instance.latest.for_each(|reading| {
        let is_other = |post: &Arc<lampguard_model::Post>| *post.post_id != *reading.post;
        if reading.row.marks.has(Marks::UNREGISTERED) && register.named(&reading.post).is_some_and(is_other) {
            gone.push(reading.post.clone());
        }
    });
    let open = instance.alerting.open_incidents_by_post();
    let struck = difference.removed.iter().map(|post| &post.post_id).filter(|post| !open.contains_key(*post));
    gone.iter()
        .map(|post| &**post)
        .chain(struck.map(|post| &**post))
        .for_each(|post| instance.latest.remove(post));
}

/// People are taken over only for the zones that run: a new zone needs a restart.
fn has_zones_of(read: &Config, held: &Config) -> bool {
    let ids = |config: &Config| config.zones.iter().map(|zone| zone.id.clone()).collect::<HashSet<_>>();
    ids(read) == ids(held)
}

fn with_people_of(people: Config, rest: &Config) -> Config {
    Config {
        zones: people.zones,
        crews: people.crews,
        shifts: people.shifts,
        duty: people.duty,
        calendar: people.calendar,
        desk: people.desk,
        supervisor: people.supervisor,
        head: people.head,
        ..rest.clone()
    }
}

/// Channels are those of the start: whoever would be told by another one could not be told.
fn check_channels(now: &Config) -> Result<()> {
    let unknown = config::people::unknown_channels(now);
    if !unknown.is_empty() {
        bail!("people are told by [[channel]] {}, which is new: a restart takes it", unknown.join(", "));
    }
    Ok(())
}

/// What is read at a start alone, as text that can be compared. Secrets are not in it.
fn rest(config: &Config) -> String {
    let none = Config::default();
    let rest = Config {
        posts: none.posts,
        lighting: none.lighting,
        policy: none.policy,
        policies: none.policies,
        ladders: none.ladders,
        ..with_people_of(Config::default(), config)
    };
    let zones: Vec<&str> = config.zones.iter().map(|zone| zone.id.as_str()).collect();
    format!("{zones:?} {rest:?}")
}

fn of_policy(config: &Config) -> Value {
    let version = |version: &lampguard_alerting::policy::Version| json!({ "from": version.from.map(lampguard_model::Timestamp::to_rfc3339), "hash": version.hash });
    let versions: Vec<Value> = config.policies.versions().iter().map(version).collect();
    json!({ "by": BY, "file": config.policy.file, "versions": versions })
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Nobody takes many posts of a city out in one evening, nor most of a small one.
fn check(difference: &Difference, old: &Register, file: &Path) -> Result<()> {
    let (gone, all) = (difference.removed.len(), old.posts().len());
    if gone > may_go(all) {
        bail!(
            "register {}: {gone} of {all} posts would go ({}); at most {} may go at once. Was the file whole? If it is meant, restart",
            file.display(),
            names(difference),
            may_go(all),
        );
    }
    Ok(())
}

/// Names of posts that are gone, some of them when they are many.
fn names(difference: &Difference) -> String {
    let mut names: Vec<&str> = difference.removed.iter().map(|post| &*post.post_id).collect();
    names.sort_unstable();
    let more = if names.len() > NAMED_MAX { ", …" } else { "" };
    names.truncate(NAMED_MAX);
    format!("{}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(lines: &[&str]) -> Register {
        let rows: Vec<String> = lines
            .iter()
            .map(|line| {
                let (post, zone, feeder, road) = {
                    let mut parts = line.split(' ');
                    let mut next = || parts.next().unwrap();
                    (next(), next(), next(), next())
                };
                format!("{post},,{zone},{road},1,,{feeder},C1,113.2,35.2,1,100,false,,")
            })
            .collect();
        let header = "post_id,device_id,zone,road,number,landmark,feeder,cabinet,lon,lat,lamps,lamp_w,low_lying,installed,external_code";
        Register::parse(format!("{header}\n{}\n", rows.join("\n")).as_bytes()).unwrap()
    }

    #[test]
    fn what_the_rules_are_handed_at_a_start_and_by_sighup_is_what_this_node_judges() {
        let city = |name: &str| Config { nodes: Some(nodes::city(name)), ..with_a_crew() };
        let register = Arc::new(register(&["P1 z1 F1 r", "P3 z3 F3 r"]));
        let lighting =
            lampguard_alerting::lighting::Lighting::build(None, jiff::tz::TimeZone::UTC, &register);
        let lighting = Arc::new(lighting.unwrap());
        let handed = |config: &Config| for_the_rules(config, &register, lighting.clone(), Vec::new());
        let seen = |config: &Config| -> Vec<bool> {
            handed(config).register.posts().iter().map(|post| post.monitored).collect()
        };
        assert_eq!((seen(&city("a")), seen(&city("b"))), (vec![true, false], vec![false, true]));
        assert_eq!(seen(&with_a_crew()), [true, true], "without [nodes]");
        assert_eq!(seen(&city("in")), [false; 0], "a node that owns nothing");
        assert_eq!(handed(&city("in")).rota, lampguard_alerting::rota::Rota::default());
        assert_ne!(handed(&city("a")).rota, lampguard_alerting::rota::Rota::default());
    }

    fn with_a_crew() -> Config {
        let zone = config::people::Zone { id: "z1".to_owned(), crew: "c1".to_owned(), ..Default::default() };
        Config { zones: vec![zone], ..Config::default() }
    }

    #[tokio::test]
    async fn what_broke_off_does_not_say_that_nothing_was_changed_but_asks_for_a_restart() {
        let done = tokio::task::spawn_blocking(|| -> Result<()> { panic!("on the way") }).await;
        let told = fault(done).unwrap();
        assert!(told.contains("restart") && !told.contains("nothing was changed"), "{told}");
        let told = fault(Ok(Err(anyhow::anyhow!("line 7")))).unwrap();
        assert!(told.contains("nothing was changed") && told.contains("line 7"), "{told}");
        assert_eq!(fault(Ok(Ok(()))), None);
    }

    #[test]
    fn a_register_that_lost_many_of_its_posts_is_refused_with_their_names_and_the_way_out() {
        let city = |posts: std::ops::Range<usize>| {
            let lines: Vec<String> = posts.map(|n| format!("P{n:03} z1 F1 r")).collect();
            register(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let check = |old: &Register, new: &Register| {
            let difference = Difference::between(old, new);
            check(&difference, old, Path::new("posts.csv")).map_err(|e| e.to_string())
        };
        // Small: half. Up to 400 posts: 20. Above: one in twenty.
        for (all, may_go) in [(3, 1), (40, 20), (400, 20), (800, 40)] {
            assert_eq!(check(&city(0..all), &city(may_go..all)), Ok(()), "{may_go} of {all}");
            let refused = check(&city(0..all), &city(may_go + 1..all)).unwrap_err();
            let told = format!("{} of {all} posts would go (P000", may_go + 1);
            assert!(refused.contains(&told) && refused.contains("restart"), "{refused}");
            assert!(refused.contains(&format!("at most {may_go} may go")), "{refused}");
        }
        assert!(check(&city(0..3), &register(&[])).is_err(), "a file with its header alone");
    }
}
