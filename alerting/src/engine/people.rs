//! Hazards that people tell, and planned work.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use lampguard_model::{Millis, Post, Timestamp, UNREGISTERED};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::moves::{Answer, Belongs, REPEATED, after};
use super::place::Subject;
use super::raise::incident_of;
use super::recheck::Recheck;
use super::{Effect, Engine};
use crate::incident::{Event, Family, Incident, Kind, Scope, Severity, Signal, short_hash};
use crate::life::{Actor, Channel, Life, Mark, Outcome, Place, Refused, Told, What};
use crate::policy::Number as _;

/// A clock may be corrected by this much without ending planned work.
const CLOCK_SLACK: Millis = Millis::minutes(10);
/// Planned work that may go on at once.
const JOBS_MAX: usize = 1000;
/// Bytes of who called and how to call back; longer is refused.
const CALLER_MAX: usize = 2000;
/// Incidents that are over and still in memory: a move that comes right after the end finds them.
const RECENT_MAX: usize = 1024;
/// Posts whose last incident is remembered.
pub(super) const LAST_KEPT: usize = 200_000;
/// Name of the rule of what a person tells.
const RULE: &str = "person";

/// The last incident of a post that is over.
#[derive(Clone, Debug)]
pub(super) struct Last {
    pub(super) id: Arc<str>,
    pub(super) at: Timestamp,
}

/// What is left of incidents that are over, and planned work.
#[derive(Debug, Default)]
pub(super) struct People {
    pub(super) last: HashMap<Arc<str>, Last, RandomState>,
    pub(super) recent: VecDeque<Incident>,
    pub(super) jobs: Vec<Job>,
    pub(super) rechecks: Vec<Recheck>,
    /// Taken back incidents name planned work, which may have ended since.
    pub(super) jobs_in_doubt: bool,
}

impl People {
    pub(super) fn keep_ended(&mut self, incident: Incident) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(incident);
    }
}

/// Where planned work goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum JobScope {
    /// One post.
    PostId(String),
    /// Every post of a feeder.
    Feeder(String),
    /// Every post of a road.
    Road(String),
}

impl JobScope {
    pub(super) fn holds(&self, post: &Post) -> bool {
        match self {
            Self::PostId(id) => *post.post_id == **id,
            Self::Feeder(feeder) => *post.feeder == **feeder,
            Self::Road(road) => *post.road == **road,
        }
    }
}

/// Planned work: what it raises goes to its crew and the desk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// `M-` and letters, from who asked first.
    pub id: String,
    /// Where.
    pub scope: JobScope,
    /// Who works there.
    pub crew: String,
    /// What for.
    pub reason: String,
    /// Who asked.
    pub by: String,
    /// Since when.
    pub from: Timestamp,
    /// It ends by itself then.
    pub until: Timestamp,
    /// `actor|key` of what was asked, so that a repeat changes nothing.
    pub keys: Vec<String>,
}

/// Planned work begins, goes on, or (`until` not ahead) ends.
#[derive(Clone, Debug)]
pub struct JobRequest {
    /// Who asks.
    pub actor: Actor,
    /// Makes a repeat known.
    pub key: String,
    /// Where.
    pub scope: JobScope,
    /// Who works there.
    pub crew: String,
    /// What for.
    pub reason: String,
    /// Until when; at most `maintenance.length` ahead, and that when absent.
    pub until: Option<Timestamp>,
}

/// A hazard told by a person.
#[derive(Clone, Debug)]
pub struct TellRequest {
    /// Who writes it down.
    pub actor: Actor,
    /// Makes a repeat known.
    pub key: String,
    /// What.
    pub what: What,
    /// At a post of ours …
    pub post_id: Option<String>,
    /// … or at a spot.
    pub place: Option<Place>,
    /// Who called.
    pub caller: Option<String>,
    /// When it was told, by the sender's word.
    pub at: Option<Timestamp>,
    /// How it was told.
    pub channel: Channel,
    /// For `other`: P1 to P4, P2 when absent.
    pub severity: Option<String>,
    /// Not real.
    pub drill: bool,
    /// The incident of that key as the store has it, when it is over and no longer in memory.
    pub stored: Option<Box<Incident>>,
}

