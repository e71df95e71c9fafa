//! The process that is killed: the real journal, incident store, rules and channel threads, on a clock that goes from one
//! phase of an incident to the next. Started by `bench tellings`.
//!
//! ```text
//! phase 0  a danger: the sensor sends until its reading is in the journal       incident.opened
//! phase 1  three minutes: nobody has answered                                   rung 1
//! phase 2  six minutes                                                          rung 2
//! phase 3  a crew acknowledges: its telephone sends until it has an answer      incident.acknowledged
//! phase 4  five minutes later nobody has left                                   rung 4
//! ```
//! In every fourth round the story is another one: `flood.rs`.
//!
//! A phase is over when its messages are in the outbox as sent. The phase stands in a file, so that a process after a kill
//! goes on with it, two seconds later.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use lampguard_alerting::life::{Actor, Move, MoveBody, Verb};
use lampguard_alerting::links::Links;
use lampguard_alerting::notify::{Clock, HiddenUrl, Web};
use lampguard_alerting::{Alerting, Channel, ChannelKind, Ladders, Policies, Rota, Setup, SiteText};
use lampguard_journal::{FrameBuf, Options as JournalOptions, RealDisk, Tail, Writer as Journal};
use lampguard_model::record::{self, StoredReading, encode_reading, encode_weather};
use lampguard_model::{Field, Fields, Millis, Register, Timestamp};
use prometheus::Registry;

use super::flood;

/// 2026-11-23 12:00 UTC.
pub(super) const T: Timestamp = Timestamp(1_795_435_200_000);
/// Moments of the phases, minutes.
const PHASES_MIN: [i64; 5] = [0, 3, 6, 7, 12];
/// Channels that tell.
pub(super) const CHANNELS: [&str; 2] = ["a", "b"];
/// Messages when all is told.
pub(super) const MESSAGES: usize = PHASES_MIN.len() * CHANNELS.len();
/// The desk is seen so often: nobody at the board for a minute would ring it.
const SEEN_EVERY: Millis = Millis::seconds(40);
/// A phase that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// A process after a kill begins so much later.
const LATER: Millis = Millis::seconds(2);
/// What stands in the folder.
pub(super) const PHASE_FILE: &str = "phase";

/// What a process goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(in crate::bench) enum Story {
    /// One danger and its ladder.
    Ladder,
    /// Many dangers, and words that wait for lists.
    Flood,
}

impl Story {
    /// The word on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ladder => "ladder",
            Self::Flood => "flood",
        }
    }
}

/// Options of the hidden command.
#[derive(Debug, Args)]
pub(in crate::bench) struct TellingsChild {
    /// Folder of journal and store.
    #[arg(long)]
    dir: PathBuf,
    /// Where messages go.
    #[arg(long)]
    url: String,
    /// What it goes through.
    #[arg(long)]
    story: Story,
    /// How often a process began in this folder before.
    #[arg(long)]
    starts: i64,
    /// Ends without a word at this call of the clock; 0: never.
    #[arg(long)]
    at_call: u64,
    /// And so many microseconds later.
    #[arg(long)]
    after_us: u64,
}

/// Time as the phases have it; every call of it is a place to die at.
#[derive(Clone)]
struct Hand {
    now: Arc<AtomicI64>,
    calls: Arc<AtomicU64>,
}

impl Hand {
    fn clock(&self, at_call: u64, after_us: u64) -> Clock {
        let hand = self.clone();
        Arc::new(move || {
            if hand.calls.fetch_add(1, Ordering::SeqCst) + 1 == at_call {
                die(after_us);
            }
            Timestamp(hand.now.load(Ordering::SeqCst))
        })
    }
}

/// No flush, no unwinding, nothing closed: what kill -9 leaves. Later by a thread, so that the others go on until then.
fn die(after_us: u64) {
    if after_us == 0 {
        std::process::abort();
    }
    std::thread::spawn(move || {
        let until = Instant::now() + Duration::from_micros(after_us);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        std::process::abort();
    });
}

