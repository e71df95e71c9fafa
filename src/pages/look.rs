//! What every page knows of its reader: language, time, place in the site, and who it is.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use jiff::tz::TimeZone;
use lampguard_alerting::Incident;
use lampguard_alerting::safety::SafetyText;
use lampguard_model::{Register, Timestamp};
use maud::{Markup, html};

use super::words::{self, Lang, Text};
use crate::api::{CrewLink, Csrf};
use crate::serve::Instance;
use crate::tokens::{Identity, Role};

/// The reader of a page.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) lang: Lang,
    pub(crate) now: Timestamp,
    pub(crate) site: String,
    pub(crate) zone: TimeZone,
    /// Says whose an incident is that opened for a device nobody had registered.
    pub(crate) register: Arc<Register>,
    /// The office's own safety words.
    pub(crate) safety: Arc<SafetyText>,
    /// Nobody on pages that need no login.
    pub(crate) who: Option<Identity>,
    /// What every form of a session carries; none where none is needed.
    pub(crate) csrf: Option<Arc<str>>,
    /// The one incident of a crew link: its forms name it.
    pub(crate) incident: Option<Arc<str>>,
    /// Path and query of this page.
    pub(crate) here: String,
}

impl FromRequestParts<Arc<Instance>> for Look {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        instance: &Arc<Instance>,
    ) -> Result<Self, Self::Rejection> {
        let csrf = parts.extensions.get::<Csrf>().map(|csrf| csrf.0.clone());
        let incident = parts.extensions.get::<CrewLink>().map(|link| link.incident.clone());
        Ok(Self {
            who: parts.extensions.get::<Identity>().cloned(),
            csrf: csrf.filter(|csrf| !csrf.is_empty()),
            incident,
            ..Self::of(instance, &parts.uri, &parts.headers)
        })
    }
}

impl Look {
    pub(crate) fn of(instance: &Instance, uri: &Uri, headers: &HeaderMap) -> Self {
        let site = &instance.config.site;
        Self {
            lang: Lang::of(uri, headers, &site.language),
            now: (instance.clock)(),
            site: site.name.clone(),
            zone: TimeZone::get(&site.time_zone).unwrap_or(TimeZone::UTC),
            register: instance.register.get(),
            safety: instance.config.safety.clone(),
            who: None,
            csrf: None,
            incident: None,
            here: uri.path_and_query().map_or("/", |text| text.as_str()).to_owned(),
        }
    }

