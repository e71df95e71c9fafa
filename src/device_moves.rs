//! Which device hung on which post until when: out of the events `register_changed`, in memory for the pages.
//!
//! Readings, chunks and incidents stand under the post on which a device hung when it spoke; a move changes none of them.
//! What is kept here only says whose readings they are.

use lampguard_alerting::Alerting;
use lampguard_model::register::difference::{DeviceMove, Difference};
use lampguard_model::{Register, Timestamp};
use serde_json::{Value, json};
use tracing::warn;

/// Moves that one event names; further ones are a number.
pub(crate) const NAMED_MAX: usize = 1_000;
/// Moves in memory; older ones stand in the hash chain alone.
const KEPT_MAX: usize = 10_000;
/// Events that are read for them at the start.
const EVENTS_MAX: usize = 200;
/// Moves that are shown of one post.
const SHOWN_MAX: usize = 20;
/// Kind of the event.
pub(crate) const EVENT: &str = "register_changed";

/// The newest moves, newest first.
#[derive(Debug, Default)]
pub(crate) struct DeviceMoves(Vec<(Timestamp, DeviceMove)>);

impl DeviceMoves {
    /// Out of the hash chain.
    pub(crate) fn read(alerting: &Alerting) -> Self {
        let events = alerting.events_of_kind(EVENT, EVENTS_MAX).unwrap_or_else(|e| {
            warn!(error = %e, "which devices moved could not be read: pages do not say it until the next start");
            Vec::new()
        });
        let mut moves = Vec::new();
        for (at, body) in events {
            let named = body["devices"].as_array().map_or(&[][..], Vec::as_slice);
            moves.extend(named.iter().filter_map(|one| Some((at, of_json(one)?))));
            if moves.len() >= KEPT_MAX {
                break;
            }
        }
        moves.truncate(KEPT_MAX);
        Self(moves)
    }

    /// With those of a change that was just made.
    pub(crate) fn with(&self, at: Timestamp, difference: &Difference) -> Self {
        let new = difference.devices.iter().take(NAMED_MAX).map(|one| (at, one.clone()));
        Self(new.chain(self.0.iter().cloned()).take(KEPT_MAX).collect())
    }

    /// What came to a post or left it, newest first.
    pub(crate) fn of_post<'m>(&'m self, post: &str) -> impl Iterator<Item = &'m (Timestamp, DeviceMove)> {
        let about = move |(_, one): &&(Timestamp, DeviceMove)| {
            [&one.from, &one.to].into_iter().any(|name| name.as_deref() == Some(post))
        };
        self.0.iter().filter(about).take(SHOWN_MAX)
    }

    /// Since when the device hangs on this post, and what hung there until then; none when that was never another one.
    pub(crate) fn hung(
        &self,
        post: &str,
        device: &str,
    ) -> Option<(Timestamp, Option<&DeviceMove>, &DeviceMove)> {
        let (at, came) = self.of_post(post).find(|(_, one)| one.to.as_deref() == Some(post))?;
        let left = |(when, one): &&(Timestamp, DeviceMove)| when == at && one.from.as_deref() == Some(post);
        let before = self.0.iter().find(left).map(|(_, one)| one);
        (*came.device == *device).then_some((*at, before, came))
    }

    /// The newest move of each device, for lists.
    pub(crate) fn newest(&self) -> std::collections::HashMap<&str, (Timestamp, &DeviceMove)> {
        // Oldest first: the newest stays.
        self.0.iter().rev().map(|(at, one)| (&*one.device, (*at, one))).collect()
    }
}

/// What an event says of a changed register.
pub(crate) fn body(
    by: &str,
    file: &std::path::Path,
    sha256: &str,
    posts: usize,
    difference: &Difference,
) -> Value {
    let moved = difference.moved().count();
    let devices: Vec<Value> = difference.devices.iter().take(NAMED_MAX).map(to_json).collect();
    json!({
        "by": by, "file": file, "sha256": sha256, "posts": posts, "added": difference.added.len(),
        "removed": difference.removed.len(), "moved": moved, "other": difference.changed.len() - moved,
        "devices_moved": difference.devices.len(), "devices": devices,
    })
}

fn to_json(one: &DeviceMove) -> Value {
    json!({ "device": one.device, "from": one.from, "to": one.to, "renamed": one.renamed })
}

