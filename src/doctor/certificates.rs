//! Certificates that end soon.

use std::path::Path;

use lampguard_ingester::source::listener;
use lampguard_model::Timestamp;

use super::{Findings, Grade};
use crate::certificates::{self, SOON};
use crate::clock;
use crate::config::Config;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    for (_, what, file) in certificates::files(config) {
        match listener::ends_at(file) {
            Some(end) => look(&what, file, end, clock::now(), findings),
            None => findings.add(
                Grade::Unknown,
                "certificate",
                format!("{what} {}: when it ends cannot be read", file.display()),
            ),
        }
    }
}

fn look(what: &str, file: &Path, end: Timestamp, now: Timestamp, findings: &mut Findings) {
    let (day, file) = (end.to_rfc3339(), file.display());
    let cure = "cure: put a new one in its place; it is read again without a restart";
    if end <= now {
        let text = format!("{what} {file} ended on {day}: nobody who looks gets in; {cure}");
        findings.add(Grade::Bad, "certificate", text);
    } else if end.since(now) < SOON {
        let text = format!("{what} {file} ends on {day}, in less than 30 days; {cure}");
        findings.add(Grade::Warn, "certificate", text);
    } else {
        findings.add(Grade::Good, "certificate", format!("{what} {file} ends on {day}"));
    }
}

#[cfg(test)]
mod tests {
    use lampguard_model::Millis;

    use super::*;

    #[test]
    fn a_certificate_is_named_thirty_days_before_its_end_and_is_bad_behind_it() {
        let end = Timestamp(1_795_435_200_000);
        let grade = |before: Millis| {
            let mut findings = Findings::default();
            look("x", Path::new("x.pem"), end, end + Millis(-before.0), &mut findings);
            findings.0[0].grade
        };
        assert_eq!(grade(Millis::hours(31 * 24)), Grade::Good);
        assert_eq!(grade(Millis::hours(29 * 24)), Grade::Warn);
        assert_eq!(grade(Millis(0)), Grade::Bad);
    }
}
