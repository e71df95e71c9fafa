//! `certs`: an authority of our own, a certificate for the server, one for each named client.
//!
//! What is there stays: without `--renew` nothing is written over, and the authority never is. What the listener takes for
//! a client's name is what the client's certificate carries as its common name.

mod read;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::UsageError;
use crate::cli::Certs;
use crate::data_dir::Staged;
use crate::{clock, config, data_dir, tools};
use read::Shown;

/// The authority is good for ten years: all sensors would have to be visited to replace it.
const AUTHORITY_DAYS: i64 = 3650;
/// Sensors whose clock is a little behind believe it too.
const BEFORE_DAYS: i64 = 1;
/// An authority that ends sooner signs nothing more.
const REST_DAYS_MIN: i64 = 30;
/// What the server is called in any case.
const OURSELVES: [&str; 2] = ["localhost", "127.0.0.1"];

/// One certificate and its key.
struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn of(dir: &Path, name: &str) -> Self {
        Self { cert: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")) }
    }

    fn is_there(&self) -> bool {
        self.cert.exists() || self.key.exists()
    }

    /// Both are durable beside the old ones before either takes its place: a full disk leaves the old pair.
    fn write(&self, cert: &str, key: &str) -> Result<()> {
        let (new_key, new_cert) =
            (Staged::write(&self.key, key, 0o600)?, Staged::write(&self.cert, cert, 0o644)?);
        new_key.replace()?;
        new_cert.replace()?;
        let folder = self.cert.parent().unwrap_or(Path::new("."));
        fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("writing {}", self.cert.display()))
    }

    fn shown(&self) -> Result<Shown> {
        let text =
            fs::read_to_string(&self.cert).with_context(|| format!("reading {}", self.cert.display()))?;
        Shown::of_pem(&text)
            .with_context(|| format!("{} is no certificate that can be read", self.cert.display()))
    }
}

/// Who signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    until: Date,
    name: String,
    made: bool,
}

/// Makes what is missing, and prints what goes where.
pub(crate) fn certs(file: Option<&Path>, asked: &Certs) -> Result<()> {
    let mut names: Vec<String> = asked.servers.clone();
    names.extend(public_host(file));
    names.extend(OURSELVES.map(str::to_owned));
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let names = names.iter().map(|name| server_name(name)).collect::<Result<Vec<_>>>()?;
    asked.clients.iter().try_for_each(|name| check_client(name))?;

    let today =
        Timestamp::from_millisecond(clock::now().0)?.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
    let dir = &asked.dir;
    data_dir::make(dir)?;
    let dir = dir.canonicalize().with_context(|| format!("looking for {}", dir.display()))?;
    let authority = authority(&dir, &asked.name, today)?;
    let mut text = format!(
        "{} authority {}  valid until {}  {}\n",
        if authority.made { "made" } else { "kept" },
        dir.join("ca.pem").display(),
        authority.until,
        authority.name
    );
    // With --renew and clients those alone are meant.
    let renew_server = asked.renew && (asked.clients.is_empty() || !asked.servers.is_empty());
    text += &server(&dir, &authority, names, asked, renew_server, today)?;
    for name in &asked.clients {
        text += &client(&dir, &authority, name, asked, today)?;
    }
    text += &others(&dir, &asked.clients, today)?;
    text += &where_it_goes(&dir, &asked.clients);
    tools::print(&text)
}

