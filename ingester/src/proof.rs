//! Proofs: known leaks that we send ourselves, by the way that real readings take.
//!
//! A proof is known by its number, which only the holder of the key can make for a device and a time, never by its name:
//! whatever else calls itself `PROOF-z1` is taken and judged like any reading, so that nobody hides a danger behind the
//! name. What is a proof becomes a record of its own kind: neither admission nor books, history, databases nor the
//! register ever see it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use lampguard_model::{Reading, Timestamp};
use sha2::Sha256;

/// What the names of proof posts begin with; the zone follows.
pub const PREFIX: &str = "PROOF-";
/// Numbers keep below this: some broker may read them as floating point on the way.
const NUMBER_BITS: u32 = 53;

/// The key cannot be had. Stop and show it.
#[derive(Debug, thiserror::Error)]
#[error("key of the proofs {}: {source}", path.display())]
pub struct KeyError {
    path: PathBuf,
    source: std::io::Error,
}

/// Makes and knows the numbers of proofs.
#[derive(Clone)]
pub struct ProofKey([u8; 32]);

impl ProofKey {
    /// Reads the key, or makes one for its owner alone. Instances that read from one broker share a file: else each would
    /// judge the proofs of the other like readings.
    ///
    /// # Errors
    /// [`KeyError`]: the file cannot be read or made, or is too short to be a key.
    pub fn load_or_make(path: &Path) -> Result<Self, KeyError> {
        let bad = |source| KeyError { path: path.to_owned(), source };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let bytes: [u8; 32] = rand::random();
                make(path, &bytes).map_err(bad)?;
                bytes.to_vec()
            }
            Err(error) => return Err(bad(error)),
        };
        if bytes.len() < 32 {
            let text = "shorter than 32 bytes; take it away, and a new one is made";
            return Err(bad(std::io::Error::new(std::io::ErrorKind::InvalidData, text)));
        }
        Ok(Self::of(&bytes))
    }

    /// The key out of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(bytes).expect("HMAC takes a key of any length");
        mac.update(b"lampguard proof");
        Self(mac.finalize().into_bytes().into())
    }

    /// The number of the proof that `device` sends at `ts`.
    pub fn number(&self, device: &str, ts: Timestamp) -> u64 {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(&ts.0.to_le_bytes());
        mac.update(device.as_bytes());
        let hash: [u8; 32] = mac.finalize().into_bytes().into();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        u64::from_le_bytes(first) >> (64 - NUMBER_BITS)
    }

    /// True for a reading of `device` that we, or who shares our key, sent as a proof.
    pub fn is_proof(&self, device: &str, reading: &Reading) -> bool {
        let told = device.starts_with(PREFIX).then_some(reading.ts.zip(reading.seq)).flatten();
        told.is_some_and(|(ts, seq)| self.number(device, ts) == seq)
    }
}

impl std::fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(unix)]
fn make(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(not(unix))]
fn make(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::write(path, bytes)
}

/// Called with device and number of a proof that came in. Must not wait.
pub type OnProof = Arc<dyn Fn(&str, u64) + Send + Sync>;

/// What the intake needs to know proofs, and whom it tells of those that came.
#[derive(Clone)]
pub struct Proofs {
    /// Knows them.
    pub key: ProofKey,
    /// Told of each that came in.
    pub seen: OnProof,
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);

    #[test]
    fn a_proof_is_known_by_its_number_and_by_nothing_else() {
        let key = ProofKey::of(b"one key");
        let proof = Reading { ts: Some(T), seq: Some(key.number("PROOF-z1", T)), ..Reading::default() };
        assert!(key.is_proof("PROOF-z1", &proof));
        assert!(!key.is_proof("PROOF-z2", &proof), "another device");
        assert!(!key.is_proof("P001", &proof), "not a name of ours");
        assert!(!ProofKey::of(b"another key").is_proof("PROOF-z1", &proof));
        for other in [
            Reading { ts: Some(Timestamp(T.0 + 1)), ..proof.clone() },
            Reading { ts: None, ..proof.clone() },
            Reading { seq: None, ..proof.clone() },
            Reading { seq: proof.seq.map(|seq| seq ^ 1), ..proof },
        ] {
            assert!(!key.is_proof("PROOF-z1", &other), "{other:?}");
        }
        let post = Reading { ts: Some(T), seq: Some(key.number("P001", T)), ..Reading::default() };
        assert!(!key.is_proof("P001", &post), "no real post is taken for a proof, whatever its number");
    }

    #[test]
    fn the_key_is_made_once_for_its_owner_alone_and_read_again() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proof.key");
        let number = ProofKey::load_or_make(&path).unwrap().number("PROOF-z1", T);
        assert_eq!(ProofKey::load_or_make(&path).unwrap().number("PROOF-z1", T), number);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(number < 1 << NUMBER_BITS);
        std::fs::write(&path, b"short").unwrap();
        let error = ProofKey::load_or_make(&path).unwrap_err().to_string();
        assert!(error.contains("proof.key") && error.contains("32 bytes"), "{error}");
        assert_eq!(format!("{:?}", ProofKey::of(b"x")), "***");
    }
}
