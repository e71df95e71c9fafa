//! What a city is made of.

use lampguard_model::{PostKind, Register};

use super::*;

fn demo(posts: u32, seed: u64) -> City {
    City::new(posts, seed, &Scenario::shipped("demo").unwrap()).unwrap()
}

fn autumn(posts: u32, seed: u64) -> City {
    City::new(posts, seed, &Scenario::shipped("autumn_rain").unwrap()).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_city_and_another_seed_another() {
    assert_eq!(demo(3200, 7), demo(3200, 7));
    assert_eq!(demo(3200, 7).register_csv(), demo(3200, 7).register_csv());
    assert_ne!(demo(3200, 7), demo(3200, 8));
}

#[test]
fn the_register_is_one_that_lampguard_reads() {
    let city = autumn(3200, 1);
    let register = Register::parse(city.register_csv().as_bytes()).unwrap();
    let of_kind = |kind| register.posts().iter().filter(|post| post.kind == kind).count();
    assert_eq!(of_kind(PostKind::Post), 3200);
    assert_eq!(of_kind(PostKind::Feeder), city.feeders().iter().filter(|f| f.cabinet_sensor).count());
    assert_eq!(register.zones().len(), 4);
    let post = register.by_device("P00001").unwrap();
    assert_eq!((&*post.zone, &*post.road), ("z1", "人民路"));
    assert!(register.posts().iter().any(|post| post.low_lying));
    assert!(register.posts().iter().any(|post| !post.monitored));
    assert!(register.posts().iter().any(|post| post.plan == "half_night"));
    assert!(register.posts().iter().any(|post| post.period_s == Some(21_600)));
    for post in register.posts() {
        assert!((post.lon - 113.24).abs() < 0.1 && (post.lat - 35.22).abs() < 0.1);
    }
}

#[test]
fn foreign_sensors_have_devices_of_their_own_where_they_speak_their_own_payloads() {
    let scenario = Scenario::shipped("random_city").unwrap();
    let city = City::new(3200, 1, &scenario).unwrap();
    let register = Register::parse(city.register_csv().as_bytes()).unwrap();
    let place = city.posts().iter().position(|post| post.model == Some(Model::CnT)).unwrap();
    let post = register.by_device(&city.device_id(place)).unwrap();
    assert_eq!(*post.post_id, *City::post_id(place));
    assert!(post.device_id.starts_with("CN86"));
    assert_eq!(autumn(3200, 1).device_id(place), City::post_id(place));
}

#[test]
fn a_city_of_any_size_is_read_as_a_register() {
    for posts in [1, 2, 3, 5, 41, 1000, 50_000] {
        let city = demo(posts, 3);
        let register = Register::parse(city.register_csv().as_bytes()).unwrap();
        let count = register.posts().iter().filter(|post| post.kind == PostKind::Post).count();
        assert_eq!(count, posts as usize);
        assert!(!city.hazards_in_order().is_empty());
    }
    let scenario = Scenario::shipped("demo").unwrap();
    assert!(City::new(0, 1, &scenario).is_err());
    let message = City::new(1_000_001, 1, &scenario).unwrap_err().to_string();
    assert_eq!(message, "a city of 1000001 posts cannot be made, the range is 1 to 1000000");
}

#[test]
fn the_share_of_hazards_is_the_one_of_the_sources() {
    for seed in 0..20 {
        for posts in [3200, 10_000, 50_000] {
            let share = demo(posts, seed).hazards_in_order().len() as f64 / f64::from(posts);
            assert!((0.002..=0.0035).contains(&share), "seed {seed}: {share}");
        }
    }
}

#[test]
fn healthy_posts_stay_below_6_ma_aged_ones_below_22_and_only_hazards_go_beyond() {
    for seed in 0..20 {
        for post in autumn(3200, seed).posts() {
            let soaked = post.insulation.at(1.0);
            match post.class {
                Class::Healthy => assert!(soaked.leakage_ma < 6.0 && soaked.shell_v < 12.0),
                Class::Aged => assert!(soaked.leakage_ma < 22.0 && soaked.shell_v < 1.0),
                Class::Hazard => {
                    assert_eq!(soaked.danger(true), Danger::Dangerous);
                    assert_eq!(post.insulation.at(0.0).danger(false), Danger::None);
                }
            }
        }
    }
}

#[test]
fn a_plain_scenario_hangs_its_hazards_on_posts_that_are_measured() {
    for seed in 0..20 {
        let city = demo(3200, seed);
        for place in city.hazards_in_order() {
            let post = &city.posts()[*place as usize];
            assert!(post.model.is_some_and(|model| model.spec().leakage));
            assert!(!post.lamp_side && !post.intermittent);
        }
    }
    let whole = |seed| autumn(50_000, seed);
    let hazards = whole(1);
    let of = |holds: fn(&Post) -> bool| {
        hazards.hazards_in_order().iter().filter(|place| holds(&hazards.posts()[**place as usize])).count()
    };
    assert!(of(|post| post.lamp_side) > 10 && of(|post| post.intermittent) > 3);
    assert!(of(|post| post.model.is_none()) > 0, "some hazards nobody measures");
}

#[test]
fn feeders_hold_about_forty_posts_and_most_are_dead_by_day() {
    let city = autumn(3200, 1);
    assert!(city.feeders().len() <= 84);
    for (place, feeder) in city.feeders().iter().enumerate() {
        assert!(feeder.count <= 40);
        assert!(feeder.posts().all(|post| city.posts()[post as usize].feeder as usize == place));
        assert_eq!(city.place_of_feeder(&feeder.id()), Some(place as u32));
    }
    assert_eq!(city.feeders().iter().map(|feeder| feeder.count).sum::<u32>(), 3200);
    let dead_by_day = city.feeders().iter().filter(|feeder| feeder.contactor).count();
    assert!(dead_by_day * 10 > city.feeders().len() * 6, "{dead_by_day}");
    assert!(demo(3200, 1).feeders().iter().all(|feeder| !feeder.contactor));
    assert!(city.feeders().iter().any(|feeder| feeder.control != Control::Sun));
}

#[test]
fn ids_lead_back_to_their_places() {
    let city = demo(100, 1);
    assert_eq!(city.place_of_post("P00100"), Some(99));
    for wrong in ["P00101", "P0", "P100", "Q00001", "", "P-0001"] {
        assert_eq!(city.place_of_post(wrong), None, "{wrong}");
    }
    assert_eq!(city.place_of_feeder("F9-001"), None);
}

#[test]
fn neighbours_stand_on_the_same_road_and_a_stretch_is_a_dozen() {
    let city = demo(3200, 1);
    for place in [0, 5, 159, 160, 161, 3199] {
        for (beside, away) in neighbours(&city, place, 3) {
            let (a, b) = (&city.posts()[place as usize], &city.posts()[beside as usize]);
            assert_eq!((a.zone, a.road, away), (b.zone, b.road, a.number.abs_diff(b.number)));
        }
        let stretch = stretch(&city, place);
        assert!(stretch.contains(&place) && stretch.len() <= 12);
    }
}
