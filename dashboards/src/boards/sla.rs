//! LG-05: who was there in time.

use lampguard_model::series::RESPONSE_BUCKETS;

use super::{ANY, incidents, stages, strip};
use crate::ask::{ZONE, grown, grown_per, growth, zones_over_time};
use crate::spec::{Ask, Board, Draw, Hue, Look, Panel, Text, Var, Words, ask, column, panel, t};

pub(super) fn board() -> Board {
    Board {
        uid: "lg-sla",
        title: t("LG-05 响应与闭环", "LG-05 Response and closing"),
        about: t(
            "30 分钟到场率、响应时间、各阶段用时、超时、复发与误报、班组、结案；每次的细节见月报。",
            "arrivals within 30 minutes, response times, stages, breaches, repeats and false alarms, crews, closing; the monthly report has the details.",
        ),
        refresh: "1m",
        back: "now-7d",
        vars: &[Var::Zones, Var::Interval],
        panels: strip()
            .into_iter()
            .chain([
                in_time().size(5, 5),
                mean().size(5, 5),
                number(t("新开", "Opened"), "opened_total"),
                number(t("到场", "Arrived"), "arrived_total"),
                number(t("超时", "Breached"), "breached_total").steps(ANY),
                number(t("结案", "Closed"), "closed_total").size(5, 5),
                within().size(7, 9),
                quantiles().size(4, 9),
                by_zone().size(13, 9),
                stages().size(9, 9),
                again_and_false().size(6, 9),
                by_crew().size(9, 9),
                panel(
                    Look::Lines(Draw::Bars),
                    t("新开、到场、结案", "Opened, arrived, closed"),
                    t("每个统计间隔内的次数。", "how many in each interval."),
                )
                .size(12, 8)
                .scale(0.0, None)
                .every("1m")
                .asks(growth("opened_total").legend("新开", "opened"))
                .asks(growth("arrived_total").legend("到场", "arrived"))
                .asks(growth("closed_total").legend("结案", "closed")),
                panel(
                    Look::Lines(Draw::Steps),
                    t("未结且已超时", "Open and breached"),
                    t("各片区；应始终为 0。", "by zone; should always be 0."),
                )
                .size(12, 8)
                .scale(0.0, None)
                .steps(ANY)
                .asks(zones_over_time("sum", "open_breached")),
                incidents(("", "")).size(24, 9),
            ])
            .collect(),
    }
}

fn number(title: Text, field: &str) -> Panel {
    panel(Look::Stat, title, t("所选时间范围内，不含演练。", "in the time that is shown, drills aside."))
        .size(3, 5)
        .decimals(0)
        .asks(grown(field))
}

/// One counter of zones for each response in the time that is shown; nothing where there was none.
fn by_response(scale: u32, above: &str) -> Ask {
    grown_per(scale, above, "response_total")
}

fn in_time() -> Panel {
    panel(
        Look::Stat,
        t("30 分钟到场率", "Arrived within 30 minutes"),
        t(
            "所选时间范围内 P1 与两小时内到期的 P2 的到场中，30 分钟内到场的比例，口径同月报；没有到场时无数据。",
            "of the arrivals in the time that is shown, at P1 and at P2 due within two hours as in the monthly report, those within 30 minutes; no data without an arrival.",
        ),
    )
    .unit("percent")
    .decimals(1)
    .words(Words::Range(None, Some(89.999), Hue::Red))
    .words(Words::Range(Some(89.999), Some(99.9), Hue::Orange))
    .asks(by_response(100, "response_le_30m_total"))
}

fn mean() -> Panel {
    panel(
        Look::Stat,
        t("平均响应时间", "Mean response"),
        t(
            "P1 与两小时内到期的 P2，从险情成立到到场。",
            "of P1, and P2 due within two hours, from the moment the danger was known to the arrival.",
        ),
    )
    .unit("s")
    .decimals(0)
    .steps(&[(1200.0, Hue::Orange), (1800.0, Hue::Red)])
    .asks(by_response(1, "response_s_total"))
}

fn within() -> Panel {
    const LEGENDS: [Text; 6] = [
        t("5 分钟内", "within 5 min"),
        t("10 分钟内", "within 10 min"),
        t("15 分钟内", "within 15 min"),
        t("20 分钟内", "within 20 min"),
        t("30 分钟内", "within 30 min"),
        t("60 分钟内", "within 60 min"),
    ];
    let mut made = panel(
        Look::Gauge,
        t("响应时间分布", "Response times"),
        t(
            "P1 与两小时内到期的 P2，在各时限内到场的比例。",
            "of P1, and P2 due within two hours, the share of arrivals within each time.",
        ),
    )
    .unit("percent")
    .decimals(0)
    .scale(0.0, Some(100.0));
    for ((_, field), legend) in RESPONSE_BUCKETS.iter().zip(LEGENDS) {
        made = made.asks(by_response(100, field).legend(legend.zh, legend.en));
    }
    made
}

