//! Each waveform and quirk of the gallery has the signature that its source describes (domain reference 17.4, 14.4).

use std::sync::LazyLock;

use lampguard_simulator::gallery::{Panel, Series, draw, quirks, waveforms};

static PANELS: LazyLock<Vec<Panel>> = LazyLock::new(|| waveforms().into_iter().chain(quirks()).collect());

fn series(id: &str) -> &'static [Series] {
    &PANELS.iter().find(|panel| panel.id == id).unwrap_or_else(|| panic!("no panel {id}")).series
}

fn values(series: &Series, from: f64, until: f64) -> Vec<f64> {
    series.points.iter().filter(|(hours, _)| (from..until).contains(hours)).map(|(_, value)| *value).collect()
}

fn all(values: &[f64], holds: impl Fn(f64) -> bool) -> bool {
    !values.is_empty() && values.iter().all(|value| holds(*value))
}

fn count(series: &Series, holds: impl Fn(f64) -> bool) -> usize {
    series.points.iter().filter(|(_, value)| holds(*value)).count()
}

#[test]
fn every_panel_has_points_in_order_of_time() {
    assert_eq!(waveforms().len(), 13);
    for panel in PANELS.iter() {
        for series in &panel.series {
            assert!(series.points.len() > 5, "{}: {}", panel.id, series.name);
            let ordered = series.points.windows(2).all(|pair| pair[0].0 <= pair[1].0);
            assert!(ordered, "{}: {}", panel.id, series.name);
        }
    }
}

#[test]
fn wf1_an_intermittent_contact_opens_and_closes_again_and_again() {
    let leakage = &series("WF1")[0];
    assert!(all(&values(leakage, 0.0, 0.5), |ma| ma < 5.0));
    let blown: Vec<bool> = values(leakage, 0.6, 3.0).into_iter().map(|ma| ma > 40.0).collect();
    let changes = blown.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let closed = blown.iter().filter(|closed| **closed).count();
    assert!(
        changes > 30 && closed * 10 > blown.len() * 3 && closed * 10 < blown.len() * 7,
        "{changes} {closed}"
    );
}

#[test]
fn wf2_a_fault_behind_the_lamps_switch_steps_up_with_the_lamp_in_one_sample() {
    let [leakage, lamp] = series("WF2") else { panic!() };
    let on = lamp.points.iter().position(|(_, watts)| *watts > 10.0).unwrap();
    assert!(leakage.points[..on].iter().all(|(_, ma)| *ma < 5.0));
    assert!(leakage.points[on..].iter().all(|(_, ma)| *ma > 50.0));
    assert!((2.5..4.0).contains(&lamp.points[on].0), "dusk at {}", lamp.points[on].0);
}

#[test]
fn wf3_a_fault_in_the_supply_is_there_by_day_too() {
    let [leakage, lamp] = series("WF3") else { panic!() };
    assert!(all(&values(leakage, 1.1, 6.0), |ma| ma > 50.0));
    assert!(all(&values(lamp, 1.1, 2.5), |watts| watts == 0.0));
}

#[test]
fn wf4_a_wet_cable_joint_shows_at_the_cabinet_and_at_no_post() {
    let [cabinet, post] = series("WF4") else { panic!() };
    assert!(all(&values(cabinet, 0.0, 1.0), |ma| ma < 10.0));
    assert!(all(&values(cabinet, 10.0, 12.0), |ma| ma > 45.0));
    assert!(all(&values(post, 0.0, 12.0), |ma| ma < 5.0));
}

#[test]
fn wf5_a_broken_neutral_lifts_shells_together_while_phases_part() {
    let [low, high, shell, beside] = series("WF5") else { panic!() };
    assert!(all(&values(low, 1.1, 3.9), |volts| (150.0..180.0).contains(&volts)));
    assert!(all(&values(high, 1.1, 3.9), |volts| (280.0..310.0).contains(&volts)));
    for shell in [shell, beside] {
        assert!(all(&values(shell, 1.1, 3.9), |volts| volts > 30.0));
        assert!(all(&values(shell, 4.1, 5.0), |volts| volts < 5.0));
    }
}

#[test]
fn wf6_lightning_leaves_one_false_sample_on_each_of_many_posts() {
    for post in series("WF6") {
        assert_eq!(count(post, |ma| ma > 100.0), 1);
    }
}

#[test]
fn wf7_a_lost_phase_raises_the_residual_without_a_fault_and_silences_its_posts() {
    let [cabinet, post] = series("WF7") else { panic!() };
    let (before, during) = (values(cabinet, 0.0, 1.0), values(cabinet, 1.1, 2.9));
    let highest = before.iter().copied().fold(0.0, f64::max);
    assert!(all(&during, |ma| ma > highest * 2.0), "{highest} {during:?}");
    assert!(values(post, 1.1, 2.9).is_empty() && !values(post, 3.1, 4.0).is_empty());
}

