use lampguard_ingester::Offline;
use lampguard_journal::FrameBuf;

use super::*;

const T: Timestamp = Timestamp(1_795_435_200_000);

fn register() -> Arc<Register> {
    let mut text = lampguard_model::register::header();
    for n in 0..8 {
        let (zone, low, period) = (n % 2, n % 3 == 0, [60, 300, 3600][n % 3]);
        text +=
            &format!("\nP{n},D{n},z{zone},r,{n},,F{n},C1,113.2,35.2,1,100,{low},,,post,all,true,M,{period}");
    }
    Arc::new(Register::parse(text.as_bytes()).unwrap())
}

/// Messages as (receipt, topic, payload).
type Recording = Vec<(Timestamp, String, String)>;

/// Incident lines, and what was judged with the ticks taken out.
fn judged(recording: &Recording, pace: Pace) -> (Vec<String>, Judged, u64) {
    let mut judge = Judge::new(Policies::default(), register(), pace);
    let mut offline = Offline::new(register(), Offline::mappings());
    let mut lines = Vec::new();
    for (at, topic, payload) in recording {
        offline.take(*at, topic, payload.as_bytes(), false, &mut |frame: &FrameBuf| {
            judge.judge(frame.records(), |_| {});
        });
        lines.extend(judge.ended().map(|told| told.to_json()));
    }
    offline.flush(&mut |frame| judge.judge(frame.records(), |_| {}));
    lines.extend(judge.finish().iter().map(Told::to_json));
    let ticks = std::mem::take(&mut judge.judged.ticks);
    (lines, judge.judged.clone(), ticks)
}

fn reading(at: Timestamp, device: &str, leakage_ma: f64) -> (Timestamp, String, String) {
    let payload = format!(r#"{{"ts":{},"leakage_ma":{leakage_ma},"supply_v":229}}"#, at.0);
    (at, format!("lamp/z0/{device}/reading"), payload)
}

fn weather(at: Timestamp, zone: &str, rain_mm_h: f64, warning: &str) -> (Timestamp, String, String) {
    let payload = format!(r#"{{"ts":{},"rain_mm_h":{rain_mm_h},"warning":"{warning}"}}"#, at.0);
    (at, format!("weather/{zone}/rain"), payload)
}

#[test]
fn a_post_that_joins_an_incident_later_was_not_told_with_its_first_notice() {
    let mut csv = lampguard_model::register::header();
    for n in 0..10 {
        csv += &format!("\nP{n},D{n},z0,r,{n},,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M,60");
    }
    let register = Arc::new(Register::parse(csv.as_bytes()).unwrap());
    let mut judge = Judge::new(Policies::default(), register.clone(), Pace::AsNeeded);
    let mut offline = Offline::new(register, Offline::mappings());
    // Six posts are dangerous once and silent then, a seventh ten minutes later; the others report on.
    for minute in 0..40 {
        for n in 0..10 {
            let last = if n < 6 { 10 } else { 20 };
            if n < 7 && minute > last {
                continue;
            }
            let value = if n < 7 && minute == last { 80.0 } else { 0.9 };
            let (at, topic, payload) = reading(T + Millis::minutes(minute), &format!("D{n}"), value);
            let look = &mut |frame: &FrameBuf| judge.judge(frame.records(), |_| {});
            offline.take(at, &topic, payload.as_bytes(), false, look);
        }
    }
    offline.flush(&mut |frame| judge.judge(frame.records(), |_| {}));
    let told = judge.finish();
    let grouped =
        told.iter().find(|told| told.incident.members.len() >= 7).expect("one incident of the feeder");
    let first = grouped.notices.first_at.unwrap();
    assert_eq!((grouped.notices.p1_at, grouped.incident.opened_at), (Some(first), first));
    for (member, told_at) in grouped.incident.members.iter().zip(grouped.members_told_at()) {
        if &**member == "P6" {
            assert!(told_at.is_none_or(|at| at >= T + Millis::minutes(21)), "{told_at:?}");
        } else {
            assert_eq!(told_at, Some(first), "{member}");
        }
    }
    let line: serde_json::Value = serde_json::from_str(&grouped.to_json()).unwrap();
    assert_eq!(line["members_told_at"].as_array().unwrap().len(), 7);
    assert_ne!(line["members_told_at"][6], line["first_notice_at"]);
}

/// A stream of numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ x >> 31) % n
    }
}

