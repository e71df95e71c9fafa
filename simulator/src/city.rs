//! A city of lamp posts, made from a seed: where they stand, how they are fed and insulated, what measures them.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use crate::chance::Chance;
use crate::lighting::{Control, Plan};
use crate::measure::can_flag;
use crate::params::{InsulationParams, Params, Span};
use crate::physics::{Danger, Insulation};
use crate::scenario::{Scenario, ScenarioError};
use crate::sensor::{Model, Shape};
use crate::street::{STRETCH_POSTS, Streets, km_from_middle, road_name};
use crate::weather::{SOAK_LOW_LYING, SOAK_ORDINARY, SOAK_SLOWEST};

pub use crate::street::{ZONES, Zone};

/// Most posts of one city; about 100 MB of memory, and 170 MB more while its register file is made.
pub const POSTS_MAX: u32 = 1_000_000;

/// How good a post is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing wrong.
    Healthy,
    /// Old insulation on a good earth: some of them pass 15 mA in long rain.
    Aged,
    /// A joint that becomes live when it is wet.
    Hazard,
}

/// One lamp post.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    /// Place in [`ZONES`].
    pub zone: u8,
    /// Road of its zone, counted from 0.
    pub road: u32,
    /// Number painted on it, counted along its road from 1.
    pub number: u32,
    /// Landmark a crew can find.
    pub landmark: &'static str,
    /// Place of its feeder in [`City::feeders`].
    pub feeder: u32,
    /// Longitude, WGS-84 degrees.
    pub lon: f64,
    /// Latitude, WGS-84 degrees.
    pub lat: f64,
    /// Lamps on it, 1 or 2.
    pub lamps: u8,
    /// Rated power of one lamp, watts.
    pub lamp_w: u16,
    /// Stands where water stays.
    pub low_lying: bool,
    /// Year it was put up.
    pub installed: u16,
    /// How good it is.
    pub class: Class,
    /// Its insulation and earth.
    pub insulation: Insulation,
    /// Its fault lies behind the lamp's switch.
    pub lamp_side: bool,
    /// Its fault opens and closes with the wind.
    pub intermittent: bool,
    /// How it soaks, a place in the table of `weather.rs`.
    pub soak: u8,
    /// Patch of ground it shares with its neighbours, a place in [`City::patches`].
    pub patch: u16,
    /// What its lamp does at night.
    pub plan: Plan,
    /// What measures it; `None`: nothing does.
    pub model: Option<Model>,
    /// True when the sensor raises its own flags.
    pub has_flags: bool,
}

impl Post {
    /// Phase of its feeder, 0 to 2.
    pub fn phase(&self) -> u8 {
        (self.number % 3) as u8
    }
}

/// One feeder (回路) with its cabinet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feeder {
    /// Zone.
    pub zone: u8,
    /// Number in its zone, counted from 0.
    pub number: u32,
    /// Its posts stand at these places, one after the other.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// True: dead by day.
    pub contactor: bool,
    /// What switches it.
    pub control: Control,
    /// True: its cabinet measures the whole feeder.
    pub cabinet_sensor: bool,
}

impl Feeder {
    /// Places of its posts.
    pub fn posts(&self) -> std::ops::Range<u32> {
        self.first..self.first + self.count
    }

    /// Identity: `F1-001`.
    pub fn id(&self) -> String {
        format!("F{}-{:03}", self.zone + 1, self.number + 1)
    }

    /// Identity of the sensor in its cabinet: `B1-001`.
    pub fn cabinet_id(&self) -> String {
        format!("B{}-{:03}", self.zone + 1, self.number + 1)
    }
}

/// A patch of ground with weather of its own: one square kilometre of one zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patch {
    /// Zone.
    pub zone: u8,
    /// Middle, km east of the city's.
    pub x_km: f64,
    /// Middle, km north of the city's.
    pub y_km: f64,
}

