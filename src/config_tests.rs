//! The sample loads and names every key; every fault is told at once.

use super::*;

/// A folder with the sample, with optional edits, and the files that it names.
fn folder(text: &str) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let register =
        format!("{}\nP1,,z1,r,1,,F1,C1,113,35,1,100,false,,\n", lampguard_model::register::header());
    std::fs::write(home.path().join("posts.csv"), register).unwrap();
    let file = home.path().join("lampguard.toml");
    std::fs::write(&file, text).unwrap();
    (home, file)
}

#[test]
fn the_printed_sample_loads_as_it_is() {
    let (home, file) = folder(SAMPLE);
    let config = load(&file).unwrap();
    assert_eq!(config.site.data_dir, home.path().join("data"));
    assert_eq!(config.brokers.len(), 1);
    assert_eq!(config.journal.replay_window_s, 120);
}

#[test]
fn values_of_the_sample_are_the_defaults() {
    let (_home, file) = folder(SAMPLE);
    let sample = load(&file).unwrap();
    let (journal, listener) = (JournalConfig::default(), sample.listener.unwrap());
    assert_eq!(
        (sample.journal.max_bytes, sample.journal.min_free_bytes, sample.journal.replay_window_s),
        (journal.max_bytes, journal.min_free_bytes, journal.replay_window_s)
    );
    let default = ListenerConfig::on(listener.bind);
    assert_eq!(
        (listener.max_packet_bytes, listener.max_connections, listener.per_address),
        (default.max_packet_bytes, default.max_connections, default.per_address)
    );
    assert_eq!(sample.quarantine.max_bytes, QuarantineConfig::default().max_bytes);
    assert_eq!(sample.history.keep_days, History::default().keep_days);
    assert_eq!((sample.web.bind, &sample.site.language), (Web::default().bind, &Site::default().language));
    let bare: TsdbConfig = toml::from_str("id = \"main\"\nurl = \"http://127.0.0.1:8428\"").unwrap();
    let tsdb = &sample.tsdbs[0];
    assert_eq!(
        (tsdb.batch_lines, tsdb.batch_ms, tsdb.timeout_s, tsdb.retention_days, tsdb.max_lag_bytes),
        (bare.batch_lines, bare.batch_ms, bare.timeout_s, bare.retention_days, bare.max_lag_bytes)
    );
}

#[test]
fn keys_that_the_sample_comments_out_are_known_too() {
    let uncommented: String = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.split(' ').nth(1) == Some("=") => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    // Files of TLS belong to a url with TLS, and are read.
    let secure = uncommented.replace("\"mqtt://", "\"mqtts://");
    // A group that is judged here is a fault beside other nodes.
    let (alone, _) = secure.split_once("# Several instances").unwrap();
    let ungrouped: Vec<&str> = secure.lines().filter(|line| !line.starts_with("shared_group")).collect();
    every_key_is_known(alone);
    every_key_is_known(&ungrouped.join("\n"));
}