#[test]
fn wf8_a_drifting_transformer_climbs_steadily() {
    let leakage = &series("WF8")[0];
    let mean = |from: f64| {
        let values = values(leakage, from, from + 1.0);
        values.iter().sum::<f64>() / values.len() as f64
    };
    for hour in 1..10 {
        let rise = mean(f64::from(hour) + 1.0) - mean(f64::from(hour));
        assert!((0.4..0.6).contains(&rise), "{hour}: {rise}");
    }
}

#[test]
fn wf9_a_stuck_sensor_repeats_itself_to_the_last_digit() {
    let supply = &series("WF9")[0];
    let stuck = values(supply, 1.1, 2.9);
    assert!(stuck.iter().all(|volts| *volts == stuck[0]) && stuck.len() > 100);
    let moving = values(supply, 0.0, 1.0);
    assert!(moving.windows(2).filter(|pair| pair[0] != pair[1]).count() > 40);
}

#[test]
fn wf10_a_drowned_node_tells_of_water_and_is_silent_then() {
    let immersed = &series("WF10")[0];
    assert_eq!(immersed.points.last().unwrap().1, 1.0);
    assert!((1.0..1.1).contains(&immersed.points.last().unwrap().0));
}

#[test]
fn wf11_a_welded_contactor_keeps_lamps_lit_by_day() {
    let [welded, other] = series("WF11") else { panic!() };
    assert!(all(&values(welded, 4.0, 8.0), |watts| watts > 20.0));
    assert!(all(&values(other, 4.0, 8.0), |watts| watts == 0.0));
}

#[test]
fn wf12_the_last_frames_before_dawn_are_of_low_voltage() {
    let supply = &series("WF12")[0];
    let powered: Vec<f64> = values(supply, 1.4, 5.0).into_iter().filter(|volts| *volts > 50.0).collect();
    assert!(all(&powered, |volts| (150.0..170.0).contains(&volts)));
    assert!(supply.points.last().unwrap().0 < 3.0, "off at dawn");
}

#[test]
fn wf13_a_flooded_cabinet_silences_its_whole_feeder_and_no_other() {
    let [own, next] = series("WF13") else { panic!() };
    assert!(all(&values(own, 0.1, 1.9), |per_min| per_min > 10.0));
    assert!(all(&values(own, 2.1, 3.9), |per_min| per_min == 0.0));
    assert!(all(&values(next, 0.1, 3.9), |per_min| per_min > 10.0));
}

#[test]
fn odd_readings_strike_single_samples() {
    assert!(count(&series("glitch")[0], |ma| ma == 6553.5) >= 3);
    let spikes = &series("spike")[0];
    assert!((3..40).contains(&count(spikes, |ma| ma > 5.0)));
    assert!(count(&series("rollover")[0], |kwh| kwh > 4e9) >= 3);
    for (id, value) in [("huge", 2e9), ("negative", -65_509.0)] {
        let odd = count(&series(id)[0], |ma| ma == value);
        assert!(odd >= 3 && count(&series(id)[0], |ma| !(0.0..5.0).contains(&ma)) == odd, "{id}");
    }
    for id in ["nan", "truncated"] {
        assert!((3..60).contains(&count(&series(id)[0], |broken| broken == 1.0)), "{id}");
    }
    assert!(count(&series("duplicate")[0], |step| step == 0.0) >= 3);
    let steps = &series("out_of_order")[0];
    assert!(count(steps, |step| step == 2.0) >= 3 && count(steps, |step| step == -1.0) >= 3);
}

#[test]
fn faults_of_sensors_last_from_their_minute_on() {
    let after = |id: &str| values(&series(id)[0], 2.1, 4.0);
    let before = |id: &str| values(&series(id)[0], 1.1, 1.9);
    assert!(all(&before("saturated"), |ma| (40.0..50.0).contains(&ma)));
    assert!(all(&after("saturated"), |ma| ma == 6553.5));
    assert!(all(&after("open_ct"), |ma| ma == 0.0));
    assert!(all(&after("tenfold"), |ma| (400.0..500.0).contains(&ma)));
    assert!(all(&after("amperes"), |ma| (0.04..0.05).contains(&ma)));
    assert!(after("silent").is_empty());
    let critical = &series("critical_then_silent")[0];
    let told = count(critical, |ma| ma > 30.0);
    assert!((1..=2).contains(&told), "told at once by its own flag, and by its timetable: {told}");
    assert!(critical.points.last().unwrap().1 > 30.0);
    assert!(all(&values(&series("stuck_flag")[0], 1.1, 2.0), |flag| flag == 1.0));
}

