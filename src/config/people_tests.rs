//! Every fault about people is told with its key; what is good becomes the rota that was meant.

use lampguard_alerting::Whom;
use lampguard_model::Timestamp;

use super::*;
use crate::config::{BadConfig, SAMPLE, load};

const CITY: &str = r#"
[posts]
file = "posts.csv"
[[channel]]
id = "console"
kind = "console"
[[channel]]
id = "wall"
kind = "console"
[[zone]]
id = "z1"
name = "one"
crew = "c1"
backup_crew = "c2"
leader = { name = "leader", phone = "+8613800000001", channels = ["console"] }
neighbour = "z2"
[[zone]]
id = "z2"
name = "two"
crew = "c2"
[[crew]]
id = "c1"
name = "first"
vehicle = "van"
members = [{ name = "a", phone = "13800000002", channels = ["wall", "console"] }, "b"]
[[crew]]
id = "c2"
name = "second"
members = [{ name = "b", phone = "13800000003", channels = ["console"] }]
[[shift]]
id = "day"
from = "08:00"
to = "20:00"
[[shift]]
id = "night"
from = "20:00"
to = "08:00"
[[duty]]
shift = "day"
zone = "z1"
crew = "c1"
days = ["workday"]
[[duty]]
shift = "night"
zone = "z1"
crew = "c2"
leader = "b"
[[duty]]
zone = "all"
crew = "c1"
when = "warning"
[calendar]
holidays = ["2026-10-01..2026-10-07"]
workdays = ["2026-10-10"]
[desk]
name = "desk"
channels = ["wall"]
"#;

fn config(text: &str) -> Result<Config, BadConfig> {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("posts.csv"), "x").unwrap();
    let file = home.path().join("lampguard.toml");
    std::fs::write(&file, text).unwrap();
    load(&file)
}

#[test]
fn people_shifts_and_duty_become_the_rota_that_was_meant() {
    let rota = rota(&config(CITY).unwrap());
    let at = |text: &str| Timestamp::from_rfc3339(text).unwrap();
    let told = |whom, time: &str| {
        let people = rota.people(whom, "z1", None, at(time));
        people.iter().map(|person| person.name.to_string()).collect::<Vec<_>>().join(" ")
    };
    let (day, night) = ("2026-11-25T12:00:00+08:00", "2026-11-25T23:00:00+08:00");
    assert_eq!((told(Whom::Crew, day), told(Whom::Second, day)), ("a".to_owned(), "b".to_owned()));
    assert_eq!((told(Whom::Leader, day), told(Whom::BackupCrew, day)), ("leader".to_owned(), "b".to_owned()));
    assert_eq!((told(Whom::Crew, night), told(Whom::Leader, night)), ("b".to_owned(), "b".to_owned()));
    assert_eq!((told(Whom::Desk, night), told(Whom::Head, night)), ("desk".to_owned(), String::new()));
    let first = &rota.people(Whom::Crew, "z1", None, at(day))[0];
    assert_eq!((first.phone.as_deref(), first.channels.len()), (Some("13800000002"), 2));
    // Days of holiday are gaps of the day shift, and a Saturday that is worked is none.
    assert!(rota.on_duty("z1", at("2026-10-01T12:00:00+08:00")).crew.is_none());
    assert!(rota.on_duty("z1", at("2026-10-10T12:00:00+08:00")).crew.is_some());
    assert_eq!(rota.reinforcement("z2", at(day)).0[0].id, "c1".into());
    assert_eq!(rota.crews["c1"].vehicle.as_deref(), Some("van"));
    assert_eq!(warnings(&config(CITY).unwrap()), Vec::<String>::new());
}

