//! Topic grammar: the three canonical topics, and MQTT filters.

/// What a canonical topic names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'a> {
    /// `lamp/<zone>/<device>/reading`
    Reading {
        /// Zone hint.
        zone: &'a str,
        /// Device.
        device: &'a str,
    },
    /// `lamp/<zone>/<device>/status`
    Status {
        /// Zone hint.
        zone: &'a str,
        /// Device.
        device: &'a str,
    },
    /// `weather/<zone>/rain`
    Weather {
        /// Zone id or `all`.
        zone: &'a str,
    },
}

/// Filters of the three canonical topics.
pub const CANONICAL_FILTERS: [&str; 3] = ["lamp/+/+/reading", "lamp/+/+/status", "weather/+/rain"];

/// Reads a canonical topic; `None` for any other.
pub fn parse_topic(topic: &str) -> Option<Topic<'_>> {
    let mut levels = topic.split('/');
    let (first, second, third) = (levels.next()?, levels.next()?, levels.next()?);
    let (fourth, fifth) = (levels.next(), levels.next());
    match (first, third, fourth, fifth) {
        ("lamp", device, Some("reading"), None) => Some(Topic::Reading { zone: second, device }),
        ("lamp", device, Some("status"), None) => Some(Topic::Status { zone: second, device }),
        ("weather", "rain", None, None) => Some(Topic::Weather { zone: second }),
        _ => None,
    }
}

/// True when a topic fits an MQTT filter (`+` one level, `#` the rest; topics with `$` fit no wildcard).
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filters, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (filters.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

/// True when a filter is one that MQTT allows.
pub fn is_filter(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    !filter.is_empty()
        && levels.iter().enumerate().all(|(place, level)| match *level {
            "#" => place + 1 == levels.len(),
            "+" => true,
            other => !other.contains(['+', '#', '\0']),
        })
}
