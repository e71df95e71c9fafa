use super::*;

use lampguard_model::Register;

const SHANGHAI: &str = "Asia/Shanghai";

fn at(text: &str) -> Timestamp {
    Timestamp::from_rfc3339(text).unwrap()
}

/// P1 two lamps, P2 half-night, P3 dimmed, 48 posts on F9.
fn register() -> Register {
    let mut text = lampguard_model::register::header();
    for (post, feeder, lamps, plan) in
        [("P1", "F1", 2, "all"), ("P2", "F1", 1, "half_night"), ("P3", "F2", 1, "dimmed")]
    {
        text += &format!(
            "\n{post},,z1,人民路,1,,{feeder},C1,113.24,35.22,{lamps},100,false,,,post,{plan},true,M,300"
        );
    }
    for n in 0..48 {
        text += &format!("\nQ{n},,z2,平原路,{n},,F9,C9,113.24,35.22,1,100,false,,,post,all,true,M,300");
    }
    Register::parse(text.as_bytes()).unwrap()
}

fn built(toml_text: &str, zone: &str, register: &Register) -> Result<Lighting, Vec<LightingFault>> {
    let config: LightingConfig = toml::from_str(toml_text).unwrap();
    Lighting::build(Some(&config), TimeZone::get(zone).unwrap(), register)
}

fn on(lighting: &Lighting, feeder: &str, text: &str) -> bool {
    lighting.supply_expected(feeder, at(text)).unwrap().on
}

fn power(lighting: &Lighting, register: &Register, post: &str, text: &str) -> u32 {
    lighting.lamp_power(register.by_post(post).unwrap(), at(text)).unwrap()
}

#[test]
fn without_lighting_lamps_follow_the_sun_and_nobody_knows_when_supply_is_due() {
    let register = register();
    let lighting = Lighting::by_sun(TimeZone::get(SHANGHAI).unwrap(), &register);
    assert_eq!(lighting.supply_expected("F1", at("2026-11-23T20:00:00+08:00")), None);
    let due = |text| power(&lighting, &register, "P1", text) > 0;
    assert!(!due("2026-06-21T19:20:00+08:00") && due("2026-06-21T19:55:00+08:00"));
    assert!(due("2026-12-21T17:35:00+08:00") && !due("2026-12-21T16:50:00+08:00"));
    assert!(due("2026-11-23T00:00:00+08:00") && due("2026-11-23T23:59:59+08:00"), "midnight");
}

#[test]
fn timetables_hold_for_their_feeders_and_seasons_and_the_sun_with_offsets_for_the_rest() {
    let register = register();
    let text = "sunset_offset_min = 15\nsunrise_offset_min = -15\n\
        [[timetable]]\nfeeders = [\"F1\"]\non = \"19:30\"\noff = \"05:00\"\nfrom = \"05-01\"\nto = \"09-30\"\n\
        [[timetable]]\nfeeders = [\"F1\"]\non = \"17:30\"\noff = \"06:30\"\n";
    let lighting = built(text, SHANGHAI, &register).unwrap();
    assert!(
        !on(&lighting, "F1", "2026-07-01T19:29:59+08:00") && on(&lighting, "F1", "2026-07-01T19:30:00+08:00")
    );
    assert!(
        on(&lighting, "F1", "2026-10-01T04:59:59+08:00"),
        "the last evening of the season ends the next morning"
    );
    assert!(
        !on(&lighting, "F1", "2026-10-01T05:00:00+08:00") && on(&lighting, "F1", "2026-10-01T17:30:00+08:00")
    );
    let night = lighting.supply_expected("F1", at("2026-12-01T00:00:00+08:00")).unwrap();
    assert_eq!(
        (night.since, night.until),
        (at("2026-11-30T17:30:00+08:00"), Some(at("2026-12-01T06:30:00+08:00")))
    );
    let day = lighting.supply_expected("F1", at("2026-12-01T12:00:00+08:00")).unwrap();
    assert_eq!(
        (day.on, day.since, day.until),
        (false, at("2026-12-01T06:30:00+08:00"), Some(at("2026-12-01T17:30:00+08:00")))
    );
    let Day::Usual { set, .. } = day_near(at("2026-12-01T12:00:00+08:00"), 113.24, 35.22) else { panic!() };
    assert!(!lighting.supply_expected("F2", set + Millis::minutes(14)).unwrap().on);
    assert!(lighting.supply_expected("F2", set + Millis::minutes(16)).unwrap().on);
}

