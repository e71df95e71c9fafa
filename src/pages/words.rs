//! Every word of the pages, Chinese and English, in one table. Titles of kinds stand in alerting's `notice_text.rs`.

use lampguard_alerting::Signal;
use lampguard_alerting::life::{DEAD, GUARDED, Method, Stage, TREAT_AS_LIVE, Verb};
use lampguard_model::Field;

pub(crate) use crate::api::Lang;

/// One text in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) &'static str, pub(crate) &'static str);

impl Text {
    pub(crate) fn of(self, lang: Lang) -> &'static str {
        lang.pick(self.0, self.1)
    }
}

macro_rules! words {
    ($($name:ident: $zh:literal, $en:literal;)*) => {
        $(pub(crate) const $name: Text = Text($zh, $en);)*
        #[cfg(test)]
        const TABLE: &[(&str, Text)] = &[$((stringify!($name), $name),)*];
    };
}

words! {
    // The frame of every page.
    BOARD: "值班看板", "Duty board";
    REPORT: "电话报警", "Hazard by phone";
    HAND_TEST: "手测登记", "Hand test";
    OTHER_LANG: "English", "中文";
    SIGN_IN: "登录", "Sign in";
    SIGN_OUT: "退出", "Sign out";
    SIMULATED: "模拟数据 – 非真实灯杆", "Simulated data: not real posts";
    DRILL: "演练", "Drill";
    AS_OF: "页面时间", "Page as of";
    DATA_AGE: "最新数据", "Newest data";
    NO_DATA: "尚无数据", "no data yet";
    SYSTEM: "系统", "System";
    ALL_GOOD: "正常", "good";
    FAILING: "异常", "failing";
    JOURNAL_STOPPED: "磁盘不可写，报警继续", "disk takes nothing, alarms go on";
    DONE: "已记录", "Recorded";
    NOT_DURABLE: "已生效；磁盘暂不可写，将补写", "done; the disk takes nothing now and gets it later";
    BACK: "返回", "Back";
    // Zones.
    ZONE: "责任区", "Zone";
    REPORTING: "在报", "reporting";
    BLIND_SINCE: "失联自", "blind since";
    BECAUSE: "原因", "because";
    LIGHTING: "亮灯率", "lighting";
    NO_LAMPS_DUE: "未到亮灯时间", "no lamps due";
    ON_DUTY: "当班", "on duty";
    NOBODY_ON_DUTY: "无人当班", "nobody on duty";
    UNTIL: "至", "until";
    WET: "潮湿限值", "wet limits";
    WET_SHORT: "潮湿", "wet";
    DRY: "干燥限值", "dry limits";
    WEATHER_UNKNOWN: "天气未知，按潮湿限值", "weather unknown, wet limits";
    HIGHEST: "最高", "highest";
    // The list.
    OPEN_INCIDENTS: "未结险情", "Open incidents";
    NONE_OPEN: "当前没有未结险情", "No open incidents";
    NONE_FOUND: "筛选条件下没有险情", "No incidents for this filter";
    ALL: "全部", "All";
    ALL_ZONES: "全部责任区", "All zones";
    SHELVED: "已暂挂", "Shelved";
    DRILLS: "演练中", "drills";
    BY_ROAD: "按道路", "By road";
    MORE_ROADS: "条道路未列出", "more roads";
    NO_ROAD: "未登记道路", "no road";
    PAGE: "第", "page";
    NEXT_PAGE: "下一页", "Next page";
    PREVIOUS_PAGE: "上一页", "Previous page";
    OVERDUE: "超时", "Overdue";
    LEFT: "剩余", "left";
    NO_DEADLINE: "无时限", "no deadline";
    DUE: "到场时限", "due";
    IN_TIME: "按时到场", "arrived in time";
    ARRIVED_LATE: "超时到场", "arrived late";
    UNPROVEN: "到场未核实", "arrival not proven";
    BREACHED: "已超时", "breached";
    TOLD_NOBODY: "未通知到任何人", "told to nobody";
    TOLD: "已通知", "told";
    TELLING: "通知中", "telling";
    NOT_TOLD: "仅列入清单", "list only";
    TOLD_UNKNOWN: "通知情况不明", "telling unknown";
    FAILED: "失败", "failed";
    QUEUED: "等待", "queued";
    SENT: "已送出", "sent";
    DELIVERED: "已送达", "delivered";
    NO_CREW: "无人接手", "nobody has it";
    ACT: "处置", "Act";
    MAINTENANCE: "检修中", "planned work";
    // One incident.
    WHAT_TO_DO: "现在可做", "What can be done now";
    TIMELINE: "处置经过", "Timeline";
    EVIDENCE: "依据", "Evidence";
    NOTICES: "通知记录", "Notices";
    NO_NOTICES: "没有通知", "No notices";
    MEMBERS: "涉及灯杆", "Posts named";
    LINKS: "关联险情", "Linked incidents";
    MEASURED: "测量", "measured";
    RECEIVED: "收到", "received";
    CLAIMED: "自报", "claimed";
    RULE: "规则", "rule";
    POLICY: "方案", "policy";
    LIMIT: "限值", "limit";
    SIGNAL: "信号", "Signal";
    OPENED: "发生", "opened";
    CALLER: "来电", "caller";
    TO: "收信人", "To";
    CHANNEL: "通道", "Channel";
    OUTCOME: "结果", "Outcome";
    ATTEMPTS: "次数", "Tries";
    STEP: "级", "Step";
    TIME: "时间", "Time";
    EVENT: "事项", "Event";
    WAITS_FOR_SECOND: "等待另一人同意", "Waits for a second person";
    ASKED_BY: "申请人", "asked by";
    AGREE: "同意并执行", "Agree, and do it";
    OTHER_PERSON: "须由另一账号同意", "another account has to agree";
    OVER: "已结束，只能补记", "It is over: notes only";
    NO_MOVES: "此账号不可操作", "This account only looks";
    ISOLATION_ASKED: "已请求断电", "Isolation asked for";
    ANSWER: "答复", "answer";
    // Fields of forms.
    ON_BEHALF_OF: "代录：由谁完成（姓名）", "On behalf of (name)";
    HOW_TOLD: "获知方式", "How it was told";
    WEB: "本人网页", "this page, myself";
    PHONE: "电话代录", "by phone, written down";
    RADIO: "对讲机代录", "by radio, written down";
    SMS: "短信代录", "by message, written down";
    AT: "发生时刻（不填为现在）", "At (empty: now)";
    NOTE: "备注", "Note";
    POST_NUMBER: "灯杆编号（核实到场）", "Post number (proves the arrival)";
    METHOD: "方式", "Method";
    BREAKER: "断开的开关（断电必填）", "Breaker (needed when isolated)";
    EXTENT: "断电范围（断电必填）", "Extent (needed when isolated)";
    EXTENT_POST: "仅此灯杆", "this post";
    EXTENT_FEEDER: "整个回路", "the whole feeder";
    CAUSE: "原因（误报填 false）", "Cause (false alarm: false)";
    PARTS: "更换部件（没有填“无”）", "Parts (none: write none)";
    READING_AFTER: "处理后读数", "Reading afterwards";
    SHELL_V: "外壳电压 V", "Shell voltage V";
    LEAKAGE_MA: "漏电流 mA", "Leakage mA";
    PEN_BAND: "测电笔档位 V", "Test pen band V";
    CHECK: "结论", "Verdict";
    CHECK_OK: "正常", "ok";
    CHECK_SUSPECT: "可疑", "suspect";
    CHECK_LIVE: "带电", "live";
    SUPPLY: "供电", "Supply";
    SUPPLY_ON: "有电", "on";
    SUPPLY_OFF: "无电", "off";
    SUPPLY_UNKNOWN: "不清楚", "unknown";
    REASON: "理由", "Reason";
    OVERRIDE_REASON: "值班台放行理由（读数不足时）", "Override with reason (desk)";
    OWNER: "移交单位", "Other owner";
    CONTACT: "联系方式", "Contact";
    FOLLOW_UP_AT: "回访时间", "Follow up at";
    REVIEW_AT: "复查日期", "Review at";
    REASSIGN_TO: "改派给", "Reassign to";
    ASK_WHOM: "向谁请求", "Asked whom";
    ASK_ANSWER: "对方答复（可后补）", "Their answer (may come later)";
    CLEAR: "人员已撤离断电范围", "The crew is clear of the isolated extent";
    FOR_HOURS: "暂挂小时数", "For hours";
    THEY_ARE_THERE: "确已到场", "they are there";
    NOT_THERE: "并未到场", "they are not there";
    CHOOSE: "请选择", "choose";
    YES: "是", "yes";
    NO: "否", "no";
    // Hazard by phone, hand test.
    WHAT_HAPPENED: "情况", "What";
    SHOCK: "有人触电", "somebody felt a shock";
    LIVE: "灯杆带电", "a post is live";
    OTHER: "其他", "something else";
    WHICH_POST: "灯杆编号（知道时填写）", "Post (when it is known)";
    OR_PLACE: "或者地点", "or a place";
    PLACE_TEXT: "地点描述", "Where, in words";
    LON: "经度", "Longitude";
    LAT: "纬度", "Latitude";
    CALLER_FIELD: "来电人与电话", "Caller and number";
    SEVERITY_OTHER: "级别（仅“其他”）", "Severity (something else only)";
    IS_DRILL: "这是演练", "This is a drill";
    REPORT_NOW: "立即派单", "Send a crew now";
    WHO_TESTED: "测试人", "Tested by";
    TEST_POST: "灯杆编号", "Post";
    SAVE: "登记", "Record";
    TWO_PLACES: "灯杆编号与地点二选一，地点须有经纬度", "Give a post or a place; a place needs longitude and latitude";
    // A post.
    LATEST: "最新读数", "Latest values";
    QUANTITY: "量", "Quantity";
    VALUE: "数值", "Value";
    AGE: "距今", "Age";
    LIMITS_IN_FORCE: "当前限值", "Limits in force";
    WARNING: "预警", "warning";
    DANGER: "危险", "danger";
    CHART: "最近 24 小时", "Last 24 hours";
    WHY: "判断依据", "Why";
    REGISTER: "台账", "Register";
    FEEDER: "回路", "feeder";
    CABINET: "控制箱", "cabinet";
    ROAD: "道路", "road";
    NUMBER: "杆号", "number";
    LANDMARK: "地标", "landmark";
    COORDINATES: "坐标", "coordinates";
    LAMPS: "灯具", "lamps";
    LOW_LYING: "低洼", "low-lying";
    DEVICE: "传感器", "sensor";
    HANGS_SINCE: "安装于", "there since";
    HUNG_BEFORE: "此前为", "before it";
    CAME_FROM: "移自灯杆", "came from post";
    POST_WAS_CALLED: "灯杆原编号", "the post was called";
    NO_INCIDENTS: "没有未结险情", "No open incidents";
    NEVER_HEARD: "从未收到数据", "nothing was ever heard";
    CHART_EMPTY: "24 小时内没有读数", "no readings within 24 hours";
    CHART_CUT: "读数过多，只画出一部分", "too many readings: only a part is drawn";
    RECHECK_NEXT: "下次下雨时复查", "to be looked at in the next rain";
    RECHECK_DUE: "雨中待复查", "to be looked at now, in the rain";
    // The crew's page.
    OTHER_STEPS: "其他操作", "Everything else";
    CALL_DESK: "呼叫值班台", "Call the desk";
    MAP: "地图导航", "Map";
    AMAP: "高德地图", "Amap";
    BAIDU: "百度地图", "Baidu";
    APPLE_MAPS: "苹果地图", "Apple";
    WAIT_FOR_CHECK: "等待他人复核", "Somebody else verifies now";
    WAIT_FOR_CLOSE: "已复核，等待值班台结案", "Verified: the desk closes it";
    HANDED_ON: "已移交或挂账，留守责任不变", "Handed on: the duty to guard stays";
    IS_OVER: "险情已结束", "It is over";
    LINK_ONLY: "本链接仅用于此险情", "This link is for this incident alone";
    // Faults.
    FAULT_400: "内容无法识别", "That cannot be read";
    FAULT_401: "需要登录", "Sign in first";
    FAULT_403: "没有权限", "Not allowed";
    FAULT_404: "没有找到", "Not found";
    FAULT_409: "当前状态不能这样操作", "Not in this state";
    FAULT_410: "链接已失效", "The link is no longer good";
    FAULT_413: "内容过长", "Too long";
    FAULT_422: "填写不完整或不正确", "Something is missing or cannot be";
    FAULT_503: "暂时不可用，请重试", "Not now: try again";
    FAULT_OTHER: "出错", "Something went wrong";
    NOTHING_CHANGED: "操作未执行，没有任何改动。", "Nothing was done.";
    PRESENT_STATE: "当前状态", "Present state";
    TRY_BACK: "用浏览器的“后退”可保留已填内容。", "The browser's Back keeps what was typed.";
    // Lengths of time.
    SECONDS: "秒", "s";
    MINUTES: "分", "min";
    HOURS: "小时", "h";
    DAYS: "天", "d";
    AGO: "前", "ago";
}