impl TellRequest {
    /// The id of the incident that it opens, were it to open one.
    pub fn id(&self) -> Arc<str> {
        Arc::from(format!("LG-{}", short_hash(&["reported", &self.actor.name, &self.key], 12)))
    }

    fn once(&self) -> String {
        format!("told|{}|{}", self.actor.name, self.key)
    }
}

fn refused(what: impl Into<String>) -> Refused {
    Refused::Wrong(what.into())
}

impl Engine {
    /// Planned work at a post, if there is some.
    pub(super) fn job_at(&self, post: &Post, now: Timestamp) -> Option<&Job> {
        self.people.jobs.iter().find(|job| job.until > now && job.scope.holds(post))
    }

    /// Planned work that holds all of what an incident of a feeder is about: the feeder, or every post that the
    /// incident names. At a post outside nobody works, and it goes the ordinary way.
    pub(super) fn job_among(&self, incident: &Incident) -> Option<&Job> {
        let posts: Option<Vec<&Arc<Post>>> =
            incident.members.iter().map(|name| self.register.by_post(name)).collect();
        let posts = posts.unwrap_or_default();
        let all = |scope: &JobScope| !posts.is_empty() && posts.iter().all(|post| scope.holds(post));
        self.jobs_beside(incident).find(|job| is_feeder(&job.scope, incident) || all(&job.scope))
    }

    /// Who works at some of the posts that an incident of a feeder names, and not at all: they stand in the danger.
    pub(super) fn crews_inside(&self, incident: &Incident) -> Vec<String> {
        let posts: Vec<&Arc<Post>> =
            incident.members.iter().filter_map(|name| self.register.by_post(name)).collect();
        let some = |job: &&Job| posts.iter().any(|post| job.scope.holds(post));
        let mut crews: Vec<String> =
            self.jobs_beside(incident).filter(some).map(|job| job.crew.clone()).collect();
        crews.sort_unstable();
        crews.dedup();
        crews
    }

    /// Planned work that may have to do with an incident of a feeder.
    fn jobs_beside(&self, incident: &Incident) -> impl Iterator<Item = &Job> {
        let (at, of_feeder) = (incident.opened_at, incident.scope == Scope::Feeder);
        self.people.jobs.iter().filter(move |job| of_feeder && job.until > at)
    }

    /// Planned work that goes on.
    pub fn jobs(&self) -> &[Job] {
        &self.people.jobs
    }

    /// Takes back planned work from before the restart; what is over by now ends at the next tick.
    pub fn seed_job(&mut self, job: Job) {
        self.people.jobs.push(job);
    }

    /// Planned work where an incident shows.
    fn job_of(&self, incident: &Incident, now: Timestamp) -> Option<&Job> {
        let post = incident.post_in(&self.register);
        post.and_then(|post| self.job_at(post, now)).or_else(|| self.job_among(incident))
    }

    /// Where no planned work goes on any more, incidents go the ordinary way again. What was only recorded and
    /// calls for people is told now: its crew may have left, and nobody else knows of it.
    pub(super) fn leave_jobs(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for place in 0..self.open.len() {
            self.leave_job(place, "maintenance_ended", now, effects);
        }
    }

    /// The same for one incident.
    pub(super) fn leave_job(
        &mut self,
        place: usize,
        why: &'static str,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let open = &self.open[place];
        if open.over || open.incident.life.job.is_none() || self.job_of(&open.incident, now).is_some() {
            return;
        }
        let open = &mut self.open[place];
        let incident = &mut open.incident;
        let untold = !incident.is_told() && incident.life.arrived.is_none();
        incident.life.job = None;
        // It may have become so during the work, long after it opened; what was due in a day stays a list's.
        let soon = incident.due_at > now && incident.is_told_at(now);
        let shows = incident.signal != Signal::Normal;
        let mut told = untold && shows && (incident.is_told() || soon);
        if let (Subject::Post(slot), Kind::LampOut) = (&open.subject, incident.evidence.kind) {
            let slot = *slot;
            told = told && self.may_tell_road(slot, now);
        }
        let (key, body) = (format!("{why}:{}", now.0), json!({ "told": told }));
        self.say(place, now, &key, why, &body, told.then_some(REPEATED), effects);
        self.schedule(place, now);
    }