/// Goes through the phases, or dies on the way. Prints how often the clock was asked.
pub(in crate::bench) fn run(options: &TellingsChild) -> Result<()> {
    let phase_file = options.dir.join(PHASE_FILE);
    let first = match std::fs::read_to_string(&phase_file) {
        Ok(text) => text.trim().parse().with_context(|| format!("reading {}", phase_file.display()))?,
        Err(_) => 0,
    };
    let late = Millis(LATER.0 * options.starts);
    let begins = if options.story == Story::Flood { flood::moment(first) } else { moment(first) };
    let hand = Hand { now: Arc::new(AtomicI64::new((begins + late).0)), calls: Arc::default() };
    let clock = hand.clock(options.at_call, options.after_us);
    let journal_dir = options.dir.join("journal");
    let (mut journal, _) = Journal::open(Arc::new(RealDisk), &journal_dir, JournalOptions::default(), 0)
        .context("opening the journal")?;
    let registry = Registry::new();
    let alerting = start(options, journal.tail().clone(), clock, &registry)?;
    if journal.tail().end() == 0 {
        let batch = if options.story == Story::Flood { flood::dangers() } else { danger() };
        hear(&alerting, &mut journal, batch).context("the journal takes the danger")?;
    }
    let child = Child { alerting, hand, phase_file, late };
    match options.story {
        Story::Ladder => child.ladder(first)?,
        Story::Flood => child.flood(first, &mut journal, &registry)?,
    }
    println!("{}", child.hand.calls.load(Ordering::SeqCst));
    Ok(())
}

/// As live: judged as soon as it is admitted, and on its way to the disk.
fn hear(alerting: &Alerting, journal: &mut Journal, mut batch: FrameBuf) -> Result<()> {
    batch.first_seq = journal.tail().end();
    let (at, batch) = (batch.closed_at, Arc::new(batch));
    alerting.judge(batch.clone());
    journal.commit(&[batch], at)?;
    Ok(())
}

struct Child {
    alerting: Alerting,
    hand: Hand,
    phase_file: PathBuf,
    late: Millis,
}

impl Child {
    fn ladder(&self, first: usize) -> Result<()> {
        for phase in first..PHASES_MIN.len() {
            self.begin(phase, first, moment(phase))?;
            if phase == 3 {
                acknowledge(&self.alerting, moment(phase) + self.late)?;
            }
            wait_until_told(&self.alerting, (phase + 1) * CHANNELS.len())?;
        }
        Ok(())
    }

    fn flood(&self, first: usize, journal: &mut Journal, registry: &Registry) -> Result<()> {
        let dangers = flood::dangers().records().count() as u64;
        for phase in first..flood::PHASES_S.len() {
            self.begin(phase, first, flood::moment(phase))?;
            flood::people(&self.alerting, phase)?;
            if phase == 2 && journal.tail().end() <= dangers {
                hear(&self.alerting, journal, flood::voltage()).context("the journal takes the voltage")?;
            }
            flood::tick(|| ticks(registry))?;
        }
        flood::all_sent(&self.alerting)
    }

    /// Before time passes the phase is kept: a process after a kill must not go back in time.
    fn begin(&self, phase: usize, first: usize, at: Timestamp) -> Result<()> {
        if phase > first {
            keep(&self.phase_file, phase)?;
            go_to(&self.alerting, &self.hand, at + self.late)?;
        }
        Ok(())
    }
}

/// Ticks of the rules so far.
fn ticks(registry: &Registry) -> Result<u64> {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == "lampguard_alerting_ticks_total");
    let counter = family.and_then(|family| family.get_metric().first()).context("nobody counts ticks")?;
    Ok(counter.get_counter().get_value() as u64)
}

fn moment(phase: usize) -> Timestamp {
    // A tick comes up to a second behind the moment of a rung.
    T + Millis::minutes(PHASES_MIN.get(phase).copied().unwrap_or(0)) + Millis(500)
}

/// In one step: a file that is half written names no phase.
fn keep(file: &Path, phase: usize) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, phase.to_string()).with_context(|| format!("writing {}", new.display()))?;
    std::fs::rename(&new, file).with_context(|| format!("renaming {}", new.display()))
}

