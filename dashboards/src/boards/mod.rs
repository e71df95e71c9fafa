//! The seven dashboards. Each file is one of them, in the order of reading; what several show stands here.

mod duty;
mod lit;
mod post;
mod rain;
mod sla;
mod system;
mod zone;

use lampguard_model::series::{INCIDENT_STATES, POST_STATES, SEVERITIES, STAGE_FIELDS, number_of};

use crate::ask::{IN_ZONE, JUST, ZONE, back, greatest, grown_per, just, newest, own};
use crate::spec::{Ask, Board, Hue, Look, Panel, Text, To, Words, ask, column, panel, t};

/// Every dashboard.
pub(crate) fn all() -> Vec<Board> {
    vec![
        duty::board(),
        zone::board(),
        post::board(),
        rain::board(),
        sla::board(),
        lit::board(),
        system::board(),
    ]
}

/// Red from one on.
const ANY: &[(f64, Hue)] = &[(1.0, Hue::Red)];
/// Orange from one on.
const SOME: &[(f64, Hue)] = &[(1.0, Hue::Orange)];
/// Limits of leakage as the policy has them when nobody changed it: 15 mA in the wet, 30 mA in the dry.
const LEAKAGE: &[(f64, Hue)] = &[(15.0, Hue::Orange), (30.0, Hue::Red)];
/// Limits of shell voltage: 12 V in the wet, 25 V in the dry.
const SHELL: &[(f64, Hue)] = &[(12.0, Hue::Orange), (25.0, Hue::Red)];
/// How far the database is behind, seconds.
const LAG: &[(f64, Hue)] = &[(60.0, Hue::Orange), (600.0, Hue::Red)];
/// Age of the newest data of a zone, seconds.
const AGE: &[(f64, Hue)] = &[(600.0, Hue::Orange), (1200.0, Hue::Red)];

/// Time that is left: red when it is over, orange in the last ten minutes.
const OVER: Words = Words::Range(None, Some(0.0), Hue::Red);
const SHORT: Words = Words::Range(Some(0.001), Some(600.0), Hue::Orange);

fn hue_of_post(state: u8) -> Hue {
    let is = |word: &str| number_of(&POST_STATES, word) == Some(state);
    match state {
        _ if is("danger") => Hue::Red,
        _ if is("warning") => Hue::Orange,
        _ if is("silent") => Hue::Purple,
        _ => Hue::Plain,
    }
}

fn hue_of_state(state: u8) -> Hue {
    if number_of(&INCIDENT_STATES, "open") == Some(state) { Hue::Red } else { Hue::Plain }
}

fn hue_of_severity(severity: u8) -> Hue {
    match severity {
        1 => Hue::Red,
        2 => Hue::Orange,
        _ => Hue::Plain,
    }
}

fn hue_of_warning(warning: u8) -> Hue {
    match warning {
        0 => Hue::Plain,
        1 | 2 => Hue::Yellow,
        3 => Hue::Orange,
        _ => Hue::Red,
    }
}

/// Words of posts' states.
const POSTS: Words = Words::Codes(&POST_STATES, hue_of_post);

const TO_BOARD: To = To { title: t("打开值班页", "open the duty board"), path: "/" };
const TO_INCIDENT: To =
    To { title: t("打开险情", "open the incident"), path: "/incidents/${__data.fields.id}" };
const TO_POST: To =
    To { title: t("打开灯杆页", "open the post's page"), path: "/posts/${__data.fields.post}" };
/// Sensors in cabinets have the pages of posts.
const TO_CABINET: To =
    To { title: t("打开控制箱页", "open the cabinet's page"), path: "/posts/${__data.fields.post}" };
const TO_CURVES: To = To {
    title: t("查看曲线", "see its curves"),
    path: "/d/lg-post?var-zone=${__data.fields.zone}&var-post=${__data.fields.post}",
};

