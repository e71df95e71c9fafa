//! One `[[channel]]`: its keys, what is wrong with them, and the channel that they make.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use lampguard_alerting::ChannelKind;
use lampguard_alerting::notify::{
    Escape, Expect, HiddenUrl, Secret, Smtp, Template, Tls, Web, is_mail_address, unknown_placeholders,
};
use serde::Deserialize;

use super::check::Faults;

/// Most messages a minute that anybody can mean.
const RATE_MAX: u32 = 6000;
/// Above this DingTalk and WeCom block the robot.
const ROBOT_RATE_MAX: u32 = 20;
/// Every kind, with the keys that it takes besides `id`, `kind` and `rate_per_min`; those with `!` have to be there.
const KINDS: [(&str, &str); 9] = [
    ("console", ""),
    ("webhook", "url! secret_file! allow_private ca_file"),
    ("dingtalk", "url! secret_file allow_private ca_file phone msgtype"),
    ("wecom", "url! allow_private ca_file phone"),
    ("feishu", "url! secret_file allow_private ca_file phone"),
    ("smtp", "url! secret_file username from! to addresses allow_private ca_file"),
    ("sms_http", TEMPLATE),
    ("voice_http", TEMPLATE),
    ("alertmanager", "url! secret_file allow_private ca_file"),
];
const TEMPLATE: &str = "url! secret_file allow_private ca_file phone method headers body success_path success_value \
     permanent_values message_id_path status_url delivered_path delivered_value undelivered_value";

/// One `[[channel]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Channel {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) url: Option<HiddenUrl>,
    pub(crate) url_file: Option<PathBuf>,
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) rate_per_min: Option<u32>,
    #[serde(default)]
    pub(crate) allow_private: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) phone: Option<String>,
    pub(crate) msgtype: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<Vec<String>>,
    pub(crate) addresses: Option<BTreeMap<String, String>>,
    pub(crate) method: Option<String>,
    pub(crate) headers: Option<BTreeMap<String, String>>,
    pub(crate) body: Option<String>,
    pub(crate) success_path: Option<String>,
    pub(crate) success_value: Option<String>,
    pub(crate) permanent_values: Option<Vec<String>>,
    pub(crate) message_id_path: Option<String>,
    pub(crate) status_url: Option<HiddenUrl>,
    pub(crate) delivered_path: Option<String>,
    pub(crate) delivered_value: Option<String>,
    pub(crate) undelivered_value: Option<String>,
}

impl Channel {
    /// Paths, for making them absolute.
    pub(super) fn files(&mut self) -> [&mut Option<PathBuf>; 3] {
        [&mut self.url_file, &mut self.secret_file, &mut self.ca_file]
    }

    /// Files that nobody else may read.
    pub(crate) fn secret_files(&self) -> impl Iterator<Item = &Path> {
        [&self.url_file, &self.secret_file].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Keys that are given, by name.
    fn given(&self) -> Vec<&'static str> {
        let all = [
            ("url", self.url.is_some() || self.url_file.is_some()),
            ("secret_file", self.secret_file.is_some()),
            ("allow_private", self.allow_private),
            ("ca_file", self.ca_file.is_some()),
            ("phone", self.phone.is_some()),
            ("msgtype", self.msgtype.is_some()),
            ("username", self.username.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("addresses", self.addresses.is_some()),
            ("method", self.method.is_some()),
            ("headers", self.headers.is_some()),
            ("body", self.body.is_some()),
            ("success_path", self.success_path.is_some()),
            ("success_value", self.success_value.is_some()),
            ("permanent_values", self.permanent_values.is_some()),
            ("message_id_path", self.message_id_path.is_some()),
            ("status_url", self.status_url.is_some()),
            ("delivered_path", self.delivered_path.is_some()),
            ("delivered_value", self.delivered_value.is_some()),
            ("undelivered_value", self.undelivered_value.is_some()),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }

    /// The address, from the file or the key.
    fn address(&self) -> Result<HiddenUrl> {
        match (&self.url, &self.url_file) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(file)) => Ok(HiddenUrl::new(read_secret(file)?.trim())),
            (None, None) => bail!("channel {}: no url", self.id),
        }
    }

