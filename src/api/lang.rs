//! The language of a page: what its address asks for, else what was chosen before, else that of the site.

use axum::http::{HeaderMap, Uri};

use super::admit::cookie;

/// Name of the cookie that keeps the choice.
pub(super) const COOKIE: &str = "lampguard_lang";

/// A language of the pages. Stands in the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lang {
    Zh,
    En,
}

impl Lang {
    fn from_word(word: &str) -> Option<Self> {
        match word {
            "zh" | "zh-CN" => Some(Self::Zh),
            "en" => Some(Self::En),
            _ => None,
        }
    }

    /// `?lang=` of an address.
    pub(super) fn asked(uri: &Uri) -> Option<Self> {
        let words = uri.query()?.split('&').filter_map(|pair| pair.strip_prefix("lang="));
        words.filter_map(Self::from_word).next_back()
    }

    pub(crate) fn of(uri: &Uri, headers: &HeaderMap, site: &str) -> Self {
        let chosen = || Self::from_word(&cookie(headers, COOKIE)?);
        let site = || if site.starts_with("zh") { Self::Zh } else { Self::En };
        Self::asked(uri).or_else(chosen).unwrap_or_else(site)
    }

    /// For `<html lang>` and `?lang=`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Zh => "zh",
            Self::En => "en",
        }
    }

    /// What HTML calls it.
    pub(crate) fn tag(self) -> &'static str {
        self.pick("zh-CN", "en")
    }

    pub(crate) fn is_chinese(self) -> bool {
        self == Self::Zh
    }

    /// One text of two.
    pub(crate) fn pick<T>(self, zh: T, en: T) -> T {
        match self {
            Self::Zh => zh,
            Self::En => en,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_address_decides_then_the_cookie_then_the_site() {
        let of = |path: &'static str, cookie: Option<&'static str>, site| {
            let mut headers = HeaderMap::new();
            if let Some(cookie) = cookie {
                headers.insert("cookie", HeaderValue::from_static(cookie));
            }
            Lang::of(&Uri::from_static(path), &headers, site)
        };
        assert_eq!(of("/", None, "zh-CN"), Lang::Zh);
        assert_eq!(of("/", None, "en"), Lang::En);
        assert_eq!(of("/", Some("a=b; lampguard_lang=en"), "zh-CN"), Lang::En);
        assert_eq!(of("/?x=1&lang=zh", Some("lampguard_lang=en"), "en"), Lang::Zh);
        assert_eq!(of("/?lang=fr", None, "en"), Lang::En);
    }
}
