//! From an effect to messages: whom it reaches, by which channels, and who gets a list instead. Pure: the night of
//! `bench night` and the running instance have the same.
//!
//! ```text
//! effect's Telling ─rota─► people ─┬─ each by all his channels (P1), or by those that do not ring (else)
//!                                  └─ dangers of a flood, and what does not fit into his half of ten messages in ten
//!                                     minutes: into his list (`Crowd`); progress of people then stands on the board
//! ```
//! Where the configuration names nobody, each telling goes once to every channel, as the desk's. A duty that nobody
//! has is told to the desk, with a line that says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lampguard_model::{Register, Timestamp};
use serde_json::{Value, json};

use crate::engine::{Asking, Effect, Engine, Input, REPEATED};
use crate::incident::{Incident, Severity};
use crate::ladder::{Crowd, Limits, List, Telling, Wording, crew_named};
use crate::life::{Verb, is_over};
use crate::links::crews_told;
use crate::notice::{
    Address, BREACHED, DIGEST, ESCALATED, HANDOVER, HELP, ISOLATION_OFFERED, NOBODY_NAMED, Notice, OPENED,
    SiteText,
};
use crate::notice_text::line_bytes;
use crate::rota::{Person, Rota, Whom, is_reachable};
use crate::store::{Listed, Message, Named};

/// A channel, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its id.
    pub id: String,
    /// Whom it reaches where nobody is named.
    pub to: String,
    /// It makes a telephone ring.
    pub rings: bool,
}

/// What holds at the moment of a telling.
#[derive(Clone, Copy)]
pub struct Scene<'s> {
    /// Who is on duty.
    pub rota: &'s Rota,
    /// Where posts stand.
    pub register: &'s Register,
    /// Words for texts.
    pub site: &'s SiteText,
    /// The numbers of a flood.
    pub limits: &'s Limits,
    /// When.
    pub now: Timestamp,
}

/// Whom a telling reaches, and which duties nobody has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) people: Vec<Arc<Person>>,
    pub(crate) missing: Vec<String>,
}

impl Reached {
    fn add(&mut self, person: &Arc<Person>) {
        if !self.people.iter().any(|known| known.name == person.name) {
            self.people.push(person.clone());
        }
    }

    fn all(&mut self, people: &[Arc<Person>], duty: impl FnOnce() -> String) {
        if people.is_empty() {
            self.missing.push(duty());
        }
        people.iter().for_each(|person| self.add(person));
    }
}

impl Reached {
    /// Somebody is missing, and this is the desk, which passes it on.
    fn is_for_desk(&self, rota: &Rota, person: &Person) -> bool {
        !self.missing.is_empty() && rota.desk.as_ref().is_none_or(|desk| desk.name == person.name)
    }
}

/// The desk where nobody is named: every channel.
fn nobody() -> Arc<Person> {
    Arc::new(Person { name: Arc::from("desk"), phone: None, channels: Vec::new() })
}

/// Who is meant, at that moment.
pub(crate) fn reach(rota: &Rota, to: &Telling, zone: &str, crew: Option<&str>, now: Timestamp) -> Reached {
    let mut reached = Reached::default();
    if !rota.names_people() {
        reached.people.push(nobody());
        return reached;
    }
    let own = crew.and_then(|name| crew_named(rota, name));
    for whom in &to.whom {
        let people = match whom {
            // What we stand on belongs to no zone: every leader hears of it.
            Whom::Leader if zone.is_empty() => {
                rota.zones.keys().flat_map(|zone| rota.people(*whom, zone, None, now)).collect()
            }
            _ => rota.people(*whom, zone, own.map(|crew| &*crew.id), now),
        };
        reached.all(&people, || whom.name().to_owned());
    }
    for name in &to.crews {
        // Where hands may be on what is live, each of the crew hears it.
        let count = if to.urgent { usize::MAX } else { 1 };
        let members = crew_named(rota, name).into_iter().flat_map(|crew| &crew.members);
        let people: Vec<Arc<Person>> = members.filter(|one| is_reachable(one)).take(count).cloned().collect();
        reached.all(&people, || name.to_string());
    }
    if to.everybody {
        let duty = rota.on_duty_now(zone, now);
        let crews = own.into_iter().chain(&duty.crew).chain(&duty.backup).chain(&duty.reinforcement);
        let people = crews.flat_map(|crew| &crew.members).filter(|one| is_reachable(one));
        people.chain(&duty.leader).chain(&duty.leaders).for_each(|person| reached.add(person));
    }
    if !reached.missing.is_empty() || reached.people.is_empty() {
        reached.add(&rota.desk.clone().unwrap_or_else(nobody));
    }
    reached
}

