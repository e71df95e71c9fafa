//! The commented policy file: every number with its default, unit, meaning and source.

use super::{Floor, Policy, Rule};

const HEAD: &str = "\
# lampguard: the rules of alarm as numbers. `lampguard config print --policy` prints this file.
#
# [policy] file of lampguard.toml names it. What is left out keeps the default shown here. A number carries its
# unit: \"25 V\", \"30 mA\", \"70 %\", \"15 deg\", \"30 min\" (s, min, h, d); counts and factors are bare: 3, 2.5.
# `lampguard config check lampguard.toml` tells every fault at once; docs/policy.md says how to change it.
#
# floor: a setting that protects less needs i_accept = \"reason\" in the same table. The reason is kept and shown.
#
# Changes by date: behind everything else, in the order of time; each keeps what it does not name.
# [[version]]
# from = \"2026-06-01T00:00:00+08:00\"
# reason = \"rainy season\"
# leak_critical.wet = \"12 mA\"
";

/// The file of the defaults.
pub fn sample() -> String {
    let mut text = String::from(HEAD);
    let mut group = "";
    Policy::default().each(&mut |rule, number| {
        if rule.group != group {
            group = rule.group;
            text.push('\n');
            let about = Policy::GROUPS.iter().find(|(name, _)| *name == group);
            for line in about.map_or(&[][..], |(_, docs)| docs) {
                text.push_str(&format!("# {}\n", line.trim()));
            }
            text.push_str(&format!("[{group}]\n"));
        }
        let setting = format!("{} = {}", rule.name, number.to_text());
        text.push_str(&format!("{setting:<34} # {}\n", meaning(rule)));
    });
    text
}

fn meaning(rule: Rule) -> String {
    let lines: Vec<&str> = rule.docs.iter().map(|line| line.trim()).collect();
    let floor = match rule.floor {
        Some(Floor::Most) => " [floor: more is weaker]",
        Some(Floor::Least) => " [floor: less is weaker]",
        None => "",
    };
    let unread =
        if super::UNREAD.contains(&rule.key().as_str()) { " (not read by this version)" } else { "" };
    format!("{}{floor}{unread}", lines.join(" "))
}
