//! How many connections one process of this machine can have.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

/// Files that a process opens beside its connections: journal, databases, pipes, its own HTTP interface.
pub(crate) const OTHER_FILES: u64 = 100;
/// Where Linux keeps the range of ports of outgoing connections.
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// What bounds the connections that a process can open to one address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Open files, this many.
    Files(u64),
    /// Ports of outgoing connections, from and to.
    Ports(u64, u64),
}

impl Bound {
    /// Connections that it lets be.
    pub(crate) fn connections(self) -> u64 {
        match self {
            Self::Files(files) => files.saturating_sub(OTHER_FILES),
            Self::Ports(from, to) => to.saturating_sub(from) + 1,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(files) => write!(
                f,
                "this process may open {files} files, {OTHER_FILES} of them for other things; raise the hard limit \
                 (`ulimit -n` as root before the start, LimitNOFILE= in a systemd unit)"
            ),
            Self::Ports(from, to) => write!(
                f,
                "one address and port is reached from ports {from} to {to} (net.ipv4.ip_local_port_range); widen the \
                 range with sysctl, or run a second simulator at another address"
            ),
        }
    }
}

/// Raises the limit of open files as far as this process may: the soft one to the hard one, and the hard one too
/// where that is permitted and `wanted` needs it. Returns what is in force.
///
/// Debian starts programs with a soft limit of 1,024 for the sake of those that use select(2). We do not.
pub(crate) fn raise_files(wanted: u64) -> u64 {
    let found = getrlimit(Resource::Nofile);
    let hard = found.maximum.unwrap_or(u64::MAX);
    if hard < wanted {
        let both = Rlimit { current: Some(wanted), maximum: Some(wanted) };
        if setrlimit(Resource::Nofile, both).is_ok() {
            return wanted;
        }
    }
    if found.current != found.maximum {
        let soft = Rlimit { current: found.maximum, maximum: found.maximum };
        if let Err(e) = setrlimit(Resource::Nofile, soft) {
            debug!(error = %e, "the limit of open files stays as it is");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The narrower bound of so many connections, after raising what can be raised.
pub(crate) fn bound(connections: u64) -> Bound {
    let files = Bound::Files(raise_files(connections.saturating_add(OTHER_FILES)));
    match std::fs::read_to_string(PORT_RANGE).ok().and_then(|text| ports(&text)) {
        Some(ports) if ports.connections() < files.connections() => ports,
        _ => files,
    }
}

fn ports(text: &str) -> Option<Bound> {
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(from)), Some(Ok(to))) => Some(Bound::Ports(from, to)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_says_how_many_and_the_way_out() {
        let ports = ports("32768\t60999\n").unwrap();
        assert_eq!((ports, ports.connections()), (Bound::Ports(32_768, 60_999), 28_232));
        assert!(ports.to_string().contains("net.ipv4.ip_local_port_range"));
        let files = Bound::Files(1024);
        assert_eq!(files.connections(), 924);
        assert!(files.to_string().contains("1024") && files.to_string().contains("ulimit -n"));
    }

    #[test]
    fn raising_reaches_at_least_the_hard_limit() {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert!(raise_files(0) >= hard);
        assert!(bound(10).connections() > 0);
    }
}
