use super::*;

const T: Timestamp = Timestamp(1_795_435_200_000);

fn report(rain: Option<f64>, warning: Option<Warning>, wet: Option<bool>) -> WeatherReport {
    WeatherReport { rain_mm_h: rain, warning, wet, ..WeatherReport::default() }
}

fn told(weather: &mut Weather, minute: i64, rain: f64) {
    weather.apply(&report(Some(rain), None, None), T + Millis::minutes(minute));
}

fn because(weather: &mut Weather, minute: i64, low: bool) -> Option<Because> {
    let now = T + Millis::minutes(minute);
    weather.advance(now);
    weather.because(now, low)
}

#[test]
fn a_tenth_of_a_millimetre_in_three_hours_is_wet_and_less_is_not() {
    let mut weather = Weather::default();
    told(&mut weather, 0, 1.0);
    assert_eq!(because(&mut weather, 5, false), None, "0.083 mm");
    assert_eq!(because(&mut weather, 6, false), Some(Because::Rain), "0.1 mm");
    told(&mut weather, 6, 0.0);
    assert_eq!(because(&mut weather, 180, false), Some(Because::Rain));
    assert_eq!(because(&mut weather, 190, false), Some(Because::Drying));
}

#[test]
fn a_rate_holds_at_most_an_hour() {
    let mut weather = Weather::default();
    told(&mut weather, 0, 0.09);
    assert_eq!(because(&mut weather, 170, false), None, "0.09 mm in the hour it holds");
    let mut weather = Weather::default();
    told(&mut weather, 0, 0.1);
    assert_eq!(because(&mut weather, 61, false), Some(Because::Rain));
}

#[test]
fn situation_s23_posts_dry_for_six_hours_and_low_lying_ones_for_a_day() {
    let mut weather = Weather::default();
    told(&mut weather, 0, 12.0);
    told(&mut weather, 10, 0.0);
    let rain_ends = 10 + 180;
    assert_eq!(because(&mut weather, rain_ends, false), Some(Because::Rain));
    let dry = rain_ends + 6 * 60;
    assert_eq!(because(&mut weather, dry - 1, false), Some(Because::Drying));
    assert_eq!(because(&mut weather, dry + 1, false), None);
    assert_eq!(because(&mut weather, dry + 1, true), Some(Because::Drying));
    assert_eq!(because(&mut weather, rain_ends + 24 * 60 + 1, true), None);
}

#[test]
fn a_night_of_downtime_gives_the_same_answer_as_a_tick_each_minute() {
    let (mut slept, mut awake) = (Weather::default(), Weather::default());
    for weather in [&mut slept, &mut awake] {
        told(weather, 0, 3.0);
        told(weather, 30, 0.0);
    }
    for minute in 31..700 {
        awake.advance(T + Millis::minutes(minute));
    }
    for minute in [0, 211, 569, 571, 700] {
        let later = 700 + minute;
        assert_eq!(because(&mut slept.clone(), later, false), because(&mut awake.clone(), later, false));
    }
    assert_eq!(because(&mut slept, 569, false), Some(Because::Drying));
    assert_eq!(because(&mut slept, 575, false), None);
}

#[test]
fn the_manual_switch_holds_until_false_or_a_day() {
    let mut weather = Weather::default();
    weather.apply(&report(None, None, Some(true)), T);
    assert_eq!(because(&mut weather, 24 * 60, false), Some(Because::Manual));
    assert_eq!(because(&mut weather, 24 * 60 + 1, false), Some(Because::Drying));
    weather.apply(&report(None, None, Some(true)), T + Millis::hours(40));
    weather.apply(&report(None, None, Some(false)), T + Millis::hours(41));
    assert_eq!(because(&mut weather, 41 * 60 + 1, false), Some(Because::Drying));
    assert_eq!(because(&mut weather, 47 * 60 + 1, false), None);
}

#[test]
fn a_warning_is_wet_until_it_is_lifted_and_a_message_without_one_leaves_it() {
    let mut weather = Weather::default();
    weather.apply(&report(None, Some(Warning::Yellow), None), T);
    told(&mut weather, 30, 0.0);
    assert_eq!(because(&mut weather, 600, false), Some(Because::Warning));
    weather.apply(&report(None, Some(Warning::None), None), T + Millis::minutes(601));
    assert_eq!(because(&mut weather, 602, false), Some(Because::Drying));
}

#[test]
fn weather_is_unknown_before_the_first_message_and_after_an_hour_of_silence() {
    let mut sky = Sky::default();
    assert_eq!(sky.because("z1", T, false), Some(Because::Unknown));
    sky.entry(ALL).apply(&report(Some(0.0), None, None), T);
    assert_eq!(sky.because("z1", T, false), None);
    let later = T + Millis::minutes(61);
    sky.advance(later);
    assert_eq!(sky.because("z1", later, false), Some(Because::Unknown));
    sky.entry("z1").apply(&report(Some(0.0), None, None), later);
    assert_eq!(sky.because("z1", later, false), None, "no drying after unknown weather");
    assert_eq!(sky.because("z2", later, false), Some(Because::Unknown));
}

#[test]
fn a_feed_that_runs_ahead_does_not_make_the_manual_switch_deaf() {
    let mut weather = Weather::default();
    let ahead = WeatherReport { ts: Some((T + Millis::minutes(4)).0), ..report(Some(0.0), None, None) };
    weather.apply(&ahead, T);
    weather.apply(&report(None, None, Some(true)), T + Millis(1));
    assert_eq!(because(&mut weather, 1, false), Some(Because::Manual));
}

#[test]
fn the_same_messages_again_add_no_rain() {
    let mut weather = Weather::default();
    let play = |weather: &mut Weather| {
        told(weather, 0, 0.4);
        told(weather, 10, 0.0);
    };
    play(&mut weather);
    assert_eq!(because(&mut weather, 20, false), None, "0.067 mm");
    let kept = weather.clone();
    play(&mut weather);
    assert_eq!(weather, kept);
    assert_eq!(because(&mut weather, 21, false), None);
}

#[test]
fn the_weather_survives_its_storage() {
    let mut sky = Sky::default();
    told(sky.entry("z1"), 0, 2.5);
    told(sky.entry("z1"), 9, 0.5);
    let text = serde_json::to_string(&sky).unwrap();
    assert_eq!(serde_json::from_str::<Sky>(&text).unwrap(), sky);
}
