//! How incidents are handled: made to happen by the interface, and what the panels about stages, repeats, false alarms and
//! crews have to show of it.

use lampguard_dashboards::query::Query;
use lampguard_model::Timestamp;
use lampguard_model::series::STAGE_FIELDS;
use serde_json::{Value, json};

use super::common::{Office, seconds, wait_until};
use super::{Frame, Truth, is_told};

impl Office {
    /// Somebody reports a shock; where it stands in the interface, once people were told.
    pub(super) fn tell(&self, key: &str, post: &str) -> String {
        let told = json!({"key": key, "what": "shock", "post_id": post});
        let at =
            format!("/api/v1/incidents/{}", self.post(0, "/api/v1/incidents", &told)["id"].as_str().unwrap());
        wait_until("people to be told", seconds(10), || !self.lampguard.json(&at)["told_at"].is_null());
        at
    }

    /// An incident of P010 from its telling to its end, stage by stage.
    pub(super) fn handle(&self, key: &str, cause: &str, here: &Value) {
        let at = self.tell(key, "P010");
        let moves = [
            (1, "acknowledge", json!({"key": "1"})),
            (1, "depart", json!({"key": "1"})),
            (1, "arrive", here.clone()),
            (1, "make_safe", json!({"key": "1", "method": "guarded"})),
            (1, "repair", json!({"key": "1", "cause": cause, "parts": "terminal"})),
            (0, "verify", json!({"key": "1", "reason": "measured twice by two people"})),
        ];
        for (by, verb, body) in moves {
            std::thread::sleep(std::time::Duration::from_millis(300));
            self.post(by, &format!("{at}/{verb}"), &body);
        }
        assert_eq!(self.post(2, &format!("{at}/close"), &json!({"key": "1"}))["state"], "closed");
    }
}

impl Truth {
    /// Incidents where somebody had to be there soon.
    fn soon(&self) -> impl Iterator<Item = (&Value, &Value)> {
        let soon = self.incidents.iter().filter(|incident| is_told(incident));
        soon.map(|incident| (incident, &self.lives[incident["id"].as_str().unwrap()]))
    }

    /// Mean seconds from one mark to another, by the marks that the interface tells: none was made twice here.
    fn mean_s(&self, from: &str, to: &str) -> f64 {
        let at = |life: &Value, mark: &str| {
            let at = life[mark].as_str().or_else(|| life[mark]["at"].as_str());
            at.map(|at| Timestamp::from_rfc3339(at).unwrap().0)
        };
        let closed = |life: &Value| life["state"] == "closed" || !["repaired", "verified"].contains(&to);
        let lives = self.soon().map(|(_, life)| life).filter(|life| !life["safe"].is_null() && closed(life));
        let spans: Vec<f64> =
            lives.filter_map(|life| Some((at(life, to)? - at(life, from)?) as f64 / 1000.0)).collect();
        assert!(spans.len() >= 2, "{from} to {to}: {spans:?}");
        spans.iter().sum::<f64>() / spans.len() as f64
    }

    /// The number of a panel that asks for several.
    pub(super) fn of_question(&self, board: &str, panel: &str, asked: &str) -> Option<f64> {
        let count = |is: &dyn Fn(&Value) -> bool| self.soon().filter(|(_, life)| is(life)).count() as f64;
        let has = |field: &str| asked.contains(field);
        Some(match (board, panel) {
            ("lg-sla" | "lg-zone", "Mean time of each stage") => {
                let marks =
                    ["told_at", "acknowledged", "departed", "arrived", "safe", "repaired", "verified"];
                let stage = STAGE_FIELDS.iter().position(|(_, sum)| has(sum)).unwrap();
                self.mean_s(marks[stage], marks[stage + 1])
            }
            ("lg-sla", "Repeats and false alarms") if has("repeat_total") => {
                let again = count(&|life| {
                    !life["safe"].is_null()
                        && life["follows"].as_array().is_some_and(|older| !older.is_empty())
                });
                assert!(again >= 1.0);
                again
            }
            ("lg-sla", "Repeats and false alarms") if has("false_alarm_total") => {
                count(&|life| life["state"] == "closed" && life["repaired"]["cause"] == "false")
            }
            ("lg-sla", "Repeats and false alarms") => count(&|life| life["state"] == "void"),
            _ => return None,
        })
    }

    /// What a table by crew shows in a column of InfluxQL; PromQL asks for one column after the other.
    fn by_crew(&self, board: &str, panel: &str, crew: &str, column: &str) -> Option<f64> {
        let own = |incident: &Value| incident["crew"] == crew;
        let open = |states: &[&str]| {
            self.open(|incident| own(incident) && states.contains(&incident["state"].as_str().unwrap()))
        };
        let safe = |late: bool| {
            let made = self.soon().filter(|(incident, life)| own(incident) && !life["safe"].is_null());
            made.filter(|(incident, _)| !late || incident["breached"] == true).count() as f64
        };
        Some(match (board, panel, column) {
            ("lg-zone", "Crew load", "jobs") => {
                open(&["open", "acknowledged", "departed", "arrived", "made_safe", "repaired", "verifying"])
            }
            ("lg-zone", "Crew load", "jobs_not_departed") => open(&["open", "acknowledged"]),
            ("lg-zone", "Crew load", "jobs_departed") => open(&["departed"]),
            ("lg-zone", "Crew load", "jobs_arrived") => open(&["arrived"]),
            ("lg-zone", "Crew load", "jobs_made_safe") => open(&["made_safe", "repaired", "verifying"]),
            ("lg-sla", "By crew", "arrived" | "arrived_total") => safe(false),
            ("lg-sla", "By crew", "breached" | "breached_total") => safe(true),
            _ => return None,
        })
    }

    /// Compares what a table by crew shows; what differs.
    pub(super) fn crews_differ(
        &self,
        board: &str,
        query: &Query,
        frames: &[Frame],
        compared: &mut u64,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        for frame in frames {
            let Some(crew) = frame.labels.get("crew") else { continue };
            for (column, values) in &frame.columns {
                // PromQL has its one column in the name of the metric.
                let asked = query.text.split("crew_").nth(1).and_then(|text| text.split(['[', '{']).next());
                let column = if column == "value" { asked.unwrap_or_default() } else { column };
                let Some(wanted) = self.by_crew(board, &query.of, crew, column) else { continue };
                *compared += 1;
                if values.last().map(|(_, value)| *value) != Some(wanted) {
                    faults.push(format!(
                        "{board}, {}, {column} of {crew}: {values:?}, the interface says {wanted}",
                        query.of
                    ));
                }
            }
        }
        faults
    }
}