fn reached(scene: &Scene<'_>, incident: &Incident, to: &Telling) -> Reached {
    let zone = incident.zone_in(scene.register);
    reach(scene.rota, to, zone, incident.life.crew.as_deref(), scene.now)
}

/// What people do day by day.
fn is_daily(event: &str) -> bool {
    let verbs = [
        Verb::Acknowledge,
        Verb::Depart,
        Verb::Arrive,
        Verb::MakeSafe,
        Verb::Repair,
        Verb::Verify,
        Verb::Close,
    ];
    verbs.iter().any(|verb| verb.told_as() == Some(event))
}

/// Tells of the danger itself: a line of a list says as much.
fn is_danger(event: &str) -> bool {
    matches!(event, OPENED | ESCALATED | BREACHED | REPEATED)
}

/// Somebody is to do something about the danger: with many of them one list is better than as many messages.
fn is_call(event: &str) -> bool {
    is_danger(event) || event == HANDOVER
}

/// How a list says it. What calls nobody stands behind the dangers.
fn wording(event: &str, again: bool) -> Wording<'_> {
    let aside = !is_call(event) && event != ISOLATION_OFFERED;
    Wording { word: (!is_danger(event)).then_some(event), aside, again }
}

/// What an event's `listed` calls a danger: its line says no other word.
const DANGER: &str = "danger";

/// Channels, and who got how much.
#[derive(Debug, Default)]
pub struct Dispatcher {
    routes: Vec<Route>,
    crowd: Crowd,
    /// What the effect at hand put into lists: word and people. It goes into its event, which a kill does not take.
    listed: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// Incidents that were over at the start, of which a word may wait; none once no list waits.
    over: HashMap<Arc<str>, Incident>,
}

/// What the store knows of what people heard before a restart.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// From when on the others are complete.
    pub(crate) from: Timestamp,
    /// What was named to whom, with the words, and when last.
    pub(crate) named: Vec<Named>,
    /// What went to whom in the window of a flood.
    pub(crate) messages: Vec<Message>,
    /// What went into whose list, with its incident.
    pub(crate) listed: Vec<(Listed, Incident)>,
}

impl Dispatcher {
    /// With these channels.
    pub fn new(routes: Vec<Route>) -> Self {
        Self { routes, ..Self::default() }
    }

    /// What is told of an effect now; what goes into lists is kept for [`Dispatcher::lists`].
    pub fn of(&mut self, scene: &Scene<'_>, effect: &Effect) -> Vec<Arc<Notice>> {
        let site = scene.site;
        self.listed.clear();
        match effect {
            Effect::Open { incident, told: true, to, .. } => {
                let post = incident.post_in(scene.register).map(|post| &**post);
                self.announce(scene, incident, to, OPENED, |to| Notice::opened(incident, post, site, to))
            }
            Effect::Escalated { incident, event, told: true, to } => {
                let post = incident.post_in(scene.register).map(|post| &**post);
                self.announce(scene, incident, to, ESCALATED, |to| {
                    Notice::escalated(incident, event.at, post, site, to)
                })
            }
            Effect::Moved { incident, event, told: Some(word), to } => {
                let post = incident.post_in(scene.register).map(|post| &**post);
                let rung = matches!(event.kind, "rung" | "breached");
                self.announce(scene, incident, to, word, |address| match rung {
                    true => Notice::rung(incident, event, word, to.step, post, site, address),
                    false => Notice::moved(incident, event, word, post, site, address),
                })
            }
            Effect::Many { incidents, count, to, .. } => {
                self.many(scene, incidents, *count, to);
                Vec::new()
            }
            Effect::Job { job, event, ended: true } => {
                self.to_desk(scene, |to| Notice::maintenance_ended(job, event, site, to))
            }
            Effect::Recheck { tasks, asking, event } => {
                let zone = tasks.first().map_or("", |task| &*task.zone);
                let to = match asking {
                    Asking::Quiet => Telling::default(),
                    Asking::Due => Telling::to(&[Whom::Crew, Whom::Desk]),
                    Asking::Overdue => Telling::to(&[Whom::Leader]),
                };
                self.notices(scene, &to, zone, None, |to| Notice::recheck(tasks, *asking, event, site, to))
            }
            Effect::WeatherUnknown { since, zones } => {
                self.to_desk(scene, |to| Notice::weather_unknown(scene.now, *since, zones, site, to))
            }
            _ => Vec::new(),
        }
    }

