//! What one message carries: one notice, or several that waited for it.

use std::sync::Arc;

use lampguard_model::Timestamp;

use super::Job;
use crate::notice::{DIGEST, Notice};
use crate::notice_words::{Words, clean, cut_bytes, many, many_sms, many_spoken};

/// Numbers called in one message.
const PHONES_MAX: usize = 20;

/// Notices of one message, the most dangerous first; never empty.
pub(super) struct Letter<'a> {
    pub(super) jobs: &'a [Job],
    /// Number for notices without one.
    pub(super) phone: Option<&'a str>,
}

/// It was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// How many of its notices it names.
    pub(super) named: usize,
    /// The provider's id of the message, by which it can be asked what became of it.
    pub(super) message: Option<String>,
}

impl Sent {
    pub(super) fn named(named: usize) -> Self {
        Self { named, message: None }
    }
}

impl<'a> Letter<'a> {
    /// The first notice, and the number of its attempt.
    pub(super) fn first(&self) -> (&'a Notice, u32) {
        let job = &self.jobs[0];
        (&job.notice, job.attempt)
    }

    /// A few words for a list of messages.
    pub(super) fn title(&self) -> String {
        let (first, attempt) = self.first();
        clean(first.words.head(attempt).trim())
    }

    /// Numbers of the people who are told, each once.
    pub(super) fn phones(&self) -> Vec<String> {
        let mut phones: Vec<String> = Vec::new();
        for job in self.jobs {
            let phone = job.notice.phone.as_deref().or(self.phone).map(dialled);
            if let Some(phone) = phone
                && phones.len() < PHONES_MAX
                && !phones.contains(&phone)
            {
                phones.push(phone);
            }
        }
        phones
    }

    /// For a chat or a mail: at most `max` bytes.
    pub(super) fn chat(&self, max: usize, now: Timestamp) -> (String, usize) {
        if self.jobs.len() > 1 {
            let lines: Vec<Words> = self.jobs.iter().map(line).collect();
            let many = many(&lines.iter().collect::<Vec<_>>(), now, |text| text.len() <= max);
            return (cut_bytes(&many.text, max), many.named);
        }
        let (notice, attempt) = self.first();
        // Of a test the text itself has it.
        let link = notice.words.link.as_ref().filter(|_| !notice.words.confirms);
        let link = link.map_or_else(String::new, |link| format!("\n{link}"));
        let left = notice.words.left(now).map_or_else(String::new, |left| format!(" · {left}"));
        let tail = format!("{left}{link}");
        let text = cut_bytes(&clean(&notice.text(attempt)), max.saturating_sub(tail.len()));
        (format!("{text}{tail}"), 1)
    }

    /// For SMS.
    pub(super) fn sms(&self, now: Timestamp) -> (String, usize) {
        if self.jobs.len() > 1 {
            let brief: Vec<Words> = self.jobs.iter().map(|job| job.notice.words.brief(job.attempt)).collect();
            let many = many_sms(&brief.iter().collect::<Vec<_>>());
            return (many.text, many.named);
        }
        let (notice, attempt) = self.first();
        (clean(&notice.words.sms(attempt, now)), 1)
    }

    /// For a voice.
    pub(super) fn spoken(&self, now: Timestamp) -> (String, usize) {
        if self.jobs.len() > 1 {
            let each: Vec<_> = self.jobs.iter().map(|job| (&job.notice.words, job.attempt)).collect();
            let many = many_spoken(&each, now);
            return (many.text, many.named);
        }
        let (notice, attempt) = self.first();
        (notice.words.spoken(attempt, now), 1)
    }
}

/// One notice among many: a repeat is marked, and a list stays a list.
fn line(job: &Job) -> Words {
    let mut words = job.notice.words.marked(job.attempt);
    if job.notice.event == DIGEST {
        words.place = Words::plain(&job.notice.text(1), words.zh, None, None).place;
        words.danger.clear();
    }
    words
}

/// A number without blanks and hyphens.
fn dialled(phone: &str) -> String {
    phone.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

/// Recipients that can share a message, and the incident that keeps its order.
pub(super) fn person(notice: &Notice) -> Arc<str> {
    notice.phone.clone().unwrap_or_else(|| Arc::from(notice.to.as_str()))
}
