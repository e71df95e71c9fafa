//! Posts and readings of the bench: quiet values that raise nothing, unless they are asked to be dangerous.

use std::fmt::Write as _;

/// Zones of the bench's city.
pub(super) const ZONES: u64 = 4;
/// Posts behind one feeder.
const FEEDER_POSTS: u64 = 50;

/// Name of a post.
pub(super) fn post_id(post: u64) -> String {
    format!("P{post:06}")
}

/// Topic of a post's readings.
pub(super) fn topic(post: u64) -> String {
    format!("lamp/z{}/P{post:06}/reading", post % ZONES + 1)
}

/// A register of these posts.
pub(super) fn register(posts: u64) -> String {
    let mut csv = lampguard_model::register::header();
    csv.push('\n');
    for post in 0..posts {
        let (zone, feeder) = (post % ZONES + 1, post / FEEDER_POSTS / ZONES);
        let (lon, lat) = (126.5 + (post % 97) as f64 * 0.001, 45.7 + (post / 97) as f64 * 0.001);
        let _ = writeln!(
            csv,
            "P{post:06},,z{zone},Road {},{post},,F{zone}-{feeder},C{zone}-{feeder},{lon:.4},{lat:.4},1,120,false,2020-01-01,,,,,,",
            post / 100
        );
    }
    csv
}

/// What makes a reading dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Danger {
    /// Nothing.
    None,
    /// 80 mA: confirmed by the next such reading.
    Leak,
    /// 80 mA and the device's own alarm flag: confirmed by itself.
    LeakWithFlag,
}

/// Writes the payload of reading `number`. With `both`, the keys that the Python script of
/// `shared/peers-bench` reads stand beside ours, so that one load feeds both.
pub(super) fn write(out: &mut String, reading: Reading, both: bool) {
    let Reading { number, post, boot, seq, ts_ms, danger } = reading;
    out.clear();
    let leak = if danger == Danger::None { (number % 300) as f64 * 0.01 } else { 80.0 };
    let (volts, amps) = (220.0 + (number % 170) as f64 * 0.1, 0.4 + (number % 97) as f64 * 0.001);
    let (temperature, shell) = (10.0 + (number % 150) as f64 * 0.1, (number % 23) as f64 * 0.1);
    let _ = write!(out, "{{\"ts\":{ts_ms},\"seq\":{seq},\"boot\":{boot},\"leakage_ma\":{leak:.2},");
    let _ = write!(
        out,
        "\"shell_v\":{shell:.1},\"supply_v\":{volts:.1},\"lamp_a\":{amps:.3},\"temperature_c\":{temperature:.1},"
    );
    if both {
        let zone = post % ZONES + 1;
        let _ = write!(
            out,
            "\"post\":\"P{post:06}\",\"zone\":{zone},\"v\":{volts:.1},\"leak_ma\":{leak:.2},\"temp_c\":{temperature:.1},"
        );
    } else {
        let _ = write!(out, "\"lamp_w\":{:.1},", volts * amps);
    }
    if danger == Danger::LeakWithFlag {
        out.push_str("\"flags\":[\"leak_alarm\"],");
    }
    let _ = write!(out, "\"supply\":\"on\",\"battery_v\":3.61,\"rssi_dbm\":-{}}}", 60 + number % 40);
}

/// Which reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) number: u64,
    pub(super) post: u64,
    pub(super) boot: u32,
    pub(super) seq: u64,
    pub(super) ts_ms: i64,
    pub(super) danger: Danger,
}

#[cfg(test)]
mod tests {
    use lampguard_model::{Register, wire};

    use super::*;

    #[test]
    fn the_register_and_the_payloads_are_what_lampguard_reads() {
        let register = Register::parse(register(300).as_bytes()).unwrap();
        assert_eq!((register.posts().len(), register.zones().len()), (300, 4));
        for (danger, both) in [(Danger::None, false), (Danger::LeakWithFlag, true)] {
            let (mut text, mut out) = (String::new(), Vec::new());
            let reading = Reading { number: 7, post: 7, boot: 2, seq: 9, ts_ms: 1_760_710_920_123, danger };
            write(&mut text, reading, both);
            wire::decode(text.as_bytes(), &mut out).unwrap();
            let reading = out[0].as_ref().unwrap();
            assert_eq!((reading.seq, reading.boot, reading.marks.0), (Some(9), Some(2), 0), "{text}");
            assert_eq!(reading.unknown_keys, if both { 5 } else { 0 });
            assert!(register.by_post(&post_id(7)).is_some() && wire::parse_topic(&topic(7)).is_some());
        }
    }
}