    /// The channel itself.
    ///
    /// # Errors
    /// A file that went away since it was checked.
    pub(crate) fn build(&self) -> Result<lampguard_alerting::Channel> {
        let web = || -> Result<Web> {
            Ok(Web {
                url: self.address()?,
                secret: self.secret()?,
                allow_private: self.allow_private,
                ca: self.authority()?,
            })
        };
        let kind = match self.kind.as_str() {
            "webhook" => ChannelKind::Webhook(web()?),
            "dingtalk" => {
                let markdown = self.msgtype.as_deref() == Some("markdown");
                ChannelKind::DingTalk { web: web()?, markdown }
            }
            "wecom" => ChannelKind::WeCom(web()?),
            "feishu" => ChannelKind::Feishu(web()?),
            "alertmanager" => ChannelKind::Alertmanager(web()?),
            "smtp" => ChannelKind::Smtp(Box::new(self.smtp()?)),
            "sms_http" => ChannelKind::Sms(Box::new(self.template(web()?))),
            "voice_http" => ChannelKind::Voice(Box::new(self.template(web()?))),
            _ => ChannelKind::Console,
        };
        let phone = self.phone.as_deref().map(Arc::from);
        let rate_per_min = self.rate_per_min;
        Ok(lampguard_alerting::Channel {
            rate_per_min,
            phone,
            ..lampguard_alerting::Channel::new(self.id.clone(), kind)
        })
    }

    /// Key, password, or what a template calls `{{secret}}`.
    pub(crate) fn secret(&self) -> Result<Secret> {
        let text = self.secret_file.as_deref().map(read_secret).transpose()?.unwrap_or_default();
        Ok(Secret::new(text.into_bytes()))
    }

    /// True for `http://`.
    pub(crate) fn is_plain(&self) -> bool {
        self.address().is_ok_and(|url| url.scheme() == "http")
    }

    fn authority(&self) -> Result<Vec<u8>> {
        let read =
            |path: &PathBuf| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
        Ok(self.ca_file.as_ref().map(read).transpose()?.unwrap_or_default())
    }

    fn smtp(&self) -> Result<Smtp> {
        let url = self.address()?;
        let (host, port, tls) = mail_server(&url).map_err(anyhow::Error::msg)?;
        Ok(Smtp {
            host,
            port,
            tls,
            username: self.username.clone().unwrap_or_default(),
            password: self.secret()?,
            from: self.from.clone().unwrap_or_default(),
            to: self.to.clone().unwrap_or_default(),
            addresses: self.addresses.clone().unwrap_or_default(),
            allow_private: self.allow_private,
            ca: self.authority()?,
        })
    }

    fn template(&self, web: Web) -> Template {
        let headers: Vec<(String, String)> = self.headers.clone().unwrap_or_default().into_iter().collect();
        let form = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("content-type") && value.contains("x-www-form-urlencoded")
        };
        let escape = if headers.iter().any(form) { Escape::Form } else { Escape::Json };
        let expect = |path: &Option<String>, value: &Option<String>| {
            Some(Expect { path: path.clone()?, value: value.clone()? })
        };
        Template {
            web,
            method: self.method.clone().unwrap_or_else(|| "POST".to_owned()),
            headers,
            body: self.body.clone().unwrap_or_default(),
            escape,
            success: expect(&self.success_path, &self.success_value),
            permanent: self.permanent_values.clone().unwrap_or_default(),
            message_id: self.message_id_path.clone(),
            status_url: self.status_url.clone(),
            delivered: expect(&self.delivered_path, &self.delivered_value),
            undelivered: expect(&self.delivered_path, &self.undelivered_value),
        }
    }
}

