//! lampguard: takes in what lamp posts measure, and sends a crew within 30 minutes to those that can kill.

mod accounts;
mod api;
mod backtest;
mod backup;
mod bench;
mod brokers;
mod certificates;
mod certs;
mod cli;
mod clock;
mod config;
mod dashboards;
mod data_dir;
mod demo;
mod device_moves;
mod doctor;
mod explain;
mod heartbeat;
mod journal_forget;
mod limits;
mod metrics;
mod nodes;
mod pages;
mod plan;
mod posts;
mod profile_test;
mod proof;
mod reload;
mod score;
mod series;
mod serve;
mod simulate;
mod supervisor;
mod test_dispatch;
mod tokens;
mod tools;
mod watch;
mod watchers;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use cli::QuarantineCommand;
use cli::{AuditCommand, Cli, Command, ConfigCommand, JournalCommand, PostsCommand, ProfileCommand};

/// Wrong use or wrong configuration: exit code 2 instead of 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("LAMPGUARD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
    limits::raise_files(0);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("lampguard: {e:#}");
            let wrong_use =
                e.downcast_ref::<UsageError>().is_some() || e.downcast_ref::<config::BadConfig>().is_some();
            ExitCode::from(if wrong_use { 2 } else { 1 })
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Demo(demo) => demo::run(&demo),
        Command::Serve => serve::serve(file),
        Command::Simulate(simulate) => simulate::run(&simulate),
        Command::Record(record) => tools::record(file, &record),
        Command::Score(asked) => score::run(file, &asked),
        Command::Backtest(backtest) => backtest::run(&backtest),
        Command::Plan(asked) => plan::run(file, &asked),
        Command::Explain(asked) => explain::run(file, &asked),
        Command::Config(ConfigCommand::Print { policy: false }) => tools::print(config::SAMPLE),
        Command::Config(ConfigCommand::Print { policy: true }) => {
            tools::print(&lampguard_alerting::policy::sample())
        }
        Command::Config(ConfigCommand::Check { file }) => tools::check_config(&file),
        Command::Posts(PostsCommand::Check { file }) => tools::check_posts(&file),
        Command::Posts(PostsCommand::Import(asked)) => posts::import(file, &asked),
        Command::Profile(ProfileCommand::Test { name, file: payload, topic, explain, birth }) => {
            let asked = profile_test::Asked { name, payload, topic, explain, birth };
            profile_test::run(file, &asked)
        }
        Command::Quarantine(QuarantineCommand::List { reason, limit, json }) => {
            tools::list_quarantine(file, reason.as_deref(), limit, json)
        }
        Command::Quarantine(QuarantineCommand::Retry { reason, target }) => {
            tools::retry_quarantine(file, reason.as_deref(), &target)
        }
        Command::Journal(JournalCommand::Inspect { dir }) => tools::inspect_journal(&dir),
        Command::Journal(JournalCommand::Forget { id }) => journal_forget::forget(file, &id),
        Command::Doctor => doctor::run(file),
        Command::User(command) => accounts::user(file, &command),
        Command::Token(command) => accounts::token(file, &command),
        Command::Link(command) => accounts::link(file, &command),
        Command::Audit(AuditCommand::Verify) => tools::verify_audit(file),
        Command::Dashboards(command) => dashboards::run(&command),
        Command::Report(asked) => tools::report(file, &asked),
        Command::Certs(asked) => certs::certs(file, &asked),
        Command::Backup(asked) => backup::backup(file, &asked.out),
        Command::Restore(asked) => backup::restore(file, &asked.dir, asked.into.as_deref()),
        Command::Healthcheck(target) => tools::healthcheck(file, &target),
        Command::Bench(bench) => bench::run(bench),
    }
}