/// The text loads without a fault beside the files that it names.
fn every_key_is_known(text: &str) {
    let (home, file) = folder(text);
    let made = rcgen::generate_simple_self_signed(vec!["broker".to_owned()]).unwrap();
    for name in ["broker-ca.pem", "lampguard.pem"] {
        std::fs::write(home.path().join(name), made.cert.pem()).unwrap();
    }
    std::fs::write(home.path().join("lampguard.key"), made.signing_key.serialize_pem()).unwrap();
    let secrets =
        ["broker.password", "tsdb.token", "webhook.secret", "dingtalk.secret", "sms.secret", "mail.secret"];
    let files =
        ["server.pem", "server.key", "sensors-ca.pem", "sensors.txt", "office-ca.pem", "web.pem", "web.key"];
    let watching = ["proof.password", "heartbeat.url", "east.token", "west.token", "nodes-ca.pem"];
    for name in files.into_iter().chain(secrets).chain(watching) {
        std::fs::write(home.path().join(name), "x").unwrap();
    }
    std::fs::write(home.path().join("dingtalk.url"), "https://oapi.example/robot/send?access_token=x\n")
        .unwrap();
    std::fs::write(home.path().join("safety.toml"), "[zh]\nrules = [\"先验电\"]\n").unwrap();
    std::fs::write(home.path().join("policy.toml"), lampguard_alerting::policy::sample()).unwrap();
    let faults = load(&file).map(|_| Vec::new()).unwrap_or_else(|bad| bad.faults);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn ladders_of_the_configuration_are_taken_and_their_faults_have_line_and_key() {
    let good = "\n[[escalation]]\nseverity = \"P1\"\nsteps = [{ after_min = 0, to = \"crew\" }, \
        { after_min = 0, to = \"desk\" }, { after_min = 9, until = \"arrived\", to = \"head\" }]\n\
        i_accept = \"few people\"\n";
    let (_home, file) = folder(&format!("{SAMPLE}{good}"));
    let taken = load(&file).unwrap().ladders;
    assert_ne!(taken, Ladders::default());
    let said = policy::describe_ladders(&taken);
    assert!(
        said.contains("P1") && said.contains("supervisor") && said.contains("accepted: few people"),
        "{said}"
    );
    let (_home, file) = folder(&format!("{SAMPLE}{}", good.replace("i_accept", "# i_accept")));
    let text = load(&file).unwrap_err().to_string();
    assert!(text.contains("escalation[0].steps: is weaker") && text.contains("i_accept"), "{text}");
    let bad = format!(
        "{SAMPLE}{}",
        good.replace("to = \"desk\"", "to = \"leader\"").replace("P1", "P1\"\nzones = [\"z99\"]#")
    );
    let (_home, file) = folder(&bad);
    let text = load(&file).unwrap_err().to_string();
    for part in ["escalation[0].zones: there is no [[zone]] with id \"z99\"", "the desk is not told at once"]
    {
        assert!(text.contains(part), "{part} is not told:\n{text}");
    }
    assert!(text.lines().all(|line| !line.contains("escalation") || line.contains("line ")), "{text}");
}

#[test]
fn fault_c1_every_fault_is_told_at_once_with_its_line() {
    let (_home, file) = folder(
        r#"[site]
time_zone = "Mars/Base"
colour = "red"
size = 3
safety_text_file = "safety.toml"

[posts]
file = "missing.csv"

[journal]
max_bytes = 0

[history]
keep_days = 0

[listener]
bind = "127.0.0.1:1883"
max_packet_bytes = 4194305

[[broker]]
id = "a b"
url = "tcp://x"
[[broker.mapping]]
filter = "a/#/b"
profile = "nobody"

[[tsdb]]
id = "main"
url = "not a url"

[[zone]]
id = "z1"
name = "one"
crew = "c9"
[[zone]]
id = "z1"
name = "two"
crew = "c9"

[[channel]]
id = "x"
kind = "pigeon"

[escalation]
x = 1
[unknown]
y = 2
[truth]
z = 3
"#,
    );
    let bad = load(&file).unwrap_err();
    let text = bad.to_string();
    for part in [
        "site.size",
        "safety.toml: not readable",
        "posts.file",
        "missing.csv",
        "journal.max_bytes",
        "history.keep_days",
        "listener.max_packet_bytes",
        "broker[0].id",
        "broker[0].url",
        "\"a/#/b\"",
        "\"nobody\"",
        "tsdb[0]",
        "zone[0].crew",
        "z1 is there twice",
        "pigeon",
        "escalation",
        "not built in this version",
        "nobody knows this section",
    ] {
        assert!(text.contains(part), "{part} is not told:\n{text}");
    }
    assert!(text.contains("line 3: site.colour"), "{text}");
    assert!(text.contains("line 22: broker[0].url"), "{text}");
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let (_home, file) = folder("[site]\nname = \"x\"\nname = \"y\"\n");
    let bad = load(&file).unwrap_err();
    assert_eq!(bad.faults.len(), 1);
    assert!(bad.faults[0].line.is_some_and(|line| line >= 2), "{bad}");
}

#[test]
fn a_wrong_type_names_its_key() {
    let (_home, file) = folder("[journal]\nmax_bytes = \"lots\"\n");
    let text = load(&file).unwrap_err().to_string();
    assert!(text.contains("journal.max_bytes") && text.contains("lots"), "{text}");
}

#[test]
fn a_policy_file_is_read_relative_to_the_configuration_and_its_faults_are_told_with_the_others() {
    let with_policy = SAMPLE.replace("# file = \"policy.toml\" ", "file = \"policy.toml\" ");
    let (home, file) = folder(&with_policy);
    let policy = home.path().join("policy.toml");
    std::fs::write(&policy, "[shell_critical]\nwet = \"10 V\"\n").unwrap();
    let config = load(&file).unwrap();
    let wet = config.policies.versions()[0].policy.shell_critical.wet;
    assert_eq!(wet.to_string(), "10 V");
    std::fs::write(&policy, "[shell_critical]\nwet = \"0 V\"\n[leek]\n").unwrap();
    let bad = load(&file).unwrap_err();
    let told: Vec<String> = bad.faults.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|fault| fault.contains("policy.toml: line 2: shell_critical.wet")), "{told:#?}");
    assert!(told.iter().any(|fault| fault.contains("policy.toml: line 3: leek")), "{told:#?}");
    assert!(told.iter().all(|fault| fault.starts_with("line ")), "the line of [policy] file: {told:#?}");
}