/// By PromQL alone: the buckets are fields, and InfluxQL cannot make one histogram of several fields.
fn quantiles() -> Panel {
    let grown = |field: &str| format!("sum(increase(zone_{field}{ZONE}[$__range]))");
    let bucket = |le: &str, field: &str| format!(r#"label_replace({}, "le", "{le}", "", "")"#, grown(field));
    let finite = RESPONSE_BUCKETS.iter().map(|(minutes, field)| bucket(&(minutes * 60).to_string(), field));
    let all = finite.chain([bucket("+Inf", "response_total")]).collect::<Vec<_>>().join(" or ");
    let quantile = |share: &str| {
        let some = grown("response_total");
        ask(format!("histogram_quantile({share}, {all}) and on () ({some} > 0)"), "")
    };
    panel(
        Look::Stat,
        t("响应时间中位数与 90 分位", "Response, median and 90th percentile"),
        t(
            "P1 与两小时内到期的 P2，由分档推算；超过 60 分钟显示 60 分钟。",
            "of P1, and P2 due within two hours, worked out from the steps; what took longer than 60 minutes shows as 60.",
        ),
    )
    .unit("s")
    .decimals(0)
    .steps(&[(1200.0, Hue::Orange), (1800.0, Hue::Red)])
    .asks(quantile("0.5").legend("中位数", "median"))
    .asks(quantile("0.9").legend("90 分位", "90th percentile"))
}

fn by_zone() -> Panel {
    let fields = ["opened_total", "arrived_total", "breached_total", "closed_total"];
    let names = ["opened", "arrived", "breached", "closed"];
    let inner: Vec<String> = fields
        .iter()
        .zip(names)
        .map(|(field, name)| format!(r#"non_negative_difference("{field}") AS "{name}""#))
        .collect();
    let outer: Vec<String> = names.iter().map(|name| format!(r#"sum("{name}") AS "{name}""#)).collect();
    let influx = format!(
        r#"SELECT {} FROM (SELECT {} FROM "zone" WHERE $timeFilter AND "zone" =~ /^$zone$/ GROUP BY "zone", "node") WHERE $timeFilter GROUP BY "zone""#,
        outer.join(", "),
        inner.join(", ")
    );
    let columns = vec![
        column("zone", "zone", t("片区", "Zone")),
        column("Value #A", "opened", t("新开", "Opened")),
        column("Value #B", "arrived", t("到场", "Arrived")),
        column("Value #C", "breached", t("超时", "Breached")).steps(ANY),
        column("Value #D", "closed", t("结案", "Closed")),
    ];
    let mut made = panel(
        Look::Table(columns, vec![(t("超时", "Breached"), true)]),
        t("各片区", "By zone"),
        t(
            "所选时间范围内，不含演练；超时最多的在上。",
            "in the time that is shown, drills aside; most breaches on top.",
        ),
    )
    .decimals(0);
    for (place, field) in fields.iter().enumerate() {
        let prom = format!("sum by (zone) (increase(zone_{field}{ZONE}[$__range]))");
        made = made.asks(ask(prom, if place == 0 { influx.clone() } else { String::new() }));
    }
    made
}

fn again_and_false() -> Panel {
    panel(
        Look::Stat,
        t("复发与误报", "Repeats and false alarms"),
        t(
            "所选时间范围内，口径同月报。复发：30 天内同一处同类险情再次发生，处置后计入；误报：现场查明无异常（原因 false），结案后计入；撤销：到场前撤销。",
            "in the time that is shown, of the incidents of the monthly report. Repeats: the same danger at the same place within 30 days, counted once made safe. False alarms: nothing was found on the spot (cause false), counted once closed. Withdrawn: before anybody arrived.",
        ),
    )
    .decimals(0)
    .asks(grown("repeat_total").legend("复发", "repeats"))
    .asks(grown("false_alarm_total").legend("误报", "false alarms"))
    .asks(grown("voided_total").legend("撤销", "withdrawn"))
}

fn by_crew() -> Panel {
    let grown = |field: &str| format!("sum by (crew, zone) (increase(crew_{field}{ZONE}[$__range]))");
    let influx = r#"SELECT sum("arrived") AS "arrived", sum("breached") AS "breached" FROM (SELECT non_negative_difference("arrived_total") AS "arrived", non_negative_difference("breached_total") AS "breached" FROM "crew" WHERE $timeFilter AND "zone" =~ /^$zone$/ GROUP BY "crew", "zone", "node") WHERE $timeFilter GROUP BY "crew", "zone""#;
    let columns = vec![
        column("crew", "crew", t("班组", "Crew")),
        column("zone", "zone", t("片区", "Zone")),
        column("Value #A", "arrived", t("到场并处置", "Arrived and made safe")),
        column("Value #B", "breached", t("其中超时", "Of these breached")).steps(ANY),
    ];
    panel(
        Look::Table(columns, vec![(t("其中超时", "Of these breached"), true)]),
        t("各班组", "By crew"),
        t(
            "所选时间范围内，口径同月报，处置后计入负责的班组；超时原因见月报。",
            "in the time that is shown, of the incidents of the monthly report, counted once made safe for the crew that had it; why it was late: the monthly report.",
        ),
    )
    .decimals(0)
    .asks(ask(grown("arrived_total"), influx))
    .asks(ask(grown("breached_total"), ""))
}
