//! LG-02: one zone after the other.

use super::{
    ANY, LEAKAGE, SHELL, abnormal_table, highest, incidents, lighting_rate_over_time, stages, strip,
};
use crate::ask::{IN_ZONE, JUST, LATEST, ZONE, back, city, greatest, grown, zones_over_time};
use crate::spec::{Ask, Board, Draw, Look, Panel, Var, ask, column, panel, t};

pub(super) fn board() -> Board {
    Board {
        uid: "lg-zone",
        title: t("LG-02 责任片区", "LG-02 Zones"),
        about: t(
            "每个片区一段：险情、漏电最高的灯杆、失联、亮灯率、班组负荷。",
            "a part for each zone: incidents, highest leakage, silence, lamps, crew load.",
        ),
        refresh: "1m",
        back: "now-12h",
        vars: &[Var::Zones],
        panels: strip()
            .into_iter()
            .chain([
                panel(Look::Row, t("片区 $zone", "Zone $zone"), t("", "")).size(24, 1),
                now(),
                posts(),
                done(),
                incidents(("", "")).size(14, 9),
                highest(
                    "leakage_ma",
                    "mamp",
                    LEAKAGE,
                    t("漏电流最高的 10 杆", "Ten posts with the highest leakage"),
                    t("最近 1 小时的最大值。", "highest of the last hour."),
                )
                .size(10, 9),
                abnormal_table().size(8, 8),
                distribution().size(8, 8),
                panel(
                    Look::Lines(Draw::Lines),
                    t("亮灯率（下限）", "Lighting rate, lower bound"),
                    t("目标 99.5%。", "goal 99.5 %."),
                )
                .size(8, 8)
                .unit("percent")
                .scale(0.0, Some(100.0))
                .asks(lighting_rate_over_time()),
                crews().size(15, 7),
                stages().size(9, 7),
                cabinets().size(9, 7),
                panel(
                    Look::Lines(Draw::Lines),
                    t("最大外壳电压", "Highest shell voltage"),
                    t(
                        "虚线为默认限值：潮湿 12 V、干燥 25 V。",
                        "dashed: the default limits, 12 V in the wet and 25 V in the dry.",
                    ),
                )
                .size(15, 7)
                .unit("volt")
                .scale(0.0, None)
                .steps(SHELL)
                .asks(zones_over_time("max", "shell_v_max")),
            ])
            .collect(),
    }
}

fn now() -> Panel {
    panel(
        Look::Stat,
        t("未结与超时", "Open and breached"),
        t("未结 P1、P2，与已超时的。", "open P1 and P2, and those past their deadline."),
    )
    .size(8, 4)
    .steps(ANY)
    .asks(city("sum", "open_p1").legend("P1", "P1"))
    .asks(city("sum", "open_p2").legend("P2", "P2"))
    .asks(city("sum", "open_breached").legend("超时", "breached"))
}

fn posts() -> Panel {
    panel(
        Look::Stat,
        t("灯杆", "Posts"),
        t("台账灯杆数与现有数据的灯杆数。", "posts of the register, and those with data of now."),
    )
    .size(8, 4)
    .asks(city("sum", "posts").legend("台账", "register"))
    .asks(city("sum", "reporting").legend("在报", "reporting"))
}

fn done() -> Panel {
    panel(
        Look::Stat,
        t("本时段：新开、到场、超时、结案", "In this time: opened, arrived, breached, closed"),
        t("所选时间范围内的次数，不含演练。", "how many in the time that is shown, drills aside."),
    )
    .size(8, 4)
    .decimals(0)
    .asks(grown("opened_total").legend("新开", "opened"))
    .asks(grown("arrived_total").legend("到场", "arrived"))
    .asks(grown("breached_total").legend("超时", "breached"))
    .asks(grown("closed_total").legend("结案", "closed"))
}

