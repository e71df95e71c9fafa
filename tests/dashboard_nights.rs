//! Questions of the dashboards and of the alert rules about nights that a test cannot live through: their rows are planted in
//! a real VictoriaMetrics and a real InfluxDB 1.6.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use common::{Influx, Site, Victoria, now_ms, seconds, wait_until};
use lampguard_dashboards::alerts::ALERTS;
use lampguard_dashboards::grafana::Dashboard;
use lampguard_dashboards::query::{Form, Range, queries, substitute};
use lampguard_dashboards::{Lang, PUBLIC_URL, Set, Source, TIME_ZONE, export};
use serde_json::Value;

/// Both databases, with what was planted.
struct Planted {
    victoria: Victoria,
    influx: Influx,
    now: i64,
}

/// What a question shows: by its labels the values of a column, oldest first.
type Shown = BTreeMap<String, Vec<f64>>;

impl Planted {
    /// None when a database is not installed. `rows` are `measurement,tags fields`, each with its age in seconds.
    fn with(rows: &[(String, i64)]) -> Option<Self> {
        let (victoria, influx) = (Victoria::start()?, Influx::start()?);
        // Queries show what is a second old.
        let now = now_ms() - 2000;
        let mut text = String::new();
        for (row, ago_s) in rows {
            writeln!(text, "{row} {}", now - ago_s * 1000).unwrap();
        }
        for (port, path) in
            [(victoria.port, "/write?precision=ms"), (influx.port, "/write?db=lampguard&precision=ms")]
        {
            let answer =
                common::http::try_post(&format!("http://127.0.0.1:{port}{path}"), None, text.as_bytes())
                    .unwrap();
            assert_eq!(answer.status, 204, "{path}: {}", answer.text);
        }
        // What came last is in memory and hidden until then.
        victoria.export("zone_posts");
        Some(Self { victoria, influx, now })
    }

    fn prometheus(&self, path: &str, asked: &[(&str, &str)]) -> Shown {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(asked).append_pair("nocache", "1");
        let url = format!("http://127.0.0.1:{}/api/v1/{path}?{}", self.victoria.port, query.finish());
        let answer = common::http::try_get(&url, None).unwrap();
        assert_eq!(answer.status, 200, "{asked:?}: {}", answer.text);
        let number = |pair: &Value| pair[1].as_str().unwrap().parse::<f64>().unwrap();
        let read = |series: &Value| {
            let values = match series.get("values") {
                Some(values) => values.as_array().unwrap().iter().map(number).collect(),
                None => vec![number(&series["value"])],
            };
            let mut labels: BTreeMap<String, String> =
                serde_json::from_value(series["metric"].clone()).unwrap();
            labels.remove("__name__");
            (labels.into_values().collect::<Vec<_>>().join(" "), values)
        };
        answer.json()["data"]["result"].as_array().unwrap().iter().map(read).collect()
    }

    fn at_once(&self, expr: &str) -> Shown {
        self.prometheus("query", &[("query", expr), ("time", &(self.now / 1000).to_string())])
    }

    /// What a panel's question shows of the last so many seconds, in steps of so many.
    fn panel(
        &self,
        source: Source,
        board: &str,
        title: &str,
        ref_id: &str,
        span_s: i64,
        step_s: u32,
    ) -> Shown {
        let set = Set {
            source,
            lang: Lang::En,
            public_url: PUBLIC_URL.to_owned(),
            time_zone: TIME_ZONE.to_owned(),
        };
        let files = export(&set).unwrap();
        let file = files.iter().find(|file| file.name == format!("{board}.json")).unwrap();
        let dashboard: Dashboard = serde_json::from_str(&file.text).unwrap();
        let asked = queries(&dashboard);
        let asked = asked.iter().find(|query| query.of == title && query.ref_id == ref_id);
        let asked = asked.unwrap_or_else(|| panic!("{board} has no {title} {ref_id}"));
        let (from_ms, to_ms) = (self.now - span_s * 1000, self.now);
        let range = Range { from_ms, to_ms, step_s };
        let text = substitute(&asked.text, range, &BTreeMap::from([("post", "P001")]));
        match asked.form {
            Form::Instant => self.at_once(&text),
            Form::Range => {
                let (from, to, step) =
                    ((from_ms / 1000).to_string(), (to_ms / 1000).to_string(), step_s.to_string());
                self.prometheus(
                    "query_range",
                    &[("query", &*text), ("start", &from), ("end", &to), ("step", &step)],
                )
            }
            Form::Influxql => self.influx.series(&text).iter().flat_map(influx_shown).collect(),
            Form::LabelValues => panic!("{title} is a variable"),
        }
    }