#[test]
fn fault_c1_every_fault_about_people_is_told_at_once_with_its_key_and_line() {
    let wrong = CITY
        .replace("neighbour = \"z2\"", "neighbour = \"z1\"")
        .replace("backup_crew = \"c2\"", "backup_crew = \"c1\"")
        .replace("[\"wall\", \"console\"]", "[\"pigeon\", \"console\", \"console\"]")
        .replace("\"+8613800000001\"", "\"+86 138\"")
        .replace(", \"b\"]", ", \"nobody\"]")
        .replace("to = \"20:00\"", "to = \"24:00\"")
        .replace("[\"workday\"]", "[\"workday\", \"someday\"]")
        .replace(
            "shift = \"night\"\nzone = \"z1\"\ncrew = \"c2\"",
            "shift = \"dusk\"\nzone = \"z9\"\ncrew = \"c9\"",
        )
        .replace("\"warning\"", "\"rain\"")
        .replace("2026-10-01..2026-10-07", "2026-10-07..2026-10-01")
        .replace("name = \"desk\"\n", "name = \"a\"\n")
        .replace("vehicle = \"van\"", "vehicle = \"\"");
    let bad = config(&wrong).unwrap_err();
    let text = bad.to_string();
    for part in [
        "line 16: zone[0].neighbour: z1 is the zone itself",
        "line 14: zone[0].backup_crew: c1 is the crew of the zone itself",
        "line 15: zone[0].leader.phone: \"+86 138\" is not 5 to 20 digits",
        "line 25: crew[0].members[0].channels: of a: there is no [[channel]] with id \"pigeon\"",
        "crew[0].members[0].channels: of a: console is there twice",
        "line 25: crew[0].members[1]: \"nobody\" has neither phone nor channels",
        "crew[0].vehicle",
        "shift[0].to: \"24:00\" is no time of day",
        "duty[0].days: \"someday\" is not",
        "duty[1].shift: there is no [[shift]] with id \"dusk\"",
        "duty[1].zone: there is no [[zone]] with id \"z9\"; all is all of them",
        "duty[1].crew: there is no [[crew]] with id \"c9\"",
        "duty[2].when: \"rain\" is not warning",
        "calendar.holidays",
        "desk: a has another phone or other channels than at crew[0].members[0]",
    ] {
        assert!(text.contains(part), "{part} is not told:\n{text}");
    }
}

#[test]
fn what_dials_needs_a_phone_and_a_duty_needs_somebody() {
    let wrong = CITY
        .replace("id = \"wall\"\nkind = \"console\"", "id = \"wall\"\nkind = \"sms_http\"")
        .replace("crew = \"c1\"\nwhen", "when");
    let text = config(&wrong).unwrap_err().to_string();
    assert!(text.contains("desk.channels: of desk: wall dials, and there is no phone"), "{text}");
    assert!(text.contains("duty[2].crew: is missing, and so are backup_crew and leader"), "{text}");
}

#[test]
fn an_unknown_key_inside_of_a_person_is_told_and_takes_no_key_of_the_zone_with_it() {
    let text = config(&CITY.replace("{ name = \"leader\",", "{ name = \"leader\", crew = \"c1\","));
    let text = text.unwrap_err().to_string();
    assert!(text.contains("zone[0].leader: unknown field `crew`"), "{text}");
    let text = config(&CITY.replace("[\"wall\"]", "\"wall\"")).unwrap_err().to_string();
    assert!(text.contains("desk"), "{text}");
}

#[test]
fn limits_on_counts_are_told() {
    let members: Vec<String> =
        (0..21).map(|n| format!("{{ name = \"m{n}\", channels = [\"wall\"] }}")).collect();
    let many = CITY
        .replace("members = [{ name = \"b\"", &format!("members = [{}, {{ name = \"b\"", members.join(", ")));
    let shifts: String =
        (0..24).map(|n| format!("[[shift]]\nid = \"s{n}\"\nfrom = \"00:00\"\nto = \"01:00\"\n")).collect();
    let text = config(&format!("{many}{shifts}")).unwrap_err().to_string();
    assert!(text.contains("crew[1].members: 22 are more than 20"), "{text}");
    assert!(text.contains("shift: 26 are more than 24"), "{text}");
}

