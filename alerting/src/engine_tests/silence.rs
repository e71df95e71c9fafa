//! No data: posts, feeders, zones, sources, and we ourselves.

use super::*;
use crate::incident::{Kind, Severity, Signal};

/// A street that has reported until `T`, and what the sky does from then on.
fn street(posts: usize) -> City {
    let mut city = City::street(posts);
    for round in 0..4 {
        for n in 0..posts {
            city.read(&at_post(lit(minutes(-15 + 5 * round) + Millis(n as i64)), n));
        }
    }
    city
}

/// Minutes pass, dry, while the posts from `from` on go on talking.
fn go_on(city: &mut City, from: usize, to: usize, minutes_long: i64) {
    for minute in 1..=minutes_long {
        if minute % 30 == 1 {
            city.keep_dry(minutes(minute));
        }
        city.tick(minutes(minute));
        if minute % 5 == 0 {
            (from..to).for_each(|n| city.read(&at_post(lit(minutes(minute)), n)));
        }
    }
}

#[test]
fn a_post_that_is_silent_for_three_periods_is_offline_on_a_list_and_two_when_wet() {
    for (wet, after) in [(false, 15), (true, 10)] {
        let mut city = street(4);
        if wet {
            city.weather(T, "z1", &WeatherReport { wet: Some(true), ..dry() });
        }
        go_on(&mut city, 1, 4, after);
        assert!(city.of_kind(Kind::Offline).is_empty(), "wet {wet}: not yet");
        go_on(&mut city, 1, 4, after + 1);
        let offline = city.of_kind(Kind::Offline);
        assert_eq!(offline.len(), 1, "wet {wet}");
        assert_eq!((&*offline[0].post_id, offline[0].severity, offline[0].due()), ("S0", Severity::P3, None));
        assert!(!told_at_opening(&city));
    }
}

#[test]
fn a_post_without_a_period_reports_as_often_as_the_profile_that_read_it_says() {
    let is_silent = |period_s| {
        let text = format!(
            "{}\nP1,,z1,r,1,,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M,",
            lampguard_model::register::header()
        );
        let register = Arc::new(Register::parse(text.as_bytes()).unwrap());
        let mut city =
            City { engine: Engine::new(Policy::default(), register, Sky::default()), effects: Vec::new() };
        city.keep_dry(T);
        city.read(&StoredReading { period_s, ..lit(T) });
        city.pass(T, 59);
        !city.of_kind(Kind::Offline).is_empty()
    };
    assert!(is_silent(None), "taken as 300 s");
    assert!(!is_silent(Some(3600)));
}

#[test]
fn data_makes_an_offline_post_normal_and_it_is_not_raised_twice() {
    let mut city = street(4);
    go_on(&mut city, 1, 4, 20);
    city.read(&at_post(lit(minutes(21)), 0));
    assert_eq!(city.of_kind(Kind::Offline)[0].signal, Signal::Normal);
    go_on(&mut city, 1, 4, 60);
    let offline = city.of_kind(Kind::Offline);
    assert_eq!(offline.len(), 1);
    assert_eq!(offline[0].signal, Signal::Active, "the same incident: it is silent again");
}

#[test]
fn situation_s54_a_dead_concentrator_is_one_dark_feeder_and_no_lamp_out() {
    let mut city = street(10);
    go_on(&mut city, 7, 10, 30);
    let dark = city.of_kind(Kind::FeederDark);
    assert_eq!(dark.len(), 1, "seven of ten");
    assert_eq!((dark[0].severity, dark[0].scope.name()), (Severity::P2, "feeder"));
    assert!(city.opened_of(Family::Lamp).is_empty());
    let own = city.of_kind(Kind::Offline);
    assert!(own.iter().all(|i| i.links == [dark[0].id.clone()]), "those before it belong to it");
    let mut city = street(10);
    go_on(&mut city, 5, 10, 30);
    assert!(city.of_kind(Kind::FeederDark).is_empty(), "five of ten");
}

