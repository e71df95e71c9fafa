//! What the tests of this crate share.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test program uses its part of this module"
)]

use std::path::{Path, PathBuf};

use lampguard_dashboards::{Lang, PUBLIC_URL, Set, Source, TIME_ZONE, export};

/// Pages that links may lead to. `src/api` holds the same list to its routes.
pub const PAGES: [&str; 5] = ["/", "/posts/{id}", "/incidents/{id}", "/tiles/{z}/{x}/{y}", "/zones.geojson"];

/// The top of the project.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The dashboards of one set, by name, made now.
pub fn made(source: Source, lang: Lang) -> Vec<(String, String)> {
    let set = Set { source, lang, public_url: PUBLIC_URL.to_owned(), time_zone: TIME_ZONE.to_owned() };
    export(&set).unwrap().into_iter().map(|file| (file.name, file.text)).collect()
}

/// Files of a folder that end so, by name.
pub fn files(folder: &Path, end: &str) -> Vec<(String, String)> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    let named = found.into_iter().filter(|path| path.to_string_lossy().ends_with(end));
    named
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), text)
        })
        .collect()
}
