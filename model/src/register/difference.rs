//! How one register differs from another: posts that come, go and change, and devices that hang elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Post, Register, cell, columns};

/// So many posts may be taken out at once, whatever their share …
const GONE_FEW: usize = 20;
/// … more only up to one in so many: a file that was being written ends anywhere.
const GONE_SHARE: usize = 20;

/// Posts of so many that may go at once: nobody takes many posts of a city out in one evening, nor most of a small one.
pub fn may_go(all: usize) -> usize {
    GONE_FEW.max(all / GONE_SHARE).min(all / 2)
}

/// A device that hangs somewhere else than before. What it said stays with the post on which it hung then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceMove {
    /// The device.
    pub device: Arc<str>,
    /// The post on which it hung; none when no post had it.
    pub from: Option<Arc<str>>,
    /// The post on which it hangs; none when no post has it any more.
    pub to: Option<Arc<str>>,
    /// It hangs where it hung: its post is new by name, and the one before is gone.
    pub renamed: bool,
}

/// What another register changes.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// Posts that are new, in the order of the new register.
    pub added: Vec<Arc<Post>>,
    /// Posts that are gone, in the order of the old one.
    pub removed: Vec<Arc<Post>>,
    /// Posts whose line says something else: as it was, as it is.
    pub changed: Vec<(Arc<Post>, Arc<Post>)>,
    /// Devices that hang elsewhere, in the order of the new register; those that hang nowhere any more come last.
    pub devices: Vec<DeviceMove>,
}

impl Difference {
    /// From the old one to the new one.
    pub fn between(old: &Register, new: &Register) -> Self {
        let mut told = Self::default();
        for post in new.posts() {
            match old.by_post(&post.post_id) {
                None => told.added.push(post.clone()),
                Some(known) if known == post => {}
                Some(known) => told.changed.push((known.clone(), post.clone())),
            }
        }
        let gone = old.posts().iter().filter(|post| new.by_post(&post.post_id).is_none());
        told.removed = gone.cloned().collect();
        told.devices = devices(old, new);
        told
    }

    /// True when anything differs, the order of the posts aside.
    pub fn is_some(&self) -> bool {
        !(self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty())
    }

    /// Posts that change zone or feeder: another crew goes, or they count elsewhere.
    pub fn moved(&self) -> impl Iterator<Item = &(Arc<Post>, Arc<Post>)> {
        let elsewhere =
            |(old, new): &&(Arc<Post>, Arc<Post>)| (&old.zone, &old.feeder) != (&new.zone, &new.feeder);
        self.changed.iter().filter(elsewhere)
    }
}

/// What of a line is new: column, what stood there, what stands there.
pub fn fields(old: &Post, new: &Post) -> Vec<(&'static str, String, String)> {
    let both = columns().map(|column| (column, cell(old, column), cell(new, column)));
    both.filter(|(_, old, new)| old != new).collect()
}

fn devices(old: &Register, new: &Register) -> Vec<DeviceMove> {
    let mut moves = Vec::new();
    for post in new.posts() {
        let from = old.by_device(&post.device_id).map(|post| &post.post_id);
        let is_new = old.by_post(&post.post_id).is_none();
        // A new post with a device that nobody knew is new, nothing more.
        if from == Some(&post.post_id) || from.is_none() && is_new {
            continue;
        }
        moves.push(DeviceMove {
            device: post.device_id.clone(),
            from: from.cloned(),
            to: Some(post.post_id.clone()),
            renamed: is_new && from.is_some_and(|from| new.by_post(from).is_none()),
        });
    }
    let taken_off =
        |post: &&Arc<Post>| new.by_device(&post.device_id).is_none() && new.by_post(&post.post_id).is_some();
    moves.extend(old.posts().iter().filter(taken_off).map(|post| DeviceMove {
        device: post.device_id.clone(),
        from: Some(post.post_id.clone()),
        to: None,
        renamed: false,
    }));
    moves
}

