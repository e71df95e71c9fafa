//! Where a request comes from, and whether it was meant.

use super::*;

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect::<Vec<(header::HeaderName, _)>>()
        .into_iter()
        .collect()
}

fn web(public_url: Option<&str>, proxies: &[&str]) -> Web {
    let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
    Web { public_url: public_url.map(str::to_owned), proxies, ..Web::default() }
}

#[test]
fn a_form_of_another_site_is_refused_whatever_the_browser_tells() {
    let own = web(Some("https://lamps.example/"), &[]);
    let is_own = |lines: &[(&'static str, &'static str)]| is_own_page(&headers(lines), &own);
    assert!(is_own(&[]), "an old browser or a script: the token decides");
    assert!(is_own(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
    assert!(is_own(&[("origin", "http://10.0.0.1:8080"), ("host", "10.0.0.1:8080")]));
    assert!(is_own(&[("origin", "https://lamps.example"), ("host", "backend:8080")]));
    assert!(is_own(&[("origin", "null"), ("host", "10.0.0.1:8080")]), "our own referrer policy");
    for site in ["cross-site", "same-site"] {
        assert!(!is_own(&[("sec-fetch-site", site)]), "{site}");
    }
    assert!(!is_own(&[("origin", "https://evil.example"), ("host", "10.0.0.1:8080")]));
    assert!(!is_own(&[("origin", "https://lamps.example.evil.example"), ("host", "lamps.example")]));
}

#[test]
fn the_token_comes_by_header_or_by_a_field_of_the_form() {
    let form = ("content-type", "application/x-www-form-urlencoded");
    let carries =
        |lines: &[(&'static str, &'static str)], body: &str| carries(&headers(lines), body.as_bytes(), "abc");
    assert!(carries(&[form], "note=%E5%88%B0&csrf=abc"));
    assert!(carries(&[("x-csrf-token", "abc")], "{}"));
    assert!(!carries(&[form], "note=x") && !carries(&[form], "csrf=abd") && !carries(&[form], "csrf="));
    assert!(!carries(&[], "csrf=abc"), "no form");
    assert!(!super::carries(&headers(&[form]), b"csrf=", ""), "no session, no token");
}

#[test]
fn only_a_proxy_that_is_ours_is_believed_about_the_address() {
    let peer = |address: &str| Peer { address: address.parse().unwrap(), tls: false };
    let said = headers(&[("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.0.0.2")]);
    let of = |from: &str, web: &Web| address_of(Some(&peer(from)), &said, web).to_string();
    assert_eq!(of("198.51.100.1", &web(None, &[])), "198.51.100.1");
    assert_eq!(of("10.0.0.1", &web(None, &["10.0.0.1"])), "10.0.0.2");
    assert_eq!(
        of("10.0.0.1", &web(None, &["10.0.0.1", "10.0.0.2"])),
        "203.0.113.9",
        "not what a client claims"
    );
    for unreadable in
        ["203.0.113.9, unknown", "203.0.113.9,", "203.0.113.9, 10.0.0.2:4711", "203.0.113.9, [::1"]
    {
        let said = headers(&[("x-forwarded-for", unreadable)]);
        let address = address_of(Some(&peer("10.0.0.1")), &said, &web(None, &["10.0.0.1"])).to_string();
        assert_eq!(address, "10.0.0.1", "{unreadable}");
    }
    let none = HeaderMap::new();
    assert_eq!(address_of(Some(&peer("10.0.0.1")), &none, &web(None, &["10.0.0.1"])).to_string(), "10.0.0.1");
}

#[test]
fn cookies_are_found_by_their_whole_name() {
    let sent = headers(&[("cookie", "xlampguard_session=1; lampguard_session=2;lampguard_lang=en")]);
    assert_eq!(cookie(&sent, "lampguard_session").as_deref(), Some("2"));
    assert_eq!(cookie(&sent, "lampguard_kiosk"), None);
}

#[test]
fn a_way_back_survives_its_query() {
    assert_eq!(encoded("/posts/P1?a=b&c=灯"), "/posts/P1%3Fa%3Db%26c%3D%E7%81%AF");
}
