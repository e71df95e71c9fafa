//! Do the other nodes answer, by the same clock and the same register?

use lampguard_model::Register;

use super::{Findings, Grade};
use crate::clock;
use crate::config::nodes::NodesSection;
use crate::nodes::{self, Owners};

/// Clocks that differ by more make readings late, or ahead, at their owner.
const CLOCK_MAX_MS: i64 = 5000;

pub(super) fn check(config: &NodesSection, register: Option<&Register>, findings: &mut Findings) {
    let owners = Owners::of(config);
    for node in owners.others().filter(|node| owners.judges(*node)) {
        let id = owners.id(node);
        let about = format!("node {id}");
        match nodes::way_to(config, id).and_then(|way| way.ask()) {
            Err(error) => {
                let text = format!(
                    "{error:#}; its readings wait in the journal. Cure: start it, or mend url, token_file, ca_file"
                );
                findings.add(Grade::Bad, &about, text);
            }
            Ok(answer) => {
                findings.add(Grade::Good, &about, "answers, and takes our token");
                let apart = clock::now().0 - answer.now;
                if apart.abs() > CLOCK_MAX_MS {
                    let text = format!("its clock is {apart} ms apart from ours; cure: set both by NTP");
                    findings.add(Grade::Bad, &about, text);
                }
                if !answer.owners.is_empty() && answer.owners != nodes::owners_hash(config) {
                    let text = "its list of owners is another one than ours: a post may be nobody's or two nodes'; cure: the same \
                                [[nodes.peer]] (id, zones, feeders, standby) on all nodes, and restart";
                    findings.add(Grade::Bad, &about, text);
                }
                if register.is_some_and(|register| nodes::register_hash(register) != answer.register) {
                    let text = "its register is another one than ours: a post may be nobody's or two nodes'; cure: give \
                                all nodes the same posts.csv and reload (SIGHUP)";
                    findings.add(Grade::Bad, &about, text);
                }
            }
        }
    }
}
