//! The test of each shift on its way: made at its slot, told by the channels of each person, confirmed, or told to the
//! desk. What is pure stands in `test_dispatch.rs`.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};

use jiff::civil::Time;
use lampguard_model::Timestamp;
use serde_json::json;
use tracing::{info, warn};

use super::{ActError, Alerting, Instant, KEEP_WAIT, Notice, Story, Ticket, Work, Write, lock, note};
use crate::ask::Page;
use crate::notice::Address;
use crate::notify::{AlarmWatch, Job, Secret};
use crate::rota::{Person, Rota, Whom};
use crate::store::{Reads, StoreError};
use crate::test_dispatch::{Confirmed, DESK, KEPT, PEOPLE_MAX, Plan, Test, missing, on_duty};

/// What tests of people need.
#[derive(Clone)]
pub struct TestSetup {
    /// When.
    pub plan: Plan,
    /// Signs the links.
    pub key: Secret,
}

/// What runs of it.
pub(super) struct Testing {
    setup: TestSetup,
    /// Of the last 48 h.
    tests: Vec<Test>,
    /// The slot whose tests are made: who comes on duty after it is not tested.
    made: Option<Timestamp>,
    /// Since when we run: a slot that began before may have been told by the run before.
    since: Timestamp,
}

/// Somebody confirms a test.
#[derive(Clone, Debug)]
pub struct Confirm {
    /// Which.
    pub id: Arc<str>,
    /// Who: an account; none by the link of the person.
    pub by: Option<String>,
}

/// What is asked about a test.
pub(crate) enum Ask {
    Look(Arc<str>),
    Confirm(Confirm),
}

/// What became of it: none is known of that id.
pub(crate) type Reply = (Option<Test>, Ticket);

impl Alerting {
    /// Confirms a test; the first word counts. None: no test of the last two days has that id.
    ///
    /// # Errors
    /// [`ActError::Ended`]: send it again.
    pub fn confirm_test(&self, confirm: Confirm) -> Result<Option<Test>, ActError> {
        let (test, ticket) = self.ask_of_test(Ask::Confirm(confirm))?;
        // A full disk stops nobody; memory has it, and the disk gets it as soon as it takes something.
        ticket.wait(KEEP_WAIT);
        Ok(test)
    }

    /// Tests of slots at or after `from`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn tests(
        &self,
        from: Timestamp,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Test>, StoreError> {
        let limit = limit.max(1);
        let after = after.and_then(|text| text.split_once('.'));
        let after = after.and_then(|(at, id)| Some((at.parse().ok()?, id))).unwrap_or((i64::MIN, ""));
        let mut items = Reads::new(&lock(&self.reads)).tests(from, after, limit + 1)?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|test| format!("{}.{}", test.slot_at.0, test.id));
        Ok(Page { items, next })
    }

    /// One test of the last two days, as memory has it: a disk that takes nothing hides none.
    ///
    /// # Errors
    /// [`ActError::Ended`]: ask again.
    pub fn test(&self, id: &Arc<str>) -> Result<Option<Test>, ActError> {
        Ok(self.ask_of_test(Ask::Look(id.clone()))?.0)
    }

    fn ask_of_test(&self, ask: Ask) -> Result<Reply, ActError> {
        let (send, reply): (SyncSender<Reply>, _) = sync_channel(1);
        self.queue.send(Work::Test(ask, send)).map_err(|_| ActError::Ended)?;
        reply.recv().map_err(|_| ActError::Ended)
    }
}

impl Testing {
    pub(super) fn take_back(setup: TestSetup, reads: &Reads<'_>, now: Timestamp) -> Result<Self, StoreError> {
        let tests = reads.tests(now - KEPT, (i64::MIN, ""), PEOPLE_MAX * 10)?;
        Ok(Self { setup, tests, made: None, since: now })
    }
}

impl Story {
    /// Each tick: sends the tests of a slot, and tells the desk who has not confirmed.
    pub(super) fn look_at_tests(&mut self, now: Timestamp) {
        let Some(mut testing) = self.aside.testing.take() else { return };
        self.send_tests(&mut testing, now);
        self.report_tests(&mut testing, now);
        self.aside.testing = Some(testing);
    }

    fn send_tests(&mut self, testing: &mut Testing, now: Timestamp) {
        let rota = self.rota_now();
        let shifts: Vec<Time> = rota.weekly.shifts.iter().map(|shift| shift.from).collect();
        let slot = testing.setup.plan.slot(&shifts, now).filter(|slot| testing.made != Some(*slot));
        let Some(slot) = slot else { return };
        testing.made = Some(slot);
        testing.tests.retain(|test| now.since(test.slot_at) <= KEPT);
        let channels: Vec<Arc<str>> = self.desks.iter().map(|desk| Arc::from(&*desk.channel().id)).collect();
        let people = on_duty(&rota, &channels, slot);
        let new = missing(&testing.setup.plan, slot, &people, &testing.tests, now);
        if new.is_empty() {
            return;
        }
        if people.len() > PEOPLE_MAX {
            warn!(
                people = people.len(),
                limit = PEOPLE_MAX,
                "more people than one test takes: the rest is not tested"
            );
        }
        // Told before a crash and not kept, perhaps: marked as a repeat then.
        let attempt = if slot <= testing.since { 2 } else { 1 };
        let ticket = Ticket::default();
        let mut notices = Vec::new();
        for (person, test) in &new {
            let token = crate::test_dispatch::link(&testing.setup.key, test);
            let make = |to: Address<'_>| Notice::test(test, &token, &self.site, to);
            notices.extend(self.tell_person(person, make, attempt, &ticket));
        }
        let tests: Vec<Test> = new.into_iter().map(|(_, test)| test).collect();
        info!(people = tests.len(), slot = %slot, attempt, "test dispatch");
        self.metrics.tests.with_label_values(&["sent"]).inc_by(tests.len() as u64);
        let names: Vec<&Arc<str>> = tests.iter().map(|test| &test.person).collect();
        let event =
            note::event("test_dispatch", now, &json!({ "slot_at": slot.to_rfc3339(), "people": names }));
        testing.tests.extend(tests.iter().cloned());
        self.writes.push(Write::Tests(tests, event, notices), ticket);
    }