/// The host of `[web] public_url`, if a configuration can be found; it need not be good yet, it may name what is made here.
fn public_host(file: Option<&Path>) -> Option<String> {
    let text = fs::read_to_string(config::find(file).ok()?).ok()?;
    let table: toml::Table = text.parse().ok()?;
    let url = table.get("web")?.get("public_url")?.as_str()?;
    let host = url.split_once("://")?.1.split(['/', '?']).next()?;
    let host = match host.strip_prefix('[') {
        Some(six) => six.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

fn server_name(name: &str) -> Result<SanType> {
    match ServerName::try_from(name.to_owned()) {
        Ok(ServerName::DnsName(_)) => Ok(SanType::DnsName(name.try_into().context("a DNS name is ASCII")?)),
        Ok(ServerName::IpAddress(_)) => Ok(SanType::IpAddress(name.parse::<IpAddr>()?)),
        _ => bail!(UsageError(format!(
            "--server {name:?}: neither a host name nor an address; write lamps.example or 192.0.2.7, without a port"
        ))),
    }
}

/// What the listener takes for a name, and what is a file beside the others.
fn check_client(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = (1..=64).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with(['.', '-']);
    if !good {
        bail!(UsageError(format!(
            "--client {name:?}: a name is 1 to 64 of A-Z a-z 0-9 . _ - and begins with neither . nor -; it stands in topics"
        )));
    }
    if matches!(name, "ca" | "server") {
        bail!(UsageError(format!("--client {name}: {name}.pem is another file here; choose another name")));
    }
    Ok(())
}

/// The authority of this folder, made when there is none.
fn authority(dir: &Path, name: &str, today: Date) -> Result<Authority> {
    let pair = Pair::of(dir, "ca");
    if pair.is_there() {
        let shown = pair.shown()?;
        let key = fs::read_to_string(&pair.key).with_context(|| {
            format!(
                "reading {}: without the authority's key nothing more can be signed; bring it here for that",
                pair.key.display()
            )
        })?;
        let key = KeyPair::from_pem(&key).with_context(|| format!("reading {}", pair.key.display()))?;
        let name = shown
            .common_name
            .with_context(|| format!("{} has no common name: not made here", pair.cert.display()))?;
        if shown.until < today.checked_add(REST_DAYS_MIN.days())? {
            bail!(
                "the authority {} ends on {}: make a new one in another folder, and let both be believed until every \
                 sensor has a certificate of the new one (several stand in one file, one after the other)",
                pair.cert.display(),
                shown.until
            );
        }
        let issuer = Issuer::new(authority_params(&name, today, shown.until)?, key);
        return Ok(Authority { issuer, until: shown.until, name, made: false });
    }
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        bail!(UsageError(format!("--name {name:?}: a name of 1 to 64 bytes that can be read")));
    }
    let until = today.checked_add(AUTHORITY_DAYS.days())?;
    let (params, key) = (authority_params(name, today, until)?, KeyPair::generate().context("making a key")?);
    let cert = params.self_signed(&key).context("making the authority")?;
    pair.write(&cert.pem(), &key.serialize_pem())?;
    Ok(Authority { issuer: Issuer::new(params, key), until, name: name.to_owned(), made: true })
}

fn authority_params(name: &str, today: Date, until: Date) -> Result<CertificateParams> {
    let mut params = dated(name, today, until)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn dated(name: &str, today: Date, until: Date) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |date: Date| {
        let (month, day) = (u8::try_from(date.month())?, u8::try_from(date.day())?);
        anyhow::Ok(rcgen::date_time_ymd(i32::from(date.year()), month, day))
    };
    params.not_before = day(today.checked_sub(BEFORE_DAYS.days())?)?;
    params.not_after = day(until)?;
    Ok(params)
}

/// Signs a new key; what is signed ends with the authority at the latest.
fn sign(
    pair: &Pair,
    authority: &Authority,
    name: &str,
    purpose: ExtendedKeyUsagePurpose,
    names: Vec<SanType>,
    days: u32,
    today: Date,
) -> Result<Date> {
    let until = today.checked_add(i64::from(days).days())?.min(authority.until);
    let mut params = dated(name, today, until)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = names;
    let key = KeyPair::generate().context("making a key")?;
    let cert = params.signed_by(&key, &authority.issuer).with_context(|| format!("signing {name}"))?;
    pair.write(&cert.pem(), &key.serialize_pem())?;
    Ok(until)
}

fn server(
    dir: &Path,
    authority: &Authority,
    mut names: Vec<SanType>,
    asked: &Certs,
    renew: bool,
    today: Date,
) -> Result<String> {
    let pair = Pair::of(dir, "server");
    let mut word = "made";
    if pair.is_there() {
        let shown = pair.shown()?;
        let missing: Vec<String> =
            names.iter().filter(|name| !shown.names.contains(name)).map(words).collect();
        if !renew {
            if missing.is_empty() || asked.servers.is_empty() {
                return Ok(line("kept", "server", &pair, shown.until, today, &list(&shown.names)));
            }
            bail!(
                "{} is there and is not for {}; --renew with the same --server makes it anew, for these and its old names",
                pair.cert.display(),
                missing.join(", ")
            );
        }
        // A name that sensors use must not get lost because somebody did not say it again.
        names.extend(shown.names.into_iter().filter(|old| !missing.contains(&words(old))));
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(words(name)));
        word = "renewed";
    }
    let said = list(&names);
    let first = names.first().map(words).unwrap_or_default();
    // A common name has 64 bytes; nobody looks at it in a server's certificate.
    let first = if first.len() <= 64 { first } else { OURSELVES[0].to_owned() };
    let until =
        sign(&pair, authority, &first, ExtendedKeyUsagePurpose::ServerAuth, names, asked.days, today)?;
    Ok(line(word, "server", &pair, until, today, &said))
}

fn client(dir: &Path, authority: &Authority, name: &str, asked: &Certs, today: Date) -> Result<String> {
    let pair = Pair::of(dir, name);
    let mut word = "made";
    if pair.is_there() {
        if !asked.renew {
            return Ok(line("kept", "client", &pair, pair.shown()?.until, today, name));
        }
        word = "renewed";
    }
    let until =
        sign(&pair, authority, name, ExtendedKeyUsagePurpose::ClientAuth, Vec::new(), asked.days, today)?;
    Ok(line(word, "client", &pair, until, today, name))
}