#[test]
fn a_feeder_that_goes_dark_while_wet_is_a_p1_with_a_walking_list_of_low_lying_posts_first() {
    let mut city = street(10);
    city.weather(T, "z1", &WeatherReport { wet: Some(true), ..dry() });
    go_on(&mut city, 8, 10, 15);
    let dark = city.of_kind(Kind::FeederDark);
    assert_eq!(dark[0].severity, Severity::P1);
    assert!(dark[0].notes.iter().any(|note| note.contains("blind: patrol")));
    assert!(dark[0].notes.iter().any(|note| note.contains("walk first")), "{:?}", dark[0].notes);
    let first: Vec<&str> = dark[0].members.iter().take(2).map(|m| &**m).collect();
    assert_eq!(first, ["S0", "S3"], "every third lies low");
}

#[test]
fn a_feeder_that_is_dark_and_a_zone_that_is_blind_since_it_was_dry_are_a_p1_when_the_rain_comes() {
    let rain = WeatherReport { warning: Some(lampguard_model::Warning::Blue), ..dry() };
    for (talking, kind) in [(8, Kind::FeederDark), (10, Kind::Blind)] {
        let mut city = street(10);
        go_on(&mut city, talking, 10, 40);
        assert_eq!(city.of_kind(kind)[0].severity, Severity::P2, "{kind:?}");
        city.weather(minutes(41), "z1", &rain);
        city.tick(minutes(41));
        let incident = city.of_kind(kind)[0];
        assert_eq!((incident.severity, incident.due_at), (Severity::P1, minutes(71)), "{kind:?}");
        assert!(city.escalated().iter().any(|(i, told)| i.evidence.kind == kind && *told), "{kind:?}");
        if kind == Kind::FeederDark {
            assert!(incident.notes.iter().any(|note| note.contains("blind: patrol")));
            assert!(incident.notes.iter().any(|note| note.contains("walk first")));
        }
    }
}

#[test]
fn a_dark_feeder_whose_supply_is_off_becomes_a_p1_when_it_is_on_again_in_the_rain() {
    let mut city = street(10);
    go_on(&mut city, 8, 10, 40);
    city.read(&at_post(with(leak(minutes(41), 0.0), Field::SupplyV, 0.0), 9));
    let rain = WeatherReport { rain_mm_h: Some(5.0), ..dry() };
    city.weather(minutes(42), "z1", &rain);
    city.pass(minutes(42), 60);
    assert_eq!(city.of_kind(Kind::FeederDark)[0].severity, Severity::P2, "nobody walks a dead feeder");
    city.read(&at_post(lit(minutes(103)), 9));
    city.pass(minutes(103), 5);
    assert_eq!(city.of_kind(Kind::FeederDark)[0].severity, Severity::P1);
}

#[test]
fn a_post_that_is_silent_again_shows_so_again() {
    let mut city = street(4);
    go_on(&mut city, 1, 4, 20);
    city.read(&at_post(lit(minutes(21)), 0));
    assert_eq!(city.of_kind(Kind::Offline)[0].signal, Signal::Normal);
    for minute in 22..=60 {
        city.tick(minutes(minute));
    }
    assert!(city.of_kind(Kind::Offline).iter().all(|i| i.signal == Signal::Active));
}

#[test]
fn a_dark_feeder_is_normal_after_five_minutes_of_data() {
    let mut city = street(10);
    go_on(&mut city, 8, 10, 20);
    for minute in [21, 22, 26] {
        assert_eq!(city.of_kind(Kind::FeederDark)[0].signal, Signal::Active, "minute {minute}");
        (0..10).for_each(|n| city.read(&at_post(lit(minutes(minute)), n)));
    }
    assert_eq!(city.of_kind(Kind::FeederDark)[0].signal, Signal::Normal);
}

