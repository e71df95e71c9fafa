//! Who goes next, in simulated time.
#![expect(clippy::disallowed_methods, reason = "an Instant has no other beginning")]

use std::collections::{HashMap, HashSet};

use super::*;
use crate::notify::QUEUE_MAX;
use crate::testkit::{incident, notice_to};
use crate::writer::Ticket;

fn job(n: usize, to: &str, urgent: bool, now: Instant) -> Job {
    let mut notice = (*notice_to(&incident(n), "c", to, None)).clone();
    notice.id = Arc::from(format!("N-{n}-{to}-{urgent}"));
    notice.words.urgent = urgent;
    if !urgent {
        notice.words.severity = "P2".to_owned();
        notice.words.rank = 2;
    }
    Job { notice: Arc::new(notice), attempt: 1, ticket: Ticket::done(), watch: None, handed_at: now }
}

fn line(sharing: Sharing, rate: Option<u32>, now: Instant) -> Line {
    Line::new(sharing, Bucket::new(rate, 0, now))
}

fn ids(jobs: &[Job]) -> Vec<String> {
    jobs.iter().map(|job| job.notice.id.to_string()).collect()
}

#[test]
fn what_is_urgent_goes_first_and_equals_in_their_order() {
    let now = Instant::now();
    let mut line = line(Sharing::Nobody, None, now);
    for (n, urgent) in [(1, false), (2, true), (3, false), (4, true)] {
        assert!(line.push(job(n, "a", urgent, now)));
    }
    let order: Vec<String> = std::iter::from_fn(|| line.take(now)).flat_map(|jobs| ids(&jobs)).collect();
    assert_eq!(order, ["N-2-a-true", "N-4-a-true", "N-1-a-false", "N-3-a-false"]);
}

#[test]
fn of_one_incident_and_person_one_is_on_the_way_and_help_waits_for_no_progress() {
    let now = Instant::now();
    let mut line = line(Sharing::Nobody, None, now);
    let of = |to: &str, urgent: bool, id: &str| {
        let mut notice = (*job(1, to, urgent, now).notice).clone();
        notice.id = Arc::from(id);
        Job { notice: Arc::new(notice), ..job(1, to, urgent, now) }
    };
    for (to, urgent, id) in
        [("a", true, "opened"), ("a", false, "departed"), ("a", true, "help"), ("b", true, "other")]
    {
        line.push(of(to, urgent, id));
    }
    let first = line.take(now).unwrap();
    assert_eq!(ids(&first), ["opened"]);
    assert_eq!(ids(&line.take(now).unwrap()), ["other"], "another person");
    assert!(line.take(now).is_none(), "the rest waits for the first");
    line.back(&first);
    let help = line.take(now).unwrap();
    assert_eq!(ids(&help), ["help"]);
    line.back(&help);
    assert_eq!(ids(&line.take(now).unwrap()), ["departed"]);
}

#[test]
fn a_newer_notice_brings_the_retry_of_the_older_forward() {
    let now = Instant::now();
    let mut line = line(Sharing::Nobody, None, now);
    assert!(line.push_retry(now + Duration::from_secs(60), job(1, "a", true, now)));
    assert!(line.take(now).is_none());
    let mut newer = (*job(1, "a", true, now).notice).clone();
    newer.id = Arc::from("newer");
    line.push(Job { notice: Arc::new(newer), ..job(1, "a", true, now) });
    let first = line.take(now).unwrap();
    assert_eq!(ids(&first), ["N-1-a-true"]);
    line.back(&first);
    assert_eq!(ids(&line.take(now).unwrap()), ["newer"]);
}

#[test]
fn when_there_is_no_room_the_ordinary_goes_back_to_the_outbox_before_the_urgent() {
    let now = Instant::now();
    let mut line = line(Sharing::Nobody, Some(1), now);
    for n in 0..QUEUE_MAX {
        assert!(line.push(job(n, "a", n % 2 == 0, now)));
    }
    assert!(!line.push(job(5000, "a", false, now)), "said, and left behind");
    assert!(!line.push(job(5001, "a", true, now)), "said: an ordinary one was left behind for it");
    let held: HashSet<String> = line.jobs().map(|job| job.notice.id.to_string()).collect();
    assert_eq!(held.len(), QUEUE_MAX);
    assert!(held.contains("N-5001-a-true") && !held.contains("N-5000-a-false"));
    assert!((0..QUEUE_MAX).step_by(2).all(|n| held.contains(&format!("N-{n}-a-true"))));
}

