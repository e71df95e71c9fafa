//! What the time-series database is given: every measurement, tag and field, with its unit, and every number that stands
//! for a word. The one place: encoders, the page `docs/series.md` and the dashboards' lint hold to it.
//!
//! Tags and names are frozen: InfluxDB 3 cannot change the tags of a table, and other people's pictures ask by name. Only
//! append. Every field is a number and a float for ever; yes/no is 1/0. What is not known is left out, which is not zero.

use crate::weather::Warning;

/// How a field behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Goes up and down: a value at a moment.
    Gauge,
    /// Only grows; after a restart it may begin again at a lower value.
    Counter,
}

impl Course {
    /// The word in tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// One tag of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
}

/// One field of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name; a counter ends in `_total`, but for those that a sensor counts.
    pub name: &'static str,
    /// Its unit as printed; empty for codes, shares and yes/no.
    pub unit: &'static str,
    /// How it behaves.
    pub course: Course,
    /// What it says.
    pub says: &'static str,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// Its name.
    pub name: &'static str,
    /// When rows of it are written.
    pub written: &'static str,
    /// Its tags, in the order in which they are written. One without a value is left out.
    pub tags: &'static [Tag],
    /// Its fields.
    pub fields: &'static [Column],
}

impl Measurement {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&'static Column> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// True when it has a tag of that name.
    pub fn has_tag(&self, name: &str) -> bool {
        self.tags.iter().any(|tag| tag.name == name)
    }
}

/// A number that stands for a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The number.
    pub number: u8,
    /// The word in tables and answers.
    pub word: &'static str,
    /// The word for people on duty.
    pub zh: &'static str,
}

/// The codes of one kind of field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes {
    /// Measurement and field, `measurement.field`.
    pub of: &'static str,
    /// Every code, by number.
    pub codes: &'static [Code],
}

const fn tag(name: &'static str, says: &'static str) -> Tag {
    Tag { name, says }
}

const fn gauge(name: &'static str, unit: &'static str, says: &'static str) -> Column {
    Column { name, unit, course: Course::Gauge, says }
}

const fn counter(name: &'static str, unit: &'static str, says: &'static str) -> Column {
    Column { name, unit, course: Course::Counter, says }
}

const fn code(number: u8, word: &'static str, zh: &'static str) -> Code {
    Code { number, word, zh }
}

/// Fields of a reading, in the order of their numbers.
const READING: &[Column] = &[
    gauge("leakage_ma", "mA", "residual (leakage) current to earth"),
    gauge("shell_v", "V", "shell against remote earth"),
    gauge("supply_v", "V", "supply, phase to neutral"),
    gauge("neutral_v", "V", "neutral against earth"),
    gauge("supply", "", "supply on"),
    gauge("lamp_a", "A", "lamp current"),
    gauge("lamp_w", "W", "lamp power"),
    gauge("power_factor", "", "power factor of the lamp"),
    counter("energy_kwh", "kWh", "energy meter"),
    gauge("earth_ohm", "Ω", "resistance of the post's own earth"),
    gauge("immersed", "", "water at the hand-hole sensor"),
    gauge("water_mm", "mm", "water level"),
    gauge("tilt_deg", "°", "tilt of the column"),
    gauge("impact", "", "knocked"),
    gauge("door_open", "", "hand-hole door open"),
    gauge("temperature_c", "°C", "temperature inside the post"),
    gauge("humidity_pct", "%", "relative humidity inside the post"),
    gauge("battery_v", "V", "battery of the sensor"),
    gauge("rssi_dbm", "dBm", "strength of the radio signal"),
    gauge("check", "", "result of a hand test: 0 ok, 1 suspect, 2 live"),
    gauge("pen_band_v", "V", "band shown by a test pen"),
    gauge("seq", "", "running number of the reading"),
    gauge("boot", "", "how often the device was started"),
];

/// Readings of posts as they were stored.
pub const LAMP: Measurement = Measurement {
    name: "lamp",
    written: "one row a stored reading of a post, under its own time",
    tags: &[
        tag("post", "post of the register, or the device that it does not know"),
        tag("zone", "zone by the register; `unregistered` for devices that it does not know"),
        tag("feeder", "feeder by the register; left out without one"),
    ],
    fields: READING,
};

