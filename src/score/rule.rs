//! The rule: which telling finds which hazard, and which P1 had no reason. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use lampguard_model::{Millis, Timestamp};

use super::facts::{Class, EARLY, Exposure, Family, Hazard, Message, Told};
use super::figures::{Arrivals, Group, Messages, P1s, Scores, arrivals, messages};
use super::reporting::Reporting;

/// How a hazard fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Told in time.
    Found,
    /// Told after the window, while the hazard lasted.
    Late,
    /// Not told, or too early, or voided.
    Missed,
}

impl Verdict {
    /// The word in tables and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Late => "late",
            Self::Missed => "missed",
        }
    }
}

/// One hazard that had to be found, and how it fared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Graded {
    /// The hazard.
    pub(crate) hazard: Hazard,
    /// How it fared.
    pub(crate) verdict: Verdict,
    /// Moment at which it became dangerous.
    pub(crate) dangerous_at: Timestamp,
    /// Incident that found it, or found it late.
    pub(crate) incident: Option<String>,
    /// When people were told of that incident.
    pub(crate) told_at: Option<Timestamp>,
    /// Missed all the same: people were told before the window opened.
    pub(crate) early_at: Option<Timestamp>,
    /// Missed all the same: people were told in time, and the incident was voided.
    pub(crate) voided_at: Option<Timestamp>,
}

impl Graded {
    /// From dangerous to told; negative when people knew before.
    pub(crate) fn delay(&self) -> Option<Millis> {
        self.told_at.map(|told| told.since(self.dangerous_at))
    }
}

/// What truth says of a P1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ground {
    /// Nothing was there; of a patrol: its sensors were reporting.
    Nothing,
    /// Of a patrol: there was no data.
    NoData,
    /// Something marginal was there.
    Marginal,
    /// A hazard was there.
    Hazard,
}

impl Ground {
    /// The word in tables and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "false",
            Self::NoData => "no_data",
            Self::Marginal => "marginal",
            Self::Hazard => "hazard",
        }
    }
}

/// One P1 told for one post (or feeder, or place).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    /// Incident.
    pub(crate) incident: String,
    /// Its kind.
    pub(crate) kind: String,
    /// Post, feeder or place.
    pub(crate) spot: String,
    /// When people were told.
    pub(crate) at: Timestamp,
    /// What truth says.
    pub(crate) ground: Ground,
}

/// Compares what was true with what people were told.
///
/// `messages` is `None` when it is not known who got which message, `exposure` when it is not known how much
/// was watched; what follows from them is then `None` too. Without `reporting` no patrol is judged.
pub(crate) fn score(
    hazards: &[Hazard],
    told: &[Told],
    sent: Option<&[Message]>,
    exposure: Option<Exposure>,
    reporting: Option<&Reporting>,
) -> Scores {
    let index = Index::new(told, reporting);
    let graded: Vec<Graded> = hazards.iter().filter_map(|hazard| grade(hazard, &index)).collect();
    let alarms = judge_alarms(hazards, told, reporting);
    let marginal = hazards.iter().filter(|hazard| hazard.class == Class::Marginal).count();
    let arrivals: Option<Arrivals> = arrivals(told, &graded);
    let messages: Option<Messages> = sent.map(messages);
    Scores {
        simulated: false,
        all: Group::of(graded.iter()),
        observable: Group::of(graded.iter().filter(|graded| graded.hazard.observable)),
        unobservable: Group::of(graded.iter().filter(|graded| !graded.hazard.observable)),
        truths: hazards.len(),
        marginal,
        never_dangerous: hazards.len() - marginal - graded.len(),
        p1: P1s::of(told, &alarms, exposure),
        exposure,
        messages,
        arrivals,
        graded,
        alarms,
    }
}

/// Tellings of a P1, by what they name.
struct Index<'t> {
    by_post: HashMap<&'t str, Vec<&'t Told>>,
    by_feeder: HashMap<&'t str, Vec<&'t Told>>,
    by_place: HashMap<&'t str, Vec<&'t Told>>,
    reporting: Option<&'t Reporting>,
}