    pub(crate) fn say(&self, text: Text) -> &'static str {
        text.of(self.lang)
    }

    /// One of two texts that belong to one place alone.
    pub(crate) fn either<'t>(&self, zh: &'t str, en: &'t str) -> &'t str {
        if self.lang.is_chinese() { zh } else { en }
    }

    /// May do what the desk does.
    pub(crate) fn is_desk(&self) -> bool {
        self.who.as_ref().is_some_and(|who| matches!(who.role, Role::Duty | Role::Admin))
    }

    /// May move an incident: by its zone as the API sees it.
    pub(crate) fn moves(&self, incident: &Incident) -> bool {
        let moves = |who: &&Identity| matches!(who.role, Role::Duty | Role::Admin | Role::Crew);
        let zone = incident.zone_in(&self.register);
        self.who.as_ref().filter(moves).is_some_and(|who| who.acts_in(zone))
    }

    /// May send readings.
    pub(crate) fn reports(&self) -> bool {
        self.who.as_ref().is_some_and(|who| who.role != Role::Viewer)
    }

    pub(crate) fn sees_phones_of(&self, incident: &Incident) -> bool {
        let zone = incident.zone_in(&self.register);
        self.who.as_ref().is_some_and(|who| who.sees_phones_of(zone))
    }

    /// Local time: of today `20:30:00`, of another day `11-23 20:30`.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        let local = |at: Timestamp| {
            jiff::Timestamp::from_millisecond(at.0).ok().map(|at| at.to_zoned_datetime(self.zone.clone()))
        };
        match (local(at), local(self.now)) {
            (Some(at), Some(now)) if at.date() == now.date() => at.strftime("%H:%M:%S").to_string(),
            (Some(at), Some(now)) if at.year() == now.year() => at.strftime("%m-%d %H:%M").to_string(),
            (Some(at), _) => at.strftime("%Y-%m-%d %H:%M").to_string(),
            (None, _) => at.to_rfc3339(),
        }
    }

    /// The same of RFC 3339.
    pub(crate) fn time_of(&self, text: &str) -> String {
        Timestamp::from_rfc3339(text).map_or_else(|| text.to_owned(), |at| self.time(at))
    }

    /// A length of time in its largest two units.
    pub(crate) fn length(&self, seconds: i64) -> String {
        let seconds = seconds.max(0);
        let [s, m, h, d] =
            [words::SECONDS, words::MINUTES, words::HOURS, words::DAYS].map(|unit| self.say(unit));
        match seconds {
            0..60 => format!("{seconds} {s}"),
            60..3600 => format!("{} {m}", seconds / 60),
            3600..86_400 => format!("{} {h} {} {m}", seconds / 3600, seconds % 3600 / 60),
            _ => format!("{} {d} {} {h}", seconds / 86_400, seconds % 86_400 / 3600),
        }
    }

    /// How long ago.
    pub(crate) fn ago(&self, at: Timestamp) -> String {
        let length = self.length(self.now.since(at).as_seconds());
        let space = if self.lang.is_chinese() { "" } else { " " };
        format!("{length}{space}{}", self.say(words::AGO))
    }

    /// A moment as a machine and a person read it.
    pub(crate) fn moment(&self, at: Timestamp) -> Markup {
        html! { time datetime=(at.to_rfc3339()) { (self.time(at)) } }
    }

    /// This page in the other language.
    pub(crate) fn other_lang(&self) -> (Lang, String) {
        let other = if self.lang.is_chinese() { Lang::En } else { Lang::Zh };
        let (path, query) = self.here.split_once('?').unwrap_or((&self.here, ""));
        let rest = query.split('&').filter(|pair| {
            !pair.is_empty() && !["lang=", "done="].iter().any(|start| pair.starts_with(start))
        });
        let pairs: Vec<String> =
            rest.map(ToOwned::to_owned).chain([format!("lang={}", other.word())]).collect();
        (other, format!("{path}?{}", pairs.join("&")))
    }
}

/// `mm:ss`; longer than 99 min as `h:mm:ss`.
pub(crate) fn clock_of(seconds: i64) -> String {
    let s = seconds.unsigned_abs();
    if s < 6000 {
        format!("{:02}:{:02}", s / 60, s % 60)
    } else {
        format!("{}:{:02}:{:02}", s / 3600, s % 3600 / 60, s % 60)
    }
}

#[cfg(test)]
pub(crate) fn test_look(lang: Lang, role: Option<Role>) -> Look {
    Look {
        lang,
        now: Timestamp(1_795_435_200_000),
        site: "城市照明".to_owned(),
        zone: TimeZone::get("Asia/Shanghai").unwrap(),
        register: Arc::default(),
        safety: Arc::default(),
        who: role.map(|role| Identity {
            role,
            name: "someone".to_owned(),
            zone: (role == Role::Crew).then(|| "z1".to_owned()),
            by: crate::tokens::By::Token,
        }),
        csrf: None,
        incident: None,
        here: "/?zone=z1".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_minutes_and_seconds_and_long_times_have_hours() {
        assert_eq!(clock_of(1800), "30:00");
        assert_eq!(clock_of(-75), "01:15");
        assert_eq!(clock_of(86_400), "24:00:00");
    }

    #[test]
    fn times_are_those_of_the_office_whatever_the_browser_says() {
        let look = test_look(Lang::Zh, None);
        assert_eq!(look.time(Timestamp(1_795_435_200_000)), "20:00:00");
        assert_eq!(look.time(Timestamp(1_795_435_200_000 - 86_400_000)), "11-22 20:00");
        assert_eq!(look.ago(Timestamp(1_795_435_200_000 - 120_000)), "2 分前");
        assert_eq!(test_look(Lang::En, None).length(90_000), "1 d 1 h");
    }

    #[test]
    fn page_w11_the_way_to_the_other_language_keeps_the_filter() {
        let mut look = test_look(Lang::Zh, None);
        look.here = "/?zone=z1&lang=zh&done=help".to_owned();
        assert_eq!(look.other_lang(), (Lang::En, "/?zone=z1&lang=en".to_owned()));
    }
}