/// Readings of sensors in cabinets. A measurement of its own: they measure a whole feeder, and among posts they would push
/// those that can kill off the lists of the highest.
pub const CABINET: Measurement = Measurement {
    name: "cabinet",
    written: "one row a stored reading of a sensor in a cabinet (`kind` of the register is `feeder`), under its own time",
    tags: &[
        tag("post", "the sensor, by the register"),
        tag("zone", "its zone by the register"),
        tag("feeder", "feeder that it measures, by the register; left out without one"),
    ],
    fields: READING,
};

/// Weather messages as they came.
pub const WEATHER: Measurement = Measurement {
    name: "weather",
    written: "one row a weather message, under its own time",
    tags: &[tag("zone", "zone, or `all`")],
    fields: &[
        gauge("rain_mm_h", "mm/h", "rain rate"),
        gauge("warning", "", "official rain warning, see the codes"),
        gauge("wet", "", "the office's own switch"),
    ],
};

/// Upper bounds of the response buckets, minutes, with the field that counts them.
pub const RESPONSE_BUCKETS: [(u32, &str); 6] = [
    (5, "response_le_5m_total"),
    (10, "response_le_10m_total"),
    (15, "response_le_15m_total"),
    (20, "response_le_20m_total"),
    (30, "response_le_30m_total"),
    (60, "response_le_60m_total"),
];

/// The stages of an incident, in their order: the field that counts how often each was gone through, and the one that sums
/// its seconds. Each is named by the move that ends it; the first one begins when people were told.
pub const STAGE_FIELDS: [(&str, &str); 6] = [
    ("stage_acknowledge_total", "stage_acknowledge_s_total"),
    ("stage_depart_total", "stage_depart_s_total"),
    ("stage_arrive_total", "stage_arrive_s_total"),
    ("stage_make_safe_total", "stage_make_safe_s_total"),
    ("stage_repair_total", "stage_repair_s_total"),
    ("stage_verify_total", "stage_verify_s_total"),
];

