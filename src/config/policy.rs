//! The policy file, as `[policy] file`, `--policy` and `--against` name it.

use std::path::Path;

use lampguard_alerting::{Ladders, Policies, WeakLadder};

use super::{BadConfig, Fault};

/// Reads and checks a policy file.
///
/// # Errors
/// [`BadConfig`] with every fault at once.
pub(crate) fn read(file: &Path) -> Result<Policies, BadConfig> {
    let bad = |faults| BadConfig { file: file.to_owned(), faults };
    let text = std::fs::read_to_string(file).map_err(|e| {
        let reason = format!("not readable: {e}; `lampguard config print --policy` prints a sample");
        bad(vec![Fault { key: "file".to_owned(), line: None, reason }])
    })?;
    Policies::parse(&text).map_err(|faults| {
        let own = |fault: lampguard_alerting::policy::PolicyFault| Fault {
            key: fault.key,
            line: Some(fault.line),
            reason: fault.reason,
        };
        bad(faults.into_iter().map(own).collect())
    })
}

/// A fault of the policy file among those of the configuration.
pub(super) fn of_file(file: &Path, fault: &Fault) -> Fault {
    let reason = format!("{}: {fault}", file.display());
    Fault { key: "policy.file".to_owned(), line: None, reason }
}

/// What a policy says of itself, for people: versions, fingerprints, and what was accepted.
pub(crate) fn describe(policies: &Policies) -> String {
    let mut text = String::new();
    for version in policies.versions() {
        let from = version.from.map_or_else(|| "the beginning".to_owned(), |from| from.to_rfc3339());
        let reason =
            if version.reason.is_empty() { String::new() } else { format!("  ({})", version.reason) };
        text.push_str(&format!("policy {} from {from}{reason}\n", &version.hash[..12]));
        for weak in &version.accepted {
            text.push_str(&format!(
                "  weaker than the floor: {} = {}, floor {}; accepted: {}\n",
                weak.key, weak.value, weak.floor, weak.reason
            ));
        }
    }
    text
}

/// Ladders that are weaker than the rules, for people.
pub(crate) fn describe_ladders(ladders: &Ladders) -> String {
    ladders.weak().iter().map(|weak| format!("  {}\n", weak_text(weak))).collect()
}

/// One of them in a line.
pub(crate) fn weak_text(weak: &WeakLadder) -> String {
    let zones = if weak.zones.is_empty() { "all zones".to_owned() } else { weak.zones.join(", ") };
    format!(
        "[[escalation]] {} of {zones} is weaker than the rules: {}; accepted: {}",
        weak.severity.name(),
        weak.weaker.join("; "),
        weak.reason
    )
}
