//! `posts import`: a list of posts beside the register, and in its place.
//!
//! ```text
//!  1 read      the list: its bytes as text, its rows as a register (model/src/register/import.rs)
//!  2 compare   with the register file as it is
//!  3 show      everything that would change
//!  4 apply     unless there are faults, doubts or too many posts that go: the file is replaced as a whole (write.rs)
//!  5 reload    SIGHUP, as by hand, and what came of it (hang_up.rs)
//! ```

mod hang_up;
mod show;
mod write;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lampguard_model::register::difference::{Difference, may_go};
use lampguard_model::register::import::{self, ImportFault, Options};
use lampguard_model::{Crs, Register};

use crate::UsageError;
use crate::cli::{CrsName, EncodingName, Import};
use crate::config::{self, Config};
use crate::tools::print;

/// Longest list: a million posts of 60 bytes.
const BYTES_MAX: u64 = 64 << 20;
/// Faults that are shown; all are counted.
const FAULTS_SHOWN: usize = 50;

/// The register file, and what it holds.
struct Held {
    file: PathBuf,
    /// None when there is no file yet.
    bytes: Option<Vec<u8>>,
    register: Register,
}

pub(crate) fn import(config: Option<&Path>, asked: &Import) -> Result<()> {
    let configured = configuration(config, asked)?;
    let held = held(configured.as_ref(), asked)?;
    let (text, encoding) = text_of(&asked.file, asked.encoding)?;
    let read = import::read(&text, &options(asked, configured.as_ref())?, &held.register);
    let read = read.map_err(|faults| refused(&asked.file, &faults))?;
    let difference = Difference::between(&held.register, &read.register);
    let shown = show::Shown { asked, encoding, held: &held, read: &read, difference: &difference };
    print(&shown.text())?;
    match &configured {
        Some(config) => check_as_start(config, &read.register)?,
        None => eprintln!(
            "zones were not checked, nor lighting and nodes: there is no configuration that could be read"
        ),
    }
    if !asked.apply {
        return Ok(());
    }
    if !read.doubts.is_empty() && !asked.accept_doubts {
        bail!(
            "{} place(s) are to look at: nothing was written. --accept-doubts when they are right",
            read.doubts.len()
        );
    }
    let may_reload = check_removals(&held, &difference, asked)?;
    let text = read.register.to_csv();
    if held.bytes.as_deref() == Some(text.as_bytes()) {
        print(&format!("{}: is this already, nothing was written\n", held.file.display()))?;
    } else {
        let kept =
            write::replace(&held.file, held.bytes.as_deref(), text.as_bytes(), crate::clock::system()())?;
        print(&format!("{}: written, {} post(s)\n", held.file.display(), read.register.posts().len()))?;
        if let Some(kept) = kept {
            print(&format!("  before: {}\n", kept.display()))?;
        }
    }
    match (asked.reload, may_reload) {
        (true, _) => hang_up::reload(config, configured.as_ref()),
        (false, true) => print(
            "  a running instance takes it by SIGHUP: kill -HUP \"$(cat DATA_DIR/lock)\", or --reload here\n",
        ),
        (false, false) => print("  so many posts go that SIGHUP refuses it: a restart takes it\n"),
    }
}

/// The configuration; none where the register is named and there is none that can be read.
fn configuration(file: Option<&Path>, asked: &Import) -> Result<Option<Config>> {
    let found = config::find(file).and_then(|found| Ok(config::load(&found)?));
    match found {
        Ok(config) => Ok(Some(config)),
        // The first list comes before posts.csv is there, without which a configuration is faulty.
        Err(_) if asked.into.is_some() && file.is_none() => Ok(None),
        Err(e) => {
            Err(e.context("the register is posts.file of the configuration; --into names it without one"))
        }
    }
}

fn held(config: Option<&Config>, asked: &Import) -> Result<Held> {
    let file = match (&asked.into, config) {
        (Some(file), _) => file.clone(),
        (None, Some(config)) => config.posts.file.clone(),
        (None, None) => bail!(UsageError("--into names the register".to_owned())),
    };
    // What stands behind a link is replaced, not the link.
    let file = file.canonicalize().unwrap_or(file);
    match std::fs::read(&file) {
        Ok(bytes) => {
            let register = Register::parse(&bytes).map_err(|faults| {
                crate::serve::register_faults(&file, &faults)
                    .context("the register that is there cannot be compared: mend it first")
            })?;
            Ok(Held { file, bytes: Some(bytes), register })
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Ok(Held { file, bytes: None, register: Register::default() })
        }
        Err(e) => Err(e).with_context(|| format!("reading register {}", file.display())),
    }
}

fn options(asked: &Import, config: Option<&Config>) -> Result<Options> {
    let pair = |text: &String| {
        let pair = text.rsplit_once('=').map(|(from, to)| (from.trim().to_owned(), to.trim().to_owned()));
        pair.ok_or_else(|| UsageError(format!("--map {text:?} is not HEADING=COLUMN")))
    };
    let zones = config.map_or(&[][..], |config| &config.zones);
    Ok(Options {
        map: asked.map.iter().map(pair).collect::<Result<_, _>>()?,
        crs: crs(asked.crs),
        zones: zones.iter().map(|zone| (zone.id.clone(), zone.name.clone())).collect(),
    })
}

fn crs(name: CrsName) -> Crs {
    match name {
        CrsName::Wgs84 => Crs::Wgs84,
        CrsName::Gcj02 => Crs::Gcj02,
        CrsName::Bd09 => Crs::Bd09,
    }
}