/// A night in simulated time: bursts and quiet, urgent and not, people, failures; at most the rate in any minute, each notice in
/// exactly one accepted message, P1 soon.
fn night(seed: u64, sharing: Sharing) {
    let start = Instant::now();
    let mut line = line(sharing, Some(18), start);
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut roll = move |sides: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % sides
    };
    let (mut sent, mut told) = (Vec::new(), HashMap::<String, u32>::new());
    let mut pushed = 0;
    let mut longest = Duration::ZERO;
    for second in 0..3600_u64 {
        let now = start + Duration::from_secs(second);
        let burst = match roll(200) {
            0 => 60,
            1..20 => 2,
            _ => 0,
        };
        for _ in 0..if second < 3000 { burst } else { 0 } {
            let to = ["a", "b", "c"][roll(3) as usize];
            assert!(line.push(job(pushed, to, roll(2) == 0, now)), "seed {seed}");
            pushed += 1;
        }
        while let Some(jobs) = line.take(now) {
            sent.push(now);
            line.back(&jobs);
            if roll(10) == 0 {
                for job in jobs {
                    let again = Job { attempt: job.attempt + 1, ..job };
                    assert!(line.push_retry(now + Duration::from_secs(2), again));
                }
                continue;
            }
            if sharing != Sharing::Channel {
                let people: HashSet<&str> = jobs.iter().map(|job| &*job.notice.to).collect();
                assert_eq!(people.len(), 1, "seed {seed}");
            }
            for (place, job) in jobs.into_iter().enumerate() {
                if place >= 20 && job.notice.words.is_p1() {
                    line.again(job);
                    continue;
                }
                if job.notice.words.urgent && job.attempt == 1 {
                    longest = longest.max(now - job.handed_at);
                }
                *told.entry(job.notice.id.to_string()).or_default() += 1;
            }
        }
    }
    assert!(
        told.len() == pushed && told.values().all(|times| *times == 1),
        "seed {seed}: {} of {pushed}",
        told.len()
    );
    for (place, first) in sent.iter().enumerate() {
        let minute = sent[place..].iter().take_while(|at| **at - *first < Duration::from_secs(60)).count();
        assert!(minute <= 18, "seed {seed}: {minute} in a minute");
    }
    if sharing == Sharing::Channel {
        assert!(longest <= Duration::from_secs(60), "seed {seed}: a P1 waited {longest:?}");
    }
}

#[test]
fn fault_n1_peer_p13_a_night_of_bursts_stays_within_the_rate_and_tells_everything_once() {
    for seed in 1..=20 {
        night(seed, Sharing::Channel);
        night(seed, Sharing::Person);
    }
}

#[test]
fn mail_is_shared_by_name_for_two_people_may_have_one_telephone() {
    let now = Instant::now();
    for (sharing, messages) in [(Sharing::Name, vec![3, 2]), (Sharing::Person, vec![5])] {
        let mut line = line(sharing, Some(6), now);
        while line.bucket.take(true, now) {}
        for n in 0..5 {
            let to = if n % 2 == 0 { "Ann" } else { "Bo" };
            let mut job = job(n, to, true, now);
            let mut notice = (*job.notice).clone();
            notice.phone = Some(Arc::from("138"));
            job.notice = Arc::new(notice);
            line.push(job);
        }
        let minutes = (0..20).map(|n| now + Duration::from_secs(60 * n));
        let sent: Vec<Vec<Job>> = minutes.filter_map(|at| line.take(at)).collect();
        assert!(sharing == Sharing::Person || sent.iter().flatten().count() == 5);
        assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), messages);
        let name = |jobs: &Vec<Job>| jobs.iter().all(|job| job.notice.to == jobs[0].notice.to);
        assert!(sharing == Sharing::Person || sent.iter().all(name));
    }
}

/// Of incident 1, made `at` seconds after the first.
fn word(id: &str, to: &str, urgent: bool, at: i64, now: Instant) -> Job {
    let mut job = job(1, to, urgent, now);
    let notice = Arc::make_mut(&mut job.notice);
    notice.id = Arc::from(id);
    notice.created_at = notice.created_at + lampguard_model::Millis::seconds(at);
    job
}

/// The next message, taken and accepted: its ids, those that say that they are old in brackets.
fn sent(line: &mut Line, now: Instant) -> Vec<String> {
    let jobs = line.take(now).unwrap_or_default();
    line.back(&jobs);
    jobs.iter().for_each(|job| line.told(job));
    let name = |job: &Job| match job.notice.words.overtaken {
        true => format!("({})", job.notice.id),
        false => job.notice.id.to_string(),
    };
    jobs.iter().map(name).collect()
}

