//! The lighting rate (亮灯率): lamps that burn of those that are due, per lamp and not per post (domain.md 8).
//!
//! A lamp of which nothing is known is neither lit nor dark: the rate has a lower bound that counts it as dark
//! and an upper bound that counts it as lit. Left out are lamps of planned outages and of maintenance, for
//! which somebody gave a reason. Lamps that a fault made somebody switch off are dark, and are told apart.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use lampguard_model::{Post, PostKind, Register, Timestamp};
use serde::Serialize;

use super::{FULL, LampClock, Lighting};

/// A lamp burns from this share of its power on, percent (policy.md 2, lamp_out).
const LIT_PCT: i64 = 20;

/// What is known of the lamps of a post right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Measured power of all its lamps, thousandths of a watt; `None` when not measured, or too long ago.
    pub watts: Option<i64>,
    /// Measured without supply: then every lamp is dark.
    pub unpowered: bool,
}

/// Why lamps are not counted as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exempt {
    /// They are.
    #[default]
    No,
    /// A planned outage, or maintenance: left out.
    Planned,
    /// In an extent that was isolated for a fault: dark, and told apart.
    Isolated,
}

/// Lamps of a road, a zone or a city at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Lamps that should burn, those left out aside: lit, dark and unknown together.
    pub due: u64,
    /// Burning.
    pub lit: u64,
    /// Not burning.
    pub dark: u64,
    /// Of these dark because their extent was isolated for a fault.
    pub isolated: u64,
    /// Nobody knows.
    pub unknown: u64,
    /// Should burn, and left out: planned outage, maintenance.
    pub excluded: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.due += other.due;
        self.lit += other.lit;
        self.dark += other.dark;
        self.isolated += other.isolated;
        self.unknown += other.unknown;
        self.excluded += other.excluded;
    }
}

impl Tally {
    /// Unknown counted as dark, 0 to 1; `None` while no lamp is due.
    pub fn lower(&self) -> Option<f64> {
        (self.due > 0).then(|| self.lit as f64 / self.due as f64)
    }

    /// Unknown counted as lit, 0 to 1; `None` while no lamp is due.
    pub fn upper(&self) -> Option<f64> {
        (self.due > 0).then(|| (self.lit + self.unknown) as f64 / self.due as f64)
    }

    /// The lamps of one post that should burn with so many thousandths of their power.
    pub fn of(post: &Post, power: u32, seen: Seen, exempt: Exempt) -> Self {
        let lamps = u64::from(post.lamps);
        let none = Self::default();
        if power == 0 || lamps == 0 {
            return none;
        }
        match exempt {
            Exempt::Planned => return Self { excluded: lamps, ..none },
            Exempt::Isolated => return Self { due: lamps, dark: lamps, isolated: lamps, ..none },
            Exempt::No => {}
        }
        match lit_of(post, power, seen) {
            Some(lit) => Self { due: lamps, lit, dark: lamps - lit, ..none },
            None => Self { due: lamps, unknown: lamps, ..none },
        }
    }
}

/// How many lamps of a post burn, by its power; `None` when nobody knows. Each lamp takes 20 % of its own power
/// above what the ones before it take whole.
pub fn lit_of(post: &Post, power: u32, seen: Seen) -> Option<u64> {
    if seen.unpowered {
        return Some(0);
    }
    let each = (post.lamp_w * 1000.0) as i64 * i64::from(power) / i64::from(FULL);
    let watts = seen.watts.filter(|_| each > 0)?;
    let lit = (watts + each * (100 - LIT_PCT) / 100) / each;
    Some(lit.clamp(0, i64::from(post.lamps)) as u64)
}

/// Tallies at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rates {
    /// The whole city.
    pub city: Tally,
    /// By zone.
    pub zones: BTreeMap<Arc<str>, Tally>,
    /// By zone and road.
    pub roads: BTreeMap<(Arc<str>, Arc<str>), Tally>,
}

/// Counts every lamp of the register at `now`. `see` says what is known of a post, `exempt` why it may be left
/// out.
pub fn rates(
    lighting: &Arc<Lighting>,
    register: &Register,
    now: Timestamp,
    see: impl Fn(&Post) -> Seen,
    exempt: impl Fn(&Post) -> Exempt,
) -> Rates {
    rates_of(lighting, register.posts().iter().map(AsRef::as_ref), now, see, exempt)
}

/// The same for some posts.
pub fn rates_of<'p>(
    lighting: &Arc<Lighting>,
    posts: impl Iterator<Item = &'p Post>,
    now: Timestamp,
    see: impl Fn(&Post) -> Seen,
    exempt: impl Fn(&Post) -> Exempt,
) -> Rates {
    let (mut rates, clock) = (Rates::default(), LampClock::new(lighting.clone()));
    for post in posts.filter(|post| post.kind == PostKind::Post) {
        // Where nobody knows whether it is dark, nothing is due.
        let power = clock.lamp_power(post, now).unwrap_or(0);
        let tally =
            if power == 0 { Tally::default() } else { Tally::of(post, power, see(post), exempt(post)) };
        rates.city += tally;
        *rates.zones.entry(post.zone.clone()).or_default() += tally;
        *rates.roads.entry((post.zone.clone(), post.road.clone())).or_default() += tally;
    }
    rates
}