impl<'t> Index<'t> {
    fn new(told: &'t [Told], reporting: Option<&'t Reporting>) -> Self {
        let (by_post, by_feeder, by_place) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut index = Self { by_post, by_feeder, by_place, reporting };
        for told in told.iter().filter(|told| told.p1_told_at().is_some()) {
            for post in &told.posts {
                index.by_post.entry(post).or_default().push(told);
            }
            if let Some(feeder) = &told.feeder {
                index.by_feeder.entry(feeder).or_default().push(told);
            }
            if let Some(place) = &told.place {
                index.by_place.entry(place).or_default().push(told);
            }
        }
        index
    }

    /// Every telling that may find this hazard, whenever it was.
    fn for_hazard<'a>(&'a self, hazard: &'a Hazard) -> impl Iterator<Item = &'t Told> + 'a {
        let named = hazard.spot.post.as_deref().and_then(|post| self.by_post.get(post));
        let named = named.into_iter().flatten().filter(|told| match told.family {
            Family::Electric => true,
            Family::Neutral => hazard.is_neutral(),
            Family::Blind => self.patrols(told, hazard),
            Family::FeederLeak | Family::Other => false,
        });
        // An incident of the feeder itself finds what hangs on the whole feeder; one of a post on it does not.
        let whole = hazard.spot.post.is_none();
        let feeder = hazard.spot.feeder.as_deref().and_then(|feeder| self.by_feeder.get(feeder));
        let feeder = feeder.into_iter().flatten().filter(move |told| match told.family {
            Family::Electric => whole && told.posts.is_empty(),
            Family::Neutral => hazard.is_neutral(),
            Family::Blind => whole && self.patrols(told, hazard),
            Family::FeederLeak | Family::Other => false,
        });
        let place = hazard.spot.place.as_deref().and_then(|place| self.by_place.get(place));
        let place = place.into_iter().flatten().filter(|told| told.family == Family::Electric);
        named.chain(feeder).chain(place).copied()
    }

    /// A patrol finds what shows for want of data alone: there was none when people were sent, nor when they could
    /// meet the danger. Where that is not known it is believed; the patrol is counted as not judged.
    fn patrols(&self, told: &Told, hazard: &Hazard) -> bool {
        let Some(at) = told.p1_told_at() else { return false };
        let meets = hazard.dangerous_at.map_or(at, |danger| danger.max(at));
        hazard.is_blind() && [at, meets].iter().all(|at| was_dark(told, self.reporting, *at) != Some(false))
    }
}

/// Whether there was no data where a patrol was sent; `None` when that cannot be said.
fn was_dark(told: &Told, reporting: Option<&Reporting>, at: Timestamp) -> Option<bool> {
    reporting?.was_dark(told.feeder.as_deref(), told.zone.as_deref(), at)
}

/// How a hazard fared; `None` when it need not be found.
fn grade(hazard: &Hazard, index: &Index<'_>) -> Option<Graded> {
    let (opens, closes) = hazard.window()?;
    let dangerous_at = hazard.dangerous_at?;
    let before_its_end = |at: Timestamp| hazard.ends_at.is_none_or(|end| at < end);
    let (mut best, mut early_at, mut voided_at) = (None::<(Timestamp, &Told)>, None, None);
    for told in index.for_hazard(hazard) {
        let Some(at) = told.p1_told_at() else { continue };
        if at < opens {
            if at >= hazard.starts_at - EARLY && !told.voided {
                early_at = earliest(early_at, at);
            }
        } else if at <= closes || before_its_end(at) {
            if told.voided {
                voided_at = earliest(voided_at, at);
            } else if best.is_none_or(|(known, _)| at < known) {
                best = Some((at, told));
            }
        }
    }
    let verdict = match best {
        Some((at, _)) if at <= closes => Verdict::Found,
        Some(_) => Verdict::Late,
        None => Verdict::Missed,
    };
    let missed = verdict == Verdict::Missed;
    Some(Graded {
        hazard: hazard.clone(),
        verdict,
        dangerous_at,
        incident: best.map(|(_, told)| told.id.clone()),
        told_at: best.map(|(at, _)| at),
        early_at: early_at.filter(|_| missed),
        voided_at: voided_at.filter(|_| missed),
    })
}