#[test]
fn half_night_and_dimmed_posts_are_due_with_their_power_while_their_feeder_stays_on() {
    let register = register();
    let lighting = built("", SHANGHAI, &register).unwrap();
    let at = |post, time: &str| power(&lighting, &register, post, &format!("2026-11-23T{time}:00+08:00"));
    assert_eq!((at("P2", "23:59"), at("P2", "00:00"), at("P2", "04:00")), (1000, 0, 0));
    assert_eq!((at("P3", "22:59"), at("P3", "23:00"), at("P3", "04:00")), (1000, 500, 500));
    assert_eq!((at("P1", "04:00"), at("P1", "12:00")), (1000, 0));
    assert!(on(&lighting, "F1", "2026-11-23T04:00:00+08:00"), "the plan dims lamps, not the feeder");
}

#[test]
fn a_feeder_that_is_always_on_has_supply_by_day_and_its_lamps_follow_the_sun() {
    let register = register();
    let lighting = built("always_on = [\"F1\"]", SHANGHAI, &register).unwrap();
    assert!(on(&lighting, "F1", "2026-11-23T12:00:00+08:00"));
    assert_eq!(power(&lighting, &register, "P1", "2026-11-23T12:00:00+08:00"), 0);
    assert_eq!(power(&lighting, &register, "P1", "2026-11-23T20:00:00+08:00"), 1000);
}

#[test]
fn a_plan_with_a_timetable_keeps_its_feeder_on() {
    let register = register();
    let text = "[[timetable]]\nplans = [\"half_night\"]\non = \"18:00\"\noff = \"23:00\"\n\
        [[timetable]]\nplans = [\"all\"]\non = \"19:00\"\noff = \"05:00\"\n";
    let lighting = built(text, SHANGHAI, &register).unwrap();
    assert_eq!(power(&lighting, &register, "P2", "2026-11-23T18:30:00+08:00"), 1000);
    assert_eq!(power(&lighting, &register, "P1", "2026-11-23T18:30:00+08:00"), 0);
    for (time, wanted) in
        [("17:59", false), ("18:30", true), ("23:30", true), ("04:59", true), ("05:01", false)]
    {
        assert_eq!(on(&lighting, "F1", &format!("2026-11-23T{time}:00+08:00")), wanted, "{time}");
    }
}

#[test]
fn zones_with_summer_time_and_polar_places_answer_every_hour_of_a_year() {
    for (zone, lon, lat) in [
        ("Europe/Oslo", 18.96, 69.65),
        ("America/St_Johns", -52.7, 47.6),
        ("Asia/Urumqi", 87.6, 43.8),
        ("Antarctica/Troll", 2.5, -72.0),
        ("Pacific/Kiritimati", -157.4, 1.9),
        ("Pacific/Apia", -171.8, -13.8),
    ] {
        let text =
            format!("{}\nP1,,z1,r,1,,F1,C1,{lon},{lat},1,100,false,,", lampguard_model::register::header());
        let register = Register::parse(text.as_bytes()).unwrap();
        let clock = "[[timetable]]\nfeeders = [\"F1\"]\non = \"02:30\"\noff = \"sunset\"\n";
        for toml_text in ["", clock] {
            let lighting = built(toml_text, zone, &register).unwrap();
            let (mut lit, start) = (0, at("2026-01-01T00:00:00Z"));
            for hour in 0..8760 {
                let now = start + Millis::hours(hour);
                let state = lighting.supply_expected("F1", now).unwrap();
                assert!(
                    state.since <= now && state.until.is_none_or(|until| until > now),
                    "{zone} {hour} {state:?}"
                );
                lit += u32::from(state.on);
            }
            let share = f64::from(lit) / 8760.0;
            assert!((0.3..0.95).contains(&share), "{zone} {toml_text:?}: {share}");
        }
    }
    let text =
        format!("{}\nP1,,z1,r,1,,F1,C1,18.96,69.65,1,100,false,,", lampguard_model::register::header());
    let register = Register::parse(text.as_bytes()).unwrap();
    let lighting = built("", "Europe/Oslo", &register).unwrap();
    let night = lighting.supply_expected("F1", at("2026-12-21T12:00:00+01:00")).unwrap();
    assert!(night.on && night.since < at("2026-12-05T00:00:00Z"), "a polar night is one stretch: {night:?}");
    assert!(!on(&lighting, "F1", "2026-06-21T00:30:00+02:00"));
    for extreme in [i64::MIN, -1, 0, i64::MAX] {
        let _ = lighting.supply_expected("F1", Timestamp(extreme));
    }
}

