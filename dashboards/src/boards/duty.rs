//! LG-01: the night shift's wall.

use super::{ANY, LEAKAGE, OVER, SHORT, SOME, TO_BOARD, incidents, lighting_rate, map, rain, strip};
use crate::ask::{city, growth, zones, zones_over_time};
use crate::spec::{Board, Draw, Hue, Look, Panel, Text, Var, Words, panel, t};

fn count(title: Text, about: Text, field: &str) -> Panel {
    panel(Look::Stat, title, about).size(3, 4).asks(city("sum", field)).to(TO_BOARD)
}

pub(super) fn board() -> Board {
    let mut panels = Vec::from(strip());
    panels.extend(stats());
    panels.extend([
        incidents(("", "")).size(14, 11),
        map(true).size(10, 11),
        by_zone().size(6, 8),
        worst().size(10, 8),
        panel(
            Look::Lines(Draw::Lines),
            t("各片区最大漏电流", "Highest leakage by zone"),
            t(
                "虚线为默认限值：潮湿 15 mA、干燥 30 mA；实际限值以策略为准。",
                "dashed: the default limits, 15 mA in the wet and 30 mA in the dry; the policy decides.",
            ),
        )
        .size(8, 8)
        .unit("mamp")
        .scale(0.0, None)
        .steps(LEAKAGE)
        .asks(zones_over_time("max", "leakage_ma_max")),
        panel(
            Look::Lines(Draw::Steps),
            t("雨强与新险情", "Rain, and incidents opened"),
            t(
                "线：各片区雨强；柱（右轴）：每个统计间隔内的新险情。",
                "lines: rain by zone; bars (right): incidents opened in each interval.",
            ),
        )
        .size(24, 7)
        .unit("suffix: mm/h")
        .scale(0.0, None)
        .every("1m")
        .gap(60)
        .asks(rain())
        .asks(growth("opened_total").legend("新险情", "opened"))
        .right("none"),
    ]);
    Board {
        uid: "lg-duty",
        title: t("LG-01 值班总览", "LG-01 Duty overview"),
        about: t(
            "夜班大屏：未结险情、时限、失联、亮灯率、雨。",
            "the night's wall: incidents, deadlines, silence, lamps, rain.",
        ),
        refresh: "10s",
        back: "now-12h",
        vars: &[Var::Zones, Var::Roads, Var::Interval],
        panels,
    }
}

fn stats() -> Vec<Panel> {
    vec![
        count(
            t("未结 P1", "Open P1"),
            t(
                "可能致人触电、30 分钟内须到场的险情。",
                "may kill; somebody has to be there within 30 minutes.",
            ),
            "open_p1",
        )
        .steps(ANY),
        count(
            t("未结 P2", "Open P2"),
            t("重要险情，按时限处理。", "to be dealt with by its deadline."),
            "open_p2",
        )
        .steps(SOME),
        count(
            t("未签收", "Not acknowledged"),
            t(
                "还没有人接手的 P1 与两小时内到期的 P2；24 小时清单不计。",
                "P1, and P2 due within two hours, that nobody has taken; the worklist of a day aside.",
            ),
            "open_unacknowledged",
        )
        .steps(ANY),
        count(
            t("已超时", "Breached"),
            t(
                "未按时到场的未结险情，含迟到的与 24 小时清单。",
                "open, and nobody was there by the deadline; also where somebody came late, and the worklist of a day.",
            ),
            "open_breached",
        )
        .steps(ANY),
        panel(
            Look::Stat,
            t("最短剩余时间", "Least time left"),
            t(
                "P1 与两小时内到期的 P2 中，离最近一个到场时限还有多久；负数表示已超时。",
                "of P1, and P2 due within two hours, to the next deadline to arrive; negative after it.",
            ),
        )
        .size(3, 4)
        .unit("s")
        .words(OVER)
        .words(SHORT)
        .nothing("无时限，或无数据", "none running, or no data")
        .asks(city("min", "remaining_s_min"))
        .to(TO_BOARD),
        count(
            t("失联灯杆", "Silent posts"),
            t(
                "该有数据而没有数据的灯杆。失联不等于正常。",
                "should report and do not. Silence is not normal.",
            ),
            "posts_silent",
        )
        .steps(&[(1.0, Hue::Purple)]),
        lit(),
    ]
}

fn lit() -> Panel {
    panel(
        Look::Stat,
        t("亮灯率（下限）", "Lighting rate, lower bound"),
        t(
            "应亮而确知亮着的比例，目标 99.5%；白天无应亮灯，显示 100%。",
            "of the lamps that are due, those known to burn; goal 99.5 %. By day none are due: 100 %.",
        ),
    )
    .size(6, 4)
    .unit("percent")
    .decimals(2)
    .words(Words::Range(None, Some(99.5), Hue::Orange))
    .asks(lighting_rate(false))
}

fn by_zone() -> Panel {
    panel(
        Look::Gauge,
        t("各片区未结险情", "Open incidents by zone"),
        t("P1 与 P2，按片区。", "P1 and P2, by zone."),
    )
    .steps(ANY)
    .scale(0.0, None)
    .asks(zones("sum", "open_p1").legend("{zone} P1", "{zone} P1"))
    .asks(zones("sum", "open_p2").legend("{zone} P2", "{zone} P2"))
}

fn worst() -> Panel {
    panel(
        Look::Timeline,
        t("各片区 P1 数与失联", "P1 and blindness by zone"),
        t(
            "红色：该时段有 P1，或整个片区失联（应有数据而没有，由规则判定）。",
            "red: there were P1, or the whole zone was blind: it had to be heard and was not, as the rules found.",
        ),
    )
    .steps(ANY)
    .asks(zones_over_time("max", "open_p1").legend("{zone} P1", "{zone} P1"))
    .asks(zones_over_time("max", "blind").legend("{zone} 失联", "{zone} blind"))
}
