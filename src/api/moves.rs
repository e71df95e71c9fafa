//! What people do: moves on incidents, hazards they tell, planned work. The pages do it by the same functions.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use lampguard_alerting::life::{
    Actor, Channel, Move, MoveBody, Outcome, Place, Refused, Verb, What, is_crew_move,
};
use lampguard_alerting::{ActError, Acted, IncidentView, Job, JobRequest, JobScope, TellRequest};
use lampguard_model::{Post, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::looks::zone_of;
use super::{ApiError, Shared, page, time_of};
use crate::backtest::moves;
use crate::serve::{Instance, Live};
use crate::tokens::{Identity, Role};

type Reply = Result<Response, ApiError>;

impl From<ActError> for ApiError {
    fn from(e: ActError) -> Self {
        let message = e.to_string();
        let ActError::Refused(refused) = e else {
            return Self::unavailable(message);
        };
        let (status, code) = match &refused {
            Refused::State { .. } => (StatusCode::CONFLICT, "illegal_move"),
            Refused::Person { .. } => (StatusCode::FORBIDDEN, "forbidden"),
            Refused::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
            Refused::Body { .. } | Refused::Wrong(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        };
        let state = match refused {
            Refused::State { state, .. } => Some(state.name()),
            _ => None,
        };
        Self { state, ..Self::new(status, code, message) }
    }
}

fn actor(who: &Identity) -> Actor {
    Actor { name: who.name.clone(), desk: matches!(who.role, Role::Duty | Role::Admin) }
}

pub(super) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|e| ApiError::bad(format!("the body: {e}")))
}

/// Runs what waits for the alerting thread and the disk beside the sockets.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ActError> + Send + 'static,
) -> Result<T, ApiError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(ApiError::unavailable)??)
}

/// The incident after what was done. `durable` stands there only while the disk takes nothing.
fn answer(acted: &Acted<IncidentView>, done: StatusCode) -> Response {
    let mut body = json!(acted.now);
    if !acted.durable {
        body["durable"] = json!(false);
    }
    match &acted.outcome {
        Outcome::Done => (done, Json(body)).into_response(),
        Outcome::Again => (StatusCode::OK, Json(body)).into_response(),
        Outcome::Second(id) => {
            let body = json!({ "pending_id": id, "incident": body });
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
    }
}

pub(super) async fn act(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    Path((id, verb)): Path<(String, String)>,
    body: Bytes,
) -> Reply {
    let verb =
        Verb::from_name(&verb).ok_or_else(|| ApiError::not_found(format!("there is no move {verb:?}")))?;
    let acted = make(&instance, &who, &id, verb, || parsed::<MoveBody>(&body)).await?;
    Ok(answer(&acted, StatusCode::OK))
}

/// Whether somebody may make this move on this incident.
async fn may(instance: &Arc<Instance>, who: &Identity, id: &str, verb: Verb) -> Result<(), ApiError> {
    let forbidden = |text: String| ApiError::new(StatusCode::FORBIDDEN, "forbidden", text);
    if who.role == Role::Crew && !is_crew_move(verb) {
        return Err(forbidden(format!("{} is a move of the desk", verb.name())));
    }
    let zone = zone_of(instance, id).await?;
    let zone = zone.ok_or_else(|| ApiError::not_found(format!("no incident {id:?} is known")))?;
    if !who.acts_in(&zone) {
        return Err(forbidden(format!("the incident is in zone {zone}, this account is for another one")));
    }
    Ok(())
}

/// Makes a move as somebody, if they may, whichever way they came by: JSON, a form of the desk, a crew's page. What they
/// sent is read behind that, so who may not hears nothing of what would be wrong with it.
pub(crate) async fn make(
    instance: &Arc<Instance>,
    who: &Identity,
    id: &str,
    verb: Verb,
    body: impl FnOnce() -> Result<MoveBody, ApiError>,
) -> Result<Acted<IncidentView>, ApiError> {
    may(instance, who, id, verb).await?;
    done(instance, who, id, verb, body()?).await
}

/// Makes it for somebody of whom it is known that they may; whoever follows the instance sees it.
async fn done(
    instance: &Arc<Instance>,
    who: &Identity,
    id: &str,
    verb: Verb,
    body: MoveBody,
) -> Result<Acted<IncidentView>, ApiError> {
    let m = Move { verb, actor: actor(who), body };
    let (received_at, made, its, id) = ((instance.clock)(), m.clone(), instance.clone(), id.to_owned());
    let acted = aside(move || its.alerting.act(&id, m)).await?;
    if instance.live.receiver_count() > 0 && acted.outcome != Outcome::Again {
        let line = moves::line(received_at, &made, &acted.now);
        // An error means that the last reader has just gone.
        let _ = instance.live.send(Live::Move(line.to_string().into()));
    }
    Ok(acted)
}

/// A hazard as it is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportBody {
    pub(crate) key: String,
    pub(crate) what: What,
    pub(crate) post_id: Option<String>,
    pub(crate) place: Option<Place>,
    pub(crate) caller: Option<String>,
    pub(crate) at: Option<Value>,
    #[serde(default)]
    pub(crate) channel: Channel,
    pub(crate) severity: Option<String>,
    #[serde(default)]
    pub(crate) drill: bool,
}