#[test]
fn faults_of_lighting_are_told_at_once_with_their_key() {
    let register = register();
    let text = "sunset_offset_min = 500\nalways_on = [\"F77\"]\n\
        [[timetable]]\non = \"25:00\"\noff = \"sunset+999\"\n\
        [[timetable]]\nfeeders = [\"F1\"]\non = \"18:00\"\noff = \"18:00\"\nfrom = \"13-01\"\nto = \"02-30\"\n\
        [[plan]]\nname = \"late\"\ndark = [\"midnight\"]\ndim = [{ span = \"23:00-05:00\", power_pct = 0 }]\n";
    let told: Vec<String> =
        built(text, SHANGHAI, &register).unwrap_err().iter().map(ToString::to_string).collect();
    for key in [
        "sunset_offset_min",
        "always_on",
        "timetable[0]: is for nobody",
        "timetable[0].on",
        "timetable[0].off",
        "timetable[1].off",
        "timetable[1].from",
        "plan[0].dark",
        "plan[0].dim",
    ] {
        assert!(told.iter().any(|fault| fault.starts_with(&format!("lighting.{key}"))), "{key}: {told:#?}");
    }
    let odd = "post_id,device_id,zone,road,number,landmark,feeder,cabinet,lon,lat,lamps,lamp_w,low_lying,installed,external_code,plan\nP1,,z1,r,1,,F1,C1,113,35,1,100,false,,,festival";
    let odd = Register::parse(odd.as_bytes()).unwrap();
    let told = built("", SHANGHAI, &odd).unwrap_err();
    assert!(told[0].to_string().contains("festival"), "{told:?}");
}

const NIGHT: &str = "2026-11-23T20:00:00+08:00";

fn tally(see: impl Fn(&Post) -> Seen, exempt: impl Fn(&Post) -> Exempt) -> Rates {
    let register = register();
    let lighting = Arc::new(Lighting::by_sun(TimeZone::get(SHANGHAI).unwrap(), &register));
    rates(&lighting, &register, at(NIGHT), see, exempt)
}

fn burning(post: &Post) -> Seen {
    Seen { watts: Some(i64::from(post.lamps) * 95_000), unpowered: false }
}

#[test]
fn situation_s37_the_lighting_rate_counts_lamps_and_not_posts() {
    let one_dark = |post: &Post| match &*post.post_id {
        "P1" => Seen { watts: Some(98_000), unpowered: false },
        _ => burning(post),
    };
    let rates = tally(one_dark, |_| Exempt::No);
    assert_eq!((rates.city.due, rates.city.lit, rates.city.dark), (52, 51, 1));
    let road = rates.roads[&(Arc::from("z1"), Arc::from("人民路"))];
    assert_eq!((road.due, road.lit, road.lower(), road.upper()), (4, 3, Some(0.75), Some(0.75)));
    let due = register();
    let two = |watts| lit_of(due.by_post("P1").unwrap(), FULL, Seen { watts: Some(watts), unpowered: false });
    assert_eq!(
        [0, 19_999, 20_000, 100_000, 119_999, 120_000, 900_000].map(two),
        [0, 0, 1, 1, 1, 2, 2].map(Some)
    );
}

