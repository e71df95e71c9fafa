//! LG-07: lampguard itself.

use super::{ANY, LAG, behind, data_age};
use crate::ask::{own, own_over_time, own_rate, own_ratio};
use crate::spec::{Board, Draw, Hue, Look, Panel, Text, Var, Words, panel, t};

pub(super) fn board() -> Board {
    let mut panels = numbers();
    panels.extend(further());
    panels.extend(curves());
    panels.extend(behind_us());
    panels.extend(people());
    Board {
        uid: "lg-system",
        title: t("LG-07 系统健康", "LG-07 System health"),
        about: t(
            "lampguard 自身：收数、落盘、数据库、判定、通知、资源。告警规则见 deploy/grafana/alerting。",
            "lampguard itself: receiving, disk, database, judging, telling, resources. Alert rules: deploy/grafana/alerting.",
        ),
        refresh: "1m",
        back: "now-6h",
        vars: &[Var::Zones, Var::Interval],
        panels,
    }
}

fn number(title: Text, about: Text, how: &str, field: &str) -> Panel {
    panel(Look::Stat, title, about).size(4, 4).asks(own(how, field))
}

fn numbers() -> Vec<Panel> {
    vec![
        data_age().size(4, 4),
        number(
            t("流水已停", "Journal stopped"),
            t(
                "不为 0：磁盘写不进，停止应答；告警照常。",
                "not 0: the disk takes nothing, acknowledgements stop; alarms go on.",
            ),
            "max",
            "journal_stopped",
        )
        .steps(ANY),
        number(
            t("账目", "Books"),
            t(
                "收到 = 已存 + 重复 + 隔离 + 拒收 + 在途；0 为不平。",
                "received = stored + duplicate + quarantined + refused + pending; 0: they do not agree.",
            ),
            "min",
            "balanced",
        )
        .words(Words::Range(None, Some(0.5), Hue::Red)),
        number(
            t("断开的 broker", "Brokers down"),
            t("没有连上的消息服务器。", "brokers that are not connected."),
            "sum",
            "brokers_down",
        )
        .steps(ANY),
        number(
            t("失败的通道", "Channels failing"),
            t(
                "最近一次通知失败的通道：人可能收不到告警。",
                "channels whose last attempt failed: people may hear nothing.",
            ),
            "sum",
            "channels_down",
        )
        .steps(ANY),
    ]
}

fn further() -> Vec<Panel> {
    vec![
        number(
            t("险情库写不进", "Incident store failing"),
            t("不为 0：险情暂在内存，先查磁盘。", "not 0: incidents are in memory alone, look at the disk."),
            "max",
            "store_failing",
        )
        .steps(ANY),
        behind().size(4, 4),
        number(
            t("在途读数", "Readings pending"),
            t("还没有去向的读数。", "readings without an outcome yet."),
            "sum",
            "pending",
        ),
        number(
            t("传感器连接", "Sensor connections"),
            t("接入端当前连接数。", "open connections of the listener."),
            "sum",
            "connections",
        ),
        number(t("未结险情", "Open incidents"), t("不含演练。", "drills aside."), "sum", "open_incidents"),
        number(
            t("未列出的险情", "Incidents left out"),
            t("超过 1000 条时，未写入 incident 的条数。", "beyond 1,000: how many are not in `incident`."),
            "sum",
            "incidents_left_out",
        )
        .steps(&[(1.0, Hue::Orange)]),
        number(t("运行时长", "Running for"), t("本次启动以来。", "since this start."), "min", "uptime_s")
            .unit("s"),
    ]
}

fn lines(title: Text, about: Text, unit: &'static str) -> Panel {
    panel(Look::Lines(Draw::Lines), title, about).size(8, 7).unit(unit).scale(0.0, None).every("30s")
}

