//! JSON payloads: one object, a batch, readings that were kept in the device, a list of pairs.

use lampguard_model::wire::{self, Mended, Refusal};
use lampguard_model::{Cause, Field, Marks, Reading};
use serde_json::Value as Json;

use super::slot::{Raw, Took};
use super::{Device, Explained, Profile, Work, finish};

/// Pairs of one list that are looked at; a device has some dozens.
pub const PAIRS_MAX: usize = 256;

/// Where in a JSON payload readings stand.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) each: Option<String>,
    pub(super) base: Vec<String>,
    pub(super) history: Option<String>,
    pub(super) list: Option<List>,
}

/// Pairs in an array.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) path: String,
    pub(super) key: String,
    pub(super) value: String,
}

/// What one reading is made from.
struct View<'j> {
    /// Where values stand, the first that has one wins.
    values: [Option<&'j Json>; 2],
    /// The object that the sensor's own values have to stand in, where the profile names one.
    base: Option<&'j Json>,
    whole: &'j Json,
    pairs: Option<(&'j [Json], &'j List)>,
    /// Kept in the device: it has to say by itself when it was measured.
    kept: Option<&'j Json>,
}

impl<'j> View<'j> {
    fn value(&self, path: &str) -> Option<&'j Json> {
        if let Some((pairs, list)) = self.pairs {
            let code = path.strip_prefix('/').unwrap_or(path);
            let pair = pairs.iter().take(PAIRS_MAX).find(|pair| pair[&list.key].as_str() == Some(code));
            return pair.and_then(|pair| pair.get(&list.value));
        }
        let found = self.values.iter().flatten().filter_map(|root| root.pointer(path));
        said(found, |value| value)
    }

    fn first(&self, paths: &'j [String]) -> Option<(&'j str, &'j Json)> {
        let found = paths.iter().filter_map(|path| Some((path.as_str(), self.value(path)?)));
        said(found, |(_, value)| value)
    }

    /// Further pairs of the same code.
    fn repeats(&self, path: &str) -> impl Iterator<Item = &'j Json> {
        let code = path.strip_prefix('/').unwrap_or(path).to_owned();
        let pairs = self.pairs.into_iter().flat_map(|(pairs, list)| {
            pairs.iter().take(PAIRS_MAX).map(move |pair| (pair[&list.key].as_str(), pair.get(&list.value)))
        });
        pairs.filter(move |(own, _)| *own == Some(&code)).filter_map(|(_, value)| value).skip(1)
    }

    /// The sensor's own word.
    fn is_of_base(&self, path: &str) -> bool {
        self.base.and_then(|base| base.pointer(path)).is_some_and(|value| !value.is_null())
    }

    /// Device, time and number stand beside the pairs, not among them.
    fn around(&self, paths: &'j [String]) -> Option<(&'j str, &'j Json)> {
        let roots = self.values.iter().flatten().copied().chain([self.whole]);
        let found = paths
            .iter()
            .flat_map(|path| roots.clone().filter_map(|root| Some((path.as_str(), root.pointer(path)?))));
        said(found, |(_, value)| value)
    }
}

/// The first that says something; else the first, which is null.
fn said<'j, T: Copy>(found: impl Iterator<Item = T>, value: impl Fn(T) -> &'j Json) -> Option<T> {
    let mut null = None;
    for one in found {
        if !value(one).is_null() {
            return Some(one);
        }
        null = null.or(Some(one));
    }
    null
}

