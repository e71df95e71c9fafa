//! Every kind through its real sender, over a real socket, against a service that checks what the real one checks.
#![expect(clippy::disallowed_methods, reason = "what is tested waits by a running clock")]

use std::collections::HashSet;

use lampguard_model::Millis;

use super::emulators::Answer;
use super::emulators::alertmanager::Alerts;
use super::emulators::provider::Provider;
use super::emulators::robots::{self, Robot};
use super::emulators::smtp::{self as mail, Fault as MailFault};
use super::errand::{Errand, Outcome as Renewal, Question, Sender};
use super::fault::{Fault, SendError};
use super::letter::Letter;
use super::line::Sharing;
use super::template::Fate;
use super::tests::{Office, office};
use super::*;
use crate::incident::Incident;
use crate::ladder::List;
use crate::notice::Address;
use crate::rota::Person;
use crate::store::Reads;
use crate::testkit::{T, incident, site, wait_for};
use crate::writer::Ticket;

/// Stands in every secret of these tests.
const CANARY: &str = "canary-9f3b";
const PHONE: &str = "13800001111";

fn secret() -> Secret {
    Secret::new(format!("SEC-{CANARY}").into_bytes())
}

fn web(url: &str) -> Web {
    Web { url: HiddenUrl::new(url), secret: secret(), ..Web::default() }
}

/// The office's clock for an emulator.
fn clock(office: &Office) -> robots::Now {
    let clock = office.clock.clock();
    Arc::new(move || clock().0)
}

fn dingtalk(office: &Office) -> (Robot, Channel) {
    let token = format!("token-{CANARY}");
    let robot = robots::dingtalk(&token, secret().text(), clock(office));
    let url = robot.emulator.url(&format!("/robot/send?access_token={token}"));
    (robot, Channel::new("ding", ChannelKind::DingTalk { web: web(&url), markdown: false }))
}

fn wecom(office: &Office) -> (Robot, Channel) {
    let key = format!("key-{CANARY}");
    let robot = robots::wecom(&key, clock(office));
    let url = robot.emulator.url(&format!("/cgi-bin/webhook/send?key={key}"));
    (robot, Channel::new("wecom", ChannelKind::WeCom(web(&url))))
}

fn feishu(office: &Office) -> (Robot, Channel) {
    let token = format!("hook-{CANARY}-long");
    let robot = robots::feishu(&token, secret().text(), clock(office));
    let url = robot.emulator.url(&format!("/open-apis/bot/v2/hook/{token}"));
    (robot, Channel::new("feishu", ChannelKind::Feishu(web(&url))))
}

fn template(provider: &Provider) -> Template {
    Template {
        web: web(&provider.emulator.url("/send")),
        method: "POST".to_owned(),
        headers: vec![
            ("Content-Type".to_owned(), "application/json".to_owned()),
            ("Authorization".to_owned(), "Bearer {{secret}}".to_owned()),
        ],
        body: r#"{"mobile":"{{phone}}","content":"{{text}}","out":"{{id}}"}"#.to_owned(),
        escape: Escape::Json,
        success: Some(Expect { path: "/code".to_owned(), value: "OK".to_owned() }),
        permanent: vec!["isv.MOBILE_NUMBER_ILLEGAL".to_owned(), "isv.SIGNATURE".to_owned()],
        message_id: Some("/data/id".to_owned()),
        status_url: Some(HiddenUrl::new(provider.emulator.url("/status?id={{message_id}}"))),
        delivered: Some(Expect { path: "/status".to_owned(), value: "delivered".to_owned() }),
        undelivered: Some(Expect { path: "/status".to_owned(), value: "failed".to_owned() }),
    }
}

fn sms() -> (Provider, Channel) {
    let provider = Provider::start(secret().text());
    let channel = Channel::new("sms", ChannelKind::Sms(Box::new(template(&provider))));
    (provider, channel)
}

fn start(channel: &Channel, office: &Office) -> Desk {
    Desk::start(channel.clone(), office.around.clone()).unwrap()
}

