//! A move of a person as a line of a recording: `record` writes it, `backtest` makes it again.

use std::sync::Arc;

use lampguard_alerting::life::{Actor, Move, MoveBody, Verb};
use lampguard_alerting::{Incident, IncidentView, Kind};
use lampguard_model::{Millis, Timestamp};
use serde_json::{Map, Value, json};

/// Other rules or another policy open the same danger earlier or later, hardly by more.
const OPENED_NEAR: Millis = Millis::hours(1);

/// A move, and what says on which incident it was made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MoveLine {
    /// The incident's id where it was made; the same readings give the same one.
    incident: Option<String>,
    post_id: Option<String>,
    feeder: Option<String>,
    kind: Option<String>,
    opened_at: Option<Timestamp>,
    /// What was done.
    pub(crate) m: Move,
}

/// The line that `record` writes of a move that was made.
pub(crate) fn line(received_at: Timestamp, m: &Move, now: &IncidentView) -> Value {
    let mut said = json!(m.body);
    said["move"] = json!(m.verb.name());
    said["by"] = json!(m.actor.name);
    said["desk"] = json!(m.actor.desk);
    said["incident"] = json!(now.id);
    said["kind"] = json!(now.kind);
    said["opened_at"] = json!(now.opened_at);
    match &now.post_id {
        Some(post) => said["post_id"] = json!(post),
        None if !now.feeder.is_empty() => said["feeder"] = json!(now.feeder),
        None => {}
    }
    json!({ "received_at": received_at.0, "move": said })
}

impl MoveLine {
    /// Reads what stands under `move`.
    ///
    /// # Errors
    /// In one sentence, what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut said: Map<String, Value> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let mut text = |key: &str| match said.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("{key} is {other}, it must be a text")),
        };
        let verb = text("move")?.ok_or("it has no move")?;
        let verb = Verb::from_name(&verb).ok_or_else(|| format!("there is no move {verb:?}"))?;
        let (incident, post_id, feeder, kind) =
            (text("incident")?, text("post_id")?, text("feeder")?, text("kind")?);
        if incident.is_none() && post_id.is_none() && feeder.is_none() {
            return Err("it names no post_id, feeder or incident".to_owned());
        }
        let opened_at = match text("opened_at")? {
            None => None,
            Some(at) => {
                Some(Timestamp::from_rfc3339(&at).ok_or_else(|| format!("opened_at {at:?} is no RFC 3339"))?)
            }
        };
        // A recording of others may not say who did it: then it was the desk, which may do everything but go there; it
        // wrote down what a crew said.
        let by = text("by")?;
        let desk = said.remove("desk").and_then(|desk| desk.as_bool()).unwrap_or(by.is_none());
        let goes = matches!(verb, Verb::Depart | Verb::Arrive) && !said.contains_key("on_behalf_of");
        let desk = desk && !goes;
        let actor = Actor { name: by.unwrap_or_else(|| "recorded".to_owned()), desk };
        let body: MoveBody = serde_json::from_value(Value::Object(said)).map_err(|e| e.to_string())?;
        Ok(Self { incident, post_id, feeder, kind, opened_at, m: Move { verb, actor, body } })
    }

    /// The incident that it is about: by its id, else the newest one of that post or feeder whose family is that of
    /// the kind. Where it says when that one was opened, another that was opened at quite another time is not it: what
    /// began before the recording is not there.
    pub(super) fn find<'a>(&self, open: impl Iterator<Item = &'a Incident>) -> Option<Arc<str>> {
        let family = self.kind.as_deref().and_then(Kind::from_name).map(Kind::family);
        let mut newest: Option<&Incident> = None;
        for incident in open {
            if self.incident.as_deref() == Some(&*incident.id) {
                return Some(incident.id.clone());
            }
            let there = match (&self.post_id, &self.feeder) {
                (Some(post), _) => *incident.post_id == **post,
                (None, Some(feeder)) => incident.post_id.is_empty() && *incident.feeder == **feeder,
                (None, None) => false,
            };
            let near = |at: Timestamp| (incident.opened_at.since(at).0).abs() <= OPENED_NEAR.0;
            let there = there && self.opened_at.is_none_or(near);
            let newer = newest.is_none_or(|known| known.opened_at < incident.opened_at);
            if there && newer && family.is_none_or(|family| incident.family == family) {
                newest = Some(incident);
            }
        }
        newest.map(|incident| incident.id.clone())
    }

    /// The move and its place, for a message to people.
    pub(super) fn name(&self) -> String {
        let at = self.post_id.as_deref().or(self.feeder.as_deref()).or(self.incident.as_deref());
        format!("{} at {}", self.m.verb.name(), at.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<MoveLine, String> {
        MoveLine::parse(text.as_bytes())
    }

    #[test]
    fn a_move_that_nobody_can_make_says_why() {
        for (text, why) in [
            (r#"{"post_id":"P1"}"#, "no move"),
            (r#"{"post_id":"P1","move":"dance"}"#, "dance"),
            (r#"{"move":"arrive"}"#, "no post_id"),
            (r#"{"post_id":7,"move":"arrive"}"#, "post_id is 7"),
            (r#"{"post_id":"P1","move":"arrive","opened_at":"yesterday"}"#, "yesterday"),
            (r#"{"post_id":"P1","move":"arrive","colour":"red"}"#, "colour"),
        ] {
            let said = parsed(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn who_did_it_is_the_desk_where_a_recording_does_not_say() {
        let of = |text| parsed(text).unwrap().m.actor;
        assert_eq!(
            of(r#"{"post_id":"P1","move":"close"}"#),
            Actor { name: "recorded".to_owned(), desk: true }
        );
        assert!(!of(r#"{"post_id":"P1","move":"arrive"}"#).desk, "the desk goes nowhere");
        assert_eq!(
            of(r#"{"post_id":"P1","move":"arrive","by":"c"}"#),
            Actor { name: "c".to_owned(), desk: false }
        );
    }
}
