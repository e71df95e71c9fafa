//! Recordings and truth as JSON lines (design.md section 6), as fast as the machine goes.

use std::io::{self, Write};

use lampguard_model::Timestamp;

use crate::payload::is_json;
use crate::simulation::{Counts, Message, Simulation};
use crate::truth::Truth;

/// Why writing ended. Stop: the file is not whole.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file could not be written.
    #[error("recording could not be written: {0}")]
    Write(#[from] io::Error),
    /// A truth line could not be made.
    #[error("truth could not be written: {0}")]
    Truth(#[from] serde_json::Error),
}

/// Writes everything a simulation sends up to `until` (included) and says what it was. `progress` is called
/// now and then with the counts and the simulated instant.
///
/// # Errors
/// [`RecordingError::Write`] when the file refuses.
pub fn record(
    simulation: &mut Simulation,
    until: Timestamp,
    out: &mut impl Write,
    mut progress: impl FnMut(Counts, Timestamp),
) -> Result<Counts, RecordingError> {
    loop {
        let messages = simulation.advance(until);
        let Some(last) = messages.last() else { break };
        let reached = last.at;
        for message in &messages {
            write_line(out, message)?;
        }
        progress(simulation.counts(), reached);
    }
    out.flush()?;
    Ok(simulation.counts())
}

/// One recording line. Topics hold no character that JSON escapes. A payload that is no JSON (cut in the middle, a
/// bare NaN) stands there as a string.
///
/// # Errors
/// What the writer says.
pub fn write_line(out: &mut impl Write, message: &Message) -> io::Result<()> {
    write!(out, r#"{{"received_at":{},"topic":"{}""#, message.at.0, message.topic)?;
    if message.retain {
        out.write_all(br#","retain":true"#)?;
    }
    out.write_all(br#","payload":"#)?;
    if is_json(&message.payload) {
        out.write_all(&message.payload)?;
    } else {
        serde_json::to_writer(&mut *out, &String::from_utf8_lossy(&message.payload))?;
    }
    out.write_all(b"}\n")
}

/// Writes truth lines.
///
/// # Errors
/// [`RecordingError`] when the file refuses.
pub fn write_truth(out: &mut impl Write, truths: &[Truth]) -> Result<(), RecordingError> {
    for truth in truths {
        serde_json::to_writer(&mut *out, truth)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lampguard_model::{Millis, WeatherReport, wire};

    use super::*;
    use crate::city::City;
    use crate::scenario::Scenario;
    use crate::simulation::Run;

    const START: Timestamp = Timestamp(1_760_710_920_000);

    fn recording(scenario: &str, minutes: i64) -> (Counts, Vec<u8>) {
        let mut scenario = Scenario::shipped(scenario).unwrap();
        scenario.quirks.truncated = 0.01;
        scenario.quirks.not_a_number = 0.01;
        let city = Arc::new(City::new(400, 1, &scenario).unwrap());
        let run = Run { seed: 1, speed: None, boot: 3, start: START };
        let mut simulation = Simulation::new(city, scenario, run).unwrap();
        let mut bytes = Vec::new();
        let until = START + Millis::minutes(minutes);
        let counts = record(&mut simulation, until, &mut bytes, |_, at| assert!(at <= until)).unwrap();
        (counts, bytes)
    }

    #[test]
    fn every_line_of_a_recording_parses_and_its_payload_too_where_it_is_whole() {
        for scenario in ["demo", "everything_at_once"] {
            let (counts, bytes) = recording(scenario, if scenario == "demo" { 5 } else { 600 });
            let (mut broken, mut retained, mut last) = (0, 0, 0);
            for line in String::from_utf8(bytes).unwrap().lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                let received_at = line["received_at"].as_i64().unwrap();
                assert!(received_at >= last, "in order of receipt");
                last = received_at;
                retained += u64::from(line["retain"] == true);
                let payload = &line["payload"];
                broken += u64::from(payload.is_string());
                if let Some(wire::Topic::Weather { .. }) = wire::parse_topic(line["topic"].as_str().unwrap())
                {
                    WeatherReport::decode(payload.to_string().as_bytes()).unwrap();
                }
            }
            // A lost or late message is in the counts and not in the recording.
            assert!(broken <= counts.broken && broken * 10 > counts.broken * 9, "{broken} {counts:?}");
            assert!(counts.readings > 8000 && retained == counts.leftovers);
        }
    }

    #[test]
    fn two_recordings_of_one_seed_are_equal_byte_by_byte() {
        assert_eq!(recording("demo", 2), recording("demo", 2));
        assert_eq!(recording("everything_at_once", 700), recording("everything_at_once", 700));
    }

    #[test]
    fn truth_lines_parse() {
        let scenario = Scenario::shipped("demo").unwrap();
        let city = Arc::new(City::new(400, 1, &scenario).unwrap());
        let run = Run { seed: 1, speed: None, boot: 3, start: START };
        let truth = Simulation::new(city, scenario, run).unwrap().truth(START + Millis::minutes(9));
        let file = tempfile::NamedTempFile::new().unwrap();
        write_truth(&mut file.reopen().unwrap(), &truth).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text.lines().count(), truth.len());
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(line["post_id"].is_string() && line["period_s"] == 15);
        }
    }
}