#[test]
fn dingtalk_is_signed_says_everything_and_rings_the_phone_of_the_person() {
    let office = office();
    let (robot, channel) = dingtalk(&office);
    let desk = start(&channel, &office);
    office.open_for(1, "张三", Some("138-0000 1111"), &[&desk]);
    wait_for("the chat", || robot.messages().len() == 1);
    let message = &robot.messages()[0];
    assert_eq!(message.rang, [PHONE]);
    assert_eq!(
        message.text,
        "【P1 灯杆带电】未登记设备 P1 · 外壳电压 115 V（潮湿限值 12 V） · 按带电处理，可能断PE · \
         未确认断电，视为带电 · 2026-11-23 20:30:00+08:00 前到场 · LG-TEST1 · 剩余 30 分钟\n\
         http://desk.example/incidents/LG-TEST1 @13800001111"
    );
    wait_for("the outbox says sent", || office.outcomes() == [("sent".to_owned(), 1)]);
    assert_eq!(office.words(), ["sent"]);
}

#[test]
fn dingtalk_in_markdown_rings_too() {
    let office = office();
    let (robot, mut channel) = dingtalk(&office);
    if let ChannelKind::DingTalk { markdown, .. } = &mut channel.kind {
        *markdown = true;
    }
    let desk = start(&channel, &office);
    office.open_for(1, "张三", Some(PHONE), &[&desk]);
    wait_for("the chat", || robot.messages().len() == 1);
    let message = &robot.messages()[0];
    assert_eq!(message.rang, [PHONE]);
    assert!(message.body["markdown"]["title"].as_str().unwrap().contains("P1 灯杆带电"));
}

#[test]
fn wecom_rings_the_phone_and_never_sends_more_than_its_bytes() {
    let office = office();
    let (robot, channel) = wecom(&office);
    let desk = start(&channel, &office);
    office.open_for(1, "李四", Some(PHONE), &[&desk]);
    wait_for("the chat", || robot.messages().len() == 1);
    assert_eq!(robot.messages()[0].rang, [PHONE]);
    for n in 2..60 {
        office.open_for(n, "李四", Some(PHONE), &[&desk]);
    }
    wait_for("shared messages", || robot.messages().iter().any(|m| m.text.contains("险情")));
    assert!(robot.messages().iter().all(|message| message.text.len() <= 2048));
    assert!(office.failures().is_empty(), "{:?}", office.failures());
}

#[test]
fn feishu_is_signed_with_time_and_secret_as_the_key() {
    let office = office();
    let (robot, channel) = feishu(&office);
    let desk = start(&channel, &office);
    office.open_for(1, "王五", Some(PHONE), &[&desk]);
    wait_for("the chat", || robot.messages().len() == 1);
    let text = &robot.messages()[0].text;
    assert!(
        text.contains("LG-TEST1") && text.contains("未确认断电") && text.ends_with("☎13800001111"),
        "{text}"
    );
}

#[test]
fn an_sms_has_two_parts_at_most_and_its_delivery_is_asked_for() {
    let office = office();
    let (provider, channel) = sms();
    provider.fate(PHONE, "delivered");
    provider.fate("13900002222", "failed");
    let desk = start(&channel, &office);
    office.open_for(1, "张三", Some(PHONE), &[&desk]);
    office.open_for(2, "李四", Some("13900002222"), &[&desk]);
    wait_for("two on their phones", || provider.sent().len() == 2);
    assert!(provider.sent().iter().all(|sms| sms.parts <= 2 && sms.text.contains("http://desk.example/")));
    wait_for("what became of them", || {
        let mut outcomes = office.outcomes();
        outcomes.sort();
        outcomes == [("delivered".to_owned(), 1), ("failed".to_owned(), 1)]
    });
    let words = office.words();
    assert!(words.contains(&"delivered") && words.contains(&"undelivered"), "{words:?}");
    let conn = office.around.reads.lock().unwrap();
    let events = |id: &str| -> Vec<String> {
        let timeline = Reads::new(&conn).timeline(id).unwrap();
        timeline.into_iter().map(|(_, event)| event.event).collect()
    };
    assert_eq!(events("LG-TEST1"), ["opened", "told", "delivered"]);
    assert_eq!(events("LG-TEST2"), ["opened", "told", "not_told"]);
}

