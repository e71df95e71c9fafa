//! The journal against a model, on a disk that fails at every operation in turn.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Fault, FaultDisk};
use lampguard_journal::{Disk, FrameBuf, Options, Reader, Writer};
use proptest::prelude::*;

const DIR: &str = "/j";

/// A record's bytes tell its number, so a wrong one shows.
fn content(seq: u64) -> Vec<u8> {
    let length = 20 + (seq * 37 % 90) as usize;
    seq.to_le_bytes().iter().copied().cycle().take(length).collect()
}

fn frame(first_seq: u64, count: u64) -> FrameBuf {
    let mut frame = FrameBuf::new(first_seq);
    frame.closed_at = first_seq as i64;
    for seq in first_seq..first_seq + count {
        frame.push(1, |out| out.extend_from_slice(&content(seq)));
    }
    frame.meta = frame.end_seq().to_le_bytes().to_vec();
    frame
}

fn options() -> Options {
    Options { segment_bytes: 3000, max_bytes: 1 << 30, min_free_bytes: 1000, keep_ms: i64::MAX }
}

/// Every record from `from` on, checked for order and content.
fn read_all(disk: &FaultDisk, from: u64, end: u64) -> Vec<u64> {
    let mut reader = Reader::open_on(Arc::new(disk.clone()), Path::new(DIR), from).unwrap();
    let mut seen = Vec::new();
    while let Some(frame) = reader.next(end).unwrap() {
        for (seq, kind, bytes) in frame.records() {
            assert_eq!((kind, bytes), (1, &content(seq)[..]), "record {seq}");
            if seq >= from {
                seen.push(seq);
            }
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "out of order or twice: {seen:?}");
    seen
}

/// Runs a script of commits; frames that were refused are committed again, as the ingester does. Returns the
/// number behind the last record that was reported durable.
fn run(disk: &FaultDisk, script: &[Vec<u64>]) -> u64 {
    let Ok((mut writer, recovery)) = Writer::open(Arc::new(disk.clone()), Path::new(DIR), options(), 0)
    else {
        return 0;
    };
    let (mut next, mut durable) = (recovery.next_seq, recovery.next_seq);
    let mut waiting: Vec<FrameBuf> = Vec::new();
    for group in script {
        for count in group {
            waiting.push(frame(next, *count));
            next += count;
        }
        if writer.commit(&waiting, next as i64).is_ok() {
            durable = next;
            waiting.clear();
        }
        assert_eq!(writer.tail().end(), durable);
    }
    while !disk.crashed() && !waiting.is_empty() {
        if writer.commit(&waiting, next as i64).is_ok() {
            durable = next;
            waiting.clear();
        }
    }
    durable
}

fn check(disk: &FaultDisk, durable: u64, keep: impl FnMut(usize) -> usize) -> FaultDisk {
    let after = disk.after_power_cut(keep);
    let (writer, recovery) = Writer::open(Arc::new(after.clone()), Path::new(DIR), options(), 0).unwrap();
    assert!(recovery.next_seq >= durable, "{recovery:?} forgot records before {durable}");
    let end = writer.tail().end();
    assert_eq!(read_all(&after, 0, end), (0..end).collect::<Vec<_>>());
    assert_eq!(recovery.meta, if end == 0 { Vec::new() } else { end.to_le_bytes().to_vec() });
    after
}

fn script() -> Vec<Vec<u64>> {
    (0..40u64).map(|n| vec![n % 5 + 1; (n % 3 + 1) as usize]).collect()
}

#[test]
fn nothing_durable_is_lost_whichever_operation_fails_in_whichever_way() {
    let whole = FaultDisk::new([]);
    let wanted = run(&whole, &script());
    let operations = whole.operations();
    assert!(operations > 80, "{operations} operations");
    for fault in [Fault::Eio, Fault::NoSpace, Fault::ShortWrite, Fault::SyncDropsPages, Fault::Crash] {
        for at in 1..=operations {
            let disk = FaultDisk::new([(at, fault)]);
            let durable = run(&disk, &script());
            assert!(disk.hits() > 0, "{fault:?} at {at} never happened");
            assert!(fault == Fault::Crash || durable == wanted, "{fault:?} at {at}: {durable} of {wanted}");
            for keep in [0, 1, usize::MAX] {
                check(&disk, durable, |extra| keep.min(extra));
            }
        }
    }
}

#[test]
fn a_disk_that_stays_full_takes_nothing_and_gives_all_back_when_there_is_room() {
    let disk = FaultDisk::new([]);
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), Path::new(DIR), options(), 0).unwrap();
    writer.commit(&[frame(0, 3)], 0).unwrap();
    disk.set_free(900);
    for _ in 0..10 {
        let refused = writer.commit(&[frame(3, 2), frame(5, 1)], 0).unwrap_err().to_string();
        assert!(refused.contains("900 bytes free") && refused.contains("min_free_bytes"), "{refused}");
    }
    disk.set_free(1 << 20);
    writer.commit(&[frame(3, 2), frame(5, 1)], 0).unwrap();
    assert_eq!(read_all(&disk, 0, writer.tail().end()), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_disk_that_is_nearly_full_costs_old_segments_before_it_stops_commits() {
    let disk = FaultDisk::new([]);
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), Path::new(DIR), options(), 0).unwrap();
    let follower = writer.tail().follow("history", 0);
    for n in 0..30 {
        writer.commit(&[frame(n * 10, 10)], 0).unwrap();
    }
    let segments = disk.paths().len();
    assert!(segments > 4);
    disk.set_size(disk.used() + 900);
    writer.commit(&[frame(300, 10)], 0).unwrap_err();
    assert_eq!(disk.paths().len(), segments, "a follower still needs them");
    follower.keep_from(300);
    writer.commit(&[frame(300, 10)], 0).unwrap();
    let left = disk.paths().len();
    assert!((2..segments).contains(&left), "{left} of {segments}: no more went than had to");
}

