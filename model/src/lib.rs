//! The words of lampguard: readings, quantities, posts, zones, times, payloads and topics.
//!
//! Pure: no socket, no file, no clock. Everything that needs to know *now* takes it as an argument.
//!
//! | file | what it holds |
//! |---|---|
//! | [`time`] | [`Timestamp`]: milliseconds UTC |
//! | [`units`] | exact decimals, and quantities that carry their unit as a type |
//! | [`field`] | the measured fields of a reading, their ranges and units |
//! | [`reading`] | one reading as a sensor sent it |
//! | [`wire`] | canonical payload; `mend.rs` reads what cheap firmware prints |
//! | [`topic`] | topic grammar and MQTT filters |
//! | [`register`] | the register of posts (台账) |
//! | [`coordinates`] | WGS-84, GCJ-02 and BD-09 |
//! | [`geohash`] | a place as a word of letters |
//! | [`Current`] | what holds now and may be replaced, as the register is |
//! | [`weather`] | rain and warnings for one zone |
//! | [`series`] | what the time-series database is given: measurements, tags, fields, codes |
//! | [`record`] | what the journal keeps: the binary form that every follower reads |

mod canonical;
pub mod coordinates;
mod current;
pub mod field;
pub mod geohash;
mod mend;
pub mod reading;
pub mod record;
pub mod register;
pub mod series;
pub mod time;
pub mod topic;
pub mod units;
pub mod weather;
pub mod wire;

pub use coordinates::Crs;
pub use current::Current;
pub use field::{Field, Fields};
pub use reading::{Cause, Flags, Marks, Reading};
pub use record::{Record, StoredReading};
pub use register::{Post, PostKind, Register};
pub use time::{Millis, Timestamp};
pub use units::{Decimal, Milliamps, Quantity, Volts};
pub use weather::{Warning, WeatherReport};

/// The zone of a device that the register does not know.
pub const UNREGISTERED: &str = "unregistered";
