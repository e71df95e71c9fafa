//! The command line: what can be asked, and how it is explained.

mod accounts;
mod posts;

use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use accounts::{LinkCommand, TokenCommand, UserCommand};
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use posts::{CrsName, EncodingName, Import, PostsCommand};

/// Watches lamp posts for leakage and sends a repair crew within 30 minutes.
///
/// 监测灯杆漏电，30 分钟内派抢修班组到场。  First time here? Run `lampguard demo`.
#[derive(Debug, Parser)]
#[command(name = "lampguard", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Configuration file; without it ./lampguard.toml, then /etc/lampguard/lampguard.toml.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process with a simulated city; needs nothing installed.
    Demo(Demo),
    /// Run for real, by the configuration. SIGHUP has register, lighting, policy and people read again.
    ///
    /// SIGHUP (`kill -HUP PID`, the pid stands in DATA_DIR/lock; `systemctl reload`) reads the configuration file again
    /// and takes posts.file, the sections lighting and policy, and people (crews, shifts, duty, calendar, desk, supervisor, head, and
    /// those of each zone) from it, without a restart. They are checked as a whole first: a fault changes nothing, is
    /// logged with file and line, and sets lampguard_reload_failing to 1. Every other section is read at a start alone,
    /// a new zone or channel included.
    Serve,
    /// Run the simulated city against a broker, or into a recording.
    Simulate(Simulate),
    /// Write what a running instance receives as a recording.
    Record(Record),
    /// Compare what was true with what people were told.
    Score(Score),
    /// Judge old readings by the same rules, on a simulated clock; needs no configuration.
    Backtest(Backtest),
    /// Tell why a post did or did not raise: values, limits in force, wet or dry, what is missing.
    Explain(Explain),
    /// Tell who would be told, at each rung, for each zone; and where the rota has gaps in the next 7 days.
    Plan(Plan),
    /// Show or check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check the register of posts, or take another list over.
    #[command(subcommand)]
    Posts(PostsCommand),
    /// Try a payload profile.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Look at refused payloads, or read them again.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Look into the journal.
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Check broker, database, disk, clock and files, and say how to cure what is unsafe.
    Doctor,
    /// Named users of the pages: make, list, lock, remove.
    #[command(subcommand)]
    User(UserCommand),
    /// Tokens for the HTTP interface and for walls.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Links that crews open without signing in: take them back, sign with a new key.
    #[command(subcommand)]
    Link(LinkCommand),
    /// Check the records of incidents.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print a month by zone and crew: told, acknowledged, arrived, breached, why late.
    Report(Report),
    /// Exit 0 if the running instance is ready.
    Healthcheck(Target),
    /// Measure this machine and this program.
    Bench(crate::bench::Bench),
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Posts in the city, 1 to 1,000,000.
    #[arg(long, default_value_t = 3200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) posts: u32,
    /// The same seed makes the same city.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Scenario: a file, or the name of a shipped one; without it the demo's own.
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// What the city is made of (TOML), instead of the shipped example.
    #[arg(long, value_name = "FILE")]
    pub(crate) params: Option<PathBuf>,
    /// Policy file (rules of alarm) instead of the defaults.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Port of the HTTP interface on 127.0.0.1; without it 8080, or a free one when that is taken.
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Data directory to keep; without it a fresh one that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Speeds weather and ageing only; clocks and deadlines stay real.
    #[arg(long)]
    pub(crate) speed: Option<f64>,
    /// End by itself after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) duration: Option<u64>,
    /// Take commands for the city over HTTP on this port of 127.0.0.1 (0: a free one): rain, a leak, a cut feeder.
    #[arg(long, value_name = "PORT")]
    pub(crate) control_port: Option<u16>,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("to").required(true).args(["broker", "out", "list", "print"])))]
pub(crate) struct Simulate {
    /// List the scenarios that come with lampguard.
    #[arg(long)]
    pub(crate) list: bool,
    /// Print the file of a shipped scenario, or with `params` what a city is made of: to copy and change.
    #[arg(long, value_name = "NAME")]
    pub(crate) print: Option<String>,
    /// Publish to this broker: mqtt://host:port.
    #[arg(long, value_name = "URL")]
    pub(crate) broker: Option<String>,
    /// Write a recording (JSON lines) instead, as fast as the machine goes; the same seed gives the same bytes.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// User name at the broker.
    #[arg(long, requires = "password_file")]
    pub(crate) username: Option<String>,
    /// File that holds the password.
    #[arg(long, value_name = "FILE", requires = "username")]
    pub(crate) password_file: Option<PathBuf>,
    #[command(flatten, next_help_heading = "City")]
    pub(crate) city: SimulatedCity,
    #[command(flatten, next_help_heading = "Connections")]
    pub(crate) connections: Connections,
    #[command(flatten, next_help_heading = "Live control")]
    pub(crate) live: LiveControl,
}

