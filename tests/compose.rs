//! `deploy/compose.yaml`, as far as it can be checked without an engine: its keys, and that what it names is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::process::{finish, program, texts};
use common::servers::installed;
use common::{everything_is_asked_for, seconds};
use serde_json::{Map, Value};

/// Keys of a service that we use, of those that the Compose specification has.
const SERVICE: [&str; 18] = [
    "image",
    "build",
    "restart",
    "depends_on",
    "ports",
    "environment",
    "volumes",
    "secrets",
    "healthcheck",
    "read_only",
    "tmpfs",
    "cap_drop",
    "security_opt",
    "ulimits",
    "stop_grace_period",
    "command",
    "user",
    "entrypoint",
];
const TOP: [&str; 4] = ["name", "services", "volumes", "secrets"];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// YAML as JSON, by Python's reader; `None` where it is not installed.
fn yaml(path: &Path) -> Option<Value> {
    installed("python3")?;
    let script = "import sys, json\ntry:\n import yaml\nexcept ImportError:\n sys.exit(77)\n\
                  print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script]).arg(path);
    let output = finish("python3", command, seconds(30));
    if output.status.code() == Some(77) {
        assert!(!everything_is_asked_for(), "python3-yaml is not installed and LAMPGUARD_TESTS=all");
        return None;
    }
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{}: {err}", path.display());
    Some(serde_json::from_str(&out).unwrap())
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map(|items| items.iter().collect()).unwrap_or_default()
}

fn strange<'m>(map: &'m Map<String, Value>, known: &[&str]) -> Vec<&'m String> {
    map.keys().filter(|key| !known.contains(&key.as_str())).collect()
}

/// What is wrong with a compose file; `exists` knows the paths that it may mount.
fn faults(compose: &Value, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    let top = compose.as_object().unwrap();
    faults.extend(strange(top, &TOP).into_iter().map(|key| format!("{key}: not a key of ours")));
    let names =
        |key: &str| top[key].as_object().map(|map| map.keys().cloned().collect::<BTreeSet<_>>()).unwrap();
    let (services, volumes, secrets) = (names("services"), names("volumes"), names("secrets"));
    let mut used = BTreeSet::new();
    for (name, service) in top["services"].as_object().unwrap() {
        let mut fault = |text: String| faults.push(format!("{name}: {text}"));
        for key in strange(service.as_object().unwrap(), &SERVICE) {
            fault(format!("{key} is not a key of ours"));
        }
        let image = service["image"].as_str().unwrap_or_default();
        if service.get("build").is_none() && !image.contains(':') || image.ends_with(":latest") {
            fault(format!("image {image} has no version"));
        }
        for volume in list(&service["volumes"]) {
            let text = volume.as_str().unwrap_or_default();
            let from = text.split(':').next().unwrap_or_default();
            if from.starts_with('.') {
                if !exists(from) {
                    fault(format!("{from} is not there"));
                }
                if !text.ends_with(":ro") {
                    fault(format!("{from} can be written"));
                }
            } else if !volumes.contains(from) {
                fault(format!("volume {from} is not declared"));
            }
        }
        for secret in list(&service["secrets"]) {
            let source = secret.as_str().or_else(|| secret["source"].as_str()).unwrap_or_default();
            used.insert(source.to_owned());
            if !secrets.contains(source) {
                fault(format!("secret {source} is not declared"));
            }
        }
        for other in list(&service["depends_on"]) {
            if !services.contains(other.as_str().unwrap_or_default()) {
                fault(format!("depends on {other}"));
            }
        }
        for (key, value) in service["environment"].as_object().into_iter().flatten() {
            let secret = ["PASSWORD", "TOKEN", "SECRET"].iter().any(|word| key.contains(word));
            let file = value.as_str().and_then(|text| text.strip_prefix("/run/secrets/"));
            if secret
                && !file.is_some_and(|file| list(&service["secrets"]).iter().any(|known| *known == file))
            {
                fault(format!("{key} is a secret that comes by no file of its own"));
            }
        }
    }
    faults.extend(secrets.difference(&used).map(|name| format!("secret {name} is used by nobody")));
    faults
}

/// Dashboards and provisioning are made from one specification in the crate `dashboards`; before it is there, so are they not.
fn is_there(path: &str) -> bool {
    let made_there = ["./grafana/", "../dashboards/"].iter().any(|start| path.starts_with(start));
    deploy().join(path).exists() || made_there && !deploy().join("../dashboards").exists()
}

