//! Messages of long ago through the very steps of live ones: decode, place, admit (2 to 5 of `run.rs`).
//!
//! No journal, no thread, no clock: time is what each message says. Frames go to whoever asked for them
//! instead of the committer. Everything is counted as live, in metrics that nobody registers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use lampguard_journal::{FrameBuf, Recovery};
use lampguard_model::record::Source;
use lampguard_model::{Register, Timestamp};
use prometheus::Registry;

use crate::accounts::{Accounts, Totals};
use crate::admit::Admission;
use crate::intake::{Fate, Gate, Mapping, Message, Tally, profile_of};
use crate::loss::LossBook;
use crate::metrics::Metrics;
use crate::profile::Profiles;
use crate::run::{Context, Intake, Setup};

/// Topics of the payload shapes that lampguard knows from the start, and their profiles.
const SHAPES: [(&str, &str); 4] = [
    ("street/+/report", "cn-tenths"),
    ("device_report", "leakage-box"),
    ("tele/+/SENSOR", "tasmota"),
    ("+/events/rpc", "shelly-em1"),
];

/// The intake without anything around it.
pub struct Offline {
    intake: Intake,
    mappings: Vec<Mapping>,
    /// Receipt of the message at hand: the intake's clock.
    now: Arc<AtomicI64>,
    message: Message,
    context: Context,
}

impl Offline {
    /// The canonical topics, then those of the built-in payload shapes.
    pub fn mappings() -> Vec<Mapping> {
        let profiles = Profiles::load(&[]).expect("the built-in profiles are tested");
        let mut mappings = Mapping::canonical();
        mappings.extend(SHAPES.iter().map(|(filter, name)| Mapping {
            filter: (*filter).to_owned(),
            profile: profiles.get(name).cloned().map(Arc::new),
        }));
        mappings
    }

    /// An intake that has seen no message yet.
    pub fn new(register: Arc<Register>, mappings: Vec<Mapping>) -> Self {
        let metrics = Metrics::register(&Registry::new());
        let now = Arc::new(AtomicI64::new(0));
        let clock = now.clone();
        let setup = Setup {
            register: register.into(),
            // Frames are taken out behind each message.
            judge: Box::new(|_| {}),
            clock: Arc::new(move || Timestamp(clock.load(Ordering::Relaxed))),
            gate: Gate::new(metrics.clone()),
            metrics,
            accounts: Arc::new(Accounts::default()),
            losses: Arc::new(LossBook::in_memory()),
            proofs: None,
            foreign: None,
        };
        let (topic, payload) = (String::new(), Bytes::new());
        Self {
            intake: Intake::new(setup, Admission::default(), &Recovery::default()),
            mappings,
            now,
            message: Message { topic, payload, token: None, retain: false, alone: false, fate: Fate::Read },
            context: Context {
                source: Source::Broker,
                received_at: Timestamp(0),
                retain_counts: true,
                judges: true,
                origin: 0,
                readings: 0,
                tally: Tally::default(),
            },
        }
    }

    /// Takes one message as a broker would have handed it over. Every frame that it fills goes to `frame`, with
    /// what came before it.
    pub fn take(
        &mut self,
        received_at: Timestamp,
        topic: &str,
        payload: &[u8],
        retain: bool,
        frame: &mut impl FnMut(&FrameBuf),
    ) {
        self.now.store(received_at.0, Ordering::Relaxed);
        let message = &mut self.message;
        message.topic.clear();
        message.topic.push_str(topic);
        (message.payload, message.retain) = (Bytes::copy_from_slice(payload), retain);
        self.context.received_at = received_at;
        let profile = profile_of(&self.mappings, topic);
        self.intake.take_message(message, profile, &mut self.context);
        self.context.tally.quarantined.clear();
        self.hand_over(frame);
    }

    /// Hands over the frame that is not full yet: at the end, or when what came so far has to be judged.
    pub fn flush(&mut self, frame: &mut impl FnMut(&FrameBuf)) {
        self.intake.close_frame();
        self.hand_over(frame);
    }

    fn hand_over(&mut self, frame: &mut impl FnMut(&FrameBuf)) {
        for filled in self.intake.unit.frames.drain(..) {
            frame(&filled);
        }
    }

    /// Where every reading went so far.
    pub fn totals(&self) -> &Totals {
        &self.intake.totals
    }
}

#[cfg(test)]
#[path = "offline_tests.rs"]
mod tests;
