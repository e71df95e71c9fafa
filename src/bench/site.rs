//! A temporary site: its folder, ports, register and configuration.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::payload::{self, ZONES};
use super::process::Family;

/// Ports are taken from below the range of outgoing connections: while a killed child's port is free, a
/// client that tries to reach it could otherwise be given that very port and connect to itself.
const PORTS: std::ops::Range<u32> = 20_000..32_000;

/// A folder that goes when the site is dropped, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) dir: PathBuf,
    pub(super) family: Family,
    keep: bool,
}

/// Where a site's folder is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// In the system's folder for temporary files.
    Disk,
    /// In memory.
    Tmpfs,
    /// Here, and it stays.
    Kept(&'a Path),
}

impl Site {
    /// Makes an empty folder.
    pub(super) fn make(family: &Family, place: Place<'_>) -> Result<Self> {
        let base = match place {
            Place::Disk => std::env::temp_dir(),
            Place::Tmpfs => PathBuf::from("/dev/shm"),
            Place::Kept(dir) => dir.to_owned(),
        };
        std::fs::create_dir_all(&base).with_context(|| format!("making {}", base.display()))?;
        let pid = std::process::id();
        for number in 0..1000 {
            let dir = base.join(format!("lampguard-bench-{pid}-{number}"));
            match std::fs::create_dir(&dir) {
                Ok(()) => {
                    let keep = matches!(place, Place::Kept(_));
                    if !keep {
                        family.owns(&dir);
                    }
                    return Ok(Self { dir, family: family.clone(), keep });
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e).with_context(|| format!("making {}", dir.display())),
            }
        }
        bail!("no free name for a folder in {}", base.display())
    }

    /// Leaves the folder there, for whoever has to find out what went wrong.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }

    pub(super) fn is_kept(&self) -> bool {
        self.keep
    }

    /// Writes register and configuration.
    pub(super) fn configure(&self, plan: &Plan) -> Result<()> {
        let files = [
            ("posts.csv", payload::register(plan.posts)),
            ("lampguard.toml", plan.toml()),
            ("webhook.secret", "bench\n".to_owned()),
            ("policy.toml", if plan.people { String::new() } else { NO_FLOOD.to_owned() }),
        ];
        for (name, text) in files {
            let path = self.dir.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// Each alarm is told for itself: behind five messages of a person the others would come in lists, about once a
/// minute, and the time to a list is that minute.
const NO_FLOOD: &str = "[flood]\nbegin_above = 100000\nend_below = 1\nmessages_max = 100000\n";

/// What a configuration of the bench holds: ports on loopback.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) posts: u64,
    pub(super) web: u16,
    pub(super) listener: Option<u16>,
    pub(super) broker: Option<u16>,
    pub(super) database: Option<u16>,
    pub(super) webhook: Option<u16>,
    /// People stand in the rota, and the flood of the rules holds.
    pub(super) people: bool,
    /// Sensor connections of the listener; `None`: its default.
    pub(super) connections: Option<u64>,
    /// More keys of the broker.
    pub(super) broker_keys: &'static str,
    /// More sections.
    pub(super) sections: String,
}

impl Plan {
    fn toml(&self) -> String {
        let mut out =
            String::from("# Made by `lampguard bench`.\n[site]\nname = \"bench\"\ndata_dir = \"data\"\n");
        let _ = write!(out, "[posts]\nfile = \"posts.csv\"\n[web]\nbind = \"127.0.0.1:{}\"\n", self.web);
        if let Some(port) = self.listener {
            let _ = write!(out, "[listener]\nbind = \"127.0.0.1:{port}\"\n");
            if let Some(count) = self.connections {
                let _ = write!(out, "max_connections = {count}\nper_address = {count}\n");
            }
        }
        if let Some(port) = self.broker {
            let _ = write!(
                out,
                "[[broker]]\nid = \"bench\"\nurl = \"mqtt://127.0.0.1:{port}\"\n{}",
                self.broker_keys
            );
        }
        if let Some(port) = self.database {
            let _ = write!(out, "[[tsdb]]\nid = \"bench\"\nurl = \"http://127.0.0.1:{port}\"\n");
        }
        for zone in 1..=ZONES {
            let _ = write!(out, "[[zone]]\nid = \"z{zone}\"\nname = \"Zone {zone}\"\ncrew = \"c{zone}\"\n");
            let _ = write!(out, "[[crew]]\nid = \"c{zone}\"\nname = \"Crew {zone}\"\n");
            if self.people {
                let one = |n: u32| {
                    format!(
                        "{{ name = \"Crew {zone}.{n}\", phone = \"1380000{zone}00{n}\", channels = [\"stub\"] }}"
                    )
                };
                let _ = writeln!(out, "members = [{}, {}]", one(1), one(2));
            }
        }
        if self.people {
            out += "[desk]\nname = \"Desk\"\nphone = \"13900000000\"\nchannels = [\"stub\"]\n";
        }
        let _ = match self.webhook {
            Some(port) => write!(
                out,
                "[policy]\nfile = \"policy.toml\"\n[[channel]]\nid = \"stub\"\nkind = \"webhook\"\n\
                 url = \"http://127.0.0.1:{port}/bench\"\nsecret_file = \"webhook.secret\"\nrate_per_min = 6000\n"
            ),
            None => write!(out, "[[channel]]\nid = \"console\"\nkind = \"console\"\n"),
        };
        out + &self.sections
    }
}

/// Ports that nobody uses now.
pub(super) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let (mut ports, mut held, mut seen) = ([0; N], Vec::new(), HashSet::new());
    let span = PORTS.end - PORTS.start;
    let mut at = std::process::id().wrapping_mul(7919) % span;
    for port in &mut ports {
        *port = loop {
            if !seen.insert(at) {
                bail!("no free port from {} to {}", PORTS.start, PORTS.end);
            }
            let candidate = (PORTS.start + at) as u16;
            at = (at + 1) % span;
            // Held until all are found, so that no port is given out twice.
            if let Ok(socket) = TcpListener::bind(("127.0.0.1", candidate)) {
                held.push(socket);
                break candidate;
            }
        };
    }
    Ok(ports)
}

/// A program on PATH, or where Debian puts the servers.
pub(super) fn find(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(usual.map(PathBuf::from)).collect();
    let files = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    files.into_iter().find(|file| file.is_file())
}
