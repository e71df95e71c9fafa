//! A `[[profile]]` as it stands in a file.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One `[[profile]]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileConfig {
    /// Name that a mapping refers to.
    pub name: String,
    /// How the bytes are read: `json`, `senml`, `sparkplug`, `frame` or `value`.
    pub decoder: String,
    /// Finest step of a field, in its unit, where the sensor is coarse: `{ supply_v = 1 }`. For those who read the
    /// profile: the engine goes by the digits that a sensor has sent.
    #[serde(default)]
    pub resolution: BTreeMap<String, f64>,
    /// Where the device's name stands.
    pub device: DeviceFrom,
    /// JSON pointer to an array of readings, for payloads that carry several.
    pub each: Option<String>,
    /// JSON pointers to the object that holds the values, where several senders wrap it differently.
    #[serde(default)]
    pub base: Vec<String>,
    /// JSON pointer, inside the base, to an array of earlier readings that were kept in the device.
    pub history: Option<String>,
    /// A list of pairs instead of an object: each path is then the key of a pair.
    pub list: Option<ListFrom>,
    /// Where the bytes of a frame stand; for the decoder `frame`.
    pub frame: Option<FrameFrom>,
    /// The topic level that says which quantity a payload is (`topic:3`); for the decoder `value`.
    pub quantity: Option<String>,
    /// Which value goes into which field.
    pub fields: Vec<FieldFrom>,
    /// Which bits or values are the device's flags.
    #[serde(default)]
    pub flags: Vec<FlagFrom>,
    /// Where the device's time stands; absent means receipt.
    pub time: Option<TimeFrom>,
    /// Where the device's running number stands.
    pub seq: Option<Paths>,
    /// Reporting period of such devices, seconds.
    pub period_s: Option<u32>,
    /// True when unchanged values are left out of a payload.
    #[serde(default)]
    pub partial: bool,
}

/// One path, or several of which the first that is there counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    /// `"/a"`.
    One(String),
    /// `["/a", "/b"]`.
    Many(Vec<String>),
}

impl Paths {
    /// The paths in their order.
    pub(super) fn list(&self) -> Vec<String> {
        match self {
            Self::One(path) => vec![path.clone()],
            Self::Many(paths) => paths.clone(),
        }
    }
}

/// Where the device's name stands: in the topic, at a JSON pointer, in bytes of a frame.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum DeviceFrom {
    /// `topic:N`, counted from 0; `topic:3+4` joins levels by a colon. For `senml` also `name`: what stands before
    /// the quantity in a record's name.
    Topic {
        /// The level.
        from: String,
    },
    /// A JSON pointer.
    Path {
        /// RFC 6901.
        path: Paths,
    },
    /// Bytes of a frame, printed as hexadecimal digits.
    Bytes {
        /// First byte, counted from 0.
        at: usize,
        /// How many.
        length: usize,
    },
}

/// Pairs in an array: `[{"code":"cur_voltage","value":2301}]` has key `code` and value `value`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListFrom {
    /// JSON pointer to the array.
    pub path: String,
    /// Member that names the pair.
    pub key: String,
    /// Member that holds its value.
    pub value: String,
}

/// The bytes of a frame.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameFrom {
    /// JSON pointer to the text that holds the frame; absent: the payload is the frame.
    pub path: Option<Paths>,
    /// `raw` (the payload's own bytes), `hex` or `base64`.
    pub encoding: String,
    /// `modbus`: the last two bytes are its CRC16, low byte first. Absent: not checked.
    pub crc: Option<String>,
    /// Bytes that every such frame has.
    pub length: Option<usize>,
    /// Hexadecimal digits that every such frame begins with; `xx` stands for any byte.
    pub starts: Option<String>,
}

/// One value of a payload and the field it goes into.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldFrom {
    /// JSON pointer (RFC 6901); for `senml`, `sparkplug` and `value` the name of the quantity.
    pub path: Option<Paths>,
    /// First byte in a frame, counted from 0.
    pub at: Option<usize>,
    /// Form of the bytes: `u8 i8 u16 i16 u32 i32 f32`.
    #[serde(rename = "as")]
    pub form: Option<String>,
    /// `big` (default), `little`, or `swapped`: words in big endian, the low word first.
    pub order: Option<String>,
    /// Canonical field.
    pub to: String,
    /// Factor; 1 when absent.
    pub scale: Option<f64>,
    /// Added after scaling; 0 when absent.
    pub offset: Option<f64>,
    /// Texts that stand for numbers: `{ leak = 1, normal = 0 }`.
    #[serde(default)]
    pub words: BTreeMap<String, f64>,
    /// Unit of the values, where the payload names none: `A` into `leakage_ma` is a factor of 1000.
    pub unit: Option<String>,
    /// JSON pointer to the unit that the payload names.
    pub unit_at: Option<String>,
    /// True when a value whose unit the payload does not name is dropped: nobody knows whether 0.035 is mA or A.
    #[serde(default)]
    pub needs_unit: bool,
}

/// One flag of a payload.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagFrom {
    /// As in a field.
    pub path: Option<Paths>,
    /// As in a field.
    pub at: Option<usize>,
    /// As in a field.
    #[serde(rename = "as")]
    pub form: Option<String>,
    /// As in a field.
    pub order: Option<String>,
    /// Bit of a whole number, also in quotes or with a sign; without it any value sets the flag but 0, `false`, `off`, `no`,
    /// `normal`, `none`, `ok`, `clear`, `cleared`, `inactive`, and what says nothing (`unknown`, `--`, `""`, `null`).
    pub bit: Option<u8>,
    /// Canonical flag.
    pub to: String,
}

/// The device's time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeFrom {
    /// JSON pointer (RFC 6901).
    pub path: Paths,
    /// `number` (seconds to nanoseconds by size), `rfc3339`, `any` (either of them), or a strptime pattern.
    pub format: String,
    /// Zone of times that carry none; needed by patterns.
    pub zone: Option<String>,
}

/// A fault of a profile, for `config check`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("profile {profile}: {reason}")]
pub struct ProfileFault {
    /// Name of the profile.
    pub profile: String,
    /// What is wrong, with the value and the way out.
    pub reason: String,
}
