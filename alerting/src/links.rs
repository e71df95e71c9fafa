//! Signed links for crews: one incident, one crew, until then. Pure: keys and time come as arguments.
//!
//! ```text
//! token = id . base64url(body · mac)      no padding, at most 120 characters
//! id    = the incident without its LG-: who reads the link reads the incident
//! body  = expires u32 (seconds UTC) · crew
//! mac   = the first 16 bytes of HMAC-SHA256(key, "lampguard crew link 2" · id · 0 · body)
//! ```
//! Short, because it has to stand in an SMS beside place and danger: 45 characters for a crew `c1`. Links of the form
//! before, `base64url(key u8 · expires u32 · length u8 · incident · crew · mac)`, still open; ids of another shape get it.
//!
//! The token holds no secret and no state: whoever has the key can check it, after any restart. Revocations and the
//! state of the incident are looked at by whoever lets the request in (`src/api/links.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use lampguard_model::{Millis, Timestamp};
use sha2::Sha256;

use crate::ladder::{Telling, crew_named};
use crate::rota::{Crew, Rota, Whom};

/// No link is good for longer.
pub const LIFE_MAX: Millis = Millis::hours(48);
/// A link is good for so long after its incident is over: a crew still writes its note.
pub const AFTER_END: Millis = Millis::hours(1);
/// Longest token, in characters: it has to fit a text message.
pub const TOKEN_MAX: usize = 120;
/// Keys that are kept; a rotation beyond it has to wait until links of the oldest have expired.
pub const KEYS_MAX: usize = 16;

const MAC: usize = 16;
const PURPOSE: &[u8] = b"lampguard crew link 1";
const PURPOSE_SHORT: &[u8] = b"lampguard crew link 2";
/// Beginning of the id of every incident.
const PREFIX: &str = "LG-";

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The one incident.
    pub incident: Arc<str>,
    /// Id of the crew: who acts.
    pub who: Arc<str>,
    /// Good until then, whole seconds.
    pub expires: Timestamp,
}

impl Claims {
    /// When it was made, at the latest: revocations count for links that are older.
    pub fn made_at(&self) -> Timestamp {
        self.expires - LIFE_MAX
    }
}

/// Why a link opens nothing. Show it; the desk sends another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Its time is over, or its incident is.
    #[error("the link has expired")]
    Expired,
    /// Not as we made it: cut, changed, or made under a key that is gone.
    #[error("the link is not whole, or none of ours")]
    Changed,
    /// Taken back.
    #[error("the link was taken back")]
    Revoked,
    /// Good, and not for this incident.
    #[error("the link is for another incident")]
    OtherIncident,
}

/// A link that cannot be made: a notice then leads to the sign-in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// No key.
    #[error("there is no key for crew links")]
    NoKey,
    /// Too long for a token of [`TOKEN_MAX`] characters.
    #[error(
        "crew {who:?} and incident {incident} are {bytes} bytes, a link holds {max}; give the crew a shorter id"
    )]
    TooLong {
        /// Crew.
        who: String,
        /// Incident.
        incident: String,
        /// Of both.
        bytes: usize,
        /// What fits.
        max: usize,
    },
}

/// A file of keys that cannot be read as one. Stop and show it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not `number milliseconds 64-hex-digits`")]
pub struct KeysError {
    /// Which line.
    pub line: usize,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    id: u8,
    made_at: Timestamp,
    secret: [u8; 32],
}

/// Keys of links, the oldest first; the last one signs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} ***)", self.0.len())
    }
}

