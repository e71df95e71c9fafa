//! LG-04: a night of rain.

use lampguard_model::series::WARNINGS;

use super::{LEAKAGE, abnormal_table, hue_of_warning, map, rain, strip};
use crate::ask::{IN_ZONE, JUST, ZONE, back, greatest, growth, newest, zones_over_time};
use crate::spec::{Board, Draw, Look, Panel, Var, Words, ask, column, panel, t};

pub(super) fn board() -> Board {
    Board {
        uid: "lg-rain",
        title: t("LG-04 雨天专项", "LG-04 Rain"),
        about: t(
            "雨强与预警、漏电抬升的灯杆、上升最快的灯杆、雨中峰值、低洼灯杆、隐患发现与结案。",
            "rain and warnings, posts whose leakage rose, the steepest, peaks in the wet, low-lying posts, hazards found and closed.",
        ),
        refresh: "1m",
        back: "now-12h",
        vars: &[Var::Zones, Var::Roads, Var::Interval],
        panels: strip()
            .into_iter()
            .chain([
                warnings().size(8, 7),
                panel(
                    Look::Lines(Draw::Steps),
                    t("雨强", "Rain"),
                    t(
                        "各片区最近报告的雨强，最多沿用 60 分钟。",
                        "the newest rate of each zone, held for at most 60 minutes.",
                    ),
                )
                .size(16, 7)
                .unit("suffix: mm/h")
                .scale(0.0, None)
                .every("1m")
                .gap(60)
                .asks(rain()),
                risen().size(12, 8),
                panel(
                    Look::Lines(Draw::Lines),
                    t("各片区最大漏电流", "Highest leakage by zone"),
                    t(
                        "随雨上升、雨后回落的是潮湿；不回落的是故障。",
                        "what rises with the rain and falls behind it is wetness; what stays is a fault.",
                    ),
                )
                .size(12, 8)
                .unit("mamp")
                .scale(0.0, None)
                .steps(LEAKAGE)
                .asks(zones_over_time("max", "leakage_ma_max")),
                steepest().size(8, 9),
                peaks().size(8, 9),
                map(true).size(8, 9),
                hazards().size(8, 8),
                low_lying().size(8, 8),
                abnormal_table().size(8, 8),
            ])
            .collect(),
    }
}

fn warnings() -> Panel {
    panel(
        Look::Timeline,
        t("气象预警", "Weather warnings"),
        t("官方暴雨预警等级；有预警即按潮湿限值判定。", "official rain warnings; while one is in force the wet limits hold."),
    )
    .every("1m")
    .gap(60)
    .words(Words::Codes(&WARNINGS, hue_of_warning))
    .asks(
        ask(
            format!("max by (zone) ({})", greatest("weather_warning", "60m")),
            r#"SELECT max("warning") FROM "weather" WHERE $timeFilter GROUP BY time($__interval), "zone" fill(none)"#,
        )
        .legend("{zone}", "{zone}"),
    )
}

fn risen() -> Panel {
    panel(
        Look::Lines(Draw::Steps),
        t("漏电抬升的灯杆数", "Posts whose leakage rose"),
        t("处于预警或危险的灯杆，全部所选片区。", "posts in warning or danger, all zones that are chosen."),
    )
    .scale(0.0, None)
    .asks(zones_over_time("sum", "posts_danger").legend("危险 {zone}", "danger {zone}"))
    .asks(zones_over_time("sum", "posts_warning").legend("预警 {zone}", "warning {zone}"))
}

fn steepest() -> Panel {
    let back = back("1h");
    let columns = vec![
        column("post", "post", t("灯杆", "Post")).to(super::TO_POST).to(super::TO_CURVES),
        column("zone", "zone", t("片区", "Zone")),
        column("Value", "top", t("每小时上升 mA", "Rise, mA an hour"))
            .steps(&[(6.0, crate::spec::Hue::Orange)]),
    ];
    panel(
        Look::Table(columns, vec![(t("每小时上升 mA", "Rise, mA an hour"), true)]),
        t("上升最快的 20 杆", "Twenty steepest posts"),
        t("最近 1 小时漏电流的上升。", "how fast leakage rose in the last hour."),
    )
    .asks(ask(
        r#"topk(20, max by (post, zone) (3600 * deriv(lamp_leakage_ma{zone=~"$zone"}[1h])))"#,
        format!(
            r#"SELECT top("v", "post", "zone", 20) FROM (SELECT (last("leakage_ma") - first("leakage_ma")) AS "v" FROM "lamp" WHERE {back} AND {IN_ZONE} GROUP BY "post", "zone")"#
        ),
    ))
}

fn peaks() -> Panel {
    let columns = vec![
        column("post", "post", t("灯杆", "Post")).to(super::TO_POST).to(super::TO_CURVES),
        column("zone", "zone", t("片区", "Zone")),
        column("Value", "top", t("本时段峰值", "Peak in this time")).unit("mamp").steps(LEAKAGE),
    ];
    panel(
        Look::Table(columns, vec![(t("本时段峰值", "Peak in this time"), true)]),
        t("雨中峰值最高的 20 杆", "Twenty highest peaks"),
        t("所选时间范围内的最大漏电流；下一场雨前先查这些。", "highest leakage of the time that is shown; look at these before the next rain."),
    )
    .asks(ask(
        r#"topk(20, max by (post, zone) (max_over_time(lamp_leakage_ma{zone=~"$zone"}[$__range])))"#,
        format!(
            r#"SELECT top("v", "post", "zone", 20) FROM (SELECT max("leakage_ma") AS "v" FROM "lamp" WHERE $timeFilter AND {IN_ZONE} GROUP BY "post", "zone")"#
        ),
    ))
}

/// Low-lying posts stand in water first: those that are not heard have to be looked at.
fn low_lying() -> Panel {
    let zone = |field: &str| newest(&format!("zone_{field}{ZONE}"), JUST);
    panel(
        Look::Lines(Draw::Lines),
        t("低洼灯杆上报率", "Low-lying posts that report"),
        t(
            "台账中有传感器的低洼灯杆现有数据的比例。夜间供电时不足 100% 的，派人查看；白天停电的灯杆不上报。没有低洼灯杆的片区无线。",
            "of the posts with a sensor that the register calls low-lying the share with data of now. At night, with power on, send somebody to the others; by day posts without power do not report. A zone without such posts has no line.",
        ),
    )
    .unit("percent")
    .scale(0.0, Some(100.0))
    .asks(
        ask(
            format!(
                "100 * sum by (zone) ({}) / (sum by (zone) ({}) > 0)",
                zone("reporting_low_lying"),
                zone("posts_low_lying")
            ),
            format!(
                r#"SELECT 100 * sum("r") / sum("p") FROM (SELECT last("reporting_low_lying") AS "r", last("posts_low_lying") AS "p" FROM "zone" WHERE $timeFilter AND {IN_ZONE} GROUP BY time($__interval), "zone", "node" fill(none)) WHERE $timeFilter AND "p" > 0 GROUP BY time($__interval), "zone" fill(null)"#
            ),
        )
        .legend("{zone}", "{zone}"),
    )
}

fn hazards() -> Panel {
    panel(
        Look::Lines(Draw::Bars),
        t("隐患：发现与结案", "Hazards: found and closed"),
        t("每个统计间隔内新开与结案的险情。", "incidents opened and closed in each interval."),
    )
    .scale(0.0, None)
    .every("1m")
    .asks(growth("opened_total").legend("发现", "found"))
    .asks(growth("closed_total").legend("结案", "closed"))
}
