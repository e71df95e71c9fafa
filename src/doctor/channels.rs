//! Channels: does each reach its other side, and would it ring somebody? Nobody is rung by asking: a HEAD of the host's root,
//! a mail server's greeting and login.

use std::time::Duration;

use super::{Findings, Grade};
use crate::config::people::everybody;
use crate::config::{Channel, Config};
use crate::data_dir::Local;

/// Length of DingTalk's secrets, `SEC` and 64 digits.
const DINGTALK_SECRET: usize = 67;
/// A key shorter than this can be guessed.
const SECRET_MIN: usize = 16;
/// Robots of DingTalk and WeCom are blocked above 20; 18 leaves room for clocks that differ.
const ROBOT_RATE: u32 = 18;

/// Looks at every channel.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    let ringing = config.channels.iter().filter(|channel| channel.kind != "console").count();
    match ringing {
        0 => findings.add(
            Grade::Warn,
            "channels",
            "incidents are only printed: nobody's phone rings; cure: a [[channel]] such as dingtalk and one of sms_http",
        ),
        1 => findings.add(
            Grade::Warn,
            "channels",
            "one alone: when it fails nobody is told; cure: a second [[channel]] of another provider",
        ),
        _ => {}
    }
    // Each may take its ten seconds, so they are asked side by side.
    let reached: Vec<(bool, String)> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            config.channels.iter().map(|channel| scope.spawn(move || reach(channel))).collect();
        let lost = || (false, "could not be asked".to_owned());
        asked.into_iter().map(|asked| asked.join().unwrap_or_else(|_| lost())).collect()
    });
    let desk_dials = config.desk.as_ref().is_some_and(|desk| desk.phone.is_some());
    for (channel, (good, text)) in config.channels.iter().zip(reached) {
        let about = format!("channel {}", channel.id);
        findings.add(if good { Grade::Good } else { Grade::Bad }, &about, text);
        for text in weak(channel, desk_dials).into_iter().chain(silent_people(config, channel)) {
            findings.add(Grade::Warn, &about, text);
        }
    }
    check_running(config, findings);
}

fn reach(channel: &Channel) -> (bool, String) {
    let made = match channel.build() {
        Ok(made) => made,
        Err(e) => return (false, format!("{e:#}")),
    };
    match made.reach() {
        Ok(()) if channel.kind == "console" => (true, "prints".to_owned()),
        Ok(()) => (true, format!("{} is there; nobody was rung", channel.kind)),
        Err(e) => {
            let cure = match e.fault.name() {
                "dns" => "check the name and this machine's DNS",
                "tls" => "check certificate and clock, or name the authority with ca_file",
                "timeout" | "connect" => "check address, port, firewall and route",
                _ => "see the text",
            };
            (false, format!("{}: {e}; cure: {cure}", e.fault.name()))
        }
    }
}

/// What works, but not well.
fn weak(channel: &Channel, desk_dials: bool) -> Vec<String> {
    let mut found = Vec::new();
    let secret = channel.secret().unwrap_or_default();
    let (kind, length) = (channel.kind.as_str(), secret.len());
    match kind {
        "dingtalk" if length == 0 => {
            found.push("has no secret_file: whoever has the token can write; cure: signing (加签) of the robot".to_owned());
        }
        "dingtalk" if length != DINGTALK_SECRET || !secret.starts_with_sec() => found.push(format!(
            "the secret has {length} characters, DingTalk's begin with SEC and have {DINGTALK_SECRET}; cure: copy it again"
        )),
        "feishu" if length == 0 => {
            found.push("has no secret_file: whoever has the address can write; cure: 签名校验 of the robot".to_owned());
        }
        "webhook" if length < SECRET_MIN => {
            found.push(format!("the secret has {length} characters; cure: {SECRET_MIN} or more, random"));
        }
        _ => {}
    }
    if matches!(kind, "dingtalk" | "wecom") && channel.rate_per_min.is_some_and(|rate| rate > ROBOT_RATE) {
        found.push(format!("rate_per_min is over {ROBOT_RATE}: a clock that differs gets the robot blocked; cure: {ROBOT_RATE}"));
    }
    if channel.phone.is_none() && !desk_dials {
        match kind {
            "sms_http" | "voice_http" => found.push(
                "has no phone: who has no number of his own, such as the desk, is not reached; cure: phone = \"…\"".to_owned(),
            ),
            "dingtalk" | "wecom" => found.push(
                "has no phone: what goes to the desk rings nobody in the group; cure: phone = \"…\"".to_owned(),
            ),
            _ => {}
        }
    }
    if channel.is_plain() && matches!(kind, "dingtalk" | "wecom" | "feishu" | "sms_http" | "voice_http") {
        found.push("goes unencrypted: numbers and tokens can be read on the way; cure: https://".to_owned());
    }
    found
}

/// People whom a robot of this channel would name without ringing their phone. (Those whom a dialling channel could not reach are
/// a fault of the configuration.)
fn silent_people(config: &Config, channel: &Channel) -> Option<String> {
    let calls = matches!(channel.kind.as_str(), "dingtalk" | "wecom") && channel.phone.is_none();
    let named = everybody(config).into_iter().map(|(_, someone)| someone);
    let mute = named.filter(|someone| someone.channels.contains(&channel.id) && someone.phone.is_none());
    let mut names: Vec<&str> = mute.map(|someone| someone.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let text = || format!("rings nobody for {}: they have no phone; cure: give them one", names.join(", "));
    (calls && !names.is_empty()).then(text)
}

/// What a running instance says of them: `channel_up` is 0 after a failure.
fn check_running(config: &Config, findings: &mut Findings) {
    let Ok(local) = Local::read(&config.site.data_dir) else { return };
    let agent = Local::agent(Some(Duration::from_secs(3)));
    let Ok(mut answer) = agent.get(format!("{}/metrics", local.url)).call() else { return };
    let Ok(text) = answer.body_mut().read_to_string() else { return };
    for channel in &config.channels {
        let series = format!("lampguard_alerting_channel_up{{channel=\"{}\"}} 0", channel.id);
        if text.lines().any(|line| line == series) {
            let text =
                "its last telling failed; cure: the log and lampguard_alerting_channel_fault_total say why";
            findings.add(Grade::Bad, &format!("channel {}", channel.id), text);
        }
    }
}
