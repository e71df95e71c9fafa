//! What the plan says of a small city.

use super::*;
use crate::config::people::Someone;

fn someone(name: &str) -> Someone {
    Someone {
        name: name.to_owned(),
        phone: Some("13800000000".to_owned()),
        channels: vec!["console".to_owned()],
    }
}

/// Two zones; z1 has people, z2 has a crew without members.
fn city() -> Config {
    let zone = |id: &str, crew: &str| config::Zone {
        id: id.to_owned(),
        name: format!("zone {id}"),
        crew: crew.to_owned(),
        ..config::Zone::default()
    };
    let crew = |id: &str, members: Vec<Someone>| config::Crew {
        id: id.to_owned(),
        name: format!("crew {id}"),
        members,
        ..config::Crew::default()
    };
    Config {
        zones: vec![zone("z1", "c1"), zone("z2", "c2")],
        crews: vec![crew("c1", vec![someone("张三"), someone("李四")]), crew("c2", Vec::new())],
        desk: Some(someone("值班台")),
        ..Config::default()
    }
}

const AT: Timestamp = Timestamp(1_795_435_200_000);

fn plan(city: bool) -> Value {
    let config = self::city();
    let sees = Sees { zone: &|zone| zone == "z1", city };
    describe(&config, &config.ladders, &config::people::rota(&config), AT, &sees)
}

fn people(rung: &Value) -> Vec<&str> {
    rung["people"].as_array().unwrap().iter().map(|person| person["name"].as_str().unwrap()).collect()
}

fn rung<'p>(plan: &'p Value, zone: usize, to: &str) -> &'p Value {
    plan["zones"][zone]["rungs"].as_array().unwrap().iter().find(|rung| rung["to"] == to).unwrap()
}

#[test]
fn each_rung_names_its_people_or_the_desk_instead_of_them() {
    let plan = plan(true);
    assert_eq!(people(rung(&plan, 0, "crew")), ["张三"]);
    assert_eq!(people(rung(&plan, 0, "second")), ["李四"]);
    assert_eq!(rung(&plan, 0, "crew")["desk_instead"], false);
    for (zone, to) in [(0, "head"), (0, "backup_crew"), (1, "crew")] {
        let rung = rung(&plan, zone, to);
        assert_eq!((people(rung), &rung["desk_instead"]), (vec!["值班台"], &json!(true)), "{to}");
    }
    assert_eq!(plan["gaps"][0]["zone"], "z2");
    assert_eq!(
        (&plan["gaps"][0]["why"], plan["gaps"].as_array().unwrap().len()),
        (&json!("nobody_reachable"), 1)
    );
}

#[test]
fn rungs_are_those_of_the_ladders_in_force_with_their_minutes() {
    let steps = r#"
        severity = "P2"
        zones = ["z2"]
        steps = [{ after_min = 0, to = "crew" }, { after_min = 0, to = "desk" },
                 { after_min = 25, every_min = 7, until = "arrived", to = "head" }]"#;
    let own: lampguard_alerting::EscalationConfig = toml::from_str(steps).unwrap();
    let ladders = Ladders::build(&[own], &["z1", "z2"]).unwrap();
    let config = city();
    let all = Sees { zone: &|_| true, city: true };
    let mut plan = describe(&config, &ladders, &config::people::rota(&config), AT, &all);
    let shown = |zone: usize, severity: &str| -> Vec<String> {
        let rungs = plan["zones"][zone]["rungs"].as_array().unwrap().iter();
        let of = rungs.filter(|rung| rung["severity"] == severity);
        let line = |rung: &Value| {
            format!(
                "{} {} {} {}",
                rung["step"],
                rung["after_min"],
                rung["every_min"],
                rung["to"].as_str().unwrap()
            )
        };
        of.map(line).collect()
    };
    let p1 = shown(0, "P1");
    assert_eq!(
        p1[..5],
        ["0 0 null crew", "0 0 null desk", "0 0 null leader", "1 3 null crew", "1 3 null second"]
    );
    assert!(p1.contains(&"7 30 10 head".to_owned()), "{p1:?}");
    assert_eq!(shown(0, "P2"), ["0 0 null crew", "0 0 null desk"], "the rules' own");
    assert_eq!(shown(1, "P2"), ["0 0 null crew", "0 0 null desk", "1 25 7 head"], "the office's own");
    plan["source"] = json!("instance");
    let zone = jiff::tz::TimeZone::UTC;
    let zh = table::text(&plan, true, &zone);
    for line in ["  P1 立即\n", "  P1 接手后 5 分钟未出发\n", "  P1 30 分钟未到场，之后每 10 分钟\n"]
    {
        assert!(zh.contains(line), "{line} in {zh}");
    }
    let en = table::text(&plan, false, &zone);
    for line in [
        "  P1 3 min, not acknowledged\n    crew: ",
        "  P2 25 min, not arrived, then every 7 min\n    head of office: ",
    ] {
        assert!(en.contains(line), "{line} in {en}");
    }
}

#[test]
fn without_people_the_desk_is_told_by_every_channel() {
    let config = Config { desk: None, ..city() };
    let config = Config {
        crews: config
            .crews
            .iter()
            .cloned()
            .map(|crew| config::Crew { members: Vec::new(), ..crew })
            .collect(),
        ..config
    };
    let all = Sees { zone: &|_| true, city: true };
    let plan = describe(&config, &config.ladders, &config::people::rota(&config), AT, &all);
    let rung = rung(&plan, 0, "crew");
    assert_eq!((people(rung), &rung["people"][0]["channels"]), (vec!["desk"], &json!(["console"])));
    assert_eq!(plan["gaps"], json!([]));
}

#[test]
fn phones_are_shown_to_those_who_may_see_them_and_to_nobody_else() {
    let shown = plan(false);
    assert_eq!(shown["zones"][0]["crew"]["members"][0]["phone"], "13800000000");
    let hidden = [&shown["zones"][1], &shown["desk"], &shown["overrides"]].map(Value::to_string).join("");
    assert!(!hidden.contains("phone") && !hidden.contains("13800000000"), "{hidden}");
    let config = city();
    let none = Sees { zone: &|_| false, city: false };
    let text = describe(&config, &config.ladders, &config::people::rota(&config), AT, &none).to_string();
    assert!(!text.contains("13800000000"), "{text}");
}

#[test]
fn the_table_reads_in_both_languages_and_says_where_it_comes_from() {
    let mut plan = plan(true);
    plan["source"] = json!("configuration");
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    let zh = table::text(&plan, true, &zone);
    assert!(zh.starts_with("2026-11-23 20:00  没有运行中的实例"), "{zh}");
    assert!(zh.contains("当班班组: c1 crew c1  张三 13800000000 [console]"), "{zh}");
    assert!(
        zh.contains("未来 7 天缺岗：\n  z2  2026-11-23 20:00 – 2026-11-30 20:00  班组无可用通道 c2"),
        "{zh}"
    );
    let en = table::text(&plan, false, &zone);
    assert!(en.contains("head of office: (nobody there: the desk is told) 值班台"), "{en}");
}