#[test]
fn a_call_is_spoken_and_a_form_is_escaped() {
    let office = office();
    let provider = Provider::start(secret().text());
    let mut form = template(&provider);
    form.headers[0].1 = "application/x-www-form-urlencoded".to_owned();
    form.body = "mobile={{phone}}&content={{text}}".to_owned();
    form.escape = Escape::Form;
    let desk = start(&Channel::new("voice", ChannelKind::Voice(Box::new(form))), &office);
    office.open_for(1, "张三", Some(PHONE), &[&desk]);
    wait_for("the call", || provider.sent().len() == 1);
    assert_eq!(
        provider.sent()[0].text,
        "一级险情。灯杆带电。未登记设备P一。外壳电压一一五伏。未确认断电，视为带电。还剩三零分钟。"
    );
}

#[test]
fn a_person_without_a_number_and_a_number_that_nobody_has_fail_at_once_and_for_good() {
    let office = office();
    let (provider, channel) = sms();
    let desk = start(&channel, &office);
    office.open_for(1, "无号", None, &[&desk]);
    wait_for("the first failure", || office.words() == ["failed"]);
    office.open_for(2, "错号", Some("123"), &[&desk]);
    wait_for("both failures", || office.words() == ["failed", "failed"]);
    let failures = office.failures();
    assert!(failures[0].contains("无号") && failures[0].contains("no telephone"), "{failures:?}");
    assert!(failures[1].contains("MOBILE_NUMBER_ILLEGAL") && !failures[1].contains("123"), "{failures:?}");
    assert!(provider.sent().is_empty());
    assert_eq!(office.around.metrics.channel_up.with_label_values(&["sms"]).get(), 0);
    wait_for("the outbox says so", || office.outcomes().iter().all(|(outcome, _)| outcome == "failed"));
}

#[test]
fn situation_s55_fault_n2_every_fault_is_heard_at_once_and_tried_again_or_given_up() {
    let slow = Duration::from_secs(15);
    let said = |status, headers: &str| Answer::Say(status, headers.to_owned(), b"no".to_vec());
    let code = |code: i64| {
        Answer::json(&serde_json::json!({"errcode": code, "errmsg": format!("no token-{CANARY}")}))
    };
    for (name, answer, fault, permanent, within_s) in [
        ("timeout", Answer::Hang(slow), "no whole answer within 10 s", false, 12),
        (
            "slow body",
            Answer::Drip(100, Duration::from_millis(400)),
            "no whole answer within 10 s",
            false,
            12,
        ),
        ("5xx", said(502, ""), "answered 502", false, 2),
        ("429", said(429, "Retry-After: 3\r\n"), "answered 429", false, 2),
        ("rate in a 200", code(410_100), "410100", false, 2),
        ("error in a 200", code(-1), "-1", false, 2),
        ("bad signature", code(310_000), "310000", true, 2),
        ("401", said(401, ""), "answered 401", true, 2),
        ("404", said(404, ""), "answered 404", true, 2),
        ("redirect", said(302, "Location: http://127.0.0.1:1/\r\n"), "redirects are not followed", false, 2),
        ("no JSON", said(200, ""), "no JSON", false, 2),
        ("cut", Answer::Cut, "127.0.0.1", false, 2),
        ("too long", Answer::Say(200, String::new(), vec![b'x'; 70_000]), "longer than 65536", false, 2),
    ] {
        let office = office();
        let (robot, channel) = dingtalk(&office);
        robot.emulator.order([answer]);
        let desk = start(&channel, &office);
        let asked = Instant::now();
        office.open_for(1, "张三", Some(PHONE), &[&desk]);
        while office.words().is_empty() {
            assert!(asked.elapsed() < Duration::from_secs(within_s + 2), "{name}: nothing was heard");
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(within_s), "{name} was heard after {took:?}");
        assert_eq!(office.words(), [if permanent { "failed" } else { "retry" }], "{name}");
        let failure = office.failures()[0].clone();
        assert!(failure.contains(fault), "{name}: {failure}");
        assert!(!failure.contains(CANARY), "{name}: {failure}");
        assert_eq!(office.around.metrics.channel_up.with_label_values(&["ding"]).get(), 0, "{name}");
    }
}

