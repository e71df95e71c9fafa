//! What a list would change, as text.

use std::fmt::Write as _;
use std::sync::Arc;

use lampguard_model::coordinates::metres;
use lampguard_model::register::difference::{DeviceMove, Difference, by_zone, fields};
use lampguard_model::register::import::Import as Read;
use lampguard_model::{Crs, Post};

use super::{Held, crs};
use crate::cli::Import;

/// Lines of one sort without --full.
const SHOWN: usize = 50;

/// Everything that is said of a list.
pub(super) struct Shown<'s> {
    pub(super) asked: &'s Import,
    pub(super) encoding: &'static str,
    pub(super) held: &'s Held,
    pub(super) read: &'s Read,
    pub(super) difference: &'s Difference,
}

impl Shown<'_> {
    pub(super) fn text(&self) -> String {
        let mut text = self.head();
        let told = self.difference;
        if !told.is_some() {
            text += "nothing would change\n";
        }
        self.part(&mut text, "added", told.added.iter().map(|post| format!("+ {}", line(post))));
        self.part(&mut text, "removed", told.removed.iter().map(|post| format!("- {}", line(post))));
        self.part(&mut text, "another zone or feeder", told.moved().map(|(old, new)| changed(old, new)));
        let stays =
            |(old, new): &&(Arc<Post>, Arc<Post>)| (&old.zone, &old.feeder) == (&new.zone, &new.feeder);
        self.part(
            &mut text,
            "other changes",
            told.changed.iter().filter(stays).map(|(old, new)| changed(old, new)),
        );
        self.part(&mut text, "devices", told.devices.iter().map(device));
        self.part(&mut text, "to look at", self.read.doubts.iter().map(ToString::to_string));
        text
    }

    fn head(&self) -> String {
        let (read, told) = (self.read, self.difference);
        let mut text = format!(
            "{}: {} post(s), {}",
            self.asked.file.display(),
            read.register.posts().len(),
            self.encoding
        );
        if crs(self.asked.crs) != Crs::Wgs84 {
            let _ = write!(text, ", coordinates {} made WGS-84", crs(self.asked.crs).name());
        }
        text.push('\n');
        let renamed: Vec<String> = read
            .columns
            .iter()
            .filter(|(column, heading)| column != heading)
            .map(|(column, heading)| format!("{heading} = {column}"))
            .collect();
        for (title, names) in [
            ("headings", renamed),
            ("left out", read.left_out.clone()),
            ("not in the list, known posts keep theirs", read.kept.iter().map(ToString::to_string).collect()),
        ] {
            if !names.is_empty() {
                let _ = writeln!(text, "  {title}: {}", names.join(", "));
            }
        }
        if read.nowhere > 0 {
            let _ = writeln!(
                text,
                "  {} post(s) without coordinates: crews find them by road and number alone",
                read.nowhere
            );
        }
        let _ = writeln!(
            text,
            "into {}, which {}",
            self.held.file.display(),
            match self.held.bytes {
                Some(_) => format!("has {} post(s)", self.held.register.posts().len()),
                None => "is not there yet".to_owned(),
            }
        );
        let _ = writeln!(
            text,
            "  {} added, {} removed, {} changed ({} to another zone or feeder), {} device(s) elsewhere",
            told.added.len(),
            told.removed.len(),
            told.changed.len(),
            told.moved().count(),
            told.devices.len()
        );
        for (zone, was, is) in by_zone(&self.held.register, &read.register) {
            let _ = writeln!(text, "  zone {zone}: {was} -> {is}");
        }
        text
    }

    fn part(&self, text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
        let mut count = 0;
        for line in lines {
            if count == 0 {
                let _ = writeln!(text, "{title}");
            }
            count += 1;
            if count <= SHOWN || self.asked.full {
                let _ = writeln!(text, "  {line}");
            }
        }
        if count > SHOWN && !self.asked.full {
            let _ = writeln!(text, "  and {} more: --full shows all", count - SHOWN);
        }
    }
}

fn line(post: &Post) -> String {
    format!("{} {} {} {} {}", post.post_id, post.zone, post.feeder, post.road, post.number)
}

fn changed(old: &Post, new: &Post) -> String {
    let quoted = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
    let said: Vec<String> = fields(old, new)
        .iter()
        .map(|(column, old, new)| format!("{column} {} -> {}", quoted(old), quoted(new)))
        .collect();
    let (was, is) = ((old.lon, old.lat), (new.lon, new.lat));
    let far = if was == is { String::new() } else { format!(" ({:.0} m)", metres(was, is)) };
    format!("~ {}: {}{far}", new.post_id, said.join(", "))
}

fn device(moved: &DeviceMove) -> String {
    match (&moved.from, &moved.to) {
        (Some(from), Some(to)) if moved.renamed => {
            format!("{}: its post {from} is called {to}", moved.device)
        }
        (Some(from), Some(to)) => format!("{}: {from} -> {to}", moved.device),
        (None, Some(to)) => format!("{}: new on {to}", moved.device),
        (from, None) => format!("{}: taken off {}", moved.device, from.as_deref().unwrap_or("")),
    }
}