/// How many posts of each zone two registers have, in the order of first mention: zone, old, new.
pub fn by_zone(old: &Register, new: &Register) -> Vec<(Arc<str>, usize, usize)> {
    let mut zones: Vec<(Arc<str>, usize, usize)> = Vec::new();
    let mut places: HashMap<Arc<str>, usize> = HashMap::new();
    let counted =
        old.posts().iter().map(|post| (post, 1, 0)).chain(new.posts().iter().map(|post| (post, 0, 1)));
    for (post, was, is) in counted {
        let place = *places.entry(post.zone.clone()).or_insert_with(|| {
            zones.push((post.zone.clone(), 0, 0));
            zones.len() - 1
        });
        zones[place].1 += was;
        zones[place].2 += is;
    }
    zones
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines `post device zone feeder road`.
    fn register(lines: &[&str]) -> Register {
        let rows: Vec<String> = lines
            .iter()
            .map(|line| {
                let parts: Vec<&str> = line.split(' ').collect();
                let [post, device, zone, feeder, road] = parts[..] else { panic!("{line}") };
                format!("{post},{device},{zone},{road},1,,{feeder},C1,113.2,35.2,1,100,false,,,,,,,")
            })
            .collect();
        Register::parse(format!("{}\n{}\n", super::super::header(), rows.join("\n")).as_bytes()).unwrap()
    }

    fn said(told: &Difference) -> Vec<String> {
        let name = |post: &Option<Arc<str>>| post.as_deref().unwrap_or("-").to_owned();
        let one = |it: &DeviceMove| {
            format!(
                "{} {} {}{}",
                it.device,
                name(&it.from),
                name(&it.to),
                if it.renamed { " renamed" } else { "" }
            )
        };
        told.devices.iter().map(one).collect()
    }

    #[test]
    fn posts_that_come_go_move_and_change_are_told_apart() {
        let old =
            register(&["P1 D1 z1 F1 r", "P2 D2 z1 F1 r", "P3 D3 z1 F1 r", "P4 D4 z1 F1 r", "P5 D5 z1 F1 r"]);
        let new =
            register(&["P1 D1 z1 F1 r", "P2 D2 z2 F1 r", "P3 D3 z1 F2 r", "P4 D4 z1 F1 s", "P6 D6 z1 F1 r"]);
        let told = Difference::between(&old, &new);
        assert_eq!((told.added.len(), told.removed.len(), told.changed.len()), (1, 1, 3));
        assert_eq!(told.moved().map(|(_, post)| &*post.post_id).collect::<Vec<_>>(), ["P2", "P3"]);
        assert_eq!(
            fields(&told.changed[2].0, &told.changed[2].1),
            [("road", "r".to_owned(), "s".to_owned())]
        );
        assert!(told.devices.is_empty(), "{:?}", said(&told));
        assert!(!Difference::between(&old, &old).is_some());
        let zones = by_zone(&old, &new);
        assert_eq!(zones, [(Arc::from("z1"), 5, 4), (Arc::from("z2"), 0, 1)]);
    }

    #[test]
    fn devices_that_move_are_swapped_taken_off_or_whose_post_is_renamed_are_told_and_others_are_not() {
        let old =
            register(&["P1 D1 z1 F1 r", "P2 D2 z1 F1 r", "P3 D3 z1 F1 r", "P4 D4 z1 F1 r", "P5 D5 z1 F1 r"]);
        // Two change places, one comes out of the store, one post has another name, one is new with a new device.
        let new =
            register(&["P1 D2 z1 F1 r", "P2 D1 z1 F1 r", "P3 D9 z1 F1 r", "P40 D4 z1 F1 r", "P7 D7 z1 F1 r"]);
        let told = said(&Difference::between(&old, &new));
        assert_eq!(told, ["D2 P2 P1", "D1 P1 P2", "D9 - P3", "D4 P4 P40 renamed", "D3 P3 -"]);
        // The post that a device leaves stays: no new name, though the other post is new.
        let new = register(&["P1 D8 z1 F1 r", "P9 D1 z1 F1 r"]);
        let told = said(&Difference::between(&register(&["P1 D1 z1 F1 r"]), &new));
        assert_eq!(told, ["D8 - P1", "D1 P1 P9"]);
    }

    #[test]
    fn few_posts_of_many_may_go_at_once_and_half_of_few() {
        for (all, may) in [(0, 0), (3, 1), (40, 20), (400, 20), (800, 40), (100_000, 5_000)] {
            assert_eq!(may_go(all), may, "{all}");
        }
    }
}
