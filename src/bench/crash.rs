//! crash stub
use anyhow::{Result, bail};
use clap::Args;
/// Options of `bench crash`.
#[derive(Debug, Args)]
pub(super) struct Crash {}
pub(super) fn run(_options: &Crash) -> Result<()> {
    bail!("bench crash is being written")
}
