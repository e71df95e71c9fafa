//! The files beside Grafana: read back as YAML, held to the keys that are known, to each other and to the dashboards.
//!
//! No Grafana runs here. Keys are those of its documents on provisioning; the Token header and the mapping of InfluxDB 2
//! are proved by nothing but this.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::top;
use lampguard_dashboards::alerts::ALERTS;
use lampguard_dashboards::lint::check_promql;
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Value(Scalar::Boolean(value)) => Value::from(*value),
        Yaml::Value(Scalar::Integer(value)) => Value::from(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => Value::from(value.0),
        Yaml::Value(Scalar::String(value)) => Value::from(value.to_string()),
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(map) => Value::Object(
            map.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), json(value))).collect(),
        ),
        other => panic!("{other:?} is YAML that we do not write"),
    }
}

fn text(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn parse<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, String> {
    let documents = Yaml::load_from_str(text).map_err(|e| format!("{name}: {e}"))?;
    assert_eq!(documents.len(), 1, "{name}");
    serde_json::from_value(json(&documents[0])).map_err(|e| format!("{name}: {e}"))
}

fn read<T: DeserializeOwned>(path: &str) -> T {
    parse(path, &text(path)).unwrap()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DataSources {
    api_version: u32,
    datasources: Vec<DataSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DataSource {
    name: String,
    uid: String,
    #[serde(rename = "type")]
    kind: String,
    access: String,
    url: String,
    editable: bool,
    #[serde(default)]
    is_default: bool,
    user: Option<String>,
    json_data: serde_json::Map<String, Value>,
    secure_json_data: Option<serde_json::Map<String, Value>>,
}

#[test]
fn data_sources_have_the_uids_of_the_dashboards_and_no_secret() {
    let known =
        ["httpMethod", "timeInterval", "prometheusType", "version", "dbName", "httpMode", "httpHeaderName1"];
    for (path, uid, kind) in [
        ("victoria-metrics", "lampguard-prom", "prometheus"),
        ("influxdb-1-3", "lampguard-influx", "influxdb"),
        ("influxdb-2", "lampguard-influx", "influxdb"),
    ] {
        let file: DataSources = read(&format!("deploy/grafana/datasources/{path}.yaml"));
        assert_eq!((file.api_version, file.datasources.len()), (1, 1), "{path}");
        let one = &file.datasources[0];
        assert_eq!(
            (one.uid.as_str(), one.kind.as_str(), one.access.as_str()),
            (uid, kind, "proxy"),
            "{path}"
        );
        assert!(one.url.starts_with("http://127.0.0.1:") && !one.editable && !one.name.is_empty(), "{path}");
        assert_eq!(one.is_default, kind == "prometheus", "{path}");
        assert!(one.json_data.keys().all(|key| known.contains(&key.as_str())), "{path}: {:?}", one.json_data);
        for (key, value) in one.secure_json_data.iter().flatten() {
            let secret = value.as_str().unwrap().trim_start_matches("Token ");
            let name = secret.strip_prefix('$').unwrap_or_else(|| panic!("{path}: {key} is no variable"));
            assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{path}: {key}");
        }
        if kind == "influxdb" {
            assert_eq!(
                (&one.json_data["version"], &one.json_data["dbName"]),
                (&"InfluxQL".into(), &"lampguard".into())
            );
        }
        assert_eq!(one.user.is_some(), path == "influxdb-1-3");
        if path == "influxdb-2" {
            assert_eq!(one.json_data["httpHeaderName1"], "Authorization");
            let header = &one.secure_json_data.as_ref().unwrap()["httpHeaderValue1"];
            assert!(header.as_str().unwrap().starts_with("Token $"), "InfluxDB 2 wants the word Token");
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Providers {
    api_version: u32,
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "its keys are what counts")]
struct Provider {
    name: String,
    org_id: u32,
    folder: String,
    folder_uid: String,
    #[serde(rename = "type")]
    kind: String,
    disable_deletion: bool,
    allow_ui_updates: bool,
    update_interval_seconds: u32,
    options: ProviderOptions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ProviderOptions {
    path: String,
    folders_from_files_structure: bool,
}

/// What is wrong with a provider file.
fn provider_fault(name: &str, text: &str) -> Option<String> {
    let file: Providers = match parse(name, text) {
        Ok(file) => file,
        Err(e) => return Some(e),
    };
    let one = &file.providers[0];
    if file.api_version != 1 {
        return Some(format!(
            "{name}: apiVersion {} is not 1; it does not choose v2 of dashboards",
            file.api_version
        ));
    }
    let good =
        one.kind == "file" && one.options.path.starts_with('/') && !one.options.folders_from_files_structure;
    (!good || one.allow_ui_updates)
        .then(|| format!("{name}: not a file provider of dashboards that nobody edits"))
}

#[test]
fn the_provider_is_version_1_and_another_is_found() {
    let path = "deploy/grafana/dashboards/lampguard.yaml";
    let good = text(path);
    assert_eq!(provider_fault(path, &good), None);
    for (from, to) in [
        ("apiVersion: 1", "apiVersion: 2"),
        ("type: file", "type: files"),
        ("allowUiUpdates", "allowUIUpdates"),
        ("path: /var", "path: var"),
    ] {
        let broken = good.replacen(&format!("{from}\n"), &format!("{to}\n"), 1).replacen(
            &format!("{from}:"),
            &format!("{to}:"),
            1,
        );
        let broken = if broken == good { good.replacen(from, to, 1) } else { broken };
        assert_ne!(broken, good);
        assert!(provider_fault("broken", &broken).is_some(), "{to}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    interval: String,
    rules: Vec<PromRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromRule {
    alert: String,
    expr: String,
    r#for: String,
    labels: serde_json::Map<String, Value>,
    annotations: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GrafanaRules {
    api_version: u32,
    groups: Vec<GrafanaGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "its keys are what counts")]
struct GrafanaGroup {
    org_id: u32,
    name: String,
    folder: String,
    interval: String,
    rules: Vec<GrafanaRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GrafanaRule {
    uid: String,
    title: String,
    condition: String,
    r#for: String,
    no_data_state: String,
    exec_err_state: String,
    labels: serde_json::Map<String, Value>,
    annotations: serde_json::Map<String, Value>,
    data: Vec<Asked>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Asked {
    ref_id: String,
    relative_time_range: serde_json::Map<String, Value>,
    datasource_uid: String,
    model: serde_json::Map<String, Value>,
}

#[test]
fn both_files_of_alert_rules_hold_the_same_rules_and_every_one_can_be_read() {
    let prometheus: Rules = read("deploy/alerts.rules.yaml");
    let file: GrafanaRules = read("deploy/grafana/alerting/lampguard.yaml");
    assert_eq!((prometheus.groups.len(), file.groups.len(), file.api_version), (1, 1, 1));
    let (prometheus, grafana) = (&prometheus.groups[0], &file.groups[0]);
    assert_eq!((&prometheus.name, &prometheus.interval), (&grafana.name, &grafana.interval));
    assert_eq!((prometheus.rules.len(), grafana.rules.len()), (ALERTS.len(), ALERTS.len()));
    for ((one, other), alert) in prometheus.rules.iter().zip(&grafana.rules).zip(&ALERTS) {
        let name = &one.alert;
        assert_eq!((name.as_str(), one.expr.as_str()), (alert.name, alert.expr));
        assert_eq!((name, &one.r#for, &one.labels), (&other.title, &other.r#for, &other.labels));
        assert_eq!(check_promql(&one.expr), Vec::<String>::new(), "{name}");
        let asked: Vec<(&str, &str)> =
            other.data.iter().map(|asked| (asked.ref_id.as_str(), asked.datasource_uid.as_str())).collect();
        assert_eq!(asked, [("A", "lampguard-prom"), ("C", "__expr__")], "{name}");
        assert_eq!((other.condition.as_str(), other.no_data_state.as_str()), ("C", "OK"), "{name}");
        assert!(other.uid.len() <= 40 && other.exec_err_state == "Error", "{name}");
        assert!(other.data[0].relative_time_range.contains_key("from"), "{name}");
        let expr = other.data[0].model["expr"].as_str().unwrap();
        assert!(expr.contains(alert.expr), "{name}: {expr}");
        assert_eq!(check_promql(expr), Vec::<String>::new(), "{name}");
        for annotations in [&one.annotations, &other.annotations] {
            let keys: Vec<&String> = annotations.keys().collect();
            assert_eq!(keys, ["description", "summary"], "{name}");
        }
    }
    // Grafana takes `$word` in these files for a variable of its environment.
    assert!(!text("deploy/grafana/alerting/lampguard.yaml").contains('$'));
}

#[test]
fn the_scrape_has_the_job_that_the_rules_ask_for() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        global: serde_json::Map<String, Value>,
        scrape_configs: Vec<Job>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Job {
        job_name: String,
        metrics_path: String,
        static_configs: Vec<serde_json::Map<String, Value>>,
    }
    let config: Config = read("deploy/scrape.yml");
    let job = &config.scrape_configs[0];
    assert_eq!((config.scrape_configs.len(), job.metrics_path.as_str()), (1, "/metrics"));
    assert_eq!(job.static_configs[0]["targets"][0], "127.0.0.1:8080");
    assert_eq!(config.global["scrape_interval"], "15s");
    let asked = format!(r#"up{{job="{}"}}"#, job.job_name);
    assert!(ALERTS.iter().any(|alert| alert.expr.contains(&asked)), "no rule asks for {asked}");
}

#[test]
fn the_example_of_alertmanager_tells_the_desk_what_is_critical() {
    let config: Value = read("deploy/alertmanager.example.yml");
    let receivers: Vec<&str> =
        config["receivers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    let route = &config["route"];
    assert!(receivers.contains(&route["receiver"].as_str().unwrap()));
    let first = &route["routes"][0];
    assert!(receivers.contains(&first["receiver"].as_str().unwrap()));
    assert_eq!(first["matchers"][0], r#"severity="critical""#);
}

#[test]
fn victoria_metrics_scrapes_by_the_file_that_the_papers_put_there() {
    let text = |path: &str| std::fs::read_to_string(top().join(path)).unwrap();
    let flags = text("deploy/victoria-metrics.default");
    let file = flags.split("-promscrape.config=").last().unwrap().split([' ', '"', '\n']).next().unwrap();
    assert!(
        file.starts_with('/') && !file.starts_with("/etc/lampguard/"),
        "{file}: only lampguard reads there"
    );
    for (paper, source) in [
        ("docs/grafana.md", "deploy/scrape.yml"),
        ("deploy/debian/README.Debian", "examples/scrape.yml"),
        ("docs/book/en/3-sensors.md", "examples/scrape.yml"),
        ("docs/book/zh/3-sensors.md", "examples/scrape.yml"),
    ] {
        let paper_text = text(paper).replace("\\\n", " ");
        let puts =
            |line: &&str| line.contains("install -D -m 644") && line.contains(source) && line.contains(file);
        assert!(paper_text.lines().any(|line| puts(&line)), "{paper} does not put {source} to {file}");
    }
}
