//! LG-06: lamps.

use super::{incidents, lighting_rate, lighting_rate_over_time, strip};
use crate::ask::{IN_ZONE, STANDBY, ZONE, back, city, newest, zones_over_time};
use crate::spec::{Ask, Board, Draw, Hue, Look, Panel, Text, Var, Words, ask, column, panel, t};

pub(super) fn board() -> Board {
    Board {
        uid: "lg-lit",
        title: t("LG-06 亮灯率", "LG-06 Lighting rate"),
        about: t(
            "全市与各片区亮灯率、应亮与实亮、暗灯、白天亮灯、功率与电压。",
            "rates of city and zones, due and burning, dark posts, burning by day, power and supply.",
        ),
        refresh: "1m",
        back: "now-24h",
        vars: &[Var::Zones, Var::Interval],
        panels: strip()
            .into_iter()
            .chain([
                rate(t("亮灯率（下限）", "Lighting rate, lower bound"), false),
                rate(t("亮灯率（上限）", "Lighting rate, upper bound"), true),
                number(t("应亮", "Due"), "lamps_due"),
                number(t("实亮", "Burning"), "lamps_lit"),
                number(t("不明", "Unknown"), "lamps_unknown").steps(&[(1.0, Hue::Purple)]),
                number(t("不计", "Left out"), "lamps_excluded"),
                panel(
                    Look::Lines(Draw::Lines),
                    t("各片区亮灯率（下限）", "Rate by zone, lower bound"),
                    t(
                        "目标 99.5%；白天无应亮灯，按 100% 显示。",
                        "goal 99.5 %; by day none are due and it shows 100 %.",
                    ),
                )
                .size(12, 8)
                .unit("percent")
                .scale(0.0, Some(100.0))
                .asks(lighting_rate_over_time()),
                panel(
                    Look::Lines(Draw::Steps),
                    t("应亮与实亮", "Due and burning"),
                    t(
                        "开关灯时刻在此可见：两线应同时起落。",
                        "the times of switching are seen here: both lines should move together.",
                    ),
                )
                .size(12, 8)
                .scale(0.0, None)
                .asks(zones_over_time("sum", "lamps_due").legend("应亮 {zone}", "due {zone}"))
                .asks(zones_over_time("sum", "lamps_lit").legend("实亮 {zone}", "burning {zone}")),
                darkest().size(8, 9),
                incidents((r#",kind=~"lamp_out|day_burn""#, r#" AND "kind" =~ /^(lamp_out|day_burn)$/"#))
                    .size(16, 9)
                    .titled(t("灯不亮与白天亮灯", "Lamps out, and burning by day")),
                power().size(12, 8),
                supply().size(12, 8),
                energy().size(24, 7),
            ])
            .collect(),
    }
}

fn rate(title: Text, upper: bool) -> Panel {
    let about = t(
        "下限只算确知亮着的；上限把不明的也算亮。目标 99.5%。",
        "lower: those known to burn; upper: the unknown ones too. Goal 99.5 %.",
    );
    panel(Look::Stat, title, about)
        .size(6, 4)
        .unit("percent")
        .decimals(2)
        .words(Words::Range(None, Some(99.5), Hue::Orange))
        .asks(lighting_rate(upper))
}

fn number(title: Text, field: &str) -> Panel {
    panel(Look::Stat, title, t("灯数，此刻。", "lamps, now.")).size(3, 4).asks(city("sum", field))
}

fn darkest() -> Panel {
    let back = back(STANDBY);
    let columns = vec![
        column("post", "post", t("灯杆", "Post")).to(super::TO_POST).to(super::TO_CURVES),
        column("zone", "zone", t("片区", "Zone")),
        column("Value", "bottom", t("功率", "Power")).unit("watt"),
    ];
    panel(
        Look::Table(columns, vec![(t("功率", "Power"), false)]),
        t("功率最低的 20 杆", "Twenty darkest posts"),
        t("最新读数中功率最低的；夜里就是暗灯。", "lowest power of the newest readings; by night these are the dark ones."),
    )
    .asks(ask(
        r#"bottomk(20, max by (post, zone) (last_over_time(lamp_lamp_w{zone=~"$zone"}[35m])))"#,
        format!(
            r#"SELECT bottom("v", "post", "zone", 20) FROM (SELECT last("lamp_w") AS "v" FROM "lamp" WHERE {back} AND {IN_ZONE} GROUP BY "post", "zone")"#
        ),
    ))
}

fn mean(field: &str) -> Ask {
    ask(
        format!("avg by (zone) ({})", newest(&format!("lamp_{field}{ZONE}"), STANDBY)),
        format!(
            r#"SELECT mean("{field}") FROM "lamp" WHERE $timeFilter AND {IN_ZONE} GROUP BY time($__interval), "zone" fill(none)"#
        ),
    )
    .legend("{zone}", "{zone}")
}

fn power() -> Panel {
    panel(
        Look::Lines(Draw::Lines),
        t("每杆平均功率", "Mean power of a post"),
        t("白天应接近零。", "by day it should be near zero."),
    )
    .unit("watt")
    .scale(0.0, None)
    .every("5m")
    .gap(35)
    .asks(mean("lamp_w"))
}

fn supply() -> Panel {
    panel(
        Look::Lines(Draw::Lines),
        t("每杆平均供电电压", "Mean supply of a post"),
        t("低于 180 V 或高于 250 V 为异常。", "below 180 V or above 250 V is a fault."),
    )
    .unit("volt")
    .every("5m")
    .gap(35)
    .asks(mean("supply_v"))
}

/// What the meters of a measurement grew by, zone by zone.
fn metered(measurement: &str) -> Ask {
    ask(
        format!("sum by (zone) (increase({measurement}_energy_kwh{ZONE}[$__interval]))"),
        format!(
            r#"SELECT sum("d") FROM (SELECT non_negative_difference("energy_kwh") AS "d" FROM "{measurement}" WHERE $timeFilter AND {IN_ZONE} GROUP BY "zone", "post") WHERE $timeFilter GROUP BY time($interval), "zone" fill(null)"#
        ),
    )
    .by_interval()
}

/// Posts and cabinets apart: the meter of a cabinet counts its whole feeder, what meters of its posts count among it.
fn energy() -> Panel {
    panel(
        Look::Lines(Draw::Bars),
        t("用电量", "Energy"),
        t(
            "每个统计间隔内各片区电表的增量，灯杆电表与控制箱电表分开：控制箱电表计的是整条回路，两者不可相加。没有电表的不计。",
            "what the meters of each zone grew by in each interval, those in posts and those in cabinets apart: one in a cabinet counts its whole feeder, so do not add them up. What has no meter counts nothing.",
        ),
    )
    .unit("kwatth")
    .scale(0.0, None)
    .asks(metered("lamp").legend("灯杆电表 {zone}", "meters in posts {zone}"))
    .asks(metered("cabinet").legend("控制箱电表 {zone}", "meters in cabinets {zone}"))
}