impl Keys {
    /// Reads what [`Keys::to_text`] wrote.
    ///
    /// # Errors
    /// [`KeysError`] names the line.
    pub fn from_text(text: &str) -> Result<Self, KeysError> {
        let key = |line: &str| {
            let mut parts = line.split_whitespace();
            let (id, made_at) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some(Key { id, made_at: Timestamp(made_at), secret: secret_of(parts.next()?)? })
        };
        let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
        let keys = lines.map(|(n, line)| key(line).ok_or(KeysError { line: n + 1 }));
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// As a file.
    pub fn to_text(&self) -> String {
        let line =
            |key: &Key| format!("{} {} {}\n", key.id, key.made_at.0, crate::incident::hex(&key.secret));
        let head = "# Keys of crew links. Whoever has them can make links. The last one signs.\n".to_owned();
        head + &self.0.iter().map(line).collect::<String>()
    }

    /// True when nothing can be signed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Signs with a new key from now on. Older ones stay until the last link that they signed has expired.
    /// False: there are [`KEYS_MAX`] whose links are still good.
    pub fn rotate(&mut self, secret: [u8; 32], now: Timestamp) -> bool {
        // A key signed until its successor was made.
        let ends: Vec<Timestamp> = self.0.iter().skip(1).map(|key| key.made_at).chain([now]).collect();
        let mut ends = ends.into_iter();
        self.0.retain(|_| ends.next().is_none_or(|end| now.since(end) <= LIFE_MAX));
        if self.0.len() >= KEYS_MAX {
            return false;
        }
        let id = self.0.last().map_or(1, |key| key.id.wrapping_add(1));
        self.0.push(Key { id, made_at: now, secret });
        true
    }

    /// The token of a link.
    ///
    /// # Errors
    /// [`SignError`]: no key, or too long.
    pub fn sign(&self, claims: &Claims) -> Result<String, SignError> {
        const MAX: usize = TOKEN_MAX / 4 * 3 - 6 - MAC;
        let key = self.0.last().ok_or(SignError::NoKey)?;
        let (incident, who) = (claims.incident.as_bytes(), claims.who.as_bytes());
        let bytes = incident.len() + who.len();
        let length = u8::try_from(incident.len()).ok().filter(|_| bytes <= MAX);
        let length = length.ok_or_else(|| SignError::TooLong {
            who: claims.who.to_string(),
            incident: claims.incident.to_string(),
            bytes,
            max: MAX,
        })?;
        let seconds = u32::try_from(claims.expires.0.div_euclid(1000)).unwrap_or(0);
        let plain = |id: &&str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
        if let Some(id) = claims.incident.strip_prefix(PREFIX).filter(plain) {
            let mut body = seconds.to_be_bytes().to_vec();
            body.extend(who);
            let mac = mac_of(key, &[PURPOSE_SHORT, id.as_bytes(), &[0], &body]);
            body.extend(mac.map_or_else(Vec::new, |mac| mac.finalize().into_bytes()[..MAC].to_vec()));
            return Ok(format!("{id}.{}", URL_SAFE_NO_PAD.encode(body)));
        }
        let mut token = vec![key.id];
        token.extend(seconds.to_be_bytes());
        token.push(length);
        token.extend(incident);
        token.extend(who);
        let mac = mac_of(key, &[PURPOSE, &token])
            .map_or_else(Vec::new, |mac| mac.finalize().into_bytes()[..MAC].to_vec());
        token.extend(mac);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// What a token says, if it is ours, whole, and not expired at `now`.
    ///
    /// # Errors
    /// [`LinkError::Changed`] or [`LinkError::Expired`].
    pub fn check(&self, token: &str, now: Timestamp) -> Result<Claims, LinkError> {
        let claims = self.read(token).ok_or(LinkError::Changed)?;
        // A clock that went back does not make a link good for longer than it was made for.
        if now >= claims.expires || now < claims.made_at() - Millis::hours(24) {
            return Err(LinkError::Expired);
        }
        Ok(claims)
    }

    fn read(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        if let Some((id, rest)) = token.split_once('.') {
            return self.read_short(id, rest);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, mac) = bytes.split_at(bytes.len().checked_sub(MAC)?);
        let key = self.0.iter().find(|key| body.first() == Some(&key.id))?;
        mac_of(key, &[PURPOSE, body])?.verify_truncated_left(mac).ok()?;
        let (expires, rest) = body.get(1..)?.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first()?;
        let (incident, who) = rest.split_at_checked(usize::from(*length))?;
        Some(Claims {
            incident: Arc::from(std::str::from_utf8(incident).ok()?),
            who: Arc::from(std::str::from_utf8(who).ok()?),
            expires: Timestamp(i64::from(u32::from_be_bytes(*expires)) * 1000),
        })
    }

    fn read_short(&self, id: &str, rest: &str) -> Option<Claims> {
        let bytes = URL_SAFE_NO_PAD.decode(rest).ok()?;
        let (body, mac) = bytes.split_at(bytes.len().checked_sub(MAC)?);
        // The newest key signed most of what is out.
        let signed = |key: &Key| {
            let made = mac_of(key, &[PURPOSE_SHORT, id.as_bytes(), &[0], body]);
            made.is_some_and(|made| made.verify_truncated_left(mac).is_ok())
        };
        self.0.iter().rev().find(|key| signed(key))?;
        let (expires, who) = body.split_first_chunk::<4>()?;
        Some(Claims {
            incident: Arc::from(format!("{PREFIX}{id}")),
            who: Arc::from(std::str::from_utf8(who).ok()?),
            expires: Timestamp(i64::from(u32::from_be_bytes(*expires)) * 1000),
        })
    }
}

fn mac_of(key: &Key, parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.secret).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac)
}

