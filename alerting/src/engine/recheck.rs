//! A fault that came with rain is looked at again in the next rain (`policy.md` 4): the task `recheck: next_wet`
//! of a post. It holds up no closing.

use std::sync::Arc;

use lampguard_model::{Post, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::enrol::Names;
use super::{Effect, Engine};
use crate::incident::{Event, Incident};
use crate::life::{FALSE, Stage};
use crate::slot::Fact;

/// A post that people look at in the next rain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recheck {
    /// The post.
    pub post: Arc<str>,
    /// Its zone.
    pub zone: Arc<str>,
    /// The incident that was closed.
    pub incident: Arc<str>,
    /// When that was.
    pub since: Timestamp,
    /// It became wet there, and people were asked.
    pub asked_at: Option<Timestamp>,
    /// Unfinished after `verify.recheck_within`: the leader was told.
    pub overdue_at: Option<Timestamp>,
    /// A hand test was made there.
    pub done_at: Option<Timestamp>,
}

/// What happened to tasks of one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// They are new, or finished: nobody is told.
    Quiet,
    /// It became wet: crew and desk get the list.
    Due,
    /// Unfinished: the leader gets the list.
    Overdue,
}

impl Engine {
    /// Tasks that are not finished.
    pub fn rechecks(&self) -> &[Recheck] {
        &self.people.rechecks
    }

    /// Takes back a task from before the restart.
    pub fn seed_recheck(&mut self, mut recheck: Recheck) {
        if let Some(post) = self.post_of_task(&recheck.post) {
            recheck.zone = post.zone.clone();
        }
        self.people.rechecks.push(recheck);
    }

    /// The post of a task; it may have been that of a device which nobody had registered.
    fn post_of_task(&self, name: &str) -> Option<&Arc<Post>> {
        self.register.by_post(name).or_else(|| self.register.by_device(name))
    }

    /// The name of that post today.
    fn name_of_task<'t>(&'t self, task: &'t Recheck) -> &'t Arc<str> {
        self.post_of_task(&task.post).map_or(&task.post, |post| &post.post_id)
    }

    /// A closed incident leaves a task behind, when its fault came with rain.
    pub(super) fn leave_recheck(&mut self, incident: &Incident, now: Timestamp, effects: &mut Vec<Effect>) {
        let life = &incident.life;
        let real = life.repaired.as_ref().is_some_and(|repair| repair.cause != FALSE);
        let rain = incident.evidence.wet && life.state == Stage::Closed && real && !life.drill;
        if !rain || incident.post_id.is_empty() {
            return;
        }
        let post = incident.post_in(&self.register);
        let (post, zone) =
            post.map_or((&incident.post_id, &incident.zone), |post| (&post.post_id, &post.zone));
        let (post, zone) = (post.clone(), zone.clone());
        self.people.rechecks.retain(|known| known.post != post);
        let recheck = Recheck {
            post,
            zone,
            incident: incident.id.clone(),
            since: now,
            asked_at: None,
            overdue_at: None,
            done_at: None,
        };
        self.people.rechecks.push(recheck.clone());
        effects.push(of(vec![recheck], Asking::Quiet, "recheck_wanted", now));
    }

    /// Posts became wet: their tasks are due.
    pub(super) fn ask_rechecks(
        &mut self,
        zone: usize,
        wetter: [bool; 2],
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let name = self.zones[zone].name.clone();
        let low = |post: &Arc<str>| {
            let slot = self.places.get(post).map(|place| &self.slots[*place as usize]);
            slot.is_some_and(|slot| slot.is(Fact::LowLying))
        };
        let is_due = |task: &Recheck| {
            task.zone == name
                && task.asked_at.is_none()
                && now > task.since
                && wetter[usize::from(low(self.name_of_task(task)))]
        };
        let due: Vec<bool> = self.people.rechecks.iter().map(is_due).collect();
        let tasks = self.people.rechecks.iter_mut().zip(due).filter(|(_, due)| *due);
        let asked: Vec<Recheck> = tasks
            .map(|(task, _)| {
                task.asked_at = Some(now);
                task.clone()
            })
            .collect();
        if !asked.is_empty() {
            effects.push(of(asked, Asking::Due, "recheck_due", now));
        }
    }

    /// Another register holds: a task is that of its post by its new name, and lies in the zone of it.
    pub(super) fn move_rechecks(&mut self, names: &Names, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut tasks = std::mem::take(&mut self.people.rechecks);
        for task in &mut tasks {
            let old = task.clone();
            if let Some(name) = names.get(&task.post) {
                task.post = name.clone();
            }
            if let Some(post) = self.post_of_task(&task.post) {
                task.zone = post.zone.clone();
            }
            if *task == old {
                continue;
            }
            let mut changed = vec![task.clone()];
            if task.post != old.post {
                // Nobody is to be asked under the name that it had.
                changed.push(Recheck { done_at: Some(now), ..old });
            }
            effects.push(of(changed, Asking::Quiet, "recheck_moved", now));
        }
        self.people.rechecks = tasks;
    }

    /// Tasks that nobody has finished six hours after the rain began.
    pub(super) fn remind_rechecks(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let late = |task: &&mut Recheck| {
            task.overdue_at.is_none()
                && task.asked_at.is_some_and(|asked| now.since(asked) >= self.policy.verify.recheck_within)
        };
        let mut tasks: Vec<Recheck> = Vec::new();
        for task in self.people.rechecks.iter_mut().filter(late) {
            task.overdue_at = Some(now);
            tasks.push(task.clone());
        }
        while let Some(first) = tasks.first() {
            let zone = first.zone.clone();
            let (of_zone, rest) = tasks.into_iter().partition(|task| task.zone == zone);
            tasks = rest;
            effects.push(of(of_zone, Asking::Overdue, "recheck_overdue", now));
        }
    }

    /// A hand test at a post finishes what was asked for there.
    pub(super) fn finish_recheck(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let name = self.owners[slot].name();
        let asked = |task: &Recheck| {
            self.name_of_task(task) == name && task.asked_at.is_some_and(|asked| asked <= now)
        };
        let Some(place) = self.people.rechecks.iter().position(asked) else { return };
        let mut task = self.people.rechecks.remove(place);
        task.done_at = Some(now);
        effects.push(of(vec![task], Asking::Quiet, "recheck_done", now));
    }
}

fn of(tasks: Vec<Recheck>, asking: Asking, kind: &'static str, now: Timestamp) -> Effect {
    let (zone, at) = tasks.first().map_or((Arc::from(""), now), |task| (task.zone.clone(), now));
    let posts: Vec<&str> = tasks.iter().map(|task| &*task.post).collect();
    let incidents: Vec<&str> = tasks.iter().map(|task| &*task.incident).collect();
    let event = Event {
        key: format!("recheck:{kind}:{}:{}", incidents.join("+"), at.0),
        incident: Arc::from(""),
        at,
        kind,
        body: json!({ "zone": zone, "posts": posts, "incidents": incidents }).to_string(),
    };
    Effect::Recheck { tasks, asking, event }
}
