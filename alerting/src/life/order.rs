//! A move as people send it: who, when, with which words.

use lampguard_model::Timestamp;
use serde::{Deserialize, Serialize};

/// What somebody does to an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// I have it.
    Acknowledge,
    /// On the way.
    Depart,
    /// Here.
    Arrive,
    /// The desk called: they are there, or they are not.
    ConfirmArrival,
    /// Isolated, guarded or behind a barrier.
    MakeSafe,
    /// Power is given back.
    Restore,
    /// Repaired.
    Repair,
    /// Looked at by somebody else.
    Verify,
    /// Over.
    Close,
    /// Help, now.
    Help,
    /// Withdrawn.
    Void,
    /// Belongs to another owner.
    Return,
    /// Repaired later.
    Pending,
    /// Another crew.
    Reassign,
    /// The next shift has it.
    Accept,
    /// Words.
    Note,
    /// Not on the desk's list for a while.
    Shelve,
    /// Somebody is asked to open a breaker.
    RequestIsolation,
}

/// Every move, in the order of the table.
pub const VERBS: [Verb; 18] = [
    Verb::Acknowledge,
    Verb::Depart,
    Verb::Arrive,
    Verb::ConfirmArrival,
    Verb::MakeSafe,
    Verb::Restore,
    Verb::Repair,
    Verb::Verify,
    Verb::Close,
    Verb::Help,
    Verb::Void,
    Verb::Return,
    Verb::Pending,
    Verb::Reassign,
    Verb::Accept,
    Verb::Note,
    Verb::Shelve,
    Verb::RequestIsolation,
];

impl Verb {
    /// The word in routes and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Depart => "depart",
            Self::Arrive => "arrive",
            Self::ConfirmArrival => "confirm_arrival",
            Self::MakeSafe => "make_safe",
            Self::Restore => "restore",
            Self::Repair => "repair",
            Self::Verify => "verify",
            Self::Close => "close",
            Self::Help => "help",
            Self::Void => "void",
            Self::Return => "return",
            Self::Pending => "pending",
            Self::Reassign => "reassign",
            Self::Accept => "accept",
            Self::Note => "note",
            Self::Shelve => "shelve",
            Self::RequestIsolation => "request_isolation",
        }
    }

    /// The move of that word.
    pub fn from_name(name: &str) -> Option<Self> {
        VERBS.into_iter().find(|verb| verb.name() == name)
    }

    /// The event by which people are told of it; none: it stands in the timeline only.
    pub fn told_as(self) -> Option<&'static str> {
        match self {
            Self::Restore => Some("incident.restored"),
            Self::Return => Some("incident.returned"),
            Self::Pending => Some("incident.pending"),
            Self::Reassign => Some("incident.reassigned"),
            Self::Accept => Some("incident.accepted"),
            Self::RequestIsolation => Some("incident.isolation_requested"),
            Self::Acknowledge => Some("incident.acknowledged"),
            Self::Depart => Some("incident.departed"),
            Self::Arrive => Some("incident.arrived"),
            Self::MakeSafe => Some("incident.made_safe"),
            Self::Repair => Some("incident.repaired"),
            Self::Verify => Some("incident.verified"),
            Self::Close => Some("incident.closed"),
            Self::Void => Some("incident.voided"),
            Self::Help => Some("incident.help"),
            Self::ConfirmArrival | Self::Note | Self::Shelve => None,
        }
    }
}

/// The moves of a crew (`design.md` 7).
pub fn is_crew_move(verb: Verb) -> bool {
    use Verb::{Accept, Acknowledge, Arrive, Depart, Help, MakeSafe, Note, Repair, Restore, Return, Verify};
    matches!(
        verb,
        Acknowledge | Depart | Arrive | MakeSafe | Repair | Restore | Help | Note | Return | Accept | Verify
    )
}

/// The desk makes these for a crew alone and names it: they would stop rungs, or end a change of shift.
pub fn is_said_for_a_crew(verb: Verb) -> bool {
    matches!(verb, Verb::Depart | Verb::Arrive | Verb::Accept)
}

