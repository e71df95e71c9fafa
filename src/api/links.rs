//! A crew's page for one incident, opened by a signed link without a login.
//!
//! Admission calls [`open`]; after it a handler finds [`CrewLink`] and an [`Identity`] of role crew, named by the crew,
//! in the extensions. A link opens its own incident and nothing else: no route but those below `/c/` looks at it.

use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use lampguard_alerting::Standing;
use lampguard_alerting::links::{AFTER_END, Claims, LinkError};
use lampguard_model::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::lang::Lang;
use super::page::Words;
use super::{ApiError, Shared};
use crate::accounts::crew_id;
use crate::serve::Instance;
use crate::tokens::{By, Identity, Role};

/// The link by which a request came. Its token is a secret: `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct CrewLink {
    /// The one incident.
    pub(crate) incident: Arc<str>,
    /// Id of the crew.
    pub(crate) crew: Arc<str>,
    /// Good until then, or until an hour after the incident is over.
    pub(crate) expires: Timestamp,
    token: Arc<str>,
}

impl fmt::Debug for CrewLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (incident, crew, expires) = (&self.incident, &self.crew, self.expires);
        write!(f, "CrewLink({incident} {crew} until {expires})")
    }
}

impl CrewLink {
    /// Where its page is; forms go to this and the name of the move.
    pub(crate) fn path(&self) -> String {
        format!("/c/{}", self.token)
    }
}

/// Whom a link stands for, and for what.
///
/// # Errors
/// [`LinkError`]: it opens nothing.
pub(super) fn open(instance: &Instance, token: &str) -> Result<(Identity, CrewLink), LinkError> {
    let now = (instance.clock)();
    let claims = instance.accounts.check_link(token, now)?;
    let standing = instance.alerting.standing(&claims.incident).map_err(|e| {
        tracing::error!(error = %e, "the incident of a crew link cannot be read");
        LinkError::Expired
    })?;
    let standing = still_good(standing, now)?;
    let Claims { incident, who, expires } = claims;
    let link = CrewLink { incident: incident.clone(), crew: who.clone(), expires, token: Arc::from(token) };
    let zone = Some(standing.zone.to_string());
    let who = Identity { role: Role::Crew, name: who.to_string(), zone, by: By::CrewLink(incident) };
    Ok((who, link))
}

/// A link is good until an hour after its incident is over.
fn still_good(standing: Option<Standing>, now: Timestamp) -> Result<Standing, LinkError> {
    let is_good = |standing: &Standing| standing.over_since.is_none_or(|over| now.since(over) < AFTER_END);
    standing.filter(is_good).ok_or(LinkError::Expired)
}

/// What somebody reads whose link opens nothing.
pub(crate) fn refuse(e: LinkError, site: &str, lang: Lang) -> Response {
    let (status, zh, en) = match e {
        LinkError::Expired => (
            StatusCode::GONE,
            "链接已过期，或险情已处置完毕。需要继续操作时，请致电值班台。",
            "This link has expired, or its incident is over. Call the duty desk if there is more to do.",
        ),
        LinkError::Revoked => (
            StatusCode::GONE,
            "链接已被值班台收回。请致电值班台。",
            "The duty desk has taken this link back. Call the duty desk.",
        ),
        LinkError::Changed => (
            StatusCode::FORBIDDEN,
            "链接不完整或无效。请从通知中重新打开，或致电值班台。",
            "This link is not whole, or none of ours. Open it from the notice again, or call the duty desk.",
        ),
        LinkError::OtherIncident => (
            StatusCode::FORBIDDEN,
            "此链接不属于这个险情，操作未执行。请从通知中重新打开。",
            "This link is for another incident: nothing was done. Open it from the notice again.",
        ),
    };
    let title = lang.pick("链接打不开", "This link opens nothing");
    Words { lang, site, title, text: lang.pick(zh, en), way: None }.answer(status)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeBody {
    incident_id: Option<String>,
    crew: Option<String>,
}

/// Takes back links that were sent: a phone was lost, a crew was sent elsewhere.
pub(super) async fn revoke(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let asked: RevokeBody =
        serde_json::from_slice(&body).map_err(|e| ApiError::bad(format!("the body: {e}")))?;
    if asked.incident_id.is_none() && asked.crew.is_none() {
        return Err(ApiError::bad("name incident_id, crew, or both"));
    }
    let incident = asked.incident_id;
    let zone = match incident.as_deref() {
        Some(id) => Some(zone_of(&instance, id).await?),
        None => None,
    };
    // A crew goes to incidents of every zone.
    if !zone.as_deref().map_or(who.zone.is_none(), |zone| who.acts_in(zone)) {
        let zone = who.zone.as_deref().unwrap_or_default();
        let text = format!(
            "this account takes back links of incidents in zone {zone} alone: name one as incident_id"
        );
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", text));
    }
    let crew = asked.crew.as_deref().map(|name| crew_of(&instance, name)).transpose()?;
    let (accounts, now) = (instance.accounts.clone(), (instance.clock)());
    let answer = json!({ "incident_id": incident, "crew": crew, "revoked_at": now.to_rfc3339() });
    let revoke = move || accounts.revoke_links(incident.as_deref(), crew.as_deref(), now);
    let done = tokio::task::spawn_blocking(revoke).await.map_err(ApiError::unavailable)?;
    done.map_err(|e| ApiError::unavailable(format!("{e:#}")))?;
    Ok(Json(answer))
}

/// Zone of an incident. To take back the links of one that nobody knows would take back nothing, and say it did.
async fn zone_of(instance: &Arc<Instance>, id: &str) -> Result<Arc<str>, ApiError> {
    let zone = super::looks::zone_of(instance, id).await?;
    zone.ok_or_else(|| unknown(format!("no incident {id:?} is known: nothing was taken back")))
}

/// Id of a crew, by id or name.
fn crew_of(instance: &Instance, named: &str) -> Result<String, ApiError> {
    let rota = instance.alerting.rota();
    let crews = rota.crews.values().map(|crew| (&*crew.id, crew.name.as_str()));
    crew_id(crews, named)
        .map(ToOwned::to_owned)
        .ok_or_else(|| unknown(format!("no crew has the id or name {named:?}: nothing was taken back")))
}

fn unknown(text: String) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", text)
}

#[cfg(test)]
mod tests {
    use lampguard_model::Millis;

    use super::*;

    #[test]
    fn a_link_is_good_until_an_hour_after_its_incident_is_over() {
        let now = Timestamp(1_795_435_200_000);
        let standing = |over_since| Some(Standing { zone: Arc::from("z1"), over_since });
        let good = |over_since| still_good(standing(over_since), now).is_ok();
        assert!(good(None) && good(Some(now)) && good(Some(now - AFTER_END + Millis(1))));
        assert!(!good(Some(now - AFTER_END)));
        assert_eq!(still_good(None, now), Err(LinkError::Expired), "an incident that nobody knows");
    }

    #[test]
    fn a_link_does_not_show_its_token_in_logs() {
        let (incident, crew) = (Arc::from("LG-A"), Arc::from("c1"));
        let link = CrewLink { incident, crew, expires: Timestamp(0), token: Arc::from("SECRET") };
        assert!(!format!("{link:?}").contains("SECRET") && link.path() == "/c/SECRET");
    }
}