/// The word of a state.
pub(crate) fn state(stage: Stage) -> Text {
    match stage {
        Stage::Open => Text("待确认", "open"),
        Stage::Acknowledged => Text("已确认", "acknowledged"),
        Stage::Departed => Text("已出发", "departed"),
        Stage::Arrived => Text("已到场", "arrived"),
        Stage::MadeSafe => Text("已处置", "made safe"),
        Stage::Repaired => Text("已修复", "repaired"),
        Stage::Verifying => Text("已复核", "verified"),
        Stage::Closed => Text("已结案", "closed"),
        Stage::Void => Text("已撤销", "void"),
        Stage::Returned => Text("已移交", "returned"),
        Stage::Pending => Text("已挂账", "pending"),
        Stage::Merged => Text("已并案", "merged"),
    }
}

/// The word of a move, as a button says it.
pub(crate) fn verb(verb: Verb) -> Text {
    match verb {
        Verb::Acknowledge => Text("确认收到", "Acknowledge"),
        Verb::Depart => Text("出发", "Depart"),
        Verb::Arrive => Text("到达现场", "Arrive"),
        Verb::ConfirmArrival => Text("核实到场", "Confirm the arrival"),
        Verb::MakeSafe => Text("断电或围护", "Make safe"),
        Verb::Restore => Text("恢复送电", "Restore power"),
        Verb::Repair => Text("修复完成", "Repaired"),
        Verb::Verify => Text("复核", "Verify"),
        Verb::Close => Text("结案", "Close"),
        Verb::Help => Text("紧急求助", "Help, now"),
        Verb::Void => Text("撤销", "Void"),
        Verb::Return => Text("移交其他单位", "Return to another owner"),
        Verb::Pending => Text("挂账", "Repair later"),
        Verb::Reassign => Text("改派", "Reassign"),
        Verb::Accept => Text("接班确认", "Accept at shift change"),
        Verb::Note => Text("补记", "Note"),
        Verb::Shelve => Text("暂挂", "Shelve"),
        Verb::RequestIsolation => Text("请求断电", "Ask for isolation"),
    }
}