#[test]
fn fault_n4_a_name_that_is_unknown_and_a_server_without_tls_are_heard_at_once() {
    let office = office();
    let url = format!("https://nobody.invalid/robot/send?access_token={CANARY}");
    let unknown = ChannelKind::DingTalk { web: web(&url), markdown: false };
    // It speaks no TLS. (A certificate that nobody signed: `tests/channels.rs`.)
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let mut hello = [0; 64];
            let _ = std::io::Read::read(&mut stream, &mut hello);
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 no TLS here\r\n\r\n");
        }
    });
    let url = format!("https://127.0.0.1:{port}/x?access_token={CANARY}");
    let tls = ChannelKind::DingTalk { web: web(&url), markdown: false };
    for (name, kind) in [("dns", unknown), ("tls", tls)] {
        let before = office.words().len();
        let desk = start(&Channel::new(name, kind), &office);
        office.open_for(before + 1, "张三", Some(PHONE), &[&desk]);
        wait_for("the failure", || office.words().len() > before);
        let failure = office.failures()[before].clone();
        let faults = &office.around.metrics.channel_faults;
        assert!(faults.with_label_values(&[name, name]).get() > 0, "{name}: {failure}");
        assert!(!failure.contains(CANARY), "{failure}");
    }
}

#[test]
fn fault_n8_a_signature_that_a_wrong_clock_spoils_names_the_clock() {
    let office = office();
    let robot = robots::dingtalk("t", secret().text(), Arc::new(|| (T + Millis::hours(2)).0));
    let url = robot.emulator.url("/robot/send?access_token=t");
    let kind = ChannelKind::DingTalk { web: web(&url), markdown: false };
    let desk = start(&Channel::new("ding", kind), &office);
    office.open_for(1, "张三", None, &[&desk]);
    wait_for("the failure", || !office.failures().is_empty());
    assert!(office.failures()[0].contains("is this machine's clock right?"), "{:?}", office.failures());
}

#[test]
fn fault_n1_a_flood_never_gets_the_robot_blocked_and_every_p1_is_named_in_a_message() {
    let office = office();
    // Its clock is real here: the rate is about real minutes.
    let start_at = Instant::now();
    let now: robots::Now = Arc::new(move || T.0 + start_at.elapsed().as_millis() as i64);
    let robot = robots::dingtalk("t", secret().text(), now);
    let url = robot.emulator.url("/robot/send?access_token=t");
    let kind = ChannelKind::DingTalk { web: web(&url), markdown: false };
    let desk = start(&Channel::new("ding", kind), &office);
    for n in 0..100 {
        office.open_for(n, "desk", None, &[&desk]);
    }
    let named = || {
        let messages = robot.messages();
        let all = |n: usize| format!("LG-TEST{n}");
        let told = |id: &String| messages.iter().any(|m| m.text.split_whitespace().any(|word| word == id));
        (0..100).map(all).filter(told).collect::<HashSet<_>>()
    };
    let deadline = Instant::now() + Duration::from_secs(40);
    while named().len() < 100 {
        assert!(Instant::now() < deadline, "{} named in {} messages", named().len(), robot.messages().len());
        std::thread::sleep(Duration::from_millis(20));
    }
    wait_for("every notice is sent", || office.outcomes().iter().all(|(outcome, _)| outcome == "sent"));
    assert_eq!(robot.blocks(), 0);
    assert!(robot.messages().len() <= 18, "{}", robot.messages().len());
}

/// A list of these incidents, by their numbers.
fn list_of(person: Person, number: u32) -> List {
    let (incidents, roads, words, aside) = (Vec::new(), Vec::new(), Default::default(), Vec::new());
    List { person: Arc::new(person), incidents, more: 0, roads, number, words, aside, again: false }
}

fn list(numbers: std::ops::Range<usize>, channel: &str) -> Notice {
    let incidents: Vec<Incident> = numbers.map(incident).collect();
    let person = Person { name: Arc::from("desk"), phone: None, channels: Vec::new() };
    let list = List { incidents: incidents.iter().map(|i| i.id.clone()).collect(), ..list_of(person, 1) };
    let lines: Vec<_> = incidents.iter().map(|i| (i, None)).collect();
    Notice::digest(&list, &lines, T, &site(), Address { channel, to: "desk", phone: None })
}

