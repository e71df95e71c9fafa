//! What links open, and what they do not.

use super::*;
use crate::rota::{Crew, Person, ZoneDuty};

const T: Timestamp = Timestamp(1_795_435_200_000);

fn keys() -> Keys {
    let mut keys = Keys::default();
    assert!(keys.rotate([7; 32], T - Millis::hours(24)));
    keys
}

fn claims(incident: &str, who: &str) -> Claims {
    Claims { incident: Arc::from(incident), who: Arc::from(who), expires: T + LIFE_MAX }
}

#[test]
fn a_link_reads_back_until_it_expires() {
    let (keys, claims) = (keys(), claims("LG-ABCDEFGH1234", "抢修一班-东"));
    let token = keys.sign(&claims).unwrap();
    assert!(token.len() <= TOKEN_MAX, "{}", token.len());
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{token}");
    assert_eq!(keys.check(&token, T), Ok(claims.clone()));
    assert_eq!(claims.made_at(), T);
    assert_eq!(keys.check(&token, T + LIFE_MAX - Millis(1)), Ok(claims));
    assert_eq!(keys.check(&token, T + LIFE_MAX), Err(LinkError::Expired));
    assert_eq!(keys.check(&token, T - Millis::hours(25)), Err(LinkError::Expired));
}

#[test]
fn a_link_with_any_bit_changed_cut_or_lengthened_opens_nothing() {
    let keys = keys();
    // The short form, and the one before: of an id that is none of ours.
    let token = keys.sign(&claims("LG-ABCDEFGH1234", "c1")).unwrap();
    let long = keys.sign(&claims("ABCDEFGH1234", "c1")).unwrap();
    for (token, id, signed) in
        [(&token, "ABCDEFGH1234.", &token["ABCDEFGH1234.".len()..]), (&long, "", long.as_str())]
    {
        let bytes = URL_SAFE_NO_PAD.decode(signed).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = format!("{id}{}", URL_SAFE_NO_PAD.encode(changed));
            assert_eq!(keys.check(&changed, T), Err(LinkError::Changed), "bit {bit}");
        }
        for length in 0..token.len() {
            assert_eq!(keys.check(&token[..length], T), Err(LinkError::Changed), "length {length}");
        }
    }
    for other in ["ABCDEFGH1235", "ABCDEFGH123", "ABCDEFGH12344", "", "abcdefgh1234"] {
        let moved = token.replacen("ABCDEFGH1234", other, 1);
        assert_eq!(keys.check(&moved, T), Err(LinkError::Changed), "another incident: {other}");
    }
    for other in [format!("{token}A"), format!("{token}="), "x".repeat(4000), "令牌".to_owned()] {
        assert_eq!(keys.check(&other, T), Err(LinkError::Changed));
    }
}

#[test]
fn where_the_incident_ends_and_the_crew_begins_is_signed_too() {
    let keys = keys();
    let (one, other) = (keys.sign(&claims("LG-A", "BC")).unwrap(), keys.sign(&claims("LG-AB", "C")).unwrap());
    assert_ne!(one, other);
    assert_eq!(keys.check(&other, T).unwrap().incident, Arc::from("LG-AB"));
}

#[test]
fn a_link_of_the_form_before_still_opens_and_the_short_one_has_its_length() {
    let keys = keys();
    // As a version before wrote it: key 1, expires, length of the incident, incident, crew.
    let of = claims("LG-ABCDEFGH1234", "c1");
    let mut body = vec![1];
    body.extend(((of.expires.0 / 1000) as u32).to_be_bytes());
    body.push(15);
    body.extend(b"LG-ABCDEFGH1234c1");
    let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
    mac.update(b"lampguard crew link 1");
    mac.update(&body);
    body.extend(&mac.finalize().into_bytes()[..16]);
    assert_eq!(keys.check(&URL_SAFE_NO_PAD.encode(&body), T), Ok(of.clone()));
    let token = keys.sign(&of).unwrap();
    assert_eq!((token.len(), token.starts_with("ABCDEFGH1234.")), (43, true), "{token}");
}

#[test]
fn ids_that_are_too_long_are_refused_with_what_fits() {
    let refused = keys().sign(&claims("LG-ABCDEFGH1234", &"c".repeat(64))).unwrap_err().to_string();
    assert!(refused.contains("79 bytes") && refused.contains("68"), "{refused}");
    let longest = keys().sign(&claims("LG-ABCDEFGH1234", &"c".repeat(53))).unwrap();
    assert!(longest.len() <= TOKEN_MAX, "{}", longest.len());
    assert_eq!(Keys::default().sign(&claims("LG-A", "c")), Err(SignError::NoKey));
}

#[test]
fn a_rotated_key_is_good_until_its_links_have_expired_and_then_goes() {
    let mut keys = keys();
    let old = keys.sign(&claims("LG-A", "c1")).unwrap();
    assert!(keys.rotate([8; 32], T));
    let new = keys.sign(&claims("LG-A", "c1")).unwrap();
    assert_ne!(old, new);
    assert!(keys.check(&old, T).is_ok() && keys.check(&new, T).is_ok());
    assert!(keys.rotate([9; 32], T + LIFE_MAX));
    assert_eq!(keys.len(), 3, "the first signed until T");
    assert!(keys.rotate([10; 32], T + LIFE_MAX + Millis(1)));
    assert_eq!(keys.len(), 3);
    assert_eq!(keys.check(&old, T), Err(LinkError::Changed));
    while keys.len() < KEYS_MAX {
        assert!(keys.rotate([1; 32], T + LIFE_MAX + Millis(2)));
    }
    assert!(!keys.rotate([1; 32], T + LIFE_MAX + Millis(3)), "all of them are still good");
}

