//! The end of incidents where nobody moves them, and the places they leave.

use super::*;

const CALM: Millis = Millis::hours(24);

impl City {
    fn end(&mut self, at: Timestamp) -> Vec<Incident> {
        let mut ended = Vec::new();
        self.engine.end_calm(at, CALM, &mut ended);
        ended.into_iter().map(|ended| ended.incident).collect()
    }
}

/// Two samples above, then calm ones each minute for a quarter of an hour from `n` minutes on.
fn raise_and_calm(city: &mut City, n: i64) {
    city.keep_dry(minutes(n));
    for (after, value) in [(0, 40.0), (1, 41.0)].into_iter().chain((2..18).map(|m| (m, 1.0))) {
        city.read(&leak(minutes(n + after), value));
    }
}

#[test]
fn a_calm_incident_ends_and_its_place_is_taken_by_the_next() {
    let mut city = City::new();
    for round in 0..50 {
        let start = round * 3000;
        raise_and_calm(&mut city, start);
        let id = city.engine.open_incidents().next().unwrap().id.clone();
        assert_eq!(city.end(minutes(start + 24 * 60)), [], "normal for less than a day");
        let due = city.engine.next_end(CALM).unwrap();
        assert_eq!(due, minutes(start + 12) + CALM);
        let ended = city.end(due);
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].id, id);
        assert_eq!(city.engine.open_incidents().count(), 0);
        assert_eq!(city.engine.next_end(CALM), None);
        assert_eq!(city.end(due + CALM), []);
    }
    assert_eq!(city.opened().len(), 50);
    assert_eq!(city.engine.open.len(), 1, "one place, taken fifty times");
}

#[test]
fn an_active_or_silent_signal_ends_nothing() {
    let mut city = City::new();
    city.read(&leak(minutes(0), 40.0));
    city.read(&leak(minutes(1), 40.0));
    assert_eq!(city.end(minutes(100_000)), []);
    let mut city = City::new();
    raise_and_calm(&mut city, 0);
    city.pass(minutes(20), 120);
    assert_eq!(city.the_incident().signal.name(), "silent");
    assert_eq!(city.end(minutes(100_000)), []);
}