impl Profile {
    pub(super) fn decode_json(
        &self,
        shape: &Shape,
        work: &mut Work<'_, '_>,
        out: &mut Vec<Result<Reading, Refusal>>,
    ) -> Result<Mended, Refusal> {
        let (whole, mended) = wire::parse_json(work.message.payload)?;
        let start = out.len();
        match &shape.each {
            Some(path) => {
                let items = whole.pointer(path).and_then(Json::as_array).ok_or(Refusal::NoMeasurement)?;
                for item in items.iter().take(wire::BATCH_MAX) {
                    let values = [Some(item), Some(&whole)];
                    let view = View { values, base: None, whole: &whole, pairs: None, kept: None };
                    let reading =
                        if item.is_object() { self.reading(&view, work) } else { Err(Refusal::NotObject) };
                    out.push(reading);
                }
                out.extend(items.get(wire::BATCH_MAX).map(|_| Err(Refusal::BatchTooLong)));
            }
            None if !whole.is_object() => return Err(Refusal::NotObject),
            None => {
                let base = shape.base.iter().find_map(|path| whole.pointer(path));
                if base.is_none() && !shape.base.is_empty() {
                    // An envelope that nobody decoded: the strength of its signal is no word of the sensor.
                    work.left(&shape.base.join(", "), &"", &"left: not there; does the server run a codec?");
                    return Err(Refusal::NoMeasurement);
                }
                let pairs = match &shape.list {
                    Some(list) => {
                        let pairs = whole.pointer(&list.path).and_then(Json::as_array);
                        Some((pairs.ok_or(Refusal::NoMeasurement)?.as_slice(), list))
                    }
                    None => None,
                };
                let view = View { values: [base, Some(&whole)], base, whole: &whole, pairs, kept: None };
                let first = self.reading(&view, work);
                let root = base.unwrap_or(&whole);
                let kept =
                    shape.history.as_ref().and_then(|path| root.pointer(path)).and_then(Json::as_array);
                // A message of kept readings alone has nothing else to say.
                if !(first == Err(Refusal::NoMeasurement) && kept.is_some_and(|kept| !kept.is_empty())) {
                    out.push(first);
                }
                self.kept(kept.map_or(&[], Vec::as_slice), &whole, work, out);
            }
        }
        if work.trace.is_some() {
            self.tell_left(&whole, "", shape.list.as_ref(), work);
        }
        debug_assert!(out.len() - start <= 2 * wire::BATCH_MAX);
        Ok(mended)
    }

    /// Readings that a device kept and sends now.
    fn kept(
        &self,
        kept: &[Json],
        whole: &Json,
        work: &mut Work<'_, '_>,
        out: &mut Vec<Result<Reading, Refusal>>,
    ) {
        for item in kept.iter().take(wire::BATCH_MAX) {
            let view = View { values: [Some(item), None], base: None, whole, pairs: None, kept: Some(item) };
            out.push(self.reading(&view, work));
        }
        out.extend(kept.get(wire::BATCH_MAX).map(|_| Err(Refusal::BatchTooLong)));
    }

    fn reading(&self, view: &View<'_>, work: &mut Work<'_, '_>) -> Result<Reading, Refusal> {
        let mut reading = self.blank();
        let device = self.device_of_json(view.around(self.device.paths()), work);
        let mut of_sensor = view.base.is_none();
        for slot in &self.fields {
            let unit = slot.unit_at.as_deref().and_then(|path| view.value(path));
            unit.inspect(|unit| work.saw(unit));
            let unit = unit.and_then(Json::as_str);
            let Some((path, value)) = view.first(&slot.names) else { continue };
            // Of a list all that carry the code: the largest counts.
            for value in std::iter::once(value).chain(view.repeats(path)) {
                let took = slot.put(&mut reading, Raw::json(value), unit);
                let there = matches!(took, Took::Value(_) | Took::AllOnes(_) | Took::Saturated);
                of_sensor |= there && view.is_of_base(path);
                work.saw(value);
                if let Some(trace) = &mut work.trace {
                    trace.slot(&path, Raw::json(value), slot, unit, took);
                }
            }
        }
        for slot in &self.flags {
            let Some((path, value)) = view.first(&slot.names) else { continue };
            of_sensor |= !value.is_null() && view.is_of_base(path);
            let set = slot.is_set(Raw::json(value));
            if set {
                reading.flags.add(slot.flag);
            }
            work.saw(value);
            work.taken_flag(&path, value, slot, set);
        }
        if !self.seq.is_empty()
            && view.kept.is_none()
            && let Some((path, value)) = view.around(&self.seq)
        {
            work.saw(value);
            match value.as_u64() {
                Some(seq) => {
                    reading.seq = Some(seq);
                    work.taken(&path, value, &format_args!("seq {seq}"));
                }
                None => reading.marks.add(Marks::BAD_FIELD),
            }
        }
        self.put_time(&mut reading, view, work)?;
        if !of_sensor {
            // The strength of a signal is the network's word: nothing that the sensor said was understood.
            work.left(&"base", &"", &"left: no value and no flag in it that the profile names (quarantined)");
            return Err(Refusal::NoMeasurement);
        }
        finish(reading, device)
    }