pub(super) async fn report(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    body: Bytes,
) -> Reply {
    Ok(answer(&tell(&instance, &who, parsed(&body)?).await?, StatusCode::CREATED))
}

/// Takes a hazard that a person told, by program or by page.
pub(crate) async fn tell(
    instance: &Arc<Instance>,
    who: &Identity,
    body: ReportBody,
) -> Result<Acted<IncidentView>, ApiError> {
    if instance.nodes.as_ref().is_some_and(|nodes| !nodes.owners.judges_here()) {
        let text = "this node judges nothing and tells nobody ([nodes]): report it to the owner of the zone";
        return Err(ApiError::new(StatusCode::CONFLICT, "not_judged_here", text));
    }
    let request = TellRequest {
        actor: actor(who),
        key: body.key,
        what: body.what,
        post_id: body.post_id,
        place: body.place,
        caller: body.caller,
        at: moment("at", body.at.as_ref())?,
        channel: body.channel,
        severity: body.severity,
        drill: body.drill,
        stored: None,
    };
    let instance = instance.clone();
    aside(move || instance.alerting.report(request)).await
}

/// Adds to a hazard what its teller said besides. Whoever may tell it may say all of it, in whatever zone it is.
pub(crate) async fn add(
    instance: &Arc<Instance>,
    who: &Identity,
    id: &str,
    key: &str,
    note: String,
) -> Result<(), ApiError> {
    let body = MoveBody { key: key.to_owned(), note: Some(note), ..MoveBody::default() };
    done(instance, who, id, Verb::Note, body).await.map(drop)
}

/// A time of a body: RFC 3339 with offset, or milliseconds UTC.
pub(super) fn moment(name: &str, value: Option<&Value>) -> Result<Option<Timestamp>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => time_of(name, Some(text)),
        Some(other) => time_of(name, Some(&other.to_string())),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobBody {
    key: String,
    scope: JobScope,
    crew: String,
    reason: String,
    until: Option<Value>,
}

pub(super) async fn maintain(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    body: Bytes,
) -> Reply {
    let body: JobBody = parsed(&body)?;
    let until = moment("until", body.until.as_ref())?;
    check_scope(&instance, &who, &body.scope)?;
    let (key, scope, crew, reason) = (body.key, body.scope, body.crew, body.reason);
    let request = JobRequest { actor: actor(&who), key, scope, crew, reason, until };
    let acted = aside(move || instance.alerting.maintain(request)).await?;
    let status = if acted.outcome == Outcome::Done { StatusCode::CREATED } else { StatusCode::OK };
    let mut body = job_json(&acted.now);
    if !acted.durable {
        body["durable"] = json!(false);
    }
    Ok((status, Json(body)).into_response())
}

/// Planned work silences calls: whoever has a zone announces it there alone. A hazard, though, the desk takes for
/// anywhere, whatever its zone: see [`report`].
fn check_scope(instance: &Instance, who: &Identity, scope: &JobScope) -> Result<(), ApiError> {
    let touches = |post: &Post| match scope {
        JobScope::PostId(id) => *post.post_id == **id,
        JobScope::Feeder(feeder) => *post.feeder == **feeder,
        JobScope::Road(road) => *post.road == **road,
    };
    let register = instance.register.get();
    let mut posts = register.posts().iter().filter(|post| touches(post));
    match posts.find(|post| !who.acts_in(&post.zone)) {
        None => Ok(()),
        Some(post) => {
            let text = format!("{} is in zone {}, this account is for another one", post.post_id, post.zone);
            Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", text))
        }
    }
}

pub(super) async fn jobs(State(instance): Shared) -> Json<Value> {
    page(instance.alerting.jobs().iter().map(job_json).collect(), None)
}

fn job_json(job: &Job) -> Value {
    json!({
        "id": job.id, "scope": job.scope, "crew": job.crew, "reason": job.reason, "by": job.by,
        "from": job.from.to_rfc3339(), "until": job.until.to_rfc3339(),
    })
}