fn secret_of(hex: &str) -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in secret.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(secret)
}

/// Signs a link for (incident, crew), good until then.
pub type Signer = Arc<dyn Fn(&Claims) -> Option<String> + Send + Sync>;

/// Crew ids by the names that notices are addressed to: somebody may be in several.
type Members = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

/// Makes the link of each notice. The default makes none for crews: everybody signs in. Clones share who belongs to
/// which crew.
#[derive(Clone, Default)]
pub struct Links {
    signer: Option<Signer>,
    crews: Arc<RwLock<Members>>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("crews", &self.crews).finish_non_exhaustive()
    }
}

impl Links {
    /// Signed links for whoever belongs to a crew; alerting says who does (`follow`).
    pub fn new(signer: Signer) -> Self {
        Self { signer: Some(signer), ..Self::default() }
    }

    /// From now on whoever belongs to a crew of `rota` is led to its page, where the crew is told.
    pub(crate) fn follow(&self, rota: &Rota) {
        let mut crews = Members::new();
        for crew in rota.crews.values() {
            let members = crew.members.iter().map(|person| person.name.clone());
            let names = members.chain([crew.id.clone(), Arc::from(crew.name.as_str())]);
            for name in names {
                crews.entry(name).or_default().insert(crew.id.clone());
            }
        }
        *self.crews.write().unwrap_or_else(PoisonError::into_inner) = crews;
    }

    /// Path of the page that a notice about `incident` to `to`, made at `at`, leads to. It is the page of the first of
    /// the crews `told` that `to` belongs to: whoever is informed for another reason signs in, and acts as himself.
    pub(crate) fn path(&self, incident: &Arc<str>, to: &str, at: Timestamp, told: &[Arc<str>]) -> String {
        let crews = self.crews.read().unwrap_or_else(PoisonError::into_inner);
        let crew = crews.get(to).and_then(|his| told.iter().find(|crew| his.contains(*crew))).cloned();
        drop(crews);
        let signed = self.signer.as_ref().zip(crew).and_then(|(signer, who)| {
            signer(&Claims { incident: incident.clone(), who, expires: at + LIFE_MAX })
        });
        signed.map_or_else(|| format!("/incidents/{incident}"), |token| format!("/c/{token}"))
    }
}

/// Ids of the crews that a telling is for, the one that has the incident first.
pub(crate) fn crews_told(
    rota: &Rota,
    to: &Telling,
    zone: &str,
    own: Option<&str>,
    now: Timestamp,
) -> Vec<Arc<str>> {
    let means = |whom: &[Whom]| whom.iter().any(|whom| to.whom.contains(whom));
    let own = own.and_then(|name| crew_named(rota, name)).map(|crew| &*crew.id);
    let of = |whom: Whom| rota.crews_of(whom, zone, own, now);
    let mut crews: Vec<Arc<Crew>> = Vec::new();
    if to.everybody || means(&[Whom::Crew, Whom::Second]) {
        crews.extend(of(Whom::Crew));
    }
    crews.extend(to.crews.iter().filter_map(|name| crew_named(rota, name)).cloned());
    if to.everybody {
        let duty = rota.on_duty_now(zone, now);
        crews.extend(duty.crew.into_iter().chain(duty.backup).chain(duty.reinforcement));
    }
    for whom in [Whom::BackupCrew, Whom::Neighbour] {
        if means(&[whom]) {
            crews.extend(of(whom));
        }
    }
    crews.into_iter().map(|crew| crew.id.clone()).collect()
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