/// Why a city could not be made. Stop and show it.
#[derive(Debug, thiserror::Error)]
pub enum CityError {
    /// Too few or too many posts.
    #[error("a city of {0} posts cannot be made, the range is 1 to {POSTS_MAX}")]
    Posts(u32),
    /// The scenario or a parameter is out of range.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

/// A city: posts in the order of zones and roads. The same seed gives the same city.
#[derive(Clone, Debug, PartialEq)]
pub struct City {
    posts: Vec<Post>,
    feeders: Vec<Feeder>,
    patches: Vec<Patch>,
    hazards: Vec<u32>,
    params: Params,
    seed: u64,
    period_s: Option<u32>,
    vendor_payloads: bool,
}

/// Posts on one feeder.
const FEEDER_POSTS: u32 = 40;
/// Year up to which posts have aged when a city is made.
const YEAR_NOW: u16 = 2025;
/// Highest share of nominal supply at a post: a phase without its neutral (1.30), and some room.
const HIGHEST_SUPPLY: f64 = 1.35;
/// Patches lie within this many km of the middle; posts beyond share the outermost.
const PATCH_REACH: f64 = 8.0;

impl City {
    /// A city of `posts` posts with the hazards of a scenario, made of the shipped parameters.
    ///
    /// # Errors
    /// [`CityError`] when a number is out of range.
    pub fn new(posts: u32, seed: u64, scenario: &Scenario) -> Result<Self, CityError> {
        Self::with_params(posts, seed, scenario, &Params::default())
    }

    /// The same, made of these parameters.
    ///
    /// # Errors
    /// [`CityError`] when a number is out of range.
    pub fn with_params(
        posts: u32,
        seed: u64,
        scenario: &Scenario,
        params: &Params,
    ) -> Result<Self, CityError> {
        if !(1..=POSTS_MAX).contains(&posts) {
            return Err(CityError::Posts(posts));
        }
        scenario.check()?;
        let params = &scenario.made_of(params)?;
        let chance = Chance::new(seed).of(0x6369_7479);
        let mut city = Self {
            posts: Vec::with_capacity(posts as usize),
            feeders: Vec::new(),
            patches: Vec::new(),
            hazards: Vec::new(),
            params: params.clone(),
            seed,
            period_s: scenario.period_s,
            vendor_payloads: scenario.vendor_payloads,
        };
        let mut patches = HashMap::new();
        let mut share = 0.0;
        for (place, zone) in ZONES.iter().enumerate() {
            share += zone.share;
            let begin = city.posts.len() as u32;
            let end = ((f64::from(posts) * share).round() as u32).clamp(begin, posts);
            let end = if place + 1 == ZONES.len() { posts } else { end };
            city.build_zone(place as u8, end - begin, scenario, chance, &mut patches);
        }
        city.place_hazards(scenario, chance.of(1));
        Ok(city)
    }

    fn build_zone(
        &mut self,
        zone: u8,
        count: u32,
        scenario: &Scenario,
        chance: Chance,
        patches: &mut HashMap<(u8, i64, i64), u16>,
    ) {
        let params = self.params.clone();
        let begin = self.posts.len() as u32;
        let streets = Streets::of(usize::from(zone), count, chance.of(u64::from(zone)), &params);
        for number in 0..count.div_ceil(FEEDER_POSTS) {
            let first = begin + number * FEEDER_POSTS;
            let of_feeder = chance.of(0x6665_6564).of(u64::from(first));
            self.feeders.push(Feeder {
                zone,
                number,
                first,
                count: FEEDER_POSTS.min(begin + count - first),
                contactor: !scenario.always_energised && of_feeder.unit(0) < params.supply.contactor,
                control: control(&params, of_feeder),
                cabinet_sensor: of_feeder.unit(1) < params.fleet.cabinet_sensors,
            });
        }
        let first_feeder = self.feeders.len() as u32 - count.div_ceil(FEEDER_POSTS);
        for nth in 0..count {
            let of_post = chance.of(u64::from(begin + nth) + 100);
            let mut post = post(&streets, zone, nth, of_post, &params);
            post.feeder = first_feeder + nth / FEEDER_POSTS;
            post.patch = self.patch(&post, patches);
            self.posts.push(post);
        }
    }

    fn patch(&mut self, post: &Post, known: &mut HashMap<(u8, i64, i64), u16>) -> u16 {
        let (x_km, y_km) = km_from_middle(post.lon, post.lat);
        let cell = |km: f64| km.clamp(-PATCH_REACH, PATCH_REACH - 0.001).floor();
        let (x, y) = (cell(x_km), cell(y_km));
        *known.entry((post.zone, x as i64, y as i64)).or_insert_with(|| {
            self.patches.push(Patch { zone: post.zone, x_km: x + 0.5, y_km: y + 0.5 });
            (self.patches.len() - 1) as u16
        })
    }