    fn report_tests(&mut self, testing: &mut Testing, now: Timestamp) {
        let mut late: Vec<Test> = Vec::new();
        for test in testing.tests.iter_mut().filter(|test| test.is_to_report(now)) {
            test.reported_at = Some(now);
            late.push(test.clone());
        }
        if late.is_empty() {
            return;
        }
        let names: Vec<&str> = late.iter().map(|test| &*test.person).collect();
        warn!(people = ?names, "test dispatch was not confirmed");
        self.metrics.tests.with_label_values(&["unconfirmed"]).inc_by(late.len() as u64);
        let event = note::event("test_unconfirmed", now, &json!({ "people": names }));
        let ticket = Ticket::default();
        let rota = self.rota_now();
        let desk = rota.desk.clone().filter(|desk| !desk.channels.is_empty());
        let mut people = vec![desk.unwrap_or_else(|| {
            let channels = self.desks.iter().map(|desk| Arc::from(&*desk.channel().id)).collect();
            Arc::new(Person { name: Arc::from(DESK), phone: None, channels })
        })];
        // Whoever does not answer hears of nobody: then those above the desk hear it too.
        if late.iter().any(|test| test.person == people[0].name) {
            let leaders = rota.zones.keys().flat_map(|zone| rota.people(Whom::Leader, zone, None, now));
            for person in leaders.chain(rota.people(Whom::Supervisor, "", None, now)) {
                if !people.iter().any(|known| known.name == person.name) {
                    people.push(person);
                }
            }
        }
        let make = |to: Address<'_>| Notice::tests_unconfirmed(&late, &event.key, now, &self.site, to);
        let tell = |person: &Arc<Person>| self.tell_person(person, make, 1, &ticket);
        let notices = people.iter().flat_map(tell).collect();
        self.writes.push(Write::Tests(late, event, notices), ticket);
    }

    fn rota_now(&self) -> Arc<Rota> {
        self.duty.rota.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// By each of a person's channels.
    fn tell_person(
        &self,
        person: &Person,
        make: impl Fn(Address<'_>) -> Notice,
        attempt: u32,
        ticket: &Ticket,
    ) -> Vec<Arc<Notice>> {
        let mut notices = Vec::new();
        for desk in
            self.desks.iter().filter(|desk| person.channels.iter().any(|id| **id == *desk.channel().id))
        {
            let to =
                Address { channel: &desk.channel().id, to: &person.name, phone: person.phone.as_deref() };
            let notice = Arc::new(make(to));
            let watch: Option<Arc<AlarmWatch>> = None;
            let handed_at = Instant::now();
            desk.tell(Job { notice: notice.clone(), attempt, ticket: ticket.clone(), watch, handed_at });
            notices.push(notice);
        }
        notices
    }

    pub(super) fn asked_of_test(&mut self, ask: Ask) -> Reply {
        match ask {
            Ask::Confirm(confirm) => self.confirm(confirm),
            Ask::Look(id) => {
                let tests = self.aside.testing.iter().flat_map(|testing| &testing.tests);
                (tests.into_iter().find(|test| test.id == id).cloned(), Ticket::done())
            }
        }
    }

    /// The first word counts; a repeat gets the same answer.
    fn confirm(&mut self, confirm: Confirm) -> Reply {
        let now = (self.clock)();
        let Some(testing) = &mut self.aside.testing else { return (None, Ticket::done()) };
        let Some(test) = testing.tests.iter_mut().find(|test| test.id == confirm.id) else {
            return (None, Ticket::done());
        };
        if test.confirmed.is_some() {
            return (Some(test.clone()), Ticket::done());
        }
        let via = if confirm.by.is_some() { "api" } else { "link" };
        let by = confirm.by.unwrap_or_else(|| test.person.to_string());
        let late = now >= test.due_at;
        test.confirmed = Some(Confirmed { at: now, by: by.clone(), via: via.to_owned(), late });
        let test = test.clone();
        info!(test = %test.id, person = %test.person, by, via, late, "test dispatch confirmed");
        self.metrics.tests.with_label_values(&[if late { "late" } else { "confirmed" }]).inc();
        let body = json!({ "id": test.id, "person": test.person, "by": by, "via": via, "late": late });
        let ticket = Ticket::default();
        let event = note::event("test_confirmed", now, &body);
        self.writes.push(Write::Tests(vec![test.clone()], event, Vec::new()), ticket.clone());
        (Some(test), ticket)
    }
}

#[cfg(test)]
#[path = "tests_of_people_tests.rs"]
mod tests;
