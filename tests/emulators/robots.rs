//! Group robots: DingTalk, WeCom, Feishu.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Answer, Emulator, Request};

/// Milliseconds since 1970, by whatever clock the test goes.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// One message that people saw.
#[derive(Clone, Debug)]
pub struct Message {
    pub at: i64,
    pub text: String,
    /// Whose phone rang.
    pub rang: Vec<String>,
    pub body: Value,
}

/// What a robot took, and whether it is blocked.
#[derive(Default)]
struct Group {
    messages: Vec<Message>,
    blocked_until: i64,
    blocks: u32,
}

/// A group chat with its robot.
#[derive(Clone)]
pub struct Robot {
    pub emulator: Emulator,
    group: Arc<Mutex<Group>>,
}

impl Robot {
    pub fn messages(&self) -> Vec<Message> {
        self.group.lock().unwrap().messages.clone()
    }

    /// How often the robot was blocked for sending too much.
    pub fn blocks(&self) -> u32 {
        self.group.lock().unwrap().blocks
    }

    fn start(judge: impl Fn(&mut Group, &Request) -> Answer + Send + Sync + 'static) -> Self {
        let group = Arc::new(Mutex::new(Group::default()));
        let own = group.clone();
        let emulator = Emulator::start(move |request| judge(&mut own.lock().unwrap(), request));
        Self { emulator, group }
    }
}

/// More than 20 in a minute: blocked for 10 minutes. True: this one is taken.
fn within_rate(group: &mut Group, now: i64) -> bool {
    if now < group.blocked_until {
        return false;
    }
    let minute = group.messages.iter().filter(|message| now - message.at < 60_000).count();
    if minute >= 20 {
        group.blocked_until = now + 600_000;
        group.blocks += 1;
        return false;
    }
    true
}

fn hmac(key: &[u8], message: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    STANDARD.encode(mac.finalize().into_bytes())
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// DingTalk: token, signature within an hour, 20 a minute, `at` only for numbers that stand in the text too.
pub fn dingtalk(token: &str, secret: &str, now: Now) -> Robot {
    let (token, secret) = (token.to_owned(), secret.to_owned());
    let say = |code: i64, text: &str| Answer::json(&json!({"errcode": code, "errmsg": text}));
    Robot::start(move |group, request| {
        let now = now();
        if request.query("access_token").as_deref() != Some(&*token) {
            return say(300_005, "token is not exist");
        }
        let timestamp = request.query("timestamp").unwrap_or_default();
        let age = timestamp.parse::<i64>().map(|at| (now - at).abs());
        if age.is_err() || age.is_ok_and(|age| age > 3_600_000) {
            return say(310_000, "description:invalid timestamp;solution:check your clock");
        }
        let expected = hmac(secret.as_bytes(), format!("{timestamp}\n{secret}").as_bytes());
        if request.query("sign").as_deref() != Some(&*expected) {
            return say(310_000, "description:sign not match;solution:check your secret");
        }
        if !request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
            return say(43_004, "invalid content type");
        }
        if request.body.len() > 20_000 {
            return say(460_101, "message too long");
        }
        let body = request.json();
        let text = match body["msgtype"].as_str() {
            Some("text") => body["text"]["content"].as_str(),
            Some("markdown") if body["markdown"]["title"].is_string() => body["markdown"]["text"].as_str(),
            _ => None,
        };
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return say(40_035, "missing parameter");
        };
        if !within_rate(group, now) {
            return say(410_100, "send too fast, exceed 20 times per minute");
        }
        let called = strings(&body["at"]["atMobiles"]);
        let rang = called.into_iter().filter(|phone| text.contains(&format!("@{phone}"))).collect();
        group.messages.push(Message { at: now, text: text.to_owned(), rang, body });
        say(0, "ok")
    })
}

/// WeCom: key, 2,048 bytes, 20 a minute.
pub fn wecom(key: &str, now: Now) -> Robot {
    let key = key.to_owned();
    let say = |code: i64, text: &str| Answer::json(&json!({"errcode": code, "errmsg": text}));
    Robot::start(move |group, request| {
        let now = now();
        if request.query("key").as_deref() != Some(&*key) {
            return say(93_000, "invalid webhook url");
        }
        let body = request.json();
        if body["msgtype"] != "text" {
            return say(40_008, "invalid message type");
        }
        let Some(text) = body["text"]["content"].as_str().filter(|text| !text.is_empty()) else {
            return say(44_004, "empty content");
        };
        if text.len() > 2048 {
            return say(40_058, "text.content exceed max length 2048");
        }
        if !within_rate(group, now) {
            return say(45_009, "api freq out of limit");
        }
        let rang = strings(&body["text"]["mentioned_mobile_list"]);
        group.messages.push(Message { at: now, text: text.to_owned(), rang, body });
        say(0, "ok")
    })
}

/// Feishu: token in the path, time in seconds and signature in the body, 100 a minute.
pub fn feishu(token: &str, secret: &str, now: Now) -> Robot {
    let (path, secret) = (format!("/open-apis/bot/v2/hook/{token}"), secret.to_owned());
    let say = |code: i64, text: &str| Answer::json(&json!({"code": code, "msg": text, "data": {}}));
    Robot::start(move |group, request| {
        let now = now();
        if request.path() != path {
            return say(19_001, "param invalid: incoming webhook access token invalid");
        }
        let body = request.json();
        let timestamp = body["timestamp"].as_str().unwrap_or_default();
        let near = timestamp.parse::<i64>().is_ok_and(|at| (now / 1000 - at).abs() <= 3600);
        let expected = hmac(format!("{timestamp}\n{secret}").as_bytes(), b"");
        if !near || body["sign"] != json!(expected) {
            return say(19_021, "sign match fail or timestamp is not within one hour from current time");
        }
        if request.body.len() > 20 << 10 {
            return say(9_499, "Bad Request");
        }
        let Some(text) = body["content"]["text"].as_str().filter(|_| body["msg_type"] == "text") else {
            return say(19_002, "params error, msg_type need");
        };
        if group.messages.iter().filter(|message| now - message.at < 60_000).count() >= 100 {
            return say(11_232, "frequency limited");
        }
        group.messages.push(Message { at: now, text: text.to_owned(), rang: Vec::new(), body: body.clone() });
        say(0, "success")
    })
}
