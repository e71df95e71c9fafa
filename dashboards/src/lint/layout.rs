//! Where panels are.

use std::collections::BTreeSet;

use super::{Findings, Rule};
use crate::grafana::{Dashboard, GridPos};

/// Columns of the grid.
const COLUMNS: u32 = 24;

fn overlap(a: GridPos, b: GridPos) -> bool {
    a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
}

pub(super) fn look(dashboard: &Dashboard, findings: &mut Findings) {
    let mut ids = BTreeSet::new();
    for (place, panel) in dashboard.panels.iter().enumerate() {
        let (title, at) = (&panel.title, panel.grid_pos);
        if !ids.insert(panel.id) {
            findings.add(Rule::PanelId, format!("panel {title:?}: id {} stands twice", panel.id));
        }
        if at.w == 0 || at.h == 0 || at.x.saturating_add(at.w) > COLUMNS {
            findings.add(
                Rule::Grid,
                format!("panel {title:?}: from column {} with width {} is not within {COLUMNS}", at.x, at.w),
            );
        }
        for other in &dashboard.panels[..place] {
            if overlap(at, other.grid_pos) {
                findings.add(Rule::Grid, format!("panel {title:?} lies over {:?}", other.title));
            }
        }
    }
}
