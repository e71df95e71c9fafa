//! `user`, `token`, `link`.

use clap::Subcommand;

use crate::tokens::Role;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it once.
    Create {
        /// What its owner may do.
        #[arg(long)]
        role: Role,
        /// Who that is.
        #[arg(long)]
        name: String,
        /// The only zone it acts in; a crew's token needs it.
        #[arg(long)]
        zone: Option<String>,
        /// For a wall: its browser opens /kiosk/TOKEN once. Only looks.
        #[arg(long)]
        kiosk: bool,
    },
    /// Show every token by its id; the tokens themselves cannot be shown again.
    List,
    /// Make a token void at once.
    Remove {
        /// Its id by `token list`.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user. The password is asked for, piped in, or random.
    Add {
        /// Name to sign in with; what stands beside everything the user does.
        name: String,
        /// What the user may do.
        #[arg(long)]
        role: Role,
        /// The only zone the user acts in; a crew needs it.
        #[arg(long)]
        zone: Option<String>,
        /// Take a random password and print it once.
        #[arg(long)]
        generate: bool,
    },
    /// Show every user: role, zone, active or locked, last sign-in.
    List,
    /// Another password; every session of the user ends.
    Password {
        /// Who.
        name: String,
        /// Take a random password and print it once.
        #[arg(long)]
        generate: bool,
    },
    /// Another role or zone; every session of the user ends.
    Role {
        /// Who.
        name: String,
        /// What the user may do from now on.
        #[arg(long)]
        role: Role,
        /// The only zone the user acts in.
        #[arg(long)]
        zone: Option<String>,
    },
    /// Keep a user out; every session of the user ends.
    Lock {
        /// Who.
        name: String,
    },
    /// Let a locked user in again.
    Unlock {
        /// Who.
        name: String,
    },
    /// Remove a user. What the user did stays on record.
    Remove {
        /// Who.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LinkCommand {
    /// Take back links that were sent: of an incident, of a crew, or of a crew for an incident.
    Revoke {
        /// Which incident; without it every one.
        #[arg(long)]
        incident: Option<String>,
        /// Which crew; without it every one.
        #[arg(long)]
        crew: Option<String>,
    },
    /// Sign with a new key; links that are out stay good until they expire.
    Rotate {
        /// Make every link void that is out.
        #[arg(long)]
        now: bool,
    },
}