    /// Turns posts into hazards: zone by zone in turn, from the quickest to the slowest, so that a storm of
    /// any strength uncovers them one after the other. Posts that are measured come first.
    fn place_hazards(&mut self, scenario: &Scenario, chance: Chance) {
        let count = scenario.hazards(self.posts.len() as u32);
        let mut taken = HashSet::new();
        let by_zone: Vec<Vec<usize>> = (0..ZONES.len())
            .map(|zone| (0..self.posts.len()).filter(|i| usize::from(self.posts[*i].zone) == zone).collect())
            .collect();
        let by_zone: Vec<&Vec<usize>> = by_zone.iter().filter(|posts| !posts.is_empty()).collect();
        for nth in 0..count as usize {
            let chance = chance.of(nth as u64);
            let mut zone = by_zone[nth % by_zone.len()];
            if zone.iter().all(|post| taken.contains(post)) {
                let Some(other) = by_zone.iter().find(|posts| posts.iter().any(|post| !taken.contains(post)))
                else {
                    return;
                };
                zone = other;
            }
            let start = chance.below(0, zone.len());
            let free = (0..zone.len()).map(|step| zone[(start + step) % zone.len()]);
            // A plain scenario shows what sensors see: its hazards hang on posts with a mains sensor that can
            // raise flags.
            let suits = |post: &usize| {
                let measured =
                    self.posts[*post].model.is_some_and(|model| can_flag(model) && !model.spec().battery);
                !taken.contains(post) && (measured || !scenario.plain_hazards)
            };
            let Some(place) = free.into_iter().find(suits) else {
                continue;
            };
            taken.insert(place);
            let slowness = nth as f64 / f64::from(count.max(2) - 1);
            let params = self.params.clone();
            self.posts[place].make_hazard(slowness, nth, scenario.plain_hazards, &params, chance);
            self.hazards.push(place as u32);
        }
    }

    /// Every post; a post's place here is its number in the simulation.
    pub fn posts(&self) -> &[Post] {
        &self.posts
    }

    /// Every feeder. The sensor of a feeder's cabinet has the number `posts().len()` + the feeder's place.
    pub fn feeders(&self) -> &[Feeder] {
        &self.feeders
    }

    /// Every patch of ground.
    pub fn patches(&self) -> &[Patch] {
        &self.patches
    }

    /// What it was made of.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The seed it was made from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Places of the hazards, from the quickest to the slowest.
    pub fn hazards_in_order(&self) -> &[u32] {
        &self.hazards
    }

    /// The worst that a post of this city can come to: soaked, under the highest supply.
    pub(crate) fn worst(&self, post: &Post) -> crate::physics::Electrical {
        let supply_v = self.params.supply.nominal_v * HIGHEST_SUPPLY;
        post.insulation.under(supply_v, post.insulation.fault_ohm(1.0), self.params.supply.nominal_v)
    }

    /// Places of the posts that can become dangerous or marginal by themselves: when soaked, or as they age.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = usize> + '_ {
        let can = |post: &Post| post.class != Class::Healthy || self.worst(post).danger(true) > Danger::None;
        (0..self.posts.len()).filter(move |place| can(&self.posts[*place]))
    }

    /// Identity of a post: `P00001` and so on.
    pub fn post_id(place: usize) -> String {
        format!("P{:05}", place + 1)
    }

    /// Identity of what measures a post or a cabinet.
    pub fn device_id(&self, place: usize) -> String {
        match self.posts.get(place) {
            Some(post) if self.shape(post) == Shape::CnTenths => format!("CN{:08}", 86_000_000 + place),
            Some(post) if self.shape(post) == Shape::LeakageBox => format!("BOX{place:06}"),
            Some(_) => Self::post_id(place),
            None => self.feeders[place - self.posts.len()].cabinet_id(),
        }
    }

    /// The words the sensor of a post speaks in this city.
    pub fn shape(&self, post: &Post) -> Shape {
        let own = post.model.map_or(Shape::Canonical, |model| model.spec().shape);
        if self.vendor_payloads { own } else { Shape::Canonical }
    }

    /// Reporting periods of a post's sensor, lit and not lit, seconds; without a sensor those of LG-T1.
    pub fn periods_s(&self, post: &Post) -> (u32, u32) {
        let spec = post.model.unwrap_or(Model::T1).spec();
        self.period_s.map_or((spec.lit_s, spec.standby_s), |period| (period, period))
    }

    /// The place of a post of that id.
    pub fn place_of_post(&self, id: &str) -> Option<u32> {
        let number: u32 = id.strip_prefix('P')?.parse().ok()?;
        let place = number.checked_sub(1)?;
        (place < self.posts.len() as u32 && Self::post_id(place as usize) == id).then_some(place)
    }

    /// The place of a feeder of that id.
    pub fn place_of_feeder(&self, id: &str) -> Option<u32> {
        self.feeders.iter().position(|feeder| feeder.id() == id).map(|place| place as u32)
    }

