//! Pieces of questions that many panels share.
//!
//! `lamp` rows come every five minutes, and later by day; a bare selector would show posts only for the minutes after a
//! reading. So every question about them looks back ([`LATEST`], [`STANDBY`]). The derived measurements come every 15 or
//! 30 s, so that a step without one is a gap (`fill(null)`); between readings of a post steps are empty as a rule, and a line
//! is broken after a while alone (`insertNulls`). [`JUST`] is long enough for one that was missed and short enough for what is over to go.

/// How far back the newest reading of a post may lie.
pub(crate) const LATEST: &str = "20m";
/// The same where posts in stand-by by day count.
pub(crate) const STANDBY: &str = "35m";
/// How far back the newest row of a derived measurement may lie.
pub(crate) const JUST: &str = "2m";

/// PromQL: the zones of the dashboard.
pub(crate) const ZONE: &str = r#"{zone=~"$zone"}"#;

/// PromQL: newest values of a derived measurement in the zones of the dashboard.
pub(crate) fn just(metric: &str) -> String {
    format!("last_over_time({metric}{ZONE}[{JUST}])")
}

/// PromQL: the greatest value of each step, so that a wide step hides no peak; where a step has none, the newest of so far
/// back. Steps of a wall are seconds or hours, by the time that is shown.
pub(crate) fn greatest(selector: &str, hold: &str) -> String {
    format!("(max_over_time({selector}[$__interval]) or last_over_time({selector}[{hold}]))")
}

/// PromQL: the newest value of each step, else of so far back.
pub(crate) fn newest(selector: &str, hold: &str) -> String {
    format!("(last_over_time({selector}[$__interval]) or last_over_time({selector}[{hold}]))")
}

/// PromQL: rows that lampguard writes, and not the same names of `/metrics` where the database scrapes these as well.
pub(crate) const OWN: &str = r#"{job=""}"#;

/// InfluxQL: so far back from the end of the time that is shown.
pub(crate) fn back(span: &str) -> String {
    format!("time > ${{__to}}ms - {span} AND time <= ${{__to}}ms")
}

/// InfluxQL: the zones of the dashboard.
pub(crate) const IN_ZONE: &str = r#""zone" =~ /^$zone$/"#;

/// The newest value of a field of `zone`, all zones put together by `how` (`sum`, `max`, `min`).
pub(crate) fn city(how: &str, field: &str) -> super::spec::Ask {
    let (just, back) = (just(&format!("zone_{field}")), back(JUST));
    super::spec::ask(
        format!("{how}({just})"),
        format!(
            r#"SELECT {how}("v") FROM (SELECT last("{field}") AS "v" FROM "zone" WHERE {back} AND {IN_ZONE} GROUP BY "zone", "node")"#
        ),
    )
}

/// The newest value of a field of `zone`, zone by zone.
pub(crate) fn zones(how: &str, field: &str) -> super::spec::Ask {
    let (just, back) = (just(&format!("zone_{field}")), back(JUST));
    super::spec::ask(
        format!("{how} by (zone) ({just})"),
        format!(
            r#"SELECT {how}("v") FROM (SELECT last("{field}") AS "v" FROM "zone" WHERE {back} AND {IN_ZONE} GROUP BY "zone", "node") GROUP BY "zone""#
        ),
    )
    .legend("{zone}", "{zone}")
}

/// A field of `zone` over time, zone by zone: its greatest of each step.
pub(crate) fn zones_over_time(how: &str, field: &str) -> super::spec::Ask {
    let greatest = greatest(&format!("zone_{field}{ZONE}"), JUST);
    super::spec::ask(
        format!("{how} by (zone) ({greatest})"),
        format!(
            r#"SELECT {how}("v") FROM (SELECT max("{field}") AS "v" FROM "zone" WHERE $timeFilter AND {IN_ZONE} GROUP BY time($__interval), "zone", "node" fill(none)) WHERE $timeFilter GROUP BY time($__interval), "zone" fill(null)"#
        ),
    )
    .legend("{zone}", "{zone}")
}

/// What a counter of `zone` grew by in the time that is shown, all zones.
pub(crate) fn grown(field: &str) -> super::spec::Ask {
    super::spec::ask(
        format!("sum(increase(zone_{field}{ZONE}[$__range]))"),
        format!("SELECT sum(\"v\") FROM ({})", grown_by_zone(field)),
    )
}

/// InfluxQL: what a counter of `zone` grew by in the time that is shown, zone by zone; a restart counts from nothing.
pub(crate) fn grown_by_zone(field: &str) -> String {
    format!(
        r#"SELECT sum("d") AS "v" FROM (SELECT non_negative_difference("{field}") AS "d" FROM "zone" WHERE $timeFilter AND {IN_ZONE} GROUP BY "zone", "node") WHERE $timeFilter GROUP BY "zone""#
    )
}