#[test]
fn a_feeder_that_its_own_readings_call_switched_off_is_not_silent() {
    let mut city = street(10);
    let mut gasp = with(reading(minutes(1)), Field::SupplyV, 0.0);
    gasp.cause = Cause::LastGasp;
    city.read(&at_post(gasp, 4));
    go_on(&mut city, 0, 0, 120);
    assert!(city.opened_of(Family::Comms).is_empty(), "{:#?}", city.opened_of(Family::Comms));
}

#[test]
fn a_reading_from_before_the_last_gasp_that_comes_behind_it_switches_no_feeder_on() {
    let mut city = street(10);
    let gasp = with(reading(minutes(2)), Field::SupplyV, 0.0);
    city.read(&at_post(gasp, 4));
    let mut behind = at_post(lit(minutes(1)), 5);
    behind.received_at = minutes(7);
    city.read(&behind);
    go_on(&mut city, 0, 0, 120);
    assert!(city.opened_of(Family::Comms).is_empty(), "{:#?}", city.opened_of(Family::Comms));
}

#[test]
fn after_switch_on_silence_counts_from_then_on_plus_one_period() {
    let mut city = street(10);
    city.read(&at_post(with(reading(minutes(1)), Field::SupplyV, 0.0), 4));
    go_on(&mut city, 0, 0, 120);
    for minute in 121..=150 {
        city.tick(minutes(minute));
        if minute % 5 == 1 {
            city.keep_dry(minutes(minute));
            (3..10).for_each(|n| city.read(&at_post(lit(minutes(minute)), n)));
        }
        let expected = if minute > 121 + 20 { 3 } else { 0 };
        assert_eq!(city.of_kind(Kind::Offline).len(), expected, "minute {minute}");
    }
}

#[test]
fn a_zone_without_data_is_blind_after_ten_minutes_or_two_periods() {
    for (wet, severity) in [(false, Severity::P2), (true, Severity::P1)] {
        let mut city = street(4);
        if wet {
            city.weather(T, "z1", &WeatherReport { wet: Some(true), ..dry() });
        }
        go_on(&mut city, 0, 0, 9);
        assert!(city.of_kind(Kind::Blind).is_empty());
        go_on(&mut city, 0, 0, 11);
        let blind = city.of_kind(Kind::Blind);
        assert_eq!((blind.len(), blind[0].severity, &*blind[0].zone), (1, severity, "z1"));
        assert_eq!(
            city.opened_of(Family::Comms).iter().filter(|i| i.evidence.kind == Kind::Blind).count(),
            1
        );
        city.read(&at_post(lit(minutes(12)), 0));
        assert_eq!(city.of_kind(Kind::Blind)[0].signal, Signal::Normal);
    }
}

#[test]
fn situation_s43_a_broker_that_is_down_is_one_system_incident_and_one_blind_and_no_offline_post() {
    let mut city = City::street(10);
    let from_broker = |at: Timestamp, n: usize| {
        let mut r = at_post(lit(at), n);
        r.source = Source::Broker;
        r
    };
    for round in 0..4 {
        (0..10).for_each(|n| city.read(&from_broker(minutes(-15 + 5 * round), n)));
    }
    let down = Input::System { part: "broker:main", good: false, because: "connection refused" };
    city.engine.step(minutes(1), down, &mut city.effects);
    city.tick(minutes(2) - Millis(1));
    assert!(city.opened_of(Family::System).is_empty());
    city.pass(minutes(1), 120);
    let system = city.the(Family::System);
    assert_eq!((system.opened_at, system.severity, system.due()), (minutes(2), Severity::P1, None));
    assert_eq!((&*system.place, system.scope.name()), ("broker:main", "system"));
    let comms = city.opened_of(Family::Comms);
    assert_eq!(comms.len(), 1, "{comms:#?}");
    assert_eq!(comms[0].evidence.kind, Kind::Blind);
    let cause = "数据来源中断 (source down): broker:main, connection refused";
    assert_eq!(comms[0].notes, [cause], "with the cause");
    assert_eq!(system.notes, ["connection refused"]);
    assert_eq!(city.engine.why_blind("z1", minutes(121)), cause);
    let up = Input::System { part: "broker:main", good: true, because: "" };
    city.engine.step(minutes(122), up, &mut city.effects);
    city.pass(minutes(122), 1);
    assert_eq!(city.the(Family::System).signal, Signal::Normal);
    city.pass(minutes(123), 14);
    assert!(city.of_kind(Kind::Offline).is_empty(), "two periods (unknown weather is wet) and one more");
    assert!(city.of_kind(Kind::FeederDark).is_empty());
    city.pass(minutes(137), 2);
    assert!(!city.of_kind(Kind::FeederDark).is_empty());
}