fn tell(desk: &Desk, notice: Notice) {
    let (notice, handed_at) = (Arc::new(notice), Instant::now());
    desk.tell(Job { notice, attempt: 1, ticket: Ticket::done(), watch: None, handed_at });
}

#[test]
fn a_list_that_shares_a_message_with_many_p1_is_told_by_its_lines_or_goes_in_the_next_one() {
    let office = office();
    let start_at = Instant::now();
    let now: robots::Now = Arc::new(move || T.0 + start_at.elapsed().as_millis() as i64);
    let robot = robots::dingtalk("t", secret().text(), now);
    let url = robot.emulator.url("/robot/send?access_token=t");
    let kind = ChannelKind::DingTalk { web: web(&url), markdown: false };
    let desk = start(&Channel::new("ding", kind), &office);
    // Enough for several messages of twenty.
    for n in 0..60 {
        office.open_for(n, "desk", None, &[&desk]);
    }
    let list = list(80..83, "ding");
    assert_eq!((list.words.rank, list.words.urgent), (1, true), "as grave as its worst line");
    let id = list.id.clone();
    tell(&desk, list);
    let sent =
        || office.heard.lock().unwrap().iter().any(|d| d.notice.id == id && d.outcome.word() == "sent");
    wait_for("the list", sent);
    let messages = robot.messages();
    for n in 80..83 {
        let id = format!("LG-TEST{n}");
        assert!(messages.iter().any(|message| message.text.contains(&id)), "{id} counts as told");
    }
}

#[test]
fn nothing_is_lost_when_a_channel_comes_back_and_a_slow_person_holds_up_no_other() {
    let office = office();
    let (provider, channel) = sms();
    provider.emulator.order([Answer::status(500), Answer::status(503), Answer::Hang(Duration::from_secs(3))]);
    let desk = start(&channel, &office);
    for n in 0..3 {
        office.open_for(n, "张三", Some(&format!("1380000000{n}")), &[&desk]);
    }
    wait_for("three failures or waits", || provider.emulator.seen().len() >= 3);
    let asked = Instant::now();
    office.open_for(9, "李四", Some("13900009999"), &[&desk]);
    wait_for("the other", || provider.sent().iter().any(|sms| sms.phone == "13900009999"));
    assert!(asked.elapsed() < Duration::from_secs(2));
    wait_for("everybody", || {
        let phones: HashSet<String> = provider.sent().into_iter().map(|sms| sms.phone).collect();
        phones.len() == 4
    });
}

#[test]
fn a_mail_has_subject_text_and_addresses_and_its_faults_are_heard() {
    let office = office();
    let server = mail::Smtp::start("lampguard", &format!("pass-{CANARY}"));
    let smtp = |password: &str| {
        ChannelKind::Smtp(Box::new(Smtp {
            host: "127.0.0.1".to_owned(),
            port: server.port,
            tls: Tls::Plain,
            username: "lampguard".to_owned(),
            password: Secret::new(password.as_bytes().to_vec()),
            from: "灯杆 <lampguard@office.example>".to_owned(),
            to: vec!["desk@office.example".to_owned()],
            addresses: [("张三".to_owned(), "zhang@office.example".to_owned())].into(),
            allow_private: false,
            ca: Vec::new(),
        }))
    };
    let good = format!("pass-{CANARY}");
    assert_eq!(smtp(&good).sharing(), Sharing::Name);
    let desk = start(&Channel::new("mail", smtp(&good)), &office);
    office.open_for(1, "张三", None, &[&desk]);
    office.open_for(2, "值班", None, &[&desk]);
    wait_for("two mails", || server.mails().len() == 2);
    let to: HashSet<String> = server.mails().into_iter().flat_map(|mail| mail.to).collect();
    assert_eq!(to, HashSet::from(["zhang@office.example".to_owned(), "desk@office.example".to_owned()]));
    let first = server.mails().into_iter().find(|mail| mail.to[0].starts_with("zhang")).unwrap();
    assert!(first.text().contains("【P1 灯杆带电】未登记设备 P1") && first.text().contains("剩余 30 分钟"));
    assert!(first.data.contains("Message-ID: <N-"), "{}", first.data);
    for (n, (fault, word, permanent)) in
        [(MailFault::NoSuchPerson, "550", true), (MailFault::Later, "451", false)].into_iter().enumerate()
    {
        server.fail(fault);
        let before = office.failures().len();
        office.open_for(10 + n, "张三", None, &[&desk]);
        wait_for("the failure", || office.failures().len() > before);
        let failure = office.failures()[before].clone();
        assert!(failure.contains(word), "{failure}");
        assert_eq!(office.words().contains(&"failed"), permanent || n > 0);
    }
    server.fail(MailFault::None);
    let wrong = start(&Channel::new("mail2", smtp(&format!("wrong-{CANARY}"))), &office);
    let before = office.failures().len();
    office.open_for(20, "张三", None, &[&wrong]);
    wait_for("the refusal", || office.failures().iter().skip(before).any(|text| text.contains("535")));
    assert!(office.failures().iter().all(|text| !text.contains(CANARY)));
}

