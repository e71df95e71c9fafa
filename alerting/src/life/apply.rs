//! One move on one life.

use lampguard_model::{Millis, Timestamp};

use super::arrival::{Times, prove};
use super::check::{Calm, HandLimits, OVERRIDE};
use super::order::{Extent, Method, Move, Verb, is_said_for_a_crew};
use super::table::{Cell, cell};
use super::{Arrival, Asked, Handed, KEYS_MAX, Life, Mark, Repair, Safe, Shelf, Stage, Verified, Waiting};
use crate::incident::{Signal, short_hash};
use crate::policy::{self, Number as _};

/// Longest key of a move.
const KEY_LENGTH_MAX: usize = 128;
/// Longest text of a body's field.
const TEXT_MAX: usize = 2000;
/// Moves that may wait for a second person at once; the oldest one goes.
const WAITING_MAX: usize = 20;

/// What the engine knows and a move needs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Id of the incident.
    pub id: String,
    /// It is P1 now.
    pub p1: bool,
    /// Whether the danger shows.
    pub signal: Signal,
    /// The crew was told then, at the earliest.
    pub told_at: Timestamp,
    /// Newest receipt of what was heard of the place: behind `now` unless our clock went back.
    pub heard_through: Timestamp,
    /// Longitude and latitude by the register, or of the place.
    pub place: Option<(f64, f64)>,
    /// What may be scanned or typed at the post.
    pub names: Vec<String>,
    /// Powered calm readings since the repair.
    pub calm: Calm,
    /// No sensor can show it: places, unmonitored posts, periods over 30 min.
    pub needs_hand_test: bool,
    /// No limit raised it: its state has to be gone for so long since the repair, or the verifier's reading shows
    /// that it is.
    pub gone_for: Option<Millis>,
    /// Limits for a reading by hand.
    pub limits: HandLimits,
    /// Incidents in the isolated extent that are neither repaired nor their crew clear.
    pub extent_open: Vec<String>,
    /// Incidents that follow this one and are not over.
    pub linked_open: Vec<String>,
    /// The least advanced live member, when this one stands for several.
    pub members: Option<Stage>,
    /// Why nobody acts on behalf of the one who is named: nobody has that name, or nobody whose word it is.
    pub stranger: Option<String>,
    /// Why nobody is called by the name in `to`: no crew has it.
    pub no_crew: Option<String>,
    /// Who acts is of the crew to which a change of shift hands it.
    pub is_next: bool,
    /// Who acts may be the repairer: one of the two is named as a crew as a whole, and the other is of that crew.
    pub own_repair: bool,
    /// Numbers of arriving.
    pub arrival: policy::Arrival,
    /// Numbers of verifying.
    pub verify: policy::Verify,
    /// Numbers of what two people do.
    pub two_people: policy::TwoPeople,
}

/// A move was not made. The life is as it was, and the key is not used up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not in this state. Look at the incident.
    #[error("{}: {reason} (state {})", verb.name(), state.name())]
    State {
        /// Which move.
        verb: Verb,
        /// The present state.
        state: Stage,
        /// Why.
        reason: String,
    },
    /// The body lacks something, or holds what cannot be. Mend it.
    #[error("{}: {what}", verb.name())]
    Body {
        /// Which move.
        verb: Verb,
        /// What is missing or wrong.
        what: String,
    },
    /// No such incident.
    #[error("no incident {0:?} is known")]
    Unknown(String),
    /// A hazard or planned work that cannot be as it was sent. Mend it.
    #[error("{0}")]
    Wrong(String),
    /// Not this person. Ask the desk.
    #[error("{}: {what}", verb.name())]
    Person {
        /// Which move.
        verb: Verb,
        /// Why.
        what: String,
    },
}

/// What became of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Made.
    Done,
    /// The same move was made before: nothing changed.
    Again,
    /// Waits for a second person to repeat it with this id.
    Second(String),
}