    /// The register of posts (台账) as a `posts.csv`: every post, then every cabinet with a sensor.
    pub fn register_csv(&self) -> String {
        let mut csv = lampguard_model::register::header();
        csv.push('\n');
        for (place, post) in self.posts.iter().enumerate() {
            self.register_post(place, post, &mut csv);
        }
        for feeder in self.feeders.iter().filter(|feeder| feeder.cabinet_sensor) {
            self.register_cabinet(feeder, &mut csv);
        }
        csv
    }

    fn register_post(&self, place: usize, post: &Post, csv: &mut String) {
        let zone = &ZONES[usize::from(post.zone)];
        let feeder = &self.feeders[post.feeder as usize];
        let (id, device) = (Self::post_id(place), self.device_id(place));
        // Writing into a String cannot fail.
        let _ = writeln!(
            csv,
            "{id},{device},{},{},{:03},{},{},C{}-{:02},{:.6},{:.6},{},{},{},{}-{:02},{}0203{:06},post,{},{},{},{}",
            zone.id,
            road_name(post.zone, post.road),
            post.number,
            post.landmark,
            feeder.id(),
            post.zone + 1,
            feeder.number / 4 + 1,
            post.lon,
            post.lat,
            post.lamps,
            post.lamp_w,
            post.low_lying,
            post.installed,
            place % 12 + 1,
            zone.division,
            place,
            post.plan.name(),
            post.model.is_some(),
            post.model.map_or("", |model| model.spec().name),
            self.periods_s(post).0,
            device = if device == id { "" } else { &device },
        );
    }

    fn register_cabinet(&self, feeder: &Feeder, csv: &mut String) {
        let (zone, post) = (&ZONES[usize::from(feeder.zone)], &self.posts[feeder.first as usize]);
        let _ = writeln!(
            csv,
            "{},,{},{},C{}-{:02},{},{},C{}-{:02},{:.6},{:.6},0,0,false,{}-01,,feeder,all,true,LG-C1,{}",
            feeder.cabinet_id(),
            zone.id,
            road_name(post.zone, post.road),
            feeder.zone + 1,
            feeder.number / 4 + 1,
            post.landmark,
            feeder.id(),
            feeder.zone + 1,
            feeder.number / 4 + 1,
            post.lon,
            post.lat,
            post.installed,
            self.period_s.unwrap_or(CABINET_PERIOD_S),
        );
    }
}

/// A cabinet's sensor reports this often, seconds.
pub(crate) const CABINET_PERIOD_S: u32 = 60;

fn control(params: &Params, chance: Chance) -> Control {
    if chance.unit(2) >= params.supply.timetable {
        return Control::Sun;
    }
    // Autumn in the north: on around 18:20, off around 06:00, some minutes apart.
    Control::Timetable {
        on_min: 1100 + chance.below(3, 20) as u16,
        off_min: 350 + chance.below(4, 20) as u16,
    }
}

fn post(streets: &Streets<'_>, zone: u8, nth: u32, chance: Chance, params: &Params) -> Post {
    let spot = streets.spot(nth, chance);
    let class = if chance.unit(0) < params.insulation.aged { Class::Aged } else { Class::Healthy };
    let night = chance.unit(5);
    let plan = match params.supply.half_night {
        half if night < half => Plan::HalfNight,
        half if night < half + params.supply.dimmed => Plan::Dimmed,
        _ => Plan::All,
    };
    Post {
        zone,
        road: spot.road,
        number: spot.number,
        landmark: spot.landmark,
        feeder: 0,
        lon: spot.lon,
        lat: spot.lat,
        lamps: spot.lamps,
        lamp_w: spot.lamp_w,
        low_lying: spot.low_lying,
        installed: if class == Class::Aged { spot.installed.min(2010) } else { spot.installed },
        class,
        insulation: insulation(class, spot.installed, params, chance),
        lamp_side: false,
        intermittent: false,
        soak: if spot.low_lying { SOAK_LOW_LYING } else { SOAK_ORDINARY },
        patch: 0,
        plan,
        model: Model::draw(&params.fleet, chance.of(6)),
        has_flags: chance.unit(2) < params.fleet.own_flags,
    }
}