/// The word of a signal.
pub(crate) fn signal(signal: Signal) -> Text {
    match signal {
        Signal::Active => Text("危险仍在", "active"),
        Signal::Normal => Text("信号正常（未结案）", "normal (still open)"),
        Signal::Unpowered => Text("无供电，未核实", "unpowered, not verified"),
        Signal::Silent => Text("无数据，未核实", "silent, not verified"),
    }
}

/// The word of a way of making safe.
pub(crate) fn method(method: Method) -> Text {
    match method {
        Method::Isolated => Text("断电", "isolated"),
        Method::Guarded => Text("专人看守", "guarded"),
        Method::Barrier => Text("围挡", "barrier"),
    }
}

/// The safety words, exactly as the rules say them; English beside them where the page is English.
pub(crate) fn safety(words: &str) -> Text {
    match words {
        DEAD => Text(DEAD, "已断电 (isolated, dead)"),
        GUARDED => Text(GUARDED, "已围护, 未断电, 视为带电 (guarded, not dead: treat as live)"),
        _ => Text(TREAT_AS_LIVE, "未确认断电，视为带电 (not confirmed dead: treat as live)"),
    }
}

/// Why wet limits are in force.
pub(crate) fn wet_because(word: &str) -> Text {
    match word {
        "warning" => Text("暴雨预警生效", "official warning"),
        "rain" => Text("3 小时内有雨", "rain in the last 3 h"),
        "manual" => Text("人工设定", "set by hand"),
        "immersed" => Text("灯杆浸水", "water at the post"),
        "drying" => Text("雨后未干", "still drying"),
        "unknown" => Text("天气未知", "weather unknown"),
        _ => Text("", ""),
    }
}

