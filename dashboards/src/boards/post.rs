//! LG-03: one post, or one sensor in a cabinet.

use super::{LEAKAGE, SHELL, TO_INCIDENT, hue_of_severity, rain};
use crate::ask::{OF_POST, back, of_post, post};
use crate::spec::{Board, Draw, Look, Panel, Text, To, Var, Words, ask, column, panel, t};
use lampguard_model::series::SEVERITIES;

const TO_PAGE: To =
    To { title: t("打开灯杆或控制箱页", "open its page"), path: "/posts/${post:percentencode}" };

fn curve(title: Text, about: Text, unit: &'static str) -> Panel {
    panel(Look::Lines(Draw::Lines), title, about).size(12, 8).unit(unit).every("1m").to(TO_PAGE)
}

pub(super) fn board() -> Board {
    Board {
        uid: "lg-post",
        title: t("LG-03 灯杆详情", "LG-03 Post"),
        about: t(
            "一根灯杆或一个控制箱传感器的曲线、最新读数与险情。先选片区，再输入编号。",
            "curves, newest reading and incidents of one post, or of one sensor in a cabinet. Choose the zone, then type its name.",
        ),
        refresh: "1m",
        back: "now-24h",
        vars: &[Var::Zone, Var::Post],
        panels: vec![newest().size(12, 5), incidents().size(12, 5)].into_iter().chain(curves()).collect(),
    }
}

fn curves() -> Vec<Panel> {
    vec![
        curve(
            t("漏电流与雨强", "Leakage, and rain"),
            t(
                "虚线为单杆默认限值，控制箱测的是整条回路之和，不可与之比较；柱（右轴）为雨强。",
                "dashed: the default limits of a post; a sensor in a cabinet measures the sum of a feeder, which is not to be held to them. Bars (right): rain.",
            ),
            "mamp",
        )
        .steps(LEAKAGE)
        .scale(0.0, None)
        .asks(post("leakage_ma").legend("漏电流", "leakage"))
        .asks(rain())
        .right("suffix: mm/h"),
        curve(
            t("外壳对地电压", "Shell voltage"),
            t("虚线为默认限值。", "dashed: the default limits."),
            "volt",
        )
        .steps(SHELL)
        .scale(0.0, None)
        .asks(post("shell_v").legend("外壳电压", "shell")),
        curve(t("供电电压", "Supply voltage"), t("相线对零线。", "phase to neutral."), "volt")
            .asks(post("supply_v").legend("供电", "supply")),
        curve(
            t("灯功率与电流", "Lamp power and current"),
            t("柱（右轴）为电流。", "bars (right): current."),
            "watt",
        )
        .scale(0.0, None)
        .asks(post("lamp_w").legend("功率", "power"))
        .asks(post("lamp_a").legend("电流", "current"))
        .right("amp"),
        curve(
            t("温度与湿度", "Temperature and humidity"),
            t("杆内；柱（右轴）为湿度。", "inside the post; bars (right): humidity."),
            "celsius",
        )
        .asks(post("temperature_c").legend("温度", "temperature"))
        .asks(post("humidity_pct").legend("湿度", "humidity"))
        .right("percent"),
        curve(
            t("信号与电池", "Signal and battery"),
            t("柱（右轴）为电池电压。", "bars (right): battery."),
            "dBm",
        )
        .asks(post("rssi_dbm").legend("信号", "signal"))
        .asks(post("battery_v").legend("电池", "battery"))
        .right("volt"),
        panel(
            Look::Timeline,
            t("积水、检修门、供电", "Water, door, supply"),
            t(
                "1 为是：浸水、检修门开、有供电。传感器没有这一项时为空。",
                "1 is yes: in water, door open, supplied. Empty where the sensor does not tell.",
            ),
        )
        .size(24, 6)
        .every("1m")
        .asks(post("immersed").legend("浸水", "in water"))
        .asks(post("door_open").legend("门开", "door open"))
        .asks(post("supply").legend("有供电", "supplied")),
    ]
}

fn newest() -> Panel {
    let latest = |field: &str| {
        let newest = of_post(field, |selector| format!("last_over_time({selector}[35m])"));
        format!("max by (post, zone) ({newest})")
    };
    let back = back("35m");
    let columns = vec![
        column("Value #A", "Time", t("最近读数时间", "Last heard")).unit("dateTimeFromNow"),
        column("Value #B", "leakage", t("漏电流", "Leakage")).unit("mamp").steps(LEAKAGE),
        column("Value #C", "shell", t("外壳电压", "Shell")).unit("volt").steps(SHELL),
        column("Value #D", "volts", t("供电电压", "Supply")).unit("volt"),
        column("Value #E", "on", t("有供电", "Supplied")),
        column("post", "post", t("灯杆", "Post")).to(super::TO_POST),
        column("zone", "zone", t("片区", "Zone")),
    ];
    // Told apart by a label: `or` alone would keep the first of each post.
    let heard = |field: &str| {
        of_post(field, |selector| {
            let (name, _) = selector.split_once('{').unwrap_or((selector, ""));
            format!(r#"label_replace(max_over_time(timestamp({selector})[35m:30s]), "by", "{name}", "", "")"#)
        })
    };
    let heard = ["leakage_ma", "shell_v", "supply_v", "supply"].map(heard).join(" or ");
    let time = format!("1000 * max by (post, zone) ({heard})");
    let influx = format!(
        r#"SELECT "leakage_ma" AS "leakage", "shell_v" AS "shell", "supply_v" AS "volts", "supply" AS "on" FROM {OF_POST} WHERE {back} AND "post" =~ /^$post$/ GROUP BY "post", "zone" ORDER BY time DESC LIMIT 1"#
    );
    panel(
        Look::Table(columns, vec![(t("灯杆", "Post"), false)]),
        t("最新读数", "Newest reading"),
        t(
            "35 分钟内没有读数即为空：按失联看待。颜色按单杆默认限值，控制箱的漏电流为整条回路之和，不可与之比较。",
            "empty without a reading in 35 minutes: take it as silent. Colours are by the default limits of a post; leakage of a sensor in a cabinet is the sum of a feeder and not to be held to them.",
        ),
    )
    .nothing("35 分钟内无数据：按失联看待", "no data in 35 minutes: take it as silent")
    .asks(ask(time, influx))
    .asks(ask(latest("leakage_ma"), ""))
    .asks(ask(latest("shell_v"), ""))
    .asks(ask(latest("supply_v"), ""))
    .asks(ask(latest("supply"), ""))
}

fn incidents() -> Panel {
    let columns = vec![
        column("Value", "severity", t("级别", "Severity")).words(Words::Codes(&SEVERITIES, hue_of_severity)),
        column("kind", "kind", t("类别", "Kind")).words(Words::Tags(&super::KINDS)),
        column("id", "id", t("险情编号", "Incident")).to(TO_INCIDENT),
    ];
    panel(
        Look::Table(columns, vec![(t("险情编号", "Incident"), true)]),
        t("本杆险情", "Incidents of this post"),
        t("所选时间范围内开着的险情。", "open at some moment of the time that is shown."),
    )
    .nothing("本时段没有险情，或无数据", "none in this time, or no data")
    .asks(ask(
        r#"max by (id, kind) (1 * min_over_time(incident_severity{post=~"$post"}[$__range]))"#,
        r#"SELECT min("severity") AS "severity" FROM "incident" WHERE $timeFilter AND "post" =~ /^$post$/ GROUP BY "id", "kind""#,
    ))
}