    /// What the variable `post` offers by PromQL.
    fn prometheus_posts(&self) -> Vec<String> {
        let set = Set {
            source: Source::Prometheus,
            lang: Lang::En,
            public_url: PUBLIC_URL.to_owned(),
            time_zone: TIME_ZONE.to_owned(),
        };
        let files = export(&set).unwrap();
        let file = files.iter().find(|file| file.name == "lg-post.json").unwrap();
        let dashboard: Dashboard = serde_json::from_str(&file.text).unwrap();
        let asked = queries(&dashboard).into_iter().find(|query| query.of == "$post").unwrap();
        let range = Range { from_ms: 0, to_ms: self.now, step_s: 60 };
        let text = substitute(&asked.text, range, &BTreeMap::new());
        let (selector, label) = lampguard_dashboards::query::label_values(&text).unwrap();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("match[]", selector);
        let url = format!("http://127.0.0.1:{}/api/v1/series?{}", self.victoria.port, query.finish());
        let answer = common::http::try_get(&url, None).unwrap().json();
        let labels = answer["data"].as_array().unwrap().iter();
        labels.filter_map(|labels| labels[label].as_str().map(str::to_owned)).collect()
    }

    /// The one number that a panel shows in both sets; none where it shows nothing.
    fn number(&self, board: &str, title: &str, span_s: i64) -> Option<f64> {
        let [by_metric, by_row] = [Source::Prometheus, Source::Influxql].map(|source| {
            let shown = self.panel(source, board, title, "A", span_s, 60);
            assert!(shown.len() <= 1, "{title}: {shown:?}");
            shown.into_values().next().and_then(|values| values.last().copied())
        });
        match (by_metric, by_row) {
            (Some(one), Some(other)) => {
                assert!((one - other).abs() <= 1e-3 * one.abs().max(1.0), "{title}: {one}, {other}");
            }
            (one, other) => assert_eq!(one, other, "{title}"),
        }
        by_metric
    }
}

/// Columns of numbers, each under its labels; nulls are left out.
fn influx_shown(series: &Value) -> Vec<(String, Vec<f64>)> {
    let tags = series["tags"].as_object();
    let labels: Vec<_> = tags
        .into_iter()
        .flatten()
        .filter_map(|(_, value)| value.as_str().filter(|v| !v.is_empty()))
        .collect();
    let labels = labels.join(" ");
    let columns = series["columns"].as_array().unwrap().len();
    let column = |place: usize| {
        let rows = series["values"].as_array().unwrap();
        (labels.clone(), rows.iter().filter_map(|row| row[place].as_f64()).collect::<Vec<_>>())
    };
    (1..columns).map(column).filter(|(_, values)| !values.is_empty()).collect()
}

/// Zones of one look: their name, and `fields`.
fn zones(rows: &[(&str, &str)], ago_s: i64) -> Vec<(String, i64)> {
    rows.iter().map(|(zone, fields)| (format!("zone,zone={zone} {fields}"), ago_s)).collect()
}

#[test]
fn by_day_and_where_nothing_is_measured_no_rule_tells_of_silence_and_no_wall_of_old_data() {
    const DAY: &str = "posts=10,posts_unpowered=8,posts_unmonitored=2,data_age_s=30000,blind=0";
    const NIGHT: &str = "posts=10,posts_unpowered=1,posts_unmonitored=2,data_age_s=30000,blind=1";
    let (zone_rule, all_rule) = ("LampguardZoneWithoutData", "LampguardIngesterSilent");
    let expr = |name: &str| ALERTS.iter().find(|alert| alert.name == name).unwrap().expr;
    let silent: Vec<(String, i64)> =
        (0..60).map(|n| ("lampguard_ingester received_total=7".to_owned(), 30 * n)).collect();

    let mut rows = zones(&[("day", DAY), ("pen", DAY)], 20);
    rows.extend(silent.clone());
    let Some(day) = Planted::with(&rows) else { return };
    for name in [zone_rule, all_rule, "LampguardZoneBlind"] {
        assert_eq!(day.at_once(expr(name)), Shown::new(), "{name}");
    }
    assert_eq!(day.number("lg-duty", "Data age", 3600), None);

    let mut rows = zones(&[("day", DAY), ("night", NIGHT)], 20);
    rows.extend(silent.clone());
    let night = Planted::with(&rows).unwrap();
    for name in [zone_rule, "LampguardZoneBlind"] {
        let told: Vec<String> = night.at_once(expr(name)).into_keys().collect();
        assert_eq!(told, ["night"], "{name}");
    }
    assert_eq!(night.at_once(expr(all_rule)).len(), 1);
    let shown = night.panel(Source::Prometheus, "lg-duty", "Data age", "A", 3600, 60);
    let age = shown.into_values().next().unwrap()[0];
    assert!((30_018.0..30_030.0).contains(&age), "and the age of the row: {age}");
    let shown = night.panel(Source::Influxql, "lg-duty", "Data age", "A", 3600, 60);
    assert_eq!(shown.into_values().next(), Some(vec![30_000.0]));

    // Without rows of zones nobody says that nothing has to be heard.
    let alone = Planted::with(&silent).unwrap();
    assert_eq!(alone.at_once(expr(all_rule)).len(), 1);
}