/// Each zone at a glance.
pub const ZONE: Measurement = Measurement {
    name: "zone",
    written: "every 30 s, one row a zone",
    tags: &[
        tag("zone", "zone of the configuration, or `unregistered`"),
        tag("node", "node that wrote it; left out where there is one instance alone"),
    ],
    fields: &[
        gauge("posts", "posts", "posts of the register, cabinets aside"),
        gauge("reporting", "posts", "posts with data of now"),
        gauge("posts_danger", "posts", "posts in state danger"),
        gauge("posts_warning", "posts", "posts in state warning"),
        gauge("posts_silent", "posts", "posts in state silent"),
        gauge("posts_unpowered", "posts", "posts in state unpowered"),
        gauge("posts_unmonitored", "posts", "posts in state unmonitored"),
        gauge("data_age_s", "s", "age of the newest reading; left out while there was none"),
        gauge(
            "blind",
            "",
            "nothing is heard of a zone that has to be: its incident `blind` is open and not normal again",
        ),
        gauge("lamps_due", "lamps", "lamps that should burn now, excluded ones aside"),
        gauge("lamps_lit", "lamps", "of these burning"),
        gauge("lamps_unknown", "lamps", "of these unknown"),
        gauge("lamps_excluded", "lamps", "should burn, and left out: planned outage, maintenance"),
        gauge("leakage_ma_max", "mA", "highest leakage of now; left out without data"),
        gauge("shell_v_max", "V", "highest shell voltage of now; left out without data"),
        gauge("open_p1", "incidents", "open P1, drills aside"),
        gauge("open_p2", "incidents", "open P2, drills aside"),
        gauge("open_p3", "incidents", "open P3, drills aside"),
        gauge("open_p4", "incidents", "open P4, drills aside"),
        gauge(
            "open_breached",
            "incidents",
            "open with a deadline that nobody kept, also where somebody came late",
        ),
        gauge(
            "open_unacknowledged",
            "incidents",
            "open and told at once (P1, or due within 2 h), and nobody has it",
        ),
        gauge(
            "remaining_s_min",
            "s",
            "of what is told at once the least time to a deadline where nobody has arrived; left out without one",
        ),
        counter("opened_total", "incidents", "incidents opened, drills aside"),
        counter("arrived_total", "incidents", "of these where a crew arrived"),
        counter("breached_total", "incidents", "of these whose deadline passed with nobody there"),
        counter("closed_total", "incidents", "of these closed; void and merged aside"),
        counter(
            "response_le_5m_total",
            "incidents",
            "arrivals at most 5 min after the danger was known, where somebody had to be there soon (P1, or due within 2 h)",
        ),
        counter("response_le_10m_total", "incidents", "the same, 10 min"),
        counter("response_le_15m_total", "incidents", "the same, 15 min"),
        counter("response_le_20m_total", "incidents", "the same, 20 min"),
        counter("response_le_30m_total", "incidents", "the same, 30 min"),
        counter("response_le_60m_total", "incidents", "the same, 60 min"),
        counter("response_total", "incidents", "all of them"),
        counter("response_s_total", "s", "sum of their times"),
        gauge(
            "posts_low_lying",
            "posts",
            "posts of the register that stand low and have a sensor, cabinets aside",
        ),
        gauge("reporting_low_lying", "posts", "of these with data of now"),
        counter(
            "stage_acknowledge_total",
            "incidents",
            "told until acknowledged, of those that `response_total` is about; counted once it is made safe",
        ),
        counter("stage_acknowledge_s_total", "s", "sum of their times"),
        counter("stage_depart_total", "incidents", "the same, acknowledged until departed"),
        counter("stage_depart_s_total", "s", "sum of their times"),
        counter("stage_arrive_total", "incidents", "the same, departed until arrived"),
        counter("stage_arrive_s_total", "s", "sum of their times"),
        counter("stage_make_safe_total", "incidents", "the same, arrived until first made safe"),
        counter("stage_make_safe_s_total", "s", "sum of their times"),
        counter(
            "stage_repair_total",
            "incidents",
            "first made safe until last repaired, of the same incidents; counted once it is closed",
        ),
        counter("stage_repair_s_total", "s", "sum of their times"),
        counter("stage_verify_total", "incidents", "the same, repaired until verified"),
        counter("stage_verify_s_total", "s", "sum of their times"),
        counter(
            "repeat_total",
            "incidents",
            "of the same incidents, once made safe: the same danger had been at the same place within 30 days",
        ),
        counter(
            "voided_total",
            "incidents",
            "where somebody had to be there soon, withdrawn before anybody arrived",
        ),
        counter(
            "false_alarm_total",
            "incidents",
            "where somebody had to be there soon, closed with cause `false`: nothing was found on the spot",
        ),
    ],
};

/// Crews and what they have to do.
pub const CREW: Measurement = Measurement {
    name: "crew",
    written: "every 30 s, one row a zone and crew: its crew and back-up crew by the configuration, who is on duty, and crews that have or had an incident there; one last row when it is none of these",
    tags: &[
        tag("crew", "crew of the configuration"),
        tag("zone", "zone whose incidents they are"),
        tag("node", "node that wrote it; left out where there is one instance alone"),
    ],
    fields: &[
        gauge(
            "jobs",
            "incidents",
            "open ones that it has, whatever their severity; drills, and what was returned or is pending, aside",
        ),
        gauge("jobs_not_departed", "incidents", "of these: it is not on the way yet"),
        gauge("jobs_departed", "incidents", "of these: it is on the way"),
        gauge("jobs_arrived", "incidents", "of these: somebody is there, and it is not made safe"),
        gauge("jobs_made_safe", "incidents", "of these: made safe, to be repaired, verified or closed"),
        counter(
            "arrived_total",
            "incidents",
            "that it had when they were first made safe, of those that `zone.response_total` is about",
        ),
        counter("breached_total", "incidents", "of these where nobody was there by the deadline"),
    ],
};

