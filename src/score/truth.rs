//! Reads truth: JSON lines of `design.md` 6, ours or anybody's.

use std::path::Path;

use anyhow::{Result, bail};
use lampguard_model::Millis;
use serde::Deserialize;
use serde_json::Value;

use super::facts::{Class, FEEDER_LEAK, Hazard, Spot};
use super::lines::{self, At, Time};
use crate::UsageError;

/// Lines of truth at most.
pub(super) const TRUTHS_MAX: usize = 200_000;
/// Longest reporting period, seconds: a week.
const PERIOD_S_MAX: f64 = 604_800.0;
/// Period of a sensor whose truth names none: that of `policy.md` 1.
const PERIOD_S_DEFAULT: f64 = 300.0;

const WAY_OUT: &str = "docs/score.md names the keys of a truth line";

#[derive(Deserialize)]
struct Line {
    post_id: Option<String>,
    feeder: Option<String>,
    place: Option<Value>,
    kind: Option<String>,
    cause: Option<String>,
    class: String,
    starts_at: Time,
    dangerous_at: Option<Time>,
    ends_at: Option<Time>,
    period_s: Option<f64>,
    sensor: Option<String>,
    observable: Option<bool>,
}

/// Reads a whole file.
pub(super) fn read(path: &Path) -> Result<Vec<Hazard>> {
    let mut hazards = Vec::new();
    lines::each(path, "truth", |at, line| {
        if hazards.len() >= TRUTHS_MAX {
            bail!(UsageError(format!(
                "{}: more than {TRUTHS_MAX} lines of truth; score it in parts, a night at a time",
                path.display()
            )));
        }
        hazards.push(parse(at, line)?);
        Ok(())
    })?;
    Ok(hazards)
}

fn parse(at: &At, line: &[u8]) -> Result<Hazard> {
    let line: Line = serde_json::from_slice(line).map_err(|e| at.fault(lines::reason(&e), WAY_OUT))?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let spot = Spot {
        post: given(line.post_id),
        feeder: given(line.feeder),
        place: lines::words(line.place.as_ref()),
    };
    if spot == Spot::default() {
        bail!(at.fault("no post_id, feeder or place", WAY_OUT));
    }
    let class = match line.class.as_str() {
        "dangerous" => Class::Dangerous,
        "marginal" => Class::Marginal,
        other => {
            bail!(at.fault(format_args!("class {other:?} is not dangerous or marginal"), WAY_OUT));
        }
    };
    let period_s = line.period_s.unwrap_or(PERIOD_S_DEFAULT);
    if !(0.0..=PERIOD_S_MAX).contains(&period_s) {
        bail!(at.fault(format_args!("period_s {period_s} is not 0 to {PERIOD_S_MAX}"), WAY_OUT));
    }
    let (starts_at, ends_at) = (line.starts_at.0, line.ends_at.map(|time| time.0));
    let dangerous_at = line.dangerous_at.map(|time| time.0);
    if ends_at.is_some_and(|end| end < starts_at) {
        bail!(at.fault("ends_at is before starts_at", WAY_OUT));
    }
    if dangerous_at.is_some_and(|moment| moment < starts_at || ends_at.is_some_and(|end| moment > end)) {
        bail!(at.fault("dangerous_at is not between starts_at and ends_at", WAY_OUT));
    }
    let kind = given(line.kind).unwrap_or_else(|| "electric".to_owned());
    // Joints that only the cabinet sees: nobody can be asked to find the one joint.
    let class = if kind == FEEDER_LEAK { Class::Marginal } else { class };
    let sensor = given(line.sensor).unwrap_or_else(|| "ok".to_owned());
    Ok(Hazard {
        spot,
        kind,
        cause: given(line.cause).unwrap_or_else(|| "unknown".to_owned()),
        class,
        starts_at,
        dangerous_at,
        ends_at,
        period: Millis((period_s * 1000.0).round() as i64),
        observable: line.observable.unwrap_or(sensor == "ok"),
        sensor,
    })
}

#[cfg(test)]
mod tests {
    use lampguard_model::Timestamp;

    use super::*;

    fn one(json: &str) -> Result<Hazard> {
        parse(&At::new(Path::new("truth.jsonl"), 7), json.as_bytes())
    }

    #[test]
    fn a_line_of_the_contract_and_the_least_that_a_foreign_one_needs_are_read() {
        let ours = one(
            r#"{"post_id":"P1","kind":"electric","cause":"wet_joint","class":"dangerous","starts_at":1000,
                "dangerous_at":2000,"ends_at":null,"period_s":15,"sensor":"failed:silent","observable":false,"x":1}"#,
        )
        .unwrap();
        assert_eq!((ours.spot, ours.class), (Spot::post("P1"), Class::Dangerous));
        assert_eq!((ours.period, ours.ends_at, ours.observable), (Millis::seconds(15), None, false));
        let least = r#"{"feeder":"F1","class":"marginal","starts_at":"2026-11-23T20:00:00+08:00"}"#;
        let least = one(least).unwrap();
        assert_eq!((least.spot.name(), least.starts_at), ("F1", Timestamp(1_795_435_200_000)));
        assert_eq!((least.kind.as_str(), least.sensor.as_str(), least.observable), ("electric", "ok", true));
        assert_eq!(least.period, Millis::seconds(300));
        let place = r#"{"place":{"lon":1,"lat":2,"text":"北门"},"class":"marginal","starts_at":1}"#;
        assert_eq!(one(place).unwrap().spot.name(), "北门");
        let joint =
            r#"{"feeder":"F1","kind":"feeder_leak","class":"dangerous","starts_at":1,"dangerous_at":1}"#;
        assert_eq!(one(joint).unwrap().class, Class::Marginal);
    }

    #[test]
    fn a_wrong_line_is_named_with_its_reason_and_the_way_out() {
        for (json, word) in [
            ("nonsense", "expected"),
            ("[]", "expected"),
            (r#"{"class":"marginal","starts_at":1}"#, "no post_id, feeder or place"),
            (r#"{"post_id":"P1","starts_at":1}"#, "missing field `class`"),
            (r#"{"post_id":"P1","class":"bad","starts_at":1}"#, "class \"bad\""),
            (r#"{"post_id":"P1","class":"marginal"}"#, "starts_at"),
            (r#"{"post_id":"P1","class":"marginal","starts_at":"soon"}"#, "\"soon\" is no time"),
            (r#"{"post_id":"P1","class":"marginal","starts_at":2,"ends_at":1}"#, "ends_at is before"),
            (r#"{"post_id":"P1","class":"dangerous","starts_at":2,"dangerous_at":1}"#, "dangerous_at is not"),
            (r#"{"post_id":"P1","class":"dangerous","starts_at":2,"period_s":-1}"#, "period_s -1"),
        ] {
            let fault = one(json).unwrap_err().to_string();
            assert!(fault.starts_with("truth.jsonl: line 7: ") && fault.contains(word), "{json}: {fault}");
            assert!(fault.ends_with(WAY_OUT), "{fault}");
        }
    }
}