/// One move as the interface shows it.
pub(crate) fn shown((at, one): &(Timestamp, DeviceMove)) -> Value {
    let mut shown = to_json(one);
    shown["at"] = json!(at.to_rfc3339());
    shown
}

fn of_json(value: &Value) -> Option<DeviceMove> {
    let name = |key: &str| value[key].as_str().map(std::sync::Arc::from);
    let renamed = value["renamed"].as_bool().unwrap_or(false);
    Some(DeviceMove { device: name("device")?, from: name("from"), to: name("to"), renamed })
}

/// The register by which the last instance ran, in the data directory.
const LAST: &str = "register.csv";

/// How this register differs from the one by which the last instance ran, as far as that is known.
pub(crate) fn since_last(dir: &std::path::Path, register: &Register) -> Option<Difference> {
    let bytes = std::fs::read(dir.join(LAST)).ok()?;
    if bytes == register.to_csv().as_bytes() {
        return None;
    }
    let last = Register::parse(&bytes).ok();
    if last.is_none() {
        warn!(
            "{LAST} of the data directory cannot be read: what changed since the last start is not in the hash chain"
        );
    }
    last.map(|last| Difference::between(&last, register)).filter(Difference::is_some)
}

/// The next start compares with this one.
pub(crate) fn keep(dir: &std::path::Path, register: &Register) {
    let path = dir.join(LAST);
    let text = register.to_csv();
    if std::fs::read(&path).is_ok_and(|known| known == text.as_bytes()) {
        return;
    }
    if let Err(e) = lampguard_ingester::loss::replace_file(&path, text.as_bytes()) {
        warn!(path = %path.display(), error = %e, "the register in force could not be kept: the next start cannot say what changed");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);

    fn one(device: &str, from: &str, to: &str) -> DeviceMove {
        let name = |text: &str| Some(Arc::from(text)).filter(|_| text != "-");
        DeviceMove { device: Arc::from(device), from: name(from), to: name(to), renamed: false }
    }

    fn difference(devices: Vec<DeviceMove>) -> Difference {
        Difference { devices, ..Difference::default() }
    }

    #[test]
    fn a_post_says_since_when_its_device_hangs_there_and_what_hung_there_before() {
        let moves =
            DeviceMoves::default().with(T, &difference(vec![one("D2", "P2", "P1"), one("D1", "P1", "P2")]));
        let later = T + lampguard_model::Millis::hours(1);
        let moves = moves.with(later, &difference(vec![one("D9", "-", "P1"), one("D2", "P1", "-")]));
        let hung = |post, device| {
            let (at, before, came) = moves.hung(post, device)?;
            Some((at, before.map(|it| it.device.to_string()), came.from.as_deref().map(str::to_owned)))
        };
        assert_eq!(hung("P1", "D9"), Some((later, Some("D2".to_owned()), None)));
        assert_eq!(hung("P2", "D1"), Some((T, Some("D2".to_owned()), Some("P1".to_owned()))));
        assert_eq!((hung("P1", "D1"), hung("P7", "D7")), (None, None), "not by what was recorded");
        assert_eq!(moves.of_post("P1").count(), 4);
        assert_eq!(moves.newest()["D2"], (later, &one("D2", "P1", "-")));
        let told =
            body("SIGHUP", std::path::Path::new("posts.csv"), "", 2, &difference(vec![one("D1", "P1", "-")]));
        assert_eq!(of_json(&told["devices"][0]), Some(one("D1", "P1", "-")));
    }

    #[test]
    fn moves_beyond_the_limits_are_a_number_and_the_oldest_are_forgotten() {
        let many: Vec<DeviceMove> =
            (0..NAMED_MAX + 1).map(|n| one(&format!("D{n}"), "-", &format!("P{n}"))).collect();
        let told = difference(many);
        let event = body("start", std::path::Path::new("posts.csv"), "", 9, &told);
        assert_eq!(event["devices"].as_array().unwrap().len(), NAMED_MAX);
        assert_eq!(event["devices_moved"], NAMED_MAX + 1);
        let all = (0..11).fold(DeviceMoves::default(), |moves, _| moves.with(T, &told));
        assert_eq!(all.0.len(), KEPT_MAX);
    }
}
