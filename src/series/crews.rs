//! Crews: what each has to do in each zone, and what it did.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lampguard_alerting::ladder::crew_named;
use lampguard_alerting::life::Stage;
use lampguard_alerting::{Incident, OfCrew, Rota, Totals};
use lampguard_ingester::tsdb::{Points, whole};
use lampguard_model::Timestamp;
use lampguard_model::series::CREW;

use crate::serve::Instance;

/// A crew and a zone.
type Pair = (Arc<str>, Arc<str>);
type Value = (&'static str, Option<i64>);

/// Open incidents that a crew has in a zone, by how far they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Jobs {
    not_departed: u64,
    departed: u64,
    arrived: u64,
    made_safe: u64,
}

impl Jobs {
    /// Another owner's and what was put off is nobody's work of now.
    fn place(&mut self, stage: Stage) -> Option<&mut u64> {
        match stage {
            // One that was given to another crew is open until that one says that it has it.
            Stage::Open | Stage::Acknowledged => Some(&mut self.not_departed),
            Stage::Departed => Some(&mut self.departed),
            Stage::Arrived => Some(&mut self.arrived),
            Stage::MadeSafe | Stage::Repaired | Stage::Verifying => Some(&mut self.made_safe),
            Stage::Closed | Stage::Void | Stage::Returned | Stage::Pending | Stage::Merged => None,
        }
    }
}

/// Who has what, gathered at one look over everything that is open.
pub(super) struct Tally {
    rota: Arc<Rota>,
    now: Timestamp,
    jobs: BTreeMap<Pair, Jobs>,
    /// Crews by the names that incidents have them by: there are few names, and many incidents in a flood.
    named: HashMap<String, Option<Arc<str>>>,
    /// Crews on duty by zone that name nobody: whoever acts there is of them.
    nameless: HashMap<Arc<str>, Option<Arc<str>>>,
}

impl Tally {
    pub(super) fn new(rota: Arc<Rota>, now: Timestamp) -> Self {
        Self { rota, now, jobs: BTreeMap::new(), named: HashMap::new(), nameless: HashMap::new() }
    }

    pub(super) fn add(&mut self, incident: &Incident, zone: &Arc<str>) {
        let life = &incident.life;
        let Some(name) = life.crew.as_deref().filter(|_| !life.drill && !zone.is_empty()) else { return };
        let mut jobs = Jobs::default();
        if jobs.place(life.state).is_none() {
            return;
        }
        if let Some(crew) = self.crew_of(name, zone)
            && let Some(count) = self.jobs.entry((crew, zone.clone())).or_default().place(life.state)
        {
            *count += 1;
        }
    }

    /// As the reports have it: by id, name or one of its people; else the crew on duty in the zone, where that names nobody.
    fn crew_of(&mut self, name: &str, zone: &Arc<str>) -> Option<Arc<str>> {
        let (rota, now) = (&self.rota, self.now);
        if !self.named.contains_key(name) {
            let crew = crew_named(rota, name).map(|crew| crew.id.clone());
            self.named.insert(name.to_owned(), crew);
        }
        let named = self.named.get(name).cloned().flatten();
        let nameless = || {
            let crew = rota.on_duty_now(zone, now).crew.filter(|crew| crew.members.is_empty());
            crew.map(|crew| crew.id.clone())
        };
        named.or_else(|| self.nameless.entry(zone.clone()).or_insert_with(nameless).clone())
    }
}

/// Crews that belong to a zone at `now`: by the configuration, and by the rota.
fn of_zone(rota: &Rota, zone: &Arc<str>, now: Timestamp) -> Vec<Arc<str>> {
    let own = rota.zones.get(zone);
    let named = own.into_iter().flat_map(|zone| [Some(zone.crew.clone()), zone.backup_crew.clone()]);
    let on_duty = rota.on_duty_now(zone, now).crew.map(|crew| crew.id.clone());
    named.flatten().chain(on_duty).collect()
}

/// What is remembered between two looks: which rows the last one wrote.
#[derive(Default)]
pub(super) struct Known(BTreeSet<Pair>);

/// Writes every crew of the zones that are `own`, and every other that has something there or did.
pub(super) fn look(
    instance: &Instance,
    node: &str,
    own: &BTreeSet<Arc<str>>,
    tally: &Tally,
    known: &mut Known,
    points: &mut Points,
) {
    let (rota, now) = (&tally.rota, tally.now);
    let totals = instance.alerting.totals();
    let did = totals.as_ref().map(done);
    let standing =
        own.iter().flat_map(|zone| of_zone(rota, zone, now).into_iter().map(|crew| (crew, zone.clone())));
    let with_jobs = tally.jobs.keys().cloned();
    let with_past = did.iter().flat_map(|did| did.keys().cloned());
    let mut pairs: BTreeSet<Pair> = standing.chain(with_jobs).chain(with_past).collect();
    // Bounded by the configuration: a crew that is not in it any more has no row.
    pairs.retain(|(crew, _)| rota.crews.contains_key(crew));
    for pair in pairs.union(&known.0) {
        let jobs = tally.jobs.get(pair).copied().unwrap_or_default();
        let mut fields = job_fields(jobs).to_vec();
        if let Some(did) = &did {
            fields.extend(past_fields(did.get(pair).copied().unwrap_or_default()));
        }
        points.push(&CREW, now, &[("crew", &pair.0), ("zone", &pair.1), ("node", node)], &fields);
    }
    known.0 = pairs;
}

