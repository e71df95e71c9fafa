//! What a verification needs (`policy.md` 4).

use lampguard_model::{Millis, Timestamp};

use super::apply::Facts;
use super::order::HandReading;
use super::{Life, Stage};
use crate::policy::Verify;

/// On what the desk's own word stands, in [`super::Verified::on`].
pub(super) const OVERRIDE: &str = "override";

/// Powered valid readings at or below a share of the limit (70 %), without one above the warning limit in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calm {
    /// How many.
    pub count: u32,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
}

impl Calm {
    /// One more.
    pub fn add(&mut self, at: Timestamp) {
        if self.count == 0 {
            self.first = at;
        }
        (self.count, self.last) = (self.count.saturating_add(1), at);
    }

    /// What is missing, in words; none when it is enough.
    pub fn missing(&self, verify: &Verify) -> Option<String> {
        let span = self.last.since(self.first);
        if self.count >= verify.readings && span >= verify.over {
            return None;
        }
        let minutes = span.as_seconds() / 60;
        Some(format!(
            "{} powered reading(s) at or below {} % of the limit over {minutes} min since the repair, at least \
             {} over {} min are needed",
            self.count,
            verify.share.0 / 1000,
            verify.readings,
            verify.over.as_seconds() / 60
        ))
    }
}

/// Limits for a reading by hand, V and mA: it has to be at or below the share of verifying (70 %) of the first two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HandLimits {
    /// Shell voltage.
    pub shell_v: f64,
    /// Leakage.
    pub leakage_ma: f64,
    /// A pen band from here on is a live post, V.
    pub live_band_v: f64,
}

/// What is wrong with a manual reading as the ground of a verification; none when it is good.
pub(super) fn fault_of(reading: &HandReading, limits: HandLimits, verify: &Verify) -> Option<String> {
    if reading.supply.as_deref() != Some("on") {
        return Some("reading.supply is not \"on\": without supply a reading proves nothing".to_owned());
    }
    if reading.check.as_deref().is_some_and(|check| check != "ok") {
        return Some("reading.check is not \"ok\"".to_owned());
    }
    // In whole thousandths: 70 % of 12 V is exactly 8.4 V.
    let share = i128::from(verify.share.0);
    let whole = |value: f64| (value * 1000.0).round() as i128;
    let above = |value: Option<f64>, limit: f64| {
        value.is_some_and(|value| !value.is_finite() || whole(value) * 100_000 > whole(limit) * share)
    };
    if above(reading.shell_v, limits.shell_v) || above(reading.leakage_ma, limits.leakage_ma) {
        let part = share as f64 / 100_000.0;
        let (volts, milliamps, percent) = (limits.shell_v * part, limits.leakage_ma * part, share / 1000);
        return Some(format!(
            "the reading is above {percent} % of the limit ({volts:.1} V, {milliamps:.1} mA)"
        ));
    }
    if reading.pen_band_v.is_some_and(|band| !band.is_finite() || band >= limits.live_band_v) {
        return Some("reading.pen_band_v shows a live post".to_owned());
    }
    let says = reading.shell_v.is_some()
        || reading.leakage_ma.is_some()
        || reading.pen_band_v.is_some()
        || reading.check.is_some();
    (!says).then(|| "reading holds none of shell_v, leakage_ma, pen_band_v, check".to_owned())
}

impl Life {
    /// Evidence after the verification: its half hour begins anew, and somebody verifies again (`policy.md` 4). True
    /// when there was one to take back.
    pub fn verify_anew(&mut self) -> bool {
        let verified = self.state == Stage::Verifying;
        if verified {
            (self.state, self.verified) = (Stage::Repaired, None);
        }
        verified
    }

    /// The desk believed the repair although the readings did not show it.
    pub fn is_overridden(&self) -> bool {
        self.verified.as_ref().is_some_and(|verified| verified.on == OVERRIDE)
    }
}

impl Facts {
    /// The state that raised it has been gone for long enough since the repair; true for what has limits.
    pub(super) fn has_gone(&self) -> bool {
        let calm = &self.calm;
        self.gone_for.is_none_or(|over| calm.count > 0 && calm.last.since(calm.first) >= over)
    }

    /// What is not shown yet, with the verifier's own reading if there is one; none when the repair may be believed.
    pub(super) fn not_shown(&self, life: &Life, reading: Option<&HandReading>) -> Option<String> {
        if let Some(at) = life.above_at {
            return Some(format!(
                "a sample was at or above the limit at {at}, since the repair: repair again"
            ));
        }
        if !self.needs_hand_test && self.gone_for.is_none() {
            return self.calm.missing(&self.verify);
        }
        if !self.needs_hand_test && self.has_gone() {
            return None;
        }
        let own = |over: Millis| {
            let minutes = over.as_seconds() / 60;
            format!(
                "since the repair its state has not been gone for {minutes} min: wait, or send the verifier's own reading"
            )
        };
        match (reading, self.gone_for) {
            (Some(reading), _) => fault_of(reading, self.limits, &self.verify),
            (None, Some(over)) if !self.needs_hand_test => Some(own(over)),
            (None, _) => Some("no sensor can show it: send the verifier's own reading".to_owned()),
        }
    }
}