fn earliest(known: Option<Timestamp>, at: Timestamp) -> Option<Timestamp> {
    Some(known.map_or(at, |known| known.min(at)))
}

/// Every P1 that claims a current, once for each post it names, with what truth says of it, and every patrol that can
/// be judged; by time.
fn judge_alarms(hazards: &[Hazard], told: &[Told], reporting: Option<&Reporting>) -> Vec<Alarm> {
    let mut by_spot: HashMap<&str, Vec<&Hazard>> = HashMap::new();
    let mut by_feeder: HashMap<&str, Vec<&Hazard>> = HashMap::new();
    for hazard in hazards {
        for name in [&hazard.spot.post, &hazard.spot.place].into_iter().flatten() {
            by_spot.entry(name).or_default().push(hazard);
        }
        if let Some(feeder) = &hazard.spot.feeder {
            by_feeder.entry(feeder).or_default().push(hazard);
        }
    }
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    let mut alarms = Vec::new();
    let mut tellings: Vec<(Timestamp, &Told)> =
        told.iter().filter_map(|told| Some((told.p1_told_at()?, told))).collect();
    tellings.sort_by_key(|(at, _)| *at);
    for (at, told) in tellings {
        let alarm = |spot: &str, ground| Alarm {
            incident: told.id.clone(),
            kind: told.kind.clone(),
            spot: spot.to_owned(),
            at,
            ground,
        };
        if told.family == Family::Blind {
            // People are sent along a feeder once, however many posts the list names.
            let spot = told.feeder.as_deref().or(told.zone.as_deref()).unwrap_or("?");
            if let Some(dark) = was_dark(told, reporting, at).filter(|_| seen.insert((&told.id, spot))) {
                alarms.push(alarm(spot, if dark { Ground::NoData } else { Ground::Nothing }));
            }
        }
        if !told.family.claims_current() {
            continue;
        }
        let on_feeder = told.feeder.as_deref().and_then(|feeder| by_feeder.get(feeder));
        // A truth of the whole feeder is a reason for a P1 on any of its posts, and a broken neutral on it for
        // every post that a P1 of the neutral names. A P1 of the feeder itself points at whatever is on it. A
        // leaking joint is at no post: it is a reason for the P1 of the cabinet alone.
        let on_feeder = on_feeder.into_iter().flatten().filter(|hazard| {
            if hazard.is_joint() {
                return told.family == Family::FeederLeak;
            }
            hazard.spot.post.is_none()
                || told.posts.is_empty()
                || told.family == Family::Neutral && hazard.is_neutral()
        });
        let whole = reason(on_feeder.copied(), at);
        for spot in spots(told) {
            if !seen.insert((&told.id, spot)) {
                continue;
            }
            let own = by_spot.get(spot).into_iter().flatten().copied();
            alarms.push(alarm(spot, reason(own, at).max(whole)));
        }
    }
    alarms.sort_by(|a, b| (a.at, &a.incident, &a.spot).cmp(&(b.at, &b.incident, &b.spot)));
    alarms
}

/// What an incident is about: its posts, else its place, else its feeder.
fn spots(told: &Told) -> BTreeSet<&str> {
    if !told.posts.is_empty() {
        return told.posts.iter().map(String::as_str).collect();
    }
    let name = told.place.as_deref().or(told.feeder.as_deref()).unwrap_or("?");
    BTreeSet::from([name])
}

fn reason<'h>(hazards: impl Iterator<Item = &'h Hazard>, at: Timestamp) -> Ground {
    let there = hazards.filter(|hazard| hazard.covers(at)).map(|hazard| match hazard.class {
        Class::Dangerous => Ground::Hazard,
        Class::Marginal => Ground::Marginal,
    });
    there.max().unwrap_or(Ground::Nothing)
}