#[test]
fn an_alert_starts_with_the_incident_and_has_no_empty_label() {
    let office = office();
    let alerts = Alerts::start();
    let kind = ChannelKind::Alertmanager(web(&alerts.emulator.url("")));
    let desk = start(&Channel::new("am", kind), &office);
    office.open_for(1, "desk", None, &[&desk]);
    wait_for("the alert", || alerts.all().len() == 1);
    let alert = &alerts.all()[0];
    assert_eq!(alert["labels"]["alertname"], "lampguard_shell_critical");
    assert_eq!(alert["labels"]["incident"], "LG-TEST1");
    assert_eq!((&alert["labels"]["severity"], &alert["labels"]["zone"]), (&"P1".into(), &"z1".into()));
    assert_eq!(alert["startsAt"], "2026-11-23T12:00:00.001Z");
    assert_eq!(alert["endsAt"], (T + Millis::hours(1)).to_rfc3339());
    let conn = office.around.reads.lock().unwrap();
    let open = Reads::new(&conn).open_bodies("am", 10).unwrap();
    assert_eq!(open.len(), 1, "what is said again each minute");
    assert_eq!(open[0]["incident"]["id"], "LG-TEST1");
}

#[test]
fn no_secret_is_printed_with_a_channel() {
    let office = office();
    for (_, channel) in [dingtalk(&office), wecom(&office), feishu(&office)] {
        let text = format!("{channel:?}");
        assert!(!text.contains(CANARY), "{text}");
    }
    let text = format!("{:?}", sms().1);
    assert!(!text.contains(CANARY), "{text}");
}

#[test]
fn when_a_robot_says_too_many_everybody_who_waits_is_heard_and_nothing_goes_for_ten_minutes() {
    let office = office();
    let (robot, channel) = dingtalk(&office);
    robot.emulator.order([Answer::json(&serde_json::json!({"errcode": 410_100, "errmsg": "too fast"}))]);
    let desk = start(&channel, &office);
    office.open_for(1, "张三", Some(PHONE), &[&desk]);
    wait_for("the first failure", || office.words() == ["retry"]);
    office.open_for(2, "李四", Some(PHONE), &[&desk]);
    wait_for("the one that came later", || office.words() == ["retry", "retry"]);
    assert!(office.failures()[1].contains("the channel rests"), "{:?}", office.failures());
    let heard = office.heard.lock().unwrap();
    let next: Vec<i64> = heard
        .iter()
        .map(|delivery| match &delivery.outcome {
            crate::store::Outcome::Retry(at, _) => at.since(T).as_seconds(),
            _ => 0,
        })
        .collect();
    assert!(next.iter().all(|seconds| (590..=600).contains(seconds)), "{next:?}");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(robot.emulator.seen().len(), 1);
}

#[test]
fn open_incidents_are_said_again_to_alertmanager_in_parts() {
    let alerts = Alerts::start();
    let channel = Channel::new("am", ChannelKind::Alertmanager(web(&alerts.emulator.url("/api/v2/alerts"))));
    let body = |n: usize| crate::testkit::notice(&incident(n), "am").body.clone();
    let errand = Errand::Renew((0..1200).map(body).collect());
    let done = Sender::new(&channel).run(&errand, None, T);
    assert!(matches!(done, Renewal::Renewed(Ok(()))), "{done:?}");
    assert_eq!((alerts.all().len(), alerts.emulator.seen().len()), (1200, 3));
}