/// First line of a secret file.
pub(crate) fn read_secret(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading secret {}", path.display()))?;
    Ok(text.lines().next().unwrap_or("").to_owned())
}

/// Collects what is wrong with one channel. Addresses are shown by scheme and host alone: a token may stand behind.
pub(super) fn check(key: &str, channel: &Channel, faults: &mut Faults<'_>) {
    let kind = channel.kind.as_str();
    let Some((_, keys)) = KINDS.iter().find(|(known, _)| *known == kind) else {
        let known: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
        return faults.add(
            format!("{key}.kind"),
            format!("{kind:?} is no kind of channel; there are {}", known.join(", ")),
        );
    };
    let (given, taken) = (channel.given(), keys.split_whitespace());
    let taken: Vec<(&str, bool)> = taken.map(|k| (k.trim_end_matches('!'), k.ends_with('!'))).collect();
    for name in &given {
        if !taken.iter().any(|(known, _)| known == name) {
            faults.add(format!("{key}.{name}"), format!("is no key of kind {kind}; take it out"));
        }
    }
    for (name, _) in taken.iter().filter(|(name, needed)| *needed && !given.contains(name)) {
        let why = match *name {
            "url" => "is missing: url, or url_file with the address in its first line",
            "secret_file" => "is missing: the receiver checks our signature with it",
            _ => "is missing",
        };
        faults.add(format!("{key}.{name}"), format!("{why} (kind {kind})"));
    }
    check_rate(key, channel, faults);
    check_files(key, channel, faults);
    match kind {
        "console" => {}
        "smtp" => check_mail(key, channel, faults),
        _ => check_address(key, channel, faults),
    }
    check_headers(key, channel, faults);
    if matches!(kind, "sms_http" | "voice_http") {
        check_template(key, channel, faults);
    }
    if let Some(phone) = &channel.phone
        && !is_phone(phone)
    {
        faults.add(format!("{key}.phone"), format!("{phone:?} is no telephone number: + and 3 to 20 digits"));
    }
    if let Some(msgtype) = &channel.msgtype
        && !matches!(msgtype.as_str(), "text" | "markdown")
    {
        faults.add(format!("{key}.msgtype"), format!("{msgtype:?} is not text or markdown"));
    }
}

/// True for what can be dialled.
pub(crate) fn is_phone(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let plain = |c: char| c.is_ascii_digit() || matches!(c, ' ' | '-');
    (3..=20).contains(&digits) && text.strip_prefix('+').unwrap_or(text).chars().all(plain)
}

fn check_rate(key: &str, channel: &Channel, faults: &mut Faults<'_>) {
    let key = format!("{key}.rate_per_min");
    match channel.rate_per_min {
        Some(0) => faults.add(key, "is 0: nothing would ever be told; leave it out for the default"),
        Some(rate) if rate > RATE_MAX => faults.add(key, format!("{rate} is over {RATE_MAX}")),
        Some(rate) if matches!(&*channel.kind, "dingtalk" | "wecom") && rate > ROBOT_RATE_MAX => {
            let text = format!(
                "{rate} is over {ROBOT_RATE_MAX}: the robot would be blocked for minutes; 18 is the default"
            );
            faults.add(key, text);
        }
        _ => {}
    }
}

fn check_files(key: &str, channel: &Channel, faults: &mut Faults<'_>) {
    if channel.url.is_some() && channel.url_file.is_some() {
        faults.add(format!("{key}.url_file"), "stands beside url; one of them");
    }
    faults.readable(&format!("{key}.ca_file"), channel.ca_file.as_deref());
    for (name, file) in [("url_file", &channel.url_file), ("secret_file", &channel.secret_file)] {
        let key = format!("{key}.{name}");
        faults.readable(&key, file.as_deref());
        if let Some(file) = file
            && read_secret(file).is_ok_and(|line| line.trim().is_empty())
        {
            faults.add(key, format!("{}: its first line is empty", file.display()));
        }
    }
}

