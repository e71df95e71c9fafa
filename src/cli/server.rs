//! `certs`, `backup`, `restore`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Certs {
    /// Folder for them. What is there is kept: calling it again makes what is missing, and shows when each ends.
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub(crate) dir: PathBuf,
    /// Host name or address by which the server is reached, besides localhost, 127.0.0.1 and the host of `[web] public_url`;
    /// several times.
    #[arg(long = "server", value_name = "HOST")]
    pub(crate) servers: Vec<String>,
    /// A sensor's or gateway's name, and `lampguard` for us at a broker; several times.
    #[arg(long = "client", value_name = "NAME")]
    pub(crate) clients: Vec<String>,
    /// Days for which certificates of server and clients are good, 1 to 3650; the authority has ten years.
    #[arg(long, default_value_t = 730, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
    /// Make the named certificates anew, with new keys; without --client that of the server.
    #[arg(long)]
    pub(crate) renew: bool,
    /// Name of a new authority.
    #[arg(long, value_name = "NAME", default_value = "lampguard authority")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// New folder for it, best on another disk. It gets its name when everything in it is on the disk and was read back.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup. Every file is checked before anything is written.
    pub(crate) dir: PathBuf,
    /// Data directory to put it into, instead of that of the configuration; it has to be empty.
    #[arg(long, value_name = "DATA_DIR")]
    pub(crate) into: Option<PathBuf>,
}
