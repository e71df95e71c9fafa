//! Writing the canonical payload.

use serde_json::{Map, Value as Json, json};

use crate::field::Field;
use crate::reading::{Cause, Flags, Marks, Reading};
use crate::units::to_f64;

/// The canonical JSON of a reading: what the simulator publishes and `record` writes.
pub fn to_json(reading: &Reading) -> Json {
    let mut map = Map::new();
    let mut put = |key: &str, value: Option<Json>| {
        if let Some(value) = value {
            map.insert(key.to_owned(), value);
        }
    };
    put("device", reading.device.as_deref().map(|device| json!(device)));
    put("ts", reading.ts.map(|ts| json!(ts.0)));
    put("seq", reading.seq.map(|seq| json!(seq)));
    put("boot", reading.boot.map(|boot| json!(boot)));
    put("cause", (reading.cause != Cause::Periodic).then(|| json!(reading.cause.name())));
    put("by", reading.by.as_deref().map(|by| json!(by)));
    for (field, value) in reading.fields.iter() {
        put(field.name(), Some(field_json(field, value)));
    }
    if reading.marks.has(Marks::SATURATED) {
        put("leakage_ma", Some(json!(65_535)));
    }
    if reading.flags != Flags::default() {
        put("flags", Some(json!(reading.flags.names().collect::<Vec<_>>())));
    }
    Json::Object(map)
}

/// One value as it stands in JSON: yes/no fields as booleans, `supply` and `check` as words.
pub fn field_json(field: Field, thousandths: i64) -> Json {
    match field {
        Field::Supply => json!(if thousandths != 0 { "on" } else { "off" }),
        Field::Check => json!(["ok", "suspect", "live"][(thousandths / 1000).clamp(0, 2) as usize]),
        _ if field.info().boolean => json!(thousandths != 0),
        _ if thousandths % 1000 == 0 => json!(thousandths / 1000),
        _ => json!(to_f64(thousandths)),
    }
}
