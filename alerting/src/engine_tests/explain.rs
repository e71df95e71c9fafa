//! Why a post did or did not raise.

use jiff::tz::TimeZone;

use super::*;
use crate::engine::Explanation;
use crate::explain_text::Teller;

fn told(told: &Explanation, chinese: bool) -> String {
    Teller { chinese, zone: TimeZone::UTC }.text(told)
}

fn leak_rules(told: &Explanation) -> Vec<(&str, bool)> {
    let leak = told.quantities.iter().find(|quantity| quantity.field == "leakage_ma").unwrap();
    leak.rules.iter().map(|rule| (rule.rule.as_str(), rule.holds)).collect()
}

#[test]
fn one_sample_over_the_limit_says_which_rule_holds_and_what_is_missing() {
    let mut city = City::new();
    city.read(&leak(minutes(0), 4.0));
    city.read(&leak(minutes(5), 41.5));
    let why = city.engine.explain("P1", minutes(6));
    assert_eq!(
        (why.incident.is_none(), why.wet.wet, &*why.policy_hash),
        (true, false, &*Policy::default().hash())
    );
    let leak = &why.quantities[1];
    assert_eq!((leak.limit, leak.limit_dry, leak.limit_wet, leak.samples.len()), (30.0, 30.0, 15.0, 2));
    assert!(leak_rules(&why).iter().all(|(_, holds)| !holds), "{:?}", leak_rules(&why));
    let text = told(&why, false);
    assert!(
        text.contains("not confirmed: 1 of the last 2 samples of leakage_ma reach the limit 30 mA (dry)"),
        "{text}"
    );
    assert!(text.contains("1 of the last 3 at or above the limit, 2 needed, 1 missing"), "{text}");
    let text = told(&why, true);
    assert!(text.contains("最近 3 个样本中 1 个达到限值，需 2 个，还差 1 个"), "{text}");
}

#[test]
fn a_confirmed_post_names_its_incident_and_the_rule_that_believed_it() {
    let mut city = City::new();
    city.read(&leak(minutes(0), 41.5));
    city.read(&leak(minutes(5), 42.5));
    let why = city.engine.explain("P1", minutes(6));
    let incident = why.incident.as_ref().unwrap();
    assert_eq!((&*incident.id, &*incident.rule), (&*city.the_incident().id, "two_of_three"));
    assert!(why.quantities[1].raised && why.state == "danger", "{why:#?}");
    let text = told(&why, true);
    assert!(text.contains("已生成险情") && text.contains("灯杆漏电"), "{text}");
    assert!(text.contains("依据 最近三个样本中两个超限；状态 待确认，信号 危险仍在"), "{text}");
    let read: Explanation = serde_json::from_str(&serde_json::to_string(&why).unwrap()).unwrap();
    assert_eq!(read, why, "the command reads what the route wrote");
}

#[test]
fn what_each_rule_is_said_to_hold_is_what_confirms() {
    let mut city = City::new();
    for (n, ma) in [(0, 41.0), (5, 2.0), (10, 2.0), (15, 42.0)] {
        city.read(&leak(minutes(n), ma));
    }
    let why = city.engine.explain("P1", minutes(16));
    assert_eq!(why.quantities[1].confirmed_by.as_deref(), Some("two_within_30_min"));
    let holding: Vec<&str> =
        leak_rules(&why).into_iter().filter(|(_, holds)| *holds).map(|(rule, _)| rule).collect();
    assert_eq!(holding, ["two_within_30_min"]);
    assert!(told(&why, false).contains("2 above in the last 5, 900 s apart"), "{}", told(&why, false));
}

#[test]
fn below_the_limit_wet_and_why_and_without_supply_is_said() {
    let mut city = City::new();
    let rain = WeatherReport { rain_mm_h: Some(8.0), ..WeatherReport::default() };
    city.weather(minutes(0), "z1", &rain);
    city.read(&with(leak(minutes(3), 12.0), Field::SupplyV, 0.0));
    let why = city.engine.explain("P1", minutes(4));
    assert_eq!((why.wet.wet, &*why.wet.because, why.quantities[1].limit), (true, "rain", 15.0));
    let text = told(&why, false);
    assert!(text.contains("12 mA is below the limit 15 (wet); taken without supply"), "{text}");
}

#[test]
fn cabinets_strangers_and_unheard_posts_have_an_answer_and_nothing_is_changed() {
    let mut city = City::new();
    city.read(&stranger(leak(minutes(1), 2.0), "X9"));
    let before = city.effects.len();
    for (post, what, words) in [
        ("C1", "cabinet", "cabinet"),
        ("P2", "post", "no valid leakage"),
        ("X9", "unregistered", "below the limit"),
        ("nobody", "unknown", "neither the register"),
    ] {
        let why = city.engine.explain(post, minutes(2));
        assert_eq!(why.what, what);
        assert!(told(&why, false).contains(words), "{post}: {}", told(&why, false));
    }
    assert_eq!(city.effects.len(), before);
}