/// What is told about one `[[channel]]`.
fn faults_of(channel: &str) -> String {
    let bare = SAMPLE.replace("[[channel]]\nid = \"console\"\nkind = \"console\"\n", "");
    let (home, file) = folder(&format!("{bare}\n[[channel]]\nid = \"c\"\n{channel}\n"));
    for (name, text) in [
        ("secret", "SEC1\n"),
        ("empty", "\n"),
        ("curly", "the gateway’s token canary\n"),
        ("url", "https://x.example/?key=canary-77\n"),
    ] {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    let told = load(&file).map(|_| String::new()).unwrap_or_else(|bad| bad.to_string());
    assert!(!told.contains("canary"), "{told}");
    told
}

#[test]
fn every_fault_of_a_channel_is_told_and_no_token_with_it() {
    let sms = "kind = \"sms_http\"\nurl = \"https://sms.example/send\"\n";
    let body = "body = '{\"m\":\"{{phone}}\",\"t\":\"{{text}}\"}'\n";
    for (channel, part) in [
        ("kind = \"pigeon\"", "is no kind of channel"),
        ("kind = \"dingtalk\"", "channel[0].url: is missing: url, or url_file"),
        ("kind = \"dingtalk\"\nurl = \"ftp://h.example/canary-1\"", "ftp://h.example/*** does not begin"),
        ("kind = \"dingtalk\"\nurl = \"http://h.example/canary-1\"", "goes unencrypted"),
        ("kind = \"dingtalk\"\nurl_file = \"url\"\nurl = \"https://h.example/\"", "stands beside url"),
        ("kind = \"dingtalk\"\nurl_file = \"url\"\nrate_per_min = 21", "21 is over 20"),
        ("kind = \"dingtalk\"\nurl_file = \"url\"\nrate_per_min = 0", "nothing would ever be told"),
        ("kind = \"dingtalk\"\nurl_file = \"url\"\nmsgtype = \"card\"", "not text or markdown"),
        ("kind = \"dingtalk\"\nurl_file = \"url\"\nphone = \"call me\"", "no telephone number"),
        ("kind = \"dingtalk\"\nurl_file = \"url\"\nsecret_file = \"empty\"", "its first line is empty"),
        ("kind = \"dingtalk\"\nurl_file = \"gone\"", "gone is not readable"),
        ("kind = \"wecom\"\nurl_file = \"url\"\nsecret_file = \"secret\"", "is no key of kind wecom"),
        ("kind = \"console\"\nurl = \"https://h.example/canary-1\"", "is no key of kind console"),
        (&format!("{sms}body = \"{{{{fone}}}}\""), "nobody knows {{fone}}"),
        (&format!("{sms}body = \"{{{{text}}}}\""), "{{phone}} stands neither in url nor in body"),
        (&format!("{sms}{body}success_path = \"/code\""), "is there alone"),
        (&format!("{sms}{body}success_path = \"code\"\nsuccess_value = \"0\""), "is a JSON pointer"),
        (&format!("{sms}{body}method = \"DELETE\""), "not POST, GET or PUT"),
        (
            &format!(
                "{sms}{body}message_id_path = \"/id\"\ndelivered_path = \"/s\"\ndelivered_value = \"1\"\n\
                 status_url = \"https://other.example/{{{{message_id}}}}?k=canary-2\""
            ),
            "is not on the host of url",
        ),
        (&format!("{sms}{body}headers = {{ X = \"片区\" }}"), "X: a header carries plain ASCII alone"),
        (&format!("{sms}{body}headers = {{ \"X Token\" = \"a\" }}"), "\"X Token\" is no name of a header"),
        (&format!("{sms}{body}headers = {{ X = \"{{{{title}}}}\" }}"), "X: {{title}} may be Chinese"),
        (
            &format!("{sms}{body}secret_file = \"curly\"\nheaders = {{ A = \"Bearer {{{{secret}}}}\" }}"),
            "curly holds something that no header can carry",
        ),
        (
            "kind = \"alertmanager\"\nurl_file = \"url\"\nsecret_file = \"curly\"",
            "curly holds something that no header can carry",
        ),
        ("kind = \"sms_http\"\nurl = \"https://{{phone}}/\"", "placeholders stand behind the host"),
        (
            "kind = \"smtp\"\nurl = \"smtp://mail.example\"\nfrom = \"a@b\"\nto = [\"c@d\"]",
            "this machine only",
        ),
        (
            "kind = \"smtp\"\nurl = \"smtps://mail.example\"\nfrom = \"a@b\"\nto = [\"nobody\"]",
            "no mail address",
        ),
        ("kind = \"smtp\"\nurl = \"smtps://mail.example\"\nfrom = \"a@b\"", "nobody is there"),
        (
            "kind = \"smtp\"\nurl = \"smtps://mail.example\"\nfrom = \"a@b\"\nto = [\"c@d\"]\nusername = \"u\"",
            "go together",
        ),
    ] {
        let told = faults_of(channel);
        assert!(told.contains(part), "{part} is not told of\n{channel}\n{told}");
    }
    for good in [
        "kind = \"dingtalk\"\nurl_file = \"url\"\nsecret_file = \"secret\"\nrate_per_min = 20",
        "kind = \"feishu\"\nurl = \"http://127.0.0.1:9/hook\"",
        "kind = \"wecom\"\nurl = \"http://gateway.office/hook\"\nallow_private = true",
        &format!("{sms}{body}"),
        &format!("{sms}{body}secret_file = \"secret\"\nheaders = {{ A = \"Bearer {{{{secret}}}}\" }}"),
        // In the body everything can stand.
        &format!("{sms}body = '{{{{phone}}}}{{{{text}}}}{{{{secret}}}}'\nsecret_file = \"curly\""),
        "kind = \"smtp\"\nurl = \"smtp://127.0.0.1:2525\"\nfrom = \"灯 <a@b>\"\nto = [\"c@d\"]",
    ] {
        assert_eq!(faults_of(good), "", "{good}");
    }
}

#[test]
fn the_web_is_open_to_others_with_tls_or_with_a_reason_only() {
    let faults = |web: &str| {
        let home = tempfile::tempdir().unwrap();
        for name in ["posts.csv", "web.pem", "web.key"] {
            std::fs::write(home.path().join(name), "x").unwrap();
        }
        let text = format!(
            "[posts]\nfile = \"posts.csv\"\n[[zone]]\nid = \"z\"\nname = \"z\"\ncrew = \"c\"\n\
             [[crew]]\nid = \"c\"\nname = \"c\"\n[web]\n{web}\n"
        );
        let file = home.path().join("lampguard.toml");
        std::fs::write(&file, text).unwrap();
        let bad = load(&file).err();
        bad.map_or_else(Vec::new, |bad| bad.faults.iter().map(|fault| fault.key.clone()).collect::<Vec<_>>())
    };
    let open = "bind = \"0.0.0.0:8443\"";
    let tls = "tls_cert = \"web.pem\"\ntls_key = \"web.key\"";
    assert_eq!(faults(open), ["web.bind"]);
    assert!(faults(&format!("{open}\n{tls}")).is_empty());
    assert!(faults(&format!("{open}\ni_accept = \"a network of our own\"")).is_empty());
    assert_eq!(faults(&format!("{open}\ni_accept = \" \"")), ["web.i_accept"]);
    assert_eq!(faults("i_accept = \"why\""), ["web.i_accept"], "loopback needs none");
    assert_eq!(faults("tls_cert = \"web.pem\""), ["web.tls_cert"]);
    assert_eq!(faults("tls_cert = \"web.pem\"\ntls_key = \"none.key\""), ["web.tls_key"]);
    assert!(
        faults("public_url = \"https://lamps.example:8443/\"\nproxies = [\"127.0.0.1\", \"::1\"]").is_empty()
    );
    for url in
        ["lamps.example", "https://", "https://lamps.example/lamps", "https://u@lamps.example", "ftp://x"]
    {
        assert_eq!(faults(&format!("public_url = \"{url}\"")), ["web.public_url"], "{url}");
    }
    assert_eq!(faults(&format!("public_url = \"http://x\"\n{tls}")), ["web.public_url"]);
    assert_eq!(faults("proxies = [\"localhost\"]").len(), 1);
}

#[test]
fn a_listener_that_certificates_or_browsers_come_to_is_checked_whole() {
    let faults_of = |listener: &str, more: &str| {
        let text = SAMPLE.replace("\nbind = \"127.0.0.1:1883\" ", &format!("\n{listener}\n# "));
        assert_ne!(text, SAMPLE);
        let (home, file) = folder(&(text.replace("\ncertificate_required = true", "\n#") + more));
        for name in ["c.pem", "k.pem", "ca.pem", "who.txt"] {
            std::fs::write(home.path().join(name), "").unwrap();
        }
        load(&file).map(drop).map_err(|bad| bad.to_string())
    };
    let tls = "tls_cert = \"c.pem\"\ntls_key = \"k.pem\"";
    let certificates = format!("{tls}\nclient_ca = \"ca.pem\"");
    for fine in [
        "bind = \"127.0.0.1:1\"\nwebsocket_bind = \"127.0.0.1:2\"".to_owned(),
        format!("bind = \"0.0.0.0:1\"\nwebsocket_bind = \"0.0.0.0:2\"\n{certificates}"),
        format!(
            "bind = \"0.0.0.0:1\"\n{certificates}\ncredentials_file = \"who.txt\"\ncertificate_required = false"
        ),
    ] {
        assert_eq!(faults_of(&fine, ""), Ok(()), "{fine}");
    }
    for (wrong, key) in [
        ("bind = \"0.0.0.0:1\"".to_owned(), "listener.bind"),
        ("bind = \"127.0.0.1:1\"\nwebsocket_bind = \"0.0.0.0:2\"".to_owned(), "listener.websocket_bind"),
        ("bind = \"127.0.0.1:1\"\nwebsocket_bind = \"127.0.0.1:1\"".to_owned(), "listener.websocket_bind"),
        ("bind = \"127.0.0.1:1\"\nclient_ca = \"ca.pem\"".to_owned(), "listener.client_ca"),
        (
            format!("bind = \"127.0.0.1:1\"\n{certificates}\ncertificate_required = false"),
            "certificate_required",
        ),
        (format!("bind = \"127.0.0.1:1\"\n{tls}\ncertificate_required = false"), "certificate_required"),
    ] {
        let told = faults_of(&wrong, "").unwrap_err();
        assert!(told.contains(key), "{wrong}\n{told}");
    }
    let told = faults_of(&format!("bind = \"127.0.0.1:1\"\n{certificates}"), "\n[proof]\n").unwrap_err();
    assert!(told.contains("proof.via"), "{told}");
}

#[test]
fn the_offices_safety_words_are_read_at_the_start_and_each_of_their_faults_is_told() {
    let sample = SAMPLE.replace("# safety_text_file", "safety_text_file");
    let (home, file) = folder(&sample);
    let words = home.path().join("safety.toml");
    std::fs::write(&words, "[zh]\nlive = \"未确认断电，视为带电，先验电\"\n").unwrap();
    let config = load(&file).unwrap();
    assert_eq!(
        config.safety.of(lampguard_alerting::life::TREAT_AS_LIVE, true),
        Some("未确认断电，视为带电，先验电")
    );
    std::fs::write(&words, "[zh]\nlive = \"小心\"\n[en]\ndead = \"fine\"\n").unwrap();
    let text = load(&file).unwrap_err().to_string();
    for part in
        ["site.safety_text_file", "line ", "zh.live \"小心\" does not say \"视为带电\"", "en.dead \"fine\""]
    {
        assert!(text.contains(part), "{part} is not told:\n{text}");
    }
    std::fs::write(&words, vec![b'#'; 9000]).unwrap();
    assert!(load(&file).unwrap_err().to_string().contains("8192 at most"));
}

#[test]
fn a_zone_of_the_configuration_is_known_to_the_register_also_before_it_has_a_post() {
    let text = format!("{SAMPLE}\n[[zone]]\nid = \"z-new\"\nname = \"new\"\ncrew = \"c1\"\n");
    let (_home, file) = folder(&text);
    let config = load(&file).unwrap();
    let register = crate::serve::load_register(&config).unwrap();
    assert!(register.knows_zone("z-new") && !register.has_zone("z-new") && !register.knows_zone("z9"));
}
