//! Readings become incidents, and people are told.
//!
//! | file | what it holds |
//! |---|---|
//! | [`run`] | **the story**: readings in, incidents out; the one owner of clock and threads |
//! | [`ask`], [`desk`] | what can be asked while it runs; what the duty pages ask |
//! | [`engine`] | the rules: `step(now, input) → effects`, pure |
//! | [`confirm`] | when samples are believed |
//! | `explain_text` | why a post did or did not raise, in words |
//! | [`wet`] | wet or dry |
//! | [`lighting`] | when lamps are due, and how many burn |
//! | [`policy`] | the numbers of `policy.md` |
//! | [`kind`] | what can be raised: kinds, families, severities, scopes |
//! | [`incident`] | an incident, its id, how it is shown |
//! | [`life`] | what people do to an incident: every state and move, pure |
//! | [`ladder`] | who is told next when nobody comes, pure |
//! | [`dispatcher`] | from an effect to messages: whom, by which channels, in which list; pure |
//! | [`rota`] | who is on duty: shifts, changes, gaps, pure |
//! | [`store`] | SQLite: incident, event (hash-chained), outbox, one transaction |
//! | [`writer`] | the store's one writer: keeps what the disk does not take |
//! | [`links`] | signed links that crews open without signing in, pure |
//! | [`notice`], [`notice_text`], `notice_words.rs` | what people are told: JSON, text, SMS, voice |
//! | [`safety`] | the office's own safety words, pure |
//! | [`notify`] | channels of every kind, each with its own thread, queue, rate and retries |
//! | [`test_dispatch`] | the test of each shift: who is asked to confirm, and who has not |
//! | [`proof`] | known leaks of our own: what the rules make of them |
//! | [`report`] | the month of the head of the office, and the report of a shift |
//! | [`metrics`] | what Prometheus sees |
//!
//! Invariants:
//! 1. Rules see time only as an argument; a replay gives the same incidents under the same ids.
//! 2. `due_at` is written when an incident opens; it becomes earlier when a P2 becomes a P1, never later.
//! 3. Telling waits for the commit at most 150 ms; nothing else on the alarm path touches a disk or a socket.
//! 4. Signal normal closes nothing. Silence closes nothing. Only people close, and never the repairer alone.
//! 5. An event row is never changed or removed; each carries the hash of the one before.

pub mod ask;
mod board;
pub mod confirm;
pub mod desk;
pub mod dispatcher;
pub mod engine;
mod explain_text;
pub mod incident;
pub mod kind;
pub mod ladder;
pub mod life;
pub mod lighting;
pub mod links;
pub mod metrics;
pub mod notice;
pub mod notice_text;
mod notice_words;
pub mod notify;
mod pending;
mod period;
pub mod policy;
pub mod proof;
pub mod report;
pub mod rota;
pub mod run;
pub mod safety;
mod sample;
mod slot;
pub mod store;
pub mod test_dispatch;
#[cfg(test)]
mod testkit;
pub mod totals;
pub mod wet;
pub mod writer;

pub use ask::{Filter, Page, Standing, StateFilter, stored_changes, stored_cursor, stores_incident};
pub use dispatcher::{Dispatcher, Route, Scene};
pub use engine::{
    Effect, Ended, Engine, Explanation, Input, Job, JobRequest, JobScope, MoveRequest, PostState, State,
    TellRequest,
};
pub use explain_text::Teller;
pub use incident::{Family, Incident, IncidentView, Kind, Scope, Severity, Signal};
pub use ladder::{EscalationConfig, LadderFault, Ladders, Telling, WeakLadder};
pub use links::Links;
pub use metrics::Metrics;
pub use notice::SiteText;
pub use notify::{Channel, ChannelKind, HiddenUrl, Secret, Web};
pub use policy::{InForce, Policies, Policy};
pub use proof::{OnProof, ProofSetup, Reached};
pub use rota::{Crew, Gap, OnDuty, Person, Rota, Whom, ZoneDuty};
pub use run::{
    ActError, Acted, Alerting, AlertingError, Confirm, GAP_DAYS, Reload, RotaError, RotaRequest, SINK, Setup,
    TestSetup,
};
pub use store::{Audit, AuditError, NoticeFilter, NoticeView, verify_file};
pub use totals::{EndedSince, Handling, OfCrew, Totals};