#[test]
fn crews_without_members_and_a_city_without_a_desk_are_warned_of() {
    let lonely =
        CITY.replace("members = [{ name = \"b\", phone = \"13800000003\", channels = [\"console\"] }]", "");
    let lonely =
        lonely.replace(", \"b\"]", "]").replace("leader = \"b\"", "").replace("holidays", "# holidays");
    let told = warnings(&config(&lonely).unwrap()).join("\n");
    assert!(told.contains("crew c2 has no members") && told.contains("holidays is empty"), "{told}");
    let (without, _) = lonely.split_once("[desk]").unwrap();
    assert!(warnings(&config(without).unwrap()).join("\n").contains("there is no [desk]"));
    assert!(warnings(&Config::default())[0].contains("nobody is named"));
}

/// The keys that a section takes, as its type tells them.
fn keys_of<T: serde::de::DeserializeOwned>() -> Vec<String> {
    let error = toml::from_str::<T>("no_such_key = 1").err().unwrap().to_string();
    let (_, expected) = error.split_once("expected").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_sample_names_every_key_about_people() {
    let sections = [
        ("[[zone]]", keys_of::<Zone>()),
        ("[[crew]]", keys_of::<Crew>()),
        ("[[shift]]", keys_of::<ShiftSection>()),
        ("[[duty]]", keys_of::<DutySection>()),
        ("[calendar]", keys_of::<CalendarSection>()),
        ("[desk]", keys_of::<Someone>()),
        ("[supervisor]", keys_of::<Someone>()),
        ("[head]", keys_of::<Someone>()),
    ];
    for (header, keys) in sections {
        assert!(keys.len() >= 2, "{header}: {keys:?}");
        let mut inside = false;
        let mut named = HashSet::new();
        for line in SAMPLE.lines().map(|line| line.trim_start_matches("# ")) {
            if line.starts_with('[') {
                inside = line.starts_with(header);
            }
            named.extend(line.split_once(" = ").filter(|_| inside).map(|(key, _)| key));
        }
        for key in keys {
            assert!(named.contains(&*key), "{header} {key} is not in the sample");
        }
    }
}

#[test]
fn the_example_city_is_always_covered_by_somebody_else_than_its_back_up() {
    let channels: String = ["phone", "sms", "chat", "wall"]
        .map(|id| format!("[[channel]]\nid = \"{id}\"\nkind = \"console\"\n"))
        .concat();
    let text = format!(
        "[posts]\nfile = \"posts.csv\"\n{channels}{}",
        include_str!("../../deploy/rota.example.toml")
    );
    let config = config(&text).unwrap();
    assert_eq!(warnings(&config), Vec::<String>::new());
    let mut rota = rota(&config);
    let at = |text: &str| Timestamp::from_rfc3339(text).unwrap();
    assert_eq!(rota.gaps(at("2026-12-31T23:00:00+08:00"), 366), []);
    let on = |rota: &Rota, time: &str| {
        let duty = rota.on_duty("z3", at(time));
        let id = |crew: Option<Arc<rota::Crew>>| crew.map_or_else(String::new, |crew| crew.id.to_string());
        (id(duty.crew), id(duty.backup), duty.reinforcement.len())
    };
    let of = |crew: &str, backup: &str, more: usize| (crew.to_owned(), backup.to_owned(), more);
    assert_eq!(on(&rota, "2027-01-04T12:00:00+08:00"), of("c3", "c4", 0), "a Monday");
    assert_eq!(on(&rota, "2027-01-04T23:00:00+08:00"), of("n2", "n1", 0), "a night");
    assert_eq!(on(&rota, "2027-10-01T12:00:00+08:00"), of("n2", "c3", 0), "a Friday that is a holiday");
    assert_eq!(on(&rota, "2027-10-09T12:00:00+08:00"), of("c3", "c4", 0), "a Saturday that is worked");
    rota.set_warning("all", true);
    assert_eq!(on(&rota, "2027-01-04T23:00:00+08:00"), of("n2", "n1", 1), "a storm");
}