#[test]
fn old_word_that_failed_while_newer_word_waited_holds_it_up_by_no_pause_and_goes_behind_it_marked() {
    let now = Instant::now();
    let mut line = line(Sharing::Nobody, None, now);
    line.push(word("old", "a", true, 0, now));
    let away = line.take(now).unwrap();
    line.push(word("new", "a", true, 5, now));
    assert!(line.take(now).is_none(), "while the old one is on the way the new one waits");
    line.back(&away);
    let later = now + Duration::from_secs(60);
    line.push_retry(later, Job { attempt: 2, ..away[0].clone() });
    assert_eq!(sent(&mut line, now), ["new"]);
    assert!(line.take(now).is_none());
    line.push(word("other", "b", true, 0, now));
    assert_eq!(sent(&mut line, now), ["other"], "another person has read nothing newer");
    assert_eq!(sent(&mut line, later), ["(old)"], "nothing is left untold");
    line.push(word("newest", "a", true, 9, now));
    assert_eq!(sent(&mut line, later), ["newest"]);
}

#[test]
fn ordinary_word_that_an_urgent_one_went_before_is_marked_and_a_group_chat_is_one_reader() {
    let now = Instant::now();
    for (sharing, of_another) in [(Sharing::Channel, "(safe)"), (Sharing::Person, "safe")] {
        let mut line = line(sharing, None, now);
        line.push(word("safe", "a", false, 0, now));
        line.push(word("live again", "b", true, 5, now));
        assert_eq!(sent(&mut line, now), ["live again"]);
        assert_eq!(sent(&mut line, now), [of_another], "{sharing:?}");
    }
    let mut line = line(Sharing::Nobody, None, now);
    line.push(word("safe", "a", false, 0, now));
    line.push(word("live again", "a", true, 5, now));
    assert_eq!(sent(&mut line, now), ["live again"]);
    assert_eq!(sent(&mut line, now), ["(safe)"]);
}

#[test]
fn in_one_message_the_words_of_one_incident_stand_in_their_order() {
    let now = Instant::now();
    let mut line = line(Sharing::Channel, Some(1), now);
    line.bucket.hold(now + Duration::from_secs(1));
    let mut graver = word("graver", "a", true, 9, now);
    Arc::make_mut(&mut graver.notice).words.rank = 0;
    line.push(word("opened", "a", false, 0, now));
    line.push(graver);
    line.push(word("told b", "b", false, 4, now));
    assert!(line.take(now).is_none(), "all of them wait for a token");
    assert_eq!(sent(&mut line, now + Duration::from_secs(90)), ["opened", "told b", "graver"]);
}

#[test]
fn of_incidents_that_are_told_the_newest_are_remembered() {
    let mut told = Told::default();
    for n in 0..2 * TOLD_MAX {
        told.put((Arc::from(n.to_string()), Arc::from("a")), Timestamp(5));
        told.put((Arc::from(n.to_string()), Arc::from("a")), Timestamp(3));
    }
    assert_eq!((told.newest.len(), told.order.len()), (TOLD_MAX, TOLD_MAX));
    assert!(told.newest.values().all(|at| *at == Timestamp(5)));
}

#[test]
fn a_retry_that_is_due_while_there_is_no_room_and_nothing_may_go_is_no_reason_to_look_again_at_once() {
    let now = Instant::now();
    let mut line = line(Sharing::Nobody, Some(18), now);
    line.bucket.hold(now + Duration::from_secs(600));
    for n in 0..QUEUE_MAX {
        assert!(line.push(job(n, "a", true, now)));
    }
    assert!(line.push_retry(now + Duration::from_secs(1), job(5000, "a", true, now)));
    for second in 0..600 {
        let now = now + Duration::from_secs(second);
        assert!(line.take(now).is_none());
        let next = line.next_at(now).unwrap();
        assert!(next > now, "second {second}: it would look again and again");
    }
    let later = now + Duration::from_secs(600);
    assert_eq!(line.take(later).map(|jobs| jobs.len()), Some(1));
    assert_eq!(line.next_at(later), Some(now + Duration::from_secs(1)), "now there is room for the retry");
}

