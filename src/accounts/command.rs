//! `lampguard user`, `token`, `link`: beside a running instance or without one; what they change counts at once.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::{Accounts, crew_id, password};
use crate::cli::{LinkCommand, TokenCommand, UserCommand};
use crate::config::{self, Config};
use crate::tools::print;
use crate::{UsageError, clock, data_dir};

fn load(file: Option<&Path>) -> Result<(Config, Accounts)> {
    let config = config::load(&config::find(file)?)?;
    data_dir::make(&config.site.data_dir)?;
    let accounts = Accounts::open(&config.site.data_dir)?;
    Ok((config, accounts))
}

fn check_zone(config: &Config, zone: Option<&str>) -> Result<()> {
    if let Some(zone) = zone
        && !config.zones.iter().any(|known| known.id == zone)
    {
        bail!(UsageError(format!("there is no [[zone]] with id {zone:?}")));
    }
    Ok(())
}

/// Id of a crew, by id or name. To take back the links of none would take back nothing, and say it did.
fn crew_of<'c>(config: &'c Config, named: &str) -> Result<&'c str> {
    let crews = config.crews.iter().map(|crew| (&*crew.id, &*crew.name));
    let unknown =
        || UsageError(format!("there is no [[crew]] with id or name {named:?}: nothing was taken back"));
    Ok(crew_id(crews, named).ok_or_else(unknown)?)
}

fn check_incident(config: &Config, id: &str) -> Result<()> {
    let dir = &config.site.data_dir;
    if !lampguard_alerting::stores_incident(dir, id).context("looking for the incident")? {
        let text = format!("no incident {id:?} stands in {}: nothing was taken back", dir.display());
        bail!(UsageError(text));
    }
    Ok(())
}

/// `lampguard user …`
pub(crate) fn user(file: Option<&Path>, command: &UserCommand) -> Result<()> {
    let (config, accounts) = load(file)?;
    match command {
        UserCommand::Add { name, role, zone, generate } => {
            check_zone(&config, zone.as_deref())?;
            let password = new_password(name, *generate)?;
            accounts.add_user(name, *role, zone.as_deref(), &password, clock::now())?;
            told(name, "made", &password, *generate)
        }
        UserCommand::List => {
            for user in accounts.users()? {
                let zone = user.zone.as_deref().unwrap_or("all zones");
                let state = if user.active { "active" } else { "locked" };
                let seen = user.last_login.map_or_else(|| "never".to_owned(), |at| at.to_rfc3339());
                print(&format!(
                    "{}\t{}\t{zone}\t{state}\tlast signed in {seen}\n",
                    user.name,
                    user.role.name()
                ))?;
            }
            Ok(())
        }
        UserCommand::Password { name, generate } => {
            let password = new_password(name, *generate)?;
            accounts.set_password(name, &password)?;
            told(name, "has another password", &password, *generate)
        }
        UserCommand::Role { name, role, zone } => {
            check_zone(&config, zone.as_deref())?;
            accounts.set_role(name, *role, zone.as_deref())
        }
        UserCommand::Lock { name } => accounts.set_active(name, false),
        UserCommand::Unlock { name } => accounts.set_active(name, true),
        UserCommand::Remove { name } => accounts.remove_user(name),
    }
}

fn told(name: &str, what: &str, password: &str, generated: bool) -> Result<()> {
    if !generated {
        eprintln!("user {name} {what}");
        return Ok(());
    }
    eprintln!("user {name} {what}; the password is shown this once:");
    print(&format!("{password}\n"))
}

/// A random one, or one that is typed twice, or the first line of what is piped in.
fn new_password(name: &str, generate: bool) -> Result<String> {
    if generate {
        return Ok(password::random());
    }
    if !std::io::stdin().is_terminal() {
        return line_of_stdin();
    }
    let first = ask_hidden(&format!("new password of {name}: "))?;
    password::check_rules(name, &first).map_err(|weak| UsageError(weak.to_string()))?;
    if ask_hidden("the same again: ")? != first {
        bail!(UsageError("the two are not the same; nothing was changed".to_owned()));
    }
    Ok(first)
}

fn line_of_stdin() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        bail!(UsageError("no password: type it at a terminal, pipe it in, or use --generate".to_owned()));
    }
    Ok(password)
}

/// Asks at the terminal without showing what is typed.
fn ask_hidden(question: &str) -> Result<String> {
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).context("asking the terminal")?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    eprint!("{question}");
    let _ = std::io::stderr().flush();
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).context("hiding what is typed")?;
    let line = line_of_stdin();
    tcsetattr(&stdin, OptionalActions::Flush, &before).context("showing again what is typed")?;
    eprintln!();
    line
}

/// `lampguard token …`
pub(crate) fn token(file: Option<&Path>, command: &TokenCommand) -> Result<()> {
    let (config, accounts) = load(file)?;
    match command {
        TokenCommand::Create { role, name, zone, kiosk } => {
            check_zone(&config, zone.as_deref())?;
            let token = accounts.create_token(*role, name, zone.as_deref(), *kiosk, clock::now())?;
            if *kiosk {
                let root = config.web.root();
                eprintln!("open this once on the wall's browser: {root}/kiosk/{token}");
            }
            print(&format!("{token}\n"))
        }
        TokenCommand::List => {
            for token in accounts.tokens()? {
                let zone = token.zone.as_deref().unwrap_or("all zones");
                let kind = if token.kiosk { "kiosk" } else { "api" };
                let (at, id, role, name) = (token.created_at, token.id, token.role, token.name);
                print(&format!("{id}\t{role}\t{name}\t{zone}\t{kind}\tmade {at}\n"))?;
            }
            Ok(())
        }
        TokenCommand::Remove { id } => accounts.remove_token(id),
    }
}

/// `lampguard link …`
pub(crate) fn link(file: Option<&Path>, command: &LinkCommand) -> Result<()> {
    let (config, accounts) = load(file)?;
    let now = clock::now();
    match command {
        LinkCommand::Revoke { incident, crew } => {
            let crew = crew.as_deref().map(|named| crew_of(&config, named)).transpose()?;
            if let Some(id) = incident {
                check_incident(&config, id)?;
            }
            accounts.revoke_links(incident.as_deref(), crew, now)
        }
        LinkCommand::Rotate { now: true } => {
            accounts.links.replace(now)?;
            eprintln!("a new key signs; every link that is out is void");
            Ok(())
        }
        LinkCommand::Rotate { now: false } => {
            accounts.links.rotate(now)?;
            eprintln!("a new key signs from now on; links that are out stay good until they expire");
            Ok(())
        }
    }
}
