//! `[test_dispatch]`: when people on duty are tested, and the key of their links.

use std::path::Path;

use anyhow::{Context, Result};
use jiff::civil::Time;
use lampguard_alerting::test_dispatch::Plan;
use lampguard_alerting::{Secret, TestSetup};
use lampguard_model::Millis;
use serde::Deserialize;

use crate::config::Config;

/// `[test_dispatch]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TestDispatchConfig {
    /// False: nobody is tested.
    pub(crate) enabled: bool,
    /// Local times of day; empty: after the beginning of each shift.
    pub(crate) at: Vec<String>,
    /// Minutes after the beginning of a shift.
    pub(crate) after_shift_start_min: u32,
    /// Minutes in which it has to be confirmed.
    pub(crate) confirm_within_min: u32,
}

impl Default for TestDispatchConfig {
    fn default() -> Self {
        Self { enabled: true, at: Vec::new(), after_shift_start_min: 10, confirm_within_min: 15 }
    }
}

/// A time of day such as 08:10.
pub(crate) fn time_of_day(text: &str) -> Result<Time, String> {
    let bad = || format!("{text:?} is no time of day from 00:00 to 23:59");
    let (hour, minute) =
        text.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2).ok_or_else(bad)?;
    let (hour, minute) = (hour.parse().map_err(|_| bad())?, minute.parse().map_err(|_| bad())?);
    Time::new(hour, minute, 0, 0).map_err(|_| bad())
}

/// What alerting needs; none where nobody is to be tested.
pub(crate) fn setup(config: &Config, data_dir: &Path) -> Result<Option<TestSetup>> {
    let section = &config.test_dispatch;
    if !section.enabled {
        return Ok(None);
    }
    let zone = jiff::tz::TimeZone::get(&config.site.time_zone).context("[site] time_zone")?;
    let plan = Plan {
        at: section.at.iter().filter_map(|text| time_of_day(text).ok()).collect(),
        after_shift: Millis::minutes(i64::from(section.after_shift_start_min)),
        confirm_within: Millis::minutes(i64::from(section.confirm_within_min)),
        zone,
    };
    Ok(Some(TestSetup { plan, key: key(data_dir)? }))
}

/// The key of the links, made once; for its owner alone.
fn key(data_dir: &Path) -> Result<Secret> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = data_dir.join("test_dispatch.key");
    let doing = || format!("key of test links {}", path.display());
    if !path.exists() {
        let new = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let bytes: [u8; 32] = rand::random();
        let mut file = new.with_context(doing)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).with_context(doing)?;
    }
    let bytes = std::fs::read(&path).with_context(doing)?;
    anyhow::ensure!(
        bytes.len() >= 32,
        "{}: shorter than 32 bytes; take it away, and a new one is made",
        doing()
    );
    Ok(Secret::new(bytes))
}