/// What was raised, as people on duty say it.
pub const KINDS: [(&str, Text); 23] = [
    ("shell_critical", t("灯杆带电", "live lamp post")),
    ("leak_critical", t("灯杆漏电", "leaking lamp post")),
    ("immersed_leak", t("积水带电", "live in water")),
    ("sat_leak", t("漏电超量程", "leakage above range")),
    ("sensor_drowned", t("传感器浸水失联", "drowned sensor")),
    ("critical_then_silent", t("超限后失联", "silent after danger")),
    ("flag_only", t("设备报警", "device alarm")),
    ("reenergised", t("隔离区重新带电", "re-energised")),
    ("neutral_break", t("回路断零", "broken neutral")),
    ("feeder_step", t("回路漏电突增", "feeder leakage step")),
    ("shell_warning", t("外壳电压预警", "shell voltage warning")),
    ("leak_warning", t("漏电预警", "leakage warning")),
    ("column", t("灯杆受损", "damaged column")),
    ("lamp_out", t("灯不亮", "lamp out")),
    ("day_burn", t("白天亮灯", "burning by day")),
    ("supply_voltage", t("供电电压异常", "supply voltage")),
    ("offline", t("传感器失联", "sensor offline")),
    ("feeder_dark", t("回路失联", "feeder silent")),
    ("blind", t("责任区失联", "zone without data")),
    ("unmonitored", t("无漏电读数", "no leakage value")),
    ("trend", t("雨后漏电上升", "leakage grows with each rain")),
    ("system", t("系统故障", "system fault")),
    ("reported", t("市民报告", "reported by a person")),
];

/// What stands on top of every wall. Grafana has no alarm tone, nobody acknowledges here, and what it shows is as old as
/// the data of its database: how old, stands beside the words.
fn strip() -> [Panel; 3] {
    let words = t(
        "**告警以值班页为准。** 本屏只供查看，不发声、不能签收；签收、派单、到场请用[值班页](${lampguard:raw}/)。右侧“数据库落后”无数据或超过 10 分钟，本屏不可信。",
        "**Alarms: see the board.** This screen only shows; it makes no sound and acknowledges nothing. Acknowledge, dispatch and arrive on the [duty board](${lampguard:raw}/). When \"database behind\" on the right shows no data or more than 10 minutes, do not trust this screen.",
    );
    let words = panel(
        Look::Words(words),
        t("告警以值班页为准", "Alarms: see the board"),
        t("提醒：大屏不是告警通道", "a reminder: the wall is not the way of alarms"),
    );
    [words.size(16, 4), data_age().size(4, 4), behind().size(4, 4).to(TO_BOARD)]
}

/// How far the database behind this screen is behind.
fn behind() -> Panel {
    panel(
        Look::Stat,
        t("数据库落后", "Database behind"),
        t(
            "最老一条未入库记录的时间。显示“无数据”时，数据库 2 分钟没有收到 lampguard 的数据。",
            "age of the oldest record that a database has not got. \"No data\": the database has heard nothing from lampguard for 2 minutes.",
        ),
    )
    .unit("s")
    .steps(LAG)
    .asks(own("max", "tsdb_lag_s"))
}

/// How old the newest readings are, of the zones of which some have to come.
fn data_age() -> Panel {
    let (age, back) = ("zone_data_age_s", back(JUST));
    let zone = ZONE;
    panel(
        Look::Stat,
        t("数据时效", "Data age"),
        t(
            "应有数据的片区中，最新读数最旧的有多旧。白天灯杆断电，可能没有片区须上报。",
            "of the zones that have to be heard now, the age of the oldest newest reading. By day posts have no supply, and it may be that none has to.",
        ),
    )
    .unit("s")
    .steps(AGE)
    .nothing("无片区须上报，或无数据：看数据库落后", "no zone has to report, or no data: see \"database behind\"")
    .asks(ask(
        format!(
            "max(({age}{zone} + (time() - timestamp({age}{zone}))) and on (zone, node) ({} > {} + {}))",
            just("zone_posts"),
            just("zone_posts_unpowered"),
            just("zone_posts_unmonitored")
        ),
        format!(
            r#"SELECT max("v") FROM (SELECT last("data_age_s") AS "v", last("posts") - last("posts_unpowered") - last("posts_unmonitored") AS "due" FROM "zone" WHERE {back} AND {IN_ZONE} GROUP BY "zone", "node") WHERE "due" > 0"#
        ),
    ))
    .to(TO_BOARD)
}

/// PromQL: ids of incidents that are not over.
fn open_ids() -> String {
    let state = format!("max by (id) ({})", just("incident_state"));
    format!("({state} < 7 or {state} == 9 or {state} == 10)")
}

/// InfluxQL: the same, as a condition on `state`.
const OPEN: &str = r#"("state" < 7 OR "state" = 9 OR "state" = 10)"#;