/// What crews did, by the zones in which the incidents opened.
fn done(totals: &BTreeMap<Arc<str>, Totals>) -> BTreeMap<Pair, OfCrew> {
    let of_zone = |(zone, totals): (&Arc<str>, &Totals)| {
        let pair = |(crew, did): (&Arc<str>, &OfCrew)| ((crew.clone(), zone.clone()), *did);
        totals.handling.crews.iter().map(pair).collect::<Vec<_>>()
    };
    totals.iter().flat_map(of_zone).collect()
}

fn job_fields(jobs: Jobs) -> [Value; 5] {
    let Jobs { not_departed, departed, arrived, made_safe } = jobs;
    [
        ("jobs", whole(not_departed + departed + arrived + made_safe)),
        ("jobs_not_departed", whole(not_departed)),
        ("jobs_departed", whole(departed)),
        ("jobs_arrived", whole(arrived)),
        ("jobs_made_safe", whole(made_safe)),
    ]
}

fn past_fields(did: OfCrew) -> [Value; 2] {
    [("arrived_total", whole(did.arrived)), ("breached_total", whole(did.breached))]
}

#[cfg(test)]
mod tests {
    use lampguard_alerting::{Crew, Person, ZoneDuty};

    use super::super::incidents::tests::incident;
    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);

    fn rota(member: Option<&str>) -> Arc<Rota> {
        let mut rota = Rota::default();
        for id in ["c1", "c2", "c3"] {
            let members = member
                .filter(|_| id == "c2")
                .map(|name| Arc::new(Person { name: Arc::from(name), phone: None, channels: Vec::new() }));
            let members = members.into_iter().collect();
            let crew = Crew { id: Arc::from(id), name: format!("班 {id}"), vehicle: None, members };
            rota.crews.insert(Arc::from(id), Arc::new(crew));
        }
        let duty =
            ZoneDuty { crew: Arc::from("c1"), backup_crew: Some(Arc::from("c2")), ..ZoneDuty::default() };
        rota.zones.insert(Arc::from("z1"), duty);
        Arc::new(rota)
    }

    fn tally(rota: Arc<Rota>, lives: &[(Stage, Option<&str>)]) -> BTreeMap<Pair, Jobs> {
        let mut tally = Tally::new(rota, T);
        for (stage, crew) in lives {
            let mut one = incident(1);
            (one.life.state, one.life.crew) = (*stage, crew.map(ToOwned::to_owned));
            tally.add(&one, &one.zone);
            one.life.drill = true;
            tally.add(&one, &one.zone);
        }
        tally.jobs
    }

    #[test]
    fn jobs_are_counted_for_the_crew_that_has_them_however_it_was_written_down() {
        let lives = [
            (Stage::Open, None),
            (Stage::Open, Some("c2")),
            (Stage::Acknowledged, Some("班 c2")),
            (Stage::Departed, Some("张三")),
            (Stage::Arrived, Some("c2")),
            (Stage::MadeSafe, Some("c2")),
            (Stage::Verifying, Some("c2")),
            (Stage::Returned, Some("c2")),
            (Stage::Pending, Some("c2")),
        ];
        let found = tally(rota(Some("张三")), &lives);
        let jobs = Jobs { not_departed: 2, departed: 1, arrived: 1, made_safe: 2 };
        assert_eq!(found, BTreeMap::from([((Arc::from("c2"), Arc::from("z1")), jobs)]));
        assert_eq!(job_fields(jobs)[0], ("jobs", whole(6)));
    }

    #[test]
    fn where_the_crew_on_duty_names_nobody_what_a_stranger_has_is_its() {
        let found = tally(rota(None), &[(Stage::Departed, Some("somebody")), (Stage::Arrived, Some("c3"))]);
        let of = |crew: &str| found.get(&(Arc::from(crew), Arc::from("z1"))).copied();
        assert_eq!(of("c1"), Some(Jobs { departed: 1, ..Jobs::default() }));
        assert_eq!(of("c3"), Some(Jobs { arrived: 1, ..Jobs::default() }));
    }

    #[test]
    fn every_field_of_a_crew_stands_in_the_table_and_is_written() {
        let names = job_fields(Jobs::default()).into_iter().chain(past_fields(OfCrew::default()));
        let written: BTreeSet<_> = names.map(|(name, _)| name).collect();
        assert_eq!(written, CREW.fields.iter().map(|field| field.name).collect());
        let rota = rota(None);
        let of = of_zone(&rota, &Arc::from("z1"), T);
        assert_eq!(of.iter().map(|crew| &**crew).collect::<BTreeSet<_>>(), BTreeSet::from(["c1", "c2"]));
        assert!(of_zone(&rota, &Arc::from("unregistered"), T).is_empty());
    }
}