/// Open incidents.
pub const INCIDENT: Measurement = Measurement {
    name: "incident",
    written: "every 30 s, one row an open incident, the most dangerous 1,000; one last row when it is over",
    tags: &[
        tag("id", "the incident"),
        tag("zone", "zone whose crew acts on it; left out for the system"),
        tag("kind", "what was raised"),
        tag("post", "post; left out when it is about more than a post"),
    ],
    fields: &[
        gauge("state", "", "where it stands, see the codes"),
        gauge("severity", "", "1 to 4 for P1 to P4"),
        gauge(
            "remaining_s",
            "s",
            "to the deadline, negative after it; left out without one and while somebody is there",
        ),
        gauge("value", "", "measured value, in the unit of its kind; left out when unknown"),
        gauge("signal", "", "whether the danger still shows, see the codes"),
        gauge("breached", "", "nobody arrived by the deadline"),
        gauge("age_s", "s", "since it opened"),
        gauge("drill", "", "not real, counted nowhere"),
    ],
};

/// Posts that are not normal.
pub const ABNORMAL: Measurement = Measurement {
    name: "abnormal",
    written: "every 30 s, one row a post in state warning, danger or silent, the worst 2,000; one last row when it is not any more",
    tags: &[
        tag("post", "post of the register"),
        tag("zone", "its zone"),
        tag("road", "its road"),
        tag("geohash", "where it stands, 8 characters"),
    ],
    fields: &[gauge("state", "", "colour of the post, see the codes")],
};

/// Our own main metrics.
pub const LAMPGUARD: Measurement = Measurement {
    name: "lampguard",
    written: "every 15 s",
    tags: &[tag("node", "node that wrote it; left out where there is one instance alone")],
    fields: &[
        counter("received_total", "readings", "received"),
        counter("stored_total", "readings", "durable in the journal"),
        counter("duplicate_total", "readings", "that were there already"),
        counter("quarantined_total", "readings", "kept as payloads, unreadable"),
        counter("refused_total", "readings", "turned away"),
        counter("mended_total", "readings", "of payloads that were mended first"),
        counter("gap_total", "readings", "running numbers missing"),
        counter("clock_ahead_total", "readings", "more than 5 min ahead of our clock"),
        gauge("pending", "readings", "without an outcome yet"),
        gauge("balanced", "", "the books agree"),
        gauge("held_bytes", "bytes", "of messages not acknowledged yet"),
        gauge("connections", "", "open sensor connections"),
        gauge("brokers_down", "", "brokers that are not connected"),
        gauge("journal_bytes", "bytes", "of all segments of the journal"),
        gauge("journal_stopped", "", "the journal takes nothing"),
        gauge("journal_pending", "readings", "behind the follower that is furthest behind"),
        counter("commit_total", "", "commits of the journal"),
        counter("commit_s_total", "s", "their time, fdatasync included"),
        gauge("tsdb_up", "", "every database answers"),
        gauge("tsdb_lag_s", "s", "age of the oldest record that a database has not got"),
        counter("tsdb_written_total", "rows", "of readings and weather that databases accepted"),
        counter("tsdb_rejected_total", "rows", "of them kept from a database"),
        counter("points_dropped_total", "rows", "of all other measurements that were given up"),
        counter("judged_total", "readings", "judged"),
        gauge("open_incidents", "incidents", "open, drills aside"),
        gauge("incidents_left_out", "incidents", "open and not in `incident`, there were too many"),
        gauge("abnormal_left_out", "posts", "not in `abnormal`, there were too many"),
        counter("notices_sent_total", "", "notices that a channel accepted"),
        counter("notices_failed_total", "", "notices given up"),
        gauge("channels_down", "", "channels whose last attempt failed"),
        counter("alarm_total", "", "alarms handed over to a first channel"),
        counter("alarm_s_total", "s", "from receipt to that, summed"),
        counter("alarm_le_250ms_total", "", "of these at most 250 ms after receipt"),
        gauge("store_pending", "", "writes that wait for the incident store"),
        gauge("store_failing", "", "the incident store takes nothing"),
        counter("cpu_s_total", "s", "processor time of this process since its start"),
        gauge("memory_bytes", "bytes", "memory of this process"),
        gauge("uptime_s", "s", "since this process began to write"),
        gauge("web_connections", "", "open connections of pages, phones and programs"),
        counter("web_refused_total", "", "of these turned away: there were too many"),
        counter(
            "presence_total",
            "",
            "loads of a page by somebody signed in on duty; an open board loads every 10 s",
        ),
    ],
};

