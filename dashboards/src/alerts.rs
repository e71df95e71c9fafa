//! Alert rules that watch lampguard itself: Grafana's and Prometheus' files from one list.
//!
//! They are not the alarms: dangers in the street go from our own rules to our own channels, with the database down. These
//! tell an administrator that lampguard, or what it stands on, needs a hand, by a way that does not pass through lampguard.
//! Names of `/metrics` need a scrape (`deploy/scrape.yml`); `zone_…` come with the rows that lampguard writes itself.

use std::fmt::Write as _;

use crate::spec::{Lang, Text, t};

/// How urgent for the administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody gets up.
    Critical,
    /// Today.
    Warning,
}

impl Urgency {
    /// The word in labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Alert {
    /// Name.
    pub name: &'static str,
    /// What is told when it has an answer.
    pub expr: &'static str,
    /// After so long.
    pub hold: &'static str,
    /// How urgent.
    pub urgency: Urgency,
    /// In a few words.
    pub summary: Text,
    /// What to do.
    pub cure: Text,
}

const fn alert(
    name: &'static str,
    urgency: Urgency,
    hold: &'static str,
    expr: &'static str,
    summary: Text,
    cure: Text,
) -> Alert {
    Alert { name, expr, hold, urgency, summary, cure }
}

use Urgency::{Critical, Warning};

