//! Who gets in: CONNECT, its answer, logins.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tracing::debug;

use super::Place;
use super::answer::{self, ANSWER_MAX, Refusal};
use super::credentials::{Looked, Scope};
use super::linger::{LAST_WORD, linger};
use super::packet::{self, Connect};
use super::refusals::NAME_SHOWN;

/// Turn for a password check; whoever waits longer is told to come again.
const TURN: Duration = Duration::from_secs(8);

/// CONNECT and its answer. `None` when the connection is not to go on.
pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    place: &mut Place,
) -> Option<(Box<Connect>, Option<Scope>)> {
    let read = loop {
        match packet::read_connect(buffer) {
            Ok(Some(connect)) => break Ok(connect),
            Ok(None) if stream.read_buf(buffer).await.is_ok_and(|read| read > 0) => {}
            Ok(None) => break Err((None, Refusal::Malformed)),
            Err((version, error)) => {
                debug!(%error, "not a CONNECT that can be taken");
                break Err((version, Refusal::from(&error)));
            }
        }
    };
    let checked = match read {
        Err(refused) => Err(refused),
        Ok(connect) => {
            let version = connect.version;
            let name = connect.login.as_ref().map_or(&connect.client_id, |(user, _)| user);
            place.said = name.chars().take(NAME_SHOWN).collect();
            check(connect, place).await.map_err(|refusal| (Some(version), refusal))
        }
    };
    match checked {
        Ok((mut connect, scope)) => {
            let assigned = connect.client_id.is_empty();
            if assigned {
                connect.client_id = format!("anonymous-{}", place.id);
            }
            let assigned = assigned.then_some(connect.client_id.as_str());
            let accepted = answer::accept(connect.version, place.max_packet, assigned);
            // Some send all they have behind their CONNECT and are gone: what they said counts all the same.
            if stream.write_all(&accepted).await.is_ok() {
                let _ = stream.flush().await;
            }
            Some((connect, scope))
        }
        Err((version, refusal)) => {
            place.refused(refusal.word());
            let refused = version.map(|version| answer::refuse(version, refusal)).unwrap_or_default();
            let _ = stream.write_all(&refused).await;
            linger(stream, LAST_WORD).await;
            None
        }
    }
}

/// One connection too many: it is told to come again later, in the version that it speaks.
pub(super) async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut buffer = BytesMut::new();
    let told = timeout(LAST_WORD, async {
        loop {
            match packet::read_connect(&mut buffer) {
                Ok(None) if stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) => {}
                Ok(Some(connect)) => {
                    return stream.write_all(&answer::refuse(connect.version, Refusal::Busy)).await.is_ok();
                }
                _ => return false,
            }
        }
    });
    if told.await == Ok(true) {
        linger(&mut stream, LAST_WORD).await;
    }
}

async fn check(connect: Box<Connect>, place: &Place) -> Result<(Box<Connect>, Option<Scope>), Refusal> {
    if !connect.names_itself() {
        return Err(Refusal::ClientId);
    }
    if connect.max_packet.is_some_and(|bytes| bytes < ANSWER_MAX) {
        return Err(Refusal::TooLong);
    }
    if connect.steps {
        return Err(Refusal::Steps);
    }
    let scope = log_in(&connect, place).await?;
    Ok((connect, scope))
}

/// What whoever logs in may say; `None` where no login is asked for.
async fn log_in(connect: &Connect, place: &Place) -> Result<Option<Scope>, Refusal> {
    let credentials = place.shared.credentials.clone();
    if let Some(name) = &place.identity {
        // The certificate proves who it is; a user name may repeat it and nothing else.
        if connect.login.as_ref().is_some_and(|(user, _)| user != name) {
            return Err(Refusal::NotAuthorised);
        }
        let scope = match credentials {
            Some(credentials) => credentials.certified(name),
            None => Some(Scope::own(name)),
        };
        return scope.map(Some).ok_or(Refusal::NotAuthorised);
    }
    let Some(credentials) = credentials else {
        return Ok(None);
    };
    let (user, password) = connect.login.clone().ok_or(Refusal::BadLogin)?;
    let right = match credentials.look(&user, &password) {
        Looked::Right(scope) => return Ok(Some(scope)),
        Looked::Wrong => None,
        // Only who needs argon2 waits for a turn: a flood of wrong passwords keeps out no token.
        Looked::Unverified(..) => {
            let turn = timeout(TURN, place.shared.password_checks.acquire()).await;
            let turn = turn.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::Busy)?;
            let checked = tokio::task::spawn_blocking(move || credentials.check(&user, &password)).await;
            // Whoever is wrong waits alone; the right ones behind it do not.
            drop(turn);
            checked.ok().flatten()
        }
    };
    if right.is_none() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    right.map(Some).ok_or(Refusal::BadLogin)
}
