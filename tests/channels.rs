//! From a dangerous reading to somebody's phone: the built program, every kind of channel, real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod emulators;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::process::texts;
use common::{Lampguard, Mqtt, Site, now_ms, reading, seconds, wait_until};
use emulators::alertmanager::Alerts;
use emulators::provider::Provider;
use emulators::robots::{self, Robot};
use emulators::smtp::Smtp;
use emulators::{Answer, Emulator};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Part of every secret and token; it may show up nowhere.
const CANARY: &str = "canary-51c7e";
const PHONE: &str = "13800001111";

fn danger(site: &Site, post: &str) {
    let mut sensor = Mqtt::connect(site.listener, post);
    for seq in 1..=3 {
        let topic = format!("lamp/z1/{post}/reading");
        sensor.publish_and_wait(&topic, reading(1, seq, 80.0).as_bytes());
    }
}

/// One of each kind.
struct Services {
    ding: Robot,
    wecom: Robot,
    feishu: Robot,
    sms: Provider,
    voice: Provider,
    mail: Smtp,
    alerts: Alerts,
}

impl Services {
    fn start() -> Self {
        let now: robots::Now = Arc::new(now_ms);
        Self {
            ding: robots::dingtalk(&format!("ding-{CANARY}"), &format!("SEC{CANARY}"), now.clone()),
            wecom: robots::wecom(&format!("wecom-{CANARY}"), now.clone()),
            feishu: robots::feishu(&format!("feishu-{CANARY}-hook"), &format!("SEC{CANARY}"), now),
            sms: Provider::start(&format!("SEC{CANARY}")),
            voice: Provider::start(&format!("SEC{CANARY}")),
            mail: Smtp::start("lampguard", &format!("SEC{CANARY}")),
            alerts: Alerts::start(),
        }
    }

    /// A site that tells them all.
    fn site(&self) -> Site {
        let provider = |id: &str, kind: &str, provider: &Provider| {
            format!(
                "[[channel]]\nid = \"{id}\"\nkind = \"{kind}\"\nurl = \"{url}\"\nsecret_file = \"secret\"\n\
                 phone = \"{PHONE}\"\nheaders = {{ Content-Type = \"application/json\", Authorization = \
                 \"Bearer {{{{secret}}}}\" }}\nbody = '{{\"mobile\":\"{{{{phone}}}}\",\"content\":\"{{{{text}}}}\"}}'\n\
                 success_path = \"/code\"\nsuccess_value = \"OK\"\nmessage_id_path = \"/data/id\"\n\
                 permanent_values = [\"isv.MOBILE_NUMBER_ILLEGAL\"]\n\
                 status_url = \"{status}\"\ndelivered_path = \"/status\"\ndelivered_value = \"delivered\"\n\
                 undelivered_value = \"failed\"\n",
                url = provider.emulator.url("/send"),
                status = provider.emulator.url("/status?id={{message_id}}"),
            )
        };
        let robot = |id: &str, more: &str| {
            format!("[[channel]]\nid = \"{id}\"\nkind = \"{id}\"\nurl_file = \"{id}.url\"\n{more}")
        };
        let sections = [
            robot("dingtalk", &format!("secret_file = \"secret\"\nphone = \"{PHONE}\"\n")),
            robot("wecom", &format!("phone = \"{PHONE}\"\n")),
            robot("feishu", "secret_file = \"secret\"\n"),
            provider("sms", "sms_http", &self.sms),
            provider("voice", "voice_http", &self.voice),
            format!(
                "[[channel]]\nid = \"mail\"\nkind = \"smtp\"\nurl = \"smtp://127.0.0.1:{}\"\nusername = \"lampguard\"\n\
                 secret_file = \"secret\"\nfrom = \"lampguard@office.example\"\nto = [\"desk@office.example\"]\n",
                self.mail.port
            ),
            format!(
                "[[channel]]\nid = \"alertmanager\"\nkind = \"alertmanager\"\nurl = \"{}\"\n",
                self.alerts.emulator.url("")
            ),
        ];
        let site = Site::new().with(&sections.concat());
        site.write("secret", &format!("SEC{CANARY}\n"));
        let url = |robot: &Robot, path: &str| format!("{}{CANARY}", robot.emulator.url(path));
        site.write("dingtalk.url", &url(&self.ding, "/robot/send?access_token=ding-"));
        site.write("wecom.url", &url(&self.wecom, "/cgi-bin/webhook/send?key=wecom-"));
        let feishu = url(&self.feishu, "/open-apis/bot/v2/hook/feishu-");
        site.write("feishu.url", &format!("{feishu}-hook"));
        site
    }
}