/// Every rule, the most urgent first.
pub const ALERTS: [Alert; 21] = [
    alert(
        "LampguardDown",
        Critical,
        "1m",
        r#"up{job="lampguard"} == 0 or absent(up{job="lampguard"})"#,
        t("lampguard 没有应答", "lampguard does not answer"),
        t(
            "没有人在判定漏电。查 systemctl status lampguard 与日志；值班台改用电话与巡查。",
            "nobody judges leakage. See systemctl status lampguard and its log; the desk goes over to telephone and patrol.",
        ),
    ),
    alert(
        "LampguardIngesterSilent",
        Critical,
        "5m",
        // By day whole cities have no supply. Without rows of zones nothing is taken back: then it is told.
        "sum(increase(lampguard_ingester_received_total[10m])) == 0 unless on () (sum(last_over_time(zone_posts[5m])) <= sum(last_over_time(zone_posts_unpowered[5m])) + sum(last_over_time(zone_posts_unmonitored[5m])))",
        t("10 分钟没有收到任何读数", "no reading was received for 10 minutes"),
        t(
            "查 broker、网络、接入端口；lampguard doctor。",
            "look at broker, network, the listener's port; lampguard doctor.",
        ),
    ),
    alert(
        "LampguardZoneWithoutData",
        Critical,
        "2m",
        // Longer than the longest stand-by (30 min). A zone whose posts have no supply or no sensor need not be heard.
        "max by (zone) (last_over_time(zone_data_age_s[5m])) > 2400 unless on (zone) (sum by (zone) (last_over_time(zone_posts[5m])) <= sum by (zone) (last_over_time(zone_posts_unpowered[5m])) + sum by (zone) (last_over_time(zone_posts_unmonitored[5m])))",
        t(
            "片区 {{ .Labels.zone }} 40 分钟没有新数据",
            "zone {{ .Labels.zone }} has had no data for 40 minutes",
        ),
        t(
            "查该片区网关与网络；值班台安排巡查。",
            "look at gateways and network of the zone; the desk sends a patrol.",
        ),
    ),
    alert(
        "LampguardZoneBlind",
        Critical,
        "1m",
        "max by (zone) (last_over_time(zone_blind[5m])) == 1",
        t("片区 {{ .Labels.zone }} 失联", "zone {{ .Labels.zone }} is blind"),
        t("原因见值班页片区一栏（blind_because）。", "the board tells why (blind_because)."),
    ),
    alert(
        "LampguardJournalStopped",
        Critical,
        "1m",
        "lampguard_journal_stopped == 1",
        t("流水写不进，已停止应答", "the journal takes nothing, acknowledgements have stopped"),
        t(
            "查磁盘空间与错误；告警照常，传感器与 broker 暂存读数。",
            "look at the disk; alarms go on, sensors and broker keep the readings.",
        ),
    ),
    alert(
        "LampguardNotAcknowledging",
        Critical,
        "5m",
        "min_over_time(lampguard_ingester_held_bytes[5m]) > 33554432",
        t(
            "未应答的消息超过 32 MiB 已 5 分钟",
            "more than 32 MiB of messages have waited for their acknowledgement for 5 minutes",
        ),
        t("磁盘太慢或已满；到 64 MiB 时停止读取。", "the disk is slow or full; at 64 MiB reading stops."),
    ),
    alert(
        "LampguardBrokerDown",
        Critical,
        "1m",
        "lampguard_broker_up == 0",
        t("broker {{ .Labels.broker }} 断开", "broker {{ .Labels.broker }} is not connected"),
        t("查 broker 与网络；lampguard doctor。", "look at the broker and the way to it; lampguard doctor."),
    ),
    alert(
        "LampguardIncidentStoreFailing",
        Critical,
        "1m",
        "lampguard_alerting_store_failing == 1",
        t("险情库写不进", "the incident store refuses writes"),
        t(
            "险情暂在内存，重启会丢处置记录：先修磁盘，不要重启。",
            "incidents are in memory: mend the disk first, do not restart.",
        ),
    ),
    alert(
        "LampguardChannelFailing",
        Critical,
        "1m",
        "lampguard_alerting_channel_up == 0",
        t(
            "通知通道 {{ .Labels.channel }} 失败",
            "channel {{ .Labels.channel }} does not take what it is told",
        ),
        t(
            "人可能收不到告警；查通道密钥、额度、网络。",
            "people may hear nothing; look at its secret, its quota, the network.",
        ),
    ),
    alert(
        "LampguardNoticesFailing",
        Critical,
        "1m",
        r#"sum by (channel) (increase(lampguard_alerting_notice_total{outcome=~"failed|undelivered"}[10m])) > 0"#,
        t("通道 {{ .Labels.channel }} 有通知没有送到", "notices by {{ .Labels.channel }} did not arrive"),
        t("值班页“通知”可见是谁没收到；电话补告。", "the board shows whom; call them."),
    ),
    alert(
        "LampguardAlarmSlow",
        Critical,
        "2m",
        "histogram_quantile(0.99, sum by (le) (rate(lampguard_alerting_alarm_seconds_bucket[10m]))) > 2",
        t("告警从收到到发出超过 2 秒", "alarms take more than 2 s from receipt to the first channel"),
        t("机器过载或通道挂起；看 LG-07。", "the machine is overloaded or a channel hangs; see LG-07."),
    ),
    alert(
        "LampguardProofFailing",
        Critical,
        "2m",
        "lampguard_proof_up == 0",
        t("片区 {{ .Labels.zone }} 自检不通", "the proof of zone {{ .Labels.zone }} does not come out"),
        t(
            "真的漏电也可能不通：按 docs/watching.md 查到哪一步。",
            "a real leak may not come through either: docs/watching.md tells the step.",
        ),
    ),
    alert(
        "LampguardDiskBufferGrowing",
        Warning,
        "15m",
        "max by (follower) (lampguard_journal_pending_readings) > 100000 and max by (follower) (deriv(lampguard_journal_pending_readings[15m])) > 0",
        t("{{ .Labels.follower }} 落后并在增长", "{{ .Labels.follower }} is behind and falls further behind"),
        t(
            "查该数据库或磁盘；超过 max_lag_bytes 会有缺口。",
            "look at that database or the disk; beyond max_lag_bytes there will be a gap.",
        ),
    ),
    alert(
        "LampguardDatabaseBehind",
        Warning,
        "5m",
        "lampguard_tsdb_lag_seconds > 300",
        t("时序库落后 5 分钟以上", "the time-series database is more than 5 minutes behind"),
        t("大屏是旧的；告警不受影响。", "walls show old data; alarms are not affected."),
    ),
    alert(
        "LampguardDatabaseDown",
        Warning,
        "2m",
        r#"lampguard_tsdb_up{job!=""} == 0"#,
        t("时序库没有应答", "a time-series database does not answer"),
        t(
            "大屏不可信；数据留在流水，恢复后补写。",
            "do not trust the walls; the journal keeps the data and sends them later.",
        ),
    ),
    alert(
        "LampguardSeriesDown",
        Warning,
        "1m",
        "lampguard_series_up == 0",
        t("片区与险情不再写入时序库", "rows of zones and incidents are not made any more"),
        t(
            "大屏停在旧数据；告警不受影响。看日志，重启 lampguard。",
            "walls stand still; alarms are not affected. See the log, restart lampguard.",
        ),
    ),
    alert(
        "LampguardRowsRejected",
        Warning,
        "5m",
        r#"sum by (reason) (increase(lampguard_tsdb_rejected_total{job!=""}[15m])) > 0"#,
        t("时序库拒收：{{ .Labels.reason }}", "the database rejects rows: {{ .Labels.reason }}"),
        t(
            "被拒的行在数据目录中，见 docs/operations.md。",
            "the rows are kept in the data directory, see docs/operations.md.",
        ),
    ),
    alert(
        "LampguardClock",
        Warning,
        "5m",
        "sum(increase(lampguard_ingester_clock_ahead_total[10m])) > 0.1 * sum(increase(lampguard_ingester_stored_total[10m])) + 10",
        t("许多读数的时间比本机快 5 分钟以上", "many readings are more than 5 minutes ahead of our clock"),
        t("本机时钟可能慢了：查 chrony/NTP。", "our own clock may be slow: look at chrony or NTP."),
    ),
    alert(
        "LampguardRotaGap",
        Warning,
        "15m",
        "lampguard_alerting_rota_gap_hours > 0",
        t(
            "片区 {{ .Labels.zone }} 未来 7 天有缺岗",
            "zone {{ .Labels.zone }} has hours without a crew in the next 7 days",
        ),
        t("lampguard plan 查看，补排班。", "see lampguard plan, and fill the rota."),
    ),
    alert(
        "LampguardCertificateEnds",
        Warning,
        "1h",
        "lampguard_certificate_ends_in_seconds < 30 * 86400",
        t(
            "证书 {{ .Labels.certificate }} 读不出、已过期或 30 天内到期",
            "certificate {{ .Labels.certificate }} cannot be read, has ended or ends within 30 days",
        ),
        t(
            "到期后传感器、broker 或浏览器连不上：lampguard certs --renew，把新文件放回原处，不必重启；broker_server 是 broker 自己的，换它的文件并重新加载。",
            "sensors, broker or browsers stay outside then: lampguard certs --renew, new files in the old place, no restart; broker_server is the broker's own: replace its files and reload it.",
        ),
    ),
    alert(
        "LampguardReloadFailing",
        Warning,
        "5m",
        "lampguard_reload_failing == 1",
        t("改过的配置有错，仍按旧的运行", "the changed files have faults, what held before holds on"),
        t("看日志，lampguard config check。", "see the log, lampguard config check."),
    ),
];