/// The colour of a post, in words.
pub(crate) fn post_state(word: &str) -> Text {
    match word {
        "normal" => Text("正常", "normal"),
        "warning" => Text("预警", "warning"),
        "danger" => Text("危险", "danger"),
        "silent" => Text("失联", "silent"),
        "unpowered" => Text("无供电，未核实", "unpowered, not verified"),
        "unregistered" => Text("未登记", "unregistered"),
        _ => Text("无监测", "unmonitored"),
    }
}

/// A measured field.
pub(crate) fn field(field: Field) -> Text {
    match field {
        Field::LeakageMa => Text("漏电流", "leakage"),
        Field::ShellV => Text("外壳电压", "shell voltage"),
        Field::SupplyV => Text("供电电压", "supply voltage"),
        Field::NeutralV => Text("零线对地电压", "neutral voltage"),
        Field::Supply => Text("供电", "supply"),
        Field::LampA => Text("灯电流", "lamp current"),
        Field::LampW => Text("灯功率", "lamp power"),
        Field::PowerFactor => Text("功率因数", "power factor"),
        Field::EnergyKwh => Text("电能", "energy"),
        Field::EarthOhm => Text("接地电阻", "earth resistance"),
        Field::Immersed => Text("浸水", "immersed"),
        Field::WaterMm => Text("水深", "water"),
        Field::TiltDeg => Text("倾斜", "tilt"),
        Field::Impact => Text("撞击", "impact"),
        Field::DoorOpen => Text("检修门打开", "door open"),
        Field::TemperatureC => Text("温度", "temperature"),
        Field::HumidityPct => Text("湿度", "humidity"),
        Field::BatteryV => Text("电池", "battery"),
        Field::RssiDbm => Text("信号强度", "radio signal"),
        Field::Check => Text("手测结论", "verdict by hand"),
        Field::PenBandV => Text("测电笔档位", "test pen band"),
    }
}

