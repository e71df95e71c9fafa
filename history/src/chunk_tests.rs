//! Chunks: what goes in comes out, and damage is an error.

use proptest::prelude::*;

use super::*;

/// Any row at all, sensible or not.
pub(crate) fn any_row() -> impl Strategy<Value = Row> {
    let times = (any::<i64>(), any::<i64>(), proptest::option::of(any::<i64>()));
    let numbers = (proptest::option::of(any::<u64>()), proptest::option::of(any::<u32>()));
    let words = (any::<u32>(), any::<u16>(), 0u8..7, 0usize..4);
    let values = proptest::collection::vec((0..field::FIELD_COUNT, any::<i64>()), 0..8);
    (times, numbers, words, values).prop_map(|((stored, received, ts), (seq, boot), words, values)| {
        let mut fields = Fields::default();
        for (number, value) in values {
            fields.set(field::ALL[number], value);
        }
        Row {
            stored_ts: Timestamp(stored),
            received_at: Timestamp(received),
            ts: ts.map(Timestamp),
            seq,
            boot,
            marks: Marks(words.0),
            flags: Flags(words.1),
            cause: Cause::from_number(words.2),
            source: SOURCES[words.3],
            fields,
        }
    })
}

fn ordinary(count: i64) -> Vec<Row> {
    let row = |n: i64| {
        let mut fields = Fields::default();
        fields.set(Field::SupplyV, 228_400 + (n * n) % 17 * 100);
        fields.set(Field::LeakageMa, 820 + n % 5 * 10);
        if n % 3 == 0 {
            fields.set(Field::TemperatureC, -4_000);
        }
        Row {
            stored_ts: Timestamp(1_795_435_200_000 + n * 30_000),
            received_at: Timestamp(1_795_435_200_080 + n * 30_000 + n % 7),
            ts: Some(Timestamp(1_795_435_200_000 + n * 30_000)),
            seq: Some(n.cast_unsigned()),
            boot: Some(3),
            marks: Marks::default(),
            flags: Flags::SIMULATED,
            cause: Cause::Periodic,
            source: Source::Listener,
            fields,
        }
    };
    (0..count).map(row).collect()
}

proptest! {
    #[test]
    fn any_rows_come_out_as_they_went_in(rows in proptest::collection::vec(any_row(), 1..80)) {
        prop_assert_eq!(decode(&encode(&rows)), Ok(rows));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes).is_err());
        let _ = decode_body(&bytes);
    }
}

#[test]
fn an_ordinary_chunk_comes_out_as_it_went_in_and_is_small() {
    let rows = ordinary(240);
    let bytes = encode(&rows);
    assert_eq!(decode(&bytes), Ok(rows));
    assert!(bytes.len() < 240 * 6, "{} bytes", bytes.len());
    assert_eq!(decode(&encode(&ordinary(ROWS_MAX as i64))), Ok(ordinary(ROWS_MAX as i64)));
    assert_eq!(encode(&ordinary(240)), bytes, "the same rows give the same bytes");
}

#[test]
fn every_flipped_bit_and_every_cut_is_an_error() {
    let bytes = encode(&ordinary(20));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(matches!(decode(&flipped), Err(ChunkError::Checksum(_))), "byte {at} bit {bit}");
        }
        assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn damage_behind_a_right_checksum_is_no_panic_either() {
    let bytes = encode(&ordinary(40));
    for at in 4..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes[4..].to_vec();
            flipped[at - 4] ^= 1 << bit;
            let _ = decode_body(&flipped);
        }
        let _ = decode_body(&bytes[4..at]);
    }
}

#[test]
fn a_huge_row_count_asks_for_no_memory() {
    let mut body = vec![VERSION];
    put_varint(&mut body, u64::MAX);
    assert_eq!(decode_body(&body), Err(ChunkError::Content("row count")));
}
