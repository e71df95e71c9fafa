//! Mail by the built program over TLS: from the first byte, after STARTTLS, and never without where it is asked for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod emulators;
#[path = "emulators/tls.rs"]
mod tls;

use common::process::texts;
use common::{Lampguard, Mqtt, Site, reading, seconds, wait_until};
use emulators::smtp::{Smtp, When};
use tls::Authority;

/// Part of the password; it may never go in the clear nor show up in an error.
const CANARY: &str = "canary-7d20";

fn password() -> String {
    format!("pass-{CANARY}")
}

/// A site that tells by that server; its certificates are those of `authority`.
fn site(scheme: &str, server: &Smtp, authority: &Authority) -> Site {
    let site = Site::new().with(&format!(
        "[[channel]]\nid = \"mail\"\nkind = \"smtp\"\nurl = \"{scheme}://localhost:{}\"\nusername = \"lampguard\"\n\
         secret_file = \"secret\"\nfrom = \"lampguard@office.example\"\nto = [\"desk@office.example\"]\n\
         allow_private = true\nca_file = \"ca.pem\"\n",
        server.port
    ));
    site.write("secret", &format!("{}\n", password()));
    site.write("ca.pem", &authority.pem);
    site
}

fn danger(site: &Site) {
    let mut sensor = Mqtt::connect(site.listener, "P001");
    for seq in 1..=3 {
        sensor.publish_and_wait("lamp/z1/P001/reading", reading(1, seq, 80.0).as_bytes());
    }
}

/// The login that a mail program sends.
fn login() -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("\0lampguard\0{}", password()))
}

fn faults(lampguard: &Lampguard, fault: &str) -> f64 {
    lampguard.metric(&format!("lampguard_alerting_channel_fault_total{{channel=\"mail\",fault=\"{fault}\"}}"))
}

fn outcome(lampguard: &Lampguard) -> String {
    let items = lampguard.items("/api/v1/notices");
    let opened = items.iter().find(|notice| notice["event"] == "incident.opened");
    opened.map(|notice| notice["outcome"].as_str().unwrap().to_owned()).unwrap_or_default()
}

#[test]
fn a_mail_goes_over_tls_from_the_first_byte_and_after_starttls_and_nothing_of_it_in_the_clear() {
    let authority = Authority::new();
    let secure = || authority.secure(&["localhost"]);
    for (scheme, when) in
        [("smtps", When::FromTheStart(secure())), ("smtp+starttls", When::AfterStartTls(secure()))]
    {
        let server = Smtp::start_with("lampguard", &password(), when);
        let site = site(scheme, &server, &authority);
        let (doctor, _) = texts(&site.run(&["doctor"]));
        assert!(
            doctor.lines().any(|line| line.starts_with("ok") && line.contains("channel mail ")),
            "{doctor}"
        );
        let lampguard = site.start();
        danger(&site);
        wait_until(&format!("the mail by {scheme}"), seconds(15), || !server.mails().is_empty());
        assert!(server.mails()[0].text().contains("leakage 80 mA"), "{}", server.mails()[0].text());
        wait_until("its outcome", seconds(5), || outcome(&lampguard) == "sent");
        let clear = server.clear();
        let talked: Vec<&str> = clear.lines().filter(|line| !line.is_empty()).collect();
        let wanted: &[&str] = if scheme == "smtps" { &[] } else { &["EHLO lampguard", "STARTTLS"] };
        assert!(talked.chunks(2).all(|said| said == wanted), "{scheme}: {talked:?}");
        assert_eq!(talked.is_empty(), scheme == "smtps", "{scheme}: {talked:?}");
        lampguard.stop();
    }
}

#[test]
fn fault_n4_a_mail_server_with_the_wrong_certificate_gets_neither_mail_nor_password() {
    let (trusted, strange) = (Authority::new(), Authority::new());
    for (what, secure) in [
        ("of another authority", strange.secure(&["localhost"])),
        ("for another name", trusted.secure(&["mail.example"])),
    ] {
        for (scheme, when) in [
            ("smtps", When::FromTheStart(secure.clone())),
            ("smtp+starttls", When::AfterStartTls(secure.clone())),
        ] {
            let server = Smtp::start_with("lampguard", &password(), when);
            let site = site(scheme, &server, &trusted);
            let (doctor, _) = texts(&site.run(&["doctor"]));
            let line = doctor.lines().find(|line| line.contains("channel mail ")).unwrap_or_default();
            assert!(line.starts_with("BAD") && line.contains("ertificate"), "{what}, {scheme}: {doctor}");
            let lampguard = site.start();
            danger(&site);
            wait_until("the fault", seconds(15), || faults(&lampguard, "tls") > 0.0);
            assert_eq!(lampguard.metric("lampguard_alerting_channel_up{channel=\"mail\"}"), 0.0);
            assert_ne!(outcome(&lampguard), "sent", "{what}, {scheme}");
            assert!(server.mails().is_empty(), "{what}, {scheme}");
            let clear = server.clear();
            assert!(
                !clear.contains("AUTH") && !clear.contains(&login()) && !clear.contains("MAIL"),
                "{clear}"
            );
            let shown = [lampguard.process.stderr(), doctor];
            assert!(shown.iter().all(|text| !text.contains(CANARY)), "{shown:?}");
            lampguard.stop();
        }
    }
}

#[test]
fn a_server_that_offers_no_starttls_where_it_is_asked_for_is_failed_at_once_and_told_no_password() {
    let (authority, server) = (Authority::new(), Smtp::start("lampguard", &password()));
    let site = site("smtp+starttls", &server, &authority);
    let (doctor, _) = texts(&site.run(&["doctor"]));
    assert!(doctor.contains("offers no STARTTLS"), "{doctor}");
    let lampguard = site.start();
    danger(&site);
    // No retry can mend it: the next rung goes at once.
    wait_until("the failure", seconds(10), || outcome(&lampguard) == "failed");
    wait_until("the next rung", seconds(10), || {
        lampguard.items("/api/v1/notices").iter().any(|notice| notice["event"] == "incident.escalated")
    });
    assert!(faults(&lampguard, "tls") > 0.0);
    let clear = server.clear();
    assert!(clear.contains("EHLO") && !clear.contains("AUTH") && !clear.contains(&login()), "{clear}");
    assert!(server.mails().is_empty());
    lampguard.stop();
}