/// Some days of thin, ragged readings and weather: bursts, gaps of seconds to a day, backlogs, wrong clocks.
fn ragged(seed: u64) -> Recording {
    let mut dice = Dice(seed);
    let (mut now, mut recording) = (T + Millis(dice.below(1000) as i64), Recording::new());
    for _ in 0..150 {
        let gap_ms = match dice.below(10) {
            0..=5 => dice.below(90_000),
            6 | 7 => dice.below(900_000),
            8 => dice.below(5_400_000),
            _ => dice.below(8_000_000),
        };
        now = now + Millis(gap_ms as i64);
        let place = dice.below(8);
        let zone = ["z0", "z1", "all"][dice.below(3) as usize];
        match dice.below(8) {
            0 => {
                let rain = [0.0, 0.0, 0.04, 0.09, 0.2, 6.0][dice.below(6) as usize];
                let warning = if dice.below(5) == 0 { "yellow" } else { "none" };
                recording.push(weather(now, zone, rain, warning));
            }
            1 => {
                let payload = format!(r#"{{"wet":{}}}"#, dice.below(2) == 0);
                recording.push((now, format!("weather/{zone}/rain"), payload));
            }
            kind => {
                let value = [0.8, 5.0, 14.9, 17.0, 31.0, 80.0][dice.below(6) as usize];
                let calm = dice.below(3) > 0;
                for n in 0..1 + dice.below(4) as i64 {
                    let at = now + Millis(n * (1 + dice.below(40_000) as i64));
                    let mut line = reading(at, &format!("D{place}"), if calm { 0.9 } else { value });
                    if kind == 7 {
                        // Measured long ago, as a backlog has it.
                        let old = (at - Millis::minutes(dice.below(300) as i64)).0;
                        line.2 = line.2.replace(&at.0.to_string(), &old.to_string());
                    }
                    let odd =
                        [r#""supply_v":0"#, r#""immersed":true"#, r#""immersed":false"#, r#""shell_v":14"#];
                    let stranger = [
                        r#""supply_v":229,"door_open":true"#,
                        r#""supply_v":229,"tilt_deg":20,"impact":true"#,
                        r#""supply_v":171"#,
                        r#""supply_v":258.5"#,
                        r#""supply_v":229,"flags":["leak_alarm"]"#,
                        r#""supply_v":229,"lamp_w":90"#,
                    ];
                    if let Some(odd) = stranger.get(dice.below(40) as usize) {
                        line.2 = line.2.replace(r#""supply_v":229"#, odd);
                    }
                    if let Some(odd) = odd.get(dice.below(12) as usize) {
                        line.2 = line.2.replace(r#""supply_v":229"#, odd);
                    }
                    if dice.below(20) == 0 {
                        line.2 = line.2.replace(":80,", ":65535,");
                    }
                    now = now.max(at);
                    recording.push(line);
                }
            }
        }
    }
    // A day and more in which four posts are calm, so that incidents end.
    for n in 1..=180 {
        let at = now + Millis::minutes(10 * n);
        for place in 0..4 {
            let mut line = reading(at + Millis(place), &format!("D{place}"), 0.7);
            line.2 = line.2.replace("229", r#"229,"shell_v":0.3,"immersed":false"#);
            recording.push(line);
        }
    }
    recording.sort_by_key(|(at, ..)| *at);
    recording
}

#[test]
fn a_clock_that_leaps_gives_what_a_tick_each_second_gives() {
    let (mut incidents, mut ended, mut leaps, mut seconds) = (0, 0, 0, 0);
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..3 {
        let recording = ragged(seed);
        let (lines, judged_leaping, ticks) = judged(&recording, Pace::AsNeeded);
        let (each_second, judged_each_second, all_ticks) = judged(&recording, Pace::EachSecond);
        assert_eq!(lines, each_second, "seed {seed}");
        assert_eq!(judged_leaping, judged_each_second, "seed {seed}");
        incidents += lines.len();
        let kind = |line: &String| {
            serde_json::from_str::<serde_json::Value>(line).ok()?["kind"].as_str().map(str::to_owned)
        };
        kinds.extend(lines.iter().filter_map(kind));
        ended += lines.iter().filter(|line| !line.contains(r#""ended_at":null"#)).count();
        (leaps, seconds) = (leaps + ticks, seconds + all_ticks);
    }
    assert!(incidents > 15 && ended > 3, "{incidents} incidents, {ended} of them ended: nothing was shown");
    assert!(leaps * 5 < seconds, "{leaps} ticks instead of {seconds}");
    assert!(kinds.len() >= 8, "only {kinds:?} were raised");
    println!("{kinds:?}\n{incidents} incidents, {leaps} ticks instead of {seconds}");
}

#[test]
fn the_same_readings_give_the_same_bytes_and_other_values_give_others() {
    let recording = ragged(99);
    let (lines, ..) = judged(&recording, Pace::AsNeeded);
    assert_eq!(lines, judged(&recording, Pace::AsNeeded).0);
    let mut other = recording;
    let mut changed = 0;
    for (_, _, payload) in &mut other {
        changed += payload.matches(":31,").count();
        *payload = payload.replace(":31,", ":32,");
    }
    assert!(changed > 0, "nothing was changed");
    assert_ne!(lines, judged(&other, Pace::AsNeeded).0);
}

#[test]
fn an_incident_ends_when_its_signal_has_been_normal_for_24_hours_and_the_next_one_is_another() {
    let minutes = |n: i64| T + Millis::minutes(n);
    let mut recording = Recording::new();
    let mut run = |from: i64, to: i64, value: f64| {
        recording.extend((from..to).map(|n| reading(minutes(n), "D0", value)));
    };
    run(0, 3, 40.0);
    run(3, 24 * 60 + 40, 1.0);
    run(24 * 60 + 40, 24 * 60 + 45, 40.0);
    let (lines, ..) = judged(&recording, Pace::AsNeeded);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    // Calm from minute 3; normal after ten minutes.
    let ended = (minutes(13) + Millis::hours(24)).to_rfc3339();
    assert!(lines[0].contains(&format!(r#""ended_at":"{ended}""#)), "{}", lines[0]);
    assert!(lines[1].contains(r#""ended_at":null"#), "{}", lines[1]);
    let opened = (minutes(24 * 60 + 41)).to_rfc3339();
    assert!(lines[1].contains(&format!(r#""opened_at":"{opened}""#)), "{}", lines[1]);
    assert!(lines[1].contains(&format!(r#""first_notice_at":"{opened}""#)), "{}", lines[1]);
    assert!(lines[1].contains(&format!(r#""p1_at":"{opened}""#)), "{}", lines[1]);
}

#[test]
fn danger_that_shows_again_begins_the_24_hours_anew_and_silence_does_not_end_them() {
    let minutes = |n: i64| T + Millis::minutes(n);
    let mut recording = Recording::new();
    let mut run = |from: i64, to: i64, value: f64| {
        recording.extend((from..to).map(|n| reading(minutes(n), "D0", value)));
    };
    run(0, 3, 40.0);
    run(3, 20 * 60, 1.0);
    run(20 * 60, 20 * 60 + 2, 40.0);
    run(20 * 60 + 2, 30 * 60, 1.0);
    // Silent over the end of the 24 hours: it ends with the reading that says normal again.
    run(46 * 60, 46 * 60 + 5, 1.0);
    let (mut lines, ..) = judged(&recording, Pace::AsNeeded);
    lines.retain(|line| line.contains("leak_critical"));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let ended = minutes(46 * 60).to_rfc3339();
    assert!(lines[0].contains(&format!(r#""ended_at":"{ended}""#)), "{}", lines[0]);
}
