//! Signatures: HMAC-SHA256 in the forms that the receivers want.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Secret;
use crate::incident::hex;

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Webhook: `sha256=` and the HMAC of the body in hex.
pub(crate) fn webhook(secret: &Secret, body: &[u8]) -> String {
    format!("sha256={}", hex(&hmac(secret.bytes(), body)))
}

/// DingTalk: the secret is the key, time in ms and secret are the message. Not yet escaped for a query.
pub(super) fn dingtalk(secret: &Secret, timestamp_ms: i64) -> String {
    let message = [timestamp_ms.to_string().as_bytes(), b"\n", secret.bytes()].concat();
    STANDARD.encode(hmac(secret.bytes(), &message))
}

/// Feishu: time in seconds and secret are the key, the message is empty.
pub(super) fn feishu(secret: &Secret, timestamp_s: i64) -> String {
    let key = [timestamp_s.to_string().as_bytes(), b"\n", secret.bytes()].concat();
    STANDARD.encode(hmac(&key, b""))
}

/// Escapes for a part of a URL or a form: everything but letters, digits and `-._~`.
pub(super) fn escape_url(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_known_answer_of_hmac_sha256() {
        let text = b"what do ya want for nothing?";
        let known = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(webhook(&Secret::new(b"Jefe".to_vec()), text), known, "RFC 4231, test case 2");
        assert_eq!(format!("{:?}", Secret::new(b"Jefe".to_vec())), "***");
    }

    #[test]
    fn the_signatures_of_the_robots_are_what_another_program_computes() {
        let secret = Secret::new(b"SECtest".to_vec());
        let known = "mD40SttFquMYoSc19MEMKUKfIEHvvLO0tzHNKnI+bzM=";
        assert_eq!(dingtalk(&secret, 1_795_435_200_000), known, "Python's hmac and base64");
        assert_eq!(feishu(&secret, 1_795_435_200), "jGEB1KVgVfMJsr3FmQSPrmExdPqUxBRGY25juYTFCU8=");
    }

    #[test]
    fn a_query_keeps_nothing_that_could_end_it() {
        assert_eq!(escape_url("a+b/c=&d 路"), "a%2Bb%2Fc%3D%26d%20%E8%B7%AF");
    }
}