#[test]
fn what_the_compose_file_names_is_there_and_secrets_come_by_files() {
    let Some(compose) = yaml(&deploy().join("compose.yaml")) else { return };
    assert_eq!(faults(&compose, is_there), Vec::<String>::new());
    assert_eq!(compose["services"].as_object().unwrap().len(), 4);
    let build = &compose["services"]["lampguard"]["build"];
    assert_eq!((&build["context"], is_there("../Cargo.lock")), (&Value::from(".."), true));
    assert!(is_there(&format!("../{}", build["dockerfile"].as_str().unwrap())));

    // Each fault that it looks for is found.
    for (from, to, wanted) in [
        ("./policy.toml:", "./policies.toml:", "./policies.toml is not there"),
        (
            "policy.toml:/etc/lampguard/policy.toml:ro",
            "policy.toml:/etc/lampguard/policy.toml",
            "can be written",
        ),
        ("/run/secrets/influxdb-password", "hunter2", "DOCKER_INFLUXDB_INIT_PASSWORD_FILE is a secret"),
        ("\"restart\"", "\"restrt\"", "restrt is not a key"),
        ("influxdb:2.7", "influxdb", "has no version"),
    ] {
        let text = compose.to_string();
        assert!(text.contains(from), "{from}");
        let planted: Value = serde_json::from_str(&text.replace(from, to)).unwrap();
        let found = faults(&planted, is_there);
        assert!(found.iter().any(|fault| fault.contains(wanted)), "{wanted}: {found:?}");
    }
}

#[test]
fn ports_and_environment_agree_with_the_configuration_and_prepare_makes_every_secret() {
    let Some(compose) = yaml(&deploy().join("compose.yaml")) else { return };
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("compose");
    std::fs::create_dir(&folder).unwrap();
    for name in ["prepare", "lampguard.toml", "posts.csv"] {
        std::fs::copy(deploy().join("compose").join(name), folder.join(name)).unwrap();
    }
    std::fs::copy(deploy().join("policy.toml"), folder.join("policy.toml")).unwrap();
    let prepare = || {
        let mut command = Command::new(folder.join("prepare"));
        command.env("LAMPGUARD", env!("CARGO_BIN_EXE_lampguard"));
        let output = finish("compose/prepare", command, seconds(60));
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{out}{err}");
    };
    prepare();
    let secrets = compose["secrets"].as_object().unwrap();
    let read = |secret: &Value| std::fs::read(home.path().join(secret["file"].as_str().unwrap())).unwrap();
    let made: Vec<Vec<u8>> = secrets.values().map(read).collect();
    assert!(made.iter().all(|bytes| !bytes.is_empty()));
    prepare();
    assert!(secrets.values().map(read).eq(made), "a second time nothing is written over");

    // The configuration is good with the files that are mounted and the words of the environment.
    let text = std::fs::read_to_string(folder.join("lampguard.toml")).unwrap();
    let text = text.replace("/run/secrets/", &format!("{}/secrets/", folder.display()));
    std::fs::write(folder.join("lampguard.toml"), text).unwrap();
    let lampguard = &compose["services"]["lampguard"];
    let environment = lampguard["environment"].as_object().unwrap();
    let check = |more: Option<(&str, &str)>| {
        let mut command = program();
        command.args(["config", "check"]).arg(folder.join("lampguard.toml"));
        command.envs(environment.iter().map(|(key, value)| (key, value.as_str().unwrap()))).envs(more);
        let output = finish("lampguard config check", command, seconds(30));
        (output.status.success(), texts(&output).1)
    };
    assert_eq!(check(None), (true, String::new()));
    assert!(!check(Some(("LAMPGUARD__WEB__BINT", "x"))).0, "a name that is no key is found");

    let bind = environment["LAMPGUARD__WEB__BIND"].as_str().unwrap();
    let port = bind.rsplit(':').next().unwrap();
    assert_eq!(lampguard["ports"][0], format!("127.0.0.1:{port}:{port}"));
    let mosquitto = std::fs::read_to_string(deploy().join("mosquitto-tls.conf")).unwrap();
    let listener = mosquitto.lines().find_map(|line| line.strip_prefix("listener ")).unwrap();
    assert_eq!(compose["services"]["mosquitto"]["ports"][0], format!("{listener}:{listener}"));
    // Every file that Mosquitto's snippet names is mounted where it names it.
    let service = compose["services"]["mosquitto"].to_string();
    for key in ["certfile ", "keyfile ", "cafile ", "acl_file "] {
        let path = mosquitto.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        assert!(service.contains(path), "{path} is not mounted");
    }
    let source = yaml(&deploy().join("compose/grafana-influxdb.yaml")).unwrap();
    let source = &source["datasources"][0];
    let url = source["url"].as_str().unwrap();
    assert!(
        std::fs::read_to_string(folder.join("lampguard.toml")).unwrap().contains(&format!("url = \"{url}\"")),
        "{url}"
    );
    let token = source["secureJsonData"]["httpHeaderValue1"].as_str().unwrap();
    let of_grafana = compose["services"]["grafana"].to_string();
    let file =
        token.strip_prefix("Token $__file{/run/secrets/").and_then(|rest| rest.strip_suffix('}')).unwrap();
    assert!(of_grafana.contains(&format!("\"{file}\"")), "{file}");
    let org = &compose["services"]["influxdb"]["environment"]["DOCKER_INFLUXDB_INIT_ORG"];
    let config = std::fs::read_to_string(folder.join("lampguard.toml")).unwrap();
    assert!(config.contains(&format!("org = {org}")) && config.contains(&format!("bucket = {org}")));
}
