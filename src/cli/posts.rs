//! `posts`: the register of posts.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum PostsCommand {
    /// Check a register and tell every fault at once.
    Check {
        /// Register file (posts.csv).
        file: PathBuf,
    },
    /// Compare a list of posts with the register, and take it over with --apply.
    ///
    /// The list is CSV (UTF-8, UTF-16 or GBK/GB18030) or a GeoJSON FeatureCollection of points. Its headings may be our
    /// columns or those that Chinese offices use; --map says the others. A column that the list does not have known
    /// posts keep. A post that the list does not have goes. See docs/register.md.
    Import(Import),
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The list of posts.
    pub(crate) file: PathBuf,
    /// Show what would change, and change nothing; so without --apply too.
    #[arg(long, conflicts_with = "apply")]
    pub(crate) diff: bool,
    /// Write the register; the file that was there stays beside it under a dated name.
    #[arg(long)]
    pub(crate) apply: bool,
    /// Send the running instance SIGHUP behind it, and wait for what it says.
    #[arg(long, requires = "apply")]
    pub(crate) reload: bool,
    /// Which heading is which column; `HEADING=-` leaves one out.
    #[arg(long, value_name = "HEADING=COLUMN,…", value_delimiter = ',')]
    pub(crate) map: Vec<String>,
    /// What the coordinates of the list mean; the register keeps WGS-84.
    #[arg(long, value_enum, default_value = "wgs84")]
    pub(crate) crs: CrsName,
    /// How the list is written.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) encoding: EncodingName,
    /// The register [default: posts.file of the configuration].
    #[arg(long, value_name = "POSTS_CSV")]
    pub(crate) into: Option<PathBuf>,
    /// So many posts may go, where the list takes out more than a reload would.
    #[arg(long, value_name = "N")]
    pub(crate) allow_removals: Option<usize>,
    /// Apply although something is to look at: the places are right.
    #[arg(long)]
    pub(crate) accept_doubts: bool,
    /// Show every change, not the first 50 of each sort.
    #[arg(long)]
    pub(crate) full: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CrsName {
    /// As GPS and Tianditu have it.
    Wgs84,
    /// Amap, Tencent.
    Gcj02,
    /// Baidu.
    Bd09,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EncodingName {
    /// By its mark, else UTF-8, else GB18030.
    Auto,
    Utf8,
    /// GBK and GB2312 too.
    Gb18030,
}
