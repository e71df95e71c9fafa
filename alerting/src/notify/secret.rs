//! What is never printed: keys, tokens, and addresses that carry them.

use std::fmt;

use serde::Deserialize;

/// A secret: never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps the bytes of a secret file.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True for what DingTalk gives out.
    pub fn starts_with_sec(&self) -> bool {
        self.0.starts_with(b"SEC")
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text; empty when it is none.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// An address whose path or query may be a secret (a robot's token stands there): only scheme and host are shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct HiddenUrl(String);

impl HiddenUrl {
    /// Wraps an address.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The address itself: for connecting, never for showing.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Scheme: what stands before `://`.
    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// Host and port, without user and password; empty when there is none.
    pub fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit('@').next().unwrap_or_default()
    }

    /// Parts that must not show up anywhere: user and password, long parts of the path, values of the query.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let rest = self.0.split_once("://").map_or(&*self.0, |(_, rest)| rest);
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before.split_once('/').unwrap_or((before, ""));
        let user = authority.rsplit_once('@').map(|(user, _)| user.split(':')).into_iter().flatten();
        let path = path.split('/').filter(|part| part.len() >= 16);
        let values = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
        let found = user.chain(path).chain(values.filter(|value| value.len() >= 6));
        found.filter(|part| !part.is_empty() && !part.contains("{{")).map(str::to_owned).collect()
    }
}

impl fmt::Debug for HiddenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for HiddenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.authority() {
            "" => f.write_str("***"),
            authority => write!(f, "{}://{authority}/***", self.scheme()),
        }
    }
}

/// Takes secrets out of what others answer: an error text may repeat the token that it refuses.
#[derive(Clone, Default)]
pub(super) struct Scrubber(Vec<String>);

impl Scrubber {
    pub(super) fn new(url: &HiddenUrl, secret: &Secret) -> Self {
        let mut parts = url.secrets();
        parts.extend(Some(secret.text().to_owned()).filter(|text| text.len() >= 4));
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        Self(parts)
    }

    /// One line of at most `max` characters without secrets and control characters.
    pub(super) fn line(&self, text: &str, max: usize) -> String {
        let mut text = text.to_owned();
        for part in &self.0 {
            text = text.replace(part.as_str(), "***");
        }
        text.chars().take(max).map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}
