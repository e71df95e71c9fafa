//! What follows from an attempt: sent, tried again, failed, asked after.
//!
//! Limits: [`QUESTIONS_MAX`] questions wait, further messages stay "sent".

use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use lampguard_model::{Millis, Timestamp};
use tracing::{error, info, warn};

use super::{RECENT_MAX, Work};
use crate::notify::Job;
use crate::notify::errand::{Errand, Question};
use crate::notify::fault::{Fault, SendError};
use crate::notify::letter::Sent;
use crate::notify::template::Fate;
use crate::store::{Delivery, Outcome, Write};
use crate::writer::Ticket;

/// First pause between attempts; each is twice the one before.
const RETRY_FIRST: Millis = Millis::seconds(1);
/// Longest pause between attempts.
pub(super) const RETRY_MAX: Millis = Millis::seconds(60);
/// Given up after this long.
const GIVE_UP_AFTER: Millis = Millis::hours(24);
/// Digits of a telephone that are its own; what stands before them is its country.
const PHONE_OWN: usize = 11;
/// Fewer digits are no telephone: hidden where they stand as they are written.
const PHONE_MIN: usize = 7;
/// Messages whose fate is asked for.
const QUESTIONS_MAX: usize = 1024;
/// Asked this often: after 5, 10, 20, 40 s and then each minute, about 10 minutes.
const ASKED_MAX: u32 = 13;

impl Work {
    /// Step 5, good: those that the message names, and those that count without a name.
    pub(super) fn accepted(&mut self, jobs: &[Job], sent: &Sent) {
        self.line.back(jobs);
        self.look(None);
        self.around.metrics.messages.with_label_values(&[&self.channel.id]).inc();
        let at = (self.around.clock)();
        let mut told = Vec::new();
        for (place, job) in jobs.iter().enumerate() {
            if place >= sent.named && job.notice.is_told_by_name() {
                self.line.again(job.clone());
                continue;
            }
            if place < sent.named {
                self.line.told(job);
            }
            told.push((job.notice.clone(), job.attempt));
            self.settle(job, at, Outcome::Sent);
        }
        if let Some(message) = &sent.message {
            self.ask_later(Question { notices: told, message: message.clone(), asked: 0 });
        }
    }

    /// Step 5, bad.
    pub(super) fn failed(&mut self, jobs: &[Job], error: &SendError) {
        // What they answer goes into timelines that everybody may read; numbers are not for everybody.
        let phones = jobs.iter().filter_map(|job| job.notice.phone.as_deref());
        let text = phones.chain(self.channel.phone.as_deref()).fold(error.text.clone(), hidden);
        let error = &SendError { text, ..error.clone() };
        self.line.back(jobs);
        self.look(Some(error));
        let (at, now) = ((self.around.clock)(), Instant::now());
        if let Some(wait) = error.wait {
            self.line.bucket.hold(now + Duration::from_millis(wait.0.unsigned_abs()));
        }
        for job in jobs {
            let old = at.since(job.notice.created_at) > GIVE_UP_AFTER;
            let outcome = if error.permanent || old {
                Outcome::Failed(error.text.clone())
            } else {
                let pause = error.wait.unwrap_or_else(|| pause(&job.notice.id, job.attempt));
                Outcome::Retry(at + pause, error.text.clone())
            };
            let first = self.is_first(job, error.fault);
            if let Outcome::Retry(..) = &outcome {
                self.retry(job, at, &outcome);
                self.note(job, at, outcome, first);
            } else {
                self.settle(job, at, outcome);
            }
        }
        if error.wait.is_some() {
            let waiting: Vec<Job> = self.line.jobs().cloned().collect();
            let held = self.line.held_for(now);
            for job in waiting {
                self.hear_busy(&job, held, &error.text);
            }
        }
    }

