//! One plain value a topic, as home automation sends them: the topic says which quantity, the payload is a number or
//! a word. Each is a reading by itself that leaves all else out, so nothing is kept between messages.

use lampguard_model::Reading;
use lampguard_model::wire::Refusal;

use super::slot::{Raw, TEXT_MAX};
use super::{Profile, Work, finish};

impl Profile {
    pub(super) fn decode_value(
        &self,
        level: usize,
        work: &mut Work<'_, '_>,
        out: &mut Vec<Result<Reading, Refusal>>,
    ) -> Result<(), Refusal> {
        let text = std::str::from_utf8(work.message.payload).map_err(|_| Refusal::Utf8)?.trim();
        if text.is_empty() {
            return Err(Refusal::Empty);
        }
        let topic = work.message.topic;
        let quantity = topic.split('/').nth(level).unwrap_or_default();
        let Some(slot) = self.fields.iter().find(|slot| slot.names.iter().any(|name| name == quantity))
        else {
            let why = format_args!("left: the profile names no field for the quantity {quantity:?}");
            work.left(&topic, &text, &why);
            return Err(Refusal::NoMeasurement);
        };
        if text.len() > TEXT_MAX || text.starts_with(['{', '[']) {
            return Err(Refusal::Format);
        }
        let device = self.device_of_topic(topic);
        work.taken_device(&"topic", &topic, device.as_deref());
        // "12.5 mA" says its unit by itself.
        let (number, unit) = match text.split_once(' ') {
            Some((number, unit)) if number.parse::<f64>().is_ok() => (number, Some(unit.trim())),
            _ => (text, None),
        };
        let gone = ["unavailable", "unknown", "offline"].iter().any(|word| text.eq_ignore_ascii_case(word));
        let raw = if gone { Raw::Absent } else { Raw::Text(number.trim_matches('"')) };
        let mut reading = self.blank();
        let took = slot.put(&mut reading, raw, unit);
        if let Some(trace) = &mut work.trace {
            trace.slot(&topic, raw, slot, unit, took);
        }
        out.push(finish(reading, device));
        Ok(())
    }
}