/// An event of a timeline that is no move.
pub(crate) fn event(word: &str) -> Option<Text> {
    Some(match word {
        "opened" => Text("险情发生", "Opened"),
        "evidence" => Text("新的依据", "New evidence"),
        "escalated" => Text("升级", "Escalated"),
        "members" => Text("增加灯杆", "More posts"),
        "linked" => Text("关联", "Linked"),
        "note" => Text("说明", "Note"),
        "signal" => Text("信号变化", "Signal"),
        "told" => Text("已通知", "Told"),
        "delivered" => Text("已送达", "Delivered"),
        "not_told" => Text("未送达", "Not told"),
        "refused" => Text("操作被拒绝", "Refused"),
        "second_wanted" => Text("申请，等待另一人同意", "Asked, waits for a second person"),
        "breached" => Text("超时未到场", "Breached"),
        "reenergised" => Text("重新带电", "Re-energised"),
        "reminded" => Text("再次提醒", "Reminded"),
        "merged" => Text("并案", "Merged"),
        "tell_failed" => Text("首次通知失败", "First try to tell failed"),
        "rung" => Text("逐级通知", "Next rung told"),
        "repeated" => Text("险情仍在", "Danger still shows"),
        "reported" => Text("市民报告", "Reported by a person"),
        "verify_again" => Text("复核作废，重新计时", "Verification taken back"),
        "above_after_repair" => Text("修复后仍超限", "Above the limit after the repair"),
        "isolation_doubted" => Text("断电待核实", "Isolation not confirmed"),
        "switch_on_soon" => Text("即将送电", "Power will come on"),
        "call_wanted" => Text("到场未核实，请致电", "Arrival not proven: call"),
        "isolation_offered" => Text("建议请求断电", "Isolation offered"),
        "shift_changed" => Text("交接班", "Change of shift"),
        "beyond_maintenance" => Text("超出检修范围", "Beyond the planned work"),
        _ => return None,
    })
}