/// What each crew has to do here.
fn crews() -> Panel {
    let fields = ["jobs", "jobs_not_departed", "jobs_departed", "jobs_arrived", "jobs_made_safe"];
    let inner: Vec<String> = fields.iter().map(|field| format!(r#"last("{field}") AS "{field}""#)).collect();
    let outer: Vec<String> = fields.iter().map(|field| format!(r#"sum("{field}") AS "{field}""#)).collect();
    let influx = format!(
        r#"SELECT {} FROM (SELECT {} FROM "crew" WHERE {} AND {IN_ZONE} GROUP BY "crew", "zone", "node") GROUP BY "crew""#,
        outer.join(", "),
        inner.join(", "),
        back(JUST)
    );
    let columns = vec![
        column("crew", "crew", t("班组", "Crew")),
        column("Value #A", "jobs", t("在手险情", "Has")),
        column("Value #B", "jobs_not_departed", t("未出发", "Not departed")),
        column("Value #C", "jobs_departed", t("途中", "On the way")),
        column("Value #D", "jobs_arrived", t("现场", "On the spot")),
        column("Value #E", "jobs_made_safe", t("已处置待完成", "Made safe, not closed")),
    ];
    let mut made = panel(
        Look::Table(columns, vec![(t("在手险情", "Has"), true)]),
        t("班组负荷", "Crew load"),
        t(
            "本片区值班、后备及在此有险情的班组各有多少未结险情，不含演练、移交与挂账。",
            "open incidents of each crew on duty, in reserve or with something to do here; drills, and what was returned or is pending, aside.",
        ),
    )
    .decimals(0);
    for (place, field) in fields.iter().enumerate() {
        let prom = format!("sum by (crew) (last_over_time(crew_{field}{ZONE}[{JUST}]))");
        made = made.asks(ask(prom, if place == 0 { influx.clone() } else { String::new() }));
    }
    made
}

/// What each feeder leaks altogether, by the sensor in its cabinet.
fn cabinets() -> Panel {
    let columns = vec![
        column("feeder", "feeder", t("回路", "Feeder")),
        column("Value #B", "highest", t("1 小时最高", "Highest in 1 h")).unit("mamp"),
        column("Value #A", "newest", t("最新", "Newest")).unit("mamp"),
        column("post", "post", t("控制箱传感器", "Sensor in the cabinet"))
            .to(super::TO_CABINET)
            .to(super::TO_CURVES),
        column("zone", "zone", t("片区", "Zone")),
    ];
    let one = |over: &str| format!("max by (feeder, post, zone) ({over}(cabinet_leakage_ma{ZONE}[1h]))");
    let influx = format!(
        r#"SELECT last("leakage_ma") AS "newest", max("leakage_ma") AS "highest" FROM "cabinet" WHERE {} AND {IN_ZONE} GROUP BY "feeder", "post", "zone""#,
        back("1h")
    );
    panel(
        Look::Table(columns, vec![(t("1 小时最高", "Highest in 1 h"), true)]),
        t("回路剩余电流", "Residual current by feeder"),
        t(
            "控制箱传感器最近 1 小时的最新值与最大值，为整条回路之和，含平时就有的泄漏，不可与单杆限值比较；突增另有险情“回路漏电突增”。没有控制箱传感器的回路不在此列。",
            "newest and highest of the last hour, by the sensors in cabinets: the sum of a whole feeder with what always leaks, not to be held to the limits of a post. A sudden rise is an incident, feeder leakage step. Feeders without such a sensor are not here.",
        ),
    )
    .nothing("没有控制箱传感器，或 1 小时内无数据", "no sensor in a cabinet, or no data in an hour")
    .decimals(1)
    .asks(ask(one("last_over_time"), influx))
    .asks(ask(one("max_over_time"), ""))
}

fn quantile(share: f64, percent: u32) -> Ask {
    ask(
        format!("quantile({share}, {})", greatest(&format!("lamp_leakage_ma{ZONE}"), LATEST)),
        format!(
            r#"SELECT percentile("leakage_ma", {percent}) FROM "lamp" WHERE $timeFilter AND {IN_ZONE} GROUP BY time($__interval) fill(none)"#
        ),
    )
}

fn distribution() -> Panel {
    panel(
        Look::Lines(Draw::Lines),
        t("漏电流分布", "How leakage is spread"),
        t(
            "中位数、95 分位与最大值：整体抬升是潮湿，单杆突出是故障。",
            "median, 95th percentile and highest: all rising is wetness, one standing out is a fault.",
        ),
    )
    .unit("mamp")
    .scale(0.0, None)
    .steps(LEAKAGE)
    .every("5m")
    .asks(quantile(0.5, 50).legend("中位数", "median"))
    .asks(quantile(0.95, 95).legend("95 分位", "95th percentile"))
    .asks(quantile(1.0, 100).legend("最大", "highest"))
}