#[test]
fn a_disk_that_others_have_filled_costs_no_segment_where_that_would_not_help() {
    let disk = FaultDisk::new([]);
    let options = Options { min_free_bytes: 1 << 30, ..options() };
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), Path::new(DIR), options, 0).unwrap();
    for n in 0..30 {
        writer.commit(&[frame(n * 10, 10)], 0).unwrap();
    }
    let segments = disk.paths().len();
    disk.set_size(disk.used());
    writer.commit(&[frame(300, 10)], 0).unwrap_err();
    writer.trim(1);
    assert_eq!(disk.paths().len(), segments, "the last day knows the duplicates");
}

#[test]
fn the_newest_totals_outlive_every_restart_and_days_without_a_record() {
    let disk = FaultDisk::new([]);
    let options = Options { keep_ms: 1000, ..options() };
    let open = || Writer::open(Arc::new(disk.clone()), Path::new(DIR), options.clone(), 0).unwrap();
    let (mut writer, _) = open();
    for n in 0..30 {
        writer.commit(&[frame(n * 10, 10)], 0).unwrap();
    }
    // Behind it a segment that was made and never written: it knows nothing.
    disk.put(&Path::new(DIR).join("00000000000000000300-0.lgj"), Vec::new());
    for _ in 0..3 {
        let (mut writer, recovery) = open();
        assert_eq!((recovery.next_seq, recovery.meta), (300, 300u64.to_le_bytes().to_vec()));
        writer.trim(1_000_000);
        assert!(disk.paths().len() <= 2, "the older ones went: {:?}", disk.paths());
    }
}

#[test]
fn a_follower_holds_its_segments_until_it_is_past_them() {
    let disk = FaultDisk::new([]);
    let options = Options { keep_ms: -1, ..options() };
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), Path::new(DIR), options, 0).unwrap();
    let follower = writer.tail().follow("history", 0);
    for n in 0..30 {
        writer.commit(&[frame(n * 10, 10)], 0).unwrap();
    }
    let segments = disk.paths().len();
    assert!(segments > 4);
    assert_eq!(read_all(&disk, 0, 300).len(), 300);
    follower.keep_from(250);
    writer.trim(10_000);
    assert!(disk.paths().len() < segments);
    let first = writer.tail().first();
    assert!((1..=250).contains(&first));
    assert_eq!(read_all(&disk, 250, 300), (250..300).collect::<Vec<_>>());
}

#[test]
fn a_full_journal_refuses_and_names_the_follower_that_is_behind() {
    let disk = FaultDisk::new([]);
    let options = Options { max_bytes: 8000, ..options() };
    let (mut writer, _) = Writer::open(Arc::new(disk), Path::new(DIR), options, 0).unwrap();
    let follower = writer.tail().follow("tsdb:main", 0);
    let mut n = 0;
    let refused = loop {
        match writer.commit(&[frame(n * 10, 10)], 0) {
            Ok(()) => n += 1,
            Err(e) => break e.to_string(),
        }
    };
    assert!(refused.contains("tsdb:main") && refused.contains("8000"), "{refused}");
    follower.keep_from(n * 10);
    writer.commit(&[frame(n * 10, 10)], 0).unwrap();
}

