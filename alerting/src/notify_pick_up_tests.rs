//! What waits in the outbox alone, looked at without the channel's thread.
#![expect(clippy::disallowed_methods, reason = "an Instant has no other beginning")]

use super::*;
use crate::notice::Notice;
use crate::notify::tests::{Office, office};
use crate::store::Write;
use crate::testkit::{Server, incident, notice, wait_for};

/// Notices `from` to `to`; each of an incident of its own.
fn notices(from: usize, to: usize) -> Vec<Arc<Notice>> {
    (from..to).map(|n| notice(&incident(n), "hook")).collect()
}

fn job(notice: Arc<Notice>, now: Instant) -> Job {
    Job { notice, attempt: 1, ticket: Ticket::done(), watch: None, handed_at: now }
}

/// A channel's work that nobody runs, with so many in its line and so many between attempts; none of them is in the outbox.
fn work(office: &Office, server: &Server, ready: usize, retry: usize) -> Work {
    let (back, inbox) = sync_channel(QUEUE_MAX);
    let left = Arc::new(LeftBehind::default());
    let mut work = Work::new(server.channel("hook"), office.around.clone(), inbox, back, left);
    let now = Instant::now();
    for notice in notices(0, ready) {
        assert!(work.line.push(job(notice, now)));
    }
    for notice in notices(5000, 5000 + retry) {
        assert!(work.line.push_retry(now + Duration::from_secs(60), job(notice, now)));
    }
    work
}

#[test]
fn what_did_not_fit_out_of_the_outbox_is_looked_for_again_whichever_half_of_the_line_is_longer() {
    let (office, server) = (office(), Server::start(Vec::new()));
    office.around.writes.push(Write::Notices(notices(10_000, 13_000)), Ticket::default());
    let unsent = || {
        let conn = office.around.reads.lock().unwrap();
        Reads::new(&conn).unsent("hook", 5000, false).unwrap().len()
    };
    wait_for("the outbox", || unsent() == 3000);
    for (ready, retry) in [(600, 400), (400, 600), (0, 0)] {
        let mut work = work(&office, &server, ready, retry);
        work.left_behind.add(&Ticket::done());
        let before = work.line.jobs().count();
        work.pick_up(Instant::now());
        assert!(work.line.jobs().count() > before, "{ready} {retry}: it takes some");
        assert!(work.left_behind.is_some(), "{ready} {retry}: and knows that there are more");
    }
    // All of a few fit, and nobody looks again.
    let mut work = work(&office, &server, 0, 0);
    work.channel.id = "other".to_owned();
    work.left_behind.add(&Ticket::done());
    work.pick_up(Instant::now());
    assert_eq!((work.line.jobs().count(), work.left_behind.is_some()), (0, false));
}