/// Outcome of each channel's notices of incidents that opened.
fn outcomes(lampguard: &Lampguard) -> BTreeSet<(String, String)> {
    let items = lampguard.items("/api/v1/notices");
    let opened = items.iter().filter(|notice| notice["event"] == "incident.opened");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    opened.map(|notice| (text(&notice["channel"]), text(&notice["outcome"]))).collect()
}

fn set(pairs: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    pairs.iter().map(|(channel, outcome)| ((*channel).to_owned(), (*outcome).to_owned())).collect()
}

#[test]
fn a_dangerous_reading_rings_every_kind_and_no_secret_shows_up_anywhere() {
    let services = Services::start();
    services.sms.fate(PHONE, "delivered");
    services.voice.fate(PHONE, "failed");
    let site = services.site();
    let lampguard = site.start();
    danger(&site, "P001");
    wait_until("every kind to be told and asked after", seconds(20), || {
        outcomes(&lampguard)
            == set(&[
                ("alertmanager", "sent"),
                ("dingtalk", "sent"),
                ("feishu", "sent"),
                ("mail", "sent"),
                ("sms", "delivered"),
                ("voice", "failed"),
                ("wecom", "sent"),
            ])
    });
    let ding = &services.ding.messages()[0];
    assert_eq!(ding.rang, [PHONE]);
    for part in ["P1", "解放路", "post 1", "leakage 80 mA", "not confirmed dead", "min left", "LG-"] {
        assert!(ding.text.contains(part), "{part} in {}", ding.text);
    }
    assert_eq!(services.wecom.messages()[0].rang, [PHONE]);
    assert!(services.feishu.messages()[0].text.contains("LG-"));
    let sms = &services.sms.sent()[0];
    assert!(sms.parts <= 2 && sms.text.contains("not confirmed dead"), "{}", sms.text);
    assert!(
        services.voice.sent()[0].text.contains("eight zero milliamps"),
        "{}",
        services.voice.sent()[0].text
    );
    assert!(services.mail.mails()[0].text().contains("leakage 80 mA"));
    assert_eq!(services.alerts.all()[0]["labels"]["alertname"], "lampguard_leak_critical");

    // A refusal sends the next rung at once, by this channel too: each of them is refused.
    let refusal = || Answer::Say(400, String::new(), format!("ding-{CANARY}").into_bytes());
    services.ding.emulator.order(std::iter::repeat_with(refusal).take(30));
    danger(&site, "P002");
    wait_until("the refusal", seconds(10), || {
        outcomes(&lampguard).contains(&("dingtalk".to_owned(), "failed".to_owned()))
    });
    let (doctor, err) = texts(&site.run(&["doctor"]));
    let bad = doctor.lines().find(|line| line.starts_with("BAD") && line.contains("channel dingtalk"));
    assert!(bad.is_some_and(|line| line.contains("its last telling failed")), "{doctor}");
    let mut seen = vec![doctor, err, lampguard.process.stderr(), lampguard.process.stdout()];
    for page in ["/metrics", "/api/v1/notices", "/api/v1/incidents", "/readyz", "/api/v1/openapi.json"] {
        seen.push(lampguard.get(page).text);
    }
    for text in seen {
        assert!(!text.contains(CANARY), "{text}");
    }
    assert!(
        !lampguard.get("/api/v1/notices").text.contains(PHONE),
        "an engineer's page is no telephone book"
    );
    lampguard.stop();
}