/// Insulation of a healthy or aged post.
fn insulation(class: Class, installed: u16, params: &Params, chance: Chance) -> Insulation {
    let InsulationParams { healthy_ohm, healthy_k, aged_ohm, aged_k, aged_soaked_ohm_min, .. } =
        &params.insulation;
    let log = |stream, [low, high]: Span| chance.log_between(stream, low, high);
    let even = |stream, [low, high]: Span| chance.between(stream, low, high);
    let good_earth = even(10, params.earth.good_ohm);
    let capacitive_ma = even(11, params.insulation.capacitive_ma) as f32;
    if class == Class::Aged {
        let dry_ohm = log(12, *aged_ohm);
        let k = even(13, *aged_k).min((dry_ohm / aged_soaked_ohm_min).ln().max(0.0));
        let (dry_ohm, k, earth_ohm) = (dry_ohm as f32, k as f32, good_earth as f32);
        return Insulation { dry_ohm, k, earth_ohm, capacitive_ma };
    }
    let poor = chance.unit(14) < params.earth.poor;
    let earth_ohm = if poor { log(15, params.earth.poor_ohm) } else { good_earth };
    let kept = (1.0 - params.insulation.ages_per_year).powi(i32::from(YEAR_NOW.saturating_sub(installed)));
    Insulation {
        dry_ohm: (log(12, *healthy_ohm) * kept) as f32,
        k: even(13, *healthy_k) as f32,
        earth_ohm: earth_ohm as f32,
        capacitive_ma,
    }
}

impl Post {
    /// A hazard within the ranges of the parameters. `slowness` 0 is dangerous at a moisture of about 0.15 and
    /// soaks fast, 1 at about 0.5 and soaks slowly.
    fn make_hazard(&mut self, slowness: f64, nth: usize, plain: bool, params: &Params, chance: Chance) {
        let InsulationParams { hazard_ohm: [low, high], hazard_k, capacitive_ma, .. } = params.insulation;
        // The ends of the ranges are left to chance alone: 42 to 150 kΩ, k 6.4 to 4.6 as shipped.
        let (low, high) = (low * 1.05, (high * 0.94).max(low * 1.05));
        let dry_ohm = low * (high / low).powf(slowness) * chance.between(1, 0.96, 1.04);
        let k =
            hazard_k[1] - 0.1 - 0.9 * (hazard_k[1] - hazard_k[0]) * slowness + chance.between(2, -0.1, 0.1);
        // A poor earth every second time as shipped, but below 5 V while dry: else it would show without rain.
        let poor = ((nth + 1) as f64 * params.earth.poor_hazard).floor()
            > (nth as f64 * params.earth.poor_hazard).floor();
        let earth_ohm = if poor {
            chance.log_between(3, params.earth.poor_ohm[0], params.earth.poor_ohm[1]).min(dry_ohm / 50.0)
        } else {
            chance.between(3, params.earth.good_ohm[0], params.earth.good_ohm[1])
        };
        self.class = Class::Hazard;
        self.insulation = Insulation {
            dry_ohm: dry_ohm as f32,
            k: k.max(0.0) as f32,
            earth_ohm: earth_ohm as f32,
            capacitive_ma: chance.between(4, capacitive_ma[0], capacitive_ma[1]) as f32,
        };
        self.soak = (slowness * f64::from(SOAK_SLOWEST)).round() as u8;
        self.has_flags = nth.is_multiple_of(2);
        self.lamp_side = !plain && chance.unit(5) < params.insulation.lamp_side;
        self.intermittent = !plain && chance.unit(6) < params.insulation.intermittent;
    }
}

/// Places of the posts that stand at most `reach` numbers beside one, on its road, with the distance in posts.
pub(crate) fn neighbours(city: &City, place: u32, reach: u32) -> Vec<(u32, u32)> {
    let post = &city.posts()[place as usize];
    let last = (place + reach).min(city.posts().len() as u32 - 1);
    (place.saturating_sub(reach)..=last)
        .filter(|other| *other != place)
        .filter(|other| {
            let beside = &city.posts()[*other as usize];
            (beside.zone, beside.road) == (post.zone, post.road)
        })
        .map(|other| (other, other.abs_diff(place)))
        .collect()
}

/// The stretch around a post: posts of the same dozen along its road.
pub(crate) fn stretch(city: &City, place: u32) -> std::ops::Range<u32> {
    let posts = city.posts();
    let road = |place: u32| (posts[place as usize].zone, posts[place as usize].road);
    let before = (posts[place as usize].number - 1) % STRETCH_POSTS;
    let first = place - before.min(place);
    let last = (first + STRETCH_POSTS).min(posts.len() as u32);
    first..(first..last).find(|other| road(*other) != road(place)).unwrap_or(last)
}

#[cfg(test)]
#[path = "city_tests.rs"]
mod tests;