/// The life after a move.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// As it is now.
    pub life: Life,
    /// What became of the move.
    pub outcome: Outcome,
    /// The times that count.
    pub times: Times,
}

struct Act<'a> {
    facts: &'a Facts,
    now: Timestamp,
    m: &'a Move,
    times: Times,
}

type Done = Result<(), Refused>;

/// Makes a move, or says why not.
///
/// # Errors
/// [`Refused`]: nothing changed.
pub fn apply(life: &Life, facts: &Facts, now: Timestamp, m: &Move) -> Result<Applied, Refused> {
    let times = Times::of(&m.body, &facts.arrival, facts.told_at, now);
    let act = Act { facts, now, m, times };
    let again = |outcome| Ok(Applied { life: life.clone(), outcome, times });
    let once = m.once();
    if life.keys.contains(&once) {
        return again(Outcome::Again);
    }
    act.check_body()?;
    let mut life = life.clone();
    life.waiting.retain(|waiting| is_fresh(waiting, facts.two_people.within, now));
    let asked = |w: &&Waiting| w.verb == m.verb && w.by == m.actor.name && w.key == m.body.key;
    if let Some(waiting) = life.waiting.iter().find(asked) {
        let id = waiting.id.clone();
        return Ok(Applied { life, outcome: Outcome::Second(id), times });
    }
    let next = match cell(life.state, m.verb) {
        Cell::To(next) => next,
        Cell::IfClear(_) if life.clear.is_some() => life.state,
        Cell::No(_) if m.verb == Verb::Acknowledge && life.wants_crew() && !m.is_desks_own() => life.state,
        Cell::IfClear(reason) | Cell::No(reason) => {
            return Err(act.illegal(&life, who_has_it(&life, m.verb, reason)));
        }
    };
    let rank = facts.members.map_or(u8::MAX, Stage::rank);
    if next != life.state && next.rank() > rank {
        return Err(act.illegal(&life, "a member is not that far: move the members first".to_owned()));
    }
    if let (Verb::Void, Cell::No(reason)) = (m.verb, cell(Stage::Arrived, Verb::Void))
        && (life.arrived.is_some() || !life.earlier.is_empty())
    {
        return Err(act.illegal(&life, reason.to_owned()));
    }
    if let Some(id) = act.second(&mut life)? {
        return Ok(Applied { life, outcome: Outcome::Second(id), times });
    }
    act.change(&mut life)?;
    if !(m.verb == Verb::ConfirmArrival && act.says_no()) {
        life.state = next;
    }
    if life.keys.len() >= KEYS_MAX {
        life.keys.remove(0);
    }
    life.keys.push(once);
    Ok(Applied { life, outcome: Outcome::Done, times })
}