/// Every measurement.
pub const MEASUREMENTS: [&Measurement; 8] =
    [&LAMP, &CABINET, &WEATHER, &ZONE, &CREW, &INCIDENT, &ABNORMAL, &LAMPGUARD];

/// `incident.state`, by number.
pub const INCIDENT_STATES: [Code; 12] = [
    code(0, "open", "待确认"),
    code(1, "acknowledged", "已确认"),
    code(2, "departed", "已出发"),
    code(3, "arrived", "已到场"),
    code(4, "made_safe", "已处置"),
    code(5, "repaired", "已修复"),
    code(6, "verifying", "已复核"),
    code(7, "closed", "已结案"),
    code(8, "void", "已撤销"),
    code(9, "returned", "已移交"),
    code(10, "pending", "已挂账"),
    code(11, "merged", "已并案"),
];

/// `incident.severity`, by number.
pub const SEVERITIES: [Code; 4] =
    [code(1, "P1", "P1 紧急"), code(2, "P2", "P2 重要"), code(3, "P3", "P3 一般"), code(4, "P4", "P4 提示")];

/// `incident.signal`, by number.
pub const SIGNALS: [Code; 4] = [
    code(0, "active", "危险仍在"),
    code(1, "normal", "信号正常（未结案）"),
    code(2, "unpowered", "无供电，未核实"),
    code(3, "silent", "无数据，未核实"),
];

/// `abnormal.state`, by number. A greater number is not worse; the order of danger is danger, warning, silent.
pub const POST_STATES: [Code; 7] = [
    code(0, "normal", "正常"),
    code(1, "warning", "预警"),
    code(2, "danger", "危险"),
    code(3, "silent", "失联"),
    code(4, "unpowered", "无供电，未核实"),
    code(5, "unmonitored", "无监测"),
    code(6, "unregistered", "未登记"),
];

/// `weather.warning`, by number.
pub const WARNINGS: [Code; 5] = [
    code(Warning::None as u8, "none", "无"),
    code(Warning::Blue as u8, "blue", "蓝色预警"),
    code(Warning::Yellow as u8, "yellow", "黄色预警"),
    code(Warning::Orange as u8, "orange", "橙色预警"),
    code(Warning::Red as u8, "red", "红色预警"),
];

/// Every field whose numbers stand for words.
pub const CODES: [Codes; 5] = [
    Codes { of: "incident.state", codes: &INCIDENT_STATES },
    Codes { of: "incident.severity", codes: &SEVERITIES },
    Codes { of: "incident.signal", codes: &SIGNALS },
    Codes { of: "abnormal.state", codes: &POST_STATES },
    Codes { of: "weather.warning", codes: &WARNINGS },
];

/// The measurement of that name.
pub fn measurement(name: &str) -> Option<&'static Measurement> {
    MEASUREMENTS.into_iter().find(|measurement| measurement.name == name)
}

/// The number that stands for a word.
pub fn number_of(codes: &[Code], word: &str) -> Option<u8> {
    codes.iter().find(|code| code.word == word).map(|code| code.number)
}

/// What VictoriaMetrics calls a field: `lamp_leakage_ma`.
pub fn metric_name(measurement: &str, field: &str) -> String {
    format!("{measurement}_{field}")
}

/// Every name that VictoriaMetrics has of ours, with measurement and field.
pub fn metric_names() -> impl Iterator<Item = (String, &'static Measurement, &'static Column)> {
    MEASUREMENTS.into_iter().flat_map(|measurement| {
        let name =
            move |field: &'static Column| (metric_name(measurement.name, field.name), measurement, field);
        measurement.fields.iter().map(name)
    })
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
