//! Who watches the watcher: proofs by the real port, and the heartbeat to somebody outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::http::Hook;
use common::process::texts;
use common::servers::Mosquitto;
use common::{Lampguard, Site, WebhookStub, seconds, wait_until};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const FAST: &str = "[proof]\nevery_s = 2\nwithin_s = 1\n";

/// Faults of the system are told after two seconds.
const IMPATIENT: &str = "[policy]\nfile = \"policy.toml\"\n";
const POLICY: &str = "[system]\nfailing_for = \"2 s\"\ngood_for = \"2 s\"\n";

fn zone(lampguard: &Lampguard, id: &str) -> Value {
    let answer = lampguard.json("/api/v1/zones");
    answer["items"].as_array().unwrap().iter().find(|zone| zone["zone"] == id).unwrap().clone()
}

fn proof_of(lampguard: &Lampguard, id: &str) -> Value {
    zone(lampguard, id)["proof"].clone()
}

fn system_incident(lampguard: &Lampguard, part: &str) -> Option<Value> {
    let open = lampguard.items("/api/v1/incidents?kind=system");
    open.into_iter().find(|incident| incident["place"] == part)
}

fn sha256(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_proof_of_each_zone_comes_out_in_time_and_is_in_no_count_no_list_and_no_history() {
    let stub = WebhookStub::start();
    let site = Site::new()
        .with(
            FAST.replace("[proof]\n", "[proof]\nusername = \"proof\"\npassword_file = \"proof.password\"\n")
                .as_str(),
        )
        .with(&stub.channel("secret.txt"))
        .with_listener("credentials_file = \"sensors.txt\"");
    site.write("secret.txt", "a secret of this test\n");
    site.write("proof.password", "token-of-proofs\n");
    site.write("sensors.txt", &format!("proof:{}:lamp/+/+/reading\n", sha256("token-of-proofs")));
    let lampguard = site.start();
    wait_until("proofs of both zones", seconds(15), || {
        ["z1", "z2"].iter().all(|id| proof_of(&lampguard, id)["good"] == true)
    });
    let proof = proof_of(&lampguard, "z1");
    assert!(proof["took_ms"].as_u64().unwrap() < 1000 && proof["by"] == "listener", "{proof}");
    assert!(lampguard.metric("lampguard_proof_rounds_total{outcome=\"told\",zone=\"z2\"}") >= 1.0);
    assert!(lampguard.metric("lampguard_proof_seconds_count") >= 2.0);
    let books = lampguard.accounting();
    assert_eq!(
        (&books["received"], &books["stored"], &books["balanced"]),
        (&json!(0), &json!(0), &json!(true))
    );
    for list in ["/api/v1/incidents?state=all", "/api/v1/notices", "/api/v1/devices", "/api/v1/posts?q=PROOF"]
    {
        assert_eq!(lampguard.items(list), [] as [Value; 0], "{list}");
    }
    assert_eq!(lampguard.get("/api/v1/posts/PROOF-z1").status, 404);
    assert_eq!(lampguard.get("/api/v1/posts/PROOF-z1/history").status, 404);
    let glance = zone(&lampguard, "z1");
    assert_eq!(
        (&glance["posts"], &glance["reporting"], &glance["simulated"]),
        (&json!(20), &json!(0), &json!(false))
    );
    assert!(stub.hooks().is_empty(), "no channel of people hears of a proof");
    let shift = lampguard.json("/api/v1/reports/shift");
    assert_eq!((&shift["opened"]["count"], &shift["notices"]["sent"]), (&json!(0), &json!(0)));
    lampguard.stop();
    let journal = texts(&site.run(&["journal", "inspect", site.data().join("journal").to_str().unwrap()])).0;
    assert!(journal.contains("proofs"), "it went through the journal: {journal}");
    let record = texts(&site.run(&["audit", "verify"])).0;
    assert!(!record.contains("told") && !record.contains("opened"), "{record}");
}

#[test]
fn a_real_leak_under_the_name_of_a_proof_post_is_told_like_any_and_one_on_a_real_post_too() {
    let site = Site::new().with(FAST);
    let lampguard = site.start();
    wait_until("a proof", seconds(15), || proof_of(&lampguard, "z1")["good"] == true);
    for (post, seq) in [("PROOF-z1", 1), ("PROOF-z1", 2), ("P001", 1), ("P001", 2)] {
        let body = json!({"device": post, "seq": seq, "boot": 1, "leakage_ma": 80, "flags": ["simulated"]});
        assert_eq!(lampguard.post("/api/v1/readings", &body.to_string()).status, 200);
    }
    wait_until("both incidents", seconds(10), || {
        let open = lampguard.items("/api/v1/incidents");
        ["PROOF-z1", "P001"].iter().all(|post| open.iter().any(|incident| incident["post_id"] == *post))
    });
    assert_eq!(lampguard.accounting()["stored"], 4);
}

#[test]
fn a_proof_that_does_not_get_in_is_a_fault_of_the_system_that_names_the_step_and_ends_when_it_does() {
    let site = Site::new()
        .with(IMPATIENT)
        .with(
            FAST.replace(
                "[proof]\n",
                "[proof]\nzones = [\"z1\"]\nusername = \"proof\"\npassword_file = \"proof.password\"\n",
            )
            .as_str(),
        )
        .with_listener("credentials_file = \"sensors.txt\"");
    site.write("policy.toml", POLICY);
    site.write("proof.password", "token-of-proofs\n");
    let line = |token: &str| format!("proof:{}:lamp/+/+/reading\n", sha256(token));
    site.write("sensors.txt", &line("another token"));
    let lampguard = site.start();
    wait_until("the fault", seconds(30), || system_incident(&lampguard, "proof:z1").is_some());
    let fault = system_incident(&lampguard, "proof:z1").unwrap();
    let note = fault["notes"][0].as_str().unwrap();
    assert!(note.contains("proof of zone z1 by listener failed at step connect"), "{note}");
    assert_eq!(fault["severity"], "P1");
    assert_eq!(lampguard.metric("lampguard_proof_up{zone=\"z1\"}"), 0.0);
    let last = proof_of(&lampguard, "z1");
    assert_eq!(
        (&last["good"], &last["step"], &last["took_ms"]),
        (&json!(false), &json!("connect"), &Value::Null)
    );
    // The file is read again when it changes; its time has whole seconds on some disks.
    std::thread::sleep(seconds(1));
    site.write("sensors.txt", &line("token-of-proofs"));
    wait_until("the end of the fault", seconds(40), || {
        system_incident(&lampguard, "proof:z1").is_some_and(|fault| fault["signal"] == "normal")
    });
    assert_eq!(proof_of(&lampguard, "z1")["good"], true);
}

#[test]
fn fault_b7_a_broker_that_acknowledges_and_delivers_nothing_is_found_by_a_proof() {
    let Some(broker) = Mosquitto::start_with_rules("topic read #\n") else {
        return eprintln!("left out: mosquitto is not installed");
    };
    let site = Site::new()
        .with(IMPATIENT)
        .with_broker(broker.port, "")
        .with(&FAST.replace("[proof]\n", "[proof]\nvia = [\"broker:main\"]\n"));
    site.write("policy.toml", POLICY);
    let lampguard = site.start();
    lampguard.wait_for_broker();
    // Every zone alike: one fault, not one for each.
    wait_until("the fault", seconds(40), || system_incident(&lampguard, "proof:all").is_some());
    let fault = system_incident(&lampguard, "proof:all").unwrap();
    let note = fault["notes"][0].as_str().unwrap();
    assert!(note.contains("failed at step arrive"), "{note}");
    assert!(system_incident(&lampguard, "proof:z1").is_none(), "told once");
}

fn beats(stub: &WebhookStub) -> Vec<Hook> {
    stub.hooks()
}

#[test]
fn the_heartbeat_says_what_works_and_stops_when_the_store_takes_nothing() {
    let stub = WebhookStub::start();
    let site = Site::new().with(IMPATIENT).with(&format!(
        "[heartbeat]\nurl = \"http://127.0.0.1:{}/ping/secret-place\"\nevery_s = 1\n",
        stub.port
    ));
    site.write("policy.toml", POLICY);
    let lampguard = site.start();
    wait_until("a beat", seconds(20), || !beats(&stub).is_empty());
    let body = beats(&stub)[0].json();
    let works = json!({"receiving": true, "journal": true, "judging": true, "store": true, "telling": true});
    assert_eq!((&body["works"], &body["site"]), (&works, &json!("test")), "{body}");
    assert!(body["proof_ms"].is_u64(), "{body}");
    assert_eq!(lampguard.accounting()["received"], 0, "the proof inside is no reading");

    let other = rusqlite::Connection::open(site.data().join("incidents.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let withheld = || lampguard.metric("lampguard_heartbeat_total{outcome=\"withheld\"}");
    wait_until("a withheld beat", seconds(30), || withheld() >= 1.0);
    let before = beats(&stub).len();
    std::thread::sleep(seconds(3));
    assert_eq!(beats(&stub).len(), before, "not a mere timer");
    wait_until("the fault", seconds(20), || system_incident(&lampguard, "heartbeat").is_some());
    let fault = system_incident(&lampguard, "heartbeat").unwrap();
    let note = fault["notes"][0].as_str().unwrap();
    assert!(note.contains("withheld") && note.contains("store:"), "{note}");
    assert!(!fault.to_string().contains("secret-place"), "the address is a secret");
    other.execute_batch("ROLLBACK").unwrap();
    wait_until("beats again", seconds(30), || beats(&stub).len() > before);
    assert!(!lampguard.process.stderr().contains("secret-place"), "the address is in no log");
}

#[test]
fn a_heartbeat_that_nobody_takes_or_that_leads_into_the_own_network_is_a_fault_of_the_system() {
    let port = common::free_port();
    for (url, says) in [
        (format!("http://127.0.0.1:{port}/secret-place"), "sending the heartbeat: "),
        (format!("http://localhost:{port}/secret-place"), "allow_private"),
    ] {
        let site = Site::new()
            .with(IMPATIENT)
            .with("[heartbeat]\nurl_file = \"beat.url\"\nmethod = \"get\"\nevery_s = 1\n");
        site.write("policy.toml", POLICY);
        site.write("beat.url", &url);
        let lampguard = site.start();
        wait_until("the fault", seconds(30), || system_incident(&lampguard, "heartbeat").is_some());
        let fault = system_incident(&lampguard, "heartbeat").unwrap().to_string();
        assert!(fault.contains(says) && !fault.contains("secret-place"), "{fault}");
        assert_eq!(lampguard.metric("lampguard_heartbeat_up"), 0.0);
    }
}

#[test]
fn a_blind_zone_tells_since_when_and_why() {
    let site = Site::new();
    let lampguard = site.start();
    let before = zone(&lampguard, "z1");
    assert_eq!(before["blind_since"], Value::Null);
    assert!(before["blind_because"].as_str().unwrap().contains("no data was ever received"), "{before}");
    let body = json!({"post_id": "P001", "leakage_ma": 0.5});
    assert_eq!(lampguard.post("/api/v1/readings", &body.to_string()).status, 200);
    wait_until("it is heard", seconds(10), || zone(&lampguard, "z1")["blind_because"].is_null());
    assert!(zone(&lampguard, "z2")["blind_because"].is_string());
}

#[test]
fn what_cannot_be_watched_is_said_before_the_start() {
    let site = Site::new()
        .with("[proof]\nzones = [\"z9\"]\nvia = [\"broker:none\"]\nwithin_s = 400\nusername = \"x\"\n")
        .with("[heartbeat]\nurl = \"ftp://x\"\nurl_file = \"nothing\"\n")
        .with("[[channel]]\nid = \"proof\"\nkind = \"console\"\n");
    site.configure();
    let output = site.run(&["config", "check", "lampguard.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let text = format!("{}{}", texts(&output).0, texts(&output).1);
    for key in
        ["proof.zones", "proof.via", "proof.within_s", "proof.username", "heartbeat.url", "channel[0].id"]
    {
        assert!(text.contains(key), "{key} in {text}");
    }
}

#[test]
fn a_proof_goes_through_the_tls_of_the_listener() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let site = Site::new().with(FAST).with_listener("tls_cert = \"server.pem\"\ntls_key = \"server.key\"");
    site.write("server.pem", &made.cert.pem());
    site.write("server.key", &made.signing_key.serialize_pem());
    let lampguard = site.start();
    wait_until("a proof over TLS", seconds(15), || proof_of(&lampguard, "z1")["good"] == true);
    // The certificate is renewed while it runs: proofs go on, by the new one.
    let second = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    site.write("server.key", &second.signing_key.serialize_pem());
    site.write("server.pem", &second.cert.pem());
    wait_until("the new certificate", seconds(30), || {
        lampguard.process.stderr().contains("certificate and authority read again")
    });
    let told = || lampguard.metric("lampguard_proof_rounds_total{outcome=\"told\",zone=\"z1\"}");
    let before = told();
    wait_until("proofs by the new certificate", seconds(40), || told() >= before + 2.0);
}