fn start(options: &TellingsChild, tail: Tail, clock: Clock, registry: &Registry) -> Result<Alerting> {
    let one = || {
        let header = lampguard_model::register::header();
        format!("{header}\nP1,,z1,road,1,,F1,C,113.2,35.2,1,100,false,,,post,all,true,M,60")
    };
    let (csv, rota) = match options.story {
        Story::Ladder => (one(), Rota::default()),
        Story::Flood => (flood::register(), flood::rota()?),
    };
    let register =
        Register::parse(csv.as_bytes()).map_err(|faults| anyhow::anyhow!("{} fault(s)", faults.len()))?;
    let channel = |id: &str| {
        let web = Web { url: HiddenUrl::new(format!("{}/{id}", options.url)), ..Web::default() };
        Channel::new(id, ChannelKind::Webhook(web))
    };
    let setup = Setup {
        dir: options.dir.join("alerting"),
        journal_dir: options.dir.join("journal"),
        tail,
        register: Arc::new(register),
        policy: Policies::default(),
        lighting: None,
        rota,
        channels: CHANNELS.map(channel).to_vec(),
        ladders: Ladders::default(),
        restored: None,
        proof: None,
        tests: None,
        site: SiteText {
            name: "SIM".to_owned(),
            language: "en".to_owned(),
            public_url: None,
            time_zone: "Asia/Shanghai".to_owned(),
            links: Links::default(),
            safety: Arc::default(),
        },
        clock,
        registry: registry.clone(),
    };
    Alerting::start(setup).context("starting alerting")
}

/// Dry weather, and two critical samples of one post.
fn danger() -> FrameBuf {
    let mut batch = FrameBuf::default();
    batch.closed_at = T.0;
    let dry = br#"{"rain_mm_h":0}"#;
    batch.push(record::WEATHER, |out| encode_weather(T - Millis::minutes(6), "all", dry, out));
    for (n, at) in [T - Millis::minutes(5), T].into_iter().enumerate() {
        let mut fields = Fields::default();
        fields.set(Field::LeakageMa, 40_000 + n as i64);
        let reading = StoredReading {
            identity: 7 + n as u64,
            zone: "z1",
            feeder: "F1",
            fields,
            ..StoredReading::at("P1", at)
        };
        batch.push(record::READING, |out| encode_reading(&reading, out));
    }
    batch
}

/// Time passes; somebody at the board is seen on the way.
fn go_to(alerting: &Alerting, hand: &Hand, to: Timestamp) -> Result<()> {
    loop {
        let now = Timestamp(hand.now.load(Ordering::SeqCst));
        if now >= to {
            return Ok(());
        }
        hand.now.store((now + SEEN_EVERY).min(to).0, Ordering::SeqCst);
        alerting.presence();
        // Behind it in the queue, and answered: no such incident.
        let nobody = alerting.act("none", crew_move(Verb::Note, "seen"));
        if nobody.is_ok() {
            bail!("an incident that does not exist took a move");
        }
    }
}

fn crew_move(verb: Verb, key: &str) -> Move {
    let body = MoveBody { key: key.to_owned(), note: Some("seen".to_owned()), ..MoveBody::default() };
    Move { verb, actor: Actor { name: "Ann".to_owned(), desk: false }, body }
}

/// The telephone sends the same again until it has an answer.
fn acknowledge(alerting: &Alerting, now: Timestamp) -> Result<()> {
    let page = alerting.incidents(&lampguard_alerting::Filter::default())?;
    let id = page.items.first().map(|incident| incident.id.clone()).context("the incident is gone")?;
    let mut m = crew_move(Verb::Acknowledge, "1");
    // When it was tapped, however late it comes through: the next rung counts from then.
    (m.body.at, m.body.sent_at) = (Some(moment(3)), Some(now));
    alerting.act(&id, m).context("acknowledging")?;
    Ok(())
}

fn wait_until_told(alerting: &Alerting, wanted: usize) -> Result<()> {
    let began = Instant::now();
    loop {
        let page = alerting.notices(None, None, 1000)?;
        let sent = page.items.iter().filter(|notice| notice.outcome == "sent").count();
        if sent >= wanted {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!("{sent} of {wanted} messages are told after {} s: {:?}", PATIENCE.as_secs(), page.items);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}
