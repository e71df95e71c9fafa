//! A fault that came with rain is looked at again in the next rain (`policy.md` 4): the task `recheck: next_wet`
//! of a post. It holds up no closing.

use std::sync::Arc;

use lampguard_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Effect, Engine};
use crate::incident::{Event, Incident};
use crate::life::Stage;
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
        if let Some(post) = self.register.by_post(&recheck.post) {
            recheck.zone = post.zone.clone();
        }
        self.people.rechecks.push(recheck);
    }

    /// A closed incident leaves a task behind, when its fault came with rain.
    pub(super) fn leave_recheck(&mut self, incident: &Incident, now: Timestamp, effects: &mut Vec<Effect>) {
        let life = &incident.life;
        let real = life.repaired.as_ref().is_some_and(|repair| repair.cause != "false");
        let rain = incident.evidence.wet && life.state == Stage::Closed && real && !life.drill;
        if !rain || incident.post_id.is_empty() {
            return;
        }
        self.people.rechecks.retain(|known| known.post != incident.post_id);
        let recheck = Recheck {
            post: incident.post_id.clone(),
            zone: incident.zone.clone(),
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
        let low = |post: &str| {
            let slot = self.places.get(post).map(|place| &self.slots[*place as usize]);
            slot.is_some_and(|slot| slot.is(Fact::LowLying))
        };
        let is_due = |task: &Recheck| {
            task.zone == name
                && task.asked_at.is_none()
                && now > task.since
                && wetter[usize::from(low(&task.post))]
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

    /// Another register holds: a task lies in the zone of its post.
    pub(super) fn move_rechecks(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for task in &mut self.people.rechecks {
            let zone = self.register.by_post(&task.post).map(|post| &post.zone);
            if let Some(zone) = zone.filter(|zone| **zone != task.zone) {
                task.zone = zone.clone();
                effects.push(of(vec![task.clone()], Asking::Quiet, "recheck_moved", now));
            }
        }
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
        let asked = |task: &Recheck| task.post == *name && task.asked_at.is_some_and(|asked| asked <= now);
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