/// What one counter of `zone` grew by for each of another in the time that is shown, times `scale`; nothing where there was
/// none.
pub(crate) fn grown_per(scale: u32, above: &str, count: &str) -> super::spec::Ask {
    let grown = |field: &str| format!("sum(increase(zone_{field}{ZONE}[$__range]))");
    super::spec::ask(
        format!("{scale} * {} / ({} > 0)", grown(above), grown(count)),
        format!(
            r#"SELECT {scale} * "a" / "b" FROM (SELECT sum("x") AS "a", sum("y") AS "b" FROM (SELECT non_negative_difference("{above}") AS "x", non_negative_difference("{count}") AS "y" FROM "zone" WHERE $timeFilter AND {IN_ZONE} GROUP BY "zone", "node") WHERE $timeFilter) WHERE "b" > 0"#
        ),
    )
}

/// What a counter of `zone` grows by in each `$interval`, all zones. The step is never less (`by_interval`), and more where a
/// longer time is shown: then the count is that of the step.
pub(crate) fn growth(field: &str) -> super::spec::Ask {
    super::spec::ask(
        format!("sum(increase(zone_{field}{ZONE}[$__interval]))"),
        format!(
            r#"SELECT sum("d") FROM (SELECT non_negative_difference("{field}") AS "d" FROM "zone" WHERE $timeFilter AND {IN_ZONE} GROUP BY "zone", "node") WHERE $timeFilter GROUP BY time($interval) fill(0)"#
        ),
    )
    .by_interval()
}

/// The newest value of a field of `lampguard`, put together by `how`.
pub(crate) fn own(how: &str, field: &str) -> super::spec::Ask {
    let back = back(JUST);
    super::spec::ask(
        format!("{how}(last_over_time(lampguard_{field}{OWN}[{JUST}]))"),
        format!(
            r#"SELECT {how}("v") FROM (SELECT last("{field}") AS "v" FROM "lampguard" WHERE {back} GROUP BY "node")"#
        ),
    )
}

/// A field of `lampguard` over time: its greatest of each step, of all nodes.
pub(crate) fn own_over_time(field: &str) -> super::spec::Ask {
    super::spec::ask(
        format!("max({})", greatest(&format!("lampguard_{field}{OWN}"), JUST)),
        format!(
            r#"SELECT max("{field}") FROM "lampguard" WHERE $timeFilter GROUP BY time($__interval) fill(null)"#
        ),
    )
}

/// A counter of `lampguard` a second, all nodes.
pub(crate) fn own_rate(field: &str) -> super::spec::Ask {
    super::spec::ask(
        format!("sum(rate(lampguard_{field}{OWN}[$__rate_interval]))"),
        format!(
            r#"SELECT sum("r") FROM (SELECT non_negative_derivative(max("{field}"), 1s) AS "r" FROM "lampguard" WHERE $timeFilter GROUP BY time($__interval), "node" fill(none)) WHERE $timeFilter GROUP BY time($__interval) fill(null)"#
        ),
    )
}

/// What one counter of `lampguard` grew by for each of another: a mean, times `scale`.
pub(crate) fn own_ratio(above: &str, below: &str, scale: u32) -> super::spec::Ask {
    super::spec::ask(
        format!(
            "{scale} * sum(increase(lampguard_{above}{OWN}[$__interval])) / clamp_min(sum(increase(lampguard_{below}{OWN}[$__interval])), 1)"
        ),
        format!(
            r#"SELECT {scale} * sum("a") / (sum("b") + 0.000001) FROM (SELECT non_negative_difference("{above}") AS "a", non_negative_difference("{below}") AS "b" FROM "lampguard" WHERE $timeFilter GROUP BY "node") WHERE $timeFilter GROUP BY time($interval) fill(null)"#
        ),
    )
    .by_interval()
}

/// PromQL: a question about a field of one post, asked of posts and of sensors in cabinets: whoever looks for one knows its
/// name, and not which of the two it is. By names in a pattern both would be one series where a register changed the kind.
pub(crate) fn of_post(field: &str, asked: impl Fn(&str) -> String) -> String {
    ["lamp", "cabinet"].map(|kind| asked(&format!(r#"{kind}_{field}{{post=~"$post"}}"#))).join(" or ")
}

/// InfluxQL: readings of posts and of sensors in cabinets; a series of each that has some.
pub(crate) const OF_POST: &str = r#""lamp", "cabinet""#;

/// One field of one post, or of one sensor in a cabinet, over time.
pub(crate) fn post(field: &str) -> super::spec::Ask {
    let highest = of_post(field, |selector| format!("max_over_time({selector}[$__interval])"));
    let held = of_post(field, |selector| format!("last_over_time({selector}[{LATEST}])"));
    super::spec::ask(
        format!("max({highest} or {held})"),
        format!(
            r#"SELECT max("{field}") FROM {OF_POST} WHERE $timeFilter AND "post" =~ /^$post$/ GROUP BY time($__interval) fill(none)"#
        ),
    )
}