/// Only a crew can say so, or one of its people: nobody else drives there.
pub fn is_crews_word(verb: Verb) -> bool {
    verb == Verb::Acknowledge || is_said_for_a_crew(verb)
}

/// How it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// By page or program.
    #[default]
    Web,
    /// On the phone, written down by the desk.
    Phone,
    /// By radio, written down by the desk.
    Radio,
    /// By message, written down by the desk.
    Sms,
}

/// How a place was made safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A breaker is open.
    Isolated,
    /// Somebody stands there.
    Guarded,
    /// A barrier stands there.
    Barrier,
}

/// How far an isolation reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// That post.
    Post,
    /// Everything on its feeder.
    Feeder,
}

/// Where a phone is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Longitude, WGS-84 degrees.
    pub lon: f64,
    /// Latitude, WGS-84 degrees.
    pub lat: f64,
    /// How sure the phone is, metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_m: Option<f64>,
}

/// A reading written into a move.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HandReading {
    /// Leakage, mA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leakage_ma: Option<f64>,
    /// Shell voltage, V.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell_v: Option<f64>,
    /// Band that a test pen shows, V.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pen_band_v: Option<f64>,
    /// `ok`, `suspect`, `live`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// `on`, `off`, `unknown`: only `on` counts as powered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supply: Option<String>,
}

/// The body of a move (`design.md` 7). Each move uses its part; the rest stays in the timeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MoveBody {
    /// Makes a repeat known: per incident, move and actor.
    pub key: String,
    /// When it happened, by the sender's word.
    #[serde(with = "when", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The phone's clock when it sent this.
    #[serde(with = "when", skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who really did it; only the desk may say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// How it was told.
    pub channel: Channel,
    /// Where the phone is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// What the QR code at the post says, or the number typed from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
    /// How it was made safe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Which breaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<String>,
    /// How far the isolation reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extent: Option<Extent>,
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<String>,
    /// Measured by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reading: Option<HandReading>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Until when.
    #[serde(with = "when", skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Other owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How the other owner is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// When the other owner is asked again.
    #[serde(with = "when", skip_serializing_if = "Option::is_none")]
    pub follow_up_at: Option<Timestamp>,
    /// When a pending incident is looked at again.
    #[serde(with = "when", skip_serializing_if = "Option::is_none")]
    pub review_at: Option<Timestamp>,
    /// Another crew; whom to ask for an isolation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// `pending_id` of the first of two people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
    /// With a note: the crew is clear of the isolated extent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub clear: bool,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Name of the account: two tokens of one name are one person.
    pub name: String,
    /// The desk: may act for others and override.
    pub desk: bool,
}

/// One move.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// Which.
    pub verb: Verb,
    /// By whom.
    pub actor: Actor,
    /// With which words.
    pub body: MoveBody,
}

impl Move {
    /// Who really did it.
    pub fn by(&self) -> &str {
        self.body.on_behalf_of.as_deref().unwrap_or(&self.actor.name)
    }

    /// The desk does it, and not for somebody else.
    pub fn is_desks_own(&self) -> bool {
        self.actor.desk && self.body.on_behalf_of.is_none()
    }

    /// What makes a repeat known.
    pub fn once(&self) -> String {
        format!("{}|{}|{}", self.verb.name(), self.actor.name, self.body.key)
    }
}

/// Times of bodies: RFC 3339 with offset, or milliseconds UTC; written as RFC 3339.
mod when {
    use lampguard_model::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
    }

    pub(super) fn serialize<S: Serializer>(at: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => out.serialize_str(&at.to_rfc3339()),
            None => out.serialize_none(),
        }
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        let unreadable = |text: &str| {
            de::Error::custom(format!("{text:?} is not RFC 3339 with offset, nor milliseconds UTC"))
        };
        match Option::<Either>::deserialize(from)? {
            None => Ok(None),
            Some(Either::Number(at)) => Ok(Some(Timestamp(at))),
            Some(Either::Text(text)) => {
                Timestamp::from_rfc3339(&text).map(Some).ok_or_else(|| unreadable(&text))
            }
        }
    }
}
