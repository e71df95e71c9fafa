//! Pauses between tries, and payloads over the limit.

use super::*;

#[test]
fn peer_p6_the_pause_between_tries_grows_to_thirty_seconds_and_no_further() {
    assert!(backoff(1, 0) >= Duration::from_millis(125));
    for failures in 1..100 {
        for dice in [0, u32::MAX / 2, u32::MAX] {
            assert!(backoff(failures, dice) <= BACKOFF_MAX, "{failures} {dice}");
        }
    }
    assert!(backoff(50, 0) >= Duration::from_secs(15));
    assert_ne!(backoff(5, 1), backoff(5, u32::MAX));
}

#[test]
fn an_oversize_payload_keeps_its_hash_and_its_beginning() {
    let (kept, fate) = cut_oversize(bytes::Bytes::from(vec![7; PACKET_MAX + 1]));
    assert_eq!(kept.len(), 64 * 1024);
    assert!(matches!(fate, Fate::TooLarge { bytes, .. } if bytes as usize == PACKET_MAX + 1));
    assert_eq!(cut_oversize(bytes::Bytes::from_static(b"{}")).1, Fate::Read);
}
