//! From the specification to a dashboard of one data source in one language.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::grafana::{
    Annotation, Choice, Color, Dashboard, DashboardLink, DataLink, Defaults, FieldConfig, GridPos, LinkKind,
    List, Mapping, Panel as Made, Range, Refresh, SCHEMA_VERSION, Shown, Span, Step, Target, Thresholds,
    ThresholdsMode, Transformation, Variable, VariableKind,
};
use crate::spec::{Ask, Board, Draw, Hue, Lang, Look, Panel, Source, Text, To, Var, Words, t};
use crate::{BROWSER, show, table};

/// The variable that holds where our own pages are. `:raw`, or Grafana would write `http%3A%2F%2F`.
pub const OURS: &str = "${lampguard:raw}";

/// One of the four sets, and where our pages are.
#[derive(Clone, Debug)]
pub struct Set {
    /// Kind of data source.
    pub source: Source,
    /// Language of titles.
    pub lang: Lang,
    /// Address of our pages, without a `/` at its end.
    pub public_url: String,
    /// IANA name of the zone in which times are shown and days begin, or `browser`.
    pub time_zone: String,
}

impl Set {
    /// A text in the language of the set.
    pub(crate) fn text(&self, text: Text) -> String {
        text.of(self.lang).to_owned()
    }

    /// The data source that `ds` chooses.
    pub(crate) fn datasource(&self) -> Value {
        json!({ "type": self.source.plugin(), "uid": "${ds}" })
    }

    /// The text of a line; `{tag}` in the words of the data source.
    fn legend(&self, legend: Text) -> String {
        let text = self.text(legend);
        match self.source {
            Source::Prometheus => text.replace('{', "{{").replace('}', "}}"),
            Source::Influxql => text.replace('{', "$tag_").replace('}', ""),
        }
    }

    pub(crate) fn link(&self, to: To) -> DataLink {
        let ours = !to.path.starts_with("/d/");
        let url = if ours { format!("{OURS}{}", to.path) } else { to.path.to_owned() };
        DataLink { title: self.text(to.title), url, target_blank: ours }
    }
}

/// A dashboard.
pub fn dashboard(board: &Board, set: &Set) -> Dashboard {
    let mut variables = vec![chosen_source(set)];
    variables.extend(board.vars.iter().map(|var| variable(*var, set)));
    variables.push(ours(set));
    Dashboard {
        id: None,
        uid: board.uid.to_owned(),
        title: set.text(board.title),
        description: set.text(board.about),
        tags: ["lampguard", set.source.word(), set.lang.word()].map(ToOwned::to_owned).to_vec(),
        timezone: set.time_zone.clone(),
        editable: false,
        graph_tooltip: 1,
        schema_version: SCHEMA_VERSION,
        refresh: board.refresh.to_owned(),
        time: Span { from: board.back.to_owned(), to: "now".to_owned() },
        links: links(set),
        templating: List { list: variables },
        annotations: List { list: annotations(set) },
        panels: panels(board, set),
    }
}

fn links(set: &Set) -> Vec<DashboardLink> {
    let to_board = DashboardLink {
        title: set.text(t("值班页", "Duty board")),
        kind: LinkKind::Link,
        icon: "external link".to_owned(),
        tooltip: set
            .text(t("告警、签收、派单以值班页为准", "alarms, acknowledging and dispatch: on the board")),
        url: format!("{OURS}/"),
        tags: Vec::new(),
        as_dropdown: false,
        include_vars: false,
        keep_time: false,
        target_blank: true,
    };
    let others = DashboardLink {
        title: set.text(t("其他看板", "Other dashboards")),
        kind: LinkKind::Dashboards,
        icon: "dashboard".to_owned(),
        tooltip: String::new(),
        url: String::new(),
        tags: vec!["lampguard".to_owned()],
        as_dropdown: true,
        target_blank: false,
        include_vars: false,
        keep_time: true,
    };
    vec![to_board, others]
}

fn blank(name: &str, label: String, kind: VariableKind, query: String) -> Variable {
    Variable {
        name: name.to_owned(),
        label,
        kind,
        query,
        hide: 0,
        datasource: None,
        definition: None,
        refresh: None,
        sort: None,
        regex: None,
        multi: None,
        include_all: None,
        all_value: None,
        options: None,
        current: None,
    }
}

fn chosen_source(set: &Set) -> Variable {
    let label = set.text(t("数据源", "Data source"));
    let (uid, name) = match set.source {
        Source::Prometheus => ("lampguard-prom", "lampguard VictoriaMetrics"),
        Source::Influxql => ("lampguard-influx", "lampguard InfluxDB"),
    };
    Variable {
        regex: Some(String::new()),
        refresh: Some(Refresh::Load),
        current: Some(Choice { text: json!(name), value: json!(uid), selected: Some(false) }),
        ..blank("ds", label, VariableKind::Datasource, set.source.plugin().to_owned())
    }
}