/// What other nodes say of themselves is `peer:ID`; only `node:ID`, the way of readings, stops the clock of silence.
#[test]
fn a_node_that_says_its_database_is_away_leaves_the_silence_of_posts_what_it_is() {
    for (part, dark) in [("peer:in1", 1), ("node:in1", 0)] {
        let mut city = City::street(10);
        for round in 0..4 {
            for n in 0..10 {
                let mut r = at_post(lit(minutes(-15 + 5 * round)), n);
                r.source = Source::Node;
                city.read(&r);
            }
        }
        let input = Input::System { part, good: false, because: "database" };
        city.engine.step(minutes(1), input, &mut city.effects);
        city.pass(minutes(1), 60);
        assert_eq!(city.of_kind(Kind::FeederDark).len(), dark, "{part}");
    }
}

#[test]
fn with_one_broker_of_two_away_the_posts_of_the_other_are_still_watched() {
    let mut city = City::street(10);
    for (part, good) in [("broker:main", true), ("broker:spare", false)] {
        city.engine.step(minutes(-20), Input::System { part, good, because: "" }, &mut city.effects);
    }
    for round in 0..4 {
        for n in 0..10 {
            let mut r = at_post(lit(minutes(-15 + 5 * round)), n);
            r.source = Source::Broker;
            city.read(&r);
        }
    }
    city.pass(minutes(0), 60);
    assert_eq!(city.of_kind(Kind::FeederDark).len(), 1);
}

#[test]
fn a_part_that_fails_for_less_than_a_minute_tells_nobody() {
    let mut city = City::new();
    for n in 0..10 {
        let input = Input::System { part: "disk", good: n % 2 == 1, because: "" };
        city.engine.step(T + Millis::seconds(50 * n), input, &mut city.effects);
    }
    assert!(city.opened_of(Family::System).is_empty());
}

#[test]
fn posts_without_a_sensor_unknown_devices_and_posts_never_heard_are_not_silent() {
    let mut city = City::street(3);
    city.read(&stranger(leak(T, 1.0), "D-7"));
    city.pass(T, 180);
    assert!(city.opened_of(Family::Comms).is_empty());
}

#[test]
fn a_post_without_a_leak_value_for_a_day_is_unmonitored_on_the_daily_list() {
    let mut city = City::new();
    for n in 0..=290 {
        if n % 10 == 0 {
            city.keep_dry(minutes(5 * n));
        }
        assert!(city.of_kind(Kind::Unmonitored).is_empty() || n > 288, "after {} min", 5 * n);
        city.read(&shell(minutes(5 * n), 0.2));
        city.tick(minutes(5 * n));
    }
    let list = city.of_kind(Kind::Unmonitored);
    assert_eq!((list.len(), list[0].severity, list[0].due()), (1, Severity::P4, None));
}