fn check_address(key: &str, channel: &Channel, faults: &mut Faults<'_>) {
    let Ok(url) = channel.address() else { return };
    let name = if channel.url.is_some() { "url" } else { "url_file" };
    let key = format!("{key}.{name}");
    if !matches!(url.scheme(), "http" | "https") {
        return faults.add(key, format!("{url} does not begin with http:// or https://"));
    }
    let authority = url.authority();
    if authority.is_empty() || authority.contains("{{") {
        return faults.add(key, format!("{url} has no host; placeholders stand behind the host"));
    }
    // Placeholders are filled in later; what they leave has to be an address.
    let filled = url.reveal().replace("{{", "").replace("}}", "");
    if filled.parse::<ureq::http::Uri>().is_err() {
        return faults.add(
            key,
            format!("{url} is no address: letters outside of ASCII and blanks are escaped as %XX"),
        );
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let literal = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    let open = url.scheme() == "http" && !literal && !channel.allow_private;
    if open && channel.kind != "webhook" {
        faults.add(
            key,
            format!(
                "{url} goes unencrypted: everybody on the way could read token and numbers; use https://"
            ),
        );
    }
}

/// Host, port and secrecy of `smtps://host:465`, `smtp+starttls://host:587`, `smtp://127.0.0.1:25`.
fn mail_server(url: &HiddenUrl) -> Result<(String, u16, Tls), String> {
    let (tls, usual) = match url.scheme() {
        "smtps" => (Tls::Wrapped, 465),
        "smtp+starttls" => (Tls::StartTls, 587),
        "smtp" => (Tls::Plain, 25),
        _ => return Err(format!("{url} does not begin with smtps://, smtp+starttls:// or smtp://")),
    };
    let authority = url.authority();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => {
            (host, port.parse().map_err(|_| format!("{url}: {port:?} is no port"))?)
        }
        _ => (authority, usual),
    };
    let host = host.trim_matches(['[', ']']);
    if host.is_empty() {
        return Err(format!("{url} has no host"));
    }
    Ok((host.to_owned(), port, tls))
}

fn check_mail(key: &str, channel: &Channel, faults: &mut Faults<'_>) {
    if let Ok(url) = channel.address() {
        match mail_server(&url) {
            Err(reason) => faults.add(format!("{key}.url"), reason),
            Ok((host, _, Tls::Plain)) if !matches!(&*host, "localhost" | "127.0.0.1" | "::1") => {
                let text = "plain SMTP goes to this machine only; use smtps:// or smtp+starttls://";
                faults.add(format!("{key}.url"), text);
            }
            Ok(_) => {}
        }
    }
    if channel.username.is_some() != channel.secret_file.is_some() {
        faults.add(format!("{key}.username"), "username and secret_file (the password) go together");
    }
    let to = channel.to.iter().flatten();
    let people = channel.addresses.iter().flat_map(BTreeMap::values);
    if to.clone().chain(people.clone()).next().is_none() {
        faults
            .add(format!("{key}.to"), "nobody is there: `to` for all mail, or `addresses` of people by name");
    }
    for address in to.chain(people).chain(&channel.from) {
        if !is_mail_address(address) {
            faults.add(format!("{key}.to"), format!("{address:?} is no mail address"));
        }
    }
}