fn ours(set: &Set) -> Variable {
    let url = set.public_url.clone();
    Variable {
        hide: 2,
        current: Some(Choice { text: json!(url), value: json!(url), selected: Some(true) }),
        ..blank("lampguard", "lampguard".to_owned(), VariableKind::Constant, url)
    }
}

fn variable(var: Var, set: &Set) -> Variable {
    let prometheus = set.source == Source::Prometheus;
    let asked = |name: &str, label: Text, prom: &str, influx: &str| {
        let query = if prometheus { prom } else { influx }.to_owned();
        Variable {
            datasource: Some(set.datasource()),
            definition: Some(query.clone()),
            refresh: Some(Refresh::Time),
            sort: Some(1),
            regex: Some(String::new()),
            multi: Some(false),
            include_all: Some(false),
            ..blank(name, set.text(label), VariableKind::Query, query)
        }
    };
    let several = |variable: Variable| Variable {
        multi: Some(true),
        include_all: Some(true),
        all_value: Some(".*".to_owned()),
        current: Some(Choice { text: json!("All"), value: json!("$__all"), selected: Some(true) }),
        ..variable
    };
    let zone = || {
        asked(
            "zone",
            t("片区", "Zone"),
            "label_values(zone_posts, zone)",
            r#"SHOW TAG VALUES FROM "zone" WITH KEY = "zone""#,
        )
    };
    match var {
        Var::Zones => several(zone()),
        Var::Zone => zone(),
        Var::Roads => several(asked(
            "road",
            t("道路（有异常的）", "Road (with something abnormal)"),
            r#"label_values(abnormal_state{zone=~"$zone"}, road)"#,
            r#"SHOW TAG VALUES FROM "abnormal" WITH KEY = "road" WHERE "zone" =~ /^$zone$/"#,
        )),
        Var::Post => asked(
            "post",
            t("灯杆或控制箱", "Post or cabinet"),
            // Some posts have a shell sensor alone, some are only tested by hand; and sensors in cabinets have incidents too.
            r#"label_values({__name__=~"lamp_leakage_ma|lamp_shell_v|lamp_supply_v|lamp_supply|cabinet_leakage_ma|cabinet_shell_v|cabinet_supply_v|cabinet_supply",zone=~"$zone"}, post)"#,
            r#"SHOW TAG VALUES FROM "lamp", "cabinet" WITH KEY = "post" WHERE "zone" =~ /^$zone$/"#,
        ),
        Var::Interval => {
            let choice =
                |text: &str| Choice { text: json!(text), value: json!(text), selected: Some(text == "10m") };
            let widths = ["5m", "10m", "30m", "1h", "1d"];
            Variable {
                options: Some(widths.map(choice).to_vec()),
                current: Some(choice("10m")),
                ..blank(
                    "interval",
                    set.text(t("统计间隔", "Counted over")),
                    VariableKind::Interval,
                    widths.join(","),
                )
            }
        }
    }
}

fn annotations(set: &Set) -> Vec<Annotation> {
    let mark = |name: Text, color: &str, prom: &str, influx: &str, words: Text| {
        let mut target = target(set, &ask_of(prom, influx), "Anno", true, false, "60s");
        if set.source == Source::Influxql {
            target.text_editor = Some(true);
            target.from_annotations = Some(true);
            target.tags_column = Some("zone".to_owned());
        }
        let prometheus = set.source == Source::Prometheus;
        Annotation {
            name: set.text(name),
            datasource: set.datasource(),
            enable: true,
            hide: false,
            icon_color: color.to_owned(),
            target,
            title_format: prometheus.then(|| set.text(words)),
            tag_keys: prometheus.then(|| "zone".to_owned()),
        }
    };
    vec![
        mark(
            t("气象预警", "Weather warnings"),
            "orange",
            "max by (zone) (max_over_time(weather_warning[$__interval]) or last_over_time(weather_warning[60m])) > 0",
            r#"SELECT "warning" FROM "weather" WHERE $timeFilter AND "warning" > 0"#,
            t("气象预警生效", "a weather warning is in force"),
        ),
        mark(
            t("新险情", "Incidents opened"),
            "red",
            "sum by (zone) (increase(zone_opened_total[$__interval])) > 0",
            r#"SELECT "d" FROM (SELECT non_negative_difference("opened_total") AS "d" FROM "zone" WHERE $timeFilter GROUP BY "zone", "node") WHERE "d" > 0"#,
            t("有新险情", "incidents were opened"),
        ),
    ]
}