/// Open incidents as a table; `which` picks some of them by their tags, in both languages of questions.
fn incidents(which: (&str, &str)) -> Panel {
    let selector = format!("{{zone=~\"$zone\"{}}}", which.0);
    let one = |field: &str| {
        format!(
            "max by (id, zone, kind, post) (last_over_time(incident_{field}{selector}[{JUST}])) and on (id) {}",
            open_ids()
        )
    };
    let fields = ["severity", "state", "remaining_s", "value"];
    let back = back(JUST);
    let inner: Vec<String> = fields.iter().map(|field| format!(r#"last("{field}") AS "{field}""#)).collect();
    let tags = r#""id", "zone", "kind", "post""#;
    let influx = format!(
        r#"SELECT "severity", "state", "remaining_s", "value" FROM (SELECT {} FROM "incident" WHERE {back} AND {IN_ZONE}{} GROUP BY {tags}) WHERE {OPEN} GROUP BY {tags}"#,
        inner.join(", "),
        which.1
    );
    let columns = vec![
        column("Value #A", "severity", t("级别", "Severity"))
            .words(Words::Codes(&SEVERITIES, hue_of_severity)),
        column("Value #C", "remaining_s", t("剩余时间", "Time left")).unit("s").words(OVER).words(SHORT),
        column("kind", "kind", t("类别", "Kind")).words(Words::Tags(&KINDS)),
        column("zone", "zone", t("片区", "Zone")),
        column("post", "post", t("灯杆", "Post")).to(TO_POST).to(TO_CURVES),
        column("Value #B", "state", t("处置状态", "State"))
            .words(Words::Codes(&INCIDENT_STATES, hue_of_state)),
        column("Value #D", "value", t("测量值", "Value")),
        column("id", "id", t("险情编号", "Incident")).to(TO_INCIDENT),
    ];
    // By state before time: Grafana sorts what is empty first, and a P1 where somebody is would stand above one that
    // nobody has.
    let danger_first = vec![
        (t("级别", "Severity"), false),
        (t("处置状态", "State"), false),
        (t("剩余时间", "Time left"), false),
    ];
    let mut made = panel(
        Look::Table(columns, danger_first),
        t("未结险情", "Open incidents"),
        t(
            "级别高的在上，同级中尚无人接手的在前，再按剩余时间。无时限或已到场的，剩余时间为空。点险情编号到值班系统处理。最多 1000 条，最危险的。",
            "the gravest on top, of these the ones that nobody has, then the least time left, which is empty without a deadline and once somebody is there. Click an incident to act on it. At most 1,000, the most dangerous ones.",
        ),
    )
    .nothing("没有未结险情，或无数据：看数据库落后", "none open, or no data: see \"database behind\"")
    .asks(ask(one(fields[0]), influx));
    // The other columns are questions of their own in PromQL, and in the first one in InfluxQL.
    made.asks.extend(fields[1..].iter().map(|field| ask(one(field), String::new())));
    made
}

/// How long the stages of an incident took.
fn stages() -> Panel {
    const LEGENDS: [Text; 6] = [
        t("通知→确认", "told → acknowledged"),
        t("确认→出发", "acknowledged → departed"),
        t("出发→到场", "departed → arrived"),
        t("到场→处置", "arrived → made safe"),
        t("处置→修复", "made safe → repaired"),
        t("修复→复核", "repaired → verified"),
    ];
    let mut made = panel(
        Look::Gauge,
        t("各阶段平均用时", "Mean time of each stage"),
        t(
            "所选时间范围内，口径同月报。前四项在处置后计入，后两项在结案后计入；未单独登记的阶段不计。",
            "in the time that is shown, of the incidents of the monthly report. The first four are counted once it is made safe, the last two once it is closed; a stage that nobody told apart is left out.",
        ),
    )
    .unit("s")
    .decimals(0)
    .scale(0.0, None);
    for ((count, sum), legend) in STAGE_FIELDS.iter().zip(LEGENDS) {
        made = made.asks(grown_per(1, sum, count).legend(legend.zh, legend.en));
    }
    made
}

/// Posts that are not normal, as rows of table and map.
fn abnormal(roads: bool) -> Ask {
    let (road_prom, road_influx) =
        if roads { (r#",road=~"$road""#, r#" AND "road" =~ /^$road$/"#) } else { ("", "") };
    let back = back(JUST);
    let tags = r#""post", "zone", "road", "geohash""#;
    ask(
        format!(
            "max by (post, zone, road, geohash) (last_over_time(abnormal_state{{zone=~\"$zone\"{road_prom}}}[{JUST}])) > 0"
        ),
        format!(
            r#"SELECT "state" FROM (SELECT last("state") AS "state" FROM "abnormal" WHERE {back} AND {IN_ZONE}{road_influx} GROUP BY {tags}) WHERE "state" > 0 GROUP BY {tags}"#
        ),
    )
}

/// Posts that are not normal, on a map of our own tiles.
fn map(roads: bool) -> Panel {
    panel(
        Look::Map,
        t("异常灯杆分布", "Abnormal posts"),
        t(
            "红：危险；橙：预警；紫：失联。底图与片区边界来自 lampguard，不需要外网。",
            "red: danger; orange: warning; purple: silent. Tiles and outlines come from lampguard, no internet is needed.",
        ),
    )
    .words(POSTS)
    .to(TO_POST)
    .asks(abnormal(roads))
}

/// Posts that are not normal, as a table.
fn abnormal_table() -> Panel {
    let columns = vec![
        column("Value", "state", t("状态", "State")).words(POSTS),
        column("post", "post", t("灯杆", "Post")).to(TO_POST).to(TO_CURVES),
        column("road", "road", t("道路", "Road")),
        column("zone", "zone", t("片区", "Zone")),
        column("geohash", "geohash", t("位置编码", "Geohash")),
    ];
    panel(
        Look::Table(columns, vec![(t("灯杆", "Post"), false)]),
        t("异常与失联灯杆", "Abnormal and silent posts"),
        t("危险、预警、失联的灯杆；最多 2000 杆。", "posts in danger, warned of or silent; at most 2,000."),
    )
    .nothing("没有异常灯杆，或无数据：看数据库落后", "none, or no data: see \"database behind\"")
    .asks(abnormal(false))
}

/// The posts of the zone with the highest value of the last hour.
fn highest(field: &str, unit: &'static str, steps: &'static [(f64, Hue)], title: Text, about: Text) -> Panel {
    let back = back("1h");
    let columns = vec![
        column("post", "post", t("灯杆", "Post")).to(TO_POST).to(TO_CURVES),
        column("zone", "zone", t("片区", "Zone")),
        column("Value", "top", t("1 小时最高", "Highest in 1 h")).unit(unit).steps(steps),
    ];
    panel(Look::Table(columns, vec![(t("1 小时最高", "Highest in 1 h"), true)]), title, about).asks(ask(
        format!("topk(10, max by (post, zone) (max_over_time(lamp_{field}{{zone=~\"$zone\"}}[1h])))"),
        format!(
            r#"SELECT top("v", "post", "zone", 10) FROM (SELECT max("{field}") AS "v" FROM "lamp" WHERE {back} AND {IN_ZONE} GROUP BY "post", "zone")"#
        ),
    ))
}

/// The lighting rate of zones: what certainly burns, and what may.
fn lighting_rate(upper: bool) -> Ask {
    let (just, back) = (|field: &str| just(&format!("zone_{field}")), back(JUST));
    let (add_prom, add_influx) = if upper {
        (format!(" - sum({})", just("lamps_unknown")), r#" - sum("unknown")"#)
    } else {
        (String::new(), "")
    };
    ask(
        format!(
            "100 - 100 * (sum({due}) - sum({lit}){add_prom}) / clamp_min(sum({due}), 1)",
            due = just("lamps_due"),
            lit = just("lamps_lit")
        ),
        format!(
            r#"SELECT 100 - 100 * (sum("due") - sum("lit"){add_influx}) / (sum("due") + 0.000001) FROM (SELECT last("lamps_due") AS "due", last("lamps_lit") AS "lit", last("lamps_unknown") AS "unknown" FROM "zone" WHERE {back} AND {IN_ZONE} GROUP BY "zone", "node")"#
        ),
    )
}

/// The same over time, zone by zone, the lower bound.
fn lighting_rate_over_time() -> Ask {
    let just = |field: &str| newest(&format!("zone_{field}{ZONE}"), JUST);
    ask(
        format!(
            "100 - 100 * (sum by (zone) ({due}) - sum by (zone) ({lit})) / clamp_min(sum by (zone) ({due}), 1)",
            due = just("lamps_due"),
            lit = just("lamps_lit")
        ),
        format!(
            r#"SELECT 100 - 100 * (sum("due") - sum("lit")) / (sum("due") + 0.000001) FROM (SELECT last("lamps_due") AS "due", last("lamps_lit") AS "lit" FROM "zone" WHERE $timeFilter AND {IN_ZONE} GROUP BY time($__interval), "zone", "node" fill(none)) WHERE $timeFilter GROUP BY time($__interval), "zone" fill(null)"#
        ),
    )
    .legend("{zone}", "{zone}")
}

/// Rain by zone, as bars behind a picture or by itself.
fn rain() -> Ask {
    ask(
        format!("max by (zone) ({})", greatest("weather_rain_mm_h", "60m")),
        r#"SELECT max("rain_mm_h") FROM "weather" WHERE $timeFilter GROUP BY time($__interval), "zone" fill(none)"#,
    )
    .legend("雨强 {zone}", "rain {zone}")
}