/// Rows of one zone whose counters stand still, and grow at the very end by what `grown` says.
fn counters(fields: &[(&str, u32)], grown: &[(&str, u32)]) -> Vec<(String, i64)> {
    let row = |late: bool| {
        let value = |(name, value): &(&str, u32)| {
            let more = grown.iter().find(|(grows, _)| grows == name).filter(|_| late);
            format!("{name}={}", value + more.map_or(0, |(_, more)| *more))
        };
        format!("zone,zone=z1 {}", fields.iter().map(value).collect::<Vec<_>>().join(","))
    };
    (0..240).rev().map(|n| (row(n < 2), 30 * n + 5)).collect()
}

#[test]
fn a_night_without_arrivals_has_no_rate_and_one_where_all_were_late_has_nought() {
    let stand = [
        ("opened_total", 900),
        ("arrived_total", 700),
        ("response_total", 500),
        ("response_le_30m_total", 400),
        ("response_s_total", 500_000),
    ];
    let numbers = |of: &Planted| {
        ["Arrived within 30 minutes", "Mean response"].map(|title| of.number("lg-sla", title, 3600))
    };
    // Three incidents, and two people came to lamps of the worklist.
    let Some(quiet) = Planted::with(&counters(&stand, &[("opened_total", 3), ("arrived_total", 2)])) else {
        return;
    };
    assert_eq!(numbers(&quiet), [None, None]);
    let late = [("opened_total", 3), ("arrived_total", 4), ("response_total", 2), ("response_s_total", 5000)];
    assert_eq!(numbers(&Planted::with(&counters(&stand, &late)).unwrap()), [Some(0.0), Some(2500.0)]);
    let mut half = late.to_vec();
    half.push(("response_le_30m_total", 1));
    assert_eq!(numbers(&Planted::with(&counters(&stand, &half)).unwrap()), [Some(50.0), Some(2500.0)]);
}

#[test]
fn a_stage_that_nobody_went_through_has_no_mean_a_zone_without_low_lying_posts_no_share_and_nodes_add_up() {
    let stand = ["acknowledge", "depart"]
        .map(|stage| [format!("stage_{stage}_total"), format!("stage_{stage}_s_total")]);
    let stand: Vec<(&str, u32)> = stand.iter().flatten().map(|name| (&**name, 9000)).collect();
    let mut rows = counters(&stand, &[("stage_depart_total", 4), ("stage_depart_s_total", 1000)]);
    rows.extend(zones(
        &[
            ("low", "posts_low_lying=4,reporting_low_lying=3"),
            ("high", "posts_low_lying=0,reporting_low_lying=0"),
        ],
        4,
    ));
    for (node, jobs) in [("one", 2), ("two", 1)] {
        rows.push((format!("crew,crew=c1,zone=z1,node={node} jobs={jobs},jobs_departed={jobs}"), 20));
    }
    rows.push(("crew,crew=c2,zone=z1,node=one jobs=0,jobs_departed=0".to_owned(), 20));
    let Some(night) = Planted::with(&rows) else { return };
    for source in [Source::Prometheus, Source::Influxql] {
        let shown = |board, title, ref_id| night.panel(source, board, title, ref_id, 3600, 60);
        let stage = |ref_id| shown("lg-sla", "Mean time of each stage", ref_id).into_values().next();
        assert_eq!(stage("A"), None, "{source:?}");
        assert_eq!(stage("B").and_then(|values| values.last().copied()), Some(250.0), "{source:?}");
        let share = shown("lg-rain", "Low-lying posts that report", "A");
        let last: Vec<_> = share.iter().map(|(zone, values)| (&**zone, values.last().copied())).collect();
        assert_eq!(last, [("low", Some(75.0))], "{source:?}");
        let load = shown("lg-zone", "Crew load", "A");
        // InfluxQL has all columns at once, and the last of them that is written is the crew's departed ones.
        let last: Vec<_> = load.iter().map(|(crew, values)| (&**crew, values.last().copied())).collect();
        assert_eq!(last, [("c1", Some(3.0)), ("c2", Some(0.0))], "{source:?}");
    }
}