/// Accounts of one name are one person, however it is written.
pub(crate) fn is_same_person(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

fn is_fresh(waiting: &Waiting, within: Millis, now: Timestamp) -> bool {
    let age = now.since(waiting.at);
    Millis(0) <= age && age <= within
}

/// The second of two who act at once is told who was first.
fn who_has_it(life: &Life, verb: Verb, reason: &'static str) -> String {
    let who = match verb {
        Verb::Acknowledge => life.crew.clone(),
        Verb::Depart | Verb::Arrive => {
            let arrived = life.present_arrival().map(|arrival| arrival.mark.by.clone());
            arrived.or_else(|| life.departed.as_ref().map(|mark| mark.by.clone()))
        }
        Verb::Verify => life.verified.as_ref().map(|verified| verified.mark.by.clone()),
        _ => None,
    };
    who.map_or_else(|| reason.to_owned(), |who| format!("{reason}: {who}"))
}

impl Act<'_> {
    fn illegal(&self, life: &Life, reason: String) -> Refused {
        Refused::State { verb: self.m.verb, state: life.state, reason }
    }

    fn body(&self, what: impl Into<String>) -> Refused {
        Refused::Body { verb: self.m.verb, what: what.into() }
    }

    fn person(&self, what: impl Into<String>) -> Refused {
        Refused::Person { verb: self.m.verb, what: what.into() }
    }

    /// A text that has to be there.
    fn text(&self, name: &str, value: Option<&String>) -> Result<String, Refused> {
        let value = value.map(|text| text.trim()).filter(|text| !text.is_empty());
        value.map(ToOwned::to_owned).ok_or_else(|| self.body(format!("{name} is missing")))
    }

    /// A time that has to be there, and lie ahead.
    fn ahead(&self, name: &str, value: Option<Timestamp>) -> Result<Timestamp, Refused> {
        let at = value.ok_or_else(|| self.body(format!("{name} is missing")))?;
        if at > self.now {
            return Ok(at);
        }
        Err(self.body(format!("{name} {at} is not ahead of now, {}", self.now)))
    }

    fn mark(&self) -> Mark {
        let (by, actor) = (self.m.by().trim(), self.m.actor.name.trim());
        Mark {
            by: by.to_owned(),
            recorded_by: (by != actor).then(|| actor.to_owned()),
            channel: self.m.body.channel,
            at: self.times.at,
            claimed_at: self.times.claimed_at,
            received_at: self.now,
            heard_through: (self.facts.heard_through > self.now).then_some(self.facts.heard_through),
        }
    }

    fn says_no(&self) -> bool {
        self.m.body.answer.as_deref().map(str::trim) == Some("no")
    }

    fn check_body(&self) -> Done {
        let body = &self.m.body;
        if body.key.is_empty() || body.key.len() > KEY_LENGTH_MAX {
            return Err(
                self.body(format!("key has {} bytes, 1 to {KEY_LENGTH_MAX} are allowed", body.key.len()))
            );
        }
        let texts = [
            ("note", &body.note),
            ("on_behalf_of", &body.on_behalf_of),
            ("post", &body.post),
            ("breaker", &body.breaker),
            ("cause", &body.cause),
            ("parts", &body.parts),
            ("reason", &body.reason),
            ("owner", &body.owner),
            ("contact", &body.contact),
            ("to", &body.to),
            ("answer", &body.answer),
        ];
        for (name, text) in texts {
            let length = text.as_ref().map_or(0, String::len);
            if length > TEXT_MAX {
                return Err(self.body(format!("{name} has {length} bytes, at most {TEXT_MAX} are allowed")));
            }
        }
        if body.on_behalf_of.as_ref().is_some_and(|name| name.trim().is_empty()) {
            return Err(self.body("on_behalf_of is empty"));
        }
        if body.on_behalf_of.is_some() && !self.m.actor.desk {
            return Err(self.person("only the desk acts on behalf of somebody"));
        }
        if let Some(stranger) = self.facts.stranger.as_ref().filter(|_| body.on_behalf_of.is_some()) {
            return Err(self.body(stranger));
        }
        Ok(())
    }

    /// Two people for void and shelve of a P1 whose danger shows. `Some` is the id the second one repeats.
    fn second(&self, life: &mut Life) -> Result<Option<String>, Refused> {
        let (verb, actor) = (self.m.verb, self.m.actor.name.as_str());
        let two = matches!(verb, Verb::Void | Verb::Shelve)
            && self.facts.p1
            && self.facts.signal == Signal::Active
            && !life.drill;
        if !two {
            return Ok(None);
        }
        let Some(second) = &self.m.body.second else {
            let reason = self.text("reason", self.m.body.reason.as_ref())?;
            let until = if verb == Verb::Shelve { Some(self.shelf_end()?) } else { None };
            let id = format!("S-{}", short_hash(&[&self.facts.id, &self.m.once()], 10));
            if life.waiting.len() >= WAITING_MAX {
                life.waiting.remove(0);
            }
            let (by, key) = (actor.to_owned(), self.m.body.key.clone());
            life.waiting.push(Waiting { id: id.clone(), verb, by, at: self.now, key, reason, until });
            return Ok(Some(id));
        };
        let waiting = life.waiting.iter().find(|waiting| waiting.id == *second && waiting.verb == verb);
        let Some(waiting) = waiting else {
            let minutes = self.facts.two_people.within.as_seconds() / 60;
            let reason =
                format!("nothing waits under {second:?}: a second person has {minutes} min after the first");
            return Err(self.illegal(life, reason));
        };
        if is_same_person(&waiting.by, actor) {
            let reason =
                format!("{actor} asked for it: another account repeats it with \"second\":{second:?}");
            return Err(self.illegal(life, reason));
        }
        Ok(None)
    }

    /// What the first of two people said.
    fn first<'l>(&self, life: &'l Life) -> Option<&'l Waiting> {
        let second = self.m.body.second.as_ref()?;
        life.waiting.iter().find(|waiting| waiting.id == *second && waiting.verb == self.m.verb)
    }

    fn shelf_end(&self) -> Result<Timestamp, Refused> {
        let longest = self.facts.two_people.shelve_max;
        let until = self.ahead("until", self.m.body.until.or(Some(self.now + longest)))?;
        if until.since(self.now) > longest {
            let longest = longest.to_text();
            return Err(self.body(format!("until {until} is more than {longest} ahead").replace('"', "")));
        }
        Ok(until)
    }

    fn change(&self, life: &mut Life) -> Done {
        if is_said_for_a_crew(self.m.verb) && self.m.is_desks_own() {
            return Err(self.body("on_behalf_of is missing: which member of the crew said so"));
        }
        match self.m.verb {
            Verb::Acknowledge => life.acknowledge(self.mark(), self.m.is_desks_own()),
            Verb::Depart => {
                life.acknowledge(self.mark(), self.m.is_desks_own());
                life.departed.get_or_insert_with(|| self.mark());
            }
            Verb::Arrive => self.arrive(life),
            Verb::ConfirmArrival => return self.confirm_arrival(life),
            Verb::MakeSafe => return self.make_safe(life),
            Verb::Restore => return self.restore(life),
            Verb::Repair => return self.repair(life),
            Verb::Verify => return self.verify(life),
            Verb::Close => return self.close(life),
            Verb::Void => {
                let told = self.first(life).map(|first| first.reason.clone());
                let reason = self.m.body.reason.as_ref().or(told.as_ref());
                life.void_reason = Some(self.text("reason", reason)?);
                life.ended = Some(self.mark());
                life.waiting.clear();
            }
            Verb::Return | Verb::Pending => return self.hand_over(life),
            Verb::Reassign => return self.reassign(life),
            Verb::Accept => life.accept(self.m.by(), self.facts.is_next, self.now),
            Verb::Note if self.m.body.clear => return self.note_clear(life),
            Verb::Note => _ = self.text("note", self.m.body.note.as_ref())?,
            Verb::Help => {}
            Verb::Shelve => return self.shelve(life),
            Verb::RequestIsolation => return self.request_isolation(life),
        }
        Ok(())
    }

    /// Implies that it was acknowledged. The first arrival is the one that counts, whoever comes later.
    fn arrive(&self, life: &mut Life) {
        life.acknowledge(self.mark(), self.m.is_desks_own());
        life.clear = None;
        if super::takes_evidence(life.state) && life.state != Stage::Arrived {
            life.quiet_at = self.is_quiet().then_some(self.now);
        }
        let (proof, distance_m) =
            prove(&self.m.body, &self.facts.arrival, self.facts.place, &self.facts.names);
        life.arrive(Arrival { mark: self.mark(), proof, distance_m, confirmed: None }, self.now);
    }

    /// The danger is not to be seen now.
    fn is_quiet(&self) -> bool {
        matches!(self.facts.signal, Signal::Normal | Signal::Unpowered)
    }

    /// The desk called: they are there, or (`answer: "no"`) they are not, and the clock goes on.
    fn confirm_arrival(&self, life: &mut Life) -> Done {
        let Some(arrival) = life.present_arrival_mut() else {
            return Err(self.illegal(life, "nobody has arrived yet: arrive first".to_owned()));
        };
        if !self.says_no() {
            arrival.confirmed.get_or_insert_with(|| self.mark());
            return Ok(());
        }
        if life.state != Stage::Arrived {
            return Err(self.illegal(life, "more has happened since: it cannot be taken back".to_owned()));
        }
        life.deny_arrival();
        life.state = Stage::Departed;
        Ok(())
    }

    fn make_safe(&self, life: &mut Life) -> Done {
        let body = &self.m.body;
        let method =
            body.method.ok_or_else(|| self.body("method is missing: isolated, guarded or barrier"))?;
        let isolated = method == Method::Isolated;
        if !isolated && life.isolation_in_force().is_some() {
            let reason = "an isolation is in force: restore ends it".to_owned();
            return Err(self.illegal(life, reason));
        }
        let breaker = if isolated { Some(self.text("breaker", body.breaker.as_ref())?) } else { None };
        let missing = || self.body("extent is missing: post or feeder");
        let extent = if isolated { Some(body.extent.ok_or_else(missing)?) } else { None };
        let mark = self.mark();
        // Of an incident that an older version made safe, before its mark is replaced.
        life.keep_way();
        // Who makes it safe stands there, whatever was said before.
        life.clear = None;
        if self.is_quiet() {
            life.quiet_at.get_or_insert(self.now);
        } else if life.state == Stage::Arrived && self.facts.signal == Signal::Active {
            // It was quiet while they stood there, and shows again.
            life.quiet_at = None;
        }
        life.safe = Some(Safe {
            mark,
            method,
            breaker,
            extent,
            covers: Vec::new(),
            restored: None,
            reenergised_at: None,
            doubted_at: None,
        });
        life.keep_way();
        Ok(())
    }

    /// Ends an isolation, when nobody may still have his hands on what it feeds.
    fn restore(&self, life: &mut Life) -> Done {
        if life.isolation_in_force().is_none() {
            return Err(self.illegal(life, "no isolation is in force".to_owned()));
        }
        if !self.facts.extent_open.is_empty() {
            let open = self.facts.extent_open.join(", ");
            let reason =
                format!("not repaired and no crew recorded clear (note with \"clear\":true): {open}");
            return Err(self.illegal(life, reason));
        }
        if let Some(safe) = &mut life.safe {
            safe.restored = Some(self.mark());
        }
        Ok(())
    }

    fn note_clear(&self, life: &mut Life) -> Done {
        if super::takes_evidence(life.state) && life.state != Stage::Arrived || super::is_over(life.state) {
            return Err(self.illegal(life, "no crew stands there".to_owned()));
        }
        life.clear = Some(self.mark());
        Ok(())
    }

    fn repair(&self, life: &mut Life) -> Done {
        let body = &self.m.body;
        let cause = self.text("cause", body.cause.as_ref())?;
        let parts = self.text("parts", body.parts.as_ref())?;
        let mark = self.mark();
        life.repaired = Some(Repair { mark, cause, parts, reading: body.reading.clone() });
        (life.verified, life.above_at) = (None, None);
        Ok(())
    }

    fn verify(&self, life: &mut Life) -> Done {
        let body = &self.m.body;
        let repairer = life.repaired.as_ref().map_or("", |repair| repair.mark.by.as_str());
        if is_same_person(repairer, self.m.by()) || is_same_person(repairer, &self.m.actor.name) {
            return Err(self.person("the repairer does not verify the own repair: somebody else does"));
        }
        if self.facts.own_repair {
            let what = format!(
                "{repairer} repaired it, {} is of the same crew, and one of the two is no person's name: somebody named, \
                 another crew or the desk verifies",
                self.m.by()
            );
            return Err(self.person(what));
        }
        let reason = body.reason.as_ref().filter(|text| self.m.actor.desk && !text.trim().is_empty());
        let missing = self.facts.not_shown(life, self.m.body.reading.as_ref());
        let on = match &missing {
            None if self.facts.needs_hand_test || !self.facts.has_gone() => "by_hand",
            None => "readings",
            Some(_) if reason.is_some() => OVERRIDE,
            Some(what) => {
                let desk = if self.m.actor.desk { "; the desk may override with reason" } else { "" };
                return Err(self.illegal(life, format!("{what}{desk}")));
            }
        };
        let (mark, reading) = (self.mark(), body.reading.clone());
        life.verified = Some(Verified { mark, on: on.to_owned(), reason: reason.cloned(), reading });
        // The desk's override has it in its reason; what comes from here on is new.
        life.above_at = None;
        Ok(())
    }

    fn close(&self, life: &mut Life) -> Done {
        if !self.facts.linked_open.is_empty() {
            let reason =
                format!("an incident that follows it is open: {}", self.facts.linked_open.join(", "));
            return Err(self.illegal(life, reason));
        }
        if let Some(at) = life.above_at {
            let reason =
                format!("a sample was at or above the limit at {at}, after it was verified: repair again");
            return Err(self.illegal(life, reason));
        }
        if let Some(safe) = life.isolation_in_force() {
            let breaker = safe.breaker.as_deref().unwrap_or("");
            let extent = if safe.extent == Some(Extent::Feeder) { "feeder" } else { "post" };
            let reason = format!("its isolation is in force ({extent}, breaker {breaker}): restore it first");
            return Err(self.illegal(life, reason));
        }
        life.ended = Some(self.mark());
        life.waiting.clear();
        Ok(())
    }

    fn reassign(&self, life: &mut Life) -> Done {
        let to = self.text("to", self.m.body.to.as_ref())?;
        if let Some(reason) = &self.facts.no_crew {
            return Err(self.body(reason));
        }
        life.reassign(to, self.now);
        Ok(())
    }

    fn hand_over(&self, life: &mut Life) -> Done {
        let (body, mark) = (&self.m.body, self.mark());
        life.handed = Some(if self.m.verb == Verb::Return {
            let owner = Some(self.text("owner", body.owner.as_ref())?);
            let contact = Some(self.text("contact", body.contact.as_ref())?);
            let again_at = self.ahead("follow_up_at", body.follow_up_at)?;
            Handed { mark, owner, contact, reason: body.reason.clone(), again_at }
        } else {
            let reason = Some(self.text("reason", body.reason.as_ref())?);
            let again_at = self.ahead("review_at", body.review_at)?;
            Handed { mark, owner: None, contact: None, reason, again_at }
        });
        Ok(())
    }

    fn shelve(&self, life: &mut Life) -> Done {
        let first = self.first(life).cloned();
        let said = first.as_ref().map(|first| first.reason.clone());
        let reason = self.text("reason", self.m.body.reason.as_ref().or(said.as_ref()))?;
        let until = match first.as_ref().and_then(|first| first.until).filter(|_| self.m.body.until.is_none())
        {
            Some(until) => until,
            None => self.shelf_end()?,
        };
        let (mark, second) = (self.mark(), first.map(|first| first.by));
        life.shelved = Some(Shelf { mark, second, reason, until });
        life.waiting.retain(|waiting| waiting.verb != Verb::Shelve);
        Ok(())
    }

    /// Asks somebody to open a breaker, or writes down what was answered.
    fn request_isolation(&self, life: &mut Life) -> Done {
        let body = &self.m.body;
        let unanswered = life.isolation.iter_mut().rfind(|asked| asked.answer.is_none());
        if let (Some(answer), Some(asked)) = (&body.answer, unanswered) {
            (asked.answer, asked.answered_at) = (Some(answer.clone()), Some(self.now));
            return Ok(());
        }
        let (to, breaker) =
            (self.text("to", body.to.as_ref())?, self.text("breaker", body.breaker.as_ref())?);
        let answered_at = body.answer.as_ref().map(|_| self.now);
        let answer = body.answer.clone();
        life.isolation.push(Asked { mark: self.mark(), to, breaker, answer, answered_at });
        Ok(())
    }
}