#[test]
fn help_and_power_that_is_back_share_no_message_and_keep_their_place_before_later_word() {
    let now = Instant::now();
    for event in [crate::notice::HELP, "incident.restored", "incident.switch_on_soon"] {
        let mut line = line(Sharing::Person, Some(1), now);
        // The one token is gone: everybody waits and would share.
        line.push(job(0, "a", true, now));
        let first = line.take(now).unwrap();
        line.back(&first);
        let of = |n: usize, event: &str, minute: i64| {
            let mut notice = (*job(n, "a", true, now).notice).clone();
            (notice.id, notice.event) = (Arc::from(format!("{n}:{minute}")), event.to_owned());
            notice.created_at = crate::testkit::T + lampguard_model::Millis::minutes(minute);
            Job { notice: Arc::new(notice), ..job(n, "a", true, now) }
        };
        for one in [
            of(1, "incident.opened", 1),
            of(2, event, 2),
            of(2, "incident.opened", 3),
            of(3, "incident.opened", 4),
        ] {
            line.push(one);
        }
        assert!(line.take(now).is_none());
        let mut sent = Vec::new();
        for minute in 1..10 {
            if let Some(jobs) = line.take(now + Duration::from_secs(60 * minute)) {
                jobs.iter().for_each(|job| line.told(job));
                line.back(&jobs);
                sent.push(ids(&jobs));
            }
        }
        assert_eq!(sent, [vec!["1:1", "3:4"], vec!["2:2"], vec!["2:3"]], "{event}");
    }
}

/// Word of an event about incident `n`, as people are told it.
fn told_of(n: usize, event: &'static str, now: Instant) -> Job {
    let (incident, site) = (incident(n), crate::testkit::site());
    let moved = crate::testkit::event(&incident, "moved");
    let to = crate::notice::Address { channel: "c", to: "a", phone: None };
    let mut notice = Notice::moved(&incident, &moved, event, None, &site, to);
    notice.id = Arc::from(format!("{event}:{n}"));
    Job { notice: Arc::new(notice), ..job(n, "a", true, now) }
}

/// A line without tokens: everybody waits, and shares.
fn dry(sharing: Sharing, now: Instant) -> Line {
    let mut line = line(sharing, Some(1), now);
    line.push(job(0, "a", true, now));
    let first = line.take(now).unwrap();
    line.back(&first);
    line
}

#[test]
fn on_a_storm_evening_thirty_feeders_that_switch_on_are_one_message_and_a_danger_waits_behind_no_thirty() {
    let now = Instant::now();
    for event in [crate::notice::HELP, "incident.restored", "incident.switch_on_soon"] {
        for sharing in [Sharing::Channel, Sharing::Person, Sharing::Name] {
            let mut line = dry(sharing, now);
            (1..=30).for_each(|n| _ = line.push(told_of(n, event, now)));
            line.push(told_of(31, crate::notice::OPENED, now));
            assert!(line.take(now).is_none());
            let minute = |n: u64| now + Duration::from_secs(60 * n);
            let shared = line.take(minute(1)).unwrap();
            line.back(&shared);
            assert_eq!(shared.len(), 30, "{event} {sharing:?}");
            assert!(shared.iter().all(|job| *job.notice.event == *event));
            assert_eq!(ids(&line.take(minute(2)).unwrap()), ["incident.opened:31"], "{event} {sharing:?}");
            // Each line says what it is, also where it is of no P1, and whom no line names is told by the next message.
            let letter = crate::notify::letter::Letter { jobs: &shared, phone: None };
            let ((chat, named), (sms, _)) =
                (letter.chat(4000, crate::testkit::T), letter.sms(crate::testkit::T));
            let title = &shared[0].notice.words.title;
            assert_eq!(chat.matches(&**title).count(), named, "{chat}");
            assert!(named > 1 && sms.contains(&**title), "{sms}");
            let mut quiet = (*shared[29].notice).clone();
            quiet.words.severity = "P2".to_owned();
            assert!(quiet.is_told_by_name(), "{event}");
        }
    }
}

#[test]
fn of_what_shares_with_its_own_kind_alone_each_stays_behind_earlier_urgent_word_of_its_incident() {
    let now = Instant::now();
    let soon = |n| told_of(n, "incident.switch_on_soon", now);
    let ordinary = |n: usize| {
        let mut job = told_of(n, "incident.departed", now);
        let notice = Arc::make_mut(&mut job.notice);
        notice.words.urgent = false;
        job
    };
    let mut line = dry(Sharing::Person, now);
    for job in [soon(1), told_of(2, crate::notice::OPENED, now), ordinary(3), soon(2), soon(3), soon(4)] {
        line.push(job);
    }
    assert!(line.take(now).is_none());
    let mut sent = Vec::new();
    for minute in 1..6 {
        if let Some(jobs) = line.take(now + Duration::from_secs(60 * minute)) {
            line.back(&jobs);
            sent.push(ids(&jobs));
        }
    }
    let soon = |n: usize| format!("incident.switch_on_soon:{n}");
    let first = vec![soon(1), soon(3), soon(4)];
    let second = vec!["incident.opened:2".to_owned(), "incident.departed:3".to_owned()];
    assert_eq!(sent, [first, second, vec![soon(2)]]);
}
