//! Who owns which post. Pure: an answer of the configuration alone.
//!
//! ```text
//! a registered post       the owner of its feeder, else the owner of its zone
//! an unregistered device  the owner of the zone that its topic names, else this node if it owns something, else the
//!                         first node that does
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use lampguard_model::{Post, Register, UNREGISTERED};

use crate::config::nodes::NodesSection;

/// The owners of all posts, as one node sees them.
#[derive(Clone, Debug)]
pub(crate) struct Owners {
    ids: Vec<String>,
    by_zone: HashMap<String, usize>,
    by_feeder: HashMap<String, usize>,
    judging: Vec<bool>,
    own: usize,
    fallback: usize,
}

impl Owners {
    /// The owners of a checked configuration.
    pub(crate) fn of(nodes: &NodesSection) -> Self {
        let peers = &nodes.peer;
        let place = |id: &str| peers.iter().position(|peer| peer.id == id);
        let own = place(&nodes.name).unwrap_or(0);
        let (mut by_zone, mut by_feeder) = (HashMap::new(), HashMap::new());
        for (place, peer) in peers.iter().enumerate() {
            by_zone.extend(peer.zones.iter().map(|zone| (zone.clone(), place)));
            by_feeder.extend(peer.feeders.iter().map(|feeder| (feeder.clone(), place)));
        }
        let mut judging: Vec<bool> = peers.iter().map(crate::config::nodes::PeerSection::owns).collect();
        for standby in peers.iter().filter_map(|peer| place(peer.standby.as_deref()?)) {
            judging[standby] = true;
        }
        let owns_something = |at: usize| peers.get(at).is_some_and(crate::config::nodes::PeerSection::owns);
        let fallback = if owns_something(own) {
            own
        } else {
            (0..peers.len()).find(|at| owns_something(*at)).unwrap_or(own)
        };
        let ids = peers.iter().map(|peer| peer.id.clone()).collect();
        Self { ids, by_zone, by_feeder, judging, own, fallback }
    }

    /// Who owns a post of this zone and feeder; `hint` is the zone that the topic of an unregistered device names.
    pub(crate) fn owner(&self, zone: &str, feeder: &str, hint: Option<&str>) -> usize {
        if zone.is_empty() || zone == UNREGISTERED {
            return hint.and_then(|zone| self.by_zone.get(zone)).copied().unwrap_or(self.fallback);
        }
        let of_feeder = self.by_feeder.get(feeder).filter(|_| !feeder.is_empty());
        of_feeder.or_else(|| self.by_zone.get(zone)).copied().unwrap_or(self.fallback)
    }

    /// Another node owns it.
    pub(crate) fn is_foreign(&self, zone: &str, feeder: &str, hint: Option<&str>) -> bool {
        self.owner(zone, feeder, hint) != self.own
    }

    /// Its rules run: it owns posts, or stands by for a node that does.
    pub(crate) fn judges(&self, node: usize) -> bool {
        self.judging.get(node).copied().unwrap_or(false)
    }

    /// This node's rules run.
    pub(crate) fn judges_here(&self) -> bool {
        self.judges(self.own)
    }

    pub(crate) fn own(&self) -> usize {
        self.own
    }

    pub(crate) fn id(&self, node: usize) -> &str {
        self.ids.get(node).map_or("", |id| id.as_str())
    }

    pub(crate) fn place(&self, id: &str) -> Option<usize> {
        self.ids.iter().position(|known| known == id)
    }