    pub(super) fn retry(&mut self, job: &Job, at: Timestamp, outcome: &Outcome) {
        let Outcome::Retry(next_at, _) = outcome else { return };
        let pause = Duration::from_millis(next_at.since(at).0.unsigned_abs());
        let next = Job { attempt: job.attempt + 1, ..job.clone() };
        if self.stopping || !self.line.push_retry(Instant::now() + pause, next) {
            self.left_behind.add(&job.ticket);
        }
    }

    /// An end: accepted, or given up.
    pub(super) fn settle(&mut self, job: &Job, at: Timestamp, outcome: Outcome) {
        if self.recent.known.contains(&job.notice.id) && outcome != Outcome::Sent {
            return;
        }
        self.recent.put(&job.notice.id);
        self.faults.remove(&job.notice.id);
        if let Outcome::Failed(error) = &outcome {
            error!(channel = %self.channel.id, notice = %job.notice.id, error, "notice given up");
        }
        self.note(job, at, outcome, true);
    }

    /// Into metrics and store, and to who hears.
    pub(super) fn note(&mut self, job: &Job, at: Timestamp, outcome: Outcome, heard: bool) {
        let word = outcome.word();
        self.around.metrics.notices.with_label_values(&[&*self.channel.id, word]).inc();
        let delivery = Delivery { notice: job.notice.clone(), attempt: job.attempt, at, outcome };
        if heard {
            (self.around.hears)(delivery.clone());
        }
        self.around.writes.push(Write::Delivery(delivery), Ticket::default());
    }

    /// True for the first failure of this kind of this notice. What is remembered of notices that went back to the outbox
    /// goes when there is too much of it: they are told again.
    pub(super) fn is_first(&mut self, job: &Job, fault: Fault) -> bool {
        if self.faults.len() > 2 * RECENT_MAX {
            self.faults.clear();
        }
        let seen = self.faults.entry(job.notice.id.clone()).or_insert(0);
        let first = *seen & fault.bit() == 0;
        *seen |= fault.bit();
        first
    }

    /// The channel takes nothing for a while: who hears can tell it otherwise. No attempt was made, so the store is not told.
    pub(super) fn hear_busy(&mut self, job: &Job, wait: Duration, text: &str) {
        if !self.is_first(job, Fault::Busy) {
            return;
        }
        let at = (self.around.clock)();
        let next = at + Millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        let outcome = Outcome::Retry(next, text.to_owned());
        let attempt = job.attempt.saturating_sub(1);
        (self.around.hears)(Delivery { notice: job.notice.clone(), attempt, at, outcome });
    }

    /// Whether the channel works, as the last exchange shows it.
    pub(super) fn look(&mut self, error: Option<&SendError>) {
        let id = &self.channel.id;
        match error {
            None if self.failing => info!(channel = %id, "channel takes notices again"),
            Some(error) if !self.failing && error.permanent => {
                error!(channel = %id, fault = error.fault.name(), error = %error.text, "channel refuses: mend it");
            }
            Some(error) if !self.failing => {
                warn!(channel = %id, fault = error.fault.name(), error = %error.text, "channel fails, trying again");
            }
            _ => {}
        }
        if let Some(error) = error {
            self.around.metrics.channel_faults.with_label_values(&[id, error.fault.name()]).inc();
        }
        self.failing = error.is_some();
        self.around.metrics.channel_up.with_label_values(&[id]).set(i64::from(!self.failing));
    }

    /// Step 6.
    pub(super) fn ask_later(&mut self, question: Question) {
        if question.asked >= ASKED_MAX || self.later.len() >= QUESTIONS_MAX {
            return;
        }
        let pause = Duration::from_secs((5 << question.asked.min(4)).min(60));
        self.later.push((Instant::now() + pause, Errand::Ask(question)));
    }