/// What is simulated, and what is written about it.
#[derive(Debug, Args)]
pub(crate) struct SimulatedCity {
    /// Posts in the city, 1 to 1,000,000.
    #[arg(long, default_value_t = 3200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) posts: u32,
    /// The same seed makes the same city.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Scenario: a file, or the name of a shipped one (`simulate --list`).
    #[arg(long, default_value = "autumn_rain")]
    pub(crate) scenario: String,
    /// What the city is made of (TOML), instead of the shipped example (`simulate --print params`).
    #[arg(long, value_name = "FILE")]
    pub(crate) params: Option<PathBuf>,
    /// Move every physical parameter by up to this share of itself, by the seed: 0.5 is ± 50 %.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) redraw: Option<f64>,
    /// Speeds weather and ageing only.
    #[arg(long)]
    pub(crate) speed: Option<f64>,
    /// When a recording starts (RFC 3339) instead of the scenario's own time; `now` for now.
    #[arg(long, value_name = "TIME")]
    pub(crate) start: Option<String>,
    /// Write the true hazards here (JSON lines).
    #[arg(long, value_name = "FILE")]
    pub(crate) truth: Option<PathBuf>,
    /// Write the register of the city here (posts.csv).
    #[arg(long, value_name = "FILE")]
    pub(crate) posts_out: Option<PathBuf>,
    /// End after so many seconds; a recording without it is as long as its scenario.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=315_360_000))]
    pub(crate) duration: Option<u64>,
}

/// A share of itself by which a number is moved.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().map_err(|e| e.to_string())?;
    if (0.0..0.95).contains(&share) { Ok(share) } else { Err(format!("{share} is not in 0 to 0.95")) }
}

/// How the city is connected to the broker.
#[derive(Debug, Args)]
pub(crate) struct Connections {
    /// What connects: a few gateways that carry all posts, or every post by itself.
    #[arg(long, value_enum, default_value_t = Clients::Gateways)]
    pub(crate) clients: Clients,
    /// With --clients gateways: so many, 1 to 1,000 [default: 16].
    #[arg(long, value_name = "N")]
    pub(crate) gateways: Option<u16>,
    /// With --clients posts: at most so many connections, which the posts share evenly; without it one for each
    /// post.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: Option<u32>,
    /// With --clients posts: connects a second at most, at the start and after lost links [default: 500].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) connects_per_s: Option<u32>,
    /// With --clients posts: after lost links all connect again in the same instant, not paced.
    #[arg(long)]
    pub(crate) herd: bool,
    /// With --clients posts: seconds between two pings of a connection, 5 or more [default: 60].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(5..))]
    pub(crate) keep_alive_s: Option<u16>,
    /// Speak MQTT 5; without it 3.1.1.
    #[arg(long)]
    pub(crate) mqtt5: bool,
    /// Connect at once, and begin to report after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(crate) start_in: u32,
}

/// What connects to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clients {
    /// A few gateways that carry all posts.
    Gateways,
    /// Every post by itself, as sensors with a modem of their own do.
    Posts,
}

/// Doing things to a running city.
#[derive(Debug, Args)]
pub(crate) struct LiveControl {
    /// Take commands over HTTP here (127.0.0.1:PORT, no login): rain, a leak, a cut feeder; GET / lists them.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "out")]
    pub(crate) control: Option<SocketAddr>,
}

/// Where the running instance is.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Its address, such as http://127.0.0.1:8080; without it the one of the data directory.
    #[arg(long, requires = "token")]
    pub(crate) url: Option<String>,
    /// A token for it.
    #[arg(long, requires = "url")]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Record {
    /// Recording to write (JSON lines).
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// End after so many seconds; without it by Ctrl-C.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) duration: Option<u64>,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Score {
    /// What was true (JSON lines); `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) truth: PathBuf,
    /// What people were told: a file (`-` reads standard input), the address of an instance, or `local` for the
    /// one of the data directory.
    #[arg(long, value_name = "FILE_OR_URL")]
    pub(crate) notices: String,
    /// A token for the address.
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Recording of the same time: how many posts were watched for how long, and the rain.
    #[arg(long, value_name = "RECORDING")]
    pub(crate) readings: Option<PathBuf>,
    /// Register: how many posts were watched, and which feeder they hang on.
    #[arg(long, value_name = "FILE")]
    pub(crate) posts: Option<PathBuf>,
    /// Nights that were watched; without it the span of the recording, 24 h being one.
    #[arg(long, value_parser = nights)]
    pub(crate) nights: Option<f64>,
    /// Leave out what was told before this time (RFC 3339 with offset, or milliseconds UTC).
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Leave out what was told at or after this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Print one JSON object with everything.
    #[arg(long)]
    pub(crate) json: bool,
    /// List each hazard with its verdict.
    #[arg(long)]
    pub(crate) details: bool,
    /// Draw the storm into this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Language of the drawing.
    #[arg(long, value_enum, default_value = "zh")]
    pub(crate) lang: Lang,
}

/// A language that people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lang {
    /// Chinese.
    Zh,
    /// English.
    En,
}

/// Most nights of one comparison: a hundred years.
const NIGHTS_MAX: f64 = 36_525.0;

fn nights(text: &str) -> Result<f64, String> {
    let nights: f64 = text.parse().map_err(|_| "give a number".to_owned())?;
    if nights > 0.0 && nights <= NIGHTS_MAX {
        return Ok(nights);
    }
    Err(format!("{nights} is not above 0 and at most {NIGHTS_MAX}"))
}