/// A list as text, and how it was written.
fn text_of(file: &Path, asked: EncodingName) -> Result<(String, &'static str)> {
    let doing = || format!("reading list {}", file.display());
    let length = std::fs::metadata(file).with_context(doing)?.len();
    if length > BYTES_MAX {
        bail!(UsageError(format!(
            "list {} has {length} bytes, limit {BYTES_MAX}: leave out columns that are not needed",
            file.display()
        )));
    }
    let bytes = std::fs::read(file).with_context(doing)?;
    decode(&bytes, asked).map_err(|reason| {
        anyhow::anyhow!(UsageError(format!("list {}: {reason}; export it as CSV in UTF-8", file.display())))
    })
}

fn decode(bytes: &[u8], asked: EncodingName) -> Result<(String, &'static str), String> {
    use encoding_rs::{Encoding, GB18030, UTF_8};
    let marked = Encoding::for_bom(bytes);
    let strictly = |encoding: &'static Encoding, bytes: &[u8]| {
        let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
        text.map(|text| (text.into_owned(), encoding.name()))
    };
    if bytes.starts_with(b"PK") {
        return Err("it is a workbook or an archive".to_owned());
    }
    let read = match (asked, marked) {
        (EncodingName::Auto, Some((encoding, mark))) => strictly(encoding, &bytes[mark..]),
        (EncodingName::Auto, None) => strictly(UTF_8, bytes).or_else(|| strictly(GB18030, bytes)),
        (EncodingName::Utf8, _) => strictly(UTF_8, bytes),
        (EncodingName::Gb18030, _) => strictly(GB18030, bytes),
    };
    read.ok_or_else(|| match asked {
        EncodingName::Auto => "its bytes are neither UTF-8 nor GB18030".to_owned(),
        EncodingName::Utf8 => "its bytes are not UTF-8".to_owned(),
        EncodingName::Gb18030 => "its bytes are not GB18030".to_owned(),
    })
}

fn refused(file: &Path, faults: &[ImportFault]) -> anyhow::Error {
    let lines: Vec<String> = faults.iter().take(FAULTS_SHOWN).map(|fault| format!("  {fault}")).collect();
    let more = match faults.len().saturating_sub(FAULTS_SHOWN) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    let count = faults.len();
    anyhow::anyhow!(UsageError(format!(
        "list {} has {count} fault(s), nothing was written:\n{}{more}",
        file.display(),
        lines.join("\n")
    )))
}

fn unknown_zones(config: &Config, register: &Register) -> Vec<String> {
    let known = |zone: &str| config.zones.iter().any(|known| known.id == zone);
    register.zones().iter().filter(|zone| !known(zone)).map(ToString::to_string).collect()
}

/// Everything that a start and SIGHUP refuse a register for: it never stands in the file.
fn check_as_start(config: &Config, register: &Register) -> Result<()> {
    let mut faults = Vec::new();
    let unknown = unknown_zones(config, register);
    if !unknown.is_empty() {
        faults.push(format!(
            "it names zones without a [[zone]]: {}; nobody would be sent there. Its names of zones may be ids or names of [[zone]]",
            unknown.join(", ")
        ));
    }
    let nodes = config.nodes.as_ref().map(|nodes| crate::nodes::check_register(nodes, register));
    let lighting = crate::serve::load_lighting(config, register).map(drop);
    let checked = nodes.into_iter().chain([lighting]).filter_map(Result::err);
    faults.extend(checked.map(|error| format!("{error:#}")));
    if faults.is_empty() {
        return Ok(());
    }
    bail!(UsageError(format!(
        "a start with this list would be refused, nothing was written:\n  {}",
        faults.join("\n  ")
    )));
}

/// True when a running instance takes it by SIGHUP.
fn check_removals(held: &Held, difference: &Difference, asked: &Import) -> Result<bool> {
    let (gone, all) = (difference.removed.len(), held.register.posts().len());
    if gone <= may_go(all) {
        return Ok(true);
    }
    if asked.allow_removals.is_none_or(|allowed| allowed < gone) {
        bail!(
            "{gone} of {all} posts would go, at most {} may at once: nothing was written. Is the list whole? If it is \
             meant: --allow-removals {gone}",
            may_go(all)
        );
    }
    if asked.reload {
        bail!(
            "{gone} of {all} posts would go, which SIGHUP refuses: nothing was written. Apply it without --reload and restart"
        );
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_utf_8_utf_16_and_gbk_and_what_is_none_of_them_is_refused() {
        let (text, name) = ("编号,道路\nP1,塔南路\n", |read: &(String, &'static str)| read.1);
        let gbk = encoding_rs::GB18030.encode(text).0;
        let utf16: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let marked = [&b"\xef\xbb\xbf"[..], text.as_bytes()].concat();
        for (bytes, encoding) in
            [(text.as_bytes(), "UTF-8"), (&marked, "UTF-8"), (&gbk, "gb18030"), (&utf16, "UTF-16LE")]
        {
            let read = decode(bytes, EncodingName::Auto).unwrap();
            assert_eq!((&*read.0, name(&read)), (text, encoding));
        }
        assert!(decode(&gbk, EncodingName::Utf8).is_err());
        assert_eq!(decode(&gbk, EncodingName::Gb18030).unwrap().0, text);
        assert!(decode(b"a,\xff\xff\n", EncodingName::Auto).unwrap_err().contains("neither"));
        assert!(decode(b"PK\x03\x04", EncodingName::Auto).unwrap_err().contains("workbook"));
    }
}