/// A text in quotes, as YAML and JSON both read it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const HEAD: &str = "# Made by `lampguard dashboards export`; do not edit: the next export overwrites it.\n";

fn both(text: Text) -> String {
    format!("{} / {}", text.zh, text.en)
}

/// Rules for Prometheus and vmalert.
pub fn prometheus() -> String {
    let mut out = String::from(HEAD);
    out.push_str("# Prometheus: rule_files; vmalert: -rule=FILE. They watch lampguard itself; dangers in the street are told by\n");
    out.push_str("# lampguard's own channels. zone_… comes from the rows that lampguard writes (VictoriaMetrics), the rest from /metrics.\n");
    out.push_str("groups:\n  - name: lampguard\n    interval: 30s\n    rules:\n");
    for one in &ALERTS {
        // Writing into a text cannot fail.
        let _ = write!(
            out,
            "      - alert: {}\n        expr: {}\n        for: {}\n        labels:\n          severity: {}\n        annotations:\n          summary: {}\n          description: {}\n",
            one.name,
            quoted(one.expr),
            one.hold,
            one.urgency.word(),
            quoted(&both(one.summary)),
            quoted(&both(one.cure)),
        );
    }
    out
}

/// `LampguardDown` → `lampguard-down`.
fn uid(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The same rules for Grafana's own alerting, in one language.
pub fn grafana(lang: Lang) -> String {
    let mut out = String::from(HEAD);
    out.push_str("# Into /etc/grafana/provisioning/alerting/. Asks the data source lampguard-prom; no answer is no alert, but for\n");
    out.push_str("# LampguardDown, which asks for what is absent. Contact points are the office's own.\n");
    out.push_str("apiVersion: 1\ngroups:\n  - orgId: 1\n    name: lampguard\n    folder: lampguard\n    interval: 30s\n    rules:\n");
    for one in &ALERTS {
        let uid = uid(one.name);
        let _ = write!(
            out,
            "      - uid: {uid}\n        title: {}\n        condition: C\n        for: {}\n        noDataState: OK\n        execErrState: Error\n        labels:\n          severity: {}\n        annotations:\n          summary: {}\n          description: {}\n        data:\n",
            one.name,
            one.hold,
            one.urgency.word(),
            quoted(one.summary.of(lang)),
            quoted(one.cure.of(lang)),
        );
        let _ = write!(
            out,
            "          - refId: A\n            relativeTimeRange: {{ from: 900, to: 0 }}\n            datasourceUid: lampguard-prom\n            model: {{ refId: A, expr: {}, instant: true, range: false }}\n",
            quoted(&counted(one.expr)),
        );
        out.push_str("          - refId: C\n            relativeTimeRange: { from: 0, to: 0 }\n            datasourceUid: __expr__\n            model: { refId: C, type: threshold, expression: A, conditions: [{ evaluator: { type: gt, params: [0] } }] }\n");
    }
    out
}

/// Grafana compares with a number; an answer of ours may be 0 (`up == 0`). So every answer becomes 1.
fn counted(expr: &str) -> String {
    format!("({expr}) * 0 + 1")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::lint::check_promql;

    #[test]
    fn every_rule_can_be_read_and_names_what_exists() {
        let mut names = BTreeSet::new();
        for one in &ALERTS {
            assert!(names.insert(one.name), "{} stands twice", one.name);
            assert_eq!(check_promql(one.expr), Vec::<String>::new(), "{}", one.name);
            assert_eq!(check_promql(&counted(one.expr)), Vec::<String>::new(), "{}", one.name);
            assert!(uid(one.name).len() <= 40, "{}", uid(one.name));
        }
        assert_eq!(uid("LampguardDown"), "lampguard-down");
        for wrong in [
            "max by (zoone) (lampguard_broker_up)",
            concat!("lampguard_", "nobody == 0"),
            "lampguard_tsdb_up{zone=\"z1\"}",
        ] {
            assert_eq!(check_promql(wrong).len(), 1, "{wrong}: {:?}", check_promql(wrong));
        }
    }
}