/// What a header can carry; with anything else no message would go out at all.
fn check_headers(key: &str, channel: &Channel, faults: &mut Faults<'_>) {
    /// Placeholders whose text is mostly Chinese.
    const WORDS: [&str; 8] = ["to", "text", "title", "place", "danger", "safety", "left", "site"];
    let plain = |text: &str| text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    let mut secret = false;
    for (name, value) in channel.headers.iter().flatten() {
        if !plain(value) {
            faults.add(format!("{key}.headers"), format!("{name}: a header carries plain ASCII alone"));
        }
        if axum::http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let text = format!("{name:?} is no name of a header: letters, digits and - as in X-Token");
            faults.add(format!("{key}.headers"), text);
        }
        let inside: Vec<&str> = lampguard_alerting::notify::placeholders(value).collect();
        for word in inside.iter().filter(|word| WORDS.contains(word)) {
            let text = format!(
                "{name}: {{{{{word}}}}} may be Chinese, and a header carries plain ASCII alone; into body or url with it"
            );
            faults.add(format!("{key}.headers"), text);
        }
        secret |= inside.contains(&"secret");
    }
    secret |= channel.kind == "alertmanager";
    if let Some(path) = channel.secret_file.as_ref().filter(|_| secret)
        && let Ok(text) = read_secret(path)
        && !plain(&text)
    {
        let text = format!(
            "{} holds something that no header can carry: plain ASCII alone, copy it again",
            path.display()
        );
        faults.add(format!("{key}.secret_file"), text);
    }
}

fn check_template(key: &str, channel: &Channel, faults: &mut Faults<'_>) {
    let method = channel.method.as_deref().unwrap_or("POST");
    if !matches!(method, "POST" | "GET" | "PUT") {
        faults.add(format!("{key}.method"), format!("{method:?} is not POST, GET or PUT"));
    }
    let url = channel.address().map(|url| url.reveal().to_owned()).unwrap_or_default();
    let body = channel.body.as_deref().unwrap_or_default();
    let headers = channel.headers.iter().flatten();
    let status = channel.status_url.as_ref().map_or("", |url| url.reveal());
    let mut places = vec![("url", &*url), ("body", body), ("status_url", status)];
    places.extend(headers.clone().map(|(_, value)| ("headers", &**value)));
    for (name, text) in &places {
        for unknown in unknown_placeholders(text) {
            let known = lampguard_alerting::notify::PLACEHOLDERS.join(", ");
            faults.add(format!("{key}.{name}"), format!("nobody knows {{{{{unknown}}}}}; there are {known}"));
        }
    }
    for wanted in ["{{phone}}", "{{text}}"] {
        let parts = ["{{title}}", "{{place}}"];
        let there = |part: &str| places.iter().any(|(_, text)| text.contains(part));
        let instead = wanted == "{{text}}" && parts.iter().all(|part| there(part));
        if !there(wanted) && !instead {
            faults.add(
                format!("{key}.body"),
                format!("{wanted} stands neither in url nor in body: nobody would be told"),
            );
        }
    }
    let paths = [
        ("success_path", &channel.success_path),
        ("message_id_path", &channel.message_id_path),
        ("delivered_path", &channel.delivered_path),
    ];
    for (name, path) in paths {
        if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            faults.add(format!("{key}.{name}"), "is a JSON pointer: /code, /data/0/id");
        }
    }
    let together = [
        ("success_path", channel.success_path.is_some(), channel.success_value.is_some()),
        ("delivered_path", channel.delivered_path.is_some(), channel.delivered_value.is_some()),
        ("status_url", channel.status_url.is_some(), channel.message_id_path.is_some()),
        ("status_url", channel.status_url.is_some(), channel.delivered_path.is_some()),
    ];
    for (name, one, other) in together {
        if one != other {
            let text = "success_path with success_value; status_url with message_id_path, delivered_path and delivered_value";
            faults.add(format!("{key}.{name}"), format!("is there alone: {text} go together"));
        }
    }
    if channel.status_url.is_some() && !status.contains("{{message_id}}") {
        faults.add(format!("{key}.status_url"), "has no {{message_id}}");
    }
    let own = |url: &HiddenUrl| (url.scheme().to_owned(), url.authority().to_owned());
    if let (Some(status), Ok(url)) = (&channel.status_url, channel.address())
        && own(status) != own(&url)
    {
        faults.add(format!("{key}.status_url"), format!("{status} is not on the host of url ({url})"));
    }
}