    /// Work whose time is over ends, and the desk is told.
    pub(super) fn end_jobs(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.replaying {
            return;
        }
        // Further ahead than it was ever granted: the clock went back, and nobody can say how long it goes on.
        let longest = self.policy.maintenance.length + CLOCK_SLACK;
        let is_over = |job: &Job| job.until <= now || job.until.since(now) > longest;
        let (over, on): (Vec<Job>, _) = std::mem::take(&mut self.people.jobs).into_iter().partition(is_over);
        self.people.jobs = on;
        if std::mem::take(&mut self.people.jobs_in_doubt) || !over.is_empty() {
            // First: a crash in between ends the work once more, and nothing is left untold.
            self.leave_jobs(now, effects);
        }
        for job in over {
            effects.push(job_effect(job, "maintenance_ended", now, true));
        }
    }

    pub(super) fn maintain(&mut self, now: Timestamp, request: &JobRequest, effects: &mut Vec<Effect>) {
        let answer = self.maintained(now, request, effects);
        effects.push(Effect::JobAnswered(Box::new(answer)));
    }

    /// The job as it is now, and whether it is new.
    fn maintained(
        &mut self,
        now: Timestamp,
        request: &JobRequest,
        effects: &mut Vec<Effect>,
    ) -> Result<(Job, bool), Refused> {
        let once = format!("{}|{}", request.actor.name, request.key);
        let known = self.people.jobs.iter().position(|job| job.scope == request.scope);
        if let Some(job) = self.people.jobs.iter().find(|job| job.keys.contains(&once)) {
            return Ok((job.clone(), false));
        }
        for (name, text) in [("key", &request.key), ("crew", &request.crew), ("reason", &request.reason)] {
            if text.trim().is_empty() || text.len() > 500 {
                return Err(refused(format!("{name} has {} bytes, 1 to 500 are allowed", text.len())));
            }
        }
        if !self.register.posts().iter().any(|post| request.scope.holds(post)) {
            return Err(refused(format!("scope {:?} holds no post of the register", request.scope)));
        }
        let longest = self.policy.maintenance.length;
        let until = request.until.unwrap_or(now + longest);
        if until.since(now) > longest {
            let longest = longest.to_text();
            let reason = format!("until {until} is more than {longest} ahead: renew it later");
            return Err(refused(reason.replace('"', "")));
        }
        let (crew, reason) = (request.crew.trim().to_owned(), request.reason.trim().to_owned());
        let place = known.unwrap_or(self.people.jobs.len());
        if known.is_none() {
            if until <= now {
                return Err(refused(format!("until {until} is not ahead, and no such work goes on")));
            }
            if self.people.jobs.len() >= JOBS_MAX {
                return Err(refused(format!("{JOBS_MAX} works go on at once: end some")));
            }
            let id = format!("M-{}", short_hash(&["maintenance", &once, &now.0.to_string()], 10));
            let (scope, by) = (request.scope.clone(), request.actor.name.clone());
            let job = Job { id, scope, crew, reason, by, from: now, until, keys: vec![once] };
            self.people.jobs.push(job);
        } else {
            let job = &mut self.people.jobs[place];
            (job.crew, job.reason, job.until) = (crew, reason, until);
            job.keys.push(once);
        }
        let job = self.people.jobs[place].clone();
        let kind = match known {
            None => "maintenance_began",
            Some(_) if until <= now => "maintenance_ended",
            Some(_) => "maintenance_renewed",
        };
        if until <= now {
            self.people.jobs.remove(place);
            self.leave_jobs(now, effects);
        }
        effects.push(job_effect(job.clone(), kind, now, false));
        Ok((job, known.is_none()))
    }

