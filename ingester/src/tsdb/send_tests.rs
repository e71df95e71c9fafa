use super::super::stub::config;
use super::*;

#[test]
fn a_bad_address_is_a_fault_of_the_configuration_and_never_a_panic() {
    for url in [
        "",
        "nonsense",
        "/3242/23",
        "http://",
        "http://:8086",
        "http://host:99999",
        "http://[::1",
        "ftp://host",
        "mqtt://host:1883",
        "file:///tmp/x",
        "http://host/?db=x",
        "http://host/#x",
        "http:// host",
    ] {
        let faults = Sink::check(&config(url)).expect_err(url);
        assert_eq!(faults.len(), 1, "{url}: {faults:?}");
        assert!(faults[0].starts_with("tsdb \"main\": url: "), "{url}: {faults:?}");
    }
    for url in [
        "http://127.0.0.1:8428",
        "http://db",
        "https://db:8086/",
        "http://[::1]:8086",
        "http://db/insert/0/influx",
        "https://proxy/a/b/",
    ] {
        Sink::check(&config(url)).unwrap_or_else(|faults| panic!("{url}: {faults:?}"));
    }
}

#[test]
fn every_fault_is_told_at_once_and_no_login_is_repeated() {
    let mut bad = config("http://me:hunter2@db");
    bad.batch_lines = 0;
    bad.timeout_s = 0;
    bad.id = "../x".to_owned();
    bad.auth = Some(Auth::Bearer);
    let faults = Sink::check(&bad).unwrap_err();
    assert_eq!(faults.len(), 5, "{faults:?}");
    assert!(!faults.join(" ").contains("hunter2"));
}

#[test]
fn answers_fall_into_their_classes() {
    let after = Some(Duration::from_secs(3));
    assert_eq!(classify(204, "", None), Answer::Accepted);
    assert_eq!(classify(200, "", None), Answer::Accepted);
    assert!(matches!(classify(400, "x", None), Answer::Refused(_)));
    assert!(matches!(classify(422, "x", None), Answer::Refused(_)));
    assert!(matches!(classify(413, "x", None), Answer::TooLarge(_)));
    for status in [301, 401, 403, 404, 405] {
        assert!(matches!(classify(status, "x", None), Answer::Denied(_)));
    }
    assert!(matches!(classify(429, "x", after), Answer::Busy(Some(_), _)));
    assert!(matches!(classify(503, "x", after), Answer::Busy(Some(_), _)));
    assert!(matches!(classify(503, "x", None), Answer::Failed(_)));
    assert!(matches!(classify(500, "x", None), Answer::Failed(_)));
    let Answer::Failed(text) = classify(500, &"é".repeat(9000), None) else { panic!("500 is a failure") };
    assert!(text.len() <= TEXT_MAX);
}

#[test]
fn base64_is_the_standard_one() {
    for (plain, coded) in
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("user:pass\u{f6}", "dXNlcjpwYXNzw7Y=")]
    {
        assert_eq!(base64(plain.as_bytes()), coded);
    }
}

#[test]
fn a_token_file_with_more_than_one_line_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("token");
    let mut config = config("http://db");
    config.token_file = Some(file.clone());
    assert!(Sink::check(&config).unwrap_err()[0].contains("token_file"));
    for bad in ["", "\n", "a\nb", "caf\u{e9}"] {
        std::fs::write(&file, bad).unwrap();
        assert!(Sink::check(&config).is_err(), "{bad:?}");
    }
    std::fs::write(&file, "abc\n").unwrap();
    Sink::check(&config).unwrap();
    config.auth = Some(Auth::Basic);
    assert!(Sink::check(&config).unwrap_err()[0].contains("user:password"));
    assert_eq!(format!("{:?}", read_token(&config)).matches("abc").count(), 0);
}