    /// Keeps with the event of an effect what [`Dispatcher::of`] has put into lists for it: a list waits in memory alone, and
    /// [`Dispatcher::take_up`] finds there who has still to hear of it.
    pub(crate) fn keep_listed(&mut self, effect: &mut Effect) {
        let listed = std::mem::take(&mut self.listed);
        if let Effect::Moved { event, .. } = effect
            && !listed.is_empty()
            && let Ok(Value::Object(mut body)) = serde_json::from_str(&event.body)
        {
            body.insert("listed".to_owned(), json!(listed));
            event.body = Value::Object(body).to_string();
        }
    }

    /// Rungs of many incidents go into the lists of those whom they reach.
    fn many(&mut self, scene: &Scene<'_>, incidents: &[Incident], count: usize, to: &Telling) {
        let mut people: Vec<Arc<Person>> = Vec::new();
        for incident in incidents {
            let reached = reached(scene, incident, to);
            for person in reached.people.iter().cloned() {
                let wording = Wording { again: to.again, ..Wording::default() };
                self.list(scene, &reached, &person, incident, wording);
                if !people.iter().any(|known| known.name == person.name) {
                    people.push(person);
                }
            }
        }
        let beyond = count.saturating_sub(incidents.len());
        people.iter().for_each(|person| self.crowd.more(person, beyond));
    }

    /// Into somebody's list; in that of the desk it says besides that a duty has nobody.
    fn list(
        &mut self,
        scene: &Scene<'_>,
        reached: &Reached,
        person: &Arc<Person>,
        incident: &Incident,
        wording: Wording<'_>,
    ) {
        let missing = reached.is_for_desk(scene.rota, person).then_some(Some(NOBODY_NAMED));
        for word in [Some(wording.word), missing].into_iter().flatten() {
            self.crowd.add(person, incident, Wording { word, ..wording });
            self.listed.entry(word.unwrap_or(DANGER).to_owned()).or_default().insert(person.name.clone());
        }
    }

    /// Notices of one telling of an incident; none when it goes into lists. What is no call is told in a flood too while it
    /// fits: that a crew may turn back stands in no other message.
    fn announce(
        &mut self,
        scene: &Scene<'_>,
        incident: &Incident,
        to: &Telling,
        event: &str,
        make: impl Fn(Address<'_>) -> Notice,
    ) -> Vec<Arc<Notice>> {
        if to.grouped && is_call(event) {
            let reached = reached(scene, incident, to);
            for person in &reached.people {
                self.list(scene, &reached, person, incident, wording(event, to.again));
            }
            return Vec::new();
        }
        let zone = incident.zone_in(scene.register);
        self.notices(scene, to, zone, Some(incident), make)
    }

    /// What goes to the desk alone.
    pub fn to_desk(&mut self, scene: &Scene<'_>, make: impl Fn(Address<'_>) -> Notice) -> Vec<Arc<Notice>> {
        self.notices(scene, &Telling::to(&[Whom::Desk]), "", None, make)
    }