    pub(super) fn tell(&mut self, now: Timestamp, request: &TellRequest, effects: &mut Vec<Effect>) {
        let answer = self.told(now, request, effects);
        effects.push(Effect::Answered(Box::new(answer)));
    }

    fn told(
        &mut self,
        now: Timestamp,
        request: &TellRequest,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refused> {
        let (id, once) = (request.id(), request.once());
        let is_it = |incident: &&Incident| incident.id == id || incident.life.keys.contains(&once);
        let live = self.open.iter().filter(|open| !open.over).map(|open| &open.incident);
        let known = live.chain(&self.people.recent).chain(request.stored.as_deref()).find(is_it);
        if let Some(incident) = known {
            return Ok(Answer { incident: incident.clone(), outcome: Outcome::Again });
        }
        let told = told_of(request, now)?;
        let (name, zone) = self.where_told(request)?;
        let family = if request.what == What::Other { Family::Other } else { Family::Electric };
        let subject = match (&request.post_id, &told.place) {
            (Some(_), _) => {
                let slot = self.slot(&name);
                slot.map_or_else(|| Subject::Untracked(name.clone()), Subject::Post)
            }
            // Two people who tell of one spot say it in other words: each call is a case of its own.
            (None, place) => {
                let text = place.as_ref().map_or("", |place| place.text.as_str());
                Subject::Place(Arc::from(format!("{text} ({id})")), zone.clone())
            }
        };
        // What is no shock and no live metal can be anything: each call is a case of its own.
        let belongs = (family == Family::Electric && !request.drill)
            .then(|| self.goes_to(&subject, family, severity_of(&told), told.mark.at, now));
        let follows = match belongs {
            Some(Belongs::To(place)) => return Ok(self.attach_told(place, request, &told, now, effects)),
            Some(Belongs::New(follows)) => follows,
            Some(Belongs::Ended) | None => Vec::new(),
        };
        let place =
            self.open_told(after(id, &follows), &subject, family, follows, told, request, now, effects);
        Ok(self.answer(place))
    }

    fn answer(&self, place: usize) -> Answer {
        Answer { incident: self.open[place].incident.clone(), outcome: Outcome::Done }
    }

    /// Name of the post (empty for a place) and the zone whose crew goes.
    fn where_told(&self, request: &TellRequest) -> Result<(Arc<str>, Arc<str>), Refused> {
        match (&request.post_id, &request.place) {
            (Some(post), None) => {
                let known = self.register.by_post(post).or_else(|| self.register.by_device(post));
                let post = known
                    .ok_or_else(|| refused(format!("post_id {post:?} is not in the register: give place")))?;
                Ok((post.post_id.clone(), post.zone.clone()))
            }
            (None, Some(place)) => {
                let inside =
                    place.lon.abs() <= 180.0 && place.lat.abs() <= 90.0 && !place.text.trim().is_empty();
                if !inside || place.text.len() > 500 {
                    return Err(refused("place needs lon, lat in degrees and text of 1 to 500 bytes"));
                }
                let squared = |post: &&Arc<Post>| {
                    let (x, y) = (post.lon - place.lon, post.lat - place.lat);
                    let x = x * place.lat.to_radians().cos();
                    x * x + y * y
                };
                let near = self.register.posts().iter().min_by(|a, b| squared(a).total_cmp(&squared(b)));
                let zone = near.map_or_else(|| Arc::from(UNREGISTERED), |post| post.zone.clone());
                Ok((Arc::from(""), zone))
            }
            _ => Err(refused("give either post_id or place")),
        }
    }

    fn attach_told(
        &mut self,
        place: usize,
        request: &TellRequest,
        told: &Told,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Answer {
        let severity = severity_of(told);
        let mut finding = self.finding(self.open[place].subject.clone(), Kind::Reported, now);
        finding = finding.with(severity, &self.policy).at(told.mark.at).note(note_of(told));
        RULE.clone_into(&mut finding.evidence.rule);
        let had = self.open[place].incident.kinds.contains(&Kind::Reported);
        let graver = severity > self.open[place].incident.severity;
        self.open[place].incident.life.keys.push(request.once());
        self.attach(place, finding, now, effects);
        if had && !graver {
            // People hear of it below.
            self.verify_anew(place, told.mark.at, now, None, effects);
            let open = &mut self.open[place];
            open.incident.life.on_evidence();
            let note = note_of(told);
            if !open.incident.notes.contains(&note) {
                open.incident.notes.push(note);
            }
        }
        let body = json!({ "told": told });
        self.say(place, now, &request.once(), "reported", &body, Some(REPEATED), effects);
        self.answer(place)
    }

    #[expect(clippy::too_many_arguments, reason = "an incident is made of this much")]
    fn open_told(
        &mut self,
        id: Arc<str>,
        subject: &Subject,
        family: Family,
        follows: Vec<Arc<str>>,
        told: Told,
        request: &TellRequest,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> usize {
        let mut finding = self.finding(subject.clone(), Kind::Reported, now);
        finding = finding.with(severity_of(&told), &self.policy).at(told.mark.at).note(note_of(&told));
        RULE.clone_into(&mut finding.evidence.rule);
        finding.family = family;
        let life = self.new_life(&self.whereabouts(subject)[0], follows, now);
        let life = Life { told: Some(told), drill: request.drill, keys: vec![request.once()], ..life };
        let incident = incident_of(id, finding, self.whereabouts(subject), life, now);
        self.begin(incident, subject, true, effects)
    }
}

/// Planned work on the whole feeder of an incident.
fn is_feeder(scope: &JobScope, incident: &Incident) -> bool {
    matches!(scope, JobScope::Feeder(feeder) if *incident.feeder == **feeder)
}

/// Its severity as the desk chose it; shock and live are P1.
fn severity_of(told: &Told) -> Severity {
    Severity::from_name(&told.severity).unwrap_or(Severity::P1)
}

/// What was told, checked.
fn told_of(request: &TellRequest, now: Timestamp) -> Result<Told, Refused> {
    if request.key.is_empty() || request.key.len() > 128 {
        return Err(refused(format!("key has {} bytes, 1 to 128 are allowed", request.key.len())));
    }
    if let Some(length) = request.caller.as_ref().map(String::len).filter(|length| *length > CALLER_MAX) {
        return Err(refused(format!("caller has {length} bytes, at most {CALLER_MAX} are allowed")));
    }
    let severity = match (request.what, request.severity.as_deref()) {
        (What::Other, None) => "P2",
        (_, None | Some("P1")) => Severity::P1.name(),
        (What::Other, Some(word @ ("P2" | "P3" | "P4"))) => word,
        (What::Other, Some(word)) => return Err(refused(format!("severity {word:?} is not P1 to P4"))),
        (what, Some(word)) => {
            return Err(refused(format!("{} is P1, severity {word:?} cannot be", what.name())));
        }
    };
    let mark = Mark {
        by: request.actor.name.clone(),
        recorded_by: None,
        channel: request.channel,
        at: request.at.filter(|at| *at <= now).unwrap_or(now),
        claimed_at: request.at,
        received_at: now,
        heard_through: None,
    };
    Ok(Told {
        what: request.what,
        severity: severity.to_owned(),
        caller: request.caller.clone(),
        place: request.place.clone(),
        mark,
    })
}

fn note_of(told: &Told) -> String {
    let what = match told.what {
        What::Shock => "有人触电",
        What::Live => "测电笔带电",
        What::Other => "其他",
    };
    let place = told.place.as_ref().map_or_else(String::new, |place| format!(" {}", place.text));
    format!("报告: {what}{place}")
}

fn job_effect(job: Job, kind: &'static str, now: Timestamp, ended: bool) -> Effect {
    let body = json!({
        "scope": job.scope, "crew": job.crew, "reason": job.reason, "by": job.by,
        "from": job.from.to_rfc3339(), "until": job.until.to_rfc3339(),
    });
    let key = format!("{}:{kind}:{}:{}", job.id, job.until.0, job.keys.len());
    let event = Event { key, incident: Arc::from(""), at: now, kind, body: body.to_string() };
    Effect::Job { job: Box::new(job), event, ended }
}