    /// Every node but this one.
    pub(crate) fn others(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.ids.len()).filter(|place| *place != self.own)
    }

    /// Feeders that the list names and no post hangs on.
    pub(crate) fn unknown_feeders(&self, register: &Register) -> Vec<&str> {
        let known = |feeder: &str| register.posts().iter().any(|post| &*post.feeder == feeder);
        self.by_feeder.keys().map(String::as_str).filter(|feeder| !known(feeder)).collect()
    }

    /// The register as this node's rules see it. Silence of another's posts says nothing here, so they count as posts
    /// without a sensor; what is forwarded of them while their owner is away is judged all the same.
    pub(crate) fn judged(&self, register: &Arc<Register>) -> Arc<Register> {
        if !self.judges_here() {
            return Arc::default();
        }
        let seen = register.posts().iter().map(|post| {
            let foreign = self.is_foreign(&post.zone, &post.feeder, None);
            Post { monitored: post.monitored && !foreign, ..(**post).clone() }
        });
        // They were in one register already, so no identifier is there twice.
        let seen = Register::from_posts(seen).map(|seen| seen.with_zones_of(register));
        seen.map_or_else(|_| register.clone(), Arc::new)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::nodes::PeerSection;

    pub(crate) fn city(name: &str) -> NodesSection {
        let peer = |id: &str, zones: &[&str], feeders: &[&str], standby: Option<&str>| PeerSection {
            id: id.to_owned(),
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            feeders: feeders.iter().map(|feeder| (*feeder).to_owned()).collect(),
            standby: standby.map(str::to_owned),
            ..PeerSection::default()
        };
        let peer = vec![
            peer("in", &[], &[], None),
            peer("a", &["z1", "z2"], &[], Some("b")),
            peer("b", &["z3"], &["F9"], None),
            peer("c", &[], &[], None),
        ];
        NodesSection { name: name.to_owned(), takeover_after_s: 0, peer }
    }

    #[test]
    fn a_post_belongs_to_the_owner_of_its_feeder_else_of_its_zone() {
        let owners = Owners::of(&city("in"));
        let of = |zone: &str, feeder: &str| owners.id(owners.owner(zone, feeder, None));
        assert_eq!((of("z1", "F1"), of("z3", "F1"), of("z1", "F9"), of("z2", "")), ("a", "b", "b", "a"));
        assert!(owners.is_foreign("z1", "F1", None) && !Owners::of(&city("a")).is_foreign("z1", "F1", None));
        assert!(Owners::of(&city("a")).is_foreign("z1", "F9", None));
    }

    #[test]
    fn an_unregistered_device_belongs_to_the_hinted_zone_else_here_else_to_the_first_owner() {
        let of = |name: &str, hint: Option<&str>| {
            let owners = Owners::of(&city(name));
            owners.id(owners.owner(UNREGISTERED, "", hint)).to_owned()
        };
        assert_eq!(
            (of("in", Some("z3")), of("in", Some("z77")), of("in", None)),
            ("b".into(), "a".into(), "a".into())
        );
        assert_eq!((of("b", Some("z1")), of("b", None)), ("a".into(), "b".into()));
    }

    #[test]
    fn owners_and_standbys_judge_and_nobody_else() {
        let mut nodes = city("in");
        nodes.peer[1].standby = Some("c".to_owned());
        let owners = Owners::of(&nodes);
        let judging: Vec<&str> =
            (0..4).filter(|node| owners.judges(*node)).map(|node| owners.id(node)).collect();
        assert_eq!(judging, ["a", "b", "c"]);
        assert!(!owners.judges_here());
    }

    #[test]
    fn the_rules_of_a_node_wait_for_no_word_of_anothers_posts() {
        let lines = ["P1,,z1,r,1,,F1,C,113,34,1,100,false,,", "P2,,z3,r,1,,F2,C,113,34,1,100,false,,"];
        let header = "post_id,device_id,zone,road,number,landmark,feeder,cabinet,lon,lat,lamps,lamp_w,low_lying,installed,external_code";
        let text = format!("{header}\n{}\n", lines.join("\n"));
        let register = Arc::new(Register::parse(text.as_bytes()).unwrap());
        let seen = |name: &str| -> Vec<bool> {
            Owners::of(&city(name)).judged(&register).posts().iter().map(|post| post.monitored).collect()
        };
        assert_eq!((seen("a"), seen("b"), seen("in")), (vec![true, false], vec![false, true], vec![]));
        assert_eq!(Owners::of(&city("a")).unknown_feeders(&register), ["F9"]);
    }
}