    /// A notice for each person and channel that a telling reaches.
    pub fn notices(
        &mut self,
        scene: &Scene<'_>,
        to: &Telling,
        zone: &str,
        incident: Option<&Incident>,
        make: impl Fn(Address<'_>) -> Notice,
    ) -> Vec<Arc<Notice>> {
        if to.is_empty() {
            return Vec::new();
        }
        let crew = incident.and_then(|incident| incident.life.crew.as_deref());
        let loud = to.urgent || to.loud || incident.is_some_and(|incident| incident.severity == Severity::P1);
        let reached = reach(scene.rota, to, zone, crew, scene.now);
        let crews = crews_told(scene.rota, to, zone, crew, scene.now);
        let mut notices = Vec::new();
        for person in &reached.people {
            // What is urgent waits for no list, and what is not real stands in none; neither counts.
            let alone = to.urgent || incident.is_some_and(|incident| incident.life.drill);
            let made = self.addresses(scene.rota, person, loud).into_iter().next().map(&make);
            if let Some(made) = made.filter(|_| !alone) {
                let danger = is_danger(&made.event);
                let waits = self.crowd.waits(&person.name);
                let fits = self.crowd.fits(&person.name, danger, scene.now, scene.limits);
                if is_daily(&made.event) && (waits || !fits) {
                    // It stands on the board, and a danger would wait for it.
                    continue;
                }
                if let Some(incident) = incident.filter(|_| !fits || (waits && is_call(&made.event))) {
                    self.list(scene, &reached, person, incident, wording(&made.event, to.again));
                    continue;
                }
                self.crowd.sent(person, danger, scene.now, scene.limits);
            }
            let at_desk = reached.is_for_desk(scene.rota, person);
            for address in self.addresses(scene.rota, person, loud) {
                let mut notice = make(address);
                notice.lead(&crews, scene.site);
                if at_desk {
                    notice.say_missing(&reached.missing, scene.site);
                }
                notices.push(Arc::new(notice));
            }
        }
        notices
    }

    /// How a person is reached: by all channels together when it is loud, else by those that do not ring, where there
    /// are some. Without channels of his own: by every one.
    pub fn addresses<'s>(&'s self, rota: &Rota, person: &'s Arc<Person>, loud: bool) -> Vec<Address<'s>> {
        let his = |route: &&Route| {
            person.channels.is_empty() || person.channels.iter().any(|known| **known == *route.id)
        };
        let mut routes: Vec<&Route> = self.routes.iter().filter(his).collect();
        if routes.is_empty() {
            routes = self.routes.iter().collect();
        }
        let quiet = routes.iter().any(|route| !route.rings);
        routes.retain(|route| loud || !quiet || !route.rings);
        let named = rota.names_people();
        let address = |route: &'s Route| {
            let to = if named { &*person.name } else { route.to.as_str() };
            Address { channel: &route.id, to, phone: person.phone.as_deref() }
        };
        routes.into_iter().map(address).collect()
    }

