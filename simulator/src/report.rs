//! What one sensor sends at one instant: measured, spoilt by its own faults, put into its own words.

use lampguard_model::{Cause, Field, Flags, Millis, Reading, Timestamp};

use crate::chance::Chance;
use crate::fault::SensorFault;
use crate::measure::{Surroundings, measure, measure_cabinet, raise_flags};
use crate::payload::{Frame, is_json, write};
use crate::quirks::Quirk;
use crate::sensor::Shape;
use crate::simulation::{Message, Simulation, Source};
use crate::street::ZONES;

/// How old the leftovers are that a broker retains, ms.
const LEFTOVER_MS: i64 = 26 * 3_600_000;

impl Simulation {
    /// One reading of one sensor, as its faults and quirks let it through.
    pub(crate) fn report(&mut self, place: u32, at: Timestamp, cause: Cause, out: &mut Vec<Message>) {
        // An alarm that falls on the instant of a periodic reading has noise of its own.
        let noise = self.noise.of(u64::from(place)).of(at.0 as u64 * 8 + cause as u64);
        let measured = match self.city.posts().get(place as usize) {
            Some(_) => self.measure_post(place, at, cause, noise),
            None => self.measure_feeder(place, at, noise),
        };
        let Some(mut reading) = measured else { return };
        let nth = place as usize;
        self.seq[nth] = self.seq[nth].wrapping_add(1);
        reading.seq = Some(u64::from(self.seq[nth]));
        reading.boot = Some(self.run.boot.wrapping_add(u32::from(self.restarts[nth])).max(1));
        let quirk = self.scenario.quirks.draw(noise);
        self.counts.readings += 1;
        self.counts.alarms += u64::from(cause == Cause::Alarm);
        let message = self.message(place, at, &reading, quirk);
        self.deliver(message, quirk, out);
    }

    fn measure_post(&mut self, place: u32, at: Timestamp, cause: Cause, noise: Chance) -> Option<Reading> {
        let post = &self.city.posts()[place as usize];
        let model = post.model?;
        let gasp = cause == Cause::LastGasp;
        if !gasp && !model.spec().battery && !self.world.is_powered(place) {
            return None;
        }
        let period_s = self.world.period_s(place);
        if self.world.is_mute(place, period_s) {
            return None;
        }
        // A sensor that was without supply or slept through a strike measures nothing of it.
        let struck = self.surges.remove(&place);
        let surge = struck.is_some_and(|struck| at.since(struck) <= Millis::seconds(i64::from(period_s)));
        let affected = self.world.affected(place);
        let around = Surroundings {
            at,
            minute: self.world.minutes(at),
            truth: self.world.electrical(place, false),
            lamp_share: self.world.lamp_share(place),
            sky: self.world.sky(post),
            moisture: self.world.moisture(place),
            temperature_c: self.scenario.temperature_c,
            affected,
            surge,
        };
        let mut reading = measure(post, model, &self.city.params().sensor, &around, noise);
        let fault = affected.map(|affected| affected.sensor).unwrap_or_default();
        if fault.frozen {
            let kept = self.frozen.entry(place).or_insert_with(|| reading.clone());
            reading.fields = kept.fields.clone();
        } else {
            self.frozen.remove(&place);
        }
        if fault.clock_1970 {
            reading.ts = Some(Timestamp(at.since(self.run.start).0));
        } else {
            // A clock runs in real time: `speed` compresses weather alone.
            let days = |since: f64| (self.world.minutes(at) - since) / self.scenario.speed / 1440.0;
            let run_away = fault.clock_drift.map_or(0.0, |(seconds, since)| seconds * 1000.0 * days(since));
            reading.ts = Some(Timestamp(at.0 + fault.clock_ms + run_away as i64));
        }
        reading.cause = if cause == Cause::Alarm { Cause::Periodic } else { cause };
        if let Some(watch) = self.watches.get_mut(&place) {
            raise_flags(&mut reading, watch.alarm, cause == Cause::Alarm);
            watch.told_ms = at.since(self.run.start).0;
        }
        Some(reading)
    }