#[test]
fn peer_p14_with_every_channel_broken_but_one_the_one_rings_at_once_and_the_rest_when_they_are_back() {
    let services = Services::start();
    let slow = || Answer::Hang(seconds(30));
    services.ding.emulator.order([slow()]);
    services.wecom.emulator.order([Answer::status(500), Answer::status(502), Answer::Cut]);
    services.feishu.emulator.order([Answer::Say(429, "Retry-After: 2\r\n".to_owned(), Vec::new())]);
    services.voice.emulator.order([Answer::json(&serde_json::json!({"code": "isv.BUSY"}))]);
    services.mail.fail(emulators::smtp::Fault::Later);
    let site = services.site();
    let lampguard = site.start();
    danger(&site, "P001");
    // What fails elsewhere sends the next rungs at once, also by the one that works.
    wait_until("the SMS", seconds(3), || !services.sms.sent().is_empty());
    assert!(services.sms.sent()[0].text.contains("LG-"), "{}", services.sms.sent()[0].text);
    wait_until("faults by kind", seconds(5), || {
        ["wecom\",fault=\"server", "feishu\",fault=\"busy", "voice\",fault=\"code", "mail\",fault=\"busy"]
            .iter()
            .all(|series| {
                let name = format!("lampguard_alerting_channel_fault_total{{channel=\"{series}\"}}");
                lampguard.metric(&name) > 0.0
            })
    });
    assert_eq!(lampguard.metric("lampguard_alerting_channel_up{channel=\"sms\"}"), 1.0);
    assert_eq!(lampguard.metric("lampguard_alerting_channel_up{channel=\"mail\"}"), 0.0);
    services.mail.fail(emulators::smtp::Fault::None);
    let told = |robot: &Robot| !robot.messages().is_empty();
    wait_until("all of them, later", seconds(40), || {
        [&services.ding, &services.wecom, &services.feishu].into_iter().all(told)
            && !services.voice.sent().is_empty()
            && !services.mail.mails().is_empty()
    });
    let repeat = &services.wecom.messages()[0].text;
    // Which attempt of which rung comes through first depends on when the rungs came.
    let marked = ["#2", "#3", "#4"].iter().any(|mark| repeat.contains(mark));
    assert!(marked, "a repeat is marked, also in a message that it shares: {repeat}");
}

#[test]
fn an_incident_that_people_close_ends_its_alert() {
    let alerts = Alerts::start();
    let site = Site::new().with(&format!(
        "[[channel]]\nid = \"am\"\nkind = \"alertmanager\"\nurl = \"{}\"\n",
        alerts.emulator.url("")
    ));
    let lampguard = site.start();
    danger(&site, "P001");
    wait_until("the alert", seconds(10), || alerts.all().len() == 1);
    let id = alerts.all()[0]["labels"]["incident"].as_str().unwrap().to_owned();
    let (desk, other) =
        (site.token_named("duty", "desk one", &[]), site.token_named("duty", "desk two", &[]));
    let post = |token: &str, body: serde_json::Value| {
        let url = format!("{}/api/v1/incidents/{id}/void", lampguard.url);
        common::http::try_post(&url, Some(token), body.to_string().as_bytes()).unwrap()
    };
    let first = post(&desk, serde_json::json!({"key": "1", "reason": "a test"}));
    let pending = first.json()["pending_id"].as_str().map(str::to_owned);
    if let Some(pending) = pending {
        let second = post(&other, serde_json::json!({"key": "2", "reason": "a test", "second": pending}));
        assert_eq!(second.status, 200, "{}", second.text);
    }
    wait_until("the end of the alert", seconds(10), || {
        let ends = alerts.all()[0]["endsAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        ends.as_millisecond() <= now_ms() + 1000
    });
}

/// A robot behind TLS with a certificate of its own; counts what it answered.
fn tls_robot() -> (u16, String, Arc<AtomicUsize>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            let mut request = vec![0; 16384];
            if stream.read(&mut request).is_ok_and(|read| read > 0) {
                let said = "{\"errcode\":0,\"errmsg\":\"ok\"}";
                let head =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", said.len());
                counted.fetch_add(usize::from(request.starts_with(b"POST")), Ordering::SeqCst);
                let _ = stream.write_all(format!("{head}{said}").as_bytes());
                let _ = stream.flush();
            }
        }
    });
    (port, made.cert.pem(), count)
}