#[test]
fn situation_s54_silent_but_lit_lamps_move_the_two_bounds_apart() {
    let concentrator_dead = |post: &Post| if &*post.feeder == "F9" { Seen::default() } else { burning(post) };
    let rates = tally(concentrator_dead, |_| Exempt::No);
    let zone = rates.zones["z2"];
    assert_eq!((zone.due, zone.unknown, zone.dark), (48, 48, 0));
    assert_eq!((zone.lower(), zone.upper()), (Some(0.0), Some(1.0)));
    assert_eq!((rates.city.lower(), rates.city.upper()), (Some(4.0 / 52.0), Some(1.0)));
}

#[test]
fn situation_s18_lamps_of_an_isolated_extent_count_as_dark_and_planned_outages_are_left_out() {
    let isolated = |post: &Post| if &*post.feeder == "F9" { Exempt::Isolated } else { Exempt::No };
    let zone = tally(burning, isolated).zones["z2"];
    assert_eq!((zone.due, zone.dark, zone.isolated, zone.lower()), (48, 48, 48, Some(0.0)));
    let planned = |post: &Post| if &*post.feeder == "F9" { Exempt::Planned } else { Exempt::No };
    let rates = tally(burning, planned);
    assert_eq!((rates.zones["z2"].due, rates.zones["z2"].excluded, rates.zones["z2"].lower()), (0, 48, None));
    assert_eq!((rates.city.due, rates.city.lower()), (4, Some(1.0)));
}

#[test]
fn lamps_that_are_not_due_are_not_counted_and_unpowered_ones_are_dark() {
    let register = register();
    let lighting = Arc::new(Lighting::by_sun(TimeZone::get(SHANGHAI).unwrap(), &register));
    let day = rates(&lighting, &register, at("2026-11-23T12:00:00+08:00"), burning, |_| Exempt::No);
    assert_eq!((day.city.due, day.city.lower(), day.city.upper()), (0, None, None));
    let late = rates(&lighting, &register, at("2026-11-23T02:00:00+08:00"), burning, |_| Exempt::No);
    assert_eq!(late.zones["z1"].due, 3, "the half-night lamp is not due");
    let dead = tally(|_| Seen { watts: None, unpowered: true }, |_| Exempt::No);
    assert_eq!((dead.city.dark, dead.city.unknown), (52, 0));
}

#[test]
fn a_post_without_a_place_takes_that_of_its_feeder_and_a_register_without_any_knows_no_sun() {
    let head = lampguard_model::register::header();
    let text = format!(
        "{head}\nP1,,z1,r,1,,F1,C1,113.24,35.22,1,100,false,,\nP2,,z1,r,2,,F1,C1,,,1,100,false,,\nP3,,z1,r,3,,F2,C1,,,1,100,false,,"
    );
    let some = Register::parse(text.as_bytes()).unwrap();
    let lighting = built("", SHANGHAI, &some).unwrap();
    for post in ["P1", "P2", "P3"] {
        assert_eq!(power(&lighting, &some, post, "2026-11-23T18:30:00+08:00"), 1000, "{post}");
        assert_eq!(power(&lighting, &some, post, "2026-11-23T12:00:00+08:00"), 0, "{post}");
    }
    let text = format!("{head}\nP1,,z1,r,1,,F1,C1,,,1,100,false,,\nP2,,z1,r,2,,F2,C1,,,1,100,false,,");
    let none = Register::parse(text.as_bytes()).unwrap();
    let clock = "[[timetable]]\nfeeders = [\"F1\"]\non = \"18:00\"\noff = \"06:00\"\n";
    let lighting = built(clock, SHANGHAI, &none).unwrap();
    assert!(on(&lighting, "F1", "2026-11-23T18:30:00+08:00"), "a clock needs no sun");
    assert_eq!(lighting.supply_expected("F2", at("2026-11-23T18:30:00+08:00")), None);
    assert_eq!(lighting.lamp_due(none.by_post("P2").unwrap(), at("2026-11-23T18:30:00+08:00")), None);
}