fn ask_of(prom: &str, influx: &str) -> Ask {
    crate::spec::ask(prom, influx)
}

/// One question of a panel.
fn target(set: &Set, ask: &Ask, ref_id: &str, over_time: bool, as_table: bool, every: &str) -> Target {
    let format = if as_table { "table" } else { "time_series" }.to_owned();
    let prometheus = set.source == Source::Prometheus;
    let influx = !prometheus;
    let legend = set.legend(ask.legend);
    Target {
        ref_id: ref_id.to_owned(),
        datasource: Some(set.datasource()),
        expr: prometheus.then(|| ask.prom.clone()),
        legend_format: (prometheus && !legend.is_empty()).then(|| legend.clone()),
        range: prometheus.then_some(over_time),
        instant: prometheus.then_some(!over_time),
        format: prometheus.then(|| format.clone()),
        editor_mode: prometheus.then(|| "code".to_owned()),
        interval: (prometheus && over_time).then(|| ask.every.unwrap_or(every).to_owned()),
        query: influx.then(|| local(ask, set)),
        raw_query: influx.then_some(true),
        result_format: influx.then_some(format),
        alias: (influx && !legend.is_empty()).then_some(legend),
        text_editor: None,
        from_annotations: None,
        tags_column: None,
    }
}

/// InfluxQL of a count over `$interval`, which may be a day: days begin where the site is.
fn local(ask: &Ask, set: &Set) -> String {
    if ask.is_by_interval() && set.time_zone != BROWSER {
        format!("{} tz('{}')", ask.influx, set.time_zone)
    } else {
        ask.influx.clone()
    }
}

/// There is such a question in the language of the set.
fn has(ask: &Ask, set: &Set) -> bool {
    !(if set.source == Source::Prometheus { &ask.prom } else { &ask.influx }).is_empty()
}

/// Panels from left to right, row by row, as they are listed; those that only the other language can ask are left out.
fn panels(board: &Board, set: &Set) -> Vec<Made> {
    let (mut made, mut x, mut y, mut deep) = (Vec::new(), 0, 0, 0);
    let answers = |panel: &&Panel| panel.asks.is_empty() || panel.asks.iter().any(|ask| has(ask, set));
    for (id, panel) in (1..).zip(board.panels.iter().filter(answers)) {
        if x + panel.w > 24 {
            (x, y, deep) = (0, y + deep, 0);
        }
        made.push(one_panel(panel, set, id, GridPos { h: panel.h, w: panel.w, x, y }));
        x += panel.w;
        deep = deep.max(panel.h);
    }
    made
}

fn one_panel(panel: &Panel, set: &Set, id: u32, grid_pos: GridPos) -> Made {
    let (over_time, as_table) = match panel.look {
        Look::Lines(_) | Look::Timeline => (true, false),
        Look::Table(..) | Look::Map => (false, true),
        Look::Stat | Look::Gauge | Look::Words(_) | Look::Row => (false, false),
    };
    let letters = ["A", "B", "C", "D", "E", "F", "G", "H"];
    // A table that is one question in InfluxQL is several in PromQL.
    let asked = panel.asks.iter().filter(|ask| has(ask, set));
    let targets: Vec<Target> = letters
        .iter()
        .zip(asked)
        .map(|(letter, ask)| target(set, ask, letter, over_time, as_table, panel.every))
        .collect();
    let row = matches!(panel.look, Look::Row);
    let silent = row || matches!(panel.look, Look::Words(_));
    Made {
        id,
        kind: show::kind(&panel.look).to_owned(),
        title: set.text(panel.title),
        description: (!row).then(|| set.text(panel.about)),
        grid_pos,
        datasource: (!silent).then(|| set.datasource()),
        targets: (!silent).then_some(targets),
        interval: (over_time && set.source == Source::Influxql).then(|| panel.every.to_owned()),
        max_data_points: over_time.then_some(300),
        field_config: (!silent).then(|| fields(panel, set)),
        options: (!row).then(|| show::options(panel, set)),
        transformations: transformations(panel, set),
        repeat: row.then(|| "zone".to_owned()),
        collapsed: row.then_some(false),
        panels: row.then(Vec::new),
    }
}

fn transformations(panel: &Panel, set: &Set) -> Option<Vec<Transformation>> {
    match &panel.look {
        Look::Table(columns, ..) => {
            let several = panel.asks.len() > 1 && set.source == Source::Prometheus;
            Some(table::transformations(columns, several, set))
        }
        _ => None,
    }
}