#[test]
fn a_peak_and_an_opening_between_two_wide_steps_are_seen() {
    // Six hours of 2 mA; once 60.5 mA for a look, and once two incidents, neither on a step of half an hour.
    let row = |n: i64| {
        let (leakage, opened) = (if n == 400 { "60.5" } else { "2" }, if n < 100 { 902 } else { 900 });
        (format!("zone,zone=z1 posts=40,leakage_ma_max={leakage},opened_total={opened}"), 30 * n + 7)
    };
    let post = |n: i64| {
        let leakage = if n == 45 { "33.5" } else { "1" };
        (format!("lamp,post=P001,zone=z1 leakage_ma={leakage}"), 300 * n + 11)
    };
    let rows: Vec<_> = (0..760).rev().map(row).chain((0..80).rev().map(post)).collect();
    let Some(night) = Planted::with(&rows) else { return };
    for source in [Source::Prometheus, Source::Influxql] {
        let values = |board, title, ref_id| -> Vec<f64> {
            night.panel(source, board, title, ref_id, 6 * 3600, 1800).into_values().flatten().collect()
        };
        let peak = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
        assert_eq!(peak(values("lg-duty", "Highest leakage by zone", "A")), 60.5, "{source:?}");
        assert_eq!(peak(values("lg-post", "Leakage, and rain", "A")), 33.5, "{source:?}");
        let opened = values("lg-duty", "Rain, and incidents opened", "B");
        assert_eq!(opened.iter().sum::<f64>(), 2.0, "{source:?}: {opened:?}");
    }
}

#[test]
fn a_post_with_a_shell_sensor_alone_can_be_chosen_and_shows_when_it_was_heard() {
    let rows = [
        ("lamp,post=P001,zone=z1 shell_v=7.5".to_owned(), 200),
        ("lamp,post=P001,zone=z1 supply_v=229".to_owned(), 100),
        ("lamp,post=P002,zone=z1 leakage_ma=1".to_owned(), 200),
    ];
    let Some(night) = Planted::with(&rows) else { return };
    let shown = |ref_id| night.panel(Source::Prometheus, "lg-post", "Newest reading", ref_id, 3600, 60);
    assert_eq!(shown("C").into_values().collect::<Vec<_>>(), [[7.5]]);
    assert_eq!(shown("D").into_values().collect::<Vec<_>>(), [[229.0]]);
    let heard = shown("A").into_values().next().unwrap()[0];
    let newest = (night.now - 100_000) as f64;
    assert!((heard - newest).abs() <= 1000.0, "heard {heard}, the newest is of {newest}");
    let by_row = night.panel(Source::Influxql, "lg-post", "Newest reading", "A", 3600, 60);
    assert_eq!(by_row.into_values().collect::<Vec<_>>(), [[229.0]], "the newest row");
    let posts = night.prometheus_posts();
    assert!(posts.contains(&"P001".to_owned()) && posts.contains(&"P002".to_owned()), "{posts:?}");
}

#[test]
fn the_median_and_the_90th_percentile_of_responses_come_from_the_buckets() {
    let names = ["5m", "10m", "15m", "20m", "30m", "60m"].map(|width| format!("response_le_{width}_total"));
    let mut stand: Vec<(&str, u32)> = names.iter().map(|name| (&**name, 300)).collect();
    stand.push(("response_total", 300));
    let of = |counts: [u32; 7]| {
        let grown: Vec<_> = stand.iter().zip(counts).map(|((name, _), count)| (*name, count)).collect();
        let night = Planted::with(&counters(&stand, &grown))?;
        let title = "Response, median and 90th percentile";
        let shown = ["A", "B"].map(|ref_id| {
            let shown = night.panel(Source::Prometheus, "lg-sla", title, ref_id, 3600, 60);
            shown.into_values().next().map(|values| values[0])
        });
        Some(shown)
    };
    let Some(shown) = of([2, 5, 9, 10, 10, 10, 10]) else { return };
    assert_eq!(shown, [Some(600.0), Some(900.0)]);
    assert_eq!(of([0, 0, 0, 0, 0, 0, 2]), Some([Some(3600.0); 2]), "longer than the widest");
    assert_eq!(of([0; 7]), Some([None; 2]), "nobody came");
}