#[test]
fn a_template_that_names_one_incident_shares_no_message() {
    let (provider, _) = sms();
    let with = |url: &str, body: &str| {
        let template = Template { web: web(url), body: body.to_owned(), ..template(&provider) };
        ChannelKind::Sms(Box::new(template)).sharing()
    };
    let parts = r#"{"mobile":"{{phone}}","what":"{{title}}","where":"{{place}}"}"#;
    assert_eq!(with("https://sms.example/send", parts), Sharing::Nobody);
    assert_eq!(with("https://sms.example/send?text={{ text }}", parts), Sharing::Person);
    assert_eq!(sms().1.kind.sharing(), Sharing::Person);
}

/// A list of 20 incidents, the most dangerous in the middle, and five more.
fn long_list(number: u32, channel: &str) -> Job {
    let incidents: Vec<Incident> = (1..=20)
        .map(|n| {
            let mut one = incident(n);
            one.evidence.thousandths = Some(if n == 7 { 220_000 } else { 30_000 });
            one
        })
        .collect();
    let lines: Vec<_> = incidents.iter().map(|incident| (incident, None)).collect();
    let person = Person { name: Arc::from("desk"), phone: None, channels: Vec::new() };
    let list = List {
        incidents: incidents.iter().map(|incident| incident.id.clone()).collect(),
        more: 5,
        roads: vec![(Arc::from("人民路"), 5)],
        ..list_of(person, number)
    };
    let to = Address { channel, to: "desk", phone: Some(PHONE) };
    let notice = Arc::new(Notice::digest(&list, &lines, T, &site(), to));
    Job { notice, attempt: 1, ticket: Ticket::done(), watch: None, handed_at: Instant::now() }
}

#[test]
fn a_list_is_short_where_there_is_no_room_and_carries_the_link_to_the_board() {
    let jobs = [long_list(1, "c")];
    let letter = Letter { jobs: &jobs, phone: None };
    let (sms, _) = letter.sms(T);
    assert_eq!(
        sms,
        "【险情 25 起】一级险情至少 20 起，最危险 灯杆带电 未登记设备 P7 外壳电压 220 V，未确认断电，视为带电 http://desk.example/"
    );
    assert!(sms.encode_utf16().count() <= 134);
    assert_eq!(
        letter.spoken(T).0,
        "险情二五起。一级险情至少二零起。最危险灯杆带电未登记设备P七外壳电压二二零伏。未确认断电，视为带电。"
    );
    let (chat, _) = letter.chat(2048, T);
    assert!(chat.contains("LG-TEST20") && chat.ends_with("\nhttp://desk.example/"), "{chat}");
    // Beside others in one message it stays a list.
    let jobs = [long_list(1, "c"), Job { attempt: 2, ..long_list(2, "c") }];
    let (shared, named) = Letter { jobs: &jobs, phone: None }.chat(8000, T);
    assert!(shared.matches("LG-TEST20").count() == 2 && named == 2, "{shared}");
    assert!(shared.contains("险情 25 起 #2"), "a repeat is marked: {shared}");
}

#[test]
fn each_list_is_an_alert_of_its_own() {
    let alerts = Alerts::start();
    let sender = Sender::new(&Channel::new("am", ChannelKind::Alertmanager(web(&alerts.emulator.url("")))));
    for n in [1, 2, 2] {
        let done = sender.run(&Errand::Tell(vec![long_list(n, "am")]), None, T);
        assert!(matches!(done, Renewal::Told(Ok(_))), "{done:?}");
    }
    assert_eq!(alerts.all().len(), 2, "one that is told again is the same");
}

#[test]
fn a_question_that_hangs_is_a_question_that_failed() {
    let question = Question { notices: Vec::new(), message: "m".to_owned(), asked: 1 };
    let hangs = || SendError::new(Fault::Timeout, "no whole answer".to_owned());
    let failed = Errand::Ask(question).failed(hangs());
    assert!(matches!(failed, Renewal::Asked(Err::<Fate, _>(_))), "{failed:?}");
    assert!(matches!(Errand::Renew(Vec::new()).failed(hangs()), Renewal::Renewed(Err(_))));
    assert!(matches!(Errand::Tell(Vec::new()).failed(hangs()), Renewal::Told(Err(_))));
}
