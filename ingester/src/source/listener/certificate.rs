//! Who a client certificate says its owner is.
//!
//! The common name if there is one, else the only DNS name, else the last part of the only URI (`urn:lamps:P001`,
//! `spiffe://lamps/P001`). The chain, its dates and its purpose are rustls's to check; here only the name is read.

use std::path::Path;

use lampguard_model::Timestamp;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use webpki::EndEntityCert;

/// Attribute `commonName`, as DER has it.
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];

/// The name that stands for a user name: 1 to 64 of `A-Z a-z 0-9 . _ -`, so that it fits into a topic and into a line
/// of the credentials file.
pub fn identity(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let name = match common_name(parsed.subject()) {
        Some(name) => name,
        None => match only(parsed.valid_dns_names()) {
            Some(name) => name,
            None => only(parsed.valid_uri_names())?.rsplit([':', '/']).next()?,
        },
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (!name.is_empty() && name.len() <= 64 && name.bytes().all(allowed)).then(|| name.to_owned())
}

fn only<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = names.next()?;
    names.next().is_none().then_some(first)
}

/// The common name in the contents of a `Name`: sets of pairs of an attribute and its value. The last one is the most
/// specific.
pub fn common_name(mut names: &[u8]) -> Option<&str> {
    let mut found = None;
    while let Some((0x31, set, rest)) = element(names) {
        let mut pairs = set;
        while let Some((0x30, pair, others)) = element(pairs) {
            if let Some(value) = pair.strip_prefix(&COMMON_NAME)
                && let Some((0x0c | 0x13 | 0x16, text, _)) = element(value)
            {
                found = std::str::from_utf8(text).ok();
            }
            pairs = others;
        }
        names = rest;
    }
    found
}

/// When the first certificate of a PEM file ends that ends of all in it: a chain breaks there, and who stands behind an
/// authority of a bundle stays outside from then on. `None` where there is none, or one that cannot be read.
pub fn ends_at(file: &Path) -> Option<Timestamp> {
    let all = CertificateDer::pem_file_iter(file).ok()?;
    end_of_all(&all.collect::<Result<Vec<_>, _>>().ok()?)
}

/// When the first of these certificates ends; `None` where there is none, or one that cannot be read.
pub fn end_of_all(all: &[CertificateDer<'_>]) -> Option<Timestamp> {
    // None is less than any time.
    all.iter().map(|certificate| end_of(certificate)).min()?
}

/// `Certificate { tbs { [0] version, serial, algorithm, issuer, validity { from, to } … } … }`, and a time as
/// `YYMMDDHHMMSSZ` up to 2049, else `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5).
fn end_of(certificate: &[u8]) -> Option<Timestamp> {
    let (_, whole, _) = element(certificate)?;
    let (_, mut rest, _) = element(whole)?;
    if let (0xa0, _, behind) = element(rest)? {
        rest = behind;
    }
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, to) = element(validity)?;
    let (tag, text, _) = element(to)?;
    let text = std::str::from_utf8(text).ok()?;
    let text = match (tag, text.get(..2)?.parse::<u8>().ok()?) {
        (0x17, ..50) => format!("20{text}"),
        (0x17, _) => format!("19{text}"),
        _ => text.to_owned(),
    };
    let at = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    let at: jiff::Timestamp = format!("{at}Z").parse().ok()?;
    Some(Timestamp(at.as_millisecond()))
}

/// One DER element: its tag, its contents, and what follows.
pub fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
        _ => return None,
    };
    rest.split_at_checked(length).map(|(contents, after)| (tag, contents, after))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn named(common: Option<&str>, others: &[SanType]) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Lighting Office");
        if let Some(name) = common {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = others.to_vec();
        let key = KeyPair::generate().unwrap();
        identity(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn a_certificate_names_its_owner_by_common_name_dns_name_or_uri() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let uri = |name: &str| SanType::URI(name.try_into().unwrap());
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(named(Some("P001"), &[dns("other")]), is("P001"));
        assert_eq!(named(None, &[dns("P002.lamps.example")]), is("P002.lamps.example"));
        assert_eq!(named(None, &[uri("urn:lamps:P003")]), is("P003"));
        assert_eq!(named(None, &[uri("spiffe://lamps/posts/P004")]), is("P004"));
        assert_eq!(named(None, &[dns("P001"), dns("P002")]), None, "two names are none");
        assert_eq!(named(None, &[]), None);
        for odd in ["lamp/#", "+", "P 001", "a:b", "P001\u{0}", ""] {
            assert_eq!(named(Some(odd), &[]), None, "{odd:?}");
        }
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_of_its_spellings() {
        for (year, ms) in [(2027, 1_798_761_600_000), (2060, 2_840_140_800_000)] {
            let mut params = CertificateParams::default();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(end_of(certificate.der()), Some(Timestamp(ms)), "{year}");
            let der = certificate.der();
            for cut in 0..der.len() {
                let _ = end_of(&der[..cut]);
            }
        }
    }

    #[test]
    fn a_name_cut_anywhere_is_no_name_and_no_panic() {
        let whole = [&[0x31, 0x0d, 0x30, 0x0b][..], &COMMON_NAME, &[0x0c, 0x04], b"P001"].concat();
        assert_eq!(common_name(&whole), Some("P001"));
        for length in 0..whole.len() {
            assert_eq!(common_name(&whole[..length]), None, "{length}");
        }
    }
}