    fn measure_feeder(&self, place: u32, at: Timestamp, noise: Chance) -> Option<Reading> {
        let feeder = place - self.city.posts().len() as u32;
        if self.world.line(feeder).flooded {
            return None;
        }
        let params = self.city.params();
        let residual_ma = self.world.residual_ma(feeder);
        Some(measure_cabinet(at, residual_ma, params.supply.nominal_v, &params.sensor, noise))
    }

    fn message(&mut self, place: u32, at: Timestamp, reading: &Reading, quirk: Option<Quirk>) -> Message {
        let device = self.city.device_id(place as usize);
        let post = self.city.posts().get(place as usize);
        let shape = post.map_or(Shape::Canonical, |post| self.city.shape(post));
        let fault = self.affected_sensor(place);
        let quirk = quirk.or(fault.not_a_number.then_some(Quirk::NotANumber));
        // A lamp meter has no leakage that could be printed wrong.
        let measures = reading.fields.get(Field::LeakageMa).is_some();
        let quirk = quirk.filter(|quirk| measures || *quirk != Quirk::Glitch);
        let frame = Frame { shape, device: &device, quirk, saturated: fault.saturated && measures };
        let payload = write(reading, &frame, self.last.get(&place));
        if quirk.is_some() {
            let unstruck = write(reading, &Frame { quirk: None, ..frame }, self.last.get(&place));
            let odd = payload != unstruck;
            self.counts.broken += u64::from(odd && !is_json(&payload));
            self.counts.false_values += u64::from(odd && is_json(&payload));
        }
        if shape == Shape::Shelly {
            self.last.insert(place, reading.clone());
        }
        let zone = usize::from(self.zone_of(place)) + usize::from(fault.wrong_zone);
        let zone = ZONES[zone % ZONES.len()].id;
        let topic = match shape {
            Shape::Canonical => format!("lamp/{zone}/{device}/reading"),
            Shape::CnTenths => format!("street/{zone}/report"),
            Shape::LeakageBox => "device_report".to_owned(),
            Shape::Tasmota => format!("tele/{device}/SENSOR"),
            Shape::Shelly => format!("{device}/events/rpc"),
        };
        Message { at, topic, payload, retain: false, source: Source::Post(place) }
    }

    pub(crate) fn affected_sensor(&self, place: u32) -> SensorFault {
        let is_post = (place as usize) < self.city.posts().len();
        let affected = if is_post { self.world.affected(place) } else { None };
        affected.map(|affected| affected.sensor).unwrap_or_default()
    }

    pub(crate) fn feeder_of(&self, place: u32) -> u32 {
        let posts = self.city.posts();
        posts.get(place as usize).map_or_else(|| place - posts.len() as u32, |post| post.feeder)
    }

    pub(crate) fn zone_of(&self, place: u32) -> u8 {
        self.city.feeders()[self.feeder_of(place) as usize].zone
    }

    /// What a broker kept of a post from before: an old critical reading, retained.
    pub(crate) fn hand_out_leftover(&mut self, place: u32, at: Timestamp, out: &mut Vec<Message>) {
        let mut old = Reading {
            ts: Some(Timestamp(at.0 - LEFTOVER_MS)),
            seq: Some(1),
            boot: Some(self.run.boot.wrapping_sub(1).max(1)),
            flags: Flags::SIMULATED,
            ..Reading::default()
        };
        old.put(Field::LeakageMa, 85_000);
        old.put(Field::ShellV, 48_000);
        old.put(Field::SupplyV, 229_000);
        let mut message = self.message(place, at, &old, None);
        message.retain = true;
        self.counts.leftovers += 1;
        self.leftovers.insert(message.topic.clone(), message.source);
        self.send(message, out);
    }

    /// What takes the leftovers off a real broker again: an empty retained message on each of their topics. They are
    /// false critical readings, and the broker belongs to somebody.
    pub(crate) fn clear_leftovers(&mut self, at: Timestamp) -> Vec<Message> {
        let topics = std::mem::take(&mut self.leftovers).into_iter();
        let empty = |(topic, source)| Message { at, topic, payload: Vec::new(), retain: true, source };
        topics.map(empty).collect()
    }
}