#[test]
fn nan_lasts_until_the_sensor_starts_anew() {
    let broken = &series("nan_until_reboot")[0];
    assert!(all(&values(broken, 0.0, 0.99), |broken| broken == 0.0));
    assert!(all(&values(broken, 1.01, 1.99), |broken| broken == 1.0));
    assert!(all(&values(broken, 2.01, 4.0), |broken| broken == 0.0));
}

#[test]
fn lightning_kills_some_sensors_for_good_and_spoils_one_sample_of_the_others() {
    let [dead, also_dead, spared, also_spared] = series("lightning_kills") else { panic!() };
    for post in [dead, also_dead] {
        assert!(!values(post, 0.0, 0.99).is_empty());
        assert!(values(post, 1.05, 2.0).is_empty(), "{:?}", post.points.last());
    }
    for post in [spared, also_spared] {
        assert_eq!(count(post, |ma| ma > 100.0), 1);
        assert!(values(post, 1.05, 2.0).len() > 40);
    }
}

#[test]
fn models_measure_in_their_own_steps_and_leave_out_what_they_leave_out() {
    let [whole, tenths, hundredths] = series("resolution") else { panic!() };
    let fits = |series: &Series, step: f64| {
        series.points.iter().all(|(_, volts)| (volts / step - (volts / step).round()).abs() < 1e-6)
    };
    assert!(fits(whole, 1.0) && fits(tenths, 0.1) && fits(hundredths, 0.01));
    assert!(!fits(tenths, 1.0) && !fits(hundredths, 0.1));
    let keys = &series("partial")[0];
    assert_eq!(keys.points[0].1, 4.0, "id, current, voltage and power at first");
    assert!(count(keys, |keys| keys < 4.0) > 50);
}

#[test]
fn clocks_are_wrong_by_what_they_are_wrong() {
    let off = |id: &str| values(&series(id)[0], 2.1, 4.0);
    assert!(all(&off("clock_zone"), |hours| (-8.01..-7.99).contains(&hours)));
    assert!(all(&off("clock_ahead"), |hours| (23.99..24.01).contains(&hours)));
    assert!(all(&off("clock_1970"), |hours| hours < -480_000.0));
    // Two hours a day from the second hour on: ten minutes more in the fourth.
    let at = |hours: f64| values(&series("clock_drift")[0], hours, hours + 0.1)[0];
    assert!(at(1.5).abs() < 1e-3 && (0.0..0.01).contains(&at(2.0)), "{}", at(2.0));
    assert!((at(3.0) - at(2.5) - 1.0 / 24.0).abs() < 0.002, "{} {}", at(2.5), at(3.0));
}

#[test]
fn links_hold_back_lose_and_rush() {
    let held = &series("store_and_forward")[0];
    assert!(all(&values(held, 1.1, 2.9), |per_min| per_min == 0.0));
    assert!(
        values(held, 3.0, 3.5).iter().any(|per_min| (300.0..=420.0).contains(per_min)),
        "30 every 5 s and live ones"
    );
    let total = |series: &Series| series.points.iter().map(|(_, per_min)| per_min).sum::<f64>();
    let dead = &series("dead_concentrator")[0];
    assert!(all(&values(dead, 1.1, 2.9), |per_min| per_min == 0.0));
    assert!(total(held) > total(dead) * 1.8, "what was kept arrives, what was not is lost");
    let away = &series("broker_outage")[0];
    assert!(all(&values(away, 1.02, 1.32), |per_min| per_min == 0.0));
    let before: f64 = values(away, 0.1, 0.9).iter().sum::<f64>() / 48.0;
    assert!(values(away, 1.3, 1.4).iter().copied().fold(0.0, f64::max) > before * 5.0);
    let herd = &series("herd")[0];
    let highest = herd.points.iter().map(|(_, per_min)| *per_min).fold(0.0, f64::max);
    assert!(highest > 100.0, "a feeder's sensors start within 20 s: {highest}");
    let leftover = &series("retained")[0];
    assert_eq!(count(leftover, |ma| ma == 85.0), 1);
    assert!(all(&values(&series("wrong_zone")[0], 0.0, 1.9), |zone| zone == 1.0));
    assert!(all(&values(&series("wrong_zone")[0], 2.1, 4.0), |zone| zone == 2.0));
    let [hazard, told] = series("melt") else { panic!() };
    assert!(
        values(hazard, 5.0, 7.0).iter().any(|ma| *ma > 15.0) && told.points.iter().all(|(_, mm)| *mm == 0.0)
    );
}

#[test]
fn the_picture_is_one_that_a_browser_reads() {
    let svg = draw("a & b", &PANELS);
    assert!(svg.starts_with("<svg xmlns") && svg.ends_with("</svg>\n") && svg.contains("a &amp; b"));
    assert_eq!(svg.matches("<g ").count(), PANELS.len());
    for wrong in ["MNaN", "LNaN", "\"NaN", "inf"] {
        assert!(!svg.contains(wrong), "{wrong}");
    }
}