/// Rising, from a colour that says nothing.
pub(crate) fn thresholds(steps: &[(f64, Hue)]) -> Thresholds {
    let base = Step { color: Hue::Plain.name().to_owned(), value: None };
    let further = steps.iter().map(|(value, hue)| Step { color: hue.name().to_owned(), value: Some(*value) });
    Thresholds { mode: ThresholdsMode::Absolute, steps: std::iter::once(base).chain(further).collect() }
}

/// Words for numbers, as Grafana has them.
pub(crate) fn mappings(words: &[Words], set: &Set) -> Vec<Mapping> {
    let shown = |index: usize, text: Option<String>, hue: Hue| Shown {
        color: (hue != Hue::Plain || text.is_some()).then(|| hue.name().to_owned()),
        index: u32::try_from(index).unwrap_or(u32::MAX),
        text,
    };
    let one = |(place, words): (usize, &Words)| match words {
        Words::Codes(codes, hue) => {
            let of = |(index, code): (usize, &lampguard_model::series::Code)| {
                let word = if set.lang == Lang::Zh { code.zh } else { code.word };
                (code.number.to_string(), shown(index, Some(word.to_owned()), hue(code.number)))
            };
            Mapping::Value(codes.iter().enumerate().map(of).collect())
        }
        Words::Tags(tags) => {
            let of = |(index, (tag, text)): (usize, &(&str, Text))| {
                ((*tag).to_owned(), shown(index, Some(set.text(*text)), Hue::Plain))
            };
            Mapping::Value(tags.iter().enumerate().map(of).collect::<BTreeMap<_, _>>())
        }
        Words::Range(from, to, hue) => {
            Mapping::Range(Range { from: *from, to: *to, result: shown(place, None, *hue) })
        }
    };
    words.iter().enumerate().map(one).collect()
}

/// How the values of a panel look.
fn fields(panel: &Panel, set: &Set) -> FieldConfig {
    let lines = matches!(panel.look, Look::Lines(_));
    // Lines are shades of one grey-blue: the limit that is drawn into the picture is what has a colour.
    let color = if lines {
        Color { mode: "shades".to_owned(), fixed_color: Some("#8494a8".to_owned()) }
    } else {
        Color { mode: "thresholds".to_owned(), fixed_color: None }
    };
    let nothing = panel.nothing.unwrap_or(t("无数据", "no data"));
    let defaults = Defaults {
        unit: Some(panel.unit.to_owned()),
        decimals: panel.decimals,
        min: panel.scale.0,
        max: panel.scale.1,
        color: Some(color),
        thresholds: Some(thresholds(panel.steps)),
        mappings: (!panel.words.is_empty()).then(|| mappings(&panel.words, set)),
        no_value: Some(set.text(nothing)),
        custom: custom(panel, set),
        links: (!panel.to.is_empty()).then(|| panel.to.iter().map(|to| set.link(*to)).collect()),
    };
    let overrides = match &panel.look {
        Look::Table(columns, ..) => table::overrides(columns, set),
        _ => panel.right.map(show::right).into_iter().collect(),
    };
    FieldConfig { defaults, overrides }
}

fn custom(panel: &Panel, set: &Set) -> Option<Value> {
    match &panel.look {
        Look::Lines(draw) => {
            let limits = if panel.steps.is_empty() { "off" } else { "dashed" };
            Some(json!({
                "drawStyle": if *draw == Draw::Bars { "bars" } else { "line" },
                "lineInterpolation": if *draw == Draw::Steps { "stepAfter" } else { "linear" },
                "lineWidth": 2,
                "fillOpacity": if *draw == Draw::Bars { 60 } else { 0 },
                // Points where there is room: a value between two gaps has no line.
                "showPoints": "auto",
                "spanNulls": false,
                "insertNulls": gap_ms(panel, set),
                "axisPlacement": "auto",
                "thresholdsStyle": { "mode": limits },
            }))
        }
        Look::Timeline => Some(json!({
            "lineWidth": 0, "fillOpacity": 70, "spanNulls": false, "insertNulls": gap_ms(panel, set),
        })),
        Look::Table(..) => Some(json!({ "align": "auto", "cellOptions": { "type": "auto" } })),
        _ => None,
    }
}

/// After how long a line is broken; false where empty steps say it themselves. By PromQL a value holds as long as its window
/// and is gone then; InfluxQL with `fill(none)` leaves steps out, and Grafana would draw through them.
fn gap_ms(panel: &Panel, set: &Set) -> Value {
    let leaves_out = |ask: &Ask| ask.influx.ends_with("fill(none)");
    if set.source == Source::Influxql && panel.asks.iter().any(leaves_out) {
        json!(panel.gap_min * 60_000)
    } else {
        json!(false)
    }
}