#[test]
fn fault_n4_a_certificate_that_nobody_signed_is_refused_and_one_of_the_own_authority_is_not() {
    let (port, pem, count) = tls_robot();
    let robot = |id: &str, more: &str| {
        format!(
            "[[channel]]\nid = \"{id}\"\nkind = \"wecom\"\nurl = \"https://localhost:{port}/send?key=k\"\n{more}"
        )
    };
    let site = Site::new()
        .with(&robot("strange", "allow_private = true\n"))
        .with(&robot("own", "allow_private = true\nca_file = \"ca.pem\"\n"))
        .with(&robot("private", "ca_file = \"ca.pem\"\n"));
    site.write("ca.pem", &pem);
    let (doctor, _) = texts(&site.run(&["doctor"]));
    let line = |id: &str| {
        let about = format!("channel {id} ");
        doctor.lines().find(|line| line.contains(&about)).unwrap_or_default().to_owned()
    };
    assert!(line("strange").starts_with("BAD") && line("strange").contains("tls"), "{doctor}");
    assert!(line("own").starts_with("ok"), "{doctor}");
    assert!(line("private").starts_with("BAD") && line("private").contains("allow_private"), "{doctor}");
    assert_eq!(count.load(Ordering::SeqCst), 0, "doctor rings nobody");
    let lampguard = site.start();
    danger(&site, "P001");
    // More than one: what `private` refuses sends the next rungs at once.
    wait_until("the one that is trusted", seconds(10), || {
        count.load(Ordering::SeqCst) > 0
            && outcomes(&lampguard).contains(&("own".to_owned(), "sent".to_owned()))
    });
    let fault = |id: &str, fault: &str| {
        lampguard
            .metric(&format!("lampguard_alerting_channel_fault_total{{channel=\"{id}\",fault=\"{fault}\"}}"))
    };
    wait_until("the faults", seconds(10), || {
        fault("strange", "tls") > 0.0 && fault("private", "private") > 0.0
    });
    wait_until("what is permanent is failed", seconds(5), || {
        outcomes(&lampguard).contains(&("private".to_owned(), "failed".to_owned()))
    });
    let strange = outcomes(&lampguard).into_iter().find(|(channel, _)| channel == "strange");
    assert_ne!(strange.unwrap().1, "sent", "nobody is told over a connection that may be anybody's");
}

#[test]
fn doctor_asks_every_kind_and_rings_nobody() {
    let services = Services::start();
    let site = services.site();
    let (doctor, _) = texts(&site.run(&["doctor"]));
    for id in ["dingtalk", "wecom", "feishu", "sms", "voice", "mail", "alertmanager"] {
        let about = format!("channel {id} ");
        let line = doctor.lines().find(|line| line.contains(&about)).unwrap_or_default();
        assert!(line.starts_with("ok"), "{id}: {doctor}");
    }
    assert!(doctor.contains("DingTalk's begin with SEC and have 67"), "{doctor}");
    assert!(doctor.contains("goes unencrypted"), "{doctor}");
    assert!(!doctor.contains(CANARY), "{doctor}");
    let rung = services.ding.messages().len()
        + services.wecom.messages().len()
        + services.feishu.messages().len()
        + services.sms.sent().len()
        + services.voice.sent().len()
        + services.mail.mails().len()
        + services.alerts.all().len();
    assert_eq!(rung, 0);
    let robots = [&services.ding, &services.wecom, &services.feishu];
    assert!(robots.iter().flat_map(|robot| robot.emulator.seen()).all(|seen| seen.target == "/"));
}

#[test]
fn a_redirect_to_the_own_network_is_never_followed() {
    let inside = Emulator::start(|_| Answer::status(200));
    let target = inside.url("/metadata");
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let outside = Emulator::start(move |_| {
        *count.lock().unwrap() += 1;
        Answer::Say(307, format!("Location: {target}\r\n"), Vec::new())
    });
    let site = Site::new().with(&format!(
        "[[channel]]\nid = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\nsecret_file = \"secret\"\n",
        outside.url("/hook")
    ));
    site.write("secret", "a secret of sixteen\n");
    let lampguard = site.start();
    danger(&site, "P001");
    wait_until("two attempts", seconds(10), || *asked.lock().unwrap() >= 2);
    assert!(inside.seen().is_empty());
    assert_eq!(lampguard.metric("lampguard_alerting_channel_up{channel=\"hook\"}"), 0.0);
}