/// Why a move is refused, in Chinese: reasons come in English from the rules. A reason that is not here is shown
/// as it is.
const REASONS: [(&str, &str); 28] = [
    ("no incident", "没有这个险情"),
    ("no post", "台账中没有这个灯杆"),
    ("is missing", "缺少必填内容"),
    ("there is no such route", "没有这个页面"),
    ("somebody has it already", "已有人接手"),
    ("a crew has departed already", "已有班组出发"),
    ("a crew has arrived already", "已有班组到场"),
    ("nobody has arrived yet", "还没有人到场，请先登记到场"),
    ("it is not made safe yet: make_safe first", "尚未断电或围护，请先登记处置"),
    ("it is not repaired yet", "尚未修复，请先登记修复"),
    ("it is verified already", "已复核，请结案"),
    ("it goes on under another incident", "已并入其他险情，请在那一条上操作"),
    ("it is over", "险情已结束，只能补记"),
    ("it is not verified yet", "尚未复核，须由修复人以外的人复核"),
    ("a crew has arrived: a false alarm", "已有班组到场：现场认定的误报请以原因 false 修复、复核、结案"),
    ("it is not made safe yet: to hand it over", "尚未处置：处置前只能改派，时限不变"),
    ("nobody has it yet", "还没有人接手，请先确认"),
    ("a member is not that far", "其中的险情还没到这一步，请先处理它们"),
    ("no isolation is in force", "当前没有断电"),
    ("an isolation is in force", "断电仍在，恢复送电后才可改为围护"),
    ("not repaired and no crew recorded clear", "断电范围内还有未修复且人员未撤离的险情"),
    ("its isolation is in force", "断电仍在，请先恢复送电"),
    ("a sample was at or above the limit", "修复后又有读数超限，请再次修复"),
    ("an incident that follows it is open", "其后续险情尚未结束"),
    ("the repairer does not verify", "修复人不能复核自己的修复"),
    ("nothing waits under", "没有等待同意的申请，或已超过 10 分钟"),
    ("no crew stands there", "现场没有班组"),
    ("no sensor can show it", "没有传感器可证明，请填写复核人自测读数"),
];

/// A refusal in the language of the page. What stands behind a colon (names, ids, times) stays.
pub(crate) fn reason(lang: Lang, english: &str) -> String {
    let known =
        REASONS.iter().filter(|(start, _)| english.contains(start)).max_by_key(|(start, _)| start.len());
    match (lang, known) {
        (Lang::Zh, Some((_, chinese))) => format!("{chinese}（{english}）"),
        _ => english.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lampguard_alerting::life::{STAGES, VERBS};

    use super::*;

    fn is_han(letter: char) -> bool {
        ('\u{4e00}'..='\u{9fff}').contains(&letter)
    }

    #[test]
    fn page_w32_every_word_is_there_in_both_languages_and_none_is_mixed() {
        assert!(TABLE.len() > 150, "{} words", TABLE.len());
        let more = STAGES.map(state).into_iter().chain(VERBS.map(verb)).map(|text| ("", text));
        for (name, Text(zh, en)) in TABLE.iter().copied().chain(more) {
            assert!(!zh.is_empty() && !en.is_empty(), "{name}");
            let foreign = name != "OTHER_LANG";
            assert!(!foreign || !en.chars().any(is_han), "{name}: {en}");
            assert!(!foreign || zh.chars().any(is_han), "{name}: {zh}");
        }
    }

    #[test]
    fn the_safety_words_of_the_rules_stand_in_both_languages() {
        for words in [DEAD, GUARDED, TREAT_AS_LIVE] {
            let text = safety(words);
            assert_eq!(text.0, words);
            assert!(text.1.starts_with(words) && text.1.len() > words.len(), "{}", text.1);
        }
        assert_eq!(safety("anything else").0, TREAT_AS_LIVE);
    }

    #[test]
    fn states_signals_and_posts_are_called_as_the_databases_call_them() {
        use lampguard_model::series::{Code, INCIDENT_STATES, POST_STATES, SIGNALS};
        let zh = |codes: &[Code], word: &str| codes.iter().find(|code| code.word == word).unwrap().zh;
        for stage in STAGES {
            assert_eq!(state(stage).0, zh(&INCIDENT_STATES, stage.name()), "{}", stage.name());
        }
        for known in [Signal::Active, Signal::Normal, Signal::Unpowered, Signal::Silent] {
            assert_eq!(signal(known).0, zh(&SIGNALS, known.name()), "{}", known.name());
        }
        for code in POST_STATES {
            assert_eq!(post_state(code.word).0, code.zh, "{}", code.word);
        }
    }

    #[test]
    fn a_refusal_is_said_in_chinese_with_the_names_that_it_holds() {
        let text = reason(Lang::Zh, "acknowledge: somebody has it already: 一班 (state acknowledged)");
        assert!(text.starts_with("已有人接手") && text.contains("一班"), "{text}");
        assert_eq!(reason(Lang::En, "anything"), "anything");
        assert_eq!(reason(Lang::Zh, "anything"), "anything");
        for (start, _) in REASONS {
            assert!(reason(Lang::Zh, start).chars().any(is_han));
        }
    }
}