    /// Incidents that a notice names where it arrives.
    pub fn named<'n>(&self, notice: &'n Notice) -> Vec<&'n str> {
        notice.incident.as_deref().into_iter().chain(notice.listed()).collect()
    }

    /// What the rules hear of a notice: of one that was accepted, or that calls somebody. A list that was not accepted, in
    /// whatever form, sends on each incident from where that one stood.
    pub fn heard<'n>(&self, notice: &'n Notice, accepted: bool) -> Vec<Input<'n>> {
        if !accepted && *notice.event == *DIGEST {
            let refused = |(incident, step)| Input::Delivery { incident, step, accepted };
            return notice.rungs().map(refused).collect();
        }
        let calls = matches!(&*notice.event, OPENED | ESCALATED | BREACHED | HELP);
        let named = if accepted || calls { self.named(notice) } else { Vec::new() };
        let input = |incident| match &*notice.event {
            HELP if !accepted => Input::HelpRefused { incident, called_at: notice.created_at },
            _ => Input::Delivery { incident, step: notice.step, accepted },
        };
        named.into_iter().map(input).collect()
    }

    /// Somebody waits for a list.
    pub fn is_waiting(&self) -> bool {
        self.crowd.is_waiting()
    }

    /// Lists that are due, each with its notices. `look` finds an incident that may be open.
    pub fn lists<'i>(
        &mut self,
        scene: &Scene<'_>,
        look: impl Fn(&str) -> Option<&'i Incident>,
    ) -> Vec<(List, Vec<Arc<Notice>>)> {
        if !self.crowd.is_waiting() {
            self.over.clear();
            return Vec::new();
        }
        let over = std::mem::take(&mut self.over);
        let look = |id: &str| look(id).or_else(|| over.get(id));
        let open = |id: &str| look(id).is_some_and(|incident| !is_over(incident.life.state));
        let zh = scene.site.language.starts_with("zh");
        let post = |incident: &Incident| incident.post_in(scene.register).map(|post| &**post);
        let bytes = |id: &str, words: &[Arc<str>]| {
            look(id).map_or(0, |incident| line_bytes(incident, post(incident), words, zh))
        };
        let lists = self.crowd.due(scene.now, scene.limits, open, bytes);
        let told = |list: List| {
            let incidents = list.incidents.iter().filter_map(|id| look(id));
            let lines: Vec<_> = incidents.map(|incident| (incident, post(incident))).collect();
            let make = |to: Address<'_>| {
                let mut notice = Notice::digest(&list, &lines, scene.now, scene.site, to);
                if self.routes.iter().any(|route| route.rings && *route.id == *to.channel) {
                    notice.name_nobody();
                }
                Arc::new(notice)
            };
            let notices = self.addresses(scene.rota, &list.person, true).into_iter().map(make).collect();
            (list, notices)
        };
        let lists = lists.into_iter().map(told).collect();
        self.over = over;
        lists
    }

    /// After a start: lists wait in memory alone. What was told since `before.from` and no message or list has named to
    /// somebody goes into his list again, and so does an opening that none has named to anybody. Dangers follow from the
    /// ladders of what is open, words from the events that they went into lists with. Nobody gets more messages by a restart.
    pub(crate) fn take_up(&mut self, scene: &Scene<'_>, engine: &Engine, before: Before) {
        let (now, from) = (scene.now, before.from);
        self.take_up_messages(scene, before.messages);
        let mut heard: HashMap<&str, Vec<&Named>> = HashMap::new();
        for named in &before.named {
            heard.entry(&named.incident).or_default().push(named);
        }
        let names_people = scene.rota.names_people();
        let has_heard = |incident: &Incident, word: Option<&str>, to: &str, since: Timestamp| {
            let it = |named: &&Named| {
                let said = word.is_none_or(|word| named.word == word);
                named.at >= since && said && (!names_people || named.to == to)
            };
            heard.get(&*incident.id).is_some_and(|known| known.iter().any(it))
        };
        let real = |incident: &&Incident| !is_over(incident.life.state) && !incident.life.drill;
        for incident in engine.open_incidents().filter(real) {
            let untold = incident.life.climb.listed && incident.life.told_at.is_none();
            let opening = untold.then(|| (Timestamp(i64::MAX), engine.opening_of(incident, now)));
            for (at, to) in engine.told_since(incident, from, now).into_iter().chain(opening) {
                let reached = reached(scene, incident, &to);
                for person in &reached.people {
                    if !has_heard(incident, None, &person.name, at) {
                        let word = to.handover.then_some(HANDOVER);
                        let wording = Wording { word, again: true, ..Wording::default() };
                        self.list(scene, &reached, person, incident, wording);
                    }
                }
            }
        }
        for (Listed { at, words, .. }, incident) in before.listed {
            let over = is_over(incident.life.state);
            // Of one that is over its end alone is news.
            if incident.life.drill
                || (over && incident.life.ended.as_ref().is_none_or(|end| at < end.received_at))
            {
                continue;
            }
            let all = words.iter().flat_map(|(word, people)| people.iter().map(move |to| (&**word, to)));
            for (word, to) in all.filter(|(word, _)| !(over && *word == DANGER)) {
                let said = Some(word).filter(|word| *word != DANGER);
                if !has_heard(&incident, said, to, at) {
                    // Who has left the rota since was to hear of it: the desk passes it on.
                    let person = scene.rota.person(to).or(scene.rota.desk.as_ref()).cloned();
                    let person = person.filter(|_| names_people).unwrap_or_else(nobody);
                    self.crowd.add(&person, &incident, wording(said.unwrap_or(REPEATED), true));
                }
            }
            if over {
                self.over.insert(incident.id.clone(), incident);
            }
        }
        self.listed.clear();
    }

    fn take_up_messages(&mut self, scene: &Scene<'_>, messages: Vec<Message>) {
        let names_people = scene.rota.names_people();
        let mut known = BTreeSet::new();
        for Message { to, at, about } in messages {
            // Where nobody is named one telling goes to every channel, each by its own name.
            let (to, person) = match names_people {
                true => (to.clone(), scene.rota.person(&to).cloned()),
                false => (String::new(), Some(nobody())),
            };
            if let Some(person) = person.filter(|_| known.insert((to, at, about))) {
                self.crowd.got(&person, at, scene.limits);
            }
        }
    }
}