fn curves() -> Vec<Panel> {
    vec![
        lines(
            t("收数（每秒）", "Received, a second"),
            t("收到、已存、重复。", "received, stored, duplicates."),
            "none",
        )
        .asks(own_rate("received_total").legend("收到", "received"))
        .asks(own_rate("stored_total").legend("已存", "stored"))
        .asks(own_rate("duplicate_total").legend("重复", "duplicates")),
        lines(
            t("有问题的读数（每秒）", "Readings with faults, a second"),
            t(
                "隔离、拒收、修补、缺号；时钟超前：时间比本机快 5 分钟以上。",
                "quarantined, refused, mended, gaps; clock ahead: more than 5 minutes ahead of ours.",
            ),
            "none",
        )
        .asks(own_rate("quarantined_total").legend("隔离", "quarantined"))
        .asks(own_rate("refused_total").legend("拒收", "refused"))
        .asks(own_rate("mended_total").legend("修补", "mended"))
        .asks(own_rate("gap_total").legend("缺号", "gaps"))
        .asks(own_rate("clock_ahead_total").legend("时钟超前", "clock ahead")),
        lines(
            t("收到至首个通道", "From receipt to the first channel"),
            t(
                "每个统计间隔内的平均秒数；没有告警时为 0。",
                "mean seconds in each interval; 0 without alarms.",
            ),
            "s",
        )
        .decimals(3)
        .steps(&[(1.0, Hue::Orange)])
        .asks(own_ratio("alarm_s_total", "alarm_total", 1).legend("平均", "mean")),
        lines(
            t("流水提交", "Commits of the journal"),
            t("一次写入与 fdatasync 的平均秒数。", "mean seconds of one write and fdatasync."),
            "s",
        )
        .decimals(4)
        .asks(own_ratio("commit_s_total", "commit_total", 1).legend("平均", "mean")),
    ]
}

fn behind_us() -> Vec<Panel> {
    vec![
        lines(
            t("磁盘缓存", "Disk buffer"),
            t(
                "流水占用；柱（右轴）：最慢的跟随者落后的读数。",
                "bytes of the journal; bars (right): readings behind the slowest follower.",
            ),
            "bytes",
        )
        .asks(own_over_time("journal_bytes").legend("流水", "journal"))
        .asks(own_over_time("journal_pending").legend("落后", "behind"))
        .right("none"),
        lines(
            t("数据库写入（每秒）", "Written to databases, a second"),
            t("已写入、被拒绝、放弃。", "accepted, rejected, given up."),
            "none",
        )
        .asks(own_rate("tsdb_written_total").legend("写入", "accepted"))
        .asks(own_rate("tsdb_rejected_total").legend("拒绝", "rejected"))
        .asks(own_rate("points_dropped_total").legend("放弃", "given up")),
        lines(
            t("数据库落后", "Database behind"),
            t("秒；告警不经过数据库。", "seconds; alarms do not pass through it."),
            "s",
        )
        .steps(LAG)
        .asks(own_over_time("tsdb_lag_s").legend("落后", "behind")),
        lines(
            t("通知（每秒）", "Notices, a second"),
            t("通道接受的与放弃的。", "accepted by a channel, and given up."),
            "none",
        )
        .decimals(3)
        .asks(own_rate("notices_sent_total").legend("已接受", "accepted"))
        .asks(own_rate("notices_failed_total").legend("放弃", "given up")),
        lines(
            t("判定（每秒）", "Judged, a second"),
            t("过规则的读数。", "readings that passed the rules."),
            "none",
        )
        .asks(own_rate("judged_total").legend("判定", "judged")),
        lines(t("处理器", "Processor"), t("占用的核数。", "cores in use."), "none")
            .decimals(2)
            .asks(own_rate("cpu_s_total").legend("核", "cores")),
        lines(
            t("内存", "Memory"),
            t(
                "进程内存；柱（右轴）：未应答消息占用。",
                "of the process; bars (right): messages not acknowledged.",
            ),
            "bytes",
        )
        .asks(own_over_time("memory_bytes").legend("内存", "memory"))
        .asks(own_over_time("held_bytes").legend("未应答", "unacknowledged"))
        .right("bytes"),
        lines(
            t("待写险情", "Waiting for the incident store"),
            t("等待写入险情库的条数。", "writes that wait for the incident store."),
            "none",
        )
        .asks(own_over_time("store_pending").legend("等待", "waiting")),
    ]
}

fn people() -> Vec<Panel> {
    vec![
        lines(
            t("网页与接口连接", "Connections of pages"),
            t(
                "浏览器、手机与程序的连接数；柱（右轴）：每秒因超限被拒的连接。",
                "of browsers, phones and programs; bars (right): turned away a second, beyond the limits.",
            ),
            "none",
        )
        .asks(own_over_time("web_connections").legend("连接", "connections"))
        .asks(own_rate("web_refused_total").legend("被拒", "turned away"))
        .right("none"),
        lines(
            t("值班页有人看", "Somebody at the board"),
            t(
                "值班账号每秒打开页面的次数：一个打开的值班页约 0.1；为 0 时无人看板，有险情会直接打值班电话。",
                "loads a second by people signed in on duty: an open board makes some 0.1; at 0 nobody looks, and the desk is rung of what opens.",
            ),
            "none",
        )
        .decimals(2)
        .asks(own_rate("presence_total").legend("次", "loads")),
    ]
}
