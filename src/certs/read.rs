//! What a certificate of ours says: its name, its end, the hosts that it is for. Whether it is right is rustls's to check.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::Date;
use lampguard_ingester::source::listener::certificate::{common_name, element};
use rcgen::SanType;

/// `subjectAltName` as DER has it: 2.5.29.17.
const ALT_NAMES: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x11];

/// What is shown of a certificate.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) common_name: Option<String>,
    /// Good before this day, UTC.
    pub(super) until: Date,
    pub(super) names: Vec<SanType>,
}

impl Shown {
    /// The first certificate of a PEM text.
    pub(super) fn of_pem(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
        let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
        let body: String = body.split_whitespace().collect();
        Self::of_der(&STANDARD.decode(body).ok()?)
    }

    /// version, serial, algorithm, issuer, validity, subject, key, extensions: RFC 5280, 4.1.
    fn of_der(der: &[u8]) -> Option<Self> {
        let (0x30, certificate, _) = element(der)? else { return None };
        let (0x30, fields, _) = element(certificate)? else { return None };
        let mut fields = elements(fields);
        let validity = fields.by_ref().skip_while(|(tag, _)| *tag == 0xa0).nth(3)?.1;
        let subject = fields.next()?.1;
        let until = elements(validity).nth(1)?;
        let extensions = fields.find(|(tag, _)| *tag == 0xa3).and_then(|(_, all)| Some(element(all)?.1));
        Some(Self {
            common_name: common_name(subject).map(str::to_owned),
            until: date(until.0, until.1)?,
            names: extensions.map(alt_names).unwrap_or_default(),
        })
    }
}

fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, contents, rest) = element(bytes)?;
        bytes = rest;
        Some((tag, contents))
    })
}

/// UTCTime with two digits of the year, which end in 2049, or GeneralizedTime with four.
fn date(tag: u8, text: &[u8]) -> Option<Date> {
    let text = std::str::from_utf8(text).ok()?;
    let (year, rest) = match tag {
        0x17 => {
            let year: i16 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..6)?)
        }
        0x18 => (text.get(..4)?.parse().ok()?, text.get(4..8)?),
        _ => return None,
    };
    Date::new(year, rest.get(..2)?.parse().ok()?, rest.get(2..)?.parse().ok()?).ok()
}

fn alt_names(extensions: &[u8]) -> Vec<SanType> {
    let found = elements(extensions).find_map(|(_, extension)| extension.strip_prefix(&ALT_NAMES));
    let value = found.and_then(|rest| elements(rest).find(|(tag, _)| *tag == 0x04));
    let Some((_, names, _)) = value.and_then(|(_, octets)| element(octets)) else { return Vec::new() };
    elements(names).filter_map(|(tag, value)| alt_name(tag, value)).collect()
}

fn alt_name(tag: u8, value: &[u8]) -> Option<SanType> {
    match (tag, value.len()) {
        (0x82, _) => Some(SanType::DnsName(std::str::from_utf8(value).ok()?.try_into().ok()?)),
        (0x87, 4) => Some(SanType::IpAddress(IpAddr::from(<[u8; 4]>::try_from(value).ok()?))),
        (0x87, 16) => Some(SanType::IpAddress(IpAddr::from(<[u8; 16]>::try_from(value).ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    #[test]
    fn name_end_and_hosts_of_a_certificate_are_read_back() {
        for (year, names) in [(2028, vec!["lamps.example", "192.0.2.7", "2001:db8::1"]), (2055, vec![])] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            let mut params = CertificateParams::new(names.clone()).unwrap();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, "局 lamps");
            params.not_after = rcgen::date_time_ymd(year, 3, 31);
            let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
            let shown = Shown::of_pem(&format!("a line before\n{pem}")).unwrap();
            assert_eq!(shown.common_name.as_deref(), Some("局 lamps"));
            assert_eq!(shown.until.to_string(), format!("{year}-03-31"));
            assert_eq!(shown.names, params.subject_alt_names);
        }
    }

    #[test]
    fn a_certificate_cut_anywhere_is_none_and_no_panic() {
        let der = CertificateParams::new(vec!["a".to_owned()]).unwrap();
        let der = der.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        assert!(Shown::of_der(&der).is_some());
        for length in 0..der.len() {
            assert!(Shown::of_der(&der[..length]).is_none(), "{length}");
        }
        assert!(Shown::of_pem("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----").is_none());
    }
}