    fn put_time(
        &self,
        reading: &mut Reading,
        view: &View<'_>,
        work: &mut Work<'_, '_>,
    ) -> Result<(), Refusal> {
        if view.kept.is_some() {
            reading.cause = Cause::Backfill;
        }
        let undated = || if view.kept.is_some() { Err(Refusal::Undated) } else { Ok(()) };
        let Some((paths, format)) = &self.time else {
            return undated();
        };
        let found = match view.kept {
            // The time of the message is not the time of what was kept.
            Some(item) => paths.iter().find_map(|path| Some((path.as_str(), item.pointer(path)?))),
            None => view.around(paths),
        };
        let Some((path, value)) = found else {
            return undated();
        };
        work.saw(value);
        reading.ts = format.read(value);
        work.told_time(&path, value, reading.ts);
        // A broken clock is judged at receipt: of what was kept that would make an old value one of this moment.
        let received_at = work.message.received_at;
        if view.kept.is_some() && reading.ts.is_some_and(|ts| !ts.plausible(received_at)) {
            return undated();
        }
        if reading.ts.is_none() {
            reading.marks.add(Marks::CLOCK);
            return undated();
        }
        Ok(())
    }

    /// The device at a path, or by the topic.
    pub(super) fn device_of_json(
        &self,
        found: Option<(&str, &Json)>,
        work: &mut Work<'_, '_>,
    ) -> Option<String> {
        let Device::Path(_) = &self.device else {
            let device = self.device_of_topic(work.message.topic);
            let topic = work.message.topic;
            work.taken_device(&"topic", &topic, device.as_deref());
            return device;
        };
        let (path, value) = found?;
        let device = match value {
            Json::String(text) => Some(text.trim().to_owned()),
            Json::Number(number) => Some(number.to_string()),
            _ => None,
        };
        work.saw(value);
        work.taken_device(&path, value, device.as_deref());
        device
    }

    /// Tells of what nobody looked at.
    pub(super) fn tell_left(&self, value: &Json, path: &str, list: Option<&List>, work: &mut Work<'_, '_>) {
        if work.seen.contains(&(std::ptr::from_ref(value) as usize)) {
            return;
        }
        match value {
            Json::Object(members) => {
                for (key, member) in members {
                    // What names a pair is no value of its own.
                    if list.is_some_and(|list| *key == list.key && path.starts_with(&list.path)) {
                        continue;
                    }
                    let key = key.replace('~', "~0").replace('/', "~1");
                    self.tell_left(member, &format!("{path}/{key}"), list, work);
                }
            }
            Json::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    self.tell_left(item, &format!("{path}/{place}"), list, work);
                }
            }
            leaf => work.left(&path, leaf, &"left: the profile names no field for it"),
        }
    }
}

impl Device {
    /// Paths of the device's name in a JSON payload.
    pub(super) fn paths(&self) -> &[String] {
        if let Self::Path(paths) = self { paths } else { &[] }
    }
}

/// What the canonical decoder takes and leaves, key by key.
pub(super) fn explain_canonical(payload: &[u8], trace: &mut Explained) {
    const OTHERS: [&str; 8] = ["ts", "seq", "boot", "cause", "flags", "by", "device", "post_id"];
    let Ok((json, _)) = wire::parse_json(payload) else { return };
    let single = std::slice::from_ref(&json);
    for item in json.as_array().map_or(single, Vec::as_slice) {
        for (key, value) in item.as_object().into_iter().flatten() {
            let place = format!("/{key}");
            match Field::from_name(key) {
                Some(field) => {
                    let mut reading = Reading::default();
                    let raw = match value {
                        Json::Null => wire::Value::Null,
                        Json::Bool(yes) => wire::Value::Bool(*yes),
                        Json::Number(number) => wire::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
                        Json::String(text) => wire::Value::Text(text.into()),
                        _ => wire::Value::Object,
                    };
                    let read = wire::thousandths_of(field, &raw);
                    if let Ok(Some(thousandths)) = read {
                        reading.put(field, thousandths);
                    }
                    let marks = reading.marks.names().collect::<Vec<_>>().join(", ");
                    let (taken, what) = match (read, reading.fields.get(field)) {
                        (_, Some(value)) => {
                            let value = lampguard_model::units::Thousandths(value);
                            (true, format!("{key} {value} {}", field.info().unit).trim_end().to_owned())
                        }
                        (Ok(None), None) => (false, format!("{key}: not measured")),
                        (Ok(_), None) => (reading.is_usable(), format!("{key}: dropped (mark {marks})")),
                        (Err(_), None) => {
                            (false, format!("{key}: dropped, not a value of it (mark bad_field)"))
                        }
                    };
                    trace.line(taken, &place, value, &what);
                }
                None if OTHERS.contains(&key.as_str()) => trace.line(true, &place, value, key),
                None => trace.line(false, &place, value, &"left: no key of a reading"),
            }
        }
    }
}