    pub(super) fn asked(&mut self, question: &Question, fate: &Result<Fate, SendError>) {
        let again = Question { asked: question.asked + 1, ..question.clone() };
        let outcome = match fate {
            Ok(Fate::Delivered) => Outcome::Delivered,
            Ok(Fate::Undelivered) => {
                Outcome::Undelivered("the provider says that it did not arrive".to_owned())
            }
            // A question is not a telling: the next one may be answered.
            Ok(Fate::Unknown) | Err(_) => return self.ask_later(again),
        };
        let at = (self.around.clock)();
        for (notice, attempt) in &question.notices {
            let job = Job {
                notice: notice.clone(),
                attempt: *attempt,
                ticket: Ticket::done(),
                watch: None,
                handed_at: Instant::now(),
            };
            self.note(&job, at, outcome.clone(), true);
        }
    }
}

/// `text` without that telephone, in whatever form somebody writes it: with or without its country, with blanks and hyphens.
fn hidden(text: String, phone: &str) -> String {
    let digits: Vec<u8> = phone.bytes().filter(u8::is_ascii_digit).collect();
    if digits.len() < PHONE_MIN {
        return if phone.is_empty() { text } else { text.replace(phone, "***") };
    }
    let own = &digits[digits.len().saturating_sub(PHONE_OWN)..];
    let (mut out, mut rest) = (String::with_capacity(text.len()), text.as_str());
    while let Some((from, to)) = found(rest, own) {
        out.push_str(&rest[..from]);
        out.push_str("***");
        rest = &rest[to..];
    }
    out + rest
}

/// Where these digits stand first, whatever separates them: from where to where.
fn found(text: &str, digits: &[u8]) -> Option<(usize, usize)> {
    let is_gap = |c: char| matches!(c, ' ' | '-' | '(' | ')' | '.' | '\u{a0}');
    let reaches = |from: usize| {
        let mut wanted = digits.iter();
        let mut next = wanted.next();
        for (place, c) in text[from..].char_indices() {
            match next {
                Some(digit) if c == char::from(*digit) => next = wanted.next(),
                Some(_) if is_gap(c) && place > 0 => {}
                _ => return None,
            }
            if next.is_none() {
                return Some(from + place + c.len_utf8());
            }
        }
        None
    };
    let starts = text.char_indices().map(|(from, _)| from);
    starts.into_iter().find_map(|from| reaches(from).map(|to| (from, to)))
}

/// Pause before the attempt after `attempt`: 1, 2, 4 … 60 s, a fifth more or less. The fraction comes from
/// the notice, so that notices of one storm do not all come back at once.
pub(in crate::notify) fn pause(notice: &str, attempt: u32) -> Millis {
    let doubled = RETRY_FIRST.0 << attempt.saturating_sub(1).min(16);
    let base = doubled.min(RETRY_MAX.0);
    let hash = FixedState::default().hash_one((notice, attempt));
    let fifth = base / 5;
    Millis(base - fifth + (hash % (2 * fifth.unsigned_abs() + 1)) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telephone_is_hidden_in_whatever_form_the_other_side_writes_it() {
        let hide = |text: &str, phone: &str| hidden(text.to_owned(), phone);
        for (text, phone) in [
            ("to 13800001111: busy", "+86 138-0000-1111"),
            ("to +8613800001111: busy", "138 0000 1111"),
            ("to 0086-138 0000-1111: busy", "+8613800001111"),
            ("to (138) 0000.1111, 13800001111: busy", "13800001111"),
            ("短信 13800001111 失败: busy", "+8613800001111"),
            ("to 0373-5551234: busy", "03735551234"),
            ("to 555 1234: busy", "5551234"),
        ] {
            let told = hide(text, phone);
            assert!(told.contains("***") && told.contains("busy"), "{told}");
            assert!(!told.contains("1111") && !told.contains("1234"), "{told}");
        }
        assert_eq!(hide("code 138, line 13800002222", "13800001111"), "code 138, line 13800002222");
        assert_eq!(hide("ext. 110 is busy", "110"), "ext. *** is busy");
        assert_eq!(hide("busy", ""), "busy");
    }
}