#[test]
fn situation_s38_peer_p18_values_that_stand_still_for_two_lit_hours_are_a_sensor_fault_and_no_healthy_post() {
    let mut city = City::new();
    city.read(&with(leak(minutes(-5), 0.7), Field::SupplyV, 229.4));
    for n in 0..36 {
        if n % 10 == 0 {
            city.keep_dry(minutes(5 * n));
        }
        city.read(&with(with(leak(minutes(5 * n), 0.8), Field::ShellV, 0.3), Field::SupplyV, 229.3));
        let known = !city.of_kind(Kind::Offline).is_empty();
        assert_eq!(known, n > 24, "after {} min", 5 * n);
    }
    let state = city.engine.post_state("P1", minutes(176)).state;
    assert_ne!(state, crate::engine::State::Normal);
    city.read(&with(with(leak(minutes(180), 0.9), Field::ShellV, 0.3), Field::SupplyV, 229.1));
    assert_eq!(city.of_kind(Kind::Offline)[0].signal, Signal::Normal);
    // A supply that is told in whole volts stands still often enough.
    let mut city = City::new();
    for n in 0..36 {
        city.read(&with(leak(minutes(5 * n), 1.0), Field::SupplyV, 229.0));
    }
    assert!(city.of_kind(Kind::Offline).is_empty());
}

#[test]
fn a_stuck_value_at_the_limit_still_raises_and_says_that_it_is_stuck() {
    let mut city = City::new();
    for n in 0..30 {
        if n % 10 == 0 {
            city.keep_dry(minutes(5 * n));
        }
        city.read(&with(leak(minutes(5 * n), 16.0), Field::SupplyV, 229.3));
    }
    let warning = WeatherReport { warning: Some(lampguard_model::Warning::Blue), ..dry() };
    city.weather(minutes(146), "z1", &warning);
    let incident = city.the_incident();
    assert_eq!(incident.severity, Severity::P1);
    assert!(incident.notes.iter().any(|note| note.contains("stuck")), "{:?}", incident.notes);
}

#[test]
fn situation_s39_exactly_zero_for_six_lit_hours_is_an_open_transformer_where_tenths_are_told() {
    for (first, raised) in [(0.7, true), (1.0, false)] {
        let mut city = City::new();
        city.read(&with(leak(minutes(-5), first), Field::SupplyV, 229.4));
        for n in 0..=72 {
            if n % 10 == 0 {
                city.keep_dry(minutes(5 * n));
            }
            assert!(city.of_kind(Kind::Offline).is_empty(), "after {} min", 5 * n);
            city.read(&with(leak(minutes(5 * n), 0.0), Field::SupplyV, 229.0 + (n % 7) as f64 / 10.0));
        }
        assert_eq!(!city.of_kind(Kind::Offline).is_empty(), raised, "{first}");
    }
}

#[test]
fn a_blind_zone_says_why_whether_posts_are_silent_or_nothing_was_ever_heard() {
    let mut city = City::street(10);
    assert!(
        city.engine.why_blind("z1", T).contains("never") || city.engine.why_blind("z1", T).contains("从未")
    );
    assert!(city.engine.why_blind("nowhere", T).contains("从未收到数据"));
    for round in 0..4 {
        (0..10).for_each(|n| city.read(&at_post(lit(minutes(-15 + 5 * round)), n)));
    }
    city.pass(minutes(0), 40);
    let blind = city.of_kind(Kind::Blind);
    assert_eq!(blind.len(), 1);
    assert_eq!(
        blind[0].notes,
        ["全部 10 根灯杆无数据, 数据来源正常 (all 10 posts silent, their sources are connected)"]
    );
    assert_eq!(blind[0].evidence.measured_at, minutes(0), "since when");
    let text = crate::notice_text::incident_text(blind[0], None, &crate::testkit::site());
    assert!(text.contains("2026-11-23 20:00:00+08:00 起无数据") && text.contains("数据来源正常"), "{text}");
}

#[test]
fn a_zone_that_was_not_heard_since_before_we_were_down_says_so() {
    let mut city = City::street(10);
    for round in 0..4 {
        (0..10).for_each(|n| city.read(&at_post(lit(minutes(-15 + 5 * round)), n)));
    }
    // An hour in which nothing of us ran.
    city.pass(minutes(60), 40);
    let blind = city.of_kind(Kind::Blind);
    assert_eq!(blind.len(), 1);
    assert!(blind[0].notes[0].starts_with("本系统停运期间起无数据"), "{:?}", blind[0].notes);
    assert_eq!(blind[0].evidence.measured_at, minutes(0), "the last word stays the last word");
}