/// The other certificates of the folder, that none ends unseen.
fn others(dir: &Path, asked: &[String], today: Date) -> Result<String> {
    let doing = || format!("listing {}", dir.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(doing)? {
        let name = entry.with_context(doing)?.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".pem")).map(str::to_owned);
        names.extend(name.filter(|name| !["ca", "server"].contains(&name.as_str()) && !asked.contains(name)));
    }
    names.sort();
    let lines = names.iter().map(|name| {
        let pair = Pair::of(dir, name);
        match pair.shown() {
            Ok(shown) => {
                line("there", "client", &pair, shown.until, today, shown.common_name.as_deref().unwrap_or(""))
            }
            Err(e) => format!("there {e:#}\n"),
        }
    });
    Ok(lines.collect())
}

fn line(word: &str, what: &str, pair: &Pair, until: Date, today: Date, names: &str) -> String {
    let over = if until < today { "  EXPIRED: --renew makes it anew" } else { "" };
    format!("{word} {what} {}  valid until {until}{over}  {names}\n", pair.cert.display())
}

fn words(name: &SanType) -> String {
    match name {
        SanType::DnsName(name) => name.to_string(),
        SanType::IpAddress(address) => address.to_string(),
        _ => String::new(),
    }
}

fn list(names: &[SanType]) -> String {
    names.iter().map(words).collect::<Vec<_>>().join(", ")
}

fn where_it_goes(dir: &Path, clients: &[String]) -> String {
    let at = |name: &str| dir.join(name).display().to_string();
    let (ca, cert, key) = (at("ca.pem"), at("server.pem"), at("server.key"));
    // lampguard's own key belongs on no sensor.
    let one = clients.iter().find(|name| *name != "lampguard").map_or("NAME", String::as_str);
    format!(
        "
ca.key signs whatever is asked: keep it away from this machine, and bring it back to renew. New keys are readable by their
owner alone: who runs the server has to be able to read server.key (chgrp and chmod 640, or a copy). Renewed ones keep
owner, group and mode; lampguard reads them by itself. A copy, as Mosquitto has one, is made again and its service reloaded.

lampguard.toml, sensors that come straight to lampguard:
  [listener]
  bind = \"0.0.0.0:8884\"
  tls_cert = \"{cert}\"
  tls_key = \"{key}\"
  client_ca = \"{ca}\"
  # A certificate opens the post of its name. A gateway gets more by a line in credentials_file:
  #   {one}:certificate:lamp/z1/+/#          and a name that was lost is kept out by   NAME:revoked

mosquitto.conf (8883 is its own: only one of the two can have a port):
  listener 8883
  cafile {ca}
  certfile {cert}
  keyfile {key}
  require_certificate true
  use_identity_as_username true

lampguard.toml, to read from it with the certificate of --client lampguard:
  [[broker]]
  url = \"mqtts://localhost:8883\"
  ca_file = \"{ca}\"
  cert_file = \"{lampguard}.pem\"
  key_file = \"{lampguard}.key\"

On a sensor or gateway: ca.pem, {one}.pem and {one}.key, and nothing else of this folder.
",
        lampguard = at("lampguard"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_listener_would_not_take_are_refused() {
        for good in ["P001", "gateway-1", "Z1-000001", "a.b_c"] {
            assert!(check_client(good).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in ["", "+", "lamp/#", "a b", "..", "-x", "ca", "server", "灯", &long] {
            assert!(check_client(bad).is_err(), "{bad}");
        }
        for good in ["lamps.example", "192.0.2.7", "::1", "localhost"] {
            assert!(server_name(good).is_ok(), "{good}");
        }
        for bad in ["", "lamps.example:8883", "https://x", "a b", "*.x", "灯.example"] {
            assert!(server_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_key_of_lampguard_itself_is_sent_to_no_sensor() {
        let said = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            where_it_goes(Path::new("/etc/lampguard/certs"), &names)
        };
        let text = said(&["lampguard", "Z1-000001"]);
        assert!(text.contains("On a sensor or gateway: ca.pem, Z1-000001.pem and Z1-000001.key"), "{text}");
        assert!(said(&["lampguard"]).contains("ca.pem, NAME.pem and NAME.key"));
        assert!(!text.contains("lampguard:certificate"), "{text}");
    }

    #[test]
    fn the_host_of_the_public_address_is_found_in_a_file_that_is_not_good_yet() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("lampguard.toml");
        for (url, host) in [
            ("https://lamps.example", "lamps.example"),
            ("https://lamps.example:8443/x", "lamps.example"),
            ("https://[2001:db8::1]:8443", "2001:db8::1"),
        ] {
            fs::write(&file, format!("[web]\npublic_url = \"{url}\"\ntls_cert = \"none.pem\"\n")).unwrap();
            assert_eq!(public_host(Some(&file)).as_deref(), Some(host), "{url}");
        }
        fs::write(&file, "nothing").unwrap();
        assert_eq!(public_host(Some(&file)), None);
    }
}