#[test]
fn victoria_metrics_takes_a_first_row_below_ten_for_growth_from_nothing_and_a_higher_one_not() {
    let rows = |opened: u32| counters(&[("opened_total", opened)], &[("opened_total", 2)]);
    let opened = |of: &Planted, span_s| {
        [Source::Prometheus, Source::Influxql].map(|source| {
            of.panel(source, "lg-sla", "Opened", "A", span_s, 60).into_values().next().unwrap()[0]
        })
    };
    // The rows are of two hours: asked about one, there is a row before it.
    let Some(few) = Planted::with(&rows(5)) else { return };
    assert_eq!(opened(&few, 3600), [2.0, 2.0]);
    assert_eq!(opened(&few, 3 * 3600), [7.0, 2.0], "docs/series.md says so");
    let many = Planted::with(&rows(500)).unwrap();
    assert_eq!(opened(&many, 3 * 3600), [2.0, 2.0]);
}

#[test]
fn by_influxql_a_day_begins_at_midnight_of_the_site() {
    let Some(night) = Planted::with(&counters(&[("opened_total", 5)], &[("opened_total", 2)])) else {
        return;
    };
    let set = Set {
        source: Source::Influxql,
        lang: Lang::En,
        public_url: PUBLIC_URL.to_owned(),
        time_zone: TIME_ZONE.to_owned(),
    };
    let files = export(&set).unwrap();
    let file = files.iter().find(|file| file.name == "lg-sla.json").unwrap();
    let dashboard: Dashboard = serde_json::from_str(&file.text).unwrap();
    let title = "Opened, arrived, closed";
    let asked =
        queries(&dashboard).into_iter().find(|query| query.of == title && query.ref_id == "A").unwrap();
    let range = Range { from_ms: night.now - 3 * 86_400_000, to_ms: night.now, step_s: 60 };
    let text = substitute(&asked.text, range, &BTreeMap::from([("interval", "1d")]));
    let series = night.influx.series(&text);
    let days: Vec<i64> =
        series[0]["values"].as_array().unwrap().iter().map(|row| row[0].as_i64().unwrap()).collect();
    assert!(days.len() >= 3, "{days:?}");
    // 00:00 +08:00 is 16:00 UTC.
    assert!(days.iter().all(|at| at.rem_euclid(86_400_000) == 16 * 3_600_000), "{days:?}");
}

#[test]
fn with_the_shipped_scrape_the_rule_that_lampguard_is_down_is_quiet_while_it_runs_and_rings_when_it_ended() {
    if Victoria::start().is_none() {
        return;
    }
    let site = Site::new();
    let lampguard = site.start();
    let address = lampguard.url.trim_start_matches("http://").trim_end_matches('/');
    let scrape = include_str!("../deploy/scrape.yml");
    let faster = scrape.replace("127.0.0.1:8080", address).replace("15s", "1s");
    assert_ne!(faster, scrape);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("scrape.yml");
    std::fs::write(&file, faster).unwrap();
    let victoria = Victoria::start_scraping(&file).unwrap();
    let rule = ALERTS.iter().find(|alert| alert.name == "LampguardDown").unwrap().expr;
    let rings = || {
        victoria.export("up");
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("query", rule).append_pair("nocache", "1");
        let url = format!("http://127.0.0.1:{}/api/v1/query?{}", victoria.port, query.finish());
        let answer = common::http::try_get(&url, None).unwrap();
        !answer.json()["data"]["result"].as_array().unwrap().is_empty()
    };
    assert!(rings(), "nothing was scraped yet");
    wait_until("the rule to be quiet", seconds(30), || {
        std::thread::sleep(seconds(1));
        !rings()
    });
    lampguard.stop();
    wait_until("the rule to ring", seconds(30), || {
        std::thread::sleep(seconds(1));
        rings()
    });
}