#[test]
fn a_bounded_follower_is_cut_off_instead_of_stopping_everybody() {
    let disk = FaultDisk::new([]);
    let options = Options { max_bytes: 30_000, keep_ms: -1, ..options() };
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), Path::new(DIR), options, 0).unwrap();
    let _follower = writer.tail().follow_bounded("tsdb:slow", 0, 10_000);
    for n in 0..100 {
        writer.commit(&[frame(n * 10, 10)], 0).unwrap();
    }
    let mut reader = Reader::open_on(Arc::new(disk), Path::new(DIR), 0).unwrap();
    let mut read = 0;
    while let Some(frame) = reader.next(1000).unwrap() {
        read += u64::from(frame.count);
    }
    let lost = reader.take_lost();
    assert!(lost.records > 0 && lost.records + read == 1000, "{lost:?} {read}");
}

#[test]
fn numbers_once_given_to_a_follower_are_never_given_again() {
    let disk = FaultDisk::new([]);
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), Path::new(DIR), options(), 0).unwrap();
    writer.commit(&[frame(0, 5)], 0).unwrap();
    writer.commit(&[frame(5, 5)], 0).unwrap();
    let path = disk.paths().pop().unwrap();
    let mut bytes = disk.bytes(&path);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    disk.put(&path, bytes);
    let (writer, recovery) = Writer::open(Arc::new(disk), Path::new(DIR), options(), 10).unwrap();
    assert_eq!((recovery.next_seq, writer.tail().end()), (10, 10));
    assert!(recovery.torn_bytes > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_script_with_any_faults_keeps_what_was_reported_durable(
        script in proptest::collection::vec(proptest::collection::vec(1u64..9, 1..4), 1..30),
        faults in proptest::collection::btree_map(1u64..120, 0usize..5, 0..8),
        cut in any::<u64>(),
        again in proptest::collection::vec(proptest::collection::vec(1u64..9, 1..4), 1..10),
    ) {
        let kinds = [Fault::Eio, Fault::NoSpace, Fault::ShortWrite, Fault::SyncDropsPages, Fault::Crash];
        let disk = FaultDisk::new(faults.into_iter().map(|(at, kind)| (at, kinds[kind])));
        let durable = run(&disk, &script);
        let after = check(&disk, durable, |extra| (cut as usize) % (extra + 1));
        let durable = run(&after, &again);
        check(&after, durable, |_| 0);
    }
}

#[test]
fn peer_p2_every_byte_of_a_segment_flipped_or_cut_costs_its_own_frame_alone() {
    let disk = FaultDisk::new([]);
    let big = Options { segment_bytes: 1 << 20, ..options() };
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), Path::new(DIR), big, 0).unwrap();
    let mut borders = vec![32];
    for n in 0..7 {
        writer.commit(&[frame(n * 10, 10)], 0).unwrap();
        borders.push(disk.bytes(&disk.paths()[0]).len());
    }
    let path = disk.paths().pop().unwrap();
    let whole = disk.bytes(&path);
    assert!(borders.len() > 5 && whole.len() <= 16 * 1024, "{} bytes", whole.len());
    for at in 0..whole.len() {
        let hit = borders.iter().rposition(|border| *border <= at).map(|frame| frame as u64);
        let kept: Vec<u64> = (0..70).filter(|seq| hit != Some(seq / 10)).collect();
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        disk.put(&path, flipped);
        assert_eq!(read_all(&disk, 0, 70), kept, "byte {at} flipped");
        disk.put(&path, whole[..at].to_vec());
        let before: Vec<u64> = (0..70).filter(|seq| borders[(seq / 10) as usize + 1] <= at).collect();
        assert_eq!(read_all(&disk, 0, 70), before, "cut at {at}");
        let (writer, _) = Writer::open(Arc::new(disk.clone()), Path::new(DIR), options(), 0).unwrap();
        assert_eq!(writer.tail().end(), before.len() as u64);
    }
}

#[test]
fn the_real_disk_keeps_the_same_promises() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("deep/journal");
    let disk = Arc::new(lampguard_journal::RealDisk);
    let (mut writer, _) =
        Writer::open(disk.clone(), &dir, Options { min_free_bytes: 0, ..options() }, 0).unwrap();
    for n in 0..20 {
        writer.commit(&[frame(n * 10, 10)], 5).unwrap();
    }
    drop(writer);
    let (writer, recovery) = Writer::open(disk.clone(), &dir, options(), 0).unwrap();
    assert_eq!((recovery.next_seq, recovery.torn_bytes), (200, 0));
    let mut reader = Reader::open(&dir, 0).unwrap();
    let mut records = 0;
    while let Some(frame) = reader.next(writer.tail().end()).unwrap() {
        records += frame.records().count();
    }
    assert_eq!(records, 200);
    let segments = lampguard_journal::inspect(&*disk, &dir).unwrap();
    assert_eq!(segments.iter().map(|segment| segment.kinds[&1]).sum::<u64>(), 200);
    assert!(segments.iter().all(|segment| segment.damaged_bytes == 0 && segment.created_at == Some(5)));
    assert!(disk.free_bytes(&dir).unwrap() > 0);
}
