//! What goes to a node in one request, and weather that waits for it. Pure.
//!
//! Readings that a standby took are done with. Weather is not: the owner comes back to posts that may be wet, so it is kept
//! until the owner has it, in a file beside the cursor, because the cursor passes it.

use lampguard_ingester::run::forwarded::{put_record, records};
use lampguard_model::record::{self, Record};
use lampguard_model::{Marks, Timestamp, WeatherReport};

use super::owners::Owners;
use super::turn::To;

/// Weather of one zone that waits for an owner: beyond, the oldest goes that is not the newest word on rain, warning or
/// switch. At a message a minute it is more than half an hour of rain.
pub(super) const KEPT_PER_ZONE: usize = 40;
/// Bytes of all of it; beyond, the oldest goes.
pub(super) const KEPT_BYTES: usize = 512 << 10;

/// Records that go together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Number of the first record that was looked at, and of the next one.
    pub(super) from: u64,
    pub(super) next: u64,
    /// Readings, with their kind and length.
    pub(super) readings: Vec<u8>,
    pub(super) count: u64,
    /// Weather: for the owner alone, its standby is told by a thread of its own.
    pub(super) weather: Vec<u8>,
    /// When the oldest reading of it came in.
    pub(super) oldest: Option<Timestamp>,
}

impl Batch {
    /// An empty one whose first record has this number.
    pub(super) fn at(number: u64) -> Self {
        Self { from: number, next: number, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.readings.is_empty() && self.weather.is_empty()
    }

    pub(super) fn size(&self) -> usize {
        self.readings.len() + self.weather.len()
    }

    /// What goes to whom. The standby is not asked to take weather.
    pub(super) fn body(&self, to: To) -> Vec<u8> {
        match to {
            To::Owner => [&*self.weather, &*self.readings].concat(),
            To::Standby => self.readings.clone(),
        }
    }

    /// Puts a record in, when it is for that node.
    pub(super) fn put(&mut self, owners: &Owners, target: usize, (kind, bytes): (u8, &[u8])) {
        match kind {
            record::WEATHER => put_record(kind, bytes, &mut self.weather),
            record::READING => {
                let Ok(Record::Reading(reading)) = record::decode(kind, bytes) else { return };
                let is_theirs = reading.marks.has(Marks::FOREIGN)
                    && owners.owner(reading.zone, reading.feeder, reading.hint) == target;
                if is_theirs {
                    put_record(kind, bytes, &mut self.readings);
                    self.count += 1;
                    let at = reading.received_at;
                    self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
                }
            }
            _ => {}
        }
    }
}

/// One message of weather.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    zone: String,
    /// It says something of rain, warning, switch.
    says: [bool; 3],
    bytes: Vec<u8>,
}

impl Told {
    fn of(kind: u8, bytes: &[u8]) -> Option<Self> {
        let Ok(Record::Weather(_, zone, json)) = record::decode(kind, bytes) else { return None };
        let report = WeatherReport::decode(json).ok()?;
        let says = [report.rain_mm_h.is_some(), report.warning.is_some(), report.wet.is_some()];
        Some(Self { zone: zone.to_owned(), says, bytes: bytes.to_vec() })
    }
}

/// Weather that an owner has still to hear, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Weather(Vec<Told>);

impl Weather {
    /// What a file holds; what is no weather is left out.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut weather = Self::default();
        weather.add(body);
        weather
    }

    /// Adds what stands in the weather of a batch.
    pub(super) fn add(&mut self, body: &[u8]) {
        for (kind, bytes) in records(body).flatten() {
            let Some(told) = Told::of(kind, bytes) else { continue };
            let zone = told.zone.clone();
            self.0.push(told);
            self.thin(&zone);
        }
        while self.0.iter().map(|told| told.bytes.len()).sum::<usize>() > KEPT_BYTES {
            self.0.remove(0);
        }
    }

    /// Takes the oldest of a zone out that says nothing which a newer one does not say.
    fn thin(&mut self, zone: &str) {
        let of_zone = |told: &&Told| told.zone == zone;
        if self.0.iter().filter(of_zone).count() <= KEPT_PER_ZONE {
            return;
        }
        let says_last = |place: usize| {
            let later = &self.0[place + 1..];
            (0..3).any(|part| {
                self.0[place].says[part] && !later.iter().filter(of_zone).any(|told| told.says[part])
            })
        };
        let old = (0..self.0.len()).find(|place| self.0[*place].zone == zone && !says_last(*place));
        if let Some(old) = old {
            self.0.remove(old);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a part of a body, and of the file.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.0.iter().for_each(|told| put_record(record::WEATHER, &told.bytes, &mut body));
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(minute: i64, zone: &str, json: &str) -> Vec<u8> {
        let (mut bytes, mut body) = (Vec::new(), Vec::new());
        record::encode_weather(Timestamp(minute * 60_000), zone, json.as_bytes(), &mut bytes);
        put_record(record::WEATHER, &bytes, &mut body);
        body
    }

    fn texts(weather: &Weather) -> Vec<String> {
        let text = |told: &Told| match record::decode(record::WEATHER, &told.bytes) {
            Ok(Record::Weather(at, zone, json)) => {
                format!("{} {zone} {}", at.0 / 60_000, String::from_utf8_lossy(json))
            }
            other => panic!("{other:?}"),
        };
        weather.0.iter().map(text).collect()
    }

    #[test]
    fn weather_that_an_owner_missed_waits_for_it_and_the_last_warning_is_never_thinned_out() {
        let mut weather = Weather::default();
        weather.add(&said(0, "z1", r#"{"warning":"orange"}"#));
        weather.add(&said(0, "z2", r#"{"wet":true}"#));
        for minute in 1..=300 {
            weather.add(&said(minute, "z1", r#"{"rain_mm_h":8}"#));
        }
        let kept = texts(&weather);
        assert_eq!(kept.iter().filter(|text| text.contains(" z1 ")).count(), KEPT_PER_ZONE);
        assert_eq!(kept[0], r#"0 z1 {"warning":"orange"}"#);
        assert_eq!(kept[1], r#"0 z2 {"wet":true}"#);
        assert_eq!(kept.last().unwrap(), r#"300 z1 {"rain_mm_h":8}"#);
        assert_eq!(Weather::read(&weather.body()), weather, "as its file has it");
        weather.add(&said(301, "z1", r#"{"warning":"none"}"#));
        assert!(!texts(&weather)[0].contains("orange"), "a newer word on warnings stands for the old one");
    }

    #[test]
    fn weather_that_waits_is_bounded_and_a_file_that_is_damaged_is_read_as_far_as_it_goes() {
        let mut weather = Weather::default();
        let long = format!(r#"{{"rain_mm_h":1,"by":"{}"}}"#, "x".repeat(4000));
        for zone in 0..200 {
            weather.add(&said(1, &format!("z{zone}"), &long));
        }
        assert!(weather.body().len() <= KEPT_BYTES + 200 * 5);
        assert!(texts(&weather).last().unwrap().contains("z199"));
        let body = weather.body();
        assert_eq!(Weather::read(&body[..body.len() - 1]).0.len(), weather.0.len() - 1);
        assert!(Weather::read(b"not weather").is_empty());
    }
}