#[test]
fn keys_read_back_from_their_file_and_never_show_themselves() {
    let mut keys = keys();
    keys.rotate([0xab; 32], T);
    let text = keys.to_text();
    assert_eq!(Keys::from_text(&text).unwrap(), keys);
    assert!(!format!("{keys:?}").contains("ab"));
    for bad in ["1 2", "1 2 zz", "x 2 00", &format!("1 2 {}", "é".repeat(32))] {
        assert_eq!(Keys::from_text(&format!("# head\n{bad}\n")), Err(KeysError { line: 2 }), "{bad}");
    }
}

fn person(name: &str) -> Arc<Person> {
    Arc::new(Person { name: Arc::from(name), phone: None, channels: vec![Arc::from("a")] })
}

/// 王强 is in both crews; z1 is the first one's, with the second as back-up, and its leader drives with the second.
fn rota() -> Rota {
    let crew = |id: &str, name: &str, members: &[&str]| {
        let members = members.iter().map(|name| person(name)).collect();
        let id: Arc<str> = Arc::from(id);
        (id.clone(), Arc::new(Crew { id, name: name.to_owned(), members, vehicle: None }))
    };
    let zone = ZoneDuty {
        crew: Arc::from("c1"),
        backup_crew: Some(Arc::from("c2")),
        leader: Some(person("赵丽")),
        ..ZoneDuty::default()
    };
    Rota {
        crews: [crew("c1", "抢修一班", &["王强"]), crew("c2", "抢修二班", &["王强", "赵丽"])].into(),
        zones: [(Arc::from("z1"), zone)].into(),
        ..Rota::default()
    }
}

#[test]
fn notices_to_a_crew_that_is_told_lead_to_its_page_and_all_others_to_the_incident() {
    let (keys, id) = (keys(), Arc::<str>::from("LG-ABCDEFGH1234"));
    let its = keys.clone();
    let links = Links::new(Arc::new(move |claims| its.sign(claims).ok()));
    links.follow(&rota());
    let told = [Arc::from("c1")];
    for to in ["王强", "c1", "抢修一班"] {
        let path = links.path(&id, to, T, &told);
        let found = keys.check(path.strip_prefix("/c/").unwrap(), T).unwrap();
        assert_eq!((&*found.who, &found.incident, found.expires), ("c1", &id, T + LIFE_MAX));
        assert_eq!(links.path(&id, to, T, &told), path, "a retry carries the same link");
    }
    for to in ["desk", "李梅", "", "赵丽", "c2"] {
        assert_eq!(links.path(&id, to, T, &told), "/incidents/LG-ABCDEFGH1234");
    }
    assert_eq!(links.path(&id, "王强", T, &[]), "/incidents/LG-ABCDEFGH1234", "no crew is told");
    links.clone().follow(&Rota::default());
    assert_eq!(links.path(&id, "王强", T, &told), "/incidents/LG-ABCDEFGH1234", "who left the crew signs in");
    assert_eq!(Links::default().path(&id, "c1", T, &told), "/incidents/LG-ABCDEFGH1234");
}

#[test]
fn somebody_in_two_crews_acts_as_the_one_that_is_told_and_a_leader_who_is_informed_as_himself() {
    let (keys, rota, id) = (keys(), rota(), Arc::<str>::from("LG-ABCDEFGH1234"));
    let its = keys.clone();
    let links = Links::new(Arc::new(move |claims| its.sign(claims).ok()));
    links.follow(&rota);
    let who = |to: &str, telling: &Telling, own: Option<&str>| {
        let path = links.path(&id, to, T, &crews_told(&rota, telling, "z1", own, T));
        path.strip_prefix("/c/").map(|token| keys.check(token, T).unwrap().who.to_string())
    };
    let to = |whom: &[Whom]| Telling::to(whom);
    let at_once = to(&[Whom::Crew, Whom::Desk, Whom::Leader]);
    assert_eq!(who("王强", &at_once, None).as_deref(), Some("c1"));
    assert_eq!(who("王强", &at_once, Some("抢修二班")).as_deref(), Some("c2"), "the crew that has it");
    assert_eq!(who("赵丽", &at_once, None), None, "informed, and not sent");
    let backup = to(&[Whom::BackupCrew, Whom::Leader]);
    assert_eq!(who("王强", &backup, None).as_deref(), Some("c2"));
    for instead in [Whom::BackupCrew, Whom::Neighbour] {
        let called = who("王强", &to(&[instead]), Some("c2"));
        assert_eq!(
            called.as_deref(),
            Some("c1"),
            "the crew on duty is called in place of {instead:?}, and goes"
        );
    }
    let planned = Telling { crews: vec![Arc::from("c2")], ..Telling::default() };
    assert_eq!(who("王强", &planned, None).as_deref(), Some("c2"));
    let help = Telling { everybody: true, ..Telling::default() };
    assert_eq!(who("王强", &help, Some("c2")).as_deref(), Some("c2"));
    assert_eq!(who("赵丽", &help, None).as_deref(), Some("c2"), "everybody comes");
    assert_eq!(who("王强", &to(&[Whom::Desk, Whom::Head]), None), None);
}