#[derive(Debug, Args)]
pub(crate) struct Backtest {
    /// Register of posts (posts.csv).
    #[arg(long, value_name = "FILE")]
    pub(crate) posts: PathBuf,
    /// A recording (JSON lines), or the directory of a journal (DATA_DIR/journal), also of a running instance.
    #[arg(long, value_name = "FILE_OR_DIR")]
    pub(crate) readings: PathBuf,
    /// Incidents as JSON lines on standard output, and nothing else there.
    #[arg(long)]
    pub(crate) json: bool,
    /// Language of the summary.
    #[arg(long, value_enum, default_value_t = Lang::En)]
    pub(crate) lang: Lang,
    /// Judge by this policy file instead of the defaults.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Judge by this policy file too, and tell what it would gain and lose.
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
    /// What was true (JSON lines): hazards that one policy misses and the other does not.
    #[arg(long, value_name = "FILE", requires = "against")]
    pub(crate) truth: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Post or device id.
    pub(crate) post: String,
    /// The moment (RFC 3339 with offset, or milliseconds UTC); without it now, or the end of the recording.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Offline: register of posts (posts.csv).
    #[arg(long, value_name = "FILE", requires = "readings", conflicts_with = "url")]
    pub(crate) posts: Option<PathBuf>,
    /// Offline: a recording, or the directory of a journal.
    #[arg(long, value_name = "FILE_OR_DIR", requires = "posts")]
    pub(crate) readings: Option<PathBuf>,
    /// Offline: policy file instead of the defaults.
    #[arg(long, value_name = "FILE", requires = "readings")]
    pub(crate) policy: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Language of the text.
    #[arg(long, value_enum, default_value_t = Lang::Zh)]
    pub(crate) lang: Lang,
    /// Zone of the times in the text.
    #[arg(long, value_name = "ZONE", default_value = "Asia/Shanghai")]
    pub(crate) time_zone: String,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The moment (RFC 3339 with offset, or milliseconds UTC); without it now.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Language of the table.
    #[arg(long, value_enum, default_value_t = Lang::Zh)]
    pub(crate) lang: Lang,
    /// Zone of the times in the table; without it that of the configuration.
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a commented sample of every key.
    Print {
        /// The sample of the policy file (rules of alarm) instead.
        #[arg(long)]
        policy: bool,
    },
    /// Check a file and tell every fault at once.
    Check {
        /// Configuration file.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Show what a payload turns into.
    Test {
        /// Name of a profile: of the configuration, or a built-in one.
        name: String,
        /// File with one payload; `-` reads standard input.
        file: PathBuf,
        /// Topic it came on, where the profile takes the device from it.
        #[arg(long, default_value = "lamp/z1/TEST/reading")]
        topic: String,
        /// Tell of every value what it became, or why it was left; plain text instead of JSON.
        #[arg(long)]
        explain: bool,
        /// Sparkplug: a file with the birth that tells the aliases; read before, on the birth's topic.
        #[arg(long, value_name = "FILE")]
        birth: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List refused payloads, oldest first.
    List {
        /// Only this reason.
        #[arg(long)]
        reason: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// JSON lines.
        #[arg(long)]
        json: bool,
    },
    /// Let the running instance read them again, after a profile or the register was mended.
    Retry {
        /// Only this reason.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Tell what every segment holds; also beside a running instance.
    Inspect {
        /// The journal's directory (DATA_DIR/journal).
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The month, such as 2026-11; also beside a running instance.
    #[arg(long, value_name = "YYYY-MM")]
    pub(crate) month: String,
    /// One JSON object instead of the table (CSV with UTF-8 mark, as Excel opens it).
    #[arg(long)]
    pub(crate) json: bool,
    /// Write into this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Language of the titles [default: that of the site].
    #[arg(long, value_enum)]
    pub(crate) lang: Option<Lang>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check the hash chain of the record of incidents.
    Verify,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn simulate_goes_to_a_broker_or_into_a_recording_and_takes_its_options_with_either() {
        let good = [
            "--broker mqtt://h:1 --duration 3 --seed 4",
            "--out f --duration 3 --posts-out p --truth t",
            "--broker mqtt://h:1 --clients posts --connections 9 --connects-per-s 50 --herd --start-in 5",
            "--broker mqtt://h:1 --control 127.0.0.1:0",
            "--out f --start now --params p --redraw 0.5",
            "--list",
            "--print params",
        ];
        let bad = [
            "--duration 3",
            "--out f --redraw 1.5",
            "--out f --broker mqtt://h:1 --duration 3",
            "--out f --duration 3 --control 127.0.0.1:0",
            "--broker mqtt://h:1 --clients lamps",
            "--broker mqtt://h:1 --connections 0",
            "--broker mqtt://h:1 --control here",
        ];
        let parse = |line: &str| Cli::try_parse_from(format!("lampguard simulate {line}").split(' '));
        for line in good {
            assert!(parse(line).is_ok(), "{line}");
        }
        for line in bad {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
